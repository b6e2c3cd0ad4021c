"""Elementwise primitives that are not a single scalar operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.compile.tensors.lowering.context import Context, Operand, rule
from wengert.program import Equation


@rule("stop_gradient", "positive")
def _same(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    view = context.view(operands[0])
    return view if view.buffer.dtype == eqn.outputs[0].aval.dtype else None


@rule("copy")
def _copy(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return context.view(operands[0])  # values never change here, so a copy is the same value
