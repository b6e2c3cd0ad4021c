"""Calls entries with what they do not expect, in a process of its own: `python -m tests.compile.fuzz_entry seed count`.

Random specialisations are called with arguments that fit, and with arguments of which one part, at any depth, has been
replaced. A native answer must be right; all else must go to Python; a crash ends the process. Prints both counts.
"""

import gc
import random
import sys
import types
import warnings
import weakref

import numpy as np

from wengert.compile.entry import entry, instance
from wengert.compile.entry.spec import Constant, EntrySpec, Items, Keys, Leaf, leaves_of
from wengert.compile.staging.guards import CellGuard, DictGuard, ElementsGuard

from .bodies import affine, expected


class Face:
    pass


class Mine(np.ndarray):
    pass


class Number(float):
    pass


class Odd:
    """Claims to be everything."""

    __array_interface__ = types.MappingProxyType({"shape": (3,), "typestr": "<f8", "data": (0, True), "version": 3})
    __class__ = np.ndarray

    def __eq__(self, other):
        gc.collect()
        return True

    def __hash__(self):
        return hash("a")


SLOW = object()
SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 2), (2, 0, 2), (1, 1, 4)]
CODES = "?bBhHiIlLqQfdFD"


def slow(self, *args, **kwargs):
    return SLOW


def example(pick):
    """A random leaf value."""
    if pick.random() < 0.5:
        return np.full(pick.choice(SHAPES), pick.randrange(1, 5), pick.choice(CODES))
    return pick.choice([2.5, 7, True, 2 - 1j, *(np.dtype(code).type(3) for code in CODES)])


def plan(pick, depth, leaves):
    """A random node and a value that fits it."""
    kind = pick.random()
    if depth == 0 or kind < 0.5:
        value = example(pick)
        leaves.append(Leaf.like(len(leaves), value))
        return leaves[-1], value
    if kind < 0.6:
        value = pick.choice([None, "static", 12345, 0.125, True, STATIC])
        return Constant(value), value
    parts = [plan(pick, depth - 1, leaves) for _ in range(pick.randrange(4))]
    if kind < 0.75:
        return Items(tuple, tuple(node for node, _ in parts)), tuple(value for _, value in parts)
    if kind < 0.9:
        return Items(list, tuple(node for node, _ in parts)), [value for _, value in parts]
    keys = [f"key{k}" for k in range(len(parts))]
    return Keys(tuple((k, node) for k, (node, _) in zip(keys, parts, strict=True))), {
        k: value for k, (_, value) in zip(keys, parts, strict=True)
    }


STATIC = types.SimpleNamespace()


def dead():
    """Objects that lived a moment ago."""
    one = np.ones(3)
    reference = weakref.ref(one)
    del one
    return reference()


def stranger(pick, value):
    """Something else in the place of `value`."""
    others = [
        None, True, 0, 2**63, -(2**100), 1.5, 1j, "a", b"a", (), [], {}, {"key0": 1.0}, [1.0], (1.0,), Odd(),
        Number(2.5), float("nan"), float, np.ndarray, np, len, slice(None), ..., dead(), object(), np.float16(1),
        np.longdouble(1), np.str_("a"), np.datetime64("2020"), np.void(b"abc"), memoryview(b"abc"), iter([]), range(3),
        types.SimpleNamespace(), np.zeros(3).view(Mine), np.ma.zeros(3), np.zeros(3, object), np.zeros(3, "U3"),
        np.zeros(3, [("a", "f8")]), np.zeros((2**20, 0, 2**20)), np.zeros([1] * 32), example(pick), example(pick),
    ]  # fmt: skip
    if isinstance(value, np.ndarray):
        raw = np.zeros(value.nbytes + 16, np.uint8)[1 : value.nbytes + 1]
        others += 5 * [
            value.astype(value.dtype.newbyteorder("S")) if value.dtype.itemsize > 1 else None,
            raw.view(value.dtype).reshape(value.shape),
            np.repeat(value, 2, axis=0)[::2] if value.ndim else value[None],
            np.asfortranarray(value),
            value[::-1] if value.ndim else None,
            value.T,
            value.view(Mine),
            np.ma.array(value),
            np.asarray(value.tolist(), object),
            value.tolist(),
            value[()] if not value.ndim else value[:1],
            np.broadcast_to(value, (2, *value.shape))[0],
            np.lib.stride_tricks.as_strided(value, value.shape, [0] * value.ndim),
            value.astype(pick.choice(CODES)) if value.dtype.kind != "c" else value.astype("O"),
        ]
    return pick.choice(others)


def spoil(pick, value):
    """A copy of a value with one part of it replaced, lost, added, or of another kind."""
    if isinstance(value, tuple | list) and value and pick.random() < 0.7:
        parts = list(value)
        k = pick.randrange(len(parts))
        how = pick.random()
        if how < 0.7:
            parts[k] = spoil(pick, parts[k])
        elif how < 0.85:
            del parts[k]
        else:
            parts.insert(k, stranger(pick, parts[k]))
        return type(value)(parts) if pick.random() < 0.9 else (list(parts) if type(value) is tuple else tuple(parts))
    if isinstance(value, dict) and value and pick.random() < 0.7:
        parts = dict(value)
        key = pick.choice(list(parts))
        how = pick.random()
        if how < 0.6:
            parts[key] = spoil(pick, parts[key])
        elif how < 0.75:
            moved = parts.pop(key)
            parts[pick.choice([key, 1, Odd(), "other", b"key0"])] = moved
        elif how < 0.9:
            del parts[key]
        else:
            parts[pick.choice(["zz", 3, None])] = 1
        return parts
    return stranger(pick, value)


def equal(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(equal, one.values(), other.values()))
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def answer(node, value):
    """What a native answer must be."""
    if isinstance(node, Leaf):
        return expected(value)
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Keys):
        return {name: answer(child, value[name]) for name, child in node.items}
    return node.kind(answer(child, part) for child, part in zip(node.items, value, strict=True))


def churn():
    """Reuse freed memory, so that a dangling pointer meets something else."""
    gc.collect(0)
    return [np.full(3, -1.0), [object()], {"a": 1}, (1.0, 2.0)]


def one_round(pick, counts):
    leaves = []
    nodes, values = zip(*(plan(pick, 3, leaves) for _ in range(pick.randrange(1, 4))), strict=True)
    named = pick.randrange(len(nodes) + 1) if pick.random() < 0.3 else len(nodes)
    names = [f"argument{k}" for k in range(len(nodes) - named)]
    captured = [np.ones(2)]
    surroundings = {"name": STATIC, "captured": captured}
    holder = types.CellType(captured[0])
    guards = (
        DictGuard(surroundings, "name", STATIC, "name"),
        CellGuard(holder, None, captured[0], "captured"),
        DictGuard(surroundings, "captured", captured, "captured"),
        ElementsGuard(captured, list, list(captured), "captured"),
    )
    spec = EntrySpec(nodes[:named], Items(tuple, nodes), tuple(zip(names, nodes[named:], strict=True)),
                     guards=guards if pick.random() < 0.5 else (), hidden=(captured[0],),
                     free=frozenset({id(captured[0])}))  # fmt: skip
    made = instance.new(KIND, slow, {})
    made.itself = made
    entry.attach(made, spec, affine(list(leaves_of(nodes))))
    for _ in range(10):
        given = list(values)
        if pick.random() < 0.6:
            k = pick.randrange(len(given))
            given[k] = spoil(pick, given[k])
        if pick.random() < 0.2:
            holder.cell_contents = fresh = stranger(pick, captured[0])
            if pick.random() < 0.5:
                surroundings["captured"] = pick.choice([[fresh], [], fresh, (fresh,)])
        keywords = dict(zip(names, given[named:], strict=True))
        if pick.random() < 0.05:
            keywords = pick.choice([dict(reversed(keywords.items())), {**keywords, "more": 1}, {"x": 1}])
        positional = given[:named] + ([1.0] if pick.random() < 0.05 else [])
        found = made(*positional, **keywords)
        kept = churn()
        if found is SLOW:
            counts[1] += 1
        else:
            counts[0] += 1
            wanted = tuple(answer(node, value) for node, value in zip(nodes, given, strict=True))
            assert equal(found, wanted), (spec, given, found)
        del kept


KIND = instance.make_type(Face)


def main(seed, count):
    warnings.simplefilter("ignore")
    gc.set_threshold(50, 2, 2)
    pick = random.Random(seed)
    counts = [0, 0]
    with np.errstate(all="ignore"):
        for _ in range(count // 10):
            one_round(pick, counts)
    print(*counts)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
