"""Decoding by a `transformers` model's own forward pass and cache: any architecture, any device."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel


class PlainDecoder:
    """Prefills a prompt that several sequences share once, then copies its keys and values to each of them."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def prefill(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Tensor, "PlainSequences"]:
        """See `Decoder`."""
        distinct = list(dict.fromkeys(prompts))
        width = max(map(len, distinct))
        ids_PT = torch.zeros(len(distinct), width, dtype=torch.long)
        mask_PT = torch.zeros_like(ids_PT)
        for i, prompt in enumerate(distinct):
            ids_PT[i, width - len(prompt) :] = torch.tensor(prompt)
            mask_PT[i, width - len(prompt) :] = 1
        device = self.model.device
        ids_PT, mask_PT = ids_PT.to(device), mask_PT.to(device)
        padded = bool((mask_PT == 0).any())
        cache = DynamicCache()
        out = self.model(
            input_ids=ids_PT,
            attention_mask=mask_PT if padded else None,
            position_ids=(mask_PT.cumsum(-1) - 1).clamp(min=0) if padded else None,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        rows = torch.tensor([distinct.index(prompt) for prompt in prompts], device=device)
        cache.batch_select_indices(rows)
        return out.logits[rows, -1], PlainSequences(self.model, cache, mask_PT[rows] if padded else None)


class PlainSequences:
    """Sequences that are being decoded; where prompts differ in length, the shorter ones are padded to the left."""

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, mask_BT: Tensor | None) -> None:
        """``mask_BT`` is 1 for tokens, 0 for padding; None where nothing is padded."""
        self._model = model
        self._cache = cache
        self._mask_BT = mask_BT

    def keep(self, rows: Sequence[int]) -> None:
        """See `Sequences`."""
        rows_B = torch.tensor(rows, device=self._model.device)
        self._cache.batch_select_indices(rows_B)
        if self._mask_BT is not None:
            self._mask_BT = self._mask_BT[rows_B]

    def step(self, ids_B: Tensor) -> Tensor:
        """See `Sequences`."""
        position_ids = None
        if self._mask_BT is not None:
            self._mask_BT = torch.cat([self._mask_BT, self._mask_BT.new_ones(len(ids_B), 1)], dim=1)
            position_ids = self._mask_BT.sum(-1, keepdim=True) - 1
        out = self._model(
            input_ids=ids_B[:, None],
            attention_mask=self._mask_BT,
            position_ids=position_ids,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits_BV: Tensor = out.logits[:, -1]
        return logits_BV
