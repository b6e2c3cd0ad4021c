"""The primitive `scan`: a loop of known length, which carries values from step to step and reads and writes arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from wengert import core
from wengert.avals import Aval
from wengert.control.bodies import (
    Mask,
    batched,
    close,
    closure,
    depending,
    derived,
    linearized,
    live,
    moves,
    our_lines,
    parts,
    pushed,
    rewired,
    runner,
    select,
    tangent_of,
)
from wengert.control.kind import Composite, Outs, active_slots, apart, operand, zeros_among
from wengert.core import aval_of, bind
from wengert.ops.vector import broadcast_to, fit, fit_dtype
from wengert.program import Var, WengertList, evaluate, transpose


class Plan(NamedTuple):
    """The derivative of a scan in two pieces: a scan that also stacks residuals, and one that is linear."""

    known: WengertList  # body of the first: consts, carry, xs → carry, ys, residuals of each step
    linear: WengertList  # body of the second: fixed residuals, tangents of consts | of carry | residuals, of xs
    before: WengertList  # consts → residuals that are the same in all steps
    fixed: tuple[int, ...]  # which consts are residuals
    reads: tuple[int, ...]  # which xs are residuals
    again: tuple[int, ...]  # which ys are residuals
    carry: Mask  # what of the carry moves
    ys: Mask  # which ys move
    mask: Mask  # which inputs of the body move


@derived
def _plan(body: WengertList, consts: int, carry: int, active: Mask) -> Plan:
    moving = closure(
        lambda m: linearized(body, _with_carry(active, consts, m))[2][:carry], active[consts : consts + carry]
    )
    mask = _with_carry(active, consts, moving)
    half = linearized(body, mask)
    known, count = half.known, len(half.moving)
    varying = depending(known.equations, known.inputs[consts:])
    fixed_inputs, _, slices = parts(known.inputs, consts, carry)
    ys = known.outputs[carry:count]
    groups: list[list[Var]] = [[], [], [], [], []]
    for var in half.residuals:
        kind = 0 if var in fixed_inputs else 1 if var not in varying else 2 if var in slices else 3 if var in ys else 4
        groups[kind].append(var)
    within = dict(zip(half.residuals, half.linear.inputs, strict=False))
    residuals = [[within[var] for var in group] for group in groups]
    dots = half.linear.inputs[len(half.residuals) :]
    const_dots, carry_dots, x_dots = parts(dots, sum(mask[:consts]), sum(moving))
    out_dots = iter(half.linear.outputs)
    dots_of = [next(out_dots) if on else None for on in half.moving]
    new_dots = [
        tangent_of(var.aval) if dot is None else dot
        for dot, var, on in zip(dots_of[:carry], known.inputs[consts:], moving, strict=False)
        if on
    ]
    return Plan(
        rewired(known, known.inputs, [*known.outputs[:count], *groups[4]]),
        rewired(
            half.linear,
            [
                *residuals[0],
                *residuals[1],
                *const_dots,
                *carry_dots,
                *residuals[2],
                *residuals[3],
                *residuals[4],
                *x_dots,
            ],
            [*new_dots, *(dot for dot in dots_of[carry:] if dot is not None)],
        ),
        rewired(known, fixed_inputs, groups[1]),
        tuple(fixed_inputs.index(var) for var in groups[0]),
        tuple(slices.index(var) for var in groups[2]),
        tuple(ys.index(var) for var in groups[3]),
        moving,
        half.moving[carry:],
        mask,
    )


def _with_carry(active: Mask, consts: int, carry: Mask) -> Mask:
    return (*active[:consts], *carry, *active[consts + len(carry) :])


@derived
def _dual(body: WengertList, consts: int, carry: int, active: Mask) -> tuple[WengertList, Mask, Mask]:
    """The body on dual numbers, and what of its carry and of its ys moves."""
    moving = closure(lambda m: pushed(body, _with_carry(active, consts, m))[1][:carry], active[consts : consts + carry])
    mask = _with_carry(active, consts, moving)
    program, out_moving = pushed(body, mask)
    count = len(body.inputs)
    c, s, x = parts(program.inputs[:count], consts, carry)
    c_dot, s_dot, x_dot = parts(program.inputs[count:], sum(mask[:consts]), sum(moving))
    rows = iter(program.outputs[len(out_moving) :])
    dots = [next(rows) if on else tangent_of(atom.aval) for on, atom in zip(out_moving, body.outputs, strict=True)]
    new, ys = parts(program.outputs[: len(out_moving)], carry)
    outputs = [*new, *select(dots[:carry], moving), *ys, *select(dots[carry:], out_moving[carry:])]
    return rewired(program, [*c, *c_dot, *s, *s_dot, *x, *x_dot], outputs), moving, out_moving[carry:]


@derived
def _back(
    linear: WengertList, fixed: int, consts: int, carry: int, stacked: int, given: Mask
) -> tuple[WengertList, Mask, Mask]:
    """The body of the pullback: fixed residuals | sums for consts, cotangents of the carry | residuals, those of ys.

    The masks say which consts and which xs get cotangents; sums are kept for those consts only.
    """
    ins = [var.aval for var in linear.inputs]
    fixed_avals, const_avals, carry_avals, rest = parts(ins, fixed, consts, carry)
    stack_avals, x_avals = parts(rest, stacked)
    y_avals = select([atom.aval for atom in linear.outputs[carry:]], given)
    masks: list[Mask] = []
    residuals = [*range(fixed), *range(fixed + consts + carry, fixed + consts + carry + stacked)]
    ordered = rewired(
        linear,
        [linear.inputs[k] for k in residuals] + [v for k, v in enumerate(linear.inputs) if k not in residuals],
        linear.outputs,
    )

    def back(*symbols: Any) -> list[Any]:
        known, sums, cts, stack, y_cts = parts(symbols, fixed, consts, carry, stacked)
        rows = iter(y_cts)
        bars = transpose(ordered, [*cts, *(next(rows) if on else None for on in given)], [*known, *stack])
        const_bars, carry_bars, x_bars = parts(bars, consts, carry)
        masks.extend(tuple(bar is not None for bar in group) for group in (const_bars, x_bars))
        found = [
            total + fit(bar, aval)
            for total, bar, aval in zip(sums, const_bars, const_avals, strict=True)
            if bar is not None
        ]
        found += [aval if bar is None else fit(bar, aval) for bar, aval in zip(carry_bars, carry_avals, strict=True)]
        return found + [fit(bar, aval) for bar, aval in zip(x_bars, x_avals, strict=True) if bar is not None]

    with our_lines():
        program, _ = close(back, [*fixed_avals, *const_avals, *carry_avals, *stack_avals, *y_avals], linear.name, False)
    const_mask, x_mask = masks
    f, sums, cts, rest = parts(program.inputs, fixed, consts, carry)
    return rewired(program, [*f, *select(sums, const_mask), *cts, *rest], program.outputs), const_mask, x_mask


class Scan(Composite):
    """`length` steps of a body, forwards or, where `reverse`, from the last element to the first.

    Operands: consts, then the carry, then xs with a leading axis of that length. Results: the carry after the last
    step, then the ys of all steps, stacked. Params: `body` (consts, carry, a slice of each x → carry, an element of
    each y), `consts` and `carry` (how many there are), `length`, `reverse`.
    """

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        body, carry, length = params["body"], params["carry"], params["length"]
        outs = [atom.aval for atom in body.outputs]
        return (*outs[:carry], *(Aval((length, *aval.shape), aval.dtype) for aval in outs[carry:]))

    def value(self, *operands: Any, body: WengertList, consts: int, carry: int, length: int, reverse: bool) -> Outs:
        step = runner(body)
        fixed, state, xs = parts(operands, consts, carry)
        weak = [k for k, var in enumerate(body.inputs[consts : consts + carry]) if var.aval.weak]
        ys = [np.empty((length, *atom.aval.shape), atom.aval.dtype) for atom in body.outputs[carry:]]
        for i in range(length - 1, -1, -1) if reverse else range(length):
            for k in weak:
                state[k] = core.weaken(state[k])
            out = step(*fixed, *state, *[x[i] for x in xs])
            state = out[:carry]
            for y, element in zip(ys, out[carry:], strict=True):
                y[i] = element
        return (*finished(state, operands), *ys)

    def forward(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Outs, Outs]:
        body, consts, carry = params["body"], params["consts"], params["carry"]
        active = moves(body, [x_dot is not None for x_dot in tangents])
        if apart(primals, tangents):
            return self._in_pieces(primals, tangents, active, params)
        dual, moving, ys_moving = _dual(body, consts, carry, active)
        c, s, x = parts(primals, consts, carry)
        c_dot, s_dot, x_dot = parts([v if on else None for v, on in zip(tangents, active, strict=True)], consts, carry)
        initial = initial_tangents(s, s_dot, moving, (*primals, *tangents))
        operands = [*c, *present(c_dot), *s, *initial, *x, *present(x_dot)]
        counts = {"consts": consts + sum(active[:consts]), "carry": carry + sum(moving)}
        outs = bind(self, *operands, **{**params, "body": dual, **counts})
        new, dots, ys, y_dots = parts(outs, carry, sum(moving), len(body.outputs) - carry)
        return (*new, *ys), (*spread(dots, moving), *spread(y_dots, ys_moving))

    def _in_pieces(
        self, primals: Sequence[Any], tangents: Sequence[Any], active: Mask, params: dict[str, Any]
    ) -> tuple[Outs, Outs]:
        consts, carry = params["consts"], params["carry"]
        plan = _plan(params["body"], consts, carry, active)
        outs, residuals = self.record(primals, active_slots(tangents), params)
        fixed, stacks = self._residuals(plan, [*primals, residuals], params)
        c_dot, s_dot, x_dot = parts([v if on else None for v, on in zip(tangents, active, strict=True)], consts, carry)
        initial = initial_tangents(primals[consts : consts + carry], s_dot, plan.carry, (*primals, *tangents))
        settings = {**params, "body": plan.linear, "consts": len(fixed) + sum(active[:consts]), "carry": len(initial)}
        dots = bind(self, *fixed, *present(c_dot), *initial, *stacks, *present(x_dot), **settings)
        new, y_dots = parts(dots, len(initial))
        return outs, (*spread(new, plan.carry), *spread(y_dots, plan.ys))

    def record(self, values: Sequence[Any], active: Sequence[int], params: dict[str, Any]) -> tuple[Outs, Any]:
        plan = self._plan(active, params)
        count = len(params["body"].outputs)
        outs = bind(self, *values, **{**params, "body": plan.known})
        ys = outs[params["carry"] : count]
        return outs[:count], (
            tuple(evaluate(plan.before, values[: params["consts"]])),
            tuple(ys[k] for k in plan.again),
            outs[count:],
        )

    def _plan(self, active: Sequence[int], params: dict[str, Any]) -> Plan:
        body = params["body"]
        mask = moves(body, [k in active for k in range(len(body.inputs))])
        return _plan(body, params["consts"], params["carry"], mask)  # type: ignore[no-any-return]

    def _residuals(self, plan: Plan, saved: Sequence[Any], params: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        """Residuals that are the same in all steps, and those that differ, with a leading axis."""
        consts, carry = params["consts"], params["carry"]
        same, again, stacks = saved[-1] if saved[-1] is not None else self._anew(plan, saved, params)
        fixed = [operand(saved, k) for k in plan.fixed]
        reads = [operand(saved, consts + carry + k) for k in plan.reads]
        return [*fixed, *same], [*reads, *again, *stacks]

    def _anew(self, plan: Plan, saved: Sequence[Any], params: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Residuals from the operands, of which only those are needed that they depend on."""
        consts, carry = params["consts"], params["carry"]
        needed, _ = live(plan.before.equations, plan.before.outputs)
        values = [operand(saved, k) if var in needed else None for k, var in enumerate(plan.before.inputs)]
        same = evaluate(plan.before, values)
        count = len(params["body"].outputs)
        wanted = [plan.known.outputs[carry + k] for k in plan.again] + plan.known.outputs[count:]
        if not wanted:
            return same, (), ()
        body, used, counts = _pruned(plan.known, consts, carry, tuple(wanted))
        outs = bind(self, *(operand(saved, k) for k in used), **{**params, "body": body, **counts})
        stacks = outs[counts["carry"] :]
        return same, stacks[: len(plan.again)], stacks[len(plan.again) :]

    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        consts, carry, length = params["consts"], params["carry"], params["length"]
        plan = self._plan(active, params)
        carry_cts, y_cts = select(cts[:carry], plan.carry), select(cts[carry:], plan.ys)
        if all(ct is None for ct in (*carry_cts, *y_cts)):
            return (None,) * len(active)
        fixed, stacks = self._residuals(plan, saved, params)
        given = tuple(ct is not None for ct in y_cts)
        moving_consts = sum(plan.mask[:consts])
        back, const_mask, x_mask = _back(plan.linear, len(fixed), moving_consts, len(carry_cts), len(stacks), given)
        const_avals, carry_avals = (
            [tangent_of(var.aval) for var in select(params["body"].inputs[a:b], plan.mask[a:b])]
            for a, b in ((0, consts), (consts, consts + carry))
        )
        near = (*fixed, *stacks, *cts)
        sums = [zeros_among(aval, near) for aval in select(const_avals, const_mask)]
        initial = [
            zeros_among(aval, near) if ct is None else fit(ct, aval)
            for ct, aval in zip(carry_cts, carry_avals, strict=True)
        ]
        rows = [
            fit(ct, Aval((length, *atom.aval.shape), atom.aval.dtype))
            for ct, atom in zip(y_cts, plan.linear.outputs[len(carry_cts) :], strict=True)
            if ct is not None
        ]
        settings = {
            "body": back, "consts": len(fixed), "carry": len(sums) + len(initial), "length": length,
            "reverse": not params["reverse"],
        }  # fmt: skip
        outs = bind(self, *fixed, *sums, *initial, *stacks, *rows, **settings)
        const_bars, carry_bars, x_bars = parts(outs, len(sums), len(initial))
        bars = [*spread(const_bars, const_mask), *carry_bars, *spread(x_bars, x_mask)]
        by_slot = spread(bars, plan.mask)
        return tuple(by_slot[k] for k in active)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        body, consts, carry = params["body"], params["consts"], params["carry"]
        nothing = (False,) * (len(body.outputs) - carry)
        flags = tuple(mapped)

        def step(moving: Mask) -> Mask:
            return batched(body, size, _with_carry(flags, consts, moving), (*moving, *nothing))[1][:carry]  # type: ignore[no-any-return]

        wide = closure(step, flags[consts : consts + carry])
        new, outs_mapped = batched(body, size, _with_carry(flags, consts, wide), (*wide, *nothing))
        c, s, x = parts(args, consts, carry)
        state = [
            broadcast_to(value, shape=(size, *aval_of(value).shape)) if on and not was else value
            for value, on, was in zip(s, wide, flags[consts:], strict=False)
        ]
        xs = [np.moveaxis(value, 0, 1) if on else value for value, on in zip(x, flags[consts + carry :], strict=True)]
        outs = bind(self, *c, *state, *xs, **{**params, "body": new})
        ys = [np.moveaxis(y, 1, 0) if on else y for y, on in zip(outs[carry:], outs_mapped[carry:], strict=True)]
        return (*outs[:carry], *ys), outs_mapped


def finished(state: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    """The carry after a loop: NumPy scalars where it has no axes, and no view of an operand."""
    taken = {id(x) for x in operands}
    return [
        value if type(value) is not np.ndarray else value[()] if not value.shape else core.owned(value, taken)
        for value in state
    ]


def present(tangents: Sequence[Any]) -> list[Any]:
    return [x_dot for x_dot in tangents if x_dot is not None]


def initial_tangents(state: Sequence[Any], tangents: Sequence[Any], moving: Mask, near: Sequence[Any]) -> list[Any]:
    """A tangent for each value of the carry that moves."""
    return [
        zeros_among(tangent_of(aval_of(x)), near) if x_dot is None else fit_dtype(x_dot, tangent_of(aval_of(x)))
        for x, x_dot, on in zip(state, tangents, moving, strict=True)
        if on
    ]


def spread(values: Sequence[Any], mask: Sequence[bool]) -> list[Any]:
    """Values in the places where the mask is set, None elsewhere."""
    rows = iter(values)
    return [next(rows) if on else None for on in mask]


@derived
def _pruned(
    body: WengertList, consts: int, carry: int, wanted: tuple[Any, ...]
) -> tuple[WengertList, list[int], dict[str, int]]:
    """The body of a scan for some of its ys only, the slots that it needs, and the counts of consts and carry."""
    inputs, outputs = body.inputs, body.outputs

    def step(kept: Mask) -> Mask:
        needed, _ = live(body.equations, [*select(outputs[:carry], kept), *wanted])
        return tuple(var in needed for var in inputs[consts : consts + carry])

    kept = closure(step, (False,) * carry)
    ends = [*select(outputs[:carry], kept), *wanted]
    needed, _ = live(body.equations, ends)
    used = [k for k, var in enumerate(inputs) if var in needed or (consts <= k < consts + carry and kept[k - consts])]
    counts = {"consts": sum(k < consts for k in used), "carry": sum(kept)}
    return rewired(body, [inputs[k] for k in used], ends), used, counts


scan: Final = Scan("scan")
