"""What is known of a variable's elements without their values: enough to prove that a rewrite is exact.

A fact is proved from the facts of the operands, line by line, and never assumed. NaN is allowed by all flags; a finite
bound rules it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from wengert.program import Equation

PLUS = 1  # no element is −0.0
POSITIVE = 2  # no element has its sign set: all are ≥ +0.0, or NaN. Implies PLUS
NONZERO = 4  # no element is ±0.0
ALL = PLUS | POSITIVE | NONZERO


class Fact(NamedTuple):
    flags: int = 0
    bound: float = math.inf  # |element| ≤ bound; below infinity only where none is NaN either

    def says(self, flags: int) -> bool:
        return self.flags & flags == flags

    @property
    def finite(self) -> bool:
        return self.bound < LARGE


UNKNOWN: Final = Fact()
LARGE: Final = 1e30  # a bound below this is finite in float32 too, with room for rounding
EXAMINED: Final = 1 << 16  # elements of a constant up to which they are looked at


def of_value(value: Any) -> Fact:
    """The facts of a known number or array."""
    x = np.asarray(value)
    if x.dtype.kind not in "biuf" or not 0 < x.size <= EXAMINED:
        return of_dtype(x.dtype)
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(x.astype(np.float64)))) if x.dtype.itemsize <= 8 else math.nan
        flags = 0
        if x.all():
            flags |= NONZERO
        if not (np.signbit(x) & ~np.isnan(x)).any() if x.dtype.kind == "f" else x.min() >= 0:
            flags |= POSITIVE | PLUS
        elif x.dtype.kind != "f" or not (np.signbit(x) & (x == 0)).any():
            flags |= PLUS
    return Fact(flags, largest if largest < math.inf else math.inf)


def of_dtype(dtype: np.dtype[Any]) -> Fact:
    """What every value of a dtype satisfies."""
    if dtype.kind == "b":
        return Fact(PLUS | POSITIVE, 1.0)
    if dtype.kind in "iu":
        return Fact(PLUS | (POSITIVE if dtype.kind == "u" else 0), float(np.iinfo(dtype).max) + 1)
    return UNKNOWN


def of_line(eqn: Equation, facts: Sequence[Fact]) -> Fact:
    """The facts of a line's (first) result, from those of its operands."""
    aval = eqn.outputs[0].aval
    base = of_dtype(aval.dtype)
    rule = RULES.get(eqn.primitive.name)
    if rule is None or (aval.dtype.kind not in "f" and eqn.primitive.name not in MOVES and rule is not _sum):
        return base
    found = rule(eqn, *facts) if eqn.primitive.name not in MANY else rule(eqn, facts)
    flags = found.flags | base.flags
    return Fact(flags | PLUS if flags & POSITIVE else flags, min(found.bound, base.bound))


def either(facts: Sequence[Fact]) -> Fact:
    """What holds for elements that come from any of these."""
    flags = ALL
    for fact in facts:
        flags &= fact.flags
    return Fact(flags, max(fact.bound for fact in facts))


# -------------------------------------------------------------------------------------------------------------- rules
# Underflow makes zeros and overflow infinities, so products keep neither NONZERO nor, where large, a bound.


def _add(eqn: Equation, x: Fact, y: Fact) -> Fact:
    flags = (x.flags | y.flags) & PLUS  # a sum is −0.0 only where both terms are
    if x.says(POSITIVE) and y.says(POSITIVE):
        flags |= POSITIVE | ((x.flags | y.flags) & NONZERO)
    return Fact(flags, x.bound + y.bound)


def _subtract(eqn: Equation, x: Fact, y: Fact) -> Fact:
    return Fact(x.flags & PLUS, x.bound + y.bound)


def _multiply(eqn: Equation, x: Fact, y: Fact) -> Fact:
    square = eqn.inputs[0] is eqn.inputs[1]
    return Fact(POSITIVE if square or (x.says(POSITIVE) and y.says(POSITIVE)) else 0, _product(x.bound, y.bound))


def _divide(eqn: Equation, x: Fact, y: Fact) -> Fact:
    return Fact(POSITIVE if x.says(POSITIVE) and y.says(POSITIVE) else 0)


def _square(eqn: Equation, x: Fact) -> Fact:
    return Fact(POSITIVE, _product(x.bound, x.bound))


def _negative(eqn: Equation, x: Fact) -> Fact:
    return Fact(x.flags & NONZERO, x.bound)


def _absolute(eqn: Equation, x: Fact) -> Fact:
    return Fact(POSITIVE | x.flags & NONZERO, x.bound)


def _positive_result(eqn: Equation, *facts: Fact) -> Fact:
    return Fact(POSITIVE)


def _sqrt(eqn: Equation, x: Fact) -> Fact:
    return Fact(POSITIVE if x.says(PLUS) else 0)  # √−0.0 is −0.0; that of a negative number is NaN


def _cosh(eqn: Equation, x: Fact) -> Fact:
    return Fact(POSITIVE | NONZERO)


def _same(eqn: Equation, x: Fact, *others: Fact) -> Fact:
    return x


def _some(eqn: Equation, x: Fact, *others: Fact) -> Fact:
    return x if len(others) == 0 and 0 not in eqn.inputs[0].aval.shape else UNKNOWN


def _cast(eqn: Equation, x: Fact) -> Fact:
    source, to = eqn.inputs[0].aval.dtype, eqn.outputs[0].aval.dtype
    if source.kind == "c" or (to.kind in "iub" and source.kind == "f"):
        return UNKNOWN
    widens = to.kind != "f" or source.kind in "bu" or to.itemsize >= source.itemsize
    return x if widens and to.itemsize > 2 else Fact(x.flags & (PLUS | POSITIVE))


def _sum(eqn: Equation, x: Fact, *others: Fact) -> Fact:
    if others or eqn.inputs[0].aval.dtype.kind not in "fb":  # sums of integers may wrap around
        return UNKNOWN
    count = eqn.inputs[0].aval.size / max(eqn.outputs[0].aval.size, 1)
    return Fact(PLUS | x.flags & POSITIVE, x.bound * count)  # NumPy adds to +0.0


def _mean(eqn: Equation, x: Fact, *others: Fact) -> Fact:
    return Fact(x.flags & POSITIVE) if not others and eqn.inputs[0].aval.dtype.kind == "f" else UNKNOWN


def _where(eqn: Equation, c: Fact, x: Fact, y: Fact) -> Fact:
    return either((x, y))


def _joined(eqn: Equation, facts: Sequence[Fact]) -> Fact:
    same = all(atom.aval.dtype == eqn.outputs[0].aval.dtype for atom in eqn.inputs)
    return either(facts) if same else UNKNOWN


def _written(eqn: Equation, facts: Sequence[Fact]) -> Fact:
    """Of setitem and put_at: elements of x or of the value, which is cast to the dtype of x."""
    same = eqn.inputs[0].aval.dtype == eqn.inputs[1].aval.dtype
    return either(facts[:2]) if same else UNKNOWN


def _scatter(eqn: Equation, ct: Fact, *others: Fact) -> Fact:
    return Fact(PLUS | ct.flags & POSITIVE)  # 0.0 + ct + …


def _product(x: float, y: float) -> float:
    return x * y if x < math.inf and y < math.inf else math.inf


MANY: Final = frozenset({"concatenate", "stack", "setitem", "put_at"})
MOVES: Final = frozenset(
    {
        "reshape", "transpose", "broadcast_to", "spread", "copy", "getitem", "gather", "roll", "diagonal", "positive",
        "stop_gradient",
    }
)  # fmt: skip
RULES: Final[dict[str, Callable[..., Fact]]] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "square": _square,
    "negative": _negative, "absolute": _absolute, "fabs": _absolute, "sqrt": _sqrt, "cosh": _cosh,
    "exp": _positive_result, "exp2": _positive_result, "logistic": _positive_result,
    "sech_squared": _positive_result, "hypot": _positive_result,
    "scale": _multiply, "both": _multiply, "sum": _sum, "sum_to": _sum, "mean": _mean, "cast": _cast,
    "max": _some, "min": _some, "where": _where, "scatter": _scatter, "scatter_at": _scatter,
    "concatenate": _joined, "stack": _joined, "setitem": _written, "put_at": _written,
    **dict.fromkeys(MOVES, _same),
}  # fmt: skip
