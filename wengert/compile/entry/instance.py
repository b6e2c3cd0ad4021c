"""The heap type whose instances `jit` returns: a call goes to native code, all else to Python.

`PyType_FromSpec` makes the type through ctypes and its slots are LLVM code below, compiled once per process, so there
is no C extension to build. (An abi3 extension would need a compiler or a wheel for each platform, and llvmlite is
there anyway.) A call tries the native entries in order; each returns its result, NULL with an exception, or MISS; when
all have missed, `slow(instance, *args, **kwargs)` decides.

Lifetimes. `refs`, a list, holds what the entries read besides their arguments: it is traversed, so cycles through it
are found. `owners`, a list, holds the code: it refers to nothing of the user's and is *not* traversed, so a collection
never clears it while something may still call; `tp_clear` empties the table of entries before it lets go of anything.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from wengert.compile.entry import layout
from wengert.compile.entry.writer import MISS
from wengert.compile.machine import engine

# The instance
_VECTORCALL, _DICT, _WEAKREFS, _SLOW, _REFS, _OWNERS, _TABLE, _COUNT, _SIZE = range(16, 16 + 9 * 8, 8)

_IR: Final = f"""
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @_Py_Dealloc(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyMethod_New(ptr, ptr)
declare void @PyObject_GC_UnTrack(ptr)
declare void @PyObject_GC_Del(ptr)
declare void @PyObject_ClearWeakRefs(ptr)
@PyExc_ReferenceError = external global ptr
@_Py_NoneStruct = external global i8
@message = private constant [51 x i8] c"a jitted function was called while it is collected\\00"

define ptr @vectorcall(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) {{
entry:
  ; whoever calls may hold self by a borrowed reference only
  %before = load i64, ptr %self
  %held = add i64 %before, 1
  store i64 %held, ptr %self
  %n = and i64 %nargsf, {2**63 - 1}
  %count.at = getelementptr i8, ptr %self, i64 {_COUNT}
  %table.at = getelementptr i8, ptr %self, i64 {_TABLE}
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %try ]
  ; read anew each time: a body that releases the GIL may come back to a longer table
  %count = load i64, ptr %count.at
  %more = icmp ult i64 %i, %count
  br i1 %more, label %try, label %missed
try:
  %table = load ptr, ptr %table.at
  %slot = getelementptr ptr, ptr %table, i64 %i
  %native = load ptr, ptr %slot
  %answer = call ptr %native(ptr %self, ptr %args, i64 %n, ptr %kwnames)
  %i.next = add i64 %i, 1
  %miss = icmp eq ptr %answer, {MISS}
  br i1 %miss, label %next, label %done
missed:
  %slow.at = getelementptr i8, ptr %self, i64 {_SLOW}
  %slow = load ptr, ptr %slow.at
  %gone = icmp eq ptr %slow, null
  br i1 %gone, label %dead, label %python
dead:
  %error = load ptr, ptr @PyExc_ReferenceError
  call void @PyErr_SetString(ptr %error, ptr @message)
  br label %done
python:
  %method = call ptr @PyMethod_New(ptr %slow, ptr %self)
  %failed = icmp eq ptr %method, null
  br i1 %failed, label %done, label %bound
bound:
  %slowly = call ptr @PyObject_Vectorcall(ptr %method, ptr %args, i64 %nargsf, ptr %kwnames)
  call void @Py_DecRef(ptr %method)
  br label %done
done:
  %result = phi ptr [ %answer, %try ], [ null, %dead ], [ null, %python ], [ %slowly, %bound ]
  %now = load i64, ptr %self
  %after = add i64 %now, -1
  store i64 %after, ptr %self
  %last = icmp eq i64 %after, 0
  br i1 %last, label %free, label %return
free:
  call void @_Py_Dealloc(ptr %self)
  br label %return
return:
  ret ptr %result
}}

define ptr @descr_get(ptr %self, ptr %object, ptr %kind) {{
  %absent = icmp eq ptr %object, null
  %none = icmp eq ptr %object, @_Py_NoneStruct
  %plain = or i1 %absent, %none
  br i1 %plain, label %itself, label %bind
itself:
  call void @Py_IncRef(ptr %self)
  ret ptr %self
bind:
  %method = call ptr @PyMethod_New(ptr %self, ptr %object)
  ret ptr %method
}}

define i32 @traverse(ptr %self, ptr %visit, ptr %extra) {{
entry:
  br label %visit0
{{visits}}
done:
  ret i32 0
stop:
  ret i32 1
}}

define i32 @clear(ptr %self) {{
  %count.at = getelementptr i8, ptr %self, i64 {_COUNT}
  store i64 0, ptr %count.at
{{clears}}
  ret i32 0
}}

define void @dealloc(ptr %self) {{
  call void @PyObject_GC_UnTrack(ptr %self)
  %weakrefs.at = getelementptr i8, ptr %self, i64 {_WEAKREFS}
  %weakrefs = load ptr, ptr %weakrefs.at
  %watched = icmp ne ptr %weakrefs, null
  br i1 %watched, label %notify, label %release
notify:
  call void @PyObject_ClearWeakRefs(ptr %self)
  br label %release
release:
  %ignored = call i32 @clear(ptr %self)
  %owners.at = getelementptr i8, ptr %self, i64 {_OWNERS}
  %owners = load ptr, ptr %owners.at
  call void @Py_DecRef(ptr %owners)
  %kind.at = getelementptr i8, ptr %self, i64 {layout.TYPE}
  %kind = load ptr, ptr %kind.at
  call void @PyObject_GC_Del(ptr %self)
  call void @Py_DecRef(ptr %kind)
  ret void
}}
"""


def _text() -> str:
    visited = (layout.TYPE, _DICT, _SLOW, _REFS)
    visits = [
        f"""visit{k}:
  %at{k} = getelementptr i8, ptr %self, i64 {offset}
  %object{k} = load ptr, ptr %at{k}
  %here{k} = icmp ne ptr %object{k}, null
  br i1 %here{k}, label %call{k}, label %visit{k + 1}
call{k}:
  %told{k} = call i32 %visit(ptr %object{k}, ptr %extra)
  %stopped{k} = icmp ne i32 %told{k}, 0
  br i1 %stopped{k}, label %stop, label %visit{k + 1}"""
        for k, offset in enumerate(visited)
    ]
    visits.append(f"visit{len(visited)}:\n  br label %done")
    clears = [
        f"""  %at{k} = getelementptr i8, ptr %self, i64 {offset}
  %object{k} = load ptr, ptr %at{k}
  store ptr null, ptr %at{k}
  call void @Py_DecRef(ptr %object{k})"""
        for k, offset in enumerate((_SLOW, _REFS, _DICT))
    ]
    return _IR.replace("{visits}", "\n".join(visits)).replace("{clears}", "\n".join(clears))


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("offset", ctypes.c_ssize_t), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


class _Getset(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("get", ctypes.c_void_p), ("set", ctypes.c_void_p), ("doc", ctypes.c_char_p),
        ("closure", ctypes.c_void_p),
    ]  # fmt: skip


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("function", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int), ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]  # fmt: skip


_VECTORCALL_FLAG, _DISALLOW_INSTANTIATION, _GC, _METHOD_DESCRIPTOR = 1 << 11, 1 << 7, 1 << 14, 1 << 17
_CALL, _CLEAR, _DEALLOC, _DESCR_GET, _TRAVERSE, _MEMBERS, _GETSET = 50, 51, 52, 54, 71, 72, 73  # CPython's typeslots.h
_SSIZE, _READONLY = 19, 1

_kept: list[Any] = []  # what the type points to lives as long as the process
_lock = threading.Lock()


def _function(name: str) -> int:
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def _module() -> engine.Module:
    """The code of the slots. Never freed: instances may outlive this Python module at the end of the process."""
    module = engine.compile(_text())
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(module))
    return module


def make_type(face: type) -> type:
    """A type with the attributes and methods of the Python class `face`, whose calls and binding are native.

    Instances come from `new`. `face` is a template, not a base class: Python 3.11 does not let a Python class inherit
    vectorcall. So its methods cannot use `super()`.
    """
    module = _module()
    members = (_Member * 4)(
        _Member(b"__vectorcalloffset__", _SSIZE, _VECTORCALL, _READONLY, None),
        _Member(b"__dictoffset__", _SSIZE, _DICT, _READONLY, None),
        _Member(b"__weaklistoffset__", _SSIZE, _WEAKREFS, _READONLY, None),
    )
    getset = (_Getset * 2)(
        _Getset(b"__dict__", _function("PyObject_GenericGetDict"), _function("PyObject_GenericSetDict"), None, None),
    )
    slots = (_Slot * 8)(
        _Slot(_CALL, _function("PyVectorcall_Call")),
        _Slot(_CLEAR, module.address("clear")),
        _Slot(_DEALLOC, module.address("dealloc")),
        _Slot(_DESCR_GET, module.address("descr_get")),
        _Slot(_TRAVERSE, module.address("traverse")),
        _Slot(_MEMBERS, ctypes.addressof(members)),
        _Slot(_GETSET, ctypes.addressof(getset)),
    )
    name = f"{face.__module__}.{face.__qualname__}".encode()
    flags = _VECTORCALL_FLAG | _DISALLOW_INSTANTIATION | _GC | _METHOD_DESCRIPTOR
    spec = _Spec(name, _SIZE, 0, flags, slots)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))
    kind: type = make(ctypes.addressof(spec))
    _kept.append((members, getset, slots, spec, name))
    own = ("__dict__", "__weakref__", "__slots__", "__call__", "__get__", "__new__", "__init__", "__qualname__")
    for attribute, value in vars(face).items():
        if attribute not in own:
            setattr(kind, attribute, value)
    return kind


def new(kind: type, slow: Callable[..., Any], attributes: Mapping[str, Any]) -> Any:
    """An instance of a type from `make_type`, without entries: every call goes to `slow(instance, ...)`."""
    allocate = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_ssize_t)(
        ("PyType_GenericAlloc", ctypes.pythonapi)
    )
    made = allocate(kind, 0)
    for offset, value in ((_SLOW, slow), (_REFS, []), (_OWNERS, [])):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
        _put(made, offset, id(value))
    _put(made, _VECTORCALL, _module().address("vectorcall"))
    made.__dict__.update(attributes)
    return made


def add(made: Any, address: int, owner: Any, refs: Iterable[Any] = ()) -> None:
    """Give an instance one more native entry, tried after those that it has.

    `owner` keeps the code alive and must refer to nothing that may refer to the instance; `refs` are the objects that
    the entry reads.
    """
    with _lock:
        owners, held = _get(made, _OWNERS), _get(made, _REFS)
        count = layout.word(id(made) + _COUNT)
        table = (ctypes.c_void_p * (count + 1))()
        ctypes.memmove(table, layout.word(id(made) + _TABLE), 8 * count)
        table[count] = address
        # One table per number of entries; an older one stays alive, since a call may be reading it
        owners += (owner, table)
        held.extend(refs)
        _put(made, _TABLE, ctypes.addressof(table))
        _put(made, _COUNT, count + 1)


def forget(made: Any) -> None:
    """Take all entries from an instance. Their code stays until the instance goes, since a call may be in it."""
    with _lock:
        _put(made, _COUNT, 0)


def count(made: Any) -> int:
    """How many native entries an instance has."""
    return layout.word(id(made) + _COUNT)


def _put(made: Any, offset: int, value: int) -> None:
    ctypes.c_size_t.from_address(id(made) + offset).value = value


def _get(made: Any, offset: int) -> list[Any]:
    held: list[Any] = ctypes.cast(layout.word(id(made) + offset), ctypes.py_object).value
    return held
