"""README's result block from a results folder: Table 1 in short, the claims' verdicts, the picture.

    python -m reports.readme --scale mini --results results/mini

First the sources are copied to where a clone has them: docs/results/table1.csv and .md, claims.csv, source.json (scale,
seeds, revisions, hash of the picture), and docs/pictures/figure9.png. Then README's block and docs/results/README.md
are written from these alone, so that a test can write them again without results and compare.
"""

import argparse
import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference_impl.config.model import read_yaml
from reference_impl.files import file_hash, whole_file, write_json, write_text
from reports.claims import CLAIMS, FAILS, HOLDS, MAIN, UNDECIDED, UNTESTED, decide, family_wise, to_csv
from reports.inputs import ROOT, Results, add_common, open_results, run_command
from reports.site import EVERYTHING, HEADLINE, shown
from reports.table_formats import pipe

START, END = "<!-- results: written by `make readme`, not by hand -->", "<!-- end of results -->"
RESULTS, PICTURE = Path("docs/results"), Path("docs/pictures/figure9.png")
COLUMNS = ("AMC", "AIME24", "MMLU-Pro", "BFCL Overall")
"""The paper's columns of Table 1 that README shows."""


def collect(results: Results, page: str, root: Path = ROOT) -> None:
    """Copy what README is written from out of a results folder into the repository at `root`.

    `page` says whose experiments decide the claims: headline or everything. Raises ValueError naming a file that is
    missing and the command that makes it.
    """
    tables = [results.require(results.root / "report" / "tables" / f"table1.{ending}") for ending in ("csv", "md")]
    picture = results.require(results.root / "report" / "figures" / PICTURE.name)
    claims = decide(results, list(shown(results.decl, page)))
    runs = [json.loads(path.read_text("utf-8")) for path in results.root.glob("runs/*/*/seed*/run.json")]
    theirs = {
        run for name in results.decl.methods if name not in results.decl.mine_names for run in _runs(results, name)
    }
    runs = [run for run in runs if run["method"] in theirs]
    if results.seeds is not None:
        runs = [run for run in runs if run["seed"] in results.seeds]
    for table in tables:
        write_text(root / RESULTS / table.name, table.read_text("utf-8"))
    write_text(root / RESULTS / "claims.csv", to_csv(claims))
    with whole_file(root / PICTURE) as temporary:
        shutil.copyfile(picture, temporary)
    source = {
        "scale": results.scale.name,
        "seeds": sorted({run["seed"] for run in runs}),
        "runs": len(runs),
        "hours": round(sum(run["wall_seconds"] for run in runs) / 3600, 1),
        "family": dict(family_wise(claims)),
        "revisions": sorted({(run["code_revision"] or "no checkout")[:12] for run in runs}),
        "picture": {"path": str(PICTURE), "sha256": file_hash(picture)},
    }
    write_json(root / RESULTS / "source.json", source)


def _runs(results: Results, method: str) -> set[str]:
    """A method and the members of its grid."""
    return {method, *results.decl.runs(method)}


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def short_table(path: Path) -> list[str]:
    """table1.csv (reports.tables) → lines of a pipe table: ours, its interval, the paper's value after a stroke."""
    header, *rows = _rows(path)
    # A column's numbers end with the printed one, and begin after the last column's: name, low, high, ….
    ends = {name.removesuffix(" (paper)"): at for at, name in enumerate(header) if name.endswith(" (paper)")}
    starts = dict(zip(ends, [header.index("seeds") + 1, *(end + 1 for end in ends.values())], strict=False))

    def cell(row: list[str], column: str) -> str:
        mean, low, high = row[starts[column] : starts[column] + 3]
        ours = f"{float(mean):.1f} [{float(low):.1f}, {float(high):.1f}]" if mean else "–"
        return f"{ours} / {row[ends[column]] or '–'}"

    names = [f"`{header[starts[column]]}` / {column}" for column in COLUMNS]
    return [
        pipe(["", *names]),
        pipe(["---"] * (1 + len(names))),
        *(pipe([row[header.index("label")], *(cell(row, column) for column in COLUMNS)]) for row in rows),
    ]


def verdicts(path: Path) -> dict[str, str]:
    """claims.csv → claim → verdict, in the file's order."""
    header, *rows = _rows(path)
    return {row[header.index("claim")]: row[header.index("claim verdict")] for row in rows}


def sentences() -> dict[str, tuple[str, str]]:
    """Claim → (the paper's sentence, its section), from claims.yaml."""
    return {entry["id"]: (entry["paper"], str(entry["section"])) for entry in read_yaml(CLAIMS)}


def counted(found: dict[str, str], source: dict[str, Any]) -> str:
    """How many claims hold, in a sentence."""
    count = Counter(found.values())
    one = " (one seed: another may turn a verdict)" if len(source["seeds"]) == 1 else ""
    family = source["family"]
    return (
        f"Of {len(found)} claims of the paper **{count[HOLDS]} hold here, {count[FAILS]} do not, "
        f"{count[UNDECIDED]} are undecided, {count[UNTESTED]} are not testable here**{one}; "
        f"as one family of tests, {family[HOLDS]} hold and {family[FAILS]} do not"
    )


def made_by(source: dict[str, Any]) -> str:
    """Where the numbers come from, in a sentence."""
    seeds = ", ".join(map(str, source["seeds"]))
    revisions = ", ".join(f"`{revision}`" for revision in source["revisions"])
    several = "s" if len(source["seeds"]) > 1 else ""
    effort = f"{source['runs']} runs, {source['hours']:g} hours of training, code of {revisions}"
    return f"Scale `{source['scale']}`, seed{several} {seeds}: {effort}."


def block(root: Path = ROOT) -> str:
    """README's result block, markers included, from docs/results alone."""
    found = verdicts(root / RESULTS / "claims.csv")
    source = json.loads((root / RESULTS / "source.json").read_text("utf-8"))
    said = sentences()
    quoted = [pipe([f"{said[name][0]} ({said[name][1]})", found[name]]) for name in MAIN if name in found]
    lines = [
        START,
        made_by(source),
        "Accuracy in % [95 % interval over questions] / the paper's, of its models on its benchmarks;",
        "[every column, with what must be said of the rows](docs/results/table1.md).",
        "",
        *short_table(root / RESULTS / "table1.csv"),
        "",
        f"{counted(found, source)} ([all of them](docs/results/README.md)); of its main argument:",
        "",
        pipe(["the paper", "here"]),
        pipe(["---", "---"]),
        *quoted,
        END,
    ]
    return "\n".join(lines)


def listing(root: Path = ROOT) -> str:
    """docs/results/README.md: every claim with its comparisons, from docs/results alone."""
    header, *rows = _rows(root / RESULTS / "claims.csv")
    source = json.loads((root / RESULTS / "source.json").read_text("utf-8"))
    found, said = verdicts(root / RESULTS / "claims.csv"), sentences()
    at = {name: header.index(name) for name in ("claim", "comparison", "difference", "low", "high", "unit", "paper")}

    def measured(row: list[str]) -> str:
        if not row[at["difference"]]:
            return f"{row[at['comparison']]}: too few data"
        mean, low, high = (f"{float(row[at[name]]):+.3g}" for name in ("difference", "low", "high"))
        printed = f"; paper {row[at['paper']]}" if row[at["paper"]] else ""
        return f"{row[at['comparison']]}: {mean} [{low}, {high}] {row[at['unit']]}{printed}"

    lines = [
        "# The paper's claims, decided",
        "",
        "Written by `make readme` from `claims.csv` beside it; how a claim is decided is at the head of",
        "[claims.yaml](../../reports/claims.yaml). " + made_by(source) + " " + counted(found, source) + ".",
    ]
    for verdict in (HOLDS, FAILS, UNDECIDED, UNTESTED):
        chosen = [name for name, decided in found.items() if decided == verdict]
        lines += [
            "",
            f"## {verdict.capitalize()}: {len(chosen)}",
            "",
            pipe(["the paper", "difference [95 % interval]"]),
        ]
        lines.append(pipe(["---", "---"]))
        for name in chosen:
            parts = [measured(row) for row in rows if row[at["claim"]] == name]
            lines.append(pipe([f"{said[name][0]} ({said[name][1]})", "<br>".join(parts)]))
    return "\n".join(lines) + "\n"


def insert(text: str, made: str) -> str:
    """`text` with what stands between the markers replaced. Raises ValueError where they do not stand there once."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"README.md needs the two markers of its result block, once and in order: {START} … {END}")
    return re.sub(re.escape(START) + ".*?" + re.escape(END), lambda _: made, text, flags=re.DOTALL)


def write(root: Path = ROOT) -> None:
    """README.md's block and docs/results/README.md, from docs/results."""
    readme = root / "README.md"
    write_text(readme, insert(readme.read_text("utf-8"), block(root)))
    write_text(root / RESULTS / "README.md", listing(root))


def main(argv: Sequence[str] | None = None) -> None:
    """Copy the sources into the repository, then write README's block."""
    made = argparse.ArgumentParser(description="Write README's result block from a results folder.")
    made.add_argument("--page", choices=(HEADLINE, EVERYTHING), default=EVERYTHING, help="whose claims are decided")
    add_common(made)
    arguments = made.parse_args(argv)
    collect(open_results(arguments), arguments.page)
    write()


if __name__ == "__main__":
    run_command(main)
