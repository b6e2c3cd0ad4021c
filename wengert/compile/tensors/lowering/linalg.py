"""Linear algebra: systems of equations, inverses, determinants and Cholesky factors.

A node works on a copy of its matrices in place; `emit_linalg` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import Aval, Shape
from wengert.compile.tensors.form import Control, Expr, Store, View
from wengert.compile.tensors.lowering.context import Context, Operand, rule, scalars_cast
from wengert.compile.tensors.lowering.reductions import call, chosen, number
from wengert.program import Equation

INT32: Final = np.dtype(np.int32)
WRITTEN_OUT: Final = 4  # rows up to which cofactors are expanded
INT64: Final = np.dtype(np.int64)


def swapped(view: View) -> View:
    """With its last two axes exchanged."""
    n = len(view.shape)
    return view.transpose((*range(n - 2), n - 1, n - 2))


def fortran(context: Context, view: View, shape: Shape, dtype: np.dtype[Any]) -> View:
    """A copy of matrices, of this shape, with columns one after the other; seen with its last axes exchanged."""
    turned = swapped(view.broadcast(shape))
    out = context.temp(turned.shape, dtype)
    context.store(out, scalars_cast(context.load(turned), dtype))
    return out


def work(context: Context, kind: str, a: View, b: View | None, columns: int = 0) -> None:
    """Add the node that works on `a`, and on `b`, in place."""
    n = a.shape[-1]
    views = [a] if b is None else [a, b]
    ins = [a] if kind == "lu" else views
    scratch = [context.temp((n,), INT32)] if kind in ("solve", "lu") else []
    context.add(Control(kind, [], {"n": n, "columns": columns, "length": n * n * n}, ins, views, scratch))


def solved(context: Context, a: View, b: View, lead: Shape, dtype: np.dtype[Any]) -> View:
    """A⁻¹ b for matrices b, seen with its last two axes exchanged."""
    n, columns = b.shape[-2:]
    left = fortran(context, a, (*lead, n, n), dtype)
    right = fortran(context, b, (*lead, n, columns), dtype)
    if right.size:
        work(context, "solve", left, right, columns)
    return right


@rule("solve")
def _solve(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    a, b = map(context.view, operands)
    aval, vector = eqn.outputs[0].aval, eqn.params["vector"]
    lead = aval.shape[:-1] if vector else aval.shape[:-2]
    if vector:
        b = View(b.buffer, (*b.shape, 1), (*b.strides, 0), b.offset)
    found = swapped(solved(context, a, b, lead, aval.dtype))
    return View(found.buffer, aval.shape, found.strides[:-1], found.offset) if vector else found


def identity(context: Context, n: int, dtype: np.dtype[Any]) -> View:
    return context.constant(np.eye(n, dtype=dtype))


@rule("inv", "inverse_or_infinite")
def _inv(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    a, aval = context.view(operands[0]), eqn.outputs[0].aval
    eye = identity(context, aval.shape[-1], aval.dtype)
    return swapped(solved(context, a, eye, aval.shape[:-2], aval.dtype))


# ---------------------------------------------------------------------------------------------------- determinants


def _sign_and_log(context: Context, a: View, dtype: np.dtype[Any]) -> tuple[View, View]:
    """The sign of a determinant, and log of its size, from U of A = P L U."""
    real = np.dtype(dtype.char.lower())
    lead = a.shape[:-2]
    matrices = fortran(context, a, a.shape, dtype)
    parity = context.temp(lead, real)
    if matrices.size:
        work(context, "lu", matrices, parity)
    else:
        context.store(parity, number(1, real))
    diagonal = matrices.ask(lambda x: np.diagonal(x, 0, -2, -1))
    x = context.load(diagonal)
    size = call("absolute", x)
    zero = call("equal", size, number(0, real))
    if dtype.kind == "c":
        sign = call("where", zero, number(0, dtype), call("divide", x, scalars_cast(size, dtype)))
    else:
        sign = call("where", call("less", x, number(0, real)), number(-1, real), number(1, real))
        sign = call("where", zero, number(0, real), sign)
    last = [len(lead)]
    signs = context.reduce(sign, diagonal.shape, last, "multiply", dtype)
    logs = context.reduce(call("log", size), diagonal.shape, last, "add", real)
    turned = call("multiply", context.load(signs), scalars_cast(context.load(parity), dtype))
    return context.map(lead, turned)[0], logs


@rule("slogdet")
def _slogdet(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    return list(_sign_and_log(context, context.view(operands[0]), eqn.outputs[0].aval.dtype))


@rule("det")
def _det(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    aval = eqn.outputs[0].aval
    sign, log = _sign_and_log(context, context.view(operands[0]), aval.dtype)
    size = scalars_cast(call("exp", context.load(log)), aval.dtype)
    return context.map(aval.shape, call("multiply", context.load(sign), size))[0]


def _entries(context: Context, operand: Operand, shape: Shape, dtype: np.dtype[Any]) -> list[list[Expr]]:
    """The entries of matrices, at an index of the batch."""
    view = context.view(operand).broadcast(shape)
    lead, n = range(len(shape) - 2), shape[-1]
    (row, column), place = view.strides[-2:], view.transpose(lead)
    return [
        [
            scalars_cast(context.load(place._replace(offset=place.offset + i * row + j * column)), dtype)
            for j in range(n)
        ]
        for i in range(n)
    ]


@rule("adjugate", "adjugate_along")
def _adjugate(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    """The transposed cofactors of small matrices, or their derivative along other matrices."""
    aval = eqn.outputs[0].aval
    n, dtype = aval.shape[-1], aval.dtype
    if not 1 <= n <= WRITTEN_OUT or 0 in aval.shape:
        return None
    minors = _Minors([_entries(context, operand, aval.shape, dtype) for operand in operands], dtype)
    out = context.temp(aval.shape, dtype)
    lead = out.transpose(range(len(aval.shape) - 2))
    everything = tuple(range(n))
    effects = []
    for i in range(n):
        for j in range(n):
            rows, columns = (tuple(k for k in everything if k != left) for left in (j, i))
            value = minors.of(rows, columns)[-1]
            value = call("negative", value) if (i + j) % 2 else value
            effects.append(Store(lead._replace(offset=i * n + j), value))
    context.loop(lead.shape, effects)
    return out


class _Minors:
    """Determinants of submatrices, each expanded once; with their derivatives where there are two matrices."""

    def __init__(self, matrices: Sequence[list[list[Expr]]], dtype: np.dtype[Any]) -> None:
        self.matrices = matrices
        self.dtype = dtype
        self.known: dict[Any, list[Expr]] = {}

    def of(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> list[Expr]:
        if (rows, columns) not in self.known:
            self.known[rows, columns] = self._expand(rows, columns)
        return self.known[rows, columns]

    def _expand(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> list[Expr]:
        if not rows:
            return [number(1, self.dtype), number(0, self.dtype)][: len(self.matrices)]
        if len(rows) == 1:
            return [matrix[rows[0]][columns[0]] for matrix in self.matrices]
        totals: list[Expr] = []
        for k, column in enumerate(columns):
            head = [matrix[rows[0]][column] for matrix in self.matrices]
            rest = self.of(rows[1:], columns[:k] + columns[k + 1 :])
            terms = [call("multiply", head[0], rest[0])]
            if len(head) > 1:
                terms.append(call("add", call("multiply", head[1], rest[0]), call("multiply", head[0], rest[1])))
            how = "subtract" if k % 2 else "add"
            totals = [call(how, *pair) for pair in zip(totals, terms, strict=True)] if totals else terms
        return totals


# -------------------------------------------------------------------------------------------------------- Cholesky


@rule("cholesky")
def _cholesky(context: Context, eqn: Equation, operands: Sequence[Operand]) -> Any:
    a, aval, upper = context.view(operands[0]), eqn.outputs[0].aval, eqn.params["upper"]
    matrices = fortran(context, a, aval.shape, aval.dtype)
    if not matrices.size:
        return matrices
    work(context, "upper" if upper else "lower", matrices, None)
    like, n = Aval((), INT64), len(aval.shape)
    row, column = Expr("index", like, (), n - 2), Expr("index", like, (), n - 1)
    kept = call("less_equal" if upper else "greater_equal", row, column)
    return context.map(aval.shape, chosen(kept, context.load(swapped(matrices)), 0))[0]
