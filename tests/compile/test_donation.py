"""Donated arguments are updated in place where that is safe, and never otherwise."""

import numpy as np
import pytest

import wengert as wg
from wengert.compile.machine import engine

native = pytest.mark.skipif(engine.unavailable() is not None, reason="only native code updates in place")


def twice(function, make, **options):
    """The results of the second call, which the native entry answers, and its arguments."""
    jitted = wg.jit(function, **options)
    jitted(*make())
    args = make()
    return jitted(*args), args


@native
def test_a_step_of_descent_updates_its_weights_in_place():
    def step(p, x):
        gradient = wg.grad(lambda p: np.sum((x @ p["w"] + p["b"]) ** 2))(p)
        return {name: p[name] - 0.01 * gradient[name] for name in p}

    def make():
        rng = np.random.default_rng(0)
        return {"w": rng.random((30, 5)), "b": rng.random(5)}, rng.random((7, 30))

    found, (p, _) = twice(step, make, donate=0)
    expected = step(*make())
    for name in p:
        assert found[name] is p[name]
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


CASES = {
    "read at another place": lambda x: x[::-1] * 2,
    "read after it was written": lambda x: (x * 2, np.sum(x * 2 * np.flip(x))),
    "two results": lambda x: (x + 1, x * 2),
    "transposed": lambda x: x.reshape(2, 3).T.reshape(6) + x,
    "out of bounds in the end": lambda x: (x * 2, x[np.argsort(x)]),
    "cumulative": lambda x: np.cumsum(x) + x,
    "reduced": lambda x: (x - np.mean(x), np.max(x)),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_eager(name):
    def make():
        return (np.array([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]),)

    found, _ = twice(CASES[name], make, donate=0)
    expected = CASES[name](*make())
    for one, other in zip(np.atleast_1d(found) if type(found) is not tuple else found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


def test_arrays_that_cannot_be_given_away_are_copied():
    f = wg.jit(lambda x, y: x * 2 + y, donate=0)
    one = np.ones(3)
    f(np.arange(3.0), one)
    read_only = np.arange(3.0)
    read_only.flags.writeable = False
    np.testing.assert_array_equal(f(read_only, one), [1, 3, 5])
    np.testing.assert_array_equal(read_only, [0, 1, 2])
    whole = np.arange(6.0)
    np.testing.assert_array_equal(f(whole[::2], one), [1, 5, 9])
    np.testing.assert_array_equal(f(whole[:3], one), [1, 3, 5])  # it owns no memory
    np.testing.assert_array_equal(whole, np.arange(6.0))
    both = np.arange(3.0)
    np.testing.assert_array_equal(f(both, both), [0, 3, 6])
