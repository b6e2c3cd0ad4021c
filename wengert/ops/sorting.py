"""Sorting, searching, and interpolation, which searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape
from wengert.core import Primitive, aval_of, bind
from wengert.ops import gathering
from wengert.ops.gathering import SLOT, along, scatter_at
from wengert.ops.kinds import Discrete, General
from wengert.ops.vector import looped, scale, trailing

Layout = tuple[Shape, np.dtype[Any]]
INTP = np.dtype(np.intp)


def _order_shape(x: Aval, **_: Any) -> Layout:
    return x.shape, INTP


argsort = Discrete(
    "argsort",
    lambda x, *, axis, kind: np.argsort(x, axis, kind),
    shape=_order_shape,
    batch=trailing,
    scalar=False,
    examples=[((3, 4), {"axis": -2, "kind": None}), ((0,), {"axis": -1, "kind": "stable"})],
    tags="complex",
)
argpartition = Discrete(
    "argpartition",
    lambda x, *, kth, axis: np.argpartition(x, kth, axis),
    shape=_order_shape,
    batch=trailing,
    scalar=False,
    examples=[((3, 4), {"kth": 1, "axis": -1})],
    tags="complex",
)


def _stable_order(x: Any, axis: int) -> Any:
    return argsort(x, axis=axis, kind="stable")


def _undone(order: Any, axis: int) -> Any:
    """The permutation that undoes another."""
    return argsort(order, axis=axis, kind="stable")


# out = x[π(x)] with π locally constant, so out_dot = x_dot[π] and x_bar = ct[π⁻¹]; equal elements keep their order.
# (The pullback is written out because the transpose of a gather adds element by element, which a permutation need not.)
sort = General(
    "sort",
    lambda x, *, axis, kind: np.sort(x, axis, kind),
    shape=lambda x, *, axis, kind: (x.shape, x.dtype),
    pushforward=(lambda x_dot, x, *, axis, kind: along(x_dot, _stable_order(x, axis), axis=axis),),
    pullback=(lambda ct, into, x, *, axis, kind: along(ct, _undone(_stable_order(x, axis), axis), axis=axis),),
    batch=trailing,
    scalar=False,
    examples=[((3, 4), {"axis": -2, "kind": None}), ((1,), {"axis": -1, "kind": "stable"})],
    tags="complex kinks",
)


def _arrangement(x: Any, out: Any, axis: int) -> Any:
    """Where each element of a rearrangement of x came from: the k-th smallest of the one is the k-th of the other."""
    return along(_stable_order(x, axis), _undone(_stable_order(out, axis), axis), axis=axis)


# As sort, with π read off the result: what NumPy leaves unsorted is its own affair.
partition = General(
    "partition",
    lambda x, *, kth, axis: np.partition(x, kth, axis),
    shape=lambda x, *, kth, axis: (x.shape, x.dtype),
    pushforward=(lambda x_dot, x, out, *, kth, axis: along(x_dot, _arrangement(x, out, axis), axis=axis),),
    pullback=(lambda ct, into, x, out, *, kth, axis: along(ct, _undone(_arrangement(x, out, axis), axis), axis=axis),),
    batch=trailing,
    scalar=False,
    examples=[((3, 4), {"kth": 1, "axis": -2})],
    tags="complex kinks",
)

# ------------------------------------------------------------------------------------------------------- searching


def _second_batched(
    primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    """For operations that look up each element of their last argument in the others: one by one where those differ."""
    return looped(primitive, size, args, mapped, params) if any(mapped[:-1]) else bind(primitive, *args, **params)


def _increasing(rng: Any, dtype: Any) -> Any:
    return np.array([-1.0, 0.1, 0.4, 2.0], dtype)


searchsorted = Discrete(
    "searchsorted",
    lambda a, v, *, side: np.searchsorted(a, v, side),
    shape=lambda a, v, *, side: (v.shape, INTP),
    batch=_second_batched,
    examples=[(_increasing, (3, 2), {"side": "left"}), (_increasing, (), {"side": "right"})],
)
digitize = Discrete(
    "digitize",
    lambda bins, x, *, right: np.digitize(x, bins, right),
    shape=lambda bins, x, *, right: (x.shape, INTP),
    batch=_second_batched,
    examples=[(_increasing, (3, 2), {"right": False})],
)


def _take_positions_value(i: Any, *, length: int, axis: int, mode: Any) -> Any:
    numbers = np.arange(length).reshape(*(1,) * axis, length)
    return np.take(numbers, i, axis, mode=mode).reshape(np.shape(i))[()]


# The places that np.take and np.put mean by `i` in their modes; NumPy's own errors
take_positions = Discrete(
    "take_positions",
    _take_positions_value,
    shape=lambda i, *, length, axis, mode: (i.shape, INTP),
    batch=trailing,
    examples=[(lambda rng, dtype: np.array([-3, 7, 1]), {"length": 3, "axis": 1, "mode": "wrap"})],
    tags="integer",
)
# The same for np.choose
choose_positions = Discrete(
    "choose_positions",
    lambda i, *, count, mode: np.choose(i, [np.intp(k) for k in range(count)], mode=mode),
    shape=lambda i, *, count, mode: (i.shape, INTP),
    batch=trailing,
    scalar=False,
    examples=[(lambda rng, dtype: np.array([-3, 7, 1]), {"count": 3, "mode": "clip"})],
    tags="integer",
)

# --------------------------------------------------------------------------------------------------- interpolation


def _segments(x: Any, xp: Any) -> Any:
    """The number of the segment that each x lies in: at a knot, of the one to its right."""
    return np.clip(searchsorted(xp, x, side="right") - 1, 0, aval_of(xp).shape[0] - 2)


def _slopes(x: Any, xp: Any, fp: Any) -> Any:
    """The slope at each x, 0 outside."""
    rises = np.divide(fp[1:] - fp[:-1], xp[1:] - xp[:-1])
    outside = np.logical_or(np.less(x, xp[0]), np.greater(x, xp[-1]))
    return np.where(outside, 0.0, gathering.read(rises, (_segments(x, xp),)))


def _push_x(x_dot: Any, x: Any, xp: Any, fp: Any) -> Any:
    return scale(x_dot, _slopes(x, xp, fp)) if aval_of(xp).shape[0] > 1 else None


def _push_fp(fp_dot: Any, x: Any, xp: Any) -> Any:
    return interp(x, xp, fp_dot)


def _push_xp(xp_dot: Any, x: Any, xp: Any, fp: Any) -> Any:
    return scale(np.negative(interp(x, xp, xp_dot)), _slopes(x, xp, fp)) if aval_of(xp).shape[0] > 1 else None


def _pull_fp(ct: Any, into: Aval, x: Any, xp: Any) -> Any:
    """Each x shares its cotangent between the knots beside it (a derived rule would ask for this one)."""
    ct, x = np.reshape(ct, (-1,)), np.reshape(x, (-1,))
    if into.shape == (1,):
        return np.sum(ct, keepdims=True)
    left = _segments(x, xp)
    below, above = gathering.read(xp, (left,)), gathering.read(xp, (left + 1,))
    share = np.clip(np.divide(x - below, above - below), 0.0, 1.0)
    right_bar = scale(ct, share)
    places = np.expand_dims(np.concatenate([left, left + 1]), 0)
    return scatter_at(np.concatenate([ct - right_bar, right_bar]), places, index=(SLOT,), shape=into.shape)


def _interp_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    return looped(primitive, size, args, mapped, params) if any(mapped[1:]) else bind(primitive, *args, **params)


# Piecewise linear: f = fp_j + s_j (x − xp_j), s_j = (fp_{j+1} − fp_j)/(xp_{j+1} − xp_j). Linear in fp; moving the knots
# by xp_dot moves the graph sideways by their interpolation: ḟ = s_j (ẋ − interp(x, xp, ẋp)).
interp = General(
    "interp",
    lambda x, xp, fp: np.interp(x, xp, fp),
    shape=lambda x, xp, fp: (x.shape, np.result_type(fp.dtype, np.float64)),
    pushforward=(_push_x, _push_xp, _push_fp),
    pullback=(None, None, _pull_fp),
    batch=_interp_batch,
    examples=[((3, 2), _increasing, (4,)), ((), _increasing, (4,))],
    tags="float64",
)
