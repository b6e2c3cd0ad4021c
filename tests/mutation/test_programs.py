"""Random programs of up to six statements: what wengert computes is what NumPy computes, or it says why not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import wengert as wg

from .judge_programs import FACES, check
from .programs import Program, programs


@pytest.mark.parametrize("face", FACES)
@given(program=programs())
@settings(max_examples=150, deadline=None, database=None)  # Hypothesis derandomises by itself where CI is set
def test_a_program(face: str, program: Program) -> None:
    check(program, face, wg)
