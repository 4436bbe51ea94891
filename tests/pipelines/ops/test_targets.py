"""`make help` names what there is."""

from pipelines.ops.targets import listing
from pipelines.plan import load_plan


def test_every_target_and_scale_is_named() -> None:
    words = set(listing().replace(",", " ").split())
    choice = load_plan({"scale": "mini"}).choice
    assert words >= {*choice.declarations.methods, *choice.declarations.experiments, "paper", "smoke", "everything"}
    assert max(map(len, listing().splitlines())) <= 110
