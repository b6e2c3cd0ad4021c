"""Linear algebra: solve, inv, pinv, det, slogdet, cholesky. Eigenvalues, svd and qr are in `factor.py`.

Operations act on the last two axes, and any axes before them are stacks. Where NumPy reads only one triangle of a
symmetric or Hermitian argument (cholesky, eigh, eigvalsh), so does the derivative: it is the derivative of the
program as it runs. On symmetric tangents this is the usual formula; a gradient fills the triangle that was read, and
(G + Gᵀ)/2 is the gradient in the space of symmetric matrices.

Pullbacks that are given for small matrices' sake take 5 to 30 µs on 3×3, where staging the pushforward takes 50 to 200.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode AD" (2008); I. Murray,
"Differentiation of the Cholesky decomposition" (2016); Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of
from wengert.ops.contract import adjoint, conj, core_aligned, outer, swap
from wengert.ops.kinds import General
from wengert.ops.vector import real_dtype, scale, sum_to, trailing

Dtype = np.dtype[Any]
Found = tuple[Shape, Dtype]


def inexact(*avals: Aval) -> Dtype:
    """The dtype in which NumPy's linear algebra answers: floating or complex, integers as float64."""
    dtype = result_dtype(*avals)
    return dtype if dtype.kind in "fc" else np.dtype(np.float64)


def _like(a: Aval, **_: Any) -> Found:
    return a.shape, inexact(a)


def _per_matrix(a: Aval, **_: Any) -> Found:
    return a.shape[:-2], inexact(a)


def column(x: Any) -> Any:
    return np.reshape(x, (*aval_of(x).shape, 1))


def row(x: Any) -> Any:
    shape = aval_of(x).shape
    return np.reshape(x, (*shape[:-1], 1, shape[-1]))


def eye_like(x: Any) -> Any:
    """The identity that multiplies matrices like `x`, in its real dtype."""
    aval = aval_of(x)
    return np.eye(aval.shape[-2], aval.shape[-1], dtype=real_dtype(aval.dtype))


def regular(*shape: int) -> Callable[..., Any]:
    """An example: well-conditioned square matrices without symmetry."""

    def draw(rng: Any, dtype: Any) -> Any:
        a = rng.normal(size=shape) / 3 + np.diag(np.arange(1.0, shape[-1] + 1))
        return (a + 0.3j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else a).astype(dtype)

    return draw


def positive_definite(*shape: int) -> Callable[..., Any]:
    """An example: Hermitian positive definite matrices with distinct eigenvalues."""

    def draw(rng: Any, dtype: Any) -> Any:
        a = regular(*shape)(rng, dtype)
        return (a @ np.conj(np.swapaxes(a, -1, -2)) + np.diag(np.arange(shape[-1]) + 0.5)).astype(dtype)

    return draw


# ------------------------------------------------------------------------------------------------------ solve, inv
# A X = B:   Ẋ = A⁻¹ (Ḃ − Ȧ X)   (Giles §2.3.1).   B̄ = A⁻ᵀ X̄,  Ā = −B̄ Xᵀ


def _solve_shape(a: Aval, b: Aval, *, vector: bool) -> Found:
    if vector:
        return a.shape[:-1], inexact(a, b)
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), inexact(a, b)


def _solve_like(a: Any, b: Any, vector: bool) -> Any:
    """solve for right-hand sides shaped like a result, which for `vector` has one column for each matrix."""
    if vector and len(aval_of(b).shape) > 1:
        return np.reshape(solve(a, column(b), vector=False), aval_of(b).shape)
    return solve(a, b, vector=vector)


def _solve_push_a(a_dot: Any, a: Any, out: Any, *, vector: bool) -> Any:
    shape = aval_of(out).shape
    product = np.reshape(a_dot @ column(out), shape) if vector and len(shape) > 1 else a_dot @ out
    return -_solve_like(a, product, vector)


def _solve_pull_a(ct: Any, into: Aval, a: Any, out: Any, *, vector: bool) -> Any:
    b_bar = _solve_like(swap(a), ct, vector)
    if vector:
        return -(outer(b_bar, out) if len(aval_of(out).shape) == 1 else column(b_bar) * row(out))
    return -sum_to(b_bar @ swap(out), shape=into.shape)


def _solve_pull_b(ct: Any, into: Aval, a: Any, *, vector: bool) -> Any:
    return sum_to(_solve_like(swap(a), ct, vector), shape=into.shape)


def _solve_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    a, b = args
    vector = params["vector"]
    shape = aval_of(b).shape
    if not mapped[0] and len(aval_of(a).shape) == 2 and len(shape) < 4:  # one factorisation for the whole batch
        if vector:
            return swap(solve(a, swap(b), vector=False))
        columns = np.reshape(np.moveaxis(b, 0, 1), (shape[1], size * shape[2]))
        return np.moveaxis(np.reshape(solve(a, columns, vector=False), (shape[1], size, shape[2])), 1, 0)
    out = core_aligned(2, 2)(primitive, size, (a, column(b) if vector else b), mapped, {"vector": False})
    return np.reshape(out, aval_of(out).shape[:-1]) if vector else out


# `vector`: b is one vector (b.ndim == 1, NumPy 2's rule) rather than matrices of columns.
# The pullback of b is needed: its pushforward is this operation itself, which staging would unfold without end. That of
# a is for small matrices' sake.
solve: General = General(
    "solve",
    lambda a, b, *, vector: np.linalg.solve(a, b),
    shape=_solve_shape,
    pushforward=(_solve_push_a, lambda b_dot, a, *, vector: solve(a, b_dot, vector=vector)),
    pullback=(_solve_pull_a, _solve_pull_b),
    batch=_solve_batch,
    examples=[
        (regular(3, 3), (3,), {"vector": True}), (regular(3, 3), (3, 2), {"vector": False}),
        (regular(2, 3, 3), (3, 2), {"vector": False}), (regular(2, 3, 3), (3,), {"vector": True}),
        (regular(2, 2), (3, 2, 1), {"vector": False}), ((0, 0), (0,), {"vector": True}),
    ],
    tags="complex",
)  # fmt: skip


# C = A⁻¹:   Ċ = −C Ȧ C,  Ā = −Cᵀ C̄ Cᵀ  (Giles §2.2.3; the pullback for small matrices' sake)
def _inv_push(a_dot: Any, out: Any) -> Any:
    return -(out @ a_dot @ out)


def _inv_pull(ct: Any, into: Aval, out: Any) -> Any:
    turned = swap(out)
    return -(turned @ ct @ turned)


inv: General = General(
    "inv",
    lambda a: np.linalg.inv(a),
    shape=_like,
    pushforward=(_inv_push,),
    pullback=(_inv_pull,),
    batch=trailing,
    examples=[(regular(3, 3),), (regular(2, 2, 2),), (regular(1, 1),), ((0, 0),), ((0, 2, 2),)],
    tags="complex",
)

# P = A⁺ where the rank is constant:   Ṗ = −P Ȧ P + P Pᴴ Ȧᴴ (I − A P) + (I − P A) Ȧᴴ Pᴴ P   (Golub and Pereyra 1973)


def _pinv_push(a_dot: Any, a: Any, out: Any, *, options: Any) -> Any:
    d = adjoint(a_dot)
    outside, null = a @ out, out @ a
    return (
        -(out @ a_dot @ out)
        + out @ (adjoint(out) @ (d @ (eye_like(outside) - outside)))
        + (eye_like(null) - null) @ (d @ (adjoint(out) @ out))
    )


def _wide(rng: Any, dtype: Any) -> Any:
    return np.asarray(rng.normal(size=(2, 4)), dtype)


pinv: General = General(
    "pinv",
    lambda a, *, options: np.linalg.pinv(a, **dict(options)),
    shape=lambda a, *, options: ((*a.shape[:-2], a.shape[-1], a.shape[-2]), inexact(a)),
    pushforward=(_pinv_push,),
    batch=trailing,
    examples=[(regular(3, 3), {"options": ()}), ((4, 2), {"options": ()}), (_wide, {"options": ()}),
              ((2, 3, 2), {"options": ()})],
    tags="complex",
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------ det, slogdet
# d det A = tr(adj(A) Ȧ)  (Jacobi), with the adjugate and not det A · A⁻¹, so that it is right for singular A.
#
# With A = U Σ Vᴴ and s = det U · det Vᴴ:  adj A = s V adj(Σ) Uᴴ, where adj(Σ)_ii = Π_{k≠i} σ_k. Along X, with
# B = Uᴴ X V and P_ij = Π_{k≠i,j} σ_k:  D adj(A)[X] = s V (diag(Σ_k P_ik B_kk) − P∘B) Uᴴ, exact for any A (expand the
# cofactors of Σ + tB to first order). So two derivatives of det need no inverse. Beyond, D adj(A)[X] is constant in A
# up to 2×2, and linear and symmetric in A and X for 3×3. Else A must be regular, and what is differentiated is
# D adj(A)[X] = tr(adj(A) X) A⁻¹ − A⁻¹ X adj(A).


def _leave_one_out(x: Any) -> Any:
    """Π_{k≠i} x_k along the last axis, without division."""
    ones = np.ones_like(x[..., :1])
    before = np.cumprod(np.concatenate([ones, x[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, x[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after


def _orientation(u: Any, vh: Any) -> Any:
    return (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]


def _adjugate_value(a: Any) -> Any:
    if a.shape[-1] < 2:
        return np.ones_like(a)
    with np.errstate(all="ignore"):
        try:  # ten times cheaper than an SVD, and as accurate where all matrices are well-conditioned
            inverse = np.linalg.inv(a)
            condition = np.linalg.norm(a, axis=(-2, -1)) * np.linalg.norm(inverse, axis=(-2, -1))
            if np.all(condition < 1e4):
                return inverse * np.linalg.det(a)[..., None, None]
        except np.linalg.LinAlgError:
            pass
    u, s, vh = np.linalg.svd(a)
    return _orientation(u, vh) * (adjoint(vh) * _leave_one_out(s)[..., None, :] @ adjoint(u))


def _adjugate_along_value(a: Any, x: Any) -> Any:
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    pairs = _leave_one_out(np.where(np.eye(n, dtype=bool), s.dtype.type(1), s[..., None, :])) if n else a
    pairs = np.where(np.eye(n, dtype=bool), s.dtype.type(0), pairs)
    b = adjoint(u) @ x @ adjoint(vh)
    diagonal = pairs @ np.diagonal(b, axis1=-2, axis2=-1)[..., None]
    return _orientation(u, vh) * (adjoint(vh) @ (np.eye(n, dtype=s.dtype) * diagonal - pairs * b) @ adjoint(u))


def _matrices(x: Any) -> Any:
    """x[..., None, None]"""
    return np.reshape(x, (*aval_of(x).shape, 1, 1))


def _total(x: Any) -> Any:
    return np.sum(x, axis=(-2, -1), keepdims=True)


def _adjugate_along_push_a(a_dot: Any, a: Any, x: Any) -> Any:
    n = aval_of(a).shape[-1]
    if n < 4:
        return adjugate_along(x, a_dot) if n == 3 else None
    inverse, adj, turned = inv(a), adjugate(a), adjugate_along(a, a_dot)
    ahead = inverse @ a_dot @ inverse
    return _total(swap(turned) * x) * inverse - _total(swap(adj) * x) * ahead + ahead @ x @ adj - inverse @ x @ turned


# tr(D adj(A)[X] Y) is symmetric in X and Y, hence the pullback, which staging could not find: the pushforward in x is
# this operation itself.
adjugate_along: General = General(
    "adjugate_along",
    _adjugate_along_value,
    shape=lambda a, x: (a.shape, inexact(a, x)),
    pushforward=(_adjugate_along_push_a, lambda x_dot, a: adjugate_along(a, x_dot)),
    pullback=(None, lambda ct, into, a: swap(adjugate_along(a, swap(ct)))),
    batch=trailing,
    examples=[(regular(4, 4), (4, 4)), (regular(2, 3, 3), (2, 3, 3)), ((2, 2), (2, 2)), ((0, 0), (0, 0))],
    tags="complex",
)

adjugate: General = General(
    "adjugate",
    _adjugate_value,
    shape=_like,
    pushforward=(lambda a_dot, a: adjugate_along(a, a_dot),),
    batch=trailing,
    examples=[(regular(3, 3),), (regular(2, 4, 4),), (regular(2, 2),), (regular(1, 1),), ((0, 0),)],
    tags="complex",
)

det = General(  # the pullback for small matrices' sake
    "det",
    lambda a: np.linalg.det(a),
    shape=_per_matrix,
    pushforward=(lambda a_dot, a: np.sum(scale(a_dot, swap(adjugate(a))), axis=(-2, -1)),),
    pullback=(lambda ct, into, a: scale(_matrices(ct), swap(adjugate(a))),),
    batch=trailing,
    examples=[((3, 3),), ((2, 2, 2),), ((1, 1),), ((0, 0),)],
    tags="complex",
)


def _inverse_or_infinite(a: Any) -> Any:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        with np.errstate(all="ignore"):
            return _adjugate_value(a) / np.linalg.det(a)[..., None, None]


# For log|det A| at singular A, where the derivative is infinite and the value −∞ without an error.
inverse_or_infinite: General = General(
    "inverse_or_infinite", _inverse_or_infinite, shape=_like, pushforward=(_inv_push,), batch=trailing,
    examples=[(regular(3, 3),)], tags="complex",
)  # fmt: skip


# log|det A|˙ = Re tr(A⁻¹ Ȧ);   sign˙ = i Im tr(A⁻¹ Ȧ) · sign, which is 0 for real A
def _slogdet_push(a_dot: Any, a: Any, out: Any) -> Any:
    traced = np.sum(scale(a_dot, swap(inverse_or_infinite(a))), axis=(-2, -1))
    if aval_of(a).dtype.kind != "c":
        return None, traced
    return out[0] * (traced - np.real(traced)), np.real(traced)


def _slogdet_pull(cts: Sequence[Any], into: Aval, a: Any, out: Any) -> Any:
    sign_ct, ct = (0.0 if ct is None else ct for ct in cts)
    if into.dtype.kind == "c":
        ct = ct + 1j * np.imag(sign_ct * out[0])
    return scale(_matrices(ct), swap(inverse_or_infinite(a)))


slogdet = General(  # the pullback for small matrices' sake
    "slogdet",
    lambda a: tuple(np.linalg.slogdet(a)),
    shape=lambda a: [(a.shape[:-2], inexact(a)), (a.shape[:-2], real_dtype(inexact(a)))],
    pushforward=(_slogdet_push,),
    pullback=(_slogdet_pull,),
    batch=trailing,
    multiple=True,
    examples=[((3, 3),), ((2, 2, 2),), ((1, 1),)],
    tags="complex",
)

# -------------------------------------------------------------------------------------------------------- cholesky
# A = L Lᴴ:   L̇ = L Φ(L⁻¹ Ȧ L⁻ᴴ), where Φ keeps the lower triangle and halves the diagonal (Murray 2016, eq. 8).
# Ȧ is what the triangle that NumPy reads says: Φ(Ȧ) + Φ(Ȧ)ᴴ, or its mirror image where it reads the upper one.


def triangle(n: int, dtype: Dtype, uplo: str) -> Any:
    """1 in a triangle, ½ on its diagonal."""
    mask = np.tri(n, dtype=real_dtype(dtype)) - np.eye(n, dtype=real_dtype(dtype)) / 2
    return mask if uplo == "L" else mask.T


def hermitian(a_dot: Any, uplo: str) -> Any:
    """The Hermitian matrices that a triangle determines."""
    aval = aval_of(a_dot)
    half = a_dot * triangle(aval.shape[-1], aval.dtype, uplo)
    return half + adjoint(half)


def _cholesky_push(a_dot: Any, out: Any, *, upper: bool) -> Any:
    factor = adjoint(out) if upper else out
    inverse = inv(factor)
    inner = inverse @ hermitian(a_dot, "U" if upper else "L") @ adjoint(inverse)
    factor_dot = factor @ (inner * triangle(aval_of(out).shape[-1], aval_of(out).dtype, "L"))
    return adjoint(factor_dot) if upper else factor_dot


# With N = L⁻¹, from the plain transpose of each step:   S̄ = Nᵀ Φ(Lᵀ L̄) conj(N),  Ā = Φ(S̄ + S̄ᴴ)
def _cholesky_pull(ct: Any, into: Aval, out: Any, *, upper: bool) -> Any:
    n, dtype = into.shape[-1], into.dtype
    factor, factor_ct = (adjoint(out), adjoint(ct)) if upper else (out, ct)
    inverse = inv(factor)
    whole = swap(inverse) @ ((swap(factor) @ factor_ct) * triangle(n, dtype, "L")) @ conj(inverse)
    return (whole + adjoint(whole)) * triangle(n, dtype, "U" if upper else "L")


cholesky = General(  # the pullback for small matrices' sake
    "cholesky",
    lambda a, *, upper: np.linalg.cholesky(a, upper=upper),
    shape=_like,
    pushforward=(_cholesky_push,),
    pullback=(_cholesky_pull,),
    batch=trailing,
    examples=[(positive_definite(3, 3), {"upper": False}), (positive_definite(2, 2, 2), {"upper": True}),
              (positive_definite(1, 1), {"upper": False}), ((0, 0), {"upper": False})],
    tags="complex",
)  # fmt: skip
