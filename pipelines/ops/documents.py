"""The documents that are made from the declarations and from the models that read them.

    python -m pipelines.ops.documents            writes them (`make docs`)
    python -m pipelines.ops.documents --check    says which one is stale, and fails

Of fidelity.md that is one section. Nothing in them is written by hand, so they cannot differ from what runs; a test
checks them.
"""

import argparse
import difflib
import sys
from pathlib import Path

from pipelines.ops import declarations_table, keys_table, readings_table
from reference_impl.files import write_text

DOCUMENTS = {
    "declarations.md": declarations_table.document,
    "keys.md": keys_table.document,
    "fidelity.md": readings_table.document,
}


def main(argv: list[str] | None = None) -> None:
    """Write or check every document."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.ops.documents",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="where they are (docs)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail with the difference")
    arguments = parser.parse_args(argv)
    stale: list[str] = []
    for name, make in DOCUMENTS.items():
        path, made = arguments.folder / name, make()
        if not arguments.check:
            write_text(path, made)
            continue
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found != made:
            stale += difflib.unified_diff(found.splitlines(), made.splitlines(), str(path), "declared", lineterm="")
            stale.append(f"error: {path} is not what is declared: make docs")
    if stale:
        sys.exit("\n".join(stale))


if __name__ == "__main__":
    main()
