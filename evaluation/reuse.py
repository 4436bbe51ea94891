"""Evaluations that would be the same are made once: methods with one checkpoint, or one method with several seeds.

A sample's seed is named by task, question and number, so the samples of one checkpoint are the same under any name.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.tasks import Plan
from reference_impl.config import Scale
from reference_impl.files import write_json
from reference_impl.run.identity import checkpoint_hash, hash_of, weights_hash
from reference_impl.run.reuse import LINKED_FROM, Kind, Once, link_files

RECORD = "identity.json"
SUMMARY = "summary.json"
GRADERS = "graders"
"""Key of a task's summary: the hash of the code that gave the verdicts."""


def _no_judge_failed(folder: Path) -> bool:
    """Whether every sample has its verdict: where a judge failed, another evaluation asks it again."""
    summaries: dict[str, Any] = json.loads((folder / SUMMARY).read_bytes())
    return not any(summary.get("judge_failure_rate") for summary in summaries.values())


EVALUATIONS = Kind("evaluations", RECORD, _no_judge_failed)


def evaluation_identity(plans: Sequence[Plan], scale: Scale, checkpoint: Path, made_by: Mapping[str, Any]) -> str:
    """The hash of all that decides an evaluation's samples and verdicts, whatever its method and seed are called.

    ``made_by`` says which code runs where (`run.provenance.made_by`). Raises ValueError for a folder without weights.
    """
    return hash_of(
        {
            "checkpoint": checkpoint_hash(checkpoint, weights_hash(checkpoint)),
            "tasks": [{**plan.header(), "settings": plan.task.model_dump()} for plan in plans],
            "engine": scale.engine,
            "engine_options": scale.evaluation.engine_options.given(),
            "rollout_batch": scale.rollout_batch,
            **made_by,
        }
    )


def link_evaluation(once: Once, out: Path) -> None:
    """Take the files of the evaluation that is the same; ``out`` is complete or as it was."""
    assert once.source is not None
    work = out.with_name(out.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    link_files(once.source, work, [path.name for path in sorted(once.source.glob("*.jsonl"))] + [SUMMARY])
    write_json(work / RECORD, {"identity": once.identity, LINKED_FROM: once.linked_from})
    shutil.rmtree(out, ignore_errors=True)
    work.replace(out)
