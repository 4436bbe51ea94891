"""Write environment.yml: the GPU environment, every distribution pinned as in requirements/gpu-constraints.txt.

python -m pipelines.ops.environment
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "  - pip:\n"
"""What stands before it in environment.yml is written by hand."""


def document(written: str, constraints: str) -> str:
    """environment.yml: its own head, and the pins."""
    pins = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    return written.partition(MARK)[0] + MARK + "".join(f"      - {pin}\n" for pin in pins)


def main() -> None:
    path = ROOT / "environment.yml"
    constraints = (ROOT / "requirements" / "gpu-constraints.txt").read_text(encoding="utf-8")
    path.write_text(document(path.read_text(encoding="utf-8"), constraints), encoding="utf-8")


if __name__ == "__main__":
    main()
