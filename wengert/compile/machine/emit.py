"""From tensor form to LLVM IR: a function per node, and the body that calls them in order.

Each kernel takes one pointer per buffer, all `noalias` (a temp never shares memory with another that lives at the same
time, and inputs are only read), so LLVM's vectoriser needs no checks at run time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from wengert.compile.machine import scalars, threads
from wengert.compile.machine.code import Code, Module, literal, llvm_type, memory_type
from wengert.compile.machine.contraction import contraction
from wengert.compile.tensors.form import (
    Accumulate,
    Buffer,
    Control,
    Expr,
    Host,
    Loop,
    Nest,
    Product,
    Store,
    Tensors,
    Update,
    View,
    view_of,
)
from wengert.compile.tensors.order import collapse, order_axes
from wengert.compile.tensors.split import PARTS, work

ON_STACK: Final = 16384  # bytes of scratch that a body takes from the stack; more comes from a pool of its own
SHORT: Final = 64  # iterations of a loop up to which it is not worth LLVM's time to vectorise it
INLINED: Final = 64  # iterations of a loop up to which it becomes part of the body
IN_CODE: Final = 4096  # bytes of a baked constant that are written into the code
BLAS: Final = {"f": "s", "d": "d", "F": "c", "D": "z"}  # the letters of its routines
CARRAY: Final = 0x501  # NumPy's flags for memory in C order, aligned and writeable


# --------------------------------------------------------------------------------------------------------- loops


class Kernel:
    """One loop, while its text is written.

    In a nest of several, `outer` is the axis that it runs over, and `local` buffers have room for one position of it
    only. A loop by itself may run over a `span` of the axis `outer`.
    """

    def __init__(
        self,
        code: Code,
        loop: Loop,
        parameters: dict[Buffer, str],
        outer: int | None = None,
        local: Collection[Buffer] = (),
        span: tuple[str, str] | None = None,
    ) -> None:
        self.code = code
        self.local = local
        self.span = span
        self.loop = loop
        self.parameters = parameters
        order = order_axes(loop, outer)
        exprs = loop.exprs()
        views = dict.fromkeys([view_of(e) for e in exprs if e.op in ("load", "gather")])
        views.update(dict.fromkeys(effect.view for effect in loop.effects))
        shape = [loop.shape[axis] for axis in order]
        strides = {view: tuple(view.strides[axis] for axis in order) for view in views}
        uses_index = any(e.op == "index" for e in exprs)
        self.first = 0 if outer is None or span is not None else 1  # the outermost level that is this loop's own
        groups = collapse(shape, strides, len(shape) if uses_index else outer is not None)
        self.lengths = [math.prod(shape[axis] for axis in group) for group in groups]
        self.strides = {view: tuple(s[group[-1]] for group in groups) for view, s in strides.items()}
        self.level_of_axis = {axis: level for level, axis in enumerate(order)}
        self.values: dict[Expr, str] = {}
        self.offsets: dict[View, str] = {}
        self.indices: list[str] = []
        self.bad: str | None = None
        self.levels: dict[Expr, int] = {}
        for e in exprs:
            level = max((self.levels[arg] for arg in e.args), default=0)
            if e.op in ("load", "gather"):
                level = max(level, self.depth_of(view_of(e)))
            elif e.op == "index":
                level = max(level, self.level_of_axis[e.data] + 1)
            self.levels[e] = level
        self.by_level: list[list[Expr]] = [[] for _ in range(len(self.lengths) + 1)]
        for e in exprs:
            self.by_level[self.levels[e]].append(e)
        self.accumulators = {
            id(e): _Accumulator(e, self.strides[e.view], self.first) for e in loop.effects if type(e) is Accumulate
        }
        self.contraction = contraction(self)

    def depth_of(self, view: View) -> int:
        """The innermost level at which a view moves, counted from 1."""
        return max((level + 1 for level, s in enumerate(self.strides[view]) if s), default=0)

    def prepare(self) -> None:
        """What comes before all loops."""
        code = self.code
        if any(e.op == "gather" and e.data[3] for e in self.loop.exprs()) or any(
            type(effect) is Update and effect.check for effect in self.loop.effects
        ):
            self.bad = code.op("alloca i1")
            code.line(f"store i1 false, ptr {self.bad}")
        self.offsets = {view: str(view.offset) for view in self.strides}
        for accumulator in self.accumulators.values():
            if accumulator.start < len(self.lengths):
                accumulator.register = code.op(f"alloca {llvm_type(accumulator.dtype)}")
            if accumulator.in_memory and not (self.first and accumulator.strides[0]):
                self.initialize(accumulator)
        for e in self.by_level[0]:
            self.values[e] = self.expression(e)

    def finish(self) -> None:
        """What comes after all loops."""
        if self.bad is not None:
            code = self.code
            flag = code.op(f"load i1, ptr {self.bad}")
            wide = code.op(f"zext i1 {flag} to i8")
            code.op(f"atomicrmw or ptr %flag, i8 {wide} monotonic")  # several threads may

    # ------------------------------------------------------------------------------------------------ the nest

    def nested(self, depth: int) -> None:
        """The loops from level `depth` on, at one index of those outside."""
        if self.contraction is not None and depth == self.contraction.depth:
            self.contraction.write()
            return
        if depth == len(self.lengths):
            for effect in self.loop.effects:
                self.effect(effect)
            return
        for accumulator in self.accumulators.values():
            if accumulator.start == depth:
                dtype = accumulator.dtype
                start = literal(scalars.identity(accumulator.effect.how, dtype), dtype)
                self.code.line(f"store {llvm_type(dtype)} {start}, ptr {accumulator.register}")
        outer = dict(self.offsets)
        span = self.span if depth == 0 else None
        plain = math.prod(self.loop.shape) <= SHORT
        repeat(self.code, self.lengths[depth], lambda i: self.step(depth, i, outer), span, plain)
        self.offsets = outer
        for accumulator in self.accumulators.values():
            if accumulator.start == depth:
                value = self.code.op(f"load {llvm_type(accumulator.dtype)}, ptr {accumulator.register}")
                self.deliver(accumulator, value)

    def step(self, depth: int, i: str, outer: dict[View, str]) -> None:
        """One turn of the loop at level `depth`."""
        self.indices.append(i)
        for view, strides in self.strides.items():
            stays = depth < self.first and view.buffer in self.local
            self.offsets[view] = outer[view] if stays else self.moved(outer[view], i, strides[depth])
        if depth < self.first:
            for accumulator in self.accumulators.values():
                if accumulator.in_memory and accumulator.strides[0]:
                    self.initialize(accumulator)
        for e in self.by_level[depth + 1]:
            self.values[e] = self.expression(e)
        self.nested(depth + 1)
        self.indices.pop()

    def repeat(self, count: int, body: Any) -> None:
        """A loop of its own."""
        repeat(self.code, count, body)

    def moved(self, offset: str, i: str, stride: int) -> str:
        if stride == 0 or i == "0":
            return offset
        if i.isdigit() and offset.lstrip("-").isdigit():
            return str(int(offset) + int(i) * stride)
        step = i if stride == 1 else self.code.op(f"mul nsw i64 {i}, {stride}")
        return step if offset == "0" else self.code.op(f"add nsw i64 {offset}, {step}")

    def pointer(self, view: View, offset: str | None = None) -> str:
        offset = self.offsets[view] if offset is None else offset
        parameter = self.parameters[view.buffer]
        if offset == "0":
            return parameter
        return self.code.op(f"getelementptr inbounds {element(view.buffer.dtype)}, ptr {parameter}, i64 {offset}")

    # ------------------------------------------------------------------------------------------------- effects

    def effect(self, effect: Any) -> None:
        code, dtype = self.code, effect.view.buffer.dtype
        value = self.values[effect.value]
        if type(effect) is Store:
            code.store(self.pointer(effect.view), value, dtype)
        elif type(effect) is Accumulate:
            accumulator = self.accumulators[id(effect)]
            if accumulator.start == len(self.lengths):
                self.deliver(accumulator, value)
                return
            kind = llvm_type(dtype)
            old = code.op(f"load {kind}, ptr {accumulator.register}")
            new = scalars.combine(code, effect.how, old, value, dtype, reassoc=True)
            code.line(f"store {kind} {new}, ptr {accumulator.register}")
        else:
            place = self.offsets[effect.view]
            for index, stride, length in zip(effect.indices, effect.strides, effect.lengths, strict=True):
                place = self.moved(place, self.checked(self.values[index], length, effect.check), stride)
            ptr = self.pointer(effect.view, place)
            if effect.how is not None:
                value = scalars.combine(code, effect.how, code.load(ptr, dtype), value, dtype)
            code.store(ptr, value, dtype)

    def deliver(self, accumulator: _Accumulator, value: str) -> None:
        """Bring what was combined in a register, or one element, to memory."""
        code, dtype, effect = self.code, accumulator.dtype, accumulator.effect
        ptr = self.pointer(effect.view)
        if accumulator.in_memory:
            value = scalars.combine(code, effect.how, code.load(ptr, dtype), value, dtype)
        code.store(ptr, value, dtype)

    def initialize(self, accumulator: _Accumulator) -> None:
        """Write the neutral element where a result is combined in memory."""
        effect, dtype = accumulator.effect, accumulator.dtype
        levels = list(enumerate(zip(self.lengths, accumulator.strides, strict=True)))[self.first :]
        kept = [(n, s, self.span if level == 0 else None) for level, (n, s) in levels if s]
        start = literal(scalars.identity(effect.how, dtype), dtype)

        def nest(k: int, offset: str) -> None:
            if k == len(kept):
                self.code.store(self.pointer(effect.view, offset), start, dtype)
            else:
                n, stride, span = kept[k]
                repeat(self.code, n, lambda i: nest(k + 1, self.moved(offset, i, stride)), span)

        nest(0, self.offsets[effect.view])

    # --------------------------------------------------------------------------------------------- expressions

    def expression(self, e: Expr) -> str:
        code = self.code
        if e.op == "const":
            return literal(e.data, e.aval.dtype)
        if e.op == "load":
            return code.load(self.pointer(e.data), e.data.buffer.dtype)
        if e.op == "index":
            return self.indices[self.level_of_axis[e.data]]
        if e.op == "apply":
            primitive, params, avals = e.data
            found: Any = scalars.lower(code, primitive, params, [self.values[arg] for arg in e.args], avals, e.aval)
            return found  # type: ignore[no-any-return]  # a list where there are several results, for `part`
        if e.op == "part":
            return self.values[e.args[0]][e.data]
        base, strides, lengths, check = e.data
        place = self.offsets[base]
        for arg, stride, length in zip(e.args, strides, lengths, strict=True):
            place = self.moved(place, self.checked(self.values[arg], length, check), stride)
        return code.load(self.pointer(base, place), base.buffer.dtype)

    def checked(self, index: str, length: int, check: bool) -> str:
        """A position: negative ones count from the end; one out of bounds raises the flag, and reads element 0."""
        if not check:
            return index
        code = self.code
        negative = code.op(f"icmp slt i64 {index}, 0")
        wrapped = code.op(f"add i64 {index}, {length}")
        place = code.op(f"select i1 {negative}, i64 {wrapped}, i64 {index}")
        inside = code.op(f"icmp ult i64 {place}, {length}")
        outside = code.op(f"xor i1 {inside}, true")
        old = code.op(f"load i1, ptr {self.bad}")
        new = code.op(f"or i1 {old}, {outside}")
        code.line(f"store i1 {new}, ptr {self.bad}")
        return code.op(f"select i1 {inside}, i64 {place}, i64 0")


class _Accumulator:
    """How a reduction is carried out in a nest: in a register along the inner axes, in memory along outer ones."""

    def __init__(self, effect: Accumulate, strides: Sequence[int], first: int) -> None:
        self.effect = effect
        self.strides = strides
        self.dtype = effect.view.buffer.dtype
        self.start = len(strides)  # the level from which on all axes are reduced
        while self.start > first and strides[self.start - 1] == 0:
            self.start -= 1
        self.in_memory = any(s == 0 for s in strides[: self.start])
        self.register = ""


def element(dtype: Any) -> str:
    """The type that pointers step by."""
    return f"[{dtype.itemsize} x i8]" if dtype.kind == "c" else memory_type(dtype)


def repeat(code: Code, count: int, body: Any, span: tuple[str, str] | None = None, plain: bool = False) -> None:
    """for i in range(count), or over a span of it that is not empty: body(i)."""
    if count == 1 and span is None:
        body("0")
        return
    start, end = span or ("0", str(count))
    k = code.count
    code.count += 1
    code.line(f"br label %pre{k}")
    code.label(f"pre{k}")
    code.line(f"br label %loop{k}")
    code.label(f"loop{k}")
    code.line(f"%i{k} = phi i64 [ {start}, %pre{k} ], [ %n{k}, %latch{k} ]")
    body(f"%i{k}")
    code.line(f"br label %latch{k}")
    code.label(f"latch{k}")
    code.line(f"%n{k} = add nuw nsw i64 %i{k}, 1")
    code.line(f"%e{k} = icmp eq i64 %n{k}, {end}")
    code.line(f"br i1 %e{k}, label %exit{k}, label %loop{k}{_plain(code) if plain else ''}")
    code.label(f"exit{k}")


def _plain(code: Code) -> str:
    """Metadata that asks LLVM to leave a loop as it is: short ones gain nothing, and take as long to compile."""
    number = 10_000 + len(code.module.declarations)
    code.module.declare('!10000 = !{!"llvm.loop.vectorize.enable", i1 false}')
    code.module.declare(f"!{number + 1} = distinct !{{!{number + 1}, !10000}}")
    return f", !llvm.loop !{number + 1}"


# ------------------------------------------------------------------------------------------------------- programs


@dataclass
class Emitted:
    """The text of a program's machine code, and what must be put into its tables once it is loaded."""

    text: Module
    hosts: list[Host]  # what the table `hosts` wants functions for
    arrays: list[np.ndarray[Any, Any]]  # what the table `arrays` wants the data of
    threads: bool  # whether the global `threads` wants their number
    pools: list[str]  # global pointers to scratch memory, to be freed in the end


def emit(program: Tensors, module: Module, name: str = "body") -> Emitted:
    """Enter `i32 name(ptr ins, ptr outs)` in the module."""
    emitter = Emitter(module)
    emitter.program(program, name, "")
    if emitter.hosts:
        module.declare(f"@hosts = global [{1 + len(emitter.hosts)} x ptr] zeroinitializer")
    if emitter.arrays:
        module.declare(f"@arrays = global [{len(emitter.arrays)} x ptr] zeroinitializer")
    return Emitted(module, emitter.hosts, emitter.arrays, "parallel" in module.defined, emitter.pools)


class Emitter:
    """Writes a program and the programs inside it."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.hosts: list[Host] = []
        self.pools: list[str] = []
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.kernels = 0

    def name(self, prefix: str) -> str:
        self.kernels += 1
        return f"{prefix}{self.kernels}"

    def program(self, program: Tensors, name: str, linkage: str) -> None:
        code = Code(self.module)
        flag = code.op("alloca i8")
        code.line(f"store i8 0, ptr {flag}")
        places: dict[Buffer, str] = {}
        for source, buffers in (("%ins", program.inputs), ("%outs", program.outputs)):
            for k, buffer in enumerate(buffers):
                at = code.op(f"getelementptr inbounds ptr, ptr {source}, i64 {k}")
                places[buffer] = code.op(f"load ptr, ptr {at}")
        for buffer in program.constants:
            places[buffer] = self.constant(code, buffer)
        arena = self.arena(code, program, name)
        releases = linkage == "" and _may_release(program)
        if releases:
            self.module.declare("declare ptr @PyEval_SaveThread()")
            self.module.declare("declare void @PyEval_RestoreThread(ptr)")
            code.line("%state = call ptr @PyEval_SaveThread()")
        for buffer, start in program.arena.items():
            places[buffer] = code.op(f"getelementptr inbounds i8, ptr {arena}, i64 {start}") if start else arena
        guards = _guards_after(program)
        for view, expected in guards.get(-1, ()):
            self.guard(code, view, expected, places)
        for k, node in enumerate(program.nodes):
            if isinstance(node, Loop | Nest):
                self.loops(code, node, {**places, None: flag})
            elif isinstance(node, Product):
                self.product(code, node, places)
            elif isinstance(node, Host):
                self.host(code, node, places)
            else:
                self.control(code, node, places)
            for view, expected in guards.get(k, ()):
                self.guard(code, view, expected, places)
        bad = code.op(f"load i8, ptr {flag}")
        status = code.op(f"icmp ne i8 {bad}, 0")
        code.line(f"br i1 {status}, label %failed, label %done")
        code.label("failed")
        code.line("br label %leave")
        code.label("done")
        code.line("br label %leave")
        if any("%raised" in line for line in code.lines):
            code.label("raised")
            code.line("br label %leave")
            raised = ", [ 1, %raised ]"
        else:
            raised = ""
        code.label("leave")
        code.line(f"%status = phi i32 [ 2, %failed ], [ 0, %done ]{raised}")
        if releases:
            code.line("call void @PyEval_RestoreThread(ptr %state)")
        self.free(code, program, name)
        code.line("ret i32 %status")
        code.lines.sort(key=lambda line: " = alloca " not in line)  # to the entry, where LLVM turns them into registers
        # The entry calls the body; where that is large it is not copied into the entry, to be compiled twice
        small = all(isinstance(node, Loop) and math.prod(node.shape) <= INLINED for node in program.nodes)
        group = self.module.attributes("nounwind" if small or linkage else "nounwind noinline")
        code.define(f"{linkage} i32 @{name}(ptr noalias %ins, ptr noalias %outs) {group}".strip())

    def loops(self, code: Code, node: Loop | Nest, places: dict[Any, str]) -> None:
        """Call the function of a loop, or of a nest of them, which is entered here."""
        name, buffers = self.kernel(node)
        pointers = [places[buffer] for buffer in buffers] + [places[None]]
        if not isinstance(node, Nest) or node.parts is None:
            code.line(f"call void @{name}({', '.join(f'ptr {p}' for p in pointers)})")
            return
        parts = node.parts
        table = code.op(f"alloca [{len(pointers)} x ptr]")
        for k, buffer in enumerate([*buffers, None]):
            at = code.op(f"getelementptr inbounds ptr, ptr {table}, i64 {k}")
            code.line(f"store ptr {places[parts[buffer]] if buffer in parts else places[buffer]}, ptr {at}")
        chunk = self.chunk(node, name, buffers)
        threads.declare(self.module)
        code.line(f"call void @parallel(ptr @{chunk}, ptr {table}, i64 {PARTS})")
        for loop in node.loops:
            for effect in loop.effects:
                if type(effect) is Accumulate and effect.view.buffer in parts:
                    self.loops(code, _combination(effect, parts[effect.view.buffer]), places)

    def chunk(self, node: Nest, name: str, buffers: Sequence[Buffer]) -> str:
        """The function `void chunk(ptr table, i64 part)` that runs one part of a nest."""
        code = Code(self.module)
        pointers = []
        for k, buffer in enumerate([*buffers, None]):
            at = code.op(f"getelementptr inbounds ptr, ptr %table, i64 {k}")
            pointer = code.op(f"load ptr, ptr {at}")
            assert node.parts is not None
            if buffer is not None and (buffer in node.parts or buffer in node.local):
                size = buffer.size if buffer in node.parts else buffer.size // node.length
                offset = code.op(f"mul nsw i64 %part, {size * buffer.dtype.itemsize}")
                pointer = code.op(f"getelementptr inbounds i8, ptr {pointer}, i64 {offset}")
            pointers.append(f"ptr {pointer}")

        def bound(part: str) -> str:
            scaled = code.op(f"mul nsw i64 {part}, {node.length}")
            even = code.op(f"sdiv i64 {scaled}, {PARTS}")
            return even if node.length < 64 * PARTS else code.op(f"and i64 {even}, -8")

        start = bound("%part")
        following = code.op("add i64 %part, 1")
        last = code.op(f"icmp eq i64 {following}, {PARTS}")
        end = code.op(f"select i1 {last}, i64 {node.length}, i64 {bound(following)}")
        code.line(f"call void @{name}({', '.join([*pointers, f'i64 {start}', f'i64 {end}'])})")
        code.line("ret void")
        chunk = self.name("part_")
        code.define(f"internal void @{chunk}(ptr %table, i64 %part) {self.module.attributes('nounwind')}")
        return chunk

    def kernel(self, node: Loop | Nest) -> tuple[str, list[Buffer]]:
        """Enter the function of a loop, or of a nest of them; returns its name and the buffers that it takes."""
        code = Code(self.module)
        hidden = set((node.parts or {}).values()) if isinstance(node, Nest) else set()
        buffers = [b for b in dict.fromkeys([*node.reads(), *node.writes()]) if b not in hidden]
        parameters = {buffer: f"%b{k}" for k, buffer in enumerate(buffers)}
        span = ("%start", "%end") if isinstance(node, Nest) and node.parts is not None else None
        if isinstance(node, Loop):
            kernels = [Kernel(code, node, parameters)]
        else:
            alone = span if len(node.loops) == 1 else None
            pairs = zip(node.loops, node.axes, strict=True)
            kernels = [Kernel(code, loop, parameters, axis, node.local, alone) for loop, axis in pairs]
        for kernel in kernels:
            kernel.prepare()
        if len(kernels) == 1:
            kernels[0].nested(0)
        else:
            starts = [dict(kernel.offsets) for kernel in kernels]

            def turn(i: str) -> None:
                for kernel, outer in zip(kernels, starts, strict=True):
                    kernel.step(0, i, outer)

            repeat(code, node.length, turn, span)  # type: ignore[union-attr]
        for kernel in kernels:
            kernel.finish()
        code.line("ret void")
        code.lines.sort(key=lambda line: " = alloca " not in line)
        name = self.name("loop_")
        declared = [f"ptr noalias {p}" for p in parameters.values()] + ["ptr noalias %flag"]
        declared += [f"i64 {bound}" for bound in span or ()]
        # LLVM takes longer over one large function than over its parts
        kind = "nounwind" if isinstance(node, Loop) and math.prod(node.shape) <= INLINED else "nounwind noinline"
        code.define(f"internal void @{name}({', '.join(declared)}) {self.module.attributes(kind)}")
        return name, buffers

    # -------------------------------------------------------------------------------------------------- memory

    def constant(self, code: Code, buffer: Buffer) -> str:
        """Where a baked constant is: in the code where it is small, else in an array that the table `arrays` names."""
        if buffer.value.nbytes > IN_CODE:
            self.arrays.append(np.ascontiguousarray(buffer.value))
            return code.op(f"load ptr, ptr getelementptr inbounds (ptr, ptr @arrays, i64 {len(self.arrays) - 1})")
        octets = np.ascontiguousarray(buffer.value).tobytes()
        name = f"const_{self.name('')}"
        text = "".join(f"\\{octet:02X}" for octet in octets) or "\\00"
        self.module.declare(
            f'@{name} = internal unnamed_addr constant [{max(len(octets), 1)} x i8] c"{text}", align 64'
        )
        return f"@{name}"

    def arena(self, code: Code, program: Tensors, name: str) -> str:
        """Scratch memory: from the stack where it is small, else from a pool of one, which a second thread misses."""
        size = program.arena_size
        if not size:
            return "null"
        if size <= ON_STACK:
            return code.op(f"alloca [{size} x i8], align 64")
        self.module.declare("declare ptr @PyMem_RawMalloc(i64)")
        self.module.declare("declare void @PyMem_RawFree(ptr)")
        self.module.declare(f"@pool_{name} = global ptr null")
        self.pools.append(f"pool_{name}")
        code.line(f"%old = atomicrmw xchg ptr @pool_{name}, ptr null acq_rel")
        code.line("%none = icmp eq ptr %old, null")
        code.line("br i1 %none, label %fresh, label %have")
        code.label("fresh")
        code.line(f"%made = call ptr @PyMem_RawMalloc(i64 {size + 64})")
        code.line("br label %have")
        code.label("have")
        code.line("%block = phi ptr [ %old, %entry ], [ %made, %fresh ]")
        number = code.op("ptrtoint ptr %block to i64")
        up = code.op(f"add i64 {number}, 63")
        aligned = code.op(f"and i64 {up}, -64")
        step = code.op(f"sub i64 {aligned}, {number}")
        return code.op(f"getelementptr inbounds i8, ptr %block, i64 {step}")

    def free(self, code: Code, program: Tensors, name: str) -> None:
        if program.arena_size > ON_STACK:
            code.line(f"%other = atomicrmw xchg ptr @pool_{name}, ptr %block acq_rel")
            code.line("call void @PyMem_RawFree(ptr %other)")

    def guard(self, code: Code, view: View, expected: Any, places: dict[Buffer, str]) -> None:
        dtype = view.buffer.dtype
        value = code.load(address(code, view, places, str(view.offset)), dtype)
        kind = llvm_type(dtype)
        if dtype.kind == "f":
            bits = f"i{8 * dtype.itemsize}"
            value = code.op(f"bitcast {kind} {value} to {bits}")
            expected = int(np.asarray(expected, dtype).view(f"i{dtype.itemsize}"))
            kind = bits
        elif dtype.kind == "b":
            expected = "true" if expected else "false"
        hit = code.op(f"icmp eq {kind} {value}, {expected}")
        label = self.name("guard")
        code.line(f"br i1 {hit}, label %{label}, label %failed")
        code.label(label)

    # ---------------------------------------------------------------------------------------------------- BLAS

    def product(self, code: Code, node: Product, places: dict[Buffer, str]) -> None:
        """A matrix product by gemm, which counts in columns: Cᵀ = Bᵀ Aᵀ where C lies in rows."""
        out, a, b = node.out, node.one, node.other
        *batch, m, n = out.shape
        k = a.shape[-1]
        dtype = out.buffer.dtype
        real = llvm_type(dtype)
        name = f'@"blas.{BLAS[dtype.char]}gemm"'
        self.module.declare(f"declare void {name}({', '.join(['ptr'] * 13)})")
        in_rows = out.strides[-1] == 1 and (out.strides[-2] >= n or m == 1)
        if in_rows:
            first, second, rows, columns, ldc = b, a, n, m, max(out.strides[-2], n)
        else:
            first, second, rows, columns, ldc = a, b, m, n, max(out.strides[-1], m)

        def layout(view: View, as_stored: bool) -> tuple[str, int]:
            """How BLAS must read a matrix, and its leading dimension; `as_stored` for C in columns."""
            (p, q), (s, t) = view.shape[-2:], view.strides[-2:]
            in_columns = (s == 1 or p == 1) and (t >= p or q == 1) and not (t == 1 and s >= q and p > 1)
            lead = max(t if q > 1 else p, p) if in_columns else max(s if p > 1 else q, q)
            return ("N" if in_columns == as_stored else "T"), lead

        trans_first, ld_first = layout(first, not in_rows)
        trans_second, ld_second = layout(second, not in_rows)
        integer = {value: self.number("i32", value) for value in (rows, columns, k, ld_first, ld_second, ldc)}
        one, zero = self.number(real, literal(1.0, dtype)), self.number(real, literal(0.0, dtype))

        def call(offsets: list[str]) -> None:
            c, x, y = (
                address(code, view, places, offset) for view, offset in zip((out, first, second), offsets, strict=True)
            )
            arguments = [
                self.number("i8", ord(trans_first)), self.number("i8", ord(trans_second)), integer[rows],
                integer[columns], integer[k], one, x, integer[ld_first], y, integer[ld_second], zero, c, integer[ldc],
            ]  # fmt: skip
            code.line(f"call void {name}({', '.join(f'ptr {x}' for x in arguments)})")

        def nest(axis: int, offsets: list[str]) -> None:
            if axis == len(batch):
                call(offsets)
                return

            def body(i: str) -> None:
                moved = []
                for view, offset in zip((out, first, second), offsets, strict=True):
                    step = code.op(f"mul nsw i64 {i}, {view.strides[axis]}")
                    moved.append(code.op(f"add nsw i64 {offset}, {step}"))
                nest(axis + 1, moved)

            repeat(code, batch[axis], body)

        nest(0, [str(view.offset) for view in (out, first, second)])

    def number(self, kind: str, value: Any) -> str:
        """A number in memory, as Fortran wants it."""
        name = re.sub(r"\W+", "_", f"num_{kind}_{str(value).replace('-', 'm')}")
        self.module.declare(f"@{name} = internal unnamed_addr constant {kind} {value}")
        return f"@{name}"

    # ---------------------------------------------------------------------------------------------------- Python

    def host(self, code: Code, node: Host, places: dict[Buffer, str]) -> None:
        """Call a Python function of the table on arrays over our memory; the first in the table is np.ndarray."""
        self.hosts.append(node)
        number = len(self.hosts)
        declare = self.module.declare
        declare("declare ptr @numpy.PyArray_New(ptr, i32, ptr, i32, ptr, ptr, i32, i32, ptr)")
        declare("declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)")
        declare("declare void @Py_DecRef(ptr)")
        views = [view for view in (*node.ins, *node.outs) if isinstance(view, View)]
        table = code.op(f"alloca [{max(len(views), 1)} x ptr]")
        kind = code.op("load ptr, ptr @hosts")
        made: list[str] = []
        failed: list[str] = []
        for k, view in enumerate(views):
            lengths = "null"
            if view.shape:
                name = f"@shape_{'_'.join(map(str, view.shape))}"
                items = ", ".join(f"i64 {n}" for n in view.shape)
                declare(f"{name} = internal unnamed_addr constant [{len(view.shape)} x i64] [{items}]")
                lengths = name
            data = address(code, view, places, str(view.offset))
            array = code.op(
                f"call ptr @numpy.PyArray_New(ptr {kind}, i32 {len(view.shape)}, ptr {lengths}, "
                f"i32 {view.buffer.dtype.num}, ptr null, ptr {data}, i32 0, i32 {CARRAY}, ptr null)"
            )
            at = code.op(f"getelementptr inbounds ptr, ptr {table}, i64 {k}")
            code.line(f"store ptr {array}, ptr {at}")
            made.append(array)
            failed.append(code.op(f"icmp eq ptr {array}, null"))
        for bad in failed:  # out of memory: what was made is lost, which nobody will mind then
            label = self.name("got")
            code.line(f"br i1 {bad}, label %raised, label %{label}")
            code.label(label)
        function = code.op(f"load ptr, ptr getelementptr inbounds (ptr, ptr @hosts, i64 {number})")
        result = code.op(f"call ptr @PyObject_Vectorcall(ptr {function}, ptr {table}, i64 {len(views)}, ptr null)")
        for array in made:
            code.line(f"call void @Py_DecRef(ptr {array})")
        none = code.op(f"icmp eq ptr {result}, null")
        label = self.name("called")
        code.line(f"br i1 {none}, label %raised, label %{label}")
        code.label(label)
        code.line(f"call void @Py_DecRef(ptr {result})")

    # --------------------------------------------------------------------------------------------------- control

    def control(self, code: Code, node: Control, places: dict[Buffer, str]) -> None:
        CONTROL[node.kind](self, code, node, places)


CONTROL: Final[dict[str, Any]] = {}  # filled by `emit_control`


LONG: Final = 1_000_000  # cycles of work from which on other Python threads may run meanwhile


def _guards_after(program: Tensors) -> dict[int, list[tuple[View, Any]]]:
    """The value guards by the node after which they can be checked: before anything that only holds if they do."""
    written = {buffer: k for k, node in enumerate(program.nodes) for buffer in node.writes()}
    found: dict[int, list[tuple[View, Any]]] = {}
    for view, expected in program.guards:
        found.setdefault(written.get(view.buffer, -1), []).append((view, expected))
    return found


def _may_release(program: Tensors) -> bool:
    """Whether a body may let go of the GIL: it takes long, and never needs Python."""
    total = 0
    for node in program.nodes:
        if isinstance(node, Loop | Nest):
            total += work(node)
        elif isinstance(node, Product):
            total += math.prod(node.out.shape) * node.one.shape[-1] // 4
        else:
            return False
    return total >= LONG


def _combination(effect: Accumulate, parts: Buffer) -> Loop:
    """The loop that combines what each part has accumulated, in order."""
    target = effect.view.buffer
    shape = (PARTS, target.size)
    load = Expr("load", effect.value.aval, (), View(parts, shape, (target.size, 1)))
    return Loop(shape, [Accumulate(View(target, shape, (0, 1)), load, effect.how)])


def address(code: Code, view: View, places: dict[Buffer, str], offset: str) -> str:
    """Where an element of a buffer lies."""
    place = places[view.buffer]
    if offset == "0":
        return place
    return code.op(f"getelementptr inbounds {element(view.buffer.dtype)}, ptr {place}, i64 {offset}")


__all__ = ["Emitted", "emit"]
