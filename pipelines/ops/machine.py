"""What `make doctor` inspects: packages, PyTorch, driver, compilers, memory, disk, servers. It judges nothing."""

import importlib.metadata
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 5.0
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Torch:
    """What PyTorch says of itself and of the machine."""

    version: str
    cuda: str | None
    nccl: str | None
    gpus: tuple[tuple[str, float], ...]
    """(name, GB) of each GPU that it can use."""


@dataclass(frozen=True)
class Answer:
    """Of an HTTP server: its status, or why there is none."""

    status: int | None
    problem: str = ""


def installed_version(name: str) -> str | None:
    """Version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def inspect_torch() -> Torch | None:
    """None where PyTorch cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):  # OSError: a library of the driver is missing
        return None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    properties = [torch.cuda.get_device_properties(index) for index in range(count)]
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if count else None
    gpus = tuple((found.name, found.total_memory / 1e9) for found in properties)
    return Torch(torch.__version__, torch.version.cuda, nccl, gpus)


def _output(command: Sequence[str]) -> str:
    """What a command prints; nothing where it is missing, fails or hangs."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


def driver_version() -> str | None:
    """As nvidia-smi gives it; None without a driver."""
    listed = _output(("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")).split()
    return listed[0] if listed else None


def nvcc_version() -> str | None:
    """Major and minor version of the CUDA compiler that FlashInfer would call on first use; None without one."""
    home = os.environ.get("CUDA_HOME")
    found = re.search(r"release (\d+\.\d+)", _output((str(Path(home, "bin/nvcc")) if home else "nvcc", "--version")))
    return found[1] if found else None


def compiler() -> str | None:
    """Path of the C++ compiler."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++"))), None)


def free_gb(path: Path) -> float:
    """Free space where a folder is, 0 where there is none."""
    return shutil.disk_usage(path).free / 1e9 if path.exists() else 0.0


def memory_gb() -> float:
    """Of the machine, not of the GPUs."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def open_files() -> int:
    """How many files a process may have open, after raising its own limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def ask(url: str, token: str | None) -> Answer:
    """A HEAD request. A redirect is an answer: following it could send the token to another server."""
    import httpx  # slow, and not needed for a scale without a hub and a judge

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        if httpx.URL(url).userinfo:  # would be sent instead of the token
            return Answer(None, "credentials in the address")
        system = ssl.create_default_context()  # its certificates, which may include a proxy's
        reply = httpx.head(url, headers=headers, timeout=TIMEOUT_S, verify=system, follow_redirects=False)
        return Answer(reply.status_code)
    # ValueError: a token that no header can carry; ImportError: a SOCKS proxy without its package.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        return Answer(None, type(cause).__name__)  # its text may hold the address with a password


@dataclass(frozen=True)
class Machine:
    """How the machine is inspected; tests bring their own."""

    python: tuple[int, ...] = tuple(sys.version_info[:3])
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    version: Callable[[str], str | None] = installed_version
    torch: Callable[[], Torch | None] = inspect_torch
    driver: Callable[[], str | None] = driver_version
    nvcc: Callable[[], str | None] = nvcc_version
    compiler: Callable[[], str | None] = compiler
    free_gb: Callable[[Path], float] = free_gb
    memory_gb: Callable[[], float] = memory_gb
    open_files: Callable[[], int] = open_files
    ask: Callable[[str, str | None], Answer] = ask

    def token(self) -> str | None:
        """The hub's token where its own client looks for it: HF_TOKEN, or the file that `hf auth login` writes."""
        home = Path(self.environment.get("HOME", "/nonexistent"), ".cache")
        folder = Path(self.environment.get("XDG_CACHE_HOME", home), "huggingface")
        path = Path(self.environment.get("HF_TOKEN_PATH") or Path(self.environment.get("HF_HOME", folder), "token"))
        try:
            return self.environment.get("HF_TOKEN") or path.expanduser().read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None
