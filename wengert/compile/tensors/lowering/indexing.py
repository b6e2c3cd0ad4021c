"""Reading and writing by index: views where the index is basic, gathers and scatters where it has arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.avals import Aval, Shape
from wengert.compile.tensors.form import Expr, Store, Update, View
from wengert.compile.tensors.lowering.context import DELAYED, TAKES_DELAYED, Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.views import part as section
from wengert.ops.gathering import SLOT
from wengert.ops.indexing import is_array
from wengert.program import Equation, Literal

INDEX = Aval((), np.dtype(np.int64))


class Places(NamedTuple):
    """Which elements of an array an index names: a view of the result's shape, moved by computed positions."""

    base: View  # stride 0 along the axes of the index arrays
    rows: list[View]  # int64 positions along each indexed axis, with the result's shape
    strides: tuple[int, ...]
    lengths: tuple[int, ...]
    check: bool  # whether positions may be out of bounds (those known at compile time were checked)

    def exprs(self, context: Context) -> tuple[Expr, ...]:
        return tuple(context.load(row, INDEX) for row in self.rows)


def places(
    context: Context, x: View, index: tuple[Any, ...], rows: Sequence[View] | None, shape: Shape
) -> Places | None:
    """What `index` names in `x`; `rows` holds the operands that stand in the slots."""
    parts: list[Any] = []
    given = iter(rows or ())
    for part in index:
        if part is SLOT:
            parts.append(next(given))
        elif type(part) is bool:
            return None
        elif is_array(part):
            if part.dtype.kind == "b":
                parts.extend(np.ascontiguousarray(hits) for hits in part.nonzero())
            else:
                parts.append(part)
        else:
            parts.append(part)
    arrays = [k for k, part in enumerate(parts) if isinstance(part, View | np.ndarray)]
    # An integer beside index arrays is one of them
    if arrays:
        parts = [np.asarray(p) if isinstance(p, int) else p for p in parts]
        arrays = [k for k, part in enumerate(parts) if isinstance(part, View | np.ndarray)]
    used = sum(1 if isinstance(p, View | np.ndarray) or (p is not None and p is not Ellipsis) else 0 for p in parts)
    if not any(p is Ellipsis for p in parts):
        parts.append(Ellipsis)
    # The view at position 0 of every indexed axis, and which axis of x each part reads
    base = x.ask(lambda d: d[tuple(0 if k in arrays else p for k, p in enumerate(parts))]) if x.size else None
    if base is None:
        return None
    axis, before, axes = 0, None, []
    rank = 0
    for k, p in enumerate(parts):
        if k in arrays:
            if before is None:
                before = rank
            axes.append(axis)
            axis += 1
        elif p is None:
            rank += 1
        elif p is Ellipsis:
            rank += len(x.shape) - used
            axis += len(x.shape) - used
        else:
            rank += not isinstance(p, int)
            axis += 1
    if arrays[-1] - arrays[0] != len(arrays) - 1:
        before = 0
    lookup = [parts[k] for k in arrays]
    inner = np.broadcast_shapes(*(p.shape for p in lookup))
    start: int = before or 0
    q = len(inner)
    whole = View(
        base.buffer,
        (*base.shape[:start], *inner, *base.shape[start:]),
        (*base.strides[:start], *(0,) * q, *base.strides[start:]),
        base.offset,
    )
    if whole.shape != shape:
        return None
    found = []
    for p, n in zip(lookup, (x.shape[a] for a in axes), strict=True):
        if isinstance(p, np.ndarray):
            p = context.constant(np.where(p < 0, p + n, p).astype(np.int64))
        row = p.broadcast(inner)
        strides = (*(0,) * start, *row.strides, *(0,) * (len(base.shape) - start))
        found.append(View(row.buffer, shape, strides, row.offset))
    lengths = tuple(x.shape[a] for a in axes)
    return Places(whole, found, tuple(x.strides[a] for a in axes), lengths, rows is not None)


def slot_rows(context: Context, operand: Operand) -> list[View]:
    """The index arrays that an operand stacks along its first axis, as int64."""
    view = context.view(operand)
    if view.buffer.dtype != np.int64:
        (view,) = context.map(view.shape, scalars_cast(context.load(view), np.dtype(np.int64)))
    step = view.strides[0]
    return [View(view.buffer, view.shape[1:], view.strides[1:], view.offset + k * step) for k in range(view.shape[0])]


def _with_dots(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index that gives an array, be it without axes."""
    return index if any(part is Ellipsis for part in index) else (*index, ...)


def is_basic(index: tuple[Any, ...]) -> bool:
    return not any(is_array(part) or part is SLOT for part in index)


def _read(context: Context, eqn: Equation, x: View, rows: Any) -> Any:
    aval, index = eqn.outputs[0].aval, eqn.params["index"]
    if is_basic(index):
        return x.ask(lambda d: d[_with_dots(index)])
    if 0 in aval.shape:
        return context.temp(aval.shape, aval.dtype)
    at = places(context, x, index, rows, aval.shape)
    if at is None:
        return None
    value = Expr("gather", Aval((), aval.dtype), at.exprs(context), (at.base, at.strides, at.lengths, at.check))
    return context.map(aval.shape, value)[0]


@rule("getitem")
def _getitem(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return _read(context, eqn, context.view(operands[0]), None)


@rule("gather")
def _gather(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return _read(context, eqn, context.view(operands[0]), slot_rows(context, operands[1]))


def write(
    context: Context, out: View, value: Operand, index: tuple[Any, ...], rows: Any, how: str | None, fresh: bool
) -> bool:
    """out[index] = value, or += value where `how` is "add"; whether it could be done.

    `fresh` says that `out` is all zeros there, so that adding to distinct places is setting them.
    """
    dtype = out.buffer.dtype
    shape = np.shape(np.broadcast_to(np.False_, out.shape)[_stand_in(index, rows)])
    value = _fitted(context, value, shape)
    if 0 in shape:
        return True
    expr = scalars_cast(context.read(value, shape), dtype)
    if is_basic(index):
        target = out.ask(lambda d: d[_with_dots(index)])
        effect: Any = Store(target, expr) if how is None or fresh else Update(target, expr, how)
        context.loop(shape, [effect])
        return True
    at = places(context, out, index, rows, shape)
    if at is None:
        return False
    effect = Update(at.base, expr, how, at.exprs(context), at.strides, at.lengths, at.check)
    context.loop(shape, [effect], ordered=True)
    return True


def _stand_in(index: tuple[Any, ...], rows: Any) -> tuple[Any, ...]:
    given = iter(rows or ())
    return tuple(np.zeros(next(given).shape, np.intp) if part is SLOT else part for part in index)


def _fitted(context: Context, value: Operand, shape: Shape) -> Operand:
    """A written value without leading axes of length 1 that NumPy drops."""
    if isinstance(value, Literal):
        return value
    extra = max(len(value.shape) - len(shape), 0)
    return View(value.buffer, value.shape[extra:], value.strides[extra:], value.offset)


def _clear(context: Context, out: View, index: tuple[Any, ...]) -> None:
    """Zeros wherever `index` does not name an element, and perhaps where it does."""
    ranges = [range(*part.indices(n)) for part, n in zip(index, out.shape, strict=False) if type(part) is slice]
    cut = [axis for axis, span in enumerate(ranges) if len(span) < out.shape[axis]]
    if len(ranges) < len(index) or len(cut) != 1 or ranges[cut[0]].step != 1:
        context.fill(out)
        return
    (axis,) = cut
    span, n = ranges[axis], out.shape[axis]
    context.fill(section(out, axis, 0, span.start))
    context.fill(section(out, axis, span.stop, n - span.stop))


@rule("scatter")
def _scatter(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval, index = eqn.outputs[0].aval, eqn.params["index"]
    out = context.temp(aval.shape, aval.dtype)
    _clear(context, out, index)
    return out if write(context, out, operands[0], index, None, "add", True) else None


@rule("scatter_at")
def _scatter_at(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval, index = eqn.outputs[0].aval, eqn.params["index"]
    rows = slot_rows(context, operands[1])
    out = context.temp(aval.shape, aval.dtype)
    context.fill(out)
    return out if write(context, out, operands[0], index, rows, "add", True) else None


def _written(context: Context, eqn: Equation, operands: Sequence[Operand], rows: Any, how: str | None) -> Any:
    aval = eqn.outputs[0].aval
    out = context.temp(aval.shape, aval.dtype)
    context.copy(operands[0], out)
    return out if write(context, out, operands[1], eqn.params["index"], rows, how, False) else None


@rule("setitem")
def _setitem(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return _written(context, eqn, operands, None, None)


@rule("put_at")
def _put_at(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return _written(context, eqn, operands, slot_rows(context, operands[2]), None)


@rule("add_at")
def _add_at(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return _written(context, eqn, operands, None, "add")


# ------------------------------------------------------------------------------------------------- sums of scatters
# The cotangent of an array that was sliced several times is a sum of arrays that are zero nearly everywhere. Written
# out it passes over all of memory for each; here the parts are added into one array. The only difference is the sign
# of a zero: where −0.0 meets a zero that is not stored.

DELAYED["scatter"] = lambda eqn: is_basic(eqn.params["index"]) and eqn.outputs[0].aval.dtype.kind == "f"


def _add(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval = eqn.outputs[0].aval
    first: Any
    second: Any
    first, second = eqn.inputs
    if first not in context.delayed:
        first, second = second, first
    if first.aval != second.aval or first is second:
        context.finish(eqn, [context.operand(atom) for atom in eqn.inputs])
        return [context.places[eqn.outputs[0]]]
    parts = [context.delayed.pop(first)]
    if second in context.delayed:
        parts.append(context.delayed.pop(second))
        out = context.temp(aval.shape, aval.dtype)
        _clear(context, out, parts[0][0].params["index"])
        fresh = True
    else:
        given = context.view(context.operand(second))
        if second in context.sums and context.uses.get(second) == 1:
            out = given
        else:
            out = context.temp(aval.shape, aval.dtype)
            context.copy(given, out)
        fresh = False
    for line, (ct,) in parts:
        write(context, out, ct, line.params["index"], None, "add", fresh)
        fresh = False
    context.sums.add(eqn.outputs[0])
    return [out]


TAKES_DELAYED["add"] = _add
