"""The scripts of the page: its own, plotly's, and the policy that lets a browser run these and nothing else."""

import base64
import hashlib
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from reports.pages import TEMPLATES
from reports.samples import packed

OWN = ("core.js", "tables.js", "figures.js", "samples.js")
"""In the order in which they run."""


def page_script() -> str:
    """The page's own script."""
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in OWN)


@cache
def plotly() -> str:
    """plotly.js as its Python package brings it (MIT; the notice is its first lines)."""
    path = distribution("plotly").locate_file("plotly/package_data/plotly.min.js")
    return Path(str(path)).read_text(encoding="utf-8")


@cache
def packed_plotly() -> str:
    """The same for a script element: gzip in base64, a third of its size."""
    return packed(plotly())


def source_hash(script: str) -> str:
    """What a policy calls a script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"


def policy(*scripts: str) -> str:
    """A Content-Security-Policy: these scripts, files of samples from beside the page, nothing from elsewhere."""
    allowed = " ".join(map(source_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed} 'self' file:; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
