"""Placing short labels beside points so that none covers another label, a marker or an error bar."""

from collections.abc import Sequence

import numpy as np

# Directions are tried from the upper right; distances from near to far, in multiples of the label's height.
_ANGLES = np.deg2rad([45, 135, 315, 225, 90, 270, 0, 180, 22, 68, 112, 158, 202, 248, 292, 338])
_DISTANCES = (1.15, 1.6, 2.2, 3.0, 4.0, 5.2, 6.6)

Box = tuple[float, float, float, float]


def place(
    points: np.ndarray, sizes: Sequence[tuple[float, float]], obstacles: Sequence[Box], bounds: Box
) -> np.ndarray:
    """Centres of labels, one per point: near its point, clear of everything else, inside `bounds`.

    Greedy, the most crowded point first, the nearest free place for each; where all places are taken, the one
    that covers least. Deterministic.

    Args:
        points: (N, 2) positions, in any length unit.
        sizes: N widths and heights of the labels in that unit.
        obstacles: boxes (left, bottom, right, top) that labels should not cover: markers, error bars.
        bounds: the box that labels must lie in.

    Returns:
        (N, 2) centres of the labels.
    """
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    centres = np.zeros_like(points)
    taken = [np.asarray(box, dtype=float) for box in obstacles]
    for i in _crowded_first(points):
        width, height = sizes[i]
        candidates = _candidates(points[i], width, height, bounds)
        half = np.array([width / 2, height / 2])
        boxes = np.column_stack([candidates - half, candidates + half])
        cost = _overlap(boxes, np.array(taken)) if taken else np.zeros(len(boxes))
        best = int(np.argmin(cost))  # the first of equals: the nearest
        centres[i] = candidates[best]
        taken.append(boxes[best])
    return centres


def _crowded_first(points: np.ndarray) -> np.ndarray:
    """Order of points by the distance to their nearest neighbours, closest first."""
    if len(points) < 3:
        return np.arange(len(points))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = np.sort(distance, axis=1)[:, 1 : min(4, len(points))].mean(axis=1)
    return np.argsort(near, kind="stable")


def _candidates(point: np.ndarray, width: float, height: float, bounds: Box) -> np.ndarray:
    """Places to try around a point, near ones first, moved inside the bounds."""
    places = []
    for distance in _DISTANCES:
        reach = np.array([width / 2 + (distance - 0.5) * height, distance * height])
        for angle in _ANGLES:
            places.append(point + reach * (np.cos(angle), np.sin(angle)))
    half = np.array([width / 2, height / 2])
    return np.clip(places, np.array(bounds[:2]) + half, np.array(bounds[2:]) - half)


def _overlap(boxes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Area of each box that is covered, summed over what covers it."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)
