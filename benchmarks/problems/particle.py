"""GradBench's `particle`: which w makes a charge that two others repel cross the x-axis at the origin.

Euler's method follows the charge, by the gradient of the potential; descent along the gradient of that whole
calculation finds w. Each gradient may be forward or reverse: MODE "fr" is forward outside, reverse inside.
"""

import math

import numpy as np

from benchmarks.problems import descent
from wengert import while_loop

NAME = "particle"
WHAT = "argmin by nested gradients"
MODE, JAX_MODE = "rr", "fr"  # JAX has no reverse mode through while_loop
SIZES = {"table": {}, "quick": {}, "tiny": {}}
LOOPS = ("trajectory", "by_loops")
WITHOUT = {
    "torch": "one call takes a minute, a hundred thousand steps in Python",
    "autograd": "one call takes more than a minute, a hundred thousand steps in Python",
    "mygrad": "has no nested derivatives",
    "torch.compile": "does not compile loops on values",
}


def inputs(seed):
    return (np.array([0.0]),)


def potential(x, w):
    return 1.0 / np.sqrt((x[0] - 10.0) ** 2 + (x[1] - 10.0 + w) ** 2) + 1.0 / np.sqrt((x[0] - 10.0) ** 2 + x[1] ** 2)


def crossing(w, gradient):
    """The square of where the charge crosses the axis."""
    slope = gradient(lambda x: potential(x, w))

    def above(state):
        x, velocity = state
        return (x + 0.1 * velocity)[1] > 0

    def step(state):
        x, velocity = state
        return x + 0.1 * velocity, velocity - 0.1 * slope(x)

    x, velocity = while_loop(above, step, (np.asarray([0.0, 8.0]), np.asarray([0.75, 0.0])))
    return (x[0] - x[1] / velocity[1] * velocity[0]) ** 2


def derivative(ad):
    outer, inner = ({"r": ad.grad, "f": ad.jacfwd}[mode] for mode in MODE)

    def find(w):
        return descent.argmin(lambda v: crossing(v[0], inner), outer, w)

    return find


def trajectory(w):
    """The square of the crossing and its derivative in w, carried forward by hand."""
    x, y, vx, vy = 0.0, 8.0, 0.75, 0.0
    dx, dy, dvx, dvy = 0.0, 0.0, 0.0, 0.0
    while y + 0.1 * vy > 0.0:
        ax, ay, dax, day = 0.0, 0.0, 0.0, 0.0
        for charge in range(2):
            rx, ry, dry = x - 10.0, y, dy
            if charge == 0:
                ry, dry = ry - 10.0 + w, dry + 1.0
            square = rx * rx + ry * ry
            cube = square * math.sqrt(square)
            dot = 3.0 * (rx * dx + ry * dry) / square
            ax, ay = ax + rx / cube, ay + ry / cube
            dax, day = dax + (dx - rx * dot) / cube, day + (dry - ry * dot) / cube
        x, y, dx, dy = x + 0.1 * vx, y + 0.1 * vy, dx + 0.1 * dvx, dy + 0.1 * dvy
        vx, vy, dvx, dvy = vx + 0.1 * ax, vy + 0.1 * ay, dvx + 0.1 * dax, dvy + 0.1 * day
    t = -y / vy
    end = x + t * vx
    return end * end, 2.0 * end * (dx - (dy + t * dvy) / vy * vx + t * dvx)


def by_loops(start):
    w, eta, i = start[0], 1e-5, 0
    value, slope = trajectory(w)
    while abs(slope) > 1e-5:
        if i == 10:
            eta, i = 2.0 * eta, 0
            continue
        there = w - eta * slope
        if abs(there - w) <= 1e-5:
            break
        new_value, new_slope = trajectory(there)
        if new_value < value:
            w, value, slope, i = there, new_value, new_slope, i + 1
        else:
            eta, i = eta / 2.0, 0
    return np.array([w])
