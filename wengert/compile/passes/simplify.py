"""Local algebra: one row per rewrite, by the primitive of the line that it rewrites.

The rows of `ROUNDS` may change the last bits of a result (where, they say themselves); all others are exact, for NaN,
infinities, subnormal numbers and −0.0 too. A row's equation stands in its docstring.
"""

from __future__ import annotations

from typing import Final

from wengert.compile.passes import arithmetic as a
from wengert.compile.passes import indexing as i
from wengert.compile.passes import moving as m
from wengert.compile.passes.sweep import Rewrite, Sweep
from wengert.program import WengertList

ROWS: Final[list[tuple[str, Rewrite]]] = [
    ("add", a.add_zero),  # x + 0 = x
    ("add", a.add_same),  # x + x = 2 x
    ("add", a.add_negative),  # x + (−y) = x − y
    ("add", a.add_choices),  # where(c, x, 0) + where(c, 0, y) = where(c, x, y)
    ("add", i.scatter_pair),  # scatter(x, i) + scatter(y, i) = scatter(x + y, i)
    ("add", i.scatter_joint),  # scatter(x, :k) + scatter(y, k:) = concatenate(x, y) + 0
    ("subtract", a.subtract_zero),  # x − 0 = x
    ("subtract", a.subtract_negative),  # x − (−y) = x + y
    ("negative", a.negative_negative),  # −(−x) = x
    ("negative", a.negative_product),  # −(c x) = (−c) x
    ("multiply", a.multiply_one),  # 1 x = x
    ("multiply", a.multiply_minus_one),  # −1 x = −x
    ("multiply", a.multiply_same),  # x x = x²
    ("multiply", a.multiply_negatives),  # (−x) (−y) = x y
    ("multiply", a.multiply_twice),  # a (b x) = (a b) x for powers of two
    ("divide", a.divide_one),  # x / 1 = x
    ("divide", a.divide_power_of_two),  # x / 2ᵏ = 2⁻ᵏ x
    ("divide", a.divide_reciprocal),  # (1 / y) / y = (1 / y)²
    ("power", a.power_shortcut),  # x**2 = x²
    ("power", a.power_product),  # x**3 = x x²
    ("square", a.square_of_absolute),  # |x|² = x²
    ("absolute", a.absolute_negative),  # |−x| = |x|
    ("absolute", a.absolute_positive),  # |x| = x where x ≥ 0
    ("positive", a.positive),  # +x = x
    ("conjugate", a.positive),  # conj x = x
    ("real", a.positive),  # Re x = x
    ("scale", a.scale_plain),  # scale(ct, p) = ct p where no 0 meets ∞ or NaN
    ("scale", a.scale_zero),  # scale(0, p) = 0 where p ≥ 0
    ("scale", a.scale_mask),  # scale(c, p) = where(c, p, 0)
    ("both", a.both_plain),  # both(x, y) = x y
    ("both", a.both_known),  # both(x, y) = scale(x, y)
    ("where", a.where_known),  # where(True, x, y) = x
    ("where", a.where_not),  # where(¬c, x, y) = where(c, y, x)
    ("logical_not", a.not_not),  # ¬¬c = c
    ("reshape", m.reshape_again),  # reshape(reshape x) = reshape x
    ("transpose", m.transpose_again),  # (xᵀ)ᵀ = x
    ("broadcast_to", m.broadcast_again),  # broadcast(broadcast x) = broadcast x
    ("spread", m.spread_parts),  # spread x = broadcast(reshape x)
    ("cast", m.cast_again),  # cast(cast x) = cast x
    ("copy", m.plain_copy),  # copy x = x
    ("stop_gradient", m.plain_copy),
    ("sum_to", m.sum_to_again),  # Σ of single elements = reshape(x) + 0
    ("sum", m.sum_of_one),
    ("max", m.extreme_of_one),  # max of single elements = reshape x
    ("min", m.extreme_of_one),
    ("getitem", i.getitem_all),  # x[:] = x
    ("getitem", m.moved_number),
    ("roll", m.moved_number),
    ("getitem", i.getitem_written),  # (x with x[i] = v)[i] = v
    ("getitem", i.getitem_joined),  # stack(…, x, …)[k] = x
    ("getitem", i.getitem_scattered),  # scatter(ct, i)[i] = ct + 0
    ("gather", i.gather_known),  # gather(x, i) = x[i]
    ("scatter_at", i.gather_known),
    ("scatter", i.scatter_all),  # scatter(ct, :) = ct + 0
    ("setitem", i.setitem_all),  # (x with x[:] = v) = v
    ("setitem", i.setitem_again),  # x[i] = u; x[i] = v is x[i] = v
    ("setitem", i.setitem_joint),  # x[:k] = u; x[k:] = v is concatenate(u, v)
    ("outer", m.outer_product),  # outer(x, y) = x[:, None] y
    ("concatenate", i.concatenate_one),  # concatenate(x[:k], x[k:]) = x
    ("stack", i.stack_one),  # stack(x) = x[None]
]

# Of any line that acts on each element
EVERYWHERE: Final[list[Rewrite]] = [
    a.broadcast_late,  # f(broadcast x, y) = f(x, y)
]

ROUNDS: Final = frozenset({a.multiply_twice, a.divide_reciprocal, a.power_product, a.broadcast_late})


def table(rows: list[tuple[str, Rewrite]]) -> dict[str, list[Rewrite]]:
    """The rows by primitive, in their order."""
    found: dict[str, list[Rewrite]] = {}
    for name, rewrite in rows:
        found.setdefault(name, []).append(rewrite)
    return found


TABLE: Final = table(ROWS)


def run(program: WengertList) -> WengertList:
    """Rewrite each line by the rows above until none applies."""
    return Sweep(program, TABLE, EVERYWHERE).run()
