"""`jit`: a function staged once for each kind of call, and run from its list."""

from __future__ import annotations

import copy
import functools
import operator
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from wengert import core, errors, tree
from wengert.compile.differentiated import call_traced, concrete_arguments
from wengert.compile.evaluator import Evaluator
from wengert.compile.staging.calls import Call, Splitter, static_places
from wengert.compile.staging.checking import compare
from wengert.compile.staging.comparing import same_list
from wengert.compile.staging.fresh import note_fresh
from wengert.compile.staging.rebinding import rebound
from wengert.compile.staging.staging import Staged, stage
from wengert.program import WengertList

Executable = Callable[[Sequence[Any]], "list[Any] | None"]

_states = threading.local()  # whether this thread is staging


def jit(
    function: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate: int | Iterable[int] = (),
    check: bool = False,
    backend: str | None = None,
    max_specializations: int = 16,
) -> Any:
    """A function that gives the same results as `function`, from a list that is written at the first call.

    Numbers and arrays among the arguments are the inputs of the list; everything else (strings, functions, objects) is
    static: another value is staged anew. So is another shape or dtype, and another outcome of an `if` on a value.
    Captured arrays are read at each call; when a captured variable, a global or an attribute that the code names is
    bound to something else, the function is staged anew.

    What no guard sees stays as it was when the function was staged: the time, files, variables of installed packages,
    attributes that code of theirs looks up. What `function` prints happens while it is staged, twice, and not again.
    Python integers among the arguments are 64 bits wide.

    Parameters: `static_argnums` and `static_argnames`, arguments that are static though they are numbers; `donate`,
    positions of arguments whose arrays may be overwritten; `check`, whether to compare each call with `function`
    itself; `backend`, how lists are run; `max_specializations`, how many lists there may be for arguments of the same
    shapes, beyond which calls run the function itself, with a warning.

    Raises StagingError (a TypeError) where `function` does not do the same twice (random numbers, counters); CheckError
    where `check` finds a difference.

    >>> import numpy as np, wengert as wg
    >>> @wg.jit
    ... def f(x):
    ...     return np.log(np.sin(x**2) + np.exp(x))
    >>> f(1.5)
    np.float64(1.6600858293833634)
    >>> wg.jit(wg.grad(f))(1.5)
    np.float64(0.4937805304154178)
    """
    options: dict[str, Any] = {
        "static_argnums": _positions(static_argnums, "static_argnums"),
        "static_argnames": (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames),
        "donate": _positions(donate, "donate"),
        "check": check,
        "backend": backend,
        "max_specializations": max_specializations,
    }
    if function is None:
        return functools.partial(_new, **options)
    return _new(function, **options)


def _positions(given: int | Iterable[int], name: str) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, given if isinstance(given, Iterable) else (given,)))
    except TypeError:
        raise errors.ArgumentError(
            f"{name}={given!r} is not a position. It says which positional arguments are meant. Give an integer, or a "
            f"tuple of integers, such as {name}=0 or {name}=(0, 2)."
        ) from None


class Specialization:
    """One staged list of a jitted function, with its executable and what it holds for."""

    __slots__ = (
        "_entry", "_whole", "backend", "executable", "free", "group", "guards", "hidden", "out_tree", "reason",
        "seconds", "slow_calls", "staged", "statics",
    )  # fmt: skip

    def __init__(
        self,
        staged: Staged,
        call: Call,
        executable: Executable,
        backend: str,
        seconds: float,
        reason: str,
        entry: Any = None,
    ) -> None:
        self.staged = staged
        self.group = call.group
        self.statics = call.statics
        self.executable = executable
        self.backend = backend
        self.seconds = seconds
        self.reason = reason
        self.slow_calls = 0  # those that went through Python
        self._entry = entry
        self.guards = staged.guards
        self.hidden = staged.hidden
        self.free = staged.free
        self.out_tree = staged.out_tree
        self._whole = [k for k, atom in enumerate(staged.program.outputs) if atom.aval.weak]  # Python integers

    @property
    def calls(self) -> int:
        """How many calls it has answered."""
        return self.slow_calls + (0 if self._entry is None else self._entry.calls)

    @property
    def program(self) -> WengertList:
        return self.staged.program

    def run(self, leaves: list[Any]) -> list[Any] | None:
        """The results as leaves; None where a guard fails."""
        for guard in self.guards:
            if not guard.holds():
                return None
        inputs = [*leaves, *self.hidden] if self.hidden else leaves
        try:
            outs = self.executable(inputs)
        except Exception:  # which may come from a branch that is not taken for these values: guards are checked later
            if not self.program.guards or Evaluator(self.program)(inputs) is not None:
                raise
            return None
        if outs is not None:
            self.slow_calls += 1
            for k in self._whole:
                outs[k] = int(outs[k])
        return outs

    def says(self, staged: Staged) -> bool:
        """Whether this is what was staged."""
        return (
            all(guard.holds() for guard in self.guards)
            and same_list(self.program, staged.program)
            and all(map(_is, self.hidden, staged.hidden))
        )

    def rebound(self) -> Specialization | None:
        """The same list for the arrays that captured variables hold now; None where more than arrays has changed."""
        if not self.free:
            return None
        found = rebound(self.guards, self.hidden, self.free)
        if found is None:
            return None
        made = copy.copy(self)
        made.guards, made.hidden = found
        pairs = zip(self.hidden, made.hidden, strict=True)
        made.free = frozenset(id(now) for old, now in pairs if id(old) in self.free)
        made.staged = Staged(self.program, made.hidden, made.guards, made.free, self.out_tree)
        return made

    def __repr__(self) -> str:
        count = len(self.program.inputs) - len(self.hidden)
        given = ", ".join(str(var.aval) for var in self.program.inputs[:count])
        lines = [
            f"({given}): {len(self.program)} operations, {self.backend}, made in {self.seconds * 1e3:.1f} ms, "
            f"{self.calls} call{'s' if self.calls != 1 else ''}; {self.reason}"
        ]
        lines += [f"  static {static!r}" for static in self.statics]
        lines += [f"  reads {var.name}: {var.aval}" for var in self.program.inputs[count:]]
        lines += [f"  while {var.name} is {value}" for var, value in self.program.guards]
        lines += [f"  while {guard}" for guard in self.guards]
        return "\n".join(lines)


def _is(one: Any, other: Any) -> bool:
    return one is other


class Report(list[Specialization]):
    """The specialisations of a jitted function, to print or to go through."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) if self else "no specialisations yet"


class Text(str):
    """Text that the interactive interpreter shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Jitted:
    """A jitted function. Callable, documented like the original, usable as a method, and picklable when it is."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        if not callable(function):
            raise errors.ArgumentError(
                f"jit was given {function!r}, which is not callable. It compiles a function and returns a new one. "
                "Call it as jit(f)(x), not jit(f(x))."
            )
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.options = options
        self._check = options["check"]
        self._split = Splitter(*static_places(function, options["static_argnums"], options["static_argnames"]))
        self._table: dict[Any, tuple[Specialization, ...]] = {}
        self._counts: dict[Any, int] = {}
        self._lock = threading.RLock()
        self._warned = False
        self._forget = _Forgetter(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function: from its list where one fits, else after staging it."""
        call = self._split(args, kwargs)
        if call is None:
            return self._traced(args, kwargs)
        if self._check:
            return self._checked(call)
        for made in self._table.get(call.key, ()):
            outs = made.run(call.leaves)
            if outs is not None:
                return tree.unflatten(made.out_tree, outs)
        return self._miss(call)

    def _traced(self, args: Any, kwargs: Any) -> Any:
        """A call inside a transform: a call of the list where that is possible, else of the function itself."""
        plain = concrete_arguments(args, kwargs)
        if plain is not None and not self._check:
            call = self._split(*plain)
            assert call is not None
            bucket = self._table.get(call.key, ())
            made = next((found for found in bucket if all(guard.holds() for guard in found.guards)), None)
            if made is None:
                with _Staging(self._lock) as admitted:
                    room = self._counts.get(call.group, 0) < self.options["max_specializations"]
                    made = self._make(call) if admitted and room else None
            if made is not None and not made.program.guards:
                leaves = call.inputs(self._split.flat(args, kwargs)[0])
                return call_traced(made.program, leaves, made.hidden, made.out_tree)
        return self.function(*args, **kwargs)

    def _miss(self, call: Call) -> Any:
        """A call that no list fits: stage it, or run the function itself."""
        leaves = call.leaves
        with _Staging(self._lock) as admitted:
            if admitted:
                bucket = self._table.get(call.key, ())
                for made in bucket:  # another thread may have made it meanwhile
                    outs = made.run(leaves)
                    if outs is not None:
                        return tree.unflatten(made.out_tree, outs)
                for k, made in enumerate(bucket):
                    again = made.rebound()
                    outs = None if again is None else again.run(leaves)
                    if again is not None and outs is not None:
                        self._table[call.key] = (again, *bucket[:k], *bucket[k + 1 :])
                        return tree.unflatten(again.out_tree, outs)
                if self._counts.get(call.group, 0) < self.options["max_specializations"]:
                    made_now = self._make(call)
                    if made_now is None:  # a traced array is captured
                        args, kwargs = call.rebuild(leaves, call.values())
                        return self.function(*args, **kwargs)
                    outs = made_now.run(leaves)
                    if outs is not None:
                        return tree.unflatten(made_now.out_tree, outs)
                elif not self._warned:
                    self._warned = True
                    warnings.warn(self._why_eager(call), errors.JitWarning, stacklevel=3)
        return self._eager(call, leaves)

    def _make(self, call: Call) -> Specialization | None:
        """Stage, compile and enter a new specialisation; None where a traced array is captured."""
        start = time.perf_counter()
        name = getattr(self.function, "__name__", type(self.function).__name__)
        staged = stage(self.function, call, call.values(), name, self)
        if staged is None:
            return None
        known = self._table.get(call.key, ())
        for made in known:  # where the same list rounds a branch to the other side, another copy would do so too
            if made.says(staged):
                return made
        from wengert.compile import pipeline  # what makes machine code is imported by the first compilation

        entry = pipeline.new_entry(self, call, staged)
        donated = call.numbers(self.options["donate"])
        executable, backend = pipeline.compile_program(staged.program, self.options["backend"], entry, donated)
        reason = "a branch on a value or the environment had changed" if known else "new shapes, dtypes or statics"
        made = Specialization(staged, call, executable, backend, time.perf_counter() - start, reason, entry)
        if not self._table:
            note_fresh(self, self.function, call.group)
        for static in call.statics:
            static.weaken(self._forget)
        self._counts[call.group] = self._counts.get(call.group, 0) + 1
        self._table[call.key] = (made, *known)
        if entry is not None:
            entry.publish()
        return made

    def _why_eager(self, call: Call) -> str:
        found = [made for bucket in self._table.values() for made in bucket if made.group == call.group]
        asked = sorted({var.name for made in found for var, _ in made.program.guards})
        changed = sorted({guard.where for made in found for guard in made.guards if not guard.holds()})
        causes = [f"the values of {', '.join(asked)} that its branches ask for"] if asked else []
        causes += [f"`{', '.join(changed)}`"] if changed else []
        return (
            f"{self!r} has {len(found)} specialisations for arguments of the same shapes, and now runs as plain Python "
            f"where none fits. What differs from call to call: {' and '.join(causes) or 'static arguments'}. Pass such "
            "values as arguments and use np.where or wengert.cond instead of branching on them, or raise "
            "max_specializations; jit(f).specializations() lists them."
        )

    def _eager(self, call: Call, leaves: list[Any]) -> Any:
        """The function itself, with results as a list gives them, on copies of what it could change."""
        args, kwargs = call.rebuild([x.copy() if type(x) is np.ndarray else x for x in leaves], call.values())
        found, out_tree = _result_leaves(self.function(*args, **kwargs))
        taken: set[int] = set()
        return tree.unflatten(out_tree, [core.owned(leaf, taken) for leaf in found])

    def _checked(self, call: Call) -> Any:
        """A call that is compared with the function itself."""
        leaves = call.leaves
        copies = [x.copy() if type(x) is np.ndarray else x for x in leaves]
        expected = self._eager(call, copies)
        found = self._uncompared(call)
        compare(found, expected, repr(self))
        return found

    def _uncompared(self, call: Call) -> Any:
        for made in self._table.get(call.key, ()):
            outs = made.run(call.leaves)
            if outs is not None:
                return tree.unflatten(made.out_tree, outs)
        return self._miss(call)

    def lower(self, *args: Any, **kwargs: Any) -> Specialization:
        """The specialisation that a call with these arguments would use, made where there is none."""
        call = self._split(args, kwargs)
        if call is None:
            raise errors.ArgumentError(
                "lower was called with a traced array. A list is made for plain arrays, with their shapes and dtypes. "
                "Call it outside the transform."
            )
        for made in self._table.get(call.key, ()):
            if made.run(call.leaves) is not None:
                made.slow_calls -= 1
                return made
        with self._lock:
            found = self._make(call)
        if found is None:
            raise errors.ArgumentError(
                "lower met a traced array that the function has captured. A list is made for plain arrays, with their "
                "shapes and dtypes. Call it outside the transform."
            )
        return found

    def show(self, stage: str = "stage", *args: Any, **kwargs: Any) -> Text:
        """A stage of the compilation as text: of the call with these arguments, or of the last one made."""
        from wengert.compile import pipeline

        pipeline.check_stage(stage)
        return Text(pipeline.STAGES[stage](self._chosen(args, kwargs).program))

    def source(self, *args: Any, **kwargs: Any) -> Text:
        """A Python module that needs NumPy only, for the call with these arguments, or the last one made."""
        return self.show("source", *args, **kwargs)

    def _chosen(self, args: Any, kwargs: Any) -> Specialization:
        if args or kwargs:
            return self.lower(*args, **kwargs)
        if not self._table:
            raise errors.ArgumentError(
                "The function has not been called yet, so nothing is staged. Shapes and dtypes are known from a call "
                "only. Call it first, or give example arguments."
            )
        return self.specializations()[-1]

    def specializations(self) -> Report:
        """What the function was staged for, in the order of making, with the reasons, guards and counts of calls."""
        return Report(made for bucket in list(self._table.values()) for made in reversed(bucket))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"jit({getattr(self.function, '__qualname__', self.function)})"

    def __reduce__(self) -> Any:
        name = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (_rebuild, (self.function, self.options))


def _new(function: Any, **options: Any) -> Jitted:
    """A jitted function: of the type whose calls are native where there is one, else a plain instance of Jitted."""
    from wengert.compile import pipeline

    pipeline.check_backend(options["backend"])
    made = pipeline.new_jitted(Jitted) if options["backend"] in (None, "native") and not options["check"] else None
    if made is None:
        return Jitted(function, **options)
    Jitted.__init__(made, function, **options)
    return made  # type: ignore[no-any-return]


def _rebuild(function: Any, options: dict[str, Any]) -> Jitted:
    return _new(function, **options)


class _Staging:
    """Holds the lock of a jitted function while it stages.

    A thread that is staging already does not wait for another function's lock, which that other thread may hold while
    it waits for ours: it gets False, and calls the function as it is.
    """

    __slots__ = ("_held", "_lock")

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> bool:
        depth = getattr(_states, "depth", 0)
        self._held = self._lock.acquire(blocking=depth == 0)
        if self._held:
            _states.depth = depth + 1
        return bool(self._held)

    def __exit__(self, *_: Any) -> None:
        if self._held:
            _states.depth -= 1
            self._lock.release()


class _Forgetter:
    """Drops what was staged for a static argument when that object is gone."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Jitted) -> None:
        self._owner = weakref.ref(owner)

    def __call__(self, _: Any) -> None:
        owner = self._owner()
        if owner is None:
            return
        for key, bucket in list(owner._table.items()):
            if any(static.dead for static in bucket[0].statics):
                owner._table.pop(key, None)
                group = bucket[0].group
                owner._counts[group] = owner._counts.get(group, 0) - len(bucket)


# ---------------------------------------------------------------------------------------------------------- results


def _result_leaves(result: Any) -> tuple[list[Any], Any]:
    found, out_tree = tree.flatten(result)
    for k, leaf in enumerate(found):
        found[k] = core.as_operand(leaf)
    return found, out_tree


# ---------------------------------------------------------------------------------------------------------- backend


__all__ = ["Jitted", "Report", "Specialization", "jit"]
