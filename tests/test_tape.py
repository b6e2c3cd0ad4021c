"""The eager face: Variables, backward, hooks, no_grad, and what training loops need."""

from __future__ import annotations

import gc
import weakref
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import (
    ArgumentError,
    ChangedArrayError,
    FreedGraphError,
    NotDifferentiableError,
    RuleError,
    StructureError,
    ViewWriteError,
)

A = np.array([[1.0, 2.0, -0.5], [0.5, -1.0, 3.0]])
X = np.array([0.3, -0.7, 1.1])

# Each takes one array and gives one number; torch has the same names.
LOSSES: dict[str, Any] = {
    "sum of squares": lambda np, x: np.sum(x**2),
    "tanh": lambda np, x: np.sum(np.tanh(x) * x),
    "used often": lambda np, x: np.sum(x * x + x / (x * x + 1.0) - x),
    "log-sum-exp": lambda np, x: np.log(np.sum(np.exp(x))),
    "indices": lambda np, x: x[0] * x[-1] + np.sum(x[1:] ** 3) + np.sum(x[[0, 0, 2]]),
    "where": lambda np, x: np.sum(np.where(x > 0, np.sin(x), x**2)),
    "network": lambda np, x: np.sum(np.tanh(_weights(np) @ x) ** 2),
    "reshape": lambda np, x: np.sum(x.reshape(3, 1) * x.reshape(1, 3)),
}


def _weights(namespace: Any) -> Any:
    return A if namespace is np else namespace.tensor(A)


def backward(loss: Any, value: Any = X) -> tuple[wg.Variable, Any]:
    x = wg.Variable(value)
    loss(x).backward()
    return x, x.grad


# -------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("name", LOSSES)
def test_equal_to_grad(name: str) -> None:
    loss = LOSSES[name]
    _, gradient = backward(lambda x: loss(np, x))
    assert type(gradient) is np.ndarray
    np.testing.assert_array_equal(gradient, wg.grad(lambda x: loss(np, x))(X))


@pytest.mark.parametrize("name", LOSSES)
def test_equal_to_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    _, gradient = backward(lambda x: LOSSES[name](np, x))
    t = torch.tensor(X, requires_grad=True)
    LOSSES[name](torch, t).backward()
    np.testing.assert_allclose(gradient, t.grad.numpy(), rtol=1e-13, atol=1e-15)


def test_hessian_vector_product_equal_to_torch() -> None:
    torch = pytest.importorskip("torch")
    loss = LOSSES["network"]
    x, t = wg.Variable(X), torch.tensor(X, requires_grad=True)
    loss(np, x).backward(create_graph=True)
    slope = x.grad
    x.zero_grad()
    np.sum(slope * A[0]).backward()
    (first,) = torch.autograd.grad(loss(torch, t), t, create_graph=True)
    (second,) = torch.autograd.grad(torch.sum(first * torch.tensor(A[0])), t)
    np.testing.assert_allclose(x.grad, second.numpy(), rtol=1e-12)


def test_the_first_lines_of_a_newcomer() -> None:
    x = wg.Variable(1.5)
    y = np.log(np.sin(x**2) + np.exp(x))
    y.backward()
    assert x.grad == pytest.approx(0.4937805304154177, rel=1e-15)
    assert x.grad == wg.grad(lambda x: np.log(np.sin(x**2) + np.exp(x)))(1.5)
    assert type(x.grad) is np.float64


@pytest.mark.parametrize(
    "value", [2.0, np.float32(2.0), np.array(2.0), np.ones(3, np.float32), np.ones((2, 2)), np.ones(2, np.complex64)]
)
def test_gradients_are_like_their_data(value: Any) -> None:
    _, gradient = backward(lambda x: np.sum(np.abs(x * x)), value)
    want = np.float64(0) if type(value) is float else value
    assert type(gradient) is type(want)
    assert (gradient.shape, gradient.dtype) == (want.shape, want.dtype)


def test_gradients_share_memory_with_nothing() -> None:
    x, y = wg.Variable(X), wg.Variable(X)
    seed = np.ones(3)
    (x + y).backward(seed)
    assert not np.shares_memory(x.grad, y.grad)
    assert not np.shares_memory(x.grad, seed)
    assert x.grad.flags.writeable and x.grad.flags.owndata and x.grad.flags.c_contiguous
    x.grad[:] = 7.0
    np.testing.assert_array_equal(y.grad, 1.0)
    np.testing.assert_array_equal(seed, 1.0)

    z = wg.Variable(np.ones((2, 3)))
    np.sum(z).backward()  # a stride-0 cotangent inside
    assert z.grad.flags.writeable and z.grad.strides == (24, 8)


def test_accumulation() -> None:
    x = wg.Variable(X)
    for _ in range(3):
        np.sum(x**2).backward()
    np.testing.assert_allclose(x.grad, 6 * X, rtol=1e-15)
    before = x.grad
    np.sum(x).backward()
    np.testing.assert_allclose(before, 6 * X, rtol=1e-15)  # what was read is not changed by later sweeps
    x.zero_grad()
    assert x.grad is None
    np.sum(x).backward()
    np.testing.assert_array_equal(x.grad, 1.0)


def test_several_leaves_and_untouched_ones() -> None:
    a, b, c = wg.Variable(2.0), wg.Variable(3.0), wg.Variable(4.0)
    (a * b + a).backward()
    assert (a.grad, b.grad, c.grad) == (4.0, 2.0, None)


def test_diamonds_and_shared_parts() -> None:
    x = wg.Variable(0.5)
    y = np.sin(x)
    (y * y + y * x + np.exp(y)).backward()
    s, c = np.sin(0.5), np.cos(0.5)
    assert x.grad == pytest.approx(2 * s * c + c * 0.5 + s + np.exp(s) * c, rel=1e-15)


def test_gradient_argument() -> None:
    x = wg.Variable(X)
    (x**2).backward(np.array([1.0, 0.0, 2.0]))
    np.testing.assert_allclose(x.grad, 2 * X * [1, 0, 2], rtol=1e-15)
    x.zero_grad()
    (x**2).backward(gradient=[1, 0, 2])  # integers and lists are cast
    np.testing.assert_allclose(x.grad, 2 * X * [1, 0, 2], rtol=1e-15)
    for wrong in (np.ones(2), 1.0, np.ones((1, 3)), np.ones((3, 1))):
        with pytest.raises(StructureError, match=r"shape .* for a Variable of shape \(3,\)"):
            (x**2).backward(wrong)
    with pytest.raises(NotDifferentiableError, match="without a gradient"):
        (x**2).backward()
    with pytest.raises(NotDifferentiableError, match=r"np\.sum"):
        wg.Variable(np.ones((1,))).backward()
    with pytest.raises(TypeError, match="dtype complex128"):
        (x**2).backward(np.ones(3) * 1j)
    z = wg.Variable(1 + 2j)
    with pytest.raises(NotDifferentiableError, match="without a gradient"):
        (z * z).backward()


def test_backward_on_a_leaf() -> None:
    x = wg.Variable(2.0)
    x.backward()
    assert x.grad == 1.0
    x.backward(3.0)
    assert x.grad == 4.0


def test_complex_gradients_are_steepest_ascent() -> None:
    z = wg.Variable(1 + 2j)
    (z * np.conj(z)).real.backward()
    assert z.grad == 2 + 4j
    z = wg.Variable(np.array([1 + 2j, -1j]))
    (z**2).backward(np.array([1.0, 1j]))
    torch = pytest.importorskip("torch")
    t = torch.tensor([1 + 2j, -1j], dtype=torch.complex128, requires_grad=True)
    (t**2).backward(torch.tensor([1.0, 1j], dtype=torch.complex128))
    np.testing.assert_allclose(z.grad, t.grad.numpy(), rtol=1e-14)


# ------------------------------------------------------------------------------------------------ the graph's life


def test_a_freed_graph_says_so() -> None:
    x = wg.Variable(X)
    y = np.sum(np.sin(x))
    y.backward()
    with pytest.raises(FreedGraphError, match="retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, np.cos(X))  # the failed sweep left it as it was


def test_a_part_of_a_freed_graph() -> None:
    x = wg.Variable(X)
    shared = np.sin(x)
    np.sum(shared).backward()
    with pytest.raises(FreedGraphError):
        np.sum(shared * 2.0).backward()


def test_retain_graph() -> None:
    x = wg.Variable(X)
    y = np.sum(np.sin(x) * x)
    y.backward(retain_graph=True)
    once = x.grad.copy()
    y.backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, 2 * once)
    y.backward()
    np.testing.assert_allclose(x.grad, 3 * once, rtol=1e-15)
    with pytest.raises(FreedGraphError):
        y.backward()


def test_create_graph() -> None:
    x = wg.Variable(2.0)
    (x**4).backward(create_graph=True)
    slope = x.grad
    assert type(slope) is wg.Variable
    assert slope.item() == 32.0
    x.zero_grad()
    slope.backward(create_graph=True)
    curvature = x.grad
    x.zero_grad()
    curvature.backward()
    assert (curvature.item(), x.grad) == (48.0, 48.0)


SECOND: dict[str, Any] = {
    **{name: lambda x, loss=loss: loss(np, x) for name, loss in LOSSES.items()},
    "solve": lambda x: np.sum(np.linalg.solve(np.outer(x, x) + np.eye(3), x) ** 2),
    "slogdet, two results": lambda x: np.linalg.slogdet(np.outer(x, x) + np.eye(3))[1] * x[0],
    "modf, two results": lambda x: np.sum(np.modf(x)[0] ** 2 * np.modf(x * 2.0)[0]),
    "split": lambda x: np.split(x, 3)[0][0] ** 2 * np.split(x, 3)[2][0],
    "scans": lambda x: np.sum(np.cumprod(x) * np.cumsum(x)),
    "prod": np.prod,
    "sort": lambda x: np.sum(np.sort(x) ** 2 * np.argsort(x)),
    "einsum": lambda x: np.einsum("i,j,k->", x, x, x),
    "std": lambda x: np.std(x) * np.max(x),
    "norm": lambda x: np.linalg.norm(x) ** 3,
    "in place": lambda x: _written(x),
}


def _written(x: Any) -> Any:
    y = x * 1.0
    y[1:] *= x[:2]
    view = y[:2]
    view += x[2]
    return np.sum(y**3)


@pytest.mark.parametrize("name", SECOND)
def test_create_graph_equals_the_hessian(name: str) -> None:
    f = SECOND[name]
    x = wg.Variable(X)
    f(x).backward(create_graph=True)
    slope = x.grad
    np.testing.assert_allclose(slope.data, wg.grad(f)(X), rtol=1e-14)
    rows = []
    for k in range(3):
        x.zero_grad()
        slope[k].backward(retain_graph=True)
        rows.append(x.grad)
    np.testing.assert_allclose(np.stack(rows), wg.hessian(f)(X), rtol=1e-11, atol=1e-12)
    wg.zero_grads(x)


def test_create_graph_does_not_free() -> None:
    x = wg.Variable(2.0)
    y = x**3
    y.backward(create_graph=True)
    y.backward(create_graph=True)
    assert x.grad.item() == 24.0
    wg.zero_grads(x)


def test_gradient_penalty() -> None:
    """∇ₓ |∇ₓ f|², the use that create_graph is for."""
    x = wg.Variable(X)
    np.sum(np.sin(x)).backward(create_graph=True)
    slope = x.grad
    x.zero_grad()
    np.sum(slope**2).backward()
    np.testing.assert_allclose(x.grad, -2 * np.sin(X) * np.cos(X), rtol=1e-14)


def test_the_cycle_of_create_graph_is_the_documented_exception() -> None:
    x = wg.Variable(X)
    np.sum(x**2).backward(create_graph=True)
    watch = weakref.ref(x.grad)
    assert watch() is not None
    wg.zero_grads(x)
    gc.disable()
    try:
        assert watch() is None  # by reference count alone
    finally:
        gc.enable()


def test_the_sweep_frees_what_it_has_used() -> None:
    gc.collect()
    gc.disable()
    try:
        x = wg.Variable(X)
        middle = np.exp(x)
        watch = weakref.ref(middle)
        y = np.sum(np.sin(middle))
        y.backward()
        del middle
        assert watch() is None
        del x, y
        assert gc.collect() == 0
    finally:
        gc.enable()


# --------------------------------------------------------------------------------------- leaves, data, detach, items


def test_is_leaf_and_requires_grad() -> None:
    x = wg.Variable(1.0)
    frozen = wg.Variable(1.0, requires_grad=False)
    y = x * frozen
    assert (x.is_leaf, x.requires_grad) == (True, True)
    assert (frozen.is_leaf, frozen.requires_grad) == (True, False)
    assert (y.is_leaf, y.requires_grad) == (False, True)
    assert ((frozen * 2.0).is_leaf, (frozen * 2.0).requires_grad) == (True, False)
    assert (y.detach().is_leaf, y.detach().requires_grad) == (True, False)
    y.backward()
    assert frozen.grad is None
    with pytest.raises(NotDifferentiableError, match="requires no gradient"):
        (frozen * 2.0).backward()
    assert "requires_grad=False" in repr(frozen)


def test_what_a_variable_can_be_made_of() -> None:
    for data in (1.0, np.float32(1.0), [1.0, 2.0], ((1.0,), (2.0,)), np.ones((2, 3)), np.ones(3, np.float16), 1j):
        assert wg.Variable(data).shape == np.shape(data)
    assert wg.Variable(3, requires_grad=False).dtype == np.int64
    assert not wg.Variable(np.arange(3), requires_grad=False).requires_grad
    for wrong in (3, True, np.arange(3), [1, 2]):
        with pytest.raises(NotDifferentiableError, match="requires_grad=False"):
            wg.Variable(wrong)
    for wrong in ("text", None, {"a": 1.0}, object(), np.array(["a"]), [1.0, "a"]):
        with pytest.raises(TypeError):
            wg.Variable(wrong)
    with pytest.raises(ValueError, match="inhomogeneous"):
        wg.Variable([[1.0], [1.0, 2.0]])


def test_data_is_copied_in() -> None:
    mine = X.copy()
    x = wg.Variable(mine)
    mine[:] = 0.0
    np.testing.assert_array_equal(x.data, X)
    np.sum(x**2).backward()
    np.testing.assert_array_equal(x.grad, 2 * X)


def test_data_of_a_leaf_can_be_updated() -> None:
    x = wg.Variable(X)
    np.sum(x**2).backward()
    x.data -= 0.5 * x.grad
    np.testing.assert_array_equal(x.data, 0.0)
    x.data = X
    np.testing.assert_array_equal(x.data, X)
    x.data[0] = 9.0
    assert x.data[0] == 9.0
    assert X[0] == 0.3
    s = wg.Variable(2.0)
    s.data = 3.0
    assert (s * s).item() == 9.0
    with pytest.raises(StructureError, match="shape"):
        x.data = np.ones(4)
    with pytest.raises(TypeError, match=r"\.data"):
        x.data = wg.Variable(X)
    single = wg.Variable(np.ones(2, np.float32))
    single.data = np.array([1.5, 2.5])
    assert single.data.dtype == np.float32


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("way", ["data +=", "data[:] =", "data =", "no_grad +=", "no_grad [:] ="])
def test_an_update_between_use_and_pullback(way: str, size: int) -> None:
    """The pullback sees the value at the time of use, or says that it cannot."""
    start = np.linspace(1.0, 2.0, size)
    x = wg.Variable(start)
    early = x.data if way == "data[:] =" else None
    y = np.sum(x**3)
    if way == "data +=":
        x.data += 1.0
    elif way == "data[:] =":
        early[:] = 7.0
    elif way == "data =":
        x.data = start + 1.0
    else:
        with wg.no_grad():
            if way == "no_grad +=":
                x += 1.0
            else:
                x[:] = 7.0
    assert x.data[0] != start[0]
    try:
        y.backward()
    except ChangedArrayError:
        assert size > 3
    else:
        np.testing.assert_allclose(x.grad, 3 * start**2, rtol=1e-15)
    x.zero_grad()
    now = x.data.copy()
    np.sum(x**3).backward()
    np.testing.assert_allclose(x.grad, 3 * now**2, rtol=1e-15)


def test_data_of_a_result_is_read_only() -> None:
    x = wg.Variable(X)
    y = np.exp(x)
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 1.0
    np.sum(y).backward()
    np.testing.assert_array_equal(x.grad, np.exp(X))


def test_detach() -> None:
    x = wg.Variable(X)
    d = x.detach()
    np.sum(d * x).backward()
    np.testing.assert_array_equal(x.grad, X)
    d[0] = 100.0
    assert x.data[0] == X[0]
    x.data[1] = 50.0
    assert d.data[1] == X[1]
    y = np.exp(x)
    e = y.detach()
    e[:] = 0.0
    x.zero_grad()
    np.sum(y).backward()
    np.testing.assert_array_equal(x.grad, np.exp(x.data))


def test_item_and_formatting() -> None:
    x = wg.Variable(X)
    loss = np.sum(x**2)
    assert type(loss.item()) is float
    assert loss.item() == np.sum(X**2)
    assert x[1].item() == X[1]
    assert x.item(2) == X[2]
    assert f"{loss:.3f}" == f"{np.sum(X**2):.3f}"
    assert repr(wg.Variable(1.5)) == "Variable(1.5)"
    assert "Variable" in f"{x}"
    with pytest.raises(ValueError, match="size 1"):
        x.item()


def test_variables_answer_like_arrays() -> None:
    x = wg.Variable(A)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == (A.shape, 2, 6, A.dtype, 2)
    assert [row.shape for row in x] == [(3,), (3,)]
    assert (x > 0).dtype == bool
    assert type(x > 0) is np.ndarray
    assert type(np.argmax(x)) is np.int64
    if x[0, 0] > 0.5:
        loss = np.sum(A[x > 0]) + np.sum(x.T @ A)
    loss.backward()
    np.testing.assert_allclose(x.grad, np.broadcast_to(A.sum(axis=1)[:, None], A.shape), rtol=1e-14)


# ------------------------------------------------------------------------------------------------------------ hooks


def test_hooks_see_and_replace_gradients() -> None:
    x = wg.Variable(X)
    seen: list[Any] = []
    handle = x.register_hook(seen.append)
    np.sum(x**2).backward()
    np.testing.assert_array_equal(seen[0], 2 * X)
    handle.remove()
    handle.remove()  # harmless
    double = x.register_hook(lambda gradient: 2 * gradient)
    x.zero_grad()
    np.sum(x**2).backward()
    np.testing.assert_array_equal(x.grad, 4 * X)
    assert len(seen) == 1
    double.remove()

    x.zero_grad()
    y = x**2
    y.register_hook(lambda gradient: np.clip(gradient, 0.0, 0.5))
    y.register_hook(lambda gradient: gradient * 3)  # in the order in which they were hung
    np.sum(y).backward()
    np.testing.assert_allclose(x.grad, 2 * X * 1.5, rtol=1e-15)


def test_a_hook_is_called_once_with_the_complete_gradient() -> None:
    x = wg.Variable(2.0)
    y = x * x
    calls: list[Any] = []
    y.register_hook(calls.append)
    (y * 3.0 + y * y + np.sin(y)).backward()
    assert len(calls) == 1
    assert calls[0] == pytest.approx(3 + 8 + np.cos(4.0))


def test_a_hook_that_returns_nonsense() -> None:
    x = wg.Variable(X)
    x.register_hook(lambda gradient: np.ones(2))
    with pytest.raises(RuleError, match="hook returned a gradient of shape"):
        np.sum(x).backward()
    y = wg.Variable(np.ones(2, np.float32))
    y.register_hook(lambda gradient: gradient.astype(np.float64))
    with pytest.raises(RuleError, match="float64"):
        np.sum(y).backward()
    with pytest.raises(NotDifferentiableError, match="hook"):
        wg.Variable(1.0, requires_grad=False).register_hook(print)


def test_a_hook_on_one_of_several_results() -> None:
    x = wg.Variable(X)
    fraction, _ = np.modf(x)
    seen: list[Any] = []
    fraction.register_hook(seen.append)
    np.sum(fraction * 2.0).backward()
    np.testing.assert_array_equal(seen[0], 2.0)
    np.testing.assert_array_equal(x.grad, 2.0)


def test_retain_grad() -> None:
    x = wg.Variable(X)
    y = x**2
    assert y.grad is None
    y.retain_grad()
    x.retain_grad()  # a leaf keeps its gradient in any case
    z = np.sum(y * y)
    z.backward(retain_graph=True)
    np.testing.assert_allclose(y.grad, 2 * X**2, rtol=1e-15)
    np.testing.assert_allclose(x.grad, 4 * X**3, rtol=1e-15)
    z.backward()
    np.testing.assert_allclose(y.grad, 4 * X**2, rtol=1e-15)
    y.zero_grad()
    assert y.grad is None


def test_hooks_and_retained_gradients_die_with_the_graph() -> None:
    gc.collect()
    gc.disable()
    try:
        x = wg.Variable(X)
        y = np.exp(x)
        y.retain_grad()
        y.register_hook(lambda gradient: None)
        np.sum(y).backward()
        watch = weakref.ref(y)
        gradient = weakref.ref(y.grad)
        node = weakref.ref(y._info) if hasattr(type(y._info), "__weakref__") else lambda: None
        del x, y
        assert watch() is None
        assert gradient() is None
        assert node() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_hook_that_holds_its_variable_can_be_collected() -> None:
    x = wg.Variable(X)
    y = np.exp(x)
    y.register_hook(lambda gradient, y=y: gradient * np.sum(y.data))
    watch = weakref.ref(y)
    del y
    gc.collect()
    assert watch() is None


# ---------------------------------------------------------------------------------------------------------- no_grad


def test_no_grad() -> None:
    x = wg.Variable(X)
    with wg.no_grad():
        y = np.sin(x) * 2.0
        assert not y.requires_grad
        with wg.no_grad():
            pass
        assert not np.exp(x).requires_grad
    assert np.exp(x).requires_grad
    np.testing.assert_array_equal(y.data, 2 * np.sin(X))
    np.sum(y * x).backward()
    np.testing.assert_array_equal(x.grad, 2 * np.sin(X))

    @wg.no_grad()
    def evaluate(x: Any) -> Any:
        return np.sum(x)

    assert not evaluate(x).requires_grad
    assert not evaluate(x).requires_grad

    with pytest.raises(ZeroDivisionError), wg.no_grad():
        raise ZeroDivisionError
    assert (x * 1.0).requires_grad


def test_transforms_ignore_a_no_grad_around_them() -> None:
    with wg.no_grad():
        assert wg.grad(lambda x: x**2)(3.0) == 6.0
        assert wg.vjp(np.sin, 0.0)[1](1.0) == (1.0,)
        assert wg.hessian(lambda x: x**3)(2.0) == 12.0
        assert wg.jvp(np.sin, (0.0,), (1.0,)) == (0.0, 1.0)
        assert wg.grad(wg.grad(np.exp))(0.0) == 1.0


def test_transforms_respect_a_no_grad_inside_the_function() -> None:
    def f(x: Any) -> Any:
        with wg.no_grad():
            weight = x * 10.0
        return x * weight

    assert wg.grad(f)(3.0) == 30.0
    assert wg.vjp(f, 3.0)[1](1.0) == (30.0,)
    with wg.no_grad():
        assert wg.grad(f)(3.0) == 30.0
    assert wg.jvp(f, (3.0,), (1.0,)) == (90.0, 60.0)  # it concerns Variables only

    def nested(x: Any) -> Any:
        with wg.no_grad():
            slope = wg.grad(lambda y: y**2 * x)(2.0)  # the inner gradient is taken, its dependence on x is not
        return slope * x

    assert wg.grad(nested)(3.0) == 12.0


# --------------------------------------------------------------------------------------------------------- in place


def test_in_place_on_a_leaf() -> None:
    x = wg.Variable(X)
    for update in (_add, _set):
        with pytest.raises(ViewWriteError, match="no_grad"):
            update(x)
    with wg.no_grad():
        x += 1.0
        x[0] = 5.0
    np.testing.assert_array_equal(x.data, [5.0, X[1] + 1, X[2] + 1])
    assert x.is_leaf and x.requires_grad
    np.sum(x**2).backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data)
    w = wg.Variable(1.0)
    first = w
    with wg.no_grad():
        w -= 0.25
    assert w.item() == 0.75
    assert w is first, "an optimiser's step must reach the Variable that the model holds"
    assert w.is_leaf and w.requires_grad
    half = wg.Variable(np.float16(1.0))
    with wg.no_grad():
        half += np.float64(1.0)
        assert half.dtype == np.float16
        with pytest.raises(StructureError, match="holds one float16 number"):
            half += np.ones(3)
        with pytest.raises(StructureError, match="complex"):
            half += 1j


def _add(x: Any) -> None:
    x += 1.0


def _set(x: Any) -> None:
    x[0] = 1.0


def test_in_place_on_results() -> None:
    x = wg.Variable(X)
    y = x * 1.0
    y += x
    y[0] = 7.0
    y[1:] *= x[1:]
    np.sum(y).backward()  # 7, 2 x₁², 2 x₂²
    np.testing.assert_allclose(x.grad, [0.0, 4 * X[1], 4 * X[2]], rtol=1e-15)


def test_earlier_consumers_keep_the_old_values() -> None:
    x = wg.Variable(X)
    y = x * 2.0
    z = np.sum(y**2)
    y *= 0.0
    (z + np.sum(y)).backward()
    np.testing.assert_allclose(x.grad, 8 * X, rtol=1e-15)


def test_in_place_on_a_variable_without_gradient() -> None:
    buffer = wg.Variable(np.zeros(3), requires_grad=False)
    x = wg.Variable(2.0)
    buffer[1] = x
    assert buffer.requires_grad
    np.sum(buffer * X).backward()
    assert x.grad == X[1]


def test_views_of_variables() -> None:
    x = wg.Variable(A)
    y = x.copy()
    row = y[0]
    row *= 3.0
    y.T[1] = 0.0
    assert y.data[0, 0] == 3.0
    np.sum(y).backward()
    np.testing.assert_array_equal(x.grad, [[3.0, 0.0, 3.0], [1.0, 0.0, 1.0]])


def test_writes_in_plain_arrays_are_refused() -> None:
    x = wg.Variable(1.0)
    y = np.zeros(3)
    with pytest.raises(TypeError, match=r"np\.zeros\(.*like=.\)"):
        y[:] = x
    with pytest.raises(TypeError, match=r"plain NumPy array.*np\.zeros\(.*like=.\)"):
        y += x


# -------------------------------------------------------------------------------------------------- many Variables


@dataclass
class Layer:
    weight: Any
    bias: Any
    name: str = "layer"


class Model:
    def __init__(self) -> None:
        self.first = Layer(wg.Variable(np.ones((2, 3))), wg.Variable(np.zeros(2)))
        self.rest = [wg.Variable(1.0), {"scale": wg.Variable(2.0)}]
        self.frozen = wg.Variable(1.0, requires_grad=False)
        self.tied = self.first.bias
        self.me = self
        self.other = (1, "text", None, np.ones(2), print)


Pair = namedtuple("Pair", "a b")


def test_parameters() -> None:
    model = Model()
    found = wg.parameters(model)
    assert [p.shape for p in found] == [(2, 3), (2,), (), ()]
    assert found[1] is model.first.bias
    assert wg.parameters() == []
    assert wg.parameters(1.0, "text", None, np.ones(3), print) == []
    assert len(wg.parameters(model, model.rest, wg.Variable(5.0))) == 5
    a, b = wg.Variable(1.0), wg.Variable(2.0)
    for container in ([a, b], (a, b), {"a": a, "b": b}, Pair(a, b), Layer(a, b), iter([a, b]), (v for v in (a, b))):
        found = wg.parameters(container)
        assert len(found) == 2 and found[0] is a and found[1] is b
    assert wg.parameters(a * b) == []  # a result is no parameter
    many = [wg.Variable(1.0) for _ in range(20)]
    assert len(wg.parameters(([v] for v in pair) for pair in zip(many[::2], many[1::2], strict=True))) == 20
    cycle: list[Any] = [a]
    cycle.append(cycle)
    assert wg.parameters(cycle)[0] is a


def test_zero_grads() -> None:
    model = Model()
    total = sum(np.sum(p * p) for p in wg.parameters(model))
    total.backward()
    assert all(p.grad is not None for p in wg.parameters(model))
    wg.zero_grads(model)
    assert all(p.grad is None for p in wg.parameters(model))


def test_grad_can_be_assigned() -> None:
    x = wg.Variable(X)
    x.grad = np.ones(3)
    np.sum(x).backward()
    np.testing.assert_array_equal(x.grad, 2.0)
    x.grad = None
    assert x.grad is None
    with pytest.raises(StructureError, match="shape"):
        x.grad = np.ones(2)
    with pytest.raises(ArgumentError, match="leaf"):
        (x * 2.0).grad = np.ones(3)


def test_clip_grad_norm() -> None:
    a, b, c = wg.Variable(np.zeros(2)), wg.Variable(0.0), wg.Variable(0.0)
    a.grad, b.grad = np.array([3.0, 0.0]), 4.0
    assert wg.clip_grad_norm([a, b, c], 10.0) == 5.0
    np.testing.assert_array_equal(a.grad, [3.0, 0.0])
    assert wg.clip_grad_norm([a, b, c], 1.0) == 5.0
    np.testing.assert_allclose(a.grad, [0.6, 0.0])
    np.testing.assert_allclose(b.grad, 0.8)
    assert c.grad is None
    a.grad, b.grad = np.array([3.0, -7.0]), 4.0
    assert wg.clip_grad_norm({"a": a, "b": b}, 3.5, ord=np.inf) == 7.0
    np.testing.assert_allclose(a.grad, [1.5, -3.5])
    assert wg.clip_grad_norm([], 1.0) == 0.0
    assert wg.clip_grad_norm([a, b], 0.0) > 0
    np.testing.assert_array_equal(a.grad, 0.0)
    single = wg.Variable(np.zeros(2, np.float32))
    single.grad = np.array([30.0, 40.0], np.float32)
    wg.clip_grad_norm(single, 1.0)
    assert single.grad.dtype == np.float32
    for wrong in (-1.0, np.nan):
        with pytest.raises(ArgumentError, match="max_norm"):
            wg.clip_grad_norm([a], wrong)
    for bad in (np.inf, np.nan):
        a.grad = np.array([bad, 1.0])
        with pytest.raises(NotDifferentiableError, match="joint norm"):
            wg.clip_grad_norm([a], 1.0)


def test_clip_grad_norm_equal_to_torch() -> None:
    torch = pytest.importorskip("torch")
    gradients = [np.array([3.0, -4.0]), np.array([[1.0, 2.0]])]
    for ord_ in (1.0, 2.0, 3.0, np.inf):
        ours = [wg.Variable(np.zeros_like(g)) for g in gradients]
        theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        for v, t, g in zip(ours, theirs, gradients, strict=True):
            v.grad, t.grad = g.copy(), torch.tensor(g)
        norm = wg.clip_grad_norm(ours, 2.0, ord_)
        assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 2.0, ord_)), rel=1e-14)
        for v, t in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(v.grad, t.grad.numpy(), rtol=1e-6)  # torch adds 1e-6 to the norm


def test_training_a_line() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(50, 2))
    targets = inputs @ [2.0, -3.0] + 0.5
    model = {"w": wg.Variable(np.zeros(2)), "b": wg.Variable(0.0)}
    for _ in range(200):
        loss = np.mean((inputs @ model["w"] + model["b"] - targets) ** 2)
        loss.backward()
        with wg.no_grad():
            for p in wg.parameters(model):
                p -= 0.1 * p.grad
        wg.zero_grads(model)
    np.testing.assert_allclose(model["w"].data, [2.0, -3.0], atol=1e-6)
    assert model["b"].item() == pytest.approx(0.5, abs=1e-6)


# --------------------------------------------------------------------------------------------------- what is refused


def test_the_eager_face_is_refused_inside_transforms() -> None:
    def calls(name: str) -> Any:
        def f(x: Any) -> Any:
            getattr(x * 1.0, name)(*([print] if name == "register_hook" else []))
            return x

        return f

    for name in ("backward", "register_hook", "retain_grad"):
        with pytest.raises(ArgumentError, match="belongs to a transform"):
            wg.grad(calls(name))(1.0)
    with pytest.raises(TypeError, match=r"\.item"):
        wg.grad(lambda x: x * x.item())(1.0)


def test_variables_of_traced_values_are_refused() -> None:
    for make in (wg.Variable, lambda x: wg.Variable([x, x])):
        for run in (wg.grad(make), lambda x, make=make: wg.jvp(make, (x,), (x,))):
            with pytest.raises(TypeError, match="Variable was made"):
                run(1.0)
        with pytest.raises(TypeError, match="Variable was made"):
            make(wg.Variable(1.0))


def test_variables_and_duals_do_not_mix() -> None:
    for mix in (lambda a, b: a * b, lambda a, b: b + a, np.arctan2, lambda a, b: np.stack([a, b])):
        with pytest.raises(TypeError, match="Dual and a Variable"):
            mix(wg.Variable(1.0), wg.Dual(1.0, 1.0))


def test_subclassing_is_refused() -> None:
    for kind in (wg.Variable, wg.Dual, wg.Batch, wg.Symbol):
        with pytest.raises(TypeError, match="cannot be subclassed"):
            type("Mine", (kind,), {})
    for kind in (wg.Batch, wg.Symbol):
        with pytest.raises(TypeError, match="not made by hand"):
            kind(1.0)
