"""What all transforms share: argnums, keywords, containers, auxiliary results, the kinds of function they take."""

from __future__ import annotations

import functools
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, EscapedTraceError, NotDifferentiableError, StructureError

X = np.array([0.3, -0.6, 0.9])
WITH_ARGNUMS = {
    "grad": wg.grad, "value_and_grad": wg.value_and_grad, "jacfwd": wg.jacfwd, "jacrev": wg.jacrev,
    "jacobian": wg.jacobian,
}  # fmt: skip
Pair = namedtuple("Pair", "a b")


def derivative_of(name: str, result: Any) -> Any:
    return result[1] if name == "value_and_grad" else result


def f(a: Any, b: Any, c: Any = 3.0) -> Any:
    """A doc."""
    return np.sum(a * b**2 * c)


@pytest.mark.parametrize("name", WITH_ARGNUMS)
def test_argnums_of_every_kind(name: str) -> None:
    transform = WITH_ARGNUMS[name]
    by_slot = {0: 12.0, 1: 12.0, 2: 4.0}
    for argnums in (0, 1, 2, -1, -2, -3, np.int64(1), np.uint8(2)):
        assert derivative_of(name, transform(f, argnums=argnums)(1.0, 2.0, 3.0)) == by_slot[int(argnums) % 3]
    for many in ((0,), (0, 1), (2, 0), [1, 2], (0, 1, 2), (-1, 0), (1, 1), (0, -3), (np.int32(2), 0)):
        found = derivative_of(name, transform(f, argnums=many)(1.0, 2.0, 3.0))
        assert type(found) is tuple
        assert found == tuple(by_slot[int(k) % 3] for k in many)


@pytest.mark.parametrize("name", WITH_ARGNUMS)
def test_the_same_argument_twice_gives_two_arrays(name: str) -> None:
    one, two = derivative_of(name, WITH_ARGNUMS[name](lambda a: np.sum(a**2), argnums=(0, 0))(X))
    np.testing.assert_array_equal(one, two)
    assert not np.shares_memory(one, two)


@pytest.mark.parametrize("name", WITH_ARGNUMS)
def test_keyword_arguments(name: str) -> None:
    transform = WITH_ARGNUMS[name]
    for call in (
        lambda g: g(1.0, 2.0, c=5.0),
        lambda g: g(1.0, b=2.0, c=5.0),
        lambda g: g(a=1.0, b=2.0, c=5.0),
        lambda g: g(c=5.0, b=2.0, a=1.0),
    ):
        assert derivative_of(name, call(transform(f))) == 20.0
        assert derivative_of(name, call(transform(f, argnums=1))) == 20.0
        assert derivative_of(name, call(transform(f, argnums=(1, 2)))) == (20.0, 4.0)
    with pytest.raises(TypeError, match="argnums=2"):
        transform(f, argnums=2)(1.0, 2.0)  # a default is not differentiated
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        transform(f)(1.0, 2.0, d=1.0)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        transform(f)(1.0)

    def keyword_only(x: Any, *, power: int = 1, **rest: Any) -> Any:
        return np.sum(x**power) * rest.get("scale", 1.0)

    assert derivative_of(name, transform(keyword_only)(3.0, power=2, scale=10.0)) == 60.0

    def variadic(*xs: Any) -> Any:
        return xs[0] * xs[1] * xs[-1]

    assert derivative_of(name, transform(variadic, argnums=(0, 2))(2.0, 3.0, 5.0)) == (15.0, 6.0)


def test_hessian_blocks() -> None:
    a, b = np.array([1.0, 2.0]), 3.0
    g = lambda a, b: np.sum(a**2) * b**3  # noqa: E731
    (aa, ab), (ba, bb) = wg.hessian(g, argnums=(0, 1))(a, b)
    np.testing.assert_allclose(aa, 54 * np.eye(2))
    np.testing.assert_allclose(ab, 54 * a)
    np.testing.assert_allclose(ba, 54 * a)
    assert bb == pytest.approx(5.0 * 18)
    np.testing.assert_allclose(wg.hessian(g, argnums=1)(a, b), 90.0)
    twice = wg.hessian(g, argnums=(1, 1))(a, b)
    np.testing.assert_allclose(twice, np.full((2, 2), 90.0))
    blocks = wg.hessian(lambda c: g(c["a"], c["b"]))({"a": a, "b": b})
    np.testing.assert_allclose(blocks["a"]["b"], 54 * a)
    np.testing.assert_allclose(blocks["b"]["a"], 54 * a)


# -------------------------------------------------------------------------------------------------------- containers


@dataclass
class Layer:
    weight: Any
    bias: Any


CONTAINERS: dict[str, tuple[Any, Any]] = {
    "array": (X, lambda c: c),
    "dict": ({"w": X, "skip": None}, lambda c: c["w"]),
    "nested": ([({"deep": X},), 1.0], lambda c: c[0][0]["deep"] * c[1]),
    "namedtuple": (Pair(X, 2.0), lambda c: c.a * c.b),
    "dataclass": (Layer(X, [2.0, {}]), lambda c: c.weight * c.bias[0]),
    "tuple of arrays": ((X, X), lambda c: c[0] * c[1]),
    "integer keys": ({2: X, 1: 3.0}, lambda c: c[2] * c[1]),
}


def leaves(tree: Any) -> list[Any]:
    from wengert.tree import flatten

    return flatten(tree)[0]


@pytest.mark.parametrize("name", CONTAINERS)
def test_derivatives_have_the_structure_of_the_argument(name: str) -> None:
    container, read = CONTAINERS[name]

    def loss(c: Any) -> Any:
        return np.sum(np.sin(read(c)))

    from wengert.tree import flatten, same_structure

    gradient = wg.grad(loss)(container)
    assert same_structure(flatten(gradient)[1], flatten(container)[1])
    for one, other in zip(leaves(gradient), leaves(container), strict=True):
        assert np.shape(one) == np.shape(other)
    value, pullback = wg.vjp(loss, container)
    for other in (
        wg.value_and_grad(loss)(container)[1],
        pullback(1.0)[0],
        wg.jacrev(loss)(container),
        wg.jacfwd(loss)(container),
    ):
        assert same_structure(flatten(other)[1], flatten(container)[1])
        for one, two in zip(leaves(other), leaves(gradient), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-14)
    expected = sum(np.sum(g * x) for g, x in zip(leaves(gradient), leaves(container), strict=True))
    assert wg.jvp(loss, (container,), (container,))[1] == pytest.approx(expected, rel=1e-14)
    assert wg.linearize(loss, container)[1](container) == pytest.approx(expected, rel=1e-14)
    assert wg.trace(loss)(container)(container) == value

    _, pullback = wg.vjp(lambda c: {"same": c, "none": None}, container)  # containers as results
    (back,) = pullback({"same": container, "none": None})
    assert same_structure(flatten(back)[1], flatten(container)[1])
    for one, two in zip(leaves(back), leaves(container), strict=True):
        np.testing.assert_array_equal(one, two)


def test_empty_containers() -> None:
    assert wg.grad(lambda c: 1.0)({}) == {}
    assert wg.grad(lambda c, x: x * 2.0, argnums=(0, 1))([], 1.0) == ([], 2.0)
    assert wg.vjp(lambda x: {}, 1.0)[1]({}) == (0.0,)
    assert wg.jvp(lambda x: (), (1.0,), (1.0,)) == ((), ())
    assert wg.vjp(lambda: 3.0)[1](1.0) == ()
    assert wg.jacrev(lambda x: [])(1.0) == []
    assert wg.jacfwd(lambda x: [])(1.0) == []
    assert wg.jacfwd(lambda c: 1.0)({}) == wg.jacrev(lambda c: 1.0)({}) == {}
    gradient = wg.grad(np.sum)(np.zeros((0, 3)))
    assert gradient.shape == (0, 3)
    assert wg.jacfwd(lambda x: x)(np.zeros(0)).shape == wg.jacrev(lambda x: x)(np.zeros(0)).shape == (0, 0)
    assert wg.jacfwd(lambda x: x[:0])(X).shape == wg.jacrev(lambda x: x[:0])(X).shape == (0, 3)
    assert wg.jacfwd(lambda x: np.ones(2) * np.sum(x))(np.zeros(0)).shape == (2, 0)
    assert wg.jacrev(lambda x: np.ones(2) * np.sum(x))(np.zeros(0)).shape == (2, 0)


def test_jacobians_of_containers() -> None:
    def g(c: Any, s: Any) -> Any:
        return {"y": c["m"] @ c["v"] * s, "z": (np.sum(c["v"]),)}

    m, v = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    for transform in (wg.jacfwd, wg.jacrev, wg.jacobian):
        found = transform(g, argnums=(0, 1))({"m": m, "v": v}, 2.0)
        by_container, by_scale = found["y"]
        assert by_container["m"].shape == (2, 2, 3)
        np.testing.assert_allclose(by_container["v"], 2 * m)
        np.testing.assert_allclose(by_scale, m @ v)
        (row,) = found["z"]
        np.testing.assert_allclose(row[0]["v"], np.ones(3))
        np.testing.assert_allclose(row[0]["m"], np.zeros((2, 3)))
        assert row[1] == 0.0


# ----------------------------------------------------------------------------------------------------------- has_aux


def with_aux(x: Any) -> Any:
    return np.sum(x**2), {"twice": 2 * x, "label": "aux", "list": [x[0], None, print]}


def check_aux(aux: Any) -> None:
    assert type(aux["twice"]) is np.ndarray
    np.testing.assert_array_equal(aux["twice"], 2 * X)
    assert aux["label"] == "aux"
    assert aux["list"][0] == X[0] and aux["list"][1:] == [None, print]
    aux["twice"][:] = 0.0  # its own memory


def test_has_aux() -> None:
    gradient, aux = wg.grad(with_aux, has_aux=True)(X)
    check_aux(aux)
    np.testing.assert_array_equal(gradient, 2 * X)
    (value, aux), gradient = wg.value_and_grad(with_aux, has_aux=True)(X)
    check_aux(aux)
    assert value == np.sum(X**2)
    value, pullback, aux = wg.vjp(with_aux, X, has_aux=True)
    check_aux(aux)
    np.testing.assert_array_equal(pullback(1.0)[0], 2 * X)
    value, tangent, aux = wg.jvp(with_aux, (X,), (X,), has_aux=True)
    check_aux(aux)
    assert tangent == 2 * np.sum(X**2)
    value, pushforward, aux = wg.linearize(with_aux, X, has_aux=True)
    check_aux(aux)
    assert pushforward(X) == 2 * np.sum(X**2)
    for transform in (wg.jacfwd, wg.jacrev, wg.jacobian):
        jacobian, aux = transform(with_aux, has_aux=True)(X)
        check_aux(aux)
        np.testing.assert_array_equal(jacobian, 2 * X)
    hessian, aux = wg.hessian(with_aux, has_aux=True)(X)
    check_aux(aux)
    np.testing.assert_array_equal(hessian, 2 * np.eye(3))


def test_aux_is_differentiated_by_the_outer_trace() -> None:
    def outer(x: Any) -> Any:
        _, aux = wg.grad(lambda y: (np.sum(y**2), y * x), has_aux=True)(3.0 * x)
        return np.sum(aux)  # 3 x²

    np.testing.assert_allclose(wg.grad(outer)(X), 6 * X)
    np.testing.assert_allclose(wg.jacfwd(outer)(X), 6 * X)


def test_has_aux_without_a_pair() -> None:
    for result in (1.0, (1.0,), (1.0, 2.0, 3.0), None, [1.0, 2.0]):
        for run in (
            lambda f: wg.grad(f, has_aux=True)(1.0),
            lambda f: wg.vjp(f, 1.0, has_aux=True),
            lambda f: wg.jvp(f, (1.0,), (1.0,), has_aux=True),
            lambda f: wg.linearize(f, 1.0, has_aux=True),
            lambda f: wg.jacobian(f, has_aux=True)(1.0),
        ):
            with pytest.raises(ArgumentError, match=r"pair \(value, aux\)"):
                run(lambda x, result=result: result)


def test_traced_values_hidden_in_aux_are_leaks() -> None:
    class Box:
        def __init__(self, value: Any) -> None:
            self.value = value

    _, box = wg.grad(lambda x: (x * x, Box(x)), has_aux=True)(1.0)
    with pytest.raises(EscapedTraceError):
        box.value + 1.0


# --------------------------------------------------------------------------------------------- kinds of function


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, x: Any) -> Any:
        return np.sum(x**2) * self.scale

    def loss(self, x: Any) -> Any:
        return self(x)

    @staticmethod
    def static(x: Any) -> Any:
        return np.sum(x**2)

    @wg.grad
    def slope(x: Any) -> Any:
        return np.sum(x**2)

    @functools.partial(wg.grad, argnums=1)
    def method(self, x: Any) -> Any:
        return np.sum(x**2) * self.scale


def test_functions_methods_partials_objects() -> None:
    model = Model(3.0)
    for function, want in (
        (model, 6.0), (model.loss, 6.0), (Model.static, 2.0), (functools.partial(f, 1.0, c=2.0), 4.0),
        (lambda x: x**2, 2.0),
        (np.square, 2.0), (np.sum, 1.0), (abs, 1.0),
    ):  # fmt: skip
        assert wg.grad(function)(1.0) == want
        assert wg.jacfwd(function)(1.0) == want
        assert wg.vjp(function, 1.0)[1](1.0) == (want,)
        assert wg.jvp(function, (1.0,), (1.0,))[1] == want
        assert wg.vmap(wg.grad(function))(np.ones(2)).tolist() == [want, want]
        wg.trace(function)(1.0).check()
    np.testing.assert_array_equal(model.method(X), 6 * X)
    np.testing.assert_array_equal(Model.slope(X), 2 * X)


def test_transformed_functions_keep_name_doc_and_signature() -> None:
    import inspect

    for transform in (
        wg.grad,
        wg.value_and_grad,
        wg.jacfwd,
        wg.jacrev,
        wg.jacobian,
        wg.hessian,
        wg.vmap,
        wg.trace,
        wg.derivative,
    ):
        transformed = transform(f)
        assert transformed.__name__ == "f"
        assert transformed.__doc__ == "A doc."
        assert list(inspect.signature(transformed).parameters) == ["a", "b", "c"]
    assert repr(wg.grad(f, argnums=1)) == "grad(f, argnums=1)"
    assert "vmap(grad(f))" in repr(wg.vmap(wg.grad(f)))


def test_recursion_and_branches_and_loops() -> None:
    def power(x: Any, n: int) -> Any:
        return 1.0 if n == 0 else x * power(x, n - 1)

    assert wg.grad(power)(2.0, 5) == 80.0
    assert wg.grad(lambda x: x**2 if x > 0 else -x)(-3.0) == -1.0

    def root(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-14 * a:
            x = 0.5 * (x + a / x)
        return x

    assert wg.grad(root)(2.0) == pytest.approx(0.5 / np.sqrt(2.0), rel=1e-12)


def test_bad_results_name_their_place() -> None:
    for run in (
        lambda f: wg.vjp(f, X), lambda f: wg.jvp(f, (X,), (X,)), lambda f: wg.linearize(f, X),
        lambda f: wg.jacobian(f)(X),
        lambda f: wg.vmap(f)(X), lambda f: wg.trace(f)(X),
    ):  # fmt: skip
        with pytest.raises(NotDifferentiableError, match=r"returned a str at \['note'\]"):
            run(lambda x: {"y": x, "note": "text"})
        with pytest.raises(NotDifferentiableError, match="returned a object"):
            run(lambda x: object())
        run(lambda x: None)  # None is structure: nothing is returned


def test_structure_errors_show_both_structures() -> None:
    _, pullback = wg.vjp(lambda x: {"y": x}, X)
    with pytest.raises(StructureError, match=r"Expected \(\{'y': \*\}\), got \(\{'z': \*\}\)"):
        pullback({"z": X})
    with pytest.raises(StructureError, match="tangents"):
        wg.jvp(lambda c: c["a"], ({"a": X},), ({"b": X},))
    with pytest.raises(StructureError, match="Wengert list"):
        wg.trace(lambda c: c["a"])({"a": X})({"b": X})
