"""Reverse mode: `vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import errors, tree
from wengert.avals import Aval, is_differentiable
from wengert.core import Variable, aval_of, no_grad_depth
from wengert.graph import Leaf, Partials, ReverseTrace, sweep
from wengert.ops.vector import fit_dtype
from wengert.transforms import arguments


def record(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], positions: Sequence[int]
) -> tuple[Any, ReverseTrace, list[Any], Any]:
    """Run a function on Variables: its raw result, the trace (still open), the leaves, and how to group them."""
    values, parts = arguments.argument_leaves(args, positions)
    trace = ReverseTrace()
    leaves = [trace.leaf(value, True) for value in values]
    nodes = [leaf._info for leaf in leaves]
    try:
        result = arguments.call(function, arguments.rebuild(args, parts, leaves), kwargs)
    except BaseException:
        trace.close()
        raise
    return result, trace, nodes, parts


def root_of(leaf: Any, trace: ReverseTrace) -> tuple[Any, Any]:
    """The value of a result and its node, None where it does not depend on the inputs."""
    if type(leaf) is Variable and leaf._trace is trace:
        return leaf._value, leaf._info
    return leaf, None


def gradients(nodes: Sequence[Leaf], cts: dict[Any, Any], seeds: Sequence[Any]) -> list[Any]:
    """What a sweep found for each leaf, as results that share memory with nothing."""
    taken = {id(seed) for seed in seeds}
    found = []
    for node in nodes:
        aval: Any = node.aval
        ct = cts.get(node)
        found.append(
            arguments.zeros_for(aval)
            if ct is None
            else arguments.as_argument(arguments.owned(fit_dtype(ct, aval), taken), aval)
        )
    return found


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Evaluate a function, and return its pullback: the map from cotangents of the result to those of the arguments.

    For y = f(x) with Jacobian J, the pullback maps ct (of the shape of y) to Jᵀ ct (of the shape of x). J is never
    formed, and the cost is a small multiple of that of f, whatever the number of inputs. Complex values are paired by
    ⟨a, b⟩ = Re Σ ab, so nothing is conjugated (`grad` conjugates).

    Parameters: `function` of arrays, or containers of arrays, that returns the same; `primals`, its arguments, all of
    them floating or complex; `has_aux`, whether it returns a pair (value, aux) of which only the first is
    differentiated.

    Returns (value, pullback), or (value, pullback, aux). The pullback returns a tuple with a cotangent per argument,
    in the argument's shape and dtype. It can be called any number of times, and is faster from the second on, when it
    keeps its partial derivatives.

    Raises NotDifferentiableError (a TypeError) for integer or other leaves that have no derivative, StructureError (a
    ValueError) for cotangents of the wrong shape or structure, ChangedArrayError where an array that the pullback
    needs was changed after its use.

    Source: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, §3.2.

    >>> import numpy as np, wengert as wg
    >>> y, pullback = wg.vjp(lambda a, b: a * np.sin(b), 2.0, 0.0)
    >>> pullback(1.0)
    (np.float64(0.0), np.float64(2.0))
    """
    result, trace, nodes, parts = record(function, primals, {}, range(len(primals)))
    aux = None
    try:
        if has_aux:
            result, aux = arguments.split_aux(result)
            aux = arguments.unwrap_aux(aux, trace)
        outputs, treedef = arguments.result_leaves(result, trace)
    finally:
        trace.close()
    roots = [root_of(output, trace) for output in outputs]
    avals = [aval_of(value) for value, _ in roots]
    value = tree.unflatten(treedef, [_handed_out(value) for value, _ in roots])
    pullback = Pullback(treedef, avals, [node for _, node in roots], nodes, parts)
    return (value, pullback, aux) if has_aux else (value, pullback)


def _handed_out(value: Any) -> Any:
    """A result that the caller may change: a copy, since the pullback may still read the original."""
    return np.array(value) if type(value) is np.ndarray else arguments.owned(value)


class Pullback:
    """The linear map from cotangents of a function's result to cotangents of its arguments."""

    __slots__ = ("avals", "calls", "nodes", "partials", "parts", "roots", "treedef")

    def __init__(self, treedef: Any, avals: list[Aval], roots: list[Any], nodes: list[Leaf], parts: Any) -> None:
        self.treedef = treedef
        self.avals = avals
        self.roots = roots
        self.nodes = nodes
        self.parts = parts
        self.calls = 0
        self.partials: dict[int, Partials] = {}  # by depth of no_grad, in which Variables among them are detached

    def __call__(self, ct: Any) -> tuple[Any, ...]:
        for aval in self.avals:
            if not is_differentiable(aval.dtype) and len(self.avals) == 1:
                raise errors.NotDifferentiableError(
                    f"The function returned a value of dtype {aval.dtype}, which has no cotangent. Integers do not "
                    "move by small steps. Return a floating-point value."
                )
        cts = arguments.matched(self.treedef, ct, self.avals, "cotangents", "result")
        self.calls += 1
        seeds = [(node, one) for node, one in zip(self.roots, cts, strict=True) if node is not None]
        partials = self.partials.setdefault(no_grad_depth.get(), {}) if self.calls > 1 else None
        found = sweep(seeds, partials=partials)
        return tuple(arguments.regroup(self.parts, gradients(self.nodes, found, cts)))
