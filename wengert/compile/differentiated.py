"""Transforms of a jitted function: `grad(jit(f))` differentiates the list of f, and compiles that too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from wengert import core, tree
from wengert.control import written_out
from wengert.control.branches import Call as ListCall
from wengert.core import TRACED, Symbol, bind
from wengert.errors import ConversionError
from wengert.program import WengertList


class CompiledCall(ListCall):
    """A closed list on its operands, run by compiled code; so are its derivatives, which are calls of this kind too."""

    def value(self, *operands: Any, body: WengertList) -> tuple[Any, ...]:
        if "executable" not in body.derived:
            from wengert.compile import pipeline  # loaded by the first compilation

            body.derived["executable"], _ = pipeline.compile_program(written_out(body), None)
        return tuple(body.derived["executable"](operands))


compiled_call: Final = CompiledCall("compiled_call")


def concrete_arguments(args: Any, kwargs: Any) -> Any:
    """The plain values under traced arguments; None where there are none, or where another list is being written."""
    leaves, structure = tree.flatten((args, kwargs))
    plain = []
    for leaf in leaves:
        inner = leaf
        while type(inner) in TRACED:
            if type(inner) is Symbol:
                return None
            inner = inner._value
        try:
            plain.append(core.concrete(leaf) if type(leaf) in TRACED else leaf)
        except ConversionError:  # of a batch
            return None
    return tree.unflatten(structure, plain)


def call_traced(body: WengertList, leaves: Sequence[Any], hidden: Sequence[Any], out_tree: Any) -> Any:
    """The result of a list on traced leaves."""
    return tree.unflatten(out_tree, bind(compiled_call, *leaves, *hidden, body=body))
