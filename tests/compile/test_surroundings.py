"""What lies around a staged function: guards, and captured arrays, as native entries check and follow them."""

import gc
import sys
import weakref

import numpy as np
import pytest

from wengert.compile.entry import entry
from wengert.compile.entry.spec import EntrySpec, Leaf
from wengert.compile.machine import engine
from wengert.compile.staging.guards import (
    MISSING,
    CellGuard,
    ClassGuard,
    ContentsGuard,
    DictGuard,
    ElementsGuard,
    FunctionGuard,
    OwnGuard,
)

from .bodies import affine
from .jitted import F8, ONE, Config, attached, cell, is_slow, make

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))


# ------------------------------------------------------------------------------------------------------------- guards


def guarded(*guards, **options):
    return attached(EntrySpec((ONE,), ONE, guards=guards, **options))


def test_a_cell():
    value = Config()
    holder = cell(value)
    f = guarded(CellGuard(holder, None, value, "v"))
    assert f(1.0) == 3.0
    holder.cell_contents = Config()
    assert is_slow(f(1.0))
    holder.cell_contents = value
    assert f(1.0) == 3.0
    del holder.cell_contents
    assert is_slow(f(1.0))


def test_an_empty_cell():
    holder = cell()
    f = guarded(CellGuard(holder, None, MISSING, "v"))
    assert f(1.0) == 3.0
    holder.cell_contents = 1
    assert is_slow(f(1.0))


@pytest.mark.parametrize(
    "value, equal, other",
    [(2.5, float("2.5"), -2.5), (10**9, int("1000000000"), 1), ("ab c", " ".join(["ab", "c"]), "x")],
)
def test_small_values_are_compared_to_the_bit(value, equal, other):
    holder = cell(value)
    names = {"n": value}
    f = guarded(CellGuard(holder, None, value, "v"), DictGuard(names, "n", value, "n"))
    holder.cell_contents = names["n"] = equal
    assert f(1.0) == 3.0
    for wrong in (other, None, [], Config()):
        holder.cell_contents = wrong
        assert is_slow(f(1.0))
        holder.cell_contents = equal
        names["n"] = wrong
        assert is_slow(f(1.0))
        names["n"] = equal
        assert f(1.0) == 3.0
    del names["n"]
    assert is_slow(f(1.0))


def test_names():
    value, other = Config(), Config()
    names = {"v": value, "w": other}
    f = guarded(
        DictGuard(names, "v", value, "v"), DictGuard(names, "len", MISSING, "len"), DictGuard(names, "w", other, "w")
    )
    assert f(1.0) == f(1.0) == 3.0
    names["x"] = 1
    assert f(1.0) == 3.0
    for name, value in [("v", other), ("w", None), ("len", abs)]:
        before = names.get(name)
        names[name] = value
        assert is_slow(f(1.0)) and is_slow(f(1.0))
        if before is None:
            del names[name]
        else:
            names[name] = before
        assert f(1.0) == 3.0
    names.clear()
    assert is_slow(f(1.0))


def test_names_with_a_hostile_neighbour():
    class Hostile:
        def __hash__(self):
            return hash("v")

        def __eq__(self, other):
            raise KeyError("hostile")

    value = Config()
    names = {Hostile(): 1}
    dict.__setitem__(names, "w", value)
    f = guarded(DictGuard(names, "v", MISSING, "v"))
    with pytest.raises(KeyError, match="hostile"):
        f(1.0)


def test_functions():
    config = Config()

    def helper(x, y=config, *, z=3):
        return x

    f = guarded(
        FunctionGuard(weakref.ref(helper), None, (helper.__code__, helper.__defaults__, helper.__kwdefaults__), "h")
    )
    assert f(1.0) == 3.0
    for name, value in [("__code__", (lambda x, y, *, z: x).__code__), ("__defaults__", (1,)), ("__defaults__", None),
                        ("__kwdefaults__", {"z": 4}), ("__kwdefaults__", None)]:  # fmt: skip
        before = getattr(helper, name)
        setattr(helper, name, value)
        assert is_slow(f(1.0))
        setattr(helper, name, before)
        assert f(1.0) == 3.0
    del helper
    gc.collect()
    assert is_slow(f(1.0))


def test_elements():
    values = [Config(), 2.5, [1]]
    table = {"a": values[0], "b": "text"}
    f = guarded(
        ElementsGuard(values, list, list(values), "l"),
        ElementsGuard(table, lambda d: [*d.keys(), *d.values()], ["a", "b", values[0], "text"], "d"),
    )
    assert f(1.0) == 3.0
    for change, undo in [
        (lambda: values.append(1), lambda: values.pop()),
        (lambda: values.__setitem__(0, None), lambda: values.__setitem__(0, table["a"])),
        (lambda: table.update(c=1), lambda: table.pop("c")),
        (lambda: table.update(b="other"), lambda: table.update(b="".join(["te", "xt"]))),
    ]:
        change()
        assert is_slow(f(1.0))
        undo()
        assert f(1.0) == 3.0
    values.clear()
    assert is_slow(f(1.0))


def test_contents():
    table = np.arange(3.0)
    f = guarded(ContentsGuard(table, None, table.tobytes(), "t"))
    assert f(1.0) == 3.0
    table[2] = 5
    assert is_slow(f(1.0))
    table[2] = 2
    assert f(1.0) == 3.0
    table.shape = (3, 1)
    assert is_slow(f(1.0))


def test_the_jitted_object_itself():
    holder, names = cell(None), {}
    f, g = make(), make()
    holder.cell_contents = names["f"] = f
    guards = (OwnGuard(CellGuard(holder, None, f, "f")), OwnGuard(DictGuard(names, "f", f, "f")))
    count = sys.getrefcount(f)
    entry.attach(f, EntrySpec((ONE,), ONE, guards=guards), affine([ONE]))
    assert sys.getrefcount(f) == count and f(1.0) == 3.0
    holder.cell_contents = g
    assert is_slow(f(1.0))
    holder.cell_contents, names["f"] = f, g
    assert is_slow(f(1.0))


def test_what_only_python_can_check():
    class Settings:
        mode = 1

    f = guarded(ClassGuard(weakref.ref(Settings), "mode", 1, "mode"))
    assert f(1.0) == 3.0
    Settings.mode = 2
    assert is_slow(f(1.0))

    class Failing(ClassGuard):
        __slots__ = ()

        def current(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(Failing(None, None, None, ""))(1.0)


# ------------------------------------------------------------------------------------------- captured arrays, donation


def test_hidden_arrays_are_read_at_each_call_and_checked():
    w = np.arange(3.0)
    out = Leaf(0, np.ndarray, F8, (3,))
    f = attached(EntrySpec((), out, hidden=(w,)), affine([out]))
    assert np.array_equal(f(), [1, 3, 5])
    w += 1
    assert np.array_equal(f(), [3, 5, 7])
    w.shape = (3, 1)
    assert is_slow(f())
    w.shape = (3,)
    assert np.array_equal(f(), [3, 5, 7])


def following(place):
    """An entry that reads a captured array where it stands, and setters of that place."""
    w = np.arange(3.0)
    out = Leaf(0, np.ndarray, F8, (3,))
    guards, put = place(w)
    f = attached(EntrySpec((), out, hidden=(w,), guards=tuple(guards), free=frozenset({id(w)})), affine([out]))
    return f, put, w


def in_cell(w):
    holder = cell(w)
    return [CellGuard(holder, None, w, "w")], lambda value: setattr(holder, "cell_contents", value)


def in_names(w):
    names = {"w": w}
    return [DictGuard(names, "w", w, "w")], lambda value: names.__setitem__("w", value)


def in_list(w):
    values, names = [w], {}
    names["l"] = values
    guards = [DictGuard(names, "l", values, "l"), ElementsGuard(values, list, [w], "l")]
    return guards, lambda value: names.__setitem__("l", [value])


def in_dict_in_tuple_in_cell(w):
    values = {"w": w, "b": 1}
    holder = cell((values, 5))
    guards = [CellGuard(holder, None, holder.cell_contents, "c"), ElementsGuard(values, None, ["w", "b", w, 1], "d")]
    return guards, lambda value: setattr(holder, "cell_contents", ({"w": value, "b": 1}, 5))


@pytest.mark.parametrize("place", [in_cell, in_names, in_list, in_dict_in_tuple_in_cell])
def test_a_captured_array_is_followed_to_the_one_that_replaces_it(place):
    f, put, w = following(place)
    assert np.array_equal(f(), [1, 3, 5])
    for k in range(5):
        put(np.full(3, float(k)))
        assert np.array_equal(f(), np.full(3, 2 * k + 1.0)) and np.array_equal(f(), np.full(3, 2 * k + 1.0))
    for wrong in (np.zeros(4), np.zeros(3, int), np.zeros((3, 1)), np.zeros(6)[::2], None, [0.0] * 3, np.ma.zeros(3)):
        put(wrong)
        assert is_slow(f())
    put(w)
    assert np.array_equal(f(), [1, 3, 5])


def test_one_thing_in_two_places_must_be_one_thing_still():
    w, (one, put), (other, put_other) = (w := np.arange(3.0)), in_cell(w), in_names(w)
    out = Leaf(0, np.ndarray, F8, (3,))
    f = attached(EntrySpec((), out, hidden=(w,), guards=(*one, *other), free=frozenset({id(w)})), affine([out]))
    new = np.ones(3)
    put(new)
    assert is_slow(f())
    put_other(new)
    assert np.array_equal(f(), [3, 3, 3])
    pinned = ContentsGuard(w, None, w.tobytes(), "w")
    f = attached(EntrySpec((), out, hidden=(w,), guards=(*one, *other, pinned), free=frozenset({id(w)})), affine([out]))
    assert is_slow(f())
