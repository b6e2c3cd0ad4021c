"""GradBench's `llsq`: ½ Σᵢ (sᵢ − Σⱼ xⱼ tᵢʲ)², tᵢ from −1 to 1 and sᵢ its sign: a polynomial of m terms at n points."""

import numpy as np

NAME = "llsq"
WHAT = "gradient"
STATIC = (1,)
SIZES = {"table": {"n": 16392, "m": 128}, "quick": {"n": 2048, "m": 128}, "tiny": {"n": 9, "m": 4}}


def inputs(seed, n, m):
    return np.random.default_rng(seed).uniform(0, 1, m), n


def function(x, n):
    t = np.linspace(-1.0, 1.0, n)
    residual = np.sign(t) - np.vander(t, len(x), increasing=True) @ x
    return 0.5 * np.sum(residual**2)


def by_loops(x, n):
    m = len(x)
    gradient, powers = np.zeros(m), np.empty(m)
    for i in range(n):
        t = -1.0 + i * 2.0 / (n - 1)
        residual = (t > 0.0) * 1.0 - (t < 0.0) * 1.0
        power = 1.0
        for j in range(m):
            powers[j] = power
            residual -= x[j] * power
            power *= t
        for j in range(m):
            gradient[j] -= residual * powers[j]
    return gradient


def by_hand(x, n):
    t = np.linspace(-1.0, 1.0, n)
    powers = np.vander(t, len(x), increasing=True)
    return (powers @ x - np.sign(t)) @ powers
