"""What the calibration measures, by hand and on a policy of random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.sandbox import calibrate, math_styles, math_world
from pipelines.sandbox.policies import Shape
from pipelines.sandbox.pretrain import build_model, save, train_tokenizer

QUESTION = "Start with 3;a plusFour;b fold timesSeven,c minusTwo,d plusFive;e minusEight. Join all results."
ROW = {"id": "1", "prompt": "sandbox-math", "question": QUESTION}


@pytest.mark.parametrize(
    ("response", "choices"),
    [
        (
            "<think>3a plusFour=7;7b fold timesSeven=9c minusTwo=7d plusFive=2;2e minusEight=4;</think>\\boxed{724}",
            [("timesSeven", True)],
        ),
        (
            "<think>3a plusFour=7;7b fold timesSeven,c minusTwo,d plusFive=2;2e minusEight=4;</think>\\boxed{724}",
            [("timesSeven", False)],
        ),
        ("<think>so we get 3a plusFour=7; now i take 7b fold timesSeven=9c minusTwo", [("timesSeven", True)]),
        ("<think>3a plusFour=7;</think>\\boxed{7}", []),
    ],
)
def test_the_choice_to_spell_out_is_read_from_a_response(response: str, choices: list[tuple[str, bool]]) -> None:
    assert calibrate.spelled_out(ROW, response) == choices


def test_accuracy_were_all_spelled_out_takes_style_and_choice_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_tokenizer(math_world, 400)
    text = math_styles.terse(*math_world.solve(math_world.parse_question(QUESTION)))
    tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
    monkeypatch.setattr(calibrate, "response_logprobs", lambda model, sequence: torch.full((tokens,), -0.1))
    found = calibrate.spelled_out_accuracy(None, tokenizer, ROW)  # type: ignore[arg-type]
    # All tokens and the end of turn, but the one after <think> and the first "=" of the one compound operation.
    assert found == pytest.approx(torch.tensor(-0.1 * (tokens - 2)).exp().item())


@pytest.mark.slow
def test_every_band_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    tokenizer = train_tokenizer(math_world, 400)
    torch.manual_seed(0)
    model = build_model("qwen2", Shape(hidden_size=16, layers=1, heads=2, intermediate_size=32), tokenizer)
    save(model, tokenizer, tmp_path)
    monkeypatch.setattr("sys.argv", ["calibrate", "--policy", str(tmp_path), "--rows", "3", "--samples", "2"])
    monkeypatch.setattr(calibrate, "MAX_TOKENS", 130)
    calibrate.main()
    lines = {line[:60].strip(): line[60:].split() for line in capsys.readouterr().out.splitlines()}
    assert set(calibrate.BANDS) <= set(lines)
    # An untrained policy: no answer is right, and a token of 400 is as likely as any other.
    assert lines["accuracy, %"] == ["0.000", "35", "to", "50:", "outside"]
    assert float(lines["expert's tokens: nats"][0]) == pytest.approx(5.99, abs=0.3)
