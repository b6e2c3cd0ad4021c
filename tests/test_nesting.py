"""Derivatives inside derivatives: every order of faces, perturbation confusion, values that leave their trace."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import EscapedTraceError, NotDifferentiableError

# Each face maps a function of a number to its derivative (order 1), or to itself, by way of the transform (order 0).
FACES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "jvp": (lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1], 1),
    "grad": (wg.grad, 1),
    "vjp": (lambda f: lambda x: wg.vjp(f, x)[1](1.0)[0], 1),
    "linearize": (lambda f: lambda x: wg.linearize(f, x)[1](1.0), 1),
    "vmap": (lambda f: lambda x: wg.vmap(f)(np.stack([2.0 * x, x]))[1], 0),
    "trace": (lambda f: lambda x: wg.trace(f)(x)(x), 0),
}


def _dual(f: Any) -> Any:
    return lambda x: f(wg.Dual(x, 1.0)).tangent


def _variable(f: Any) -> Any:
    def derivative(x: Any) -> Any:
        leaf = wg.Variable(x)
        f(leaf).backward()
        return leaf.grad

    return derivative


OUTER = FACES | {"Dual": (_dual, 1), "Variable": (_variable, 1)}  # made by hand, they count as the oldest
PAIRS = list(itertools.product(OUTER, FACES))
TRIPLES = list(itertools.product(OUTER, FACES, FACES))

# The n-th derivative at x, n = 0 … 3.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[float, int], float]]] = {
    "sin": (np.sin, lambda x, n: math.sin(x + n * math.pi / 2)),
    "x·exp x": (lambda x: x * np.exp(x), lambda x, n: (x + n) * math.exp(x)),
    "1/x": (lambda x: 1 / x, lambda x, n: (-1) ** n * math.factorial(n) / x ** (n + 1)),
    "cubic": (lambda x: x**3 - 2 * x, lambda x, n: [x**3 - 2 * x, 3 * x**2 - 2, 6 * x, 6][n]),
    "through arrays": (
        lambda x: np.sum(np.stack([x, x * x]) ** 2),
        lambda x, n: [x**2 + x**4, 2 * x + 4 * x**3, 2 + 12 * x**2, 24 * x][n],
    ),
    "in place": (lambda x: _in_place(x), lambda x, n: [x**3, 3 * x**2, 6 * x, 6][n]),
}


def _in_place(x: Any) -> Any:
    y = np.stack([x, x])
    y[0] *= y[1]
    return y[0] * x


@pytest.mark.parametrize("outer", OUTER)
def test_one_face(outer: str) -> None:
    check_chain([outer])


@pytest.mark.parametrize("faces", PAIRS, ids="-".join)
def test_pairs_of_faces(faces: tuple[str, ...]) -> None:
    check_chain(faces)


@pytest.mark.parametrize("faces", TRIPLES, ids="-".join)
def test_triples_of_faces(faces: tuple[str, ...]) -> None:
    check_chain(faces)


def check_chain(faces: Any) -> None:
    for name, (function, derivative) in FUNCTIONS.items():
        order = 0
        for face in reversed(faces):
            transform, adds = OUTER[face]
            function = transform(function)
            order += adds
        got = function(0.7)
        assert type(got) is np.float64, (name, type(got))
        np.testing.assert_allclose(got, derivative(0.7, order), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("faces", PAIRS, ids="-".join)
def test_no_confusion_in_pairs(faces: tuple[str, str]) -> None:
    """x · D_y (x y²) at y = x: the inner function closes over the outer variable, and is evaluated at it."""
    (outer, adds_outer), (inner, adds_inner) = (OUTER[face] for face in faces)
    got = outer(lambda x: x * inner(lambda y: x * y**2)(x))(1.5)
    want = {(0, 0): 1.5**4, (1, 0): 4 * 1.5**3, (0, 1): 2 * 1.5**3, (1, 1): 6 * 1.5**2}[adds_outer, adds_inner]
    np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("faces", TRIPLES, ids="-".join)
def test_no_confusion_in_triples(faces: tuple[str, str, str]) -> None:
    """x · D_y [y · D_z (x y z²) at z = y] at y = x, whose monomials are followed by hand."""
    (outer, a), (middle, b), (inner, c) = (OUTER[face] for face in faces)
    got = outer(lambda x: x * middle(lambda y: y * inner(lambda z: x * y * z**2)(y))(x))(1.5)
    z_power = 2
    factor = z_power**c
    y_power = 2 + z_power - c
    factor *= y_power**b
    x_power = 2 + y_power - b
    factor *= x_power**a
    np.testing.assert_allclose(got, factor * 1.5 ** (x_power - a), rtol=1e-14)


# ------------------------------------------------------------------------------------------- perturbation confusion


@pytest.mark.parametrize("outer", [face for face in OUTER if OUTER[face][1]])
@pytest.mark.parametrize("inner", [face for face in FACES if FACES[face][1]])
def test_the_textbook_case(outer: str, inner: str) -> None:
    """d/dx [x · d/dy (x + y)] is 1; one ε for both gives 2 (J. Siskind and B. Pearlmutter, IFL 2005)."""
    assert OUTER[outer][0](lambda x: x * FACES[inner][0](lambda y: x + y)(2.0))(3.0) == 1.0


def test_manzyuk() -> None:
    """The derivative of u ↦ (f ↦ x ↦ f(x + u)), which returns a function (O. Manzyuk et al., JFP 29, 2019)."""

    def shift(u: Any) -> Any:
        return lambda f: lambda x: f(x + u)

    for transform in (
        lambda f: wg.jvp(f, (0.0,), (1.0,)),
        lambda f: wg.vjp(f, 0.0),
        lambda f: wg.linearize(f, 0.0),
        lambda f: wg.grad(f)(0.0),
        lambda f: wg.jacfwd(f)(0.0),
        lambda f: wg.vmap(f)(np.zeros(2)),
        lambda f: wg.trace(f)(0.0),
    ):
        with pytest.raises(NotDifferentiableError, match="returned a function"):
            transform(shift)
        with pytest.raises(TypeError, match=r"\['shifted'\]|None|dict"):
            transform(lambda u: {"shifted": shift(u)})

    def derivative(f: Any) -> Any:  # the same map with its arguments supplied
        return lambda x: wg.jvp(lambda u: shift(u)(f)(x), (0.0,), (1.0,))[1]

    assert derivative(derivative(np.exp))(1.0) == pytest.approx(math.e, rel=1e-15)


def test_nested_minimisation() -> None:
    """min_x max_y x² + 2xy − y² … by Newton's method, and the derivative of the minimiser itself."""

    def argmin(f: Any, y: Any) -> Any:  # exact in one step for the quadratic functions here
        return y - wg.grad(f)(y) / wg.grad(wg.grad(f))(y)

    def inner(x: Any) -> Any:
        return argmin(lambda y: (y - x**2) ** 2 + y, 0.3)  # at x² − 1/2

    assert wg.grad(inner)(1.5) == pytest.approx(3.0, rel=1e-14)
    assert wg.grad(wg.grad(inner))(1.5) == pytest.approx(2.0, rel=1e-14)
    assert wg.jvp(wg.grad(inner), (1.5,), (1.0,))[1] == pytest.approx(2.0, rel=1e-14)

    def outer(x: Any) -> Any:  # max over y of 2xy − y² − (x − 3)²·… is at y = x
        best = argmin(lambda y: y**2 - 2 * x * y, 1.0)
        return (x - 3.0) ** 2 + 2 * x * best - best**2  # = (x − 3)² + x²

    assert argmin(outer, 7.0) == pytest.approx(1.5, rel=1e-14)


def test_gradient_descent_inside_a_gradient() -> None:
    def train(rate: Any) -> Any:
        w = np.array([1.0, -2.0])
        for _ in range(3):
            w = w - rate * wg.grad(lambda w: np.sum(w**2))(w)  # w ↦ (1 − 2·rate) w
        return np.sum(w**2)

    assert wg.grad(train)(0.1) == pytest.approx(-12 * 0.8**5 * 5.0, rel=1e-13)
    assert wg.jvp(train, (0.1,), (1.0,))[1] == pytest.approx(-12 * 0.8**5 * 5.0, rel=1e-13)


# ---------------------------------------------------------------------------------------------- values that escape

RUNS: dict[str, Callable[[Any], Any]] = {
    "jvp": lambda f: wg.jvp(f, (2.0,), (1.0,)),
    "vjp": lambda f: wg.vjp(f, 2.0),
    "grad": lambda f: wg.grad(f)(2.0),
    "value_and_grad": lambda f: wg.value_and_grad(f)(2.0),
    "linearize": lambda f: wg.linearize(f, 2.0),
    "jacfwd": lambda f: wg.jacfwd(f)(2.0),
    "jacrev": lambda f: wg.jacrev(f)(2.0),
    "derivative": lambda f: wg.derivative(f)(2.0),
    "hessian": lambda f: wg.hessian(f)(2.0),
    "vmap": lambda f: wg.vmap(f)(np.array([2.0, 3.0])),
    "trace": lambda f: wg.trace(f)(2.0),
}
USES: dict[str, Callable[[Any], Any]] = {
    "operator": lambda x: x + 1.0,
    "reflected": lambda x: 1.0 - x,
    "ufunc": np.sin,
    "two": lambda x: np.multiply(x, x),
    "function": lambda x: np.sum(x),
    "method": lambda x: x.sum(),
    "index": lambda x: np.stack([x, x])[0],
    "comparison": lambda x: x > 0,
    "in a transform": lambda x: wg.grad(lambda y: y * x)(1.0),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("run", RUNS)
def test_a_value_kept_in_a_closure(run: str, use: str) -> None:
    kept = []

    def f(x: Any) -> Any:
        kept.append(x * x)
        return x * x

    RUNS[run](f)
    with pytest.raises(EscapedTraceError, match="outside the transform"):
        USES[use](kept[0])


@pytest.mark.parametrize("run", RUNS)
def test_the_ways_out(run: str) -> None:
    """Attribute, default argument, exception, lazy generator, coroutine-style generator, dictionary."""

    class Box:
        value: Any = None

    def remember(y: Any = None, memory: list[Any] = []) -> Any:  # noqa: B006
        if y is None:
            return memory.pop()
        memory.append(y)

    def sink() -> Iterator[Any]:
        value = None
        while True:
            value = yield value

    box, table, pipe, lazy = Box(), {}, sink(), []
    next(pipe)

    def f(x: Any) -> Any:
        box.value = x
        table["x"] = x * 1.0
        lazy.append(x * k for k in range(3))
        remember(x)
        pipe.send(x)
        return x * x

    RUNS[run](f)

    def fails(x: Any) -> Any:
        error = ValueError("carries a value")
        error.value = x  # type: ignore[attr-defined]
        raise error

    with pytest.raises(ValueError, match="carries a value") as info:
        RUNS[run](fails)
    for escaped in (box.value, table["x"], remember(), info.value.value):  # type: ignore[attr-defined]
        with pytest.raises(EscapedTraceError):
            escaped * 2.0
    with pytest.raises(EscapedTraceError):
        list(lazy[0])
    with pytest.raises(EscapedTraceError):
        pipe.send(None) or box.value + 1.0


@pytest.mark.parametrize("inner", RUNS)
@pytest.mark.parametrize("outer", RUNS)
def test_a_value_of_an_ended_inner_trace_is_no_constant(outer: str, inner: str) -> None:
    """Returned from the outer function, it would silently give the derivative 0."""

    def f(x: Any) -> Any:
        kept = []

        def g(y: Any) -> Any:
            kept.append(x * y)
            return y * y

        RUNS[inner](g)
        return kept[0]

    with pytest.raises(EscapedTraceError):
        RUNS[outer](f)


@pytest.mark.parametrize("use", ["returned", "used"])
@pytest.mark.parametrize("inner", RUNS)
@pytest.mark.parametrize("outer", RUNS)
def test_a_value_of_a_trace_that_is_still_open_in_a_thread(outer: str, inner: str, use: str) -> None:
    def f(x: Any) -> Any:
        kept: list[Any] = []
        ready, done = threading.Event(), threading.Event()

        def g(y: Any) -> Any:
            if not kept:
                kept.append(x * y)
                ready.set()
                assert done.wait(30)
            return y * y

        thread = threading.Thread(target=lambda: RUNS[inner](g))
        thread.start()
        try:
            assert ready.wait(30)
            return kept[0] if use == "returned" else kept[0] * x + x
        finally:
            done.set()
            thread.join()

    with pytest.raises(EscapedTraceError):
        RUNS[outer](f)


def test_generators() -> None:
    """A generator that is resumed in another trace than it was started in is right, or raises."""

    def powers(x: Any) -> Iterator[Any]:
        y = x
        while True:
            other = yield y
            y = y * x if other is None else y * other

    assert wg.grad(lambda x: next(g := powers(x)) * next(g) * next(g))(2.0) == 6 * 2.0**5

    def resumed(x: Any) -> Any:  # started outside, resumed inside: x is older there, and y newer
        pipe = powers(x)
        next(pipe)
        slope = wg.grad(lambda y: pipe.send(y) * y)(3.0)  # x y², at 3: 6 x
        return slope, pipe

    assert wg.grad(lambda x: resumed(x)[0])(2.0) == 6.0
    for run in (lambda f: wg.grad(f)(2.0), lambda f: wg.jvp(f, (2.0,), (1.0,)), lambda f: wg.vmap(f)(np.ones(2))):
        with pytest.raises(EscapedTraceError):
            run(lambda x: next(resumed(x)[1]))  # it still holds x·y of the inner trace

    def steps(x: Any) -> Iterator[Any]:  # transforms inside a generator, values out of it
        for _ in range(3):
            x = x - 0.25 * wg.grad(lambda y: y**2)(x)  # halves x
            yield x

    assert wg.grad(lambda x: sum(steps(x)))(1.0) == 0.5 + 0.25 + 0.125
    assert wg.grad(lambda x: sum(wg.grad(lambda y: sum(a * y for a in steps(x)))(5.0) for _ in range(2)))(1.0) == 1.75


def test_an_older_value_in_another_thread_is_right() -> None:
    """The other way round nothing escapes: a thread that differentiates at a value of ours."""

    def f(x: Any) -> Any:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(wg.grad(lambda y: y**2 * x)(x)))  # 2 x²
        thread.start()
        thread.join()
        return results[0]

    assert wg.grad(f)(3.0) == 12.0
    assert wg.jvp(f, (3.0,), (1.0,))[1] == 12.0
    np.testing.assert_array_equal(wg.vmap(f)(np.array([1.0, 3.0])), [2.0, 18.0])


def test_a_buffer_of_the_outer_function_written_by_the_inner() -> None:
    """The buffer becomes an array of the inner trace: right inside it, an error after it."""

    def f(x: Any) -> Any:
        buffer = np.zeros(2, like=x) * x

        def g(y: Any) -> Any:
            buffer[0] = x * y
            return np.sum(buffer) * y  # x y²

        slope = wg.grad(g)(2.0)
        assert wg.stop_gradient(slope) == 4.0 * wg.stop_gradient(x)
        return slope + buffer[1]

    with pytest.raises(EscapedTraceError):
        wg.grad(f)(3.0)


# --------------------------------------------------------------------------------------------------- compositions

A = np.array([[1.0, 2.0, 0.5], [0.25, -1.0, 1.5]])
X = np.array([0.3, -0.6, 0.9])


def wave(x: Any) -> Any:
    return np.sum(np.sin(A @ x))


def test_hessians_in_every_way() -> None:
    want = -A.T @ np.diag(np.sin(A @ X)) @ A
    for outer, inner in itertools.product((wg.jacfwd, wg.jacrev, wg.jacobian), repeat=2):
        np.testing.assert_allclose(outer(inner(wave))(X), want, rtol=1e-13)
        np.testing.assert_allclose(outer(wg.grad(wave))(X), want, rtol=1e-13)
    np.testing.assert_allclose(wg.hessian(wave)(X), want, rtol=1e-13)
    basis = np.eye(3)
    np.testing.assert_allclose(wg.vmap(lambda v: wg.hvp(wave, (X,), (v,)))(basis), want, rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(lambda v: wg.grad(lambda x: wg.grad(wave)(x) @ v)(X))(basis), want, rtol=1e-13)
    np.testing.assert_allclose(
        wg.vmap(lambda v: wg.grad(lambda x: wg.jvp(wave, (x,), (v,))[1])(X))(basis), want, rtol=1e-13
    )
    _, pushforward = wg.linearize(wg.grad(wave), X)
    np.testing.assert_allclose(wg.vmap(pushforward)(basis), want, rtol=1e-13)


def test_hessian_of_hessian() -> None:
    assert wg.hessian(wg.hessian(lambda x: x**5))(2.0) == pytest.approx(240.0, rel=1e-13)
    fourth = wg.jacfwd(wg.jacrev(wg.hessian(lambda x: x[0] ** 2 * x[1] ** 2)))(np.array([2.0, 3.0]))
    want = np.zeros((2, 2, 2, 2))
    for index in set(itertools.permutations([0, 0, 1, 1])):
        want[index] = 4.0
    np.testing.assert_allclose(fourth, want, atol=1e-12)

    def trace_of_hessian(x: Any) -> Any:
        return np.trace(wg.hessian(lambda x: np.sum(x**4))(x))  # 12 Σ x²

    np.testing.assert_allclose(wg.hessian(trace_of_hessian)(X), 24 * np.eye(3), atol=1e-12)


def test_grad_of_vmap_of_grad() -> None:
    def f(x: Any) -> Any:
        return np.sum(x * wg.vmap(wg.grad(lambda t: np.sin(t) * t))(x))  # Σ x (sin x + x cos x)

    want = np.sin(X) + 3 * X * np.cos(X) - X**2 * np.sin(X)
    np.testing.assert_allclose(wg.grad(f)(X), want, rtol=1e-13)
    np.testing.assert_allclose(wg.jacfwd(f)(X), want, rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(np.stack([X, 2 * X]))[0], want, rtol=1e-13)


def test_per_example_hessians() -> None:
    rows = np.stack([X, 2 * X, -X])
    got = wg.vmap(wg.hessian(wave))(rows)
    np.testing.assert_allclose(got, [wg.hessian(wave)(row) for row in rows], rtol=1e-13)


def test_vmap_inside_vmap_inside_grad() -> None:
    def f(x: Any) -> Any:
        return np.sum(wg.vmap(lambda a: wg.vmap(lambda b: np.exp(a * b))(x))(x))

    want = 2 * np.exp(np.outer(X, X)) @ X
    np.testing.assert_allclose(wg.grad(f)(X), want, rtol=1e-13)


@pytest.mark.parametrize("x", [X, X[:1]])
def test_a_pullback_is_a_function_like_any_other(x: np.ndarray) -> None:
    """jvp, vjp, vmap and linearize of it: in its cotangent, where it is linear, and in the point where it was taken."""

    def f(x: Any) -> Any:
        return np.sin(x) * x

    def slope(x: Any) -> Any:
        return np.sin(x) + x * np.cos(x)

    def curvature(x: Any) -> Any:
        return 2 * np.cos(x) - x * np.sin(x)

    ct, v = np.linspace(1.0, 2.0, x.size), np.linspace(-1.0, 0.5, x.size)
    _, pullback = wg.vjp(f, x)
    for _ in range(3):  # the second call keeps its partial derivatives, and the third uses them
        value, pushed = wg.jvp(lambda ct: pullback(ct)[0], (ct,), (v,))
        np.testing.assert_allclose(value, ct * slope(x), rtol=1e-14)
        np.testing.assert_allclose(pushed, v * slope(x), rtol=1e-14)
        np.testing.assert_allclose(wg.vjp(lambda ct: pullback(ct)[0], ct)[1](v)[0], v * slope(x), rtol=1e-14)
        np.testing.assert_allclose(wg.linearize(lambda ct: pullback(ct)[0], ct)[1](v), v * slope(x), rtol=1e-14)
        np.testing.assert_allclose(
            wg.vmap(lambda ct: pullback(ct)[0])(np.stack([ct, v])), [ct * slope(x), v * slope(x)], rtol=1e-14
        )
        listed = wg.trace(lambda ct: pullback(ct)[0])(ct)
        np.testing.assert_allclose(listed(v), v * slope(x), rtol=1e-14)

    def at(x: Any) -> Any:
        return wg.vjp(f, x)[1](ct)[0]

    np.testing.assert_allclose(wg.jvp(at, (x,), (v,))[1], ct * v * curvature(x), rtol=1e-13)
    np.testing.assert_allclose(wg.vjp(at, x)[1](v)[0], ct * v * curvature(x), rtol=1e-13)
    np.testing.assert_allclose(wg.linearize(at, x)[1](v), ct * v * curvature(x), rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(at)(np.stack([x, 2 * x]))[1], ct * slope(2 * x), rtol=1e-13)

    def both(x: Any, ct: Any) -> Any:
        pullback = wg.vjp(f, x)[1]
        return pullback(ct)[0] + pullback(2.0 * ct)[0] + pullback(x)[0]

    np.testing.assert_allclose(
        wg.jvp(both, (x, ct), (v, v))[1],
        3 * v * slope(x) + 3 * ct * v * curvature(x) + v * slope(x) + x * v * curvature(x),
        rtol=1e-13,
    )


def test_a_pushforward_is_a_function_like_any_other() -> None:
    v = np.array([1.0, 2.0, -1.0])
    _, pushforward = wg.linearize(lambda x: np.sin(x) * x[0], X)
    jacobian = wg.jacrev(lambda x: np.sin(x) * x[0])(X)
    np.testing.assert_allclose(wg.jacfwd(pushforward)(v), jacobian, rtol=1e-13)
    np.testing.assert_allclose(wg.jacrev(pushforward)(v), jacobian, rtol=1e-13)
    np.testing.assert_allclose(wg.jvp(pushforward, (v,), (X,))[1], jacobian @ X, rtol=1e-13)
    np.testing.assert_allclose(wg.grad(lambda v: pushforward(v) @ X)(v), jacobian.T @ X, rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(pushforward, in_axes=1, out_axes=1)(np.eye(3)), jacobian, rtol=1e-13)

    def at(x: Any) -> Any:
        return wg.linearize(lambda x: x**3, x)[1](v)

    np.testing.assert_allclose(wg.jvp(at, (X,), (X,))[1], 6 * X * v * X, rtol=1e-13)
    np.testing.assert_allclose(wg.vjp(at, X)[1](X)[0], 6 * X * v * X, rtol=1e-13)


def test_a_list_is_a_function_like_any_other() -> None:
    listed = wg.trace(wave)(2 * X)
    np.testing.assert_allclose(wg.grad(listed)(X), A.T @ np.cos(A @ X), rtol=1e-13)
    np.testing.assert_allclose(wg.hessian(listed)(X), wg.hessian(wave)(X), rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(listed)(np.stack([X, -X])), [wave(X), wave(-X)], rtol=1e-13)
    gradient = wg.trace(wg.grad(wave))(2 * X)
    gradient.check()
    np.testing.assert_allclose(gradient(X), A.T @ np.cos(A @ X), rtol=1e-13)
    np.testing.assert_allclose(wg.jacfwd(gradient)(X), wg.hessian(wave)(X), rtol=1e-13)
    again = wg.trace(gradient)(X)
    np.testing.assert_array_equal(again(X), gradient(X))
    for transformed in (wg.hessian(wave), wg.vmap(np.sin), lambda x: wg.jvp(wave, (x,), (x,)), wg.jacrev(np.tanh)):
        listed = wg.trace(transformed)(2 * X)
        listed.check()
        for got, want in zip(np.atleast_1d(listed(X)), np.atleast_1d(transformed(X)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("depth", [4, 6])
@pytest.mark.parametrize("first", ["grad", "jvp", "linearize", "vjp"])
def test_deep_towers(first: str, depth: int) -> None:
    cycle = itertools.cycle(["grad", "jvp", "vmap", "vjp", "linearize", "trace"])
    while next(cycle) != first:
        pass

    def start(x: Any) -> Any:
        return np.exp(2 * x) + np.sin(x)

    f: Any = start
    order = 0
    for face in itertools.islice(cycle, depth):
        transform, adds = FACES[face]
        f, order = transform(f), order + adds
    want = 2**order * math.exp(1.0) + math.sin(0.5 + order * math.pi / 2)
    np.testing.assert_allclose(f(0.5), want, rtol=1e-12)


def test_five_gradients() -> None:
    f: Any = np.sin
    for _ in range(5):
        f = wg.grad(f)
    assert f(0.5) == pytest.approx(math.cos(0.5), rel=1e-14)


# ----------------------------------------------------------------------------------- hand-made arrays and transforms


def test_transforms_inside_an_eager_program() -> None:
    w = wg.Variable(3.0)
    slope = wg.grad(lambda x: x**2 * w)(2.0)  # 4 w
    assert type(slope) is wg.Variable
    (slope * w).backward()  # 4 w²
    assert w.grad == 24.0

    w = wg.Variable(X)
    total = np.sum(wg.vmap(lambda a: np.sin(a) * a)(w)) + wg.jvp(np.sum, (w,), (2 * w,))[1]
    total.backward()
    np.testing.assert_allclose(w.grad, np.sin(X) + X * np.cos(X) + 2.0, rtol=1e-14)

    w = wg.Variable(X)
    np.sum(wg.hessian(wave)(w)).backward()
    np.testing.assert_allclose(w.grad, wg.grad(lambda x: np.sum(wg.hessian(wave)(x)))(X), rtol=1e-12)


def test_transforms_around_dual_numbers() -> None:
    d = wg.Dual(3.0, 1.0)
    assert wg.grad(lambda x: x**2 * d)(2.0).tangent == 4.0
    assert wg.hessian(lambda x: x**3)(d).tangent == 6.0
    np.testing.assert_allclose(wg.hessian(wave)(wg.Dual(X, X)).tangent, wg.jvp(wg.hessian(wave), (X,), (X,))[1])


def test_duals_of_duals() -> None:
    x = wg.Dual(wg.Dual(2.0, 1.0, eps=0), wg.Dual(1.0, 0.0, eps=0), eps=1)
    y = x**3
    assert y.primal.primal == 8.0
    assert y.primal.tangent == y.tangent.primal == 12.0
    assert y.tangent.tangent == 12.0
    product = wg.Dual(2.0, 1.0, eps=1) * wg.Dual(3.0, 1.0, eps=0)
    assert product.primal.tangent == 2.0
    assert product.tangent.primal == 3.0
    assert product.tangent.tangent == 1.0
