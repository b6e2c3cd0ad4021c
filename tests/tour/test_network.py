"""The network: its loss is the cross-entropy, its gradient is right, and it learns."""

import itertools

import numpy as np

from wengert.tour import data, network


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
        runs.append(list(network.train(network.initial(64, rng), digits, 4, rng)))
    one, again = runs
    assert [epoch.number for epoch in one] == [0, 1, 2, 3, 4]
    assert all(after.loss < before.loss for before, after in itertools.pairwise(one))
    assert one[-1].held_accuracy > 0.95 and one[-1].loss < 0.3 * one[0].loss
    assert one[-1].loss == again[-1].loss
