"""References from experiments.yaml to the other files: every unknown name at once, each with the nearest."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.plan.checks import RULES, check_experiments, check_names
from reference_impl.config import Declarations, load_declarations
from tests.support.checkout import REPO
from tests.support.own_files import own_files


def changed(decl: Declarations, experiment: str, **values: Any) -> Declarations:
    entry = decl.experiments[experiment].model_copy(update=values)
    return dataclasses.replace(decl, experiments={**decl.experiments, experiment: entry})


def test_every_unknown_name_is_in_one_report() -> None:
    decl = load_declarations()
    table = decl.experiments["table3"]
    columns = (table.columns[0].model_copy(update={"benchmarks": ("BFLC",)}),)  # type: ignore[attr-defined]
    decl = changed(decl, "table3", domains=("tol",), methods=("grpo", "sft_bst"), columns=columns)
    decl = changed(decl, "figure2", methods=("sft_best",))
    decl = dataclasses.replace(decl, headline=("table1", "tabel2"))
    with pytest.raises(ValueError, match="unknown domain") as refusal:
        check_experiments(decl, "my.yaml")
    lines = str(refusal.value).splitlines()
    expected = [
        ("my.yaml: figure2: ", "sft_best trains nothing"),
        ("'tol'", "did you mean 'tool'?", "my.yaml: table3: "),
        ("'BFLC'", "did you mean 'BFCL'?", "my.yaml: table3: "),
        ("'sft_bst'", "did you mean 'sft_best'?", "my.yaml: table3: "),
        ("'tabel2'", "did you mean 'table2'?", "my.yaml: headline: "),
    ]
    assert len(lines) == len(expected)
    for line, words in zip(lines, expected, strict=True):
        assert all(word in line for word in words), line


def test_a_method_has_no_name_of_the_workflows(tmp_path: Path) -> None:
    files = [REPO / "Snakefile", *(REPO / "pipelines" / "rules").glob("*.smk")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    declared = set(re.findall(r"^(?:use rule \w+ as|rule) (\w+)", text, flags=re.MULTILINE))
    assert declared | {"everything", "regrade"} == RULES
    for name in ("compare", "regrade_grpo"):
        decl = load_declarations(mine=str(own_files(tmp_path, f"{name}: {{like: chord_phi}}")))
        with pytest.raises(ValueError, match=rf"my_methods\.yaml: {name}: the workflow's own name: choose another"):
            check_names(decl)
    check_names(load_declarations())
