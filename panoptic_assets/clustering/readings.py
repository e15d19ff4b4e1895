"""What a clustering reads from the store beside its features, and the proof of each reading.

Belongs here: neighbours, texts, tags and other runs, in the form that methods take
(:class:`panoptic_assets.clustering.algorithms.interface.Data`). Does not belong here: the features
themselves
(``features.table``), which images are in scope, and what methods compute
(``clustering.algorithms``).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from panoptic_assets.clustering.algorithms.interface import Data, TargetTag
from panoptic_assets.clustering.config import SharedClusteringConfig
from panoptic_assets.clustering.search import text_encoder
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.properties import read_properties, stored_property
from panoptic_assets.features.neighbors import nearest_neighbors
from panoptic_assets.features.table import Features, read_graph, vector_hashes
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.computation import REMAINDER, Labels, Rows, Vectors
from panoptic_assets.spec.keys import REMAINDER as REMAINDER_NAME
from panoptic_assets.spec.keys import parse_clustering, run_key_of, vector_type_of
from panoptic_assets.spec.records import Input, digest, vectors_hash
from resources.errors import InputError, message
from resources.lance import LanceStore, quoted
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.schemas import vectors_table

ABSENT = -2
"""The label of an image that was not in a run."""


@dataclass
class Readings:
    """What one clustering reads; ``inputs`` grows as its method asks for more."""

    key: str
    """Of the clustering."""
    store: LanceStore
    models: OpenClipModels
    registry: Registry
    features: Features
    config: SharedClusteringConfig
    log: Callable[[str], None]
    inputs: list[Input] = field(default_factory=list)

    def data(self) -> Data:
        """What the method gets.

        Raises:
            InputError: A property, run or model that it asks for cannot be had.
        """
        method = self.config.method
        unit = self.config.features == self._vector_type
        return Data(
            points=self.features.points,
            unit=unit,
            neighbors=self._neighbors if unit else None,
            encode_texts=self._encoder() if unit and "texts" in method.needs else None,
            tags=self._tags() if "tags" in method.needs else (),
            runs=self._runs() if "runs" in method.needs else (),
        )

    @property
    def _vector_type(self) -> str:
        return vector_type_of(self.config.features)

    def _neighbors(self, k: int) -> Rows:
        stored = read_graph(self.store, self._vector_type)
        if (
            stored is not None
            and stored.graph.indices.shape[1] >= k
            and stored.image_ids == self.features.image_ids
            and stored.vector_hashes == vector_hashes(self.features.points)
        ):
            if stored.info.method != "exact":  # an exact graph follows from the vectors
                table = f"neighbors.{self._vector_type}"
                self.inputs.append(
                    Input(table=table, version=stored.version, sha256=stored.info.output)
                )
            return stored.graph.indices[:, :k].astype(np.int64)
        self.log(f"comparing {len(self.features.points):,} images for their nearest neighbours")
        return nearest_neighbors(self.features.points, k).indices.astype(np.int64)

    def _encoder(self) -> Callable[[list[str]], Vectors]:
        """Encodes texts by the model of the vectors."""
        encoder = text_encoder(self._vector_type, self.store, self.registry, self.models, self.log)

        known: dict[tuple[str, ...], Vectors] = {}

        def encode(texts: list[str]) -> Vectors:
            if tuple(texts) in known:  # stability asks again and again
                return known[tuple(texts)]
            vectors = known[tuple(texts)] = encoder.encode_texts(texts)
            table = vectors_table(self._vector_type)
            version = self.store.version(table)
            self.inputs.append(
                Input(table=table, version=version, sha256=vectors_hash(texts, vectors))
            )
            return vectors

        return encode

    def _tags(self) -> tuple[TargetTag, ...]:
        method = self.config.method
        asked: list[str] = getattr(method, "tags", None) or []
        if asked:
            return _tags_of(asked)
        found, table = tag_paths(self.store, getattr(method, "property", None) or "")
        version = self.store.version(table)
        self.inputs.append(Input(table=table, version=version, sha256=digest(found)))
        return _tags_of(_with_parents(found))

    def _runs(self) -> tuple[Labels, ...]:
        labels = []
        for key in getattr(self.config.method, "runs", None) or []:
            root, _, _ = parse_clustering(key).partition("/")
            if root == run_key_of(self.key):
                raise InputError(
                    "{key} cannot combine {other}, which is of the same run: its own answer would "
                    "decide it. Take other runs, or another key.",
                    id="combines-its-own-run",
                    key=self.key,
                    other=key,
                )
            clusterings = Clusterings(self.store, root)
            record = clusterings.get(key)
            if key in clusterings.stale:
                raise InputError(
                    "{key} is stale: divide it again before you combine it.",
                    id="combines-stale-run",
                    key=key,
                )
            rows = clusterings.assignments(key)
            clusters = dict(
                zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True)
            )
            version = self.store.version("assignments")
            self.inputs.append(Input(table="assignments", version=version, sha256=record.output))
            labels.append(
                np.array(
                    [_label(clusters.get(image_id)) for image_id in self.features.image_ids],
                    np.int64,
                )
            )
        return tuple(labels)


def tag_paths(store: LanceStore, property_name: str) -> tuple[list[str], str]:
    """The paths of a property's tags, without a saved remainder's, and the table they are in.

    Raises:
        InputError: There is no such property, or it has no tags.
    """
    property_name = stored_property(store, property_name)
    rows = store.read("tags", where=f"property = {quoted(property_name)}").to_pylist()
    if rows:
        paths = tag_log.paths(tag_log.in_tree_order(tag_log.Tag(**row) for row in rows))
        remainders = {row["tag_id"] for row in rows if row["is_remainder"]}
        found = [path for tag_id, path in paths.items() if tag_id not in remainders]
        table = "tags"
    else:
        values = read_properties(store, property_name)
        found = sorted({path for tags in values["tags"].to_pylist() for path in tags or ()})
        table = "property_values"
    if not found:
        saved = store.read("tags", ["property"])["property"].to_pylist()
        given = store.read("property_values", ["property"], "tags IS NOT NULL")
        known = sorted({*saved, *given["property"].to_pylist()})
        raise InputError(
            "There is no property {property!r} that has tags. Existing ones: {known}.",
            id="no-tagged-property-of",
            property=property_name,
            known=", ".join(known) or message("none yet", id="none-yet"),
        )
    return found, table


def _label(cluster: str | None) -> int:
    if cluster is None:
        return ABSENT
    return REMAINDER if cluster == REMAINDER_NAME else int(cluster)


def _tags_of(paths: Iterable[str]) -> tuple[TargetTag, ...]:
    found = [tuple(name.strip() for name in path.split(">")) for path in paths]
    return tuple(TargetTag(path) for path in dict.fromkeys(found))


def _with_parents(paths: Iterable[str]) -> list[str]:
    """Each path after those above it, which a property has as tags even if no image has them."""
    found: dict[str, None] = {}
    for path in paths:
        names = path.split(tag_log.HIERARCHY)
        for depth in range(1, len(names) + 1):
            found[tag_log.HIERARCHY.join(names[:depth])] = None
    return list(found)
