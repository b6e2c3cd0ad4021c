"""Dead code: lines that no output and no guard depends on are left out, as every primitive is a pure function."""

from __future__ import annotations

from wengert.compile.passes import control
from wengert.compile.passes.editing import rebuilt
from wengert.program import Equation, Var, WengertList


def run(program: WengertList) -> WengertList:
    """Leave out lines, and parts of loops and branches, that nothing needs."""
    needed = {atom for atom in program.outputs if type(atom) is Var}
    needed.update(var for var, _ in program.guards)
    lines: list[Equation] = []
    for eqn in reversed(program.equations):
        if not any(var in needed for var in eqn.outputs):
            continue
        if eqn.primitive.composite:
            eqn = control.pruned(eqn, needed)
        lines.append(eqn)
        needed.update(atom for atom in eqn.inputs if type(atom) is Var)
    lines.reverse()
    constants = [(var, value) for var, value in program.constants if var in needed]
    if len(constants) == len(program.constants) and _same(lines, program.equations):
        return program
    return rebuilt(program, constants=constants, equations=lines)


def _same(one: list[Equation], other: list[Equation]) -> bool:
    return len(one) == len(other) and all(x is y for x, y in zip(one, other, strict=True))
