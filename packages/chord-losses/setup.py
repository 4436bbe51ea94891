"""Puts the modules of reference_impl into the wheel: what `pyproject.toml` cannot say, since they lie outside of it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCES = Path(__file__).resolve().parents[2] / "reference_impl"
MODULES = ("advantages", "losses", "mu", "response_weights", "token_weights")
"""Those that import torch and the standard library alone."""


class FromReference(build_py):
    def run(self) -> None:
        super().run()
        for name in MODULES:
            self.copy_file(str(SOURCES / f"{name}.py"), str(Path(self.build_lib, "chord_losses", f"{name}.py")))


setup(cmdclass={"build_py": FromReference})
