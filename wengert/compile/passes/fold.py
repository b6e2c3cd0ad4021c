"""Constant folding: what depends on literals and baked constants alone is computed now."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from wengert import core
from wengert.compile.passes.editing import Atom, renamed, substituted
from wengert.core import PLAIN, aval_of
from wengert.program import Equation, Literal, Var, WengertList
from wengert.residuals import Guarded

SMALL: Final = 1 << 12  # elements up to which a result is computed now, whatever its operands
# Views of their operand, whose results would only take memory
VIEWS: Final = frozenset({"broadcast_to", "spread"})


def run(program: WengertList) -> WengertList:
    """Compute lines whose operands are all known, where the results are not much larger than they are.

    Inputs are never folded, hidden ones neither. Where a line raises, it stays, and raises when the list is run.
    """
    known: dict[Any, Any] = {var: value for var, value in program.constants if type(value) is not Guarded}
    env: dict[Var, Atom] = {}
    constants = list(program.constants)
    lines: list[Equation] = []
    for eqn in program.equations:
        eqn = renamed(eqn, env)
        results = None
        if all(type(atom) is Literal or atom in known for atom in eqn.inputs) and _bounded(eqn):
            results = computed(eqn, [atom.value if isinstance(atom, Literal) else known[atom] for atom in eqn.inputs])
        if results is None:
            lines.append(eqn)
            continue
        for var, value in zip(eqn.outputs, results, strict=True):
            if type(value) in PLAIN:
                env[var] = Literal(value)
            else:
                known[var] = value
                constants.append((var, value))
    if len(lines) == len(program.equations):
        return program
    return substituted(program, env, constants, lines)


def computed(eqn: Equation, values: list[Any]) -> list[Any] | None:
    """The results of a line on known values; None where it raises or gives something else than it is recorded to."""
    try:
        with np.errstate(all="ignore"):
            found = eqn.primitive.value(*values, **eqn.params)
    except (ArithmeticError, ValueError, TypeError, IndexError, np.linalg.LinAlgError):
        return None
    results = []
    for var, value in zip(eqn.outputs, found if eqn.primitive.multiple else (found,), strict=True):
        if var.aval.weak:
            value = core.weaken(value)
        if aval_of(value) != var.aval:
            return None
        if type(value) is np.ndarray:
            value = value.copy()  # of its own, never a view of an operand
        results.append(value)
    return results


def _bounded(eqn: Equation) -> bool:
    size = sum(math.prod(var.aval.shape) for var in eqn.outputs)
    if eqn.primitive.name in VIEWS:
        return False
    return size <= SMALL or size <= sum(math.prod(atom.aval.shape) for atom in eqn.inputs)
