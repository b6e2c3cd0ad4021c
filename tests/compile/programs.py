"""Random programs: readable source over NumPy, drawn by Hypothesis together with the values that it meets.

A program is a list of steps, each a line or a few of source text that names earlier results; shapes fit because each
step is run when it is drawn, and a step that leaves the smooth and moderate is dropped. What the result does not need
is left out, so that a failure shrinks to a few lines, which `repr` shows as a function to be pasted into a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import wengert as wg

SHAPES = [(), (3,), (4,), (1,), (2, 3), (3, 3), (3, 1), (4, 3), (2, 2, 3)]
LARGEST = 60  # elements of a value
EVERYWHERE = "everywhere"


class Step(NamedTuple):
    """Source that sets `name`; `jax` where JAX spells it otherwise, None where it has no such thing."""

    name: str
    text: str
    jax: str | None

    def reads(self) -> set[str]:
        return set(re.findall(r"\b[vx]\d+\b", self.text)) - {self.name}


class Program:
    """`f(x0, x1, …)` as source, and a point at which to take it."""

    def __init__(self, inputs: list[np.ndarray]) -> None:
        self.inputs = inputs
        self.steps: list[Step] = []

    def needed(self) -> list[Step]:
        """The steps that the last one depends on."""
        wanted = {self.steps[-1].name} if self.steps else set()
        kept = []
        for step in reversed(self.steps):
            if step.name in wanted:
                kept.append(step)
                wanted |= step.reads()
        return kept[::-1]

    def source(self, jax: bool = False) -> str | None:
        lines = []
        for step in self.needed():
            text = step.jax if jax else step.text
            if text is None:
                return None
            lines += [f"    {line}" for line in text.splitlines()]
        result = self.steps[-1].name if self.steps else "x0"
        return "\n".join(
            [f"def f({', '.join(f'x{k}' for k in range(len(self.inputs)))}):", *lines, f"    return {result}"]
        )

    def function(self, **namespace: Any) -> Callable[..., Any]:
        """The program over the given `np` and `wg`."""
        jax = namespace.pop("jax", False)
        text = self.source(jax)
        assert text is not None
        scope = {"np": np, "wg": wg, **namespace}
        exec(text, scope)
        return scope["f"]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        inputs = "\n".join(f"x{k} = np.{x!r}" for k, x in enumerate(self.inputs))
        return f"\n{inputs}\n{self.source()}\n"


class Drawing:
    """A program being drawn: the values so far, and choices among them."""

    def __init__(self, draw: Callable[..., Any], inputs: list[np.ndarray]) -> None:
        self.draw = draw
        self.program = Program(inputs)
        self.values: dict[str, np.ndarray] = {f"x{k}": np.asarray(x) for k, x in enumerate(inputs)}
        self.count = 0

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, fits: Callable[[tuple[int, ...]], bool] = lambda shape: True) -> str | None:
        """A value whose shape fits: often a late one, so that programs get deep, and the first when they shrink."""
        names = [name for name, value in self.values.items() if fits(value.shape)]
        return self.one(*names, *names[-3:], *names[-1:] * 3) if names else None

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def add(self, text: str, jax: str | None = EVERYWHERE) -> bool:
        """Enter a step if its value is moderate; `{}` in the text is the name of the result."""
        name = f"v{self.count}"
        text = text if "{}" in text else "{} = " + text
        jax = text if jax == EVERYWHERE else jax if jax is None or "{}" in jax else "{} = " + jax
        step = Step(name, text.replace("{}", name), None if jax is None else jax.replace("{}", name))
        scope: dict[str, Any] = {"np": np, "wg": wg, **self.values}
        with np.errstate(all="ignore"):
            exec(step.text, scope)
        value = np.asarray(scope[name])
        if value.dtype.kind != "f" or not 0 < value.size <= LARGEST:
            return False
        if not np.isfinite(value).all() or np.abs(value).max() > 50:
            return False
        self.count += 1
        self.values[name] = value
        self.program.steps.append(step)
        return True


# --------------------------------------------------------------------------------------------------------- elementwise

SMOOTH = [
    "np.sin({x})",
    "np.cos({x})",
    "np.tanh({x})",
    "np.exp(np.tanh({x}))",
    "np.log(2.0 + np.sin({x}))",
    "np.sqrt(1.5 + np.cos({x}))",
    "1.0 / (2.0 + np.sin({x}))",
    "np.arctan({x})",
    "{x} ** 2",
    "np.log1p({x} ** 2)",
    "np.expm1(np.sin({x}))",
    "np.arcsinh({x})",
    "1 / (1 + np.exp(-{x}))",
    "np.sinh(np.tanh({x}))",
    "(2 + np.sin({x})) ** -2",
    "-{x}",
    "0.5 * {x}",
    "{x} - 1",
    "2 - {x}",
    "{x} / 3",
    "np.tanh({x}) ** 3",
    "(1.5 + np.sin({x})) ** 0.5",
    "np.hypot({x}, 1.0)",
    "(1.5 + np.cos({x})) ** 1.7",
    "2.0 ** np.sin({x})",
    "np.cbrt(2 + np.cos({x}))",
    "np.arcsin(0.8 * np.sin({x}))",
    "np.square({x}) * 0.1",
    "np.logaddexp({x}, 0.0)",
    "np.exp(-{x} ** 2)",
    "np.float32(0.5) * {x}",
    "{x} * np.float64(0.25)",
    "np.cosh(np.sin({x})) * 1",
]
KINKED = [
    "np.maximum({x}, 0.1)",
    "np.minimum({x}, 0.3)",
    "np.abs({x})",
    "np.clip({x}, -0.7, 0.9)",
    "np.where({x} > 0.2, {x}, 0.5 * {x})",
    "np.where({x} < 0.1, np.sin({x}), 1.0)",
    "np.sign({x}) * {x}",
    "{x} * ({x} > 0)",
    "np.floor({x}) * 0.5 + {x}",
    "np.where(np.isfinite({x}), {x}, 0.0)",
]
PAIRS = [
    "{x} + {y}",
    "{x} - {y}",
    "{x} * {y}",
    "{x} / (2.0 + np.cos({y}))",
    "np.maximum({x}, {y} + 0.05)",
    "np.minimum({x}, 0.9 * {y})",
    "np.logaddexp({x}, {y})",
    "np.arctan2({x}, 2.0 + np.sin({y}))",
    "np.hypot({x}, 1.0 + {y} ** 2)",
    "(2 + np.sin({x})) ** np.tanh({y})",
    "np.where({x} > {y} + 0.01, {x}, 0.5 * {y})",
    "0.5 * ({x} + {y}) ** 2",
    "{x} * 2 - {y} * 3",
    "np.sin({x}) * np.cos({y}) + {x}",
]


def broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return int(np.prod(np.broadcast_shapes(one, other))) <= LARGEST
    except ValueError:
        return False


def elementwise(d: Drawing) -> None:
    d.add(d.one(*SMOOTH, *KINKED[: d.number(0, len(KINKED))]).replace("{x}", d.pick()))


def binary(d: Drawing) -> None:
    x = d.pick()
    y = d.pick(lambda shape: broadcasts(shape, d.shape(x)))
    d.add(d.one(*PAIRS).replace("{x}", x).replace("{y}", y))


def with_constant(d: Drawing) -> None:
    x = d.pick(lambda shape: len(shape) > 0)
    if x is not None:
        n = d.shape(x)[-1]
        d.add(
            d.one(
                f"{x} * (np.arange({n}) + 1.0)",
                f"{x} + np.linspace(-1, 1, {n})",
                f"np.full({d.shape(x)}, 0.5) * {x}",
                f"np.ones({n}) * {x} + np.zeros({d.shape(x)})",
            )
        )


# ---------------------------------------------------------------------------------------------- reductions and shapes


def reduction(d: Drawing) -> None:
    x = d.pick(lambda shape: len(shape) > 0)
    if x is None:
        return
    ndim = len(d.shape(x))
    axis = d.one(None, *range(-ndim, ndim))
    options = f"axis={axis}" + d.one("", ", keepdims=True")
    way = d.one(
        "np.sum({x}, {o})",
        "np.mean({x}, {o})",
        "np.max({x}, {o})",
        "np.min({x}, {o})",
        "np.prod(np.tanh({x}), {o})",
        "np.var({x}, {o})",
        "np.sqrt(0.1 + np.var({x}, {o}))",
        "np.sum({x} ** 2, {o})",
        "np.logaddexp.reduce({x}, {o})",
        "np.log(np.sum(np.exp({x}), {o}))",
        "np.linalg.norm({x} + 3, {o})",
        "np.std({x} * np.arange(1.0, 1 + {n}), {o})",
        "{x} - np.max({x}, axis=-1, keepdims=True)",
        "np.exp({x}) / np.sum(np.exp({x}), axis=-1, keepdims=True)",
    )
    if "linalg" in way and axis is None and ndim > 2:
        return
    text = way.replace("{x}", x).replace("{o}", options).replace("{n}", str(d.shape(x)[-1]))
    jax = None if "logaddexp.reduce" in way else text
    d.add(text, jax)


def cumulative(d: Drawing) -> None:
    x = d.pick(lambda shape: len(shape) > 0)
    if x is not None:
        axis = d.number(-len(d.shape(x)), -1)
        distinct = np.unique(d.values[x]).size == d.values[x].size  # ties are shared otherwise elsewhere
        ways = [f"np.cumsum({x}, axis={axis})", f"np.cumprod(np.tanh({x}), axis={axis})", f"np.diff({x}, axis={axis})"]
        if distinct:
            ways += [
                f"np.sort({x}, axis={axis})",
                f"np.take_along_axis({x}, np.argsort({x}, axis={axis}), axis={axis})",
                f"np.median({x}, axis={axis})",
                f"np.maximum.accumulate({x}, axis={axis})",
            ]
        text = d.one(*ways)
        d.add(text, None if "accumulate" in text else text)


def shaping(d: Drawing) -> None:
    x = d.pick()
    shape = d.shape(x)
    ndim, size = len(shape), d.values[x].size
    y = d.pick(lambda other: other == shape)
    axis = d.number(0, max(ndim - 1, 0))
    axes = tuple(d.draw(st.permutations(range(ndim))))
    halves = [k for k in range(1, size + 1) if size % k == 0]
    m = d.one(*halves)
    ways = [
        f"np.reshape({x}, ({m}, -1))",
        f"np.transpose({x}, {axes})",
        f"np.broadcast_to({x}, {(2, *shape)})",
        f"{x}[..., None]",
        f"np.stack([{x}, {y}], {axis})",
        f"np.ravel({x})",
        f"np.tile({x}, 2)",
        f"np.expand_dims({x}, {axis})",
        f"{x}[None] + np.zeros((2,) + {shape})",
        f"np.stack([{x}, {y}])[1]",
        f"np.squeeze({x})",
    ]
    if ndim:
        ways += [
            f"np.flip({x}, {axis})",
            f"np.roll({x}, 1, {axis})",
            f"np.concatenate([{x}, {y}], {axis})",
            f"np.repeat({x}, 2, {axis})",
            f"np.pad({x}, 1)",
            f"np.split({x}, {shape[axis]}, {axis})[-1]",
            f"np.moveaxis({x}, {axis}, 0)",
            f"{x}.T",
            f"{x}.copy()",
            f"np.swapaxes({x}, 0, {axis}) * 2",
            f"np.concatenate([{x}, {y}], {axis})[1:]",
        ]
    d.add(d.one(*ways))


# ------------------------------------------------------------------------------------------------------------- indexing


def index(d: Drawing, shape: tuple[int, ...], unique: bool = False) -> str:
    """An index as text, that leaves something."""
    parts = []
    for n in shape[: d.number(1, len(shape))]:
        k = d.number(0, n - 1)
        ways = [
            ":",
            f"{k}",
            f"{k - n}",
            f":{k + 1}",
            f"{k}:",
            "::2",
            "::-1",
            f"np.array([{k}, {n - 1 - k}])",
            "...",
            "None, :",
        ]
        if unique and 2 * k == n - 1:
            ways.pop(7)
        part = d.one(*ways)
        parts.append(part if part != "..." or "..." not in parts else ":")
        if part == "...":
            break
    if sum("array" in part for part in parts) > 1:
        parts = [part if "array" not in part else "0" for part in parts[:-1]] + parts[-1:]
    return ", ".join(parts)


def reading(d: Drawing) -> None:
    x = d.pick(lambda shape: len(shape) > 0)
    if x is not None:
        d.add(f"{x}[{index(d, d.shape(x))}]")


def writing(d: Drawing) -> None:
    """In place, into a copy."""
    x = d.pick(lambda shape: len(shape) > 0)
    if x is None:
        return
    base = d.one(f"{x}.copy()", f"np.copy({x})", f"0 * {x}", f"np.zeros_like({x})", f"np.sin({x})")
    text, jax = f"{{}} = {base}", f"{{}} = {base}"
    for _ in range(d.number(1, 3)):
        where = index(d, d.shape(x), unique=True).replace("None, :", ":")
        place = np.empty(d.shape(x))[eval(f"np.s_[{where}]")].shape
        y = d.pick(lambda s, place=place: broadcasts(s, place) and np.broadcast_shapes(s, place) == place)
        value = "0.5" if y is None else d.one(y, "0.25", f"2 * {y}")
        how, at = d.one(
            ("{}[{i}] = {y}", "set({y})"),
            ("{}[{i}] += {y}", "add({y})"),
            ("{}[{i}] *= {y}", "multiply({y})"),
            ("np.add.at({}, np.s_[{i}], {y})", "add({y})"),
        )
        text += "\n" + how.replace("{i}", where).replace("{y}", value)
        jax += "\n{} = {}.at[" + where + "]." + at.replace("{y}", value)
    back = d.one("", f"\n{{}} = {{}}[{index(d, d.shape(x))}] * {{}}[{index(d, d.shape(x))}]")
    fits = not back or _fits(back, d.values[x])
    d.add(text + back * fits, jax + back * fits)


def _fits(back: str, like: np.ndarray) -> bool:
    """Whether the two parts that are read back broadcast."""
    try:
        eval(back.split(" = ")[1].replace("{}", "like"), {"np": np, "like": like})
    except ValueError:
        return False
    return True


# ----------------------------------------------------------------------------------------------------------- products


def product(d: Drawing) -> None:
    x = d.pick(lambda shape: len(shape) > 0)
    if x is None:
        return
    shape = d.shape(x)
    y = d.pick(lambda other: len(other) > 0 and other[-1] == shape[-1])
    ways = [
        f"np.einsum('...i,...i->...', {x}, np.sin({x}))",
        f"np.inner({x}, {y})",
        f"np.tensordot({x}, {y}, ([-1], [-1]))",
        f"np.outer({x}[..., 0], {y}[..., -1])",
        f"np.dot({x}, np.ravel({y})[:{shape[-1]}])",
        f"np.sum({x}[..., None] * np.cos({x})[..., None, :], -2)",
    ]
    if len(shape) > 1:
        g = f"(np.tanh({x}) @ np.swapaxes(np.tanh({x}), -1, -2) + np.eye({shape[-2]}))"
        ways += [
            f"{x} @ np.swapaxes({x}, -1, -2) * 0.2",
            f"np.einsum('...ij,...kj->...ik', {x}, np.sin({x}))",
            f"np.trace({x})",
            f"np.linalg.solve({g}, {x})",
            f"np.linalg.inv({g})",
            f"np.linalg.slogdet({g})[1]",
            f"np.linalg.cholesky({g})",
            f"np.linalg.det({g}) * 0.1",
        ]
    d.add(d.one(*ways))


# ------------------------------------------------------------------------------------------------------------- control


def branching(d: Drawing) -> None:
    """Plain Python on values, which JAX cannot trace, with a margin around the branch point."""
    x, y = d.pick(), d.pick()
    total = float(np.sum(d.values[y]))
    limit = round(total + d.one(-0.3, 0.3), 3)
    d.add(f"if np.sum({y}) > {limit}:\n    {{}} = np.sin({x})\nelse:\n    {{}} = {x} * np.sum({y}) * 0.2", None)


def looping(d: Drawing) -> None:
    """A plain Python loop, unrolled when it is traced."""
    x = d.pick()
    y = d.pick(lambda s: broadcasts(s, d.shape(x)) and np.broadcast_shapes(s, d.shape(x)) == d.shape(x))
    d.add(f"{{}} = {x}\nfor k in range({d.number(1, 4)}):\n    {{}} = np.tanh({{}} + {y} * k) * 0.9")


def controlling(d: Drawing) -> None:
    """Loops and branches as values."""
    x = d.pick()
    y = d.pick(lambda s: s == d.shape(x))
    rows = d.pick(lambda s: len(s) > 0 and s[1:] == d.shape(x))
    if any(d.values[name].dtype != d.values[x].dtype for name in (y, rows) if name is not None):
        return  # a carry keeps its dtype
    n = d.number(1, 4)
    limit = round(float(np.sum(d.values[y])) + d.one(-0.3, 0.3), 3)
    ways = [
        f"wg.fori_loop(0, {n}, lambda k, s: np.sin(s) + 0.5 * {y}, {x})",
        f"wg.scan(lambda s, _: (np.tanh(s + {y}), s * s), {x}, None, length={n})[{d.number(0, 1)}]",
        f"wg.cond(np.sum({y}) > {limit}, lambda a, b: np.sin(a) * b, lambda a, b: a - b, {x}, {y})",
        f"wg.switch({n - 1}, [np.sin, np.cos, lambda a: a * {y}], {x})",
    ]
    if rows is not None:
        ways += [
            f"wg.scan(lambda s, r: (0.5 * s + np.sin(r), s * r), {x}, {rows})[{d.number(0, 1)}]",
            f"wg.map(lambda r: np.cos(r) * {x}, {rows})",
        ]
    d.add(d.one(*ways))


def repeating(d: Drawing) -> None:
    """A loop that stops by itself; JAX has no reverse mode for it."""
    x = d.pick(lambda s: s == ())
    if x is None:
        return
    test, step = f"lambda s: s[0] < {d.number(1, 3)}", f"lambda s: (s[0] + 1, np.sin(s[1]) + 0.3 * {x})"
    d.add(f"wg.while_loop({test}, {step}, (0, {x}))[1]", None)


PLAIN = (
    elementwise,
    elementwise,
    binary,
    binary,
    with_constant,
    reduction,
    cumulative,
    shaping,
    reading,
    writing,
    product,
)
KINDS = (*PLAIN, branching, looping, controlling, repeating)


@st.composite
def programs(
    draw: Callable[..., Any],
    kinds: tuple[Callable[[Drawing], None], ...] = KINDS,
    most: int = 7,
    dtypes: tuple[Any, ...] = (np.float64,),
) -> Program:
    """A program of a few steps and the point at which to take it."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    inputs = []
    for _ in range(draw(st.integers(1, 2))):
        dtype = draw(st.sampled_from(dtypes))
        x = rng.uniform(-1.2, 1.2, draw(st.sampled_from(SHAPES)))
        inputs.append(np.asarray(x, dtype)[()])
    d = Drawing(draw, inputs)
    for _ in range(draw(st.integers(1, most))):
        draw(st.sampled_from(kinds))(d)
    return d.program
