"""The user's own methods: where they are found, what they may say, and what is refused in a line."""

import re
from pathlib import Path

import pytest

from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.config.mine import MINE, find_mine
from tests.support.own_files import METHODS, PHI, own_files
from tests.support.plans import configuration


def test_where_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, other = own_files(tmp_path), tmp_path / "others.yaml"
    other.write_text(METHODS)
    monkeypatch.chdir(tmp_path)
    assert find_mine() is None, "the suite says that there are none"
    monkeypatch.delenv(MINE)
    found = find_mine()
    assert found is not None and found.path.resolve() == here
    monkeypatch.setenv(MINE, str(other))
    found, given = find_mine(), find_mine(str(here))
    assert found is not None and given is not None and (found.path, given.path) == (other, here)
    assert find_mine("") is None
    with pytest.raises(ValueError, match=r"mine: no such file: none\.yaml"):
        find_mine("none.yaml")
    monkeypatch.delenv(MINE)
    here.unlink()
    assert find_mine() is None


def test_an_entry_is_a_method_like_any_other(tmp_path: Path) -> None:
    methods = METHODS + "cubed: {like: mine, label: Cubed, phi: {name: my_phi.py:squared, power: 3}}\n"
    decl, scale = load_declarations(mine=str(own_files(tmp_path, methods))), load_scale("smoke")
    assert decl.mine_names == ("mine", "cubed")
    assert (decl.method("mine").label, decl.method("cubed").label) == ("mine", "Cubed")
    config, usual = (resolve_run(decl, scale, name, "math", 0) for name in ("cubed", "chord_phi"))
    assert config.phi == {"name": "my_phi.py:squared", "power": 3} and config.mu == usual.mu
    assert config.phi_file == tmp_path / "my_phi.py" and usual.phi_file is None
    assert str(tmp_path) not in str(config.to_dict())
    assert usual.hash() == resolve_run(load_declarations(), scale, "chord_phi", "math", 0).hash()


def test_a_run_is_the_same_wherever_its_files_lie(tmp_path: Path) -> None:
    hashes = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        decl = load_declarations(mine=str(own_files(tmp_path / name)))
        hashes.add(resolve_run(decl, load_scale("smoke"), "mine", "math", 0).hash())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("chord_phi: {like: grpo}", "chord_phi: methods.yaml has this name: choose another"),
        ("mine: {like: chord_phy}", "mine: unknown method 'chord_phy'; did you mean 'chord_phi'?"),
        ("mine: {like: chord_phi, phy: none}", "mine: phy: unknown key; did you mean 'phi'?"),
        ("mine: {like: chord_phi, domains: [maths]}", "mine: unknown domain 'maths'; did you mean 'math'?"),
        (
            "mine: {like: chord_phi, phi: p_minus_p}",
            "mine: phi: unknown value 'p_minus_p'; did you mean 'p_one_minus_p'?",
        ),
        (
            "mine: {like: chord_phi, phi: 'my_phi:squared'}",
            "unknown value 'my_phi:squared': a φ of yours is FILE.py:FUNC",
        ),
        (
            "mine: {like: chord_phi, phi: 'my_phy.py:x'}",
            "no file my_phy.py beside my_methods.yaml; did you mean 'my_phi.py'?",
        ),
        (
            "mine: {like: chord_phi, phi: 'my_phi.py:squard'}",
            "my_phi.py has no function 'squard'; did you mean 'squared'? (it has: squared, share)",
        ),
        (
            "mine: {like: chord_phi, phi: {name: 'my_phi.py:squared', powr: 3}}",
            "phi.powr: my_phi.py:squared has no keyword parameter 'powr'; did you mean 'power'? (it has: power)",
        ),
        (
            "mine: {like: chord_phi, phi: {name: 'my_phi.py:share', power: 3}}",
            "my_phi.py:share has no keyword parameter 'power' (it has none after a `*`)",
        ),
    ],
)
def test_mistakes(tmp_path: Path, entry: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        load_declarations(mine=str(own_files(tmp_path, entry)))
    assert "\n" not in str(raised.value) and "my_methods.yaml: " in str(raised.value)


@pytest.mark.parametrize(
    ("phi", "said"),
    [
        ("def squared(p, h):\n    return p", "takes (p, h); allowed: (prob_BT, entropy_BT, mask_BT, *, parameters"),
        ("def squared(p, h, m, *, power):\n    return p", "phi.power: missing key"),
        ("def squared(p, h, m:\n", "my_phi.py, line 1:"),
        ("", "my_phi.py has no function 'squared' (it has none)"),
    ],
)
def test_mistakes_in_the_function(tmp_path: Path, phi: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        load_declarations(mine=str(own_files(tmp_path, phi=phi)))


def test_what_is_no_plain_function_is_left_to_the_trial(tmp_path: Path) -> None:
    load_declarations(mine=str(own_files(tmp_path, phi="from torch import sigmoid as squared")))
    load_declarations(mine=str(own_files(tmp_path, phi=PHI + "\nsquared = share")))


def test_a_file_of_a_user_has_no_place_in_the_projects_methods(tmp_path: Path) -> None:
    own_files(tmp_path)
    old = "  like: mu_fixed_01\n  phi: importance\n"
    root = configuration(tmp_path, "methods.yaml", old, old.replace("importance", "my_phi.py:squared"))
    with pytest.raises(ValueError, match=r"chord_is: phi: 'my_phi.py:squared' is a file's: it belongs into your own"):
        load_declarations(root)
