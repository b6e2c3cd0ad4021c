"""What the transforms share: taking arguments apart, checking them, and handing results back."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval, is_differentiable
from wengert.core import PLAIN, TRACED, Trace, aval_of
from wengert.core import owned as owned
from wengert.ops.vector import fit_dtype


class Transformed:
    """A transformed function: callable, documented like the original, usable as a method, and picklable when it is."""

    def __init__(self, apply: Callable[..., Any], function: Callable[..., Any], **options: Any) -> None:
        if not callable(function):
            raise errors.ArgumentError(
                f"{apply.__name__.strip('_')} was given {function!r}, which is not callable. It transforms a function "
                "and returns a new one. Call it as grad(f)(x), not grad(f(x))."
            )
        functools.update_wrapper(self, function, updated=())
        self.apply = apply
        self.function = function
        self.options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply(self.function, args, kwargs, **self.options)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        options = "".join(f", {k}={v!r}" for k, v in self.options.items() if v not in (0, False, None))
        inner = self.function
        name = repr(inner) if isinstance(inner, Transformed) else getattr(inner, "__name__", inner)
        return f"{self.apply.__name__.strip('_')}({name}{options})"

    def __reduce__(self) -> Any:
        return _rebuild, (self.apply, self.function, self.options)


def _rebuild(apply: Any, function: Any, options: Any) -> Transformed:
    return Transformed(apply, function, **options)


# ------------------------------------------------------------------------------------------------------ arguments


def check_argnums(argnums: Any) -> None:
    """Raise unless `argnums` is an integer or a non-empty sequence of them."""
    for position in argnums if isinstance(argnums, tuple | list) else (argnums,):
        if isinstance(position, bool) or not hasattr(type(position), "__index__"):
            raise errors.ArgumentError(
                f"argnums={argnums!r} is not a position. It says which positional arguments to differentiate. Give an "
                "integer, or a tuple of integers, such as argnums=0 or argnums=(0, 2)."
            )
    if isinstance(argnums, tuple | list) and not argnums:
        raise errors.ArgumentError(
            "argnums is empty. Nothing would be differentiated. Give the positions of the arguments to differentiate."
        )


def select(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Any) -> tuple[Any, ...]:
    """Positional arguments, keywords and the positions that `argnums` means for this call.

    A differentiated argument that was passed by keyword is moved to its position.
    """
    positions = [operator.index(p) for p in (argnums if isinstance(argnums, tuple | list) else (argnums,))]
    if kwargs and any(position >= len(args) for position in positions):
        args, kwargs = _by_position(function, args, kwargs)
    count = len(args)
    for position in positions:
        if not -count <= position < count:
            raise errors.ArgumentError(
                f"argnums={argnums!r} names position {position}, but the function was called with {count} positional "
                f"argument{'s' if count != 1 else ''}. Only positional arguments can be differentiated. Pass the "
                "argument by position, or correct argnums."
            )
    return args, kwargs, [position % count for position in positions]


def _by_position(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return args, kwargs
    return bound.args, bound.kwargs


def argument_leaves(args: Sequence[Any], positions: Sequence[int]) -> tuple[list[Any], list[tuple[int, Any, int]]]:
    """The leaves of the arguments at `positions`, and for each its position, structure and number of leaves.

    Every leaf must be differentiable; the error names the one that is not.
    """
    leaves: list[Any] = []
    parts = []
    for position in positions:
        found, treedef = tree.flatten(args[position])
        for k, leaf in enumerate(found):
            found[k] = differentiable_leaf(leaf, args[position], position, k)
        leaves += found
        parts.append((position, treedef, len(found)))
    return leaves, parts


def differentiable_leaf(leaf: Any, argument: Any, position: int, k: int) -> Any:
    kind = type(leaf)
    if kind not in TRACED and kind not in PLAIN:
        try:
            leaf = core.as_operand(leaf)
        except (TypeError, ValueError):
            what = f"{kind.__name__} of dtype {leaf.dtype}" if isinstance(leaf, np.ndarray) else kind.__name__
            raise _not_differentiable(f"a leaf of type {what}", argument, position, k) from None
    dtype = aval_of(leaf).dtype
    if not is_differentiable(dtype):
        raise _not_differentiable(f"dtype {dtype}", argument, position, k)
    return leaf


def _not_differentiable(what: str, argument: Any, position: int, k: int) -> errors.NotDifferentiableError:
    path = tree.leaf_paths(argument)[k]
    return errors.NotDifferentiableError(
        f"Argument {position}{path} has {what}. A derivative is a limit, and only floating-point and complex values "
        "can move by small steps. Pass a float (2.0 rather than 2, x.astype(float)), or leave the argument out of "
        "argnums and out of the differentiated container."
    )


def rebuild(args: Sequence[Any], parts: Sequence[tuple[int, Any, int]], leaves: Sequence[Any]) -> list[Any]:
    """The arguments with new leaves in the differentiated ones."""
    new_args = list(args)
    start = 0
    for position, treedef, count in parts:
        new_args[position] = tree.unflatten(treedef, leaves[start : start + count])
        start += count
    return new_args


def regroup(parts: Sequence[tuple[int, Any, int]], leaves: Sequence[Any]) -> list[Any]:
    """One container per differentiated argument, from leaves in order."""
    groups = []
    start = 0
    for _, treedef, count in parts:
        groups.append(tree.unflatten(treedef, leaves[start : start + count]))
        start += count
    return groups


def call(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call the user's function.

    NumPy hides what a traced array says to `plain[0] = x` behind "setting an array element with a sequence", and C
    code of others behind a SystemError; bring it to the front, where the user is.
    """
    try:
        return function(*args, **kwargs)
    except (ValueError, SystemError) as error:
        ours = error.__cause__
        if not isinstance(ours, errors.WengertError):
            raise
        error.__cause__ = error.__context__ = None  # and no name in this frame: cycles would keep the graph alive
        try:
            raise ours.with_traceback(error.__traceback__) from None
        finally:
            del ours


def chosen(argnums: Any, positions: Sequence[int], groups: Sequence[Any]) -> Any:
    """What `argnums` asks for, one or a tuple, from a group per distinct position; what is named twice is copied."""
    by_position = dict(zip(dict.fromkeys(positions), groups, strict=True))
    if not isinstance(argnums, tuple | list):
        return by_position[positions[0]]
    again = {k for k, position in enumerate(positions) if position in positions[:k]}
    return tuple(
        tree.map_leaves(_copied, by_position[p]) if k in again else by_position[p] for k, p in enumerate(positions)
    )


def _copied(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


# -------------------------------------------------------------------------------------------------------- results


def result_leaves(result: Any, trace: Trace) -> tuple[list[Any], Any]:
    """The leaves of what the function returned, each an array or a number that `trace` may hand out."""
    leaves, treedef = tree.flatten(result)
    for k, leaf in enumerate(leaves):
        kind = type(leaf)
        if kind not in TRACED and kind not in PLAIN:
            try:
                leaf = core.as_operand(leaf)
            except (TypeError, ValueError):
                path = tree.leaf_paths(result)[k]
                raise errors.NotDifferentiableError(
                    f"The differentiated function returned a {kind.__name__}{' at ' + path if path else ''}. Results "
                    "are arrays, numbers, or containers of them; a derivative of anything else has no meaning, and a "
                    "function that closes over a traced value would silently lose it. Return arrays, or other values "
                    "with has_aux=True."
                ) from None
        if type(leaf) in TRACED and leaf._link is not None:
            core.refresh(leaf)
        core.check_not_newer(leaf, trace)
        leaves[k] = leaf
    return leaves, treedef


def split_aux(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise errors.ArgumentError(
            f"With has_aux=True the function must return a pair (value, aux); it returned {_kind_name(result)}. The "
            "second part is handed back undifferentiated. Return a tuple of two, or drop has_aux."
        )
    return result


def unwrap_aux(aux: Any, trace: Trace) -> Any:
    """Auxiliary results with `trace` taken off; leaves that are not arrays pass through."""

    def unwrap(leaf: Any) -> Any:
        if type(leaf) in TRACED:
            if leaf._link is not None:
                core.refresh(leaf)
            core.check_not_newer(leaf, trace)
            if leaf._trace is trace:
                leaf = leaf._value
        return np.array(leaf) if type(leaf) is np.ndarray else leaf

    return tree.map_leaves(unwrap, aux)


def scalar_result(result: Any, name: str) -> Any:
    """Raise unless a result is one real floating-point number, as a gradient needs."""
    kind = type(result)
    what = ""
    if kind not in TRACED and kind not in PLAIN and not isinstance(result, np.ndarray):
        what = f"returned {_kind_name(result)}"
    else:
        aval = aval_of(result)
        if aval.shape:
            what = f"returned an array of shape {aval.shape}"
        elif aval.dtype.kind != "f":
            what = f"returned a value of dtype {aval.dtype}"
    if what:
        raise errors.NotDifferentiableError(
            f"{name} needs a function that returns one real number, but this one {what}. A gradient collects the "
            "derivatives of a single number. Use wengert.jacobian for arrays, wengert.vjp for a chosen combination, "
            "or reduce the result with np.sum or np.mean."
        )
    return result


def _kind_name(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def as_argument(value: Any, aval: Aval) -> Any:
    """A derivative in the shape and dtype of its argument: NumPy scalars for scalars, arrays for 0-d arrays."""
    value = fit_dtype(value, aval)
    if aval.shape or aval_of(value).scalar == aval.scalar:
        return value
    return value[()] if aval.scalar else np.copy(value)


def zeros_for(aval: Aval) -> Any:
    return aval.dtype.type(0) if aval.scalar else np.zeros(aval.shape, aval.dtype)


def matched(treedef: Any, given: Any, avals: Sequence[Aval], what: str, like: str) -> list[Any]:
    """The leaves of tangents or cotangents, checked against what they belong to and cast to its dtype."""
    leaves = tree.flatten_like(treedef, given, what)
    fitted = []
    for k, (leaf, aval) in enumerate(zip(leaves, avals, strict=True)):
        leaf = core.as_operand(leaf)
        found = aval_of(leaf)
        if found.shape != aval.shape:
            path = tree.leaf_paths(given)[k]
            raise errors.StructureError(
                f"One of the {what}{path} has shape {found.shape}, but its {like} has shape {aval.shape}. Nothing is "
                f"broadcast here, since that would hide mistakes. Give it the shape of the {like}."
            )
        if found.dtype.kind not in "fciub" or (found.dtype.kind == "c" and aval.dtype.kind != "c"):
            raise errors.NotDifferentiableError(
                f"One of the {what} has dtype {found.dtype}, but its {like} has dtype {aval.dtype}. A real value has "
                f"real derivatives. Give it the dtype of the {like}."
            )
        fitted.append(fit_dtype(leaf, aval))
    return fitted
