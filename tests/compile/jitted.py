"""Jitted objects for the tests of the entry: what is not native says so."""

import functools
import types
from collections import namedtuple

import numpy as np

from wengert.compile.entry import entry, instance
from wengert.compile.entry.spec import EntrySpec, Leaf, leaves_of

from .bodies import affine

F8 = np.dtype(float)
ONE = Leaf(0, float, F8)
Point = namedtuple("Point", "x y")


class Face:
    """What the tests' jitted objects look like."""

    def show(self):
        return f"this is {self.__name__}"

    @property
    def half(self):
        return 0.5

    @classmethod
    def maker(cls):
        return cls

    def __repr__(self):
        return f"<jitted {self.__name__}>"

    def __reduce__(self):
        return make, (self.__wrapped__,)


@functools.cache
def kind():
    return instance.make_type(Face)


def slow(self, *args, **kwargs):
    return "slow", args, kwargs


def make(function=None, slowly=slow):
    made = instance.new(kind(), slowly, {})
    return made if function is None else functools.update_wrapper(made, function)


def attached(spec, body=None, **options):
    made = make()
    entry.attach(made, spec, affine(list(leaves_of([*spec.arguments, *dict(spec.keywords).values()]))) if body is None
                 else body, **options)  # fmt: skip
    return made


def is_slow(found):
    return type(found) is tuple and len(found) == 3 and found[0] == "slow"


def of(x, **options):
    """An entry for one argument like this example, with a result of the same kind."""
    return attached(EntrySpec((Leaf.like(0, x),), Leaf.like(0, x), **options))


def same(one, other):
    return type(one) is type(other) and np.array_equal(one, other) and np.asarray(one).dtype == np.asarray(other).dtype


def leaf(number, shape=()):
    return Leaf(number, np.ndarray if shape else float, F8, shape)


def cell(*value):
    return types.CellType(*value)


class Config:
    """An object like any other."""
