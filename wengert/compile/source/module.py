"""A Python module under construction: its names, helper functions, constants and functions."""

from __future__ import annotations

import builtins
import keyword
import math
import re
import types
from collections.abc import Callable, Container, Iterable
from typing import Any, Final

import numpy as np

from wengert.compile.source import literals
from wengert.compile.source.extract import STAND_INS, NoSource, helper, name_in_numpy
from wengert.compile.source.literals import Unwritable
from wengert.core import Primitive

RESERVED: Final = frozenset({*keyword.kwlist, *keyword.softkwlist, *vars(builtins), "np", "math", "base64", "zlib"})


class Names:
    """Names in use, and which number to try next for a second variable of the same name."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._numbers: dict[str, int] = {}

    def fresh(self, base: str, others: Container[str]) -> str:
        """A name that is neither here nor in `others`: `base` itself where it is one, or with a number."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", base):
            base = re.sub(r"\W+", "_", base, flags=re.ASCII).strip("_")
            base = base if base and not base[0].isdigit() else f"f{base}"
        name, number = base, self._numbers.get(base, 1)
        while name in self.taken or name in others:
            number += 1
            name = f"{base}_{number}"
        self._numbers[base] = number
        self.taken.add(name)
        return name


class Text:
    """Collects what the functions of a module need around them.

    Where `standalone`, large constants are written out too, and what no text can express is an error; else both are
    handed to the code as objects, in `objects`.
    """

    def __init__(self, standalone: bool) -> None:
        self.standalone = standalone
        self.names = Names(RESERVED)
        self.local: set[str] = set()  # the names that functions use for something of their own
        self.imports: set[str] = set()
        self.helpers: dict[str, str] = {}
        self.functions: list[str] = []
        self.inline_constants: list[str] = []
        self.stored_constants: list[str] = []
        self.objects: dict[str, Any] = {}
        self.bodies: dict[int, tuple[Any, str]] = {}  # by id; holds the list, so that its id stays its own
        self._known: dict[Any, Any] = {}
        self._kept: dict[int, tuple[Any, str]] = {}  # by id; holds the object, so that its id stays its own

    def fresh(self, base: str) -> str:
        """A name at the level of the module, which no function uses for something of its own."""
        return self.names.fresh(base, self.local)

    def remembered(self, key: Any, make: Callable[[], str | None]) -> str | None:
        """`make()`, once for each key."""
        if key not in self._known:
            try:
                self._known[key] = make()
            except (NoSource, Unwritable):
                self._known[key] = None
        return self._known[key]  # type: ignore[no-any-return]

    # ------------------------------------------------------------------------------------------------ constants

    def constant(self, value: np.ndarray[Any, Any], base: str = "c1") -> str:
        """The name of the constant of the module that holds this array."""
        known = self._kept.get(id(value))
        if known is not None:
            return known[1]
        name = self.fresh(base)
        self._kept[id(value)] = value, name
        if not self.standalone:
            self.objects[name] = value
            return name
        spelled = literals.array(value)
        if spelled is not None:
            self.inline_constants.append(f"{name} = {spelled}")
        else:
            self.imports |= {"base64", "zlib"}
            self.stored_constants.append(f"{name} = {literals.stored(value)}")
        return name

    def literal(self, value: Any) -> str:
        """An expression for a param: a number, a dtype, an index, an array, a function, or a container of those."""
        try:
            return literals.literal(value, self.constant)
        except Unwritable:
            return self.reference(value)

    # ------------------------------------------------------------------------------------ functions and other objects

    def reference(self, value: Any, hint: str = "") -> str:
        """An expression for an object that a function mentions."""
        if value is np:
            return "np"
        if value is math:
            self.imports.add("math")
            return "math"
        if isinstance(value, Primitive):
            return self.reference(value.value, value.name)
        if not isinstance(value, types.FunctionType | types.MethodType):
            return self._find(value, hint)
        if ("object", value) not in self._known:
            self._known["object", value] = self._find(value, hint)
        return self._known["object", value]  # type: ignore[no-any-return]

    def _find(self, value: Any, hint: str) -> str:
        name = getattr(value, "__name__", None)
        if isinstance(value, type | types.BuiltinFunctionType) and vars(builtins).get(str(name)) is value:
            return str(name)
        found = name_in_numpy(value)
        if found is not None:
            if found.startswith("math."):
                self.imports.add("math")
            return found
        if not isinstance(value, types.FunctionType | types.MethodType):
            try:
                return literals.literal(value, self.constant)
            except Unwritable:
                return self._object(value, hint)
        if not self.standalone and not str(value.__module__).startswith("wengert."):
            return self._object(value, hint)  # the user's own function, whatever it refers to
        plain = re.sub(r"_(value|plain)$", "", value.__name__)
        name = self.fresh("_" + (hint if plain in ("<lambda>", "value") and hint else plain).lstrip("_"))
        self._known["object", value] = name  # it may call itself
        try:
            stand_in = STAND_INS.get(value)
            if stand_in is not None:
                self.helpers[name] = re.sub(rf"def {value.__name__}\b", f"def {name}", stand_in)
            else:
                self.helpers[name] = ""  # keeps its place before the functions that it calls
                self.helpers[name] = helper(value, name, self.reference)
        except (NoSource, Unwritable) as error:
            if self.standalone:
                raise Unwritable(f"{value.__module__}.{value.__qualname__}: {error}") from error
            self.helpers.pop(name, None)
            self.objects[name] = value
        return name

    def _object(self, value: Any, hint: str) -> str:
        if self.standalone:
            raise Unwritable(f"an object of type {type(value).__module__}.{type(value).__qualname__}")
        name = self.fresh("_" + (hint or type(value).__name__).lstrip("_"))
        self.objects[name] = value
        return name

    # -------------------------------------------------------------------------------------------------- the whole text

    def render(self, header: str) -> str:
        """The module: imports, functions, helpers, constants."""
        imports = [f"import {name}" for name in sorted(self.imports)]
        parts = ["\n".join([header, "", *imports, *([""] * bool(imports)), "import numpy as np"]), *self.functions]
        helpers = [text for text in self.helpers.values() if text]
        if helpers:
            parts.append(_rule("helpers"))
            parts.extend(helpers)
        if self.inline_constants or self.stored_constants:
            parts.append(_rule("constants"))
        if self.inline_constants:
            parts.append("\n".join(self.inline_constants))
        if self.stored_constants:
            parts.extend([literals.READER.strip("\n"), "\n".join(self.stored_constants)])
        return "\n\n\n".join(parts) + "\n"


def _rule(title: str) -> str:
    return f"# {'-' * (117 - len(title))} {title}"


__all__ = ["RESERVED", "Text"]
