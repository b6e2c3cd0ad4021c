"""The kinds of primitive: what the author of a rule states, and what follows from it (house.md §1).

`Linear` stands in `vector.py`; here are `Elementwise`, `General` and `Discrete`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert import program
from wengert.avals import WEAK, Aval, Shape, promotable
from wengert.core import aval_of, register
from wengert.ops.vector import (
    BatchRule,
    Linear,
    RulesByName,
    Stated,
    aligned,
    broadcast_to,
    fit,
    fit_dtype,
    positional,
    real_dtype,
    resolve_reads,
    scale,
    scale_plain,
    sum_to,
)
from wengert.residuals import Guarded, read

UNTRACED: Final = frozenset({np.ndarray, float, int, np.float64, np.float32})
Partial = Callable[..., Any] | int | None


class Elementwise(RulesByName):
    """A primitive that acts on each element, and broadcasts.

    value     a NumPy ufunc, or a function of arrays called x, y, z
    partials  per slot: ∂out/∂slot as a function of what it reads (x, y, z or out), as another primitive or ufunc of the
              same arguments, or 1, −1, or None for zero
    domain    per slot, the interval from which tests draw

    Pushforward: out_dot = Σ scale(x_dot, ∂out/∂x). Pullback: x_bar = scale(ct, ∂out/∂x), summed to the shape of x.
    """

    def __init__(
        self,
        value: Any,
        *partials: Partial,
        name: str = "",
        domain: Sequence[tuple[float, float]] = (),
        tags: str = "",
        examples: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.name = name or value.__name__
        self.value = value
        self.partials = partials
        self.slots = ("x", "y", "z")[: len(partials)]
        self.reads = tuple(resolve_reads(p, 0, self.slots, self.name) if callable(p) else () for p in partials)
        self.domain = tuple(domain) or ((-2.0, 2.0),) * len(partials)
        self.tags = frozenset(tags.split())
        self.examples = tuple(examples)
        self.plans: tuple[tuple[Any, Any, int | None], ...]
        # Per slot: the partial, its form for plain values, and what it reads where that is a single thing
        self.plans = tuple(
            (
                partial,
                partial.value if isinstance(partial, Elementwise) else partial,
                reads[0] if len(reads) == 1 else None,
            )
            for partial, reads in zip(partials, self.reads, strict=True)
        )
        self.short = self.residual_table() if keeps_dtype(value) else None
        register(self)

    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Aval:
        shape = np.broadcast_shapes(*(aval.shape for aval in avals))
        return Aval(shape, elementwise_dtype(self.value, avals), False, not shape)

    def residual(self, value: Any, out: Any) -> Any:
        """Integers in the dtype of the result: the reciprocal of an int8 would be a float16."""
        if type(value) in WEAK:
            return value
        aval, out_dtype = aval_of(value), aval_of(out).dtype
        if aval.dtype.kind in "iub" and not aval.weak and out_dtype.kind in "fc":
            return value.astype(real_dtype(out_dtype))
        return value

    def residual_table(self) -> Sequence[Any]:
        """For each set of active slots, as a bit mask, which arguments and whether the result must be kept."""
        arity = len(self.partials)
        table: list[Any] = [None]
        for mask in range(1, 1 << arity):
            kept, keeps_out = self.keeps(tuple(k for k in range(arity) if mask >> k & 1), arity)
            table.append((*(k in kept for k in range(arity)), keeps_out))
        return table

    def partial(self, slot: int, known: Sequence[Any]) -> Any:
        """∂out/∂slot from the list of arguments and result."""
        rule: Any = self.partials[slot]
        reads = self.reads[slot]
        if len(reads) == 1:
            return rule(read(known[reads[0]]))
        return rule(*[read(known[k]) for k in reads])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        total = None
        known = [
            *(x if x_dot is not None else self.residual(x, out) for x, x_dot in zip(primals, tangents, strict=True)),
            out,
        ]
        for slot, x_dot in enumerate(tangents):
            rule = self.partials[slot]
            if x_dot is None or rule is None:
                continue
            if rule == 1:
                term = x_dot
            elif rule == -1:
                term = np.negative(x_dot)
            else:
                term = scale(x_dot, self.partial(slot, known))
            total = term if total is None else total + term
        if total is None:
            return None
        out_aval = aval_of(out)
        return fit_dtype(broadcast_to(total, shape=out_aval.shape), out_aval)

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        rule, plain_rule, only = self.plans[slot]
        if only is not None:  # a partial that reads one thing: the commonest case, on a short path
            known = saved[only]
            if type(known) in UNTRACED and type(ct) in UNTRACED:
                bar = scale_plain(ct, plain_rule(known))
            else:
                bar = scale(ct, rule(read(known)))
        elif rule is None:
            return None
        elif rule == 1:
            bar = ct
        elif rule == -1:
            bar = np.negative(ct)
        else:
            bar = scale(ct, self.partial(slot, saved))
        return bar if into is None else fit_dtype(sum_to(bar, shape=into.shape), into)

    def pullback_cached(
        self, slot: int, ct: Any, saved: Any, into: Aval | None, params: Any, cache: Any, key: Any
    ) -> Any:
        if not callable(self.partials[slot]):
            return self.pullback(slot, ct, saved, into, params)
        p = cache.get(key)
        if p is None:
            p = self.partial(slot, saved)
            if not (
                type(p) is np.ndarray and any(type(x) is Guarded and np.may_share_memory(x.array, p) for x in saved)
            ):
                cache[key] = p  # else it is the user's own array, which must be checked at each call
        bar = scale(ct, p)
        return bar if into is None else fit_dtype(sum_to(bar, shape=into.shape), into)

    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        return aligned(self, size, args, mapped, params)


def keeps_dtype(value: Any) -> bool:
    """Whether it is a ufunc whose result has the dtype of its arguments, whatever inexact dtype they share."""
    if not isinstance(value, np.ufunc) or value.nout != 1:
        return False
    loops = [set(loop.replace("->", "")) for loop in value.types if set(loop[: value.nin]) <= set("efdgFDG")]
    return all(len(loop) == 1 for loop in loops) and all({dtype} in loops for dtype in "efdg")


def elementwise_dtype(value: Any, avals: Sequence[Aval]) -> np.dtype[Any]:
    """The dtype that NumPy gives: its own answer for a ufunc, else that of the function on zero elements."""
    if isinstance(value, np.ufunc):
        return value.resolve_dtypes((*(promotable(aval) for aval in avals), *(None,) * value.nout))[value.nin]
    empty = [aval.dtype.type(1).item() if aval.weak else np.ones(0, aval.dtype) for aval in avals]
    return np.result_type(value(*empty)) if any(not a.weak for a in avals) else np.asarray(value(*empty)).dtype


class General(Stated):
    """A primitive with a derivative of its own form.

    value        computes on plain arrays: positional slots, keyword-only params
    shape        (avals…, *, params) → (shape, dtype), or a list of those where `multiple`
    pushforward  per slot, None for zero: (x_dot, slots or out read…, *, params) → its contribution to out_dot, written
                 in other operations and linear in x_dot
    pullback     optional, per slot, where it is faster or more accurate (say why): (ct, into, read…, *, params)
    batch        how a leading axis is handled

    Pullback: the pushforward is staged with x_dot unknown, which leaves a linear list, and that is transposed.
    """

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        *,
        shape: Callable[..., Any],
        pushforward: tuple[Callable[..., Any] | None, ...],
        batch: BatchRule,
        pullback: tuple[Callable[..., Any] | None, ...] = (),
        slots: str = "",
        scalar: bool = True,
        multiple: bool = False,
        examples: Sequence[Any] = (),
        tags: str = "",
    ) -> None:
        super().__init__(name, value, shape, batch, scalar, examples, tags)
        self.multiple = multiple
        self.pushforward = pushforward
        self.own_pullback = pullback or (None,) * len(pushforward)
        self.slots = tuple(slots.split()) or positional(value)
        self.push_reads = tuple(() if f is None else resolve_reads(f, 1, self.slots, name) for f in pushforward)
        self.own_reads = tuple(() if f is None else resolve_reads(f, 2, self.slots, name) for f in self.own_pullback)
        self.reads = tuple(
            own if f is not None else push
            for f, own, push in zip(self.own_pullback, self.own_reads, self.push_reads, strict=True)
        )

    def push(self, slot: int, x_dot: Any, known: Sequence[Any], params: dict[str, Any]) -> Any:
        """The contribution of one slot's tangent, from the list of arguments and result."""
        rule: Any = self.pushforward[slot]
        return rule(x_dot, *[read(known[k]) for k in self.push_reads[slot]], **params)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        known = (*primals, out)
        terms = [
            self.push(slot, x_dot, known, params)
            for slot, x_dot in enumerate(tangents)
            if x_dot is not None and self.pushforward[slot] is not None
        ]
        if not terms:
            return None
        if self.multiple:
            return tuple(_total([row[k] for row in terms], aval_of(y)) for k, y in enumerate(out))
        return _total(terms, aval_of(out))

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        own = self.own_pullback[slot]
        if own is not None:
            into = aval_of(ct) if into is None else into
            return fit(own(ct, into, *[read(saved[k]) for k in self.own_reads[slot]], **params), into)
        if self.pushforward[slot] is None:
            return None
        return self.derived_pullback(slot, ct, saved, into, params)

    def derived_pullback(
        self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]
    ) -> Any:
        into = aval_of(ct) if into is None else into

        def pushed(x_dot: Any) -> list[Any]:
            out_dot = self.push(slot, x_dot, saved, params)
            return [y_dot if y_dot is not None else 0.0 for y_dot in (out_dot if self.multiple else (out_dot,))]

        linear = program.stage(pushed, [into])
        cts = []
        for one, atom in zip(ct if self.multiple else (ct,), linear.outputs, strict=True):
            cts.append(None if one is None else fit(one, atom.aval) if type(atom) is program.Var else one)
        (bar,) = program.transpose(linear, cts)
        return bar if bar is None else fit_dtype(bar, into)


def _total(terms: Sequence[Any], aval: Aval) -> Any:
    present = [term for term in terms if term is not None]
    return fit(sum(present[1:], start=present[0]), aval) if present else None


class Discrete(Stated):
    """A primitive whose derivative is zero or has no meaning: comparisons, rounding, sorting orders.

    Duals and Variables get plain arrays from it, so that its results can index and be branched on.
    """

    differentiable = False

    def __init__(
        self,
        name: str,
        value: Any,
        *,
        shape: Callable[..., tuple[Shape, np.dtype[Any]]] | None = None,
        batch: BatchRule = aligned,
        scalar: bool = True,
        examples: Sequence[Any] = (),
        tags: str = "",
    ) -> None:
        super().__init__(name, value, shape or self.elementwise, batch, scalar, examples, tags)

    def elementwise(self, *avals: Aval) -> tuple[Shape, np.dtype[Any]]:
        """The shape rule where none is stated: arguments broadcast, and the dtype is NumPy's answer."""
        return np.broadcast_shapes(*(aval.shape for aval in avals)), elementwise_dtype(self.value, avals)

    def keeps(self, active: tuple[int, ...], arity: int) -> tuple[tuple[int, ...], bool]:
        return (), False

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        return None

    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        return None


__all__ = ["Discrete", "Elementwise", "General", "Linear"]
