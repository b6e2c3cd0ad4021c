"""Products that sum over shared axes, on traced arrays: NumPy's values and errors, and derivatives in both modes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core import aval_of, concrete
from wengert.testing import check_grads

RNG = np.random.default_rng(11)


def real(*shape: int) -> Any:
    return np.asarray(RNG.normal(size=shape))


def cplx(*shape: int) -> Any:
    return real(*shape) + 1j * real(*shape)


Call = tuple[Callable[..., Any], tuple[Any, ...]]
CALLS: dict[str, Call] = {
    "matmul": (np.matmul, (real(3, 2), real(2, 4))),
    "matmul complex": (np.matmul, (cplx(3, 2), cplx(2))),
    "matmul stacks": (np.matmul, (real(2, 1, 3, 2), real(4, 2, 3))),
    "matmul stack of matrices, matrix": (np.matmul, (real(2, 5, 3, 2), real(2, 3))),
    "matmul vector, stack": (np.matmul, (real(3), real(2, 3, 4))),
    "matmul stack, vector": (np.matmul, (real(2, 4, 3), real(3))),
    "@": (lambda a, b, c: a @ b @ c, (real(2, 3), real(3, 3), real(3))),
    "linalg.matmul": (np.linalg.matmul, (real(3, 2), real(2, 4))),
    "matmul float32": (np.matmul, (real(3, 2), real(2, 4).astype(np.float32))),
    "vecdot": (np.vecdot, (cplx(2, 3), cplx(3))),
    "linalg.vecdot": (lambda a, b: np.linalg.vecdot(a, b, axis=0), (real(3, 2), real(3, 2))),
    "dot scalars": (np.dot, (real(), real())),
    "dot scalar, matrix": (np.dot, (real(), real(2, 3))),
    "dot vectors": (np.dot, (real(3), real(3))),
    "dot matrices": (np.dot, (cplx(3, 2), cplx(2, 4))),
    "dot n-d": (np.dot, (real(2, 3, 4), real(2, 4, 3))),
    "dot n-d, vector": (np.dot, (real(2, 3, 4), real(4))),
    "vdot": (np.vdot, (cplx(2, 3), cplx(3, 2))),
    "inner": (np.inner, (real(2, 3), real(4, 3))),
    "inner scalar": (np.inner, (real(), real(3))),
    "outer": (np.outer, (cplx(2, 2), cplx(3))),
    "outer scalars": (np.outer, (real(), real())),
    "linalg.outer": (np.linalg.outer, (real(2), real(3))),
    "tensordot": (np.tensordot, (real(2, 3, 4), real(3, 4, 2))),
    "tensordot axes": (lambda a, b: np.tensordot(a, b, ([0, 2], [1, -1])), (real(2, 3, 4), real(5, 2, 4))),
    "tensordot one axis": (lambda a, b: np.tensordot(a, b, (0, 1)), (real(2, 3), real(4, 2))),
    "tensordot 0": (lambda a, b: np.tensordot(a, b, 0), (real(2), real(3, 1))),
    "tensordot full": (lambda a, b: np.linalg.tensordot(a, b, axes=2), (cplx(2, 3), cplx(2, 3))),
    "kron": (np.kron, (real(2, 3), real(3, 2))),
    "kron ranks": (np.kron, (real(2), real(3, 1, 2))),
    "kron scalar": (np.kron, (real(), real(2, 2))),
    "trace": (np.trace, (cplx(3, 4),)),
    "trace offset": (lambda a: np.trace(a, 1, 2, 0), (real(3, 2, 4),)),
    "trace negative offset": (lambda a: np.trace(a, offset=-2), (real(3, 4),)),
    "trace outside": (lambda a: np.trace(a, offset=7), (real(3, 4),)),
    "linalg.trace": (lambda a: np.linalg.trace(a, offset=1), (real(2, 3, 3),)),
    "linalg.diagonal": (lambda a: np.linalg.diagonal(a, offset=1), (real(2, 3, 3),)),
    "linalg.matrix_transpose": (lambda a: np.linalg.matrix_transpose(a) * 1.0, (real(2, 3, 4),)),
    "cross": (np.cross, (real(2, 3), real(3))),
    "cross axes": (lambda a, b: np.cross(a, b, 0, 1, 0), (real(3, 4), real(4, 3))),
    "cross axis": (lambda a, b: np.cross(a, b, axis=0), (real(3, 2), real(3, 2))),
    "linalg.cross": (np.linalg.cross, (real(2, 3), real(2, 3))),
    "convolve": (np.convolve, (real(5), real(3))),
    "convolve scalar": (np.convolve, (real(), real(3))),
    "convolve same": (lambda a, v: np.convolve(a, v, "same"), (real(4), real(6))),
    "convolve valid": (lambda a, v: np.convolve(a, v, mode="valid"), (cplx(6), cplx(3))),
    "correlate": (np.correlate, (real(6), real(3))),
    "correlate full": (lambda a, v: np.correlate(a, v, "full"), (cplx(4), cplx(2))),
    "correlate same, short first": (lambda a, v: np.correlate(a, v, "same"), (cplx(2), cplx(5))),
    "correlate valid, short first": (np.correlate, (real(3), real(5))),
    "polyval": (np.polyval, (real(4), real(2, 3))),
    "polyval at a number": (np.polyval, (real(3), 0.7)),
    "vander": (np.vander, (real(4),)),
    "vander increasing": (lambda x: np.vander(x, 5, increasing=True), (real(3),)),
    "vander one column": (lambda x: np.vander(x, 1) * x[0], (real(3),)),
    "multi_dot of two": (lambda *a: np.linalg.multi_dot(a), (real(2, 3), real(3, 2))),
    "multi_dot of three": (lambda *a: np.linalg.multi_dot(a), (real(9, 2), real(2, 7), real(7, 3))),
    "multi_dot of five": (
        lambda *a: np.linalg.multi_dot(a), (real(4), real(4, 9), real(9, 2), real(2, 7), real(7))
    ),
    "multi_dot to a vector": (lambda *a: np.linalg.multi_dot(a), (real(4, 2), real(2, 3), real(3))),
    "multiply.outer": (lambda a, b: np.multiply.outer(a, b), (real(2, 2), real(3))),
    "subtract.outer": (lambda a, b: np.subtract.outer(a, b), (real(2), real(3))),
}  # fmt: skip
if "matvec" in vars(np):
    CALLS["matvec"] = np.matvec, (cplx(4, 3, 2), cplx(2))
    CALLS["vecmat"] = np.vecmat, (cplx(4, 3), cplx(3, 2))

EINSUMS: dict[str, tuple[Any, ...]] = {
    "ij,jk": (real(3, 2), real(2, 4)),
    "ij,jk->ki": (real(3, 2), real(2, 4)),
    "b i j , b j k": (real(2, 3, 2), real(2, 2, 4)),
    "ba": (real(2, 3),),
    "ii": (real(3, 3),),
    "ii->i": (real(3, 3),),
    "iij->j": (cplx(3, 3, 2),),
    "iii->i": (real(3, 3, 3),),
    "ij->": (real(2, 3),),
    "ijk->ik": (real(2, 3, 4),),
    "i,j": (real(2), real(3)),
    ",ij": (real(), real(2, 3)),
    "ij,ij->": (real(2, 3), real(2, 3)),
    "iij,k->j": (real(2, 2, 3), real(4)),
    "ij,jk,kl,l->i": (real(2, 3), real(3, 4), real(4, 2), real(2)),
    "ij,ik,il->jkl": (cplx(2, 3), cplx(2, 4), cplx(2, 2)),
    "...ij,...jk": (real(2, 1, 3, 2), real(4, 2, 3)),
    "...ij,jk->...ik": (real(2, 3, 2), real(2, 3)),
    "i...->...": (real(3, 2, 4),),
    "...i,...i->...": (real(3, 2), real(2)),
    "ij...,jk...->ik...": (real(2, 3, 5), real(3, 2, 1)),
    "ij,ij->ij": (real(1, 3), real(2, 1)),
    "ab,ab,c->ca": (real(2, 3), real(2, 3), real(4)),
}
for subscripts, operands in EINSUMS.items():
    for optimize in (False, True, "optimal"):

        def call(*xs: Any, spec: str = subscripts, optimize: Any = optimize) -> Any:
            return np.einsum(spec, *xs, optimize=optimize)

        CALLS[f"einsum {subscripts} {optimize}"] = call, operands

SUBLISTS = np.einsum_path("ij,jk,kl->il", real(2, 3), real(3, 4), real(4, 2))[0]
CALLS["einsum of sublists"] = lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), (real(2, 3), real(3, 4))
CALLS["einsum of sublists, implicit"] = (
    lambda a, b: np.einsum(a, [..., 3, 1], b, [1, 0]),
    (real(2, 4, 3), real(3, 2)),
)
CALLS["einsum along a path"] = (
    lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c, optimize=SUBLISTS),
    (real(2, 3), real(3, 4), real(4, 2)),
)
CALLS["einsum dtype"] = lambda a: np.einsum("ij->j", a, dtype=np.complex128), (real(2, 3),)
CALLS["einsum large"] = (
    lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c) / 20,
    (real(20, 20), real(20, 20), real(20, 3)),
)


def assert_same(one: Any, other: Any, what: str = "") -> None:
    """Equal bits, dtype and shape, and both scalars or both arrays."""
    assert isinstance(one, np.ndarray) == isinstance(other, np.ndarray), what
    a, b = np.asarray(one), np.asarray(other)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), what
    np.testing.assert_array_equal(a, b, what)


@pytest.mark.parametrize("name", CALLS)
def test_values_are_numpys_own(name: str) -> None:
    function, args = CALLS[name]
    expected = function(*args)
    value, _ = wg.jvp(function, args, tuple(np.ones_like(x) for x in args))
    assert_same(value, expected, "forward")
    for k in range(len(args)):  # the traced array in any position, and lists for the others
        mixed = [wg.Variable(x) if i == k else (x.tolist() if np.ndim(x) else x) for i, x in enumerate(args)]
        if name not in ("matmul float32", "@"):
            assert_same(concrete(function(*mixed)), expected, f"a Variable at {k}")


@pytest.mark.parametrize("name", CALLS)
def test_derivatives(name: str) -> None:
    function, args = CALLS[name]
    check_grads(function, args, order=1 if " True" in name or "large" in name else 2)


@pytest.mark.parametrize("name", CALLS)
def test_vmap_is_a_loop(name: str) -> None:
    function, args = CALLS[name]
    for mapped in [*range(len(args)), None]:
        in_axes = tuple(0 if mapped in (k, None) else None for k in range(len(args)))
        stacked = [np.stack([x, 2 * x, x - 1]) if axis == 0 else x for x, axis in zip(args, in_axes, strict=True)]
        rows = [
            function(*(x[i] if axis == 0 else x for x, axis in zip(stacked, in_axes, strict=True))) for i in range(3)
        ]
        result = wg.vmap(function, in_axes=in_axes)(*stacked)
        assert result.dtype == np.stack(rows).dtype
        tolerance = 1e-5 if "float32" in name else 1e-12
        np.testing.assert_allclose(result, np.stack(rows), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", [np.matmul, np.dot])
@pytest.mark.parametrize(
    "shapes", [((6, 5), (5, 4)), ((6, 5), (5,)), ((5,), (5, 6)), ((3, 6, 5), (5, 4)), ((2, 6, 5), (5,))]
)
def test_pullbacks_of_plain_products_are_single_calls_of_blas(function: Any, shapes: Any) -> None:
    a, b = (real(*shape) for shape in shapes)
    program = wg.trace(lambda a, b, ct: wg.vjp(function, a, b)[1](ct))(a, b, function(a, b))
    names = [equation.primitive.name for equation in program.equations]
    products = [name for name in names if name in ("matmul", "dot", "outer", "tensordot")]
    assert len(products) == 3, program  # the value, and one for each operand
    assert set(names) <= {*products, "transpose", "reshape"}, program


def test_einsum_is_one_line_of_the_list() -> None:
    program = wg.trace(lambda a, b: np.einsum("...ij,jk", a, b))(real(2, 3, 2), real(2, 2))
    assert [equation.primitive.name for equation in program.equations] == ["einsum"]
    program.check()


def test_einsum_of_infinite_cotangents_keeps_zeros_off_the_diagonal() -> None:
    bar = wg.grad(lambda a: np.sum(np.sqrt(np.einsum("ii->i", a))))(np.diag([0.0, 4.0]))
    np.testing.assert_array_equal(bar, [[np.inf, 0.0], [0.0, 0.25]])
    bar = wg.grad(lambda a: np.sqrt(np.trace(a)))(np.zeros((2, 2)))
    np.testing.assert_array_equal(bar, [[np.inf, 0.0], [0.0, np.inf]])


def test_einsum_views_are_followed_or_refused() -> None:
    def read_after_write(x: Any) -> Any:
        y = x.copy()
        view = np.einsum("ij->ji", y)
        y[0, 1] = 7.0
        view[0, 0] = 5.0
        return np.stack([view.sum(), y[0, 0], y.sum()])

    x = real(2, 3)
    assert_same(wg.jvp(read_after_write, (x,), (np.ones_like(x),))[0], read_after_write(x))

    def write_to_diagonal(x: Any) -> Any:
        y = x.copy()
        np.einsum("ii->i", y)[...] = 1.0
        return y.sum()

    with pytest.raises(ValueError, match="refused"):
        wg.grad(write_to_diagonal)(real(3, 3))


def test_out_is_delivered() -> None:
    for function in (
        lambda a, b, y: np.dot(a, b, out=y),
        lambda a, b, y: np.einsum("ij,jk", a, b, out=y),
        lambda a, b, y: np.matmul(a, b, out=y),
        lambda a, b, y: np.linalg.multi_dot([a, b], out=y),
    ):

        def whole(a: Any, b: Any, function: Any = function) -> Any:
            y = np.zeros_like(a)
            same = function(a, b, y)
            return y + same

        check_grads(whole, (real(2, 2), real(2, 2)), order=1)
        with pytest.raises(TypeError, match="plain NumPy array"):
            wg.grad(lambda a, f=function: np.sum(f(a, a, np.zeros((2, 2)))))(real(2, 2))


@pytest.mark.parametrize(
    ("ufunc", "args", "kwargs"),
    [
        (np.matmul, (real(2, 3), real(2, 4)), {"axes": [(1, 0), (0, 1), (0, 1)]}),
        (np.matmul, (real(3, 2), real(4, 2)), {"axes": [(-2, -1), (-1, -2), (1, 0)]}),
        (np.matmul, (real(3, 2), real(2)), {"dtype": np.complex128}),
        (np.vecdot, (real(3, 2), real(3, 2)), {"axis": 0}),
        (np.vecdot, (real(3, 2), real(3, 2)), {"keepdims": True}),
        (np.vecdot, (real(3, 2), real(2, 3)), {"axes": [0, 1], "keepdims": True}),
        (np.vecdot, (real(3, 2), real(2, 3)), {"axes": [0, 1, 0], "keepdims": True}),
        (np.vecdot, (real(3, 2), real(2, 3)), {"axes": [(0,), (1,), ()]}),
    ],
)
def test_gufuncs_with_axes(ufunc: Any, args: Any, kwargs: Any) -> None:
    def function(*xs: Any) -> Any:
        return ufunc(*xs, **kwargs)

    value, _ = wg.jvp(function, args, args)
    assert_same(value, ufunc(*args, **kwargs))
    check_grads(function, args, order=1)


WRONG: dict[str, Call] = {
    "matmul shapes": (np.matmul, (real(2, 3), real(2, 3))),
    "matmul of a scalar": (np.matmul, (real(), real(2, 3))),
    "matmul axis": (lambda a, b: np.matmul(a, b, axis=0), (real(2, 2), real(2, 2))),
    "dot shapes": (np.dot, (real(2, 3), real(2, 3))),
    "inner shapes": (np.inner, (real(2, 3), real(2, 2))),
    "vdot sizes": (np.vdot, (real(2), real(3))),
    "vecdot sizes": (np.vecdot, (real(2), real(3))),
    "tensordot shapes": (np.tensordot, (real(2, 3), real(3, 2))),
    "tensordot axes": (lambda a, b: np.tensordot(a, b, ([0], [0, 1])), (real(2, 3), real(2, 3))),
    "tensordot no such axis": (lambda a, b: np.tensordot(a, b, ([5], [0])), (real(2, 3), real(2, 3))),
    "tensordot same axis twice": (lambda a, b: np.tensordot(a, b, ([0, 0], [0, 0])), (real(2, 2), real(2, 2))),
    "einsum sizes": (lambda a, b: np.einsum("ij,jk", a, b), (real(2, 3), real(2, 3))),
    "einsum sizes, optimized": (lambda a, b: np.einsum("ij,jk", a, b, optimize=True), (real(2, 3), real(2, 3))),
    "einsum diagonal": (lambda a: np.einsum("ii", a), (real(2, 3),)),
    "einsum output": (lambda a: np.einsum("ij->k", a), (real(2, 3),)),
    "einsum repeated output": (lambda a: np.einsum("ij->ii", a), (real(2, 3),)),
    "einsum ellipsis lost": (lambda a: np.einsum("...i->i", a), (real(2, 3),)),
    "einsum rank": (lambda a: np.einsum("ijk", a), (real(2, 3),)),
    "einsum too few": (lambda a: np.einsum("ij,jk", a), (real(2, 3),)),
    "einsum letters": (lambda a: np.einsum("i!", a), (real(2, 3),)),
    "einsum sublist": (lambda a: np.einsum(a, [0, 60]), (real(2, 3),)),
    "einsum sublist kind": (lambda a: np.einsum(a, ["i", "j"]), (real(2, 3),)),
    "einsum cast": (lambda a: np.einsum("ij->i", a, dtype=np.float32), (real(2, 3),)),
    "trace of a vector": (np.trace, (real(3),)),
    "trace same axes": (lambda a: np.trace(a, axis1=1, axis2=-1), (real(3, 3),)),
    "trace axis": (lambda a: np.trace(a, axis1=4), (real(3, 3),)),
    "cross lengths": (np.cross, (real(4), real(4))),
    "cross scalar": (np.cross, (real(), real(3))),
    "cross axis": (lambda a, b: np.cross(a, b, axisa=3), (real(3), real(3))),
    "linalg.cross": (np.linalg.cross, (real(2), real(2))),
    "linalg.outer": (np.linalg.outer, (real(2, 2), real(2))),
    "linalg.matrix_transpose": (np.linalg.matrix_transpose, (real(2),)),
    "convolve empty": (np.convolve, (real(0), real(2))),
    "convolve mode": (lambda a, v: np.convolve(a, v, "middle"), (real(3), real(2))),
    "convolve rank": (np.convolve, (real(2, 2), real(2))),
    "vander rank": (np.vander, (real(2, 2),)),
    "multi_dot of one": (lambda a: np.linalg.multi_dot([a]), (real(2, 2),)),
    "multi_dot rank": (lambda a: np.linalg.multi_dot([a, a, a]), (real(2, 2, 2),)),
    "multi_dot shapes": (lambda a: np.linalg.multi_dot([a, a, a]), (real(2, 3),)),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_raise_numpys_own_errors(name: str) -> None:
    function, args = WRONG[name]
    with pytest.raises(Exception) as expected:
        function(*args)
    for wrap in (lambda x: wg.Variable(x), lambda x: wg.Dual(x, x)):
        with pytest.raises(expected.type) as got:
            function(*(wrap(x) for x in args))
        assert str(got.value) == str(expected.value)


def test_keywords_that_are_not_known_are_refused() -> None:
    x = wg.Variable(real(2, 2))
    with pytest.raises(TypeError, match="order="):
        np.einsum("ij->i", x, order="F")
    with pytest.raises(TypeError):
        np.einsum("ij->i", x, colour="red")


def test_einsum_path_is_numpys() -> None:
    args = real(2, 3), real(3, 4), real(4, 2)
    expected = np.einsum_path("ij,jk,kl->il", *args)
    assert np.einsum_path("ij,jk,kl->il", wg.Variable(args[0]), *args[1:]) == expected
    assert np.einsum_path(wg.Variable(args[0]), [0, 1], optimize="optimal")[0] == ["einsum_path", (0,)]


def test_cross_products_in_the_plane() -> None:
    """Deprecated by NumPy, with its warning, and still right."""
    for lengths in ((2, 2), (2, 3), (3, 2)):
        args = tuple(real(4, n) for n in lengths)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert_same(wg.jvp(np.cross, args, args)[0], np.cross(*args))
            check_grads(np.cross, args, order=1)
        with pytest.warns(DeprecationWarning, match="2-dimensional vectors"):
            np.cross(wg.Variable(args[0]), args[1])


def test_methods() -> None:
    a, b = real(2, 3), real(3)
    assert_same(concrete(wg.Variable(a).dot(b)), a.dot(b))
    assert_same(concrete(wg.Variable(a).trace(1, axis1=1, axis2=0)), a.trace(1, axis1=1, axis2=0))
    check_grads(lambda a, b: np.stack([a.dot(b).sum(), a.trace()]), (a, b), order=1)


def test_shape_rules_keep_scalars_and_arrays_apart() -> None:
    x = wg.Variable(real(3))
    assert aval_of(np.dot(x, x)).scalar
    assert not aval_of(np.tensordot(x, x, 1)).scalar


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (5, 2), (3, 5), (2, 5), (4, 4), (1, 1), (6, 2)])
def test_convolutions_of_all_lengths(n: int, m: int, mode: Any) -> None:
    for function in (np.convolve, np.correlate):
        args = cplx(n), cplx(m)
        assert_same(wg.jvp(lambda a, v, f=function: f(a, v, mode), args, args)[0], function(*args, mode))
        check_grads(lambda a, v, f=function: f(a, v, mode), args, order=1)


def test_third_derivatives() -> None:
    a, x = real(3, 3), real(3)
    check_grads(lambda x: np.einsum("i,ij,j,i->", x, a, x, x), (x,), order=3)
    check_grads(lambda x: x @ (np.outer(x, x) @ x), (x,), order=3)
