"""The keys of map.yaml: what "When does CHORD help?" is drawn of, and the methods that it adds to methods.yaml's.

A row with another number of demonstrations is a method of its own, `chord_mu@few`, like the one that it varies; so is a
φ of the family p^a (1 − p)^b, `chord_phi@a0.5_b2`. Where a method has that number or that φ already, it is the cell.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reference_impl.config.fields import NotNegative, Several, no_repetition
from reference_impl.config.methods import Domain, Method, Phi
from reference_impl.config.model import Declared, parse, read_yaml, refuse, unknown
from reference_impl.config.readings import MARK

FILE = "map.yaml"
NOT_THE_PAPERS = "not of the paper: a cell of `snakemake map`"
PHI: TypeAdapter[Any] = TypeAdapter(Phi)
NAMED: dict[tuple[float, float], str] = {(0, 0): "none", (1, 0): "importance", (1, 1): "p_one_minus_p"}
"""Exponents (a, b) → the φ that p^a (1 − p)^b is; with a = 0 it is focal loss."""


class Demonstrations(Declared):
    """Rows of the map of novelty that have another number of demonstrations."""

    methods: Several[str]
    """Each with every number."""
    experts: Several[str]
    """Roles of domains.yaml; a domain has the rows of those that it has."""


class Powers(Declared):
    """The map of φ = p^a (1 − p)^b."""

    method: str
    """What is trained with each φ in the place of its own."""
    a: Several[NotNegative]
    """Exponents of p."""
    b: Several[NotNegative]
    """Exponents of 1 − p."""


class HelpMap(Declared):
    """When does CHORD help? What `snakemake map` draws, and trains for it."""

    domains: Several[str]
    """Where it is drawn."""
    baseline: str
    """The method that every cell is a difference to."""
    demonstrations: Demonstrations
    beside: Several[str]
    """Methods that are further rows of the map of novelty, with their own demonstrations."""
    powers: Powers

    def rows(self, methods: Mapping[str, Method]) -> dict[str, str]:
        """Method → what it varies, of the rows of the map of novelty, from above; ``methods``: the declared ones."""
        varied = {
            _with_expert(methods[name], role): name
            for name in self.demonstrations.methods
            for role in self.demonstrations.experts
        }
        return {**varied, **{name: name for name in self.beside}}

    def powers_of(self, methods: Mapping[str, Method]) -> dict[tuple[float, float], str]:
        """(a, b) → the method that is trained with this φ."""
        return {(a, b): _with_power(methods[self.powers.method], a, b) for b in self.powers.b for a in self.powers.a}

    def names(self, methods: Mapping[str, Method]) -> tuple[str, ...]:
        """Every method that the map is drawn of, the baseline first."""
        return tuple(dict.fromkeys([self.baseline, *self.rows(methods), *self.powers_of(methods).values()]))

    def derived(self, methods: Mapping[str, Method], domains: Mapping[str, Domain]) -> dict[str, dict[str, Any]]:
        """An entry, as of methods.yaml, for every row and φ that no method has."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.demonstrations.methods:
            method = methods[name]
            for role in self.demonstrations.experts:
                own = [one for one in self.domains if one in method.domains and role in domains[one].experts]
                entry = _like(method, f"demonstrations: {role}", own)
                found[_with_expert(method, role)] = {**entry, "expert": role}
        method = methods[self.powers.method]
        own = [one for one in self.domains if one in method.domains]
        for (a, b), name in self.powers_of(methods).items():
            found[name] = {**_like(method, power_text(a, b), own), "phi": power_phi(a, b)}
        return {name: entry for name, entry in found.items() if name not in methods}


def power_phi(a: float, b: float) -> dict[str, Any]:
    """φ = p^a (1 − p)^b as it is declared: by the name that it has where it is another φ, so that a run of it may be
    another method's.
    """
    if (a, b) in NAMED:
        return {"name": NAMED[a, b]}
    return {"name": "power", "a": float(a), "b": float(b)} if a else {"name": "focal", "gamma": float(b)}


def power_text(a: float, b: float) -> str:
    """It in words: p^0.5 (1 − p)^2."""
    return f"φ = p^{a:g} (1 − p)^{b:g}"


def _with_power(method: Method, a: float, b: float) -> str:
    same = PHI.validate_python(power_phi(a, b)).model_dump() == method.phi.model_dump(warnings=False)
    return method.name if same else f"{method.name}{MARK}a{a:g}_b{b:g}"


def _with_expert(method: Method, role: str) -> str:
    return method.name if role == method.expert else f"{method.name}{MARK}{role}"


def _like(method: Method, what: str, domains: list[str]) -> dict[str, Any]:
    return {
        "label": f"{method.label}, {what}",
        "paper": NOT_THE_PAPERS,
        "like": method.name,
        "domains": tuple(domains),
    }


def load_map(
    root: Path, methods: Mapping[str, Method], domains: Mapping[str, Domain], taken: Collection[str]
) -> HelpMap:
    """Read and check map.yaml. ``taken``: names of further methods. Raises ValueError with every mistake."""
    source = os.path.relpath(root / FILE)
    found = parse(HelpMap, read_yaml(root / FILE), source)
    refuse(f"{source}: {problem}" for problem in _problems(found, methods, domains))
    names = found.derived(methods, domains)
    refuse(f"{source}: {name}: a reading of readings.yaml has this name" for name in names if name in taken)
    return found


def _problems(found: HelpMap, methods: Mapping[str, Method], domains: Mapping[str, Domain]) -> Iterator[str]:
    for name in found.domains:
        yield from (f"domains: {text}" for text in unknown("domain", name, domains, "domains.yaml"))
    known = [name for name in found.domains if name in domains]
    places = {
        "baseline": (found.baseline,),
        "demonstrations.methods": found.demonstrations.methods,
        "beside": found.beside,
        "powers.method": (found.powers.method,),
    }
    for place, names in places.items():
        for name in names:
            yield from (f"{place}: {text}" for text in unknown("method", name, methods, "methods.yaml"))
            if name in methods:
                yield from (f"{place}: {text}" for text in _unfit(methods[name], known, place == "baseline"))
    try:
        no_repetition((*found.demonstrations.methods, *found.beside))
    except ValueError as error:
        yield f"demonstrations.methods and beside: {error}"
    roles = dict.fromkeys(role for name in known for role in domains[name].experts)
    for role in found.demonstrations.experts:
        yield from (f"demonstrations.experts: {text}" for text in unknown("expert", role, roles, "domains.yaml"))


def _unfit(method: Method, domains: list[str], everywhere: bool) -> Iterator[str]:
    """What keeps a method from being compared; ``everywhere``: in all domains, and not in any."""
    if method.role != "method":
        yield f"{method.name} has role {method.role}: only role method is evaluated"
    missing = [name for name in domains if name not in method.domains]
    if missing and (everywhere or missing == domains):
        yield f"{method.name} is not trained in {', '.join(missing)}"
