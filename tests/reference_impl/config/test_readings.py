"""readings.yaml: methods derived of it, presets, and mistakes."""

import re
from pathlib import Path

import pytest

from reference_impl.config import CONFIG_DIR, load_declarations, load_scale, resolve_run
from reference_impl.config.readings import READING
from tests.support.checkout import REPO
from tests.support.plans import configuration

SHAPE = "    changes: {normalise: false}\n"


def test_each_method_of_a_reading_is_the_method_with_its_change() -> None:
    decl, scale = load_declarations(mine=""), load_scale("mini")
    assert "chord_phi@not_divided" in decl.derived and not set(decl.derived) & set(decl.methods)
    usual, read = (resolve_run(decl, scale, run, "math", 0) for run in ("chord_phi", "chord_phi@not_divided"))
    different = {key for key, value in read.to_dict().items() if usual.to_dict()[key] != value}
    assert different == {"method", "normalise"} and usual.hash() != read.hash()
    assert decl.base("chord_phi@not_divided") == "chord_phi"
    assert decl.method("chord_mu@mu_tool").domains == ("tool",)
    cosine = resolve_run(decl, scale, "chord_mu@mu_cosine", "tool", 0)
    assert (cosine.mu["start"], cosine.mu["end"], cosine.mu["decay_steps"]) == (0.6, 0.0, 20)


def test_what_came_later_is_left_out_of_runs_that_do_not_have_it() -> None:
    decl, scale = load_declarations(mine=""), load_scale("mini")
    usual = resolve_run(decl, scale, "grpo", "math", 0).to_dict()
    assert not {"old_logprobs", "dual_clip", "reward_reading"} & set(usual)
    ratio = resolve_run(decl, scale, "grpo@sampler_ratio", "math", 0).to_dict()
    assert {key: ratio[key] for key in ratio if key not in usual} == {"old_logprobs": "sampler", "dual_clip": 3.0}
    read = resolve_run(decl, scale, "grpo@think_format", "math", 0)
    assert read.to_dict()["reward_reading"] == {"format": "think"}
    assert resolve_run(decl, scale, "grpo@tis", "math", 0).tis_cap == 2.0


def test_a_preset_changes_its_methods_and_what_is_like_them(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, decl = load_declarations(mine=""), load_declarations(mine="", reading="released")
    assert decl.reading == "released" and not decl.derived and set(decl.methods) == set(usual.methods)
    for name in ("chord_mu", "chord_mu_second"):
        schedule = decl.methods[name].mu
        assert schedule is not None and schedule.given()["schedule"] == "cosine_decay"
    for name, method in decl.methods.items():
        if method.trains:
            assert (method.old_logprobs, method.dual_clip) == ("sampler", 3.0), name
            assert method.reward is not None and method.reward.format == "think" and method.reward.calls == "last"
            assert method.reward.correct_badly_formatted == 0.9 and method.reward.no_answer_in_time is None
    assert decl.methods["chord_phi"].mu == usual.methods["chord_phi"].mu
    assert decl.methods["chord_phi_relaxed"].sync_every == 2
    scale = load_scale("mini", reading="released")
    assert scale.tuned is None and scale.description.endswith("Read as the authors' released code.")
    monkeypatch.setenv(READING, "released")
    assert load_declarations(mine="").methods == decl.methods and load_scale("mini") == scale


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            SHAPE,
            SHAPE.replace("normalise", "normalize"),
            "grpo@not_divided: normalize: unknown key; did you mean 'norm",
        ),
        (SHAPE, "    changes: {init: sft_best}\n", "not_divided: changes.init: this says which method it is"),
        (SHAPE, "    methods2: []\n" + SHAPE, "readings.not_divided.methods2: unknown key; did you mean 'methods'?"),
        (
            "methods: [phi_focal]",
            "methods: [phi_fokal]",
            "focal_1: unknown method 'phi_fokal'; did you mean 'phi_focal'?",
        ),
        ("methods: [phi_focal]", "methods: [sft_curve]", "sft_curve@focal_1: it is like a method of role curve"),
        ("domains: [tool]\n    changes:", "domains: [tol]\n    changes:", "unknown domain 'tol'; did you mean 'tool'?"),
        (
            "readings: [mu_cosine",
            "readings: [mu_cosin",
            "released: unknown reading 'mu_cosin'; did you mean 'mu_cosine'?",
        ),
        ("{old_logprobs: sampler, dual", "{dual", "grpo@sampler_ratio: dual_clip: the ratio is always 1 here"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    root = configuration(tmp_path, "readings.yaml", old, new)
    with pytest.raises(ValueError, match=re.escape(said)):
        load_declarations(root, mine="")


def test_an_unknown_preset() -> None:
    for load in (lambda: load_declarations(mine="", reading="relased"), lambda: load_scale("mini", reading="relased")):
        with pytest.raises(ValueError, match=r"unknown reading 'relased'; did you mean 'released'\?"):
            load()


def released_rows() -> set[str]:
    """The open questions of docs/fidelity.md that the released code answers in another way."""
    text = (REPO / "docs" / "fidelity.md").read_text(encoding="utf-8").partition("## Other readings")[0]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return {row[1] for row in rows if row[3] not in ("Released code", "–", "the same")}


def test_every_answer_of_the_released_code_is_followed_or_said_not_to_be() -> None:
    readings = load_declarations(CONFIG_DIR, mine="").readings
    assert readings is not None
    preset, rows = readings.presets["released"], released_rows()
    followed = {readings.readings[name].row for name in preset.readings}
    assert len(rows) > 15 and followed | set(preset.besides) == rows
    assert {one.row for one in readings.readings.values()} - {""} <= rows
