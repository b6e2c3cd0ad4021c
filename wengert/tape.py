"""The face of `Variable`: the eager, PyTorch-like way to use the reverse graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.avals import is_differentiable
from wengert.core import CONSTRUCTORS, TRACED, Variable, aval_of, new_traced, no_grad_depth
from wengert.graph import Hooks, Leaf, Node, ReverseTrace, sweep
from wengert.ops.vector import fit_dtype
from wengert.transforms.arguments import as_argument, owned

EAGER: Final = ReverseTrace(-2_000_000)  # the one trace of all hand-made Variables: older than any transform


def make_variable(data: Any, requires_grad: bool = True) -> Variable:
    """An array that records what is done to it, for `backward` to differentiate.

    `data` is a number or an array of any shape, floating or complex where `requires_grad`; it is copied. NumPy
    functions, operators, indexing and in-place assignment apply to Variables as to arrays.

    >>> import numpy as np, wengert as wg
    >>> x = wg.Variable([1.0, 2.0])
    >>> np.sum(x**2).backward()
    >>> x.grad
    array([2., 4.])
    """
    if type(data) in TRACED:
        raise TypeError(
            f"A Variable was made from a {type(data).__name__}. Hand-made Variables count as the oldest of all, so "
            "one cannot hold a value that is itself being differentiated. Use x.detach() or x.data for a fresh "
            "start, or the value as it is."
        )
    value = core.as_operand(data)
    value = np.array(value) if type(value) is np.ndarray else value
    if core.contains_traced(value) or type(value) in TRACED:
        raise TypeError("A Variable was made from a sequence of traced arrays. Stack them with np.stack instead.")
    aval = aval_of(value)
    if requires_grad and not is_differentiable(aval.dtype):
        raise errors.NotDifferentiableError(
            f"A Variable that requires a gradient was made of dtype {aval.dtype}. A derivative is a limit, and "
            "integers do not take small steps. Use floats, as in Variable(2.0), or requires_grad=False."
        )
    return new_traced(Variable, EAGER, value, Leaf(aval, False) if requires_grad else None)  # type: ignore[no-any-return]


CONSTRUCTORS[Variable] = make_variable


class no_grad(ContextDecorator):
    """A block, or a decorated function, in which Variables record nothing.

    It concerns Variables only; `jvp`, `vmap` and `trace` are unaffected, and `grad` and `vjp` ignore one around them
    and respect one inside the function. It must not be held across a `yield`.

    >>> import wengert as wg
    >>> w = wg.Variable(1.0)
    >>> with wg.no_grad():
    ...     w -= 0.1
    """

    def __enter__(self) -> no_grad:
        no_grad_depth.set(no_grad_depth.get() + 1)
        return self

    def __exit__(self, *_: Any) -> None:
        no_grad_depth.set(max(no_grad_depth.get() - 1, 0))


def _current(self: Variable) -> Variable:
    if self._link is not None:
        core.refresh(self)
    return self


def _data(self: Variable) -> Any:
    """The value, as a plain array or number.

    That of a leaf may be changed in place or assigned (as an optimiser does); a pullback that still needs the old value
    has its own copy, or raises ChangedArrayError. That of a result is read-only.
    """
    _refuse_inside_transforms(self)
    value = _current(self)._value
    if type(value) is not np.ndarray:
        return value
    if type(self._info) is Leaf or self._info is None:
        if type(self._info) is Leaf and not self._info.exposed:
            self._value = value = np.array(value)  # earlier residuals keep the array that nobody else can reach
            self._info.exposed = True
        elif self._info is None:
            value = np.array(value)
        return value
    value = value.view()
    value.flags.writeable = False
    return value


def _refuse_inside_transforms(self: Variable) -> None:
    if self._trace is not EAGER:
        raise errors.conversion(
            ".data", "Use x itself, or wengert.stop_gradient(x) where its value is meant as a constant."
        )


def _set_data(self: Variable, data: Any) -> None:
    if type(data) in TRACED:
        raise errors.write_into_plain("Assigning to .data")
    _refuse_inside_transforms(self)
    if self._info is not None and type(self._info) is not Leaf:
        raise errors.ArgumentError(
            ".data of a result was assigned. The graph knows how this value was computed, so its gradients would "
            "belong to another one. Assign to the leaves, or make a new Variable."
        )
    old = self.aval
    new = np.array(core.as_operand(data))
    if new.shape != old.shape:
        raise errors.StructureError(
            f".data of shape {old.shape} was assigned an array of shape {new.shape}. Gradients already recorded "
            "belong to the old shape. Make a new Variable instead."
        )
    self._value = new.astype(old.dtype) if new.shape or not old.scalar else old.dtype.type(new)
    if type(self._info) is Leaf:
        self._info.exposed = False


def _grad(self: Variable) -> Any:
    """The gradient that `backward` accumulated, in the shape of the data; None before."""
    holder = self._info if type(self._info) is Leaf else getattr(self._info, "hooks", None)
    return None if holder is None else holder.grad


def _set_grad(self: Variable, gradient: Any) -> None:
    node: Any = self._info
    if type(node) is not Leaf:
        raise errors.ArgumentError(
            "Assigning .grad of a Variable that is not a differentiated leaf has no effect on any sweep. Only leaves "
            "accumulate gradients. Assign to the .grad of the Variables that you made."
        )
    shape = aval_of(self).shape
    if gradient is not None and aval_of(core.as_operand(gradient)).shape != shape:
        raise errors.StructureError(
            f".grad of a Variable of shape {shape} was assigned an array of shape {np.shape(gradient)}. A gradient "
            "has the shape of its Variable. Reshape it first."
        )
    node.grad = gradient


def _requires_grad(self: Variable) -> bool:
    """Whether a gradient flows to this Variable."""
    return _current(self)._info is not None


def _is_leaf(self: Variable) -> bool:
    """Whether it was made by hand, rather than computed from others."""
    node = _current(self)._info
    return node is None or type(node) is Leaf


def _eager(self: Variable, what: str) -> Variable:
    if self._trace is not EAGER:
        raise errors.ArgumentError(
            f"{what} was called on a Variable that belongs to a transform. Inside grad and vjp the transform itself "
            "runs the backward sweep. Return the value, or use wengert.grad inside the function."
        )
    return _current(self)


def backward(
    self: Variable, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Pull a cotangent back to the leaves, and add what arrives to their `.grad`.

    `gradient` is the cotangent of this Variable, in its shape; it may be left out for a single number (then 1). The
    graph's residuals are released unless `retain_graph` (default: `create_graph`). With `create_graph` the gradients
    are Variables that can be differentiated again; they make a reference cycle through `.grad`, which `zero_grads`
    breaks.

    Complex gradients are ∂f/∂Re x + i ∂f/∂Im x, as in `wengert.grad`.

    Raises NotDifferentiableError for an array without `gradient` or a Variable that requires none, FreedGraphError on
    a second sweep.
    """
    _eager(self, "backward()")
    node = self._info
    aval = self.aval
    if node is None:
        raise errors.NotDifferentiableError(
            "backward() was called on a Variable that requires no gradient: nothing it was computed from has "
            "requires_grad=True, or it was computed under no_grad(). There is nothing to pull back to. Make the "
            "inputs with wengert.Variable(data)."
        )
    if gradient is None:
        if aval.shape or aval.dtype.kind == "c":
            raise errors.NotDifferentiableError(
                f"backward() was called on a Variable of shape {aval.shape} and dtype {aval.dtype} without a "
                "gradient. Only a single real number has an obvious one, 1. Reduce it with np.sum, or pass "
                "gradient=, an array of the same shape."
            )
        ct = aval.dtype.type(1)
    else:
        ct = _cotangent(gradient, aval)
    retain_graph = create_graph if retain_graph is None else retain_graph
    found = sweep([(node, ct)], release=not retain_graph, create_graph=create_graph, trace=EAGER)
    taken = {id(ct)}
    for leaf, bar in found.items():
        bar = fit_dtype(bar, leaf.aval)  # type: ignore[arg-type]
        if leaf.aval.dtype.kind == "c":  # type: ignore[union-attr]
            bar = np.conjugate(bar)
        if leaf.grad is not None:  # type: ignore[attr-defined]
            bar = leaf.grad + bar  # type: ignore[attr-defined]
        leaf.grad = as_argument(owned(bar, taken), leaf.aval)  # type: ignore[attr-defined,arg-type]


def _cotangent(gradient: Any, aval: Any) -> Any:
    gradient = core.as_operand(gradient)
    found = aval_of(gradient)
    if found.shape != aval.shape:
        raise errors.StructureError(
            f"backward() was given a gradient of shape {found.shape} for a Variable of shape {aval.shape}. Nothing is "
            "broadcast here, since that would hide mistakes. Give it the Variable's shape."
        )
    if found.dtype.kind == "c" and aval.dtype.kind != "c":
        raise errors.NotDifferentiableError(
            f"backward() was given a gradient of dtype {found.dtype} for a Variable of dtype {aval.dtype}. A real "
            "value has real derivatives. Give it the Variable's dtype."
        )
    if aval.dtype.kind == "c":
        gradient = np.conjugate(gradient)
    return fit_dtype(gradient, aval)


def zero_grad(self: Variable) -> None:
    """Forget the accumulated gradient."""
    holder = self._info if type(self._info) is Leaf else getattr(self._info, "hooks", None)
    if holder is not None:
        holder.grad = None


def detach(self: Variable) -> Variable:
    """A Variable of the same value that requires no gradient; it shares no memory with this one."""
    value = _current(self)._value
    return new_traced(Variable, self._trace, np.copy(value) if type(value) is np.ndarray else value, None)  # type: ignore[no-any-return]


class Hook:
    """What `register_hook` returns: `remove()` takes the hook off again."""

    def __init__(self, hooks: Hooks, function: Callable[[Any], Any]) -> None:
        self._hooks: Hooks | None = hooks
        self._function = function
        hooks.functions.append(function)

    def remove(self) -> None:
        """Take the hook off; harmless the second time."""
        if self._hooks is not None:
            self._hooks.functions.remove(self._function)
            self._hooks = None


def _hooks(node: Node) -> Hooks:
    """The hooks of a node of the eager graph, which are kept in the node so that they die with it."""
    hooks = getattr(node, "hooks", None)
    if hooks is None:
        hooks = node.hooks = Hooks()
        EAGER.hooked = True
    return hooks


def register_hook(self: Variable, function: Callable[[Any], Any]) -> Hook:
    """Call `function(gradient)` whenever a sweep has the gradient of this Variable complete.

    What it returns replaces the gradient, unless None; it must have the same shape and dtype.
    """
    node = _eager(self, "register_hook()")._info
    if node is None:
        raise errors.NotDifferentiableError(
            "A hook was hung on a Variable that requires no gradient. No sweep would ever call it. Make the Variable "
            "with requires_grad=True."
        )
    return Hook(_hooks(node), function)


def retain_grad(self: Variable) -> None:
    """Keep the gradient of this result in its `.grad`, as for leaves, after all hooks."""
    node = _eager(self, "retain_grad()")._info
    if type(node) is not Leaf and node is not None:
        _hooks(node).retain = True


for _function in (backward, zero_grad, detach, register_hook, retain_grad):
    setattr(Variable, _function.__name__, _function)
Variable.data = property(_data, _set_data, doc=_data.__doc__)
Variable.grad = property(_grad, _set_grad, doc=_grad.__doc__)
Variable.requires_grad = property(_requires_grad, doc=_requires_grad.__doc__)
Variable.is_leaf = property(_is_leaf, doc=_is_leaf.__doc__)


# ------------------------------------------------------------------------------------------------ many Variables


def parameters(*objects: Any) -> list[Variable]:
    """The leaf Variables that require gradients in these objects, each once, in order of appearance.

    Looks into lists, tuples, dicts, dataclasses and the attributes of other objects.

    >>> import wengert as wg
    >>> a, b = wg.Variable(1.0), wg.Variable(2.0)
    >>> len(wg.parameters({"a": a, "rest": [b, a]}))
    2
    """
    found: list[Variable] = []
    seen: dict[int, Any] = {}  # holds the objects, so that their ids stay their own
    stack: list[Any] = list(reversed(objects))
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if type(item) is Variable:
            if type(item._info) is Leaf and item._trace is EAGER:
                found.append(item)
        else:
            stack.extend(reversed(_members(item)))
    return found


def _members(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    if isinstance(item, type) or (callable(item) and not hasattr(item, "__dict__")):
        return []
    if dataclasses.is_dataclass(item):
        return [getattr(item, field.name) for field in dataclasses.fields(item)]
    if isinstance(item, Iterable) and not isinstance(item, str | bytes | np.ndarray) and iter(item) is item:
        return list(item)  # a generator, as in parameters(v for v in …)
    return list(getattr(item, "__dict__", {}).values())


def zero_grads(*objects: Any) -> None:
    """Forget the gradients of all Variables in these objects (see `parameters`)."""
    for variable in parameters(*objects):
        zero_grad(variable)


def clip_grad_norm(objects: Any, max_norm: float, ord: float = 2.0) -> np.float64:
    """Scale the gradients of Variables together so that their joint norm is at most `max_norm`; return the norm before.

    `objects` is anything that `parameters` takes; `ord` is the order of the norm (np.inf for the largest element).
    Variables without a gradient are passed over. Source: R. Pascanu, T. Mikolov, Y. Bengio, On the difficulty of
    training recurrent neural networks, ICML 2013, §3.2.

    Raises ArgumentError for a `max_norm` that is not a number ≥ 0, NotDifferentiableError where the norm is not finite.

    >>> import numpy as np, wengert as wg
    >>> x = wg.Variable(0.0); x.grad = 10.0
    >>> float(wg.clip_grad_norm([x], 1.0)), float(x.grad)
    (10.0, 1.0)
    """
    if not max_norm >= 0:
        raise errors.ArgumentError(
            f"max_norm={max_norm!r} is not a bound on a norm. Norms are numbers ≥ 0. Give a positive number."
        )
    variables = [v for v in parameters(objects) if _grad(v) is not None]
    norms = [np.linalg.norm(np.ravel(core.concrete(_grad(v))), ord) for v in variables]
    total = np.float64(np.linalg.norm(np.array(norms, dtype=np.float64), ord)) if norms else np.float64(0.0)
    if not np.isfinite(total):
        raise errors.NotDifferentiableError(
            f"clip_grad_norm found a joint norm of {total}. Scaling would turn all gradients into NaN or 0. Look for "
            "the operation that overflowed, or skip this step."
        )
    if total > max_norm:
        factor = float(max_norm / total)
        for variable in variables:
            variable._info.grad = _grad(variable) * factor
    return total
