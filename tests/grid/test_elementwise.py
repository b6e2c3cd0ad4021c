"""Derivatives of the elementwise functions against mpmath's, on the committed grid, and what is decided at kinks.

`tools/make_grid.py` wrote the grid. The first derivatives hold to 1e-13 in float64 (1e-5 in float32), one point at a
time and for all points at once, forward and reverse; at the special points all partial derivatives to order 3 hold in
every order of differentiation and every alternation of the modes.
"""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg

GRID: dict[str, Any] = json.loads((Path(__file__).parent / "elementwise.json").read_text())
RTOL = {"float64": 1e-13, "float32": 1e-5}
FLAGS = ("o", "u", "s")  # the true derivative overflows, underflows to 0, is subnormal

Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Grid points lie where NumPy's own values overflow or divide by zero; those warnings are the user's, not ours."""
    with np.errstate(all="ignore"):
        yield


# ---------------------------------------------------------------------------------------------------------- tools


def number(text: str | None) -> float | None:
    return None if text is None else float.fromhex(text)


def forward(f: Function) -> Function:
    def derivative(x: Any) -> Any:
        # The seed is 1 in x's own dtype where x is plain; a traced x takes a Python float.
        seed = np.ones_like(x)[()] if isinstance(x, np.generic | np.ndarray) else 1.0
        return wg.jvp(f, (x,), (seed,))[1]

    return derivative


def reverse(f: Function) -> Function:
    return wg.grad(f)


MODES: dict[str, Function] = {"forward": forward, "reverse": reverse}
ALTERNATIONS = {
    "forward": (forward, forward, forward),
    "reverse": (reverse, reverse, reverse),
    "forward over reverse": (reverse, forward, reverse),
    "reverse over forward": (forward, reverse, forward),
}


def pulled_back(f: Function, *args: Any) -> tuple[Any, ...]:
    """The cotangents of all arguments where the output's is 1."""
    out, pullback = wg.vjp(f, *args)
    cts = pullback(np.ones_like(out))
    return cts if isinstance(cts, tuple) else (cts,)


def difference(got: Any, want: float, flag: str, dtype: str) -> str | None:
    """What is wrong with `got`, or None."""
    info = np.finfo(dtype)
    got = float(got)
    if math.isnan(got):
        return "NaN"
    if math.isinf(want):  # `o`: the last bit before overflow may be lost
        large = math.copysign(1, got) == math.copysign(1, want) and abs(got) >= float(info.max) * (1 - RTOL[dtype])
        return None if got == want or (flag == "o" and large) else f"{got!r}, not {want!r}"
    # Below the smallest normal number nothing can hold a relative accuracy.
    allowed = RTOL[dtype] * abs(want) + (float(info.tiny) if flag in ("u", "s") else 0.0)
    if abs(got - want) <= allowed:
        return None
    return f"{got!r}, not {want!r} (relative error {abs(got - want) / abs(want) if want else math.inf:.1e})"


def report(wrong: list[str]) -> None:
    assert not wrong, f"{len(wrong)} points:\n" + "\n".join(wrong[:12])


def unary_rows(name: str, dtype: str) -> list[tuple[Any, float, str]]:
    """Points as scalars of `dtype` (Python floats for float64), derivatives and flags."""
    cast = float if dtype == "float64" else np.float32
    rows = GRID[f"unary {dtype}"][name]
    return [(cast(number(x)), number(d), flag[0] if flag else "") for x, d, *flag in rows]  # type: ignore[misc]


def binary_rows(name: str, dtype: str) -> list[tuple[Any, Any, list[float | None], list[str]]]:
    cast = float if dtype == "float64" else np.float32
    second = int if name == "ldexp" else cast
    return [
        (cast(number(x)), second(number(y)), [number(dx), number(dy)], flags or ["", ""])
        for x, y, dx, dy, *flags in GRID[f"binary {dtype}"][name]
    ]


UNARY = [(name, dtype) for dtype in RTOL for name in GRID[f"unary {dtype}"]]
BINARY = [(name, dtype) for dtype in RTOL for name in GRID[f"binary {dtype}"]]

# ----------------------------------------------------------------------------------------------- first derivatives


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_unary(name: str, dtype: str, mode: str) -> None:
    f = getattr(np, name)
    wrong = []
    for x, want, flag in unary_rows(name, dtype):
        got = MODES[mode](f)(x)
        if np.asarray(got).dtype != dtype:
            wrong.append(f"{name}'({x!r}) is {np.asarray(got).dtype}, not {dtype}")
        elif fault := difference(got, want, flag, dtype):
            wrong.append(f"{name}'({x!r}) = {fault}")
    report(wrong)


@pytest.mark.parametrize(("name", "dtype"), UNARY)
def test_unary_all_points_at_once(name: str, dtype: str) -> None:
    f = getattr(np, name)
    rows = unary_rows(name, dtype)
    points = np.array([x for x, _, _ in rows], dtype)
    value, pushed = wg.jvp(f, (points,), (np.ones_like(points),))
    np.testing.assert_array_equal(value, f(points))  # the value is NumPy's own
    (pulled,) = pulled_back(f, points)
    assert pushed.dtype == pulled.dtype == dtype
    assert pushed.shape == pulled.shape == points.shape
    wrong = []
    for (x, want, flag), *both in zip(rows, pushed, pulled, strict=True):
        for mode, got in zip(MODES, both, strict=True):
            if fault := difference(got, want, flag, dtype):
                wrong.append(f"{mode}: {name}'({x!r}) = {fault}")
    report(wrong)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "dtype"), BINARY)
def test_binary(name: str, dtype: str, mode: str) -> None:
    f = getattr(np, name)
    wrong = []
    for x, y, wants, flags in binary_rows(name, dtype):
        slices = (lambda v, y=y: f(v, y)), (lambda v, x=x: f(x, v))
        for slot, (along, at, want, flag) in enumerate(zip(slices, (x, y), wants, flags, strict=True)):
            if want is not None and (fault := difference(MODES[mode](along)(at), want, flag, dtype)):
                wrong.append(f"∂{slot} {name}({x!r}, {y!r}) = {fault}")
    report(wrong)


@pytest.mark.parametrize(("name", "dtype"), [row for row in BINARY if row[0] != "ldexp"])
def test_binary_all_points_at_once(name: str, dtype: str) -> None:
    f = getattr(np, name)
    rows = binary_rows(name, dtype)
    xs, ys = (np.array([row[k] for row in rows], dtype) for k in (0, 1))
    ones, zeros = np.ones_like(xs), np.zeros_like(xs)
    # A zero tangent adds nothing, be the partial in its slot infinite or NaN (power at a negative base).
    pushed = [wg.jvp(f, (xs, ys), tangents)[1] for tangents in ((ones, zeros), (zeros, ones))]
    pulled = pulled_back(f, xs, ys)
    wrong = []
    for mode, both in zip(MODES, (pushed, pulled), strict=True):
        for slot, partials in enumerate(both):
            assert partials.dtype == dtype
            for (x, y, wants, flags), got in zip(rows, partials, strict=True):
                want = wants[slot]
                if want is not None and (fault := difference(got, want, flags[slot], dtype)):
                    wrong.append(f"{mode}: ∂{slot} {name}({x!r}, {y!r}) = {fault}")
    report(wrong)


# ------------------------------------------------------------------------------------------ special points, order 3

ORDER_RTOL = {"float64": (1e-13, 1e-12, 1e-11), "float32": (1e-5, 1e-4, 1e-3)}


def differentiated(f: Function, word: tuple[int, ...], modes: tuple[Function, ...]) -> Function:
    """`f` differentiated in the slots of `word`, the first innermost, each time by the next of `modes`."""
    for slot, mode in zip(word, modes, strict=False):
        f = _in_slot(f, slot, mode)
    return f


def _in_slot(f: Function, slot: int, mode: Function) -> Function:
    def derivative(*args: Any) -> Any:
        return mode(lambda v: f(*args[:slot], v, *args[slot + 1 :]))(args[slot])

    return derivative


def check_special(f: Function, point: tuple[Any, ...], wants: dict[str, float], dtype: str, label: str) -> None:
    info = np.finfo(dtype)
    wrong = []
    for word, exact in wants.items():
        if not word:
            continue
        want = float(np.dtype(dtype).type(exact))
        peers = [abs(v) for w, v in wants.items() if len(w) == len(word) and math.isfinite(v)]
        rtol = ORDER_RTOL[dtype][len(word) - 1]
        # Where terms cancel exactly, the error is measured by the other derivatives of that order.
        allowed = rtol * (abs(want) if want else max(peers)) + (float(info.tiny) if abs(want) < info.tiny else 0.0)
        for order in sorted(set(itertools.permutations(map(int, word)))):
            for name, modes in ALTERNATIONS.items():
                if len(word) == 1 and " over " in name:
                    continue
                got = float(differentiated(f, order, modes)(*point))
                if not (got == want or abs(got - want) <= allowed):  # also fails for NaN
                    wrong.append(f"{name}: ∂{order} {label} = {got!r}, not {want!r}")
    report(wrong)


def _label(entry: dict[str, Any]) -> str:
    at = ", ".join(f"{number(v):g}" for v in entry["at"])
    return f"{entry['f']}({at}{' const' if 'const' in entry else ''})"


SPECIAL = [pytest.param(entry, id=_label(entry)) for entry in GRID["special"]]


def _raised(power: Function, exponent: Any, x: Any) -> Any:
    return power(x, exponent)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("entry", SPECIAL)
def test_special_point(entry: dict[str, Any], dtype: str) -> None:
    name, at = entry["f"], [number(v) for v in entry["at"]]
    if any(float(np.dtype(dtype).type(v)) != v for v in at):
        pytest.skip("the point is not a float32")
    wants = {word: value for word, text in entry["d"].items() if (value := number(text)) is not None}
    cast = float if dtype == "float64" else np.float32
    f = getattr(np, name)
    label = f"{name}{tuple(at)}"
    if not entry.get("const"):
        check_special(f, tuple(cast(v) for v in at), wants, dtype, label)
        return
    x, n = at
    exponents: list[Any] = [n, np.dtype(dtype).type(n), np.array(n, dtype)]
    if n == int(n):  # type: ignore[arg-type]
        exponents.append(int(n))  # type: ignore[arg-type]
    for exponent in exponents:
        for power in (np.power, operator.pow):
            f = partial(_raised, power, exponent)
            check_special(f, (cast(x),), wants, dtype, f"{label}, {exponent!r}")


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2"])
@pytest.mark.parametrize("both", [math.inf, -math.inf])
def test_no_nan_beyond_equal_infinities(name: str, both: float) -> None:
    """No limit exists there (its value depends on the path); what is refused is NaN."""
    for order in (2, 3):
        for word in itertools.product((0, 1), repeat=order):
            for modes in ALTERNATIONS.values():
                assert not np.isnan(differentiated(getattr(np, name), word, modes)(both, both))


@pytest.mark.parametrize("entry", SPECIAL)
def test_the_grid_knows_the_functions(entry: dict[str, Any]) -> None:
    """A test of the grid: its values are NumPy's."""
    value = getattr(np, entry["f"])(*map(number, entry["at"]))
    np.testing.assert_allclose(value, number(entry["d"][""]), rtol=1e-13, atol=1e-15)


# ----------------------------------------------------------------------------------------------------- strong zero

THROUGH_ZERO: dict[str, tuple[Function, float, float]] = {  # g with g(0) = 0, and g'(0), g''(0)
    "x": (lambda x: x, 1, 0),
    "-2x": (lambda x: -2 * x, -2, 0),
    "sin x": (np.sin, 1, 0),
    "x exp x": (lambda x: x * np.exp(x), 1, 2),
    "log1p x": (np.log1p, 1, -1),
    "expm1 x": (np.expm1, 1, 1),
    "tanh x": (np.tanh, 1, 0),
    "arctan x": (np.arctan, 1, 0),
    "arcsinh x": (np.arcsinh, 1, 0),
    "x + x**2": (lambda x: x + x**2, 1, 2),
    "x / (1 - x)": (lambda x: x / (1 - x), 1, 2),
    "1 - cos x": (lambda x: 1 - np.cos(x), 0, 1),
    "sin x * cos x": (lambda x: np.sin(x) * np.cos(x), 1, 0),
}
HALF_SQUARES: dict[str, Function] = {
    "0.5 * g**2": lambda g: 0.5 * g**2,
    "0.5 * g**2.0": lambda g: 0.5 * g**2.0,
    "0.5 * g * g": lambda g: 0.5 * g * g,
    "square(g) / 2": lambda g: np.square(g) / 2,
    "power(g, array(2.)) / 2": lambda g: np.power(g, np.array(2.0)) / 2,
    "where(g == 0, g**2, g**2) / 2": lambda g: np.where(g == 0, g**2, g**2) / 2,
    "sum([g, 0])**2 / 2": lambda g: np.sum(g * np.array([1.0, 0.0])) ** 2 / 2,
}


@pytest.mark.parametrize("modes", ALTERNATIONS)
@pytest.mark.parametrize("half_square", HALF_SQUARES)
@pytest.mark.parametrize("g", THROUGH_ZERO)
def test_half_square_at_zero(g: str, half_square: str, modes: str) -> None:
    """Where g = 0, (½g²)' = gg' = 0, (½g²)'' = g'² and (½g²)''' = 3g'g'': a cotangent of 0 still has derivatives."""
    function, slope, bend = THROUGH_ZERO[g]
    wants = (0.0, slope**2, 3 * slope * bend)
    for order, want in enumerate(wants, 1):
        f = differentiated(lambda x: HALF_SQUARES[half_square](function(x)), (0,) * order, ALTERNATIONS[modes])
        assert float(f(0.0)) == pytest.approx(want, rel=1e-13, abs=1e-13)


MASKED: dict[str, Function] = {  # right on one side of 0, infinite or undefined where the mask discards it
    "sqrt": lambda x: np.where(x > 0, np.sqrt(x), 0),
    "log": lambda x: np.where(x > 0, np.log(x), 0.0),
    "reciprocal": lambda x: np.where(x > 0, 1 / x, 0),
    "power": lambda x: np.where(x > 0, x**-0.5, 0),
    "x sin(1/x)": lambda x: np.where(x > 0, x * np.sin(1 / x), 0),
    "arccosh": lambda x: np.where(x > 0, np.arccosh(1 + x), 0),
}


@pytest.mark.parametrize("modes", ALTERNATIONS)
@pytest.mark.parametrize("name", MASKED)
def test_masked(name: str, modes: str) -> None:
    for x in (0.0, -1.0, -2.0):
        for order in (1, 2, 3):
            assert float(differentiated(MASKED[name], (0,) * order, ALTERNATIONS[modes])(x)) == 0.0


def test_masked_sqrt_beside_other_elements() -> None:
    def f(x: Any) -> Any:
        return np.where(x > 0, np.sqrt(x), 0)

    x = np.array([0.0, 4.0, -1.0, 0.25])
    want = [0.0, 0.25, 0.0, 1.0]
    np.testing.assert_array_equal(pulled_back(f, x)[0], want)
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(f(x)))(x), want)
    np.testing.assert_array_equal(wg.jvp(f, (x,), (np.ones(4),))[1], want)

    def slope(x: Any) -> Any:
        return wg.grad(lambda x: np.sum(f(x)))(x)

    bend = [0.0, -1 / 32, 0.0, -2.0]
    np.testing.assert_allclose(wg.jvp(slope, (x,), (np.ones(4),))[1], bend, rtol=1e-14)
    np.testing.assert_allclose(wg.grad(lambda x: np.sum(slope(x)))(x), bend, rtol=1e-14)


PRODUCTS = {
    "no zero": [2.0, -3.0, 0.5, 4.0],
    "one zero": [2.0, 0.0, 0.5, 4.0],
    "two zeros": [2.0, 0.0, 0.5, 0.0],
    "three zeros": [0.0, 0.0, 0.5, 0.0],
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_prod_with_zeros(case: str) -> None:
    x, v = np.array(PRODUCTS[case]), np.array([1.0, 2.0, -1.0, 3.0])
    want = [np.prod(np.delete(x, i)) for i in range(4)]
    np.testing.assert_allclose(wg.grad(np.prod)(x), want, rtol=1e-13)
    np.testing.assert_allclose(wg.jvp(np.prod, (x,), (v,))[1], v @ want, rtol=1e-13)
    # Along a line the product is a polynomial, whose derivatives are known.
    along = np.poly1d([1.0])
    for slope, start in zip(v, x, strict=True):
        along *= np.poly1d([slope, start])
    for modes in ALTERNATIONS.values():
        for order in (1, 2, 3):
            got = differentiated(lambda t: np.prod(x + t * v), (0,) * order, modes)(0.0)
            np.testing.assert_allclose(got, np.polyder(along, order)(0.0), rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------------------------------- kinks

KINKS: dict[str, tuple[Function, float, float]] = {  # a function of one number, where, and the derivative we chose
    "absolute": (np.absolute, 0.0, 0.0),
    "abs": (abs, 0.0, 0.0),
    "fabs": (np.fabs, 0.0, 0.0),
    "sign": (np.sign, 0.0, 0.0),
    "sign, off the jump": (np.sign, 2.0, 0.0),
    "heaviside": (lambda x: np.heaviside(x, 0.5), 0.0, 0.0),
    "heaviside, off the jump": (lambda x: np.heaviside(x, 0.5), 2.0, 0.0),
    "copysign": (lambda x: np.copysign(x, -1.0), 0.0, 0.0),
    "floor": (np.floor, 1.0, 0.0),
    "maximum, tie": (lambda x: np.maximum(x, 1.0), 1.0, 0.5),
    "maximum, tie, second": (lambda x: np.maximum(1.0, x), 1.0, 0.5),
    "maximum with itself": (lambda x: np.maximum(x, x), 1.0, 1.0),
    "minimum, tie": (lambda x: np.minimum(x, 1.0), 1.0, 0.5),
    "fmax, tie": (lambda x: np.fmax(x, 1.0), 1.0, 0.5),
    "fmin, tie": (lambda x: np.fmin(x, 1.0), 1.0, 0.5),
    "fmax beside NaN": (lambda x: np.fmax(x, np.nan), 1.0, 1.0),
    "fmin beside NaN, second": (lambda x: np.fmin(np.nan, x), 1.0, 1.0),
    "maximum of infinities": (lambda x: np.maximum(x, np.inf), np.inf, 0.5),
    "relu": (lambda x: np.maximum(x, 0), 0.0, 0.5),
    "clip, lower bound": (lambda x: np.clip(x, 0.0, 1.0), 0.0, 0.5),
    "clip, upper bound": (lambda x: np.clip(x, 0.0, 1.0), 1.0, 0.5),
    "clip, inside": (lambda x: np.clip(x, 0.0, 1.0), 0.25, 1.0),
    "clip, outside": (lambda x: np.clip(x, 0.0, 1.0), 2.0, 0.0),
    "clip, all equal": (lambda x: np.clip(x, 1.0, 1.0), 1.0, 0.25),
    "clip, one bound": (lambda x: np.clip(x, 0.0, None), 0.0, 0.5),
    "clip, its lower bound": (lambda lo: np.clip(0.5, lo, 1.0), 0.5, 0.5),
    "clip, its upper bound": (lambda hi: np.clip(0.5, 0.0, hi), 0.5, 0.5),
    "clip, its bounds crossed": (lambda hi: np.clip(0.5, 2.0, hi), 1.0, 1.0),
    "hypot, first": (lambda x: np.hypot(x, 0.0), 0.0, 0.0),
    "hypot, second": (lambda x: np.hypot(0.0, x), 0.0, 0.0),
    "hypot, both": (lambda x: np.hypot(x, 2 * x), 0.0, 0.0),
    "arctan2, first": (lambda y: np.arctan2(y, 0.0), 0.0, 0.0),
    "arctan2, second": (lambda x: np.arctan2(0.0, x), 0.0, 0.0),
    "arctan2, both": (lambda x: np.arctan2(x, 2 * x), 0.0, 0.0),
    "remainder, jump": (lambda x: np.remainder(x, 2.0), 4.0, 1.0),
    "fmod, jump": (lambda x: np.fmod(x, 2.0), 4.0, 1.0),
    "0**y, y > 0": (lambda y: np.power(0.0, y), 2.0, 0.0),
    "0**y, y = 0": (lambda y: np.power(0.0, y), 0.0, 0.0),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", KINKS)
def test_kink(name: str, mode: str) -> None:
    f, x, want = KINKS[name]
    assert float(MODES[mode](f)(x)) == want


@pytest.mark.parametrize("modes", ALTERNATIONS)
@pytest.mark.parametrize("name", KINKS)
def test_no_nan_beyond_a_kink(name: str, modes: str) -> None:
    f, x, _ = KINKS[name]
    for order in (2, 3):
        assert not np.isnan(differentiated(f, (0,) * order, ALTERNATIONS[modes])(x))


REDUCTIONS: dict[str, tuple[Function, list[float], list[float]]] = {  # ties among elements
    "max": (np.max, [3.0, 1.0, 3.0, 3.0], [1 / 3, 0, 1 / 3, 1 / 3]),
    "max of equals": (np.max, [2.0, 2.0], [0.5, 0.5]),
    "min": (np.min, [3.0, 1.0, 1.0, 3.0], [0, 0.5, 0.5, 0]),
    "maximum.reduce": (np.maximum.reduce, [1.0, 1.0], [0.5, 0.5]),
    "norm": (np.linalg.norm, [0.0, 0.0, 0.0], [0, 0, 0]),
    "norm, off 0": (np.linalg.norm, [3.0, 0.0, -4.0], [0.6, 0, -0.8]),
    "norm, 1": (lambda x: np.linalg.norm(x, 1), [3.0, 0.0, -4.0], [1, 0, -1]),
    "norm, inf": (lambda x: np.linalg.norm(x, np.inf), [4.0, 0.0, -4.0], [0.5, 0, -0.5]),
    # Stable: equal elements keep their places, so each weight goes to the element that came first.
    "sort": (
        lambda x: np.sort(x) @ np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        [2.0, 1.0, 2.0, 1.0, 1.0],
        [4, 1, 5, 2, 3],
    ),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_ties_among_elements(name: str) -> None:
    f, x, want = REDUCTIONS[name]
    point = np.array(x)
    np.testing.assert_allclose(wg.grad(f)(point), want, rtol=1e-14)
    for direction in np.eye(len(x)):
        np.testing.assert_allclose(wg.jvp(f, (point,), (direction,))[1], direction @ np.array(want), rtol=1e-14)


def test_clip_is_minimum_of_maximum() -> None:
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    lo, hi = np.zeros(5), np.ones(5)
    clipped = pulled_back(np.clip, x, lo, hi)
    composed = pulled_back(lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi), x, lo, hi)
    for got, want in zip(clipped, composed, strict=True):
        np.testing.assert_array_equal(got, want)
