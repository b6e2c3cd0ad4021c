"""Rebinding: a list that reads captured arrays can read others of the same shapes and dtypes.

`w = w - step * gradient` binds a captured variable to a new array. Where the function sees the array as a Symbol only,
its list stays right, and it is enough to note which array to read from now on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wengert.compile.staging.guards import Guard, same

FOLLOWED: Final = frozenset({"cell", "dict", "slot", "class", "elements"})  # guards of what holds a value


def rebound(
    guards: list[Guard], hidden: list[np.ndarray[Any, Any]], free: frozenset[int]
) -> tuple[list[Guard], list[np.ndarray[Any, Any]]] | None:
    """The guards and hidden inputs as the environment is now; None where more has changed than arrays.

    `free` are the ids of those hidden arrays that may be replaced. Lists and dicts that hold them may be replaced, too.
    """
    moved = _Moves(free)
    found: list[Guard] = []
    for guard in guards:
        holder = moved.now(guard.holder)
        at = guard if holder is guard.holder else type(guard)(holder, guard.key, guard.expected, guard.where)
        if guard.kind not in FOLLOWED:
            if not at.holds():
                return None
            found.append(at)
            continue
        current = at.current()
        olds, news = (guard.expected, current) if guard.kind == "elements" else ([guard.expected], [current])
        if len(olds) != len(news) or not all(map(moved.follow, olds, news)):
            return None
        found.append(type(guard)(holder, guard.key, current, guard.where))
    return found, [moved.now(array) for array in hidden]


class _Moves:
    """What stands where: one thing that was seen in two places must be one thing still."""

    def __init__(self, free: frozenset[int]) -> None:
        self._free = free
        self._moved: dict[int, Any] = {}

    def now(self, value: Any) -> Any:
        return self._moved.get(id(value), value)

    def follow(self, old: Any, new: Any) -> bool:
        """Whether `new` can stand for `old`."""
        kind = type(old)
        if id(old) in self._moved:
            return self._moved[id(old)] is new
        if kind is not type(new):
            return False
        if isinstance(old, tuple):
            self._moved[id(old)] = new
            return len(old) == len(new) and all(map(self.follow, old, new))
        if id(old) in self._free:
            self._moved[id(old)] = new
            return bool(old.shape == new.shape and old.dtype == new.dtype)
        if kind is list or kind is dict:
            self._moved[id(old)] = new  # the guard of its elements looks into it
            return True
        return same(old, new)


__all__ = ["rebound"]
