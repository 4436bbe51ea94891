"""Check this machine for a scale, and say what to do.

    python -m pipelines.ops.doctor
    python -m pipelines.ops.doctor --scale paper

Python, packages, driver, CUDA, compilers, GPUs and their memory, NCCL, the machine's memory and limits, disk, the hub's
models, data and benchmarks, the judge. Every line is OK, WARN or FAIL; exit code 1 if one is FAIL. Nothing is
downloaded or changed, and no token, key or password is printed. Without a network the hub is a WARN:
models may be in a folder.
"""

import argparse
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.data.stages import STAGES, load_stage
from pipelines.ops.cost import Assumptions, load_assumptions
from pipelines.ops.estimate import Estimate, disk_needed, estimate_scale, placed_gpus
from pipelines.ops.machine import SHARED_MEMORY, Machine, Torch
from pipelines.plan import Plan, load_plan
from pipelines.plan.missing import missing_files
from pipelines.plan.own_data import check_own_data, own_domains, own_files
from pipelines.policy.models import load_models
from reference_impl.config import ScaleDomain, load_task
from reference_impl.config.judges import KEY_VARIABLE, LOOPBACK

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 11)
CPU_DISK_GB = 1.0
"""Free space that a scale without GPUs should find: its results are well below."""
SMOKE = "gpu-smoke"
"""The scale of `make gpu-smoke`."""
HUB = "https://huggingface.co"
DRIVERS = {12: 525, 13: 580}
"""CUDA → the oldest driver that serves all its minor versions (NVIDIA, "CUDA Compatibility")."""
OPEN_FILES = 65535
"""What vLLM raises its own limit to."""
SHARED_GB = 2.2
"""Of shared memory: what NCCL and workers use, and what one dedicated engine gets its weights through at a time."""
OFFLINE = ("1", "ON", "YES", "TRUE")
"""Values of HF_HUB_OFFLINE with which the hub's client asks nothing."""
MAKE_ENVIRONMENT = "conda env create --file environment.yml, and activate it"


@dataclass(frozen=True)
class Finding:
    """One line: OK, WARN or FAIL, what was looked at, what was found, and what to do."""

    level: str
    what: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what}: {self.found}" + (f"\n      → {self.advice}" if self.advice else "")


def read_pins(path: Path) -> dict[str, str]:
    """Distribution → version of a requirements file."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(re.split(r"==", line, maxsplit=1) for line in lines if "==" in line)


def check_packages(machine: Machine, pins: Mapping[str, str], source: str) -> Iterator[Finding]:
    """Python, and every pinned package: missing is FAIL, another version WARN."""
    python = ".".join(map(str, machine.python))
    good = machine.python[:2] >= PYTHON
    advice = "" if good else f"Python {'.'.join(map(str, PYTHON))} or later is needed"
    yield Finding("OK" if good else "FAIL", "Python", python, advice)
    found = {name: machine.version(name) for name in pins}
    missing = [name for name, version in found.items() if version is None]
    other = [f"{n} {v} (pinned {pins[n]})" for n, v in found.items() if v is not None and v.split("+")[0] != pins[n]]
    if missing:
        yield Finding("FAIL", "packages", f"missing: {', '.join(missing)}", f"install {source} (docs/environment.md)")
    if other:
        yield Finding(
            "WARN", "packages", f"other versions: {', '.join(other)}", f"install {source} for the pinned ones"
        )
    if not missing and not other:
        yield Finding("OK", "packages", f"{len(pins)} as pinned in {source}")


def check_cuda(machine: Machine, torch: Torch | None) -> Iterator[Finding]:
    """Driver, PyTorch's CUDA, and the compilers for what is compiled on first use."""
    driver, cuda = machine.driver(), torch.cuda if torch else None
    oldest = DRIVERS.get(int(cuda.split(".")[0])) if cuda else None
    if driver is None:
        advice = "install NVIDIA's driver, or use a machine with GPUs (on a cluster: a job, not the login node)"
        yield Finding("FAIL", "driver", "nvidia-smi answers nothing", advice)
    elif oldest and driver.split(".")[0].isdigit() and int(driver.split(".")[0]) < oldest:
        yield Finding("FAIL", "driver", f"{driver} is too old for CUDA {cuda}", f"install driver {oldest} or later")
    else:
        yield Finding("OK", "driver", driver)
    if torch is None:
        yield Finding("FAIL", "CUDA", "PyTorch cannot be imported", MAKE_ENVIRONMENT)
        return
    if cuda is None:
        yield Finding("FAIL", "CUDA", f"PyTorch {torch.version} has no CUDA", MAKE_ENVIRONMENT)
        return
    yield Finding("OK", "CUDA", f"{cuda} in PyTorch {torch.version}")
    nvcc, compiler = machine.nvcc(), machine.compiler()
    if nvcc == cuda and compiler is not None:
        yield Finding("OK", "compilers", f"nvcc {nvcc}, {compiler}")
    else:
        advice = f"activate the conda environment, which has both, or set CUDA_HOME to CUDA {cuda} and CXX"
        found = f"nvcc {nvcc or 'missing'} for CUDA {cuda}, C++ compiler {compiler or 'missing'}"
        yield Finding("WARN", "compilers", f"{found}: kernels of vLLM that are compiled on first use fail", advice)


def check_gpus(machine: Machine, torch: Torch, plan: Plan, rows: Sequence[Estimate]) -> Iterator[Finding]:
    """GPUs, their memory, NCCL: what the scale's largest job needs."""
    needed = max(plan.options.resources(kind)["gpu"] for kind in ("train", "generate"))
    processes, placed, asked = (
        plan.choice.scale.strategy.processes,
        placed_gpus(plan),
        plan.options.resources("train")["gpu"],
    )
    if placed > asked:
        found = f"{processes} processes and their engines need {placed} GPUs, resources.train.gpu is {asked}"
        advice = f"resources: {{train: {{gpu: {placed}}}}} in the scale"
        if "--standalone" in plan.options.launcher("train").split():
            yield Finding("FAIL", "placement", found, advice)
        else:
            advice = f"right if the launcher starts them on several machines, of which each has {asked}; else {advice}"
            yield Finding("WARN", "placement", found, advice)
    names = ", ".join(f"{name} {memory:.0f} GB" for name, memory in torch.gpus) or "none"
    visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
    limit = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible}"
    if len(torch.gpus) < needed:
        advice = f"scale {plan.choice.scale.name} needs {needed} on one machine: another one, or a smaller scale"
        yield Finding("FAIL", "GPUs", f"{len(torch.gpus)} usable ({names}{limit})", advice)
        return
    yield Finding("OK", "GPUs", f"{len(torch.gpus)} usable ({names}{limit}), {needed} needed")
    memory, smallest = max(row.memory_gb for row in rows), min(memory for _, memory in torch.gpus)
    found = f"{smallest:.0f} GB, estimated need {memory:.0f} GB"
    if smallest < memory:
        advice = (
            "a higher zero_stage, offload, fewer micro_batch_tokens or a smaller gpu_memory_utilization in the scale; "
            "what the estimate takes the GPU to be is in pipelines/config/estimate.yaml"
        )
        yield Finding("FAIL", "GPU memory", found, advice)
    else:
        yield Finding("OK", "GPU memory", found)
    if processes > 1 and torch.nccl is None:
        yield Finding("FAIL", "NCCL", "PyTorch has none", MAKE_ENVIRONMENT)
    elif torch.nccl is not None:
        yield Finding("OK", "NCCL", torch.nccl)


def check_limits(machine: Machine, plan: Plan) -> Iterator[Finding]:
    """Memory, shared memory and open files: what a container or a batch system often keeps short."""
    memory, asked = machine.memory_gb(), plan.options.resources("train")["mem_mb"] / 1000
    found, advice = (
        f"{memory:.0f} GB, a run asks for {asked:.0f}",
        "a larger machine, or less in resources.train.mem_mb",
    )
    yield Finding("OK", "memory", found) if memory >= asked else Finding("WARN", "memory", found, advice)
    dedicated = plan.choice.scale.engine_options.placement == "dedicated"
    shared, needed = (
        machine.free_gb(SHARED_MEMORY),
        SHARED_GB * (plan.choice.scale.strategy.processes if dedicated else 1),
    )
    found, advice = f"{shared:.1f} GB free, {needed:.1f} needed", "in a container: --shm-size 16g, or --ipc host"
    yield Finding("OK", "shared memory", found) if shared >= needed else Finding("FAIL", "shared memory", found, advice)
    files = machine.open_files()
    found, advice = f"{files} at most", f"let the administrator raise it: `ulimit -Hn` should be {OPEN_FILES} or more"
    yield Finding("OK", "open files", found) if files >= OPEN_FILES else Finding("WARN", "open files", found, advice)


def check_disk(machine: Machine, plan: Plan, rows: Sequence[Estimate]) -> Finding:
    """Free space where results are written."""
    needed = sum(disk_needed(rows)) if rows else CPU_DISK_GB
    free = machine.free_gb(ROOT)
    found = f"{free:,.0f} GB free, estimated need of everything {needed:,.0f} GB"
    if free >= needed:
        return Finding("OK", "disk", found)
    advice = "make room, make `results` a link to a larger disk, or make fewer targets (make estimate)"
    return Finding("FAIL", "disk", found, advice)


@dataclass(frozen=True)
class Pinned:
    """Something on the hub: its name, what is asked for, the commit, and what to do without the hub or a commit."""

    name: str
    path: str
    revision: str | None
    instead: str
    pin: str = ""


def on_hub(plan: Plan) -> Iterator[Pinned]:
    """Models, benchmarks and training data of a scale."""
    models = load_models()
    for model in (models[name] for name in plan.choice.hub_policies if name in models):
        path = f"{model.repository}/resolve/{model.revision}/config.json"
        instead, pin = (f"--config policies='{{{model.name}: {what}}}'" for what in ("FOLDER", "HASH"))
        if model.repository is not None:
            yield Pinned(model.repository, path, model.revision, instead, pin)
    for task in dict.fromkeys(task for sizes in plan.choice.scale.domains.values() for task in sizes.tasks):
        data = load_task(task).data
        if data.source == "hub":
            path = f"api/datasets/{data.repository}/revision/{data.revision}"
            yield Pinned(data.repository, path, data.revision, f"--config data='{{{task}: FILE}}'")
    for domain, sizes in plan.choice.scale.domains.items():
        if sizes.data in STAGES:
            yield from _training_data(domain, sizes)


def _training_data(domain: str, sizes: ScaleDomain) -> Iterator[Pinned]:
    """The sources of a domain's data that are not the user's own files, at his revision or the pinned one."""
    own, revisions = sizes.data_options.get("local", {}), sizes.data_options.get("revision", {})
    pools = load_stage(sizes.data).pools
    for name, source in ((name, pool.source) for name, pool in pools.items() if name not in own):
        revision = revisions.get(name, source.revision)
        path = f"api/datasets/{source.repository}/revision/{revision}"
        instead, pin = (
            f"--config data_options='{{{domain}: {{{option}: {{{name}: {what}}}}}}}' (--{option} {name}={what})"
            for option, what in (("local", "PATH"), ("revision", "HASH"))
        )
        yield Pinned(f"{source.repository} ({name})", path, revision, instead, pin)


def check_hub(machine: Machine, plan: Plan) -> Iterator[Finding]:
    """Whether each model, benchmark and data set can be had at its pinned revision, without downloading it.

    Who cannot be reached is asked once: a firewall that drops packets costs its time limit every time.
    """
    endpoint = machine.environment.get("HF_ENDPOINT", HUB).rstrip("/")
    token = machine.token()
    wanted = list(on_hub(plan))
    if wanted and machine.environment.get("HF_HUB_OFFLINE", "").upper() in OFFLINE:
        advice = (
            f"what is not in the hub's cache must be a file or folder: {', '.join(item.instead for item in wanted)}"
        )
        yield Finding("WARN", "hub", f"not asked for {len(wanted)} repositories (HF_HUB_OFFLINE)", advice)
        return
    for item in wanted:
        what, bring = f"hub, {item.name}", f"or bring it: {item.instead}"
        if item.revision is None:
            advice = f"give a commit hash: {item.pin}, {bring}"
            yield Finding("WARN", what, "no pinned revision", advice)
            continue
        answer = machine.ask(f"{endpoint}/{item.path}", token)
        status = answer.status
        if status is None:
            advice = "check network, proxy and HF_ENDPOINT, or bring models, data and benchmarks (docs/scales.md)"
            yield Finding("WARN", "hub", f"cannot be reached ({answer.problem})", advice)
            return
        if status in (401, 403):
            said = "without a token" if token is None else "the token has no access"
            advice = f"accept its licence and set HF_TOKEN, {bring}"
            yield Finding("FAIL", what, f"refused ({status}), {said}", advice)
        elif status == 404:
            yield Finding("FAIL", what, f"revision {item.revision} is not there", bring)
        elif status < 400:
            yield Finding("OK", what, f"revision {item.revision[:12]} is there")
        else:
            yield Finding("WARN", what, f"answers {status}", "try again later, " + bring)


def check_own(plan: Plan) -> Iterator[Finding]:
    """Whether the user's own training files are sound, and what only the user can bring is there."""
    if domains := own_domains(plan.choice):
        what = f"your data of {', '.join(domains)}"
        try:
            check_own_data(plan.choice)
        except ValueError as error:
            yield Finding(
                "FAIL", what, str(error), "mend the files, or what the scale says of them (docs/own_model.md)"
            )
        else:
            yield Finding("OK", what, ", ".join(path for name in domains for path in own_files(plan.choice, name)))
    for sentence in missing_files(plan.choice):
        what, _, how = sentence.partition(": ")
        yield Finding("WARN", what, how)


def check_judges(machine: Machine, plan: Plan) -> Iterator[Finding]:
    """Whether every judge over HTTP answers at all."""
    for name, sizes in plan.choice.scale.domains.items():
        if sizes.judge is None or sizes.judge.kind != "http":
            continue
        url, what = sizes.judge.url, f"judge of {name}"
        shown, key = _without_secrets(url), machine.environment.get(KEY_VARIABLE)
        parts = urllib.parse.urlsplit(url)
        if key is not None and parts.scheme != "https" and parts.hostname not in LOOPBACK:
            found = f"{shown} is not asked: {KEY_VARIABLE} would go there unencrypted, and a run refuses to send it"
            yield Finding("FAIL", what, found, f"an https address in the scale's file, or unset {KEY_VARIABLE}")
            continue
        answer = machine.ask(url.rstrip("/") + "/models", key)
        if answer.status is None:
            advice = "start the server of docs/judge.md, or put its address into the scale's file"
            yield Finding("FAIL", what, f"{shown} cannot be reached ({answer.problem})", advice)
        elif answer.status in (401, 403):
            yield Finding("FAIL", what, f"{shown} refuses ({answer.status})", f"set {KEY_VARIABLE} to the server's key")
        else:
            # Servers that have no HEAD answer 404 or 405: they are there.
            yield Finding("OK", what, f"{shown} answers")


def _without_secrets(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def examine(plan: Plan, machine: Machine, assumptions: Assumptions) -> list[Finding]:
    """All findings for a scale."""
    on_gpu = plan.options.resources("train")["gpu"] > 0
    names = ("gpu.txt",) if on_gpu else ("torch.txt", "base.txt")
    pins = {name: pin for file in names for name, pin in read_pins(ROOT / "requirements" / file).items()}
    findings = list(check_packages(machine, pins, " and ".join(f"requirements/{name}" for name in names)))
    torch = machine.torch() if on_gpu else None
    if torch is not None and torch.gpus:  # an engine takes its share of the memory that there is
        smallest = min(memory for _, memory in torch.gpus)
        assumptions = assumptions.model_copy(update={"memory_gb": smallest})
    rows = estimate_scale(plan, "everything", assumptions) if on_gpu else []
    if on_gpu:
        findings += check_cuda(machine, torch)
        findings += check_gpus(machine, torch, plan, rows) if torch and torch.cuda else []
        findings += check_limits(machine, plan)
    findings.append(check_disk(machine, plan, rows))
    findings += check_own(plan)
    findings += check_hub(machine, plan)
    findings += check_judges(machine, plan)
    return findings


def main(argv: Sequence[str] | None = None, machine: Machine | None = None) -> None:
    """Print the findings; exit code 1 if one is FAIL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="mini", help="the scale that the machine is for (default mini)")
    arguments = parser.parse_args(argv)
    try:
        plan = load_plan({"scale": arguments.scale})
        findings = examine(plan, machine or Machine(), load_assumptions())
    except ImportError as error:  # a stage of training data reads parquet
        sys.exit(f"error: {error}: {MAKE_ENVIRONMENT}")
    except ValueError as error:
        sys.exit(f"error: {error}")
    for finding in findings:
        print(finding)
    failed = sum(finding.level == "FAIL" for finding in findings)
    print(f"scale {arguments.scale}: {failed} FAIL, {sum(finding.level == 'WARN' for finding in findings)} WARN")
    if failed:
        sys.exit(1)
    if plan.options.resources("train")["gpu"] and plan.choice.scale.name != SMOKE:
        print("before the first long run: make gpu-smoke (ten minutes on one GPU; docs/gpu.md)")


if __name__ == "__main__":
    main()
