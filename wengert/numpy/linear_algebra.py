"""numpy.linalg, as NumPy spells it. Its errors (LinAlgError) come from NumPy itself."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert import core, errors
from wengert.core import aval_of, bind
from wengert.numpy.contract import judge
from wengert.numpy.table import as_array, dtype_of, implements, ndim_of, negative_axis, operands, shape_of
from wengert.ops import contract, factor, linalg, norms
from wengert.ops.vector import fit_dtype


@functools.cache
def _result_type(name: str) -> Any:
    """NumPy's named tuples, such as EighResult."""
    return type(getattr(np.linalg, name)(np.ones((1, 1))))


def _floating(x: Any) -> Any:
    """Integers as float64, as NumPy's norms take them."""
    x = as_array(x)
    return x if dtype_of(x).kind in "fc" else fit_dtype(x, aval_of(x)._replace(dtype=np.dtype(np.float64)))


def _square(function: Any, a: Any) -> Any:
    """A stack of square matrices, or NumPy's own error."""
    a = as_array(a)
    shape = shape_of(a)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise judge(function, a)
    return a


# ------------------------------------------------------------------------------------------------ solving, inverting


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    a, b = operands((a, b))
    return bind(linalg.solve, a, b, vector=ndim_of(b) == 1)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    return linalg.inv(_square(np.linalg.inv, a))


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, **kwargs: Any) -> Any:
    if not kwargs.keys() <= {"rtol"}:
        raise judge(np.linalg.pinv, as_array(a), rcond, hermitian, **kwargs)
    options = {"rcond": rcond, "hermitian": hermitian, **kwargs}
    defaults = {"rcond": None, "hermitian": False}
    return bind(linalg.pinv, as_array(a), options=_given(options, defaults))


def _given(options: dict[str, Any], defaults: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options that are not the defaults, as a parameter of a primitive."""
    return tuple((k, v) for k, v in options.items() if k not in defaults or v is not defaults[k])


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = operands((a, b))
    ndim = ndim_of(a)
    order = list(range(ndim))
    for k in axes if axes is not None else ():
        order.remove(k)
        order.insert(ndim, k)
    moved = a if axes is None else np.transpose(a, order)
    shape = shape_of(moved)[-(ndim - ndim_of(b)) :]
    n = math.prod(shape)
    if aval_of(a).size != n**2:
        raise judge(np.linalg.tensorsolve, a, b, axes)
    return np.reshape(solve(np.reshape(moved, (n, n)), np.reshape(b, -1)), shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    a = as_array(a)
    if ind <= 0:
        raise judge(np.linalg.tensorinv, a, ind)
    shape = shape_of(a)
    inverse = inv(np.reshape(a, (math.prod(shape[ind:]), -1)))
    return np.reshape(inverse, shape[ind:] + shape[:ind])


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    a, b = operands((a, b))
    if rcond is None:
        rcond = float(np.finfo(np.result_type(dtype_of(a), dtype_of(b), np.float64)).eps) * max(shape_of(a))
    x, residuals, s = bind(factor.lstsq, a, b, rcond=rcond)
    return x, residuals, bind(factor.lstsq_rank, a, b, rcond=rcond), s


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    a = _square(lambda x: np.linalg.matrix_power(x, 1), a)
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError("exponent must be an integer") from None
    if n == 0:
        return np.zeros_like(a) + np.eye(shape_of(a)[-1], dtype=dtype_of(a))
    if n < 0:
        a, n = inv(a), -n
    if n == 3:
        return (a @ a) @ a
    power, result = a, None
    while True:  # the bits of n from the lowest, as NumPy does it
        n, bit = divmod(n, 2)
        if bit:
            result = power if result is None else result @ power
        if n == 0:
            return result
        power = power @ power


# -------------------------------------------------------------------------------------------------- determinants, rank


@implements(np.linalg.det)
def det(a: Any) -> Any:
    return linalg.det(_square(np.linalg.det, a))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    return _result_type("slogdet")(*linalg.slogdet(_square(np.linalg.slogdet, a)))


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    options = {"tol": tol, "hermitian": hermitian, "rtol": rtol}
    defaults = {"tol": None, "hermitian": False, "rtol": None}
    return bind(norms.matrix_rank, as_array(A), options=_given(options, defaults))


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    x = as_array(x)
    if aval_of(x).size == 0 or ndim_of(x) < 2:
        raise judge(np.linalg.cond, x, p)
    if p is None or p in (2, -2):
        s = svdvals(x)
        largest, smallest = s[..., 0], s[..., -1]
        with np.errstate(all="ignore"):
            result = np.divide(smallest, largest) if p == -2 else np.divide(largest, smallest)
    else:
        x = _square(lambda a: np.linalg.cond(a, p), x)
        with np.errstate(all="ignore"):
            inverse = linalg.inverse_or_infinite(x)
            result = norm(x, p, axis=(-2, -1)) * norm(inverse, p, axis=(-2, -1))
    unknown = np.isnan(result) & ~np.any(np.isnan(x), axis=(-2, -1))
    infinite = np.where(unknown, np.inf, result).astype(dtype_of(result))
    return infinite if ndim_of(result) else infinite[()]


# ------------------------------------------------------------------------------------------------------ factorisations


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    return bind(linalg.cholesky, _square(np.linalg.cholesky, a), upper=bool(upper))


def _uplo(UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper()


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    return _result_type("eigh")(*bind(factor.eigh, _square(np.linalg.eigh, a), uplo=_uplo(UPLO)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return bind(factor.eigvalsh, _square(np.linalg.eigvalsh, a), uplo=_uplo(UPLO))


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    a = _square(np.linalg.eig, a)
    w, v = factor.eig(a)
    return _result_type("eig")(*((np.real(w), np.real(v)) if _has_real_values(a, w) else (w, v)))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    a = _square(np.linalg.eigvals, a)
    w = factor.eigvals(a)
    return np.real(w) if _has_real_values(a, w) else w


def _has_real_values(a: Any, w: Any) -> bool:
    """Whether NumPy gives real eigenvalues: those of a real matrix, all real. Of a Batch they stay complex."""
    return dtype_of(a).kind != "c" and type(w) is not core.Batch and not np.any(np.imag(w))


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    a = as_array(a)
    if ndim_of(a) < 2:
        raise judge(np.linalg.svd, a)
    if hermitian:
        return _svd_of_hermitian(a, compute_uv)
    if not compute_uv:
        return factor.svdvals(a)
    return _result_type("svd")(*bind(factor.svd, a, full=bool(full_matrices)))


def _svd_of_hermitian(a: Any, compute_uv: bool) -> Any:
    """From the eigenvalues, sorted by size, as NumPy does it."""
    if not compute_uv:
        return np.flip(np.sort(np.abs(eigvalsh(a))), axis=-1)
    s, u = eigh(a)
    sign = np.copysign(1.0, s)
    s = np.abs(s)
    order = np.flip(np.argsort(s), axis=-1)
    sign, s = np.take_along_axis(sign, order, axis=-1), np.take_along_axis(s, order, axis=-1)
    u = np.take_along_axis(u, order[..., None, :], axis=-1)
    return _result_type("svd")(u, s, contract.adjoint(u * sign[..., None, :]))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svd(x, compute_uv=False)


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    a = as_array(a)
    if ndim_of(a) < 2 or mode not in ("reduced", "complete", "r", "raw"):
        raise judge(np.linalg.qr, a, mode)
    if mode == "raw":
        raise errors.unsupported("numpy.linalg.qr with mode='raw'", "Use mode='reduced' or mode='complete'.")
    q, r = bind(factor.qr, a, mode="complete" if mode == "complete" else "reduced")
    return r if mode == "r" else _result_type("qr")(q, r)


# --------------------------------------------------------------------------------------------------------------- norms


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = _floating(x)
    ndim = ndim_of(x)
    if axis is None:
        if ord is None or (ord in ("f", "fro") and ndim == 2) or (ord == 2 and ndim == 1):
            return bind(norms.norm, x, axis=None, keepdims=bool(keepdims))
        axes: tuple[int, ...] = tuple(range(ndim))
    elif isinstance(axis, tuple):
        axes = axis
    else:
        try:
            axes = (int(axis),)
        except Exception:
            raise TypeError("'axis' must be None, an integer or a tuple of integers") from None
    if len(axes) == 1 and not isinstance(ord, str):
        return _vector_norm(x, ord, negative_axis(axes[0], ndim), bool(keepdims))
    if len(axes) == 2:
        row, column = (normalize_axis_index(k, ndim) for k in axes)
        if row != column and ord in (None, "fro", "f", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
            return _matrix_norm(x, ord, row, column, bool(keepdims))
    raise judge(np.linalg.norm, x, ord, axis, keepdims)


def _vector_norm(x: Any, order: Any, axis: int, keepdims: bool) -> Any:
    if shape_of(x)[axis] == 0 and order is not None and abs(order) == np.inf:
        return np.linalg.norm(np.zeros(shape_of(x), dtype_of(x)), order, axis, keepdims)  # 0, or NumPy's error
    if order is None or order == 2:
        return bind(norms.norm, x, axis=(axis,), keepdims=keepdims)
    if order == np.inf:
        return np.max(np.abs(x), axis=axis, keepdims=keepdims)
    if order == -np.inf:
        return np.min(np.abs(x), axis=axis, keepdims=keepdims)
    if order == 0:
        return np.sum(np.not_equal(x, 0).astype(np.real(np.zeros(0, dtype_of(x))).dtype), axis=axis, keepdims=keepdims)
    if order == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    return bind(norms.power_norm, np.abs(x), order=order, axis=(axis,), keepdims=keepdims)


def _matrix_norm(x: Any, order: Any, row: int, column: int, keepdims: bool) -> Any:
    shape = shape_of(x)
    if order in (None, "fro", "f"):
        return bind(norms.norm, x, axis=(row - len(shape), column - len(shape)), keepdims=keepdims)
    if shape[row] == 0 or shape[column] == 0:
        return np.linalg.norm(np.zeros(shape, dtype_of(x)), order, (row, column), keepdims)  # 0, or NumPy's error
    if order in (2, -2, "nuc"):
        s = svdvals(np.moveaxis(x, (row, column), (-2, -1)))
        reduce: Any = {2: np.max, -2: np.min, "nuc": np.sum}[order]
        result = reduce(s, axis=-1)
    else:
        inner, outer = (row, column) if abs(order) == 1 else (column, row)
        reduce = np.max if order > 0 else np.min
        result = reduce(np.sum(np.abs(x), axis=inner), axis=outer - (outer > inner))
    if keepdims:
        result = np.reshape(result, [1 if k in (row, column) else n for k, n in enumerate(shape)])
    return result


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = as_array(x)
    shape, ndim = shape_of(x), ndim_of(x)
    if axis is None:
        flat = np.reshape(x, -1)
        result = norm(flat, ord, 0)
    elif isinstance(axis, tuple):
        axes = normalize_axis_tuple(axis, ndim)
        rest = [k for k in range(ndim) if k not in axes]
        flat = np.reshape(np.transpose(x, (*axes, *rest)), _merged(shape, axes, rest))
        result = norm(flat, ord, 0)
    else:
        result = norm(x, ord, axis)
    if keepdims:
        axes = normalize_axis_tuple(range(ndim) if axis is None else axis, ndim)
        result = np.reshape(result, [1 if k in axes else n for k, n in enumerate(shape)])
    return result


def _merged(shape: Sequence[int], axes: Sequence[int], rest: Sequence[int]) -> tuple[int, ...]:
    return math.prod(shape[k] for k in axes), *(shape[k] for k in rest)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)
