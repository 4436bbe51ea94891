"""The keys of scales/<name>.yaml: sizes, engine and hardware, never mathematics."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from reference_impl.config.fields import (
    Count,
    DataOptions,
    Fraction,
    FromOne,
    GroupSize,
    LocalPath,
    Name,
    Positive,
    Roles,
    Several,
)
from reference_impl.config.judges import JudgeSettings
from reference_impl.config.methods import Method
from reference_impl.config.model import Declared, choose
from reference_impl.config.tuned import Tuned
from reference_impl.text.prompts import PROMPTS


class EngineOptions(Declared):
    """How engine vllm uses its GPUs; no other engine has options. Of them `max_model_len` alone changes samples."""

    placement: Literal["colocated", "dedicated"] = "colocated"
    """In the trainer's own process and on its GPU, or in one beside it with GPUs of its own."""
    gpu_memory_utilization: Fraction = 0.4
    """Share of a GPU's memory for weights, keys and values; 0.9 suits a GPU that only samples."""
    tensor_parallel_size: Count = 1
    """GPUs that a dedicated engine is split over; a colocated one has its trainer's alone."""
    max_model_len: Annotated[int, Field(ge=2)] | None = None
    """Longest prompt and response together, in tokens; null: as the checkpoint says."""
    enforce_eager: bool = False
    """No compilation and no CUDA graphs: starts sooner, samples slower. On a CPU it is always so."""
    sleep: bool = True
    """A colocated engine frees its GPU memory while an update runs; false: it keeps it, beside the update's."""

    @model_validator(mode="after")
    def _one_gpu_where_the_trainer_is(self) -> Self:
        if self.placement == "colocated" and self.tensor_parallel_size > 1:
            raise ValueError(
                f"tensor_parallel_size {self.tensor_parallel_size} with placement colocated: an engine in its "
                "trainer's process has one GPU; allowed are 1, or placement: dedicated"
            )
        return self

    @property
    def gpus(self) -> int:
        """GPUs of its own that it takes beside one training process's."""
        return self.tensor_parallel_size if self.placement == "dedicated" else 0


class TorchChoice(Declared):
    """Plain torch: one process, float32."""

    kind: Literal["torch"] = "torch"
    zero_stage: Literal[0] = 0
    precision: Literal["fp32"] = "fp32"
    offload: Literal["none"] = "none"
    activation_checkpointing: Literal[False] = False
    processes: Literal[1] = 1


OFFLOADS = {"none": 0, "optimizer": 1, "parameters": 3}
"""What may be offloaded → the first ZeRO stage that can."""


class DeepSpeedChoice(Declared):
    """DeepSpeed, in one process or many."""

    kind: Literal["deepspeed"]
    zero_stage: Literal[0, 1, 2, 3] = 0
    """What is split over the processes: 0 nothing, 1 optimizer, 2 and gradients, 3 and parameters."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the weights while they train and sample; in bf16 the optimizer still updates a copy in float32."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What waits in the CPU's memory: the optimizer's state (from ZeRO-1), or that and the parameters (ZeRO-3)."""
    activation_checkpointing: bool = False
    """Repeat the forward pass in the backward pass instead of keeping what it computed."""
    processes: Count = 1
    """One per GPU; more than one need a launcher."""
    processes_of: dict[str, Count] = Field(default_factory=dict)
    """Policy → processes of the runs that train it, where they are fewer: `make estimate` says which is cheapest."""

    @model_validator(mode="after")
    def _fewer_processes(self) -> Self:
        more = [name for name, number in self.processes_of.items() if number > self.processes]
        if more:
            raise ValueError(f"processes_of: {', '.join(more)}: more than processes, {self.processes}")
        return self

    @model_validator(mode="after")
    def _a_stage_that_can_offload(self) -> Self:
        if self.zero_stage < OFFLOADS[self.offload]:
            raise ValueError(f"offload {self.offload} needs zero_stage {OFFLOADS[self.offload]} or more")
        return self


StrategyChoice = TorchChoice | DeepSpeedChoice
"""How gradients become updates, and in how many processes; of it all, only `precision` is mathematics."""


Job = Literal["train", "generate"]
"""A kind of job that a scale says how to run: training runs, and evaluations."""


class Resources(Declared):
    """What a job asks of the machine."""

    gpu: Annotated[int, Field(ge=0)] = 0
    """GPUs."""
    mem_mb: Count = 1500
    """Main memory."""
    runtime: Count = 240
    """Minutes, after which a cluster ends the job."""
    threads: Count = 1
    """CPU cores."""
    disk_mb: Annotated[int, Field(ge=0)] = 0
    """Disk while it runs, two states to resume from among it; `--resources disk_mb=…` says how much there is in all."""


# Words, and no place-holder but {processes}. torchrun needs the last `--`, or it takes `--run` for one of its own.
Launcher = Annotated[str, Field(pattern=r"^([A-Za-z0-9_./:=@%+,-]|\{processes\}| )+ (-m|--module)( --)?$")]


class OwnFiles(Declared):
    """Data of your own: JSON lines {"question", "answer", "response"}, the response where there is one."""

    questions: LocalPath
    """RL prompts and validation questions. Those with a response are demonstrations too."""
    demonstrations: LocalPath | None = None
    """The demonstrations instead, a response in every row."""
    prompt: Annotated[str, AfterValidator(lambda name: choose("prompt", name, PROMPTS, "prompts.py"))] | None = None
    """How a question is asked, a name of reference_impl.text.prompts; left out: as in the domain's public data."""


class ScaleDomain(Declared):
    """A domain at a scale. Sizes that are left out are those of domains.yaml."""

    data: str
    """`sandbox`, or a module of pipelines/data."""
    data_options: DataOptions = Field(default_factory=dict)
    """Options of that module, without dashes; NAME: VALUE becomes one option per entry."""
    files: OwnFiles | None = None
    """Of `data: jsonl` only: your own files."""
    experts: Several[Name] | None = None
    """Sets of demonstrations that the data has; left out: all of domains.yaml."""
    policies: Roles[str]
    """Role → this scale's policy: one of the sandbox's, or a model of models.yaml."""
    judge: JudgeSettings | None = None
    """Of a judged reward and of judged tasks."""
    steps_divisor: FromOne
    """Steps of the paper to one of this scale."""
    learning_rate_factor: Positive | None = None
    """Instead of the scale's."""
    prompt_rows: Count | None = None
    """Instead of the domain's."""
    expert_rows: Count | None = None
    """Of the main set of demonstrations; the others keep the paper's proportion to it."""
    validation_rows: Count
    """Prompts of a validation."""
    validation_samples: Count = 1
    """Responses to each of them."""
    sft_batch: Count | None = None
    """Instead of the domain's."""
    rl_prompts: Count | None = None
    """Instead of the domain's."""
    group_size: GroupSize | None = None
    """Instead of the domain's; a method's own group keeps its proportion to it."""
    max_response_tokens: Count | None = None
    """Instead of the domain's."""
    tasks: Several[str]
    """What is evaluated: files of evaluation/tasks."""


class Evaluation(Declared):
    """Caps on evaluation, for scales that only exercise the code."""

    max_items: Count | None
    """Questions of a task; null: all."""
    max_samples: Count | None
    """Samples of a question; null: the task's."""
    engine_options: EngineOptions = EngineOptions()
    """Of an engine that has its GPU to itself."""


class Scale(Declared):
    """One file of scales/, or of your own: sizes, engine and hardware, never mathematics."""

    name: str = ""
    """That of the file, whatever stands here."""
    description: str
    """What it is for."""
    seeds: Several[Annotated[int, Field(ge=0)]]
    """Every run is trained once with each."""
    learning_rate_factor: Positive
    """What the paper's learning rates are multiplied by."""
    engine: Literal["fused", "transformers", "vllm"]
    """What samples rollouts. `fused` is `transformers` with a faster step for dense models in float32 on the CPU."""
    engine_options: EngineOptions = EngineOptions()
    """While a run trains."""
    tis_cap: Positive | None = None
    """Cap of truncated importance sampling between sampler and policy; null, as in the paper: without."""
    micro_batch_tokens: Count
    """Tokens of a forward and backward pass, padding included."""
    share_prompts: bool = False
    """An update computes the prompt of a group once, in packed rows: faster where prompts are not much shorter than
    responses. Without an effect for an architecture that cannot (sliding windows, soft-capping)."""
    rollout_batch: Count
    """Sequences that are sampled side by side."""
    sample_ahead: bool = False
    """Rollouts of the next step are sampled while an update runs, by the policy before it: off-policy by one update, as
    ratio and clipping of Eq. 2 then say. Not the paper's protocol; for GPUs that would wait for each other."""
    strategy: Annotated[StrategyChoice, Field(discriminator="kind")] = TorchChoice()
    """How gradients become updates, and in how many processes."""
    resources: dict[Job, Resources] = Field(default_factory=dict)
    """What the jobs of a kind (train, generate) ask of the machine."""
    launcher: dict[Job, Launcher] = Field(default_factory=dict)
    """What starts the module of a kind of job, {processes} being the strategy's; left out: python -m."""
    save_minutes: Positive | None = None
    """Longest time between two states that an interrupted run goes on from; null: those of its validations."""
    keep_checkpoints: Literal["all", "selected"] = "all"
    """`selected`: a grid's checkpoints are removed once every selection has copied the one that it chose."""
    tuned: SkipJsonSchema[Tuned | None] = Field(default=None, exclude=True)
    """What the scale's file of tuned/ says, whatever stands here."""
    file: SkipJsonSchema[str | None] = Field(default=None, exclude=True)
    """Where a file of the user's own lies, whatever stands here; None for the project's."""
    models: dict[Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")], LocalPath] = Field(default_factory=dict)
    """Models of your own, which `policies` may name → folder: config.json, safetensors, tokenizer, chat template."""
    domains: Annotated[dict[Name, ScaleDomain], Field(min_length=1)]
    """Those of domains.yaml that it has."""
    evaluation: Evaluation

    @property
    def asked_as(self) -> str:
        """What `--scale` of a command and `--config scale=` take."""
        return self.file or self.name

    def tuned_rate(self, domain: str, method: Method) -> float | None:
        """A method's tuned learning rate, in the paper's units; None where the scale has none for it."""
        return None if self.tuned is None else self.tuned.rate(domain, method.tuned_as)

    def strategy_of(self, policy: str) -> StrategyChoice:
        """How runs of a policy are updated."""
        if self.strategy.kind == "torch":
            return self.strategy
        number = self.strategy.processes_of.get(policy, self.strategy.processes)
        return self.strategy.model_copy(update={"processes": number, "processes_of": {}})

    @model_validator(mode="after")
    def _engine_and_processes_can_start(self) -> Self:
        for key, options in (
            ("engine_options", self.engine_options),
            ("evaluation.engine_options", self.evaluation.engine_options),
        ):
            if options.given() and self.engine != "vllm":
                raise ValueError(
                    f"{key}: {', '.join(options.given())}: engine {self.engine} has no options; only vllm has"
                )
        if self.sample_ahead and self.engine == "vllm" and not self.engine_options.gpus:
            raise ValueError(
                "sample_ahead with placement colocated: the engine sleeps while the update runs; "
                "engine_options: {placement: dedicated}, or sample_ahead: false"
            )
        gpus = self.resources.get("train", Resources()).gpu
        if 0 < gpus < 1 + self.engine_options.gpus:
            raise ValueError(
                f"placement dedicated: resources: {{train: {{gpu: {gpus}}}}}, but a training process and its engine "
                f"need {1 + self.engine_options.gpus}"
            )
        if self.strategy.processes > 1 and "{processes}" not in self.launcher.get("train", ""):
            raise ValueError(
                f"a strategy of {self.strategy.processes} processes needs a launcher: "
                "launcher: {train: torchrun --standalone --nproc-per-node {processes} -m --}"
            )
        return self
