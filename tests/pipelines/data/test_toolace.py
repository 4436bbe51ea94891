"""ToolACE: its notation read without evaluation, its rows as prompts with golds, its demonstrations by an expert."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.data import toolace
from pipelines.data.quarantine import FilteredError, MalformedError
from pipelines.data.stage import Limits
from pipelines.data.toolace import candidate
from pipelines.data.toolace_calls import read_calls, read_functions
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.rewards import grade_tool
from reference_impl.text.prompts import render
from tests.support.judge_server import Handler, serve
from tests.support.real_data import FUNCTIONS, benchmarks_folder, described, toolace_row, toolace_system

pytestmark = pytest.mark.slow

ANY = Limits(16384)
R1 = "DeepSeek-R1"
NAMES = (
    "Market Trends API",
    "Market",
    "User Feed",
    "User Feed (Video Posts) V2",
    "Search Strong's Number API",
    "/madlibs-diceware",
    "get.time",
    "a, b",
    "Padded ",
)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('[Market Trends API(trend_type="GAINERS", n=2)]', [("Market Trends API", {"trend_type": "GAINERS", "n": 2})]),
        (
            "[User Feed (Video Posts) V2(username='a'), User Feed()]",
            [("User Feed (Video Posts) V2", {"username": "a"}), ("User Feed", {})],
        ),
        ('[Search Strong\'s Number API(q="a\\"b, c)")]', [("Search Strong's Number API", {"q": 'a"b, c)'})]),
        # Python keywords and other odd names as parameters, Python's and JSON's literals as values.
        (
            '[get.time(from="x", class=None, max-results=3, on=true, off=False, none=null)]',
            [("get.time", {"from": "x", "class": None, "max-results": 3, "on": True, "off": False, "none": None})],
        ),
        (
            '[Market(a=[1, 2.5, {"k": [true]}], b={\'x\': (1, 2)}, c=-3, d="a=b")]',
            [("Market", {"a": [1, 2.5, {"k": [True]}], "b": {"x": [1, 2]}, "c": -3, "d": "a=b"})],
        ),
        ("[\n  /madlibs-diceware( nphrase = 2 ) ,\n a, b( )\n]", [("/madlibs-diceware", {"nphrase": 2}), ("a, b", {})]),
        ("[Market(a=1,)]", [("Market", {"a": 1})]),
        ("[Padded(a=1)]", [("Padded ", {"a": 1})]),
    ],
)
def test_calls(text: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert [(call.name, call.arguments) for call in read_calls(text, NAMES)] == calls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I need your name.", "not in brackets"),
        ("[]", "an empty list of calls"),
        ("[Weather(a=1)]", "no call of an offered function"),
        ("[Market]", "no call of an offered function"),
        ("[Market(a=1) Market(a=2)]", "expected a comma"),
        ("[Market(a=1]", "another bracket is open"),
        ("[Market(a=1, b=(2)]", "another bracket is open"),
        ("[Market(a=']", "not closed"),
        ("[Market(1)]", "expected another name=value"),
        ("[Market(a=1, a=2)]", "expected another name=value"),
        ("[Market(a=b)]", "no literal"),
        ("[Market(a=__import__('os').system('echo'))]", "no literal"),
        ("[Market(a={1, 2})]", "no JSON value"),
        ("[Market(a=NaN)]", "not JSON compliant"),
        (f"[Market(a={'[' * 5000}{']' * 5000})]", "nested too deeply|no literal"),
        (f"[Market(a='{'x' * 100_000}')]", "characters of calls"),
    ],
)
def test_what_is_no_list_of_calls(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_calls(text, NAMES)


def test_functions_of_the_system_prompt() -> None:
    first, second = read_functions(toolace_system())
    assert first == {key: FUNCTIONS[0][key] for key in ("name", "description", "parameters")}
    assert second["parameters"] == {"type": "dict", "properties": {}}
    assert read_functions(toolace_system([{"name": "f"}]))[0]["parameters"] == {"type": "dict", "properties": {}}
    for system, message in (
        ("You are helpful [1].", "no list of functions"),
        (toolace_system([]), "list of functions is empty"),
        (toolace_system([{"description": "?"}]), "no function"),
        (toolace_system([{"name": "f", "parameters": [1]}]), "parameters are no schema"),
        (toolace_system()[:200], "Expecting|Unterminated|delimiter"),
    ):
        with pytest.raises(ValueError, match=message):
            read_functions(system)


def test_candidate() -> None:
    found = candidate(toolace_row(3), ANY)
    assert found["question"] == "Show me the top 3 gainers, please." and found["prompt"] == "tool-n1"
    assert found["gold"] == [{"name": "Market Trends API", "arguments": {"trend_type": "GAINERS", "limit": 3}}]
    system, user = render(found)
    assert json.dumps(found["functions"]) in system["content"] and "func1(params_name" not in system["content"]
    assert user["content"] == found["question"]
    assert grade_tool(f"<think>x</think><tool_call>{json.dumps(found['gold'])}</tool_call>", found["gold"]).reward == 1


def test_rows_that_are_not_used() -> None:
    for row, error, reason in (
        (toolace_row(1, "What is your name?"), FilteredError, "no call"),
        (toolace_row(1, '[User Feed(name="x")]'), FilteredError, "does not declare"),
        (toolace_row(1, "[Weather()]"), MalformedError, "unreadable calls: no call of an offered function"),
        (toolace_row(1) | {"system": "Hello."}, MalformedError, "unreadable functions"),
        (toolace_row(1) | {"conversations": "x"}, MalformedError, "no list of dict in conversations"),
        (toolace_row(1) | {"conversations": [{}]}, MalformedError, "fewer than two turns"),
        (toolace_row(1) | {"conversations": [{"from": "assistant"}, {"from": "user"}]}, MalformedError, "not a user's"),
    ):
        with pytest.raises(error, match=reason):
            candidate(row, ANY)


def answer(row: dict[str, Any], right: bool = True) -> dict[str, Any]:
    calls = row["gold"] if right else [{"name": "User Feed", "arguments": {}}]
    return {"id": row["id"], "response": f"<think>So be it.</think><tool_call>{json.dumps(calls)}</tool_call>"}


def test_the_stage_takes_accepted_answers_from_a_file(tmp_path: Path) -> None:
    source, out, answers = tmp_path / "data.json", tmp_path / "tool", tmp_path / "answers"
    source.write_text(json.dumps([toolace_row(n) for n in range(3, 63)] + [toolace_row(99, "Why?")]), encoding="utf-8")
    options = ["--domain", "tool", "--scale", "smoke", "--out", str(out), "--local", f"toolace={source}"]
    options += ["--benchmarks", str(benchmarks_folder(tmp_path / "b", "tool", ["Show me the top 5 gainers, please."]))]
    options += ["--answers", str(answers)]
    toolace.main([*options, "--file", "candidates.jsonl"])
    candidates = read_jsonl(out / "candidates.jsonl")
    with pytest.raises(SystemExit, match=r"8 demonstrations are needed; of 35 questions 0 .* and 35 have no answer"):
        toolace.main([*options, "--file", "expert.jsonl"])
    # Two wrong answers before each right one; every third question has no right one.
    for expert in ("DeepSeek-R1", "Qwen2.5-72B-Instruct"):
        write_jsonl(
            answers / f"{expert}.jsonl",
            [
                answer(row, right)
                for i, row in enumerate(candidates)
                for right in (False, False, bool(i % 3) or expert[0] == "Q")
            ],
        )
    with pytest.raises(SystemExit, match=r"16 demonstrations are needed; of 16 questions 1\d have an accepted"):
        toolace.main(options)  # `aligned` has the prompts' questions, and some have no right answer
    write_jsonl(answers / "DeepSeek-R1.jsonl", [answer(row, right) for row in candidates for right in (False, True)])
    toolace.main(options)
    manifest = described(out)
    assert (manifest["prompts_rows"], manifest["expert_rows"], manifest["expert_second_rows"]) == (16, 8, 8)
    assert manifest["sources"]["filtered"] == {"question of sandbox-bfcl": 1, "whose first answer is no call": 1}
    prompts = read_jsonl(out / "prompts.jsonl")
    assert [row["id"] for row in read_jsonl(out / "expert-aligned.jsonl")] == [row["id"] for row in prompts]
    main, second = (read_jsonl(out / name) for name in ("expert.jsonl", "expert-second.jsonl"))
    assert [row["id"] for row in main] == [row["id"] for row in second]  # both experts answer the same questions
    for row in (*main, *second):
        assert grade_tool(row["response"], row["gold"]).correct
    assert {row["meta"]["expert_sample"] for row in main} == {1}  # the answer before it was wrong
    assert all("response" not in row and "pool" not in row for row in prompts)


def options_with_candidates(folder: Path) -> list[str]:
    """A folder of 60 candidates, and the command line that made it."""
    source = folder / "data.json"
    source.write_text(json.dumps([toolace_row(n) for n in range(3, 63)]), encoding="utf-8")
    options = ["--domain", "tool", "--scale", "smoke", "--out", str(folder / "tool"), "--local", f"toolace={source}"]
    options += ["--benchmarks", str(benchmarks_folder(folder / "b", "tool", ["Another question."]))]
    options += ["--answers", str(folder / "answers")]
    toolace.main([*options, "--file", "candidates.jsonl"])
    return options


def right(handler: Handler, number: int, payload: Any) -> None:
    """The right call for a question of `toolace_row`."""
    wanted = int(re.findall(r"\d+", payload["messages"][-1]["content"])[-1])
    gold = [{"name": "Market Trends API", "arguments": {"trend_type": "GAINERS", "limit": wanted}}]
    handler.complete(answer({"id": "", "gold": gold})["response"], {"prompt_tokens": 900, "completion_tokens": 300})


def test_only_the_expert_that_the_endpoint_serves_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolace.KEY_VARIABLE, "sk-1")
    options = options_with_candidates(tmp_path)
    second, qwen = tmp_path / "tool" / "expert-second.jsonl", tmp_path / "answers" / "Qwen2.5-72B-Instruct.jsonl"
    with serve(right) as server:
        endpoint = ["--url", server.url, "--model", "r1", "--ask"]
        # 8 questions of validation and 16 prompts: of 60 candidates 36 are left, and none of them has an answer.
        missing = r"36 have no answer there, the first of them toolace-.*no endpoint is given that serves Qwen2\.5-72B"
        with pytest.raises(SystemExit, match=missing):
            toolace.main([*options, *endpoint, R1, "--file", second.name])
        assert not server.payloads and not qwen.exists()
        toolace.main([*options, *endpoint, "Qwen2.5-72B-Instruct", "--file", second.name])
        assert len(server.payloads) == len(read_jsonl(qwen)) == 8
        assert server.headers[0]["Authorization"] == "Bearer sk-1"
        # Stored answers name another model than the endpoint's: no matter, unless they are those that are asked for.
        written = second.read_bytes()
        second.unlink()
        write_jsonl(qwen, [row | {"model": "qwen-72b"} for row in read_jsonl(qwen)])
        toolace.main([*options, *endpoint, R1, "--file", second.name])
        assert second.read_bytes() == written and len(server.payloads) == 8
        with pytest.raises(SystemExit, match=r"row 1: an answer of 'qwen-72b', but 'r1' is asked"):
            toolace.main([*options, *endpoint, "Qwen2.5-72B-Instruct", "--file", second.name])


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (
            "--url http://localhost/v1 --model r1",
            r"--ask missing: .*--ask EXPERT \(one of DeepSeek-R1, Qwen2\.5-72B-In",
        ),
        ("--ask DeepSeek-R1 --url http://localhost/v1", "--model missing"),
        ("--ask DeepSeek-R1", "--url, --model missing"),
        ("--ask deepseek-r1 --url http://localhost/v1 --model r1", "unknown expert 'deepseek-r1'; did you mean 'Deep"),
    ],
)
def test_an_endpoint_is_said_in_full_before_anything_is_read(tmp_path: Path, endpoint: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        toolace.main(["--domain", "tool", "--scale", "smoke", "--out", str(tmp_path), *endpoint.split()])


def test_two_processes_with_one_expert_share_its_budget(tmp_path: Path) -> None:
    """8 and 16 demonstrations at 0.0015 each (900 tokens in at 1 and 300 out at 2 a million) are 0.036 of 0.02.

    Each process by itself could pay for 8 (0.012) and 12 or more: 0.03 if neither knew of the other.
    """
    options = options_with_candidates(tmp_path)
    asked, go_on = threading.Event(), threading.Event()

    def slow(handler: Handler, number: int, payload: Any) -> None:
        asked.set()
        go_on.wait(timeout=60)
        go_on.set()  # a process that never waited is not held for every question
        right(handler, number, payload)

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipelines.data.toolace", *options, *endpoint, "--file", name]
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    with serve(slow) as server:
        endpoint = ["--ask", R1, "--url", server.url, "--model", "r1", "--prices", "1", "2", "--budget", "0.02"]
        with start("expert.jsonl") as one:
            assert asked.wait(timeout=120)
            with start("expert-aligned.jsonl") as other:
                assert other.stderr is not None
                said = other.stderr.readline()  # while the first process waits for its answers
                go_on.set()
                _, error = other.communicate(timeout=120)
            assert one.wait(timeout=120) == 0
        assert said == f"waiting for {tmp_path / 'answers' / R1}.jsonl, which another process uses\n"
        assert other.returncode == 1 and "of the budget of 0.02 are spent" in error
    stored = read_jsonl(tmp_path / "answers" / f"{R1}.jsonl")  # raises for a line that is none
    assert len(stored) == len(server.payloads) == len({row["id"] for row in stored})
    assert len(stored) > 8 and sum(row["prompt_tokens"] + 2 * row["completion_tokens"] for row in stored) <= 20_000


def test_real_system_prompts_and_calls(reference_data: Path) -> None:
    """The file's system prompts are ToolACE's; its calls were converted to JSON, faithfully in 18 of 100 rows."""
    rows = read_jsonl(reference_data / "toolace" / "toolace_first100_lossy_calls.jsonl")
    faithful = 0
    for row in rows:
        functions = read_functions(row["system"])
        assert [f["name"] for f in functions] == [tool["name"] for tool in row["tools_parsed"]]
        assert [f["parameters"] for f in functions] == [tool["parameters"] for tool in row["tools_parsed"]]
        if not row["first_call_names_all_in_tools"]:
            continue
        faithful += 1
        first, second = row["conversations"][:2]
        calls = json.loads(second["value"])
        calls = calls if isinstance(calls, list) else [calls]
        text = ", ".join(f"{c['name']}({', '.join(f'{k}={v!r}' for k, v in c['arguments'].items())})" for c in calls)
        hub = [{"from": "user", "value": first["value"]}, {"from": "assistant", "value": f"[{text}]"}]
        found = candidate({"system": row["system"], "conversations": hub}, ANY)
        assert found["gold"] == [{"name": c["name"], "arguments": c["arguments"]} for c in calls]
    assert faithful == 18


_TOOL = re.compile(r"^\d+\. Name: (.*)\nDescription: (.*)\nParameters: (.*)$", re.MULTILINE)


def converted(row: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """A row of ToolRL's preparation of ToolACE as a row of the hub's and an expert's answer; None without calls."""
    thought, opened, rest = row["output"].rpartition("<tool_call>")
    if not opened or row["input"].count("<user>") != 1:
        return None
    calls = [json.loads(line) for line in rest.partition("</tool_call>")[0].strip().splitlines()]
    functions = [
        {"name": name, "description": text, "parameters": {"type": "dict", "properties": json.loads(parameters)}}
        for name, text, parameters in _TOOL.findall(row["instruction"])
    ]
    written = ", ".join(
        f"{call['name']}({', '.join(f'{key}={json.dumps(value)}' for key, value in call['parameters'].items())})"
        for call in calls
    )
    question = row["input"].partition("<user>")[2].partition("</user>")[0].strip()
    turns = [{"from": "user", "value": question}, {"from": "assistant", "value": f"[{written}]"}]
    golds = [{"name": call["name"], "arguments": call["parameters"]} for call in calls]
    answered = f"{thought.strip()}\n<tool_call>{json.dumps(golds)}</tool_call>"
    return {"system": toolace_system(functions), "conversations": turns}, answered


def test_real_questions_with_real_thoughts_through_an_endpoint(reference_data: Path, tmp_path: Path) -> None:
    """339 questions with DeepSeek-R1's thoughts: the full stage, with an expert that is wrong in its first tries."""
    found = read_jsonl(reference_data / "toolace" / "toolrl_rlla_sft_400_r1_thoughts.jsonl")
    pairs = [pair for pair in map(converted, found) if pair is not None]
    assert len(pairs) >= 335
    (tmp_path / "data.json").write_text(json.dumps([row for row, _ in pairs]), encoding="utf-8")
    answers = {row["conversations"][0]["value"]: text for row, text in pairs}
    experts = {"expert.jsonl": R1, "expert-aligned.jsonl": R1, "expert-second.jsonl": "Qwen2.5-72B-Instruct"}
    asked: dict[str, int] = {}

    def expert(handler: Handler, number: int, payload: Any) -> None:
        question = payload["messages"][-1]["content"]
        asked[question] = asked.get(question, 0) + 1
        right_at = len(question) % 3 + 1  # of three questions one is answered at once, one by the third try
        text = answers[question]
        wrong = text.replace("<tool_call>[{", '<tool_call>[{"name": "Another", "arguments": {}}, {')
        usage = {"prompt_tokens": 900, "completion_tokens": 300}
        handler.complete(text if asked[question] >= right_at else wrong, usage)

    options = ["--domain", "tool", "--scale", "smoke", "--out", str(tmp_path / "tool"), "--tries", "3"]
    options += ["--answers", str(tmp_path / "a"), "--local", f"toolace={tmp_path / 'data.json'}"]
    options += ["--benchmarks", str(benchmarks_folder(tmp_path / "b", "tool", ["Another question."]))]
    with serve(expert) as server:
        endpoint = ["--url", server.url, "--prices", "1", "2", "--ask"]
        toolace.main([*options, "--file", "candidates.jsonl"])
        # An answer costs 0.0015; a call may cost more, and ends the first run where there is no room for that.
        with pytest.raises(SystemExit, match=r"of the budget of 0\.02 are spent"):
            once = ["--model", "r1", "--budget", "0.02", "--concurrency", "1", "--file", "expert.jsonl"]
            toolace.main([*options, *endpoint, R1, *once])
        stored = len(read_jsonl(tmp_path / "a" / "DeepSeek-R1.jsonl"))
        assert 1 <= stored < 16 and len(server.payloads) == stored
        for name, source in experts.items():
            model = "r1" if source == R1 else "qwen"
            toolace.main([*options, *endpoint, source, "--model", model, "--budget", "5", "--file", name])
    for name in ("prompts.jsonl", "validation.jsonl", "manifest.json"):
        toolace.main([*options, "--file", name])
    assert len(server.payloads) == sum(asked.values())
    sources = described(tmp_path / "tool")["sources"]
    assert sources["source_rows"] == len(pairs) and sources["kept_rows"] >= 300, sources
    assert max(asked.values()) <= 2 * 3  # two experts, three tries each
    for name in experts:
        for row in read_jsonl(tmp_path / "tool" / name):
            assert row["response"] == answers[row["question"]] and grade_tool(row["response"], row["gold"]).correct
