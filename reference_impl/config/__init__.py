"""What the configuration files declare, and what a run resolves to. Free of torch: plans and reports read it."""

from reference_impl.config.declarations import CONFIG_DIR, Declarations, load_declarations, load_scale
from reference_impl.config.judges import HttpJudgeSettings, LocalJudgeSettings
from reference_impl.config.methods import Domain, Expert, Method
from reference_impl.config.model import choose
from reference_impl.config.resolve import (
    RunConfig,
    domain_size,
    expert_file,
    expert_roles,
    expert_rows,
    group_size,
    learning_rate_factor,
    resolve_run,
    scaled_steps,
)
from reference_impl.config.scales import (
    DeepSpeedChoice,
    EngineOptions,
    Evaluation,
    Scale,
    ScaleDomain,
    StrategyChoice,
    TorchChoice,
)
from reference_impl.config.tasks import Task, benchmark_tasks, load_task, task_names
from reference_impl.config.tuned import TUNING_SEED, Trial, Tuned, TunedMethod, best_trial

__all__ = [
    "CONFIG_DIR",
    "TUNING_SEED",
    "Declarations",
    "DeepSpeedChoice",
    "Domain",
    "EngineOptions",
    "Evaluation",
    "Expert",
    "HttpJudgeSettings",
    "LocalJudgeSettings",
    "Method",
    "RunConfig",
    "Scale",
    "ScaleDomain",
    "StrategyChoice",
    "Task",
    "TorchChoice",
    "Trial",
    "Tuned",
    "TunedMethod",
    "benchmark_tasks",
    "best_trial",
    "choose",
    "domain_size",
    "expert_file",
    "expert_roles",
    "expert_rows",
    "group_size",
    "learning_rate_factor",
    "load_declarations",
    "load_scale",
    "load_task",
    "resolve_run",
    "scaled_steps",
    "task_names",
]
