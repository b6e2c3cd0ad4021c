"""A list being rewritten from its first line to its last: what rewrites look at, and with what they build new lines.

A rewrite is a function of the sweep and a line. It returns None where it does not apply, an atom that has the same
value as the line's result, or a `Line` that computes it. A rewrite whose result would have another shape or dtype than
the line's is dropped, so rewrites need not reason about promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from wengert.avals import Aval
from wengert.compile.passes import facts
from wengert.compile.passes.editing import Atom, Names, counts, renamed, substituted
from wengert.compile.passes.facts import Fact
from wengert.compile.passes.fold import computed
from wengert.core import PLAIN, REGISTRY, Primitive
from wengert.ops.kinds import Elementwise
from wengert.ops.vector import Stated, aligned
from wengert.program import Equation, Literal, Var, WengertList

FUEL: Final = 16  # rewrites of one line in one sweep


class Line(NamedTuple):
    """A right-hand side: the result of a rewrite."""

    name: str
    inputs: Sequence[Atom]
    params: dict[str, Any]


Rewrite = Callable[["Sweep", Equation], "Atom | Line | None"]
_NOTHING: Final = Equation(REGISTRY["positive"], [], {}, [])


def line(name: str, *inputs: Atom, **params: Any) -> Line:
    return Line(name, inputs, params)


def broadcasts(primitive: Primitive) -> bool:
    """Whether it acts on each element of its operands, which are broadcast."""
    return isinstance(primitive, Elementwise) or (isinstance(primitive, Stated) and primitive.batch_rule is aligned)


class Sweep:
    """One pass over a list. Later lines see earlier ones as they have become."""

    def __init__(self, program: WengertList, rewrites: dict[str, list[Rewrite]], everywhere: list[Rewrite]) -> None:
        self.program = program
        self.rewrites = rewrites
        self.everywhere = everywhere  # rewrites of lines that broadcast
        self.lines: list[Equation] = []
        self.env: dict[Var, Atom] = {}
        self.made_by: dict[Var, Equation] = {}
        self.facts: dict[Var, Fact] = {}
        self.uniform: dict[Var, Literal | None] = {}  # of constant arrays: the number that all elements are
        self.values: dict[Var, Any] = {}
        self.constants: list[tuple[Var, Any]] = []
        self.uses = counts(program)
        self.users = {atom: eqn for eqn in program.equations for atom in eqn.inputs}  # the last one of each
        self.names: Names | None = None
        self.base: Equation = _NOTHING  # the line that is being rewritten
        self.changed = False
        self._broadcasts: dict[Primitive, bool] = {}
        for var, value in program.constants:
            if type(value) in PLAIN:
                self.env[var] = Literal(value)
                self.changed = True
            else:
                self.constants.append((var, value))
                if type(value) is np.ndarray:
                    self.values[var] = value

    def run(self) -> WengertList:
        for eqn in self.program.equations:
            self.place(renamed(eqn, self.env))
        if not self.changed:
            return self.program
        return substituted(self.program, self.env, self.constants, self.lines)

    # ---------------------------------------------------------------------------------------------- rewriting a line

    def place(self, eqn: Equation) -> None:
        """Rewrite a line until no rewrite applies, and add what it has become."""
        outer, self.base = self.base, eqn
        for _ in range(FUEL):
            found = self._rewritten(eqn)
            if found is None:
                break
            self.changed = True
            if not isinstance(found, Equation):
                self.env[eqn.outputs[0]] = found
                self.base = outer
                return
            eqn = found
        self.base = outer
        self.lines.append(eqn)
        for var in eqn.outputs:
            self.made_by[var] = eqn

    def _rewritten(self, eqn: Equation) -> Equation | Atom | None:
        primitive = eqn.primitive
        if primitive.multiple:
            return None
        aval = eqn.outputs[0].aval
        if not aval.shape and not eqn.inputs[0].aval.shape and all(type(atom) is Literal for atom in eqn.inputs):
            known = computed(eqn, [atom.value for atom in eqn.inputs])  # type: ignore[union-attr]
            if known is not None and type(known[0]) in PLAIN:
                return Literal(known[0])
        for rewrite in self.rewrites.get(primitive.name, ()):
            found = rewrite(self, eqn)
            if found is not None:
                fitting = self._fitting(eqn, aval, found)
                if fitting is not None:
                    return fitting
        if aval.shape and self._is_elementwise(primitive):
            for rewrite in self.everywhere:
                found = rewrite(self, eqn)
                if found is not None:
                    fitting = self._fitting(eqn, aval, found)
                    if fitting is not None:
                        return fitting
        return None

    def _is_elementwise(self, primitive: Primitive) -> bool:
        known = self._broadcasts.get(primitive)
        if known is None:
            known = self._broadcasts[primitive] = broadcasts(primitive)
        return known

    def _fitting(self, eqn: Equation, aval: Aval, found: Atom | Line) -> Equation | Atom | None:
        """The result of a rewrite, where it has the aval of the line's result."""
        if not isinstance(found, Line):
            return found if found.aval == aval else None
        primitive = REGISTRY[found.name]
        result = primitive.abstract([atom.aval for atom in found.inputs], found.params)
        if (result.shape, result.dtype) != (aval.shape, aval.dtype) or (
            not aval.shape and result.scalar != aval.scalar
        ):
            return None
        return Equation(primitive, found.inputs, found.params, eqn.outputs, eqn.quiet)

    # ------------------------------------------------------------------------------------------------ building lines

    def new(self, name: str, *inputs: Atom, **params: Any) -> Atom:
        """The result of a new line before the one that is being rewritten."""
        primitive = REGISTRY[name]
        aval = primitive.abstract([atom.aval for atom in inputs], params)
        if self.names is None:
            self.names = Names(self.program)
        var = Var(self.names.after(self.base.outputs[0].name), aval)
        self.place(Equation(primitive, inputs, params, [var], self.base.quiet))
        return self.env.get(var, var)

    def reshaped(self, atom: Atom, shape: tuple[int, ...]) -> Atom:
        return atom if atom.aval.shape == shape else self.new("reshape", atom, shape=shape)

    # --------------------------------------------------------------------------------------------- looking at atoms

    def maker(self, atom: Atom, *names: str) -> Equation | None:
        """The line that computes an atom, where its primitive is one of these."""
        found = self.made_by.get(atom)  # type: ignore[arg-type]
        return found if found is not None and found.primitive.name in names else None

    def once(self, atom: Atom) -> bool:
        """Whether this is the only use of an atom, so that a rewrite which takes its line apart saves it."""
        return self.uses.get(atom, 1) == 1  # type: ignore[arg-type]

    def goes_on(self, eqn: Equation) -> bool:
        """Whether a line's result has one use, in a line of the same kind: whether it is an inner link of a chain."""
        var = eqn.outputs[0]
        user = self.users.get(var)
        return user is not None and user.primitive is eqn.primitive and self.uses.get(var) == 1

    def literal(self, atom: Atom) -> Literal | None:
        """The number that all elements of an atom are, with the atom's dtype, if that is known."""
        if isinstance(atom, Literal):
            return atom
        if atom in self.uniform:
            return self.uniform[atom]
        found: Literal | None = None
        value = self.values.get(atom)
        if value is not None:
            found = uniform(value)
        else:
            eqn = self.maker(atom, "broadcast_to")
            if eqn is not None:
                found = self.literal(eqn.inputs[0])
        if found is not None and found.aval.weak and not atom.aval.weak:
            found = Literal(atom.aval.dtype.type(found.value))
        self.uniform[atom] = found
        return found

    def number(self, atom: Atom) -> Any:
        """The same as a Python or NumPy number, or None."""
        found = self.literal(atom)
        return None if found is None else found.value

    def fact(self, atom: Atom) -> Fact:
        """What is known of an atom's elements."""
        if isinstance(atom, Literal):
            return facts.of_value(atom.value)
        found = self.facts.get(atom)
        if found is None:
            eqn = self.made_by.get(atom)
            if eqn is not None and eqn.primitive.name in facts.RULES:
                found = self._proved(atom)
            elif atom in self.values:
                found = facts.of_value(self.values[atom])
            else:
                found = facts.of_dtype(atom.aval.dtype)
            self.facts[atom] = found
        return found

    def _proved(self, atom: Var) -> Fact:
        """The fact of a line, after those that it follows from: a stack, as lists may be long."""
        stack = [atom]
        while stack:
            var = stack[-1]
            eqn = self.made_by[var]
            missing = [
                x for x in eqn.inputs if type(x) is Var and x not in self.facts and x in self.made_by and x is not var
            ]
            if missing and eqn.primitive.name in facts.RULES:
                stack.extend(missing)
                continue
            stack.pop()
            several = eqn.primitive.multiple
            self.facts[var] = (
                facts.of_dtype(var.aval.dtype) if several else facts.of_line(eqn, [self.fact(x) for x in eqn.inputs])
            )
        return self.facts[atom]


def uniform(value: Any) -> Literal | None:
    """The number that all elements of an array are, to the bit."""
    if value.size == 0:
        return None
    first = value[(0,) * value.ndim]
    if value.size > 1 and any(value.strides):
        with np.errstate(invalid="ignore"):
            if first != first or value[(-1,) * value.ndim] != first or not (value == first).all():
                return None
        if first == 0 and value.dtype.kind in "fc" and np.any(np.signbit(value.real) != np.signbit(first.real)):
            return None
        if value.dtype.kind == "c" and np.any(np.signbit(value.imag) != np.signbit(first.imag)):
            return None
    return Literal(first) if type(first) in PLAIN else None


__all__ = ["Line", "Rewrite", "Sweep", "broadcasts", "line", "uniform"]
