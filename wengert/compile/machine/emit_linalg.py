"""Linear algebra in machine code: elimination written out for small matrices, LAPACK for larger ones.

Matrices lie as Fortran has them, columns one after the other, in a copy that is worked on in place. What NumPy raises
an error for gives up the run, so that eager NumPy raises it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wengert.compile.machine import scalars
from wengert.compile.machine.code import Code, key, llvm_type
from wengert.compile.machine.code import literal as constant
from wengert.compile.machine.emit import BLAS, CONTROL, Emitter, address, element, repeat
from wengert.compile.machine.scalars.rules import RULES
from wengert.compile.tensors.form import Buffer, Control

SMALL: Final = 12  # rows up to which our own loops are faster than a call of LAPACK
UNROLLED: Final = 4  # turns up to which a loop is written out

Number = int | str  # known now, or a register


class _Writer:
    """A function `i32 name(ptr a, ptr b)` under construction, which returns 1 where it fails."""

    def __init__(self, emitter: Emitter, dtype: np.dtype[Any], n: int) -> None:
        self.emitter = emitter
        self.code = Code(emitter.module)
        self.dtype = dtype
        self.n = n

    def each(self, start: Number, end: Number, body: Callable[[Number], None]) -> None:
        """for i in range(start, end): body(i)"""
        if type(start) is int and type(end) is int and end - start <= UNROLLED:
            for i in range(start, end):
                body(i)
            return
        code, prefix = self.code, self.emitter.name("each_")
        counter = code.op("alloca i64")
        code.line(f"store i64 {start}, ptr {counter}")
        code.line(f"br label %{prefix}top")
        code.label(f"{prefix}top")
        now = code.op(f"load i64, ptr {counter}")
        code.line(f"br i1 {code.op(f'icmp slt i64 {now}, {end}')}, label %{prefix}in, label %{prefix}out")
        code.label(f"{prefix}in")
        body(now)
        code.line(f"store i64 {code.op(f'add nsw i64 {now}, 1')}, ptr {counter}")
        code.line(f"br label %{prefix}top")
        code.label(f"{prefix}out")

    def integer(self, how: str, x: Number, y: Number) -> Number:
        if type(x) is int and type(y) is int:
            return {"add": x + y, "sub": x - y, "mul": x * y}[how]
        return self.code.op(f"{how} nsw i64 {x}, {y}")

    def at(self, base: str, i: Number, j: Number) -> str:
        """Where the element of row i and column j lies."""
        offset = self.integer("add", i, self.integer("mul", j, self.n))
        return self.code.op(f"getelementptr inbounds {element(self.dtype)}, ptr {base}, i64 {offset}")

    def load(self, base: str, i: Number, j: Number) -> Any:
        return scalars.number(self.code, self.code.load(self.at(base, i, j), self.dtype), self.dtype)

    def store(self, base: str, i: Number, j: Number, value: Any) -> None:
        text = value.text() if self.dtype.kind == "c" else value.text
        self.code.store(self.at(base, i, j), text, self.dtype)

    def do(self, name: str, *args: Any) -> Any:
        return RULES[name, self.dtype.kind](*args)

    def less(self, base: str, i: Number, j: Number, *factors: Any) -> None:
        """base[i, j] −= the product of the factors"""
        self.store(base, i, j, self.do("subtract", self.load(base, i, j), self.do("multiply", *factors)))

    def size(self, x: Any) -> Any:
        """The size of a number by which pivots are compared."""
        return abs(x.re) + abs(x.im) if self.dtype.kind == "c" else abs(x)

    def leave_if(self, condition: str) -> None:
        code, on = self.code, self.emitter.name("on")
        code.line(f"br i1 {condition}, label %fail, label %{on}")
        code.label(on)

    def finish(self, name: str) -> None:
        code = self.code
        code.line("ret i32 0")
        if any("%fail" in line for line in code.lines):
            code.label("fail")
            code.line("ret i32 1")
        code.lines.sort(key=lambda line: " = alloca " not in line)
        group = self.emitter.module.attributes("nounwind noinline")
        code.define(f"internal i32 @{name}(ptr noalias %a, ptr noalias %b) {group}")

    # ------------------------------------------------------------------------------------------------ elimination

    def eliminate(self, columns: int, parity: bool) -> None:
        """A = P L U in place, with what it does to rows done to `columns` columns of b.

        With `parity` b is ±1, which each exchange of rows turns round, and a zero on the diagonal is no failure.
        """
        code, n = self.code, self.n
        place, best = code.op("alloca i64"), code.op(f"alloca {llvm_type(self._real)}")

        def turn(k: Number) -> None:
            self._pivot(k, place, best)
            if not parity:
                zero = code.op(f"fcmp oeq {self._kind} {code.op(f'load {self._kind}, ptr {best}')}, 0.0")
                self.leave_if(zero)
            p = code.op(f"load i64, ptr {place}")
            self._if(code.op(f"icmp ne i64 {p}, {k}"), lambda: self._exchange(k, p, columns, parity))
            below = self.integer("add", k, 1)

            def rest() -> None:
                head = self.load("%a", k, k)
                self.each(below, n, lambda i: self.store("%a", i, k, self.do("divide", self.load("%a", i, k), head)))
                for base, start, end in (("%a", below, n), ("%b", 0, columns)):
                    self.each(start, end, lambda j, base=base: self._subtract(base, k, j))  # type: ignore[misc]

            if parity:  # LAPACK leaves a column of zeros as it is
                zero = code.op(f"fcmp une {self._kind} {code.op(f'load {self._kind}, ptr {best}')}, 0.0")
                self._if(zero, rest)
            else:
                rest()

        self.each(0, n, turn)

    def _subtract(self, base: str, k: Number, j: Number) -> None:
        top = self.load(base, k, j)
        self.each(self.integer("add", k, 1), self.n, lambda i: self.less(base, i, j, self.load("%a", i, k), top))

    @property
    def _real(self) -> np.dtype[Any]:
        return np.dtype(self.dtype.char.lower())

    @property
    def _kind(self) -> str:
        return llvm_type(self._real)

    def _pivot(self, k: Number, place: str, best: str) -> None:
        code = self.code
        code.line(f"store i64 {k}, ptr {place}")
        code.line(f"store {self._kind} {self.size(self.load('%a', k, k)).text}, ptr {best}")

        def compare(i: Number) -> None:
            new, old = self.size(self.load("%a", i, k)).text, code.op(f"load {self._kind}, ptr {best}")
            larger = code.op(f"fcmp ogt {self._kind} {new}, {old}")
            where = code.op(f"load i64, ptr {place}")
            code.line(f"store i64 {code.op(f'select i1 {larger}, i64 {i}, i64 {where}')}, ptr {place}")
            chosen = code.op(f"select i1 {larger}, {self._kind} {new}, {self._kind} {old}")
            code.line(f"store {self._kind} {chosen}, ptr {best}")

        self.each(self.integer("add", k, 1), self.n, compare)

    def _if(self, condition: str, body: Callable[[], None]) -> None:
        code, prefix = self.code, self.emitter.name("if_")
        code.line(f"br i1 {condition}, label %{prefix}so, label %{prefix}on")
        code.label(f"{prefix}so")
        body()
        code.line(f"br label %{prefix}on")
        code.label(f"{prefix}on")

    def _exchange(self, k: Number, p: Number, columns: int, parity: bool) -> None:
        def swap(base: str, j: Number) -> None:
            one, other = self.load(base, k, j), self.load(base, p, j)
            self.store(base, k, j, other)
            self.store(base, p, j, one)

        self.each(k, self.n, lambda j: swap("%a", j))
        self.each(0, columns, lambda j: swap("%b", j))
        if parity:
            code = self.code
            old = code.op(f"load {self._kind}, ptr %b")
            code.line(f"store {self._kind} {code.op(f'fneg {self._kind} {old}')}, ptr %b")

    def substitute(self, columns: int) -> None:
        """b = U⁻¹ b"""

        def column(r: Number) -> None:
            def turn(t: Number) -> None:
                k = self.integer("sub", self.n - 1, t)
                value = self.do("divide", self.load("%b", k, r), self.load("%a", k, k))
                self.store("%b", k, r, value)
                self.each(0, k, lambda i: self.less("%b", i, r, self.load("%a", i, k), value))

            self.each(0, self.n, turn)

        self.each(0, columns, column)

    # --------------------------------------------------------------------------------------------------- Cholesky

    def cholesky(self, upper: bool) -> None:
        """A = L Lᴴ in place of the lower triangle, or of the upper one: A = Uᴴ U, which is the same of transposes."""

        def place(i: Number, j: Number) -> tuple[Number, Number]:
            return (j, i) if upper else (i, j)

        n = self.n

        def turn(j: Number) -> None:
            def less(i: Number) -> None:
                """a[i, j] −= Σ_k L[i, k] conj L[j, k]"""

                def term(k: Number) -> None:
                    other = self.load("%a", *place(j, k))
                    if self.dtype.kind == "c":
                        other = self.do("conjugate", other)
                    self.less("%a", *place(i, j), self.load("%a", *place(i, k)), other)

                self.each(0, j, term)

            less(j)
            head = self.load("%a", j, j)
            real = head.re if self.dtype.kind == "c" else head
            self.leave_if((real <= 0).text)
            root = real.intrinsic("sqrt")
            full = type(head)(root, root.like(0)) if self.dtype.kind == "c" else root
            self.store("%a", j, j, full)

            def below(i: Number) -> None:
                less(i)
                self.store("%a", *place(i, j), self.do("divide", self.load("%a", *place(i, j)), full))

            self.each(self.integer("add", j, 1), n, below)

        self.each(0, n, turn)


def _helper(emitter: Emitter, what: str, dtype: np.dtype[Any], n: int, columns: int) -> str:
    """The name of our own function for small matrices, written once per module."""
    name = f"wg_{what}_{key(dtype)}_{n}_{columns}"
    if name not in emitter.module.defined:
        emitter.module.defined.add(name)
        writer = _Writer(emitter, dtype, n)
        if what == "solve":
            writer.eliminate(columns, False)
            writer.substitute(columns)
        elif what == "lu":
            writer.eliminate(0, True)
        else:
            writer.cholesky(what == "upper")
        writer.finish(name)
    return name


def emit_linalg(emitter: Emitter, code: Code, node: Control, places: dict[Buffer, str]) -> None:
    """Each matrix of a batch. Operands: A, and b (solve), or where ±1 goes (lu), or nothing (lower, upper)."""
    what, n, columns = node.kind, node.params["n"], node.params["columns"]
    a_view, dtype = node.outs[0], node.outs[0].buffer.dtype
    a = address(code, a_view, places, str(a_view.offset))
    b_view = node.outs[1] if len(node.outs) > 1 else None
    b = address(code, b_view, places, str(b_view.offset)) if b_view is not None else a
    pivots = address(code, node.scratch[0], places, "0") if node.scratch else ""

    def matrix(i: str) -> None:
        def moved(base: str, size: int, kind: np.dtype[Any]) -> str:
            offset = code.op(f"mul nsw i64 {i}, {size}")
            return code.op(f"getelementptr inbounds {element(kind)}, ptr {base}, i64 {offset}")

        at = moved(a, n * n, dtype)
        to = at if b_view is None else moved(b, 1 if what == "lu" else n * columns, b_view.buffer.dtype)
        if what == "lu":
            assert b_view is not None
            one = constant(1, b_view.buffer.dtype)
            code.line(f"store {llvm_type(b_view.buffer.dtype)} {one}, ptr {to}")
        if n <= SMALL:
            second = code.op("alloca i8") if b_view is None else to
            status = code.op(f"call i32 @{_helper(emitter, what, dtype, n, columns)}(ptr {at}, ptr {second})")
        else:
            status = _lapack(emitter, code, what, at, to, pivots, n, columns, dtype)
        if what != "lu":
            on = emitter.name("went")
            code.line(f"br i1 {code.op(f'icmp eq i32 {status}, 0')}, label %{on}, label %failed")
            code.label(on)

    count = math.prod(a_view.shape[:-2])
    if count and n:
        repeat(code, count, matrix)


def _lapack(
    emitter: Emitter, code: Code, what: str, a: str, b: str, pivots: str, n: int, columns: int, dtype: np.dtype[Any]
) -> str:
    info = code.op("alloca i32")
    code.line(f"store i32 0, ptr {info}")
    size = emitter.number("i32", n)
    routine, arguments = {
        "solve": ("gesv", [size, emitter.number("i32", columns), a, size, pivots, b, size, info]),
        "lu": ("getrf", [size, size, a, size, pivots, info]),
        "lower": ("potrf", [emitter.number("i8", ord("L")), size, a, size, info]),
        "upper": ("potrf", [emitter.number("i8", ord("U")), size, a, size, info]),
    }[what]
    name = f'@"lapack.{BLAS[dtype.char]}{routine}"'
    emitter.module.declare(f"declare void {name}({', '.join(['ptr'] * len(arguments))})")
    code.line(f"call void {name}({', '.join(f'ptr {x}' for x in arguments)})")
    if what == "lu":
        kind = llvm_type(np.dtype(dtype.char.lower()))

        def turn(i: str) -> None:
            at = code.op(f"getelementptr inbounds i32, ptr {pivots}, i64 {i}")
            wide = code.op(f"sext i32 {code.op(f'load i32, ptr {at}')} to i64")
            stays = code.op(f"icmp eq i64 {wide}, {code.op(f'add i64 {i}, 1')}")
            old = code.op(f"load {kind}, ptr {b}")
            new = code.op(f"select i1 {stays}, {kind} {old}, {kind} {code.op(f'fneg {kind} {old}')}")
            code.line(f"store {kind} {new}, ptr {b}")

        repeat(code, n, turn)
    return code.op(f"load i32, ptr {info}")


CONTROL.update(dict.fromkeys(("solve", "lu", "lower", "upper"), emit_linalg))
