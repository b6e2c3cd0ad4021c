"""Accumulations along an axis: running sums, products, extremes, and any other ufunc's.

All but the sum rest on one linear recurrence, y_i = a_i y_{i−1} + b_i, whose derivatives are recurrences again. So
zeros do no harm at any order: nothing is ever divided by a factor. `reverse` runs from the last element to the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import core
from wengert.avals import Aval
from wengert.core import aval_of
from wengert.ops.kinds import Discrete, Elementwise, General
from wengert.ops.vector import Linear, both, broadcast_to, fit, fit_dtype, real_dtype, scale, trailing


def _along(axis: int, positions: slice) -> tuple[Any, ...]:
    """The index that takes `positions` of an axis counted from the end."""
    return (..., positions, *(slice(None),) * (-1 - axis))


def _accumulated(ufunc: np.ufunc, x: Any, axis: int, reverse: bool, dtype: Any) -> Any:
    if not reverse:
        return ufunc.accumulate(x, axis=axis, dtype=dtype)
    backwards = _along(axis, slice(None, None, -1))
    return ufunc.accumulate(x[backwards], axis=axis, dtype=dtype)[backwards]


def accumulated_dtype(ufunc: np.ufunc, x: Aval, dtype: Any) -> np.dtype[Any]:
    """The dtype that NumPy gives to an accumulation: its own answer for one element."""
    return ufunc.accumulate(np.ones(1, x.dtype), dtype=dtype).dtype


# ----------------------------------------------------------------------------------------------- sums and shifts

# y_i = Σ_{j≤i} x_j; x̄_j = Σ_{i≥j} ȳ_i
cumsum: Linear = Linear(
    "cumsum",
    lambda x, *, axis, reverse=False, dtype=None: _accumulated(np.add, x, axis, reverse, dtype),
    shape=lambda x, *, axis, reverse=False, dtype=None: (x.shape, accumulated_dtype(np.add, x, dtype)),
    transpose=(lambda ct, into, *, axis, reverse=False, dtype=None: cumsum(ct, axis=axis, reverse=not reverse),),
    batch=trailing,
    examples=[
        ((4,), {"axis": -1}),
        ((3, 2), {"axis": -2, "reverse": True}),
        ((2, 0), {"axis": -1}),
        ((2, 3), {"axis": -1, "dtype": np.dtype(np.complex128)}),
    ],
    tags="complex",
)


def _shift_value(x: Any, *, axis: int, reverse: bool = False) -> Any:
    y = np.zeros_like(x)
    ahead, behind = _along(axis, slice(1, None)), _along(axis, slice(None, -1))
    if reverse:
        ahead, behind = behind, ahead
    y[ahead] = x[behind]
    return y


# y_i = x_{i−1}, and y_0 = 0
shift: Linear = Linear(
    "shift",
    _shift_value,
    shape=lambda x, *, axis, reverse=False: (x.shape, x.dtype),
    transpose=(lambda ct, into, *, axis, reverse=False: shift(ct, axis=axis, reverse=not reverse),),
    batch=trailing,
    examples=[((4,), {"axis": -1}), ((3, 2), {"axis": -2, "reverse": True}), *(((n,), {"axis": -1}) for n in (0, 1))],
    tags="complex",
)


def first(aval: Aval, axis: int, reverse: bool = False) -> Any:
    """1 where the accumulation of an array of this aval starts, 0 elsewhere."""
    length = aval.shape[axis]
    ones = np.zeros((length, *(1,) * (-1 - axis)), real_dtype(aval.dtype))
    if length:
        ones[-1 if reverse else 0] = 1
    return ones


def _segments_value(y: Any, *, indices: tuple[int, ...], axis: int, length: int) -> Any:
    shape = list(np.shape(y))
    shape[axis] = length
    x = np.zeros(shape, y.dtype)
    for i, (start, stop) in enumerate(zip(indices, (*indices[1:], length), strict=True)):
        x[_along(axis, slice(start, max(stop, start + 1)))] += y[_along(axis, slice(i, i + 1))]
    return x


def _resized(x: Aval, axis: int, length: int) -> tuple[int, ...]:
    shape = list(x.shape)
    shape[axis] = length
    return tuple(shape)


SEGMENTS = {"axis": -2, "indices": (0, 3, 1, 4)}

# y_k = Σ_{i_k ≤ j < i_{k+1}} x_j, and x at i_k alone where that is empty; x̄_j = Σ of the ȳ_k that read it
add_reduceat: Linear = Linear(
    "add_reduceat",
    lambda x, *, indices, axis, dtype=None: np.add.reduceat(x, indices, axis=axis, dtype=dtype),
    shape=lambda x, *, indices, axis, dtype=None: (
        _resized(x, axis, len(indices)),
        accumulated_dtype(np.add, x, dtype),
    ),
    transpose=(
        lambda ct, into, *, indices, axis, dtype=None: segments(
            ct, indices=indices, axis=axis, length=into.shape[axis]
        ),
    ),
    batch=trailing,
    examples=[((5, 2), SEGMENTS)],
    tags="complex",
)
segments: Linear = Linear(
    "segments",
    _segments_value,
    shape=lambda y, *, indices, axis, length: (_resized(y, axis, length), y.dtype),
    transpose=(lambda ct, into, *, indices, axis, length: add_reduceat(ct, indices=indices, axis=axis),),
    batch=trailing,
    examples=[((4, 2), {**SEGMENTS, "length": 5})],
    tags="complex",
)


# --------------------------------------------------------------------------------------------- linear recurrences


def _solve(a: Any, b: Any) -> Any:
    """y_i = a_i y_{i−1} + b_i along the first axis: two steps are one step, so solve for every second y first."""
    n = len(b)
    if n < 2:
        return b
    times = both.value  # neither 0 · ∞ nor the unused a_0 may spoil a 0
    odd = _solve(times(a[1::2], a[: n - 1 : 2]), times(a[1::2], b[: n - 1 : 2]) + b[1::2])
    y = np.empty_like(b)
    y[0] = b[0]
    y[1::2] = odd
    y[2::2] = times(a[2::2], odd[: (n - 1) // 2]) + b[2::2]
    return y


def _recurrence_value(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    dtype = np.result_type(a, b)
    a, b = (np.moveaxis(np.asarray(z, dtype), axis, 0)[:: -1 if reverse else 1] for z in (a, b))
    return np.moveaxis(_solve(a, b)[:: -1 if reverse else 1], 0, axis).copy()


def _recurrence_in_a(a_dot: Any, a: Any, out: Any, *, axis: int, reverse: bool) -> Any:
    return recurrence(a, both(a_dot, shift(out, axis=axis, reverse=reverse)), axis=axis, reverse=reverse)


def _recurrence_transposed(ct: Any, into: Aval, a: Any, *, axis: int, reverse: bool) -> Any:
    return recurrence(shift(a, axis=axis, reverse=not reverse), ct, axis=axis, reverse=not reverse)


# y_i = a_i y_{i−1} + b_i with y_{−1} = 0, for a and b of one shape.
#   tangents  ẏ_i = a_i ẏ_{i−1} + (ȧ_i y_{i−1} + ḃ_i);  cotangent  b̄_i = ȳ_i + a_{i+1} b̄_{i+1}
# An associative scan: G. E. Blelloch, Prefix sums and their applications, CMU-CS-90-190 (1990), §1.4.
recurrence: General = General(
    "recurrence",
    _recurrence_value,
    shape=lambda a, b, **_: (b.shape, np.result_type(a.dtype, b.dtype)),
    pushforward=(
        _recurrence_in_a,
        lambda b_dot, a, *, axis, reverse: recurrence(a, b_dot, axis=axis, reverse=reverse),
    ),
    pullback=(None, _recurrence_transposed),  # stated, since without it b's rule would be derived from itself
    batch=trailing,
    examples=[
        ((5,), (5,), {"axis": -1, "reverse": False}),
        ((4, 2), (4, 2), {"axis": -2, "reverse": True}),
        ((1,), (1,), {"axis": -1, "reverse": False}),
        ((2, 0), (2, 0), {"axis": -1, "reverse": False}),
    ],
    tags="complex",
)


def recur(a: Any, b: Any, axis: int, reverse: bool = False) -> Any:
    """`recurrence`, with `a` broadcast to the shape of `b`."""
    return recurrence(broadcast_to(a, shape=aval_of(b).shape), b, axis=axis, reverse=reverse)


# ------------------------------------------------------------------------------------------------------- products


def products_before(out: Any, axis: int, reverse: bool = False) -> Any:
    """Π_{j<i} x_j, from the running products of x."""
    return shift(out, axis=axis, reverse=reverse) + first(aval_of(out), axis, reverse)


def _cumprod_push(x_dot: Any, x: Any, out: Any, *, axis: int, reverse: bool = False, dtype: Any = None) -> Any:
    x = fit_dtype(x, aval_of(out))
    return recur(x, scale(x_dot, products_before(out, axis, reverse)), axis, reverse)


def _cumprod_pull(ct: Any, into: Aval, x: Any, out: Any, *, axis: int, reverse: bool = False, dtype: Any = None) -> Any:
    x = fit_dtype(x, aval_of(out))
    bar = _recurrence_transposed(ct, into, x, axis=axis, reverse=reverse)
    return both(bar, products_before(out, axis, reverse))


# p_i = Π_{j≤i} x_j = x_i p_{i−1}, so ṗ_i = x_i ṗ_{i−1} + ẋ_i p_{i−1}: right where factors are 0
cumprod = General(
    "cumprod",
    lambda x, *, axis, reverse=False, dtype=None: _accumulated(np.multiply, x, axis, reverse, dtype),
    shape=lambda x, *, axis, reverse=False, dtype=None: (x.shape, accumulated_dtype(np.multiply, x, dtype)),
    pushforward=(_cumprod_push,),
    pullback=(_cumprod_pull,),  # a quarter of the time of the derived one on small arrays
    batch=trailing,
    examples=[
        ((4,), {"axis": -1}),
        ((3, 2), {"axis": -2, "reverse": True}),
        ((2, 0), {"axis": -1}),
        (lambda rng, dtype: np.array([1.5, 0.0, -0.7, 0.0, 2.0]).astype(dtype), {"axis": -1}),
    ],
    tags="complex",
)

# ------------------------------------------------------------------------------------------- extremes and the rest


def _running_share(x_dot: Any, x: Any, out: Any, *, ufunc: np.ufunc, axis: int, dtype: Any = None) -> Any:
    like = Aval(aval_of(out).shape, real_dtype(aval_of(out).dtype))
    hit = fit_dtype(np.equal(fit_dtype(x, aval_of(out)), out), like)
    kept = fit_dtype(np.equal(out, shift(out, axis=axis)), like)
    share = np.divide(hit, np.maximum(recur(kept, hit, axis), 1))
    return recur(1 - share, scale(share, x_dot), axis)


# m_i = max(m_{i−1}, x_i). Ties share equally: where x_i is the k-th element equal to m_i,
#   ṁ_i = (1 − 1/k) ṁ_{i−1} + (1/k) ẋ_i;  ṁ_i = ṁ_{i−1} where x_i loses. k itself is a recurrence.
running_extreme = General(
    "running_extreme",
    lambda x, *, ufunc, axis, dtype=None: ufunc.accumulate(x, axis=axis, dtype=dtype),
    shape=lambda x, *, ufunc, axis, dtype=None: (x.shape, accumulated_dtype(ufunc, x, dtype)),
    pushforward=(_running_share,),
    batch=trailing,
    examples=[((5,), {"ufunc": np.maximum, "axis": -1}), ((4, 3), {"ufunc": np.fmin, "axis": -2})],
    tags="complex kinks",
)


def step_partials(x: Any, states: Any, ufunc: np.ufunc, axis: int) -> tuple[Any, Any]:
    """∂s_i/∂s_{i−1} (of no meaning in front) and ∂s_i/∂x_i of s_i = ufunc(s_{i−1}, x_i), s_0 = x_0."""
    primitive: Any = core.UFUNCS[ufunc]
    assert isinstance(primitive, Elementwise)
    aval = aval_of(states)
    known = (shift(states, axis=axis), x, states)
    start = first(aval, axis)
    partials = []
    for slot, rule in enumerate(primitive.partials):
        p = primitive.partial(slot, known) if callable(rule) else rule or 0
        partials.append(fit(scale(1 - start, p), aval) + (start if slot else 0.0))
    return partials[0], partials[1]


def _accumulate_push(x_dot: Any, x: Any, out: Any, *, ufunc: np.ufunc, axis: int, dtype: Any = None) -> Any:
    in_state, in_x = step_partials(fit_dtype(x, aval_of(out)), out, ufunc, axis)
    return recur(in_state, scale(x_dot, in_x), axis)


# s_i = f(s_{i−1}, x_i), so ṡ_i = (∂f/∂s) ṡ_{i−1} + (∂f/∂x) ẋ_i, with the partials of f's own block
accumulate = General(
    "accumulate",
    lambda x, *, ufunc, axis, dtype=None: ufunc.accumulate(x, axis=axis, dtype=dtype),
    shape=lambda x, *, ufunc, axis, dtype=None: (x.shape, accumulated_dtype(ufunc, x, dtype)),
    pushforward=(_accumulate_push,),
    batch=trailing,
    examples=[
        ((5,), {"ufunc": np.logaddexp, "axis": -1}),
        ((4, 3), {"ufunc": np.subtract, "axis": -2}),
        ((3, 4), {"ufunc": np.hypot, "axis": -1}),
        ((0,), {"ufunc": np.logaddexp, "axis": -1}),
    ],
)

# For logical, bitwise and other ufuncs without a derivative.
accumulate_discrete = Discrete(
    "accumulate_discrete",
    lambda x, *, ufunc, axis, dtype=None: ufunc.accumulate(x, axis=axis, dtype=dtype),
    shape=lambda x, *, ufunc, axis, dtype=None: (x.shape, accumulated_dtype(ufunc, x, dtype)),
    batch=trailing,
    examples=[((4, 3), {"ufunc": np.logical_or, "axis": -2})],
)

__all__ = [
    "accumulate", "accumulate_discrete", "accumulated_dtype", "add_reduceat", "cumprod", "cumsum", "first",
    "products_before", "recur", "recurrence", "running_extreme", "segments", "shift", "step_partials",
]  # fmt: skip
