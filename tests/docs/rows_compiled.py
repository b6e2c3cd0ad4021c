"""jit, and loops and branches as values."""

import contextlib
import warnings

import numpy as np
import pytest

import wengert as wg
from wengert.compile.machine import engine

from .rows import row

X3 = np.array([1.0, 2.0, 3.0])

# -------------------------------------------------------------------------------------------------------------- jit


@row("`if x > 0`, `range(n)`, `float(x)`, `x.item()` on an argument")
def _():
    def f(x, n):
        for _ in range(n):
            x = x * 2 if x > 0 else x - float(x) + x.item()
        return x

    jitted = wg.jit(f)
    for x, n in ((1.0, 2), (3.0, 2), (1.0, 3), (-1.0, 2)):
        assert jitted(np.float64(x), n) == f(np.float64(x), n)
    assert len(jitted.specializations()) == 3  # 1.0 and 3.0 take the same way


@row("a 17th such outcome for arguments of the same shapes")
def _():
    jitted = wg.jit(lambda x: x * int(x))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert [jitted(np.float64(k)) for k in range(20)] == [k * k for k in range(20)]
    assert [one.category for one in found] == [wg.errors.JitWarning]
    assert len(jitted.specializations()) == 16


@row("a captured array, changed in place or bound to another")
def _():
    table = X3.copy()
    jitted = wg.jit(lambda x: np.sum(table * x))
    assert jitted(2.0) == 12.0
    table[0] = 11.0
    assert jitted(2.0) == 32.0
    table = np.ones(3)
    assert jitted(2.0) == 6.0
    assert len(jitted.specializations()) == 1


@row("a captured number, string or function; a default; an attribute that the code names")
def _():
    class Model:
        rate = 2.0

    model, power = Model(), 1
    jitted = wg.jit(lambda x: model.rate * x**power)
    assert jitted(3.0) == 6.0
    model.rate = 3.0
    assert jitted(3.0) == 9.0
    power = 2
    assert jitted(3.0) == 27.0


@row("random draws, clocks and counters inside")
def _():
    count = [0]

    def counting(x):
        count[0] += 1
        return x * count[0]

    rng = np.random.default_rng(0)
    for program in (
        lambda x: x + np.random.normal(),  # noqa: NPY002
        lambda x: x + rng.normal(),
        counting,
    ):
        with pytest.raises(wg.errors.StagingError):
            wg.jit(program)(1.0)


@row("`print`, and other side effects, under `jit`")
def _():
    printed = []
    log = printed.append

    def f(x):
        log("called")
        return 2 * x

    jitted = wg.jit(f)
    assert [jitted(x) for x in (1.0, 2.0, 3.0)] == [2.0, 4.0, 6.0]
    assert printed == ["called", "called"]


@row("`table[i]` with a traced `i` beyond the end")
def _():
    jitted = wg.jit(lambda x, i: np.sum(x[i]))
    assert jitted(X3, np.array([0, -1])) == 4.0
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="out of bounds"):
            jitted(X3, np.array([0, wrong]))


@row("`np.linalg.solve`, `cholesky`, `inv` of a matrix that has none")
def _():
    for jitted, matrix in (
        (wg.jit(lambda a: np.linalg.solve(a, np.ones(2))), np.zeros((2, 2))),
        (wg.jit(np.linalg.cholesky), -np.eye(2)),
        (wg.jit(np.linalg.inv), np.zeros((2, 2))),
    ):
        jitted(np.eye(2))
        with pytest.raises(np.linalg.LinAlgError):
            jitted(matrix)


@row("dtypes")
def _():
    f = lambda x, y: (2 * x, x + y, x / 3)  # noqa: E731
    for x in (np.ones(2, np.float32), np.ones(2), np.ones(2, np.int32), np.ones(2, complex), np.float32(1)):
        for got, want in zip(wg.jit(f)(x, 1), f(x, 1), strict=True):
            assert got.dtype == want.dtype and type(got) is type(want)


@row("a Python float that comes out")
def _():
    assert type(wg.jit(lambda x: 2 * x)(1.0)) is np.float64 and type(wg.jit(lambda x: 2 * x)(1)) is int


@row("a Python integer that outgrows 64 bits")
def _():
    with pytest.raises(wg.errors.StagingError, match="64 bits"):
        wg.jit(lambda n: 2 * n)(2**62)


@row("NumPy's warnings, and `np.errstate`")
def _():
    def log(x):
        return np.log(x)

    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError):
            wg.jit(log)(0.0)
        for backend in ["numpy"] if engine.unavailable() else ["numpy", "native"]:
            jitted = wg.jit(log, backend=backend)
            jitted(1.0)
            with contextlib.nullcontext() if backend == "native" else pytest.raises(FloatingPointError):
                assert jitted(0.0) == -np.inf


@row("an argument that the function writes to")
def _():
    def f(x):
        x[0] = 7.0
        return np.sum(x)

    given = X3.copy()
    assert wg.jit(f)(given) == 12.0
    np.testing.assert_array_equal(given, X3)


@row("one array returned twice, or an argument returned")
def _():
    given = X3.copy()
    one, other = wg.jit(lambda x: (x, x))(given)
    assert not np.shares_memory(one, other) and not np.shares_memory(one, given)


@row("sums and products of floats")
def _():
    x = np.random.default_rng(0).standard_normal(100_000)
    got, want = wg.jit(lambda x: np.sum(x))(x), np.sum(x)
    assert abs(got - want) <= 1e-12 * np.sum(np.abs(x))


@row("`(inf + 1) - inf`, −0.0, subnormal numbers, the error term of a two-sum")
def _():
    def two_sum(a, b):
        s = a + b
        t = s - a
        return (a - (s - t)) + (b - t)

    jitted = wg.jit(two_sum)
    for a, b in ((1.0, 1e-17), (1e16, 1.0), (5e-324, 5e-324)):
        a, b = np.full(9, a), np.full(9, b)
        np.testing.assert_array_equal(jitted(a, b), two_sum(a, b))
    x = np.array([np.inf, -0.0, 5e-324])
    f = lambda x: ((x + 1) - x, -x, x / 2)  # noqa: E731
    with np.errstate(invalid="ignore"):
        for got, want in zip(wg.jit(f)(x), f(x), strict=True):
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@row('without llvmlite, or `jit(f, backend="numpy")`')
def _():
    jitted = wg.jit(wg.grad(lambda x: np.sum(np.tanh(x) ** 2)), backend="numpy")
    np.testing.assert_allclose(jitted(X3), 2 * np.tanh(X3) / np.cosh(X3) ** 2, rtol=1e-14)
    assert jitted.specializations()[0].backend == "numpy"


# ------------------------------------------------------------------------------------------------ loops and branches


def newton(a):
    return wg.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)


@row("`while_loop`, and `fori_loop` with a traced bound, in reverse mode")
def _():
    for root in (newton, wg.jit(newton)):
        assert wg.grad(root)(4.0) == pytest.approx(0.25, rel=1e-9)
    assert wg.jit(wg.grad(newton))(4.0) == pytest.approx(0.25, rel=1e-9)
    power = wg.jit(wg.grad(lambda x, n: wg.fori_loop(0, n, lambda i, y: y * x, 1.0)))
    assert [power(2.0, n) for n in (3, 4)] == [12.0, 32.0] and len(power.specializations()) == 1


@row("`cond(pred, f, g, *operands)` with a known predicate")
def _():
    def fails(x):
        raise AssertionError

    assert wg.cond(True, np.sqrt, fails, 4.0) == 2.0
    assert wg.grad(lambda x: wg.cond(x > 0, np.sqrt, fails, x))(4.0) == 0.25
    with pytest.raises(AssertionError):
        wg.jit(lambda x: wg.cond(x > 0, np.sqrt, fails, x))(4.0)


@row("`switch(index, functions, *operands)` beyond the ends")
def _():
    f = lambda k: wg.switch(k, [np.sin, np.cos, np.exp], 0.0)  # noqa: E731
    for run in (f, wg.jit(f)):
        assert [run(k) for k in (-3, 0, 1, 2, 9)] == [0.0, 0.0, 1.0, 1.0, 1.0]


@row("a carry that changes shape or dtype, branches whose results differ")
def _():
    for program in (
        lambda x: wg.scan(lambda c, _: (np.stack([c, c]), None), x, None, length=3)[0],
        lambda x: wg.cond(x > 0, lambda x: x, lambda x: np.stack([x, x]), x),
    ):
        with pytest.raises(wg.errors.StructureError):
            wg.jit(program)(1.0)


@row("`scan(f, 0, xs)` where the carry becomes a float")
def _():
    f = lambda xs: wg.scan(lambda total, x: (total + x, total), 0, xs)  # noqa: E731
    for run in (f, wg.jit(f)):
        total, before = run(X3)
        assert type(total) is np.float64 and total == 6.0
        np.testing.assert_array_equal(before, [0.0, 1.0, 3.0])
        assert before.dtype == np.float64


@row("`if` on a value inside a body")
def _():
    f = lambda xs: wg.scan(lambda c, x: (c + x if c > 0 else c - x, None), 0.0, xs)[0]  # noqa: E731
    np.testing.assert_array_equal(wg.grad(f)(X3), [-1.0, -1.0, -1.0])
    with pytest.raises(wg.errors.BodyValueError, match=r"wengert\.cond"):
        wg.jit(f)(X3)
