"""The reverse graph: what `Variable`s record, and the sweep that pulls cotangents back through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy import ndarray

from wengert import core, errors
from wengert.avals import Aval
from wengert.core import (
    TRACED,
    Primitive,
    Trace,
    TracedArray,
    Variable,
    _clock,
    aval_of,
    bind,
    new_traced,
    no_grad_depth,
)

COPY_LIMIT = 65536  # bytes up to which an array that users can reach is copied when kept; above, it is checksummed
NO_PARAMS: Final[dict[str, Any]] = {}
FREED: Final[tuple[Any, ...]] = ()  # stands for the residuals of a node that a sweep has used up
_new = object.__new__
_by_order = attrgetter("order")


class Node:
    """One recorded operation: where cotangents go, and the residuals needed to send them there.

    The first edge lies in the node itself, because most operations have one, and each object less on the way is a
    tenth of what recording costs.
    """

    __slots__ = ("__weakref__", "aval", "more", "order", "params", "parent", "primitive", "saved", "slot")

    order: int
    primitive: Any  # None for a leaf; an int for one of several results of the node `parent`
    params: Any
    slot: int  # the first active slot,
    parent: Any  # the node of the argument there,
    aval: Aval | None  # and the argument's aval, None where it equals the result's
    more: tuple[tuple[int, Any, Aval | None], ...]  # further edges: slot, parent, aval
    saved: Any  # arguments and result, None where no rule reads them


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


HOOKS: Final[WeakKeyDictionary[Node, list[Callable[[Any], Any]]]] = WeakKeyDictionary()  # what users hung on nodes


class Guarded:
    """A large array that users can change, kept without a copy and checked when it is needed."""

    __slots__ = ("array", "digest")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.digest = checksum(array)

    def check(self) -> np.ndarray[Any, Any]:
        if checksum(self.array) != self.digest:
            raise errors.changed_array(self.array.shape, self.array.dtype)
        return self.array


_WEIGHTS = np.random.default_rng(1964).integers(1, 2**63, 4096, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def checksum(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """A position-dependent checksum of a C-contiguous array, at the speed of memory (odd weights modulo 2⁶⁴)."""
    octets = array.reshape(-1).view(np.uint8)
    words = octets[: octets.size // 8 * 8].view(np.uint64)
    rows = words.size // _WEIGHTS.size
    body = words[: rows * _WEIGHTS.size].reshape(rows, _WEIGHTS.size) @ _WEIGHTS
    tail = words[rows * _WEIGHTS.size :]
    mixed = body * np.arange(1, 2 * rows + 1, 2, dtype=np.uint64)
    return hash((mixed.tobytes() if rows < 64 else int(mixed.sum()), tail.tobytes())), hash(octets[words.size * 8 :].tobytes())


def guard(value: Any) -> Any:
    """What to keep of a value that users can still change: itself where immutable, a copy, or a guarded reference."""
    kind = type(value)
    if kind is np.ndarray:
        if value.nbytes <= COPY_LIMIT or not value.flags.c_contiguous:
            return value.copy()
        return Guarded(value)
    return core.snapshot(value) if kind in TRACED else value


class ReverseTrace(Trace):
    """Records a graph of nodes, each of which knows its parents but not its children."""

    __slots__ = ("no_grad_outside",)
    what = "Variable"

    def __init__(self, order: int | None = None) -> None:
        super().__init__(order)
        self.no_grad_outside = no_grad_depth.get() if order is None else 0

    def process_one(self, primitive: Primitive, x: Any) -> Any:
        """`process` for one argument and no params: the shortest path that there is."""
        value = x._value
        parent = x._info
        if (
            parent is None
            or type(value) in TRACED
            or self.closed
            or not primitive.differentiable
            or no_grad_depth.get() > self.no_grad_outside
        ):
            return self.process(primitive, (x,), NO_PARAMS)
        out = primitive.value(value)
        node = _new(Node)
        node.order = next(_clock)
        node.primitive = primitive
        node.params = NO_PARAMS
        node.slot = 0
        node.parent = parent
        if type(value) is type(out) and type(out) is not float and value.dtype is out.dtype:
            node.aval = None
        else:
            node.aval = aval_of(value)
        node.more = ()
        keeps_x, keeps_out = primitive.keeps_alone
        if keeps_x and type(parent) is Leaf and parent.exposed:
            value = guard(value)
        node.saved = (value if keeps_x else None, out if keeps_out else None)
        y = _new(Variable)
        y._trace = self
        y._value = out
        y._info = node
        y._link = None
        return y

    def process_with_number(self, primitive: Primitive, x: Any, number: Any) -> Any:
        """`process` for a binary operation of `x` and a Python number: the shortest path that there is."""
        value = x._value
        parent = x._info
        if (
            parent is None
            or type(value) in TRACED
            or self.closed
            or not primitive.differentiable
            or no_grad_depth.get() > self.no_grad_outside
        ):
            return self.process(primitive, (x, number), NO_PARAMS)
        out = primitive.value(value, number)
        node = _new(Node)
        node.order = next(_clock)
        node.primitive = primitive
        node.params = NO_PARAMS
        node.slot = 0
        node.parent = parent
        if type(value) is type(out) and type(out) is not float and value.dtype is out.dtype:
            node.aval = None
        else:
            node.aval = aval_of(value)
        node.more = ()
        keeps_x, keeps_out = primitive.keeps_alone
        if keeps_x and type(parent) is Leaf and parent.exposed:
            value = guard(value)
        node.saved = (value if keeps_x else None, number, out if keeps_out else None)
        y = _new(Variable)
        y._trace = self
        y._value = out
        y._info = node
        y._link = None
        return y

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if self.closed:
            raise errors.escaped(self.what)
        values: list[Any] = []
        active: tuple[int, ...] = ()
        slot = 0
        for arg in args:
            if type(arg) is Variable and arg._trace is self:
                values.append(arg._value)
                if arg._info is not None:
                    active += (slot,)
            else:
                values.append(arg)
            slot += 1
        out = bind(primitive, *values, **params)
        if not primitive.differentiable:
            return out
        if not active or no_grad_depth.get() > self.no_grad_outside:
            if primitive.multiple:
                return tuple(new_traced(Variable, self, y, None) for y in out)
            return new_traced(Variable, self, out, None)
        kept, keeps_out = primitive.keeps(active, slot)
        saved: list[Any] = [None] * (slot + 1)
        for k in kept:
            value = values[k]
            if k not in active:
                value = guard(value) if type(value) not in core.PLAIN else value
            elif type(args[k]._info) is Leaf and args[k]._info.exposed:
                value = guard(value)
            saved[k] = value
        if keeps_out:
            saved[slot] = out
        first, *rest = [(k, args[k]._info, into(values[k], out)) for k in active]
        node = new_node(primitive, params, first, tuple(rest), saved)
        if not primitive.multiple:
            return new_traced(Variable, self, out, node)
        count = len(out)
        return tuple(
            new_traced(Variable, self, y, new_node(index, count, (0, node, None), (), FREED)) for index, y in enumerate(out)
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
            value, exposed = value.copy(), False
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


def read(saved: Any) -> Any:
    """A kept residual, checked where users could have changed it."""
    return saved.check() if type(saved) is Guarded else saved


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

    Iterative and linear in the number of nodes: reachable nodes are collected, ordered by age, and visited from the
    newest. `release` frees residuals on the way, `create_graph` runs the rules on Variables, and `partials` is a
    cache that lets a second sweep of the same graph skip the partial derivatives.
    """
    cts: dict[Node, Any] = {}
    for node, ct in roots:
        cts[node] = ct if node not in cts else cts[node] + ct
    pending = reachable(list(cts))
    owned: set[Node] = set()  # nodes whose cotangent is a buffer of this sweep, which may be added to in place
    leaves: dict[Node, Any] = {}
    hooked = HOOKS if len(HOOKS) else None
    with np.errstate(all="ignore"):
        while pending:
            node = pending.pop()
            ct = cts.pop(node, None)
            if ct is None:
                continue
            if hooked is not None and node in hooked:
                ct = run_hooks(hooked[node], ct)
            primitive = node.primitive
            if primitive is None:
                leaves[node] = ct
                continue
            if type(primitive) is int:  # one of several results: set its cotangent in the tuple of its node
                parent = node.parent
                row = cts.get(parent)
                if row is None:
                    row = cts[parent] = [None] * node.params
                row[primitive] = ct
                continue
            saved = node.saved
            if saved is FREED:
                raise errors.freed_graph()
            if create_graph:
                saved = lifted(node, trace)
            if primitive.accumulate is not None and type(ct) in PLAIN_ARRAYS:
                scatter(node, ct, cts, owned)
                continue
            slot, parent, aval = node.slot, node.parent, node.aval
            params, more, k = node.params, node.more, 0
            while True:
                if partials is None:
                    bar = primitive.pullback(slot, ct, saved, aval, params)
                else:
                    bar = primitive.pullback_cached(slot, ct, saved, aval, params, partials, (node, slot))
                if bar is not None:
                    before = cts.get(parent)
                    cts[parent] = bar if before is None else before + bar
                if k == len(more):
                    break
                slot, parent, aval = more[k]
                k += 1
            if release:
                node.saved = FREED
    return leaves


def scatter(node: Node, ct: Any, cts: dict[Node, Any], owned: set[Node]) -> None:
    """Add a cotangent into a buffer in place: what makes many reads of one array cost their sum, not their product."""
    parent = node.parent
    if parent not in owned:
        owned.add(parent)
        before = cts.get(parent)
        aval = node.aval or aval_of(ct)
        cts[parent] = np.zeros(aval.shape, aval.dtype) if before is None else np.array(before)
    node.primitive.accumulate(cts[parent], ct, **node.params)


def reachable(nodes: list[Node]) -> list[Node]:
    """All nodes that these depend on, oldest first."""
    seen = {id(node) for node in nodes}
    for node in nodes:  # grows while it is walked
        parent = node.parent
        if parent is None:
            continue
        if id(parent) not in seen:
            seen.add(id(parent))
            nodes.append(parent)
        for _, parent, _ in node.more:
            if id(parent) not in seen:
                seen.add(id(parent))
                nodes.append(parent)
    nodes.sort(key=_by_order)
    return nodes


def run_hooks(hooks: Sequence[Callable[[Any], Any]], ct: Any) -> Any:
    for hook in hooks:
        replaced = hook(ct)
        if replaced is not None:
            expected, got = aval_of(ct), aval_of(replaced)
            if expected.shape != got.shape or expected.dtype != got.dtype:
                raise errors.RuleError(
                    f"A hook returned a gradient of shape {got.shape} and dtype {got.dtype} in place of one of shape "
                    f"{expected.shape} and dtype {expected.dtype}. The sweep goes on with what it returns. Return an "
                    "array like the argument, or None to leave it unchanged."
                )
            ct = replaced
    return ct


def lifted(node: Node, trace: Any) -> list[Any]:
    """The residuals of a node as Variables of the graph, so that the sweep itself can be differentiated."""
    saved = [read(value) for value in node.saved]
    for slot, parent, _ in edges(node):
        if saved[slot] is not None:
            saved[slot] = new_traced(Variable, trace, saved[slot], parent)
    if saved[-1] is not None and not node.primitive.multiple:
        saved[-1] = new_traced(Variable, trace, saved[-1], node)
    return saved
