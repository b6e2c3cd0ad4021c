"""Integer division, shifts, bits and powers. What C leaves undefined has NumPy's answers."""

from __future__ import annotations

from wengert.compile.machine.scalars.rules import rule, shared
from wengert.compile.machine.scalars.value import Value, select


@rule("iu", "bitwise_and")
def _and(x: Value, y: Value) -> Value:
    return x & y


@rule("iu", "bitwise_or")
def _or(x: Value, y: Value) -> Value:
    return x | y


@rule("iu", "bitwise_xor")
def _xor(x: Value, y: Value) -> Value:
    return x ^ y


@rule("iu", "invert")
def _invert(x: Value) -> Value:
    return ~x


@rule("iu", "left_shift")
def _left_shift(x: Value, n: Value) -> Value:
    width = 8 * x.dtype.itemsize
    inside = n.op("icmp ult", width, dtype=n.eq(0).dtype)  # a negative n counts as huge
    return select(inside, x << (n & (width - 1)), 0)


@rule("iu", "right_shift")
def _right_shift(x: Value, n: Value) -> Value:
    width = 8 * x.dtype.itemsize
    inside = n.op("icmp ult", width, dtype=n.eq(0).dtype)
    return x >> select(inside, n, width - 1) if x.dtype.kind == "i" else select(inside, x >> (n & (width - 1)), 0)


def _safe(x: Value, y: Value) -> tuple[Value, Value]:
    """A divisor that does not trap, and where y is 0."""
    by_zero = y.eq(0)
    unsafe = by_zero if y.dtype.kind == "u" else by_zero | (y.eq(-1) & x.eq(-(1 << (8 * x.dtype.itemsize - 1))))
    return select(unsafe, y.like(1), y), by_zero


@rule("iu", "divmod")
def _divmod(x: Value, y: Value) -> tuple[Value, Value]:
    """Rounded down; 0 and 0 where y is 0; the most negative number divided by −1 is itself."""
    safe, by_zero = _safe(x, y)
    if x.dtype.kind == "u":
        quotient, rest = x.op("udiv", safe), x.op("urem", safe)
    else:
        quotient, rest = x.op("sdiv", safe), x.op("srem", safe)
        adjust = rest.ne(0) & ((rest ^ safe) < 0)
        quotient, rest = select(adjust, quotient - 1, quotient), select(adjust, rest + safe, rest)
    return select(by_zero, x.like(0), quotient), select(by_zero, x.like(0), rest)


@rule("iu", "floor_divide", helper=True)
def _floor_divide(x: Value, y: Value) -> Value:
    return _divmod(x, y)[0]


@rule("iu", "remainder", helper=True)
def _remainder(x: Value, y: Value) -> Value:
    return _divmod(x, y)[1]


@rule("iu", "fmod", helper=True)
def _fmod(x: Value, y: Value) -> Value:
    safe, by_zero = _safe(x, y)
    return select(by_zero, x.like(0), x.op("urem" if x.dtype.kind == "u" else "srem", safe))


def _gcd(x: Value, y: Value) -> Value:
    """Euclid's algorithm on the absolute values."""
    code = x.code
    kind = x.type
    if x.dtype.kind == "i":
        x, y = abs(x), abs(y)
    a, b, rest = (code.fresh("gcd") for _ in range(3))
    start, loop, done = (code.fresh("gcd") for _ in range(3))
    code.line(f"br label {start}")
    code.label(start)
    code.line(f"br label {loop}")
    code.label(loop)
    code.line(f"{a} = phi {kind} [ {x.text}, {start} ], [ {b}, {start}.next ]")
    code.line(f"{b} = phi {kind} [ {y.text}, {start} ], [ {rest}, {start}.next ]")
    finished = code.op(f"icmp eq {kind} {b}, 0")
    code.line(f"br i1 {finished}, label {done}, label {start}.next")
    code.label(f"{start}.next")
    code.line(f"{rest} = urem {kind} {a}, {b}")
    code.line(f"br label {loop}")
    code.label(done)
    return Value(code, a, x.dtype)


gcd = shared("gcd", _gcd)  # its blocks are not the caller's
rule("iu", "gcd")(gcd)


@rule("iu", "lcm", helper=True)
def _lcm(x: Value, y: Value) -> Value:
    if x.dtype.kind == "i":
        x, y = abs(x), abs(y)
    divisor = gcd(x, y)
    safe = select(divisor.eq(0), divisor.like(1), divisor)
    return x.op("udiv", safe) * y


@rule("u", "power", helper=True)
def _power(x: Value, n: Value) -> Value:
    """By squaring, modulo 2^width; signed exponents can be negative, which NumPy refuses, and are left to it."""
    total = x.like(1)
    for bit in range(8 * x.dtype.itemsize):
        total = select((n & (1 << bit)).ne(0), total * x, total)
        x = x * x
    return total
