"""Containers of arrays (dict, list, tuple, namedtuple, dataclass, None): a thin face on optree."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

from wengert.errors import StructureError

ATOMS: set[type] = set()  # types that are single leaves for certain; core adds its own. They skip optree altogether.


class _Leaf:
    """The structure of a lone array."""

    def __reduce__(self) -> str:
        return "_LEAF"  # there is one, also after pickling


_LEAF = _Leaf()
_registered: set[type] = set()
_SEQUENCES, _MAPPINGS = (list, tuple, deque), (dict, OrderedDict, defaultdict)  # what optree looks into by itself


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a container, left to right, and its structure. `None` is structure, not a leaf.

    Dataclasses are registered with optree when first met. A cyclic container raises `StructureError`.
    """
    if type(tree) in ATOMS:
        return [tree], _LEAF
    import optree  # optree costs more to import than the whole of wengert, and a lone array never needs it

    _register_dataclasses(tree)
    try:
        leaves, treedef = optree.tree_flatten(tree, namespace="wengert")
    except RecursionError:
        raise StructureError(
            "A container of arguments or results is nested too deeply, or contains itself. Its leaves cannot be "
            "listed. Pass a flat list or dict of arrays instead."
        ) from None
    return leaves, treedef


def unflatten(treedef: Any, leaves: Iterable[Any]) -> Any:
    """The container of structure `treedef` with these leaves."""
    if treedef is _LEAF:
        (leaf,) = leaves
        return leaf
    return treedef.unflatten(leaves)


def map_leaves(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`function` applied to corresponding leaves of one or more containers of equal structure."""
    leaves, treedef = flatten(tree)
    columns = [flatten_like(treedef, other, "containers") for other in rest]
    return unflatten(treedef, [function(*row) for row in zip(leaves, *columns, strict=True)])


def flatten_like(treedef: Any, tree: Any, what: str) -> list[Any]:
    """The leaves of `tree`, which must have the structure `treedef`; else a StructureError that shows both."""
    leaves, found = flatten(tree)
    if not same_structure(treedef, found):
        raise StructureError(
            f"The structure of the {what} does not fit. Expected {describe(treedef)}, got {describe(found)}. Pass "
            "containers of the same kind, with the same keys and lengths."
        )
    return leaves


def same_structure(one: Any, other: Any) -> bool:
    if one is _LEAF or other is _LEAF:
        return _is_leaf(one) and _is_leaf(other)
    return bool(one == other)


def leaf_paths(tree: Any) -> list[str]:
    """A readable name for each leaf, such as "['w'][0]"; the empty string where the tree is a single leaf."""
    if type(tree) in ATOMS:
        return [""]
    import optree

    _register_dataclasses(tree)
    accessors = optree.tree_accessors(tree, namespace="wengert")
    return [accessor.codify("") for accessor in accessors]


def describe(treedef: Any) -> str:
    return "a single leaf" if _is_leaf(treedef) else str(treedef).replace("PyTreeSpec", "")


def _is_leaf(treedef: Any) -> bool:
    return treedef is _LEAF or (treedef.num_nodes == 1 and treedef.num_leaves == 1)


def _register_dataclasses(tree: Any) -> None:
    """Make optree look into dataclass instances, which it takes for leaves; iterative, and safe against cycles."""
    stack: list[Any] = [tree]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind in ATOMS or id(node) in seen:
            continue
        if kind in _SEQUENCES or isinstance(node, tuple):
            children = node
        elif kind in _MAPPINGS:
            children = node.values()
        elif dataclasses.is_dataclass(kind):
            names = [field.name for field in dataclasses.fields(node)]
            if kind not in _registered:
                _register_dataclass(kind, names)
            children = [getattr(node, name) for name in names]
        else:
            continue
        seen.add(id(node))
        stack.extend(children)


def _register_dataclass(kind: type, names: list[str]) -> None:
    import optree

    def flatten_dataclass(value: Any) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        return [getattr(value, name) for name in names], tuple(names), tuple(names)

    def unflatten_dataclass(_: tuple[str, ...], children: Iterable[Any]) -> Any:
        # __init__ and __post_init__ may convert or check, which traced leaves need not pass
        value: Any = object.__new__(kind)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(value, name, child)
        return value

    try:
        register: Any = optree.register_pytree_node
        register(kind, flatten_dataclass, unflatten_dataclass, namespace="wengert")
    except (TypeError, ValueError):
        pass  # the user, or another thread, registered it first
    _registered.add(kind)


def beside(tree: Any, other: Any, stands_for_all: Callable[[Any], bool]) -> list[Any]:
    """For each leaf of `tree`, what `other` has in its place.

    `other` has the same keys and lengths, or something that stands for all leaves below it. Mappings are matched by
    key, whatever their order; a StructureError shows both where they do not fit.
    """
    if stands_for_all(other):
        return [other] * len(flatten(tree)[0])
    children, others = _children(tree), _children(other)
    if children is None:
        return [other]
    if others is None or children.keys() != others.keys():
        raise StructureError(
            f"The structures do not fit: {describe(flatten(tree)[1])} and {describe(flatten(other)[1])} stand in one "
            "place. Pass containers with the same keys and lengths."
        )
    return [leaf for key, child in children.items() for leaf in beside(child, others[key], stands_for_all)]


def _children(tree: Any) -> dict[Any, Any] | None:
    """The children of a container by key, in the order of its leaves; None for a leaf."""
    if type(tree) in ATOMS:
        return None
    import optree

    _register_dataclasses(tree)
    try:
        found = optree.tree_flatten_one_level(tree, namespace="wengert")
    except ValueError:  # a leaf
        return None
    keys = range(len(found.children)) if isinstance(tree, tuple) else found.entries  # those of a namedtuple are names
    return dict(zip(keys, found.children, strict=True))
