"""Statistics: mean, variance, standard deviation, quantiles, and what skips NaNs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.avals import FLOAT64, Aval
from wengert.core import aval_of
from wengert.ops.kinds import Discrete
from wengert.ops.reduce import (
    ALONG,
    Axes,
    Reduction,
    count,
    examples_along,
    examples_masked,
    max_,
    min_,
    prod,
    reciprocal,
    reduced_shape,
    sum_,
)
from wengert.ops.vector import real_dtype, scale, trailing


def like_mean(x: Aval, *, dtype: Any = None, **_: Any) -> np.dtype[Any]:
    return dtype if dtype is not None else FLOAT64 if x.dtype.kind in "iub" else x.dtype


def like_var(x: Aval, *, dtype: Any = None, **_: Any) -> np.dtype[Any]:
    return real_dtype(like_mean(x, dtype=dtype))


def _mean_partial(where: Any, *, aval: Aval, axis: Axes, **_: Any) -> Any:
    return reciprocal(count(where, aval, axis))


# (1/n) Σ x_i
mean = Reduction(
    "mean", np.mean, _mean_partial, dtype=like_mean, tags="complex", examples=examples_along() + examples_masked()
)

# --------------------------------------------------------------------------------------------------------- variances


def _around(function: Callable[..., Any]) -> Callable[..., Any]:
    """np.var and its kind; `centred` where x is what is left of it after its mean was subtracted."""

    def value(x: Any, *, centred: bool = False, **params: Any) -> Any:
        return function(x, mean=0.0, **params) if centred else function(x, **params)

    return value


def _deviations(x: Any, where: Any, centred: bool, axis: Axes) -> Any:
    d = x if centred else x - mean(x, where, axis=axis, keepdims=True)
    return np.conjugate(d) if aval_of(d).dtype.kind == "c" else d


def _freedom(where: Any, aval: Aval, axis: Axes, ddof: Any) -> Any:
    """1 / max(n − ddof, 0)."""
    n = count(where, aval, axis)
    return reciprocal(max(n - ddof, 0.0) if type(n) is float else np.maximum(n - ddof, 0))


def _var_partial(x: Any, where: Any, *, aval: Aval, axis: Axes, ddof: Any = 0, centred: bool = False, **_: Any) -> Any:
    return _deviations(x, where, centred, axis) * 2 * _freedom(where, aval, axis, ddof)


def _std_partial(
    x: Any, where: Any, out: Any, *, aval: Aval, axis: Axes, ddof: Any = 0, centred: bool = False, **_: Any
) -> Any:
    # Constant data may have a standard deviation of 1e-17 instead of 0, since their mean is rounded.
    varies = np.not_equal(out, 0)
    if not centred:
        top, bottom = (f(x, where, s, axis=axis, keepdims=True) for f, s in ((max_, -np.inf), (min_, np.inf)))
        varies = np.logical_and(varies, np.not_equal(top, bottom))
    d = _deviations(x, where, centred, axis)
    return scale(varies, np.divide(d, out) * _freedom(where, aval, axis, ddof))


VARIANCE = [
    *examples_along(((5,), {**ALONG[0], "ddof": 1}), ((3, 2), {**ALONG[1], "centred": True})),
    *examples_masked(ddof=0.5),
]

# v = Σ |x_i − x̄|² / N with N = n − ddof, so ∂v/∂x_i = 2 (x_i − x̄)* / N: what x̄ adds is Σ (x_i − x̄) = 0.
# s = √v, so ∂s/∂x_i = (x_i − x̄)* / (N s), and 0 where all x_i are equal.
var = Reduction("var", _around(np.var), _var_partial, dtype=like_var, tags="complex", examples=VARIANCE)
std = Reduction("std", _around(np.std), _std_partial, dtype=like_var, tags="complex", examples=VARIANCE)

# ---------------------------------------------------------------------------------- the same, without NaNs


def _skipping(name: str, function: Callable[..., Any], base: Reduction) -> Reduction:
    def with_nan(rng: Any, dtype: Any) -> Any:
        return np.array([[0.5, np.nan, -0.7], [0.3, 2.0, np.nan]]).astype(dtype)

    in_x, _, in_initial = base.partials
    return Reduction(
        name, function, in_x, in_initial, dtype=base.dtype, skips_nan=True, tags=" ".join(base.tags),
        examples=[((3, 2), p) for p in ALONG] + [(with_nan, p) for p in ALONG],
    )  # fmt: skip


nansum = _skipping("nansum", np.nansum, sum_)
nanprod = _skipping("nanprod", np.nanprod, prod)
nanmax = _skipping("nanmax", np.nanmax, max_)
nanmin = _skipping("nanmin", np.nanmin, min_)
nanmean = _skipping("nanmean", np.nanmean, mean)
nanvar = _skipping("nanvar", _around(np.nanvar), var)
nanstd = _skipping("nanstd", _around(np.nanstd), std)

# --------------------------------------------------------------------------------------------------- order statistics


def _quantile_weights(x: Any, *, axis: Axes, function: Any, params: tuple[tuple[str, Any], ...] = ()) -> Any:
    """∂out/∂x_i of a quantile: NumPy's own interpolation tells its coefficients on 0, 1, 2, …"""
    x = np.asarray(x)
    n = math.prod(x.shape[k] for k in axis)
    position = float(function(np.arange(float(n)), **dict(params)))
    low, high = int(np.floor(position)), int(np.ceil(position))
    last = np.moveaxis(x, axis, range(-len(axis), 0))
    ordered = np.sort(last.reshape(*last.shape[: last.ndim - len(axis)], n), axis=-1)
    weights: Any = 0.0
    for k, share in ((low, 1 - (position - low)), (high, position - low)):
        hit = np.equal(x, np.expand_dims(ordered[..., k], axis))
        weights = weights + share * np.divide(hit, hit.sum(axis=axis, keepdims=True))
    return weights.astype(x.dtype)


quantile_weights = Discrete(
    "quantile_weights", _quantile_weights, shape=lambda x, **_: (x.shape, x.dtype), batch=trailing, scalar=False,
    examples=[((5,), {"axis": (-1,), "function": np.median}), ((4, 3), {"axis": (-2,), "function": np.median})],
)  # fmt: skip


def _order_statistic(name: str, function: Callable[..., Any], **example: Any) -> Reduction:
    def partial(x: Any, *, aval: Aval, axis: Axes, keepdims: bool = False, **params: Any) -> Any:
        return quantile_weights(x, axis=axis, function=function, params=tuple(params.items()))

    def dtype_rule(x: Aval, *, axis: Axes, keepdims: bool = False, **params: Any) -> np.dtype[Any]:
        return np.asarray(function(np.ones(2, x.dtype), **params)).dtype

    def value(x: Any, *, axis: Axes, keepdims: bool = False, **params: Any) -> Any:
        shape = np.shape(x)
        if np.size(x) == 0 and all(shape[k] for k in axis):  # NumPy's does not know an empty batch
            return np.zeros(reduced_shape(shape, axis, keepdims), dtype_rule(aval_of(x), axis=axis, **params))
        return function(x, axis=axis, keepdims=keepdims, **params)

    return Reduction(name, value, partial, dtype=dtype_rule, examples=examples_along(**example), tags="kinks")


# Linear interpolation between order statistics, x_(k) (1 − g) + x_(k+1) g; equal elements share equally.
# R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages, Am. Stat. 50 (1996) 361.
median = _order_statistic("median", np.median)
quantile = _order_statistic("quantile", np.quantile, q=0.3)
percentile = _order_statistic("percentile", np.percentile, q=70.0, method="hazen")
