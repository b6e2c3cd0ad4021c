"""Loops and branches as values: `cond`, `switch`, `while_loop`, `fori_loop`, `scan`, `map`; calls of closed lists."""

from wengert.control.bodies import close, set_runner, written_out
from wengert.control.bodies import run as run_list
from wengert.control.branches import call
from wengert.control.choices import cond, switch
from wengert.control.loops import fori_loop, scan, while_loop
from wengert.control.loops import map_elements as map

__all__ = [
    "call", "close", "cond", "fori_loop", "map", "run_list", "scan", "set_runner", "switch", "while_loop",
    "written_out",
]  # fmt: skip
