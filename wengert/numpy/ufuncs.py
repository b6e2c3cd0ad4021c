"""What ufuncs mean: the plain call by a primitive, and the keywords and methods that ufuncs have."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.core import REGISTRY, TRACED, UFUNCS, aval_of, bind
from wengert.numpy.table import as_array, deliver, dtype_of, implements, negative_axes, rehearse, shape_of, write
from wengert.ops import elementwise, vector
from wengert.ops.elementwise import absolute, absolute_complex, divmod_, frexp, modf, round_, sign, sign_complex

UFUNCS.update(
    {
        primitive.value: primitive
        for primitive in REGISTRY.values()
        if isinstance(primitive.value, np.ufunc) and primitive.value.nout == 1
    }
)
del UFUNCS[np.absolute], UFUNCS[np.sign]  # these depend on the dtype
UFUNCS[np.degrees], UFUNCS[np.radians] = UFUNCS[np.rad2deg], UFUNCS[np.deg2rad]  # the same by other names

CHOSEN: Final[dict[np.ufunc, Callable[..., Any]]] = {}  # ufuncs whose primitive is chosen at the call
METHODS: Final[dict[str, Callable[..., Any]]] = {}  # "reduce", "accumulate", …: (ufunc, *inputs, **kwargs)
WITH_AXES: Final[dict[np.ufunc, Callable[..., Any]]] = {}  # ufuncs with core axes, of which keywords say where they are
NOT_AT_1: Final = {np.arctanh: 0.0, np.arctan2: 1.0}  # a harmless argument for masked-out elements, where 1 is not one


def _choose_absolute(x: Any) -> Any:
    return bind(absolute_complex if dtype_of(x).kind == "c" else absolute, x)


def _choose_sign(x: Any) -> Any:
    return bind(sign_complex if dtype_of(x).kind == "c" else sign, x)


CHOSEN[np.absolute] = _choose_absolute
CHOSEN[np.sign] = _choose_sign
CHOSEN[np.divmod] = divmod_
CHOSEN[np.modf] = modf
CHOSEN[np.frexp] = frexp


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`__array_ufunc__` beyond a plain call: keywords, methods, and ufuncs without a fixed primitive."""
    if method != "__call__":
        entry = METHODS.get(method)
        if entry is None:
            raise errors.unsupported(f"numpy.{ufunc.__name__}.{method}")
        if type(kwargs.get("out", (None,))[0]) in TRACED:
            rehearse(getattr(ufunc, method), inputs, kwargs)
        return entry(ufunc, *inputs, **kwargs)
    function = UFUNCS.get(ufunc) or CHOSEN.get(ufunc)
    if function is None:
        raise errors.unsupported(_full_name(ufunc))
    if not kwargs:
        return function(*inputs)
    return _call_with_keywords(ufunc, function, inputs, **kwargs)


def _full_name(ufunc: np.ufunc) -> str:
    """The name of a ufunc with that of the package it is from, where that is known."""
    for package in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(package), ufunc.__name__, None) is ufunc:
            return f"{package}.{ufunc.__name__}"
    return ufunc.__name__


def _call_with_keywords(
    ufunc: np.ufunc,
    function: Any,
    inputs: tuple[Any, ...],
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
    **unknown: Any,
) -> Any:
    outs = out if isinstance(out, tuple) else (out,) * ufunc.nout
    for target in outs:
        if target is not None and not isinstance(target, np.ndarray | core.TracedArray):
            raise TypeError("return arrays must be of ArrayType")
        if target is not None and type(target) not in TRACED:
            raise errors.write_into_plain(f"numpy.{ufunc.__name__} with out=")
    if ufunc in WITH_AXES and unknown.keys() <= {"axes", "axis", "keepdims"}:
        function = functools.partial(WITH_AXES[ufunc], ufunc, **unknown)
    elif unknown:
        raise errors.unsupported_keyword(f"numpy.{ufunc.__name__}", ", ".join(f"{k}=" for k in unknown))
    inputs = tuple(as_array(x) if type(x) not in core.PLAIN else x for x in inputs)
    avals = [aval_of(x) for x in inputs]
    if dtype is not None or casting != "same_kind":
        # NumPy's own answer, and its own error, on no elements
        probe = [a.dtype.type(1).item() if a.weak else np.ones((0,) * len(a.shape) or (1,), a.dtype) for a in avals]
        ufunc(*probe, dtype=dtype, casting=casting)
        if dtype is not None:
            inputs = tuple(vector.fit_dtype(x, aval_of(x)._replace(dtype=np.dtype(dtype))) for x in inputs)
    if any(target is not None and not surely_fits(ufunc, inputs, target) for target in outs):
        rehearse(ufunc, inputs, {"out": outs, **unknown})
    if where is True:
        result = function(*inputs)
    else:
        if outs[0] is None:
            raise errors.unsupported_keyword(f"numpy.{ufunc.__name__}", "where= but without out=")
        harmless = NOT_AT_1.get(ufunc, 1)
        inputs = tuple(np.where(where, x, vector.fit_dtype(harmless, aval_of(x))) for x in inputs)
        result = function(*inputs)
        if ufunc.nout > 1:
            result = tuple(np.where(where, y, o) for y, o in zip(result, outs, strict=True))
        else:
            result = np.where(where, result, outs[0])
    if ufunc.nout > 1:
        return tuple(deliver(y, target) for y, target in zip(result, outs, strict=True))
    return deliver(result, outs[0])


def surely_fits(ufunc: np.ufunc, inputs: tuple[Any, ...], out: Any) -> bool:
    """Whether an elementwise result surely fits into `out`: real numbers of its shape, into a floating array."""
    target = aval_of(out)
    if ufunc.signature is not None or target.dtype.kind != "f":
        return False
    avals = [aval_of(x if type(x) in core.PLAIN else as_array(x)) for x in inputs]
    return all(a.dtype.kind in "fiub" and a.shape in ((), target.shape) for a in avals)


core.call_ufunc.append(call_ufunc)


# ------------------------------------------------------------------------------- elementwise functions, not ufuncs


@implements(np.sinc)
def sinc(x: Any) -> Any:
    return elementwise.sinc(x)


@implements(np.i0)
def i0(x: Any) -> Any:
    return elementwise.i0(x)


@implements(np.clip, method="clip")
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **kwargs: Any
) -> Any:
    """minimum(maximum(a, lower), upper): half of the derivative at a bound, where the two tie."""
    lower = a_min if min is None else min
    upper = a_max if max is None else max
    result = as_array(a)
    if lower is not None:
        result = np.maximum(result, lower, **kwargs)
    if upper is not None:
        result = np.minimum(result, upper, **kwargs)
    if lower is None and upper is None:
        result = np.positive(result)
    return deliver(result, out)


@implements(np.round, np.around, method="round")
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    return deliver(bind(round_, as_array(a), decimals=decimals), out)


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    return deliver(np.trunc(x), out)


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    z = as_array(z)
    radians = np.arctan2(np.imag(z), np.real(z))
    return radians * (180 / np.pi) if deg else radians


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    x = as_array(x)
    info = np.finfo(vector.real_dtype(dtype_of(x)))
    result = np.where(np.isnan(x), nan, x)
    result = np.where(np.isposinf(x), info.max if posinf is None else posinf, result)
    result = np.where(np.isneginf(x), info.min if neginf is None else neginf, result)
    result = result.astype(dtype_of(x))
    if not copy:
        write(x, result)
        return x
    return result


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    return deliver(np.equal(x, np.inf), out)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    return deliver(np.equal(x, -np.inf), out)


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    a = as_array(a)
    if dtype_of(a).kind != "c":
        return a
    limit = tol * np.finfo(dtype_of(a)).eps if tol > 1 else tol
    return np.real(a) if np.all(np.less(np.abs(np.imag(elementwise.stop_gradient(a))), limit)) else a


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    x, y = (elementwise.stop_gradient(as_array(z)) for z in (a, b))
    if type(x) not in TRACED and type(y) not in TRACED:
        return np.isclose(x, y, rtol, atol, equal_nan)
    if dtype_of(y).kind in "biu":
        y = np.multiply(y, 1.0)
    with np.errstate(invalid="ignore"):  # as NumPy defines it
        within = np.less_equal(np.abs(x - y), atol + rtol * np.abs(y)) & np.isfinite(y) | np.equal(x, y)
        return within | (np.isnan(x) & np.isnan(y)) if equal_nan else within


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    x, y = as_array(a1), as_array(a2)
    if shape_of(x) != shape_of(y):
        return False
    same = np.equal(x, y)
    return bool(np.all(same | (np.isnan(x) & np.isnan(y)) if equal_nan else same))


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 6.283185307179586) -> Any:
    """The phase without jumps: the jumps are constants, so the derivative is that of `p`."""
    plain = elementwise.stop_gradient(as_array(p))
    if type(plain) not in TRACED:
        return p + (np.unwrap(plain, discont, axis, period=period) - plain)
    steps = np.diff(plain, axis=axis)
    whole = np.result_type(dtype_of(steps), period).kind in "iu"
    high = period // 2 if whole else period / 2
    wrapped = np.mod(steps + high, period) - high
    if not whole or period % 2 == 0:  # a step of exactly half a period keeps its sign
        wrapped = np.where((wrapped == -high) & (steps > 0), high, wrapped)
    jumps = np.where(np.abs(steps) < (period / 2 if discont is None else discont), 0, wrapped - steps)
    width = [(0, 0)] * len(shape_of(p))
    width[axis] = (1, 0)
    return p + np.pad(np.cumsum(jumps, axis), width)


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return dtype_of(x).kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    return dtype_of(x).kind != "c"


@implements(np.shape)
def shape(a: Any) -> Any:
    return shape_of(as_array(a))


@implements(np.ndim)
def ndim(a: Any) -> int:
    return len(shape_of(as_array(a)))


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    lengths = shape_of(as_array(a))
    if axis is None:
        return int(np.prod(lengths, dtype=np.intp))
    return int(np.prod([lengths[k] for k in negative_axes(axis, len(lengths))], dtype=np.intp))


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    from wengert.avals import promotable

    return np.result_type(
        *(
            promotable(aval_of(x))(0) if type(x) in TRACED and x.aval.weak else getattr(x, "dtype", x)
            for x in arrays_and_dtypes
        )
    )


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(dtype_of(from_) if type(from_) in TRACED else from_, to, casting)


@implements(np.shares_memory, np.may_share_memory)
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether two traced arrays see the same memory, as their NumPy counterparts would."""
    if a is b:
        return True
    links = [x._link.root if type(x) in TRACED and x._link is not None else None for x in (a, b)]
    return links[0] is not None and links[0] is links[1]
