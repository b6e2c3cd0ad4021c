"""The kind of primitive that runs lists: loops, branches and calls.

What the other kinds answer slot by slot, these answer for all operands together, because a loop is run once: the traces
of Dual, Variable and Batch ask them for `forward`, `record` and `pull`, and `batch`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from wengert import errors
from wengert.avals import Aval
from wengert.batch import BatchTrace
from wengert.control.bodies import Mask, select, tangent_of
from wengert.core import TRACED, Batch, Dual, Primitive, Symbol, Variable, aval_of, bind, new_traced, register
from wengert.ops.vector import broadcast_primitive, zeros
from wengert.residuals import read

Outs = tuple[Any, ...]


class Composite(Primitive):
    """A primitive whose params hold Wengert lists, and whose rules follow from those of their lines.

    The derivative in one piece is `forward`. In two pieces it is `record`, which finds value and residuals, and then
    `push` (tangents to tangents) or `pull` (cotangents to cotangents), both linear. `saved` holds the operands, and
    last the residuals, or None where they are to be found from the operands; an operand in which a list is being
    transposed is None.
    """

    composite = True
    multiple = True
    short = None
    examples: Sequence[Any] = ()
    tags: frozenset[str] = frozenset({"float64"})  # examples hold lists, which are of one dtype

    def __init__(self, name: str) -> None:
        self.name = name
        register(self)

    @abstractmethod
    def forward(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Outs, Outs]:
        """Results and their tangents, None for those that do not move; `tangents` likewise."""

    @abstractmethod
    def record(self, values: Sequence[Any], active: Sequence[int], params: dict[str, Any]) -> tuple[Outs, Any]:
        """Results, and the residuals that a pullback in the slots `active` needs."""

    @abstractmethod
    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        """The cotangents of the operands in the slots `active` (None for zero), from those of the results."""

    def moving(self, active: Sequence[int], params: dict[str, Any]) -> Mask:
        """Which results move where the operands in the slots `active` do."""
        raise errors.ProgramError(f"{self.name} has residuals, and is differentiated through them.")

    def keeps(self, active: tuple[int, ...], arity: int) -> tuple[tuple[int, ...], bool]:
        return tuple(range(arity)), True

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        return self.forward(primals, tangents, params)[1]

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        return self.pull((slot,), ct, [*saved[:-1], None], params)[0]


def operand(saved: Sequence[Any], slot: int) -> Any:
    """A saved operand; an error where a list is being transposed in it, and so it is not known."""
    value = read(saved[slot])
    if value is None:
        raise errors.ProgramError(
            f"A loop or branch is not linear in its operand {slot}, in which a list is being transposed. Only linear "
            "lines have a transpose. A derivative rule may use its tangent only linearly: check the rule."
        )
    return value


def apart(primals: Sequence[Any], tangents: Sequence[Any]) -> bool:
    """Whether tangents are unknowns of a list that is being written while the primals are known, as in `linearize`.

    Values must then not depend on the tangents: the derivative is taken in two pieces.
    """
    return type(_leading(primals, tangents)) is Symbol


def _leading(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The newest of the tangents, None where the primals are not all older."""
    newest = max((x for x in tangents if type(x) in TRACED), key=_order, default=None)
    known = newest is not None and all(type(x) not in TRACED or _order(x) < _order(newest) for x in primals)
    return newest if known else None


def _order(x: Any) -> int:
    return x._trace.order  # type: ignore[no-any-return]


def in_two(
    primitive: Any, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]
) -> tuple[Outs, Outs]:
    """`forward` in two pieces for a primitive that keeps no residuals: the value, and a line `push`."""
    active = active_slots(tangents)
    outs = bind(primitive, *primals, **params)
    dots = iter(push(*primals, *(tangents[k] for k in active), of=primitive, params=params, active=active))
    return outs, tuple(next(dots) if on else None for on in primitive.moving(active, params))


def zeros_among(aval: Aval, operands: Sequence[Any]) -> Any:
    """A zero to stand among these operands: where they are being written into a list, a line of it."""
    newest = None
    for x in operands:
        while type(x) in TRACED:
            if type(x) is Symbol and (newest is None or _order(x) > _order(newest)):
                newest = x
            x = x._value
    if newest is None or not aval.shape:
        return zeros(aval)
    return newest._trace.process(broadcast_primitive, (aval.dtype.type(0),), {"shape": aval.shape})


def active_slots(tangents: Sequence[Any]) -> tuple[int, ...]:
    return tuple(k for k, x_dot in enumerate(tangents) if x_dot is not None)


class Push(Composite):
    """The tangent of another composite primitive, as an operation that is linear in the tangents.

    It keeps what is linear apart from what is known, until a list is transposed: its transpose is the other's `pull`.
    Wherever the primals are no longer known before the tangents, it gives way to the other's `forward`.

    Operands: primals, then the tangents of the slots `active`. Params: `of`, `params`, `active`.
    """

    def __call__(self, *operands: Any, **settings: Any) -> Any:
        primals, tangents = _taken_apart(operands, settings)
        if type(_leading(primals, tangents)) in (Symbol, Dual, Variable):
            return bind(self, *operands, **settings)
        return self.value(*operands, **settings)

    def value(self, *operands: Any, **settings: Any) -> Any:
        primals, tangents = _taken_apart(operands, settings)
        _, dots = settings["of"].forward(primals, tangents, settings["params"])
        return tuple(y_dot for y_dot in dots if y_dot is not None)

    def abstract(self, avals: Sequence[Aval], settings: dict[str, Any]) -> Any:
        primitive, params, active = settings["of"], settings["params"], settings["active"]
        outs = primitive.abstract(avals[: len(avals) - len(active)], params)
        return tuple(tangent_of(aval) for aval in select(outs, primitive.moving(active, params)))

    def forward(self, operands: Sequence[Any], tangents: Sequence[Any], settings: dict[str, Any]) -> tuple[Outs, Outs]:
        count = len(operands) - len(settings["active"])
        rows = [
            zeros_among(aval_of(x), tangents) if x_dot is None else x_dot
            for x, x_dot in zip(operands[count:], tangents[count:], strict=True)
        ]
        return self(*operands, **settings), self(*operands[:count], *rows, **settings)

    def record(self, values: Sequence[Any], active: Sequence[int], settings: dict[str, Any]) -> tuple[Outs, Any]:
        return self(*values, **settings), ()

    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], settings: dict[str, Any]) -> Outs:
        primitive, params, slots = settings["of"], settings["params"], settings["active"]
        count = len(saved) - 1 - len(slots)
        known = [*(operand(saved, k) for k in range(count)), None]
        rows = iter(cts)
        spread = [next(rows) if on else None for on in primitive.moving(slots, params)]
        return primitive.pull([slots[k - count] for k in active], spread, known, params)  # type: ignore[no-any-return]

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], settings: dict[str, Any]) -> Any:
        trace = BatchTrace(size)
        outs = self.value(
            *(new_traced(Batch, trace, x, True) if on else x for x, on in zip(args, mapped, strict=True)), **settings
        )
        return (
            tuple(y._value if type(y) is Batch and y._trace is trace else y for y in outs),
            tuple(type(y) is Batch and y._trace is trace for y in outs),
        )


def _taken_apart(operands: Sequence[Any], settings: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    active = settings["active"]
    count = len(operands) - len(active)
    tangents: list[Any] = [None] * count
    for slot, x_dot in zip(active, operands[count:], strict=True):
        tangents[slot] = x_dot
    return list(operands[:count]), tangents


push: Final = Push("push")
