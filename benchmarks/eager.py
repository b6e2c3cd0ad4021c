"""What the eager engine costs, beside autograd, PyTorch, MyGrad, JAX, plain NumPy and a tape written by hand.

    python benchmarks/eager.py [--quick] [--json FILE] [--only chain,deep,…]

First all that take part must agree on values and gradients (relative 1e-10; the exit code is 1 where they do not). Then
they run in turn, repetition by repetition, so that a change of the machine's mood meets all alike; what is shown is the
median of nine, and ratios are medians over the interleaved pairs. Peers that are not installed are shown as absent.

Wall-clock time is what a user waits. CPU time stands beside it because these machines are shared: where the two differ,
somebody else was running.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
from rich.console import Console
from rich.table import Table

import wengert as wg

REPETITIONS = 9
AGREEMENT = 1e-10
PEERS = ("autograd", "torch", "mygrad", "jax")
Function = Callable[..., Any]  # (xp, *inputs) → one number; xp is NumPy or what a peer has in its place

console = Console(width=118)


# ----------------------------------------------------------------------------------------------------- time and memory


class Stopwatch:
    """Wall-clock and CPU time of the parts of one run, and of the whole run with all that it frees in the end."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[float, float]] = {}
        self.begin = self.last = self.now()

    @staticmethod
    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        wall, cpu = self.now()
        self.parts[name] = wall - self.last[0], cpu - self.last[1]
        self.last = self.now()

    def total(self) -> None:
        self.last = self.begin
        self.lap("total")


class Laps:
    """All repetitions of one contestant."""

    def __init__(self) -> None:
        self.rows: list[dict[str, tuple[float, float]]] = []

    def wall(self, part: str = "total") -> list[float]:
        return [row[part][0] for row in self.rows if part in row]

    def cpu(self, part: str = "total") -> list[float]:
        return [row[part][1] for row in self.rows if part in row]


Run = Callable[[Callable[[str], None]], Any]  # calls lap("record"), lap("pullback"); what it returns is dropped


def compete(contestants: dict[str, Run], repetitions: int) -> dict[str, Laps]:
    """Run all contestants in turn, `repetitions` times, after one round that is not counted."""
    laps = {name: Laps() for name in contestants}
    names = list(contestants)
    for repetition in range(repetitions + 1):
        for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
            gc.collect()  # nobody pays for what others left behind; the collector stays on
            watch = Stopwatch()
            contestants[name](watch.lap)
            watch.total()
            if repetition:
                laps[name].rows.append(watch.parts)
    return laps


def ratio(laps: Laps, to: Laps) -> float:
    return statistics.median(a / b for a, b in zip(laps.wall(), to.wall(), strict=True))


def resident() -> int:
    """Resident memory of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


# ------------------------------------------------------------------------------------------------------- contestants


class Contestant:
    """One way to get a gradient: `gradient(f, inputs, lap)` returns the value and the gradients as NumPy arrays."""

    name = ""
    xp: Any = np

    def leaf(self, value: Any) -> Any:
        return value

    def constant(self, value: Any) -> Any:
        return value

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        raise NotImplementedError


class Vjp(Contestant):
    name = "wengert vjp"

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        value, pullback = wg.vjp(lambda *xs: f(np, *xs), *inputs)
        lap("record")
        gradients = list(pullback(np.ones_like(value)))
        lap("pullback")
        return value, gradients


class Grad(Contestant):
    name = "wengert grad"

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        positions = tuple(range(len(inputs)))
        value, gradients = wg.value_and_grad(lambda *xs: np.sum(f(np, *xs)), argnums=positions)(*inputs)
        return value, list(gradients)


class Eager(Contestant):
    name = "wengert Variable"

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        variables = [wg.Variable(x) for x in inputs]
        y = f(np, *variables)
        lap("record")
        y.backward(np.ones(y.shape))
        lap("pullback")
        return y.data, [v.grad for v in variables]


class Autograd(Contestant):
    name = "autograd"

    def __init__(self) -> None:
        self.make_vjp = importlib.import_module("autograd").make_vjp
        self.xp = importlib.import_module("autograd.numpy")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        positions = tuple(range(len(inputs)))
        pullback, value = self.make_vjp(lambda *xs: f(self.xp, *xs), argnum=positions)(*inputs)
        lap("record")
        gradients = list(pullback(np.ones_like(value)))
        lap("pullback")
        return value, gradients


class Torch(Contestant):
    name = "torch"

    def __init__(self) -> None:
        self.xp = importlib.import_module("torch")

    def constant(self, value: Any) -> Any:
        return self.xp.from_numpy(np.asarray(value))

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        torch = self.xp
        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
        y = f(torch, *leaves)
        lap("record")
        y.backward(torch.ones_like(y))
        lap("pullback")
        return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


class MyGrad(Contestant):
    name = "mygrad"

    def __init__(self) -> None:
        self.xp = importlib.import_module("mygrad")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        leaves = [self.xp.tensor(x) for x in inputs]
        y = f(self.xp, *leaves)
        lap("record")
        y.backward()
        lap("pullback")
        return y.data, [leaf.grad for leaf in leaves]


class Jax(Contestant):
    name = "jax (eager)"

    def __init__(self) -> None:
        self.jax = importlib.import_module("jax")
        self.jax.config.update("jax_enable_x64", True)
        self.xp = importlib.import_module("jax.numpy")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Callable[[str], None]) -> tuple[Any, list[Any]]:
        value, pullback = self.jax.vjp(lambda *xs: f(self.xp, *xs), *inputs)
        lap("record")
        gradients = [np.asarray(g) for g in pullback(self.xp.ones_like(value))]
        lap("pullback")
        return np.asarray(value), gradients


OURS: tuple[type[Contestant], ...] = (Vjp, Grad, Eager)
THEIRS: dict[str, type[Contestant]] = {"autograd": Autograd, "torch": Torch, "mygrad": MyGrad, "jax": Jax}


def installed(names: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """The peers among `names` that can be imported, and the names of those that cannot."""
    found, absent = [], []
    for name in names:
        try:
            found.append(THEIRS[name]())
        except ImportError:
            absent.append(name)
    return found, absent


def runs(contestants: Sequence[Contestant], f: Callable[[Contestant], Function], inputs: Sequence[Any]) -> dict[str, Run]:
    def run(contestant: Contestant, function: Function) -> Run:
        return lambda lap: contestant.gradient(function, inputs, lap)

    return {c.name: run(c, f(c)) for c in contestants}


# --------------------------------------------------------------------------------------------------------- the report


class Report:
    """Tables for people, figures for `--json`, and whether all agreed."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.figures: dict[str, Any] = {}
        self.verdicts: list[tuple[str, str, str, bool]] = []
        self.disagreements: list[str] = []

    def agree(self, what: str, results: dict[str, tuple[Any, Sequence[Any]]]) -> None:
        """Compare values and gradients with those of the first; the largest relative difference is shown."""
        (first, (value, gradients)), *others = results.items()
        worst = 0.0
        for name, (other_value, other_gradients) in others:
            pairs = [(value, other_value), *zip(gradients, other_gradients, strict=True)]
            for mine, theirs in pairs:
                mine, theirs = np.sum(mine) if np.ndim(theirs) == 0 else np.asarray(mine), np.asarray(theirs)
                scale = np.max(np.abs(mine), initial=0.0) or 1.0
                error = float(np.max(np.abs(mine - theirs), initial=0.0) / scale)
                worst = max(worst, error)
                if not error <= AGREEMENT:
                    self.disagreements.append(f"{what}: {name} differs from {first} by {error:.1e}")
        with_whom = ", ".join(name for name, _ in others)
        console.print(f"  values and gradients agree with {with_whom}: largest relative difference {worst:.1e}")

    def goal(self, what: str, value: float, goal: float, unit: str, cpu: float | None = None) -> None:
        """Note whether `value` is at most `goal`; CPU time decides where other jobs were running."""
        met = value <= goal or (cpu is not None and cpu <= goal)
        shown = f"{value:.3g}" if cpu is None else f"{value:.3g} (CPU {cpu:.3g})"
        self.verdicts.append((what, f"{shown} {unit}", f"≤ {goal:g} {unit}", met))

    def faster(self, what: str, ratios: dict[str, float]) -> None:
        for name, value in ratios.items():
            self.verdicts.append((f"{what}: {name} takes", f"{value:.2f} × as long", "> 1 ×", value > 1))

    def race(
        self,
        key: str,
        title: str,
        laps: dict[str, Laps],
        per: float,
        unit: str,
        base: str,
        absent: Sequence[str] = (),
        parts: Sequence[str] = ("record", "pullback"),
    ) -> None:
        """A table of contestants: parts and total per operation, spread, CPU time, and the ratio to `base`."""
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("")
        for part in parts:
            table.add_column(f"{part} {unit}", justify="right")
        for heading in (f"total {unit}", "spread", f"CPU {unit}", f"÷ {base}"):
            table.add_column(heading, justify="right")
        figures: dict[str, Any] = {}
        for name, one in laps.items():
            total = sorted(x / per for x in one.wall())
            row = {part: statistics.median(one.wall(part)) / per for part in parts if one.wall(part)}
            row |= {"total": statistics.median(total), "low": total[0], "high": total[-1]}
            row |= {"cpu": statistics.median(one.cpu()) / per, "ratio": ratio(one, laps[base])}
            figures[name] = row
            table.add_row(
                name,
                *(f"{row[part]:.3g}" if part in row else "–" for part in parts),
                f"{row['total']:.3g}",
                f"{row['low']:.3g} … {row['high']:.3g}",
                f"{row['cpu']:.3g}",
                f"{row['ratio']:.2f}",
            )
        for name in absent:
            table.add_row(name, *["not installed"] + [""] * (len(parts) + 3))
        console.print(table)
        self.figures[key] = figures

    def finish(self) -> int:
        table = Table(title="Goals", title_justify="left", title_style="bold")
        for heading in ("what", "measured", "goal", "verdict"):
            table.add_column(heading)
        for what, measured, goal, met in self.verdicts:
            table.add_row(what, measured, goal, "[green]met[/]" if met else "[red]MISSED[/]")
        console.print(table)
        for line in self.disagreements:
            console.print(f"[bold red]DISAGREEMENT[/] {line}")
        return 1 if self.disagreements else 0


# ------------------------------------------------------------------------------------------------- (a) a chain of calls

FACTOR, SHIFT = 1.0001, 1e-7  # near a neutral fixed point, so that the gradient of a million operations is not 0
OPERATIONS = 4000


def chain(xp: Any, x: Any, operations: int = OPERATIONS) -> Any:
    """sin, × a number, + a number, tanh, over and over."""
    for _ in range(operations // 4):
        x = xp.tanh(xp.sin(x) * FACTOR + SHIFT)
    return x


def chain_by_hand(x: Any, lap: Callable[[str], None], operations: int = OPERATIONS) -> tuple[Any, list[Any]]:
    """What is left of reverse mode where the program is known: a list of operands, walked backwards. No guards."""
    tape: list[Any] = []
    for _ in range(operations // 4):
        tape.append(x)
        x = np.sin(x)
        x = x * FACTOR
        x = x + SHIFT
        tape.append(x)
        x = np.tanh(x)
    lap("record")
    ct = np.ones_like(x)
    while tape:
        sech = 1.0 / np.cosh(tape.pop())
        ct = ct * (sech * sech)
        ct = ct * FACTOR
        ct = ct * np.cos(tape.pop())
    lap("pullback")
    return x, [ct]


def without_derivative(f: Function, inputs: Sequence[Any]) -> Run:
    def run(lap: Callable[[str], None]) -> Any:
        value = f(np, *inputs)
        lap("record")
        return value

    return run


def measure_chain(report: Report) -> None:
    peers, absent = installed(PEERS)
    eager_jax = [p for p in peers if p.name.startswith("jax")]
    for what, x, goal in (("shape (1,)", np.array([0.5]), 3.0), ("a Python float", 0.5, 5.0)):
        console.print(f"[bold]Chain[/] of {OPERATIONS} operations on {what}")
        contestants = [*(kind() for kind in OURS), *(p for p in peers if p not in eager_jax)]
        entries = runs(contestants, lambda _: chain, [x])
        entries["no derivative (NumPy)"] = without_derivative(chain, [x])
        entries["tape by hand"] = lambda lap, x=x: chain_by_hand(x, lap)
        checked = [*contestants, *eager_jax]
        results = {c.name: c.gradient(chain, [x], lambda _: None) for c in checked}
        report.agree(f"chain of {what}", results | {"tape by hand": chain_by_hand(x, lambda _: None)})
        laps = compete(entries, REPETITIONS)
        if eager_jax:  # 60 × as slow: a tenth of the chain, three times, scaled up
            short = lambda xp, x: chain(xp, x, OPERATIONS // 10)  # noqa: E731
            few = compete(runs(eager_jax, lambda _: short, [x]), 1 if report.quick else 3)
            for name, one in few.items():
                rows = [{k: (10 * w, 10 * c) for k, (w, c) in row.items()} for row in one.rows]
                one.rows = [rows[k % len(rows)] for k in range(REPETITIONS)]
                laps[name] = one
        report.race(f"chain, {what}", "", laps, OPERATIONS * 1e-6, "µs/op", "wengert vjp", absent)
        for name in ("wengert vjp", "wengert grad", "wengert Variable"):
            row = report.figures[f"chain, {what}"][name]
            report.goal(f"chain, {what}: {name}", row["total"], goal, "µs/op", row["cpu"])
        if goal == 3.0:
            names = [p.name for p in peers]
            report.faster("chain", {name: ratio(laps[name], laps["wengert vjp"]) for name in names})


# ------------------------------------------------------------------------------------------- (b) a million operations


def child_deep(name: str, operations: int) -> dict[str, float]:
    """In a process of its own: time and peak memory of one gradient through a chain."""
    contestant: Contestant = Grad() if name == "wengert" else installed([name])[0][0]
    contestant.gradient(lambda xp, x: chain(xp, x, 400), [np.array([0.5])], lambda _: None)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch = Stopwatch()
    _, (gradient,) = contestant.gradient(lambda xp, x: chain(xp, x, operations), [np.array([0.5])], watch.lap)
    watch.total()
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    wall, cpu = watch.parts["total"]
    return {"wall": wall, "cpu": cpu, "bytes": peak / operations, "gradient": float(np.sum(gradient))}


def measure_deep(report: Report) -> None:
    sizes = [50_000, 100_000, 200_000] if report.quick else [250_000, 500_000, 1_000_000]
    _, absent = installed(PEERS)
    console.print(f"[bold]Depth[/]: one gradient through {sizes[-1]:,} operations, each in a process of its own")
    table = Table()
    for heading in ("", *(f"{n:,}: s (CPU s)" for n in sizes), "µs/op, last ÷ first", "peak bytes/op"):
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, Any] = {}
    for name in ("wengert", *(p for p in PEERS if p not in absent and p != "jax")):
        depths = sizes if name == "wengert" or not report.quick else sizes[:1]
        rows = [child("deep", name, str(n)) for n in depths]
        good = [row for row in rows if "wall" in row]
        growth = good[-1]["cpu"] / good[0]["cpu"] / (depths[len(good) - 1] / depths[0]) if len(good) > 1 else None
        cells = [f"{row['wall']:.2f} ({row['cpu']:.2f})" if "wall" in row else row["error"] for row in rows]
        table.add_row(
            name,
            *cells,
            *[""] * (len(sizes) - len(cells)),
            "" if growth is None else f"{growth:.2f}",
            f"{good[-1]['bytes']:.0f}" if good else "",
        )
        figures[name] = {str(n): row for n, row in zip(depths, rows, strict=True)}
        if name == "wengert":
            last = good[-1]
            report.goal(f"{sizes[-1]:,} operations deep", last["wall"], 5.0 * sizes[-1] / 1e6, "s", last["cpu"])
            report.goal("depth is linear: time per operation, last ÷ first", growth or 99.0, 1.5, "")
    for n in sizes:
        found = {k: v[str(n)]["gradient"] for k, v in figures.items() if "gradient" in v.get(str(n), {})}
        report.agree(f"depth {n:,}", {k: (g, []) for k, g in found.items()})
    console.print(table)
    report.figures["deep"] = figures


def child(*args: str) -> dict[str, Any]:
    """Run one measurement of this file in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--child", *args], capture_output=True, text=True, timeout=1800)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1][:40] if lines else f"exit code {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# -------------------------------------------------------------------------------- (c) element by element, (d) containers


def element_sum(xp: Any, x: Any) -> Any:
    s = 0.0
    for k in range(x.shape[0]):
        s += x[k]
    return s


def squares(xp: Any, leaves: Any) -> Any:
    total: Any = 0.0
    for leaf in leaves:
        total = total + leaf * leaf
    return xp.sum(total)


def measure_elements(report: Report) -> None:
    sizes = [1250, 2500, 5000, 10_000]
    peers, absent = installed([p for p in PEERS if p != "jax"])
    contestants = [Vjp(), Eager(), *peers]
    console.print("[bold]Elements[/]: for k in range(n): s += x[k]")
    x = np.linspace(0.0, 1.0, 1250)
    report.agree("elements", {c.name: c.gradient(element_sum, [x], lambda _: None) for c in contestants})
    scaling(
        report,
        "elements",
        "µs/element",
        sizes,
        {c.name: (lambda n, lap, c=c: c.gradient(element_sum, [np.linspace(0.0, 1.0, n)], lap)) for c in contestants},
        absent,
    )


def measure_containers(report: Report) -> None:
    sizes = [1000, 10_000]
    console.print("[bold]Containers[/]: the gradient of Σ leaf² with respect to a container of n leaves")

    def leaves(n: int) -> list[Any]:
        return [np.full(2, k / n) for k in range(n)]

    def wengert(n: int, lap: Any = None) -> Any:
        value, (gradient,) = wg.value_and_grad(lambda tree: squares(np, tree["leaves"]), argnums=(0,))({"leaves": leaves(n)})
        return value, gradient["leaves"]

    entries: dict[str, Any] = {"wengert grad": wengert}
    peers, absent = installed([p for p in PEERS if p != "jax"])
    for peer in peers:
        if peer.name == "autograd":
            vg = importlib.import_module("autograd").value_and_grad
            entries["autograd"] = lambda n, lap=None, p=peer, vg=vg: vg(lambda a: squares(p.xp, a))(leaves(n))
        else:
            entries[peer.name] = lambda n, lap=lambda _: None, p=peer: p.gradient(
                lambda xp, *a: squares(xp, a), leaves(n), lap
            )
    report.agree("containers", {name: entry(1000) for name, entry in entries.items()})
    scaling(report, "containers", "µs/leaf", sizes, entries, absent)


def scaling(
    report: Report, key: str, unit: str, sizes: Sequence[int], entries: dict[str, Any], absent: Sequence[str]
) -> None:
    """Time per element for growing sizes, which is constant where the cost is linear."""
    table = Table()
    for heading in ("", *(f"n = {n:,}: {unit}" for n in sizes), "last ÷ first"):
        table.add_column(heading, justify="right" if heading else "left")
    medians: dict[str, list[float]] = {name: [] for name in entries}
    for n in sizes:
        runs_of_size = {name: (lambda lap, e=e, n=n: e(n, lap)) for name, e in entries.items()}
        for name, laps in compete(runs_of_size, 3 if report.quick else 5).items():
            medians[name].append(statistics.median(laps.cpu()) / n * 1e6)
    for name, row in medians.items():
        table.add_row(name, *(f"{v:.3g}" for v in row), f"{row[-1] / row[0]:.2f}")
        if name.startswith("wengert"):
            report.goal(f"{key} are linear ({name}): last ÷ first", row[-1] / row[0], 1.5, "")
    for name in absent:
        table.add_row(name, "not installed", *[""] * len(sizes))
    console.print(table)
    report.figures[key] = {name: dict(zip(map(str, sizes), row, strict=True)) for name, row in medians.items()}


# ------------------------------------------------------------------------------- (e) large arrays, and a small network


def measure_large(report: Report) -> None:
    size, operations = 1_000_000, 20
    x = np.linspace(-1.0, 1.0, size)

    def large(xp: Any, x: Any) -> Any:
        return chain(xp, x, operations)

    peers, absent = installed(PEERS)
    contestants = [Vjp(), Eager(), *peers]
    console.print(f"[bold]Large arrays[/]: a chain of {operations} operations on {size:,} elements")
    results = {c.name: c.gradient(large, [x], lambda _: None) for c in contestants}
    report.agree("large arrays", results | {"tape by hand": chain_by_hand(x, lambda _: None, operations)})
    entries = runs(contestants, lambda _: large, [x])
    entries["no derivative (NumPy)"] = without_derivative(large, [x])
    entries["tape by hand"] = lambda lap: chain_by_hand(x, lap, operations)
    laps = compete(entries, 3 if report.quick else REPETITIONS)
    report.race("large", "", laps, operations * 1e-3, "ms/op", "wengert vjp", absent)


def network(xp: Any, data: Any, targets: Any) -> Function:
    """Cross-entropy of a network with two hidden layers."""

    def loss(xp: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
        h = xp.tanh(data @ w1 + b1)
        h = xp.tanh(h @ w2 + b2)
        logits = h @ w3 + b3
        return xp.sum(xp.log(xp.sum(xp.exp(logits), axis=1)) - xp.sum(logits * targets, axis=1)) / len(targets)

    return loss


def network_by_hand(data: Any, targets: Any, weights: Sequence[Any], lap: Callable[[str], None]) -> Any:
    w1, b1, w2, b2, w3, b3 = weights
    h1 = np.tanh(data @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    logits = h2 @ w3 + b3
    e = np.exp(logits)
    total = np.sum(e, axis=1, keepdims=True)
    value = np.sum(np.log(total[:, 0]) - np.sum(logits * targets, axis=1)) / len(targets)
    lap("record")
    ct = (e / total - targets) / len(targets)
    gw3, gb3 = h2.T @ ct, ct.sum(0)
    ct = (ct @ w3.T) * (1 - h2 * h2)
    gw2, gb2 = h1.T @ ct, ct.sum(0)
    ct = (ct @ w2.T) * (1 - h1 * h1)
    gw1, gb1 = data.T @ ct, ct.sum(0)
    lap("pullback")
    return value, [gw1, gb1, gw2, gb2, gw3, gb3]


def measure_network(report: Report) -> None:
    rng = np.random.default_rng(0)
    widths = (784, 256, 128, 10)
    data, labels = rng.standard_normal((128, 784)), rng.integers(0, 10, 128)
    targets = np.eye(10)[labels]
    weights: list[Any] = []
    for m, n in zip(widths, widths[1:], strict=False):
        weights += [rng.standard_normal((m, n)) / np.sqrt(m), np.zeros(n)]
    peers, absent = installed(PEERS)
    contestants = [Vjp(), Eager(), *peers]
    console.print("[bold]Network[/]: the gradient of a 784-256-128-10 network for a batch of 128, float64")

    def loss(c: Contestant) -> Function:
        return network(c.xp, c.constant(data), c.constant(targets))

    results = {c.name: c.gradient(loss(c), weights, lambda _: None) for c in contestants}
    report.agree("network", results | {"by hand": network_by_hand(data, targets, weights, lambda _: None)})
    entries = runs(contestants, loss, weights)
    entries["no derivative (NumPy)"] = without_derivative(network(np, data, targets), weights)
    entries["by hand (NumPy)"] = lambda lap: network_by_hand(data, targets, weights, lap)
    laps = compete(entries, 5 if report.quick else REPETITIONS)
    report.race("network", "", laps, 1e-3, "ms", "wengert vjp", absent)


# ----------------------------------------------------------------------------------------- (f) import, (g) memory leaks


def measure_import(report: Report) -> None:
    """`import x` after `import numpy`, in fresh processes; bytecode is compiled by the round that does not count."""
    code = (
        "import time, numpy; w, c = time.perf_counter(), time.process_time(); import {0}; "
        "print(time.perf_counter() - w, time.process_time() - c)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    names = ("wengert", *PEERS)
    _, absent = installed(PEERS)
    laps: dict[str, list[tuple[float, float]]] = {name: [] for name in names if name not in absent}
    for repetition in range((5 if report.quick else 15) + 1):
        for name in laps:
            command = [sys.executable, "-c", code.format(name)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            if repetition:
                wall, cpu = map(float, done.stdout.split())
                laps[name].append((wall, cpu))
    console.print("[bold]Import[/], beyond that of NumPy")
    table = Table()
    for heading in ("", "ms (median)", "spread", "CPU ms"):
        table.add_column(heading, justify="right" if heading else "left")
    figures = {}
    for name in names:
        if name in absent:
            table.add_row(name, "not installed", "", "")
            continue
        wall, cpu = (sorted(1e3 * lap[k] for lap in laps[name]) for k in (0, 1))
        figures[name] = {"wall": statistics.median(wall), "cpu": statistics.median(cpu)}
        low, high = wall[0], wall[-1]
        table.add_row(
            name, f"{figures[name]['wall']:.0f}", f"{low:.0f} … {high:.0f}", f"{figures[name]['cpu']:.0f}"
        )
    console.print(table)
    report.figures["import"] = figures
    mine = figures["wengert"]
    report.goal("import wengert, beyond NumPy", mine["wall"] / 1e3, 0.05, "s", mine["cpu"] / 1e3)


def small(xp: Any, x: Any) -> Any:
    return xp.sum(xp.tanh(xp.sin(x) * 1.5 + 0.5) * x)


def child_leak(name: str, calls: int) -> dict[str, float]:
    """In a process of its own: growth of resident memory with the collector off, and what it then finds."""
    ours: dict[str, type[Contestant]] = {"wengert grad": Grad, "wengert Variable": Eager}
    contestant: Contestant = ours[name]() if name in ours else installed([name])[0][0]
    x = np.linspace(0.1, 1.0, 3)

    def call() -> None:
        contestant.gradient(small, [x], lambda _: None)

    for _ in range(100):
        call()
    gc.collect()
    gc.disable()
    begin = resident()
    start = time.perf_counter()
    for _ in range(calls // 2):
        call()
    middle = resident()
    for _ in range(calls // 2):
        call()
    end = resident()
    seconds = time.perf_counter() - start
    return {
        "first": (middle - begin) / 2**20,
        "second": (end - middle) / 2**20,
        "found": gc.collect(),
        "us": seconds / calls * 1e6,
    }


def measure_leaks(report: Report) -> None:
    _, absent = installed(PEERS)
    console.print("[bold]Leaks[/]: resident memory over many gradients with the collector off")
    table = Table()
    for heading in ("", "calls", "first half, MiB", "second half, MiB", "then collected", "µs a call"):
        table.add_column(heading, justify="right" if heading else "left")
    figures: dict[str, Any] = {}
    for name in ("wengert grad", "wengert Variable", "autograd", "torch", "mygrad"):
        if name in absent:
            table.add_row(name, "not installed", "", "", "", "")
            continue
        calls = 20_000 if report.quick or not name.startswith("wengert") else 100_000
        row = figures[name] = child("leak", name, str(calls))
        if "error" in row:
            table.add_row(name, str(calls), row["error"], "", "", "")
            continue
        table.add_row(
            name,
            f"{calls:,}",
            f"{row['first']:.2f}",
            f"{row['second']:.2f}",
            f"{row['found']} objects",
            f"{row['us']:.0f}",
        )
        if name.startswith("wengert"):
            report.goal(f"leaks: {name}, second half of {calls:,} calls", row["second"], 1.0, "MiB")
            report.goal(f"leaks: {name}, found by gc.collect()", row["found"], 0, "objects")
    console.print(table)
    report.figures["leaks"] = figures


# ---------------------------------------------------------------------------------------------------------------- main

MEASURES: dict[str, Callable[[Report], None]] = {
    "chain": measure_chain,
    "deep": measure_deep,
    "elements": measure_elements,
    "containers": measure_containers,
    "large": measure_large,
    "network": measure_network,
    "import": measure_import,
    "leaks": measure_leaks,
}
CHILDREN: dict[str, Callable[[str, int], dict[str, float]]] = {"deep": child_deep, "leak": child_leak}


def environment() -> dict[str, Any]:
    versions = {}
    for name in ("numpy", "wengert", *PEERS):
        with contextlib.suppress(ImportError):
            versions[name] = getattr(importlib.import_module(name), "__version__", "?")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
    }


@contextlib.contextmanager
def contention_shown() -> Iterator[None]:
    """Say at the end how much of the time this process had to wait for others."""
    wall, cpu, others = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - others.ru_utime - others.ru_stime
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu + children
    console.print(
        f"{wall:.0f} s, of which {cpu:.0f} s of CPU time; load average now {os.getloadavg()[0]:.1f} on {os.cpu_count()} "
        "processors. Where wall-clock time exceeds CPU time, other jobs were running."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repetitions: half a minute")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--only", metavar="NAMES", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "NAME", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, name, n = options.child
        print(json.dumps(CHILDREN[what](name, int(n))))
        return 0
    unknown = set(options.only.split(",")) - set(MEASURES)
    if unknown:
        parser.error(f"no measure is named {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    here = environment()
    console.print(f"Python {here['python']}, {here['processors']} processors, load average {here['load'][0]:.1f}; ", end="")
    console.print(", ".join(f"{name} {version}" for name, version in here["versions"].items()))
    report = Report(options.quick)
    with contention_shown():
        for name in options.only.split(","):
            MEASURES[name](report)
    code = report.finish()
    if options.json:
        goals = [dict(zip(("what", "measured", "goal", "met"), verdict, strict=True)) for verdict in report.verdicts]
        figures = {"environment": here, "figures": report.figures, "goals": goals, "disagreements": report.disagreements}
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)
    return code


if __name__ == "__main__":
    sys.exit(main())
