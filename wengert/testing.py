"""Checks of derivatives: `check_grads` for a function, `check_rule` for a primitive.

Both compare with sources that share nothing with the rules: differences of values with a step that suits the dtype,
the adjoint identity ⟨w, J v⟩ = ⟨Jᵀ w, v⟩, plain loops for batching.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors, tree
from wengert.avals import Aval, is_differentiable
from wengert.core import Primitive, aval_of, bind
from wengert.graph import into
from wengert.program import evaluate, stage
from wengert.transforms import arguments
from wengert.transforms.jvp import jvp
from wengert.transforms.vjp import vjp
from wengert.transforms.vmap import vmap

STENCIL = ((1, 2 / 3), (2, -1 / 12))  # 4th order: f′ ≈ Σ c (f(x+kh) − f(x−kh)) / h, error O(h⁴)


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
) -> None:
    """Compare derivatives of a function with differences of its values, to the given order and in both modes.

    Along random directions v and w, J v from `jvp` is compared with a 5-point stencil, ⟨Jᵀ w, v⟩ from `vjp` with
    ⟨w, J v⟩, and both again for the derivative functions themselves up to `order`. The step is a tenth of the fifth
    root of the precision times the size of the argument, so that float64 agrees to about 1e-9 and float32 to 1e-2;
    the function is evaluated in float64 for the differences. Where a real function also runs on complex numbers, and
    its complex step Im f(x + ihv)/h agrees with the stencil, as it does for analytic functions, J v must agree with
    that to 1e-11: it has no rounding error of subtraction.

    Parameters: `function` of arrays or containers; `args`, a tuple of its arguments, floating or complex; `modes`, any
    of "fwd" and "rev"; `rtol`, `atol`, tolerances relative to and beside the size of the result (defaults suit the
    dtype).

    Raises AssertionError that says which mode, order and leaf disagrees, and by how much.

    Source: the stencil is M. Abramowitz and I. Stegun, Handbook of Mathematical Functions, 25.3.6; the complex step is
    W. Squire and G. Trapp, SIAM Review 40(1), 1998.

    >>> import numpy as np, wengert as wg
    >>> wg.testing.check_grads(lambda x: np.sin(x) * x, (np.array([0.5, 2.0]),), order=3)
    """
    unknown = [mode for mode in modes if mode not in ("fwd", "rev")]
    if unknown or not modes:
        raise errors.ArgumentError(
            f"modes={modes!r} holds {unknown or 'nothing'}. Derivatives are checked forward and in reverse. Give any "
            "of 'fwd' and 'rev'."
        )
    _check(function, tuple(args), order, tuple(modes), rtol, atol, np.random.default_rng(seed), "")


def _check(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: Any,
    rtol: Any,
    atol: Any,
    rng: Any,
    path: str,
) -> None:
    if order == 0:
        return
    leaves, _ = arguments.argument_leaves(args, range(len(args)))
    avals = [aval_of(leaf) for leaf in leaves]
    coarse = max((float(np.finfo(aval.dtype).eps) for aval in avals), default=2.0**-52)
    level = 1 if not path else 1 + path.count("of")
    rtol = rtol if rtol is not None else (1e-9 if coarse < 1e-10 else 2e-2) * 10 ** (level - 1)
    atol = atol if atol is not None else rtol
    tangents = tuple(tree.map_leaves(lambda leaf: direction(rng, aval_of(leaf)), arg) for arg in args)
    out, out_dot = jvp(function, args, tangents)
    numeric = difference(function, args, tangents)
    if "fwd" in modes:
        compare(out_dot, numeric, rtol, atol, f"forward derivative{path}")
        if not path and coarse < 1e-10:
            sharp = complex_step(function, args, tangents, numeric)
            if sharp is not None:
                compare(out_dot, sharp, 1e-11, 1e-11, "forward derivative, by complex step")
    if "rev" in modes:
        _, pullback = vjp(function, *args)
        cts = tree.map_leaves(lambda leaf: direction(rng, aval_of(leaf)), out)
        bars = pullback(cts)
        left, right = inner(cts, numeric), inner(bars, tangents)
        size = magnitude(cts, numeric) + magnitude(bars, tangents)
        _assert_close(left, right, rtol * size + atol, f"reverse derivative{path}: ⟨w, Jv⟩ and ⟨Jᵀw, v⟩")
        exact = inner(cts, out_dot)
        # sums that cancel exactly leave rounding errors of their terms, which are about 1
        tolerance = (1e-11 if coarse < 1e-10 else 1e-3) * (size + magnitude(cts, out_dot) + 1e-2)
        _assert_close(exact, right, tolerance, f"forward against reverse{path}: ⟨w, Jv⟩ and ⟨Jᵀw, v⟩")
    if order > 1:
        if "fwd" in modes:

            def pushed(*primals: Any) -> Any:
                return jvp(function, primals, tangents)[1]

            _check(pushed, args, order - 1, modes, rtol * 10, atol * 10, rng, f"{path} of jvp")
        if "rev" in modes:
            cts = tree.map_leaves(lambda leaf: direction(rng, aval_of(leaf)), out)

            def pulled(*primals: Any) -> Any:
                return vjp(function, *primals)[1](cts)

            _check(pulled, args, order - 1, modes, rtol * 10, atol * 10, rng, f"{path} of vjp")


def direction(rng: np.random.Generator, aval: Aval) -> Any:
    """A random array of an aval's shape and dtype, of size about 1."""
    if not is_differentiable(aval.dtype):
        return None
    values = rng.standard_normal(aval.shape)
    if aval.dtype.kind == "c":
        values = values + 1j * rng.standard_normal(aval.shape)
    return np.asarray(values).astype(aval.dtype)[()] if aval.scalar else np.asarray(values).astype(aval.dtype)


def difference(function: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The directional derivative by the 5-point stencil, in the widest dtype that the function takes."""
    wide = [tree.map_leaves(_widened, arg) for arg in args]
    leaves = [leaf for arg in wide for leaf in tree.flatten(arg)[0]]
    steps = [leaf for v in tangents for leaf in tree.flatten(v)[0]]
    scale = max((_largest(x) for x in leaves), default=0.0)
    longest = max((_largest(v) for v in steps), default=0.0)
    eps = min((float(np.finfo(x.dtype).eps) for x in leaves), default=2.0**-52)
    h = eps**0.2 * max(scale, 0.1) / max(longest, 1e-300) * 0.1
    total: Any = None
    for k, weight in STENCIL:
        for sign in (1, -1):
            moved = [
                tree.map_leaves(lambda x, v, leaf, step=sign * k * h: _moved(x, v, step, leaf), arg, v, original)
                for arg, v, original in zip(wide, tangents, args, strict=True)
            ]
            term = tree.map_leaves(lambda y, c=sign * weight / h: np.asarray(y) * c, function(*moved))
            total = term if total is None else tree.map_leaves(np.add, total, term)
    return total


STEP = 1e-30  # nothing is subtracted, so it may be as small as one likes


def complex_step(function: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any], numeric: Any) -> Any:
    """The directional derivative Im f(x + ihv)/h; None where the function does not take it or is not analytic."""
    leaves = [np.asarray(leaf) for arg in args for leaf in tree.flatten(arg)[0]]
    results = [np.asarray(leaf) for leaf in tree.flatten(numeric)[0]]
    if any(x.dtype.kind != "f" for x in (*leaves, *results)):
        return None
    moved = [tree.map_leaves(lambda x, v: x + 1j * STEP * v, arg, v) for arg, v in zip(args, tangents, strict=True)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            step = tree.map_leaves(lambda y: np.imag(y) / STEP, function(*moved))
            compare(step, numeric, 1e-6, 1e-6, "complex step")
    except Exception:  # whatever the user's function makes of complex numbers, it does not apply
        return None
    return step


def _moved(x: Any, v: Any, step: float, leaf: Any) -> Any:
    """x + step·v, an array where `leaf` is one: NumPy makes scalars of sums of 0-d arrays."""
    moved = x + np.asarray(v, x.dtype) * step
    return np.asarray(moved) if isinstance(leaf, np.ndarray) else moved


def _largest(x: Any) -> float:
    """The largest finite magnitude in an array; 0 where there is none."""
    x = np.abs(x)
    return float(np.max(x, initial=0.0, where=np.isfinite(x)))


def _widened(leaf: Any) -> Any:
    leaf = np.asarray(leaf)
    return leaf.astype(np.complex128 if leaf.dtype.kind == "c" else np.float64)


def inner(one: Any, other: Any) -> float:
    """⟨a, b⟩ = Re Σ ab over all leaves."""
    total = 0.0
    for a, b in zip(tree.flatten(one)[0], tree.flatten(other)[0], strict=True):
        total += float(np.sum(np.real(_widened(a) * _widened(b))))
    return total


def magnitude(one: Any, other: Any) -> float:
    """Σ |a||b|: what rounding errors of ⟨a, b⟩ are relative to."""
    pairs = zip(tree.flatten(one)[0], tree.flatten(other)[0], strict=True)
    return float(sum(np.sum(np.abs(_widened(a)) * np.abs(_widened(b))) for a, b in pairs))


def compare(one: Any, other: Any, rtol: float, atol: float, what: str) -> None:
    """Assert that containers agree leaf by leaf, relative to the largest element of each leaf."""
    for k, (a, b) in enumerate(zip(tree.flatten(one)[0], tree.flatten(other)[0], strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            raise AssertionError(f"{what}: leaf {k} has shape {a.shape}, expected {b.shape}")
        size = float(np.max(np.abs(b), initial=0.0))
        error = float(np.max(np.abs(a - b), initial=0.0))
        _assert_close(error, 0.0, rtol * size + atol, f"{what}: leaf {k}, largest error")


def _assert_close(one: float, other: float, tolerance: float, what: str) -> None:
    if not abs(one - other) <= tolerance:  # so that NaN fails
        raise AssertionError(f"{what}: {one!r} against {other!r}, tolerance {tolerance:.2g}")


# ----------------------------------------------------------------------------------------------- rules of primitives


class Case:
    """One example of a primitive: arguments and params."""

    def __init__(self, primitive: Primitive, args: list[Any], params: dict[str, Any]) -> None:
        self.primitive = primitive
        self.args = args
        self.params = params

    def __repr__(self) -> str:
        shapes = ", ".join(f"{np.asarray(x).dtype}{list(np.shape(x))}" for x in self.args)
        return f"{self.primitive.name}({shapes}{''.join(f', {k}={v!r}' for k, v in self.params.items())})"

    def differentiable_slots(self) -> list[int]:
        """The slots that hold floating values. A slot without a rule claims that its derivative is zero."""
        return [k for k, x in enumerate(self.args) if is_differentiable(np.asarray(x).dtype)]

    def function(self, slots: Sequence[int]) -> Callable[..., Any]:
        """The primitive as a function of the arguments at `slots`."""

        def apply(*moving: Any) -> Any:
            args = list(self.args)
            for k, x in zip(slots, moving, strict=True):
                args[k] = x
            return bind(self.primitive, *args, **self.params)

        return apply


def cases(primitive: Any, dtype: Any = np.float64, seed: int = 0) -> Iterator[Case]:
    """The examples of a primitive in one dtype: those that it states, and standard shapes for elementwise ones."""
    rng = np.random.default_rng(seed)
    examples = primitive.examples
    domain = getattr(primitive, "domain", None)
    if domain is not None and not examples:
        arity = len(domain)
        examples = [((3, 2),) * arity, ((),) * arity, ((0, 2),) * arity]
        if arity == 2:
            examples += [((3, 1), (2,)), ((), (2,))]
    for example in examples:
        *specs, params = example if isinstance(example[-1], dict) else (*example, {})
        args = [
            spec(rng, np.dtype(dtype))
            if callable(spec)
            else _draw(rng, spec, np.dtype(dtype), domain, k, primitive.tags)
            for k, spec in enumerate(specs)
        ]
        yield Case(primitive, args, params)


def _draw(rng: np.random.Generator, shape: Any, dtype: np.dtype[Any], domain: Any, slot: int, tags: Any) -> Any:
    if not isinstance(shape, tuple):
        return shape  # an argument given as it is
    if "integer" in tags:
        return rng.integers(0, 4, shape)
    low, high = domain[slot] if domain else (-2.0, 2.0)
    values = rng.uniform(low, high, shape)
    if dtype.kind == "c":
        values = values + 0.3j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)


def check_rule(primitive: Any, dtype: Any = np.float64, order: int = 2, seed: int = 0) -> None:
    """Check every fact that a primitive's block states, on its own examples.

    The value under each trace is NumPy's, bit by bit, with its dtype and shape; the shape rule agrees with the value;
    pushforward and pullback agree with differences and with each other to `order`; derivatives have the dtypes of
    what they belong to; batching at every position and axis equals a loop; the pullback is linear in the cotangent,
    repeatable, right for cotangents that are not contiguous, and changes none of its inputs.

    Raises AssertionError naming the primitive, the example and the fact.

    >>> import wengert as wg
    >>> from wengert.core import REGISTRY
    >>> wg.testing.check_rule(REGISTRY["sin"])
    """
    found = False
    for case in cases(primitive, dtype, seed):
        found = True
        try:
            _check_case(case, order, np.random.default_rng(seed))
        except AssertionError as error:
            raise AssertionError(f"{case!r}: {error}") from error
    if (
        hasattr(primitive, "domain")
        and not primitive.tags & {"complex-only", "integer"}
        and np.dtype(dtype).kind == "f"
    ):
        _check_special_values(primitive, np.dtype(dtype))
    if not found:
        raise AssertionError(f"{primitive!r} states no example, so nothing could be checked")


def _check_case(case: Case, order: int, rng: np.random.Generator) -> None:
    _check_value(case)
    _check_batches(case)
    slots = case.differentiable_slots() if case.primitive.differentiable else []
    for chosen in [[k] for k in slots] + ([slots] if len(slots) > 1 else []):
        moving = [case.args[k] for k in chosen]
        function = _real_results(case.function(chosen))
        if all(np.size(x) for x in moving):
            check_grads(function, moving, order)
        _check_derivative_avals(function, moving)
        for k in chosen:
            _check_raw_pullback(case, k)
        _check_pullback(function, moving, rng)


def _check_special_values(primitive: Any, dtype: np.dtype[Any]) -> None:
    """At zeros, infinities, NaN and subnormals: NumPy's own value, and silence where tangent or cotangent is zero."""
    info = np.finfo(dtype)
    points = np.array(
        [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.inf, -np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal]
    )
    grid = np.meshgrid(*[points.astype(dtype)] * len(primitive.domain))
    args = tuple(np.ascontiguousarray(axis.reshape(-1)) for axis in grid)
    zeros = tuple(np.zeros_like(x) for x in args)
    with np.errstate(all="ignore"):
        expected = primitive.value(*args)
        value, tangent = jvp(primitive, args, zeros)
        again, pullback = vjp(primitive, *args)
        bars = pullback(np.zeros_like(again))
    _assert_same_bits(value, expected, f"{primitive.name} of Duals at special values")
    _assert_same_bits(again, expected, f"{primitive.name} of Variables at special values")
    for derivative in (tangent, *bars):
        if np.any(derivative != 0):
            at = tuple(x[np.flatnonzero(derivative != 0)[0]] for x in args)
            raise AssertionError(f"{primitive.name} at {at}: a zero tangent or cotangent does not give 0 (strong zero)")


def _real_results(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function without its integer results, which have no tangent."""

    def apply(*args: Any) -> Any:
        out = function(*args)
        return tuple(y for y in out if is_differentiable(aval_of(y).dtype)) if type(out) is tuple else out

    return apply


def _check_value(case: Case) -> None:
    primitive = case.primitive
    with np.errstate(all="ignore"):
        expected = primitive.value(*case.args, **case.params)
    avals = [aval_of(x) for x in case.args]
    claimed = primitive.abstract(avals, case.params)
    staged = stage(
        lambda *xs: _as_list(bind(primitive, *xs, **case.params)),
        avals,
        [np.array(x) if np.ndim(x) else x for x in case.args],
    )
    staged.check()
    again = evaluate(staged, case.args)
    rows = expected if primitive.multiple else (expected,)
    claims = claimed if primitive.multiple else (claimed,)
    for value, claim, repeated in zip(rows, claims, again, strict=True):
        got = aval_of(value)
        if (got.shape, got.dtype) != (claim.shape, claim.dtype):
            raise AssertionError(f"the shape rule says {claim}, the value is {got}")
        if not got.shape and isinstance(value, np.ndarray) == claim.scalar:
            raise AssertionError(f"the rule says scalar={claim.scalar}, the value is {type(value).__name__}")
        _assert_same_bits(repeated, value, "evaluating the staged list")


def _as_list(out: Any) -> list[Any]:
    return list(out) if type(out) is tuple else [out]


def _assert_same_bits(one: Any, other: Any, what: str) -> None:
    a, b = np.asarray(one), np.asarray(other)
    if a.dtype != b.dtype or a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
        raise AssertionError(f"{what} gives {a!r}, expected {b!r}")


def _check_batches(case: Case) -> None:
    """vmap at every position and axis against a loop, for sizes 3 and 0."""
    arrays = [k for k, x in enumerate(case.args) if isinstance(x, np.ndarray | np.generic)]
    combinations = [[k] for k in arrays] + ([arrays] if len(arrays) > 1 else [])
    for size in (3, 0):
        for mapped in combinations:
            for place in ("first", "last"):
                _check_batch(case, mapped, size, place)


def _check_batch(case: Case, mapped: list[int], size: int, place: str) -> None:
    args = list(case.args)
    in_axes: list[int | None] = [None] * len(args)
    for k in mapped:
        x = np.asarray(args[k])
        axis = 0 if place == "first" else x.ndim
        factors = [1.0 - 0.1 * i for i in range(size)]
        rows = [(x * f).astype(x.dtype) if x.dtype.kind in "fc" else x for f in factors]
        args[k] = np.stack(rows, axis) if rows else np.zeros((*x.shape[:axis], 0, *x.shape[axis:]), x.dtype)
        in_axes[k] = axis

    def apply(*xs: Any) -> Any:
        out = bind(case.primitive, *xs, **case.params)
        return list(out) if type(out) is tuple else [out]

    with np.errstate(all="ignore"):
        results = vmap(apply, in_axes=tuple(in_axes))(*args)
        for i in range(size):
            member = [x if in_axes[k] is None else np.take(x, i, in_axes[k]) for k, x in enumerate(args)]
            for got, expected in zip(results, apply(*member), strict=True):
                expected = np.asarray(expected)
                tolerance = 1e3 * np.finfo(expected.dtype).eps if expected.dtype.kind in "fc" else 0
                if got[i].shape != expected.shape or got.dtype != expected.dtype:
                    raise AssertionError(
                        f"vmap over {mapped} ({place} axis) gives {got.dtype}{got[i].shape}, a loop "
                        f"{expected.dtype}{expected.shape}"
                    )
                if not np.allclose(
                    got[i], expected, rtol=tolerance, atol=tolerance, equal_nan=expected.dtype.kind in "fc"
                ):
                    raise AssertionError(f"vmap over {mapped} ({place} axis) gives {got[i]!r}, a loop {expected!r}")


def _check_derivative_avals(function: Callable[..., Any], args: list[Any]) -> None:
    tangents = tuple(np.ones_like(x) for x in args)
    out, out_dot = jvp(function, tuple(args), tangents)
    for y, y_dot in zip(_as_list(out), _as_list(out_dot), strict=True):
        _assert_same_aval(y_dot, y, "the tangent")
    _, pullback = vjp(function, *args)
    bars = pullback(tree.map_leaves(np.ones_like, out))
    for x, bar in zip(args, bars, strict=True):
        _assert_same_aval(bar, x, "the cotangent")


def _check_raw_pullback(case: Case, slot: int) -> None:
    """The rule itself stays in the dtype of its argument: a wide constant in it would make whole sweeps wide."""
    primitive = case.primitive
    out = bind(primitive, *case.args, **case.params)
    if primitive.multiple:
        return
    with np.errstate(all="ignore"):
        bar = primitive.pullback(slot, np.ones_like(out), (*case.args, out), into(case.args[slot], out), case.params)
    if bar is not None:
        _assert_same_aval(bar, case.args[slot], f"the cotangent of slot {slot} as the rule gives it")


def _assert_same_aval(one: Any, other: Any, what: str) -> None:
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise AssertionError(f"{what} is {a.dtype}{a.shape}, expected {b.dtype}{b.shape}")


def _check_pullback(function: Callable[..., Any], args: list[Any], rng: np.random.Generator) -> None:
    """Linear, repeatable, right for strided cotangents, harmless to its inputs, sharing no memory."""
    before = [np.array(x) for x in args]
    out, pullback = vjp(function, *args)
    one = tree.map_leaves(lambda y: direction(rng, aval_of(y)), out)
    two = tree.map_leaves(lambda y: direction(rng, aval_of(y)), out)
    kept = tree.map_leaves(np.array, one)
    first, second, again = pullback(one), pullback(two), pullback(one)
    strided = pullback(tree.map_leaves(_strided, one))
    both = pullback(tree.map_leaves(lambda a, b: a + 2 * b, one, two))
    for x, old, a, b, a_again, a_strided, ab in zip(args, before, first, second, again, strided, both, strict=True):
        _assert_same_bits(x, old, "after the pullback, the argument")
        _assert_same_bits(a_again, a, "a repeated pullback")
        eps = float(np.finfo(np.asarray(a).dtype).eps)
        size = float(np.max(np.abs(a), initial=1.0) + 2 * np.max(np.abs(b), initial=0.0))
        if not np.allclose(a_strided, a, rtol=1e2 * eps, atol=1e2 * eps * size, equal_nan=True):
            raise AssertionError("the pullback of a cotangent that is not contiguous differs")
        if not np.allclose(ab, a + 2 * b, rtol=1e3 * eps, atol=1e3 * eps * size, equal_nan=True):
            raise AssertionError("the pullback is not linear in the cotangent")
        for other in (*args, *tree.flatten(one)[0], *tree.flatten(out)[0]):
            if np.shares_memory(a, other):
                raise AssertionError("the cotangent shares memory with an argument, the seed or the result")
    for ct, old in zip(tree.flatten(one)[0], tree.flatten(kept)[0], strict=True):
        _assert_same_bits(ct, old, "after the pullback, the seed")


def _strided(x: Any) -> Any:
    x = np.asarray(x)
    if not x.ndim:
        return x
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


__all__ = ["cases", "check_grads", "check_rule"]
