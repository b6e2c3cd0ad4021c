"""The table of NumPy functions, and what its entries share: `out=`, axes, sequences of arrays.

An entry is a function with NumPy's own signature, written in primitives, and entered by `implements`. It is called
when a traced array is among the arguments, by `__array_function__`, and, where `method` is given, as that method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from wengert import core, errors
from wengert.core import TRACED, TracedArray, aval_of

Function = TypeVar("Function", bound=Callable[..., Any])

FUNCTIONS: Final[dict[Any, Callable[..., Any]]] = {}  # NumPy function → our implementation
CREATORS: Final[
    dict[Any, Callable[..., Any]]
] = {}  # NumPy function with like= → ours, which takes the like-array first
REFUSED: Final[dict[Any, str]] = {}  # NumPy function → why not, and what to write instead


def implements(*functions: Any, method: str = "") -> Callable[[Function], Function]:
    """Enter an implementation for NumPy functions, and as a method of traced arrays (`method`)."""

    def enter(implementation: Function) -> Function:
        for function in functions:
            FUNCTIONS[function] = implementation
        if method:
            setattr(TracedArray, method, implementation)
        return implementation

    return enter


def array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """`__array_function__` of the traced arrays."""
    implementation = FUNCTIONS.get(function)
    if implementation is None:
        if function in CREATORS:
            return CREATORS[function](self, *args, **kwargs)
        name = f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}"
        raise errors.unsupported(name, REFUSED.get(function, ""))
    if type(kwargs.get("out")) in TRACED:
        rehearse(function, args, kwargs)
    return implementation(*args, **kwargs)


def rehearse(function: Any, args: Any, kwargs: Any) -> None:
    """Call NumPy's function on plain stand-ins, so that a result that does not fit `out=` raises NumPy's own error."""
    with np.errstate(all="ignore"):
        function(*stand_in(tuple(args)), **stand_in(kwargs))


def stand_in(value: Any) -> Any:
    """Plain arrays of ones in place of traced ones, of the same shapes and dtypes."""
    kind = type(value)
    if kind in TRACED:
        aval = value.aval
        return aval.dtype.type(1) if aval.scalar else np.ones(aval.shape, aval.dtype)
    if kind is tuple or kind is list:
        return kind(stand_in(item) for item in value)
    if kind is dict:
        return {key: stand_in(item) for key, item in value.items()}
    return value


def deliver(result: Any, out: Any) -> Any:
    """What a function with `out=` returns: the result, or `out` filled with it as NumPy would."""
    if isinstance(out, tuple):
        (out,) = out
    if out is None:
        return result
    if type(out) not in TRACED:
        raise errors.write_into_plain("out=")
    write(out, result)
    return out


write_hook: Final[list[Callable[..., None]]] = []  # filled by wengert.numpy.indexing


def write(target: TracedArray, contents: Any) -> None:
    """Fill a traced array in place, with NumPy's rules for casting ("same_kind") and broadcasting."""
    write_hook[0](target, contents)


def given(**keywords: Any) -> None:
    """Raise for keywords that a rule does not know, where they were given: name=(value, default)."""
    for name, (value, default) in keywords.items():
        if value is not default and not (isinstance(default, str | bool | int) and value == default):
            raise errors.unsupported_keyword("A NumPy function", f"{name}={value!r}")


def negative_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from the end, sorted, from NumPy's `axis` argument (None: all). NumPy's own errors for bad ones."""
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim)
    return tuple(sorted(a - ndim for a in axes))


def negative_axis(axis: Any, ndim: int) -> int:
    """One axis, counted from the end. NumPy's own errors for bad ones."""
    (found,) = normalize_axis_tuple(axis, ndim)
    return int(found) - ndim


def operands(values: Sequence[Any]) -> list[Any]:
    """Arrays from a sequence of arrays, numbers or nested sequences, any of them traced."""
    return [as_array(value) for value in values]


def as_array(value: Any) -> Any:
    """A traced array as it is; anything else as NumPy would take it (traced values in sequences are stacked)."""
    if type(value) in TRACED:
        return value
    if type(value) not in core.PLAIN:
        return core.as_operand(value)
    array = np.asarray(value)
    if array.dtype == object:
        raise errors.operand(f"Python integer beyond 64 bits ({value})")
    return array


def shape_of(value: Any) -> tuple[int, ...]:
    return aval_of(value).shape


def ndim_of(value: Any) -> int:
    return len(aval_of(value).shape)


def dtype_of(value: Any) -> np.dtype[Any]:
    return aval_of(value).dtype


__all__ = [
    "FUNCTIONS", "REFUSED", "array_function", "as_array", "deliver", "dtype_of", "given", "implements", "ndim_of",
    "negative_axes", "negative_axis", "operands", "shape_of", "write",
]  # fmt: skip
