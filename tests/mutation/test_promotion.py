"""Buffers in nested transforms: a newer trace's value promotes a buffer, which may not outlive that trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg

X = 0.7


def slope_by_jvp(f: Any) -> Any:
    return lambda x: wg.jvp(f, (x,), (1.0,))[1]


def slope_by_vjp(f: Any) -> Any:
    return lambda x: wg.vjp(f, x)[1](1.0)[0]


def value_by_vmap(f: Any) -> Any:
    """No slope, but a trace: the value in a lane."""
    return lambda x: wg.vmap(f)(np.stack([x, x + 1.0]))[0]


SLOPES = {"jvp": slope_by_jvp, "vjp": slope_by_vjp, "grad": wg.grad}
each_pair = pytest.mark.parametrize(
    ("outer", "inner"), [(outer, inner) for outer in SLOPES.values() for inner in SLOPES.values()]
)


@each_pair
def test_a_buffer_of_the_outer_trace_takes_values_of_the_inner(outer: Any, inner: Any) -> None:
    def f(x: Any) -> Any:
        def g(z: Any) -> Any:
            y = np.zeros(2, like=x)
            y[0] = x * z
            y[1] = z * z * x
            return y.sum()

        return inner(g)(x)  # x + 2zx at z = x

    assert outer(f)(X) == pytest.approx(1.0 + 4.0 * X, rel=1e-13)


@each_pair
def test_a_view_taken_before_the_promotion_reads_it(outer: Any, inner: Any) -> None:
    def f(x: Any) -> Any:
        def g(z: Any) -> Any:
            y = np.zeros(3, like=x)
            v, r = y[1:], y.reshape(3, 1)
            y[1] = x * z
            v[1] = x
            v *= 2.0
            return v[0] * r[2, 0]  # 4·x²·z

        return inner(g)(x)

    assert outer(f)(X) == pytest.approx(8.0 * X, rel=1e-13)


@each_pair
def test_consumers_before_the_promotion_keep_the_old_value(outer: Any, inner: Any) -> None:
    def f(x: Any) -> Any:
        def g(z: Any) -> Any:
            y = np.full(2, 3.0, like=x)
            y *= x
            consumer = y[0] * y[1]  # 9x²
            y[...] = z
            return consumer * y[0]

        return inner(g)(x)

    assert outer(f)(X) == pytest.approx(18.0 * X, rel=1e-13)


@pytest.mark.parametrize("outer", SLOPES.values(), ids=SLOPES)
def test_a_batched_value_batches_the_buffer(outer: Any) -> None:
    def f(x: Any) -> Any:
        def lane(z: Any) -> Any:
            y = np.full(3, 2.0, like=x)
            v = y[1:]
            y *= x
            v[0] = x * z
            return y * v[1]  # 2x·(2x, xz, 2x)

        return np.sum(wg.vmap(lane)(np.array([1.0, 5.0])))  # Σ 8x² + 2x²z = 28x²

    assert outer(f)(X) == pytest.approx(56.0 * X, rel=1e-13)


@pytest.mark.parametrize("inner", SLOPES.values(), ids=SLOPES)
def test_each_lane_has_its_own_buffer(inner: Any) -> None:
    def f(x: Any) -> Any:
        def g(z: Any) -> Any:
            y = np.zeros(2, like=x)
            y[0] = x
            y[1:] += y[:-1] * z
            return y[1] * z  # x·z²

        return inner(g)(x)

    assert np.allclose(wg.vmap(f)(np.array([1.0, 2.0, 3.0])), 2.0 * np.array([1.0, 2.0, 3.0]) ** 2, rtol=1e-14, atol=0)


@pytest.mark.parametrize("outer", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("inner", [*SLOPES.values(), value_by_vmap], ids=[*SLOPES, "vmap"])
def test_a_promoted_buffer_may_not_outlive_the_inner_trace(outer: Any, inner: Any) -> None:
    def f(x: Any) -> Any:
        y = np.zeros(2, like=x)

        def g(z: Any) -> Any:
            y[0] = z * x
            return z * x

        inner(g)(x)
        return y.sum()

    with pytest.raises(wg.errors.EscapedTraceError):
        outer(f)(X)


@pytest.mark.parametrize("outer", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize("inner", [*SLOPES.values(), value_by_vmap], ids=[*SLOPES, "vmap"])
def test_an_outer_buffer_may_take_older_values_inside_an_inner_trace(outer: Any, inner: Any) -> None:
    def f(x: Any) -> Any:
        y = np.zeros(2, like=x)

        def g(z: Any) -> Any:
            y[0] = x * x
            y[1] += 3.0
            return z * y[0]

        inner(g)(x)
        return y.sum()

    assert outer(f)(X) == pytest.approx(2.0 * X, rel=1e-13)


@pytest.mark.parametrize("outer", SLOPES.values(), ids=SLOPES)
def test_a_captured_plain_array_is_refused_and_unchanged(outer: Any) -> None:
    cache = np.zeros(2)

    def f(x: Any) -> Any:
        cache[0:1] = x
        return x * cache[0]

    with pytest.raises(TypeError, match="like="):
        outer(f)(X)
    assert not cache.any()


def test_the_argument_is_promoted_and_the_callers_array_is_not() -> None:
    x = np.array([0.7, 1.9])

    def f(x: Any) -> Any:
        def g(z: Any) -> Any:
            x[0] = z * z  # an array that the outer function was given
            return x.sum() * z

        return wg.grad(g)(x[1])

    with pytest.raises(wg.errors.EscapedTraceError):
        wg.grad(lambda x: f(x) + x.sum())(x)
    assert np.array_equal(x, [0.7, 1.9])
