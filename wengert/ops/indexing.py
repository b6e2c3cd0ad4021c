"""Reading and writing by index: slices, integers, masks and integer arrays; and the adjoint of reading, scatter.

An index is a tuple that NumPy would take, held as a param. Index arrays that are themselves traced (a Batch or a
Symbol) come as one operand `i` instead, stacked along its first axis, and SLOT stands in the index for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert import core
from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of, bind
from wengert.ops.vector import Linear, aligned, broadcast_to, sum_to

ALL: Final = slice(None)
Index = tuple[Any, ...]
Layout = tuple[Shape, np.dtype[Any]]


class Slot:
    """Stands in an index for a row of the operand that holds the index arrays."""

    def __repr__(self) -> str:
        return "i"

    def __reduce__(self) -> str:
        return "SLOT"


SLOT: Final = Slot()


def blank(shape: Shape) -> Any:
    """An array of this shape that takes no memory, on which NumPy answers questions about indices."""
    return np.broadcast_to(np.False_, shape)


def is_array(part: Any) -> bool:
    """Whether a part of an index makes NumPy copy: an array or a bool, rather than a slice or an integer."""
    return type(part) in (np.ndarray, bool)


def is_basic(index: Index) -> bool:
    return not any(map(is_array, index))


def keeps_array(*, index: Index, **_: Any) -> bool:
    """Whether NumPy gives a scalar for a result without axes: unless there is an Ellipsis."""
    return not any(part is Ellipsis for part in index)


def front_axes(index: Index) -> int:
    """How many axes NumPy moves to the front, because index arrays stand apart; 0 where they stand together."""
    arrays = [part for part in index if is_array(part)]
    if not arrays:
        return 0
    places = [k for k, part in enumerate(index) if is_array(part) or isinstance(part, int)]
    if places[-1] - places[0] == len(places) - 1:
        return 0
    return max(1 if type(part) is bool or part.dtype.kind == "b" else part.ndim for part in arrays)


# --------------------------------------------------------------------------------------------- with a known index


def _add_at(buffer: Any, ct: Any, *, index: Index, **_: Any) -> None:
    arrays = [part for part in index if is_array(part)]
    if not arrays or (len(arrays) == 1 and (type(arrays[0]) is bool or _no_repeats(arrays[0]))):
        buffer[index] += ct  # no element is named twice
    else:
        np.add.at(buffer, index, ct)


def _no_repeats(part: Any) -> bool:
    flat = part.reshape(-1)
    if part.dtype.kind == "b" or flat.size < 2:
        return True
    low = int(flat.min())
    if low < 0 or int(flat.max()) - low > 16 * flat.size:
        return False  # −1 and n − 1 are one place; and counting over a wide range is dearer than adding one by one
    return int(np.bincount(flat - low).max()) == 1


def _scatter_value(ct: Any, *, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, np.asarray(ct).dtype)
    _add_at(out, ct, index=index)
    return out


def _getitem_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    index = params["index"]
    out = bind(primitive, args[0], index=(ALL, *index))
    moved = front_axes(index)
    return np.moveaxis(out, moved, 0) if moved else out


# out = x[index]. Its transpose adds where an element was read more than once.
getitem = Linear(
    "getitem",
    lambda x, *, index: x[index],
    shape=lambda x, *, index: (np.shape(blank(x.shape)[index]), x.dtype),
    transpose=(lambda ct, into, *, index: scatter(ct, index=index, shape=into.shape),),
    batch=_getitem_batch,
    scalar=keeps_array,
    accumulate=_add_at,
    examples=[
        ((4, 3), {"index": (slice(1, None, 2), None, -1)}),
        ((4,), {"index": (2,)}),
        ((4,), {"index": (..., 2)}),
        ((), {"index": ()}),
        ((4, 3), {"index": (np.array([0, 3, 0, -1]),)}),
        ((4, 2, 3), {"index": (np.array([[0, 1], [1, 1]]), ALL, 2)}),
        ((4, 2, 3), {"index": (ALL, np.array([0, 1, 1]), np.array([2, 0, 0]))}),
        ((2, 3), {"index": (np.array([[True, False, True], [False, True, False]]),)}),
        ((3,), {"index": (np.zeros(3, bool),)}),
        ((3,), {"index": (True, None)}),
    ],
    tags="complex",
)


def _scatter_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    index, shape = params["index"], params["shape"]
    moved = front_axes(index)
    ct = np.moveaxis(args[0], 0, moved) if moved else args[0]
    return bind(primitive, ct, index=(ALL, *index), shape=(size, *shape))


# out = 0; out[index] += ct for every element, repeated ones too
scatter: Linear = Linear(
    "scatter",
    _scatter_value,
    shape=lambda ct, *, index, shape: (shape, ct.dtype),
    transpose=(lambda ct_out, into, *, index, shape: getitem(ct_out, index=index),),
    slots="ct",
    batch=_scatter_batch,
    scalar=False,
    examples=[
        ((2, 3), {"index": (slice(1, None, 2),), "shape": (4, 3)}),
        ((4,), {"index": (np.array([0, 2, 0, -1]),), "shape": (3,)}),
        ((2, 3), {"index": (np.array([0, 2]), ALL, 1), "shape": (4, 3, 2)}),
    ],
    tags="complex",
)


def _setitem_value(x: Any, value: Any, *, index: Index) -> Any:
    out = np.array(x)
    out[index] = value
    return out


def _setitem_shape(x: Aval, value: Aval, *, index: Index) -> Layout:
    _setitem_value(np.zeros(x.shape), np.broadcast_to(0.0, value.shape), index=index)  # NumPy's own errors
    return x.shape, x.dtype


def _last_writes(index: Index, shape: Shape) -> Any:
    """Which elements of a written value stay, where an index array may name a place twice; None where all do."""
    if all(not is_array(part) or type(part) is bool or part.dtype.kind == "b" for part in index):
        return None
    written = np.zeros(shape, np.intp)
    order = np.arange(written[index].size).reshape(written[index].shape)
    written[index] = order
    stays = written[index] == order
    return None if stays.all() else stays


def _written_value_bar(ct: Any, into: Aval, *, index: Index) -> Any:
    bar = getitem(ct, index=index)
    stays = _last_writes(index, aval_of(ct).shape)
    if stays is not None:
        bar = where(stays, bar, 0.0)
    return _shrunk(bar, into)


def _shrunk(bar: Any, into: Aval) -> Any:
    """The cotangent of a written value, summed to the shape that the value had before NumPy broadcast it."""
    extra = max(len(into.shape) - len(aval_of(bar).shape), 0)  # axes of length 1 that NumPy dropped
    bar = sum_to(bar, shape=into.shape[extra:])
    return np.reshape(bar, into.shape) if extra else bar


def _setitem_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    index = params["index"]
    x = args[0] if mapped[0] else broadcast_to(args[0], shape=(size, *aval_of(args[0]).shape))
    value, shape = args[1], aval_of(args[1]).shape
    members = [a._replace(shape=a.shape[m:]) for a, m in zip(map(aval_of, args), mapped, strict=True)]
    primitive.abstract(members, params)  # else a value that does not fit a member might fit the batch
    rank = np.ndim(blank(aval_of(x).shape[1:])[index])
    moved = front_axes(index)
    if mapped[1]:
        inner = shape[1:]
        value = np.reshape(value, (size, *(1,) * (rank - len(inner)), *inner[max(len(inner) - rank, 0) :]))
        value = np.moveaxis(value, 0, moved) if moved else value
    elif moved:
        full = (*(1,) * (rank - len(shape)), *shape[max(len(shape) - rank, 0) :])
        value = np.reshape(value, (*full[:moved], 1, *full[moved:]))
    return bind(primitive, x, value, index=(ALL, *index))


# out = x; out[index] = value, of which the last one wins where a place is named twice. Linear in x and value together.
setitem: Linear = Linear(
    "setitem",
    _setitem_value,
    shape=_setitem_shape,
    transpose=(lambda ct, into, *, index: setitem(ct, 0.0, index=index), _written_value_bar),
    joint=True,
    batch=_setitem_batch,
    scalar=False,
    examples=[
        ((4, 3), (3,), {"index": (slice(1, None, 2),)}),
        ((4,), (), {"index": (2,)}),
        ((), (), {"index": (...,)}),
        ((4,), (1, 4), {"index": (...,)}),
        ((4,), (3,), {"index": (np.array([0, 2, 0]),)}),
        ((4, 2, 3), (2, 2), {"index": (np.array([0, 2]), ALL, 1)}),
        ((4, 2, 3), (2,), {"index": (np.array([0, 2]), ALL, 1)}),
        ((2, 3), (3,), {"index": (np.array([[True, False, True], [False, True, False]]),)}),
    ],
    tags="complex",
)


def _add_at_value(x: Any, value: Any, *, index: Index) -> Any:
    out = np.array(x)
    np.add.at(out, index, value)
    return out


def _add_at_shape(x: Aval, value: Aval, *, index: Index) -> Layout:
    np.broadcast_to(blank(value.shape), np.shape(blank(x.shape)[index]))  # NumPy's own errors
    return x.shape, x.dtype


def _added_value_bar(ct: Any, into: Aval, *, index: Index) -> Any:
    return _shrunk(getitem(ct, index=index), into)


# out = x; out[index] += value for every element, repeated ones too (np.add.at). Not x + scatter(value): that rounds
# otherwise than NumPy where a place is named more than once.
add_at = Linear(
    "add_at",
    _add_at_value,
    shape=_add_at_shape,
    transpose=(lambda ct, into, *, index: ct, _added_value_bar),
    joint=True,
    batch=_setitem_batch,
    scalar=False,
    examples=[
        ((4,), (3,), {"index": (np.array([0, 2, 0]),)}),
        ((4, 3), (), {"index": (slice(1, None, 2),)}),
        ((4, 2, 3), (2,), {"index": (np.array([0, 2]), ALL, 1)}),
    ],
    tags="complex",
)

# ------------------------------------------------------------------------------------ with index arrays as operand


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
    _add_at(out, ct, index=fill(index, i))
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


# -------------------------------------------------------------------------------------------------------- choosing

# Elements of x where c, else of y. Linear in x and y together; what is not chosen has derivative 0, be it NaN.
where: Linear = Linear(
    "where",
    lambda c, x, y: np.where(c, x, y),
    shape=lambda c, x, y: (np.broadcast_shapes(c.shape, x.shape, y.shape), result_dtype(x, y)),
    transpose=(
        None,
        lambda ct, into, c: sum_to(where(c, ct, 0.0), shape=into.shape),
        lambda ct, into, c: sum_to(where(c, 0.0, ct), shape=into.shape),
    ),
    joint=True,
    batch=aligned,
    scalar=False,
    examples=[
        (lambda rng, dtype: rng.random((3, 2)) < 0.5, (3, 2), (3, 2)),
        (lambda rng, dtype: rng.random((3, 1)) < 0.5, (2,), ()),
    ],
    tags="complex",
)
