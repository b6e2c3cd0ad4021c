"""Python operators and the plain attributes of an ndarray, on traced arrays; and the ways out of the traced world."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy import float64, ndarray

from wengert import core, errors
from wengert.core import (
    PLAIN,
    TRACED,
    Batch,
    Dual,
    Symbol,
    TracedArray,
    Variable,
    aval_of,
    concrete,
    is_weak,
    no_grad_depth,
    weaken,
)
from wengert.graph import Leaf
from wengert.numpy.table import array_function, rehearse, write
from wengert.numpy.ufuncs import call_ufunc, surely_fits
from wengert.ops.vector import fit_dtype

BINARY: Final = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "divmod": np.divmod, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
COMPARISONS: Final = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
UNARY: Final = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
OPERANDS: Final = PLAIN | TRACED | {np.ndarray, list, tuple}


def _takes(other: Any) -> bool:
    """Whether an operator computes with this operand, or leaves it to the other's reflected operator."""
    return type(other) in OPERANDS or isinstance(other, np.ndarray)


def _apply(ufunc: np.ufunc, self: Any, x: Any, y: Any) -> Any:
    primitive = core.UFUNCS.get(ufunc)
    out = call_ufunc(ufunc, "__call__", (x, y), {}) if primitive is None else core.bind(primitive, x, y)
    return out if type(self._value) is np.ndarray else _settled(out, ufunc, x, y)


def _settled(out: Any, ufunc: np.ufunc, *operands: Any) -> Any:
    """A scalar result, with the type and the last bit that Python's and NumPy's scalar operators give.

    They are not always those of the ufunc: Python numbers stay Python numbers, and scalar loops round differently from
    vector ones. Infinities and NaN keep what the ufunc says, where Python would raise or NumPy warn again.
    """
    if type(out) is tuple:
        return tuple(weaken(y) for y in out) if all(map(is_weak, operands)) else out
    plain = [_bottom(x) for x in (out, *operands)]
    if any(x is None or type(x) is np.ndarray for x in plain) or not np.isfinite(plain[0]):
        return out
    value = SCALAR[ufunc](*plain[1:])
    if type(out) not in TRACED:
        return value
    inner = out
    while type(inner._value) in TRACED:
        inner = inner._value
    if isinstance(value, complex) <= isinstance(inner._value, complex):
        inner._value = value
    return out


def _bottom(x: Any) -> Any:
    """The number under a traced scalar; None where there is none, as under a Batch."""
    while type(x) in TRACED:
        if type(x) is Batch:
            return None
        x = x._value
    return x


SCALAR: Final[dict[np.ufunc, Any]] = {
    **{
        ufunc: getattr(operator, {"and": "and_", "or": "or_"}.get(name, name))
        for name, ufunc in BINARY.items()
        if name != "divmod"
    },
    **{ufunc: getattr(operator, name) for name, ufunc in UNARY.items()},
    np.divmod: divmod,
}


def _direct(ufunc: np.ufunc) -> tuple[Any, frozenset[type]]:
    """The primitive of an operator, and what self holds where it can be applied at once, since nothing is to settle.

    That is an array, or a NumPy scalar in the operations that have but one correctly rounded answer.
    """
    primitive = core.UFUNCS.get(ufunc)
    if primitive is None:
        return None, frozenset()
    exact = ufunc in (np.add, np.subtract, np.multiply, np.divide)
    return primitive, frozenset({ndarray, float64} if exact else {ndarray})


def _forward(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    primitive, kinds = _direct(ufunc)

    def forward(self: Any, other: Any) -> Any:
        if type(self._value) in kinds and type(other) in OPERANDS:
            return self._trace.process_two(primitive, self, other)
        return _apply(ufunc, self, self, other) if _takes(other) else NotImplemented

    return forward


def _reflected(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    primitive, kinds = _direct(ufunc)

    def reflected(self: Any, other: Any) -> Any:
        if type(self._value) in kinds and type(other) in OPERANDS:
            return self._trace.process_two(primitive, other, self)
        return _apply(ufunc, self, other, self) if _takes(other) else NotImplemented

    return reflected


def _in_place(name: str, ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    numpys = getattr(operator, f"i{name}")
    forward = _forward(ufunc)

    def in_place(self: Any, other: Any) -> Any:
        if type(self) is Variable and type(self._value) is float64 and type(self._info) is not Leaf:
            return forward(self, other)  # a scalar that was computed, as in s += x[k]: bound anew
        if not _takes(other):
            return NotImplemented
        if self.aval.scalar:
            out = _apply(ufunc, self, self, other)
            return _step(self, out) if _is_parameter(self) else out
        core.check_writable(self)
        if not surely_fits(ufunc, (self, other), self):
            rehearse(numpys, (self, other), {})
        write(self, _apply(ufunc, self, self, other))
        return self

    return in_place


def _is_parameter(x: Any) -> bool:
    """Whether `x` is a number that an optimiser changes in place: a leaf Variable under no_grad."""
    return type(x) is Variable and type(x._info) is Leaf and x._trace.order < 0 and no_grad_depth.get() > 0


def _step(x: Any, out: Any) -> Any:
    """`w -= 0.1 * w.grad` for a number: NumPy would bind w anew, but the model that holds w must see the new value."""
    old, new = x.aval, aval_of(out)
    if new.shape or not np.can_cast(new.dtype, old.dtype, "same_kind"):
        raise errors.StructureError(
            f"A Variable that holds one {old.dtype} number was updated in place with {new.dtype} values of shape "
            f"{new.shape}. It keeps its shape and dtype, since gradients belong to them. Update it with a number."
        )
    out = fit_dtype(out, old)
    core.assign(x, weaken(out) if old.weak else out)
    return x


def _unary(ufunc: np.ufunc) -> Callable[[Any], Any]:
    def unary(self: Any) -> Any:
        out = ufunc(self)
        return out if type(self._value) is np.ndarray else _settled(out, ufunc, self)

    return unary


def _comparison(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def comparison(self: Any, other: Any) -> Any:
        return ufunc(self, other) if _takes(other) else NotImplemented

    return comparison


QUICK_POWERS: Final = {
    2: np.square,
    1: np.positive,
    0.5: np.sqrt,
    -1: np.reciprocal,
}  # NumPy's own shortcuts for x ** y


def _power(self: Any, other: Any, modulo: Any = None) -> Any:
    if modulo is not None or not _takes(other):
        return NotImplemented
    if type(other) in (int, float) and self.aval.dtype.kind in "fc":
        quick = QUICK_POWERS.get(other)
        if quick is np.square or (quick is not None and self.aval.shape):
            out = quick(self)
            return out if type(self._value) is np.ndarray else _settled(out, np.power, self, other)
    return _FORWARD_POWER(self, other)


_FORWARD_POWER: Final = _forward(np.power)


def _named(function: Any, name: str) -> Any:
    function.__name__ = name
    function.__qualname__ = f"TracedArray.{name}"
    return function


def attach(name: str, function: Any) -> None:
    setattr(TracedArray, name, _named(function, name) if callable(function) else function)


for _name, _ufunc in BINARY.items():
    attach(f"__{_name}__", _forward(_ufunc))
    attach(f"__r{_name}__", _reflected(_ufunc))
    if _name != "divmod":
        attach(f"__i{_name}__", _in_place(_name, _ufunc))
for _name, _ufunc in COMPARISONS.items():
    attach(f"__{_name}__", _comparison(_ufunc))
for _name, _ufunc in UNARY.items():
    attach(f"__{_name}__", _unary(_ufunc))
attach("__pow__", _power)
attach("__array_function__", array_function)


# ------------------------------------------------------------------------------------------------- plain attributes


def _shape(self: Any) -> tuple[int, ...]:
    """Lengths of the axes."""
    return self.aval.shape  # type: ignore[no-any-return]


def _ndim(self: Any) -> int:
    """Number of axes."""
    return len(self.aval.shape)


def _size(self: Any) -> int:
    """Number of elements."""
    return self.aval.size  # type: ignore[no-any-return]


def _dtype(self: Any) -> np.dtype[Any]:
    """NumPy dtype of the elements."""
    return self.aval.dtype  # type: ignore[no-any-return]


def _itemsize(self: Any) -> int:
    """Bytes per element."""
    return self.aval.dtype.itemsize  # type: ignore[no-any-return]


def _nbytes(self: Any) -> int:
    """Bytes of all elements."""
    return self.aval.size * self.aval.dtype.itemsize  # type: ignore[no-any-return]


def _refuse_reshape(self: Any, shape: Any) -> None:
    raise errors.ConversionError(
        "Assigning to .shape or .dtype of a traced array was refused. It would change, in place, what other views "
        "mean. Use y = y.reshape(shape) or y = y.astype(dtype)."
    )


for _property in (_shape, _ndim, _size, _dtype, _itemsize, _nbytes):
    _setter = _refuse_reshape if _property in (_shape, _dtype) else None
    setattr(TracedArray, _property.__name__[1:], property(_property, _setter, doc=_property.__doc__))


# ---------------------------------------------------------------------------------------- leaving the traced world


def _refuse(name: str, remedy: str) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise errors.conversion(name, remedy)

    return refuse


STAY = "Keep to NumPy functions and operators, or apply wengert.stop_gradient or has_aux=True to hand the number out."
WAYS_OUT: Final = {
    "__array__": (
        "np.array, np.asarray, a write into a plain array (y[:] = a) or a C extension",
        "Use np.stack([a, b]) for np.array([a, b]), np.asarray(…, like=a), np.concatenate for np.r_, "
        "np.zeros(n, like=a) for an array to write into, np.asarray(table, like=i)[i] to read a plain table at a "
        "traced index, and wengert.scipy for SciPy functions that are not ufuncs.",
    ),
    "__float__": (
        "float(), a function of the math module, or a write into a plain array (y[0] = x)",
        "Use np.sin(x) for math.sin(x), drop the float(), or make the buffer traced: y = np.zeros(n, like=x).",
    ),
    "__int__": ("int()", "Use np.floor or np.rint, whose derivative is 0, or take the integer from a plain array."),
    "__index__": (
        "An integer conversion (indexing, range)",
        "Index with plain integers, such as np.argmax gives; for a batched index i into a plain table, write "
        "np.asarray(table, like=i)[i] (np.take does not tell us of its indices).",
    ),
    "__complex__": ("complex() or a function of the cmath module", "Use the NumPy function of the same name."),
    "__hash__": ("hash(), as for a dict key or a set", "Use a plain number or string as the key."),
    "__reduce_ex__": ("pickle or copy", "Pickle the value: x.data of a Variable, or the result of the transform."),
    "__buffer__": ("The buffer protocol", STAY),
    "tobytes": (".tobytes()", STAY),
    "tolist": (".tolist()", STAY),
    "tofile": (".tofile()", STAY),
    "dump": (".dump()", STAY),
    "dumps": (".dumps()", STAY),
    "view": (".view()", "Use .copy() for a new array, astype for another dtype, .real and .imag for parts."),
    "byteswap": (".byteswap()", STAY),
    "setfield": (".setfield()", STAY),
    "getfield": (".getfield()", STAY),
    "setflags": (".setflags()", "Traced arrays have no flags to set; copy the array instead."),
    "__dlpack__": ("The DLPack protocol", STAY),
}
for _name, (_what, _remedy) in WAYS_OUT.items():
    attach(_name, _refuse(_what, _remedy))


def _item(self: Any, *args: Any) -> Any:
    """The Python number in a Variable, detached from its graph; refused inside transforms, where it would lose it."""
    if type(self) is Variable and self._trace.order < 0:
        return np.asarray(concrete(self)).item(*args)
    raise errors.conversion(".item()", STAY)


def _bool(self: Any) -> bool:
    return bool(concrete(self))


def _round(self: Any, ndigits: int | None = None) -> Any:
    """Python's round: an integer without `ndigits`; its derivative is 0 either way, so the result is plain."""
    return round(concrete(self)) if ndigits is None else np.round(self, ndigits)


def _format(self: Any, spec: str) -> str:
    value = concrete(self) if type(self) is not Batch else None
    return format(value, spec) if spec and value is not None else repr(self)


def _deepcopy(self: Any, memo: Any) -> Any:
    return np.copy(self)


def _copy(self: Any) -> Any:
    return np.copy(self)


attach("item", _item)
attach("__bool__", _bool)
attach("__round__", _round)
attach("__format__", _format)
attach("__copy__", _copy)
attach("__deepcopy__", _deepcopy)


def _text(value: Any) -> str:
    if type(value) in TRACED:
        return repr(value)
    return np.array2string(value, separator=", ") if isinstance(value, np.ndarray) else repr(_number(value))


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _repr(self: Any) -> str:
    if self._link is not None:
        core.refresh(self)
    name = type(self).__name__
    if type(self) is Dual:
        return f"Dual({_text(self._value)}, {_text(self.tangent)})"
    if type(self) is Variable:
        return f"Variable({_text(self._value)}{', requires_grad=False' if self._info is None else ''})"
    if type(self) is Symbol:
        example = f" = {_text(self._value)}" if self._value is not None else ""
        return f"Symbol({self._info.name}: {self.aval}{example})"
    return f"{name}({self._trace.size} × {self.aval})"


def _str(self: Any) -> str:
    """A dual number reads as one; other traced arrays read as their value."""
    if type(self) is Dual and self.ndim == 0:
        tangent = concrete(self.tangent)
        return (
            f"{concrete(self):.10g} {'-' if tangent < 0 else '+'} {abs(tangent):.10g}ε"
            if self.dtype.kind == "f"
            else _repr(self)
        )
    return _repr(self)


attach("__repr__", _repr)
attach("__str__", _str)
