"""What the report's pages share: templates that escape every value, styles, and words about a miniature."""

import base64

import jinja2
import markupsafe

from reports import table_formats
from reports.inputs import ROOT, Results
from reports.markers import visible

TEMPLATES = ROOT / "reports" / "templates"


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a data URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def is_miniature(results: Results) -> bool:
    """Whether any domain of this scale lives in the sandbox."""
    return any(domain.data == "sandbox" for domain in results.scale.domains.values())


def signed(value: float, unit: str) -> str:
    """A difference with its sign: one decimal for points and tokens, three for rewards and nats."""
    return f"{value:+,.{1 if unit in ('points', 'tokens') else 3}f}".replace("-", "\u2212")


def breakable(name: str) -> markupsafe.Markup:
    """A name that may break after its underscores."""
    return markupsafe.Markup("_<wbr>").join(name.split("_"))


def low_confidence(text: str) -> str:
    """The warning in an entry's `paper` text, from "Low confidence" on; empty where it has none."""
    _, found, rest = text.partition("Low confidence")
    return found + rest


def style(*names: str) -> str:
    """Style sheets as one, which a page carries in its head; by default the one that every page has."""
    return "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names or ("style.css",))


def environment() -> jinja2.Environment:
    """Templates with every value escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters.update(
        signed=signed,
        breakable=breakable,
        visible=visible,
        number=table_formats.number,
        interval=table_formats.interval,
    )
    return made
