"""Every row of docs/conventions.md: one test of the same wording."""

from pathlib import Path

import numpy as np
import pytest

from . import (  # noqa: F401  (they enter their rows)
    rows_compiled,
    rows_derivatives,
    rows_memory,
    rows_numbers,
    rows_refused,
)
from .rows import TESTS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")  # np.asmatrix


@pytest.fixture(autouse=True)
def _quiet():
    """The points are NumPy's own singularities, where its values warn."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("wording", TESTS)
def test_row(wording):
    TESTS[wording]()


def test_the_page_has_these_rows_and_no_others():
    assert [wording for wording in TESTS if f"\n| {wording} | " not in DOCUMENT] == []
    lines = DOCUMENT.splitlines()
    tables = sum(line.startswith("|---") for line in lines)
    assert sum(line.startswith("| ") for line in lines) == len(TESTS) + tables  # each table has a heading
