"""Expert text in the policy's own chat template: where the prompt ends and the response begins, to the token.

The templates have the forms of Qwen2.5's (ChatML; its base model has another `eos_token`), Llama 3.2's and Phi-3.5's;
the tokenizer is the test's own, with their special tokens. No prompt token is ever trained on, and the first trained
token is the one that generation begins with.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from reference_impl.rewards import grade_math
from reference_impl.rollout.transformers_engine import TransformersEngine
from reference_impl.step.batching import expert_sequence, micro_batches, prompt_ids
from reference_impl.text.chat import DATE, end_of_turn, prompt_text
from reference_impl.text.prompts import render

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Llama 3.1 and 3.2 put two dates before the system message, the second from the clock.
LLAMA3 = (
    "{{ bos_token }}{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% if message['role'] == 'system' %}Cutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n\n"
    "{% endif %}{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Phi-3.5's, which Phi-mini-MoE has too: a whole conversation ends with the end of the text after the end of the turn.
PHI = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)


@dataclass(frozen=True)
class Form:
    """A template, its special tokens, `bos_token` where it writes one, `eos_token`, and the two ends of a response."""

    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    head: str
    end: str


_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
FAMILIES = {
    "qwen": Form(CHATML, _CHATML_TOKENS, None, "<|im_end|>", "<|im_start|>assistant\n", "<|im_end|>"),
    "qwen-base": Form(CHATML, _CHATML_TOKENS, None, "<|endoftext|>", "<|im_start|>assistant\n", "<|im_end|>"),
    "llama3": Form(
        LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "phi-moe": Form(
        PHI,
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        None,
        "<|endoftext|>",
        "<|assistant|>\n",
        "<|end|>",
    ),
}
# Where the templates of reasoning models begin the assistant's turn: R1-Distill, QwQ, Qwen3 without thoughts.
OPENED = ("<think>\n", "<think>", "<think>\n\n</think>\n\n")
THOUGHT = "<think>\nAdd one to three.\n</think>\n\nThe sum is \\boxed{4}."
ROWS: list[dict[str, Any]] = [
    {"id": "m", "prompt": "math", "question": "What is $3 + 1$?", "gold": "4", "response": THOUGHT},
    {
        "id": "t",
        "prompt": "tool-n1",
        "question": "Weather?",
        "functions": [{"name": "User Feed (V2)", "description": "", "parameters": {"type": "dict", "properties": {}}}],
        "response": '<think>So.</think><tool_call>[{"name": "User Feed (V2)", "arguments": {}}]</tool_call>',
    },
    {"id": "r", "prompt": "medicine", "question": "Which scan?", "response": "<think>\nHm.\n</think>\n\nCT."},
]


Family = tuple[PreTrainedTokenizerBase, str, str]
"""Tokenizer, end of turn, head of the assistant's turn."""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tiny_policy: Path) -> Family:
    form = FAMILIES[request.param]
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    tokenizer.add_special_tokens({"additional_special_tokens": list(form.special)})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template = form.bos, form.eos, form.template
    return tokenizer, form.end, form.head


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["prompt"])
def test_boundary_between_prompt_and_response(family: Family, row: dict[str, Any]) -> None:
    tokenizer, end, head = family
    sequence = expert_sequence(tokenizer, row, max_tokens=4096)
    messages = render(row)
    text = prompt_text(tokenizer, row)

    # The prompt is the template up to the head of the assistant's turn, with no token added before or after.
    assert text.endswith(head) and tokenizer.decode(list(sequence.prompt_ids)) == text
    assert sequence.prompt_ids == prompt_ids(tokenizer, row)
    # The response is the expert's text and one end of turn: nothing of the template, and no second end.
    assert tokenizer.decode(list(sequence.response_ids)) == row["response"] + end
    end_id = tokenizer.convert_tokens_to_ids(end)
    assert sequence.response_ids.count(end_id) == 1 and sequence.response_ids[-1] == end_id
    # Generation begins after the same ids: what is trained is what a rollout is made of.
    answered = [*messages, {"role": "assistant", "content": row["response"]}]
    whole = str(tokenizer.apply_chat_template(answered, tokenize=False, date_string=DATE))
    assert whole.startswith(text + row["response"] + end)
    rest = whole.removeprefix(text + row["response"] + end).strip("\n")
    assert rest in ("", tokenizer.eos_token)  # Phi's template ends the text too, which no turn does
    if tokenizer.bos_token is not None:
        assert (
            sequence.prompt_ids.count(tokenizer.bos_token_id) == 1 and sequence.prompt_ids[0] == tokenizer.bos_token_id
        )
    roles = text.count(head.removesuffix("\n\n").removesuffix("\n").removesuffix("<|end_header_id|>"))
    assert roles == 1  # no turn of the assistant in the prompt


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["prompt"])
def test_no_prompt_token_is_trained_on(family: Family, row: dict[str, Any]) -> None:
    tokenizer, _, _ = family
    sequences = [expert_sequence(tokenizer, row, 4096), expert_sequence(tokenizer, ROWS[0], 4096)]
    (batch,) = micro_batches(sequences, budget=100_000, pad_id=0)
    for place in range(2):
        trained = batch.ids_BT1[place, 1:][batch.mask_BT[place]]
        expected = next(s for s in sequences if s.tokens == int(batch.real_BT1[place].sum()))
        assert tuple(trained.tolist()) == expected.response_ids
        first = int(torch.nonzero(batch.mask_BT[place])[0])
        # The last prompt token predicts the first response token.
        assert first == len(expected.prompt_ids) - 1
    assert int(batch.mask_BT.sum()) == sum(len(s.response_ids) for s in sequences)


def test_a_response_beyond_the_limit_is_cut_without_an_end_of_turn(
    family: Family,
) -> None:
    tokenizer, end, _ = family
    whole = expert_sequence(tokenizer, ROWS[0], 4096)
    exact = expert_sequence(tokenizer, ROWS[0], len(whole.response_ids))
    assert exact == whole and whole.complete
    cut = expert_sequence(tokenizer, ROWS[0], len(whole.response_ids) - 1)
    assert not cut.complete and cut.response_ids == whole.response_ids[:-1]
    assert tokenizer.convert_tokens_to_ids(end) not in cut.response_ids


def test_a_rollout_ends_with_the_token_that_demonstrations_end_with(family: Family, tiny_policy: Path) -> None:
    tokenizer, end, _ = family
    end_id = tokenizer.convert_tokens_to_ids(end)
    assert end_of_turn(tokenizer) == end_id
    model = AutoModelForCausalLM.from_pretrained(tiny_policy)
    model.generation_config.eos_token_id = tokenizer.eos_token_id  # as the base model's and Phi's may have it
    stops = set(TransformersEngine(model, tokenizer, 4).stop_ids)
    assert stops == {end_id, tokenizer.eos_token_id}


def test_without_a_template_the_turn_ends_with_the_text(tiny_policy: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    tokenizer.chat_template = None
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_template_that_opens_the_think_block(family: Family, opened: str) -> None:
    """The prompt ends before it: the response opens the block, and a reward finds exactly one in it."""
    tokenizer, end, head = family
    plain = prompt_ids(tokenizer, ROWS[0])
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif %}", f"assistant\n{opened}{{% endif %}}")
    assert str(tokenizer.apply_chat_template(render(ROWS[0]), add_generation_prompt=True, tokenize=False)).endswith(
        f"{head}{opened}"
    )
    assert prompt_text(tokenizer, ROWS[0]).endswith(head)
    assert prompt_ids(tokenizer, ROWS[0]) == plain
    sequence = expert_sequence(tokenizer, ROWS[0], max_tokens=4096)
    text = str(tokenizer.decode(list(sequence.prompt_ids + sequence.response_ids)))
    assert text.endswith(f"{head}{THOUGHT}{end}")
    assert grade_math(str(tokenizer.decode(list(sequence.response_ids[:-1]))), "4").well_formatted
    assert grade_math("<think>\nAdd one \\boxed{4}", "4", truncated=True).reward == -1.0


@pytest.mark.parametrize("family", ["qwen"], indirect=True)
def test_a_template_without_a_system_turn_is_one_line(family: Family) -> None:
    tokenizer, _, _ = family
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
    )
    with pytest.raises(ValueError, match="takes no chat of system, user: System role not supported") as caught:
        prompt_ids(tokenizer, ROWS[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["llama3"], indirect=True)
def test_a_prompt_is_the_same_on_every_day(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama's template asks the clock for a date unless it is told one."""
    tokenizer, _, _ = family
    messages = render(ROWS[0])

    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Tomorrow":
            return cls(2031, 2, 3)

    today = prompt_ids(tokenizer, ROWS[0])
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    assert "Today Date: 03 Feb 2031" in str(tokenizer.apply_chat_template(messages, tokenize=False))
    assert prompt_ids(tokenizer, ROWS[0]) == today
    assert "\nToday Date: 26 Jul 2024\n\n" in tokenizer.decode(list(today))
