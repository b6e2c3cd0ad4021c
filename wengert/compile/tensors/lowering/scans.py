"""Accumulations along an axis: an ordered loop in which each element is made from the one before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compile.tensors.form import Expr, Loop, Store, Update, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.indexing import INDEX
from wengert.compile.tensors.lowering.reductions import call, check_fold
from wengert.compile.tensors.lowering.views import part
from wengert.core import UFUNCS
from wengert.program import Equation

Step = Callable[..., Expr]


def running(
    context: Context, xs: Sequence[View], axis: int, reverse: bool, dtype: np.dtype[Any], start: Step, step: Step
) -> View:
    """y₀ = start(x₀, …) and yᵢ = step(yᵢ₋₁, xᵢ, …) along an axis, from its end where `reverse`."""
    out = context.temp(xs[0].shape, dtype)
    if 0 in out.shape:
        return out
    n = out.shape[axis]
    y, *xs = (_reversed(view, axis) if reverse else view for view in (out, *xs))
    context.store(part(y, axis, 0, 1), start(*(context.load(part(x, axis, 0, 1)) for x in xs)))
    if n > 1:
        target, before = part(y, axis, 1, n - 1), Expr("load", _scalar(dtype), (), part(y, axis, 0, n - 1))
        value = step(before, *(context.load(part(x, axis, 1, n - 1)) for x in xs))
        context.add(Loop(target.shape, [Store(target, value)], ordered=True))
    return out


def _scalar(dtype: np.dtype[Any]) -> Any:
    return INDEX._replace(dtype=dtype)


def _reversed(view: View, axis: int) -> View:
    axis %= len(view.shape)
    strides = tuple(-s if k == axis else s for k, s in enumerate(view.strides))
    return View(view.buffer, view.shape, strides, view.offset + (view.shape[axis] - 1) * view.strides[axis])


@rule("cumsum", "cumprod", "running_extreme", "accumulate", "accumulate_discrete")
def _accumulate(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params, dtype = eqn.params, eqn.outputs[0].aval.dtype
    name = {"cumsum": "add", "cumprod": "multiply"}.get(eqn.primitive.name)
    if name is None:
        primitive = UFUNCS.get(params["ufunc"])
        if primitive is None:
            return None
        name = primitive.name
    check_fold(name, dtype)

    def step(before: Expr, x: Expr) -> Expr:
        return call(name, before, scalars_cast(x, dtype))

    x = context.view(operands[0])
    return running(
        context, [x], params["axis"], params.get("reverse", False), dtype, lambda x: scalars_cast(x, dtype), step
    )


@rule("recurrence")
def _recurrence(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params, dtype = eqn.params, eqn.outputs[0].aval.dtype

    def step(before: Expr, a: Expr, b: Expr) -> Expr:
        return call("add", call("both", scalars_cast(a, dtype), before), scalars_cast(b, dtype))

    views = [context.view(x) for x in operands]
    return running(context, views, params["axis"], params["reverse"], dtype, lambda a, b: scalars_cast(b, dtype), step)


@rule("shift")
def _shift(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    axis, reverse, aval = eqn.params["axis"], eqn.params.get("reverse", False), eqn.outputs[0].aval
    x, out = context.view(operands[0]), context.temp(aval.shape, aval.dtype)
    if 0 in aval.shape:
        return out
    n = aval.shape[axis]
    context.fill(part(out, axis, n - 1 if reverse else 0, 1))
    context.copy(part(x, axis, 1 if reverse else 0, n - 1), part(out, axis, 0 if reverse else 1, n - 1))
    return out


# ------------------------------------------------------------------------------------------------ sums of segments


def _pairs(indices: Sequence[int], length: int) -> tuple[Any, Any]:
    """Which element of x goes with which sum of `add.reduceat`."""
    whole: list[int] = []
    sums: list[int] = []
    for k, (start, stop) in enumerate(zip(indices, (*indices[1:], length), strict=True)):
        places = range(start, max(stop, start + 1))
        whole.extend(places)
        sums.extend([k] * len(places))
    return np.array(whole, np.int64), np.array(sums, np.int64)


@rule("add_reduceat", "segments")
def _segments(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """Both add elements of x to elements of the result, by a table of pairs."""
    params, aval = eqn.params, eqn.outputs[0].aval
    x, out = context.view(operands[0]), context.temp(aval.shape, aval.dtype)
    if 0 in aval.shape or 0 in x.shape:
        return None
    axis = params["axis"] % len(aval.shape)
    spread = eqn.primitive.name == "segments"
    whole, sums = _pairs(params["indices"], params["length"] if spread else x.shape[axis])
    source, target = (sums, whole) if spread else (whole, sums)
    context.fill(out)

    def moved(view: View) -> tuple[View, int, int]:
        """A view with the table's axis, along which it does not move, in place of its own; its stride and length."""
        shape = (len(whole), *(n for k, n in enumerate(view.shape) if k != axis))
        strides = (0, *(s for k, s in enumerate(view.strides) if k != axis))
        return View(view.buffer, shape, strides, view.offset), view.strides[axis], view.shape[axis]

    def places(table: Any, shape: tuple[int, ...]) -> Expr:
        view = context.constant(table)
        return context.load(View(view.buffer, shape, (*view.strides, *(0,) * (len(shape) - 1))), INDEX)

    base, stride, length = moved(x)
    to, to_stride, to_length = moved(out)
    value = Expr("gather", _scalar(x.buffer.dtype), (places(source, base.shape),), (base, (stride,), (length,), False))
    indices = (places(target, to.shape),)
    effect = Update(to, scalars_cast(value, aval.dtype), "add", indices, (to_stride,), (to_length,))
    context.add(Loop(to.shape, [effect], ordered=True))
    return out


__all__ = ["running"]
