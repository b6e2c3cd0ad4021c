"""Contractions: sums of products over shared axes, as a loop where they are small and by BLAS where they are not.

Every one is brought to the form of an einsum of two operands, whose axes fall into four groups: in both operands and
the result (batch), in one and the result (rows), in the other and the result (columns), and in both only (summed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compile.tensors.form import Accumulate, Product, Store, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.reductions import call
from wengert.ops.contract import _dot_axes
from wengert.ops.einsum import split
from wengert.program import Equation

SMALL = 1 << 15  # multiplications up to which a loop beats a call of BLAS
SMALL_OF_MANY = 1 << 21  # the same for each of a batch of products, whose loop other loops can join row by row
NARROW = 4  # rows or columns up to which a product is bound by memory, so that a loop that others join is better
FEW = 16  # terms of each sum up to which it is so too


def contract(context: Context, one: View, other: View, terms: Sequence[str], result: str, dtype: np.dtype[Any]) -> View:
    """The einsum of two operands whose letters are all different within each."""
    one, term = _own(context, one, terms[0], terms[1] + result)
    other, other_term = _own(context, other, terms[1], terms[0] + result)
    sizes = dict(zip(other_term, other.shape, strict=True)) | dict(zip(term, one.shape, strict=True))
    for c, n in zip(other_term, other.shape, strict=True):
        sizes[c] = max(sizes[c], n) if n != 1 else sizes[c]
    batch = [c for c in result if c in term and c in other_term]
    rows = [c for c in result if c in term and c not in other_term]
    columns = [c for c in result if c in other_term and c not in term]
    summed = [c for c in term if c in other_term and c not in result]
    out = context.temp(tuple(sizes[c] for c in result), dtype)

    def axes(view: View, letters: str, wanted: Sequence[str]) -> View:
        strides = [
            view.strides[letters.index(c)] if c in letters and view.shape[letters.index(c)] != 1 else 0 for c in wanted
        ]
        return View(view.buffer, tuple(sizes[c] for c in wanted), tuple(strides), view.offset)

    count = [math.prod(sizes[c] for c in group) for group in (batch, rows, columns, summed)]
    if 0 in count:
        context.fill(out)
        return out
    thin = min(count[1:]) <= NARROW or count[3] <= FEW
    if dtype.kind not in "fc" or thin or math.prod(count[1:]) <= (SMALL if count[0] == 1 else SMALL_OF_MANY):
        order = [*batch, *rows, *summed, *columns]
        x, y = axes(one, term, order), axes(other, other_term, order)
        product = call("multiply", scalars_cast(context.load(x), dtype), scalars_cast(context.load(y), dtype))
        into = axes(out, result, order)
        context.loop(x.shape, [Accumulate(into, product, "add") if summed else Store(into, product)])
        return out
    a = _matrices(context, axes(one, term, [*batch, *rows, *summed]), len(batch), len(rows), dtype)
    b = _matrices(context, axes(other, other_term, [*batch, *summed, *columns]), len(batch), len(summed), dtype)
    c_view = axes(out, result, [*batch, *rows, *columns])
    target = _grouped(c_view, len(batch), len(rows))
    if target is None or not _blas_layout(target):
        direct = context.temp(c_view.shape, dtype)
        grouped = _grouped(direct, len(batch), len(rows))
        assert grouped is not None
        context.add(Product(grouped, a, b))
        order = [*batch, *rows, *columns]
        return direct.transpose([order.index(letter) for letter in result])
    context.add(Product(target, a, b))
    return out


def _own(context: Context, view: View, term: str, elsewhere: str) -> tuple[View, str]:
    """Without the axes that no one else has: they are summed first."""
    alone = [k for k, c in enumerate(term) if c not in elsewhere]
    if not alone:
        return view, term
    out = context.reduce(context.load(view), view.shape, alone, "add", view.buffer.dtype)
    return out, "".join(c for c in term if c in elsewhere)


def _grouped(view: View, batch: int, rows: int) -> View | None:
    """A view of [batch…, row, column], each of the last two axes merged of several, if that is a view."""
    shape = view.shape
    merged = (*shape[:batch], math.prod(shape[batch : batch + rows]), math.prod(shape[batch + rows :]))
    return view.reshape(merged)


def _blas_layout(view: View) -> bool:
    """Whether BLAS takes the matrices as they lie: unit stride along one axis, and rows that do not overlap."""
    (m, n), (p, q) = view.shape[-2:], view.strides[-2:]
    return (q == 1 and (p >= n or m == 1)) or (p == 1 and (q >= m or n == 1))


def _matrices(context: Context, view: View, batch: int, rows: int, dtype: np.dtype[Any]) -> View:
    grouped = _grouped(view, batch, rows)
    if grouped is None or not _blas_layout(grouped) or view.buffer.dtype != dtype:
        (copied,) = context.map(view.shape, scalars_cast(context.load(view), dtype))
        grouped = _grouped(copied, batch, rows)
        assert grouped is not None
    return grouped


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@rule("einsum")
def _einsum(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    terms, result = split(eqn.params["subscripts"])
    dtype = eqn.outputs[0].aval.dtype
    if dtype.kind not in "fiuc":
        return None
    views = []
    for k, operand in enumerate(operands):
        view, terms[k] = _diagonals(context.view(operand), terms[k])
        views.append(view)
    sizes: dict[str, int] = {}
    for view, term in zip(views, terms, strict=True):
        for c, n in zip(term, view.shape, strict=True):
            if sizes.get(c, 1) == 1:
                sizes[c] = n
    while len(views) > 1:
        first, second = _cheapest(terms, sizes, result) if len(views) > 2 else (0, 1)
        others = "".join(term for k, term in enumerate(terms) if k not in (first, second)) + result
        if len(views) == 2:
            target = result
        else:
            target = "".join(dict.fromkeys(c for c in terms[first] + terms[second] if c in others))
        merged = contract(context, views[first], views[second], (terms[first], terms[second]), target, dtype)
        views = [view for k, view in enumerate(views) if k not in (first, second)] + [merged]
        terms = [term for k, term in enumerate(terms) if k not in (first, second)] + [target]
    view, term = views[0], terms[0]
    if term != result:
        summed = [k for k, c in enumerate(term) if c not in result]
        if summed or view.buffer.dtype != dtype:
            view = context.reduce(context.load(view), view.shape, summed, "add", dtype)
        term = "".join(c for c in term if c in result)
        view = view.transpose([term.index(c) for c in result])
    elif view.buffer.dtype != dtype:
        return None
    return view


def _diagonals(view: View, term: str) -> tuple[View, str]:
    """An operand in which each letter occurs once: repeated ones walk along a diagonal."""
    letters = "".join(dict.fromkeys(term))
    if letters == term:
        return view, term
    strides = [sum(s for s, c in zip(view.strides, term, strict=True) if c == letter) for letter in letters]
    return View(view.buffer, tuple(view.shape[term.index(c)] for c in letters), tuple(strides), view.offset), letters


def _cheapest(terms: Sequence[str], sizes: dict[str, int], result: str) -> tuple[int, int]:
    """Which two operands to multiply next: those of the fewest multiplications."""
    pairs = [(i, j) for i in range(len(terms)) for j in range(i + 1, len(terms))]
    return min(pairs, key=lambda pair: math.prod(sizes[c] for c in set(terms[pair[0]] + terms[pair[1]])))


def _product(context: Context, eqn: Equation, x: View, y: View, x_term: str, y_term: str, result: str) -> Any:
    aval = eqn.outputs[0].aval
    if aval.dtype.kind not in "fiuc":
        return None
    if x.buffer.dtype.kind == "c" and eqn.primitive.name in CONJUGATED:
        (x,) = context.map(x.shape, call("conjugate", context.load(x)))
    return contract(context, x, y, (x_term, y_term), result, aval.dtype)


CONJUGATED = {"vdot", "vecdot", "vecmat"}  # their first operand


@rule("matmul", "vecdot", "matvec", "vecmat")
def _matmul(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, y = map(context.view, operands)
    x_cores, y_cores = {
        "matmul": ("mk"[-min(len(x.shape), 2) :], "kn"[: min(len(y.shape), 2)]),
        "vecdot": ("k", "k"), "matvec": ("mk", "k"), "vecmat": ("k", "kn"),
    }[eqn.primitive.name]  # fmt: skip
    x_lead, y_lead = x.shape[: len(x.shape) - len(x_cores)], y.shape[: len(y.shape) - len(y_cores)]
    lead = np.broadcast_shapes(x_lead, y_lead)
    letters = "abcdefghij"[: len(lead)]
    x_term = letters[len(lead) - len(x_lead) :] + x_cores
    y_term = letters[len(lead) - len(y_lead) :] + y_cores
    result = letters + "".join(c for c in x_cores + y_cores if c != "k")
    return _product(context, eqn, *_unit_free(x, y, x_term, y_term), result)


def _unit_free(x: View, y: View, x_term: str, y_term: str) -> tuple[View, View, str, str]:
    """Without batch axes of length 1 where the other operand has that axis longer."""
    sizes: dict[str, int] = {}
    for view, term in ((x, x_term), (y, y_term)):
        for c, n in zip(term, view.shape, strict=True):
            sizes[c] = max(sizes.get(c, 1), n)

    def without(view: View, term: str, other: str) -> tuple[View, str]:
        kept = [k for k, c in enumerate(term) if not (view.shape[k] == 1 and sizes[c] != 1 and c in other)]
        return view.transpose(kept), "".join(term[k] for k in kept)

    (x, x_new), (y, y_new) = without(x, x_term, y_term), without(y, y_term, x_term)
    return x, y, x_new, y_new


@rule("dot", "inner", "tensordot")
def _tensordot(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, y = map(context.view, operands)
    nx, ny = len(x.shape), len(y.shape)
    if eqn.primitive.name == "tensordot":
        axes = eqn.params["axes"]
    else:
        axes = _dot_axes(nx, ny) if eqn.primitive.name == "dot" else ((-1,), (-1,))
    x_term = list(LETTERS[:nx])
    y_term = list(LETTERS[nx : nx + ny])
    for i, j in zip(*axes, strict=True):
        y_term[j] = x_term[i]
    shared = {x_term[i] for i in axes[0]}
    result = "".join(c for c in (*x_term, *y_term) if c not in shared)
    return _product(context, eqn, x, y, "".join(x_term), "".join(y_term), result)


@rule("vdot")
def _vdot(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, y = (context.reshape(view, (view.size,)) for view in map(context.view, operands))
    return _product(context, eqn, x, y, "k", "k", "")


@rule("outer")
def _outer(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    x, y = map(context.view, operands)
    if eqn.outputs[0].aval.dtype.kind == "b":
        return None
    shape = eqn.outputs[0].aval.shape
    wide = View(x.buffer, shape, (*x.strides, *(0,) * len(y.shape)), x.offset)
    value = call(
        "multiply", *(scalars_cast(context.load(v), eqn.outputs[0].aval.dtype) for v in (wide, y.broadcast(shape)))
    )
    return context.map(shape, value)[0]


@rule("trace")
def _trace(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    params, aval = eqn.params, eqn.outputs[0].aval
    view = context.view(operands[0]).ask(lambda x: np.diagonal(x, params["offset"], params["axis1"], params["axis2"]))
    return context.reduce(context.load(view), view.shape, [len(view.shape) - 1], "add", aval.dtype)
