"""Write `tests/grid/elementwise.json`: derivatives of NumPy's elementwise functions, computed by mpmath.

Every point is an exact float64 (or float32). Its derivative is a closed form evaluated with 100 digits, compared with
a numerical derivative of the function itself at a precision that is raised until the two agree to 40 digits, and then
rounded once to the target format. Special points carry all partial derivatives to order 3.

    python tools/make_grid.py           writes the file
    python tools/make_grid.py --check   fails where the committed file differs
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

TARGET = Path(__file__).parent.parent / "tests" / "grid" / "elementwise.json"
DIGITS = 100
LADDER = (200, 500, 1200, 3000)  # digits of the second computation: raised until it resolves the derivative
AGREE = mp.mpf(10) ** -40
FORMATS = {
    "float64": (53, -1074, 1024),
    "float32": (24, -149, 128),
}  # digits, least exponent, greatest exponent
INF = math.inf

Number = Any  # mp.mpf, which has no type stubs


# ------------------------------------------------------------------------------------------------------- rounding


def rounded(value: Number, dtype: str) -> tuple[float, str]:
    """`value` rounded once, to nearest even, and a flag: o overflow, u underflow to 0, s subnormal."""
    digits, least, most = FORMATS[dtype]
    if value == 0:
        return 0.0, ""
    if mp.isinf(value):
        return math.copysign(INF, value), ""
    sign, mantissa, exponent, _ = mp.mpf(value)._mpf_
    exact = Fraction(mantissa) * Fraction(2) ** exponent
    top = mantissa.bit_length() + exponent  # 2**(top-1) <= exact < 2**top
    unit = Fraction(2) ** max(top - digits, least)
    near = round(exact / unit) * unit  # Fraction rounds half to even
    flag = ""
    if near >= Fraction(2) ** most:
        flag, result = "o", INF
    else:
        result = float(near)
        if near == 0:
            flag = "u"
        elif near < Fraction(2) ** (least + digits - 1):
            flag = "s"
    return (-result if sign else result), flag


def written(value: float | None) -> str | None:
    return None if value is None else float(value).hex()


# ------------------------------------------------------------------------------------------------------ functions


def _cbrt(x: Number) -> Number:
    return mp.sign(x) * mp.cbrt(abs(x))


def _hypot(x: Number, y: Number) -> Number:
    return mp.sqrt(x * x + y * y)


def _atan2(y: Number, x: Number) -> Number:
    """A smooth branch through (y, x): constants do not matter to derivatives. (No point lies on |y| = 0.618 |x|.)"""
    return mp.atan(y / x) if abs(y) < 0.618 * abs(x) else -mp.atan(x / y)


def _sinc(x: Number) -> Number:
    return mp.sinc(mp.pi * x)


def _sinc_slope(x: Number) -> Number:
    z = mp.pi * x
    if abs(z) < 1:  # the closed form (cos z - sin z / z) / x cancels
        terms = range(1, 150)
        return mp.pi * mp.fsum((-1) ** k * 2 * k * z ** (2 * k - 1) / mp.factorial(2 * k + 1) for k in terms)
    return (mp.cos(z) - mp.sin(z) / z) / x


def _logaddexp(base: Callable[[], Number]) -> tuple[Callable[..., Number], list[Callable[..., Number]]]:
    def value(x: Number, y: Number) -> Number:
        return mp.log(mp.exp(x * base()) + mp.exp(y * base())) / base()

    def first(x: Number, y: Number) -> Number:
        return 1 / (1 + mp.exp((y - x) * base()))

    return value, [first, lambda x, y: first(y, x)]


def _power_in_exponent(x: Number, y: Number) -> Number:
    return x**y * mp.log(x)


def _truncated(x: Number) -> Number:
    return mp.floor(x) if x >= 0 else mp.ceil(x)


def _one(*_: Number) -> Number:
    return mp.mpf(1)


def _zero(*_: Number) -> Number:
    return mp.mpf(0)


def _log2() -> Number:
    return mp.log(2)


# name: (the function, its closed-form derivative)
UNARY: dict[str, tuple[Callable[[Number], Number], Callable[[Number], Number]]] = {
    "sin": (mp.sin, mp.cos),
    "cos": (mp.cos, lambda x: -mp.sin(x)),
    "tan": (mp.tan, lambda x: 1 / mp.cos(x) ** 2),
    "arcsin": (mp.asin, lambda x: 1 / mp.sqrt((1 - x) * (1 + x))),
    "arccos": (mp.acos, lambda x: -1 / mp.sqrt((1 - x) * (1 + x))),
    "arctan": (mp.atan, lambda x: 1 / (1 + x * x)),
    "sinh": (mp.sinh, mp.cosh),
    "cosh": (mp.cosh, mp.sinh),
    "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2),
    "arcsinh": (mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x)),
    "arccosh": (mp.acosh, lambda x: 1 / mp.sqrt((x - 1) * (x + 1))),
    "arctanh": (mp.atanh, lambda x: 1 / ((1 - x) * (1 + x))),
    "exp": (mp.exp, mp.exp),
    "exp2": (lambda x: mp.mpf(2) ** x, lambda x: mp.log(2) * mp.mpf(2) ** x),
    "expm1": (mp.expm1, mp.exp),
    "log": (mp.log, lambda x: 1 / x),
    "log2": (lambda x: mp.log(x) / mp.log(2), lambda x: 1 / (x * mp.log(2))),
    "log10": (lambda x: mp.log(x) / mp.log(10), lambda x: 1 / (x * mp.log(10))),
    "log1p": (lambda x: mp.log(1 + x), lambda x: 1 / (1 + x)),
    "sqrt": (mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x))),
    "cbrt": (_cbrt, lambda x: 1 / (3 * _cbrt(x) ** 2)),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / (x * x)),
    "negative": (lambda x: -x, lambda x: mp.mpf(-1)),
    "positive": (lambda x: +x, _one),
    "absolute": (abs, mp.sign),
    "fabs": (abs, mp.sign),
    "deg2rad": (lambda x: x * mp.pi / 180, lambda x: mp.pi / 180),
    "rad2deg": (lambda x: x * 180 / mp.pi, lambda x: 180 / mp.pi),
    "sinc": (_sinc, _sinc_slope),
    "i0": (lambda x: mp.besseli(0, x), lambda x: mp.besseli(1, x)),
}

# name: (the function, its closed-form partials; None where the argument is an integer)
BINARY: dict[str, tuple[Callable[..., Number], list[Callable[..., Number] | None]]] = {
    "add": (lambda x, y: x + y, [_one, _one]),
    "subtract": (lambda x, y: x - y, [_one, lambda x, y: mp.mpf(-1)]),
    "multiply": (lambda x, y: x * y, [lambda x, y: y, lambda x, y: x]),
    "divide": (lambda x, y: x / y, [lambda x, y: 1 / y, lambda x, y: -x / (y * y)]),
    "power": (lambda x, y: x**y, [lambda x, y: y * x ** (y - 1), _power_in_exponent]),
    "float_power": (lambda x, y: x**y, [lambda x, y: y * x ** (y - 1), _power_in_exponent]),
    "hypot": (_hypot, [lambda x, y: x / _hypot(x, y), lambda x, y: y / _hypot(x, y)]),
    "arctan2": (_atan2, [lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y)]),
    "maximum": (max, [lambda x, y: mp.mpf(x > y), lambda x, y: mp.mpf(y > x)]),
    "minimum": (min, [lambda x, y: mp.mpf(x < y), lambda x, y: mp.mpf(y < x)]),
    "fmax": (max, [lambda x, y: mp.mpf(x > y), lambda x, y: mp.mpf(y > x)]),
    "fmin": (min, [lambda x, y: mp.mpf(x < y), lambda x, y: mp.mpf(y < x)]),
    "logaddexp": _logaddexp(lambda: mp.mpf(1)),
    "logaddexp2": _logaddexp(_log2),
    "remainder": (lambda x, y: x - y * mp.floor(x / y), [_one, lambda x, y: -mp.floor(x / y)]),
    "fmod": (lambda x, y: x - y * _truncated(x / y), [_one, lambda x, y: -_truncated(x / y)]),
    "copysign": (lambda x, y: abs(x) * mp.sign(y), [lambda x, y: mp.sign(x) * mp.sign(y), _zero]),
    "ldexp": (lambda x, n: x * mp.mpf(2) ** n, [lambda x, n: mp.mpf(2) ** n, None]),
}

DOUBLE_ONLY = {"float_power"}  # it computes in float64 whatever it is given


# --------------------------------------------------------------------------------------------------------- points


def spread(count: int, low: float, high: float) -> list[float]:
    """`count` values between `low` and `high` with full mantissas: multiples of the golden ratio, modulo 1."""
    golden = (math.sqrt(5) - 1) / 2
    return [low + (high - low) * ((k * golden) % 1.0) for k in range(1, count + 1)]


def signed(*values: float) -> list[float]:
    return [*values, *(-v for v in values)]


ORDINARY = [*spread(14, -4, 4), *signed(1.0, 0.5, 1e-3, 1e-8, 25.3)]
TINY = signed(1e-30, 1e-300)
POSITIVE = [
    *spread(14, 0, 6),
    1.0,
    0.5,
    1 - 1e-9,
    1 + 1e-9,
    1 + 2**-52,
    1e-8,
    25.3,
    1e5,
    1e30,
    1e-30,
    1e300,
    1e-300,
    1e-310,
]
HUGE = signed(1e8, 1e15, 1e30, 1e160, 1e200, 1e300)
INSIDE = [*spread(14, -1, 1), *signed(0.5, 1e-3, 1e-8, 1e-300, 0.999, 1 - 1e-9, 1 - 2**-53, 1 - 2**-24)]
NEAR_POLE = signed(math.pi / 2, math.pi / 2 - 1e-6, math.pi / 2 + 1e-9, 3 * math.pi / 2)

UNARY_POINTS: dict[str, list[float]] = {
    "sin": [*ORDINARY, *TINY, math.pi, math.pi / 2, 1e5, 1e22],
    "cos": [*ORDINARY, *TINY, math.pi, math.pi / 2, 1e5, 1e22],
    "tan": [*ORDINARY, *TINY, *NEAR_POLE, math.pi, 1e5, 1e22],
    "arcsin": INSIDE,
    "arccos": INSIDE,
    "arctan": [*ORDINARY, *TINY, *HUGE],
    "sinh": [*ORDINARY, *TINY, *signed(80.0, 300.0, 700.0, 710.0)],
    "cosh": [*ORDINARY, *TINY, *signed(80.0, 300.0, 700.0, 710.0)],
    "tanh": [*ORDINARY, *TINY, *signed(5.0, 10.0, 20.0, 40.0, 300.0, 350.0, 365.0, 800.0)],
    "arcsinh": [*ORDINARY, *TINY, *HUGE],
    "arccosh": [1 + v for v in spread(14, 0, 6)] + [1 + 2**-52, 1 + 2**-23, 1 + 1e-9, 25.3, 1e8, 1e30, 1e200, 1e300],
    "arctanh": INSIDE,
    "exp": [*ORDINARY, *TINY, *signed(80.0, 88.5, 100.0, 300.0, 700.0), 710.0, -740.0, -760.0],
    "exp2": [*ORDINARY, *TINY, *signed(100.0, 127.3, 140.0, 300.0, 1000.3), 1030.0, -1060.5, -1100.0],
    "expm1": [*ORDINARY, *TINY, *signed(80.0, 300.0, 700.0), -30.0, -37.5, -740.0],
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": [*POSITIVE, *TINY, -0.25, -0.5, -0.9, -1 + 1e-9, -1 + 2**-53, -1 + 2**-24, -1e-8],
    "sqrt": [*POSITIVE, 5e-324],
    "cbrt": [*ORDINARY, *TINY, *HUGE, 5e-324, 1e-310],
    "square": [*ORDINARY, *TINY, *HUGE, 1.5e308],
    "reciprocal": [*ORDINARY, *TINY, *HUGE, 1e-160],
    "negative": [*ORDINARY, 1e300, 0.0],
    "positive": [*ORDINARY, 1e300, 0.0],
    "absolute": [*ORDINARY, *TINY, *HUGE],
    "fabs": [*ORDINARY, *TINY, *HUGE],
    "deg2rad": [*ORDINARY, 1e300, 0.0],
    "rad2deg": [*ORDINARY, 1e300, 0.0],
    # Beside the zeros of the derivative (tan πx = πx: 1.4303, 2.4590, …) no formula in float64 keeps 13 digits.
    "sinc": [
        *spread(14, -4, 4),
        *signed(1.0, 0.5, 0.1, 0.3, 1e-3, 1e-8, 25.3, 100.3),
        *TINY,
        1000.3,
        1e5 + 0.25,
    ],
    "i0": [*ORDINARY, *TINY, *signed(8.0, 80.0, 300.0, 700.0)],
}

PAIRS = [*zip(spread(10, -4, 4), spread(20, -5, 5)[10:], strict=True)]
WIDE = [
    (3.0, 1e-8),
    (1e-8, -3.0),
    (1e200, 1e200),
    (-1e200, 3e200),
    (1e-200, 1e-200),
    (2e-200, -1e-200),
    (1e200, 1e-200),
    (1e-200, -1e200),
    (1e-30, 2e-30),
    (1e30, -1e30),
]
SUMS = [
    *PAIRS,
    *[
        (2.0, 2.0),
        (1000.0, 1000.0),
        (1000.0, 1001.5),
        (-1000.0, -1000.5),
        (1000.0, -1000.0),
        (-1000.0, 1000.0),
    ],
    *[(300.1, -300.2), (1000.3, 400.1), (-40.0, 40.0), (1e6, 1e6 + 1), (-1e6, -1e6 - 0.75), (60.0, -25.0)],
    *[(1e-300, 1e-8), (0.0, 0.0), (0.0, -30.0), (5.0, -735.0), (1.0, -3000.0)],
]
POWERS = [
    *zip(spread(12, 0, 6), spread(24, -5, 5)[12:], strict=True),
    *[(-2.0, 3.0), (-2.5, 2.0), (-1.5, -4.0), (-0.3, 1.0), (-1e10, -3.0), (-3.7, 7.0), (-7.0, 0.0)],
    *[(1e-300, 0.1), (1e300, 0.3), (1e300, -0.7), (1e-300, 0.9), (1e-200, 1.5), (1e200, 1.5), (1e200, 2.0)],
    *[
        (1 + 1e-9, 1e9),
        (1 - 1e-9, -1e9),
        (1e-5, -50.3),
        (1e5, -60.0),
        (2.0, 1000.5),
        (0.5, 1000.5),
        (1.0, 17.3),
    ],
    *[(2.0, 0.5), (2.0, -0.5), (2.0, -1.0), (3.0, 1e-8), (3.0, 0.0), (1e-30, 2.0), (1e10, 3.0), (1.3, 80.0)],
]
QUOTIENTS = [
    *PAIRS,
    (1.0, 0.1),
    (-1.0, 0.1),
    (7.5, -2.0),
    (-7.5, 2.0),
    (1e5, 0.7),
    (-0.3, 5.0),
    (3.0, 1e30),
    (5.0, -3.0),
]
BINARY_POINTS: dict[str, list[tuple[float, float]]] = {
    "add": PAIRS,
    "subtract": PAIRS,
    "multiply": [*PAIRS, *WIDE],
    "divide": [*PAIRS, *WIDE],
    "power": POWERS,
    "float_power": POWERS,
    "hypot": [*PAIRS, *WIDE, (3.0, 4.0), (0.0, 2.0), (-2.0, 0.0), (1e-310, 2e-310), (1e300, 1e300)],
    "arctan2": [
        *PAIRS,
        *WIDE,
        (3.0, 4.0),
        (0.0, 2.0),
        (-2.0, 0.0),
        (0.0, -3.0),
        (-1e-300, -5.0),
        (1e300, 1e300),
    ],
    "maximum": PAIRS,
    "minimum": PAIRS,
    "fmax": PAIRS,
    "fmin": PAIRS,
    "logaddexp": SUMS,
    "logaddexp2": SUMS,
    "remainder": QUOTIENTS,
    "fmod": QUOTIENTS,
    "copysign": [*PAIRS, (1e-300, -1e300), (-1e300, -1e-300)],
    "ldexp": [(x, float(n)) for x, n in zip(spread(8, -4, 4), (-3, 0, 5, 1, -20, 90, -100, 13), strict=True)],
}


def exactly(points: Iterable[tuple[float, ...]], dtype: str) -> list[tuple[float, ...]]:
    """The points as values of `dtype`, without those that leave its range, none twice."""
    kept: dict[tuple[float, ...], None] = {}
    for point in points:
        with np.errstate(all="ignore"):
            cast = tuple(float(np.dtype(dtype).type(v)) for v in point)
        if all(math.isfinite(c) and (c != 0) == (v != 0) for c, v in zip(cast, point, strict=True)):
            kept.setdefault(cast)
    return list(kept)


# ------------------------------------------------------------------------------------------------ the ordinary grid


def second_way(f: Callable[..., Number], point: tuple[float, ...], slot: int) -> Number:
    """The partial derivative of `f` as a limit of difference quotients, with steps relative to the argument."""
    at = [mp.mpf(v) for v in point]
    scale = abs(at[slot]) or mp.mpf(1)

    def along(t: Number) -> Number:
        return f(*[v + scale * t if k == slot else v for k, v in enumerate(at)])

    return mp.re(mp.diff(along, 0)) / scale


def confirmed(
    name: str, f: Callable[..., Number], closed: Callable[..., Number], point: tuple[float, ...], slot: int
) -> Number:
    """The closed form at `point`, after the second computation has agreed with it."""
    with mp.workdps(DIGITS):
        value = mp.re(closed(*map(mp.mpf, point)))
    for digits in LADDER:
        with mp.workdps(digits):
            if abs(second_way(f, point, slot) - value) <= AGREE * abs(value):
                return value
    raise AssertionError(f"two computations of the derivative of {name} at {point} in slot {slot} disagree")


def inside(name: str, point: tuple[float, ...], dtype: str) -> bool:
    """Whether a point, after rounding to `dtype`, is still off the poles and jumps of the function."""
    x = point[0]
    if name in ("arcsin", "arccos", "arctanh"):
        return abs(x) < 1
    if name == "arccosh":
        return x > 1
    if name == "log1p":
        return x > -1
    if name == "i0":  # np.i0 overflows in exp(|x|), a little before I₀ does
        return abs(x) <= (88 if dtype == "float32" else 709)
    if name in ("remainder", "fmod"):
        return Fraction(x) / Fraction(point[1]) % 1 != 0
    return True


def grid(dtype: str) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Rows [point, derivative, flag] and [first, second, partials…, flags]; the flag is left out where empty."""
    unary: dict[str, list[Any]] = {}
    for name, (f, closed) in UNARY.items():
        rows = unary[name] = []
        for point in exactly(((x,) for x in UNARY_POINTS[name]), dtype):
            if inside(name, point, dtype):
                value, flag = rounded(confirmed(name, f, closed, point, 0), dtype)
                rows.append([written(point[0]), written(value), *([flag] if flag else [])])
    binary: dict[str, list[Any]] = {}
    for name, (f, partials) in BINARY.items():
        if dtype == "float32" and name in DOUBLE_ONLY:
            continue
        rows = binary[name] = []
        for point in exactly(BINARY_POINTS[name], dtype):
            if not inside(name, point, dtype):
                continue
            row: list[Any] = [written(v) for v in point]
            flags = []
            for slot, closed_partial in enumerate(partials):
                undefined = "power" in name and slot == 1 and point[0] <= 0  # not real around a negative base
                if closed_partial is None or undefined:
                    row.append(None)
                    flags.append("")
                    continue
                value, flag = rounded(confirmed(name, f, closed_partial, point, slot), dtype)
                row.append(written(value))
                flags.append(flag)
            rows.append(row + (flags if any(flags) else []))
    return unary, binary


# ------------------------------------------------------------------------------------------------- special points

WORDS = ["".join(word) for order in range(4) for word in combinations_with_replacement("01", order)]

# Where all derivatives come from mpmath: by differencing the function, and again by differencing its closed partials.
SMOOTH_UNARY: dict[str, list[float]] = {
    "sin": [0.0, 1.3],
    "cos": [0.0, 1.3],
    "tan": [0.0, 1.3],
    "arcsin": [0.0, 1e-10, 0.75],
    "arccos": [0.0, 1e-10, 0.75],
    "arctan": [0.0, 1e-10, -2.5],
    "sinh": [0.0, 1.3],
    "cosh": [0.0, 1.3],
    "tanh": [0.0, 1e-10, 0.5, 10.0, -20.0, 300.0],
    "arcsinh": [0.0, 1e-10, -2.5],
    "arccosh": [1.5],
    "arctanh": [0.0, 1e-10, 0.75],
    "exp": [0.0, -700.0],
    "exp2": [0.0, 3.0],
    "expm1": [0.0, 1e-300, -40.0],
    "log": [1.0, 1e-50],
    "log2": [1.0, 8.0],
    "log10": [1.0, 100.0],
    "log1p": [0.0, 1e-300, -0.5],
    "sqrt": [4.0, 5e-324, 1e-310, 1e-300],
    "cbrt": [8.0, -27.0, 1e-30],
    "square": [0.0, 3.0],
    "reciprocal": [1.0, -2.0, 1e-60],
    "sinc": [0.0, 1e-8, 1e-3, 0.25, 0.75, 3.0],
    "i0": [0.0, 1e-8, 1.0, -2.5, 30.0],
    "deg2rad": [0.0],
    "rad2deg": [0.0],
    "negative": [0.0],
}
SMOOTH_BINARY: dict[str, list[tuple[float, float]]] = {
    "multiply": [(0.0, 0.0), (0.0, 3.0)],
    "divide": [(0.0, 2.0), (3.0, -7.0)],
    "power": [(2.5, 3.5), (1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (2.0, 2.0), (0.5, -1.0)],
    "hypot": [
        (1.0, 0.0),
        (0.0, 1.0),
        (-3.0, 0.0),
        (0.0, -2.0),
        (1.0, 1.0),
        (3.0, 3.0),
        (3.0, 4.0),
        (1.0, 1e-8),
    ],
    "arctan2": [(0.0, 1.0), (1.0, 0.0), (0.0, -2.0), (-4.0, 0.0), (1.0, 1.0), (3.0, 4.0)],
    "logaddexp": [(0.0, 0.0), (1.0, 1.0), (1000.0, 1000.0), (-1000.0, -1000.0), (1.0, 3.0), (20.0, -20.0)],
    "logaddexp2": [(0.0, 0.0), (1.0, 1.0), (1000.0, 1000.0), (-1000.0, -1000.0), (1.0, 3.0), (20.0, -20.0)],
}
# Limits, stated by hand: value, first, second, third. None: it does not exist (either answer passes).
LIMITS_UNARY: list[tuple[str, float, list[float | None]]] = [
    ("sqrt", 0.0, [0.0, INF, -INF, INF]),
    ("log", 0.0, [-INF, INF, -INF, INF]),
    ("log2", 0.0, [-INF, INF, -INF, INF]),
    ("log10", 0.0, [-INF, INF, -INF, INF]),
    ("log1p", -1.0, [-INF, INF, -INF, INF]),
    ("cbrt", 0.0, [0.0, INF, None, None]),  # f'' has another sign on each side
    ("arcsin", 1.0, [math.pi / 2, INF, INF, INF]),
    ("arcsin", -1.0, [-math.pi / 2, INF, -INF, INF]),
    ("arccos", 1.0, [0.0, -INF, -INF, -INF]),
    ("arccos", -1.0, [math.pi, -INF, INF, -INF]),
    ("arccosh", 1.0, [0.0, INF, -INF, INF]),
    ("arctanh", 1.0, [INF, INF, INF, INF]),
    ("exp", -INF, [0.0, 0.0, 0.0, 0.0]),
    ("tanh", INF, [1.0, 0.0, 0.0, 0.0]),
    ("tanh", -INF, [-1.0, 0.0, 0.0, 0.0]),
    ("arctan", INF, [math.pi / 2, 0.0, None, None]),
]


def constant_power(x: float, n: float) -> list[float]:
    """The value and three derivatives of x**n for constant n, at x = 0 or for whole n."""
    values, factor = [], 1.0
    for order in range(4):
        values.append(0.0 if factor == 0 else factor * (INF if x == 0 and n < order else x ** (n - order)))
        factor *= n - order
    return values


POWERS_OF_CONSTANT = [(0.0, n) for n in (0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 1.5, 2.5, -1.0)] + [
    (-2.0, 0.0),
    (-2.0, 1.0),
    (-2.0, 2.0),
    (-2.0, 3.0),
    (-2.0, -1.0),
    (-2.0, -2.0),
]

FIRST_ONLY = {"0": 1.0, "1": 0.0}  # one argument has run away from the other
ZERO_BEYOND = dict.fromkeys([w for w in WORDS if len(w) > 1], 0.0)
LIMITS_BINARY: list[tuple[str, tuple[float, float], dict[str, float]]] = [
    # 0**y is 0 for all y > 0, and so is its slope in x for y > 1: these limits exist from x > 0. ("001" at 2: -inf.)
    ("power", (0.0, 2.0), dict.fromkeys([w for w in WORDS if w != "001"], 0.0) | {"00": 2.0}),
    ("power", (0.0, 3.0), dict.fromkeys(WORDS, 0.0) | {"000": 6.0}),
    ("power", (0.0, 1.0), {"": 0.0, "0": 1.0, "1": 0.0, "00": 0.0, "11": 0.0, "000": 0.0, "111": 0.0}),
    ("power", (0.0, 0.0), {"": 1.0, "0": 0.0, "00": 0.0, "000": 0.0}),
]
for _name in ("logaddexp", "logaddexp2"):
    for _big, _small in ((INF, 1.0), (1.0, -INF), (INF, -INF), (1000.0, -INF), (INF, -1000.0)):
        LIMITS_BINARY += [
            (_name, (_big, _small), {"": _big, **FIRST_ONLY, **ZERO_BEYOND}),
            (_name, (_small, _big), {"": _big, "0": 0.0, "1": 1.0, **ZERO_BEYOND}),
        ]
    for _both in (INF, -INF):  # the limit along equal arguments; beyond order 1 only NaN is refused
        LIMITS_BINARY.append((_name, (_both, _both), {"": _both, "0": 0.5, "1": 0.5}))


def all_partials(
    name: str, f: Callable[..., Number], partials: list[Any], point: tuple[float, ...]
) -> dict[str, float]:
    """Every partial derivative to order 3, computed by differencing `f` and by differencing its closed partials."""
    words = WORDS if len(point) == 2 else ["", "0", "00", "000"]
    found: dict[str, float] = {}
    with mp.workdps(1000):
        at = tuple(map(mp.mpf, point))
        scale = [abs(v) or mp.mpf(1) for v in at]

        def difference(g: Callable[..., Number], counts: tuple[int, ...]) -> Number:
            def scaled(*t: Number) -> Number:
                return g(*[v + s * u for v, s, u in zip(at, scale, t, strict=True)])

            origin = (mp.mpf(0),) * len(at)
            size = math.prod(s**n for s, n in zip(scale, counts, strict=True))
            if len(at) == 1:
                return mp.re(mp.diff(scaled, 0, counts[0])) / size
            return mp.re(mp.diff(scaled, origin, counts)) / size

        computed: dict[str, Number] = {}
        for word in words:
            counts = tuple(word.count(str(slot)) for slot in range(len(point)))
            one = difference(f, counts) if word else f(*at)
            if word:
                slot = int(word[0])
                rest = tuple(n - (k == slot) for k, n in enumerate(counts))
                other = difference(partials[slot], rest) if any(rest) else mp.re(partials[slot](*at))
                size = max(abs(one), abs(other))
                assert abs(one - other) <= max(AGREE * size, mp.mpf(10) ** -450), (
                    name,
                    point,
                    word,
                    one,
                    other,
                )
                one = other
            computed[word] = mp.mpf(0) if abs(one) < mp.mpf(10) ** -450 else one
        for word, value in computed.items():
            found[word] = rounded(value, "float64")[0]
    return found


def special() -> list[dict[str, Any]]:
    """Entries {f, at, d: {word: derivative}}; a word lists the slots; const: the second argument does not vary."""
    entries: list[dict[str, Any]] = []

    def enter(name: str, point: tuple[float, ...], derivatives: dict[str, float | None], **more: Any) -> None:
        numbers = {word: written(value) for word, value in derivatives.items() if value is not None}
        entries.append({"f": name, "at": [written(v) for v in point], "d": numbers, **more})

    for name, points in SMOOTH_UNARY.items():
        f, closed = UNARY[name]
        for x in points:
            enter(name, (x,), dict(all_partials(name, f, [closed], (x,))))
    for name, pairs in SMOOTH_BINARY.items():
        g, partials = BINARY[name]
        for pair in pairs:
            derivatives = dict(all_partials(name, g, partials, pair))
            if name == "arctan2":  # the function above is a branch: its value is right only up to a constant
                derivatives[""] = float(mp.atan2(*pair))
            enter(name, pair, dict(derivatives))
    for name, x, limits in LIMITS_UNARY:
        enter(name, (x,), {"0" * k: value for k, value in enumerate(limits)})
    for x, n in POWERS_OF_CONSTANT:
        enter("power", (x, n), {"0" * k: v for k, v in enumerate(constant_power(x, n))}, const=True)
    for name, pair, known in LIMITS_BINARY:
        enter(name, pair, dict(known))
    return entries


# ----------------------------------------------------------------------------------------------------------- main


def text() -> str:
    """The file: one line for each function, so that changes can be read."""
    lines = ['{"about": "Written by tools/make_grid.py; do not edit. Numbers are float.hex(). See there."']
    for dtype in FORMATS:
        for kind, table in zip(("unary", "binary"), grid(dtype), strict=True):
            rows = ",\n".join(f'"{name}": {json.dumps(row, separators=(",", ":"))}' for name, row in table.items())
            lines.append(f'"{kind} {dtype}": {{\n{rows}}}')
    entries = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in special())
    lines.append(f'"special": [\n{entries}]')
    return ",\n".join(lines) + "}\n"


def main() -> int:
    made = text()
    if "--check" in sys.argv[1:]:
        same = TARGET.read_text() == made
        print("the committed grid is", "up to date" if same else "NOT what this tool writes")
        return not same
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(made)
    counts = {key: sum(map(len, part.values())) for key, part in json.loads(made).items() if isinstance(part, dict)}
    print(f"{TARGET}: {len(made) / 1000:.0f} kB, {counts}, special {len(json.loads(made)['special'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
