"""Where the parts of CPython's and NumPy's objects lie, compared with their own answers before they are trusted.

Native entries read floats, tuples and arrays straight from memory. The offsets below hold on every 64-bit CPython
with a GIL; `mismatch` asks this interpreter about each of them, once, and native code is refused where one differs.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
import types
import weakref
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

# --- CPython's objects -----------------------------------------------------------------------------------------------
REFERENCES: Final = 0
TYPE: Final = 8
VALUE: Final = 16  # of a float, a complex number, a NumPy scalar; what a cell refers to
SIZE: Final = 16  # of a tuple, a list; the number of items of a dict
TUPLE_ITEMS: Final = 24
LIST_ITEMS: Final = 24  # a pointer to them
DICT_VERSION: Final = 24
REFERENT: Final = 16  # of a weak reference; None once it is dead
BYTES: Final = 32
CODE, DEFAULTS, KEYWORD_DEFAULTS = 48, 56, 64  # of a function; NULL for None

# --- numpy.ndarray ---------------------------------------------------------------------------------------------------
DATA: Final = 16
NDIM: Final = 24
DIMENSIONS: Final = 32
STRIDES: Final = 40
BASE: Final = 48
DESCR: Final = 56
FLAGS: Final = 64
C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400

# --- numpy.dtype -----------------------------------------------------------------------------------------------------
BYTE_ORDER: Final = 26
TYPE_NUMBER: Final = 28
FOREIGN: Final = ">" if sys.byteorder == "little" else "<"

# --- slots of numpy's table of functions -----------------------------------------------------------------------------
ARRAY_TYPE_SLOT: Final = 2
ARRAY_NEW_SLOT: Final = 93

KINDS: Final = "biufc"  # dtypes whose values are plain bits

HAS_DICT_VERSION: Final = sys.version_info < (3, 12)  # deprecated there, and gone later


def capsule(value: object) -> int:
    """The pointer inside a PyCapsule."""
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer(value, name(value))
    assert address is not None
    return int(address)


def numpy_function(slot: int) -> int:
    """The address of a function of NumPy's C API, by its place in the table."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    table = capsule(_multiarray_umath.__dict__["_ARRAY_API"])
    return word(table + 8 * slot)


def word(address: int) -> int:
    """The pointer-sized number in memory at `address`."""
    return ctypes.c_size_t.from_address(address).value


def allocator(kind: type) -> int:
    """The address of a type's `tp_alloc`."""
    get = ctypes.pythonapi.PyType_GetSlot
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]
    return int(get(kind, 47))


@functools.cache
def mismatch() -> str | None:
    """What differs here from the layout that the native entry reads, or None."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return "native code needs a 64-bit CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "getobjects"):
        return "objects of free-threaded and tracing builds of Python are laid out differently"
    for what, fits in _checks():
        if not fits:
            return f"{what} is not laid out here as wengert's native code expects"
    return None


def _checks() -> Iterator[tuple[str, bool]]:
    """Each fact with its verdict; later ones read what earlier ones have proved."""
    number, pair = 1.25, complex(1.25, -2.5)
    yield "a float", float.__basicsize__ == 24 and word(id(number) + TYPE) == id(float)
    yield "a float's value", ctypes.c_double.from_address(id(number) + VALUE).value == number
    yield "a complex number", complex.__basicsize__ == 32
    halves = (ctypes.c_double * 2).from_address(id(pair) + VALUE)
    yield "a complex number's value", list(halves) == [pair.real, pair.imag]

    both: Any = (number, pair)
    yield "a tuple", tuple.__basicsize__ == 24 and tuple.__itemsize__ == 8 and word(id(both) + SIZE) == 2
    yield "a tuple's items", [word(id(both) + TUPLE_ITEMS + 8 * i) for i in (0, 1)] == [id(number), id(pair)]
    both = [number, pair]
    yield "a list", list.__basicsize__ == 40 and word(id(both) + SIZE) == 2
    items = word(id(both) + LIST_ITEMS)
    yield "a list's items", [word(items + 8 * i) for i in (0, 1)] == [id(number), id(pair)]
    table = {"a": number, "b": pair}
    yield "a dict", word(id(table) + SIZE) == 2
    if HAS_DICT_VERSION:
        before = word(id(table) + DICT_VERSION)
        table["a"] = 2.0
        yield "a dict's version", word(id(table) + DICT_VERSION) != before
    cell = types.CellType(pair)
    yield "a cell", types.CellType.__basicsize__ == 24 and word(id(cell) + VALUE) == id(pair)
    octets = b"octets"
    yield "bytes", ctypes.string_at(id(octets) + BYTES, len(octets)) == octets

    def function(one: int = 1000, *, other: int = 2000) -> None: ...

    parts = (function.__code__, function.__defaults__, function.__kwdefaults__)
    offsets = (CODE, DEFAULTS, KEYWORD_DEFAULTS)
    yield "a function", [word(id(function) + offset) for offset in offsets] == [id(part) for part in parts]
    function.__kwdefaults__ = None
    yield "a function without defaults", word(id(function) + KEYWORD_DEFAULTS) == 0
    reference = weakref.ref(function)
    yield "a weak reference", word(id(reference) + REFERENT) == id(function)
    del function
    yield "a dead weak reference", word(id(reference) + REFERENT) == id(None)

    yield from _array_checks()


def _array_checks() -> Iterator[tuple[str, bool]]:
    array = np.zeros((2, 3), np.float32)[:, 1:]
    at = id(array)
    yield "numpy.ndarray", np.ndarray.__basicsize__ >= FLAGS + 4 and word(at + TYPE) == id(np.ndarray)
    yield "an array's data pointer", word(at + DATA) == array.__array_interface__["data"][0]
    yield "an array's number of axes", ctypes.c_int.from_address(at + NDIM).value == 2
    for what, offset, expected in (("shape", DIMENSIONS, array.shape), ("strides", STRIDES, array.strides)):
        yield f"an array's {what}", tuple((ctypes.c_ssize_t * 2).from_address(word(at + offset))) == expected
    yield "an array's base", word(at + BASE) == id(array.base) and word(id(array.base) + BASE) == 0
    yield "an array's dtype", word(at + DESCR) == id(array.dtype)
    for example in (array, array.copy(), np.zeros(4)):
        example.flags.writeable = example.ndim == 1
        flags = ctypes.c_int.from_address(id(example) + FLAGS).value
        told = example.flags
        wanted = C_CONTIGUOUS * told.c_contiguous | ALIGNED * told.aligned | WRITEABLE * told.writeable
        yield "an array's flags", flags & (C_CONTIGUOUS | ALIGNED | WRITEABLE) == wanted
    for dtype in (np.dtype(code) for code in "?bBhHiIlLqQefdgFDG"):
        foreign = dtype.newbyteorder("S")
        for one in (dtype, foreign):
            order = chr(ctypes.c_ubyte.from_address(id(one) + BYTE_ORDER).value)
            yield "a dtype's byte order", order == one.byteorder and (order == FOREIGN) == (not one.isnative)
            yield "a dtype's number", ctypes.c_int.from_address(id(one) + TYPE_NUMBER).value == one.num
        scalar = np.ones((), dtype)[()]
        yield f"numpy.{dtype}", ctypes.string_at(id(scalar) + VALUE, dtype.itemsize)[:8] == scalar.tobytes()[:8]
        yield f"numpy.{dtype}'s size", type(scalar).__basicsize__ >= VALUE + dtype.itemsize

    yield "numpy's table of functions", numpy_function(ARRAY_TYPE_SLOT) == id(np.ndarray)
    new = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
    )(numpy_function(ARRAY_NEW_SLOT))  # fmt: skip
    shape = (ctypes.c_ssize_t * 2)(2, 3)
    made = new(np.ndarray, 2, ctypes.addressof(shape), np.dtype(np.float32).num, None, None, 0, 0, None)
    yield "PyArray_New", type(made) is np.ndarray and made.shape == (2, 3) and made.dtype == np.float32
