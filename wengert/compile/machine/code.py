"""Text of LLVM functions under construction.

LLVM IR is written as text, not built by llvmlite's classes: a tenth of the time, and it can be read. A `Module` gathers
what is declared once; a `Code` is the body of one function. Both only ever append, so equal programs give equal text.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Dtype = np.dtype[Any]

# Registers hold bools as i1 and complex numbers as pairs; memory holds bools as i8
TYPES = {
    "b1": "i1", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64", "u1": "i8", "u2": "i16", "u4": "i32", "u8": "i64",
    "f4": "float", "f8": "double", "c8": "{ float, float }", "c16": "{ double, double }",
}  # fmt: skip
BOOL = np.dtype(np.bool_)


def key(dtype: Dtype) -> str:
    """Kind and size of a dtype, as in `f8`: what chooses its instructions."""
    return f"{dtype.kind}{dtype.itemsize}"


def representable(dtype: Dtype) -> bool:
    """Whether native code has this dtype: not float16, longdouble, foreign byte orders, dates or strings."""
    return key(dtype) in TYPES and dtype.isnative


def llvm_type(dtype: Dtype) -> str:
    """The type of a register that holds a value of this dtype."""
    return TYPES[key(dtype)]


def memory_type(dtype: Dtype) -> str:
    """The type of an element of an array in memory."""
    return "i8" if dtype.kind == "b" else llvm_type(dtype)


def part(dtype: Dtype) -> Dtype:
    """The dtype of the real part of a complex dtype."""
    return np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)


def float_text(value: float, dtype: Dtype) -> str:
    """A float constant, exactly: the bits of the double that equals it."""
    with np.errstate(all="ignore"):
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(dtype.type(value))))[0]:016X}"


def literal(value: Any, dtype: Dtype) -> str:
    """A constant of this dtype, without its type.

    >>> literal(1.5, np.dtype(np.float64)), literal(True, np.dtype(bool)), literal(-3, np.dtype(np.int8))
    ('0x3FF8000000000000', 'true', '-3')
    """
    if dtype.kind == "c":
        number, one = complex(value), part(dtype)
        kind = TYPES[key(one)]
        return f"{{ {kind} {float_text(number.real, one)}, {kind} {float_text(number.imag, one)} }}"
    if dtype.kind == "f":
        return float_text(value, dtype)
    if dtype.kind == "b":
        return "true" if value else "false"
    return str(int(value))


class Module:
    """Declarations, attribute groups, globals and functions of one LLVM module, each entered once.

    libmvec  the vector variants that the loaded libmvec has of each function of libm, as `engine.libmvec` tells them;
             where it lacks exp, log, tanh, expm1 or log1p, code of our own takes their place
    """

    def __init__(self, libmvec: Mapping[str, Sequence[str]] | None = None) -> None:
        self.libmvec = libmvec or {}
        self.declarations: dict[str, None] = {}
        self.groups: dict[str, str] = {}
        self.defined: set[str] = set()
        self.functions: list[str] = []
        self.kept: dict[str, None] = {}

    def declare(self, text: str) -> None:
        """Add a module-level line, once."""
        self.declarations[text] = None

    def attributes(self, text: str) -> str:
        """The name of the attribute group that holds `text`."""
        return self.groups.setdefault(text, f"#{len(self.groups)}")

    def keep(self, symbol: str) -> None:
        """Keep a declared function that nothing calls yet: the loop vectoriser will."""
        self.kept[symbol] = None

    def text(self) -> str:
        lines = [*self.declarations, *self.functions]
        if self.kept:
            symbols = ", ".join(f"ptr @{symbol}" for symbol in self.kept)
            lines.append(
                f'@llvm.compiler.used = appending global [{len(self.kept)} x ptr] [{symbols}], section "llvm.metadata"'
            )
        lines += [f"attributes {group} = {{ {text} }}" for text, group in self.groups.items()]
        return "\n".join(lines) + "\n"


class Code:
    """The body of one function: lines of LLVM IR, and fresh names for its registers.

    >>> code = Code()
    >>> code.op("fadd double %a, %b")
    '%t0'
    >>> code.line("ret double %t0")
    >>> print(code.text())
      %t0 = fadd double %a, %b
      ret double %t0
    """

    def __init__(self, module: Module | None = None) -> None:
        self.module = Module() if module is None else module
        self.lines: list[str] = []
        self.count = 0

    def fresh(self, prefix: str = "t") -> str:
        """A register name that nothing has; without its %, a label."""
        name = f"%{prefix}{self.count}"
        self.count += 1
        return name

    def op(self, text: str) -> str:
        """Append an instruction and return the fresh register that takes its result."""
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        """Begin a basic block."""
        self.lines.append(name.removeprefix("%") + ":")

    def declare(self, text: str) -> None:
        """Add a line to the module, once."""
        self.module.declarations[text] = None

    def constant(self, value: Any, dtype: Dtype) -> str:
        """A constant, to be written where a register could stand."""
        return literal(value, dtype)

    def call(self, name: str, result: str, arguments: Sequence[tuple[str, str]], attributes: str = "") -> str:
        """Declare the function `name` and call it with (type, value) pairs. `attributes` go with the declaration."""
        types = ", ".join(kind for kind, _ in arguments)
        suffix = f" {self.module.attributes(attributes)}" if attributes else ""
        self.declare(f"declare {result} @{name}({types}){suffix}")
        return self.op(f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in arguments)})")

    def helper(
        self,
        name: str,
        result: str,
        arguments: Sequence[tuple[str, str]],
        build: Callable[[Code, list[str]], str],
    ) -> str:
        """Call the internal function `name`, which is inlined; `build(code, parameters)` writes its body, once."""
        if name not in self.module.defined:
            self.module.defined.add(name)
            body = Code(self.module)
            parameters = [f"%{letter}" for letter, _ in zip("xyzw", arguments, strict=False)]
            body.line(f"ret {result} {build(body, parameters)}")
            signature = ", ".join(f"{kind} {p}" for (kind, _), p in zip(arguments, parameters, strict=True))
            group = self.module.attributes("alwaysinline nounwind willreturn memory(none)")
            self.module.functions.append(
                f"define internal {result} @{name}({signature}) {group} {{\nentry:\n{body.text()}\n}}"
            )
        return self.op(f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in arguments)})")

    # ------------------------------------------------------------------------------------------------- memory

    def load(self, ptr: str, dtype: Dtype, metadata: str = "") -> str:
        """The element at `ptr`, as a register. `metadata` (`, !noalias !1`) goes with each access."""
        if dtype.kind == "b":
            byte = self.op(f"load i8, ptr {ptr}{metadata}")
            return self.op(f"icmp ne i8 {byte}, 0")
        if dtype.kind != "c":
            return self.op(f"load {llvm_type(dtype)}, ptr {ptr}{metadata}")
        one = TYPES[key(part(dtype))]
        re = self.op(f"load {one}, ptr {ptr}{metadata}")
        next_ptr = self.op(f"getelementptr inbounds {one}, ptr {ptr}, i64 1")
        im = self.op(f"load {one}, ptr {next_ptr}{metadata}")
        return self.pair(re, im, dtype)

    def store(self, ptr: str, value: str, dtype: Dtype, metadata: str = "") -> None:
        """Write a register to the element at `ptr`."""
        if dtype.kind == "b":
            byte = self.op(f"zext i1 {value} to i8")
            self.line(f"store i8 {byte}, ptr {ptr}{metadata}")
        elif dtype.kind != "c":
            self.line(f"store {llvm_type(dtype)} {value}, ptr {ptr}{metadata}")
        else:
            one = TYPES[key(part(dtype))]
            re, im = self.parts(value, dtype)
            self.line(f"store {one} {re}, ptr {ptr}{metadata}")
            next_ptr = self.op(f"getelementptr inbounds {one}, ptr {ptr}, i64 1")
            self.line(f"store {one} {im}, ptr {next_ptr}{metadata}")

    def pair(self, re: str, im: str, dtype: Dtype) -> str:
        """The complex number of two parts."""
        one, both = TYPES[key(part(dtype))], llvm_type(dtype)
        half = self.op(f"insertvalue {both} poison, {one} {re}, 0")
        return self.op(f"insertvalue {both} {half}, {one} {im}, 1")

    def parts(self, value: str, dtype: Dtype) -> tuple[str, str]:
        """The real and the imaginary part of a complex number."""
        both = llvm_type(dtype)
        return self.op(f"extractvalue {both} {value}, 0"), self.op(f"extractvalue {both} {value}, 1")

    # ------------------------------------------------------------------------------------------------- the end

    def text(self) -> str:
        return "\n".join(self.lines)

    def define(self, signature: str) -> None:
        """Enter the finished body in the module as the function `signature`, as in `i32 @body(ptr %ins) #0`."""
        self.module.functions.append(f"define {signature} {{\nentry:\n{self.text()}\n}}")
