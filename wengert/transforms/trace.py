"""Staging: `trace`, which writes a function's Wengert list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import core, tree
from wengert.core import aval_of
from wengert.program import StageTrace, WengertList
from wengert.transforms import arguments
from wengert.transforms.arguments import Transformed


def trace(function: Callable[..., Any]) -> Callable[..., WengertList]:
    """A function that, called with example arguments, returns the Wengert list of what `function` did with them.

    Every array or number among the arguments becomes an input of the list. Python control flow follows the example, so
    the list holds for inputs that would take the same branches. Keyword arguments are passed on as they are.

    >>> import numpy as np, wengert as wg
    >>> print(wg.trace(lambda a, b: a * np.sin(b))(2.0, 1.0))
    Wengert list of <lambda>: 2 operations
      x1   input    float64  = 2
      x2   input    float64  = 1
      v1 = sin(x2)  float64  = 0.841471
      v2 = x1 * v1  float64  = 1.68294
      return v2
    """
    return Transformed(_trace, function)


def _trace(function: Any, args: Any, kwargs: Any) -> WengertList:
    leaves, in_tree = tree.flatten(args)
    stage = StageTrace(getattr(function, "__name__", type(function).__name__))
    leaves = [core.as_operand(leaf) for leaf in leaves]
    symbols = [
        stage.input(aval_of(leaf), core.snapshot(leaf) if core.is_traced(leaf) else _kept(leaf)) for leaf in leaves
    ]
    try:
        result = arguments.call(function, tree.unflatten(in_tree, symbols), kwargs)
        out, out_tree = arguments.result_leaves(result, stage)
        stage.program.outputs = [stage.atom(leaf) for leaf in out]
    finally:
        stage.close()
    stage.program.in_tree = in_tree
    stage.program.out_tree = out_tree
    return stage.program


def _kept(leaf: Any) -> Any:
    return np.array(leaf) if isinstance(leaf, np.ndarray) else leaf  # in its own memory order
