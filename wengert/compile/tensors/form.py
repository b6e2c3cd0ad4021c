"""The tensor form of a program: loops over memory, and calls, between the Wengert list and machine code.

Every value of the list lives in a `Buffer`, seen through a strided `View`: transposes, slices and broadcasts are views
and cost nothing. Everything else is a node that reads and writes views: a `Loop` runs scalar expressions over an index
space, a `Product` multiplies matrices, a `Host` asks Python, a `Control` holds programs of its own. Lowering makes one
node or more per line, without any cleverness; `fuse` and `plan` then make them fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from wengert import errors
from wengert.avals import Aval, Shape
from wengert.core import Primitive


class Buffer:
    """A stretch of memory that holds `size` elements: of an input, an output, a baked constant, or scratch."""

    __slots__ = ("dtype", "index", "kind", "name", "size", "value")

    def __init__(self, kind: str, dtype: np.dtype[Any], size: int, name: str, index: int = -1, value: Any = None):
        self.kind = kind  # "input", "output", "constant" or "temp"
        self.dtype = dtype
        self.size = size
        self.name = name
        self.index = index  # which input or output it is
        self.value = value  # the array of a constant

    def __repr__(self) -> str:
        return self.name


_ANCHOR = np.empty(1, np.int8)  # on which NumPy answers questions about views; never read


class View(NamedTuple):
    """Elements of a buffer: element i is at offset + Σ i_k strides_k. Strides count elements, and may be 0."""

    buffer: Buffer
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    def __repr__(self) -> str:
        if self.is_whole():
            return self.buffer.name
        return f"{self.buffer.name}[{self.offset}{''.join(f' + {s}·i{k}' for k, s in enumerate(self.strides) if s)}]"

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def is_contiguous(self) -> bool:
        return self.size == 0 or all(
            n == 1 or s == expected
            for n, s, expected in zip(self.shape, self.strides, row_major(self.shape), strict=True)
        )

    def is_whole(self) -> bool:
        """Whether it is all of its buffer, in order."""
        return self.offset == 0 and self.size == self.buffer.size and self.is_contiguous()

    def ask(self, question: Any) -> View:
        """The view that NumPy's answer to `question` (dummy → view of it) describes."""
        if 0 in self.shape:
            shape = question(np.empty(self.shape, np.int8)).shape
            return View(self.buffer, shape, (0,) * len(shape), self.offset)
        dummy = as_strided(_ANCHOR, self.shape, self.strides)
        found = question(dummy)
        offset = found.__array_interface__["data"][0] - dummy.__array_interface__["data"][0] if found.size else 0
        return View(self.buffer, found.shape, found.strides if found.size else (0,) * found.ndim, self.offset + offset)

    def transpose(self, axes: Sequence[int]) -> View:
        """These axes in this order, at position 0 of any others."""
        return View(self.buffer, tuple(self.shape[k] for k in axes), tuple(self.strides[k] for k in axes), self.offset)

    def broadcast(self, shape: Shape) -> View:
        """Repeated along new leading axes and axes of length 1."""
        if self.shape == shape:
            return self
        lead = len(shape) - len(self.shape)
        strides = tuple(
            0 if n == 1 and m != 1 else s for n, m, s in zip(self.shape, shape[lead:], self.strides, strict=True)
        )
        return View(self.buffer, shape, (0,) * lead + strides, self.offset)

    def reshape(self, shape: Shape) -> View | None:
        """The same elements in another shape, or None where that is no view."""
        if self.shape == shape:
            return self
        if self.is_contiguous():
            return View(self.buffer, shape, row_major(shape), self.offset)
        try:
            return self.ask(lambda x: np.reshape(x, shape, copy=False))
        except ValueError:
            return None


def row_major(shape: Shape) -> tuple[int, ...]:
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


class Expr:
    """A scalar computed at each index of a loop; a node of a directed graph, known by identity.

    op        args      data
    load                View over the loop's shape
    const               the number, as a NumPy scalar or a Python number
    index               the axis whose position it is (int64)
    apply     operands  (primitive, params, avals of the operands)
    part      an apply  which of several results
    gather    indices   (View of the base over the loop's shape, strides, lengths, whether to check the bounds)
    """

    __slots__ = ("args", "aval", "data", "op")

    def __init__(self, op: str, aval: Any, args: tuple[Expr, ...] = (), data: Any = None) -> None:
        self.op = op
        self.aval = aval
        self.args = args
        self.data = data


def apply(primitive: Primitive, args: Sequence[Expr], params: dict[str, Any] | None = None) -> Expr:
    """A primitive of scalars; its dtype is that of its shape rule."""
    params = params or {}
    avals = [arg.aval for arg in args]
    return Expr("apply", primitive.abstract(avals, params), tuple(args), (primitive, params, tuple(avals)))


class Store(NamedTuple):
    """view[i] = value"""

    view: View
    value: Expr


class Accumulate(NamedTuple):
    """view[i] = view[i] ∘ value, from the neutral element; the view has stride 0 along reduced axes."""

    view: View
    value: Expr
    how: str  # the ufunc's name: add, multiply, maximum, …


class Update(NamedTuple):
    """view[i] = view[i] ∘ value on memory that was written before; `how` None overwrites.

    `indices` with `strides` and `lengths` move the place by what was computed (a scatter).
    """

    view: View
    value: Expr
    how: str | None
    indices: tuple[Expr, ...] = ()
    strides: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    check: bool = False


Effect = Store | Accumulate | Update


class Loop:
    """For each index of `shape`, in any order unless `ordered`: evaluate the effects' expressions, then the effects."""

    __slots__ = ("effects", "ordered", "shape")

    def __init__(self, shape: Shape, effects: Sequence[Effect], ordered: bool = False) -> None:
        self.shape = shape
        self.effects = list(effects)
        self.ordered = ordered

    def exprs(self) -> list[Expr]:
        """All expressions, operands before what uses them."""
        return topological([root for effect in self.effects for root in roots(effect)])

    def reads(self) -> list[Buffer]:
        found = dict.fromkeys(view_of(e).buffer for e in self.exprs() if e.op in ("load", "gather"))
        return list(found)

    def writes(self) -> list[Buffer]:
        return list(dict.fromkeys(effect.view.buffer for effect in self.effects))


class Nest:
    """Loops that share an outer axis, run one after the other at each of its positions.

    `axes` holds, per loop, which of its axes that is. `local` buffers, which nothing else reads, have it as their own
    outermost axis, and of them only the room for one position exists. Where `parts` is there, the nest runs in parts
    that threads share; it maps what all parts accumulate to memory in which each has a copy.
    """

    __slots__ = ("axes", "length", "local", "loops", "parts")

    def __init__(
        self,
        length: int,
        loops: Sequence[Loop],
        axes: Sequence[int],
        local: set[Buffer],
        parts: dict[Buffer, Buffer] | None = None,
    ) -> None:
        self.length = length
        self.loops = list(loops)
        self.axes = list(axes)
        self.local = local
        self.parts = parts

    def reads(self) -> list[Buffer]:
        return list(dict.fromkeys(buffer for loop in self.loops for buffer in loop.reads()))

    def writes(self) -> list[Buffer]:
        found = dict.fromkeys(buffer for loop in self.loops for buffer in loop.writes())
        return [*found, *(self.parts or {}).values()]


class Product:
    """out[b, m, n] = Σ_k one[b, m, k] · other[b, k, n], by BLAS; views have exactly these axes, b of any number."""

    __slots__ = ("one", "other", "out")

    def __init__(self, out: View, one: View, other: View) -> None:
        self.out = out
        self.one = one
        self.other = other

    def reads(self) -> list[Buffer]:
        return [self.one.buffer, self.other.buffer]

    def writes(self) -> list[Buffer]:
        return [self.out.buffer]


class Host:
    """A primitive that Python computes: `ins` are whole arrays (or numbers), `outs` whole buffers."""

    __slots__ = ("in_avals", "ins", "out_avals", "outs", "params", "primitive")

    def __init__(
        self, primitive: Any, params: Any, ins: Sequence[Any], in_avals: Any, outs: Sequence[View], out_avals: Any
    ):
        self.primitive = primitive
        self.params = params
        self.ins = list(ins)
        self.in_avals = in_avals
        self.outs = list(outs)
        self.out_avals = out_avals

    def reads(self) -> list[Buffer]:
        return [view.buffer for view in self.ins if isinstance(view, View)]

    def writes(self) -> list[Buffer]:
        return [view.buffer for view in self.outs]


class Control:
    """Programs inside a program: a loop or a branch. `ins` and `outs` are contiguous."""

    __slots__ = ("bodies", "ins", "kind", "outs", "params", "scratch")

    def __init__(
        self, kind: str, bodies: Sequence[Tensors], params: Any, ins: Sequence[View], outs: Sequence[View], scratch: Any
    ) -> None:
        self.kind = kind
        self.bodies = list(bodies)
        self.params = params
        self.ins = list(ins)
        self.outs = list(outs)
        self.scratch: list[View] = list(scratch)

    def reads(self) -> list[Buffer]:
        return [view.buffer for view in self.ins]

    def writes(self) -> list[Buffer]:
        return [view.buffer for view in (*self.outs, *self.scratch)]


Node = Loop | Nest | Product | Host | Control


class Tensors:
    """A program in tensor form.

    `inputs` and `outputs` are whole buffers, one per input and output of the list; `guards` pairs a view of one element
    with the value that it must have.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Buffer] = []
        self.constants: list[Buffer] = []
        self.outputs: list[Buffer] = []
        self.nodes: list[Node] = []
        self.guards: list[tuple[View, Any]] = []
        self.arena: dict[Buffer, int] = {}  # where scratch buffers begin, in bytes: filled by `plan`
        self.arena_size = 0

    def with_nodes(self, nodes: list[Node]) -> Tensors:
        """The same program with other nodes."""
        new = Tensors(self.name)
        new.inputs, new.constants, new.outputs, new.guards = self.inputs, self.constants, self.outputs, self.guards
        new.nodes = nodes
        return new

    def __repr__(self) -> str:
        return "\n".join(show(self))

    def check(self) -> None:
        """Verify that views lie in their buffers, and that what is read was written."""
        known = {*self.inputs, *self.constants}
        for node in self.nodes:
            if isinstance(node, Loop):
                for effect in node.effects:
                    if effect.view.shape != node.shape:
                        raise errors.ProgramError(f"An effect on {effect.view} does not have its loop's shape.")
            written = set(node.writes())
            for buffer in node.reads():
                if buffer not in known and buffer not in written:
                    raise errors.ProgramError(f"{buffer} is read before it is written.")
            for view in views(node):
                _check_inside(view)
            known |= written
        for buffer in (*self.outputs, *(view.buffer for view, _ in self.guards)):
            if buffer not in known and buffer.size:
                raise errors.ProgramError(f"{buffer} is never written.")


def _check_inside(view: View) -> None:
    if view.size == 0:
        return
    low = view.offset + sum(s * (n - 1) for n, s in zip(view.shape, view.strides, strict=True) if s < 0)
    high = view.offset + sum(s * (n - 1) for n, s in zip(view.shape, view.strides, strict=True) if s > 0)
    if low < 0 or high >= view.buffer.size:
        raise errors.ProgramError(f"{view} reaches outside of its buffer of {view.buffer.size} elements.")


def views(node: Node) -> Iterator[View]:
    """All views of a node."""
    if isinstance(node, Loop):
        for expr in node.exprs():
            if expr.op in ("load", "gather"):
                yield view_of(expr)
        for effect in node.effects:
            yield effect.view
    elif isinstance(node, Nest):
        for loop in node.loops:
            yield from views(loop)
    elif isinstance(node, Product):
        yield from (node.out, node.one, node.other)
    else:
        yield from (view for view in node.ins if isinstance(view, View))
        yield from node.outs


def view_of(expr: Expr) -> View:
    return expr.data if expr.op == "load" else expr.data[0]  # type: ignore[no-any-return]


def roots(effect: Effect) -> tuple[Expr, ...]:
    return (effect.value, *effect.indices) if isinstance(effect, Update) else (effect.value,)


def topological(starts: Sequence[Expr]) -> list[Expr]:
    """The expressions below `starts`, operands first; iterative, since chains may be long."""
    order: dict[Expr, None] = {}
    stack = [(expr, False) for expr in reversed(starts)]
    while stack:
        expr, ready = stack.pop()
        if expr in order:
            continue
        if ready or not expr.args:
            order[expr] = None
        else:
            stack.append((expr, True))
            stack.extend((arg, False) for arg in reversed(expr.args) if arg not in order)
    return list(order)


def substitute(starts: Sequence[Expr], change: Any) -> list[Expr]:
    """The expressions with `change(leaf)` in place of each leaf (an Expr, or None to keep it); sharing is kept."""
    done: dict[Expr, Expr] = {}
    for expr in topological(starts):
        new = change(expr)
        if new is None:
            args = tuple(done[arg] for arg in expr.args)
            same = all(a is b for a, b in zip(args, expr.args, strict=True))
            new = expr if same else Expr(expr.op, expr.aval, args, expr.data)
        done[expr] = new
    return [done[expr] for expr in starts]


def change_loop(loop: Loop, shape: Shape, change: Any, change_view: Any) -> Loop:
    """A loop over `shape` with its leaves and the views of its effects replaced."""
    values = iter(substitute([root for effect in loop.effects for root in roots(effect)], change))
    effects: list[Effect] = []
    for effect in loop.effects:
        view = change_view(effect.view)
        if isinstance(effect, Update):
            value = next(values)
            effects.append(effect._replace(view=view, value=value, indices=tuple(next(values) for _ in effect.indices)))
        else:
            effects.append(effect._replace(view=view, value=next(values)))
    return Loop(shape, effects, loop.ordered)


# ------------------------------------------------------------------------------------------------------- printing


def show(program: Tensors) -> list[str]:
    lines = [f"{program.name}({', '.join(_declared(b) for b in program.inputs)})"]
    lines += [f"  constant {_declared(b)}" for b in program.constants]
    for node in program.nodes:
        lines += ["  " + line for line in show_node(node, program)]
    lines += [f"  guard {view} == {value!r}" for view, value in program.guards]
    lines.append(f"  return {', '.join(map(repr, program.outputs))}")
    if program.arena_size:
        lines.append(f"  scratch: {program.arena_size} bytes")
    return lines


def _declared(buffer: Buffer) -> str:
    return f"{buffer}: {buffer.dtype}[{buffer.size}]"


def show_node(node: Node, program: Tensors | None = None) -> list[str]:
    if isinstance(node, Product):
        return [f"{node.out} = {node.one} @ {node.other}"]
    if isinstance(node, Host):
        return [f"{', '.join(map(repr, node.outs))} = host {node.primitive.name}({', '.join(map(repr, node.ins))})"]
    if isinstance(node, Control):
        lines = [f"{', '.join(map(repr, node.outs))} = {node.kind}({', '.join(map(repr, node.ins))}) of"]
        return lines + ["  " + line for body in node.bodies for line in show(body)]
    if isinstance(node, Nest):
        parts = "in parts, " if node.parts is not None else ""
        local = ", ".join(sorted(map(repr, node.local))) or "nothing"
        lines = [f"{parts}at each of {node.length} positions of axes {node.axes}, with {local} local:"]
        return lines + ["  " + line for loop in node.loops for line in show_node(loop)]
    lines = [f"for {', '.join(f'i{k} < {n}' for k, n in enumerate(node.shape)) or 'once'}:"]
    names: dict[Expr, str] = {}
    for expr in node.exprs():
        if expr.op == "const":
            names[expr] = repr(expr.data.item() if isinstance(expr.data, np.generic) else expr.data)
        elif expr.op == "load":
            names[expr] = repr(expr.data)
        elif expr.op == "index":
            names[expr] = f"i{expr.data}"
        else:
            args = ", ".join(names[arg] for arg in expr.args)
            text = (
                f"{expr.data[0].name}({args})" if expr.op == "apply"
                else f"{names[expr.args[0]]}.{expr.data}" if expr.op == "part"
                else f"{expr.data[0].buffer}[{args}]"
            )  # fmt: skip
            names[expr] = f"r{sum(name.startswith('r') for name in names.values()) + 1}"
            lines.append(f"  {names[expr]} = {text}")
    signs = {"add": "+=", "multiply": "*="}
    for effect in node.effects:
        value = names[effect.value]
        if isinstance(effect, Store):
            lines.append(f"  {effect.view} = {value}")
        elif isinstance(effect, Accumulate):
            lines.append(f"  {effect.view} {signs.get(effect.how, effect.how + '=')} {value}")
        else:
            place = "".join(f"[{names[index]}]" for index in effect.indices)
            lines.append(f"  {effect.view}{place} {'=' if effect.how is None else signs.get(effect.how)} {value}")
    return lines


def literal(value: Any, aval: Aval) -> Expr:
    """A number written into a loop."""
    return Expr("const", aval, (), value)


__all__ = [
    "Accumulate", "Buffer", "Control", "Effect", "Expr", "Host", "Loop", "Nest", "Node", "Product", "Store", "Tensors",
    "Update", "View", "apply", "change_loop", "literal", "roots", "row_major", "show", "show_node", "substitute",
    "topological", "view_of", "views",
]  # fmt: skip
