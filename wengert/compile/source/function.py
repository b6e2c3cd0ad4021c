"""From a Wengert list to the text of a function, and to the function."""

from __future__ import annotations

import builtins
import itertools
import linecache
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.avals import WEAK_KINDS, Aval
from wengert.compile.source import control, literals, reuse
from wengert.compile.source.literals import Unwritable
from wengert.compile.source.module import Names, Text
from wengert.compile.source.spelling import spell, spell_into
from wengert.program import Equation, Literal, Var, WengertList
from wengert.residuals import read

WIDTH: Final = 120
# Lines that cannot raise a floating-point warning, so that they may stand on either side of an errstate
SILENT: Final = frozenset({
    "broadcast_to", "concatenate", "copy", "diagonal", "embed_diagonal", "gather", "getitem", "imag", "real",
    "reshape", "setitem", "spread", "stack", "transpose", "where",
})  # fmt: skip


# --------------------------------------------------------------------- helper functions that modules may come to hold


def argument(name: Any, x: Any, dtype: Any, shape: Any) -> Any:
    """An argument as an array; this straight-line program holds for one dtype and shape only."""
    x = np.asarray(x)
    if x.dtype != dtype or x.shape != shape:
        expected = f"{np.dtype(dtype)} of shape {shape}"
        raise ValueError(f"{name} must be {expected}, got {x.dtype} of shape {x.shape}")
    return x


def same(x: Any, y: Any) -> Any:
    """Whether two values have the same bits."""
    return np.asarray(x).tobytes() == np.asarray(y).tobytes()


def owned(x: Any) -> Any:
    """A result for the caller: dense, in memory of its own."""
    dense = type(x) is not np.ndarray or (x.flags.owndata and (x.flags.c_contiguous or x.flags.f_contiguous))
    return x if dense else x.copy()


def take(spare: Any, *specs: Any) -> Any:
    """Work arrays that no other call is using: those of a call that is over, or new ones."""
    try:
        return spare.pop()
    except IndexError:
        return [np.empty(shape, dtype) for shape, dtype in specs]


# ------------------------------------------------------------------------------------------------------- one function


class Writer:
    """Writes the function of one list into a module."""

    def __init__(self, text: Text, program: WengertList, name: str, top: bool, buffers: bool) -> None:
        self.text = text
        self.program = program
        self.name = name
        self.top = top  # the function that callers see, rather than the body of a loop or branch
        self.plan = reuse.plan(program, buffers, top)
        self.buffers = buffers
        self.local = Names()
        self.names: dict[Any, str] = {}
        self.fresh_results: set[Var] = set()  # what may be handed to the caller if it is dense
        self.dense_results: set[Var] = set()
        self.lines: list[str] = []
        self.indent = "    "
        self.spare = ""  # the list that holds work arrays between calls
        self.work = ""

    def write(self) -> str:
        """The text of the whole function."""
        program, text = self.program, self.text
        for var, value in program.constants:
            self.names[var] = self.constant(var, read(value))
        for var in program.inputs:
            self.names[var] = self.local_name(var.name)
        for eqn in program.equations:
            for var in eqn.outputs:
                self.names[var] = self.local_name(var.name)
        work = [self.local_name(f"b{k}") for k in range(len(self.plan.specs))]
        self.work = self.local_name("work") if work else ""
        self.guards: dict[Var, list[Any]] = {}
        for var, expected in program.guards:
            self.guards.setdefault(var, []).append(expected)
        if self.top and text.standalone:
            self.arguments()
        if work:
            self.spare = text.fresh(f"_spare_{self.name.strip('_')}")
            self.take_work(work)
        for var in [*program.inputs, *(var for var, _ in program.constants)]:
            self.guard(var)
        self.equations(work)
        if work:
            self.line(f"{self.spare}.append({self.work})")
        self.line(self.result())
        parameters = ", ".join(self.names[var] for var in program.inputs)
        head = _wrapped(f"def {self.name}({parameters}):")
        spare = f"{self.spare} = []  # work arrays between calls: no two calls share them\n\n\n" if work else ""
        return "\n".join([spare + head, *self.docstring(), *self.lines])

    def line(self, text: str) -> None:
        self.lines.append(_wrapped(self.indent + text))

    def local_name(self, base: str) -> str:
        name = self.local.fresh(base, self.text.names.taken)
        self.text.local.add(name)
        return name

    def helper(self, function: Any) -> str:
        return self.text.reference(function)

    def constant(self, var: Var, value: Any) -> str:
        if core.is_traced(value):
            raise errors.ProgramError(
                f"The constant {var.name} of the Wengert list of {self.program.name} is a traced array of an outer "
                "transform. Its value exists only while that transform runs. Compile or write out the outermost list."
            )
        return self.text.constant(value, var.name) if type(value) is np.ndarray else self.text.literal(value)

    def operand(self, atom: Var | Literal) -> str:
        return self.names[atom] if type(atom) is Var else self.text.literal(atom.value)  # type: ignore[union-attr]

    # ------------------------------------------------------------------------------------------------------ the body

    def equations(self, work: list[str]) -> None:
        quiet = _quiet_lines(self.program.equations)
        for k, eqn in enumerate(self.program.equations):
            if quiet[k] != (len(self.indent) > 4):
                if quiet[k]:
                    self.line('with np.errstate(all="ignore"):')
                self.indent = "        " if quiet[k] else "    "
            self.equation(k, eqn, work)
            for var in eqn.outputs:
                self.guard(var)
            if k in self.plan.dropped:
                self.line(f"del {', '.join(self.names[var] for var in self.plan.dropped[k])}")
        self.indent = "    "

    def equation(self, k: int, eqn: Equation, work: list[str]) -> None:
        texts = [self.operand(atom) for atom in eqn.inputs]
        targets = ", ".join(self.names[var] for var in eqn.outputs)
        lowered = control.CONTROL.get(eqn.primitive.name)
        if lowered is not None:
            lowered(self, eqn, texts, [self.names[var] for var in eqn.outputs])
        elif k in self.plan.target:
            self.line(f"{targets} = {spell_into(eqn, texts, work[self.plan.target[k]], self.text)}")
        else:
            targets += "," * (len(eqn.outputs) == 1 and eqn.primitive.multiple)
            self.line(f"{targets} = {spell(eqn, texts, self.text)}" if targets else spell(eqn, texts, self.text))
        if reuse.is_fresh(eqn):
            self.fresh_results.update(eqn.outputs)
        if reuse.is_dense(eqn):
            self.dense_results.update(eqn.outputs)

    def body(self, program: WengertList, name: str) -> str:
        """The name of a function of the module that runs the body of a loop or branch."""
        known = self.text.bodies.get(id(program))
        if known is None:
            known = program, self.text.fresh(f"_{self.name.strip('_')}_{name}")
            self.text.bodies[id(program)] = known
            self.text.functions.append(Writer(self.text, program, known[1], False, self.buffers).write())
        return known[1]

    def guard(self, var: Var) -> None:
        for expected in self.guards.get(var, ()):
            expected = np.asarray(expected, var.aval.dtype)[()]
            name = self.names[var]
            if var.aval.dtype.kind == "b" and not np.ndim(expected):
                test = f"not {name}" if expected else name
            elif var.aval.dtype.kind in "iu" and not np.ndim(expected):
                test = f"{name} != {int(expected)}"
            else:
                test = f"not {self.helper(same)}({name}, {self.text.literal(expected)})"
            self.line(f"if {test}:")
            if self.text.standalone:
                shown = np.array2string(np.asarray(expected), threshold=6).replace("\n", " ")
                message = f"this specialisation of {self.name} holds only where {name} is {shown}"
                self.line(f"    raise ValueError({message!r})")
            else:
                if self.spare:
                    self.line(f"    {self.spare}.append({self.work})")
                self.line("    return None")

    def result(self) -> str:
        texts = []
        given: set[Any] = set()
        for atom in self.program.outputs:
            texts.append(self.owned(atom, given) if self.top else self.operand(atom))
            given.add(atom)
        if self.top and not self.text.standalone:
            return f"return [{', '.join(texts)}]"
        return f"return {', '.join(texts)}" if texts else "return ()"

    def owned(self, atom: Any, given: set[Any]) -> str:
        """A result as the caller gets it: a NumPy scalar, or an array that shares memory with nothing else."""
        text, aval = self.operand(atom), atom.aval
        if aval.weak and aval.dtype.kind in "fc":
            return f"{literals.scalar_type(aval.dtype)}({text})"
        if aval.scalar or aval.weak:
            return text
        if atom not in given and atom in self.fresh_results:
            return text if atom in self.dense_results else f"{self.helper(owned)}({text})"
        return f"{text}.copy()"

    # ----------------------------------------------------------------------------------------------------- the frame

    def take_work(self, work: list[str]) -> None:
        specs = ", ".join(f'({shape}, "{literals.dtype_code(dtype)}")' for shape, dtype in self.plan.specs)
        names = ", ".join(work) + "," * (len(work) == 1)
        self.line(f"{names} = {self.work} = {self.helper(take)}({self.spare}, {specs})")

    def arguments(self) -> None:
        for var in self.program.inputs:
            name, aval = self.names[var], var.aval
            call = f'{self.helper(argument)}("{name}", {name}, {literals.scalar_type(aval.dtype)}, {aval.shape})'
            self.line(f"{name} = {call}{'.item()' if aval.weak else '[()]' if aval.scalar else ''}")

    def docstring(self) -> list[str]:
        if not self.top:
            return []
        shown = [f"{self.names[var]}: {_describe(var.aval)}" for var in self.program.inputs]
        results = ", ".join(_describe(atom.aval) for atom in self.program.outputs) or "nothing"
        first = f'    """{_title(self.program)}'
        return [first, "", *(f"    {line}" for line in shown), f"    Returns {results}.", '    """']


def _title(program: WengertList) -> str:
    count = len(program.equations)
    shown = program.name if program.name.isidentifier() else "a function"
    return f"The Wengert list of {shown}, {count} operation{'s' if count != 1 else ''}, as straight-line NumPy."


def _describe(aval: Aval) -> str:
    if aval.weak:
        return f"Python {WEAK_KINDS[aval.dtype.kind].__name__}"
    return str(aval) if aval.shape else f"{aval} {'scalar' if aval.scalar else 'array without axes'}"


def _quiet_lines(equations: Sequence[Equation]) -> list[bool]:
    """Which lines run with floating-point warnings off: those of derivative rules, and silent ones beside them."""
    quiet: list[bool] = []
    for eqn in equations:
        silent = eqn.primitive.name in SILENT and bool(quiet)
        quiet.append(quiet[-1] if silent else eqn.quiet)
    return quiet


def _wrapped(line: str) -> str:
    """A long line, broken after commas inside brackets."""
    if len(line) <= WIDTH:
        return line
    pad = " " * (len(line) - len(line.lstrip()) + 4)
    rows: list[str] = []
    depth, start, cut, quoted = 0, 0, 0, ""
    for k, c in enumerate(line):
        if quoted:
            quoted = "" if c == quoted else quoted
        elif c in "\"'":
            quoted = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == " " and depth and line[k - 1] == ",":
            cut = k
        if k - start >= WIDTH - len(pad) * bool(rows) and cut > start:
            rows.append((pad if rows else "") + line[start:cut])
            start = cut + 1
    rows.append((pad if rows else "") + line[start:])
    return "\n".join(rows)


# --------------------------------------------------------------------------------------------------------- faces


def generate(program: WengertList, name: str = "f") -> str:
    """A Python module that needs NumPy only, with a function `name` that does what the list says.

    The function takes the leaves of the arguments, and returns the leaves of the result: one value, or a tuple. It
    raises ValueError for arguments of another dtype or shape, and where a value guard of the list fails.

    Raises `ProgramError` where the list holds what no text can express: a function of another library, say.

    >>> import wengert as wg
    >>> from wengert.compile import source
    >>> text = source.generate(wg.trace(lambda x, y: x * y + 1.0)(np.ones(3), np.ones(3)))
    >>> print("\\n".join(line for line in text.splitlines() if " = x1 * " in line or "return v2" in line))
        v1 = x1 * x2
        return v2
    """
    text, _ = _written(program, name, standalone=True)
    plural = "s" if len(program.equations) != 1 else ""
    header = f'"""Written by wengert: {len(program.equations)} operation{plural} of NumPy, and nothing else needed."""'
    return text.render(header)


def _written(program: WengertList, name: str, standalone: bool, buffers: bool = True) -> tuple[Text, str]:
    text = Text(standalone)
    name = text.fresh(name.lstrip("_") or "f")
    writer = Writer(text, program, name, True, buffers)
    try:
        text.functions.insert(0, writer.write())
    except Unwritable as error:
        raise errors.ProgramError(
            f"The Wengert list of {program.name} cannot be written as a module of its own: it holds {error}. Text can "
            "express numbers, arrays, and functions of NumPy's or with a source. Replace that object, or run the list "
            "itself."
        ) from error
    return text, name


class Executable:
    """A list as a Python function of NumPy: call it with the leaves of the arguments, in order.

    Returns the results in order, which the caller owns; None where a value guard of the list failed. Any number of
    threads may call it at once.

    >>> import wengert as wg
    >>> from wengert.compile import source
    >>> run = source.compile(wg.trace(lambda x: x * x + 1.0)(2.0))
    >>> run([3.0])
    [np.float64(10.0)]
    """

    __slots__ = ("__weakref__", "_arrays", "_dense", "_function", "_loose", "program", "source")

    def __init__(self, program: WengertList) -> None:
        self.program = program
        self._arrays = [k for k, var in enumerate(program.inputs) if var.aval.ndim > 1]
        self._loose: Any = None
        self.source, self._function, self._dense = self._made(buffers=True)

    def __call__(self, leaves: Sequence[Any]) -> list[Any] | None:
        if not self._dense:
            for k in self._arrays:
                if not leaves[k].flags.c_contiguous:  # results would come out in another memory order
                    if self._loose is None:
                        _, self._loose, _ = self._made(buffers=False)
                    return self._loose(*leaves)  # type: ignore[no-any-return]
        return self._function(*leaves)  # type: ignore[no-any-return]

    def _made(self, buffers: bool) -> tuple[str, Any, bool]:
        """The text, the function, and whether it holds for any memory order (it has no work arrays)."""
        text, name = _written(self.program, self.program.name, standalone=False, buffers=buffers)
        source = text.render(f'"""The Wengert list of {name}, as run by wengert."""')
        file = f"<wengert {name} {next(_numbers)}>"
        namespace: dict[str, Any] = {"__name__": file, **text.objects}
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        weakref.finalize(self, _forget, file, namespace).atexit = False
        exec(builtins.compile(source, file, "exec"), namespace)
        return source, namespace[name], not any(key.startswith("_spare_") for key in namespace)


_numbers = itertools.count(1)


def _forget(file: str, namespace: dict[str, Any]) -> None:
    """Free the function, which refers to its namespace and that to it, at once."""
    linecache.cache.pop(file, None)
    namespace.clear()


def compile(program: WengertList) -> Executable:
    """The list as straight-line NumPy with work arrays, ready to be called."""
    return Executable(program)


__all__ = ["Executable", "compile", "generate"]
