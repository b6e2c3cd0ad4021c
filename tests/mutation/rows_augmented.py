"""``+= -= *= /= **= //= %= @=`` on every kind of target: a product, so that no pair is forgotten."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .row import Program, Rows

ROWS = Rows()

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "iadd": operator.iadd,
    "isub": operator.isub,
    "imul": operator.imul,
    "itruediv": operator.itruediv,
    "ipow": operator.ipow,
    "ifloordiv": operator.ifloordiv,
    "imod": operator.imod,
}
Op = Callable[[Any, Any], Any]


# Targets. `op(v, w)` is what `v op= w` calls, and the name is bound to what it returns, as Python does.
def whole(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y = op(y, w)
    return y


def alias(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    b = y
    b = op(b, w)
    return y * b


def the_argument(op: Op, x: Any, w: Any) -> Any:
    b = x
    b = op(b, w)
    return b * x


def by_itself(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y = op(y, y)
    return y + w


def after_a_consumer(op: Op, x: Any, w: Any) -> Any:
    y = x * 1.25
    consumer = y * y
    y = op(y, w)
    return consumer * y


def view(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[1:]
    v = op(v, w[1:])
    return y


def reversed_view(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[::-1]
    v = op(v, w)
    return y, v


def view_of_view(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[::-1][1:][::2]
    v = op(v, w[:2])
    return y


def base_read_through_view(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[1:3]
    y = op(y, w)
    return v


def overlapping_views(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    a, b = y[:3], y[1:]
    a = op(a, w[1:])
    return b * 2.0


def overlapping_operand(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[1:] = op(y[1:], y[:-1])
    return y * w


def zero_d_view(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[1, ...]
    v = op(v, w[2])
    return y


def element_by_name(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    e = y[1]  # a scalar: a copy
    e = op(e, w[2])
    return y * e


def element(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[1] = op(y[1], w[3])
    y[-1] = op(y[-1], w[0])
    return y


def slice_(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[1:] = op(y[1:], w[:3])
    return y


def ellipsis(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[...] = op(y[...], w)
    return y


def mask(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    m = np.array([True, False, True, True])
    y[m] = op(y[m], w[1:])
    return y


def fancy(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[[2, 0]] = op(y[[2, 0]], w[:2])
    return y


def fancy_with_duplicates(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[[2, 2, 0]] = op(y[[2, 2, 0]], w[1:])  # the last one wins
    return y


def fancy_copy(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[[0, 2]]  # a copy, so y stays
    v = op(v, w[:2])
    return y[:2] * v


def transposed(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y.T
    v = op(v, w[:, ::-1].T)
    return y


def row(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[1]
    v = op(v, w[0])
    return y


def each_row(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    for r in y:
        r = op(r, w[0])
    return y


def column(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y[:, 1] = op(y[:, 1], w[:, 2])
    return y


def broadcast_row(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    y = op(y, w[1])
    return y


def swapped_newaxis(op: Op, x: Any, w: Any) -> Any:
    y = x.copy()
    v = y[:, None].swapaxes(0, 2)
    v = op(v, w[0][:, None, None])
    return y


FLAT = (whole, alias, the_argument, by_itself, after_a_consumer, view, reversed_view, view_of_view,
        base_read_through_view, overlapping_views, overlapping_operand, zero_d_view, element_by_name, element, slice_,
        ellipsis, mask, fancy, fancy_with_duplicates, fancy_copy)  # fmt: skip
MATRIX = (transposed, row, each_row, column, broadcast_row, swapped_newaxis)
SECOND = (whole, alias, view_of_view, overlapping_operand, element, fancy, each_row)


def traced_operand(x: Any) -> Any:
    return 0.4 * x + 0.93


def constant_operand(x: Any) -> Any:
    return np.linspace(0.6, 1.7, x.size).reshape(x.shape)


def _program(op: Op, target: Callable[[Op, Any, Any], Any], operand: Program) -> Program:
    def program(x: Any) -> Any:
        return target(op, x, operand(x))

    return program


for op_name, op in OPERATORS.items():
    for target in FLAT + MATRIX:
        ROWS.add(
            f"{op_name} {target.__name__}",
            _program(op, target, traced_operand),
            ("1d",) if target in FLAT else ("2d",),
            "works",
            second=op_name in ("imul", "ipow") and target in SECOND,
        )
    for target in (whole, alias, the_argument, view, base_read_through_view, element):
        ROWS.add(f"{op_name} {target.__name__} constant", _program(op, target, constant_operand), (), "works")
for target in FLAT[:-2]:
    ROWS.add(f"imul {target.__name__} complex", _program(operator.imul, target, traced_operand), ("complex",), "works")


def _number(op: Op, number: Any) -> Program:
    def program(x: Any) -> Any:
        b = x
        b = op(b, number)  # a scalar rebinds; a 0-d or larger array changes x, too
        return b * x

    return program


def _scalar(op: Op) -> Program:
    def program(x: Any) -> Any:
        w = 0.4 * x + 0.93  # of a 0-d array: a scalar
        c = w
        c = op(c, x)
        b = x
        b = op(b, w)
        return b * x, c * w

    return program


for op_name, op in OPERATORS.items():
    for number in (1.7, 2, np.float64(1.34), np.array(1.34)):
        ROWS.add(f"{op_name} number {number!r}", _number(op, number), ("float", "scalar", "0d", "1d"), "works",
                 second=number == 1.7)  # fmt: skip
    ROWS.add(f"{op_name} scalar", _scalar(op), ("float", "scalar", "0d"), "works", second=op_name in ("imul", "ipow"))


@ROWS.works("0d", "scalar", "float", second=True)
def the_case_of_the_fine_print(a):
    b = a
    b += 1
    return b * a  # 6 at 2.0, 9 at np.array(2.0)


@ROWS.works("scalar", "float")
def scalar_grows_into_an_array(x):
    y = x
    y += np.array([0.1, 0.2, 0.3])  # rebinds: a scalar is not a target
    return y * x


@ROWS.works("1d", second=True)
def element_unpacked_from_iteration(x):
    y = x.copy()
    total = 0.0
    for e in y:
        e *= e  # a scalar: y stays
        total += e
    return y * total


@ROWS.works("1d", "complex", second=True)
def cumulative_loop(x):
    y = x.copy()
    for i in range(1, len(y)):
        y[i] += y[i - 1] * x[i]
    return y


@ROWS.works("square", second=True)
def imatmul(x):
    y = x.copy()
    b = y
    y @= 0.5 * x
    return b


@ROWS.works("square")
def imatmul_by_itself(x):
    y = x.copy()
    v = y[0]
    y @= y
    return y, v


@ROWS.works("square", second=True)
def imatmul_of_a_view(x):
    y = x.copy()
    v = y[1:, 1:]
    v @= x[:2, :2]
    return y


@ROWS.works("square")
def imatmul_of_a_transpose_by_a_constant(x):
    y = x.copy()
    v = y.T
    v @= np.linspace(-1.0, 1.0, 9).reshape(3, 3)
    return y, v


@ROWS.works("1d")
def in_place_chain(x):
    y = x.copy()
    y += x
    y *= 2.0
    y -= 0.5
    y **= 2
    y /= x
    return y


@ROWS.works("1d", second=True)
def in_place_in_a_helper(x):
    def scale(buffer, by):
        buffer *= by

    y = x.copy()
    scale(y, x)
    scale(y[1:], y[:-1])
    return y


@ROWS.works("1d")
def in_place_in_a_list(x):
    parts = [x.copy(), 2.0 * x]
    parts[0] += parts[1]
    parts[1] *= parts[0]
    return parts


@ROWS.works("1d")
def in_place_on_an_attribute(x):
    class Holder:
        state: Any

    holder = Holder()
    holder.state = x.copy()
    kept = holder.state
    holder.state += x
    return kept * holder.state


@ROWS.works("1d")
def a_view_taken_before_many_writes(x):
    y = x.copy()
    v = y[1:3]
    first = v * 1.0
    y *= 2.0
    second = v * 1.0
    y[2] = x[0]
    third = v * 1.0
    v[0] = x[3]
    return first, second, third, y


@ROWS.works("1d", second=True)
def newton_in_place(x):
    y = np.ones_like(x)
    for _ in range(4):
        y -= (y * y - x) / (2.0 * y)
    return y


@ROWS.works("2d", second=True)
def gauss_seidel_in_place(x):
    y = x.copy()
    for _ in range(2):
        y[1:-1, 1:-1] = 0.0
        y[0, 1:] += 0.25 * y[0, :-1] * y[1, 1:]
        y[1, :-1] -= 0.5 * y[0, 1:] ** 2
    return y


@ROWS.raises(ValueError, "inplace matrix multiplication", "1d")
def imatmul_of_vectors(x):
    y = x.copy()
    y @= x
    return y


@ROWS.raises(ValueError, "mismatch in its core dimension", "square")
def imatmul_that_would_shrink(x):
    y = x.copy()
    y @= x[:, :2]
    return y


@ROWS.raises(TypeError, "bitwise_and", "1d")
def iand(x):
    y = x.copy()
    y &= x
    return y


@ROWS.raises(TypeError, "left_shift", "1d")
def ilshift(x):
    y = x.copy()
    y <<= 1
    return y
