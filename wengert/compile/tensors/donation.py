"""Donation: an argument that the caller gives away becomes a result, and its memory is updated in place."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.compile.tensors.form import Expr, Loop, Nest, Node, Store, Tensors, Update, View, change_loop, view_of

Pair = tuple[int, int]  # which output is which input


def donate(program: Tensors, numbers: Sequence[int]) -> tuple[Tensors, list[Pair]]:
    """The program with results written into these inputs, where that is safe; and which into which.

    It is where one loop is the only one to write the result and the last to read the input, at the same place; and
    where nothing can make the run fail once it has begun to write.
    """
    pairs: list[Pair] = []
    if program.guards or any(map(_may_give_up, program.nodes)):
        return program, pairs
    for number in numbers:
        for k in range(len(program.outputs)):
            if all(k != taken for taken, _ in pairs):
                changed = _into(program, number, k)
                if changed is not None:
                    program = changed
                    pairs.append((k, number))
                    break
    return program, pairs


def _loops(node: Node) -> list[Loop]:
    return node.loops if isinstance(node, Nest) else [node] if isinstance(node, Loop) else []


def _may_give_up(node: Node) -> bool:
    """Whether a node may find at run time that a position is out of bounds."""
    return any(
        any(e.op == "gather" and e.data[3] for e in loop.exprs())
        or any(isinstance(effect, Update) and effect.check for effect in loop.effects)
        for loop in _loops(node)
    )


def _into(program: Tensors, number: int, k: int) -> Tensors | None:
    """The program with output k written into an input, or None where that is not safe."""
    source, target = program.inputs[number], program.outputs[k]
    if source.dtype != target.dtype or source.size != target.size or target in program.inputs:
        return None
    readers = [j for j, node in enumerate(program.nodes) if source in node.reads()]
    writers = [j for j, node in enumerate(program.nodes) if target in node.writes()]
    if len(writers) != 1 or (readers and readers[-1] > writers[0]):
        return None
    place = writers[0]
    node = program.nodes[place]
    loops = _loops(node)
    if len(loops) != 1 or not all(_loops(later) for later in program.nodes[place:]):
        return None
    (loop,) = loops
    stores = [effect for effect in loop.effects if effect.view.buffer is target]
    if len(stores) != 1 or not isinstance(stores[0], Store) or target in loop.reads():
        return None
    here = stores[0].view
    same = View(source, here.shape, here.strides, here.offset)
    reads = [view_of(e) for e in loop.exprs() if e.op in ("load", "gather") and view_of(e).buffer is source]
    if any(view != same for view in reads):
        return None
    moved = change_loop(
        loop, loop.shape, lambda e: Expr("load", e.aval, (), here) if e.op == "load" and e.data == same else None, _kept
    )
    nodes = list(program.nodes)
    nodes[place] = Nest(node.length, [moved], node.axes, node.local, node.parts) if isinstance(node, Nest) else moved
    changed = program.with_nodes(nodes)
    changed.arena, changed.arena_size = program.arena, program.arena_size
    return changed


def _kept(view: View) -> View:
    return view
