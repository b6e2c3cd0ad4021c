"""Functions as users write them, with arguments: what native code and each stage before it are compared on."""

import numpy as np

import wengert as wg


def made(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def cross_entropy(x, w, b, v, c, labels):
    """A network of two layers, and the cross entropy of its softmax."""
    hidden = np.tanh(x @ w + b)
    scores = hidden @ v + c
    top = scores.max(axis=1, keepdims=True)
    log_sum = np.log(np.sum(np.exp(scores - top), axis=1)) + top[:, 0]
    return np.mean(log_sum - scores[np.arange(len(labels)), labels])


def log_sum_exp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def mixture(x, means, logs, weights):
    """The log-likelihood of a mixture of axis-parallel Gaussians."""
    scaled = (x[:, None, :] - means[None]) * np.exp(logs)[None]
    terms = weights - 0.5 * np.einsum("nkd,nkd->nk", scaled, scaled) + np.sum(logs, axis=1)
    return np.sum(np.logaddexp.reduce(terms, axis=1)) - len(x) * np.logaddexp.reduce(weights)


def full_mixture(x, means, factors):
    """The same with full factors, by einsum."""
    centred = x[:, None, :] - means[None]
    mixed = np.einsum("kde,nke->nkd", factors, centred)
    return np.sum(np.log(np.sum(np.exp(-0.5 * np.sum(mixed**2, axis=-1)), axis=1)))


def k_means(centres, points):
    distances = np.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=-1)
    return np.sum(np.min(distances, axis=1))


def least_squares(w, a, b):
    return np.sum((a @ w - b) ** 2) + 0.1 * np.sum(w**2)


def gathers(x):
    return np.sum(x[np.array([1, 2, 1, -1])] * x[3]) + np.sum(x[[0, 0, 0]] ** 2)


def traced_gather(x, index):
    return np.sum(np.sin(x[index]) * np.arange(1.0, 1.0 + len(index)))


def gather_rows(x, index):
    return np.sum(x[index] ** 2 * x[:, index].T)


def pairs(x, rows, columns):
    return np.sum(x[rows, columns] ** 3)


def masks(x):
    return np.sum(np.where(x > 0, x**2, -x)) + np.sum(np.abs(x)[np.array([True, False] * (len(x) // 2))])


def in_place(x):
    y = np.zeros((2, len(x))) + x
    y[0] = np.sin(x)
    y[1, ::2] *= 3.0
    y[:, 1] = y[:, 0] * 2
    y[0, np.array([2, 2, 3])] = x[:3]
    return np.sum(y**2)


def overlapping(x):
    y = x.copy()
    y[1:] = y[:-1] * x[1:]
    y[:-1] += y[1:]
    return np.sum(y * np.arange(len(x)))


def cumulative(x):
    return np.sum(np.cumsum(x) ** 2) + np.sum(np.cumsum(x[::-1].reshape(2, -1), axis=0) ** 3)


def norms(x, y):
    return np.linalg.norm(x) + np.linalg.norm(x - y) / (1 + np.linalg.norm(y)) + np.sum(np.linalg.norm(x + y, axis=0))


def moments(x):
    return np.var(x) + np.sum(np.std(x, axis=0)) * np.sum(np.var(x, axis=1, ddof=1)) + np.mean(x[1:] * x[:-1])


def standardised(x):
    y = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return np.sum(y**3 * np.arange(x.shape[1]))


def broadcasts(x, row, column, number):
    return np.sum((x + row) * column + number * (row - column) / (1 + x**2) + np.outer(column[:, 0], row))


def transposes(a, b):
    return np.sum((a.T @ b.T) ** 2) + np.sum(np.sin(a.T) * a.T[::-1]) + np.sum(a * b.T)


def windows(x):
    return np.sum(x[:-2] * x[1:-1] + x[2:] * x[:-2]) + np.sum(x[::3] ** 2) + np.sum(x[::-1] * x)


def grids(x):
    """Neighbours in a plane."""
    inner = x[1:-1, 1:-1]
    return np.sum((4 * inner - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]) ** 2)


def joined(x, y):
    z = np.concatenate([x[:3], y, x[3:] * 2])
    return np.sum(np.stack([z, z[::-1]], axis=1).reshape(-1) ** 2 * np.arange(2 * len(z)))


def rolled(x):
    return np.sum(np.roll(x, 3) * x) + np.sum(np.roll(x.reshape(2, -1), (1, -2), axis=(0, 1)) * x.reshape(2, -1) ** 2)


def batches(a, b):
    return np.sum(np.tanh(a @ b) * np.arange(b.shape[-1]))


def diagonals(a):
    return np.sum(np.diag(a) ** 2) + np.trace(a @ a) + np.einsum("ii->", np.exp(a))


def solves(a, b):
    return np.sum(np.linalg.solve(a @ a.T + np.eye(len(a)), b) ** 2) + np.linalg.slogdet(a @ a.T + np.eye(len(a)))[1]


def contractions(a, b, c):
    return np.einsum("ij,jk,kl->", a, b, c) + np.sum(np.einsum("ij,jk->ki", a, b) ** 2) + np.vdot(a, a)


def extremes(x):
    return (
        np.sum(np.max(x, axis=0))
        + np.min(x) * np.max(x)
        + np.sum(np.maximum(x, 0.1) * np.minimum(x, 0.5))
        + np.prod(x[0, :4])
    )


def integers(x, n):
    return np.sum(x ** (n % 4)) * np.sum(n // 2) + np.sum(x[n % 5] * x)


def choices(x, y):
    return (
        np.sum(np.where(x < y, x * y, x / (1 + y**2)))
        + np.sum(np.clip(x, -0.5, 0.5))
        + np.sum(np.select([x > 1, y > 1], [x, y], 0.0))
    )


def recurrence(x, w):
    """A network that runs along a sequence."""

    def step(state, row):
        state = np.tanh(w @ state + row)
        return state, np.sum(state**2)

    state, outs = wg.scan(step, np.zeros(w.shape[0]), x)
    return np.sum(state) + np.sum(outs * np.arange(len(outs)))


def backwards_scan(x):
    def step(carry, row):
        total, largest = carry
        return (total * 0.9 + row, np.maximum(largest, row)), total * row

    (total, largest), outs = wg.scan(step, (np.zeros(x.shape[1]), np.full(x.shape[1], -1e3)), x, reverse=True)
    return np.sum(total * largest) + np.sum(outs**2)


def nested_scan(x):
    """Horner's rule in the rows of a matrix, and again over the rows."""

    def row(total, coefficients):
        value, _ = wg.scan(lambda a, c: (a * 0.5 + c, None), np.float64(0.0), coefficients)
        return total * 0.8 + np.sin(value), value

    total, values = wg.scan(row, np.float64(1.0), x)
    return total + np.sum(values**2)


def newton(a):
    """A square root by Newton's method, until it stands still."""
    _, root = wg.while_loop(lambda s: abs(s[1] - s[0]) > 1e-12, lambda s: (s[1], 0.5 * (s[1] + a / s[1])), (0.0 * a, a))
    return root * np.sin(root)


def doublings(x):
    y = wg.while_loop(lambda v: np.sum(v**2) < 100.0, lambda v: v * 1.5 + 0.01 * v[::-1], x)
    return np.sum(y)


def branches(x):
    one = wg.cond(x[0] > 0, lambda v: np.sum(np.sin(v)), lambda v: np.sum(v**2), x)
    two = wg.cond(x[0] < 0, lambda v: np.exp(v), lambda v: v[::-1] * 2, x)
    return one + np.sum(two * x)


def switched(x, k):
    return np.sum(wg.switch(k, [lambda v: v, lambda v: v**2, lambda v: np.cos(v)], x) * x)


def branch_in_loop(x):
    def step(carry, value):
        carry = wg.cond(value > 0, lambda c, v: c + v**2, lambda c, v: c * 0.5 - v, carry, value)
        return carry, carry * value

    total, outs = wg.scan(step, np.float64(0.3), x)
    return total + np.sum(outs)


def loop_in_branch(x):
    def long(v):
        return wg.fori_loop(0, 5, lambda i, s: s + np.sin(v * i), v)

    return np.sum(wg.cond(np.sum(x) > -1e9, long, lambda v: v, x))


(V,) = made(1, 12)
A, B, C = made(2, (5, 7), (7, 4), (4, 6))
INDEX = np.array([3, 0, 3, -2, 11])

# name: (function, arguments); the first argument is what derivatives are with respect to
SCALARS = {
    "rosenbrock": (rosenbrock, [V]),
    "cross entropy": (
        lambda w, x, b, v, c: cross_entropy(x, w, b, v, c, np.array([0, 3, 1, 2, 2, 0])),
        made(3, (5, 8), (6, 5), 8, (8, 4), 4),
    ),
    "log-sum-exp": (log_sum_exp, [V]),
    "mixture": (lambda m, x, q, w: mixture(x, m, q, w), made(4, (3, 2), (17, 2), (3, 2), 3)),
    "full mixture": (lambda f, x, m: full_mixture(x, m, f), made(5, (3, 4, 4), (11, 4), (3, 4))),
    "k-means": (k_means, made(6, (4, 3), (23, 3))),
    "least squares": (least_squares, made(7, 5, (19, 5), 19)),
    "gathers": (gathers, [V]),
    "traced gather": (traced_gather, [V, INDEX]),
    "gather rows": (gather_rows, [made(8, (6, 6))[0], np.array([1, 1, 4, -1, 0, 2])]),
    "pairs": (pairs, [made(9, (6, 6))[0], np.array([1, 1, 4, -1]), np.array([2, 2, 0, 5])]),
    "masks": (masks, [V]),
    "in place": (in_place, [V]),
    "overlapping": (overlapping, [V]),
    "cumulative": (cumulative, [V]),
    "norms": (norms, made(10, (4, 3), (4, 3))),
    "moments": (moments, made(11, (5, 6))),
    "standardised": (standardised, made(12, (4, 9))),
    "broadcasts": (broadcasts, [*made(13, (3, 5), 5, (3, 1)), 1.5]),
    "transposes": (transposes, made(14, (5, 4), (4, 5))),
    "windows": (windows, [V]),
    "grids": (grids, made(15, (7, 9))),
    "joined": (joined, made(16, 7, 4)),
    "rolled": (rolled, [V]),
    "batches": (batches, made(17, (2, 3, 4), (4, 5))),
    "diagonals": (diagonals, made(18, (5, 5))),
    "solves": (solves, made(19, (4, 4), 4)),
    "contractions": (contractions, [A, B, C]),
    "extremes": (extremes, made(20, (5, 6))),
    "integers": (integers, [V, np.arange(12)]),
    "choices": (choices, made(21, (4, 4), (4, 4))),
    "recurrence": (recurrence, made(22, (9, 3), (3, 3))),
    "backwards scan": (backwards_scan, made(23, (8, 3))),
    "nested scan": (nested_scan, made(24, (4, 5))),
    "newton": (newton, [3.7]),
    "doublings": (doublings, [V]),
    "branches": (branches, [V]),
    "switched": (switched, [V, 1]),
    "branch in loop": (branch_in_loop, [V]),
    "loop in branch": (loop_in_branch, [V]),
}
