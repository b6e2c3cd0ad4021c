"""Mapping over an axis: `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.batch import BatchTrace
from wengert.core import Batch, aval_of, new_traced
from wengert.ops.vector import broadcast_to
from wengert.transforms import arguments
from wengert.transforms.arguments import Transformed


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None) -> Any:
    """A function that maps `function` over an axis of its arguments, computing all members at once.

    The function sees arguments without that axis. `in_axes` says which axis of each argument it is: an integer for
    all, or a tuple with an integer, None (not mapped) or a container of them per argument; keyword arguments are
    mapped over axis 0. `out_axes` says where the axis goes in the results. `axis_size` is needed only where no argument
    is mapped.

    Returns a function whose results are stacked: `vmap(f)(xs)[i]` equals `f(xs[i])` to rounding. Random draws and other
    operations that see no traced array happen once, not once per member. A branch on a member's value raises.

    Raises StructureError (a ValueError) where sizes differ or an axis does not exist.

    >>> import numpy as np, wengert as wg
    >>> wg.vmap(np.dot)(np.ones((3, 2)), np.full((3, 2), 2.0))
    array([4., 4., 4.])
    """
    return Transformed(_vmap, function, in_axes=in_axes, out_axes=out_axes, axis_size=axis_size)


def _vmap(function: Any, args: Any, kwargs: Any, in_axes: Any, out_axes: Any, axis_size: int | None) -> Any:
    leaves, treedef = tree.flatten((args, kwargs))
    axes = _broadcast_axes(in_axes, args) + [0] * len(tree.flatten(kwargs)[0])
    leaves = [leaf if axis is None else core.as_operand(leaf) for leaf, axis in zip(leaves, axes, strict=True)]
    size = _common_size(leaves, axes, axis_size)
    trace = BatchTrace(size)
    batched = [leaf if axis is None else _batched(leaf, axis, trace) for leaf, axis in zip(leaves, axes, strict=True)]
    new_args, new_kwargs = tree.unflatten(treedef, batched)
    try:
        result = arguments.call(function, new_args, new_kwargs)
        out, out_tree = arguments.result_leaves(result, trace)
    finally:
        trace.close()
    places = _prefix_axes(out_axes, result, "out_axes")
    taken: set[int] = {id(leaf) for leaf in leaves}
    stacked = [arguments.owned(_unbatched(leaf, axis, trace), taken) for leaf, axis in zip(out, places, strict=True)]
    return tree.unflatten(out_tree, stacked)


def _batched(leaf: Any, axis: int, trace: BatchTrace) -> Any:
    core.check_not_newer(leaf, trace)
    value = np.moveaxis(leaf, axis, 0) if axis else leaf
    if type(value) in core.TRACED:
        value = core.snapshot(value)
    elif type(leaf) is np.ndarray:
        value = np.array(value)  # the caller may change the array while the function runs
    return new_traced(Batch, trace, value, True)


def _unbatched(leaf: Any, axis: Any, trace: BatchTrace) -> Any:
    if type(leaf) is Batch and leaf._trace is trace:
        if axis is None:
            raise errors.StructureError(
                "out_axes is None for a result that differs from one member of the batch to the next. There is no "
                "single value to return. Give the axis along which to stack, such as out_axes=0."
            )
        return np.moveaxis(leaf._value, 0, axis) if axis else leaf._value
    if axis is None:
        return leaf.copy() if type(leaf) is np.ndarray else leaf  # a captured array, or the caller's
    shape = aval_of(leaf).shape
    return np.moveaxis(np.copy(broadcast_to(leaf, shape=(trace.size, *shape))), 0, axis)


def _broadcast_axes(in_axes: Any, args: tuple[Any, ...]) -> list[Any]:
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise errors.StructureError(
            f"in_axes has {len(in_axes)} entries, but the function was called with {len(args)} positional arguments. "
            "It gives the mapped axis of each. Give one entry per argument, or a single integer for all."
        )
    found = []
    for position, arg in enumerate(args):
        found += _prefix_axes(in_axes[position] if isinstance(in_axes, tuple) else in_axes, arg, "in_axes")
    return found


def _prefix_axes(axes: Any, container: Any, name: str) -> list[Any]:
    """One axis per leaf of `container`: `axes` is a single entry, or a container of entries."""
    try:
        found = tree.beside(container, axes, _is_axis)
    except errors.StructureError:
        found = [axes]
    if not all(map(_is_axis, found)):
        raise errors.StructureError(
            f"{name}={axes!r} does not fit the structure {tree.describe(tree.flatten(container)[1])}. An entry is an "
            "integer, None, or a container with the same keys and lengths. Give one integer for all, or one entry per "
            "array."
        )
    return found


def _is_axis(entry: Any) -> bool:
    return entry is None or (hasattr(type(entry), "__index__") and not isinstance(entry, bool))


def _common_size(leaves: list[Any], axes: list[Any], axis_size: int | None) -> int:
    sizes = {}
    for leaf, axis in zip(leaves, axes, strict=True):
        if axis is None:
            continue
        shape = aval_of(leaf).shape
        if not -len(shape) <= axis < len(shape):
            raise errors.StructureError(
                f"vmap was asked to map over axis {axis} of an array of shape {shape}, which has no such axis. Every "
                "mapped argument needs it. Use in_axes=None for arguments that are the same for all members."
            )
        sizes[shape[axis]] = shape
    if axis_size is not None:
        sizes[axis_size] = ()
    if len(sizes) > 1:
        raise errors.StructureError(
            f"vmap found different lengths {sorted(sizes)} along the mapped axes. All members are computed together. "
            "Give arrays of one length, or in_axes=None for those that are not mapped."
        )
    if not sizes:
        raise errors.StructureError(
            "vmap has nothing to map over: every entry of in_axes is None, or there is no argument. The length of "
            "the batch is then unknown. Map at least one argument, or give axis_size."
        )
    return int(next(iter(sizes)))
