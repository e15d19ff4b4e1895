"""Columns of what is known of images, from which tables for other programs are put together.

Belongs here: sizes, clusters, tags, the inventory and points, each as columns that give the values
of any images. Does not belong here: the form of a file (``tags.exchange.image_parquet``,
``tags.exchange.catalogue_csv``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.properties import VALUE_COLUMNS, read_properties, stored_dates
from panoptic_assets.features.table import ReadVectors
from panoptic_assets.labels.table import names_of_clusters, read_labels
from panoptic_assets.spec.tag_log import TagTables, paths
from resources.lance import LanceStore

TAGS = "tags: "
"""How the name of a column of tags begins; the property follows."""
INVENTORY = "inventory: "
"""How the name of a column of the inventory begins; its property follows."""
EDTF = "inventory EDTF: "
"""The same of the EDTF of its dates."""

_AXES = ("x", "y", "z")
_TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class ImageColumns:
    """Some columns of the images that have a value in them."""

    image_ids: pa.Array
    """Each image once, in any order."""
    fields: tuple[pa.Field, ...]
    arrays: tuple[pa.Array, ...]
    """One for each field, in the order of the ids."""

    def of(self, image_ids: pa.Array) -> list[pa.Array]:
        """The values of some images, null where one has none."""
        rows = pc.index_in(image_ids, value_set=self.image_ids)
        return [array.take(rows) for array in self.arrays]


def _field(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": meaning})


def sizes(store: LanceStore) -> ImageColumns:
    """Format, width and height."""
    rows = store.read("images", ["image_id", "format", "width", "height"])
    meanings = {
        "format": "As the decoder names it, such as JPEG.",
        "width": "Pixels, as displayed.",
        "height": "The same.",
    }
    return ImageColumns(
        rows["image_id"].combine_chunks(),
        tuple(_field(name, rows[name].type, meaning) for name, meaning in meanings.items()),
        tuple(rows[name].combine_chunks() for name in meanings),
    )


def clusters(store: LanceStore, clusterings: Clusterings, run_key: str) -> ImageColumns:
    """Where a run has its images: the deepest node, its parts and name, and the nodes above it.

    Args:
        store: The store.
        clusterings: Those of the run.
        run_key: The run.

    Raises:
        InputError: There is no such run.
    """
    clusterings.get(run_key)
    places = clusterings.places(run_key)
    names = names_of_clusters(clusterings, run_key, read_labels(store, clusterings, run_key))
    nodes = list(places.values())
    columns = {
        "node": (f"The deepest node of the run {run_key} that holds the image.", nodes),
        "cluster": (
            "Which cluster that is, in the clustering that it is of; `remainder`: none took it.",
            [node.rpartition("/")[2] for node in nodes],
        ),
        "label": ("What that cluster is called.", [names.get(node) for node in nodes]),
    }
    deepest = max((node.count("/") for node in nodes), default=0)
    parts = {node: node.split("/") for node in set(nodes)}
    for level in range(1, deepest + 1) if deepest > 1 else ():
        columns[f"level_{level}"] = (
            f"The node at depth {level}; null where the image lies higher.",
            ["/".join(parts[n][: level + 1]) if len(parts[n]) > level else None for n in nodes],
        )
    return ImageColumns(
        pa.array(list(places), pa.string()),
        tuple(_field(name, pa.string(), meaning) for name, (meaning, _) in columns.items()),
        tuple(pa.array(values, pa.string()) for _, values in columns.values()),
    )


def tag_columns(tables: TagTables) -> Iterator[ImageColumns]:
    """For each property of tags a column of the paths that an image has, in the tree's order."""
    named = paths(tables.tags)
    carriers: dict[str, list[str]] = {tag.tag_id: [] for tag in tables.tags}
    for tag_id, image_id in tables.images:
        carriers[tag_id].append(image_id)
    for property_name in dict.fromkeys(tag.property for tag in tables.tags):
        carried: dict[str, list[str]] = {}
        for tag in tables.tags:
            if tag.property == property_name:
                for image_id in carriers[tag.tag_id]:
                    carried.setdefault(image_id, []).append(named[tag.tag_id])
        meaning = f"Tags of the property {property_name}; a tag below another is `a > b`."
        yield ImageColumns(
            pa.array(list(carried), pa.string()),
            (_field(f"{TAGS}{property_name}", _TEXTS, meaning),),
            (pa.array(list(carried.values()), _TEXTS),),
        )


def inventory_columns(store: LanceStore) -> Iterator[ImageColumns]:
    """For each property of the inventory a column of its values, in its own type.

    Of a date that is the text as written; its EDTF and the first and last day follow.
    """
    names = set(store.read("property_values", ["property"])["property"].to_pylist())
    for name in sorted(names):
        rows = read_properties(store, name)
        kind = rows["type"][0].as_py()
        if kind == "date":
            yield _date_columns(name, rows)
            continue
        values = rows[VALUE_COLUMNS[kind]].combine_chunks()
        meaning = f"The inventory's property {name}, of type {kind}."
        yield ImageColumns(
            rows["image_id"].combine_chunks(),
            (_field(f"{INVENTORY}{name}", values.type, meaning),),
            (values,),
        )


def _date_columns(name: str, rows: pa.Table) -> ImageColumns:
    dates = stored_dates(rows)
    days = "days since 1970-01-01, proleptic Gregorian"
    # A name that begins otherwise is that of no property.
    fields = (
        _field(f"{INVENTORY}{name}", pa.string(), f"The date {name} of the inventory, as written."),
        _field(f"{EDTF}{name}", pa.string(), "The same in EDTF (ISO 8601-2)."),
        _field(f"inventory first day: {name}", pa.int64(), f"When that begins: {days}."),
        _field(f"inventory last day: {name}", pa.int64(), f"When that ends: {days}."),
    )
    columns = (
        [date.text for date in dates],
        [date.edtf for date in dates],
        [date.first_day for date in dates],
        [date.last_day for date in dates],
    )
    arrays = (pa.array(c, field.type) for c, field in zip(columns, fields, strict=True))
    return ImageColumns(rows["image_id"].combine_chunks(), fields, tuple(arrays))


def point_columns(read: ReadVectors, key: str) -> ImageColumns:
    """The points of a projection: x, y and z, then d4 and so on.

    Args:
        read: The points.
        key: The projection.
    """
    axes = [*_AXES, *(f"d{n}" for n in range(4, read.vectors.shape[1] + 1))]
    columns = np.ascontiguousarray(read.vectors.T)
    meaning = f"Of the image's point in the projection {key}."
    named = tuple(zip(axes, columns, strict=False))
    return ImageColumns(
        pa.array(read.image_ids, pa.string()),
        tuple(_field(axis, pa.float32(), meaning) for axis, _ in named),
        tuple(pa.array(column, pa.float32()) for _, column in named),
    )


def path_columns(files: Mapping[str, Sequence[str]]) -> ImageColumns:
    """The path of an image's first file, and those of all.

    Args:
        files: For each image that is present, the sorted paths of its files.
    """
    meanings = {
        "path": "Of the first of the image's files, below the images' folder.",
        "paths": "Of all its files, which hold the same.",
    }
    kinds = (pa.string(), _TEXTS)
    return ImageColumns(
        pa.array(list(files), pa.string()),
        tuple(
            _field(name, kind, meaning)
            for (name, meaning), kind in zip(meanings.items(), kinds, strict=True)
        ),
        (
            pa.array([of_image[0] for of_image in files.values()], pa.string()),
            pa.array(list(files.values()), _TEXTS),
        ),
    )
