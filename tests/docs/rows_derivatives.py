"""Kinks, points where the derivative exists, infinite slopes, the strong zero."""

import math

import numpy as np

import wengert as wg

from .rows import derivatives, forward, reverse, row

INF, NAN = np.inf, np.nan
PAIR = np.array([2.0, 1.0])
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
