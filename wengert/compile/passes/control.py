"""Loops and branches in the passes: their bodies are lists too, and what of them nobody needs is cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from wengert.control.bodies import Mask, closure, live, rewired, select
from wengert.program import Equation, Var, WengertList

Pass = Callable[[WengertList], WengertList]

# The params that hold a list that is run. Not those of `push`, which holds a place and is differentiated.
LISTS: Final[dict[str, tuple[str, ...]]] = {
    "call": ("body",),
    "switch": ("branches",),
    "scan": ("body",),
    "while_loop": ("test", "body"),
    "while_pullback": ("test", "body", "back"),
}


def inside(program: WengertList, change: Pass) -> list[Equation]:
    """The lines of a list with `change` made to the lists that they hold; a line itself where that does nothing."""
    return [_changed(eqn, change) if eqn.primitive.composite else eqn for eqn in program.equations]


def _changed(eqn: Equation, change: Pass) -> Equation:
    params = dict(eqn.params)
    for name in LISTS.get(eqn.primitive.name, ()):
        old = params[name]
        new = tuple(map(change, old)) if type(old) is tuple else change(old)
        if any(x is not y for x, y in zip(new, old, strict=True)) if type(old) is tuple else new is not old:
            params[name] = new
    if all(params[name] is eqn.params[name] for name in params):
        return eqn
    return Equation(eqn.primitive, eqn.inputs, params, eqn.outputs, eqn.quiet)


# ---------------------------------------------------------------------------------------------------------- pruning


def pruned(eqn: Equation, needed: set[Var]) -> Equation:
    """The line without results that are not needed, and without operands that the rest does not depend on."""
    prune = PRUNE.get(eqn.primitive.name)
    return eqn if prune is None else prune(eqn, tuple(var in needed for var in eqn.outputs))


def _branches(eqn: Equation, wanted: Mask) -> Equation:
    name = "body" if eqn.primitive.name == "call" else "branches"
    lists = (eqn.params[name],) if name == "body" else eqn.params[name]
    lead = len(eqn.inputs) - len(lists[0].inputs)
    read = tuple(map(any, zip(*(_read(body, select(body.outputs, wanted)) for body in lists), strict=True)))
    if all(wanted) and all(read):
        return eqn
    cut = tuple(_cut(body, read, wanted) for body in lists)
    inputs = [*eqn.inputs[:lead], *select(eqn.inputs[lead:], read)]
    params = {**eqn.params, name: cut[0] if name == "body" else cut}
    return Equation(eqn.primitive, inputs, params, select(eqn.outputs, wanted), eqn.quiet)


def _scan(eqn: Equation, wanted: Mask) -> Equation:
    """Of the carry, that stays on which what is needed depends, perhaps in a later step."""
    params = eqn.params
    body, consts, carry = params["body"], params["consts"], params["carry"]

    def step(kept: Mask) -> Mask:
        return _read(body, select(body.outputs, (*kept, *wanted[carry:])))[consts : consts + carry]

    kept = closure(step, wanted[:carry])
    outputs = (*kept, *wanted[carry:])
    read = _read(body, select(body.outputs, outputs))
    inputs = (*read[:consts], *kept, *read[consts + carry :])
    if all(outputs) and all(inputs):
        return eqn
    counts = {"consts": sum(inputs[:consts]), "carry": sum(kept)}
    return Equation(
        eqn.primitive,
        select(eqn.inputs, inputs),
        {**params, "body": _cut(body, inputs, outputs), **counts},
        select(eqn.outputs, outputs),
        eqn.quiet,
    )


def _while(eqn: Equation, wanted: Mask) -> Equation:
    """As for scan; also what the test depends on stays."""
    params = eqn.params
    test, body, n_test, n_body = params["test"], params["body"], params["test_consts"], params["body_consts"]
    tested = _read(test, test.outputs)

    def step(kept: Mask) -> Mask:
        return _read(body, select(body.outputs, kept))[n_body:]

    kept = closure(step, tuple(a or b for a, b in zip(wanted, tested[n_test:], strict=True)))
    read = _read(body, select(body.outputs, kept))
    inputs = (*tested[:n_test], *read[:n_body], *kept)
    if all(inputs):
        return eqn
    return Equation(
        eqn.primitive,
        select(eqn.inputs, inputs),
        {
            "test": _cut(test, (*tested[:n_test], *kept), (True,)),
            "body": _cut(body, (*read[:n_body], *kept), kept),
            "test_consts": sum(tested[:n_test]),
            "body_consts": sum(read[:n_body]),
        },
        select(eqn.outputs, kept),
        eqn.quiet,
    )


PRUNE: Final[dict[str, Callable[[Equation, Mask], Equation]]] = {
    "call": _branches,
    "switch": _branches,
    "scan": _scan,
    "while_loop": _while,
}


def _read(body: WengertList, outputs: Sequence[Any]) -> Mask:
    """Which inputs of a list these outputs depend on."""
    needed, _ = live(body.equations, outputs)
    return tuple(var in needed for var in body.inputs)


def _cut(body: WengertList, inputs: Mask, outputs: Mask) -> WengertList:
    """A body with some of its inputs and outputs: the same object for equal masks, so that equal loops stay equal."""
    if all(inputs) and all(outputs):
        return body
    key = "cut", inputs, outputs
    if key not in body.derived:
        body.derived[key] = rewired(body, select(body.inputs, inputs), select(body.outputs, outputs))
    return body.derived[key]  # type: ignore[no-any-return]


__all__ = ["LISTS", "inside", "pruned"]
