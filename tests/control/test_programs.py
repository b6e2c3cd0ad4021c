"""Values and derivatives of loops and branches, beside the same programs in plain Python loops."""

import numpy as np
import pytest

import wengert as wg
from tests.control.programs import OURS, PROGRAMS, PYTHON
from wengert import program, tree
from wengert.core import aval_of

X = np.array([0.7, -0.4])
V = np.array([0.3, 1.1])
MEMBERS = np.stack([X, -X, 0.3 * X, V])


def third(f):
    return wg.grad(lambda x: np.sum(wg.grad(lambda x: np.sum(wg.grad(f)(x) * V))(x) * V))


ONE = {
    "value": lambda f: f,
    "grad": wg.grad,
    "jvp": lambda f: lambda x: wg.jvp(f, (x,), (V,)),
    "linearize": lambda f: lambda x: wg.linearize(f, x)[1](V),
    "hessian": wg.hessian,
    "reverse over reverse": lambda f: wg.jacrev(wg.grad(f)),
    "forward over forward": lambda f: wg.jacfwd(wg.jacfwd(f)),
    "reverse over forward": lambda f: wg.grad(lambda x: wg.jvp(f, (x,), (V,))[1]),
    "third order": third,
    "forward over forward over reverse": lambda f: (
        lambda x: wg.jvp(lambda x: wg.jvp(wg.grad(f), (x,), (V,))[1], (x,), (V,))[1]
    ),
}


def each(f):
    """What vmap means."""
    return lambda rows: np.stack([f(row) for row in rows])


def block_diagonal(f):
    return lambda rows: np.einsum("aij,ab->aibj", each(wg.hessian(f))(rows), np.eye(len(rows)))


MANY = {
    "vmap": (wg.vmap, each),
    "vmap of grad": (lambda f: wg.vmap(wg.grad(f)), lambda f: each(wg.grad(f))),
    "vmap of hessian": (lambda f: wg.vmap(wg.hessian(f)), lambda f: each(wg.hessian(f))),
    "vmap of reverse over reverse": (lambda f: wg.vmap(wg.jacrev(wg.grad(f))), lambda f: each(wg.hessian(f))),
    "grad of vmap": (
        lambda f: wg.grad(lambda rows: np.sum(wg.vmap(f)(rows) ** 2)),
        lambda f: each(wg.grad(lambda x: f(x) ** 2)),
    ),
    "hessian of vmap": (lambda f: wg.hessian(lambda rows: np.sum(wg.vmap(f)(rows))), block_diagonal),
}


def staged(function):
    """The function written as a list from shapes alone, as `jit` has it, type-checked, and evaluated."""

    def evaluated(x):
        trees = []

        def flat(symbol):
            leaves, treedef = tree.flatten(function(symbol))
            trees.append(treedef)
            return leaves

        lines = program.stage(flat, [aval_of(x)])
        lines.check()
        return tree.unflatten(trees[0], program.evaluate(lines, [x]))

    return evaluated


def same(got, expected):
    for a, b in zip(tree.flatten(got)[0], tree.flatten(expected)[0], strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("how", [lambda f: f, staged], ids=["eager", "staged"])
@pytest.mark.parametrize("transform", ONE)
@pytest.mark.parametrize("name", PROGRAMS)
def test_equals_the_python_loop(name, transform, how):
    same(
        how(ONE[transform](lambda x: name(OURS, x)))(X),
        ONE[transform](lambda x: name(PYTHON, x))(X),
    )


@pytest.mark.parametrize("how", [lambda f: f, staged], ids=["eager", "staged"])
@pytest.mark.parametrize("transform", MANY)
@pytest.mark.parametrize("name", PROGRAMS)
def test_members_of_a_batch_equal_python_loops(name, transform, how):
    ours, plain = MANY[transform]
    same(how(ours(lambda x: name(OURS, x)))(MEMBERS), plain(lambda x: name(PYTHON, x))(MEMBERS))


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_agree_with_differences(name):
    wg.testing.check_grads(lambda x: name(OURS, x), (X,), order=2)


@pytest.mark.parametrize("name", PROGRAMS)
def test_backward_with_a_graph(name):
    x = wg.Variable(X)
    name(OURS, x).backward(create_graph=True)
    gradient = x.grad
    wg.zero_grads(x)
    np.sum(gradient * V).backward()
    same(x.grad, wg.hvp(lambda x: name(PYTHON, x), (X,), (V,)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_list_with_loops_is_differentiated(name):
    """Lists are evaluated under every trace, as `grad` of a jitted function does."""
    lines = program.stage(lambda x: [name(OURS, x)], [aval_of(X)])

    def again(x):
        return program.evaluate(lines, [x])[0]

    same(wg.hessian(again)(X), wg.hessian(lambda x: name(PYTHON, x))(X))
    same(wg.jacrev(wg.grad(again))(X), wg.hessian(lambda x: name(PYTHON, x))(X))
    same(wg.vmap(wg.grad(again))(MEMBERS), each(wg.grad(lambda x: name(PYTHON, x)))(MEMBERS))
