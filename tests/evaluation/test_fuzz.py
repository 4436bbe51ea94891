"""Random and damaged text to every parser of model text: a verdict, never an error, and never a second."""

from tests.support.fuzz import LIMIT_S, READERS, run


def test_no_text_raises_or_takes_a_second() -> None:
    """A few thousand; `python -m tests.support.fuzz` reads any number."""
    read, slowest = run(8_000, symbolic=0.005)
    assert dict(read) == dict.fromkeys(READERS, 2_000)
    assert [worst for worst in slowest if worst[0] >= LIMIT_S] == []
