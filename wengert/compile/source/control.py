"""Calls, branches and loops as Python's own. The lists that they run become functions beside the main one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from wengert.avals import WEAK_KINDS
from wengert.compile.source.literals import scalar_type
from wengert.program import Equation, Var, WengertList


class Writer(Protocol):
    """What these lines may ask of the writer of the function that they stand in."""

    def line(self, text: str) -> None: ...
    def body(self, program: WengertList, name: str) -> str: ...
    def local_name(self, base: str) -> str: ...
    def helper(self, function: Any) -> str: ...


def finished(x: Any, *operands: Any) -> Any:
    """What a loop carried to its end: a NumPy scalar, or an array that shares no memory with an operand."""
    if type(x) is not np.ndarray or not x.shape:
        return x if type(x) is not np.ndarray else x[()]
    dense = x.flags.owndata and (x.flags.c_contiguous or x.flags.f_contiguous)
    return x if dense and not any(x is y for y in operands) else x.copy()


def _tuple(names: Sequence[str]) -> str:
    return ", ".join(names)


def _weak(name: str, var: Var) -> list[str]:
    """A line that makes the scalar in a loop the Python number that the body takes."""
    return [f"{name} = {WEAK_KINDS[var.aval.dtype.kind].__name__}({name})"] if var.aval.weak else []


def _call(writer: Writer, eqn: Equation, texts: Sequence[str], names: Sequence[str]) -> None:
    _run(writer, names, f"{writer.body(eqn.params['body'], 'body')}({_tuple(texts)})")


def _run(writer: Writer, targets: Sequence[str], call: str, indent: str = "") -> None:
    writer.line(f"{indent}{_tuple(targets)} = {call}" if targets else f"{indent}{call}")


def _switch(writer: Writer, eqn: Equation, texts: Sequence[str], names: Sequence[str]) -> None:
    branches, (index, *operands) = eqn.params["branches"], texts
    bodies = [writer.body(branch, f"branch_{k}") for k, branch in enumerate(branches)]
    two = len(bodies) == 2 and eqn.inputs[0].aval.dtype.kind == "b"
    for k, body in enumerate(bodies):
        if len(bodies) > 1:
            test = f"not {index}" if two else f"int({index}) {'==' if k else '<='} {k}"
            writer.line(f"{'elif' if k else 'if'} {test}:" if k < len(bodies) - 1 else "else:")
        _run(writer, names, f"{body}({_tuple(operands)})", "    " * (len(bodies) > 1))


def _scan(writer: Writer, eqn: Equation, texts: Sequence[str], names: Sequence[str]) -> None:
    params, body = eqn.params, eqn.params["body"]
    consts, carry, length = params["consts"], params["carry"], params["length"]
    step = writer.body(body, "step")
    state, ys = names[:carry], names[carry:]
    if state:
        writer.line(f"{_tuple(state)} = {_tuple(texts[consts : consts + carry])}")
    for y, var in zip(ys, eqn.outputs[carry:], strict=True):
        writer.line(f"{y} = np.empty({var.aval.shape}, {scalar_type(var.aval.dtype)})")
    i = writer.local_name("i")
    writer.line(f"for {i} in range({length}):" if not params["reverse"] else f"for {i} in reversed(range({length})):")
    for name, var in zip(state, body.inputs[consts:], strict=False):
        for line in _weak(name, var):
            writer.line(f"    {line}")
    slices = [f"{x}[{i}]" for x in texts[consts + carry :]]
    _run(writer, [*state, *(f"{y}[{i}]" for y in ys)], f"{step}({_tuple([*texts[:consts], *state, *slices])})", "    ")
    _finish(writer, state, texts[: consts + carry], eqn)


def _finish(writer: Writer, state: Sequence[str], operands: Sequence[str], eqn: Equation) -> None:
    """The carry after a loop, in memory of its own."""
    arrays = [text for text, atom in zip(operands, eqn.inputs, strict=False) if atom.aval.shape]
    for name, var in zip(state, eqn.outputs, strict=False):
        writer.line(f"{name} = {writer.helper(finished)}({_tuple([name, *(arrays if var.aval.shape else ())])})")


def _loop(writer: Writer, eqn: Equation, texts: Sequence[str], state: Sequence[str], keep: Sequence[str] = ()) -> str:
    """The loop of a while_loop over the names `state`; the name of the list of what it keeps before each step."""
    params, test_consts = eqn.params, eqn.params["test_consts"]
    start = test_consts + params["body_consts"]
    fixed, more = texts[:test_consts], texts[test_consts:start]
    test, body = writer.body(params["test"], "test"), writer.body(params["body"], "body")
    kept = writer.local_name("states") if keep else ""
    if keep:
        writer.line(f"{kept} = []")
    if state:
        writer.line(f"{_tuple(state)} = {_tuple(texts[start : start + len(state)])}")
    weak = [
        line
        for name, var in zip(state, params["body"].inputs[params["body_consts"] :], strict=True)
        for line in _weak(name, var)
    ]
    holds = f"{test}({_tuple([*fixed, *state])})"
    if weak:
        writer.line("while True:")
        for line in [*weak, f"if not {holds}:", "    break"]:
            writer.line(f"    {line}")
    else:
        writer.line(f"while {holds}:")
    if keep:
        writer.line(f"    {kept}.append(({', '.join(keep)},))")
    _run(writer, state, f"{body}({_tuple([*more, *state])})", "    ")
    return kept


def _while_loop(writer: Writer, eqn: Equation, texts: Sequence[str], names: Sequence[str]) -> None:
    _loop(writer, eqn, texts, names)
    _finish(writer, names, texts, eqn)


def _while_pullback(writer: Writer, eqn: Equation, texts: Sequence[str], names: Sequence[str]) -> None:
    params, back = eqn.params, eqn.params["back"]
    test_consts, consts, moving = params["test_consts"], params["body_consts"], params["moving"]
    read = {atom for line in back.equations for atom in line.inputs} | set(back.outputs)
    state = [writer.local_name(f"s{k + 1}") for k in range(len(moving))]
    needed = [s for s, var in zip(state, back.inputs[consts:], strict=False) if var in read]
    kept = _loop(writer, eqn, texts, state, needed or ["None"])
    sums, cts = names[: len(names) - sum(moving)], names[len(names) - sum(moving) :]
    for name, var in zip(sums, eqn.outputs, strict=False):
        writer.line(
            f"{name} = np.zeros({var.aval.shape}, {scalar_type(var.aval.dtype)}){'' if var.aval.shape else '[()]'}"
        )
    operands = texts[: len(texts) - len(cts)]
    if cts:
        writer.line(f"{_tuple(cts)} = {_tuple(texts[len(operands) :])}")
    writer.line(f"while {kept}:")
    writer.line(f"    ({', '.join(needed)},) = {kept}.pop()" if needed else f"    {kept}.pop()")
    given = [s if s in needed else "None" for s in state]
    terms = [writer.local_name(f"t{k + 1}") for k in range(len(sums))]
    arguments = [*texts[test_consts : test_consts + consts], *given, *cts]
    _run(writer, [*terms, *cts], f"{writer.body(back, 'back')}({_tuple(arguments)})", "    ")
    for name, term in zip(sums, terms, strict=True):
        writer.line(f"    {name} = {name} + {term}")
    arrays = [text for text, atom in zip(texts, eqn.inputs, strict=True) if atom.aval.shape]
    for name, var in zip(cts, eqn.outputs[len(sums) :], strict=True):
        writer.line(f"{name} = {writer.helper(finished)}({_tuple([name, *(arrays if var.aval.shape else ())])})")


CONTROL: Final[dict[str, Callable[[Any, Equation, Sequence[str], Sequence[str]], None]]] = {
    "call": _call, "switch": _switch, "scan": _scan, "while_loop": _while_loop, "while_pullback": _while_pullback,
}  # fmt: skip
