"""Loops: what is the same in every step is computed once, before the loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from wengert.compile.passes.editing import Atom, Names, renamed, substituted
from wengert.compile.passes.sweep import broadcasts
from wengert.control.bodies import rewired
from wengert.program import Equation, Var, WengertList

# Views cost nothing in the loop, and outside it would have to be kept
VIEWS: Final = frozenset({"broadcast_to", "spread", "reshape", "transpose", "getitem", "copy"})
# What cannot raise, and so may be computed for a loop that might make no step
SAFE: Final = frozenset(
    {
        "matmul", "dot", "einsum", "tensordot", "inner", "vdot", "vecdot", "sum", "sum_to", "mean", "concatenate",
        "stack", "cast", *VIEWS,
    }
)  # fmt: skip


def run(program: WengertList) -> WengertList:
    """Take lines that depend on the consts of a loop alone out of its body, and what a loop only passes on."""
    lines: list[Equation] = []
    constants = list(program.constants)
    env: dict[Var, Atom] = {}
    names: Names | None = None
    changed = False
    for eqn in program.equations:
        eqn = renamed(eqn, env)
        name = eqn.primitive.name
        if name in ("scan", "while_loop") and eqn.outputs:
            still = _passed_on(eqn)
            if still:
                eqn = _without_carry(eqn, still, env)
                changed = True
            hoisted = _invariant(eqn) if eqn.outputs else []
            if hoisted:
                names = names or Names(program)
                eqn = _hoist(eqn, hoisted, lines, constants, names)
                changed = True
        lines.append(eqn)
    return substituted(program, env, constants, lines) if changed else program


def _counts(eqn: Equation) -> tuple[int, int, int]:
    """How many operands there are before the consts of the body, of these, and of the carry."""
    params = eqn.params
    if eqn.primitive.name == "scan":
        return 0, params["consts"], params["carry"]
    return params["test_consts"], params["body_consts"], len(params["body"].outputs)


# ------------------------------------------------------------------------------------------------------ what stays


def _passed_on(eqn: Equation) -> list[int]:
    """Which of the carry every step passes on as it got it."""
    lead, consts, carry = _counts(eqn)
    body: WengertList = eqn.params["body"]
    found = []
    for k in range(carry):
        operand = eqn.inputs[lead + consts + k]
        if body.outputs[k] is body.inputs[consts + k] and operand.aval == eqn.outputs[k].aval:
            found.append(k)
    return found


def _without_carry(eqn: Equation, still: Sequence[int], env: dict[Var, Atom]) -> Equation:
    """The loop with these of its carry as consts."""
    lead, consts, carry = _counts(eqn)
    params = dict(eqn.params)
    body: WengertList = params["body"]
    moving = [k for k in range(carry) if k not in still]
    rest = range(consts + carry, len(body.inputs))

    def order(items: Sequence[Any], start: int, fixed: int, tail: Sequence[int]) -> list[Any]:
        first = [*range(fixed), *(fixed + k for k in still)]
        return [items[start + k] for k in (*first, *(fixed + k for k in moving), *tail)]

    outputs = [body.outputs[k] for k in (*moving, *range(carry, len(body.outputs)))]
    params["body"] = rewired(body, order(body.inputs, 0, consts, rest), outputs)
    inputs = order(eqn.inputs, lead, consts, rest)
    if eqn.primitive.name == "scan":
        params |= {"consts": consts + len(still), "carry": len(moving)}
    else:
        test: WengertList = params["test"]
        params["test"] = rewired(test, order(test.inputs, 0, lead, ()), test.outputs)
        params |= {"test_consts": lead + len(still), "body_consts": consts + len(still)}
        inputs = [*eqn.inputs[:lead], *(eqn.inputs[lead + consts + k] for k in still), *inputs]
    env.update((eqn.outputs[k], eqn.inputs[lead + consts + k]) for k in still)
    kept = [var for k, var in enumerate(eqn.outputs) if k not in still]
    return Equation(eqn.primitive, inputs, params, kept, eqn.quiet)


# ------------------------------------------------------------------------------------------- what can be moved out


def _invariant(eqn: Equation) -> list[Equation]:
    """The lines of a loop's body that may be computed before it, and are worth it; with those that they need."""
    _, consts, _ = _counts(eqn)
    body: WengertList = eqn.params["body"]
    at_least_once = eqn.primitive.name == "scan" and eqn.params["length"] > 0
    known = {*body.inputs[:consts], *(var for var, _ in body.constants)}
    found = []
    for one in body.equations:
        if all(type(atom) is not Var or atom in known for atom in one.inputs) and (at_least_once or _is_safe(one)):
            found.append(one)
            known.update(one.outputs)
    wanted: set[Var] = set()
    chosen = []
    for one in reversed(found):
        if _is_work(one) or any(var in wanted for var in one.outputs):
            chosen.append(one)
            wanted.update(atom for atom in one.inputs if type(atom) is Var)
    return chosen[::-1]


def _is_safe(eqn: Equation) -> bool:
    return eqn.primitive.name in SAFE or broadcasts(eqn.primitive)


def _is_work(eqn: Equation) -> bool:
    """Whether a line computes something, and nothing much larger than what it reads."""
    size = sum(math.prod(var.aval.shape) for var in eqn.outputs)
    return eqn.primitive.name not in VIEWS and size <= sum(math.prod(atom.aval.shape) for atom in eqn.inputs)


def _hoist(
    eqn: Equation,
    hoisted: Sequence[Equation],
    lines: list[Equation],
    constants: list[tuple[Var, Any]],
    names: Names,
) -> Equation:
    """Write lines of the body before the loop, which gets their results as consts."""
    lead, consts, _ = _counts(eqn)
    body: WengertList = eqn.params["body"]
    env: dict[Atom, Atom] = dict(zip(body.inputs[:consts], eqn.inputs[lead : lead + consts], strict=True))
    base = eqn.outputs[0].name
    read = {atom for one in hoisted for atom in one.inputs}
    for var, value in body.constants:
        if var in read:
            env[var] = new = Var(names.after(base), var.aval)
            constants.append((new, value))
    for one in hoisted:
        outputs = [Var(names.after(base), var.aval) for var in one.outputs]
        lines.append(
            Equation(one.primitive, [env.get(atom, atom) for atom in one.inputs], one.params, outputs, one.quiet)
        )
        env.update(zip(one.outputs, outputs, strict=True))
    gone = {var for one in hoisted for var in one.outputs}
    left = [one for one in body.equations if one.outputs[0] not in gone]
    needed = {atom for one in left for atom in one.inputs} | set(body.outputs)
    consts_added = [var for one in hoisted for var in one.outputs if var in needed]
    shorter = WengertList(body.inputs, body.name)
    shorter.equations, shorter.constants, shorter.outputs = left, body.constants, body.outputs
    inputs = [*body.inputs[:consts], *consts_added, *body.inputs[consts:]]
    params = {**eqn.params, "body": rewired(shorter, inputs, body.outputs)}
    params["consts" if eqn.primitive.name == "scan" else "body_consts"] = consts + len(consts_added)
    at = lead + consts
    operands = [*eqn.inputs[:at], *(env[var] for var in consts_added), *eqn.inputs[at:]]
    return Equation(eqn.primitive, operands, params, eqn.outputs, eqn.quiet)
