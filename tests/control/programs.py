"""Programs with loops and branches, each written once for wengert's and for plain Python's."""

from types import SimpleNamespace

import numpy as np

import wengert as wg


def _scan(f, init, xs=None, length=None, reverse=False):
    length = len(xs) if length is None else length
    carry, ys = init, [None] * length
    for i in reversed(range(length)) if reverse else range(length):
        carry, ys[i] = f(carry, None if xs is None else xs[i])
    return carry, None if ys[0] is None else np.stack(ys)


def _while_loop(cond_fun, body_fun, value):
    while cond_fun(value):
        value = body_fun(value)
    return value


def _fori_loop(lower, upper, body_fun, value):
    for i in range(lower, upper):
        value = body_fun(i, value)
    return value


def _cond(pred, true_fun, false_fun, *operands):
    return true_fun(*operands) if pred else false_fun(*operands)


def _switch(index, branches, *operands):
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


PYTHON = SimpleNamespace(scan=_scan, while_loop=_while_loop, fori_loop=_fori_loop, cond=_cond, switch=_switch)
OURS = SimpleNamespace(scan=wg.scan, while_loop=wg.while_loop, fori_loop=wg.fori_loop, cond=wg.cond, switch=wg.switch)

XS = np.random.default_rng(0).standard_normal((5, 2))
W = np.random.default_rng(1).standard_normal((2, 2)) / 2


def network(loops, x):
    """A recurrent network: captured arrays, and a residual that is the same in all steps (sin of the weights)."""
    h, ys = loops.scan(lambda h, z: (np.tanh(np.sin(W * x[0]) @ h + z * x), np.sum(h * h)), x * 1.0, XS)
    return np.sum(h * h) + np.sum(ys * np.arange(5.0))


def backwards(loops, x):
    carry, ys = loops.scan(lambda h, z: (h * z + x, h), x * 0.5, XS, reverse=True)
    return np.sum(ys**2) + np.sum(carry)


def over_traced(loops, x):
    carry, ys = loops.scan(
        lambda h, z: (h + np.sin(z) * h, z * z), np.float64(1.0), np.outer(np.arange(1.0, 5.0), x)[:, 0]
    )
    return carry + np.sum(ys)


def newton(loops, x):
    root = loops.while_loop(
        lambda v: np.sum(np.abs(v * v - x * x - 1)) > 1e-14, lambda v: (v + (x * x + 1) / v) / 2, x * x + 1.0
    )
    return np.sum(root * x)


def counted(loops, x):
    """An integer in the carry, which has no tangent."""
    _, v = loops.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, np.sin(s[1]) * x + s[0]), (0, x))
    return np.sum(v * v)


def as_long_as_needed(loops, x):
    s = loops.while_loop(lambda s: s < 30.0, lambda s: s * 1.5 + np.sum(x * x) * 0.3, np.sum(x))
    return s * s


def repeated(loops, x):
    return np.sum(loops.fori_loop(0, 5, lambda i, v: v * x + i * np.cos(v), x))


def nested(loops, x):
    def outer(c, z):
        w = loops.while_loop(lambda s: np.sum(s * s) < 9.0, lambda s: s * 1.3 + 0.1 * z * z, c)
        return w * 0.3, loops.fori_loop(0, 3, lambda i, q: q * np.sum(x) * 0.5, np.sum(w))

    carry, ys = loops.scan(outer, x, XS)
    return np.sum(carry * carry) + np.sum(ys)


def chosen(loops, x):
    return np.sum(loops.cond(np.sum(x) > 0, lambda a: np.sin(a) * x, lambda a: a * a * a + np.exp(a), x * 2.0))


def chosen_in_loop(loops, x):
    def step(i, v):
        return loops.cond(v * v > 2.0, lambda a: np.sqrt(np.abs(a)) * x[0], lambda a: a * 1.7 + x[1], v)

    return loops.fori_loop(0, 4, step, np.sum(x) + 0.3)


def switched_in_scan(loops, x):
    branches = [lambda v, z: np.sin(v) * z, lambda v, z: v + z * z, lambda v, z: v * 0.5]
    carry, _ = loops.scan(lambda c, s: (loops.switch(s, branches, c, x[1]), None), x[0], KINDS)
    return carry * carry


KINDS = np.array([0, 2, 1, 5, -1, 0])

PROGRAMS = [
    network, backwards, over_traced, newton, counted, as_long_as_needed, repeated, nested, chosen, chosen_in_loop,
    switched_in_scan,
]  # fmt: skip
