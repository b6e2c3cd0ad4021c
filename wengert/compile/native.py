"""The native back end: from an optimised Wengert list to a body of machine code, and its call from Python."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compile.entry.entry import Entry
from wengert.compile.entry.writer import register
from wengert.compile.machine import (
    emit_control,  # noqa: F401  (teaches `emit` loops and branches)
    emit_linalg,  # noqa: F401  (and linear algebra)
    engine,
    threads,
)
from wengert.compile.machine.code import Module
from wengert.compile.machine.emit import emit
from wengert.compile.tensors.donation import donate
from wengert.compile.tensors.form import Host, Tensors, View
from wengert.compile.tensors.fuse import fuse
from wengert.compile.tensors.lowering import lower
from wengert.compile.tensors.pack import pack
from wengert.compile.tensors.plan import plan
from wengert.compile.tensors.rows import rows
from wengert.compile.tensors.split import split
from wengert.core import FLOAT_ERRORS, IGNORED
from wengert.program import WengertList

Stage = Callable[[Any], Any]
STAGES: list[tuple[str, Stage]] = [
    ("loops", lower),
    ("fuse", fuse),
    ("pack", pack),
    ("rows", rows),
    ("split", split),
    ("plan", plan),
]  # after the passes over the list


def tensors(program: WengertList, upto: str = "plan") -> Tensors:
    """The tensor form of a list, after the stages up to this one."""
    found: Any = program
    for name, stage in STAGES:
        found = stage(found)
        found.check()
        if name == upto:
            break
    return found  # type: ignore[no-any-return]


def text(program: WengertList) -> str:
    """The LLVM IR of a list, before LLVM's own passes."""
    return emit(tensors(program), Module(engine.libmvec())).text.text()


def load(text: str, tables: dict[str, list[Any]]) -> engine.Module:
    """The machine code of a body by itself, with its tables of Python objects filled."""
    register()
    module = engine.compile(text)
    for name, objects in tables.items():
        module.fill(name, objects)
    return module


class Native:
    """Machine code for a list: what `engine` loaded, and what must live as long.

    `entry` is put around the body. Inputs whose numbers are `donated` may become results.
    """

    def __init__(self, program: WengertList, entry: Entry | None = None, donated: Sequence[int] = ()) -> None:
        self.program = program
        form, self.reuse = donate(tensors(program), donated)
        emitted = emit(form, Module(engine.libmvec()))
        self.hosts: list[Any] = [np.ndarray, *map(_host, emitted.hosts)] if emitted.hosts else []
        text, tables = emitted.text.text(), {"hosts": self.hosts} if self.hosts else {}
        self.module = load(text, tables) if entry is None else entry.load(text, tables, self.reuse)
        self.arrays = emitted.arrays
        if self.arrays:
            places = (ctypes.c_void_p * len(self.arrays)).from_address(self.module.address("arrays"))
            places[:] = [array.ctypes.data for array in self.arrays]
        if emitted.pools:
            pools = [self.module.address(name) for name in emitted.pools]
            self.module.before_close(functools.partial(_free, pools))
        if emitted.threads:
            ctypes.c_int64.from_address(self.module.address("threads")).value = threads.count()
        self.in_avals = [var.aval for var in program.inputs]
        self.out_avals = [atom.aval for atom in program.outputs]
        body = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.body = body(self.module.address("body"))

    def __call__(self, leaves: Sequence[Any]) -> list[Any] | None:
        """Run on arrays and numbers; None where a value guard failed."""
        ins = [
            np.ascontiguousarray(np.asarray(leaf), aval.dtype) for leaf, aval in zip(leaves, self.in_avals, strict=True)
        ]
        ins = [x if x.flags.aligned else x.copy() for x in ins]
        outs = [np.empty(aval.shape, aval.dtype) for aval in self.out_avals]
        for k, number in self.reuse:  # what the body finds there is the input
            outs[k][...] = ins[number].reshape(outs[k].shape)
        status = self.body(_pointers(ins), _pointers(outs))
        if status == 2:
            return None
        return [out[()] if aval.scalar else out for out, aval in zip(outs, self.out_avals, strict=True)]


def _free(pools: Sequence[int]) -> None:
    """Give back the scratch memory of a module that goes."""
    for address in pools:
        pool = ctypes.c_void_p.from_address(address)
        ctypes.pythonapi.PyMem_RawFree(pool)
        pool.value = None


def _pointers(arrays: Sequence[np.ndarray[Any, Any]]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(x.ctypes.data for x in arrays))


def _host(node: Host) -> Callable[..., None]:
    """The Python function that computes a line, on arrays that exist for as long as the call."""
    value, params, multiple = node.primitive.value, node.params, node.primitive.multiple
    given = [x for x in node.ins if isinstance(x, View)]
    count = len(given)
    known = {k: x for k, x in enumerate(node.ins) if not isinstance(x, View)}
    avals = [aval for x, aval in zip(node.ins, node.in_avals, strict=True) if isinstance(x, View)]
    plain = not known and not any(aval.scalar or aval.weak for aval in avals)

    def call(*arrays: Any) -> None:
        args: Any = arrays[:count]
        if not plain:
            numbers = (
                x.item() if aval.weak else x[()] if aval.scalar else x for x, aval in zip(args, avals, strict=True)
            )
            args = [known[k] if k in known else next(numbers) for k in range(count + len(known))]
        users = FLOAT_ERRORS.get()
        try:
            FLOAT_ERRORS.set(IGNORED)
            if multiple:
                for out, result in zip(arrays[count:], value(*args, **params), strict=True):
                    out[...] = result
            else:
                arrays[count][...] = value(*args, **params)
        except BaseException as error:
            error.__traceback__ = None  # its frames hold arrays over memory that will be gone
            raise
        finally:
            FLOAT_ERRORS.set(users)
            del args, arrays

    return call


__all__ = ["STAGES", "Native", "load", "tensors", "text"]
