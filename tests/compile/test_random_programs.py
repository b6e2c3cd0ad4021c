"""Random programs: every way to run one gives the same value, gradient, JVP and HVP.

CI draws the same few hundred each time. `WENGERT_PROGRAMS=20 pytest tests/compile/test_random_programs.py` draws new
ones, twenty times as many.
"""

from __future__ import annotations

import os
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

import wengert as wg
from tests.compile.handmade import SPECIAL, kind, outcome
from tests.compile.programs import KINDS, PLAIN, Program, controlling, looping, programs
from wengert.compile import passes
from wengert.compile.machine import engine
from wengert.compile.passes import cse, dead, fold, hoist, simplify
from wengert.compile.passes.sweep import Sweep, line

TIMES = float(os.environ.get("WENGERT_PROGRAMS", "0"))


BOTH = (np.float64, np.float64, np.float64, np.float32)


def drawn(examples: int, kinds: Any = KINDS, dtypes: Any = BOTH, shrink: bool = True) -> Callable[..., Any]:
    """Run a test on programs: the same `examples` each time, or so many times more that are new."""
    many = settings(
        max_examples=max(1, int(examples * (TIMES or 1))),
        derandomize=not TIMES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if shrink or TIMES else [])],
    )

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        return many(given(programs(kinds, dtypes=dtypes))(test))

    return decorate


class Readings:
    """Functions that give the value and derivatives of a program, and the arguments at which they are taken."""

    def __init__(self, program: Program, system: Any = wg, **namespace: Any) -> None:
        f = program.function(**namespace)
        rng = np.random.default_rng(1)
        xs = program.inputs
        vs = [(rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1, 1], x.shape)).astype(x.dtype)[()] for x in xs]
        with np.errstate(all="ignore"):
            shape = np.shape(program.function()(*xs))
        w = rng.uniform(0.5, 1.5, shape or 1).reshape(shape)[()]
        numpy = namespace.get("np", np)

        def loss(*xs: Any) -> Any:
            return numpy.sum(w * f(*xs))

        both = tuple(range(len(xs)))
        n = len(xs)
        self.cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
            "value": (f, (*xs,)),
            "gradient": (system.grad(loss, both), (*xs,)),
            "jvp": (lambda *args: system.jvp(f, args[:n], args[n:])[1], (*xs, *vs)),
            "hvp": (lambda *args: hvp(system, loss, args[:n], args[n:]), (*xs, *vs)),
        }


def hvp(system: Any, loss: Callable[..., Any], xs: Any, vs: Any) -> Any:
    return system.jvp(system.grad(loss, tuple(range(len(xs)))), tuple(xs), tuple(vs))[1]


def results(readings: Readings, run: Callable[..., Any]) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        return {name: leaves(run(f, *args)) for name, (f, args) in readings.cases.items()}


def leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def agree(found: dict[str, Any], expected: dict[str, Any], what: str, rtol: float = 1e-10, kinds: bool = True) -> None:
    """Equal to `rtol` of the largest element that any derivative of the same order has; of float32 much less."""
    if any(np.asarray(x).dtype == np.float32 for wanted in (*found.values(), *expected.values()) for x in wanted):
        rtol = max(rtol, 1e-3)
    for name, wanted in expected.items():
        size = max((float(np.max(np.abs(x), initial=1e-2)) for x in wanted), default=1.0)
        for x, y in zip(found[name], wanted, strict=True):
            assert np.shape(x) == np.shape(y), f"{name} by {what} has shape {np.shape(x)}, not {np.shape(y)}"
            if kinds:
                assert kind(x) == kind(y), f"{name} by {what} is {kind(x)}, not {kind(y)}"
            error = float(np.max(np.abs(np.asarray(x) - np.asarray(y)), initial=0.0))
            assert error <= rtol * size, f"{name} by {what} is off by {error:.2g}:\n{x}\ninstead of\n{y}"


def called(f: Callable[..., Any], *args: Any) -> Any:
    return f(*args)


def listed(f: Callable[..., Any], *args: Any) -> Any:
    program = wg.trace(f)(*args)
    program.check()
    return program.evaluate(*args)


def optimised(f: Callable[..., Any], *args: Any) -> Any:
    return passes.run(wg.trace(f)(*args)).evaluate(*args)


def jitted(**options: Any) -> Callable[..., Any]:
    def run(f: Callable[..., Any], *args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* one of many jitted functions", wg.errors.JitWarning)
            return wg.jit(f, **options)(*args)

    return run


# -------------------------------------------------------------------------------------------------------------- tests


@drawn(250)
def test_lists_and_passes_agree_with_eager(program: Program) -> None:
    readings = Readings(program)
    expected = results(readings, called)
    agree(results(readings, listed), expected, "the list", 1e-13)
    agree(results(readings, optimised), expected, "the passes")


@drawn(100)
def test_the_numpy_back_end_agrees_with_eager(program: Program) -> None:
    readings = Readings(program)
    agree(results(readings, jitted(backend="numpy")), results(readings, called), "the NumPy back end")


@pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))
@drawn(80)
def test_native_code_agrees_with_eager(program: Program) -> None:
    readings = Readings(program)
    agree(results(readings, jitted()), results(readings, called), "native code")


@drawn(
    16,
    kinds=[kind for kind in KINDS if kind.__name__ not in ("branching", "repeating")],
    dtypes=(np.float64,),
    shrink=False,
)
def test_jax_agrees(program: Program) -> None:
    jax = pytest.importorskip("jax")
    if program.source(jax=True) is None:
        return
    with jax.enable_x64(True):
        lax = types.SimpleNamespace(
            **{name: getattr(jax.lax, name) for name in ("scan", "fori_loop", "cond", "map", "while_loop")},
            switch=lambda k, branches, *operands: jax.lax.switch(k, branches, *operands),
        )
        readings = Readings(program, jax, np=jax.numpy, wg=lax, jax=True)
        expected = results(Readings(program), called)
        try:
            agree(plain(results(readings, lambda f, *args: jax.jit(f)(*args))), expected, "JAX", 1e-8, kinds=False)
        except AssertionError:
            # jax.jit is sometimes wrong where JAX without it is right: in jax 0.10.2 the JVP of
            # hypot(x, 1 + x²) + exp(−x²) at x = −0.994 comes out as 0.296 instead of −1.504.
            agree(plain(results(readings, called)), expected, "JAX", 1e-8, kinds=False)


def plain(found: dict[str, Any]) -> dict[str, Any]:
    return {name: [np.asarray(x) for x in arrays] for name, arrays in found.items()}


# --------------------------------------------------------------------------------- special values through exact passes


def exactly(program: Any) -> Any:
    """The passes without the rows that round."""
    rows = simplify.table([(name, row) for name, row in simplify.ROWS if row not in simplify.ROUNDS])
    everywhere = [row for row in simplify.EVERYWHERE if row not in simplify.ROUNDS]
    for _ in range(3):
        program = Sweep(program, rows, everywhere).run()
        for change in (fold.run, cse.run, hoist.run, dead.run):
            program = change(program)
            program.check()
    return program


@drawn(150, kinds=(*PLAIN, looping, controlling), dtypes=(np.float64,))
def test_exact_rewrites_keep_special_values(program: Program) -> None:
    """NaN, infinities and zeros come out where they did; other numbers as far as the order of a sum allows."""
    for f, args in Readings(program).cases.values():
        with np.errstate(all="ignore"):
            before = wg.trace(f)(*args)
        after = exactly(before)
        for k in range(4):
            values = special(args, k)
            try:
                _, expected = outcome(before, values)
            except np.linalg.LinAlgError:
                continue
            _, found = outcome(after, values)
            for x, y in zip(found, expected, strict=True):
                assert kind(x) == kind(y)
                x, y = np.asarray(x), np.asarray(y)
                close = np.isclose(x, y, rtol=1e-12, atol=1e-12 * np.max(np.abs(y), where=np.isfinite(y), initial=0.0))
                exact = (x == y) | (np.isnan(x) & np.isnan(y)) | (close & np.isfinite(x) & np.isfinite(y))
                assert exact.all(), f"{x}\ninstead of\n{y}\nat {values}"


def special(args: Any, k: int) -> list[Any]:
    """Arguments some of whose elements are special values: few that overflow, as sums then depend on their order."""
    rng = np.random.default_rng(k)
    values = [*SPECIAL[:7], 5e-324, -0.0, 0.0]
    found = []
    for x in args:
        hit = rng.random(x.shape) < (0.3, 0.6, 1.0, 0.1)[k]
        found.append(np.where(hit, rng.choice(values, x.shape), x)[()])
    return found


# --------------------------------------------------------------------------------------------------- the tests, tested

FAULTS: dict[str, tuple[str, Any]] = {
    "a transpose is a reshape": ("transpose", lambda s, e: line("reshape", e.inputs[0], shape=e.outputs[0].aval.shape)),
    "a cotangent is its own partial": ("scale", lambda s, e: line("multiply", e.inputs[0], e.inputs[0])),
    "reads skip writes": ("getitem", lambda s, e: _skipping(s, e)),
    "where is its first choice": ("where", lambda s, e: line("positive", e.inputs[1])),
    "sums are of absolute values": (
        "sum",
        lambda s, e: line("sum", s.new("absolute", e.inputs[0]), *e.inputs[1:], **e.params),
    ),
}


def _skipping(s: Any, e: Any) -> Any:
    write = s.maker(e.inputs[0], "setitem", "add_at")
    return None if write is None else line("getitem", write.inputs[0], **e.params)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_shrunk(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the programs that CI draws there is one that shows it, and what is left of it after shrinking is short."""
    name, rewrite = FAULTS[fault]
    wrong = {**simplify.TABLE, name: [rewrite, *simplify.TABLE.get(name, [])]}

    def shows(program: Program) -> bool:
        readings = Readings(program)
        del readings.cases["jvp"], readings.cases["hvp"]
        try:
            agree(results(readings, optimised), results(readings, called), "the passes")
        except Exception:
            return True
        return False

    monkeypatch.setattr(simplify, "TABLE", wrong)
    options = settings(
        max_examples=600, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    found = find(programs(PLAIN), shows, settings=options)
    assert len(found.needed()) <= 3
