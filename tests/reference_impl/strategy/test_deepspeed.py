"""DeepSpeed on two processes of this machine against plain torch in one: the same losses, gradients and runs.

One launch of tests/support/deepspeed_worker.py does all that two processes must do; the tests read what it wrote.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rollout import fingerprint
from reference_impl.run.checkpoint import load_state
from reference_impl.run.metrics import Record
from reference_impl.strategy import TorchStrategy, load_strategy
from tests.support.deepspeed_equality import STAGES, difference, found, launch, reference
from tests.support.deepspeed_worker import (
    BUDGETS,
    FEW_STEPS,
    KINDS,
    LOOPS,
    RESUMED,
    case_config,
    loop_config,
    trainer_of,
    trajectory,
    write_mixture,
)
from tests.support.two_machines import arguments, deepspeed_on_two_machines, train_on_two_machines, write_inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed (requirements/gpu.txt)"
    ),
]


@pytest.fixture(scope="module")
def launched(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes have written into."""
    folder = tmp_path_factory.mktemp("deepspeed")
    launch(tiny_policy, folder)
    return folder


@pytest.fixture(scope="module")
def references(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Record]]:
    """Plain torch in one process, by kind of step or phi."""
    folder = tmp_path_factory.mktemp("torch")
    write_mixture(tiny_policy, folder / "experts")
    experts = trainer_of(case_config("chord", 1, micro_batch_tokens=1), folder / "experts", folder)
    return {
        **{kind: reference(tiny_policy, folder, kind) for kind in KINDS},
        **{phi: reference(tiny_policy, folder, "chord", phi={"name": phi}) for phi in ("entropy_top", "entropy_norm")},
        "experts": trajectory(experts, tiny_policy, "chord", FEW_STEPS),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accumulation", BUDGETS)
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_follows_plain_torch(
    launched: Path, references: dict[str, list[Record]], stage: int, kind: str, accumulation: int
) -> None:
    """20 steps on two processes with unequal shares of the tokens, the optimizer forgotten once on the way."""
    case = found(launched, "equality")[f"{stage}/{accumulation}/{kind}"]
    most, least = max(case["micro_batches"]), min(case["micro_batches"])
    assert most == accumulation and (accumulation == 1 or least < most), "one process must wait for the other's passes"
    expected = references[kind]
    for key in ("loss", "sft_loss", "grad_norm"):
        assert difference(case["records"], expected, key) < 1e-5
    for key in ("expert_tokens", "rollout_tokens"):
        assert [record[key] for record in case["records"]] == [record[key] for record in expected]
    assert (references["chord"][0]["grad_norm"] or 0) > 1, "some gradients must be clipped"


@pytest.mark.parametrize("stage", STAGES)
def test_sequences_dealt_out_by_length_change_no_number(
    launched: Path, references: dict[str, list[Record]], stage: int
) -> None:
    """20 steps follow plain torch; six of eight sequences are one rank's own, and it learns from half the tokens."""
    case, expected = found(launched, "balance"), references["chord"]
    for key in ("loss", "sft_loss", "grad_norm", "entropy"):
        assert difference(case[str(stage)], expected, key) < 1e-5
    for one, two in zip(*case["tokens"], strict=True):
        assert abs(one - two) < 0.2 * (one + two)


def test_rank_0s_clock_decides_when_all_save(launched: Path) -> None:
    """Two minutes are over after three steps of 50 s; a clock of rank 1's that says so has no say."""
    case = found(launched, "clocks")
    assert case == {"rank 0 is due": [[3, 6], [3, 6]], "rank 1 alone is due": [[6], [6]]}


FP32_OPTIONS = [
    *("1/offload optimizer", "2/offload optimizer", "3/offload parameters"),
    *("0/activation checkpointing", "3/activation checkpointing", "0/entropy_top", "3/entropy_norm"),
]


@pytest.mark.parametrize("case", FP32_OPTIONS)
def test_options_change_no_number(launched: Path, references: dict[str, list[Record]], case: str) -> None:
    """Memory options, and weights that compare a token with the expert tokens of all processes."""
    records = found(launched, "options")[case]
    expected = references.get(case.split("/")[1], references["chord"])[:FEW_STEPS]
    assert len(records) == FEW_STEPS
    # The top 5 % are 12 tokens: where rounding decides between two entropies, another token is the twelfth.
    allowed = 1e-3 if case == "0/entropy_top" else 1e-5
    assert difference(records, expected, "loss") < allowed
    assert difference(records, expected, "grad_norm") < allowed


def test_bfloat16_is_near(launched: Path, references: dict[str, list[Record]]) -> None:
    """Every stage, offload and checkpointing. bfloat16 has 8 significant bits: half a unit of the last is 1/512."""
    cases = {name: records for name, records in found(launched, "options").items() if "/bf16" in name}
    assert len(cases) == 7
    for name, records in cases.items():
        expected = references["chord"][:FEW_STEPS]
        assert 0 < difference(records, expected, "loss") < 1e-3, name
        # Without ZeRO, DeepSpeed adds up the gradients in bfloat16 as well.
        assert 0 < difference(records, expected, "grad_norm") < (0.1 if name[0] == "0" else 0.01), name


@pytest.mark.parametrize("stage", [2, 3])
def test_mixture_of_experts_follows_plain_torch(
    launched: Path, references: dict[str, list[Record]], stage: int
) -> None:
    records, expected = found(launched, "architectures")[f"{stage}/experts"], references["experts"]
    for key in ("loss", "router_loss", "grad_norm"):
        assert difference(records, expected, key) < 1e-5, key
    assert len(records) == FEW_STEPS


@pytest.mark.parametrize("checkpointing", [False, True])
def test_logits_in_chunks_with_split_parameters(
    launched: Path, references: dict[str, list[Record]], checkpointing: bool
) -> None:
    """Two tokens at a time: the processes' micro-batches have unequally many chunks, and some have none."""
    records = found(launched, "architectures")[f"3/chunks, checkpointing {checkpointing}"]
    for key in ("loss", "grad_norm"):
        assert difference(records, references["chord"][:FEW_STEPS], key) < 1e-5, key


def test_activations_are_recomputed_without_training_mode(launched: Path) -> None:
    """The layers compute twice, and nothing in them is in training mode: no dropout, no sampled routing."""
    assert found(launched, "recomputation") == {
        "False": {"calls": 1, "training": []},
        "True": {"calls": 2, "training": ["Qwen2DecoderLayer"]},
    }


def test_divergence_on_one_process_stops_all_with_the_weights_untouched(launched: Path) -> None:
    cases = found(launched, "divergence")
    assert len(cases) == 8
    for case, text in cases.items():
        assert "the run diverged; untouched: True" in text, f"{case}: {text}"


@pytest.mark.parametrize("name", RESUMED)
def test_killed_run_resumes_identically(launched: Path, name: str) -> None:
    case = found(launched, "loops")[name]
    assert case["resumed_at"] == 2
    through, resumed = case["weights"]
    assert through == resumed == case["engine"]
    for file in ("metrics.jsonl", "validation.jsonl"):
        paths = [launched / "loops" / f"{kind}-{name}" / file for kind in ("through", "broken")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("run", LOOPS)
def test_whole_run_is_that_of_one_process(launched: Path, tiny_policy: Path, tmp_path: Path, run: str) -> None:
    """Seeds, prompts, demonstrations, rewards and validations are those of a single process."""
    trainer_of(loop_config(run, None, **LOOPS[run]), tiny_policy, tmp_path).train()
    for file in ("metrics.jsonl", "validation.jsonl"):
        expected, records = read_jsonl(tmp_path / file), read_jsonl(launched / "loops" / run / file)
        assert len(records) == len(expected)
        for one, two in zip(expected, records, strict=True):
            approximate = {
                k: pytest.approx(v, rel=1e-3, abs=1e-6) if isinstance(v, float) else v for k, v in one.items()
            }
            assert two == approximate


@pytest.mark.parametrize("stage", STAGES)
def test_export_is_the_whole_policy(launched: Path, tiny_policy: Path, stage: int) -> None:
    folder = launched / "loops" / f"export-{stage}"
    assert list(folder.glob("*.safetensors"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert fingerprint(model.state_dict()) == found(launched, "loops")[str(stage)]["weights"][0]
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == AutoTokenizer.from_pretrained(tiny_policy).get_vocab()


@pytest.mark.parametrize("name", [*(f"tied-{stage}" for stage in STAGES), "experts-3"])
def test_export_in_bfloat16_and_in_several_files(launched: Path, name: str) -> None:
    folder = launched / "exports" / name
    assert len(list(folder.glob("*.safetensors"))) > 1
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.tie_word_embeddings == name.startswith("tied")
    assert fingerprint(model.state_dict()) == found(launched, "exports")[name]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made up: without this, the process would fail in CUDA, or share a GPU."""
    from reference_impl.strategy import deepspeed as deepspeed_strategy

    for name in deepspeed_strategy.LAUNCHERS_VARIABLES:
        monkeypatch.setenv(name, "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="LOCAL_RANK 2: this machine shows 2 GPUs"):
        deepspeed_strategy.join_processes()
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(ValueError, match="without MASTER_PORT in the environment: start it with torchrun or deepspeed"):
        deepspeed_strategy.join_processes()


class OnFourProcesses(TorchStrategy):
    layout = "DeepSpeed ZeRO-1 in fp32 on 4 processes"


def test_state_of_another_number_of_processes_is_refused(launched: Path, tiny_policy: Path) -> None:
    config = loop_config("chord_phi", None)
    saved = launched / "loops" / "through-1" / "state"
    for strategy, name in (
        (load_strategy(tiny_policy, config), "torch in 1 process"),
        (OnFourProcesses.from_checkpoint(tiny_policy, config), "ZeRO-1 in fp32 on 4 processes"),
    ):
        with pytest.raises(ValueError, match=f"saved by DeepSpeed ZeRO-1 in fp32 on 2 processes, and this is .*{name}"):
            load_state(saved, strategy, config.hash())


def test_command_on_two_machines_goes_on_after_every_accident(
    launched: Path, tiny_policy: Path, tmp_path: Path
) -> None:
    """One rank fails, and the other ends too, hours before any timeout; the last attempt equals a run without them."""
    options = arguments(tiny_policy, launched / "command", tmp_path / "run")

    def attempt(accident: str, rank: int) -> list[tuple[int, str]]:
        return train_on_two_machines(tmp_path, accident, rank, options, options)

    def saved() -> list[int]:
        return [json.loads(file.read_text())["step"] for file in tmp_path.glob("run/state/progress.json")]

    for accident, rank, message, step in (
        ("no judge", 0, "error: the judge does not answer", []),
        ("killed in a step", 1, "SIGKILL", [3]),
        ("killed in a save", 1, "SIGKILL", [3]),
    ):
        ended = attempt(accident, rank)
        assert all(status != 0 for status, _ in ended), accident
        assert any(message in errors for _, errors in ended), accident
        assert saved() == step, accident
    assert (tmp_path / "run/state.part").is_dir()
    assert [status for status, _ in attempt("none", 0)] == [0, 0]
    through = launched / "command/run"
    for file in ("metrics.jsonl", "validation.jsonl", "best/model.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (through / file).read_bytes(), file
    assert (tmp_path / "run/run.json").is_file() and not list(tmp_path.glob("run/state*"))


@pytest.mark.thorough
def test_deepspeeds_launcher_on_two_machines_gives_the_run_of_torchrun(
    launched: Path, tiny_policy: Path, tmp_path: Path
) -> None:
    """Without ssh: the same command on both, each with its place in the list of hosts."""
    own = launched / "command"
    ended = deepspeed_on_two_machines(tmp_path, arguments(tiny_policy, own, tmp_path / "run"))
    assert [status for status, _ in ended] == [0, 0], ended
    for file in ("metrics.jsonl", "validation.jsonl", "best/model.safetensors"):
        assert (tmp_path / "run" / file).read_bytes() == (own / "run" / file).read_bytes(), file


@pytest.mark.thorough
def test_two_processes_link_the_run_that_is_the_same(tiny_policy: Path, tmp_path: Path) -> None:
    """The first finds it, waits for it and links it; the other follows, and both end."""
    write_inputs(tmp_path)

    def train(run: str, out: Path, *shared: str) -> str:
        options = [*arguments(tiny_policy, tmp_path, out), "--run", run, *shared]
        ended = train_on_two_machines(tmp_path, "none", 0, options, options)
        assert [status for status, _ in ended] == [0, 0], ended
        return "".join(errors for _, errors in ended)

    results = ("--results", str(tmp_path))
    first, second = (tmp_path / "runs/math" / name / "seed0" for name in ("sft_light_rl", "sft_best_rl"))
    train("sft_light_rl", first, *results)
    said = train("sft_best_rl", second, *results)
    assert said.count("the same run as math/sft_light_rl/seed0: its files are linked") == 1
    assert (second / "best/model.safetensors").samefile(first / "best/model.safetensors")
    # Trained by itself it would have been the same, also from the validation at step 0 that the first has kept.
    shutil.copytree(tmp_path / "validations", tmp_path / "other/validations")
    train("sft_best_rl", tmp_path / "alone", "--results", str(tmp_path / "other"))
    assert len(list((tmp_path / "other/validations").iterdir())) == 1
    for name in ("metrics.jsonl", "validation.jsonl"):
        assert (tmp_path / "alone" / name).read_bytes() == (second / name).read_bytes()


def test_machines_with_other_data_are_refused(launched: Path, tiny_policy: Path, tmp_path: Path) -> None:
    own = launched / "command"
    shutil.copytree(own / "data", tmp_path / "data")
    shutil.copytree(own / "config", tmp_path / "config")
    rows = read_jsonl(own / "data/expert.jsonl")
    write_jsonl(tmp_path / "data/expert.jsonl", rows[::-1])
    first, second = (arguments(tiny_policy, folder, tmp_path / "run") for folder in (own, tmp_path))
    ended = train_on_two_machines(tmp_path, "none", 0, first, second)
    assert [status for status, _ in ended] == [1, 1]
    for _, errors in ended:
        assert "error: configuration, policy or data: not the same in all 2 processes; rank 0 and 1 differ" in errors
    assert not (tmp_path / "run").exists()
