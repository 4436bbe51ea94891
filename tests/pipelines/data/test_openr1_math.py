"""OpenR1-Math-220k: which rows are kept, how they are split, and what is said of the others."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from pipelines.data import openr1_math, sources
from pipelines.data.openr1_math import OPENR1, candidate
from pipelines.data.quarantine import FilteredError, MalformedError
from pipelines.data.stage import Limits, check_splits
from pipelines.sandbox.policies import SHIPPED
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rewards import grade_math
from tests.support.real_data import Row, benchmarks_folder, described, openr1_row

ANY = Limits(16384)
FILES = (
    "prompts.jsonl",
    "validation.jsonl",
    "expert.jsonl",
    "expert-few.jsonl",
    "expert-large.jsonl",
    "expert-aligned.jsonl",
)


def run(out: Path, local: Path, benchmarks: Path, *more: str) -> None:
    options = ["--domain", "math", "--scale", "smoke", "--out", str(out), "--local", f"openr1={local}"]
    openr1_math.main([*options, "--benchmarks", str(benchmarks), *more])


def test_candidate_has_the_first_complete_verified_right_generation() -> None:
    row = openr1_row(3)
    found = candidate(row, ANY)
    assert (found["question"], found["gold"], found["prompt"]) == (row["problem"], "4", "math")
    assert found["response"] == row["generations"][1] and grade_math(found["response"], "4").reward == 1.0
    assert found["meta"] == {
        "uuid": "uuid-3",
        "source": "olympiads",
        "problem_type": "Algebra",
        "response_tokens": None,
    }
    by_judge = openr1_row(3, correctness_math_verify=[False, False], correctness_llama=[False, True])
    assert candidate(by_judge, ANY)["response"] == found["response"]
    assert candidate(openr1_row(3, answer="$4$"), ANY)["gold"] == "4"
    assert candidate(openr1_row(3, is_reasoning_complete=None, finish_reasons=None), ANY)["gold"] == "4"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": "\\frac{1}{2}"}, "without an integer answer"),
        ({"answer": "proof"}, "without an integer answer"),
        ({"correctness_math_verify": [False, False]}, "without a complete verified generation"),
        ({"is_reasoning_complete": [True, False]}, "without a complete verified generation"),
        ({"finish_reasons": ["stop", "length"]}, "without a complete verified generation"),
        # Verified by the data set's authors, but the final answer is not the gold, or the format is broken.
        ({"answer": "5"}, "our grader finds right"),
        ({"generations": ["", "Four: \\boxed{4}"]}, "our grader finds right"),
        ({"generations": ["", "<think>\\boxed{4}"]}, "our grader finds right"),
    ],
)
def test_sound_rows_that_are_left_out(changes: Row, reason: str) -> None:
    with pytest.raises(FilteredError, match=reason):
        candidate(openr1_row(3, **changes), ANY)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problem": " "}, "no text in problem"),
        ({"answer": 4}, "no text in answer"),
        ({"generations": None}, "no list of str in generations"),
        ({"generations": [None, "x"]}, "no list of str in generations"),
        ({"correctness_math_verify": [True]}, "correctness_math_verify of another length: 1 instead of 2"),
        ({"correctness_math_verify": None}, "no verdicts"),
        ({"is_reasoning_complete": ["yes", "no"]}, "no list of bool in is_reasoning_complete"),
        ({"finish_reasons": ["stop"]}, "finish_reasons of another length"),
    ],
)
def test_malformed_rows(changes: Row, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        candidate(openr1_row(3, **changes), ANY)


def test_token_limit_is_in_the_policys_tokens_with_the_end_of_turn() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(SHIPPED / "sandbox-math" / "tokenizer.json"))
    short = openr1_row(3)["generations"][1]
    tokens = len(tokenizer.encode(short, add_special_tokens=False).ids) + 1
    assert candidate(openr1_row(3), Limits(tokens, tokenizer))["meta"]["response_tokens"] == tokens
    with pytest.raises(FilteredError, match="beyond the token limit only"):
        candidate(openr1_row(3), Limits(tokens - 1, tokenizer))
    # A later generation that fits is taken instead.
    long = short.replace("Add one", "Add one, slowly,")
    both = openr1_row(3, generations=[long, short], correctness_math_verify=[True, True])
    assert candidate(both, Limits(tokens, tokenizer))["response"] == short
    assert candidate(both, ANY)["response"] == long


def test_the_stage_writes_splits_that_do_not_overlap(tmp_path: Path) -> None:
    rows = [openr1_row(n) for n in range(1000, 1080)]
    source, benchmarks = tmp_path / "rows.jsonl", benchmarks_folder(tmp_path / "b", "math", [rows[7]["problem"]])
    broken = [openr1_row(1, answer=None), openr1_row(2, generations="text")]
    write_jsonl(source, [*rows[:40], *broken, *rows[40:], openr1_row(1000), openr1_row(3, answer="1/2")])
    with source.open("a", encoding="utf-8") as file:
        file.write('{"problem": \n[1]\n')
    out = tmp_path / "math"
    run(out, source, benchmarks, "--tokenizer", str(SHIPPED / "sandbox-math"))

    splits = {name: read_jsonl(out / name) for name in FILES}
    assert {name: len(found) for name, found in splits.items()} == dict(zip(FILES, (16, 8, 8, 2, 32, 16), strict=True))
    check_splits(splits, prompts_apart=True)
    questions = {name: {row["question"] for row in found} for name, found in splits.items()}
    assert rows[7]["problem"] not in set.union(*questions.values())
    assert splits["expert-large.jsonl"][:8] == splits["expert.jsonl"]  # a larger set begins with the smaller
    assert splits["expert.jsonl"][:2] == splits["expert-few.jsonl"]
    assert not questions["expert-large.jsonl"] & questions["prompts.jsonl"]
    for prompt, shown in zip(splits["prompts.jsonl"], splits["expert-aligned.jsonl"], strict=True):
        assert shown == prompt | {"response": shown["response"]} and "response" not in prompt
        assert grade_math(shown["response"], prompt["gold"]).reward == 1.0

    quarantine = read_jsonl(out / "quarantine.jsonl")
    # Lines 41 and 42 are the two broken rows, 85 and 86 what is no JSON and no object.
    assert [(entry["file"], entry["row"], entry["reason"]) for entry in quarantine] == [
        ("rows.jsonl", 41, "no text in answer"),
        ("rows.jsonl", 42, "no list of str in generations"),
        ("rows.jsonl", 85, "unreadable row"),
        ("rows.jsonl", 86, "unreadable row"),
    ]
    manifest = described(out)
    assert manifest["sources"]["filtered"] == {
        "question met before": 1,
        "question of sandbox-amc": 1,
        "without an integer answer": 1,
    }
    assert manifest["sources"]["quarantined"] == {
        "no list of str in generations": 1,
        "no text in answer": 1,
        "unreadable row": 2,
    }
    assert (manifest["sources"]["source_rows"], manifest["sources"]["kept_rows"]) == (86, 79)
    assert manifest["source"] == "openr1-math-220k" and manifest["prompts_rows"] == 16
    assert manifest["expert_length_mean"] > 10 and set(manifest["sha256"]) == {
        name.removesuffix(".jsonl").replace("-", "_") for name in FILES
    }


def test_splits_depend_on_the_questions_alone(tmp_path: Path) -> None:
    """Neither the order of the rows nor the file format changes a split; each file can be written by itself."""
    rows = [openr1_row(n) for n in range(60)]
    benchmarks = benchmarks_folder(tmp_path / "b", "math", ["Another question."])
    write_jsonl(tmp_path / "rows.jsonl", rows)
    run(tmp_path / "one", tmp_path / "rows.jsonl", benchmarks)
    folder = tmp_path / "parquet"
    folder.mkdir()
    for part, found in (("a", rows[40:]), ("b", rows[:40])):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), folder / f"{part}.parquet")
    for name in ("candidates.jsonl", "expert-aligned.jsonl", *FILES[:5], "manifest.json"):
        run(tmp_path / "two", folder, benchmarks, "--file", name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert described(tmp_path / "two")["expert_length_mean"] is None  # no tokenizer was given
    files = [entry["file"] for entry in described(tmp_path / "two")["sources"]["files"]]
    assert files == ["a.parquet", "b.parquet"]


def test_too_few_rows_name_every_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[Any] = [openr1_row(n) for n in range(20)]
    write_jsonl(tmp_path / "rows.jsonl", [*rows, openr1_row(5), openr1_row(30, answer="x"), openr1_row(1, problem=0)])
    benchmarks = benchmarks_folder(tmp_path / "b", "math", ["Another question."])
    with pytest.raises(SystemExit, match=r"prompts\.jsonl needs 16 rows of openr1-math-220k, 12 remain") as error:
        run(tmp_path / "out", tmp_path / "rows.jsonl", benchmarks)
    assert (
        "20 of 23 rows are left; left out: 1 question met before, 1 without an integer answer, "
        "1 quarantined (no text in problem)"
    ) in str(error.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
    write_jsonl(tmp_path / "rows.jsonl", [{"problem": 1}])
    with pytest.raises(SystemExit, match="0 of 1 rows are left"):
        run(tmp_path / "none", tmp_path / "rows.jsonl", benchmarks)
    with pytest.raises(SystemExit, match=r"write it first \(--file candidates\.jsonl\)"):
        run(tmp_path / "none", tmp_path / "rows.jsonl", benchmarks, "--file", "prompts.jsonl")


def test_sources_are_pinned_or_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.append((repository, options))
        (tmp_path / "hub" / "data").mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([openr1_row(1)]), tmp_path / "hub" / "data" / "train-00000-of-00010.parquet"
        )
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    (found,) = sources.find_files("openr1", OPENR1, None, None)
    assert found.name == "train-00000-of-00010.parquet"
    pinned = "e4e141ec9dea9f8326f4d347be56105859b2bd68"
    options = {"repo_type": "dataset", "revision": pinned, "allow_patterns": ["data/train-*.parquet"]}
    assert asked == [("open-r1/OpenR1-Math-220k", options)]
    assert OPENR1.revision == pinned and len(pinned) == 40
    with pytest.raises(ValueError, match="hex digits, got 'main': give --local openr1=PATH, or --revision openr1=HASH"):
        sources.find_files("openr1", OPENR1, None, "main")
    with pytest.raises(ValueError, match="a local path has no revision"):
        sources.find_files("openr1", OPENR1, tmp_path, pinned)
    with pytest.raises(ValueError, match="no file and no folder of files"):
        sources.find_files("openr1", OPENR1, tmp_path / "absent", None)


def test_reading_arrays_lines_and_parquet(tmp_path: Path) -> None:
    rows = [{"text": 'a, [b] {c} \\ " ü\u2028' * 5, "n": i} for i in range(20)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    write_jsonl(tmp_path / "rows.jsonl", rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for name in ("rows.json", "rows.jsonl", "rows.parquet"):
        records = list(sources.read_records(tmp_path / name, ("text", "n", "absent")))
        assert [record.row for record in records] == rows
        assert [record.number for record in records] == list(range(1, 21))
    for content, message in (
        (b'{"a": 1}', "expected a JSON array, got dict"),
        (b'[{"a": 1}', "not JSON"),
        (b'[{"a": 1}] 2', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'[{"a": "\xff"}]', "not JSON"),
    ):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ValueError, match=rf"bad\.json: {message}"):
            list(sources.read_records(tmp_path / "bad.json", ()))
    (tmp_path / "odd.json").write_text('\ufeff[3, {"a": 1}]', encoding="utf-8")
    assert list(sources.read_records(tmp_path / "odd.json", ())) == [
        sources.Record(1, None, "expected an object, got int"),
        sources.Record(2, {"a": 1}),
    ]
    (tmp_path / "odd.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n{"a": "\xff"}\n{"a": 1} 2\n[]\n')
    problems = [(record.number, bool(record.problem)) for record in sources.read_records(tmp_path / "odd.jsonl", ())]
    assert problems == [(1, False), (3, True), (4, True), (5, True)]
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="not a readable parquet file"):
        list(sources.read_records(tmp_path / "bad.parquet", ("a",)))


def test_real_traces_in_the_hubs_columns(reference_data: Path) -> None:
    """DeepSeek's traces of multiple-choice questions in the place of its solutions: what has no integer is left out."""
    kept = 0
    for row in read_jsonl(reference_data / "r1_traces" / "r1_mmlupro_stem_413.jsonl")[:60]:
        number = ord(row["answer_letter"]) - ord("A")
        text = f"<think>\n{row['reasoning']}\n</think>\n\n{row['answer_text']} \\boxed{{{number}}}"
        hub = openr1_row(0, problem=row["question"], answer=str(number), generations=["", text])
        try:
            found = candidate(hub, ANY)
        except FilteredError as error:
            assert "our grader" in str(error) and row["reasoning"].count("think>")
        else:
            kept += 1
            assert found["response"] == text and found["gold"] == str(number)
        with pytest.raises(FilteredError, match="without an integer answer"):
            candidate(hub | {"answer": row["answer_letter"]}, ANY)
    assert kept >= 58
