"""Train a small network eagerly, as in PyTorch: Variables, backward(), and updates under no_grad()."""

from itertools import pairwise

import numpy as np

import wengert as wg

rng = np.random.default_rng(3)
x = rng.uniform(-3.0, 3.0, (512, 1))
y = np.sin(2 * x) + 0.05 * rng.standard_normal(x.shape)


class Network:
    """1 → 32 → 32 → 1, with tanh between."""

    def __init__(self):
        sizes = (1, 32, 32, 1)
        self.weights = [wg.Variable(rng.standard_normal((m, n)) / np.sqrt(m)) for m, n in pairwise(sizes)]
        self.biases = [wg.Variable(np.zeros(n)) for n in sizes[1:]]

    def __call__(self, x):
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]


network = Network()
parameters = wg.parameters(network)
velocities = [np.zeros_like(p.data) for p in parameters]
for epoch in range(120):
    order = rng.permutation(len(x))
    rate = 0.1 * (1 - epoch / 120)
    for batch in np.split(order, 8):
        loss = np.mean((network(x[batch]) - y[batch]) ** 2)
        wg.zero_grads(network)
        loss.backward()
        wg.clip_grad_norm(network, 1.0)
        with wg.no_grad():
            for p, velocity in zip(parameters, velocities, strict=True):
                velocity *= 0.9
                velocity -= rate * p.grad
                p += velocity
    if epoch % 30 == 29:
        print(f"epoch {epoch + 1}: loss {loss:.5f}")

grid = np.linspace(-2.5, 2.5, 101)[:, None]
with wg.no_grad():
    error = float(np.max(np.abs(network(grid).data - np.sin(2 * grid))))
print(f"largest error on [-2.5, 2.5]: {error:.3f}")
