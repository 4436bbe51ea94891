"""Expert text in the policy's own chat template: where the prompt ends and the response begins, to the token.

The templates have the forms of Qwen2.5's (ChatML) and Llama 3's; the tokenizer is the test's own, with their special
tokens. No prompt token is ever trained on, and the first trained token is the one that generation begins with.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from reference_impl.batching import expert_sequence, micro_batches, prompt_ids
from reference_impl.prompts import render

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# Template, special tokens, beginning of the text (a special token or none), end of turn, head of the assistant's turn.
FAMILIES = {
    "qwen": (CHATML, ["<|im_start|>", "<|im_end|>"], None, "<|im_end|>", "<|im_start|>assistant\n"),
    "llama3": (
        LLAMA3,
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
}
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
    template, special, bos, end, head = FAMILIES[request.param]
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template = bos, end, template
    return tokenizer, end, head


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["prompt"])
def test_boundary_between_prompt_and_response(family: Family, row: dict[str, Any]) -> None:
    tokenizer, end, head = family
    sequence = expert_sequence(tokenizer, row, max_tokens=4096)
    messages = render(row)
    text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    # The prompt is the template up to the head of the assistant's turn, with no token added before or after.
    assert text.endswith(head) and tokenizer.decode(list(sequence.prompt_ids)) == text
    assert sequence.prompt_ids == prompt_ids(tokenizer, row)
    # The response is the expert's text and one end of turn: nothing of the template, and no second end.
    assert tokenizer.decode(list(sequence.response_ids)) == row["response"] + end
    end_id = tokenizer.convert_tokens_to_ids(end)
    assert sequence.response_ids.count(end_id) == 1 and sequence.response_ids[-1] == end_id
    # Generation begins after the same ids: what is trained is what a rollout is made of.
    answered = [*messages, {"role": "assistant", "content": row["response"]}]
    whole = str(tokenizer.apply_chat_template(answered, tokenize=False))
    assert whole.rstrip("\n") == text + row["response"] + end
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
