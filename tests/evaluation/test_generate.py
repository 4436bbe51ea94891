"""Sampling: seeds, resumption, files. The engine is a fake whose text depends on the seed alone."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evaluation import generate, score
from evaluation.generate import evaluate, plan_tasks, sample_task
from evaluation.reuse import EVALUATIONS
from evaluation.tasks import Plan, read_items
from pipelines.sandbox import math_world, medicine_world
from reference_impl.config import Task
from reference_impl.config.tasks import Local
from reference_impl.files import read_jsonl, write_json, write_jsonl
from reference_impl.rollout import Completion, ContinuousEngine, GenerationRequest
from reference_impl.run.code import grader_code
from reference_impl.seeds import sample_seed


class FakeTokenizer:
    """One token a character."""

    def apply_chat_template(self, messages: list[dict[str, str]], *, tokenize: bool = True, **_: Any) -> Any:
        text = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        return list(text.encode()) if tokenize else text


class FakeEngine:
    """Answers the last digit of the seed; notes what it was asked; may break down after some requests."""

    def __init__(self, weights: str = "w", breaks_after: int | None = None) -> None:
        self.weights = weights
        self.breaks_after = breaks_after
        self.asked: list[GenerationRequest] = []

    def generate(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float, top_p: float
    ) -> list[Completion]:
        if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
            raise InterruptedError("out of power")
        self.asked += requests
        texts = [f"<think>t</think>\\boxed{{{request.seed % 10}}}" for request in requests]
        return [Completion(tuple(text.encode()), text, (0.0,) * len(text), False) for text in texts]

    def fingerprint(self) -> str:
        return self.weights


class QueueEngine(FakeEngine):
    """The same answers as they end, the last request's first; breaks down after so many."""

    def as_they_end(
        self, requests: Sequence[GenerationRequest], *, max_tokens: int, temperature: float, top_p: float
    ) -> Iterator[tuple[int, Completion]]:
        answers = FakeEngine().generate(requests, max_tokens=max_tokens, temperature=temperature, top_p=top_p)
        for place in reversed(range(len(requests))):
            if len(self.asked) == self.breaks_after:
                raise InterruptedError("out of power")
            self.asked.append(requests[place])
            yield place, answers[place]

    def update_weights(self, state: Any) -> None:
        raise NotImplementedError

    def sleep(self, *, weights_follow: bool = False) -> None:
        raise NotImplementedError

    def restart(self) -> None:
        raise NotImplementedError


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Five questions of four samples each, in chunks of six, for the fakes."""
    monkeypatch.setattr(generate, "CHUNK", 6)
    monkeypatch.setattr(generate, "prompt_ids", lambda tokenizer, row: tuple(str(row["question"]).encode()))
    path = tmp_path / "toy.jsonl"
    write_jsonl(path, [{"id": f"q{i}", "problem": f"problem {i}", "answer": str(i)} for i in range(5)])
    task = Task(
        name="toy",
        version=3,
        kind="math",
        benchmark="T",
        prompt="sandbox-math",
        samples_per_problem=4,
        rows=5,
        data=Local(source="local"),
    )
    return Plan(task, read_items(task, path), samples=4, max_tokens=16)


def sample(plan: Plan, engine: FakeEngine, partial: Path) -> list[dict[str, Any]]:
    return sample_task(plan, engine, FakeTokenizer(), partial)  # type: ignore[arg-type]


def test_rows(plan: Plan, tmp_path: Path) -> None:
    rows = sample(plan, FakeEngine(), tmp_path / "p")
    assert [(row["item_id"], row["sample"]) for row in rows] == [(f"q{i}", k) for i in range(5) for k in range(4)]
    seed = sample_seed("evaluation", "toy", "q3", 2)
    response = f"<think>t</think>\\boxed{{{seed % 10}}}"
    assert rows[14] == {
        "task": "toy",
        "task_version": 3,
        "item_id": "q3",
        "category": None,
        "sample": 2,
        "prompt": "system: Think, then put the answer in \\boxed{}.\nuser: problem 3\n",
        "response": response,
        "tokens": len(response),
        "truncated": False,
        "gold": "3",
        "correct": seed % 10 == 3,
        "reason": "correct" if seed % 10 == 3 else "wrong",
        "extracted": str(seed % 10),
    }


def test_every_sample_has_its_own_seed_whatever_the_batch(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sample(plan, FakeEngine(), tmp_path / "p")
    engine = FakeEngine()
    monkeypatch.setattr(generate, "CHUNK", 1)
    assert sample(plan, engine, tmp_path / "q") == rows
    assert len({request.seed for request in engine.asked}) == 20
    fewer = Plan(plan.task, plan.items[2:4], 2, plan.max_tokens)
    by_key = {(row["item_id"], row["sample"]): row for row in rows}
    assert sample(fewer, FakeEngine(), tmp_path / "r") == [by_key[item, k] for item in ("q2", "q3") for k in (0, 1)]


def test_a_question_is_rendered_once_for_all_its_samples(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered, tokenised = [], []

    class CountingTokenizer(FakeTokenizer):
        def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> Any:
            rendered.append(messages[-1]["content"])
            return super().apply_chat_template(messages, **options)

    def counting_ids(tokenizer: Any, row: dict[str, Any]) -> tuple[int, ...]:
        tokenised.append(row["question"])
        return (1,)

    monkeypatch.setattr(generate, "prompt_ids", counting_ids)
    sample_task(plan, FakeEngine(), CountingTokenizer(), tmp_path / "p")  # type: ignore[arg-type]
    assert rendered == tokenised == [f"problem {i}" for i in range(5)]


def test_an_interrupted_evaluation_goes_on(plan: Plan, tmp_path: Path) -> None:
    whole = sample(plan, FakeEngine(), tmp_path / "whole")
    with pytest.raises(InterruptedError):
        sample(plan, FakeEngine(breaks_after=12), tmp_path / "p")
    with (tmp_path / "p").open("a") as file:
        file.write('{"task": "toy", "item_')  # the interruption cut a line
    engine = FakeEngine()
    assert sample(plan, engine, tmp_path / "p") == whole
    assert len(engine.asked) == 8  # 20 less the two whole chunks of 6
    assert (tmp_path / "p").read_bytes() == (tmp_path / "whole").read_bytes()
    engine = FakeEngine()
    assert sample(plan, engine, tmp_path / "p") == whole
    assert engine.asked == []


@pytest.mark.parametrize("change", ["weights", "samples", "max_tokens", "questions"])
def test_samples_of_something_else_are_not_taken_over(plan: Plan, tmp_path: Path, change: str) -> None:
    sample(plan, FakeEngine(), tmp_path / "p")
    changed = {
        "weights": plan,
        "samples": Plan(plan.task, plan.items, 3, plan.max_tokens),
        "max_tokens": Plan(plan.task, plan.items, plan.samples, 17),
        "questions": Plan(plan.task, plan.items[:4], plan.samples, plan.max_tokens),
    }[change]
    engine = FakeEngine("other" if change == "weights" else "w")
    sample(changed, engine, tmp_path / "p")
    assert len(engine.asked) == len(changed.requests())


def test_responses_are_stored_as_they_end_and_none_is_sampled_twice(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends first: the rows are those of an engine that samples in batches, in the same order."""
    monkeypatch.setattr(generate, "LUMP", 3)
    expected = sample(plan, FakeEngine(), tmp_path / "p")
    assert isinstance(QueueEngine(), ContinuousEngine) and not isinstance(FakeEngine(), ContinuousEngine)
    assert sample(plan, QueueEngine(), tmp_path / "q") == expected
    with pytest.raises(InterruptedError):
        sample(plan, QueueEngine(breaks_after=8), tmp_path / "r")
    stored = read_jsonl(tmp_path / "r")[1:]
    assert [(row["item_id"], row["sample"]) for row in stored[:3]] == [("q4", 3), ("q4", 2), ("q4", 1)]
    assert len(stored) == 6, "two whole lumps"
    with (tmp_path / "r").open("a", encoding="utf-8") as file:
        file.write('{"item_id": "q0"')  # what a power cut leaves of a line
    rest = QueueEngine()
    assert sample(plan, rest, tmp_path / "r") == expected
    assert len(rest.asked) == 14 and len({request.seed for request in rest.asked}) == 14


def test_evaluate_writes_whole_folders(plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InterruptedError):
        evaluate([plan], FakeEngine(breaks_after=6), FakeTokenizer(), out)  # type: ignore[arg-type]
    assert not out.exists()
    evaluate([plan], FakeEngine(), FakeTokenizer(), out)  # type: ignore[arg-type]
    assert sorted(path.name for path in out.iterdir()) == ["summary.json", "toy.jsonl"]
    assert not (tmp_path / "out.partial").exists()
    summary = json.loads((out / "summary.json").read_text())["toy"]
    rows = read_jsonl(out / "toy.jsonl")
    assert summary["version"] == 3
    assert summary["accuracy"] == pytest.approx(sum(row["correct"] for row in rows) / 20)
    assert summary["mean_tokens"] == sum(row["tokens"] for row in rows) / 20


def test_what_other_graders_judged_is_judged_again_and_not_sampled_again(plan: Plan, tmp_path: Path) -> None:
    right = sample(replace(plan, graders="old"), FakeEngine(), tmp_path / "p")
    lines = (tmp_path / "p").read_text().splitlines()
    wrong = [json.dumps({**json.loads(line), "correct": None, "reason": "as before"}) for line in lines[1:]]
    (tmp_path / "p").write_text("\n".join([lines[0], *wrong]) + "\n")
    engine = FakeEngine()
    assert {row["reason"] for row in sample(replace(plan, graders="old"), engine, tmp_path / "p")} == {"as before"}
    assert sample(replace(plan, graders="new"), engine, tmp_path / "p") == right
    assert engine.asked == []


SCORED = ("--scale", "smoke", "--benchmarks", "unread", "--domain", "math", "--method", "grpo")


def test_scores_are_the_verdicts_of_the_code_of_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stored with a right and a wrong verdict: only those of other code are given again."""
    row = {
        "task": "sandbox-amc",
        "item_id": "a",
        "category": None,
        "sample": 0,
        "response": "<think>t</think>\\boxed{7}",
    }
    row |= {"gold": "7", "reason": "wrong", "correct": False, "extracted": "7", "tokens": 1, "truncated": False}
    folder, out = tmp_path / "samples", tmp_path / "seed0.parquet"
    write_jsonl(folder / "sandbox-amc.jsonl", [row])
    benchmarks = tmp_path / "benchmarks"
    write_benchmarks(benchmarks)
    arguments = ["--samples", str(folder), "--scale", "smoke", "--benchmarks", str(benchmarks), "--domain", "math"]
    arguments += ["--method", "grpo", "--seed", "0", "--out", str(out)]
    for graders, correct in ((grader_code("math", None), False), ("0" * 64, True)):
        (folder / "summary.json").write_text(json.dumps({"sandbox-amc": {"graders": graders}}))
        score.main(arguments)
        table = pd.read_parquet(out)
        assert (list(table["correct"]), list(table["score"])) == ([correct], [float(correct)])
    assert "sandbox-amc: graded again by the code of now: 0 of 1 verdicts the same" in capsys.readouterr().err
    assert read_jsonl(folder / "sandbox-amc.jsonl") == [row]


def test_odd_ids_reach_the_table(tmp_path: Path) -> None:
    row = {"task": "t", "item_id": "\ud800", "category": None, "sample": 0, "correct": True, "reason": "correct"}
    write_jsonl(tmp_path / "in" / "t.jsonl", [{**row, "tokens": 1, "truncated": False}])
    target = tmp_path / "seed0.parquet"
    arguments = ["--samples", str(tmp_path / "in"), *SCORED, "--seed", "0"]
    score.main([*arguments, "--out", str(target)])
    assert list(pd.read_parquet(target)["item_id"]) == ["\\ud800"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_score_table(plan: Plan, tmp_path: Path) -> None:
    evaluate([plan], FakeEngine(), FakeTokenizer(), tmp_path / "out")  # type: ignore[arg-type]
    target = tmp_path / "scores" / "seed1.parquet"
    arguments = ["--samples", str(tmp_path / "out"), *SCORED, "--seed", "1"]
    score.main([*arguments, "--out", str(target)])
    table = pd.read_parquet(target)
    assert list(table) == list(score.COLUMNS)
    assert len(table) == 20
    assert set(table["method"]) == {"grpo"}
    assert table["correct"].dtype == bool
    assert table["category"].isna().all()
    write_jsonl(tmp_path / "out" / "toy.jsonl", [{"task": "toy"}])
    with pytest.raises(SystemExit, match="a row lacks item_id"):
        score.main([*arguments, "--out", str(target)])
    with pytest.raises(SystemExit, match="has no <task>"):
        score.main(["--samples", str(tmp_path / "none"), *arguments[2:], "--out", str(target)])


def test_plan_tasks_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown scale 'minni'; did you mean 'mini'"):
        plan_tasks("minni", "math", tmp_path, {}, {})
    with pytest.raises(ValueError, match="unknown domain 'maths'; did you mean 'math'"):
        plan_tasks("mini", "maths", tmp_path, {}, {})
    with pytest.raises(ValueError, match="unknown task 'sandbox-amk'"):
        plan_tasks("mini", "math", tmp_path, {"sandbox-amk": tmp_path}, {})
    with pytest.raises(ValueError, match=r"sandbox-amc\.jsonl: no such file"):
        plan_tasks("mini", "math", tmp_path, {}, {})
    arguments = ["--checkpoint", "c", "--domain", "math", "--method", "m", "--scale", "mini"]
    arguments += ["--seed", "0", "--out", "o"]
    with pytest.raises(SystemExit, match="no such file"):
        generate.main([*arguments, "--benchmarks", str(tmp_path)])


def write_benchmarks(folder: Path) -> None:
    for name, rows in math_world.benchmarks().items():
        write_jsonl(folder / name, rows)


def test_smoke_scale_caps_items_and_samples(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    for scale, items, samples in (("mini", 480, 2), ("smoke", 14, 2)):
        plans = {plan.task.name: plan for plan in plan_tasks(scale, "math", tmp_path, {}, {})}
        assert (len(plans["sandbox-aime24"].items), plans["sandbox-aime24"].samples) == (items, samples)
    assert len({item.category for item in plans["sandbox-mmlu-pro"].items}) == 14


def test_command_with_a_real_checkpoint(tiny_policy: Path, tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    out = tmp_path / "seed0"
    arguments = ["--checkpoint", str(tiny_policy), "--domain", "math", "--method", "original", "--scale", "smoke"]
    arguments += ["--seed", "0", "--benchmarks", str(tmp_path), "--out", str(out)]
    generate.main(arguments)
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(files) == {
        "sandbox-amc.jsonl",
        "sandbox-aime24.jsonl",
        "sandbox-aime25.jsonl",
        "sandbox-mmlu-pro.jsonl",
        "summary.json",
    }
    rows = read_jsonl(out / "sandbox-amc.jsonl")
    assert len(rows) == 28
    assert all("Think, then put the answer" in row["prompt"] for row in rows)
    generate.main(arguments)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files


@pytest.mark.slow
def test_an_evaluation_that_is_another_under_a_second_name_is_linked(
    tiny_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_benchmarks(tmp_path)
    best = Path(shutil.copytree(tiny_policy, tmp_path / "runs/math/sft_best/seed1/best"))

    def evaluate_as(method: str, seed: int, checkpoint: Path, *options: str) -> tuple[Path, dict[str, Any]]:
        out = tmp_path / "evaluations" / "math" / method / f"seed{seed}"
        arguments = ["--checkpoint", str(checkpoint), "--domain", "math", "--method", method, "--scale", "smoke"]
        arguments += ["--seed", str(seed), "--benchmarks", str(tmp_path), "--results", str(tmp_path), "--out", str(out)]
        generate.main([*arguments, *options])
        return out, json.loads((out / "identity.json").read_text())

    first, record = evaluate_as("original", 0, tiny_policy)
    assert list(record) == ["identity"]
    (tmp_path / "evaluations/math/sft_best/seed1.partial").mkdir(parents=True)  # what an interrupted attempt has left
    second, linked = evaluate_as("sft_best", 1, best)
    assert linked == {**record, "linked_from": "math/original/seed0"}
    assert "the same evaluation as math/original/seed0: its files are linked" in capsys.readouterr().err
    names = {path.name for path in first.iterdir()} - {"identity.json"}
    assert names and names == {path.name for path in second.iterdir()} - {"identity.json"}
    assert all((first / name).samefile(second / name) for name in names)
    assert [path.name for path in second.parent.iterdir()] == ["seed1"]

    # Made again, it is linked again; asked other questions, or by other code, it is made.
    assert evaluate_as("sft_best", 1, best)[1] == linked
    mine = tmp_path / "mine.jsonl"
    write_jsonl(mine, [{**row, "problem": f"{row['problem']} "} for row in read_jsonl(tmp_path / "sandbox-amc.jsonl")])
    for options in ((), ("--data", f"sandbox-amc={mine}")):
        third, other = evaluate_as("grpo", 0, tiny_policy, *options)
        assert ("linked_from" in other) == (not options)
    assert not (third / "sandbox-amc.jsonl").samefile(first / "sandbox-amc.jsonl")
    monkeypatch.setattr(generate, "made_by", lambda *_: {"code": "other"})
    assert "linked_from" not in evaluate_as("chord_phi", 0, tiny_policy)[1]


def test_an_evaluation_whose_judge_failed_is_not_linked(tmp_path: Path) -> None:
    for rate, whole in ((0.0, True), (0.5, False)):
        write_json(tmp_path / "summary.json", {"a": {"accuracy": 1.0}, "b": {"judge_failure_rate": rate}})
        assert EVALUATIONS.whole(tmp_path) is whole


def test_a_judged_domain_needs_no_judge_on_the_command_line(tiny_policy: Path, tmp_path: Path) -> None:
    """The scale declares one (local, with noise); the option replaces it."""
    for name, rows in medicine_world.benchmarks().items():
        write_jsonl(tmp_path / name, rows)
    out = tmp_path / "seed0"
    arguments = ["--checkpoint", str(tiny_policy), "--domain", "medicine", "--method", "original", "--scale", "smoke"]
    arguments += ["--seed", "0", "--benchmarks", str(tmp_path), "--out", str(out)]
    for options, name in (([], "local, noise 0.05"), (["--judge", "{kind: local, noise: 1}"], "local, noise 1")):
        generate.main([*arguments, *options])
        summary = json.loads((out / "summary.json").read_text())["sandbox-medicine"]
        assert summary["judge"] == {"judge": name}
        assert (summary["samples"], summary["judge_failure_rate"]) == (28, 0.0)
    rows = read_jsonl(out / "sandbox-medicine.jsonl")
    assert summary["score"] == pytest.approx(sum(row["score"] for row in rows) / len(rows))
    # Noise 1 turns "satisfies nothing" into "satisfies all": (5 + 5 + 3 + 3 + 2 - 2) / 18.
    judged = [row["score"] for row in rows if row["reason"] == "judged"]
    assert judged == pytest.approx([16 / 18] * len(judged)) and judged
    table = score.score_table(out, "medicine", "original", 0)
    assert table["score"].tolist() == [row["score"] for row in rows]
