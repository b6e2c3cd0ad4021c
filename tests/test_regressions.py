"""Faults that were found once: each test is named for what it shows, and failed before its mending."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, ChangedArrayError, ConversionError, EscapedTraceError, StructureError
from wengert.residuals import checksum

RNG = np.random.default_rng(0)


# ------------------------------------------------------------------------------------------- arrays that change


@pytest.mark.parametrize(
    "change",
    [np.negative, np.abs, lambda a: 2.0 * a, lambda a: a[::-1], lambda a: 1.0 - a],
    ids=["signs", "some signs", "exponents", "order", "mask"],
)
@pytest.mark.parametrize("rows", [1, 4, 64, 65, 128])
@pytest.mark.parametrize("data", ["normal", "mask"])
def test_a_checksum_sees_what_touches_only_the_topmost_bits(change: Any, rows: int, data: str) -> None:
    # A sum with odd weights modulo 2⁶⁴ keeps only the parity of sign bits: −x had the checksum of x
    a = RNG.standard_normal(rows * 4096) if data == "normal" else (RNG.random(rows * 4096) < 0.5).astype(float)
    changed = np.ascontiguousarray(change(a))
    assert np.array_equal(a, changed) or checksum(a) != checksum(changed)


def test_a_large_array_that_is_negated_before_the_pullback_is_noticed() -> None:
    x, c = RNG.standard_normal((2, 128, 128))
    _, pullback = wg.vjp(lambda x: np.sum(c * np.sin(x)), x)
    np.negative(c, out=c)
    with pytest.raises(ChangedArrayError):
        pullback(1.0)
    _, pullback = wg.vjp(lambda x: np.sum(np.sin(x)), x)
    x *= -1
    with pytest.raises(ChangedArrayError):
        pullback(1.0)


def test_the_integers_of_bincount_are_copied() -> None:
    places, weights = np.array([0, 1, 1, 2]), np.array([1.0, 2.0, 3.0, 4.0])
    _, pullback = wg.vjp(lambda w: np.bincount(places, w) ** 2, weights)
    expected = pullback(np.ones(3))[0]
    places[:] = 0
    np.testing.assert_array_equal(pullback(np.ones(3))[0], expected)


@pytest.mark.parametrize("size", [3, 10_000])
def test_forward_mode_sees_the_argument_as_it_was_when_called(size: int) -> None:
    x, v = np.full(size, 2.0), np.ones(size)

    def overwrites(z: Any) -> Any:
        x[...] = 5.0
        v[...] = 7.0
        return z * z

    value, tangent = wg.jvp(overwrites, (x,), (v,))
    np.testing.assert_array_equal(value, np.full(size, 4.0))
    np.testing.assert_array_equal(tangent, np.full(size, 4.0))
    x[...] = 2.0
    value, pushforward = wg.linearize(overwrites, x)
    np.testing.assert_array_equal(value, np.full(size, 4.0))
    np.testing.assert_array_equal(pushforward(np.ones(size)), np.full(size, 4.0))


def test_what_a_pushforward_returns_is_not_kept_in_it() -> None:
    _, pushforward = wg.linearize(lambda x: (x, np.ones(3)), np.ones(3))
    pushforward(np.ones(3))[1][:] = 7.0
    np.testing.assert_array_equal(pushforward(np.ones(3))[1], np.zeros(3))


def test_what_a_hook_returns_stays_the_hooks_own() -> None:
    mine = np.full(3, 2.0)
    x = wg.Variable(np.zeros(3))
    x.register_hook(lambda gradient: mine)
    np.sum(x).backward()
    assert not np.shares_memory(x.grad, mine)
    x.register_hook(lambda gradient: [1.0, 2.0, 3.0])  # a list is read as an array, as everywhere
    x.zero_grad()
    np.sum(x).backward()
    np.testing.assert_array_equal(x.grad, [1.0, 2.0, 3.0])


# ------------------------------------------------------------------------------------------------- memory order

LAYOUTS = {
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "negative strides": np.arange(12.0).reshape(2, 6)[:, ::-2],
    "permuted": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "large": np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
}


def _filled(y: Any, x: Any) -> Any:
    y[...] = x
    return y


READERS = {
    "ravel K": lambda x: np.ravel(x, order="K"),
    "ravel A": lambda x: x.ravel(order="A"),
    "flatten": lambda x: (2 * x).flatten("K"),
    "reshape A": lambda x: np.reshape(x, -1, order="A"),
    "transposed": lambda x: np.ravel(x.T, order="K"),
    "zeros_like": lambda x: np.ravel(np.zeros_like(x) + x, order="K"),
    "into zeros_like F": lambda x: np.ravel(_filled(np.zeros_like(x, order="F"), x), order="A"),
}
READINGS = {
    "grad": lambda f, x: wg.value_and_grad(f)(x)[0],
    "vjp": lambda f, x: wg.vjp(f, x)[0],
    "jvp": lambda f, x: wg.jvp(f, (x,), (x,))[0],
    "linearize": lambda f, x: wg.linearize(f, x)[0],
    "trace": lambda f, x: wg.trace(f)(x)(x),
    "vmap": lambda f, x: wg.vmap(f)(np.stack([x, x]))[1],
    "Variable": lambda f, x: f(wg.Variable(x)).item(),
    "Dual": lambda f, x: f(wg.Dual(x)).primal,
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_that_depend_on_the_memory_order_are_numpys(layout: str, reader: str, reading: str) -> None:
    x = LAYOUTS[layout]
    weights = np.arange(float(x.size))

    def program(x: Any) -> Any:
        return np.sum(READERS[reader](x) * weights)

    assert READINGS[reading](program, x) == pytest.approx(program(x), rel=1e-12)


def test_reading_data_leaves_the_memory_order() -> None:
    x = wg.Variable(LAYOUTS["Fortran"])
    before = np.ravel(x, order="K").data
    assert x.data.flags.f_contiguous
    np.testing.assert_array_equal(np.ravel(x, order="K").data, before)


# --------------------------------------------------------------------------------------------------- containers


def test_axes_are_matched_to_mappings_by_key() -> None:
    batch = OrderedDict([("b", np.ones((3, 2))), ("a", np.arange(9.0).reshape(3, 3))])
    summed = wg.vmap(lambda d: d["b"].sum() + d["a"].sum(), in_axes=({"b": 0, "a": None},))(batch)
    np.testing.assert_array_equal(summed, [38.0, 38.0, 38.0])


def test_none_among_axes_and_none_in_the_container() -> None:
    batch = ((np.arange(3.0), np.arange(3.0)), None, np.ones(3))
    result = wg.vmap(lambda t: t[0][0] * t[0][1] + t[2], in_axes=((0, None, 0),))(batch)
    np.testing.assert_array_equal(result, [1.0, 2.0, 5.0])
    with pytest.raises(StructureError, match="does not fit"):
        wg.vmap(lambda t: t[0], in_axes=((0, 0),))(((np.ones(3), np.ones(3)), None, np.ones(3)))


def test_tangents_are_matched_to_mappings_by_key() -> None:
    primal = OrderedDict([("b", 2.0), ("a", 5.0), ("n", 3)])
    value, tangent = wg.jvp(lambda d: d["b"] * d["n"], (primal,), ({"b": 1.0, "a": 0.0, "n": None},))
    assert (value, tangent) == (6.0, 3.0)


def test_none_for_an_integer_alone_in_a_container_or_beside_none() -> None:
    assert wg.jvp(lambda x, d: x * d["n"], (2.0, {"n": 3}), (1.0, {"n": None})) == (6.0, 3.0)
    assert wg.jvp(lambda t: t[1] * t[2], ([None, 2.0, 3],), ([None, 1.0, None],)) == (6.0, 3.0)


def test_lists_and_pullbacks_can_be_pickled_and_copied() -> None:
    program = wg.trace(lambda x: np.sum(x**2))(np.ones(2))
    _, pullback = wg.vjp(np.sin, 0.0)
    for passed_on in (copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        assert passed_on(program)(np.full(2, 3.0)) == 18.0
        assert passed_on(pullback)(2.0) == (2.0,)


# -------------------------------------------------------------------------------------------------- partials, dtypes


def test_partials_kept_under_no_grad_are_not_used_outside() -> None:
    def second_derivative(also_under_no_grad: bool) -> Any:
        w = wg.Variable(2.0)
        _, pullback = wg.vjp(lambda x: np.sin(x * w), 1.0)
        pullback(1.0)
        if also_under_no_grad:
            with wg.no_grad():
                pullback(1.0)
        pullback(1.0)[0].backward()
        return w.grad

    assert second_derivative(True) == second_derivative(False)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(
    "function",
    [lambda x: x / 3, lambda x: x / 3.0, lambda x: 2.0**x, lambda x: 2**x, lambda x: np.copysign(x, -1.0)],
    ids=["x / 3", "x / 3.0", "2.0**x", "2**x", "copysign"],
)
def test_python_numbers_do_not_widen_cotangents(function: Any, dtype: Any) -> None:
    seen = []
    x = wg.Variable(np.array([0.5, 1.5], dtype))
    y = np.positive(x)
    y.register_hook(lambda gradient: seen.append(gradient.dtype))
    function(y).backward(np.ones(2, dtype))
    assert seen == [dtype]


def test_an_integer_beyond_64_bits_as_a_base() -> None:
    big = 10**30
    assert wg.grad(lambda x: big**x)(1.0) == pytest.approx(1e30 * np.log(1e30), rel=1e-14)
    with pytest.raises(ConversionError, match="beyond 64 bits"):  # was a RecursionError
        wg.grad(lambda x: np.sum(np.outer(x, big)))(np.ones(2))


def test_forward_mode_takes_python_bools() -> None:
    for function, slope in ((lambda x: x + True, 1.0), (lambda x: True * x, 1.0), (lambda x: x / True, 1.0)):
        assert wg.jvp(function, (2.0,), (1.0,))[1] == slope
        np.testing.assert_array_equal(wg.jvp(function, (np.ones(2),), (np.ones(2),))[1], [slope, slope])


def test_a_negative_base_with_a_complex_exponent_has_a_derivative() -> None:
    base, exponent = np.array([-2.0, 3.0]), 1.0 + 0.5j
    value, tangent = wg.jvp(lambda y: base**y, (exponent,), (1.0 + 0j,))
    np.testing.assert_allclose(tangent, value * np.log(base + 0j), rtol=1e-14)
    ct = wg.vjp(lambda y: base**y, exponent)[1](np.ones(2, complex))[0]
    np.testing.assert_allclose(ct, np.sum(tangent), rtol=1e-14)


def test_degrees_and_radians_are_known_by_these_names_too() -> None:
    assert wg.grad(np.degrees)(1.0) == 180 / np.pi
    assert wg.grad(np.radians)(1.0) == np.pi / 180


def test_the_slope_of_interp_can_be_batched() -> None:
    knots, values, x = np.array([-1.0, 0.0, 1.0]), np.array([1.0, 3.0, 2.0]), np.array([-0.5, 0.5])
    np.testing.assert_array_equal(wg.vmap(wg.grad(lambda x: np.interp(x, knots, values)))(x), [2.0, -1.0])

    def of_values(x: Any) -> Any:
        return wg.grad(lambda values: np.interp(x, knots, values))(values)

    np.testing.assert_array_equal(wg.vmap(of_values)(x), [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])


def test_a_list_of_a_gradient_does_not_warn_in_the_users_name() -> None:
    x = RNG.standard_normal((3, 2))
    program = wg.trace(wg.grad(lambda x: np.sum(np.logaddexp.reduce(x))))(x)
    program(x)  # any warning is an error here; the rule divides 0 by 0 where it then looks away
    with pytest.warns(RuntimeWarning, match="invalid"):
        wg.trace(np.log)(1.0)(-1.0)  # this is the user's own


# ----------------------------------------------------------------------------------------- escapes, the eager face


def test_handing_an_escaped_value_through_a_transform_is_noticed() -> None:
    kept: list[Any] = []
    wg.grad(lambda x: (kept.append(x * 2), x * x)[1])(1.0)
    for use in (
        lambda v: wg.grad(lambda y: v)(1.0),
        lambda v: wg.jvp(lambda y: v, (1.0,), (1.0,)),
        lambda v: wg.vmap(lambda y: v)(np.ones(2)),
        lambda v: wg.trace(lambda y: v)(1.0),
        lambda v: wg.grad(np.sin)(v),
    ):
        with pytest.raises(EscapedTraceError):
            use(kept[0])


def test_data_is_refused_where_it_would_lose_the_gradient() -> None:
    with pytest.raises(ConversionError, match="stop_gradient"):
        wg.grad(lambda x: x * x.data)(2.0)
    with pytest.raises(ConversionError):
        wg.grad(lambda x: setattr(x, "data", 5.0) or x * x)(2.0)
    y = np.exp(wg.Variable(np.ones(2)))
    with pytest.raises(ArgumentError, match="result"):
        y.data = np.zeros(2)


def test_broadcast_arrays_makes_arrays_of_numbers() -> None:
    one, _ = np.broadcast_arrays(wg.Variable(2.0), 3.0)
    assert not one.aval.scalar
