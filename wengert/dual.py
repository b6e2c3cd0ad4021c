"""The face of `Dual`: dual numbers made by hand."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.avals import is_differentiable
from wengert.core import CONSTRUCTORS, TRACED, Dual, aval_of, new_traced
from wengert.forward import ForwardTrace
from wengert.ops.vector import fit_dtype

OLDEST: Final = -1_000_000  # hand-made Duals are older than anything that a transform makes
_traces: Final[dict[int, ForwardTrace]] = {}


def _trace(eps: int) -> ForwardTrace:
    if isinstance(eps, bool) or not isinstance(eps, int) or not 0 <= eps < 1000:
        raise errors.ArgumentError(
            f"eps={eps!r} is not a level. It tells hand-made dual numbers of different derivatives apart. Use a small "
            "integer, 0 for the innermost."
        )
    return _traces.setdefault(eps, ForwardTrace(OLDEST + eps))


def make_dual(primal: Any, tangent: Any = None, eps: int = 0) -> Dual:
    """A dual number or array, primal + tangent·ε with ε² = 0.

    `primal` is a float, a complex number or an array; `tangent` has its shape (default: zero). `eps` numbers the
    level, so that duals of duals stay apart: the primal of a Dual at level 1 may be a Dual at level 0.

    >>> import numpy as np, wengert as wg
    >>> np.sin(wg.Dual(0.0, 1.0))
    Dual(0.0, 1.0)
    """
    trace = _trace(eps)
    primal = _part(primal, trace)
    aval = aval_of(primal)
    if not is_differentiable(aval.dtype):
        raise errors.NotDifferentiableError(
            f"A Dual was made of a value of dtype {aval.dtype}. A tangent is a small step, and integers do not take "
            "small steps. Use a float: Dual(2.0, 1.0)."
        )
    if tangent is not None:
        tangent = _part(tangent, trace)
        if aval_of(tangent).shape != aval.shape:
            raise errors.StructureError(
                f"The tangent of a Dual has shape {aval_of(tangent).shape}, its primal {aval.shape}. Nothing is "
                "broadcast here, since that would hide mistakes. Give both the same shape."
            )
        tangent = tangent if aval.weak and aval_of(tangent).weak else fit_dtype(tangent, aval)
    return new_traced(Dual, trace, primal, tangent)  # type: ignore[no-any-return]


def _part(value: Any, trace: ForwardTrace) -> Any:
    if type(value) in TRACED:
        if type(value) is not Dual or value._trace.order >= trace.order:
            raise TypeError(
                f"A Dual was made from a {type(value).__name__}. Hand-made dual numbers count as the oldest of all, "
                "so they cannot hold a value that a transform or a newer level made. Use wengert.jvp inside "
                "transforms, or a higher eps= for a Dual of Duals."
            )
        return core.snapshot(value)
    value = core.as_operand(value)
    return np.array(value) if type(value) is np.ndarray else value


def _primal(self: Dual) -> Any:
    """The value without its tangent."""
    if self._link is not None:
        core.refresh(self)
    value = self._value
    return np.array(value) if type(value) is np.ndarray else value


def _tangent(self: Dual) -> Any:
    """The coefficient of ε: the derivative that this number carries."""
    if self._link is not None:
        core.refresh(self)
    value = self._info
    if value is None:
        aval = self.aval
        return 0.0 if aval.weak else np.zeros(aval.shape, aval.dtype) if aval.shape else aval.dtype.type(0)
    return np.array(value) if type(value) is np.ndarray else value


Dual.primal = property(_primal, doc=_primal.__doc__)
Dual.tangent = property(_tangent, doc=_tangent.__doc__)
CONSTRUCTORS[Dual] = make_dual
