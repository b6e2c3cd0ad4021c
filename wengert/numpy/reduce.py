"""NumPy's reductions: sums, products, extremes, statistics, positions, and `ufunc.reduce`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.core import Primitive, bind, is_traced
from wengert.numpy.table import as_array, deliver, dtype_of, implements, ndim_of, negative_axes, negative_axis, shape_of
from wengert.numpy.ufuncs import METHODS
from wengert.ops import reduce, statistics
from wengert.ops.kinds import Discrete
from wengert.ops.scan import add_reduceat

NO: Final = np._NoValue  # what NumPy's own signatures say where nothing is given


def reduced_axes(axis: Any, ndim: int, function: Callable[..., Any]) -> tuple[int, ...]:
    """The axes to reduce, from NumPy's `axis` argument; errors are those of `function`."""
    if axis is None:
        return tuple(range(-ndim, 0))
    try:
        return negative_axes(axis, ndim)
    except (TypeError, ValueError):
        function(np.ones((1,) * ndim), axis=axis)
        return ()  # no error: many take axis=0 of a number


def one_axis(axis: Any, ndim: int, function: Callable[..., Any]) -> int | None:
    """One axis counted from the end, None for all; errors are those of `function`."""
    if axis is None:
        return None
    try:
        return negative_axis(operator.index(axis), ndim)
    except (TypeError, ValueError):
        function(np.ones((1,) * ndim), axis=axis)
        return None


def kept(keepdims: Any) -> dict[str, bool]:
    """The param for NumPy's `keepdims` argument."""
    return {"keepdims": True} if keepdims is not NO and keepdims else {}


def mask_of(where: Any, x: Any) -> Any:
    """NumPy's `where` argument: True, or an array. Lists and numbers are taken as truth, arrays as they are."""
    if where is NO or where is True:
        return True
    where = as_array(where) if type(where) is np.ndarray or core.contains_traced(where) else np.asarray(where, bool)
    if ndim_of(where) > ndim_of(x):  # NumPy's own error, before a batch axis could hide it
        np.add.reduce(np.ones((1,) * ndim_of(x)), axis=None, where=np.ones((1,) * ndim_of(where), bool))
    return where


def cut_down(x: Any, dtype: np.dtype[Any]) -> Any:
    """`x` as integers where they are what is added up: then it has no derivative."""
    return x.astype(dtype) if dtype.kind in "iub" and dtype_of(x).kind in "fc" else x


def working_dtype(x: Any, dtype: Any, out: Any) -> np.dtype[Any] | None:
    """In which dtype NumPy adds or multiplies, where it is not left to the dtype of x."""
    common: np.dtype[Any]
    if dtype is not None:
        common = np.dtype(dtype)
        return common
    if isinstance(out, tuple):
        (out,) = out
    if out is None:
        return None
    common = np.result_type(dtype_of(x), dtype_of(out))
    return common


def reduced(
    primitive: Any, a: Any, axis: Any, out: Any, keepdims: Any, where: Any = NO, initial: Any = NO, **params: Any
) -> Any:
    """Bind a reduction to arguments such as NumPy's functions take."""
    x = as_array(a)
    if params.get("dtype") is not None:
        x = cut_down(x, params["dtype"])
    params["axis"] = reduced_axes(axis, ndim_of(x), primitive.function)
    params |= kept(keepdims)
    where = mask_of(where, x)
    args = (x,) if where is True and initial is NO else (x, where)
    if initial is None:
        raise errors.unsupported_keyword(f"numpy.{primitive.name}", "initial=None")
    if initial is not NO:
        args = (*args, initial)
    return deliver(bind(primitive, *args, **params), out)


# ----------------------------------------------------------------------------------------------- sums and products


def _typed(primitive: Any, *functions: Any, method: str = "") -> None:
    def entry(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = NO,
        initial: Any = NO,
        where: Any = NO,
    ) -> Any:
        x = as_array(a)
        return reduced(primitive, x, axis, out, keepdims, where, initial, dtype=working_dtype(x, dtype, out))

    implements(*functions, method=method)(entry)


def _untyped(primitive: Any, *functions: Any, method: str = "") -> None:
    def entry(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO, initial: Any = NO, where: Any = NO) -> Any:
        return reduced(primitive, a, axis, out, keepdims, where, initial)

    implements(*functions, method=method)(entry)


_typed(reduce.sum_, np.sum, method="sum")
_typed(reduce.prod, np.prod, method="prod")
_typed(statistics.nansum, np.nansum)
_typed(statistics.nanprod, np.nanprod)
_untyped(reduce.max_, np.max, np.amax, method="max")
_untyped(reduce.min_, np.min, np.amin, method="min")
_untyped(statistics.nanmax, np.nanmax)
_untyped(statistics.nanmin, np.nanmin)


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO) -> Any:
    x = as_array(a)
    return deliver(np.subtract(np.max(x, axis, keepdims=keepdims), np.min(x, axis, keepdims=keepdims)), out)


# ---------------------------------------------------------------------------------------------------------- statistics


def _mean(primitive: Any, *functions: Any, method: str = "") -> None:
    def entry(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO, *, where: Any = NO
    ) -> Any:
        x = as_array(a)
        return reduced(primitive, x, axis, out, keepdims, where, dtype=working_dtype(x, dtype, out))

    implements(*functions, method=method)(entry)


def _variance(primitive: Any, *functions: Any, method: str = "") -> None:
    def entry(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        ddof: Any = 0,
        keepdims: Any = NO,
        *,
        where: Any = NO,
        mean: Any = NO,
        correction: Any = NO,
    ) -> Any:
        if correction is not NO:
            if ddof != 0:
                raise ValueError("ddof and correction can't be provided simultaneously.")
            ddof = correction
        x = as_array(a)
        params: dict[str, Any] = {"dtype": working_dtype(x, dtype, out)}
        if ddof != 0:
            params["ddof"] = ddof
        if mean is not NO:
            if dtype_of(x).kind in "iub" and dtype is None:
                params["dtype"] = np.dtype(np.float64)
            x = np.subtract(x, mean)
            params["centred"] = True
        return reduced(primitive, x, axis, out, keepdims, where, **params)

    implements(*functions, method=method)(entry)


_mean(statistics.mean, np.mean, method="mean")
_mean(statistics.nanmean, np.nanmean)
_variance(statistics.var, np.var, method="var")
_variance(statistics.std, np.std, method="std")
_variance(statistics.nanvar, np.nanvar)
_variance(statistics.nanstd, np.nanstd)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = NO) -> Any:
    """Σ w x / Σ w."""
    x = as_array(a)
    shape = shape_of(x)
    axes = None if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, len(shape), argname="axis")
    if weights is None:
        mean = np.mean(x, axes, keepdims=keepdims)
        total = dtype_of(mean).type(np.prod(shape) / np.prod(shape_of(mean)))
    else:
        w = _weights_along(as_array(weights), shape, axes)
        floor = [np.float64] if dtype_of(x).kind in "iub" else []
        dtype = np.result_type(dtype_of(x), dtype_of(w), *floor)
        total = np.sum(w, axes, dtype=dtype, keepdims=keepdims)
        none = np.any(np.equal(total, 0))
        if not is_traced(none) and none:
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        weighted = np.multiply(x.astype(dtype), w.astype(dtype))
        mean = np.divide(np.sum(weighted, axes, keepdims=keepdims), total)
    return (mean, np.copy(np.broadcast_to(total, shape_of(mean)))) if returned else mean


def _weights_along(w: Any, shape: tuple[int, ...], axes: Any) -> Any:
    """Weights of the shape of the averaged axes, in their order, as broadcast along the others."""
    if shape_of(w) == shape:
        return w
    if axes is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    if shape_of(w) != tuple(shape[k] for k in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    w = np.transpose(w, tuple(np.argsort(axes)))
    return np.reshape(w, tuple(n if k in axes else 1 for k, n in enumerate(shape)))


@implements(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    return reduced(statistics.median, a, axis, out, keepdims)


def _quantile(primitive: Any, function: Any) -> None:
    def entry(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: bool = False,
        *,
        weights: Any = None,
    ) -> Any:
        name = f"numpy.{function.__name__}"
        if weights is not None:
            raise errors.unsupported_keyword(name, "weights=")
        if core.contains_traced(q):
            raise errors.unsupported(f"{name} with a traced q")
        x = as_array(a)
        if type(q) in (int, float) or np.ndim(q) == 0:
            q = q if type(q) in (int, float) else np.asarray(q)[()]
            return reduced(primitive, x, axis, out, keepdims, q=q, method=method)
        q = np.asarray(q)
        rows = [reduced(primitive, x, axis, None, keepdims, q=one, method=method) for one in q.flat]
        return deliver(np.reshape(np.stack(rows), (*q.shape, *shape_of(rows[0]))), out)

    implements(function)(entry)


_quantile(statistics.quantile, np.quantile)
_quantile(statistics.percentile, np.percentile)

# ---------------------------------------------------------------------------------------------- without a derivative


def deliver_discrete(result: Any, out: Any) -> Any:
    """`deliver`, where a plain `out` may take a result that is plain under Dual and Variable."""
    if type(out) is np.ndarray and not is_traced(result):
        np.copyto(out, result, casting="unsafe")
        return out
    return deliver(result, out)


def _judged(primitive: Any, function: Any, name: str) -> None:
    def entry(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO, *, where: Any = NO) -> Any:
        x = as_array(a)
        where = mask_of(where, x)
        axes = reduced_axes(axis, ndim_of(x), function)
        args = (x,) if where is True else (x, where)
        return deliver_discrete(bind(primitive, *args, axis=axes, **kept(keepdims)), out)

    implements(function, method=name)(entry)


def _position(primitive: Any, function: Any, method: str = "") -> None:
    def entry(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO) -> Any:
        x = as_array(a)
        axis = one_axis(axis, ndim_of(x), function)
        return deliver_discrete(bind(primitive, x, axis=axis, **kept(keepdims)), out)

    implements(function, method=method)(entry)


_judged(reduce.any_, np.any, "any")
_judged(reduce.all_, np.all, "all")
_position(reduce.argmax, np.argmax, "argmax")
_position(reduce.argmin, np.argmin, "argmin")
_position(reduce.nanargmax, np.nanargmax)
_position(reduce.nanargmin, np.nanargmin)


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    x = as_array(a)
    axes = reduced_axes(axis, ndim_of(x), np.count_nonzero)
    return bind(reduce.count_nonzero, x, axis=axes, **kept(keepdims))


# -------------------------------------------------------------------------------------------------- ufunc.reduce

REDUCTIONS: Final[dict[np.ufunc, Primitive]] = {
    np.add: reduce.sum_,
    np.multiply: reduce.prod,
    np.maximum: reduce.max_,
    np.minimum: reduce.min_,
    np.fmax: reduce.fmax,
    np.fmin: reduce.fmin,
    np.logaddexp: reduce.logaddexp,
    np.logaddexp2: reduce.logaddexp2,
    np.hypot: reduce.hypot,
}

# Taken step by step. Not power and arctan2: NumPy 2.4's own reduce of a contiguous axis is wrong for them (it folds the
# first and the last element) on processors where these ufuncs are vectorised.
FOLDABLE: Final = (
    np.subtract, np.divide, np.float_power, np.fmod, np.remainder, np.logaddexp, np.logaddexp2, np.hypot,
)  # fmt: skip


def check_foldable(ufunc: np.ufunc, method: str) -> bool:
    """Whether a fold of this ufunc has derivatives; raises where it has no rule."""
    if ufunc in FOLDABLE:
        return True
    if ufunc.nin != 2 or ufunc.nout != 1 or not isinstance(core.UFUNCS.get(ufunc), Discrete):
        raise errors.unsupported(f"numpy.{ufunc.__name__}.{method}")
    return False


def ufunc_reduce(
    ufunc: np.ufunc,
    a: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = NO,
    where: Any = True,
) -> Any:
    """`ufunc.reduce`, in terms of the reduction of that name, or step by step for any other ufunc."""
    x = as_array(a)
    dtype = working_dtype(x, dtype, out)
    if initial is None and ufunc.identity is None:
        initial = NO
    primitive = REDUCTIONS.get(ufunc)
    if primitive is not None:
        return reduced(primitive, x, axis, out, keepdims, where, initial, dtype=dtype)
    differentiable = check_foldable(ufunc, "reduce")
    if initial is not NO or (where is not True and ufunc not in (np.logical_and, np.logical_or)):
        raise errors.unsupported_keyword(f"numpy.{ufunc.__name__}.reduce", "initial= or where=")
    axes = reduced_axes(axis, ndim_of(x), ufunc.reduce)
    if len(axes) != 1 and differentiable:
        ufunc.reduce(np.ones((1,) * ndim_of(x)), axis=axes)  # NumPy's own error for what depends on the order
        return deliver(np.positive(x), out)
    if ufunc in (np.logical_and, np.logical_or):
        judge = np.all if ufunc is np.logical_and else np.any
        return judge(x, axes, out, keepdims, where=where)
    fold = reduce.fold if differentiable else reduce.fold_discrete
    result = bind(fold, x, ufunc=ufunc, axis=axes, dtype=dtype, **kept(keepdims))
    return deliver(result, out) if differentiable else deliver_discrete(result, out)


def ufunc_reduceat(ufunc: np.ufunc, a: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """`ufunc.reduceat`: one reduction for each slice between consecutive indices."""
    x = as_array(a)
    k = one_axis(axis, ndim_of(x), lambda ones, axis: ufunc.reduceat(ones, [0], axis=axis))
    if k is None:
        return ufunc.reduceat(np.float64(1), indices, axis=axis)  # NumPy's own error
    length = shape_of(x)[k]
    starts = np.asarray(indices)
    ufunc.reduceat(np.ones(length, dtype_of(x)), starts)  # NumPy's own errors
    if ufunc is np.add:
        dtype = working_dtype(x, dtype, out)
        return deliver(bind(add_reduceat, x, indices=tuple(starts.tolist()), axis=k, dtype=dtype), out)
    pieces = []
    for start, stop in zip(starts.tolist(), [*starts.tolist()[1:], length], strict=True):
        piece = np.swapaxes(np.swapaxes(x, 0, k)[start : max(stop, start + 1)], 0, k)
        pieces.append(ufunc_reduce(ufunc, piece, k, dtype, None, True))
    return deliver(np.concatenate(pieces, axis=k), out)


METHODS["reduce"] = ufunc_reduce
METHODS["reduceat"] = ufunc_reduceat
