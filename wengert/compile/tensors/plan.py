"""The memory plan: where in one arena each scratch buffer lies, so that buffers which do not live together share."""

from __future__ import annotations

from typing import Final

from wengert.compile.tensors.form import Buffer, Control, Nest, Tensors
from wengert.compile.tensors.split import PARTS

ALIGNMENT: Final = 64  # bytes: a cache line, and the widest vector


def plan(program: Tensors) -> Tensors:
    """The program with a place for each of its scratch buffers."""
    sizes = {
        buffer: (PARTS if node.parts is not None else 1) * (buffer.size // node.length)
        for node in program.nodes
        if isinstance(node, Nest)
        for buffer in node.local
    }

    def room(buffer: Buffer) -> int:
        octets = max(sizes.get(buffer, buffer.size), 1) * buffer.dtype.itemsize
        return -(-octets // ALIGNMENT) * ALIGNMENT

    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for k, node in enumerate(program.nodes):
        for buffer in (*node.reads(), *node.writes()):
            if buffer.kind == "temp":
                first.setdefault(buffer, k)
                last[buffer] = k
    for view, _ in program.guards:
        if view.buffer.kind == "temp":
            last[view.buffer] = len(program.nodes)
    planned = program.with_nodes(program.nodes)
    for node in planned.nodes:
        if isinstance(node, Control):
            node.bodies = [plan(body) for body in node.bodies]
    placed: list[tuple[int, int, Buffer]] = []  # start, end, buffer
    for buffer in sorted(first, key=lambda b: (-room(b), first[b])):
        taken = sorted((s, e) for s, e, b in placed if first[b] <= last[buffer] and first[buffer] <= last[b])
        start = 0
        for s, e in taken:
            if start + room(buffer) <= s:
                break
            start = max(start, e)
        placed.append((start, start + room(buffer), buffer))
        planned.arena[buffer] = start
    planned.arena_size = max((end for _, end, _ in placed), default=0)
    return planned
