"""How long compiling takes: the first call of a fresh function, cold and from the disk cache, JAX beside it.

Each figure comes from a process of its own. It first compiles something trivial, so that loading LLVM or XLA is not
counted (it is shown beside), then makes the derivative and calls it once: staging, compiling and running.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import goals
from benchmarks.common import ROOT, new_table
from benchmarks.contestants import CONTESTANTS, Absent, prepare
from benchmarks.problems import load

SUBJECTS = ("scalar", "rosenbrock", "chain", "mlp", "gmm", "ba", "lstm", "kmeans", "ode", "det", "particle")
COLD = {
    "wengert jit": {"WENGERT_CACHE": "off"},
    "jax": {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"},
}


def cached(who: str, folder: str) -> dict[str, str]:
    """The environment in which a contestant keeps what it compiled in `folder`."""
    if who == "jax":
        return {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    return {"WENGERT_CACHE": folder}


def once(who: str, problem: str, size: str) -> dict[str, float]:
    """In a fresh process: seconds for something trivial, and for the problem."""
    contestant = CONTESTANTS[who]()
    module = load(problem)
    args = module.inputs(0, **module.SIZES[size])
    begin = time.perf_counter()
    prepare(contestant, who, "hello", (3.0,)).result()
    middle = time.perf_counter()
    prepare(contestant, who, problem, args).result()
    return {"trivial": middle - begin, "problem": time.perf_counter() - middle}


def fresh(who: str, problem: str, size: str, environment: dict[str, str], patience: float) -> dict[str, Any]:
    """`once` in a process of its own, or {"absent": …}."""
    command = [sys.executable, "-m", "benchmarks.compile_times", who, problem, size]
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("WENGERT_", "JAX_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=patience, cwd=ROOT, env=keep | environment, check=False
        )
    except subprocess.TimeoutExpired:
        return {"absent": f"took more than {patience:.0f} s"}
    if done.returncode:
        return {"absent": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:90]}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(b: Any) -> None:
    """A table of compile times, and the goal for gmm."""
    subjects = [p for p in SUBJECTS if p in b.only] or [p for p in SUBJECTS if not b.quick or p in ("scalar", "gmm")]
    repetitions = 1 if b.quick else 3
    table = new_table(
        "Compile times, s: cold (no cache), and in a second process with a cache",
        "",
        *("wengert cold", "jax cold", "jax ÷ wengert", "wengert cached", "jax cached", "jax ÷ wengert"),
    )
    for problem in subjects:
        row: dict[str, Any] = {}
        for _ in range(repetitions):  # in turn
            for who in COLD:
                note(row, f"{who} cold", fresh(who, problem, "table", COLD[who], b.patience))
        for who in COLD:
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o700)
                if "absent" in fresh(who, problem, "table", cached(who, folder), b.patience):
                    continue
                for _ in range(repetitions):
                    note(row, f"{who} cached", fresh(who, problem, "table", cached(who, folder), b.patience))
        seconds = {key: statistics.median(value["problem"]) for key, value in row.items() if value["problem"]}
        cells = []
        for kind in ("cold", "cached"):
            ours, theirs = (seconds.get(f"{who} {kind}") for who in COLD)
            cells += [f"{s:.3f}" if s is not None else "absent" for s in (ours, theirs)]
            cells.append(f"{theirs / ours:.2f}" if ours and theirs else "")
        table.add_row(problem, *cells)
        b.figures[f"compile {problem}"] = row
        if problem == goals.COMPILE[0]:
            ours, theirs = seconds.get("wengert jit cold"), seconds.get(f"{goals.COMPILE[1]} cold")
            text = f"≤ 1/{goals.COMPILE[2]:g} of {goals.COMPILE[1]}'s"
            if ours and theirs:
                met = theirs / ours >= goals.COMPILE[2]
                b.goal(f"compile time, {problem}, cold", text, f"{ours / theirs:.2f}", met)
            else:
                b.goal(f"compile time, {problem}, cold", text, "one is absent", None)
    b.console.print(table)
    trivial = {
        who: [t for p in subjects for t in b.figures[f"compile {p}"].get(f"{who} cold", {}).get("trivial", [])]
        for who in COLD
    }
    for who, times in trivial.items():
        if times:
            b.console.print(
                f"Something trivial first, cold: {who} {statistics.median(times):.2f} s (its compiler loads)"
            )


def note(row: dict[str, Any], key: str, answer: dict[str, Any]) -> None:
    kept = row.setdefault(key, {"problem": [], "trivial": []})
    if "absent" in answer:
        kept["absent"] = answer["absent"]
    else:
        kept["problem"].append(answer["problem"])
        kept["trivial"].append(answer["trivial"])


if __name__ == "__main__":
    try:
        print(json.dumps(once(*sys.argv[1:])))
    except Absent as reason:
        sys.exit(str(reason))
