"""GradBench's `hello`: the square, and its derivative."""

import numpy as np

NAME = "hello"
WHAT = "gradient"
SIZES = {"table": {}, "quick": {}, "tiny": {}}


def inputs(seed):
    return (3.0 + seed,)


def function(x):
    return np.square(x)


def by_loops(x):
    return 2 * x


def by_hand(x):
    return 2 * x


def casadi(args):
    import casadi as ca

    x = ca.SX.sym("x")
    return ca.Function("f", [x], [ca.gradient(x * x, x)])
