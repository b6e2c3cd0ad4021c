"""GradBench's `ba` (from ADBench): bundle adjustment of n cameras, m points and p observations; a sparse Jacobian.

A camera is [rotation (3, axis times angle), centre (3), focal length, principal point (2), radial distortion (2)]. Of
an observation the errors are w (projection − feature), two numbers, and 1 − w². Each depends on one camera, one point
and one weight: after the gathering, two pullbacks give all rows. The result lists the non-zeros by rows: 2 × (11 of
the camera, 3 of the point, 1 of the weight) per observation, and then ∂(1 − w²)/∂w of each.
"""

import math

import numpy as np

NAME = "ba"
WHAT = "sparse Jacobian"
SIZES = {
    "table": {"n": 49, "m": 7776, "p": 31843},
    "quick": {"n": 9, "m": 200, "p": 1000},
    "tiny": {"n": 2, "m": 3, "p": 5},
}


def inputs(seed, n, m, p):
    rng = np.random.default_rng(seed)
    cameras = np.concatenate(
        [
            rng.uniform(-0.5, 0.5, (n, 3)),
            rng.uniform(-1, 1, (n, 3)),
            rng.uniform(0.5, 2, (n, 1)),
            rng.uniform(-0.1, 0.1, (n, 4)),
        ],
        axis=1,
    )
    points = rng.uniform(-1, 1, (m, 3))
    points[:, 2] += 5.0
    observations = np.stack([np.arange(p) % n, np.arange(p) % m], axis=1)
    return cameras, points, rng.uniform(0.5, 1.5, p), observations, rng.uniform(-1, 1, (p, 2))


def cross(a, b):
    """a × b, of three components each."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def rotate(rotation, point):
    """Rodrigues' formula, and its limit where the angle is 0; three components each."""
    square = rotation[0] ** 2 + rotation[1] ** 2 + rotation[2] ** 2
    turned = square > 0
    angle = np.sqrt(np.where(turned, square, 1.0))
    axis = [r / angle for r in rotation]
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (axis[0] * point[0] + axis[1] * point[1] + axis[2] * point[2]) * (1.0 - cosine)
    around, little = cross(axis, point), cross(rotation, point)
    return [
        np.where(turned, p * cosine + a * sine + u * along, p + b)
        for p, a, u, b in zip(point, around, axis, little, strict=True)
    ]


def project(cameras, points):
    """Where points appear in their cameras' images: arrays (p, 11) and (p, 3) give two arrays (p,)."""
    x, y, z = rotate([cameras[:, k] for k in range(3)], [points[:, k] - cameras[:, 3 + k] for k in range(3)])
    u, v = x / z, y / z
    square = u**2 + v**2
    distortion = (1.0 + cameras[:, 9] * square + cameras[:, 10] * square**2) * cameras[:, 6]
    return u * distortion + cameras[:, 7], v * distortion + cameras[:, 8]


def errors(cameras, points, weights, features):
    """The reprojection errors, one column per observation, from arrays that hold one row per observation."""
    u, v = project(cameras, points)
    return np.stack([weights * (u - features[:, 0]), weights * (v - features[:, 1])])


def function(cameras, points, weights, observations, features):
    """Both kinds of errors: (2, p) and (p,)."""
    seen = errors(cameras[observations[:, 0]], points[observations[:, 1]], weights, features)
    return seen, 1.0 - weights**2


def derivative(ad):
    def jacobian(cameras, points, weights, observations, features):
        mine, theirs = cameras[observations[:, 0]], points[observations[:, 1]]
        _, pullback = ad.vjp(lambda c, x, w: errors(c, x, w, features), mine, theirs, weights)
        one, zero = np.ones_like(weights), np.zeros_like(weights)
        rows = []
        for ct in (np.stack([one, zero]), np.stack([zero, one])):
            c, x, w = pullback(ct)
            rows.append(np.concatenate([c, x, w[:, np.newaxis]], axis=1))
        return np.concatenate([np.stack(rows, axis=1).reshape(-1), -2.0 * weights])

    return jacobian


def pattern(n, m, p, observations):
    """Columns and row starts of the sparse matrix whose values `derivative` gives."""
    camera, point = observations[:, :1] * 11 + np.arange(11), 11 * n + observations[:, 1:] * 3 + np.arange(3)
    weight = (11 * n + 3 * m + np.arange(p))[:, None]
    columns = np.repeat(np.concatenate([camera, point, weight], axis=1)[:, None], 2, axis=1)
    starts = np.concatenate([np.arange(2 * p) * 15, 30 * p + np.arange(p + 1)])
    return np.concatenate([columns.reshape(-1), weight[:, 0]]), starts


def by_loops(cameras, points, weights, observations, features):
    p = len(weights)
    values = np.empty(31 * p)
    axis, turned, turns, offset = np.zeros(3), np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for i in range(p):
        camera, point, w = cameras[observations[i, 0]], points[observations[i, 1]], weights[i]
        square = 0.0
        for k in range(3):
            offset[k] = point[k] - camera[3 + k]
            square += camera[k] * camera[k]
        # turned = R, the derivative of the point in the camera's frame in `offset`; turns[:, k] that in rotation k
        if square > 0.0:
            angle = math.sqrt(square)
            c, s = math.cos(angle), math.sin(angle)
            for k in range(3):
                axis[k] = camera[k] / angle
            a0, a1, a2 = axis[0], axis[1], axis[2]
            x0 = a1 * offset[2] - a2 * offset[1]
            x1 = a2 * offset[0] - a0 * offset[2]
            x2 = a0 * offset[1] - a1 * offset[0]
            dot = a0 * offset[0] + a1 * offset[1] + a2 * offset[2]
            for k in range(3):
                d0, d1, d2 = -a0 * axis[k] / angle, -a1 * axis[k] / angle, -a2 * axis[k] / angle
                if k == 0:
                    d0 += 1.0 / angle
                elif k == 1:
                    d1 += 1.0 / angle
                else:
                    d2 += 1.0 / angle
                slide = (d0 * offset[0] + d1 * offset[1] + d2 * offset[2]) * (1.0 - c) + dot * s * axis[k]
                stay = dot * (1.0 - c)
                turns[0, k] = -s * axis[k] * offset[0] + s * (d1 * offset[2] - d2 * offset[1]) + c * axis[k] * x0
                turns[1, k] = -s * axis[k] * offset[1] + s * (d2 * offset[0] - d0 * offset[2]) + c * axis[k] * x1
                turns[2, k] = -s * axis[k] * offset[2] + s * (d0 * offset[1] - d1 * offset[0]) + c * axis[k] * x2
                turns[0, k] += a0 * slide + d0 * stay
                turns[1, k] += a1 * slide + d1 * stay
                turns[2, k] += a2 * slide + d2 * stay
            e = 1.0 - c
            turned[0, 0], turned[1, 1], turned[2, 2] = c + a0 * a0 * e, c + a1 * a1 * e, c + a2 * a2 * e
            turned[0, 1], turned[0, 2], turned[1, 2] = a0 * a1 * e - a2 * s, a0 * a2 * e + a1 * s, a1 * a2 * e - a0 * s
            turned[1, 0], turned[2, 0], turned[2, 1] = a0 * a1 * e + a2 * s, a0 * a2 * e - a1 * s, a1 * a2 * e + a0 * s
        else:
            turned[0, 0], turned[1, 1], turned[2, 2] = 1.0, 1.0, 1.0
            turned[0, 1], turned[0, 2], turned[1, 2] = -camera[2], camera[1], -camera[0]
            turned[1, 0], turned[2, 0], turned[2, 1] = camera[2], -camera[1], camera[0]
            turns[0, 0], turns[1, 1], turns[2, 2] = 0.0, 0.0, 0.0
            turns[0, 1], turns[0, 2], turns[1, 2] = offset[2], -offset[1], offset[0]
            turns[1, 0], turns[2, 0], turns[2, 1] = -offset[2], offset[1], -offset[0]
        x = turned[0, 0] * offset[0] + turned[0, 1] * offset[1] + turned[0, 2] * offset[2]
        y = turned[1, 0] * offset[0] + turned[1, 1] * offset[1] + turned[1, 2] * offset[2]
        z = turned[2, 0] * offset[0] + turned[2, 1] * offset[1] + turned[2, 2] * offset[2]
        u, v = x / z, y / z
        radius = u * u + v * v
        focal, k1, k2 = camera[6], camera[9], camera[10]
        distortion, slope = 1.0 + k1 * radius + k2 * radius * radius, 2.0 * (k1 + 2.0 * k2 * radius)
        for row in range(2):
            here = u if row == 0 else v
            by_u = w * focal * (here * slope * u + (distortion if row == 0 else 0.0))
            by_v = w * focal * (here * slope * v + (distortion if row == 1 else 0.0))
            by_x, by_y, by_z = by_u / z, by_v / z, -(by_u * u + by_v * v) / z
            out = values[30 * i + 15 * row : 30 * i + 15 * row + 15]
            for k in range(3):
                out[k] = by_x * turns[0, k] + by_y * turns[1, k] + by_z * turns[2, k]
                out[11 + k] = by_x * turned[0, k] + by_y * turned[1, k] + by_z * turned[2, k]
                out[3 + k] = -out[11 + k]
            out[6] = w * here * distortion
            out[7] = w if row == 0 else 0.0
            out[8] = w if row == 1 else 0.0
            out[9] = w * focal * here * radius
            out[10] = w * focal * here * radius * radius
            out[14] = here * distortion * focal + camera[7 + row] - features[i, row]
        values[30 * p + i] = -2.0 * w
    return values
