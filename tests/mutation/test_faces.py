"""The tester tested: engines that lie in the ways engines do, each of which must be found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .faces import check
from .oracle import copied, jacobian, leaves, map_leaves
from .plain import Plain, PlainList
from .table import TABLE

ROWS = {row.id: row for row in TABLE}


class ViewsAreCopies(np.ndarray):
    """As in systems without views: what is read is cut off."""

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return part.copy() if isinstance(part, np.ndarray) else part


class InPlaceRebinds(np.ndarray):
    """As in HIPS/autograd: `y += w` is `y = y + w`, and aliases of y are stale."""

    def __iadd__(self, other: Any) -> Any:
        return self + other

    def __imul__(self, other: Any) -> Any:
        return self * other


class Of(Plain):
    """Runs programs on a class of arrays with habits of its own."""

    def __init__(self, arrays: type[np.ndarray]) -> None:
        super().__init__()
        self.arrays = arrays

    def _habit(self, f: Any) -> Any:
        return lambda x: map_leaves(np.array, f(np.array(x).view(self.arrays)))

    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        return super().jvp(self._habit(f), primals, tangents)

    def vjp(self, f: Any, x: Any) -> Any:
        return super().vjp(self._habit(f), x)

    def vmap(self, f: Any) -> Any:
        return super().vmap(self._habit(f))

    def trace(self, f: Any) -> Any:
        return super().trace(self._habit(f))


class ScalarsAreArrays(Plain):
    """As in PyTorch: a float is a 0-d tensor, so that `b += 1` reaches its aliases."""

    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = super().jvp(f, (np.array(primals[0]),), tangents)
        return map_leaves(np.float64, value), tangent


class WritesTheArgument(Plain):
    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        answer = super().jvp(f, primals, tangents)
        f(primals[0])
        return answer

    def vmap(self, f: Any) -> Any:
        def mapped(xs: Any) -> Any:
            answer = super(WritesTheArgument, self).vmap(f)(xs)
            for x in xs:
                f(x)
            return answer

        return mapped


class SlopeSlightlyOff(Plain):
    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = super().jvp(f, primals, tangents)
        return value, map_leaves(lambda t: t * (1.0 + 1e-6), tangent)

    def grad(self, f: Any) -> Any:
        return lambda x: super(SlopeSlightlyOff, self).grad(f)(x) * (1.0 + 1e-6)


class LastBitOff(Plain):
    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = super().jvp(f, primals, tangents)
        return map_leaves(lambda leaf: np.nextafter(leaf, np.inf), value), tangent


class SharesMemory(Plain):
    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        value = f(primals[0])
        return value, super().jvp(f, primals, tangents)[1]


class KeepsTheCallersArrays(Plain):
    """Its pullback reads the argument when it is called, not when it was recorded."""

    def vjp(self, f: Any, x: Any) -> Any:
        def pullback(ct: Any) -> Any:
            slopes = jacobian(f, x, self.step)
            pulled = sum((c * s).reshape(len(s), -1).sum(axis=1) for c, s in zip(leaves(ct), slopes, strict=True))
            return (np.reshape(pulled, np.shape(x)),)

        return super().vjp(f, x)[0], pullback


class ConjugatesItsCotangent(Plain):
    def vjp(self, f: Any, x: Any) -> Any:
        value, pullback = super().vjp(f, x)
        return value, lambda ct: (np.conj(pullback(ct)[0]),)


class Promotes(Plain):
    """As HIPS/autograd: float32 in, float64 out."""

    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = super().jvp(f, primals, tangents)
        return value, map_leaves(np.float64, tangent)


class FirstLaneForAll(Plain):
    def vmap(self, f: Any) -> Any:
        return lambda xs: map_leaves(lambda leaf: np.stack([leaf] * len(xs)), f(copied(xs[0])))


class FrozenList(Plain):
    """Staged with the example's value baked in."""

    def trace(self, f: Any) -> Any:
        def tracer(x: Any) -> PlainList:
            value = super(FrozenList, self).trace(f)(x).evaluate(x)
            return PlainList(lambda _: value)

        return tracer


class OtherMessage(Plain):
    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        try:
            return super().jvp(f, primals, tangents)
        except Exception as error:
            raise type(error)("something went wrong") from error


OurError = type("OurError", (TypeError,), {"__module__": "wengert.errors"})


class RefusesEverything(Plain):
    message = "Write np.zeros(3, like=x) instead, or y.copy()."
    error: type[Exception] = OurError

    def jvp(self, f: Any, primals: Any, tangents: Any) -> Any:
        raise self.error(self.message)


class RefusesWithoutAHint(RefusesEverything):
    message = "No."


class RefusesByAccident(RefusesEverything):
    error = TypeError


LIES = [
    (Of(ViewsAreCopies), "iadd view-1d", "forward"),
    (Of(ViewsAreCopies), "imul base_read_through_view-1d", "reverse"),
    (Of(ViewsAreCopies), "rows_by_iteration-2d", "trace"),
    (Of(ViewsAreCopies), "chained_basic_indexing_writes-1d", "vmap"),
    (Of(InPlaceRebinds), "iadd alias-1d", "forward"),
    (Of(InPlaceRebinds), "imul view-1d", "vmap"),
    (Of(InPlaceRebinds), "the_case_of_the_fine_print-0d", "reverse"),
    (Of(InPlaceRebinds), "in_place_in_a_helper-1d", "trace"),
    (ScalarsAreArrays(), "the_case_of_the_fine_print-scalar", "forward"),
    (ScalarsAreArrays(), "the_case_of_the_fine_print-float", "forward"),
    (WritesTheArgument(), "out_is_the_argument-1d", "forward"),
    (WritesTheArgument(), "a_view_of_the_argument_writes_the_argument-1d", "vmap"),
    (SlopeSlightlyOff(), "isub whole-1d", "forward"),
    (SlopeSlightlyOff(), "isub whole-1d", "grad"),
    (SlopeSlightlyOff(), "isub whole constant-1d", "vmap of grad"),
    (LastBitOff(), "isub whole-1d", "forward"),
    (SharesMemory(), "the_argument_itself-1d", "forward"),
    (SharesMemory(), "results_that_alias_each_other-1d", "forward"),
    (KeepsTheCallersArrays(), "plain_on_the_left_makes_a_new_array-1d", "reverse"),
    (KeepsTheCallersArrays(), "imul whole-1d", "reverse"),
    (ConjugatesItsCotangent(), "complex_products_in_place-complex", "reverse"),
    (Promotes(step=2.0**-5), "fresh_buffer_from_zeros_like-f32", "forward"),
    (FirstLaneForAll(), "imul whole-1d", "vmap"),
    (FrozenList(), "imul whole-1d", "trace"),
    (OtherMessage(), "index_out_of_range-1d", "forward"),
    (Plain(), "plain y[0] = x[0]-1d", "forward"),
    (Plain(), "write_in_place through y.reshape(-1)-2d", "trace"),
    (RefusesEverything(), "iadd view-1d", "forward"),
    (RefusesEverything(), "index_out_of_range-1d", "forward"),
    (RefusesEverything(), "write_in_place through y.ravel()-2d", "forward"),  # should be a ValueError
    (RefusesWithoutAHint(), "plain y[0] = x[0]-1d", "forward"),
    (RefusesByAccident(), "plain y[0] = x[0]-1d", "forward"),
]


def _name(part: Any) -> str:
    if isinstance(part, Of):
        return part.arrays.__name__
    return part if isinstance(part, str) else type(part).__name__


@pytest.mark.parametrize(("engine", "row", "face"), LIES, ids=_name)
def test_a_lie_is_found_out(engine: Any, row: str, face: str) -> None:
    with pytest.raises(AssertionError):
        check(ROWS[row], face, engine)


def test_a_refusal_is_accepted_where_it_is_due() -> None:
    check(ROWS["plain y[0] = x[0]-1d"], "forward", RefusesEverything())
    check(ROWS["resize-1d"], "forward", RefusesEverything())
