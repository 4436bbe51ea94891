"""Train one run of a method.

    python -m reference_impl.train --run chord_phi --domain math --scale mini --seed 0 \\
        --policy results/mini/policies/sandbox-math --data results/mini/data/math \\
        --out results/mini/runs/math/chord_phi/seed0

``--policy`` is the checkpoint the run starts from: the policy itself, or the ``best`` folder of the method that the
declaration names as ``init``. The folder given as ``--out`` holds at the end run.json, metrics.jsonl,
validation.jsonl, timings.jsonl, tb/ and the kept checkpoints. An interrupted run, called again, resumes from its last
state: SIGTERM and the end of a SLURM job's time save one (status 75), validation and `save_minutes` others.

Where the scale's strategy is for several processes, torchrun or the deepspeed launcher starts them:

    torchrun --standalone --nproc-per-node 8 -m -- reference_impl.train --run chord_phi …
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from reference_impl.config import CONFIG_DIR, RunConfig, expert_file, load_declarations, load_scale, resolve_run
from reference_impl.files import file_hash, write_json
from reference_impl.rewards import RewardUnavailableError
from reference_impl.rollout import EngineDeadError, load_engine
from reference_impl.run.boards import check_boards
from reference_impl.run.code import run_code
from reference_impl.run.first_validation import FIRST_VALIDATIONS, FirstValidation, made_of
from reference_impl.run.identity import checkpoint_hash, weights_hash
from reference_impl.run.provenance import environment, made_by
from reference_impl.run.reuse import LINKED_FROM, RUN_FILES, RUNS, Once, link_files, run_identity
from reference_impl.run.rows import check_files
from reference_impl.run.saving import INTERRUPTED, InterruptedRunError
from reference_impl.step.objective import build_objective
from reference_impl.strategy import join_processes, load_strategy
from reference_impl.strategy.distributed import rank, require_same
from reference_impl.trainer import Data, Trainer


def load_data(folder: Path, config: RunConfig) -> Data:
    """The three splits of a domain. Raises ValueError with all that is wrong in their files (`run.rows`)."""
    sizes = {
        folder / "prompts.jsonl": config.prompt_rows,
        folder / "validation.jsonl": config.validation_rows,
        folder / expert_file(config.expert): config.expert_rows,
    }
    prompts, validation, expert = check_files(sizes, config.reward).values()
    return Data(prompts=prompts, expert=expert, validation=validation)


def input_hashes(policy: Path, data_folder: Path, expert: str) -> dict[str, Any]:
    """SHA-256 of the starting weights (all shards) and of every data file."""
    return {
        "policy_hash": weights_hash(policy),
        "data_hash": {
            "prompts": file_hash(data_folder / "prompts.jsonl"),
            "validation": file_hash(data_folder / "validation.jsonl"),
            "expert": file_hash(data_folder / expert_file(expert)),
        },
    }


FAULTS = (
    EngineDeadError,
    RewardUnavailableError,
    FloatingPointError,
    OSError,
    SafetensorError,
    torch.OutOfMemoryError,
    MemoryError,
)
"""What ends a run early: an engine dies twice, a judge fails, a run diverges, a disk is full, memory is short. The next
call goes on from the last state.
"""


@dataclass(frozen=True)
class Inputs:
    """What a run is made of."""

    data: Data
    hashes: dict[str, Any]
    """Of the starting weights and of every data file, for ``run.json``."""
    checkpoint: str
    """Of all that is read of the starting checkpoint."""
    made_by: dict[str, Any]
    """Code, packages and machine."""
    dtype: torch.dtype
    """In which the weights are held."""
    phi_source: dict[str, str] = field(default_factory=dict)
    """The file of a φ of the user's as ``run.json`` keeps it, so that others can make the run again; else nothing."""

    def identity(self, config: RunConfig) -> str:
        """Of all that decides the run's numbers, whatever its method is called."""
        return run_identity(config, self.checkpoint, self.hashes["data_hash"], self.made_by)


def check_inputs(config: RunConfig, policy: Path, data_folder: Path) -> Inputs:
    """Every input is checked here, before anything expensive; then the processes that share the run are joined."""
    build_objective(config)
    check_boards()
    data = load_data(data_folder, config)
    hashes = input_hashes(policy, data_folder, config.expert)
    dtype = join_processes(config.strategy)
    require_same("configuration, policy or data", json.dumps([config.to_dict(), hashes], sort_keys=True))
    source = {} if config.phi_file is None else {"phi_source": config.phi_file.read_text(encoding="utf-8")}
    checkpoint = checkpoint_hash(policy, hashes["policy_hash"])
    return Inputs(data, hashes, checkpoint, made_by("reference_impl"), dtype, source)


def prepare(config: RunConfig, inputs: Inputs, policy: Path, out: Path, results: Path | None) -> Trainer:
    """The run's trainer. ``results``: the scale's results folder, where runs share the validation at step 0."""
    identity = hashlib.sha256(json.dumps([config.hash(), run_code(config), inputs.hashes]).encode()).hexdigest()
    first_validation = None
    if results is not None:
        rows = inputs.hashes["data_hash"]["validation"]
        deciding = made_of(config, inputs.checkpoint, rows, inputs.made_by)
        first_validation = FirstValidation(results / FIRST_VALIDATIONS, deciding)
    options = config.engine_options
    engine, tokenizer = load_engine(config.engine, policy, config.rollout_batch, inputs.dtype, options)
    strategy = load_strategy(policy, config)
    out.mkdir(parents=True, exist_ok=True)
    return Trainer(config, inputs.data, strategy, engine, tokenizer, out, identity, first_validation)


def advice(error: BaseException) -> str:
    """What to do about a fault, where it does not say so itself."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "; out of memory: smaller micro_batch_tokens or rollout_batch in the scale (make estimate)"
    if isinstance(error, OSError | SafetensorError):
        return "; what was reached is kept: the same call goes on from the last state"
    return ""


def train_run(
    config: RunConfig, inputs: Inputs, arguments: argparse.Namespace, save_minutes: float | None
) -> dict[str, Any]:
    """Train to the end; returns what is recorded of it. A mistake in what was given, and what ends a run early, end the
    process with one line on standard error; status 75 says that the same call goes on where it stopped.
    """
    try:
        trainer = prepare(config, inputs, arguments.policy, arguments.out, arguments.results)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    try:
        progress = trainer.train(save_minutes)
    except InterruptedRunError as error:
        print(error, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except FAULTS as error:
        sys.exit(f"error: {error}{advice(error)}")
    return {
        "best": progress.best,
        "expert_rows_cut": trainer.expert_rows_cut,
        "warnings": [] if trainer.log is None else trainer.log.watch.said,
        "wall_seconds": round(progress.seconds, 1),
        **environment(),
    }


def link_run(once: Once, out: Path) -> dict[str, Any]:
    """Rank 0 takes the files of the run that is the same; returns what is recorded of it: no time of its own."""
    if rank() != 0:
        return {}
    assert once.source is not None
    print(f"the same run as {once.linked_from}: its files are linked", file=sys.stderr)
    record = once.record()
    link_files(once.source, out, RUN_FILES)
    taken = ("best", "expert_rows_cut", "warnings", "packages", "hardware", "code_revision")
    return {**{key: record[key] for key in taken}, "wall_seconds": 0.0, LINKED_FROM: once.linked_from}


def finish(config: RunConfig, inputs: Inputs, identity: str, found: dict[str, Any], out: Path) -> None:
    """Write ``run.json``, the last file of a run."""
    record = {
        "status": "complete",
        "method": config.method,
        "domain": config.domain,
        "scale": config.scale,
        "seed": config.seed,
        "config": config.to_dict(),
        "config_hash": config.hash(),
        "code": run_code(config),
        **inputs.phi_source,
        "identity": identity,
        **inputs.hashes,
        **found,
    }
    write_json(out / "run.json", record)
    for state in out.glob("state*"):
        shutil.rmtree(state, ignore_errors=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reference_impl.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="a method of methods.yaml, or one run of a grid (sft-lr5e-06)")
    parser.add_argument("--domain", required=True, help="a domain of domains.yaml")
    parser.add_argument("--scale", required=True, help="a scale of pipelines/config/scales")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--policy", type=Path, required=True, help="checkpoint folder that the run starts from")
    parser.add_argument("--data", type=Path, required=True, help="folder with prompts, expert and validation rows")
    parser.add_argument("--out", type=Path, required=True, help="run folder to write")
    parser.add_argument(
        "--results",
        type=Path,
        help="results folder of the scale: a finished run there that is the same is linked, not made again, and runs "
        "that start from one policy share the validation at step 0; left out: nothing is shared",
    )
    parser.add_argument("--config-hash", help="refuse to run if the declarations no longer resolve to this")
    parser.add_argument("--declarations", type=Path, default=CONFIG_DIR, help="folder of the declaration files")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Command line; a mistake in what was asked or given ends with one line on standard error."""
    arguments = parse_arguments(argv)
    # On a CPU, jobs run side by side; beside a GPU, threads update what is offloaded: a machine's processes share them.
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, torch.get_num_threads() // processes) if torch.cuda.is_available() else 1)
    try:
        declared, scale = load_declarations(arguments.declarations), load_scale(arguments.scale, arguments.declarations)
        config = resolve_run(declared, scale, arguments.run, arguments.domain, arguments.seed)
        if arguments.config_hash not in (None, config.hash()):
            raise ValueError(
                f"{arguments.run} resolves to configuration {config.hash()[:12]}, not {arguments.config_hash[:12]}: "
                "the declarations changed after the plan was made; start the workflow again"
            )
        inputs = check_inputs(config, arguments.policy, arguments.data)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    identity = inputs.identity(config)
    with Once(arguments.results, RUNS, identity, arguments.out) as once:
        if once.found:
            found = link_run(once, arguments.out)
        else:
            found = train_run(config, inputs, arguments, scale.save_minutes)
        if rank() == 0:
            finish(config, inputs, identity, found, arguments.out)


if __name__ == "__main__":
    main()
