"""Rosenbrock's function of n variables, Σ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²."""

import numpy as np

NAME = "rosenbrock"
WHAT = "gradient"
SIZES = {"table": {"n": 1000}, "quick": {"n": 1000}, "tiny": {"n": 7}}


def inputs(seed, n):
    return (np.random.default_rng(seed).uniform(-2, 2, n),)


def function(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def by_loops(x):
    gradient = np.zeros(len(x))
    for i in range(len(x) - 1):
        r = x[i + 1] - x[i] * x[i]
        gradient[i] += -400.0 * r * x[i] - 2.0 * (1.0 - x[i])
        gradient[i + 1] += 200.0 * r
    return gradient


def by_hand(x):
    r = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[:-1] = -400.0 * r * x[:-1] - 2.0 * (1.0 - x[:-1])
    gradient[1:] += 200.0 * r
    return gradient


def casadi(args):
    import casadi as ca

    x = ca.SX.sym("x", len(args[0]))
    value = ca.sum1(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    return ca.Function("f", [x], [ca.gradient(value, x)])


def scipy():
    from scipy.optimize import rosen_der

    return rosen_der
