"""Asset checks: the data contracts of the corpus, judged after each materialization.

Belongs here: which contracts there are, and how grave a breach is. Does not belong here: finding
breaches (``core.contracts``), or preventing them, which the assets do.

A breach of integrity is an error. What a person may knowingly live with is a warning.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dagster as dg
import numpy as np

from panoptic_assets.assets.corpus import embeddings, images
from panoptic_assets.assets.running import partition_of
from panoptic_assets.core.contracts import inspect_vectors
from panoptic_assets.tables import model_identity, present_files, read_manifest
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


def _specs(asset: dg.AssetsDefinition, checks: dict[str, str]) -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # Checks by partition are a preview in Dagster 1.13; without them, the check of one vector
        # type would hide that of another.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name, asset=asset, description=text, partitions_def=asset.partitions_def
            )
            for name, text in checks.items()
        ]


@dg.multi_asset_check(specs=_specs(images, _IMAGES))
def image_contracts(store: LanceStore, registry: Registry) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``images``."""

    def result(name: str, passed: bool, warn: bool = False, **found: Any) -> dg.AssetCheckResult:
        return _result(images, name, passed, warn, found)

    ids = store.read("images", ["image_id"])["image_id"].to_pylist()
    paths = store.read("files", ["path"])["path"].to_pylist()
    files = read_manifest(store)
    repeated = sum(count - 1 for count in Counter(ids).values())
    repeated += sum(count - 1 for count in Counter(paths).values())
    yield result("image_ids_unique", repeated == 0, nb_repeated=repeated)

    having = set(ids)
    homeless = [path for path, file in files.items() if file.holds and file.holds not in having]
    yield result("files_have_images", not homeless, nb_without_image=len(homeless))

    there = [file for file in files.values() if file.status != "missing"]
    refused = sum(file.status == "quarantined" for file in there)
    share = refused / len(there) if there else 0.0
    limit = registry.settings.max_quarantined
    yield result(
        "quarantine_share", share <= limit, True, nb_quarantined=refused, share=share, limit=limit
    )


@dg.multi_asset_check(specs=_specs(embeddings, _VECTORS))
def vector_contracts(
    context: dg.AssetCheckExecutionContext, store: LanceStore, registry: Registry
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of one vector type of ``embeddings``."""

    def result(name: str, passed: bool, warn: bool = False, **found: Any) -> dg.AssetCheckResult:
        return _result(embeddings, name, passed, warn, found)

    vector_type = partition_of(context)
    table = vectors_table(vector_type)
    present = present_files(store).keys()
    embedded: set[str] = set()

    def batches() -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in store.batches(table, ["image_id", "vector"]):
            ids = batch["image_id"].to_pylist()
            embedded.update(ids)
            yield ids, batch["vector"].flatten().to_numpy().reshape(len(ids), -1)

    known = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    found = inspect_vectors(batches(), known)
    yield result("vector_ids_unique", found.nb_repeated == 0, nb_repeated=found.nb_repeated)
    yield result("vectors_of_known_images", found.nb_unknown == 0, nb_unknown=found.nb_unknown)
    yield result(
        "vectors_finite_and_unit",
        found.nb_not_finite + found.nb_not_unit == 0,
        nb_not_finite=found.nb_not_finite,
        nb_not_unit=found.nb_not_unit,
    )
    yield result("no_zero_vectors", found.nb_zero == 0, nb_zero=found.nb_zero)

    identity = model_identity(store, vector_type)
    differing = registry.model(vector_type).differences(identity) if identity else []
    yield result("model_identity_constant", not differing, differing="; ".join(differing))

    lacking = len(present - embedded)
    yield result("every_image_embedded", lacking == 0, True, nb_not_embedded=lacking)


def _result(
    asset: dg.AssetsDefinition, name: str, passed: bool, warn: bool, found: dict[str, Any]
) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=asset.key,
        check_name=name,
        passed=passed,
        severity=severity,
        description=(_IMAGES | _VECTORS)[name],
        metadata=found,
    )
