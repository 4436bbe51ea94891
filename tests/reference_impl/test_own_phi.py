"""A φ of the user's: what is done for it, what it may look at, and what is refused before anything trains."""

from pathlib import Path

import pytest
import torch

from reference_impl import own_phi
from reference_impl.config import load_declarations, load_scale, resolve_run
from reference_impl.config.mine import MINE
from reference_impl.own_phi import load_own_phi, needs_global_batch
from reference_impl.step.objective import build_objective
from reference_impl.token_weights import TOKEN_WEIGHTS, TokenWeight
from tests.support.own_files import PHI, own_files


def phi(folder: Path, body: str, **params: float) -> TokenWeight:
    """The function `f(p, h, m)` with this body."""
    (folder / "my_phi.py").write_text(f"import torch\n\n\ndef f(p, h, m, *, power=2):\n    {body}\n", encoding="utf-8")
    return load_own_phi(folder / "my_phi.py", "my_phi.py:f", params)


def test_a_line_is_enough(tmp_path: Path) -> None:
    """p (1 - p) of a user's equals the project's: masked, without gradient, whatever stands outside the mask."""
    own, ours = phi(tmp_path, "return p * (1 - p)"), TOKEN_WEIGHTS["p_one_minus_p"]
    prob = torch.tensor([[0.5, 1.0000001, float("nan")], [0.0, 0.25, 0.75]], requires_grad=True)
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    weights = own(prob, torch.full_like(prob, 1.0), mask)
    assert torch.equal(weights, ours(prob, None, mask)) and not weights.requires_grad
    assert weights.tolist() == [[0.25, 0.0, 0.0], [0.0, 0.1875, 0.0]]  # 0.25 × 0.75
    assert own(prob.to(torch.bfloat16), None, mask).dtype == torch.float32
    assert phi(tmp_path, "return p ** power", power=3)(prob, None, mask)[1, 1].item() == 0.25**3
    assert phi(tmp_path, "return p > 0.4")(prob, None, mask).tolist() == [[1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("body", "compares"),
    [
        ("return (4 * p * (1 - p)) ** power", False),
        ("return h / (1 + h)", False),
        ("return p / p.sum().clamp(min=1e-9)", True),
        ("return h >= h.max()", True),
    ],
)
def test_what_it_looks_at(tmp_path: Path, body: str, compares: bool) -> None:
    assert needs_global_batch(phi(tmp_path, body), "my_phi.py:f") is compares


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return p.sum()", r"my_phi.py:f returns shape \(\) for tokens of shape \(4, 6\)"),
        ("return p[:, :1]", r"returns shape \(4, 1\) for tokens"),
        ("return 0.5", "returns float; allowed: a tensor"),
        ("return p - 0.9", "returns the weight -0.9; allowed: finite and >= 0"),
        ("return p / 0", "returns the weight"),
        ("return p.log().clamp(min=0) / 0", "returns the weight nan"),
        ("return 1 / p", "returns the weight inf"),
        ("return p * torch.ones(1, requires_grad=True)", "with gradient"),
        ("return p * torch.rand(())", "other weights when it is called again"),
        ("return p * torch.arange(p.shape[1])", "depends on where its token stands"),
        ("return p * unknown", "my_phi.py:f: NameError: name 'unknown' is not defined"),
        ("return p @ p", "my_phi.py:f: RuntimeError: "),
        ("return p / len(p[m]) if 1 / m.sum().item() else p", "ZeroDivisionError"),  # a part without expert tokens
    ],
)
def test_what_is_no_phi(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        needs_global_batch(phi(tmp_path, body), "my_phi.py:f")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "my_phi.py"
    path.write_text("import nothing_of_this_name\n")
    with pytest.raises(ValueError, match=r"my_phi.py cannot be imported: ModuleNotFoundError: No module named"):
        load_own_phi(path, "my_phi.py:f", {})
    path.write_text("f = 3\n")
    with pytest.raises(ValueError, match=r"my_phi\.py:f is no function"):
        load_own_phi(path, "my_phi.py:f", {})


def test_what_lies_beside_it_is_found_and_an_edit_is_seen_at_once(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("FACTOR = 2\n")
    path, half = tmp_path / "my_phi.py", torch.tensor([[0.5]])
    for factor in (2, 3):
        path.write_text(f"from beside_it import FACTOR\n\n\ndef f(p, h, m):\n    return p * FACTOR * {factor}\n")
        assert load_own_phi(path, "my_phi.py:f", {})(half, None, half > 0).item() == factor


def test_a_run_uses_it(tmp_path: Path) -> None:
    methods = "mine: {like: chord_phi, phi: {name: my_phi.py:squared, power: 1}}\n"
    methods += "shares: {like: mine, phi: my_phi.py:share}\n"
    decl = load_declarations(mine=str(own_files(tmp_path, methods)))
    objectives = [build_objective(resolve_run(decl, load_scale("smoke"), run, "math", 0)) for run in decl.mine_names]
    assert [objective.phi_needs_global_batch for objective in objectives] == [False, True]
    logprobs = torch.tensor([[0.25, 0.5]]).log()
    weights = objectives[0].weights(logprobs, torch.ones(1, 2), torch.tensor([[True, False]]))
    assert weights.tolist() == [[0.75, 0.0]]  # 4 × 0.25 × 0.75


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    methods = "mine: {like: chord_phi, phi: my_phi.py:squared}\nother: {like: mine, phi: my_phi.py:share}\n"
    monkeypatch.setenv(MINE, str(own_files(tmp_path, methods)))
    own_phi.main([])
    assert capsys.readouterr().out.splitlines() == [
        "mine: my_phi.py:squared looks at each token by itself",
        "other: my_phi.py:share looks at all tokens of a step",
    ]
    own_files(tmp_path, methods, PHI.replace("return (4", "return -(4").replace("entropy_BT.sum", "entropy_BT.somme"))
    with pytest.raises(SystemExit) as raised:
        own_phi.main([])
    first, second = str(raised.value).splitlines()
    assert "my_methods.yaml: mine: phi: my_phi.py:squared returns the weight -" in first
    assert "my_methods.yaml: other: phi: my_phi.py:share: AttributeError" in second
