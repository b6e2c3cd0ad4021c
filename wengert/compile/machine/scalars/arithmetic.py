"""Arithmetic, extrema, rounding and comparisons on real numbers and bools, as NumPy's loops do them."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.compile.machine.code import BOOL
from wengert.compile.machine.scalars.maths import PURE, call
from wengert.compile.machine.scalars.rules import rule, shared
from wengert.compile.machine.scalars.value import F64, Value, constant_of, select

# ------------------------------------------------------------------------------------------------ plus and times


@rule("iuf", "add")
def _add(x: Value, y: Value) -> Value:
    return x + y


@rule("b", "add", "logical_or", "bitwise_or", "maximum", "fmax")
def _or(x: Value, y: Value) -> Value:
    return x | y


@rule("iuf", "subtract")
def _subtract(x: Value, y: Value) -> Value:
    return x - y


@rule("iuf", "multiply")
def _multiply(x: Value, y: Value) -> Value:
    return x * y


@rule("b", "multiply", "logical_and", "bitwise_and", "minimum", "fmin", "scale", "both")
def _and(x: Value, y: Value) -> Value:
    return x & y


@rule("iuf", "square")
def _square(x: Value) -> Value:
    return x * x


@rule("iuf", "negative")
def _negative(x: Value) -> Value:
    return -x


@rule("biufc", "positive", "copy", "stop_gradient", "cast", "as_discrete", "real")
def _same(x: Any, **params: Any) -> Any:
    return x


@rule("biuf", "conjugate")
def _conjugate(x: Value) -> Value:
    return x


@rule("biuf", "imag")
def _imag(x: Value) -> Value:
    return x.like(0)


@rule("f", "divide")
def _divide(x: Value, y: Value) -> Value:
    return x / y


@rule("f", "reciprocal")
def _reciprocal(x: Value) -> Value:
    return 1.0 / x


@rule("iu", "reciprocal")
def _integer_reciprocal(x: Value) -> Value:
    return (1.0 / x.to(F64)).to(x.dtype)


@rule("i", "absolute")
@rule("f", "absolute", "fabs")
def _absolute(x: Value) -> Value:
    return abs(x)


@rule("bu", "absolute")
def _unsigned_absolute(x: Value) -> Value:
    return x


@rule("f", "sqrt")
def _sqrt(x: Value) -> Value:
    return x.intrinsic("sqrt")


@rule("f", "deg2rad")
def _deg2rad(x: Value) -> Value:
    return x * float(x.dtype.type(np.pi) / x.dtype.type(180))


@rule("f", "rad2deg")
def _rad2deg(x: Value) -> Value:
    return x * float(x.dtype.type(180) / x.dtype.type(np.pi))


@rule("iuf", "scale")
def _scale(ct: Value, p: Value) -> Value:
    product = ct * p  # only an infinite or undefined p makes a NaN of 0, so that signs of zeros stay
    return product if ct.dtype.kind != "f" else select(ct.eq(0) & product.is_nan(), ct.like(0), product)


@rule("iuf", "both")
def _both(x: Value, y: Value) -> Value:
    product = x * y
    if x.dtype.kind != "f":
        return product
    return select(product.is_nan() & (x.eq(0) | y.eq(0)), x.like(0), product)


# --------------------------------------------------------------------------------------------------------- powers

SMALL_POWERS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)


@rule("f", "power", "float_power")
def _power(x: Value, y: Value) -> Value:
    n = constant_of(y)
    if n in SMALL_POWERS:  # within 2 ulp, and right at all special values
        return _small_power(x, int(n))
    if n == 0.5:
        return x.intrinsic("sqrt")  # what NumPy does for a single exponent
    return call("power", x, y)


def _small_power(x: Value, n: int) -> Value:
    if n == 0:
        return x.like(1)
    if n < 0:
        return _small_power(1.0 / x, -n)
    if n % 2:
        return x if n == 1 else x * _small_power(x, n - 1)
    half = _small_power(x, n // 2)
    return half * half


# ------------------------------------------------------------------------------------ division with a remainder


def _fmod(x: Value, y: Value) -> Value:
    """x − y·⌊x/y⌋ towards 0, exactly: in one step where the quotient fits the significand, else by libm."""
    code, size = x.code, abs(y)
    quotient = (x / y).intrinsic("trunc")
    fits = abs(quotient) < 2.0 ** (52 if x.dtype == F64 else 23)
    near, far, done = (code.fresh("fmod") for _ in range(3))
    code.line(f"br i1 {fits.text}, label {near}, label {far}")
    code.label(near)
    rest = (-quotient).intrinsic("fma", y, x)  # exact, and of the other sign where the quotient was rounded up
    sign = x.like(1.0).intrinsic("copysign", x)
    rest = select(rest * sign < 0, rest + size * sign, rest).intrinsic("copysign", x)
    rest = select(quotient.eq(0), x, rest)  # y may be infinite
    code.line(f"br label {done}")
    code.label(far)
    symbol = "fmod" if x.dtype == F64 else "fmodf"
    exact = code.call(symbol, x.type, [(x.type, x.text), (y.type, y.text)], PURE)
    code.line(f"br label {done}")
    code.label(done)
    return Value(code, code.op(f"phi {x.type} [ {rest.text}, {near} ], [ {exact}, {far} ]"), x.dtype)


fmod = shared("fmod", _fmod)  # it has branches, which must not cut the caller's block
rule("f", "fmod")(fmod)


@rule("f", "divmod")
def _divmod(x: Value, y: Value) -> tuple[Value, Value]:
    """npy_divmod: CPython's float_divmod, and the quotient x/y where y is 0."""
    mod = fmod(x, y)
    quotient = (x - mod) / y  # nearly an integer
    adjust = mod.ne(0) & ((y < 0) ^ (mod < 0))
    shifted = select(adjust, quotient - 1.0, quotient)
    zero = x.like(0)
    result = select(mod.eq(0), zero.intrinsic("copysign", y), select(adjust, mod + y, mod))
    floored = shifted.intrinsic("floor")
    snapped = select(shifted - floored > 0.5, floored + 1.0, floored)
    division = select(shifted.eq(0), zero.intrinsic("copysign", x / y), snapped)
    by_zero = y.eq(0)
    return select(by_zero, x / y, division), select(by_zero, mod, result)


@rule("f", "floor_divide", helper=True)
def _floor_divide(x: Value, y: Value) -> Value:
    return _divmod(x, y)[0]


@rule("f", "remainder", helper=True)
def _remainder(x: Value, y: Value) -> Value:
    return _divmod(x, y)[1]


# --------------------------------------------------------------------------------------------------------- extrema


@rule("iu", "maximum", "fmax")
def _integer_maximum(x: Value, y: Value) -> Value:
    return x.intrinsic("smax" if x.dtype.kind == "i" else "umax", y)


@rule("iu", "minimum", "fmin")
def _integer_minimum(x: Value, y: Value) -> Value:
    return x.intrinsic("smin" if x.dtype.kind == "i" else "umin", y)


# select(x > y, x, y) is one instruction, which takes y where either is NaN


@rule("f", "maximum")
def _maximum(x: Value, y: Value) -> Value:
    return select(x.is_nan(), x, select(x > y, x, y))


@rule("f", "minimum")
def _minimum(x: Value, y: Value) -> Value:
    return select(x.is_nan(), x, select(x < y, x, y))


@rule("f", "fmax")
def _fmax(x: Value, y: Value) -> Value:
    return select(y.is_nan(), x, select(x > y, x, y))


@rule("f", "fmin")
def _fmin(x: Value, y: Value) -> Value:
    return select(y.is_nan(), x, select(x < y, x, y))


@rule("f", "copysign")
def _copysign(x: Value, y: Value) -> Value:
    return x.intrinsic("copysign", y)


@rule("f", "heaviside")
def _heaviside(x: Value, y: Value) -> Value:
    return select(x.eq(0), y, select(x < 0, x.like(0), select(x > 0, x.like(1), x)))


@rule("f", "sign")
def _sign(x: Value) -> Value:
    return select(x > 0, x.like(1), select(x < 0, x.like(-1), select(x.eq(0), x.like(0), x)))


@rule("iu", "sign")
def _integer_sign(x: Value) -> Value:
    positive = (x > 0).to(x.dtype)
    return positive - (x < 0).to(x.dtype) if x.dtype.kind == "i" else positive


# -------------------------------------------------------------------------------------------------------- rounding


def _rounding(name: str) -> None:
    @rule("f", name)
    def to_integer(x: Value) -> Value:
        return x.intrinsic(name)


for _name in ("floor", "ceil", "trunc", "rint"):
    _rounding(_name)
rule("biu", "floor", "ceil", "trunc")(_same)


@rule("f", "round")
def rounded(x: Value, *, decimals: int) -> Value:
    if decimals == 0:
        return x.intrinsic("rint")
    factor = 10.0 ** abs(decimals)
    if decimals > 0:
        return (x * factor).intrinsic("rint") / factor
    return (x / factor).intrinsic("rint") * factor


@rule("iu", "round")
def _integer_round(x: Value, *, decimals: int) -> Value:
    return x if decimals >= 0 else rounded(x.to(F64), decimals=decimals).to(x.dtype)


# ------------------------------------------------------------------------------------------ comparisons and logic

COMPARISONS = {
    "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
}  # fmt: skip


def _comparison(name: str, how: str) -> None:
    @rule("iuf", name)
    def compare(x: Value, y: Value) -> Value:
        if x.dtype == y.dtype:
            return x.compare(how, y)
        # int64 against uint64: exact, and what is negative is less than all
        signed, unsigned = (x, y) if x.dtype.kind == "i" else (y, x)
        negative = signed < 0
        if how in ("eq", "ne"):
            same = x.to(unsigned.dtype).compare(how, y.to(unsigned.dtype))
            return ~negative & same if how == "eq" else negative | same
        exact = x.to(unsigned.dtype).compare(how, y.to(unsigned.dtype))
        return select(negative, exact.like((how in ("lt", "le")) == (signed is x)), exact)

    @rule("b", name)
    def compare_bools(x: Value, y: Value) -> Value:
        return x.op(f"icmp {'' if how in ('eq', 'ne') else 'u'}{how}", y, dtype=BOOL)


for _name, _how in COMPARISONS.items():
    _comparison(_name, _how)


@rule("b", "logical_xor", "bitwise_xor")
def _xor(x: Value, y: Value) -> Value:
    return x ^ y


@rule("b", "logical_not", "invert")
def _not(x: Value) -> Value:
    return ~x


@rule("f", "isnan")
def _isnan(x: Value) -> Value:
    return x.is_nan()


@rule("f", "isinf")
def _isinf(x: Value) -> Value:
    return x.is_infinite()


@rule("f", "isfinite")
def _isfinite(x: Value) -> Value:
    return abs(x) < np.inf


@rule("biu", "isnan", "isinf")
def _never(x: Value) -> Value:
    return Value(x.code, "false", BOOL)


@rule("biu", "isfinite")
def _always(x: Value) -> Value:
    return Value(x.code, "true", BOOL)


@rule("f", "signbit")
def _signbit(x: Value) -> Value:
    return x.bits() < 0


@rule("biuf", "where")
def _where(c: Value, x: Value, y: Value) -> Value:
    return select(c, x, y)


# -------------------------------------------------------------------------------------------------- bits of floats


@rule("f", "nextafter", helper=True)
def _nextafter(x: Value, y: Value) -> Value:
    bits = x.bits()
    outwards = (x < y) ^ (bits < 0)
    step = select(outwards, bits.like(1), bits.like(-1))
    smallest = bits.like(1).as_float().intrinsic("copysign", y)
    moved = select(x.eq(0), smallest, (bits + step).as_float())
    return select(x.is_nan() | y.is_nan(), x + y, select(x.eq(y), y, moved))


@rule("f", "spacing", helper=True)
def _spacing(x: Value) -> Value:
    bits = x.bits()
    gap = (bits + 1).as_float() - x
    gap = select(x.eq(0), bits.like(1).as_float(), gap)
    return select(abs(x) < np.inf, gap, x.like(np.nan))


@rule("f", "modf")
def _modf(x: Value) -> tuple[Value, Value]:
    whole = x.intrinsic("trunc")
    fraction = select(x.is_infinite(), x.like(0), x - whole)
    return fraction.intrinsic("copysign", x), whole


def _layout(x: Value) -> tuple[int, int]:
    """Stored bits of the significand, and the bias of the exponent."""
    return (52, 1023) if x.dtype.itemsize == 8 else (23, 127)


def two_to_the(n: Value, dtype_of: Value) -> Value:
    """2ⁿ as a float, for the n of normal numbers."""
    significand, bias = _layout(dtype_of)
    return ((n + bias) << significand).as_float()


@rule("i", "ldexp", helper=True)
def _ldexp(x: Value, n: Value) -> Value:
    # Three factors, of which the first two leave no subnormal that the next would round again (musl's scalbn)
    significand, bias = _layout(x)
    integer = x.bits().dtype
    low, high = 1 - bias, bias
    n = n.intrinsic("smax", 3 * low).intrinsic("smin", 3 * high).to(integer)
    for _ in range(2):
        step = select(n < low, n.like(low + significand + 1), select(n > high, n.like(high), n.like(0)))
        x, n = x * two_to_the(step, x), n - step
    n = n.intrinsic("smax", low).intrinsic("smin", high)
    return x * two_to_the(n, x)


@rule("f", "frexp")
def _frexp(x: Value) -> tuple[Value, Value]:
    significand, bias = _layout(x)
    shift = significand + 2
    tiny = abs(x) < 2.0 ** (1 - bias)
    scaled = select(tiny, x * 2.0**shift, x)
    bits = scaled.bits()
    exponent = ((bits.op("lshr", significand)) & (2 * bias + 1)) - (bias - 1)
    exponent = select(tiny, exponent - shift, exponent)
    fraction = ((bits & ~((2 * bias + 1) << significand)) | ((bias - 1) << significand)).as_float()
    plain = (abs(x) < np.inf) & x.ne(0)  # also not NaN
    return select(plain, fraction, x), select(plain, exponent, exponent.like(0)).to(np.dtype(np.int32))
