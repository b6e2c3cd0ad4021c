"""Transforms of a jitted function: of its list where that is possible, of the function itself where not."""

import numpy as np
import pytest

import wengert as wg
from wengert import control
from wengert.compile import differentiated
from wengert.compile.differentiated import compiled_call

X = np.linspace(-1.0, 1.0, 7)


def f(x):
    return np.sum(np.tanh(x) ** 2 * np.exp(x))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.fixture
def calls(monkeypatch):
    """The lists that were called on traced leaves."""
    seen = []
    call = differentiated.bind
    monkeypatch.setattr(differentiated, "bind", lambda *args, **kw: (seen.append(kw["body"]), call(*args, **kw))[1])
    return seen


@pytest.mark.parametrize("transform", [wg.grad, wg.hessian, wg.jacfwd, wg.jacrev, wg.jacobian, wg.elementwise_grad])
def test_transforms(transform, calls):
    function = np.tanh if transform is wg.elementwise_grad else f
    close(transform(wg.jit(function))(X), transform(function)(X))
    assert calls, "the function itself was called, not its list"


def test_nests(calls):
    jitted = wg.jit(f)
    close(wg.vmap(wg.grad(jitted))(np.stack([X, 2 * X])), [wg.grad(f)(X), wg.grad(f)(2 * X)])
    close(wg.hvp(jitted, (X,), (X,)), wg.hvp(f, (X,), (X,)))
    close(wg.jvp(jitted, (X,), (X,))[1], wg.jvp(f, (X,), (X,))[1])
    close(wg.grad(lambda x: jitted(x) ** 2)(X), wg.grad(lambda x: f(x) ** 2)(X))
    close(wg.jit(wg.grad(lambda x: jitted(x) ** 2))(X), wg.grad(lambda x: f(x) ** 2)(X))
    close(wg.grad(wg.jit(wg.grad(lambda x: f(x * X))))(2.0), wg.grad(wg.grad(lambda x: f(x * X)))(2.0))
    assert calls


def test_a_variable_pulls_back_through_it(calls):
    x = wg.Variable(X)
    wg.jit(f)(x).backward()
    close(x.grad, wg.grad(f)(X))
    assert len(calls) == 1


def test_captured_arrays_are_read_at_each_call(calls):
    w = np.arange(7.0)
    gradient = wg.grad(wg.jit(lambda x: np.sum(w * x**2)))
    close(gradient(X), 2 * w * X)
    w[:] = 3.0
    close(gradient(X), 6 * X)
    w = np.ones(7)
    close(gradient(X), 2 * X)
    assert len(calls) == 3


def test_a_branch_on_a_value_follows_the_value():
    jitted = wg.jit(lambda x: x.sum() if x[0] > 0 else (x**2).sum())
    close(wg.grad(jitted)(X), 2 * X)
    close(wg.grad(jitted)(-X), np.ones(7))


def test_static_and_keyword_arguments_and_containers(calls):
    jitted = wg.jit(lambda p, n, *, k=1.0: np.sum(p["a"] ** n) * k * p["b"], static_argnums=1)
    found = wg.grad(jitted)({"a": X, "b": 2.0}, 3, k=0.5)
    close(found["a"], 3 * X**2)
    close(found["b"], 0.5 * np.sum(X**3))
    assert len(calls) == 1


def test_loops_inside(calls):
    def decay(rate):
        return control.scan(lambda y, _: (y - 0.01 * rate * y, None), 1.0, None, length=100)[0]

    close(wg.grad(wg.jit(decay))(0.5), -((1 - 0.005) ** 99))
    close(wg.grad(wg.grad(wg.jit(decay)))(0.5), wg.grad(wg.grad(decay))(0.5))
    assert calls


def test_it_is_a_primitive_like_any_other():
    body = wg.jit(f).lower(X).program
    x = wg.Variable(X)
    (out,) = compiled_call(x, body=body)
    out.backward()
    close(x.grad, wg.grad(f)(X))
