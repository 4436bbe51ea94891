"""What the configuration files say of each other: what is refused, and what is warned of."""

from pathlib import Path

import pytest

from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR
from tests.support.plans import configuration

SCALES = sorted(path.stem for path in (CONFIG_DIR / "scales").glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("methods.yaml", "like: luffy\n  domains: [tool]", "like: lufy\n  domains: [tool]", "did you mean 'luffy'"),
        ("methods.yaml", "policy: weak\n  init: sft_best_weak", "init: sft_best_weak", "both must be the same"),
        ("experiments.yaml", "methods: [sft_curve]", "methods: [sft_best]", "sft_best trains nothing"),
        ("experiments.yaml", "[original_weak, sft_best_weak,", "[original_weak, sft_weak,", "sft_weak has role grid"),
        ("experiments.yaml", "[original, grpo, chord_mu, chord_phi]", "[original, luffy]", "unknown domain 'medicine'"),
        ("experiments.yaml", "scaling:", "sasr:", "sasr is a method's name too"),
        ("scales/mini.yaml", "moe: sandbox-tool-moe", "mo: sandbox-tool-moe", "did you mean 'moe'"),
        ("scales/mini.yaml", ", moe: sandbox-tool-moe", "", "unknown policy 'moe'"),
        ("scales/mini.yaml", "    judge: {kind: local, noise: 0.05}\n", "", "medicine: .* needs a judge"),
        ("methods.yaml", "threshold: 0.7}", "treshold: 0.7}", "treshold"),
    ],
)
def test_references_between_files_are_checked(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": "mini"}, configuration(tmp_path, name, old, new))


def test_reward_and_evaluation_are_one_score_of_the_judge(tmp_path: Path) -> None:
    said = (
        "medicine: the reward is the judge's explicit score, rar-medicine-rating its implicit one: judge: {aggregation"
    )
    with pytest.raises(ValueError, match=said):
        load_plan({"scale": "paper"}, configuration(tmp_path, "scales/paper.yaml", "aggregation: implicit, ", ""))


def test_a_schedule_longer_than_its_run_is_a_warning(tmp_path: Path) -> None:
    shipped = [warning for scale in SCALES for warning in load_plan({"scale": scale}).warnings()]
    assert not [warning for warning in shipped if "longer than the run" in warning]
    root = configuration(tmp_path, "methods.yaml", "tool: 30, medicine: 50}", "tool: 120, medicine: 50}")
    # 100 steps of tool use; chord_mu_second is like chord_mu, which was tuned with its own 30.
    assert load_plan({"scale": "mini"}, root).warnings() == [
        *(
            f"methods.yaml: {method} in tool at scale mini: mu's linear_decay is longer than the run: decay_steps 120, "
            "the run has 100 steps"
            for method in ("chord_mu", "chord_mu_second")
        ),
        "pipelines/config/tuned/mini.json: tool: chord_mu: tuned with other settings than those of now; snakemake tune "
        "tunes again",
    ]


def test_phases_of_a_schedule_are_added_up(tmp_path: Path) -> None:
    root = configuration(tmp_path, "methods.yaml", "warmup_steps: 200, decay", "warmup_steps: 600, decay")
    (warning,) = load_plan({"scale": "mini"}, root).warnings()
    assert "chord_tune_both in math" in warning and "warmup_steps 60 + decay_steps 20, the run has 75 steps" in warning
