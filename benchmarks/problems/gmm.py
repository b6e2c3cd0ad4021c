"""GradBench's `gmm` (from ADBench): the log-posterior of a mixture of k Gaussians in d dimensions at n points.

    Σᵢ log Σₖ exp(αₖ + Σ qₖ − ½ ‖Qₖ (xᵢ − μₖ)‖²) − n log Σₖ exp αₖ − n d/2 log 2π + Wishart prior (γ, m)

Qₖ is lower triangular: exp qₖ on the diagonal, lₖ (`low`) below it, by columns. The gradient is that in α, μ, q and l.
"""

import math

import numpy as np

NAME = "gmm"
WHAT = "gradient"
ARGNUMS = (0, 1, 2, 3)
STATIC = (5, 6)
SIZES = {
    "table": {"d": 10, "k": 25, "n": 1000},
    "d=32": {"d": 32, "k": 25, "n": 1000},
    "quick": {"d": 10, "k": 5, "n": 200},
    "tiny": {"d": 3, "k": 2, "n": 5},
}


def inputs(seed, d, k, n, gamma=1.0, m=0):
    rng = np.random.default_rng(seed)
    x, mu = rng.standard_normal((n, d)), rng.uniform(0, 1, (k, d))
    q, low, alpha = rng.standard_normal((k, d)), rng.standard_normal((k, d * (d - 1) // 2)), rng.standard_normal(k)
    return alpha, mu, q, low, x, gamma, m


def log_sum_exp(x):
    largest = np.max(x, axis=-1, keepdims=True)
    return np.sum(largest + np.log(np.sum(np.exp(x - largest), axis=-1, keepdims=True)), axis=-1)


def places(d):
    """Where each element of Q stands in (exp q, low, 0)."""
    where = np.full((d, d), d + d * (d - 1) // 2)
    where[np.arange(d), np.arange(d)] = np.arange(d)
    columns, rows = np.triu_indices(d, 1)
    where[rows, columns] = d + np.arange(len(rows))
    return where


def function(alpha, mu, q, low, x, gamma, m):
    (n, d), k = x.shape, len(alpha)
    elements = np.concatenate([np.exp(q), low, np.zeros((k, 1))], axis=1)
    distances = np.einsum("kij,nkj->nki", elements[:, places(d)], x[:, np.newaxis] - mu)
    terms = alpha + np.sum(q, axis=1) - 0.5 * np.sum(distances**2, axis=2)
    return (
        np.sum(log_sum_exp(terms))
        - n * log_sum_exp(alpha)
        - n * d * 0.5 * math.log(2 * math.pi)
        + log_wishart_prior(q, low, d, k, gamma, m)
    )


def log_wishart_prior(q, low, d, k, gamma, m):
    degrees = d + m + 1
    norm = degrees * d * math.log(gamma / math.sqrt(2)) - 0.25 * d * (d - 1) * math.log(math.pi)
    norm -= sum(math.lgamma(0.5 * (degrees - j)) for j in range(d))
    return k * norm - 0.5 * gamma**2 * (np.sum(np.exp(q) ** 2) + np.sum(low**2)) + m * np.sum(q)


def jax_function(alpha, mu, q, low, x, gamma, m):
    """With Q by a scatter, as JAX's users write."""
    (n, d), k = x.shape, len(alpha)
    columns, rows = np.triu_indices(d, 1)
    triangles = np.zeros((k, d, d)).at[:, rows, columns].set(low)
    centered = x[:, None] - mu
    distances = np.exp(q) * centered + np.einsum("kij,nkj->nki", triangles, centered)
    terms = alpha + np.sum(q, axis=1) - 0.5 * np.sum(distances**2, axis=2)
    value = np.sum(log_sum_exp(terms)) - n * log_sum_exp(alpha) - n * d * 0.5 * math.log(2 * math.pi)
    return value + log_wishart_prior(q, low, d, k, gamma, m)


def torch_function(alpha, mu, q, low, x, gamma, m):
    """With Q filled in place and PyTorch's own logsumexp."""
    (n, d), k = x.shape, len(alpha)
    rows, columns = np.triu_indices(d, d, 1)[[1, 0]]
    triangles = x.new_zeros((k, d, d))
    triangles[:, rows, columns] = low
    centered = x[:, None] - mu
    distances = np.exp(q) * centered + np.einsum("kij,nkj->nki", triangles, centered)
    terms = alpha + np.sum(q, axis=1) - 0.5 * np.sum(distances**2, axis=2)
    value = np.sum(np.logsumexp(terms, 1)) - n * np.logsumexp(alpha, 0) - n * d * 0.5 * math.log(2 * math.pi)
    return value + log_wishart_prior(q, low, d, k, gamma, m)


def by_loops(alpha, mu, q, low, x, gamma, m):
    (n, d), k = x.shape, len(alpha)
    diagonal, sums = np.exp(q), np.zeros(k)
    for j in range(k):
        for a in range(d):
            sums[j] += q[j, a]
    alpha_bar, mu_bar, q_bar, l_bar = np.zeros(k), np.zeros((k, d)), np.zeros((k, d)), np.zeros(low.shape)
    centered, distances, terms = np.empty((k, d)), np.empty((k, d)), np.empty(k)
    back = np.empty(d)
    for i in range(n):
        for j in range(k):
            for a in range(d):
                centered[j, a] = x[i, a] - mu[j, a]
                distances[j, a] = diagonal[j, a] * centered[j, a]
            place = 0
            for a in range(d):
                for b in range(a + 1, d):
                    distances[j, b] += low[j, place] * centered[j, a]
                    place += 1
            square = 0.0
            for a in range(d):
                square += distances[j, a] * distances[j, a]
            terms[j] = alpha[j] + sums[j] - 0.5 * square
        largest = terms[0]
        for j in range(k):
            largest = max(largest, terms[j])
        total = 0.0
        for j in range(k):
            terms[j] = math.exp(terms[j] - largest)
            total += terms[j]
        for j in range(k):
            weight = terms[j] / total
            alpha_bar[j] += weight
            place = 0
            for a in range(d):
                back[a] = diagonal[j, a] * distances[j, a]
                q_bar[j, a] += weight * (1.0 - back[a] * centered[j, a])
                scaled = weight * centered[j, a]
                for b in range(a + 1, d):
                    back[a] += low[j, place] * distances[j, b]
                    l_bar[j, place] -= scaled * distances[j, b]
                    place += 1
                mu_bar[j, a] += weight * back[a]
    largest = alpha[0]
    for j in range(k):
        largest = max(largest, alpha[j])
    total = 0.0
    for j in range(k):
        total += math.exp(alpha[j] - largest)
    for j in range(k):
        alpha_bar[j] -= n * math.exp(alpha[j] - largest) / total
        for a in range(d):
            q_bar[j, a] += m - gamma * gamma * diagonal[j, a] * diagonal[j, a]
        for a in range(low.shape[1]):
            l_bar[j, a] -= gamma * gamma * low[j, a]
    return alpha_bar, mu_bar, q_bar, l_bar


def by_hand(alpha, mu, q, low, x, gamma, m):
    n, d = x.shape
    diagonal = np.exp(q)
    whole = np.concatenate([diagonal, low, np.zeros((len(q), 1))], axis=1)[:, places(d)]
    centered = (x[:, None] - mu).transpose(1, 0, 2)
    distances = centered @ whole.transpose(0, 2, 1)
    terms = (alpha + q.sum(1))[:, None] - 0.5 * np.square(distances).sum(2)
    weights = np.exp(terms - terms.max(0))
    weights /= weights.sum(0)
    back = weights[:, :, None] * distances
    whole_bar = -back.transpose(0, 2, 1) @ centered
    columns, rows = np.triu_indices(d, 1)
    share = np.exp(alpha - alpha.max())
    alpha_bar = weights.sum(1) - n * share / share.sum()
    q_bar = weights.sum(1)[:, None] + np.diagonal(whole_bar, axis1=1, axis2=2) * diagonal + m - (gamma * diagonal) ** 2
    return alpha_bar, (back.sum(1)[:, None] @ whole)[:, 0], q_bar, whole_bar[:, rows, columns] - gamma**2 * low
