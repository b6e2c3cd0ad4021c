"""Rewrites of arithmetic. Each is exact, for NaN, infinities and −0.0 too, unless its row in `simplify` says `rounds`.

`s` is the sweep, `e` the line; x, y, z are its operands.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.compile.passes.editing import Atom
from wengert.compile.passes.facts import NONZERO, PLUS, POSITIVE
from wengert.compile.passes.sweep import Line, Sweep, line
from wengert.program import Equation, Literal

Found = Atom | Line | None


def real(s: Sweep, atom: Atom) -> Any:
    """The number that all elements of an atom are, where it is a real one."""
    value = s.number(atom)
    return None if value is None or isinstance(value, complex | np.complexfloating) else value


def is_float(e: Equation) -> bool:
    return e.outputs[0].aval.dtype.kind == "f"


def typed(s: Sweep, value: Any, like: Atom) -> Literal:
    """A literal that promotes as `like` does."""
    aval = like.aval
    return Literal(type(value)(value) if aval.weak else aval.dtype.type(value))


def negated(s: Sweep, e: Equation, atom: Atom) -> Atom | None:
    """y where the atom is −y: of the kind of the line's result, as the −0 of an integer has no sign."""
    inner = s.maker(atom, "negative")
    return inner.inputs[0] if inner is not None and atom.aval.dtype.kind == e.outputs[0].aval.dtype.kind else None


def power_of_two(value: Any) -> bool:
    """Whether a float is ±2ᵏ, with a reciprocal that is exact also in float16."""
    return (
        value == value and abs(value) < math.inf and abs(math.frexp(value)[0]) == 0.5 and 2**-12 <= abs(value) <= 2**12
    )


# ------------------------------------------------------------------------------------------------------------- sums


def add_zero(s: Sweep, e: Equation) -> Found:
    """x + 0 = x for integers, for −0.0, and where x is never −0.0."""
    for x, y in (e.inputs, e.inputs[::-1]):
        value = s.number(y)
        if value is not None and value == 0:
            minus = np.signbit(value) if isinstance(value, float | np.floating) else False
            if minus or x.aval.dtype.kind != "f" or s.fact(x).says(PLUS):
                return x if x.aval.dtype.kind != "c" else None
    return None


def add_negative(s: Sweep, e: Equation) -> Found:
    """x + (−y) = x − y,  (−x) + y = y − x"""
    for x, y in (e.inputs, e.inputs[::-1]):
        inner = negated(s, e, y)
        if inner is not None:
            return line("subtract", x, inner)
    return None


def add_same(s: Sweep, e: Equation) -> Found:
    """x + x = 2 x"""
    x, y = e.inputs
    return line("multiply", typed(s, 2, x), x) if x is y and is_float(e) else None


def subtract_zero(s: Sweep, e: Equation) -> Found:
    """x − 0 = x: −0.0 − 0.0 is −0.0"""
    x, y = e.inputs
    value = real(s, y)
    return x if value is not None and value == 0 and not np.signbit(value) else None


def subtract_negative(s: Sweep, e: Equation) -> Found:
    """x − (−y) = x + y"""
    x, y = e.inputs
    inner = negated(s, e, y)
    return None if inner is None else line("add", x, inner)


def negative_negative(s: Sweep, e: Equation) -> Found:
    """−(−x) = x"""
    negative = s.maker(e.inputs[0], "negative")
    return None if negative is None else negative.inputs[0]


def negative_product(s: Sweep, e: Equation) -> Found:
    """−(c x) = (−c) x, where nothing else uses c x"""
    product = s.maker(e.inputs[0], "multiply")
    if product is None or not s.once(e.inputs[0]) or not is_float(e):
        return None
    for c, x in (product.inputs, product.inputs[::-1]):
        value = _float(c)
        if value is not None:
            return line("multiply", Literal(-value) if c.aval.weak else typed(s, -value, c), x)
    return None


# --------------------------------------------------------------------------------------------------------- products


def multiply_one(s: Sweep, e: Equation) -> Found:
    """1 x = x,  x 1 = x"""
    for x, y in (e.inputs, e.inputs[::-1]):
        value = s.number(y)
        if value is not None and value == 1 and x.aval.dtype.kind != "c":
            return x
    return None


def multiply_minus_one(s: Sweep, e: Equation) -> Found:
    """−1 x = −x"""
    for x, y in (e.inputs, e.inputs[::-1]):
        value = real(s, y)
        if value is not None and value == -1 and x.aval.dtype.kind == "f":
            return line("negative", x)
    return None


def multiply_same(s: Sweep, e: Equation) -> Found:
    """x x = x²"""
    x, y = e.inputs
    return line("square", x) if x is y and is_float(e) else None


def multiply_negatives(s: Sweep, e: Equation) -> Found:
    """(−x) (−y) = x y,  (−x) c = x (−c)"""
    x, y = e.inputs
    one, other = negated(s, e, x), negated(s, e, y)
    if one is not None and other is not None:
        return line("multiply", one, other)
    for inner, c in ((one, y), (other, x)):
        if inner is not None and isinstance(c, Literal) and isinstance(c.value, float | np.floating):
            return line("multiply", typed(s, -c.value, c), inner)
    return None


def multiply_twice(s: Sweep, e: Equation) -> Found:
    """a (b x) = (a b) x where a or b is ±2ᵏ, and the inner product cannot overflow where the outer one does not.

    It rounds where the inner product is subnormal.
    """
    if not is_float(e):
        return None
    for a, y in (e.inputs, e.inputs[::-1]):
        inner = s.maker(y, "multiply")
        outer_value = _float(a)
        if inner is None or outer_value is None or not s.once(y) or y.aval.dtype != e.outputs[0].aval.dtype:
            continue
        for b, x in (inner.inputs, inner.inputs[::-1]):
            value = _float(b)
            if value is None or x.aval.dtype != y.aval.dtype or not (power_of_two(value) or power_of_two(outer_value)):
                continue
            if abs(value) <= 1 or abs(outer_value) >= 1:
                product = y.aval.dtype.type(outer_value * value)
                if power_of_two(product) or 1e-4 < abs(product) < 1e4:
                    return line("multiply", typed(s, product.item(), b if b.aval.weak and a.aval.weak else y), x)
    return None


def _float(atom: Atom) -> float | None:
    """The value of a literal that is a real, finite number other than 0."""
    if not isinstance(atom, Literal) or isinstance(atom.value, bool | complex | np.complexfloating | np.bool_):
        return None
    value = float(atom.value)
    return value if value and abs(value) < math.inf else None


def divide_one(s: Sweep, e: Equation) -> Found:
    """x / 1 = x"""
    x, y = e.inputs
    value = s.number(y)
    return x if value is not None and value == 1 and x.aval.dtype.kind != "c" else None


def divide_power_of_two(s: Sweep, e: Equation) -> Found:
    """x / ±2ᵏ = x (±2⁻ᵏ)"""
    x, y = e.inputs
    if not isinstance(y, Literal) or not is_float(e):
        return None
    value = _float(y)
    if value is None or not power_of_two(value):
        return None
    return line("multiply", x, typed(s, 1 / value, y) if y.aval.dtype.kind == "f" else Literal(1 / value))


def divide_reciprocal(s: Sweep, e: Equation) -> Found:
    """(1 / y) / y = (1 / y)²: one division less, as in the derivative of a reciprocal; within 1 ulp"""
    x, y = e.inputs
    inner = s.maker(x, "divide", "reciprocal")
    if inner is None or inner.inputs[-1] is not y or not is_float(e) or y.aval.dtype.kind != "f":
        return None
    return line("square", x) if len(inner.inputs) == 1 or real(s, inner.inputs[0]) == 1 else None


# ----------------------------------------------------------------------------------------------------------- powers
# NumPy's own loop for a single exponent of −1, ½ or 2 is that of reciprocal, sqrt or square.


SHORTCUTS = {2: "square", 0.5: "sqrt", -1: "reciprocal", 1: "positive"}


def power_shortcut(s: Sweep, e: Equation) -> Found:
    """x**1 = x,  x**2 = x²,  x**½ = √x,  x**−1 = 1/x  (of floats, for an exponent without axes)"""
    x, y = e.inputs
    if not isinstance(y, Literal) or not is_float(e) or x.aval.dtype.kind != "f":
        return None
    name = SHORTCUTS.get(real(s, y))
    return None if name is None else line(name, x)


def power_product(s: Sweep, e: Equation) -> Found:
    """x**3 = x x²,  x**4 = (x²)²,  x**−2 = (1/x)²,  x**−3 = (1/x) (1/x)²: within 2 ulp, in a hundredth of the time

    The reciprocal comes first, so that x² neither over- nor underflows where the result does not.
    """
    x, y = e.inputs
    value = real(s, y)
    if value not in (3, 4, -2, -3) or not isinstance(y, Literal) or not is_float(e) or x.aval.dtype.kind != "f":
        return None
    if x.aval.dtype != e.outputs[0].aval.dtype or x.aval.weak:
        return None
    if value < 0:
        x = s.new("reciprocal", x)
    square = s.new("square", x)
    return line("square", x if value == -2 else square) if value in (-2, 4) else line("multiply", x, square)


def square_of_absolute(s: Sweep, e: Equation) -> Found:
    """|x|² = x²,  (−x)² = x²"""
    inner = s.maker(e.inputs[0], "absolute", "negative", "fabs")
    return None if inner is None or inner.inputs[0].aval.dtype.kind != "f" else line("square", inner.inputs[0])


def absolute_negative(s: Sweep, e: Equation) -> Found:
    """|−x| = |x|"""
    inner = s.maker(e.inputs[0], "negative")
    return None if inner is None else line(e.primitive.name, inner.inputs[0])


def absolute_positive(s: Sweep, e: Equation) -> Found:
    """|x| = x where no x has a sign"""
    return e.inputs[0] if is_float(e) and s.fact(e.inputs[0]).says(POSITIVE) else None


# -------------------------------------------------------------------------------------------------- the strong zero
# scale(ct, p) is ct p, and 0 where ct is 0 even if p is infinite or NaN; both(x, y) is so for a 0 on either side.


def scale_plain(s: Sweep, e: Equation) -> Found:
    """scale(ct, p) = ct p where no element of ct is 0, where all of p are finite, and where ct is p"""
    ct, p = e.inputs
    if ct is p or s.fact(ct).says(NONZERO) or (s.fact(p).finite and not _complex(e)):
        return line("multiply", ct, p)
    return None


def scale_zero(s: Sweep, e: Equation) -> Found:
    """scale(0, p) = 0 where no p has a sign that it would keep"""
    ct, p = e.inputs
    aval = e.outputs[0].aval
    if not _plus_zero(s, ct) or not s.fact(p).says(POSITIVE) or aval.dtype.kind != "f":
        return None
    zero = Literal(aval.dtype.type(0))
    return line("broadcast_to", zero, shape=aval.shape) if aval.shape else zero


def both_plain(s: Sweep, e: Equation) -> Found:
    """both(x, y) = x y where NaN can come from neither 0 ∞ nor 0 NaN"""
    x, y = e.inputs
    if _complex(e):
        return None
    one, other = s.fact(x), s.fact(y)
    safe = one.finite or other.says(NONZERO), other.finite or one.says(NONZERO)
    return line("multiply", x, y) if x is y or all(safe) else None


def both_known(s: Sweep, e: Equation) -> Found:
    """both(x, y) = scale(x, y) where only x can be a 0 that meets ∞ or NaN, and the other way round"""
    x, y = e.inputs
    if _complex(e):
        return None
    one, other = s.fact(x), s.fact(y)
    if one.finite or other.says(NONZERO):  # a 0 of y never meets ∞ or NaN
        return line("scale", x, y)
    if other.finite or one.says(NONZERO):
        return line("scale", y, x)
    return None


def scale_mask(s: Sweep, e: Equation) -> Found:
    """scale(c, p) = where(c, p, 0) for a mask c, where no p has a sign that its product with 0 would keep"""
    c, p = e.inputs
    if c.aval.dtype.kind != "b" or p.aval.dtype.kind != "f" or not s.fact(p).says(POSITIVE):
        return None
    return line("where", c, p, Literal(p.aval.dtype.type(0)))


def _complex(e: Equation) -> bool:
    return any(atom.aval.dtype.kind == "c" for atom in e.inputs)


def positive(s: Sweep, e: Equation) -> Found:
    """+x = x,  conj x = x,  Re x = x  of reals"""
    return e.inputs[0] if e.inputs[0].aval.dtype.kind in "fiu" else None


# ----------------------------------------------------------------------------------------------------------- choosing


def where_known(s: Sweep, e: Equation) -> Found:
    """where(True, x, y) = x,  where(c, x, x) = x"""
    c, x, y = e.inputs
    value = s.number(c)
    if value is None and x is not y:
        return None
    chosen = x if value is None or value else y
    aval = e.outputs[0].aval
    if chosen.aval.weak:
        if not isinstance(chosen, Literal):
            return None
        chosen = Literal(aval.dtype.type(chosen.value))
    elif chosen.aval.dtype != aval.dtype:
        chosen = s.new("cast", chosen, dtype=aval.dtype)
    return chosen if chosen.aval.shape == aval.shape else line("broadcast_to", chosen, shape=aval.shape)


def where_not(s: Sweep, e: Equation) -> Found:
    """where(¬c, x, y) = where(c, y, x)"""
    c, x, y = e.inputs
    inner = s.maker(c, "logical_not")
    return None if inner is None else line("where", inner.inputs[0], y, x)


def not_not(s: Sweep, e: Equation) -> Found:
    """¬¬c = c"""
    inner = s.maker(e.inputs[0], "logical_not")
    return None if inner is None or inner.inputs[0].aval.dtype.kind != "b" else inner.inputs[0]


def add_choices(s: Sweep, e: Equation) -> Found:
    """where(c, x, 0) + where(c, 0, y) = where(c, x, y) where no x or y is −0.0"""
    one, other = (s.maker(atom, "where") for atom in e.inputs)
    if one is None or other is None or one.inputs[0] is not other.inputs[0] or not is_float(e):
        return None
    for first, second in ((one, other), (other, one)):
        c, x, zero = first.inputs
        _, also, y = second.inputs
        if _plus_zero(s, zero) and _plus_zero(s, also) and s.fact(x).says(PLUS) and s.fact(y).says(PLUS):
            return line("where", c, x, y)
    return None


def _plus_zero(s: Sweep, atom: Atom) -> bool:
    value = real(s, atom)
    return value is not None and value == 0 and not np.signbit(value)


# ------------------------------------------------------------------------------------------------------- broadcasting


def narrow(s: Sweep, atom: Atom) -> Atom:
    """What an atom is a broadcast of, with its dtype; else the atom."""
    if not atom.aval.shape:
        return atom
    number = s.literal(atom)
    if number is not None:
        return number
    eqn = s.maker(atom, "broadcast_to")
    if eqn is not None and not eqn.inputs[0].aval.weak:
        return eqn.inputs[0]
    return atom


def broadcast_late(s: Sweep, e: Equation) -> Found:
    """f(broadcast x, y) = f(x, y), broadcast only where y is not as large: one computation for equal elements

    It rounds where NumPy's loops over one number and over many differ in the last bit.
    """
    operands = [narrow(s, atom) for atom in e.inputs]
    if e.primitive.name == "power" and (not isinstance(operands[1], Literal) or operands[1].value in SHORTCUTS):
        operands[1] = e.inputs[1]  # for one exponent NumPy has loops of its own, which differ at −∞ and −0.0
    if all(x is y for x, y in zip(operands, e.inputs, strict=True)):
        return None
    shape = np.broadcast_shapes(*(atom.aval.shape for atom in operands))
    if shape == e.outputs[0].aval.shape:
        return line(e.primitive.name, *operands, **e.params)
    if e.outputs[0].aval.size == 0:
        return None
    return line("broadcast_to", s.new(e.primitive.name, *operands, **e.params), shape=e.outputs[0].aval.shape)
