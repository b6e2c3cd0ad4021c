"""The table of lines: values, tangents and adjoints against the transforms and against hand calculation."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

import wengert as wg
from wengert.errors import StructureError
from wengert.look.table import as_table, cells, lines


def product(x1, x2):
    return (x1 + x2) * np.sin(x1)


def test_by_hand():
    s, c = math.sin(1.0), math.cos(1.0)
    expected = {
        "input": [(1.0, 1.0, s + 3 * c), (2.0, 0.0, s)],
        "x1 + x2": [(3.0, 1.0, s)],
        "sin(x1)": [(s, c, 3.0)],
        "v1 * v2": [(3 * s, s + 3 * c, 1.0)],
    }
    found: dict[str, list[tuple[float, ...]]] = {}
    for line in lines(product, 1.0, 2.0):
        found.setdefault(line.expression, []).append((line.value, line.tangent, line.adjoint))
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        np.testing.assert_allclose(found[key], rows, rtol=1e-15)


def test_tangents_and_adjoints_meet():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=3), {"w": rng.normal(size=(3, 2))}
    x_dot, w_dot = rng.normal(size=3), {"w": rng.normal(size=(3, 2))}

    def f(x, w):
        return np.sum(np.tanh(x @ w["w"]) ** 2)

    rows = lines(f, x, w, tangents=(x_dot, w_dot))
    value, tangent = wg.jvp(f, (x, w), (x_dot, w_dot))
    gradient = wg.grad(f, argnums=(0, 1))(x, w)
    np.testing.assert_allclose(rows[-1].value, value, rtol=1e-14)
    np.testing.assert_allclose(rows[-1].tangent, tangent, rtol=1e-13)
    np.testing.assert_allclose(rows[0].adjoint, gradient[0], rtol=1e-13)
    np.testing.assert_allclose(rows[1].adjoint, gradient[1]["w"], rtol=1e-13)


def test_several_results_are_summed_in_the_adjoints():
    rows = lines(lambda x: (x, x * 3.0), np.ones(2))
    np.testing.assert_array_equal(rows[0].adjoint, [4.0, 4.0])


def test_integers_have_neither_tangent_nor_adjoint():
    rows = lines(lambda x, n: x * n, 2.0, 3, tangents=(1.0, None))
    assert rows[1].tangent is None and rows[1].adjoint is None
    assert rows[-1].tangent == 3.0


def test_a_whole_argument_may_rest():
    rows = lines(lambda x, w: x * w["a"] * w["b"], 2.0, {"a": 3.0, "b": 5.0}, tangents=(1.0, None))
    assert rows[-1].tangent == 15.0
    rows = lines(lambda x, w: x * w["a"] * w["b"], 2.0, {"a": 3.0, "b": 5.0}, tangents=(None, {"a": 1.0, "b": None}))
    assert rows[-1].tangent == 10.0


@pytest.mark.parametrize("tangents", [(), (1.0,), (1.0, 1.0, 1.0), (1.0, [1.0, 1.0])])
def test_a_wrong_number_of_tangents_is_refused(tangents):
    with pytest.raises(StructureError, match=r"2 inputs|does not fit"):
        lines(product, 1.0, 2.0, tangents=tangents)


def test_the_sign_of_zero_survives():
    rows = lines(lambda x: np.copysign(1.0, x) * 2.0, -0.0)
    assert rows[-1].value == -2.0 and rows[0].tangent == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_derivatives_have_the_dtype_of_their_line(dtype):
    for line in lines(lambda x: np.sin(x) * 2.0, np.ones(2, dtype)):
        assert np.asarray(line.tangent).dtype == np.asarray(line.adjoint).dtype == dtype


def test_it_prints():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(as_table(lines(product, np.ones(9), 2.0)))
    text = console.export_text()
    assert "v2 = sin(x1)" in text and "0.8415" in text


def test_decimal_points_are_under_each_other():
    columns = list(zip(*cells(lines(product, 1.0, 2.0)), strict=True))
    assert columns[0] == ("x1   input  ", "x2   input  ", "v1 = x1 + x2", "v2 = sin(x1)", "v3 = v1 * v2")
    assert columns[1] == ("1       ", "2       ", "3       ", "0.841471", "2.52441 ")
    for column in columns:
        assert len({len(text) for text in column}) == 1


def test_cells_of_what_is_not_a_float():
    rows = cells(lines(lambda x, k: (x * k, x > 1.0), 2.0, 12345, tangents=(1.0, None)))
    assert [row[1].strip() for row in rows] == ["2", "12345", "24690", "True"]
    assert [row[2].strip() for row in rows] == ["1", "—", "12345", "—"]
    assert cells([]) == []
