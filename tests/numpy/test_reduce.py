"""NumPy's reductions on traced arrays: NumPy's values and errors, and derivatives in both modes."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import core
from wengert.core import concrete
from wengert.errors import UnsupportedFunctionError

SEED = 7
RNG = np.random.default_rng(SEED)
X = RNG.normal(size=(3, 4))
HOLES = np.where(X > 1, np.nan, X)
HOLES[0, 0] = np.nan
MASK = X > -0.6
MASK[:, 0] = True
WEIGHTS = RNG.uniform(0.5, 2, size=(3, 4))

# name of the function → calls as positional and keyword arguments after the array
WITH_INITIAL: list[dict[str, Any]] = [
    {"initial": 0.3},
    {"initial": 0.3, "where": MASK},
    {"initial": 2.5, "axis": 1, "where": MASK[0]},
]
PLAIN: list[dict[str, Any]] = [
    {},
    {"axis": 0},
    {"axis": -1, "keepdims": True},
    {"axis": (0, 1)},
    {"axis": (-1, 0), "keepdims": True},
    {"axis": ()},
]
ROWS = np.array([[True], [False], [True]])
MASKED: list[dict[str, Any]] = [
    {"where": MASK},
    {"where": MASK, "axis": 1},
    {"where": ROWS, "axis": 0, "keepdims": True},
]
DTYPED: list[dict[str, Any]] = [{"dtype": np.float32}, {"dtype": "complex128", "axis": 1}]
VARIANCES: list[dict[str, Any]] = [
    {"ddof": 1},
    {"correction": 0.5, "axis": 0},
    {"mean": X.mean(1, keepdims=True), "axis": 1},
    {"mean": 0.25, "where": MASK},
]
CALLS: dict[str, list[dict[str, Any]]] = {
    "sum": PLAIN + MASKED + DTYPED + WITH_INITIAL,
    "prod": PLAIN + MASKED + DTYPED + WITH_INITIAL,
    "max": PLAIN + WITH_INITIAL,
    "min": PLAIN + WITH_INITIAL,
    "amax": PLAIN[:2],
    "amin": PLAIN[:2],
    "ptp": PLAIN,
    "mean": PLAIN + MASKED + DTYPED,
    "var": PLAIN[:5] + MASKED + VARIANCES,
    "std": PLAIN[:5] + MASKED + VARIANCES,
    "nansum": PLAIN + MASKED + WITH_INITIAL,
    "nanprod": PLAIN + MASKED + WITH_INITIAL,
    "nanmean": PLAIN[:5] + MASKED[:1],
    "nanvar": PLAIN[:5] + VARIANCES[:1] + MASKED[:1],
    "nanstd": PLAIN[:5] + VARIANCES[:1],
    "nanmax": PLAIN[:5] + WITH_INITIAL,
    "nanmin": PLAIN[:5] + WITH_INITIAL,
    "median": PLAIN[:5],
    "average": [
        *PLAIN[:5],
        {"weights": WEIGHTS},
        {"weights": WEIGHTS[0], "axis": 1},
        {"weights": WEIGHTS.T, "axis": (1, 0)},
        {"weights": WEIGHTS, "axis": 0, "keepdims": True},
    ],
    "quantile": [
        {"q": 0.3},
        {"q": 0.5, "axis": 0},
        {"q": np.array([[0.1], [0.9]]), "axis": 1},
        {"q": 1, "axis": (0, 1)},
    ]
    + [
        {"q": 0.37, "axis": 1, "method": method} for method in ("lower", "midpoint", "hazen", "inverted_cdf", "weibull")
    ],
    "percentile": [{"q": 30}, {"q": [20, 80.0], "axis": 0, "keepdims": True}],
}
ALL_CALLS = [
    pytest.param(name, call, id=f"{name}-{i}") for name, calls in CALLS.items() for i, call in enumerate(calls)
]
METHODS = ("sum", "prod", "max", "min", "mean", "var", "std", "any", "all", "argmax", "argmin")


@pytest.fixture(autouse=True)
def seeded(monkeypatch):
    """Every test draws the same numbers, whatever ran before it."""
    monkeypatch.setattr(sys.modules[__name__], "RNG", np.random.default_rng(SEED))


def data_for(name: str) -> Any:
    return HOLES if name.startswith("nan") else X


def directional(f: Any, x: Any, v: Any) -> Any:
    """Five-point difference of f at x along v."""
    h = 1e-3
    return (f(x - 2 * h * v) - 8 * f(x - h * v) + 8 * f(x + h * v) - f(x + 2 * h * v)) / (12 * h)


def same(got: Any, expected: Any) -> None:
    """The same type, dtype, shape and bits."""
    assert type(got) is type(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize(("name", "call"), ALL_CALLS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_values_are_those_of_numpy(name: str, call: dict[str, Any], dtype: Any) -> None:
    x = (X * 3).astype(dtype) if dtype is np.int64 else data_for(name).astype(dtype)
    function = getattr(np, name)
    expected = function(x, **call)
    if dtype is not np.int64:
        got, _ = wg.jvp(lambda x: function(x, **call), (x,), (np.ones_like(x),))
        same(got, expected)
        same(wg.vjp(lambda x: function(x, **call), x)[0], expected)
    batched = wg.vmap(lambda x: function(x, **call))(np.stack([x, x]))
    np.testing.assert_allclose(batched[1], expected, rtol=1e-6)
    assert batched.dtype == expected.dtype


@pytest.mark.parametrize(("name", "call"), ALL_CALLS)
def test_derivatives(name: str, call: dict[str, Any]) -> None:
    x = data_for(name)
    call = {k: v for k, v in call.items() if k != "dtype" or np.dtype(v).kind == "c"}

    def f(x: Any) -> Any:
        return getattr(np, name)(x, **call)

    v = RNG.normal(size=x.shape)
    y, y_dot = wg.jvp(f, (x,), (v,))
    np.testing.assert_allclose(y_dot, directional(f, x, v), rtol=1e-8, atol=1e-8)
    ct = RNG.normal(size=y.shape).astype(y.dtype)
    _, pullback = wg.vjp(f, x)
    for _ in range(2):
        (bar,) = pullback(ct)
        assert bar.shape == x.shape and bar.dtype == x.dtype
        np.testing.assert_allclose(np.sum(bar * v), np.sum(ct * y_dot).real, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    for call in ({}, {"axis": 1}, {"axis": 0, "keepdims": True}):
        expected = getattr(X, name)(**call)
        got = wg.Variable(X)
        result = getattr(got, name)(**call)
        same(result if type(result) is not wg.Variable else result.data, expected)
    assert not hasattr(wg.Variable(X), "ptp")


def test_sums_of_integer_parts_have_no_derivative() -> None:
    for f in (np.sum, np.prod, np.mean, np.add.reduce, lambda x, dtype: np.cumsum(x, dtype=dtype)[-1]):
        x = np.array([1.5, 2.5])
        assert wg.grad(lambda x, f=f: f(x, dtype=int) * x[0])(x)[1] == 0
        assert wg.jvp(lambda x, f=f: f(x, dtype=int) * 1.0, (x,), (x,))[1] == 0


def test_python_numbers_and_lists() -> None:
    for f in (
        np.sum,
        np.prod,
        np.max,
        np.mean,
        np.nanmax,
        np.nansum,
        np.nanmean,
        np.median,
        np.ptp,
        np.average,
        np.std,
    ):
        expected = np.float64(0.0 if f in (np.ptp, np.std) else 1.0)
        same(abs(wg.grad(f)(1.5)), expected)
    np.testing.assert_allclose(wg.grad(lambda w: np.average([1.0, 2.0], weights=w))(np.ones(2)), [-0.25, 0.25])
    same(wg.grad(np.sum)(1.5), np.float64(1.0))
    assert wg.grad(lambda x: np.sum(a=x, axis=0))(np.float64(2.0)) == 1.0


def test_weights_initial_and_mean_can_be_traced() -> None:
    x, w = X[0], WEIGHTS[0]
    gradient = wg.grad(lambda w: np.average(x, weights=w))(w)
    np.testing.assert_allclose(gradient, (x - np.average(x, weights=w)) / w.sum(), rtol=1e-12)
    for name in ("sum", "prod", "max", "min"):
        f = getattr(np, name)
        value, slope = wg.jvp(lambda a, f=f: f(a * 0 + x, initial=a), (0.1,), (1.0,))
        assert value == f(x, initial=0.1)
        np.testing.assert_allclose(slope, directional(lambda a, f=f: f(x, initial=a), 0.1, 1.0), rtol=1e-9, atol=1e-9)
    gradient = wg.grad(lambda m: np.var(m * 0 + x, mean=m))(0.2)
    np.testing.assert_allclose(gradient, -2 * np.mean(x - 0.2), rtol=1e-12)
    centred = wg.grad(lambda x: np.std(x, mean=np.mean(x, keepdims=True)))(x)
    np.testing.assert_allclose(centred, wg.grad(np.std)(x), rtol=1e-12)


# ---------------------------------------------------------------------------------------------------- special points


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_products_with_zeros_to_third_order(zeros: int) -> None:
    x = np.array([1.5, -0.7, 2.0, 0.4])
    x[:zeros] = 0
    expected = np.zeros((4, 4, 4))
    for i in range(4):
        for j in range(4):
            for k in range(4):
                if len({i, j, k}) == 3:
                    expected[i, j, k] = x[6 - i - j - k]
    np.testing.assert_allclose(wg.jacobian(wg.hessian(np.prod))(x), expected, atol=1e-14)
    np.testing.assert_allclose(wg.jacfwd(wg.jacfwd(wg.jacfwd(np.prod)))(x), expected, atol=1e-14)
    grid = x.reshape(2, 2)
    np.testing.assert_allclose(wg.hessian(np.prod)(grid).reshape(4, 4), wg.hessian(np.prod)(x), atol=1e-14)


def test_ties_share_equally() -> None:
    x = np.array([1.0, 3.0, 3.0, 0.0, 3.0])
    np.testing.assert_array_equal(wg.grad(np.max)(x), np.array([0, 1, 1, 0, 1]) / 3)
    np.testing.assert_array_equal(wg.grad(np.min)(-x), np.array([0, 1, 1, 0, 1]) / 3)
    np.testing.assert_array_equal(wg.grad(lambda x: np.max(x, initial=3.0))(x), np.array([0, 1, 1, 0, 1]) / 4)
    np.testing.assert_array_equal(wg.grad(lambda x: np.max(x, initial=4.0))(x), np.zeros(5))
    assert wg.jvp(np.max, (x,), (np.arange(5.0),))[1] == pytest.approx(7 / 3)
    np.testing.assert_array_equal(wg.hessian(np.max)(x), np.zeros((5, 5)))
    np.testing.assert_array_equal(wg.grad(np.median)(x), np.array([0, 1, 1, 0, 1]) / 3)
    np.testing.assert_array_equal(wg.grad(np.ptp)(np.array([2.0, 2.0])), [0.0, 0.0])


@pytest.mark.parametrize("constant", [0.1, 0.0, 1e-300, 3.0])
def test_standard_deviation_of_constant_data(constant: float) -> None:
    x = np.full(3, constant)
    for f in (np.std, np.nanstd, lambda x: np.std(x, ddof=1), lambda x: np.std(np.reshape(x, (1, 3)), axis=1)[0]):
        np.testing.assert_array_equal(wg.grad(f)(x), np.zeros(3))
        np.testing.assert_array_equal(wg.jvp(f, (x,), (np.arange(3.0),))[1], 0)
        assert np.all(np.isfinite(wg.hessian(f)(x)))
    np.testing.assert_allclose(wg.hessian(np.var)(x), (np.eye(3) - 1 / 3) * 2 / 3, rtol=1e-12)


def test_masked_elements_take_no_part() -> None:
    x = np.array([1.0, np.nan, np.inf, 2.0])
    mask = np.array([True, False, False, True])
    for f, expected in (
        (lambda x: np.sum(x, where=mask), [1, 0, 0, 1]),
        (lambda x: np.mean(x, where=mask), [0.5, 0, 0, 0.5]),
        (lambda x: np.prod(x, where=mask), [2, 0, 0, 1]),
        (lambda x: np.var(x, where=mask), [-0.5, 0, 0, 0.5]),
        (lambda x: np.std(x, where=mask), [-0.5, 0, 0, 0.5]),
        (lambda x: np.max(x, where=mask, initial=-5), [0, 0, 0, 1]),
    ):
        np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-12)
        np.testing.assert_allclose(wg.jvp(f, (x,), (np.array([0.0, 5.0, 7.0, 1.0]),))[1], expected[3], rtol=1e-12)
        assert np.all(np.isfinite(wg.hessian(f)(x)))


def test_a_mask_may_be_batched() -> None:
    masks = RNG.uniform(size=(5, 3, 4)) > 0.4
    masks[..., 0] = True
    for f in (np.sum, np.mean, np.prod, np.var, np.std):
        for x, axes in ((X, (None, 0)), (np.stack([X] * 5), (0, 0))):
            got = wg.vmap(lambda x, m, f=f: wg.grad(lambda x: np.sum(f(x, axis=1, where=m)))(x), in_axes=axes)(x, masks)
            expected = [wg.grad(lambda x, m=m, f=f: np.sum(f(x, axis=1, where=m)))(X) for m in masks]
            np.testing.assert_allclose(got, np.stack(expected), rtol=1e-12)
    got = wg.vmap(lambda a: np.sum(X + 0 * a, initial=a))(np.arange(3.0))
    np.testing.assert_allclose(got, X.sum() + np.arange(3.0))
    np.testing.assert_array_equal(wg.vmap(lambda m: np.any(m, axis=0))(masks), masks.any(1))


def test_logarithmic_sums_at_infinity() -> None:
    inf = np.inf
    for f in (np.logaddexp.reduce, np.logaddexp2.reduce):
        for x, expected in (
            ([0.0, -inf], [1, 0]), ([0.0, inf], [0, 1]), ([inf, inf], [0.5, 0.5]), ([-inf, -inf], [0.5, 0.5]),
            ([800.0, 0.0], [1, 0]), ([0.0, -inf, 0.0], [0.5, 0, 0.5]),
        ):  # fmt: skip
            x = np.array(x)
            np.testing.assert_allclose(wg.grad(f)(x), expected, atol=1e-240)
            np.testing.assert_allclose(wg.jvp(f, (x,), (np.ones(len(x)),))[1], 1)
            assert np.all(np.isfinite(wg.hessian(f)(x)))


def test_other_special_points() -> None:
    np.testing.assert_array_equal(wg.grad(np.hypot.reduce)(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(wg.grad(np.hypot.reduce)(np.array([0.0, 2.0])), [0, 1])
    np.testing.assert_array_equal(wg.grad(np.nansum)(np.array([1.0, np.nan])), [1, 0])
    assert wg.grad(np.sum)(np.zeros((0, 3))).shape == (0, 3)
    assert wg.grad(np.prod)(np.zeros(0)).shape == (0,)
    z = np.array([1 + 2j, -0.5j, 3.0])
    np.testing.assert_allclose(wg.grad(np.var)(z), 2 * (z - z.mean()) / 3)
    np.testing.assert_allclose(wg.grad(np.std)(z), (z - z.mean()) / 3 / np.std(z))


def test_no_warning_or_error_of_the_rules_own() -> None:
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for f in (np.std, np.prod, np.max, np.var, np.hypot.reduce, np.logaddexp.reduce):
            wg.hessian(f)(np.array([0.0, 0.0, 1.0]))
            wg.grad(f)(np.zeros(3))


# --------------------------------------------------------------------------------------------------- ufunc methods

UFUNCS = (
    np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.subtract,
    np.divide, np.float_power, np.fmod,
)  # fmt: skip
REORDERABLE = UFUNCS[:9]


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda u: u.__name__)
def test_ufunc_reduce(ufunc: Any) -> None:
    x = RNG.uniform(0.5, 2, size=(3, 4))
    calls: list[dict[str, Any]] = [{}, {"axis": -1}, {"axis": 0, "keepdims": True}]
    if ufunc in REORDERABLE:
        calls += [{"axis": None}, {"axis": (0, 1), "initial": 0.7}, {"axis": 1, "where": MASK, "initial": 0.7}]
    for call in calls:
        v = RNG.normal(size=x.shape)

        def f(x: Any, call: Any = call) -> Any:
            return ufunc.reduce(x, **call)

        y, y_dot = wg.jvp(f, (x,), (v,))
        same(y, f(x))
        np.testing.assert_allclose(y_dot, directional(f, x, v), rtol=1e-7, atol=1e-8)
        ct = RNG.normal(size=y.shape)
        np.testing.assert_allclose(np.sum(wg.vjp(f, x)[1](ct)[0] * v), np.sum(ct * y_dot), rtol=1e-10)
        _, second = wg.jvp(lambda x, f=f, ct=ct: wg.vjp(f, x)[1](ct)[0], (x,), (v,))
        expected = directional(lambda x, f=f, ct=ct: wg.vjp(f, x)[1](ct)[0], x, v)
        np.testing.assert_allclose(second, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ufunc", UFUNCS[:6], ids=lambda u: u.__name__)
def test_ufunc_reduceat(ufunc: Any) -> None:
    x = RNG.uniform(0.5, 2, size=(6, 7))
    for indices, axis in (([0, 3, 1, 5], 0), ([2, 2, 6], 1), ([4], -1)):

        def f(x: Any, indices: Any = indices, axis: Any = axis) -> Any:
            return ufunc.reduceat(x, indices, axis=axis)

        v = RNG.normal(size=x.shape)
        y, y_dot = wg.jvp(f, (x,), (v,))
        same(y, f(x))
        np.testing.assert_allclose(y_dot, directional(f, x, v), rtol=1e-7, atol=1e-8)
        ct = RNG.normal(size=y.shape)
        np.testing.assert_allclose(np.sum(wg.vjp(f, x)[1](ct)[0] * v), np.sum(ct * y_dot), rtol=1e-10)


def test_discrete_functions_give_plain_arrays() -> None:
    def f(x: Any) -> Any:
        i = np.argmax(x)
        assert type(i) is np.int64 and type(np.any(x > 0)) is np.bool_ and np.count_nonzero(x) == 3
        assert np.argmin(x, axis=0, keepdims=True).shape == (1,)
        assert np.logical_xor.reduce(x) == np.logical_xor.reduce(concrete(x))
        assert np.logical_and.reduce(x, axis=None) == np.all(concrete(x))
        out = np.zeros((), np.int64)
        assert np.argmax(x, out=out) is out
        return x[i] ** 2

    np.testing.assert_array_equal(wg.grad(f)(np.array([1.0, 3.0, 2.0])), [0, 6, 0])
    np.testing.assert_array_equal(wg.vmap(np.argmax)(X), X.argmax(1))
    np.testing.assert_array_equal(
        wg.vmap(lambda x: np.argmax(x, keepdims=True))(np.stack([X, X])), [[[X.argmax()]]] * 2
    )
    np.testing.assert_array_equal(wg.vmap(lambda x: np.nanargmin(x, axis=0))(np.stack([X, X]))[1], X.argmin(0))
    np.testing.assert_array_equal(wg.vmap(np.count_nonzero)(X > 0), (X > 0).sum(1))
    np.testing.assert_array_equal(wg.vmap(np.all)(X > 0), (X > 0).all(1))


# --------------------------------------------------------------------------------------------------- out= and errors


def test_out() -> None:
    def f(x: Any) -> Any:
        out = np.zeros(3, like=x)
        assert np.sum(x, axis=1, out=out) is out
        np.multiply.reduce(x, axis=1, out=out[...])
        return np.sum(out)

    np.testing.assert_allclose(wg.grad(f)(X), wg.grad(lambda x: np.sum(np.prod(x, axis=1)))(X))
    with pytest.raises(TypeError, match="plain NumPy array"):
        wg.grad(lambda x: np.sum(x, out=np.zeros(())))(X)


ERRORS: list[Any] = [
    lambda x: np.sum(x, axis=2),
    lambda x: np.sum(x, axis=(0, 0)),
    lambda x: np.sum(x, axis=1.5),
    lambda x: np.sum(x, axis="a"),
    lambda x: np.mean(x, axis=-3),
    lambda x: np.mean(x[0, 0], axis=0),
    lambda x: np.max(x[:0]),
    lambda x: np.max(x, where=x > 0),
    lambda x: np.sum(x, where=np.ones((2, 3, 4), bool)),
    lambda x: np.sum(x, where=np.array([1, 0, 1, 1])),
    lambda x: np.var(x, ddof=1, correction=1),
    lambda x: np.argmax(x, axis=(0, 1)),
    lambda x: np.argmax(x, axis=5),
    lambda x: np.argmax(x[:0]),
    lambda x: np.average(x, weights=np.ones(4)),
    lambda x: np.average(x, weights=np.ones(3), axis=1),
    lambda x: np.average(x, weights=np.zeros((3, 4))),
    lambda x: np.quantile(x, 1.5),
    lambda x: np.quantile(x, 0.5, method="guess"),
    lambda x: np.median(x, axis=3),
    lambda x: np.subtract.reduce(x, axis=(0, 1)),
    lambda x: np.add.reduceat(x, [0, 9]),
    lambda x: np.add.accumulate(x[0, 0]),
    lambda x: (
        wg.vmap(lambda x: np.sum(x, where=np.ones((2, 2, 4), bool)))(np.stack([x, x]))
        if core.is_traced(x)
        else np.sum(x, where=np.ones((2, 3, 4), bool))
    ),
    lambda x: np.sum(x, unknown=1),
    lambda x: np.sin.reduce(x),
    lambda x: np.nanargmax(x * np.nan),
]


@pytest.mark.parametrize("call", ERRORS, ids=range(len(ERRORS)))
@pytest.mark.filterwarnings("ignore")
def test_errors_are_those_of_numpy(call: Any) -> None:
    with pytest.raises(Exception) as expected:
        call(X)
    with pytest.raises(type(expected.value)) as got:
        wg.grad(lambda x: np.sum(call(x)))(X)
    if "unexpected keyword" not in str(expected.value):
        assert str(got.value) == str(expected.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.quantile(x, x[0, 0]),
        lambda x: np.quantile(x, 0.5, weights=x, method="inverted_cdf"),
        lambda x: np.subtract.reduce(x, initial=3.0),
        lambda x: np.add.reduce(x, initial=None),
        lambda x: np.arctan2.reduce(x),
    ],
    ids=range(5),
)
def test_what_has_no_rule_is_refused(call: Any) -> None:
    with pytest.raises(UnsupportedFunctionError):
        wg.grad(lambda x: np.sum(call(x)))(X)
