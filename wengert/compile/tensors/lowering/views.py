"""Shaping: views that cost nothing, and the few rearrangements that must copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Shape
from wengert.compile.tensors.form import View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.program import Equation


@rule("broadcast_to")
def _broadcast(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return context.view(operands[0]).broadcast(eqn.params["shape"])


@rule("reshape")
def _reshape(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return context.reshape(context.view(operands[0]), eqn.outputs[0].aval.shape)


@rule("transpose")
def _transpose(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    view, axes = context.view(operands[0]), eqn.params["axes"]
    n = len(view.shape)
    return view.transpose((*range(n - len(axes)), *(axis % n for axis in axes)))


@rule("diagonal")
def _diagonal(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    offset, axes = eqn.params["offset"], eqn.params["axes"]
    return context.view(operands[0]).ask(lambda x: np.diagonal(x, offset, *axes))


@rule("spread")
def _spread(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    view, shape = context.view(operands[0]), eqn.outputs[0].aval.shape
    inserted = {axis % len(shape) for axis in eqn.params["axis"]}
    rest = iter(view.strides)
    return View(view.buffer, shape, tuple(0 if k in inserted else next(rest) for k in range(len(shape))), view.offset)


@rule("embed_diagonal")
def _embed(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval, params = eqn.outputs[0].aval, eqn.params
    out = context.temp(aval.shape, aval.dtype)
    context.fill(out)
    context.copy(operands[0], out.ask(lambda x: np.diagonal(x, params["offset"], *params["axes"])))
    return out


@rule("concatenate")
def _concatenate(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval, axis = eqn.outputs[0].aval, eqn.params["axis"]
    out = context.temp(aval.shape, aval.dtype)
    start = 0
    for operand, atom in zip(operands, eqn.inputs, strict=True):
        length = atom.aval.shape[axis]
        piece = part(out, axis, start, length)
        context.store(piece, scalars_cast(context.read(operand, piece.shape), aval.dtype))
        start += length
    return out


@rule("stack")
def _stack(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval, axis = eqn.outputs[0].aval, eqn.params["axis"] % len(eqn.outputs[0].aval.shape)
    out = context.temp(aval.shape, aval.dtype)
    for k, operand in enumerate(operands):
        piece = part(out, axis, k, 1)
        kept = [d for d in range(len(aval.shape)) if d != axis]
        piece = piece.transpose(kept)
        context.store(piece, scalars_cast(context.read(operand, piece.shape), aval.dtype))
    return out


def part(view: View, axis: int, start: int, length: int) -> View:
    """A range of indices along an axis."""
    axis %= len(view.shape)
    shape: Shape = (*view.shape[:axis], length, *view.shape[axis + 1 :])
    return View(view.buffer, shape, view.strides, view.offset + start * view.strides[axis])


@rule("roll")
def _roll(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    view, aval = context.view(operands[0]), eqn.outputs[0].aval
    if 0 in aval.shape:
        return view
    for shift, axis in zip(eqn.params["shift"], eqn.params["axis"], strict=True):
        n = aval.shape[axis]
        shift %= n
        out = context.temp(aval.shape, aval.dtype)
        context.copy(part(view, axis, 0, n - shift), part(out, axis, shift, n - shift))
        context.copy(part(view, axis, n - shift, shift), part(out, axis, 0, shift))
        view = out
    return view
