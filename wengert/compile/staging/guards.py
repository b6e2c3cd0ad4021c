"""Guards: what says that something which a staged list depends on is still what it was."""

from __future__ import annotations

import types
import weakref
from typing import Any, Final

import numpy as np

from wengert.residuals import checksum

SCALARS: Final = frozenset({bool, int, float, complex, str, bytes, type(None), np.bool_}) | frozenset(
    np.dtype(code).type for code in "bhilqBHILQefdgFDG"
)
BYTEWISE_LIMIT: Final = 4096  # bytes up to which contents are kept as they are; above, their checksum


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()


def same(one: Any, other: Any) -> bool:
    """Whether two values are one object, or equal small scalars of one type, to the bit."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or kind not in SCALARS:
        return False
    if kind is str or kind is bytes or kind is int:
        return bool(one == other)
    return np.asarray(one).tobytes() == np.asarray(other).tobytes()


def digest(array: np.ndarray[Any, Any]) -> Any:
    """What tells whether an array's contents have changed: the octets of a small one, the checksum of a large one."""
    if array.dtype.hasobject:
        return tuple(map(id, array.ravel().tolist()))
    if array.nbytes <= BYTEWISE_LIMIT:
        return array.tobytes()
    if array.flags.f_contiguous:
        array = array.T
    return checksum(np.ascontiguousarray(array))


# ---------------------------------------------------------------------------------------------------------- guards


class Guard:
    """One thing that a staged list depends on. `holds()` says whether it is still what it was.

    `kind`, `holder`, `key` and `expected` say the same to native code: a "cell" holds `expected`, a "dict" has it at
    `key`. Other kinds are for Python to check.
    """

    __slots__ = ("expected", "holder", "key", "where")
    kind = "other"

    def __init__(self, holder: Any, key: Any, expected: Any, where: str) -> None:
        self.holder = holder
        self.key = key
        self.expected = expected
        self.where = where

    def current(self) -> Any:
        raise NotImplementedError

    def holds(self) -> bool:
        return same(self.current(), self.expected)

    def __repr__(self) -> str:
        return f"{self.where} is {brief(self.expected)}"


class CellGuard(Guard):
    """What a closure cell holds."""

    __slots__ = ()
    kind = "cell"

    def current(self) -> Any:
        return contents_of(self.holder)


class DictGuard(Guard):
    """What a dict has at a key: the globals of a module, the attributes of an object, or nothing there."""

    __slots__ = ()
    kind = "dict"

    def current(self) -> Any:
        return self.holder.get(self.key, MISSING)


class ClassGuard(Guard):
    """What a class, or a base of it, has as an attribute."""

    __slots__ = ()
    kind = "class"  # `holder` is a weak reference: a class may own the jitted function that owns the guard

    def current(self) -> Any:
        found = self.holder()
        return MISSING if found is None else class_attribute(found, self.key)


class SlotGuard(Guard):
    """What an object has in a slot."""

    __slots__ = ()
    kind = "slot"

    def current(self) -> Any:
        return getattr(self.holder, self.key, MISSING)


class FunctionGuard(Guard):
    """The code and the defaults of a function."""

    __slots__ = ()
    kind = "function"  # `holder` is a weak reference: functions are not kept alive by what was made of them

    def current(self) -> Any:
        found = self.holder()
        return (MISSING,) if found is None else (found.__code__, found.__defaults__, found.__kwdefaults__)

    def holds(self) -> bool:
        return all(map(same, self.current(), self.expected))

    def __repr__(self) -> str:
        return f"{self.where} has its code and its defaults"


class ElementsGuard(Guard):
    """The elements of a list, deque, set or dict; `key` makes a snapshot of it."""

    __slots__ = ()
    kind = "elements"

    def current(self) -> Any:
        return self.key(self.holder)

    def holds(self) -> bool:
        current = self.current()
        return len(current) == len(self.expected) and all(map(same, current, self.expected))

    def __repr__(self) -> str:
        return f"{self.where} has its {len(self.expected)} elements"


class ContentsGuard(Guard):
    """The contents of an array."""

    __slots__ = ()
    kind = "contents"

    def current(self) -> Any:
        return digest(self.holder)

    def holds(self) -> bool:
        return bool(self.current() == self.expected)

    def __repr__(self) -> str:
        return f"{self.where} has its contents ({self.holder.nbytes} bytes, compared at each call)"


class OwnGuard(Guard):
    """What a jitted function that names itself holds: held weakly, so that the function can be freed."""

    __slots__ = ("inner",)
    kind = "own"

    def __init__(self, inner: Guard) -> None:
        super().__init__(inner.holder, inner.key, weakref.ref(inner.expected), inner.where)
        inner.expected = None
        self.inner = inner

    def current(self) -> Any:
        return self.inner.current()

    def holds(self) -> bool:
        return self.inner.current() is self.expected()

    def __repr__(self) -> str:
        return f"{self.where} is the function itself"


def brief(value: Any) -> str:
    """A value in a few words, for reports."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{list(value.shape)}"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type | np.ufunc):
        return value.__name__
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    text = repr(value) if type(value) in SCALARS or value is MISSING else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def contents_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return MISSING


def class_attribute(kind: type, name: str) -> Any:
    """What a class or its bases hold under a name, without binding it."""
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return MISSING


__all__ = [
    "MISSING",
    "CellGuard",
    "ClassGuard",
    "ContentsGuard",
    "DictGuard",
    "ElementsGuard",
    "FunctionGuard",
    "Guard",
    "OwnGuard",
    "SlotGuard",
    "digest",
    "same",
]  # fmt: skip
