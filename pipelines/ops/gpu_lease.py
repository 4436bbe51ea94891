"""Run a command on GPUs that no other job of this user on this machine is using.

    python -m pipelines.ops.gpu_lease --gpu 2 -- torchrun --standalone --nproc-per-node 2 -m -- reference_impl.train …

A GPU is leased by locking a file of its own (flock), which the kernel releases when the holder ends, however it ends.
This process holds the locks until the command has ended and all that it started: a launcher that is killed leaves its
workers behind, and they are ended first. If this process is killed, so is the command, which holds the locks too.
CUDA_VISIBLE_DEVICES tells the command which GPUs are its own; where it is set already (SLURM sets it), GPUs are taken
from those only. Where the machine has too few, nothing runs: Snakemake itself starts a job that asks for GPUs on a
machine without any if it was called with `--resources gpu=0`. With `--gpu 0` the command takes this process's place and
sees no GPU: it would use one that another job has leased.

The locks are in `/tmp/chord-gpus-<uid>`, or below the folder CHORD_GPU_LOCKS: neither TMPDIR nor XDG_RUNTIME_DIR,
which differ between logins or end with one. Jobs of other users are not seen: on a machine that people share, a
scheduler hands out the GPUs.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = "CHORD_GPU_DEVICES"
"""Environment variable with the names of the GPUs, comma-separated, where nvidia-smi does not list them."""
LOCKS = "CHORD_GPU_LOCKS"
POLL_S = 0.5
GRACE_S = 10.0
"""What a command has left behind gets SIGTERM, and after this SIGKILL."""
TOUCH_S = 3600.0
"""Between two touches of the lock files: what cleans /tmp takes old files away, locked or not."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Linux's prctl(2)."""
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")


@dataclass(frozen=True)
class Device:
    """A GPU: what CUDA_VISIBLE_DEVICES calls it, and what it is called whoever asks (its lock's name)."""

    name: str
    identity: str


def list_devices(environment: Mapping[str, str], installed: Sequence[Device] | None = None) -> list[Device]:
    """The GPUs that this process may use.

    installed: those of the machine; left out, they are asked of `CHORD_GPU_DEVICES` or nvidia-smi. Raises ValueError
    for a list with a name twice, or that cannot be a list of GPUs.
    """
    machine = _installed(environment) if installed is None else list(installed)
    visible = environment.get(VISIBLE)
    if visible is None:
        return machine
    found: list[Device] = []
    for name in _names(visible, VISIBLE):
        device = _known(name, machine)
        if device is None:
            break  # as CUDA does: an unknown name hides itself and all that follow
        found.append(device)
    _refuse_twice([device.identity for device in found], VISIBLE, visible)
    return found


def _installed(environment: Mapping[str, str]) -> list[Device]:
    named = environment.get(DEVICES)
    if named is not None:
        names = _names(named, DEVICES)
        _refuse_twice(names, DEVICES, named)
        return [Device(name, name) for name in names]
    try:
        listed = subprocess.run(NVIDIA_SMI, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # no driver: no GPU
    rows = [line.split(",") for line in listed.splitlines() if line.count(",") == 1]
    return [Device(index.strip(), uuid.strip()) for index, uuid in rows]


def _names(text: str, source: str) -> list[str]:
    """The names in a comma-separated list, up to the first that is empty or negative, which ends CUDA's list."""
    names = []
    for name in map(str.strip, text.split(",")):
        if not name or name.startswith("-"):
            break
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"{source}={text!r}: {name!r} is no name of a GPU")
        names.append(name)
    return names


def _known(name: str, machine: Sequence[Device]) -> Device | None:
    """The machine's GPU with this index, or with a UUID that begins so; a part of a GPU (MIG) is its own.

    It is called by its index from then on: DeepSpeed takes what `CUDA_VISIBLE_DEVICES` names for numbers.
    """
    if name.startswith("MIG-"):
        return Device(name, name)
    found = [device for device in machine if device.name == name]
    found = found or [device for device in machine if name.startswith("GPU-") and device.identity.startswith(name)]
    return found[0] if len(found) == 1 else None


def _refuse_twice(names: Sequence[str], source: str, text: str) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"{source}={text!r} names a GPU twice")


def lock_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the locks, made if need be. Raises ValueError where someone else could write to it."""
    folder = Path(environment.get(LOCKS) or "/tmp") / f"chord-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ValueError(f"{folder} is not a folder that only this user writes to: remove it, or set {LOCKS}")
    return folder


def lease(devices: Sequence[Device], count: int, folder: Path) -> dict[Device, int]:
    """Lock ``count`` of the GPUs, waiting until they are free. Returns GPU → the file descriptor that holds its lock.

    Jobs queue at the gates of all GPUs that they may use: who is inside collects what becomes free until it has enough.
    So a job that needs many GPUs does not wait for ever behind small ones, two jobs never hold half of each other's
    GPUs, and jobs that may use other GPUs do not wait. Gates are taken in one order, so that none waits in a circle.
    """
    if not 0 < count <= len(devices):
        names = ", ".join(device.name for device in devices) or "none"
        raise ValueError(
            f"the job needs {count} GPU{'s' * (count != 1)}, and {len(devices)} can be used here ({names}). Run it on "
            f"a machine that has them, or choose a scale that needs fewer; {VISIBLE} hides GPUs from a job"
        )
    held: dict[Device, int] = {}
    said = False
    with contextlib.ExitStack() as gates:
        try:
            for device in sorted(devices, key=lambda device: device.identity):
                gate = _open(_lock_file(device, folder, "gate"))
                gates.callback(os.close, gate)
                fcntl.flock(gate, fcntl.LOCK_EX)  # the kernel keeps the order of those who wait; polling would not
            while True:
                for device in devices:
                    if device not in held and len(held) < count:
                        file = _try_lock(_lock_file(device, folder, "lock"))
                        if file is not None:
                            held[device] = file
                if len(held) == count:
                    return held
                if not said:
                    print(f"waiting for {count - len(held)} of {count} GPUs, which other jobs use", file=sys.stderr)
                    said = True
                time.sleep(POLL_S)
        except BaseException:
            for file in held.values():
                os.close(file)
            raise


def _lock_file(device: Device, folder: Path, suffix: str) -> Path:
    return folder / f"{device.identity.replace('/', '_')}.{suffix}"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file; None: not free."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def supervise(command: Sequence[str], environment: Mapping[str, str], locks: Collection[int]) -> int:
    """Run the command, and end what it leaves behind. Returns its exit status: 128 + n after signal n, as shells say.

    Raises OSError where there is no such command.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become this process's children
    signal.signal(signal.SIGINT, lambda *_: None)  # the terminal's Ctrl-C reaches the command by itself
    job = subprocess.Popen(
        command, env=environment, pass_fds=locks, preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: job.send_signal(number))

    def touch(*_: object) -> None:
        for lock in locks:
            os.utime(lock)

    signal.signal(signal.SIGALRM, touch)
    signal.setitimer(signal.ITIMER_REAL, TOUCH_S, TOUCH_S)
    status = job.wait()
    _end_orphans()
    signal.setitimer(signal.ITIMER_REAL, 0)  # an exiting interpreter has no handlers, and an alarm would kill it
    return status if status >= 0 else 128 - status


def _end_orphans() -> None:
    """End every process that is left below this one: SIGTERM, and SIGKILL after GRACE_S, until there is none."""
    deadline = time.monotonic() + GRACE_S
    told: set[psutil.Process] = set()
    while left := psutil.Process().children(recursive=True):
        late = time.monotonic() > deadline
        for process in left:
            if late or process not in told:
                told.add(process)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        psutil.wait_procs(left, timeout=0.1)  # reaps them


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def main(argv: Sequence[str] | None = None) -> None:
    """Lease, then run the command; a machine that cannot run it ends with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ops.gpu_lease",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gpu", type=int, required=True, help="how many GPUs the command needs; 0: it sees none")
    parser.add_argument("command", nargs="+", help="the command and its arguments, after --")
    arguments = parser.parse_args(argv)
    environment = dict(os.environ)
    try:
        if arguments.gpu < 0:
            raise ValueError(f"--gpu {arguments.gpu}: allowed are 0 and more")
        if arguments.gpu:
            if sys.platform != "linux":
                raise ValueError(f"GPUs are leased on Linux only, and this is {sys.platform}")
            devices = list_devices(environment)
            leased = lease(devices, arguments.gpu, lock_folder(environment))
            # The machine's order of GPUs, not the fastest first: nvidia-smi counts so, and so do schedulers.
            environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            environment[VISIBLE] = ",".join(device.name for device in devices if device in leased)
            sys.exit(supervise(arguments.command, environment, list(leased.values())))
        environment[VISIBLE] = ""
        os.execvpe(arguments.command[0], arguments.command, environment)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
