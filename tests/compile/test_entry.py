"""The native entry: what it takes, what it leaves to Python, and what it returns."""

import gc
import pickle
import sys
import types
import warnings
import weakref

import numpy as np
import pytest

from wengert import tree
from wengert.avals import Aval
from wengert.compile.entry import entry, instance, layout
from wengert.compile.entry.spec import Constant, EntrySpec, Items, Keys, Leaf, Made, result_of, structure
from wengert.compile.machine import engine
from wengert.compile.staging.guards import (
    CellGuard,
)

from .bodies import affine, expected
from .jitted import F8, ONE, Config, Point, attached, cell, is_slow, leaf, make, of, same

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason=str(engine.unavailable()))


# ---------------------------------------------------------------------------------------------------------- values

NUMBERS = [2.5, -0.0, 7, -3, 2**61, True, False, 1 + 2j, np.True_, np.False_]
NUMBERS += [np.dtype(code).type(3) for code in "bBhHiIlLqQfdFD"]


@pytest.mark.parametrize("x", NUMBERS, ids=lambda x: f"{type(x).__name__}-{x}")
def test_a_number(x):
    f = of(x)
    assert same(f(x), expected(x))
    assert same(f(type(x)(1)), expected(type(x)(1)))
    others = [
        y for y in [2.5, 7, True, 1j, None, "a", [], np.zeros(()), np.zeros(3), *NUMBERS] if type(y) is not type(x)
    ]
    assert all(is_slow(f(y)) for y in others)


@pytest.mark.parametrize("code", "?bBhHiIlLqQfdFD")
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,), (3, 0, 2), (1, 2, 1, 2)])
def test_an_array(code, shape):
    x = np.ones(shape, code)
    f = of(x)
    found = f(x)
    assert same(found, expected(x)) and found.shape == shape
    assert found.flags.owndata and found.flags.writeable and found.base is None and found is not f(x)


def test_ints_beyond_64_bits_are_left_to_python():
    f = of(5)
    for x in (2**62, -(2**62)):
        assert f(x) == (2 * x + 1 + 2**63) % 2**64 - 2**63  # wraps, as int64 does
    for x in (2**63, -(2**63) - 1, 2**200, -(2**200)):
        assert is_slow(f(x))


def strange(x):
    """Arrays and lookalikes that an entry for `x` (2 × 4 float64) must not take."""
    raw = np.zeros(2 * 4 * 8 + 1, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix(x)
    return {
        "fortran": np.asfortranarray(x),
        "strided": np.zeros((2, 8))[:, ::2],
        "negative": x[::-1],
        "transposed": np.zeros((4, 2)).T,
        "broadcast": np.broadcast_to(np.zeros(4), (2, 4)),
        "misaligned": raw[1:].view(float).reshape(2, 4),
        "swapped": x.astype(x.dtype.newbyteorder("S")),
        "float32": x.astype(np.float32),
        "int64": x.astype(np.int64),
        "complex": x.astype(complex),
        "object": x.astype(object),
        "strings": x.astype(str),
        "dates": np.zeros((2, 4), "M8[s]"),
        "records": np.zeros((2, 4), [("a", float)]),
        "flat": x.ravel(),
        "wider": np.zeros((2, 5)),
        "taller": np.zeros((3, 4)),
        "turned": np.zeros((4, 2)),
        "deeper": x[None],
        "empty": np.zeros((2, 0)),
        "scalar": x[0, 0],
        "nought": np.array(1.0),
        "matrix": matrix,
        "masked": np.ma.array(x),
        "record": np.zeros((2, 4)).view(np.recarray),
        "subclass": x.view(type("Mine", (np.ndarray,), {})),
        "memory": memoryview(x),
        "list": x.tolist(),
        "none": None,
        "type": np.ndarray,
        "number": 3.0,
    }


X = np.arange(8.0).reshape(2, 4)


@pytest.mark.parametrize("name", strange(X))
def test_lookalikes_are_left_to_python(name):
    f = of(X)
    x = strange(X)[name]
    found = f(x)
    assert is_slow(found) and found[1][0] is x
    assert same(f(X), expected(X))


def test_arrays_that_are_right_though_unusual_are_taken():
    f = of(X)
    readonly = X.copy()
    readonly.flags.writeable = False
    for x in (readonly, np.arange(12.0).reshape(3, 4)[1:], pickle.loads(pickle.dumps(X)), X.copy("C")):
        assert same(f(x), expected(x))
    assert pickle.loads(pickle.dumps(X)).dtype is not X.dtype  # equal, but another object: a trap for fast paths
    ones = of(np.ones((1, 3)))
    thin = np.arange(6.0).reshape(2, 3)[::2]  # strides do not matter along an axis of length 1
    assert same(ones(thin), expected(thin))


def test_wrong_counts_of_arguments_are_left_to_python():
    f = of(2.5)
    assert f() == ("slow", (), {})
    assert f(1.5, 2.5) == ("slow", (1.5, 2.5), {})
    assert f(x=1.5) == ("slow", (), {"x": 1.5})
    assert f(1.5, x=1.5) == ("slow", (1.5,), {"x": 1.5})
    assert f(*[1.5] * 1000)[0] == "slow"
    assert attached(EntrySpec((), Constant(None)), affine([]))() is None


# ---------------------------------------------------------------------------------------------------------- keywords


def test_keywords_are_taken_in_the_order_of_the_specialisation():
    spec = EntrySpec(
        (ONE,), Items(tuple, (ONE, Leaf(1, float, F8))), (("scale", Leaf(1, float, F8)), ("mode", Constant("a")))
    )
    f = attached(spec)
    assert f(1.0, scale=2.0, mode="a") == (3.0, 5.0)
    name = "".join(["sca", "le"])  # equal, and not interned
    assert f(1.0, **{name: 2.0, "mode": "a"}) == (3.0, 5.0)
    for args, kwargs in [
        ((1.0,), {"mode": "a", "scale": 2.0}),
        ((1.0,), {"scale": 2.0}),
        ((1.0, 2.0, "a"), {}),
        ((1.0,), {"scale": 2.0, "mode": "b"}),
        ((1.0,), {"scale": 2, "mode": "a"}),
        ((1.0,), {"scale": 2.0, "kind": "a"}),
        ((), {"x": 1.0, "scale": 2.0, "mode": "a"}),
    ]:
        assert f(*args, **kwargs) == ("slow", args, kwargs)


def test_keywords_only():
    f = attached(EntrySpec((), ONE, (("x", ONE),)))
    assert f(x=2.0) == 5.0
    assert is_slow(f(2.0)) and is_slow(f()) and is_slow(f(y=2.0))


# -------------------------------------------------------------------------------------------------------- containers


NESTED = Keys((("a", Items(list, (leaf(0), Items(tuple, (leaf(1, (3,)), Constant(None)))))), ("b", leaf(2))))


def nested(a=1.0, b=None, c=2.0):
    return {"a": [a, (np.ones(3) if b is None else b, None)], "b": c}


def test_containers_in_and_out():
    f = attached(EntrySpec((NESTED,), NESTED))
    found = f(nested())
    assert list(found) == ["a", "b"] and type(found["a"]) is list and type(found["a"][1]) is tuple
    assert (found["a"][0], found["a"][1][1], found["b"]) == (3.0, None, 5.0)
    assert np.array_equal(found["a"][1][0], [3.0, 3.0, 3.0])
    keys = {"".join(["", key]): value for key, value in nested().items()}
    assert f(keys)["b"] == 5.0


@pytest.mark.parametrize("wrong", [
    None, [], {}, (1,), {"b": 1.0, "a": [1.0, (np.ones(3), None)]}, {**nested(), "c": 1}, {"a": nested()["a"]},
    {"a": nested()["a"], "c": 1.0}, {"a": nested()["a"], 1: 1.0}, {"a": tuple(nested()["a"]), "b": 1.0},
    {"a": [1.0, [np.ones(3), None]], "b": 1.0}, {"a": [1.0, (np.ones(3),)], "b": 1.0},
    {"a": [1.0, (np.ones(3), 0)], "b": 1.0}, {"a": [1.0], "b": 1.0}, {"a": [1.0, (np.ones(3), None), 1], "b": 1.0},
    types.MappingProxyType(nested()), type("D", (dict,), {})(nested()),
    {"a": type("L", (list,), {})(nested()["a"]), "b": 2.0},
    nested(a=1), nested(b=np.ones(4)), nested(c="x"),
])  # fmt: skip
def test_wrong_containers_are_left_to_python(wrong):
    f = attached(EntrySpec((NESTED,), NESTED))
    assert is_slow(f(wrong))


def test_namedtuples_are_taken_by_their_type():
    f = attached(EntrySpec((Items(Point, (leaf(0), leaf(1))),), Made(Point, (leaf(0), leaf(1)))))
    assert f(Point(1.0, 2.0)) == Point(3.0, 5.0) and type(f(Point(1.0, 2.0))) is Point
    assert is_slow(f((1.0, 2.0)))
    pair = attached(EntrySpec((Items(tuple, (leaf(0), leaf(1))),), Items(tuple, (leaf(0), leaf(1)))))
    assert is_slow(pair(Point(1.0, 2.0)))


def test_the_node_of_a_structure():
    one, two = leaf(0), leaf(1)
    assert structure({"a": [one, (two,)]}) == Keys((("a", Items(list, (one, Items(tuple, (two,))))),))
    assert structure(Point(one, two)) == Items(Point, (one, two))
    assert structure(Point(one, two), result=True) is None
    for unknown in ({1: one}, {one.kind: one}, {two.number, 5}, np.zeros(3), [np.zeros(3)], bytearray()):
        assert structure(unknown) is None
    value = structure("mode")
    assert isinstance(value, Constant) and value.value == "mode"


def test_results_that_python_must_build():
    value = {"p": Point(1.0, (2.0,)), 3: None}
    leaves, treedef = tree.flatten(value)
    spec = EntrySpec((leaf(0), leaf(1)), result_of(treedef, [leaf(0), leaf(1)]))
    found = attached(spec)(0.5, 1.0)
    assert found == {"p": Point(2.0, (3.0,)), 3: None} and type(found["p"]) is Point and len(leaves) == 2


def test_a_result_that_cannot_be_built_raises():
    def fail(*_):
        raise KeyError("no")

    f = attached(EntrySpec((leaf(0, (3,)), leaf(1)), Items(tuple, (leaf(0, (3,)), Made(fail, (leaf(1),))))))
    with pytest.raises(KeyError, match="no"):
        f(np.ones(3), 2.0)


def test_kinds_of_results_follow_the_aval():
    for aval, x in [(Aval((), F8, True, True), 2.5), (Aval((), F8, False, True), np.float64(2.5)),
                    (Aval((), F8), np.array(2.5)), (Aval((), np.dtype(int), True, True), 2),
                    (Aval((), np.dtype(bool), False, True), np.True_)]:  # fmt: skip
        found = attached(EntrySpec((Leaf.like(0, x),), Leaf.of(0, aval)))(x)
        assert type(found) is type(x) and found == expected(x)


def test_what_an_entry_cannot_read():
    for x in (np.float16(1), np.longdouble(1), np.zeros(2, "O"), np.zeros(2, ">f8"), "a", np.datetime64("2020", "D")):
        spec = EntrySpec((Leaf.like(0, x),), Constant(None))
        assert spec.native == (isinstance(x, np.float16 | np.longdouble))
    assert not EntrySpec((), Constant(None), hidden=(np.zeros(2, "O"),)).native


# ------------------------------------------------------------------------------------------------------------ statics


class Equal:
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize("value, alike, unlike", [
    ("relu", "".join(["re", "lu"]), ["rely", "", "reluu", b"relu", None, 1]),
    (1000, int("1000"), [1001, 1000.0, True, 2**80, "1000"]),
    (0.5, float("0.5"), [0.25, -0.5, np.float64(0.5), 1, None]),
    (None, None, [False, 0, "", ()]),
    (True, True, [1, False, np.True_]),
    (len, len, [abs, None]),
    (float, float, [int, np.float64]),
])  # fmt: skip
def test_static_arguments(value, alike, unlike):
    f = attached(EntrySpec((ONE, structure(value)), ONE))
    assert f(1.0, value) == f(1.0, alike) == 3.0
    assert all(is_slow(f(1.0, other)) for other in [*unlike, Equal(), Config()])


def test_signed_zeros_differ_as_statics():
    f = attached(EntrySpec((structure(0.0),), Constant("found")), affine([]))
    assert f(0.0) == "found" and is_slow(f(-0.0))


def test_a_static_object_is_held_weakly_and_its_successor_is_not_taken_for_it():
    config = Config()
    f = attached(EntrySpec((ONE, structure(config)), ONE))
    assert f(1.0, config) == 3.0 and is_slow(f(1.0, Config()))
    gone = weakref.ref(config)
    del config
    assert gone() is None
    assert is_slow(f(1.0, None))  # what a dead reference refers to
    assert all(is_slow(f(1.0, Config())) for _ in range(100))  # one of them at the same address


def test_a_donated_array_becomes_the_result():
    x, y = np.arange(3.0), np.arange(3.0)
    arrays = (Leaf(0, np.ndarray, F8, (3,)), Leaf(1, np.ndarray, F8, (3,)))
    f = attached(EntrySpec(arrays, Items(tuple, arrays), reuse=((0, 0),)))
    one, two = f(x, y)
    assert one is x and two is not y and np.array_equal(x, [1, 3, 5]) and np.array_equal(y, [0, 1, 2])
    base = np.arange(6.0)
    readonly = np.arange(3.0)
    readonly.flags.writeable = False
    for wrong in [(x, x), (x, x[:]), (base[:3], y), (readonly, y)]:
        assert is_slow(f(*wrong))
    assert sys.getrefcount(x) == 3  # the name, `one`, and the argument


# --------------------------------------------------------------------------------------------------- outcomes of a body

CODES = """
define internal i32 @body(ptr %ins, ptr %outs) {
  %at = load ptr, ptr %ins
  %x = load i64, ptr %at
  %code = trunc i64 %x to i32
  %bad = icmp eq i32 %code, 1
  br i1 %bad, label %raise, label %end
raise:
  %kind = load ptr, ptr @PyExc_FloatingPointError
  call void @PyErr_SetNone(ptr %kind)
  br label %end
end:
  ret i32 %code
}
@PyExc_FloatingPointError = external global ptr
declare void @PyErr_SetNone(ptr)
"""


def test_the_codes_of_a_body():
    f = make()
    outputs = Items(tuple, (Leaf(0, np.ndarray, F8, (3,)), Leaf(1, float, F8), Leaf(2, np.ndarray, F8, (2,))))
    spec = EntrySpec((Items(list, (Leaf(0, int, np.dtype(int)),)),), outputs)
    made = entry.attach(f, spec, CODES)
    assert len(f([0])) == 3
    assert is_slow(f([2])) and is_slow(f([2.0]))
    with pytest.raises(FloatingPointError):
        f([1])
    assert made.calls == 1


def test_entries_are_tried_in_order():
    f = make()
    for k in range(20):
        leaf = Leaf(0, np.ndarray, F8, (k,))
        entry.attach(f, EntrySpec((leaf,), Leaf.like(0, np.zeros(k))), affine([leaf]))
    assert instance.count(f) == 20
    for k in range(20):
        assert np.array_equal(f(np.ones(k)), np.full(k, 3.0))
    assert is_slow(f(np.ones(20)))
    instance.forget(f)
    assert is_slow(f(np.ones(3))) and instance.count(f) == 0


def test_an_entry_is_not_called_before_it_is_published():
    f = make()
    pending = entry.Entry(EntrySpec((ONE,), ONE), f)
    module = pending.load(affine([ONE]), {})
    assert is_slow(f(1.0)) and module.address("entry")
    pending.publish()
    assert f(1.0) == 3.0


def test_tables_and_what_is_done_before_the_code_is_freed():
    config, done = Config(), []
    body = """
@hosts = global [1 x ptr] zeroinitializer
define i32 @body(ptr %ins, ptr %outs) {
  %host = load ptr, ptr @hosts
  %answer = call ptr @PyObject_CallObject(ptr %host, ptr null)
  %bad = icmp eq ptr %answer, null
  %code = zext i1 %bad to i32
  call void @Py_DecRef(ptr %answer)
  ret i32 %code
}
declare ptr @PyObject_CallObject(ptr, ptr)
declare void @Py_DecRef(ptr)
"""
    f = make()
    pending = entry.Entry(EntrySpec((), Constant("end")), f)
    pending.load(body, {"hosts": [lambda: done.append(config)]}).before_close(lambda: done.append("closed"))
    pending.publish()
    del pending
    gc.collect()
    assert f() == "end" and done == [config]
    del f
    assert done == [config, "closed"]


def test_the_text_holds_no_address_of_this_process():
    config = Config()
    holder = cell(config)
    spec = EntrySpec((ONE, structure(config), NESTED), NESTED, guards=(CellGuard(holder, None, config, "c"),))
    renumbered = EntrySpec((leaf(3), *spec.arguments[1:]), NESTED, guards=spec.guards)
    emitted = entry.emit(renumbered, affine([leaf(k) for k in range(3)]))
    assert any(one is holder for one in emitted.table)
    assert not any(str(id(one)) in emitted.text for one in [*emitted.table, float, np.ndarray, None, config])
    assert layout.mismatch() is None
