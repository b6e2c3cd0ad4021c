"""Every primitive, the day it is added: one body for all of them (house.md, habit 4)."""

import numpy as np
import pytest

import wengert
from wengert import program
from wengert.avals import is_differentiable
from wengert.core import REGISTRY, aval_of
from wengert.testing import cases, check_rule

NAMES = sorted(
    name for name in REGISTRY if not REGISTRY[name].composite
)  # those run lists: tests/control/test_rules.py
COMPLEX = [name for name in NAMES if REGISTRY[name].tags & {"complex", "complex-only"}]
REAL = [name for name in NAMES if "complex-only" not in REGISTRY[name].tags]


@pytest.mark.parametrize("name", REAL)
def test_rule_in_float64(name):
    check_rule(REGISTRY[name], np.float64)


@pytest.mark.parametrize("name", REAL)
def test_rule_in_float32(name):
    if "float64" in REGISTRY[name].tags:
        pytest.skip("NumPy computes it in float64 always")
    check_rule(REGISTRY[name], np.float32, order=1)


@pytest.mark.parametrize("name", COMPLEX)
def test_rule_in_complex128(name):
    check_rule(REGISTRY[name], np.complex128)


def of_batches(f):
    return wengert.vmap(f)


def of_batches_of_batches(f):
    return wengert.vmap(wengert.vmap(f))


def pushed_forward(f):
    return lambda *xs: wengert.jvp(f, xs, xs)[1]


def pulled_back(f):
    def pulled(*xs):
        out, pullback = wengert.vjp(f, *xs)
        return pullback(out)

    return pulled


@pytest.mark.parametrize("transform", [of_batches, of_batches_of_batches, pushed_forward, pulled_back])
@pytest.mark.parametrize("name", REAL)
def test_lists_written_from_shapes_alone(name, transform):
    """What bodies of loops are: derivatives and batches in which every shape and dtype is the rules' own answer."""
    primitive = REGISTRY[name]
    lead = {of_batches: (3,), of_batches_of_batches: (2, 3)}.get(transform, ())
    if not lead and not primitive.differentiable:
        pytest.skip("it has no derivative")
    for case in cases(primitive):
        arrays = [np.asarray(x) for x in case.args if isinstance(x, np.ndarray | np.generic)]
        slots = [k for k, x in enumerate(case.args) if isinstance(x, np.ndarray | np.generic)]
        if not lead:
            slots = [k for k in slots if is_differentiable(np.asarray(case.args[k]).dtype)]
            arrays = [np.asarray(case.args[k]) for k in slots]
        arrays = [np.broadcast_to(x, (*lead, *x.shape)).copy() for x in arrays]

        def function(*xs, case=case, slots=slots):
            out = case.function(slots)(*xs)
            found = list(out) if primitive.multiple else [out]
            return found if lead else [y for y in found if is_differentiable(aval_of(y).dtype)]

        transformed = transform(function)
        staged = program.stage(lambda *xs, f=transformed: list(f(*xs)), [aval_of(x) for x in arrays])
        staged.check()
        with np.errstate(all="ignore"):
            results = zip(program.evaluate(staged, arrays), transformed(*arrays), staged.outputs, strict=True)
        for got, expected, atom in results:
            assert np.shape(got) == np.shape(expected) == atom.aval.shape, case
            assert np.asarray(got).dtype == np.asarray(expected).dtype == atom.aval.dtype, case
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
