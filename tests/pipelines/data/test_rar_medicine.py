"""RaR-Medicine and medical-o1-reasoning: prompts with rubrics, demonstrations of other questions."""

import json
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from pipelines.data import rar_medicine
from pipelines.data.quarantine import FilteredError, MalformedError
from pipelines.data.rar_medicine import demonstration, prompt
from pipelines.data.stage import Limits
from pipelines.sandbox.policies import SHIPPED
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.judge.rubric import parse_rubric
from reference_impl.text.answers import after_think, has_one_think_block
from reference_impl.text.prompts import render
from tests.support.real_data import Row, benchmarks_folder, described, medical_o1_row, rar_row

ANY = Limits(16384)


def test_prompt_and_demonstration() -> None:
    found = prompt(rar_row(1), ANY)
    assert found["gold"]["question"] == found["question"] == render(found)[1]["content"]
    assert [item.weight for item in parse_rubric(found["gold"]["rubric"])] == [5, -1]
    shown = demonstration(medical_o1_row(1), ANY)
    assert shown["response"] == "<think>\nLet me think about case 1.\n</think>\n\nThe dose is 1 mg."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question": None}, "no text in question"),
        ({"rubric": []}, "unusable rubric"),
        ({"rubric": [{"description": "x", "weight": -1}]}, "no criterion has a positive weight"),
        ({"rubric": [{"description": "x", "weight": "5"}]}, "weight must be a number"),
    ],
)
def test_malformed_prompts(changes: Row, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        prompt(rar_row(1) | changes, ANY)


def test_unusable_demonstrations() -> None:
    with pytest.raises(MalformedError, match="no text in Response"):
        demonstration(medical_o1_row(1) | {"Response": ""}, ANY)
    with pytest.raises(MalformedError, match="think tags within the text"):
        demonstration(medical_o1_row(1) | {"Complex_CoT": "so </think> it is"}, ANY)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SHIPPED / "sandbox-math" / "tokenizer.json"))
    with pytest.raises(FilteredError, match="beyond the token limit"):
        demonstration(medical_o1_row(1), Limits(10, tokenizer))


def test_the_stage_keeps_validation_and_test_questions_apart(tmp_path: Path) -> None:
    shared, tested = rar_row(1)["question"], rar_row(2)["question"]
    held = rar_row(100, "val")["question"]
    train = [*(rar_row(n) for n in range(20)), rar_row(0) | {"question": f" {held} "}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(train), tmp_path / "train.parquet")
    write_jsonl(tmp_path / "val.jsonl", [rar_row(n, "val") for n in range(100, 110)])
    o1 = [medical_o1_row(n) for n in range(8)] + [medical_o1_row(0) | {"Question": q} for q in (shared, tested, held)]
    (tmp_path / "medical_o1_sft.json").write_text(json.dumps([*o1, {"Question": "?"}]), encoding="utf-8")
    local = {"rar": "train.parquet", "rar-val": "val.jsonl", "medical-o1": "medical_o1_sft.json"}
    out = tmp_path / "medicine"
    rar_medicine.main(
        ["--domain", "medicine", "--scale", "smoke", "--out", str(out)]
        + [part for name, file in local.items() for part in ("--local", f"{name}={tmp_path / file}")]
        + ["--benchmarks", str(benchmarks_folder(tmp_path / "b", "medicine", [tested]))]
    )
    manifest = described(out)
    assert (manifest["prompts_rows"], manifest["validation_rows"], manifest["expert_rows"]) == (16, 8, 8)
    assert manifest["sources"]["filtered"] == {"question of rar-val": 2, "question of sandbox-medicine": 2}
    assert manifest["sources"]["quarantined"] == {"no text in Complex_CoT": 1}
    expert = read_jsonl(out / "expert.jsonl")
    assert all("gold" not in row and has_one_think_block(row["response"]) for row in expert)
    # A question may be both a prompt and a demonstration: it is in both sources.
    candidates = {(row["pool"], row["question"]) for row in read_jsonl(out / "candidates.jsonl")}
    assert {("rar", shared), ("medical-o1", shared)} <= candidates


def test_without_a_pinned_revision(tmp_path: Path) -> None:
    options = ["--domain", "medicine", "--scale", "smoke", "--out", str(tmp_path), "--file", "candidates.jsonl"]
    benchmarks = ["--benchmarks", str(benchmarks_folder(tmp_path / "b", "medicine", ["?"]))]
    with pytest.raises(SystemExit, match=r"ScaleAI/RaR-Medicine needs a pinned revision.*--revision rar-val=HASH"):
        rar_medicine.main([*options, *benchmarks])
    with pytest.raises(SystemExit, match="--benchmarks FOLDER is missing"):
        rar_medicine.main(options)
    with pytest.raises(SystemExit, match="unknown source 'rar-vall'; did you mean 'rar-val'"):
        rar_medicine.main([*options, *benchmarks, "--local", f"rar-vall={tmp_path}"])
    with pytest.raises(SystemExit, match="--revision 'rar': expected NAME=VALUE"):
        rar_medicine.main([*options, *benchmarks, "--revision", "rar"])


def test_real_rows(reference_data: Path) -> None:
    rows = read_jsonl(reference_data / "medical" / "medical_o1_reasoning_demo_198.jsonl")
    found = [demonstration(row, ANY) for row in rows]
    assert len(found) == 198
    for row, shown in zip(rows, found, strict=True):
        assert shown["question"] == row["Question"].strip()
        assert after_think(shown["response"]) == "\n\n" + row["Response"].strip()
        assert has_one_think_block(shown["response"])
    (rar,) = read_jsonl(reference_data / "medical" / "rar_medicine_one_row_truncated_rubric.jsonl")
    assert prompt(rar, ANY)["gold"]["rubric"][0]["weight"] == 5
