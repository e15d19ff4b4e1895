"""Asset checks: the data contracts of the corpus and of tags, judged after each materialization.

Belongs here: which contracts there are, and how grave a breach is. Does not belong here: finding
breaches (``core.contracts``), or preventing them, which the assets do.

A breach of integrity is an error. What a person may knowingly live with is a warning.
"""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
import numpy as np

from panoptic_assets.assets.corpus import embeddings, images
from panoptic_assets.assets.features import neighbors
from panoptic_assets.assets.tags import tags
from panoptic_assets.core.contracts import inspect_vectors
from panoptic_assets.core.neighbors import sampled_recall
from panoptic_assets.orchestration.asset_checks import Verdict, selected, specs
from panoptic_assets.orchestration.running import partition_of
from panoptic_assets.spec import tag_log
from panoptic_assets.tables.images import present_files, read_manifest
from panoptic_assets.tables.tags import read_log, tags_are
from panoptic_assets.tables.vectors import model_identity, read_graph, read_vectors
from resources.lance import LanceStore, vectors_table
from resources.registry import Registry

_IMAGES = {
    "image_ids_unique": "No image and no file has two rows.",
    "files_have_images": "Every present file's image has a row.",
    "quarantine_share": "The share of files in quarantine is below `max_quarantined` of "
    ".panoptic/project.yaml.",
}
_VECTORS = {
    "vector_ids_unique": "No image has two vectors.",
    "vectors_of_known_images": "Every vector is of an image that the corpus has or had.",
    "vectors_finite_and_unit": "Every number is finite, every vector of length 1.",
    "no_zero_vectors": "No vector is zero.",
    "model_identity_constant": "The file in configs/models describes the model that made the "
    "vectors.",
    "every_image_embedded": "Every image that is present has a vector.",
}

_NEIGHBORS = {
    "neighbors_current": "The graph is of the images that are present and have a vector.",
    "neighbors_recall": "The graph has the nearest neighbours: all of them, or .95 when it comes "
    "from an index; measured on 500 images.",
}
_LEAST_RECALL = 0.95

_TAGS = {
    "tags_are_the_replay": "The tags, and which images carry them, are the replay of the log.",
}


@dg.multi_asset_check(specs=specs(images, _IMAGES), can_subset=True)
def image_contracts(
    context: dg.AssetCheckExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``images``."""
    yield from selected(context, images, _IMAGES, _judged_images(store, registry))


@dg.multi_asset_check(specs=specs(embeddings, _VECTORS), can_subset=True)
def vector_contracts(
    context: dg.AssetCheckExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of one vector type of ``embeddings``."""
    vector_type = partition_of(context)
    yield from selected(
        context, embeddings, _VECTORS, _judged_vectors(vector_type, store, registry)
    )


@dg.multi_asset_check(specs=specs(neighbors, _NEIGHBORS), can_subset=True)
def neighbor_contracts(
    context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[LanceStore]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of one vector type of ``neighbors``."""
    yield from selected(
        context, neighbors, _NEIGHBORS, _judged_neighbors(partition_of(context), store)
    )


@dg.multi_asset_check(specs=specs(tags, _TAGS), can_subset=True)
def tag_contracts(
    context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[LanceStore]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``tags``."""
    yield from selected(context, tags, _TAGS, _judged_tags(store))


def _judged_images(store: LanceStore, registry: Registry) -> Iterator[Verdict]:
    ids = store.read("images", ["image_id"])["image_id"].to_pylist()
    paths = store.read("files", ["path"])["path"].to_pylist()
    files = read_manifest(store)
    repeated = sum(count - 1 for count in Counter(ids).values())
    repeated += sum(count - 1 for count in Counter(paths).values())
    yield Verdict("image_ids_unique", repeated == 0, {"nb_repeated": repeated})

    having = set(ids)
    homeless = [path for path, file in files.items() if file.holds and file.holds not in having]
    yield Verdict("files_have_images", not homeless, {"nb_without_image": len(homeless)})

    there = [file for file in files.values() if file.status != "missing"]
    refused = sum(file.status == "quarantined" for file in there)
    share = refused / len(there) if there else 0.0
    limit = registry.settings.max_quarantined
    found = {"nb_quarantined": refused, "share": share, "limit": limit}
    yield Verdict("quarantine_share", share <= limit, found, dg.AssetCheckSeverity.WARN)


def _judged_vectors(vector_type: str, store: LanceStore, registry: Registry) -> Iterator[Verdict]:
    table = vectors_table(vector_type)
    present = present_files(store).keys()
    having: set[str] = set()

    def batches() -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in store.batches(table, ["image_id", "vector"]):
            ids = batch["image_id"].to_pylist()
            having.update(ids)
            yield ids, batch["vector"].flatten().to_numpy().reshape(len(ids), -1)

    known = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    found = inspect_vectors(batches(), known)
    counts = vars(found)

    def none(check: str, *names: str) -> Verdict:
        wrong = {name: counts[name] for name in names}
        return Verdict(check, not any(wrong.values()), wrong)

    yield none("vector_ids_unique", "nb_repeated")
    yield none("vectors_of_known_images", "nb_unknown")
    yield none("vectors_finite_and_unit", "nb_not_finite", "nb_not_unit")
    yield none("no_zero_vectors", "nb_zero")

    identity = model_identity(store, vector_type)
    differing = registry.model(vector_type).differences(identity) if identity else []
    told = {"differing": "; ".join(differing) or "(none)"}
    yield Verdict("model_identity_constant", not differing, told)

    lacking = {"nb_not_embedded": len(present - having)}
    passed = not any(lacking.values())
    yield Verdict("every_image_embedded", passed, lacking, dg.AssetCheckSeverity.WARN)


def _judged_neighbors(vector_type: str, store: LanceStore) -> Iterator[Verdict]:
    stored = read_graph(store, vector_type)
    read = read_vectors(store, vector_type, present_files(store), may_be_none=True)
    known = stored.image_ids if stored else []
    current = known == read.image_ids
    images_in_graph = {"nb_images": len(known)}
    yield Verdict("neighbors_current", current, images_in_graph, dg.AssetCheckSeverity.WARN)
    if stored and not current:
        read = read_vectors(store, vector_type, known, may_be_none=True)
    # An image whose vector is gone has no neighbours to be compared with.
    comparable = stored is not None and known == read.image_ids
    recall = sampled_recall(read.vectors, stored.graph) if stored and comparable else 0.0
    least = _LEAST_RECALL if stored and stored.info.method == "index" else 1.0
    yield Verdict("neighbors_recall", recall >= least, {"recall": recall, "least": least})


def _judged_tags(store: LanceStore) -> Iterator[Verdict]:
    log = read_log(store)
    same = tags_are(store, tag_log.replay([entry.event for entry in log]))
    yield Verdict("tags_are_the_replay", same, {"nb_events": len(log)})
