"""One list, or more, for each row of simplify: where it applies, and where it must not."""

from __future__ import annotations

import numpy as np

from tests.compile.handmade import B1, F4, F8, I8, Hand
from wengert.ops.gathering import SLOT
from wengert.program import Literal

ALL = slice(None)
APPLIES = []  # (name of the row, function of a Hand that returns outputs)
REFUSED = []


def applies(*rows):
    def enter(function):
        APPLIES.extend((row, function) for row in rows)
        return function

    return enter


def refused(*rows):
    def enter(function):
        REFUSED.extend((row, function) for row in rows)
        return function

    return enter


def each(rows, enter, *functions):
    for function in functions:
        enter(*rows)(function)


V = (4,)
M = (3, 4)

# ----------------------------------------------------------------------------------------------------------------- sums

each(
    ["add_zero"],
    applies,
    lambda h: h("add", h.input(V), -0.0),
    lambda h: h("add", -0.0, h.input()),
    lambda h: h("add", h.input(V, I8), 0),
    lambda h: h("add", h("square", h.input(V)), 0.0),
    lambda h: h("add", h("exp", h.input(V)), np.zeros(V)),
    lambda h: h("add", h("add", h.input(V), 1.0), 0.0),
    lambda h: h("add", h("sum", h.input(M), axis=(-1,)), 0.0),
    lambda h: h("add", h("maximum", h("absolute", h.input(V)), 1.0), -0.0),
)
each(
    ["add_zero"],
    refused,
    lambda h: h("add", h.input(V), 0.0),
    lambda h: h("add", h.input(V), 0),
    lambda h: h("add", 0.0, h("negative", h("square", h.input(V)))),
    lambda h: h("add", h("multiply", h.input(V), 2.0), 0.0),
    lambda h: h("add", h("sqrt", h.input(V)), 0.0),
    lambda h: h("add", h.input(V, B1), 0),
    lambda h: h("add", h.input(weak=True), -0.0),
    lambda h: h("add", h.input(V, F4), np.float64(-0.0)),
)
each(
    ["add_negative"],
    applies,
    lambda h: h("add", h.input(V), h("negative", h.input(V))),
    lambda h: h("add", h("negative", h.input(V)), h.input()),
    lambda h: h("add", h("negative", h.input()), h.input()),
    lambda h: h("add", h("negative", h.input(V, I8)), h.input(V, I8)),
)
each(
    ["add_negative"],
    refused,
    lambda h: h("add", h("negative", h.input(V, I8)), h.input(V)),
    lambda h: h("add", h.input(V, F4), h("negative", h.input(weak=True))),
)


@applies("add_same")
def _(h):
    x = h.input()
    return h("add", x, x)


@applies("add_same")
def _(h):
    x = h.input(V, F4)
    return h("add", x, x)


@refused("add_same", "multiply_same")
def _(h):
    x, y = h.input(V), h.input(V)
    return h("add", x, y), h("multiply", x, y)


each(
    ["subtract_zero"],
    applies,
    lambda h: h("subtract", h.input(), 0.0),
    lambda h: h("subtract", h.input(V), 0),
    lambda h: h("subtract", h.input(V), np.zeros(V)),
)
each(
    ["subtract_zero"],
    refused,
    lambda h: h("subtract", h.input(), -0.0),
    lambda h: h("subtract", 0.0, h.input(V)),
    lambda h: h("subtract", h.input((1,)), np.zeros(V)),
)
each(
    ["subtract_negative"],
    applies,
    lambda h: h("subtract", h.input(V), h("negative", h.input(V))),
    lambda h: h("subtract", h.input(), h("negative", h.input())),
)
each(
    ["subtract_negative"],
    refused,
    lambda h: h("subtract", h("negative", h.input()), h.input()),
    lambda h: h("subtract", h.input(V), h("negative", h.input(V, I8))),
)
each(["negative_negative"], applies, lambda h: h("negative", h("negative", h.input(V))))
each(
    ["negative_product"],
    applies,
    lambda h: h("negative", h("multiply", 2.5, h.input())),
    lambda h: h("negative", h("multiply", h.input(V), 2)),
    lambda h: h("negative", h("multiply", np.float32(2), h.input(V, F4))),
)
each(
    ["negative_product"],
    refused,
    lambda h: h("negative", h("multiply", h.input(V), h.input(V))),
    lambda h: h("negative", h("multiply", 0, h.input(V))),
    lambda h: h("negative", h("multiply", 2, h.input(V, I8))),
)


@refused("negative_product")
def _(h):
    y = h("multiply", 2.0, h.input(V))
    return h("negative", y), y


# ------------------------------------------------------------------------------------------------- products, quotients

each(
    ["multiply_one"],
    applies,
    lambda h: h("multiply", h.input(V), 1.0),
    lambda h: h("multiply", 1, h.input()),
    lambda h: h("multiply", np.ones(M), h.input(M)),
    lambda h: h("multiply", h.input(V, I8), 1),
)
each(
    ["multiply_one"],
    refused,
    lambda h: h("multiply", np.ones(M), h.input(V)),
    lambda h: h("multiply", h.input(V, F4), np.float64(1)),
    lambda h: h("multiply", h.input(V, I8), 1.0),
    lambda h: h("multiply", h.input(weak=True), 1.0),
    lambda h: h("multiply", h.input(V, np.complex128), 1.0),
)
each(
    ["multiply_minus_one"],
    applies,
    lambda h: h("multiply", h.input(V), -1.0),
    lambda h: h("multiply", -1, h.input()),
)
each(["multiply_minus_one"], refused, lambda h: h("multiply", -1, h.input(V, I8)))


@applies("multiply_same")
def _(h):
    x = h.input()
    return h("multiply", x, x)


each(
    ["multiply_negatives"],
    applies,
    lambda h: h("multiply", h("negative", h.input()), h("negative", h.input())),
    lambda h: h("multiply", h("negative", h.input()), 2.5),
    lambda h: h("multiply", 0.0, h("negative", h.input())),
    lambda h: h("multiply", np.float32(0.5), h("negative", h.input(V, F4))),
)
each(
    ["multiply_negatives"],
    refused,
    lambda h: h("multiply", h("negative", h.input()), h.input()),
    lambda h: h("multiply", h("negative", h.input(V)), 0),
    lambda h: h("multiply", h("negative", h.input(V, I8)), 2.5),
)
each(
    ["multiply_twice"],
    applies,
    lambda h: h("multiply", 100.0, h("multiply", 2, h.input())),
    lambda h: h("multiply", h("multiply", h.input(), 0.3), 2.0),
    lambda h: h("multiply", 2.0, h("multiply", 0.5, h.input(V))),
    lambda h: h("multiply", -0.5, h("multiply", 0.5, h.input(V, F4))),
    lambda h: h("multiply", np.float64(3.0), h("multiply", h.input(), 4.0)),
)
each(
    ["multiply_twice"],
    refused,
    lambda h: h("multiply", 0.3, h("multiply", 0.7, h.input())),
    lambda h: h("multiply", 0.5, h("multiply", 2.0, h.input())),
    lambda h: h("multiply", np.float64(2.0), h("multiply", h.input(V, F4), 2.0)),
    lambda h: h("multiply", 2, h("multiply", h.input(V, I8), 2)),
    lambda h: h("multiply", np.inf, h("multiply", h.input(), 2.0)),
    lambda h: h("multiply", 0.0, h("multiply", h.input(), 2.0)),
)
each(["divide_one"], applies, lambda h: h("divide", h.input(), 1.0), lambda h: h("divide", h.input(V), 1))
each(["divide_one"], refused, lambda h: h("divide", h.input(V, I8), 1), lambda h: h("divide", 1.0, h.input()))
each(
    ["divide_power_of_two"],
    applies,
    lambda h: h("divide", h.input(), 4.0),
    lambda h: h("divide", h.input(V), -0.5),
    lambda h: h("divide", h.input(V, I8), 2),
    lambda h: h("divide", h.input(V, F4), np.float32(1024)),
)
each(
    ["divide_power_of_two"],
    refused,
    lambda h: h("divide", h.input(), 3.0),
    lambda h: h("divide", h.input(), 0.0),
    lambda h: h("divide", h.input(), np.inf),
    lambda h: h("divide", h.input(), 5e-324),
    lambda h: h("divide", 2.0, h.input()),
    lambda h: h("divide", h.input(V, F4), np.int64(2)),
)


@applies("divide_reciprocal")
def _(h):
    y = h.input()
    return h("divide", h("divide", 1, y), y)


@applies("divide_reciprocal")
def _(h):
    y = h.input(V)
    return h("divide", h("reciprocal", y), y)


@refused("divide_reciprocal")
def _(h):
    y, z = h.input(), h.input()
    return h("divide", h("divide", 2.0, y), y), h("divide", h("divide", 1.0, y), z), h("divide", y, h("divide", 1.0, y))


# --------------------------------------------------------------------------------------------------------------- powers

each(
    ["power_shortcut"],
    applies,
    lambda h: h("power", h.input(V), 2),
    lambda h: h("power", h.input(V), 0.5),
    lambda h: h("power", h.input(), -1.0),
    lambda h: h("power", h.input(V), 1.0),
    lambda h: h("power", h.input(V, F4), 2.0),
    lambda h: h("power", h.input(), 0.5),
)
each(
    ["power_shortcut"],
    refused,
    lambda h: h("power", h.input(V, I8), 2),
    lambda h: h("power", h.input(V, F4), np.float64(2)),
    lambda h: h("power", h.input(V), np.full(V, 0.5)),
    lambda h: h("power", 2.0, h.input()),
)
each(
    ["power_product"],
    applies,
    *(lambda h, n=n: h("power", h.input(V), n) for n in (3, 4, -2, -3, 3.0)),
    *(lambda h, n=n: h("power", h.input(), n) for n in (3, 4, -2, -3)),
)
each(
    ["power_product"],
    refused,
    lambda h: h("power", h.input(V), 2.5),
    lambda h: h("power", h.input(V, I8), 3),
    lambda h: h("power", h.input(V, F4), np.float64(3)),
)
each(
    ["square_of_absolute"],
    applies,
    lambda h: h("square", h("absolute", h.input())),
    lambda h: h("square", h("negative", h.input(V))),
)
each(["square_of_absolute"], refused, lambda h: h("square", h("absolute", h.input(V, I8))))
each(["absolute_negative"], applies, lambda h: h("absolute", h("negative", h.input())))
each(
    ["absolute_positive"],
    applies,
    lambda h: h("absolute", h("square", h.input())),
    lambda h: h("absolute", h("sqrt", h("exp", h.input(V)))),
    lambda h: h("absolute", h("add", h("square", h.input()), 1.0)),
    lambda h: h("absolute", h("divide", h("less", h.input(V), h.input(V)), h("sum", h.input(V, B1), axis=(-1,)))),
    lambda h: h("absolute", h("multiply", h("exp", h.input(V)), h("absolute", h.input(V)))),
)
each(
    ["absolute_positive"],
    refused,
    lambda h: h("absolute", h.input()),
    lambda h: h("absolute", h("sqrt", h.input())),
    lambda h: h("absolute", h("subtract", h("square", h.input()), h("square", h.input()))),
    lambda h: h("absolute", h("maximum", h.input(V), 0.0)),
)
each(
    ["positive"],
    applies,
    lambda h: h("positive", h.input()),
    lambda h: h("conjugate", h.input(V)),
    lambda h: h("real", h.input(V)),
)
each(["positive"], refused, lambda h: h("real", h.input(V, np.complex128)), lambda h: h("conjugate", h.input(V, "c16")))

# -------------------------------------------------------------------------------------------------------- strong zeros


@applies("scale_plain", "both_plain")
def _(h):
    x = h.input()
    return h("scale", x, x), h("both", x, x)


each(
    ["scale_plain"],
    applies,
    lambda h: h("scale", 2.0, h.input()),
    lambda h: h("scale", np.full(V, -3.0), h.input(V)),
    lambda h: h("scale", h.input(), 2.0),
    lambda h: h("scale", h.input(), 0.0),
    lambda h: h("scale", h.input(V), -0.0),
    lambda h: h("scale", h("cosh", h.input()), h.input()),
    lambda h: h("scale", h("add", h("square", h.input(V)), 1), h.input(V)),
    lambda h: h("scale", h.input(V), h("equal", h.input(V), h.input(V))),
    lambda h: h("scale", h.input(V), h("subtract", h("less", h.input(V), 1.0), h("multiply", 0.5, h.input(V, B1)))),
    lambda h: h("scale", np.nan, h.input()),
)
each(
    ["scale_plain"],
    refused,
    lambda h: h("scale", h.input(), h.input()),
    lambda h: h("scale", 0.0, h.input()),
    lambda h: h("scale", h.input(), np.inf),
    lambda h: h("scale", h("exp", h.input()), h.input()),
    lambda h: h("scale", h.input(V), np.array([1.0, np.nan, 2.0, np.inf])),
    lambda h: h("scale", np.array([1.0, 0.0, 2.0, 3.0]), h.input(V)),
    lambda h: h("scale", h.input(V, B1), h.input(V)),
    lambda h: h("scale", h.input(), h("tanh", h.input())),
    lambda h: h("scale", h.input(), h("add", h("equal", h.input(), 0.0), h.input())),
)
each(
    ["both_plain"],
    applies,
    lambda h: h("both", 2.0, h.input()),
    lambda h: h("both", h.input(V), np.full(V, -0.5)),
    lambda h: h("both", h("cosh", h.input()), h("cosh", h.input())),
)
each(
    ["both_plain"],
    refused,
    lambda h: h("both", h.input(), h.input()),
    lambda h: h("both", 0.0, h.input()),
    lambda h: h("both", h.input(), np.nan),
    lambda h: h("both", np.array([0.0, 1, 2, 3]), h.input(V)),
)
each(
    ["both_known"],
    applies,
    lambda h: h("both", np.array([0.0, 1, 2, 3]), h.input(V)),
    lambda h: h("both", h.input(), 0.0),
    lambda h: h("both", h.input(), h("cosh", h.input())),
    lambda h: h("both", h.input(), np.inf),
)
each(
    ["both_known"],
    refused,
    lambda h: h("both", h.input(), h.input()),
    lambda h: h("both", h.input(V), np.array([0.0, np.inf, 1, 2])),
)
each(
    ["scale_zero"],
    applies,
    lambda h: h("scale", np.float64(0.0), h("exp", h.input())),
    lambda h: h("scale", np.zeros(V), h("square", h.input(M))),
)
each(
    ["scale_zero"],
    refused,
    lambda h: h("scale", 0.0, h.input()),
    lambda h: h("scale", -0.0, h("exp", h.input())),
)
each(
    ["scale_mask"],
    applies,
    lambda h: h("scale", h.input(V, B1), h("exp", h.input(V))),
    lambda h: h("scale", h("isfinite", h.input((3, 1))), h("exp", h.input(V, F4))),
)
each(
    ["scale_mask"],
    refused,
    lambda h: h("scale", h.input(V, B1), h.input(V)),
    lambda h: h("scale", h.input(V, I8), h("exp", h.input(V))),
)

# ------------------------------------------------------------------------------------------------------------- choosing

each(
    ["where_known"],
    applies,
    lambda h: h("where", np.bool_(True), h.input(V), 0.5),
    lambda h: h("where", False, h.input(V), h.input(V)),
    lambda h: h("where", np.ones(V, bool), h.input(), h.input(V)),
    lambda h: h("where", np.zeros(V, bool), h.input(V), 2),
    lambda h: h("where", True, h.input(V, F4), h.input(V)),
)


@applies("where_known")
def _(h):
    x = h.input(V)
    return h("where", h.input(M, B1), x, x)


each(
    ["where_known"],
    refused,
    lambda h: h("where", np.array([True, False, True, True]), h.input(V), 0.0),
    lambda h: h("where", True, h.input(weak=True), h.input(V)),
    lambda h: h("where", True, h.input(), h.input()),
)
each(
    ["where_not"],
    applies,
    lambda h: h("where", h("logical_not", h.input(V, B1)), h.input(V), 0.0),
    lambda h: h("where", h("logical_not", h.input(V)), h.input(V), h.input(V)),
)
each(["not_not"], applies, lambda h: h("logical_not", h("logical_not", h.input(V, B1))))
each(["not_not"], refused, lambda h: h("logical_not", h("logical_not", h.input(V))))


@applies("add_choices")
def _(h):
    c, zero = h.input(V, B1), Literal(np.float64(0))
    return h("add", h("where", c, h("exp", h.input(V)), zero), h("where", c, zero, h("square", h.input(V))))


@applies("add_choices")
def _(h):
    c = h.input((3, 1), B1)
    return h("add", h("where", c, 0.0, h("exp", h.input(V))), h("where", c, h("absolute", h.input(M)), 0.0))


@refused("add_choices")
def _(h):
    c, d, x, y = h.input(V, B1), h.input(V, B1), h("exp", h.input(V)), h("exp", h.input(V))
    z = h.input(V)
    return (
        h("add", h("where", c, x, 0.0), h("where", d, 0.0, y)),
        h("add", h("where", c, x, 0.0), h("where", c, 0.0, z)),
        h("add", h("where", c, x, 0.0), h("where", c, y, 0.0)),
        h("add", h("where", c, x, -0.0), h("where", c, 0.0, y)),
    )


# --------------------------------------------------------------------------------------------------------------- shapes

each(
    ["reshape_again"],
    applies,
    lambda h: h("reshape", h.input(M), shape=M),
    lambda h: h("reshape", h("reshape", h.input(M), shape=(12,)), shape=(4, 3)),
    lambda h: h("reshape", np.full(M, 2.5), shape=(2, 6)),
    lambda h: h("reshape", h("broadcast_to", 1.5, shape=V), shape=(2, 2)),
)
each(
    ["reshape_again"],
    refused,
    lambda h: h("reshape", h.input(M), shape=(4, 3)),
    lambda h: h("reshape", h("reshape", h.input(), shape=(1,)), shape=()),
)
each(
    ["transpose_again"],
    applies,
    lambda h: h("transpose", h.input(M), axes=(-2, -1)),
    lambda h: h("transpose", h.input((2, 3, 4)), axes=(-1,)),
    lambda h: h("transpose", h("transpose", h.input((2, 3, 4)), axes=(-1, -3, -2)), axes=(-1, -3, -2)),
    lambda h: h("transpose", h("transpose", h.input((2, 3, 4)), axes=(-1, -2)), axes=(-2, -1, -3)),
    lambda h: h("transpose", h("transpose", h.input((2, 3, 4, 5)), axes=(-3, -1, -2)), axes=(-1, -4, -2, -3)),
    lambda h: h("transpose", h.input((1, 4)), axes=(-1, -2)),
    lambda h: h("transpose", np.full(M, 2.0), axes=(-1, -2)),
)
each(["transpose_again"], refused, lambda h: h("transpose", h.input(M), axes=(-1, -2)))
each(
    ["broadcast_again"],
    applies,
    lambda h: h("broadcast_to", h.input(M), shape=M),
    lambda h: h("broadcast_to", h("broadcast_to", h.input((3, 1)), shape=M), shape=(2, 3, 4)),
    lambda h: h("broadcast_to", h("reshape", h.input(V), shape=(1, 4)), shape=M),
    lambda h: h("broadcast_to", np.full(V, 3.0), shape=M),
    lambda h: h("broadcast_to", h("reshape", h.input(), shape=(1,)), shape=V),
)
each(
    ["broadcast_again"],
    refused,
    lambda h: h("broadcast_to", h.input(V), shape=M),
    lambda h: h("broadcast_to", h("reshape", h.input((3,)), shape=(3, 1)), shape=M),
)
each(
    ["spread_parts"],
    applies,
    lambda h: h("spread", h.input((3,)), axis=(-1,), lengths=(4,)),
    lambda h: h("spread", h.input(), axis=(-2, -1), lengths=(2, 3)),
    lambda h: h("spread", h.input(V), axis=(-3, -1), lengths=(1, 2)),
    lambda h: h("spread", h.input(), axis=(-1,), lengths=(1,)),
)
each(
    ["cast_again"],
    applies,
    lambda h: h("cast", h.input(V), dtype=F8),
    lambda h: h("cast", h("cast", h.input(V, F4), dtype=F8), dtype=F4),
    lambda h: h("cast", h("cast", h.input(V, B1), dtype=I8), dtype=F8),
)
each(
    ["cast_again"],
    refused,
    lambda h: h("cast", h("cast", h.input(V), dtype=F4), dtype=F8),
    lambda h: h("cast", h.input(V), dtype=F4),
    lambda h: h("cast", h("cast", h.input(V, F4), dtype=F8), dtype=I8),
)
each(["plain_copy"], applies, lambda h: h("copy", h.input(V), order="K"), lambda h: h("stop_gradient", h.input(V)))
each(["plain_copy"], refused, lambda h: h("copy", h.input(), order="C"))
each(
    ["sum_to_again"],
    applies,
    lambda h: h("sum_to", h.input(V), shape=V),
    lambda h: h("sum_to", h.input((1, 1, 4)), shape=(4,)),
    lambda h: h("sum_to", h("square", h.input((1, 4))), shape=(4,)),
)
each(
    ["sum_to_again"],
    refused,
    lambda h: h("sum_to", h.input(M), shape=V),
    lambda h: h("sum_to", h.input((1,)), shape=()),
)
each(
    ["sum_of_one"],
    applies,
    lambda h: h("sum", h.input((4, 1)), axis=(-1,)),
    lambda h: h("sum", h.input((1, 4), I8), axis=(-2,), keepdims=True),
    lambda h: h("sum", h.input(V), axis=()),
)
each(
    ["sum_of_one"],
    refused,
    lambda h: h("sum", h.input((4, 1), B1), axis=(-1,)),
    lambda h: h("sum", h.input((4, 1)), h.input((4, 1), B1), axis=(-1,)),
    lambda h: h("sum", h.input((1,)), axis=(-1,)),
    lambda h: h("sum", h.input((0, 1)), axis=(-2, -1), keepdims=True),
)
each(
    ["extreme_of_one"],
    applies,
    lambda h: h("max", h.input((4, 1)), axis=(-1,)),
    lambda h: h("min", h.input((4, 1)), axis=(-1,), keepdims=True),
)
each(["extreme_of_one"], refused, lambda h: h("max", h.input((4, 1)), True, h.input(), axis=(-1,)))

# -------------------------------------------------------------------------------------------------------------- reading

each(
    ["getitem_all"],
    applies,
    lambda h: h("getitem", h.input(V), index=(slice(None),)),
    lambda h: h("getitem", h.input(M), index=(..., slice(0, 4))),
    lambda h: h("getitem", h.input(V), index=(None, slice(None), None)),
    lambda h: h("getitem", h.input((1, 4)), index=(0,)),
    lambda h: h("getitem", h.input((1, 4)), index=(-1, ..., None)),
    lambda h: h("getitem", h.input((1, 4)), index=(slice(None, None, -1),)),
)
each(
    ["getitem_all"],
    refused,
    lambda h: h("getitem", h.input(V), index=(slice(1, None),)),
    lambda h: h("getitem", h.input(V), index=(slice(None, None, -1),)),
    lambda h: h("getitem", h.input(V), index=(np.arange(4),)),
    lambda h: h("getitem", h.input((1,)), index=(0,)),
    lambda h: h("getitem", h.input(M), index=(0,)),
)
each(
    ["moved_number"],
    applies,
    lambda h: h("getitem", np.full(V, 2.5), index=(slice(1, 3),)),
    lambda h: h("roll", np.full(V, 2.5), shift=(1,), axis=(-1,)),
)
each(
    ["moved_number"],
    refused,
    lambda h: h("getitem", np.full(V, 2.5), index=(1,)),
    lambda h: h("getitem", np.arange(4.0), index=(slice(2),)),
)


def write(h, x, value, *index):
    return h("setitem", x, value, index=index)


def read(h, x, *index):
    return h("getitem", x, index=index)


each(
    ["getitem_written"],
    applies,
    lambda h: read(h, write(h, h.input(V), h.input((2,)), slice(2)), slice(2)),
    lambda h: read(h, write(h, h.input(V), h.input((2,)), slice(2)), slice(2, None)),
    lambda h: read(h, write(h, h.input(V), h.input(), 1), 2),
    lambda h: read(h, write(h, h.input(V), h.input(), 1), 1),
    lambda h: read(h, write(h, h.input(M), h.input(), ALL, 1), ALL, 1),
    lambda h: read(h, write(h, h.input(V), 0.5, slice(0, 2)), slice(0, 2)),
    lambda h: read(h, write(h, h.input(V), h.input((2,)), np.array([0, 3])), np.array([0, 3])),
    lambda h: read(h, write(h, write(h, h.input(V), h.input(), 1), h.input(), 2), 1),
    lambda h: read(h, write(h, h.input(M), h.input(), ..., slice(0, None, 2)), ..., slice(1, None, 2)),
)
each(
    ["getitem_written"],
    refused,
    lambda h: read(h, write(h, h.input(V), h.input((2,)), slice(2)), slice(1, 3)),
    lambda h: read(h, write(h, h.input(V), h.input((2,)), np.array([0, 0])), np.array([0, 0])),
    lambda h: read(h, write(h, h.input(V, F4), h.input((2,)), slice(2)), slice(2)),
    lambda h: read(h, write(h, h.input(V), h.input((2,)), np.array([0, 3])), 1),
    lambda h: read(h, write(h, h.input(M), h.input(), 1), ALL, 1),
    lambda h: read(h, write(h, h.input(V), h.input(), -1), 3),
)


def joined(h, *arrays, axis=-1):
    lengths = [x.aval.shape[axis] for x in arrays]
    return h("concatenate", *arrays, axis=axis, starts=tuple(int(n) for n in np.cumsum([0, *lengths[:-1]])))


each(
    ["getitem_joined"],
    applies,
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), slice(2, 5)),
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), -1),
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), slice(3, 1, -1)),
    lambda h: read(h, joined(h, h.input((2,)), h.input((4,))), slice(5, 1, -2)),
    lambda h: read(h, joined(h, h.input((2, 3)), h.input((2, 2))), 1, slice(3, None)),
    lambda h: read(h, joined(h, h.input((2, 3)), h.input((2, 2))), ..., slice(3)),
    lambda h: read(h, joined(h, h.input((2, 3)), h.input((1, 3)), axis=-2), 2, ...),
    lambda h: read(h, h("stack", h.input(V), h.input(V), axis=-2), 1),
    lambda h: read(h, h("stack", h.input(V), h.input(V), axis=-1), ..., 0),
    lambda h: read(h, h("stack", h.input(V), h.input(V), axis=-1), slice(2), -1),
    lambda h: read(h, h("stack", h.input(), h.input(), axis=-1), 1),
)
each(
    ["getitem_joined"],
    refused,
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), slice(1, 4)),
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), slice(2, 2)),
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,), F4)), slice(2, 4)),
    lambda h: read(h, h("stack", h.input(V), h.input(V), axis=-2), ..., 0),
    lambda h: read(h, h("stack", h.input(V), h.input(V), axis=-2), slice(1)),
    lambda h: read(h, joined(h, h.input((2,)), h.input((3,))), np.array([3])),
)
each(
    ["getitem_scattered"],
    applies,
    lambda h: read(h, h("scatter", h.input((2,)), index=(slice(2),), shape=V), slice(2)),
    lambda h: read(h, h("scatter", h.input((2,)), index=(np.array([3, 1]),), shape=V), np.array([3, 1])),
)
each(
    ["getitem_scattered"],
    refused,
    lambda h: read(h, h("scatter", h.input((2,)), index=(np.array([1, 1]),), shape=V), np.array([1, 1])),
    lambda h: read(h, h("scatter", h.input((2,)), index=(slice(2),), shape=V), slice(3)),
)
SLOTS = np.array([[0, 2, -1]])
each(
    ["gather_known"],
    applies,
    lambda h: h("gather", h.input(V), SLOTS, index=(SLOT,)),
    lambda h: h("gather", h.input(M), np.array([[0, 1], [3, 3]]), index=(SLOT, SLOT)),
    lambda h: h("scatter_at", h.input((3,)), SLOTS, index=(SLOT,), shape=V),
)
each(["gather_known"], refused, lambda h: h("gather", h.input(V), h.input((1, 3), I8), index=(SLOT,)))

# -------------------------------------------------------------------------------------------------------------- writing

each(
    ["scatter_all"],
    applies,
    lambda h: h("scatter", h.input((1, 4)), index=(None,), shape=V),
    lambda h: h("scatter", h.input(V), index=(slice(None),), shape=V),
    lambda h: h("scatter", h("square", h.input(V)), index=(...,), shape=V),
)
each(
    ["scatter_all"],
    refused,
    lambda h: h("scatter", h.input((2,)), index=(slice(2),), shape=V),
    lambda h: h("scatter", h.input(V), index=(np.arange(4),), shape=V),
)


def put(h, x, *index, shape=V):
    return h("scatter", x, index=index, shape=shape)


each(
    ["scatter_pair"],
    applies,
    lambda h: h("add", put(h, h.input((2,)), slice(2)), put(h, h.input((2,)), slice(2))),
)
each(
    ["scatter_pair"],
    refused,
    lambda h: h("add", put(h, h.input((2,)), slice(2)), put(h, h.input((2,)), slice(1, 3))),
    lambda h: h("add", put(h, h.input((2,)), slice(2)), put(h, h.input((2,), F4), slice(2))),
    lambda h: h("add", put(h, h.input(()), 1), put(h, h.input(()), 1)),
)
each(
    ["scatter_joint"],
    applies,
    lambda h: h("add", put(h, h.input((3,)), slice(1, 4)), put(h, h.input((1,)), slice(1))),
    lambda h: h("add", h("add", put(h, h.input((2,)), slice(1, 3)), put(h, h.input(), 3)), put(h, h.input(), 0)),
    lambda h: h(
        "add", put(h, h.input((3, 2)), ALL, slice(2), shape=M), put(h, h.input((3, 2)), ALL, slice(2, 4), shape=M)
    ),
    lambda h: h("add", put(h, h("exp", h.input((3,))), slice(1, 4)), put(h, h("exp", h.input((1,))), slice(1))),
)
each(
    ["scatter_joint"],
    refused,
    lambda h: h("add", put(h, h.input((2,)), slice(1, 3)), put(h, h.input((1,)), slice(1))),
    lambda h: h("add", put(h, h.input((3,)), slice(1, 4)), put(h, h.input((2,)), slice(2))),
    lambda h: h("add", put(h, h.input((2, 4)), slice(2), shape=M), put(h, h.input((3, 2)), ALL, slice(2, 4), shape=M)),
    lambda h: h("add", put(h, h.input((2,)), slice(0, 4, 2)), put(h, h.input((2,)), slice(1, 4, 2))),
)
each(
    ["setitem_all"],
    applies,
    lambda h: write(h, h.input(V), h.input(V), ...),
    lambda h: write(h, h.input(M), h.input(V), slice(None)),
    lambda h: write(h, h.input(V), 0.5, slice(0, 4)),
    lambda h: write(h, h.input((1, 4)), h.input(V), 0),
    lambda h: write(h, h.input(V), np.float64(-0.0), ...),
)
each(
    ["setitem_all"],
    refused,
    lambda h: write(h, h.input(V), h.input(V, F4), ...),
    lambda h: write(h, h.input(V), h.input((3,)), slice(3)),
    lambda h: write(h, h.input(V), h.input((1, 4)), ...),
    lambda h: write(h, h.input(V, I8), 0.5, ...),
)
each(
    ["setitem_again"],
    applies,
    lambda h: write(h, write(h, h.input(V), h.input(), 1), h.input(), 1),
    lambda h: write(h, write(h, h.input(V), h.input((2,)), np.array([1, 1])), h.input((2,)), np.array([1, 1])),
)
each(["setitem_again"], refused, lambda h: write(h, write(h, h.input(V), h.input(), 1), h.input(), 2))
each(
    ["setitem_joint"],
    applies,
    lambda h: write(h, write(h, h.input(V), h.input(), 1), h.input(), 2),
    lambda h: write(h, write(h, write(h, np.zeros(V), h.input((2,)), slice(2)), h.input(), 2), 0.5, -1),
    lambda h: write(h, write(h, h.input(M), h.input((2,)), ALL, slice(2)), h.input((3,)), ALL, 3),
)


@refused("setitem_joint")
def _(h):
    first = write(h, h.input(V), h.input(), 1)
    return write(h, first, h.input(), 2), first


each(
    ["setitem_joint"],
    refused,
    lambda h: write(h, write(h, h.input(V), h.input((2,)), slice(2)), h.input(), 1),
    lambda h: write(h, write(h, h.input(M), h.input(), 1), h.input(), ALL, 1),
    lambda h: write(h, write(h, h.input(V), h.input(dtype=F4), 1), h.input(), 2),
    lambda h: write(h, h.input(V), h.input(), 1),
)
each(
    ["concatenate_one"],
    applies,
    lambda h: joined(h, h.input(V)),
    lambda h: joined(h, h.input((0,)), h.input(V)),
)


@applies("concatenate_one")
def _(h):
    x = h.input(M)
    return joined(h, read(h, x, ALL, slice(1)), read(h, x, ..., slice(1, 3)), read(h, x, ALL, slice(3, None)))


@refused("concatenate_one")
def _(h):
    x = h.input(V)
    return joined(h, read(h, x, slice(2, None)), read(h, x, slice(2))), joined(
        h, read(h, x, slice(1)), read(h, x, slice(1, 3))
    )


each(
    ["concatenate_one"],
    refused,
    lambda h: joined(h, h.input((0,)), h.input(V, F4)),
    lambda h: joined(h, h.input((2,)), h.input((2,))),
)
each(["stack_one"], applies, lambda h: h("stack", h.input(V), axis=-1), lambda h: h("stack", h.input(), axis=-1))


@applies("stack_one")
def _(h):
    x = h.input((2, 3))
    return h("stack", read(h, x, 0), read(h, x, 1, ...), axis=-2)


@refused("stack_one")
def _(h):
    x = h.input((2, 2))
    one, two = read(h, x, 0), read(h, x, 1)
    return h("stack", two, one, axis=-2), h("stack", one, two, axis=-1), h("stack", one, one, axis=-2)


each(
    ["outer_product"],
    applies,
    lambda h: h("outer", h.input((3,)), h.input((2,))),
    lambda h: h("outer", h.input((2, 2)), h.input((3,))),
    lambda h: h("outer", h.input((3,)), h.input()),
)
each(["outer_product"], refused, lambda h: h("outer", h.input(), h.input((3,))))

# --------------------------------------------------------------------------------------------------------- broadcasting

each(
    ["broadcast_late"],
    applies,
    lambda h: h("add", h("broadcast_to", h.input(), shape=V), h.input(V)),
    lambda h: h("scale", np.full(V, 2.0), h.input(V)),
    lambda h: h("sin", h("broadcast_to", h.input((3, 1)), shape=M)),
    lambda h: h("multiply", np.full(M, 2.0), h("broadcast_to", h.input(V), shape=M)),
    lambda h: h("where", h("broadcast_to", h.input((3, 1), B1), shape=M), h.input(V), h.input(V)),
    lambda h: h("power", h.input(V), np.full(V, 2.5)),
    lambda h: h("power", h("broadcast_to", h.input(), shape=V), h.input(V)),
    lambda h: h("multiply", h("broadcast_to", 0.5, shape=V), h.input(V, F4)),
    lambda h: h("less", h.input(V), np.full(V, 1.0)),
)
each(
    ["broadcast_late"],
    refused,
    lambda h: h("add", h.input((3, 1)), h.input(V)),
    lambda h: h("multiply", h("broadcast_to", h.input(weak=True), shape=V), h.input(V, F4)),
    lambda h: h("add", np.array([0.0, -0.0, 0.0, 0.0]), h.input(V)),
    lambda h: h("power", h.input(V), np.full(V, 0.5)),
    lambda h: h("power", h.input(V), h("broadcast_to", h.input(), shape=V)),
)


def listed(build):
    """The list that a builder writes."""
    h = Hand()
    found = build(h)
    return h.returns(*(found if isinstance(found, tuple) else (found,)))
