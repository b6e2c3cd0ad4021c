"""GradBench's `ht` (from ADBench): hand tracking, how far a posed hand is from measured points, and its Jacobian.

θ holds a global rotation (axis times angle), a translation, and four angles for each of five fingers. Bones form a
tree; each turns relative to its parent, and each vertex of the skin follows several of them by its weights. In the
simple form each point belongs to a vertex; in the complicated one it belongs to a triangle, at coordinates `us` that
are variables too. The Jacobian has a row per coordinate of a point; its columns are the two of the point's own u, if
any, and then the 26 of θ.
"""

import math

import numpy as np

NAME = "ht"
WHAT = "Jacobian"
STATIC = (2, 3)
SIZES = {
    "table": {"vertices": 544, "points": 1000, "complicated": False},
    "complicated": {"vertices": 544, "points": 1000, "complicated": True},
    "quick": {"vertices": 544, "points": 100, "complicated": True},
    "tiny": {"vertices": 12, "points": 5, "complicated": True},
}
LOOPS = ("product", "turn", "turn_all", "pose", "by_loops")
BONES = 22  # the wrist, four of each finger, the forearm


def inputs(seed, vertices, points, complicated):
    rng = np.random.default_rng(seed)
    parents = tuple([-1] + [0 if bone % 4 == 1 else bone - 1 for bone in range(1, BONES)])
    relatives = np.tile(np.eye(4), (BONES, 1, 1))
    relatives[:, :3, :3] = np.linalg.qr(rng.standard_normal((BONES, 3, 3)))[0]
    relatives[:, :3, 3] = rng.standard_normal((BONES, 3))
    absolutes = np.stack(chain(relatives, parents))
    weights = np.where(rng.uniform(0, 1, (vertices, BONES)) < 0.15, rng.uniform(0, 1, (vertices, BONES)), 0.0)
    weights[:, 0] += 1e-3
    weights /= weights.sum(1, keepdims=True)
    positions = np.concatenate([rng.standard_normal((vertices, 3)), np.ones((vertices, 1))], axis=1)
    triangles = rng.integers(0, vertices, (2 * vertices, 3))
    return (
        rng.uniform(-0.5, 0.5, 26),
        rng.uniform(0, 0.5, (points if complicated else 0, 2)),
        parents,
        False,
        relatives,
        np.linalg.inv(absolutes),
        positions,
        weights,
        triangles,
        rng.integers(0, len(triangles) if complicated else vertices, points),
        rng.standard_normal((points, 3)),
    )


ANGLES = np.full((BONES, 3), 26)  # which number of (θ, 0) turns a bone about x, z and y
for finger in range(5):  # its first joint bends in two ways, the others in one
    ANGLES[4 * finger + 2, :2] = 6 + 4 * finger, 7 + 4 * finger
    ANGLES[4 * finger + 3, 0] = 8 + 4 * finger
    ANGLES[4 * finger + 4, 0] = 9 + 4 * finger


def rotations(xzy):
    """R_z R_y R_x for each row of angles."""
    (cx, cz, cy), (sx, sz, sy) = np.cos(xzy).T, np.sin(xzy).T
    entries = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    ]  # fmt: skip
    return np.stack(entries, axis=1).reshape(-1, 3, 3)


def rotation(axis_angle):
    """Rodrigues' formula; the identity for less than 10⁻⁴."""
    square = np.sum(axis_angle**2)
    turned = square >= 1e-8
    angle = np.sqrt(np.where(turned, square, 1.0))
    x, y, z = axis_angle / angle
    c, s = np.cos(angle), np.sin(angle)
    entries = [
        x * x + (1 - x * x) * c, x * y * (1 - c) - z * s, x * z * (1 - c) + y * s,
        x * y * (1 - c) + z * s, y * y + (1 - y * y) * c, y * z * (1 - c) - x * s,
        x * z * (1 - c) - y * s, y * z * (1 - c) + x * s, z * z + (1 - z * z) * c,
    ]  # fmt: skip
    return np.where(turned, np.stack(entries).reshape(3, 3), np.eye(3))


def chain(relatives, parents):
    """From each bone's frame relative to its parent, its frame in the hand."""
    absolutes = []
    for bone, parent in enumerate(parents):
        absolutes.append(relatives[bone] if parent < 0 else absolutes[parent] @ relatives[bone])
    return absolutes


def skin(theta, parents, mirrored, relatives, inverse_absolutes, positions, weights):
    """Where the vertices are."""
    turned = relatives[:, :, :3] @ rotations(np.concatenate([theta, np.zeros(1)])[ANGLES])
    posed = np.concatenate([turned, relatives[:, :, 3:]], axis=2)
    transforms = np.stack(chain(posed, parents)) @ inverse_absolutes
    blended = (weights @ transforms[:, :3].reshape(BONES, 12)).reshape(-1, 3, 4)
    vertices = np.sum(blended * positions[:, np.newaxis], axis=2)
    if mirrored:
        vertices = vertices * np.asarray([-1.0, 1.0, 1.0])
    return vertices @ rotation(theta[:3]).T + theta[3:6]


def function(theta, us, parents, mirrored, *rest):
    *model, triangles, correspondences, points = rest
    vertices = skin(theta, parents, mirrored, *model)
    if len(us) == 0:
        return points - vertices[correspondences]
    a, b, c = (vertices[triangles[correspondences, k]] for k in range(3))
    u, v = us[:, :1], us[:, 1:]
    return points - (u * a + v * b + (1.0 - u - v) * c)


def derivative(ad):
    def jacobian(theta, us, *rest):
        columns = ad.jacfwd(lambda t: function(t, us, *rest))(theta)
        if len(us):
            one, zero = np.ones_like(us[:, 0]), np.zeros_like(us[:, 0])
            seeds = (np.stack([one, zero], axis=1), np.stack([zero, one], axis=1))
            own = [ad.jvp(lambda u: function(theta, u, *rest), (us,), (seed,))[1] for seed in seeds]
            columns = np.concatenate([np.stack(own, axis=2), columns], axis=2)
        return columns.reshape(-1, columns.shape[-1])

    return jacobian


def product(a, b, out):
    """out = a b, 4×4."""
    for i in range(4):
        for j in range(4):
            total = 0.0
            for k in range(4):
                total += a[i, k] * b[k, j]
            out[i, j] = total


def turn(x, z, turned):
    """R_z R_x and its derivatives in x and z."""
    cx, sx, cz, sz = math.cos(x), math.sin(x), math.cos(z), math.sin(z)
    turned[:] = 0.0
    turned[0, 0, 0], turned[0, 0, 1], turned[0, 0, 2] = cz, -sz * cx, sz * sx
    turned[0, 1, 0], turned[0, 1, 1], turned[0, 1, 2] = sz, cz * cx, -cz * sx
    turned[0, 2, 1], turned[0, 2, 2], turned[0, 3, 3] = sx, cx, 1.0
    turned[1, 0, 1], turned[1, 0, 2], turned[1, 1, 1], turned[1, 1, 2] = sz * sx, sz * cx, -cz * sx, -cz * cx
    turned[1, 2, 1], turned[1, 2, 2] = cx, -sx
    turned[2, 0, 0], turned[2, 0, 1], turned[2, 0, 2] = -sz, -cz * cx, cz * sx
    turned[2, 1, 0], turned[2, 1, 1], turned[2, 1, 2] = cz, -sz * cx, sz * sx


def turn_all(theta, rotated):
    """The global rotation, and its derivatives in the three numbers that give it."""
    rotated[:] = 0.0
    angle = math.sqrt(theta[0] ** 2 + theta[1] ** 2 + theta[2] ** 2)
    for i in range(3):
        rotated[0, i, i] = 1.0
    if angle < 1e-4:
        return
    c, s = math.cos(angle), math.sin(angle)
    axis, slide, crossed = theta[:3] / angle, np.empty(3), np.zeros((4, 3, 3))
    for k in range(-1, 3):  # the axis, and its three derivatives
        for i in range(3):
            slide[i] = axis[i] if k < 0 else ((1.0 if i == k else 0.0) - axis[i] * axis[k]) / angle
        matrix = crossed[k + 1]
        matrix[0, 1], matrix[0, 2], matrix[1, 2] = -slide[2], slide[1], -slide[0]
        matrix[1, 0], matrix[2, 0], matrix[2, 1] = slide[2], -slide[1], slide[0]
        for i in range(3):
            for j in range(3):
                same = 1.0 if i == j else 0.0
                if k < 0:
                    rotated[0, i, j] = c * same + s * matrix[i, j] + (1.0 - c) * axis[i] * axis[j]
                else:
                    swing = c * crossed[0, i, j] - s * same + s * axis[i] * axis[j]
                    bend = s * matrix[i, j] + (1.0 - c) * (slide[i] * axis[j] + axis[i] * slide[j])
                    rotated[k + 1, i, j] = axis[k] * swing + bend


def pose(theta, parents, relatives, inverses, transforms, moved):
    """Each bone's transform of the skin, and in moved[p, b] the derivative of bone b's in angle p; which are not 0."""
    joint, posed, absolutes = np.empty((BONES, 3, 4, 4)), np.empty((BONES, 4, 4)), np.empty((BONES, 4, 4))
    change, chained, depends = np.empty((4, 4)), np.empty((BONES, 4, 4)), np.zeros((20, BONES), np.bool_)
    for bone in range(BONES):
        finger, place = (bone - 1) // 4, (bone - 1) % 4
        first = 6 + 4 * finger
        x, z = 0.0, 0.0
        if 1 <= bone <= 20 and place > 0:
            x = theta[first + (0 if place == 1 else place)]
            z = theta[first + 1] if place == 1 else 0.0
        turn(x, z, joint[bone])
        product(relatives[bone], joint[bone, 0], posed[bone])
        if parents[bone] < 0:
            absolutes[bone] = posed[bone]
        else:
            product(absolutes[parents[bone]], posed[bone], absolutes[bone])
        product(absolutes[bone], inverses[bone], transforms[bone])
    for p in range(20):
        finger, place = p // 4, p % 4
        moving = 4 * finger + (2 if place < 2 else place + 1)
        for bone in range(moving, BONES):
            if bone == moving:
                product(relatives[bone], joint[bone, 2 if place == 1 else 1], change)
                if parents[bone] < 0:
                    chained[bone] = change
                else:
                    product(absolutes[parents[bone]], change, chained[bone])
            elif parents[bone] >= 0 and depends[p, parents[bone]]:
                product(chained[parents[bone]], posed[bone], chained[bone])
            else:
                continue
            depends[p, bone] = True
            product(chained[bone], inverses[bone], moved[p, bone])
    return depends


def by_loops(theta, us, parents, mirrored, relatives, inverses, positions, weights, triangles, correspondences, points):
    vertices, count, extra = len(positions), len(points), 2 if len(us) else 0
    transforms, moved = np.empty((BONES, 4, 4)), np.empty((20, BONES, 4, 4))
    depends = pose(theta, parents, relatives, inverses, transforms, moved)
    skin = np.zeros((vertices, 21, 3))  # each vertex in the hand's frame, and its derivatives in the fingers' angles
    for vertex in range(vertices):
        for bone in range(BONES):
            weight = weights[vertex, bone]
            if weight == 0.0:
                continue
            for p in range(21):
                if p > 0 and not depends[p - 1, bone]:
                    continue
                matrix = transforms[bone] if p == 0 else moved[p - 1, bone]
                for i in range(3):
                    total = 0.0
                    for j in range(4):
                        total += matrix[i, j] * positions[vertex, j]
                    skin[vertex, p, i] += weight * total
        if mirrored:
            for p in range(21):
                skin[vertex, p, 0] = -skin[vertex, p, 0]
    rotated, here, sides = np.empty((4, 3, 3)), np.empty((21, 3)), np.empty((2, 3))
    turn_all(theta, rotated)
    jacobian = np.zeros((3 * count, 26 + extra))
    for k in range(count):
        if extra:
            a, b, c = triangles[correspondences[k]]
            u, v = us[k]
            for p in range(21):
                for i in range(3):
                    here[p, i] = u * skin[a, p, i] + v * skin[b, p, i] + (1.0 - u - v) * skin[c, p, i]
            for i in range(3):
                sides[0, i], sides[1, i] = skin[a, 0, i] - skin[c, 0, i], skin[b, 0, i] - skin[c, 0, i]
        else:
            here[:] = skin[correspondences[k]]
        for i in range(3):
            row = jacobian[3 * k + i]
            for j in range(3):
                for side in range(extra):
                    row[side] -= rotated[0, i, j] * sides[side, j]
                for axis in range(3):
                    row[extra + axis] -= rotated[1 + axis, i, j] * here[0, j]
                for p in range(20):
                    row[extra + 6 + p] -= rotated[0, i, j] * here[1 + p, j]
            row[extra + 3 + i] = -1.0
    return jacobian
