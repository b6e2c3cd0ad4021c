"""Composite functions, by the formulas of `ops/elementwise.py`."""

from __future__ import annotations

import numpy as np

from wengert.compile.machine.scalars.maths import call, exp
from wengert.compile.machine.scalars.rules import rule
from wengert.compile.machine.scalars.value import Value, select

LN2 = float(np.log(2.0))


@rule("f", "logistic")
def _logistic(x: Value) -> Value:
    return 1.0 / (1.0 + exp(-x))


@rule("f", "logistic2")
def _logistic2(x: Value) -> Value:
    return 1.0 / (1.0 + call("exp2", -x))


@rule("iuf", "gap")
def _gap(x: Value, y: Value) -> Value:
    return select(x.eq(y), x.like(0), x - y)


@rule("f", "logaddexp", helper=True)
def _logaddexp(x: Value, y: Value) -> Value:
    return _log_of_sum(x, y, LN2, "exp", 1.0)


@rule("f", "logaddexp2", helper=True)
def _logaddexp2(x: Value, y: Value) -> Value:
    return _log_of_sum(x, y, 1.0, "exp2", 1 / LN2)


def _log_of_sum(x: Value, y: Value, of_two: float, power: str, factor: float) -> Value:
    """max + log(1 + e^−|x − y|), and for equal numbers (also infinities) x + log 2; NaN from the difference."""
    difference = x - y
    tail = call("log1p", call(power, -abs(difference))) * x.dtype.type(factor)
    value = select(difference > 0, x, y) + tail
    return select(x.eq(y), x + of_two, select(difference.is_nan(), difference, value))


def nonzero(h: Value) -> Value:
    """h, and 1 where h is 0."""
    return select(h.eq(0), h.like(1), h)


@rule("f", "unit")
def _unit(x: Value, y: Value) -> Value:
    return x / nonzero(call("hypot", x, y))


@rule("f", "one_minus_square")
def _one_minus_square(x: Value) -> Value:
    return (1.0 - x) * (1.0 + x)


@rule("iu", "one_minus_square")
def _integer_one_minus_square(x: Value) -> Value:
    return (1 - x) * (1 + x)


@rule("f", "sech_squared")
def _sech_squared(x: Value) -> Value:
    # 4e/(1 + e)² with e = e^−2|x|, which does not overflow
    e = exp(-2.0 * abs(x))
    one_plus = 1.0 + e
    return 4.0 * e / (one_plus * one_plus)


@rule("f", "sinc")
def _sinc(x: Value) -> Value:
    y = x * np.pi
    y = select(y.eq(0), y.like(np.finfo(y.dtype).eps), y)
    return call("sin", y) / y
