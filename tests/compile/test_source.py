"""The NumPy back end: the text of a list, and what it computes, bit by bit what the list itself gives."""

import numpy as np
import pytest

import wengert as wg
from wengert import core, program
from wengert.compile import source
from wengert.compile.source.module import Text
from wengert.core import REGISTRY, bind
from wengert.testing import cases

PLAIN = sorted(name for name, primitive in REGISTRY.items() if not primitive.composite)


def bits(value):
    """What must agree: kind of object, dtype, shape and bytes."""
    array = np.asarray(value)
    kind = type(value) if not isinstance(value, np.ndarray) else np.ndarray
    return kind, array.dtype.str, array.shape, array.tobytes()


def expected_of(listing, leaves):
    taken = {id(leaf) for leaf in leaves} | program.held(listing)
    return [core.owned(result, taken) for result in program.evaluate(listing, leaves)]


def standalone(listing, leaves, name="f"):
    """The results of the generated module, and its text."""
    text = source.generate(listing, name)
    assert "wengert" not in text.split("import numpy as np")[1].replace("The Wengert list", "")
    namespace = {}
    exec(compile(text, "<generated>", "exec"), namespace)
    results = namespace[name](*leaves)
    return results if isinstance(results, tuple) else (results,)


def check(listing, leaves):
    """Both forms of the function against the list, twice."""
    run = source.compile(listing)
    with np.errstate(all="ignore"):
        want = list(map(bits, expected_of(listing, leaves)))
        for _ in range(2):
            assert list(map(bits, run(leaves))) == want, run.source
        assert list(map(bits, standalone(listing, leaves))) == want


def staged(primitive, args, params):
    def apply(*xs):
        out = bind(primitive, *xs, **params)
        return list(out) if type(out) is tuple else [out]

    with np.errstate(all="ignore"):
        return wg.trace(apply)(*args)


def dtypes(primitive):
    yield np.float64
    if "complex-only" in primitive.tags:
        return
    yield np.float32
    if "complex" in primitive.tags:
        yield np.complex128


@pytest.mark.parametrize("name", PLAIN)
def test_each_primitive_on_its_examples(name):
    primitive = REGISTRY[name]
    for dtype in dtypes(primitive):
        if "complex-only" in primitive.tags:
            dtype = np.complex128
        for case in cases(primitive, dtype):
            leaves = [x[()] if isinstance(x, np.ndarray) and not x.shape else x for x in case.args]
            for args in (case.args, leaves):
                check(staged(primitive, args, case.params), args)


def test_special_values_and_python_numbers():
    points = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 5e-324, 1e308])
    x, y = (a.reshape(-1).copy() for a in np.meshgrid(points, points))
    for name in PLAIN:
        primitive = REGISTRY[name]
        if (
            isinstance(primitive.value, np.ufunc)
            and primitive.value.signature is None
            and "integer" not in primitive.tags
        ):
            if "complex-only" in primitive.tags or name == "ldexp":
                continue
            arity = primitive.value.nin
            check(staged(primitive, (x, y)[:arity], {}), (x, y)[:arity])
            for number in (2.0, 3, True, np.float32(0.1), np.float64(-0.0), -1.5):
                for args in (
                    [(number,)] if arity == 1 else [(number, x), (x, number), (number, 0.5), (np.float64(2), number)]
                ):
                    try:
                        listing = staged(primitive, args, {})
                    except (TypeError, OverflowError):  # NumPy's own refusal
                        continue
                    check(listing, args)


INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_]


@pytest.mark.parametrize("name", [n for n in PLAIN if isinstance(REGISTRY[n].value, np.ufunc)])
def test_integers_and_bools(name):
    primitive = REGISTRY[name]
    value = primitive.value
    for one in INTEGERS:
        for other in [np.int8, np.float32] if value.nin == 2 else [one]:
            shape = (3, 3)
            args = tuple(np.arange(9).reshape(shape).astype(t) for t in (one, other)[: value.nin])
            for given in (args, tuple(a[1, 1] for a in args)):
                if value.signature is not None and not np.ndim(given[0]):
                    continue
                try:
                    listing = staged(primitive, given, {})
                except (TypeError, ValueError):
                    continue
                check(listing, given)


NAN_WITH_A_PAYLOAD = np.frombuffer(bytes.fromhex("010000000000f87f"))[0]
LITERALS = [
    0, -7, 10**30, True, 0.1, -0.0, 1e-320, np.inf, -np.inf, np.nan, -np.nan,
    1 + 2j, complex(-0.0, np.inf), complex(np.nan, -0.0),
    np.float32(0.1), np.float32(3.4028235e38), np.float32(-np.nan), np.float16(0.1), np.float64(1) / 3,
    np.longdouble(1) / 3, np.int8(-128), np.uint64(2**64 - 1), np.longlong(5), np.bool_(False),
    np.complex64(0.1 + 0.2j), np.clongdouble(1) / 3, NAN_WITH_A_PAYLOAD, NAN_WITH_A_PAYLOAD.item(),
    "text", b"bytes", None, Ellipsis, slice(1, None, -2), (), (1,), (slice(None), None, ..., -1),
    [1, (2.5, "a")], {"a": 1.5, 2: (3,)},
    np.dtype(np.float32), np.dtype(">f8"), np.dtype(np.longlong), np.dtype(bool),
]  # fmt: skip


def same_value(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, float | complex | np.generic):
        return np.asarray(one).tobytes() == np.asarray(other).tobytes()
    if isinstance(one, np.dtype):
        return one == other and one.char == other.char and one.byteorder == other.byteorder
    return one == other


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_literals_keep_their_bits(value):
    text = Text(standalone=True)
    spelled = text.literal(value)
    namespace = {}
    exec(text.render("") + f"\nmade = {spelled}", namespace)
    assert same_value(namespace["made"], value), spelled


def some_arrays():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(50, 40))
    yield from [
        np.zeros((3, 4)),
        np.ones(2000, np.float32),
        np.full((2, 2), -0.0),
        np.full(5, np.nan),
        np.arange(40).reshape(5, 8),
    ]
    yield from [wide, np.asfortranarray(wide), wide.T, wide[::2, ::-1], np.broadcast_to(np.float32(0.1), (30, 20))]
    yield from [
        wide.astype(np.complex64),
        wide.astype(">f8"),
        wide.astype(np.longdouble),
        wide > 0,
        rng.integers(0, 9, (3, 3)),
    ]
    yield from [
        np.array(1.5),
        np.zeros((0, 3)),
        np.array([[1.5, -0.0], [np.inf, np.nan]]),
        np.array([1 + 2j, complex(-0.0, np.nan)]),
    ]
    yield from [
        np.array([True, False]),
        np.arange(3, dtype=np.int8),
        np.longdouble([1, 2]) / 3,
        np.broadcast_to(wide[:, :1], (50, 9)),
    ]
    yield np.frombuffer(bytes.fromhex("010000000000f87f") * 2)


@pytest.mark.parametrize("array", list(some_arrays()), ids=lambda a: f"{a.dtype}{a.shape}{a.strides}")
def test_array_constants_keep_their_bits(array):
    text = Text(standalone=True)
    name = text.constant(array)
    namespace = {}
    exec(text.render(""), namespace)
    assert bits(namespace[name]) == bits(array)
    assert namespace[name].flags.f_contiguous == array.flags.f_contiguous or not (
        array.flags.c_contiguous or array.flags.f_contiguous
    )


def test_integer_scalars_overflow_as_silently_as_ufuncs():
    for args in ((np.int8(100), np.int8(100)), (np.uint8(3), np.uint8(5))):
        listing = wg.trace(lambda x, y: [np.multiply(x, y), np.subtract(x, y), np.negative(x)])(*args)
        assert list(map(bits, source.compile(listing)(args))) == list(map(bits, expected_of(listing, args)))
