"""New arrays: `like=` and `…_like` make traced constants, which can be written into; grids and ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import core, errors
from wengert.core import TRACED
from wengert.numpy.indexing import layout, uncovered
from wengert.numpy.table import CREATORS, as_array, dtype_of, implements, ndim_of, shape_of


def constant(like: Any, value: Any) -> Any:
    """A traced array of the trace of `like` that does not depend on its inputs. `value` must be owned."""
    like._trace.check_open()
    return like._trace.constant(value)


def creates(function: Any) -> Callable[[Any], Any]:
    """Enter an implementation of a function with `like=`; it gets the like-array first."""

    def enter(implementation: Any) -> Any:
        CREATORS[function] = implementation
        return implementation

    return enter


def _makes_plain(function: Any) -> None:
    """Functions of shapes and numbers only: NumPy makes the array."""

    def create(like: Any, *args: Any, **kwargs: Any) -> Any:
        return constant(like, function(*args, **kwargs))

    creates(function)(create)


for _function in (
    np.zeros, np.ones, np.arange, np.eye, np.identity, np.tri, np.frombuffer, np.fromfile, np.fromfunction, np.fromiter,
    np.fromstring, np.loadtxt, np.genfromtxt,
):  # fmt: skip
    _makes_plain(_function)


@creates(np.empty)
def empty(like: Any, shape: Any, dtype: Any = float, order: Any = "C", *, device: Any = None) -> Any:
    return constant(like, np.zeros(shape, dtype, order))


def filled(like: Any, shape: Any, value: Any, dtype: Any, order: Any = "C") -> Any:
    value = as_array(value)
    dtype = dtype_of(value) if dtype is None else np.dtype(dtype)
    if type(value) not in TRACED:
        return constant(like, np.full(shape, value, dtype, order))
    return np.copy(np.broadcast_to(value.astype(dtype, copy=False), shape), "C")


@creates(np.full)
def full(like: Any, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None) -> Any:
    return filled(like, shape, fill_value, dtype, order)


@implements(np.zeros_like, np.empty_like)
def zeros_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return full_like(a, 0, dtype, order, shape=shape)


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return full_like(a, 1, dtype, order, shape=shape)


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    dtype = dtype_of(a) if dtype is None else dtype
    held = layout(a) if shape is None and not core.contains_traced(fill_value) else None
    if held is not None:  # NumPy's own, in its memory order
        return constant(a, np.full_like(held, fill_value, dtype, order))
    return filled(a, shape_of(a) if shape is None else shape, fill_value, dtype, "F" if order == "F" else "C")


# ------------------------------------------------------------------------------------------------------- conversions


@creates(np.array)
def array(
    like: Any,
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
) -> Any:
    if not core.contains_traced(object):
        return constant(like, np.array(object, dtype, copy=True, order=order, ndmin=ndmin))
    x = as_array(object)
    if x.aval.scalar:
        x, copy = np.reshape(x, ()), None  # an array at least, and so a new one
    if dtype is not None and np.dtype(dtype) != x.dtype:
        if copy is False:
            raise ValueError("Unable to avoid creating a copy while creating an array as requested.")
        x = x.astype(dtype)
    elif copy and x is object:
        x = np.copy(x, order)
    return x if x.ndim >= ndmin else x[(None,) * (ndmin - x.ndim)]


@creates(np.asarray)
def asarray(
    like: Any, a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: bool | None = None
) -> Any:
    x = array(like, a, dtype, copy=copy)
    if order not in ("C", "F") or type(a) not in TRACED:
        return x
    like_x = layout(x)
    if like_x is None or like_x.flags[f"{order}_CONTIGUOUS"]:
        return x
    return np.copy(x, order)


@creates(np.asanyarray)
def asanyarray(
    like: Any, a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: bool | None = None
) -> Any:
    return asarray(like, a, dtype, order, copy=copy)


@creates(np.ascontiguousarray)
def ascontiguousarray(like: Any, a: Any, dtype: Any = None) -> Any:
    return np.atleast_1d(asarray(like, a, dtype, "C"))


@creates(np.asfortranarray)
def asfortranarray(like: Any, a: Any, dtype: Any = None) -> Any:
    return asarray(like, a, dtype, "F")


@creates(np.asarray_chkfinite)
def asarray_chkfinite(like: Any, a: Any, dtype: Any = None, order: Any = None) -> Any:
    a = as_array(a)
    if dtype_of(a).kind in "fc" and not np.all(np.isfinite(a)):
        np.asarray_chkfinite(np.nan)  # NumPy's own error
    return asarray(like, a, dtype, order)


@creates(np.require)
def require(like: Any, a: Any, dtype: Any = None, requirements: Any = None) -> Any:
    if requirements:
        raise errors.unsupported_keyword("numpy.require", f"requirements={requirements!r}")
    return asarray(like, a, dtype)


# --------------------------------------------------------------------------------------------------- grids and ranges


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """start + k·(stop − start)/(num − 1), in NumPy's own order of operations; the last is `stop` itself."""
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    start, stop = (x if dtype_of(x).kind in "fc" else x * 1.0 for x in map(as_array, (start, stop)))
    start, stop = np.broadcast_arrays(start, stop)
    delta = stop - start
    divisions = num - 1 if endpoint else num
    steps = np.arange(num).astype(dtype_of(delta)).reshape(-1, *(1,) * ndim_of(delta))
    step = delta / divisions if divisions > 0 else np.nan
    y = steps * (step if divisions > 0 else delta) + start
    if endpoint and num > 1:
        y = np.concatenate([y[:-1], np.expand_dims(stop, 0)])
    y = np.moveaxis(y, 0, axis) if axis else y
    if dtype is not None and np.dtype(dtype).kind in "iu":
        y = np.floor(y)
    y = y if dtype is None else y.astype(dtype, copy=False)
    return (y, step) if retstep else y


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    if ndim_of(as_array(base)):
        raise errors.unsupported_keyword("numpy.logspace", "an array as base")
    y = np.power(base, np.linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else y.astype(dtype, copy=False)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Of positive numbers, or of negative ones. The ends are `start` and `stop` themselves."""
    start, stop = np.broadcast_arrays(as_array(start) * 1.0, as_array(stop) * 1.0)
    product = uncovered(start * stop)
    if type(product) not in TRACED and np.any(np.equal(product, 0)):
        raise ValueError("Geometric sequence cannot include zero")
    if dtype_of(start).kind == "c" or (type(product) not in TRACED and np.any(product < 0)):
        raise errors.unsupported_keyword("numpy.geomspace", "complex numbers or ends of opposite sign")
    sign = np.sign(start)
    y = np.logspace(np.log10(start * sign), np.log10(stop * sign), num, endpoint)
    ends = [np.expand_dims(start * sign, 0), np.expand_dims(stop * sign, 0)]
    if num > 1:
        y = np.concatenate([ends[0], y[1:-1], ends[1]] if endpoint else [ends[0], y[1:]])
    elif num == 1:
        y = ends[0]
    y = y * sign
    y = np.moveaxis(y, 0, axis) if axis else y
    return y if dtype is None else y.astype(dtype, copy=False)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    n = len(xi)
    axes = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    shapes = [[-1 if k == axis else 1 for k in range(n)] for axis in axes]
    grids = [np.reshape(as_array(x), shape) for x, shape in zip(xi, shapes, strict=True)]
    if not sparse:
        grids = list(np.broadcast_arrays(*grids))
    return tuple(np.copy(grid) for grid in grids) if copy else grids


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    if ndim_of(x) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = shape_of(x)[0] if N is None else N
    columns = [np.ones_like(x), *[x] * (n - 1)][:n]
    powers = np.cumprod(np.stack(columns, 1), 1) if columns else np.zeros((shape_of(x)[0], 0), like=x)
    return powers if increasing else powers[:, ::-1]
