"""What can follow `snakemake --cores 2`, in a few lines: `make help` ends with it."""

import textwrap

from pipelines.plan import load_plan
from reference_impl.config import CONFIG_DIR


def listing(width: int = 110) -> str:
    """Tables, figures, methods and scales by name, each kind a paragraph."""
    choice = load_plan({"scale": "mini"}).choice
    kinds = {
        "tables": choice.experiments("table"),
        "figures": choice.experiments("figure"),
        "pages": choice.experiments("page"),
        "methods": list(choice.declarations.methods),
        "all at once": [
            "headline",
            "everything",
            "tune",
            "regrade",
            "compare",
            "phi_board",
            "sensitivity",
            "map",
            "retrain_policies",
        ],
        "scales": sorted(path.stem for path in (CONFIG_DIR / "scales").glob("*.yaml")),
    }
    parts = [
        textwrap.fill(", ".join(names), width, initial_indent=f"  {kind:12}", subsequent_indent=" " * 14)
        for kind, names in kinds.items()
    ]
    return "\n".join(["snakemake --cores 2 TARGET [--config scale=SCALE]", *parts])


if __name__ == "__main__":
    print(listing())
