"""Sampling against transformers' `generate`, and against the matrix products that it cannot do without."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reference_impl.benchmarks.pairs import REPETITIONS, Line, in_turns, medians, ratios
from reference_impl.benchmarks.setting import Setting, run_config
from reference_impl.rollout import Completion, GenerationRequest, RolloutEngine, load_engine
from reference_impl.step.batching import prompt_ids
from reference_impl.strategy.models import load_model


def requests_of(setting: Setting) -> list[GenerationRequest]:
    """A step's: 8 prompts, 8 samples each."""
    config = run_config("grpo")
    tokenizer = setting.tokenizer()
    prompts = [prompt_ids(tokenizer, row) for row in setting.rows().prompts[: config.rl_prompts]]
    return [
        GenerationRequest(prompt, 1000 * place + sample)
        for place, prompt in enumerate(prompts)
        for sample in range(config.group_size)
    ]


def generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[tuple[int, ...]]) -> Tensor:
    """What transformers users call: one left-padded batch, sampled to its longest response."""
    batch = tokenizer.pad({"input_ids": [list(prompt) for prompt in prompts]}, padding_side="left", return_tensors="pt")
    with torch.inference_mode():
        found: Tensor = model.generate(  # type: ignore[operator]
            **batch,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=run_config("grpo").max_response_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
    return found


class Products:
    """The matrix products of a finished sampling, and nothing else, on numbers of the right shapes.

    Every prompt is read once. After that each step has one product a weight, over the sequences that are alive, and
    two of attention over the keys of a prompt (shared by its sequences) and two over those of each sequence.
    """

    def __init__(
        self, model: PreTrainedModel, requests: Sequence[GenerationRequest], found: Sequence[Completion]
    ) -> None:
        config = model.config
        self.layers, self.heads = config.num_hidden_layers, config.num_attention_heads
        self.size = config.hidden_size // self.heads
        attention, mlp = model.model.layers[0].self_attn, model.model.layers[0].mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.weights = [
            torch.cat([projection.weight for projection in projections]).detach().T,
            attention.o_proj.weight.detach().T,
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).detach().T,
            mlp.down_proj.weight.detach().T,
        ]
        self.head = model.get_output_embeddings().weight.detach().T
        self.prompts = list(dict.fromkeys(request.prompt_ids for request in requests))
        self.lengths = [
            [len(c.token_ids) for r, c in zip(requests, found, strict=True) if r.prompt_ids == prompt]
            for prompt in self.prompts
        ]
        self.inputs = {rows: torch.randn(4096, rows) for rows in {weight.shape[0] for weight in self.weights}}

    @torch.inference_mode()
    def __call__(self) -> None:
        tokens = sum(map(len, self.prompts))
        for _ in range(self.layers):
            self._weights(tokens)
            for prompt in self.prompts:
                self._attention(1, len(prompt), len(prompt))
        self._head(len(self.prompts))
        for t in range(1, max(map(max, self.lengths))):
            alive = [sum(length > t for length in group) for group in self.lengths]
            for _ in range(self.layers):
                self._weights(sum(alive))
                for prompt, count in zip(self.prompts, alive, strict=True):
                    if count:
                        self._attention(1, count, len(prompt))
                self._attention(sum(alive), 1, t)
            self._head(sum(alive))

    def _weights(self, tokens: int) -> None:
        for weight in self.weights:
            self.inputs[weight.shape[0]][:tokens] @ weight

    def _head(self, tokens: int) -> None:
        self.inputs[self.head.shape[0]][:tokens] @ self.head

    def _attention(self, batch: int, queries: int, keys: int) -> None:
        """Scores and sums of values of ``batch`` separate sets of queries and keys."""
        query = torch.empty(batch * self.heads, queries, self.size)
        key = torch.empty(batch * self.heads, keys, self.size)
        scores = query @ key.transpose(1, 2)
        scores @ key


def lines(setting: Setting, repetitions: int = REPETITIONS) -> list[Line]:
    """Every line of this part."""
    config = run_config("grpo")
    requests = requests_of(setting)
    prompts = [request.prompt_ids for request in requests]
    found: list[Line] = []
    for where, policy in (("start", setting.start), ("trained", setting.trained)):
        engine, tokenizer = load_engine(config.engine, policy, config.rollout_batch, torch.float32)
        model = load_model(policy, torch.float32).eval()

        def theirs(model: PreTrainedModel = model, tokenizer: PreTrainedTokenizerBase = tokenizer) -> Tensor:
            return generate(model, tokenizer, prompts)

        def sample(engine: RolloutEngine = engine) -> list[Completion]:
            return engine.generate(requests, max_tokens=config.max_response_tokens)

        ways: dict[str, Callable[[], object]] = {
            "generate": theirs,
            "ours": sample,
            "products": Products(model, requests, sample()),
        }
        seconds = in_turns(ways, repetitions)
        name = f"rollout of 8 × 8, policy {where}"
        found += [
            Line(
                name, "`generate` / ours", ratios(seconds["generate"], seconds["ours"]), 4.5, "above", medians(seconds)
            ),
            Line(name, "ours / its matrix products", ratios(seconds["ours"], seconds["products"]), 2.7, "below"),
        ]
    return found
