"""What plain NumPy says: values by running the program on a copy, derivatives by the five-point stencil."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# f'(x) = Σ w·f(x + a·h) / h + O(h⁴); Abramowitz & Stegun 25.3.6.
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))


def leaves(out: Any) -> list[Any]:
    if isinstance(out, dict):
        return [leaf for key in out for leaf in leaves(out[key])]
    if isinstance(out, (list, tuple)):
        return [leaf for part in out for leaf in leaves(part)]
    return [out]


def map_leaves(function: Callable[[Any], Any], out: Any) -> Any:
    """`out` with every leaf replaced; the structure that a pullback expects of its cotangent."""
    if isinstance(out, dict):
        return {key: map_leaves(function, part) for key, part in out.items()}
    if isinstance(out, (list, tuple)):
        return type(out)(map_leaves(function, part) for part in out)
    return function(out)


def shift(x: Any, direction: Any) -> Any:
    """A fresh x + direction of the same kind: a float, a scalar, a 0-d array (which `+` would make a scalar)."""
    if isinstance(x, np.ndarray):
        moved = np.empty_like(x)
        moved[...] = x + direction
        return moved
    return type(x)(x + direction)


def copied(x: Any) -> Any:
    return x.copy("K") if isinstance(x, np.ndarray) else x


def basis(x: Any) -> Iterator[np.ndarray]:
    """Unit directions; of a complex x along the real axis, then along the imaginary."""
    shape, complex_ = np.shape(x), np.iscomplexobj(x)
    for unit in (1.0, 1j) if complex_ else (1.0,):
        for position in np.ndindex(shape):
            direction = np.zeros(shape, dtype=complex if complex_ else float)
            direction[position] = unit
            yield direction


def along(f: Callable[[Any], Any], x: Any, direction: Any, h: float) -> list[np.ndarray]:
    """The derivative of every leaf of f at x along a direction."""
    total: list[Any] = []
    for a, weight in STENCIL:
        parts = [
            weight / h * np.asarray(leaf, dtype=np.result_type(leaf, float))
            for leaf in leaves(f(shift(x, a * h * direction)))
        ]
        total = [t + p for t, p in zip(total, parts, strict=True)] if total else parts
    return [np.asarray(t) for t in total]


def jacobian(f: Callable[[Any], Any], x: Any, h: float) -> list[np.ndarray]:
    """For every leaf, its derivatives along `basis(x)`, stacked in front."""
    columns = [along(f, x, direction, h) for direction in basis(x)]
    return [np.stack(parts) for parts in zip(*columns, strict=True)]


def coordinates(direction: Any) -> np.ndarray:
    """A direction in terms of `basis`."""
    flat = np.asarray(direction).ravel()
    return np.concatenate([flat.real, flat.imag]) if np.iscomplexobj(flat) else flat


def gradient(f: Callable[[Any], Any], x: Any, h: float) -> np.ndarray:
    """∂f/∂x, and ∂f/∂Re x + i ∂f/∂Im x of a complex x, as `wengert.grad` defines it."""
    (slopes,) = jacobian(f, x, h)
    return _from_basis(slopes, x)


def second(f: Callable[[Any], Any], x: Any, direction: Any, h: float) -> np.ndarray:
    """The derivative of `gradient(f, x)` along a direction, f real: the stencil in both directions at once."""
    h_t = np.array(
        [
            sum(
                w * v * f(shift(x, h * (a * unit + b * direction)))
                for (a, w), (b, v) in itertools.product(STENCIL, STENCIL)
            )
            / h**2
            for unit in basis(x)
        ]
    )
    return _from_basis(h_t, x)


def _from_basis(slopes: np.ndarray, x: Any) -> np.ndarray:
    n = np.size(x)
    return (slopes[:n] + 1j * slopes[n:] if np.iscomplexobj(x) else slopes).reshape(np.shape(x))


def same_bits(got: Any, want: Any) -> bool:
    """Equal to the last bit, and the signs of zeros; any NaN equals any other."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if got.dtype.kind == "c":
        # NumPy's own complex product differs in the last bit between its loops, which it picks by strides and overlap
        return bool(np.allclose(got, want, rtol=2 * np.finfo(got.dtype).eps, atol=0, equal_nan=True))
    if not np.array_equal(got, want, equal_nan=got.dtype.kind in "fc"):
        return False
    return got.dtype.kind != "f" or np.array_equal(np.signbit(got)[got == got], np.signbit(want)[want == want])


def assert_same(got: Any, want: Any, what: str) -> None:
    got_leaves, want_leaves = leaves(got), leaves(want)
    assert len(got_leaves) == len(want_leaves), f"{what}: {len(got_leaves)} leaves, NumPy has {len(want_leaves)}"
    for i, (g, w) in enumerate(zip(got_leaves, want_leaves, strict=True)):
        assert same_bits(g, w), f"{what}, leaf {i}: {_show(g)}, NumPy has {_show(w)}"


def assert_close(got: Any, want: Any, rtol: float, what: str, scale: float = 1.0) -> None:
    got_leaves, want_leaves = leaves(got), leaves(want)
    assert len(got_leaves) == len(want_leaves), f"{what}: {len(got_leaves)} leaves, expected {len(want_leaves)}"
    for i, (g, w) in enumerate(zip(got_leaves, want_leaves, strict=True)):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape, f"{what}, leaf {i}: shape {g.shape}, expected {w.shape}"
        tolerance = rtol * max(scale, float(np.max(np.abs(w), initial=0.0)))
        # `not (… <= …)`: a NaN is no agreement.
        assert g.size == 0 or np.max(np.abs(g - w)) <= tolerance, f"{what}, leaf {i}: {_show(g)}, expected {_show(w)}"


def assert_like(got: Any, pattern: Any, what: str) -> None:
    """Shape and dtype of every leaf."""
    for i, (g, p) in enumerate(zip(leaves(got), leaves(pattern), strict=True)):
        g, p = np.asarray(g), np.asarray(p)
        assert (g.shape, g.dtype) == (p.shape, p.dtype), f"{what}, leaf {i}: {_show(g)} is not like {_show(p)}"


def assert_owned(*values: Any) -> None:
    """No two of the arrays share memory, each is a plain NumPy value, and writable where it is an array."""
    arrays = [leaf for value in values for leaf in leaves(value)]
    for leaf in arrays:
        assert isinstance(leaf, (np.ndarray, np.generic, float, complex)), f"{type(leaf)} came out"
    arrays = [leaf for leaf in arrays if isinstance(leaf, np.ndarray)]
    for a, b in itertools.combinations(arrays, 2):
        assert not np.shares_memory(a, b), f"{_show(a)} and {_show(b)} share memory"
    for a in arrays:
        assert a.flags.writeable, f"{_show(a)} cannot be written"


def scribble(value: Any) -> None:
    """What a caller may do with arrays that are his."""
    for leaf in leaves(value):
        if isinstance(leaf, np.ndarray):
            leaf[...] = 1234.5


def _show(value: Any) -> str:
    value = np.asarray(value)
    return f"{value.dtype}{list(value.shape)} {np.array2string(value, precision=17, separator=', ')}"
