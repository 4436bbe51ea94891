"""The training command: what a run folder holds at the end, and which mistakes stop it before it starts."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.files import file_hash, read_jsonl
from reference_impl.train import main

pytestmark = pytest.mark.slow

SIZES = load_scale("smoke").domains["math"]


def arguments(policy: Path, data: Path, out: Path, changes: dict[str, str] | None = None) -> list[str]:
    values = {"run": "chord_phi", "domain": "math", "scale": "smoke", "seed": "0"}
    values |= {"policy": str(policy), "data": str(data), "out": str(out)} | (changes or {})
    return [part for name, value in values.items() for part in (f"--{name}", value)]


def test_run_folder(tiny_policy: Path, smoke_data: Path, tmp_path: Path) -> None:
    config = resolve_run(load_declarations(), load_scale("smoke"), "chord_phi", "math", 0)
    main(arguments(tiny_policy, smoke_data, tmp_path, {"config-hash": config.hash()}))
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "complete" and record["config_hash"] == config.hash()
    assert record["config"] == config.to_dict() and record["packages"]["torch"] and record["data_hash"]["expert"]
    metrics = read_jsonl(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(1, config.steps + 1))
    assert metrics[-1]["paper_step"] == config.steps * config.steps_divisor
    best = max(read_jsonl(tmp_path / "validation.jsonl")[1:], key=lambda line: line["score"])
    assert record["best"] == best
    AutoModelForCausalLM.from_pretrained(tmp_path / "best")
    assert list((tmp_path / "tb").glob("events.*"))
    assert not (tmp_path / "state").exists(), "the resumption state has served its purpose"


def test_a_run_that_is_another_under_a_second_name_is_linked(
    tiny_policy: Path, smoke_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SFT-light + RL and SFT-best + RL, where validation has chosen one checkpoint for both."""
    folder = {name: tmp_path / "runs/math" / name / "seed0" for name in ("sft_light_rl", "sft_best_rl", "grpo")}
    shared = {"results": str(tmp_path)}
    (folder["sft_best_rl"] / "state").mkdir(parents=True)  # what an interrupted attempt has left
    for name in ("sft_light_rl", "sft_best_rl"):
        main(arguments(tiny_policy, smoke_data, folder[name], {"run": name, **shared}))
    assert "the same run as math/sft_light_rl/seed0: its files are linked" in capsys.readouterr().err
    first, second = (json.loads((folder[name] / "run.json").read_text()) for name in ("sft_light_rl", "sft_best_rl"))
    different = {key for key in second if second[key] != first.get(key)}
    assert different == {"method", "config", "config_hash", "wall_seconds", "linked_from"}
    assert (second["method"], second["wall_seconds"]) == ("sft_best_rl", 0.0)
    assert second["linked_from"] == "math/sft_light_rl/seed0" and second["config"]["init"] == "sft_best"
    files = [path for path in folder["sft_light_rl"].rglob("*") if path.is_file() and path.name != "run.json"]
    assert {path.parent.name for path in files} == {"seed0", "best", "tb"}
    for path in files:
        assert path.samefile(folder["sft_best_rl"] / path.relative_to(folder["sft_light_rl"]))
    assert not (folder["sft_best_rl"] / "state").exists()

    # By itself, it would have been the same; and made again, the first is not its own copy's copy.
    main(arguments(tiny_policy, smoke_data, tmp_path / "alone", {"run": "sft_best_rl"}))
    for name in ("metrics.jsonl", "validation.jsonl", "best/model.safetensors"):
        assert (tmp_path / "alone" / name).read_bytes() == (folder["sft_best_rl"] / name).read_bytes()
    (folder["sft_light_rl"] / "run.json").unlink()
    main(arguments(tiny_policy, smoke_data, folder["sft_light_rl"], {"run": "sft_light_rl", **shared}))
    assert "linked_from" not in json.loads((folder["sft_light_rl"] / "run.json").read_text())

    other = Path(shutil.copytree(tiny_policy, tmp_path / "other"))
    (other / "generation_config.json").write_text("{}")
    main(arguments(other, smoke_data, folder["grpo"], {"run": "grpo", **shared}))
    assert "linked_from" not in json.loads((folder["grpo"] / "run.json").read_text()), "from another checkpoint"


def test_a_methods_own_demonstrations_are_read(tiny_policy: Path, smoke_data: Path, tmp_path: Path) -> None:
    main(arguments(tiny_policy, smoke_data, tmp_path, {"run": "luffy"}))
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["config"]["expert"] == "aligned" and record["config"]["expert_rows"] == SIZES.prompt_rows
    assert record["data_hash"]["expert"] == file_hash(smoke_data / "expert-aligned.jsonl")
    assert all(line["demonstration_tokens"] > 0 for line in read_jsonl(tmp_path / "metrics.jsonl"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "chord_phii"}, r"unknown run 'chord_phii'; did you mean 'chord_phi'"),
        ({"run": "sft"}, r"unknown run 'sft'.*sft-lr1e-06"),
        ({"domain": "maths"}, r"unknown domain 'maths'; did you mean 'math'"),
        ({"scale": "minni"}, r"unknown scale 'minni'; did you mean 'mini'"),
        ({"config-hash": "f" * 64}, r"not ffffffffffff: the declarations changed"),
        ({"scale": "mini"}, r"prompts.jsonl: 16 rows, but this scale expects 4096"),
        ({"run": "chord_phi_large"}, r"no data file .*expert-large.jsonl"),
        ({"policy": "nowhere"}, r"nowhere is not a checkpoint folder"),
        ({"data": "nowhere"}, r"no data file nowhere/prompts.jsonl"),
    ],
)
def test_mistakes_stop_it_before_it_starts(
    tiny_policy: Path, smoke_data: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        main(arguments(tiny_policy, smoke_data, tmp_path / "out", changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 1', r"expert.jsonl, line 8: not JSON"),
        ('{"id": 1, "prompt": "x"}', r"expert.jsonl, row 8: missing question"),
    ],
)
def test_bad_row_is_named(tiny_policy: Path, smoke_data: Path, tmp_path: Path, line: str, message: str) -> None:
    for name in ("prompts", "expert", "validation"):
        (tmp_path / f"{name}.jsonl").write_text((smoke_data / f"{name}.jsonl").read_text())
    rows = (smoke_data / "expert.jsonl").read_text().splitlines()
    (tmp_path / "expert.jsonl").write_text("\n".join([*rows[:7], line]) + "\n")
    with pytest.raises(SystemExit, match=message):
        main(arguments(tiny_policy, tmp_path, tmp_path / "out"))
