"""Scatter pictures: the points of a projection as one small map.

Belongs here: drawing points. Does not belong here: computing them, colours of clusters.
"""

import base64
import io

import numpy as np
import numpy.typing as npt

_MAX_BYTES = 18_000
"""In base64 24 kB, of 50 kB for all metadata of a materialization."""
_SIDES = (420, 320, 240, 160)
_MARGIN = 8
_FEW = 1000
_LEVELS = 4
"""Greys: more points on a pixel are darker; the fourth point and more are black."""


def scatter(points: npt.NDArray[np.float32], max_bytes: int = _MAX_BYTES) -> str:
    """Points as a Markdown image whose PNG data is inside the text.

    Args:
        points: (n, m) coordinates; the first two are drawn, on one scale, y upwards. With m = 1
            all points are on one line.
        max_bytes: Budget of the picture, in bytes before base64.

    Returns:
        Markdown; ``(none)`` without points, ``(too many to show)`` when even the smallest picture
        is over the budget.
    """
    if not len(points):
        return "(none)"
    flat = np.zeros((len(points), 2))
    flat[:, : min(2, points.shape[1])] = points[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    extent = float((high - low).max()) or 1.0
    placed = (flat - (low + high) / 2) / extent + 0.5
    for side in _SIDES:
        data = _encoded(placed, side)
        if len(data) <= max_bytes:
            return f"![map of the points](data:image/png;base64,{base64.b64encode(data).decode()})"
    return "(too many to show)"


def _encoded(placed: npt.NDArray[np.float64], side: int) -> bytes:
    from PIL import Image

    pixels = np.rint(_MARGIN + placed * (side - 2 * _MARGIN - 1)).astype(np.int64)
    # A point is a square: one pixel is hard to see, and few points want larger ones.
    size = 4 if len(placed) < _FEW else 2
    counts = np.zeros((side, side), np.int64)
    for right in range(size):
        for down in range(size):
            np.add.at(counts, (side - 2 - pixels[:, 1] + down, pixels[:, 0] + right), 1)
    picture = Image.fromarray(np.minimum(counts, _LEVELS).astype(np.uint8), "L").convert("P")
    shades = [255 - 255 * min(level + 1, _LEVELS) // _LEVELS for level in range(1, _LEVELS + 1)]
    picture.putpalette([value for shade in (255, *shades) for value in (shade,) * 3])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True, bits=4)
    return buffer.getvalue()
