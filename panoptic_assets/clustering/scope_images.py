"""The images of a scope one by one: in an order, and with what is shown of each.

Belongs here: reading a scope that was written as plain data, and the rows of its images. Does not
belong here: which images a scope takes (``clustering.selection``).
"""

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa

from panoptic_assets.clustering.config import ClusteringConfig, Scope
from panoptic_assets.clustering.scopes import FoundByText, InNode, SimilarTo
from panoptic_assets.clustering.selection import Selection
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import present_files
from panoptic_assets.spec.keys import parse_node
from panoptic_assets.spec.resolution import Document, parse
from resources.errors import InputError
from resources.lance import LanceStore
from resources.schemas import SCHEMAS

Order = Literal["path", "added", "nearest", "size"]
"""By path; the newest first; the most similar, or nearest to a cluster's mean, first; the largest
first."""

IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        *((name, SCHEMAS["images"].field(name).type) for name in ("width", "height", "added_at")),
        ("similarity", pa.float64()),
        ("distance", pa.float64()),
    ]
)


def parse_scope(document: Document | None) -> Scope:
    """A scope as a configuration has it, such as ``{"node": {"node": "greek/3"}}``.

    Args:
        document: The scope; None or empty for the corpus.

    Raises:
        InputError: It is none.
    """
    return parse(ClusteringConfig, {"scope": document} if document else {}).scope


def image_rows(
    store: LanceStore, scope: Scope, selection: Selection, order: Order | None = None
) -> pa.Table:
    """The images of a scope, each with what is shown of it.

    Args:
        store: The store.
        scope: The scope.
        selection: The images that it takes.
        order: Their order; by default that of a search for one, else by path.

    Returns:
        Columns: image_id, path (of the first file), width and height (pixels as displayed),
        added_at, similarity (cosine, of a search; else null) and distance (cosine distance to the
        cluster's mean, of a node; else null).

    Raises:
        InputError: The order is ``nearest``, and the scope is neither a search nor a node.
    """
    distances = _distances(store, scope)
    similarities = selection.similarities
    if order == "nearest" and not isinstance(scope, FoundByText | SimilarTo | InNode):
        raise InputError(
            "Only images of a search or of a cluster have an order `nearest`: take `path`, "
            "`added` or `size`.",
            id="order-needs-distances",
        )
    order = order or ("nearest" if similarities else "path")
    files = present_files(store)
    known = _known(store)
    found = [
        {
            "image_id": image_id,
            "path": files[image_id][0],
            **known[image_id],
            "similarity": similarities.get(image_id),
            "distance": distances.get(image_id),
        }
        for image_id in selection.image_ids
        if image_id in files and image_id in known
    ]
    found.sort(key=lambda row: (row["path"], row["image_id"]))
    if order == "added":
        found.sort(key=lambda row: row["added_at"], reverse=True)
    elif order == "size":
        found.sort(key=lambda row: row["width"] * row["height"], reverse=True)
    elif order == "nearest":
        found.sort(key=lambda row: _nearness(row["similarity"], row["distance"]))
    return pa.Table.from_pylist(found, IMAGES)


def _nearness(similarity: float | None, distance: float | None) -> float:
    if similarity is not None:
        return -similarity
    return float("inf") if distance is None else distance


def _distances(store: LanceStore, scope: Scope) -> Mapping[str, float | None]:
    """Of the images of a node, to its mean."""
    if not isinstance(scope, InNode):
        return {}
    node = parse_node(scope.node)
    assigned = Clusterings(store, node.run_key).assignments(node.clustering)
    columns = (assigned[name].to_pylist() for name in ("image_id", "cluster", "distance"))
    return {
        image_id: distance
        for image_id, cluster, distance in zip(*columns, strict=True)
        if cluster == node.cluster
    }


def _known(store: LanceStore) -> dict[str, dict[str, Any]]:
    names = ["width", "height", "added_at"]
    read = store.read("images", ["image_id", *names])
    columns = (read[name].to_pylist() for name in read.column_names)
    return {
        values[0]: dict(zip(names, values[1:], strict=True))
        for values in zip(*columns, strict=True)
    }
