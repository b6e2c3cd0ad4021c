"""trace and the Wengert list: printing, checking, evaluating elsewhere, transposing, and its errors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import program
from wengert.avals import Aval
from wengert.core import REGISTRY, aval_of
from wengert.errors import ConversionError, ProgramError, StructureError, WengertError
from wengert.ops.elementwise import add, multiply, sin
from wengert.program import Equation, Literal, Var, WengertList

A = np.array([[1.0, 2.0, 0.5], [0.25, -1.0, 1.5]])
X = np.array([0.3, -0.6, 0.9])
F64 = np.dtype(np.float64)


def text(listed: WengertList) -> str:
    return "\n".join(line.rstrip() for line in str(listed).splitlines())


def test_printing() -> None:
    assert text(wg.trace(lambda x: np.log(np.sin(x**2) + np.exp(x)))(1.5)) == (
        "Wengert list of <lambda>: 5 operations\n"
        "  x1   input    float64  = 1.5\n"
        "  v1 = x1 ** 2  float64  = 2.25\n"
        "  v2 = sin(v1)  float64  = 0.778073\n"
        "  v3 = exp(x1)  float64  = 4.48169\n"
        "  v4 = v2 + v3  float64  = 5.25976\n"
        "  v5 = log(v4)  float64  = 1.66009\n"
        "  return v5"
    )

    def area(sides: Any, scale: Any) -> Any:
        return {"area": sides[0] * sides[1] * scale, "same": -sides, "two": 2.0}

    listed = wg.trace(area)(np.array([2.0, 3.0]), np.float32(0.5))
    shown = text(listed)
    assert shown.startswith("Wengert list of area: ")
    assert re.search(r"x1 +input +float64\[2\] +\[2\., 3\.\]|x1 +input +float64\[2\] += \[2\., 3\.\]", shown)
    assert re.search(r"x2 +input +float32 += 0\.5", shown)
    assert "return v" in shown and "2.0" in shown
    constant = np.array([1.0, 2.0, 3.0])
    shown = text(wg.trace(lambda x: x @ constant)(X))
    assert re.search(r"c1 +constant +float64\[3\] += \[1\., 2\., 3\.\]", shown)
    assert "x1 @ c1" in shown
    large = wg.trace(lambda x: x * np.ones((50, 60)))(np.ones((50, 60)))
    assert len(text(large)) < 300, "large values are not printed"
    assert "float64[50,60]" in text(large)
    assert repr(large) == str(large)
    assert text(wg.trace(lambda x: x)(1.0)).startswith("Wengert list of <lambda>: 0 operations")
    assert text(wg.trace(np.sin)(1.0)).startswith("Wengert list of sin: 1 operation\n")


def test_every_expression_can_be_printed() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y[0] = x[[1, 2]].sum()
        return np.sum(np.concatenate([y, np.where(x > 0, x, 1.0)]), axis=0, keepdims=True) ** 2 / 3 - np.sort(-x) @ x

    shown = text(wg.trace(f)(X))
    assert "0x" not in shown and "object at" not in shown and "<function" not in shown


def test_a_list_is_a_plain_object() -> None:
    listed = wg.trace(lambda a, b: (a + b) * np.sin(a))(1.0, 2.0)
    assert isinstance(listed, wg.WengertList)
    assert len(listed) == len(listed.equations) == 3
    assert [eqn.primitive.name for eqn in listed] == ["add", "sin", "multiply"]
    assert [var.name for var in listed.inputs] == ["x1", "x2"]
    assert listed.outputs[0] is listed.equations[-1].outputs[0]
    assert [listed.expression(eqn) for eqn in listed] == ["x1 + x2", "sin(x1)", "v1 * v2"]
    assert repr(listed.equations[0]) == "v1 = x1 + x2"
    assert listed.equations[0].outputs[0].example == 3.0
    listed.check()


PROGRAMS: dict[str, Any] = {
    "elementwise": lambda x: np.exp(np.sin(x)) / (1 + x**2),
    "captured": lambda x: A @ x + np.ones(2),
    "linear algebra": lambda x: np.linalg.solve(np.outer(x, x) + np.eye(3), x),
    "reductions": lambda x: (np.sum(x), np.max(x), np.std(x), np.argmax(x)),
    "shapes": lambda x: np.concatenate([x.reshape(3, 1) * x, np.ones((1, 3))]).T[::-1],
    "in place": lambda x: _in_place(x),
    "sort": lambda x: np.sort(x)[np.argsort(x)],
    "container": lambda x: {"a": [x, None], "b": 3.0, "c": (x[0], True)},
    "derivative": lambda x: wg.grad(lambda x: np.sum(np.tanh(A @ x)))(x),
    "batch": lambda x: wg.vmap(lambda a: a * x)(x),
    "second": lambda x: wg.hessian(lambda x: np.prod(x))(x),
    "float32": lambda x: (x.astype(np.float32) * 2.0).mean(),
    "several results": lambda x: np.linalg.slogdet(np.outer(x, x) + np.eye(3)),
}


def _in_place(x: Any) -> Any:
    y = np.zeros((2, 3), like=x)
    y[0] = x
    y[1, ::2] += x[0]
    y *= 2.0
    return y


@pytest.mark.parametrize("name", PROGRAMS)
def test_lists_hold_for_other_inputs(name: str) -> None:
    f = PROGRAMS[name]
    listed = wg.trace(f)(X)
    listed.check()
    for x in (X, 2 * X, np.array([1.5, -2.0, -0.1])):
        found, want = listed.evaluate(x), f(x.copy())
        for one, other in zip(_leaves(found), _leaves(want), strict=True):
            assert (np.shape(one), np.asarray(one).dtype) == (np.shape(other), np.asarray(other).dtype)
            np.testing.assert_array_equal(one, other)
        assert type(found) is type(want)
        assert type(listed(x)) is type(want)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]


def test_branches_follow_the_example() -> None:
    f = lambda x: x**2 if x > 0 else -x  # noqa: E731
    assert wg.trace(f)(2.0)(-3.0) == 9.0
    assert wg.trace(f)(-2.0)(-3.0) == 3.0


def test_inputs() -> None:
    listed = wg.trace(lambda c, n: c["x"] ** n)({"x": X}, 3)
    np.testing.assert_array_equal(listed({"x": 2 * X}, 2), 4 * X**2)
    listed = wg.trace(lambda x, scale=1.0: x * scale)(2.0, scale=3.0)  # keywords are no inputs
    assert listed(5.0) == 15.0
    assert wg.trace(lambda: 3.0)()() == 3.0
    for wrong in (np.ones(2), 1.0, np.ones((1, 3))):
        with pytest.raises(StructureError, match=r"Input x1 of the Wengert list has shape \(3,\), got"):
            wg.trace(np.sin)(X)(wrong)
    for wrong in ((X, X), (), ({"a": X},), ([X],)):
        with pytest.raises(StructureError, match="arguments of the Wengert list"):
            wg.trace(np.sin)(X)(*wrong)
    with pytest.raises(TypeError):
        wg.trace(np.sin)("text")


def test_constants_are_those_of_the_trace() -> None:
    constant = np.array([1.0, 2.0, 3.0])
    listed = wg.trace(lambda x: (x * constant, constant, 7.0))(X)
    assert len(listed.constants) == 1
    constant[:] = 0.0
    product, same, number = listed(X)
    np.testing.assert_array_equal(product, X * [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(same, [1.0, 2.0, 3.0])
    assert number == 7.0
    same[:] = 9.0
    np.testing.assert_array_equal(listed(X)[1], [1.0, 2.0, 3.0])
    twice = wg.trace(lambda x: x * constant + constant)(X)
    assert len(twice.constants) == 1


def test_a_list_over_traced_constants() -> None:
    def f(w: Any) -> Any:
        return wg.trace(lambda x: x * w)(2.0)(3.0)

    assert wg.grad(f)(5.0) == 3.0
    assert wg.jvp(f, (5.0,), (1.0,)) == (15.0, 3.0)
    np.testing.assert_array_equal(wg.vmap(f)(X), 3 * X)


def test_symbols() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(x)
        seen.append(repr(x))
        assert x.shape == (3,) and x.dtype == F64 and len(x) == 3
        assert f"{x[0]:.1f}" == "0.3"
        return x

    wg.trace(f)(X)
    assert type(seen[0]) is wg.Symbol
    assert seen[1].startswith("Symbol(x1: float64[3]")


# ----------------------------------------------------------------------------------------------------------- staging


def test_staging_from_shapes_alone() -> None:
    listed = program.stage(lambda x, y: [x * y, np.sum(x)], [Aval((3,), F64), Aval((), F64, False, True)])
    listed.check()
    assert [var.example for var in listed.inputs] == [None, None]
    found = program.evaluate(listed, [X, 2.0])
    np.testing.assert_array_equal(found[0], 2 * X)
    assert "= " not in text(listed).splitlines()[1]
    for f in (lambda x: [x if x > 0 else -x], lambda x: [float(x)], lambda x: [x * int(x)]):
        with pytest.raises(ConversionError):
            program.stage(f, [Aval((), F64, False, True)])


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ("reductions", "container", "sort")])
def test_shape_rules_agree_with_values(name: str) -> None:
    f = PROGRAMS[name]
    staged = program.stage(lambda x: _leaves(f(x)), [aval_of(X)])
    staged.check()
    for found, want in zip(program.evaluate(staged, [X]), _leaves(f(X)), strict=True):
        np.testing.assert_array_equal(found, want)


# --------------------------------------------------------------------------------------------------------- transpose


def linear(x: Any) -> Any:
    y = np.concatenate([x[::-1] * 2.0, A @ x, np.cumsum(x)])
    return np.sum(y.reshape(4, 2) * np.ones((4, 2)), axis=0) - np.broadcast_to(x[0], (2,))


@pytest.mark.parametrize(
    "f",
    [
        linear, lambda x: x, lambda x: -x + 3 * x, lambda x: A @ x, lambda x: np.stack([x, x])[:, ::2], lambda x: x * X,
        lambda x: x / X, lambda x: np.pad(x, 2), lambda x: np.sum(x), lambda x: x[[0, 0, 2]],
        lambda x: np.mean(x, keepdims=True),
        lambda x: np.roll(x, 1), lambda x: np.linalg.solve(np.diag(X), x), lambda x: x * 0.0,
    ],
)  # fmt: skip
def test_transposes(f: Any) -> None:
    listed = wg.trace(f)(X)
    rng = np.random.default_rng(0)
    v, w = rng.normal(size=3), rng.normal(size=np.shape(f(X)))
    (back,) = program.transpose(listed, [w])
    assert np.sum(w * listed(v)) == pytest.approx(np.sum(back * v), rel=1e-13, abs=1e-15)
    np.testing.assert_allclose(back, wg.vjp(f, X)[1](w)[0], rtol=1e-13, atol=1e-15)


def test_transposes_of_several_inputs_and_outputs() -> None:
    listed = wg.trace(lambda x, y: (x + 2 * y, A @ x, 5.0))(X, X)
    one, two = program.transpose(listed, [X, np.ones(2), None])
    np.testing.assert_allclose(one, X + A.sum(axis=0))
    np.testing.assert_allclose(two, 2 * X)
    one, two = program.transpose(listed, [None, np.ones(2), None])
    np.testing.assert_allclose(one, A.sum(axis=0))
    assert two is None


def test_a_transpose_can_be_differentiated() -> None:
    listed = wg.trace(linear)(X)
    jacobian = wg.jacfwd(linear)(X)
    np.testing.assert_allclose(
        wg.jacrev(lambda w: program.transpose(listed, [w])[0])(np.ones(2)), jacobian.T, rtol=1e-13
    )
    np.testing.assert_allclose(wg.vmap(lambda w: program.transpose(listed, [w])[0])(np.eye(2)), jacobian, rtol=1e-13)


@pytest.mark.parametrize(
    "f", [np.sin, lambda x: x * x, lambda x: 1 / x, lambda x: np.exp(2 * x), lambda x: np.outer(x, x)]
)
def test_a_list_that_is_not_linear_has_no_transpose(f: Any) -> None:
    listed = wg.trace(f)(X)
    with pytest.raises(ProgramError, match="not linear in"):
        program.transpose(listed, [np.ones_like(f(X))])


# ------------------------------------------------------------------------------------------------------------- check


def make(*equations: Equation, inputs: tuple[Var, ...], outputs: tuple[Any, ...]) -> WengertList:
    listed = WengertList(list(inputs))
    listed.equations = list(equations)
    listed.outputs = list(outputs)
    return listed


def scalar(name: str) -> Var:
    return Var(name, Aval((), F64, False, True))


def test_check_finds_malformed_lists() -> None:
    x, y, z = scalar("x"), scalar("y"), scalar("z")
    good = make(Equation(sin, [x], {}, [y]), Equation(add, [y, Literal(2.0)], {}, [z]), inputs=(x,), outputs=(z,))
    good.check()
    cases = {
        "is used by .* before it is set": make(Equation(sin, [y], {}, [z]), inputs=(x,), outputs=(z,)),
        "used by the outputs before it is set": make(inputs=(x,), outputs=(z,)),
        "set twice, the second time by `x": make(Equation(sin, [x], {}, [x]), inputs=(x,), outputs=(x,)),
        "set twice, the second time by the inputs": make(inputs=(x, x), outputs=(x,)),
        r"recorded as float64\[3\], but its shape rule gives float64": make(
            Equation(sin, [x], {}, [Var("v", Aval((3,), F64))]), inputs=(x,), outputs=(x,)
        ),
        "recorded as float32, but its shape rule gives float64": make(
            Equation(multiply, [x, x], {}, [Var("v", Aval((), np.dtype(np.float32)))]), inputs=(x,), outputs=(x,)
        ),
    }
    for message, listed in cases.items():
        with pytest.raises(ProgramError, match=message):
            listed.check()
    swapped = make(*reversed(good.equations), inputs=(x,), outputs=(z,))
    with pytest.raises(ProgramError):
        swapped.check()
    assert issubclass(ProgramError, TypeError) and issubclass(ProgramError, WengertError)


def test_check_after_each_registered_primitive() -> None:
    """Every primitive's shape rule is met by tests/test_registry.py; here, that lists know them by name."""
    listed = wg.trace(linear)(X)
    for eqn in listed:
        assert REGISTRY[eqn.primitive.name] is eqn.primitive
