"""Linear maps: the `Linear` kind, and the vector-space operations that every derivative uses.

`scale`, `sum_to`, `broadcast_to`, `cast`, `real` are all that transforms ever name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from wengert import errors
from wengert.avals import Aval, Shape, match_scalar, result_dtype
from wengert.core import OUT, TRACED, Primitive, aval_of, bind, register
from wengert.residuals import read


def positional(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's positional parameters: how a rule declares what it reads."""
    if isinstance(function, RulesByName):
        return function.slots
    if isinstance(function, np.ufunc):
        return ("x", "y", "z")[: function.nin]
    code = function.__code__
    return code.co_varnames[: code.co_argcount]


def resolve_reads(rule: Callable[..., Any], skip: int, slots: Sequence[str], name: str) -> tuple[int, ...]:
    """The slots (or OUT) that a rule reads, from the names of its parameters after the first `skip`."""
    reads = []
    for parameter in positional(rule)[skip:]:
        if parameter == "out":
            reads.append(OUT)
        elif parameter in slots:
            reads.append(slots.index(parameter))
        else:
            raise errors.RuleError(
                f"A rule of {name} reads {parameter!r}. Rules read argument slots ({', '.join(slots)}) or out. Rename "
                "the parameter, or make it keyword-only where it is one of the operation's parameters."
            )
    return tuple(reads)


class RulesByName(Primitive):
    """A primitive whose rules say by their parameters' names which arguments they read."""

    slots: tuple[str, ...]
    reads: tuple[tuple[int, ...], ...]
    examples: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._keeps: dict[tuple[tuple[int, ...], int], tuple[tuple[int, ...], bool]] = {}
        self.short = None  # on the instance: CPython is quicker there than with a default on the class

    def keeps(self, active: tuple[int, ...], arity: int) -> tuple[tuple[int, ...], bool]:
        kept = self._keeps.get((active, arity))
        if kept is None:
            union = {k for slot in active for k in self.reads_of(slot, arity)}
            kept = self._keeps[active, arity] = tuple(sorted(union - {OUT})), OUT in union
        return kept

    def reads_of(self, slot: int, arity: int) -> tuple[int, ...]:
        return self.reads[slot]


BatchRule = Callable[[Primitive, int, Sequence[Any], Sequence[bool], dict[str, Any]], Any]


class Stated(RulesByName):
    """A primitive whose author states its value, its shape rule and how a leading axis is handled."""

    def __init__(
        self,
        name: str,
        value: Any,
        shape: Callable[..., Any],
        batch: BatchRule,
        scalar: bool | Callable[..., bool],
        examples: Sequence[Any],
        tags: str,
    ) -> None:
        super().__init__()
        self.name = name
        self.value = value
        self.shape = shape
        self.batch_rule = batch
        self.scalar = scalar  # whether NumPy gives a scalar for a result without axes; may depend on the params
        self.examples = tuple(examples)
        self.tags = frozenset(tags.split())
        register(self)

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        found = self.shape(*avals, **params)
        scalar = self.gives_scalar(params)
        results = [Aval(tuple(s), dtype, False, not s and scalar) for s, dtype in (found if self.multiple else [found])]
        return tuple(results) if self.multiple else results[0]

    def gives_scalar(self, params: dict[str, Any]) -> bool:
        return self.scalar if isinstance(self.scalar, bool) else self.scalar(**params)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        return self.batch_rule(self, size, args, mapped, params)


class Linear(Stated):
    """A primitive that is linear in the slots that have a transpose.

    value      computes on plain arrays: positional slots, keyword-only params
    shape      (avals…, *, params) → (shape, dtype) of the result
    transpose  per slot, None where not linear: (ct, into, slots read…, *, params) → cotangent of that slot, where
               `into` is its aval
    joint      linear in all its slots together (like add), rather than in each alone (like matmul)
    variadic   takes any number of operands, and `transpose` holds one rule for all: (ct, into, slot, *, params), or
               (ct, into, slot, operands, *, params) where it reads the others, `operands[slot]` being None
    batch      how a leading axis is handled: one of the functions below, or the author's own
    accumulate (buffer, ct, *, params): adds the cotangent to a buffer in place, where that is cheaper

    Pushforward: the operation itself, with the tangent in its slot.
    """

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        *,
        shape: Callable[..., tuple[Shape, np.dtype[Any]]],
        transpose: tuple[Callable[..., Any] | None, ...],
        batch: BatchRule,
        joint: bool = False,
        variadic: bool = False,
        slots: str = "",
        scalar: bool | Callable[..., bool] = True,
        accumulate: Callable[..., None] | None = None,
        examples: Sequence[Any] = (),
        tags: str = "",
    ) -> None:
        super().__init__(name, value, shape, batch, scalar, examples, tags)
        self.transpose = transpose
        self.joint = joint
        self.variadic = variadic
        self.slots = ("operands",) if variadic else tuple(slots.split()) or positional(value)
        skip = 3 if variadic else 2
        self.reads = tuple(() if rule is None else resolve_reads(rule, skip, self.slots, name) for rule in transpose)
        self.accumulate = accumulate

    def reads_of(self, slot: int, arity: int) -> tuple[int, ...]:
        if not self.variadic:
            return self.reads[slot]
        return tuple(k for k in range(arity) if k != slot) if self.reads[0] else ()

    def rule(self, slot: int) -> Callable[..., Any] | None:
        """The transpose in this slot."""
        return self.transpose[0 if self.variadic else slot]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        linear = [k for k, x_dot in enumerate(tangents) if x_dot is not None and self.rule(k) is not None]
        if not linear:
            return None
        if self.joint:
            args = [
                x if self.rule(k) is None else (zeros(aval_of(x)) if tangents[k] is None else tangents[k])
                for k, x in enumerate(primals)
            ]
            return fit(bind(self, *args, **params), aval_of(out))
        total = None
        for k in linear:
            term = bind(self, *(tangents[k] if i == k else x for i, x in enumerate(primals)), **params)
            total = term if total is None else total + term
        return fit(total, aval_of(out))

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        rule = self.rule(slot)
        if rule is None:
            return None
        if into is None:
            into = aval_of(ct)
        if self.variadic:
            operands = ([None if k == slot else read(x) for k, x in enumerate(saved[:-1])],) if self.reads[0] else ()
            return fit_dtype(rule(ct, into, slot, *operands, **params), into)
        return fit_dtype(rule(ct, into, *[read(saved[k]) for k in self.reads[slot]], **params), into)


# ---------------------------------------------------------------------------------------------------- batch rules


def aligned(
    primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    """For operations that broadcast: give all batched arguments the same rank, the batch axis in front."""
    return bind(primitive, *align(args, mapped), **params)


def align(args: Sequence[Any], mapped: Sequence[bool]) -> list[Any]:
    """Insert axes after the batch axes so that broadcasting lines the arguments up."""
    shapes = [aval_of(x).shape for x in args]
    rank = max(len(shape) - is_mapped for shape, is_mapped in zip(shapes, mapped, strict=True))
    aligned_args = []
    for x, shape, is_mapped in zip(args, shapes, mapped, strict=True):
        if is_mapped and len(shape) - 1 < rank:
            x = np.reshape(x, (shape[0], *(1,) * (rank - len(shape) + 1), *shape[1:]))
        aligned_args.append(x)
    return aligned_args


def trailing(
    primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    """For operations whose params count axes from the end, and that take any number of leading axes."""
    return bind(primitive, *materialize(size, args, mapped), **params)


def materialize(size: int, args: Sequence[Any], mapped: Sequence[bool]) -> list[Any]:
    """Give every argument a batch axis in front."""
    return [
        x if is_mapped else broadcast_to(x, shape=(size, *aval_of(x).shape))
        for x, is_mapped in zip(args, mapped, strict=True)
    ]


def looped(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
    """One member at a time: right for every operation, for those that have nothing better."""
    if size == 0:
        avals = [aval_of(x) for x in args]
        avals = [a._replace(shape=a.shape[1:]) if m else a for a, m in zip(avals, mapped, strict=True)]
        outs = primitive.abstract(avals, params)
        empty = [np.zeros((0, *a.shape), a.dtype) for a in (outs if primitive.multiple else (outs,))]
        return tuple(empty) if primitive.multiple else empty[0]
    rows = [
        bind(primitive, *(x[i] if is_mapped else x for x, is_mapped in zip(args, mapped, strict=True)), **params)
        for i in range(size)
    ]
    if primitive.multiple:
        return tuple(np.stack(column) for column in zip(*rows, strict=True))
    return np.stack(rows)


# ----------------------------------------------------------------------------------------- the vector-space itself


def zeros(aval: Aval) -> Any:
    """A zero of this shape and dtype (for reading only: all its elements are one)."""
    return np.broadcast_to(np.zeros((), aval.dtype), aval.shape) if aval.shape else aval.dtype.type(0)


def scale_plain(ct: Any, p: Any) -> Any:
    out = ct * p
    if type(out) is ndarray:
        if out.size == 1:
            item = out.item()
            if item == item:
                return out
        else:
            # NaN where any element is, in one pass. BLAS is quickest while it does not wake its threads, which on
            # a busy machine takes a hundred times as long.
            total = np.vdot(out, out) if out.size < 10_000 else np.add.reduce(out, axis=None)
            if total == total:
                return out
    elif out == out:
        return out
    else:
        out = np.multiply(ct, p)
    masked = np.where(np.isnan(out) & np.equal(ct, 0), np.zeros((), out.dtype), out)  # signs of other zeros stay
    return masked if out.shape else masked[()]


def broadcast_shape(*avals: Aval, **_: Any) -> tuple[Shape, np.dtype[Any]]:
    return np.broadcast_shapes(*(aval.shape for aval in avals)), result_dtype(*avals)


class Scale(Linear):
    """Bilinear, except that the tangent of p meets the strong zero of both factors."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        (ct, p), (ct_dot, p_dot) = primals, tangents
        total = None if ct_dot is None else scale(ct_dot, p)
        if p_dot is not None:
            total = both(ct, p_dot) if total is None else total + both(ct, p_dot)
        return fit(total, aval_of(out))


def _both_value(x: Any, y: Any) -> Any:
    out = np.multiply(x, y)
    masked = np.where(np.isnan(out) & (np.equal(x, 0) | np.equal(y, 0)), np.zeros((), out.dtype), out)
    return masked if out.shape else masked[()]


# x · y between two seeds: an exact 0 of either is strong. It is what the tangent of scale's p is multiplied by.
both: Linear = Linear(
    "both",
    _both_value,
    shape=broadcast_shape,
    transpose=(
        lambda ct, into, y: sum_to(both(ct, y), shape=into.shape),
        lambda ct, into, x: sum_to(both(ct, x), shape=into.shape),
    ),
    batch=aligned,
    examples=[((3, 2), (3, 2)), ((3, 1), (2,)), ((), ())],
    tags="complex",
)


# Strong zero: ct · p, and 0 where ct is exactly 0 even if p is infinite or NaN. Bilinear, with its own derivatives in
# both slots, so that ∂²/∂x² ½ g(x)² = g′² + g·g″ survives where g = 0 (semantics §20). A zero of p is not strong:
# √(x⁴) at 0 stays what the chain rule says.
scale_primitive = Scale(
    "scale",
    scale_plain,
    shape=broadcast_shape,
    transpose=(
        lambda ct_out, into, p: sum_to(scale(ct_out, p), shape=into.shape),
        lambda ct_out, into, ct: sum_to(both(ct, ct_out), shape=into.shape),
    ),
    batch=aligned,
    examples=[((3, 2), (3, 2)), ((3, 1), (2,)), ((), ())],
    tags="complex",
)


def scale(ct: Any, p: Any) -> Any:
    """`ct * p`, and 0 where `ct` is exactly 0."""
    if type(ct) in TRACED or type(p) in TRACED:
        return bind(scale_primitive, ct, p)
    return scale_plain(ct, p)


def _sum_to_value(x: Any, *, shape: Shape) -> Any:
    x_shape = np.shape(x)
    if x_shape == shape:
        return x
    lead = len(x_shape) - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + axis for axis, length in enumerate(shape) if length == 1 and x_shape[lead + axis] != 1
    )
    return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape) if shape else np.add.reduce(x, axis=axes)


def _sum_to_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    shape = params["shape"]
    lead = len(aval_of(args[0]).shape) - 1 - len(shape)
    out = bind(primitive, args[0], shape=(size, *(1,) * lead, *shape))
    return np.reshape(out, (size, *shape)) if lead else out


# Σ over the axes along which `shape` was broadcast: the transpose of broadcast_to.
sum_to_primitive = Linear(
    "sum_to",
    _sum_to_value,
    shape=lambda x, *, shape: (shape, x.dtype),
    transpose=(lambda ct, into, *, shape: broadcast_to(ct, shape=into.shape),),
    batch=_sum_to_batch,
    examples=[((4, 3, 2), {"shape": (3, 1)}), ((3, 2), {"shape": ()}), ((3,), {"shape": (3,)})],
    tags="complex",
)


def sum_to(x: Any, *, shape: Shape) -> Any:
    """Sum `x` over the axes along which `shape` would be broadcast to its shape."""
    return x if aval_of(x).shape == shape else bind(sum_to_primitive, x, shape=shape)


def _broadcast_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    shape = aval_of(args[0]).shape
    x = np.reshape(args[0], (size, *(1,) * (len(params["shape"]) - len(shape) + 1), *shape[1:]))
    return bind(primitive, x, shape=(size, *params["shape"]))


broadcast_primitive = Linear(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    shape=lambda x, *, shape: (shape, x.dtype),
    transpose=(lambda ct, into, *, shape: sum_to(ct, shape=into.shape),),
    batch=_broadcast_batch,
    scalar=False,
    examples=[((3, 1), {"shape": (4, 3, 2)}), ((), {"shape": (2,)}), ((3,), {"shape": (3,)})],
    tags="complex",
)


def broadcast_to(x: Any, *, shape: Shape) -> Any:
    return x if aval_of(x).shape == shape else bind(broadcast_primitive, x, shape=shape)


def _cast_value(x: Any, *, dtype: np.dtype[Any]) -> Any:
    return x.astype(dtype) if isinstance(x, np.ndarray | np.generic) else dtype.type(x)


cast_primitive = Linear(
    "cast",
    _cast_value,
    shape=lambda x, *, dtype: (x.shape, dtype),
    transpose=(lambda ct, into, *, dtype: fit_dtype(ct, into),),
    batch=trailing,
    scalar=False,
    examples=[((3, 2), {"dtype": np.dtype(np.float64)}), ((), {"dtype": np.dtype(np.complex128)})],
)

real_primitive = Linear(
    "real",
    lambda x: np.real(x),
    shape=lambda x: (x.shape, real_dtype(x.dtype)),
    transpose=(lambda ct, into: fit_dtype(ct, into),),
    batch=trailing,
    scalar=False,
    examples=[((3, 2),)],
    tags="complex",
)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the real part."""
    return np.dtype(dtype.char.lower()) if dtype.kind == "c" else dtype


def fit_dtype(x: Any, into: Aval) -> Any:
    """`x` in the dtype of `into`; a complex cotangent of a real argument is its real part, ⟨a, b⟩ being Re Σ ab."""
    dtype = aval_of(x).dtype
    if dtype is into.dtype or dtype == into.dtype:
        return x
    if dtype.kind == "c" and into.dtype.kind == "f":
        return fit_dtype(bind(real_primitive, x), into)
    return bind(cast_primitive, x, dtype=into.dtype)


def fit(x: Any, into: Aval) -> Any:
    """`x` summed to the shape, or broadcast to it, and in the dtype of `into`."""
    shape = aval_of(x).shape
    if shape != into.shape:
        bigger = len(shape) > len(into.shape) or any(n == 1 for n in into.shape[len(into.shape) - len(shape) :])
        x = (
            sum_to(x, shape=into.shape)
            if bigger and _reducible(shape, into.shape)
            else broadcast_to(x, shape=into.shape)
        )
    return fit_dtype(x, into)


def _reducible(shape: Shape, to: Shape) -> bool:
    tail = shape[len(shape) - len(to) :] if len(shape) >= len(to) else None
    return tail is not None and all(m in (n, 1) for n, m in zip(tail, to, strict=True))


__all__ = [
    "BatchRule",
    "Linear",
    "RulesByName",
    "Stated",
    "align",
    "aligned",
    "broadcast_shape",
    "broadcast_to",
    "fit",
    "fit_dtype",
    "looped",
    "match_scalar",
    "materialize",
    "positional",
    "real_dtype",
    "resolve_reads",
    "scale",
    "sum_to",
    "trailing",
    "zeros",
]  # fmt: skip
