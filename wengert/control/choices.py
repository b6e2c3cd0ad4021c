"""`cond` and `switch`: branches as values."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval, result_dtype
from wengert.control import branches as primitives
from wengert.control.bodies import close, rewired
from wengert.control.carries import fitting, leaves_of
from wengert.core import TRACED, Dual, Symbol, Variable, aval_of, bind
from wengert.program import Var, WengertList


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` where `pred` holds, else `false_fun(*operands)`.

    `pred` is a bool or a number without axes (true where it is not 0). Where its value is known, as in plain programs
    and under `grad` and `jvp`, the function it chooses is called and nothing else. Under `vmap` each member of the
    batch gets its own branch; under `jit` both are compiled, and one runs. Both return containers of one structure,
    with equal shapes and dtypes.

    Raises StructureError (a ValueError) where the results of the branches do not fit each other.

    >>> import numpy as np, wengert as wg
    >>> wg.grad(lambda x: wg.cond(x >= 0, np.sin, np.exp, x))(0.0)
    np.float64(1.0)
    >>> wg.vmap(lambda x: wg.cond(x > 0, np.sqrt, lambda x: -x, x))(np.array([4.0, -2.0]))
    array([2., 2.])
    """
    pred = core.as_operand(pred)
    if aval_of(pred).shape:
        raise errors.StructureError(
            f"cond was given a predicate of shape {aval_of(pred).shape}. It chooses one of two branches, so it is a "
            "single truth value. Use np.where to choose element by element, or wengert.vmap for a batch."
        )
    if type(pred) in TRACED:
        pred = np.not_equal(pred, 0)  # of Duals and Variables this is plain
    if type(pred) not in TRACED:
        return true_fun(*operands) if pred else false_fun(*operands)
    return _staged(pred, (false_fun, true_fun), operands, "cond", ("false_fun", "true_fun"))


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)`, with `index` clamped to the branches that there are.

    `index` is an integer without axes, `branches` a sequence of functions. The rest is as in `cond`.

    >>> import numpy as np, wengert as wg
    >>> [float(wg.switch(k, [np.sin, np.cos, np.exp], 0.0)) for k in (0, 1, 7)]
    [0.0, 1.0, 1.0]
    """
    index = core.as_operand(index)
    aval = aval_of(index)
    if not branches or aval.shape or aval.dtype.kind not in "iub":
        raise errors.ArgumentError(
            f"switch was given an index of shape {aval.shape} and dtype {aval.dtype}, and {len(branches)} branches. "
            "The index is a single integer that chooses one of the branches. Convert it first, for example with "
            ".astype(int), and give at least one function."
        )
    if type(index) in (Dual, Variable):
        index = sum(np.greater_equal(index, k) * 1 for k in range(1, len(branches)))  # this is plain
    if type(index) not in TRACED:
        return branches[min(max(operator.index(index), 0), len(branches) - 1)](*operands)
    return _staged(index, branches, operands, "switch", [f"branch {k}" for k in range(len(branches))])


def _staged(index: Any, functions: Sequence[Any], operands: Any, name: str, titles: Sequence[str]) -> Any:
    """The branches as closed lists, and the choice as one operation."""
    leaves, treedef = tree.flatten(operands)
    leaves = [core.as_operand(leaf) for leaf in leaves]
    avals = [aval_of(leaf) for leaf in leaves]
    results: list[Any] = []
    trees: list[Any] = []

    def flat(function: Any, targets: Sequence[Aval] | None = None) -> Callable[..., list[Any]]:
        def body(*symbols: Any) -> list[Any]:
            result = function(*tree.unflatten(treedef, symbols))
            found, out_tree = leaves_of(result, name)
            results.append(result)
            trees.append(out_tree)
            return found if targets is None else [fitting(y, to) for y, to in zip(found, targets, strict=True)]

        return body

    pairs = [close(flat(function), avals, name) for function in functions]
    for title, other in zip(titles, trees, strict=True):
        if not tree.same_structure(trees[0], other):
            raise errors.StructureError(
                f"The branches of {name} return different structures: {titles[0]} {tree.describe(trees[0])}, {title} "
                f"{tree.describe(other)}. Either may be taken, so what follows must fit both. Return the same "
                "containers from all branches."
            )
    columns = zip(*([atom.aval for atom in body.outputs] for body, _ in pairs), strict=True)
    targets = [
        _common(column, name, path, titles) for column, path in zip(columns, tree.leaf_paths(results[0]), strict=True)
    ]
    if any(atom.aval != to for body, _ in pairs for atom, to in zip(body.outputs, targets, strict=True)):
        pairs = [close(flat(function, targets), avals, name) for function in functions]
    bodies, captured = _sharing(pairs, len(leaves))
    outs = bind(primitives.switch, index, *leaves, *captured, branches=bodies)
    return tree.unflatten(trees[0], outs)


def _common(avals: Sequence[Aval], name: str, path: str, titles: Sequence[str]) -> Aval:
    """The aval of one result of all branches: Python numbers take the dtype of the others."""
    strong = [aval for aval in avals if not aval.weak]
    first = strong[0] if strong else avals[0]
    dtype = first.dtype if strong else result_dtype(*avals)
    for title, aval in zip(titles, avals, strict=True):
        if aval.shape != first.shape or (result_dtype(first, aval) if aval.weak else aval.dtype) != dtype:
            raise errors.StructureError(
                f"The branches of {name} return different results{' at ' + path if path else ''}: "
                f"{', '.join(f'{t} {a}' for t, a in zip(titles, avals, strict=True))}. Either may be taken, so what "
                f"follows must fit both. Make {title} return the same shape and dtype as the others."
            )
    return Aval(first.shape, dtype, not strong, not first.shape)


def _sharing(pairs: Sequence[tuple[WengertList, list[Any]]], count: int) -> tuple[tuple[WengertList, ...], list[Any]]:
    """Lists that all take what any of them captured, and those values."""
    places: dict[int, int] = {}
    captured: list[Any] = []
    bodies = []
    for _, values in pairs:
        for value in values:
            if places.setdefault(_identity(value), len(captured)) == len(captured):
                captured.append(value)
    for body, values in pairs:
        own = {places[_identity(value)]: var for value, var in zip(values, body.inputs[count:], strict=True)}
        more = [own.get(k) or Var(f"u{k + 1}", aval_of(value)) for k, value in enumerate(captured)]
        bodies.append(rewired(body, [*body.inputs[:count], *more], body.outputs))
    return tuple(bodies), captured


def _identity(value: Any) -> int:
    return id(value._info) if type(value) is Symbol else id(value)
