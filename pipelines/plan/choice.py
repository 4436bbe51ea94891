"""What one call of the workflow chose, and what of the declarations belongs to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pipelines.data.splits import split_rows
from pipelines.plan.local import LocalData
from pipelines.policy.origin import is_random, is_shipped
from pipelines.sandbox.policies import world_novelty
from reference_impl.config import TUNING_SEED, Declarations, Scale, expert_roles, load_task, resolve_run

PHI_AND_NAMES = {"name", "label", "like", "paper", "domains", "phi"}
"""Keys of a method besides those in which two must agree to differ in φ alone."""


@dataclass(frozen=True)
class Choice:
    """The declarations, one scale and the seeds, and what the user brings."""

    declarations: Declarations
    scale: Scale
    seeds: tuple[int, ...]
    data: Mapping[str, LocalData] = field(default_factory=dict)
    """Task → the user's own questions for it."""
    given_policies: Mapping[str, str] = field(default_factory=dict)
    """Model of models.yaml → the user's folder or commit hash."""
    compared: tuple[str, ...] = ()
    """What `compare` compares; the last is the baseline. Empty: nothing was named, and the user has no methods."""

    def second_of(self, method: str, domain: str) -> str | None:
        """The same policy evaluated in a domain with a second prompt, where the scale's tasks have the first."""
        prompts = [load_task(task).prompt for task in self.scale.domains[domain].tasks]
        second = self.declarations.second_of(method, prompts)
        return second if second is not None and domain in self.domains(second) else None

    @property
    def own_questions(self) -> dict[str, LocalData]:
        """Task → the user's file, where its questions are not the benchmark's."""
        return {task: local for task, local in self.data.items() if local.own}

    @property
    def training_runs(self) -> list[str]:
        """Names of everything that is trained, grids unrolled."""
        return [run for name in self.declarations.known for run in self.declarations.runs(name)]

    @property
    def trial_runs(self) -> list[str]:
        """Names of the runs that learning rates are tuned by, those of grids aside."""
        return [run for name in self.declarations.methods for run in self.declarations.trials(name)]

    def candidates(self, domain: str, selection: str, seed: int) -> list[str]:
        """The runs of its grid that a selection chooses among: that of its tuned learning rate, or all, where the scale
        has none and where it is being tuned.
        """
        method = self.declarations.method(selection)
        runs = self.declarations.runs(self.selections[selection])
        rate = None if seed == TUNING_SEED else self.scale.tuned_rate(domain, method)
        return [run for run, own in runs.items() if rate in (None, own)]

    @property
    def selections(self) -> dict[str, str]:
        """Methods whose checkpoint is chosen among a grid's → the grid."""
        return {name: method.select.grid for name, method in self.declarations.methods.items() if method.select}

    @property
    def policies(self) -> list[str]:
        """Every policy of the scale, whichever role it has in whichever domain."""
        return sorted({policy for domain in self.scale.domains.values() for policy in domain.policies.values()})

    @property
    def hub_policies(self) -> list[str]:
        """Those of them that are models on the hub, or folders of the user's in their place."""
        return [name for name in self.policies if not is_shipped(name) and name not in self.random_policies]

    @property
    def random_policies(self) -> list[str]:
        """Those that are made here with random weights: no folder of the user's takes their place."""
        return [name for name in self.policies if is_random(name) and name not in self.given_policies]

    @cached_property
    def repeated_runs(self) -> frozenset[tuple[str, str]]:
        """(domain, run) of every run that may turn out to be an earlier one: it has the same settings and data, and
        starts from the same policy, or from another selection of the same grid, which may have the same checkpoint.
        """
        seen, found = set(), set()
        for domain in self.scale.domains:
            for run in self.training_runs:
                method, _ = self.declarations.owner(run)
                if domain not in self.domains(method.name):
                    continue
                config = resolve_run(self.declarations, self.scale, run, domain, 0)
                start = config.policy if config.init == "policy" else self.selections.get(config.init, config.init)
                made_of = json.dumps([domain, start, config.expert, config.settings()], sort_keys=True)
                if made_of in seen:
                    found.add((domain, run))
                seen.add(made_of)
        return frozenset(found)

    def splits(self, domain: str) -> dict[str, int]:
        """File → its rows, of a domain's training data."""
        return split_rows(self.declarations, self.scale, domain)

    def domains(self, method: str, only: tuple[str, ...] | None = None) -> list[str]:
        """The scale's domains that a method is declared for; `only` leaves out all but its own."""
        declared = self.declarations.method_domains(method)
        return [name for name in self.scale.domains if name in declared and (only is None or name in only)]

    def common_domains(self, method: str, baseline: str) -> tuple[str, ...]:
        """The scale's domains that both are declared for."""
        return tuple(self.domains(method, tuple(self.domains(baseline))))

    @cached_property
    def readings(self) -> list[tuple[str, tuple[str, ...]]]:
        """(method of a reading, the scale's domains that it is compared with its own method in)."""
        found = [(name, tuple(self.domains(name))) for name in self.declarations.derived]
        return [(name, domains) for name, domains in found if domains]

    @cached_property
    def mapped(self) -> list[tuple[str, tuple[str, ...]]]:
        """(method of the map, the scale's domains that it is drawn in), the baseline first: where the scale has the
        method's demonstrations.
        """
        decl = self.declarations
        assert decl.map is not None
        found = [(name, self.domains(name, decl.map.domains)) for name in decl.map.names(decl.methods)]
        shown = [
            (name, tuple(one for one in domains if decl.method(name).expert in expert_roles(decl, self.scale, one)))
            for name, domains in found
        ]
        return [(name, domains) for name, domains in shown if domains]

    @cached_property
    def novelty_domains(self) -> tuple[str, ...]:
        """The domains of the map whose data says how new a question is to the policy: sandbox worlds that offer it,
        asked their own questions.
        """
        drawn = {domain for _, domains in self.mapped for domain in domains}
        return tuple(
            name
            for name, sizes in self.scale.domains.items()
            if name in drawn and sizes.data == "sandbox" and not set(sizes.tasks) & set(self.own_questions)
            if world_novelty(name) is not None
        )

    @cached_property
    def boards(self) -> dict[str, list[tuple[str, ...]]]:
        """Domain → methods that differ in φ alone, for every such group in which there is a choice of φ."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for domain in self.scale.domains:
            groups: dict[str, list[str]] = {}
            for name, method in self.declarations.methods.items():
                if method.role == "method" and method.trains and domain in self.domains(name):
                    groups.setdefault(method.model_dump_json(exclude=PHI_AND_NAMES), []).append(name)
            several = [tuple(names) for names in groups.values() if len(names) > 1]
            if several:
                found[domain] = several
        return found

    def experiments(self, kind: str | None = None) -> list[str]:
        """Names of the tables, figures and pages of which the scale has a domain, in the report's order."""
        return [
            name
            for name, entry in self.declarations.experiments.items()
            if kind in (None, entry.kind) and set(entry.domains) & set(self.scale.domains)
        ]

    @cached_property
    def headline(self) -> list[str]:
        """The tables, figures and pages that the default target makes."""
        return [name for name in self.declarations.headline if name in self.experiments()]

    def needed(self, method: str) -> set[str]:
        """A method, its runs, and those of everything that it starts from or chooses among."""
        names = {method, *self.declarations.runs(method)}
        return names.union(*map(self.needed, self.declarations.method(method).builds_on))

    @cached_property
    def headline_runs(self) -> frozenset[tuple[str, str]]:
        """(domain, run or method) of every job that the headline needs."""
        found: set[tuple[str, str]] = set()
        for experiment in self.headline:
            entry = self.declarations.experiments[experiment]
            for method in entry.made_of:
                found |= {(domain, name) for domain in entry.domains for name in self.needed(method)}
        return frozenset(found)
