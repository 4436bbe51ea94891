"""Every φ on a demonstration's tokens: the probabilities of the policy that training starts from."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from evaluation.phi_tokens import curves, formula, main, on_demonstration
from reference_impl.strategy.models import load_model
from reference_impl.text.chat import prompt_text
from reference_impl.token_weights import NEEDS_GLOBAL_BATCH, TOKEN_WEIGHTS

POLICY = Path("pipelines/sandbox/policies/sandbox-math")
ROW = {
    "id": "one",
    "prompt": "sandbox-math",
    "question": "Start with 2;a minusOne;b plusSix. Join all results.",
    "response": "<think>2a minusOne=1;1b plusSix=7;</think>\\boxed{17}",
}


def test_curves_by_hand() -> None:
    made = curves()
    assert set(made) == {"p", *TOKEN_WEIGHTS} - NEEDS_GLOBAL_BATCH
    at = made["p"].index(0.3)
    assert made["p_one_minus_p"][at] == 0.21 and made["focal"][at] == 0.49 and made["importance"][at] == 0.3
    assert made["is_clip"][made["p"].index(0.41)] == 0 and set(made["none"]) == {1.0}


def test_a_formula_is_one_sentence() -> None:
    assert formula("p_one_minus_p").startswith("phi = p (1 - p)")
    assert all("\n" not in formula(name) for name in TOKEN_WEIGHTS)


@pytest.mark.slow
def test_probabilities_are_the_model_s_own() -> None:
    """The same from one plain pass: softmax of the logits before each token of the response."""
    tokenizer, model = AutoTokenizer.from_pretrained(POLICY), load_model(POLICY, "auto")
    found = on_demonstration(model, tokenizer, ROW, 512)
    assert "".join(found["tokens"]) == ROW["response"] + "<|im_end|>"
    prompt = tokenizer(prompt_text(tokenizer, ROW), add_special_tokens=False)["input_ids"]
    response = [*tokenizer(ROW["response"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double()
    wanted = logits.softmax(-1)[torch.arange(len(response)), torch.tensor(response)]
    assert found["p"] == pytest.approx(wanted.tolist(), abs=2e-5)
    assert found["phi"]["p_one_minus_p"] == pytest.approx((wanted * (1 - wanted)).tolist(), abs=2e-5)
    assert sum(found["phi"]["entropy_top"]) == max(1, -(-len(response) * 5 // 100)), "5 % of them, rounded up"


@pytest.mark.slow
def test_the_file_has_what_the_page_reads(tmp_path: Path) -> None:
    (tmp_path / "expert.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    out = tmp_path / "phi" / "math.json"
    main(["--policy", str(POLICY), "--domain", "math", "--scale", "mini", "--data", str(tmp_path), "--out", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["policy"] == "sandbox-math" and found["demonstration"]["id"] == "one"
    assert set(found["formulas"]) == set(found["demonstration"]["phi"]) == set(TOKEN_WEIGHTS)
    assert len(found["demonstration"]["tokens"]) == len(found["demonstration"]["p"])
