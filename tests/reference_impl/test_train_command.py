"""The training command: what a run folder holds at the end, and which mistakes stop it before it starts."""

import json
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
        ({"scale": "mini"}, r"prompts.jsonl: 16 rows, but this scale expects 512"),
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
