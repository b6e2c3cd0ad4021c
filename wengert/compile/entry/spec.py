"""What a native entry checks and makes: the shape of a call, of its result, and what must still hold around it."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wengert import tree
from wengert.avals import Aval
from wengert.compile.entry import layout
from wengert.compile.staging.calls import Call
from wengert.compile.staging.guards import Guard
from wengert.compile.staging.staging import Staged
from wengert.program import Literal

_PYTHON: dict[str, type] = {"b": bool, "i": int, "f": float, "c": complex}
_NUMBERS: dict[type, str] = {int: "int64", float: "float64", complex: "complex128", bool: "bool"}


@dataclass(frozen=True)
class Leaf:
    """A number or array: input or output `number` of the body. `kind` is its exact type, Python's or NumPy's."""

    number: int
    kind: type
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, number: int, aval: Aval) -> Leaf:
        """The leaf of an abstract value: a Python number where it is weak, else a NumPy scalar or an array."""
        if aval.weak:
            return cls(number, _PYTHON[aval.dtype.kind], aval.dtype)
        return cls(number, aval.dtype.type if aval.scalar else np.ndarray, aval.dtype, aval.shape)

    @classmethod
    def like(cls, number: int, value: Any) -> Leaf:
        """The leaf of an example.

        >>> Leaf.like(0, 2.5)
        Leaf(number=0, kind=<class 'float'>, dtype=dtype('float64'), shape=())
        """
        array = np.asarray(value)
        return cls(number, type(value), array.dtype, array.shape)

    @property
    def nbytes(self) -> int:
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size

    @property
    def is_array(self) -> bool:
        return self.kind is np.ndarray

    @property
    def native(self) -> bool:
        """Whether an entry can read or make it: plain bits in native byte order, behind a type that it knows."""
        plain = self.dtype.kind in layout.KINDS and self.dtype.isnative
        return plain and (self.is_array or self.kind is self.dtype.type or _NUMBERS.get(self.kind) == self.dtype.name)


@dataclass(frozen=True, eq=False)
class Constant:
    """A static argument, known by identity (int and str by value), or a result that no input reaches."""

    value: Any


@dataclass(frozen=True)
class Items:
    """A tuple, a list, or (among arguments) a subclass of tuple: of exactly this type and length."""

    kind: type
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Keys:
    """A dict with string keys, in this order."""

    items: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, eq=False)
class Made:
    """A result that a Python function makes of its parts: `build(*items)`."""

    build: Callable[..., Any]
    items: tuple[Node, ...]


Node = Leaf | Constant | Items | Keys | Made


@dataclass(frozen=True, eq=False)
class EntrySpec:
    """All that the entry of one specialisation checks and makes.

    Inputs of the body are the leaves of `arguments` and `keywords` by their numbers, then the captured arrays `hidden`,
    numbered on. Outputs are the leaves of `result` by theirs, and those of `unused`, which are computed and dropped.
    `reuse` holds pairs (output, input): the input, an array, was donated, becomes the output, and the body writes into
    it; not for bodies with value guards, which must leave their inputs as they were. `free` are the ids of those hidden
    arrays that others may stand for.
    """

    arguments: tuple[Node, ...]
    result: Node
    keywords: tuple[tuple[str, Node], ...] = ()
    hidden: tuple[np.ndarray[Any, Any], ...] = ()
    guards: tuple[Guard, ...] = ()
    free: frozenset[int] = frozenset()
    unused: tuple[Leaf, ...] = ()
    reuse: tuple[tuple[int, int], ...] = ()

    @property
    def inputs(self) -> list[Leaf]:
        """The leaves of the arguments, in the order of their appearance."""
        return [*leaves_of((*self.arguments, *(node for _, node in self.keywords)))]

    @property
    def outputs(self) -> list[Leaf]:
        return [*leaves_of([self.result]), *self.unused]

    @property
    def native(self) -> bool:
        """Whether an entry can be written for it."""
        hidden = [Leaf.like(0, array) for array in self.hidden]
        return all(leaf.native for leaf in (*self.inputs, *hidden, *self.outputs))


def leaves_of(nodes: Sequence[Node]) -> Iterator[Leaf]:
    """The leaves of nested nodes, left to right."""
    for node in nodes:
        if isinstance(node, Leaf):
            yield node
        elif isinstance(node, Keys):
            yield from leaves_of([item for _, item in node.items])
        elif isinstance(node, Items | Made):
            yield from leaves_of(node.items)


def structure(value: Any, result: bool = False) -> Node | None:
    """The node of a container that holds Leaf and Constant objects; any other object in it is a Constant.

    None where an entry cannot look into it (it does into tuples, namedtuples among arguments, lists, and dicts with
    string keys), or where the object may change and yet be itself, as an array does.

    >>> structure((Leaf.like(0, 1.5), [None]))
    Items(kind=<class 'tuple'>, items=(Leaf(...), Items(kind=<class 'list'>, items=(Constant(value=None),))))
    """
    kind: Any = type(value)
    if kind in (Leaf, Constant):
        return value  # type: ignore[no-any-return]
    if kind in (tuple, list) or (isinstance(value, tuple) and not result):
        items = [structure(item, result) for item in value]
        if any(item is None for item in items):
            return None
        return Items(kind, tuple(item for item in items if item is not None))
    if kind is dict:
        pairs = [(key, structure(item, result)) for key, item in value.items()]
        if any(type(key) is not str or item is None for key, item in pairs):
            return None
        return Keys(tuple((key, item) for key, item in pairs if item is not None))
    by_identity = kind.__eq__ is object.__eq__ and not holds_leaves(value)
    return Constant(value) if kind in _FIXED or by_identity else None


# Objects of these types never change, though they equal others
_FIXED: Final[set[type]] = {type(None), bool, int, float, complex, str, bytes, types.BuiltinFunctionType} | {
    type(np.dtype(code)) for code in "?bhilqBHILQefdgFDG"
}


def holds_leaves(value: Any) -> bool:
    """Whether an object is a container, of any kind that wengert looks into, with leaves among its own."""
    leaves, _ = tree.flatten(value)
    return any(type(leaf) is Leaf for leaf in leaves)


def result_of(treedef: Any, leaves: Sequence[Leaf | Constant]) -> Node:
    """The node of a result of this structure; Python makes the containers that an entry cannot."""
    node = structure(tree.unflatten(treedef, leaves), result=True)

    def build(*values: Any) -> Any:
        return tree.unflatten(treedef, values)

    return Made(build, tuple(leaves)) if node is None else node


def specification(call: Call, staged: Staged) -> EntrySpec | None:
    """The entry of what was staged for a call; None where an entry cannot check such calls, or make such results."""
    inputs = [Leaf.like(number, leaf) for number, leaf in enumerate(call.leaves)]
    args, kwargs = call.rebuild(inputs, call.values())
    positional = [structure(value) for value in args]
    named = [(name, structure(value)) for name, value in kwargs.items()]
    if any(node is None for node in (*positional, *(node for _, node in named))):
        return None
    program = staged.program
    places = dict(zip(program.inputs, inputs, strict=False))
    results: list[Leaf | Constant] = []
    unused: list[Leaf] = []
    for number, atom in enumerate(program.outputs):
        leaf = Leaf.of(number, atom.aval)
        if isinstance(atom, Literal):  # returned as it is
            results.append(Constant(atom.value))
            unused.append(leaf)
        else:
            results.append(dataclasses.replace(places[atom], number=number) if atom in places else leaf)
    spec = EntrySpec(
        tuple(node for node in positional if node is not None),
        result_of(staged.out_tree, results),
        tuple((name, node) for name, node in named if node is not None),
        tuple(staged.hidden),
        tuple(staged.guards),
        staged.free,
        tuple(unused),
    )
    fits = all(leaf.dtype == var.aval.dtype for leaf, var in zip(inputs, program.inputs, strict=False))
    return spec if fits and spec.native else None
