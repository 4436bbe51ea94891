"""A mixture of experts: its router loss, and the same log-probs from the rollout engine as from a plain forward."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from pipelines.sandbox import math_world
from pipelines.sandbox.policies import Shape
from pipelines.sandbox.pretrain import IGNORE, accumulate_gradients, build_model, save, train_tokenizer
from reference_impl.rollout import GenerationRequest
from reference_impl.rollout.transformers_engine import TransformersEngine
from reference_impl.strategy.models import logits_and_router_loss

pytestmark = pytest.mark.slow

SHAPE = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=24, experts=4, experts_per_token=2)
PROMPTS = ((5, 9, 31, 7, 12, 300), (40, 8), (5, 9, 31), (77,))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random policy whose routers are decided: weights times 20, so that experts differ and few tokens tie."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(math_world, 400)
    model = build_model("phimoe", SHAPE, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.mul_(20 if "router" in name else 5)
    folder = tmp_path_factory.mktemp("moe")
    save(model, tokenizer, folder)
    return folder


@pytest.fixture
def model(checkpoint: Path) -> PreTrainedModel:
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint)
    return loaded.eval()


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids_BT, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def load_balancing(model: PreTrainedModel, rows: list[list[int]]) -> Tensor:
    """Switch Transformer's loss, written again: experts × Σ_e (choices of e per token) × (mean probability of e)."""
    probs = []
    for row in rows:
        outputs = model(input_ids=torch.tensor([row]))
        probs += [logits_TE.softmax(-1) for logits_TE in outputs.router_logits]
    probs_NE = torch.cat(probs)
    chosen_NE = torch.zeros_like(probs_NE).scatter(-1, probs_NE.topk(2).indices, 1.0)
    return probs_NE.shape[1] * (chosen_NE.mean(0) * probs_NE.mean(0)).sum()


def test_architecture_is_the_declared_one(model: PreTrainedModel) -> None:
    config = model.config
    assert (config.model_type, config.num_local_experts, config.num_experts_per_tok) == ("phimoe", 4, 2)
    assert config.output_router_logits and config.router_aux_loss_coef == 0.001
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    # 32 * V embedding, one final norm 64, and per layer: attention 4 * 32^2, router 4 * 32, experts 4 * 3 * 32 * 24,
    # two norms 128: 4096 + 128 + 9216 + 128 = 13568.
    assert model.num_parameters() == 32 * config.vocab_size + 64 + 2 * 13568


def test_router_loss_is_the_architectures_over_real_tokens_only(model: PreTrainedModel) -> None:
    rows = [[5, 9, 31, 7, 12, 300, 4, 4], [40, 8], [77, 3, 3]]
    ids_BT, real_BT = padded(rows)
    logits_BTV, loss = logits_and_router_loss(model, ids_BT, real_BT)
    assert loss is not None
    torch.testing.assert_close(loss, 0.001 * load_balancing(model, rows))
    torch.testing.assert_close(logits_BTV[1, :2], model(input_ids=torch.tensor([rows[1]])).logits[0])
    wider_BT, real_wider_BT = (torch.nn.functional.pad(x, (0, 40)) for x in (ids_BT, real_BT))
    torch.testing.assert_close(logits_and_router_loss(model, wider_BT, real_wider_BT)[1], loss)
    counted = logits_and_router_loss(model, wider_BT, torch.ones_like(real_wider_BT))[1]
    assert counted is not None and abs(counted - loss) > 1e-5, "padding must be able to change it in this test"


def test_router_loss_needs_flag_and_scales_with_coefficient(model: PreTrainedModel, tiny_policy: Path) -> None:
    ids_BT, real_BT = padded([[5, 9, 31, 7], [40, 8]])
    logits_BTV, loss = logits_and_router_loss(model, ids_BT, real_BT)
    model.config.router_aux_loss_coef = 0.5
    assert loss is not None
    torch.testing.assert_close(logits_and_router_loss(model, ids_BT, real_BT)[1], 500 * loss)
    model.config.output_router_logits = False
    plain_BTV, none = logits_and_router_loss(model, ids_BT, real_BT)
    assert none is None
    torch.testing.assert_close(plain_BTV[real_BT.bool()], logits_BTV[real_BT.bool()])
    dense = AutoModelForCausalLM.from_pretrained(tiny_policy)
    assert logits_and_router_loss(dense, ids_BT, real_BT)[1] is None


def test_router_loss_reaches_the_routers_and_balances_them(model: PreTrainedModel) -> None:
    rows = [[5, 9, 31, 7, 12, 300, 4, 4], [40, 8, 77, 3, 3]]
    ids_BT, real_BT = padded(rows)
    routers = [parameter for name, parameter in model.named_parameters() if "router" in name]
    assert len(routers) == SHAPE.layers
    before = load_balancing(model, rows)
    loss = logits_and_router_loss(model, ids_BT, real_BT)[1]
    assert loss is not None
    loss.backward()
    with torch.no_grad():
        for router in routers:
            assert router.grad is not None and router.grad.norm() > 0
            router.sub_(50 * router.grad)  # a step of 0.05, the coefficient of 0.001 undone
    assert load_balancing(model, rows) < before


def test_pretraining_adds_it_by_the_share_of_tokens(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[5, 9, 31, 7, 12, 300, 4, 4], [40, 8], [77, 3, 3]]
    ids_BT, real_BT = padded(rows)
    labels_BT = ids_BT.masked_fill(real_BT == 0, IGNORE)
    monkeypatch.setattr("pipelines.sandbox.pretrain.CACHE_TOKENS", 1)  # one row at a time: 8, 2 and 3 of 13 tokens
    model.config.router_aux_loss_coef = 1.0  # large enough to be seen in every gradient
    accumulate_gradients(model, ids_BT, labels_BT)
    found = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    expected = torch.nn.functional.cross_entropy(
        model(input_ids=ids_BT).logits[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=IGNORE
    )
    for row in rows:
        expected = expected + load_balancing(model, [row]) * len(row) / 13
    expected.backward()
    torch.testing.assert_close(found, [parameter.grad for parameter in model.parameters()], rtol=1e-4, atol=1e-6)


def test_engines_logprobs_are_the_forwards_in_any_batch(checkpoint: Path, model: PreTrainedModel) -> None:
    """Padding is routed to experts too, but an expert sees one token at a time: it cannot change another's logits."""
    requests = [GenerationRequest(prompt, 10 * i + j) for i, prompt in enumerate(PROMPTS) for j in range(3)]
    engines = [TransformersEngine.from_checkpoint(checkpoint, size, "auto")[0] for size in (64, 1, 5)]
    assert not engines[0].model.config.output_router_logits and model.config.output_router_logits
    together, *others = [engine.generate(requests, max_tokens=12) for engine in engines]
    assert any(len(completion.token_ids) == 12 for completion in together)
    for other in others:
        assert [completion.token_ids for completion in together] == [completion.token_ids for completion in other]
    for request, completion in zip(requests, together, strict=True):
        ids_1T = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logits_1TV, _ = logits_and_router_loss(model, ids_1T, torch.ones_like(ids_1T))
        logprobs_TV = logits_1TV[0, len(request.prompt_ids) - 1 : -1].log_softmax(-1)
        expected = logprobs_TV.gather(-1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=0)


def test_routing_is_deterministic_in_eval_and_sampled_among_ties_in_training(model: PreTrainedModel) -> None:
    ids_BT, real_BT = padded([list(range(3, 200)), list(range(100, 180))])
    with torch.no_grad():
        first, second = (logits_and_router_loss(model, ids_BT, real_BT)[0] for _ in range(2))
        assert torch.equal(first, second)
        model.train()
        draws = [logits_and_router_loss(model, ids_BT, real_BT)[0] for _ in range(2)]
    assert not torch.equal(*draws)


def test_round_trip_through_a_checkpoint(checkpoint: Path, model: PreTrainedModel, tmp_path: Path) -> None:
    model.half().save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert again.config.output_router_logits and again.config.tie_word_embeddings
    original = AutoModelForCausalLM.from_pretrained(checkpoint).state_dict()
    assert again.state_dict().keys() == original.keys()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, original[name].half().float()), name
