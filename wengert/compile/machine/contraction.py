"""The innermost loops of a sum of products, with its results in vector registers.

    out[…, v] += Σ_r a[…, r] · b[…, r, v]

Left to itself LLVM keeps `out` in memory and meets a short axis v with scalar code. Here v is cut into vectors that are
exactly as long as it needs, which stay in registers along r. Products are contracted into the sums (fma), as in BLAS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wengert.compile.machine.code import llvm_type
from wengert.compile.tensors.form import Accumulate, Expr, View

if TYPE_CHECKING:
    from wengert.compile.machine.emit import Kernel

REGISTER: Final = 64  # bytes of the widest vector register; LLVM takes several narrower ones where there is none
WIDEST: Final = 4 * REGISTER  # bytes of the results that are held in registers


def contraction(kernel: Kernel) -> Contraction | None:
    """What to write for the innermost loops, where they are a sum of products."""
    effects = kernel.loop.effects
    if len(effects) != 1 or type(effects[0]) is not Accumulate or effects[0].how != "add":
        return None
    effect, value = effects[0], effects[0].value
    dtype = effect.view.buffer.dtype
    depth = len(kernel.lengths) - 1
    outermost = 1 if kernel.span is not None else kernel.first
    if depth < outermost or dtype.kind != "f" or value.op != "apply" or value.data[0].name != "multiply":
        return None
    if kernel.strides[effect.view][depth] != 1 or kernel.lengths[depth] < 4:
        return None
    a, b = value.args
    if kernel.levels[a] == depth + 1:
        a, b = b, a
    if a.aval.dtype != dtype or b.op != "load" or b.data.buffer.dtype != dtype or kernel.strides[b.data][depth] != 1:
        return None
    if {*kernel.by_level[depth + 1]} != {b, value}:  # only b moves along v
        return None
    along = depth - 1 >= outermost and kernel.strides[effect.view][depth - 1] == 0
    return Contraction(kernel, effect, a, b, depth - along, along)


class Contraction:
    """From level `depth` on: along r if `along`, and v."""

    def __init__(self, kernel: Kernel, effect: Accumulate, a: Expr, b: Expr, depth: int, along: bool) -> None:
        self.kernel = kernel
        self.effect = effect
        self.a = a
        self.b = b
        self.depth = depth
        self.along = along
        self.adds = any(s == 0 for s in kernel.strides[effect.view][:depth])  # to what is there
        if along:
            accumulator = kernel.accumulators[id(effect)]
            accumulator.in_memory = self.adds

    def write(self) -> None:
        """The code from level `depth` on."""
        kernel = self.kernel
        length = kernel.lengths[-1]
        widest = WIDEST // self.effect.view.buffer.dtype.itemsize
        whole, rest = divmod(length, widest)
        if whole > 2:
            kernel.repeat(whole, lambda i: self.block(kernel.code.op(f"mul nsw i64 {i}, {widest}"), widest))
        else:
            for k in range(whole):
                self.block(str(k * widest), widest)
        if rest:
            self.block(str(whole * widest), rest)

    def factor(self, r: str | None) -> str:
        """The value of `a`, which is the same for all v."""
        kernel = self.kernel
        if r is not None:
            outer = dict(kernel.offsets)
            for view, strides in kernel.strides.items():
                kernel.offsets[view] = kernel.moved(outer[view], r, strides[self.depth])
            kernel.indices.append(r)
            for e in kernel.by_level[self.depth + 1]:
                kernel.values[e] = kernel.expression(e)
            kernel.indices.pop()
            kernel.offsets = outer
        return kernel.values[self.a]

    def block(self, start: str, width: int) -> None:
        """`width` results from `start` on, in vectors of 64 bytes and less."""
        kernel, code = self.kernel, self.kernel.code
        dtype = self.effect.view.buffer.dtype
        kind, lanes = llvm_type(dtype), REGISTER // dtype.itemsize
        pieces: list[tuple[int, int]] = []  # where each vector begins, and its length: powers of two
        first = 0
        while first < width:
            length = min(lanes, 1 << ((width - first).bit_length() - 1))
            pieces.append((first, length))
            first += length
        offsets = {view: kernel.offsets[view] for view in (self.effect.view, self.b.data)}

        def place(view: View, r: str | None, first: int) -> str:
            offset = offsets[view]
            if r is not None:
                offset = kernel.moved(offset, r, kernel.strides[view][self.depth])
            return kernel.pointer(view, kernel.moved(kernel.moved(offset, start, 1), str(first), 1))

        def load(view: View, r: str | None, first: int, length: int) -> str:
            return code.op(f"load <{length} x {kind}>, ptr {place(view, r, first)}, align {dtype.itemsize}")

        def add_products(totals: list[str], r: str | None) -> list[str]:
            scalar = self.factor(r)
            found = []
            for total, (first, length) in zip(totals, pieces, strict=True):
                vector = f"<{length} x {kind}>"
                one = code.op(f"insertelement {vector} poison, {kind} {scalar}, i64 0")
                factor = code.op(f"shufflevector {vector} {one}, {vector} poison, <{length} x i32> zeroinitializer")
                term = code.op(f"fmul contract {vector} {factor}, {load(self.b.data, r, first, length)}")
                found.append(code.op(f"fadd contract {vector} {total}, {term}"))
            return found

        out = self.effect.view
        if not self.along:
            zeros = ["zeroinitializer" for _ in pieces]
            totals = add_products([load(out, None, *piece) for piece in pieces] if self.adds else zeros, None)
        else:
            sums = []
            for _, length in pieces:
                sums.append(code.op(f"alloca <{length} x {kind}>"))
                code.line(f"store <{length} x {kind}> zeroinitializer, ptr {sums[-1]}")

            def registers() -> list[str]:
                return [
                    code.op(f"load <{length} x {kind}>, ptr {at}") for at, (_, length) in zip(sums, pieces, strict=True)
                ]

            def turn(r: str) -> None:
                for total, at, (_, length) in zip(add_products(registers(), r), sums, pieces, strict=True):
                    code.line(f"store <{length} x {kind}> {total}, ptr {at}")

            kernel.repeat(kernel.lengths[self.depth], turn)
            totals = registers()
            if self.adds:
                totals = [
                    code.op(f"fadd <{piece[1]} x {kind}> {total}, {load(out, None, *piece)}")
                    for total, piece in zip(totals, pieces, strict=True)
                ]
        for total, (first, length) in zip(totals, pieces, strict=True):
            code.line(f"store <{length} x {kind}> {total}, ptr {place(out, None, first)}, align {dtype.itemsize}")
