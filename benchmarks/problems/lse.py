"""GradBench's `lse`: log Σ exp xᵢ, shifted by the maximum, of n numbers; its gradient is the softmax."""

import math

import numpy as np

NAME = "lse"
WHAT = "gradient"
SIZES = {"table": {"n": 1_000_000}, "quick": {"n": 100_000}, "tiny": {"n": 6}}


def inputs(seed, n):
    return (np.random.default_rng(seed).uniform(0, 1, n),)


def function(x):
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


def by_loops(x):
    largest = x[0]
    for i in range(len(x)):
        largest = max(largest, x[i])
    total, gradient = 0.0, np.empty(len(x))
    for i in range(len(x)):
        gradient[i] = math.exp(x[i] - largest)
        total += gradient[i]
    for i in range(len(x)):
        gradient[i] /= total
    return gradient


def by_hand(x):
    e = np.exp(x - np.max(x))
    e /= e.sum()
    return e
