"""Check this machine for a scale, and say what to do.

    python -m pipelines.doctor
    python -m pipelines.doctor --scale paper

Python, packages, driver, GPUs and their memory, NCCL, disk, the hub's models, the judge. Every line is OK, WARN or
FAIL; exit code 1 if one is FAIL. Nothing is downloaded or changed, and no token, key or password is printed. Without a
network the hub is a WARN: models may be in a folder.
"""

import argparse
import http.client
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipelines.estimate import Assumptions, Estimate, disk_needed, estimate_scale, load_assumptions
from pipelines.origins import Model, load_models
from pipelines.plan import Plan, load_plan

ROOT = Path(__file__).resolve().parents[1]
PYTHON = (3, 11)
CPU_DISK_GB = 1.0
"""Free space that a scale without GPUs should find: its results are well below."""
TIMEOUT_S = 10.0
HUB = "https://huggingface.co"
JUDGE_KEY = "CHORD_JUDGE_API_KEY"


@dataclass(frozen=True)
class Finding:
    """One line: OK, WARN or FAIL, what was looked at, what was found, and what to do."""

    level: str
    what: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what}: {self.found}" + (f"\n      → {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class Torch:
    """What PyTorch says of itself and of the machine."""

    version: str
    cuda: str | None
    nccl: str | None
    gpus: tuple[tuple[str, float], ...]
    """(name, GB) of each GPU that it can use."""


@dataclass(frozen=True)
class Answer:
    """Of an HTTP server: its status, or why there is none."""

    status: int | None
    problem: str = ""


def installed_version(name: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def look_at_torch() -> Torch | None:
    """None where PyTorch cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a library of the driver is missing
        return None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    properties = [torch.cuda.get_device_properties(index) for index in range(count)]
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if count else None
    gpus = tuple((found.name, found.total_memory / 1e9) for found in properties)
    return Torch(torch.__version__, torch.version.cuda, nccl, gpus)


def driver_version() -> str | None:
    """As nvidia-smi gives it; None without a driver."""
    command = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return listed.splitlines()[0].strip() if listed.strip() else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: following it would send the token to another server."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def ask(url: str, token: str | None) -> Answer:
    """A HEAD request."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as reply:
            return Answer(reply.status)
    except urllib.error.HTTPError as error:
        return Answer(error.code)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return Answer(None, type(reason).__name__)  # its text may hold the address with a password


@dataclass(frozen=True)
class Machine:
    """How the machine is looked at; tests bring their own."""

    python: tuple[int, ...] = tuple(sys.version_info[:3])
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    version: Callable[[str], str | None] = installed_version
    torch: Callable[[], Torch | None] = look_at_torch
    driver: Callable[[], str | None] = driver_version
    free_gb: Callable[[Path], float] = lambda path: shutil.disk_usage(path).free / 1e9
    ask: Callable[[str, str | None], Answer] = ask


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


def check_gpus(machine: Machine, plan: Plan, rows: Sequence[Estimate]) -> Iterator[Finding]:
    """Driver, CUDA, GPUs, their memory, NCCL: what the scale's largest job needs."""
    needed = max(plan.resources(kind)["gpu"] for kind in ("train", "generate"))
    driver, torch = machine.driver(), machine.torch()
    if driver is None:
        yield Finding(
            "FAIL", "driver", "nvidia-smi answers nothing", "install NVIDIA's driver, or use a machine with GPUs"
        )
    else:
        yield Finding("OK", "driver", driver)
    if torch is None:
        yield Finding("FAIL", "CUDA", "PyTorch cannot be imported", "conda env create --file environment.yml")
        return
    if torch.cuda is None:
        yield Finding("FAIL", "CUDA", f"PyTorch {torch.version} has no CUDA", "conda env create --file environment.yml")
        return
    yield Finding("OK", "CUDA", f"{torch.cuda} in PyTorch {torch.version}")
    names = ", ".join(f"{name} {memory:.0f} GB" for name, memory in torch.gpus) or "none"
    if len(torch.gpus) < needed:
        advice = f"scale {plan.scale.name} needs {needed} on one machine: another one, or a smaller scale"
        yield Finding("FAIL", "GPUs", f"{len(torch.gpus)} usable ({names})", advice)
        return
    yield Finding("OK", "GPUs", f"{len(torch.gpus)} usable ({names}), {needed} needed")
    memory, smallest = max(row.memory_gb for row in rows), min(memory for _, memory in torch.gpus)
    if smallest < memory:
        advice = (
            "a higher zero_stage, offload, fewer micro_batch_tokens or a smaller gpu_memory_utilization in the scale"
        )
        yield Finding("FAIL", "GPU memory", f"{smallest:.0f} GB, estimated need {memory:.0f} GB", advice)
    else:
        yield Finding("OK", "GPU memory", f"{smallest:.0f} GB, estimated need {memory:.0f} GB")
    if plan.scale.strategy.processes > 1 and torch.nccl is None:
        yield Finding("FAIL", "NCCL", "PyTorch has none", "conda env create --file environment.yml")
    elif torch.nccl is not None:
        yield Finding("OK", "NCCL", torch.nccl)


def check_disk(machine: Machine, plan: Plan, rows: Sequence[Estimate]) -> Finding:
    """Free space where results are written."""
    needed = sum(disk_needed(rows)) if rows else CPU_DISK_GB
    free = machine.free_gb(ROOT)
    found = f"{free:,.0f} GB free, estimated need of everything {needed:,.0f} GB"
    if free >= needed:
        return Finding("OK", "disk", found)
    advice = "make room, make `results` a link to a larger disk, or make fewer targets (make estimate)"
    return Finding("FAIL", "disk", found, advice)


def check_hub(machine: Machine, models: Iterable[Model]) -> Iterator[Finding]:
    """Whether each model's configuration can be had at its pinned revision, without downloading it."""
    endpoint = machine.environment.get("HF_ENDPOINT", HUB).rstrip("/")
    token = machine.environment.get("HF_TOKEN")
    for model in models:
        bring = f"or bring a folder: --config policies='{{{model.name}: FOLDER}}'"
        what = f"hub, {model.repository}"
        if model.revision is None:
            advice = f"give a commit hash: --config policies='{{{model.name}: HASH}}', {bring}"
            yield Finding("WARN", what, "no pinned revision", advice)
            continue
        answer = machine.ask(f"{endpoint}/{model.repository}/resolve/{model.revision}/config.json", token)
        status = answer.status
        if status is None:
            advice = f"check network and proxy, {bring}"
            yield Finding("WARN", what, f"cannot be reached ({answer.problem})", advice)
        elif status in (401, 403):
            said = "HF_TOKEN is not set" if token is None else "the token in HF_TOKEN has no access"
            yield Finding("FAIL", what, f"refused ({status}), {said}", f"accept its licence and set HF_TOKEN, {bring}")
        elif status == 404:
            yield Finding("FAIL", what, f"revision {model.revision} is not there", bring)
        elif status < 400:
            yield Finding("OK", what, f"revision {model.revision[:12]} is there")
        else:
            yield Finding("WARN", what, f"answers {status}", "try again later, " + bring)


def check_judges(machine: Machine, plan: Plan) -> Iterator[Finding]:
    """Whether every judge over HTTP answers at all."""
    for name, sizes in plan.scale.domains.items():
        if sizes.judge.get("kind") != "http":
            continue
        url, what = sizes.judge["url"], f"judge of {name}"
        shown = _without_secrets(url)
        answer = machine.ask(url.rstrip("/") + "/models", machine.environment.get(JUDGE_KEY))
        if answer.status is None:
            advice = "start the server of docs/judge.md, or put its address into the scale's file"
            yield Finding("FAIL", what, f"{shown} cannot be reached ({answer.problem})", advice)
        elif answer.status in (401, 403):
            yield Finding("FAIL", what, f"{shown} refuses ({answer.status})", f"set {JUDGE_KEY} to the server's key")
        else:
            # Servers that have no HEAD answer 404 or 405: they are there.
            yield Finding("OK", what, f"{shown} answers")


def _without_secrets(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def examine(plan: Plan, machine: Machine, assumptions: Assumptions) -> list[Finding]:
    """All findings for a scale."""
    on_gpu = plan.resources("train")["gpu"] > 0
    names = ("gpu.txt",) if on_gpu else ("torch.txt", "base.txt")
    pins = {name: pin for file in names for name, pin in read_pins(ROOT / "requirements" / file).items()}
    findings = list(check_packages(machine, pins, " and ".join(f"requirements/{name}" for name in names)))
    rows = estimate_scale(plan, "everything", assumptions) if on_gpu else []
    if on_gpu:
        findings += check_gpus(machine, plan, rows)
    findings.append(check_disk(machine, plan, rows))
    findings += check_hub(machine, [load_models()[name] for name in plan.hub_policies])
    findings += check_judges(machine, plan)
    return findings


def main(argv: Sequence[str] | None = None, machine: Machine | None = None) -> None:
    """Print the findings; exit code 1 if one is FAIL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="mini", help="the scale that the machine is for (default mini)")
    arguments = parser.parse_args(argv)
    try:
        findings = examine(load_plan({"scale": arguments.scale}), machine or Machine(), load_assumptions())
    except ValueError as error:
        sys.exit(f"error: {error}")
    for finding in findings:
        print(finding)
    failed = sum(finding.level == "FAIL" for finding in findings)
    print(f"scale {arguments.scale}: {failed} FAIL, {sum(finding.level == 'WARN' for finding in findings)} WARN")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
