"""What compiled derivatives cost, beside JAX, PyTorch, autograd, MyGrad, CasADi, and derivatives written by hand.

    python benchmarks/compiled.py [--quick] [--curves] [--json FILE] [--plot FILE] [--only gmm,compile,…] [--rounds N]

Problems and programs: `problems/`; who takes part and how: `contestants.py`; goals: `goals.py`. Everybody runs as
installed, with as many threads as it likes (`--one-thread` gives each one), lives in a process of its own, and first
has to return the same numbers as the derivative by hand: 1e-10 of the largest in float64, 1e-4 of the norm in float32;
the exit code is 1 where wengert does not, and a peer that does not is named. Then they run in turn, round after round;
asynchronous results are waited for. Shown are medians and quartiles over the rounds; ratios are taken within rounds.
Who does not take part is shown as absent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import compile_times, curves, goals, imports, single
from benchmarks.common import contention, environment, new_table
from benchmarks.contestants import CONTESTANTS, PEERS
from benchmarks.harness import Arena, digits, figures, show
from benchmarks.problems import load

OURS = "wengert jit"


class Benchmark:
    """What the sections share: where to print, what was measured, which goals were met."""

    def __init__(self, options: argparse.Namespace) -> None:
        from rich.console import Console

        self.console = Console(width=132)
        self.quick: bool = options.quick
        self.rounds: int = options.rounds or (5 if options.quick else 15)
        self.one_thread: bool = options.one_thread
        self.patience: float = options.patience
        self.only: list[str] = options.only
        self.figures: dict[str, Any] = {}
        self.verdicts: list[dict[str, Any]] = []
        self.disagreements: list[str] = []
        self.oddities: list[str] = []

    def goal(self, what: str, text: str, measured: str, met: bool | None) -> None:
        """Note a goal; `met` is None where one of the two that it compares is absent."""
        self.verdicts.append({"what": what, "goal": text, "measured": measured, "met": met})


def table(b: Benchmark) -> None:
    """The rows of the design page's table, and the rest of GradBench."""
    rows = [row for row in goals.TABLE if not b.only or {row.problem, "table"} & {*b.only}]
    if b.quick:  # one size of each problem
        rows = list({row.problem: row for row in reversed(rows)}.values())[::-1]
    arena = Arena(b.console, [*CONTESTANTS], b.one_thread, b.patience)
    for name, reason in arena.missing.items():
        b.console.print(f"{name} is absent: {reason}")
    try:
        for row in rows:
            sizes = load(row.problem).SIZES
            size = sizes["quick" if b.quick and "quick" in sizes else row.size]
            title = row.title if size == sizes[row.size] else f"{row.title} – here quick: {size}"
            b.console.print(f"\n[bold]{row.problem}[/] {size}")
            results = arena.compete(row.problem, size, [*CONTESTANTS], b.rounds, check=sizes["tiny"])
            show(b.console, title, results, OURS, [*CONTESTANTS])
            b.figures[f"{row.problem} {row.size}"] = {"title": title} | figures(results, OURS)
            judge(b, row, results)
    finally:
        b.disagreements += arena.disagreements
        b.oddities += arena.oddities
        arena.close()


def judge(b: Benchmark, row: goals.Row, results: Any) -> None:
    """Each goal of a row, and that of a gradient over its value."""
    for goal in row.goals:
        if goal.times >= 1:
            text = f"≥ {goal.times:g} × faster than {goal.than}" if goal.times > 1 else f"faster than {goal.than}"
        else:
            text = f"≤ {1 / goal.times:.2f} × {goal.than}"
        if OURS not in results.rounds or goal.than not in results.rounds:
            missing = goal.than if OURS in results.rounds else OURS
            b.goal(row.title, text, f"{missing} is absent", None)
            continue
        ratio = results.ratio(goal.than, OURS)
        b.goal(row.title, text, f"{digits(ratio if goal.times >= 1 else 1 / ratio)} ×", ratio >= goal.times)
    if "jitted value" in results.rounds and OURS in results.rounds:
        ratio = results.ratio(OURS, "jitted value")
        limit = goals.GRADIENT_OVER_VALUE
        b.goal(row.title, f"gradient ≤ {limit:g} × value", f"{digits(ratio)} ×", ratio <= limit)


MEASURES: dict[str, Callable[[Any], None]] = {
    "table": table,
    "compile": compile_times.measure,
    "single": single.measure_single,
    "registry": single.measure_registry,
    "import": imports.measure,
    "curves": curves.measure,
}


def finish(b: Benchmark) -> int:
    shown = new_table("Goals", "what", "goal", "measured", "verdict")
    words = {True: "[green]met[/]", False: "[bold red]not met[/]", None: "[dim]not measured[/]"}
    for verdict in b.verdicts:
        shown.add_row(verdict["what"], verdict["goal"], verdict["measured"], words[verdict["met"]])
    b.console.print(shown)
    for line in b.oddities:
        b.console.print(f"A peer is less exact: {line}")
    for line in b.disagreements:
        b.console.print(f"[bold red]DISAGREEMENT[/] {line}")
    return 1 if b.disagreements else 0


def plot(b: Benchmark, path: str) -> None:
    """Times of the table's rows relative to ours, and the curves."""
    try:
        from benchmarks import pictures
    except ImportError as error:
        b.console.print(f"No plot: {error}")
        return
    pictures.draw(b.figures, OURS, path)
    b.console.print(f"Plot: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    problems = sorted({row.problem for row in goals.TABLE})
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds")
    parser.add_argument("--curves", action="store_true", help="draw scaling curves too")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--plot", metavar="FILE", help="draw them into FILE (needs matplotlib)")
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join([*MEASURES, *problems])}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contestant is timed")
    parser.add_argument("--one-thread", action="store_true", help="one thread for everybody")
    parser.add_argument("--patience", type=float, default=300.0, metavar="S", help="seconds to wait for an answer")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else []
    if not {*options.only} <= {*MEASURES, *problems}:
        parser.error(f"--only takes names of {', '.join([*MEASURES, *problems])}")
    b = Benchmark(options)
    here = environment(PEERS)
    with_versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    b.console.print(f"Python {here['python']}, {with_versions}; load average {here['load'][0]:.1f}")
    wanted = [name for name in MEASURES if name != "curves" or options.curves]
    if options.only:
        wanted = [name for name in MEASURES if name in options.only]
        if {*options.only} & {*problems}:
            wanted = ["table", *(name for name in wanted if name != "table")]
    advice = "Beyond 1, other jobs were running; ratios stand it better than times do."
    with contention(b.console, advice):
        for name in wanted:
            MEASURES[name](b)
    code = finish(b)
    if options.json:
        outcome = {"environment": here, "rounds": b.rounds, "quick": b.quick, "figures": b.figures}
        with open(options.json, "w") as file:
            outcome |= {"goals": b.verdicts, "disagreements": b.disagreements, "less exact peers": b.oddities}
            json.dump(outcome, file, indent=1)
    if options.plot:
        plot(b, options.plot)
    return code


if __name__ == "__main__":
    sys.exit(main())
