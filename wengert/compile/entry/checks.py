"""Native checks of what lies around a staged function: the guards of `guards.py`, written as LLVM text.

Cells, names, attributes, functions, lists, dicts and small arrays are compared in a few nanoseconds each. What has no
native check is asked of Python, all in one call.

A captured array that the list reads as an input may be replaced by another of its kind (`w = w - step * g` in a
training loop), and so may the lists, dicts and tuples that hold it: the entry then reads what stands in its place. One
thing that was seen in two places must be one thing still.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from wengert.compile.entry import layout
from wengert.compile.entry.spec import Leaf
from wengert.compile.entry.writer import Writer
from wengert.compile.staging.guards import MISSING, ContentsGuard, ElementsGuard, Guard, OwnGuard

_MANY: Final = 100  # elements of a list or dict; longer ones are Python's to walk


class Surroundings:
    """Checks guards with a writer. `own` is the jitted object, which is `%self` to the entry and never in its table.

    `found` has the registers of replaceable objects, by the id of what stood in their place when the list was made.
    `arrays` are those of them that are arrays: the caller holds references to them while the body runs, for their
    places may be bound anew meanwhile.
    """

    def __init__(self, w: Writer, guards: Sequence[Guard], free: frozenset[int], own: Any) -> None:
        self.found: dict[int, str] = {}
        self.arrays: list[str] = []
        self._w = w
        self._own = own
        self._free = free - {id(guard.holder) for guard in guards if isinstance(guard, ContentsGuard)}
        self._moving = self._movable(guards)
        rest: list[Guard] = []
        names: dict[int, tuple[dict[str, Any], list[tuple[str, Any]]]] = {}
        later: list[tuple[Callable[[Guard, Any], None], Guard, Any]] = []
        for given in guards:
            guard, expected = given, given.expected
            if isinstance(given, OwnGuard) and own is not None and given.expected() is own:
                guard, expected = given.inner, own
            if guard.kind == "dict" and type(guard.holder) is dict and type(guard.key) is str:
                names.setdefault(id(guard.holder), (guard.holder, []))[1].append((guard.key, expected))
            elif (check := self._native(guard)) is not None:
                later.append((check, guard, expected))
            else:
                rest.append(given)
        if rest:  # first: Python code may change what the others look at
            self._ask(rest)
        for holder, pairs in names.values():
            self._names(holder, pairs)
        for check, guard, expected in later:
            check(guard, expected)

    def _movable(self, guards: Sequence[Guard]) -> set[int]:
        """The ids of what may be replaced: free arrays, and the containers that hold some."""
        inside = {id(guard.holder): guard.expected for guard in guards if self._native(guard) == self._elements}
        moving: set[int] = set(self._free)

        def look(value: Any) -> bool:
            items = value if isinstance(value, tuple) else inside.pop(id(value), ())
            moves = [look(item) for item in items]  # all of them: each is to be entered
            if any(moves):
                moving.add(id(value))
            return id(value) in moving

        for guard in guards:
            look(guard.expected)
        return moving

    def _native(self, guard: Guard) -> Callable[[Guard, Any], None] | None:
        """The native check of a guard, where it has one."""
        holder, key, expected = guard.holder, guard.key, guard.expected
        if guard.kind == "cell" and type(holder) is types.CellType:
            return self._cell
        if guard.kind == "function" and type(holder) is weakref.ref and len(expected) == 3:
            return self._function
        if isinstance(guard, ElementsGuard) and len(expected) <= _MANY:
            if type(holder) is list and key is list:
                return self._elements
            if type(holder) is dict and all(type(name) is str for name in expected[: len(expected) // 2]):
                return self._elements
        if guard.kind == "contents" and type(holder) is np.ndarray and type(expected) is bytes:
            return self._contents if Leaf.like(0, holder).native else None
        return None

    # ------------------------------------------------------------------------------------------------- one place

    def _pin(self, values: Iterable[Any]) -> None:
        """These objects may not be replaced: something that has no native check expects them where they are."""
        for value in values:
            if id(value) in self._moving:
                self._same_as_elsewhere(value, self._w.object(value))
            if isinstance(value, tuple):
                self._pin(value)

    def _same_as_elsewhere(self, expected: Any, place: str) -> None:
        known = self.found.setdefault(id(expected), place)
        if known != place:
            self._w.need(self._w.same(known, place))

    def _holds(self, place: str, expected: Any) -> None:
        """Need that a place, whose pointer may be NULL, holds what is expected there, or what may stand for it."""
        w = self._w
        if expected is MISSING:
            w.need(w.same(place, "null"))
        elif expected is self._own and expected is not None:
            w.need(w.same(place, "%self"))
        elif id(expected) in self._moving:
            w.need(w.op(f"icmp ne ptr {place}, null"))
            if id(expected) not in self.found:
                w.need(w.is_exactly(place, type(expected)))
                if type(expected) is np.ndarray:
                    self.arrays.append(place)
                elif isinstance(expected, tuple):
                    w.need(w.equal("i64", w.load("i64", place, layout.SIZE), len(expected)))
                    for k, item in enumerate(expected):
                        self._holds(w.load("ptr", place, layout.TUPLE_ITEMS + 8 * k), item)
            self._same_as_elsewhere(expected, place)
        else:
            if type(expected) in (int, float, str):
                w.need(w.op(f"icmp ne ptr {place}, null"))
            w.is_object(place, expected)

    def _object(self, value: Any) -> str:
        """The object that stands where `value` stood."""
        known = self.found.get(id(value))
        if known is None:
            known = self._w.object(value)
            if id(value) in self._moving:
                self.found[id(value)] = known
        return known

    # ------------------------------------------------------------------------------------------------- kinds of guards

    def _ask(self, guards: Sequence[Guard]) -> None:
        w = self._w

        def all_hold() -> bool:
            return all(guard.holds() for guard in guards)

        answer = w.call("PyObject_CallObject", f"ptr {w.object(all_hold)}", "ptr null")
        w.need(w.op(f"icmp ne ptr {answer}, null"), otherwise="error")
        truth = w.call("PyObject_IsTrue", f"ptr {answer}")
        w.call("Py_DecRef", f"ptr {answer}")
        w.need(w.op(f"icmp sge i32 {truth}, 0"), otherwise="error")
        w.need(w.op(f"icmp ne i32 {truth}, 0"))
        for guard in guards:
            self._pin([guard.holder])
            self._pin(guard.expected if isinstance(guard, ElementsGuard) else [guard.expected])

    def _names(self, holder: dict[str, Any], pairs: Sequence[tuple[str, Any]]) -> None:
        w = self._w
        names = w.object(holder)
        good = w.label()
        now = seen = ""
        moving = {name: w.variable("ptr", "null") for name, expected in pairs if id(expected) in self._moving}
        if layout.HAS_DICT_VERSION:  # nothing to look up while nobody has written to the dict
            seen = w.variable("i64", "-1")  # no dict has version 2⁶⁴ − 1
            now = w.load("i64", names, layout.DICT_VERSION)
            look = w.label()
            w.branch(w.op(f"icmp eq i64 {now}, {w.load('i64', seen)}"), good, look)
            w.begin(look)
        for name, expected in pairs:
            place = w.call("PyDict_GetItemWithError", f"ptr {names}", f"ptr {w.object(sys.intern(name))}")
            present, absent = w.label(), w.label()
            w.branch(w.op(f"icmp ne ptr {place}, null"), present, absent)
            w.begin(absent)
            w.need(w.same(w.call("PyErr_Occurred"), "null"), otherwise="error")
            w.line(f"br label %{present}")
            w.begin(present)
            if name in moving:
                w.line(f"store ptr {place}, ptr {moving[name]}")
            else:
                self._holds(place, expected)
        if layout.HAS_DICT_VERSION:
            w.line(f"store i64 {now}, ptr {seen}")
        w.line(f"br label %{good}")
        w.begin(good)
        for name, expected in pairs:
            if name in moving:  # the dict has not been written to since, so it still holds it
                self._holds(w.load("ptr", moving[name]), expected)

    def _cell(self, guard: Guard, expected: Any) -> None:
        self._holds(self._w.load("ptr", self._w.object(guard.holder), layout.VALUE), expected)

    def _function(self, guard: Guard, expected: tuple[Any, Any, Any]) -> None:
        w = self._w
        function = w.alive(guard.holder)
        for offset, value in zip((layout.CODE, layout.DEFAULTS, layout.KEYWORD_DEFAULTS), expected, strict=True):
            w.need(w.same(w.load("ptr", function, offset), "null" if value is None else w.object(value)))
            self._pin([value])

    def _elements(self, guard: Guard, expected: Sequence[Any]) -> None:
        w = self._w
        holder = self._object(guard.holder)
        count = len(expected) if guard.key is list else len(expected) // 2
        w.need(w.equal("i64", w.load("i64", holder, layout.SIZE), count))
        if guard.key is list:
            items = w.load("ptr", holder, layout.LIST_ITEMS)
            for k, value in enumerate(expected):
                self._holds(w.load("ptr", items, 8 * k), value)
        else:
            for (key, value), name, wanted in zip(w.walk(holder, count), expected, expected[count:], strict=False):
                w.is_object(key, sys.intern(name))
                self._holds(value, wanted)

    def _contents(self, guard: Guard, expected: bytes) -> None:
        w = self._w
        holder = w.object(guard.holder)
        array(w, holder, Leaf.like(0, guard.holder))
        if expected:
            data, wanted = w.load("ptr", holder, layout.DATA), w.at(w.object(expected), layout.BYTES)
            w.need(w.equal("i32", w.call("memcmp", f"ptr {data}", f"ptr {wanted}", f"i64 {len(expected)}"), 0))


def array(w: Writer, value: str, leaf: Leaf) -> None:
    """Check an ndarray's dtype, shape, order and alignment. NumPy keeps its flags true for every shape and stride."""
    wanted = layout.C_CONTIGUOUS | layout.ALIGNED
    descr = w.load("ptr", value, layout.DESCR)
    w.need(
        w.equal("i32", w.load("i32", value, layout.NDIM), len(leaf.shape)),
        w.equal("i32", w.op(f"and i32 {w.load('i32', value, layout.FLAGS)}, {wanted}"), wanted),
        w.equal("i32", w.load("i32", descr, layout.TYPE_NUMBER), leaf.dtype.num),
        w.op(f"icmp ne i8 {w.load('i8', descr, layout.BYTE_ORDER)}, {ord(layout.FOREIGN)}"),
    )
    if leaf.shape:
        lengths = w.load("ptr", value, layout.DIMENSIONS)
        w.need(*(w.equal("i64", w.load("i64", lengths, 8 * axis), length) for axis, length in enumerate(leaf.shape)))
