"""The validation at step 0, made once: files as without, another key for all that decides it, several ranks."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import pytest

from reference_impl.config import HttpJudgeSettings, LocalJudgeSettings, RunConfig
from reference_impl.config.resolve import NAMES
from reference_impl.files import read_jsonl
from reference_impl.run.first_validation import TRAINING_ONLY, FirstValidation, Measured, made_of, remove_stale
from reference_impl.run.validation import Validator
from reference_impl.strategy.distributed import rank
from reference_impl.train import main
from reference_impl.trainer import Trainer
from tests.reference_impl.test_train_command import arguments
from tests.reference_impl.test_trainer import config_of, data_of, trainer_of
from tests.support.ranks import on_ranks

FOUND = Measured(0.1, 0.2, 1 / 3, 4.0, [0.0, 2 / 3])
MADE_BY = {"code": "c", "packages": {"torch": "1"}, "hardware": {"device": "d"}}


def key(config: RunConfig, **changes: Any) -> FirstValidation:
    given = {"checkpoint": "p", "rows": "r", "made_by": MADE_BY} | changes
    return FirstValidation(Path("kept"), made_of(config, **given))


def with_kept(trainer: Trainer, folder: Path) -> Trainer:
    """The trainer, with a place for the validation at step 0; notes how many responses each call samples."""
    trainer.validator.kept = FirstValidation(folder, key(trainer.config).made_of)
    return trainer


def sampled(trainer: Trainer) -> list[int]:
    """Responses of every call of the engine from now on."""
    calls: list[int] = []
    generate = trainer.engine.engine.generate

    def noted(requests: Any, **options: Any) -> Any:
        calls.append(len(requests))
        return generate(requests, **options)

    trainer.engine.engine.generate = noted  # type: ignore[method-assign]
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("run", ["chord_phi", "grpo_relaxed", "sft-lr5e-06"])
def test_files_are_those_of_a_run_that_measured_itself(tiny_policy: Path, tmp_path: Path, run: str) -> None:
    """Another method's validation at step 0 is read; for the relaxed protocol the weight sync there counts."""
    with_kept(trainer_of(config_of("grpo"), tiny_policy, tmp_path / "earlier"), tmp_path / "kept").train()
    trainer_of(config_of(run), tiny_policy, tmp_path / "alone").train()
    trainer = with_kept(trainer_of(config_of(run), tiny_policy, tmp_path / "later"), tmp_path / "kept")
    calls = sampled(trainer)
    record = trainer.validator.first()
    assert calls == [] and not trainer.engine.stale
    assert record == read_jsonl(tmp_path / "alone/validation.jsonl")[0]
    trainer.engine.stale = True
    trainer.train()
    for file in ("metrics.jsonl", "validation.jsonl"):
        assert (tmp_path / "later" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_policy_that_is_trained_first_samples_from_the_weights_that_it_started_with(
    tiny_policy: Path, tmp_path: Path
) -> None:
    """SFT in step 1, rollouts in step 2, a weight sync every second step: these are of step 0's weights, as ever."""
    mu = {"schedule": "binary", "switch_steps": 1}
    config = config_of("grpo", mu=mu, sync_every=2)
    for name in ("first", "second"):
        with_kept(trainer_of(config, tiny_policy, tmp_path / name), tmp_path / "kept").train()
    trainer_of(config, tiny_policy, tmp_path / "alone").train()
    assert [line["mu"] for line in read_jsonl(tmp_path / "alone/metrics.jsonl")][:2] == [1, 0]
    for name in ("first", "second"):
        assert (tmp_path / name / "metrics.jsonl").read_bytes() == (tmp_path / "alone/metrics.jsonl").read_bytes()


CHANGES: dict[str, Any] = {
    "reward": "tool",
    "judge": LocalJudgeSettings(kind="local", noise=0.5),
    "max_response_tokens": 25,
    "validation_rows": 5,
    "validation_samples": 2,
    "engine": "vllm",
    "rollout_batch": 7,
    "temperature": 0.5,
    "reward_reading": {"calls": "last"},
}
"""A change to every setting that decides it, but those whose types are large: the next test has them."""


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_decides_it_gives_it_another_name(name: str) -> None:
    config = config_of("grpo")
    assert key(dataclasses.replace(config, **{name: CHANGES[name]})).path != key(config).path


def test_every_setting_of_a_run_either_decides_it_or_is_of_training_alone() -> None:
    fields = {field.name for field in dataclasses.fields(RunConfig)} - {"phi_file"}  # where a φ lies; it is code
    assert fields == NAMES | TRAINING_ONLY | CHANGES.keys() | {"strategy", "engine_options"}
    config = config_of("grpo")
    half = config.strategy.model_copy(update={"precision": "bf16"})
    longest = config.engine_options.model_copy(update={"max_model_len": 99})
    others = [dataclasses.replace(config, strategy=half), dataclasses.replace(config, engine_options=longest)]
    names = [key(other).path for other in (config, *others)]
    names += [key(config, **{name: "other"}).path for name in ("checkpoint", "rows")]
    names += [key(config, made_by={**MADE_BY, name: "other"}).path for name in MADE_BY]
    assert len(set(names)) == len(names)


def test_the_seed_of_a_run_matters_to_its_judge_alone() -> None:
    for judge, same in ((None, True), (LocalJudgeSettings(kind="local"), False)):
        configs = [dataclasses.replace(config_of("grpo"), judge=judge, seed=seed) for seed in (0, 1)]
        assert (key(configs[0]).path == key(configs[1]).path) is same
    asked = HttpJudgeSettings(kind="http", url="http://localhost:1/v1")
    json.dumps(key(dataclasses.replace(config_of("grpo"), judge=asked)).made_of)


def validator(config: RunConfig, kept: FirstValidation, samples: list[int]) -> Validator:
    """What it measures of its two rows is made up."""

    class Engine:
        def generate(self, requests: list[Any]) -> list[Any]:
            samples.append(len(requests))
            return []

    made = Validator(config, [], *cast(tuple[Any, Any, Any], (None, Engine(), None)), Path(), cast(Any, None), kept)

    def measure() -> Measured:
        samples.append(-1)
        return FOUND

    made.rows = [{}, {}]
    made.measure = measure  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize("holder", [0, 1])
def test_all_ranks_follow_the_first(tmp_path: Path, holder: int) -> None:
    """Each has a folder of its own, and only one has the file: where it is not the first, all measure."""
    config = config_of("grpo")
    kept = [FirstValidation(tmp_path / str(number), key(config).made_of) for number in range(2)]
    kept[holder].store(FOUND)

    def work(_: int) -> tuple[dict[str, Any], list[int]]:
        samples: list[int] = []
        return validator(config, kept[rank()], samples).first(), samples

    (first, calls), (second, others) = on_ranks(2, tmp_path, work)
    assert first == second and first["stderr"] == 1 / 3 and first["scores"] == [0.0, 2 / 3]
    assert calls == others == ([0] if holder == 0 else [-1])
    assert kept[0].load() == FOUND


def test_what_other_code_measured_is_removed(tmp_path: Path) -> None:
    measured = Measured(0.0, 0.0, 0.0, 1.0, [])
    config = config_of("grpo")
    today, before = (
        FirstValidation(tmp_path, key(config, made_by={**MADE_BY, "code": code}).made_of) for code in ("new", "old")
    )
    today.store(measured)
    before.store(measured)
    assert remove_stale(tmp_path, "new") == [before.path.name]
    assert today.load() == measured and before.load() is None
    assert remove_stale(tmp_path / "nothing", "new") == []


@pytest.mark.slow
def test_the_command_shares_it_where_it_is_given_the_results(
    tiny_policy: Path, smoke_data: Path, tmp_path: Path
) -> None:
    runs = {"alone": {}, "first": {"results": str(tmp_path)}, "second": {"results": str(tmp_path), "seed": "1"}}
    for name, options in runs.items():
        main(arguments(tiny_policy, smoke_data, tmp_path / name, options))
    lines = [(tmp_path / name / "validation.jsonl").read_bytes().splitlines() for name in runs]
    assert lines[0] == lines[1] and lines[0][0] == lines[2][0]
    (file,) = (tmp_path / "validations").iterdir()
    assert json.loads(file.read_text())["measured"]["score"] == json.loads(lines[0][0])["score"]
    assert data_of(config_of("grpo")).validation  # the rows are the domain's
