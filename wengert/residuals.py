"""What is kept of values for the backward sweep, and how it is kept safe from users who change their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from wengert import core, errors
from wengert.core import TRACED

COPY_LIMIT = 65536  # bytes up to which an array that users can reach is copied when kept; above, it is checksummed


class Guarded:
    """A large array that users can change, kept without a copy and checked when it is needed."""

    __slots__ = ("array", "digest")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.digest = checksum(array)

    def check(self) -> np.ndarray[Any, Any]:
        if checksum(self.array) != self.digest:
            raise errors.changed_array(self.array.shape, self.array.dtype)
        return self.array


def _odd_weights(count: int) -> np.ndarray[Any, Any]:
    """Pseudo-random odd numbers: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). `np.random` is slow to import."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


_WEIGHTS = _odd_weights(4096)


def checksum(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """A position-dependent checksum of a C-contiguous array, at the speed of memory (odd weights modulo 2⁶⁴)."""
    octets = array.reshape(-1).view(np.uint8)
    words = octets[: octets.size // 8 * 8].view(np.uint64)
    rows = words.size // _WEIGHTS.size
    table = words[: rows * _WEIGHTS.size].reshape(rows, _WEIGHTS.size)
    body = np.empty(rows, np.uint64)
    scratch = np.empty_like(table[:64])
    for k in range(0, rows, 64):  # as much at a time as stays in cache
        chunk = table[k : k + 64]
        # The upper half of a word is mixed into the lower: modulo 2⁶⁴ a sum keeps of the topmost bits but their parity,
        # so that it would not see the signs of an even number of elements change.
        mixed = np.right_shift(chunk, np.uint64(32), out=scratch[: len(chunk)])
        np.matmul(np.bitwise_xor(chunk, mixed, out=mixed), _WEIGHTS, out=body[k : k + 64])
    tail = words[rows * _WEIGHTS.size :]
    mixed = body * np.arange(1, 2 * rows + 1, 2, dtype=np.uint64)
    return hash((mixed.tobytes() if rows < 64 else int(mixed.sum()), tail.tobytes())), hash(
        octets[words.size * 8 :].tobytes()
    )


def guard(value: Any) -> Any:
    """What to keep of a value that users can still change: itself where immutable, a copy, or a guarded reference."""
    kind = type(value)
    if kind is np.ndarray:
        if value.nbytes <= COPY_LIMIT or not value.flags.c_contiguous:
            return value.copy()
        return Guarded(value)
    return core.snapshot(value) if kind in TRACED else value


def apart(out: Any, exposed: tuple[Any, ...]) -> Any:
    """A result that is no view of an array that users can change: later operations keep results as they are."""
    if type(out) is ndarray and any(type(x) is ndarray and np.may_share_memory(out, x) for x in exposed):
        return np.array(out)  # not out.copy(), which may change the memory order that ravel(order="K") shows
    return out


def unchanged(kept: Any, value: Any) -> bool:
    """Whether a value is still what `guard` kept of it."""
    if type(kept) is Guarded:
        return checksum(value) == kept.digest
    if type(kept) is ndarray:
        return bool(kept.tobytes() == value.tobytes())
    return type(kept) is type(value) and bool(kept._value is value._value and kept._info is value._info)


def read(saved: Any) -> Any:
    """A kept residual, checked where users could have changed it."""
    return saved.check() if type(saved) is Guarded else saved
