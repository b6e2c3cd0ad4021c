"""NumPy itself in the place of an engine: the control. Values by running, derivatives by the stencil."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .oracle import along, copied, gradient, jacobian, leaves, map_leaves


def _owned(out: Any) -> Any:
    return map_leaves(lambda leaf: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf, out)


def _like(out: Any, parts: list[np.ndarray]) -> Any:
    remaining = iter(parts)
    return map_leaves(lambda leaf: np.asarray(next(remaining), dtype=np.asarray(leaf).dtype), out)


@dataclass
class PlainList:
    f: Callable[[Any], Any]

    def evaluate(self, x: Any) -> Any:
        return _owned(self.f(copied(x)))


@dataclass
class Plain:
    """What an engine would do if it had no derivatives to propagate. Liars in test_faces.py derive from it."""

    step: float = 1e-3

    def jvp(self, f: Any, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        value = _owned(f(copied(primals[0])))
        return value, _like(value, along(f, primals[0], tangents[0], self.step))

    def vjp(self, f: Any, x: Any) -> tuple[Any, Any]:
        value = _owned(f(copied(x)))
        x = copied(x)
        slopes = jacobian(f, x, self.step)

        def pullback(ct: Any) -> tuple[Any]:
            pulled = sum((c * s).real.reshape(len(s), -1).sum(axis=1) for c, s in zip(leaves(ct), slopes, strict=True))
            n = np.size(x)
            pulled = pulled[:n] - 1j * pulled[n:] if np.iscomplexobj(x) else pulled
            return (np.array(np.reshape(pulled, np.shape(x)), dtype=np.asarray(x).dtype),)

        return value, pullback

    def grad(self, f: Any) -> Any:
        def gradient_of(x: Any) -> Any:
            f(copied(x))
            return gradient(f, x, self.step).astype(np.asarray(x).dtype)

        return gradient_of

    def vmap(self, f: Any) -> Any:
        def mapped(xs: Any) -> Any:
            each = [f(copied(x)) for x in xs]
            columns = zip(*(leaves(one) for one in each), strict=True)
            stacked = iter([np.stack(parts) for parts in columns])
            return map_leaves(lambda _: next(stacked), each[0])

        return mapped

    def trace(self, f: Any) -> Any:
        def tracer(x: Any) -> PlainList:
            f(copied(x))
            return PlainList(f)

        return tracer
