"""Run a command on GPUs that no other job of this user on this machine is using.

    python -m pipelines.gpu_lease --gpu 2 -- torchrun --standalone --nproc-per-node 2 -m -- reference_impl.train …

A GPU is leased by locking a file of its own (flock). The command takes this process's place and inherits the locks, so
the kernel releases them when it ends, however it ends. CUDA_VISIBLE_DEVICES tells the command which GPUs are its own;
where it is set already (SLURM sets it), GPUs are taken from those only. Where the machine has too few, nothing runs:
Snakemake itself starts a job that asks for GPUs on a machine without any if it was called with `--resources gpu=0`.
With `--gpu 0` the command runs as it is.

The locks are in `chord-gpus-<user>-<host>` below XDG_RUNTIME_DIR, or else the folder for temporary files. Jobs of other
users are not seen: on a machine that people share, a scheduler hands out the GPUs.
"""

import argparse
import errno
import fcntl
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = "CHORD_GPU_DEVICES"
"""Environment variable with the names of the GPUs, comma-separated, where nvidia-smi does not list them."""
POLL_S = 0.5
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
    """The machine's GPU with this index, or with a UUID that begins so; a part of a GPU (MIG) is its own."""
    if name.startswith("MIG-"):
        return Device(name, name)
    found = [device for device in machine if device.name == name]
    found = found or [device for device in machine if name.startswith("GPU-") and device.identity.startswith(name)]
    return Device(name, found[0].identity) if len(found) == 1 else None


def _refuse_twice(names: Sequence[str], source: str, text: str) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f"{source}={text!r} names a GPU twice")


def lock_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the locks, made if need be. Raises ValueError where someone else could write to it."""
    parent = environment.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())
    folder = Path(parent) / f"chord-gpus-{os.getuid()}-{host}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ValueError(f"{folder} is not a folder that only this user writes to: remove it")
    return folder


def lease(devices: Sequence[Device], count: int, folder: Path) -> dict[Device, int]:
    """Lock ``count`` of the GPUs, waiting until they are free. Returns GPU → the file descriptor that holds its lock.

    Jobs queue at a gate: who is inside collects what becomes free until it has enough. So a job that needs many GPUs
    does not wait for ever behind small ones, and two jobs never hold half of each other's GPUs.
    """
    if not 0 < count <= len(devices):
        names = ", ".join(device.name for device in devices) or "none"
        raise ValueError(
            f"the job needs {count} GPU{'s' * (count != 1)}, and {len(devices)} can be used here ({names}). Run it on "
            f"a machine that has them, or choose a scale that needs fewer; {VISIBLE} hides GPUs from a job"
        )
    gate = _open(folder / "gate.lock")
    held: dict[Device, int] = {}
    said = False
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        while True:
            for device in devices:
                if device not in held and len(held) < count:
                    file = _try_lock(folder / f"{device.identity.replace('/', '_')}.lock")
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
    finally:
        os.close(gate)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file, which a command that takes this process's place keeps; None: not free."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    os.set_inheritable(file, True)
    return file


def main(argv: Sequence[str] | None = None) -> None:
    """Lease, then become the command; a machine that cannot run it ends with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.gpu_lease",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gpu", type=int, required=True, help="how many GPUs the command needs; 0: it runs as it is")
    parser.add_argument("command", nargs="+", help="the command and its arguments, after --")
    arguments = parser.parse_args(argv)
    environment = dict(os.environ)
    try:
        if arguments.gpu < 0:
            raise ValueError(f"--gpu {arguments.gpu}: allowed are 0 and more")
        if arguments.gpu:
            devices = list_devices(environment)
            leased = lease(devices, arguments.gpu, lock_folder(environment))
            # The machine's order of GPUs, not the fastest first: nvidia-smi counts so, and so do schedulers.
            environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            environment[VISIBLE] = ",".join(device.name for device in devices if device in leased)
        os.execvpe(arguments.command[0], arguments.command, environment)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
