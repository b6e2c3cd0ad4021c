"""The batch trace: what `Batch`es do with their hidden axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.avals import Aval
from wengert.core import Batch, Primitive, Trace, TracedArray, aval_of, is_traced, new_traced


class BatchTrace(Trace):
    """Computes for all members of a batch at once."""

    __slots__ = ("size",)
    what = "Batch"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        self.check_open()
        mapped = [type(arg) is Batch and arg._trace is self for arg in args]
        values = [arg._value if is_mapped else arg for arg, is_mapped in zip(args, mapped, strict=True)]
        out = primitive.batch(self.size, values, mapped, params)
        if primitive.composite:  # what no member differs in, such as the counter of a loop, stays as it is
            return tuple(new_traced(Batch, self, y, True) if differs else y for y, differs in zip(*out, strict=True))
        scalar = primitive.gives_scalar(params)
        if primitive.multiple:
            return tuple(new_traced(Batch, self, y, scalar) for y in out)
        return new_traced(Batch, self, out, scalar)

    def aval(self, x: TracedArray) -> Aval:
        inner = aval_of(x._value)
        return Aval(inner.shape[1:], inner.dtype, False, x._info and len(inner.shape) == 1)

    def constant(self, value: Any) -> TracedArray:
        shape = aval_of(value).shape
        value = np.broadcast_to(np.asarray(value) if not is_traced(value) else value, (self.size, *shape))
        return new_traced(Batch, self, np.copy(value), False)  # type: ignore[no-any-return]

    def concrete(self, x: TracedArray) -> Any:
        raise errors.ConversionError(
            "A branch, a conversion or an index asked for the value of a Batch. Under vmap it stands for many values "
            "at once, so there is no single answer. Use np.where instead of if, np.asarray(table, like=i)[i] instead "
            "of table[i], and array operations instead of float() or int()."
        )
