"""Convolutions of vectors, and cross products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.compile.tensors.form import Loop, Store, Update, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.reductions import call
from wengert.compile.tensors.lowering.views import part
from wengert.program import Equation


@rule("convolve")
def _convolve(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """out[i + j] += x[i] y[j]; where only whole overlaps count out[i] += x[i + j] y[m − 1 − j]."""
    x, y = map(context.view, operands)
    aval, mode = eqn.outputs[0].aval, eqn.params["mode"]
    if x.size < y.size:
        x, y = y, x
    n, m = x.size, y.size
    if m == 0 or aval.dtype.kind == "b":
        return None
    (step_x,), (step_y,) = x.strides, y.strides

    if mode == "valid":
        out = context.temp(aval.shape, aval.dtype)
        shape, steps = (m, n - m + 1), (0, 1)
        rows = View(x.buffer, shape, (step_x, step_x), x.offset)
        columns = View(y.buffer, shape, (-step_y, 0), y.offset + (m - 1) * step_y)
    else:
        out = context.temp((n + m - 1,), aval.dtype)
        shape, steps = (m, n), (1, 1)
        rows, columns = View(x.buffer, shape, (0, step_x), x.offset), View(y.buffer, shape, (step_y, 0), y.offset)
    context.fill(out)
    product = call("multiply", *(scalars_cast(context.load(view), aval.dtype) for view in (rows, columns)))
    context.add(Loop(shape, [Update(View(out.buffer, shape, steps), product, "add")], ordered=True))
    return part(out, 0, (m - 1) // 2, n) if mode == "same" else out


@rule("cross")
def _cross(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval = eqn.outputs[0].aval
    if aval.shape[-1:] != (3,) or any(atom.aval.shape[-1:] != (3,) for atom in eqn.inputs) or aval.dtype.kind == "b":
        return None
    out = context.temp(aval.shape, aval.dtype)

    def parts(view: View) -> list[View]:
        axes = range(len(aval.shape) - 1)
        return [part(view, -1, k, 1).transpose(axes) for k in range(3)]

    a, b = (
        [scalars_cast(context.load(view), aval.dtype) for view in parts(context.view(x).broadcast(aval.shape))]
        for x in operands
    )
    effects = []
    for k, target in enumerate(parts(out)):
        i, j = (k + 1) % 3, (k + 2) % 3
        value = call("subtract", call("multiply", a[i], b[j]), call("multiply", a[j], b[i]))
        effects.append(Store(target, value))
    context.loop(aval.shape[:-1], effects)
    return out
