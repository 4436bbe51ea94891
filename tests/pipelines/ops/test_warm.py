"""Jobs as forks of a warm parent: what comes of them is what comes of `python -m`, and nothing stays behind.

The parent is the project's, in a folder of its own in which it imports next to nothing.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.ops import warm, warm_parent
from tests.support.checkout import REPO
from tests.support.warm_project import Project, running, soon, text_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere modules run by themselves")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """One for a test that changes it."""
    with running(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One, with one parent, for tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("shared")) as made:
        yield made


ENDS = {
    "as it should": 'print("out", __name__, sys.argv[1:]); print("err", file=sys.stderr)',
    "with a number": "sys.exit(3)",
    "with a negative number": "sys.exit(-1)",
    "with a sentence": 'sys.exit("error: no such thing")',
    "with an error": 'raise ValueError("wrong")',
    "in a function": 'def f():\n    raise KeyError("x")\nf()',
    "at an error of syntax": "print(",
    "with text in its buffer": 'sys.stdout.write("no end of line")',
    "after its threads": 'import threading; threading.Timer(0.2, lambda: print("late")).start()',
    "with what asked to be called": 'import atexit; atexit.register(print, "at exit"); print("first")',
    "with an open file": 'open("file.txt", "w").write("text"); held = [open("held.txt", "w")]; held[0].write("text")',
    "by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "by an interruption": "raise KeyboardInterrupt",
    "without a standard output": "import os; os.close(1); print('x')",
    "in its folder, with its mask": 'import os; print(os.getcwd(), oct(os.umask(0)), os.environ["MINE"], os.isatty(1))',
    "having read": "print(sys.stdin.read())",
    "with its GPUs hidden": 'import os; print(repr(os.environ["CUDA_VISIBLE_DEVICES"]))',
    "where it is found": "print(__file__, __spec__.name, sys.path[0], sys.argv[0], __package__)",
}
"""How a job ends → its code."""


@pytest.mark.parametrize("end", ENDS)
def test_a_job_ends_as_it_would_by_itself(shared: Project, end: str) -> None:
    shared.write(f"import sys\n{ENDS[end]}\n")
    found = []
    for through in ("", "pipelines.ops.warm"):
        job = shared.begin("a b", "", "ü", through=through, stdin=subprocess.PIPE, umask=0o27)
        output, errors = job.communicate("text\n", timeout=60)
        files = [path.read_text() for path in sorted(shared.folder.glob("*.txt"))]
        frames = [line for line in errors.splitlines() if not line.startswith('  File "<frozen ')]  # runpy's own
        found.append((job.returncode, output, frames, files))
        for path in shared.folder.glob("*.txt"):
            path.unlink()
    assert found[0] == found[1]
    assert len(shared.parents()) == 1, "it was a fork"


def test_one_parent_serves_one_job_after_the_other(shared: Project) -> None:
    shared.write("import os; print(os.getppid())")
    numbers = {shared.run().stdout.strip() for _ in range(3)}
    assert numbers == {str(process.pid) for process in shared.parents()} and len(numbers) == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that starts tests in the background lets them ignore SIGINT, and what they start would too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_signals_reach_the_job(shared: Project) -> None:
    shared.write(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    for number, status in ((signal.SIGTERM, 5), (signal.SIGINT, -signal.SIGINT), (signal.SIGHUP, -signal.SIGHUP)):
        job = shared.begin()
        assert job.stdout is not None and job.stdout.readline() == "ready\n"
        job.send_signal(number)
        _, errors = job.communicate(timeout=120)
        assert job.returncode == status and ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)


def test_a_signal_that_is_ignored_is_ignored(shared: Project) -> None:
    shared.write("import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)")
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'pipelines.ops.warm', 'job'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shared.folder,
        env=shared.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


def test_a_job_ends_with_its_client(shared: Project) -> None:
    shared.write("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    job = shared.begin()
    assert job.stdout is not None
    fork = psutil.Process(int(job.stdout.readline()))
    job.kill()
    job.communicate()
    soon(lambda: not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE)


def test_two_jobs_run_side_by_side_in_one_parent_that_neither_had(project: Project) -> None:
    project.write(
        "import os, pathlib, sys, time\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)\n"
        "print(os.getppid())"
    )
    jobs = [project.begin("one", "two"), project.begin("two", "one")]
    outputs = {job.communicate(timeout=60)[0] for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0] and len(outputs) == 1 and len(project.parents()) == 1


def test_a_job_whose_parent_is_killed_runs_by_itself_once_its_fork_is_gone(project: Project) -> None:
    project.write(
        "import os, time\n"
        "with open('seen.txt', 'a') as file: print(os.getpid(), file=file)\n"
        "time.sleep(60 if len(open('seen.txt').readlines()) == 1 else 0)\n"
        "print('done')"
    )
    job = project.begin()
    fork = psutil.Process(int(soon(lambda: text_of(project.folder / "seen.txt"))))
    (parent,) = project.parents()
    assert fork.ppid() == parent.pid
    parent.kill()
    output, errors = job.communicate(timeout=60)
    assert (job.returncode, output) == (0, "done\n")
    assert "job starts by itself: the warm parent did not see it end" in errors
    assert not fork.is_running() or fork.status() == psutil.STATUS_ZOMBIE
    assert text_of(project.folder / "seen.txt").splitlines()[1] == str(job.pid)
    assert project.run().returncode == 0 and len(project.parents()) == 1, "the next finds another"


def test_other_code_or_another_environment_has_another_parent(project: Project) -> None:
    project.write("import os; print(os.getppid())")
    first = project.run().stdout
    assert project.run(env=project.environment(OMP_NUM_THREADS="7")).stdout != first
    assert project.run(env=project.environment(SHLVL="9")).stdout == first
    (project.folder / "reference_impl/new.py").write_text("x = 1")
    second = project.run().stdout
    assert second != first and project.run().stdout == second


@pytest.mark.parametrize("workflow", ["", "boot:1:2", "gone"])
def test_without_a_workflow_a_job_runs_by_itself(project: Project, workflow: str) -> None:
    project.write("import os; print(os.getpid())")
    if workflow == "gone":
        workflow = warm.process_name(project.workflow.pid)
        project.workflow.kill()
        project.workflow.wait()
    job = project.begin(env=project.environment(**{warm.WORKFLOW: workflow}))
    assert job.communicate(timeout=120) == (f"{job.pid}\n", "")
    assert not project.parents() and not list(project.sockets.iterdir())


def test_a_folder_that_others_can_enter_is_not_used(project: Project) -> None:
    project.write("print('done')")
    folder = project.sockets / f"chord-warm-{os.getuid()}"
    folder.mkdir(mode=0o755)
    done = project.run()
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "is not a folder that only this user enters" in done.stderr and not project.parents()


def test_a_parent_with_a_second_thread_is_none(project: Project) -> None:
    """Its forks might hang. The next job does not wait for another."""
    project.write(
        "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()", "spins"
    )
    project.edit('IMPORTED = ("json",', 'IMPORTED = ("spins",')
    project.write("print('done')")
    for reason in ("did not see it end", "could not start"):
        done = project.run()
        assert (done.returncode, done.stdout) == (0, "done\n") and reason in done.stderr, done.stderr
    (log,) = project.sockets.glob("*/*.log")
    assert "2 threads, or other code" in log.read_text() and not project.parents()


def test_a_parent_ends_with_its_workflow_after_its_jobs(project: Project) -> None:
    project.write("import time; print('ready', flush=True); time.sleep(2); print('done')")
    job = project.begin()
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    project.workflow.kill()
    project.workflow.wait()
    assert job.communicate(timeout=120)[0] == "done\n" and job.returncode == 0
    soon(lambda: not project.parents())
    assert not list(project.sockets.glob("*/*.socket"))


def test_a_parent_without_work_ends(project: Project) -> None:
    project.edit("IDLE_S = 300.0", "IDLE_S = 0.1")
    project.write("print('done')")
    for _ in range(2):
        assert project.run().stdout == "done\n"
        soon(lambda: not project.parents())


def test_names_say_what_runs(shared: Project) -> None:
    shared.write("import time; print('ready', flush=True); time.sleep(60)")
    job = shared.begin("--run", "grpo")
    assert job.stdout is not None and job.stdout.readline() == "ready\n"
    (parent,) = shared.parents()
    assert parent.cmdline()[:6] == ["warm", "parent", "of", "the", "jobs", "of"]
    soon(lambda: len(parent.children()) == 1)  # that of the job before is waited for
    (fork,) = parent.children()
    assert fork.name() == "job" and " ".join(fork.cmdline()).startswith("python -m job --run grpo")
    job.terminate()
    job.communicate(timeout=120)


def test_what_is_no_request_harms_nobody(shared: Project) -> None:
    shared.write("print('done')")
    assert shared.run().stdout == "done\n"
    (path,) = shared.sockets.glob("*/*.socket")
    for sent in (b"", b"\0\0\0\2{}", b"\xff" * 9):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(sent)
    assert shared.run().stdout == "done\n"


def test_another_users_socket_is_not_talked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="w") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "x"
        listener.bind(str(path))
        listener.listen()
        found = warm.connect(path)
        assert found is not None
        found.close()
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        with pytest.raises(PermissionError, match="is another user's"):
            warm.connect(path)


def test_a_process_is_told_from_its_successor() -> None:
    name = warm.process_name(os.getpid())
    boot, pid, start = name.split(":")
    assert warm.is_running(name) and int(pid) == os.getpid()
    for other in ("", "x", f"{boot}:{pid}:{int(start) + 1}", f"other:{pid}:{start}", f"{boot}:x:{start}"):
        assert not warm.is_running(other)


def test_what_rules_start_so_is_imported() -> None:
    rules = "".join(path.read_text(encoding="utf-8") for path in (REPO / "pipelines/rules").glob("*.smk"))
    started = set(re.findall(r"\{params\.start\} ([\w.]+)", rules))
    assert len(started) > 5
    assert started == {name for name in warm_parent.IMPORTED if name.split(".")[0] in warm.PACKAGES}


@pytest.mark.slow
def test_the_parent_of_real_jobs_has_one_thread_and_read_no_settings(tmp_path: Path) -> None:
    """What it imports once must be what a job would import: code alone, nothing that a user may change meanwhile."""
    code = (
        "import importlib, json, os, sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, given: event == 'open' and seen.append(str(given[0])))\n"
        "from pipelines.ops import warm_parent\n"
        "os.environ[warm_parent.ARROW_MALLOC] = 'background_thread:false'\n"
        "for module in warm_parent.IMPORTED: importlib.import_module(module)\n"
        "print(json.dumps([len(os.listdir('/proc/self/task')), seen]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=environment, capture_output=True, text=True, check=True
    )
    threads, seen = json.loads(done.stdout.splitlines()[-1])
    assert threads == 1
    own = [path for path in seen if Path(path).is_relative_to(REPO) and "site-packages" not in path]
    assert own and [path for path in own if not path.endswith(".py") and "__pycache__" not in path] == []
