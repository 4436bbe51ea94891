"""Run a module in a fork of a process that has imported it already, so that it starts at once. It sees no GPU.

    python -m pipelines.ops.warm reference_impl.train --run chord_phi …

This process sends the module's name, its own arguments, environment, folder and standard streams to the warm parent
(`pipelines.ops.warm_parent`) of the workflow that it belongs to, starts one where there is none, and ends as the fork
ends: with its exit status, or by the same signal. SIGINT, SIGTERM and SIGHUP go to the fork, which ends when this
process does. Where anything is in doubt, it becomes `python -m MODULE …` itself, with the same result.

A parent is one workflow's, and is known by all that matters while it imports: interpreter, code, environment, folder,
limits. It is reached in `chord-warm-<uid>` in the folder for temporary files, which no other user can enter.
Standard library only, since every job imports this. Linux only; elsewhere modules run by themselves.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

WORKFLOW = "CHORD_WORKFLOW"
"""Environment variable: the process whose jobs share a parent, by `process_name`; without it there is none."""
PACKAGES = ("reference_impl", "evaluation", "reports", "pipelines")
OF_A_SHELL = ("_", "SHLVL")
"""Environment variables that tell where in a shell's script a command stands."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
"""How a fork ended, as waitpid says it."""
BACKLOG = 128
REFUSED = ".refused"
"""Suffix of the file that a parent leaves which could not start: no job tries again."""


def process_name(pid: int) -> str:
    """A process of this boot of this machine, told from another that later has its number; empty where it has ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{boot}:{pid}:{fields[18]}"


def is_running(name: str) -> bool:
    """Whether the process of this `process_name` runs here."""
    pid = name.split(":")[1] if name.count(":") == 2 else ""
    return pid.isdecimal() and process_name(int(pid)) == name


def code_state() -> str:
    """Of every Python file of the project, and of the folders that packages are installed in: names, sizes, times."""
    root = Path(__file__).resolve().parents[2]
    found = [(path, os.stat(path).st_mtime_ns, 0) for path in sys.path if path.endswith("site-packages")]
    todo = [str(root / name) for name in PACKAGES]
    while todo:
        for entry in os.scandir(todo.pop()):
            if entry.is_dir() and entry.name != "__pycache__":
                todo.append(entry.path)
            elif entry.name.endswith(".py"):
                found.append((entry.path, entry.stat().st_mtime_ns, entry.stat().st_size))
    return digest(sorted(found))


def digest(value: object) -> str:
    """32 hex digits of JSON-ready values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def surroundings() -> str:
    """Of all that a fork has from its parent and cannot take over."""
    environment = {key: value for key, value in os.environ.items() if key not in OF_A_SHELL}
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    groups = Path("/proc/self/cgroup").read_text()
    machine = [sorted(os.sched_getaffinity(0)), os.getpriority(os.PRIO_PROCESS, 0), limits, groups]
    return digest([sys.executable, sys.version, interpreter_options(), os.getcwd(), environment, machine])


def interpreter_options() -> list[str]:
    """What stands between `python` and `-m` on this command line."""
    return sys.orig_argv[1 : sys.orig_argv.index("-m")]


def private_folder() -> Path:
    """The folder of the sockets. Raises OSError where someone else could enter it."""
    folder = Path(os.environ.get("TMPDIR") or "/tmp") / f"chord-warm-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder that only this user enters")
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time: who starts a parent, and who ends one."""
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.getuid())


def connect(path: Path) -> socket.socket | None:
    """A connection to the parent; None where none listens. Raises OSError for anything else, such as another user's."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
        if same_user(connection):
            return connection
        raise PermissionError(f"{path} is another user's")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise


def parent(workflow: str) -> socket.socket:
    """A connection to this job's parent, which is started if need be. It may still be importing."""
    state = code_state()
    path = private_folder() / f"{digest([workflow, state, surroundings()])}.socket"
    found = connect(path)
    if found is None:
        with locked(path.parent):
            found = connect(path)
            if found is None:
                if path.with_suffix(REFUSED).exists():
                    raise ConnectionRefusedError(f"the warm parent could not start: {path.with_suffix('.log')}")
                path.unlink(missing_ok=True)
                start(path, state, workflow)
                found = connect(path)
    if found is None:
        raise ConnectionRefusedError(f"{path}: what has just been started does not listen")
    return found


def start(path: Path, state: str, workflow: str) -> None:
    """Start a parent. It inherits the socket, which listens from here on: who comes early waits there."""
    import subprocess

    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        words = [sys.executable, *interpreter_options(), "-m", "pipelines.ops.warm_parent"]
        with path.with_suffix(".log").open("wb") as log:
            subprocess.Popen(
                [*words, str(path), state, workflow, str(listener.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )


def run_in_fork(connection: socket.socket, module: str, arguments: list[str]) -> int | None:
    """Have the parent run a module; returns how it ended, as waitpid says it, or None where the parent ended first."""
    mask = os.umask(0)
    os.umask(mask)
    heard = [number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN]
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": mask,
        "ignored": [number for number in FORWARDED if number not in heard],
    }
    body = json.dumps(request).encode()
    alive, held = os.pipe()  # `held` is open as long as there is a fork

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(bytes([number]))

    signal.pthread_sigmask(signal.SIG_BLOCK, heard)  # none before the request is sent, and none lost after it
    try:
        socket.send_fds(connection, [LENGTH.pack(len(body))], [0, 1, 2, held])
        connection.sendall(body)
        for number in heard:
            signal.signal(number, forward)
    finally:
        os.close(held)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
    with contextlib.suppress(ConnectionResetError):
        answer = connection.recv(STATUS.size, socket.MSG_WAITALL)
        if len(answer) == STATUS.size:
            return int(STATUS.unpack(answer)[0])
    os.read(alive, 1)  # until the fork is gone too: two of a job would write the same files
    return None


def end_as(status: int) -> None:
    """End this process as a fork has ended."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        with contextlib.suppress(OSError):  # SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> None:
    """Run the module that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m pipelines.ops.warm MODULE ARGUMENTS …")
    module, *arguments = sys.argv[1:]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    workflow = os.environ.get(WORKFLOW, "")
    if sys.platform == "linux" and is_running(workflow):
        try:
            with parent(workflow) as connection:
                status = run_in_fork(connection, module, arguments)
        except OSError as error:
            print(f"{module} starts by itself: {error}", file=sys.stderr, flush=True)
        else:
            if status is not None:
                end_as(status)
            print(f"{module} starts by itself: the warm parent did not see it end", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.orig_argv[0], *interpreter_options(), "-m", module, *arguments])


if __name__ == "__main__":
    main()
