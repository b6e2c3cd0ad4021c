"""The forward trace: what `Dual`s carry along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.avals import Aval
from wengert.core import FLOAT_ERRORS, IGNORED, Dual, Primitive, Trace, TracedArray, aval_of, bind, new_traced


class ForwardTrace(Trace):
    """Carries tangents along: Wengert's own method."""

    __slots__ = ()
    what = "Dual"

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        self.check_open()
        primals: list[Any] = []
        tangents: list[Any] = []
        for arg in args:
            if type(arg) is Dual and arg._trace is self:
                primals.append(arg._value)
                tangents.append(arg._info)
            else:
                primals.append(arg)
                tangents.append(None)
        if primitive.composite and any(x_dot is not None for x_dot in tangents):
            out, dots = primitive.forward(primals, tangents, params)
            return tuple(new_traced(Dual, self, y, y_dot) for y, y_dot in zip(out, dots, strict=True))
        out = bind(primitive, *primals, **params)
        if not primitive.differentiable:
            return out
        if all(x_dot is None for x_dot in tangents):
            return tuple(map(self.constant, out)) if primitive.multiple else self.constant(out)
        users = FLOAT_ERRORS.get()
        try:
            FLOAT_ERRORS.set(IGNORED)  # the rules' own arithmetic must not warn in the user's name
            out_dot = primitive.jvp(primals, tangents, out, params)
        finally:
            FLOAT_ERRORS.set(users)
        if primitive.multiple:
            dots = out_dot if out_dot is not None else (None,) * len(out)
            return tuple(new_traced(Dual, self, y, y_dot) for y, y_dot in zip(out, dots, strict=True))
        return new_traced(Dual, self, out, out_dot)

    def aval(self, x: TracedArray) -> Aval:
        return aval_of(x._value)

    def constant(self, value: Any) -> TracedArray:
        return new_traced(Dual, self, value, None)  # type: ignore[no-any-return]
