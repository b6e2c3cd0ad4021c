"""Reading and writing with index arrays that are operands, because they are traced (a Batch or a Symbol).

They come as one integer array `i`, stacked along its first axis, and SLOT stands in the index for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert import core
from wengert.avals import Aval, Shape
from wengert.core import Primitive, aval_of, bind
from wengert.ops.indexing import ALL, Index, Layout, add_into, getitem, is_array, keeps_array, where
from wengert.ops.vector import Linear, broadcast_to


class Slot:
    """Stands in an index for a row of the operand that holds the index arrays."""

    def __repr__(self) -> str:
        return "i"

    def __reduce__(self) -> str:
        return "SLOT"


SLOT: Final = Slot()


def fill(index: Index, i: Any) -> Index:
    """The index with the rows of `i` in its slots."""
    rows = iter(i)
    return tuple(next(rows) if part is SLOT else part for part in index)


def split_shape(index: Index, shape: Shape) -> tuple[Shape, Shape, bool]:
    """Axes of x[index] before and after those of the index arrays in the slots, and whether the slots stand apart."""
    missing = len(shape) - sum(part is not None and part is not Ellipsis for part in index)
    if not any(part is Ellipsis for part in index):
        index = (*index, Ellipsis)
    lengths: list[int] = []
    starts = []
    axis = 0
    for part in index:
        if part is None:
            lengths.append(1)
        elif part is Ellipsis:
            lengths.extend(shape[axis : axis + missing])
            axis += missing
        else:
            if part is SLOT:
                starts.append(len(lengths))
            else:
                lengths.append(len(range(*part.indices(shape[axis]))))
            axis += 1
    places = [k for k, part in enumerate(index) if part is SLOT]
    apart = places[-1] - places[0] != len(places) - 1
    start = 0 if apart else starts[0]
    return tuple(lengths[:start]), tuple(lengths[start:]), apart


def _gather_value(x: Any, i: Any, *, index: Index) -> Any:
    if index[-1] is SLOT and all(type(part) is slice and part == ALL for part in index[:-1]):
        return np.take(x, i[0], axis=len(index) - 1)  # faster than x[…, i], and contiguous
    return x[fill(index, i)]


def _gather_shape(x: Aval, i: Aval, *, index: Index) -> Layout:
    before, after, _ = split_shape(index, x.shape)
    return (*before, *i.shape[1:], *after), x.dtype


def with_lanes(i: Any, size: int) -> Any:
    """Index arrays with a batch axis after the first, and in front of them one that numbers the members."""
    shape = aval_of(i).shape
    lanes = np.arange(size).reshape(1, size, *(1,) * (len(shape) - 2))
    return np.concatenate([np.broadcast_to(lanes, (1, *shape[1:])), i])


def _gather_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    x, i = args
    index = params["index"]
    shape = aval_of(x).shape[1:] if mapped[0] else aval_of(x).shape
    before, _, apart = split_shape(index, shape)
    n = len(aval_of(i).shape) - 1 - mapped[1]
    if not mapped[1]:
        out = bind(primitive, x, i, index=(ALL, *index))
        return np.moveaxis(out, n, 0) if apart and n else out
    i = np.moveaxis(i, 0, 1)
    if not mapped[0]:
        return np.moveaxis(bind(primitive, x, i, index=index), len(before), 0)
    out = bind(primitive, x, with_lanes(i, size), index=(SLOT, *index))
    return np.moveaxis(out, range(1, 1 + n), range(1 + len(before), 1 + len(before) + n))


def _some_places(rng: Any, dtype: Any) -> Any:
    return np.array([[0, 2, 0]])


def _some_pairs(rng: Any, dtype: Any) -> Any:
    return np.array([[[0, 1], [1, 1]], [[2, 0], [1, 1]]])


def _one_place(rng: Any, dtype: Any) -> Any:
    return np.array([1])


gather = Linear(
    "gather",
    _gather_value,
    shape=_gather_shape,
    transpose=(lambda ct, into, i, *, index: scatter_at(ct, i, index=index, shape=into.shape), None),
    batch=_gather_batch,
    scalar=keeps_array,
    examples=[
        ((4, 3), _some_places, {"index": (ALL, SLOT)}),
        ((3, 2, 3), _some_pairs, {"index": (SLOT, None, slice(1), SLOT)}),
        ((2, 2, 3), _some_pairs, {"index": (ALL, SLOT, SLOT)}),
        ((4,), _one_place, {"index": (SLOT,)}),
        ((3, 4), _one_place, {"index": (ALL, SLOT)}),
    ],
    tags="complex integer-operand",
)


def _scatter_at_value(ct: Any, i: Any, *, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, np.asarray(ct).dtype)
    add_into(out, ct, index=fill(index, i))
    return out


def _lead(args: Sequence[Any], mapped: Sequence[bool], size: int, index: Index, shape: Shape) -> tuple[Any, Any, Index]:
    """For scatter_at and put_at: the written array, the index arrays and the index, with a batch axis in front."""
    value, i = args
    before, _, apart = split_shape(index, shape)
    n = len(aval_of(i).shape) - 1 - mapped[1]
    if not mapped[0]:
        value = broadcast_to(value, shape=(size, *aval_of(value).shape))
    if not mapped[1]:
        return (np.moveaxis(value, 0, n) if apart and n else value), i, (ALL, *index)
    value = np.moveaxis(value, range(1 + len(before), 1 + len(before) + n), range(1, 1 + n))
    return value, with_lanes(np.moveaxis(i, 0, 1), size), (SLOT, *index)


def _scatter_at_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    shape = params["shape"]
    ct, i, index = _lead(args, mapped, size, params["index"], shape)
    return bind(primitive, ct, i, index=index, shape=(size, *shape))


scatter_at: Linear = Linear(
    "scatter_at",
    _scatter_at_value,
    shape=lambda ct, i, *, index, shape: (shape, ct.dtype),
    transpose=(lambda ct_out, into, i, *, index, shape: gather(ct_out, i, index=index), None),
    slots="ct i",
    batch=_scatter_at_batch,
    scalar=False,
    examples=[
        ((4, 3), _some_places, {"index": (ALL, SLOT), "shape": (4, 3)}),
        ((2, 2, 1, 1), _some_pairs, {"index": (SLOT, None, slice(1), SLOT), "shape": (3, 2, 3)}),
    ],
    tags="complex integer-operand",
)


def _put_at_value(x: Any, value: Any, i: Any, *, index: Index) -> Any:
    out = np.array(x)
    out[fill(index, i)] = value
    return out


def _put_value_bar(ct: Any, into: Aval, i: Any, *, index: Index) -> Any:
    order = np.arange(into.size).reshape(into.shape)
    written = put_at(np.zeros(aval_of(ct).shape, np.intp), order, i, index=index)
    stays = np.equal(gather(written, i, index=index), order)
    return where(stays, gather(ct, i, index=index), 0.0)


def _put_x_bar(ct: Any, into: Aval, i: Any, *, index: Index) -> Any:
    before, after, _ = split_shape(index, into.shape)
    return put_at(ct, np.zeros((*before, *aval_of(i).shape[1:], *after)), i, index=index)


def _put_at_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    x = args[0] if mapped[0] else broadcast_to(args[0], shape=(size, *aval_of(args[0]).shape))
    value, i, index = _lead(args[1:], mapped[1:], size, params["index"], aval_of(x).shape[1:])
    return bind(primitive, x, value, i, index=index)


# Like setitem; `value` has the full shape of x[index]
put_at = Linear(
    "put_at",
    _put_at_value,
    shape=lambda x, value, i, *, index: (x.shape, x.dtype),
    transpose=(_put_x_bar, _put_value_bar, None),
    joint=True,
    batch=_put_at_batch,
    scalar=False,
    examples=[
        ((4, 3), (4, 3), _some_places, {"index": (ALL, SLOT)}),
        ((3, 2, 3), (2, 2, 1, 1), _some_pairs, {"index": (SLOT, None, slice(1), SLOT)}),
    ],
    tags="complex integer-operand",
)


def slots_of(index: Index) -> tuple[Any, Index]:
    """Index arrays, which may be traced, as the operand of gather, and the index with slots in their place."""
    arrays = [part for part in index if is_array(part) or isinstance(part, int) or core.is_traced(part)]
    shape = np.broadcast_shapes(*(aval_of(part).shape for part in arrays))
    i = np.stack([np.broadcast_to(part, shape) for part in arrays])
    keeps = (slice, type(None), type(Ellipsis))
    return i, tuple(part if isinstance(part, keeps) else SLOT for part in index)


def read(x: Any, index: Index) -> Any:
    """x[index], where integer arrays in the index may be traced."""
    if not any(core.is_traced(part) for part in index):
        return getitem(x, index=index)
    i, index = slots_of(index)
    return gather(x, i, index=index)


def along(x: Any, order: Any, *, axis: int) -> Any:
    """x at the positions `order` along an axis, which counts from the end (as np.take_along_axis)."""
    shape = aval_of(x).shape
    n = len(shape)
    index: list[Any] = [np.arange(m).reshape(m, *(1,) * (n - 1 - k)) for k, m in enumerate(shape)]
    index[axis] = order
    return read(x, tuple(index))
