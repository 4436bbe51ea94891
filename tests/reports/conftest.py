"""Results from which both pages can be made: once for all tests of the page."""

import pytest

from reports.inputs import Results
from tests.support.synthetic_samples import page_results


@pytest.fixture(scope="session")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Synthetic results with tables, figures, samples and φ. Tests put back what they change."""
    return page_results(tmp_path_factory.mktemp("page") / "mini")
