"""A judge that several families share: one function of one array, against NumPy, differences, a loop, and itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import tree


def leaves(out: Any) -> list[Any]:
    return [leaf for part in out for leaf in leaves(part)] if isinstance(out, list | tuple) else [out]


def assert_same_bits(got: Any, want: Any, what: str) -> None:
    assert len(leaves(got)) == len(leaves(want)), what
    for g, w in zip(leaves(got), leaves(want), strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert (g.shape, g.dtype) == (w.shape, w.dtype), f"{what}: {g.dtype}{g.shape}, NumPy has {w.dtype}{w.shape}"
        assert np.array_equal(g, w, equal_nan=True), f"{what}: {g}, NumPy has {w}"


def judge_function(f: Callable[[Any], Any], x: Any, vmap: bool = True, trace: bool = True, order: int = 2) -> None:
    """Values are NumPy's bits; derivatives are those of differences; vmap is a loop; a list holds elsewhere."""
    x = np.array(x)
    want = f(x)
    assert_same_bits(wg.jvp(f, (x,), (np.ones_like(x),))[0], want, "jvp")
    assert_same_bits(wg.vjp(f, x)[0], want, "vjp")
    if x.size:
        wg.testing.check_grads(f, (x,), order)
    if vmap:
        xs = np.stack([x, 1.25 * x, 0.5 * x]).astype(x.dtype)
        rows = [leaves(f(row if x.ndim else np.asarray(row))) for row in xs]
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        assert_same_bits(leaves(wg.vmap(f)(xs)), columns, "vmap")
        assert_same_bits(leaves(wg.vmap(f, in_axes=x.ndim)(np.moveaxis(xs, 0, -1))), columns, "vmap over the last axis")
    if trace:
        program = wg.trace(f)(x)
        program.check()
        other = np.asarray(1.5 * x[::-1] if x.ndim else 1.5 * x)
        assert_same_bits(tree.flatten(program.evaluate(other))[0], tree.flatten(f(other))[0], "evaluating the list")


def assert_same_error(f: Callable[[Any], Any], x: Any, kind: type[BaseException] | None = None) -> None:
    """A mistake of the user raises what NumPy raises, with its message."""
    with pytest.raises(Exception) as numpys:
        f(np.array(x))
    for traced in (wg.vjp, lambda g, y: wg.jvp(g, (y,), (np.ones_like(y),)), lambda g, y: wg.trace(g)(y)):
        with pytest.raises(type(numpys.value)) as ours:
            traced(f, np.array(x))
        assert str(ours.value) == str(numpys.value)


@pytest.fixture
def judge() -> Callable[..., None]:
    return judge_function


@pytest.fixture
def same_error() -> Callable[..., None]:
    return assert_same_error
