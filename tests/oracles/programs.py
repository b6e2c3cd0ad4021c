"""Small programs, written once for all systems.

A program takes a namespace `xp`, which is NumPy for wengert, an array and a dict of constants; what is spelt
differently elsewhere is a method of `c["peer"]`, a `peers.Peer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def mixed(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers of both signs, none near 0, no two alike."""
    rng = np.random.default_rng(seed)
    numbers = np.linspace(0.3, 1.7, int(np.prod(shape))) * np.where(rng.random(int(np.prod(shape))) < 0.5, -1, 1)
    return np.asarray(rng.permutation(numbers).reshape(shape))


def _complex(*shape: int) -> np.ndarray:
    return mixed(*shape) + 1j * mixed(*shape, seed=1)


CONSTANTS = {
    "row": mixed(3, seed=2),
    "column": mixed(4, seed=3),
    "square": mixed(3, 3, seed=4) + 3 * np.eye(3),
    "wide": mixed(3, 5, seed=5),
    "table": mixed(4, 3, seed=6),
    "images": mixed(2, 5, 5, seed=8),
    "eye": np.eye(3),
    "eye4": np.eye(4),
}


@dataclass(frozen=True)
class Program:
    name: str
    function: Callable[..., Any]
    x: np.ndarray
    without: dict[str, str] = field(default_factory=dict)  # peer → why it cannot be asked


PROGRAMS: list[Program] = []


def program(x: np.ndarray, **without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a program with the point at which it is differentiated."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS.append(Program(function.__name__.strip("_"), function, x, without))
        return function

    return enter


MATRIX, SQUARE, VECTOR = mixed(4, 3), mixed(3, 3), mixed(6)
POSITIVE = np.abs(MATRIX)
NO_RULE = "no such function, or no rule for it"

# -------------------------------------------------------------------------------------------------------- elementwise


@program(MATRIX)
def trigonometric(xp: Any, x: Any, c: Any) -> Any:
    return xp.sin(x) * xp.cos(2 * x) + xp.tan(x / 2)


@program(MATRIX)
def hyperbolic(xp: Any, x: Any, c: Any) -> Any:
    return xp.tanh(x) * xp.cosh(x / 2) - xp.sinh(x)


@program(POSITIVE)
def logarithms(xp: Any, x: Any, c: Any) -> Any:
    return xp.log(x) * xp.sqrt(x) + xp.log2(x) - xp.log10(x) * xp.exp2(x)


@program(MATRIX)
def near_zero(xp: Any, x: Any, c: Any) -> Any:
    return xp.expm1(x) * xp.log1p(x / 2)


@program(MATRIX / 2)
def inverse_trigonometric(xp: Any, x: Any, c: Any) -> Any:
    return xp.arcsin(x) * xp.arctan(x) + xp.arccos(x) ** 2


@program(MATRIX / 2)
def inverse_hyperbolic(xp: Any, x: Any, c: Any) -> Any:
    return xp.arcsinh(x) * xp.arctanh(x) + xp.arccosh(x + 3)


@program(MATRIX)
def polar(xp: Any, x: Any, c: Any) -> Any:
    return xp.arctan2(x, c["row"]) * xp.sqrt(x**2 + c["row"] ** 2)


@program(MATRIX)
def hypotenuse(xp: Any, x: Any, c: Any) -> Any:
    return xp.hypot(x, c["row"]) ** 3


@program(MATRIX)
def whole_powers(xp: Any, x: Any, c: Any) -> Any:
    return x**3 - 2 * x**2 + x**-2 + 2.0**x


@program(POSITIVE)
def real_powers(xp: Any, x: Any, c: Any) -> Any:
    return x**2.5 + x ** c["row"] + xp.abs(c["row"]) ** x


@program(MATRIX)
def quotients(xp: Any, x: Any, c: Any) -> Any:
    return c["row"] / x - x / (1 + x**2) + xp.reciprocal(x) * xp.square(x) ** 2


@program(MATRIX)
def log_add_exp(xp: Any, x: Any, c: Any) -> Any:
    return xp.logaddexp(x, c["row"]) ** 2


@program(MATRIX)
def extremes_of_two(xp: Any, x: Any, c: Any) -> Any:
    return xp.maximum(x, c["row"]) * xp.minimum(x, 2 * c["row"]) * x


@program(MATRIX)
def absolute_and_sign(xp: Any, x: Any, c: Any) -> Any:
    return xp.abs(x) ** 1.5 * xp.sign(x)


@program(MATRIX)
def where(xp: Any, x: Any, c: Any) -> Any:
    return xp.where(x > 0, x * x, xp.sin(x) * c["row"])


@program(MATRIX)
def clip(xp: Any, x: Any, c: Any) -> Any:
    return xp.clip(x, -0.75, 0.75) * x


@program(MATRIX)
def sinc(xp: Any, x: Any, c: Any) -> Any:
    return xp.sinc(x) * x


@program(MATRIX)
def remainder(xp: Any, x: Any, c: Any) -> Any:
    return xp.remainder(x, 0.77) ** 2 + xp.floor(x) * x


@program(MATRIX, torch=NO_RULE, autograd=NO_RULE)
def cube_root(xp: Any, x: Any, c: Any) -> Any:
    return xp.cbrt(x) * x


@program(MATRIX)
def angles(xp: Any, x: Any, c: Any) -> Any:
    return xp.sin(xp.deg2rad(40 * x)) * xp.rad2deg(x)


@program(MATRIX)
def gelu(xp: Any, x: Any, c: Any) -> Any:
    return 0.5 * x * (1 + xp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@program(10 * MATRIX)
def stable_sigmoid_and_softplus(xp: Any, x: Any, c: Any) -> Any:
    return xp.where(x > 0, 1 / (1 + xp.exp(-xp.abs(x))), xp.exp(-xp.abs(x)) / (1 + xp.exp(-xp.abs(x)))) + xp.log1p(
        xp.exp(-xp.abs(x))
    )


# ---------------------------------------------------------------------------------------------------------- reductions


@program(mixed(2, 3, 4))
def sums(xp: Any, x: Any, c: Any) -> Any:
    return xp.sum(x**2, axis=(0, 2)) * xp.sum(x, axis=-2)[0, :3]


@program(MATRIX)
def centred(xp: Any, x: Any, c: Any) -> Any:
    return (x - xp.mean(x, axis=0, keepdims=True)) ** 3 * xp.mean(x)


@program(MATRIX)
def variances(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].var(x, 1)[:3] / c["peer"].std(x, 0)


@program(MATRIX)
def products(xp: Any, x: Any, c: Any) -> Any:
    return xp.prod(x, axis=0) * c["peer"].prod(x)


@program(MATRIX)
def extremes(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].max(x * x, 0) * c["peer"].min(x, 1)[:3] + c["peer"].max(x)


@program(MATRIX)
def log_sum_exp(xp: Any, x: Any, c: Any) -> Any:
    top = c["peer"].max(x, 1)[:, None]
    return xp.log(xp.sum(xp.exp(x - top), axis=1)) + top[:, 0]


@program(MATRIX)
def cumulative_sums(xp: Any, x: Any, c: Any) -> Any:
    return xp.cumsum(x**2, axis=0) * xp.cumsum(x, axis=1)


@program(MATRIX, autograd=NO_RULE)
def cumulative_products(xp: Any, x: Any, c: Any) -> Any:
    return xp.cumprod(x, axis=0) * xp.cumprod(x, axis=1)


@program(np.array([0.5, 0.0, -1.5, 2.0]), autograd="NaN at the zero")
def product_with_a_zero(xp: Any, x: Any, c: Any) -> Any:
    return xp.prod(x * x + x, axis=0) + xp.prod(x, axis=0) * xp.sum(x)


@program(MATRIX)
def sorted_(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].sort(x[:, 0]) * c["column"] * x[:, 1]


@program(mixed(5, 2), autograd=NO_RULE)
def medians(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].median(x, 0) ** 2


@program(VECTOR, autograd=NO_RULE)
def quantiles(xp: Any, x: Any, c: Any) -> Any:
    return xp.quantile(x, 0.3) ** 2


@program(MATRIX)
def norms(xp: Any, x: Any, c: Any) -> Any:
    return x / xp.sqrt(xp.sum(x**2, axis=1, keepdims=True)) * xp.linalg.norm(x)


@program(VECTOR)
def differences(xp: Any, x: Any, c: Any) -> Any:
    return xp.diff(x) ** 3


@program(VECTOR, autograd=NO_RULE, torch="central differences by another name and at the ends")
def gradient_and_trapezoid(xp: Any, x: Any, c: Any) -> Any:
    return xp.gradient(x**2) * xp.trapezoid(x**3, dx=0.5)


# --------------------------------------------------------------------------------------------------------------- shape


@program(mixed(2, 3, 4))
def reshaped(xp: Any, x: Any, c: Any) -> Any:
    return xp.reshape(x, (4, 6)) * xp.reshape(x**2, (-1, 6))


@program(mixed(2, 3, 4))
def transposed(xp: Any, x: Any, c: Any) -> Any:
    return xp.swapaxes(x, 0, 2) * xp.swapaxes(xp.moveaxis(x**2, 0, 2), 0, 1)


@program(MATRIX, autograd=NO_RULE)
def flipped_and_rolled(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].flip(x, 0) * xp.roll(x, 1, 1) * x


@program(MATRIX)
def concatenated(xp: Any, x: Any, c: Any) -> Any:
    return xp.concatenate([x[1:], x**2, xp.reshape(c["row"], (1, 3))], 0) ** 2


@program(MATRIX)
def stacked(xp: Any, x: Any, c: Any) -> Any:
    return xp.stack([x[0], x[1] * x[2], c["row"] * x[3]], 1) ** 2


@program(MATRIX)
def tiled_and_repeated(xp: Any, x: Any, c: Any) -> Any:
    return xp.tile(x, (2, 1)) * c["peer"].repeat(x**2, 2, 0)


@program(MATRIX)
def padded(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].pad(x, 1) ** 2 + 1


@program(mixed(1, 3))
def broadcast(xp: Any, x: Any, c: Any) -> Any:
    return xp.broadcast_to(x, (4, 3)) * c["table"] * xp.squeeze(x)[None]


@program(SQUARE)
def diagonals(xp: Any, x: Any, c: Any) -> Any:
    return xp.diag(x) * xp.trace(x) + xp.diag(xp.diag(x) ** 2)[0] * xp.sum(xp.tril(x) * xp.triu(x**2))


# ------------------------------------------------------------------------------------------------------------ indexing


@program(MATRIX)
def slices(xp: Any, x: Any, c: Any) -> Any:
    return x[1:, None, ::2] * x[:-1, :2, None] * x[-1, 0]


@program(MATRIX)
def integer_arrays(xp: Any, x: Any, c: Any) -> Any:
    return x[np.array([0, 0, 3])] * x[np.array([[1], [2], [0]]), np.array([[2, 2, 1]])]


@program(MATRIX)
def masks(xp: Any, x: Any, c: Any) -> Any:
    return x[np.arange(4) % 2 == 0] ** 2 * x[:2]


@program(MATRIX, autograd=NO_RULE)
def gathered(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].take_along(x, np.array([[0, 2], [1, 1], [2, 0], [0, 0]]), 1) ** 2


@program(MATRIX, autograd="no way to write")
def written(xp: Any, x: Any, c: Any) -> Any:
    y = c["peer"].put(x * x, (slice(1, 3), 0), x[0, 0] * x[2, 1])
    return c["peer"].put(y, (np.array([0, 3]), np.array([1, 2])), c["row"][:2] * y[1, :2]) * x


@program(MATRIX, autograd="no way to write")
def scattered(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].add_at(x * 1, np.array([0, 2, 2, 0]), x**2) ** 2


@program(VECTOR, autograd="no way to write")
def a_recurrence_in_a_buffer(xp: Any, x: Any, c: Any) -> Any:
    y = x * 1
    for k in range(1, 6):
        y = c["peer"].put(y, k, xp.tanh(y[k - 1]) * y[k])
    return y


# --------------------------------------------------------------------------------------------------------- contraction


@program(SQUARE)
def matrix_products(xp: Any, x: Any, c: Any) -> Any:
    return (x @ x.T @ c["square"]) @ c["row"] * (c["row"] @ x)


@program(mixed(2, 3, 3))
def batched_products(xp: Any, x: Any, c: Any) -> Any:
    return x @ c["square"] @ xp.matmul(x, x)


@program(VECTOR)
def vector_products(xp: Any, x: Any, c: Any) -> Any:
    return xp.outer(x, x[:2]) * xp.dot(x, x) + xp.inner(x[:3], c["row"])


@program(mixed(2, 3, 4))
def tensor_products(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].tensordot(x, x**2, ([1, 2], [1, 2])) + c["peer"].tensordot(x[0], c["table"], ([1], [0]))[0, 0]


@program(SQUARE)
def einsums(xp: Any, x: Any, c: Any) -> Any:
    return xp.einsum("ij,jk,lk->il", x, c["square"], x) * xp.einsum("ij,ji->i", x, x) + xp.einsum("ij,ij->", x, x)


@program(mixed(2, 3, 4))
def batched_einsum(xp: Any, x: Any, c: Any) -> Any:
    return xp.einsum("bij,bkj->bik", x, xp.sin(x)) * xp.einsum("bij->b", x)[:, None, None]


@program(SQUARE)
def kronecker(xp: Any, x: Any, c: Any) -> Any:
    return xp.kron(x[:2, :2], x[1:] * x[:2])


@program(VECTOR, torch=NO_RULE, autograd=NO_RULE)
def convolved(xp: Any, x: Any, c: Any) -> Any:
    return xp.convolve(x, c["row"]) ** 2 + xp.sum(xp.convolve(x, x[:3], "same"))


# ------------------------------------------------------------------------------------------------------ linear algebra


@program(SQUARE)
def solved(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.solve(x @ x.T + c["square"], x) * c["row"]


@program(SQUARE)
def solved_for_a_vector(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].solve(x + c["square"], c["row"] * x[0]) ** 2


@program(mixed(2, 3, 3))
def batched_inverses(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.inv(x + c["square"]) * xp.linalg.det(x)[:, None, None]


@program(SQUARE)
def log_determinant(xp: Any, x: Any, c: Any) -> Any:
    sign, logdet = xp.linalg.slogdet(x @ x.T + c["square"])
    return sign * logdet**2


@program(SQUARE)
def cholesky(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.cholesky(x @ x.T + 3 * c["eye"]) ** 2


@program(SQUARE)
def eigenvalues(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.eigh(x + x.T)[0] ** 3


@program(SQUARE, autograd="a wrong JVP")
def eigenprojection(xp: Any, x: Any, c: Any) -> Any:
    v = xp.linalg.eigh(x @ x.T)[1][:, -1]
    return xp.outer(v, v) * x


@program(MATRIX)
def singular_values(xp: Any, x: Any, c: Any) -> Any:
    return c["peer"].singular_values(x) ** 3


@program(MATRIX)
def least_squares(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.pinv(x) @ c["column"]


@program(SQUARE, autograd=NO_RULE)
def matrix_power(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.matrix_power(x, 3) + xp.linalg.matrix_power(x + c["square"], -2)


@program(MATRIX, autograd=NO_RULE)
def qr(xp: Any, x: Any, c: Any) -> Any:
    q, r = xp.linalg.qr(x)
    return q @ r[:, :1] * q[:, 1:2] * r[0, 0]


@program(SQUARE, autograd=NO_RULE)
def matrix_norms(xp: Any, x: Any, c: Any) -> Any:
    return xp.linalg.norm(x, "nuc") * xp.linalg.norm(x, 2) + xp.linalg.norm(x, np.inf) * xp.linalg.norm(x)


# ------------------------------------------------------------------------------------------------------ whole programs


def _softmax(xp: Any, peer: Any, x: Any) -> Any:
    e = xp.exp(x - peer.max(x, -1)[..., None])
    return e / xp.sum(e, axis=-1, keepdims=True)


@program(MATRIX)
def softmax(xp: Any, x: Any, c: Any) -> Any:
    return _softmax(xp, c["peer"], 2 * x)


@program(MATRIX)
def cross_entropy(xp: Any, x: Any, c: Any) -> Any:
    p = x - xp.log(xp.sum(xp.exp(x), axis=1, keepdims=True))
    return -xp.mean(p[np.arange(4), np.array([2, 0, 0, 1])])


@program(mixed(3, 4, 2))
def attention(xp: Any, x: Any, c: Any) -> Any:
    q, k, v = x[0], x[1], x[2]
    return _softmax(xp, c["peer"], q @ k.T / np.sqrt(2.0)) @ v


@program(MATRIX)
def layer_norm(xp: Any, x: Any, c: Any) -> Any:
    mean = xp.mean(x, axis=1, keepdims=True)
    return (x - mean) / xp.sqrt(xp.mean((x - mean) ** 2, axis=1, keepdims=True) + 1e-5) * c["row"]


@program(mixed(2, 2))
def convolution_of_images(xp: Any, x: Any, c: Any) -> Any:
    return sum(xp.tanh(x)[i, j] * c["images"][:, i : 4 + i, j : 4 + j] for i in range(2) for j in range(2)) ** 2


@program(mixed(29))
def mlp_loss(xp: Any, x: Any, c: Any) -> Any:
    w1, b1, w2 = xp.reshape(x[:15], (3, 5)), x[15:20], xp.reshape(x[20:25], (5, 1))
    hidden = xp.tanh(c["table"] @ w1 + b1)
    return xp.mean((hidden @ w2 + x[25:26] - c["column"][:, None]) ** 2) + 0.1 * xp.sum(x**2)


@program(VECTOR)
def rosenbrock(xp: Any, x: Any, c: Any) -> Any:
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@program(np.abs(mixed(4)))
def runge_kutta(xp: Any, x: Any, c: Any) -> Any:
    def slope(y: Any) -> Any:
        return xp.stack([y[0] * (x[2] - y[1]), y[1] * (y[0] - x[3])], 0)

    y, h = x[:2], 0.1
    for _ in range(2):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3))
    return y


@program(np.abs(mixed(3)))
def newtons_iteration(xp: Any, x: Any, c: Any) -> Any:
    y = 1 + 0 * x
    for _ in range(4):
        y = y - (y**3 - x) / (3 * y**2)
    return y


@program(MATRIX)
def pairwise_distances(xp: Any, x: Any, c: Any) -> Any:
    difference = x[:, None] - x[None] + 0.1
    return xp.sqrt(xp.sum(difference**2, axis=-1))


@program(MATRIX)
def gaussian_process(xp: Any, x: Any, c: Any) -> Any:
    gram = xp.exp(-0.5 * xp.sum((x[:, None] - x[None]) ** 2, axis=-1)) + 0.1 * c["eye4"]
    return c["column"] @ c["peer"].solve(gram, c["column"]) + xp.linalg.slogdet(gram)[1]


@program(mixed(2, 3))
def lstm_cell(xp: Any, x: Any, c: Any) -> Any:
    h, state = x[0], x[1]
    for k in range(3):
        gate = 1 / (1 + xp.exp(-(c["square"] @ h + k)))
        state = gate * state + (1 - gate) * xp.tanh(h)
        h = gate * xp.tanh(state)
    return h


@program(SQUARE)
def kalman_step(xp: Any, x: Any, c: Any) -> Any:
    covariance = x @ x.T + c["eye"]
    gain = covariance @ xp.linalg.inv(covariance + c["square"] @ c["square"].T)
    return (c["eye"] - gain) @ covariance


@program(MATRIX)
def huber_and_cosine(xp: Any, x: Any, c: Any) -> Any:
    a = xp.abs(x)
    cosine = xp.dot(x[0], x[1]) / xp.sqrt(xp.dot(x[0], x[0]) * xp.dot(x[1], x[1]))
    return xp.where(a < 1, 0.5 * x**2, a - 0.5) * cosine


# ------------------------------------------------------------------------------------------------------------- complex


@program(MATRIX)
def real_through_complex(xp: Any, x: Any, c: Any) -> Any:
    z = xp.exp(1j * x) * (x + 2j)
    return xp.abs(z) * xp.angle(z) + xp.real(z**2) - xp.imag(xp.conj(z) * z * z)


@program(_complex(4))
def complex_to_real(xp: Any, x: Any, c: Any) -> Any:
    return xp.abs(xp.sin(x)) * xp.real(xp.exp(x)) + xp.imag(x * xp.conj(x) * x) + xp.angle(x)


@program(_complex(4))
def complex_powers(xp: Any, x: Any, c: Any) -> Any:
    return xp.abs(x**2.5 + xp.sqrt(x) * xp.log(x)) + xp.real(xp.tanh(x) / x)


@program(_complex(3, 3))
def complex_algebra(xp: Any, x: Any, c: Any) -> Any:
    a = x @ xp.conj(x).T + 3 * c["eye"]
    return xp.real(xp.linalg.solve(a + 1j * x, x)) + xp.abs(xp.linalg.det(x)) * xp.linalg.slogdet(a)[1]


@program(_complex(3))
def mandelbrot(xp: Any, x: Any, c: Any) -> Any:
    z = 0 * x
    for _ in range(4):
        z = z * z + 0.3 * x
    return xp.abs(z) ** 2
