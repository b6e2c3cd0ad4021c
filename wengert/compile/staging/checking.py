"""What `check=True` compares: the result of a jitted call and that of the function itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors, tree
from wengert.core import TRACED, aval_of


def compare(found: Any, expected: Any, name: str) -> None:
    """Raise CheckError unless two results have one structure, equal dtypes and shapes, and equal values to rounding."""
    one, one_tree = tree.flatten(found)
    other, other_tree = tree.flatten(expected)
    if not tree.same_structure(one_tree, other_tree):
        raise _differs(name, f"it returned {tree.describe(one_tree)}, the function {tree.describe(other_tree)}")
    for path, x, y in zip(tree.leaf_paths(expected), one, other, strict=True):
        where = f" at {path}" if path else ""
        if type(x) is not type(y) and not {type(x), type(y)} <= {bool, np.bool_}:
            raise _differs(name, f"it returned {_kind(x)}{where}, the function {_kind(y)}")
        if type(x) in TRACED:
            continue
        if aval_of(x) != aval_of(y):
            raise _differs(name, f"it returned {aval_of(x)}{where}, the function {aval_of(y)}")
        worst = _distance(np.asarray(x), np.asarray(y))
        if worst:
            raise _differs(name, f"its result{where} {worst}")


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {aval_of(value)}"


def _distance(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> str:
    if x.dtype.kind not in "fc":
        return "" if np.array_equal(x, y) else f"differs in {np.count_nonzero(x != y)} of {x.size} elements"
    tolerance = 1e5 * float(np.finfo(x.dtype).eps)
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y)))
        close = np.isclose(x, y, rtol=tolerance, atol=tolerance * size, equal_nan=True)
    if close.all():
        return ""
    worst = tuple(int(k) for k in np.argwhere(~close)[0])
    return f"is {x[worst]} where the function gives {y[worst]} (element {list(worst)}, {int((~close).sum())} differ)"


def _differs(name: str, what: str) -> errors.CheckError:
    return errors.CheckError(
        f"{name} differs from the function itself: {what}. The function depends on something that no guard sees, such "
        "as the time or the attributes of an object from another package, or wengert has a fault. Pass what changes as "
        "an argument; if nothing does, please report it."
    )


__all__ = ["compare"]
