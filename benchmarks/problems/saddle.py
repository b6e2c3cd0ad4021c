"""GradBench's `saddle`: the saddle point of ‖x‖² − ‖y‖² by a descent whose every value is an ascent.

The outer gradient goes through the inner optimiser. MODE "fr" is forward outside, reverse inside.
"""

import numpy as np

from benchmarks.problems import descent

NAME = "saddle"
WHAT = "saddle point by nested gradients"
MODE, JAX_MODE = "rr", "fr"  # JAX has no reverse mode through while_loop
SIZES = {"table": {}, "quick": {}, "tiny": {}}
LOOPS = ("uphill", "by_loops")
WITHOUT = {
    "mygrad": "has no nested derivatives",
    "torch.compile": "does not compile loops on values",
}


def inputs(seed):
    return (np.array([1.0, 1.0]),)


def height(x, y):
    return np.sum(x**2) - np.sum(y**2)


def derivative(ad):
    outer, inner = ({"r": ad.grad, "f": ad.jacfwd}[mode] for mode in MODE)

    def find(start):
        x = descent.argmin(lambda x: descent.maximum(lambda y: height(x, y), inner, start), outer, start)
        return np.concatenate([x, descent.argmax(lambda y: height(x, y), outer, start)])

    return find


def uphill(x, start):
    """The y that maximises ‖x‖² − ‖y‖² (its slope is −2y), and the maximum."""
    offset = x[0] * x[0] + x[1] * x[1]
    y0, y1, eta, i = start[0], start[1], 1e-5, 0
    value = offset - y0 * y0 - y1 * y1
    while np.sqrt(4.0 * (y0 * y0 + y1 * y1)) > 1e-5:
        if i == 10:
            eta, i = 2.0 * eta, 0
            continue
        t0, t1 = y0 - eta * 2.0 * y0, y1 - eta * 2.0 * y1
        if np.sqrt((t0 - y0) ** 2 + (t1 - y1) ** 2) <= 1e-5:
            break
        there = offset - t0 * t0 - t1 * t1
        if there > value:
            y0, y1, value, i = t0, t1, there, i + 1
        else:
            eta, i = eta / 2.0, 0
    return y0, y1, value


def by_loops(start):
    """∂/∂x of the maximum is 2x, whatever y the ascent finds: y does not depend on x."""
    x, there = start.copy(), np.empty(2)
    eta, i = 1e-5, 0
    value = uphill(x, start)[2]
    while np.sqrt(4.0 * (x[0] * x[0] + x[1] * x[1])) > 1e-5:
        if i == 10:
            eta, i = 2.0 * eta, 0
            continue
        there[0], there[1] = x[0] - eta * 2.0 * x[0], x[1] - eta * 2.0 * x[1]
        if np.sqrt((there[0] - x[0]) ** 2 + (there[1] - x[1]) ** 2) <= 1e-5:
            break
        lower = uphill(there, start)[2]
        if lower < value:
            x[0], x[1], value, i = there[0], there[1], lower, i + 1
        else:
            eta, i = eta / 2.0, 0
    y0, y1, _ = uphill(x, start)
    return np.array([x[0], x[1], y0, y1])
