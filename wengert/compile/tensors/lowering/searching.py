"""Searching in sorted arrays: a binary search written out, with as many steps as the length asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Shape
from wengert.compile.tensors.form import Expr, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.indexing import INDEX
from wengert.compile.tensors.lowering.reductions import call, number
from wengert.program import Equation

INT64 = np.dtype(np.int64)
FLOAT64 = np.dtype(np.float64)


def element(context: Context, array: View, place: Expr, shape: Shape, dtype: np.dtype[Any]) -> Expr:
    """An element of a vector, at a place that is known to lie in it, in a loop of this shape."""
    base = View(array.buffer, shape, (0,) * len(shape), array.offset)
    data = (base, array.strides, array.shape, False)
    return scalars_cast(Expr("gather", INDEX._replace(dtype=array.buffer.dtype), (place,), data), dtype)


def position(context: Context, array: View, value: Expr, shape: Shape, side: str) -> Expr:
    """How many elements of a sorted vector are less than the value; for `side` right less or equal. NaN comes last."""
    n, dtype = array.shape[0], value.aval.dtype
    place = number(0, INT64)
    step = 1 << n.bit_length()
    while step > 1:
        step >>= 1
        further = call("add", place, number(step, INT64))
        last = call("minimum", call("subtract", further, number(1, INT64)), number(n - 1, INT64))
        there = element(context, array, last, shape, dtype)
        passed = before(there, value) if side == "left" else call("logical_not", before(value, there))
        passed = call("logical_and", passed, call("less_equal", further, number(n, INT64)))
        place = call("where", passed, further, place)
    return place


def before(x: Expr, y: Expr) -> Expr:
    """x < y in the order of sorting, where NaN comes last."""
    less = call("less", x, y)
    if x.aval.dtype.kind != "f":
        return less
    return call("logical_or", less, call("logical_and", call("isnan", y), call("logical_not", call("isnan", x))))


@rule("searchsorted")
def _searchsorted(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    array, aval = context.view(operands[0]), eqn.outputs[0].aval
    dtype = np.result_type(*(x.aval.dtype for x in eqn.inputs))
    if dtype.kind not in "iuf" or not array.size:
        return None
    value = scalars_cast(context.read(operands[1], aval.shape), dtype)
    return context.map(aval.shape, position(context, array, value, aval.shape, eqn.params["side"]))[0]


@rule("interp")
def _interp(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """np.interp's formula, and its second one where infinite knots make the first one NaN."""
    xp, fp = (context.view(operand) for operand in operands[1:])
    aval, n = eqn.outputs[0].aval, xp.size
    if aval.dtype != FLOAT64 or n < 2 or len(operands) != 3 or eqn.params:
        return None
    shape = aval.shape
    x = scalars_cast(context.read(operands[0], shape), FLOAT64)
    last = number(n - 1, INT64)
    found = call("subtract", position(context, xp, x, shape, "right"), number(1, INT64))
    left = call("minimum", call("maximum", found, number(0, INT64)), number(n - 2, INT64))
    right = call("add", left, number(1, INT64))

    def at(array: View, place: Expr) -> Expr:
        return element(context, array, place, shape, FLOAT64)

    x0, x1, y0, y1 = at(xp, left), at(xp, right), at(fp, left), at(fp, right)
    slope = call("divide", call("subtract", y1, y0), call("subtract", x1, x0))
    value = call("add", call("multiply", slope, call("subtract", x, x0)), y0)
    again = call("add", call("multiply", slope, call("subtract", x, x1)), y1)
    again = call("where", call("logical_and", call("isnan", again), call("equal", y0, y1)), y0, again)
    value = call("where", call("isnan", value), again, value)
    value = call("where", call("equal", x, x0), y0, value)
    value = call("where", call("greater_equal", found, last), at(fp, last), value)
    value = call("where", call("less", found, number(0, INT64)), at(fp, number(0, INT64)), value)
    return context.map(shape, call("where", call("isnan", x), x, value))[0]
