"""Moving elements about without reading them: shapes, axes, joining, copying, complex parts.

Axes are counted from the end, so that leading (batch) axes do not disturb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of, bind
from wengert.ops.indexing import getitem
from wengert.ops.vector import Linear, broadcast_to, real_primitive, trailing

ALL = slice(None)


def _batch_shape(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    """For operations of one argument whose param `shape` is that of the result."""
    return bind(primitive, args[0], **{**params, "shape": (size, *params["shape"])})


reshape: Linear = Linear(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    shape=lambda x, *, shape: (shape, x.dtype),
    transpose=(lambda ct, into, *, shape: reshape(ct, shape=into.shape),),
    batch=_batch_shape,
    scalar=False,
    examples=[((3, 2), {"shape": (2, 3)}), ((), {"shape": (1, 1)}), ((1,), {"shape": ()}), ((0, 2), {"shape": (0,)})],
    tags="complex",
)


def _transpose_value(x: Any, *, axes: tuple[int, ...]) -> Any:
    return np.transpose(x, (*range(np.ndim(x) - len(axes)), *axes))


def _transpose_shape(x: Aval, *, axes: tuple[int, ...]) -> tuple[Shape, np.dtype[Any]]:
    return (*x.shape[: len(x.shape) - len(axes)], *(x.shape[axis] for axis in axes)), x.dtype


def inverse_axes(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `axes`; both count from the end."""
    n = len(axes)
    return tuple(int(k) - n for k in np.argsort([axis + n for axis in axes]))


transpose: Linear = Linear(
    "transpose",
    _transpose_value,
    shape=_transpose_shape,
    transpose=(lambda ct, into, *, axes: transpose(ct, axes=inverse_axes(axes)),),
    batch=trailing,
    scalar=False,
    examples=[((4, 3, 2), {"axes": (-2, -1, -3)}), ((3,), {"axes": (-1,)}), ((), {"axes": ()})],
    tags="complex",
)

copy = Linear(
    "copy",
    lambda x, *, order: np.array(x, order=order),
    shape=lambda x, *, order: (x.shape, x.dtype),
    transpose=(lambda ct, into, *, order: ct,),
    batch=trailing,
    scalar=False,
    examples=[((3, 2), {"order": "K"}), ((), {"order": "C"})],
    tags="complex",
)

roll: Linear = Linear(
    "roll",
    lambda x, *, shift, axis: np.roll(x, shift, axis),
    shape=lambda x, *, shift, axis: (x.shape, x.dtype),
    transpose=(lambda ct, into, *, shift, axis: roll(ct, shift=tuple(-s for s in shift), axis=axis),),
    batch=trailing,
    scalar=False,
    examples=[((3, 4), {"shift": (1, 2), "axis": (-1, -2)}), ((3,), {"shift": (-5,), "axis": (-1,)})],
    tags="complex",
)

# ------------------------------------------------------------------------------------------------------- diagonals


def _diagonal_shape(x: Aval, *, offset: int, axes: tuple[int, int]) -> tuple[Shape, np.dtype[Any]]:
    return np.broadcast_to(np.False_, x.shape).diagonal(offset, *axes).shape, x.dtype


def _embed_value(x: Any, *, offset: int, axes: tuple[int, int], shape: Shape) -> Any:
    out = np.zeros(shape, x.dtype)
    diagonal_of_out = np.diagonal(out, offset, *axes)
    diagonal_of_out.flags.writeable = True
    diagonal_of_out[...] = x
    return out


# out[…, i] = x[…, i, …, i + offset, …]
diagonal = Linear(
    "diagonal",
    lambda x, *, offset, axes: np.diagonal(x, offset, *axes),
    shape=_diagonal_shape,
    transpose=(lambda ct, into, *, offset, axes: embed_diagonal(ct, offset=offset, axes=axes, shape=into.shape),),
    batch=trailing,
    scalar=False,
    examples=[
        ((3, 4), {"offset": 1, "axes": (-2, -1)}),
        ((3, 4, 2), {"offset": -1, "axes": (-3, -1)}),
        ((2, 2), {"offset": 5, "axes": (-2, -1)}),
    ],
    tags="complex",
)

# The transpose of diagonal: zero off the diagonal. Also np.diag of a vector.
embed_diagonal: Linear = Linear(
    "embed_diagonal",
    _embed_value,
    shape=lambda x, *, offset, axes, shape: (shape, x.dtype),
    transpose=(lambda ct, into, *, offset, axes, shape: diagonal(ct, offset=offset, axes=axes),),
    batch=_batch_shape,
    scalar=False,
    examples=[
        ((3,), {"offset": 0, "axes": (-2, -1), "shape": (3, 3)}),
        ((2, 2), {"offset": -1, "axes": (-3, -1), "shape": (3, 2, 4)}),
    ],
    tags="complex",
)

# --------------------------------------------------------------------------------------------------------- joining


def _concatenate_shape(*arrays: Aval, axis: int, starts: tuple[int, ...]) -> tuple[Shape, np.dtype[Any]]:
    # Of no elements along the axis, NumPy itself says whether the other axes agree
    empty = [np.broadcast_to(np.False_, (*a.shape[:axis], 0, *a.shape[len(a.shape) + axis + 1 :])) for a in arrays]
    shape = list(np.concatenate(empty, axis).shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return tuple(shape), result_dtype(*arrays)


def _piece(ct: Any, into: Aval, slot: int, *, axis: int, starts: tuple[int, ...]) -> Any:
    start = starts[slot]
    return getitem(ct, index=(..., slice(start, start + into.shape[axis]), *(ALL,) * (-axis - 1)))


# `starts`: where each array begins along the axis, so that a pullback need not add up the others
concatenate = Linear(
    "concatenate",
    lambda *arrays, axis, starts: np.concatenate(arrays, axis),
    shape=_concatenate_shape,
    transpose=(_piece,),
    joint=True,
    variadic=True,
    batch=trailing,
    scalar=False,
    examples=[
        ((3, 2), (1, 2), (0, 2), {"axis": -2, "starts": (0, 3, 4)}),
        ((2,), {"axis": -1, "starts": (0,)}),
    ],
    tags="complex",
)


def _stack_shape(*arrays: Aval, axis: int) -> tuple[Shape, np.dtype[Any]]:
    shape = arrays[0].shape
    place = len(shape) + 1 + axis
    return (*shape[:place], len(arrays), *shape[place:]), result_dtype(*(a._replace(weak=False) for a in arrays))


stack = Linear(
    "stack",
    lambda *arrays, axis: np.stack(arrays, axis),
    shape=_stack_shape,
    transpose=(lambda ct, into, slot, *, axis: getitem(ct, index=(..., slot, *(ALL,) * (-axis - 1))),),
    joint=True,
    variadic=True,
    batch=trailing,
    scalar=False,
    examples=[((3, 2), (3, 2), {"axis": -2}), ((), (), (), {"axis": -1}), ((0,), {"axis": -2})],
    tags="complex",
)

# --------------------------------------------------------------------------------------------------- complex parts


def _complex_value(real: Any, imag: Any) -> Any:
    out = np.empty(np.shape(real), np.result_type(real, np.complex64))
    out.real = real
    out.imag = imag
    return out


def _minus_imag(ct: Any, into: Aval) -> Any:
    return broadcast_to(0.0, shape=into.shape) if aval_of(ct).dtype.kind != "c" else np.negative(np.imag(ct))


# re + i·im without a product (i·∞ has a NaN). ⟨a, b⟩ = Re Σ ab, so the transpose in im is Re(i·ct) = −Im ct.
complex_of = Linear(
    "complex_of",
    _complex_value,
    shape=lambda real, imag: (real.shape, np.result_type(real.dtype, np.complex64)),
    transpose=(lambda ct, into: real_primitive(ct), _minus_imag),
    joint=True,
    batch=trailing,
    scalar=False,
    examples=[((3, 2), (3, 2)), ((), ())],
)

__all__ = [
    "complex_of", "concatenate", "copy", "diagonal", "embed_diagonal", "inverse_axes", "reshape", "roll", "stack",
    "transpose",
]  # fmt: skip
