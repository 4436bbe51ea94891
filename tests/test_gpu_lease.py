"""GPUs are leased to one job at a time, released by whatever ends it, and never handed out where there are none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.gpu_lease import DEVICES, VISIBLE, Device, lease, list_devices, lock_folder
from tests.checkout import REPO

MACHINE = [Device("0", "GPU-aaaa1111"), Device("1", "GPU-aaaa2222"), Device("2", "GPU-bbbb3333")]
LOG_USE = """
import os, sys, time
names = os.environ["CUDA_VISIBLE_DEVICES"]
with open(sys.argv[1], "a") as log: print("start", names, flush=True, file=log)
time.sleep(0.3)
with open(sys.argv[1], "a") as log: print("end", names, flush=True, file=log)
"""


def environment(folder: Path, devices: str | None = "a,b", visible: str | None = None) -> dict[str, str]:
    """Of a child process with its own locks and made-up GPUs."""
    found = {key: value for key, value in os.environ.items() if key not in (VISIBLE, DEVICES)}
    chosen = {DEVICES: devices, VISIBLE: visible, "XDG_RUNTIME_DIR": str(folder), "PYTHONPATH": str(REPO)}
    return {**found, **{key: value for key, value in chosen.items() if value is not None}}


def leased(folder: Path, gpus: int, *command: str, **settings: str | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.gpu_lease", "--gpu", str(gpus), "--", *command],
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(job: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = job.communicate(timeout=120)
    return job.returncode, out, errors


SHOW = (sys.executable, "-c", "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))")


def test_a_job_sees_the_gpus_that_it_leased_and_no_other(tmp_path: Path) -> None:
    assert finished(leased(tmp_path, 1, *SHOW)) == (0, "a\n", "")
    assert finished(leased(tmp_path, 2, *SHOW)) == (0, "a,b\n", "")


def test_without_gpus_the_command_runs_as_it_is(tmp_path: Path) -> None:
    assert finished(leased(tmp_path, 0, *SHOW, devices=None)) == (0, "None\n", "")
    assert finished(leased(tmp_path, 0, *SHOW, visible="7")) == (0, "7\n", "")
    assert finished(leased(tmp_path, 0, sys.executable, "-c", "import sys; sys.exit(3)"))[0] == 3
    assert not list(tmp_path.iterdir())


def test_jobs_side_by_side_never_share_a_gpu(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [leased(tmp_path, gpus, sys.executable, "-c", LOG_USE, str(log)) for gpus in (1, 2, 1, 2, 1)]
    assert [finished(job)[0] for job in jobs] == [0] * 5
    used: set[str] = set()
    lines = log.read_text(encoding="utf-8").split()
    for event, names in zip(lines[::2], lines[1::2], strict=True):
        gpus = set(names.split(","))
        if event == "start":
            assert not used & gpus, lines
            used |= gpus
        else:
            used -= gpus
    assert len(lines) == 4 * 5 and not used


def test_a_job_that_is_killed_gives_its_gpu_back(tmp_path: Path) -> None:
    first = leased(tmp_path, 2, sys.executable, "-c", "print('running', flush=True); import time; time.sleep(600)")
    assert first.stdout is not None and first.stdout.readline() == "running\n"
    second = leased(tmp_path, 1, *SHOW)
    assert second.stderr is not None and second.stderr.readline() == "waiting for 1 of 1 GPUs, which other jobs use\n"
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    assert finished(second)[:2] == (0, "a\n")


def test_the_locks_live_as_long_as_the_command_and_are_not_left_to_what_failed(tmp_path: Path) -> None:
    folder = lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    held = lease(MACHINE[:2], 2, folder)
    waiting = leased(tmp_path, 1, *SHOW, devices="GPU-aaaa1111,GPU-aaaa2222")
    time.sleep(1)
    assert waiting.poll() is None
    os.close(held[MACHINE[1]])
    assert finished(waiting)[1] == "GPU-aaaa2222\n"
    os.close(held[MACHINE[0]])


@pytest.mark.parametrize(
    ("gpus", "settings", "message"),
    [
        (3, {}, "the job needs 3 GPUs, and 2 can be used here (a, b)"),
        (1, {"devices": ""}, "the job needs 1 GPU, and 0 can be used here (none)"),
        (1, {"visible": ""}, "the job needs 1 GPU, and 0 can be used here (none)"),
        (1, {"visible": "-1"}, "0 can be used here"),
        (1, {"visible": "NoDevFiles"}, "0 can be used here"),
        (2, {"visible": "b"}, "the job needs 2 GPUs, and 1 can be used here (b)"),
        (1, {"visible": "b,b"}, "names a GPU twice"),
        (1, {"devices": "a,a"}, "names a GPU twice"),
        (1, {"devices": "../../etc/passwd"}, "is no name of a GPU"),
        (1, {"devices": "a;rm"}, "is no name of a GPU"),
        (-1, {}, "--gpu -1: allowed are 0 and more"),
    ],
)
def test_a_job_does_not_start_without_its_gpus(
    tmp_path: Path, gpus: int, settings: dict[str, str], message: str
) -> None:
    command = [sys.executable, "-c", "print('expensive')"]
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.gpu_lease", f"--gpu={gpus}", "--", *command],
        env=environment(tmp_path, **settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and "Traceback" not in result.stderr


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    code, _, errors = finished(leased(tmp_path, 1, "no-such-command"))
    assert code == 1 and "no-such-command" in errors


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, [("0", "GPU-aaaa1111"), ("1", "GPU-aaaa2222"), ("2", "GPU-bbbb3333")]),
        ("2, 0", [("2", "GPU-bbbb3333"), ("0", "GPU-aaaa1111")]),
        ("GPU-bbbb", [("GPU-bbbb", "GPU-bbbb3333")]),
        ("GPU-aaaa", []),  # two begin so: CUDA takes neither
        ("1,9,0", [("1", "GPU-aaaa2222")]),  # as CUDA: nothing after a name that does not exist
        ("1,,0", [("1", "GPU-aaaa2222")]),
        ("0,-1,2", [("0", "GPU-aaaa1111")]),
        ("MIG-1/2/3", [("MIG-1/2/3", "MIG-1/2/3")]),
    ],
)
def test_visible_gpus_are_read_as_cuda_reads_them(visible: str | None, found: list[tuple[str, str]]) -> None:
    settings = {} if visible is None else {VISIBLE: visible}
    assert [(device.name, device.identity) for device in list_devices(settings, MACHINE)] == found


def test_index_and_uuid_of_a_gpu_are_the_same_lock() -> None:
    by_index, by_uuid = (list_devices({VISIBLE: name}, MACHINE) for name in ("1", "GPU-aaaa2222"))
    assert by_index[0].identity == by_uuid[0].identity
    with pytest.raises(ValueError, match="twice"):
        list_devices({VISIBLE: "1,GPU-aaaa2"}, MACHINE)


def test_locks_are_not_kept_where_others_could_write(tmp_path: Path) -> None:
    folder = lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ValueError, match="only this user writes to"):
        lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ValueError, match="only this user writes to"):
        lock_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
