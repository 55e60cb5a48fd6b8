"""What each point operator means, as slow loops over numpy arrays.

Written from mmcv's CUDA kernels, one line of thought at a time; nothing here
shares code with what it checks.
"""

from math import cos, sin

import numpy as np

F = np.float32


def square(p, q):
    dx, dy, dz = (F(a) - F(b) for a, b in zip(p, q))
    return dx * dx + dy * dy + dz * dz


def furthest(distance, count, wanted):
    """Indices; `distance(i, j)` squared; the first point is 0."""
    nearest = np.full(count, 1e10, F)
    chosen = [0][:wanted]
    while len(chosen) < wanted:
        for k in range(count):
            nearest[k] = min(distance(chosen[-1], k), nearest[k])
        chosen.append(largest(nearest))
    return chosen


def largest(values):
    """An index; which of equals, a block of CUDA threads decides."""
    threads = 1
    while threads * 2 <= min(len(values), 1024):
        threads *= 2
    best = [
        max(range(thread, len(values), threads), key=lambda k: values[k])
        for thread in range(threads)
    ]
    while len(best) > 1:
        half = len(best) // 2
        pairs = zip(best[:half], best[half:])
        best = [b if values[b] > values[a] else a for a, b in pairs]
    return best[0]


def ball(points, centre, radii, wanted):
    """The indices, or none at all where no point is near."""
    low, high = (F(r) * F(r) for r in radii)
    near = []
    for k, point in enumerate(points):
        distance = square(centre, point)
        if distance == 0 or low <= distance < high:
            near.append(k)
    near = near[:wanted]
    return near + near[:1] * (wanted - len(near))


def sift(heap):
    """The root of a list of (distance, index) moves down to its place."""
    root = 0
    while 2 * root + 1 < len(heap):
        child = 2 * root + 1
        if child + 1 < len(heap) and heap[child + 1][0] > heap[child][0]:
            child += 1
        if heap[root][0] > heap[child][0]:
            break
        heap[root], heap[child] = heap[child], heap[root]
        root = child
    return heap


def nearest(points, centre, wanted):
    """k indices from a heap whose root is the furthest so far."""
    heap = [(F(1e10), 0)] * wanted
    for k, point in enumerate(points):
        distance = square(centre, point)
        if distance < heap[0][0]:
            heap = sift([(distance, k), *heap[1:]])
    found = []
    while heap:
        found.insert(0, heap[0][1])
        heap = sift([heap[-1], *heap[1:-1]]) if len(heap) > 1 else []
    return found


def three(points, centre):
    """Distances and indices, equals in the order of the index."""
    ranked = sorted((square(centre, p), k) for k, p in enumerate(points))[:3]
    ranked += [(F(np.inf), 0)] * (3 - len(ranked))
    return [np.sqrt(d) for d, _ in ranked], [k for _, k in ranked]


def voxels(features, coordinates, reduction):
    """Sorted (coordinates, features) of the voxels that hold points."""
    held = {}
    for feature, coordinate in zip(features, coordinates):
        if min(coordinate) >= 0:
            held.setdefault(tuple(coordinate), []).append(feature)
    reduce = dict(sum=np.sum, mean=np.mean, max=np.max)[reduction]
    return [(key, reduce(held[key], axis=0)) for key in sorted(held)]


def local(point, box):
    """A point in the axes of a box, from the middle of its floor."""
    x, y, z = np.subtract(point, box[:3], dtype=np.float64)
    turn = -box[6]
    return (
        x * cos(turn) - y * sin(turn),
        x * sin(turn) + y * cos(turn),
        z,
    )


def is_in_box(point, box):
    x, y, z = local(point, box)
    return abs(x) < box[3] / 2 and abs(y) < box[4] / 2 and 0 <= z <= box[5]


def corners(box):
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [
        (
            box[0]
            + i * box[3] / 2 * cos(box[6])
            - j * box[4] / 2 * sin(box[6]),
            box[1]
            + i * box[3] / 2 * sin(box[6])
            + j * box[4] / 2 * cos(box[6]),
        )
        for i, j in signs
    ]


def area(polygon):
    pairs = zip(polygon, polygon[1:] + polygon[:1])
    return abs(sum(p[0] * q[1] - p[1] * q[0] for p, q in pairs)) / 2


def clipped(polygon, p, q):
    """What of a polygon lies left of the line from p to q."""

    def side(r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    out = []
    for r, s in zip(polygon, polygon[1:] + polygon[:1]):
        if side(r) >= 0:
            out.append(r)
        if side(r) * side(s) < 0:
            t = side(r) / (side(r) - side(s))
            out.append(tuple(a + t * (b - a) for a, b in zip(r, s)))
    return out


def iou(a, b, is_turned=True):
    """Seen from above, without mmcv's margin."""
    if not is_turned:
        a, b = [*a[:6], 0], [*b[:6], 0]
    polygon, other = corners(a), corners(b)
    for p, q in zip(other, other[1:] + other[:1]):
        polygon = clipped(polygon, p, q)
    shared = area(polygon)
    return shared / (a[3] * a[4] + b[3] * b[4] - shared)


def kept(boxes, scores, threshold, is_turned):
    order = sorted(range(len(boxes)), key=lambda k: -scores[k])
    keep = []
    for k in order:
        others = (iou(boxes[j], boxes[k], is_turned) for j in keep)
        if all(overlap <= threshold for overlap in others):
            keep.append(k)
    return keep


def voxel_members(points, box, sizes, capacity):
    """Lists of indices by voxel, at most `capacity` long."""
    members = {}
    for k, point in enumerate(points):
        if is_in_box(point, box):
            x, y, z = local(point, box)
            place = (x + box[3] / 2, y + box[4] / 2, z)
            voxel = tuple(
                min(int(a / (b / n)), n - 1)
                for a, b, n in zip(place, box[3:6], sizes)
            )
            held = members.setdefault(voxel, [])
            if len(held) < capacity:
                held.append(k)
    return members


def assigned(scores, points, centres, neighbours):
    """(O, n, K) of one cloud."""
    out = np.zeros((points.shape[2], *neighbours.shape))
    for n, near in enumerate(neighbours):
        for k, index in enumerate(near):
            if 0 <= index < len(points):
                distances = points[index] - centres[near[0]]
                out[:, n, k] = (scores[n, k][:, None] * distances).sum(0)
    return out
