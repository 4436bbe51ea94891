"""Files of samples: all of a sample comes back, and no text of it ends a script."""

import base64
import gzip
import json
import re
from typing import Any

import pytest

from reports.inputs import Results
from reports.samples import FIELDS, Place, packed, places, questions_of, sample_file, script_json, write
from reports.site import shown
from tests.support.synthetic_samples import HOSTILE


def opened(text: str) -> tuple[str, dict[str, Any]]:
    """The key and the content of a file, as the page reads them."""
    match = re.fullmatch(r'chordSamples\("(.+?)","([A-Za-z0-9+/=]+)"\);\n', text)
    assert match
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(match[2])))
    return match[1], content


def row(item: str, number: int, **values: Any) -> dict[str, Any]:
    sample = dict.fromkeys(FIELDS) | {"seed": 0, "sample": number, "response": HOSTILE, "correct": True}
    return sample | {"item_id": item, "category": None, "prompt": "?", "gold": {"a": 1}} | values


def test_samples_stand_under_their_questions_in_the_stored_order() -> None:
    found = questions_of([row("b", 0), row("a", 0), row("b", 1, correct=False)])
    assert [question["id"] for question in found] == ["b", "a"]
    assert [sample[FIELDS.index("correct")] for sample in found[0]["samples"]] == [True, False]
    assert found[0]["gold"] == {"a": 1}


def test_a_file_is_one_call_and_holds_every_text_as_it_was() -> None:
    text = 'ä "\\" \u2028 \x00 ' + HOSTILE
    key, content = opened(sample_file("math/grpo/task", [row("a", 0, response=text)]))
    assert key == "math/grpo/task"
    assert content["questions"][0]["samples"][0][FIELDS.index("response")] == text
    assert HOSTILE not in sample_file("k", [row("a", 0)])


def test_an_unpaired_surrogate_is_kept_as_an_escape() -> None:
    assert opened(sample_file("k", [row("a", 0, response="\ud800")]))[1]["questions"][0]["samples"]


def test_the_same_text_is_packed_to_the_same_bytes() -> None:
    assert packed("x") == packed("x") and gzip.decompress(base64.b64decode(packed("µ"))).decode() == "µ"


def test_json_of_a_script_element_cannot_end_it() -> None:
    value = {"a": "</script><!--", "b": "\u2028&"}
    assert "<" not in script_json(value) and "\u2028" not in script_json(value)
    assert json.loads(script_json(value)) == value


@pytest.mark.slow
def test_a_page_s_places_are_what_its_tables_ask(page_files: Results) -> None:
    headline = places(page_files, shown(page_files.decl, "headline"))
    assert Place("math", "chord_phi", "sandbox-amc") in headline and Place("tool", "grpo", "sandbox-bfcl") in headline
    assert all(place.domain != "medicine" and "moe" not in place.method for place in headline)
    everything = places(page_files, shown(page_files.decl, "everything"))
    assert set(headline) < set(everything) and len({place.file for place in everything}) == len(everything)


@pytest.mark.slow
def test_verdicts_are_the_tables_own(page_files: Results, tmp_path_factory: pytest.TempPathFactory) -> None:
    place, folder = Place("math", "grpo", "sandbox-amc"), tmp_path_factory.mktemp("samples")
    write(page_files, [place], folder)
    key, content = opened((folder / place.file).read_text(encoding="utf-8"))
    scores = page_files.scores("math", "grpo")
    scores = scores[scores["task"] == "sandbox-amc"].set_index(["item_id", "sample"])["correct"]
    assert key == place.key and content["fields"] == list(FIELDS) and content["questions"]
    for question in content["questions"]:
        for sample in question["samples"]:
            found = dict(zip(FIELDS, sample, strict=True))
            assert scores[f"sandbox-amc/{question['id']}", found["sample"]] == found["correct"]
