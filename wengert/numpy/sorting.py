"""Sorting, searching, sets of values, and interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import core, errors
from wengert.core import TRACED, TracedArray, check_writable
from wengert.numpy.indexing import plain_of, replace
from wengert.numpy.joining import taken
from wengert.numpy.selecting import take
from wengert.numpy.table import as_array, dtype_of, given, implements, ndim_of, negative_axis, operands, shape_of
from wengert.ops import sorting


def _kind(kind: Any, stable: bool | None) -> Any:
    if kind is not None and stable is not None:
        raise ValueError("`kind` and `stable` parameters can't be provided at the same time. Use only one of them.")
    return "stable" if stable else kind


@implements(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    given(order=(order, None))
    x, axis = (np.reshape(a, (-1,), copy=True), -1) if axis is None else (a, negative_axis(axis, ndim_of(a)))
    return sorting.sort(x, axis=axis, kind=_kind(kind, stable))


@implements(np.argsort, method="argsort")
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    given(order=(order, None))
    x, axis = (np.ravel(a), -1) if axis is None or not ndim_of(a) else (a, negative_axis(axis, ndim_of(a)))
    return sorting.argsort(x, axis=axis, kind=_kind(kind, stable))


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    return np.sort(a if dtype_of(a).kind == "c" else a.astype(np.result_type(dtype_of(a), np.complex64)))


def _partitions(primitive: Any, method: str, function: Any) -> Any:
    def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
        given(order=(order, None), kind=(kind, "introselect"))
        x, axis = (np.ravel(a), -1) if axis is None else (a, negative_axis(axis, ndim_of(a)))
        length = shape_of(x)[axis]
        function(np.zeros(length), kth)  # NumPy's own errors
        return primitive(x, kth=kth if isinstance(kth, int) else tuple(np.atleast_1d(kth).tolist()), axis=axis)

    return implements(function, method=method)(partition)


partition = _partitions(sorting.partition, "", np.partition)
argpartition = _partitions(sorting.argpartition, "argpartition", np.argpartition)


@implements(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """Stable sorts by one key after the other, the last one deciding."""
    rows = list(keys) if type(keys) in TRACED else operands(keys)
    axis = negative_axis(axis, ndim_of(rows[0]))
    order = np.argsort(rows[0], axis, "stable")
    for row in rows[1:]:
        finer = np.argsort(np.take_along_axis(row, order, axis), axis, "stable")
        order = np.take_along_axis(order, finer, axis)
    return order


@implements(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    x = as_array(a)
    if ndim_of(x) != 1:
        raise ValueError(f"object {'too deep' if ndim_of(x) else 'of too small depth'} for desired array")
    return sorting.searchsorted(x if sorter is None else take(x, sorter), as_array(v), side=side)


@implements(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    return sorting.digitize(as_array(bins), as_array(x), right=right)


SORTED = "Under vmap and trace use np.sort, whose result has a shape that is known."


@implements(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    **kwargs: Any,
) -> Any:
    """The values at their first occurrence, sorted; the rest is plain."""
    plain = plain_of(ar, "np.unique", SORTED)
    full: Any = np.unique
    _, first, *rest = full(plain, True, return_inverse, return_counts, axis, **kwargs)
    x, axis = (np.ravel(ar), 0) if axis is None else (ar, axis)
    found = (taken(x, first, axis), *([first] if return_index else []), *rest)
    return found if len(found) > 1 else found[0]


def _unique_of_standard(function: Any) -> None:
    def unique_of_standard(x: Any, /) -> Any:
        plain = plain_of(x, function.__name__, SORTED)
        _, first = np.unique(plain, return_index=True, equal_nan=False)
        values = taken(np.ravel(x), first)
        return function(plain)._replace(values=values)

    implements(function)(unique_of_standard)


for _function in (np.unique_all, np.unique_counts, np.unique_inverse):
    _unique_of_standard(_function)


@implements(np.unique_values)
def unique_values(x: Any, /) -> Any:
    """As np.unique; NumPy's own order is not specified."""
    return unique(x, equal_nan=False)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, xp, fp = as_array(x), as_array(xp), as_array(fp)
    if period is not None:
        if core.contains_traced(period):
            raise errors.unsupported_keyword("numpy.interp", "a traced period")
        if period == 0:
            raise ValueError("period must be a non-zero value")
        if ndim_of(xp) != 1 or ndim_of(fp) != 1:
            raise ValueError("Data points must be 1-D sequences")
        period, left, right = abs(period), None, None
        x, xp = np.mod(x, period), np.mod(xp, period)
        order = np.argsort(xp)
        xp, fp = take(xp, order), take(fp, order)
        xp = np.concatenate((xp[-1:] - period, xp, xp[:1] + period))
        fp = np.concatenate((fp[-1:], fp, fp[:1]))
    y = sorting.interp(x, xp, fp)
    if left is not None:
        y = _keep_scalar(np.where(np.less(x, xp[0]), left, y), y)
    return y if right is None else _keep_scalar(np.where(np.greater(x, xp[-1]), right, y), y)


def _keep_scalar(chosen: Any, like: Any) -> Any:
    """np.where gives an array without axes where NumPy's interp gives a scalar."""
    return chosen if ndim_of(like) else chosen[()]


def _searchsorted_method(self: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    return searchsorted(self, v, side, sorter)


def _sort_in_place(
    self: Any, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
) -> None:
    check_writable(self, "sort array")
    replace(self, sort(self, axis, kind, order, stable=stable))


def _partition_in_place(self: Any, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    check_writable(self, "partition array")
    replace(self, partition(self, kth, axis, kind, order))


for _name, _method in {
    "searchsorted": _searchsorted_method,
    "sort": _sort_in_place,
    "partition": _partition_in_place,
}.items():
    setattr(TracedArray, _name, _method)
