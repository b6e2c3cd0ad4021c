"""GradBench's `kmeans`: a Newton step on Σᵢ minⱼ ‖cⱼ − pᵢ‖², whose Hessian is diagonal: gradient ÷ Hessian·1.

The program finds each point's centroid, and then has nothing to differentiate but the distance to that one.
"""

import numpy as np

NAME = "kmeans"
WHAT = "gradient ÷ diagonal of the Hessian"
SIZES = {
    "table": {"k": 100, "n": 10_000, "d": 8},
    "quick": {"k": 100, "n": 1000, "d": 8},
    "tiny": {"k": 3, "n": 20, "d": 2},
}


def inputs(seed, k, n, d):
    points = np.random.default_rng(seed).uniform(0, 1, (n, d))
    return points, points[-k:].copy()  # no cluster is empty


def function(points, centroids):
    nearest = np.argmin(np.sum(centroids**2, axis=1) - 2.0 * points @ centroids.T, axis=1)
    return np.sum((points - centroids[nearest]) ** 2)


def derivative(ad):
    def direction(points, centroids):
        gradient = ad.grad(lambda c: function(points, c))
        downhill, curvature = ad.jvp(gradient, (centroids,), (np.ones_like(centroids),))
        return downhill / curvature

    return direction


def by_loops(points, centroids):
    (n, d), k = points.shape, len(centroids)
    sums, counts = np.zeros((k, d)), np.zeros(k)
    for i in range(n):
        closest, nearest = np.inf, 0
        for j in range(k):
            distance = 0.0
            for a in range(d):
                distance += (points[i, a] - centroids[j, a]) ** 2
            if distance < closest:
                closest, nearest = distance, j
        counts[nearest] += 1.0
        for a in range(d):
            sums[nearest, a] += points[i, a]
    for j in range(k):
        for a in range(d):
            sums[j, a] = centroids[j, a] - sums[j, a] / counts[j]
    return sums


def by_hand(points, centroids):
    nearest = np.argmin(np.sum(centroids**2, axis=1) - 2.0 * points @ centroids.T, axis=1)
    sums = np.zeros_like(centroids)
    np.add.at(sums, nearest, points)
    return centroids - sums / np.bincount(nearest, minlength=len(centroids))[:, None]
