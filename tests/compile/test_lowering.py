# ruff: noqa: B023  (functions defined in loops are called there and then)
"""Each native lowering beside eager NumPy, and that nothing is left to Python where a lowering exists."""

import warnings

import numpy as np
import pytest

import wengert as wg
from tests.control.programs import OURS, PROGRAMS
from wengert import program, tree
from wengert.compile import native, passes
from wengert.compile.machine import engine
from wengert.compile.tensors import form as tensors
from wengert.core import aval_of

pytestmark = pytest.mark.skipif(engine.unavailable() is not None, reason="no native code here")

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 5))
NAN, INF = np.nan, np.inf
SPECIAL = np.array([[NAN, 1, INF, 0.5], [2, -INF, 3, NAN], [NAN, NAN, NAN, NAN], [-0.0, 0.0, -INF, -INF]])
ARRAYS = {
    "float64": A,
    "float32": A.astype(np.float32),
    "int64": (A * 10).astype(np.int64),
    "int8": (A * 10).astype(np.int8),
    "uint16": np.abs(A * 10).astype(np.uint16),
    "bool": A > 0,
    "complex128": A + 1j * A[::-1],
    "complex64": (A + 1j * A[::-1]).astype(np.complex64),
    "special": SPECIAL,
    "special complex": np.stack([SPECIAL, SPECIAL[::-1]], -1).view(np.complex128)[..., 0],
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "large": RNG.normal(size=(70, 50)),
}
TOLERANCE = {"d": 1e-12, "f": 2e-5, "F": 2e-5, "e": 2e-2}


def staged(f, *args):
    lines = program.stage(lambda *xs: tree.flatten(f(*xs))[0], [aval_of(x) for x in args])
    return passes.run(lines)


def hosts(program):
    for node in program.nodes:
        if isinstance(node, tensors.Host):
            yield node.primitive.name
        for body in node.bodies if isinstance(node, tensors.Control) else ():
            yield from hosts(body)


def same(f, *args, python=(), tolerance=None):
    """Native code gives what NumPy gives, or gives up where NumPy raises; only `python` is left to Python."""
    lines = staged(f, *args)
    assert set(hosts(native.tensors(lines))) <= set(python)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = native.Native(lines)
        try:
            expected = tree.flatten(f(*args))[0]
        except (np.linalg.LinAlgError, ValueError):
            assert run(args) is None
            return
        found = run(args)
    for got, want in zip(found, expected, strict=True):
        got, want = np.asarray(got), np.asarray(want)
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        near = tolerance or TOLERANCE.get(want.dtype.char, 1e-12)
        np.testing.assert_allclose(got, want, rtol=near, atol=near)


# ------------------------------------------------------------------------------------------------------ reductions

REDUCTIONS = [
    "sum", "prod", "max", "min", "mean", "var", "std", "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar",
    "nanstd", "any", "all", "count_nonzero", "argmax", "argmin", "nanargmax", "nanargmin",
]  # fmt: skip
UFUNCS = [np.fmax, np.fmin, np.hypot, np.logaddexp, np.logaddexp2, np.subtract, np.logical_xor, np.bitwise_or]
EMPTY_FAILS = {"max", "min", "nanmax", "nanmin", "argmax", "argmin", "nanargmax", "nanargmin"}


def raises(f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            f(x)
        except (TypeError, ValueError):
            return True
    return False


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, array):
    f, x = getattr(np, name), ARRAYS[array]
    python = {name} if x.dtype.kind == "c" and "arg" in name else ()
    views = [lambda x: x, lambda x: x.T, lambda x: x[::-1, ::2]]
    ways = [(view, axis, kept) for view in views for axis in (0, 1, None) for kept in (False, True)]
    fine = [way for way in ways if not raises(lambda x, way=way: f(way[0](x), axis=way[1]), x)]
    same(lambda x: [f(view(x), axis=axis, keepdims=kept) for view, axis, kept in fine], x, python=python)


@pytest.mark.parametrize("array", [name for name in ARRAYS if name not in ("no rows", "no columns")])
@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_reductions_of_ufuncs(ufunc, array):
    x = ARRAYS[array]
    if raises(ufunc.reduce, x) or ufunc.reduce(np.ones_like(x[0])).dtype.char == "e":
        return  # NumPy has none of this dtype, or one in float16

    def f(x):
        return ufunc.reduce(x, axis=0), ufunc.reduce(x.T, axis=0, keepdims=True), ufunc.accumulate(x, axis=1)

    same(f, x)


MASKED = ["sum", "prod", "mean", "var", "std", "nansum", "nanprod", "nanmean", "nanvar", "nanstd", "any", "all"]


@pytest.mark.parametrize("array", ["float64", "float32", "int64", "complex128", "special", "no rows"])
@pytest.mark.parametrize("name", MASKED)
def test_masks(name, array):
    f, x = getattr(np, name), ARRAYS[array]
    mask = np.random.default_rng(1).random(x.shape) > 0.4
    masks = (mask, ~mask[:1] if len(mask) else mask, np.zeros(x.shape, bool))
    same(lambda x, *masks: [f(x, axis=1, where=where) for where in masks], x, *masks)
    if name.endswith(("var", "std")):
        same(lambda x: [[f(x, axis=1, ddof=n), f(x, ddof=n, where=mask)] for n in (1, 90)], x)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "nansum", "nanprod", "nanmax", "nanmin"])
def test_initial_values(name):
    f = getattr(np, name)
    for array in ("float64", "float32", "int64", "special", "no columns"):
        x = ARRAYS[array]
        mask = np.random.default_rng(1).random(x.shape) > 0.4
        same(lambda x, mask: [f(x, axis=1, initial=2), f(x, axis=1, initial=2, where=mask)], x, mask)


def test_ties_and_nans_of_large_extremes():
    x = RNG.normal(size=(400, 300))
    x[RNG.random(x.shape) < 0.1] = NAN
    x[5] = NAN
    for f in (np.nanmax, np.nanmin, np.fmax.reduce, np.fmin.reduce):
        same(lambda x: f(x, axis=1), x)
        same(lambda x: f(x, axis=0), x.astype(np.float32))


def test_nanargmax_of_nothing_gives_up_the_run():
    f = wg.jit(lambda x: np.nanargmax(x, axis=1), backend="native")
    assert f(A).tolist() == np.nanargmax(A, axis=1).tolist()
    with pytest.raises(ValueError, match="All-NaN"):
        f(np.full((3, 5), NAN))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_norms(dtype):
    x = (RNG.normal(size=(3, 4, 5)) + (1j if dtype is np.complex128 else 0)).astype(dtype)
    ways = [(axis, kept) for axis in (None, 0, -1, (0, 2)) for kept in (False, True)]
    same(lambda x: [np.linalg.norm(x, axis=axis, keepdims=kept) for axis, kept in ways], x)
    same(lambda x: [np.linalg.norm(x, order, axis=1) for order in (1, 2, 3, 0.5, -1.5, INF)], x)


# ----------------------------------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("array", ARRAYS)
def test_running_sums_and_products(array):
    x = ARRAYS[array]
    dtype = np.float32 if x.dtype.kind != "c" else np.complex64
    for f in (np.cumsum, np.cumprod):
        same(lambda x: [(f(x, axis=axis), f(x.T[::-1], axis=axis)) for axis in (0, 1, None)], x)
        same(lambda x: f(x, axis=1, dtype=dtype), x)


@pytest.mark.parametrize("ufunc", [np.maximum, np.fmin, np.logaddexp, np.hypot, np.subtract, np.divide])
def test_accumulations(ufunc):
    for array in ("float64", "float32", "special", "no rows"):
        same(lambda x: [ufunc.accumulate(x, axis=axis) for axis in (0, 1)], ARRAYS[array])


def test_accumulations_have_derivatives_without_python():
    for f in (np.cumsum, np.cumprod, np.maximum.accumulate, np.logaddexp.accumulate):
        same(wg.grad(lambda x: np.sum(np.sin(f(x, axis=-1)))), A, tolerance=1e-10)
        same(lambda x: wg.jvp(lambda x: f(x, axis=0), (x,), (x * 2,)), A, tolerance=1e-10)
    same(wg.grad(lambda x: np.sum(np.sin(np.prod(x, axis=1)))), A, tolerance=1e-10)


def test_a_loop_before_and_after_a_scan():
    same(lambda x: np.exp(np.cumsum(np.sin(x) * 2, axis=1)) + np.cumsum(x, axis=0), A)
    same(lambda x: np.cumsum(np.cumsum(x, axis=0), axis=1)[::-1, 1:] * 2, ARRAYS["large"])
    same(lambda x: x - np.cumsum(np.broadcast_to(x[:, :1], x.shape), axis=1), A)


def test_sums_of_segments():
    x = RNG.normal(size=(7, 3))
    for indices in ([0, 3, 1, 4], [6], [0, 0, 6]):
        for axis, y in ((0, x), (1, x.T)):
            same(lambda y: np.add.reduceat(y, indices, axis=axis), y)
            same(wg.grad(lambda y: np.sum(np.add.reduceat(y, indices, axis=axis) ** 2)), y)


# -------------------------------------------------------------------------------------------------------- searching

KNOTS = [[1, 2, 3.0], [-1, 0, 2.0], [0.0, 1.0], [-2.0, -1, 0, 0, 1, INF], list(np.arange(33.0))]


@pytest.mark.parametrize("knots", KNOTS, ids=len)
def test_searching_and_interpolation(knots):
    knots = np.array(knots)
    x = np.concatenate([knots, RNG.normal(size=30) * 3, [NAN, INF, -INF]])
    values = RNG.normal(size=len(knots)), np.array([INF, *knots[1:]]), np.array([*knots[:-1], NAN])
    same(lambda x, knots, *values: [np.interp(x, knots, v) for v in values], x, knots, *values)
    for side in ("left", "right"):
        more = np.append(knots, [NAN, NAN])
        same(
            lambda x, *all: [(np.searchsorted(k, x, side), np.searchsorted(k[::2], x[0])) for k in all], x, knots, more
        )


def test_searching_integers():
    same(np.searchsorted, np.array([0, 0, 1, 2, 2, 7]), np.arange(-3, 9))
    same(np.searchsorted, np.array([0, 0, 1, 2, 2, 7]), np.arange(-3.5, 8.5).reshape(3, -1))


def test_interpolation_has_derivatives_without_python():
    x = RNG.normal(size=20)
    for argnum in (0, 2):
        same(wg.grad(lambda *a: np.sum(np.sin(np.interp(*a))), argnum), x, np.arange(-2.0, 3), RNG.normal(size=5))


# --------------------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("lengths", [(5, 3), (3, 5), (4, 4), (1, 1), (7, 1), (2, 9), (100, 37)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.complex128])
def test_convolutions(lengths, dtype):
    x, y = ((RNG.normal(size=n) * 3).astype(dtype) for n in lengths)
    modes, near = ("full", "same", "valid"), 1e-4 if dtype is np.float32 else 1e-11
    same(lambda x, y: [(np.convolve(x, y, m), np.convolve(x[::-1], y, m)) for m in modes], x, y, tolerance=near)


def test_infinities_in_convolutions():
    x, y = np.array([1, INF, 2, 3, NAN]), np.array([0.0, 2, INF])
    for mode in ("full", "same", "valid"):
        same(lambda x, y: np.convolve(x, y, mode), x, y)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((4, 3), (3,)), ((2, 1, 3), (4, 3)), ((0, 3), (3,))])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.complex128])
def test_cross(shapes, dtype):
    same(np.cross, *((RNG.normal(size=shape) * 3).astype(dtype) for shape in shapes))


def random_complex(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


PRODUCTS = [((3, 4), (4, 5)), ((40, 50), (50, 60)), ((2, 40, 50), (50, 60)), ((3, 0), (0, 2)), ((4,), (4,)),
            ((100, 100), (100, 100)), ((13, 1), (1, 20)), ((1, 1), (1, 20))]  # fmt: skip


@pytest.mark.parametrize("shapes", PRODUCTS)
def test_complex_products(shapes):
    a, b = (random_complex(*shape) for shape in shapes)
    same(lambda a, b: (np.matmul(a, b), np.matmul(a, b.real)), a, b, tolerance=1e-10)
    same(np.matmul, a.astype(np.complex64), b.astype(np.complex64), tolerance=1e-3)
    if a.ndim == b.ndim == 2:
        same(lambda a, b: (np.dot(b.T, a.T), np.einsum("ij,jk->k", a, b), np.tensordot(a, b, 1)), a, b, tolerance=1e-10)


@pytest.mark.parametrize("shapes", PRODUCTS)
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_real_products_in_which_an_axis_is_short(shapes, dtype):
    """A sum over an axis of length 1 once added to memory that nobody had cleared."""
    same(np.matmul, *((RNG.normal(size=shape) * 9).astype(dtype) for shape in shapes), tolerance=1e-10)


def test_products_that_conjugate():
    same(np.vdot, random_complex(3, 4), random_complex(4, 3))
    same(np.vecdot, random_complex(5, 30), random_complex(30))
    same(np.vecmat, random_complex(5, 30), random_complex(30, 4))
    same(np.matvec, random_complex(5, 30), random_complex(30))


# --------------------------------------------------------------------------------------------------- linear algebra

SHAPES = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (12, 12), (13, 13), (40, 40), (2, 3, 3), (3, 2, 5, 5), (2, 15, 15),
          (0, 3, 3), (2, 0, 0)]  # fmt: skip
NEAR = {"d": 1e-9, "D": 1e-9, "f": 3e-3, "F": 3e-3}


def matrices(shape, dtype):
    a = RNG.normal(size=shape) + (1j * RNG.normal(size=shape) if np.dtype(dtype).kind == "c" else 0)
    return (a + 3 * np.eye(shape[-1])).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128, np.complex64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linear_algebra(shape, dtype):
    a, n = matrices(shape, dtype), shape[-1]
    near = NEAR[a.dtype.char]
    same(lambda a: (*np.linalg.slogdet(a), np.linalg.det(a) / 4.0**n), a, tolerance=near)
    same(lambda a: (np.linalg.inv(a), np.linalg.inv(a[..., ::-1, :].mT)), a, tolerance=near)
    if n:
        several = matrices((*shape[:-2], n, n), dtype)
        same(
            lambda a, b: (np.linalg.solve(a, b[..., :2]), np.linalg.solve(a.mT, b[..., :1])), a, several, tolerance=near
        )
        same(np.linalg.solve, a, matrices((n, n), dtype)[0], tolerance=near)
        positive = (a @ np.conj(a.mT) + np.eye(n)).astype(dtype)
        positive[..., :1, -1:] *= 2  # only one triangle is read
        same(lambda a: (np.linalg.cholesky(a), np.linalg.cholesky(a.mT, upper=True)), positive, tolerance=near)


@pytest.mark.parametrize("size", [3, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_singular_and_extreme_matrices(size, dtype):
    a = matrices((size, size), dtype)
    no_row, undefined = a.copy(), a.copy()
    no_row[0], undefined[1, 1] = 0, NAN
    graded = np.diag(np.array([1e-250, 1e250] * size)[:size]).astype(dtype)
    for x in (np.zeros_like(a), np.ones_like(a), no_row, undefined, graded, a * 1e200):
        same(lambda a: (np.linalg.det(a), *np.linalg.slogdet(a)), x, tolerance=1e-9)
        if x is not undefined:  # where LAPACK skips zeros, undefined numbers do not spread
            same(np.linalg.inv, x, tolerance=1e-9)
            same(lambda a: np.linalg.solve(a, np.ones(size)), x, tolerance=1e-9)
    same(np.linalg.cholesky, -a)


def test_errors_are_those_of_numpy():
    f = wg.jit(np.linalg.inv, backend="native")
    assert f(2 * np.eye(3))[0, 0] == 0.5
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        f(np.zeros((3, 3)))
    assert f(4 * np.eye(3))[0, 0] == 0.25


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_derivatives_of_linear_algebra_without_python(n):
    a = matrices((n, n), np.float64)
    b = RNG.normal(size=n)
    same(wg.grad(lambda a: np.sum(np.sin(np.linalg.solve(a, b)))), a, tolerance=1e-9)
    same(wg.grad(np.linalg.det), a, tolerance=1e-9)
    same(wg.hessian(np.linalg.det), a, tolerance=1e-9)
    same(wg.grad(lambda a: np.linalg.slogdet(a)[1]), a, tolerance=1e-9)
    same(wg.grad(lambda a: np.sum(np.sin(np.linalg.cholesky(a @ a.T)))), a, tolerance=1e-9)


# ---------------------------------------------------------------------------------------------------- control flow

X, V = np.array([0.7, -0.4]), np.array([0.3, 1.1])
TRANSFORMS = {
    "grad": wg.grad,
    "hessian": wg.hessian,
    "reverse over reverse": lambda f: wg.jacrev(wg.grad(f)),
    "reverse over forward": lambda f: wg.grad(lambda x: wg.jvp(f, (x,), (V,))[1]),
    "linearize": lambda f: lambda x: wg.linearize(f, x)[1](V),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_and_branches_without_python(name, transform):
    same(TRANSFORMS[transform](lambda x: name(OURS, x)), X, tolerance=1e-9)


def _steps(x):
    _, y = wg.while_loop(lambda s: s[0] < 1000, lambda s: (s[0] + 1, np.sin(s[1]) * 1.01 + x), (0, x * 1.0))
    return np.sum(y * y)


def test_many_steps_with_a_large_carry():
    same(wg.grad(_steps), RNG.random((20, 15)), tolerance=1e-9)


def test_no_steps():
    def f(x):
        _, y = wg.while_loop(lambda s: s[0] < 0, lambda s: (s[0] + 1, s[1] * x), (0, x * 3.0))
        return np.sum(y * y)

    same(wg.grad(f), A)


def test_a_failure_on_the_way_leaves_no_memory_behind():
    def f(x):
        def step(s):
            return s[0] + 1, np.sin(s[1]) + x[np.minimum(s[0], 40)]

        _, y = wg.while_loop(lambda s: s[0] < 60, step, (0, x[0] * 1.0))
        return y * y

    g = wg.jit(wg.grad(f), backend="native")
    np.testing.assert_allclose(g(np.arange(50.0)), wg.grad(f)(np.arange(50.0)), rtol=1e-9, atol=1e-12)
    for _ in range(3):
        with pytest.raises(IndexError, match="out of bounds"):
            g(np.arange(7.0))


# ------------------------------------------------------------------------------------------------------ the tensors


def test_new_nodes_are_checked_and_shown():
    lines = staged(lambda a, b: np.cumsum(np.linalg.solve(a, b)), np.eye(3), np.ones(3))
    form = native.tensors(lines)
    form.check()
    text = repr(form)
    assert "solve(" in text
    assert any(isinstance(node, tensors.Loop) and node.ordered for node in form.nodes)
    before = [node for node in form.nodes if not isinstance(node, tensors.Loop)]
    with pytest.raises(Exception, match="written"):
        form.with_nodes(before).check()
