"""Which code decides a run: every part that it uses, and no part that it does not."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from reference_impl.config import CONFIG_DIR, RunConfig, Task, load_declarations, load_scale, resolve_run
from reference_impl.config.judges import parse_judge
from reference_impl.mu import MU_SCHEDULES
from reference_impl.rewards import REWARDS
from reference_impl.run.code import GRADERS, grader_code, run_code
from reference_impl.run.source import _module, source_hash
from reference_impl.token_weights import TOKEN_WEIGHTS
from tests.support.own_files import PHI, own_files

LOCAL, HTTP = parse_judge("{kind: local}", "test"), parse_judge("{kind: http, url: 'http://localhost'}", "test")


def config(run: str, domain: str = "math") -> RunConfig:
    return resolve_run(load_declarations(CONFIG_DIR), load_scale("smoke"), run, domain, 0)


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        ("sft-lr1e-06", {"mu", "phi", "reward", "sft loss"}),
        ("grpo", {"mu", "reward", "advantages", "rl loss"}),
        ("chord_phi", {"mu", "phi", "reward", "sft loss", "advantages", "rl loss"}),
        ("luffy", {"mu", "reward", "advantages", "rl loss", "mixed loss"}),
    ],
)
def test_parts(run: str, parts: set[str]) -> None:
    assert set(run_code(config(run))) == parts
    assert "response weights" in run_code(config("srft", "tool"))
    assert "correction" in run_code(replace(config(run), tis_cap=2.0))


def test_other_readings_are_other_code() -> None:
    usual = config("grpo")
    clipped = run_code(replace(usual, old_logprobs="sampler", dual_clip=3.0))
    read = run_code(replace(usual, reward_reading={"format": "think"}))
    assert {part for part, code in run_code(usual).items() if clipped[part] != code} == {"rl loss"}
    assert {part for part, code in run_code(usual).items() if read[part] != code} == {"reward"}


def test_every_phi_schedule_reward_and_grader_is_its_own() -> None:
    start = config("chord_phi")
    phis = {run_code(replace(start, phi={"name": name}))["phi"] for name in TOKEN_WEIGHTS}
    schedules = {run_code(replace(start, mu={"schedule": name}))["mu"] for name in MU_SCHEDULES}
    rewards = {run_code(replace(start, reward=name))["reward"] for name in REWARDS}
    assert (len(phis), len(schedules), len(rewards)) == (len(TOKEN_WEIGHTS), len(MU_SCHEDULES), len(REWARDS))
    assert len({grader_code(kind, LOCAL) for kind in GRADERS}) == len(GRADERS)


def test_a_phi_of_the_users(tmp_path: Path) -> None:
    def phi(text: str) -> str:
        source_hash.cache_clear()
        _module.cache_clear()
        decl = load_declarations(mine=str(own_files(tmp_path, phi=text)))
        return run_code(resolve_run(decl, load_scale("smoke"), "mine", "math", 0))["phi"]

    edited = phi(PHI.replace("4 * prob", "2 * prob"))
    assert phi(PHI) == phi(PHI.replace("entropy_BT.sum()", "entropy_BT.max()")) != edited


def test_judges() -> None:
    judged = {run_code(replace(config("grpo"), reward="judge", judge=judge))["reward"] for judge in (LOCAL, HTTP)}
    assert len(judged) == 2 and grader_code("judge", LOCAL) != grader_code("judge", HTTP)
    assert grader_code("math", LOCAL) == grader_code("math", None)


def test_every_kind_of_task_has_its_graders() -> None:
    assert set(get_args(Task.model_fields["kind"].annotation)) == set(GRADERS)
