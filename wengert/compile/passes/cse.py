"""Common subexpressions: of several lines that compute the same, the first stays."""

from __future__ import annotations

from typing import Any, Final

from wengert.compile.passes.editing import Atom, key_of, renamed, substituted
from wengert.program import Equation, Literal, Var, WengertList
from wengert.residuals import Guarded

# x ∘ y = y ∘ x to the bit. Not so maximum, which returns one of two zeros of different sign according to their order.
COMMUTATIVE: Final = frozenset(
    {
        "add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor", "bitwise_and",
        "bitwise_or", "bitwise_xor", "gcd", "lcm",
    }
)  # fmt: skip
LARGEST: Final = 1 << 16  # bytes up to which constants are compared by their contents


def run(program: WengertList) -> WengertList:
    """Merge lines with the same primitive, the same parameters and the same operands, and constants with the same bits.

    Time is linear: every atom has a number, every line a key made of numbers, and a dict knows which keys were seen.
    """
    env: dict[Var, Atom] = {}
    numbers: dict[Any, int] = {}

    constants: list[tuple[Var, Any]] = []
    kept: dict[Any, Var] = {}
    for var, value in program.constants:
        first = kept.setdefault(_constant_key(value), var)
        if first is var:
            constants.append((var, value))
        else:
            env[var] = first

    lines: list[Equation] = []
    seen: dict[Any, int] = {}
    for eqn in program.equations:
        eqn = renamed(eqn, env)
        operands = [numbers.setdefault(_atom_key(atom), len(numbers)) for atom in eqn.inputs]
        if eqn.primitive.name in COMMUTATIVE:
            operands.sort()
        avals = tuple(var.aval for var in eqn.outputs)
        key = eqn.primitive.name, params_key(eqn.params), tuple(operands), avals
        place = seen.setdefault(key, len(lines))
        if place == len(lines):
            lines.append(eqn)
            continue
        first_line = lines[place]
        env.update(zip(eqn.outputs, first_line.outputs, strict=True))
        if first_line.quiet and not eqn.quiet:  # its warnings are the user's to see
            lines[place] = Equation(
                first_line.primitive, first_line.inputs, first_line.params, first_line.outputs, False
            )
    return substituted(program, env, constants, lines) if env else program


def params_key(params: dict[str, Any]) -> Any:
    """A key of a line's params, without those that have their default."""
    given = {
        name: value
        for name, value in params.items()
        if value is not None and not (name == "keepdims" and value is False)
    }
    return key_of(given) if given else None


def _atom_key(atom: Atom) -> Any:
    return key_of(atom.value) if isinstance(atom, Literal) else atom


def _constant_key(value: Any) -> Any:
    if type(value) is Guarded or getattr(value, "nbytes", 0) > LARGEST:
        return id(value)
    return key_of(value)
