"""The gradient of log(sin x² + eˣ) at a float: the cost of a call, and nothing else."""

import math

import numpy as np

NAME = "scalar"
WHAT = "gradient"
SIZES = {"table": {}, "quick": {}, "tiny": {}}


def inputs(seed):
    return (1.5 + 0.01 * seed,)


def function(x):
    return np.log(np.sin(x**2) + np.exp(x))


def by_loops(x):
    return (2 * x * math.cos(x * x) + math.exp(x)) / (math.sin(x * x) + math.exp(x))


def by_hand(x):
    return (2 * x * np.cos(x * x) + np.exp(x)) / (np.sin(x * x) + np.exp(x))


def casadi(args):
    import casadi as ca

    x = ca.SX.sym("x")
    return ca.Function("f", [x], [ca.gradient(ca.log(ca.sin(x**2) + ca.exp(x)), x)])
