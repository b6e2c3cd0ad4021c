"""What is refused, and what to write instead."""

import cmath
import math
import pickle

import numpy as np
import pytest
import scipy.stats

import wengert as wg

from .rows import refused, row

PAIR = np.array([2.0, 1.0])


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
    "`np.vectorize(f)(x)`",
    lambda x: np.sum(np.vectorize(lambda t: t * t)(x)),
    instead=[(lambda x: np.sum(np.where(x > 1, x * x, 0)), [4, 0]), (lambda x: np.sum(wg.vmap(np.square)(x)), [4, 2])],
    at=PAIR,
)  # fmt: skip
refused(
    "`np.polynomial.Polynomial(c)(x)`",
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
