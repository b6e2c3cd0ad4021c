"""A warning for functions that are jitted anew again and again, as in a loop."""

from __future__ import annotations

import time
import types
import warnings
import weakref
from typing import Any, Final

from wengert import errors

FRESH_LIMIT: Final = 10  # jitted functions made of the same code and dropped, within
FRESH_SECONDS: Final = 60.0  # this time, after which a warning says so
FRESH_KINDS: Final = 1000  # kinds of calls that are kept apart for each code
_made: Final[weakref.WeakKeyDictionary[types.CodeType, dict[Any, list[tuple[float, Any]]]]] = (
    weakref.WeakKeyDictionary()
)


def note_fresh(jitted: Any, function: Any, kind: Any) -> None:
    """Warn where functions of the same code are jitted, called and dropped again and again, as in a loop.

    `kind` is that of the call: other shapes or dtypes are no repetition, nor are other transforms. Jitted functions
    that live on are not counted, since whoever keeps them has made them on purpose.
    """
    code, transforms = _origin(function)
    if code is None:
        return
    now = time.monotonic()
    kinds = _made.setdefault(code, {})
    recent = [(when, one) for when, one in kinds.get((transforms, kind), []) if now - when < FRESH_SECONDS]
    recent.append((now, weakref.ref(jitted)))
    if len(kinds) > FRESH_KINDS:
        kinds.clear()
    if sum(one() is None for _, one in recent) < FRESH_LIMIT:
        kinds[transforms, kind] = recent
        return
    kinds.pop((transforms, kind), None)
    warnings.warn(
        f"{jitted!r} is one of many jitted functions made of the same code and dropped soon after. Each is staged and "
        "compiled anew, since what was compiled belongs to the function and goes with it. Jit the function once, "
        "outside the loop, and pass what changes as arguments.",
        errors.JitWarning,
        stacklevel=5,
    )


def _origin(function: Any) -> tuple[types.CodeType | None, tuple[str, ...]]:
    """The code of a function, and the names of the transforms around it."""
    transforms: list[str] = []
    for _ in range(100):
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType):
            return code, tuple(transforms)
        transforms.append(str(getattr(getattr(function, "apply", None), "__name__", type(function).__name__)))
        function = (
            getattr(function, "function", None)
            or getattr(function, "func", None)
            or getattr(function, "__func__", None)
        )
    return None, ()


__all__ = ["note_fresh"]
