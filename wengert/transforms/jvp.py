"""Forward mode: `jvp`, and `linearize`, which keeps the linear part of a forward pass as a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, program, tree
from wengert.avals import Aval, is_differentiable, tangent_aval
from wengert.core import FLOAT_ERRORS, IGNORED, Dual, aval_of, new_traced
from wengert.forward import ForwardTrace
from wengert.transforms import arguments


def jvp(function: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Evaluate a function and its derivative in one direction: (f(x), J v).

    For x of any shape, v has the same shape and J v that of f(x). The cost is that of f twice or three times, whatever
    the number of outputs.

    Parameters: `function`; `primals`, a tuple of its arguments; `tangents`, a tuple of the same structure, with None
    in place of the tangent of an integer, or of a whole argument that does not move; `has_aux` as in `vjp`.

    Returns (value, tangent), or (value, tangent, aux). Raises as `vjp` does.

    Source: R. E. Wengert, A simple automatic derivative evaluation program, CACM 7(8), 1964.

    >>> import numpy as np, wengert as wg
    >>> wg.jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    values, tangent_leaves, parts = _check_tangents(primals, tangents)
    trace = ForwardTrace()
    leaves = [
        value if tangent is None else new_traced(Dual, trace, _held(value, trace), _held(tangent, trace))
        for value, tangent in zip(values, tangent_leaves, strict=True)
    ]
    out, treedef, aux = _run(function, primals, parts, leaves, trace, has_aux)
    taken: set[int] = {id(x) for x in (*values, *tangent_leaves)}
    pairs = [split(leaf, trace) for leaf in out]
    value = tree.unflatten(treedef, [_value_result(y, leaf, taken) for (y, _), leaf in zip(pairs, out, strict=True)])
    tangent = tree.unflatten(treedef, [_tangent_result(y, y_dot, taken) for y, y_dot in pairs])
    return (value, tangent, aux) if has_aux else (value, tangent)


def _held(value: Any, trace: ForwardTrace) -> Any:
    core.check_not_newer(value, trace)
    if type(value) is np.ndarray:
        return np.array(value)  # the function may change the caller's array, under another name, while it runs
    return core.snapshot(value) if core.is_traced(value) else value


def _value_result(y: Any, leaf: Any, taken: set[int]) -> Any:
    """A value that shares no memory; one that is no Dual was captured, and is copied."""
    return np.array(y) if type(leaf) is np.ndarray else arguments.owned(y, taken)


def _tangent_result(y: Any, y_dot: Any, taken: set[int]) -> Any:
    aval = tangent_aval(aval_of(y))
    if y_dot is None:
        return arguments.zeros_for(aval)
    return arguments.as_argument(arguments.owned(y_dot, taken), aval)


def split(leaf: Any, trace: ForwardTrace) -> tuple[Any, Any]:
    """The primal and the tangent (None for zero) of a result."""
    if type(leaf) is Dual and leaf._trace is trace:
        return leaf._value, leaf._info
    return leaf, None


def _check_tangents(primals: Any, tangents: Any) -> tuple[list[Any], list[Any], Any]:
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise errors.ArgumentError(
            "jvp takes its arguments and their tangents as tuples, so that functions of several arguments work "
            f"alike. It was given {type(primals).__name__} and {type(tangents).__name__}. Write jvp(f, (x,), (v,))."
        )
    if len(primals) != len(tangents):
        raise errors.StructureError(
            f"jvp was given {len(primals)} arguments and {len(tangents)} tangents. Each argument needs one. Use None "
            "for an argument that does not move."
        )
    values: list[Any] = []
    tangent_leaves: list[Any] = []
    parts = []
    for position, (primal, tangent) in enumerate(zip(primals, tangents, strict=True)):
        leaves, treedef = tree.flatten(primal)
        given: list[Any] = [None] * len(leaves)
        if tangent is not None:  # where it is, the argument does not move, and may be anything
            avals = [_aval_of_primal(leaf, primal, position, k) for k, leaf in enumerate(leaves)]
            given = _tangents_of(primal, treedef, avals, tangent)
        for k, v in enumerate(given):
            if v is not None:
                leaves[k] = arguments.differentiable_leaf(leaves[k], primal, position, k)
        values += leaves
        tangent_leaves += given
        parts.append((position, treedef, len(leaves)))
    return values, tangent_leaves, parts


def _aval_of_primal(leaf: Any, primal: Any, position: int, k: int) -> Aval:
    try:
        return aval_of(core.as_operand(leaf))
    except (TypeError, ValueError):
        arguments.differentiable_leaf(leaf, primal, position, k)
        raise


def _tangents_of(primal: Any, treedef: Any, avals: list[Aval], tangent: Any) -> list[Any]:
    if all(is_differentiable(aval.dtype) for aval in avals):
        return arguments.matched(treedef, tangent, avals, "tangents", "argument")
    one = tree.flatten(0.0)[1]
    return [  # integers take None, which is structure to optree
        None if v is None else arguments.matched(one, v, [aval], "tangents", "argument")[0]
        for v, aval in zip(tree.beside(primal, tangent, lambda v: v is None), avals, strict=True)
    ]


def _run(
    function: Callable[..., Any], args: Any, parts: Any, leaves: list[Any], trace: ForwardTrace, has_aux: bool
) -> tuple[list[Any], Any, Any]:
    aux = None
    try:
        result = arguments.call(function, arguments.rebuild(args, parts, leaves), {})
        if has_aux:
            result, aux = arguments.split_aux(result)
            aux = arguments.unwrap_aux(aux, trace)
        out, treedef = arguments.result_leaves(result, trace)
    finally:
        trace.close()
    return out, treedef, aux


class Linearized:
    """The derivative of a function at a point, as a linear list that is read forwards or backwards."""

    __slots__ = ("in_avals", "out_avals", "parts", "primals", "program", "treedef")

    def __init__(self, linear: program.WengertList, in_avals: Any, parts: Any, out_avals: Any, treedef: Any) -> None:
        self.program = linear
        self.in_avals = in_avals
        self.parts = parts
        self.out_avals = out_avals
        self.treedef = treedef

    def __call__(self, *tangents: Any) -> Any:
        """The pushforward: tangents of the arguments to the tangent of the result."""
        if len(tangents) != len(self.parts):
            raise errors.StructureError(
                f"The pushforward of a function of {len(self.parts)} arguments was given {len(tangents)} tangents. It "
                "is linear in all of them together. Give one tangent per argument."
            )
        leaves = []
        start = 0
        for tangent, (_, treedef, count) in zip(tangents, self.parts, strict=True):
            leaves += arguments.matched(treedef, tangent, self.in_avals[start : start + count], "tangents", "argument")
            start += count
        return tree.unflatten(self.treedef, self.push(leaves))

    def push(self, leaves: Sequence[Any]) -> list[Any]:
        """Flat pushforward."""
        taken = {id(leaf) for leaf in leaves} | program.held(self.program)
        users = FLOAT_ERRORS.get()
        try:
            FLOAT_ERRORS.set(IGNORED)  # the rules' own arithmetic must not warn in the user's name
            results = program.evaluate(self.program, leaves)
        finally:
            FLOAT_ERRORS.set(users)
        return [
            arguments.as_argument(arguments.owned(y_dot, taken), aval)
            for y_dot, aval in zip(results, self.out_avals, strict=True)
        ]

    def pull(self, cts: Sequence[Any]) -> list[Any]:
        """Flat pullback."""
        taken = {id(ct) for ct in cts}
        users = FLOAT_ERRORS.get()
        try:
            FLOAT_ERRORS.set(IGNORED)
            bars = program.transpose(self.program, cts)
        finally:
            FLOAT_ERRORS.set(users)
        return [
            arguments.zeros_for(aval) if bar is None else arguments.as_argument(arguments.owned(bar, taken), aval)
            for bar, aval in zip(bars, self.in_avals, strict=True)
        ]


def linearize(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Evaluate a function, and return its pushforward at this point as a linear function of tangents.

    The function runs once; its partial derivatives are kept. The pushforward v ↦ J v can then be applied to many
    directions for the price of its multiplications alone.

    Returns (value, pushforward), or (value, pushforward, aux). Raises as `vjp` does.

    Source: A. Radul et al., You only linearize once, POPL 2023.

    >>> import numpy as np, wengert as wg
    >>> y, pushforward = wg.linearize(np.sin, 0.0)
    >>> pushforward(3.0)
    np.float64(3.0)
    """
    values, parts = arguments.argument_leaves(primals, range(len(primals)))
    out, linear, out_avals, treedef, aux = linear_part(function, primals, {}, values, parts, has_aux)
    taken = {id(x) for x in values}
    value = tree.unflatten(treedef, [np.array(y) if type(y) is np.ndarray else arguments.owned(y, taken) for y in out])
    pushforward = Linearized(linear, [aval_of(x) for x in values], parts, out_avals, treedef)
    return (value, pushforward, aux) if has_aux else (value, pushforward)


def linear_part(
    function: Callable[..., Any], args: Any, kwargs: Any, values: list[Any], parts: Any, has_aux: bool
) -> tuple[list[Any], program.WengertList, list[Aval], Any, Any]:
    """Run `function` on Duals whose tangents are Symbols: its results, and the list that maps tangents to tangents."""
    stage = program.StageTrace(getattr(function, "__name__", "f"))
    trace = ForwardTrace()
    avals = [aval_of(value) for value in values]
    symbols = [stage.input(aval) for aval in avals]
    leaves = [
        new_traced(Dual, trace, _held(value, trace), symbol) for value, symbol in zip(values, symbols, strict=True)
    ]
    try:
        out, treedef, aux = _run(lambda *a: function(*a, **kwargs), args, parts, leaves, trace, has_aux)
        pairs = [split(leaf, trace) for leaf in out]
        out_avals = [tangent_aval(aval_of(y)) for y, _ in pairs]
        stage.program.outputs = [
            stage.atom(arguments.zeros_for(aval) if y_dot is None else y_dot)
            for (_, y_dot), aval in zip(pairs, out_avals, strict=True)
        ]
    finally:
        stage.close()
    return [y for y, _ in pairs], stage.program, out_avals, treedef, aux
