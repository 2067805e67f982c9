"""Digits as a hand draws them: strokes of points, in a square whose sides are 1."""

import math

Stroke = list[tuple[float, float]]


def arc(x: float, y: float, width: float, height: float, first: float, last: float) -> Stroke:
    """A part of an ellipse around a point, from an angle to another, in degrees; clockwise, since y grows downwards."""
    angles = [math.radians(first + (last - first) * step / 20) for step in range(21)]
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


DIGITS: list[list[Stroke]] = [
    [arc(0.5, 0.5, 0.22, 0.32, -90, 270)],
    [[(0.5, 0.18), (0.5, 0.82)]],
    [[*arc(0.5, 0.36, 0.2, 0.18, 190, 400), (0.29, 0.82), (0.72, 0.82)]],
    [arc(0.46, 0.34, 0.18, 0.16, 200, 450) + arc(0.46, 0.66, 0.2, 0.16, -90, 160)],
    [[(0.4, 0.18), (0.28, 0.54), (0.72, 0.54)], [(0.6, 0.22), (0.6, 0.82)]],
    [[(0.68, 0.18), (0.36, 0.18), (0.32, 0.46), *arc(0.48, 0.62, 0.2, 0.2, -140, 130)]],
    [[(0.6, 0.18), (0.42, 0.32), (0.34, 0.54), *arc(0.5, 0.62, 0.17, 0.18, 180, 540)]],
    [[(0.25, 0.22), (0.72, 0.22), (0.43, 0.82)]],
    [arc(0.5, 0.34, 0.16, 0.16, 90, 450) + arc(0.5, 0.66, 0.18, 0.16, -90, 270)],
    [[*arc(0.5, 0.37, 0.18, 0.18, 0, 360), (0.66, 0.57), (0.6, 0.82)]],
]
