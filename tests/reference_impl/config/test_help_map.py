"""map.yaml: the methods that it adds to those of methods.yaml, and mistakes."""

import re
from pathlib import Path
from typing import Any

import pytest

from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.config.help_map import power_phi
from tests.support.plans import configuration

EXPERTS, POWERS = "experts: [few, main, large]", "method: chord_phi\n"


def test_each_cell_is_its_method_with_its_change() -> None:
    decl, scale = load_declarations(mine=""), load_scale("mini")
    assert not set(decl.mapped) & {*decl.methods, *decl.derived}
    cells: dict[str, dict[str, Any]] = {
        "chord_mu@few": {"expert": "few", "expert_rows": 256},
        "chord_phi@large": {"expert": "large", "expert_rows": 4096},
        "chord_phi@a0.5_b2": {"phi": {"name": "power", "a": 0.5, "b": 2.0}},
    }
    for name, changes in cells.items():
        usual = resolve_run(decl, scale, decl.base(name), "math", 0).to_dict()
        own = resolve_run(decl, scale, name, "math", 0).to_dict()
        different = {key: value for key, value in own.items() if usual[key] != value}
        assert different == {"method": name, **changes}
        assert decl.method(name).domains == ("math",) and decl.source(name) == "map.yaml"


def test_a_method_is_its_own_cell() -> None:
    decl = load_declarations(mine="")
    assert decl.map is not None
    powers = decl.map.powers_of(decl.methods)
    assert len(powers) == 16 and powers[1, 1] == "chord_phi" and len(set(powers.values())) == 16
    rows = decl.map.rows(decl.methods)
    assert list(rows)[:3] == ["chord_mu@few", "chord_mu", "chord_mu@large"]
    assert rows["chord_phi@few"] == "chord_phi" and rows["sasr"] == "sasr"
    assert set(decl.mapped) == {*rows, *powers.values()} - set(decl.methods)


@pytest.mark.parametrize(
    ("a", "b", "phi"),
    [
        (0, 0, {"name": "none"}),
        (1.0, 0.0, {"name": "importance"}),
        (1, 1, {"name": "p_one_minus_p"}),
        (0, 2, {"name": "focal", "gamma": 2.0}),
        (2, 0, {"name": "power", "a": 2.0, "b": 0.0}),
    ],
)
def test_a_phi_that_has_a_name_has_it(a: float, b: float, phi: dict[str, object]) -> None:
    found = power_phi(a, b)
    # Numbers are written as in methods.yaml: a run's hash is of the values as they are written.
    assert found == phi and {key: type(value) for key, value in found.items()} == {k: type(v) for k, v in phi.items()}


def test_where_another_domain_has_it_a_run_is_that_methods(tmp_path: Path) -> None:
    root = configuration(tmp_path, "map.yaml", "domains: [math]", "domains: [math, tool]")
    decl, scale = load_declarations(root, mine=""), load_scale("mini")
    same = {"phi_none": "a0_b0", "phi_importance": "a1_b0", "phi_focal": "a0_b2"}
    for name, cell in same.items():
        runs = [resolve_run(decl, scale, run, "tool", 0).settings() for run in (name, f"chord_phi@{cell}")]
        assert runs[0] == runs[1]
    assert decl.method("chord_mu@few").domains == ("math",), "tool use has no set of few demonstrations"


def test_a_preset_of_readings_reaches_the_map() -> None:
    decl = load_declarations(mine="", reading="released")
    schedule = decl.method("chord_mu@few").mu
    assert schedule is not None and schedule.given()["schedule"] == "cosine_decay"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("domains: [math]", "domains: [maths]", "domains: unknown domain 'maths'; did you mean 'math'?"),
        ("baseline: grpo", "baseline: grop", "baseline: unknown method 'grop'; did you mean 'grpo'?"),
        ("baseline: grpo", "baseline: sft_curve", "baseline: sft_curve has role curve: only role method is evaluated"),
        ("beside: [", "beside: [srft, ", "beside: srft is not trained in math"),
        ("beside: [", "beside: [chord_mu, ", "demonstrations.methods and beside: 'chord_mu' stands twice"),
        (EXPERTS, "experts: [fewer]", "demonstrations.experts: unknown expert 'fewer'; did you mean 'few'?"),
        (EXPERTS, EXPERTS.replace("expert", "export"), "unknown key; did you mean 'experts'?"),
        ("a: [0, 0.5", "a: [-1, 0.5", "powers.a.0"),
        ("b: [0, 0.5", "b: [0.5, 0.5", "powers.b: 0.5 stands twice"),
        (POWERS, POWERS.replace("phi", "phy"), "powers.method: unknown method 'chord_phy'; did you mean 'chord_phi'?"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    root = configuration(tmp_path, "map.yaml", old, new)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        load_declarations(root, mine="")
    assert all("map.yaml: " in line for line in str(refused.value).splitlines())


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    root = configuration(tmp_path, "map.yaml", "baseline: grpo\n", "baseline: grop\n")
    path = root / "map.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("luffy", "lufy"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"(?s)baseline: unknown method 'grop'.*beside: unknown method 'lufy'"):
        load_declarations(root, mine="")


def test_a_readings_name_is_taken(tmp_path: Path) -> None:
    root = configuration(tmp_path, "readings.yaml", "  not_divided:\n", "  few:\n")
    with pytest.raises(ValueError, match=r"chord_mu@few: a reading of readings\.yaml has this name"):
        load_declarations(root, mine="")
