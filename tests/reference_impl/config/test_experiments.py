"""experiments.yaml: the shipped file is read as it stands; every mistake in one is named with what was meant."""

import copy
from typing import Any

import pytest

from reference_impl.config import CONFIG_DIR
from reference_impl.config.experiments import Experiments, TableEntry, TrainingCurve, read_experiments
from reference_impl.config.model import parse, read_yaml

FILE = CONFIG_DIR / "experiments.yaml"


def test_entries_are_models_in_the_order_of_the_file() -> None:
    read = read_experiments(FILE)
    assert ["headline", *read.entries] == list(read_yaml(FILE))
    table, figure = read.entries["table2"], read.entries["figure8"]
    assert isinstance(table, TableEntry) and isinstance(figure, TrainingCurve)
    assert (table.unit, table.expert_row, [column.unit for column in table.columns]) == ("tokens", True, ["tokens"] * 2)
    assert (figure.metric, figure.from_zero, figure.methods) == ("entropy", True, ("grpo", "chord_mu", "chord_phi"))
    assert table.reading.startswith('"SFT models') and table.reading.endswith("(4.2)")


MISTAKES: list[tuple[list[str | int], Any, list[str]]] = [
    (["table1", "methds"], [], ["table1.", "unknown key", "did you mean 'methods'?"]),
    (["table1", "papr"], "Table 1", ["unknown key", "did you mean 'paper'?"]),
    (["table1", "kind"], "tabel", ["table1: ", "'tabel'", "did you mean 'table'?"]),
    (["table1", "domains"], ["math", "math"], ["'math' stands twice"]),
    (["table1", "domains"], ["math"], ["table1", "unknown domain 'tool'", "column BFCL Live"]),
    (["table1", "columns", 0, "benchmark"], ["AMC"], ["columns.0", "unknown key", "did you mean 'benchmarks'?"]),
    (["table1", "columns", 0, "value"], "token", ["'token'", "did you mean 'tokens'?"]),
    (["table1", "columns", 0, "header"], "AIME24", ["columns", "'AIME24' stands twice"]),
    (["table2", "expert_row"], "yes", ["expert_row", "'yes'"]),
    (["figure9", "draw"], "traning_curve", ["figure9", "did you mean 'training_curve'?"]),
    (["figure9", "metrc"], "entropy", ["unknown key", "did you mean 'metric'?"]),
    (["figure4", "metric"], "entropy", ["unknown key"]),
    (["Table1"], {"kind": "page"}, ["'Table1'", "^[a-z]"]),
    (["headlin"], ["table1"], ["headlin"]),
    (["headline"], [], ["headline", "at least one"]),
]


@pytest.mark.parametrize(("keys", "value", "messages"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_what_was_meant(
    keys: list[str | int], value: Any, messages: list[str]
) -> None:
    document = copy.deepcopy(read_yaml(FILE))
    node = document
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    with pytest.raises(ValueError, match=r"^my\.yaml: ") as refusal:
        parse(Experiments, document, "my.yaml")
    for message in messages:
        assert message in str(refusal.value)


def test_every_mistake_of_a_file_is_listed_at_once() -> None:
    document = copy.deepcopy(read_yaml(FILE))
    del document["headline"], document["figure9"]["metric"], document["table1"]["title"]
    with pytest.raises(ValueError, match="missing key") as refusal:
        parse(Experiments, document, "my.yaml")
    assert [line.split(":")[1].split(".")[0] for line in str(refusal.value).splitlines()] == [
        " headline", " table1", " figure9",
    ]  # fmt: skip
