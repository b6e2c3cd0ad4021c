"""Bodies of loops and branches: Wengert lists written from shapes alone, and what is made from them.

A body is *closed*: what its function captured is among its inputs. Its derivatives, its batched form and the Python
function that runs it are made when first asked for and kept in the list itself (`WengertList.derived`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, NamedTuple

import numpy as np

from wengert import core, errors
from wengert.avals import Aval, is_differentiable
from wengert.batch import BatchTrace
from wengert.core import FLOAT_ERRORS, IGNORED, REGISTRY, TRACED, Batch, Dual, Symbol, aval_of, new_traced
from wengert.forward import ForwardTrace
from wengert.ops.vector import broadcast_to, fit_dtype
from wengert.program import Equation, Literal, StageTrace, Var, WengertList, evaluate, transpose
from wengert.residuals import guard, read, unchanged

Mask = tuple[bool, ...]
Atom = Var | Literal
LOUD: Final[Any] = Context().run(FLOAT_ERRORS.get)  # NumPy's default: any setting but the one that marks our own lines


class BodyTrace(StageTrace):
    """Writes the list of a body. What it captures becomes further inputs."""

    __slots__ = ("captured", "takes_arrays")

    def __init__(self, name: str = "body", takes_arrays: bool = True) -> None:
        super().__init__(name)
        self.takes_arrays = takes_arrays  # whether plain arrays become inputs too, rather than constants
        self.captured: dict[int, tuple[Var, Any, Any]] = {}

    def atom(self, value: Any) -> Var | Literal:
        kind = type(value)
        if (kind in TRACED and value._trace is not self) or (kind is np.ndarray and self.takes_arrays):
            core.check_not_newer(value, self)
            key = id(value._info) if kind is Symbol else id(value)
            known = self.captured.get(key)
            if known is None or not (kind is Symbol or unchanged(known[2], value)):
                kept = guard(value)
                known = Var(f"c{len(self.captured) + 1}", aval_of(value)), value, kept
                self.captured[key] = known  # holds the value, so that its id stays its own
            return known[0]
        return super().atom(value)

    def concrete(self, x: Any) -> Any:
        if x._value is not None:  # a constant of the body
            return core.concrete(x._value)
        raise errors.body_value()


def close(
    function: Callable[..., Sequence[Any]], avals: Sequence[Aval], name: str = "body", takes_arrays: bool = True
) -> tuple[WengertList, list[Any]]:
    """The list of a function of flat arguments, and the values that it captured: its inputs after the arguments.

    A result that is an `Aval` stands for a zero.
    """
    trace = BodyTrace(name, takes_arrays)
    symbols = [trace.input(aval) for aval in avals]
    try:
        outputs: list[Any] = []
        for result in function(*symbols):
            if type(result) in TRACED and result._link is not None:
                core.refresh(result)
            outputs.append(result if type(result) is Aval else trace.atom(result))
    finally:
        trace.close()
    captured = trace.captured.values()
    values = [value if type(value) in TRACED or unchanged(kept, value) else read(kept) for _, value, kept in captured]
    return rewired(trace.program, [*trace.program.inputs, *(var for var, _, _ in captured)], outputs), values


def rewired(program: WengertList, inputs: Sequence[Var], outputs: Sequence[Any]) -> WengertList:
    """A list of the same lines with other inputs and outputs, less the lines that these do not need.

    An output that is an `Aval` stands for a zero of this shape and dtype.
    """
    new = WengertList(list(inputs), program.name)
    zeros = []
    for k, atom in enumerate(outputs):
        if type(atom) is Aval:
            zero: Atom = Literal(atom.dtype.type(0))
            if atom.shape:
                spread = Var(f"z{k + 1}", atom)
                zeros.append(Equation(REGISTRY["broadcast_to"], [zero], {"shape": atom.shape}, [spread], True))
                zero = spread
            new.outputs.append(zero)
        else:
            new.outputs.append(atom)
    needed, lines = live(program.equations, new.outputs)
    new.equations = lines + zeros
    new.constants = [(var, value) for var, value in program.constants if var in needed]
    return new


def live(equations: Sequence[Equation], outputs: Sequence[Atom]) -> tuple[set[Var], list[Equation]]:
    """The variables and the lines that outputs depend on."""
    needed = {atom for atom in outputs if type(atom) is Var}
    lines = []
    for eqn in reversed(equations):
        if any(var in needed for var in eqn.outputs):
            lines.append(eqn)
            needed.update(atom for atom in eqn.inputs if type(atom) is Var)
    return needed, lines[::-1]


def depending(equations: Sequence[Equation], sources: Sequence[Var]) -> set[Var]:
    """The variables that depend on these."""
    found = set(sources)
    for eqn in equations:
        if any(type(atom) is Var and atom in found for atom in eqn.inputs):
            found.update(eqn.outputs)
    return found


def closure(step: Callable[[Mask], Mask], start: Sequence[bool]) -> Mask:
    """The least mask that contains `start` and that `step` adds nothing to: what a loop makes of its carry."""
    mask = tuple(start)
    while True:
        grown = tuple(a or b for a, b in zip(mask, step(mask), strict=True))
        if grown == mask:
            return mask
        mask = grown


def select(items: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    """The items where the mask is set."""
    return [item for item, chosen in zip(items, mask, strict=True) if chosen]


def parts(items: Sequence[Any], *counts: int) -> list[list[Any]]:
    """The items cut into consecutive parts of these lengths, and the rest."""
    found, start = [], 0
    for count in counts:
        found.append(list(items[start : start + count]))
        start += count
    return [*found, list(items[start:])]


def tangent_of(aval: Aval) -> Aval:
    """The aval of the tangent of a floating value: its own, never weak."""
    return aval._replace(weak=False)


def moves(body: WengertList, mask: Sequence[bool]) -> Mask:
    """The mask of inputs without those that have no tangent."""
    return tuple(on and is_differentiable(var.aval.dtype) for on, var in zip(mask, body.inputs, strict=True))


# ---------------------------------------------------------------------------------------------------- derived lists


def derived(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a function makes from a list, under its other arguments. Lines are marked as our own by the rules."""

    @functools.wraps(make)
    def kept(body: WengertList, *args: Any) -> Any:
        key = (make.__name__, *args)
        found = body.derived.get(key)
        if found is None:
            with lines_of_users():
                found = body.derived[key] = make(body, *args)
        return found

    return kept


@contextmanager
def lines_of_users() -> Any:
    """Lines that are staged within are the user's own, also where a backward sweep asks for them."""
    users = FLOAT_ERRORS.get()
    try:
        FLOAT_ERRORS.set(LOUD if users is IGNORED else users)
        yield
    finally:
        FLOAT_ERRORS.set(users)


@contextmanager
def our_lines() -> Any:
    """Lines that are staged within do not warn in the user's name."""
    users = FLOAT_ERRORS.get()
    try:
        FLOAT_ERRORS.set(IGNORED)
        yield
    finally:
        FLOAT_ERRORS.set(users)


@derived
def pushed(body: WengertList, active: Mask) -> tuple[WengertList, Mask]:
    """The list on dual numbers: inputs and tangents of the active ones, to outputs and tangents of those that move."""
    trace = BodyTrace(body.name, False)
    xs = [trace.input(var.aval) for var in body.inputs]
    forward = ForwardTrace()
    outs = evaluate(body, _duals(forward, xs, active, trace))
    pairs = [_split(y, forward) for y in outs]
    moving = tuple(y_dot is not None for _, y_dot in pairs)
    outputs = [trace.atom(y) for y, _ in pairs] + [trace.atom(y_dot) for _, y_dot in pairs if y_dot is not None]
    trace.close()
    return rewired(trace.program, trace.program.inputs, outputs), moving


def _duals(forward: ForwardTrace, xs: Sequence[Any], active: Mask, tangents: StageTrace) -> list[Any]:
    return [
        new_traced(Dual, forward, x, tangents.input(tangent_of(x.aval))) if on else x
        for x, on in zip(xs, active, strict=True)
    ]


def _split(y: Any, forward: ForwardTrace) -> tuple[Any, Any]:
    if type(y) in TRACED and y._link is not None:
        core.refresh(y)
    return (y._value, y._info) if type(y) is Dual and y._trace is forward else (y, None)


class Linearized(NamedTuple):
    """A list in two: `known` computes outputs and residuals, `linear` maps residuals and tangents to tangents."""

    known: WengertList  # inputs of the body → its outputs, then residuals
    linear: WengertList  # residuals, then tangents of active inputs → tangents of the outputs that move
    moving: Mask  # over the outputs of the body
    residuals: list[Var]  # variables of `known`, in the order of the first inputs of `linear`


@derived
def linearized(body: WengertList, active: Mask) -> Linearized:
    """Separate what can be known without the tangents of the active inputs from what is linear in them.

    The list is read on dual numbers whose two parts are written into two lists. What the second captures of the first
    are the residuals.
    """
    known, linear = BodyTrace(body.name, False), BodyTrace(body.name, False)
    xs = [known.input(var.aval) for var in body.inputs]
    forward = ForwardTrace()
    pairs = [_split(y, forward) for y in evaluate(body, _duals(forward, xs, active, linear))]
    moving = tuple(y_dot is not None for _, y_dot in pairs)
    outputs = [known.atom(y) for y, _ in pairs]
    dots = [linear.atom(y_dot) for _, y_dot in pairs if y_dot is not None]
    needed, _ = live(linear.program.equations, dots)
    captured = [(var, value._info) for var, value, _ in linear.captured.values() if var in needed]
    known.close()
    linear.close()
    residuals = [info for _, info in captured]
    return Linearized(
        rewired(known.program, known.program.inputs, [*outputs, *residuals]),
        rewired(linear.program, [*(var for var, _ in captured), *linear.program.inputs], dots),
        moving,
        residuals,
    )


@derived
def pulled(linear: WengertList, residuals: int, given: Mask) -> tuple[WengertList, Mask]:
    """The transpose of a linear list: residuals and the cotangents that are given, to those of the inputs.

    The mask says which inputs get one; for the others it is zero.
    """
    avals = [var.aval for var in linear.inputs[:residuals]] + [a.aval for a in select(linear.outputs, given)]
    found: list[bool] = []

    def pull(*symbols: Any) -> list[Any]:
        known, cts = parts(symbols, residuals)
        rows = iter(cts)
        bars = transpose(linear, [next(rows) if on else None for on in given], known)
        found.extend(bar is not None for bar in bars)
        avals = [var.aval for var in linear.inputs[residuals:]]
        return [fit_dtype(bar, aval) for bar, aval in zip(bars, avals, strict=True) if bar is not None]

    with our_lines():
        program, _ = close(pull, avals, linear.name, False)
    return program, tuple(found)


@derived
def batched(body: WengertList, size: int, mapped: Mask, forced: Mask) -> tuple[WengertList, Mask]:
    """The list for all members of a batch at once: arguments that are mapped have a leading axis.

    Results have one where members can differ, as the mask that is returned says, and where it is forced.
    """
    trace = BodyTrace(body.name, False)
    batch = BatchTrace(size)
    leaves = []
    for var, on in zip(body.inputs, mapped, strict=True):
        aval = Aval((size, *var.aval.shape), var.aval.dtype) if on else var.aval
        symbol = trace.input(aval)
        leaves.append(new_traced(Batch, batch, symbol, True) if on else symbol)
    outputs, flags = [], []
    for y, atom, force in zip(evaluate(body, leaves), body.outputs, forced, strict=True):
        on = type(y) is Batch and y._trace is batch
        if on:
            if y._link is not None:
                core.refresh(y)
            y = fit_dtype(y._value, atom.aval)
        elif force:
            y = broadcast_to(y, shape=(size, *atom.aval.shape))
        outputs.append(trace.atom(y))
        flags.append(on or force)
    batch.close()
    trace.close()
    return rewired(trace.program, trace.program.inputs, outputs), tuple(flags)


@derived
def written_out(program: WengertList) -> WengertList:
    """The same list without lines that stand for the tangent of another (`push`), as a compiler wants it."""
    return close(lambda *xs: evaluate(program, xs), [var.aval for var in program.inputs], program.name, False)[0]


# ---------------------------------------------------------------------------------------------------------- running

Runner = Callable[..., list[Any]]


def run(body: WengertList, leaves: Sequence[Any]) -> list[Any]:
    """Evaluate a body: by its runner where all values are plain, else line by line through the traces."""
    if any(type(leaf) in TRACED for leaf in leaves):
        return evaluate(body, leaves)
    return runner(body)(*leaves)


def runner(body: WengertList) -> Runner:
    """A function of plain values that runs the list; `set_runner` replaces the one made here."""
    found = body.derived.get("runner")
    if found is None:
        found = body.derived["runner"] = as_function(body)
    return found


def set_runner(body: WengertList, function: Runner) -> None:
    """Let a list be run by this function of plain values, which returns a list of results."""
    body.derived["runner"] = function


def as_function(body: WengertList) -> Runner:
    """The list as a Python function of plain values: a third of the cost of reading it line by line."""
    scope: dict[str, Any] = {"errors": FLOAT_ERRORS, "ignored": IGNORED, "weaken": core.weaken}
    names: dict[Var, str] = {}

    def name(atom: Atom) -> str:
        if isinstance(atom, Var):
            return names.setdefault(atom, f"v{len(names)}")
        scope[f"l{len(scope)}"] = atom.value
        return f"l{len(scope) - 1}"

    arguments = ", ".join(map(name, body.inputs))
    for var, value in body.constants:
        scope[name(var)] = read(value)
    lines = []
    quiet = False
    for k, eqn in enumerate(body.equations):
        if eqn.quiet != quiet:
            quiet = eqn.quiet
            lines.append("errors.set(ignored)" if quiet else "errors.set(users)")
        scope[f"f{k}"], scope[f"k{k}"] = eqn.primitive.value, eqn.params
        operands = ", ".join(map(name, eqn.inputs)) + (f", **k{k}" if eqn.params else "")
        results = ", ".join(map(name, eqn.outputs)) + ("," if eqn.primitive.multiple else "")
        call = f"f{k}({operands})"
        weak = not eqn.primitive.multiple and eqn.outputs[0].aval.weak
        lines.append(f"{results} = weaken({call})" if weak else f"{results} = {call}")
    results = f"return [{', '.join(map(name, body.outputs))}]"
    if any(eqn.quiet for eqn in body.equations):
        lines = ["users = errors.get()", "try:", *(f"    {line}" for line in (*lines, results))]
        lines += ["finally:", "    errors.set(users)"]
    else:
        lines.append(results)
    exec(f"def run({arguments}):\n" + "\n".join(f"    {line}" for line in lines), scope)
    return scope["run"]  # type: ignore[no-any-return]
