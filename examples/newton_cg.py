"""Logistic regression by Newton's method: each step is solved by conjugate gradients on Hessian-vector products.

The Hessian (here 200 × 200) is never formed: H v is one pushforward of the gradient.
"""

import numpy as np

import wengert as wg

rng = np.random.default_rng(2)
n, d = 2000, 200
X = rng.standard_normal((n, d)) * np.geomspace(3.0, 0.1, d)  # features of very different size
w_true = rng.standard_normal(d)
labels = np.where(X @ w_true + rng.logistic(size=n) > 0, 1.0, -1.0)


def loss(w):
    return np.mean(np.logaddexp(0.0, -labels * (X @ w))) + 0.5e-3 * np.sum(w**2)


def conjugate_gradients(product, b, tolerance):
    """x with A x = b to the tolerance, where `product(v)` is A v for a positive definite A."""
    x, r = np.zeros_like(b), b.copy()
    direction, size, products = r.copy(), r @ r, 0
    while np.sqrt(size) > tolerance and products < 10 * b.size:
        image = product(direction)
        step = size / (direction @ image)
        x, r, products = x + step * direction, r - step * image, products + 1
        direction, size = r + (r @ r) / size * direction, r @ r
    return x, products


w = np.zeros(d)
value_and_grad = wg.value_and_grad(loss)
for step in range(30):
    value, gradient = value_and_grad(w)
    norm = np.linalg.norm(gradient)
    print(f"step {step}: loss {value:.10f}, |gradient| {norm:.1e}")
    if norm < 1e-10:
        break
    _, hessian_product = wg.linearize(wg.grad(loss), w)  # wg.hvp, for many vectors at one point
    change, products = conjugate_gradients(hessian_product, -gradient, min(0.1, norm) * norm)
    rate = 1.0
    while loss(w + rate * change) > value + 1e-4 * rate * (gradient @ change):
        rate /= 2
    w = w + rate * change

accuracy = np.mean(np.sign(X @ w) == labels)
print(f"accuracy on the training data {accuracy:.1%}")
