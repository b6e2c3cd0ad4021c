"""Control flow: programs inside the program become loops and branches of machine code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compile import passes
from wengert.compile.tensors.form import Control, View
from wengert.compile.tensors.lowering.context import Context, Operand, lower, rule, scalars_cast
from wengert.control.bodies import close, our_lines
from wengert.program import Equation, WengertList, evaluate


@rule("call")
def _call(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return context.inline(passes.run(eqn.params["body"]), operands)


@rule("push")
def _push(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """The tangent of a loop or branch, as the lines that its rule writes where primals and tangents are both there."""
    with our_lines():
        avals = [atom.aval for atom in eqn.inputs]
        program, _ = close(lambda *symbols: eqn.primitive.value(*symbols, **eqn.params), avals, "push", False)
    return context.inline(passes.run(program), operands)


def _body(program: WengertList, name: str) -> Any:
    return lower(passes.run(program), name)


def _inputs(
    context: Context, operands: Sequence[Operand], programs: Sequence[tuple[WengertList, Sequence[int]]]
) -> Any:
    """Operands in memory, contiguous, in the dtypes that the bodies expect; `programs` says who reads which."""
    dtypes: dict[int, np.dtype[Any]] = {}
    for program, numbers in programs:
        for var, k in zip(program.inputs, numbers, strict=True):
            dtypes[k] = var.aval.dtype
    found = []
    for k, operand in enumerate(operands):
        view = context.view(operand)
        dtype = dtypes.get(k, view.buffer.dtype)
        if view.buffer.dtype != dtype:
            (view,) = context.map(view.shape, scalars_cast(context.load(view), dtype))
        found.append(context.contiguous(view))
    return found


@rule("scan")
def _scan(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params = eqn.params
    body: WengertList = params["body"]
    ins = _inputs(context, operands, [(body, range(len(operands)))])
    outs = [context.temp(var.aval.shape, var.aval.dtype) for var in eqn.outputs]
    carry = [context.temp(view.shape, view.buffer.dtype) for _ in range(2) for view in outs[: params["carry"]]]
    context.add(Control("scan", [_body(body, "scan_body")], params, ins, outs, carry))
    return outs


@rule("while_loop")
def _while(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params = eqn.params
    n_test, n_body = params["test_consts"], params["body_consts"]
    carry = range(n_test + n_body, len(operands))
    uses = [(params["test"], [*range(n_test), *carry]), (params["body"], [*range(n_test, n_test + n_body), *carry])]
    ins = _inputs(context, operands, uses)
    outs = [context.temp(var.aval.shape, var.aval.dtype) for var in eqn.outputs]
    scratch = [context.temp(view.shape, view.buffer.dtype) for _ in range(2) for view in outs]
    flag = context.temp((), np.dtype(np.bool_))
    bodies = [_body(params["test"], "test"), _body(params["body"], "body")]
    context.add(Control("while", bodies, params, ins, outs, [*scratch, flag]))
    return outs


@rule("while_pullback")
def _while_pullback(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params = eqn.params
    n_test, n_body, moving = params["test_consts"], params["body_consts"], params["moving"]
    first = len(operands) - sum(moving)  # of the cotangents
    back, sums = _summing(params["back"], sum(moving))
    step = passes.run(back)
    states = step.inputs[n_body : n_body + len(moving)]
    used = {atom for line in step.equations for atom in line.inputs} | set(step.outputs)
    kept = tuple(k for k, var in enumerate(states) if var in used)
    test_uses, body_uses = range(n_test), range(n_test, n_test + n_body)
    carry, cts = range(n_test + n_body, first), range(first, len(operands))
    uses = [(params["test"], [*test_uses, *carry]), (params["body"], [*body_uses, *carry])]
    ins = _inputs(context, operands, [*uses, (step, [*[-1] * (len(step.inputs) - len(cts)), *cts])])
    outs = [context.temp(var.aval.shape, var.aval.dtype) for var in eqn.outputs]
    totals = [context.temp(view.shape, view.buffer.dtype) for view in outs[:sums]]
    for total in totals:
        context.fill(total)
    forward, backward = (
        [context.temp(view.shape, view.buffer.dtype) for _ in range(2) for view in views]
        for views in (ins[carry.start : carry.stop], outs)
    )
    flag = context.temp((), np.dtype(np.bool_))
    bodies = [_body(params["test"], "test"), _body(params["body"], "body"), lower(step, "back")]
    ins = [*ins[:first], *totals, *ins[first:]]
    settings = {"test_consts": n_test, "body_consts": n_body, "carry": len(carry), "kept": kept}
    context.add(Control("while_pullback", bodies, settings, ins, outs, [*forward, *backward, flag]))
    return outs


def _summing(back: WengertList, cts: int) -> tuple[WengertList, int]:
    """The step of a backward sweep that also takes the sums so far, before the cotangents, and adds to them."""
    sums = len(back.outputs) - cts
    avals = [var.aval for var in back.inputs]
    first = len(avals) - cts

    def step(*symbols: Any) -> list[Any]:
        totals = symbols[first : first + sums]
        found = evaluate(back, (*symbols[:first], *symbols[first + sums :]))
        return [*(total + term for total, term in zip(totals, found, strict=False)), *found[sums:]]

    with our_lines():
        inputs = [*avals[:first], *(atom.aval for atom in back.outputs[:sums]), *avals[first:]]
        return close(step, inputs, back.name, False)[0], sums


@rule("cond", "switch")
def _cond(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    branches: Sequence[WengertList] = eqn.params["branches"]
    ins = _inputs(context, operands, [(branch, range(1, len(operands))) for branch in branches])
    (index,) = context.map((), scalars_cast(context.load(ins[0]), np.dtype(np.int64)))
    outs: list[View] = [context.temp(var.aval.shape, var.aval.dtype) for var in eqn.outputs]
    bodies = [_body(branch, f"branch{k}") for k, branch in enumerate(branches)]
    context.add(Control("cond", bodies, eqn.params, [index, *ins[1:]], outs, []))
    return outs
