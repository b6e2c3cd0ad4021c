"""The Wengert list: one line per elementary operation, and its readings.

A list can be printed, type-checked, evaluated on other inputs, and, where it is linear, transposed: read backwards,
as a pullback does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.avals import Aval
from wengert.core import (
    FLOAT_ERRORS,
    IGNORED,
    TRACED,
    Primitive,
    Symbol,
    Trace,
    TracedArray,
    aval_of,
    bind,
    new_traced,
)
from wengert.residuals import Guarded, guard, read, unchanged


class Var:
    """A variable of a Wengert list: a name, shape and dtype, and its value in the example that was staged."""

    __slots__ = ("aval", "example", "name")

    def __init__(self, name: str, aval: Aval, example: Any = None) -> None:
        self.name = name
        self.aval = aval
        self.example = example

    def __repr__(self) -> str:
        return self.name


class Literal:
    """A number written into a line."""

    __slots__ = ("aval", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.aval = aval_of(value)

    def __repr__(self) -> str:
        return repr(self.value.item() if isinstance(self.value, np.generic) else self.value)


class Equation:
    """One line: `outputs = primitive(inputs, **params)`; `quiet` where a derivative rule wrote it, not the user."""

    __slots__ = ("inputs", "outputs", "params", "primitive", "quiet")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Var | Literal],
        params: dict[str, Any],
        outputs: Sequence[Var],
        quiet: bool = False,
    ) -> None:
        self.primitive = primitive
        self.inputs = list(inputs)
        self.params = params
        self.outputs = list(outputs)
        self.quiet = quiet

    def __repr__(self) -> str:
        return f"{', '.join(var.name for var in self.outputs)} = {expression(self)}"


INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip


def expression(eqn: Equation) -> str:
    """The right-hand side of a line as a person would write it."""
    name = eqn.primitive.name
    names = [repr(atom) for atom in eqn.inputs]
    if name in INFIX and len(names) == 2 and not eqn.params:
        return f"{names[0]} {INFIX[name]} {names[1]}"
    if name == "negative":
        return f"-{names[0]}"
    if name == "square":
        return f"{names[0]} ** 2"
    if name == "getitem":
        return f"{names[0]}[{', '.join(map(_show_index, eqn.params['index']))}]"
    shown = [f"{key}={_show_param(value)}" for key, value in eqn.params.items() if value is not None]
    return f"{name}({', '.join(names + shown)})"


def _show_index(part: Any) -> str:
    if type(part) is slice:
        ends = ["" if end is None else str(end) for end in (part.start, part.stop)]
        return ":".join(ends if part.step is None else [*ends, str(part.step)])
    return "..." if part is Ellipsis else _show_param(part)


def _show_param(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<array {value.dtype}{list(value.shape)}>"
    if isinstance(value, WengertList):
        return f"<{value.name}: {len(value)} line{'s' if len(value) != 1 else ''}>"
    if isinstance(value, tuple) and any(isinstance(item, np.ndarray | WengertList) for item in value):
        return f"({', '.join(map(_show_param, value))})"
    return str(value)


class WengertList:
    """A straight-line program (R. E. Wengert, CACM 7(8), 1964).

    `inputs`, `constants` (pairs of variable and value), `equations`, `outputs` and `guards` (what branches asked for
    while `jit` staged: pairs of variable and value) are plain lists; `print` shows them, calling the list evaluates
    it, `check` verifies every line.

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: np.log(np.sin(x**2) + np.exp(x)))(1.5)
    >>> len(program.equations)
    5
    >>> float(program(1.5)) == float(np.log(np.sin(1.5**2) + np.exp(1.5)))
    True
    """

    def __init__(self, inputs: list[Var], name: str = "f") -> None:
        self.name = name
        self.inputs = inputs
        self.constants: list[tuple[Var, Any]] = []
        self.equations: list[Equation] = []
        self.outputs: list[Var | Literal] = []
        self.guards: list[tuple[Var, Any]] = []  # the list holds only where each of these has this value, to the bit
        self.in_tree: Any = None
        self.out_tree: Any = None
        self.derived: dict[
            Any, Any
        ] = {}  # what was made from this list, such as its derivatives, kept for the next use

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "derived": {}}  # functions are made anew

    def __call__(self, *args: Any) -> Any:
        """Evaluate the list on containers like those that it was staged with."""
        return self.evaluate(*args)

    def evaluate(self, *args: Any) -> Any:
        """Evaluate the list: same structure of arguments and result as the function that was traced.

        Shapes must be those of the example, since the list holds them; `StructureError` where they are not.
        """
        leaves = tree.flatten_like(self.in_tree, args, "arguments of the Wengert list")
        for var, leaf in zip(self.inputs, leaves, strict=True):
            if aval_of(leaf).shape != var.aval.shape:
                raise errors.StructureError(
                    f"Input {var.name} of the Wengert list has shape {var.aval.shape}, got {aval_of(leaf).shape}. A "
                    "list holds the shapes that it was traced with. Trace the function again with arguments of this "
                    "shape."
                )
        taken = {id(leaf) for leaf in leaves} | held(self)
        return tree.unflatten(self.out_tree, [core.owned(result, taken) for result in evaluate(self, leaves)])

    def check(self) -> None:
        """Verify the list: each variable is set once, before its use, and has the aval that the shape rules give."""
        check(self)

    def expression(self, eqn: Equation) -> str:
        """The right-hand side of a line as a person would write it, such as ``v1 + v2``."""
        return expression(eqn)

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.equations)

    def __len__(self) -> int:
        return len(self.equations)

    def __repr__(self) -> str:
        return show(self)


def show(program: WengertList) -> str:
    """The list as text: a line each, with shapes, dtypes and the example's values in columns."""
    rows: list[tuple[str, str, str, str]] = []
    for var in program.inputs:
        rows.append((var.name, "input", str(var.aval), _show_example(var)))
    for var, value in program.constants:
        rows.append((var.name, "constant", str(var.aval), _show_value(read(value))))
    for eqn in program.equations:
        names = ", ".join(var.name for var in eqn.outputs)
        avals = ", ".join(str(var.aval) for var in eqn.outputs)
        rows.append((names, expression(eqn), avals, _show_example(eqn.outputs[0])))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    plural = "s" if len(program.equations) != 1 else ""
    lines = [f"Wengert list of {program.name}: {len(program.equations)} operation{plural}"]
    for name, text, aval, example in rows:
        sign = " " if text in ("input", "constant") else "="
        line = f"  {name:<{widths[0]}} {sign} {text:<{widths[1]}}  {aval:<{widths[2]}}"
        lines.append((line + ("  = " + example if example else "")).rstrip())
    lines += [f"  where {var.name} is {_show_guard(value)}" for var, value in program.guards]
    lines.append(f"  return {', '.join(map(repr, program.outputs))}")
    return "\n".join(lines)


def _show_guard(value: Any) -> str:
    return _show_value(value) or f"the array of shape {np.shape(value)} that was staged"


def _show_example(var: Var) -> str:
    return "" if var.example is None else _show_value(var.example)


def _show_value(value: Any) -> str:
    value = core.glance(value)
    if value is None:
        return ""
    if np.size(value) == 1 and np.ndim(value) == 0:
        return f"{value:.6g}" if not isinstance(value, bool | np.bool_) else str(value)
    if np.size(value) <= 4 and np.ndim(value) == 1:
        return np.array2string(np.asarray(value), precision=4, separator=", ")
    return ""


# ------------------------------------------------------------------------------------------------------- readings


def evaluate(program: WengertList, leaves: Sequence[Any]) -> list[Any]:
    """Read the list forwards. Values may be traced: a list of linear operations is a pushforward."""
    env: dict[Var, Any] = {var: read(value) for var, value in program.constants}
    env.update(zip(program.inputs, leaves, strict=True))
    for eqn in program.equations:
        out = run(eqn, [_lookup(env, atom) for atom in eqn.inputs])
        if eqn.primitive.multiple:
            env.update(zip(eqn.outputs, out, strict=True))
        else:
            env[eqn.outputs[0]] = core.weaken(out) if eqn.outputs[0].aval.weak else out
    return [_lookup(env, atom) for atom in program.outputs]


def run(eqn: Equation, values: Sequence[Any]) -> Any:
    """Carry out one line. The arithmetic of derivative rules does not warn in the user's name, here as elsewhere."""
    if not eqn.quiet:
        return eqn.primitive(*values, **eqn.params)
    users = FLOAT_ERRORS.get()
    try:
        FLOAT_ERRORS.set(IGNORED)
        return eqn.primitive(*values, **eqn.params)
    finally:
        FLOAT_ERRORS.set(users)


def held(program: WengertList) -> set[int]:
    """The ids of the arrays that a list holds, which it may have as outputs and must not hand out."""
    return {id(value.array if type(value) is Guarded else value) for _, value in program.constants}


def _lookup(env: dict[Var, Any], atom: Var | Literal) -> Any:
    return env[atom] if isinstance(atom, Var) else atom.value


def transpose(program: WengertList, cts: Sequence[Any], known: Sequence[Any] = ()) -> list[Any]:
    """Read a linear list backwards: cotangents of its outputs to cotangents of its inputs (None for zero).

    The first inputs may have values that are `known`; cotangents are those of the others. Every line must be linear
    in what depends on these; a `ProgramError` names the first that is not.
    """
    linear: set[Var] = set(program.inputs[len(known) :])
    for eqn in program.equations:
        if any(type(atom) is Var and atom in linear for atom in eqn.inputs):
            linear.update(eqn.outputs)
    constants = {**dict(program.constants), **dict(zip(program.inputs, known, strict=False))}
    env: dict[Var, Any] = {}
    for atom, ct in zip(program.outputs, cts, strict=True):
        if type(atom) is Var and atom in linear:
            _add(env, atom, ct)
    values = _known_values(program, linear, constants)
    for eqn in reversed(program.equations):
        if not any(var in env for var in eqn.outputs):
            continue
        outs = [env.pop(var, None) for var in eqn.outputs]
        ct = outs if eqn.primitive.multiple else outs[0]
        active = tuple(k for k, atom in enumerate(eqn.inputs) if type(atom) is Var and atom in linear)
        saved = [None if k in active else _lookup(values, atom) for k, atom in enumerate(eqn.inputs)] + [None]
        if eqn.primitive.composite:
            bars = eqn.primitive.pull(active, outs, saved, eqn.params)
            for k, bar in zip(active, bars, strict=True):
                _add(env, eqn.inputs[k], bar)
            continue
        kept, keeps_out = eqn.primitive.keeps(active, len(eqn.inputs))
        if keeps_out or any(k in active for k in kept):
            raise errors.ProgramError(
                f"The line `{eqn}` is not linear in {eqn.inputs[active[0]]!r}. A list is transposed line by line, and "
                "only linear lines have a transpose. A derivative rule may use its tangent only linearly: check the "
                "rule."
            )
        for k in active:
            _add(env, eqn.inputs[k], eqn.primitive.pullback(k, ct, saved, eqn.inputs[k].aval, eqn.params))
    return [env.get(var) for var in program.inputs[len(known) :]]


def _add(env: dict[Var, Any], var: Any, bar: Any) -> None:
    if bar is not None:
        env[var] = bar if var not in env else env[var] + bar


def _known_values(program: WengertList, linear: set[Var], constants: dict[Var, Any]) -> dict[Var, Any]:
    """Values of the variables that do not depend on the inputs."""
    env = {var: read(value) for var, value in constants.items()}
    for eqn in program.equations:
        if eqn.outputs[0] not in linear:
            out = run(eqn, [_lookup(env, atom) for atom in eqn.inputs])
            env.update(zip(eqn.outputs, out if eqn.primitive.multiple else (out,), strict=True))
    return env


def check(program: WengertList) -> None:
    known: set[Var] = set()

    def define(var: Var, where: str) -> None:
        if var in known:
            raise errors.ProgramError(f"Variable {var.name} is set twice, the second time by {where}.")
        known.add(var)

    def use(atom: Var | Literal, where: str) -> None:
        if type(atom) is Var and atom not in known:
            raise errors.ProgramError(f"Variable {atom!r} is used by {where} before it is set.")

    for var in program.inputs:
        define(var, "the inputs")
    for var, _ in program.constants:
        define(var, "the constants")
    for eqn in program.equations:
        for atom in eqn.inputs:
            use(atom, f"`{eqn}`")
        avals = eqn.primitive.abstract([atom.aval for atom in eqn.inputs], eqn.params)
        for var, aval in zip(eqn.outputs, avals if eqn.primitive.multiple else (avals,), strict=True):
            if (var.aval.shape, var.aval.dtype) != (aval.shape, aval.dtype):
                raise errors.ProgramError(f"`{eqn}` is recorded as {var.aval}, but its shape rule gives {aval}.")
            define(var, f"`{eqn}`")
    for atom in program.outputs:
        use(atom, "the outputs")
    for var, _ in program.guards:
        use(var, "the guards")


# -------------------------------------------------------------------------------------------------------- staging


class StageTrace(Trace):
    """Writes a Wengert list. Symbols carry concrete values where staging has an example, and then branches work."""

    __slots__ = ("_constants", "_count", "program")
    what = "Symbol"

    def __init__(self, name: str = "f") -> None:
        super().__init__()
        self.program = WengertList([], name)
        self._constants: dict[int, tuple[Var, Any, Any]] = {}
        self._count = 0

    def input(self, aval: Aval, example: Any = None) -> Symbol:
        """A new input of the list."""
        core.check_not_newer(example, self)
        var = Var(f"x{len(self.program.inputs) + 1}", aval, example)
        self.program.inputs.append(var)
        return new_traced(Symbol, self, example, var)  # type: ignore[no-any-return]

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        self.check_open()
        atoms = [self.atom(arg) for arg in args]
        examples = [
            (arg._value if type(arg) is Symbol and arg._trace is self else arg) for arg in args
        ]  # None for a Symbol without an example
        if any(example is None for example in examples):
            out = None
            avals = primitive.abstract([atom.aval for atom in atoms], params)
        else:
            out = self.computed(primitive, examples, params)
            avals = tuple(map(aval_of, out)) if primitive.multiple else aval_of(out)
        outputs = []
        for k, aval in enumerate(avals if primitive.multiple else (avals,)):
            self._count += 1
            example = out[k] if primitive.multiple and out is not None else out
            outputs.append(Var(f"v{self._count}", aval, example))
        quiet = FLOAT_ERRORS.get() is IGNORED
        self.program.equations.append(Equation(primitive, atoms, params, outputs, quiet))
        symbols = [new_traced(Symbol, self, var.example, var) for var in outputs]
        return tuple(symbols) if primitive.multiple else symbols[0]

    def computed(self, primitive: Primitive, examples: Sequence[Any], params: dict[str, Any]) -> Any:
        """The result of a line on the example's values."""
        return bind(primitive, *examples, **params)

    def atom(self, value: Any) -> Var | Literal:
        """How a line names an operand."""
        if type(value) is Symbol and value._trace is self:
            return value._info  # type: ignore[no-any-return]
        core.check_not_newer(value, self)
        if type(value) not in TRACED and type(value) is not np.ndarray:
            return Literal(value)
        known = self._constants.get(id(value))
        if known is not None and unchanged(known[2], value):
            return known[0]
        var = Var(f"c{len(self.program.constants) + 1}", aval_of(value))
        kept = guard(value)
        self._constants[id(value)] = (var, value, kept)  # holds the value, so that its id stays its own
        self.program.constants.append((var, kept))
        return var

    def aval(self, x: TracedArray) -> Aval:
        return x._info.aval  # type: ignore[no-any-return]

    def constant(self, value: Any) -> TracedArray:
        atom = self.atom(value)
        if type(atom) is Literal:
            atom = Var(f"c{len(self.program.constants) + 1}", atom.aval)
            self.program.constants.append((atom, value))
        return new_traced(Symbol, self, value, atom)  # type: ignore[no-any-return]

    def weakened(self, x: TracedArray) -> None:
        var = x._info
        var.aval = var.aval._replace(weak=var.aval.dtype.kind in "ifc") if x._value is None else aval_of(x._value)

    def concrete(self, x: TracedArray) -> Any:
        if x._value is None:
            raise errors.ConversionError(
                "A branch or a conversion asked for the value of a Symbol that has none. This list is being written "
                "from shapes alone, without an example. Use np.where, or trace with concrete arguments."
            )
        return core.concrete(x._value)


def stage(
    function: Callable[..., Any], avals: Sequence[Aval], examples: Sequence[Any] | None = None, name: str = "f"
) -> WengertList:
    """Write the list of a function of flat arguments that returns a list of flat results."""
    trace = StageTrace(name)
    given = examples if examples is not None else [None] * len(avals)
    symbols = [trace.input(aval, example) for aval, example in zip(avals, given, strict=True)]
    try:
        results = function(*symbols)
        outputs: list[Var | Literal] = []
        for result in results:
            if type(result) in TRACED and result._link is not None:
                core.refresh(result)
            outputs.append(trace.atom(result))
    finally:
        trace.close()
    trace.program.outputs = outputs
    return trace.program


__all__ = [
    "Equation", "Guarded", "Literal", "StageTrace", "Var", "WengertList", "check", "evaluate", "expression", "held",
    "run", "show", "stage", "transpose",
]  # fmt: skip
