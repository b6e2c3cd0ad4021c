"""The tester tested: wrong rules that a careless author might write, each to be found (house.md, habit 5)."""

import numpy as np
import pytest

import wengert as wg
from wengert import core, errors
from wengert.ops.kinds import Discrete, Elementwise, General, Linear
from wengert.ops.vector import aligned, broadcast_to, looped, scale, sum_to, trailing
from wengert.testing import cases, check_grads, check_rule


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Primitives made here are gone afterwards."""
    monkeypatch.setattr(core, "REGISTRY", dict(core.REGISTRY))
    import wengert.ops.kinds
    import wengert.ops.vector

    for room in (wengert.ops.kinds, wengert.ops.vector):
        monkeypatch.setattr(room, "register", lambda primitive: None)


def same(x, **_):
    return x.shape, x.dtype


def summed(name="row_sum", **changes):
    facts = {
        "value": lambda x: np.sum(x, axis=-1),
        "shape": lambda x: (x.shape[:-1], x.dtype),
        "transpose": (lambda ct, into: broadcast_to(np.expand_dims(ct, -1), shape=into.shape),),
        "batch": trailing,
        "examples": [((4, 3),), ((2,),), ((0, 3),)],
    }
    return Linear(name, **{**facts, **changes})


def cubed(**changes):
    facts = {
        "value": lambda x: x**3,
        "shape": same,
        "pushforward": (lambda x_dot, x: scale(x_dot, 3 * np.square(x)),),
        "batch": aligned,
        "examples": [((3, 2),), ((2,),)],
    }
    return General("cubed", **{**facts, **changes})


def test_right_rules_pass():
    check_rule(Elementwise(lambda x: np.sin(x), lambda x: np.cos(x), name="sine"), order=3)
    check_rule(summed())
    check_rule(cubed(), order=3)
    check_rule(Discrete("whole", np.floor, examples=[((3,),)]))


WRONG = {
    "partial": lambda: Elementwise(lambda x: np.sin(x), lambda x: np.sin(x), name="wrong"),
    "sign": lambda: Elementwise(lambda x: np.cos(x), lambda x: np.sin(x), name="wrong"),
    "one part in a million": lambda: Elementwise(lambda x: np.exp(x), lambda out: 1.000001 * out, name="wrong"),
    "one slot of two": lambda: Elementwise(lambda x, y: x * y, lambda y: y, lambda x: x * 1.001, name="wrong"),
    "forgotten slot": lambda: Elementwise(lambda x, y: x + y, 1, None, name="wrong"),
    "constant that should be -1": lambda: Elementwise(lambda x, y: x - y, 1, 1, name="wrong"),
    "second derivative lost to a constant": lambda: Elementwise(
        lambda x: np.sin(x), lambda x: wg.stop_gradient(np.cos(x)), name="wrong"
    ),
    "transpose too large": lambda: summed(
        transpose=(lambda ct, into: 2.0 * broadcast_to(np.expand_dims(ct, -1), shape=into.shape),)
    ),
    "transpose of wrong shape": lambda: summed(transpose=(lambda ct, into: np.expand_dims(ct, -1),)),
    "transpose not linear": lambda: summed(
        transpose=(lambda ct, into: broadcast_to(np.expand_dims(np.abs(ct), -1), shape=into.shape),)
    ),
    "shape rule": lambda: summed(shape=lambda x: (x.shape, x.dtype)),
    "dtype rule": lambda: summed(shape=lambda x: (x.shape[:-1], np.dtype(np.float32))),
    "scalar rule": lambda: summed(scalar=False),
    "batch rule": lambda: summed(
        value=lambda x: np.sum(x, axis=0),
        shape=lambda x: (x.shape[1:], x.dtype),
        transpose=(lambda ct, into: broadcast_to(ct, shape=into.shape),),
    ),
    "pushforward": lambda: cubed(pushforward=(lambda x_dot, x: scale(x_dot, 2 * np.square(x)),)),
    "pushforward not linear": lambda: cubed(pushforward=(lambda x_dot, x: scale(x_dot, 3 * np.square(x)) * x_dot,)),
    "own pullback differs": lambda: cubed(pullback=(lambda ct, into, x: ct * 3 * x,)),
    "value changes its argument": lambda: cubed(value=_bump),
    "no example": lambda: summed(examples=[]),
    "looped batch of the wrong axis": lambda: summed(
        batch=lambda primitive, size, args, mapped, params: looped(
            primitive, size, [np.flip(args[0], 0)], mapped, params
        )
    ),
    "summed over too much": lambda: summed(
        transpose=(lambda ct, into: broadcast_to(sum_to(ct, shape=()), shape=into.shape),)
    ),
}


def _bump(x):
    if isinstance(x, np.ndarray):
        x += 1e-3
    return x**3


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_found(name):
    primitive = WRONG[name]()
    with pytest.raises((AssertionError, errors.WengertError, ValueError)):
        check_rule(primitive)


def test_a_wide_constant_is_found_in_float32():
    leaking = Elementwise(lambda x: np.exp(x), lambda out: out * np.ones(out.shape), name="wrong")
    with pytest.raises(AssertionError, match="float64"):
        check_rule(leaking, np.float32, order=1)


def test_a_wrong_third_derivative_is_found_at_order_3_only():
    def broken_cosine(x):
        return np.cos(wg.stop_gradient(x)) - np.sin(wg.stop_gradient(x)) * (x - wg.stop_gradient(x))

    primitive = Elementwise(lambda x: np.sin(x), broken_cosine, name="wrong")
    check_rule(primitive, order=2)
    with pytest.raises(AssertionError):
        check_rule(primitive, order=3)


def test_a_rule_may_read_only_slots_and_out():
    with pytest.raises(errors.RuleError, match="'w'"):
        Elementwise(lambda x: np.sin(x), lambda w: np.cos(w), name="wrong")


def test_the_error_names_primitive_and_example():
    with pytest.raises(AssertionError, match=r"sine\(float64\[3, 2\]\)"):
        check_rule(Elementwise(lambda x: np.sin(x), lambda x: -np.cos(x), name="sine"))


def test_cases_are_the_same_each_time():
    primitive = core.REGISTRY["multiply"]
    for one, two in zip(cases(primitive), cases(primitive), strict=True):
        np.testing.assert_array_equal(one.args[0], two.args[0])


# ---------------------------------------------------------------------------------------------------- check_grads


def test_check_grads_accepts_what_is_right():
    x = np.linspace(0.1, 1.0, 5)
    check_grads(lambda x: np.sum(np.sin(x) * x), (x,), order=3)
    check_grads(lambda p, y: {"a": p["w"] * y, "b": [np.tanh(y)]}, ({"w": 2.0}, x))
    check_grads(lambda z: np.exp(1j * z) * z, (x + 0.2j,))
    check_grads(np.tanh, (x.astype(np.float32),))
    check_grads(lambda x: x, (np.zeros((0, 3)),))


def test_check_grads_finds_what_is_wrong():
    def wrong(x):
        return np.sin(wg.stop_gradient(x)) + 0.999 * np.cos(wg.stop_gradient(x)) * (x - wg.stop_gradient(x))

    for modes in (("fwd",), ("rev",)):
        with pytest.raises(AssertionError):
            check_grads(wrong, (0.3,), order=1, modes=modes)


def test_the_complex_step_finds_what_differences_cannot():
    def off(x):  # the derivative is wrong by one part in 10¹⁰, but the value, and so every difference, is right
        y = np.exp(x)
        return y + 1e-10 * (y - wg.stop_gradient(y))

    with pytest.raises(AssertionError, match="complex step"):
        check_grads(off, (0.3,), order=1, modes=("fwd",))


def test_the_complex_step_leaves_functions_alone_that_are_not_analytic():
    check_grads(lambda x: np.abs(x) * np.maximum(x, 0.1), (np.array([0.5, -2.0]),))
    check_grads(lambda x: np.hypot(x, 2.0) + np.linalg.norm(x), (np.array([0.5, -2.0]),))


def test_check_grads_finds_a_gradient_that_is_zero():
    with pytest.raises(AssertionError):
        check_grads(lambda x: wg.stop_gradient(x) ** 2, (1.5,), order=1)


def test_check_grads_finds_nan():
    with pytest.raises(AssertionError):
        check_grads(lambda x: np.sqrt(x - x) + x, (np.ones(2),), order=1, modes=("rev",))


def test_check_grads_refuses_unknown_modes():
    with pytest.raises(errors.ArgumentError, match="sideways"):
        check_grads(np.sin, (1.0,), modes=("sideways",))


def test_integers_of_few_bits_do_not_lower_the_precision():
    x, d = np.array([2.0, 3.0], np.float32), np.array([3, 7], np.int8)
    _, pullback = wg.vjp(lambda x: x / d, x)
    (bar,) = pullback(np.ones(2, np.float32))
    np.testing.assert_array_equal(bar, 1 / d.astype(np.float32))
