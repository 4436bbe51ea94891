"""Chunked log-probs and entropies: those of one softmax over all logits, without ever holding them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    PhimoeConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from reference_impl.benchmarks.padding import padding
from reference_impl.step.batching import cuts
from reference_impl.step.token_logprobs import token_logprobs
from reference_impl.strategy.models import logits_and_router_loss

pytestmark = pytest.mark.slow

V = 61
SHAPE: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 24,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PLAIN: dict[str, PretrainedConfig] = {
    "qwen2 tied": Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen2 untied": Qwen2Config(**SHAPE, tie_word_embeddings=False),
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "phimoe with bias": PhimoeConfig(
        **SHAPE, num_local_experts=4, output_router_logits=True, router_aux_loss_coef=0.5, lm_head_bias=True
    ),
    "gemma3 without soft-capping": Gemma3TextConfig(**SHAPE, final_logit_softcapping=None),
}
CHANGED: dict[str, PretrainedConfig] = {
    "gemma2": Gemma2Config(**SHAPE),
    "cohere": CohereConfig(**SHAPE),
    "granite": GraniteConfig(**SHAPE, logits_scaling=8.0),
}
LENGTHS = (12, 9, 4)
PROMPTS = (3, 8, 1)
REAL_BT1 = torch.arange(12) < torch.tensor(LENGTHS)[:, None]
RESPONSES_BT = REAL_BT1[:, 1:] & (torch.arange(11) >= torch.tensor(PROMPTS)[:, None] - 1)
"""Responses of 9, 1 and 3 tokens."""
MASKS = {
    "responses": RESPONSES_BT,
    "everything": torch.ones(3, 11, dtype=torch.bool),
    "scattered": torch.tensor([[True, False, False] * 3 + [True] * 2, [False] * 11, [False] * 10 + [True]]),
    "nothing": torch.zeros(3, 11, dtype=torch.bool),
}
NAIVE = 1 << 30


def model_of(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Random weights, large enough for decided predictions, biases included."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0, 0.3)
    return model.to(dtype).eval()  # type: ignore[arg-type]


@pytest.fixture
def ids_BT1() -> Tensor:
    return torch.randint(3, V, (3, 12), generator=torch.Generator().manual_seed(1)).masked_fill(~REAL_BT1, 0)


@pytest.fixture
def qwen() -> PreTrainedModel:
    return model_of(PLAIN["qwen2 tied"])


def gradients(model: PreTrainedModel, logprobs_BT: Tensor, router_loss: Tensor | None) -> list[Tensor]:
    """Of a loss that weighs every position differently, as advantages and phi do."""
    model.zero_grad()
    weights_BT = torch.linspace(-1, 2, logprobs_BT.numel()).view_as(logprobs_BT)
    loss = (weights_BT * logprobs_BT).sum()
    (loss if router_loss is None else loss + router_loss).backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in model.parameters()]


def expected(
    model: PreTrainedModel, ids_BT1: Tensor, mask_BT: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The definitions, from all logits: log softmax(z / temperature) of the next token, and -Σ p log p."""
    logits_BT1V, router_loss = logits_and_router_loss(model, ids_BT1, REAL_BT1)
    policy = torch.distributions.Categorical(logits=logits_BT1V[:, :-1].float() / temperature)
    return policy.log_prob(ids_BT1[:, 1:]) * mask_BT, policy.entropy().detach() * mask_BT, router_loss


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("architecture", PLAIN)
def test_equals_the_definition_for_any_chunk(architecture: str, mask: str, ids_BT1: Tensor) -> None:
    """Values to 1e-6, gradients of every weight (those below the last hidden states too) to 1e-5."""
    model, mask_BT = model_of(PLAIN[architecture]), MASKS[mask]
    logprobs_BT, entropy_BT, router_loss = expected(model, ids_BT1, mask_BT, 0.7)
    wanted = gradients(model, logprobs_BT, router_loss)
    assert mask == "nothing" or max(gradient.abs().max() for gradient in wanted) > 0.1
    for budget in (1, V, 4 * V + 1, 20 * V, NAIVE):
        found_BT, found_entropy_BT, found_router_loss = token_logprobs(
            model, ids_BT1, REAL_BT1, mask_BT, 0.7, logits_budget=budget
        )
        torch.testing.assert_close(found_BT, logprobs_BT, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found_entropy_BT, entropy_BT, atol=1e-6, rtol=1e-6)
        assert found_BT.requires_grad and not found_entropy_BT.requires_grad
        assert (found_router_loss is None) == (router_loss is None) == (architecture != "phimoe with bias")
        found = gradients(model, found_BT, found_router_loss)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("budget", [V, NAIVE])
def test_a_policy_without_preferences(qwen: PreTrainedModel, ids_BT1: Tensor, budget: int) -> None:
    """Equal logits: every log-prob is -ln 61 = -4.110874, every entropy ln 61, at any temperature."""
    with torch.no_grad():
        qwen.get_output_embeddings().weight.zero_()
    logprobs_BT, entropy_BT, _ = token_logprobs(qwen, ids_BT1, REAL_BT1, RESPONSES_BT, 0.3, logits_budget=budget)
    torch.testing.assert_close(logprobs_BT, -4.110874 * RESPONSES_BT)
    torch.testing.assert_close(entropy_BT, 4.110874 * RESPONSES_BT)


def test_softmax_is_float32_of_bfloat16_weights(ids_BT1: Tensor) -> None:
    """A bfloat16 softmax would be wrong by 2^-9 of values near 8, or 0.016; in float32 only the logits are rounded."""
    model = model_of(PLAIN["llama"], torch.bfloat16)
    logprobs_BT, entropy_BT, _ = expected(model, ids_BT1, RESPONSES_BT, 1.0)
    wanted = gradients(model, logprobs_BT, None)
    found_BT, found_entropy_BT, _ = token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=4 * V)
    assert found_BT.dtype == found_entropy_BT.dtype == torch.float32
    torch.testing.assert_close(found_BT, logprobs_BT, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_entropy_BT, entropy_BT, atol=1e-4, rtol=1e-4)
    for gradient, other in zip(gradients(model, found_BT, None), wanted, strict=True):
        assert gradient.dtype == torch.bfloat16
        assert (gradient - other).float().norm() < 0.01 * other.float().norm() + 1e-6


@pytest.mark.parametrize("architecture", [name for name in PLAIN if "moe" not in name])
def test_float64_to_the_last_digits(architecture: str, ids_BT1: Tensor) -> None:
    """float64 throughout: what is left in float32 is rounding, not a mistake. Experts have no float64 kernel."""
    model = model_of(PLAIN[architecture], torch.float64)
    results = [token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 0.7, logits_budget=b) for b in (NAIVE, 2 * V)]
    (wanted_BT, wanted_entropy_BT, _), (found_BT, found_entropy_BT, _) = results
    assert found_BT.dtype == found_entropy_BT.dtype == torch.float64
    torch.testing.assert_close(found_BT, wanted_BT, atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(found_entropy_BT, wanted_entropy_BT, atol=1e-13, rtol=1e-13)
    wanted, found = (gradients(model, logprobs_BT, router_loss) for logprobs_BT, _, router_loss in results)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def test_many_chunks_cost_no_accuracy_in_bfloat16() -> None:
    """The output embedding's gradient is a sum over chunks. In bfloat16 each partial sum would be rounded, by up to

    2^-9: a sum of 128 of them is wrong by 2.5 % here, where one product over all tokens is wrong by 0.44 %.
    """
    shape = SHAPE | {"vocab_size": 2000, "hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 8}
    model = model_of(Qwen2Config(**shape, tie_word_embeddings=False), torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(3)
    exact = model_of(Qwen2Config(**shape, tie_word_embeddings=False))
    exact.load_state_dict(model.state_dict())
    ids_1T1 = torch.randint(2000, (1, 2049), generator=torch.Generator().manual_seed(1))
    everything = torch.ones(1, 2048, dtype=torch.bool)

    def head_gradient(policy: PreTrainedModel, chunk: int) -> Tensor:
        found_1T = token_logprobs(policy, ids_1T1, ids_1T1 >= 0, everything, 1.0, logits_budget=chunk * 2000)[0]
        gradients(policy, found_1T, None)
        gradient = policy.get_output_embeddings().weight.grad
        assert isinstance(gradient, Tensor)
        return gradient.float()

    wanted = head_gradient(exact, 2049)
    once, chunks = (float((head_gradient(model, n) - wanted).norm() / wanted.norm()) for n in (2049, 16))
    assert chunks < 1.2 * once < 0.02


@pytest.mark.parametrize("frozen", ["head", "all but the head"])
def test_frozen_weights(frozen: str, ids_BT1: Tensor) -> None:
    model = model_of(PLAIN["phimoe with bias"])
    head = {id(weight) for weight in model.get_output_embeddings().parameters()}
    for weight in model.parameters():
        weight.requires_grad_((id(weight) in head) != (frozen == "head"))
    results = [token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 0.7, logits_budget=b) for b in (NAIVE, 2 * V)]
    wanted, found = (gradients(model, logprobs_BT, None) for logprobs_BT, *_ in results)
    assert sum(bool(gradient.any()) for gradient in wanted) > 1
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_micro_batches_of_long_responses() -> None:
    """Budget 20,480 at the paper's lengths: a response at its limit fits with its prompt; a longer one stands alone."""
    assert [list(places) for places in cuts([300, 500, 16_684], 20_480)] == [[0, 1], [2]]
    assert [list(places) for places in cuts([10_240, 10_240, 10_241], 20_480)] == [[0, 1], [2]]
    assert [list(places) for places in cuts([5, 30_000, 30_001], 20_480)] == [[0], [1], [2]]
    # Unsorted: the longest counts, wherever it stands. 3 * 8 = 24.
    assert [list(places) for places in cuts([8, 1, 1, 1], 24)] == [[0, 1, 2], [3]]
    assert list(cuts([], 24)) == []


def test_padding_share() -> None:
    """Sorted, 1, 1, 2, 2 and 8 of budget 8: four rows of 2 hold 6 tokens, one of 8 holds 8; 2 of 16 places are padding.

    As they come, 1, 8, 1, 2, 2: 1 | 8 | 1 2 2 make 1 + 8 + 6 = 15 places for 14 tokens.
    """
    assert padding([1, 1, 2, 2, 8], 8) == (2 / 16, 2)
    assert padding([1, 8, 1, 2, 2], 8) == (1 - 14 / 15, 3)


class Sizes(TorchDispatchMode):
    """Elements of the largest floating-point tensor that any operation returned, gradients included."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                self.largest = max(self.largest, tensor.numel())
        return result


def test_never_holds_more_logits_than_the_budget(ids_BT1: Tensor) -> None:
    """With 2000 words, three tokens' logits are 6000 numbers; the embedding itself has 4 * 2000."""
    shape = SHAPE | {"vocab_size": 2000, "hidden_size": 4, "num_attention_heads": 1, "num_key_value_heads": 1}
    model = model_of(Qwen2Config(**shape, tie_word_embeddings=True))
    with Sizes() as chunked:
        gradients(model, token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=6000)[0], None)
    with Sizes() as naive:
        gradients(model, token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=NAIVE)[0], None)
    assert chunked.largest == 8000 and naive.largest == (9 + 1 + 3) * 2000


@contextmanager
def head_calls(model: PreTrainedModel) -> Iterator[list[int]]:
    calls: list[int] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


@pytest.mark.parametrize("mask", MASKS)
def test_output_embedding_is_called_once(qwen: PreTrainedModel, ids_BT1: Tensor, mask: str) -> None:
    """As often on a rank with many chunks as on one with none: under ZeRO-3 every call is a collective."""
    for budget in (V, 5 * V, NAIVE):
        with head_calls(qwen) as calls:
            logprobs_BT, _, _ = token_logprobs(qwen, ids_BT1, REAL_BT1, MASKS[mask], 1.0, logits_budget=budget)
            logprobs_BT.sum().backward()
        assert len(calls) == 1


@pytest.mark.parametrize("architecture", CHANGED)
def test_architecture_that_changes_its_logits(architecture: str, ids_BT1: Tensor) -> None:
    """Right within the budget, refused above it, and the model is left as it was."""
    model = model_of(CHANGED[architecture])
    logprobs_BT, entropy_BT, _ = expected(model, ids_BT1, RESPONSES_BT, 1.0)
    with pytest.raises(ValueError, match=r"changes its logits .* allowed: .* at most 2 tokens of responses, found 13"):
        token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=2 * V)
    found_BT, found_entropy_BT, _ = token_logprobs(model, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=36 * V)
    torch.testing.assert_close(found_BT, logprobs_BT, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found_entropy_BT, entropy_BT, atol=1e-6, rtol=1e-6)


def test_model_is_as_before(qwen: PreTrainedModel, ids_BT1: Tensor) -> None:
    before = qwen(input_ids=ids_BT1).logits
    token_logprobs(qwen, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=V)
    assert "forward" not in vars(qwen.get_output_embeddings())
    assert torch.equal(qwen(input_ids=ids_BT1).logits, before)
    with pytest.raises(IndexError):
        token_logprobs(qwen, ids_BT1 + V, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=V)
    assert "forward" not in vars(qwen.get_output_embeddings())


def test_a_forward_replaced_by_others_comes_back(qwen: PreTrainedModel, ids_BT1: Tensor) -> None:
    """Tools that place a model on several devices put a forward of their own into the module: it is used and kept."""
    head = qwen.get_output_embeddings()
    own, calls = head.forward, []

    def placed(hidden: Tensor) -> Tensor:
        calls.append(len(hidden))
        return own(hidden)

    vars(head)["forward"] = placed
    with torch.no_grad():
        token_logprobs(qwen, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=5 * V)
    assert calls == [5, 5, 3] and vars(head)["forward"] is placed


def test_together_with_activation_checkpointing(qwen: PreTrainedModel, ids_BT1: Tensor) -> None:
    wanted = gradients(qwen, expected(qwen, ids_BT1, RESPONSES_BT, 1.0)[0], None)
    qwen.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    qwen.train()
    found_BT, _, _ = token_logprobs(qwen, ids_BT1, REAL_BT1, RESPONSES_BT, 1.0, logits_budget=2 * V)
    torch.testing.assert_close(gradients(qwen, found_BT, None), wanted, atol=1e-5, rtol=1e-5)


def test_the_benchmark_of_memory_runs_and_both_ways_agree() -> None:
    """Tiny, so its figures of memory mean nothing; both ways must compute the same."""
    command = [
        sys.executable,
        "-m",
        "reference_impl.benchmarks.logprob_memory",
        "--tokens",
        "64",
        "--vocabulary",
        "500",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "|" in line]
    assert [row[0] for row in rows] == ["log-probs", "---", "model alone", "all at once", "in chunks"]
    column = rows[0].index("mean log-prob")
    once, chunked = (float(row[column]) for row in rows[-2:])
    assert once == chunked < 0
