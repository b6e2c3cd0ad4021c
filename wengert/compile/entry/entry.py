"""The native entry of one specialisation: checks its arguments, calls the body, and makes the results.

    ptr entry(ptr self, ptr args, i64 nargs, ptr kwnames)     the result, NULL with an exception, or MISS

An `EntrySpec` says what a call must look like and what it returns; `emit` writes that as LLVM text around the body's
own; `attach` compiles both as one module, so that a small body is inlined, and gives the entry to a jitted object.

The order of the checks is what makes them safe. First what may run Python code (guards of the environment); then
arguments, where nothing else can run between a check and the use of what it proved. Leaves that lie in a list or dict
are held by a reference while the body runs, for the body may release the GIL and another thread empty the list.

The text holds no address of this process: builtin objects are external symbols, and the user's (cells, captured arrays,
static arguments) are read from a table that `attach` fills, so object code can be kept on disk.
"""

from __future__ import annotations

import dataclasses
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.compile.entry import checks, instance, layout
from wengert.compile.entry.checks import Surroundings
from wengert.compile.entry.spec import Constant, EntrySpec, Items, Keys, Leaf, Made, Node
from wengert.compile.entry.writer import CALLS, MISS, NUMPY_SCALARS, TABLE, Writer, register
from wengert.compile.machine import engine


@dataclass(frozen=True)
class Emitted:
    """The whole module as text, and the objects whose addresses belong in its table."""

    text: str
    table: tuple[Any, ...]


def emit(spec: EntrySpec, body: str, own: Any = None) -> Emitted:
    """The module of `body`, LLVM text that defines `i32 @body(ptr %ins, ptr %outs)`, with an `@entry` around it.

    `own` is the jitted object that the entry is for, which guards may expect to find.
    """
    writer = _Entry()
    writer.write(spec, own)
    signature = "ptr @entry(ptr %self, ptr %args, i64 %nargs, ptr %kwnames)"
    return Emitted(writer.module(body, signature), tuple(writer.table))


class Entry:
    """The entry of one specialisation of the jitted object `own`.

    First `load` compiles it around a body; when the body's own tables are filled, `publish` lets calls reach it.
    """

    __slots__ = ("_module", "_own", "_refs", "_spec")

    def __init__(self, spec: EntrySpec, own: Any) -> None:
        self._spec: EntrySpec | None = spec  # until it is compiled: it holds static arguments, which may die
        self._own = weakref.ref(own)
        self._module: engine.Module | None = None
        self._refs: list[Any] = []

    def load(
        self, body: str, tables: Mapping[str, Sequence[Any]], reuse: Sequence[tuple[int, int]] = ()
    ) -> engine.Module:
        """Compile `body` with the entry around it, and fill `tables`: name → the objects that a global array points to.

        What the module has to do before it is freed, tell it by `module.before_close`.
        """
        assert self._spec is not None
        register()
        spec = dataclasses.replace(self._spec, reuse=tuple(reuse)) if reuse else self._spec
        emitted = emit(spec, body, self._own())
        self._spec = None
        module = engine.compile(emitted.text)
        for name, objects in {TABLE: emitted.table, **tables}.items():
            if objects:
                module.fill(name, objects)
                self._refs.extend(objects)
        self._module = module
        return module

    def publish(self) -> None:
        """Give the entry to the jitted object, which from now on calls it."""
        own = self._own()
        if own is not None and self._module is not None:
            instance.add(own, self._module.address("entry"), self._module, self._refs)
            self._refs = []  # the jitted object has them now

    @property
    def calls(self) -> int:
        """How many calls the entry has answered."""
        return 0 if self._module is None else layout.word(self._module.address(CALLS))


def attach(own: Any, spec: EntrySpec, body: str, tables: Mapping[str, Sequence[Any]] | None = None) -> Entry:
    """Compile the entry of a specialisation and give it to the jitted object `own`."""
    entry = Entry(spec, own)
    entry.load(body, tables or {})
    entry.publish()
    return entry


class _Entry(Writer):
    """Labels: `miss` before anything is allocated or held, `error` likewise with an exception set, `undo` after."""

    def __init__(self) -> None:
        super().__init__()
        self._arrays: dict[int, str] = {}  # array objects by the number of their input
        self._held: list[str] = []  # arrays that another thread may drop while the body runs
        self._slots: list[str] = []  # objects under construction
        self._full: dict[str, None] = {}  # those that hold one now, if nothing has failed
        self._ins = self._outs = ""

    def write(self, spec: EntrySpec, own: Any) -> None:
        inputs = spec.inputs
        outputs = spec.outputs
        self._ins = self.alloca(f"[{max(len(inputs) + len(spec.hidden), 1)} x ptr]")
        self._outs = self.alloca(f"[{max(len(outputs), 1)} x ptr]")
        status = self.alloca("ptr", "null")

        self._signature(spec)
        around = Surroundings(self, spec.guards, spec.free, own)
        self._held = around.arrays
        for number, array in enumerate(spec.hidden, len(inputs)):
            self._array(around.found.get(id(array)) or self.object(array), Leaf.like(number, array))
        nodes = (*spec.arguments, *(node for _, node in spec.keywords))
        for position, node in enumerate(nodes):
            self._argument(self.load("ptr", "%args", 8 * position), node, mutable=False)
        hidden = [Leaf.like(number, array) for number, array in enumerate(spec.hidden, len(inputs))]
        self._apart(spec, {leaf.number: leaf for leaf in (*inputs, *hidden) if leaf.is_array})

        for leaf_object in self._held:
            self.call("Py_IncRef", f"ptr {leaf_object}")
        reused = dict(spec.reuse)
        places = {leaf.number: self._allocate(leaf, reused.get(leaf.number)) for leaf in outputs}
        code = self.op(f"call i32 @body(ptr {self._ins}, ptr {self._outs})")
        good, failed, changed = self.label(), self.label(), self.label()
        self.branch(self.equal("i32", code, 0), good, failed)
        self.begin(failed)
        self.line(f"br i1 {self.equal('i32', code, 2)}, label %{changed}, label %undo")
        self.begin(changed)
        self.line(f"store ptr {MISS}, ptr {status}")
        self.line("br label %undo")
        self.begin(good)
        result = self._build(spec.result, places)
        value = self._take(result)
        counted = self.op(f"add i64 {self.load('i64', f'@{CALLS}')}, 1")
        self.line(f"store i64 {counted}, ptr @{CALLS}")
        self._drop(self._full)
        self.line(f"ret ptr {value}")

        self.begin("undo")
        self._drop(self._slots)
        self.line(f"ret ptr {self.load('ptr', status)}")
        self.begin("error")
        self.line("ret ptr null")
        self.begin("miss")
        self.line(f"ret ptr {MISS}")

    def _drop(self, slots: Iterable[str]) -> None:
        """Release what is held, and what these slots hold."""
        for slot in slots:
            self.call("Py_DecRef", f"ptr {self.load('ptr', slot)}")
        for held in self._held:
            self.call("Py_DecRef", f"ptr {held}")

    def _signature(self, spec: EntrySpec) -> None:
        positional = self.equal("i64", "%nargs", len(spec.arguments))
        if not spec.keywords:
            self.need(positional, self.same("%kwnames", "null"))
            return
        self.need(positional, self.op("icmp ne ptr %kwnames, null"))
        self.need(self.equal("i64", self.load("i64", "%kwnames", layout.SIZE), len(spec.keywords)))
        for place, (name, _) in enumerate(spec.keywords):
            self.is_object(self.load("ptr", "%kwnames", layout.TUPLE_ITEMS + 8 * place), sys.intern(name))

    # ------------------------------------------------------------------------------------------------- arguments

    def _argument(self, value: str, node: Node, mutable: bool) -> None:
        """Check one argument and note the data of its leaves; `mutable` tells that it lies in a list or dict."""
        if isinstance(node, Leaf):
            self._leaf(value, node)
            if mutable:
                self._held.append(value)
        elif isinstance(node, Constant):
            self.is_object(value, node.value, weak=True)
        elif isinstance(node, Items):
            self.need(self.is_exactly(value, node.kind))
            self.need(self.equal("i64", self.load("i64", value, layout.SIZE), len(node.items)))
            is_list = node.kind is list
            items = self.load("ptr", value, layout.LIST_ITEMS) if is_list else self.at(value, layout.TUPLE_ITEMS)
            for place, item in enumerate(node.items):
                self._argument(self.load("ptr", items, 8 * place), item, mutable or is_list)
        elif isinstance(node, Keys):
            self._keys(value, node)
        else:
            raise TypeError(f"an argument cannot be {node}")

    def _keys(self, value: str, node: Keys) -> None:
        self.need(self.is_exactly(value, dict))
        self.need(self.equal("i64", self.load("i64", value, layout.SIZE), len(node.items)))
        for (key, item), (name, child) in zip(self.walk(value, len(node.items)), node.items, strict=True):
            self.is_object(key, sys.intern(name))
            self._argument(item, child, mutable=True)

    def _leaf(self, value: str, leaf: Leaf) -> None:
        self.need(self.is_exactly(value, leaf.kind))
        if leaf.is_array:
            self._array(value, leaf)
            return
        if leaf.kind is int:
            data = self.alloca("i64")
            self.line(f"store i64 {self.integer(value)}, ptr {data}")
        elif leaf.kind is bool:
            data = self.alloca("i8")
            true = self.op(f"zext i1 {self.same(value, self.object(True))} to i8")
            self.line(f"store i8 {true}, ptr {data}")
        else:
            data = self.at(value, layout.VALUE)
        self._input(leaf.number, data)

    def _array(self, value: str, leaf: Leaf) -> None:
        checks.array(self, value, leaf)
        self._arrays[leaf.number] = value
        self._input(leaf.number, self.load("ptr", value, layout.DATA))

    def _input(self, number: int, data: str) -> None:
        self.line(f"store ptr {data}, ptr {self.at(self._ins, 8 * number)}")

    def _apart(self, spec: EntrySpec, arrays: Mapping[int, Leaf]) -> None:
        """A donated array must be writeable, own its memory, and share it with no other input."""
        for _, number in spec.reuse:
            donated = self._arrays[number]
            flags = self.op(f"and i32 {self.load('i32', donated, layout.FLAGS)}, {layout.WRITEABLE}")
            owns = self.same(self.load("ptr", donated, layout.BASE), "null")
            self.need(self.op(f"icmp ne i32 {flags}, 0"), owns)
            begin = self.load("ptr", donated, layout.DATA)
            end = self.at(begin, arrays[number].nbytes)
            for other, leaf in arrays.items():
                if other != number:
                    first = self.load("ptr", self._arrays[other], layout.DATA)
                    before = self.op(f"icmp ule ptr {self.at(first, leaf.nbytes)}, {begin}")
                    after = self.op(f"icmp ule ptr {end}, {first}")
                    self.need(self.op(f"or i1 {before}, {after}"))

    # ------------------------------------------------------------------------------------------------- results

    def _slot(self, value: str) -> str:
        """Where a new object stays while the result is made: `undo` releases what it finds there. NULL goes there."""
        slot = self.alloca("ptr", "null")
        self._slots.append(slot)
        self._full[slot] = None
        self.line(f"store ptr {value}, ptr {slot}")
        self.need(self.op(f"icmp ne ptr {value}, null"), otherwise="undo")
        return slot

    def _shared(self, value: str) -> str:
        """The slot of an object that exists already."""
        self.call("Py_IncRef", f"ptr {value}")
        return self._slot(value)

    def _take(self, slot: str) -> str:
        """The object of a slot, whose reference someone else now owns."""
        value = self.load("ptr", slot)
        self.line(f"store ptr null, ptr {slot}")
        del self._full[slot]
        return value

    def _allocate(self, leaf: Leaf, donor: int | None) -> tuple[str, str]:
        """Memory for an output: the slot of an array ("" for a number), and the memory."""
        slot = ""
        if not leaf.is_array:
            data = self.alloca(f"[{leaf.dtype.itemsize} x i8]")
        else:
            slot = self._shared(self._arrays[donor]) if donor is not None else self._slot(self._new_array(leaf))
            data = self.load("ptr", self.load("ptr", slot), layout.DATA)
        self.line(f"store ptr {data}, ptr {self.at(self._outs, 8 * leaf.number)}")
        return slot, data

    def _new_array(self, leaf: Leaf) -> str:
        shape = "null"
        if leaf.shape:
            lengths = ", ".join(f"i64 {length}" for length in leaf.shape)
            shape = self.constant(f"[{len(leaf.shape)} x i64]", f"[{lengths}]")
        return self.call(
            "numpy.PyArray_New", f"ptr {self.object(np.ndarray)}", f"i32 {len(leaf.shape)}", f"ptr {shape}",
            f"i32 {leaf.dtype.num}", "ptr null", "ptr null", "i32 0", "i32 0", "ptr null",
        )  # fmt: skip

    def _build(self, node: Node, places: Mapping[int, tuple[str, str]]) -> str:
        """The slot of a finished result."""
        if isinstance(node, Leaf):
            slot, data = places[node.number]
            return slot or self._number(node, data)
        if isinstance(node, Constant):
            return self._shared(self.object(node.value))
        if isinstance(node, Keys):
            return self._dict(node, places)
        parts = [self._build(item, places) for item in node.items]
        is_list = isinstance(node, Items) and node.kind is list
        container = self._slot(self.call("PyList_New" if is_list else "PyTuple_New", f"i64 {len(parts)}"))
        made = self.load("ptr", container)
        items = self.load("ptr", made, layout.LIST_ITEMS) if is_list else self.at(made, layout.TUPLE_ITEMS)
        for place, part in enumerate(parts):
            self.line(f"store ptr {self._take(part)}, ptr {self.at(items, 8 * place)}")
        if isinstance(node, Made):
            return self._slot(self.call("PyObject_CallObject", f"ptr {self.object(node.build)}", f"ptr {made}"))
        return container

    def _dict(self, node: Keys, places: Mapping[int, tuple[str, str]]) -> str:
        container = self._slot(self.call("PyDict_New"))
        for name, item in node.items:
            part = self._build(item, places)
            made, value = self.load("ptr", container), self.load("ptr", part)
            key = self.object(sys.intern(name))
            failed = self.call("PyDict_SetItem", f"ptr {made}", f"ptr {key}", f"ptr {value}")
            self.need(self.equal("i32", failed, 0), otherwise="undo")
            self.call("Py_DecRef", f"ptr {self._take(part)}")
        return container

    def _number(self, leaf: Leaf, data: str) -> str:
        """A Python number or NumPy scalar of the value that the body wrote."""
        if leaf.kind is float:
            return self._slot(self.call("PyFloat_FromDouble", f"double {self.load('double', data)}"))
        if leaf.kind is int:
            return self._slot(self.call("PyLong_FromLongLong", f"i64 {self.load('i64', data)}"))
        if leaf.kind is complex:
            parts = [f"double {self.load('double', data, offset)}" for offset in (0, 8)]
            return self._slot(self.call("PyComplex_FromDoubles", *parts))
        if leaf.dtype.kind == "b":
            true, false = (True, False) if leaf.kind is bool else (np.True_, np.False_)
            holds = self.op(f"icmp ne i8 {self.load('i8', data)}, 0")
            return self._shared(self.op(f"select i1 {holds}, ptr {self.object(true)}, ptr {self.object(false)}"))
        slot = self._slot(self.call(f"{NUMPY_SCALARS[leaf.kind]}.alloc", f"ptr {self.object(leaf.kind)}", "i64 0"))
        bits = f"i{8 * leaf.dtype.itemsize}"
        place = self.at(self.load("ptr", slot), layout.VALUE)
        self.line(f"store {bits} {self.op(f'load {bits}, ptr {data}')}, ptr {place}, align 8")
        return slot
