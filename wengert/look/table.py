"""The table that every textbook draws: each line of a Wengert list with its value, tangent and adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from wengert import errors, tree
from wengert.avals import Aval, is_differentiable
from wengert.program import Literal, Var, WengertList, expression, run
from wengert.residuals import read
from wengert.transforms.jvp import jvp
from wengert.transforms.trace import trace
from wengert.transforms.vjp import vjp

INPUTS = ("input", "constant")  # what stands in place of an expression on lines that compute nothing


class Line(NamedTuple):
    """One line of the table. `tangent` and `adjoint` are None where a value has none: integers and constants."""

    name: str
    expression: str
    value: Any
    tangent: Any
    adjoint: Any


def lines(function: Callable[..., Any], *args: Any, tangents: Sequence[Any] | None = None) -> list[Line]:
    """The Wengert list of `function` at `args`, line by line, with every value, tangent and adjoint.

    A tangent is the derivative of the line in the direction `tangents`: one entry per argument, of its structure and
    shape, with None for what does not move. By default the first input moves, by 1 in each of its elements, and the
    others rest. An adjoint is the derivative with respect to the line of the result (of the sum of its elements, where
    it has several).

    Forwards, ẏ = Σ ∂y/∂xᵢ ẋᵢ; backwards, x̄ᵢ = Σ ȳ ∂y/∂xᵢ over the lines y that use xᵢ (Baydin, Pearlmutter, Radul and
    Siskind, JMLR 18, 2018, tables 2 and 3).

    >>> import numpy as np
    >>> for line in lines(lambda x: x * np.sin(x), 2.0):
    ...     print(f"{line.name} {line.expression:8} {line.value:8.4f} {line.tangent:8.4f} {line.adjoint:8.4f}")
    x1 input      2.0000   1.0000   0.0770
    v1 sin(x1)    0.9093  -0.4161   2.0000
    v2 x1 * v1    1.8186   0.0770   1.0000
    """
    program = trace(function)(*args)
    rows = _rows(program)
    moving = [var for var, _, _ in rows if is_differentiable(var.aval.dtype)]

    # Each line gets a perturbation of its own, all at once. Where they follow the inputs' tangents, the lines move by
    # their tangents; and the gradient with respect to the perturbations is the list of adjoints.
    def every_line(*nudges: Any) -> list[Any]:
        env = _evaluate_nudged(program, dict(zip(moving, nudges, strict=True)))
        return [env[var] for var in moving]

    rest = [_negative_zero(var.aval) for var in moving]
    directions = _directions(program, args, tangents)
    seeds = [directions.get(var, np.zeros(var.aval.shape, var.aval.dtype)) for var in moving]
    _, line_tangents = jvp(every_line, tuple(rest), tuple(seeds))
    _, pullback = vjp(every_line, *rest)
    adjoints = pullback([np.full(var.aval.shape, program.outputs.count(var), var.aval.dtype) for var in moving])
    derivatives = dict(zip(moving, zip(line_tangents, adjoints, strict=True), strict=True))
    return [Line(var.name, text, value, *derivatives.get(var, (None, None))) for var, text, value in rows]


def cells(rows: Sequence[Line]) -> list[tuple[str, ...]]:
    """The text of each row: line, value, tangent and adjoint, with decimal points under each other.

    >>> for row in cells(lines(lambda x: (x + 1.0) * 0.25, 2.0)):
    ...     print(" | ".join(row))
    x1   input     | 2    | 1    | 0.25
    v1 = x1 + 1.0  | 3    | 1    | 0.25
    v2 = v1 * 0.25 | 0.75 | 0.25 | 1
    """
    names = max((len(row.name) for row in rows), default=0)
    texts = max((len(row.expression) for row in rows), default=0)
    whole = [
        f"{row.name:<{names}} {' ' if row.expression in INPUTS else '='} {row.expression:<{texts}}" for row in rows
    ]
    numbers = [_aligned([_number(row[k]) for row in rows]) for k in (2, 3, 4)]
    return list(zip(whole, *numbers, strict=True))


def as_table(rows: Sequence[Line]) -> Table:
    """`rows` as a table for rich to print."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("line", no_wrap=True)
    for heading, style in (("value", ""), ("tangent ↓", "cyan"), ("adjoint ↑", "magenta")):
        table.add_column(heading, style=style)
    for row, texts in zip(rows, cells(rows), strict=True):
        table.add_row(*map(Text, texts), style="dim" if row.expression == "constant" else None)
    return table


def _rows(program: WengertList) -> list[tuple[Var, str, Any]]:
    rows = [(var, "input", var.example) for var in program.inputs]
    rows += [(var, "constant", read(value)) for var, value in program.constants]
    for eqn in program.equations:
        for k, var in enumerate(eqn.outputs):
            rows.append((var, expression(eqn) + (f"[{k}]" if len(eqn.outputs) > 1 else ""), var.example))
    return rows


def _evaluate_nudged(program: WengertList, nudges: dict[Var, Any]) -> dict[Var, Any]:
    """The value of every line, each with its nudge added before the next lines read it."""
    env: dict[Var, Any] = {}

    def define(var: Var, value: Any) -> None:
        env[var] = value + nudges[var] if var in nudges else value

    for var in program.inputs:
        define(var, var.example)
    for var, value in program.constants:
        define(var, read(value))
    for eqn in program.equations:
        values = [atom.value if isinstance(atom, Literal) else env[atom] for atom in eqn.inputs]
        out = run(eqn, values)
        for var, value in zip(eqn.outputs, out if eqn.primitive.multiple else (out,), strict=True):
            define(var, value)
    return env


def _negative_zero(aval: Aval) -> Any:
    """The number that changes nothing when added, not even the sign of a zero; weak where the value is."""
    zero = complex(-0.0, -0.0) if aval.dtype.kind == "c" else -0.0
    if aval.weak:
        return zero
    return aval.dtype.type(zero) if aval.scalar else np.full(aval.shape, zero, aval.dtype)


def _directions(program: WengertList, args: Sequence[Any], tangents: Sequence[Any] | None) -> dict[Var, Any]:
    if tangents is None:
        return {var: np.ones(var.aval.shape, var.aval.dtype) for var in program.inputs[:1]}
    given: list[Any] = []
    for arg, tangent in zip(args, tangents, strict=False):
        given += tree.beside(arg, tangent, lambda v: v is None)
    if len(tangents) != len(args) or len(given) != len(program.inputs):
        raise errors.StructureError(
            f"The function has {len(program.inputs)} inputs, and {len(given)} tangents were given. Each input takes "
            "one of its own shape. Give None for an argument that does not move."
        )
    return {var: leaf for var, leaf in zip(program.inputs, given, strict=True) if leaf is not None}


def _number(value: Any) -> str:
    if value is None:
        return "—"
    if np.ndim(value) == 0:
        return f"{value:.6g}" if np.asarray(value).dtype.kind in "iufc" else str(value)
    return np.array2string(np.asarray(value), precision=4, threshold=6, edgeitems=2)


def _aligned(column: list[str]) -> list[str]:
    """The texts with blanks around them: all of one width, and decimal points under each other."""
    ends = [len(text) - text.find(".") if "." in text and "[" not in text else 0 for text in column]
    padded = [text + " " * (max(ends) - end) for text, end in zip(column, ends, strict=True)]
    width = max(map(len, padded), default=0)
    return [text.rjust(width) for text in padded]
