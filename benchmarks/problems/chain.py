"""Elementwise work on a long vector: Σ tanh(exp(−x²) sin x + log1p x²), value and gradient."""

import math

import numpy as np

NAME = "chain"
WHAT = "value and gradient"
SIZES = {"table": {"n": 1_000_000}, "quick": {"n": 100_000}, "tiny": {"n": 5}}


def inputs(seed, n):
    return (np.random.default_rng(seed).uniform(-2, 2, n),)


def function(x):
    return np.sum(np.tanh(np.exp(-(x**2)) * np.sin(x) + np.log1p(x**2)))


def by_loops(x):
    total, gradient = 0.0, np.empty(len(x))
    for i in range(len(x)):
        square = x[i] * x[i]
        bell, sine = math.exp(-square), math.sin(x[i])
        y = math.tanh(bell * sine + math.log1p(square))
        total += y
        inner = bell * (math.cos(x[i]) - 2.0 * x[i] * sine) + 2.0 * x[i] / (1.0 + square)
        gradient[i] = (1.0 - y * y) * inner
    return total, gradient


def by_hand(x):
    square = x * x
    bell, sine = np.exp(-square), np.sin(x)
    y = np.tanh(bell * sine + np.log1p(square))
    return y.sum(), (1.0 - y * y) * (bell * (np.cos(x) - 2.0 * x * sine) + 2.0 * x / (1.0 + square))
