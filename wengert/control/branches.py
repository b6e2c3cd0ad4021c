"""The primitives `call` (a closed list on its operands) and `switch` (one of several, chosen by an index)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from wengert.avals import Aval
from wengert.control.bodies import (
    Mask,
    batched,
    derived,
    linearized,
    moves,
    pulled,
    pushed,
    rewired,
    run,
    select,
    tangent_of,
)
from wengert.control.kind import Composite, Outs, active_slots, apart, operand
from wengert.core import FLOAT_ERRORS, IGNORED, aval_of, bind
from wengert.ops.indexing import where
from wengert.ops.vector import fit
from wengert.program import Var, WengertList

Branches = tuple[WengertList, ...]


class Plan(NamedTuple):
    """The derivative of branches in two pieces, with one set of residuals for all."""

    known: Branches  # operands → results, then residuals
    linear: Branches  # operands that are residuals, other residuals, tangents → tangents of the results that move
    moving: Mask  # over the results
    kept: tuple[int, ...]  # which operands are residuals


def plan_of(branches: Branches, active: Mask) -> Plan:
    return _plan(branches[0], branches[1:], active)  # type: ignore[no-any-return]


@derived
def _plan(first: WengertList, others: Branches, active: Mask) -> Plan:
    halves = [linearized(body, active) for body in (first, *others)]
    moving = tuple(map(any, zip(*(half.moving for half in halves), strict=True)))
    kept = tuple(k for k in range(len(active)) if any(half.known.inputs[k] in half.residuals for half in halves))
    # Residuals of one aval share a place, as only one branch runs.
    places: list[Aval] = []
    rows = []  # for each branch, its variable in each place
    for half in halves:
        row: dict[int, Var] = {}
        for var in half.residuals:
            if var in half.known.inputs:
                continue
            free = (k for k, aval in enumerate(places) if k not in row and aval == var.aval)
            place = next(free, len(places))
            if place == len(places):
                places.append(var.aval)
            row[place] = var
        rows.append(row)
    known, linear = [], []
    for half, row in zip(halves, rows, strict=True):
        count = len(half.moving)
        extra = [row.get(k, aval._replace(weak=False)) for k, aval in enumerate(places)]
        known.append(rewired(half.known, half.known.inputs, [*half.known.outputs[:count], *extra]))
        within = dict(zip(half.residuals, half.linear.inputs, strict=False))
        inputs = [within.get(half.known.inputs[k]) or Var(f"o{k + 1}", half.known.inputs[k].aval) for k in kept]
        inputs += [within[row[k]] if k in row else Var(f"r{k + 1}", aval) for k, aval in enumerate(places)]
        dots = iter(half.linear.outputs)
        outputs = [next(dots) if on else None for on in half.moving]
        outputs = [
            tangent_of(atom.aval) if dot is None else dot
            for dot, atom in zip(outputs, half.known.outputs, strict=False)
        ]
        linear.append(
            rewired(half.linear, [*inputs, *half.linear.inputs[len(half.residuals) :]], select(outputs, moving))
        )
    return Plan(tuple(known), tuple(linear), moving, kept)


class Branching(Composite):
    """One of several lists with the same avals in and out.

    Operands: the index, where there are several branches, and what the lists take. The index is clamped.
    """

    lead: int  # how many operands are the index

    @abstractmethod
    def lists(self, params: dict[str, Any]) -> Branches:
        """The branches."""

    @abstractmethod
    def bind_lists(self, lists: Branches, operands: Sequence[Any], params: dict[str, Any]) -> Outs:
        """Apply the primitive to other branches."""

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        return tuple(atom.aval for atom in self.lists(params)[0].outputs)

    def forward(self, primals: Sequence[Any], tangents: Sequence[Any], params: dict[str, Any]) -> tuple[Outs, Outs]:
        lists = self.lists(params)
        active = moves(lists[0], [x_dot is not None for x_dot in tangents[self.lead :]])
        dots = select(tangents[self.lead :], active)
        if apart(primals, tangents):
            outs, residuals = self.record(primals, active_slots(tangents), params)
            plan = plan_of(lists, active)
            operands = [*primals[: self.lead], *(primals[self.lead + k] for k in plan.kept), *residuals, *dots]
            found = iter(self.bind_lists(plan.linear, operands, params))
            return outs, tuple(next(found) if on else None for on in plan.moving)
        pairs = [pushed(body, active) for body in lists]
        moving = tuple(map(any, zip(*(mask for _, mask in pairs), strict=True)))
        duals = tuple(_aligned(body, mask, moving) for body, mask in pairs)
        outs = self.bind_lists(duals, [*primals, *dots], params)
        found = iter(outs[len(moving) :])
        return outs[: len(moving)], tuple(next(found) if on else None for on in moving)

    def record(self, values: Sequence[Any], active: Sequence[int], params: dict[str, Any]) -> tuple[Outs, Any]:
        lists = self.lists(params)
        plan = plan_of(lists, self._mask(active, lists[0]))
        outs = self.bind_lists(plan.known, values, params)
        return outs[: len(plan.moving)], outs[len(plan.moving) :]

    def pull(self, active: Sequence[int], cts: Sequence[Any], saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        lists = self.lists(params)
        mask = self._mask(active, lists[0])
        plan = plan_of(lists, mask)
        residuals = saved[-1]
        if residuals is None:
            residuals = self._residuals(plan, saved, params)
        given = tuple(ct is not None for ct in select(cts, plan.moving))
        if not any(given):
            return (None,) * len(active)
        count = len(plan.kept) + len(residuals)
        pairs = [pulled(body, count, given) for body in plan.linear]
        found = tuple(map(any, zip(*(one for _, one in pairs), strict=True)))
        tangents = tuple(tangent_of(var.aval) for var in select(lists[0].inputs, mask))
        backs = tuple(_aligned_bars(body, one, found, tangents) for body, one in pairs)
        avals = [atom.aval for atom in plan.linear[0].outputs]
        rows = [fit(ct, aval) for ct, aval in zip(select(cts, plan.moving), avals, strict=True) if ct is not None]
        index = [operand(saved, k) for k in range(self.lead)]
        kept = [operand(saved, self.lead + k) for k in plan.kept]
        bars = iter(self.bind_lists(backs, [*index, *kept, *residuals, *rows], params))
        by_input = iter([next(bars) if on else None for on in found])
        spread = [next(by_input) if on else None for on in mask]
        return tuple(None if k < self.lead else spread[k - self.lead] for k in active)

    def _residuals(self, plan: Plan, saved: Sequence[Any], params: dict[str, Any]) -> Outs:
        """Residuals from the operands, of which only those are needed that they depend on."""
        count = len(plan.moving)
        if len(plan.known[0].outputs) == count:
            return ()
        only = [rewired(body, body.inputs, body.outputs[count:]) for body in plan.known]
        used = [any(body.inputs[k] in _read(body) for body in only) for k in range(len(plan.known[0].inputs))]
        lists = tuple(rewired(body, select(body.inputs, used), body.outputs) for body in only)
        needed = [operand(saved, self.lead + k) for k, on in enumerate(used) if on]
        return self.bind_lists(lists, [*(operand(saved, k) for k in range(self.lead)), *needed], params)

    def _mask(self, active: Sequence[int], body: WengertList) -> Mask:
        return moves(body, [k + self.lead in active for k in range(len(body.inputs))])

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        lists = self.lists(params)
        inner = tuple(mapped[self.lead :])
        nothing = (False,) * len(lists[0].outputs)
        if self.lead and mapped[0]:
            return self._chosen(size, args, inner, lists), (True,) * len(nothing)
        flags = [batched(body, size, inner, nothing)[1] for body in lists]
        forced = tuple(map(any, zip(*flags, strict=True)))
        wide = tuple(batched(body, size, inner, forced)[0] for body in lists)
        return self.bind_lists(wide, args, params), forced

    def _chosen(self, size: int, args: Sequence[Any], mapped: Mask, lists: Branches) -> Outs:
        """Every branch for every member, and of each its own: members that go other ways stay silent."""
        every = (True,) * len(lists[0].outputs)
        rows = []
        users = FLOAT_ERRORS.get()
        try:
            FLOAT_ERRORS.set(IGNORED)
            for body in lists:
                rows.append(run(batched(body, size, mapped, every)[0], args[1:]))
        finally:
            FLOAT_ERRORS.set(users)
        chosen = rows[-1]
        for k in range(len(rows) - 2, -1, -1):
            here = np.less_equal(args[0], k)
            chosen = [choose(here, x, y) for x, y in zip(rows[k], chosen, strict=True)]
        return tuple(chosen)


def choose(here: Any, x: Any, y: Any) -> Any:
    """Members of x where `here`, of y elsewhere."""
    lead = aval_of(here).shape
    return bind(where, np.reshape(here, lead + (1,) * (len(aval_of(x).shape) - len(lead))), x, y)


def _read(body: WengertList) -> set[Any]:
    return {atom for eqn in body.equations for atom in eqn.inputs} | set(body.outputs)


@derived
def _aligned(body: WengertList, mask: Mask, moving: Mask) -> WengertList:
    """A list of dual numbers with a tangent for each result that moves in any branch."""
    count = len(mask)
    dots = iter(body.outputs[count:])
    rows = [next(dots) if on else tangent_of(atom.aval) for on, atom in zip(mask, body.outputs, strict=False)]
    return rewired(body, body.inputs, [*body.outputs[:count], *select(rows, moving)])


@derived
def _aligned_bars(body: WengertList, mask: Mask, found: Mask, tangents: Sequence[Aval]) -> WengertList:
    rows = iter(body.outputs)
    bars = [next(rows) if on else aval for on, aval in zip(mask, tangents, strict=True)]
    return rewired(body, body.inputs, select(bars, found))


class Call(Branching):
    """A closed list on its operands. Params: `body`."""

    lead = 0

    def lists(self, params: dict[str, Any]) -> Branches:
        return (params["body"],)

    def bind_lists(self, lists: Branches, operands: Sequence[Any], params: dict[str, Any]) -> Outs:
        return bind(self, *operands, body=lists[0])  # type: ignore[no-any-return]

    def value(self, *operands: Any, body: WengertList) -> Outs:
        return tuple(run(body, operands))


class Switch(Branching):
    """The list that an index chooses, clamped to those that there are. Params: `branches`."""

    lead = 1

    def lists(self, params: dict[str, Any]) -> Branches:
        return params["branches"]  # type: ignore[no-any-return]

    def bind_lists(self, lists: Branches, operands: Sequence[Any], params: dict[str, Any]) -> Outs:
        return bind(self, *operands, branches=lists)  # type: ignore[no-any-return]

    def value(self, index: Any, *operands: Any, branches: Branches) -> Outs:
        return tuple(run(branches[min(max(int(index), 0), len(branches) - 1)], operands))


call: Final = Call("call")
switch: Final = Switch("switch")
