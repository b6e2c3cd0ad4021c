"""The control: the oracle is NumPy. No engine is involved: each row is what NumPy really does, and differentiable."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from . import judge_programs
from .faces import SECOND_RTOL, SECOND_STEP, cases, check, loss_of, plain, slopes
from .oracle import assert_close, basis, gradient, jacobian, leaves, second
from .plain import Plain
from .programs import Program, programs
from .row import Row
from .table import TABLE, count

RUNS = [row for row in TABLE if row.fate != "raises"]
SMOOTH = [row for row in TABLE if row.fate in ("works", "careful")]


def test_ids_are_unique() -> None:
    assert [name for name, n in Counter(row.id for row in TABLE).items() if n > 1] == []


def test_the_table_has_not_shrunk() -> None:
    assert count() >= Counter(works=1000, raises=75, refused=110, careful=65)


@pytest.mark.parametrize("row", RUNS, ids=lambda row: row.id)
def test_numpy_permits(row: Row) -> None:
    """Rows that work, and rows that we refuse although NumPy does not."""
    for leaf in leaves(plain(row, row.fresh_input())):
        assert np.asarray(leaf).dtype.kind in "fc"


@pytest.mark.parametrize("row", [row for row in TABLE if row.fate == "raises"], ids=lambda row: row.id)
def test_numpy_raises(row: Row) -> None:
    with pytest.raises(row.error) as caught:
        row.program(row.fresh_input())
    assert row.says in str(caught.value)


@pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.id)
def test_the_stencil_is_converged(row: Row) -> None:
    """Half the step, the same slope: no kink is near, and the tolerance is honest."""
    x = row.fresh_input()
    value = max(1.0, *(float(np.max(np.abs(leaf), initial=0.0)) for leaf in leaves(plain(row, x))))
    assert_close(jacobian(row.program, x, row.step / 2), slopes(row), row.rtol / 2, "slopes", value)
    loss = loss_of(row)
    scale = abs(float(loss(row.fresh_input())))
    assert_close(gradient(loss, x, row.step / 2), gradient(loss, x, row.step), row.rtol / 2, "gradient", scale)
    if row.second:
        t = np.sum([(-0.7) ** i * unit for i, unit in enumerate(basis(x))], axis=0)
        assert_close(
            second(loss, x, t, SECOND_STEP / 2), second(loss, x, t, SECOND_STEP), SECOND_RTOL / 2, "Hessian", scale
        )


@pytest.mark.parametrize(
    ("row", "face"),
    [case for case in cases(TABLE) if case[0].fate != "refused" and case[1] != "forward over reverse"],
    ids=lambda part: part.id if isinstance(part, Row) else part,
)
def test_numpy_passes_its_own_table(row: Row, face: str) -> None:
    check(row, face, Plain(row.step))


@pytest.mark.parametrize("face", judge_programs.FACES)
@given(program=programs())
@settings(max_examples=50, deadline=None, database=None)
def test_numpy_passes_its_own_programs(face: str, program: Program) -> None:
    judge_programs.check(program, face, Plain())
