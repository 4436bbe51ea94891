"""What the configuration files declare, and what a run resolves to. Free of torch: plans and reports read it."""

from reference_impl.config.declared import (
    Declarations,
    Domain,
    Evaluation,
    Expert,
    Method,
    Scale,
    ScaleDomain,
    StrategyChoice,
)
from reference_impl.config.model import choose
from reference_impl.config.resolve import (
    CONFIG_DIR,
    RunConfig,
    domain_size,
    expert_file,
    expert_rows,
    group_size,
    inherit,
    load_declarations,
    load_scale,
    parse_method,
    resolve_run,
    scaled_steps,
)

__all__ = [
    "CONFIG_DIR",
    "Declarations",
    "Domain",
    "Evaluation",
    "Expert",
    "Method",
    "RunConfig",
    "Scale",
    "ScaleDomain",
    "StrategyChoice",
    "choose",
    "domain_size",
    "expert_file",
    "expert_rows",
    "group_size",
    "inherit",
    "load_declarations",
    "load_scale",
    "parse_method",
    "resolve_run",
    "scaled_steps",
]
