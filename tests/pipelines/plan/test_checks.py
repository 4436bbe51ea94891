"""References from experiments.yaml to the other files: every unknown name at once, each with the nearest."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.plan import load_plan
from pipelines.plan.checks import RULES, check_experiments, check_names, compared_methods
from reference_impl.config import Declarations, load_declarations, load_scale
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


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (("mien", "chord_phi"), "unknown method 'mien'; did you mean 'mine'?"),
        (("chord_phi",), "methods: chord_phi: name two or more, each once"),
        (("chord_phi", "chord_phi"), "name two or more, each once"),
        (("chord_phi", "sft"), "methods: sft has role grid: only role method is evaluated"),
        (("mine", "phi_focal"), "methods: mine (math) and phi_focal (tool) share no domain of scale smoke"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, named: tuple[str, ...], said: str) -> None:
    decl = load_declarations(mine=str(own_files(tmp_path)))
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        compared_methods(decl, load_scale("smoke"), named)
    assert "\n" not in str(raised.value)


def test_what_is_compared_in_which_domains(tmp_path: Path) -> None:
    decl, scale = load_declarations(mine=str(own_files(tmp_path))), load_scale("smoke")
    assert compared_methods(decl, scale, None) == ("mine", "chord_phi")
    assert compared_methods(load_declarations(), scale, None) == ()
    config = {"scale": "smoke", "mine": str(tmp_path / "my_methods.yaml"), "methods": ("mine", "grpo", "chord_phi")}
    sources = load_plan(config).files.comparison_sources()
    scores = [path for path in sources if "/scores/" in path]
    assert scores == [
        f"results/smoke/scores/{place}/seed0.parquet"
        for place in (
            "math/mine",
            "math/grpo",
            "tool/grpo",
            "medicine/grpo",
            *(f"{d}/chord_phi" for d in scale.domains),
        )
    ]
    assert "results/smoke/runs/math/mine/seed0/run.json" in sources
    assert load_plan({"scale": "smoke"}).files.comparison_sources() == []
