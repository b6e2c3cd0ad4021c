"""Reading and writing by index: slices, integers, masks and integer arrays; and the adjoint of reading, scatter.

An index is a tuple that NumPy would take, held as a param. For index arrays that are traced, see `gathering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of, bind
from wengert.ops.vector import Linear, aligned, broadcast_to, sum_to

ALL: Final = slice(None)
Index = tuple[Any, ...]
Layout = tuple[Shape, np.dtype[Any]]


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


def add_into(buffer: Any, ct: Any, *, index: Index, **_: Any) -> None:
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
    add_into(out, ct, index=index)
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
    accumulate=add_into,
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
