"""Claims: the verdict follows from the interval and turns with the data."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from reference_impl.config import load_declarations
from reference_impl.config.experiments import TableEntry
from reports.claims import Claim, adjusted, combine, decide, family_wise, main
from reports.comparisons import (
    CLAIMS,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNTESTED,
    Comparison,
    needs,
)
from reports.inputs import Results
from tests.reports.test_comparisons import between
from tests.support.synthetic_results import synthetic_results

pytestmark = pytest.mark.slow


def test_a_claim_needs_all_its_comparisons() -> None:
    assert combine([HOLDS, HOLDS]) == HOLDS
    assert combine([HOLDS, UNDECIDED]) == UNDECIDED
    assert combine([HOLDS, UNDECIDED, FAILS]) == FAILS
    assert combine([UNTESTED, UNTESTED]) == UNTESTED
    assert combine([HOLDS, UNTESTED]) == UNDECIDED
    assert combine([FAILS, UNTESTED]) == FAILS


def test_several_comparisons_of_a_claim_are_adjusted_both_ways() -> None:
    """p = 0.0195 one-sided is decided alone, and not as one of two: 2 x 0.0195 > 0.025. A comparison without numbers is
    no test."""
    just, clear, unknown = between(0.1, 5.1), between(10, 12), Comparison("", "points", None)
    assert just.p_holds == pytest.approx(0.0207, abs=1e-3) and just.verdict == HOLDS
    zero = between(-2, 2)
    assert [part.verdict for part in adjusted([just, zero, unknown])] == [UNDECIDED, UNDECIDED, UNTESTED]
    assert [part.verdict for part in adjusted([just, clear])] == [HOLDS, HOLDS]  # 2 x 0 first, then 1 x 0.0207
    against = between(-5.1, -0.1)
    assert [part.verdict for part in adjusted([against, zero])] == [UNDECIDED, UNDECIDED]
    assert adjusted([against])[0].verdict == FAILS


def test_all_claims_as_one_family() -> None:
    """Two of three claims are decided one by one; of six tests p = 0.0207 is no longer one."""
    claims = [
        Claim(str(i), "", "", "", (part,))
        for i, part in enumerate([between(0.1, 5.1), between(-9, -7), between(-1, 1)])
    ]
    assert [claim.verdict for claim in claims] == [HOLDS, FAILS, UNDECIDED]
    assert family_wise(claims) == {HOLDS: 0, FAILS: 1}


def entries() -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    return declared


ALLOWED = {
    "table": {"table", "column", "more", "less", "margin", "beyond"},
    "value": {"figure", "value", "domain", "more", "less", "margin"},
    "epochs": {"figure", "epochs", "domain", "more", "less"},
    "validation": {"figure", "validation", "domain", "more", "less"},
}


def test_claims_on_a_column_that_is_not_declared_are_left_out(results: Results) -> None:
    """A user's experiments.yaml may have fewer columns than the paper, or fewer tables."""
    table = results.decl.experiments["table1"]
    assert isinstance(table, TableEntry)
    math = tuple(column for column in table.columns if column.domain == "math")
    narrow = table.model_copy(update={"domains": ("math",), "columns": math})
    decl = dataclasses.replace(results.decl, experiments={"table1": narrow}, headline=("table1",))
    decided = {claim.id for claim in decide(dataclasses.replace(results, decl=decl), ["table1"])}
    every = {claim.id for claim in decide(results, ["table1"])}
    on_tool = {entry["id"] for entry in entries() if "BFCL Overall" in str(entry["comparisons"])}
    assert decided and decided < every and not decided & on_tool and every & on_tool


def test_every_claim_s_methods_are_in_what_it_cites() -> None:
    decl = load_declarations()
    assert len({entry["id"] for entry in entries()}) == len(entries())
    for entry in entries():
        assert entry["comparisons"], entry["id"]
        for part in entry["comparisons"]:
            (kind,) = [kind for kind in ALLOWED if kind in part]
            assert set(part) <= ALLOWED[kind], entry["id"]
            cited = decl.experiments[part["table" if kind == "table" else "figure"]]
            wanted = needs(decl, part)
            assert cited.kind == ("table" if wanted.scored else "figure")
            assert wanted.methods <= set(cited.methods), entry["id"]
            assert wanted.domain in cited.domains
            assert all(wanted.domain in decl.method_domains(method) for method in wanted.methods)
            for window in (part[key] for key in ("more", "less") if isinstance(part.get(key), dict)):
                assert 0 <= window["from"] < window["to"] <= 1 or window["from"] == window["to"] == 0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return synthetic_results(tmp_path_factory.mktemp("results"))


def everything(results: Results) -> list[str]:
    return list(results.decl.experiments)


def test_the_paper_s_own_numbers_support_its_table_claims(results: Results) -> None:
    """A comparison that the printed tables contradict would be a wrong transcription of the claim."""
    parts = [
        part for claim in decide(results, everything(results)) for part in claim.comparisons if part.paper is not None
    ]
    assert len(parts) > 90
    assert all((part.paper or 0) > -part.margin for part in parts)


def test_a_page_shows_the_claims_that_its_experiments_can_decide(results: Results) -> None:
    every = {entry["id"] for entry in entries()}
    assert {claim.id for claim in decide(results, everything(results))} == every
    headline = {claim.id for claim in decide(results, results.decl.headline)}
    assert {"chord_phi_over_mixed", "sft_overfit", "strong_sft_improves"} <= headline
    assert not headline & {"focal_collapses", "judged_chord_over_rl", "small_sft_rl_below_rl", "fixed_mu_poorer"}
    # A figure's methods are trained, not scored: no table's claim, but every figure's that its runs can decide.
    figure9 = {claim.id for claim in decide(results, ["figure9"])}
    assert figure9 == {"chord_phi_reward", "chord_phi_entropy", "chord_mu_length", "chord_mu_shift_readapt"}
    assert {claim.id for claim in decide(results, ["table9"])} == {"moe_sft_collapses", "moe_chord_phi"}


def test_a_scale_without_a_domain_shows_none_of_its_claims(results: Results) -> None:
    only = {name: part for name, part in results.scale.domains.items() if name != "medicine"}
    fewer = dataclasses.replace(results, scale=results.scale.model_copy(update={"domains": only}))
    shown = {claim.id for claim in decide(fewer, everything(fewer))}
    assert {entry["id"] for entry in entries()} - shown == {
        "judged_chord_over_rl", "judged_phi_faster", "judged_mu_shift_readapt",
    }  # fmt: skip


def test_three_seeds_decide_every_claim_s_comparisons(tmp_path: Path) -> None:
    results = synthetic_results(tmp_path, seeds=(0, 1, 2))
    parts = [part for claim in decide(results, everything(results)) for part in claim.comparisons]
    assert all(part.low is not None and part.high is not None and part.low < part.high for part in parts)


def test_command_writes_one_row_a_comparison(results: Results, tmp_path: Path) -> None:
    command = ["--scale", "mini", "--results", str(results.root), "--out", str(tmp_path / "claims.csv")]
    for given in ([], ["--experiments", "table9"]):
        main([*command, *given])
        shown = decide(results, given[1:] or results.decl.headline)
        lines = (tmp_path / "claims.csv").read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1 + sum(len(claim.comparisons) for claim in shown)
