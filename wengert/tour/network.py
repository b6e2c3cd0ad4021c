"""A two-layer network in plain NumPy, and its training: wengert gives the gradients, NumPy does the rest."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import wengert
from wengert.compile.jit import Jitted
from wengert.compile.machine import engine
from wengert.tour.data import Array, Digits

Params = dict[str, Array]
Gradient = Callable[[Params, Array, Array], tuple[Any, Params]]  # the value of the loss, and its gradient
HIDDEN = 32
BATCH = 32
RATE = 0.2
STEP = 1e-5  # of central differences in float64: truncation and rounding are then both near 1e-10


def initial(inputs: int, rng: np.random.Generator) -> Params:
    """Weights that keep the variance of what passes through (Glorot and Bengio, AISTATS 2010), biases 0."""
    return {
        "W1": rng.normal(0.0, math.sqrt(2.0 / (inputs + HIDDEN)), (inputs, HIDDEN)),
        "b1": np.zeros(HIDDEN),
        "w2": rng.normal(0.0, math.sqrt(2.0 / (HIDDEN + 1)), HIDDEN),
        "b2": np.zeros(())[()],  # a number, as each step makes of it: `jit` would stage an array without axes apart
    }


def logit(params: Params, x: Array) -> Array:
    """The network: the log-odds that each row of `x` is a nine."""
    hidden = np.tanh(x @ params["W1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def loss(params: Params, x: Array, y: Array) -> Any:
    """The mean cross-entropy −y log p − (1−y) log(1−p) with p = 1/(1+e⁻ᶻ), written so that no exponential overflows:
    it equals log(1+eᶻ) − y z."""
    z = logit(params, x)
    return np.mean(np.logaddexp(0.0, z) - y * z)


def probability(params: Params, x: Array) -> Array:
    """How probable the network thinks it that each row of `x` is a nine."""
    return np.exp(-np.logaddexp(0.0, -logit(params, x)))


def accuracy(params: Params, x: Array, y: Array) -> float:
    """The share of rows that are told apart rightly."""
    return float(np.mean((logit(params, x) > 0.0) == (y == 1.0)))


# ----------------------------------------------------------------------------------------------------------- training


class Epoch(NamedTuple):
    """The state after one pass through the training digits."""

    number: int
    params: Params
    loss: float
    held_loss: float
    held_accuracy: float


def compiled() -> Jitted:
    """The value and gradient of the loss, compiled when first called."""
    made: Jitted = wengert.jit(wengert.value_and_grad(loss))
    return made


def train(
    params: Params, digits: Digits, epochs: int, rng: np.random.Generator, value_and_grad: Gradient
) -> Iterator[Epoch]:
    """Stochastic gradient descent in mini-batches, reshuffled in each epoch; yields before the first and after each."""
    yield _epoch(0, params, digits)
    for number in range(1, epochs + 1):
        for rows in batches(rng.permutation(len(digits.train_y))):
            _, gradient = value_and_grad(params, digits.train_x[rows], digits.train_y[rows])
            params = {name: params[name] - RATE * gradient[name] for name in params}
        yield _epoch(number, params, digits)


def batches(order: Any) -> list[Any]:
    """Mini-batches of two sizes at most. They are nearly equal: a last one of one odd digit would throw the weights far
    off."""
    return np.array_split(order, math.ceil(len(order) / BATCH))


def _epoch(number: int, params: Params, digits: Digits) -> Epoch:
    return Epoch(
        number,
        params,
        float(loss(params, digits.train_x, digits.train_y)),
        float(loss(params, digits.held_x, digits.held_y)),
        accuracy(params, digits.held_x, digits.held_y),
    )


# ------------------------------------------------------------------------------------------------ what jit gained


class Gain(NamedTuple):
    """Seconds that the gradient of one mini-batch takes, and those that `jit` needed to be ready."""

    eager: float
    jitted: float
    making: float
    cached: bool  # whether an earlier run had compiled it all
    why_numpy: str | None  # why there is no native code


def gain(jitted: Jitted, params: Params, digits: Digits, repeats: int = 101) -> Gain:
    """What `jitted`, which has been trained with, gains over the same function as it is: medians of calls in turn."""
    rows = batches(np.arange(len(digits.train_y)))[0]
    x, y = digits.train_x[rows], digits.train_y[rows]
    eager = wengert.value_and_grad(loss)
    pairs = [(_seconds(eager, params, x, y), _seconds(jitted, params, x, y)) for _ in range(repeats)]
    made = jitted.specializations()
    native = all(one.backend == "native" for one in made)
    return Gain(
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        sum(one.seconds for one in made),
        native and engine.statistics.compiled == 0,
        None if native else engine.unavailable() or "the warning above says why",
    )


def _seconds(gradient: Gradient, params: Params, x: Array, y: Array) -> float:
    start = time.perf_counter()
    gradient(params, x, y)
    return time.perf_counter() - start


# ------------------------------------------------------------------------------------------ is the gradient right


def difference_error(params: Params, x: Array, y: Array, rng: np.random.Generator, directions: int = 20) -> float:
    """‖D − G‖ / ‖D‖, where G holds the gradient's components along random directions and D what central differences
    make of them."""
    _, gradient = wengert.value_and_grad(loss)(params, x, y)
    components, differences = [], []
    for _ in range(directions):
        direction = {name: rng.normal(size=value.shape) for name, value in params.items()}
        ahead = loss({name: params[name] + STEP * direction[name] for name in params}, x, y)
        behind = loss({name: params[name] - STEP * direction[name] for name in params}, x, y)
        components.append(sum(float(np.sum(gradient[name] * direction[name])) for name in params))
        differences.append((ahead - behind) / (2 * STEP))
    return _relative_error(np.array(differences), np.array(components))


def torch_error(params: Params, x: Array, y: Array) -> float | None:
    """‖g_torch − g‖ / ‖g_torch‖ for the whole gradient, or None where PyTorch cannot be imported.

    PyTorch runs the same network, with its own cross-entropy.
    """
    try:
        import torch  # takes seconds to import
    except (ImportError, OSError):  # not there, or without a library that it needs
        return None
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    hidden = torch.tanh(torch.tensor(x) @ theirs["W1"] + theirs["b1"])
    z = hidden @ theirs["w2"] + theirs["b2"]
    torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(y)).backward()
    _, gradient = wengert.value_and_grad(loss)(params, x, y)
    return _relative_error(
        np.concatenate([theirs[name].grad.numpy().ravel() for name in params]),
        np.concatenate([gradient[name].ravel() for name in params]),
    )


def _relative_error(reference: Array, ours: Array) -> float:
    return float(np.linalg.norm(reference - ours) / np.linalg.norm(reference))
