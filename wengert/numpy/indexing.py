"""`x[index]` of every form, `x[index] = value`, iteration, `.flat`, and the writing that all in-place work comes to."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from wengert import core, errors
from wengert.core import PLAIN, TRACED, Batch, Dual, TracedArray, Variable, aval_of, check_writable
from wengert.graph import Leaf
from wengert.numpy.operators import BINARY, COMPARISONS, UNARY
from wengert.numpy.table import as_array, write_hook
from wengert.ops.gathering import put_at, read, scatter_at, slots_of, split_shape
from wengert.ops.indexing import Index, blank, getitem, is_array, setitem
from wengert.ops.indexing import add_at as add_at_primitive
from wengert.ops.vector import real_primitive

FLOAT_INDEX: Final = "arrays used as indices must be of integer (or boolean) type"
DESTINATION: Final = "assignment destination"  # NumPy's word, in its messages, for what is written to


def uncovered(value: Any) -> Any:
    """The value under Duals and Variables: plain, or what a newer kind of trace (Batch, Symbol) holds."""
    while type(value) in (Dual, Variable):
        if value._link is not None:
            core.refresh(value)
        value = value._value
    return value


def plain_of(value: Any, name: str, remedy: str) -> Any:
    """The plain array under Duals and Variables; an error where it differs from member to member or run to run."""
    value = uncovered(as_array(value))
    if type(value) in TRACED:
        what = "a Batch, which holds many values" if type(value) is Batch else "a Symbol, whose value can change"
        raise errors.ConversionError(
            f"{name} was asked of {what}. The shape of its answer depends on the values, so there is not one. {remedy}"
        )
    return value


def parse(index: Any) -> tuple[Index, bool, bool]:
    """An index as a tuple of owned parts; whether NumPy would copy rather than view; whether a part is traced."""
    parts = []
    copies = traced = False
    for part in index if isinstance(index, tuple) else (index,):
        kind = type(part)
        if kind is not int and kind is not slice and part is not None and part is not Ellipsis:
            part = _parse_part(part)
            copies = copies or type(part) is not int
            traced = traced or type(part) in TRACED
        parts.append(part)
    return tuple(parts), copies, traced


def _parse_part(part: Any) -> Any:
    if isinstance(part, bool | np.bool):
        return bool(part)
    if isinstance(part, int | np.integer):
        return int(part)
    if core.contains_traced(part):
        part = uncovered(as_array(part))
        if aval_of(part).dtype.kind not in "iub":
            raise IndexError(FLOAT_INDEX)
        if type(part) in TRACED:
            return part
    if isinstance(part, list | tuple):
        array = np.asarray(part)
        part = array.astype(np.intp) if array.size == 0 and array.dtype.kind == "f" else array
    if isinstance(part, np.ndarray | np.generic) and part.dtype.kind in "iub":
        return bool(part) if part.dtype.kind == "b" and not part.ndim else np.array(part)  # owned
    return operator.index(part) if hasattr(part, "__index__") and not isinstance(part, np.ndarray) else part


def get(x: Any, index: Any) -> Any:
    """`x[index]`: a view that writes through, a scalar, or a copy, as NumPy decides."""
    kind = type(index)
    if kind is int or kind is slice:
        parts: Index = (index,)
        copies = False
    else:
        parts, copies, traced = parse(index)
        if traced:
            return _get_traced(x, parts)
    y = getitem(x, index=parts)
    if not copies and type(y._value) not in PLAIN and not y.aval.scalar and not x.aval.scalar:
        core.link_view(y, x, partial(getitem, index=parts), partial(setitem, index=parts))
    return y


def put(x: Any, index: Any, value: Any) -> None:
    """`x[index] = value`, with NumPy's casting and broadcasting; views and bases follow."""
    if x.aval.scalar:
        raise TypeError(f"'{x.dtype.type.__module__}.{x.dtype.type.__name__}' object does not support item assignment")
    check_writable(x, DESTINATION)
    parts, _, traced = parse(index)
    if traced:
        core.assign(x, _put_traced(x, parts, value))
    else:
        core.assign(x, setitem(x, _to_write(value, x, parts), index=parts))


def _to_write(value: Any, x: Any, parts: Index = (Ellipsis,)) -> Any:
    """A value as `setitem` takes it: a traced one in a dtype that casts to that of `x`, others as NumPy reads them."""
    if type(value) is Selection:
        raise Selection.refusal()
    if core.contains_traced(value):
        return _cast_to_write(as_array(value), x.aval.dtype)
    kind = type(value)
    if kind in PLAIN or (kind is np.ndarray and value.dtype.kind in "fcibu"):
        return value
    if isinstance(value, np.ndarray):
        return core.as_operand(value)
    scratch = np.zeros(x.aval.shape, x.aval.dtype)
    scratch[parts] = value
    return scratch[parts]


def _cast_to_write(value: Any, dtype: np.dtype[Any]) -> Any:
    given = aval_of(value).dtype
    if given.kind == "c" and dtype.kind != "c":
        message = "Casting complex values to real discards the imaginary part"
        warnings.warn(message, np.exceptions.ComplexWarning, stacklevel=4)
        value = real_primitive(value)
    return value.astype(dtype) if given.kind in "fc" and dtype.kind not in "fc" else value


def replace(x: Any, contents: Any) -> None:
    """Write over all of `x`. What `x` holds keeps its memory order, since reshape asks whether it is contiguous."""
    alike = type(contents) in TRACED and contents.aval == x.aval and type(contents._info) is not Leaf
    if alike and getattr(memory(contents), "strides", None) == getattr(memory(x), "strides", None):
        core.assign(x, contents)
    else:
        core.assign(x, setitem(x, _to_write(contents, x), index=(Ellipsis,)))


def memory(x: Any) -> Any:
    """The plain array under all traces (of a Batch, its first member), which has NumPy's own memory order; or None."""
    lanes = 0
    while type(x) in TRACED:
        if x._link is not None:
            core.refresh(x)
        lanes += type(x) is Batch
        x = x._value
    return x[(0,) * lanes] if lanes and isinstance(x, np.ndarray) and x.size else x


def layout(x: Any) -> Any:
    """A plain array with the memory order that NumPy's own would have in place of `x`; None where that is unknown.

    A view is what it makes of its base, since what it holds after a write need not be a piece of the base's memory. A
    member of a batch may be strided where NumPy's array is not, but its axes have the same order.
    """
    reads = []
    while x._link is not None and x._link.parent is not None:
        reads.append(x._link.read)
        x = x._link.parent
    held = memory(x)
    if not isinstance(held, np.ndarray) or held.ndim != x.ndim:  # no example, or a batch of no members
        return None
    while type(x) in TRACED:
        held = np.empty_like(held) if type(x) is Batch else held
        x = x._value
    for read_view in reversed(reads):
        held = read_view(held)
    return held


def write(target: TracedArray, contents: Any) -> None:
    """Fill a traced array with a result, as NumPy fills `out=`: casting "same_kind", no broadcasting of the target."""
    aval, given = target.aval, aval_of(contents)
    if aval.scalar:
        raise TypeError("return arrays must be of ArrayType")
    check_writable(target)
    if not np.can_cast(given.dtype, aval.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast array data from {given.dtype!r} to {aval.dtype!r} according to the rule 'same_kind'"
        )
    if given.shape != aval.shape:
        both = np.broadcast_shapes(given.shape, aval.shape)
        if both != aval.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {_spelt(aval.shape)} doesn't match the broadcast shape "
                f"{_spelt(both)}"
            )
    replace(target, contents)


def _spelt(shape: tuple[int, ...]) -> str:
    return f"({','.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


write_hook.append(write)

# ------------------------------------------------------------------------------------------------- traced indices


def _get_traced(x: Any, parts: Index) -> Any:
    if any(type(part) in TRACED and part.aval.dtype.kind == "b" for part in parts):
        return Selection(np.where(_mask(x, parts), x, 1).astype(x.aval.dtype, copy=False), parts)
    return read(x, _with_integers(parts))


def add_at(target: Any, index: Any, values: Any) -> None:
    """`np.add.at(target, index, values)`."""
    check_writable(target)
    parts, _, traced = parse(index)
    values = as_array(values)
    if not np.can_cast(aval_of(values).dtype, target.aval.dtype, "same_kind"):
        np.add.at(np.zeros(1, target.aval.dtype), 0, np.zeros((), aval_of(values).dtype))  # NumPy's own error
    if not traced:
        replace(target, add_at_primitive(target, values, index=parts))
        return
    i, slots = slots_of(_with_integers(parts))
    before, after, _ = split_shape(slots, target.aval.shape)
    spread = np.broadcast_to(values, (*before, *aval_of(i).shape[1:], *after))
    write(target, target + scatter_at(spread, i, index=slots, shape=target.aval.shape))


def _with_integers(parts: Index) -> Index:
    """The index with plain masks as integer arrays."""
    whole: list[Any] = []
    for part in parts:
        if type(part) is bool:
            raise errors.unsupported_keyword("Indexing with a Batch or Symbol", "True or False beside it")
        whole.extend(part.nonzero() if is_array(part) and part.dtype.kind == "b" else (part,))
    return tuple(whole)


def _put_traced(x: Any, parts: Index, value: Any) -> Any:
    if any(type(part) in TRACED and part.aval.dtype.kind == "b" for part in parts):
        mask = _mask(x, parts)
        if type(value) is Selection:
            value = _cast_to_write(value.chosen_by(parts), x.aval.dtype)
        else:
            value = _to_write(value, x)
            trailing = len(x.aval.shape) - next(p.aval.ndim for p in parts if type(p) in TRACED)
            if len(aval_of(value).shape) > trailing:
                raise Selection.refusal()
        return np.where(mask, value, x).astype(x.aval.dtype, copy=False)
    i, index = slots_of(_with_integers(parts))
    before, after, _ = split_shape(index, x.aval.shape)
    value = as_array(_to_write(value, x))
    shape = (*before, *aval_of(i).shape[1:], *after)
    return put_at(x, np.broadcast_to(value, shape), i, index=index)


def _mask(x: Any, parts: Index) -> Any:
    """A traced mask that is the whole index, or stands among full slices, as one that broadcasts with `x`."""
    places = [part for part in parts if part is not Ellipsis]
    (mask, *more) = [part for part in places if type(part) in TRACED]
    if more or any(part is not mask and part != slice(None) for part in places):
        raise Selection.refusal()
    k = next(k for k, part in enumerate(parts) if part is mask)
    ndim = len(x.aval.shape)
    after_ellipsis = any(part is Ellipsis for part in parts[:k])
    start = ndim - mask.ndim - (len(parts) - 1 - k) if after_ellipsis else k
    if mask.shape != x.aval.shape[start : start + mask.ndim]:
        blank(x.aval.shape)[(*(slice(None),) * start, np.zeros(mask.shape, bool))]  # NumPy's own error
    return np.reshape(mask, (*mask.shape, *(1,) * (ndim - start - mask.ndim)))


class Selection:
    """`x[mask]` for a mask that is a Batch or a Symbol: how many elements there are is not known.

    It can be computed with element by element, and be assigned back through the same mask, which is what
    `y[y < 0] *= 2` does. Anything else raises.
    """

    __slots__ = ("parts", "values")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any, parts: Index) -> None:
        self.values = values  # at all places; where not chosen, from a harmless 1
        self.parts = parts

    @staticmethod
    def refusal() -> errors.ConversionError:
        return errors.ConversionError(
            "The elements x[mask] of a traced mask (under vmap or trace) were used as an array. How many there are "
            "depends on the values, so they have no shape. Use np.where(mask, x, other), or where=mask in a reduction."
        )

    def chosen_by(self, parts: Index) -> Any:
        if len(parts) != len(self.parts) or any(a is not b for a, b in zip(parts, self.parts, strict=True)):
            raise Selection.refusal()
        return self.values

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs or ufunc.nout != 1:
            raise Selection.refusal()
        values = []
        for x in inputs:
            if type(x) is not Selection and np.ndim(x):
                raise Selection.refusal()
            values.append(x.chosen_by(self.parts) if type(x) is Selection else x)
        with np.errstate(all="ignore"):  # at the places that are not chosen
            return Selection(ufunc(*values), self.parts)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array_"):
            raise AttributeError(name)
        raise Selection.refusal()

    def _refuse(self, *_: Any) -> Any:
        raise Selection.refusal()

    __array__ = __len__ = __iter__ = __getitem__ = __setitem__ = __bool__ = __float__ = _refuse


def _selection_operator(ufunc: np.ufunc, reflected: bool = False) -> Callable[..., Any]:
    def operate(self: Selection, *other: Any) -> Any:
        inputs = (*other, self) if reflected else (self, *other)
        return self.__array_ufunc__(ufunc, "__call__", *inputs)

    return operate


for _name, _ufunc in {**BINARY, **COMPARISONS, **UNARY}.items():
    setattr(Selection, f"__{_name}__", _selection_operator(_ufunc))
    if _name in BINARY:
        setattr(Selection, f"__r{_name}__", _selection_operator(_ufunc, reflected=True))

# ------------------------------------------------------------------------------------------------------ iteration


def _length(x: Any) -> int:
    shape = x.aval.shape
    if not shape:
        raise TypeError("len() of unsized object")
    return shape[0]  # type: ignore[no-any-return]


def _rows(x: Any) -> Iterator[Any]:
    """Rows are views; the elements of a vector are scalars, read when their turn comes."""
    if not x.aval.shape:
        raise TypeError("iteration over a 0-d array")
    return (get(x, k) for k in range(x.aval.shape[0]))


def _contains(x: Any, value: Any) -> bool:
    return bool(np.any(np.equal(x, value)))


def _delete(x: Any, index: Any) -> None:
    raise ValueError("cannot delete array elements")


class Flat:
    """`x.flat`: the elements in C order, to read, iterate and assign."""

    __slots__ = ("base", "position")

    def __init__(self, base: Any) -> None:
        self.base = base
        self.position = 0

    def __len__(self) -> int:
        return self.base.aval.size  # type: ignore[no-any-return]

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        if self.position == len(self):
            raise StopIteration
        self.position += 1
        return self[self.position - 1]

    def _positions(self, index: Any) -> Any:
        """Flat positions as NumPy's own iterator counts them, with its errors."""
        numbers: Any = np.arange(len(self)).reshape(self.base.aval.shape).flat
        return numbers[index]

    def _place(self, index: Any) -> Index | None:
        """Where one element stands, if the index is an integer."""
        if not isinstance(index, int | np.integer) or isinstance(index, bool):
            return None
        flat: Any = blank(self.base.aval.shape).flat
        flat[index]  # NumPy's own error
        place = np.unravel_index(index % len(self), self.base.aval.shape)
        return tuple(int(k) for k in place)

    def __getitem__(self, index: Any) -> Any:
        place = self._place(index)
        if place is not None:
            return getitem(self.base, index=place)
        return getitem(_flattened(self.base), index=(self._positions(index),))

    def __setitem__(self, index: Any, value: Any) -> None:
        place = self._place(index)
        if place is not None:
            put(self.base, place, value)
        else:
            put_flat(self.base, self._positions(index), value, DESTINATION)

    def copy(self) -> Any:
        return _flattened(self.base)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise errors.conversion("np.asarray of x.flat", "Use x.ravel().")


def _flattened(x: Any) -> Any:
    return np.reshape(x, (-1,), copy=True)


def put_flat(x: Any, positions: Any, values: Any, what: str) -> None:
    """Assign values, repeated or cut to length, at flat positions in C order."""
    check_writable(x, what)
    positions = np.asarray(positions).reshape(-1)
    values = np.reshape(as_array(_to_write(values, x)), (-1,))
    if not positions.size:
        return
    cycle = np.arange(positions.size) % aval_of(values).size
    flat = setitem(_flattened(x), getitem(values, index=(cycle,)), index=(positions,))
    replace(x, np.reshape(flat, x.aval.shape))


def _set_flat(x: Any, values: Any) -> None:
    """The elements of x in C order; assigning to it repeats or cuts the values to length."""
    put_flat(x, np.arange(x.aval.size), values, DESTINATION)


for _name, _method in {
    "__getitem__": get,
    "__setitem__": put,
    "__delitem__": _delete,
    "__iter__": _rows,
    "__len__": _length,
    "__contains__": _contains,
    "flat": property(Flat, _set_flat),
}.items():
    setattr(TracedArray, _name, _method)

__all__ = [
    "DESTINATION",
    "Flat",
    "Selection",
    "get",
    "layout",
    "memory",
    "plain_of",
    "put",
    "put_flat",
    "replace",
    "uncovered",
]
