"""GPUs are leased to one job at a time, released by whatever ends it, and never leased where there are none."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipelines.ops.gpu_lease import DEVICES, LOCKS, VISIBLE, Device, lease, list_devices, lock_folder
from tests.support.checkout import REPO

pytestmark = pytest.mark.slow

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
    chosen = {DEVICES: devices, VISIBLE: visible, LOCKS: str(folder), "PYTHONPATH": str(REPO)}
    return {**found, **{key: value for key, value in chosen.items() if value is not None}}


def leased(folder: Path, gpus: int, *command: str, **settings: str | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.ops.gpu_lease", "--gpu", str(gpus), "--", *command],
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


def test_a_job_that_asks_for_no_gpu_sees_none(tmp_path: Path) -> None:
    """It would take one that another job has leased."""
    for visible in (None, "7"):
        assert finished(leased(tmp_path, 0, *SHOW, visible=visible)) == (0, "\n", "")
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


def alive(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(process: int) -> bool:
    return not alive(process)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process: int) -> list[int]:
    """Processes that a process has started and that have not ended."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    return [child for child in map(int, found) if alive(child)]


def in_line(process: int) -> bool:
    """Whether a process waits for a lock that another holds."""
    lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    return any(line.split()[1] == "->" and str(process) in line.split() for line in lines)


def test_jobs_get_their_gpus_in_the_order_in_which_they_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    held = "print('running', flush=True); import time; time.sleep(600)"
    first = leased(tmp_path, 2, sys.executable, "-c", held)
    assert first.stdout is not None and first.stdout.readline() == "running\n"
    waiting = [leased(tmp_path, 1, *SHOW)]  # inside the gates
    assert waiting[0].stderr is not None and waiting[0].stderr.readline().startswith("waiting")
    for gpus in (2, 1, 2, 1):
        code = f"open({str(log)!r}, 'a').write('{len(waiting)}')"
        job = leased(tmp_path, gpus, sys.executable, "-c", code)
        wait_for(partial(in_line, job.pid))
        waiting.append(job)
    first.terminate()
    first.communicate(timeout=60)
    assert [finished(job)[0] for job in waiting] == [0] * 5
    assert log.read_text(encoding="utf-8") == "1234"


LAUNCHER = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
print(worker.pid, flush=True)
worker.wait()
"""
"""As torchrun does: its workers are sessions of their own, which a signal to its process group does not reach."""


SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


@pytest.mark.parametrize("worker", [SLEEP, STUBBORN + SLEEP])
def test_no_worker_keeps_a_gpu_whose_lease_is_over(tmp_path: Path, worker: str) -> None:
    """A launcher that is killed leaves workers behind; one that ignores SIGTERM is killed."""
    job = leased(tmp_path, 2, sys.executable, "-c", LAUNCHER, worker)
    assert job.stdout is not None
    started = int(job.stdout.readline())
    (launcher,) = children(job.pid)
    second = leased(tmp_path, 1, *SHOW)
    assert second.stderr is not None and second.stderr.readline().startswith("waiting")
    os.kill(launcher, signal.SIGKILL)
    assert finished(job)[0] == 128 + signal.SIGKILL
    assert not alive(started)
    assert finished(second)[1] == "a\n"


def test_a_lease_that_is_told_to_end_ends_its_command(tmp_path: Path) -> None:
    """SIGTERM, as schedulers send it, is forwarded; if the lease is killed, the kernel ends the command."""
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        job = leased(tmp_path, 2, sys.executable, "-c", "print('running', flush=True); import time; time.sleep(600)")
        assert job.stdout is not None and job.stdout.readline() == "running\n"
        (command,) = children(job.pid)
        job.send_signal(number)
        assert finished(job)[0] == code
        wait_for(partial(ended, command))
    assert finished(leased(tmp_path, 2, *SHOW))[1] == "a,b\n"


def test_a_job_does_not_wait_behind_a_job_for_other_gpus(tmp_path: Path) -> None:
    folder = lock_folder({LOCKS: str(tmp_path)})
    held = lease(MACHINE[:1], 1, folder)
    names = ",".join(device.identity for device in MACHINE)
    first = leased(tmp_path, 1, *SHOW, devices=names, visible=MACHINE[0].identity)
    assert first.stderr is not None and first.stderr.readline().startswith("waiting")
    other = leased(tmp_path, 2, *SHOW, devices=names, visible=f"{MACHINE[2].identity},{MACHINE[1].identity}")
    assert finished(other)[1] == f"{MACHINE[2].identity},{MACHINE[1].identity}\n"
    os.close(held[MACHINE[0]])
    assert finished(first)[0] == 0


def test_the_locks_are_in_one_place_whatever_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login, a cron job and a container have other folders for temporary and runtime files; the GPUs are the same."""
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(Path, "lstat", lambda _: os.stat_result((0o40700, 0, 0, 1, os.getuid(), 0, 0, 0, 0, 0)))
    sessions: list[dict[str, str]] = [{}, {"XDG_RUNTIME_DIR": "/run/user/1"}, {"TMPDIR": "/scratch"}]
    assert {lock_folder(session) for session in sessions} == {Path("/tmp", f"chord-gpus-{os.getuid()}")}


def test_lock_files_stay_young_while_they_are_held(tmp_path: Path) -> None:
    """What cleans /tmp removes files of ten days; another job would lock a new file in the place of the old one."""
    code = (
        "import sys, pipelines.ops.gpu_lease as lease; lease.TOUCH_S = 0.1;"
        "lease.main(['--gpu', '1', '--', sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    job = subprocess.Popen([sys.executable, "-c", code], env=environment(tmp_path))
    lock = tmp_path / f"chord-gpus-{os.getuid()}" / "a.lock"
    wait_for(lock.is_file)
    os.utime(lock, (0, 0))
    wait_for(lambda: lock.stat().st_mtime > 0)
    job.terminate()
    assert job.wait(timeout=60) == 128 + signal.SIGTERM


def test_the_locks_live_as_long_as_the_command_and_are_not_left_to_what_failed(tmp_path: Path) -> None:
    folder = lock_folder({LOCKS: str(tmp_path)})
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
        [sys.executable, "-m", "pipelines.ops.gpu_lease", f"--gpu={gpus}", "--", *command],
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
        ("GPU-bbbb", [("2", "GPU-bbbb3333")]),  # by its index: DeepSpeed takes the names for numbers
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
    folder = lock_folder({LOCKS: str(tmp_path)})
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(ValueError, match="only this user writes to"):
        lock_folder({LOCKS: str(tmp_path)})
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ValueError, match="only this user writes to"):
        lock_folder({LOCKS: str(tmp_path)})
