"""In which order a loop goes through its axes."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.compile.tensors.form import Loop, View, view_of


def order_axes(loop: Loop, outer: int | None = None) -> list[int]:
    """The axes from outermost to innermost: that of the nest, then so that strides get smaller, as memory likes it."""
    n = len(loop.shape)
    if loop.ordered or n < 2:
        return list(range(n))
    own = [axis for axis in range(n) if axis != outer]
    head = [] if outer is None else [outer]
    if len(own) < 2:
        return [*head, *own]
    accesses = [(view_of(e), 1.0) for e in loop.exprs() if e.op in ("load", "gather")]
    accesses += [(effect.view, 2.0) for effect in loop.effects]

    def score(axis: int) -> float:
        total = 0.0
        for view, weight in accesses:
            step = abs(view.strides[axis])
            total += weight * (3 if step == 1 else 2 if step == 0 else 0)
        return total * (0.5 if loop.shape[axis] < 4 else 1)

    def distance(axis: int) -> float:
        return sum(weight * abs(view.strides[axis]) for view, weight in accesses)

    inner = max(own, key=lambda axis: (score(axis), axis))
    rest = sorted((axis for axis in own if axis != inner), key=lambda axis: (-distance(axis), axis))
    return [*head, *rest, inner]


def collapse(shape: Sequence[int], strides: dict[View, tuple[int, ...]], fixed: int) -> list[list[int]]:
    """Groups of adjacent axes that every view walks through as through one; the first `fixed` axes stay alone."""
    groups: list[list[int]] = []
    for axis in range(len(shape)):
        if axis > fixed:
            outer = groups[-1][-1]
            if all(s[outer] == s[axis] * shape[axis] for s in strides.values()):
                groups[-1].append(axis)
                continue
        groups.append([axis])
    return groups
