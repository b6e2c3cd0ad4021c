"""numpy.linalg where derivatives go wrong elsewhere: singular matrices, norms at 0 and at ties, equal eigenvalues."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core import concrete
from wengert.ops.linalg import positive_definite, regular
from wengert.testing import check_grads

RNG = np.random.default_rng(13)
LA = np.linalg


def real(*shape: int) -> Any:
    return np.asarray(RNG.normal(size=shape))


def square(*shape: int) -> Any:
    return regular(*shape)(RNG, np.dtype(float))


def definite(*shape: int) -> Any:
    return positive_definite(*shape)(RNG, np.dtype(float))


def assert_same(one: Any, other: Any) -> None:
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------------------- det


def leibniz(a: Any) -> Any:
    """det as a polynomial."""
    n = a.shape[-1]
    total = 0.0
    for p in itertools.permutations(range(n)):
        sign = (-1) ** sum(p[i] > p[j] for i, j in itertools.combinations(range(n), 2))
        term = sign * a[0, p[0]]
        for i in range(1, n):
            term = term * a[i, p[i]]
        total = total + term
    return total


SINGULAR = {
    "rank n − 1": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
    "rank n − 2": np.outer([1.0, 2.0, -1.0], [1.0, 0.5, 2.0]),
    "zero": np.zeros((3, 3)),
    "zero, 4×4": np.zeros((4, 4)),
    "rank 2 of 4": np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1], [2, 1, 2, 1]]),
    "rank 3 of 4": np.diag([1.0, 2.0, 0.0, 3.0]),
    "nilpotent": np.diag(np.ones(2), 1),
    "regular": np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 4.0]]),
    "badly conditioned": np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0 + 1e-9], [1.0, 2.0, 3.0]]),
    "1×1": np.zeros((1, 1)),
    "2×2": np.zeros((2, 2)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_derivatives_of_det_at_singular_matrices(name: str) -> None:
    a = SINGULAR[name]
    twice = (wg.hessian, lambda f: wg.jacfwd(wg.jacfwd(f)), lambda f: wg.jacrev(wg.grad(f)))
    for derivative in (wg.grad, wg.jacfwd, *twice):
        np.testing.assert_allclose(derivative(LA.det)(a), derivative(leibniz)(a), rtol=1e-12, atol=1e-12)
    if len(a) < 4:
        third, expected = (wg.jacfwd(wg.hessian(f))(a) for f in (LA.det, leibniz))
        np.testing.assert_allclose(third, expected, rtol=1e-12, atol=1e-12)


def test_third_derivatives_of_det() -> None:
    a = square(4, 4)
    third, expected = (wg.jacfwd(wg.hessian(f))(a) for f in (LA.det, leibniz))
    np.testing.assert_allclose(third, expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(LA.LinAlgError, match="Singular"):
        wg.jacfwd(wg.hessian(LA.det))(np.zeros((4, 4)))


def test_large_determinants_take_both_ways() -> None:
    a = square(30, 30)
    a /= abs(LA.det(a)) ** (1 / 30)
    np.testing.assert_allclose(wg.grad(LA.det)(a), LA.det(a) * LA.inv(a).T, rtol=1e-9, atol=1e-9)
    a[3] = a[4]
    bar = wg.grad(LA.det)(a)
    for i, j in itertools.product(range(2, 6), repeat=2):
        cofactor = (-1) ** (i + j) * LA.det(np.delete(np.delete(a, i, 0), j, 1))
        np.testing.assert_allclose(bar[i, j], cofactor, rtol=1e-10, atol=1e-13)


def test_slogdet_of_singular_matrices_does_not_spoil_the_others() -> None:
    a = np.stack([np.eye(2), np.ones((2, 2)), np.diag([2.0, 4.0])])

    def total(a: Any) -> Any:
        logdet = LA.slogdet(a).logabsdet
        return np.sum(np.where(np.isfinite(logdet), logdet, 0.0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(wg.grad(total)(a), [np.eye(2), np.zeros((2, 2)), np.diag([0.5, 0.25])])
    assert not np.isfinite(wg.grad(lambda a: LA.slogdet(a)[1])(np.ones((2, 2)))).any()


def test_sign_of_real_determinants_has_no_derivative() -> None:
    np.testing.assert_array_equal(wg.grad(lambda a: LA.slogdet(a).sign)(square(2, 2)), np.zeros((2, 2)))


# --------------------------------------------------------------------------------------------------------------- norm


def test_norms_at_their_kinks() -> None:
    zero = np.zeros(3)
    for order in (None, 1, 2, 3, np.inf, -np.inf, 0):
        for derivative in (wg.grad, wg.jacfwd, wg.hessian):
            assert not np.any(derivative(lambda x, order=order: LA.norm(x, order))(zero)), order
    for order in ("fro", "nuc", 1, 2, -2, np.inf, -1):
        assert not np.any(wg.grad(lambda x, order=order: LA.norm(x, order))(np.zeros((2, 2)))), order
    tie = np.array([1.0, -3.0, 3.0])
    np.testing.assert_allclose(wg.grad(lambda x: LA.norm(x, np.inf))(tie), [0.0, -0.5, 0.5])
    np.testing.assert_allclose(wg.grad(lambda x: LA.norm(x, -np.inf))(np.array([1.0, -1.0])), [0.5, -0.5])
    np.testing.assert_allclose(wg.grad(lambda x: LA.norm(x, 1))(np.array([0.0, -2.0])), [0.0, -1.0])
    np.testing.assert_allclose(wg.grad(lambda x: LA.norm(x, 2))(np.eye(2)), np.eye(2) / 2)


def test_norms_at_zeros_of_some_components() -> None:
    x = np.array([0.0, 3.0, 4.0])
    hessian = wg.hessian(LA.norm)(x)
    np.testing.assert_allclose(hessian, (np.eye(3) - np.outer(x, x) / 25) / 5, atol=1e-15)
    check_grads(LA.norm, (x,), order=3)
    check_grads(lambda x: LA.norm(x, 4), (x,), order=2)
    assert wg.hessian(lambda x: LA.norm(x, 3))(x)[0, 0] == 0
    assert LA.norm(wg.Variable(np.zeros((0,)))).shape == ()


def test_norm_of_large_and_small_numbers() -> None:
    np.testing.assert_allclose(wg.grad(lambda x: LA.norm(x, 3))(np.array([1e90, 1e90])), 2.0 ** (-2 / 3))
    np.testing.assert_allclose(wg.grad(LA.norm)(np.array([3e-150, 4e-150])), [0.6, 0.8])


def test_zero_order_counts() -> None:
    x = wg.Variable(np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert_same(np.asarray(concrete(LA.norm(x, 0, axis=1))), np.array([1.0, 0.0]))


def test_integer_batches() -> None:
    rows = np.arange(12).reshape(3, 4)
    assert_same(wg.vmap(LA.norm)(rows), LA.norm(rows, axis=1))


# ------------------------------------------------------------------------------------- symmetric matrices, degeneracy


@pytest.mark.parametrize("function", [LA.cholesky, LA.eigvalsh, lambda a: LA.cholesky(a, upper=True)])
def test_only_the_triangle_that_numpy_reads_counts(function: Any) -> None:
    a = definite(3, 3)
    bar = wg.grad(lambda a: np.sum(np.sin(function(a))))(a)
    lower = not np.any(np.triu(bar, 1))
    assert lower or not np.any(np.tril(bar, -1))
    direction = real(3, 3)
    direction = direction + direction.T
    _, forward = wg.jvp(function, (a,), (direction,))
    symmetric = wg.jvp(lambda a: function((a + np.swapaxes(a, -1, -2)) / 2), (a,), (direction,))[1]
    np.testing.assert_allclose(forward, symmetric, rtol=1e-12)


def test_gradients_through_symmetric_products_do_not_depend_on_the_triangle() -> None:
    b = square(3, 3)
    lower = wg.grad(lambda b: np.sum(np.sin(LA.cholesky(b @ b.T))))(b)
    upper = wg.grad(lambda b: np.sum(np.sin(LA.cholesky(b @ b.T, upper=True))))(b)
    np.testing.assert_allclose(lower, upper, rtol=1e-10)
    check_grads(lambda b: LA.eigh(b @ b.T, "U").eigenvalues, (b,))


def test_equal_eigenvalues_give_finite_and_right_derivatives() -> None:
    for a in (np.eye(3), np.diag([1.0, 1.0, 2.0])):
        np.testing.assert_allclose(wg.grad(lambda a: np.sum(LA.eigvalsh(a) ** 2))(a), 2 * np.diag(np.diag(a)))
        np.testing.assert_allclose(wg.grad(lambda a: np.sum(np.log(LA.svdvals(a))))(a), LA.inv(a))

        def rebuilt(a: Any) -> Any:
            w, v = LA.eigh(a)
            return np.sum(np.sin((v * w) @ v.T))

        bar = wg.grad(rebuilt)(a)
        np.testing.assert_allclose(np.diag(bar), np.cos(np.diag(a)), rtol=1e-12)
        assert np.isfinite(wg.hessian(rebuilt)(a)).all()


def test_rank_is_a_plain_number() -> None:
    a = wg.Variable(np.outer([1.0, 2.0], [3.0, 4.0]))
    assert LA.matrix_rank(a) == 1 and type(LA.matrix_rank(a)) is not wg.Variable
    assert LA.matrix_rank(a, tol=100.0) == 0 and LA.matrix_rank(a[0]) == 1
    stacked = np.stack([np.eye(2), np.ones((2, 2))])
    assert_same(wg.vmap(LA.matrix_rank)(stacked), LA.matrix_rank(stacked))
    assert_same(wg.vmap(LA.matrix_rank)(np.eye(2)[:, :1]), np.array([1, 0]))


def test_eig_of_real_matrices_is_real_where_numpy_says_so() -> None:
    a = square(3, 3)
    assert LA.eig(wg.Variable(a)).eigenvalues.dtype == float
    turned = a + np.array([[0, 5.0, 0], [-5.0, 0, 0], [0, 0, 0]])
    assert LA.eigvals(wg.Variable(turned)).dtype == complex
    rows = wg.vmap(LA.eigvals)(np.stack([a, turned]))
    np.testing.assert_allclose(rows[0], LA.eigvals(a), rtol=1e-12)
    np.testing.assert_allclose(rows[1], LA.eigvals(turned), rtol=1e-12)


def test_cond_of_singular_matrices_is_infinite() -> None:
    for p in (None, 1):
        assert np.isinf(concrete(LA.cond(wg.Variable(np.zeros((2, 2))), p)))
