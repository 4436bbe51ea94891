"""Pictures of a report's page for docs/usage.md: its first screen and a table as a reader sees them.

    python -m tests.harness.page_pictures results/mini/report/index.html docs/pictures

Needs Chromium on the path.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.support.browser import browser, find_browser

VIEWS = {"page": ("", 1280, 1100), "page-table1": ("#table1", 1280, 760)}
"""Picture → the place on the page, width and height in pixels."""
SETTLED_S = 2.0
"""Figures are drawn after the page has loaded."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    command = find_browser()
    if command is None:
        sys.exit("no Chromium on the path")
    with browser(command) as tab:
        for name, (place, width, height) in VIEWS.items():
            tab.view(width, height)
            tab.open("about:blank")
            tab.open(f"{arguments.page.resolve().as_uri()}{place}")
            time.sleep(SETTLED_S)
            tab.screenshot(arguments.out / f"{name}.png")
        if tab.errors:
            sys.exit("\n".join(tab.errors))


if __name__ == "__main__":
    main()
