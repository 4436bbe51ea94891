"""Check all configuration, and make the plan of one call of the workflow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.plan.changed import changed_code
from pipelines.plan.checks import (
    check_experiments,
    check_names,
    check_scale,
    compared_methods,
    schedule_warnings,
    tuning_warnings,
)
from pipelines.plan.choice import Choice
from pipelines.plan.files import Files
from pipelines.plan.hashes import Hashes
from pipelines.plan.local import local_data
from pipelines.plan.missing import missing_files, missing_revisions
from pipelines.plan.options import Options
from pipelines.plan.workflow import parse_workflow
from pipelines.policy.origin import check_policies
from reference_impl.config import CONFIG_DIR, TUNING_SEED, Scale, choose, load_declarations, load_scale


@dataclass(frozen=True)
class Plan:
    """What was chosen, and what follows from it."""

    choice: Choice

    @cached_property
    def files(self) -> Files:
        """Which files there are, and what each is made from."""
        return Files(self.choice)

    @cached_property
    def hashes(self) -> Hashes:
        """What makes each file again."""
        return Hashes(self.choice)

    @cached_property
    def options(self) -> Options:
        """What the jobs get."""
        return Options(self.choice)

    @property
    def mine(self) -> str:
        """The file with the user's methods; empty where there is none."""
        found = self.choice.declarations.mine
        return "" if found is None else os.path.abspath(found.path)

    @property
    def reading(self) -> str:
        """The preset of readings that the declarations have; empty: none."""
        return self.choice.declarations.reading

    def warnings(self) -> list[str]:
        """What is allowed and probably not meant, and what jobs will fail without."""
        declared = self.choice.declarations, self.choice.scale
        missing = missing_files(self.choice) + missing_revisions(self.choice)
        return schedule_warnings(*declared) + tuning_warnings(*declared) + missing

    def notes(self) -> list[str]:
        """What an edit of the code makes again, of what there is."""
        return changed_code(self.choice, Path(self.files.results))


def load_plan(config: Mapping[str, Any], root: Path = CONFIG_DIR) -> Plan:
    """Check every configuration file, and the references between them.

    `config` is the workflow's own configuration (`workflow.yaml` and `--config`). Raises ValueError naming
    the file, the offending value and the allowed or nearest ones.
    """
    workflow = parse_workflow(config)
    if TUNING_SEED in (workflow.seeds or ()):
        raise ValueError(f"seeds: {TUNING_SEED} is the seed that learning rates are tuned with: choose another")
    declarations = load_declarations(root, workflow.mine, workflow.reading)
    check_names(declarations)
    check_experiments(declarations, os.path.relpath(root / "experiments.yaml"))
    scale = load_scale(workflow.scale, root, workflow.reading)
    scale = _with_data_options(scale, workflow.data_options)
    check_scale(declarations, scale)
    data = {task: local_data(scale, task, path) for task, path in workflow.data.items()}
    compared = compared_methods(declarations, scale, workflow.methods)
    policies = {**scale.models, **workflow.policies}
    choice = Choice(declarations, scale, workflow.seeds or scale.seeds, data, policies, compared)
    check_policies(choice.policies, choice.given_policies, scale.name)
    return Plan(choice)


def _with_data_options(scale: Scale, given: Mapping[str, Mapping[str, Any]]) -> Scale:
    """The scale with the user's options of data stages beside its own, or in their place."""
    domains = dict(scale.domains)
    for name, options in given.items():
        sizes = domains[choose("domain", name, domains, f"data_options: scale {scale.name}")]
        domains[name] = sizes.model_copy(update={"data_options": {**sizes.data_options, **options}})
    return scale.model_copy(update={"domains": domains})
