"""What the benchmarks share: processes that answer, tables, and what machine this is."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parent.parent)  # from where `python -m benchmarks.…` works
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "WENGERT_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}


class Worker:
    """A process that answers each line of JSON with one; a contestant lives in it, as it does for its users."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, **os.environ},
            text=True,
        )

    def read(self, patience: float | None = None) -> Any:
        """Its next answer; TimeoutError after `patience` seconds without one."""
        stdout = self.process.stdout
        assert stdout is not None
        if patience is not None and not select.select([stdout], [], [], patience)[0]:
            raise TimeoutError(f"no answer within {patience:.0f} s")
        line = stdout.readline()
        if not line:
            raise RuntimeError("the contestant's process ended")
        return json.loads(line)

    def ask(self, request: Any, patience: float | None = None) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read(patience)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def new_table(title: str, *headings: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left")
    return table


def environment(peers: Sequence[str]) -> dict[str, Any]:
    versions = {}
    for name in ("numpy", "wengert", *peers):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processors": os.cpu_count()}
    return machine | {"load": os.getloadavg(), "versions": versions}


@contextlib.contextmanager
def contention(console: Any, advice: str) -> Iterator[None]:
    """Say in the end how busy the machine was."""
    wall = time.perf_counter()
    yield
    load = os.getloadavg()
    console.print(
        f"{time.perf_counter() - wall:.0f} s; load average now {load[0]:.1f}, {load[1]:.1f} over 5 minutes, on "
        f"{os.cpu_count()} processors. {advice}"
    )
