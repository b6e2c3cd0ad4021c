"""The pipeline from a staged list to something that runs: its stages in order, and the back ends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

from wengert import errors
from wengert.compile import native, passes, source
from wengert.compile.entry import instance, spec
from wengert.compile.entry.entry import Entry
from wengert.compile.evaluator import Evaluator
from wengert.compile.machine import engine
from wengert.compile.staging.calls import Call
from wengert.compile.staging.staging import Staged
from wengert.core import Primitive, aval_of
from wengert.program import Equation, Var, WengertList

Executable = Callable[[Sequence[Any]], "list[Any] | None"]

BACKENDS: Final[dict[str, Callable[[WengertList], Executable]]] = {
    "native": native.Native,  # machine code through llvmlite
    "numpy": source.compile,  # straight-line NumPy
    "list": Evaluator,  # the list, line by line
}
LONGEST: Final = 6000  # lines up to which native code is made: LLVM takes some milliseconds for a hundred
_said: set[str] = set()
_types: dict[type, type] = {}  # what an object looks like from Python → the type whose calls are native


def check_backend(backend: str | None) -> None:
    """Raise unless `backend` names one."""
    if backend is not None and backend not in BACKENDS:
        raise errors.ArgumentError(
            f"There is no back end {backend!r}. A list is run by one of {', '.join(map(repr, BACKENDS))}. Name one of "
            "them, or leave it to jit."
        )


def compile_program(
    program: WengertList, backend: str | None, entry: Entry | None = None, donated: Sequence[int] = ()
) -> tuple[Executable, str]:
    """An executable for a list, and the name of the back end that made it; native code with this entry around it.

    Where native code cannot be had the NumPy back end takes its place; where it should have worked, a warning says why.
    """
    optimized = passes.run(program)
    if backend not in (None, "native"):
        return BACKENDS[backend](optimized), backend
    if backend == "native" or (engine.unavailable() is None and len(optimized) <= LONGEST):
        try:
            return native.Native(optimized, entry, donated), "native"
        except (RuntimeError, MemoryError, OSError) as error:
            if backend == "native":
                raise
            reason = str(error).strip().splitlines()[:2]
            if str(reason) not in _said:
                _said.add(str(reason))
                warnings.warn(
                    f"{program.name} could not be compiled to native code: {' '.join(reason)}. It runs by NumPy "
                    "instead, which is right but slower. Please report this as a bug in wengert.",
                    errors.JitWarning,
                    stacklevel=2,
                )
    return source.compile(optimized), "numpy"


def run_line(primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> tuple[Any, ...]:
    """The results of a loop or branch by compiled code."""
    program = WengertList([Var(f"x{k + 1}", aval_of(value)) for k, value in enumerate(operands)], primitive.name)
    avals = primitive.abstract([var.aval for var in program.inputs], params)
    outputs = [Var(f"v{k + 1}", aval) for k, aval in enumerate(avals)]
    program.equations.append(Equation(primitive, program.inputs, params, outputs))
    program.outputs = list(outputs)
    executable, _ = compile_program(program, None)
    found = executable(operands)
    assert found is not None  # there are no guards
    return tuple(found)


def new_jitted(face: type) -> Any:
    """An object whose calls can be native, with the methods of `face`; None where there is no native code here."""
    if engine.unavailable() is not None:
        return None
    if face not in _types:
        _types[face] = instance.make_type(face)
    return instance.new(_types[face], face.__call__, {})


def new_entry(made: Any, call: Call, staged: Staged) -> Entry | None:
    """The native entry for what was staged, or None where such calls need Python."""
    if type(made) not in _types.values():
        return None
    specification = spec.specification(call, staged)
    return None if specification is None else Entry(specification, made)


def _passed(upto: str) -> Callable[[WengertList], str]:
    return lambda program: repr(passes.run(program, upto))


def _tensors(upto: str) -> Callable[[WengertList], str]:
    return lambda program: repr(native.tensors(passes.run(program), upto))


STAGES: Final[dict[str, Callable[[WengertList], str]]] = {
    "stage": repr,
    **{name: _passed(name) for name, _ in passes.PASSES},
    **{name: _tensors(name) for name, _ in native.STAGES},
    "ir": lambda program: native.text(passes.run(program)),
    "llvm": lambda program: engine.optimized(native.text(passes.run(program))),
    "asm": lambda program: engine.assembly(native.text(passes.run(program))),
    "source": lambda program: source.generate(passes.run(program), _name(program)),
}


def _name(program: WengertList) -> str:
    return program.name if program.name.isidentifier() else "f"


def check_stage(stage: str) -> None:
    """Raise unless `stage` names one."""
    if stage not in STAGES:
        raise errors.ArgumentError(
            f"There is no stage {stage!r} to show. A list goes through these: {', '.join(STAGES)}. Name one of them."
        )
