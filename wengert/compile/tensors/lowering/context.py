"""What lowering rules work with: where values live, and how to add a node.

A rule is registered by the primitive's name: `(context, eqn, operands) → a View per result`, or None where it does not
apply. A primitive without a rule, or with operands that no rule takes, is computed by Python (`Host`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Aval, Shape
from wengert.compile.machine import scalars
from wengert.compile.tensors.form import (
    Accumulate,
    Buffer,
    Effect,
    Expr,
    Host,
    Loop,
    Node,
    Store,
    Tensors,
    View,
    apply,
    literal,
    row_major,
)
from wengert.core import REGISTRY
from wengert.program import Equation, Literal, Var, WengertList
from wengert.residuals import read

Operand = View | Literal
Rule = Callable[["Context", Equation, Sequence[Any]], Any]
RULES: Final[dict[str, Rule]] = {}


class Unsupported(Exception):
    """What a rule raises where scalar code is missing for what it has begun to write: the line goes to Python."""


DELAYED: Final[dict[str, Callable[[Equation], bool]]] = {}  # lines that wait for the sum which takes them up
TAKES_DELAYED: Final[dict[str, Rule]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a lowering rule for these primitives."""

    def registered(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return registered


class Context:
    """A tensor program under construction."""

    def __init__(self, program: WengertList, name: str) -> None:
        self.tensors = Tensors(name)
        self.places: dict[Var, View] = {}
        self.count = 0
        self.uses = uses(program)
        self.delayed: dict[Var, tuple[Equation, list[Operand]]] = {}  # scatters that a sum may take up
        self.sums: set[Var] = set()  # arrays that one sum built and only the next reads, so that it may go on in place

    # ------------------------------------------------------------------------------------------------- memory

    def temp(self, shape: Shape, dtype: np.dtype[Any]) -> View:
        """Scratch memory for an array."""
        self.count += 1
        size = math.prod(shape)
        return View(Buffer("temp", dtype, size, f"t{self.count}"), shape, row_major(shape))

    def constant(self, value: np.ndarray[Any, Any]) -> View:
        """An array that is known now; one element is kept where all are the same, as in a broadcast seed."""
        if value.size > 1 and (not any(value.strides) or _uniform(value)):
            return self.constant(value[(0,) * value.ndim].reshape(())).broadcast(value.shape)
        value = np.asarray(value, order="C")
        buffer = Buffer("constant", value.dtype, value.size, f"c{len(self.tensors.constants) + 1}", value=value)
        self.tensors.constants.append(buffer)
        return View(buffer, value.shape, row_major(value.shape))

    # -------------------------------------------------------------------------------------------- expressions

    def read(self, operand: Operand, shape: Shape) -> Expr:
        """An operand, broadcast to the loop's shape."""
        if isinstance(operand, Literal):
            return literal(operand.value, operand.aval)
        return self.load(operand.broadcast(shape))

    def load(self, view: View, aval: Aval | None = None) -> Expr:
        if view.buffer.kind == "constant" and view.buffer.size == 1:
            return literal(view.buffer.value.reshape(())[()], aval or Aval((), view.buffer.dtype))
        return Expr("load", aval or Aval((), view.buffer.dtype), (), view)

    def view(self, operand: Operand) -> View:
        """An operand in memory."""
        if isinstance(operand, View):
            return operand
        return self.constant(np.asarray(operand.value, operand.aval.dtype))

    # -------------------------------------------------------------------------------------------------- nodes

    def add(self, node: Node) -> None:
        self.tensors.nodes.append(node)

    def fill(self, view: View, value: Any = 0) -> None:
        """Set memory to a number before anything else happens, so that it stands in no later loop's way."""
        if view.size:
            dtype = view.buffer.dtype
            effect = Store(view, literal(dtype.type(value), Aval((), dtype)))
            self.tensors.nodes.insert(0, Loop(view.shape, [effect]))

    def loop(self, shape: Shape, effects: Sequence[Effect], ordered: bool = False) -> None:
        """Add a loop, without the axes of length 1; no loop at all where there is nothing to do."""
        if 0 in shape and not any(isinstance(effect, Accumulate) for effect in effects):
            return
        self.add(Loop(shape, effects, ordered))

    def map(self, shape: Shape, *values: Expr) -> list[View]:
        """New arrays of these expressions."""
        views = [self.temp(shape, value.aval.dtype) for value in values]
        self.loop(shape, [Store(view, value) for view, value in zip(views, values, strict=True)])
        return views

    def store(self, view: View, value: Expr) -> None:
        """Write an expression to memory that exists."""
        self.loop(view.shape, [Store(view, value)])

    def copy(self, source: Operand, to: View) -> None:
        self.store(to, self.read(source, to.shape))

    def contiguous(self, view: View) -> View:
        """The view itself if its elements lie in order, else a copy."""
        if view.is_contiguous():
            return view
        return self.map(view.shape, self.load(view))[0]

    def reshape(self, view: View, shape: Shape) -> View:
        return view.reshape(shape) or View(self.contiguous(view).buffer, shape, row_major(shape))

    def reduce(self, value: Expr, shape: Shape, axes: Sequence[int], how: str, dtype: np.dtype[Any]) -> View:
        """`value` over the index space `shape`, combined along `axes`; the reduced axes are dropped."""
        kept = [k for k in range(len(shape)) if k not in axes]
        out = self.temp(tuple(shape[k] for k in kept), dtype)
        strides = [0] * len(shape)
        for k, stride in zip(kept, out.strides, strict=True):
            strides[k] = stride
        target = View(out.buffer, shape, tuple(strides))
        if 0 in shape:
            self.store(out, literal(dtype.type(scalars.identity(how, dtype)), Aval((), dtype)))
        else:
            self.loop(shape, [Accumulate(target, scalars_cast(value, dtype), how)])
        return out

    def host(self, eqn: Equation, operands: Sequence[Operand]) -> list[View]:
        """Let Python compute a line."""
        ins = [self.contiguous(x) if isinstance(x, View) else x.value for x in operands]
        outs = [self.temp(var.aval.shape, var.aval.dtype) for var in eqn.outputs]
        in_avals = [atom.aval for atom in eqn.inputs]
        self.add(Host(eqn.primitive, eqn.params, ins, in_avals, outs, [var.aval for var in eqn.outputs]))
        return outs

    # --------------------------------------------------------------------------------------------------- lines

    def inline(self, program: WengertList, operands: Sequence[Operand]) -> list[View]:
        """The lines of another list here, on these operands."""
        outer, self.places = self.places, {}
        self.uses = uses(program) | self.uses
        for var, operand in zip(program.inputs, operands, strict=True):
            view = self.view(operand)
            if view.buffer.dtype != var.aval.dtype:
                (view,) = self.map(view.shape, scalars_cast(self.load(view), var.aval.dtype))
            self.places[var] = view
        for var, kept in program.constants:
            self.places[var] = self.constant(np.asarray(read(kept), var.aval.dtype))
        for eqn in program.equations:
            self.line(eqn)
        found = [self.view(self.operand(atom)) for atom in program.outputs]
        self.places = outer
        return found

    def operand(self, atom: Var | Literal) -> Operand:
        if type(atom) is not Var:
            return atom  # type: ignore[return-value]
        if atom in self.delayed:
            eqn, operands = self.delayed.pop(atom)
            self.finish(eqn, operands)
        return self.places[atom]

    def line(self, eqn: Equation) -> None:
        name = eqn.primitive.name
        if name in DELAYED and self.uses.get(eqn.outputs[0]) == 1 and DELAYED[name](eqn):
            self.delayed[eqn.outputs[0]] = eqn, [self.operand(atom) for atom in eqn.inputs]
        elif any(atom in self.delayed for atom in eqn.inputs) and name in TAKES_DELAYED:
            self.place(eqn, TAKES_DELAYED[name](self, eqn, []))
        else:
            self.finish(eqn, [self.operand(atom) for atom in eqn.inputs])

    def finish(self, eqn: Equation, operands: Sequence[Operand]) -> None:
        """Lower a line whose operands are in memory."""
        found = None
        lowering: Rule = RULES.get(eqn.primitive.name, elementwise)
        if all(native(atom.aval.dtype) for atom in (*eqn.inputs, *eqn.outputs)):
            try:
                found = lowering(self, eqn, operands)
            except Unsupported:
                pass  # what it has added so far nothing reads, and `fuse` drops it
        if found is None:
            found = self.host(eqn, operands)
        self.place(eqn, found)

    def place(self, eqn: Equation, found: Any) -> None:
        """Remember where the results of a line are."""
        for var, view in zip(eqn.outputs, found if isinstance(found, list) else [found], strict=True):
            if view.shape != var.aval.shape or view.buffer.dtype != var.aval.dtype:
                raise AssertionError(f"{eqn.primitive} was lowered to {view.shape} {view.buffer.dtype}, not {var.aval}")
            self.places[var] = view


def _uniform(value: np.ndarray[Any, Any]) -> bool:
    """Whether all elements have the same bits."""
    octets = np.ascontiguousarray(value).reshape(-1).view(np.uint8).reshape(value.size, value.itemsize)
    return bool((octets == octets[0]).all())


NATIVE: Final = frozenset("?bhilqBHILQfdFD")


def native(dtype: np.dtype[Any]) -> bool:
    """Whether machine code handles the dtype."""
    return dtype.char in NATIVE and dtype.isnative


def scalars_cast(value: Expr, dtype: np.dtype[Any]) -> Expr:
    """An expression in another dtype."""
    return value if value.aval.dtype == dtype else apply(REGISTRY["cast"], [value], {"dtype": dtype})


def elementwise(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """Any primitive that has scalar code."""
    avals = [atom.aval for atom in eqn.inputs]
    outs = [var.aval for var in eqn.outputs]
    out: Any = tuple(outs) if eqn.primitive.multiple else outs[0]
    if not scalars.supported(eqn.primitive, eqn.params, avals, out):
        return None
    shape = outs[0].shape
    args = [context.read(x, shape) for x in operands]
    scalar_avals = tuple(aval._replace(shape=()) for aval in avals)
    if not eqn.primitive.multiple:
        value = Expr("apply", outs[0]._replace(shape=()), tuple(args), (eqn.primitive, eqn.params, scalar_avals))
        return context.map(shape, value)[0]
    together = tuple(aval._replace(shape=()) for aval in outs)
    value = Expr("apply", together, tuple(args), (eqn.primitive, eqn.params, scalar_avals))
    parts = [Expr("part", aval, (value,), k) for k, aval in enumerate(together)]
    return context.map(shape, *parts)


def uses(program: WengertList) -> dict[Var, int]:
    """How often each variable is read."""
    count: dict[Var, int] = {}
    for atom in (
        *(a for eqn in program.equations for a in eqn.inputs),
        *program.outputs,
        *(g[0] for g in program.guards),
    ):
        if type(atom) is Var:
            count[atom] = count.get(atom, 0) + 1
    return count


def lower(program: WengertList, name: str = "body") -> Tensors:
    """The tensor form of a list."""
    context = Context(program, name)
    tensors = context.tensors
    for k, var in enumerate(program.inputs):
        buffer = Buffer("input", var.aval.dtype, var.aval.size, f"x{k + 1}", k)
        tensors.inputs.append(buffer)
        context.places[var] = View(buffer, var.aval.shape, row_major(var.aval.shape))
    for var, kept in program.constants:
        context.places[var] = context.constant(np.asarray(read(kept), var.aval.dtype))
    for eqn in program.equations:
        context.line(eqn)
    for k, atom in enumerate(program.outputs):
        aval = atom.aval
        found = context.operand(atom)
        if isinstance(found, View) and found.buffer.kind == "temp" and found.is_whole():
            buffer = found.buffer  # made where it is wanted
            buffer.kind, buffer.name, buffer.index = "output", f"y{k + 1}", k
        else:
            buffer = Buffer("output", aval.dtype, aval.size, f"y{k + 1}", k)
            context.copy(found, View(buffer, aval.shape, row_major(aval.shape)))
        tensors.outputs.append(buffer)
    for var, value in program.guards:
        tensors.guards.append((context.places[var], value))
    return tensors
