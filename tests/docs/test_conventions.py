"""Every row of docs/conventions.md: one test of the same wording."""

import cmath
import gc
import math
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import wengert as wg

DOCUMENT = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text(encoding="utf-8")
INF, NAN = np.inf, np.nan
Z = 1 + 2j
PAIR = np.array([2.0, 1.0])

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")  # np.asmatrix

TESTS = {}  # wording → test


def row(wording):
    """Enter a test under the first cell of its row."""

    def enter(test):
        assert wording not in TESTS
        TESTS[wording] = test
        return test

    return enter


@pytest.fixture(autouse=True)
def _quiet():
    """The points are NumPy's own singularities, where its values warn."""
    with np.errstate(all="ignore"):
        yield


# ---------------------------------------------------------------------------------------------------- derivatives


def forward(f, x):
    """Σ over results of the derivative in each element of x, by pushforwards."""
    if np.ndim(x) == 0:
        return wg.jvp(f, (x,), (np.ones_like(x)[()],))[1]
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([np.sum(wg.jvp(f, (x,), (v,))[1]) for v in basis]).reshape(x.shape)


def reverse(f, x):
    out, pullback = wg.vjp(f, x)
    return pullback(np.ones_like(out))[0]


def derivatives(wording, *cases):
    """A row of (function, point, derivative): the same in both modes, for scalars and arrays."""

    @row(wording)
    def test():
        for f, x, want in cases:
            x = np.array(x) if isinstance(x, list) else x
            for mode in (forward, reverse):
                got = np.real(mode(f, x)) if np.iscomplexobj(x) else mode(f, x)
                np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15, err_msg=f"{mode.__name__} at {x}")


norm = np.linalg.norm
W3 = np.array([1.0, 2.0, 3.0])
derivatives("`np.abs(x)`, `np.fabs(x)` at 0", (np.abs, 0.0, 0), (np.fabs, 0.0, 0), (abs, [0.0, -2.0], [0, -1]))
derivatives("`np.abs(z)` at 0, complex", (np.abs, 0j, 0), (np.abs, [0j, 3 + 0j], [0, 1]))
derivatives("`np.sign(x)` everywhere", (np.sign, 0.0, 0), (np.sign, 2.0, 0))
derivatives(
    "`np.maximum(x, y)`, `np.minimum`, `np.fmax`, `np.fmin` at x = y",
    *[(lambda x, f=f: f(x, 1.0), 1.0, 0.5) for f in (np.maximum, np.minimum, np.fmax, np.fmin)],
    *[(lambda y, f=f: f(1.0, y), 1.0, 0.5) for f in (np.maximum, np.minimum, np.fmax, np.fmin)],
)
derivatives("`np.maximum(x, x)`", (lambda x: np.maximum(x, x), 1.0, 1))
derivatives(
    "`np.fmax(x, nan)`, `np.fmin(x, nan)`", (lambda x: np.fmax(x, NAN), 1.0, 1), (lambda x: np.fmin(x, NAN), 1.0, 1)
)
derivatives(
    "`np.clip(x, lo, hi)` at a bound",
    (lambda x: np.clip(x, 0.0, 1.0), [0.0, 0.5, 1.0, 2.0], [0.5, 1, 0.5, 0]),
    (lambda lo: np.clip(0.5, lo, 1.0), 0.5, 0.5),
    (lambda hi: np.clip(0.5, 0.0, hi), 0.5, 0.5),
    (lambda x: x.clip(0, 1), [0.0, 2.0], [0.5, 0]),
    (lambda x: np.minimum(np.maximum(x, 0.0), 1.0), [0.0, 0.5, 1.0, 2.0], [0.5, 1, 0.5, 0]),
)
derivatives(
    "`np.clip(x, lo, hi)` at lo = x = hi",
    (lambda x: np.clip(x, 1.0, 1.0), 1.0, 0.25),
    (lambda lo: np.clip(1.0, lo, 1.0), 1.0, 0.25),
    (lambda hi: np.clip(1.0, 1.0, hi), 1.0, 0.5),
)
derivatives(
    "`np.max(x)`, `np.min(x)` with k equal extremes",
    (np.max, [3.0, 1.0, 3.0, 3.0], [1 / 3, 0, 1 / 3, 1 / 3]),
    (np.min, [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    (np.amax, [2.0, 2.0], [0.5, 0.5]),
    (np.maximum.reduce, [2.0, 2.0], [0.5, 0.5]),
    (lambda x: np.max(x, axis=1), [[1.0, 1.0], [2.0, 1.0]], [[0.5, 0.5], [1, 0]]),
)
derivatives("`np.ptp(x)` of equal elements", (np.ptp, [2.0, 2.0, 2.0], [0, 0, 0]))
derivatives(
    "`np.nanmax(x)`, `np.fmax.reduce(x)` beside NaN",
    (np.nanmax, [1.0, NAN, 1.0], [0.5, 0, 0.5]),
    (np.fmax.reduce, [1.0, NAN, 1.0], [0.5, 0, 0.5]),
    (np.nanmin, [1.0, NAN, 2.0], [1, 0, 0]),
)
derivatives(
    "`np.maximum.accumulate(x)` at a tie", (lambda x: np.maximum.accumulate(x)[1], [1.0, 1.0, 0.0], [0.5, 0.5, 0])
)
derivatives("`np.sort(x)` with equal elements", (lambda x: np.sort(x) @ W3, [2.0, 1.0, 2.0], [2, 1, 3]))
derivatives("`np.unique(x)`", (np.unique, [2.0, 1.0, 2.0], [1, 1, 0]))
derivatives(
    "`np.median(x)`, `np.quantile(x, q)` with ties",
    (np.median, [1.0, 2.0, 2.0], [0, 0.5, 0.5]),
    (np.median, [1.0, 1.0, 1.0, 2.0], [1 / 3, 1 / 3, 1 / 3, 0]),
    (np.median, [3.0, 1.0, 1.0, 2.0], [0, 0.25, 0.25, 0.5]),
    (lambda x: np.quantile(x, 0.5), [1.0, 2.0, 2.0], [0, 0.5, 0.5]),
)
derivatives(
    "`np.quantile(x, q)` at an element",
    (lambda x: np.quantile(x, 0.5), [3.0, 1.0, 2.0], [0, 0, 1]),
    (lambda x: np.quantile(x, 0.25), [1.0, 2.0, 3.0, 4.0], [0.25, 0.75, 0, 0]),
)
derivatives("`np.std(x)` of equal elements", (np.std, [2.0, 2.0, 2.0], [0, 0, 0]), (np.var, [2.0, 2.0], [0, 0]))
derivatives(
    "`np.hypot(x, y)` at the origin", (lambda x: np.hypot(x, 0.0), 0.0, 0), (lambda y: np.hypot(0.0, y), 0.0, 0)
)
derivatives(
    "`np.arctan2(y, x)`, `np.angle(z)` at the origin",
    (lambda y: np.arctan2(y, 0.0), 0.0, 0),
    (lambda x: np.arctan2(0.0, x), 0.0, 0),
    (np.angle, 0j, 0),
)
derivatives(
    "`np.arctan2(y, x)` on its cut, x < 0 and y = 0",
    (lambda y: np.arctan2(y, -2.0), 0.0, -0.5),
    (lambda x: np.arctan2(0.0, x), -2.0, 0),
)
derivatives(
    "`np.remainder(x, y)`, `x % y` at a jump",
    (lambda x: np.remainder(x, 2.0), 4.0, 1),
    (lambda x: x % 2.0, 4.0, 1),
    (lambda y: np.remainder(4.0, y), 2.0, -2),
    (lambda y: np.remainder(-5.0, y), 2.0, 3),
)
derivatives(
    "`np.fmod(x, y)` at a jump",
    (lambda x: np.fmod(x, 2.0), 4.0, 1),
    (lambda y: np.fmod(4.0, y), 2.0, -2),
    (lambda y: np.fmod(-5.0, y), 2.0, 2),
)
derivatives(
    "`np.floor`, `np.ceil`, `np.trunc`, `np.rint`, `np.round`, `np.fix`, `x // y` everywhere",
    *[(f, [1.0, 1.5], [0, 0]) for f in (np.floor, np.ceil, np.trunc, np.rint, np.round, np.fix, lambda x: x // 2.0)],
)
derivatives("`np.modf(x)`", (lambda x: np.modf(x)[0], 2.5, 1), (lambda x: np.modf(x)[1], 2.5, 0))
derivatives("`np.frexp(x)`", (lambda x: np.frexp(x)[0], 6.0, 2.0**-3))
derivatives(
    "`np.copysign(x, y)` at x = 0",
    (lambda x: np.copysign(x, -1.0), 0.0, 0),
    (lambda y: np.copysign(0.0, y), 1.0, 0),
    (lambda x: np.copysign(x, -1.0), 2.0, -1),
)
derivatives(
    "`np.heaviside(x, y)`",
    (lambda x: np.heaviside(x, 0.5), [0.0, 2.0], [0, 0]),
    (lambda y: np.heaviside(0.0, y), 0.5, 1),
    (lambda y: np.heaviside(1.0, y), 0.5, 0),
)
derivatives("`np.nextafter(x, y)`", (lambda x: np.nextafter(x, 2.0), 1.0, 1), (lambda y: np.nextafter(1.0, y), 2.0, 0))
derivatives("`np.spacing(x)` everywhere", (np.spacing, 1.0, 0))
derivatives(
    "`np.interp(x, xp, fp)` at a knot, in x",
    (lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]), [-1.0, 0.0, 1.0, 2.0, 5.0], [0, 1, 2, 2, 0]),
)
derivatives("`np.nan_to_num(x)` where it replaces", (np.nan_to_num, [NAN, INF, -INF, 1.0], [0, 0, 0, 1]))
derivatives(
    "`np.linalg.norm(x)` at 0, of any order",
    *[(lambda x, p=p: norm(x, p), [0.0, 0.0], [0, 0]) for p in (None, 2, 1, INF, -INF, 3, 1.5, 0.5, -1, -2)],
    *[(lambda a, p=p: norm(a, p), [[0.0, 0.0]] * 2, np.zeros((2, 2))) for p in (None, "fro", "nuc", 2, 1, INF)],
)
derivatives(
    "`np.linalg.norm(x, p)` where an element is 0, p < 1 included",
    *[(lambda x, p=p: norm(x, p), [1.0, 0.0], [1, 0]) for p in (1, 2, 1.5, 3, 0.5)],
)
derivatives(
    "`np.linalg.norm(x, inf)`, `norm(x, -inf)` with k equal extremes",
    (lambda x: norm(x, INF), [2.0, -2.0, 1.0], [0.5, -0.5, 0]),
    (lambda x: norm(x, -INF), [2.0, -2.0, 3.0], [0.5, -0.5, 0]),
)
derivatives("`np.linalg.norm(x, 0)`", (lambda x: norm(x, 0), [1.0, 0.0], [0, 0]))
derivatives(
    "`np.linalg.norm(a, 1)`, `norm(a, inf)` with k equal sums",
    (lambda a: norm(a, 1), [[1.0, -1.0], [0.0, 0.0]], [[0.5, -0.5], [0, 0]]),
    (lambda a: norm(a, INF), [[1.0, -1.0], [2.0, 0.0]], [[0.5, -0.5], [0.5, 0]]),
)
derivatives(
    "`np.linalg.norm(a, 2)`, `norm(a, -2)` with k equal singular values",
    (lambda a: norm(a, 2), [[1.0, 0.0], [0.0, 1.0]], np.eye(2) / 2),
    (lambda a: norm(a, -2), [[1.0, 0.0], [0.0, 1.0]], np.eye(2) / 2),
)
derivatives(
    '`np.linalg.norm(a, "nuc")` of a singular matrix',
    (lambda a: norm(a, "nuc"), [[1.0, 0.0], [0.0, 0.0]], [[1, 0], [0, 0]]),
)


@row("`np.argmax(x)`, `np.argsort(x)`, comparisons, `np.isnan(x)`")
def _():
    def f(x):
        assert isinstance(np.argmax(x), int | np.integer) and type(np.argsort(x)) is np.ndarray
        assert type(x > 1) is np.ndarray and type(np.isnan(x)) is np.ndarray
        return [10.0, 20.0][np.argmax(x)] * x[0] if x[0] > 1 else x[1]

    np.testing.assert_array_equal(wg.grad(f)(PAIR), [10, 0])
    assert wg.jvp(f, (PAIR,), (np.array([1.0, 0.0]),))[1] == 10


derivatives(
    "`np.prod(x)`, `np.cumprod(x)` with zeros",
    (np.prod, [0.0, 2.0, 3.0], [6, 0, 0]),
    (np.prod, [0.0, 0.0, 3.0], [0, 0, 0]),
    (np.cumprod, [0.0, 2.0, 3.0], [1 + 2 + 6, 0, 0]),
)
derivatives(
    "`x**0`, `x**1`, `x**2` at 0",
    *[(lambda x, n=n: x**n, 0.0, want) for n, want in ((0, 0), (0.0, 0), (1, 1), (1.0, 1), (2, 0), (2.0, 0))],
)
derivatives(
    "`np.sinc(x)` at 0",
    (np.sinc, 0.0, 0),
    (wg.grad(np.sinc), 0.0, -(math.pi**2) / 3),
    (wg.grad(np.sinc), [0.0][0], -(math.pi**2) / 3),
)
derivatives(
    "`np.logaddexp(x, y)` at equal infinities",
    (lambda x: np.logaddexp(x, INF), INF, 0.5),
    (lambda x: np.logaddexp(x, -INF), -INF, 0.5),
)
derivatives("`np.logaddexp(x, -inf)`", (lambda x: np.logaddexp(x, -INF), 1.0, 1))
derivatives(
    "`np.linalg.det(a)` of a singular matrix",
    (np.linalg.det, [[1.0, 2.0], [2.0, 4.0]], [[4, -2], [-2, 1]]),
    (np.linalg.det, [[0.0, 0.0], [0.0, 0.0]], np.zeros((2, 2))),
)
derivatives(
    "½ g(x)² where g = 0",
    (lambda x: 0.5 * np.sin(x) ** 2, 0.0, 0),
    (wg.grad(lambda x: 0.5 * np.sin(3 * x) ** 2), 0.0, 9),
    (lambda x: wg.jvp(lambda x: 0.5 * np.sin(3 * x) ** 2, (x,), (1.0,))[1], 0.0, 9),
)
derivatives(
    "`np.sqrt(x)`, `np.cbrt(x)`, `x**0.5` at 0", (np.sqrt, 0.0, INF), (np.cbrt, 0.0, INF), (lambda x: x**0.5, 0.0, INF)
)
derivatives(
    "`np.log(x)`, `np.log2(x)`, `np.log10(x)` at 0, `np.log1p(x)` at −1",
    *[(f, 0.0, INF) for f in (np.log, np.log2, np.log10)],
    (np.log1p, -1.0, INF),
)
derivatives(
    "`np.arcsin(x)`, `np.arctanh(x)` at ±1, `np.arccosh(x)` at 1",
    *[(f, x, INF) for f in (np.arcsin, np.arctanh) for x in (1.0, -1.0)],
    (np.arccosh, 1.0, INF),
)
derivatives("`np.arccos(x)` at ±1", (np.arccos, 1.0, -INF), (np.arccos, -1.0, -INF))
derivatives("`1 / x`, `np.reciprocal(x)` at 0", (lambda x: 1 / x, 0.0, -INF), (np.reciprocal, 0.0, -INF))
derivatives("`0.0**y` in y", *[(lambda y: np.power(0.0, y), y, want) for y, want in ((2.0, 0), (0.0, 0), (-1.0, -INF))])
derivatives("`(-2.0)**y` in y", (lambda y: np.power(-2.0, y), 2.0, NAN))


@row("`np.where(x > 0, np.sqrt(x), 0)` at 0 and below")
def _():
    def f(x):
        return np.where(x > 0, np.sqrt(x), 0)

    for x in (0.0, -1.0):
        assert wg.grad(f)(x) == wg.grad(wg.grad(f))(x) == wg.grad(wg.grad(wg.grad(f)))(x) == 0
        assert wg.jvp(f, (x,), (1.0,))[1] == wg.jvp(wg.grad(f), (x,), (1.0,))[1] == 0


derivatives(
    "`np.sum(np.sqrt(x), where=x > 0)` where masked", (lambda x: np.sum(np.sqrt(x), where=x > 0), [0.0, 4.0], [0, 0.25])
)
derivatives(
    "`np.sqrt(x, out=y, where=x > 0)` where masked",
    (lambda x: np.sqrt(x, out=np.zeros_like(x), where=x > 0), [0.0, 4.0], [0, 0.25]),
)


@row("`0.0 * np.sqrt(x)` at 0")
def _():
    assert reverse(lambda x: 0.0 * np.sqrt(x), 0.0) == 0
    assert np.isnan(forward(lambda x: 0.0 * np.sqrt(x), 0.0))


@row("`np.sqrt(x**4)` at 0")
def _():
    assert forward(lambda x: np.sqrt(x**4), 0.0) == 0
    assert np.isnan(reverse(lambda x: np.sqrt(x**4), 0.0))


# -------------------------------------------------------------------------------------------------------- complex


def squared(z):
    return np.abs(z) ** 2


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-14)


@row("`grad(lambda z: np.abs(z)**2)(z)`")
def _():
    close(wg.grad(squared)(Z), 2 + 4j)
    close(wg.grad(lambda z: np.sum(np.real(z * np.conj(z))))(np.array([Z])), [2 + 4j])


@row("`Variable(z)`, `backward()`, `.grad`")
def _():
    z = wg.Variable(Z)
    squared(z).backward()
    close(z.grad, 2 + 4j)


@row("PyTorch: `z.grad` of the same")
def _():
    torch = pytest.importorskip("torch")
    z = torch.tensor(Z, dtype=torch.complex128, requires_grad=True)
    (z.abs() ** 2).backward()
    close(z.grad.item(), 2 + 4j)


@row("JAX: `jax.grad` of the same")
def _():
    jax = pytest.importorskip("jax")
    np.testing.assert_allclose(complex(jax.grad(lambda z: abs(z) ** 2)(Z)), 2 - 4j, rtol=1e-6)


@row("`vjp(f, z)[1](1.0)`, and `jax.vjp` of the same")
def _():
    close(wg.vjp(squared, Z)[1](1.0)[0], 2 - 4j)
    jax = pytest.importorskip("jax")
    np.testing.assert_allclose(complex(jax.vjp(lambda z: abs(z) ** 2, Z)[1](1.0)[0]), 2 - 4j, rtol=1e-6)


@row("`jvp(f, (z,), (v,))`")
def _():
    v = 0.3 - 0.7j
    close(wg.jvp(squared, (Z,), (v,))[1], (np.conj(2 + 4j) * v).real)


@row("`derivative(np.exp)(z)`, `jacobian(np.exp, holomorphic=True)(z)`")
def _():
    close(wg.derivative(np.exp)(Z), cmath.exp(Z))
    close(wg.jacobian(np.exp, holomorphic=True)(Z), cmath.exp(Z))


@row("`jacobian(f)(z)` without `holomorphic=True`")
def _():
    with pytest.raises(TypeError, match="holomorphic=True"):
        wg.jacobian(np.exp)(Z)


@row("a real argument of a function that is complex inside")
def _():
    slope = wg.grad(lambda x: np.abs(np.exp(1j * x) + 1) ** 2)(0.3)
    assert type(slope) is np.float64
    close(slope, -2 * np.sin(0.3))


# ------------------------------------------------------------------------------------------------ numbers, dtypes

F32 = np.ones(2, np.float32)


@row("a Python number that meets a float32 array")
def _():
    assert wg.grad(lambda x: np.sum(2.5 * x + 1))(F32).dtype == np.float32
    value, tangent = wg.jvp(lambda a, x: a * x, (2.0, F32), (1.0, 0 * F32))
    assert value.dtype == tangent.dtype == np.float32


@row("a `np.float64` that meets a float32 array")
def _():
    value, tangent = wg.jvp(lambda x: np.float64(2) * x, (F32,), (F32,))
    assert value.dtype == tangent.dtype == np.float64


@row("`1 / x` at the Python float 0.0")
def _():
    value, slope = wg.value_and_grad(lambda x: 1 / x)(0.0)
    assert (value, slope) == (INF, -INF) and 1 / np.float64(0.0) == INF


@row("`x**(1/3)` at the Python float −8.0")
def _():
    value, slope = wg.value_and_grad(lambda x: x ** (1 / 3))(-8.0)
    assert np.isnan(value) and np.isnan(slope) and np.isnan(np.float64(-8.0) ** (1 / 3))


@row("the gradient of a Python float")
def _():
    value, slope = wg.value_and_grad(lambda x: x * x)(2.0)
    assert type(value) is type(slope) is np.float64
    assert [type(s) for s in wg.grad(lambda x, y: x * y, argnums=(0, 1))(1.0, 2.0)] == [np.float64] * 2


@row("the gradient of a `np.float32`, a 0-d array, a float16 array")
def _():
    def f(x):
        return np.sum(x * x)

    assert type(wg.grad(f)(np.float32(2.0))) is np.float32
    assert type(wg.grad(f)(np.array(2.0))) is np.ndarray and wg.grad(f)(np.array(2.0)).shape == ()
    assert wg.grad(f)(np.ones(2, np.float16)).dtype == np.float16


@row("`np.mean` of a float16 array")
def _():
    assert wg.vjp(np.mean, np.ones(3, np.float16))[0].dtype == wg.grad(np.mean)(np.ones(3, np.float16)).dtype == "f2"


@row("an integer, bool, string or object that is no array, in a differentiated argument")
def _():
    for leaf in (2, True, "a", np.arange(3), np.array(["a"]), object()):
        with pytest.raises(TypeError, match=r"\['n'\]|dtype") as caught:
            wg.grad(lambda d: d["a"])({"a": 2.0, "n": leaf})
        assert isinstance(caught.value, wg.errors.WengertError)


@row("`None` in a differentiated argument")
def _():
    assert wg.grad(lambda d: d["a"] ** 2)({"a": 2.0, "n": None}) == {"a": 4.0, "n": None}


@row("an object array that holds traced numbers")
def _():
    def boxed(x, then):
        box = np.empty(2, dtype=object)
        box[0], box[1] = x, 3 * x
        return then(box)

    assert wg.grad(lambda x: boxed(x, lambda box: np.sum(box * x)))(2.0) == 16
    assert wg.grad(lambda x: boxed(x, np.sum))(2.0) == 4
    with pytest.raises(TypeError):
        wg.grad(lambda x: boxed(x, np.sin))(2.0)


@row("`b = a; b += 1; return b * a`, at 2.0 and at `np.array(2.0)`")
def _():
    def f(a):
        b = a
        b += 1
        return b * a

    assert [f(2.0), f(np.array(2.0))] == [6, 9]
    assert [wg.vjp(f, 2.0)[0], wg.vjp(f, np.array(2.0))[0]] == [6, 9]
    assert [wg.grad(f)(2.0), wg.grad(f)(np.array(2.0))] == [5, 6]


# -------------------------------------------------------------------------------------------------------- refused


def refused(wording, *programs, instead=(), says=None, at=2.0):
    """Programs of x that grad refuses with an error of ours, and (program, gradient) of what to write instead."""

    @row(wording)
    def test():
        for program in programs:
            with pytest.raises(TypeError, match=says) as caught:
                wg.grad(program)(at)
            found = caught.value
            while found is not None and not isinstance(found, wg.errors.WengertError):
                found = found.__cause__  # NumPy wraps ours in y[0] = x
            assert found is not None, f"not our error: {caught.value!r}"
        for program, want in instead:
            np.testing.assert_allclose(wg.grad(program)(at), want, rtol=1e-14)


def filled(make):
    def f(x):
        y = make(x)
        y[0] = x
        return np.sum(y)

    return f


def augmented(x):
    y = np.zeros(3)
    y += x
    return np.sum(y)


refused(
    "`float(x)`, `int(x)`, `complex(x)`",
    lambda x: float(x) * x, lambda x: int(x) * x, lambda x: complex(x).real * x,
    instead=[(lambda x: x * x, 4), (lambda x: np.floor(x) * x, 2)],
)  # fmt: skip
refused(
    '`math.sin(x)`, `cmath.sin(x)`, `"%.3f" % x`',
    math.sin, lambda x: cmath.sin(x).real, lambda x: len("%.3f" % x) * x,  # noqa: UP031
    instead=[(np.sin, math.cos(2)), (lambda x: len(f"{x:.3f}") * x, 5)],
)  # fmt: skip
refused(
    "`x.item()`, `x.tolist()` inside a transform",
    lambda x: x.item() * x, lambda x: x.tolist() * x,
    instead=[(lambda x: wg.stop_gradient(x) * x, 2)],
)  # fmt: skip
refused(
    "`np.array([x, y])`, `np.asarray([x, y])`",
    lambda x: np.sum(np.array([x, 2 * x])), lambda x: np.sum(np.asarray([x, 2 * x])),
    instead=[(lambda x: np.sum(np.stack([x, 2 * x])), 3), (lambda x: np.sum(np.array([x, 2 * x], like=x)), 3)],
    says="np.stack",
)  # fmt: skip
refused(
    "`np.r_[x, y]`, `np.c_[x, y]`",
    lambda x: np.sum(np.r_[x, x]), lambda x: np.sum(np.c_[x, x]),
    instead=[(lambda x: np.sum(np.concatenate([x, 2 * x])), [3, 3])],
    says="np.concatenate",
    at=PAIR,
)  # fmt: skip
refused(
    "`y = np.zeros(3); y[0] = x`",
    filled(lambda x: np.zeros(3)),
    instead=[(filled(lambda x: np.zeros(3, like=x)), 1), (lambda x: filled(lambda x: np.zeros_like(x, shape=3))(x), 1)],
    says=r"y\[0\] = x|like",
)
refused("`y += x` where y is a plain array", augmented, instead=[(lambda x: np.sum(np.zeros(3) + x), 3)], says="like=x")
refused(
    "`out=y`, `np.copyto(y, x)`, `np.put(y, i, x)`, `np.add.at(y, i, x)` where y is plain",
    lambda x: np.sin(x, out=np.zeros(())), lambda x: np.copyto(np.zeros(3), x),
    lambda x: np.put(np.zeros(3), [0], x), lambda x: np.add.at(np.zeros(3), [0], x),
    says="like=x",
)  # fmt: skip
refused(
    "`np.full(3, x)`",
    lambda x: np.sum(np.full(3, x)),
    instead=[(lambda x: np.sum(np.full(3, x, like=x)), 3), (lambda x: np.sum(x * np.ones(3)), 3)],
)
refused("`{x: 1}`, `{x}`", lambda x: {x: 1}[x] * x, lambda x: len({x}) * x, says="key")
refused(
    "`range(x)`, `list[x]`, `array[x]`",
    lambda x: x * len(range(x)), lambda x: [1.0, 2.0, 3.0][x] * x, lambda x: np.ones(3)[x] * x,
)  # fmt: skip
refused("`pickle.dumps(x)`", pickle.dumps, says=r"x\.data")
refused(
    "`x * np.ma.array(…)`",
    lambda x: np.sum(x * np.ma.array([1.0, 2.0], mask=[0, 1])),
    lambda x: np.sum(np.ma.array([1.0, 2.0], mask=[0, 1]) * x),
    instead=[(lambda x: np.sum(np.where([True, False], x * np.ones(2), 0)), 1)],
)
refused(
    "`x * np.matrix(…)`",
    lambda x: np.sum(x * np.asmatrix(np.eye(2))), lambda x: np.sum(np.asmatrix(np.eye(2)) * x),
    instead=[(lambda x: np.sum(x * np.asarray(np.asmatrix(np.eye(2)))), 2)],
    says="np.asarray",
)  # fmt: skip
refused(
    "`x * array` of strings, dates, records",
    lambda x: x * np.array(["a"]), lambda x: x * np.array(["2020-01-01"], "M8[D]"),
    lambda x: x * np.zeros(2, [("a", float)]), lambda x: x * np.rec.array([1.0, 2.0]),
)  # fmt: skip


refused(
    "`np.vectorize(f)(x)`, `np.piecewise(x, …)`",
    lambda x: np.sum(np.vectorize(lambda t: t * t)(x)), lambda x: np.sum(np.piecewise(x, [x > 1], [lambda t: t * t])),
    instead=[(lambda x: np.sum(np.where(x > 1, x * x, 0)), [4, 0]), (lambda x: np.sum(wg.vmap(np.square)(x)), [4, 2])],
    at=PAIR,
)  # fmt: skip
refused(
    "`np.poly1d`, `Polynomial(c)(x)`",
    lambda x: np.polynomial.Polynomial([1.0, 2.0, 3.0])(x),
    instead=[(lambda x: np.polyval([3.0, 2.0, 1.0], x), 14)],
)
refused(
    "a SciPy function, such as `scipy.stats.norm.logpdf(x)`",
    scipy.stats.norm.logpdf,
    instead=[(lambda x: -0.5 * x**2 - 0.5 * np.log(2 * np.pi), -2)],
)
refused(
    "a ufunc's `where=` without `out=`",
    lambda x: np.sum(np.sqrt(x, where=x > 1)),
    instead=[(lambda x: np.sum(np.where(x > 1, np.sqrt(x), 0)), [0.5 / math.sqrt(2), 0])],
    says="where=",
    at=PAIR,
)


@row("`if x > 0` for a Batch, inside `vmap`")
def _():
    with pytest.raises(wg.errors.ConversionError, match=r"np\.where"):
        wg.vmap(lambda x: x if x > 0 else -x)(np.array([1.0, -2.0]))
    np.testing.assert_array_equal(wg.vmap(lambda x: np.where(x > 0, x, -x))(np.array([1.0, -2.0])), [1, 2])


refused(
    "a function that returns an array, a list, an integer, None, for `grad`",
    lambda x: x * np.ones(2), lambda x: [x], lambda x: 3, lambda x: None,
    instead=[(lambda x: np.sum(x * np.ones(2)), 2)],
    says="jacobian",
)  # fmt: skip


@row("a tangent or cotangent of another shape")
def _():
    for call in (lambda: wg.jvp(np.sin, (PAIR,), (1.0,)), lambda: wg.vjp(np.sin, PAIR)[1](1.0)):
        with pytest.raises(wg.errors.StructureError, match="broadcast"):
            call()


@row("an array that left its transform")
def _():
    leaked = []
    wg.grad(lambda x: leaked.append(x) or x)(1.0)
    with pytest.raises(wg.errors.EscapedTraceError, match="has_aux=True"):
        np.sin(leaked[0])
    assert wg.grad(lambda x: (x * x, 3 * x), has_aux=True)(2.0) == (4.0, 6.0)


@row("a Dual and a Variable in one operation")
def _():
    with pytest.raises(TypeError, match="transform"):
        wg.Dual(1.0, 1.0) * wg.Variable(2.0)


@row("a subclass of Dual, Variable, Batch or Symbol")
def _():
    for kind in (wg.Dual, wg.Variable, wg.Batch, wg.Symbol):
        with pytest.raises(TypeError, match="attribute"):
            type("Mine", (kind,), {})


# ------------------------------------------------------------------------------------------------------- in place

X3 = np.array([1.0, 2.0, 3.0])


def gradient(program, x=X3):
    """The gradient, after checking that the value is NumPy's and the caller's array is as it was."""
    given = x.copy()
    value, slope = wg.value_and_grad(program)(given)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_allclose(value, program(x.copy()), rtol=1e-15)
    np.testing.assert_allclose([wg.jvp(program, (x,), (v,))[1] for v in np.eye(x.size)], slope.ravel(), rtol=1e-14)
    return slope


@row("`y = x.copy(); y[0] = x[1]**2; y[1:] *= 3`")
def _():
    def f(x):
        y = x.copy()
        y[0] = x[1] ** 2
        y[1:] *= 3
        return np.sum(y)

    np.testing.assert_array_equal(gradient(f), [0, 7, 3])


@row("`v = y[::2]; v *= 10`")
def _():
    def through(view, write):
        def f(x):
            y = np.reshape(x, (1, 3)) * 1.0
            write(view(y))
            return np.sum(y * np.array([1.0, 2.0, 3.0]))

        return f

    def times_ten(v):
        v *= 10

    def first_to_five(v):
        v[0] = 5.0

    np.testing.assert_array_equal(gradient(through(lambda y: y[0, ::2], times_ten)), [10, 2, 30])
    np.testing.assert_array_equal(gradient(through(lambda y: y.T, first_to_five)), [0, 2, 3])
    np.testing.assert_array_equal(gradient(through(np.squeeze, first_to_five)), [0, 2, 3])
    np.testing.assert_array_equal(gradient(through(lambda y: np.swapaxes(y, 0, 1), first_to_five)), [0, 2, 3])

    def parts(z):
        y = z * 1.0
        y.real[...] = 0
        return np.sum(np.abs(y))

    np.testing.assert_allclose(wg.grad(parts)(np.array([3 + 2j])), [1j])


@row("`v = y[1:]; y[1] = 5.0`")
def _():
    def f(x):
        y = x * 1.0
        v = y[1:]
        y[1] = 5.0
        return np.sum(v)

    np.testing.assert_array_equal(gradient(f), [0, 0, 1])


@row("a write through `reshape` or `ravel`")
def _():
    for view in (lambda y: y.reshape(-1), lambda y: y.ravel()):

        def f(x, view=view):
            y = x * 1.0
            v = view(y)
            v[0] = 5.0
            return np.sum(y)

        with pytest.raises(wg.errors.ViewWriteError, match="copy"):
            wg.grad(f)(np.ones((2, 2)))


@row("a write through `np.diagonal`, `np.broadcast_to`")
def _():
    for view in (np.diagonal, lambda y: np.broadcast_to(y, (3, 2, 2))):

        def f(x, view=view):
            y = x * 1.0
            view(y)[0] = 5.0
            return np.sum(y)

        for call in (f, wg.grad(f)):
            with pytest.raises(ValueError, match="read-only"):
                call(np.ones((2, 2)))


@row("`s = x[0]; s += 1`, and `v = x[0, ...]; v += 1`")
def _():
    def f(x):
        x = x * 1.0
        s = x[0]
        s += 1
        v = x[1, ...]
        v += 1
        return np.sum(x * x)

    np.testing.assert_array_equal(gradient(f), [2, 6, 6])


@row("an operation before the write")
def _():
    def f(x):
        y = np.exp(x)
        z = y * y
        y[:] = 0.0
        return np.sum(z)

    np.testing.assert_allclose(gradient(f), 2 * np.exp(2 * X3))


@row("`x[0] = 0.0` on the argument")
def _():
    def f(x):
        x[0] = 0.0
        return np.sum(x)

    np.testing.assert_array_equal(gradient(f), [0, 1, 1])


@row("`y = np.zeros(3, like=x); y[1] = x[0]`")
def _():
    def f(x):
        y = np.zeros(3, like=x)
        y[1] = x[0]
        return np.sum(y * y)

    np.testing.assert_array_equal(wg.grad(f)(X3), [2, 0, 0])


@row("`np.add.at(y, [0, 0], x[1])`")
def _():
    def f(x):
        y = x.copy()
        np.add.at(y, [0, 0], x[1])
        return y[0]

    np.testing.assert_array_equal(gradient(f), [1, 2, 0])


@row("a float into an integer array, a complex number into a real one by `+=`")
def _():
    def truncated(x):
        y = np.zeros_like(x, dtype=int)
        y[:] = x
        return np.sum(y * 1.0)

    def widened(x):
        y = x.copy()
        y += 1j
        return np.sum(y)

    np.testing.assert_array_equal(gradient(truncated), [0, 0, 0])
    for call in (widened, wg.grad(widened)):
        with pytest.raises(TypeError, match="same_kind"):
            call(X3.copy())


@row("`w[0] = 3.0` on a leaf Variable")
def _():
    w = wg.Variable(np.ones(2))
    with pytest.raises(wg.errors.ViewWriteError, match="no_grad"):
        w[0] = 3.0
    with wg.no_grad():
        w[0] = 3.0
    assert w.is_leaf and w.requires_grad and list(w.data) == [3, 1]


# ----------------------------------------------------------------------------------------------------- invisible


@row("`np.zeros(3)`, `np.random.normal()`, an operation on captured arrays")
def _():
    rng = np.random.default_rng(0)
    program = wg.trace(lambda x: x + np.zeros(3) + rng.normal() + np.sin(np.ones(3)))(X3)
    assert [eqn.primitive.name for eqn in program] == ["add"] * 3
    assert wg.grad(lambda x: x * rng.normal())(1.0) != wg.grad(lambda x: x * rng.normal())(1.0)


@row("a random draw inside `vmap`")
def _():
    rng = np.random.default_rng(0)
    assert len(set(wg.vmap(lambda x: 0 * x + rng.normal())(X3))) == 1


@row("`trace(f)(x)`")
def _():
    rng = np.random.default_rng(0)
    program = wg.trace(lambda x: x * rng.normal() if x > 0 else -x)(2.0)
    assert program(1.0) == program(1.0) and program(-1.0) == -program(1.0)


@row("`isinstance(x, np.ndarray)`, `isinstance(x, float)`, `np.isscalar(x)`")
def _():
    seen = []
    wg.grad(lambda x: seen.append((isinstance(x, np.ndarray), x.ndim, x.dtype)) or np.sum(x))(X3)
    wg.grad(lambda x: seen.append((isinstance(x, float) or np.isscalar(x), np.ndim(x), x.dtype)) or x)(1.0)
    assert seen == [(False, 1, np.float64), (False, 0, np.float64)]


@row("`print`, and other side effects")
def _():
    runs = []
    wg.hessian(lambda x: runs.append(1) or np.sum(x**3))(X3)
    wg.vmap(lambda x: runs.append(1) or x)(X3)
    assert len(runs) == 2


# ---------------------------------------------------------------------------------------------- changed afterwards

SMALL, LARGE = 8192, 8193  # float64 elements: 64 KiB, and one more


def pulled(f, x, change):
    _, pullback = wg.vjp(f, x)
    change()
    return pullback(1.0)[0]


@row("a captured array or an argument of up to 64 KiB")
def _():
    c, x = np.full(SMALL, 2.0), np.full(SMALL, 3.0)
    assert set(pulled(lambda x: np.sum(c * x), x, lambda: c.fill(9))) == {2}
    assert set(pulled(lambda x: np.sum(x * x), x, lambda: x.fill(9))) == {6}


@row("a larger one, contiguous")
def _():
    c, x = np.full(LARGE, 2.0), np.full(LARGE, 3.0)
    for f, changed in ((lambda x: np.sum(c * x), c), (lambda x: np.sum(x * x), x)):
        assert set(pulled(f, x, lambda: None)) <= {2, 6}
        with pytest.raises(wg.errors.ChangedArrayError, match="copy"):
            pulled(f, x, lambda changed=changed: changed.__setitem__(5, 9.0))


@row("a larger one, not contiguous")
def _():
    c = np.full((2, LARGE), 2.0).T
    assert set(pulled(lambda x: np.sum(c * x), np.ones((LARGE, 2)), lambda: c.fill(9)).ravel()) == {2}


@row("the result of the function, changed by the caller")
def _():
    y, pullback = wg.vjp(np.exp, np.zeros(2))
    y[:] = 9
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [1, 1])


@row("a change of a captured array while the function runs")
def _():
    c = np.array([1.0, 2.0, 3.0])

    def f(x):
        before = np.sum(c * x)
        c[:] = 10
        return before + np.sum(c * x)

    np.testing.assert_array_equal(wg.grad(f)(X3), [11, 12, 13])


@row("a constant of a Wengert list, or of `linearize`")
def _():
    c, big = np.full(3, 2.0), np.full(LARGE, 2.0)
    program, (_, pushforward) = wg.trace(lambda x: np.sum(c * x))(X3), wg.linearize(lambda x: np.sum(c * x), X3)
    large = wg.trace(lambda x: np.sum(big * x))(big)
    c[:], big[:] = 9, 9
    assert program(X3) == pushforward(X3) == 12
    with pytest.raises(wg.errors.ChangedArrayError):
        large(np.ones(LARGE))


@row("gradients and results")
def _():
    c, x, ct = np.ones(3), np.ones(3), np.ones(3)
    for f in (lambda x: x, lambda x: x + c, lambda x: x * c, lambda x: x.reshape(3), lambda x: c):
        y, pullback = wg.vjp(f, x)
        arrays = [y, pullback(ct)[0], *wg.jvp(f, (x,), (ct,)), *wg.linearize(f, x)[:1], x, c, ct]
        for k, one in enumerate(arrays):
            assert one.flags.writeable and not any(np.shares_memory(one, other) for other in arrays[:k])


# ---------------------------------------------------------------------------------------------------------- eager


@row("`backward()` twice")
def _():
    x = wg.Variable(2.0)
    y = x**3
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(wg.errors.FreedGraphError, match="retain_graph=True"):
        y.backward()


@row("`backward(create_graph=True)`")
def _():
    x = wg.Variable(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    wg.zero_grads(x)
    first.backward()
    assert type(first) is wg.Variable and first.item() == 12 and x.grad == 12


def garbage(create_graph, clear):
    gc.collect()
    gc.disable()
    try:
        x = wg.Variable(2.0)
        y = x**3
        y.backward(create_graph=create_graph)
        if clear:
            wg.zero_grads(x)
        del x, y
        return gc.collect()
    finally:
        gc.enable()


@row("… and a cycle through `.grad`")
def _():
    assert garbage(create_graph=True, clear=False) > 0
    assert garbage(create_graph=True, clear=True) == garbage(create_graph=False, clear=False) == 0


@row("`.grad` of a second `backward`")
def _():
    x = wg.Variable(2.0)
    (3 * x).backward()
    (4 * x).backward()
    assert x.grad == 7


@row("`with no_grad():`")
def _():
    x = wg.Variable(2.0)
    with wg.no_grad():
        assert not (x * x).requires_grad
    assert (x * x).requires_grad


@row("`no_grad()` around `grad(f)(x)`")
def _():
    with wg.no_grad():
        assert wg.grad(lambda x: x * x)(3.0) == 6


def partly_constant(x):
    with wg.no_grad():
        y = x * x
    return y * x


@row("`no_grad()` inside a function under `grad`")
def _():
    assert wg.grad(partly_constant)(3.0) == 9


@row("`no_grad()` inside a function under `jvp`")
def _():
    assert wg.jvp(partly_constant, (3.0,), (1.0,))[1] == 27


@row("`no_grad()` and threads")
def _():
    seen = []
    thread = threading.Thread(target=lambda: seen.append((wg.Variable(2.0) * 2).requires_grad))
    with wg.no_grad():
        thread.start()
        thread.join()
    assert seen == [True]


@row("`no_grad()` held across a `yield`")
def _():
    def generator():
        with wg.no_grad():
            yield

    held, x = generator(), wg.Variable(2.0)
    next(held)
    assert not (x * x).requires_grad
    held.close()
    assert (x * x).requires_grad


@row("`Variable.item()`")
def _():
    x = wg.Variable(2.0)
    assert type(x.item()) is float and x.item() == 2
    with pytest.raises(wg.errors.ConversionError):
        float(x)


@pytest.mark.parametrize("wording", TESTS)
def test_row(wording):
    TESTS[wording]()


def test_the_page_has_these_rows_and_no_others():
    assert [wording for wording in TESTS if f"\n| {wording} | " not in DOCUMENT] == []
    lines = DOCUMENT.splitlines()
    tables = sum(line.startswith("|---") for line in lines)
    assert sum(line.startswith("| ") for line in lines) == len(TESTS) + tables  # each table has a heading
