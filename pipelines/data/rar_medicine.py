"""Medicine (B.4): questions with rubrics from RaR-Medicine, demonstrations from medical-o1-reasoning-SFT (English).

    python -m pipelines.data.rar_medicine --domain medicine --scale paper --revision rar=HASH --revision rar-val=HASH \\
        --benchmarks results/paper/benchmarks --out results/paper/data/medicine

The demonstrations are of other questions than the prompts ("unaligned"). Some of RaR-Medicine's questions were drawn
from medical-o1-reasoning, so a question may be both; none of the validation split or of the test set is in either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.data.quarantine import FilteredError, MalformedError, text_column
from pipelines.data.sources import Source
from pipelines.data.splits import PROMPTS, VALIDATION
from pipelines.data.stage import Limits, Pool, Row, Stage, arguments, run
from reference_impl.judge.rubric import parse_rubric

RAR_COLUMNS = ("question", "reference_answer", "rubric", "question_source")
# Splits of 17,926, 2,240 and 2,242 rows. No full commit hash could be established: the user gives one.
RAR_TRAIN = Source("ScaleAI/RaR-Medicine", None, "data/train-*.parquet", RAR_COLUMNS)
RAR_VAL = Source("ScaleAI/RaR-Medicine", None, "data/val-*.parquet", RAR_COLUMNS)
MEDICAL_O1 = Source(
    "FreedomIntelligence/medical-o1-reasoning-SFT",
    "fc2c9e8a37b38f38da6d449564a8c350b244aef4",
    "medical_o1_sft.json",
    ("Question", "Complex_CoT", "Response"),
)
_RUBRIC_KEYS = ("description", "weight", "title")


def prompt(row: Mapping[str, Any], limits: Limits) -> Row:
    """A question and the rubric by which a judge scores its answers."""
    question = text_column(row, "question").strip()
    rubric = row.get("rubric")
    try:
        parse_rubric(rubric)
    except (ValueError, OverflowError) as error:  # an integer may be too large for a weight
        raise MalformedError("unusable rubric", str(error)) from None
    assert isinstance(rubric, list)
    kept = [{key: item[key] for key in _RUBRIC_KEYS if item.get(key) is not None} for item in rubric]
    return {
        "prompt": "medicine",
        "question": question,
        "gold": {"question": question, "rubric": kept},
        "meta": {"question_source": row.get("question_source")},
    }


def demonstration(row: Mapping[str, Any], limits: Limits) -> Row:
    """A question with its train of thought and answer, in the form that the prompt asks for."""
    thought, answer = text_column(row, "Complex_CoT").strip(), text_column(row, "Response").strip()
    if any(tag in text for tag in ("<think>", "</think>") for text in (thought, answer)):
        raise MalformedError("think tags within the text", (thought + answer)[:200])
    response = f"<think>\n{thought}\n</think>\n\n{answer}"
    tokens = limits.tokens(response)
    if not limits.allow(tokens):
        raise FilteredError("with a response beyond the token limit")
    return {
        "prompt": "medicine",
        "question": text_column(row, "Question").strip(),
        "response": response,
        "meta": {"response_tokens": tokens},
    }


def assign(ids: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> dict[str, Sequence[str]]:
    """Each file from its own source."""
    experts = {name: ids["medical-o1"] for name in sizes if name not in (PROMPTS, VALIDATION)}
    return {VALIDATION: ids["rar-val"], PROMPTS: ids["rar"], **experts}


STAGE = Stage(
    "rar-medicine",
    1,
    ("medicine",),
    # The validation split is read first, so that the others can be kept free of its questions.
    {
        "rar-val": Pool(RAR_VAL, prompt),
        "rar": Pool(RAR_TRAIN, prompt),
        "medical-o1": Pool(MEDICAL_O1, demonstration),
    },
    assign,
    held_out="rar-val",
    prompts_apart=False,
)


def main(argv: list[str] | None = None) -> None:
    """Write the data of the medicine domain."""
    run(STAGE, arguments(STAGE, __doc__).parse_args(argv))


if __name__ == "__main__":
    main()
