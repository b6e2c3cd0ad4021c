"""Loops and branches in the NumPy back end: Python's own, to the bit what the primitives give."""

import numpy as np
import pytest

import wengert as wg
from tests.compile.test_source import bits, check, expected_of
from wengert import control
from wengert.compile import source


def traced(function, *args):
    return wg.trace(function)(*args)


def scanned(w, xs, reverse=False):
    def step(h, x):
        h = np.tanh(w * h + x)
        return h, (h * 2, np.sum(h))

    return control.scan(step, np.zeros_like(w), xs, reverse=reverse)


W = np.array([0.5, -1.0, 2.0])
XS = np.linspace(-1, 1, 12).reshape(4, 3)


def newton(a):
    return control.while_loop(lambda x: np.sum(np.abs(x * x - a)) > 1e-8, lambda x: 0.5 * (x + a / x), np.ones_like(a))


def counting(n, x):
    return control.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (0, np.float64(1.0)))


def chosen(x):
    return control.cond(np.sum(x) > 0, lambda v: (np.sin(v), v * 2), lambda v: (np.cos(v), v), x)


def switched(k, x):
    return control.switch(k, [np.sin, lambda v: v * v, np.exp], x)


def summed(n_steps):
    return lambda x: control.fori_loop(0, n_steps, lambda i, s: s + np.sin(x * i), np.zeros_like(x))


def scalar_loss(function):
    return lambda *args: sum(np.sum(leaf * leaf) for leaf in wg.core_leaves(function(*args)))


def total(tree):
    return sum(np.sum(leaf * leaf) for leaf in (tree if isinstance(tree, tuple) else (tree,)))


PROGRAMS = {
    "scan": (lambda w, xs: (lambda out: [out[0], *out[1]])(scanned(w, xs)), (W, XS)),
    "scan in reverse": (lambda w, xs: (lambda out: [out[0], *out[1]])(scanned(w, xs, reverse=True)), (W, XS)),
    "gradient of scan": (
        wg.grad(lambda w, xs: np.sum(scanned(w, xs)[1][0] ** 2) + np.sum(scanned(w, xs)[0]), (0, 1)),
        (W, XS),
    ),
    "hvp of scan": (
        lambda w, xs: wg.jvp(wg.grad(lambda v: np.sum(scanned(v, xs)[1][0] ** 2)), (w,), (np.ones(3),))[1],
        (W, XS),
    ),
    "while": (newton, (np.array([2.0, 3.0, 5.0]),)),
    "gradient of while": (wg.grad(lambda a: np.sum(newton(a) ** 3)), (np.array([2.0, 3.0, 5.0]),)),
    "forward through while": (
        lambda a: wg.jvp(newton, (a,), (np.ones(3),))[1],
        (np.array([2.0, 3.0, 5.0]),),
    ),
    "counter": (lambda x: list(counting(5, x)), (1.5,)),
    "gradient with a counter": (wg.grad(lambda x: counting(5, x)[1]), (1.5,)),
    "cond": (lambda x: list(chosen(x)), (W,)),
    "gradient of cond": (wg.grad(lambda x: total(chosen(x))), (W,)),
    "switch": (switched, (1, W)),
    "gradient of switch": (wg.grad(switched_sum := (lambda x, k: np.sum(switched(k, x)))), (W, 2)),
    "fori": (summed(6), (W,)),
    "gradient of fori": (wg.grad(lambda x: np.sum(summed(6)(x))), (W,)),
    "batch of while": (wg.vmap(newton), (np.array([[2.0, 3.0], [50.0, 0.1]]),)),
    "nested": (
        wg.grad(
            lambda x: np.sum(
                control.scan(lambda c, r: (c + np.sum(control.scan(lambda d, e: (d * e, d), r, XS)[1]), c), 0.0, XS)[0]
                * x
            )
        ),
        (W,),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_control(name):
    function, args = PROGRAMS[name]
    check(traced(function, *args), args)


@pytest.mark.parametrize(("x", "k"), [(W, -3), (-W, 0), (W, 1), (W, 2), (W, 9)])
def test_every_branch(x, k):
    for listing, leaves in ((traced(switched, 1, W), (k, x)), (traced(lambda x: list(chosen(x)), W), (x,))):
        assert list(map(bits, source.compile(listing)(leaves))) == list(map(bits, expected_of(listing, leaves)))


def test_loops_without_a_step():
    listing = traced(newton, np.array([2.0, 3.0]))
    for start in (np.ones(2), np.array([4.0, 9.0])):
        check(listing, (start,))
    check(traced(lambda w: [*scanned(w, np.zeros((0, 3)))[1], scanned(w, np.zeros((0, 3)))[0]], W), (W,))
    gradient = traced(wg.grad(lambda a: np.sum(newton(a))), np.array([2.0, 3.0]))
    check(gradient, (np.ones(2),))


def test_large_carries_use_work_arrays_and_stay_apart():
    x = np.linspace(0, 1, 5000)

    def step(c, r):
        y = np.sin(c) * np.exp(-c) + r
        return y.reshape(50, 100).reshape(5000), y[::2]

    listing = traced(lambda x: list(control.scan(step, x, np.arange(6.0))), x)
    check(listing, (x,))
    assert "out=b" in source.compile(listing).source


def test_text_of_loops():
    text = source.generate(traced(lambda a: newton(a), np.array([2.0, 3.0])))
    assert "while _f_test(" in text
    text = source.generate(traced(lambda w, xs: scanned(w, xs)[0], W, XS))
    assert "for i in range(4):" in text
    assert text == source.generate(traced(lambda w, xs: scanned(w, xs)[0], W, XS))
