"""Lists written by hand, and what it means that a pass did not change one."""

from __future__ import annotations

import itertools

import numpy as np

from wengert import core
from wengert.avals import Aval
from wengert.core import REGISTRY, aval_of
from wengert.program import Equation, Literal, Var, WengertList, evaluate

F8, F4, I8, B1 = (np.dtype(code) for code in ("f8", "f4", "i8", "?"))
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -3.0, 5e-324, -2.5e-310, 1e308, -1.7e308, 2.0, 1e-200, 700.0]
)


class Hand:
    """A list under construction: calls add lines, and numbers among the operands become literals or constants.

    h = Hand(); x = h.input((3,)); h.returns(h("add", x, 1.0))
    """

    def __init__(self):
        self.program = WengertList([], "hand")
        self.count = 0

    def input(self, shape=(), dtype=F8, weak=False, scalar=None):
        aval = Aval(shape, np.dtype(dtype), weak, not shape if scalar is None else scalar)
        var = Var(f"x{len(self.program.inputs) + 1}", aval)
        self.program.inputs.append(var)
        return var

    def atom(self, value):
        if isinstance(value, Var | Literal):
            return value
        if not isinstance(value, np.ndarray):
            return Literal(value)
        var = Var(f"c{len(self.program.constants) + 1}", aval_of(value))
        self.program.constants.append((var, value))
        return var

    def __call__(self, name, *operands, quiet=False, **params):
        primitive = REGISTRY[name]
        atoms = [self.atom(value) for value in operands]
        avals = primitive.abstract([atom.aval for atom in atoms], params)
        outputs = []
        for aval in avals if primitive.multiple else (avals,):
            self.count += 1
            outputs.append(Var(f"v{self.count}", aval))
        self.program.equations.append(Equation(primitive, atoms, params, outputs, quiet))
        return tuple(outputs) if primitive.multiple else outputs[0]

    def returns(self, *atoms, guards=()):
        self.program.outputs = [self.atom(atom) for atom in atoms]
        self.program.guards = list(guards)
        self.program.check()
        return self.program


def body(function, *avals):
    """A closed list, as loops and branches hold: `function` of a Hand and its inputs returns the outputs."""
    h = Hand()
    found = function(
        h, *(h.input(*aval) if isinstance(aval, tuple) else h.input(aval.shape, aval.dtype) for aval in avals)
    )
    return h.returns(*(found if isinstance(found, tuple) else (found,)))


def names(program):
    """The primitives of a list, in order."""
    return [eqn.primitive.name for eqn in program.equations]


def grids(program, seed=0, count=6):
    """Arguments for a list: all pairs of special values where it is small enough, and ordinary numbers.

    Booleans and integers are drawn too; index arrays stay in bounds because they are drawn from 0, 1 and −1.
    """
    rng = np.random.default_rng(seed)
    for k in range(count):
        leaves = []
        for var in program.inputs:
            aval = var.aval
            if aval.dtype.kind == "b":
                value = rng.random(aval.shape) < 0.5
            elif aval.dtype.kind in "iu":
                value = rng.integers(-1, 2, aval.shape) if aval.dtype.kind == "i" else rng.integers(0, 3, aval.shape)
            elif k < count - 2:
                value = rng.choice(SPECIAL, aval.shape)
            else:
                value = rng.standard_normal(aval.shape) * 10.0 ** rng.integers(-2, 3, aval.shape)
            if aval.dtype.kind == "c":
                value = np.stack([value, rng.choice(SPECIAL, aval.shape)], -1).view(np.complex128)[..., 0]
            with np.errstate(all="ignore"):
                value = np.asarray(value).astype(aval.dtype)
            leaves.append(value.item() if aval.weak else value[()] if aval.scalar else value)
        yield leaves
    scalars = [var for var in program.inputs if var.aval.shape == () and var.aval.dtype.kind == "f"]
    if len(scalars) == len(program.inputs) <= 2:
        for pair in itertools.product(SPECIAL, repeat=len(scalars)):
            with np.errstate(all="ignore"):
                yield [
                    float(v) if x.aval.weak else x.aval.dtype.type(v) if x.aval.scalar else np.asarray(v, x.aval.dtype)
                    for v, x in zip(pair, scalars, strict=True)
                ]


def outcome(program, leaves):
    """What a list gives on these values: whether its guards hold, and its results."""
    whole = WengertList(program.inputs, program.name)
    whole.constants, whole.equations = program.constants, program.equations
    whole.outputs = [*program.outputs, *(var for var, _ in program.guards)]
    with np.errstate(all="ignore"):
        found = evaluate(whole, leaves)
    count = len(program.outputs)
    holds = all(
        np.asarray(x).tobytes() == np.asarray(value).tobytes()
        for x, (_, value) in zip(found[count:], program.guards, strict=True)
    )
    return holds, found[:count]


def kind(value):
    """What of a result is not its numbers: a Python number, a NumPy scalar or an array; dtype and shape."""
    what = (
        type(value) if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic) else None
    )
    return what, aval_of(core.concrete(value))


def bits(value):
    """The bits of a value, those of every NaN alike."""
    array = np.array(value)
    if array.dtype.kind == "c":
        parts = np.stack([array.real, array.imag])
        return bits(parts)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.tobytes()


def assert_same(before, after, rounds=False, seed=0):
    """A pass did not change what a list does, nor break the list."""
    after.check()
    assert after.inputs == before.inputs
    assert [atom.aval for atom in after.outputs] == [atom.aval for atom in before.outputs]
    taken = [var.name for eqn in after.equations for var in eqn.outputs]
    assert len(set(taken)) == len(taken), "two variables have one name"
    for leaves in grids(before, seed):
        holds, expected = outcome(before, leaves)
        also, found = outcome(after, leaves)
        assert holds == also, f"guards differ at {leaves}"
        for x, y in zip(expected, found, strict=True):
            assert kind(x) == kind(y), f"{kind(y)} instead of {kind(x)}"
            if rounds and np.asarray(x).dtype.kind in "fc":
                assert_close(y, x, leaves)
            else:
                assert bits(x) == bits(y), f"{y!r} instead of {x!r} at {leaves}"


def assert_close(found, expected, leaves, ulps=8):
    """Equal but for rounding; infinities, NaN and the signs of zeros alike. Subnormals may lose bits."""
    x, y = np.asarray(found), np.asarray(expected)
    with np.errstate(all="ignore"):
        spacing = np.maximum(np.spacing(np.abs(y)), np.finfo(y.dtype).tiny)
        close = (np.abs(x - y) <= ulps * spacing) | (x == y) | (np.isnan(x) & np.isnan(y))
    assert close.all(), f"{x} instead of {y} at {leaves}"
