"""The table of golden answers, and how many of each kind a checkout's graders have right.

PYTHONPATH=. python tests/support/golden.py                      this checkout
PYTHONPATH=/path/to/another python tests/support/golden.py       another's graders on this table
"""

from collections import Counter
from pathlib import Path

TABLE = Path(__file__).parents[1] / "reference_impl" / "text" / "golden_answers.tsv"


def rows() -> list[tuple[str, str, str, str, str]]:
    """(kind, gold, answer, verdict, why): a heading of the table names the kind of the rows below it."""
    kind, found = "", []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            kind = line[1:].partition(":")[0].strip()
        elif line:
            gold, answer, verdict, why = line.split("\t")
            found.append((kind, gold, answer, verdict, why))
    return found


def main() -> None:
    """Print kind, rows, rows that are right."""
    from reference_impl.text.answers import equality

    asked, right = Counter[str](), Counter[str]()
    for kind, gold, answer, verdict, _ in rows():
        asked[kind] += 1
        right[kind] += equality(gold, answer) == verdict
    for kind, count in asked.items():
        print(f"{kind}\t{count}\t{right[kind]}")
    print(f"all\t{asked.total()}\t{right.total()}")


if __name__ == "__main__":
    main()
