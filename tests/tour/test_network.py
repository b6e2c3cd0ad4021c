"""The network: its loss is the cross-entropy, its gradient is right, and it learns."""

import itertools

import numpy as np
import pytest

import wengert as wg
from wengert.compile.machine import engine
from wengert.tour import data, network

# Each tour compiles its own gradient, and one process takes many tours here
pytestmark = pytest.mark.filterwarnings("ignore:jit.* is one of many jitted functions")


def test_loss_is_the_cross_entropy_and_does_not_overflow():
    rng = np.random.default_rng(0)
    params, x, y = network.initial(5, rng), rng.normal(size=(7, 5)), np.resize([0.0, 1.0], 7)
    p = network.probability(params, x)
    np.testing.assert_allclose(network.loss(params, x, y), np.mean(-y * np.log(p) - (1 - y) * np.log1p(-p)), rtol=1e-13)
    certain = {name: 1e6 * value for name, value in params.items()}
    assert np.isfinite(network.loss(certain, x, y))


def test_gradient_agrees_with_central_differences():
    rng = np.random.default_rng(1)
    digits = data.load(None, 0)
    params = network.initial(64, rng)
    assert network.difference_error(params, digits.train_x[:16], digits.train_y[:16], rng) < 1e-7


def test_it_learns_and_repeats_itself():
    digits = data.load(None, 0)
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(2)
        runs.append(list(network.train(network.initial(64, rng), digits, 4, rng, network.compiled())))
    one, again = runs
    assert [epoch.number for epoch in one] == [0, 1, 2, 3, 4]
    assert all(after.loss < before.loss for before, after in itertools.pairwise(one))
    assert one[-1].held_accuracy > 0.95 and one[-1].loss < 0.3 * one[0].loss
    assert one[-1].loss == again[-1].loss


def no_cache(monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", "off")


def no_llvmlite(monkeypatch):
    monkeypatch.setattr(engine, "unavailable", lambda: "llvmlite is not installed")


@pytest.mark.parametrize("without", [None, no_cache, no_llvmlite])
def test_compiled_training_is_the_eager_one(monkeypatch, without):
    if without is not None:
        without(monkeypatch)
    digits = data.load(None, 0)
    compiled = network.compiled()
    runs = []
    for gradient in (wg.value_and_grad(network.loss), compiled):
        rng = np.random.default_rng(4)
        runs.append(list(network.train(network.initial(64, rng), digits, 3, rng, gradient)))
    for eager, jitted in zip(*runs, strict=True):
        np.testing.assert_allclose(jitted.loss, eager.loss, rtol=1e-11)
        for name, value in eager.params.items():
            np.testing.assert_allclose(jitted.params[name], value, rtol=0, atol=1e-11)

    gain = network.gain(compiled, runs[1][-1].params, digits, repeats=3)
    assert {rows.size for rows in network.batches(np.arange(len(digits.train_y)))} == {28, 29}
    assert len(compiled.specializations()) == 2
    assert min(gain.eager, gain.jitted, gain.making) > 0
    if without is no_llvmlite:
        assert gain.why_numpy == "llvmlite is not installed"
    else:
        assert gain.why_numpy == engine.unavailable()


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 289, 1000])
def test_batches_hold_all_and_have_two_sizes_at_most(count):
    found = network.batches(np.arange(count))
    sizes = {rows.size for rows in found}
    assert max(sizes) <= network.BATCH and max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.concatenate(found), np.arange(count))
