"""The data of an interactive map: points, and the ways to colour them.

Belongs here: packing points, ids, names and colourings for ``static/map.js`` of written reports and
``serve/static/map.js`` of live pages. Does not belong here: where points come from, and drawing
them, which is the browser's part.
"""

import base64
import colorsys
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

_MAX_CATEGORIES = 250
"""More are summed up as one: nobody tells so many colours apart, and the list gets too long."""
_OTHERS = "(others)"

# Paul Tol's "bright" and "muted" qualitative schemes, which people with colour-blindness can tell
# apart (https://personal.sron.nl/~pault, 2021), without their greys.
_DISTINCT = (
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"),
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#cc6677", "#882255"),
)
_NOTHING = "#9a9a9a"


@dataclass(frozen=True)
class Colouring:
    """One way to colour the points: by category, or by a number."""

    name: str
    values: Sequence[str] | npt.NDArray[np.floating]
    """For each point its category, or a number, which may be NaN."""
    order: Sequence[str] = ()
    """Categories in the order of the list; others follow, those of most points first."""
    nothing: frozenset[str] = frozenset()
    """Categories that stand for none, such as the remainder; they are grey."""
    key: str = ""
    """What it is called in addresses, whatever the language."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Of categories that are clusters, the cluster."""
    medoids: Mapping[str, int] = field(default_factory=dict)
    """And the point of its most typical image."""

    def of(self, rows: Sequence[int]) -> "Colouring":
        """The same of some of the points, in their order."""
        place = {row: number for number, row in enumerate(rows)}
        return replace(
            self,
            values=self.values[list(rows)]
            if isinstance(self.values, np.ndarray)
            else [self.values[row] for row in rows],
            medoids={name: place[row] for name, row in self.medoids.items() if row in place},
        )


def map_data(
    points: npt.NDArray[np.float32],
    image_ids: Sequence[str],
    names: Sequence[str],
    places: Sequence[str],
    colourings: Iterable[Colouring],
    others: str = _OTHERS,
) -> bytes:
    """A script that gives the browser a map's data.

    Args:
        points: (n, m) coordinates, of which the first two are drawn; with m = 1, on one line.
        image_ids: The n images, SHA-256 in hexadecimal.
        names: What they are called.
        places: The node that each of them is in.
        colourings: The ways to colour them; the first is what is shown at first.
        others: What the categories are called that are summed up.

    Returns:
        JavaScript in ASCII: about 150 bytes for each image.
    """
    data = packed_points(points, image_ids, names) | packed_colours(places, colourings, others)
    # ASCII: JSON's other line separators and halves of characters would end the script.
    return f"window.panopticMap = {json.dumps(data, ensure_ascii=True)};\n".encode("ascii")


def packed_points(
    points: npt.NDArray[np.float32], image_ids: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """What stays the same however a map is coloured, as a JSON document: x, y, ids, names.

    Arguments as of :func:`map_data`.
    """
    flat = np.zeros((len(points), 2), np.float32)
    flat[:, : min(2, points.shape[1])] = points[:, :2]
    return {
        "x": _packed(flat[:, 0], "<f4"),
        "y": _packed(flat[:, 1], "<f4"),
        "ids": base64.b64encode(bytes.fromhex("".join(image_ids))).decode(),
        "names": list(names),
    }


def packed_colours(
    places: Sequence[str], colourings: Iterable[Colouring], others: str = _OTHERS
) -> dict[str, Any]:
    """What changes when something is clustered or tagged: nodes, nodeOf, colourings.

    Arguments as of :func:`map_data`.
    """
    nodes, node_of = np.unique(np.array(places, dtype=object), return_inverse=True)
    return {
        "nodes": nodes.tolist(),
        "nodeOf": _packed(node_of, "<u4"),
        "colourings": [_described(colouring, others) for colouring in colourings],
    }


def _described(colouring: Colouring, others: str) -> dict[str, Any]:
    named = {"name": colouring.name, "key": colouring.key}
    if isinstance(colouring.values, np.ndarray):
        return {**named, "numbers": _packed(colouring.values, "<f4")}
    counts = Counter(colouring.values)
    known = [name for name in dict.fromkeys(colouring.order) if name in counts]
    rest = sorted(counts.keys() - set(known), key=lambda name: (-counts[name], name))
    order = [*known, *rest]
    labels = order[:_MAX_CATEGORIES]
    if len(order) > _MAX_CATEGORIES:
        labels = [*order[: _MAX_CATEGORIES - 1], others]
    number = {name: place for place, name in enumerate(labels)}
    codes = [number.get(name, len(labels) - 1) for name in colouring.values]
    nothing = colouring.nothing | {others}
    coloured = (colour(place) for place in range(len(labels)))
    found: dict[str, Any] = {
        **named,
        "labels": labels,
        "colours": [_NOTHING if name in nothing else next(coloured) for name in labels],
        "codes": _packed(np.array(codes, dtype=np.int64), "<u1"),
    }
    if colouring.nodes:
        found["nodes"] = [colouring.nodes.get(name) for name in labels]
        found["medoids"] = [colouring.medoids.get(name, -1) for name in labels]
    return found


def colour(number: int) -> str:
    """A colour for each number from 0 on; the first 13 are easy to tell apart."""
    if number < len(_DISTINCT):
        return _DISTINCT[number]
    # The golden angle puts each hue far from those before.
    hue = 137.508 * number % 360
    parts = colorsys.hls_to_rgb(hue / 360, 0.42 + 0.14 * (number % 3), 0.55 + 0.2 * (number % 2))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(kind)).tobytes()).decode()
