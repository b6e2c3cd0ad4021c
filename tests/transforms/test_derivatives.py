"""jvp, vjp, linearize, grad and the Jacobians on values: dtypes, shapes, ownership, repeated and wrong cotangents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ChangedArrayError, FreedGraphError, NotDifferentiableError, StructureError

A = np.array([[1.0, 2.0, 0.5], [0.25, -1.0, 1.5]])
X = np.array([0.3, -0.6, 0.9])
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
COMPLEXES = [np.complex64, np.complex128, np.clongdouble]


def smooth(x: Any) -> Any:
    """From (3,) to (2,)."""
    return A.astype(x.dtype) @ np.tanh(x) * x[0]


# -------------------------------------------------------------------------------------------------- dtypes and shapes


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEXES])
@pytest.mark.parametrize("shape", [None, (), (1,), (3,), (2, 3), (0,), (2, 0, 3)])
def test_dtypes_and_shapes(dtype: Any, shape: Any) -> None:
    """Derivatives with respect to x have the type, dtype and shape of x; those of y the type, dtype and shape of y."""
    x = dtype(0.5) if shape is None else np.full(shape, 0.5, dtype)

    def f(x: Any) -> Any:
        return np.sin(x) * 2 + x**2

    def like(found: Any, pattern: Any) -> None:
        assert (type(found), found.dtype, found.shape) == (type(pattern), pattern.dtype, pattern.shape)

    want = f(x)
    value, tangent = wg.jvp(f, (x,), (x,))
    like(value, want)
    assert (tangent.dtype, tangent.shape) == (want.dtype, want.shape)
    value, pullback = wg.vjp(f, x)
    like(value, want)
    like(pullback(want)[0], x)
    like(pullback(want)[0], x)
    value, pushforward = wg.linearize(f, x)
    like(value, want)
    assert (pushforward(x).dtype, pushforward(x).shape) == (want.dtype, want.shape)
    if shape == ():
        assert type(wg.jvp(lambda x: x.reshape(()), (x,), (x,))[1]) is np.ndarray
    gradient = wg.grad(lambda x: np.sum(np.abs(f(x))))(x)
    like(gradient, x)
    if np.dtype(dtype).kind == "f":
        like(wg.derivative(f)(x), x)
        for transform in (wg.jacfwd, wg.jacrev, wg.jacobian):
            jacobian = transform(f)(x)
            assert (jacobian.dtype, jacobian.shape) == (x.dtype, x.shape * 2)
        assert wg.hessian(lambda x: np.sum(f(x)))(x).shape == x.shape * 2


@pytest.mark.parametrize("x", [2.0, np.float64(2.0)])
def test_python_floats_give_float64(x: Any) -> None:
    for found in (
        wg.grad(lambda x: x**3)(x), wg.jvp(lambda x: x**3, (x,), (1.0,))[1], wg.vjp(lambda x: x**3, x)[1](1.0)[0],
        wg.linearize(lambda x: x**3, x)[1](1.0), wg.derivative(lambda x: x**3)(x), wg.jacfwd(lambda x: x**3)(x),
        wg.jacrev(lambda x: x**3)(x), wg.value_and_grad(lambda x: x**3)(x)[1],
    ):  # fmt: skip
        assert type(found) is np.float64 and found == 12.0
    assert type(wg.value_and_grad(lambda x: x**3)(x)[0]) is np.float64
    assert type(wg.grad(lambda z: np.abs(z) ** 2)(1 + 1j)) is np.complex128


def test_mixed_dtypes() -> None:
    a, b = np.ones(2, np.float32), np.ones(2)
    ga, gb = wg.grad(lambda a, b: np.sum(a * b), (0, 1))(a, b)
    assert (ga.dtype, gb.dtype) == (np.float32, np.float64)
    assert wg.jvp(np.multiply, (a, b), (a, b))[1].dtype == np.float64
    assert wg.jvp(np.multiply, (a, b), (b, a))[1].dtype == np.float64  # tangents are cast to their argument's dtype
    z = np.ones(2, np.complex64)
    ga, gz = wg.grad(lambda a, z: np.sum(np.abs(a * z)), (0, 1))(a, z)
    assert (ga.dtype, gz.dtype) == (np.float32, np.complex64)
    assert wg.grad(lambda x: np.sum(x.astype(np.float32) ** 2))(b).dtype == np.float64
    assert wg.grad(lambda x: np.sum(x.astype(np.float64) ** 2))(a).dtype == np.float32


# ---------------------------------------------------------------------------------------------- pullback, pushforward


def test_pullbacks_repeat_and_are_linear() -> None:
    rng = np.random.default_rng(0)
    value, pullback = wg.vjp(smooth, X)
    np.testing.assert_array_equal(value, smooth(X))
    a, b = rng.normal(size=(2, 2))
    first = pullback(a)[0]
    for _ in range(4):
        again = pullback(a)[0]
        np.testing.assert_allclose(again, first, rtol=1e-15)
        assert again is not first and not np.shares_memory(again, first)
    np.testing.assert_array_equal(pullback(a)[0], again)  # bits, from the second on
    np.testing.assert_allclose(pullback(2 * a - 3 * b)[0], 2 * pullback(a)[0] - 3 * pullback(b)[0], rtol=1e-13)
    np.testing.assert_array_equal(pullback(np.zeros(2))[0], np.zeros(3))
    strided = np.zeros(8)
    strided[::4] = a
    np.testing.assert_array_equal(pullback(strided[::4])[0], again)
    np.testing.assert_array_equal(pullback(a[::-1].copy()[::-1])[0], again)
    np.testing.assert_array_equal(pullback(np.broadcast_to(a, (2,)))[0], again)
    stacked = wg.vmap(lambda ct: pullback(ct)[0])(np.stack([a, b]))
    np.testing.assert_allclose(stacked, [pullback(a)[0], pullback(b)[0]], rtol=1e-14)


def test_pushforwards_repeat_and_are_linear() -> None:
    rng = np.random.default_rng(0)
    value, pushforward = wg.linearize(smooth, X)
    np.testing.assert_array_equal(value, smooth(X))
    u, v = rng.normal(size=(2, 3))
    first = pushforward(u)
    np.testing.assert_array_equal(pushforward(u), first)
    np.testing.assert_allclose(first, wg.jvp(smooth, (X,), (u,))[1], rtol=1e-15)
    np.testing.assert_allclose(pushforward(2 * u - 3 * v), 2 * first - 3 * pushforward(v), rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(pushforward)(np.stack([u, v])), [first, pushforward(v)], rtol=1e-14)
    first[:] = 0.0
    assert np.any(pushforward(u))


def test_forward_and_reverse_are_transposes() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        v, w = rng.normal(size=3), rng.normal(size=2)
        (pulled,) = wg.vjp(smooth, X)[1](w)
        assert w @ wg.jvp(smooth, (X,), (v,))[1] == pytest.approx(pulled @ v, rel=1e-13)
        assert w @ wg.linearize(smooth, X)[1](v) == pytest.approx(pulled @ v, rel=1e-13)


def test_several_arguments_and_results() -> None:
    def f(a: Any, b: Any) -> Any:
        return {"sum": a + b, "rest": [a * np.sum(b), 3.0]}

    b = np.array([1.0, 2.0])
    value, pullback = wg.vjp(f, X[:2], b)
    assert value["rest"][1] == 3.0
    bars = pullback({"sum": np.array([1.0, 0.0]), "rest": [np.array([0.0, 1.0]), 5.0]})
    np.testing.assert_allclose(bars[0], [1.0, 3.0])
    np.testing.assert_allclose(bars[1], [1.0 + X[1], X[1]])
    value, tangent = wg.jvp(f, (X[:2], b), (b, None))
    np.testing.assert_allclose(tangent["sum"], b)
    assert tangent["rest"][1] == 0.0
    value, pushforward = wg.linearize(f, X[:2], b)
    np.testing.assert_allclose(pushforward(b, b)["rest"][0], b * 3.0 + X[:2] * 3.0)


def test_results_that_do_not_depend_on_the_input() -> None:
    constant = np.array([1.0, 2.0])
    for f in (lambda x: constant, lambda x: wg.stop_gradient(x)[:2], lambda x: np.floor(x[:2]), lambda x: np.ones(2)):
        np.testing.assert_array_equal(wg.vjp(f, X)[1](np.ones(2))[0], np.zeros(3))
        np.testing.assert_array_equal(wg.jvp(f, (X,), (X,))[1], np.zeros(2))
        np.testing.assert_array_equal(wg.linearize(f, X)[1](X), np.zeros(2))
        for transform in (wg.jacfwd, wg.jacrev):
            np.testing.assert_array_equal(transform(f)(X), np.zeros((2, 3)))
    assert wg.grad(lambda x: 3.0)(X).tolist() == [0.0, 0.0, 0.0]
    value, tangent = wg.jvp(np.argsort, (X,), (X,))
    np.testing.assert_array_equal(value, np.argsort(X))
    assert tangent.dtype == np.float64 and not np.any(tangent)
    value, pullback = wg.vjp(np.argsort, X)
    np.testing.assert_array_equal(value, np.argsort(X))
    with pytest.raises(NotDifferentiableError, match="int64"):
        pullback(np.ones(3))


def test_results_that_are_integers() -> None:
    """They do not move: tangents and Jacobians are float zeros, and a cotangent has no meaning."""
    for f in (np.argmax, lambda x: x > 0, lambda x: np.argsort(x)[:2]):
        shape = np.shape(f(X))
        for found in (wg.jvp(f, (X,), (X,))[1], wg.linearize(f, X)[1](X)):
            assert found.shape == shape and found.dtype == np.float64 and not np.any(found)
        for transform in (wg.jacfwd, wg.jacrev, wg.jacobian):
            found = transform(f)(X)
            assert found.shape == (*shape, 3) and found.dtype == np.float64 and not np.any(found)
        with pytest.raises(NotDifferentiableError, match="has no cotangent"):
            wg.vjp(f, X)[1](np.ones(shape))
    assert not np.any(wg.derivative(lambda x: x > 0)(X))
    _, pullback = wg.vjp(lambda x: (x * 2.0, np.argmax(x)), X)
    np.testing.assert_array_equal(pullback((X, 0))[0], 2 * X)


def test_arguments_that_do_not_move_may_be_anything() -> None:
    def f(mode: str, x: Any, options: Any) -> Any:
        return np.sum(x ** options["power"]) if mode == "power" else x

    arguments, v = ("power", X, {"power": 3}), np.array([1.0, 0.0, 2.0])
    assert wg.grad(f, 1)(*arguments).tolist() == (3 * X**2).tolist()
    assert wg.jvp(f, arguments, (None, v, None))[1] == pytest.approx(3 * X**2 @ v)
    np.testing.assert_allclose(wg.hvp(f, arguments, (None, v, None), argnums=1), 6 * X * v)
    found = wg.vmap(f, in_axes=(None, 0, None))("power", A, {"power": 2})
    np.testing.assert_allclose(found, np.sum(A**2, axis=1))
    for wrong in ("text", {"power": 3}):
        with pytest.raises(TypeError, match=r"Argument 0|structure"):
            wg.jvp(lambda a: 1.0, (wrong,), (wrong,))


def test_an_argument_that_is_not_used() -> None:
    assert wg.grad(lambda a, b: a, (0, 1))(1.0, 2.0) == (1.0, 0.0)
    gradient = wg.grad(lambda c: c["used"] ** 2)({"used": 3.0, "unused": X})
    np.testing.assert_array_equal(gradient["unused"], np.zeros(3))


def test_the_pullback_outlives_its_arguments() -> None:
    def make() -> Any:
        x = np.linspace(0.0, 1.0, 10)
        return wg.vjp(lambda x: np.sum(x**2), x)[1]

    np.testing.assert_allclose(make()(1.0)[0], 2 * np.linspace(0.0, 1.0, 10))


@pytest.mark.parametrize("wrong", [np.ones(3), np.ones((2, 1)), np.ones((1, 2)), 1.0, np.ones(()), np.ones((0,))])
def test_cotangents_of_the_wrong_shape(wrong: Any) -> None:
    _, pullback = wg.vjp(smooth, X)
    with pytest.raises(StructureError, match=r"cotangents has shape \(.*\), but its result has shape \(2,\)"):
        pullback(wrong)
    pullback(np.ones(2))  # a failed call leaves it usable


@pytest.mark.parametrize("wrong", [np.ones(2), np.ones((3, 1)), 1.0])
def test_tangents_of_the_wrong_shape(wrong: Any) -> None:
    with pytest.raises(StructureError, match=r"tangents has shape .*, but its argument has shape \(3,\)"):
        wg.jvp(smooth, (X,), (wrong,))
    _, pushforward = wg.linearize(smooth, X)
    with pytest.raises(StructureError, match=r"tangents has shape .*, but its argument has shape \(3,\)"):
        pushforward(wrong)


def test_cotangents_of_the_wrong_kind() -> None:
    _, pullback = wg.vjp(smooth, X)
    for wrong in (np.ones(2) * 1j, np.array(["a", "b"]), np.array([None, None]), np.ones(2, "M8[s]")):
        with pytest.raises(TypeError):
            pullback(wrong)
    for wrong in (None, [1.0, 2.0], (np.ones(2),), {"a": np.ones(2)}):
        with pytest.raises(StructureError, match="structure of the cotangents"):
            pullback(wrong)
    with pytest.raises(TypeError, match="argument"):
        pullback()
    with pytest.raises(TypeError, match="argument"):
        pullback(np.ones(2), np.ones(2))
    np.testing.assert_array_equal(pullback(np.array([1, 0]))[0], pullback(np.array([1.0, 0.0]))[0])
    np.testing.assert_array_equal(pullback(np.array([True, False]))[0], pullback(np.array([1.0, 0.0]))[0])
    assert pullback(np.ones(2, np.float32))[0].dtype == np.float64


def test_jvp_arguments() -> None:
    with pytest.raises(TypeError, match=r"Write jvp\(f, \(x,\), \(v,\)\)"):
        wg.jvp(np.sin, X, X)
    with pytest.raises(StructureError, match="1 arguments and 2 tangents"):
        wg.jvp(np.sin, (X,), (X, X))
    with pytest.raises(StructureError, match="1 arguments was given 2 tangents"):
        wg.linearize(np.sin, X)[1](X, X)
    assert wg.jvp(lambda x, y: x * y, [2.0, 3.0], [1.0, 0.0]) == (6.0, 3.0)
    assert wg.jvp(lambda x, n: x**n, (2.0, 3), (1.0, None)) == (8.0, 12.0)


# ------------------------------------------------------------------------------------------------------- Jacobians


def test_jacobians_agree() -> None:
    want = wg.jacfwd(smooth)(X)
    assert want.shape == (2, 3)
    columns = [wg.jvp(smooth, (X,), (e,))[1] for e in np.eye(3)]
    np.testing.assert_allclose(want, np.stack(columns, axis=1), rtol=1e-14)
    for transform in (wg.jacrev, wg.jacobian):
        np.testing.assert_allclose(transform(smooth)(X), want, rtol=1e-14)
    tensor = wg.jacfwd(lambda m: m @ m.T)(A)
    assert tensor.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(tensor, wg.jacrev(lambda m: m @ m.T)(A), rtol=1e-14)
    assert not np.shares_memory(wg.jacfwd(lambda x: x)(X), X)
    wide = wg.jacobian(lambda x: np.concatenate([x, x**2, x**3]))(X)
    np.testing.assert_allclose(
        wide, np.concatenate([np.diag(np.ones(3)), np.diag(2 * X), np.diag(3 * X**2)]), rtol=1e-14
    )


def test_hessian_needs_one_number() -> None:
    for f in (lambda x: x, lambda x: None, lambda x: (1.0, 2.0)):
        with pytest.raises(NotDifferentiableError, match="one real number"):
            wg.hessian(f)(X)


def test_hvp() -> None:
    def f(x: Any, scale: Any) -> Any:
        return np.sum(x**3) * scale**2

    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(wg.hvp(f, (X, 2.0), (v, None)), 24 * X * v)
    np.testing.assert_allclose(wg.hvp(f, (X, 2.0), (v, 0.0)), 24 * X * v)
    np.testing.assert_allclose(wg.hvp(f, (X, 2.0), (np.zeros(3), 1.0)), 12 * X**2)
    assert wg.hvp(f, (X, 2.0), (np.zeros(3), 1.0), argnums=1) == pytest.approx(2 * np.sum(X**3))
    both = wg.hvp(f, (X, 2.0), (v, 1.0), argnums=(0, 1))
    np.testing.assert_allclose(both[0], 24 * X * v + 12 * X**2)
    assert both[1] == pytest.approx(12 * np.sum(X**2 * v) + 2 * np.sum(X**3))
    found = wg.hvp(lambda c: np.sum(c["w"] ** 3), ({"w": X},), ({"w": v},))
    np.testing.assert_allclose(found["w"], 6 * X * v)
    for wrong in ((np.ones(2),), (1.0,), (v, v), v):
        with pytest.raises((StructureError, TypeError)):
            wg.hvp(np.sum, (X,), wrong)


# ------------------------------------------------------------------------------------------------------- derivative


def test_derivative() -> None:
    x = np.linspace(-2.0, 2.0, 12).reshape(3, 4)
    np.testing.assert_allclose(wg.derivative(np.sin)(x), np.cos(x), rtol=1e-15)
    np.testing.assert_allclose(wg.derivative(wg.derivative(np.sin))(x), -np.sin(x), rtol=1e-14)
    assert wg.elementwise_grad is wg.derivative
    assert type(wg.derivative(np.sin)(0.0)) is np.float64
    np.testing.assert_allclose(wg.derivative(lambda a, b: a * b**2, 1)(x, x), 2 * x**2, rtol=1e-15)
    np.testing.assert_allclose(wg.derivative(lambda a, b: a * b**2, argnum=-1)(x, x), 2 * x**2, rtol=1e-15)
    np.testing.assert_allclose(wg.derivative(lambda x: np.where(x > 0, x**2, -x))(x), np.where(x > 0, 2 * x, -1.0))
    np.testing.assert_array_equal(wg.derivative(lambda x: x * 0.0 + 3.0)(x), np.zeros((3, 4)))
    np.testing.assert_allclose(wg.vmap(wg.derivative(np.tanh))(x), wg.derivative(np.tanh)(x), rtol=1e-15)
    np.testing.assert_allclose(wg.grad(lambda x: np.sum(wg.derivative(np.sin)(x)))(x), -np.sin(x), rtol=1e-14)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(wg.derivative(np.sqrt)(np.array([0.0, 4.0])), [np.inf, 0.25])
    np.testing.assert_allclose(wg.derivative(lambda z: z**3)(Z), 3 * Z**2, rtol=1e-14)
    np.testing.assert_allclose(wg.derivative(np.exp)(1j), np.exp(1j), rtol=1e-14)
    np.testing.assert_allclose(wg.derivative(lambda x: np.exp(1j * x))(x), 1j * np.exp(1j * x), rtol=1e-14)
    for f in (np.conj, np.abs, lambda z: z.real * z):
        for z in (Z, 1 + 1j):
            with pytest.raises(StructureError, match="holomorphic"):
                wg.derivative(f)(z)
    large = np.linspace(0.1, 30.0, 1000)
    np.testing.assert_allclose(wg.derivative(np.exp)(large), np.exp(large), rtol=1e-15)
    np.testing.assert_allclose(wg.derivative(np.tanh)(large.astype(np.float32)), 1 / np.cosh(large) ** 2, rtol=1e-4)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.cumsum(x), lambda x: x / np.sum(x), lambda x: x[::-1], lambda x: np.sort(x)[::-1] * x,
        lambda x: x * x[0],
        lambda x: np.roll(x, 1) + x, lambda x: x @ (np.eye(3) + 0.1), lambda x: x - np.mean(x), lambda x: x * np.max(x),
    ],
)  # fmt: skip
def test_derivative_refuses_what_is_not_elementwise(f: Any) -> None:
    with pytest.raises(StructureError, match=r"wengert\.jacobian"):
        wg.derivative(f)(np.array([0.5, 1.5, 1.0]))
    with pytest.raises(StructureError, match=r"wengert\.jacobian"):
        wg.derivative(wg.derivative(f))(np.array([0.5, 1.5, 1.0]))


@pytest.mark.parametrize("f", [np.sum, lambda x: x[:2], lambda x: x[None], lambda x: (x, x), lambda x: np.outer(x, x)])
def test_derivative_refuses_other_shapes(f: Any) -> None:
    with pytest.raises(StructureError, match="same shape"):
        wg.derivative(f)(X)


# ---------------------------------------------------------------------------------------- complex (semantics, line 15)

Z = np.array([0.5 + 1.2j, -0.3j, 1.5 - 0.2j])
REAL_VALUED: dict[str, Any] = {  # the same source for NumPy, torch and JAX
    "squared modulus": lambda np, z: np.sum(np.abs(z) ** 2),
    "real part": lambda np, z: np.sum(np.real(z * z)),
    "imaginary part": lambda np, z: np.sum(np.imag(np.exp(z))),
    "modulus of a product": lambda np, z: np.abs(np.prod(z)),
    "conjugate": lambda np, z: np.sum(np.real(np.conj(z) * z**2)),
    "sine": lambda np, z: np.sum(np.abs(np.sin(z)) * np.real(z)),
    "angle": lambda np, z: np.sum(np.angle(z) * np.imag(z)),
    "through index": lambda np, z: np.real(z[0] * np.conj(z[1])) + np.abs(z[2]),
}


@pytest.mark.parametrize("name", REAL_VALUED)
def test_complex_gradients_by_differences(name: str) -> None:
    """∂f/∂Re z + i ∂f/∂Im z."""
    f = lambda z: REAL_VALUED[name](np, z)  # noqa: E731
    gradient = wg.grad(f)(Z)
    step = 1e-5
    want = np.zeros(3, complex)
    for k, unit in enumerate(np.eye(3)):
        want[k] = (f(Z + step * unit) - f(Z - step * unit)) / (2 * step)
        want[k] += 1j * (f(Z + 1j * step * unit) - f(Z - 1j * step * unit)) / (2 * step)
    np.testing.assert_allclose(gradient, want, rtol=1e-8)
    x, y = wg.grad(lambda x, y: f(x + 1j * y), (0, 1))(Z.real, Z.imag)
    np.testing.assert_allclose(gradient, x + 1j * y, rtol=1e-13)
    assert f(Z + 1e-4 * gradient) > f(Z), "the direction of steepest ascent"


@pytest.mark.parametrize("name", REAL_VALUED)
def test_complex_gradients_equal_to_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    t = torch.tensor(Z, requires_grad=True)
    REAL_VALUED[name](torch, t).backward()
    np.testing.assert_allclose(wg.grad(lambda z: REAL_VALUED[name](np, z))(Z), t.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", REAL_VALUED)
def test_complex_gradients_are_the_conjugates_of_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        theirs = np.asarray(jax.grad(lambda z: REAL_VALUED[name](jax.numpy, z))(jax.numpy.asarray(Z)))
        np.testing.assert_allclose(wg.grad(lambda z: REAL_VALUED[name](np, z))(Z), np.conj(theirs), rtol=1e-12)


COMPLEX_MAPS: dict[str, Any] = {
    "holomorphic": lambda z: np.exp(z) * z,
    "conjugate": np.conj,
    "to real": np.abs,
    "real part": lambda z: z.real * 2.0,
    "from real": lambda z: z.real * (1 + 2j),
    "matrix": lambda z: (A * (1 - 1j)) @ z,
    "mixed": lambda z: (np.real(z), z * np.abs(z)),
}


@pytest.mark.parametrize("name", COMPLEX_MAPS)
def test_complex_vjp_is_the_exact_transpose(name: str) -> None:
    """⟨ct, J v⟩ = ⟨Jᵀ ct, v⟩ for ⟨a, b⟩ = Re Σ a b, without a conjugate."""
    rng = np.random.default_rng(0)
    f = COMPLEX_MAPS[name]
    v = rng.normal(size=3) + 1j * rng.normal(size=3)
    value, tangent = wg.jvp(f, (Z,), (v,))
    step = 1e-6
    differences = _map(lambda a, b: (a - b) / (2 * step), f(Z + step * v), f(Z - step * v))
    _map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), tangent, differences)
    _map(lambda a, b: np.testing.assert_array_equal(a, b), wg.linearize(f, Z)[1](v), tangent)

    def cotangent(y: Any) -> Any:
        ct = rng.normal(size=y.shape)
        return ct + 1j * rng.normal(size=y.shape) if np.iscomplexobj(y) else ct

    ct = _map(cotangent, value)
    (pulled,) = wg.vjp(f, Z)[1](ct)
    products = _map(lambda a, b: np.sum(a * b).real, ct, tangent)
    total = sum(products) if isinstance(products, tuple) else products
    assert total == pytest.approx(np.sum(pulled * v).real, rel=1e-12)


def _map(function: Any, *values: Any) -> Any:
    if isinstance(values[0], tuple):
        return tuple(_map(function, *parts) for parts in zip(*values, strict=True))
    return function(*values)


def test_complex_jacobians() -> None:
    for transform in (wg.jacfwd, wg.jacrev, wg.jacobian):
        with pytest.raises(NotDifferentiableError, match="holomorphic=True"):
            transform(np.exp)(Z)
        np.testing.assert_allclose(transform(np.exp, holomorphic=True)(Z), np.diag(np.exp(Z)), rtol=1e-14)
    np.testing.assert_allclose(wg.jacfwd(lambda x: np.exp(1j * x))(X), np.diag(1j * np.exp(1j * X)), rtol=1e-14)
    with pytest.raises(NotDifferentiableError, match="complex"):
        wg.jacrev(lambda x: np.exp(1j * x))(X)
    with pytest.raises(NotDifferentiableError, match="dtype complex128"):
        wg.grad(lambda z: z[0])(Z)
    with pytest.raises(NotDifferentiableError, match="dtype complex128"):
        wg.vjp(np.abs, Z)[1](np.ones(3) * 1j)
    with pytest.raises(NotDifferentiableError, match="dtype complex128"):
        wg.jvp(np.sin, (X,), (X * 1j,))
    second = wg.jacfwd(wg.jacfwd(lambda z: np.sum(z**3), holomorphic=True), holomorphic=True)(Z)
    np.testing.assert_allclose(second, np.diag(6 * Z), rtol=1e-14)


def test_complex_second_order() -> None:
    """The Hessian of f in Re z and Im z, by jvp of grad."""
    f = lambda z: np.sum(np.abs(z) ** 4)  # noqa: E731
    v = np.array([1.0, 1j, 1 + 1j])
    found = wg.jvp(wg.grad(f), (Z,), (v,))[1]
    step = 1e-5
    want = (wg.grad(f)(Z + step * v) - wg.grad(f)(Z - step * v)) / (2 * step)
    np.testing.assert_allclose(found, want, rtol=1e-8)
    x, y = wg.jvp(lambda x, y: wg.grad(lambda x, y: f(x + 1j * y), (0, 1))(x, y), (Z.real, Z.imag), (v.real, v.imag))[1]
    np.testing.assert_allclose(found, x + 1j * y, rtol=1e-13)


# ------------------------------------------------------------------------------------------------------ stop_gradient


def test_stop_gradient() -> None:
    assert wg.grad(lambda x: x * wg.stop_gradient(x))(3.0) == 3.0
    assert wg.jvp(lambda x: x * wg.stop_gradient(x), (3.0,), (1.0,)) == (9.0, 3.0)
    assert wg.hessian(lambda x: x**2 * wg.stop_gradient(x))(3.0) == 6.0
    found = wg.vmap(wg.grad(lambda x: x * wg.stop_gradient(x)))(X)
    np.testing.assert_array_equal(found, X)
    stopped = wg.grad(lambda c: np.sum(c["a"] * wg.stop_gradient({"b": c["a"], "n": None})["b"]))({"a": X})
    np.testing.assert_array_equal(stopped["a"], X)
    assert wg.stop_gradient(2.0) == 2.0
    np.testing.assert_array_equal(wg.stop_gradient(X), X)
    listed = wg.trace(lambda x: x * wg.stop_gradient(x))(3.0)
    assert wg.grad(listed)(4.0) == 4.0
    # every level is stopped, also the outer one
    assert wg.grad(lambda x: wg.grad(lambda y: y * wg.stop_gradient(x * y))(2.0))(3.0) == 0.0
    v = wg.Variable(3.0)
    (v * wg.stop_gradient(v)).backward()
    assert v.grad == 3.0


def test_errors_are_found_where_they_belong() -> None:
    assert issubclass(ChangedArrayError, RuntimeError)
    assert issubclass(FreedGraphError, RuntimeError)
    assert issubclass(NotDifferentiableError, TypeError)
    assert issubclass(StructureError, ValueError)
