"""Fusion: fewer loops, so that values stay in registers instead of going through memory.

Three rewrites, none of which changes a result by a bit:
- a loop that reads what a cheap producer wrote computes it anew (`inline`);
- loops over one index space become one, a load of what the other stores becomes its register (`merge`);
- what nobody reads any more is dropped (`sweep`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from wengert.avals import Shape
from wengert.compile.machine import scalars
from wengert.compile.tensors.form import (
    Buffer,
    Control,
    Effect,
    Expr,
    Loop,
    Node,
    Store,
    Tensors,
    Update,
    View,
    apply,
    change_loop,
    topological,
    view_of,
)
from wengert.core import REGISTRY

CHEAP: Final = 4  # cycles per element up to which computing a value again beats writing and reading it
WIDE: Final = 24  # buffers up to which merging helps: more and the loop runs out of registers and cache ways


def fuse(program: Tensors) -> Tensors:
    """The program with its loops merged."""
    nodes: list[Node] = []
    last_write: dict[Buffer, int] = {}
    last_read: dict[Buffer, int] = {}

    def note(node: Node, k: int) -> None:
        last_write.update(dict.fromkeys(node.writes(), k))
        for buffer in node.reads():
            last_read[buffer] = max(last_read.get(buffer, -1), k)

    for node in program.nodes:
        if isinstance(node, Control):
            node.bodies = [fuse(body) for body in node.bodies]
        merged = None
        if isinstance(node, Loop):
            node = inline(canonical(node), nodes, last_write)
            needs = max((last_write.get(b, -1) for b in (*node.reads(), *node.writes())), default=-1)
            needs = max(needs, *(last_read.get(b, -1) + 1 for b in node.writes()))  # whoever reads the old values first
            for k in range(len(nodes) - 1, max(needs, 0) - 1, -1):
                other = nodes[k]
                merged = merge(other, node) if isinstance(other, Loop) else None
                if merged is not None:
                    nodes[k] = merged
                    note(node, k)
                    break
        if merged is None:
            note(node, len(nodes))
            nodes.append(node)
    return sweep(program.with_nodes(nodes))


# ------------------------------------------------------------------------------------------------ canonical loops


def reshaped(loop: Loop, shape: Shape) -> Loop | None:
    """The same loop over an index space of another shape, or None where its views do not allow it."""
    if loop.shape == shape:
        return loop
    if loop.ordered or any(e.op == "index" for e in loop.exprs()):
        return None
    found: dict[View, View] = {}
    for view in _all_views(loop):
        new = view.reshape(shape) if view.shape != shape else view
        if new is None:
            return None
        found[view] = new
    return change_loop(loop, shape, lambda e: _with_view(e, found), lambda view: found[view])


def _all_views(loop: Loop) -> list[View]:
    return [view_of(e) for e in loop.exprs() if e.op in ("load", "gather")] + [effect.view for effect in loop.effects]


def _with_view(e: Expr, found: dict[View, View]) -> Expr | None:
    if e.op == "load":
        new = found[e.data]
        return None if new is e.data else Expr("load", e.aval, (), new)
    return None  # a gather's view is changed by `canonical` only


def canonical(loop: Loop) -> Loop:
    """Without axes of length 1, and with equal loads and constants shared."""
    kept = [k for k, n in enumerate(loop.shape) if n != 1]
    shape = tuple(loop.shape[k] for k in kept)
    place = {k: j for j, k in enumerate(kept)}
    shared: dict[Any, Expr] = {}
    done: dict[Expr, Expr] = {}
    for e in loop.exprs():
        if e.op == "load":
            view = e.data.transpose(kept)
            key: Any = ("load", view, e.aval.weak)
            new = Expr("load", e.aval, (), view)
        elif e.op == "const":
            key = ("const", e.aval, type(e.data), repr(e.data))
            new = e
        elif e.op == "index":
            axis = place.get(e.data)
            key = ("index", axis)
            new = Expr("const", e.aval, (), 0) if axis is None else Expr("index", e.aval, (), axis)
        elif e.op == "gather":
            base, *rest = e.data
            args = tuple(done[arg] for arg in e.args)
            key = ("gather", base, tuple(map(str, rest)), args)
            new = Expr("gather", e.aval, args, (base.transpose(kept), *rest))
        else:
            args = tuple(done[arg] for arg in e.args)
            key = None
            new = Expr(e.op, e.aval, args, e.data)
        done[e] = new if key is None else shared.setdefault(key, new)
    effects: list[Effect] = []
    for effect in loop.effects:
        view = effect.view.transpose(kept)
        if isinstance(effect, Update):
            effects.append(
                effect._replace(view=view, value=done[effect.value], indices=tuple(done[i] for i in effect.indices))
            )
        else:
            effects.append(effect._replace(view=view, value=done[effect.value]))
    return Loop(shape, effects, loop.ordered)


# -------------------------------------------------------------------------------------------------------- merging


def merge(first: Loop, second: Loop) -> Loop | None:
    """One loop that does both, or None where that is not possible or not worth it."""
    if first.ordered or second.ordered or math.prod(first.shape) != math.prod(second.shape):
        return None
    other = second if first.shape == second.shape else reshaped(second, first.shape)
    if other is None:
        other = _permuted(first, second)
        if other is None:
            return None
    stored: dict[View, Expr] = {}
    written: dict[Buffer, list[Effect]] = {}
    for effect in first.effects:
        written.setdefault(effect.view.buffer, []).append(effect)
        if isinstance(effect, Store):
            stored[effect.view] = effect.value
    for e in other.exprs():
        if e.op in ("load", "gather"):
            view = view_of(e)
            if view.buffer in written and (e.op == "gather" or view not in stored or len(written[view.buffer]) > 1):
                return None
    for effect in other.effects:
        if effect.view.buffer in written and not (
            type(effect) is Update and not effect.indices and effect.how == "add" and effect.view in stored
        ):
            return None
    if not set(first.reads()).isdisjoint(other.writes()):
        return None
    if len({*first.reads(), *first.writes(), *other.reads(), *other.writes()}) > WIDE and first.shape:
        return None
    loads = {e.data: e for e in first.exprs() if e.op == "load"}

    def change(e: Expr) -> Expr | None:
        if e.op != "load":
            return None
        if e.data in stored:
            return stored[e.data]
        return loads.get(e.data)

    moved = change_loop(other, other.shape, change, lambda view: view)
    effects = list(first.effects)
    for effect in moved.effects:
        if effect.view.buffer in written:  # an addition to what was just stored
            (place,) = (k for k, e in enumerate(effects) if e.view == effect.view)
            total = apply(REGISTRY["add"], [effects[place].value, effect.value])
            effects[place] = Store(effect.view, total)
        else:
            effects.append(effect)
    return Loop(first.shape, effects)


def _permuted(first: Loop, second: Loop) -> Loop | None:
    """`second` with its axes in another order, where that makes it run over the same index space."""
    if sorted(first.shape) != sorted(second.shape) or len(set(first.shape)) != len(first.shape):
        return None
    axes = [second.shape.index(n) for n in first.shape]
    found = {view: view.transpose(axes) for view in _all_views(second)}
    if any(e.op in ("index", "gather") for e in second.exprs()):
        return None
    return change_loop(second, first.shape, lambda e: _with_view(e, found), lambda view: found[view])


# ------------------------------------------------------------------------------------------------------- inlining


def inline(loop: Loop, nodes: Sequence[Node], last_write: dict[Buffer, int]) -> Loop:
    """Compute again what cheap producers stored, where the load reads it at other places than it was stored at."""
    made: dict[View, Expr] = {}
    written = loop.writes()
    for e in loop.exprs():
        if e.op != "load" or e.data.buffer.kind != "temp" or e.data in made:
            continue
        place = last_write.get(e.data.buffer)
        producer = nodes[place] if place is not None else None
        if not isinstance(producer, Loop) or producer.ordered:
            continue
        effects = [effect for effect in producer.effects if effect.view.buffer is e.data.buffer]
        if len(effects) != 1 or not isinstance(effects[0], Store) or not effects[0].view.is_whole():
            continue
        store = effects[0]
        if store.view == e.data and producer.shape == loop.shape:
            continue  # a merge will do
        below = topological([store.value])
        price = sum(_price(x) for x in below)
        if price > CHEAP or any(x.op in ("gather", "index", "part") for x in below):
            continue
        loads = [x for x in below if x.op == "load"]
        if price and len(loads) > 1 and math.prod(loop.shape) > 2 * store.view.buffer.size:
            continue
        if any(last_write.get(x.data.buffer, -1) > place or x.data.buffer in written for x in loads):  # type: ignore[operator]
            continue  # written again since, or here
        index_map = decode(e.data, store.view)
        if index_map is not None:
            made[e.data] = _remapped(store.value, loop.shape, *index_map)
    if not made:
        return loop
    changed = change_loop(loop, loop.shape, lambda e: made.get(e.data) if e.op == "load" else None, lambda view: view)
    return canonical(changed)


def _price(e: Expr) -> int:
    return int(scalars.cost(e.data[0])) if e.op == "apply" else 0


IndexMap = tuple[list[dict[int, int]], list[int]]  # per axis of the producer: strides by axis of the reader, and start


def decode(view: View, whole: View) -> IndexMap | None:
    """Which element of `whole` (its entire buffer) each index of `view` reads, axis by axis; None where not affine."""
    shape, strides = whole.shape, whole.strides
    order = sorted(range(len(shape)), key=lambda a: -strides[a])
    starts = [0] * len(shape)
    left = view.offset
    for a in order:
        starts[a], left = divmod(left, strides[a])
    if left:
        return None
    steps: list[dict[int, int]] = [{} for _ in shape]
    low, high = list(starts), list(starts)
    for axis, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)):
        if s == 0 or n == 1:
            continue
        for a in order:
            if abs(s) >= strides[a] and s % strides[a] == 0 and shape[a] > 1:
                step = s // strides[a]
                steps[a][axis] = step
                low[a] += min(0, step * (n - 1))
                high[a] += max(0, step * (n - 1))
                break
        else:
            return None
    if any(lo < 0 or hi >= n for lo, hi, n in zip(low, high, shape, strict=True)):
        return None
    return steps, starts


def _remapped(value: Expr, shape: Shape, steps: list[dict[int, int]], starts: list[int]) -> Expr:
    """An expression over the producer's axes, as one over the reader's."""
    done: dict[Expr, Expr] = {}
    for e in topological([value]):
        if e.op == "load":
            view: View = e.data
            strides = [0] * len(shape)
            offset = view.offset
            for a, s in enumerate(view.strides):
                offset += s * starts[a]
                for axis, step in steps[a].items():
                    strides[axis] += s * step
            done[e] = Expr("load", e.aval, (), View(view.buffer, shape, tuple(strides), offset))
        elif e.op == "const":
            done[e] = e
        else:
            done[e] = Expr(e.op, e.aval, tuple(done[arg] for arg in e.args), e.data)
    return done[value]


# ------------------------------------------------------------------------------------------------------- sweeping


def sweep(program: Tensors) -> Tensors:
    """Without stores to scratch that nothing reads, and without loops that do nothing else."""
    live: set[Buffer] = {*program.outputs, *(view.buffer for view, _ in program.guards)}
    kept: list[Node] = []
    for node in reversed(program.nodes):
        if isinstance(node, Loop):
            effects = [effect for effect in node.effects if effect.view.buffer in live]
            if not effects:
                continue
            node = Loop(node.shape, effects, node.ordered)
        elif not any(buffer in live for buffer in node.writes()):
            continue
        live.update(node.reads())
        kept.append(node)
    return program.with_nodes(kept[::-1])
