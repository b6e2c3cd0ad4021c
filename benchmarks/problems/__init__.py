"""The problems: programs in plain NumPy, the derivative that is asked of each, and their inputs at several sizes.

Each module is one problem:

    NAME, SIZES         SIZES["table" | "quick" | "tiny"] are keyword arguments of inputs; other sizes may stand beside
    inputs(seed, …)     the arguments, as NumPy arrays, floats and ints
    function(*args)     the program, as a user of NumPy writes it: long loops by wengert's scan and while_loop
    WHAT, ARGNUMS       "gradient" or "value and gradient" of `function` with respect to these arguments,
    derivative(ad)      or the function that is asked for, written with ad.grad, ad.vjp, ad.jvp, ad.jacfwd
    STATIC              positions of arguments that JAX must take as static

and, where the peer has anything to say:

    jax_function, torch_function, autograd_function    the program in the peer's idiom, where that is another one
    by_loops(*args), LOOPS    the derivative by hand in serial loops, as one would write it in C++: Numba compiles it
                              and the helpers that LOOPS names
    by_hand(*args)      the derivative by hand in bare NumPy
    casadi(args)        a function of the same arguments, made by CasADi
    scipy()             SciPy's own function for it
    gemms_alone(*args)  a function of no arguments that calls BLAS for the products, and does nothing else
    WITHOUT             {peer: why it does not take part}

The program is written once: `load("gmm", np=jax.numpy, scan=jax.lax.scan)` is the same file for JAX.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

NAMES = (
    "scalar", "rosenbrock", "chain", "mlp",
    "hello", "gmm", "ba", "lstm", "ht", "kmeans", "llsq", "lse", "det", "ode", "particle", "saddle",
    "deep", "many",
)  # fmt: skip
GRADBENCH = NAMES[4:16]


def load(name: str, **names: Any) -> ModuleType:
    """A fresh copy of a problem's module (or of the module of that full name) in which `names` mean something else.

    Modules of this package that it imports are copied likewise. A name that the module does not have is left out.
    """
    full = name if "." in name else f"{__name__}.{name}"
    spec = importlib.util.find_spec(full)
    assert spec is not None and spec.loader is not None, full
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for key, value in list(vars(module).items()):
        if isinstance(value, ModuleType) and value.__name__.startswith(f"{__name__}."):
            setattr(module, key, load(value.__name__, **names))
    for key, value in names.items():
        if hasattr(module, key):
            setattr(module, key, value)
    return module
