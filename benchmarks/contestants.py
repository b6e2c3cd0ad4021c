"""How each system is asked for a problem's derivative: made ready once, then timed as one Python statement.

What differs between them is kept to what their users have to do: JAX compiles with `jax.jit`, has its arrays on the
device beforehand, and is waited for; PyTorch has its tensors beforehand; autograd, MyGrad and PyTorch run long loops
as Python does, because they have no `scan`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from benchmarks import plain
from benchmarks.problems import load


class Absent(Exception):
    """Why a contestant does not take part."""


class Ready(NamedTuple):
    statement: str  # what is timed, as Python
    names: dict[str, Any]  # that it is made of
    collect: Callable[[Any], list[np.ndarray]] | None  # its result as arrays; None where there is none to compare

    def result(self) -> Any:
        return eval(self.statement, self.names)


def leaves(value: Any) -> list[np.ndarray]:
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.asarray(value)]


def statement(f: Any, args: Sequence[Any], text: str = "f({})") -> tuple[str, dict[str, Any]]:
    names = {f"a{k}": value for k, value in enumerate(args)}
    return text.format(", ".join(names)), {"f": f} | names


def argnums(module: ModuleType, args: Sequence[Any]) -> Any:
    given = getattr(module, "ARGNUMS", 0)
    return tuple(range(len(args))) if given == "all" else given


def derivative(module: ModuleType, ad: Any, args: Sequence[Any]) -> Any:
    """The function that the problem asks for, by the transforms of `ad`."""
    if hasattr(module, "derivative"):
        return module.derivative(ad)
    transform = ad.grad if module.WHAT == "gradient" else ad.value_and_grad
    return transform(module.function, argnums(module, args))


def in_idiom(module: ModuleType, peer: str) -> ModuleType:
    """The module with the peer's own version of the program and of its options, where it has them."""
    for attribute, own in (("function", f"{peer}_function"), ("MODE", f"{peer.upper()}_MODE")):
        if hasattr(module, own):
            setattr(module, attribute, getattr(module, own))
    return module


def python_loops(np: Any) -> dict[str, Any]:
    """The loops for systems that have none of their own."""
    copy = load(plain.__name__, np=np)
    return {"np": np} | {name: getattr(copy, name) for name in ("scan", "while_loop", "fori_loop", "cond")}


# --------------------------------------------------------------------------------------------------------- contestants


class Contestant:
    """One way to get what a problem asks for."""

    package = ""  # that has to be installed

    def __init__(self) -> None:
        if self.package:
            try:
                self.library: Any = importlib.import_module(self.package)
            except ModuleNotFoundError as error:
                raise Absent("not installed" if error.name == self.package else str(error)) from None
            except ImportError as error:
                raise Absent(str(error)) from None

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        raise NotImplementedError


class Eager(Contestant):
    """wengert without its compiler."""

    package = "wengert"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        return Ready(*statement(derivative(load(name), self.library, args), args), leaves)


class Jit(Contestant):
    package = "wengert"

    def __init__(self) -> None:
        super().__init__()
        if not hasattr(self.library, "jit"):
            raise Absent("this wengert has no jit")

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        f = self.library.jit(derivative(module, self.library, args), static_argnums=getattr(module, "STATIC", ()))
        return Ready(*statement(f, args), leaves)


class JitValue(Jit):
    """The program itself, for how much its gradient costs beyond it."""

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if module.WHAT not in ("gradient", "value and gradient"):
            raise Absent("not the gradient of one number")
        f = self.library.jit(module.function, static_argnums=getattr(module, "STATIC", ()))
        return Ready(*statement(f, args), None)


class Value(Contestant):
    """The program in plain NumPy, its loops in plain Python."""

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name, **python_loops(np))
        if not hasattr(module, "function"):
            raise Absent("has no value apart from its derivatives")
        return Ready(*statement(module.function, args), None)


class Jax(Contestant):
    package = "jax"

    def __init__(self) -> None:
        super().__init__()
        self.library.config.update("jax_enable_x64", True)
        self.xp = importlib.import_module("jax.numpy")

    def program(self, name: str, args: Sequence[Any]) -> tuple[Any, list[Any]]:
        lax = self.library.lax
        names = {loop: getattr(lax, loop) for loop in ("scan", "while_loop", "fori_loop", "cond")}
        module = in_idiom(load(name, np=self.xp, **names), "jax")
        f = self.library.jit(derivative(module, self.library, args), static_argnums=getattr(module, "STATIC", ()))
        return f, [self.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in args]

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        f, args = self.program(name, args)
        single = not isinstance(f(*args), tuple | list)
        text, names = statement(f, args, "f({}).block_until_ready()" if single else "wait(f({}))")
        return Ready(text, names | {"wait": self.library.block_until_ready}, leaves)


class Torch(Contestant):
    package = "torch"

    def __init__(self) -> None:
        super().__init__()
        self.library.set_default_dtype(self.library.float64)

    def compiled(self, f: Any) -> Any:
        return f

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        torch = self.library
        module = in_idiom(load(name, **python_loops(torch)), "torch")
        tensors = [torch.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
        if hasattr(module, "derivative"):
            ad = SimpleNamespace(**{name: getattr(torch.func, name) for name in ("grad", "vjp", "jvp", "jacfwd")})
            return Ready(*statement(self.compiled(module.derivative(ad)), tensors), self.numbers)
        which = argnums(module, args)
        which = which if isinstance(which, tuple) else (which,)
        tensors = [torch.tensor(a) if k in which and isinstance(a, float) else a for k, a in enumerate(tensors)]
        variables = [tensors[k].requires_grad_() for k in which]
        f, gradient = self.compiled(module.function), torch.autograd.grad

        def value_and_gradient(*tensors: Any) -> Any:
            y = f(*tensors)
            return y, gradient(y, variables)

        if module.WHAT != "gradient":
            return Ready(*statement(value_and_gradient, tensors), self.numbers)
        text, names = statement(f, tensors, "gradient(f({}), variables)")
        return Ready(text, names | {"gradient": gradient, "variables": variables}, self.numbers)

    @staticmethod
    def numbers(value: Any) -> list[np.ndarray]:
        if isinstance(value, tuple | list):
            return [leaf for item in value for leaf in Torch.numbers(item)]
        return [value.detach().numpy()]


class TorchCompile(Torch):
    """torch.compile, which needs a C++ compiler."""

    def compiled(self, f: Any) -> Any:
        return self.library.compile(f, dynamic=False)


class Autograd(Contestant):
    package = "autograd"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        autograd = self.library
        module = in_idiom(load(name, **python_loops(importlib.import_module("autograd.numpy"))), "autograd")

        def grad(f: Any, argnum: Any = 0) -> Any:
            return autograd.grad(f, argnum)

        def vjp(f: Any, *primals: Any) -> Any:
            pullback, value = autograd.make_vjp(f, argnum=tuple(range(len(primals))))(*primals)
            return value, pullback

        def jvp(f: Any, primals: Any, tangents: Any) -> Any:
            return autograd.make_jvp(f)(*primals)(*tangents)

        def jacfwd(f: Any) -> Any:
            def columns(x: Any) -> Any:
                basis = np.eye(x.size).reshape(x.size, *x.shape)
                return np.stack([autograd.make_jvp(f)(x)(v)[1] for v in basis], axis=-1)

            return columns

        ad = SimpleNamespace(grad=grad, value_and_grad=autograd.value_and_grad, vjp=vjp, jvp=jvp, jacfwd=jacfwd)
        return Ready(*statement(derivative(module, ad, args), args), leaves)


class MyGrad(Contestant):
    package = "mygrad"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        mygrad = self.library
        module = load(name, **python_loops(np))  # its tensors speak NumPy's protocols
        if hasattr(module, "derivative"):
            raise Absent("has gradients of one number only")
        which = argnums(module, args)
        which = which if isinstance(which, tuple) else (which,)

        def run(*args: Any) -> Any:
            args = tuple(mygrad.tensor(a) if k in which else a for k, a in enumerate(args))
            y = module.function(*args)
            y.backward()
            gradients = [args[k].grad for k in which]
            return gradients if module.WHAT == "gradient" else (y.data, gradients)

        return Ready(*statement(run, args), leaves)


class CasADi(Contestant):
    package = "casadi"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if not hasattr(module, "casadi"):
            raise Absent("not written for it: it is for small problems of scalars")
        shapes = [np.shape(a) for a in args]

        def numbers(value: Any) -> list[np.ndarray]:
            return [np.asarray(value).reshape(shapes[0])]

        return Ready(*statement(module.casadi(args), args), numbers)


class Numba(Contestant):
    """The derivative by hand in serial loops, compiled as C++ would be: with fused multiply-adds, no fast-math."""

    package = "numba"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if not hasattr(module, "by_loops"):
            raise Absent("nobody wrote it")
        for helper in getattr(module, "LOOPS", ("by_loops",)):
            compiled = self.library.njit(error_model="numpy", fastmath={"contract"})(getattr(module, helper))
            setattr(module, helper, compiled)
        return Ready(*statement(module.by_loops, args), leaves)


class ByHand(Contestant):
    """The derivative by hand in bare NumPy."""

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if not hasattr(module, "by_hand"):
            raise Absent("nobody wrote it")
        return Ready(*statement(module.by_hand, args), leaves)


class Gemms(Contestant):
    """The calls of BLAS that the problem cannot do without."""

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if not hasattr(module, "gemms_alone"):
            raise Absent("is not made of matrix products")
        return Ready("f()", {"f": module.gemms_alone(*args)}, None)


class Scipy(Contestant):
    """What SciPy has for this very problem."""

    package = "scipy"

    def ready(self, name: str, args: Sequence[Any]) -> Ready:
        module = load(name)
        if not hasattr(module, "scipy"):
            raise Absent("has nothing for it")
        return Ready(*statement(module.scipy(), args), leaves)


CONTESTANTS: dict[str, type[Contestant]] = {
    "wengert jit": Jit,
    "wengert": Eager,
    "jax": Jax,
    "torch": Torch,
    "torch.compile": TorchCompile,
    "autograd": Autograd,
    "mygrad": MyGrad,
    "casadi": CasADi,
    "numba by hand": Numba,
    "numpy by hand": ByHand,
    "scipy": Scipy,
    "GEMMs alone": Gemms,
    "jitted value": JitValue,
    "value in NumPy": Value,
}
PEERS = ("jax", "torch", "autograd", "mygrad", "casadi", "numba", "scipy")


def prepare(contestant: Contestant, who: str, name: str, args: Sequence[Any]) -> Ready:
    """A contestant made ready for a problem; Absent says why it is not."""
    reason = getattr(load(name), "WITHOUT", {}).get(who)
    if reason:
        raise Absent(reason)
    return contestant.ready(name, args)
