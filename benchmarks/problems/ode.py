"""GradBench's `ode`: y₀′ = x₀, yᵢ′ = xᵢ yᵢ₋₁ from 0 to 2 in s steps of Runge and Kutta; the gradient of the last y.

GradBench's hand-written C++ differentiates the exact solution y₍ₙ₋₁₎(2) = 2ⁿ/n! ∏ xᵢ instead, which is another number
where n > 4 (and 0 in float64 where n > 177); the loops below differentiate the same program as everybody.
"""

import numpy as np

from wengert import scan

NAME = "ode"
WHAT = "gradient"
STATIC = (1,)
SIZES = {"table": {"n": 10_000, "s": 10}, "quick": {"n": 1000, "s": 10}, "tiny": {"n": 7, "s": 5}}
LOOPS = ("slope", "pull_slope", "by_loops")


def inputs(seed, n, s):
    return np.random.default_rng(seed).uniform(0, 1, n), s


def solve(x, s):
    h = 2.0 / s

    def f(y):
        return np.concatenate([x[:1], x[1:] * y[:-1]])

    def step(y, _):
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    return scan(step, np.zeros_like(x), None, length=s)[0]


def function(x, s):
    return solve(x, s)[-1]


def slope(x, y, out):
    out[0] = x[0]
    for i in range(1, len(x)):
        out[i] = x[i] * y[i - 1]


def pull_slope(x, y, ct, out, x_bar):
    """out = ct · ∂f/∂y, x_bar += ct · ∂f/∂x."""
    n = len(x)
    x_bar[0] += ct[0]
    for i in range(1, n):
        x_bar[i] += ct[i] * y[i - 1]
        out[i - 1] = ct[i] * x[i]
    out[n - 1] = 0.0


def by_loops(x, s):
    n, h = len(x), 2.0 / s
    states = np.zeros((s, 4, n))  # per step: the points at which the four slopes are taken
    k, y, total = np.empty(n), np.zeros(n), np.empty(n)
    for step in range(s):
        points = states[step]
        points[0] = y
        slope(x, points[0], k)
        for i in range(n):
            total[i] = k[i]
            points[1, i] = y[i] + h / 2 * k[i]
        slope(x, points[1], k)
        for i in range(n):
            total[i] += 2 * k[i]
            points[2, i] = y[i] + h / 2 * k[i]
        slope(x, points[2], k)
        for i in range(n):
            total[i] += 2 * k[i]
            points[3, i] = y[i] + h * k[i]
        slope(x, points[3], k)
        for i in range(n):
            y[i] += h / 6 * (total[i] + k[i])
    x_bar, y_bar, k_bar, point_bar = np.zeros(n), np.zeros(n), np.empty(n), np.empty(n)
    y_bar[n - 1] = 1.0
    for step in range(s - 1, -1, -1):
        points = states[step]
        for i in range(n):
            total[i] = y_bar[i]
            k_bar[i] = h / 6 * y_bar[i]
        pull_slope(x, points[3], k_bar, point_bar, x_bar)
        for i in range(n):
            y_bar[i] += point_bar[i]
            k_bar[i] = h / 3 * total[i] + h * point_bar[i]
        pull_slope(x, points[2], k_bar, point_bar, x_bar)
        for i in range(n):
            y_bar[i] += point_bar[i]
            k_bar[i] = h / 3 * total[i] + h / 2 * point_bar[i]
        pull_slope(x, points[1], k_bar, point_bar, x_bar)
        for i in range(n):
            y_bar[i] += point_bar[i]
            k_bar[i] = h / 6 * total[i] + h / 2 * point_bar[i]
        pull_slope(x, points[0], k_bar, point_bar, x_bar)
        for i in range(n):
            y_bar[i] += point_bar[i]
    return x_bar
