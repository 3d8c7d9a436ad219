#!/usr/bin/env python3
"""Writes the example models as ASCII STL (Printernizer's own, Apache-2.0 like the rest).

Each part is a strip: a path in the X/Y plane, made `thickness` wide and raised to `height`. Such a body is closed by
construction and prints without supports. Only the Python standard library is used. All numbers are millimeters.
"""

import math
import pathlib


def arc(center_x, center_y, radius, from_degrees, to_degrees, steps):
    """Points of a circular arc, both ends included."""
    return [
        (
            center_x + radius * math.cos(math.radians(from_degrees + (to_degrees - from_degrees) * step / steps)),
            center_y + radius * math.sin(math.radians(from_degrees + (to_degrees - from_degrees) * step / steps)),
        )
        for step in range(steps + 1)
    ]


def unit(a, b):
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    return ((b[0] - a[0]) / length, (b[1] - a[1]) / length)


def sides(path, thickness):
    """The left and right edge of the strip; corners are mitered."""
    left, right = [], []
    for index, point in enumerate(path):
        before = unit(path[max(index - 1, 0)], path[max(index, 1)])
        after = unit(path[min(index, len(path) - 2)], path[min(index + 1, len(path) - 1)])
        normal_x, normal_y = -before[1] - after[1], before[0] + after[0]
        length = math.hypot(normal_x, normal_y)
        normal_x, normal_y = normal_x / length, normal_y / length
        reach = thickness / 2 / (normal_x * -after[1] + normal_y * after[0])
        left.append((point[0] + normal_x * reach, point[1] + normal_y * reach))
        right.append((point[0] - normal_x * reach, point[1] - normal_y * reach))
    return left, right


def strip(path, thickness, height):
    """Triangles of the closed body."""
    left, right = sides(path, thickness)
    low = lambda p: (p[0], p[1], 0.0)
    high = lambda p: (p[0], p[1], height)
    triangles = []

    def quad(a, b, c, d):
        triangles.extend([(a, b, c), (a, c, d)])

    for i in range(len(path) - 1):
        quad(high(right[i]), high(right[i + 1]), high(left[i + 1]), high(left[i]))
        quad(low(right[i]), low(left[i]), low(left[i + 1]), low(right[i + 1]))
        quad(low(right[i]), low(right[i + 1]), high(right[i + 1]), high(right[i]))
        quad(low(left[i + 1]), low(left[i]), high(left[i]), high(left[i + 1]))
    quad(low(left[0]), low(right[0]), high(right[0]), high(left[0]))
    quad(low(right[-1]), low(left[-1]), high(left[-1]), high(right[-1]))
    return triangles


def write(name, triangles):
    lines = [f"solid {name}"]
    for a, b, c in triangles:
        u = [b[i] - a[i] for i in range(3)]
        v = [c[i] - a[i] for i in range(3)]
        n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
        length = math.sqrt(sum(x * x for x in n))
        lines.append("facet normal {:.5f} {:.5f} {:.5f}\nouter loop".format(*(x / length for x in n)))
        lines.extend("vertex {:.4f} {:.4f} {:.4f}".format(*p) for p in (a, b, c))
        lines.append("endloop\nendfacet")
    lines.append(f"endsolid {name}")
    path = pathlib.Path(__file__).with_name(name + ".stl")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(path.name, len(triangles), "triangles")


# Holds an 8 mm cable; the mouth points up (+Y) and its lips flare out so that the cable slides in.
CABLE_CLIP = [(4.6, 7.4)] + arc(0, 0, 5.2, 52, -232, 16) + [(-4.6, 7.4)]
# Hangs over a shelf's edge; the lower, smaller bow takes a tool or a roll of tape.
SHELF_HOOK = arc(12, 55, 12, 0, 180, 10) + arc(-9, 0, 9, 0, -180, 10)
# A small easel: stands on its long foot, a paper label leans on its back.
LABEL_STAND = [(0, 0), (62, 0)] + arc(62, 3, 3, -90, 90, 6)[1:] + [(14, 6), (3, 46)]

if __name__ == "__main__":
    write("cable-clip", strip(CABLE_CLIP, 1.8, 14.0))
    write("shelf-hook", strip(SHELF_HOOK, 2.6, 12.0))
    write("label-stand", strip(LABEL_STAND, 1.8, 34.0))
