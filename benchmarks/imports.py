"""What `import wengert` costs beyond `import numpy`, its peers beside it, and what it does not load."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from benchmarks import goals
from benchmarks.common import new_table

PEERS = ("jax", "torch", "autograd", "mygrad", "casadi", "numba")
CODE = (
    "import time, numpy; w, c = time.perf_counter(), time.process_time(); import {0}; "
    "print(time.perf_counter() - w, time.process_time() - c)"
)


def times(names: Sequence[str], repetitions: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds and CPU seconds of `import name` after `import numpy`, in fresh processes and in turn."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for repetition in range(repetitions + 1):  # the first compiles the bytecode
        for name in names:
            command = [sys.executable, "-c", CODE.format(name)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            if repetition:
                wall, cpu = map(float, done.stdout.split())
                found[name].append((wall, cpu))
    return found


def loaded(packages: Sequence[str]) -> list[str]:
    """Which of these packages `import wengert` loads."""
    code = f"import sys, wengert; print(*[name for name in {tuple(packages)!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def measure(b: Any) -> None:
    names = ("wengert", *(name for name in PEERS if find_spec(name)))
    table = new_table("Import, beyond that of NumPy", "", "ms", "quartiles", "CPU ms")
    found = times(names, 3 if b.quick else 11)
    for name, rows in found.items():
        wall, cpu = (sorted(1e3 * row[k] for row in rows) for k in (0, 1))
        spread = f"{wall[len(wall) // 4]:.0f} … {wall[(3 * len(wall)) // 4]:.0f}"
        table.add_row(name, f"{statistics.median(wall):.0f}", spread, f"{statistics.median(cpu):.0f}")
        b.figures.setdefault("import", {})[name] = {"wall": statistics.median(wall), "cpu": statistics.median(cpu)}
    for name in PEERS:
        if name not in names:
            table.add_row(name, "[dim]absent: not installed[/]")
    b.console.print(table)
    seconds = b.figures["import"]["wengert"]["wall"] / 1e3
    limit = goals.IMPORT_SECONDS
    b.goal("import wengert, beyond NumPy", f"≤ {limit:g} s", f"{seconds:.3f} s", seconds <= limit)
    extra = loaded(goals.IMPORT_WITHOUT)
    b.goal("import wengert", f"without {', '.join(goals.IMPORT_WITHOUT)}", ", ".join(extra) or "none", not extra)
