"""Gradient descent with an adaptive step, as Pearlmutter and Siskind's `particle` and `saddle` prescribe it.

Ten steps that go down double the step's length, one that would go up halves it; the end is a gradient or a step of at
most 10⁻⁵. (B. Pearlmutter and J. Siskind, Using Programming Language Theory to Make Automatic Differentiation Sound
and Efficient, AD 2008.)
"""

import numpy as np

from wengert import cond, while_loop

SMALL = 1e-5


def length(x):
    return np.sqrt(np.sum(x**2))


def argmin(f, gradient, x):
    """A minimum of f, from x on; `gradient` makes f's gradient."""
    slope = gradient(f)

    def going(state):
        _, _, gx, _, _, go = state
        return go & (length(gx) > SMALL)

    def widen(x, fx, gx, eta, i):
        return x, fx, gx, 2.0 * eta, 0 * i, True

    def attempt(x, fx, gx, eta, i):
        there = x - eta * gx
        return cond(length(there - x) <= SMALL, stop, judge, x, fx, gx, eta, i, there)

    def stop(x, fx, gx, eta, i, there):
        return x, fx, gx, eta, i, False

    def judge(x, fx, gx, eta, i, there):
        return cond(f(there) < fx, accept, halve, x, fx, gx, eta, i, there)

    def accept(x, fx, gx, eta, i, there):
        return there, f(there), slope(there), eta, i + 1, True

    def halve(x, fx, gx, eta, i, there):
        return x, fx, gx, eta / 2.0, 0 * i, True

    def step(state):
        x, fx, gx, eta, i, _ = state
        return cond(i == 10, widen, attempt, x, fx, gx, eta, i)

    return while_loop(going, step, (x, f(x), slope(x), SMALL, 0, True))[0]


def argmax(f, gradient, x):
    return argmin(lambda y: -f(y), gradient, x)


def maximum(f, gradient, x):
    return f(argmax(f, gradient, x))
