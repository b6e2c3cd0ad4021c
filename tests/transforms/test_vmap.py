"""vmap: where the mapped axis comes from and where it goes, nesting, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ConversionError, StructureError

X = np.arange(24.0).reshape(2, 3, 4) / 10 - 1
A = np.array([[1.0, 2.0, 0.5, 0.1], [0.25, -1.0, 1.5, -2.0]])


def looped(f: Any, xs: Any, axis: int = 0) -> Any:
    return np.stack([f(x) for x in np.moveaxis(xs, axis, 0)])


@dataclass
class Layer:
    weight: Any
    bias: Any


# -------------------------------------------------------------------------------------------------------- in_axes


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, np.int64(1)])
def test_one_mapped_axis(axis: Any) -> None:
    f = lambda x: np.sin(x) * np.sum(x)  # noqa: E731
    np.testing.assert_allclose(wg.vmap(f, in_axes=axis)(X), looped(f, X, axis), rtol=1e-14)
    np.testing.assert_allclose(wg.vmap(f, in_axes=(axis,))(X), looped(f, X, axis), rtol=1e-14)
    np.testing.assert_allclose(wg.vmap(f, in_axes=[axis])(X), looped(f, X, axis), rtol=1e-14)


def test_several_arguments() -> None:
    f = lambda a, b, c: a @ b + c  # noqa: E731
    a, b = X[0], np.ones((4, 5))
    np.testing.assert_allclose(wg.vmap(f, in_axes=(0, None, None))(a, b[:, 0], 1.0), [row @ b[:, 0] + 1 for row in a])
    np.testing.assert_allclose(wg.vmap(f, in_axes=(None, 1, None))(a[0], b, 1.0), a[0] @ b + 1)
    np.testing.assert_allclose(
        wg.vmap(f, in_axes=(0, None, 0))(a, b[:, 0], np.arange(3.0)), a.sum(axis=1) + np.arange(3)
    )
    np.testing.assert_allclose(wg.vmap(np.dot)(A, A), np.sum(A * A, axis=1), rtol=1e-14)


def test_containers_of_axes() -> None:
    def f(c: Any, scale: Any) -> Any:
        return c["w"] @ c["rest"][0] * scale + c["rest"][1]

    w, v = X[0], np.array([1.0, 2.0, 3.0, 4.0])
    container = {"w": w, "rest": [v, np.arange(3.0)]}
    want = w @ v * 2 + np.arange(3)
    for axes in (
        {"w": 0, "rest": [None, 0]},
        {"w": 0, "rest": (None, 0)},
    ):
        np.testing.assert_allclose(wg.vmap(f, in_axes=(axes, None))(container, 2.0), want)
    np.testing.assert_allclose(
        wg.vmap(f, in_axes=({"w": 1, "rest": [None, 0]}, None))({"w": w.T, "rest": [v, np.arange(3.0)]}, 2.0), want
    )
    stacked = {"w": w, "rest": [np.stack([v] * 3), np.arange(3.0)]}
    np.testing.assert_allclose(
        wg.vmap(f, in_axes=({"w": 0, "rest": 0}, None))(stacked, 2.0), want
    )  # 0 for all of "rest"
    np.testing.assert_allclose(wg.vmap(f, in_axes=(0, None))(stacked, 2.0), want)
    np.testing.assert_allclose(wg.vmap(f)(stacked, np.full(3, 2.0)), want)
    layer = Layer(w, v)
    found = wg.vmap(lambda layer: layer.weight @ layer.bias, in_axes=(Layer(0, None),))(layer)
    np.testing.assert_allclose(found, w @ v)
    np.testing.assert_allclose(wg.vmap(lambda c: c[0] * 2.0)((w, None)), w * 2)  # None is structure


def test_keyword_arguments_are_mapped_over_their_first_axis() -> None:
    found = wg.vmap(lambda x, scale=1.0: x * scale)(np.ones(3), scale=np.arange(3.0))
    np.testing.assert_array_equal(found, np.arange(3.0))
    assert wg.vmap(lambda *, x: x * 2)(x=np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]


def test_integers_and_lists_can_be_mapped() -> None:
    found = wg.vmap(lambda n, x: x**n)(np.arange(3), np.full(3, 2.0))
    np.testing.assert_array_equal(found, [1.0, 2.0, 4.0])
    assert wg.vmap(lambda n: n + 1)(np.arange(3)).dtype == np.int64
    assert wg.vmap(lambda b: np.where(b, 1.0, 2.0))(np.array([True, False])).tolist() == [1.0, 2.0]


def test_axis_size() -> None:
    assert wg.vmap(lambda: 3.0, axis_size=4)().tolist() == [3.0] * 4
    assert wg.vmap(lambda x: x * 2, in_axes=None, axis_size=2)(np.ones(3)).shape == (2, 3)
    assert wg.vmap(lambda x: x * 2, axis_size=3)(np.ones(3)).shape == (3,)
    with pytest.raises(StructureError, match="different lengths"):
        wg.vmap(lambda x: x * 2, axis_size=4)(np.ones(3))


# -------------------------------------------------------------------------------------------------------- out_axes


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_out_axes(axis: int) -> None:
    found = wg.vmap(np.sin, out_axes=axis)(X)
    np.testing.assert_array_equal(found, np.moveaxis(np.sin(X), 0, axis))
    assert found.flags.owndata and found.flags.writeable
    np.testing.assert_array_equal(wg.vmap(np.sin, in_axes=axis, out_axes=axis)(X), np.sin(X))


def test_out_axes_of_containers() -> None:
    def f(x: Any) -> Any:
        return {"y": x, "z": (np.sum(x), np.ones(2)), "k": 7.0}

    found = wg.vmap(f, out_axes={"y": 1, "z": (0, None), "k": None})(X[0])
    np.testing.assert_array_equal(found["y"], X[0].T)
    np.testing.assert_allclose(found["z"][0], X[0].sum(axis=1))
    np.testing.assert_array_equal(found["z"][1], np.ones(2))
    assert found["k"] == 7.0
    found = wg.vmap(f)(X[0])  # what does not depend on the member is repeated
    assert found["z"][1].shape == (3, 2) and found["k"].tolist() == [7.0] * 3
    assert found["k"].flags.writeable and found["z"][1].strides == (16, 8)
    found = wg.vmap(f, out_axes={"y": 0, "z": 0, "k": 0})(X[0])
    assert found["z"][1].shape == (3, 2)
    with pytest.raises(StructureError, match="out_axes is None"):
        wg.vmap(lambda x: x, out_axes=None)(X)
    with pytest.raises(StructureError, match="out_axes="):
        wg.vmap(f, out_axes=(0, 1))(X[0])
    captured = np.ones(2)
    assert not np.shares_memory(wg.vmap(lambda x: captured, out_axes=None)(X), captured)


def test_results_are_owned() -> None:
    x = X.copy()
    for f in (
        lambda x: x,
        lambda x: (x, x),
        lambda x: x[:1],
        lambda x: (x.T, x),
        lambda x: np.broadcast_to(x, (2, *x.shape)),
    ):
        found = wg.vmap(f)(x)
        parts = found if isinstance(found, tuple) else (found,)
        for k, part in enumerate(parts):
            assert not np.shares_memory(part, x)
            assert part.flags.writeable
            assert all(not np.shares_memory(part, other) for other in parts[k + 1 :])


# ------------------------------------------------------------------------------------------------------- programs

PROGRAMS: dict[str, Any] = {
    "elementwise": lambda x: np.exp(x) * 2 - x / 3,
    "captured": lambda x: x * A[0] + np.ones((3, 1)),
    "reductions": lambda x: np.sum(x, axis=0) + np.max(x) + np.mean(x, axis=1, keepdims=True),
    "linear algebra": lambda x: np.linalg.solve(x @ x.T + np.eye(3), x),
    "products": lambda x: np.einsum("ij,kj->ik", x, x) @ np.ones(3),
    "shapes": lambda x: np.concatenate([x.reshape(-1), x.T.ravel(), x[::-1, 0]]),
    "indexing": lambda x: x[0] * x[1:, 2].sum() + x[[0, 0], [1, 2]].sum(),
    "sorting": lambda x: np.sort(x, axis=0)[::-1] + np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
    "where": lambda x: np.where(x > 0, np.sqrt(np.abs(x)), x**2),
    "scans": lambda x: np.cumsum(x, axis=1) * np.cumprod(x, axis=0),
    "in place": lambda x: _in_place(x),
    "methods": lambda x: x.sum(axis=0).clip(-1, 1) + x.T.mean(1).max(),
    "argmax": lambda x: np.argmax(x, axis=0),
    "norms": lambda x: np.linalg.norm(x, axis=1) + np.linalg.norm(x),
    "several": lambda x: (x, np.modf(x)[0], {"sum": np.sum(x)}),
    "norm of nothing": lambda x: np.sum(x[:0]),
}


def _in_place(x: Any) -> Any:
    y = np.zeros_like(x)
    y[0] = x[1] * 2
    view = y[1:]
    view += x[:2]
    y *= x
    return y


@pytest.mark.parametrize("name", PROGRAMS)
def test_equal_to_a_loop(name: str) -> None:
    f = PROGRAMS[name]
    for xs, axis in ((X, 0), (np.moveaxis(X, 0, 1).copy(), 1), (X[:1], 0)):
        found = wg.vmap(f, in_axes=axis)(xs)
        rows = [f(x.copy()) for x in np.moveaxis(xs, axis, 0)]
        _compare(found, rows)


def _compare(found: Any, rows: list[Any]) -> None:
    if isinstance(found, dict):
        for key in found:
            _compare(found[key], [row[key] for row in rows])
    elif isinstance(found, tuple):
        for k, part in enumerate(found):
            _compare(part, [row[k] for row in rows])
    else:
        want = np.stack(rows)
        assert (found.dtype, found.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(found, want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ("argmax", "several")])
def test_derivatives_inside_and_outside(name: str) -> None:
    f = PROGRAMS[name]
    loss = lambda x: np.sum(f(x) ** 2)  # noqa: E731
    want = np.stack([wg.grad(loss)(x) for x in X])
    np.testing.assert_allclose(wg.vmap(wg.grad(loss))(X), want, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(wg.grad(lambda xs: np.sum(wg.vmap(loss)(xs)))(X), want, rtol=1e-11, atol=1e-13)
    pushed = wg.jvp(lambda xs: wg.vmap(loss)(xs), (X,), (np.cos(X),))[1]
    np.testing.assert_allclose(pushed, np.sum(want * np.cos(X), axis=(1, 2)), rtol=1e-11)
    np.testing.assert_allclose(wg.vmap(lambda x, v: wg.jvp(loss, (x,), (v,))[1])(X, np.cos(X)), pushed, rtol=1e-11)


def test_nested() -> None:
    f = lambda a, b: np.sin(a) * b  # noqa: E731
    a, b = np.arange(3.0), np.arange(4.0)
    outer = wg.vmap(wg.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_allclose(outer(a, b), np.outer(np.sin(a), b), rtol=1e-15)
    other = wg.vmap(wg.vmap(f, in_axes=(0, None), out_axes=0), in_axes=(None, 0), out_axes=1)
    np.testing.assert_allclose(other(a, b), np.outer(np.sin(a), b), rtol=1e-15)
    captured = wg.vmap(lambda x: wg.vmap(lambda y: x * y + a[0])(b))(a)
    np.testing.assert_allclose(captured, np.outer(a, b))
    deep = wg.vmap(wg.vmap(wg.vmap(lambda x: x**2)))(X)
    np.testing.assert_array_equal(deep, X**2)


def test_an_empty_batch() -> None:
    for f in (np.sin, lambda x: x @ np.ones(4), lambda x: np.sort(x), lambda x: (x, 3.0), lambda x: np.linalg.norm(x)):
        found = wg.vmap(f)(np.zeros((0, 4)))
        want = f(np.zeros(4))
        for one, other in zip(*((v if isinstance(v, tuple) else (v,)) for v in (found, want)), strict=True):
            assert one.shape == (0, *np.shape(other))


def test_a_random_draw_happens_once() -> None:
    draws = []

    def f(x: Any) -> Any:
        draws.append(np.random.default_rng(len(draws)).normal())
        return x + draws[-1]

    found = wg.vmap(f)(np.zeros(5))
    assert len(draws) == 1 and np.all(found == draws[0])


def test_an_unbatched_buffer_takes_batched_values() -> None:
    def f(x: Any) -> Any:
        buffer = np.zeros((2, 2), like=x)
        buffer[0, 1] = x
        buffer[1] += x**2
        return buffer

    np.testing.assert_array_equal(wg.vmap(f)(np.array([1.0, 3.0])), [[[0, 1], [1, 1]], [[0, 3], [9, 9]]])

    def g(w: Any) -> Any:  # a buffer of an older trace
        buffer = w * 0.0

        def member(x: Any) -> Any:
            buffer[0] = x * w[0]
            return np.sum(buffer * w)

        return np.sum(wg.vmap(member)(np.array([1.0, 3.0])))

    np.testing.assert_allclose(wg.grad(g)(np.array([2.0, 5.0])), [16.0, 0.0])


# -------------------------------------------------------------------------------------------------------- refusals


def test_a_branch_on_a_member() -> None:
    for program in (
        lambda x: x if x > 0 else -x, lambda x: x and 1.0, lambda x: not x, lambda x: [1.0, 2.0][int(x)],
        lambda x: float(x),
        lambda x: max(x, 0.0), lambda x: range(x), lambda x: x.item(), lambda x: f"{x:.3f}" and bool(x),
    ):  # fmt: skip
        with pytest.raises(ConversionError):
            wg.vmap(program)(np.ones(3))
    with pytest.raises(ConversionError, match=r"np\.where instead of if"):
        wg.vmap(lambda x: x if x > 0 else -x)(np.ones(3))


def test_a_batch_can_be_printed() -> None:
    seen = []
    wg.vmap(lambda x: seen.append((repr(x), f"{x}", str(x))) or x)(np.ones((3, 2)))
    assert seen == [("Batch(3 × float64[2])",) * 3]


def test_sizes_and_axes_that_do_not_fit() -> None:
    with pytest.raises(StructureError, match=r"different lengths \[2, 3\]"):
        wg.vmap(np.add)(np.ones(2), np.ones(3))
    for axis, x in ((0, 1.0), (1, np.ones(3)), (-2, np.ones(3)), (3, X), (0, np.array(1.0))):
        with pytest.raises(StructureError, match=f"axis {axis} of an array of shape"):
            wg.vmap(np.sin, in_axes=axis)(x)
    with pytest.raises(StructureError, match="nothing to map over"):
        wg.vmap(np.sin, in_axes=None)(X)
    with pytest.raises(StructureError, match="nothing to map over"):
        wg.vmap(lambda: 1.0)()
    with pytest.raises(StructureError, match=r"in_axes has 2 entries, but .* 1 positional"):
        wg.vmap(np.sin, in_axes=(0, 0))(X)
    for axes in ("a", 1.5, True, ({"w": 0},), ({"w": 0, "x": "a"},), ((0, 1, 2),)):
        with pytest.raises(StructureError, match="in_axes="):
            wg.vmap(lambda c: c["w"], in_axes=axes)({"w": X, "x": X})
    for axis in (5, -5):
        with pytest.raises(ValueError, match=r"out_axes|axis"):
            wg.vmap(np.sin, out_axes=axis)(X)
    with pytest.raises(TypeError):
        wg.vmap(np.sin)("text")
