"""What the passes share: making a changed copy of a list, and the keys by which lines are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.program import Equation, Literal, Var, WengertList

Atom = Var | Literal


def rebuilt(
    program: WengertList,
    *,
    constants: list[tuple[Var, Any]] | None = None,
    equations: list[Equation] | None = None,
    outputs: list[Atom] | None = None,
    guards: list[tuple[Var, Any]] | None = None,
) -> WengertList:
    """A list with the same inputs and these parts; those that are not given are the old ones."""
    new = WengertList(program.inputs, program.name)
    new.constants = program.constants if constants is None else constants
    new.equations = program.equations if equations is None else equations
    new.outputs = program.outputs if outputs is None else outputs
    new.guards = program.guards if guards is None else guards
    new.in_tree = program.in_tree
    new.out_tree = program.out_tree
    return new


def renamed(eqn: Equation, env: dict[Var, Atom]) -> Equation:
    """The line with its operands replaced; the line itself where none is."""
    if any(atom in env for atom in eqn.inputs):
        inputs = [env.get(atom, atom) for atom in eqn.inputs]  # type: ignore[arg-type]
        return Equation(eqn.primitive, inputs, eqn.params, eqn.outputs, eqn.quiet)
    return eqn


def substituted(
    program: WengertList, env: dict[Var, Atom], constants: list[tuple[Var, Any]], equations: list[Equation]
) -> WengertList:
    """The list of these lines, whose outputs and guards are those of `program` under `env`."""
    constants = list(constants)
    guards: list[tuple[Var, Any]] = []
    for var, value in program.guards:
        atom = env.get(var, var)
        if isinstance(atom, Literal):
            if same_bits(atom.value, value):
                continue  # it always holds
            atom = Var(f"{var.name}_known", var.aval)
            constants.append((atom, env[var].value))  # type: ignore[union-attr]
        guards.append((atom, value))
    outputs = [env.get(atom, atom) for atom in program.outputs]  # type: ignore[arg-type]
    return rebuilt(program, constants=constants, equations=equations, outputs=outputs, guards=guards)


def same_bits(x: Any, y: Any) -> bool:
    """Whether two values are equal in dtype, shape and every bit."""
    one, other = np.asarray(x), np.asarray(y)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def defined(program: WengertList) -> Iterator[Var]:
    """All variables of a list, in the order in which they are set."""
    yield from program.inputs
    yield from (var for var, _ in program.constants)
    for eqn in program.equations:
        yield from eqn.outputs


def used(program: WengertList) -> Iterator[Var]:
    """The variables that are read, as often as they are."""
    for eqn in program.equations:
        yield from _vars(eqn.inputs)
    yield from _vars(program.outputs)
    yield from (var for var, _ in program.guards)


def _vars(atoms: Iterable[Atom]) -> Iterator[Var]:
    return (atom for atom in atoms if type(atom) is Var)


class Names:
    """New names for variables: that of the variable in whose place they come, and a letter."""

    def __init__(self, program: WengertList) -> None:
        self._taken = {var.name for var in defined(program)}
        self._next: dict[str, int] = {}

    def after(self, name: str) -> str:
        count = self._next.get(name, 0)
        while name + letters(count) in self._taken:
            count += 1
        self._next[name] = count + 1
        self._taken.add(name + letters(count))
        return name + letters(count)


def letters(count: int) -> str:
    """a, b, …, z, aa, ab, …

    >>> letters(0), letters(25), letters(26)
    ('a', 'z', 'aa')
    """
    text = ""
    count += 1
    while count:
        count, digit = divmod(count - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


# ------------------------------------------------------------------------------------------------------------- keys


def key_of(value: Any) -> Any:
    """A hashable stand-in for a number, an array or a parameter: equal for those that no line can tell apart.

    Arrays and numbers are compared by their bits, so that 0.0 and −0.0 differ and NaN equals NaN; lists and functions
    by identity.
    """
    kind = type(value)
    if kind in (bool, int, str, type(None)):
        return kind, value
    if kind in (float, complex):
        return kind, np.asarray(value).tobytes()
    if kind is np.ndarray:
        return kind, value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    if isinstance(value, np.dtype):
        return np.dtype, value.str
    if kind in (tuple, list):
        return kind, tuple(map(key_of, value))
    if kind is dict:
        return kind, tuple((name, key_of(item)) for name, item in sorted(value.items()))
    if kind is slice:
        return kind, key_of((value.start, value.stop, value.step))
    return kind, id(value)


def counts(program: WengertList) -> dict[Var, int]:
    """How often each variable is read."""
    found: dict[Var, int] = {}
    for var in used(program):
        found[var] = found.get(var, 0) + 1
    return found


def unchanged(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two sequences hold the same objects."""
    return len(one) == len(other) and all(x is y for x, y in zip(one, other, strict=True))
