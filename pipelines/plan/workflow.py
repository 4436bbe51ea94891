"""The workflow's own configuration: `pipelines/config/workflow.yaml`, and `--config` over it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from reference_impl.config.model import Declared, parse

SOURCE = "workflow.yaml or --config"


def _number(value: Any) -> Any:
    """Snakemake passes the numbers of a list on its command line on as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _one_of_each(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"{list(seeds)}: expected at least one seed, and none twice")
    return seeds


def _option(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float | tuple | dict):
        raise ValueError(f"{value!r} is neither text, a number, a list nor a mapping")
    return value


Seed = Annotated[int, BeforeValidator(_number), Field(ge=0)]
LocalPath = Annotated[str, Field(min_length=1)]
OptionName = Annotated[str, Field(pattern="^[a-z][a-z-]*$")]


class Workflow(Declared):
    """What `snakemake --config key=value` may change."""

    scale: str
    """A file of `pipelines/config/scales`."""
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_one_of_each)] | None = None
    """Left out: the scale's own. `--config seeds='[0,1,2]'`."""
    data: dict[str, LocalPath] = Field(default_factory=dict)
    """Task → local file of its format (BFCL: a folder), instead of its own questions.
    `--config data='{sandbox-amc: path.jsonl}'`.
    """
    policies: dict[str, LocalPath] = Field(default_factory=dict)
    """Model of `models.yaml` → a local folder with it, or another commit hash on the hub."""
    data_options: dict[str, dict[OptionName, Annotated[Any, AfterValidator(_option)]]] = Field(default_factory=dict)
    """Domain → options of its data stage, beside the scale's or in their place.
    `--config data_options='{tool: {answers: folder}}'`.
    """


def parse_workflow(config: Mapping[str, Any]) -> Workflow:
    """The configuration of one call. Raises ValueError with everything that is wrong in it."""
    return parse(Workflow, dict(config), SOURCE)
