"""Einstein's summation convention, as one variadic primitive.

The transpose in one operand is an einsum of the cotangent with the other operands, whose result has the operand's own
subscripts. Then: an index that only this operand has was summed, so its cotangent is constant along it; an index that
occurs twice in it read a diagonal, so its cotangent is zero off that diagonal.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.avals import Aval, Shape, result_dtype
from wengert.core import Primitive, aval_of
from wengert.ops.kinds import Linear
from wengert.ops.vector import broadcast_to, looped, scale

LETTERS = string.ascii_letters
SMALL = 4096  # index combinations up to which NumPy's plain einsum loop beats planning a route through BLAS


def split(subscripts: str) -> tuple[list[str], str]:
    """The terms of the operands, and the term of the result."""
    terms, result = subscripts.split("->")
    return terms.split(","), result


def _einsum_shape(*operands: Aval, subscripts: str, optimize: Any) -> tuple[Shape, np.dtype[Any]]:
    terms, result = split(subscripts)
    sizes = _sizes(terms, [x.shape for x in operands])
    return tuple(sizes[c] for c in result), result_dtype(*operands)


def _sizes(terms: Sequence[str], shapes: Sequence[Shape]) -> dict[str, int]:
    """The length of each index; NumPy lets an axis of length 1 stand for any."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for c, length in zip(term, shape, strict=True):
            if sizes.get(c, 1) == 1:
                sizes[c] = length
    return sizes


def route(terms: Sequence[str], result: str, shapes: Sequence[Shape]) -> Any:
    """NumPy's `optimize` argument for an einsum of ours: the plain loop where it is small, else a good order."""
    if math.prod(_sizes(terms, shapes).values()) <= SMALL:
        return False
    if len(terms) < 3:
        return True
    import opt_einsum  # takes longer to import than wengert, and only large products of three or more need it

    path, _ = opt_einsum.contract_path(f"{','.join(terms)}->{result}", *shapes, shapes=True)
    return ("einsum_path", *path)


def _einsum_bar(ct: Any, into: Aval, slot: int, operands: Sequence[Any], *, subscripts: str, optimize: Any) -> Any:
    terms, result = split(subscripts)
    own = terms[slot]
    sources, values = [result], [ct]
    for term, x in zip(terms, operands, strict=True):
        if x is not None:
            sources.append(term)
            values.append(x)
    shapes = [aval_of(x).shape for x in values]
    sizes = _sizes(sources, shapes)
    lengths = dict(zip(own, into.shape, strict=True))  # one entry per index, at its first place
    kept = [c for c in lengths if sizes.get(c) == lengths[c]]
    wanted = "".join(kept)
    bar = einsum(*values, subscripts=f"{','.join(sources)}->{wanted}", optimize=route(sources, wanted, shapes))
    first = {c: own.index(c) for c in lengths}
    places = [c if first[c] == k else "" for k, c in enumerate(own)]  # repeated places hold a diagonal's other axes
    bar = np.reshape(bar, tuple(sizes[c] if c in kept else 1 for c in places))
    if len(lengths) < len(own):
        bar = scale(_diagonals(own, into.shape), bar)  # an exact 0 off the diagonal, even where bar is infinite
    return broadcast_to(bar, shape=into.shape)


def _diagonals(term: str, shape: Shape) -> Any:
    """True where axes with the same subscript have the same position."""
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    mask: Any = np.True_
    for k, c in enumerate(term):
        if term.index(c) < k:
            mask = mask & (grids[term.index(c)] == grids[k])
    return mask


def _einsum_batch(primitive: Primitive, size: int, args: Sequence[Any], mapped: Sequence[bool], params: Any) -> Any:
    terms, result = split(params["subscripts"])
    unused = [c for c in LETTERS if c not in params["subscripts"]]
    if not unused:
        return looped(primitive, size, args, mapped, params)
    terms = [unused[0] * is_mapped + term for term, is_mapped in zip(terms, mapped, strict=True)]
    return einsum(*args, subscripts=f"{','.join(terms)}->{unused[0]}{result}", optimize=params["optimize"])


einsum: Linear = Linear(
    "einsum",
    lambda *operands, subscripts, optimize: np.einsum(subscripts, *operands, optimize=optimize),
    shape=_einsum_shape,
    transpose=(_einsum_bar,),
    batch=_einsum_batch,
    variadic=True,
    scalar=lambda *, subscripts, optimize: optimize is False,
    examples=[
        ((2, 3), (3, 4), {"subscripts": "ij,jk->ik", "optimize": False}),
        ((3, 3), {"subscripts": "ii->", "optimize": False}),
        ((3, 3), {"subscripts": "ii->i", "optimize": False}),
        ((2, 3), {"subscripts": "ij->j", "optimize": False}),
        ((2, 3), (3, 4), (4, 2), {"subscripts": "ij,jk,ki->", "optimize": True}),
        ((2, 2, 3), (4, 3), (3,), {"subscripts": "iij,kj,l->ik", "optimize": False}),
        ((2, 2, 2), {"subscripts": "iii->i", "optimize": False}),
        ((1, 3), (2, 3), {"subscripts": "ij,ij->i", "optimize": False}),
        ((), (2,), {"subscripts": ",i->i", "optimize": False}),
        ((0, 3), (3,), {"subscripts": "ij,j->i", "optimize": False}),
    ],
    tags="complex",
)
