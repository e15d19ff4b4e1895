"""Which points of a map lie in a region that a person drew.

Belongs here: the geometry. Does not belong here: where points come from (``features.table``), and
what a region is as a scope (``clustering.scopes``).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def on_map(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Where points are drawn: their first two coordinates; those of one, on a line.

    Args:
        points: (n, m) coordinates.

    Returns:
        (n, 2).
    """
    flat = np.zeros((len(points), 2), np.float64)
    flat[:, : min(2, points.shape[1])] = points[:, :2]
    return flat


def inside(
    places: npt.NDArray[np.float64], polygon: Sequence[Sequence[float]]
) -> npt.NDArray[np.bool_]:
    """Whether points lie in a polygon, by the even-odd rule.

    A line that crosses itself so leaves holes, as browsers draw it (``evenodd``). A point on the
    border is inside on the left and below, and outside on the right and above: of two regions that
    share a border, it lies in one.

    Args:
        places: (n, 2).
        polygon: Three corners or more; the last is joined to the first.

    Returns:
        (n,).
    """
    corners = np.asarray(polygon, np.float64)
    found = np.zeros(len(places), np.bool_)
    # 500 corners around a few of a million points: most lie in no reach of any line.
    near = ((places >= corners.min(axis=0)) & (places <= corners.max(axis=0))).all(axis=1)
    x, y = places[near].T
    within = np.zeros(len(x), np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        between = (y1 <= y) != (y2 <= y)
        share = (y[between] - y1) / (y2 - y1)
        within[between] ^= x[between] < x1 * (1 - share) + x2 * share
    found[near] = within
    return found
