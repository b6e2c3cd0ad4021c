"""Shadows: copies of what a function captured, in which Symbols stand for the arrays.

A list reads captured arrays anew at each call. That is right only where all that the function does with them is in the
list; but what it does with plain arrays alone (`table.sum()`, `if table[0] > 0`) no trace sees. So a function is staged
as a shadow: of the same code, with Symbols in its closure, its globals and its defaults, in the containers and objects
found there, and in the functions that it can reach. Arrays that no shadow reaches are compared by contents instead.

Other threads do not see a shadow, and what is written into one is noticed, since it would not reach the original.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wengert.compile.staging.environment import DYNAMIC, Border, names_of
from wengert.compile.staging.guards import MISSING, contents_of
from wengert.transforms.arguments import Transformed

HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
UNCHANGED: Final = ("__new__", "__setattr__", "__getattribute__")
PLAIN_BASES: Final = frozenset({"builtins", "abc", "typing"})  # whose classes hold nothing beside an object's __dict__


class Shadows:
    """Makes the shadows for one run; `symbol` gives the Symbol of an array, `beyond` says what is not the user's."""

    def __init__(self, symbol: Callable[[np.ndarray[Any, Any]], Any], beyond: Border) -> None:
        self._beyond = beyond
        self._symbol = symbol
        self._made: dict[
            int, tuple[Any, Any]
        ] = {}  # id → the original, held so that its id stays its own, and its shadow
        self._scopes: dict[int, dict[str, Any]] = {}
        self._watched: list[tuple[str, Any, Any]] = []

    def of(self, value: Any, where: str = "") -> Any:
        """The shadow of a value; the value itself where nothing in it needs one."""
        make = MAKERS.get(type(value))
        if make is None:
            make = self._maker(value)
            if make is None:
                return value
        known = self._made.get(id(value))
        if known is None:
            known = self._made[id(value)] = value, make(self, value, where)
        return known[1]

    def written(self) -> str:
        """The words for a container or object into whose shadow something was written, "" for none."""
        for where, shadow, before in self._watched:
            now = _snapshot(shadow)
            if len(now) != len(before) or any(one is not other for one, other in zip(now, before, strict=True)):
                return where or "an object among its arguments"
        return ""

    def _promise(self, value: Any, shadow: Any) -> None:
        """Enter a shadow before its parts are made, as what contains itself needs."""
        self._made[id(value)] = value, shadow

    def _array(self, array: np.ndarray[Any, Any], where: str) -> Any:
        return self._symbol(array) if array.dtype.kind in "fc" and array.dtype.isnative else array

    def _function(self, function: types.FunctionType, where: str) -> Any:
        code, scope = function.__code__, function.__globals__
        names = names_of(code)
        if names.stores or not DYNAMIC.isdisjoint(names.attributes):
            return function
        cells = function.__closure__ or ()
        fresh = tuple(types.CellType() for _ in cells)
        shadow = types.FunctionType(code, scope, function.__name__, None, fresh)
        self._promise(function, shadow)
        changed = False
        for name, old, new in zip(code.co_freevars, cells, fresh, strict=True):
            held = contents_of(old)
            if held is not MISSING:
                new.cell_contents = self.of(held, name)
                changed |= new.cell_contents is not held
        defaults = self.of(function.__defaults__, f"defaults of {function.__qualname__}()")
        named = self.of(function.__kwdefaults__, f"defaults of {function.__qualname__}()")
        changed |= defaults is not function.__defaults__ or named is not function.__kwdefaults__
        seen = {}
        if not self._beyond(scope.get("__name__")):
            seen = {name: self.of(scope[name], name) for name in sorted(names.loaded) if name in scope}
            seen = {name: value for name, value in seen.items() if value is not scope[name]}
        if not changed and not seen:
            return function
        if seen:
            own = self._scopes.setdefault(id(scope), dict(scope))
            own.update(seen)
            shadow = types.FunctionType(code, own, function.__name__, None, fresh)
        shadow.__defaults__ = defaults
        shadow.__kwdefaults__ = named
        shadow.__qualname__ = function.__qualname__
        shadow.__dict__.update(function.__dict__)
        return shadow

    def _tuple(self, values: Any, where: str) -> Any:
        shadows = [self.of(value, f"{where}[{k}]") for k, value in enumerate(values)]
        if all(map(_is, shadows, values)):
            return values
        return tuple(shadows) if type(values) is tuple else type(values)._make(shadows)

    def _list(self, values: list[Any], where: str) -> Any:
        shadow: list[Any] = []
        self._promise(values, shadow)
        shadow += [self.of(value, f"{where}[{k}]") for k, value in enumerate(values)]
        return values if all(map(_is, shadow, values)) else self._watch(shadow, where)

    def _dict(self, values: dict[Any, Any], where: str) -> Any:
        shadow: dict[Any, Any] = {}
        self._promise(values, shadow)
        shadow.update({key: self.of(value, f"{where}[{key!r}]") for key, value in values.items()})
        return values if all(map(_is, shadow.values(), values.values())) else self._watch(shadow, where)

    def _instance(self, value: Any, where: str) -> Any:
        shadow = object.__new__(type(value))
        self._promise(value, shadow)
        own = {name: self.of(held, f"{where}.{name}") for name, held in value.__dict__.items()}
        if all(map(_is, own.values(), value.__dict__.values())):
            return value
        shadow.__dict__.update(own)
        return self._watch(shadow, where)

    def _method(self, method: types.MethodType, where: str) -> Any:
        function, owner = self.of(method.__func__), self.of(method.__self__, where or "self")
        if function is method.__func__ and owner is method.__self__:
            return method
        return types.MethodType(function, owner)

    def _partial(self, partial: functools.partial[Any], where: str) -> Any:
        function, args = self.of(partial.func), self.of(partial.args, where)
        keywords = self.of(partial.keywords, where)
        if function is partial.func and args is partial.args and keywords is partial.keywords:
            return partial
        return functools.partial(function, *args, **keywords)

    def _transformed(self, transformed: Transformed, where: str) -> Any:
        function = self.of(transformed.function, where)
        if function is transformed.function:
            return transformed
        return Transformed(transformed.apply, function, **transformed.options)

    def _maker(self, value: Any) -> Any:
        """What makes the shadow where the type has no entry: of a named tuple, or an object of a user's plain class."""
        kind = type(value)
        if isinstance(value, tuple):
            return Shadows._tuple if hasattr(kind, "_make") else None
        return Shadows._instance if kind.__flags__ & HEAP_TYPE and self._is_plain(kind) else None

    def _is_plain(self, kind: Any) -> bool:
        """Whether objects of a class are their `__dict__` and no more."""
        return (
            type(kind).__module__ in PLAIN_BASES
            and all(getattr(kind, name) is getattr(object, name) for name in UNCHANGED)
            and not hasattr(kind, "__del__")
            and not self._beyond(kind.__module__)
            and all(
                base is object
                or base.__module__ in PLAIN_BASES - {"builtins"}
                or (not self._beyond(base.__module__) and "__slots__" not in base.__dict__)
                for base in kind.__mro__
            )
        )

    def _watch(self, shadow: Any, where: str) -> Any:
        self._watched.append((where, shadow, _snapshot(shadow)))
        return shadow


def _is(one: Any, other: Any) -> bool:
    return one is other


def _snapshot(shadow: Any) -> list[Any]:
    if type(shadow) is list:
        return list(shadow)
    entries = shadow if type(shadow) is dict else shadow.__dict__
    return [*entries.keys(), *entries.values()]


MAKERS: Final[dict[type, Any]] = {
    np.ndarray: Shadows._array,
    types.FunctionType: Shadows._function,
    types.MethodType: Shadows._method,
    functools.partial: Shadows._partial,
    Transformed: Shadows._transformed,
    tuple: Shadows._tuple,
    list: Shadows._list,
    dict: Shadows._dict,
}

__all__ = ["Shadows"]
