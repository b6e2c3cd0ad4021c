"""Staging under `jit`: one call of a function, written as a Wengert list with guards.

The function runs on Symbols that carry the arguments' values, twice, and both lists must be the same. A number that it
asks for becomes a guard; an array that it captured becomes a hidden input, read anew at each call; an array that it
made itself is baked in.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.compile.staging.calls import INT64, Call
from wengert.compile.staging.comparing import check_alike, holds, same_memory, unlike
from wengert.compile.staging.environment import REACH_LIMIT, Border, Environment
from wengert.compile.staging.guards import ContentsGuard, Guard, digest
from wengert.compile.staging.shadows import Shadows
from wengert.core import FLOAT_ERRORS, IGNORED, TRACED, Primitive, Symbol, TracedArray, aval_of, new_traced
from wengert.ops.elementwise import positive
from wengert.program import Equation, Literal, StageTrace, Var, WengertList
from wengert.transforms import arguments

LONG: Final = 500  # steps of a loop from which on staging compiles it to know its values


class Staged:
    """A list and what it depends on.

    program   its inputs are the leaves of the arguments, then the hidden inputs; its constants are its own
    hidden    captured arrays, in the order of the last inputs of the list; their contents are read at each call
    guards    of the environment: the list holds while each holds
    free      the ids of those hidden arrays that may be replaced by others of the same shape and dtype
    out_tree  the structure of the result
    """

    __slots__ = ("free", "guards", "hidden", "out_tree", "program")

    def __init__(
        self,
        program: WengertList,
        hidden: list[np.ndarray[Any, Any]],
        guards: list[Guard],
        free: frozenset[int],
        out_tree: Any,
    ) -> None:
        self.program = program
        self.hidden = hidden
        self.guards = guards
        self.free = free
        self.out_tree = out_tree


class JitTrace(StageTrace):
    """Writes a list, notes each value that is asked of it, and keeps the arrays that it met apart."""

    __slots__ = ("_asked", "_captured", "_grown", "_said", "_symbols", "met", "outer", "overwritten")
    notes_values = True

    def __init__(self, name: str, captured: dict[int, Any]) -> None:
        super().__init__(name)
        self.met: dict[Var, tuple[np.ndarray[Any, Any], Any]] = {}  # the array itself, and what it held when it was met
        self.overwritten = False  # whether the function wrote into a captured array
        self.outer = False  # whether it met a traced array, which belongs to a transform outside
        self._captured = captured
        self._asked: set[Var] = set()
        self._said: dict[Any, list[Var]] = {}  # what lines have computed, so that it is computed once
        self._grown: set[Var | Literal] = set()  # integers beyond 64 bits, which stand in the list as floats
        self._symbols: list[tuple[Symbol, np.ndarray[Any, Any]]] = []  # of captured arrays

    def atom(self, value: Any) -> Var | Literal:
        if type(value) is Symbol and value._trace is self:
            return value._info  # type: ignore[no-any-return]
        core.check_not_newer(value, self)
        if type(value) in TRACED:
            self.outer = True
            return super().atom(value)
        if type(value) is int and value not in INT64:
            found = Literal(float(value))  # which is right beside a float; beside an integer, `weakened` refuses
            self._grown.add(found)
            return found
        if type(value) is not np.ndarray:
            return Literal(value)
        known = self._constants.get(id(value))
        if known is not None and holds(known[2], value):
            return known[0]
        if not value.dtype.isnative:  # as the arguments: what follows knows native arrays only
            return self.atom(value.astype(value.dtype.newbyteorder("=")))
        var = Var(f"c{len(self.program.constants) + 1}", aval_of(value))
        # A captured array is read at each call, so its digest is enough; another may be overwritten by what follows.
        kept = digest(value) if id(value) in self._captured or id(value.base) in self._captured else _copied(value)
        self._constants[id(value)] = var, value, kept
        self.met[var] = value, kept
        self.program.constants.append((var, value))
        return var

    def weakened(self, x: TracedArray) -> None:
        """Note that a result is a Python number."""
        if type(x._value) is int and (
            x._value not in INT64 or not self._grown.isdisjoint(self.program.equations[-1].inputs)
        ):
            raise _beyond_64_bits()
        super().weakened(x)

    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        key = self._key(primitive, args, params)
        if key in self._said:
            again = [new_traced(Symbol, self, var.example, var) for var in self._said[key]]
            return tuple(again) if primitive.multiple else again[0]
        out = self._processed(primitive, args, params)
        if key is not None:
            self._said[key] = self.program.equations[-1].outputs
        return out

    def _key(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """What equal lines have in common; None for those that are not compared.

        A recursive function, such as a determinant by minors, computes the same many times over, and its derivative
        even more often. Found here, neither is written at all.
        """
        parts: list[Any] = [primitive, FLOAT_ERRORS.get() is IGNORED]
        for arg in args:
            if type(arg) is Symbol and arg._trace is self and not arg._info.aval.weak:
                parts.append(arg._info)
            elif type(arg) in (int, float):
                parts.append((type(arg), repr(arg)))
            else:
                return None
        for name, value in params.items():
            if type(value) not in (int, bool, str, type(None)) and not _plain(value):
                return None
            parts.append((name, value if type(value) is not tuple else tuple(map(repr, value))))
        return tuple(parts)

    def computed(self, primitive: Primitive, examples: Sequence[Any], params: dict[str, Any]) -> Any:
        """The result of a line; that of a long loop by compiled code, which is a hundred times faster."""
        if params.get("length", 0) < LONG or not primitive.composite or any(type(x) in TRACED for x in examples):
            return super().computed(primitive, examples, params)
        from wengert.compile import pipeline  # loaded by the first compilation

        return pipeline.run_line(primitive, examples, params)

    def _processed(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        try:
            return super().process(primitive, args, params)
        except OverflowError:
            if any(type(arg) is int and arg not in INT64 for arg in args):
                raise _beyond_64_bits() from None
            raise

    def symbol(self, array: np.ndarray[Any, Any]) -> Symbol:
        """What stands for a captured array."""
        symbol: Symbol = new_traced(Symbol, self, array, self.atom(array))
        self._symbols.append((symbol, array))
        return symbol

    def close(self) -> None:
        """End the trace. Its Symbols, which point to it, are let go, so that it is no cycle."""
        self.overwritten = any(symbol._value is not array for symbol, array in self._symbols)
        self._symbols.clear()
        super().close()

    def drop(self) -> None:
        """Let go of all values: what is left, such as the shadow of a recursive function, may be a cycle."""
        self.met.clear()
        self._constants.clear()
        self._said.clear()
        for var in self.program.inputs:
            var.example = None
        for eqn in self.program.equations:
            for var in eqn.outputs:
                var.example = None

    def concrete(self, x: TracedArray) -> Any:
        value = super().concrete(x)
        var = x._info
        if var not in self._asked:
            self._asked.add(var)
            self.program.guards.append((var, np.array(value) if type(value) is np.ndarray else value))
        return value


def _beyond_64_bits() -> errors.StagingError:
    return errors.StagingError(
        "An integer under jit grew beyond 64 bits. Python's integers have no end, but those of a list are int64, which "
        "would wrap around. Make the argument that it comes from static (static_argnums), so that Python computes it, "
        "or use floats."
    )


def _plain(value: Any) -> bool:
    """Whether it is a tuple of numbers and the like, which their text tells apart."""
    return type(value) is tuple and all(type(item) in (int, bool, str, slice, type(None), type(...)) for item in value)


def _copied(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return value.copy(order="K")


def stage(
    function: Callable[..., Any], call: Call, statics: Sequence[Any], name: str, own: Any = None
) -> Staged | None:
    """Stage one call; None where it reaches traced arrays of a transform outside, and must be made as it is.

    `statics` are values among the arguments that are no inputs; `own` is the jitted function itself, which is never
    held. Raises StagingError where two runs of the function do not do the same.
    """
    environment = Environment([(function, ""), *((value, "argument") for value in statics)], own)
    if environment.traced:
        return None
    if environment.exceeded:
        raise errors.StagingError(
            f"A function under jit reaches more than {REACH_LIMIT} objects through its closure, its globals and their "
            "attributes. Whether any of them has changed would have to be seen at each call. Pass the arrays that it "
            "needs as arguments."
        )
    shadowed = any(array.dtype.kind in "fc" for array, _ in environment.arrays.values())
    staging = Staging(function, call, statics, name, own)
    if not shadowed:
        return staging.run(environment, False)
    try:
        return staging.run(environment, True)
    except errors.StagingError:
        raise
    except Exception:  # such as that of a function which takes plain arrays only: then contents are compared instead
        return staging.run(environment, False)


class Staging:
    """The two runs of a function that stage one call."""

    def __init__(self, function: Any, call: Call, statics: Sequence[Any], name: str, own: Any) -> None:
        self.function = function
        self.call = call
        self.statics = statics
        self.name = name
        self.own = own

    def run(self, environment: Environment, shadowed: bool) -> Staged | None:
        """Run the function twice; None where it met traced arrays of a transform outside."""
        draws = Draws(environment.generators)
        before = {key: digest(array) for key, (array, _) in environment.arrays.items()}
        first, plain = self._once(environment, draws, shadowed)
        if first.outer:
            return None
        if not all(guard.holds() for guard in environment.guards):  # as where a cache is filled by the first call
            environment = Environment([(self.function, ""), *((value, "argument") for value in self.statics)], self.own)
        with np.errstate(all="ignore"):  # the first run has warned
            second, plain = self._once(environment, draws, shadowed)
        changed = next((guard.where for guard in environment.guards if not guard.holds()), "")
        for key, (array, where) in plain.items():
            if before.get(key) not in (None, digest(array)):
                changed = where
        if changed:
            raise _changes(changed)
        try:
            return _settle(first, second, environment, plain)
        finally:
            first.drop()
            second.drop()

    def _once(self, environment: Environment, draws: Draws, shadowed: bool) -> tuple[JitTrace, dict[int, Any]]:
        """The trace of one run, and the captured arrays that it could see as they are."""
        trace = JitTrace(self.name, environment.arrays)
        symbols = [trace.input(aval_of(leaf), leaf) for leaf in self.call.leaves]
        function, statics = self.function, self.statics
        shadows = Shadows(trace.symbol, Border(function))
        if shadowed:
            function, statics = shadows.of(function), [shadows.of(value, "argument") for value in statics]
            plain = Environment([(function, ""), *((value, "argument") for value in statics)], self.own).arrays
        else:
            plain = environment.arrays
        args, kwargs = self.call.rebuild(symbols, statics)
        drawn = ""
        try:
            result = arguments.call(function, args, kwargs)
            leaves, trace.program.out_tree = arguments.result_leaves(result, trace)
            trace.program.outputs = [trace.atom(leaf) for leaf in leaves]
        finally:
            trace.close()
            drawn = draws.restore()
        if trace.outer:
            return trace, plain
        if drawn:
            raise errors.StagingError(
                f"A function under jit drew random numbers from {drawn}. Its list would hold these numbers for ever, "
                "while the function draws new ones at each call. Draw outside and pass the numbers as an argument, or "
                "make the generator inside the function from a seed that is an argument."
            )
        if where := shadows.written() or ("an array that it captured" if trace.overwritten else ""):
            raise _changes(where)
        return trace, plain


def _changes(where: str) -> errors.StagingError:
    return errors.StagingError(
        f"A function under jit changes what it depends on: {where}. A jitted function runs from a list, so the change "
        "would be made while staging and never again. Pass the value as an argument, and return the new one."
    )


class Draws:
    """The states of the random generators that a function can reach: to put back, and to see whether it drew."""

    def __init__(self, generators: list[Any]) -> None:
        self._sources: list[tuple[str, Callable[[], Any], Callable[[Any], None]]] = [
            ("the module random", random.getstate, random.setstate)
        ]
        legacy = sys.modules.get("numpy.random")  # slow to import, so only where somebody has
        if legacy is not None:
            self._sources.append(("np.random", legacy.get_state, legacy.set_state))
        self._sources += [_source(generator) for generator in generators]
        self._before = [pickle.dumps(get()) for _, get, _ in self._sources]

    def restore(self) -> str:
        """Put the states back; the words for the first that had changed, "" for none."""
        drawn = ""
        for (what, get, put), before in zip(self._sources, self._before, strict=True):
            if pickle.dumps(get()) != before:
                put(pickle.loads(before))
                drawn = drawn or what
        return drawn


def _source(generator: Any) -> tuple[str, Callable[[], Any], Callable[[Any], None]]:
    what = f"a {type(generator).__name__} that it captured"
    if isinstance(generator, random.Random):
        return what, generator.getstate, generator.setstate
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", generator)
    return what, lambda: bits.state, lambda state: setattr(bits, "state", state)


# ------------------------------------------------------------------------------------------- comparing the two lists


def _settle(first: JitTrace, second: JitTrace, environment: Environment, plain: dict[int, Any]) -> Staged:
    """The list that both runs gave, with captured arrays as hidden inputs and all others its own."""
    one, other = first.program, second.program
    check_alike(one, other, *({var: kept for var, (_, kept) in trace.met.items()} for trace in (first, second)))
    hidden: list[np.ndarray[Any, Any]] = []
    inputs = list(other.inputs)
    constants: list[tuple[Var, Any]] = []
    used = _used(other)
    for (var, _), (twin, value) in zip(one.constants, other.constants, strict=True):
        if twin not in used:
            continue
        if twin not in second.met:
            constants.append((twin, value))
        elif same_memory(first.met[var][0], second.met[twin][0]):
            if not holds(second.met[twin][1], value):
                raise unlike(f"the array {twin!r} ({twin.aval}), which the function changes after it has used it")
            hidden.append(value)
            inputs.append(twin)
        else:
            kept = second.met[twin][1]
            constants.append((twin, kept if isinstance(kept, np.ndarray) else _copied(value)))
    program = WengertList(inputs, other.name)
    program.constants = constants
    program.equations = [_with_own_params(eqn) for eqn in other.equations]
    program.outputs = [_strong(program, atom) for atom in other.outputs]
    program.guards = other.guards
    contents: list[Guard] = [ContentsGuard(array, None, digest(array), where) for array, where in plain.values()]
    shadowed = {id(array) for array, _ in environment.arrays.values()}.difference(plain, environment.pinned)
    free = shadowed.intersection(map(id, hidden))
    return Staged(program, hidden, environment.guards + contents, frozenset(free), other.out_tree)


def _strong(program: WengertList, atom: Var | Literal) -> Var | Literal:
    """A result as `owned` gives it: a NumPy scalar where the function returns a Python float or complex number."""
    if not atom.aval.weak or atom.aval.dtype.kind not in "fc":
        return atom
    if isinstance(atom, Literal):
        return Literal(atom.aval.dtype.type(atom.value))
    var = Var(f"r{len(program.equations) + 1}", atom.aval._replace(weak=False))
    program.equations.append(Equation(positive, [atom], {}, [var], quiet=True))
    return var


def _used(program: WengertList) -> set[Any]:
    """The variables that are read by a line, returned or asked for."""
    found: set[Any] = {atom for eqn in program.equations for atom in eqn.inputs}
    found.update(program.outputs)
    found.update(var for var, _ in program.guards)
    return found


def _with_own_params(eqn: Equation) -> Equation:
    """The equation with copies of the arrays among its params, such as indices, which users could change."""
    if not _has_array(eqn.params):
        return eqn
    return Equation(eqn.primitive, eqn.inputs, _own(eqn.params), eqn.outputs, eqn.quiet)


def _has_array(value: Any) -> bool:
    if type(value) is dict:
        return any(map(_has_array, value.values()))
    return type(value) is np.ndarray or (type(value) in (tuple, list) and any(map(_has_array, value)))


def _own(value: Any) -> Any:
    if type(value) is dict:
        return {key: _own(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(_own, value))
    return value.copy() if type(value) is np.ndarray else value


__all__ = ["JitTrace", "Staged", "stage"]
