"""Arrays from arrays: joining, stacking, repeating, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import core, errors
from wengert.core import TRACED, TracedArray
from wengert.numpy.indexing import uncovered
from wengert.numpy.table import (
    as_array,
    deliver,
    dtype_of,
    implements,
    ndim_of,
    negative_axis,
    operands,
    shape_of,
)
from wengert.ops import shaping as ops
from wengert.ops.gathering import SLOT, gather
from wengert.ops.indexing import ALL, blank, getitem, setitem


def taken(x: Any, places: Any, axis: int = 0) -> Any:
    """x at known places along an axis: a copy in C order, as np.take makes it."""
    return gather(x, np.asarray(places)[None], index=(*(ALL,) * (axis % max(ndim_of(x), 1)), SLOT))


def _joined(arrays: Sequence[Any], axis: int | None) -> Any:
    if axis is None:
        arrays, axis = [np.ravel(x) for x in arrays], 0
    if not arrays:
        raise ValueError("need at least one array to concatenate")
    if any(ndim_of(x) == 0 for x in arrays):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = negative_axis(axis, ndim_of(arrays[0]))
    lengths = [shape_of(x)[axis] if ndim_of(x) >= -axis else 0 for x in arrays]
    starts = tuple(int(k) for k in np.cumsum([0, *lengths[:-1]]))
    return ops.concatenate(*arrays, axis=axis, starts=starts)


def _in_dtype(arrays: Sequence[Any], dtype: Any, casting: Any) -> Sequence[Any]:
    if dtype is None and casting == "same_kind":
        return arrays
    dtype = np.result_type(*map(dtype_of, arrays)) if dtype is None else dtype
    return [x.astype(dtype, casting=casting, copy=False) for x in arrays]


def _sequence(arrays: Any) -> list[Any]:
    """The arrays to be joined; the rows of a traced array are its parts."""
    return list(arrays) if type(arrays) in TRACED else operands(arrays)


@implements(np.concatenate, np.concat)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    if out is not None and dtype is not None:
        raise TypeError("concatenate() only takes `out` or `dtype` as an argument, but both were provided.")
    return deliver(_joined(_in_dtype(_sequence(arrays), dtype, casting), axis), out)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    parts = _in_dtype(_sequence(arrays), dtype, casting)
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({shape_of(x) for x in parts}) != 1:
        raise ValueError("all input arrays must have the same shape")
    return deliver(ops.stack(*parts, axis=negative_axis(axis, ndim_of(parts[0]) + 1)), out)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    return _joined(_in_dtype([np.atleast_2d(x) for x in _sequence(tup)], dtype, casting), 0)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    parts = [np.atleast_1d(x) for x in _sequence(tup)]
    return _joined(_in_dtype(parts, dtype, casting), 0 if parts and ndim_of(parts[0]) == 1 else 1)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    return _joined([np.atleast_3d(x) for x in _sequence(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    parts = [x if ndim_of(x) > 1 else np.reshape(x, (-1, 1)) for x in _sequence(tup)]
    return _joined(parts, 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return _joined([as_array(arr), as_array(values)], axis)


@implements(np.block)
def block(arrays: Any) -> Any:
    """Blocks in nested lists, the innermost along the last axis."""
    depth = _depth(arrays)
    leaves = operands(_leaves(arrays))
    rank = max(depth, *map(ndim_of, leaves))
    blocks = iter([x[(None,) * (rank - ndim_of(x))] for x in leaves])
    result = _assemble(arrays, blocks, depth, rank)
    return np.copy(result, "C") if depth == 0 else result


def _depth(arrays: Any) -> int:
    if type(arrays) is tuple:
        raise TypeError(
            "arrays is a tuple. Only lists can be used to arrange blocks, and np.block does not allow implicit "
            "conversion from tuple to ndarray."
        )
    if type(arrays) is not list:
        return 0
    depths = {_depth(part) for part in arrays}
    if not depths:
        raise ValueError("List at arrays[0] cannot be empty")
    if len(depths) > 1:
        raise ValueError("List depths are mismatched.")
    return 1 + depths.pop()


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for part in arrays for leaf in _leaves(part)] if type(arrays) is list else [arrays]


def _assemble(arrays: Any, blocks: Any, depth: int, rank: int) -> Any:
    if type(arrays) is not list:
        return next(blocks)
    return _joined([_assemble(part, blocks, depth - 1, rank) for part in arrays], rank - depth)


# ---------------------------------------------------------------------------------------------------------- repeating


@implements(np.repeat, method="repeat")
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    x = np.ravel(a) if axis is None else a
    axis = 0 if axis is None else axis
    negative_axis(axis, ndim_of(x))
    return taken(x, np.repeat(np.arange(shape_of(x)[axis]), repeats), axis)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    counts = tuple(np.atleast_1d(reps).tolist())
    shape = shape_of(A)
    rank = max(len(counts), len(shape))
    shape = (1,) * (rank - len(shape)) + shape
    counts = (1,) * (rank - len(counts)) + counts
    spread = np.broadcast_to(
        np.reshape(A, [n for length in shape for n in (1, length)]),
        [n for pair in zip(counts, shape, strict=True) for n in pair],
    )
    return np.reshape(spread, [n * length for n, length in zip(counts, shape, strict=True)], copy=True)


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """Repeated or cut to a size (the function; the method works in place and is refused)."""
    return taken(np.ravel(a), np.resize(np.arange(int(np.prod(shape_of(a), dtype=np.intp))), new_shape))


# -------------------------------------------------------------------------------------------------- insert and delete


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    x = np.ravel(arr) if axis is None else arr
    axis = 0 if axis is None else axis
    length = shape_of(x)[negative_axis(axis, ndim_of(x))]
    obj = uncovered(obj)
    try:
        places = np.delete(np.arange(length), obj)
    except IndexError:
        np.delete(blank(shape_of(x)), obj, axis)  # NumPy's own error, which names the axis
        raise
    return taken(x, places, axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    x = np.ravel(as_array(arr)) if axis is None else as_array(arr)
    axis = negative_axis(0 if axis is None else axis, ndim_of(x)) + ndim_of(x)
    values = as_array(values).astype(dtype_of(x), copy=False)
    obj = uncovered(obj)
    length = shape_of(x)[axis]
    try:
        count = np.insert(np.arange(length), obj, 0).size - length
    except IndexError:
        np.insert(blank(shape_of(x)), obj, 0, axis)  # NumPy's own error, which names the axis
        raise
    if count == 1 and np.ndim(obj) == 0 and not isinstance(obj, slice):  # at one place: as many as `values` has
        values = np.moveaxis(values[(None,) * (ndim_of(x) - ndim_of(values))], 0, axis)
        count = shape_of(values)[axis]
    new = np.broadcast_to(values, (*shape_of(x)[:axis], count, *shape_of(x)[axis + 1 :]))
    return taken(_joined([x, new], axis), np.insert(np.arange(length), obj, length + np.arange(count)), axis)


# -------------------------------------------------------------------------------------------------------------- pad

BY_PLACE = ("edge", "reflect", "symmetric", "wrap")  # modes in which each new element is a copy of an old one


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    widths = _widths(pad_width, ndim_of(array))
    if mode in BY_PLACE:
        if kwargs.get("reflect_type", "even") != "even":
            raise errors.unsupported_keyword("numpy.pad", f"reflect_type={kwargs['reflect_type']!r}")
        for axis, width in enumerate(widths):
            places = np.pad(np.arange(shape_of(array)[axis]), width, mode, **kwargs)
            array = taken(array, places, axis) if any(width) else array
        return np.copy(array, "C") if not any(map(any, widths)) else array
    if mode not in ("constant", "linear_ramp", "empty"):
        raise errors.unsupported_keyword("numpy.pad", f"mode={mode!r}")
    key = "end_values" if mode == "linear_ramp" else "constant_values"
    values = kwargs.pop(key, 0)
    if kwargs:
        np.pad(np.zeros(1), 1, mode, **kwargs)  # NumPy's own error
        raise errors.unsupported_keyword("numpy.pad", ", ".join(kwargs))
    if mode != "linear_ramp" and not core.contains_traced(values):
        blank = np.zeros(shape_of(array), dtype_of(array))
        background = np.pad(blank, widths or 0, "constant", constant_values=values)  # no widths for a 0-d array
        inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, shape_of(array), strict=True))
        return setitem(background, array, index=inside or (...,))
    pairs = np.broadcast_to(as_array(values), (ndim_of(array), 2))
    for axis, width in enumerate(widths):
        if any(width):
            before, after = (_slab(array, axis, side, width[side], pairs[axis, side], mode) for side in (0, 1))
            array = _joined([before, array, after], axis)
    return array


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        pairs = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            pairs[axis] = (width, width) if isinstance(width, int) else width
        pad_width = pairs
    widths = np.asarray(pad_width)
    np.pad(np.zeros((1,) * ndim), widths)  # NumPy's own errors
    return [(int(before), int(after)) for before, after in np.broadcast_to(widths, (ndim, 2))]


def _slab(array: Any, axis: int, side: int, width: int, value: Any, mode: str) -> Any:
    """What pad puts before (side 0) or after an array along an axis."""
    shape = shape_of(array)
    if mode == "linear_ramp":
        edge = getitem(array, index=(*(ALL,) * axis, 0 if side == 0 else -1))
        slab = np.linspace(value, edge, num=width, endpoint=False, axis=axis)
        slab = slab if side == 0 else np.flip(slab, axis)
    else:
        slab = np.broadcast_to(value, (*shape[:axis], width, *shape[axis + 1 :]))
    return slab.astype(dtype_of(array), copy=False)


# ----------------------------------------------------------------------------------------------------- nested sequences


def stack_nested(value: Any) -> Any:
    """One array from nested sequences with traced arrays in them, as np.array makes it of plain ones."""
    if not isinstance(value, list | tuple):
        return as_array(value)
    parts = [stack_nested(part) for part in value]
    if len({shape_of(part) for part in parts}) != 1:
        return np.array([np.zeros(shape_of(part)) for part in parts])  # NumPy's own error, or an empty array
    return ops.stack(*parts, axis=-1 - ndim_of(parts[0]))


core.stack_objects.append(stack_nested)


def _as_object(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    """Traced arrays can be elements of an object array, and are stacked where that meets wengert; else they refuse."""
    if dtype is None or np.dtype(dtype) != object:
        return refuse_conversion(self)
    holder = np.empty((), object)
    holder[()] = self
    return holder


refuse_conversion: Any = TracedArray.__array__
setattr(TracedArray, "__array__", _as_object)  # noqa: B010
