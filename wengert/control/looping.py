"""The primitives `while_loop` and `while_pullback`, which sweeps back over the states of a loop.

For a loop x ↦ W(x) that repeats x ← f(x) while p(x), let D be the loop on dual numbers, (x, v) ↦ (W(x), W′(x) v). Then

    the pushforward of W           is D,
    the pullback of W              is B(x; ct) = W′(x)ᵀ ct, the primitive `while_pullback`,
    the derivative of B along v, w is the x-part of B of D at ((x, v); (w, ct)),
    the pullback of B for u        is W′(x) u for ct, and the x-part of B of D at ((x, u); (0, ct)) for x,

because ⟨u, B(x; ct)⟩ = ⟨ct, W′(x) u⟩ is a cotangent of the second result of D. So two primitives are closed under
differentiation to any order. What a body captured (its consts) moves along as if it were part of x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert import core
from wengert.avals import Aval
from wengert.control.bodies import (
    Mask,
    batched,
    close,
    closure,
    derived,
    linearized,
    moves,
    our_lines,
    parts,
    pushed,
    rewired,
    runner,
    select,
    tangent_of,
)
from wengert.control.branches import choose
from wengert.control.kind import Composite, Outs, active_slots, apart, in_two, operand, push, zeros_among
from wengert.control.scanning import finished, initial_tangents, spread
from wengert.core import aval_of, bind
from wengert.ops.vector import broadcast_to, fit
from wengert.program import Var, WengertList, evaluate, transpose


@derived
def carried(body: WengertList, consts: int, active: Mask) -> Mask:
    """What of the carry moves where these inputs of the body do."""
    count = len(body.outputs)
    return closure(lambda m: linearized(body, (*active[:consts], *m)).moving, active[consts : consts + count])


@derived
def _dual(body: WengertList, test: WengertList, consts: int, test_consts: int, active: Mask) -> dict[str, Any]:
    """The loop on dual numbers: the params of D."""
    moving = carried(body, consts, active)
    mask = (*active[:consts], *moving)
    program, out_moving = pushed(body, mask)
    count = len(body.inputs)
    c, s = parts(program.inputs[:count], consts)
    c_dot, s_dot = parts(program.inputs[count:], sum(mask[:consts]))
    rows = iter(program.outputs[len(out_moving) :])
    dots = [next(rows) if on else tangent_of(atom.aval) for on, atom in zip(out_moving, body.outputs, strict=True)]
    outputs = [*program.outputs[: len(out_moving)], *select(dots, moving)]
    more = [Var(f"t{k + 1}", var.aval) for k, var in enumerate(s_dot)]
    return {
        "test": rewired(test, [*test.inputs, *more], test.outputs),
        "body": rewired(program, [*c, *c_dot, *s, *s_dot], outputs),
        "test_consts": test_consts,
        "body_consts": consts + len(c_dot),
    }


@derived
def _back(body: WengertList, consts: int, active: Mask, moving: Mask) -> WengertList:
    """One step backwards: consts, the carry before the step, cotangents of the carry after it → those of the consts
    that are active and of the carry before it."""
    mask = (*active[:consts], *moving)
    half = linearized(body, mask)
    count = len(body.outputs)
    tangents = [tangent_of(var.aval) for var in select(body.inputs, mask)]

    def back(*symbols: Any) -> list[Any]:
        values, cts = parts(symbols, len(body.inputs))
        residuals = evaluate(half.known, values)[count:]
        rows = spread(cts, moving)
        bars = transpose(half.linear, select(rows, half.moving), residuals)
        return [aval if bar is None else fit(bar, aval) for bar, aval in zip(bars, tangents, strict=True)]

    with our_lines():
        avals = [var.aval for var in body.inputs]
        return close(back, [*avals, *(tangent_of(aval) for aval in select(avals[consts:], moving))], body.name, False)[
            0
        ]


@derived
def _batched(
    body: WengertList, test: WengertList, consts: int, test_consts: int, size: int, mapped: Mask
) -> tuple[dict[str, Any], Mask]:
    """The loop for all members of a batch: the params, and what of the carry is mapped.

    Where the members may stop at different times, it runs until all have stopped, and those that have stay as they are.
    """
    test_flags, body_flags, carry_flags = (tuple(group) for group in parts(mapped, test_consts, consts))

    def step(flags: Mask) -> Mask:
        stops_apart = batched(test, size, (*test_flags, *flags), (False,))[1][0]
        return (True,) * len(flags) if stops_apart else batched(body, size, (*body_flags, *flags), flags)[1]

    wide = closure(step, carry_flags)
    new_test, (stops_apart,) = batched(test, size, (*test_flags, *wide), (False,))
    new_body, _ = batched(body, size, (*body_flags, *wide), wide)
    if not stops_apart:
        params = {"test": new_test, "body": new_body, "test_consts": test_consts, "body_consts": consts}
        return params, wide

    def any_goes_on(*values: Any) -> list[Any]:
        return [np.any(evaluate(new_test, values)[0])]

    def masked(*values: Any) -> list[Any]:
        fixed, more, state = parts(values, test_consts, consts)
        (goes_on,) = evaluate(new_test, [*fixed, *state])
        return [choose(goes_on, y, x) for x, y in zip(state, evaluate(new_body, [*more, *state]), strict=True)]

    test_avals, state_avals = parts([var.aval for var in new_test.inputs], test_consts)
    body_avals = [var.aval for var in new_body.inputs[:consts]]
    return {
        "test": close(any_goes_on, [*test_avals, *state_avals], test.name, False)[0],
        "body": close(masked, [*test_avals, *body_avals, *state_avals], body.name, False)[0],
        "test_consts": test_consts,
        "body_consts": test_consts + consts,
    }, wide


class While(Composite):
    """Repeat a body while a test holds.

    Operands: what the test captured, what the body captured, the carry. Results: the carry after the loop. Params:
    `test` (its consts, the carry → a bool), `body` (its consts, the carry → the carry), `test_consts`, `body_consts`
    (how many there are).
    """

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        return tuple(atom.aval for atom in params["body"].outputs)

    def value(self, *operands: Any, test: WengertList, body: WengertList, test_consts: int, body_consts: int) -> Outs:
        return tuple(finished(states(operands, test, body, test_consts, body_consts)[1], operands))

    def forward(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Outs, Outs]:
        if apart(primals, tangents):
            return in_two(self, primals, tangents, params)
        moving, outs = self.dual(primals, tangents, params)
        count = len(moving)
        return outs[:count], tuple(spread(outs[count:], moving))

    def dual(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Mask, Outs]:
        """D at these operands: what of the carry moves, and the results."""
        settings, moving, operands = dual_of(primals, tangents, params)
        return moving, bind(while_loop, *operands, **settings)

    def record(self, values: Sequence[Any], active: Sequence[int], params: dict[str, Any]) -> tuple[Outs, Any]:
        return bind(self, *values, **params), ()

    def moving(self, active: Sequence[int], params: dict[str, Any]) -> Mask:
        return carried(params["body"], params["body_consts"], _mask(active, params))  # type: ignore[no-any-return]

    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        mask, moving = _mask(active, params), self.moving(active, params)
        chosen = select(cts, moving)
        if all(ct is None for ct in chosen):
            return (None,) * len(active)
        operands = [operand(saved, k) for k in range(len(saved) - 1)]
        avals = [tangent_of(atom.aval) for atom in select(params["body"].outputs, moving)]
        rows = [
            zeros_among(aval, (*operands, *cts)) if ct is None else fit(ct, aval)
            for ct, aval in zip(chosen, avals, strict=True)
        ]
        outs = bind(while_pullback, *operands, *rows, **pullback_params(params, mask, moving))
        bars = spread_bars(outs, mask, moving, params["body_consts"])
        return tuple(bars[k - params["test_consts"]] if k >= params["test_consts"] else None for k in active)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        settings, wide = batch_of(size, mapped, params)
        operands = arranged(size, args, (*mapped[: len(args) - len(wide)], *wide), mapped, params, settings)
        return bind(self, *operands, **settings), wide


def states(
    operands: Sequence[Any], test: WengertList, body: WengertList, test_consts: int, body_consts: int, keep: Any = None
) -> tuple[list[Any], list[Any]]:
    """Run a loop on plain values: the values `keep` of the carry before each step, and the carry after the last."""
    holds, step = runner(test), runner(body)
    fixed, more, state = parts(operands, test_consts, body_consts)
    weak = [k for k, var in enumerate(body.inputs[body_consts:]) if var.aval.weak]
    kept: list[list[Any]] = []
    while True:
        for k in weak:
            state[k] = core.weaken(state[k])
        if not holds(*fixed, *state)[0]:
            return kept, state
        if keep is not None:
            kept.append([state[k] for k in keep])
        state = step(*more, *state)


def dual_of(
    primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any], also: Sequence[bool] = ()
) -> tuple[dict[str, Any], Mask, list[Any]]:
    """The params of D, what of the carry moves, and the operands; inputs of the body in `also` get a tangent too."""
    test, body, test_consts, consts = params["test"], params["body"], params["test_consts"], params["body_consts"]
    given = [x_dot is not None for x_dot in tangents[test_consts:]]
    active = moves(body, [a or b for a, b in zip(given, also, strict=True)] if also else given)
    moving = carried(body, consts, active)
    near = (*primals, *tangents)
    t, c, s = parts(primals, test_consts, consts)
    _, c_dot, s_dot = parts(tangents, test_consts, consts)
    operands = [
        *t, *c, *initial_tangents(c, c_dot, active[:consts], near), *s, *initial_tangents(s, s_dot, moving, near)
    ]  # fmt: skip
    return _dual(body, test, consts, test_consts, active), moving, operands


def batch_of(size: int, mapped: Sequence[bool], params: dict[str, Any]) -> tuple[dict[str, Any], Mask]:
    settings, wide = _batched(
        params["body"], params["test"], params["body_consts"], params["test_consts"], size, tuple(mapped)
    )
    return settings, wide


def arranged(
    size: int, args: Sequence[Any], wanted: Sequence[bool], mapped: Sequence[bool], params: Any, settings: Any
) -> list[Any]:
    """Operands of a batched loop: those that are wanted with a leading axis, and the test's again for the body."""
    values = [
        broadcast_to(value, shape=(size, *aval_of(value).shape)) if on and not was else value
        for value, on, was in zip(args, wanted, mapped, strict=True)
    ]
    again = values[: settings["body_consts"] - params["body_consts"]]
    return [*values[: params["test_consts"]], *again, *values[params["test_consts"] :]]


def _mask(active: Sequence[int], params: dict[str, Any]) -> Mask:
    body = params["body"]
    return moves(body, [k + params["test_consts"] in active for k in range(len(body.inputs))])


def pullback_params(params: dict[str, Any], active: Mask, moving: Mask) -> dict[str, Any]:
    """The params of B for a loop, where these inputs of its body are active."""
    back = _back(params["body"], params["body_consts"], active, moving)
    return {**params, "back": back, "active": active, "moving": moving}


def spread_bars(outs: Sequence[Any], active: Mask, moving: Mask, consts: int) -> list[Any]:
    """The results of B by input of the body."""
    const_bars, carry_bars = parts(outs, sum(active[:consts]))
    return [*spread(const_bars, active[:consts]), *spread(carry_bars, moving)]


class WhilePullback(Composite):
    """The pullback of `while_loop`: run it and keep its states, then sweep back over them.

    Operands: those of the loop, then cotangents of what of its carry moves. Results: cotangents of the consts of its
    body that are active, and of what of the carry moves. Params: those of the loop, `active` (over the inputs of its
    body), `moving` (over the carry), and `back`, which is one step of the sweep: consts of the body, the carry before
    the step, cotangents after it → what the step adds for the active consts, cotangents before it.
    """

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        return tuple(atom.aval for atom in params["back"].outputs)

    def value(self, *operands: Any, back: WengertList, active: Mask, moving: Mask, **loop: Any) -> Outs:
        test_consts, consts = loop["test_consts"], loop["body_consts"]
        count = len(operands) - sum(moving)
        needed = [k for k, var in enumerate(back.inputs[consts : consts + len(moving)]) if var in _used(back)]
        kept, _ = states(operands[:count], **loop, keep=needed)
        step = runner(back)
        fixed = operands[test_consts : test_consts + consts]
        state: list[Any] = [None] * len(moving)
        avals = [atom.aval for atom in back.outputs[: len(back.outputs) - sum(moving)]]
        sums: list[Any] = [np.zeros(aval.shape, aval.dtype)[()] for aval in avals]
        cts = list(operands[count:])
        while kept:
            for k, value in zip(needed, kept.pop(), strict=True):
                state[k] = value
            out = step(*fixed, *state, *cts)
            for k, total in enumerate(sums):
                sums[k] = np.add(total, out[k], out=total) if type(total) is np.ndarray else total + out[k]
            cts = out[len(sums) :]
        return (*sums, *finished(cts, operands))

    def forward(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Outs, Outs]:
        loop, active, moving = _loop(params), params["active"], params["moving"]
        consts, test_consts = params["body_consts"], params["test_consts"]
        count = len(primals) - sum(moving)
        if all(x_dot is None for x_dot in tangents[:count]):  # it is linear in the cotangents
            rows = initial_tangents(primals[count:], tangents[count:], (True,) * sum(moving), (*primals, *tangents))
            return bind(self, *primals, **params), bind(self, *primals[:count], *rows, **params)
        if apart(primals, tangents):
            return in_two(self, primals, tangents, params)
        settings, dual_moving, operands = dual_of(primals[:count], tangents[:count], loop, active)
        mask = moves(
            params["body"], [a or x is not None for a, x in zip(active, tangents[test_consts:count], strict=True)]
        )
        mask_d = (*active[:consts], *select(active[:consts], mask[:consts]), *active[consts:])
        mask_d += tuple(select(active[consts:], dual_moving))
        moving_d = carried(settings["body"], settings["body_consts"], mask_d)
        cts, ct_dots = spread(primals[count:], moving), spread(tangents[count:], moving)
        outs = self._sweep(settings, operands, mask_d, moving_d, ct_dots, select(cts, dual_moving))
        const_bars, carry_bars = parts(
            spread_bars(outs, mask_d, moving_d, settings["body_consts"]), settings["body_consts"]
        )
        dots = [*select(const_bars[:consts], active[:consts]), *select(carry_bars[: len(moving)], moving)]
        values = [*spread(const_bars[consts:], mask[:consts]), *spread(carry_bars[len(moving) :], dual_moving)]
        return (
            (*select(values[:consts], active[:consts]), *select(values[consts:], moving)),
            tuple(dots),
        )

    def _sweep(
        self,
        settings: dict[str, Any],
        operands: Sequence[Any],
        active: Mask,
        moving: Mask,
        primal_cts: Any,
        dot_cts: Any,
    ) -> Outs:
        """B of D: with cotangents of its primal and its dual results, None for zero."""
        cts = select([*primal_cts, *dot_cts], moving)
        avals = [tangent_of(atom.aval) for atom in select(settings["body"].outputs, moving)]
        near = (*operands, *cts)
        rows = [zeros_among(aval, near) if ct is None else fit(ct, aval) for ct, aval in zip(cts, avals, strict=True)]
        return bind(self, *operands, *rows, **pullback_params(settings, active, moving))  # type: ignore[no-any-return]

    def record(self, values: Sequence[Any], active: Sequence[int], params: dict[str, Any]) -> tuple[Outs, Any]:
        return bind(self, *values, **params), ()

    def moving(self, active: Sequence[int], params: dict[str, Any]) -> Mask:
        return (True,) * len(params["back"].outputs)

    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        if all(ct is None for ct in cts):
            return (None,) * len(active)
        loop, moving = _loop(params), params["moving"]
        consts, test_consts = params["body_consts"], params["test_consts"]
        count = len(saved) - 1 - sum(moving)
        operands = [operand(saved, k) for k in range(count)]
        seeds = [None] * test_consts + spread_bars(cts, params["active"], moving, consts)
        found: dict[int, Any] = {}
        if any(k >= count for k in active):
            slots = active_slots(seeds)
            dots = push(*operands, *(seeds[k] for k in slots), of=while_loop, params=loop, active=slots)
            rows = spread(dots, while_loop.moving(slots, loop))
            found.update(zip(range(count, len(saved) - 1), select(rows, moving), strict=True))
        mask = _mask([k for k in active if k < count], loop)
        if any(mask):
            settings, dual_moving, dual_operands = dual_of(operands, seeds, loop)
            tangents = len(dual_operands) - len(operands) - sum(dual_moving)
            mask_d = (*mask[:consts], *(False,) * tangents, *mask[consts:], *(False,) * sum(dual_moving))
            moving_d = carried(settings["body"], settings["body_consts"], mask_d)
            row = spread([operand(saved, k) for k in range(count, len(saved) - 1)], moving)
            outs = self._sweep(
                settings, dual_operands, mask_d, moving_d, [None] * len(moving), select(row, dual_moving)
            )
            const_bars, carry_bars = parts(
                spread_bars(outs, mask_d, moving_d, settings["body_consts"]), settings["body_consts"]
            )
            found.update(enumerate([*const_bars[:consts], *carry_bars[: len(moving)]], test_consts))
        return tuple(found.get(k) for k in active)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        loop, active, moving = _loop(params), params["active"], params["moving"]
        consts, test_consts = params["body_consts"], params["test_consts"]
        count = len(args) - sum(moving)
        needed = (*(False,) * test_consts, *active[:consts], *moving)  # each member has a cotangent of its own
        wanted = [a or b for a, b in zip(mapped[:count], needed, strict=True)]
        settings, wide = batch_of(size, wanted, loop)
        wanted[test_consts + consts :] = wide
        operands = arranged(size, args[:count], wanted, mapped[:count], loop, settings)
        cts = [
            value if on else broadcast_to(value, shape=(size, *aval_of(value).shape))
            for value, on in zip(args[count:], mapped[count:], strict=True)
        ]
        extra = (False,) * (settings["body_consts"] - consts)
        mask = (*extra, *active)
        moving_wide = carried(settings["body"], settings["body_consts"], mask)
        outs = bind(self, *operands, *cts, **pullback_params(settings, mask, moving_wide))
        return outs, (True,) * len(outs)


def _used(program: WengertList) -> set[Any]:
    return {atom for eqn in program.equations for atom in eqn.inputs} | set(program.outputs)


def _loop(params: dict[str, Any]) -> dict[str, Any]:
    return {key: params[key] for key in ("test", "body", "test_consts", "body_consts")}


while_loop: Final = While("while_loop")
while_pullback: Final = WhilePullback("while_pullback")
