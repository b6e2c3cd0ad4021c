"""Shapes and axes, and the views that they make; copies, dtypes, complex parts."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert import core, errors
from wengert.core import READ_ONLY, TRACED, TracedArray, aval_of, bind, link_view
from wengert.numpy.indexing import DESTINATION, get, layout, replace
from wengert.numpy.table import as_array, dtype_of, implements, ndim_of, negative_axis, shape_of
from wengert.ops import shaping as ops
from wengert.ops.elementwise import imag as imag_primitive
from wengert.ops.indexing import blank
from wengert.ops.kinds import Discrete
from wengert.ops.vector import broadcast_primitive, cast_primitive, real_primitive, trailing

# ----------------------------------------------------------------------------------------------------------- reshape


def _order_of(x: Any, order: str) -> str:
    """C or F, where the order depends on memory."""
    if order != "A":
        return order
    like = layout(x)
    return "F" if like is not None and like.flags.fnc else "C"


def _reshaped(x: Any, shape: tuple[int, ...], order: str) -> Any:
    if order != "F":
        return ops.reshape(x, shape=shape)
    return np.transpose(ops.reshape(np.transpose(x), shape=shape[::-1]))


def _reshape(x: Any, shape: Any, order: Any, copy: bool | None = None, contiguous: bool = False) -> Any:
    """A view that can be read but not written, where NumPy would view; else a copy. ravel asks for `contiguous`."""
    order = _order_of(x, order)
    new = blank(x.aval.shape).reshape(shape, order=order).shape  # NumPy's own errors, and what −1 stands for
    y = _reshaped(x, new, order)
    if copy or x.aval.scalar:
        return y
    like = layout(x)
    views = like is None or np.may_share_memory(
        like, like.ravel(order) if contiguous else like.reshape(new, order=order)
    )
    if copy is False and not views:
        raise ValueError("Unable to avoid creating a copy while creating an array as requested.")
    return link_view(y, x, partial(_reshaped, shape=new, order=order), None) if views else y


@implements(np.reshape)
def reshape(a: Any, /, shape: Any, order: Any = "C", *, copy: bool | None = None) -> Any:
    return _reshape(a, shape, order, copy)


def _reshape_method(self: Any, /, *shape: Any, order: Any = "C", copy: bool | None = None) -> Any:
    return _reshape(self, shape[0] if len(shape) == 1 else shape, order, copy)


def _by_memory(x: Any) -> Any:
    """The transpose of x whose C order is the order of its memory."""
    like = layout(x)
    strides = (0,) * x.ndim if like is None else like.strides
    return np.transpose(x, sorted(range(x.ndim), key=lambda k: -abs(strides[k])))


@implements(np.ravel, method="ravel")
def ravel(a: Any, order: Any = "C") -> Any:
    x = _by_memory(a) if order == "K" else a
    return _reshape(x, (-1,), "C" if order == "K" else order, contiguous=True)


def _flatten(self: Any, order: Any = "C") -> Any:
    x = _by_memory(self) if order == "K" else self
    return _reshape(x, (-1,), "C" if order == "K" else order, copy=True)


def _relength(x: Any, shape: tuple[int, ...]) -> Any:
    """The same elements with axes of length 1 more or less: a view that writes through."""
    if x.aval.scalar:
        return x if not shape else ops.reshape(x, shape=shape)
    back = x.aval.shape

    def write(parent: Any, contents: Any) -> Any:
        return ops.reshape(contents, shape=back)

    return link_view(ops.reshape(x, shape=shape), x, partial(ops.reshape, shape=shape), write)


@implements(np.squeeze, method="squeeze")
def squeeze(a: Any, axis: Any = None) -> Any:
    return _relength(a, np.squeeze(blank(shape_of(a)), axis).shape)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    return _relength(a, np.expand_dims(blank(shape_of(a)), axis).shape)


def _at_least(rank: int) -> Callable[..., Any]:
    grow = (np.atleast_1d, np.atleast_2d, np.atleast_3d)[rank - 1]

    def at_least(*arys: Any) -> Any:
        grown = []
        for x in map(as_array, arys):
            if type(x) not in TRACED:
                grown.append(grow(x))
            else:
                grown.append(x if x.ndim >= rank else _relength(x, grow(blank(x.shape)).shape))
        return grown[0] if len(grown) == 1 else tuple(grown)

    return implements(grow)(at_least)


atleast_1d, atleast_2d, atleast_3d = (_at_least(rank) for rank in (1, 2, 3))

# ------------------------------------------------------------------------------------------------------------- axes


def _permuted(x: Any, axes: Any) -> Any:
    if x.aval.scalar:
        return x
    axes = tuple(int(axis) - x.ndim for axis in axes)
    back = ops.inverse_axes(axes)

    def write(parent: Any, contents: Any) -> Any:
        return ops.transpose(contents, axes=back)

    return link_view(ops.transpose(x, axes=axes), x, partial(ops.transpose, axes=axes), write)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    n = ndim_of(a)
    if axes is None:
        return _permuted(a, range(n)[::-1])
    axes = axes if isinstance(axes, tuple | list | np.ndarray) else (axes,)
    if len(axes) != n:
        raise ValueError("axes don't match array")
    axes = [normalize_axis_index(int(axis), n) for axis in axes]
    if len(set(axes)) != n:
        raise ValueError("repeated axis in transpose")
    return _permuted(a, axes)


def _transpose_method(self: Any, *axes: Any) -> Any:
    return transpose(self, axes[0] if len(axes) == 1 else axes or None)


@implements(np.swapaxes, method="swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    n = ndim_of(a)
    one, other = normalize_axis_index(axis1, n, "axis1"), normalize_axis_index(axis2, n, "axis2")
    axes = list(range(n))
    axes[one], axes[other] = other, one
    return _permuted(a, axes)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    if ndim_of(x) < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {ndim_of(x)}")
    return swapaxes(x, -1, -2)


def _mt(self: Any) -> Any:
    if self.ndim < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    return swapaxes(self, -1, -2)


# NumPy's own bodies, written in terms of functions and methods that traced arrays have
for _function in (np.moveaxis, np.rollaxis, np.flip, np.hsplit, np.vsplit, np.dsplit, np.unstack):
    implements(_function)(inspect.unwrap(_function))


def _splits(function: Any) -> None:
    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
        axis = normalize_axis_index(axis, ndim_of(ary))
        pieces = function(np.arange(shape_of(ary)[axis]), indices_or_sections)
        starts = [int(piece[0]) if piece.size else 0 for piece in pieces]
        before = (slice(None),) * axis
        return [ary[(*before, slice(k, k + piece.size))] for k, piece in zip(starts, pieces, strict=True)]

    implements(function)(split)


_splits(np.split)
_splits(np.array_split)


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    if ndim_of(m) < 2:
        raise ValueError("Input must be >= 2-d.")
    return m[:, ::-1]


@implements(np.flipud)
def flipud(m: Any) -> Any:
    if ndim_of(m) < 1:
        raise ValueError("Input must be >= 1-d.")
    return m[::-1, ...]


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    np.rot90(blank(shape_of(m)), k, axes)  # NumPy's own errors
    one, other = axes
    if k % 4 == 0:
        return m[:]
    if k % 4 == 2:
        return np.flip(np.flip(m, one), other)
    return np.swapaxes(np.flip(m, other), one, other) if k % 4 == 1 else np.flip(np.swapaxes(m, one, other), other)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), shape_of(a), copy=True)
    pairs = np.broadcast(shift, axis)
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    axes = tuple(negative_axis(int(k), ndim_of(a)) for _, k in pairs)
    pairs.reset()
    return ops.roll(a, shift=tuple(int(s) for s, _ in pairs), axis=axes)


# --------------------------------------------------------------------------------------------------------- broadcast


def _broadcast(x: Any, shape: tuple[int, ...], write: Any) -> Any:
    read = partial(bind, broadcast_primitive, shape=shape)
    return link_view(read(x), x, read, write)


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    return _broadcast(array, np.broadcast_to(blank(shape_of(array)), shape).shape, READ_ONLY)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    arrays = [as_array(x) for x in args]
    shape = np.broadcast_shapes(*map(shape_of, arrays))
    results = []
    for x in arrays:
        if type(x) not in TRACED:
            results.append(np.broadcast_to(x, shape))
        else:
            x = np.reshape(x, ()) if x.aval.scalar else x
            results.append(x if x.shape == shape else _broadcast(x, shape, None))
    return tuple(results)


# --------------------------------------------------------------------------------------------------------- diagonals


@implements(np.diagonal, method="diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    np.diagonal(blank(shape_of(a)), offset, axis1, axis2)  # NumPy's own errors
    axes = negative_axis(axis1, ndim_of(a)), negative_axis(axis2, ndim_of(a))
    read = partial(ops.diagonal, offset=int(offset), axes=axes)
    return link_view(read(a), a, read, READ_ONLY)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return diagonal(x, offset, -2, -1)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    if ndim_of(v) == 2:
        return diagonal(v, k)
    if ndim_of(v) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = shape_of(v)[0] + abs(k)
    return ops.embed_diagonal(v, offset=k, axes=(-2, -1), shape=(n, n))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(np.ravel(v), k)


def _triangle(function: Any, below: bool) -> None:
    def triangle(m: Any, k: int = 0) -> Any:
        m = as_array(m)
        rows, columns = shape_of(m)[-2:] if ndim_of(m) > 1 else shape_of(m) * 2
        mask = np.tri(rows, columns, k if below else k - 1, bool)
        zero = np.zeros((), dtype_of(m))
        return np.where(mask, m, zero) if below else np.where(mask, zero, m)

    implements(function)(triangle)


_triangle(np.tril, True)
_triangle(np.triu, False)

# --------------------------------------------------------------------------------------------------- copies and dtypes


@implements(np.copy)
def copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    return ops.copy(a, order=order)


def _copy_method(self: Any, order: Any = "C") -> Any:
    return core.snapshot(self) if self.aval.scalar else ops.copy(self, order=order)


# To integers and booleans: piecewise constant
as_discrete = Discrete(
    "as_discrete",
    lambda x, *, dtype: np.asarray(x).astype(dtype)[()] if isinstance(x, np.generic) else np.asarray(x).astype(dtype),
    shape=lambda x, *, dtype: (x.shape, dtype),
    batch=trailing,
    scalar=False,
    examples=[((3, 2), {"dtype": np.dtype(np.int64)})],
)


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return _astype(x, dtype, copy=copy)


def _astype(
    self: Any, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    to, given = np.dtype(dtype), self.aval.dtype
    if to == given:
        return _copy_method(self, order) if copy else self
    if not np.can_cast(given, to, casting):
        raise TypeError(f"Cannot cast array data from {given!r} to {to!r} according to the rule {casting!r}")
    if to.kind not in "fciub":
        raise errors.unsupported(f".astype({to})")
    if given.kind == "c" and to.kind in "fiu":
        message = "Casting complex values to real discards the imaginary part"
        warnings.warn(message, np.exceptions.ComplexWarning, stacklevel=3)
        real = real_primitive(self)
        return real if aval_of(real).dtype == to else _astype(real, to)
    if to.kind in "fc":
        return cast_primitive(self, dtype=to)
    return as_discrete(self, dtype=to)


def _view(self: Any, dtype: Any = None, type: Any = None) -> Any:
    if type is not None or (dtype is not None and np.dtype(dtype) != self.aval.dtype):
        raise errors.conversion(".view() as another type", "Use astype for another dtype, .real and .imag for parts.")
    return get(self, ...)


# ------------------------------------------------------------------------------------------------------ complex parts


@implements(np.real)
def real(val: Any) -> Any:
    """The real part, as a view."""
    val = as_array(val)
    if val.aval.scalar:
        return real_primitive(val) if val.dtype.kind == "c" else val
    if val.dtype.kind != "c":
        return get(val, ...)
    return link_view(real_primitive(val), val, real_primitive, lambda parent, new: ops.complex_of(new, np.imag(parent)))


@implements(np.imag)
def imag(val: Any) -> Any:
    """The imaginary part, as a view; that of a real array is a read-only 0."""
    val = as_array(val)
    if val.aval.scalar:
        return imag_primitive(val)
    if val.dtype.kind != "c":
        return link_view(np.zeros_like(val), val, np.zeros_like, READ_ONLY)
    return link_view(imag_primitive(val), val, imag_primitive, lambda parent, new: ops.complex_of(np.real(parent), new))


def _set_real(self: Any, value: Any) -> None:
    real(self)[...] = value


def _set_imag(self: Any, value: Any) -> None:
    if self.dtype.kind != "c":
        raise TypeError("array does not have imaginary part to set")
    imag(self)[...] = value


def _conj_method(self: Any) -> Any:
    return np.conjugate(self) if self.dtype.kind == "c" else self


def _fill(self: Any, value: Any) -> None:
    """Every element becomes `value`. (On a scalar it has no effect, as in NumPy.)"""
    if self.aval.scalar:
        return
    core.check_writable(self, DESTINATION)
    if ndim_of(as_array(value)):
        np.zeros(1).fill(np.zeros(shape_of(as_array(value))))  # NumPy's own error
    replace(self, as_array(value) if type(value) in TRACED else value)


def _resize(self: Any, *args: Any, **kwargs: Any) -> None:
    raise errors.conversion(".resize()", "It changes the array in place, under its views. Use y = np.resize(y, shape).")


def _device(self: Any) -> str:
    return "cpu"


def _to_device(self: Any, device: Any, /, *, stream: Any = None) -> Any:
    np.zeros(0).to_device(device, stream=stream)  # NumPy's own errors
    return self


def _memory_attribute(name: str) -> property:
    def refuse(self: Any) -> Any:
        raise errors.conversion(f".{name}", "A traced array has no memory of its own to look at or to lock.")

    return property(refuse, doc="Refused: it would speak of memory.")


for _name in ("flags", "strides", "data", "ctypes", "base"):
    setattr(TracedArray, _name, _memory_attribute(_name))
for _name, _member in {
    "device": property(_device, doc="Where NumPy computes."),
    "to_device": _to_device,
    "resize": _resize,
    "reshape": _reshape_method,
    "flatten": _flatten,
    "transpose": _transpose_method,
    "T": property(transpose, doc="The array with its axes in reverse."),
    "mT": property(_mt, doc="The array with its last two axes exchanged."),
    "real": property(real, _set_real),
    "imag": property(imag, _set_imag),
    "conj": _conj_method,
    "conjugate": _conj_method,
    "copy": _copy_method,
    "astype": _astype,
    "view": _view,
    "fill": _fill,
}.items():
    setattr(TracedArray, _name, _member)
