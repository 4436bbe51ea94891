"""Which of this project's code decides a number: hashes of what a run or a verdict uses, and of nothing else.

The trainer's loop, the engines and the strategies are left out: what they compute is fixed by their tests.
"""

from reference_impl.config import RunConfig
from reference_impl.config.judges import JudgeSettings
from reference_impl.run.source import source_hash

REWARDS = "reference_impl.rewards"
LOSSES = "reference_impl.losses"
SYMBOLIC = "reference_impl.text.equivalence_worker"
"""A process of its own, which no import leads to."""
PROMPT = "reference_impl.judge.prompt"
JUDGES = {
    "local": ("reference_impl.judge.rubric:LocalJudge",),
    "http": (f"{PROMPT}:build_inquiry", f"{PROMPT}:read_reply", "reference_impl.judge.rubric:aggregate"),
}
"""Kind of a judge → what it asks and how its reply is read; how a request is sent decides no score."""
GRADERS = {
    "math": ("evaluation.graders:grade_math", SYMBOLIC),
    "mmlu_pro": ("evaluation.graders:grade_choice",),
    "bfcl": ("evaluation.graders:grade_calls",),
    "judge": ("evaluation.graders:grade_judged",),
}
"""Kind of a task → what gives its verdicts."""


def run_code(config: RunConfig) -> dict[str, str]:
    """Part of the mathematics → SHA-256 of its source, for the parts that a run uses."""
    schedule = config.mu["schedule"]
    always = config.mu.get("value") if schedule == "constant" else None
    parts = {"mu": [f"reference_impl.mu:MU_SCHEDULES[{schedule}]"], "reward": _reward(config)}
    if always != 0:
        parts["phi"] = _phi(config)
        parts["sft loss"] = [f"{LOSSES}:sft_loss", f"{LOSSES}:chord_loss"]
    if always != 1:
        parts["advantages"] = ["reference_impl.advantages:group_advantages"]
        parts["rl loss"] = [f"{LOSSES}:grpo_loss", f"{LOSSES}:chord_loss"]
        if config.dual_clip is not None:
            parts["rl loss"].append(f"{LOSSES}:dual_clip_grpo_loss")
    if config.mixed["demonstrations"]:
        parts["mixed loss"] = [f"{LOSSES}:demonstration_loss"]
    if config.auxiliary:
        weights = ("entropy_weights_BT", "signed_weights_BT")
        parts["response weights"] = [f"reference_impl.response_weights:{name}" for name in weights]
        parts["response weights"].append(f"{LOSSES}:sft_loss")
    if config.tis_cap is not None:
        parts["correction"] = ["reference_impl.step.mismatch:tis_weights_BT"]
    return {part: source_hash(*roots) for part, roots in sorted(parts.items())}


def grader_code(kind: str, judge: JudgeSettings | None) -> str:
    """SHA-256 of the source that gives the verdicts of a kind of task; ``judge``: of a judged one."""
    judges = JUDGES[judge.kind] if judge is not None and kind == "judge" else ()
    return source_hash(*GRADERS[kind], *judges)


def _phi(config: RunConfig) -> list[str]:
    """The project's, or the user's with what is done around it."""
    weights, name = "reference_impl.token_weights", config.phi["name"]
    if config.phi_file is None:
        return [f"{weights}:TOKEN_WEIGHTS[{name}]"]
    return [f"{config.phi_file}:{name.rpartition(':')[2]}", f"{weights}:own_weights"]


def _reward(config: RunConfig) -> list[str]:
    """Also SFT's, whose checkpoints are chosen by it."""
    if config.judge is not None:
        return [f"{REWARDS}:judge_reward", *JUDGES[config.judge.kind]]
    table = "READ_REWARDS" if config.reward_reading else "REWARDS"
    return [f"{REWARDS}:{table}[{config.reward}]", *([SYMBOLIC] if config.reward == "math" else [])]
