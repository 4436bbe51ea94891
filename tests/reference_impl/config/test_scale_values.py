"""The scales for GPUs against the paper: every printed value, what is evaluated, and what a smaller scale keeps."""

from typing import Any

import pytest

from pipelines.plan import Plan, load_plan
from reference_impl.config import RunConfig, resolve_run


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan({"scale": "paper"})


def test_the_paper_scale_repeats_and_changes_nothing_that_the_paper_says(paper: Plan) -> None:
    assert paper.choice.scale.learning_rate_factor == 1 and paper.choice.seeds == (0,)
    assert paper.choice.scale.tis_cap is None
    caps = paper.choice.scale.evaluation
    assert (caps.max_items, caps.max_samples) == (None, None)
    for name, sizes in paper.choice.scale.domains.items():
        domain = paper.choice.declarations.domains[name]
        assert sizes.steps_divisor == 1
        assert sizes.policies == domain.policies, "the paper's models by role"
        said = ("prompt_rows", "expert_rows", "sft_batch", "rl_prompts", "group_size", "max_response_tokens")
        assert [getattr(sizes, key) for key in said] == [None] * len(said)
    assert set(paper.choice.scale.domains) == set(paper.choice.declarations.domains)


def value(config: RunConfig, key: str) -> Any:
    """`mu.start` → the start of mu's schedule."""
    found: Any = config
    for name in key.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return found


PRINTED = [
    # A.1: "the Adam optimizer with beta_1 = 0.9, beta_2 = 0.999"; "temperature for both rollout and evaluation is 1.0";
    # "The max response length is set to 16k tokens"; "K = 8 rollouts per prompt before each policy update".
    ("math", "grpo", {"betas": (0.9, 0.999), "temperature": 1.0, "max_response_tokens": 16384, "group_size": 8}),
    ("tool", "grpo", {"betas": (0.9, 0.999), "temperature": 1.0, "max_response_tokens": 16384, "group_size": 8}),
    ("medicine", "grpo", {"betas": (0.9, 0.999), "temperature": 1.0, "max_response_tokens": 16384}),
    # A.1: "tuned within {1e-6, 5e-6, 1e-5}"; "For SFT, we train for a maximum of 3 epochs": 3 x floor(5,000 / 64) and
    # 3 x floor(500 / 96) steps.
    ("math", "sft-lr1e-06", {"learning_rate": 1e-6, "epochs": 3, "steps": 3 * 78, "sft_batch": 64}),
    ("math", "sft-lr5e-06", {"learning_rate": 5e-6, "keep": "epoch", "mu.value": 1.0}),
    ("tool", "sft-lr1e-05", {"learning_rate": 1e-5, "epochs": 3, "steps": 3 * 5, "sft_batch": 96}),
    # A.1: "the batch size for SFR/RL is 64/32, and the maximum number of RL steps is 1,500"; 4.1: 5k and 20k.
    ("math", "chord_phi", {"sft_batch": 64, "rl_prompts": 32, "steps": 1500, "sync_every": 1}),
    ("math", "chord_phi", {"prompt_rows": 20000, "expert_rows": 5000, "policy": "Qwen2.5-7B-Instruct"}),
    # A.1: "the batch size is 96 for both RL and SFT, and the maximum number of RL steps is 100"; 4.1: 5k and 500.
    ("tool", "chord_phi", {"sft_batch": 96, "rl_prompts": 96, "steps": 100, "sync_every": 1}),
    ("tool", "chord_phi", {"prompt_rows": 5000, "expert_rows": 500, "policy": "Llama-3.2-3B-Instruct"}),
    # A.1: "from 0.9 to 0.05 over the first 30 training steps"; 4.3: "over the first 200"; B.4: "decay step … 50".
    ("tool", "chord_mu", {"mu.start": 0.9, "mu.end": 0.05, "mu.decay_steps": 30, "learning_rate": 1e-6}),
    ("math", "chord_mu", {"mu.start": 0.9, "mu.end": 0.05, "mu.decay_steps": 200, "learning_rate": 1e-6}),
    ("medicine", "chord_mu", {"mu.start": 0.9, "mu.end": 0.05, "mu.decay_steps": 50, "learning_rate": 1e-6}),
    # 4.3: "a fixed value for mu (e.g., 0.1 in this study)"; Eq. 5.
    ("math", "chord_phi", {"mu.value": 0.1, "phi.name": "p_one_minus_p", "learning_rate": 1e-6}),
    ("medicine", "chord_phi", {"mu.value": 0.1, "phi.name": "p_one_minus_p"}),
    # B.1: "thresholds tau = 0.5 and tau = 0.7".
    ("tool", "mu_adaptive_05", {"mu.schedule": "adaptive", "mu.threshold": 0.5, "steps": 100}),
    ("tool", "mu_adaptive_07", {"mu.schedule": "adaptive", "mu.threshold": 0.7, "steps": 100}),
    # B.2: "every 2 training steps", "16" rollouts, "400 steps" on math; A.1's setup on tool use; top 5 %, p > 0.4.
    ("math", "chord_phi_relaxed", {"sync_every": 2, "group_size": 16, "steps": 400, "rl_prompts": 32}),
    ("math", "phi_entropy_top_relaxed", {"sync_every": 2, "group_size": 16, "steps": 400, "phi.share": 0.05}),
    ("tool", "phi_entropy_top", {"sync_every": 1, "group_size": 8, "steps": 100, "phi.share": 0.05}),
    ("tool", "phi_is_clip", {"phi.threshold": 0.4, "mu.value": 0.1}),
    # B.3: the other expert's 500 demonstrations.
    ("tool", "chord_mu_second", {"expert": "second", "expert_rows": 500, "mu.decay_steps": 30}),
    # B.4: "200 steps, with both SFT and RL batch sizes of 96, 8 rollouts per prompt, a learning rate of 1e-6".
    ("medicine", "grpo", {"steps": 200, "sft_batch": 96, "rl_prompts": 96, "group_size": 8, "learning_rate": 1e-6}),
    ("medicine", "grpo", {"policy": "Qwen2.5-7B-Instruct", "judge.model": "Qwen/Qwen3-30B-A3B-Instruct-2507"}),
    # B.5: "RL settings are similar to Appendix B.2"; "the same 5k SFT samples".
    ("math", "chord_phi_weak", {"policy": "Qwen2.5-3B-Instruct", "sync_every": 2, "group_size": 16, "steps": 400}),
    ("math", "sft_weak-lr1e-06", {"policy": "Qwen2.5-3B-Instruct", "expert_rows": 5000}),
    # B.6, on tool use; Figure 1; Figure 13: "fixed mu = 0.1".
    ("tool", "chord_phi_moe", {"policy": "Phi-mini-MoE-instruct", "mu.value": 0.1, "steps": 100}),
    ("math", "grpo_small", {"policy": "Qwen2.5-1.5B-Instruct", "mu.value": 0.0}),
    ("math", "mu_fixed_01_base", {"policy": "Qwen2.5-7B", "mu.value": 0.1}),
    # Footnote 1 and D.1: 5k demonstrations for LUFFY and SRFT on tool use; one for each of math's 20k prompts.
    ("tool", "luffy", {"expert": "aligned", "expert_rows": 5000, "group_size": 8, "mixed.demonstrations": 1}),
    ("tool", "srft", {"expert": "aligned", "expert_rows": 5000}),
    ("math", "luffy", {"expert": "aligned", "expert_rows": 20000, "prompt_rows": 20000}),
    # D.3: "from 5k to 20k examples".
    ("math", "sft_large-lr1e-06", {"expert": "large", "expert_rows": 20000, "epochs": 3}),
    ("math", "chord_phi_large", {"expert": "large", "expert_rows": 20000, "init": "sft_best_large", "steps": 1500}),
]


@pytest.mark.parametrize(("domain", "run", "printed"), PRINTED)
def test_runs_of_the_paper_scale_have_the_printed_values(
    paper: Plan, domain: str, run: str, printed: dict[str, Any]
) -> None:
    config = resolve_run(paper.choice.declarations, paper.choice.scale, run, domain, 0)
    assert {key: value(config, key) for key in printed} == printed


def test_the_paper_scale_evaluates_what_the_papers_tables_have(paper: Plan) -> None:
    """4.1: AIME24, AIME25, AMC, MMLU-Pro, BFCL; Tables 5 and 8: AMC23; Figure 2: MATH-500; B.4: RaR-Medicine."""
    tasks = {name: list(sizes.tasks) for name, sizes in paper.choice.scale.domains.items()}
    assert tasks == {
        "math": ["aime24", "aime25", "amc", "amc23", "math500", "mmlu-pro"],
        "tool": ["bfcl"],
        "medicine": ["rar-medicine-rating"],
    }


def test_headline_and_everything_are_the_same_at_every_scale_that_has_the_domains(paper: Plan) -> None:
    mini = load_plan({"scale": "mini"})
    assert paper.choice.headline == mini.choice.headline == list(mini.choice.declarations.headline)
    assert set(paper.files.targets()) == set(mini.files.targets())
    named = {run for _, run in paper.choice.headline_runs}
    grid = {"sft-lr1e-06", "sft-lr5e-06", "sft-lr1e-05"}
    assert named >= grid | {
        "sft_curve",
        "sft_best_rl",
        "sft_light_rl",
        "sasr",
        "luffy",
        "grpo",
        "chord_mu",
        "chord_phi",
    }
    assert paper.files.headline_pruned == [
        f"results/paper/pruned/{domain}/sft/seed0.json" for domain in ("math", "tool")
    ]


def test_a_domain_that_a_scale_leaves_out_is_in_none_of_its_files(paper: Plan) -> None:
    """gpu1 has no medicine, whose judge is a larger model than the policy."""
    gpu1 = load_plan({"scale": "gpu1"})
    assert set(paper.choice.scale.domains) - set(gpu1.choice.scale.domains) == {"medicine"}
    assert set(paper.files.targets()) - set(gpu1.files.targets()) == {"table7", "figure10"}
    files = {path for target in gpu1.files.targets().values() for path in target}
    assert not [path for path in files | set(gpu1.files.headline_pruned) if "medicine" in path]
    assert gpu1.choice.headline == paper.choice.headline
    for name in gpu1.choice.experiments():
        sources = gpu1.files.report_sources(name)
        assert (sources or name == "tuning") and not [path for path in sources if "medicine" in path]


def test_gpu1_is_the_papers_methods_made_smaller() -> None:
    gpu1 = load_plan({"scale": "gpu1"})
    assert gpu1.choice.scale.learning_rate_factor == 1
    assert gpu1.options.resources("train")["gpu"] == gpu1.choice.scale.strategy.processes == 1
    resolved = {
        domain: resolve_run(gpu1.choice.declarations, gpu1.choice.scale, "chord_mu", domain, 0)
        for domain in gpu1.choice.scale.domains
    }
    # 1,500 / 50 and 100 / 4 steps; mu decays over 200 / 50 and 30 / 4 of them, which is 7.5.
    assert {domain: config.steps for domain, config in resolved.items()} == {"math": 30, "tool": 25}
    assert {domain: config.mu["decay_steps"] for domain, config in resolved.items()} == {"math": 4, "tool": 7.5}
    assert {domain: config.max_response_tokens for domain, config in resolved.items()} == {"math": 2048, "tool": 1024}
    # The paper's proportion of demonstrations to prompts: 1 to 4, 1 to 10.
    rows = {domain: config.prompt_rows / config.expert_rows for domain, config in resolved.items()}
    assert rows == {"math": 4, "tool": 10}
