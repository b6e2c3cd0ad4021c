"""The arguments of a call, taken apart: what is an input of the list, what is static, and the key of both."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert import core, errors, tree
from wengert.core import PLAIN, TRACED

NATIVE: Final = "=|"  # byte orders that need no conversion
INT64: Final = range(-(2**63), 2**63)


class Call:
    """One call: `leaves` are the inputs, `key` says which lists may fit, `rebuild` puts other leaves in their place."""

    __slots__ = ("_entries", "_fixed", "_structure", "group", "key", "leaves", "statics")

    def __init__(
        self, structure: Any, entries: list[Any], leaves: list[Any], fixed: tuple[Any, ...], statics: list[Static]
    ) -> None:
        self._structure = structure
        self._entries = entries
        self._fixed = fixed  # positions and names of the arguments that are static as a whole, the last of `statics`
        self.leaves = leaves
        self.statics = [entry for entry in entries if type(entry) is Static] + statics
        self.key = structure, tuple(entries), fixed, tuple(statics)
        self.group = structure, tuple(entry for entry in entries if type(entry) is not Static), fixed

    def inputs(self, found: Sequence[Any]) -> list[Any]:
        """Those of the leaves of a call like this one that are inputs."""
        return [leaf for leaf, entry in zip(found, self._entries, strict=True) if type(entry) is not Static]

    def numbers(self, positions: Sequence[int]) -> list[int]:
        """Which inputs are arrays in the positional arguments at these positions."""
        if not positions:
            return []
        args, _ = self.rebuild(list(range(len(self.leaves))), [None] * len(self.statics))
        found = [leaf for k in positions if -len(args) <= k < len(args) for leaf in tree.flatten(args[k])[0]]
        return [k for k in found if type(k) is int and type(self.leaves[k]) is np.ndarray]

    def values(self) -> list[Any]:
        """The static values."""
        return [static.value for static in self.statics]

    def rebuild(self, leaves: list[Any], statics: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keywords with these leaves as inputs, and these static values in place of `self.statics`."""
        given, given_static = iter(leaves), iter(statics)
        values = [next(given_static if type(entry) is Static else given) for entry in self._entries]
        if type(self._structure) is int:
            args, kwargs = values, {}
        else:
            args, kwargs = tree.unflatten(self._structure, values)
        args = list(args)
        kwargs = dict(kwargs)
        for place, value in zip(self._fixed, given_static, strict=True):
            if type(place) is int:
                args[place] = value
            else:
                kwargs[place] = value
        return tuple(args), kwargs


class Static:
    """A value that a list was made for, compared by type and ==; functions and objects by identity, and held weakly."""

    __slots__ = ("_frozen", "_hash", "_reference", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._frozen = frozen(value)
        self._reference: Callable[[], Any] | None = None
        try:
            self._hash = hash(self._frozen)
        except TypeError:
            self._frozen = type(value), _Identity(value)
            self._hash = hash(self._frozen)

    @property
    def value(self) -> Any:
        return self._value if self._reference is None else self._reference()

    def weaken(self, forget: Callable[[Any], None]) -> None:
        """Hold an object that is compared by identity weakly; `forget` is called when it is gone."""
        value = self._value
        if _by_identity(type(value)) and not isinstance(value, type):
            try:
                self._reference = weakref.ref(value, forget)
            except TypeError:  # of a type that knows no weak references
                return
            self._value = self._frozen = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        if type(other) is not Static or self._hash != other._hash:
            return False
        if self._reference is not None or other._reference is not None:
            return self.value is other.value and self.value is not None
        return bool(self._frozen == other._frozen)

    @property
    def dead(self) -> bool:
        return self._reference is not None and self._reference() is None

    def __repr__(self) -> str:
        return repr(self.value)


class _Identity:
    """An object as a key, by what it is rather than what it equals."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: Any) -> bool:
        return type(other) is _Identity and self.value is other.value


def frozen(value: Any) -> Any:
    """A static value as a key that later changes of it do not reach, and that tells 1 from 1.0 and 0.0 from -0.0."""
    kind = type(value)
    if kind is float or kind is complex or isinstance(value, np.generic):
        return kind, repr(value)
    if isinstance(value, tuple | list):
        return kind, tuple(map(frozen, value))
    if isinstance(value, dict):
        return kind, tuple((frozen(key), frozen(item)) for key, item in value.items())
    if kind is set or kind is frozenset:
        return kind, frozenset(map(frozen, value))
    if isinstance(value, np.ndarray):
        return kind, value.dtype, value.shape, value.tobytes()
    return kind, _Identity(value) if _by_identity(kind) else value


def _by_identity(kind: Any) -> bool:
    """Whether objects of this type are equal to themselves only."""
    return kind.__eq__ is object.__eq__


class Splitter:
    """Takes calls apart, knowing which arguments of a function are static."""

    def __init__(self, positions: frozenset[int], names: frozenset[str]) -> None:
        self.positions = positions
        self.names = names

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """The call taken apart; None where a traced array is among the arguments."""
        found, structure, fixed = self.flat(args, kwargs)
        entries: list[Any] = []
        leaves: list[Any] = []
        for leaf in found:
            kind = type(leaf)
            if kind not in PLAIN and isinstance(leaf, np.ndarray | np.generic):
                leaf = _native(core.as_operand(leaf))  # of another kind of array: NumPy's array, or an error
                kind = type(leaf)
            if kind in TRACED:
                return None
            if kind is np.ndarray:
                entries.append((leaf.dtype, leaf.shape))
            elif kind in PLAIN and kind is not bool and (kind is not int or leaf in INT64):
                entries.append(kind)
            else:
                entries.append(Static(leaf))
                continue
            leaves.append(leaf)
        statics = [Static(value) for value in fixed.values()]
        return Call(structure, entries, leaves, tuple(fixed), statics)

    def flat(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any, dict[Any, Any]]:
        """The leaves of the arguments that are not static as a whole, their structure, and those that are."""
        fixed: dict[Any, Any] = {}
        if self.positions or self.names:
            args, kwargs, fixed = self._without_static(args, kwargs)
        if not kwargs and tree.ATOMS.issuperset(map(type, args)):
            return list(args), len(args), fixed
        found, structure = tree.flatten((args, kwargs))
        return found, structure, fixed

    def _without_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        places = {position % len(args) for position in self.positions if -len(args) <= position < len(args)}
        fixed: dict[Any, Any] = {place: args[place] for place in sorted(places)}
        fixed |= {name: kwargs[name] for name in kwargs if name in self.names}
        if any(_is_traced(value) for value in fixed.values()):
            raise errors.ArgumentError(
                "A traced array was passed as a static argument of a jitted function. A static argument is part of "
                "what the list is made for, and a traced array stands for other values as well. Pass it as an ordinary "
                "argument."
            )
        args = tuple(None if k in places else arg for k, arg in enumerate(args))
        return args, {name: value for name, value in kwargs.items() if name not in fixed}, fixed


def _is_traced(value: Any) -> bool:
    return any(type(leaf) in TRACED for leaf in tree.flatten(value)[0])


def _native(value: Any) -> Any:
    """An array in this machine's byte order."""
    if type(value) is np.ndarray and value.dtype.byteorder not in NATIVE:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def static_places(
    function: Any, positions: tuple[int, ...], names: tuple[str, ...]
) -> tuple[frozenset[int], frozenset[str]]:
    """Positions and names of the static arguments, each by both where the signature tells."""
    if not positions and not names:
        return frozenset(), frozenset()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return frozenset(positions), frozenset(names)
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    places = {k % len(by_position) if k < 0 and by_position else k for k in positions}
    known = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    if not known.issuperset(names) and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise errors.ArgumentError(
            f"static_argnames={names!r} names an argument that the function does not have. Static arguments are found "
            f"by name. Its arguments are {', '.join(p.name for p in parameters)}."
        )
    named = {p.name for k, p in enumerate(by_position) if k in places and p.kind is not p.POSITIONAL_ONLY}
    places |= {k for k, p in enumerate(by_position) if p.name in names}
    return frozenset(places), frozenset(names) | named
