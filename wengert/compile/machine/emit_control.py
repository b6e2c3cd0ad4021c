"""Native loops and branches over programs: `scan`, `while_loop` with its pullback, and `cond`.

Bodies are functions with the same signature as a whole program, `i32 body(ptr ins, ptr outs)`. A carry that changes
from step to step lies in two places: the body reads one and writes the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from wengert.compile.machine.code import Code
from wengert.compile.machine.emit import CONTROL, Emitter, address, element, repeat
from wengert.compile.tensors.form import Buffer, Control, Loop, Tensors, View

SMALL_CARRY: Final = 128  # bytes of carry that are copied at each step, so that LLVM can hold them in registers
POLL: Final = 1 << 16  # elements worked on between two looks at pending signals


def emit_control(emitter: Emitter, code: Code, node: Control, places: dict[Buffer, str]) -> None:
    """The text of one control node."""
    names = []
    for body in node.bodies:
        names.append(emitter.name(f"{node.kind}_"))
        emitter.program(body, names[-1], "internal")
    WRITERS[node.kind](_Frame(emitter, code, node, places), names)


class _Frame:
    """One control node at work."""

    def __init__(self, emitter: Emitter, code: Code, node: Control, places: dict[Buffer, str]) -> None:
        self.emitter = emitter
        self.code = code
        self.node = node
        self.ins = [address(code, view, places, str(view.offset)) for view in node.ins]
        self.outs = [address(code, view, places, str(view.offset)) for view in node.outs]
        self.scratch = [address(code, view, places, str(view.offset)) for view in node.scratch]
        self.failed, self.raised = "failed", "raised"  # where to go

    def table(self, size: int) -> str:
        return self.code.op(f"alloca [{max(size, 1)} x ptr]")

    def fill(self, table: str, values: Sequence[str]) -> None:
        for k, value in enumerate(values):
            at = self.code.op(f"getelementptr inbounds ptr, ptr {table}, i64 {k}")
            self.code.line(f"store ptr {value}, ptr {at}")

    def leave_by(self, prefix: str) -> None:
        """Go to labels of one's own, with this prefix, where something fails from now on."""
        self.failed, self.raised = prefix + "failed", prefix + "raised"

    def call(self, name: str, ins_table: str, outs_table: str, ins: Sequence[str], outs: Sequence[str]) -> None:
        """Run a body; leave the whole program where it fails."""
        code = self.code
        self.fill(ins_table, ins)
        self.fill(outs_table, outs)
        status = code.op(f"call i32 @{name}(ptr {ins_table}, ptr {outs_table})")
        label = self.emitter.name("went")
        code.line(f"switch i32 {status}, label %{self.failed} [ i32 0, label %{label} i32 1, label %{self.raised} ]")
        code.label(label)

    def copy(self, to: str, source: str, view: View) -> None:
        size = view.size * view.buffer.dtype.itemsize
        if view.size == 1 and view.buffer.dtype.kind in "fiub":
            kind = f"i{8 * size}"
            self.code.line(f"store {kind} {self.code.op(f'load {kind}, ptr {source}')}, ptr {to}")
            return
        self.emitter.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.code.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def poll(self, i: str, work: int) -> None:
        """Look for Ctrl-C now and then."""
        code = self.code
        every = 1 << max(0, math.ceil(math.log2(POLL / max(work, 1))))
        low = code.op(f"and i64 {i}, {every - 1}")
        due = code.op(f"icmp eq i64 {low}, {every - 1}")
        look, on = self.emitter.name("look"), self.emitter.name("on")
        code.line(f"br i1 {due}, label %{look}, label %{on}")
        code.label(look)
        self.emitter.module.declare("declare i32 @PyErr_CheckSignals()")
        pending = code.op("call i32 @PyErr_CheckSignals()")
        bad = code.op(f"icmp ne i32 {pending}, 0")
        code.line(f"br i1 {bad}, label %{self.raised}, label %{on}")
        code.label(on)


def work_of(program: Tensors) -> int:
    """How many elements a run of the program works on, roughly."""
    total = 1
    for node in program.nodes:
        if isinstance(node, Loop):
            total += math.prod(node.shape)
        elif isinstance(node, Control):
            total += sum(map(work_of, node.bodies)) * node.params.get("length", 16)
        else:
            total += 1000
    return total


def _scan(frame: _Frame, names: Sequence[str]) -> None:
    code, node = frame.code, frame.node
    (name,) = names
    consts, carry, length = node.params["consts"], node.params["carry"], node.params["length"]
    reverse = node.params["reverse"]
    init, xs = node.ins[consts : consts + carry], node.ins[consts + carry :]
    ys = node.outs[carry:]
    work = work_of(node.bodies[0])
    ins_table, outs_table = frame.table(len(node.ins)), frame.table(len(node.outs))
    carried = _Carry(frame, init, frame.ins[consts : consts + carry])

    def step(i: str) -> None:
        at = code.op(f"sub i64 {length - 1}, {i}") if reverse else i
        here, there = carried.at(i)

        def slices(views: Sequence[View], pointers: Sequence[str]) -> list[str]:
            found = []
            for view, pointer in zip(views, pointers, strict=True):
                size = view.size // length
                offset = code.op(f"mul i64 {at}, {size}")
                found.append(
                    code.op(f"getelementptr inbounds {element(view.buffer.dtype)}, ptr {pointer}, i64 {offset}")
                )
            return found

        sliced = slices(xs, frame.ins[consts + carry :])
        frame.call(
            name,
            ins_table,
            outs_table,
            [*frame.ins[:consts], *here, *sliced],
            [*there, *slices(ys, frame.outs[carry:])],
        )
        carried.advance()
        if length * work > POLL:
            frame.poll(i, work)

    if length:
        repeat(code, length, step)
    carried.deliver(frame.outs[:carry], str(length & 1))


class _Carry:
    """Values that go from step to step: in two places, copied back or exchanged."""

    def __init__(
        self, frame: _Frame, views: Sequence[View], init: Sequence[str], scratch: Sequence[str] | None = None
    ) -> None:
        self.frame = frame
        self.views = views
        scratch = frame.scratch if scratch is None else scratch
        n = len(views)
        size = sum(view.size * view.buffer.dtype.itemsize for view in views)
        self.copies = size <= SMALL_CARRY
        if self.copies:
            self.one, self.other = (
                [frame.code.op(f"alloca [{max(v.size, 1)} x {element(v.buffer.dtype)}], align 16") for v in views]
                for _ in range(2)
            )
        else:
            self.one, self.other = list(scratch[:n]), list(scratch[n : 2 * n])
        for view, to, source in zip(views, self.one, init, strict=True):
            frame.copy(to, source, view)

    def at(self, i: str) -> tuple[list[str], list[str]]:
        """Where step i reads its carry, and where it writes the next."""
        if self.copies:
            return self.one, self.other
        code = self.frame.code
        odd = code.op(f"trunc i64 {i} to i1")
        pairs = list(zip(self.one, self.other, strict=True))
        return (
            [code.op(f"select i1 {odd}, ptr {b}, ptr {a}") for a, b in pairs],
            [code.op(f"select i1 {odd}, ptr {a}, ptr {b}") for a, b in pairs],
        )

    def advance(self) -> None:
        if self.copies:
            for view, to, source in zip(self.views, self.one, self.other, strict=True):
                self.frame.copy(to, source, view)

    def deliver(self, outs: Sequence[str], odd: Any) -> None:
        """Copy the last carry to the results; `odd` says whether the number of steps was, as an i1 or a digit."""
        for view, to, a, b in zip(self.views, outs, self.one, self.other, strict=True):
            if self.copies or odd == "0":
                source = a
            elif odd == "1":
                source = b
            else:
                source = self.frame.code.op(f"select i1 {odd}, ptr {b}, ptr {a}")
            self.frame.copy(to, source, view)


def _while(frame: _Frame, names: Sequence[str]) -> None:
    code, node = frame.code, frame.node
    test, body = names
    n_test, n_body = node.params["test_consts"], node.params["body_consts"]
    init = node.ins[n_test + n_body :]
    carried = _Carry(frame, init, frame.ins[n_test + n_body :])
    flag = frame.scratch[-1]
    tables = [frame.table(len(node.ins)) for _ in range(3)]
    counter = code.op("alloca i64")
    code.line(f"store i64 0, ptr {counter}")
    top, inside, out = (frame.emitter.name(label) for label in ("again", "inside", "out"))
    code.line(f"br label %{top}")
    code.label(top)
    i = code.op(f"load i64, ptr {counter}")
    here, there = carried.at(i)
    frame.call(test, tables[0], tables[1], [*frame.ins[:n_test], *here], [flag])
    byte = code.op(f"load i8, ptr {flag}")
    on = code.op(f"icmp ne i8 {byte}, 0")
    code.line(f"br i1 {on}, label %{inside}, label %{out}")
    code.label(inside)
    frame.call(body, tables[0], tables[2], [*frame.ins[n_test : n_test + n_body], *here], there)
    carried.advance()
    frame.poll(i, sum(map(work_of, node.bodies)))
    after = code.op(f"add i64 {i}, 1")
    code.line(f"store i64 {after}, ptr {counter}")
    code.line(f"br label %{top}")
    code.label(out)
    last = code.op(f"load i64, ptr {counter}")
    carried.deliver(frame.outs, code.op(f"trunc i64 {last} to i1"))


class _Stack:
    """Memory that grows: a record of some values for each step of a loop, freed on every way out."""

    def __init__(self, frame: _Frame, views: Sequence[View]) -> None:
        self.frame = frame
        self.views = views
        self.starts: list[int] = []
        self.size = 0  # bytes of a record
        for view in views:
            self.starts.append(self.size)
            self.size += -(-view.size * view.buffer.dtype.itemsize // 16) * 16
        code, module = frame.code, frame.emitter.module
        self.block, self.room = code.op("alloca ptr"), code.op("alloca i64")
        code.line(f"store ptr null, ptr {self.block}")
        code.line(f"store i64 0, ptr {self.room}")
        self.prefix = frame.emitter.name("stack_")
        frame.leave_by(self.prefix)
        for line in ("ptr @PyMem_RawRealloc(ptr, i64)", "void @PyMem_RawFree(ptr)", "ptr @PyErr_NoMemory()"):
            module.declare("declare " + line)

    def slots(self, i: str) -> list[str]:
        """Where the values of step i lie."""
        code = self.frame.code
        block = code.op(f"load ptr, ptr {self.block}")
        offset = code.op(f"mul i64 {i}, {self.size}")
        record = code.op(f"getelementptr inbounds i8, ptr {block}, i64 {offset}")
        return [code.op(f"getelementptr inbounds i8, ptr {record}, i64 {start}") for start in self.starts]

    def push(self, i: str, values: Sequence[str]) -> None:
        """Keep the values of step i."""
        if not self.size:
            return
        code, prefix = self.frame.code, self.frame.emitter.name("push_")
        room = code.op(f"load i64, ptr {self.room}")
        full = code.op(f"icmp eq i64 {i}, {room}")
        code.line(f"br i1 {full}, label %{prefix}full, label %{prefix}fits")
        code.label(f"{prefix}full")
        double = code.op(f"shl i64 {room}, 1")
        more = code.op(f"add i64 {double}, 16")
        octets = code.op(f"mul i64 {more}, {self.size}")
        old = code.op(f"load ptr, ptr {self.block}")
        new = code.op(f"call ptr @PyMem_RawRealloc(ptr {old}, i64 {octets})")
        none = code.op(f"icmp eq ptr {new}, null")
        code.line(f"br i1 {none}, label %{prefix}none, label %{prefix}grown")
        code.label(f"{prefix}none")
        code.op("call ptr @PyErr_NoMemory()")
        code.line(f"br label %{self.frame.raised}")
        code.label(f"{prefix}grown")
        code.line(f"store ptr {new}, ptr {self.block}")
        code.line(f"store i64 {more}, ptr {self.room}")
        code.line(f"br label %{prefix}fits")
        code.label(f"{prefix}fits")
        for view, slot, value in zip(self.views, self.slots(i), values, strict=True):
            self.frame.copy(slot, value, view)

    def free(self) -> None:
        """Give the memory back, here and on the ways that failures take."""
        code, after = self.frame.code, self.prefix + "after"

        def free() -> None:
            code.line(f"call void @PyMem_RawFree(ptr {code.op(f'load ptr, ptr {self.block}')})")

        free()
        code.line(f"br label %{after}")
        for way in ("failed", "raised"):
            code.label(self.prefix + way)
            free()
            code.line(f"br label %{way}")
        code.label(after)
        self.frame.leave_by("")


def _while_pullback(frame: _Frame, names: Sequence[str]) -> None:
    """Forward, with what the way back needs of each state on a stack; then back, from the last to the first."""
    code, node, params = frame.code, frame.node, frame.node.params
    test, body, back = names
    n_test, n_body, n_carry, kept = (params[key] for key in ("test_consts", "body_consts", "carry", "kept"))
    fixed = frame.ins[n_test : n_test + n_body]
    start, end = n_test + n_body, n_test + n_body + n_carry
    carry, cts = node.ins[start:end], node.ins[end:]
    forward = _Carry(frame, carry, frame.ins[start:end])
    flag = frame.scratch[-1]
    tables = [frame.table(len(node.ins)) for _ in range(3)]
    counter = code.op("alloca i64")
    code.line(f"store i64 0, ptr {counter}")
    stack = _Stack(frame, [carry[k] for k in kept])
    top, inside, out = (frame.emitter.name(label) for label in ("again", "inside", "out"))
    code.line(f"br label %{top}")
    code.label(top)
    i = code.op(f"load i64, ptr {counter}")
    here, there = forward.at(i)
    frame.call(test, tables[0], tables[1], [*frame.ins[:n_test], *here], [flag])
    byte = code.op(f"load i8, ptr {flag}")
    code.line(f"br i1 {code.op(f'icmp ne i8 {byte}, 0')}, label %{inside}, label %{out}")
    code.label(inside)
    stack.push(i, [here[k] for k in kept])
    frame.call(body, tables[0], tables[2], [*fixed, *here], there)
    forward.advance()
    frame.poll(i, sum(map(work_of, node.bodies[:2])))
    code.line(f"store i64 {code.op(f'add i64 {i}, 1')}, ptr {counter}")
    code.line(f"br label %{top}")
    code.label(out)

    steps = code.op(f"load i64, ptr {counter}")
    backward = _Carry(frame, cts, frame.ins[end:], frame.scratch[2 * n_carry :])
    code.line(f"store i64 0, ptr {counter}")
    top, inside, out = (frame.emitter.name(label) for label in ("back", "step", "over"))
    code.line(f"br label %{top}")
    code.label(top)
    i = code.op(f"load i64, ptr {counter}")
    code.line(f"br i1 {code.op(f'icmp ult i64 {i}, {steps}')}, label %{inside}, label %{out}")
    code.label(inside)
    after = code.op(f"add i64 {i}, 1")
    states = list(frame.ins[start:end])  # those that the step does not need can be any
    for k, slot in zip(kept, stack.slots(code.op(f"sub i64 {steps}, {after}")), strict=True):
        states[k] = slot
    here, there = backward.at(i)
    frame.call(back, tables[0], tables[2], [*fixed, *states, *here], there)
    backward.advance()
    frame.poll(i, work_of(node.bodies[2]))
    code.line(f"store i64 {after}, ptr {counter}")
    code.line(f"br label %{top}")
    code.label(out)
    backward.deliver(frame.outs, code.op(f"trunc i64 {steps} to i1"))
    stack.free()


def _cond(frame: _Frame, names: Sequence[str]) -> None:
    code, node = frame.code, frame.node
    index = code.op(f"load i64, ptr {frame.ins[0]}")
    ins_table, outs_table = frame.table(len(node.ins)), frame.table(len(node.outs))
    labels = [frame.emitter.name("case") for _ in names]
    end = frame.emitter.name("chosen")
    last = len(names) - 1
    low = code.op(f"call i64 @llvm.smax.i64(i64 {index}, i64 0)")
    clamped = code.op(f"call i64 @llvm.smin.i64(i64 {low}, i64 {last})")
    for name in ("smax", "smin"):
        frame.emitter.module.declare(f"declare i64 @llvm.{name}.i64(i64, i64)")
    cases = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels[:-1]))
    code.line(f"switch i64 {clamped}, label %{labels[-1]} [ {cases} ]")
    for name, label in zip(names, labels, strict=True):
        code.label(label)
        frame.call(name, ins_table, outs_table, frame.ins[1:], frame.outs)
        code.line(f"br label %{end}")
    code.label(end)


WRITERS: Final = {"scan": _scan, "while": _while, "while_pullback": _while_pullback, "cond": _cond}
CONTROL.update(dict.fromkeys(WRITERS, emit_control))
