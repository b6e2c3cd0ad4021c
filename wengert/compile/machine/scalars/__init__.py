"""Scalar code: the instructions of each elementwise primitive, with NumPy's meaning for every dtype.

`lower` casts the arguments to the dtypes of NumPy's loop, and a rule of the table writes the rest. The rules stand by
family: `arithmetic`, `integers`, `maths` (libm and libmvec), `composite`, `complexes`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from wengert.avals import WEAK_KINDS, Aval
from wengert.compile.machine.code import BOOL, Code, Dtype, literal, representable
from wengert.compile.machine.scalars import arithmetic, complexes, composite, integers, maths
from wengert.compile.machine.scalars.arithmetic import COMPARISONS
from wengert.compile.machine.scalars.rules import RULES
from wengert.compile.machine.scalars.value import Pair, Value, constant_of
from wengert.core import Primitive

FAMILIES: Final = (arithmetic, integers, maths, composite, complexes)  # imported for the rules that they register

Loop = tuple[tuple[Dtype, ...], str]  # the dtypes to which arguments are cast, and the kind that chooses the rule

# --------------------------------------------------------------------------------------------------------- dtypes

UFUNCS: Final[dict[str, np.ufunc]] = {"divmod": np.divmod, "modf": np.modf, "frexp": np.frexp}
LOGICAL: Final = {"logical_and", "logical_or", "logical_xor", "logical_not"}
NEGATED: Final = {"logistic", "logistic2"}  # integers would be negated, and wrap, before they become floats
OWN_DTYPE: Final = {"cast", "as_discrete", "real", "imag", "copy", "stop_gradient"}


def loop(primitive: Primitive, avals: Sequence[Aval], out: Any) -> Loop | None:
    """The dtypes in which NumPy computes; None where native code does not have them."""
    name = primitive.name
    given = tuple(aval.dtype for aval in avals)
    result: Dtype = (out[0] if primitive.multiple else out).dtype
    dtypes: tuple[Dtype, ...] | None
    if name in OWN_DTYPE:
        dtypes = given
    elif name == "where":
        dtypes = (BOOL, result, result)
    elif name == "complex_of":
        dtypes = (np.dtype(result.char.lower()),) * 2
    elif name in LOGICAL:
        dtypes = (BOOL,) * len(avals)  # what is true of a number is its cast
    else:
        ufunc = UFUNCS.get(name) or primitive.value
        if not isinstance(ufunc, np.ufunc):
            dtypes = None if name in NEGATED and given[0].kind != "f" else (result,) * len(avals)
        elif name in COMPARISONS:
            dtypes = _resolve(ufunc, tuple(_comparable(aval, avals) for aval in avals))
        else:
            dtypes = _resolve(ufunc, tuple((a.dtype, a.weak) for a in avals))
    if dtypes is None or not all(map(representable, (*given, *dtypes))):
        return None
    return dtypes, result.kind if name in ("where", "complex_of") else dtypes[-1].kind


def _comparable(aval: Aval, avals: Sequence[Aval]) -> tuple[Dtype, bool]:
    """A Python integer is compared with integers exactly, also where their dtype does not hold it."""
    return aval.dtype, aval.weak and not all(a.dtype.kind in "iu" for a in avals)


@functools.lru_cache(4096)
def _resolve(ufunc: np.ufunc, arguments: tuple[tuple[Dtype, bool], ...]) -> tuple[Dtype, ...] | None:
    promotable = [WEAK_KINDS.get(dtype.kind, dtype) if weak else dtype for dtype, weak in arguments]
    try:
        return ufunc.resolve_dtypes((*promotable, *(None,) * ufunc.nout))[: ufunc.nin]
    except TypeError:
        return None


# ------------------------------------------------------------------------------------------------------------ lowering


def supported(primitive: Primitive, params: Mapping[str, Any], in_avals: Sequence[Aval], out_aval: Any) -> bool:
    """Whether `lower` can write this; `out_aval` is a tuple where the primitive has several results."""
    outs = out_aval if primitive.multiple else (out_aval,)
    found = (
        loop(primitive, in_avals, out_aval)
        if all(isinstance(a, Aval) and representable(a.dtype) for a in outs)
        else None
    )
    return found is not None and (primitive.name, found[1]) in RULES


def lower(
    code: Code,
    primitive: Primitive,
    params: Mapping[str, Any],
    args: Sequence[str],
    in_avals: Sequence[Aval],
    out_aval: Any,
) -> Any:
    """Append the instructions of one primitive; the register of its result, or a list of them where it has several.

    Arguments are registers or constants in their own dtype. Shapes play no part.
    """
    found = loop(primitive, in_avals, out_aval)
    assert found is not None, f"{primitive} has no scalar code: ask `supported`"
    dtypes, kind = found
    operands = [
        number(code, cast(code, arg, aval.dtype, dtype), dtype)
        for arg, aval, dtype in zip(args, in_avals, dtypes, strict=True)
    ]
    result = RULES[primitive.name, kind](*operands, **_params(primitive, params))
    if primitive.multiple:
        return [finished(code, one, aval.dtype) for one, aval in zip(result, out_aval, strict=True)]
    return finished(code, result, out_aval.dtype)


def _params(primitive: Primitive, params: Mapping[str, Any]) -> Mapping[str, Any]:
    return params if primitive.name == "round" else {}


def number(code: Code, text: str, dtype: Dtype) -> Value | Pair:
    """A register as what rules work with."""
    return Pair.of(code, text, dtype) if dtype.kind == "c" else Value(code, text, dtype)


def finished(code: Code, x: Value | Pair, dtype: Dtype) -> str:
    """The register of a result, in this dtype."""
    if type(x) is Pair:
        own = np.result_type(x.re.dtype, np.complex64)
        return x.text() if own == dtype else cast(code, x.text(), own, dtype)
    assert type(x) is Value
    return cast(code, x.text, x.dtype, dtype)


def cast(code: Code, value: str, from_dtype: Dtype, to_dtype: Dtype) -> str:
    """NumPy's astype."""
    if from_dtype == to_dtype:
        return value
    if from_dtype.kind == "c":
        pair = Pair.of(code, value, from_dtype)
        if to_dtype.kind == "b":
            return (pair.re.ne(0) | pair.im.ne(0)).text
        if to_dtype.kind != "c":
            return pair.re.to(to_dtype).text
        one = np.dtype(to_dtype.char.lower())
        return Pair(pair.re.to(one), pair.im.to(one)).text()
    real = Value(code, value, from_dtype)
    if to_dtype.kind != "c":
        return real.to(to_dtype).text
    if (known := constant_of(real)) is not None:
        return literal(known, to_dtype)
    re = real.to(np.dtype(to_dtype.char.lower()))
    return Pair(re, re.like(0)).text()


# ---------------------------------------------------------------------------------------------------------- reductions

REASSOCIATED: Final = {"add": "fadd reassoc", "multiply": "fmul reassoc"}
# The loop vectoriser knows these; they differ from NumPy's extrema only in that −0 < 0. (Not `maxnum` for fmax: LLVM 22
# ends the process over sums of some short lengths by it.)
ORDERED: Final = frozenset({"maximum", "minimum"})


def combine(code: Code, name: str, a: str, b: str, dtype: Dtype, reassoc: bool = False) -> str:
    """One step of a reduction: a ∘ b in `dtype`, where ∘ is the ufunc of this name.

    `reassoc` lets LLVM choose the order, so that the loop vectorises.
    """
    x, y = number(code, a, dtype), number(code, b, dtype)
    if reassoc and name in REASSOCIATED and dtype.kind == "f":
        assert type(x) is Value
        return x.op(REASSOCIATED[name], y).text
    if reassoc and name in ORDERED and dtype.kind == "f":
        assert type(x) is Value
        return x.intrinsic(name, y).text
    if reassoc and name == "add" and dtype.kind == "c":
        assert type(x) is Pair and type(y) is Pair
        return Pair(x.re.op("fadd reassoc", y.re), x.im.op("fadd reassoc", y.im)).text()
    if name in LOGICAL and dtype.kind != "b":
        flag = combine(code, name, cast(code, a, dtype, BOOL), cast(code, b, dtype, BOOL), BOOL)
        return cast(code, flag, BOOL, dtype)
    return finished(code, RULES[name, dtype.kind](x, y), dtype)


def identity(name: str, dtype: Dtype) -> Any:
    """What leaves the other operand of `combine` as it is. (fmax and fmin: all but NaN, which they would drop.)"""
    if name in ("add", "logical_or", "logical_xor", "bitwise_or", "bitwise_xor"):
        return dtype.type(0)
    if name in ("multiply", "logical_and"):
        return dtype.type(1)
    if name == "bitwise_and":
        return dtype.type(True) if dtype.kind == "b" else ~dtype.type(0)
    if name in ("maximum", "fmax"):
        return _extreme(dtype, -1)
    if name in ("minimum", "fmin"):
        return _extreme(dtype, 1)
    raise ValueError(f"{name} has no neutral element. It cannot be combined from nothing. Reduce with another ufunc.")


def _extreme(dtype: Dtype, sign: int) -> Any:
    if dtype.kind == "c":
        return dtype.type(complex(sign * np.inf, sign * np.inf))
    if dtype.kind == "f":
        return dtype.type(sign * np.inf)
    if dtype.kind == "b":
        return dtype.type(sign > 0)
    return dtype.type(np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min)


# ----------------------------------------------------------------------------------------------------------- cost

COST: Final = {
    **dict.fromkeys(("divide", "reciprocal", "sqrt", "gap"), 4),
    **dict.fromkeys(("exp", "exp2", "hypot", "unit", "log", "log2", "log10", "log1p", "expm1", "logistic"), 10),
    **dict.fromkeys(("logistic2", "sin", "cos", "tan", "cosh", "sech_squared", "cbrt", "sinc", "absolute_complex"), 12),
    **dict.fromkeys(("sinh", "tanh", "arcsin", "arccos", "arctan", "arctan2", "arctanh", "logaddexp"), 20),
    **dict.fromkeys(("logaddexp2", "arcsinh", "floor_divide", "remainder", "fmod", "divmod", "sign_complex"), 25),
    **dict.fromkeys(("power", "float_power", "arccosh", "gcd", "lcm"), 40),
    **dict.fromkeys(("cast", "as_discrete", "copy", "stop_gradient", "positive", "real", "imag", "complex_of"), 0),
}


def cost(primitive: Primitive) -> int:
    """Cycles for one element in a vectorised loop, roughly."""
    return COST.get(primitive.name, 1)


__all__ = ["cast", "combine", "cost", "identity", "lower", "supported"]
