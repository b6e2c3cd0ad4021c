"""Rewrites of reading and writing by index: what is read of what was written or joined before. All are exact.

`s` is the sweep, `e` the line.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Shape
from wengert.compile.passes.editing import Atom, key_of
from wengert.compile.passes.facts import PLUS
from wengert.compile.passes.moving import plus_zero, zero_of
from wengert.compile.passes.sweep import Line, Sweep, line
from wengert.ops.gathering import SLOT
from wengert.ops.indexing import add_into, is_basic
from wengert.program import Equation, Literal

Found = Atom | Line | None
DEPTH: Final = 8  # writes through which a read is followed
MOST: Final = 1 << 16  # elements of an index array that becomes a parameter


def _as_written(value: Atom, into: Atom) -> Atom | None:
    """A value as it is once it has been written into an array: in its dtype; None where that takes a line."""
    kinds = value.aval.dtype.kind + into.aval.dtype.kind
    if isinstance(value, Literal) and value.aval.weak and kinds in ("if", "ff", "ii"):
        return Literal(into.aval.dtype.type(value.value))
    return value if value.aval.dtype == into.aval.dtype and not value.aval.weak else None


# ------------------------------------------------------------------------------------------------------------ reading


def getitem_all(s: Sweep, e: Equation) -> Found:
    """x[:, None, ...] = reshape(x): nothing is left out"""
    x, shape = e.inputs[0], e.outputs[0].aval.shape
    if not takes_all(e.params["index"], x.aval.shape):
        return None
    return x if x.aval.shape == shape else line("reshape", x, shape=shape) if shape else None


def takes_all(index: tuple[Any, ...], shape: Shape) -> bool:
    """Whether an index reads every element, in order."""
    if not is_basic(index):
        return False
    axis = 0
    missing = len(shape) - sum(part is not None and part is not Ellipsis for part in index)
    for part in index:
        if part is Ellipsis:
            axis += missing
        elif part is not None:
            n = shape[axis]
            axis += 1
            if type(part) is slice:
                start, stop, step = part.indices(n)
                if not (start == 0 and stop >= n and step == 1) and not (n == 1 and len(range(start, stop, step)) == 1):
                    return False
            elif n != 1:  # an integer drops an axis; it reads all of it only where it has one element
                return False
    return True


def getitem_written(s: Sweep, e: Equation) -> Found:
    """(x with x[i] = v)[j] = v where i is j and names no place twice, = x[j] where they have no place in common"""
    index, atom = e.params["index"], e.inputs[0]
    for _ in range(DEPTH):
        eqn = s.maker(atom, "setitem")
        if eqn is None:
            break
        written, (x, value) = eqn.params["index"], eqn.inputs
        if key_of(written) == key_of(index):
            shape, found = e.outputs[0].aval.shape, _as_written(value, x)
            if found is None or found.aval.ndim > len(shape) or not (is_basic(index) or _distinct(index, x.aval.shape)):
                return None
            if found.aval.shape == shape:
                return found
            return line("broadcast_to", found, shape=shape) if shape else None
        if not apart(written, index, x.aval.shape):
            break
        atom = x
    return None if atom is e.inputs[0] else line("getitem", atom, index=index)


def _distinct(index: tuple[Any, ...], shape: Shape) -> bool:
    """Whether an index names no place twice."""
    count = np.zeros(shape, np.int8)
    add_into(count, np.int8(1), index=index)
    return bool((count <= 1).all())


def apart(one: tuple[Any, ...], other: tuple[Any, ...], shape: Shape) -> bool:
    """Whether two basic indices are known to have no place in common: they differ along some axis."""
    if not is_basic(one) or not is_basic(other):
        return False
    return any(
        a is not None and b is not None and not _meet(a, b)
        for a, b in zip(_ranges(one, shape), _ranges(other, shape), strict=True)
    )


def _ranges(index: tuple[Any, ...], shape: Shape) -> list[range]:
    """The positions that a basic index takes along each axis."""
    missing = len(shape) - sum(part is not None and part is not Ellipsis for part in index)
    found: list[range] = []
    for part in index:
        if part is Ellipsis:
            found += [range(n) for n in shape[len(found) : len(found) + missing]]
        elif part is not None:
            n = shape[len(found)]
            if type(part) is slice:
                found.append(range(*part.indices(n)))
            else:
                k = int(part) % max(n, 1)
                found.append(range(k, k + 1))
    return found + [range(n) for n in shape[len(found) :]]


def _meet(one: range, other: range) -> bool:
    """Whether two ranges may have an element in common."""
    if not one or not other:
        return False
    (a, b), (c, d) = sorted((one[0], one[-1])), sorted((other[0], other[-1]))
    if b < c or d < a:
        return False
    return abs(one.step) != abs(other.step) or len(one) == 1 or len(other) == 1 or (a - c) % abs(one.step) == 0


def getitem_joined(s: Sweep, e: Equation) -> Found:
    """concatenate(…, x, …)[part of x] = x[part],  stack(…, x, …)[k] = x"""
    index, source = e.params["index"], e.inputs[0]
    eqn = s.maker(source, "concatenate", "stack")
    if eqn is None or not is_basic(index):
        return None
    axis = source.aval.ndim + eqn.params["axis"]
    place, before = 0, 0
    missing = source.aval.ndim - sum(part is not None and part is not Ellipsis for part in index)
    for k, part in enumerate(index):
        if part is Ellipsis:
            if before <= axis < before + missing:
                return None
            before += missing
        elif part is not None:
            if before == axis:
                place = k
                break
            before += 1
    else:
        return None
    part = index[place]
    if eqn.primitive.name == "stack":
        if type(part) is slice:
            return None
        piece = eqn.inputs[int(part) % len(eqn.inputs)]
        rest: tuple[Any, ...] = (*index[:place], *index[place + 1 :])
        return _read(e, piece, rest, source)
    taken = range(*part.indices(source.aval.shape[axis])) if type(part) is slice else None
    first = taken[0] if taken else int(part) % source.aval.shape[axis] if taken is None else None
    if first is None:
        return None
    last = taken[-1] if taken else first
    number = bisect.bisect_right(eqn.params["starts"], first) - 1
    piece, start = eqn.inputs[number], eqn.params["starts"][number]
    if not start <= last < start + piece.aval.shape[axis]:
        return None
    if taken is None:
        inner: Any = first - start
    else:
        stop = taken.stop - start
        inner = slice(taken.start - start, stop if stop >= 0 else None, taken.step)
    return _read(e, piece, (*index[:place], inner, *index[place + 1 :]), source)


def _read(e: Equation, piece: Atom, index: tuple[Any, ...], source: Atom) -> Found:
    if piece.aval.dtype != source.aval.dtype or piece.aval.weak:
        return None
    return line("getitem", piece, index=index) if index else piece


def getitem_scattered(s: Sweep, e: Equation) -> Found:
    """scatter(ct, i)[i] = ct + 0 where i names no place twice"""
    index, eqn = e.params["index"], s.maker(e.inputs[0], "scatter")
    if eqn is None or key_of(eqn.params["index"]) != key_of(index) or not e.outputs[0].aval.shape:
        return None
    if not (is_basic(index) or _distinct(index, eqn.params["shape"])):
        return None
    return plus_zero(s, eqn.inputs[0], e.outputs[0].aval.shape)


# ------------------------------------------------------------------------------------------------------------ writing


def scatter_all(s: Sweep, e: Equation) -> Found:
    """scatter(ct, i) = reshape(ct) + 0 where i names every element in order"""
    if not takes_all(e.params["index"], e.params["shape"]) or not e.params["shape"] or not e.outputs[0].aval.size:
        return None
    return plus_zero(s, e.inputs[0], e.params["shape"])


def scatter_pair(s: Sweep, e: Equation) -> Found:
    """scatter(x, i) + scatter(y, i) = scatter(x + y, i)"""
    one, other = (s.maker(atom, "scatter") for atom in e.inputs)
    if one is None or other is None or not (s.once(e.inputs[0]) or s.once(e.inputs[1])):
        return None
    index = one.params["index"]
    if not is_basic(index) or key_of(index) != key_of(other.params["index"]) or one.params != other.params:
        return None
    x, y = one.inputs[0], other.inputs[0]
    if x.aval.shape != y.aval.shape or x.aval.dtype != y.aval.dtype or not x.aval.shape:
        return None
    return line("scatter", s.new("add", x, y), **one.params)


def scatter_joint(s: Sweep, e: Equation) -> Found:
    """scatter(x, a:b) + scatter(y, b:c) + … = concatenate(x, y, …) + 0 where they cover an axis

    Each place has one term. 0 + x is x + 0, and x + 0 + 0 is x + 0, so the order of the terms does not matter.
    """
    if s.goes_on(e):
        return None
    parts: list[tuple[int, int, Atom]] = []
    stack, shape = list(e.inputs), e.outputs[0].aval.shape
    found_axis = -1
    while stack:
        atom = stack.pop()
        eqn = s.maker(atom, "scatter", "add")
        if eqn is None or not s.once(atom):
            return None
        if eqn.primitive.name == "add":
            if atom.aval.shape != shape or any(x.aval.shape != shape for x in eqn.inputs):
                return None
            stack.extend(eqn.inputs)
            continue
        place = span_of(eqn.params["index"], shape)
        ct = eqn.inputs[0]
        if place is None or ct.aval.dtype != e.outputs[0].aval.dtype or found_axis not in (-1, place[0]):
            return None
        found_axis, start, stop = place
        parts.append((start, stop, ct))
    if len(parts) < 2:
        return None
    parts.sort(key=lambda part: part[0])
    ends = [0, *(stop for _, stop, _ in parts)]
    if [start for start, _, _ in parts] != ends[:-1] or ends[-1] != shape[found_axis]:
        return None
    name, pieces, params = _joined(s, parts, found_axis, shape)
    whole = s.new(name, *pieces, **params)
    return whole if s.fact(whole).says(PLUS) else line("add", whole, zero_of(whole))


def _joined(s: Sweep, parts: Sequence[tuple[int, int, Atom]], axis: int, shape: Shape) -> Line:
    """The parts of an array along an axis, put together."""
    pieces = [s.reshaped(x, (*shape[:axis], stop - start, *shape[axis + 1 :])) for start, stop, x in parts]
    return line("concatenate", *pieces, axis=axis - len(shape), starts=tuple(start for start, _, _ in parts))


def span_of(index: tuple[Any, ...], shape: Shape) -> tuple[int, int, int] | None:
    """The one axis of which a basic index takes a part, and from where to where; None for any other index."""
    if not is_basic(index) or any(part is None for part in index):
        return None
    ranges = _ranges(index, shape)
    cut = [k for k, (taken, n) in enumerate(zip(ranges, shape, strict=True)) if taken != range(n)]
    if len(cut) != 1 or not ranges[cut[0]] or ranges[cut[0]].step != 1:
        return None
    taken = ranges[cut[0]]
    return cut[0], taken.start, taken.stop


def setitem_all(s: Sweep, e: Equation) -> Found:
    """(x with x[…] = v) = v, broadcast, where every element is written"""
    x, shape = e.inputs[0], e.inputs[0].aval.shape
    value = _as_written(e.inputs[1], x)
    if not shape or value is None or not takes_all(e.params["index"], shape):
        return None
    within = np.shape(np.broadcast_to(np.False_, shape)[e.params["index"]])
    if value.aval.ndim > len(within):
        return None
    if value.aval.shape != within:
        value = s.new("broadcast_to", value, shape=within)
    return value if within == shape else line("reshape", value, shape=shape)


def setitem_again(s: Sweep, e: Equation) -> Found:
    """x[i] = u; x[i] = v is x[i] = v"""
    eqn = s.maker(e.inputs[0], "setitem")
    if eqn is None or key_of(eqn.params["index"]) != key_of(e.params["index"]):
        return None
    return line("setitem", eqn.inputs[0], e.inputs[1], **e.params)


def setitem_joint(s: Sweep, e: Equation) -> Found:
    """x[a:b] = u; x[c:d] = v; … = concatenate(x[:a], u, x[b:c], v, x[d:]): one copy instead of one for each write"""
    if s.goes_on(e) or s.maker(e.inputs[0], "setitem") is None:
        return None
    shape, axis, eqn = e.outputs[0].aval.shape, -1, e
    parts: list[tuple[int, int, Atom]] = []
    while True:
        x, index = eqn.inputs[0], eqn.params["index"]
        place, value = span_of(index, shape), _as_written(eqn.inputs[1], x)
        if place is None or value is None or axis not in (-1, place[0]):
            return None
        axis, start, stop = place
        within = np.shape(np.broadcast_to(np.False_, shape)[index])
        if value.aval.ndim > len(within):
            return None
        parts.append((start, stop, value if value.aval.shape == within else s.new("broadcast_to", value, shape=within)))
        before = s.maker(x, "setitem")
        if before is None or not s.once(x):
            break
        eqn = before
    parts.sort(key=lambda part: part[0])
    whole: list[tuple[int, int, Atom]] = []
    end = 0
    for start, stop, value in (*parts, (shape[axis], shape[axis], x)):
        if start < end:
            return None  # written twice
        if start > end:
            index = (*(slice(None),) * axis, slice(end, start))
            whole.append((end, start, s.new("getitem", x, index=index)))
        if value is not x:
            whole.append((start, stop, value))
        end = stop
    return _joined(s, whole, axis, shape) if len(parts) > 1 else None


def concatenate_one(s: Sweep, e: Equation) -> Found:
    """concatenate(x) = x, without those of length 0;  concatenate(x[:k], x[k:]) = x"""
    axis = e.outputs[0].aval.ndim + e.params["axis"]
    dtype = e.outputs[0].aval.dtype
    pieces = [x for x in e.inputs if x.aval.shape[axis] and x.aval.dtype == dtype]
    if len(pieces) == 1 and all(not x.aval.shape[axis] for x in e.inputs if x is not pieces[0]):
        return pieces[0]
    lines = [s.maker(x, "getitem") for x in e.inputs]
    if any(eqn is None or eqn.inputs[0] is not lines[0].inputs[0] for eqn in lines):  # type: ignore[union-attr]
        return None
    source = lines[0].inputs[0]  # type: ignore[union-attr]
    spans = [span_of(eqn.params["index"], source.aval.shape) for eqn in lines]  # type: ignore[union-attr]
    end = 0
    for span in spans:
        if span is None or span[0] != axis or span[1] != end:
            return None
        end = span[2]
    return source if end == source.aval.shape[axis] else None


def stack_one(s: Sweep, e: Equation) -> Found:
    """stack(x) = reshape(x),  stack(x[0], x[1], …) = x"""
    first = e.inputs[0]
    if len(e.inputs) == 1:
        return None if first.aval.weak else line("reshape", first, shape=e.outputs[0].aval.shape)
    lines = [s.maker(x, "getitem") for x in e.inputs]
    if lines[0] is None or e.params["axis"] != -e.outputs[0].aval.ndim:
        return None
    source = lines[0].inputs[0]
    if source.aval.shape[:1] != (len(lines),):
        return None
    for k, eqn in enumerate(lines):
        if eqn is None or eqn.inputs[0] is not source or eqn.params["index"] not in ((k,), (k, Ellipsis)):
            return None
    return source


def gather_known(s: Sweep, e: Equation) -> Found:
    """gather(x, i) = x[i],  scatter_at(ct, i) = scatter(ct) where i is known"""
    value = s.values.get(e.inputs[1])  # type: ignore[arg-type]
    if value is None or value.ndim < 2 or value.size > MOST:
        return None
    rows = iter(value)
    index = tuple(np.array(next(rows)) if part is SLOT else part for part in e.params["index"])
    name = "getitem" if e.primitive.name == "gather" else "scatter"
    return line(name, e.inputs[0], **{**e.params, "index": index})
