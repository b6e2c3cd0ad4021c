"""Statistics and norms: several reductions, and what is computed of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compile.tensors.form import Expr, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.reductions import (
    INT64,
    axes_of,
    both_hold,
    call,
    chosen,
    kept_dims,
    kept_shape,
    mask_of,
    number,
    present,
)
from wengert.program import Equation


class _Sample:
    """What a statistic is taken of: elements along some axes, of which a mask may say that they count."""

    def __init__(self, context: Context, x: View, axes: Sequence[int], mask: Expr | None) -> None:
        self.context = context
        self.x = x
        self.axes = axes
        self.mask = mask
        self.whole = kept_shape(x.shape, axes)
        n = 1
        for k in axes:
            n *= x.shape[k]
        self.n = n
        self.counts: View | None = None
        if mask is not None:
            self.counts = context.reduce(scalars_cast(mask, INT64), x.shape, axes, "add", INT64)

    def total(self, value: Expr) -> View:
        dtype = value.aval.dtype
        return self.context.reduce(chosen(self.mask, value, 0), self.x.shape, self.axes, "add", dtype)

    def count(self, dtype: np.dtype[Any]) -> Expr:
        """How many elements there are, at an index of the result."""
        return number(self.n, dtype) if self.counts is None else scalars_cast(self.context.load(self.counts), dtype)

    def mean(self, value: Expr) -> View:
        total = self.total(value)
        quotient = call("divide", self.context.load(total), self.count(value.aval.dtype))
        return self.context.map(total.shape, quotient)[0]

    def spread(self, view: View) -> Expr:
        """A statistic at an index of the elements."""
        return self.context.load(kept_dims(view, self.whole).broadcast(self.x.shape))


def _sample(context: Context, eqn: Equation, operands: Sequence[Operand]) -> tuple[_Sample, np.dtype[Any]] | None:
    """The sample, and the dtype in which its mean is taken."""
    x, params = context.view(operands[0]), eqn.params
    given, asked = x.buffer.dtype, params.get("dtype")
    dtype = asked or (given if given.kind in "fc" else np.dtype(np.float64))
    known = {"axis", "keepdims", "dtype", "ddof", "centred"}
    if len(operands) > 2 or dtype.kind not in "fc" or (given.kind == "c") != (dtype.kind == "c") or set(params) - known:
        return None
    mask = mask_of(context, operands, x.shape)
    if eqn.primitive.name.startswith("nan"):
        mask = both_hold(mask, present(context.load(x)))
    return _Sample(context, x, axes_of(params["axis"], len(x.shape)), mask), dtype


@rule("mean", "nanmean")
def _mean(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    found = _sample(context, eqn, operands)
    if found is None:
        return None
    sample, dtype = found
    return kept_dims(sample.mean(scalars_cast(context.load(sample.x), dtype)), eqn.outputs[0].aval.shape)


@rule("var", "std", "nanvar", "nanstd")
def _variance(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    found = _sample(context, eqn, operands)
    if found is None:
        return None
    (sample, dtype), params, aval = found, eqn.params, eqn.outputs[0].aval
    value = scalars_cast(context.load(sample.x), dtype)
    centred = value if params.get("centred") else call("subtract", value, sample.spread(sample.mean(value)))
    squares = sample.total(size_squared(centred))
    left = call("subtract", sample.count(aval.dtype), number(params.get("ddof", 0), aval.dtype))
    if eqn.primitive.name.startswith("nan") and sample.x.buffer.dtype.kind in "fc":
        left = chosen(call("greater", left, number(0, aval.dtype)), left, np.nan)
    left = call("maximum", left, number(0, aval.dtype))
    result = call("divide", context.load(squares), left)
    if eqn.primitive.name.endswith("std"):
        result = call("sqrt", result)
    return kept_dims(context.map(squares.shape, result)[0], aval.shape)


def size_squared(value: Expr) -> Expr:
    """|z|², as the sum of two squares where it is complex."""
    if value.aval.dtype.kind != "c":
        return call("square", value)
    return call("add", call("square", call("real", value)), call("square", call("imag", value)))


# ---------------------------------------------------------------------------------------------------------- norms


@rule("norm")
def _norm(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval = context.view(operands[0]), eqn.outputs[0].aval
    value = context.load(x)
    if x.buffer.dtype.kind not in "fc":
        value = scalars_cast(value, aval.dtype)
    total = context.reduce(size_squared(value), x.shape, axes_of(eqn.params["axis"], len(x.shape)), "add", aval.dtype)
    return kept_dims(context.map(total.shape, call("sqrt", context.load(total)))[0], aval.shape)


@rule("power_norm")
def _power_norm(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, aval, order = context.view(operands[0]), eqn.outputs[0].aval, eqn.params["order"]
    axes = axes_of(eqn.params["axis"], len(x.shape))
    if len(axes) != 1 or order in (0, np.inf, -np.inf) or x.buffer.dtype.kind == "c":
        return None
    size = call("absolute", scalars_cast(context.load(x), aval.dtype))
    power = call("power", size, number(order, aval.dtype))
    total = context.reduce(power, x.shape, axes, "add", aval.dtype)
    root = call("power", context.load(total), number(1 / order, aval.dtype))
    return kept_dims(context.map(total.shape, root)[0], aval.shape)
