"""wengert's loops as plain Python: what `scan` and its kin are checked against, and what peers without them run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def scan(body: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    """carry, y = body(carry, x) over the slices of xs, which may be None, an array or a tuple: (carry, stacked ys)."""
    count = length if xs is None else len(xs[0] if isinstance(xs, tuple) else xs)
    assert count is not None, "scan needs xs or length="
    carry, ys = init, []
    for k in reversed(range(count)) if reverse else range(count):
        carry, y = body(carry, tuple(x[k] for x in xs) if isinstance(xs, tuple) else None if xs is None else xs[k])
        ys.append(y)
    if reverse:
        ys.reverse()
    if not ys or ys[0] is None:
        return carry, None
    if isinstance(ys[0], tuple):
        return carry, tuple(np.stack(column) for column in zip(*ys, strict=True))
    return carry, np.stack(ys)


def while_loop(test: Callable[..., Any], body: Callable[..., Any], init: Any) -> Any:
    state = init
    while test(state):
        state = body(state)
    return state


def fori_loop(lower: int, upper: int, body: Callable[..., Any], init: Any) -> Any:
    state = init
    for k in range(lower, upper):
        state = body(k, state)
    return state


def cond(test: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    return yes(*operands) if test else no(*operands)
