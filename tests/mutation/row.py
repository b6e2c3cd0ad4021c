"""One row of the mutation table, the inputs it may be run on, and the decorators that write rows down.

A row is a plain NumPy program of one argument and its fate:

* ``works``    the value is NumPy's own, bit for bit, and the derivative is right;
* ``raises``   NumPy raises, and so do we: same type, same message;
* ``refused``  NumPy permits it, we cannot differentiate it, so we must raise: never silently wrong;
* ``careful``  a rarity that may be refused by one of wengert's own errors, and if it is not, must be right.

Under ``vmap`` and ``trace`` a working row may be only ``careful``: a program whose shapes or branches depend on
values has no batch, and no list that holds for another input.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Program = Callable[[Any], Any]

# All positive (for ** and /), distinct, unsorted, none of them near an integer ratio of another (for // and %).
INPUTS: dict[str, Any] = {
    "float": 0.8,
    "scalar": np.float64(0.8),
    "0d": np.array(0.8),
    "1d": np.array([0.7, 1.9, 1.2, 2.6]),
    "2d": np.array([[0.7, 1.9, 1.2], [2.6, 0.4, 1.6]]),
    "square": np.array([[0.7, 1.9, 1.2], [2.6, 0.4, 1.6], [1.1, 2.3, 0.9]]),
    "3d": np.array([[[0.7], [1.9]], [[1.2], [2.6]], [[0.4], [1.6]]]),
    "complex": np.array([0.7 + 0.3j, 1.9 - 0.8j, 1.2 + 1.1j, 2.6 + 0.2j]),
    "f32": np.array([0.7, 1.9, 1.2, 2.6], dtype=np.float32),
    "fortran": np.asfortranarray([[0.7, 1.9, 1.2], [2.6, 0.4, 1.6]]),
    "strided": np.array([0.7, 9.0, 1.9, 9.0, 1.2, 9.0, 2.6, 9.0])[::2],
}
# The stencil where values are rounded to float32 (a step of a power of two is added to x without rounding).
F32: dict[str, Any] = {"step": 2.0**-5, "rtol": 2e-4}


@dataclass(frozen=True)
class Row:
    name: str
    program: Program
    input: str  # a key of INPUTS
    fate: str  # works | raises | refused | careful
    error: type[BaseException] | None = None
    says: str = ""  # must be in the message
    same_message: bool = True  # of `raises`: False where NumPy's message names a type or a function of its own
    also: tuple[type[BaseException], ...] = ()  # accepted as well: of `raises` from us, else from anyone
    vmap: str = "works"  # works | careful | skip; only read where the row works
    trace: str = "works"  # works | careful
    second: bool = False  # also checked at second order
    step: float = 1e-3  # of the stencil
    rtol: float = 1e-8  # of the derivative

    @property
    def id(self) -> str:
        return f"{self.name}-{self.input}"

    def fresh_input(self) -> Any:
        """The input, owned by the caller of this function, in the same layout (a copy is never strided)."""
        x = INPUTS[self.input]
        if not isinstance(x, np.ndarray):
            return x
        if self.input == "strided":
            return x.repeat(2)[::2]
        return x.copy(order="K")

    @property
    def traces_to(self) -> str:
        return "careful" if self.fate == "careful" else self.trace

    @property
    def batches_to(self) -> str:
        # Iterating over a batch of scalars gives scalars, so a lane can be neither a float nor a 0-d array.
        if self.input in ("float", "0d"):
            return "skip"
        return "careful" if self.fate == "careful" and self.vmap == "works" else self.vmap


class Rows:
    """The rows of one file, in the order they were written."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, name: str, program: Program, inputs: tuple[str, ...], fate: str, **about: Any) -> None:
        for an_input in inputs or ("1d",):
            assert an_input in INPUTS, an_input
            coarse = F32 | {"second": False} if an_input == "f32" else {}
            self.rows.append(Row(name, program, an_input, fate, **(about | coarse)))

    def works(self, *inputs: str, **about: Any) -> Callable[[Program], Program]:
        return self._decorator(inputs, "works", about)

    def careful(self, *inputs: str, **about: Any) -> Callable[[Program], Program]:
        return self._decorator(inputs, "careful", about)

    def raises(self, error: type[BaseException], says: str, *inputs: str, **about: Any) -> Callable[[Program], Program]:
        return self._decorator(inputs, "raises", {"error": error, "says": says, **about})

    def refused(
        self, error: type[BaseException], says: str, *inputs: str, **about: Any
    ) -> Callable[[Program], Program]:
        assert error.__name__ in vars(builtins), "wengert's errors derive from the builtin that fits"
        return self._decorator(inputs, "refused", {"error": error, "says": says, **about})

    def _decorator(self, inputs: tuple[str, ...], fate: str, about: dict[str, Any]) -> Callable[[Program], Program]:
        def write_down(program: Program) -> Program:
            self.add(program.__name__, program, inputs, fate, **about)
            return program

        return write_down
