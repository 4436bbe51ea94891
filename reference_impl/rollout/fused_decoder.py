"""Decoding of small dense models on the CPU with few operations and without copies of the cache.

At a few hundred thousand weights transformers' decode step spends its time on copying keys and values, which grow with
every token, and on the number of its operations. Here the keys and values of a prompt are kept once for all its
samples, those of a response stay where they were written, and a layer reads joined, prepared weights.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from reference_impl.rollout.decoder import Decoder, close_up
from reference_impl.rollout.fused_weights import FusedLayer, FusedWeights, fuse, supports
from reference_impl.rollout.plain_decoder import PlainDecoder

BLOCK = 32
"""Tokens of all responses whose keys and values lie together. Smaller matrices torch multiplies in a slow way."""


def fused_or_plain(model: PreTrainedModel) -> Decoder:
    """The fused decoder of a model's weights as they are now; the plain one for a model that it does not support."""
    return FusedDecoder(fuse(model)) if supports(model) else PlainDecoder(model)


class FusedDecoder:
    """Prefills each prompt once, however many sequences share it."""

    def __init__(self, weights: FusedWeights) -> None:
        self.weights = weights

    def prefill(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Tensor, "FusedSequences"]:
        """See `Decoder`."""
        weights = self.weights
        distinct = list(dict.fromkeys(prompts))
        lengths_P = torch.tensor([len(prompt) for prompt in distinct])
        P, T = len(distinct), max(map(len, distinct))
        ids_PT = torch.zeros(P, T, dtype=torch.long)  # padded to the right, where causal attention does not look
        for i, prompt in enumerate(distinct):
            ids_PT[i, : len(prompt)] = torch.tensor(prompt)
        last_P = torch.arange(P) * T + lengths_P - 1
        x = weights.embedding.index_select(0, ids_PT.flatten())
        turn = rotation(torch.arange(T).repeat(P), weights)
        vectors = Vectors(P * T, weights)
        caches = []
        for layer in weights.layers:
            vectors.fill(x, layer, turn)
            q, k, v = (part.unflatten(0, (P, T)).transpose(1, 2) for part in (vectors.q, *vectors.kv))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0, enable_gqa=True)
            attended = attended.transpose(1, 2).flatten(2).flatten(0, 1)
            if layer is weights.layers[-1]:  # of which no more is needed
                x, attended = x[last_P], attended[last_P]
            finish_layer(x, attended, layer, weights)
            caches.append(Cache(torch.stack([k, v])))
        logits_PV = torch.mm(unit(x, weights.least), weights.unembedding)
        prompt_B = [distinct.index(prompt) for prompt in prompts]
        return logits_PV[prompt_B], FusedSequences(weights, caches, lengths_P, prompt_B)


class FusedSequences:
    """Sequences that are being decoded.

    Rows are sequences. For the products with a prompt's keys and values they are brought into a grid, those of a
    prompt beside each other; a prompt that has fewer than others repeats one.
    """

    def __init__(self, weights: FusedWeights, prompts: "list[Cache]", lengths_P: Tensor, prompt_B: list[int]) -> None:
        """``prompts``: each layer's keys and values of prompts of these lengths; ``prompt_B``: each sequence's."""
        self._weights = weights
        self._prompts = prompts
        self._responses: list[list[Cache]] = [[] for _ in weights.layers]
        self._prompt_B = prompt_B
        self._position_B = lengths_P[prompt_B]
        self._tokens = 0
        padding_PT = torch.arange(prompts[0].tokens) >= lengths_P[:, None]
        hidden_PT = torch.zeros(padding_PT.shape).masked_fill(padding_PT, -torch.inf)
        self._hidden_B1T = hidden_PT[prompt_B][:, None]
        """What to add to scores: 0 for the keys of tokens, -inf for padding and for space not yet used."""
        self._group()

    def step(self, ids_B: Tensor) -> Tensor:
        """See `Sequences`."""
        weights, vectors = self._weights, self._vectors
        place = self._tokens % BLOCK
        if place == 0:
            self._grow()
        self._hidden_B1T[:, :, place - BLOCK] = 0
        x = weights.embedding.index_select(0, ids_B)
        turn = rotation(self._position_B, weights)
        for layer, prompt, response in zip(weights.layers, self._prompts, self._responses, strict=True):
            vectors.fill(x, layer, turn)
            response[-1].both[:, :, :, place].copy_(vectors.kv)
            finish_layer(x, self._attend(prompt, response), layer, weights)
        self._tokens += 1
        self._position_B += 1
        return torch.mm(unit(x, weights.least), weights.unembedding)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Sequences`."""
        prompt_B = [self._prompt_B[row] for row in rows]
        prompts = close_up([prompt in prompt_B for prompt in range(max(self._prompt_B) + 1)])
        self._prompt_B = [prompts.index(prompt) for prompt in prompt_B]
        self._prompts = [cache.moved(prompts) for cache in self._prompts]
        self._responses = [[cache.moved(rows) for cache in response] for response in self._responses]
        self._position_B = self._position_B[rows]
        self._hidden_B1T = self._hidden_B1T[rows]
        self._group()

    def _grow(self) -> None:
        """Space for another block of tokens."""
        weights = self._weights
        for response in self._responses:
            # Zeros: what is hidden has the weight 0, and 0 times what memory holds may be NaN.
            shape = (2, len(self._prompt_B), weights.kv_heads, BLOCK, weights.head_size)
            response.append(Cache(torch.zeros(shape)))
        self._hidden_B1T = F.pad(self._hidden_B1T, (0, BLOCK), value=-torch.inf)

    def _group(self) -> None:
        """Prepare what depends on which sequences there are."""
        weights, number = self._weights, len(self._prompt_B)
        self._vectors = Vectors(number, weights)
        rows_P: list[list[int]] = [[] for _ in range(max(self._prompt_B) + 1)]
        for row, prompt in enumerate(self._prompt_B):
            rows_P[prompt].append(row)
        most = max(map(len, rows_P))
        grid_PG = torch.tensor([rows + rows[:1] * (most - len(rows)) for rows in rows_P])
        heads = torch.arange(weights.heads).view(weights.kv_heads, 1, -1)
        self._to_grid = (grid_PG[:, None, :, None] * weights.heads + heads).flatten()
        self._to_rows = torch.empty(number * weights.heads, dtype=torch.long)
        self._to_rows[self._to_grid] = torch.arange(len(self._to_grid))

    def _attend(self, prompt: "Cache", response: "list[Cache]") -> Tensor:
        """(B, heads * head size): each head's mean of the values of its prompt and its response, in one softmax.

        Matrices have a row for each head of each sequence, in the grid for each head of each of its places.
        """
        size, width = self._weights.head_size, prompt.tokens
        q = self._vectors.q.reshape(-1, size)
        q_grid = q.index_select(0, self._to_grid).view(prompt.batch, -1, size)
        q_own = q.view(response[0].batch, -1, size)
        scores_grid = torch.bmm(q_grid, prompt.keys).view(-1, width)
        scores = [scores_grid.index_select(0, self._to_rows)]
        scores += [torch.bmm(q_own, block.keys).view(-1, BLOCK) for block in response]
        all_scores = torch.cat(scores, 1).view(len(self._prompt_B), -1, width + BLOCK * len(response))
        weights = all_scores.add_(self._hidden_B1T).softmax(-1).view(q.shape[0], -1)
        weights_grid = weights[:, :width].index_select(0, self._to_grid).view(prompt.batch, -1, width)
        attended_grid = torch.bmm(weights_grid, prompt.values).view(-1, size)
        attended = attended_grid.index_select(0, self._to_rows).view(response[0].batch, -1, size)
        for block, own in zip(response, weights[:, width:].split(BLOCK, 1), strict=True):
            attended.baddbmm_(own.view(block.batch, -1, BLOCK), block.values)
        return attended.view(len(self._prompt_B), -1)


class Cache:
    """A layer's keys and values of rows, sequences or prompts."""

    def __init__(self, both: Tensor) -> None:
        """``both``: (2, rows, key-value heads, T, head size)."""
        self.both = both
        self.keys = both[0].flatten(0, 1).mT
        """(rows * key-value heads, head size, T)."""
        self.values = both[1].flatten(0, 1)
        """(rows * key-value heads, T, head size)."""
        self.batch, self.tokens, _ = self.values.shape

    def moved(self, rows: Sequence[int]) -> "Cache":
        """That of these rows, in the same space: only a row that is not in its place is copied."""
        places = [place for place, row in enumerate(rows) if place != row]
        if places:
            self.both[:, places] = self.both[:, [rows[place] for place in places]]
        return Cache(self.both[:, : len(rows)])


class Vectors:
    """Space for the queries, keys and values of rows, and views of it."""

    def __init__(self, rows: int, weights: FusedWeights) -> None:
        self._weights = weights
        heads, kv_heads, head_size = weights.heads, weights.kv_heads, weights.head_size
        self._all = torch.empty(rows, (heads + 2 * kv_heads) * head_size)
        vectors = self._all.view(rows, -1, head_size)
        self._qk = vectors[:, : heads + kv_heads]
        self._pairs = torch.view_as_complex(self._qk.unflatten(-1, (-1, 2)))
        self.q = vectors[:, :heads]
        """(rows, heads, head size)."""
        self.kv = vectors[:, heads:].unflatten(1, (2, kv_heads)).transpose(0, 1)
        """(2, rows, key-value heads, head size)."""

    def fill(self, x: Tensor, layer: FusedLayer, turn: Tensor) -> None:
        """With those of a layer whose input is ``x`` (rows, hidden), turned by the rotary embedding."""
        torch.addmm(layer.qkv_bias, unit(x, self._weights.least), layer.qkv, out=self._all)
        if layer.qk_scale is not None:
            self._qk.copy_(unit(self._qk, self._weights.head_least).mul_(layer.qk_scale))
        self._pairs.mul_(turn)


def rotation(position_B: Tensor, weights: FusedWeights) -> Tensor:
    """The rotary embedding's turn of each pair, as complex numbers (B, 1, head size / 2)."""
    angles = position_B[:, None, None] * weights.frequencies
    return torch.polar(torch.ones_like(angles), angles)


def unit(x: Tensor, least: Tensor) -> Tensor:
    """``x`` divided by its length along the last dimension: an RMS norm without its scale and the root of its size."""
    return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), least)


def finish_layer(x: Tensor, attended: Tensor, layer: FusedLayer, weights: FusedWeights) -> None:
    """Add what a layer's attention and MLP give to ``x`` (rows, hidden)."""
    x.addmm_(attended, layer.out)
    gate, up = torch.mm(unit(x, weights.least), layer.gate_up).chunk(2, -1)
    x.addmm_(F.silu(gate).mul_(up), layer.down)
