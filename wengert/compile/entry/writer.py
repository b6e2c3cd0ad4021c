"""LLVM text of a native entry under construction: instructions, symbols, and the table of the user's objects."""

from __future__ import annotations

import functools
import re
import struct
import weakref
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from wengert.compile.entry import layout
from wengert.compile.machine import engine

# --- what external symbols there are ---------------------------------------------------------------------------------

NUMPY_SCALARS: Final[dict[type, str]] = {
    np.dtype(code).type: f"numpy.{np.dtype(code).type.__name__}" for code in "?bBhHiIlLqQefdgFDG"
}
_TYPES: Final[dict[type, str]] = {
    float: "PyFloat_Type", int: "PyLong_Type", bool: "PyBool_Type", complex: "PyComplex_Type", str: "PyUnicode_Type",
    tuple: "PyTuple_Type", list: "PyList_Type", dict: "PyDict_Type", np.ndarray: "numpy.ndarray", **NUMPY_SCALARS,
}  # fmt: skip
_SINGLETONS: Final[dict[int, str]] = {
    id(None): "_Py_NoneStruct", id(True): "_Py_TrueStruct", id(False): "_Py_FalseStruct",
    id(np.True_): "numpy.True", id(np.False_): "numpy.False",
}  # fmt: skip
_DECLARED: Final = {
    "Py_IncRef": "void @Py_IncRef(ptr)",
    "Py_DecRef": "void @Py_DecRef(ptr)",
    "PyTuple_New": "ptr @PyTuple_New(i64)",
    "PyList_New": "ptr @PyList_New(i64)",
    "PyDict_New": "ptr @PyDict_New()",
    "PyDict_SetItem": "i32 @PyDict_SetItem(ptr, ptr, ptr)",
    "PyDict_Next": "i32 @PyDict_Next(ptr, ptr, ptr, ptr)",
    "PyDict_GetItemWithError": "ptr @PyDict_GetItemWithError(ptr, ptr)",
    "PyErr_Occurred": "ptr @PyErr_Occurred()",
    "PyObject_CallObject": "ptr @PyObject_CallObject(ptr, ptr)",
    "PyObject_IsTrue": "i32 @PyObject_IsTrue(ptr)",
    "PyUnicode_Compare": "i32 @PyUnicode_Compare(ptr, ptr)",
    "PyLong_AsLongLongAndOverflow": "i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)",
    "PyLong_FromLongLong": "ptr @PyLong_FromLongLong(i64)",
    "PyFloat_FromDouble": "ptr @PyFloat_FromDouble(double)",
    "PyComplex_FromDoubles": "ptr @PyComplex_FromDoubles(double, double)",
    "memcmp": "i32 @memcmp(ptr, ptr, i64)",
    "numpy.PyArray_New": "ptr @numpy.PyArray_New(ptr, i32, ptr, i32, ptr, ptr, i32, i32, ptr)",
} | {f"{name}.alloc": f"ptr @{name}.alloc(ptr, i64)" for name in NUMPY_SCALARS.values()}

MISS: Final = "inttoptr (i64 1 to ptr)"
TABLE: Final = "wengert.table"
CALLS: Final = "wengert.calls"  # how many the function has answered
_LIKELY: Final = "!prof !909090"  # a number that no body's metadata has


@functools.cache
def register() -> None:
    """Tell the engine where NumPy's types and functions lie."""
    for kind, name in NUMPY_SCALARS.items():
        engine.register(name, id(kind))
        engine.register(f"{name}.alloc", layout.allocator(kind))
    engine.register("numpy.ndarray", id(np.ndarray))
    engine.register("numpy.True", id(np.True_))
    engine.register("numpy.False", id(np.False_))
    engine.register("numpy.PyArray_New", layout.numpy_function(layout.ARRAY_NEW_SLOT))


class Writer:
    """Writes one function, line by line: a check that fails goes to a label, and what follows may rely on it."""

    def __init__(self) -> None:
        self.table: list[Any] = []  # the user's objects, whose addresses the module reads from its own table
        self._places: dict[int, int] = {}
        self._lines: list[str] = []
        self._allocas: list[str] = []
        self._globals: list[str] = []
        self._externals: set[str] = set()
        self._count = 0

    def op(self, text: str) -> str:
        """An instruction; the register that takes its result."""
        self._count += 1
        self._lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self._lines.append("  " + text)

    def label(self) -> str:
        """A fresh name for a basic block."""
        self._count += 1
        return f"l{self._count}"

    def begin(self, label: str) -> None:
        self._lines.append(label + ":")

    def alloca(self, kind: str, value: str | None = None) -> str:
        """Memory on the stack, which holds `value` from the start."""
        name = f"%a{self._count}"
        self._count += 1
        self._allocas.append(f"  {name} = alloca {kind}, align 16")
        if value is not None:
            self._allocas.append(f"  store {kind} {value}, ptr {name}")
        return name

    def variable(self, kind: str, value: str) -> str:
        """A variable of the module, kept from call to call."""
        self._globals.append(f"@variable.{len(self._globals)} = internal global {kind} {value}")
        return f"@variable.{len(self._globals) - 1}"

    def constant(self, kind: str, value: str) -> str:
        self._globals.append(f"@variable.{len(self._globals)} = private constant {kind} {value}")
        return f"@variable.{len(self._globals) - 1}"

    def call(self, name: str, *args: str) -> str:
        """Call a function of the C API; arguments with their types."""
        self._externals.add(name)
        result = _DECLARED[name].split(" ", 1)[0]
        text = f"call {result} @{name}({', '.join(args)})"
        if result == "void":
            self.line(text)
            return ""
        return self.op(text)

    def at(self, ptr: str, offset: int) -> str:
        return self.op(f"getelementptr i8, ptr {ptr}, i64 {offset}") if offset else ptr

    def load(self, kind: str, ptr: str, offset: int = 0) -> str:
        return self.op(f"load {kind}, ptr {self.at(ptr, offset)}")

    def same(self, one: str, other: str) -> str:
        """Whether two pointers are equal."""
        return self.op(f"icmp eq ptr {one}, {other}")

    def equal(self, kind: str, one: str, other: int) -> str:
        return self.op(f"icmp eq {kind} {one}, {other}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        """Go to `yes`, which is likely, or to `no`."""
        self.line(f"br i1 {condition}, label %{yes}, label %{no}, {_LIKELY}")

    def need(self, *conditions: str, otherwise: str = "miss") -> None:
        """Go on if all hold, else to a label. One branch: all must be safe to compute."""
        if conditions:
            good = self.label()
            self.branch(functools.reduce(lambda a, b: self.op(f"and i1 {a}, {b}"), conditions), good, otherwise)
            self.begin(good)

    def symbol(self, name: str) -> str:
        self._externals.add(name)
        return f"@{name}"

    def object(self, value: Any) -> str:
        """A pointer to a Python object: a symbol for builtin ones, else read from the table."""
        name = _SINGLETONS.get(id(value)) or (_TYPES.get(value) if isinstance(value, type) else None)
        if name is not None:
            return self.symbol(name)
        place = self._places.setdefault(id(value), len(self.table))
        if place == len(self.table):
            self.table.append(value)  # which keeps its id its own
        return self.load("ptr", f"@{TABLE}", 8 * place)

    def is_exactly(self, value: str, kind: type) -> str:
        """Whether an object's type is this one and no subclass."""
        return self.same(self.load("ptr", value, layout.TYPE), self.object(kind))

    def is_object(self, value: str, expected: Any, weak: bool = False) -> None:
        """Need that `value`, not NULL, is this very object, or a number or str that equals it to the bit.

        With `weak`, an object that lives on elsewhere is not kept alive by being expected here.
        """
        if type(expected) is str:
            same, other = self.label(), self.label()
            self.branch(self.same(value, self.object(expected)), same, other)
            self.begin(other)
            self.need(self.is_exactly(value, str))
            order = self.call("PyUnicode_Compare", f"ptr {value}", f"ptr {self.object(expected)}")
            self.need(self.equal("i32", order, 0))
            self.line(f"br label %{same}")
            self.begin(same)
        elif type(expected) is int and -(2**63) <= expected < 2**63:
            self.need(self.is_exactly(value, int))
            self.need(self.equal("i64", self.integer(value), expected))
        elif type(expected) is float:
            self.need(self.is_exactly(value, float))
            self.need(
                self.equal(
                    "i64", self.load("i64", value, layout.VALUE), *struct.unpack("<q", struct.pack("<d", expected))
                )
            )
        elif weak and (reference := _reference(expected)) is not None:
            self.need(self.same(value, self.alive(reference)))
        else:
            self.need(self.same(value, self.object(expected)))

    def walk(self, value: str, count: int) -> Iterator[tuple[str, str]]:
        """The keys and values of a dict in its own order; a miss where there are fewer.

        This runs no `__eq__` and no `__hash__`, so nothing can change under way.
        """
        where, key, item = self.alloca("i64", "0"), self.alloca("ptr"), self.alloca("ptr")
        for _ in range(count):
            more = self.call("PyDict_Next", f"ptr {value}", f"ptr {where}", f"ptr {key}", f"ptr {item}")
            self.need(self.op(f"icmp ne i32 {more}, 0"))
            yield self.load("ptr", key), self.load("ptr", item)

    def alive(self, reference: weakref.ref[Any]) -> str:
        """The object that a weak reference refers to; a miss where it is gone."""
        found = self.load("ptr", self.object(reference), layout.REFERENT)
        self.need(self.op(f"icmp ne ptr {found}, {self.object(None)}"))
        return found

    def integer(self, value: str) -> str:
        """The value of an int that fits 64 bits; else a miss."""
        overflow = self.alloca("i32")
        number = self.call("PyLong_AsLongLongAndOverflow", f"ptr {value}", f"ptr {overflow}")
        self.need(self.equal("i32", self.load("i32", overflow), 0))
        return number

    def module(self, body: str, signature: str) -> str:
        """The whole module: `body`, then what this function needs that it does not declare, then the function."""
        known = re.findall(r"^declare [^@\n]*@([\w.]+)\(|^@([\w.]+) = ", body, re.MULTILINE)
        lines = [body.rstrip()]
        for name in sorted(self._externals - {name for pair in known for name in pair}):
            lines.append(f"declare {_DECLARED[name]}" if name in _DECLARED else f"@{name} = external global i8")
        if self.table:
            lines.append(f"@{TABLE} = global [{len(self.table)} x ptr] zeroinitializer")
        lines.append(f"@{CALLS} = global i64 0")
        lines += [*self._globals, f"define {signature} {{", *self._allocas, *self._lines, "}"]
        return "\n".join(lines) + '\n!909090 = !{!"branch_weights", i32 2000, i32 1}\n'


def _reference(value: Any) -> weakref.ref[Any] | None:
    """A weak reference to an object, where its type allows one."""
    try:
        return weakref.ref(value)
    except TypeError:
        return None
