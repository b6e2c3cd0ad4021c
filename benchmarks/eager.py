"""What the eager engine costs, beside autograd, PyTorch, MyGrad, JAX, plain NumPy and a tape written by hand.

    python benchmarks/eager.py [--quick] [--json FILE] [--only chain,deep,…]

Each contestant lives in a process of its own, as it does for its users: importing PyTorch makes everything else in the
same process a tenth slower. Each has one thread, because on a shared machine threads that wait for one another measure
the neighbours. First all must agree on values and gradients (relative 1e-10; the exit code is 1 where they do not).
Then they run in turn, one at a time, so that a change of the machine's mood meets all alike. Shown are medians of nine;
ratios are medians over the pairs. Peers that are not installed are shown as absent.

Wall-clock time is what a user waits. CPU time stands beside it because these machines are shared: where wall-clock time
exceeds it, somebody else was running, and it is CPU time that the goal is held against.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks import imports
from benchmarks.common import ONE_THREAD, Worker, contention, environment, new_table

REPETITIONS = 9
AGREEMENT = 1e-10
SAMPLE = 1000  # elements of a large gradient that are compared

Lap = Callable[[str], None]
Function = Callable[..., Any]  # (xp, *inputs) → one number or an array; xp is NumPy, or what a peer has in its place


# --------------------------------------------------------------------------------------------------------- programs


class Program(NamedTuple):
    """Something to differentiate, for every contestant alike."""

    function: Function
    inputs: Sequence[Any]
    constants: Sequence[Any] = ()  # arrays that `function` takes first; they are not differentiated
    container: bool = False  # whether the inputs form one container, where the contestant knows containers
    by_hand: Callable[[Sequence[Any], Lap], Any] | None = None  # the same in bare NumPy: the floor


FACTOR, SHIFT = 1.0001, 1e-7  # near a neutral fixed point, so that the gradient of a million operations is not 0
OPERATIONS = 4000


def chain(xp: Any, x: Any, operations: int = OPERATIONS) -> Any:
    """sin, × a number, + a number, tanh, over and over."""
    for _ in range(operations // 4):
        x = xp.tanh(xp.sin(x) * FACTOR + SHIFT)
    return x


def chain_by_hand(x: Any, lap: Lap, operations: int = OPERATIONS) -> tuple[Any, list[Any]]:
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


def make_chain(operations: int) -> Program:
    return Program(
        lambda xp, x: chain(xp, x, operations),
        [np.array([0.5])],
        by_hand=lambda inputs, lap: chain_by_hand(inputs[0], lap, operations),
    )


def make_float_chain(operations: int) -> Program:
    return make_chain(operations)._replace(inputs=[0.5])


def make_large(operations: int) -> Program:
    return make_chain(operations)._replace(inputs=[np.linspace(-1.0, 1.0, 1_000_000)])


def element_sum(xp: Any, x: Any) -> Any:
    s = 0.0
    for k in range(x.shape[0]):
        s += x[k]
    return s


def make_elements(n: int) -> Program:
    return Program(element_sum, [np.linspace(0.0, 1.0, n)])


def squares(xp: Any, *leaves: Any) -> Any:
    total: Any = 0.0
    for leaf in leaves:
        total = total + leaf * leaf
    return xp.sum(total)


def make_leaves(n: int) -> Program:
    return Program(squares, [np.full(2, k / n) for k in range(n)], container=True)


def network(xp: Any, data: Any, targets: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
    """Cross-entropy of a network with two hidden layers."""
    h = xp.tanh(data @ w1 + b1)
    h = xp.tanh(h @ w2 + b2)
    logits = h @ w3 + b3
    return xp.sum(xp.log(xp.sum(xp.exp(logits), axis=1)) - xp.sum(logits * targets, axis=1)) / len(targets)


def network_by_hand(data: Any, targets: Any, weights: Sequence[Any], lap: Lap) -> tuple[Any, list[Any]]:
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


def make_network(batch: int) -> Program:
    rng = np.random.default_rng(0)
    widths = (784, 256, 128, 10)
    data, targets = rng.standard_normal((batch, 784)), np.eye(10)[rng.integers(0, 10, batch)]
    weights: list[Any] = []
    for m, n in itertools.pairwise(widths):
        weights += [rng.standard_normal((m, n)) / np.sqrt(m), np.zeros(n)]
    return Program(
        network,
        weights,
        constants=(data, targets),
        by_hand=lambda inputs, lap: network_by_hand(data, targets, inputs, lap),
    )


PROGRAMS: dict[str, Callable[[int], Program]] = {
    "chain": make_chain,
    "float chain": make_float_chain,
    "large": make_large,
    "elements": make_elements,
    "leaves": make_leaves,
    "network": make_network,
}


# ------------------------------------------------------------------------------------------------------- contestants


class Contestant:
    """One way to get a gradient: `gradient` returns the value and a gradient for each input, as NumPy arrays."""

    xp: Any = np

    def constant(self, value: Any) -> Any:
        return value

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        raise NotImplementedError

    def gradient_of_container(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        return self.gradient(f, inputs, lap)

    def run(self, program: Program, lap: Lap) -> tuple[Any, Any]:
        constants = [self.constant(c) for c in program.constants]

        def f(*inputs: Any) -> Any:
            return program.function(self.xp, *constants, *inputs)

        return (self.gradient_of_container if program.container else self.gradient)(f, program.inputs, lap)


class Vjp(Contestant):
    def __init__(self) -> None:
        self.wg = importlib.import_module("wengert")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        value, pullback = self.wg.vjp(f, *inputs)
        lap("record")
        gradients = pullback(np.ones_like(value))
        lap("pullback")
        return value, gradients


class Grad(Vjp):
    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        positions = tuple(range(len(inputs)))
        return self.wg.value_and_grad(lambda *xs: np.sum(f(*xs)), argnums=positions)(*inputs)  # type: ignore[no-any-return]

    def gradient_of_container(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        value, tree = self.wg.value_and_grad(lambda tree: f(*tree["leaves"]))({"leaves": list(inputs)})
        return value, tree["leaves"]


class Eager(Vjp):
    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        variables = [self.wg.Variable(x) for x in inputs]
        y = f(*variables)
        lap("record")
        y.backward(np.ones(y.shape))
        lap("pullback")
        return y.data, [v.grad for v in variables]


class Autograd(Contestant):
    def __init__(self) -> None:
        self.autograd = importlib.import_module("autograd")
        self.xp = importlib.import_module("autograd.numpy")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        pullback, value = self.autograd.make_vjp(f, argnum=tuple(range(len(inputs))))(*inputs)
        lap("record")
        gradients = pullback(np.ones_like(value))
        lap("pullback")
        return value, gradients

    def gradient_of_container(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        gradient, value = self.autograd.value_and_grad(lambda leaves: f(*leaves))(list(inputs))[::-1]
        return value, gradient


class Torch(Contestant):
    def __init__(self) -> None:
        self.xp = importlib.import_module("torch")

    def constant(self, value: Any) -> Any:
        return self.xp.from_numpy(value)

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        torch = self.xp
        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
        y = f(*leaves)
        lap("record")
        y.backward(torch.ones_like(y))
        lap("pullback")
        return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


class MyGrad(Contestant):
    def __init__(self) -> None:
        self.xp = importlib.import_module("mygrad")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        leaves = [self.xp.tensor(x) for x in inputs]
        y = f(*leaves)
        lap("record")
        y.backward()
        lap("pullback")
        return y.data, [leaf.grad for leaf in leaves]


class Jax(Contestant):
    def __init__(self) -> None:
        self.jax = importlib.import_module("jax")
        self.jax.config.update("jax_enable_x64", True)
        self.xp = importlib.import_module("jax.numpy")

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        value, pullback = self.jax.vjp(f, *inputs)
        lap("record")
        gradients = [np.asarray(g) for g in pullback(self.xp.ones_like(value))]
        lap("pullback")
        return np.asarray(value), gradients


class NoDerivative(Contestant):
    """The control: the same program in plain NumPy."""

    def gradient(self, f: Function, inputs: Sequence[Any], lap: Lap) -> tuple[Any, Any]:
        return f(*inputs), None


class ByHand(Contestant):
    """The floor: the derivative as one would write it in NumPy for this program alone."""

    def run(self, program: Program, lap: Lap) -> tuple[Any, Any]:
        assert program.by_hand is not None
        return program.by_hand(program.inputs, lap)  # type: ignore[no-any-return]


CONTESTANTS: dict[str, type[Contestant]] = {
    "wengert vjp": Vjp,
    "wengert grad": Grad,
    "wengert Variable": Eager,
    "autograd": Autograd,
    "torch": Torch,
    "mygrad": MyGrad,
    "jax": Jax,
    "no derivative": NoDerivative,
    "by hand": ByHand,
}
PEERS = ("autograd", "torch", "mygrad", "jax")
WENGERT = ("wengert vjp", "wengert grad", "wengert Variable")


# ------------------------------------------------------------------------------ what happens in a contestant's process

Parts = dict[str, tuple[float, float]]  # "record", "pullback", "total" → seconds of wall-clock and of CPU time


def timed(run: Callable[[Lap], Any]) -> Parts:
    """Times of the parts of a run, and of the whole with all that it frees in the end."""

    parts: Parts = {}

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def since(then: tuple[float, float]) -> tuple[float, float]:
        wall, cpu = now()
        return wall - then[0], cpu - then[1]

    begin = last = now()

    def lap(name: str) -> None:
        nonlocal last
        parts[name] = since(last)
        last = now()

    run(lap)
    parts["total"] = since(begin)
    return parts


def work(name: str) -> None:
    """Answer requests, a line of JSON each: [program, size, times] → times of the parts; with 0 times, the results."""
    try:
        contestant = CONTESTANTS[name]()
    except ImportError:
        print(json.dumps("absent"), flush=True)
        return
    print(json.dumps("ready"), flush=True)
    programs: dict[tuple[str, int], Program] = {}
    for line in sys.stdin:
        key, size, times = json.loads(line)
        program = (
            programs.setdefault((key, size), PROGRAMS[key](size))
            if (key, size) not in programs
            else programs[key, size]
        )
        if times == 0:
            value, gradients = contestant.run(program, lambda _: None)
            answer: Any = [np.sum(value).item(), None if gradients is None else [sample(g) for g in gradients]]
        else:
            gc.collect()  # nobody pays for what was left behind; the collector stays on
            rows = [timed(partial(contestant.run, program)) for _ in range(times)]
            answer = {part: [sum(row[part][k] for row in rows) / times for k in (0, 1)] for part in rows[0]}
        print(json.dumps(answer), flush=True)


def sample(gradient: Any) -> list[float]:
    """All of a small gradient, and evenly spaced elements of a large one."""
    flat = np.ravel(gradient)
    return flat[:: flat.size // SAMPLE + 1].tolist()  # type: ignore[no-any-return]


def deep(name: str, operations: int) -> dict[str, float]:
    """In a fresh process: time and peak memory of one gradient through a chain."""
    contestant = CONTESTANTS[name]()
    contestant.run(make_chain(400), lambda _: None)
    gc.collect()
    program, gradient = make_chain(operations), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = timed(lambda lap: gradient.append(contestant.run(program, lap)[1][0]))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    wall, cpu = parts["total"]
    return {"wall": wall, "cpu": cpu, "bytes": peak / operations, "gradient": float(np.sum(gradient[0]))}


def small(xp: Any, x: Any) -> Any:
    return xp.sum(xp.tanh(xp.sin(x) * 1.5 + 0.5) * x)


def leak(name: str, calls: int) -> dict[str, float]:
    """In a fresh process: growth of resident memory with the collector off, and what it then finds."""
    contestant = CONTESTANTS[name]()
    program = Program(small, [np.linspace(0.1, 1.0, 3)])

    def call_many(count: int) -> int:
        for _ in range(count):
            contestant.run(program, lambda _: None)
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    begin = call_many(200)
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    middle, end = call_many(calls // 2), call_many(calls // 2)
    seconds = time.perf_counter() - start
    growth = {"first": (middle - begin) / 2**20, "second": (end - middle) / 2**20}
    return growth | {"found": gc.collect(), "us": seconds / calls * 1e6}


FRESH: dict[str, Callable[[str, int], dict[str, float]]] = {"deep": deep, "leak": leak}


def fresh(what: str, name: str, n: int) -> dict[str, Any]:
    """Run `deep` or `leak` in a process of its own; {"error": …} where that fails."""
    command = [sys.executable, __file__, "--fresh", what, name, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=ONE_THREAD | os.environ)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1][:40] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


# ----------------------------------------------------------------------------------------------- the one that asks them


class Laps:
    """All repetitions of one contestant."""

    def __init__(self) -> None:
        self.rows: list[Parts] = []

    def wall(self, part: str = "total") -> list[float]:
        return [row[part][0] for row in self.rows if part in row]

    def cpu(self, part: str = "total") -> list[float]:
        return [row[part][1] for row in self.rows if part in row]

    def ratio(self, to: Laps) -> float:
        return statistics.median(a / b for a, b in zip(self.wall(), to.wall(), strict=True))


class Benchmark:
    """The workers, the tables for people, the figures for `--json`, and whether all agreed."""

    def __init__(self, quick: bool) -> None:
        from rich.console import Console

        self.console = Console(width=118)
        self.quick = quick
        self.figures: dict[str, Any] = {}
        self.goals: list[dict[str, Any]] = []
        self.disagreements: list[str] = []
        command = [sys.executable, __file__, "--worker"]
        self.workers = {name: Worker([*command, name], ONE_THREAD) for name in CONTESTANTS}
        self.absent = {name for name, worker in self.workers.items() if worker.read() == "absent"}

    def present(self, *names: str) -> list[str]:
        return [name for name in names if name not in self.absent]

    def agree(self, program: str, size: int, names: Sequence[str]) -> None:
        """Compare values and gradients with those of the first; the largest relative difference is shown."""
        results = {name: self.workers[name].ask([program, size, 0]) for name in self.present(*names)}
        self.compare(f"{program}, {size:,}", results)

    def compare(self, what: str, results: dict[str, Any]) -> None:
        (first, (value, gradients)), *others = results.items()
        worst, whose = 0.0, ""
        for name, (other_value, other_gradients) in others:
            pairs = [(value, other_value)]
            if other_gradients is not None:
                pairs += zip(gradients, other_gradients, strict=True)
            for one, other in pairs:
                one, other = np.asarray(one), np.asarray(other)
                error = float(np.max(np.abs(one - other)) / (np.max(np.abs(one)) or 1.0))
                if error > worst:
                    worst, whose = error, f" ({name})"
                if not error <= AGREEMENT:
                    self.disagreements.append(f"{what}: {name} differs from {first} by {error:.1e}")
        if others:
            self.console.print(f"  {what}: {len(results)} agree, largest relative difference {worst:.1e}{whose}")

    def compete(self, program: str, sizes: dict[str, int], repetitions: int, times: int = 1) -> dict[str, Laps]:
        """Run each contestant at its size in turn, `repetitions` times, after one round that is not counted."""
        names = self.present(*sizes)
        laps = {name: Laps() for name in names}
        for repetition in range(repetitions + 1):
            for k in range(len(names)):
                name = names[(k + repetition) % len(names)]
                parts = self.workers[name].ask([program, sizes[name], times])
                if repetition:
                    laps[name].rows.append({part: (wall, cpu) for part, (wall, cpu) in parts.items()})
        return laps

    def goal(self, what: str, value: float, goal: float, unit: str = "", cpu: float | None = None) -> None:
        """Note whether `value` (or, on a shared machine, the CPU time) is at most `goal`."""
        measured = f"{value:.3g}" if cpu is None else f"{value:.3g} (CPU {cpu:.3g})"
        met = min(value, value if cpu is None else cpu) <= goal
        self.goals.append({"what": what, "measured": f"{measured} {unit}", "goal": f"≤ {goal:g} {unit}", "met": met})

    def faster(self, what: str, times: float) -> None:
        self.goals.append({"what": what, "measured": f"{times:.2f} × as long", "goal": "> 1 ×", "met": times > 1})

    def race(self, title: str, laps: dict[str, Laps], operations: dict[str, int], unit: str, base: str) -> None:
        """A table of contestants: parts and total per operation, spread, CPU time, and the ratio to `base`."""
        scale = {"µs": 1e6, "ms": 1e3}[unit[:2]]
        headings = [f"{part} {unit}" for part in ("record", "pullback", "total")]
        table = new_table(title, "", *headings, "spread", f"CPU {unit}", f"÷ {base}")
        figures: dict[str, Any] = {}
        for name, one in laps.items():
            per = scale / operations[name]
            total = sorted(x * per for x in one.wall())
            row = {part: statistics.median(one.wall(part)) * per for part in ("record", "pullback") if one.wall(part)}
            row |= {"total": statistics.median(total), "low": total[0], "high": total[-1]}
            row |= {"cpu": statistics.median(one.cpu()) * per, "ratio": one.ratio(laps[base])}
            row["ratio"] *= operations[base] / operations[name]
            figures[name] = row
            parts = [f"{row[part]:.3g}" if part in row else "–" for part in ("record", "pullback", "total")]
            spread = f"{row['low']:.3g} … {row['high']:.3g}"
            table.add_row(name, *parts, spread, f"{row['cpu']:.3g}", f"{row['ratio']:.2f}")
        for name in operations.keys() - laps.keys():
            table.add_row(name, "not installed")
        self.console.print(table)
        self.figures[title] = figures

    def scaling(self, program: str, unit: str, sizes: Sequence[int], names: Sequence[str]) -> None:
        """CPU time per element for growing sizes, which is constant where the cost is linear."""
        title = f"{program}: CPU {unit}"
        table = new_table(title, "", *(f"n = {n:,}" for n in sizes), "last ÷ first")
        rows: dict[str, list[float]] = {name: [] for name in self.present(*names)}
        going = list(rows)
        for k, n in enumerate(sizes):
            for name, laps in self.compete(program, dict.fromkeys(going, n), 3 if self.quick else 5).items():
                rows[name].append(min(laps.cpu()) / n * 1e6)
                if n != sizes[-1] and min(laps.cpu()) * (sizes[k + 1] / n) ** 2 > 5:
                    going.remove(name)  # at worst quadratic, and then nobody wants to wait for it
        for name, row in rows.items():
            cells = [f"{v:.3g}" for v in row] + ["too slow"] * (len(sizes) - len(row))
            table.add_row(name, *cells, f"{row[-1] / row[0]:.2f}")
            if name.startswith("wengert"):
                self.goal(f"{program} are linear: {name}, last ÷ first", row[-1] / row[0], 1.5)
        for name in set(names) - rows.keys():
            table.add_row(name, "not installed")
        self.console.print(table)
        self.figures[title] = {name: dict(zip(map(str, sizes), row, strict=False)) for name, row in rows.items()}

    def finish(self) -> int:
        table = new_table("Goals", "what", "measured", "goal", "verdict")
        for goal in self.goals:
            verdict = "[green]met[/]" if goal["met"] else "[bold red]MISSED[/]"
            table.add_row(goal["what"], goal["measured"], goal["goal"], verdict)
        self.console.print(table)
        for line in self.disagreements:
            self.console.print(f"[bold red]DISAGREEMENT[/] {line}")
        return 1 if self.disagreements else 0


# ---------------------------------------------------------------------------------------------------------- measures


def measure_chain(b: Benchmark) -> None:
    """(a) The cost of one small operation."""
    for program, what, limit in (("chain", "shape (1,)", 3.0), ("float chain", "a Python float", 5.0)):
        b.agree(program, OPERATIONS, [n for n in CONTESTANTS if n != "no derivative"])
        operations = dict.fromkeys(CONTESTANTS, OPERATIONS) | {"jax": OPERATIONS // 20}  # jax: a twentieth will do
        laps = b.compete(program, operations, REPETITIONS, times=3)
        title = f"A chain of {OPERATIONS} operations on {what}"
        b.race(title, laps, operations, "µs/op", "wengert vjp")
        for name in WENGERT:
            row = b.figures[title][name]
            b.goal(f"{program}: {name}", row["total"], limit, "µs/op", row["cpu"])
        if limit == 3.0:
            for name in b.present(*PEERS):
                b.faster(f"{program}: {name} takes", b.figures[title][name]["ratio"])


def measure_deep(b: Benchmark) -> None:
    """(b) A million operations deep."""
    sizes = [50_000, 100_000, 200_000] if b.quick else [250_000, 500_000, 1_000_000]
    headings = [f"{n:,}: s (CPU s)" for n in sizes]
    table = new_table(
        "One gradient through very many operations", "", *headings, "µs/op, last ÷ first", "peak bytes/op"
    )
    figures: dict[str, Any] = {}
    for name in ("wengert grad", *(p for p in PEERS if p != "jax")):
        if name in b.absent:
            table.add_row(name, "not installed")
            continue
        depths = sizes if name.startswith("wengert") or not b.quick else sizes[:1]
        rows = [fresh("deep", name, n) for n in depths]
        figures[name] = {str(n): row for n, row in zip(depths, rows, strict=True)}
        cells = [row.get("error") or f"{row['wall']:.2f} ({row['cpu']:.2f})" for row in rows]
        cells += [""] * (len(sizes) - len(cells))
        good = {n: row for n, row in zip(depths, rows, strict=True) if "wall" in row}
        if good:
            first, last = min(good), max(good)
            growth = good[last]["cpu"] / last / (good[first]["cpu"] / first)
            cells += [f"{growth:.2f}" if last > first else "", f"{good[last]['bytes']:.0f}"]
            if name.startswith("wengert"):
                limit = 5.0 * last / 1e6
                b.goal(f"{last:,} operations deep", good[last]["wall"], limit, "s", good[last]["cpu"])
                b.goal("depth is linear: CPU time per operation, last ÷ first", growth, 1.5)
        table.add_row(name, *cells)
    for n in map(str, sizes):
        found = {k: (0.0, [v[n]["gradient"]]) for k, v in figures.items() if "gradient" in v.get(n, {})}
        b.compare(f"depth, {int(n):,}", found)
    b.console.print(table)
    b.figures["deep"] = figures


def measure_elements(b: Benchmark) -> None:
    """(c) for k in range(n): s += x[k]"""
    names = ("wengert vjp", "wengert Variable", "autograd", "torch", "mygrad")
    b.agree("elements", 1250, names)
    b.scaling("elements", "µs/element", [1250, 2500, 5000, 10_000], names)


def measure_leaves(b: Benchmark) -> None:
    """(d) The gradient with respect to a container of many arrays."""
    names = ("wengert grad", "wengert Variable", "autograd", "torch", "mygrad")
    b.agree("leaves", 1000, names)
    b.scaling("leaves", "µs/leaf", [1000, 10_000], names)


def measure_large(b: Benchmark) -> None:
    """(e) Where the arithmetic dominates: large arrays, and a small network."""
    names = ("wengert vjp", "wengert Variable", *PEERS, "no derivative", "by hand")
    for program, size, title, operations, unit in (
        ("large", 20, "A chain of 20 operations on 1,000,000 elements", 20, "ms/op"),
        ("network", 128, "A 784-256-128-10 network, batch of 128, float64", 1, "ms"),
    ):
        b.agree(program, size, [n for n in names if n != "no derivative"])
        laps = b.compete(program, dict.fromkeys(names, size), 3 if b.quick else REPETITIONS)
        b.race(title, laps, dict.fromkeys(names, operations), unit, "wengert vjp")


def measure_import(b: Benchmark) -> None:
    """(f) `import x` after `import numpy`, in fresh processes; the round that does not count compiles the bytecode."""
    laps = imports.times(("wengert", *b.present(*PEERS)), 5 if b.quick else 15)
    table = new_table("Import, beyond that of NumPy", "", "ms", "spread", "CPU ms")
    figures = {}
    for name, rows in laps.items():
        wall, cpu = (sorted(1e3 * row[k] for row in rows) for k in (0, 1))
        figures[name] = {"wall": statistics.median(wall), "cpu": statistics.median(cpu)}
        spread = f"{wall[0]:.0f} … {wall[-1]:.0f}"
        table.add_row(name, f"{figures[name]['wall']:.0f}", spread, f"{figures[name]['cpu']:.0f}")
    for name in b.absent:
        table.add_row(name, "not installed")
    b.console.print(table)
    b.figures["import"] = figures
    mine = figures["wengert"]
    b.goal("import wengert, beyond NumPy", mine["wall"] / 1e3, 0.05, "s", mine["cpu"] / 1e3)


def measure_leaks(b: Benchmark) -> None:
    """(g) Resident memory over many gradients with the collector off."""
    headings = ("calls", "first half, MiB", "second half, MiB", "gc.collect() found", "µs a call")
    table = new_table("Memory over many gradients, with the collector off", "", *headings)
    figures: dict[str, Any] = {}
    for name in ("wengert grad", "wengert Variable", "autograd", "torch", "mygrad"):
        if name in b.absent:
            table.add_row(name, "not installed")
            continue
        calls = 100_000 if name.startswith("wengert") and not b.quick else 20_000
        row = figures[name] = fresh("leak", name, calls)
        if "error" in row:
            table.add_row(name, f"{calls:,}", row["error"])
            continue
        growth = f"{row['first']:.2f}", f"{row['second']:.2f}"
        table.add_row(name, f"{calls:,}", *growth, f"{row['found']} objects", f"{row['us']:.0f}")
        if name.startswith("wengert"):
            b.goal(f"leaks: {name}, second half of {calls:,} calls", row["second"], 1.0, "MiB")
            b.goal(f"leaks: {name}, found by gc.collect()", row["found"], 0, "objects")
    b.console.print(table)
    b.figures["leaks"] = figures


MEASURES: dict[str, Callable[[Benchmark], None]] = {
    "chain": measure_chain,
    "deep": measure_deep,
    "elements": measure_elements,
    "leaves": measure_leaves,
    "large": measure_large,
    "import": measure_import,
    "leaks": measure_leaks,
}


# --------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repetitions")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--only", metavar="NAMES", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--fresh", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    if options.fresh:
        what, name, n = options.fresh
        print(json.dumps(FRESH[what](name, int(n))))
        return 0
    wanted = options.only.split(",")
    if not set(wanted) <= MEASURES.keys():
        parser.error(f"--only takes names of {', '.join(MEASURES)}")
    here = environment(PEERS)
    b = Benchmark(options.quick)
    with_versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    b.console.print(f"Python {here['python']}, {with_versions}; load average {here['load'][0]:.1f}")
    advice = (
        "Beyond 1, other jobs were running. Where two processors share a core they slow even what CPU time counts: "
        "then compare with “no derivative” and “by hand” of the same table."
    )
    with contention(b.console, advice):
        for name in wanted:
            MEASURES[name](b)
    code = b.finish()
    if options.json:
        outcome = {"environment": here, "figures": b.figures, "goals": b.goals, "disagreements": b.disagreements}
        with open(options.json, "w") as file:
            json.dump(outcome, file, indent=1)
    return code


if __name__ == "__main__":
    sys.exit(main())
