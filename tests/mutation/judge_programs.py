"""One random program under one face, against plain NumPy: the twin of faces.check, with tolerances of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .faces import direction, lanes, neighbour, our_error
from .oracle import (
    assert_close,
    assert_like,
    assert_owned,
    assert_same,
    coordinates,
    copied,
    jacobian,
    leaves,
    map_leaves,
)
from .programs import INPUTS, Program

REDUCTIONS = ("np.sum", "np.cumsum")


def value_of(program: Program, x: Any) -> Any:
    return map_leaves(lambda leaf: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf, program(copied(x)))


def slopes_of(program: Program, x: Any) -> tuple[list[np.ndarray], float] | None:
    """Derivatives, and how far to trust them; None at a kink, a pole or where the program grows too wildly."""
    coarse, fine = (jacobian(program, x, h) for h in (1e-3, 5e-4))
    doubt = max(float(np.max(np.abs(c - f), initial=0.0)) for c, f in zip(coarse, fine, strict=True))
    scale = max([1.0, *(float(np.max(np.abs(f), initial=0.0)) for f in fine)])
    tolerance = 1e-9 + 10.0 * doubt / scale
    return (fine, tolerance) if tolerance < 1e-5 else None


def forward(program: Program, engine: Any) -> Callable[[], None]:
    x = copied(INPUTS[program.input])
    t = direction(x, 1)
    value, tangent = engine.jvp(program, (x,), (t,))

    def judge() -> None:
        want = value_of(program, INPUTS[program.input])
        assert_same(x, INPUTS[program.input], "the caller's argument")
        judge_value(program, value, want)
        assert_like(tangent, want, "tangent")
        assert_owned(x, t, value, tangent)
        if known := slopes_of(program, INPUTS[program.input]):
            pushed = [np.tensordot(coordinates(t), slope, 1) for slope in known[0]]
            assert_close(leaves(tangent), pushed, known[1], "tangent", scale_of(known[0], want))

    return judge


def reverse(program: Program, engine: Any) -> Callable[[], None]:
    x = copied(INPUTS[program.input])
    value, pullback = engine.vjp(program, x)

    def judge() -> None:
        want = value_of(program, INPUTS[program.input])
        assert_same(x, INPUTS[program.input], "the caller's argument")
        judge_value(program, value, want)
        ct = map_leaves(lambda leaf: direction(leaf, 2), want)
        (ct_x,) = pullback(ct)
        assert_like(ct_x, x, "pullback")
        assert_owned(x, value, ct, ct_x)
        if known := slopes_of(program, INPUTS[program.input]):
            pulled = sum(
                (c * slope).reshape(len(slope), -1).sum(axis=1) for c, slope in zip(leaves(ct), known[0], strict=True)
            )
            assert_close(ct_x, np.reshape(pulled, np.shape(x)), known[1], "pullback", scale_of(known[0], want))

    return judge


def batched(program: Program, engine: Any) -> Callable[[], None]:
    xs = lanes(INPUTS[program.input])
    value = engine.vmap(program)(xs)

    def judge() -> None:
        assert_same(xs, lanes(INPUTS[program.input]), "the caller's batch")
        each = [leaves(value_of(program, x)) for x in xs]
        want = [np.stack(parts) for parts in zip(*each, strict=True)]
        assert_like(value, want, "batched value")
        close_where_finite(value, want, "batched value")
        assert_owned(xs, value)

    return judge


def traced(program: Program, engine: Any) -> Callable[[], None]:
    x = copied(INPUTS[program.input])
    recorded = engine.trace(program)(x)
    other = neighbour(INPUTS[program.input])
    value = recorded.evaluate(other)

    def judge() -> None:
        assert_same(x, INPUTS[program.input], "the caller's argument")
        judge_value(program, value, value_of(program, neighbour(INPUTS[program.input])))
        assert_owned(x, other, value)

    return judge


FACES: dict[str, Callable[[Program, Any], Callable[[], None]]] = {
    "forward": forward,
    "reverse": reverse,
    "vmap": batched,
    "trace": traced,
}


def judge_value(program: Program, got: Any, want: Any) -> None:
    if any(reduction in line for line in program.lines for reduction in REDUCTIONS):
        # NumPy adds in the order of memory, so a sum's last bit may differ where we hold the values in another order.
        assert_like(got, want, "value")
        close_where_finite(got, want, "value")
    else:
        assert_same(got, want, "value")


def close_where_finite(got: Any, want: Any, what: str) -> None:
    for g, w in zip(leaves(got), leaves(want), strict=True):
        finite = np.isfinite(w)
        assert np.array_equal(finite, np.isfinite(g)), f"{what}: {g} is finite elsewhere than {w}"
        assert_close(np.asarray(g)[finite], np.asarray(w)[finite], 1e-13, what)


def scale_of(slopes: list[np.ndarray], value: Any) -> float:
    return max([1.0, *(float(np.max(np.abs(part), initial=0.0)) for part in (*slopes, *leaves(value)))])


def check(program: Program, face: str, engine: Any) -> None:
    with np.errstate(all="ignore"):
        # A 0-d array has no lanes that are 0-d arrays (see row.py), and in a batch of scalars NumPy raises otherwise.
        if face == "vmap" and program.input == "0-d array":
            return
        try:
            judge = FACES[face](program, engine)
        except AssertionError:
            raise
        except Exception as error:
            if program.may_be_refused and our_error(error):
                return
            assert program.raises, f"{error!r}, but NumPy runs it"
            assert isinstance(error, program.raises), f"{error!r}, but NumPy raises {program.raises}"
            return
        assert not program.raises, f"went through silently, but NumPy raises {program.raises}"
        judge()
