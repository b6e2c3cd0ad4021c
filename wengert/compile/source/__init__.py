"""The NumPy back end: a Wengert list as straight-line NumPy.

`generate` writes a module that needs NumPy only, readable enough to paste into a file. `compile` runs the same lines,
with work arrays reused from call to call.
"""

from __future__ import annotations

from wengert.compile.source.function import Executable, compile, generate

__all__ = ["Executable", "compile", "generate"]
