"""Complex numbers, Python numbers, dtypes."""

import cmath

import numpy as np
import pytest

import wengert as wg

from .rows import close, row

INF = np.inf
Z = 1 + 2j

# -------------------------------------------------------------------------------------------------------- complex


def squared(z):
    return np.abs(z) ** 2


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


@row("an integer, bool, string or other object in a differentiated argument")
def _():
    for leaf in (2, True, "a", np.arange(3), object()):
        with pytest.raises(wg.errors.NotDifferentiableError, match=r"\['n'\]"):
            wg.grad(lambda d: d["a"])({"a": 2.0, "n": leaf})
    for leaf in (np.array(["a"]), np.ma.array([1.0])):
        with pytest.raises(TypeError):
            wg.grad(lambda d: d["a"])({"a": 2.0, "n": leaf})


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
