"""The mutation table under every face of wengert."""

from __future__ import annotations

import pytest

import wengert as wg

from .faces import cases, check
from .row import Row
from .table import TABLE


@pytest.mark.parametrize(("row", "face"), cases(TABLE), ids=lambda part: part.id if isinstance(part, Row) else part)
def test_row(row: Row, face: str) -> None:
    check(row, face, wg)
