"""NumPy's accumulations and differences on traced arrays: NumPy's values and errors, and derivatives in both modes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import UnsupportedFunctionError

SEED = 11
RNG = np.random.default_rng(SEED)
X = RNG.normal(size=(3, 4))
HOLES = np.where(X > 1, np.nan, X)
HOLES[0, 0] = np.nan
ZEROS = np.array([[1.5, 0.0, -0.7, 2.0], [0.0, 2.0, 0.0, 1.0], [0.3, 0.4, 0.5, 0.0]])
AT = np.array([0.0, 0.5, 0.7, 2.0])
AXES: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1}]

CALLS: dict[str, list[dict[str, Any]]] = {
    "cumsum": [*AXES, {"axis": 1, "dtype": "complex128"}],
    "cumprod": [*AXES, {"axis": 1, "dtype": np.float32}],
    "nancumsum": AXES,
    "nancumprod": AXES,
    "cumulative_sum": [*AXES[1:], {"axis": 1, "include_initial": True}],
    "cumulative_prod": [*AXES[1:], {"axis": 0, "include_initial": True}],
    "diff": [*AXES, {"n": 2}, {"n": 0}, {"axis": 0, "prepend": 1.0}, {"append": X[:, :2], "prepend": X}],
    "trapezoid": [{}, {"x": AT}, {"dx": 0.3, "axis": 0}, {"x": np.cumsum(X**2, axis=1)}],
    "gradient": [{"axis": 0}, {"axis": 1, "edge_order": 2}],
}
ALL_CALLS = [
    pytest.param(name, call, id=f"{name}-{i}") for name, calls in CALLS.items() for i, call in enumerate(calls)
]


@pytest.fixture(autouse=True)
def seeded(monkeypatch):
    """Every test draws the same numbers, whatever ran before it."""
    monkeypatch.setattr(sys.modules[__name__], "RNG", np.random.default_rng(SEED))


def directional(f: Any, x: Any, v: Any) -> Any:
    """Five-point difference of f at x along v."""
    h = 4e-4
    return (f(x - 2 * h * v) - 8 * f(x - h * v) + 8 * f(x + h * v) - f(x + 2 * h * v)) / (12 * h)


def check_derivatives(f: Any, x: Any) -> None:
    """First derivatives in both modes, second ones forward over reverse, a batch, and NumPy's own bits."""
    v = RNG.normal(size=x.shape)
    y, y_dot = wg.jvp(f, (x,), (v,))
    np.testing.assert_array_equal(y, f(x), strict=True)
    np.testing.assert_allclose(y_dot, directional(f, x, v), rtol=1e-7, atol=1e-8)
    ct = RNG.normal(size=y.shape).astype(y.dtype)

    def pulled(x: Any) -> Any:
        return wg.vjp(f, x)[1](ct)[0]

    np.testing.assert_allclose(np.sum(pulled(x) * v), np.sum(ct * y_dot).real, rtol=1e-10, atol=1e-12)
    second = wg.jvp(pulled, (x,), (v,))[1]
    np.testing.assert_allclose(second, directional(pulled, x, v), rtol=1e-6, atol=1e-6)
    xs = np.stack([x, x[::-1]])
    np.testing.assert_allclose(wg.vmap(f)(xs), [f(x) for x in xs], rtol=1e-12)


@pytest.mark.parametrize(("name", "call"), ALL_CALLS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
def test_values_are_those_of_numpy(name: str, call: dict[str, Any], dtype: Any) -> None:
    x = (X * 3).astype(dtype) if dtype is np.int8 else (HOLES if name.startswith("nan") else X).astype(dtype)
    function = getattr(np, name)
    expected = function(x, **call)
    if dtype is not np.int8:
        got, _ = wg.jvp(lambda x: function(x, **call), (x,), (np.ones_like(x),))
        np.testing.assert_array_equal(got, expected, strict=True)
    batched = wg.vmap(lambda x: function(x, **call))(np.stack([x, x]))
    np.testing.assert_array_equal(batched[1], expected, strict=True)


@pytest.mark.parametrize(("name", "call"), ALL_CALLS)
@pytest.mark.parametrize("zeros", [False, True])
def test_derivatives(name: str, call: dict[str, Any], zeros: bool) -> None:
    x = HOLES if name.startswith("nan") else ZEROS if zeros else X
    call = {k: v for k, v in call.items() if v is not np.float32}
    check_derivatives(lambda x: getattr(np, name)(x, **call), x)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_methods(name: str) -> None:
    for call in AXES:
        got = getattr(wg.Variable(X), name)(**call)
        np.testing.assert_array_equal(got.data, getattr(X, name)(**call), strict=True)
    assert wg.grad(lambda x: getattr(np, name)(x)[0])(2.0) == 1.0
    assert wg.grad(lambda x: getattr(np, name)(x, axis=0)[0])(np.array(2.0)) == 1.0


def test_running_products_with_zeros_to_third_order() -> None:
    def third(f: Any) -> Any:
        return wg.jacfwd(wg.jacrev(wg.jacfwd(f)))

    for x in ZEROS:
        np.testing.assert_allclose(third(lambda x: np.cumprod(x)[-1])(x), third(np.prod)(x), atol=1e-14)
        np.testing.assert_allclose(third(np.cumprod)(x)[2, :3, :3, :3], third(np.prod)(x[:3]), atol=1e-14)


ACCUMULATED = (
    np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.subtract,
    np.divide, np.fmod,
)  # fmt: skip


@pytest.mark.parametrize("ufunc", ACCUMULATED, ids=lambda u: u.__name__)
@pytest.mark.parametrize("axis", [0, -1])
def test_ufunc_accumulate(ufunc: Any, axis: int) -> None:
    check_derivatives(lambda x: ufunc.accumulate(x, axis=axis), RNG.uniform(0.5, 2, size=(4, 5)))


def test_running_extremes_share_ties() -> None:
    x = np.array([1.0, 3.0, 3.0, 0.0, 3.0, 4.0])
    half, third = 1 / 2, 1 / 3
    expected = np.array(
        [
            [1, 0, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, half, half, 0, 0, 0],
            [0, half, half, 0, 0, 0],
            [0, third, third, 0, third, 0],
            [0, 0, 0, 0, 0, 1],
        ]
    )
    for jacobian in (wg.jacfwd, wg.jacrev):
        np.testing.assert_allclose(jacobian(np.maximum.accumulate)(x), expected, atol=1e-15)
        np.testing.assert_allclose(jacobian(np.minimum.accumulate)(-x), expected, atol=1e-15)
    x = np.array([np.nan, 2.0, np.nan, 3.0])
    expected = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(wg.jacrev(np.fmax.accumulate)(x), expected)
    z = np.zeros(3)
    np.testing.assert_allclose(wg.jacfwd(np.maximum.accumulate)(z), np.tril(np.ones((3, 3))) / [[1], [2], [3]])


def test_accumulations_at_infinity() -> None:
    x = np.array([-np.inf, -np.inf, 0.0, 0.0, np.inf])
    rows = wg.jacrev(np.logaddexp.accumulate)(x)
    np.testing.assert_allclose(rows.sum(1), np.ones(5))
    np.testing.assert_allclose(rows[3], [0, 0, 0.5, 0.5, 0])
    np.testing.assert_allclose(rows, wg.jacfwd(np.logaddexp.accumulate)(x))


def test_spacings() -> None:
    f = lambda x: np.gradient(x, AT, axis=1)  # noqa: E731
    check_derivatives(f, X)
    check_derivatives(lambda x: np.gradient(x, AT, axis=1, edge_order=2), X)
    check_derivatives(lambda x: np.gradient(x, np.arange(4.0), axis=1), X)
    check_derivatives(lambda x: np.gradient(x, 0.5, AT)[1], X)
    check_derivatives(lambda x: np.gradient(x, 0.5)[0], X.astype(np.float64))
    for order in (1, 2):
        check_derivatives(lambda at, order=order: np.gradient(X[0], at, edge_order=order), AT)
    check_derivatives(lambda at: np.trapezoid(X, at), AT)
    narrow = X.astype(np.float32)
    for call in ({}, {"edge_order": 2}):
        got = wg.jvp(lambda x, call=call: np.gradient(x, 0.3, axis=0, **call), (narrow,), (narrow,))[0]
        np.testing.assert_array_equal(got, np.gradient(narrow, 0.3, axis=0, **call), strict=True)


def test_discrete_accumulations_give_plain_arrays() -> None:
    def f(x: Any) -> Any:
        assert type(np.logical_or.accumulate(x > 0)) is np.ndarray
        assert type(np.logical_or.accumulate(x)) is np.ndarray
        return np.sum(x)

    wg.grad(f)(X)
    np.testing.assert_array_equal(wg.vmap(np.logical_or.accumulate)(X > 0), np.logical_or.accumulate(X > 0, axis=1))


def test_out() -> None:
    def f(x: Any) -> Any:
        out = x.copy()
        assert np.cumsum(x, axis=0, out=out) is out
        return np.sum(out * out)

    np.testing.assert_allclose(wg.grad(f)(X), wg.grad(lambda x: np.sum(np.cumsum(x, axis=0) ** 2))(X))


ERRORS: list[Any] = [
    lambda x: np.cumsum(x, axis=3),
    lambda x: np.cumsum(x, axis=(0, 1)),
    lambda x: np.cumulative_sum(x),
    lambda x: np.diff(x, n=-1),
    lambda x: np.diff(x[0, 0]),
    lambda x: np.diff(x, axis=2),
    lambda x: np.gradient(x, 1.0, 2.0, 3.0),
    lambda x: np.gradient(x, np.ones(7), axis=0),
    lambda x: np.gradient(x, np.ones((3, 1)), axis=0),
    lambda x: np.gradient(x[:1]),
    lambda x: np.gradient(x, edge_order=3),
    lambda x: np.add.accumulate(x, axis=2),
    lambda x: np.add.accumulate(x, axis=None),
    lambda x: np.sin.accumulate(x),
]


@pytest.mark.parametrize("call", ERRORS, ids=range(len(ERRORS)))
def test_errors_are_those_of_numpy(call: Any) -> None:
    with pytest.raises(Exception) as expected:
        call(X)
    with pytest.raises(type(expected.value)) as got:
        wg.grad(lambda x: np.sum(call(x)))(X)
    assert str(got.value) == str(expected.value)


def test_what_has_no_rule_is_refused() -> None:
    with pytest.raises(UnsupportedFunctionError, match=r"numpy\.arctan2\.accumulate"):
        wg.grad(lambda x: np.sum(np.arctan2.accumulate(x)))(X)
