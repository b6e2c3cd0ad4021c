"""Abstract values: what is known of an array without its numbers — shape, dtype, and whether NumPy holds a scalar."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Aval(NamedTuple):
    """Shape and dtype of a value.

    `weak` marks a Python number, which takes the dtype of whatever array it meets (NEP 50); `scalar` marks a value
    that NumPy holds as a scalar rather than as a 0-d array, which matters to in-place operators.
    """

    shape: Shape
    dtype: np.dtype[Any]
    weak: bool = False
    scalar: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]" if self.shape else str(self.dtype)


FLOAT64 = np.dtype(np.float64)
WEAK = {
    bool: Aval((), np.dtype(np.bool_), False, True),
    int: Aval((), np.dtype(np.int64), True, True),
    float: Aval((), FLOAT64, True, True),
    complex: Aval((), np.dtype(np.complex128), True, True),
}
WEAK_KINDS = {"i": int, "f": float, "c": complex}


def aval_of_plain(value: Any) -> Aval:
    """The abstract value of an untraced number or array."""
    if type(value) is np.ndarray:
        return Aval(value.shape, value.dtype)
    if type(value) in WEAK:
        return WEAK[type(value)]
    if isinstance(value, np.generic):
        return Aval((), value.dtype, False, True)
    array = np.asarray(value)
    return Aval(array.shape, array.dtype)


def promotable(aval: Aval) -> Any:
    """What stands for `aval` in NumPy's promotion functions: a Python type where it is weak, else its dtype."""
    return WEAK_KINDS.get(aval.dtype.kind, aval.dtype) if aval.weak else aval.dtype


def result_dtype(*avals: Aval) -> np.dtype[Any]:
    """The dtype in which NumPy would combine these values (NEP 50)."""
    return np.result_type(*(WEAK_KINDS[a.dtype.kind](0) if a.weak else a.dtype for a in avals))


def is_differentiable(dtype: np.dtype[Any]) -> bool:
    """Whether values of this dtype have tangents: floating or complex."""
    return dtype.kind in "fc"


def tangent_aval(aval: Aval) -> Aval:
    """The aval of tangents of such a value: its own, and float64 for integers and bools, whose tangents are all 0."""
    return aval if is_differentiable(aval.dtype) else aval._replace(dtype=FLOAT64)


def match_scalar(aval: Aval) -> Aval:
    """`aval` as NumPy's ufuncs and reductions return it: 0-d results are scalars."""
    return aval._replace(scalar=not aval.shape)
