"""Splitting: heavy loops in a fixed number of parts, which threads can share.

Each part adds up its own share of a reduction, and the shares are combined in order at the end. The parts do not depend
on how many threads there are, and so neither do the results. (A sum in parts is also more accurate than one from end to
end.)
"""

from __future__ import annotations

import math
from typing import Final

from wengert.compile.machine import scalars
from wengert.compile.tensors.form import Accumulate, Buffer, Control, Loop, Nest, Node, Tensors
from wengert.compile.tensors.fuse import reshaped
from wengert.compile.tensors.order import order_axes

PARTS: Final = 16
HEAVY: Final = 1_500_000  # cycles of work from which on a loop is worth the start of a thread


def split(program: Tensors) -> Tensors:
    """The program with its heavy loops in parts."""
    nodes: list[Node] = []
    for node in program.nodes:
        if isinstance(node, Control):
            node.bodies = [split(body) for body in node.bodies]
        nodes.append(_split(node) if isinstance(node, Loop | Nest) and work(node) >= HEAVY else node)
    return program.with_nodes(nodes)


def work(node: Loop | Nest) -> int:
    """Cycles that a loop takes, roughly."""
    if isinstance(node, Nest):
        return sum(map(work, node.loops))
    each = len(node.effects) + sum(
        scalars.cost(e.data[0]) if e.op == "apply" else e.op in ("load", "gather") for e in node.exprs()
    )
    return math.prod(node.shape) * each


def _split(node: Loop | Nest) -> Node:
    nest = node if isinstance(node, Nest) else _alone(node)
    if nest is None or nest.length < 4 * PARTS:
        return node
    parts: dict[Buffer, Buffer] = {}
    for loop, axis in zip(nest.loops, nest.axes, strict=True):
        for effect in loop.effects:
            buffer = effect.view.buffer
            if effect.view.strides[axis]:
                continue
            if not isinstance(effect, Accumulate) or _covered(effect) != buffer.size:
                return node
            parts[buffer] = Buffer("temp", buffer.dtype, PARTS * buffer.size, f"{buffer.name}_parts")
    return Nest(nest.length, nest.loops, nest.axes, nest.local, parts)


def _covered(effect: Accumulate) -> int:
    return math.prod(n for n, s in zip(effect.view.shape, effect.view.strides, strict=True) if s)


def _alone(loop: Loop) -> Nest | None:
    """A nest of one loop, over one axis if it can be seen so, else over the outermost that is long enough."""
    if loop.ordered or not loop.shape:
        return None
    flat = reshaped(loop, (math.prod(loop.shape),))
    if flat is not None:
        return Nest(flat.shape[0], [flat], [0], set())
    order = order_axes(loop)
    axis = next((k for k in order[:-1] if loop.shape[k] >= 4 * PARTS), order[0])
    return Nest(loop.shape[axis], [loop], [axis], set())
