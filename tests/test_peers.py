"""JAX and PyTorch as independent oracles: one program, written once for each namespace, and the same derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

jax = pytest.importorskip("jax", reason="JAX is not installed")
RNG = np.random.default_rng(1964)
X = RNG.uniform(0.5, 1.5, (3, 4))
W = RNG.standard_normal((4, 4))
SPD = W @ W.T + 4 * np.eye(4)
MASK = RNG.uniform(size=(3, 4)) > 0.4
PLACES = np.array([2, 0, 2])

# Each maps (namespace, x of shape (3, 4)) to one number.
PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "chain": lambda xp, x: xp.sum(xp.log(xp.sin(x**2) + xp.exp(x))),
    "hyperbolic": lambda xp, x: xp.sum(xp.tanh(x) * xp.arcsinh(x) / xp.cosh(x)),
    "inverse": lambda xp, x: xp.sum(xp.arctan2(x, x[::-1] + 1) + xp.arcsin(x / 4) + xp.arctanh(x / 3)),
    "powers": lambda xp, x: xp.sum(x**2.5 + 2.0**x + x ** x[:1] + xp.sqrt(x) + xp.cbrt(x)),
    "logaddexp": lambda xp, x: xp.sum(xp.logaddexp(x, x[:, ::-1] * 3) + xp.hypot(x, 2.0)),
    "extremes": lambda xp, x: xp.sum(xp.maximum(x, x[:, ::-1] + 0.01) * xp.minimum(x, 0.9)) + xp.max(x) - xp.min(x),
    "clip and where": lambda xp, x: xp.sum(xp.clip(x, 0.6, 1.2) * xp.where(x > 1.0, x**3, xp.sin(x))),
    "statistics": lambda xp, x: xp.sum(xp.var(x, axis=0) + xp.std(x, axis=0, ddof=1) * xp.mean(x, axis=0)),
    "masked sum": lambda xp, x: xp.sum(x**3, where=MASK) + xp.mean(x * x, where=MASK),
    "products": lambda xp, x: xp.prod(x, axis=1) @ xp.arange(3.0) + xp.sum(xp.cumprod(x, axis=0)) + xp.prod(x[0]),
    "running sums": lambda xp, x: xp.sum(xp.cumsum(x, axis=1) ** 2) + xp.sum(xp.diff(x, axis=0) ** 3),
    "softmax": lambda xp, x: xp.sum((xp.exp(x) / xp.sum(xp.exp(x), axis=1, keepdims=True)) ** 2),
    "shapes": lambda xp, x: xp.sum(xp.concatenate([x, xp.flip(x, 0)]).reshape(4, 6).T[1:5:2] * 1.5 ** xp.arange(4.0)),
    "tiles": lambda xp, x: xp.sum(
        xp.tile(x, (2, 1)) * xp.repeat(x, 2, axis=0) * xp.roll(xp.pad(x, ((0, 3), (0, 0))), 1, 0)
    ),
    "indices": lambda xp, x: xp.sum(x[PLACES] * x[:, PLACES].T[:, :, None].sum(1)) + xp.sum(x[MASK] ** 2) + x[-1, 2],
    "along axes": lambda xp, x: xp.sum(xp.take_along_axis(x, xp.argsort(x, axis=1), 1) * xp.arange(4.0)),
    "sort": lambda xp, x: xp.sum(xp.sort(x, axis=1) * xp.arange(4.0)) + xp.median(x),
    "matrices": lambda xp, x: xp.sum((x @ W) @ x.T) + xp.sum(xp.tensordot(x, W, 1) * xp.inner(x, W)),
    "einsum": lambda xp, x: xp.einsum("ij,jk,lk->il", x, W, x).sum() + xp.einsum("ii->", x[:, :3] @ x[:, :3].T),
    "outer": lambda xp, x: xp.sum(xp.outer(x[0], x[1]) * xp.kron(x[:1], x[0][:, None])) + xp.trace(x @ x.T),
    "attention": lambda xp, x: xp.sum(xp.exp(x @ x.T / 2.0) @ x / xp.sum(xp.exp(x @ x.T / 2.0), 1)[:, None]),
    "solve": lambda xp, x: xp.sum(xp.linalg.solve(SPD + x.T @ x, x.T) ** 2) + xp.sum(xp.linalg.inv(SPD + x.T @ x)),
    "determinants": lambda xp, x: xp.linalg.slogdet(SPD + x.T @ x)[1] + xp.linalg.det(x @ x.T + xp.eye(3)),
    "cholesky": lambda xp, x: xp.sum(xp.linalg.cholesky(SPD + x.T @ x) ** 2 * W),
    "spectra": lambda xp, x: xp.sum(xp.linalg.eigvalsh(SPD + x.T @ x) ** 1.5) + xp.linalg.svd(x, compute_uv=False)[0],
    "norms": lambda xp, x: xp.linalg.norm(x) + xp.sum(xp.linalg.norm(x, axis=1)) + xp.linalg.norm(x[0], 3),
    "complex": lambda xp, x: xp.sum(xp.abs(xp.exp(1j * x) * (x + 2j)) ** 2 + xp.real(xp.sqrt(x + 1j))),
    "network": lambda xp, x: xp.mean((xp.tanh(x @ W + W[0]) @ W[:, 0] - 1.0) ** 2),
}


@pytest.fixture(scope="module", autouse=True)
def double_precision() -> Any:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.filterwarnings("default")  # what JAX warns of is not ours to mend
@pytest.mark.parametrize("name", PROGRAMS)
def test_jax_agrees(name: str) -> None:
    import jax.numpy as jnp

    program = PROGRAMS[name]
    ours, theirs = (lambda x: program(np, x)), (lambda x: program(jnp, x))
    v = np.random.default_rng(0).standard_normal(X.shape)
    with jax.disable_jit(False):
        value, gradient = jax.jit(jax.value_and_grad(theirs))(X) if name != "indices" else jax.value_and_grad(theirs)(X)
        slope = jax.grad(lambda x: jax.numpy.vdot(jax.grad(theirs)(x), v))(X)
    got, found = wg.value_and_grad(ours)(X)
    close(got, value)
    close(found, gradient)
    close(wg.jvp(ours, (X,), (v,))[1], np.vdot(gradient, v))
    close(wg.hvp(ours, (X,), (v,)), slope)
    close(wg.vmap(wg.grad(ours))(np.stack([X, X]))[1] if name != "indices" else found, gradient)


def test_complex_gradients_are_the_conjugates_of_jax_s_and_equal_to_torch_s() -> None:
    z = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
    ours = wg.grad(lambda z: np.sum(np.abs(z) ** 3 + np.real(z**2 * np.exp(z))))(z)
    import jax.numpy as jnp

    close(np.conj(ours), jax.grad(lambda z: jnp.sum(jnp.abs(z) ** 3 + jnp.real(z**2 * jnp.exp(z))))(z))
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    leaf = torch.tensor(z, requires_grad=True)
    (torch.abs(leaf) ** 3 + torch.real(leaf**2 * torch.exp(leaf))).sum().backward()
    close(ours, leaf.grad.numpy())


def close(one: Any, other: Any) -> None:
    one, other = np.asarray(one), np.asarray(other)
    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * max(1.0, float(np.max(np.abs(other)))))
