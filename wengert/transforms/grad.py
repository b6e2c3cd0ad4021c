"""Gradients: `grad`, `value_and_grad`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core import aval_of
from wengert.graph import sweep
from wengert.transforms import arguments
from wengert.transforms.arguments import Transformed
from wengert.transforms.vjp import gradients, record, root_of


def grad(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a function that returns one real number.

    `grad(f)(x)` has the structure, shape and dtype of `x`, which may be an array, a number (the gradient is then an
    np.float64) or a container of them; with `argnums=(0, 2)` it is a tuple of gradients. For complex x it is
    ∂f/∂Re x + i ∂f/∂Im x, the direction of steepest ascent, as in PyTorch (JAX and autograd give its conjugate).

    Parameters: `argnums`, which positional arguments to differentiate; `has_aux`, whether the function returns a pair
    (value, aux), in which case the result is (gradient, aux).

    Raises NotDifferentiableError (a TypeError) where an input is not floating or the result not one real number.

    Cost: a small multiple of that of `function`, whatever the size of x (A. Griewank and A. Walther, Evaluating
    Derivatives, 2nd ed., SIAM 2008, §3.3).

    >>> import numpy as np, wengert as wg
    >>> wg.grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    array([2., 4.])
    >>> round(float(wg.grad(lambda x: np.log(np.sin(x**2) + np.exp(x)))(1.5)), 15)
    0.493780530415418
    """
    arguments.check_argnums(argnums)
    return Transformed(_grad, function, argnums=argnums, has_aux=has_aux)


def value_and_grad(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The value and the gradient of a function that returns one real number: (f(x), ∇f(x)).

    With `has_aux=True` the result is ((value, aux), gradient). Everything else is as in `grad`.

    >>> import numpy as np, wengert as wg
    >>> wg.value_and_grad(np.exp)(0.0)
    (np.float64(1.0), np.float64(1.0))
    """
    arguments.check_argnums(argnums)
    return Transformed(_value_and_grad, function, argnums=argnums, has_aux=has_aux)


def _grad(function: Any, args: Any, kwargs: Any, argnums: Any, has_aux: bool) -> Any:
    _, gradient, aux = _evaluate("grad", function, args, kwargs, argnums, has_aux)
    return (gradient, aux) if has_aux else gradient


def _value_and_grad(function: Any, args: Any, kwargs: Any, argnums: Any, has_aux: bool) -> Any:
    value, gradient, aux = _evaluate("value_and_grad", function, args, kwargs, argnums, has_aux)
    return ((value, aux), gradient) if has_aux else (value, gradient)


def _evaluate(name: str, function: Any, args: Any, kwargs: Any, argnums: Any, has_aux: bool) -> tuple[Any, Any, Any]:
    args, kwargs, positions = arguments.select(function, args, kwargs, argnums)
    distinct = list(dict.fromkeys(positions))
    result, trace, nodes, parts = record(function, args, kwargs, distinct)
    aux = None
    try:
        if has_aux:
            result, aux = arguments.split_aux(result)
            aux = arguments.unwrap_aux(aux, trace)
        arguments.scalar_result(result, name)
        (output,), _ = arguments.result_leaves(result, trace)
    finally:
        trace.close()
    value, root = root_of(output, trace)
    del result, output  # so that the sweep can release the graph as it goes
    seed = aval_of(value).dtype.type(1)
    cts = sweep([(root, seed)], release=True) if root is not None else {}
    found = [
        arguments.as_argument(np.conjugate(ct), node.aval) if node.aval.dtype.kind == "c" else ct
        for node, ct in zip(nodes, gradients(nodes, cts, ()), strict=True)
    ]
    gradient = arguments.chosen(argnums, positions, arguments.regroup(parts, found))
    return arguments.owned(value), gradient, aux
