"""Calls of Snakemake: alone or not, alive or dead, with targets that there are."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.ops import call

CALL = """
import sys
from pathlib import Path
from pipelines.ops import call
print(call.join(Path(sys.argv[1])), flush=True)
input()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """Another call, which lives until it is killed."""
    return subprocess.Popen([sys.executable, "-c", CALL, str(folder)], stdin=-1, stdout=-1, text=True)


def joined(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_locks_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "0.input.lock"

    def write() -> None:
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("results/x\n")

    first, second, third = start(tmp_path), None, None
    try:
        assert joined(first) == "True"
        write()
        second = start(tmp_path)
        assert joined(second) == "False" and lock.exists()
        first.kill()
        first.wait()
        third = start(tmp_path)  # the second still lives, and the lock may be its own
        assert joined(third) == "False" and lock.exists()
    finally:
        for process in (first, second, third):
            if process is not None:
                process.kill()
                process.wait()
    last = start(tmp_path)
    try:
        assert joined(last) == "True" and not lock.exists() and lock.parent.is_dir()
    finally:
        last.kill()
        last.wait()


def test_targets_are_read_as_snakemake_reads_them() -> None:
    line = ["/bin/snakemake", "--cores", "2", "table1", "--config", "scale=smoke", "seeds=[0]"]
    assert call.asked(line) == ["table1"]
    assert call.asked(["/lib/snakemake/__main__.py", *line[1:]]) == ["table1"]
    assert call.asked(["/bin/pytest", *line[1:]]) == []


def test_targets() -> None:
    call.check_targets(["table1", "results/smoke/x.html", "index.html"], ["table1"])
    with pytest.raises(ValueError, match="there is no target 'tabel1'; did you mean 'table1'"):
        call.check_targets(["table1", "tabel1"], ["table1", "table2"])


@pytest.mark.parametrize(("target", "method"), [("regrade", "everything"), ("regrade_grpo", "grpo")])
def test_nothing_to_grade_again(target: str, method: str) -> None:
    with pytest.raises(ValueError, match=f"{target}: nothing has been sampled; `snakemake --cores 2 {method}`"):
        call.begin(["/bin/snakemake", target], [target], {target: []}, [])


def test_sensitivity_is_of_the_usual_reading() -> None:
    line = ["/bin/snakemake", "sensitivity"]
    with pytest.raises(ValueError, match="sensitivity compares each reading with the usual one: leave out reading=rel"):
        call.begin(line, ["sensitivity"], {}, [], "released")


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match=r"compare: which\? --config methods="):
        call.begin(["/bin/snakemake", "compare"], ["compare"], {}, [])
