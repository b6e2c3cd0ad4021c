"""Single calls: jitted ufuncs and reductions beside NumPy's, and every case of the registry jitted and eager.

Both run in a process of their own, in which the two take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import timeit
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any

import numpy as np

from benchmarks import goals
from benchmarks.common import ONE_THREAD, ROOT, new_table

LENGTHS = (10, 1000, 1_000_000)
CALLS = {
    1: """negative absolute sign sqrt cbrt square reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin
        arccos arctan sinh cosh tanh arcsinh arctanh floor ceil rint trunc isnan isfinite
        sum prod max min mean var std argmax argmin any all cumsum linalg.norm""",
    2: """add subtract multiply divide power maximum minimum arctan2 hypot logaddexp fmod remainder floor_divide
        copysign greater equal dot""",
}  # NumPy's functions by the number of their arguments
SHOWN = 40


def alternate(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int, batch: float
) -> tuple[float, float, float]:
    """Median seconds a call of both, and the median over the rounds of one ÷ other."""
    timers = [timeit.Timer(call) for call in (one, other)]
    counts = []
    for timer in timers:
        timer.timeit(1)
        seconds = timer.timeit(3) / 3
        counts.append(max(1, round(batch / max(seconds, 1e-9))))
    rows = []
    for turn in range(rounds):
        row = [0.0, 0.0]
        for k in (0, 1) if turn % 2 else (1, 0):
            row[k] = timers[k].timeit(counts[k]) / counts[k]
        rows.append(row)
    columns = list(zip(*rows, strict=True))
    return statistics.median(columns[0]), statistics.median(columns[1]), statistics.median(a / b for a, b in rows)


Call = tuple[str, Any, Any, list[Any]]  # name, what a user jits, what runs without, arguments


def single_calls(lengths: Sequence[int]) -> Iterator[Call]:
    """NumPy's functions on vectors."""
    for n in lengths:
        x, y = np.linspace(0.1, 0.9, n), np.linspace(0.9, 0.2, n)
        for count, names in CALLS.items():
            for name in names.split():
                program = eval(f"lambda x: np.{name}(x)" if count == 1 else f"lambda x, y: np.{name}(x, y)", {"np": np})
                yield f"{name}, n = {n:,}", program, attrgetter(name)(np), [x, y][:count]


def registry_calls() -> Iterator[Call]:
    """Every example that the primitives' blocks state."""
    from wengert.core import REGISTRY
    from wengert.testing import cases

    for name in sorted(REGISTRY):
        primitive = REGISTRY[name]
        dtype = np.complex128 if "complex-only" in primitive.tags else np.float64
        for k, case in enumerate(cases(primitive, dtype)):
            program = wrapped(partial(primitive, **case.params), len(case.args))
            yield f"{name} {k}: {case!r}", program, program, list(case.args)


def wrapped(f: Any, count: int) -> Any:
    """A Python function of `count` arguments, as a user would jit one."""
    if count == 1:
        return lambda x: f(x)
    if count == 2:
        return lambda x, y: f(x, y)
    return lambda *xs: f(*xs)


def run(what: str, quick: bool, first: int) -> Iterator[dict[str, Any]]:
    """In a process of its own: a row for each call from the given one on, each announced by its name."""
    import wengert

    if not hasattr(wengert, "jit"):
        return
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    calls = registry_calls() if what == "registry" else single_calls(LENGTHS[:2] if quick else LENGTHS)
    rounds, batch = (3, 1e-3) if quick else (7, 4e-3)
    for name, program, function, args in islice(calls, first, None):
        yield {"begins": name}
        try:
            one, other = thunk(wengert.jit(program), args), thunk(function, args)
            ours, theirs, ratio = alternate(one, other, rounds, batch)
            yield {"name": name, "jit": ours, "eager": theirs, "ratio": ratio}
        except Exception as error:  # it is shown, and the rest is measured
            text = (str(error).strip() or "no message").splitlines()[0]
            yield {"name": name, "error": f"{type(error).__name__}: {text[:80]}"}


def thunk(f: Any, args: list[Any]) -> Callable[[], Any]:
    """f(*args) as a function of no arguments, without the cost of unpacking a list."""
    if len(args) == 1:
        (a,) = args
        return lambda: f(a)
    if len(args) == 2:
        a, b = args
        return lambda: f(a, b)
    return lambda: f(*args)


def fresh(b: Any, what: str) -> list[dict[str, Any]]:
    """The rows, from as many processes as it takes: where one dies, the call that killed it is an error."""
    rows: list[dict[str, Any]] = []
    environment = {**(ONE_THREAD if b.one_thread else {}), **os.environ}
    command = [sys.executable, "-m", "benchmarks.single", what, "quick" if b.quick else "whole"]
    while True:
        done = subprocess.run(
            [*command, str(len(rows))], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=environment
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        rows += [line for line in lines if "name" in line]
        if done.returncode == 0 or not lines:
            return rows
        rows.append({"name": lines[-1].get("begins", "?"), "error": f"the process died ({done.returncode})"})


def report(b: Any, title: str, rows: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    failed = [row for row in rows if "error" in row]
    table = new_table(title, "", "jit µs", "NumPy µs", "jit ÷ NumPy", "more, µs")
    for row in bad[:SHOWN]:
        ours, theirs = row["jit"] * 1e6, row["eager"] * 1e6
        table.add_row(row["name"][:70], f"{ours:.2f}", f"{theirs:.2f}", f"{row['ratio']:.2f}", f"{ours - theirs:.2f}")
    b.console.print(table)
    if len(bad) > SHOWN:
        b.console.print(f"… and {len(bad) - SHOWN} more")
    for row in failed[:SHOWN]:
        b.console.print(f"  could not be measured: {row['name'][:60]}: {row['error']}", markup=False)


def measure_single(b: Any) -> None:
    """Jitted ufuncs and reductions against NumPy's own."""
    rows = b.figures["single"] = fresh(b, "single")
    good = [row for row in rows if "error" not in row]
    slower = sorted((row for row in good if row["ratio"] > 1 / goals.NO_SLOWER), key=lambda row: -row["ratio"])
    report(b, f"Single ufuncs and reductions: {len(slower)} of {len(good)} jitted are slower than NumPy", rows, slower)
    measured = f"{len(slower)} of {len(good)} slower" if good else "wengert jit is absent"
    b.goal("each single ufunc and reduction, jitted", "≤ 1.05 × NumPy", measured, not slower if good else None)


def measure_registry(b: Any) -> None:
    """Every case of the registry, jitted against eager: those that lose more than a microsecond."""
    rows = b.figures["registry"] = fresh(b, "registry")
    good = [row for row in rows if "error" not in row]
    slower = [row for row in good if row["jit"] - row["eager"] > goals.SLACK]
    slower.sort(key=lambda row: row["eager"] - row["jit"])
    much = sum(row["jit"] - row["eager"] > goals.SLACK_OF_CALLBACK for row in slower)
    title = f"Registry: {len(slower)} of {len(good)} cases lose more than 1 µs when jitted, {much} more than 3 µs"
    report(b, title, rows, slower)
    measured = f"{len(slower)} of {len(good)} lose more" if good else "wengert jit is absent"
    b.goal("each case of the registry, jitted", "≤ eager + 1 µs (callback: 3)", measured, not slower if good else None)


if __name__ == "__main__":
    for found in run(sys.argv[1], sys.argv[2] == "quick", int(sys.argv[3])):
        print(json.dumps(found), flush=True)
