"""wengert differentiates ordinary NumPy programs: forward, reverse, nested to any depth, exact to rounding."""

from wengert import dual, errors, numpy, testing  # noqa: F401  (dual is what makes a Dual by hand)
from wengert.compile.jit import jit
from wengert.control import cond, fori_loop, map, scan, switch, while_loop
from wengert.core import Batch, Dual, Symbol, Variable
from wengert.ops.elementwise import stop_gradient
from wengert.program import WengertList
from wengert.tape import clip_grad_norm, no_grad, parameters, zero_grads
from wengert.transforms.grad import grad, value_and_grad
from wengert.transforms.jacobian import derivative, elementwise_grad, hessian, hvp, jacfwd, jacobian, jacrev
from wengert.transforms.jvp import jvp, linearize
from wengert.transforms.trace import trace
from wengert.transforms.vjp import vjp
from wengert.transforms.vmap import vmap

__version__ = "0.1.0"

__all__ = [
    "Batch", "Dual", "Symbol", "Variable", "WengertList", "clip_grad_norm", "cond", "derivative", "elementwise_grad",
    "errors", "fori_loop", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linearize", "map",
    "no_grad", "numpy", "parameters", "scan", "stop_gradient", "switch", "testing", "trace", "value_and_grad", "vjp",
    "vmap", "while_loop", "zero_grads",
]  # fmt: skip
