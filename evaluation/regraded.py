"""What grading again has changed, over several files: `python -m evaluation.regraded SUMMARY.json …`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path


def report(summaries: Sequence[Path]) -> str:
    """A line for every file with changed verdicts, and one for all: "N of N verdicts the same"."""
    same = samples = 0
    lines = []
    for path in summaries:
        summary = json.loads(path.read_bytes())
        same, samples = same + summary["same"], samples + summary["samples"]
        if summary["same"] < summary["samples"]:
            lines.append(f"{path}: {summary['same']} of {summary['samples']} verdicts the same")
    return "\n".join([*lines, f"{same} of {samples} verdicts the same"])


if __name__ == "__main__":
    print(report([Path(name) for name in sys.argv[1:]]))
