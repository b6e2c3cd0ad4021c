"""numpy.linalg on traced arrays: NumPy's values and errors, and derivatives in both modes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core import REGISTRY, aval_of, concrete
from wengert.ops.linalg import positive_definite, regular
from wengert.testing import cases, check_grads

RNG = np.random.default_rng(12)
LA = np.linalg


def real(*shape: int) -> Any:
    return np.asarray(RNG.normal(size=shape))


def cplx(*shape: int) -> Any:
    return real(*shape) + 1j * real(*shape)


def square(*shape: int, dtype: Any = float) -> Any:
    return regular(*shape)(RNG, np.dtype(dtype))


def definite(*shape: int, dtype: Any = float) -> Any:
    return positive_definite(*shape)(RNG, np.dtype(dtype))


def projector(v: Any) -> Any:
    """v vᴴ: does not depend on the phase of v."""
    return v @ np.conj(np.swapaxes(v, -1, -2))


def of_hermitian(a: Any) -> Any:
    """A function of the triangle that eigh reads, which does not depend on phases."""
    w, v = LA.eigh(a)
    return projector(v[..., :, :2]), w


def of_svd(a: Any, full: bool) -> Any:
    u, s, vh = LA.svd(a, full_matrices=full)
    return u[..., :, : s.shape[-1]] @ (np.exp(s / 3)[..., None] * vh[..., : s.shape[-1], :]), s


def of_svd_complement(a: Any) -> Any:
    u, _, vh = LA.svd(a)
    return projector(u[..., :, 2:]) + 2 * np.sum(projector(vh))


Call = tuple[Callable[..., Any], tuple[Any, ...]]
CALLS: dict[str, Call] = {
    "solve vector": (LA.solve, (square(3, 3), real(3))),
    "solve matrix": (LA.solve, (square(3, 3, dtype=complex), cplx(3, 2))),
    "solve stacks": (LA.solve, (square(2, 1, 3, 3), real(4, 3, 2))),
    "solve stack, vector": (LA.solve, (square(2, 3, 3), real(3))),
    "solve float32": (LA.solve, (square(3, 3), real(3).astype(np.float32))),
    "inv": (LA.inv, (square(3, 3, dtype=complex),)),
    "inv stack": (LA.inv, (square(2, 3, 3),)),
    "pinv": (LA.pinv, (real(4, 2),)),
    "pinv wide": (LA.pinv, (cplx(2, 3),)),
    "pinv options": (lambda a: LA.pinv(a, rtol=1e-10), (real(2, 3, 2),)),
    "pinv hermitian": (lambda a: LA.pinv(a + a.T, hermitian=True), (square(3, 3),)),
    "tensorsolve": (LA.tensorsolve, (square(6, 6).reshape(2, 3, 3, 2), real(2, 3))),
    "tensorsolve axes": (
        lambda a, b: LA.tensorsolve(a, b, axes=(0, 2)),
        (np.moveaxis(square(6, 6).reshape(2, 3, 3, 2), (2, 3), (0, 2)), real(2, 3)),
    ),
    "tensorinv": (LA.tensorinv, (square(6, 6).reshape(2, 3, 3, 2),)),
    "tensorinv 1": (lambda a: LA.tensorinv(a, ind=1), (square(6, 6).reshape(6, 3, 2),)),
    "matrix_power 0": (lambda a: LA.matrix_power(a, 0) + 0 * a, (square(3, 3),)),
    "matrix_power 1": (lambda a: LA.matrix_power(a, 1) * 1.0, (square(3, 3),)),
    "matrix_power 2": (lambda a: LA.matrix_power(a, 2), (square(2, 3, 3),)),
    "matrix_power 3": (lambda a: LA.matrix_power(a, 3), (square(3, 3),)),
    "matrix_power 11": (lambda a: LA.matrix_power(a / 2, 11), (square(3, 3),)),
    "matrix_power -2": (lambda a: LA.matrix_power(a, -2), (square(3, 3),)),
    "det": (LA.det, (real(3, 3),)),
    "det complex": (LA.det, (cplx(4, 4),)),
    "det stack": (LA.det, (real(2, 3, 3),)),
    "slogdet": (lambda a: LA.slogdet(a).logabsdet, (real(3, 3),)),
    "slogdet stack": (lambda a: LA.slogdet(a)[1], (real(2, 3, 3),)),
    "slogdet complex": (lambda a: tuple(LA.slogdet(a)), (cplx(3, 3),)),
    "cholesky": (LA.cholesky, (definite(3, 3),)),
    "cholesky complex": (LA.cholesky, (definite(3, 3, dtype=complex),)),
    "cholesky upper": (lambda a: LA.cholesky(a, upper=True), (definite(2, 3, 3, dtype=complex),)),
    "eigh": (lambda a: LA.eigh(a).eigenvalues, (definite(3, 3),)),
    "eigh vectors": (lambda a: LA.eigh(a).eigenvectors, (definite(3, 3),)),
    "eigh upper": (lambda a: LA.eigh(a, UPLO="u")[1], (definite(3, 3),)),
    "eigh complex": (of_hermitian, (definite(2, 3, 3, dtype=complex),)),
    "eigvalsh": (LA.eigvalsh, (definite(3, 3, dtype=complex),)),
    "eigvalsh upper": (lambda a: LA.eigvalsh(a, "U"), (definite(2, 3, 3),)),
    "eig": (lambda a: tuple(LA.eig(a)), (square(3, 3),)),
    "eig complex": (lambda a: tuple(LA.eig(a)), (square(3, 3, dtype=complex),)),
    "eigvals": (LA.eigvals, (square(2, 3, 3),)),
    "eigvals turning": (LA.eigvals, (np.array([[1.0, 4.0, 0.3], [-4.0, 2.0, 0.1], [0.2, 0.5, 3.0]]),)),
    "svd": (lambda a: tuple(LA.svd(a, full_matrices=False)), (real(4, 3),)),
    "svd wide": (lambda a: tuple(LA.svd(a, False)), (real(2, 3, 4),)),
    "svd full": (lambda a: of_svd(a, True), (cplx(4, 2),)),
    "svd full, wide": (lambda a: of_svd(a, True), (cplx(2, 4),)),
    "svd complement": (of_svd_complement, (real(4, 2),)),
    "svd complement, wide": (of_svd_complement, (cplx(2, 4),)),
    "svd hermitian": (lambda a: LA.svd(a, hermitian=True).S, (definite(3, 3),)),
    "svd hermitian vectors": (
        lambda a: (lambda u, s, vh: (u * np.exp(s / 9)) @ vh)(*LA.svd(a, hermitian=True)),
        (definite(3, 3, dtype=complex) - 2 * np.eye(3),),
    ),
    "svd hermitian values": (
        lambda a: LA.svd(a, compute_uv=False, hermitian=True),
        (definite(2, 3, 3) - 2 * np.eye(3),),
    ),
    "svdvals": (LA.svdvals, (cplx(2, 3, 2),)),
    "qr": (lambda a: tuple(LA.qr(a)), (real(4, 3),)),
    "qr square": (lambda a: tuple(LA.qr(a)), (cplx(3, 3),)),
    "qr wide": (lambda a: tuple(LA.qr(a)), (cplx(2, 2, 4),)),
    "qr r": (lambda a: LA.qr(a, mode="r"), (real(4, 3),)),
    "qr complete": (lambda a: (lambda q, r: (projector(q[:, 2:]), r))(*LA.qr(a, mode="complete")), (cplx(4, 2),)),
    "lstsq": (lambda a, b: tuple(LA.lstsq(a, b))[::3], (real(5, 2), real(5))),
    "lstsq matrix": (lambda a, b: LA.lstsq(a, b)[:2], (cplx(5, 2), cplx(5, 3))),
    "lstsq wide": (lambda a, b: LA.lstsq(a, b, rcond=1e-12)[0], (real(2, 4), real(2))),
    "cond": (LA.cond, (real(3, 3),)),
    "cond of rectangles": (LA.cond, (real(2, 4, 3),)),
    "cond -2": (lambda a: LA.cond(a, -2), (real(3, 3),)),
    "cond 1": (lambda a: LA.cond(a, 1), (square(2, 3, 3),)),
    "cond fro": (lambda a: LA.cond(a, "fro"), (square(3, 3),)),
    "cond inf": (lambda a: LA.cond(a, np.inf), (square(3, 3),)),
}
VECTOR_ORDERS = (None, 1, 2, 3, 0.5, -1, -2.5, np.inf, -np.inf)
for order, keepdims in itertools.product(VECTOR_ORDERS, (False, True)):

    def along_axis(x: Any, order: Any = order, keepdims: Any = keepdims) -> Any:
        return LA.norm(x, order, axis=1, keepdims=keepdims)

    CALLS[f"norm {order} of vectors, keepdims={keepdims}"] = along_axis, (real(3, 4) + 0.1,)
    CALLS[f"norm {order} of a vector, keepdims={keepdims}"] = (
        lambda x, order=order, keepdims=keepdims: LA.norm(x, order, keepdims=keepdims),
        (real(4),),
    )
    CALLS[f"vector_norm {order}, keepdims={keepdims}"] = (
        lambda x, order=2 if order is None else order, keepdims=keepdims: LA.vector_norm(
            x, ord=order, keepdims=keepdims
        ),
        (cplx(2, 3),),
    )
for order, keepdims in itertools.product((None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf), (False, True)):

    def of_matrices(x: Any, order: Any = order, keepdims: Any = keepdims) -> Any:
        return LA.norm(x, order, axis=(2, 0), keepdims=keepdims)

    CALLS[f"norm {order} of matrices, keepdims={keepdims}"] = of_matrices, (cplx(3, 2, 4),)
    CALLS[f"norm {order} of a matrix, keepdims={keepdims}"] = (
        lambda x, order=order, keepdims=keepdims: LA.norm(x, order, keepdims=keepdims),
        (real(3, 2),),
    )
CALLS |= {
    "norm of everything": (LA.norm, (cplx(2, 3, 2),)),
    "norm of a scalar": (LA.norm, (real(),)),
    "vector_norm of axes": (lambda x: LA.vector_norm(x, axis=(-1, 0), keepdims=True), (real(2, 3, 2),)),
    "vector_norm of an axis": (lambda x: LA.vector_norm(x, axis=1, ord=1), (real(2, 3, 2),)),
    "matrix_norm": (lambda x: LA.matrix_norm(x, ord=2, keepdims=True), (real(2, 3, 2),)),
    "matrix_norm fro": (LA.matrix_norm, (real(2, 3, 2),)),
}


def assert_same(one: Any, other: Any, what: str = "") -> None:
    """Equal bits, dtype and shape, and both scalars or both arrays."""
    for a, b in zip(one, other, strict=True) if isinstance(other, tuple) else [(one, other)]:
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray), what
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), what
        np.testing.assert_array_equal(a, b, what)


@pytest.mark.parametrize("name", CALLS)
def test_values_are_numpys_own(name: str) -> None:
    function, args = CALLS[name]
    expected = function(*args)
    value, _ = wg.jvp(function, args, tuple(np.ones_like(x) for x in args))
    assert_same(value, expected, "forward")
    for k in range(len(args)):
        mixed = [wg.Variable(x) if i == k else x for i, x in enumerate(args)]
        result = function(*mixed)
        plain = tuple(map(concrete, result)) if isinstance(result, tuple) else concrete(result)
        assert_same(plain, expected, f"a Variable at {k}")


@pytest.mark.parametrize("name", CALLS)
def test_derivatives(name: str) -> None:
    function, args = CALLS[name]
    if name == "solve float32":
        args = tuple(x.astype(float) for x in args)
    check_grads(function, args, order=2)


@pytest.mark.parametrize("name", CALLS)
def test_vmap_is_a_loop(name: str) -> None:
    function, args = CALLS[name]
    if name in ("eig", "eigvals", "eigvals turning"):
        return  # real matrices: complex under vmap, where NumPy decides by the values; below
    for mapped in [*range(len(args)), None]:
        in_axes = tuple(0 if mapped in (k, None) else None for k in range(len(args)))
        stacked = [np.stack([x, x * 2, x * 1.5]) if axis == 0 else x for x, axis in zip(args, in_axes, strict=True)]
        results = wg.vmap(function, in_axes=in_axes)(*stacked)
        for i in range(3):
            row = function(*(x[i] if axis == 0 else x for x, axis in zip(stacked, in_axes, strict=True)))
            for got, expected in zip(*((results, row) if isinstance(row, tuple) else ([results], [row])), strict=True):
                assert (got[i].shape, got.dtype) == (expected.shape, expected.dtype)
                np.testing.assert_allclose(got[i], expected, rtol=1e-5 if "float32" in name else 1e-9, atol=1e-11)


def test_results_have_names() -> None:
    a = wg.Variable(definite(3, 3))
    assert LA.slogdet(a).sign.shape == ()
    assert LA.eigh(a).eigenvalues.shape == (3,)
    assert LA.eig(a).eigenvectors.shape == (3, 3)
    assert LA.svd(a).Vh.shape == (3, 3)
    assert LA.qr(a).R.shape == (3, 3)
    x, residuals, rank, s = LA.lstsq(a, np.ones(3))
    assert (x.shape, residuals.shape, rank, s.shape) == ((3,), (0,), 3, (3,))


@pytest.mark.parametrize("name", ["solve", "inv", "det", "slogdet", "cholesky", "eigh", "norm"])
@pytest.mark.parametrize("dtype", [float, complex])
def test_given_pullbacks_are_the_derived_ones(name: str, dtype: Any) -> None:
    primitive: Any = REGISTRY[name]
    for case in cases(primitive, dtype):
        if case.args[0].size == 0:
            continue
        with np.errstate(all="ignore"):
            out = primitive.value(*case.args, **case.params)
        ct = [y + 1.0 for y in out] if primitive.multiple else out * 2.0 + 1.0
        saved, into = [*case.args, out], aval_of(case.args[0])
        given = primitive.pullback(0, ct, saved, into, case.params)
        derived = primitive.derived_pullback(0, ct, saved, into, case.params)
        np.testing.assert_allclose(given, derived, rtol=1e-11, atol=1e-12)


WRONG: dict[str, Call] = {
    "solve shapes": (LA.solve, (square(3, 3), real(2))),
    "solve rectangle": (LA.solve, (real(2, 3), real(2))),
    "solve singular": (LA.solve, (np.ones((2, 2)), real(2))),
    "inv singular": (LA.inv, (np.ones((2, 2)),)),
    "inv rectangle": (LA.inv, (real(2, 3),)),
    "inv vector": (LA.inv, (real(2),)),
    "inv float16": (LA.inv, (np.eye(2, dtype=np.float16),)),
    "pinv both": (lambda a: LA.pinv(a, rcond=1e-9, rtol=1e-9), (real(2, 2),)),
    "det rectangle": (LA.det, (real(2, 3),)),
    "slogdet rectangle": (LA.slogdet, (real(2, 3),)),
    "cholesky indefinite": (LA.cholesky, (-np.eye(2),)),
    "cholesky rectangle": (LA.cholesky, (real(2, 3),)),
    "eigh triangle": (lambda a: LA.eigh(a, "X"), (np.eye(2),)),
    "eigvalsh triangle": (lambda a: LA.eigvalsh(a, "X"), (np.eye(2),)),
    "eig of nan": (LA.eig, (np.full((2, 2), np.nan),)),
    "svd vector": (LA.svd, (real(2),)),
    "qr vector": (LA.qr, (real(2),)),
    "qr mode": (lambda a: LA.qr(a, "other"), (real(2, 2),)),
    "matrix_power float": (lambda a: LA.matrix_power(a, 1.5), (real(2, 2),)),
    "matrix_power rectangle": (lambda a: LA.matrix_power(a, 2), (real(2, 3),)),
    "tensorsolve shapes": (LA.tensorsolve, (real(2, 3, 2), real(2, 2))),
    "tensorinv ind": (lambda a: LA.tensorinv(a, 0), (real(2, 2),)),
    "lstsq shapes": (LA.lstsq, (real(3, 2), real(2))),
    "lstsq rank": (LA.lstsq, (real(3, 2, 2), real(3))),
    "norm order": (lambda x: LA.norm(x, "fro"), (real(3),)),
    "norm order of matrices": (lambda x: LA.norm(x, 3), (real(2, 2),)),
    "norm axis kind": (lambda x: LA.norm(x, axis="rows"), (real(2, 2),)),
    "norm axis": (lambda x: LA.norm(x, axis=2), (real(2, 2),)),
    "norm axes": (lambda x: LA.norm(x, axis=(0, 2)), (real(2, 2),)),
    "norm same axes": (lambda x: LA.norm(x, axis=(0, -2)), (real(2, 2),)),
    "norm three axes": (lambda x: LA.norm(x, axis=(0, 1, 2)), (real(2, 2, 2),)),
    "norm rank": (lambda x: LA.norm(x, 1), (real(2, 2, 2),)),
    "cond empty": (LA.cond, (real(0, 0),)),
    "cond rectangle": (lambda x: LA.cond(x, 1), (real(2, 3),)),
    "matrix_rank both": (lambda x: LA.matrix_rank(x, tol=1, rtol=1), (real(2, 3),)),
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


def test_raw_qr_is_refused() -> None:
    with pytest.raises(TypeError, match="mode='raw'"):
        LA.qr(wg.Variable(real(3, 2)), mode="raw")


def test_empty_matrices() -> None:
    empty = np.zeros((0, 0))
    assert wg.grad(LA.det)(empty).shape == (0, 0)
    for function in (LA.inv, LA.cholesky, lambda a: LA.solve(a, np.zeros((0, 2))), LA.norm):
        assert_same(wg.jvp(function, (empty,), (empty,))[0], function(empty))


@pytest.mark.parametrize(
    "function",
    [
        lambda a: np.sum(LA.eigh(a)[1][:, 0] ** 3 * LA.eigh(a)[0]),
        lambda a: LA.svd(a)[0][0, 0] ** 2,
        lambda a: np.sum(LA.qr(a)[0] ** 3),
        lambda a: np.sum(np.real(LA.eig(a)[1]) ** 3),
        lambda a: np.sum(LA.cholesky(a) ** 3),
        lambda a: LA.norm(a @ a),
    ],
)
def test_second_backward_through_results_that_rules_read(function: Any) -> None:
    a, direction = definite(3, 3), real(3, 3)
    x = wg.Variable(a)
    function(x).backward(create_graph=True)
    slope = np.sum(x.grad * direction)
    x.zero_grad()
    slope.backward()
    np.testing.assert_allclose(x.grad, wg.jvp(wg.grad(function), (a,), (direction,))[1], rtol=1e-10, atol=1e-11)
