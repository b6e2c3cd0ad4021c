"""Products that sum over shared axes: matmul and its kin, dot, outer, tensordot, trace, cross, convolve.

All are linear in each operand, so each states only its transposes. Cotangents are plain (⟨a, b⟩ = Re Σ a·b), hence
there is no conjugate in a transpose except where the operation itself conjugates (vdot, vecdot, vecmat).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of, bind
from wengert.ops.kinds import Linear
from wengert.ops.vector import BatchRule, looped, scale, sum_to, trailing


def _ndim(x: Any) -> int:
    return len(aval_of(x).shape)


def _flat(x: Any, *lengths: int) -> Any:
    return np.reshape(x, lengths)


def _column(x: Any) -> Any:
    """x[..., None]"""
    return np.reshape(x, (*aval_of(x).shape, 1))


def _row(x: Any) -> Any:
    """x[..., None, :]"""
    shape = aval_of(x).shape
    return np.reshape(x, (*shape[:-1], 1, shape[-1]))


def swap(x: Any) -> Any:
    """Matrices transposed; a batch of them stays one."""
    return x.T if type(x) is np.ndarray and x.ndim == 2 else np.swapaxes(x, -1, -2)


def conj(x: Any) -> Any:
    """The complex conjugate, and nothing at all for real values."""
    return np.conjugate(x) if aval_of(x).dtype.kind == "c" else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose of matrices."""
    return conj(swap(x))


def core_aligned(*cores: int) -> BatchRule:
    """The batch rule of a gufunc whose operands end in this many core axes: line the loop axes up before them."""

    def rule(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
        shapes = [aval_of(x).shape for x in args]
        loops = [len(shape) - is_mapped - core for shape, is_mapped, core in zip(shapes, mapped, cores, strict=True)]
        rank = max(loops)
        return bind(
            primitive,
            *(
                np.reshape(x, (size, *(1,) * (rank - loop), *shape[1:])) if is_mapped and loop < rank else x
                for x, shape, is_mapped, loop in zip(args, shapes, mapped, loops, strict=True)
            ),
            **params,
        )

    return rule


# --------------------------------------------------------------------------------------------------------- outer
# out[i…, j…] = x[i…] y[j…], for operands of any rank.   x̄ = Σ_j ct y,  ȳ = Σ_i x ct: a matrix times a vector each


def _outer_bar_x(ct: Any, into: Aval, y: Any) -> Any:
    if len(into.shape) == 1 and _ndim(y) == 1:
        return ct @ y
    n, m = into.size, aval_of(y).size
    return np.reshape(_flat(ct, n, m) @ _flat(y, m), into.shape)


def _outer_bar_y(ct: Any, into: Aval, x: Any) -> Any:
    if len(into.shape) == 1 and _ndim(x) == 1:
        return x @ ct
    n, m = aval_of(x).size, into.size
    return np.reshape(_flat(x, n) @ _flat(ct, n, m), into.shape)


def _outer_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    x, y = args
    x_shape, y_shape = aval_of(x).shape, aval_of(y).shape
    if not mapped[1]:
        return outer(x, y)
    if not mapped[0]:
        return np.moveaxis(outer(x, y), len(x_shape), 0)
    x = np.reshape(x, (*x_shape, *(1,) * (len(y_shape) - 1)))
    return x * np.reshape(y, (size, *(1,) * (len(x_shape) - 1), *y_shape[1:]))


outer: Linear = Linear(
    "outer",
    lambda x, y: np.multiply.outer(x, y),
    shape=lambda x, y: (x.shape + y.shape, result_dtype(x, y)),
    transpose=(_outer_bar_x, _outer_bar_y),
    batch=_outer_batch,
    examples=[((3,), (2,)), ((2, 3), (2,)), ((), (3,)), ((0,), (2,)), ((1,), (1,))],
    tags="complex",
)

# -------------------------------------------------------------------------------------------------------- matmul
# C = A B.  Ā = C̄ Bᵀ,  B̄ = Aᵀ C̄  (Giles 2008, "Collected matrix derivative results", §2.2.2), with vectors as one-column
# or one-row matrices and broadcast batch axes summed. Each case of vectors and plain matrices is one call of BLAS.


def _matmul_bar_a(ct: Any, into: Aval, b: Any) -> Any:
    b_ndim = _ndim(b)
    if b_ndim == 1:
        return ct * b if into.ndim == 1 else outer(ct, b)
    if into.ndim == 1:
        if b_ndim == 2:
            return ct @ swap(b)
        return sum_to(np.reshape(b @ _column(ct), aval_of(b).shape[:-1]), shape=into.shape)
    if into.ndim > 2 and b_ndim == 2:
        rows = math.prod(into.shape[:-1])
        return np.reshape(_flat(ct, rows, aval_of(b).shape[1]) @ swap(b), into.shape)
    return sum_to(ct @ swap(b), shape=into.shape)


def _matmul_bar_b(ct: Any, into: Aval, a: Any) -> Any:
    a_shape = aval_of(a).shape
    if into.ndim == 1:
        if len(a_shape) == 1:
            return ct * a
        rows = math.prod(a_shape[:-1])
        return ct @ a if len(a_shape) == 2 else _flat(ct, rows) @ _flat(a, rows, a_shape[-1])
    if len(a_shape) == 1:
        return outer(a, ct) if into.ndim == 2 else _column(a) * _row(ct)
    if len(a_shape) > 2 and into.ndim == 2:
        rows = math.prod(a_shape[:-1])
        return swap(_flat(a, rows, into.shape[0])) @ _flat(ct, rows, into.shape[1])
    return sum_to(swap(a) @ ct, shape=into.shape)


def _matmul_shape(a: Aval, b: Aval) -> tuple[Shape, np.dtype[Any]]:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (*lead, *a.shape[:-1][-1:], *(b.shape[-1:] if b.ndim > 1 else ())), result_dtype(a, b)


def _matmul_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    a, b = args
    a_shape, b_shape = aval_of(a).shape, aval_of(b).shape
    a_ndim, b_ndim = len(a_shape) - mapped[0], len(b_shape) - mapped[1]
    if not mapped[0]:
        if b_ndim == 1 and a_ndim <= 2:
            return b @ (swap(a) if a_ndim == 2 else a)  # one product for the whole batch
        if b_ndim > 1 and a_ndim == 1:
            return a @ b
    if not mapped[1] and ((a_ndim == 1 and b_ndim <= 2) or (a_ndim > 1 and b_ndim == 1)):
        return a @ b
    a = a if a_ndim > 1 else _row(a)
    b = b if b_ndim > 1 else _column(b)
    out = _matmul_aligned(primitive, size, (a, b), mapped, params)
    shape = aval_of(out).shape
    if a_ndim > 1 and b_ndim > 1:
        return out
    return np.reshape(out, (*shape[:-2], *(shape[-2:-1] if a_ndim > 1 else ()), *(shape[-1:] if b_ndim > 1 else ())))


_matmul_aligned = core_aligned(2, 2)

matmul: Linear = Linear(
    "matmul",
    np.matmul,
    slots="a b",
    shape=_matmul_shape,
    transpose=(_matmul_bar_a, _matmul_bar_b),
    batch=_matmul_batch,
    examples=[
        ((3, 2), (2, 4)), ((3, 2), (2,)), ((2,), (2, 3)), ((3,), (3,)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)), ((3, 4), (2, 4, 2)), ((5, 1, 3, 2), (2, 2, 4)), ((3, 0), (0, 2)), ((1, 1), (1, 1)),
        ((0,), (0,)),
    ],
    tags="complex",
)  # fmt: skip

# vecdot: Σ conj(a) b over the last axis.   ā = conj(ct b),  b̄ = ct conj(a)
vecdot = Linear(
    "vecdot",
    np.vecdot,
    slots="a b",
    shape=lambda a, b: (np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), result_dtype(a, b)),
    transpose=(
        lambda ct, into, b: sum_to(conj(_column(ct) * b), shape=into.shape),
        lambda ct, into, a: sum_to(_column(ct) * conj(a), shape=into.shape),
    ),
    batch=core_aligned(1, 1),
    examples=[((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (4, 3)), ((2, 0), (2, 0))],
    tags="complex",
)

if "matvec" in vars(np):  # NumPy 2.2
    # matvec: A v;  vecmat: vᴴ A.  The plain transposes as for matmul; vecmat conjugates its vector.
    matvec = Linear(
        "matvec",
        np.matvec,
        slots="a v",
        shape=lambda a, v: (
            (*np.broadcast_shapes(a.shape[:-2], v.shape[:-1]), a.shape[-2]), result_dtype(a, v)),
        transpose=(
            lambda ct, into, v: sum_to(_column(ct) * _row(v), shape=into.shape),
            lambda ct, into, a: sum_to(np.matvec(swap(a), ct), shape=into.shape),
        ),
        batch=core_aligned(2, 1),
        examples=[((3, 2), (2,)), ((4, 3, 2), (2,)), ((3, 2), (4, 2))],
        tags="complex",
    )  # fmt: skip
    vecmat = Linear(
        "vecmat",
        np.vecmat,
        slots="v a",
        shape=lambda v, a: (
            (*np.broadcast_shapes(v.shape[:-1], a.shape[:-2]), a.shape[-1]), result_dtype(v, a)),
        transpose=(
            lambda ct, into, a: sum_to(conj(np.matvec(a, ct)), shape=into.shape),
            lambda ct, into, v: sum_to(_column(conj(v)) * _row(ct), shape=into.shape),
        ),
        batch=core_aligned(1, 2),
        examples=[((3,), (3, 2)), ((3,), (4, 3, 2)), ((4, 3), (3, 2))],
        tags="complex",
    )  # fmt: skip

# ------------------------------------------------------------------------------------- dot, inner, tensordot, vdot
# Sums over pairs of axes.   x̄ = Σ over y's free axes of ct y, its axes put back in x's order; ȳ likewise.

Pairs = tuple[tuple[int, ...], tuple[int, ...]]


def _dot_axes(x_ndim: int, y_ndim: int) -> Pairs:
    return (-1,), (max(-2, -y_ndim),)


def _inner_axes(x_ndim: int, y_ndim: int) -> Pairs:
    return (-1,), (-1,)


def _free(ndim: int, summed: Sequence[int]) -> tuple[int, ...]:
    return tuple(k for k in range(-ndim, 0) if k not in summed)


def _in_order(bar: Any, axes: Sequence[int]) -> Any:
    """`bar`, whose axes are these axes of an operand (counted from the end), with its axes in the operand's order."""
    order = [int(k) for k in np.argsort(axes)]
    return bar if order == sorted(order) else np.transpose(bar, order)


def _tensordot_bar_x(ct: Any, into: Aval, y: Any, axes: Pairs) -> Any:
    free = _free(_ndim(y), axes[1])
    bar = tensordot(ct, y, axes=(tuple(range(-len(free), 0)), free))
    return _in_order(bar, (*_free(into.ndim, axes[0]), *(ax for _, ax in sorted(zip(axes[1], axes[0], strict=True)))))


def _tensordot_bar_y(ct: Any, into: Aval, x: Any, axes: Pairs) -> Any:
    free = _free(_ndim(x), axes[0])
    ct_ndim = _ndim(ct)
    bar = tensordot(x, ct, axes=(free, tuple(range(-ct_ndim, len(free) - ct_ndim))))
    return _in_order(bar, (*(ay for _, ay in sorted(zip(*axes, strict=True))), *_free(into.ndim, axes[1])))


def _tensordot_shape(x: Aval, y: Aval, axes: Pairs) -> tuple[Shape, np.dtype[Any]]:
    shape = (*(x.shape[k] for k in _free(x.ndim, axes[0])), *(y.shape[k] for k in _free(y.ndim, axes[1])))
    return shape, result_dtype(x, y)


def _tensordot_batch(size: int, args: Sequence[Any], mapped: Sequence[bool], axes: Pairs) -> Any:
    x, y = args
    x_ndim, y_ndim = _ndim(x) - mapped[0], _ndim(y) - mapped[1]
    if not mapped[1]:
        return tensordot(x, y, axes=axes)
    if not mapped[0]:
        return np.moveaxis(tensordot(x, y, axes=axes), x_ndim - len(axes[0]), 0)
    x_free, y_free = _free(x_ndim, axes[0]), _free(y_ndim, axes[1])
    x = np.moveaxis(x, (*x_free, *axes[0]), range(-x_ndim, 0))
    y = np.moveaxis(y, (*axes[1], *y_free), range(-y_ndim, 0))
    x_shape, y_shape = aval_of(x).shape, aval_of(y).shape
    lead, tail = x_shape[1 : len(x_free) + 1], y_shape[len(axes[1]) + 1 :]
    summed = math.prod(y_shape[1 : len(axes[1]) + 1])
    out = _flat(x, size, math.prod(lead), summed) @ _flat(y, size, summed, math.prod(tail))
    return np.reshape(out, (size, *lead, *tail))


tensordot: Linear = Linear(
    "tensordot",
    lambda x, y, *, axes: np.tensordot(x, y, axes),
    shape=lambda x, y, *, axes: _tensordot_shape(x, y, axes),
    transpose=(
        lambda ct, into, y, *, axes: _tensordot_bar_x(ct, into, y, axes),
        lambda ct, into, x, *, axes: _tensordot_bar_y(ct, into, x, axes),
    ),
    batch=lambda primitive, size, args, mapped, params: _tensordot_batch(size, args, mapped, params["axes"]),
    scalar=False,
    examples=[
        ((2, 3, 4), (4, 3, 2), {"axes": ((-2, -1), (-2, -3))}), ((2, 3), (3, 2, 4), {"axes": ((-2, -1), (-2, -3))}),
        ((2, 3), (2, 3), {"axes": ((-2, -1), (-2, -1))}), ((3,), (2,), {"axes": ((), ())}),
        ((), (2,), {"axes": ((), ())}), ((2, 0), (0, 3), {"axes": ((-1,), (-2,))}),
    ],
    tags="complex",
)  # fmt: skip


def _dot_bar_x(ct: Any, into: Aval, y: Any) -> Any:
    if into.ndim <= 2 and _ndim(y) <= 2:
        return _matmul_bar_a(ct, into, y)
    return _tensordot_bar_x(ct, into, y, _dot_axes(into.ndim, _ndim(y)))


def _dot_bar_y(ct: Any, into: Aval, x: Any) -> Any:
    if into.ndim <= 2 and _ndim(x) <= 2:
        return _matmul_bar_b(ct, into, x)
    return _tensordot_bar_y(ct, into, x, _dot_axes(_ndim(x), into.ndim))


def _dot_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    x_ndim, y_ndim = (_ndim(x) - is_mapped for x, is_mapped in zip(args, mapped, strict=True))
    if x_ndim <= 2 and y_ndim <= 2:
        return _matmul_batch(matmul, size, args, mapped, params)
    return _tensordot_batch(size, args, mapped, _dot_axes(x_ndim, y_ndim))


def _inner_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    return _tensordot_batch(size, args, mapped, ((-1,), (-1,)))


dot = Linear(  # of operands with axes; scalars are multiplied instead
    "dot",
    np.dot,
    slots="x y",
    shape=lambda x, y: _tensordot_shape(x, y, _dot_axes(x.ndim, y.ndim)),
    transpose=(_dot_bar_x, _dot_bar_y),
    batch=_dot_batch,
    examples=[((3, 2), (2, 4)), ((3,), (3,)), ((3, 2), (2,)), ((2,), (2, 3)), ((2, 3, 4), (5, 4, 2)), ((3,), (2, 3, 2)),
              ((2, 0), (0, 3))],
    tags="complex",
)  # fmt: skip
inner = Linear(
    "inner",
    np.inner,
    slots="x y",
    shape=lambda x, y: _tensordot_shape(x, y, ((-1,), (-1,))),
    transpose=(
        lambda ct, into, y: _tensordot_bar_x(ct, into, y, ((-1,), (-1,))),
        lambda ct, into, x: _tensordot_bar_y(ct, into, x, ((-1,), (-1,))),
    ),
    batch=_inner_batch,
    examples=[((3,), (3,)), ((2, 3), (4, 3)), ((3,), (2, 2, 3)), ((2, 0), (0,))],
    tags="complex",
)


def _vdot_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    flat = []
    for x, is_mapped in zip(args, mapped, strict=True):
        shape = aval_of(x).shape
        flat.append(np.reshape(x, (size, math.prod(shape[1:])) if is_mapped else (math.prod(shape),)))
    return np.vecdot(*flat)


# Σ conj(x) y over all elements.   x̄ = conj(ct y),  ȳ = ct conj(x)
vdot = Linear(
    "vdot",
    np.vdot,
    slots="x y",
    shape=lambda x, y: ((), result_dtype(x, y)),
    transpose=(
        lambda ct, into, y: np.reshape(conj(ct * y), into.shape),
        lambda ct, into, x: np.reshape(ct * conj(x), into.shape),
    ),
    batch=_vdot_batch,
    examples=[((3,), (3,)), ((2, 3), (3, 2)), ((), ()), ((0,), (0,))],
    tags="complex",
)

# ---------------------------------------------------------------------------------------------------------- trace
# The sum of a diagonal.   x̄ has ct on that diagonal and an exact 0 off it.


def _trace_bar(ct: Any, into: Aval, *, offset: int, axis1: int, axis2: int) -> Any:
    n, m = into.shape[axis1], into.shape[axis2]
    bar = scale(np.eye(n, m, offset, dtype=bool), np.reshape(ct, (*aval_of(ct).shape, 1, 1)))
    return np.moveaxis(bar, (-2, -1), (axis1, axis2))


def _trace_shape(x: Aval, *, offset: int, axis1: int, axis2: int) -> tuple[Shape, np.dtype[Any]]:
    return tuple(x.shape[k] for k in _free(x.ndim, (axis1, axis2))), np.add.reduce(np.zeros(1, x.dtype)).dtype


trace = Linear(
    "trace",
    lambda x, *, offset, axis1, axis2: np.trace(x, offset, axis1, axis2),
    shape=_trace_shape,
    transpose=(_trace_bar,),
    batch=trailing,
    examples=[
        ((3, 3), {"offset": 0, "axis1": -2, "axis2": -1}), ((2, 3, 4), {"offset": 1, "axis1": -1, "axis2": -3}),
        ((2, 4), {"offset": -1, "axis1": -2, "axis2": -1}), ((2, 2), {"offset": 5, "axis1": -2, "axis2": -1}),
        ((0, 0), {"offset": 0, "axis1": -2, "axis2": -1}),
    ],
    tags="complex",
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ cross, convolve
# ct·(x × y) = x·(y × ct) = y·(ct × x)
cross: Linear = Linear(
    "cross",
    lambda x, y: np.cross(x, y),
    shape=lambda x, y: (np.broadcast_shapes(x.shape, y.shape), result_dtype(x, y)),
    transpose=(
        lambda ct, into, y: sum_to(cross(y, ct), shape=into.shape),
        lambda ct, into, x: sum_to(cross(ct, x), shape=into.shape),
    ),
    batch=core_aligned(1, 1),
    examples=[((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (4, 3)), ((0, 3), (3,))],
    tags="complex",
)

# out[n] = Σ_m x[m] y[n − m], of which `mode` returns the whole, the middle, or the part without edges.
# x̄[m] = Σ_n ct[n] y[n − m] = (ct ∗ reversed y)[m + len y − 1], and the same with x and y exchanged.


def _convolve_length(n: int, m: int, mode: str) -> int:
    return {"full": n + m - 1, "same": max(n, m), "valid": max(n, m) - min(n, m) + 1}[mode]


def _convolve_bar(ct: Any, into: Aval, y: Any, mode: str) -> Any:
    m = aval_of(y).shape[0]
    missing = into.shape[0] + m - 1 - aval_of(ct).shape[0]
    before = {"full": 0, "same": (min(into.shape[0], m) - 1) // 2, "valid": min(into.shape[0], m) - 1}[mode]
    ct = np.pad(ct, (before, missing - before)) if missing else ct
    return convolve(ct, np.flip(y), mode="valid")


convolve: Linear = Linear(
    "convolve",
    lambda x, y, *, mode: np.convolve(x, y, mode),
    shape=lambda x, y, *, mode: ((_convolve_length(x.shape[0], y.shape[0], mode),), result_dtype(x, y)),
    transpose=(
        lambda ct, into, y, *, mode: _convolve_bar(ct, into, y, mode),
        lambda ct, into, x, *, mode: _convolve_bar(ct, into, x, mode),
    ),
    batch=looped,
    examples=[((5,), (3,), {"mode": "full"}), ((5,), (2,), {"mode": "same"}), ((3,), (4,), {"mode": "valid"}),
              ((1,), (1,), {"mode": "full"}), ((2,), (5,), {"mode": "same"})],
    tags="complex",
)  # fmt: skip
