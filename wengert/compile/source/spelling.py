"""How each primitive is written in NumPy.

A ufunc is called, or written as the operator that means it. The others have their values' own source (`extract.py`),
except for a few that read better with the shapes filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from wengert.avals import WEAK, WEAK_KINDS
from wengert.compile.source import literals
from wengert.compile.source.extract import inline
from wengert.core import REGISTRY
from wengert.ops.gathering import SLOT
from wengert.ops.indexing import ALL
from wengert.ops.reduce import Reduction
from wengert.program import Equation, Literal, Var

INFIX: Final = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/", np.matmul: "@", np.less: "<", np.less_equal: "<=",
    np.greater: ">", np.greater_equal: ">=", np.equal: "==", np.not_equal: "!=",
}  # fmt: skip
PYTHON: Final = {np.add: "+", np.subtract: "-", np.multiply: "*", np.negative: "-"}  # where Python's floats agree
METHODS: Final = {np.add.reduce: "sum", np.multiply.reduce: "prod", np.maximum.reduce: "max", np.minimum.reduce: "min"}
FLOATS: Final = (np.dtype(np.float64), np.dtype(np.float32))


class Module(Protocol):
    """What a line may ask of the module that it becomes part of."""

    def constant(self, value: np.ndarray[Any, Any]) -> str: ...
    def reference(self, value: Any, hint: str = "") -> str: ...
    def literal(self, value: Any) -> str: ...
    def remembered(self, key: Any, make: Callable[[], str | None]) -> str | None: ...


def spell(eqn: Equation, texts: Sequence[str], module: Module) -> str:
    """The right-hand side of a line; `texts` are its operands."""
    if not eqn.primitive.multiple and eqn.outputs[0].aval.weak:  # a Python number
        if eqn.primitive.value in PYTHON and all(a.aval.weak and a.aval.dtype.kind == "f" for a in eqn.inputs):
            sign = PYTHON[eqn.primitive.value]
            return f" {sign} ".join(texts) if len(texts) == 2 else f"{sign}{_atom(texts[0])}"
        return f"{WEAK_KINDS[eqn.outputs[0].aval.dtype.kind].__name__}({_spell(eqn, texts, module)})"
    return _spell(eqn, texts, module)


def _spell(eqn: Equation, texts: Sequence[str], module: Module) -> str:
    value = eqn.primitive.value
    if isinstance(value, np.ufunc) and not eqn.params:
        sign = INFIX.get(value)
        if sign is not None and len(texts) == 2 and _operator_is_ufunc(eqn, value):
            return f"{texts[0]} {sign} {texts[1]}"
        if value is np.negative and _operator_is_ufunc(eqn, value) and type(eqn.inputs[0]) is Var:
            return f"-{texts[0]}"
        return f"{module.reference(value)}({', '.join(texts)})"
    special = SPELLINGS.get(eqn.primitive.name)
    found = special(eqn, texts, module) if special is not None else None
    if found is None and type(eqn.primitive) is Reduction:
        found = _reduction(eqn, texts, module)
    return found or call(value, eqn.primitive.name, texts, eqn.params, module)


def _operator_is_ufunc(eqn: Equation, value: np.ufunc) -> bool:
    """Whether Python's operator calls the same loop of the ufunc: on arrays, and on floating scalars."""
    avals = [atom.aval for atom in eqn.inputs]
    if any(aval.shape for aval in avals):
        return True
    dtypes = {aval.dtype for aval in avals if not aval.weak}
    return (
        len(dtypes) == 1
        and dtypes <= set(FLOATS)
        and all(atom.aval.scalar and (not atom.aval.weak or _harmless(atom, dtypes)) for atom in eqn.inputs)
    )


def _harmless(atom: Var | Literal, dtypes: set[Any]) -> bool:
    """A Python number that the floating scalar beside it takes as it is."""
    if type(atom) is Literal and type(atom.value) in (int, float):
        return bool(abs(atom.value) < 2**24)
    return atom.aval.dtype.kind == "f" and FLOATS[0] in dtypes


def call(function: Any, hint: str, operands: Sequence[str], params: dict[str, Any], module: Module) -> str:
    """A call of a primitive's value on these operands: in place, or of a function of NumPy's or of the module's."""
    named = {key: module.literal(value) for key, value in params.items()}
    key = (function, tuple(named.items()), len(operands))
    places = [f"_{k}_" for k in range(len(operands))]

    def make() -> str | None:
        return inline(function, places, named, module.reference) if hasattr(function, "__code__") else None

    shape = None if any(text.startswith("-") for text in operands) else module.remembered(key, make)
    if shape is not None:
        return re.sub(r"\b_(\d+)_\b", lambda found: operands[int(found[1])], shape)
    arguments = [*operands, *(f"{name}={text}" for name, text in named.items())]
    return f"{module.reference(function, hint)}({', '.join(arguments)})"


# ------------------------------------------------------------------------------------------------------ reductions


def _axes(axis: tuple[int, ...]) -> str:
    return str(axis[0]) if len(axis) == 1 else str(axis)


def _reduction(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    """np.mean(x, axis=…), or the method x.sum(axis=…)."""
    function, params = eqn.primitive.function, dict(eqn.params)  # type: ignore[attr-defined]
    operands = {"where": eqn.inputs[1:2], "initial": eqn.inputs[2:3]}
    given = [
        f"{name}={text}"
        for (name, atoms), text in zip(operands.items(), texts[1:], strict=False)
        if not (type(atoms[0]) is Literal and (atoms[0].value is True or atoms[0].value is None))
    ]
    method = METHODS.get(function)
    aval = eqn.inputs[0].aval
    if method is not None and aval.shape:
        if len(params["axis"]) == aval.ndim and not params.get("keepdims"):
            del params["axis"]
        shown = [
            f"{k}={_axes(v) if k == 'axis' else _param(k, v, module)}"
            for k, v in params.items()
            if v not in (False, None)
        ]
        return f"{texts[0]}.{method}({', '.join([*shown, *given])})"
    if given:
        shown = [f"{k}={module.literal(v)}" for k, v in params.items()]
        name = module.reference(function, eqn.primitive.name)
        return f"{name}({', '.join([texts[0], *shown, *given])})"
    return call(function, eqn.primitive.name, texts[:1], params, module)


def _param(name: str, value: Any, module: Module) -> str:
    return literals.scalar_type(value) if isinstance(value, np.dtype) else module.literal(value)


def _sum_to(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    x, shape = eqn.inputs[0].aval.shape, eqn.params["shape"]
    if x == shape:
        return texts[0]
    lead = len(x) - len(shape)
    ones = tuple(lead + k for k, length in enumerate(shape) if length == 1 and x[lead + k] != 1)
    axes = (*range(lead), *ones)
    if len(axes) == len(x) and not shape:
        return f"{texts[0]}.sum()"
    total = f"{texts[0]}.sum(axis={_axes(axes)}{', keepdims=True' if ones else ''})"
    return total + f".reshape({_shape(shape)})" if ones and lead else total


# ------------------------------------------------------------------------------------------------- shapes and dtypes


def _shape(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) or "()"


def _reshape(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    return f"{texts[0]}.reshape({_shape(eqn.params['shape'])})" if eqn.inputs[0].aval.shape else None


def _spread(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    axis, to = eqn.params["axis"], eqn.outputs[0].aval.shape
    y = texts[0]
    if eqn.inputs[0].aval.shape:
        y += f".reshape({_shape(tuple(1 if k - len(to) in axis else n for k, n in enumerate(to)))})"
    return f"np.broadcast_to({y}, {to})"


def _transpose(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    ndim, axes = eqn.inputs[0].aval.ndim, eqn.params["axes"]
    if ndim < 2:
        return None
    order = (*range(ndim - len(axes)), *(axis % ndim for axis in axes))
    return f"{texts[0]}.T" if order == tuple(range(ndim))[::-1] else f"{texts[0]}.transpose({_shape(order)})"


def _cast(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    atom, dtype = eqn.inputs[0], literals.scalar_type(eqn.params["dtype"])
    python = type(atom.value) in WEAK if type(atom) is Literal else atom.aval.weak
    if python and dtype.startswith("np.dtype"):
        return None
    if not python and atom.aval.scalar and atom.aval.dtype.kind == "b":
        return None  # True or np.True_
    return f"{dtype}({texts[0]})" if python else f"{_atom(texts[0])}.astype({dtype})"


def _as_discrete(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    return f"{texts[0]}.astype({literals.scalar_type(eqn.params['dtype'])})" if eqn.inputs[0].aval.shape else None


def _atom(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


# ---------------------------------------------------------------------------------------------------------- indices


def _filled(index: tuple[Any, ...], rows: str, module: Module) -> str:
    """An index whose slots are the rows of an array of indices."""
    numbers = iter(range(len(index)))
    return literals.index(index, module.constant, lambda part: f"{rows}[{next(numbers)}]" if part is SLOT else None)


def _getitem(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    return f"{_atom(texts[0])}[{literals.index(eqn.params['index'], module.constant)}]"


def _gather(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    (x, i), index = texts, eqn.params["index"]
    if index[-1] is SLOT and all(type(part) is slice and part == ALL for part in index[:-1]):
        return f"np.take({x}, {i}[0], axis={len(index) - 1})"
    return f"{x}[{_filled(index, i, module)}]"


def _scatter_at(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    scatter = module.reference(REGISTRY["scatter"].value, "scatter")
    index = _filled(eqn.params["index"], texts[1], module)
    return f"{scatter}({texts[0]}, index=np.index_exp[{index}], shape={eqn.params['shape']})"


def _put_at(eqn: Equation, texts: Sequence[str], module: Module) -> str | None:
    setitem = module.reference(REGISTRY["setitem"].value, "setitem")
    return f"{setitem}({texts[0]}, {texts[1]}, index=np.index_exp[{_filled(eqn.params['index'], texts[2], module)}])"


SPELLINGS: Final[dict[str, Callable[[Equation, Sequence[str], Module], str | None]]] = {
    "sum_to": _sum_to, "reshape": _reshape, "spread": _spread, "transpose": _transpose, "cast": _cast,
    "as_discrete": _as_discrete, "getitem": _getitem, "gather": _gather, "scatter_at": _scatter_at, "put_at": _put_at,
}  # fmt: skip


# --------------------------------------------------------------------------------------------- writing into a buffer


def scale_into(ct: Any, p: Any, out: Any) -> Any:
    """ct * p, and 0 where ct is exactly 0, in the array `out`, which may be p."""
    np.multiply(ct, p, out=out)
    total = np.vdot(out, out) if out.size < 10_000 else np.add.reduce(out, axis=None)
    if total != total:  # a NaN somewhere
        np.copyto(out, 0, where=np.isnan(out) & np.equal(ct, 0))
    return out


def can_write_into(eqn: Equation) -> bool:
    """Whether the line can write its result into an array that it is given."""
    value = eqn.primitive.value
    if eqn.primitive.multiple or eqn.params:
        return False
    return (isinstance(value, np.ufunc) and value.nout == 1) or eqn.primitive.name == "scale"


def may_overwrite(eqn: Equation, slot: int) -> bool:
    """Whether that array may be the one that holds operand `slot`."""
    value = eqn.primitive.value
    return value.signature is None if isinstance(value, np.ufunc) else slot == 1


def spell_into(eqn: Equation, texts: Sequence[str], out: str, module: Module) -> str:
    if eqn.primitive.name == "scale":
        return f"{module.reference(scale_into, 'scale_into')}({', '.join(texts)}, out={out})"
    return f"{module.reference(eqn.primitive.value)}({', '.join(texts)}, out={out})"
