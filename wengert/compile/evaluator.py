"""The plainest back end: a list run line by line. Others are compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import core
from wengert.program import Literal, Var, WengertList, held, run


class Evaluator:
    """Runs a list line by line, and stops where a guard fails."""

    def __init__(self, program: WengertList) -> None:
        self._program = program
        self._guards: dict[Var, bytes] = {var: np.asarray(value).tobytes() for var, value in program.guards}

    def __call__(self, leaves: Sequence[Any]) -> list[Any] | None:
        program, guards = self._program, self._guards
        env: dict[Any, Any] = dict(program.constants)
        env.update(zip(program.inputs, leaves, strict=True))
        if any(var in guards and np.asarray(value).tobytes() != guards[var] for var, value in env.items()):
            return None
        for eqn in program.equations:
            found = run(eqn, [_value(env, atom) for atom in eqn.inputs])
            for var, value in zip(eqn.outputs, found if eqn.primitive.multiple else (found,), strict=True):
                env[var] = core.weaken(value) if var.aval.weak else value
                if var in guards and np.asarray(value).tobytes() != guards[var]:
                    return None
        taken = {id(value) for value in leaves} | held(program)
        return [core.owned(_value(env, atom), taken) for atom in program.outputs]


def _value(env: dict[Any, Any], atom: Var | Literal) -> Any:
    return env[atom] if isinstance(atom, Var) else atom.value


__all__ = ["Evaluator"]
