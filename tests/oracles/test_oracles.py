"""Small programs against other systems: value, gradient, Hessian-vector product, JVP and vmap of the gradient.

All are compared in float64 to 1e-10 of the largest element, and in float32 to 1e-4. The gradient is that of
Σ W · program, with fixed W, and so is the Hessian.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from .peers import Answers, Autograd, Jax, Peer, Torch
from .programs import CONSTANTS, PROGRAMS, Program, mixed


@pytest.fixture(scope="module")
def peers() -> Iterator[Callable[[str], Peer]]:
    """The peers by name; JAX computes in float64 only while the tests of this module run."""
    made: dict[str, Any] = {}
    restore: list[Callable[[], None]] = []

    def peer(name: str) -> Peer:
        if name not in made:
            pytest.importorskip(name, reason=f"{name} is not installed")
            made[name] = {"jax": Jax, "torch": Torch, "autograd": Autograd}[name]()
            if name == "jax":
                config = made[name].jax.config
                before = config.jax_enable_x64
                config.update("jax_enable_x64", True)
                restore.append(lambda: config.update("jax_enable_x64", before))
        return made[name]  # type: ignore[no-any-return]

    yield peer
    for undo in restore:
        undo()


def asked(peer: Peer, one: Program, dtype: Any) -> Answers:
    """What a peer answers about a program in real (or, where its x is complex, complex) numbers of `dtype`."""
    constants: dict[str, Any] = {name: peer.array(value.astype(dtype)) for name, value in CONSTANTS.items()}

    def f(x: Any) -> Any:
        return one.function(peer.xp, x, {**constants, "peer": peer})

    def total(x: Any) -> Any:
        y = f(x)
        weights = peer.array(np.asarray(mixed(*y.shape, seed=13), dtype))
        return peer.xp.sum(weights * y)

    x = one.x if one.x.dtype.kind == "c" else one.x.astype(dtype)
    v = mixed(*x.shape, seed=11) + (1j * mixed(*x.shape, seed=12) if x.dtype.kind == "c" else 0)
    return peer.answers(f, total, x, v.astype(x.dtype), np.stack([x, x * dtype(1.01)]))


def compare(one: Program, peer: Peer, dtype: Any, rtol: float) -> None:
    if peer.name in one.without:
        pytest.skip(f"{peer.name}: {one.without[peer.name]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        theirs = asked(peer, one, dtype)
    ours = asked(Peer(), one, dtype)
    for what, mine, yours in zip(Answers._fields, ours, theirs, strict=True):
        mine, yours = np.asarray(mine), np.asarray(yours)
        assert mine.shape == yours.shape, what
        size = np.max(np.abs(yours), initial=0.0)
        np.testing.assert_allclose(mine, yours, rtol=0, atol=rtol * size, err_msg=what)


@pytest.mark.parametrize("name", ["jax", "torch", "autograd"])
@pytest.mark.parametrize("one", PROGRAMS, ids=lambda one: one.name)
def test_float64(one: Program, name: str, peers: Callable[[str], Peer]) -> None:
    compare(one, peers(name), np.float64, 1e-10)


@pytest.mark.parametrize("one", [one for one in PROGRAMS if one.x.dtype.kind == "f"], ids=lambda one: one.name)
def test_float32(one: Program, peers: Callable[[str], Peer]) -> None:
    compare(one, peers("torch"), np.float32, 1e-4)


def test_every_program_is_compared_with_jax_at_least() -> None:
    assert len(PROGRAMS) >= 80
    assert all("jax" not in one.without and len(one.without) <= 2 for one in PROGRAMS)
