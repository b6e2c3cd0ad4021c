"""How wengert, JAX, autograd and PyTorch are asked about a program."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import wengert as wg


class Answers(NamedTuple):
    value: Any
    jvp: Any
    gradient: Any
    hvp: Any
    gradients: Any  # of a batch


class Peer:
    """How a system is asked; this one is wengert. The methods spell what NumPy's namespace does not spell for all."""

    name = "wengert"
    xp: Any = np

    def array(self, value: np.ndarray) -> Any:
        return value

    def answers(self, f: Any, total: Any, x: Any, v: Any, batch: Any) -> Answers:
        """All that is compared, of the program `f` and of `total`, a weighted sum of its results.

        Gradients are ∂/∂Re x + i ∂/∂Im x.
        """
        gradient = wg.grad(total)
        return Answers(f(x), wg.jvp(f, (x,), (v,))[1], gradient(x), wg.hvp(total, (x,), (v,)), wg.vmap(gradient)(batch))

    def max(self, x: Any, axis: Any = None) -> Any:
        return self.xp.max(x, axis=axis)

    def min(self, x: Any, axis: Any = None) -> Any:
        return self.xp.min(x, axis=axis)

    def prod(self, x: Any) -> Any:
        return self.xp.prod(x)

    def var(self, x: Any, axis: int) -> Any:
        return self.xp.var(x, axis=axis)

    def std(self, x: Any, axis: int) -> Any:
        return self.xp.std(x, axis=axis, ddof=1)

    def sort(self, x: Any) -> Any:
        return self.xp.sort(x)

    def median(self, x: Any, axis: int) -> Any:
        return self.xp.median(x, axis=axis)

    def flip(self, x: Any, axis: int) -> Any:
        return self.xp.flip(x, axis)

    def repeat(self, x: Any, count: int, axis: int) -> Any:
        return self.xp.repeat(x, count, axis)

    def pad(self, x: Any, width: int) -> Any:
        return self.xp.pad(x, width, mode="constant")

    def take_along(self, x: Any, indices: np.ndarray, axis: int) -> Any:
        return self.xp.take_along_axis(x, indices, axis)

    def put(self, x: Any, index: Any, value: Any) -> Any:
        y = x.copy()
        y[index] = value
        return y

    def add_at(self, x: Any, index: Any, value: Any) -> Any:
        y = x.copy()
        np.add.at(y, index, value)
        return y

    def tensordot(self, x: Any, y: Any, axes: Any) -> Any:
        return self.xp.tensordot(x, y, axes)

    def solve(self, a: Any, b: Any) -> Any:
        """For a vector b."""
        return self.xp.linalg.solve(a, b[:, None])[:, 0]

    def singular_values(self, x: Any) -> Any:
        return self.xp.linalg.svd(x, compute_uv=False)


class Jax(Peer):
    name = "jax"

    def __init__(self) -> None:
        import jax

        self.jax = jax
        self.xp = jax.numpy

    def array(self, value: np.ndarray) -> Any:
        return self.xp.asarray(value)

    def answers(self, f: Any, total: Any, x: Any, v: Any, batch: Any) -> Answers:
        def gradient(x: Any) -> Any:
            return self.xp.conj(self.jax.grad(total)(x))

        def everything(x: Any, v: Any, batch: Any) -> Answers:
            return Answers(
                f(x),
                self.jax.jvp(f, (x,), (v,))[1],
                gradient(x),
                self.jax.jvp(gradient, (x,), (v,))[1],
                self.jax.vmap(gradient)(batch),
            )

        # One compilation for all, and a hasty one: JAX would take ten times as long operation by operation
        compiled = self.jax.jit(everything).lower(x, v, batch).compile({"xla_backend_optimization_level": 0})
        return compiled(x, v, batch)  # type: ignore[no-any-return]

    def put(self, x: Any, index: Any, value: Any) -> Any:
        return x.at[index].set(value)

    def add_at(self, x: Any, index: Any, value: Any) -> Any:
        return x.at[index].add(value)


class Autograd(Peer):
    name = "autograd"

    def __init__(self) -> None:
        import autograd
        import autograd.numpy

        self.autograd = autograd
        self.xp = autograd.numpy

    def answers(self, f: Any, total: Any, x: Any, v: Any, batch: Any) -> Answers:
        gradient = self.autograd.grad(total)

        def along(x: Any) -> Any:  # reverse over reverse: autograd's forward mode has fewer rules
            return self.xp.sum(self.xp.real(gradient(x) * v))

        hvp = np.conj(self.autograd.grad(along)(x))
        gradients = np.stack([np.conj(gradient(one)) for one in batch])
        return Answers(f(x), self.jvp(f, x, v), gradients[0], hvp, gradients)

    def jvp(self, f: Any, x: Any, v: Any) -> Any:
        try:
            return self.autograd.make_jvp(f)(x)(v)[1]
        except NotImplementedError:  # then by the transpose of the pullback, which is linear
            pullback, y = self.autograd.make_vjp(f)(x)
            return self.autograd.make_vjp(pullback)(0 * y)[0](v)


class Torch(Peer):
    """PyTorch takes NumPy's names of arguments (axis, keepdims), and has its own for some functions."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        self.torch = torch
        own = {
            "abs": torch.abs,
            "concatenate": torch.cat,
            "dot": torch.dot,
            "logaddexp": lambda x, y: torch.logaddexp(*torch.broadcast_tensors(x, y)),
            "power": torch.pow,
            "sum": lambda x, axis=None, keepdims=False: x.sum() if axis is None else x.sum(dim=axis, keepdim=keepdims),
            "mean": lambda x, axis=None, keepdims=False: (
                x.mean() if axis is None else x.mean(dim=axis, keepdim=keepdims)
            ),
            "moveaxis": lambda x, a, b: torch.movedim(x, a, b),
            "transpose": lambda x: x.mT,
            "linalg": SimpleNamespace(
                **{name: getattr(torch.linalg, name) for name in dir(torch.linalg) if not name.startswith("_")}
            ),
        }
        self.xp = SimpleNamespace(
            **{name: getattr(torch, name) for name in dir(torch) if not name.startswith("_")} | own
        )

    def array(self, value: np.ndarray) -> Any:
        return self.torch.tensor(np.asarray(value))

    def answers(self, f: Any, total: Any, x: Any, v: Any, batch: Any) -> Answers:
        torch = self.torch
        x, v, batch = self.array(x), self.array(v), self.array(batch)

        def gradient(x: Any, create_graph: bool = False) -> Any:
            return torch.autograd.grad(total(x), x, create_graph=create_graph)[0]

        leaf = x.clone().requires_grad_()
        along = torch.real(torch.sum(gradient(leaf, create_graph=True) * torch.conj(v)))
        found = Answers(
            f(x),
            torch.func.jvp(f, (x,), (v,))[1],
            gradient(leaf),
            torch.autograd.grad(along, leaf)[0],
            torch.stack([gradient(one.clone().requires_grad_()) for one in batch]),
        )
        return Answers(*(y.detach().resolve_conj().numpy() for y in found))

    def max(self, x: Any, axis: Any = None) -> Any:
        return self.torch.amax(x, () if axis is None else axis)

    def min(self, x: Any, axis: Any = None) -> Any:
        return self.torch.amin(x, () if axis is None else axis)

    def var(self, x: Any, axis: int) -> Any:
        return self.torch.var(x, axis, correction=0)

    def std(self, x: Any, axis: int) -> Any:
        return self.torch.std(x, axis, correction=1)

    def sort(self, x: Any) -> Any:
        return self.torch.sort(x)[0]

    def median(self, x: Any, axis: int) -> Any:
        return self.torch.median(x, axis)[0]  # of an odd number

    def flip(self, x: Any, axis: int) -> Any:
        return self.torch.flip(x, (axis,))

    def repeat(self, x: Any, count: int, axis: int) -> Any:
        return self.torch.repeat_interleave(x, count, axis)

    def pad(self, x: Any, width: int) -> Any:
        return self.torch.nn.functional.pad(x, (width,) * (2 * x.ndim))

    def take_along(self, x: Any, indices: np.ndarray, axis: int) -> Any:
        return self.torch.gather(x, axis, self.torch.tensor(indices))

    def put(self, x: Any, index: Any, value: Any) -> Any:
        y = x.clone()
        y[index] = value
        return y

    def add_at(self, x: Any, index: Any, value: Any) -> Any:
        return x.index_add(0, self.torch.tensor(index), value)

    def singular_values(self, x: Any) -> Any:
        return self.torch.linalg.svdvals(x)
