"""`while_loop`, `fori_loop`, `scan` and `map`: loops as values.

Where nothing is traced they are the plain Python loops. Otherwise the body is written down once, as a closed Wengert
list, and the whole loop is one operation of the traces. A body that asks for values (by `if`, say) cannot be written
down; where the values are known, as under `grad` and `jvp`, the Python loop runs then too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval
from wengert.control import looping, scanning
from wengert.control.bodies import close, parts
from wengert.control.carries import (
    Carry,
    any_traced,
    captured_first,
    captures_traced,
    is_known,
    is_recorded,
    leaves_of,
    pair,
    truth,
)
from wengert.core import TRACED, aval_of, bind

TRACES: Final = object()  # what a plain loop returns where its first step met traced values


def _plainly_or_staged(
    watched: bool, leaves: Sequence[Any], plain: Callable[[bool], Any], staged: Callable[[], Any]
) -> Any:
    """The plain loop where nothing is traced, else the staged one, unless its body asks for values that are known."""
    result = TRACES if watched else plain(True)
    if result is not TRACES:
        return result
    try:
        return staged()
    except errors.BodyValueError:
        if not all(is_known(leaf) for leaf in leaves):
            raise
    return plain(False)


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """Repeat `val = body_fun(val)` from `init_val` on, while `cond_fun(val)` holds; return the last `val`.

    `val` is an array, a number or a container of them, whose structure, shapes and dtypes stay the same; a Python
    number takes the dtype of what it becomes. Differentiable in both modes: the reverse mode keeps what it needs of
    each step, so its memory grows with the number of steps. Under `vmap` the loop runs until all members have stopped,
    and those that have stay as they are.

    Raises StructureError (a ValueError) that names the leaf which changes its shape or dtype.

    >>> import numpy as np, wengert as wg
    >>> def newton(a):
    ...     return wg.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)
    >>> round(float(wg.grad(newton)(4.0)), 9)
    0.25
    """
    carry = Carry(init_val, "while_loop", "body_fun")

    def plain(watch: bool) -> Any:
        value, first = init_val, True
        while True:
            goes_on = truth(cond_fun(value))
            if watch and type(goes_on) in TRACED:
                return TRACES
            if not goes_on:
                return value
            value = body_fun(value)
            if first:
                found = carry.checked(value, carry.leaves)
                if watch and any_traced(found):
                    return TRACES
                first = False

    traced = any_traced(carry.leaves) or captures_traced(cond_fun, body_fun)
    return _plainly_or_staged(traced, carry.leaves, plain, lambda: _staged_while(cond_fun, body_fun, carry))


def _staged_while(cond_fun: Any, body_fun: Any, carry: Carry) -> Any:
    def step(*symbols: Any) -> list[Any]:
        return carry.checked(body_fun(carry.rebuilt(symbols)), symbols)

    body, captured, avals = carry.settled(step)
    test, test_captured = close(lambda *symbols: [truth(cond_fun(carry.rebuilt(symbols)))], avals, "test")
    test = captured_first(test, len(avals))
    leaves = carry.fitted(avals)
    operands = [*test_captured, *captured, *leaves]
    counts = {"test_consts": len(test_captured), "body_consts": len(captured)}
    if any(is_recorded(x) for x in operands) and all(is_known(x) for x in operands):
        # The number of steps is found by running it, and a loop of known length has the cheaper derivative.
        steps, _ = looping.states([core.glance(x) for x in operands], test, body, **counts, keep=())
        settings = {"consts": len(captured), "carry": len(leaves), "length": len(steps), "reverse": False}
        return carry.rebuilt(bind(scanning.scan, *captured, *leaves, body=body, **settings))
    return carry.rebuilt(bind(looping.while_loop, *operands, test=test, body=body, **counts))


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`for i in range(lower, upper): val = body_fun(i, val)` from `init_val` on; return the last `val`.

    `lower` and `upper` are integers. Where both are known this is a `scan`, with its cheaper derivative, else a
    `while_loop`; what is said there of `val` holds here.

    >>> import numpy as np, wengert as wg
    >>> wg.grad(lambda x: wg.fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
    np.float64(12.0)
    """
    for bound in (lower, upper):
        aval = aval_of(core.as_operand(bound))
        if aval.shape or aval.dtype.kind not in "iu":
            raise errors.ArgumentError(
                f"fori_loop was given a bound of shape {aval.shape} and dtype {aval.dtype}. It counts from lower to "
                "upper in steps of one. Give single integers."
            )
    if type(lower) in TRACED or type(upper) in TRACED:
        return while_loop(
            lambda state: np.less(state[0], upper),
            lambda state: (state[0] + 1, body_fun(state[0], state[1])),
            (lower, init_val),
        )[1]
    steps = range(operator.index(lower), operator.index(upper))
    carry = Carry(init_val, "fori_loop", "body_fun")

    def plain(watch: bool) -> Any:
        value = init_val
        for i in steps:
            value = body_fun(i, value)
            if i == steps.start:
                found = carry.checked(value, carry.leaves)
                if watch and any_traced(found):
                    return TRACES
        return value

    def step(state: Any, _: Any) -> Any:
        value = body_fun(*state)
        carry.checked(value, tree.flatten(state[1])[0])
        return (state[0] + 1, value), None

    def staged() -> Any:
        counted = Carry((steps.start, init_val), "fori_loop", "body_fun")
        return _staged_scan(step, counted, None, len(steps), False)[0][1]

    return _plainly_or_staged(any_traced(carry.leaves) or captures_traced(body_fun), carry.leaves, plain, staged)


def scan(
    f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """Carry a value over the leading axis of arrays: `carry, y = f(carry, x)` for each x of `xs`, from `init` on.

    `xs` is an array or a container of arrays with a leading axis of one length (or None, and `length` says how many
    steps), `reverse` says to go from the last to the first. Returns the last carry and the ys, stacked along a leading
    axis in the order of the xs. What `while_loop` says of its `val` holds for the carry.

    The reverse mode stacks what the backward sweep needs of each step, and sweeps with the linear part alone.

    Raises StructureError (a ValueError) for a carry that changes, or xs of different lengths.

    >>> import numpy as np, wengert as wg
    >>> wg.scan(lambda total, x: (total + x, total * x), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 2., 9.]))
    """
    carry = Carry(init, "scan", "f")
    x_leaves, x_tree = tree.flatten(xs)
    x_leaves = [core.as_operand(leaf) for leaf in x_leaves]
    count = _length(x_leaves, xs, length)

    def plain(watch: bool) -> Any:
        value, y_tree = init, None
        columns: list[list[Any]] = []
        for i in range(count - 1, -1, -1) if reverse else range(count):
            value, y = pair(f(value, tree.unflatten(x_tree, [x[i] for x in x_leaves])))
            ys, y_tree = tree.flatten(y)
            if not columns:
                found = carry.checked(value, carry.leaves) + leaves_of(y, "scan")[0]
                if watch and any_traced(found):
                    return TRACES
            columns.append(ys)
        if reverse:
            columns.reverse()
        return value, tree.unflatten(y_tree, [_stacked(column) for column in zip(*columns, strict=True)])

    leaves = (*carry.leaves, *x_leaves)
    traced = not count or any_traced(leaves) or captures_traced(f)  # of no steps, only a list knows what the ys are
    return _plainly_or_staged(traced, leaves, plain, lambda: _staged_scan(f, carry, xs, count, reverse))  # type: ignore[no-any-return]


def _staged_scan(f: Any, carry: Carry, xs: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    x_leaves, x_tree = tree.flatten(xs)
    x_leaves = [core.as_operand(leaf) for leaf in x_leaves]
    count = len(carry.leaves)
    y_trees: list[Any] = []

    def step(*symbols: Any) -> list[Any]:
        state, slices = parts(symbols, count)
        new, y = pair(f(carry.rebuilt(state), tree.unflatten(x_tree, slices)))
        ys, y_tree = leaves_of(y, carry.name)
        y_trees.append(y_tree)
        return [*carry.checked(new, state), *ys]

    rows = [aval_of(x) for x in x_leaves]
    x_avals = [Aval(aval.shape[1:], aval.dtype, False, len(aval.shape) == 1) for aval in rows]
    body, captured, avals = carry.settled(step, x_avals)
    settings = {"consts": len(captured), "carry": count, "length": length, "reverse": bool(reverse)}
    outs = bind(scanning.scan, *captured, *carry.fitted(avals), *x_leaves, body=body, **settings)
    return carry.rebuilt(outs[:count]), tree.unflatten(y_trees[-1], outs[count:])


def map_elements(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of each element along the leading axis of `xs`, one after the other; the results stacked.

    `xs` is an array or a container of arrays. It is `scan` without a carry: `vmap` computes all at once, and is faster
    where memory allows.

    >>> import numpy as np, wengert as wg
    >>> wg.map(lambda x: x @ x, np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([ 5., 25.])
    """
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


map_elements.__name__ = map_elements.__qualname__ = "map"  # Python's own is used above


def _length(leaves: Sequence[Any], xs: Any, length: int | None) -> int:
    found = {} if length is None else {operator.index(length): "length"}
    for k, leaf in enumerate(leaves):
        shape = aval_of(leaf).shape
        path = "xs" + tree.leaf_paths(xs)[k]
        if not shape:
            raise errors.StructureError(
                f"{path} of scan is a single number. The loop runs over the leading axis of its xs. Pass an array "
                "with one, or let f capture the number."
            )
        found.setdefault(shape[0], path)
    if len(found) != 1:
        what = ", ".join(f"{path} {n}" for n, path in found.items()) or "none"
        raise errors.StructureError(
            f"scan found no single length: {what}. All xs are read step by step together. Give arrays with leading "
            "axes of one length, or length= where there are none."
        )
    return next(iter(found))


def _stacked(column: Sequence[Any]) -> Any:
    """What the steps returned, as one array; Python numbers take the dtype of the others, as they do in a list."""
    if any_traced(column) or aval_of(column[0]).shape:
        return np.stack(column)
    return np.array(column, np.result_type(*{type(value): value for value in column}.values()))
