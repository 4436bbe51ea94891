"""The policy's chat template: the text of a row's prompt, and the token that ends the assistant's turn."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from reference_impl.text.prompts import Message, render

DATE = "26 Jul 2024"
"""The date that Llama 3's template writes into the system turn: the template's own fallback. Left to itself it asks the
clock, and a run would resume, or be evaluated, with other prompts on another day."""
_ANSWER = "The answer."


# What the templates of reasoning models write where the assistant's turn begins: a think block, open or empty.
_THINK_TAIL = re.compile(r"<think>\s*(?:</think>\s*)?\Z")


def prompt_text(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> str:
    """A data row's chat up to where the assistant's turn begins, the same on every day (`chat_text`)."""
    return chat_text(tokenizer, render(row))


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """A chat up to where the assistant's turn begins.

    A template that opens the think block itself (R1-Distill, QwQ, Qwen3-Thinking) is cut before it: the prompts of A.3
    ask the model for the block, demonstrations begin with it, and rewards read it in the response.

    Raises ValueError for a chat that the template refuses, such as one with a system turn.
    """
    try:
        text = tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=False, date_string=DATE
        )
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path or 'the policy'} takes no chat of {roles}: {error}. "
            "Every prompt has a system turn (A.3): give the checkpoint a template with one (chat_template.jinja)"
        ) from None
    return _THINK_TAIL.sub("", str(text))


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
