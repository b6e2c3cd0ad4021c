"""NumPy's accumulations and differences along an axis."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wengert.core import bind
from wengert.numpy.reduce import NO, check_foldable, cut_down, deliver_discrete, one_axis, working_dtype
from wengert.numpy.table import as_array, deliver, dtype_of, implements, ndim_of, negative_axis, shape_of
from wengert.numpy.ufuncs import METHODS
from wengert.ops import scan

EXTREMES: Final = (np.maximum, np.minimum, np.fmax, np.fmin)


def ufunc_accumulate(ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """`ufunc.accumulate`: a running sum, product, extreme, or any other ufunc step by step."""
    x = as_array(a)
    k = one_axis(axis, ndim_of(x), ufunc.accumulate)
    if k is None:
        ufunc.accumulate(np.ones((1,) * ndim_of(x)), axis=axis)  # NumPy's own error; axis=None is right for one axis
        k = -1
    dtype = working_dtype(x, dtype, out)
    x = x if dtype is None else cut_down(x, dtype)
    if ufunc is np.add:
        return deliver(bind(scan.cumsum, x, axis=k, dtype=dtype), out)
    if ufunc is np.multiply:
        return deliver(bind(scan.cumprod, x, axis=k, dtype=dtype), out)
    if ufunc in EXTREMES:
        return deliver(bind(scan.running_extreme, x, ufunc=ufunc, axis=k, dtype=dtype), out)
    if check_foldable(ufunc, "accumulate"):
        return deliver(bind(scan.accumulate, x, ufunc=ufunc, axis=k, dtype=dtype), out)
    return deliver_discrete(bind(scan.accumulate_discrete, x, ufunc=ufunc, axis=k, dtype=dtype), out)


METHODS["accumulate"] = ufunc_accumulate


def _running(ufunc: np.ufunc, function: Any, x: Any, axis: Any, dtype: Any, out: Any) -> Any:
    """Over the flattened array where no axis is given."""
    k = one_axis(axis, ndim_of(x), function)
    return ufunc_accumulate(ufunc, np.reshape(x, -1) if k is None else x, -1 if k is None else k, dtype, out)


@implements(np.cumsum, method="cumsum")
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _running(np.add, np.cumsum, as_array(a), axis, dtype, out)


@implements(np.cumprod, method="cumprod")
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _running(np.multiply, np.cumprod, as_array(a), axis, dtype, out)


@implements(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    x = as_array(a)
    return _running(np.add, np.nancumsum, np.where(np.isnan(x), dtype_of(x).type(0), x), axis, dtype, out)


@implements(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    x = as_array(a)
    return _running(np.multiply, np.nancumprod, np.where(np.isnan(x), dtype_of(x).type(1), x), axis, dtype, out)


def _cumulative(ufunc: np.ufunc, x: Any, axis: Any, dtype: Any, out: Any, include_initial: bool) -> Any:
    x = as_array(x)
    x = np.reshape(x, 1) if ndim_of(x) == 0 else x
    if axis is None:
        if ndim_of(x) >= 2:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    result = ufunc_accumulate(ufunc, x, axis, dtype, None if include_initial else out)
    if not include_initial:
        return result
    k = negative_axis(axis, ndim_of(x))
    shape = [1 if j - ndim_of(x) == k else n for j, n in enumerate(shape_of(x))]
    return deliver(np.concatenate([np.full(shape, ufunc.identity, dtype_of(result)), result], axis=k), out)


@implements(np.cumulative_sum)
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Any:
    return _cumulative(np.add, x, axis, dtype, out, include_initial)


@implements(np.cumulative_prod)
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Any:
    return _cumulative(np.multiply, x, axis, dtype, out, include_initial)


# ------------------------------------------------------------------------------------------------------- differences


def along(axis: int, positions: Any) -> tuple[Any, ...]:
    """The index that takes `positions` of an axis counted from the end."""
    return (..., positions, *(slice(None),) * (-1 - axis))


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: Any = -1, prepend: Any = NO, append: Any = NO) -> Any:
    if n == 0:
        return a
    if n < 0:
        raise ValueError("order must be non-negative but got " + repr(n))
    x = as_array(a)
    shape = shape_of(x)
    if not shape:
        raise ValueError("diff requires input that is at least one dimensional")
    k = negative_axis(axis, len(shape))
    ends = []
    for end in (prepend, append):
        end = None if end is NO else as_array(end)
        if end is not None and ndim_of(end) == 0:
            end = np.broadcast_to(end, tuple(1 if j - len(shape) == k else m for j, m in enumerate(shape)))
        ends.append(end)
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    if len(parts) > 1:
        x = np.concatenate(parts, axis=k)
    subtract = np.not_equal if dtype_of(x).kind == "b" else np.subtract
    for _ in range(n):
        x = subtract(x[along(k, slice(1, None))], x[along(k, slice(None, -1))])
    return x


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """Σ (x_{i+1} − x_i) (y_i + y_{i+1}) / 2."""
    y = as_array(y)
    k = negative_axis(axis, ndim_of(y))
    steps = dx
    if x is not None:
        x = as_array(x)
        steps = diff(x) if ndim_of(x) == 1 else diff(x, axis=axis)
        if ndim_of(x) == 1:
            steps = np.reshape(steps, (-1, *(1,) * (-1 - k)))
    pairs = steps * (y[along(k, slice(1, None))] + y[along(k, slice(None, -1))])
    return np.sum(np.divide(pairs, 2.0), axis=k)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Second-order differences inside, one-sided ones at both ends."""
    f = as_array(f)
    shape = shape_of(f)
    axes = tuple(range(len(shape))) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, len(shape))
    spacings = _spacings(varargs, [shape[k] for k in axes])
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    if dtype_of(f).kind in "iub":
        f = f.astype(np.float64)
    found = [_gradient_along(f, k - len(shape), h, edge_order) for k, h in zip(axes, spacings, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _spacings(given: tuple[Any, ...], lengths: list[int]) -> list[Any]:
    """Per axis, a scalar or the array of differences between the coordinates."""
    if not given:
        return [1.0] * len(lengths)
    if len(given) == 1 and ndim_of(as_array(given[0])) == 0:
        return [given[0]] * len(lengths)
    if len(given) != len(lengths):
        raise TypeError("invalid number of arguments")
    spacings: list[Any] = []
    for one, length in zip(given, lengths, strict=True):
        x = as_array(one)
        if ndim_of(x) == 0:
            spacings.append(one)
            continue
        if ndim_of(x) != 1:
            raise ValueError("distances must be either scalars or 1d")
        if shape_of(x)[0] != length:
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        steps = diff(x.astype(np.float64) if dtype_of(x).kind in "iu" else x)
        # NumPy takes the formulas of one spacing where all are equal; traced ones keep a derivative in each coordinate.
        spacings.append(steps[0] if type(steps) is np.ndarray and (steps == steps[0]).all() else steps)
    return spacings


def _gradient_along(f: Any, k: int, h: Any, edge_order: int) -> Any:
    if shape_of(f)[k] < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, "
            "at least (edge_order + 1) elements are required."
        )

    def at(start: int, stop: int | None) -> Any:
        return f[along(k, slice(start, stop))]

    def column(c: Any) -> Any:
        return np.reshape(c, (-1, *(1,) * (-1 - k)))

    uniform = ndim_of(as_array(h)) == 0
    if uniform:
        inner = (at(2, None) - at(0, -2)) / (2.0 * h)
    else:
        a, b = h[:-1], h[1:]
        inner = (
            column(-b / (a * (a + b))) * at(0, -2)
            + column((b - a) / (a * b)) * at(1, -1)
            + column(a / (b * (a + b))) * at(2, None)
        )
    if edge_order == 1:
        left = (at(1, 2) - at(0, 1)) / (h if uniform else h[0])
        right = (at(-1, None) - at(-2, -1)) / (h if uniform else h[-1])
        return np.concatenate([left, inner, right], axis=k).astype(dtype_of(f))
    if uniform:
        first = -1.5 / h, 2.0 / h, -0.5 / h
        last = 0.5 / h, -2.0 / h, 1.5 / h
    else:
        a, b = h[0], h[1]
        first = -(2.0 * a + b) / (a * (a + b)), (a + b) / (a * b), -a / (b * (a + b))
        a, b = h[-2], h[-1]
        last = b / (a * (a + b)), -(b + a) / (a * b), (2.0 * b + a) / (b * (a + b))
    left = first[0] * at(0, 1) + first[1] * at(1, 2) + first[2] * at(2, 3)
    right = last[0] * at(-3, -2) + last[1] * at(-2, -1) + last[2] * at(-1, None)
    return np.concatenate([left, inner, right], axis=k).astype(dtype_of(f))
