"""Primitives, traces, traced arrays and `bind`. No maths.

A *traced array* stands where the user's program expects an ndarray. It belongs to one *trace*, an object that one
transform call makes, and it wraps a value that is plain or belongs to an older trace. `bind` hands an operation to
the newest trace among its arguments; that trace computes on the wrapped values (binding again) and adds what its
reading of the program needs: a tangent, a graph node, a batch axis, an equation.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wengert import errors, tree
from wengert.avals import WEAK, Aval, aval_of_plain

OUT = -1  # stands for "the result" where rules list which of (arguments…, result) they read

_new = object.__new__
_clock = itertools.count(1)  # traces and graph nodes share one clock: a later number is newer


class Primitive(ABC):
    """One elementary operation: its value, its shape rule and, per argument slot, one derivative fact.

    The subclasses in `ops/` are the kinds of house.md: what each asks the author of a rule to state, and how the
    methods below follow from it. All methods bind, so that they nest.
    """

    name: str
    value: Callable[..., Any]
    differentiable: bool = True
    multiple: bool = False  # whether `value` returns a tuple of arrays
    composite: bool = False  # whether it runs whole lists, and rules all its operands together (control/kind.py) by
    forward: Callable[..., Any]
    record: Callable[..., Any]
    pull: Callable[..., Any]
    accumulate: Callable[..., None] | None = None  # adds a cotangent into a buffer in place, where that is cheaper
    short: Sequence[Any] | None  # what the short paths of ReverseTrace need; None where they must not be taken

    def __call__(self, *args: Any, **params: Any) -> Any:
        return bind(self, *args, **params)

    bind = __call__

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return find_primitive, (self.name,)

    @abstractmethod
    def abstract(self, avals: Sequence[Aval], params: dict[str, Any]) -> Any:
        """The shape rule: the aval of the result (a tuple of avals where `multiple`)."""

    @abstractmethod
    def keeps(self, active: tuple[int, ...], arity: int) -> tuple[tuple[int, ...], bool]:
        """Which of `arity` arguments, and whether the result, must be kept to differentiate in the slots `active`."""

    def residual(self, value: Any, out: Any) -> Any:
        """A constant operand as the rules see it."""
        return value

    @abstractmethod
    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any, params: dict[str, Any]) -> Any:
        """The tangent of the result; `tangents` holds None in slots that do not vary. May return None for zero."""

    @abstractmethod
    def pullback(self, slot: int, ct: Any, saved: Sequence[Any], into: Aval | None, params: dict[str, Any]) -> Any:
        """The cotangent of argument `slot`. `saved` lists arguments and result, None where not kept.

        `into` is the aval of that argument; None says that it equals the result's.
        """

    def pullback_cached(
        self, slot: int, ct: Any, saved: Any, into: Any, params: Any, cache: dict[Any, Any], key: Any
    ) -> Any:
        """`pullback`, with a place to keep what does not depend on `ct` from one sweep to the next."""
        return self.pullback(slot, ct, saved, into, params)

    @abstractmethod
    def batch(self, size: int, args: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]) -> Any:
        """The result with a batch axis in front, from arguments that have one in front where `mapped`."""

    def gives_scalar(self, params: dict[str, Any]) -> bool:
        """Whether NumPy returns a scalar (not a 0-d array) when the result has no axes."""
        return True


REGISTRY: Final[dict[str, Primitive]] = {}


def register(primitive: Primitive) -> None:
    """Enter a primitive in the registry, from which tests, pickles and printed lists know it."""
    if primitive.name in REGISTRY:
        raise errors.RuleError(f"Two primitives are named {primitive.name!r}. Names identify them. Rename one.")
    REGISTRY[primitive.name] = primitive


def find_primitive(name: str) -> Primitive:
    return REGISTRY[name]


# --------------------------------------------------------------------------------------------------------- traces


class Trace(ABC):
    """One reading of a program, from the call of a transform until it returns."""

    __slots__ = ("__weakref__", "closed", "order")
    what = "traced array"
    notes_values = False  # whether it notes each value that is asked of it, so that int(x) and its kind lose nothing

    def __init__(self, order: int | None = None) -> None:
        self.order = next(_clock) if order is None else order
        self.closed = False

    @abstractmethod
    def process(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply `primitive`; this trace is the newest among `args`."""

    def process_one(self, primitive: Primitive, x: Any) -> Any:
        """Apply a primitive of one argument and no params; traces may have a shorter path for it."""
        return self.process(primitive, (x,), {})

    def process_two(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """Apply a primitive to two operands, one of them at least of this trace; there may be a shorter path."""
        return bind(primitive, x, y)

    @abstractmethod
    def aval(self, x: TracedArray) -> Aval:
        """The aval of `x`, which belongs to this trace."""

    @abstractmethod
    def constant(self, value: Any) -> TracedArray:
        """A traced array of this trace that does not depend on its inputs."""

    def concrete(self, x: TracedArray) -> Any:
        """The plain value under `x`, for branches; raises where there is none."""
        return concrete(x._value)

    def weakened(self, x: TracedArray) -> None:  # noqa: B027  (most traces keep no record of dtypes)
        """Told when the result `x` turned out to be a Python number, or a NumPy scalar of another dtype."""

    def close(self) -> None:
        self.closed = True

    def check_open(self) -> None:
        if self.closed:
            raise errors.escaped(self.what)


if TYPE_CHECKING:
    Attached = Any  # operators, methods and attributes come from wengert.numpy, so a type checker cannot see them here
else:
    Attached = object


class TracedArray(Attached):  # type: ignore[misc,unused-ignore]
    """What the four traced arrays share. Operators, methods and NumPy's functions are attached by `wengert.numpy`.

    All subclasses have the same slots, so that an in-place write of a newer value can turn one into another.
    """

    __slots__ = ("__weakref__", "_info", "_link", "_trace", "_value")
    __array_priority__ = 1000.0

    _trace: Trace
    _value: Any  # the wrapped value: plain, or of an older trace
    _info: Any  # what the trace adds: a tangent, a graph node, a variable of a list
    _link: Link | None  # how this array shares memory with others, None for most

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        construct = CONSTRUCTORS.get(cls)
        if construct is None:
            raise TypeError(
                f"{cls.__name__} is not made by hand: it belongs to the transform that made it. One without a "
                "transform would have no meaning. Make a wengert.Dual or a wengert.Variable, or call wengert.vmap or "
                "wengert.trace."
            )
        return construct(*args, **kwargs)

    def __init_subclass__(cls, **_: Any) -> None:
        if cls.__module__ != __name__:
            raise TypeError(
                "Traced arrays cannot be subclassed: the engine knows them by their exact type. A subclass would be "
                "taken for a constant and its gradient would silently be 0. Hold one in an attribute instead."
            )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, x: Any, *rest: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            primitive = UFUNCS.get(ufunc)
            if primitive is not None:
                if not rest:
                    return self._trace.process_one(primitive, self) if self._link is None else bind(primitive, x)
                if len(rest) == 1:
                    return self._trace.process_two(primitive, x, *rest)
                return bind(primitive, x, *rest)
        return call_ufunc[0](ufunc, method, (x, *rest), kwargs)

    @property
    def aval(self) -> Aval:
        """Shape and dtype, and whether NumPy would hold a scalar here."""
        if self._link is not None:
            refresh(self)
        return self._trace.aval(self)


class Dual(TracedArray):
    """A dual number or array: a primal value and a tangent, carried through every operation (forward mode)."""

    __slots__ = ()


class Variable(TracedArray):
    """An array that records what is done to it, so that gradients can be pulled back (reverse mode)."""

    __slots__ = ()


class Batch(TracedArray):
    """An array with a hidden leading axis, over which `vmap` maps."""

    __slots__ = ()


class Symbol(TracedArray):
    """A variable of a Wengert list that is being written, with its concrete value where staging has an example."""

    __slots__ = ()


CONSTRUCTORS: Final[dict[type, Callable[..., Any]]] = {}  # filled by wengert.tape and wengert.dual: what users may make
TRACED: Final = frozenset({Dual, Variable, Batch, Symbol})
UFUNCS: Final[dict[np.ufunc, Primitive]] = {}  # filled by wengert.numpy: what a plain call of a ufunc means
call_ufunc: Final[list[Callable[..., Any]]] = []  # its slow path: methods, out=, where=, dtype=

PLAIN: Final = frozenset(
    {bool, int, float, complex}
    | {np.dtype(code).type for code in "?bhilqBHILQefdgFDG"}
    | {np.intp, np.longlong, np.ulonglong}
)
tree.ATOMS.update(TRACED, PLAIN, {np.ndarray})


def new_traced(kind: type[TracedArray], trace: Trace, value: Any, info: Any) -> Any:
    x = _new(kind)
    x._trace = trace
    x._value = value
    x._info = info
    x._link = None
    return x


# ----------------------------------------------------------------------------------------------------------- bind


def bind(primitive: Primitive, *args: Any, **params: Any) -> Any:
    """Apply a primitive: through the newest trace among the arguments, or at once where all are plain."""
    top: Any = None
    for arg in args:
        kind = type(arg)
        if kind in TRACED:
            if arg._link is not None:
                refresh(arg)
            trace = arg._trace
            if top is None:
                top = trace
            elif trace is not top:
                if trace.order < 0 and top.order < 0:
                    _check_not_mixed(trace, top)
                if trace.order > top.order:
                    top = trace
        elif kind is np.ndarray:
            if arg.dtype.kind not in "fcibu":
                return bind(primitive, *(as_operand(arg) for arg in args), **params)
        elif kind not in PLAIN:
            return bind(primitive, *(as_operand(arg) for arg in args), **params)
    if top is None:
        return primitive.value(*args, **params)
    return top.process(primitive, args, params)


def _check_not_mixed(one: Trace, other: Trace) -> None:
    if one.what != other.what:
        raise TypeError(
            "A Dual and a Variable made by hand met in one operation. Neither is inside the other, so there is no "
            "right order in which to differentiate. Use one of them, or a transform such as wengert.jvp or "
            "wengert.grad."
        )


stack_objects: Final[
    list[Callable[..., Any]]
] = []  # filled by wengert.numpy: nested sequences of traced arrays → one array


def as_operand(value: Any) -> Any:
    """A value that a user combined with a traced array, as something that `bind` takes; or a TypeError."""
    kind = type(value)
    if kind in TRACED or kind in PLAIN:
        return value
    if kind in (list, tuple):
        return stack_objects[0](value) if contains_traced(value) else as_operand(np.asarray(value))
    if kind is np.ndarray:
        if value.dtype.kind in "fcibu":
            return value
        if value.dtype == object:
            return stack_objects[0](value.tolist())
        raise errors.operand(f"NumPy array of dtype {value.dtype}")
    if kind is np.memmap:
        return value.view(np.ndarray)
    raise errors.operand(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))


def contains_traced(value: Any) -> bool:
    """Whether a (possibly nested) sequence or object array has a traced array in it."""
    if type(value) in TRACED:
        return True
    if isinstance(value, list | tuple):
        return any(contains_traced(item) for item in value)
    return type(value) is np.ndarray and value.dtype == object and any(contains_traced(v) for v in value.flat)


def is_traced(value: Any) -> bool:
    return type(value) in TRACED


def aval_of(value: Any) -> Aval:
    """Shape and dtype of a traced or plain value."""
    if type(value) in TRACED:
        return value.aval  # type: ignore[no-any-return]
    return aval_of_plain(value)


def concrete(value: Any) -> Any:
    """The plain number or array under a traced value, for a decision of the program."""
    if type(value) not in TRACED:
        return value
    if value._link is not None:
        refresh(value)
    return value._trace.concrete(value)


def glance(value: Any) -> Any:
    """The plain number or array under a traced value, to show to people; None under a Batch or where there is none."""
    while type(value) in TRACED:
        if type(value) is Batch:
            return None
        if value._link is not None:
            refresh(value)
        value = value._value
    return value


def _float_errors() -> tuple[ContextVar[Any], Any]:
    context = Context()
    context.run(np.seterr, all="ignore")
    ((variable, ignored),) = context.items()
    return variable, ignored


# The context variable in which NumPy keeps how floating-point errors are met, and its value for ignoring them all. It
# is set directly, not by `np.errstate`: that has an `__exit__` in Python, in which a KeyboardInterrupt can strike
# before the user's own setting is restored. It is also five times faster.
FLOAT_ERRORS, IGNORED = _float_errors()


def depends_on(value: Any, trace: Trace) -> bool:
    return type(value) in TRACED and value._trace is trace


def check_not_newer(value: Any, trace: Trace) -> None:
    """Raise unless `value` is plain or of an open trace older than `trace`, which is about to wrap or return it."""
    if type(value) in TRACED and value._trace is not trace:
        if value._trace.order > trace.order:
            raise errors.escaping_output(value._trace.what)
        value._trace.check_open()


# ------------------------------------------------------------------------------------------------------- mutation


class Memory:
    """What a base and all its views have in common: a counter of the writes to it."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


class Link:
    """How a traced array shares memory with others: as the base of views, or as a view of its parent.

    A view is re-read from its parent when its memory has been written since it was read last.
    """

    __slots__ = ("parent", "read", "root", "seen", "write")

    def __init__(self, parent: TracedArray | None, read: Any, write: Any) -> None:
        self.parent = parent
        self.read = read  # parent → contents of the view
        self.write = write  # (parent, new contents of the view) → new contents of the parent; None where refused
        if parent is None:
            self.root = (
                Memory()
            )  # an object of its own: a base that pointed to itself would be freed by the collector only
        else:
            if parent._link is None:
                parent._link = Link(None, None, None)
            self.root = parent._link.root
        self.seen = self.root.version


def link_view(view: Any, parent: TracedArray, read: Callable[..., Any], write: Callable[..., Any] | None) -> Any:
    """Make `view`, which was just computed from `parent`, share its memory as NumPy's view would."""
    if type(view) in TRACED and not view.aval.scalar:
        view._link = Link(parent, read, write)
    return view


def refresh(x: TracedArray) -> None:
    """Bring a view up to date with writes to its base."""
    stale = []
    link: Any = x._link
    while link is not None and link.parent is not None and link.seen != link.root.version:
        stale.append(x)
        x = link.parent
        link = x._link
    for view in reversed(stale):
        link = view._link
        link.seen = link.root.version
        _adopt(view, link.read(link.parent))


def assign(x: TracedArray, contents: Any) -> None:
    """Replace what `x` holds, as an in-place write does; bases and views of the same memory follow.

    Operations recorded earlier keep the old contents. `contents` has the shape and dtype of `x`.
    """
    while True:
        x._trace.check_open()
        if type(x) is Variable and x._info is not None:
            contents = x._trace.written(x, contents)  # type: ignore[attr-defined]
        link = x._link
        _adopt(x, contents)
        if link is None:
            return
        if link.parent is None:
            link.root.version += 1
            return
        link.seen = link.root.version + 1
        if type(link.parent) is Variable and link.parent._link is not None:
            refresh(link.parent)
        contents = link.write(link.parent, contents)
        x = link.parent


READ_ONLY: Final[Any] = object()  # in place of a link's `write`: a view that NumPy itself makes read-only


def check_writable(x: TracedArray, what: str = "output array") -> None:
    """Raise before any work is done where a write to `x` could not reach its base; `what` is NumPy's word for `x`."""
    link = x._link
    while link is not None and link.parent is not None:
        if link.write is READ_ONLY:
            raise ValueError(f"{what} is read-only")
        if link.write is None:
            raise errors.ViewWriteError(
                "An in-place write through reshape, ravel or another computed view of a traced array was refused. "
                "NumPy decides case by case whether such a view shares memory with its base, so following it could "
                "silently go wrong. Write to the base itself by indexing (y[i, j] = …), or copy first: .copy()."
            )
        link = link.parent._link


def _adopt(x: Any, contents: Any) -> None:
    if type(contents) not in TRACED:
        contents = x._trace.constant(contents)
    if contents._link is not None:
        refresh(contents)
    x.__class__ = type(contents)
    x._trace = contents._trace
    x._value = contents._value
    x._info = contents._info


def snapshot(x: TracedArray) -> TracedArray:
    """A new handle on what `x` holds now, untouched by later writes to `x`."""
    if x._link is not None:
        refresh(x)
    return new_traced(type(x), x._trace, x._value, x._info)  # type: ignore[no-any-return]


def owned(value: Any, taken: set[int] | None = None) -> Any:
    """A result that shares memory with nothing else: dense, writable, and not the same object as another result."""
    if type(value) is np.ndarray:
        flags = value.flags
        if not (flags.owndata and flags.writeable and (flags.c_contiguous or flags.f_contiguous)) or (
            taken is not None and id(value) in taken
        ):
            value = value.copy()
        if taken is not None:
            taken.add(id(value))
        return value
    if type(value) in TRACED:
        return snapshot(value)
    return np.float64(value) if type(value) is float else np.complex128(value) if type(value) is complex else value


# ---------------------------------------------------------------------------------------------- weak Python numbers


def is_weak(value: Any) -> bool:
    """Whether a value is a Python number, or a traced one."""
    while type(value) in TRACED:
        if type(value) is Symbol and value._value is None:
            return bool(value._info.aval.weak)
        value = value._value
    return type(value) in WEAK


def weaken(x: Any) -> Any:
    """The result of an operator between Python numbers, as the Python number that it would be without tracing."""
    if type(x) in TRACED:
        x._value = weaken(x._value)
        x._trace.weakened(x)
        return x
    return x.item() if isinstance(x, np.generic) else x


# -------------------------------------------------------------------------------------------------------- no_grad

no_grad_depth: Final[ContextVar[int]] = ContextVar("no_grad_depth", default=0)
