"""GradBench's `det`: the determinant of an ℓ×ℓ matrix by expansion along the first row, recursively, and its gradient.

JAX and PyTorch would compile for minutes what the recursion writes: they get Leibniz's sum over all permutations,
∑ sgn(σ) ∏ᵢ a[i, σᵢ], as GradBench's tools do that work on whole arrays.
"""

import itertools

import numpy as np

NAME = "det"
WHAT = "gradient"
SIZES = {"table": {"size": 7}, "quick": {"size": 5}, "tiny": {"size": 4}}
LOOPS = ("minor_by_loops", "by_loops")
WITHOUT = {"mygrad": "one call takes seconds"}


def inputs(seed, size):
    return (np.random.default_rng(seed).uniform(0, 1, (size, size)),)


def function(a):
    return minor(a, 0, tuple(range(len(a))))


def minor(a, row, columns):
    """The determinant of the rows from `row` on, in `columns`."""
    if len(columns) == 1:
        return a[row, columns[0]]
    total = 0.0
    for j, column in enumerate(columns):
        term = a[row, column] * minor(a, row + 1, columns[:j] + columns[j + 1 :])
        total = total + term if j % 2 == 0 else total - term
    return total


def leibniz(a):
    size = len(a)
    permutations = np.asarray(list(itertools.permutations(range(size))))
    products = np.prod(a[np.arange(size), permutations], 1)
    return np.sum(np.asarray([sign(p) for p in itertools.permutations(range(size))]) * products)


def sign(permutation):
    """1.0 for an even number of inversions, else −1.0."""
    return (-1.0) ** sum(p > q for p, q in itertools.combinations(permutation, 2))


jax_function = torch_function = leibniz


def minor_by_loops(a, rows, following):
    """The determinant of `rows` and the columns of a ring: `following` names each one's successor, and starts and ends
    in n. There are two rows at least. A stack, because Numba does not always link a function that calls itself.
    """
    n, size, level, value = len(a), len(rows), 0, 0.0
    total, sign = np.zeros(size), np.ones(size)
    chosen, before = np.empty(size, np.int64), np.full(size, n)
    while True:
        if level == size - 2:
            up, down, one, other = rows[level], rows[level + 1], following[n], following[following[n]]
            value = a[up, one] * a[down, other] - a[up, other] * a[down, one]
        elif following[before[level]] == n:
            value = total[level]
        else:
            chosen[level] = following[before[level]]
            following[before[level]] = following[chosen[level]]
            level += 1
            total[level], sign[level], before[level] = 0.0, 1.0, n
            continue
        if level == 0:
            return value
        level -= 1
        following[before[level]] = chosen[level]
        total[level] += sign[level] * a[rows[level], chosen[level]] * value
        sign[level], before[level] = -sign[level], chosen[level]


def by_loops(a):
    """Each cofactor by expansion in turn."""
    n = len(a)
    gradient, rows, following = np.empty((n, n)), np.empty(n - 1, np.int64), np.empty(n + 1, np.int64)
    following[n] = 0
    for i in range(n):
        following[i] = i + 1
    for i in range(n):
        for k in range(n - 1):
            rows[k] = k if k < i else k + 1
        for j in range(n):
            left = n if j == 0 else j - 1
            following[left] = j + 1
            gradient[i, j] = (-1.0) ** (i + j) * minor_by_loops(a, rows, following)
            following[left] = j
    return gradient


def by_hand(a):
    """det A · A⁻ᵀ: what one would write who may choose the algorithm."""
    return np.linalg.det(a) * np.linalg.inv(a).T


def casadi(args):
    import casadi as ca

    a = ca.SX.sym("a", *args[0].shape)
    rows = [[a[i, j] for j in range(a.shape[1])] for i in range(a.shape[0])]
    value = minor(_Rows(rows), 0, tuple(range(len(rows))))
    return ca.Function("f", [a], [ca.gradient(value, a)])


class _Rows(list):
    """Rows of symbols that answer to a[i, j]."""

    def __getitem__(self, index):
        return super().__getitem__(index[0])[index[1]] if isinstance(index, tuple) else super().__getitem__(index)
