"""Python operators and the plain attributes of an ndarray, on traced arrays; and the ways out of the traced world."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy import float64, ndarray

from wengert import core, errors
from wengert.avals import WEAK
from wengert.core import (
    PLAIN,
    TRACED,
    Dual,
    Symbol,
    TracedArray,
    Variable,
    aval_of,
    concrete,
    glance,
    is_weak,
    no_grad_depth,
    weaken,
)
from wengert.graph import Leaf
from wengert.numpy.table import array_function, rehearse, stand_in, write
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
    if is_weak(x) and is_weak(y):
        x, y = _as_python(ufunc, x, y)
    primitive = core.UFUNCS.get(ufunc)
    out = call_ufunc(ufunc, "__call__", (x, y), {}) if primitive is None else core.bind(primitive, x, y)
    return out if type(self._value) is np.ndarray else _settled(out, ufunc, x, y)


def _as_python(ufunc: np.ufunc, x: Any, y: Any) -> tuple[Any, Any]:
    """Two Python numbers, as NumPy must be given them to compute what Python does.

    To Python's arithmetic True is 1, and an integer to a negative power is a fraction.
    """
    if ufunc not in BITWISE:
        x, y = (np.multiply(z, 1) if type(z) in TRACED and type(glance(z)) is bool else z for z in (x, y))
    if ufunc is np.power and aval_of(x).dtype.kind in "bi" and aval_of(y).dtype.kind in "bi" and not y >= 0:
        x = weaken(np.multiply(x, 1.0))
    return x, y


BITWISE: Final = frozenset({np.bitwise_and, np.bitwise_or, np.bitwise_xor})


def _settled(out: Any, ufunc: np.ufunc, *operands: Any) -> Any:
    """A scalar result, with the type and the last bit that Python's and NumPy's scalar operators give.

    They are not always those of the ufunc: Python numbers stay Python numbers, and scalar loops round differently from
    vector ones. Infinities and NaN keep what the ufunc says, where Python would raise or NumPy warn again.
    """
    if type(out) is tuple:
        return tuple(weaken(y) for y in out) if all(map(is_weak, operands)) else out
    plain = [glance(x) for x in (out, *operands)]
    if any(type(x) is np.ndarray for x in plain):
        return out
    if any(x is None for x in plain) or (type(plain[0]) is not int and not np.isfinite(plain[0])):
        return weaken(out) if all(map(is_weak, operands)) else out
    value = SCALAR[ufunc](*plain[1:])
    if type(out) not in TRACED:
        return value
    layers = [out]
    while type(layers[-1]._value) in TRACED:
        layers.append(layers[-1]._value)
    if isinstance(value, complex) <= isinstance(layers[-1]._value, complex):
        layers[-1]._value = value
        for layer in reversed(layers):
            layer._trace.weakened(layer)
    return out


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
        if type(self._value) is bool:
            self = np.multiply(self, 1)
        out = ufunc(self)
        return out if type(self._value) is np.ndarray else _settled(out, ufunc, self)

    return unary


def _comparison(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def comparison(self: Any, other: Any) -> Any:
        if not _takes(other):
            return NotImplemented
        out = ufunc(self, other)
        return weaken(out) if type(self._value) in WEAK and is_weak(other) else out

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


# Under `jit` the numbers that a function asks for are noted: its list holds for these, and others are staged anew. What
# is asked is then as little as decides the answer: of int(x) the whole part, of bool(x) the truth.


def _notes(x: Any) -> bool:
    """Whether a trace under `x` notes what is asked of it."""
    while type(x) in TRACED:
        if x._trace.notes_values:
            return True
        x = x._value
    return False


def _converting(name: str, convert: Callable[[Any], Any], ask: Any = None) -> None:
    refuse = getattr(TracedArray, name)

    def converted(self: Any) -> Any:
        if type(self) is not Symbol or not self._trace.notes_values:
            return refuse(self)
        if self.size != 1:
            return convert(stand_in(self))  # NumPy's own error
        return convert(concrete(self if ask is None or self.dtype.kind != "f" else ask(self)))

    attach(name, converted)


_converting("__float__", float)
_converting("__int__", int, np.trunc)
_converting("__index__", operator.index)
_converting("__complex__", complex)


def _array(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    """What jit's Symbols of whole numbers become, since such arrays are what plain tables are indexed with."""
    if type(self) is not Symbol or not self._trace.notes_values or self.dtype.kind not in "biu":
        raise errors.conversion(*WAYS_OUT["__array__"])
    return np.array(concrete(self), dtype)


attach("__array__", _array)


def _item(self: Any, *args: Any) -> Any:
    """The Python number in a Variable, detached from its graph; refused inside transforms, where it would lose it."""
    if type(self) is Variable and self._trace.order < 0:
        return np.asarray(concrete(self)).item(*args)
    if type(self) is Symbol and self._trace.notes_values:
        return np.asarray(concrete(self[args] if args else self)).item()
    raise errors.conversion(".item()", STAY)


def _bool(self: Any) -> bool:
    if _notes(self) and self.dtype.kind != "b":
        return bool(concrete(np.not_equal(self, 0)))
    return bool(concrete(self))


def _round(self: Any, ndigits: int | None = None) -> Any:
    """Python's round: an integer without `ndigits`; its derivative is 0 either way, so the result is plain."""
    if ndigits is not None:
        return np.round(self, ndigits)
    return round(concrete(np.rint(self) if _notes(self) and self.dtype.kind == "f" else self))


def _format(self: Any, spec: str) -> str:
    value = glance(self)
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
        value, tangent = glance(self), glance(self.tangent)
        if value is not None and tangent is not None and self.dtype.kind == "f":
            return f"{value:.10g} {'-' if tangent < 0 else '+'} {abs(tangent):.10g}ε"
    return _repr(self)


attach("__repr__", _repr)
attach("__str__", _str)
