"""Products that sum over shared axes, as NumPy spells them: dot, outer, tensordot, einsum, trace, cross, convolve…"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert import errors
from wengert.core import TRACED, UFUNCS, aval_of, bind, link_view
from wengert.numpy.table import (
    as_array,
    deliver,
    dtype_of,
    given,
    implements,
    ndim_of,
    operands,
    shape_of,
)
from wengert.numpy.ufuncs import METHODS, WITH_AXES
from wengert.ops import contract
from wengert.ops.einsum import LETTERS, split
from wengert.ops.einsum import einsum as einsum_primitive
from wengert.ops.vector import fit_dtype


def stand_in(value: Any) -> Any:
    """A plain array of zeros like `value`, without its memory: what NumPy's own checks are run on."""
    aval = aval_of(as_array(value))
    return np.broadcast_to(np.zeros((), aval.dtype), aval.shape)


def judge(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Let NumPy judge a call that we do not understand, so that a user's mistake raises NumPy's own error."""
    plain = [stand_in(x) if type(x) in TRACED else x for x in args]
    function(*plain, **kwargs)
    return errors.unsupported(f"numpy.{function.__name__} with these arguments")


# ---------------------------------------------------------------------------------------------------------- ufuncs

GUFUNCS: Final[dict[np.ufunc, Any]] = {np.matmul: contract.matmul, np.vecdot: contract.vecdot}
if "matvec" in vars(np):  # NumPy 2.2
    GUFUNCS.update({np.matvec: contract.matvec, np.vecmat: contract.vecmat})
UFUNCS.update(GUFUNCS)


def call_gufunc(ufunc: np.ufunc, *inputs: Any, axes: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """matmul, vecdot, matvec or vecmat with the keywords that say where their core axes are."""
    arrays = operands(inputs)
    to_scalars = ufunc is np.vecdot
    if not to_scalars and (axis is not None or keepdims):
        raise judge(ufunc, *arrays, **({"axis": axis} if axis is not None else {"keepdims": keepdims}))
    if axes is None:
        if not to_scalars:
            return ufunc(*arrays)
        axes = [-1 if axis is None else axis] * 3
    else:
        small = (np.zeros([min(n, 1) for n in shape_of(x)]) for x in arrays)
        ufunc(*small, axes=axes, **({"keepdims": True} if keepdims else {}))  # NumPy's own errors for bad axes
    first, second, *rest = [tuple(k) if isinstance(k, tuple | list) else (operator.index(k),) for k in axes]
    result = ufunc(_axes_last(arrays[0], first), _axes_last(arrays[1], second))
    if to_scalars:
        return np.expand_dims(result, rest[0] if rest else -1) if keepdims else result
    return np.moveaxis(result, range(-len(rest[0]), 0), rest[0])


WITH_AXES.update(dict.fromkeys(GUFUNCS, call_gufunc))


def _axes_last(x: Any, axes: tuple[int, ...]) -> Any:
    return np.moveaxis(x, axes, range(-len(axes), 0))


def ufunc_outer(ufunc: np.ufunc, a: Any, b: Any, **kwargs: Any) -> Any:
    """`ufunc.outer(a, b)`: the ufunc of every pair of elements."""
    a, b = operands((a, b))
    if ufunc is np.multiply and not kwargs:
        return contract.outer(a, b)
    return ufunc(np.reshape(a, (*shape_of(a), *(1,) * ndim_of(b))), b, **kwargs)


METHODS["outer"] = ufunc_outer


# ------------------------------------------------------------------------------------------------ products of pairs


@implements(np.dot, method="dot")
def dot(a: Any, b: Any, out: Any = None) -> Any:
    a, b = operands((a, b))
    return deliver(contract.dot(a, b) if ndim_of(a) and ndim_of(b) else np.multiply(a, b), out)


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    return contract.vdot(*operands((a, b)))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    a, b = operands((a, b))
    return contract.inner(a, b) if ndim_of(a) and ndim_of(b) else np.multiply(a, b)


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    return deliver(contract.outer(*(x if ndim_of(x) == 1 else np.reshape(x, -1) for x in operands((a, b)))), out)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = operands((a, b))
    try:
        axes_a, axes_b = axes if np.iterable(axes) else (range(-axes, 0), range(axes))
        pairs = [
            tuple(normalize_axis_index(k, ndim) - ndim for k in (wanted if np.iterable(wanted) else (wanted,)))
            for wanted, ndim in ((axes_a, ndim_of(a)), (axes_b, ndim_of(b)))
        ]
    except (TypeError, ValueError, IndexError):
        pairs = []
    if not pairs or len(pairs[0]) != len(pairs[1]) or any(len(set(pair)) < len(pair) for pair in pairs):
        raise judge(np.tensordot, a, b, axes)
    return bind(contract.tensordot, a, b, axes=tuple(pairs))


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = operands((a, b))
    if ndim_of(a) == 0 or ndim_of(b) == 0:
        return np.multiply(a, b)
    ndim = max(ndim_of(a), ndim_of(b))
    shapes = [(1,) * (ndim - ndim_of(x)) + shape_of(x) for x in (a, b)]
    a = np.reshape(a, [n for length in shapes[0] for n in (length, 1)])
    b = np.reshape(b, [n for length in shapes[1] for n in (1, length)])
    return np.reshape(np.multiply(a, b), [n * m for n, m in zip(*shapes, strict=True)])


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = a, b = operands((a, b))
    if not (ndim_of(a) and ndim_of(b)):
        raise judge(np.cross, a, b, axisa, axisb, axisc)
    a = np.moveaxis(a, normalize_axis_index(axisa, ndim_of(a), "axisa"), -1)
    b = np.moveaxis(b, normalize_axis_index(axisb, ndim_of(b), "axisb"), -1)
    lengths = shape_of(a)[-1], shape_of(b)[-1]
    if lengths == (3, 3):
        result = contract.cross(a, b)
    elif set(lengths) <= {2, 3}:
        warnings.warn(
            "Arrays of 2-dimensional vectors are deprecated. Use arrays of 3-dimensional vectors instead. "
            "(deprecated in NumPy 2.0)",
            DeprecationWarning,
            stacklevel=3,
        )
        result = _cross_in_plane(a, b, lengths)
    else:
        raise judge(np.cross, x, y, axisa, axisb, axisc)
    if lengths == (2, 2):
        return result
    return np.moveaxis(result, -1, normalize_axis_index(axisc, ndim_of(result), "axisc"))


def _cross_in_plane(a: Any, b: Any, lengths: tuple[int, int]) -> Any:
    """The cross product where one operand, or both, have no third component."""
    a0, a1, b0, b1 = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    last = np.multiply(a0, b1) - np.multiply(a1, b0)
    if lengths == (2, 2):
        return last[...]
    if lengths == (2, 3):
        return np.stack([np.multiply(a1, b[..., 2]), -np.multiply(a0, b[..., 2]), last], axis=-1)
    return np.stack([-np.multiply(a[..., 2], b1), np.multiply(a[..., 2], b0), last], axis=-1)


# --------------------------------------------------------------------------------------------------------- einsum


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    subscripts, arrays = _spelled(operands)
    result = _einsum(subscripts, arrays, optimize, **kwargs)
    return deliver(result, out)


def _einsum(
    subscripts: str, arrays: Sequence[Any], optimize: Any, dtype: Any = None, order: str = "K", casting: Any = "safe"
) -> Any:
    given(order=(order, "K"))
    canonical = _canonical(subscripts, tuple(map(ndim_of, arrays)))
    if not canonical:
        raise judge(np.einsum, subscripts, *arrays, optimize=optimize)
    if dtype is not None:
        units = [np.zeros((1,) * ndim_of(x), dtype_of(x)) for x in arrays]
        np.einsum(subscripts, *units, dtype=dtype, casting=casting)  # NumPy's own error where it would not cast
        arrays = [fit_dtype(x, aval_of(x)._replace(dtype=np.dtype(dtype))) for x in arrays]
    if isinstance(optimize, list):
        optimize = tuple(optimize)
    try:
        result = bind(einsum_primitive, *arrays, subscripts=canonical, optimize=optimize)
    except ValueError:
        judge(np.einsum, subscripts, *arrays, optimize=optimize)  # NumPy's message, with the user's own subscripts
        raise
    terms, output = split(canonical)
    if len(terms) == 1 and set(terms[0]) == set(output) and type(arrays[0]) in TRACED:
        (x,) = arrays  # nothing is summed: NumPy returns a view
        if len(output) == ndim_of(x):
            back = functools.partial(einsum_primitive, subscripts=f"{output}->{terms[0]}", optimize=False)
            return link_view(result, x, _reader(canonical), lambda parent, contents: back(contents))
        return link_view(result, x, _reader(canonical), None)
    return result


def _reader(canonical: str) -> Any:
    return functools.partial(einsum_primitive, subscripts=canonical, optimize=False)


def _spelled(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Subscripts as a string, and the operands, from either calling form of einsum."""
    if operands and isinstance(operands[0], str):
        return operands[0], [as_array(x) for x in operands[1:]]
    terms = [_letters(term) for term in operands[1::2]]
    arrays = [as_array(x) for x in operands[: 2 * (len(operands) // 2) : 2]]
    result = f"->{_letters(operands[-1])}" if len(operands) % 2 else ""
    return ",".join(terms) + result, arrays


def _letters(sublist: Any) -> str:
    capitals = LETTERS[26:] + LETTERS[:26]  # NumPy's order, in which implicit results are sorted
    try:
        indices = [k if k is Ellipsis else operator.index(k) for k in sublist]
    except TypeError:
        raise TypeError("each subscript must be either an integer or an ellipsis") from None
    if any(k is not Ellipsis and not 0 <= k < 52 for k in indices):
        raise ValueError("subscript is not within the valid range [0, 52)")
    return "".join("..." if k is Ellipsis else capitals[k] for k in indices)


@functools.lru_cache(1024)
def _canonical(subscripts: str, ndims: tuple[int, ...]) -> str:
    """The subscripts with the result written out and ellipses as letters; empty where they are not right."""
    subscripts = subscripts.replace(" ", "")
    terms_given, arrow, result = subscripts.partition("->")
    terms = terms_given.split(",")
    if len(terms) != len(ndims):
        return ""
    spare = [c for c in LETTERS if c not in subscripts]
    widths = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    if any(width < 0 or (width > 0 and "..." not in term) for term, width in zip(terms, widths, strict=True)):
        return ""
    longest = max(widths)
    hidden = "".join(reversed(spare[:longest]))  # ellipses line up at their last axes
    terms = [term.replace("...", hidden[longest - width :]) for term, width in zip(terms, widths, strict=True)]
    used = "".join(terms)
    if not arrow:
        named = terms_given.replace("...", "")
        result = hidden + "".join(sorted(c for c in set(named) - {","} if named.count(c) == 1))
    elif longest and "..." not in result:
        return ""
    result = result.replace("...", hidden)
    if not set(used) <= set(LETTERS) or not set(result) <= set(used) or len(set(result)) < len(result):
        return ""
    return f"{','.join(terms)}->{result}"


@implements(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: Any = False) -> Any:
    return np.einsum_path(
        *(stand_in(x) if type(x) in TRACED else x for x in operands), optimize=optimize, einsum_call=einsum_call
    )


# ----------------------------------------------------------------------------------- trace, convolve, polynomials


@implements(np.trace, method="trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    a = as_array(a)
    if ndim_of(a) < 2:
        raise judge(np.trace, a, offset, axis1, axis2)
    first, second = (
        normalize_axis_index(axis, ndim_of(a), name) - ndim_of(a) for axis, name in ((axis1, "axis1"), (axis2, "axis2"))
    )
    if first == second:
        raise judge(np.trace, a, offset, axis1, axis2)
    if dtype is not None:
        a = fit_dtype(a, aval_of(a)._replace(dtype=np.dtype(dtype)))
    return deliver(bind(contract.trace, a, offset=operator.index(offset), axis1=first, axis2=second), out)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    a, v = (x if ndim_of(x) else np.reshape(x, 1) for x in operands((a, v)))
    return bind(contract.convolve, *_checked_pair(np.convolve, a, v, mode), mode=_mode(np.convolve, a, v, mode))


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    a, v = operands((a, v))
    a, v = _checked_pair(np.correlate, a, v, mode)
    mode = _mode(np.correlate, a, v, mode)
    v = contract.conj(v)
    if shape_of(a)[0] < shape_of(v)[0]:  # NumPy exchanges them so, which matters for mode="same"
        return np.flip(bind(contract.convolve, v, np.flip(a), mode=mode))
    return bind(contract.convolve, a, np.flip(v), mode=mode)


def _checked_pair(function: Any, a: Any, v: Any, mode: Any) -> tuple[Any, Any]:
    if ndim_of(a) != 1 or ndim_of(v) != 1 or not (shape_of(a)[0] and shape_of(v)[0]):
        raise judge(function, a, v, mode)
    return a, v


def _mode(function: Any, a: Any, v: Any, mode: Any) -> str:
    name = mode if isinstance(mode, str) else {0: "valid", 1: "same", 2: "full"}.get(mode, "")
    if name not in ("valid", "same", "full"):
        raise judge(function, a, v, mode)
    return name


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    p = as_array(p)
    if isinstance(x, np.poly1d):
        raise errors.unsupported("numpy.polyval at a poly1d")
    x = as_array(x)
    y = np.zeros(shape_of(x), dtype_of(x))
    for k in range(shape_of(p)[0]):
        y = y * x + p[k]
    return y


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    x = as_array(x)
    if ndim_of(x) != 1:
        raise judge(np.vander, x)
    n = shape_of(x)[0]
    columns = n if N is None else N
    if columns < 1:
        return np.vander(stand_in(x), columns)
    ones = np.ones((n, 1), np.promote_types(dtype_of(x), int))
    powers = np.cumprod(np.broadcast_to(np.reshape(x, (n, 1)), (n, columns - 1)), axis=1)
    result = np.concatenate([ones, powers], axis=1)
    return result if increasing else np.flip(result, axis=1)


# ------------------------------------------------------------------------------------- twins of the linalg namespace


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return np.matmul(*operands((x1, x2)))


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return np.vecdot(*operands((x1, x2))) if axis == -1 else call_gufunc(np.vecdot, x1, x2, axis=axis)


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return tensordot(x1, x2, axes)


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    x1, x2 = operands((x1, x2))
    if ndim_of(x1) != 1 or ndim_of(x2) != 1:
        raise judge(np.linalg.outer, x1, x2)
    return contract.outer(x1, x2)


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x1, x2 = operands((x1, x2))
    if shape_of(x1)[axis] != 3 or shape_of(x2)[axis] != 3:
        raise judge(np.linalg.cross, x1, x2, axis=axis)
    return cross(x1, x2, axis=axis)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, axis1=-2, axis2=-1)


@implements(np.linalg.matrix_transpose)
def linalg_matrix_transpose(x: Any, /) -> Any:
    if ndim_of(x) < 2:
        raise judge(np.linalg.matrix_transpose, x)
    return np.swapaxes(x, -1, -2)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if len(arrays) == 2:
        return dot(arrays[0], arrays[1], out)
    parts = operands(arrays)
    if any(ndim_of(x) != 2 for x in parts[1:-1]) or not {ndim_of(parts[0]), ndim_of(parts[-1])} <= {1, 2}:
        raise judge(lambda *xs: np.linalg.multi_dot(xs), *parts)
    first, last = parts[0], parts[-1]
    lead, tail = shape_of(first)[:-1], shape_of(last)[1:]
    if not lead:
        parts[0] = np.reshape(first, (1, *shape_of(first)))
    if not tail:
        parts[-1] = np.reshape(last, (*shape_of(last), 1))
    result = _chain(parts, _chain_order(parts), 0, len(parts) - 1)
    return deliver(np.reshape(result, (*lead, *tail)) if lead or tail else result[0, 0], out)


def _chain_order(parts: Sequence[Any]) -> dict[tuple[int, int], int]:
    """Where to split each A_i…A_j for the fewest multiplications (Cormen et al., §15.2), ties as NumPy breaks them."""
    n = len(parts)
    p = [shape_of(a)[0] for a in parts] + [shape_of(parts[-1])[1]]
    cost = {(i, i): 0 for i in range(n)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = [cost[i, k] + cost[k + 1, j] + p[i] * p[k + 1] * p[j + 1] for k in range(i, j)]
            cost[i, j] = min(costs)
            best[i, j] = i + costs.index(cost[i, j])
    return best


def _chain(parts: Sequence[Any], order: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return parts[i]
    return contract.dot(_chain(parts, order, i, order[i, j]), _chain(parts, order, order[i, j] + 1, j))
