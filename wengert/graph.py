"""The reverse graph: what `Variable`s record, and the sweep that pulls cotangents back through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
from numpy import float64, ndarray

from wengert import core, errors
from wengert.avals import WEAK, Aval
from wengert.core import (
    FLOAT_ERRORS,
    IGNORED,
    TRACED,
    Primitive,
    Symbol,
    Trace,
    TracedArray,
    Variable,
    _clock,
    aval_of,
    bind,
    new_traced,
    no_grad_depth,
)
from wengert.residuals import COPY_LIMIT, apart, guard, read

NO_PARAMS: Final[dict[str, Any]] = {}
FREED: Final[tuple[Any, ...]] = ()  # stands for the residuals of a node that a sweep has used up
_new = object.__new__
_blank: Final[Callable[[], Any]] = partial(object.__new__, Variable)  # the quickest way to make one


class Node:
    """One recorded operation: where cotangents go, and the residuals needed to send them there.

    The first edge lies in the node itself, because most operations have one, and each object less on the way is a
    tenth of what recording costs.
    """

    __slots__ = ("aval", "hooks", "more", "order", "params", "parent", "primitive", "saved", "slot")

    order: int
    primitive: Any  # None for a leaf; an int for one of several results of the node `parent`
    params: Any
    slot: int  # the first active slot,
    parent: Any  # the node of the argument there,
    aval: Aval | None  # and the argument's aval, None where it equals the result's
    more: tuple[tuple[int, Any, Aval | None], ...]  # further edges: slot, parent, aval
    saved: Any  # arguments and result, None where no rule reads them
    hooks: Hooks  # what users hung here; not set on most


def new_node(primitive: Any, params: Any, edge: Any, more: Any, saved: Any) -> Node:
    node = _new(Node)
    node.order = next(_clock)
    node.primitive = primitive
    node.params = params
    node.slot, node.parent, node.aval = edge
    node.more = more
    node.saved = saved
    return node


def edges(node: Node) -> tuple[tuple[int, Node, Aval | None], ...]:
    """All edges of a node: (slot, parent, aval of the argument)."""
    return () if node.parent is None else ((node.slot, node.parent, node.aval), *node.more)


class Leaf(Node):
    """A differentiated input. `grad` is used by the eager face."""

    __slots__ = ("exposed", "grad")

    def __init__(self, aval: Aval, exposed: bool) -> None:
        self.order = next(_clock)
        self.primitive = None
        self.parent = None
        self.more = ()
        self.saved = FREED
        self.aval = aval
        self.exposed = exposed  # whether users can reach the memory of its value
        self.grad: Any = None


class Hooks:
    """What users hung on a node: functions that see its gradient and may replace it, and whether to keep it."""

    __slots__ = ("functions", "grad", "retain")

    def __init__(self) -> None:
        self.functions: list[Callable[[Any], Any]] = []
        self.retain = False
        self.grad: Any = None  # of a result, where `retain`


class ReverseTrace(Trace):
    """Records a graph of nodes, each of which knows its parents but not its children."""

    __slots__ = ("hooked", "no_grad_outside", "shared")
    what = "Variable"

    def __init__(self, order: int | None = None) -> None:
        super().__init__(order)
        self.hooked = False  # whether any of its nodes ever got a hook, so that sweeps need not ask each
        self.no_grad_outside = no_grad_depth.get() if order is None else 0
        self.shared: dict[Any, Node] = {}  # by the line that a result stands for, and the nodes of its operands

    # The next two are `process` for plain ufuncs, which are most of what programs do. They are written out, and alike:
    # each call, container or test that they save is some hundredth of the time of recording and sweeping an operation.

    def process_one(self, primitive: Primitive, x: Any) -> Any:
        """`process` for a ufunc of one operand."""
        value = x._value
        parent = x._info
        short = primitive.short
        if (
            short is None
            or parent is None
            or (type(value) is not ndarray and type(value) is not float64)
            or self.closed
            or no_grad_depth.get() > self.no_grad_outside
        ):
            return self.process(primitive, (x,), NO_PARAMS)
        compute = primitive.value  # a name of its own: called as an attribute it would be looked up as a method first
        out = compute(value)
        keeps_x, keeps_out = short[1]
        if keeps_x and type(parent) is Leaf and parent.exposed:
            value = guard(value)
        node = Node()
        node.order = next(_clock)
        node.primitive = primitive
        node.params = NO_PARAMS
        node.slot = 0
        node.parent = parent
        node.aval = None
        node.more = ()
        node.saved = (value if keeps_x else None, out if keeps_out else None)
        y = _blank()
        y._trace = self
        y._value = out
        y._info = node
        y._link = None
        return y

    def process_two(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process` for a ufunc of two operands that are alike, or of which one is a Python number."""
        a, b, parent, other = x, y, None, None
        if type(x) is Variable:
            if x._trace is not self or x._link is not None:
                return bind(primitive, x, y)
            a, parent = x._value, x._info
        if type(y) is Variable:
            if y._trace is not self or y._link is not None:
                return bind(primitive, x, y)
            b, other = y._value, y._info
        kind = type(a)
        if type(b) is kind:
            fits = kind is float64 or (kind is ndarray and a.dtype is b.dtype and a.shape == b.shape)
        elif kind is ndarray or kind is float64:
            fits = other is None and (type(b) is float or type(b) is int)
        else:
            fits = parent is None and (kind is float or kind is int) and (type(b) is ndarray or type(b) is float64)
        short = primitive.short
        if not fits or short is None or self.closed or no_grad_depth.get() > self.no_grad_outside:
            return bind(primitive, x, y)
        if other is None:
            if parent is None:
                return bind(primitive, x, y)
            more: tuple[Any, ...] = ()
            slot, source, (keeps_a, keeps_b, keeps_out) = 0, parent, short[1]
        elif parent is None:
            more = ()
            slot, source, (keeps_a, keeps_b, keeps_out) = 1, other, short[2]
        else:
            more = ((1, other, None),)
            slot, source, (keeps_a, keeps_b, keeps_out) = 0, parent, short[3]
        compute = primitive.value
        out = compute(a, b)
        if keeps_a and type(a) is ndarray and (parent is None or (type(parent) is Leaf and parent.exposed)):
            a = guard(a)
        if keeps_b and type(b) is ndarray and (other is None or (type(other) is Leaf and other.exposed)):
            b = guard(b)
        node = Node()
        node.order = next(_clock)
        node.primitive = primitive
        node.params = NO_PARAMS
        node.slot = slot
        node.parent = source
        node.aval = None
        node.more = more
        node.saved = (a if keeps_a else None, b if keeps_b else None, out if keeps_out else None)
        z = _blank()
        z._trace = self
        z._value = out
        z._info = node
        z._link = None
        return z

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if self.closed:
            raise errors.escaped(self.what)
        values: list[Any] = []
        active: tuple[int, ...] = ()
        slot = 0
        nested = False  # whether an older trace must see this operation too
        exposed: tuple[Any, ...] = ()  # arrays that users can change
        for arg in args:
            if type(arg) is Variable and arg._trace is self:
                value = arg._value
                parent = arg._info
                if parent is not None:
                    active += (slot,)
                    if type(parent) is Leaf and parent.exposed:
                        exposed += (value,)
            else:
                value = arg
            if type(value) in TRACED:
                nested = True
            values.append(value)
            slot += 1
        residuals = None
        if primitive.composite and active and no_grad_depth.get() <= self.no_grad_outside:
            out, residuals = primitive.record(values, active, params)
        else:
            out = bind(primitive, *values, **params) if nested else primitive.value(*values, **params)
        if not primitive.differentiable:
            return out
        if not active or no_grad_depth.get() > self.no_grad_outside:
            if primitive.multiple:
                return tuple(new_traced(Variable, self, y, None) for y in out)
            return new_traced(Variable, self, out, None)
        if exposed:
            out = tuple(apart(y, exposed) for y in out) if primitive.multiple else apart(out, exposed)
        kept, keeps_out = primitive.keeps(active, slot)
        saved: list[Any] = [None] * (slot + 1)
        for k in kept:
            value = values[k]
            if k not in active:
                value = guard(primitive.residual(value, out)) if type(value) not in WEAK else value
            elif type(args[k]._info) is Leaf and args[k]._info.exposed:
                value = guard(value)
            saved[k] = value
        if keeps_out:
            saved[slot] = out if residuals is None else residuals
        if type(out) is Symbol:  # a list is being written, in which equal lines are one: so are their nodes
            key = (out._info, active, *(args[k]._info for k in active))
            node = self.shared.get(key)
            if node is not None:
                return new_traced(Variable, self, out, node)
        first, *rest = [(k, args[k]._info, into(values[k], out)) for k in active]
        node = new_node(primitive, params, first, tuple(rest), saved)
        if type(out) is Symbol:
            self.shared[key] = node
        if not primitive.multiple:
            return new_traced(Variable, self, out, node)
        count = len(out)
        return tuple(
            new_traced(Variable, self, y, new_node(index, count, (0, node, None), (), FREED))
            for index, y in enumerate(out)
        )

    def aval(self, x: TracedArray) -> Aval:
        return aval_of(x._value)

    def constant(self, value: Any) -> TracedArray:
        return new_traced(Variable, self, value, None)  # type: ignore[no-any-return]

    def leaf(self, value: Any, exposed: bool) -> Any:
        """A differentiated input of this trace."""
        core.check_not_newer(value, self)
        if type(value) in TRACED:
            value = core.snapshot(value)
        elif exposed and type(value) is np.ndarray and (value.nbytes <= COPY_LIMIT or not value.flags.c_contiguous):
            value, exposed = np.array(value), False  # in its own memory order
        return new_traced(Variable, self, value, Leaf(aval_of(value), exposed))

    def written(self, x: Any, contents: Any) -> Any:
        """What an in-place write leaves in `x`. Under `no_grad` the value changes and the place in the graph stays."""
        if no_grad_depth.get() <= self.no_grad_outside:
            if type(x._info) is Leaf and self.order < 0:
                raise errors.leaf_write()
            return contents
        if type(contents) in TRACED and contents._trace is not self:
            raise errors.escaping_output(contents._trace.what)
        if type(x._info) is Leaf:
            x._info.exposed = False
        return new_traced(Variable, self, contents._value if type(contents) in TRACED else contents, x._info)


def into(value: Any, out: Any) -> Aval | None:
    """The aval of an argument, or None where it equals the result's (and nothing needs fitting)."""
    if type(value) is np.ndarray and type(out) is np.ndarray and value.shape == out.shape and value.dtype is out.dtype:
        return None
    if type(value) is np.float64 and type(out) is np.float64:
        return None
    return aval_of(value)


PLAIN_ARRAYS: Final = frozenset({np.ndarray}) | core.PLAIN
Partials = dict[tuple[Node, int], Any]


def sweep(
    roots: Sequence[tuple[Node, Any]],
    release: bool = False,
    create_graph: bool = False,
    trace: ReverseTrace | None = None,
    partials: Partials | None = None,
) -> dict[Node, Any]:
    """Pull cotangents back from `roots` and return those of the leaves.

    Iterative, and linear in the number of nodes: each is visited once, when its cotangent is complete, because of all
    that wait the newest is always next. `release` frees residuals on the way, `create_graph` runs the rules on
    Variables, and `partials` is a cache that lets a second sweep of the same graph skip the partial derivatives.
    """
    cts: dict[Node, Any] = {}  # what has arrived at the nodes that wait
    waiting: list[tuple[int, Node]] = []  # a heap of them, the newest on top
    owned: set[Node] = set()  # nodes whose cotangent is a buffer of this sweep, which may be added to in place
    leaves: dict[Node, Any] = {}
    hooked = trace is not None and trace.hooked
    for node, ct in roots:
        deliver(ct, node, cts, waiting)
    users = FLOAT_ERRORS.get()
    try:
        FLOAT_ERRORS.set(IGNORED)  # the rules' own arithmetic must not warn in the user's name
        while waiting:
            node = heappop(waiting)[1]
            ct = cts.pop(node)
            while ct is not None:
                if hooked and hasattr(node, "hooks"):
                    ct = run_hooks(node.hooks, ct)
                primitive = node.primitive
                saved = node.saved
                if saved is FREED:
                    if primitive is None:
                        leaves[node] = ct
                    elif type(primitive) is int:  # one of several results: set its cotangent in the list of its node
                        if node.parent not in cts:
                            deliver([None] * node.params, node.parent, cts, waiting)
                        row = cts[node.parent]  # create_graph makes a second node of a result, so cotangents add up
                        row[primitive] = ct if row[primitive] is None else row[primitive] + ct
                    else:
                        raise errors.freed_graph()
                    break
                params = node.params
                if params and primitive.accumulate is not None and adds_plainly(ct, cts.get(node.parent)):
                    scatter(node, ct, cts, waiting, owned)
                    if release:
                        node.saved = FREED
                    break
                if create_graph:
                    saved = lifted(node, trace)
                if params and primitive.composite:
                    pull_together(node, ct, saved, cts, waiting)
                    if release:
                        node.saved = FREED
                    break
                if partials is not None:
                    for slot, parent, aval in (*node.more, (node.slot, node.parent, node.aval)):  # the order of below
                        bar = primitive.pullback_cached(slot, ct, saved, aval, params, partials, (node, slot))
                        deliver(bar, parent, cts, waiting)
                    break
                for slot, parent, aval in node.more:
                    bar = primitive.pullback(slot, ct, saved, aval, params)
                    deliver(bar, parent, cts, waiting)
                ct = primitive.pullback(node.slot, ct, saved, node.aval, params)
                if release:
                    node.saved = FREED
                node = node.parent
                if waiting and -node.order >= waiting[0][0]:
                    deliver(ct, node, cts, waiting)
                    break
                # Otherwise this parent is newer than all that wait: nothing more can arrive, and it is next. So chains,
                # of which programs are made, are walked without any bookkeeping.
    finally:
        FLOAT_ERRORS.set(users)
    return leaves


def deliver(ct: Any, node: Node, cts: dict[Node, Any], waiting: list[tuple[int, Node]]) -> None:
    """Add a cotangent (None for zero) to what has arrived at a node."""
    if ct is None:
        return
    before = cts.get(node)
    if before is None:
        cts[node] = ct
        heappush(waiting, (-node.order, node))
    else:
        cts[node] = before + ct


def pull_together(node: Node, ct: Any, saved: Any, cts: dict[Node, Any], waiting: list[tuple[int, Node]]) -> None:
    """Deliver the cotangents of all operands of a primitive that runs lists, which it finds in one go."""
    found = edges(node)
    for (_, parent, _), bar in zip(
        found, node.primitive.pull([slot for slot, _, _ in found], ct, saved, node.params), strict=True
    ):
        deliver(bar, parent, cts, waiting)


def adds_plainly(ct: Any, before: Any) -> bool:
    """Whether a cotangent and what has arrived before it are arrays that no trace must see added."""
    return type(ct) in PLAIN_ARRAYS and type(before) not in TRACED


def scatter(node: Node, ct: Any, cts: dict[Node, Any], waiting: list[tuple[int, Node]], owned: set[Node]) -> None:
    """Add a cotangent into a buffer in place: what makes many reads of one array cost their sum, not their product."""
    parent = node.parent
    buffer = cts.get(parent)
    if parent not in owned or type(buffer) is not ndarray:  # adding to an owned 0-d buffer leaves a scalar
        owned.add(parent)
        aval = node.aval or aval_of(ct)
        if buffer is None:
            buffer = np.zeros(aval.shape, aval.dtype)
            deliver(buffer, parent, cts, waiting)
        else:
            buffer = cts[parent] = np.array(buffer)
    node.primitive.accumulate(buffer, ct, **node.params)


def run_hooks(hooks: Hooks, ct: Any) -> Any:
    """The cotangent after its hooks, which see and return gradients: for complex values the conjugate."""
    is_complex = aval_of(ct).dtype.kind == "c"
    gradient = (
        np.conjugate(ct) if is_complex else ct.copy() if type(ct) is ndarray else ct
    )  # hooks may keep or change it
    for hook in list(hooks.functions):
        replaced = hook(gradient)
        if replaced is not None:
            replaced = core.as_operand(replaced)
            expected, got = aval_of(ct), aval_of(replaced)
            if expected.shape != got.shape or expected.dtype != got.dtype:
                raise errors.RuleError(
                    f"A hook returned a gradient of shape {got.shape} and dtype {got.dtype} in place of one of shape "
                    f"{expected.shape} and dtype {expected.dtype}. The sweep goes on with what it returns. Return an "
                    "array like the argument, or None to leave it unchanged."
                )
            gradient = np.array(replaced) if type(replaced) is ndarray else replaced  # hooks may keep it and change it
            ct = np.conjugate(gradient) if is_complex else gradient
    if hooks.retain:
        hooks.grad = +gradient if hooks.grad is None else hooks.grad + gradient
    return ct


def lifted(node: Node, trace: Any) -> list[Any]:
    """The residuals of a node as Variables of the graph, so that the sweep itself can be differentiated."""
    saved = [read(value) for value in node.saved]
    for slot, parent, _ in edges(node):
        if saved[slot] is not None:
            saved[slot] = new_traced(Variable, trace, saved[slot], parent)
    out = saved[-1]
    if node.primitive.composite:
        saved[-1] = None  # residuals, which are computed anew from the operands so that they have a graph
    elif out is not None and node.primitive.multiple:
        saved[-1] = tuple(
            new_traced(Variable, trace, y, new_node(index, len(out), (0, node, None), (), FREED))
            for index, y in enumerate(out)
        )
    elif out is not None:
        saved[-1] = new_traced(Variable, trace, out, node)
    return saved
