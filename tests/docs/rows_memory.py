"""In-place writes, what NumPy cannot show, arrays that change afterwards, the eager face."""

import gc
import threading

import numpy as np
import pytest

import wengert as wg

from .rows import row

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


@row("a larger one, C-contiguous")
def _():
    c, x = np.full(LARGE, 2.0), np.full(LARGE, 3.0)
    for f, changed in ((lambda x: np.sum(c * x), c), (lambda x: np.sum(x * x), x)):
        assert set(pulled(f, x, lambda: None)) <= {2, 6}
        with pytest.raises(wg.errors.ChangedArrayError, match="copy"):
            pulled(f, x, lambda changed=changed: changed.__setitem__(5, 9.0))


@row("a larger one, not C-contiguous")
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
        listed = wg.trace(f)(x)(x)
        arrays = [y, pullback(ct)[0], *wg.jvp(f, (x,), (ct,)), wg.linearize(f, x)[0], listed, x, c, ct]
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
