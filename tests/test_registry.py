"""Every primitive, the day it is added: one body for all of them (house.md, habit 4)."""

import numpy as np
import pytest

import wengert  # noqa: F401  (fills the registry)
from wengert.core import REGISTRY
from wengert.testing import check_rule

NAMES = sorted(REGISTRY)
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
