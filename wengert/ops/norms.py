"""Norms of vectors and matrices, and the rank.

Those that are sums, maxima or singular values need no rule of their own: `numpy/linalg.py` composes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape
from wengert.core import Primitive, aval_of, bind
from wengert.ops.contract import conj
from wengert.ops.kinds import Discrete, General
from wengert.ops.linalg import inexact
from wengert.ops.vector import looped, real_dtype, scale, trailing

Found = tuple[Shape, np.dtype[Any]]

# n = (Σ |x|²)^½:   ṅ = Re Σ conj(x) ẋ / n.   At 0, where n has a minimum and no derivative, it is 0.


def or_infinite(x: Any) -> Any:
    """`x`, and ∞ where it is 0: a divisor by which quotients, and all their derivatives, are 0 there."""
    return np.where(np.equal(x, 0), np.inf, x)


def _kept_shape(aval: Aval, axis: Any) -> Shape:
    axes = range(-aval.ndim, 0) if axis is None else axis
    return tuple(1 if k - aval.ndim in axes else n for k, n in enumerate(aval.shape))


def _norm_shape(x: Aval, *, axis: Any, keepdims: bool, **_: Any) -> Found:
    shape = _kept_shape(x, axis)
    if not keepdims:
        shape = tuple(n for k, n in enumerate(shape) if axis is not None and k - x.ndim not in axis)
    return shape, real_dtype(inexact(x))


def _norm_push(x_dot: Any, x: Any, out: Any, *, axis: Any, keepdims: bool) -> Any:
    direction = np.divide(x, or_infinite(np.reshape(out, _kept_shape(aval_of(x), axis))))
    return np.sum(np.real(scale(x_dot, conj(direction))), axis=axis, keepdims=keepdims)


def _norm_pull(ct: Any, into: Aval, x: Any, out: Any, *, axis: Any, keepdims: bool) -> Any:
    shape = _kept_shape(into, axis)
    return scale(np.reshape(ct, shape), conj(np.divide(x, or_infinite(np.reshape(out, shape)))))


def _norm_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    (x,) = args
    if params["axis"] is not None:
        return bind(primitive, x, **params)
    shape = aval_of(x).shape[1:]
    flat = np.reshape(x, (size, math.prod(shape)))
    n = bind(primitive, flat, axis=(-1,), keepdims=False)
    return np.reshape(n, (size, *(1,) * len(shape))) if params["keepdims"] else n


# Over all elements (axis None), vectors (one axis) or matrices (two). Its own pullback, for norms are in every training
# loop: 10 µs where staging takes 80.
norm = General(
    "norm",
    lambda x, *, axis, keepdims: np.linalg.norm(x, axis=axis, keepdims=keepdims),
    shape=_norm_shape,
    pushforward=(_norm_push,),
    pullback=(_norm_pull,),
    batch=_norm_batch,
    examples=[
        ((3,), {"axis": None, "keepdims": False}), ((2, 3, 2), {"axis": None, "keepdims": True}),
        ((2, 3), {"axis": (-1,), "keepdims": False}), ((2, 3, 4), {"axis": (-3, -1), "keepdims": True}),
        ((), {"axis": None, "keepdims": False}), ((0, 2), {"axis": (-2,), "keepdims": False}),
        ((1,), {"axis": (-1,), "keepdims": True}),
    ],
    tags="complex",
)  # fmt: skip


# n = (Σ x^p)^(1/p) for x = |…| ≥ 0:   ṅ = Σ (x/n)^(p−1) ẋ, in which nothing overflows.  0 where n = 0
def _power_norm_push(x_dot: Any, x: Any, out: Any, *, order: float, axis: Any, keepdims: bool) -> Any:
    n = np.reshape(out, _kept_shape(aval_of(x), axis))
    flat = np.equal(x * np.ones_like(n), 0) if order < 1 else np.equal(n, 0)  # |x|^p has a cusp, a minimum, at 0
    ratio = np.where(flat, 0.0, np.power(np.divide(x, or_infinite(n)), order - 1))
    return np.sum(scale(x_dot, ratio), axis=axis, keepdims=keepdims)


def _positive(*shape: int) -> Callable[..., Any]:
    def draw(rng: Any, dtype: Any) -> Any:
        return rng.uniform(0.5, 2, size=shape).astype(dtype)

    return draw


power_norm = General(
    "power_norm",
    lambda x, *, order, axis, keepdims: np.linalg.norm(x, order, axis, keepdims),
    shape=_norm_shape,
    pushforward=(_power_norm_push,),
    batch=trailing,
    examples=[(_positive(3), {"order": 3, "axis": (-1,), "keepdims": False}),
              (_positive(2, 3), {"order": 0.5, "axis": (-2,), "keepdims": True}),
              (_positive(2, 3), {"order": -1.5, "axis": (-1,), "keepdims": False})],
)  # fmt: skip


def _rank_shape(a: Aval, *, options: Any) -> Found:
    return a.shape[:-2], np.dtype(np.intp)


matrix_rank = Discrete(
    "matrix_rank",
    lambda a, *, options: np.linalg.matrix_rank(a, **dict(options)),
    shape=_rank_shape,
    batch=lambda primitive, size, args, mapped, params: (trailing if len(aval_of(args[0]).shape) > 2 else looped)(
        primitive, size, args, mapped, params
    ),
    examples=[((3, 2), {"options": ()}), ((2, 3, 3), {"options": ()}), ((3,), {"options": ()})],
)
