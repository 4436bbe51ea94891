"""The policy's chat template: the text of a row's prompt, and the token that ends the assistant's turn."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from reference_impl.text.prompts import render

DATE = "26 Jul 2024"
"""The date that Llama 3's template writes into the system turn: the template's own fallback. Left to itself it asks the
clock, and a run would resume, or be evaluated, with other prompts on another day."""
_ANSWER = "The answer."


def prompt_text(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> str:
    """A data row's chat up to where the assistant's turn begins, the same on every day."""
    return str(tokenizer.apply_chat_template(render(row), add_generation_prompt=True, tokenize=False, date_string=DATE))


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token by which the template ends the assistant's turn.

    It need not be the tokenizer's `eos_token`: Phi's turns end with `<|end|>` and Qwen2.5's base model has a chat
    template too, while the `eos_token` of both is `<|endoftext|>`. That one is returned where there is no template, or
    one that ends a turn without a token of its own.
    """
    if tokenizer.chat_template is not None:
        chat = [{"role": "user", "content": "A question?"}, {"role": "assistant", "content": _ANSWER}]
        after = str(tokenizer.apply_chat_template(chat, tokenize=False, date_string=DATE)).rpartition(_ANSWER)[2]
        ids = tokenizer(after, add_special_tokens=False)["input_ids"]
        if ids and ids[0] in tokenizer.added_tokens_decoder:
            return int(ids[0])
    return int(tokenizer.eos_token_id)


def stop_ids(tokenizer: PreTrainedTokenizerBase, eos: int | list[int] | None) -> list[int]:
    """The tokens that end a response: the checkpoint's ``eos`` (one alone: the tokenizer's too), and an end of turn."""
    named = eos if isinstance(eos, list) else [eos, tokenizer.eos_token_id]
    return sorted({i for i in [*named, end_of_turn(tokenizer)] if i is not None})
