"""How time and memory grow: with the length of a vector, a batch, the depth of a program or of a loop, many inputs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import ROOT, new_table
from benchmarks.contestants import CONTESTANTS, Absent, prepare
from benchmarks.harness import Arena, Results, microseconds
from benchmarks.problems import load

WHO = ("wengert jit", "wengert", "jax", "torch", "autograd")


class Curve(NamedTuple):
    title: str
    problem: str
    variable: str  # the keyword of `inputs` that grows
    values: tuple[int, ...]


CURVES = (
    Curve("vector length (elementwise chain)", "chain", "n", (10, 100, 1000, 10_000, 100_000, 1_000_000)),
    Curve("batch (MLP)", "mlp", "batch", (1, 4, 16, 64, 256, 1024)),
    Curve("depth (straight-line program)", "deep", "depth", (40, 160, 640, 2560)),
    Curve("steps of a loop (LSTM)", "lstm", "characters", (16, 64, 256, 1024)),
    Curve("number of inputs", "many", "count", (2, 8, 32, 128, 512)),
)


def status(field: str) -> int:
    """A number of KiB in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)


def memory(who: str, problem: str, size: dict[str, Any]) -> dict[str, float]:
    """In a fresh process: bytes that stay after the first call, and the peak of a later one beyond what was there."""
    contestant = CONTESTANTS[who]()
    args = load(problem).inputs(0, **size)
    begin = status("VmRSS")
    ready = prepare(contestant, who, problem, args)
    ready.result()
    kept = status("VmRSS") - begin
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    for _ in range(3):
        ready.result()
    return {"kept": kept * 1024.0, "peak": max(0.0, (status("VmHWM") - before) * 1024.0)}


def fresh(who: str, problem: str, size: dict[str, Any], patience: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.curves", who, problem, json.dumps(size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, cwd=ROOT, check=False)
    except subprocess.TimeoutExpired:
        return {"absent": f"took more than {patience:.0f} s"}
    if done.returncode:
        return {"absent": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:90]}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(b: Any) -> None:
    arena = Arena(b.console, WHO, b.one_thread, min(b.patience, 120.0))
    try:
        for curve in CURVES:
            draw(b, arena, curve)
    finally:
        b.disagreements += arena.disagreements
        b.oddities += arena.oddities
        arena.close()


def draw(b: Any, arena: Arena, curve: Curve) -> None:
    """Two tables, time and memory, a column per size."""
    values = curve.values[:-1] if b.quick else curve.values
    base = load(curve.problem).SIZES["table"]
    times: dict[str, Results] = {}
    peaks: dict[tuple[str, int], dict[str, Any]] = {}
    going = list(WHO)
    for value in values:
        size = base | {curve.variable: value}
        results = times[str(value)] = arena.compete(curve.problem, size, going, 3 if b.quick else 5)
        going = [who for who in going if who in results.rounds]  # who fails at one size is not asked for a larger one
        for who in going:
            peaks[who, value] = fresh(who, curve.problem, size, arena.patience)
    for what in ("µs a call", "MiB at the peak of a call, beyond what was there"):
        table = new_table(f"{curve.title}: {what}", "", *(f"{value:,}" for value in values))
        for who in WHO:
            cells = []
            for value in values:
                results, peak = times[str(value)], peaks.get((who, value), {}).get("peak")
                if what.startswith("µs"):
                    cells.append(microseconds(results.median(who)) if who in results.rounds else "absent")
                else:
                    cells.append("absent" if peak is None else f"{peak / 2**20:.2f}")
            table.add_row(who, *cells)
        b.console.print(table)
    for (who, value), answer in peaks.items():
        if "absent" in answer:
            b.console.print(f"  memory of {who} at {value:,}: {answer['absent']}", markup=False, style="dim")
    b.figures[f"curve {curve.variable}"] = {
        "title": curve.title,
        "values": list(values),
        "seconds": {w: [times[str(v)].median(w) for v in values if w in times[str(v)].rounds] for w in WHO},
        "peak": {w: [peaks[w, v].get("peak") for v in values if (w, v) in peaks] for w in WHO},
    }


if __name__ == "__main__":
    try:
        print(json.dumps(memory(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
    except Absent as reason:
        sys.exit(str(reason))
