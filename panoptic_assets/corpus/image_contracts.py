"""The data contracts of ``images``, judged after each materialization.

Belongs here: what must hold of images and files, and how grave a breach is. Does not belong here:
preventing breaches, which the asset does.

A breach of integrity is an error. What a person may knowingly live with is a warning.
"""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from panoptic_assets.corpus.assets import NOTHING_MISSING, images, nothing_missing
from panoptic_assets.corpus.table import read_manifest
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.asset_checks import ContractVerdict, selected, specs
from resources.lance import LanceStore
from resources.registry import Registry

_IMAGES = {
    "image_ids_unique": "No image and no file has two rows.",
    "files_have_images": "Every present file's image has a row.",
    "quarantine_share": "Of all files, the share that cannot be read is not above "
    "`max_quarantined` of .panoptic/project.yaml; `panoptic-assets diff 0 latest` names them.",
    NOTHING_MISSING: "No more files were gone at once than `max_missing` of "
    ".panoptic/project.yaml allows, or a person has said that they are gone for good "
    "(`panoptic-assets refresh --accept-missing`).",
}


@dg.multi_asset_check(specs=specs(images, _IMAGES), can_subset=True)
def image_contracts(
    context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
) -> Iterator[dg.AssetCheckResult]:
    """The contracts of ``images``."""
    act = acts.context_after(context.run.run_id)
    yield from selected(context, images, _IMAGES, _judged_images(act.store, act.registry))


def _judged_images(store: LanceStore, registry: Registry) -> Iterator[ContractVerdict]:
    ids = store.read("images", ["image_id"])["image_id"].to_pylist()
    paths = store.read("files", ["path"])["path"].to_pylist()
    files = read_manifest(store)
    repeated = sum(count - 1 for count in Counter(ids).values())
    repeated += sum(count - 1 for count in Counter(paths).values())
    yield ContractVerdict("image_ids_unique", repeated == 0, {"nb_repeated": repeated})

    having = set(ids)
    homeless = [path for path, file in files.items() if file.holds and file.holds not in having]
    yield ContractVerdict("files_have_images", not homeless, {"nb_without_image": len(homeless)})

    there = [file for file in files.values() if file.status != "missing"]
    refused = sum(file.status == "quarantined" for file in there)
    share = refused / len(there) if there else 0.0
    limit = registry.settings.max_quarantined
    found = {"nb_quarantined": refused, "share": share, "limit": limit}
    yield ContractVerdict("quarantine_share", share <= limit, found, dg.AssetCheckSeverity.WARN)

    yield nothing_missing(store)
