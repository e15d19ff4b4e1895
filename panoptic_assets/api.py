"""The Python door: ``Project().run_info("greek")``.

Belongs here: reading a project as plain dictionaries and Arrow tables. Does not belong here:
materializing assets, which is Dagster's part.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from panoptic_assets import tables
from panoptic_assets.core import tags as core_tags
from panoptic_assets.keys import parse_division, parse_name, parse_projection, parse_run_key
from resources.errors import InputError
from resources.lance import LanceStore, points_table, quoted, vectors_table
from resources.project import find


class Project:
    """One project, read-only.

    Args:
        folder: The project's folder; by default the one that ``$PANOPTIC_PROJECT`` names or the
            working directory lies in.

    Raises:
        InputError: There is no project there.
    """

    def __init__(self, folder: str | Path | None = None):
        self._project = find(Path(folder) if folder else None)
        self._store = LanceStore(
            uri=self._project.store, storage_options=self._project.settings.storage_options
        )

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self._project.folder

    def runs(self) -> list[dict[str, Any]]:
        """Every run and every division of a cluster: one dictionary each, by key."""
        divisions = tables.Divisions(self._store)
        return [
            {
                "key": record.key,
                "run_key": record.run_key,
                "status": divisions.status(record.key),
                "method": next(iter(record.config["method"])),
                "features": record.config["features"],
                "nb_images": record.counts.clustered + record.counts.remainder,
                "nb_clusters": record.nb_clusters,
                "remainder": record.counts.remainder,
                "revision": record.revision,
                "finished_at": record.finished_at,
            }
            for record in divisions.records.values()
        ]

    def run_info(self, key: str) -> dict[str, Any]:
        """Everything that is recorded of a run, or of the division of a cluster (``greek/3``).

        Raises:
            InputError: There is none of that key.
        """
        divisions = self._divisions(key)
        record = divisions.get(key)
        return record.model_dump() | {
            "record_id": record.record_id,
            "status": divisions.status(record.key),
            "data_version": record.data_version,
        }

    def files(self) -> pa.Table:
        """Every file ever seen, by path.

        Columns: path, image_id (null if the file was never read), status (``present``,
        ``missing``, ``quarantined``), reason, size (bytes), mtime_ns, seen_at.
        """
        return self._store.read("files").sort_by("path")

    def images(self) -> pa.Table:
        """Every image ever seen, by image id.

        Columns: image_id, format, width and height (pixels as displayed), bytes, thumbnail (WebP),
        added_at.
        """
        return self._store.read("images").sort_by("image_id")

    def clusters(self, key: str) -> pa.Table:
        """The clusters of a run or of a divided node, from the lowest score; the remainder last.

        Columns: node, cluster, size, score, medoid (image id), record_id.

        Raises:
            InputError: There is none of that key.
        """
        rows = self._divisions(key).clusters(key)
        nodes = pa.array([f"{key}/{name}" for name in rows["cluster"].to_pylist()], pa.string())
        names = ["cluster", "size", "score", "medoid", "record_id"]
        return rows.select(names).add_column(0, "node", nodes)

    def assignments(self, key: str) -> pa.Table:
        """Which cluster each image of a run or of a divided node is in, by image id.

        Columns: image_id, cluster (``"0"``, …, ``"remainder"``), distance (cosine distance to the
        cluster's mean), record_id.

        Raises:
            InputError: There is none of that key.
        """
        rows = self._divisions(key).assignments(key)
        return rows.select(["image_id", "cluster", "distance", "record_id"])

    def places(self, run_key: str) -> pa.Table:
        """The deepest node that holds each image of a run, by image id.

        Columns: image_id, node.

        Raises:
            InputError: There is no such run.
        """
        divisions = self._divisions(parse_run_key(run_key))
        divisions.get(run_key)
        places = sorted(divisions.places(run_key).items())
        return pa.table(
            {
                "image_id": pa.array([image_id for image_id, _ in places], pa.string()),
                "node": pa.array([node for _, node in places], pa.string()),
            }
        )

    def tags(self, property: str | None = None) -> list[dict[str, Any]]:
        """The tags of a property, or of all, in the order of their tree.

        Each has tag_id, property, name, path (``9 > 1``), parent_id, node, record_id,
        is_remainder, nb_images (with those of the tags below it) and image_ids (its own only).

        Raises:
            InputError: There is no such property.
        """
        replayed = self._tag_tables(property)
        own: dict[str, list[str]] = {tag.tag_id: [] for tag in replayed.tags}
        for tag_id, image_id in replayed.images:
            own[tag_id].append(image_id)
        counts, paths = core_tags.counts(replayed), core_tags.paths(replayed.tags)
        return [
            {
                **vars(tag),
                "path": paths[tag.tag_id],
                "nb_images": counts[tag.tag_id],
                "image_ids": sorted(own[tag.tag_id]),
            }
            for tag in replayed.tags
        ]

    def image_tags(self, property: str | None = None) -> pa.Table:
        """The tag of each image, by property and image id.

        Columns: property, image_id, tag_id, path.

        Raises:
            InputError: There is no such property.
        """
        replayed = self._tag_tables(property)
        paths = core_tags.paths(replayed.tags)
        properties = {tag.tag_id: tag.property for tag in replayed.tags}
        rows = sorted((properties[tag], image, tag, paths[tag]) for tag, image in replayed.images)
        names = ["property", "image_id", "tag_id", "path"]
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)

    def properties(self) -> list[dict[str, Any]]:
        """The properties that the file of metadata gives to images, by name.

        Each has name, type (``text``, ``number``, ``date``, ``tag`` or ``multi_tags``) and
        nb_images (with a value).
        """
        rows = self._store.read("property_values", ["property", "type"])
        counts = rows.group_by(["property", "type"]).aggregate([([], "count_all")])
        return [
            {"name": row["property"], "type": row["type"], "nb_images": row["count_all"]}
            for row in counts.sort_by("property").to_pylist()
        ]

    def property_values(self, name: str) -> pa.Table:
        """The images that have a property of the file of metadata, by image id.

        Columns: image_id, value: a string, a float64, a timestamp in UTC, or for tags a list of
        paths (``a > b``).

        Raises:
            InputError: There is no such property.
        """
        rows = tables.read_properties(self._store, name)
        if not rows.num_rows:
            known = ", ".join(entry["name"] for entry in self.properties()) or "none yet"
            raise InputError(f"There is no property {name!r}. Existing ones: {known}.")
        column = tables.VALUE_COLUMNS[rows["type"][0].as_py()]
        return rows.select(["image_id", column]).rename_columns(["image_id", "value"])

    def vectors(self, vector_type: str | None = None) -> pa.Table:
        """The vectors of a type (by default the project's), by image id.

        Columns: image_id, vector (float32, unit length).

        Raises:
            InputError: There are no vectors of that type.
        """
        name = parse_name(vector_type or self._project.settings.vector_type, "vector type")
        known = tables.vector_types(self._store)
        if name not in known:
            raise InputError(
                f"There are no vectors of type {name!r}. Existing ones: "
                f"{', '.join(known) or 'none yet'}."
            )
        return self._store.read(vectors_table(name)).sort_by("image_id")

    def neighbors(self, vector_type: str | None = None) -> pa.Table:
        """The nearest neighbours of each image of a vector type, by image id.

        Columns: image_id, neighbors (image ids, the most similar first), similarities (cosines).
        A list has k entries, or all other images if they are fewer.

        Raises:
            InputError: There is no neighbour graph of that type.
        """
        name = parse_name(vector_type or self._project.settings.vector_type, "vector type")
        stored = tables.read_graph(self._store, name)
        if stored is None:
            raise InputError(
                f"There are no neighbours of type {name!r}: materialize `neighbors` "
                f"(`panoptic-assets refresh --vector-type {name}`)."
            )
        ids = pa.array(stored.image_ids, pa.string())
        width = stored.graph.indices.shape[1]
        offsets = pa.array([row * width for row in range(len(ids) + 1)], pa.int32())
        # Each id is held once, however many lists name it.
        named = pa.DictionaryArray.from_arrays(pa.array(stored.graph.indices.ravel()), ids)
        cosines = pa.array(stored.graph.similarities.ravel())
        return pa.table(
            {
                "image_id": ids,
                "neighbors": pa.ListArray.from_arrays(offsets, named),
                "similarities": pa.ListArray.from_arrays(offsets, cosines),
            }
        )

    def projections(self) -> list[dict[str, Any]]:
        """Every projection that has points: what is recorded of it, by key."""
        found = []
        for key in tables.projections(self._store):
            if record := tables.projection_record(self._store, key):
                found.append(record.model_dump() | {"data_version": record.data_version})
        return found

    def points(self, key: str) -> pa.Table:
        """The points of a projection such as ``mini/umap``, by image id.

        Columns: image_id, point (float32).

        Raises:
            InputError: There is no such projection.
        """
        parse_projection(key)
        known = tables.projections(self._store)
        if key not in known:
            raise InputError(
                f"There is no projection {key!r}. Existing ones: {', '.join(known) or 'none yet'}."
            )
        return self._store.read(points_table(key)).sort_by("image_id")

    def _divisions(self, key: str) -> tables.Divisions:
        run_key, _, _ = parse_division(key).partition("/")
        return tables.Divisions(self._store, run_key)

    def _tag_tables(self, property_name: str | None) -> core_tags.TagTables:
        where = None if property_name is None else f"property = {quoted(property_name)}"
        rows = self._store.read("tags", where=where).to_pylist()
        if not rows and property_name is not None:
            known = self._store.read("tags", ["property"])
            listed = ", ".join(sorted(set(known["property"].to_pylist()))) or "none yet"
            raise InputError(f"There is no property {property_name!r}. Existing ones: {listed}.")
        known_ids = {row["tag_id"] for row in rows}
        pairs = self._store.read("image_tags", ["tag_id", "image_id"], where)
        return core_tags.TagTables(
            core_tags.in_tree_order(core_tags.Tag(**row) for row in rows),
            # The two tables are two commits: between them, pairs may name tags of the other one.
            [pair for pair in _pairs(pairs) if pair[0] in known_ids],
        )


def _pairs(rows: pa.Table) -> Iterable[tuple[str, str]]:
    return zip(rows["tag_id"].to_pylist(), rows["image_id"].to_pylist(), strict=True)
