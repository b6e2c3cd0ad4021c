"""Which results may be written into work arrays, and which may be handed to the caller as they are.

A work array belongs to one call and is used for one result after another of the same shape and dtype. A result gets
one where its line can write into an array (`out=`), where it is large enough to gain from that, and where it would
have come out in C order anyway, since later sums add in memory order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from wengert.avals import Shape
from wengert.compile.source.spelling import can_write_into, may_overwrite
from wengert.ops.indexing import is_basic
from wengert.ops.kinds import Elementwise
from wengert.ops.reduce import Reduction
from wengert.program import Equation, Var, WengertList

SMALL: Final = 4096  # bytes below which allocating costs less than naming a place
LARGE: Final = 65536  # bytes from which a dead array is dropped at once rather than at the return

# Operations whose result shares no memory with an operand, beside ufuncs, elementwise functions and reductions
FRESH: Final = frozenset({
    "accumulate", "accumulate_discrete", "add_at", "add_reduceat", "adjugate", "adjugate_along", "all", "any",
    "argmax", "argmin", "argpartition", "argsort", "as_discrete", "bessel_i", "both", "cast", "cholesky",
    "choose_positions", "complex_of", "concatenate", "convolve", "copy", "count_nonzero", "cross", "cumprod",
    "cumsum", "det", "digitize", "divmod", "dot", "eig", "eigh", "eigvals", "eigvalsh", "embed_diagonal", "frexp",
    "inner", "interp", "inv", "inverse_or_infinite", "lstsq", "matrix_rank", "modf", "norm", "outer", "partition",
    "pinv", "power_norm", "put_at", "qr", "quantile_weights", "recurrence", "roll", "running_extreme", "scale",
    "scan", "scatter", "scatter_at", "searchsorted", "segments", "setitem", "shift", "sinc_derivative", "slogdet",
    "solve", "sort", "stack", "svd", "svdvals", "take_positions", "tensordot", "trace", "vdot", "where", "while_loop",
    "while_pullback",
})  # fmt: skip
# Of these, the ones whose results own their memory, without gaps
DENSE: Final = frozenset({
    "add_at", "as_discrete", "both", "cast", "concatenate", "copy", "put_at", "scale", "scan", "scatter",
    "scatter_at", "setitem", "stack", "sum_to", "where", "while_loop", "while_pullback",
})  # fmt: skip
# Operations that may return a view of their first operand, and nothing else
VIEWS: Final = frozenset({
    "broadcast_to", "diagonal", "getitem", "imag", "real", "reshape", "spread", "sum_to", "transpose",
})  # fmt: skip
# Operations that give a result in C order where their operands are in C order or read as such (strides that descend)
ORDERLY: Final = frozenset({
    "add_at", "as_discrete", "both", "broadcast_to", "cast", "concatenate", "dot", "embed_diagonal", "outer",
    "reshape", "round", "scale", "scatter", "scatter_at", "setitem", "spread", "stack", "stop_gradient", "sum_to",
    "where",
})  # fmt: skip

Spec = tuple[Shape, np.dtype[Any]]


class Plan:
    """What the writer of a function asks: the work arrays, where each result goes, and what dies after each line."""

    def __init__(self) -> None:
        self.specs: list[Spec] = []  # shape and dtype of each work array
        self.target: dict[int, int] = {}  # number of a line → the work array that it writes into
        self.dropped: dict[int, list[Var]] = {}  # number of a line → large results that nothing reads any more


def is_fresh(eqn: Equation) -> bool:
    """Whether the results of a line are in memory of their own, which no operand reaches."""
    primitive = eqn.primitive
    if isinstance(primitive.value, np.ufunc) or isinstance(primitive, Elementwise | Reduction):
        return True
    if primitive.name == "getitem":
        return not is_basic(eqn.params["index"])
    return primitive.name in FRESH or (primitive.name == "sum_to" and eqn.inputs[0].aval.shape != eqn.params["shape"])


def is_dense(eqn: Equation) -> bool:
    """Whether the result of a fresh line surely owns memory without gaps, so that nobody need look."""
    primitive = eqn.primitive
    if type(primitive) is Reduction:
        return type(getattr(primitive.function, "__self__", None)) is np.ufunc
    return isinstance(primitive.value, np.ufunc) or (primitive.name in DENSE and is_fresh(eqn))


def _is_orderly(eqn: Equation, orderly: Callable[[Any], bool]) -> bool:
    """Whether NumPy gives the result in C order, or as a view whose strides descend."""
    name, value = eqn.primitive.name, eqn.primitive.value
    if all(var.aval.ndim < 2 for var in eqn.outputs) or (value is np.matmul and eqn.outputs[0].aval.ndim == 2):
        return True
    if name == "getitem" and not is_basic(eqn.params["index"]):
        return False
    if name in ORDERLY or name == "getitem" or isinstance(value, np.ufunc):
        return all(map(orderly, eqn.inputs))
    return isinstance(eqn.primitive, Elementwise | Reduction) and all(map(orderly, eqn.inputs))


def plan(program: WengertList, buffers: bool = True, top: bool = True) -> Plan:
    """Decide for one list. Array inputs are in C order where it is at the `top`, rather than the body of a loop."""
    made = Plan()
    outputs = {atom for atom in program.outputs if type(atom) is Var}
    orderly = set(program.inputs if top else ()) | {
        var for var, value in program.constants if np.ndim(value) < 2 or _in_c_order(value)
    }
    wanted: dict[int, Var] = {}
    owners: dict[Var, frozenset[Var]] = {}  # the candidates for a work array whose memory a variable may share
    nothing: frozenset[Var] = frozenset()

    def known(atom: Any) -> bool:
        return type(atom) is not Var or atom.aval.ndim < 2 or atom in orderly

    for k, eqn in enumerate(program.equations):
        if _is_orderly(eqn, known):
            orderly.update(eqn.outputs)
        (out, *more) = eqn.outputs
        if not is_fresh(eqn):
            read = eqn.inputs[:1] if eqn.primitive.name in VIEWS else eqn.inputs
            shared = nothing.union(*(owners.get(atom, nothing) for atom in read if type(atom) is Var))
            if shared:
                owners.update(dict.fromkeys(eqn.outputs, shared))
        elif (
            buffers
            and not more
            and out not in outputs
            and _nbytes(out) >= SMALL
            and can_write_into(eqn)
            and _is_orderly(eqn, known)
        ):
            wanted[k] = out
            owners[out] = frozenset([out])

    if not top:  # no caller may get a view of a work array
        seen = nothing.union(*(owners.get(var, nothing) for var in outputs))
        wanted = {k: var for k, var in wanted.items() if var not in seen}
    last: dict[Var, int] = {}
    for k, eqn in enumerate(program.equations):
        for atom in eqn.inputs:
            if type(atom) is Var:
                last.update(dict.fromkeys((atom, *owners.get(atom, nothing)), k))
    end = len(program.equations)
    for var in outputs:
        last.update(dict.fromkeys((var, *owners.get(var, nothing)), end))
    _assign(program, made, wanted, last, owners)
    inputs = set(program.inputs)
    for k, eqn in enumerate(program.equations):
        if k not in made.target and eqn.primitive.name not in ("broadcast_to", "spread"):
            for var in eqn.outputs:
                if _nbytes(var) >= LARGE and var in last and var not in inputs and last[var] < end - 1:
                    made.dropped.setdefault(last[var], []).append(var)
    return made


def _assign(
    program: WengertList, made: Plan, wanted: dict[int, Var], last: dict[Var, int], owners: dict[Var, frozenset[Var]]
) -> None:
    """Give each wanted result a work array that is free from its line to its last reader, its operand's where legal."""
    free: dict[Spec, list[int]] = {}
    ends: dict[int, list[Var]] = {}  # number of a line → results that are read there for the last time
    place: dict[Var, int] = {}
    for k, eqn in enumerate(program.equations):
        out = wanted.get(k)
        dying = ends.pop(k, [])
        if out is not None:
            spec = out.aval.shape, out.aval.dtype
            overwritten = next((a for j, a in enumerate(eqn.inputs) if _can_replace(eqn, j, dying, spec, owners)), None)
            spare = free.setdefault(spec, [])
            if type(overwritten) is Var:
                dying.remove(overwritten)
                place[out] = place[overwritten]
            elif spare:
                place[out] = spare.pop()
            else:
                place[out] = len(made.specs)
                made.specs.append(spec)
            made.target[k] = place[out]
            ends.setdefault(last.get(out, k), []).append(out)
            if last.get(out, k) == k:  # nothing reads it
                dying.append(out)
        for var in dying:
            free.setdefault((var.aval.shape, var.aval.dtype), []).append(place[var])


def _can_replace(eqn: Equation, slot: int, dying: list[Var], spec: Spec, owners: dict[Var, frozenset[Var]]) -> bool:
    """Whether the result may be written over operand `slot`, which nothing reads later or while it is overwritten."""
    atom: Any = eqn.inputs[slot]
    if not may_overwrite(eqn, slot) or atom not in dying or (atom.aval.shape, atom.aval.dtype) != spec:
        return False
    others: list[Any] = [other for k, other in enumerate(eqn.inputs) if not may_overwrite(eqn, k)]
    return all(type(other) is not Var or atom not in owners.get(other, ()) for other in others)


def _nbytes(var: Var) -> int:
    return var.aval.size * var.aval.dtype.itemsize if var.aval.shape else 0


def _in_c_order(value: Any) -> bool:
    array = getattr(value, "array", value)
    return type(array) is np.ndarray and bool(array.flags.c_contiguous)


__all__ = ["FRESH", "Plan", "is_fresh", "plan"]
