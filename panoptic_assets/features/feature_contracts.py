"""The data contracts of ``embeddings`` and ``neighbors``, judged after each materialization.

Belongs here: which contracts there are, and how grave a breach is. Does not belong here: finding
breaches of vectors (``features.contracts``), or preventing them, which the assets do.
"""

from collections.abc import Iterator

import dagster as dg
import numpy as np

from panoptic_assets.corpus.table import present_files
from panoptic_assets.features.assets import embeddings, neighbors
from panoptic_assets.features.contracts import inspect_vectors
from panoptic_assets.features.neighbors import sampled_recall
from panoptic_assets.features.table import model_identity, read_graph, read_vectors
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.asset_checks import ContractVerdict, selected, specs
from panoptic_assets.orchestration.running import partition_of
from resources.lance import LanceStore
from resources.registry import Registry
from resources.schemas import vectors_table

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


@dg.multi_asset_check(specs=specs(embeddings, _VECTORS), can_subset=True)
def vector_contracts(
    context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of one vector type of ``embeddings``."""
    vector_type, act = partition_of(context), acts.context_after(context.run.run_id)
    judged = _judged_vectors(vector_type, act.store, act.registry)
    yield from selected(context, embeddings, _VECTORS, judged)


@dg.multi_asset_check(specs=specs(neighbors, _NEIGHBORS), can_subset=True)
def neighbor_contracts(
    context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of one vector type of ``neighbors``."""
    store = acts.context_after(context.run.run_id).store
    judged = _judged_neighbors(partition_of(context), store)
    yield from selected(context, neighbors, _NEIGHBORS, judged)


def _judged_vectors(
    vector_type: str, store: LanceStore, registry: Registry
) -> Iterator[ContractVerdict]:
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

    def none(check: str, *names: str) -> ContractVerdict:
        wrong = {name: counts[name] for name in names}
        return ContractVerdict(check, not any(wrong.values()), wrong)

    yield none("vector_ids_unique", "nb_repeated")
    yield none("vectors_of_known_images", "nb_unknown")
    yield none("vectors_finite_and_unit", "nb_not_finite", "nb_not_unit")
    yield none("no_zero_vectors", "nb_zero")

    identity = model_identity(store, vector_type)
    differing = registry.model(vector_type).differences(identity) if identity else []
    told = {"differing": "; ".join(differing) or "(none)"}
    yield ContractVerdict("model_identity_constant", not differing, told)

    lacking = {"nb_not_embedded": len(present - having)}
    passed = not any(lacking.values())
    yield ContractVerdict("every_image_embedded", passed, lacking, dg.AssetCheckSeverity.WARN)


def _judged_neighbors(vector_type: str, store: LanceStore) -> Iterator[ContractVerdict]:
    stored = read_graph(store, vector_type)
    read = read_vectors(store, vector_type, present_files(store), may_be_none=True)
    known = stored.image_ids if stored else []
    current = known == read.image_ids
    images_in_graph = {"nb_images": len(known)}
    yield ContractVerdict("neighbors_current", current, images_in_graph, dg.AssetCheckSeverity.WARN)
    if stored and not current:
        read = read_vectors(store, vector_type, known, may_be_none=True)
    # An image whose vector is gone has no neighbours to be compared with.
    comparable = stored is not None and known == read.image_ids
    recall = sampled_recall(read.vectors, stored.graph) if stored and comparable else 0.0
    least = _LEAST_RECALL if stored and stored.info.method == "index" else 1.0
    yield ContractVerdict("neighbors_recall", recall >= least, {"recall": recall, "least": least})
