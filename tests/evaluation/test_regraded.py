"""What grading again has changed."""

import json
from pathlib import Path

from evaluation.regraded import report


def test_report_names_the_files_that_have_changed(tmp_path: Path) -> None:
    for name, same in (("a", 3), ("b", 4)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"same": same, "samples": 4}))
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    assert report([second]) == "4 of 4 verdicts the same"
    assert report([first, second]) == f"{first}: 3 of 4 verdicts the same\n7 of 8 verdicts the same"
