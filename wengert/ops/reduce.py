"""Reductions: many elements to one along some axes.

Each states one fact, ∂out/∂x_i, and the kind `Reduction` derives the rest. `axis` is a tuple of negative integers, so
that batch axes in front do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.avals import FLOAT64, Aval, Shape
from wengert.core import OUT, Primitive, aval_of, bind, is_traced, register
from wengert.graph import read
from wengert.ops.kinds import Discrete
from wengert.ops.scan import accumulate, cumprod, products_before, step_partials
from wengert.ops.vector import (
    Linear,
    RulesByName,
    align,
    broadcast_to,
    fit,
    fit_dtype,
    looped,
    positional,
    real_dtype,
    resolve_reads,
    scale,
    trailing,
)

Axes = tuple[int, ...]
Partial = Callable[..., Any] | int | None


def reduced_shape(shape: Shape, axis: Axes, keepdims: bool) -> Shape:
    ndim = len(shape)
    if keepdims:
        return tuple(1 if k - ndim in axis else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k - ndim not in axis)


def _spread_shape(shape: Shape, axis: Axes, lengths: Sequence[int]) -> Shape:
    rest, inserted, ndim = iter(shape), dict(zip(axis, lengths, strict=True)), len(shape) + len(axis)
    return tuple(inserted[k] if k in inserted else next(rest) for k in range(-ndim, 0))


def _spread_value(y: Any, *, axis: Axes, lengths: Sequence[int]) -> Any:
    shape = np.shape(y)
    y = np.reshape(y, _spread_shape(shape, axis, (1,) * len(axis)))
    return y if max(lengths, default=1) == 1 == min(lengths, default=1) else np.broadcast_to(y, _spread_shape(shape, axis, lengths))


# Copies of y along new axes: the transpose of a sum over them.
spread = Linear(
    "spread",
    _spread_value,
    shape=lambda y, *, axis, lengths: (_spread_shape(y.shape, axis, lengths), y.dtype),
    transpose=(lambda ct, into, *, axis, lengths: sum_(ct, axis=axis, keepdims=False),),
    batch=trailing,
    scalar=False,
    examples=[
        ((3,), {"axis": (-2,), "lengths": (4,)}),
        ((), {"axis": (-2, -1), "lengths": (2, 3)}),
        ((2, 3), {"axis": (-3, -1), "lengths": (1, 1)}),
    ],
    tags="complex",
)


def expand(y: Any, axis: Axes, keepdims: bool = False) -> Any:
    """`y` with axes of length 1 where a reduction dropped them."""
    return y if keepdims or not axis else spread(y, axis=axis, lengths=(1,) * len(axis))


def masked(where: Any, x: Any) -> Any:
    """`x`, and 0 where the mask is False, whatever `x` holds there."""
    return x if where is True else scale(where, x)


class Reduction(RulesByName):
    """A primitive that reduces axes, over the elements where a mask holds, perhaps from an initial value.

    function  NumPy's own: (x, *, axis, keepdims, …)
    partials  for x, and for the initial value: ∂out/∂x_i as a function of what it reads — x, where, initial, and `out`
              with its reduced axes at length 1 — of the params, and of `aval`, that of x; or an integer
    dtype     (aval of x, **params) → dtype of the result
    skips_nan whether NaNs count as masked

    Called with x, or x and a mask, or x, a mask (True for none) and an initial value.
    Pushforward: out_dot = Σ_i scale(x_dot_i, ∂out/∂x_i). Pullback: x_bar_i = scale(ct, ∂out/∂x_i). Nothing where masked.
    """

    slots = ("x", "where", "initial")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *partials: Partial,
        dtype: Callable[..., np.dtype[Any]],
        skips_nan: bool = False,
        examples: Sequence[Any] = (),
        tags: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self.function = function
        in_x, in_initial = (*partials, None)[:2]
        self.partials = (in_x, None, in_initial)
        self.reads = tuple(resolve_reads(p, 0, self.slots, name) if callable(p) else () for p in self.partials)
        self.dtype = dtype
        self.skips_nan = skips_nan
        self.examples = tuple(examples)
        self.tags = frozenset(tags.split())
        register(self)

    def value(self, x: Any, where: Any = True, initial: Any = None, **params: Any) -> Any:
        if where is not True:
            params["where"] = where
        if initial is not None:
            params["initial"] = initial
        return self.function(x, **params)

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Aval:
        shape = reduced_shape(avals[0].shape, params["axis"], params["keepdims"])
        return Aval(shape, self.dtype(avals[0], **params), False, not shape)

    def reads_of(self, slot: int, arity: int) -> tuple[int, ...]:
        mask = {1} | ({0} if self.skips_nan else set())
        return tuple(k for k in mask.union(self.reads[slot]) if k < arity)

    def mask(self, known: Sequence[Any]) -> Any:
        """Where elements count: True, or an array."""
        where = known[1] if len(known) > 2 else True
        if not self.skips_nan:
            return where
        present = np.logical_not(np.isnan(known[0]))
        return present if where is True else np.logical_and(where, present)

    def partial(self, slot: int, known: Sequence[Any], aval: Aval, params: dict[str, Any]) -> Any:
        """∂out/∂slot from the list of arguments and result, with reduced axes at length 1 (or as long as x's)."""
        rule = self.partials[slot]
        if not callable(rule):
            return rule
        found = []
        for k in self.reads[slot]:
            if k == OUT:
                found.append(expand(known[-1], params["axis"], params["keepdims"]))
            elif k == 1:
                found.append(self.mask(known))
            elif k == 0 and params.get("dtype") is not None:
                found.append(fit_dtype(known[0], aval_of(known[0])._replace(dtype=params["dtype"])))
            else:
                found.append(known[k] if k < len(known) - 1 else None)
        return rule(*found, aval=aval, **params)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        known, axis, keepdims = (*primals, out), params["axis"], params["keepdims"]
        total = None
        for slot, x_dot in enumerate(tangents):
            p = None if x_dot is None else self.partial(slot, known, aval_of(primals[0]), params)
            if p is None:
                continue
            term = x_dot if type(p) is int else scale(x_dot, p)
            if slot == 0:
                dtype = params.get("dtype") if type(p) is int else None
                term = sum_(masked(self.mask(known), term), axis=axis, keepdims=keepdims, dtype=dtype)
            elif type(p) is not int and not keepdims:
                term = sum_(term, axis=axis, keepdims=False)
            total = term if total is None else total + term
        return None if total is None else fit(total, aval_of(out))

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        return self.pullback_cached(slot, ct, saved, into, params, {}, None)

    def pullback_cached(
        self, slot: int, ct: Any, saved: Any, into: Aval | None, params: Any, cache: Any, key: Any
    ) -> Any:
        known = [read(x) for x in saved]
        into = aval_of(ct) if into is None else into
        if key not in cache:
            cache[key] = self.partial(slot, known, into, params)
        p, axis, keepdims = cache[key], params["axis"], params["keepdims"]
        if p is None:
            return None
        if slot != 0:
            return fit(ct if type(p) is int else scale(expand(ct, axis, keepdims), p), into)
        where = self.mask(known)
        if type(p) is int and where is True and not keepdims:
            return fit_dtype(spread(ct, axis=axis, lengths=tuple(into.shape[k] for k in axis)), into)
        bar = expand(ct, axis, keepdims)
        bar = masked(where, bar if type(p) is int else scale(bar, p))
        return fit_dtype(broadcast_to(bar, shape=into.shape), into)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        return batch_masked(self, size, args, mapped, params)


def batch_masked(
    primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    """For x, a mask that broadcasts to x, and an initial value, which NumPy takes only as a scalar."""
    if len(args) > 2 and mapped[2]:
        return looped(primitive, size, args, mapped, params)
    aligned = align(args[:2], mapped[:2])
    if not mapped[0]:
        aligned[0] = broadcast_to(aligned[0], shape=(size, *aval_of(aligned[0]).shape))
    return bind(primitive, *aligned, *args[2:], **params)


# ------------------------------------------------------------------------------------------------- dtypes of results


def like_ufunc(ufunc: np.ufunc) -> Callable[..., np.dtype[Any]]:
    """The dtype rule of a ufunc's reduction: NumPy's own answer for one element."""

    def dtype_rule(x: Aval, *, dtype: Any = None, **_: Any) -> np.dtype[Any]:
        return ufunc.reduce(np.ones(1, x.dtype), dtype=dtype).dtype  # type: ignore[no-any-return]

    return dtype_rule


def like_mean(x: Aval, *, dtype: Any = None, **_: Any) -> np.dtype[Any]:
    return dtype if dtype is not None else FLOAT64 if x.dtype.kind in "iub" else x.dtype


def like_var(x: Aval, *, dtype: Any = None, **_: Any) -> np.dtype[Any]:
    return real_dtype(like_mean(x, dtype=dtype))


# ----------------------------------------------------------------------------------------------------- sum and mean


def count(where: Any, aval: Aval, axis: Axes) -> Any:
    """How many elements are reduced to one: a Python float, or an array in the dtype of x, with kept axes."""
    if where is True:
        return float(np.prod([aval.shape[k] for k in axis]))
    each = sum_(broadcast_to(where, shape=aval.shape), axis=axis, keepdims=True, dtype=None)
    return fit_dtype(each, Aval((), real_dtype(aval.dtype)))


def reciprocal(n: Any) -> Any:
    """1/n, a Python float where n is one; ∞ for 0."""
    return np.divide(1, n) if type(n) is not float else 1.0 / n if n else np.inf


def _mean_partial(where: Any, *, aval: Aval, axis: Axes, **_: Any) -> Any:
    return reciprocal(count(where, aval, axis))


ALONG = ({"axis": (-1,), "keepdims": False}, {"axis": (-2, -1), "keepdims": True})


def _examples(*more: Any, **params: Any) -> list[Any]:
    """The shapes that every reduction is tested on."""
    along, kept = ({**p, **params} for p in ALONG)
    return [((4,), along), ((3, 2), along), ((3, 2), kept), ((), {**along, "axis": ()}), *more]


def _some(rng: Any, dtype: Any) -> Any:
    return np.array([[True, False, True], [False, True, True]])


def _masks(**params: Any) -> list[Any]:
    return [((2, 3), _some, {**p, **params}) for p in ALONG]


EMPTY = ((2, 0), {**ALONG[0], "dtype": None})

# Σ x_i
sum_ = Reduction(
    "sum", np.add.reduce, 1, 1, dtype=like_ufunc(np.add), tags="complex",
    examples=_examples(EMPTY, ((2, 3), _some, (), {**ALONG[0], "dtype": None}), dtype=None) + _masks(dtype=None),
)  # fmt: skip
mean = Reduction(
    "mean", np.mean, _mean_partial, dtype=like_mean, tags="complex", examples=_examples(dtype=None) + _masks(dtype=None)
)
