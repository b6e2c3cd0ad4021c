"""A program of many inputs for the curves: Σᵢ xᵢ · sin xᵢ₊₁ of k short vectors, each an argument of its own."""

import itertools

import numpy as np

NAME = "many"
WHAT = "gradient"
ARGNUMS = "all"
SIZES = {"table": {"count": 100}, "quick": {"count": 20}, "tiny": {"count": 3}}


def inputs(seed, count):
    return tuple(np.random.default_rng(seed).uniform(0, 1, (count, 2)))


def function(*xs):
    total = 0.0
    for x, y in itertools.pairwise(xs):
        total = total + np.sum(x * np.sin(y))
    return total


def by_hand(*xs):
    gradients = [np.zeros_like(x) for x in xs]
    for k in range(len(xs) - 1):
        gradients[k] += np.sin(xs[k + 1])
        gradients[k + 1] += xs[k] * np.cos(xs[k + 1])
    return tuple(gradients)
