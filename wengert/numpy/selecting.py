"""Choosing elements by position or condition; and the functions that write into an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import core, errors
from wengert.core import TRACED, TracedArray, check_writable
from wengert.numpy.indexing import DESTINATION, add_at, plain_of, put, put_flat, replace
from wengert.numpy.joining import taken
from wengert.numpy.table import (
    as_array,
    deliver,
    dtype_of,
    given,
    implements,
    ndim_of,
    negative_axis,
    operands,
    shape_of,
)
from wengert.numpy.ufuncs import METHODS
from wengert.ops import sorting
from wengert.ops.gathering import SLOT, gather, read
from wengert.ops.indexing import ALL, Index, blank
from wengert.ops.indexing import where as where_primitive

WHERE = "Use np.where(mask, x, other), or where=mask in a reduction."

# ------------------------------------------------------------------------------------------------------ by position


@implements(np.take, method="take")
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    x = as_array(a)
    x, axis = (np.ravel(x), 0) if axis is None else (x, negative_axis(axis, ndim_of(x)) + ndim_of(x))
    places = sorting.take_positions(as_array(indices), length=shape_of(x)[axis], axis=axis, mode=mode)
    i = np.expand_dims(places, 0)
    return deliver(gather(x, i, index=(*(ALL,) * axis, SLOT)), out)


def _along(arr: Any, indices: Any, axis: int | None) -> tuple[Any, Index]:
    """The array and the index of np.take_along_axis and np.put_along_axis."""
    indices = as_array(indices)
    if dtype_of(indices).kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        if ndim_of(indices) != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        arr, axis = np.reshape(arr, (-1,), copy=True), 0
    n = ndim_of(arr)
    axis = negative_axis(axis, n) + n
    if n != ndim_of(indices):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    lengths = shape_of(arr)
    index = [np.arange(m).reshape(m, *(1,) * (n - 1 - k)) for k, m in enumerate(lengths)]
    index[axis] = indices
    return arr, tuple(index)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    arr, index = _along(as_array(arr), indices, axis)
    return read(arr, tuple(plain_or_traced(part) for part in index))


def plain_or_traced(part: Any) -> Any:
    return part if type(part) in TRACED else np.array(part)


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    target = _target(arr, "np.put_along_axis")
    if axis is None:
        put_flat(target, indices, values, DESTINATION)
        return
    _, index = _along(target, indices, axis)
    put(target, index, values)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    """Windows along axes, appended as new axes; read-only."""
    given(writeable=(writeable, False))
    np.lib.stride_tricks.sliding_window_view(blank(x.shape), window_shape, axis)  # NumPy's own errors
    widths = np.atleast_1d(window_shape).tolist()
    axes = range(x.ndim) if axis is None else [k % x.ndim for k in np.atleast_1d(axis).tolist()]

    def windows(y: Any) -> Any:
        for k, width in zip(axes, widths, strict=True):
            starts = np.arange(shape_of(y)[k] - width + 1)
            y = np.moveaxis(taken(y, starts[:, None] + np.arange(width), k), k + 1, -1)
        return y

    return core.link_view(windows(x), x, windows, core.READ_ONLY)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    options = operands(choices) if type(choices) not in TRACED else list(choices)
    places = sorting.choose_positions(as_array(a), count=len(options), mode=mode)
    dtype = np.result_type(*map(dtype_of, options))
    shape = np.broadcast_shapes(shape_of(places), *map(shape_of, options))
    stacked = np.stack([np.broadcast_to(x, shape) for x in options]).astype(dtype, copy=False)
    chosen = take_along_axis(stacked, np.broadcast_to(places, shape)[None], 0)
    return deliver(chosen[0, ...], out)


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    chosen = np.nonzero(plain_of(condition, "np.compress", WHERE))
    if len(chosen) != 1:
        raise ValueError("condition must be a 1-d array")
    return deliver(take(a, chosen[0], axis), out)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return take(np.ravel(as_array(arr)), np.flatnonzero(plain_of(condition, "np.extract", WHERE)))


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: Any = "fb", axis: Any = None) -> Any:
    plain = plain_of(filt, "np.trim_zeros", WHERE)
    places = np.nonzero(plain)
    axes = range(np.ndim(plain)) if axis is None else {k % np.ndim(plain) for k in np.atleast_1d(axis).tolist()}
    np.trim_zeros(plain, trim, axis)  # NumPy's own errors
    index = [slice(None)] * np.ndim(plain)
    for k in axes:
        some = places[k].size > 0
        start = int(places[k].min()) if some and "f" in trim.lower() else None if some else 0
        stop = int(places[k].max()) + 1 if some and "b" in trim.lower() else None if some else 0
        index[k] = slice(start, stop)
    return filt[tuple(index)] if index else filt


# ------------------------------------------------------------------------------------------------------ by condition


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None and y is None:
        return np.nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    return where_primitive(condition, x, y)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if len(condlist) == 0:
        raise ValueError("select with an empty condition list is not possible")
    conditions = operands(condlist)
    for k, condition in enumerate(conditions):
        if dtype_of(condition).kind != "b":
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    result = default if type(default) in core.PLAIN else as_array(default)
    for condition, choice in zip(conditions[::-1], choicelist[::-1], strict=True):
        result = where_primitive(condition, choice, result)
    return result


def _counts(name: str, function: Any) -> None:
    def places(a: Any) -> Any:
        return function(plain_of(a, name, WHERE))

    implements(function, method="nonzero" if function is np.nonzero else "")(places)


_counts("np.nonzero", np.nonzero)
_counts("np.flatnonzero", np.flatnonzero)
_counts("np.argwhere", np.argwhere)

# ------------------------------------------------------------------------------------- functions that write into arrays


def _target(x: Any, name: str) -> Any:
    if type(x) not in TRACED:
        raise errors.write_into_plain(name)
    return x


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    _target(dst, "np.copyto or np.full")
    if src is dst:
        return  # nor does NumPy ask whether it is writable
    check_writable(dst, DESTINATION)
    src = as_array(src)
    kind = "scalar" if not ndim_of(src) else "array data"
    if not np.can_cast(dtype_of(src), dst.dtype, casting):
        raise TypeError(f"Cannot cast {kind} from {dtype_of(src)!r} to {dst.dtype!r} according to the rule {casting!r}")
    if where is True:
        put(dst, ..., src)
        return
    where = np.asarray(where, bool) if isinstance(where, list) and not where else as_array(where)
    mask = np.zeros(shape_of(where), dtype_of(where))
    np.copyto(np.zeros(dst.shape), blank(shape_of(src)), where=mask)  # NumPy's own errors
    replace(dst, np.where(where, src.astype(dst.dtype, copy=False), dst))


@implements(np.put)
def put_function(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    target = _target(a, "np.put")
    places = plain_of(ind, "np.put", "Use array[index] = value.")
    put_flat(target, sorting.take_positions(places, length=target.size, axis=0, mode=mode), v, "put: output array")


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    target = _target(arr, "np.place")
    places = np.flatnonzero(plain_of(mask, "np.place", WHERE))
    if np.size(plain_of(mask, "np.place", WHERE)) != target.size:
        raise ValueError("place: mask and data must be the same size")
    if places.size and not np.size(as_array(vals)):
        raise ValueError("Cannot insert from an empty array!")
    put_flat(target, places, vals, "output array")


@implements(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    target = _target(a, "np.putmask")
    check_writable(target, "putmask: output array")
    values = as_array(values)
    if np.size(as_array(mask)) != target.size:
        raise ValueError("putmask: mask and data must be the same size")
    if np.size(values):
        spread = np.resize(values, target.shape)
        chosen = np.reshape(as_array(mask), target.shape)
        replace(target, np.where(chosen, spread.astype(target.dtype, copy=False), target))


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    target = _target(a, "np.fill_diagonal")
    shape = target.shape
    if len(shape) < 2:
        raise ValueError("array must be at least 2-d")
    marks = np.zeros(shape, bool)
    np.fill_diagonal(marks, True, wrap)  # NumPy's own errors
    put_flat(target, np.flatnonzero(marks), val, DESTINATION)


def ufunc_at(ufunc: np.ufunc, target: Any, index: Any, *values: Any) -> None:
    """`ufunc.at(target, index, value)`: unbuffered, so that each occurrence of a repeated index counts."""
    _target(target, f"numpy.{ufunc.__name__}.at")
    if ufunc is np.add or ufunc is np.subtract:
        (value,) = values
        add_at(target, index, value if ufunc is np.add else np.negative(value))
        return
    check_writable(target)
    places = np.arange(target.size).reshape(target.shape)[index]
    turns = _occurrences(places.reshape(-1))
    operands_ = [np.reshape(np.broadcast_to(as_array(v), places.shape), (-1,)) for v in values]
    y = np.reshape(target, (-1,), copy=True)
    for turn in range(turns.max(initial=-1) + 1):
        (chosen,) = np.nonzero(turns == turn)
        here = places.reshape(-1)[chosen]
        y[here] = ufunc(y[here], *(v[chosen] for v in operands_))
    replace(target, np.reshape(y, target.shape))


def _occurrences(places: Any) -> Any:
    """For each place, how many times it stood before."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    turns = np.empty(places.size, np.intp)
    turns[order] = np.arange(places.size) - np.searchsorted(ordered, ordered)
    return turns


METHODS["at"] = ufunc_at

# ---------------------------------------------------------------------------------------------------------- methods


def _compress_method(self: Any, condition: Any, axis: int | None = None, out: Any = None) -> Any:
    return compress(condition, self, axis, out)


def _choose_method(self: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    return choose(self, choices, out, mode)


for _name, _method in {"compress": _compress_method, "choose": _choose_method, "put": put_function}.items():
    setattr(TracedArray, _name, _method)
