"""Reductions: many elements to one along some axes.

Each states one fact, ∂out/∂x_i, and the kind `Reduction` derives the rest. `axis` is a tuple of negative integers, so
that batch axes in front do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Aval, Shape
from wengert.core import OUT, Primitive, aval_of, bind, is_traced, register
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
    real_dtype,
    resolve_reads,
    scale,
    trailing,
)
from wengert.residuals import read

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
    if shape:
        y = np.reshape(y, _spread_shape(shape, axis, (1,) * len(axis)))
    return np.broadcast_to(y, _spread_shape(shape, axis, lengths))


# Copies of y along new axes: the transpose of a sum over them.
spread: Linear = Linear(
    "spread",
    _spread_value,
    shape=lambda y, *, axis, lengths: (_spread_shape(y.shape, axis, lengths), y.dtype),
    transpose=(lambda ct, into, *, axis, lengths: sum_(ct, axis=axis),),
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
    Pushforward: out_dot = Σ_i scale(x_dot_i, ∂out/∂x_i). Pullback: x_bar_i = scale(ct, ∂out/∂x_i).
    A masked element takes no part.
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
        shape = reduced_shape(avals[0].shape, params["axis"], params.get("keepdims", False))
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
                found.append(expand(known[-1], params["axis"], params.get("keepdims", False)))
            elif k == 1:
                found.append(self.mask(known))
            elif k == 0 and params.get("dtype") is not None:
                found.append(fit_dtype(known[0], aval_of(known[0])._replace(dtype=params["dtype"])))
            else:
                found.append(known[k] if k < len(known) - 1 else None)
        return rule(*found, aval=aval, **params)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        known, axis, keepdims = (*primals, out), params["axis"], params.get("keepdims", False)
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
                term = sum_(term, axis=axis)
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
        p, axis, keepdims = cache[key], params["axis"], params.get("keepdims", False)
        if p is None:
            return None
        if slot != 0:
            return fit(ct if type(p) is int else scale(expand(ct, axis, keepdims), p), into)
        where = self.mask(known)
        if type(p) is int and where is True and axis and not keepdims:
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


# ---------------------------------------------------------------------------------------------------------------- sums


def count(where: Any, aval: Aval, axis: Axes) -> Any:
    """How many elements are reduced to one: a Python float, or an array in the dtype of x, with kept axes."""
    if where is True:
        return float(math.prod(aval.shape[k] for k in axis))
    each = sum_(broadcast_to(where, shape=aval.shape), axis=axis, keepdims=True, dtype=None)
    return fit_dtype(each, Aval((), real_dtype(aval.dtype)))


def reciprocal(n: Any) -> Any:
    """1/n, a Python float where n is one; ∞ for 0."""
    return np.divide(1, n) if type(n) is not float else 1.0 / n if n else np.inf


def some_mask(rng: Any, dtype: Any) -> Any:
    return np.array([[True, False, True], [False, True, True]])


ALONG: Final[tuple[dict[str, Any], ...]] = ({"axis": (-1,)}, {"axis": (-2, -1), "keepdims": True})
STARTED: Final = ((2, 3), some_mask, (), ALONG[0])  # with a mask and an initial value
EMPTY: Final = ((2, 0), ALONG[0])


def examples_along(*more: Any, **params: Any) -> list[Any]:
    """The shapes that every reduction is tested on."""
    along, kept = ({**p, **params} for p in ALONG)
    return [((4,), along), ((3, 2), along), ((3, 2), kept), ((), {**along, "axis": ()}), *more]


def examples_masked(**params: Any) -> list[Any]:
    return [((2, 3), some_mask, {**p, **params}) for p in ALONG]


# Σ x_i
sum_: Reduction = Reduction(
    "sum", np.add.reduce, 1, 1, dtype=like_ufunc(np.add), tags="complex",
    examples=examples_along(EMPTY, STARTED) + examples_masked(),
)  # fmt: skip

# --------------------------------------------------------------------------------------------------------- products


def products_of_others(x: Any, axis: Axes) -> Any:
    """Π_{k≠i} x_k, without a division: the products before and after i, and those along the other axes."""
    total: Any = 1.0
    for a in axis:
        before = products_before(cumprod(x, axis=a), a)
        after = products_before(cumprod(x, axis=a, reverse=True), a, True)
        total = before * after if a == axis[0] else total * (before * after)
        x = prod(x, axis=(a,), keepdims=True)
    return total


def _prod_partial(x: Any, where: Any, initial: Any, *, axis: Axes, **_: Any) -> Any:
    if where is not True:
        x = masked(where, x) + np.logical_not(where)  # 1 in place of what does not count
    others = products_of_others(x, axis)
    return others if initial is None else others * initial


def _prod_partial_initial(x: Any, where: Any, *, axis: Axes, dtype: Any = None, **_: Any) -> Any:
    return prod(x, where, axis=axis, keepdims=True, dtype=dtype)


def _with_zeros(rng: Any, dtype: Any) -> Any:
    return np.array([[1.5, 0.0, -0.7], [0.0, 2.0, 0.0]]).astype(dtype)


ZEROS = [(_with_zeros, p) for p in ALONG]

# ∂/∂x_i Π x_k = Π_{k≠i} x_k
prod = Reduction(
    "prod", np.multiply.reduce, _prod_partial, _prod_partial_initial, dtype=like_ufunc(np.multiply), tags="complex",
    examples=examples_along(EMPTY, STARTED, *ZEROS) + examples_masked(),
)  # fmt: skip

# ----------------------------------------------------------------------------------------------------------- extremes


def tie_share(x: Any, where: Any, initial: Any, out: Any, axis: Axes) -> tuple[Any, Any]:
    """The derivative of an extreme in x and in the initial value: all that equal it share equally."""
    hit = np.equal(x, out)
    if where is not True:
        hit = np.logical_and(hit, where)
    ties = sum_(hit, axis=axis, keepdims=True)
    like = Aval((), real_dtype(aval_of(out).dtype))
    if initial is None:
        return fit_dtype(np.divide(hit, ties), like), None
    started = np.equal(initial, out)
    ties = ties + started
    return fit_dtype(np.divide(hit, ties), like), fit_dtype(np.divide(started, ties), like)


def _extreme_partial(x: Any, where: Any, initial: Any, out: Any, *, axis: Axes, **_: Any) -> Any:
    return tie_share(x, where, initial, out, axis)[0]


def _extreme_partial_initial(x: Any, where: Any, initial: Any, out: Any, *, axis: Axes, **_: Any) -> Any:
    return tie_share(x, where, initial, out, axis)[1]


def _extreme(name: str, ufunc: np.ufunc) -> Reduction:
    return Reduction(
        name, ufunc.reduce, _extreme_partial, _extreme_partial_initial, dtype=like_ufunc(ufunc), tags="complex kinks",
        examples=examples_along(STARTED),
    )  # fmt: skip


# ∂/∂x_i max x = [x_i = max x] / (number of ties)
max_ = _extreme("max", np.maximum)
min_ = _extreme("min", np.minimum)
fmax = _extreme("fmax_reduce", np.fmax)
fmin = _extreme("fmin_reduce", np.fmin)

# -------------------------------------------------------------------------------------- logarithmic sums, distances


def _log_sum(name: str, ufunc: np.ufunc, exponential: np.ufunc) -> Reduction:
    def softmax(x: Any, where: Any, initial: Any, out: Any, axis: Axes) -> tuple[Any, Any]:
        finite = np.isfinite(out)
        soft = exponential(x - out)
        started = None if initial is None else exponential(initial - out)
        if not is_traced(finite) and np.all(finite):
            return soft, started
        infinite = np.logical_not(finite)
        ties, tied = tie_share(x, where, initial, out, axis)
        soft = scale(finite, soft) + scale(infinite, ties)
        return soft, None if initial is None else scale(finite, started) + scale(infinite, tied)

    def in_x(x: Any, where: Any, initial: Any, out: Any, *, axis: Axes, **_: Any) -> Any:
        return softmax(x, where, initial, out, axis)[0]

    def in_initial(x: Any, where: Any, initial: Any, out: Any, *, axis: Axes, **_: Any) -> Any:
        return softmax(x, where, initial, out, axis)[1]

    return Reduction(
        name, ufunc.reduce, in_x, in_initial, dtype=like_ufunc(ufunc),
        examples=examples_along(EMPTY, STARTED) + examples_masked(),
    )  # fmt: skip


# ∂/∂x_i log Σ e^{x_k} = e^{x_i − out}, the softmax: never above 1. Where out is ±∞, those that equal it share.
# P. Blanchard, D. J. Higham, N. J. Higham. Accurately computing log-sum-exp, IMAJNA 41 (2021) 2311.
logaddexp = _log_sum("logaddexp_reduce", np.logaddexp, np.exp)
logaddexp2 = _log_sum("logaddexp2_reduce", np.logaddexp2, np.exp2)


def _distance_partial(x: Any, out: Any, **_: Any) -> Any:
    return scale(np.not_equal(out, 0), np.divide(x, out))


def _distance_partial_initial(initial: Any, out: Any, **_: Any) -> Any:
    return scale(np.not_equal(out, 0), np.divide(initial, out))


# ∂/∂x_i √(Σ x_k²) = x_i / out, and 0 at the origin
hypot = Reduction(
    "hypot_reduce", np.hypot.reduce, _distance_partial, _distance_partial_initial, dtype=like_ufunc(np.hypot),
    examples=examples_along(STARTED) + examples_masked(),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- any other ufunc


def _folded(x: Any, *, ufunc: np.ufunc, axis: Axes, dtype: Any = None, **_: Any) -> Any:
    (a,) = axis
    states = accumulate(x, ufunc=ufunc, axis=a, dtype=dtype)
    in_state, in_x = step_partials(x, states, ufunc, a)
    return in_x * products_before(cumprod(in_state, axis=a, reverse=True), a, True)


def _fold_value(x: Any, *, ufunc: np.ufunc, axis: Axes, **params: Any) -> Any:
    return ufunc.reduce(x, axis=axis, **params)


# out = f(… f(f(x_0, x_1), x_2) …), so ∂out/∂x_i = ∂₂f_i Π_{k>i} ∂₁f_k along the states in between
fold = Reduction(
    "reduce", _fold_value, _folded,
    dtype=lambda x, *, ufunc, **params: like_ufunc(ufunc)(x, **params),
    examples=[((4,), {"ufunc": np.subtract, "axis": (-1,)}), ((3, 2), {"ufunc": np.divide, "axis": (-2,)})],
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- without a derivative


def _positions_batch(
    primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    if params["axis"] is not None:
        return bind(primitive, *args, **params)
    _, *shape = aval_of(args[0]).shape
    out = bind(primitive, np.reshape(args[0], (size, math.prod(shape))), axis=-1)
    return np.reshape(out, (size, *(1,) * len(shape))) if params.get("keepdims") else out


def _discrete(name: str, function: Callable[..., Any], dtype: type, batch: Any) -> Discrete:
    def value(x: Any, where: Any = True, **params: Any) -> Any:
        return function(x, **params) if where is True else function(x, where=where, **params)

    def shape(x: Aval, *_: Aval, axis: Any, keepdims: bool = False, **__: Any) -> tuple[Shape, np.dtype[Any]]:
        axes = axis if type(axis) is tuple else tuple(range(-x.ndim, 0)) if axis is None else (axis,)
        return reduced_shape(x.shape, axes, keepdims), np.dtype(dtype)

    examples = [((3, 4), {"axis": (-1,) if batch is batch_masked else -1, "keepdims": k}) for k in (False, True)]
    return Discrete(name, value, shape=shape, batch=batch, examples=examples)


def _count_nonzero(x: Any, *, axis: Axes, keepdims: bool = False) -> Any:
    return np.count_nonzero(x, axis=None if len(axis) == np.ndim(x) else axis, keepdims=keepdims)


fold_discrete = Discrete(
    "reduce_discrete", _fold_value, batch=trailing, examples=[((4, 3), {**ALONG[0], "ufunc": np.logical_xor})],
    shape=lambda x, *, ufunc, axis, keepdims=False, dtype=None: (
        reduced_shape(x.shape, axis, keepdims), like_ufunc(ufunc)(x, dtype=dtype)
    ),
)  # fmt: skip
any_ = _discrete("any", np.any, np.bool_, batch_masked)
all_ = _discrete("all", np.all, np.bool_, batch_masked)
count_nonzero = _discrete("count_nonzero", _count_nonzero, np.intp, batch_masked)
argmax = _discrete("argmax", np.argmax, np.intp, _positions_batch)
argmin = _discrete("argmin", np.argmin, np.intp, _positions_batch)
nanargmax = _discrete("nanargmax", np.nanargmax, np.intp, _positions_batch)
nanargmin = _discrete("nanargmin", np.nanargmin, np.intp, _positions_batch)
