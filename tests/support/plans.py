"""Plans of a shipped scale with some of its declarations changed, and copies of its configuration."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from pipelines.plan import Plan
from reference_impl.config import CONFIG_DIR

SCALES = sorted(path.stem for path in (CONFIG_DIR / "scales").glob("*.yaml"))


def with_scale(plan: Plan, **changes: Any) -> Plan:
    """The plan with other values in its scale."""
    return Plan(dataclasses.replace(plan.choice, scale=plan.choice.scale.model_copy(update=changes)))


def with_domain(plan: Plan, domain: str, **changes: Any) -> Plan:
    """The plan with other values in one domain of its scale."""
    domains = plan.choice.scale.domains
    return with_scale(plan, domains={**domains, domain: domains[domain].model_copy(update=changes)})


def with_method(plan: Plan, name: str, **changes: Any) -> Plan:
    """The plan with other values in one method's entry."""
    declarations = plan.choice.declarations
    methods = {**declarations.methods, name: declarations.methods[name].model_copy(update=changes)}
    return Plan(dataclasses.replace(plan.choice, declarations=dataclasses.replace(declarations, methods=methods)))


def configuration(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of the configuration with the one occurrence of `old` in a file replaced."""
    root = Path(shutil.copytree(CONFIG_DIR, folder / "config"))
    text = (root / name).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
    (root / name).write_text(text.replace(old, new), encoding="utf-8")
    return root
