"""Complex arithmetic and functions, as NumPy's loops do them.

Transcendental functions are those of C's <complex.h>, called in float64 for complex64 too: the calling convention of a
pair of doubles is that of two doubles on x86-64 and AArch64 (not on Windows, where these are not supported).
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from wengert.compile.machine.scalars.arithmetic import rounded
from wengert.compile.machine.scalars.composite import LN2, nonzero
from wengert.compile.machine.scalars.maths import PURE, call, exp
from wengert.compile.machine.scalars.rules import rule
from wengert.compile.machine.scalars.value import F64, I32, Pair, Value, constant_of, select

C128 = np.dtype(np.complex128)

# ------------------------------------------------------------------------------------------------------ arithmetic


def plus(x: Pair, y: Pair) -> Pair:
    return Pair(x.re + y.re, x.im + y.im)


def minus(x: Pair, y: Pair) -> Pair:
    return Pair(x.re - y.re, x.im - y.im)


def times(x: Pair, y: Pair) -> Pair:
    return Pair(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)


def choose(condition: Value, x: Pair, y: Pair) -> Pair:
    return Pair(select(condition, x.re, y.re), select(condition, x.im, y.im))


def number(like: Pair, value: complex) -> Pair:
    return Pair(like.re.like(value.real), like.re.like(value.imag))


def over(x: Pair, y: Pair) -> Pair:
    """Smith's algorithm, with the larger part of y as the pivot."""
    by_re = abs(y.re) >= abs(y.im)
    pivot, other = select(by_re, y.re, y.im), select(by_re, y.im, y.re)
    ratio = other / pivot
    factor = 1.0 / (pivot + other * ratio)
    re = select(by_re, x.re + x.im * ratio, x.re * ratio + x.im) * factor
    im = select(by_re, x.im - x.re * ratio, x.im * ratio - x.re) * factor
    by_zero = y.re.eq(0) & y.im.eq(0)
    zero = abs(y.re)
    return choose(by_zero, Pair(x.re / zero, x.im / zero), Pair(re, im))


rule("c", "add")(plus)
rule("c", "subtract")(minus)
rule("c", "multiply")(times)
rule("c", "divide")(over)


@rule("c", "square")
def _square(x: Pair) -> Pair:
    return times(x, x)


@rule("c", "negative")
def _negative(x: Pair) -> Pair:
    return Pair(-x.re, -x.im)


@rule("c", "conjugate")
def _conjugate(x: Pair) -> Pair:
    return Pair(x.re, -x.im)


@rule("c", "imag")
def _imag(x: Pair) -> Value:
    return x.im


@rule("c", "complex_of")
def _complex_of(re: Value, im: Value) -> Pair:
    return Pair(re, im)


@rule("c", "reciprocal")
def _reciprocal(x: Pair) -> Pair:
    by_re = abs(x.im) <= abs(x.re)
    pivot, other = select(by_re, x.re, x.im), select(by_re, x.im, x.re)
    ratio = other / pivot
    scale = pivot + other * ratio
    one = x.re.like(1)
    return Pair(select(by_re, one, ratio) / scale, select(by_re, -ratio, -one) / scale)


@rule("c", "absolute", "absolute_complex")
def _absolute(x: Pair) -> Value:
    return call("hypot", x.re, x.im)


@rule("c", "sign", "sign_complex")
def _sign(x: Pair) -> Pair:
    h = call("hypot", x.re, x.im)
    safe = nonzero(h)
    zero, one = h.like(0), h.like(1)
    re_infinite, im_infinite = x.re.is_infinite(), x.im.is_infinite()
    limit = Pair(
        select(re_infinite, one.intrinsic("copysign", x.re), zero),
        select(im_infinite, one.intrinsic("copysign", x.im), zero),
    )
    undefined = h.is_nan() | (re_infinite & im_infinite)
    value = choose(h.is_infinite(), limit, Pair(x.re / safe, x.im / safe))
    return choose(undefined, number(x, complex(np.nan, np.nan)), choose(h.eq(0), Pair(zero, zero), value))


def is_zero(x: Pair) -> Value:
    return x.re.eq(0) & x.im.eq(0)


def is_nan(x: Pair) -> Value:
    return x.re.op("fcmp uno", x.im, dtype=x.re.is_nan().dtype)


@rule("c", "scale")
def _scale(ct: Pair, p: Pair) -> Pair:
    product = times(ct, p)
    return choose(is_zero(ct) & is_nan(product), number(ct, 0), product)


@rule("c", "both")
def _both(x: Pair, y: Pair) -> Pair:
    product = times(x, y)
    return choose(is_nan(product) & (is_zero(x) | is_zero(y)), number(x, 0), product)


@rule("c", "one_minus_square")
def _one_minus_square(x: Pair) -> Pair:
    one = number(x, 1)
    return times(minus(one, x), plus(one, x))


@rule("c", "where")
def _where(c: Value, x: Pair, y: Pair) -> Pair:
    return choose(c, x, y)


@rule("c", "rint")
def _rint(x: Pair) -> Pair:
    return Pair(x.re.intrinsic("rint"), x.im.intrinsic("rint"))


# ----------------------------------------------------------------------------------------- order, logic, extrema


@rule("c", "equal")
def _equal(x: Pair, y: Pair) -> Value:
    return x.re.eq(y.re) & x.im.eq(y.im)


@rule("c", "not_equal")
def _not_equal(x: Pair, y: Pair) -> Value:
    return x.re.ne(y.re) | x.im.ne(y.im)


def _lexicographic(name: str, strict: str, how: str) -> None:
    @rule("c", name)
    def compare(x: Pair, y: Pair) -> Value:
        defined = ~(x.im.is_nan() | y.im.is_nan())
        return (x.re.compare(strict, y.re) & defined) | (x.re.eq(y.re) & x.im.compare(how, y.im))

    @rule("c", *{"ge": ("maximum",), "le": ("minimum",)}.get(how, ()))
    def extremum(x: Pair, y: Pair) -> Pair:
        return choose(is_nan(x) | compare(x, y), x, y)

    @rule("c", *{"ge": ("fmax",), "le": ("fmin",)}.get(how, ()))
    def number_extremum(x: Pair, y: Pair) -> Pair:
        return choose(is_nan(y) | compare(x, y), x, y)


_lexicographic("less", "lt", "lt")
_lexicographic("less_equal", "lt", "le")
_lexicographic("greater", "gt", "gt")
_lexicographic("greater_equal", "gt", "ge")

rule("c", "isnan")(is_nan)
rule("c", "logical_not")(is_zero)


@rule("c", "isinf")
def _isinf(x: Pair) -> Value:
    return x.re.is_infinite() | x.im.is_infinite()


@rule("c", "isfinite")
def _isfinite(x: Pair) -> Value:
    return (abs(x.re) < np.inf) & (abs(x.im) < np.inf)


# --------------------------------------------------------------------------------------------------------- functions


def library(symbol: str, *xs: Pair) -> Pair:
    """A function of <complex.h>."""
    code, dtype = xs[0].re.code, xs[0].re.dtype
    parts = [part.to(F64) for x in xs for part in (x.re, x.im)]
    found = code.call(symbol, "{ double, double }", [("double", part.text) for part in parts], PURE)
    result = Pair.of(code, found, C128)
    return Pair(result.re.to(dtype), result.im.to(dtype))


C_FUNCTIONS: Final = {
    "exp": "cexp", "log": "clog", "sqrt": "csqrt", "sin": "csin", "cos": "ccos", "tan": "ctan", "sinh": "csinh",
    "cosh": "ccosh", "tanh": "ctanh", "arcsin": "casin", "arccos": "cacos", "arctan": "catan", "arcsinh": "casinh",
    "arccosh": "cacosh", "arctanh": "catanh",
}  # fmt: skip


def _function(name: str, symbol: str) -> None:
    @rule("c", name)
    def function(x: Pair) -> Pair:
        return library(symbol, x)


if sys.platform != "win32":
    for _name, _symbol in C_FUNCTIONS.items():
        _function(_name, _symbol)

    @rule("c", "exp2")
    def _exp2(x: Pair) -> Pair:
        return library("cexp", Pair(x.re * LN2, x.im * LN2))

    @rule("c", "log2")
    def _log2(x: Pair) -> Pair:
        y = library("clog", x)
        return Pair(y.re * (1 / LN2), y.im * (1 / LN2))

    @rule("c", "log10")
    def _log10(x: Pair) -> Pair:
        y = library("clog", x)
        return Pair(y.re * (1 / np.log(10.0)), y.im * (1 / np.log(10.0)))

    @rule("c", "sech_squared")
    def _sech_squared(x: Pair) -> Pair:
        sech = _reciprocal(library("ccosh", x))
        return times(sech, sech)

    @rule("c", "power", "float_power")
    def _power(x: Pair, y: Pair) -> Pair:
        """C's cpow, but small integers by squaring, and 0 to any power as NumPy has it."""
        n, exponent = constant_of(y.re), constant_of(y.im)
        if n is not None and exponent == 0 and n == int(n) and 0 < n <= 3:
            return _integer_power(x, int(n))
        real = y.im.eq(0)
        zero_power = choose(y.re > 0, number(x, 0), number(x, complex(np.nan, np.nan)))
        small = real & (abs(y.re) < 100) & y.re.intrinsic("trunc").eq(y.re)
        count = abs(select(small, y.re, y.re.like(1))).to(I32)
        product = choose(count.eq(1), x, choose(count.eq(2), times(x, x), _power_by_squaring(x, count)))
        product = choose(y.re < 0, over(number(x, 1), _power_by_squaring(x, count)), product)
        power = choose(small, product, library("cpow", x, y))
        return choose(is_zero(y), number(x, 1), choose(is_zero(x), zero_power, power))


def _integer_power(x: Pair, n: int) -> Pair:
    return x if n == 1 else times(_integer_power(x, n - 1), x)


def _power_by_squaring(x: Pair, n: Value) -> Pair:
    """xⁿ for 0 < n < 128."""
    total = number(x, 1)
    for bit in range(7):
        total = choose((n & (1 << bit)).ne(0), times(total, x), total)
        x = times(x, x)
    return total


@rule("c", "expm1")
def _expm1(x: Pair) -> Pair:
    half = call("sin", x.im * 0.5)
    re = call("expm1", x.re) * call("cos", x.im) - 2.0 * half * half
    return Pair(re, exp(x.re) * call("sin", x.im))


@rule("c", "log1p")
def _log1p(x: Pair) -> Pair:
    shifted = x.re + 1.0
    return Pair(call("log", call("hypot", shifted, x.im)), call("arctan2", x.im, shifted))


@rule("c", "round")
def _round(x: Pair, *, decimals: int) -> Pair:
    return Pair(rounded(x.re, decimals=decimals), rounded(x.im, decimals=decimals))
