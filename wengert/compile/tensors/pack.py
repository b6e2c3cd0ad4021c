"""Packing: small operands copied into the order in which a loop over long vectors wants them.

A sum over a short axis, such as the squared distance of points in a few dimensions, is slow as a sum across a vector
register. It is fast when another axis runs along the register, which the operands' strides must allow.
"""

from __future__ import annotations

import math
from typing import Final

from wengert.compile.tensors.form import (
    Accumulate,
    Buffer,
    Expr,
    Loop,
    Node,
    Store,
    Tensors,
    View,
    change_loop,
    row_major,
)
from wengert.compile.tensors.order import order_axes

SHORT: Final = 64  # length of a sum up to which running along another axis is better
WORTH: Final = 8  # how often an element must be used for its copy to pay


def pack(program: Tensors) -> Tensors:
    """The program with copies of small operands where a loop gets long vectors by them."""
    nodes: list[Node] = []
    for node in program.nodes:
        if isinstance(node, Loop):
            copies, node = _packed(node)
            nodes += copies
        nodes.append(node)
    return program.with_nodes(nodes)


def _packed(loop: Loop) -> tuple[list[Loop], Loop]:
    if loop.ordered or len(loop.shape) < 2 or math.prod(loop.shape) < 256:
        return [], loop
    inner = order_axes(loop)[-1]
    reduced = [e for e in loop.effects if isinstance(e, Accumulate) and not e.view.strides[inner]]
    if len(reduced) < len(loop.effects) or loop.shape[inner] > SHORT:
        return [], loop
    best: tuple[int, int, list[Expr]] | None = None
    for axis, n in enumerate(loop.shape):
        if axis == inner or n < 8 or any(abs(e.view.strides[axis]) != 1 for e in reduced):
            continue
        crooked = [e for e in loop.exprs() if e.op == "load" and abs(e.data.strides[axis]) > 1]
        if all(_elements(e.data) * WORTH <= math.prod(loop.shape) for e in crooked) and (best is None or n > best[0]):
            best = n, axis, crooked
    if best is None or any(e.op == "gather" for e in loop.exprs()):
        return [], loop
    _, axis, crooked = best
    copies = []
    new: dict[Expr, Expr] = {}
    for e in crooked:
        view: View = e.data
        kept = [k for k, s in enumerate(view.strides) if s and k != axis] + [axis]
        shape = tuple(view.shape[k] for k in kept)
        buffer = Buffer("temp", view.buffer.dtype, math.prod(shape), f"{view.buffer.name}_packed")
        target = View(buffer, shape, row_major(shape))
        copies.append(Loop(shape, [Store(target, Expr("load", e.aval, (), view.transpose(kept)))]))
        strides = [0] * len(view.shape)
        for k, s in zip(kept, target.strides, strict=True):
            strides[k] = s
        new[e] = Expr("load", e.aval, (), View(buffer, view.shape, tuple(strides)))
    return copies, change_loop(loop, loop.shape, new.get, lambda view: view)


def _elements(view: View) -> int:
    return math.prod(n for n, s in zip(view.shape, view.strides, strict=True) if s)
