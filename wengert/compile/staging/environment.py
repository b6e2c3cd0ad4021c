"""The environment of a function: all that it can see besides its arguments.

That is what its code names: closure cells, defaults, globals, the elements of lists and dicts found there, attributes
of objects and of the user's own modules; and the same of each Python function in its reach.
"""

from __future__ import annotations

import builtins
import dis
import functools
import random
import sys
import sysconfig
import types
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from wengert.compile.staging.guards import (
    MISSING,
    SCALARS,
    CellGuard,
    ClassGuard,
    DictGuard,
    ElementsGuard,
    FunctionGuard,
    Guard,
    OwnGuard,
    SlotGuard,
    class_attribute,
    contents_of,
)
from wengert.core import TRACED
from wengert.transforms.arguments import Transformed

REACH_LIMIT: Final = 20_000  # objects
DYNAMIC: Final = frozenset({"getattr", "vars", "__dict__", "__getattribute__", "eval", "exec", "attrgetter", "locals"})
MAKING: Final = frozenset({"__init__", "__post_init__", "__repr__", "__str__"})  # of no use to an object that is there
GIVEN: Final = frozenset({"numpy", "scipy", "wengert", "builtins"}) | sys.stdlib_module_names
INSTALLED: Final = tuple({sysconfig.get_path(kind) for kind in ("purelib", "platlib")})


def _mapping_snapshot(mapping: dict[Any, Any]) -> list[Any]:
    return [*mapping.keys(), *mapping.values()]


def plain_attribute(value: Any, name: str) -> Any:
    """An attribute that an object has by itself, without asking code of its class; None where there is none."""
    try:
        return object.__getattribute__(value, name)
    except (AttributeError, TypeError):
        return None


def _set_snapshot(values: Any) -> list[Any]:
    return list(values)


class Environment:
    """What a function can see besides its arguments.

    `guards` say what it consists of; `arrays` (with the words for where each is) and `generators` are what was found;
    `traced` whether a traced array was.
    """

    def __init__(self, roots: list[tuple[Any, str]], own: Any = None) -> None:
        self._beyond = Border(roots[0][0])
        self.guards: list[Guard] = []
        self.arrays: dict[int, tuple[np.ndarray[Any, Any], str]] = {}
        self.generators: list[Any] = []
        self.traced = False
        self.exceeded = False  # whether there is too much to see it all
        self.pinned: set[int] = set()  # ids of arrays that are reached by ways which no guard follows
        self._own = own
        self._names: set[str] = set()  # attributes that any of the code names
        self._objects: list[tuple[Any, str]] = []  # whose attributes are seen by these names
        self._known: dict[int, Any] = {}  # visited objects, held so that their ids stay their own
        self._guarded: set[tuple[str, int, Any]] = set()
        self._queue = deque(roots)
        self._run()

    def _run(self) -> None:
        named = -1
        while self._queue or len(self._names) != named:
            while self._queue and len(self._known) < REACH_LIMIT:
                self._visit(*self._queue.popleft())
            if len(self._known) >= REACH_LIMIT:
                self.exceeded = True
                return
            named = len(self._names)
            for value, where in self._objects:
                self._attributes(value, where)

    def _expect(self, guard: Guard) -> None:
        key = guard.kind, id(guard.holder), guard.key
        if key in self._guarded:
            return
        self._guarded.add(key)
        value = guard.expected
        self.guards.append(OwnGuard(guard) if value is self._own and value is not None else guard)
        if guard.kind not in ("elements", "function"):  # whose parts are visited one by one
            self._queue.append((value, guard.where))

    def _visit(self, value: Any, where: str) -> None:
        kind = type(value)
        if kind in SCALARS or value is MISSING or id(value) in self._known:
            return
        if kind in TRACED:
            self.traced = True
            return
        self._known[id(value)] = value
        visit = VISITS.get(kind)
        if visit is None:
            visit = next((visit for base, visit in VISITS.items() if isinstance(value, base)), Environment._object)
        visit(self, value, where)

    def _function(self, function: types.FunctionType, where: str) -> None:
        code, scope = function.__code__, function.__globals__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._expect(CellGuard(cell, None, contents_of(cell), name))
        given = self._beyond(scope.get("__name__"))
        defaults, named = function.__defaults__, function.__kwdefaults__
        if where or defaults or named:
            what = f"{function.__qualname__}()"
            if not given or defaults or named:
                self._expect(FunctionGuard(weakref.ref(function), None, (code, defaults, named), what))
            self._pin(defaults, f"defaults of {what}")
            self._pin(named, f"keyword defaults of {what}")
        if given:
            return  # closures of decorators hold the user's functions, but their globals do not change
        names = names_of(code)
        self._names |= names.attributes
        for name in sorted(names.loaded):
            if name in scope or hasattr(builtins, name):
                self._expect(DictGuard(scope, name, scope.get(name, MISSING), name))
        for name in names.imported:
            if name in sys.modules:
                self._queue.append((sys.modules[name], name))

    def _items(self, values: Any, where: str) -> None:
        for k, value in enumerate(list(values)):
            if type(value) not in SCALARS:
                self._queue.append((value, f"{where}[{k}]"))

    def _pin(self, value: Any, where: str) -> None:
        """Visit what is held by something that cannot be rebound, such as the arguments of a partial."""
        if isinstance(value, tuple | list):
            for part in value:
                self._pin(part, where)
        elif isinstance(value, dict):
            for part in value.values():
                self._pin(part, where)
        elif isinstance(value, np.ndarray):
            self.pinned.add(id(value))
        self._queue.append((value, where))

    def _fixed(self, values: Any, where: str) -> None:
        self._items(values, where)
        if type(values) not in (tuple, frozenset):
            self._object(values, where)

    def _sequence(self, values: Any, where: str) -> None:
        self._expect(ElementsGuard(values, list, list(values), where))
        self._items(values, where)

    def _set(self, values: Any, where: str) -> None:
        self._expect(ElementsGuard(values, _set_snapshot, list(values), where))
        self._items(values, where)

    def _mapping(self, values: Any, where: str) -> None:
        self._expect(ElementsGuard(values, _mapping_snapshot, _mapping_snapshot(values), where))
        for key, value in list(values.items()):
            if type(value) not in SCALARS:
                self._queue.append((value, f"{where}[{key!r}]"))

    def _array(self, array: np.ndarray[Any, Any], where: str) -> None:
        self.arrays[id(array)] = array, where
        if array.dtype.hasobject:
            self._items(array.ravel().tolist(), where)

    def _generator(self, generator: Any, where: str) -> None:
        self.generators.append(generator)

    def _partial(self, partial: functools.partial[Any], where: str) -> None:
        self._queue.append((partial.func, where))
        self._pin((partial.args, partial.keywords), where)

    def _method(self, method: types.MethodType, where: str) -> None:
        self._queue.extend([(method.__func__, where), (method.__self__, where or "self")])

    def _wrapper(self, wrapper: Any, where: str) -> None:
        self._queue.append((wrapper.__func__, where))

    def _property(self, value: property, where: str) -> None:
        self._queue.append((value.fget, where))

    def _transformed(self, value: Any, where: str) -> None:
        self._queue.append((value.function, where))
        self._pin(tuple(value.options.values()), where)

    def _module(self, module: types.ModuleType, where: str) -> None:
        if not self._beyond(module.__name__):
            self._objects.append((module, where))

    def _class(self, kind: type, where: str) -> None:
        if not self._beyond(kind.__module__):
            self._objects.append((kind, where))
            self._dunders(kind, where, frozenset())

    def _object(self, value: Any, where: str) -> None:
        wrapped = plain_attribute(value, "__wrapped__")  # as functools.lru_cache has it
        if wrapped is not None:
            self._queue.append((wrapped, where))
        kind = type(value)
        if kind.__module__.startswith("numpy.random"):
            self.generators.append(value)
            return
        if self._beyond(kind.__module__) and not isinstance(value, types.SimpleNamespace):
            if kind.__module__.startswith("wengert."):
                self._queue.append((plain_attribute(value, "function"), where))  # of a jitted function
            return
        self._objects.append((value, where))
        self._dunders(kind, where, MAKING)

    def _dunders(self, kind: type, where: str, without: frozenset[str]) -> None:
        """Methods that are called without being named."""
        for base in kind.__mro__:
            if not self._beyond(base.__module__):
                for name, method in base.__dict__.items():
                    if name.startswith("__") and type(method) is types.FunctionType and name not in without:
                        self._expect(ClassGuard(weakref.ref(base), name, method, f"{base.__qualname__}.{name}"))

    def _attributes(self, value: Any, where: str) -> None:
        """Guard those attributes of an object, a class or a module that the code names."""
        every = not self._names.isdisjoint(DYNAMIC)
        own = plain_attribute(value, "__dict__")
        if isinstance(value, type):
            for name in sorted(self._names):
                if (found := class_attribute(value, name)) is not MISSING:
                    self._expect(ClassGuard(weakref.ref(value), name, found, f"{where}.{name}"))
            return
        kind = type(value)
        for name in [*own] if every and own is not None else sorted(self._names):
            shared = MISSING if isinstance(value, types.ModuleType) else class_attribute(kind, name)
            if type(shared) is types.MemberDescriptorType:
                self._expect(SlotGuard(value, name, getattr(value, name, MISSING), f"{where}.{name}"))
                continue
            if own is not None and (name in own or shared is not MISSING):
                self._expect(DictGuard(own, name, own.get(name, MISSING), f"{where}.{name}"))
            if shared is not MISSING and not self._beyond(kind.__module__):
                self._expect(ClassGuard(weakref.ref(kind), name, shared, f"{kind.__qualname__}.{name}"))


VISITS: Final[dict[type, Any]] = {
    types.FunctionType: Environment._function,
    types.MethodType: Environment._method,
    functools.partial: Environment._partial,
    staticmethod: Environment._wrapper,
    classmethod: Environment._wrapper,
    property: Environment._property,
    types.ModuleType: Environment._module,
    type: Environment._class,
    np.ndarray: Environment._array,
    dict: Environment._mapping,
    list: Environment._sequence,
    deque: Environment._sequence,
    tuple: Environment._fixed,
    frozenset: Environment._fixed,
    set: Environment._set,
    Transformed: Environment._transformed,
    random.Random: Environment._generator,
}


class Border:
    """Where the user's own code ends: in NumPy, wengert, the standard library and in installed packages.

    What lies beyond is taken to stay as it is. The packages of the function itself (`ours`) are the user's own.
    """

    def __init__(self, function: Any) -> None:
        self._ours = set()
        for _ in range(100):
            self._ours.add(str(plain_attribute(function, "__module__")).partition(".")[0])
            inner = [plain_attribute(function, name) for name in ("function", "func", "__func__", "__wrapped__")]
            function = next((one for one in inner if one is not None), None)
            if function is None:
                break
        self._known: dict[str, bool] = {}

    def __call__(self, module: Any) -> bool:
        """Whether a module of this name lies beyond."""
        package = str(module).partition(".")[0]
        if package in GIVEN:
            return True
        if package not in self._known:
            path = plain_attribute(sys.modules.get(package), "__file__") or ""
            self._known[package] = package not in self._ours and str(path).startswith(INSTALLED)
        return self._known[package]


class Names(NamedTuple):
    """What code loads as a global, what it loads as an attribute, what it imports; whether it writes to outer names."""

    loaded: frozenset[str]
    attributes: frozenset[str]
    imported: frozenset[str]
    stores: bool


@functools.lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> Names:
    """The names that code and the code inside it use."""
    loaded, attributes, imported = set(), set(), set()
    stores = False
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(instruction.argval)
        elif name in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM", "LOAD_SUPER_ATTR"):
            attributes.add(instruction.argval)
        elif name == "IMPORT_NAME":
            imported.add(instruction.argval)
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
            name in ("STORE_DEREF", "DELETE_DEREF") and instruction.argval in code.co_freevars
        ):
            stores = True
    for inner in _inner_codes(code):
        found = names_of(inner)
        loaded |= found.loaded
        attributes |= found.attributes
        imported |= found.imported
        stores |= found.stores
    return Names(frozenset(loaded), frozenset(attributes | (DYNAMIC & loaded)), frozenset(imported), stores)


def _inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


__all__ = ["DYNAMIC", "Border", "Environment", "names_of"]
