"""A user's own rows: every mistake of every file is in one report, by file and line."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from pipelines.data.own_rows import Asked, faults, gold
from pipelines.data.stage import Limits
from pipelines.sandbox.policies import SHIPPED
from reference_impl.config import LocalJudgeSettings
from reference_impl.config.scales import OwnFiles
from tests.support.own_data import Row, own_row, write_rows

TOKENIZER = Tokenizer.from_file(str(SHIPPED / "sandbox-math" / "tokenizer.json"))
RUBRIC = [{"description": "Names CT.", "weight": 5, "keywords": ["CT"]}, {"description": "X-ray.", "weight": -1}]


def asked(path: Path, reward: str = "math", **changes: Any) -> Asked:
    judge = LocalJudgeSettings(kind="local", noise=0.0) if reward == "judge" else None
    files = OwnFiles(questions=str(path), **changes.pop("files", {}))
    return Asked(files, reward, changes.pop("judge", judge), Limits(96, TOKENIZER), changes.pop("held_out", {}))


def test_sound_rows_have_no_faults(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "my.jsonl", [own_row(1), "", own_row(2, shown=False), own_row(3) | {"answer": "6.0"}])
    assert faults(asked(rows)) == []


def test_every_mistake_is_in_one_report_by_file_and_line(tmp_path: Path) -> None:
    long = "<think>" + "a b c d e f g h " * 20 + "</think>\\boxed{8}"
    rows: list[Row | str] = [
        own_row(1) | {"answer": 3},
        own_row(2, shown=False) | {"question": " "},
        {"qestion": "What?", "answer": 1},
        "not json",
        "",
        own_row(1, shown=False) | {"question": "what is 1 + 1 and nothing else"},
        own_row(3, shown=False) | {"answer": "1/2"},
        own_row(4) | {"response": long},
        own_row(5) | {"response": ""},
        own_row(6) | {"response": "\\boxed{12}"},
        own_row(7, shown=False) | {"answer": True},
        own_row(8, shown=False),
    ]
    path = write_rows(tmp_path / "my.jsonl", rows)
    held = {"what is 8 + 8 and nothing else": "own-math"}
    found = [line.removeprefix(f"{path}, line ") for line in faults(asked(path, held_out=held))]
    assert found == [
        "1: the reward does not call the response right: its answer is not 3",
        "2: question ' ' is no text",
        "3: unknown key 'qestion'; did you mean 'question'? (allowed: question, answer, response)",
        "3: missing question (has: qestion, answer)",
        "4: not JSON: Expecting value: line 1 column 1 (char 0)",
        "6: its question is that of line 1 too",
        "7: answer: gold '1/2' is no integer, which the reward for math compares with",
        f"8: the response has {Limits(96, TOKENIZER).tokens(long)} tokens, max_response_tokens is 96",
        "9: response '' is no text: a demonstration has nothing to teach",
        "10: the response is not one <think>…</think> and then a text with the answer in \\boxed{}",
        "11: answer: gold True is no integer, which the reward for math compares with",
        "12: its question is asked in evaluation too, for own-math",
    ]


def test_files_as_a_whole(tmp_path: Path) -> None:
    empty = write_rows(tmp_path / "empty.jsonl", [])
    shown = write_rows(tmp_path / "shown.jsonl", [own_row(1), own_row(2, shown=False)])
    one = asked(empty, files={"demonstrations": str(shown), "prompt": "tool-n1"})
    assert faults(one) == [
        "files.prompt: tool-n1 asks for 'functions', which rows of your own do not have",
        f"{empty} holds no questions",
        f"{shown}, line 2: missing response (has: question, answer)",
    ]
    assert faults(asked(tmp_path / "none.jsonl")) == [f"files.questions: no such file: {tmp_path / 'none.jsonl'}"]


def test_answers_that_a_judge_reads(tmp_path: Path) -> None:
    rows: list[Row | str] = [
        {"question": "Which scan?", "answer": RUBRIC[:1], "response": "<think>Stones.</think> A CT."},
        {"question": "Which dose?", "answer": "Two grams.", "response": "<think>Hm.</think>"},
        {"question": "Which drug?", "answer": [{"description": "x", "weight": -1}]},
    ]
    path = write_rows(tmp_path / "my.jsonl", rows)
    assert [line.removeprefix(f"{path}, line ") for line in faults(asked(path, "judge"))] == [
        "2: answer: rubric item 1 has neither pattern nor keywords, which the local judge needs",
        "2: the response has no text after its think block, which is all that a judge reads",
        "3: answer: no criterion has a positive weight: [-1]",
    ]
    # A judge that is a language model reads a reference answer as its one criterion.
    assert len(faults(asked(path, "judge", judge=None))) == 2
    assert gold("judge", "Which dose?", " Two grams. ") == {
        "question": "Which dose?",
        "rubric": [{"title": "Reference", "description": "Agrees with the answer: Two grams.", "weight": 1}],
    }


@pytest.mark.parametrize(("answer", "expected"), [(4, "4"), ("4.0", "4"), ("1,000", "1000")])
def test_answers_of_math_are_integers(answer: Any, expected: str) -> None:
    assert gold("math", "?", answer) == expected
