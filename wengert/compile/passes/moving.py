"""Rewrites of operations that move elements about: shapes, broadcasts, sums of single elements. All are exact.

`s` is the sweep, `e` the line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wengert.avals import Shape
from wengert.compile.passes.arithmetic import narrow
from wengert.compile.passes.editing import Atom
from wengert.compile.passes.facts import PLUS
from wengert.compile.passes.sweep import Line, Sweep, line
from wengert.program import Equation, Literal

Found = Atom | Line | None


def zero_of(atom: Atom) -> Literal:
    return Literal(atom.aval.dtype.type(0))


# ------------------------------------------------------------------------------------------------------------- shapes


def reshape_again(s: Sweep, e: Equation) -> Found:
    """reshape(x) = x to the same shape,  reshape(reshape x) = reshape x,  reshape of equal numbers = their broadcast"""
    x, shape = e.inputs[0], e.params["shape"]
    if x.aval.shape == shape:
        return x
    inner = s.maker(x, "reshape")
    if inner is not None and (shape or inner.inputs[0].aval.shape):  # NumPy leaves a scalar a scalar
        return line("reshape", inner.inputs[0], shape=shape)
    number = s.literal(x) if x.aval.shape else None
    return None if number is None or not shape else line("broadcast_to", number, shape=shape)


def full_axes(axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """A permutation of the last axes as one of all, counted from the front."""
    lead = ndim - len(axes)
    return (*range(lead), *(axis + ndim for axis in axes))


def transpose_again(s: Sweep, e: Equation) -> Found:
    """transpose(x, identity) = x,  transpose(transpose(x, p), q) = transpose(x, p ∘ q)"""
    x = e.inputs[0]
    ndim = x.aval.ndim
    outer = full_axes(e.params["axes"], ndim)
    if outer == tuple(range(ndim)):
        return x
    inner = s.maker(x, "transpose")
    if inner is not None:  # out axis k is axis outer[k] of the middle, which is axis inner[outer[k]] of the source
        first = full_axes(inner.params["axes"], ndim)
        return line("transpose", inner.inputs[0], axes=tuple(first[k] - ndim for k in outer))
    number = s.literal(x)
    if number is not None:
        return line("broadcast_to", number, shape=e.outputs[0].aval.shape)
    if sum(n != 1 for n in x.aval.shape) <= 1 and x.aval.size:
        return line("reshape", x, shape=e.outputs[0].aval.shape)
    return None


def broadcast_again(s: Sweep, e: Equation) -> Found:
    """broadcast(x) = x to the same shape,  broadcast(broadcast x) = broadcast x,  broadcast(x[None]) = broadcast x"""
    x, shape = e.inputs[0], e.params["shape"]
    if x.aval.shape == shape:
        return x
    source = narrow(s, x)
    if source is not x:
        return line("broadcast_to", source, shape=shape)
    inner = s.maker(x, "reshape")
    if inner is not None and not inner.inputs[0].aval.weak:
        source = inner.inputs[0]
        lead = x.aval.ndim - source.aval.ndim
        if lead > 0 and x.aval.shape == (1,) * lead + source.aval.shape:
            return line("broadcast_to", source, shape=shape)
    return None


def spread_parts(s: Sweep, e: Equation) -> Found:
    """spread(x) = broadcast(reshape x): the second half is then taken up by what reads it"""
    (x,) = e.inputs
    axis, shape = e.params["axis"], e.outputs[0].aval.shape
    if not shape or x.aval.weak:
        return None
    ndim = len(shape)
    ones = tuple(1 if k - ndim in axis else n for k, n in enumerate(shape))
    if not x.aval.shape:
        return line("broadcast_to", x, shape=shape)
    return line("broadcast_to", s.reshaped(x, ones), shape=shape)


def cast_again(s: Sweep, e: Equation) -> Found:
    """cast(x) = x to the same dtype,  cast(cast x) = cast x where the first loses nothing"""
    x = e.inputs[0]
    if x.aval.dtype == e.params["dtype"]:
        return x
    inner = s.maker(x, "cast")
    if inner is not None:
        source = inner.inputs[0]
        safe = np.can_cast(source.aval.dtype, x.aval.dtype, "safe") and x.aval.dtype.kind in "fiub"
        wide = not (source.aval.dtype.kind in "iu" and x.aval.dtype.kind == "f" and source.aval.dtype.itemsize > 4)
        to_integer = (
            source.aval.dtype.kind == "f" and e.params["dtype"].kind != "f"
        )  # may be undefined, and then differ
        if safe and wide and not source.aval.weak and not to_integer:
            return line("cast", source, dtype=e.params["dtype"])
    return None


def moved_number(s: Sweep, e: Equation) -> Found:
    """A reading of equal numbers = their broadcast"""
    x = e.inputs[0]
    number = s.literal(x) if x.aval.shape else None
    shape = e.outputs[0].aval.shape
    return None if number is None or not shape else line("broadcast_to", number, shape=shape)


def plain_copy(s: Sweep, e: Equation) -> Found:
    """copy x = x: results are the caller's own in any case"""
    return e.inputs[0]


# --------------------------------------------------------------------------------------------------------------- sums


def sum_to_again(s: Sweep, e: Equation) -> Found:
    """sum_to(x) = x to the same shape,  = reshape(x) + 0 where only axes of length 1 go (NumPy adds to +0.0)"""
    x, shape = e.inputs[0], e.params["shape"]
    if x.aval.shape == shape:
        return x
    if x.aval.dtype.kind != "f" or not shape or x.aval.size != e.outputs[0].aval.size or not x.aval.size:
        return None
    return plus_zero(s, x, shape)


def sum_of_one(s: Sweep, e: Equation) -> Found:
    """Σ over axes of length 1 = reshape(x) + 0"""
    if len(e.inputs) > 1:
        return None
    x, shape = e.inputs[0], e.outputs[0].aval.shape
    if x.aval.dtype != e.outputs[0].aval.dtype or not shape or x.aval.size != e.outputs[0].aval.size:
        return None
    return plus_zero(s, x, shape) if x.aval.size and x.aval.dtype.kind in "fiu" else None


def extreme_of_one(s: Sweep, e: Equation) -> Found:
    """max or min over axes of length 1 = reshape(x)"""
    x, shape = e.inputs[0], e.outputs[0].aval.shape
    if len(e.inputs) > 1 or not shape or x.aval.size != e.outputs[0].aval.size or not x.aval.size:
        return None
    return line("reshape", x, shape=shape)


def plus_zero(s: Sweep, x: Atom, shape: Shape) -> Found:
    """x + 0.0 in another shape, which turns −0.0 into 0.0; x itself where it has none."""
    if x.aval.dtype.kind != "f" or s.fact(x).says(PLUS):
        return line("reshape", x, shape=shape)
    return line("add", s.reshaped(x, shape), zero_of(x))


def outer_product(s: Sweep, e: Equation) -> Found:
    """outer(x, y) = x[…, None] y, which other lines can join"""
    x, y = e.inputs
    if x.aval.weak or y.aval.weak or not e.outputs[0].aval.shape or not x.aval.shape:
        return None
    return line("multiply", s.reshaped(x, x.aval.shape + (1,) * y.aval.ndim), y)
