"""The gradient of the cross-entropy of a 784-256-128-10 network with tanh, a batch of 128 images, float32."""

import itertools

import numpy as np

NAME = "mlp"
WHAT = "gradient"
ARGNUMS = (0, 1, 2, 3, 4, 5)
SIZES = {
    "table": {"widths": (784, 256, 128, 10), "batch": 128},
    "quick": {"widths": (784, 256, 128, 10), "batch": 128},
    "tiny": {"widths": (12, 7, 5, 3), "batch": 6},
}


def inputs(seed, widths, batch, dtype=np.float32):
    rng = np.random.default_rng(seed)
    weights = []
    for m, n in itertools.pairwise(widths):
        weights += [rng.standard_normal((m, n)) / np.sqrt(m), np.zeros(n)]
    images, labels = rng.standard_normal((batch, widths[0])), np.eye(widths[-1])[rng.integers(0, widths[-1], batch)]
    return tuple(value.astype(dtype) for value in (*weights, images, labels))


def function(w1, b1, w2, b2, w3, b3, images, labels):
    h = np.tanh(images @ w1 + b1)
    h = np.tanh(h @ w2 + b2)
    logits = h @ w3 + b3
    return np.sum(np.log(np.sum(np.exp(logits), axis=1)) - np.sum(logits * labels, axis=1)) / len(images)


def by_hand(w1, b1, w2, b2, w3, b3, images, labels):
    h1 = np.tanh(images @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    e = np.exp(h2 @ w3 + b3)
    ct = (e / e.sum(1, keepdims=True) - labels) / np.float32(len(images))
    gw3, gb3 = h2.T @ ct, ct.sum(0)
    ct = (ct @ w3.T) * (1 - h2 * h2)
    gw2, gb2 = h1.T @ ct, ct.sum(0)
    ct = (ct @ w2.T) * (1 - h1 * h1)
    return images.T @ ct, ct.sum(0), gw2, gb2, gw3, gb3


def gemms_alone(w1, b1, w2, b2, w3, b3, images, labels):
    """A function of no arguments that calls BLAS for the eight products and does nothing else.

    For row-major arrays AB = C is BᵀAᵀ = Cᵀ in BLAS's order, so that nothing is copied; C is there beforehand.
    """
    from scipy.linalg.blas import get_blas_funcs

    gemm = get_blas_funcs("gemm", dtype=w1.dtype)
    batch, calls = len(images), []

    def product(a, b, transpose_a=False, transpose_b=False):
        c = np.zeros((a.shape[1 if transpose_a else 0], b.shape[0 if transpose_b else 1]), a.dtype)
        calls.append((b.T, a.T, c.T, int(transpose_b), int(transpose_a)))
        return c

    h1 = product(images, w1)
    h2 = product(h1, w2)
    logits = product(h2, w3)
    ct = np.ones((batch, logits.shape[1]), w1.dtype)
    product(h2, ct, transpose_a=True)
    ct2 = product(ct, w3, transpose_b=True)
    product(h1, ct2, transpose_a=True)
    ct1 = product(ct2, w2, transpose_b=True)
    product(images, ct1, transpose_a=True)

    def run():
        for a, b, c, ta, tb in calls:
            gemm(1.0, a, b, c=c, trans_a=ta, trans_b=tb, overwrite_c=1)

    run.calls = calls
    return run
