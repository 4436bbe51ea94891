"""Measure the project against its peers and limits, and write docs/benchmarks.md: `make bench`.

    python -m pipelines.ops.bench --only rollouts updates

Parts that are not measured now keep what they found before.
"""

import argparse
import importlib
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from pipelines.data.sandbox import write_benchmarks, write_domain
from pipelines.policy.shipped import install
from pipelines.sandbox.policies import SHIPPED
from reference_impl.benchmarks.pairs import REPETITIONS, Line, keep, kept, table
from reference_impl.benchmarks.setting import DOMAIN, SCALE, Setting
from reference_impl.files import write_text

POLICY = "sandbox-math"
PARTS = {
    "steps": "reference_impl.benchmarks.against_trl",
    "rollouts": "reference_impl.benchmarks.rollouts",
    "updates": "reference_impl.benchmarks.updates",
    "evaluations": "evaluation.benchmark",
    "logprobs": "reference_impl.benchmarks.logprobs",
    "workers": "reference_impl.benchmarks.workers",
}
"""Part → module with ``lines``, in the order of the page."""
PACKAGES = ("torch", "transformers", "trl", "math-verify")

PAGE = """# Benchmarks

Written by `make bench`. Every line compares ways of doing the same in one run on one machine, in turns, on one core and
in float32: a repetition gives one ratio, of CPU seconds where nothing else is said. Setting: the sandbox's math policy,
at the *start* as shipped, *trained* after GRPO's run at scale `mini`; a step's prompts, rollouts, demonstrations and
the limit of a response, are that scale's. What was tried and did not pay: [speed.md](speed.md).

{table}

Measured with {versions}.{missing}
"""


def versions() -> dict[str, str]:
    """What a ratio depends on."""
    return {
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def prepare(folder: Path) -> Setting:
    """What is measured on, made where ``folder`` does not hold it yet: a minute or two, for GRPO's run."""
    setting = Setting(folder)
    if not (setting.start / "config.json").is_file():
        install(SHIPPED / POLICY, setting.start)
    if not setting.data.is_dir():
        write_domain(DOMAIN, SCALE, setting.data)
    if not setting.benchmarks.is_dir():
        write_benchmarks(setting.benchmarks)
    if not (setting.trained / "config.json").is_file():
        with tempfile.TemporaryDirectory() as run:
            trainer = setting.trainer("grpo", setting.start, Path(run))
            trainer.train()
            trainer.strategy.export(setting.trained, setting.tokenizer())
    return setting


def page(folder: Path) -> str:
    """The document, from every part that was ever measured here."""
    found = [part for part in (kept(folder, name) for name in PARTS) if part is not None]
    lines: list[Line] = [line for part, _ in found for line in part]
    said = sorted({", ".join(f"{name} {value}" for name, value in used.items()) for _, used in found})
    unmeasured = [name for name in PARTS if kept(folder, name) is None]
    missing = f' Not measured yet: {", ".join(unmeasured)} (`make bench ARGS="--only …"`).' if unmeasured else ""
    return PAGE.format(table=table(lines), versions="; ".join(said), missing=missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (all)")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--folder", type=Path, default=Path("results/benchmarks"), help="policies, data, raw figures")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setting = prepare(arguments.folder)
    for part in arguments.only:
        lines = importlib.import_module(PARTS[part]).lines(setting, arguments.repetitions)
        keep(arguments.folder, part, lines, versions())
        print(table(lines), flush=True)
    write_text(arguments.out, page(arguments.folder))


if __name__ == "__main__":
    main()
