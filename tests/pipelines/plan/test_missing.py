"""What no job can bring is named by the plan before anything starts."""

import dataclasses
from pathlib import Path

import pytest

from pipelines.plan import load_plan
from pipelines.plan.missing import missing_files, missing_revisions

GPU1 = {"scale": "gpu1", "mine": ""}


def test_nothing_is_missing_where_jobs_make_all() -> None:
    for scale in ("mini", "smoke", "gpu-smoke"):
        plan = load_plan({"scale": scale, "mine": ""})
        assert missing_files(plan.choice) == missing_revisions(plan.choice) == []


def test_benchmarks_and_answers_are_named_until_they_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = missing_files(load_plan(GPU1).choice)
    heads = [line.split(": ")[0] for line in found]
    assert heads == [
        "the questions of bfcl must be brought",
        "expert.jsonl of tool needs the answers of DeepSeek-R1",
        "expert-second.jsonl of tool needs the answers of Qwen2.5-72B-Instruct",
        "expert-aligned.jsonl of tool needs the answers of DeepSeek-R1",
    ]
    assert "--config data='{bfcl: PATH}'" in found[0] and "no file results/gpu1/answers/DeepSeek-R1.jsonl" in found[1]
    assert [line for line in load_plan(GPU1).warnings() if "must be brought" in line] == found[:1]

    asked = {"ask": "DeepSeek-R1", "url": "http://localhost", "model": "m"}
    plan = load_plan({**GPU1, "data_options": {"tool": asked}})
    assert [line.split(" ")[0] for line in missing_files(plan.choice)] == ["the", "expert-second.jsonl"]
    (tmp_path / "results/gpu1/answers").mkdir(parents=True)
    (tmp_path / "results/gpu1/answers/DeepSeek-R1.jsonl").touch()
    (tmp_path / "results/gpu1/benchmarks/bfcl").mkdir(parents=True)
    assert [line.split(" ")[0] for line in missing_files(load_plan(GPU1).choice)] == ["expert-second.jsonl"]
    made = tmp_path / "results/gpu1/data/tool/expert-second.jsonl"
    made.parent.mkdir(parents=True)
    made.touch()
    assert missing_files(load_plan(GPU1).choice) == []


def test_the_authors_own_demonstrations_need_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = load_plan({"scale": "paper", "mine": ""})
    assert any("ScaleAI/RaR-Medicine (rar) has no pinned revision" in line for line in missing_revisions(plan.choice))
    given = {"medicine": {"revision": {"rar": "0" * 40}, "local": {"rar-val": "x"}}}
    assert missing_revisions(load_plan({"scale": "paper", "mine": "", "data_options": given}).choice) == []
    choice = plan.choice
    tool = choice.scale.domains["tool"].model_copy(update={"data": "trinity_toolace"})
    scale = choice.scale.model_copy(update={"domains": {"tool": tool}})
    found = missing_files(dataclasses.replace(choice, scale=scale))
    assert [line.split(" ")[0] for line in found] == ["the", "expert-second.jsonl", "expert-aligned.jsonl"]
