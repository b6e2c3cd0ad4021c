"""wengert differentiates ordinary NumPy programs: forward, reverse, nested to any depth, exact to rounding."""

from wengert import dual, errors, numpy, testing  # noqa: F401  (dual is what makes a Dual by hand)
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
    "Batch", "Dual", "Symbol", "Variable", "WengertList", "clip_grad_norm", "derivative", "elementwise_grad", "errors",
    "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linearize", "no_grad", "numpy", "parameters",
    "stop_gradient", "testing", "trace", "value_and_grad", "vjp", "vmap", "zero_grads",
]  # fmt: skip
