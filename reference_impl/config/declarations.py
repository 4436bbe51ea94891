"""The declaration files, read: methods.yaml, domains.yaml, experiments.yaml, and one scale; and the user's methods."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from reference_impl.config.experiments import Experiment, TableEntry, read_experiments
from reference_impl.config.fields import Name
from reference_impl.config.help_map import FILE as MAP_FILE
from reference_impl.config.help_map import HelpMap, load_map
from reference_impl.config.methods import Domain, Method, OwnPhi
from reference_impl.config.mine import Mine, find_mine, phi_problems
from reference_impl.config.model import Declared, choose, hint, parse, read_yaml, refuse, unknown
from reference_impl.config.readings import FILE, MARK, Readings, chosen_preset, load_preset, load_readings
from reference_impl.config.scales import Scale
from reference_impl.config.tuned import load_tuned

CONFIG_DIR = Path(__file__).resolve().parents[2] / "pipelines" / "config"
OWN_SCALE = (".yaml", ".yml")
"""How the path of a scale of the user's own ends."""
SCALE_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
NOT_INHERITED = ("label", "like", "paper")
"""What an entry with `like` says for itself."""
NOT_THE_PAPERS = "not of the paper"
"""What a user's entry quotes unless it says."""
Entries = Mapping[str, dict[str, Any]]
Model = TypeVar("Model", bound=Declared)


@dataclass(frozen=True)
class Declarations:
    """All of methods.yaml, domains.yaml and experiments.yaml."""

    methods: Mapping[str, Method]
    domains: Mapping[str, Domain]
    experiments: Mapping[str, Experiment]
    """Tables, figures and pages, in the report's order."""
    headline: tuple[str, ...]
    """Those of them that the default target makes."""
    mine: Mine | None = None
    """The user's file, whose methods are among the others."""
    readings: Readings | None = None
    """What the paper leaves open, read otherwise."""
    derived: Mapping[str, Method] = field(default_factory=dict)
    """The methods of the readings, `method@reading`: found by name, and in no list of the paper's methods."""
    map: HelpMap | None = None
    """When CHORD helps: what is drawn of it."""
    mapped: Mapping[str, Method] = field(default_factory=dict)
    """The methods that only the map has, `method@variant`: in no list of the paper's methods either."""
    reading: str = ""
    """The preset of readings that `methods` has; empty: none."""

    @cached_property
    def known(self) -> Mapping[str, Method]:
        """Every method that can be trained by its name."""
        return {**self.methods, **self.derived, **self.mapped}

    def method(self, name: str) -> Method:
        """The entry called ``name``. Raises ValueError naming the nearest."""
        return self.known[choose("method", name, self.known, self._files)]

    def base(self, name: str) -> str:
        """The method that one of a reading or of the map varies; any other is its own."""
        return name.partition(MARK)[0]

    def second_of(self, name: str, prompts: Collection[str]) -> str | None:
        """The method that is ``name`` with other prompts, where it replaces any of ``prompts``; None: there is none."""
        for other in self.methods.values():
            if other.second_of == name and set(prompts) & set(other.prompts):
                return other.name
        return None

    @property
    def mine_names(self) -> tuple[str, ...]:
        """The user's methods, in their file's order."""
        return tuple(name for name in self.methods if self.mine is not None and name in self.mine.methods)

    def source(self, name: str) -> str:
        """The file that a method stands in, for messages."""
        if name in self.derived:
            return FILE
        if name in self.mapped:
            return MAP_FILE
        return self.mine.source if self.mine is not None and name in self.mine.methods else "methods.yaml"

    def phi_file(self, method: Method) -> Path | None:
        """The Python file of a method's φ where it is one of the user's; None: it is in `TOKEN_WEIGHTS`."""
        if not isinstance(method.phi, OwnPhi):
            return None
        assert self.mine is not None
        return self.mine.phi_file(method.phi)

    @property
    def _files(self) -> str:
        return "methods.yaml" if self.mine is None else f"methods.yaml and {self.mine.source}"

    def method_domains(self, name: str) -> tuple[str, ...]:
        """The domains that a method is trained in."""
        return self.method(name).domains

    def main_table(self, domain: str) -> tuple[str, TableEntry] | None:
        """The first table with graded columns of a domain, with its name: what the paper compares methods by."""
        for name, entry in self.experiments.items():
            if isinstance(entry, TableEntry) and any(part.domain == domain and part.graded for part in entry.columns):
                return name, entry
        return None

    def runs(self, name: str) -> dict[str, float | None]:
        """Run name → learning rate of every training run of an entry: several for a grid, none where nothing trains."""
        method = self.method(name)
        if not method.trains:
            return {}
        return _grid(method) if method.role == "grid" else {name: method.learning_rate}

    def trials(self, name: str) -> dict[str, float | None]:
        """Run name → learning rate of the runs that an entry's own rate is tuned by; none where it trains nothing, or
        takes another's rate.
        """
        method = self.method(name)
        return _grid(method) if method.trains and method.tuned_as == name else {}

    @property
    def tuned(self) -> tuple[str, ...]:
        """The methods that are tuned themselves."""
        return tuple(name for name, method in self.methods.items() if method.tuned_as == name)

    def owner(self, run: str) -> tuple[Method, float | None]:
        """The entry that a run name belongs to, and the run's learning rate in the paper's units."""
        if run not in self._owners:
            choose("run", run, [one for name in self.known for one in self.runs(name)], self._files)
        return self._owners[run]

    @cached_property
    def _owners(self) -> dict[str, tuple[Method, float | None]]:
        """Run name → its entry and learning rate; of entries with a run of the same name the first."""
        found: dict[str, tuple[Method, float | None]] = {}
        for name, method in self.known.items():
            for run, rate in {**self.runs(name), **self.trials(name)}.items():
                found.setdefault(run, (method, rate))
        return found


def load_declarations(root: Path = CONFIG_DIR, mine: str | None = None, reading: str | None = None) -> Declarations:
    """Read and check the declaration files under ``root``, and the user's methods (`find_mine`).

    ``reading``: a preset of readings.yaml (`chosen_preset`), which then changes methods.yaml's entries. Raises
    ValueError with every mistake of a file.
    """
    source, domains = _entries(root / "domains.yaml")
    parsed_domains = _parse_entries(Domain, domains, source)
    source, methods = _entries(root / "methods.yaml")
    readings, preset = load_readings(root, methods, domains), chosen_preset(reading)
    if preset:
        methods = readings.changed(choose("reading", preset, readings.presets, f"{FILE}: presets"), methods)
    parsed_methods = _parse_entries(Method, methods, source)
    report = read_experiments(root / "experiments.yaml")
    decl = Declarations(
        parsed_methods, parsed_domains, report.entries, report.headline, readings=readings, reading=preset
    )
    refuse(
        f"{source}: {method.name}: {problem}"
        for method in parsed_methods.values()
        for problem in _wrong_references(decl, method, source)
    )
    decl = decl if preset else _with_readings(decl, methods, readings, os.path.relpath(root / FILE))
    decl = _with_map(decl, methods, load_map(root, decl.methods, decl.domains, decl.derived), root)
    found = find_mine(mine)
    return decl if found is None else _with_mine(decl, methods, found)


def _with_readings(decl: Declarations, methods: Entries, readings: Readings, source: str) -> Declarations:
    """The declarations with each reading's methods as it changes them. Raises ValueError with every mistake of it."""
    entries = readings.derived(methods, {name: method.domains for name, method in decl.methods.items()})
    decl = replace(decl, derived=_like_others(methods, entries, source))
    _check_derived(decl, decl.derived, source)
    return decl


def _with_map(decl: Declarations, methods: Entries, found: HelpMap, root: Path) -> Declarations:
    """The declarations with the map and its methods. Raises ValueError with every mistake of them."""
    source, entries = os.path.relpath(root / MAP_FILE), found.derived(decl.methods, decl.domains)
    decl = replace(decl, map=found, mapped=_like_others(methods, entries, source))
    _check_derived(decl, decl.mapped, source)
    return decl


def _like_others(methods: Entries, entries: Entries, source: str) -> dict[str, Method]:
    """Entries that are like some of methods.yaml, as methods."""
    parsed = _parse_entries(Method, {**methods, **entries}, source)
    return {name: parsed[name] for name in entries}


def _check_derived(decl: Declarations, derived: Mapping[str, Method], source: str) -> None:
    refuse(
        f"{source}: {name}: {problem}"
        for name, method in derived.items()
        for problem in (*_wrong_references(decl, method, source), *_not_evaluated(method))
    )


def _not_evaluated(method: Method) -> Iterator[str]:
    if method.role != "method":
        yield f"it is like a method of role {method.role}: only role method is evaluated"


def _with_mine(decl: Declarations, methods: Entries, mine: Mine) -> Declarations:
    """The declarations with the user's methods among them. Raises ValueError with every mistake of the user's file."""
    source, entries = _entries(mine.path)
    refuse(f"{source}: {name}: methods.yaml has this name: choose another" for name in entries if name in methods)
    entries = {name: {"label": name, "paper": NOT_THE_PAPERS, **entry} for name, entry in entries.items()}
    parsed = _parse_entries(Method, {**methods, **entries}, source)
    mine = replace(mine, methods=frozenset(entries))
    decl = replace(decl, methods=parsed, mine=mine)
    refuse(
        f"{source}: {name}: {problem}"
        for name in entries
        for problem in (*_wrong_references(decl, parsed[name], source), *_wrong_phi(mine, parsed[name]))
    )
    return decl


def _wrong_phi(mine: Mine, method: Method) -> Iterator[str]:
    """What is wrong with a φ of the user's."""
    if isinstance(method.phi, OwnPhi):
        yield from phi_problems(mine, method.phi)


def load_scale(name: str, root: Path = CONFIG_DIR, reading: str | None = None) -> Scale:
    """Read and check one scale: the project's of this name, or the file of this path, whose stem is then its name.

    ``reading``: as of `load_declarations`. Raises ValueError naming the known scales, or every mistake of the file.
    """
    known = sorted(path.stem for path in (root / "scales").glob("*.yaml"))
    own = Path(name).expanduser() if name.endswith(OWN_SCALE) else None
    if own is None:
        choose("scale", name, known, "pipelines/config/scales")
        path = root / "scales" / f"{name}.yaml"
    else:
        path, name = own, own.stem
        if not path.is_file():
            raise ValueError(f"scale: no such file: {own}{hint(name, known)} (the project has: {', '.join(known)})")
        if not SCALE_NAME.fullmatch(name) or name in known:
            raise ValueError(
                f"scale: {own}: its results would be in results/{name}: call the file otherwise (letters, digits, "
                f"- and _, and none of {', '.join(known)})"
            )
    values = parse(dict[str, Any], read_yaml(path), os.path.relpath(path))
    scale = parse(Scale, {**values, "name": name}, os.path.relpath(path))
    preset = load_preset(root, chosen_preset(reading))
    tuned = load_tuned(root, name) if preset is None or preset.tuned else None
    described = scale.description if preset is None else f"{scale.description} Read {preset.label}."
    file = None if own is None else str(own)
    return scale.model_copy(update={"tuned": tuned, "description": described, "file": file})


def _grid(method: Method) -> dict[str, float | None]:
    """Run name → learning rate of a run for each value of a method's grid."""
    assert method.grid is not None
    return {f"{method.name}-lr{rate:g}": rate for rate in method.grid.learning_rate}


def _entries(path: Path) -> tuple[str, Entries]:
    """The file's name for messages, and its entries by name."""
    source = os.path.relpath(path)
    entries = parse(dict[Name, dict[str, Any]], read_yaml(path), source)
    named = (name for name, entry in entries.items() if "name" in entry)
    refuse(f"{source}: {name}: name: unknown key: an entry is called by what it stands under" for name in named)
    return source, entries


def _parse_entries(kind: type[Model], entries: Entries, source: str) -> dict[str, Model]:
    """Every entry as a model, keys of its parents filled in.

    A mistake is reported where it stands, and not at the entries that inherit it.
    """
    mistakes = {name: _wrong_like(entries, name, source) for name in entries}
    parsed: dict[str, Model] = {}
    for name, values in entries.items():
        parents = _parents(entries, name)
        if any(mistakes[one] and "like" in entries[one] for one in (name, *parents)):
            continue  # without all that it inherits, what it lacks says nothing
        for parent in parents:
            values = {key: value for key, value in entries[parent].items() if key not in NOT_INHERITED} | values
        try:
            parsed[name] = parse(kind, {**values, "name": name}, f"{source}: {name}")
        except ValueError as error:
            mistakes[name] = [line.removeprefix(f"{source}: {name}: ") for line in str(error).splitlines()]
    refuse(
        f"{source}: {name}: {line}"
        for name, found in mistakes.items()
        for line in found
        if not any(line in mistakes[parent] for parent in _parents(entries, name))
    )
    return parsed


def _parents(entries: Entries, name: str) -> list[str]:
    """The entry that one is ``like``, the one that that is like, and so on, as far as they exist and none twice."""
    chain = [name]
    while (parent := str(entries[chain[-1]].get("like"))) in entries and parent not in chain:
        chain.append(parent)
    return chain[1:]


def _wrong_like(entries: Entries, name: str, source: str) -> list[str]:
    """What is wrong with an entry's ``like``: it names none, or leads back to the entry itself."""
    if "like" not in entries[name]:
        return []
    chain = [name, *_parents(entries, name)]
    if str(entries[chain[-1]].get("like")) == name:
        return [f"like leads in a circle: {' → '.join([*chain, name])}"]
    return unknown("method", str(entries[name]["like"]), entries, source)


def _wrong_references(decl: Declarations, method: Method, source: str) -> Iterator[str]:
    """What is wrong with the methods, domains, policies and experts that an entry names: they must exist, and fit."""
    if isinstance(method.phi, OwnPhi) and decl.mine is None:
        yield f"phi: {method.phi.name!r} is a file's: it belongs into your own my_methods.yaml"
    for reference in method.builds_on:
        if reference not in decl.methods:
            yield from unknown("method", reference, ["policy", *decl.methods], source)
        elif decl.methods[reference].policy != method.policy:
            yield (
                f"policy {method.policy!r}, but it builds on {reference} of policy "
                f"{decl.methods[reference].policy!r}: both must be the same"
            )
    if method.second_of is not None:
        yield from unknown("method", method.second_of, decl.methods, source)
        first = decl.methods.get(method.second_of)
        if first is not None and (first.trains or first.select or method.trains or first.policy != method.policy):
            yield f"second_of {method.second_of!r}: both must be the same policy, untrained"
    if method.tuned_as is not None:
        yield from unknown("method", method.tuned_as, decl.methods, source)
        if method.tuned_as in decl.methods and decl.methods[method.tuned_as].tuned_as != method.tuned_as:
            yield f"tuned_as {method.tuned_as!r}, which is not tuned itself: its tuned_as is another"
    if method.name in _built_on(decl, method.name):
        yield "init and select lead in a circle, back to it"
    for name in method.domains:
        yield from unknown("domain", name, decl.domains, source)
        if name in decl.domains:
            domain, where = decl.domains[name], f"domains.yaml: {name}"
            yield from unknown("policy", method.policy, domain.policies, f"{where}: policies")
            yield from unknown("expert", method.expert, domain.experts, f"{where}: experts")


def _built_on(decl: Declarations, name: str) -> set[str]:
    """Every method that one starts from or chooses among, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = {other for other in decl.known[waiting.pop()].builds_on if other in decl.methods} - found
        found |= new
        waiting += new
    return found
