"""Whole derivative matrices: Jacobians, Hessians, Hessian-vector products, elementwise derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval
from wengert.core import aval_of
from wengert.transforms import arguments
from wengert.transforms.arguments import Transformed
from wengert.transforms.grad import grad
from wengert.transforms.jvp import Linearized, jvp, linear_part
from wengert.transforms.vmap import vmap


def jacfwd(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, holomorphic: bool = False) -> Any:
    """The Jacobian of a function, one column per input (forward mode): cheaper for few inputs.

    Each leaf has the shape `out.shape + in.shape`: [∂outᵢ/∂inⱼ]. The structure is that of the result, with that
    of the argument (a tuple of them where `argnums` is one) at each leaf. With `has_aux=True`: (jacobian, aux). Complex
    inputs need `holomorphic=True`, the promise that one complex number describes each derivative.

    >>> import numpy as np, wengert as wg
    >>> wg.jacfwd(lambda x: np.stack([x[0] * x[1], x[0]]))(np.array([2.0, 3.0]))
    array([[3., 2.],
           [1., 0.]])
    """
    arguments.check_argnums(argnums)
    return Transformed(_jacobian, function, argnums=argnums, has_aux=has_aux, holomorphic=holomorphic, mode="forward")


def jacrev(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, holomorphic: bool = False) -> Any:
    """The Jacobian of a function, one row per output (reverse mode): cheaper for few outputs.

    Parameters and result as in `jacfwd`; real-to-complex functions need forward mode.

    >>> import numpy as np, wengert as wg
    >>> wg.jacrev(lambda x: x**2)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """
    arguments.check_argnums(argnums)
    return Transformed(_jacobian, function, argnums=argnums, has_aux=has_aux, holomorphic=holomorphic, mode="reverse")


def jacobian(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, holomorphic: bool = False) -> Any:
    """The Jacobian of a function, in the cheaper mode: forward where it has no more inputs than outputs.

    Parameters and result as in `jacfwd`.

    >>> import numpy as np, wengert as wg
    >>> wg.jacobian(lambda x: np.sum(x) * x)(np.array([1.0, 2.0]))
    array([[4., 1.],
           [2., 5.]])
    """
    arguments.check_argnums(argnums)
    return Transformed(_jacobian, function, argnums=argnums, has_aux=has_aux, holomorphic=holomorphic, mode="cheaper")


def _jacobian(function: Any, args: Any, kwargs: Any, argnums: Any, has_aux: bool, holomorphic: bool, mode: str) -> Any:
    args, kwargs, positions = arguments.select(function, args, kwargs, argnums)
    values, parts = arguments.argument_leaves(args, list(dict.fromkeys(positions)))
    _, linear, out_avals, treedef, aux = linear_part(function, args, kwargs, values, parts, has_aux)
    in_avals = [aval_of(value) for value in values]
    linearized = Linearized(linear, in_avals, parts, out_avals, treedef)
    if mode == "cheaper":
        mode = "forward" if _total(in_avals) <= _total(out_avals) else "reverse"
    _check_complex(in_avals, out_avals, holomorphic, mode)
    blocks = _columns(linearized) if mode == "forward" else _rows(linearized)
    rows = [arguments.chosen(argnums, positions, arguments.regroup(parts, row)) for row in blocks]
    result = tree.unflatten(treedef, rows)
    return (result, aux) if has_aux else result


def _check_complex(in_avals: Sequence[Aval], out_avals: Sequence[Aval], holomorphic: bool, mode: str) -> None:
    avals = in_avals if mode == "forward" else (*out_avals, *in_avals)
    if not holomorphic and any(aval.dtype.kind == "c" for aval in avals):
        raise errors.NotDifferentiableError(
            "The Jacobian of a complex function was asked for. In general it takes two real matrices, one complex "
            "number per entry describes it only where the function is holomorphic. Pass holomorphic=True if it is, "
            "or differentiate the real and imaginary parts."
        )


def _total(avals: Sequence[Aval]) -> int:
    return sum(aval.size for aval in avals)


def _basis(avals: Sequence[Aval]) -> list[Any]:
    """The standard basis of the space of these arrays: a leading axis as long as the total size."""
    total = _total(avals)
    found = []
    start = 0
    for aval in avals:
        unit = np.zeros((total, aval.size), aval.dtype)
        unit[np.arange(start, start + aval.size), np.arange(aval.size)] = 1
        found.append(unit.reshape(total, *aval.shape))
        start += aval.size
    return found


def _columns(linearized: Linearized) -> list[list[Any]]:
    """Blocks [output][input] by pushing every basis vector of the inputs forward."""

    def push(leaves: list[Any]) -> list[Any]:
        return linearized.push(leaves)

    columns = vmap(push, out_axes=-1, axis_size=_total(linearized.in_avals))(_basis(linearized.in_avals))
    blocks = []
    for column, out_aval in zip(columns, linearized.out_avals, strict=True):
        row = []
        start = 0
        for aval in linearized.in_avals:
            part = column[..., start : start + aval.size]
            row.append(_block(part, out_aval, aval))
            start += aval.size
        blocks.append(row)
    return blocks


def _rows(linearized: Linearized) -> list[list[Any]]:
    """Blocks [output][input] by pulling every basis vector of the outputs back."""

    def pull(leaves: list[Any]) -> list[Any]:
        return linearized.pull(leaves)

    rows = vmap(pull, axis_size=_total(linearized.out_avals))(_basis(linearized.out_avals))
    blocks = []
    start = 0
    for out_aval in linearized.out_avals:
        blocks.append(
            [
                _block(row[start : start + out_aval.size], out_aval, aval)
                for row, aval in zip(rows, linearized.in_avals, strict=True)
            ]
        )
        start += out_aval.size
    return blocks


def _block(values: Any, out_aval: Aval, in_aval: Aval) -> Any:
    """One block of a Jacobian in its shape; a scalar where result and argument are scalars."""
    block = arguments.owned(np.reshape(values, (*out_aval.shape, *in_aval.shape)))
    return block[()] if out_aval.scalar and in_aval.scalar and type(block) is np.ndarray else block


def hessian(function: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Any:
    """The matrix of second derivatives of a function that returns one real number (forward over reverse).

    For an argument of shape s the result has shape s + s; for containers, the container of the rows holds containers of
    the columns; with `argnums` a tuple, a tuple of tuples. With `has_aux=True`: (hessian, aux).

    Source: A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, §5.1.

    >>> import numpy as np, wengert as wg
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return jacfwd(grad(function, argnums, has_aux), argnums, has_aux)


def hvp(function: Callable[..., Any], primals: Any, tangents: Any, argnums: Any = 0) -> Any:
    """The Hessian of a function times a vector, without forming the Hessian: H v.

    It is the derivative of the gradient (with respect to `argnums`) in the direction `tangents`, and costs a small
    multiple of one gradient. `primals` and `tangents` are tuples, as for `jvp`.

    Source: B. A. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6(1), 1994.

    >>> import numpy as np, wengert as wg
    >>> wg.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    return jvp(grad(function, argnums), primals, tangents)[1]


def derivative(function: Callable[..., Any], argnum: int = 0) -> Any:
    """The derivative of a function of numbers, applied to arrays element by element: f′, with f′(x) of x's shape.

    Raises StructureError where the result has another shape, or where elements influence each other, which is found by
    comparing two directional derivatives.

    >>> import numpy as np, wengert as wg
    >>> wg.derivative(np.sin)(np.array([0.0, np.pi]))
    array([ 1., -1.])
    >>> wg.derivative(wg.derivative(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    arguments.check_argnums(argnum)
    return Transformed(_derivative, function, argnum=argnum)


elementwise_grad = derivative


def _derivative(function: Any, args: Any, kwargs: Any, argnum: int) -> Any:
    args, kwargs, positions = arguments.select(function, args, kwargs, argnum)
    values, parts = arguments.argument_leaves(args, positions)
    _, linear, out_avals, treedef, _ = linear_part(function, args, kwargs, values, parts, False)
    in_avals = [aval_of(value) for value in values]
    if len(in_avals) != 1 or len(out_avals) != 1 or in_avals[0].shape != out_avals[0].shape:
        raise errors.StructureError(
            f"derivative expects one array in and one of the same shape out; it found {[a.shape for a in in_avals]} "
            f"in and {[a.shape for a in out_avals]} out. It is for functions of numbers, applied element by element. "
            "Use wengert.jacobian for other functions."
        )
    linearized = Linearized(linear, in_avals, parts, out_avals, treedef)
    (aval,) = in_avals
    (slope,) = linearized.push([np.ones(aval.shape, aval.dtype)])
    is_complex = aval.dtype.kind == "c"
    if aval.size > 1 or is_complex:
        rng = np.random.default_rng(0)
        probe = rng.uniform(1.0, 2.0, aval.shape) + (1j * rng.uniform(1.0, 2.0, aval.shape) if is_complex else 0.0)
        probe = np.asarray(probe, aval.dtype)
        (probed,) = linearized.push([probe])
        if not _close(probed, slope * probe):
            raise errors.StructureError(
                "derivative was applied to a function in which one element's result depends on another element, or "
                "that is complex and not holomorphic. There is then a matrix of derivatives, not one per element. Use "
                "wengert.jacobian, on real and imaginary parts where the values are complex."
            )
    return np.array(slope) if not aval.shape and not aval.scalar and not core.is_traced(slope) else slope


def _close(one: Any, other: Any) -> bool:
    """Whether two arrays agree to rounding; True where they are batched and cannot be compared."""
    if any(_is_abstract(x) for x in (one, other)):
        return True
    one, other = core.concrete(one), core.concrete(other)
    tolerance = 1e4 * float(np.finfo(one.dtype).eps)
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
        return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * size, equal_nan=True))


def _is_abstract(x: Any) -> bool:
    while type(x) in core.TRACED:
        if type(x) is core.Batch or x._value is None:
            return True
        x = x._value
    return False
