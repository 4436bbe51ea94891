"""The workflow's own configuration: `pipelines/config/workflow.yaml`, and `--config` over it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from reference_impl.config.fields import DataOptions, LocalPath, Several
from reference_impl.config.model import Declared, parse

SOURCE = "workflow.yaml or --config"


def _number(value: Any) -> Any:
    """Snakemake passes the numbers of a list on its command line on as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Seed = Annotated[int, BeforeValidator(_number), Field(ge=0)]


class Workflow(Declared):
    """What `snakemake --config key=value` may change."""

    scale: str
    """A file of `pipelines/config/scales`, or the path of one of your own: `--config scale=my_scale.yaml`."""
    seeds: Several[Seed] | None = None
    """Left out: the scale's own. `--config seeds='[0,1,2]'`."""
    data: dict[str, LocalPath] = Field(default_factory=dict)
    """Task → local file of its format (BFCL: a folder), instead of its own questions.
    `--config data='{sandbox-amc: path.jsonl}'`.
    """
    policies: dict[str, LocalPath] = Field(default_factory=dict)
    """Model of `models.yaml` → a local folder with it, or another commit hash on the hub."""
    mine: str | None = None
    """File with methods of your own, in the form of methods.yaml; left out: `my_methods.yaml`, where it is there.
    Empty: none.
    """
    reading: str = ""
    """Preset of readings.yaml: what the paper leaves open, read as it says, by every method, with results in a folder
    of their own, `results/SCALE/readings/READING`. `--config reading=released`.
    """
    methods: Several[str] | None = None
    """What the target `compare` compares; the last is the baseline. Left out: your own methods with `chord_phi`.
    `--config methods='[mine, chord_phi]'`.
    """
    data_options: dict[str, DataOptions] = Field(default_factory=dict)
    """Domain → options of its data stage, beside the scale's or in their place.
    `--config data_options='{tool: {answers: folder}}'`.
    """


def parse_workflow(config: Mapping[str, Any]) -> Workflow:
    """The configuration of one call. Raises ValueError with everything that is wrong in it."""
    return parse(Workflow, dict(config), SOURCE)
