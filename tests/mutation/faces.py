"""The faces of a row: run by forward mode, reverse mode, vmap, trace and their nestings, and judged by NumPy.

`engine` is the module `wengert`, or in its place `plain.PLAIN`, or a liar, to see that the judge is awake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .oracle import (
    assert_close,
    assert_like,
    assert_owned,
    assert_same,
    coordinates,
    copied,
    gradient,
    jacobian,
    leaves,
    map_leaves,
    scribble,
    second,
    shift,
)
from .row import Row

# ---- what NumPy says of a row -------------------------------------------------------------------------------------


def plain(row: Row, x: Any) -> Any:
    """The program's value, owned: a row may return views of its argument or of each other."""
    return map_leaves(lambda leaf: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf, row.program(copied(x)))


@functools.cache
def slopes(row: Row) -> list[np.ndarray]:
    return jacobian(row.program, row.fresh_input(), row.step)


def plain_error(row: Row, x: Any) -> BaseException:
    try:
        row.program(copied(x))
    except Exception as error:
        return error
    raise AssertionError(f"NumPy does not raise in {row.id}")


def scale_of(value: Any) -> float:
    return max([1.0, *(float(np.max(np.abs(leaf), initial=0.0)) for leaf in leaves(value))])


def direction(x: Any, seed: int) -> Any:
    """A fixed tangent for x, of the kind of x."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1.0, 1.0, np.shape(x))
    if np.iscomplexobj(x):
        t = t + 1j * rng.uniform(-1.0, 1.0, np.shape(x))
    if isinstance(x, np.ndarray):
        return np.asarray(t, dtype=x.dtype)
    return type(x)(t)


def loss_of(row: Row) -> Callable[[Any], Any]:
    """A scalar of everything that the row returns, curved, so that a linear row has a second derivative, too."""
    kinds = [(np.shape(leaf), np.iscomplexobj(leaf)) for leaf in leaves(plain(row, row.fresh_input()))]
    rng = np.random.default_rng(5)
    weights = [rng.uniform(0.5, 1.5, shape) for shape, _ in kinds]

    def loss(x: Any) -> Any:
        total = 0.0
        for leaf, weight, (_, is_complex) in zip(leaves(row.program(x)), weights, kinds, strict=True):
            for part in (leaf.real, leaf.imag) if is_complex else (leaf,):
                total = total + np.sum(weight * part + 0.5 * part * part)
        return total

    return loss


def lanes(x: Any) -> Any:
    """A batch of three neighbours of x; iterated, each is of the kind of x."""
    return np.stack([np.asarray(x), np.asarray(1.25 * x + 0.11), np.asarray(0.75 * x)]).astype(np.asarray(x).dtype)


def neighbour(x: Any) -> Any:
    return shift(x, 0.07 * x + 0.03)


# ---- faces --------------------------------------------------------------------------------------------------------
# Each runs the row, then judges; `run` is separate, since only it may raise where the row may.


def forward(row: Row, engine: Any) -> Callable[[], None]:
    x = row.fresh_input()
    t = direction(x, 1)
    value, tangent = engine.jvp(row.program, (x,), (t,))

    def judge() -> None:
        want = plain(row, row.fresh_input())
        assert_same(x, row.fresh_input(), "the caller's argument")
        assert_same(t, direction(x, 1), "the caller's tangent")
        assert_same(value, want, "value")
        assert_like(tangent, want, "tangent")
        pushed = [np.tensordot(coordinates(t), slope, 1) for slope in slopes(row)]
        assert_close(leaves(tangent), pushed, row.rtol, "tangent", scale_of(want))
        assert_owned(x, t, value, tangent)

    return judge


def reverse(row: Row, engine: Any) -> Callable[[], None]:
    x = row.fresh_input()
    value, pullback = engine.vjp(row.program, x)

    def judge() -> None:
        want = plain(row, row.fresh_input())
        assert_same(x, row.fresh_input(), "the caller's argument")
        assert_same(value, want, "value")
        ct = map_leaves(lambda leaf: direction(leaf, 2), want)
        ct_before = map_leaves(copied, ct)
        (ct_x,) = pullback(ct)
        assert_same(ct, ct_before, "the caller's cotangent")
        assert_like(ct_x, np.float64(0.0) if isinstance(x, float) else x, "pullback")
        # The pairing is Re Σ ct·v, without a conjugate: `vjp` is the exact transpose.
        pulled = sum(np.sum((c * slope).real, axis=tuple(range(1, slope.ndim)))
                     for c, slope in zip(leaves(ct), slopes(row), strict=True))  # fmt: skip
        n = np.size(x)
        pulled = np.reshape(pulled[:n] - 1j * pulled[n:] if np.iscomplexobj(x) else pulled, np.shape(x))
        assert_close(ct_x, pulled, row.rtol, "pullback", scale_of(want))
        assert_owned(x, value, ct, ct_x)
        # What the caller does with his arrays must not reach the record.
        again = copied(ct_x)
        for his in (x, value, ct_x):
            scribble(his)
        assert_same(
            pullback(ct_before)[0], again, "the pullback, called again after the caller has written to his arrays"
        )

    return judge


def grad(row: Row, engine: Any) -> Callable[[], None]:
    x, loss = row.fresh_input(), loss_of(row)
    got = engine.grad(loss)(x)

    def judge() -> None:
        assert_same(x, row.fresh_input(), "the caller's argument")
        assert_like(got, np.float64(0.0) if isinstance(x, float) else x, "gradient")
        assert_close(got, gradient(loss, x, row.step), row.rtol, "gradient", float(loss(row.fresh_input())))
        assert_owned(x, got)

    return judge


def batched(row: Row, engine: Any) -> Callable[[], None]:
    xs = lanes(row.fresh_input())
    value = engine.vmap(row.program)(xs)

    def judge() -> None:
        assert_same(xs, lanes(row.fresh_input()), "the caller's batch")
        each = [leaves(plain(row, x)) for x in xs]
        want = [np.stack(parts) for parts in zip(*each, strict=True)]
        assert_like(value, want, "batched value")
        # Not bits: SIMD loops round by stride, and sums by order.
        single = any(leaf.dtype.itemsize < 8 for leaf in want)
        assert_close(value, want, 1e-6 if single else 1e-13, "batched value")
        assert_owned(xs, value)

    return judge


def traced(row: Row, engine: Any) -> Callable[[], None]:
    x = row.fresh_input()
    program = engine.trace(row.program)(x)
    other = neighbour(row.fresh_input())
    values = [(copied(y), program.evaluate(y)) for y in (other, x, other)]

    def judge() -> None:
        assert_same(x, row.fresh_input(), "the caller's argument")
        for y, value in values:
            # a list of operations knows arrays only: scalars of Python round differently in the last bit
            assert_close(value, plain(row, y), 1e-15, "the list's value", scale_of(value))
        assert_owned(x, other, *(value for _, value in values))

    return judge


def forward_over_reverse(row: Row, engine: Any) -> Callable[[], None]:
    x, loss = row.fresh_input(), loss_of(row)
    t = direction(x, 3)
    got, got_tangent = engine.jvp(engine.grad(loss), (x,), (t,))

    def judge() -> None:
        assert_same(x, row.fresh_input(), "the caller's argument")
        scale = abs(float(loss(row.fresh_input())))
        assert_close(got, gradient(loss, x, row.step), row.rtol, "gradient", scale)
        h_t = second(loss, x, t, SECOND_STEP)
        assert_close(got_tangent, h_t, SECOND_RTOL, "Hessian times tangent", scale)
        assert_owned(x, t, got, got_tangent)

    return judge


def batched_gradients(row: Row, engine: Any) -> Callable[[], None]:
    xs, loss = lanes(row.fresh_input()), loss_of(row)
    got = engine.vmap(engine.grad(loss))(xs)

    def judge() -> None:
        want = np.stack([gradient(loss, x, row.step) for x in xs])
        assert_same(xs, lanes(row.fresh_input()), "the caller's batch")
        assert_like(got, xs, "batched gradient")
        assert_close(got, want, row.rtol, "batched gradient", max(abs(float(loss(x.copy()))) for x in xs))
        assert_owned(xs, got)

    return judge


SECOND_STEP, SECOND_RTOL = 2.0**-7, 2e-6  # of the stencil at second order


FACES: dict[str, Callable[[Row, Any], Callable[[], None]]] = {
    "forward": forward,
    "reverse": reverse,
    "grad": grad,
    "vmap": batched,
    "trace": traced,
    "forward over reverse": forward_over_reverse,
    "vmap of grad": batched_gradients,
}


def cases(table: tuple[Row, ...]) -> list[tuple[Row, str]]:
    """Every row with every face that it has."""
    chosen = []
    for row in table:
        for face in FACES:
            if "vmap" in face and row.batches_to == "skip":
                continue
            if face in ("forward over reverse", "vmap of grad") and not row.second:
                continue
            if face == "grad" and row.fate in ("raises", "refused"):
                continue  # `reverse` has asked the same
            chosen.append((row, face))
    return chosen


def our_error(error: BaseException | None) -> BaseException | None:
    """The error that wengert raised, if it did. NumPy turns ours into the cause of its own ValueError in `y[0] = a`."""
    while error is not None and type(error).__module__.partition(".")[0] != "wengert":
        error = error.__cause__
    return error


def check(row: Row, face: str, engine: Any) -> None:
    """The verdict on one row under one face: returns, or raises AssertionError."""
    fate = row.fate
    if fate == "works" and "vmap" in face:
        fate = row.batches_to
    if fate == "works" and face == "trace":
        fate = row.traces_to
    try:
        judge = FACES[face](row, engine)
    except Exception as error:
        ours = our_error(error)
        if isinstance(ours if fate == "raises" else error, row.also) or (fate == "careful" and ours):
            return
        if fate == "refused":
            assert ours is not None, f"refused by {error!r}, not by us"
            assert isinstance(ours, row.error or ()), f"{ours!r} instead of a {row.error}"
            assert row.says in str(ours), f"the message does not name {row.says!r}: {ours}"
            return
        if fate == "raises":
            numpys = plain_error(row, row.fresh_input())
            assert isinstance(error, type(numpys)), f"{error!r} instead of {numpys!r}"
            # Under vmap NumPy sees shapes with one axis more, and an exact message would be luck.
            if row.same_message and "vmap" not in face:
                assert str(error) == str(numpys), f"{error!r} instead of {numpys!r}"
            return
        if isinstance(error, AssertionError):
            raise
        raise AssertionError(f"{row.id} raised {error!r}") from error
    assert fate not in ("raises", "refused"), f"{row.id} went through silently under {face}"
    judge()
