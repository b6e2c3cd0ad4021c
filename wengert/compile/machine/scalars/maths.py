"""Functions of libm, which the loop vectoriser replaces by those of libmvec, and our own where there is no libmvec.

glibc's vector functions were compared with NumPy's on NaN, infinities, zeros, subnormals and huge arguments: all are
right there, and elsewhere within 4 ulp. Calls outside loops are libm's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from wengert.compile.machine.code import Module
from wengert.compile.machine.scalars.rules import rule, shared
from wengert.compile.machine.scalars.value import F32, F64, Value, polynomial, select

OneToOne = Callable[[Value], Value]
PURE = "nounwind willreturn memory(none)"
SYMBOL = re.compile(r"_ZGV[a-z]N(\d+)(v+)_(\w+)")

# NumPy's name → libm's
LIBM: Final = {
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "exp": "exp",
    "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2", "log10": "log10", "log1p": "log1p", "cbrt": "cbrt",
    "arctan2": "atan2", "hypot": "hypot", "power": "pow",
}  # fmt: skip


SLOW: Final = {"tanh"}  # 1.9 ns an element in libmvec, 1.0 by ours


def call(name: str, *xs: Value) -> Value:
    """The function of this NumPy name."""
    x = xs[0]
    module, symbol = x.code.module, LIBM[name] + ("f" if x.dtype == F32 else "")
    variants = module.libmvec.get(symbol, ())
    if name in OWN and (not variants or symbol in SLOW):
        return OWN[name](x)
    attributes = f'{PURE} "vector-function-abi-variant"="{_declared(module, variants, x.type)}"' if variants else PURE
    return Value(x.code, x.code.call(symbol, x.type, [(y.type, y.text) for y in xs], attributes), x.dtype)


def _declared(module: Module, variants: Sequence[str], kind: str) -> str:
    mappings = []
    for variant in variants:
        lanes, arguments, name = SYMBOL.fullmatch(variant).groups()  # type: ignore[union-attr]
        vector = f"<{lanes} x {kind}>"
        module.declare(f"declare {vector} @{variant}({', '.join([vector] * len(arguments))}) {module.attributes(PURE)}")
        module.keep(variant)
        mappings.append(f"_ZGV_LLVM_N{lanes}{arguments}_{name}({variant})")
    return ",".join(mappings)


def _library(name: str) -> None:
    @rule("f", name)
    def function(*xs: Value) -> Value:
        return call(name, *xs)


for _name in LIBM:
    if _name != "power":
        _library(_name)


def exp(x: Value) -> Value:
    return call("exp", x)


# ------------------------------------------------------------------------------------------------ polynomials

# Adding it to a number below 2⁵¹ leaves the nearest integer in the low bits
MAGIC = 1.5 * 2.0**52
LN2_HI, LN2_LO = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")  # n · LN2_HI is exact
# (e^r − 1 − r)/r² for |r| ≤ ½ ln 2, by interpolation in Chebyshev's points: an error of 4e-17 of e^r − 1
TAIL = [
    0.5000000000000001, 0.16666666666666669, 0.04166666666662399, 0.008333333333330051, 0.0013888888917281794,
    0.00019841269863105968, 2.480152119021773e-05, 2.7557268378684192e-06, 2.7620138719733994e-07,
    2.5100424157005067e-08,
]  # fmt: skip


def _reduced(x: Value) -> tuple[Value, Value]:
    """n, an integer, and e^r − 1 where x = n ln 2 + r and |r| ≤ ½ ln 2."""
    shifted = x.times_plus(1 / np.log(2.0), MAGIC)
    n = shifted - MAGIC
    r = (-n).times_plus(LN2_LO, (-n).times_plus(LN2_HI, x))
    return shifted.bits() - int(np.float64(MAGIC).view(np.int64)), (r * r).times_plus(polynomial(r, TAIL), r)


def _power_of_two(n: Value) -> Value:
    """2ⁿ for −1022 ≤ n ≤ 1023."""
    return ((n + 1023) << 52).as_float()


def _exp(x: Value) -> Value:
    x = select(x > 710.0, x.like(710.0), select(x < -746.0, x.like(-746.0), x))
    n, small = _reduced(x)
    half = ((n + 2048).op("lshr", 1)) - 1024  # two factors, since 2ⁿ alone may be subnormal or infinite
    return (1.0 + small) * _power_of_two(half) * _power_of_two(n - half)


def _expm1(x: Value) -> Value:
    clamped = select(x > 710.0, x.like(710.0), select(x < -60.0, x.like(-60.0), x))
    n, small = _reduced(clamped)
    factor = _power_of_two(n - 1)  # half of 2ⁿ, which may be infinite
    return select(x.eq(0), x, 2 * small.times_plus(factor, factor - 0.5))


# log(1 + f) = f − ½f² + s(½f² + R(s²)) with s = f/(2 + f): FreeBSD's e_log.c, whose coefficients these are
LOG = [
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
]  # fmt: skip
SQRT_HALF_BITS = int(np.float64(np.sqrt(0.5)).view(np.int64))
LOG_LN2_HI, LOG_LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def _log(x: Value) -> Value:
    subnormal = x < 2.0**-1022
    bits = select(subnormal, x * 2.0**54, x).bits()
    k = (bits - SQRT_HALF_BITS + (1023 << 52)).op("lshr", 52)
    f = (bits - ((k - 1023) << 52)).as_float() - 1.0
    exponent = (k + int(np.float64(MAGIC).view(np.int64))).as_float() - MAGIC - 1023.0
    exponent = select(subnormal, exponent - 54.0, exponent)
    s = f / (2.0 + f)
    z = s * s
    rest = z * polynomial(z, LOG)
    half = 0.5 * f * f
    inner = half - s.times_plus(half + rest, exponent * LOG_LN2_LO)
    value = exponent.times_plus(LOG_LN2_HI, f - inner)
    value = select(x < np.inf, value, x)  # also NaN
    return select(x > 0, value, select(x.eq(0), x.like(-np.inf), select(x < 0, x.like(np.nan), x)))


def _log1p(x: Value) -> Value:
    u = 1.0 + x
    correction = (x - (u - 1.0)) / u  # what 1 + x lost
    value = shared("log", _log)(u)
    return select(u.eq(1), x, select((x > -1.0) & (x < np.inf), value + correction, value))


def _tanh(x: Value) -> Value:
    e = shared("expm1", _expm1)(-2.0 * abs(x))
    return (-e / (e + 2.0)).intrinsic("copysign", x)


def _own(name: str, function: OneToOne) -> OneToOne:
    """`function` of float64, for float32 too."""
    in_float64 = shared(name, function)

    def own(x: Value) -> Value:
        return in_float64(x.to(F64)).to(x.dtype)

    return own


OWN: Final[dict[str, OneToOne]] = {
    name: _own(name, function)
    for name, function in {"exp": _exp, "expm1": _expm1, "log": _log, "log1p": _log1p, "tanh": _tanh}.items()
}
