"""The first contact with a GPU: the scale gpu-smoke part by part, which part fails, and which way back helps.

    python -m pipelines.ops.gpu_smoke
    python -m pipelines.ops.gpu_smoke --policy models/Qwen2.5-0.5B-Instruct
    python -m pipelines.ops.gpu_smoke --back transformers --only inputs math

Where a part fails, the ways back that concern it (docs/gpu.md) are tried, one after another, until one works; the parts
after it take that one too. Logs and the report are in results/gpu-smoke/smoke. Exit code 1 if a part fails.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR, choose
from reference_impl.files import read_jsonl, write_json, write_text

SCALE = "gpu-smoke"
RUN = "chord_phi"
RESULTS = Path("results") / SCALE
WORK = RESULTS / "smoke"
LIMIT_S = 300.0
"""Of one command: what hangs is a failure too."""
GRACE_S = 60.0
"""For a command that was asked to end."""
OVER_TIME = 124
"""The status of a command that was ended at its limit, as timeout(1) has it."""


@dataclass(frozen=True)
class Way:
    """A way back: what else the scale says (None: the key is left out), and the environment."""

    says: str
    """What to write into a scale, or to export."""
    scale: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


EAGER = {"enforce_eager": True}
NO_VLLM = {"engine": "transformers", "engine_options": None, "evaluation": {"engine_options": None}}
NO_DEEPSPEED = {"strategy": None, "launcher": None}
WAYS = {
    "eager": Way(
        "engine_options: {enforce_eager: true}, also of evaluation (no compilation, no CUDA graphs)",
        {"engine_options": EAGER, "evaluation": {"engine_options": EAGER}},
    ),
    "runner": Way(
        "export VLLM_USE_V2_MODEL_RUNNER=0 (vLLM's older runner)", environment={"VLLM_USE_V2_MODEL_RUNNER": "0"}
    ),
    "awake": Way(
        "engine_options: {sleep: false} (memory for engine and update at once)", {"engine_options": {"sleep": False}}
    ),
    "torch": Way("no strategy and no launcher in the scale (plain torch, float32, one GPU)", NO_DEEPSPEED),
    "transformers": Way("engine: transformers, without engine_options (slower sampling)", NO_VLLM),
    "plain": Way("engine: transformers and no strategy (neither vLLM nor DeepSpeed)", {**NO_VLLM, **NO_DEEPSPEED}),
}
"""The ways back, by name."""


@dataclass(frozen=True)
class Command:
    """One process."""

    words: Sequence[str]
    writes: Path | None = None
    """A folder that is removed before the part."""
    until: Path | None = None
    """It gets SIGTERM once this file has a line."""


@dataclass(frozen=True)
class Setting:
    """What commands are made for: a way back or none, the folder that takes what they write, the user's policy."""

    back: str | None
    out: Path
    policy: str | None = None

    @property
    def name(self) -> str:
        """The scale's only policy."""
        return "smoke-qwen2"

    def declarations(self) -> Path:
        """The folder of the declarations: the repository's, or a copy in which the scale takes the way back."""
        if self.back is None or not WAYS[self.back].scale:
            return CONFIG_DIR
        folder = self.out / "config"
        shutil.copytree(CONFIG_DIR, folder, dirs_exist_ok=True)
        path = folder / "scales" / f"{SCALE}.yaml"
        scale = changed(yaml.safe_load(path.read_text(encoding="utf-8")), WAYS[self.back].scale)
        write_text(path, yaml.safe_dump(scale, sort_keys=False))
        return folder

    def snakemake(self, *targets: str) -> Command:
        """A call of the workflow, at the scale as it is."""
        given = [] if self.policy is None else [f"policies={{{self.name}: {self.policy}}}"]
        # Also where there is one of an earlier call: to be tried is what it is for.
        options = [
            "--cores",
            "4",
            "--forcerun",
            "generate",
            "--resources",
            "gpu=1",
            "--config",
            f"scale={SCALE}",
            *given,
        ]
        return Command([sys.executable, "-m", "snakemake", *targets, *options])

    def train(self, domain: str, seed: int, until: bool = False) -> Command:
        """A training run, started as the workflow starts it."""
        root = self.declarations()
        start = load_plan({"scale": SCALE, "mine": ""}, root).options.start_training(domain, RUN)
        out = self.run(domain, seed)
        words = [*start.split(), "reference_impl.train", "--run", RUN, "--domain", domain, "--scale", SCALE]
        words += ["--seed", str(seed), "--policy", str(RESULTS / "policies" / self.name)]
        words += ["--data", str(RESULTS / "data" / domain), "--out", str(out), "--declarations", str(root)]
        return Command(words, out, out / "metrics.jsonl" if until else None)

    def evaluate(self, domain: str, checkpoint: Path) -> Command:
        """An evaluation of a checkpoint."""
        root = self.declarations()
        words = load_plan({"scale": SCALE, "mine": ""}, root).options.start_sampling().split()
        words += ["evaluation.generate", "--checkpoint", str(checkpoint), "--domain", domain, "--method", RUN]
        words += ["--scale", SCALE, "--seed", "0", "--benchmarks", str(RESULTS / "benchmarks")]
        out = self.out / f"samples-{domain}"
        return Command([*words, "--out", str(out), "--declarations", str(root)], out)

    def run(self, domain: str, seed: int) -> Path:
        """The folder of a training run."""
        return self.out / f"{domain}-seed{seed}"


def changed(scale: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A scale's document with changes, key by key; None takes a key out."""
    merged = dict(scale)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = changed(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def resumed(setting: Setting) -> str | None:
    """What is wrong with the run that was interrupted and called again; None: nothing."""
    record = setting.run("math", 1)
    steps = [line["step"] for line in read_jsonl(record / "metrics.jsonl")]
    if steps != list(range(1, len(steps) + 1)) or not (record / "run.json").is_file():
        return f"its steps are {steps}"
    return None


def sampled(setting: Setting) -> list[Command]:
    """The policy is evaluated: by the workflow, or with a way back."""
    if setting.back is None:
        return [setting.snakemake(f"{RESULTS}/scores/tool/original/seed0.parquet")]
    return [setting.evaluate("tool", RESULTS / "policies" / setting.name)]


def trained() -> Path:
    """The checkpoint of the part math, with whichever way back it was made."""
    done = sorted(WORK.glob("*/math-seed0/run.json"))
    return (done[-1].parent if done else WORK / "as-declared" / "math-seed0") / "best"


ENGINE_WAYS = ("eager", "runner", "transformers")
TRAINING_WAYS = ("eager", "awake", "runner", "torch", "transformers", "plain")


@dataclass(frozen=True)
class Part:
    """One part: its commands, what must be there before it, and the ways back that concern it."""

    shows: str
    commands: Callable[[Setting], list[Command]]
    ways: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    check: Callable[[Setting], str | None] = lambda setting: None


INPUTS = (
    f"{RESULTS}/policies/smoke-qwen2/manifest.json",
    *(f"{RESULTS}/data/{domain}/checked-main.json" for domain in ("math", "tool")),
    f"{RESULTS}/benchmarks",
)
PARTS = {
    "machine": Part(
        "driver, CUDA, packages, memory",
        lambda setting: [Command([sys.executable, "-m", "pipelines.ops.doctor", "--scale", SCALE])],
    ),
    "inputs": Part("policy, data, benchmarks; no GPU", lambda setting: [setting.snakemake(*INPUTS)]),
    "sampling": Part("vLLM alone, by the workflow", sampled, ENGINE_WAYS, ("inputs",)),
    "math": Part(
        "CHORD on math: vLLM asleep and awake, DeepSpeed, weight sync",
        lambda setting: [setting.train("math", 0)],
        TRAINING_WAYS,
        ("inputs",),
    ),
    "tool": Part("CHORD on tool use", lambda setting: [setting.train("tool", 0)], TRAINING_WAYS, ("inputs",)),
    "resume": Part(
        "a run that gets SIGTERM and is called again",
        lambda setting: [setting.train("math", 1, until=True), setting.train("math", 1)],
        TRAINING_WAYS,
        ("inputs",),
        resumed,
    ),
    "evaluation": Part(
        "the trained checkpoint, by an engine with the GPU to itself",
        lambda setting: [setting.evaluate("math", trained())],
        ENGINE_WAYS,
        ("math",),
    ),
}
"""The parts in their order."""

Execute = Callable[[Command, Path, Mapping[str, str]], int]


def execute(command: Command, log: Path, environment: Mapping[str, str]) -> int:
    """Run a command with its output in ``log``, in a session of its own; returns its status, OVER_TIME at its limit."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command.words, stdout=output, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
        )
    deadline, asked = time.monotonic() + LIMIT_S, False
    while process.poll() is None and time.monotonic() < deadline:
        if command.until is not None and not asked and command.until.is_file() and command.until.stat().st_size:
            process.send_signal(signal.SIGTERM)
            asked = True
        time.sleep(0.1)
    if process.poll() is not None:
        return process.returncode
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            process.wait(GRACE_S)
            break
        except subprocess.TimeoutExpired:
            continue
    return OVER_TIME


@dataclass(frozen=True)
class Found:
    """What became of a part with one way back, or none."""

    part: str
    back: str | None
    problem: str | None
    """None: it works."""
    seconds: float
    log: str


def attempt(name: str, setting: Setting, run: Execute) -> Found:
    """Do a part once."""
    part, started = PARTS[name], time.monotonic()
    log = setting.out / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    environment |= WAYS[setting.back].environment if setting.back else {}
    problem, commands = None, part.commands(setting)
    for folder in {command.writes for command in commands if command.writes is not None}:
        shutil.rmtree(folder, ignore_errors=True)
    for command in commands:
        status = run(command, log, environment)
        if command.until is not None:
            if not (command.until.parent / "state").is_dir():
                problem = f"asked to end, it left no state (status {status})"
        elif status != 0:
            problem = "took too long" if status == OVER_TIME else f"status {status}: {last_error(log)}"
        if problem is not None:
            break
    problem = problem or part.check(setting)
    return Found(name, setting.back, problem, round(time.monotonic() - started, 1), str(log))


def last_error(log: Path) -> str:
    """The last line of a log that names an error, or the last one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines if "rror" in line or line.startswith("FAIL")]
    return (errors or lines or ["it said nothing"])[-1][:300]


def go_through(
    names: Sequence[str], back: str | None, policy: str | None, run: Execute, say: Callable[[str], None]
) -> list[Found]:
    """Do the parts in their order; ``say`` gets every line of the report as it is found."""
    found: list[Found] = []
    failed: set[str] = set()
    for name in (name for name in PARTS if name in names):
        missing = failed & set(PARTS[name].needs)
        if missing:
            failed.add(name)
            found.append(Found(name, back, f"not tried: it needs {', '.join(sorted(missing))}", 0.0, ""))
            say(line(found[-1]))
            continue
        found.append(attempt(name, Setting(back, _folder(back), policy), run))
        say(line(found[-1]))
        if found[-1].problem is None:
            continue
        helps = None
        for way in (way for way in PARTS[name].ways if way != back):
            found.append(attempt(name, Setting(way, _folder(way), policy), run))
            say(line(found[-1]))
            if found[-1].problem is None:
                say(f"        → {WAYS[way].says}")
                helps = back = way
                break
        if helps is None:
            failed.add(name)
    return found


def _folder(back: str | None) -> Path:
    return WORK / (back or "as-declared")


def line(found: Found) -> str:
    """One line of the report."""
    what = f"{found.part}{f', with {found.back}' if found.back else ''}"
    if found.problem is None:
        return f"ok      {what}: {PARTS[found.part].shows}, {found.seconds:.0f} s"
    where = f" ({found.log})" if found.log else ""
    return f"FAILED  {what}: {found.problem}{where}"


def main(argv: Sequence[str] | None = None, run: Execute = execute) -> None:
    """Go through the parts, print the report and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PART", help=f"of {', '.join(PARTS)}; left out: all")
    parser.add_argument("--back", metavar="WAY", help=f"begin with a way back: {', '.join(WAYS)}")
    parser.add_argument("--policy", metavar="FOLDER", help="a model of yours in the place of the random one")
    arguments = parser.parse_args(argv)
    try:
        names = [choose("part", name, PARTS, "gpu-smoke") for name in arguments.only or PARTS]
        if arguments.back is not None:
            choose("way back", arguments.back, WAYS, "gpu-smoke")
    except ValueError as error:
        sys.exit(f"error: {error}")
    started = time.monotonic()
    found = go_through(names, arguments.back, arguments.policy, run, lambda text: print(text, flush=True))
    write_json(WORK / "report.json", {"parts": [asdict(part) for part in found]})
    works = [name for name in names if any(part.part == name and part.problem is None for part in found)]
    declared = [part for part in found if part.problem is None and part.back is None]
    print(
        f"{len(works)} of {len(names)} parts work, {len(declared)} of them as declared, in "
        f"{time.monotonic() - started:.0f} s; the report: {WORK / 'report.json'}"
    )
    if any(part.problem is not None for part in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
