"""The warm parent of a workflow's jobs: it has imported what they import, and forks one for each `pipelines.ops.warm`.

It starts no thread and runs no torch operation: a fork of a process with OpenMP's threads hangs. If it finds itself
with a second thread, or the code has changed while it imported, it ends, and jobs start by themselves. It ends too when
its workflow has ended, or has started no job for a while.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pipelines.ops.warm import FORWARDED, LENGTH, REFUSED, STATUS, code_state, is_running, locked, same_user

IMPORTED = (
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen2.tokenization_qwen2",
    "reference_impl.train",
    "reference_impl.select",
    "evaluation.generate",
    "evaluation.phi_tokens",
    "evaluation.regrade",
    "evaluation.score",
    "pipelines.data.check",
    "pipelines.policy.shipped",
    "reports.against",
    "reports.cases",
    "reports.figures",
    "reports.phi_board",
    "reports.phi_figure",
    "reports.sensitivity",
    "reports.site",
    "reports.tables",
    "reports.when",
)
"""What jobs run, and what transformers imports only once a model is loaded."""
ARROW_MALLOC = "JE_ARROW_MALLOC_CONF"
"""Arrow's second allocator, which is not its default one, starts a thread when it is loaded, unless told otherwise."""
IDLE_S = 300.0
"""Without a job for so long, it ends."""
GRACE_S = 10.0
"""A job whose client has ended gets SIGTERM, and SIGKILL after this."""
REQUEST_S = 10.0
"""A client has sent its request after this."""
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
"""Linux's prctl(2)."""
ARG_START, ARG_END = 45, 46
"""Fields of /proc/self/stat behind the name: where the words of the command line are."""


@dataclass
class Job:
    """A fork, and the client that waits for it."""

    connection: socket.socket | None
    """None once the client has ended."""
    ends_at: float = field(default=float("inf"))
    """When it is killed."""


class Parent:
    """Who forks. In the parent, `serve` returns None when it is over; in a fork, it returns what the fork is to run."""

    def __init__(self, path: Path, listener: socket.socket, workflow: str) -> None:
        self.path = path
        self.listener = listener
        self.workflow = workflow
        self.jobs: dict[int, Job] = {}
        self.pid = os.getpid()

    def serve(self) -> dict[str, Any] | None:
        """Fork a job for every client, until the workflow has ended or nobody comes."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # and `wake` is written to
        signal.set_wakeup_fd(wake)
        last = time.monotonic()
        while True:
            open_for_jobs = is_running(self.workflow)
            if self.jobs:
                last = time.monotonic()
            elif not open_for_jobs or time.monotonic() - last > IDLE_S:
                return None
            clients = {job.connection: pid for pid, job in self.jobs.items() if job.connection is not None}
            waiting = [self.listener] if open_for_jobs else []
            sources: list[Any] = [woken, *waiting, *clients]
            ready = select.select(sources, [], [], 1.0)[0]
            for source in ready:
                if source == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                elif source is self.listener:
                    request = self._accept()
                    if request is not None:
                        return request
                else:
                    self._listen(clients[source])
            self._reap()

    def _accept(self) -> dict[str, Any] | None:
        """Fork a job for the next client; in the fork, returns its request."""
        connection, _ = self.listener.accept()
        try:
            connection.settimeout(REQUEST_S)
            if not same_user(connection):
                raise PermissionError("another user's")
            request, files = receive(connection)
        except (OSError, ValueError) as error:
            print(f"a client was refused: {error}", flush=True)
            connection.close()
            return None
        connection.settimeout(None)
        pid = os.fork() if still_there(connection) else -1
        if pid == 0:
            connection.close()
            self._become(files)
            return request
        for file in files:
            os.close(file)
        if pid < 0:
            connection.close()
            return None
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # as the fork does: whoever is first
        self.jobs[pid] = Job(connection)
        return None

    def _become(self, files: list[int]) -> None:
        """In a fork: leave the parent's things behind, and take the client's streams."""
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        self.listener.close()
        for job in self.jobs.values():
            if job.connection is not None:
                job.connection.close()
        *streams, held = files
        for place, file in enumerate(streams):
            os.dup2(file, place)
            os.close(file)
        os.set_inheritable(held, False)

    def _listen(self, pid: int) -> None:
        """A client says which signal it got, or has ended."""
        job = self.jobs[pid]
        assert job.connection is not None
        try:
            numbers = job.connection.recv(64)
        except OSError:
            numbers = b""
        if not numbers:
            job.connection.close()
            job.connection, job.ends_at = None, time.monotonic() + GRACE_S
            numbers = bytes([signal.SIGTERM])
        for number in numbers:
            if number in FORWARDED:
                send_signal(pid, number)

    def _reap(self) -> None:
        """Tell the clients of forks that have ended; kill those whose clients ended long ago."""
        for pid, job in list(self.jobs.items()):
            if time.monotonic() > job.ends_at:
                send_signal(pid, signal.SIGKILL)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self.jobs[pid]
                if job.connection is not None:
                    with contextlib.suppress(OSError):
                        job.connection.sendall(STATUS.pack(status))
                    job.connection.close()


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A client's request, its three streams and the end of a pipe. Raises OSError or ValueError for anything else."""
    head, files, _, _ = socket.recv_fds(connection, LENGTH.size, 4)
    try:
        if len(head) != LENGTH.size or len(files) != 4:
            raise ValueError(f"a request with {len(head)} bytes and {len(files)} files")
        body, length = b"", LENGTH.unpack(head)[0]
        while len(body) < length:
            part = connection.recv(length - len(body))
            if not part:
                raise ConnectionError("it ended while it asked")
            body += part
        request: dict[str, Any] = json.loads(body)
    except (OSError, ValueError):
        for file in files:
            os.close(file)
        raise
    return request, list(files)


def still_there(connection: socket.socket) -> bool:
    """Whether the client that has sent its request still waits."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def send_signal(group: int, number: int) -> None:
    """To a job, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def run(request: dict[str, Any]) -> NoReturn:
    """Run the module as `python -m` would in the client's place, and end as that would."""
    module: str = request["module"]
    words = [module, *request["arguments"]]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    show_as(module.rpartition(".")[2], ["python", "-m", *words])
    sys.argv = words
    # It runs anew, as __main__; what it imports is there.
    sys.modules.pop(module, None)
    status: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code
    except BaseException as error:  # noqa: BLE001 - the interpreter's own last resort
        inside = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(inside), inside)
        status = type(error)
    end(status)


def end(status: object) -> NoReturn:
    """What an interpreter does at its end: wait for threads, call what asked for it, write what is buffered. But no
    imported module is taken apart, which would take a second.

    ``status``: of SystemExit, or the class of another exception.
    """
    if status is not None and not isinstance(status, int | type):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # closes the files of what nobody holds any more
    code = status if isinstance(status, int) else int(status is not None)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    if status is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


def show_as(name: str, words: list[str]) -> None:
    """What `ps` and `top` show of this process: its name, and as much of its command line as the old one had room."""
    prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()))
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[ARG_START]), int(fields[ARG_END])
    text = "\0".join(words).encode()[: max(0, end - begin - 1)]
    if begin and text:
        ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def prctl(option: int, value: Any) -> None:
    """Raises OSError where Linux refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def close(path: Path, listener: socket.socket, works: bool) -> None:
    """Nobody finds this parent any more; who is waiting already starts by itself."""
    with locked(path.parent):
        path.unlink(missing_ok=True)
        listener.close()
        if works:
            path.with_suffix(".log").unlink(missing_ok=True)
        else:
            path.with_suffix(REFUSED).touch()


def main() -> None:
    """Import, then serve; a fork comes out of `serve` and runs its module here, on an empty stack."""
    name, state, workflow, file = sys.argv[1:]
    path, listener = Path(name), socket.socket(fileno=int(file))
    os.environ[ARROW_MALLOC] = "background_thread:false"
    show_as("warm parent", ["warm", "parent", "of", "the", "jobs", "of", workflow.split(":")[1]])
    request, works, parent = None, False, os.getpid()
    try:
        for module in IMPORTED:
            importlib.import_module(module)
        threads = len(os.listdir("/proc/self/task"))
        works = threads == 1 and code_state() == state
        if works:
            gc.collect()
            gc.freeze()
            request = Parent(path, listener, workflow).serve()
        else:
            print(f"{threads} threads, or other code than when it was started", flush=True)
    finally:
        if os.getpid() == parent:
            close(path, listener, works)
    if request is not None:
        run(request)


if __name__ == "__main__":
    main()
