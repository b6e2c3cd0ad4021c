"""Reductions: accumulations over an index space, and statistics as several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Aval, Shape
from wengert.compile.machine import scalars
from wengert.compile.machine.scalars.rules import RULES as SCALAR
from wengert.compile.tensors.form import Expr, Loop, Update, View, apply, literal, substitute
from wengert.compile.tensors.lowering.context import Context, Operand, Unsupported, rule, scalars_cast
from wengert.compile.tensors.lowering.views import part
from wengert.core import REGISTRY, UFUNCS
from wengert.program import Equation, Literal

COMBINE: Final = {
    "sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum", "fmax_reduce": "fmax", "fmin_reduce": "fmin",
    "any": "logical_or", "all": "logical_and", "nansum": "add", "nanprod": "multiply", "nanmax": "fmax",
    "nanmin": "fmin",
}  # fmt: skip
BOOL: Final = np.dtype(np.bool_)
INT64: Final = np.dtype(np.int64)


PREDICATES: Final = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(k % ndim for k in (axis if isinstance(axis, tuple) else (axis,)))) if ndim else ()


def kept_dims(view: View, shape: Shape) -> View:
    """A reduced array with its axes of length 1 put back."""
    return View(view.buffer, shape, view.strides, view.offset) if view.shape == shape else _with_units(view, shape)


def _with_units(view: View, shape: Shape) -> View:
    strides = iter(s for n, s in zip(view.shape, view.strides, strict=True) if n != 1)
    return View(view.buffer, shape, tuple(0 if n == 1 else next(strides) for n in shape), view.offset)


def call(name: str, *args: Expr, **given: Any) -> Expr:
    """A primitive of scalars that has scalar code."""
    found = apply(REGISTRY[name], args, given)
    primitive, params, avals = found.data
    if not scalars.supported(primitive, params, avals, found.aval):
        raise Unsupported
    return found


def number(value: Any, dtype: np.dtype[Any]) -> Expr:
    return literal(dtype.type(value), Aval((), dtype))


def mask_of(context: Context, operands: Sequence[Operand], shape: Shape) -> Expr | None:
    """Where elements count: the second operand of a reduction; None for everywhere."""
    if len(operands) < 2 or (isinstance(operands[1], Literal) and operands[1].value is True):
        return None
    return scalars_cast(context.load(context.view(operands[1]).broadcast(shape)), BOOL)


def initial_of(context: Context, operands: Sequence[Operand], shape: Shape, dtype: np.dtype[Any]) -> Expr | None:
    """The third operand of a reduction."""
    if len(operands) < 3 or (isinstance(operands[2], Literal) and operands[2].value is None):
        return None
    return scalars_cast(context.read(operands[2], shape), dtype)


def both_hold(one: Expr | None, other: Expr | None) -> Expr | None:
    return other if one is None else one if other is None else call("logical_and", one, other)


def present(value: Expr) -> Expr | None:
    """Where a value is not NaN; None where it never is."""
    return call("logical_not", call("isnan", value)) if value.aval.dtype.kind in "fc" else None


def chosen(mask: Expr | None, value: Expr, otherwise: Any) -> Expr:
    """The value where the mask holds, else a number."""
    return value if mask is None else call("where", mask, value, number(otherwise, value.aval.dtype))


@rule(*COMBINE)
def _reduce(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval, name = context.view(operands[0]), eqn.outputs[0].aval, eqn.primitive.name
    how, dtype = COMBINE[name], aval.dtype
    if how.startswith("f") and dtype.kind in "biu":
        how = how.replace("f", "", 1) + "imum"  # as fmax and maximum: there are no NaNs
    axes = axes_of(eqn.params["axis"], len(x.shape))
    initial = initial_of(context, operands, _rest(x.shape, axes), dtype)
    if how in ("maximum", "minimum", "fmax", "fmin") and initial is None and any(x.shape[k] == 0 for k in axes):
        return None  # NumPy's own error
    value = context.load(x)
    if how.startswith("logical"):
        value = call("not_equal", value, number(0, x.buffer.dtype))
    value = scalars_cast(value, dtype)
    mask = mask_of(context, operands, x.shape)
    if name in ("nansum", "nanprod"):
        mask = both_hold(mask, present(value))
    if how in ("fmax", "fmin"):
        out = _without_nans(context, value, x.shape, axes, how, dtype, mask)
    else:
        neutral = scalars.identity(how, dtype)
        out = context.reduce(chosen(mask, value, neutral), x.shape, axes, how, dtype)
    if initial is not None:
        (out,) = context.map(out.shape, call(how, initial, context.load(out)))
    return kept_dims(out, aval.shape)


def _rest(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def _without_nans(
    context: Context, value: Expr, shape: Shape, axes: Sequence[int], how: str, dtype: np.dtype[Any], mask: Expr | None
) -> View:
    """The extreme of what is not NaN, and NaN where all are."""
    how = "maximum" if how == "fmax" else "minimum"
    here = both_hold(mask, present(value))
    out = context.reduce(chosen(here, value, scalars.identity(how, dtype)), shape, axes, how, dtype)
    assert here is not None
    some = context.reduce(here, shape, axes, "logical_or", BOOL)
    return context.map(out.shape, chosen(context.load(some), context.load(out), np.nan))[0]


# ------------------------------------------------------------------------------------------------ any other ufunc


def fold(context: Context, value: Expr, shape: Shape, axes: Sequence[int], how: str, start: Any) -> View:
    """Combine along `axes` one after the other, from the number `start`, or from the first element where it is None."""
    dtype = value.aval.dtype
    check_fold(how, dtype)
    kept = [k for k in range(len(shape)) if k not in axes]
    out = context.temp(tuple(shape[k] for k in kept), dtype)
    strides = dict(zip(kept, out.strides, strict=True))
    target = View(out.buffer, shape, tuple(strides.get(k, 0) for k in range(len(shape))))
    if start is not None:
        context.store(out, number(start, dtype))
    else:
        (axis,) = axes
        (first,) = substitute([value], lambda e: _cut(e, axis, 0, 1))
        context.store(part(target, axis, 0, 1), first)
        target = part(target, axis, 1, shape[axis] - 1)
        (value,) = substitute([value], lambda e: _cut(e, axis, 1, shape[axis] - 1))
    if 0 not in target.shape:
        context.add(Loop(target.shape, [Update(target, value, how)], ordered=True))
    return out


def _cut(e: Expr, axis: int, start: int, length: int) -> Expr | None:
    return Expr("load", e.aval, (), part(e.data, axis, start, length)) if e.op == "load" else None


def check_fold(name: str, dtype: np.dtype[Any]) -> None:
    """Raise unless the ufunc of this name takes two values of the dtype to one of it."""
    if (name, dtype.kind) not in SCALAR or name in PREDICATES or (name == "divide" and dtype.kind in "iub"):
        raise Unsupported


@rule("reduce", "reduce_discrete")
def _fold(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval, params = context.view(operands[0]), eqn.outputs[0].aval, eqn.params
    primitive = UFUNCS.get(params["ufunc"])
    axes = axes_of(params["axis"], len(x.shape))
    if primitive is None or len(operands) > 1 or set(params) - {"ufunc", "axis", "keepdims", "dtype"}:
        return None
    if len(axes) != 1 or 0 in x.shape:
        return None
    return kept_dims(
        fold(context, scalars_cast(context.load(x), aval.dtype), x.shape, axes, primitive.name, None), aval.shape
    )


@rule("hypot_reduce")
def _hypot(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval = context.view(operands[0]), eqn.outputs[0].aval
    axes = axes_of(eqn.params["axis"], len(x.shape))
    mask = mask_of(context, operands, x.shape)
    initial = initial_of(context, operands, _rest(x.shape, axes), aval.dtype)
    value = chosen(mask, scalars_cast(context.load(x), aval.dtype), 0)
    out = fold(context, value, x.shape, axes, "hypot", 0)
    if initial is not None:
        (out,) = context.map(out.shape, call("hypot", initial, context.load(out)))
    return kept_dims(out, aval.shape)


@rule("count_nonzero")
def _count(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval = context.view(operands[0]), eqn.outputs[0].aval
    zero = literal(x.buffer.dtype.type(0), Aval((), x.buffer.dtype))
    value = scalars_cast(call("not_equal", context.load(x), zero), aval.dtype)
    return kept_dims(
        context.reduce(value, x.shape, axes_of(eqn.params["axis"], len(x.shape)), "add", aval.dtype), aval.shape
    )


@rule("sum_to")
def _sum_to(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval = context.view(operands[0]), eqn.outputs[0].aval
    lead = len(x.shape) - len(aval.shape)
    axes = (*range(lead), *(lead + k for k, n in enumerate(aval.shape) if n == 1 and x.shape[lead + k] != 1))
    return kept_dims(context.reduce(context.load(x), x.shape, axes, "add", aval.dtype), aval.shape)


@rule("logaddexp_reduce", "logaddexp2_reduce")
def _log_sum(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """log Σ e^x = m + log Σ e^(x − m), m the largest; m itself where it is infinite (or NaN)."""
    x, aval = context.view(operands[0]), eqn.outputs[0].aval
    two = eqn.primitive.name == "logaddexp2_reduce"
    exp, log, ufunc = ("exp2", "log2", "logaddexp2") if two else ("exp", "log", "logaddexp")
    axes = axes_of(eqn.params["axis"], len(x.shape))
    mask = mask_of(context, operands, x.shape)
    initial = initial_of(context, operands, _rest(x.shape, axes), aval.dtype)
    value = chosen(mask, scalars_cast(context.load(x), aval.dtype), -np.inf)
    largest = context.reduce(value, x.shape, axes, "maximum", aval.dtype)
    m = context.load(kept_dims(largest, kept_shape(x.shape, axes)).broadcast(x.shape))
    total = context.reduce(call(exp, call("subtract", value, m)), x.shape, axes, "add", aval.dtype)
    top = context.load(largest)
    result = call("where", call("isfinite", top), call("add", top, call(log, context.load(total))), top)
    if initial is not None:
        result = call(ufunc, initial, result)
    return kept_dims(context.map(total.shape, result)[0], aval.shape)


def kept_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """Length 1 along reduced axes."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


@rule("argmax", "argmin", "nanargmax", "nanargmin")
def _position(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """The first place of the extreme: the least index among those that equal it, or of a NaN."""
    x, aval, params, name = context.view(operands[0]), eqn.outputs[0].aval, eqn.params, eqn.primitive.name
    dtype = x.buffer.dtype
    if 0 in aval.shape:
        return context.temp(aval.shape, aval.dtype)
    if len(operands) > 1 or dtype.kind == "c" or 0 in x.shape:
        return None
    if params["axis"] is None:
        x = context.reshape(x, (x.size,))
    axes = axes_of(params["axis"], len(x.shape))
    if not axes:
        return None
    (axis,) = axes
    how = "maximum" if name.endswith("max") else "minimum"
    if dtype.kind == "b":
        how = {"maximum": "logical_or", "minimum": "logical_and"}[how]
    value, here = context.load(x), None
    if name.startswith("nan"):
        here = present(value)
        value = chosen(here, value, scalars.identity(how, dtype))
    best = context.reduce(value, x.shape, axes, how, dtype)
    hit = call("equal", value, context.load(kept_dims(best, kept_shape(x.shape, axes)).broadcast(x.shape)))
    if dtype.kind == "f":
        hit = call("logical_or", hit, call("isnan", value))
    place = chosen(hit, Expr("index", Aval((), INT64), (), axis), x.shape[axis])
    out = context.reduce(place, x.shape, axes, "minimum", INT64)
    if here is not None:  # NumPy raises where all are NaN
        some = context.reduce(here, x.shape, axes, "logical_or", BOOL)
        (out,) = context.map(
            out.shape, call("add", context.load(out), required(context, context.load(some), out.shape))
        )
    return kept_dims(out, aval.shape)


def required(context: Context, condition: Expr, shape: Shape) -> Expr:
    """0, where the condition holds. Where it does not, the run is given up, and eager NumPy raises its own error."""
    base = context.constant(np.zeros(2, np.int64) + np.arange(2))  # of which the first is there
    view = View(base.buffer, shape, (0,) * len(shape))
    outside = scalars_cast(call("logical_not", condition), INT64)
    return Expr("gather", Aval((), INT64), (outside,), (view, (1,), (1,), True))


__all__ = ["axes_of", "call", "kept_dims"]
