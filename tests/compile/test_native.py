"""Native code against eager: every primitive, large and odd shapes, special values, derivatives, layouts, threads."""

import ctypes
import warnings

import numpy as np
import pytest

import wengert as wg
from tests.compile.functions import SCALARS
from wengert import tree
from wengert.compile import passes
from wengert.compile.machine import engine
from wengert.compile.native import Native
from wengert.core import REGISTRY, bind
from wengert.ops.kinds import Discrete, Elementwise
from wengert.ops.reduce import Reduction
from wengert.testing import cases

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason="no native code in this interpreter")
PLAIN = sorted(name for name, primitive in REGISTRY.items() if not primitive.composite)
F8, F4, I8, B1, C16, C8 = (np.dtype(code) for code in ("f8", "f4", "i8", "?", "c16", "c8"))


# ------------------------------------------------------------------------------------------------------------- tools


def is_number(value):
    return isinstance(value, np.ndarray | np.generic | float | int | complex) and not isinstance(value, bool)


class Lines:
    """Many calls of primitives as one list, so that LLVM is asked once for them all."""

    def __init__(self):
        self.calls = []
        self.leaves = []
        self.places = {}
        self.expected = []  # (what it is, result)

    def add(self, primitive, args, params, what):
        """A line, unless NumPy refuses the arguments."""
        try:
            with np.errstate(all="ignore"):
                found = primitive.value(*args, **params)
        except (TypeError, ValueError, OverflowError, np.linalg.LinAlgError):
            return
        self.calls.append((primitive, args, [self.place(arg) if is_number(arg) else None for arg in args], params))
        self.expected += [(what, value) for value in (found if primitive.multiple else (found,))]

    def place(self, value):
        """Which leaf an argument is."""
        if id(value) not in self.places:
            self.places[id(value)] = len(self.leaves)
            self.leaves.append(value)
        return self.places[id(value)]

    def program(self):
        def run(*leaves):
            outs = []
            for primitive, args, places, params in self.calls:
                given = [arg if k is None else leaves[k] for arg, k in zip(args, places, strict=True)]
                out = bind(primitive, *given, **params)
                outs += out if primitive.multiple else [out]
            return outs

        with np.errstate(all="ignore"):
            return wg.trace(run)(*self.leaves)

    def check(self, agree):
        if not self.calls:
            return
        before = [np.array(leaf) for leaf in self.leaves]
        native = Native(self.program())
        found = native(self.leaves)
        again = native(self.leaves)
        for (what, expected), value, second in zip(self.expected, found, again, strict=True):
            assert_same_kind(value, expected, what)
            agree(value, expected, what)
            assert bits(value) == bits(second), f"{what}: another result the second time"
        for leaf, old in zip(self.leaves, before, strict=True):
            assert np.asarray(leaf).tobytes() == old.tobytes(), "an input was changed"


def assert_same_kind(value, expected, what):
    a, b = np.asarray(value), np.asarray(expected)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{what}: {a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
    if isinstance(value, np.ndarray):
        assert value.flags.owndata and value.flags.writeable


def bits(value):
    """The bits of a value, those of every NaN alike."""
    array = np.array(value)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.tobytes()


def assert_equal(value, expected, what):
    """The same bits, those of every NaN alike."""
    if bits(value) != bits(expected):
        a, b = np.asarray(value), np.asarray(expected)
        with np.errstate(all="ignore"):
            differ = ~((a == b) & (np.signbit(a.real) == np.signbit(b.real))) if a.dtype.kind in "fc" else a != b
            differ &= ~((a != a) & (b != b))
        places = np.flatnonzero(differ)[:5]
        raise AssertionError(f"{what} at {places}: {a.reshape(-1)[places]} instead of {b.reshape(-1)[places]}")


def parts_of(value):
    value = np.asarray(value)
    return [value.real, value.imag] if value.dtype.kind == "c" else [value]


def close(ulps, norm=False):
    """A comparison up to rounding, elementwise or relative to the largest; infinities, NaN and signs of 0 alike."""

    def agree(value, expected, what):
        if np.asarray(expected).dtype.kind not in "fc":
            assert_equal(value, expected, what)
            return
        largest = np.max(np.abs(np.asarray(expected)), initial=0.0, where=np.isfinite(expected))
        for x, y in zip(parts_of(value), parts_of(expected), strict=True):
            info = np.finfo(y.dtype)
            with np.errstate(all="ignore"):
                size = np.maximum(np.abs(y), largest) if norm else np.abs(y)
                good = (np.abs(x - y) <= ulps * info.eps * size + ulps * info.tiny * info.eps) | (x == y)
                good |= np.isnan(x) & np.isnan(y)
            if not np.all(good):
                bad = np.flatnonzero(~good)[:5]
                raise AssertionError(f"{what} at {bad}: {x.reshape(-1)[bad]} instead of {y.reshape(-1)[bad]}")

    return agree


def native_of(function, *args):
    """The native code of a function, after the passes, and the leaves of its arguments."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = wg.trace(function)(*args)
    return Native(passes.run(program)), tree.flatten(args)[0]


def compare(function, *args, rtol=1e-12):
    """Native code of a function against the function, leaf by leaf relative to the largest element."""
    native, leaves = native_of(function, *args)
    with np.errstate(all="ignore"):
        expected = tree.flatten(function(*args))[0]
    found = native(leaves)
    for k, (value, want) in enumerate(zip(found, expected, strict=True)):
        assert_same_kind(value, want, f"leaf {k}")
        if np.asarray(want).dtype.kind in "fc":
            size = np.max(np.abs(want), initial=1e-300)
            error = np.max(np.abs(value - np.asarray(want)), initial=0.0)
            assert error <= rtol * size, f"leaf {k}: error {error / size:.2g}, {value} instead of {want}"
        else:
            assert_equal(value, want, f"leaf {k}")
    return native


# ---------------------------------------------------------------------------------------------------- the registry


def dtypes(primitive):
    if "complex-only" in primitive.tags:
        return [C16]
    found = [F8, F4]
    if "complex" in primitive.tags:
        found += [C16, C8]
    if isinstance(primitive, Elementwise | Discrete | Reduction):
        found += [I8, B1]
    return found


@pytest.mark.parametrize("name", PLAIN)
def test_each_primitive_on_its_examples(name):
    primitive = REGISTRY[name]
    lines = Lines()
    wide = Lines()
    for dtype in dtypes(primitive):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NaN as an integer
                found = list(cases(primitive, dtype))
        except (TypeError, ValueError, KeyError):  # examples of floats only
            continue
        for case in found:
            to = lines if dtype in (F4, C8) else wide
            to.add(primitive, case.args, case.params, repr(case))
            scalars = [x[()] if isinstance(x, np.ndarray) and not x.shape else x for x in case.args]
            if any(isinstance(x, np.generic) for x in scalars):
                to.add(primitive, scalars, case.params, repr(case))
    wide.check(close(1 << 13, norm=True))
    lines.check(close(1 << 9, norm=True))


# --------------------------------------------------------------------------------------------------- special values

# What libraries compute to a few units in the last place, each in its own way; everything else is exact.
ROUNDED = frozenset([
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "exp",
    "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "power", "float_power", "hypot", "arctan2", "logaddexp",
    "logaddexp2",
])  # fmt: skip
UFUNCS = [
    name for name in PLAIN
    if isinstance(REGISTRY[name].value, np.ufunc) and REGISTRY[name].value.signature is None
]  # fmt: skip
POINTS = [0.0, -0.0, 1.0, -1.0, 0.5, -1.5, 2.5, 3.0, 1e10, -7.25, np.inf, -np.inf, np.nan]


def grid_of(dtype, arity):
    if dtype.kind == "f":
        info = np.finfo(dtype)
        points = [*POINTS, info.max, -info.max, info.tiny, -info.tiny, info.smallest_subnormal, info.tiny * 0.375]
    elif dtype.kind == "b":
        points = [False, True]
    else:
        info = np.iinfo(dtype)
        points = [0, 1, 2, 3, 7, 63, info.max, info.max - 1, info.min, info.min // 2]
        points += [-1, -2, -5] if dtype.kind == "i" else []
    with np.errstate(all="ignore"):
        axes = np.meshgrid(*[np.array(points).astype(dtype)] * arity, indexing="ij")
    return [np.ascontiguousarray(axis.reshape(-1)) for axis in axes]


@pytest.mark.parametrize(
    "dtype", [F8, F4, I8, np.dtype("i4"), np.dtype("i1"), np.dtype("u1"), np.dtype("u8"), B1], ids=str
)
@pytest.mark.parametrize("part", range(3))
def test_special_values_of_ufuncs(dtype, part):
    lines = Lines()
    kept = {arity: grid_of(dtype, arity) for arity in (1, 2)}
    for name in UFUNCS[part::3]:
        primitive = REGISTRY[name]
        value = primitive.value
        if value.nin > 2 or (dtype.kind in "iu" and name == "power"):
            continue
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lines.add(primitive, kept[value.nin], {}, name)
    exact, rounded = close(0), close(16)

    def agree(value, expected, what):
        if np.asarray(expected).dtype.kind == "f" and what not in ROUNDED:
            assert_equal(value, expected, what)
        else:
            (rounded if what in ROUNDED else exact)(value, expected, what)

    lines.check(agree)


def complex_grid(dtype):
    """Every pair of parts, NaN and infinities among them."""
    part = np.dtype(np.float64 if dtype == C16 else np.float32)
    points = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e-30, 1e20], part)
    both = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.ascontiguousarray(both).view(dtype)[:, 0]


@pytest.mark.parametrize("dtype", [C16, C8], ids=str)
def test_special_values_of_exact_complex_primitives(dtype):
    x = complex_grid(dtype)
    y = np.ascontiguousarray(np.repeat(x, len(x)))
    x = np.ascontiguousarray(np.tile(x, len(x)))
    lines = Lines()
    for name in ("add", "subtract", "negative", "conjugate", "isnan", "isfinite", "isinf", "equal",
                 "not_equal", "less", "greater_equal", "logical_and", "logical_not", "maximum", "minimum"):  # fmt: skip
        lines.add(REGISTRY[name], [x, y][: REGISTRY[name].value.nin], {}, name)
    for name in ("real", "imag"):
        lines.add(REGISTRY[name], [x], {}, name)
    lines.check(assert_equal)


@pytest.mark.parametrize("dtype", [F8, F4], ids=str)
def test_reductions_of_special_values(dtype):
    """Whatever holds a NaN, infinities of both signs or nothing else, in short axes and long ones."""
    rng = np.random.default_rng(0)
    rows = []
    for special in ([], [np.nan], [np.inf], [-np.inf], [np.inf, -np.inf], [-0.0], [np.nan, np.inf]):
        for fill in ("numbers", "zeros", "itself"):
            row = rng.integers(-3, 4, 37).astype(dtype) if fill == "numbers" else np.full(37, -0.0, dtype)
            if fill == "itself" and special:
                row[:] = special[0]
            if special:
                row[rng.permutation(37)[: len(special)]] = special
            rows.append(row)
    x = np.array(rows)
    lines = Lines()
    for name in (
        "sum", "prod", "max", "min", "fmax_reduce", "fmin_reduce", "any", "all", "nansum", "nanprod", "count_nonzero",
    ):  # fmt: skip
        for axis in ((-1,), (-2,), (-2, -1)):
            lines.add(REGISTRY[name], [x], {"axis": axis}, f"{name} {axis}")
            lines.add(REGISTRY[name], [x.T.copy()], {"axis": axis}, f"{name} {axis} of the transpose")
    for name in ("argmax", "argmin"):
        for axis in (0, 1, None):
            lines.add(REGISTRY[name], [x], {"axis": axis}, f"{name} {axis}")

    def agree(value, expected, what):
        # which of −0.0 and 0.0 is the larger, NumPy leaves to the order
        assert_equal(value + value.dtype.type(0), expected + expected.dtype.type(0), what)

    lines.check(agree)


# ------------------------------------------------------------------------------------------------ large and odd shapes


def draw(primitive, slot, shape, dtype, rng):
    low, high = (primitive.domain or [(-2.0, 2.0)] * 3)[slot]
    if "integer" in primitive.tags or dtype.kind in "iu":
        return rng.integers(1, 5, shape).astype(I8 if dtype.kind == "f" else dtype)
    values = rng.uniform(low, high, shape)
    if dtype.kind == "c":
        values = values + 0.3j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)


SHAPES = [
    ((1037,),) * 3,
    ((129, 37),) * 3,
    ((3, 1, 700), (700,), (3, 5, 1)),
    ((5, 3), (5, 1), (3,)),
    ((64,), (), (64,)),
]
ELEMENTWISE = [name for name in PLAIN if getattr(REGISTRY[name], "domain", None) and name != "i0"]


@pytest.mark.parametrize("part", range(8))
def test_elementwise_primitives_on_vectors_with_remainders(part):
    """Long enough for vector loops, with remainders, and broadcast in several ways."""
    rng = np.random.default_rng(part)
    for dtype in (F8, F4):
        lines = Lines()
        for name in ELEMENTWISE[part::8]:
            primitive = REGISTRY[name]
            one = C16 if "complex-only" in primitive.tags else dtype
            for shapes in SHAPES[:4] if len(primitive.domain) > 1 else SHAPES[:2]:
                args = [draw(primitive, k, shapes[k], one, rng) for k in range(len(primitive.domain))]
                lines.add(primitive, args, {}, f"{name} {shapes}")
        rounded = close(64, norm=True)

        def agree(value, expected, what, rounded=rounded):
            name = what.split()[0]
            exact = name in UFUNCS and name not in ROUNDED and np.asarray(expected).dtype.kind != "c"
            (assert_equal if exact else rounded)(value, expected, what)

        lines.check(agree)


REDUCTIONS = [
    "sum", "prod", "max", "min", "fmax_reduce", "fmin_reduce", "any", "all", "nansum", "nanprod", "mean", "var", "std",
    "count_nonzero", "logaddexp_reduce", "argmax", "argmin", "cumsum", "cumprod", "median", "sort",
]  # fmt: skip


@pytest.mark.parametrize("dtype", [F8, I8, B1], ids=str)
def test_reductions_along_every_axis(dtype):
    rng = np.random.default_rng(1)
    arrays = []
    for shape in ((1037,), (101, 37), (3, 1, 500), (2, 19, 17)):
        arrays.append(
            (rng.standard_normal(shape) * 3).astype(dtype)
            if dtype.kind == "f"
            else rng.integers(0, 2, shape).astype(dtype)
        )
    functions = {
        "sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all, "mean": np.mean,
        "var": np.var, "std": np.std, "count_nonzero": np.count_nonzero, "argmax": np.argmax, "argmin": np.argmin,
        "nansum": np.nansum, "ptp": np.ptp,
    }  # fmt: skip

    def run(*xs):
        out = {}
        for x in xs:
            for name, function in functions.items():
                for axis in (None, *range(x.ndim), *(((0, 1), (0, 2), (1, 2)) if x.ndim == 3 else ())):
                    if isinstance(axis, tuple) and name.startswith("arg"):
                        continue
                    if name == "ptp" and dtype.kind == "b":
                        continue
                    out[f"{name} {x.shape} {axis}"] = function(x, axis=axis)
                    if axis is not None and name in ("sum", "std", "argmax"):
                        out[f"{name} {x.shape} {axis} kept"] = function(x, axis=axis, keepdims=True)
        return out

    native, leaves = native_of(run, *arrays)
    with np.errstate(all="ignore"):
        expected = run(*arrays)
    rounded = close(1 << 10, norm=True)
    names = tree.flatten({name: name for name in expected})[0]
    for what, value, want in zip(names, native(leaves), tree.flatten(expected)[0], strict=True):
        assert_same_kind(value, want, what)
        exact = what.split()[0] in ("max", "min", "any", "all", "argmax", "argmin", "count_nonzero", "ptp")
        (assert_equal if exact else rounded)(value, want, what)


def softmax(x):
    exps = np.exp(x - x.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def heavy(rng):
    """Functions large enough for threads, with arguments: elementwise, reductions, nests, products."""
    v, w = rng.standard_normal(1_000_003), rng.standard_normal(1_000_003)
    m, n = rng.standard_normal((1001, 237)), rng.standard_normal((1001, 237))
    t = rng.standard_normal((3, 1, 50_000)).astype(F4)
    yield "elementwise", (lambda a, b: np.exp(-a * a) * b + np.sqrt(np.abs(a))), (v, w), False
    yield "sum", (lambda a, b: (np.sum(a * b), np.max(a), np.min(b), np.prod(1 + 1e-7 * a))), (v, w), False
    yield "axes", (lambda a, b: (np.sum(np.exp(a) * b, axis=0), np.sum(np.exp(a) * b, axis=1))), (m, n), False
    yield "bools", (lambda a, b: (np.any(a > 6), np.all(b < 6), np.argmax(a * b), np.sum(a > b))), (v, w), False
    yield "softmax", (lambda a, b: np.sum(b * softmax(a))), (m, n), True
    yield "standardised", (lambda a, b: (a - a.mean(axis=1)[:, None]) / a.std(axis=1)[:, None] * b), (m, n), False
    yield "broadcast", (lambda a: np.tanh(a + a.reshape(3, 50_000)) * 2), (t,), False
    yield "outer", (lambda a, b: np.sin(a[:1500, None] * b[None, :700]).sum(axis=0)), (v, w), False
    yield "transposed", (lambda a, b: (np.exp(a.T) + b.T).sum(axis=0)), (m, n), False
    yield "slices", (lambda a, b: (100 * (a[1:] - a[:-1] ** 2) ** 2 + (1 - b[:-1]) ** 2).sum()), (v, w), True
    yield "integers", (lambda a, b: (a % 7 + b // 3).sum()), (v.view(I8) >> 40, w.view(I8) >> 40), False


def test_large_arrays_and_any_number_of_threads():
    threaded = 0
    for name, function, args, differentiate in heavy(np.random.default_rng(2)):
        compare(function, *args, rtol=1e-11 if args[0].dtype != F4 else 1e-6)
        for f in [function, *([wg.grad(function)] if differentiate else [])]:
            native, leaves = native_of(f, *args)
            results = {}
            for count in (1, 2, 4, 7, 16):
                if not set_threads(native, count):
                    break
                results[count] = [bits(x) for x in native(leaves)]
            for count, found in results.items():
                assert found == results[1], f"{name}: {count} threads change the result"
            threaded += bool(results)
    assert threaded >= 10


def test_products_of_matrices_in_every_layout():
    """Below and above what goes to BLAS: transposed, sliced, reversed, batched and broadcast operands and results."""
    rng = np.random.default_rng(3)
    m, k, n = 41, 50, 37
    a, b, r, c = (rng.standard_normal(shape) for shape in ((m, k), (k, n), (m, 2 * k), (k, n + 9)))
    batch, wide = rng.standard_normal((3, 64, 90)), rng.standard_normal((2, 1, 90, 111))
    v, tall = rng.standard_normal(k), rng.standard_normal((900, k))

    def products(a, b, r, c, batch, wide, v, tall):
        lefts = [a, a.T.copy().T, r[:, :k], r[:, k:], r[:, ::2], a[::-1], a[:, ::-1], np.broadcast_to(a[:1], a.shape)]
        rights = [b, b.T.copy().T, c[:, 9:], c[:, :n], b[::-1], b[:, ::-1], np.broadcast_to(b[:, :1], b.shape)]
        found = [x @ y for x in lefts for y in rights[:3]] + [lefts[0] @ y for y in rights]
        found += [(x @ y).T for x, y in zip(lefts, rights, strict=False)]
        found += [b.T @ a.T, a @ a.T, a.T @ a, r @ r.T, np.dot(a, b), np.inner(a, b.T), np.tensordot(a, c, 1)]
        found += [
            batch @ wide,
            batch @ wide[0, 0],
            np.swapaxes(batch, 1, 2) @ batch,
            np.swapaxes(wide, -1, -2) @ np.swapaxes(batch, 1, 2),
        ]
        found += [tall @ v, v @ tall.T, tall.T @ tall, tall @ b, (tall[:, None] * v).sum(0), np.outer(tall[:, 0], v)]
        found += [
            np.einsum("ij,jk->ki", a, b),
            np.einsum("bij,cdjk->bkdci", batch, wide),
            np.einsum("bij,bij->b", batch, batch),
        ]
        found += [np.einsum("bij,bkj->ikb", batch, batch), np.einsum("ij,kj,ij->k", a, a, a), np.vecdot(tall, v)]
        return found

    compare(products, a, b, r, c, batch, wide, v, tall, rtol=1e-12)
    single = [x.astype(F4) for x in (a, b, r, c, batch, wide, v, tall)]
    compare(products, *single, rtol=2e-5)


def set_threads(native, count):
    """Let code run on this many threads; whether it has any use for them."""
    try:
        place = native.module.address("threads")
    except KeyError:
        return False
    ctypes.c_int64.from_address(place).value = count
    return True


# ------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", SCALARS)
def test_values_and_derivatives(name):
    function, args = SCALARS[name]
    direction = np.cos(np.arange(np.size(args[0]), dtype=float)).reshape(np.shape(args[0]))[()]

    def derivatives(x, *rest):
        def f(y):
            return function(y, *rest)

        value, slope = wg.jvp(f, (x,), (direction,))
        return value, slope, wg.grad(f)(x), wg.jvp(wg.grad(f), (x,), (direction,))[1]

    compare(derivatives, *args)


@pytest.mark.parametrize("name", ["rosenbrock", "log-sum-exp", "least squares", "in place", "windows", "traced gather"])
def test_hessians_and_batches(name):
    function, args = SCALARS[name]
    compare(lambda *xs: wg.hessian(function)(*xs), *args)
    rows = np.stack([args[0] * k for k in (1.0, -0.5, 2.0)])
    compare(lambda xs, *rest: wg.vmap(lambda x: wg.grad(function)(x, *rest))(xs), rows, *args[1:])


def test_float32_stays_float32():
    for name in ("rosenbrock", "cross entropy", "k-means", "least squares", "windows", "moments"):
        function, args = SCALARS[name]
        args = [np.asarray(x, F4) if np.asarray(x).dtype.kind == "f" else x for x in args]
        native = compare(wg.value_and_grad(function), *args, rtol=2e-5)
        assert [aval.dtype for aval in native.out_avals] == [F4, F4]


# ------------------------------------------------------------------------------------- through jit: layouts, ownership


def layouts():
    x = np.arange(-12.0, 12.0).reshape(4, 6) / 7
    raw = np.zeros(x.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(F8).reshape(x.shape)
    misaligned[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "plain": x, "every other": np.repeat(x, 2, axis=1)[:, ::2], "backwards": x[::-1, ::-1][:],
        "Fortran order": np.asfortranarray(x), "transposed": np.ascontiguousarray(x.T).T, "misaligned": misaligned,
        "big-endian": x.astype(">f8"), "read-only": frozen, "broadcast": np.broadcast_to(x[:1], x.shape),
        "float32": x.astype(F4), "integers": (x * 7).astype(I8), "bools": x > 0, "complex": x + 1j * x[::-1],
        "empty": x[:, :0], "0-d": np.array(1.5), "scalar": np.float64(1.5), "number": 1.5, "integer": 3,
        "float32 scalar": np.float32(1.5), "truth": True, "one": x[:1, :1], "list": [1.5, x],
    }  # fmt: skip


def test_any_layout_gives_what_eager_gives():
    def function(x):
        leaves, structure = tree.flatten(x)
        return tree.unflatten(structure, [np.exp(v * 0.3) + np.cos(v) * 2 - v for v in leaves])

    jitted = wg.jit(function)
    total = wg.jit(lambda x: np.sum(np.transpose(x) * 2, axis=0) if np.ndim(x) else np.add(x, 1))
    for name, x in layouts().items():
        before = [np.array(leaf) for leaf in tree.flatten(x)[0]]
        for compiled, eager in ((jitted, function), *([(total, total.__wrapped__)] if name != "list" else [])):
            for _ in range(2):
                found, expected = (tree.flatten(f(x))[0] for f in (compiled, eager))
                for value, want in zip(found, expected, strict=True):
                    assert type(value) is type(want), name
                    assert_same_kind(value, want, name)
                    close(32, norm=True)(value, want, name)
        for leaf, old in zip(tree.flatten(x)[0], before, strict=True):
            assert np.asarray(leaf).tobytes() == old.tobytes(), f"{name}: the input was changed"


def test_results_are_the_callers_own():
    x = np.arange(6.0)
    k = np.arange(6.0)

    @wg.jit
    def f(x):
        y = x * 2
        z = y.reshape(2, 3)
        return x, x, y, y, y[::2], z, z.T, np.broadcast_to(x[:1], (4,)), k, np.zeros(3), np.stack([x, x])

    for _ in range(3):
        found = f(x)
        assert all(value.flags.owndata and value.flags.writeable and value.flags.c_contiguous for value in found)
        for i, one in enumerate(found):
            for other in (x, k, *found[i + 1 :]):
                assert not np.shares_memory(one, other)
        for one in found:
            one[...] = -1.0
        assert (x == np.arange(6.0)).all() and (k == np.arange(6.0)).all()
    for value, want in zip(f(x), f.__wrapped__(x), strict=True):
        assert_equal(value, want, "after the results were overwritten")


def test_numbers_promote_as_numpy_says():
    """Python numbers are weak, NumPy scalars are not."""
    x = np.arange(3, dtype=F4)
    for number in (2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.int8(2), 1j, np.complex64(1j)):
        for function in (
            lambda a, b: a * b,
            lambda a, b: a + b,
            lambda a, b: np.where(a > 1, a, b),
            lambda a, b: b - a,
        ):
            for args in ((x, number), (number, x), (number, number), (x.astype(np.int8), number)):
                try:
                    want = function(*args)
                except (TypeError, ValueError):  # NumPy's own refusal
                    continue
                found = wg.jit(function)(*args)
                assert_same_kind(found, want, args)
                assert_equal(found, want, args)
