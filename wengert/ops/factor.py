"""Decompositions: eigh, eig, svd, qr, and least squares.

Their factors are unique only up to signs, phases and, for equal eigenvalues or singular values, rotations. The rules
follow one smooth choice. Differences 1/(λ_j − λ_i) of equal values count as 0, so that derivatives stay finite, and
are right for every function that does not depend on the choice.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode AD" (2008); J. Townsend,
"Differentiating the singular value decomposition" (2016); S. Walter and L. Lehmann, "Algorithmic differentiation of
linear algebra functions" (2010) for QR; Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) for least squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape
from wengert.core import aval_of
from wengert.ops.contract import adjoint, conj, swap
from wengert.ops.kinds import Discrete, General
from wengert.ops.linalg import column, eye_like, hermitian, inexact, pinv, positive_definite, regular, row, triangle
from wengert.ops.norms import or_infinite
from wengert.ops.vector import looped, real_dtype, trailing

Dtype = np.dtype[Any]
Found = tuple[Shape, Dtype]


def _turning(*shape: int) -> Callable[..., Any]:
    """An example: square matrices with complex eigenvalues."""

    def draw(rng: Any, dtype: Any) -> Any:
        return (regular(*shape)(rng, dtype) + 4 * np.tri(shape[-1], k=-1) - 4 * np.tri(shape[-1], k=-1).T).astype(dtype)

    return draw


def _gaps(w: Any) -> Any:
    """1/(w_j − w_i), and 0 where they are equal."""
    return np.divide(1, or_infinite(row(w) - column(w)))


def _diagonal(x: Any) -> Any:
    return np.diagonal(x, axis1=-2, axis2=-1)


# ------------------------------------------------------------------------------------------------------------ eigh
# A V = V Λ, A = Aᴴ. With D = Vᴴ Ȧ V:   λ̇ = diag D,   V̇ = V (F∘D), F_ij = 1/(λ_j − λ_i)   (Giles §3.1)


def _eigh_push(a_dot: Any, out: Any, *, uplo: str) -> Any:
    w, v = out
    d = adjoint(v) @ hermitian(a_dot, uplo) @ v
    return np.real(_diagonal(d)), v @ (_gaps(w) * d)


# From the plain transpose of each step:   D̄ = diag λ̄ + F∘(Vᵀ V̄),  S̄ = conj(V) D̄ Vᵀ,  Ā = Φ(S̄ + S̄ᴴ), Φ as for cholesky
def _eigh_pull(cts: Sequence[Any], into: Aval, out: Any, *, uplo: str) -> Any:
    w, v = out
    w_ct, v_ct = cts
    bar = 0.0 if v_ct is None else _gaps(w) * (swap(v) @ v_ct)
    if w_ct is not None:
        bar = bar + eye_like(v) * row(w_ct)
    whole = conj(v) @ bar @ swap(v)
    return (whole + adjoint(whole)) * triangle(into.shape[-1], into.dtype, uplo)


def _values_shape(a: Aval, **_: Any) -> Found:
    return a.shape[:-1], real_dtype(inexact(a))


eigh = General(  # the pullback for small matrices' sake, as in `linalg.py`
    "eigh",
    lambda a, *, uplo: tuple(np.linalg.eigh(a, uplo)),
    shape=lambda a, *, uplo: [_values_shape(a), (a.shape, inexact(a))],
    pushforward=(_eigh_push,),
    pullback=(_eigh_pull,),
    batch=trailing,
    multiple=True,
    examples=[(positive_definite(3, 3), {"uplo": "L"}), (positive_definite(2, 2, 2), {"uplo": "U"}),
              (positive_definite(1, 1), {"uplo": "L"})],
    tags="gauge",
)  # fmt: skip


def _eigvalsh_push(a_dot: Any, a: Any, *, uplo: str) -> Any:
    _, v = eigh(a, uplo=uplo)
    return np.real(np.sum(conj(v) * (hermitian(a_dot, uplo) @ v), axis=-2))


eigvalsh = General(
    "eigvalsh",
    lambda a, *, uplo: np.linalg.eigvalsh(a, uplo),
    shape=_values_shape,
    pushforward=(_eigvalsh_push,),
    batch=trailing,
    examples=[(positive_definite(3, 3), {"uplo": "L"}), (positive_definite(2, 2, 2), {"uplo": "U"})],
    tags="complex",
)

# ------------------------------------------------------------------------------------------------------------- eig
# A V = V Λ. With D = V⁻¹ Ȧ V:   λ̇ = diag D,   V̇ = V (F∘D) − V diag(c), where c keeps what LAPACK fixes: columns of
# length 1 whose largest component is real. The results are complex here; `numpy/linalg.py` makes them real where NumPy
# does, which depends on their values.


def _eig_push(a_dot: Any, out: Any) -> Any:
    w, v = out
    d = np.linalg.solve(v, a_dot @ v)
    free = v @ (_gaps(w) * d)
    v_dot = free - v * np.sum(np.real(conj(v) * free), axis=-2, keepdims=True)
    largest = np.argmax(np.abs(v), axis=-2, keepdims=True)
    turn = np.imag(np.take_along_axis(v_dot, largest, axis=-2)) / np.real(np.take_along_axis(v, largest, axis=-2))
    return _diagonal(d), v_dot - 1j * turn * v


def _eigvals_push(a_dot: Any, a: Any) -> Any:
    _, v = eig(a)
    return _diagonal(np.linalg.solve(v, a_dot @ v))


def _complex_dtype(a: Aval) -> Dtype:
    return np.result_type(inexact(a), np.complex64)


def _as_complex(x: Any) -> Any:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


eig = General(
    "eig",
    lambda a: tuple(map(_as_complex, np.linalg.eig(a))),
    shape=lambda a: [(a.shape[:-1], _complex_dtype(a)), (a.shape, _complex_dtype(a))],
    pushforward=(_eig_push,),
    batch=trailing,
    multiple=True,
    examples=[(regular(3, 3),), (_turning(3, 3),), (regular(2, 2, 2),)],
    tags="complex",
)

eigvals = General(
    "eigvals",
    lambda a: _as_complex(np.linalg.eigvals(a)),
    shape=lambda a: (a.shape[:-1], _complex_dtype(a)),
    pushforward=(_eigvals_push,),
    batch=trailing,
    examples=[(regular(3, 3),), (_turning(3, 3),), (regular(2, 2, 2),)],
    tags="complex",
)

# ------------------------------------------------------------------------------------------------------------- svd
# A = U Σ Vᴴ. With B = Uᴴ Ȧ V and F_ij = 1/(σ_j² − σ_i²)  (Townsend 2016):
#   σ̇ = Re diag B,   U̇ = U (F∘(B Σ + Σ Bᴴ) + i Im diag(B)/Σ) + (I − U Uᴴ) Ȧ V Σ⁻¹,
#   V̇ = V (F∘(Σ B + Bᴴ Σ)) + (I − V Vᴴ) Ȧᴴ U Σ⁻¹.
# Columns that only full_matrices=True has stay orthogonal to the others: U̇₂ = −U₁ U̇₁ᴴ U₂.


def _svd_push(a_dot: Any, out: Any, *, full: bool) -> Any:
    u_full, s, vh_full = out
    k = aval_of(s).shape[-1]
    u, v = u_full[..., :k], adjoint(vh_full[..., :k, :])
    b = adjoint(u) @ a_dot @ v
    s_row, s_column = row(s), column(s)
    f = np.divide(_gaps(s), or_infinite(s_row + s_column))
    inverse = row(np.divide(1, or_infinite(s)))
    turn_u = f * (b * s_row + s_column * adjoint(b))
    if aval_of(b).dtype.kind == "c":
        turn_u = turn_u + 1j * (np.imag(b) * inverse * eye_like(b))
    along, across = a_dot @ v, adjoint(a_dot) @ u
    u_dot = u @ turn_u + (along - u @ (adjoint(u) @ along)) * inverse
    v_dot = v @ (f * (s_column * b + adjoint(b) * s_row)) + (across - v @ (adjoint(v) @ across)) * inverse
    if full:
        u_dot = _complete(u_full, u, u_dot, k)
        v_dot = _complete(adjoint(vh_full), v, v_dot, k)
    return u_dot, np.real(_diagonal(b)) * np.not_equal(s, 0), adjoint(v_dot)


def _complete(full: Any, thin: Any, thin_dot: Any, k: int) -> Any:
    if aval_of(full).shape[-1] == k:
        return thin_dot
    return np.concatenate([thin_dot, -(thin @ (adjoint(thin_dot) @ full[..., k:]))], axis=-1)


def _svd_shape(a: Aval, *, full: bool) -> list[Found]:
    m, n = a.shape[-2:]
    k, dtype = min(m, n), inexact(a)
    return [
        ((*a.shape[:-2], m, m if full else k), dtype),
        ((*a.shape[:-2], k), real_dtype(dtype)),
        ((*a.shape[:-2], n if full else k, n), dtype),
    ]


svd = General(
    "svd",
    lambda a, *, full: tuple(np.linalg.svd(a, full_matrices=full)),
    shape=_svd_shape,
    pushforward=(_svd_push,),
    batch=trailing,
    multiple=True,
    examples=[(regular(3, 3), {"full": True}), ((4, 2), {"full": False}), ((2, 3), {"full": False}),
              ((2, 3, 2), {"full": False})],
    tags="gauge",
)  # fmt: skip


# σ̇ = Re diag(Uᴴ Ȧ V), and 0 where σ = 0, a minimum
def _svdvals_push(a_dot: Any, a: Any) -> Any:
    u, s, vh = svd(a, full=False)
    return np.real(np.sum(conj(u) * (a_dot @ adjoint(vh)), axis=-2)) * np.not_equal(s, 0)


svdvals = General(
    "svdvals",
    lambda a: np.linalg.svd(a, compute_uv=False),
    shape=lambda a: ((*a.shape[:-2], min(a.shape[-2:])), real_dtype(inexact(a))),
    pushforward=(_svdvals_push,),
    batch=trailing,
    examples=[((3, 3),), ((4, 2),), ((2, 2, 3),), ((1, 1),)],
    tags="complex",
)

# -------------------------------------------------------------------------------------------------------------- qr
# A = Q R with C = Qᴴ Ȧ R⁻¹ = W + X, W skew-Hermitian, X upper triangular with a real diagonal:   Ṙ = X R,
# Q̇ = Ȧ R⁻¹ − Q X   (Walter and Lehmann 2010). A wide A is [A₁ A₂] with A₁ = Q R₁, and Ṙ₂ = Qᴴ(Ȧ₂ − Q̇ R₂).
# Columns that only mode="complete" has stay orthogonal to the others.


def _qr_push(a_dot: Any, out: Any, *, mode: str) -> Any:
    q_full, r_full = out
    k = min(aval_of(a_dot).shape[-2:])
    q, r = q_full[..., :k], r_full[..., :k, :k]
    unit = swap(np.linalg.solve(swap(r), swap(a_dot[..., :k])))
    c = adjoint(q) @ unit
    below = np.tril(c, -1)
    turn = below - adjoint(below)
    if aval_of(c).dtype.kind == "c":
        turn = turn + 1j * (np.imag(c) * eye_like(c))
    x = c - turn
    q_dot, r_dot = unit - q @ x, x @ r
    n = aval_of(a_dot).shape[-1]
    if n > k:
        rest = adjoint(q) @ (a_dot[..., k:] - q_dot @ r_full[..., :k, k:])
        r_dot = np.concatenate([r_dot, rest], axis=-1)
    missing = aval_of(r_full).shape[-2] - k
    if missing:
        q_dot = _complete(q_full, q, q_dot, k)
        below_shape = (*aval_of(r_full).shape[:-2], missing, n)
        r_dot = np.concatenate([r_dot, np.zeros(below_shape, aval_of(r_full).dtype)], axis=-2)
    return q_dot, r_dot


def _qr_shape(a: Aval, *, mode: str) -> list[Found]:
    m, n = a.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    return [((*a.shape[:-2], m, k), inexact(a)), ((*a.shape[:-2], k, n), inexact(a))]


qr = General(
    "qr",
    lambda a, *, mode: tuple(np.linalg.qr(a, mode)),
    shape=_qr_shape,
    pushforward=(_qr_push,),
    batch=trailing,
    multiple=True,
    examples=[(regular(3, 3), {"mode": "reduced"}), ((4, 2), {"mode": "reduced"}), ((2, 4), {"mode": "reduced"}),
              ((2, 3, 2), {"mode": "reduced"})],
    tags="complex",
)  # fmt: skip

# --------------------------------------------------------------------------------------------------- least squares
# x = A⁺ b where the rank is constant, r = b − A x  (Golub and Pereyra 1973):
#   ẋ = A⁺ (ḃ − Ȧ x) + A⁺ A⁺ᴴ Ȧᴴ r + (I − A⁺A) Ȧᴴ A⁺ᴴ x;   (Σ|r|²)˙ = 2 Re Σ conj(r) (ḃ − Ȧ x), since Aᴴ r = 0


def _matrix(b: Any) -> Any:
    return column(b) if len(aval_of(b).shape) == 1 else b


def _residual_change(change: Any, residual: Any, out: Any) -> Any:
    return 2.0 * np.real(np.sum(conj(residual) * change, axis=-2)) if aval_of(out[1]).size else None


def _lstsq_push_a(a_dot: Any, a: Any, b: Any, out: Any, *, rcond: float) -> Any:
    inverse = pinv(a, options=(("rtol", rcond),))
    x = _matrix(out[0])
    residual = _matrix(b) - a @ x
    change = -(a_dot @ x)
    d = adjoint(a_dot)
    back = d @ (adjoint(inverse) @ x)
    x_dot = inverse @ (change + adjoint(inverse) @ (d @ residual)) + back - inverse @ (a @ back)
    u, _, vh = svd(a, full=False)
    s_dot = np.real(np.sum(conj(u) * (a_dot @ adjoint(vh)), axis=-2))
    return np.reshape(x_dot, aval_of(out[0]).shape), _residual_change(change, residual, out), s_dot


def _lstsq_push_b(b_dot: Any, a: Any, b: Any, out: Any, *, rcond: float) -> Any:
    residual = _matrix(b) - a @ _matrix(out[0])
    x_dot = pinv(a, options=(("rtol", rcond),)) @ b_dot
    return x_dot, _residual_change(_matrix(b_dot), residual, out), None


def _lstsq_value(a: Any, b: Any, *, rcond: float) -> Any:
    x, residuals, _, s = np.linalg.lstsq(a, b, rcond)
    return x, residuals, s


def _lstsq_shape(a: Aval, b: Aval, *, rcond: float) -> list[Found]:
    columns = b.shape[1:] or (1,)
    real = real_dtype(inexact(a, b))
    residuals = columns if a.shape[0] > a.shape[1] else (0,)  # as for full rank, which shapes alone do not tell
    return [((a.shape[1], *b.shape[1:]), inexact(a, b)), (residuals, real), ((min(a.shape),), real)]


lstsq = General(
    "lstsq",
    _lstsq_value,
    shape=_lstsq_shape,
    pushforward=(_lstsq_push_a, _lstsq_push_b),
    batch=looped,
    multiple=True,
    examples=[((4, 2), (4,), {"rcond": 1e-14}), ((4, 2), (4, 3), {"rcond": 1e-14}), ((2, 3), (2,), {"rcond": 1e-14})],
    tags="complex",
)

lstsq_rank = Discrete(
    "lstsq_rank",
    lambda a, b, *, rcond: np.intp(np.linalg.lstsq(a, b, rcond)[2]),
    shape=lambda a, b, *, rcond: ((), np.dtype(np.intp)),
    batch=looped,
    examples=[((4, 2), (4,), {"rcond": 1e-14})],
)
