"""The mutation table of docs/semantics §17: every row, from every file of rows."""

from __future__ import annotations

from collections import Counter

from . import (
    rows_assign,
    rows_augmented,
    rows_copies,
    rows_dtypes,
    rows_errors,
    rows_methods,
    rows_out,
    rows_refused,
    rows_views,
)
from .row import Row

TABLE: tuple[Row, ...] = tuple(
    row
    for family in (
        rows_augmented,
        rows_assign,
        rows_errors,
        rows_dtypes,
        rows_out,
        rows_views,
        rows_copies,
        rows_methods,
        rows_refused,
    )
    for row in family.ROWS.rows
)


def count() -> Counter[str]:
    """How many rows each fate has; `python -c 'from tests.mutation.table import count; print(count())'`."""
    return Counter(row.fate for row in TABLE)
