"""Leaving images out of a run that was computed with them.

Belongs here: which images a run is to be clustered again without, and why not. Does not belong
here: clustering it again, which is the act of clustering (``clustering.dividing``) with another
list in its field ``without``, and what that list takes away (``clustering.selection``).
"""

from collections.abc import Collection

from panoptic_assets.clustering.selection import left_out
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import present_files
from panoptic_assets.spec.amounts import images_in_words
from panoptic_assets.spec.keys import parse_run_key
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry


def to_leave_out(
    store: LanceStore, registry: Registry, run_key: str, image_ids: Collection[str]
) -> set[str]:
    """Ids of all images that a run is to be clustered again without: these and those before.

    Args:
        store: The store.
        registry: Where the project's folder and its images are.
        run_key: The run.
        image_ids: The images to leave out from now on.

    Raises:
        InputError: There is no such run, an image is not in it, all are left out already, or none
            would be left.
    """
    clusterings = Clusterings(store, parse_run_key(run_key))
    record = clusterings.get(run_key)
    file = record.config.get("without")
    before = set() if file is None else left_out(file, store, registry)
    inside = set(clusterings.assignments(run_key)["image_id"].to_pylist())
    asked = set(image_ids)
    if strange := sorted(asked - inside - before):
        path = present_files(store).get(strange[0], [strange[0]])[0]
        raise InputError(
            "Not in the run {key}: {images}, such as {example!r}. Name images of its clusters "
            "(`panoptic-assets members {key}/0` lists some).",
            id="images-not-in-run",
            images=images_in_words(len(strange)),
            key=run_key,
            example=path,
        )
    if not asked - before:
        raise InputError(
            "These images are left out of the run {key} already: name others.",
            id="images-left-out-already",
            key=run_key,
        )
    if inside <= asked:
        raise InputError(
            "These are all {images} of the run {key}: leave some in, or remove the run "
            "(`panoptic-assets remove {key}`).",
            id="images-are-all-of-run",
            images=images_in_words(len(inside)),
            key=run_key,
        )
    return asked | before
