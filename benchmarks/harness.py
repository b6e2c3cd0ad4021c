"""Contestants in processes of their own, asked in turn: who takes part, whether they agree, how long each takes.

Each contestant has a process, as it has for its users, and all stay alive: a round asks every one of them for a batch
of calls, so that a change of the machine's mood meets all alike, and ratios are taken within rounds.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import ONE_THREAD, ROOT, Worker, new_table
from benchmarks.contestants import CONTESTANTS, Absent, Contestant, Ready, prepare
from benchmarks.problems import load

BATCH = 0.04  # seconds that a batch of calls should last
QUIET = 0.15  # seconds before each turn, in which the thread pools of whoever was before stop spinning
SLOW = 5.0  # seconds a call beyond which the first one is the only one
COMPILING = ("wengert jit", "jitted value", "jax", "torch.compile", "numba by hand")  # the first call differs
REFERENCES = (
    "numpy by hand",
    "numba by hand",
    "wengert",
)  # the first that is there is what the others are compared with
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}  # of the largest element, and of the norm


# ------------------------------------------------------------------------------ what happens in a contestant's process


def work(who: str) -> None:
    """Answer requests, a line of JSON each."""
    out, sys.stdout = sys.stdout, sys.stderr  # nobody else may write between the answers
    try:
        contestant = CONTESTANTS[who]()
        answer: Any = "ready"
    except Absent as reason:
        answer = {"absent": str(reason)}
    print(json.dumps(answer), file=out, flush=True)
    kept: dict[str, tuple[Ready, timeit.Timer]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = ANSWERS[request.pop("do")](contestant, who, kept, **request)
        except Absent as reason:
            answer = {"absent": str(reason)}
        except Exception as error:  # whatever a peer makes of a program, it is shown
            text = (str(error).strip() or "no message").splitlines()[0]
            answer = {"absent": f"{type(error).__name__}: {text[:90]}"}
        print(json.dumps(answer), file=out, flush=True)


def make_ready(
    contestant: Contestant, who: str, kept: Any, problem: str, size: dict[str, Any], seed: int, path: str = ""
) -> Any:
    """Compile, call for the first time, and keep for `measure`; the results go into a file where `path` is given."""
    args = load(problem).inputs(seed, **size)
    begin = time.perf_counter()
    ready = prepare(contestant, who, problem, args)
    result = ready.result()
    first = call = time.perf_counter() - begin
    if path and ready.collect:
        np.savez(path, *ready.collect(result))
    if first < SLOW or who in COMPILING:
        begin = time.perf_counter()
        ready.result()
        call = time.perf_counter() - begin
    kept[problem] = ready, timeit.Timer(ready.statement, globals=ready.names)
    gc.collect()
    gc.freeze()  # what is alive now is not walked again and again; the collector stays on
    return {"first": first, "call": call}


def measure(contestant: Contestant, who: str, kept: Any, problem: str, calls: int) -> Any:
    """Seconds a call, after some that only warm caches and pools."""
    time.sleep(QUIET)
    timer = kept[problem][1]
    timer.timeit(max(1, calls // 4))
    return timer.timeit(calls) / calls


def forget(contestant: Contestant, who: str, kept: Any) -> Any:
    kept.clear()
    gc.unfreeze()
    gc.collect()
    return None


ANSWERS = {"ready": make_ready, "measure": measure, "forget": forget}


# ----------------------------------------------------------------------------------------------- the one that asks them


class Results:
    """What was measured of one problem at one size: seconds a call in each round, by contestant."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[float]] = {}
        self.first: dict[str, float] = {}  # seconds of the first call, compilation included
        self.absent: dict[str, str] = {}

    def median(self, who: str) -> float:
        return statistics.median(self.rounds[who])

    def quartiles(self, who: str) -> tuple[float, float]:
        return quartiles(self.rounds[who])

    def ratios(self, who: str, to: str) -> list[float]:
        """How many times as long as `to` one took, by rounds; a contestant of a single call meets every round."""
        mine, theirs = self.rounds[who], self.rounds[to]
        count = max(len(mine), len(theirs))
        pairs = zip(*(one * count if len(one) == 1 else one for one in (mine, theirs)), strict=False)
        return [a / b for a, b in pairs]

    def ratio(self, who: str, to: str) -> float:
        return statistics.median(self.ratios(who, to))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Arena:
    """The contestants' processes."""

    def __init__(self, console: Any, names: Sequence[str], one_thread: bool, patience: float) -> None:
        self.console, self.patience = console, patience
        self.environment = ONE_THREAD if one_thread else {"JAX_PLATFORMS": "cpu"}
        self.workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}  # contestants that are not installed
        self.disagreements: list[str] = []  # of wengert with the derivative by hand
        self.oddities: list[str] = []  # of a peer with it
        for name in names:
            self.workers[name] = self.start(name)
        for name in names:
            answer = self.workers[name].read(patience)
            if answer != "ready":
                self.missing[name] = answer["absent"]
                self.workers.pop(name).stop()

    def start(self, name: str) -> Worker:
        path = os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
        return Worker([sys.executable, "-m", "benchmarks.harness", name], {**self.environment, "PYTHONPATH": path})

    def ask(self, name: str, **request: Any) -> Any:
        """An answer, or {"absent": …} where the process dies or thinks for too long; then a new one takes its place."""
        try:
            return self.workers[name].ask(request, self.patience)
        except (TimeoutError, RuntimeError, BrokenPipeError) as error:
            self.workers[name].stop()
            self.workers[name] = self.start(name)
            self.workers[name].read()
            return {"absent": str(error)}

    def agree(self, problem: str, size: dict[str, Any], who: Sequence[str], results: Results) -> dict[str, float]:
        """Make the contestants ready and compare what they return; seconds a call by contestant."""
        calls: dict[str, float] = {}
        found: dict[str, list[np.ndarray]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for name in who:
                path = f"{folder}/{len(calls)}.npz"
                answer = self.ask(name, do="ready", problem=problem, size=size, seed=0, path=path)
                if "absent" in answer:
                    results.absent[name] = answer["absent"]
                    continue
                calls[name], results.first[name] = answer["call"], answer["first"]
                if os.path.exists(path):
                    with np.load(path) as file:
                        found[name] = [file[key] for key in file.files]
        if len(found) < 2:
            return calls
        reference = next((name for name in REFERENCES if name in found), next(iter(found)))
        errors = {name: difference(found[reference], found[name]) for name in found}
        worst = max(errors, key=lambda name: errors[name])
        text = f"  {len(found)} compared: the largest difference is {errors[worst]:.0e} of what is allowed ({worst})"
        self.console.print(text, markup=False, highlight=False)
        for name, error in errors.items():
            if not error <= 1.0:
                text = f"{problem} {size}: {name} and {reference} differ by {error:.1e} times what is allowed"
                (self.disagreements if name.startswith("wengert") else self.oddities).append(text)
        return calls

    def compete(
        self, problem: str, size: dict[str, Any], who: Sequence[str], rounds: int, check: dict[str, Any] | None = None
    ) -> Results:
        """Compare at the size `check` and at `size`, then time round after round."""
        results = Results()
        who = [name for name in who if name in self.workers]
        if check is not None and check != size:
            self.agree(problem, check, who, results)
            who = [name for name in who if name not in results.absent]
        calls = self.agree(problem, size, who, results)
        steady = [name for name in calls if calls[name] < SLOW]
        for name in calls:
            results.rounds[name] = [] if name in steady else [calls[name]]
        batches = {name: max(1, round(BATCH / max(calls[name], 1e-8))) for name in steady}
        for name in steady:  # a batch for practice, which also says how many calls fit
            seconds = self.ask(name, do="measure", problem=problem, calls=max(1, batches[name] // 8))
            if isinstance(seconds, float):
                batches[name] = max(1, round(BATCH / max(seconds, 1e-9)))
        for turn in range(rounds):
            for k in range(len(steady)):
                name = steady[(k + turn) % len(steady)]
                seconds = self.ask(name, do="measure", problem=problem, calls=batches[name])
                if isinstance(seconds, float):
                    results.rounds[name].append(seconds)
        for name in calls:
            self.ask(name, do="forget")
            if not results.rounds[name]:
                del results.rounds[name]
                results.absent[name] = "its process ended"
        return results

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()


def difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The largest difference in units of what is allowed: infinite for other shapes, and where only one is NaN."""
    if len(one) != len(other):
        return float("inf")
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
            return float("inf")
        single = np.result_type(a, b) == np.float32
        a, b = a.astype(float), b.astype(float)
        size = np.linalg.norm(a) if single else np.max(np.abs(a), initial=0.0)
        error = np.linalg.norm(a - b) if single else np.max(np.abs(a - b), initial=0.0)
        if error:
            allowed = size * TOLERANCE["float32" if single else "float64"]
            worst = max(worst, float(error / allowed) if allowed else float("inf"))
    return worst


def digits(value: float) -> str:
    """Three of them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def microseconds(seconds: float) -> str:
    return digits(seconds * 1e6)


def show(console: Any, title: str, results: Results, base: str, everyone: Sequence[str]) -> None:
    """A table of medians, quartiles and ratios to `base`."""
    table = new_table(title, "", "median µs", "quartiles", f"× {base}", "quartiles", "first call s")
    for name in everyone:
        if name not in results.rounds:
            continue
        low, high = results.quartiles(name)
        row = [microseconds(results.median(name)), f"{microseconds(low)} … {microseconds(high)}"]
        if base in results.rounds:
            low, high = quartiles(results.ratios(name, base))
            row += [digits(results.ratio(name, base)), f"{digits(low)} … {digits(high)}"]
        else:
            row += ["", ""]
        table.add_row(name, *row, f"{results.first[name]:.2f}")
    console.print(table)
    for name, reason in results.absent.items():
        console.print(f"  {name} is absent: {reason}", markup=False, highlight=False, style="dim")


def figures(results: Results, base: str) -> dict[str, Any]:
    """What goes into the JSON."""
    return {
        name: {
            "median": results.median(name),
            "quartiles": results.quartiles(name),
            "rounds": rounds,
            "first": results.first[name],
        }
        | ({"ratio": results.ratio(name, base)} if base in results.rounds else {})
        for name, rounds in results.rounds.items()
    } | {name: {"absent": reason} for name, reason in results.absent.items()}


if __name__ == "__main__":
    work(sys.argv[1])
