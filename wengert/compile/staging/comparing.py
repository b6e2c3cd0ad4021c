"""Comparing the two lists of one call: where they differ, the function depends on something that no guard sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors, tree
from wengert.compile.staging.guards import digest, same
from wengert.program import Equation, Literal, Var, WengertList


def check_alike(one: WengertList, other: WengertList, kept: dict[Var, Any], kept_again: dict[Var, Any]) -> None:
    """Raise StagingError unless two lists say the same; the message names the first line that does not.

    `kept` and `kept_again` hold what was kept of the arrays among the constants.
    """
    names = dict(zip(one.inputs, other.inputs, strict=True))
    for (var, value), (twin, again) in zip(one.constants, other.constants, strict=False):
        names[var] = twin
        if var.aval != twin.aval or not _same_constant(kept.get(var, value), kept_again.get(twin, again)):
            raise unlike(f"the constant {twin!r} ({twin.aval}), of other contents")
    for eqn, again_eqn in zip(one.equations, other.equations, strict=False):
        if not _same_equation(eqn, again_eqn, names):
            raise unlike(f"`{eqn!r}` and then `{again_eqn!r}`")
        names.update(zip(eqn.outputs, again_eqn.outputs, strict=True))
    counts = [(len(p.constants), len(p.equations), len(p.outputs), len(p.guards)) for p in (one, other)]
    if counts[0] != counts[1]:
        raise unlike(f"{counts[0][1]} operations and then {counts[1][1]}")
    outputs = zip(one.outputs, other.outputs, strict=True)
    if not tree.same_structure(one.out_tree, other.out_tree) or not all(_same_atom(a, b, names) for a, b in outputs):
        raise unlike(f"the result {one.outputs!r} and then {other.outputs!r}")
    for (var, value), (twin, again) in zip(one.guards, other.guards, strict=True):
        if names[var] is not twin or not _same_value(value, again):
            raise unlike(f"a branch on {var!r} and then on {twin!r}")


def unlike(what: str) -> errors.StagingError:
    return errors.StagingError(
        f"A function under jit did not do the same when it was run again on the same arguments: {what}. It reads "
        "something that changes, such as random numbers, the time, a counter, or the order of a set, which the list "
        "would hold for ever. Pass that as an argument, or compute it outside."
    )


def same_memory(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays that both live are one, or views of the same elements."""
    if one is other:
        return True
    pointers = [x.__array_interface__["data"][0] for x in (one, other)]
    return one.size > 0 and pointers[0] == pointers[1] and one.strides == other.strides


def same_array(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _same_atom(atom: Var | Literal, again: Var | Literal, names: dict[Var, Var]) -> bool:
    if type(atom) is Var:
        return names.get(atom) is again
    return type(again) is Literal and same(atom.value, again.value)  # type: ignore[union-attr]


def _same_equation(eqn: Equation, again: Equation, names: dict[Var, Var]) -> bool:
    return (
        eqn.primitive is again.primitive
        and len(eqn.inputs) == len(again.inputs)
        and all(_same_atom(a, b, names) for a, b in zip(eqn.inputs, again.inputs, strict=True))
        and [var.aval for var in eqn.outputs] == [var.aval for var in again.outputs]
        and eqn.quiet == again.quiet
        and _same_value(eqn.params, again.params)
    )


def _same_value(one: Any, other: Any) -> bool:
    """Whether two params are the same: containers by element, arrays by contents, functions by their code."""
    kind = type(one)
    if one is other or same(one, other):
        return True
    if kind is not type(other):
        return False
    if kind is np.ndarray:
        return same_array(one, other)
    if kind is dict:
        return one.keys() == other.keys() and all(_same_value(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if kind is slice:
        return _same_value((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if kind is WengertList:
        return same_list(one, other)
    if hasattr(one, "__code__"):
        return one.__code__ is getattr(other, "__code__", None)
    return bool(one == other)


def same_list(one: WengertList, other: WengertList) -> bool:
    """Whether two lists say the same, but for the names of their variables."""
    names = dict(zip(one.inputs, other.inputs, strict=False))
    names |= {var: twin for (var, _), (twin, _) in zip(one.constants, other.constants, strict=False)}
    if [var.aval for var in names] != [var.aval for var in names.values()]:
        return False
    if not all(_same_value(a, b) for (_, a), (_, b) in zip(one.constants, other.constants, strict=False)):
        return False
    for eqn, again in zip(one.equations, other.equations, strict=False):
        if not _same_equation(eqn, again, names):
            return False
        names.update(zip(eqn.outputs, again.outputs, strict=True))
    counts = [(len(p.inputs), len(p.constants), len(p.equations), len(p.outputs), len(p.guards)) for p in (one, other)]
    if counts[0] != counts[1]:
        return False
    outputs = zip(one.outputs, other.outputs, strict=True)
    guards = zip(one.guards, other.guards, strict=True)
    return all(_same_atom(a, b, names) for a, b in outputs) and all(
        names.get(var) is twin and _same_value(value, again) for (var, value), (twin, again) in guards
    )


def _same_constant(kept: Any, again: Any) -> bool:
    """Whether two constants are the same: numbers, or what was kept of arrays, which is a copy or a digest."""
    if isinstance(kept, np.ndarray) and isinstance(again, np.ndarray):
        return same_array(kept, again)
    if isinstance(kept, np.ndarray) or isinstance(again, np.ndarray):
        kept, again = (digest(k) if isinstance(k, np.ndarray) else k for k in (kept, again))
        return bool(kept == again)
    return same(kept, again) or (type(kept) is tuple and bool(kept == again))


def holds(kept: Any, value: np.ndarray[Any, Any]) -> bool:
    """Whether an array has the contents that were kept of it, or that have this digest."""
    return same_array(kept, value) if isinstance(kept, np.ndarray) else bool(digest(value) == kept)


__all__ = ["check_alike", "holds", "same_list", "same_memory", "unlike"]
