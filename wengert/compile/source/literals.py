"""Values as Python text that evaluates to the same bits.

Numbers are written in their shortest decimal form, which is read back and compared. Arrays become named constants of
the module: short ones are spelled out, the others are stored as bytes in base64.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

SPELLED: Final = 16  # elements up to which an array is written out
Constant = Callable[[np.ndarray[Any, Any]], str]  # an array → the name of the constant that holds it


class Unwritable(Exception):
    """A value that has no Python text: an object of the user's, say."""


def literal(value: Any, constant: Constant) -> str:
    """Text for a number, string, dtype, slice, array, or a container of those; `Unwritable` for anything else."""
    kind = type(value)
    if value is None or value is Ellipsis or kind in (bool, str, bytes):
        return "..." if value is Ellipsis else repr(value)
    if kind in (int, float, complex) or isinstance(value, np.generic):
        return number(value, constant)
    if kind is np.ndarray:
        return constant(value)
    if isinstance(value, np.dtype):
        return f'np.dtype("{dtype_code(value)}")'
    if kind is slice:
        return (
            f"slice({literal(value.start, constant)}, {literal(value.stop, constant)}, {literal(value.step, constant)})"
        )
    if kind is tuple and any(part is Ellipsis or type(part) is slice for part in value):
        return f"np.index_exp[{index(value, constant)}]"
    if kind in (tuple, list):
        parts = ", ".join(literal(part, constant) for part in value)
        return f"[{parts}]" if kind is list else f"({parts},)" if len(value) == 1 else f"({parts})"
    if kind is dict:
        pairs = (f"{literal(key, constant)}: {literal(part, constant)}" for key, part in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise Unwritable(f"{kind.__module__}.{kind.__qualname__}")


def index(parts: tuple[Any, ...], constant: Constant, slots: Callable[[Any], str | None] = lambda part: None) -> str:
    """What stands between the brackets of x[…]; `slots` says what stands for parts that have no value."""
    texts = []
    for part in parts:
        if type(part) is slice:
            ends = ["" if end is None else literal(end, constant) for end in (part.start, part.stop, part.step)]
            texts.append(":".join(ends[:2] if part.step is None else ends))
        else:
            texts.append(slots(part) or literal(part, constant))
    return ", ".join(texts) + "," * (len(texts) == 1) if texts else "()"


# --------------------------------------------------------------------------------------------------------- numbers


def number(value: Any, constant: Constant) -> str:
    """Exact text for a Python number or a NumPy scalar, of the same type."""
    return exact(value) or f"{constant(np.array(value))}" + ("[()]" if isinstance(value, np.generic) else ".item()")


def exact(value: Any) -> str | None:
    """The same in digits; None for the few that have none, such as a NaN with a payload."""
    kind = type(value)
    if kind is bool or isinstance(value, np.bool_):
        return repr(value) if kind is bool else f"np.{bool(value)}_"
    if kind is int:
        return repr(value) if -(10**18) < value < 10**18 else hex(value)
    if kind is float:
        return _float(value)
    if kind is complex:
        return _complex(value)
    if value.dtype.kind in "iu":
        return f"np.{kind.__name__}({int(value)})"
    if value.dtype.kind == "f" and value.dtype.itemsize <= 8:
        texts = [_float(float(str(value))), _float(float(value))]
    else:
        texts = [_complex(complex(value))] if value.dtype.kind == "c" and value.dtype.itemsize <= 16 else []
    return next((f"np.{kind.__name__}({text})" for text in texts if text and _is(kind, text, value)), None)


def _is(kind: type, text: str, value: Any) -> bool:
    """Whether the text, made a scalar of this type, has the bits of `value`."""
    with np.errstate(all="ignore"):
        made = kind(eval(text, {"np": np}))  # of our own digits
    return bool(made.tobytes() == value.tobytes())


def _float(value: float) -> str | None:
    if value == value:
        return repr(value) if math.isfinite(value) else "np.inf" if value > 0 else "-np.inf"
    for text, nan in (("np.nan", np.nan), ("-np.nan", -np.nan)):
        if np.float64(value).tobytes() == np.float64(nan).tobytes():
            return text
    return None  # a NaN with a payload


def _complex(value: complex) -> str | None:
    real, imag = _float(value.real), _float(value.imag)
    return f"complex({real}, {imag})" if real and imag else None


# ---------------------------------------------------------------------------------------------------------- arrays


def scalar_type(dtype: np.dtype[Any]) -> str:
    """How a person writes a dtype: np.float64. For those that have no such name, np.dtype(code)."""
    name = dtype.type.__name__
    if dtype.isnative and vars(np).get(name) is dtype.type and np.dtype(dtype.type).char == dtype.char:
        return f"np.{name}"
    return f'np.dtype("{dtype_code(dtype)}")'


def dtype_code(dtype: np.dtype[Any]) -> str:
    if not dtype.isnative:
        return dtype.str
    return dtype.name if np.dtype(dtype.name).char == dtype.char else dtype.char


def array(value: np.ndarray[Any, Any]) -> str | None:
    """An array as an expression, or None where that would be long."""
    dtype = scalar_type(value.dtype)
    if value.dtype.kind not in "fciub":
        raise Unwritable(f"array of dtype {value.dtype}")
    if not value.flags.c_contiguous and value.T.flags.c_contiguous:
        turned = array(value.T)
        return turned and f"{turned}.T"
    size, flat = value.size, np.ascontiguousarray(value).reshape(-1)
    if size > 1 and (value.dtype.itemsize <= 16):
        octets = flat.view(np.uint8).reshape(size, -1)
        if not np.any(octets != octets[0]):
            return _uniform(value, flat[0], dtype)
        counted = value.dtype.char == np.dtype(np.int64).char and flat[0] == 0 and flat[-1] == size - 1
        if counted and np.array_equal(flat, np.arange(size)):
            return f"np.arange({size})" + (f".reshape({value.shape})" if value.ndim > 1 else "")
    if size > SPELLED or value.dtype.itemsize > 16 or (value.dtype.kind == "f" and value.dtype.itemsize > 8):
        return None
    if size == 0:
        return f"np.zeros({value.shape}, {dtype})"
    elements = [_element(item) for item in flat]
    if any(text is None for text in elements):
        return None
    return f"np.array({_nested([text for text in elements if text], value.shape)}, {dtype})"


def _element(item: Any) -> str | None:
    if item.dtype.kind in "iu":
        return str(int(item))
    if item.dtype.kind == "b":
        return str(bool(item))
    text = exact(item)
    return text and text[text.index("(") + 1 : -1]


def _uniform(value: np.ndarray[Any, Any], item: Any, dtype: str) -> str | None:
    text = _element(item)
    if text is None:
        return None
    if not any(value.strides):
        return f"np.broadcast_to(np.array({text}, {dtype}), {value.shape})"
    if not any(item.tobytes()):
        return f"np.zeros({value.shape}, {dtype})"
    return f"np.ones({value.shape}, {dtype})" if item == 1 else f"np.full({value.shape}, {text}, {dtype})"


def _nested(elements: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return elements[0]
    step = len(elements) // shape[0]
    rows = [_nested(elements[k * step : (k + 1) * step], shape[1:]) for k in range(shape[0])]
    return f"[{', '.join(rows)}]"


def stored(value: np.ndarray[Any, Any]) -> str:
    """An array as its bytes, little-endian, compressed and in base64."""
    dtype = value.dtype.newbyteorder("<")
    turned = value.ndim > 1 and not value.flags.c_contiguous and value.T.flags.c_contiguous
    octets = np.ascontiguousarray(value.T if turned else value).astype(dtype).tobytes()
    lines = "\n".join(_rows(base64.b64encode(zlib.compress(octets, 9)).decode()))
    native = "" if value.dtype.isnative else f'.astype("{value.dtype.str}")'
    shape = value.T.shape if turned else value.shape
    return f'_array("{dtype_code(value.dtype.newbyteorder("="))}", {shape}, """\n{lines}\n"""){native}' + ".T" * turned


def _rows(text: str, width: int = 116) -> list[str]:
    return [text[k : k + width] for k in range(0, len(text), width)]


# What a module with stored arrays needs to read them
READER: Final = '''
def _array(dtype, shape, text):
    """An array from its bytes: little-endian, compressed, in base64."""
    stored = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.dtype(dtype).newbyteorder("<"))
    return stored.astype(dtype).reshape(shape)
'''
