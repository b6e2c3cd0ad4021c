"""A deep program for the curves: tanh(sin x · a + b), over and over, on a short vector; `depth` operations."""

import numpy as np

NAME = "deep"
WHAT = "gradient"
STATIC = (1,)
SIZES = {"table": {"depth": 1000}, "quick": {"depth": 100}, "tiny": {"depth": 8}}


def inputs(seed, depth, n=10):
    return np.random.default_rng(seed).uniform(0.1, 1, n), depth


def function(x, depth):
    for _ in range(depth // 4):
        x = np.tanh(np.sin(x) * 1.0001 + 1e-7)
    return np.sum(x)


def by_hand(x, depth):
    tape = []
    for _ in range(depth // 4):
        tape.append(x)
        x = np.sin(x) * 1.0001 + 1e-7
        tape.append(x)
        x = np.tanh(x)
    ct = np.ones_like(x)
    while tape:
        ct = ct / np.cosh(tape.pop()) ** 2
        ct = ct * 1.0001 * np.cos(tape.pop())
    return ct
