"""Declarations, scales and their resolution: every shipped file parses, and every run is what it says."""

import shutil
from pathlib import Path

import pytest
import yaml

from reference_impl.config import (
    CONFIG_DIR,
    RunConfig,
    expert_file,
    expert_rows,
    load_declarations,
    load_scale,
    resolve_run,
)
from reference_impl.config.methods import Budget
from reference_impl.config.schedules import Constant
from reference_impl.step.objective import build_objective

UNTUNED = load_scale("mini").model_copy(update={"tuned": None})
"""The miniature at the learning rates that methods.yaml gives."""
SCALES = sorted(path.stem for path in (CONFIG_DIR / "scales").glob("*.yaml"))


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONFIG_DIR, tmp_path / "config"))


def edit(config_dir: Path, file: str, change: object) -> None:
    path = config_dir / file
    values = yaml.safe_load(path.read_text())
    change(values)  # type: ignore[operator]
    path.write_text(yaml.safe_dump(values))


@pytest.mark.parametrize("scale_name", SCALES)
def test_every_shipped_run_resolves_to_an_objective(scale_name: str) -> None:
    decl, scale = load_declarations(), load_scale(scale_name)
    hashes = set()
    for name in decl.methods:
        for domain in set(decl.method_domains(name)) & set(scale.domains):
            for run in decl.runs(name):
                config = resolve_run(decl, scale, run, domain, seed=0)
                build_objective(config)
                assert config.steps >= 1 and config.group_size >= 2
                # The sampler holds the newest weights every `sync_every` steps; the end is validated in any case.
                assert config.validate_every % config.sync_every == 0
                assert 1 <= config.validate_every < config.steps + config.sync_every
                hashes.add(config.hash())
    domains = {name: set(decl.method_domains(name)) & set(scale.domains) for name in decl.methods}
    assert len(hashes) == sum(len(decl.runs(name)) * len(domains[name]) for name in decl.methods)


def test_mini_scales_the_papers_values() -> None:
    decl, scale = load_declarations(), UNTUNED
    chord = resolve_run(decl, scale, "chord_mu", "math", seed=0)
    # 1,500 steps / 10; mu decays over 200 / 10 steps; 1e-6 as it is; the paper's K = 8
    assert (chord.steps, chord.mu["decay_steps"], chord.learning_rate, chord.group_size) == (150, 20, 1e-6, 8)
    assert (chord.mu["start"], chord.mu["end"], chord.phi) == (0.9, 0.05, {"name": "none"})
    tool = resolve_run(decl, scale, "chord_mu", "tool", seed=0)
    # math has a factor of its own, tool use the scale's
    assert (tool.steps, tool.mu["decay_steps"], tool.learning_rate) == (100, 30, 1e-4)
    phi = resolve_run(decl, scale, "chord_phi", "math", seed=0)
    assert (phi.mu, phi.phi) == ({"schedule": "constant", "value": 0.1}, {"name": "p_one_minus_p"})
    sft = resolve_run(decl, scale, "sft-lr5e-06", "math", seed=0)
    # three passes over 1024 demonstrations in batches of 16
    assert (sft.steps, sft.epochs, sft.validate_every, sft.learning_rate) == (192, 3, 64, 5e-6)


def test_mini_keeps_the_papers_proportions() -> None:
    """Demonstrations to prompts, and passes over either per full budget, as in the paper (to 5 %).

    Math keeps the updates of an SFT epoch (a fifth fewer), so its passes over either are an eighth. Medicine is left
    out: the paper prints no sizes of its data.
    """
    decl, scale = load_declarations(), load_scale("mini")
    kept = {"math": 1 / 8, "tool": 1.0}
    for domain, share in kept.items():
        paper = decl.domains[domain]
        run = resolve_run(decl, scale, "chord_mu", domain, seed=0)
        paper_rows = int(paper.experts["main"].rows)
        assert run.expert_rows / run.prompt_rows == pytest.approx(paper_rows / paper.prompt_rows, rel=0.05)
        passes = run.steps * run.rl_prompts / run.prompt_rows
        assert passes == pytest.approx(share * paper.rl_steps * paper.rl_prompts / paper.prompt_rows, rel=0.05)
        expert_passes = run.steps * run.sft_batch / run.expert_rows
        assert expert_passes == pytest.approx(share * paper.rl_steps * paper.sft_batch / paper_rows, rel=0.05)
    sft = resolve_run(decl, scale, "sft-lr5e-06", "math", seed=0)
    assert sft.validate_every == pytest.approx(5000 / 64, rel=0.2)


def test_methods_share_data_budget_and_evaluation() -> None:
    """Nothing but what defines a method, and what was tuned for it, may differ between a main table's RL methods."""
    decl, scale = load_declarations(), UNTUNED
    own = {"method", "mu", "phi", "init"}
    mixing = {"luffy": {"mixed", "expert", "expert_rows"}, "srft": {"mixed", "expert", "expert_rows", "auxiliary"}}
    names = ("grpo", "sft_light_rl", "sft_best_rl", "sasr", "luffy", "srft", "chord_mu", "chord_phi")
    for domain in decl.domains:
        trained = [name for name in names if domain in decl.method_domains(name)]
        assert len(trained) >= 3
        runs = []
        for name in trained:
            run = resolve_run(decl, scale, name, domain, seed=0).to_dict()
            grpo = resolve_run(decl, scale, "grpo", domain, seed=0).to_dict()
            runs.append(run | {key: grpo[key] for key in mixing.get(name, set())})
        shared = [{key: value for key, value in run.items() if key not in own} for run in runs]
        assert all(values == shared[0] for values in shared)


def test_grid_is_unrolled_and_owned() -> None:
    decl = load_declarations()
    assert list(decl.runs("sft")) == ["sft-lr1e-06", "sft-lr5e-06", "sft-lr1e-05"]
    method, rate = decl.owner("sft-lr5e-06")
    assert (method.name, rate) == ("sft", 5e-6)
    assert decl.runs("original") == decl.runs("sft_best") == {}


def test_close_learning_rates_keep_their_names_apart(config_dir: Path) -> None:
    edit(config_dir, "methods.yaml", lambda v: v["sft"]["grid"].update(learning_rate=[1e-6, 1.2e-6, 1.4e-6]))
    runs = load_declarations(config_dir).runs("sft")
    assert runs == {"sft-lr1e-06": 1e-6, "sft-lr1.2e-06": 1.2e-6, "sft-lr1.4e-06": 1.4e-6}


def test_hash_is_of_the_values_not_of_label_or_quotation(config_dir: Path) -> None:
    before = resolve_run(load_declarations(), UNTUNED, "grpo", "math", 0).hash()
    edit(config_dir, "methods.yaml", lambda v: v["grpo"].update(label="Other", paper="Other"))
    assert resolve_run(load_declarations(config_dir), UNTUNED, "grpo", "math", 0).hash() == before
    edit(config_dir, "methods.yaml", lambda v: v["grpo"].update(learning_rate=2e-6))
    assert resolve_run(load_declarations(config_dir), UNTUNED, "grpo", "math", 0).hash() != before
    assert resolve_run(load_declarations(), UNTUNED, "grpo", "math", 1).hash() != before


def test_run_outside_its_domains_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown domain 'tool'"):
        resolve_run(load_declarations(), load_scale("mini"), "sft_curve", "tool", 0)
    with pytest.raises(ValueError, match="unknown run 'sft_best'"):
        resolve_run(load_declarations(), load_scale("mini"), "sft_best", "math", 0)


def resolved(run: str, domain: str = "math", scale: str = "mini") -> RunConfig:
    return resolve_run(load_declarations(), load_scale(scale), run, domain, seed=0)


def test_like_takes_every_key_but_label_and_quotation(config_dir: Path) -> None:
    """A chain of three: what is nearest counts, and `label` and `paper` belong to their entry alone."""
    links = {
        "first": {"label": "1", "paper": "a", "domains": ["math"], "budget": {"steps": 7}, "learning_rate": 2e-6}
        | {"mu": {"schedule": "constant", "value": 0.3}, "sync_every": 2},
        "second": {"like": "first", "label": "2", "paper": "b", "phi": "focal", "sync_every": 3},
        "third": {"like": "second", "label": "3", "paper": "c", "mu": {"schedule": "constant", "value": 0.4}},
    }
    # Declared in the other order: an entry may come before the one that it is like.
    edit(config_dir, "methods.yaml", lambda v: v.update(dict(reversed(links.items()))))
    method = load_declarations(config_dir).method("third")
    assert (method.label, method.paper) == ("3", "c")
    assert (method.budget, method.learning_rate, method.sync_every) == (Budget(steps=7), 2e-6, 3)
    assert method.phi.given() == {"name": "focal"}
    assert method.mu == Constant(schedule="constant", value=0.4)  # replaced in full, never merged
    edit(config_dir, "methods.yaml", lambda v: v["third"].pop("label"))
    with pytest.raises(ValueError, match="third: label: missing key"):
        load_declarations(config_dir)


def test_expert_sets_keep_the_papers_proportions() -> None:
    # Paper: 5,000 and 20,000 for math. Mini: 1024 rows, so 4096; one to each of the 4096 or 400 prompts where aligned.
    assert [resolved(run).expert_rows for run in ("chord_phi", "chord_phi_large", "luffy")] == [1024, 4096, 4096]
    tool = [resolved(run, "tool").expert_rows for run in ("chord_phi", "chord_phi_second", "srft")]
    assert tool == [40, 40, 400]
    # Three passes in batches of 16: four times the rows are four times the steps.
    assert (resolved("sft-lr1e-06").steps, resolved("sft_large-lr1e-06").steps) == (192, 768)
    decl, scale = load_declarations(), load_scale("mini")
    whole = scale.domains["math"].model_copy(update={"expert_rows": None, "prompt_rows": None})
    whole_scale = scale.model_copy(update={"domains": {"math": whole}})
    rows = [expert_rows(decl, whole_scale, "math", expert) for expert in ("main", "large", "aligned")]
    assert rows == [5000, 20000, 20000]
    assert [expert_file(name) for name in ("main", "large")] == ["expert.jsonl", "expert-large.jsonl"]


def test_relaxed_protocol_is_declared_as_in_b2() -> None:
    """16 rollouts and 400 steps, synchronised every 2; a scale's smaller group keeps the proportion 16 : 8."""
    relaxed = resolved("grpo_relaxed")
    assert (relaxed.group_size, relaxed.steps, relaxed.sync_every) == (16, 40, 2)
    smoke = [resolved(run, scale="smoke").group_size for run in ("grpo", "grpo_relaxed")]
    assert smoke == [4, 8]
    strict = resolved("grpo")
    assert (strict.group_size, strict.sync_every) == (8, 1)
    # Validation every 15 steps comes at 16, where the sampler has just been given the newest weights.
    assert (strict.validate_every, relaxed.validate_every) == (15, 16)


def test_budget_of_steps_is_in_the_papers_steps() -> None:
    assert resolved("mu_fixed_01").steps == 75  # 750 / 10
    assert not load_declarations().method("original").trains
