"""The page's scripts and what a browser lets them do."""

import base64
import gzip
import hashlib

from reports.scripts import packed_plotly, page_script, plotly, policy, source_hash


def test_a_script_s_hash_is_that_of_its_bytes() -> None:
    digest = base64.b64encode(hashlib.sha256("μ".encode()).digest()).decode()
    assert source_hash("μ") == f"'sha256-{digest}'"


def test_nothing_is_let_in_but_the_scripts_named() -> None:
    made = policy("a", "b")
    assert f"script-src {source_hash('a')} {source_hash('b')} 'self' file:;" in made
    assert "default-src 'none'" in made and "http" not in made


def test_plotly_comes_out_as_it_went_in() -> None:
    assert gzip.decompress(base64.b64decode(packed_plotly())).decode() == plotly()
    assert "plotly.js" in plotly()[:200] and "Licensed under the MIT license" in plotly()[:200]


def test_the_page_s_script_can_stand_in_an_element() -> None:
    assert "</script" not in page_script() and "<!--" not in page_script()
    assert "innerHTML" not in page_script(), "text is set as text"
