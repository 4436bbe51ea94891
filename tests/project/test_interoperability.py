"""Other tools' ways in and out: TRL's loop with our loss, what the documentation says to type, stock loaders."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.files import read_jsonl
from reference_impl.step.batching import TrainingSequence, expert_sequence, prompt_ids
from reference_impl.step.loss import StepTokens, step_losses
from reference_impl.step.objective import build_objective
from reference_impl.train import main
from tests.conftest import REPO

pytestmark = pytest.mark.slow

SHIPPED = REPO / "pipelines/sandbox/policies/sandbox-math"
has_trl = importlib.util.find_spec("trl") is not None
needs_trl = pytest.mark.skipif(not has_trl, reason="trl is not installed: make setup")


@pytest.fixture(scope="module")
def run(tiny_policy: Path, smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--run", "chord_phi", "--domain", "math", "--scale", "smoke", "--seed", "0"]
    main([*arguments, "--policy", str(tiny_policy), "--data", str(smoke_data), "--out", str(folder)])
    return folder


# --- TRL


def options(out: Path, accumulation: int) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(out),
        max_steps=2,
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        num_generations=4,
        max_completion_length=64,
        temperature=0.7,
        learning_rate=1e-3,
        bf16=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        loss_type="dapo",
    )


def gradients(model: Any) -> Tensor:
    """All gradients in one row, cleared."""
    row = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return row


def spread_advantages(batch: dict[str, Tensor]) -> None:
    """From -1 to 2: a good policy may give a group of equal samples, whose gradients would cancel if A summed to 0."""
    batch["advantages"] = torch.linspace(-1.0, 2.0, len(batch["advantages"]))


def rollouts(batch: dict[str, Tensor]) -> list[TrainingSequence]:
    """TRL's padded rollouts as our sequences."""
    parts = zip(
        *(batch[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")),
        strict=True,
    )
    return [
        TrainingSequence(
            tuple(prompt[prompt_mask.bool()].tolist()),
            tuple(response[mask.bool()].tolist()),
            kind="rollout",
            advantage=float(advantage),
        )
        for prompt, prompt_mask, response, mask, advantage in parts
    ]


@needs_trl
@pytest.mark.parametrize("accumulation", [1, 2])
def test_loss_and_gradients_in_trl_are_those_of_our_trainer(
    smoke_data: Path, tmp_path: Path, accumulation: int
) -> None:
    from reference_impl.examples.trl_chord import build_trainer

    expert = read_jsonl(smoke_data / "expert.jsonl")
    trainer = build_trainer(
        SHIPPED, smoke_data, options(tmp_path, accumulation), expert_batch=len(expert) // 2 * 2, mu=0.3
    )
    model, tokenizer = trainer.model.train(), AutoTokenizer.from_pretrained(SHIPPED)
    generation = next(iter(trainer.get_train_dataloader()))
    trainer.current_gradient_accumulation_steps = accumulation
    theirs, batches = 0.0, []
    for trainer._step in range(accumulation):
        batches.append(trainer._prepare_inputs(generation))
        spread_advantages(batches[-1])
        loss = trainer.compute_loss(model, batches[-1])
        loss.backward()
        theirs += loss.item()
    found = gradients(model)

    sequences = [sequence for batch in batches for sequence in rollouts(batch)]
    assert {sequence.prompt_ids for sequence in sequences} <= {
        prompt_ids(tokenizer, row) for row in read_jsonl(smoke_data / "prompts.jsonl")
    }
    # All rows are drawn, so their order does not matter.
    sequences += [expert_sequence(tokenizer, row, max_tokens=10_000) for row in expert[: trainer.expert_batch]]
    assert trainer.expert_batch == len(expert)
    objective = build_objective(resolve_run(load_declarations(), load_scale("smoke"), "chord_phi", "math", 0))
    ours = 0.0
    for loss, _ in step_losses(
        model,
        objective,
        sequences,
        0.3,
        StepTokens.count(sequences),
        temperature=0.7,
        micro_batch_tokens=1000,
        pad_id=0,
    ):
        loss.backward()
        ours += loss.item()
    assert theirs == pytest.approx(ours, rel=1e-5)
    torch.testing.assert_close(found, gradients(model), rtol=1e-4, atol=1e-6)


@needs_trl
def test_without_demonstrations_it_is_the_loss_that_trl_calls_dapo(smoke_data: Path, tmp_path: Path) -> None:
    """Eq. 2 is a mean over all tokens of the batch, as DAPO's; the advantages are TRL's in both."""
    from trl import GRPOTrainer

    from reference_impl.examples.trl_chord import build_trainer

    trainer = build_trainer(SHIPPED, smoke_data, options(tmp_path, 1), expert_batch=4, mu=0.0)
    model = trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    spread_advantages(inputs)
    # Old log-probs away from the current ones: ratios from e^-0.5 where A = -1 to e^0.5 where A = 2, which are clipped.
    shift = torch.linspace(0.5, -0.5, inputs["completion_mask"].numel()).view_as(inputs["completion_mask"])
    with torch.no_grad():
        current = trainer.response_logprobs(
            model, inputs["prompt_ids"], inputs["prompt_mask"], inputs["completion_ids"], inputs["completion_mask"]
        )
    inputs["old_per_token_logps"] = current + shift
    trainer.compute_loss(model, inputs).backward()
    ours = gradients(model)
    assert ours.abs().max() > 0
    GRPOTrainer.compute_loss(trainer, model, inputs).backward()
    torch.testing.assert_close(ours, gradients(model), rtol=1e-4, atol=1e-7)


@needs_trl
def test_mistakes_in_the_trl_example_are_named(smoke_data: Path, tmp_path: Path) -> None:
    from reference_impl.examples.trl_chord import build_trainer

    with pytest.raises(ValueError, match=r"expert_batch is 3; allowed: multiples of 2"):
        build_trainer(SHIPPED, smoke_data, options(tmp_path, 2), expert_batch=3, mu=0.1)
    longer = options(tmp_path, 2)
    longer.steps_per_generation = 4
    with pytest.raises(ValueError, match=r"steps_per_generation is 4; allowed: .* 2"):
        build_trainer(SHIPPED, smoke_data, longer, expert_batch=4, mu=0.1)


# --- What the documentation says to type

DOCUMENT = REPO / "docs/interoperability.md"
BLOCKS = [
    (language, text)
    for language, text in re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    if language == "python" or (language == "sh" and text.startswith("python -m"))
]


@pytest.fixture(scope="module")
def place(run: Path, smoke_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the document's relative paths lead to a finished run, its data and the code."""
    folder = tmp_path_factory.mktemp("checkout")
    for name, target in (
        ("results/mini/data/math", smoke_data),
        ("results/mini/runs/math/chord_phi/seed0", run),
        *((name, REPO / name) for name in ("reference_impl", "pipelines", "evaluation")),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    return folder


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[f"{number}" for number in range(len(BLOCKS))])
def test_documented_code_runs(place: Path, language: str, text: str) -> None:
    """In the document's order: a block may read what one before it wrote."""
    if "trl" in text and not has_trl:
        pytest.skip("trl is not installed: make setup")
    command = [sys.executable, "-c", text]
    if language == "sh":
        command = [sys.executable, *shlex.split(text.replace("\\\n", " "))[1:]]
    # Below the folder, whatever is cached; PYTHONPATH: a script on the command line does not look where it stands.
    environment = {**os.environ, "HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(place)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if "trl_chord" in text:
        weights = [load_file(folder / "model.safetensors") for folder in (place / "trl-run", SHIPPED)]
        assert any(not torch.equal(weights[0][name], old.float()) for name, old in weights[1].items()), "it has learned"


# --- Checkpoints


def test_a_checkpoint_has_all_that_a_stock_loader_asks_for(run: Path, tiny_policy: Path) -> None:
    best = run / "best"
    names = {path.name for path in best.iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    model, tokenizer = AutoModelForCausalLM.from_pretrained(best), AutoTokenizer.from_pretrained(best)
    before = AutoTokenizer.from_pretrained(tiny_policy)
    row = {"prompt": "sandbox-math", "question": "Start with 3;a plusFour. Join  all\nresults."}
    assert prompt_ids(tokenizer, row) == prompt_ids(before, row)
    generation = GenerationConfig.from_pretrained(best)
    assert (generation.eos_token_id, generation.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert str(tiny_policy) not in "".join(path.read_text() for path in best.glob("*.json"))
