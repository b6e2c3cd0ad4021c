"""Random programs of up to six statements, written as Python source, so that a failure can be pasted and run.

The generator runs each statement on plain NumPy as it goes, to know shapes, and ends the program where NumPy raises. It
also follows which names hold arrays that wengert may refuse to write: views by reshape, and plain arrays.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np
from hypothesis import strategies as st

INPUTS: dict[str, Any] = {
    "vector": np.array([0.83, -1.17, 1.41]),
    "matrix": np.array([[0.83, -1.17, 1.41], [-0.62, 1.07, 0.38]]),
    "array of one": np.array([1.23]),
    "0-d array": np.array(0.83),
    "scalar": np.float64(0.83),
}
NAMES = "abcdef"


@dataclass(frozen=True)
class Program:
    input: str
    lines: tuple[str, ...]
    may_be_refused: bool  # it writes through a view by reshape, or a traced value into a plain array
    raises: type[Exception] | None = None  # what NumPy raises in the last line

    def __str__(self) -> str:
        lines = "\n    ".join((*self.lines, f"return {', '.join(self.names)}"))
        return f"def program(x):  # x = {INPUTS[self.input]!r}\n    {lines}"

    __repr__ = __str__

    @property
    def names(self) -> list[str]:
        return ["x", *NAMES[: sum(line[1:4] == " = " and line[0] in NAMES for line in self.lines)]]

    def __call__(self, x: Any) -> Any:
        env = {"np": np, "x": x}
        for line in self.lines:
            exec(_compiled(line), env)
        return tuple(env[name] for name in self.names)


@functools.cache
def _compiled(line: str) -> CodeType:
    return compile(line, line, "exec")


@dataclass
class Draft:
    """A program being written, run on plain NumPy up to here."""

    env: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    shaped: set[str] = field(default_factory=set)  # names of views by reshape or ravel, and of views of those
    plain: set[str] = field(default_factory=set)  # names of arrays that no traced value has touched
    may_be_refused: bool = False
    raises: type[Exception] | None = None

    @property
    def names(self) -> list[str]:
        return [name for name in self.env if name not in ("np", "__builtins__")]

    def arrays(self) -> list[str]:
        return [name for name in self.names if isinstance(self.env[name], np.ndarray)]

    def run(self, line: str) -> bool:
        self.lines.append(line)
        try:
            with np.errstate(all="ignore"):
                exec(_compiled(line), self.env)
        except Exception as error:
            self.raises = type(error)
        return self.raises is None

    def define(self, draw: Any, expression: str, *sources: str, view: bool = False, reshapes: bool = False) -> None:
        name = NAMES[len(self.names) - 1]
        if not self.run(f"{name} = {expression}"):
            return
        if isinstance(self.env[name], np.ndarray) and (reshapes or (view and sources[0] in self.shaped)):
            self.shaped.add(name)
        if all(source in self.plain for source in sources):
            self.plain.add(name)

    def write(self, line: str, target: str, *values: str, rebinds: bool = False) -> None:
        traced = any(value not in self.plain for value in values)
        if not rebinds:
            self.may_be_refused |= target in self.shaped or (target in self.plain and traced)
        elif traced:
            self.plain.discard(target)
        self.run(line)


def _index(draw: Any, value: Any) -> str:
    """A basic index."""
    one = [":", "1:", "::-1", "::2", ":-1", "...", "None", "0", "-1", "-1:"]
    n = draw(st.integers(0, value.ndim)) or 1
    parts = [draw(st.sampled_from(one)) for _ in range(n)]
    while parts.count("...") > 1:
        parts.remove("...")
    return ", ".join(parts)


def _copying_index(draw: Any, value: Any) -> str:
    """A list, or a mask that is known beforehand."""
    if value.ndim and draw(st.booleans()):
        return draw(st.sampled_from(["[0, -1]", "[-1, 0, 0]", "..., [0]", "[[0], [-1]]", "[]"]))
    rows = np.arange(value.size).reshape(value.shape) % 2 == 0
    return f"np.array({rows.tolist()})"


def _any_index(draw: Any, value: Any) -> str:
    return (_index if draw(st.integers(0, 2)) else _copying_index)(draw, value)


def _make(draw: Any, draft: Draft) -> None:
    v = draw(st.sampled_from(draft.names))
    shape = np.shape(draft.env[v])
    if draw(st.integers(0, 7)) == 0:
        draft.define(draw, f"np.zeros({shape})")  # plain: all() of no source
        return
    makers = ["{}.copy()", "np.zeros_like({})", "np.ones_like({})", "np.full_like({}, 0.7)", "np.copy({})", "+{}"]
    if v in draft.arrays():
        makers += [f"np.zeros({shape}, like={{}})", "np.array({0}, like={0})", f"np.full({shape}, 0.3, like={{}})"]
    draft.define(draw, draw(st.sampled_from(makers)).format(v), v)


def _view(draw: Any, draft: Draft) -> None:
    v = draw(st.sampled_from(draft.arrays() or draft.names))
    value = draft.env[v]
    if not isinstance(value, np.ndarray) or draw(st.integers(0, 5)) == 0:
        draft.define(draw, v, v, view=True)  # an alias
        return
    if draw(st.integers(0, 4)) == 0:
        how = draw(st.sampled_from(["{}.reshape(-1)", "{}.ravel()", "np.reshape({}, (-1, 1))", "{}.reshape(1, -1)"]))
        draft.define(draw, how.format(v), v, view=True, reshapes=True)
        return
    if draw(st.booleans()):
        draft.define(draw, f"{v}[{_index(draw, value)}]", v, view=True)
        return
    how = ["{}.T", "{}.squeeze()", "np.flip({})", "np.expand_dims({}, -1)", "np.atleast_2d({})", "{}.real"]
    how += ["np.broadcast_to({}, (2, *np.shape({})))", "{}[...]", "np.atleast_1d({})", "{}.view()"]
    if value.ndim:
        how += ["np.swapaxes({}, 0, -1)", "np.moveaxis({}, -1, 0)", "np.split({}, [1])[1]", "list({})[-1]", "{}[0]"]
    if value.ndim > 1:
        how += ["{}.diagonal()", "np.rot90({})"]
    draft.define(draw, draw(st.sampled_from(how)).replace("{}", v), v, view=True)


def _read(draw: Any, draft: Draft) -> None:
    v = draw(st.sampled_from(draft.arrays() or draft.names))
    if v in draft.arrays():
        draft.define(draw, f"{v}[{_copying_index(draw, draft.env[v])}]", v)
    else:
        draft.define(draw, f"{v}[...]", v)


def _compute(draw: Any, draft: Draft) -> None:
    v, u = draw(st.sampled_from(draft.names)), draw(st.sampled_from(draft.names))
    one = ["np.sin({v})", "{v} - 0.5", "2.0 * {v}", "{v} * {v}", "np.sum({v})", "np.cumsum({v})", "{v}.flatten()"]
    two = ["{v} * {u}", "{v} + {u}", "{v} - {u}", "np.stack([{v}, {v}]) * {u}"]
    if draw(st.booleans()):
        draft.define(draw, draw(st.sampled_from(one)).format(v=v), v)
    else:
        draft.define(draw, draw(st.sampled_from(two)).format(v=v, u=u), v, u)


def _value(draw: Any, draft: Draft, shape: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    """An expression to write, and the names in it; now and then one that does not fit."""
    fits = [name for name in draft.names if _fits(np.shape(draft.env[name]), shape)]
    choice = draw(st.integers(0, 9))
    if choice < 2 or not fits:
        return draw(st.sampled_from(["0.5", "2", "-1.25"])), ()
    name = draw(st.sampled_from(draft.names if choice == 9 else fits))
    return draw(st.sampled_from(["{}", "{}", "np.sin({})", "{} * 0.5", "{0} * {0}"])).format(name), (name,)


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def _write(draw: Any, draft: Draft) -> None:
    t = draw(st.sampled_from(draft.arrays() or draft.names))
    if draw(st.integers(0, 9)) == 0:
        t = draw(st.sampled_from(draft.names))
    target = draft.env[t]
    op = draw(st.sampled_from(["+=", "-=", "*=", "/=", "**="]))
    if not isinstance(target, np.ndarray) or draw(st.integers(0, 3)) == 0:
        expression, names = (
            ("1.5" if op == "/=" else "2", ()) if op in ("/=", "**=") else _value(draw, draft, np.shape(target))
        )
        draft.write(f"{t} {op} {expression}", t, *names, rebinds=not isinstance(target, np.ndarray))
        return
    how = draw(st.integers(0, 9))
    if how < 6:
        index = _any_index(draw, target)
        try:
            shape = np.shape(eval(f"target[{index}]", {"np": np, "target": target}))
        except IndexError:
            shape = ()
        expression, names = _value(draw, draft, shape)
        if how < 4:
            draft.write(f"{t}[{index}] = {expression}", t, *names)
        elif op not in ("/=", "**="):
            draft.write(f"{t}[{index}] {op} {expression}", t, t, *names)
        else:
            draft.write(f"{t}[{index}] {op} 2", t, t)
        return
    expression, names = _value(draw, draft, target.shape)
    other, more = _value(draw, draft, target.shape)
    rows = (np.arange(target.size).reshape(target.shape) % 2 == 0).tolist()
    line = draw(st.sampled_from([
        "np.multiply({e}, {o}, out={t})",
        "np.add({e}, {o}, out={t}, where={m})",
        "np.sin({t}, out={t})",
        "np.copyto({t}, {e})",
        "np.copyto({t}, {e}, where={m})",
        "np.add.at({t}, {i}, 0.5)",
        "{t}.fill(0.25)",
        "{t}.sort()",
        "{t}.flat[0] = 0.75",
    ]))  # fmt: skip
    used = (
        names + more if "{o}" in line else names if "{e}" in line else (t,) if "np." in line or "sort" in line else ()
    )
    index = "([0, 0],)" if target.ndim else "()"
    draft.write(line.format(t=t, e=expression, o=other, m=rows, i=index), t, *used)


STATEMENTS = (_view, _write, _view, _write, _make, _write, _view, _write, _read, _compute)


@st.composite
def programs(draw: Any) -> Program:
    which = draw(st.sampled_from([*INPUTS, "vector", "matrix", "matrix"]))
    value = INPUTS[which]
    draft = Draft({"np": np, "x": value.copy()})
    for _ in range(draw(st.sampled_from([6, 5, 4, 3, 2]))):
        draw(st.sampled_from(STATEMENTS))(draw, draft)
        if draft.raises:
            break
    return Program(which, tuple(draft.lines), draft.may_be_refused, draft.raises)
