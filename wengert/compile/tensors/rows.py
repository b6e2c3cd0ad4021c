"""Row by row: loops that share an outer axis run together at each of its positions.

What they hand each other then is one row, which stays in the nearest cache, instead of a whole array that goes out to
memory and comes back. Results do not change: at each position the same operations happen in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from wengert.compile.tensors.form import (
    Buffer,
    Control,
    Expr,
    Host,
    Loop,
    Nest,
    Node,
    Tensors,
    Update,
    View,
    change_loop,
    row_major,
    view_of,
)
from wengert.compile.tensors.fuse import decode

LARGE: Final = 32768  # elements of what loops hand each other from which on rows pay
LONG: Final = 16  # elements of the longest row from which on a loop of its own is worth its start


def rows(program: Tensors) -> Tensors:
    """The program with loops gathered into nests where that saves memory traffic."""
    for node in program.nodes:
        if isinstance(node, Control):
            node.bodies = [rows(body) for body in node.bodies]
    return program.with_nodes(_gather(program, list(program.nodes)))


def _gather(program: Tensors, nodes: list[Node]) -> list[Node]:
    done: list[Node] = []
    while nodes:
        node = nodes[0]
        found = None
        if isinstance(node, Loop) and not node.ordered and math.prod(node.shape) >= LARGE:
            for axis in _candidates(node):
                found = _nest(program, done, nodes, axis)
                if found is not None:
                    break
        if found is None:
            done.append(nodes.pop(0))
        else:
            before, nest, nodes = found
            done += [*before, nest]
    return done


def _candidates(loop: Loop) -> list[int]:
    """Axes to try, those with the widest steps first."""
    if len(loop.shape) < 2:
        return []

    def width(axis: int) -> int:
        return sum(abs(view_of(e).strides[axis]) for e in loop.exprs() if e.op == "load")

    axes = [axis for axis, n in enumerate(loop.shape) if n >= 16]
    return sorted(axes, key=lambda axis: (-width(axis), axis))


class _Group:
    """Loops that will make a nest, and what they have written."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.loops: list[Loop] = []
        self.axes: list[int] = []
        self.stores: dict[Buffer, tuple[View, int]] = {}  # whole arrays written row by row, and along which axis
        self.written: set[Buffer] = set()
        self.read: set[Buffer] = set()

    def accepts(self, loop: Loop) -> int | None:
        """The axis along which a loop can join, if any."""
        if loop.ordered:
            return None
        for axis, n in enumerate(loop.shape):
            if n == self.length and self._fits(loop, axis):
                return axis
        return None

    def _fits(self, loop: Loop, axis: int) -> bool:
        if any(buffer in self.written or buffer in self.read for buffer in loop.writes()):
            return False
        for e in loop.exprs():
            if e.op not in ("load", "gather") or view_of(e).buffer not in self.written:
                continue
            view = view_of(e)
            if e.op == "gather" or view.buffer not in self.stores:
                return False
            whole, outer = self.stores[view.buffer]
            if not _same_row(view, axis, whole, outer):
                return False
        return True

    def join(self, loop: Loop, axis: int) -> None:
        self.loops.append(loop)
        self.axes.append(axis)
        self.read.update(loop.reads())
        for effect in loop.effects:
            self.written.add(effect.view.buffer)
            whole = _written_whole(effect.view, loop.shape)
            if isinstance(effect, Update) or whole is None or not effect.view.strides[axis]:
                self.stores.pop(effect.view.buffer, None)
                continue
            kept = [k for k, s in enumerate(effect.view.strides) if s or loop.shape[k] == 1]
            self.stores[effect.view.buffer] = (whole, kept.index(axis))


def _written_whole(view: View, shape: Sequence[int]) -> View | None:
    """The array that an effect fills, without reduced axes; None where it fills only a part."""
    kept = [k for k, s in enumerate(view.strides) if s or shape[k] == 1]
    whole = view.transpose(kept)
    order = sorted(range(len(kept)), key=lambda k: -whole.strides[k])
    return whole if whole.transpose(order).is_whole() else None


def _same_row(view: View, axis: int, whole: View, outer: int) -> bool:
    """Whether position i of `axis` reads only what position i of the array's axis `outer` holds."""
    found = decode(view, whole)
    if found is None:
        return False
    steps, starts = found
    return (
        starts[outer] == 0
        and steps[outer] == {axis: 1}
        and all(axis not in step for k, step in enumerate(steps) if k != outer)
    )


def _nest(
    program: Tensors, done: list[Node], nodes: list[Node], axis: int
) -> tuple[list[Node], Node, list[Node]] | None:
    first = nodes[0]
    assert isinstance(first, Loop)
    group = _Group(first.shape[axis])
    if not group._fits(first, axis):
        return None
    group.join(first, axis)
    before: list[Node] = []
    after: list[Node] = []
    later_reads: set[Buffer] = set()
    later_writes: set[Buffer] = set()
    held = bool(program.guards)  # Python is called only where a guard before it has held
    for node in nodes[1:]:
        reads, writes = set(node.reads()), set(node.writes())
        waits = bool((reads | writes) & later_writes or writes & later_reads)
        joins = group.accepts(node) if isinstance(node, Loop) and not waits else None
        if joins is not None and isinstance(node, Loop):
            group.join(node, joins)
        elif not (
            waits or (held and isinstance(node, Host)) or (reads | writes) & group.written or writes & group.read
        ):
            before.append(node)
        else:
            after.append(node)
            later_reads |= reads
            later_writes |= writes
    outside = {b for node in (*done, *before, *after) for b in (*node.reads(), *node.writes())}
    outside.update(view.buffer for view, _ in program.guards)
    local = {
        buffer
        for buffer, (whole, _) in group.stores.items()
        if buffer.kind == "temp" and buffer not in outside and len(whole.shape) > 1
    }
    exchanged = sum(buffer.size for buffer in local if any(buffer in loop.reads() for loop in group.loops))
    longest = max(math.prod(loop.shape) // group.length for loop in group.loops)
    if len(group.loops) < 2 or exchanged < LARGE or longest < LONG:
        return None
    return before, _localized(group, local), after


def _localized(group: _Group, local: set[Buffer]) -> Nest:
    """The nest, with the axis of the nest outermost in local arrays."""
    moved: dict[Buffer, tuple[Buffer, View, int, tuple[int, ...]]] = {}
    for buffer in local:
        whole, outer = group.stores[buffer]
        order = [outer, *(k for k in range(len(whole.shape)) if k != outer)]
        strides = dict(zip(order, row_major(tuple(whole.shape[k] for k in order)), strict=True))
        new = Buffer("temp", buffer.dtype, buffer.size, buffer.name)
        moved[buffer] = new, whole, outer, tuple(strides[k] for k in range(len(order)))

    def change(view: View) -> View:
        if view.buffer not in moved:
            return view
        new, whole, _, strides = moved[view.buffer]
        found = decode(view, whole)
        assert found is not None
        steps, starts = found
        new_strides = [0] * len(view.shape)
        for step, stride in zip(steps, strides, strict=True):
            for axis, count in step.items():
                new_strides[axis] += count * stride
        offset = sum(start * stride for start, stride in zip(starts, strides, strict=True))
        return View(new, view.shape, tuple(new_strides), offset)

    loops = [
        change_loop(
            loop, loop.shape, lambda e: Expr("load", e.aval, (), change(e.data)) if e.op == "load" else None, change
        )
        for loop in group.loops
    ]
    return Nest(group.length, loops, group.axes, {moved[buffer][0] for buffer in local})
