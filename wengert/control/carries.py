"""What loops and branches share: checking what passes from step to step, and knowing what is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval, result_dtype
from wengert.control.bodies import close, rewired
from wengert.core import TRACED, Batch, Dual, Symbol, Variable, aval_of, bind
from wengert.ops.vector import cast_primitive, fit_dtype
from wengert.program import WengertList

# ------------------------------------------------------------------------------------------------ what is traced


def any_traced(leaves: Iterable[Any]) -> bool:
    return any(type(leaf) in TRACED for leaf in leaves)


def captures_traced(*functions: Any) -> bool:
    """Whether functions close over traced values; those in containers and attributes show when they are called."""
    for function in functions:
        for cell in getattr(function, "__closure__", None) or ():
            try:
                if type(cell.cell_contents) in TRACED:
                    return True
            except ValueError:  # a name that is not bound yet
                pass
    return False


def is_known(value: Any) -> bool:
    """Whether there is one concrete value under the traces."""
    while type(value) in TRACED:
        if type(value) in (Batch, Symbol):
            return False
        value = value._value
    return True


def is_recorded(value: Any) -> bool:
    """Whether derivatives will be pulled back through it, or written as a linear list."""
    while type(value) in TRACED:
        if type(value) is Variable or (type(value) is Dual and type(value._info) in TRACED):
            return True
        value = value._value
    return False


# ------------------------------------------------------------------------------------------- what users' functions give


def leaves_of(result: Any, name: str) -> tuple[list[Any], Any]:
    """The leaves of what a user's function returned, arrays and numbers, and their structure."""
    leaves, treedef = tree.flatten(result)
    for k, leaf in enumerate(leaves):
        try:
            leaves[k] = core.as_operand(leaf)
        except (TypeError, ValueError):
            path = tree.leaf_paths(result)[k]
            raise errors.NotDifferentiableError(
                f"A function given to {name} returned a {type(leaf).__name__}{' at ' + path if path else ''}. What "
                "passes through loops and branches is arrays, numbers and containers of them. Return these only."
            ) from None
    return leaves, treedef


def truth(value: Any) -> Any:
    """What `cond_fun` returned, as a single bool."""
    if type(value) is np.bool_ or type(value) is bool:  # each step asks
        return value
    (value,), _ = leaves_of(value, "while_loop")
    aval = aval_of(value)
    if aval.shape:
        raise errors.StructureError(
            f"cond_fun of while_loop returned an array of shape {aval.shape}. It says whether the loop goes on, so it "
            "is a single truth value. Reduce it with np.any or np.all, or use wengert.vmap for loops that stop one by "
            "one."
        )
    return value if aval.dtype.kind == "b" else np.not_equal(value, 0)


def pair(result: Any) -> tuple[Any, Any]:
    """What `f` of a scan returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise errors.StructureError(
            f"f of scan returned a {type(result).__name__} that is no pair. Each step gives the next carry and an "
            "element of the stacked result. Return (carry, y), with None for a y that is not needed."
        )
    return result


class Carry:
    """What a loop carries: its structure, the leaves at the start, and the words for errors about it."""

    def __init__(self, init: Any, name: str, function: str) -> None:
        self.init = init
        self.name = name
        self.function = function
        self.leaves, self.treedef = tree.flatten(init)
        self.leaves = [core.as_operand(leaf) for leaf in self.leaves]

    def rebuilt(self, leaves: Sequence[Any]) -> Any:
        return tree.unflatten(self.treedef, leaves)

    def checked(self, new: Any, before: Sequence[Any]) -> list[Any]:
        """The leaves after a step, which must fit those before it."""
        leaves, found = leaves_of(new, self.name)
        if not tree.same_structure(self.treedef, found):
            raise errors.StructureError(
                f"{self.function} of {self.name} was given a carry of the structure {tree.describe(self.treedef)} and "
                f"returned {tree.describe(found)}. Each step passes it on to the next, so it stays the same. Return "
                "the containers that came in, with the same keys and lengths."
            )
        for k, (leaf, old) in enumerate(zip(leaves, before, strict=True)):
            aval, was = aval_of(leaf), aval_of(old)
            fits = was.weak or (result_dtype(aval, was) if aval.weak else aval.dtype) == was.dtype
            if aval.shape != was.shape or not fits:
                path = tree.leaf_paths(self.init)[k]
                raise errors.StructureError(
                    f"{self.function} of {self.name} was given a carry with {was}{' at ' + path if path else ''} and "
                    f"returned {aval} in its place. Each step passes it on to the next, so its shape and dtype stay "
                    "the same. Convert the initial value or the result, for example with .astype, np.reshape or a "
                    "float (0.0) in place of 0."
                )
        return leaves

    def settled(
        self, step: Callable[..., list[Any]], more: Sequence[Aval] = ()
    ) -> tuple[WengertList, list[Any], list[Aval]]:
        """The list of a step of (carry, more), what it captured (its first inputs), and the avals of the carry.

        A Python number in the carry has the dtype that the step makes of it: it is staged until that is settled.
        """
        avals = [aval._replace(scalar=not aval.shape) for aval in map(aval_of, self.leaves)]
        count = len(avals)
        while True:

            def fitted(*symbols: Any, to: Sequence[Aval] = tuple(avals)) -> list[Any]:
                found = step(*symbols)
                return [fitting(y, aval) for y, aval in zip(found, to, strict=False)] + found[count:]

            body, captured = close(fitted, [*avals, *more], self.name)
            settled = [
                Aval(old.shape, atom.aval.dtype if old.weak else old.dtype, old.weak and atom.aval.weak, not old.shape)
                for old, atom in zip(avals, body.outputs, strict=False)
            ]
            if settled == avals:
                return captured_first(body, count + len(more)), captured, avals
            avals = settled

    def fitted(self, avals: Sequence[Aval]) -> list[Any]:
        """The leaves at the start, as the settled list takes them."""
        return [fitting(leaf, aval) for leaf, aval in zip(self.leaves, avals, strict=True)]


def fitting(value: Any, to: Aval) -> Any:
    """A value in the dtype of a place: a Python number becomes a NumPy scalar unless the place holds one."""
    if to.weak:
        return value
    value = bind(cast_primitive, value, dtype=to.dtype) if aval_of(value).weak else fit_dtype(value, to)
    return value[()] if type(value) is np.ndarray and not value.shape else value


def captured_first(body: WengertList, count: int) -> WengertList:
    """The list with what was captured before its `count` arguments."""
    return rewired(body, [*body.inputs[count:], *body.inputs[:count]], body.outputs)
