"""What the compiler must reach: the rows of its design page, each a problem, a size and ratios to others in one run."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    than: str  # a contestant
    times: float  # that has to take at least so many times as long


class Row(NamedTuple):
    title: str
    problem: str
    size: str  # a key of the problem's SIZES
    goals: tuple[Goal, ...] = ()


NO_SLOWER = 1 / 1.05
GRADIENT_OVER_VALUE = 3.0
IMPORT_SECONDS = 0.05  # beyond NumPy's
IMPORT_WITHOUT = ("scipy", "rich", "llvmlite")  # packages that `import wengert` does not load
COMPILE = ("gmm", "jax", 2.0)  # whose gradient compiles at least so many times faster than by whom
SLACK, SLACK_OF_CALLBACK = 1e-6, 3e-6  # seconds by which a jitted call may exceed an eager one
HAND = "numba by hand"

TABLE = (
    Row("gradient of log(sin x² + eˣ) at a float", "scalar", "table", (Goal("jax", 50),)),
    Row("gradient of Rosenbrock, n = 1000", "rosenbrock", "table", (Goal("jax", 25), Goal("value in NumPy", 1))),
    Row("elementwise chain, value and gradient, 10⁶", "chain", "table", (Goal("jax", 2.5),)),
    Row(
        "gradient of an MLP 784-256-128-10, batch 128, float32",
        "mlp",
        "table",
        (Goal("GEMMs alone", 1 / 1.10), Goal("torch", 1), Goal("jax", 1)),
    ),
    Row("gradient of a GMM, d = 10, k = 25, n = 1000", "gmm", "table", (Goal("jax", 3), Goal(HAND, 3))),
    Row("gradient of a GMM, d = 32, k = 25, n = 1000", "gmm", "d=32", (Goal(HAND, 3),)),
    Row("gradient of log-sum-exp, 10⁶", "lse", "table", (Goal(HAND, 3),)),
    Row("gradient of least squares, n = 16392, m = 128", "llsq", "table", (Goal(HAND, 1.5),)),
    Row("direction of k-means, k = 100, n = 10000, d = 8", "kmeans", "table", (Goal(HAND, 1.5),)),
    Row("gradient of an ODE, n = 10000, s = 10", "ode", "table", (Goal(HAND, NO_SLOWER),)),
    Row("gradient of an LSTM, 2 layers, 1024 characters", "lstm", "table", (Goal(HAND, NO_SLOWER),)),
    Row("bundle adjustment, sparse Jacobian, p = 31843", "ba", "table", (Goal(HAND, NO_SLOWER),)),
    Row("gradient of a determinant by minors, ℓ = 7", "det", "table", (Goal(HAND, NO_SLOWER),)),
    Row("hello, x² at a float", "hello", "table"),
    Row("hand tracking, simple, 1000 points", "ht", "table"),
    Row("hand tracking, complicated, 1000 points", "ht", "complicated"),
    Row("particle (JAX: forward outside)", "particle", "table"),
    Row("saddle (JAX: forward outside)", "saddle", "table"),
)
