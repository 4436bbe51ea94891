"""The authors' splits of ToolACE, on rows made by hand in the form that their public code writes and reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.data import trinity_toolace
from pipelines.data.quarantine import FilteredError, MalformedError
from pipelines.data.stage import Limits
from pipelines.data.toolace import candidate
from pipelines.data.trinity_toolace import demonstration, prompt
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rewards import grade_tool
from reference_impl.text.prompts import render
from tests.support.real_data import (
    FUNCTIONS,
    benchmarks_folder,
    described,
    toolace_row,
    trinity_rl_row,
    trinity_sft_row,
)

pytestmark = pytest.mark.slow

ANY = Limits(16384)


def test_a_prompt_is_that_of_the_same_row_of_toolace() -> None:
    """What `pipelines.data.toolace` makes of the conversation that the authors prepared."""
    assert prompt(trinity_rl_row(7), ANY) == candidate(toolace_row(7), ANY)
    as_lists = trinity_rl_row(7, tools=FUNCTIONS, answer=json.loads(trinity_rl_row(7)["answer"]))
    assert prompt(as_lists, ANY) == candidate(toolace_row(7), ANY)


def test_a_demonstration_has_the_experts_response_and_its_calls_as_gold() -> None:
    row = demonstration(trinity_sft_row(7), ANY)
    assert row["question"] == "Show me the top 7 losers, please."
    assert row["gold"] == [{"name": "Market Trends API", "arguments": {"trend_type": "LOSERS", "limit": 7}}]
    assert row["response"] == trinity_sft_row(7)["messages"][2]["content"]
    assert grade_tool(row["response"], row["gold"]).correct
    # Functions that stand one a line, each in an object of its own, and those of ToolACE's list are the same.
    assert row["functions"] == candidate(toolace_row(7), ANY)["functions"]
    system = trinity_sft_row(7)["messages"]
    system[0]["content"] = f"<tools>{json.dumps(FUNCTIONS)}</tools>"
    assert demonstration({"messages": system}, ANY)["functions"] == row["functions"]
    assert "Market Trends API" in render(row)[0]["content"]


TURNS = [{"from": "user", "value": "Hello"}, {"from": "assistant", "value": "Hi"}, {"from": "user", "value": "Go"}]
CALL = '{"name": "User Feed", "arguments": {}}'


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"conversations": TURNS}, FilteredError, "no single turn"),
        ({"conversations": None}, MalformedError, "conversations"),
        ({"answer": "[]"}, FilteredError, "no call"),
        ({"answer": "[Market()]"}, MalformedError, "answer is no JSON"),
        ({"answer": json.dumps([{"name": "Other", "arguments": {}}])}, MalformedError, "not offered"),
        (
            {"answer": json.dumps([{"name": "User Feed", "arguments": {"n": 1}}])},
            FilteredError,
            "does not declare",
        ),
        ({"tools": "[]"}, MalformedError, "unreadable functions"),
        ({"tools": '[{"a": 1}]'}, MalformedError, "unreadable functions"),
        ({"tools": None}, MalformedError, "unreadable functions"),
    ],
)
def test_prompts_that_are_not_used_say_why(changes: dict[str, Any], error: type[ValueError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        prompt(trinity_rl_row(7, **changes), ANY)


@pytest.mark.parametrize(
    ("response", "error", "reason"),
    [
        (f"<tool_call>[{CALL}]</tool_call>", FilteredError, "not a think block"),
        ("<think>Which?</think> I cannot tell.", MalformedError, "unreadable calls"),
        ("<think>Which?</think><tool_call>[User Feed()]</tool_call>", MalformedError, "unreadable calls"),
    ],
)
def test_responses_that_are_not_used_say_why(response: str, error: type[ValueError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        demonstration(trinity_sft_row(7, response), ANY)


def test_messages_in_another_form_are_quarantined() -> None:
    chat = trinity_sft_row(7)["messages"]
    with pytest.raises(FilteredError, match="no single turn"):
        demonstration({"messages": [*chat, *chat[1:]]}, ANY)
    with pytest.raises(MalformedError, match="no <tools>"):
        demonstration({"messages": [{"role": "system", "content": "You are an expert."}, *chat[1:]]}, ANY)
    with pytest.raises(MalformedError, match="unreadable functions"):
        demonstration({"messages": [{"role": "system", "content": "<tools>{</tools>"}, *chat[1:]]}, ANY)


def test_the_stage_takes_each_file_from_its_split(tmp_path: Path) -> None:
    rl, sft, out, answers = (tmp_path / name for name in ("rl.jsonl", "sft.jsonl", "tool", "answers"))
    shared = trinity_rl_row(1)
    shared["conversations"][0]["value"] = trinity_sft_row(3)["messages"][1]["content"]
    write_jsonl(rl, [trinity_rl_row(n) for n in range(3, 43)] + [shared])
    write_jsonl(sft, [trinity_sft_row(n) for n in range(3, 23)])
    options = [
        "--domain",
        "tool",
        "--scale",
        "smoke",
        "--out",
        str(out),
        "--local",
        f"rl={rl}",
        "--local",
        f"sft={sft}",
    ]
    options += ["--benchmarks", str(benchmarks_folder(tmp_path / "b", "tool", ["Another question."]))]
    for name in ("candidates.jsonl", "validation.jsonl", "prompts.jsonl", "expert.jsonl"):
        trinity_toolace.main([*options, "--file", name])
    with pytest.raises(SystemExit, match="needs --answers FOLDER"):
        trinity_toolace.main([*options, "--file", "expert-aligned.jsonl"])
    for expert in ("DeepSeek-R1", "Qwen2.5-72B-Instruct"):
        rows = read_jsonl(out / "candidates.jsonl")
        told = [f"<think>So.</think><tool_call>{json.dumps(row['gold'])}</tool_call>" for row in rows]
        answered = [{"id": row["id"], "response": text} for row, text in zip(rows, told, strict=True)]
        write_jsonl(answers / f"{expert}.jsonl", answered)
    trinity_toolace.main([*options, "--answers", str(answers)])
    manifest = described(out)
    assert (manifest["prompts_rows"], manifest["validation_rows"], manifest["expert_rows"]) == (16, 8, 8)
    assert manifest["sources"]["filtered"] == {"question of sft": 1}
    main, second = (read_jsonl(out / name) for name in ("expert.jsonl", "expert-second.jsonl"))
    assert all("The user wants losers." in row["response"] for row in main)
    assert [row["id"] for row in main] == [row["id"] for row in second] and second[0]["response"].startswith(
        "<think>So"
    )
    prompts = read_jsonl(out / "prompts.jsonl")
    assert all("gainers" in row["question"] for row in prompts)
    assert [row["id"] for row in read_jsonl(out / "expert-aligned.jsonl")] == [row["id"] for row in prompts]


def test_the_hub_needs_a_commit(tmp_path: Path) -> None:
    options = ["--domain", "tool", "--scale", "smoke", "--out", str(tmp_path / "tool"), "--file", "candidates.jsonl"]
    benchmarks = benchmarks_folder(tmp_path / "b", "tool", ["Another question."])
    with pytest.raises(SystemExit, match=r"--local sft=PATH, or --revision sft=HASH"):
        trinity_toolace.main([*options, "--benchmarks", str(benchmarks)])
