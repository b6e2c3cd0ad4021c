"""Functions applied along an axis or piece by piece, counts, and helpers that make indices."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import core
from wengert.numpy.indexing import plain_of
from wengert.numpy.table import as_array, dtype_of, implements, ndim_of, negative_axis, shape_of
from wengert.ops.indexing import scatter

# NumPy's own bodies, which ask for no more than shapes or for functions that traced arrays have
for _function in (np.diag_indices_from, np.tril_indices_from, np.triu_indices_from, np.isreal):
    implements(_function)(inspect.unwrap(_function))


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    return np.not_equal(np.imag(x), 0)


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    axis = negative_axis(axis, ndim_of(arr))
    lines = np.moveaxis(as_array(arr), axis, -1)
    shape = shape_of(lines)[:-1]
    if 0 in shape:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    results = [as_array(func1d(lines[(*place, ...)], *args, **kwargs)) for place in np.ndindex(shape)]
    inner = shape_of(results[0])
    grid = np.reshape(np.stack(results), (*shape, *inner))
    if not shape:
        return np.reshape(grid, inner, copy=True)
    where = range(len(shape), len(shape) + len(inner))
    return np.moveaxis(grid, where, range(axis + len(shape) + 1, axis + len(shape) + 1 + len(inner)))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    value = as_array(a)
    for axis in np.atleast_1d(axes).tolist():
        axis = axis + ndim_of(a) if axis < 0 else axis
        result = func(value, axis)
        value = result if ndim_of(result) == ndim_of(value) else np.expand_dims(result, axis)
        if ndim_of(value) != ndim_of(a):
            raise ValueError("function is not returning an array of the correct shape")
    return value


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Each function sees the elements where its condition holds; one more function is for all the others."""
    x = as_array(x)
    lone = not isinstance(condlist, list | tuple) or (x.ndim > 0 and not ndim_of(as_array(condlist[0])))
    conditions = [as_array(c) for c in ([condlist] if lone else condlist)]
    if len(funclist) == len(conditions) + 1:
        conditions.append(np.logical_not(np.any(np.stack(conditions), axis=0)))
    elif len(funclist) != len(conditions):
        n = len(conditions)
        raise ValueError(f"with {n} condition(s), either {n} or {n + 1} functions are expected")
    y = np.zeros_like(x)
    for condition, function in zip(conditions, funclist, strict=True):
        y[condition] = function(x[condition], *args, **kw) if callable(function) else function
    return y


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    steps = np.diff(np.ravel(as_array(ary)))
    ends = [None if part is None else np.ravel(as_array(part)) for part in (to_begin, to_end)]
    parts = [part for part in (ends[0], steps, ends[1]) if part is not None]
    return np.concatenate(parts, dtype=dtype_of(steps))


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often, or with what total weight, each integer occurs."""
    places = plain_of(x, "np.bincount", "Under vmap give every member the same integers.")
    counts = np.bincount(places, minlength=minlength)
    if not core.contains_traced(weights):
        return counts if weights is None else np.bincount(places, weights, minlength)
    weights = as_array(weights)
    if shape_of(weights) != np.shape(places):
        raise ValueError("The weights and list don't have the same length.")
    return scatter(weights.astype(np.float64), index=(np.array(places),), shape=counts.shape)  # owned


@implements(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: str | None = None
) -> Any:
    found = np.any(np.equal(np.expand_dims(as_array(element), -1), np.ravel(as_array(test_elements))), axis=-1)
    return np.logical_not(found) if invert else found


@implements(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    lengths = np.atleast_1d(shape).tolist()
    places = []
    rest = as_array(indices)
    for length in lengths if order == "F" else lengths[::-1]:
        places.append(np.remainder(rest, length))
        rest = np.floor_divide(rest, length)
    return tuple(places if order == "F" else places[::-1])


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    axes = range(ndim_of(x)) if axes is None else np.atleast_1d(axes).tolist()
    return np.roll(x, [shape_of(x)[k] // 2 for k in axes], tuple(axes))


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    axes = range(ndim_of(x)) if axes is None else np.atleast_1d(axes).tolist()
    return np.roll(x, [-(shape_of(x)[k] // 2) for k in axes], tuple(axes))


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> bool:
    a1, a2 = as_array(a1), as_array(a2)
    try:
        np.broadcast_shapes(shape_of(a1), shape_of(a2))
    except ValueError:
        return False
    return bool(np.all(np.equal(a1, a2)))


def _prints(function: Any) -> None:
    """Text of the numbers under the traces, for people."""

    def text(a: Any, *args: Any, **kwargs: Any) -> Any:
        plain = core.glance(a)
        return repr(a) if plain is None else function(plain, *args, **kwargs)

    implements(function)(text)


for _printer in (np.array2string, np.array_repr, np.array_str):
    _prints(_printer)
