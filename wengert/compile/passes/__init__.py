"""The passes over a Wengert list, before it becomes loops or source: each takes a list and returns a better one.

What they return is for running only: a derivative taken of it might differ, as it may where a number is known not to
be 0 (`scale(c, p)` becomes `c * p`). Derivatives are staged first and optimised afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wengert.compile.passes import control, cse, dead, fold, hoist, simplify
from wengert.compile.passes.editing import rebuilt, unchanged
from wengert.program import WengertList

# Simplify comes first, since what it leaves is less to compare; it finds more once equal lines are one, so the passes
# go round until nothing changes.
PASSES: Final[list[tuple[str, Callable[[WengertList], WengertList]]]] = [
    ("simplify", simplify.run),
    ("fold", fold.run),
    ("cse", cse.run),
    ("hoist", hoist.run),
    ("dead", dead.run),
]
ROUNDS: Final = 4  # at most: each takes linear time
DEBUG = False  # whether to check the list after each pass


def run(program: WengertList, upto: str | None = None) -> WengertList:
    """The list after the passes up to this one, all of them unless told; those that its loops and branches hold too.

    >>> import numpy as np, wengert as wg
    >>> from wengert.compile import passes
    >>> program = wg.trace(wg.grad(lambda x: x**2 + 0 * np.exp(x)))(1.5)
    >>> len(program), len(passes.run(program))
    (8, 2)
    """
    key = "passes", upto
    if key not in program.derived:
        found = _run(program, upto)
        found.derived[key] = None  # it is its own result; an arrow to itself would leave it to the garbage collector
        if found is not program:
            program.derived[key] = found
    return program.derived[key] or program


def _run(program: WengertList, upto: str | None) -> WengertList:
    lines = control.inside(program, lambda body: run(body, upto))
    if not unchanged(lines, program.equations):
        program = rebuilt(program, equations=lines)
    for _ in range(ROUNDS):
        before = program
        for name, change in PASSES:
            program = change(program)
            if DEBUG:
                program.check()
            if name == upto and name != PASSES[-1][0]:
                return program
        if program is before:
            break
    return program


__all__ = ["DEBUG", "PASSES", "run"]
