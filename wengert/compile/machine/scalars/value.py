"""Registers with their dtype, so that formulas of scalar code can be written as formulas.

`x * y + 1` appends two instructions to the function under construction. Constants take the dtype of what they meet.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wengert.compile.machine.code import BOOL, Code, Dtype, literal, llvm_type, part

ORDERED = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
I32: Final = np.dtype(np.int32)
I64: Final = np.dtype(np.int64)
F32: Final = np.dtype(np.float32)
F64: Final = np.dtype(np.float64)


class Value:
    """A register, or a constant, of a real or bool dtype."""

    __slots__ = ("code", "dtype", "text")

    def __init__(self, code: Code, text: str, dtype: Dtype) -> None:
        self.code = code
        self.text = text
        self.dtype = dtype

    @property
    def type(self) -> str:
        return llvm_type(self.dtype)

    def like(self, constant: Any) -> Value:
        """A constant of the same dtype; a Value as it is."""
        if type(constant) is Value:
            return constant
        return Value(self.code, literal(constant, self.dtype), self.dtype)

    def op(self, instruction: str, *others: Any, dtype: Dtype | None = None) -> Value:
        """`instruction type self, others…`; the result has the same dtype unless another is told."""
        operands = ", ".join((self.text, *(self.like(other).text for other in others)))
        return Value(self.code, self.code.op(f"{instruction} {self.type} {operands}"), dtype or self.dtype)

    def intrinsic(self, name: str, *others: Any) -> Value:
        """`@llvm.name` on operands of this type."""
        operands = (self, *(self.like(other) for other in others))
        suffix = f"f{8 * self.dtype.itemsize}" if self.dtype.kind == "f" else self.type
        symbol = f"llvm.{name}.{suffix}"
        return Value(self.code, self.code.call(symbol, self.type, [(x.type, x.text) for x in operands]), self.dtype)

    # ---------------------------------------------------------------------------------------------- arithmetic

    def _arithmetic(self, name: str, other: Any, swapped: bool = False) -> Value:
        other = self.like(other)
        name = "f" + name if self.dtype.kind == "f" else name
        return other.op(name, self) if swapped else self.op(name, other)

    def __add__(self, other: Any) -> Value:
        return self._arithmetic("add", other)

    def __radd__(self, other: Any) -> Value:
        return self._arithmetic("add", other, swapped=True)

    def __sub__(self, other: Any) -> Value:
        return self._arithmetic("sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._arithmetic("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._arithmetic("mul", other)

    def __rmul__(self, other: Any) -> Value:
        return self._arithmetic("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Value:
        return self.op("fdiv", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.like(other).op("fdiv", self)

    def __neg__(self) -> Value:
        return self.op("fneg") if self.dtype.kind == "f" else 0 - self

    def __abs__(self) -> Value:
        return self.intrinsic("fabs") if self.dtype.kind == "f" else select(self < 0, -self, self)

    # ---------------------------------------------------------------------------------------------------- bits

    def __and__(self, other: Any) -> Value:
        return self.op("and", other)

    def __or__(self, other: Any) -> Value:
        return self.op("or", other)

    def __xor__(self, other: Any) -> Value:
        return self.op("xor", other)

    def __invert__(self) -> Value:
        return self.op("xor", True if self.dtype.kind == "b" else -1)

    def __lshift__(self, other: Any) -> Value:
        return self.op("shl", other)

    def __rshift__(self, other: Any) -> Value:
        return self.op("ashr" if self.dtype.kind == "i" else "lshr", other)

    def bits(self) -> Value:
        """A float as the signed integer of the same bits."""
        dtype = I64 if self.dtype.itemsize == 8 else I32
        text = self.code.op(f"bitcast {self.type} {self.text} to {llvm_type(dtype)}")
        return Value(self.code, text, dtype)

    def as_float(self) -> Value:
        """An integer as the float of the same bits."""
        dtype = F64 if self.dtype.itemsize == 8 else F32
        text = self.code.op(f"bitcast {self.type} {self.text} to {llvm_type(dtype)}")
        return Value(self.code, text, dtype)

    # --------------------------------------------------------------------------------------------- comparisons

    def compare(self, how: str, other: Any) -> Value:
        """`how` is lt, le, gt, ge, eq or ne, as NumPy compares: NaN is unequal to all, and in no order."""
        if self.dtype.kind == "f":
            return self.op(f"fcmp {ORDERED[how]}", other, dtype=BOOL)
        sign = "" if how in ("eq", "ne") else "s" if self.dtype.kind == "i" else "u"
        return self.op(f"icmp {sign}{how}", other, dtype=BOOL)

    def __lt__(self, other: Any) -> Value:
        return self.compare("lt", other)

    def __le__(self, other: Any) -> Value:
        return self.compare("le", other)

    def __gt__(self, other: Any) -> Value:
        return self.compare("gt", other)

    def __ge__(self, other: Any) -> Value:
        return self.compare("ge", other)

    def eq(self, other: Any) -> Value:
        return self.compare("eq", other)

    def ne(self, other: Any) -> Value:
        return self.compare("ne", other)

    def is_nan(self) -> Value:
        return self.op("fcmp uno", self, dtype=BOOL)

    def is_infinite(self) -> Value:
        return abs(self).eq(np.inf)

    # ----------------------------------------------------------------------------------------------------- maths

    def to(self, dtype: Dtype) -> Value:
        """NumPy's astype between real dtypes. What does not fit an integer gives some integer, as on this processor."""
        if dtype == self.dtype:
            return self
        if dtype.kind != "u" and (known := constant_of(self)) is not None and abs(known) < 2**31:
            return Value(self.code, literal(known if dtype.kind in "fb" else int(known), dtype), dtype)
        old, new = self.dtype, dtype
        if new.kind == "b":
            return self.ne(0)
        if old.kind in "iub":
            if new.kind == "f":
                return self._convert("sitofp" if old.kind == "i" else "uitofp", new)
            if old.kind != "b" and new.itemsize <= old.itemsize:
                return self._convert("trunc", new) if new.itemsize < old.itemsize else Value(self.code, self.text, new)
            return self._convert("sext" if old.kind == "i" else "zext", new)
        if new.kind == "f":
            return self._convert("fpext" if new.itemsize > old.itemsize else "fptrunc", new)
        # As C compilers for x86-64 do it: small integers are cut from 32 bits, uint32 from 64
        if new.kind == "u" and new.itemsize == 8:
            big = self >= 2.0**63
            low = select(big, self - 2.0**63, self)._convert("fptosi", I64).freeze()
            return select(big, low ^ -(2**63), low).to(new)
        wide = I64 if new.itemsize == 8 or (new.kind == "u" and new.itemsize == 4) else I32
        return self._convert("fptosi", wide).freeze().to(new)

    def _convert(self, how: str, dtype: Dtype) -> Value:
        return Value(self.code, self.code.op(f"{how} {self.type} {self.text} to {llvm_type(dtype)}"), dtype)

    def freeze(self) -> Value:
        """Some fixed value where a conversion has none: LLVM would take anything that follows to be unreachable."""
        return self.op("freeze")

    def times_plus(self, factor: Any, term: Any) -> Value:
        """self · factor + term, rounded once where the processor can."""
        return self.op("fmul contract", factor).op("fadd contract", term)


def constant_of(x: Value) -> int | float | None:
    """The number that a constant stands for; None for a register."""
    if x.text.startswith("%"):
        return None
    if x.dtype.kind == "f":
        return float(np.uint64(int(x.text, 16)).view(np.float64))
    return x.text == "true" if x.dtype.kind == "b" else int(x.text)


def select(condition: Value, x: Value, y: Any) -> Value:
    """x where the condition holds, else y."""
    y = x.like(y)
    text = f"select i1 {condition.text}, {x.type} {x.text}, {y.type} {y.text}"
    return Value(x.code, x.code.op(text), x.dtype)


def polynomial(x: Value, coefficients: list[float]) -> Value:
    """Σ coefficients[k] xᵏ by Horner's rule."""
    total = x.like(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total.times_plus(x, coefficient)
    return total


class Pair:
    """A complex number in two registers."""

    __slots__ = ("im", "re")

    def __init__(self, re: Value, im: Value) -> None:
        self.re = re
        self.im = im

    @classmethod
    def of(cls, code: Code, text: str, dtype: Dtype) -> Pair:
        if text.startswith("{"):
            _, _, re, _, im, _ = text.replace(",", "").split()  # { double 0x…, double 0x… }
        else:
            re, im = code.parts(text, dtype)
        return cls(Value(code, re, part(dtype)), Value(code, im, part(dtype)))

    def text(self) -> str:
        code = self.re.code
        return code.pair(self.re.text, self.im.text, np.dtype(np.complex64 if self.re.dtype == F32 else np.complex128))
