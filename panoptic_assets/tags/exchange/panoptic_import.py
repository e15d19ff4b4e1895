"""Importing a project of Panoptic: its tags, values and vectors.

Belongs here: what is made of which part of it, all of it checked before anything is written. Does
not belong here: reading its databases (``tags.exchange.panoptic_folder``), and what an inventory or
a vector type is (``corpus.inventory``, ``features.imported_vectors``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_assets.corpus.table import present_files
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange import taken_metadata, taken_vectors, transfer
from panoptic_assets.tags.exchange.formats import Mode
from panoptic_assets.tags.exchange.identified import Identified, identify
from panoptic_assets.tags.exchange.panoptic_folder import (
    PanopticContent,
    VectorType,
    panoptic_vectors,
    read_panoptic_folder,
)
from panoptic_assets.tags.exchange.taken_metadata import TakenMetadata
from panoptic_assets.tags.exchange.taken_vectors import VectorsSeen
from resources.errors import InputError
from resources.lance import LanceStore
from resources.page_paths import file_of
from resources.project_folder import ProjectFolder
from resources.source import ImageSource

_INVENTORY = "panoptic.csv"


@dataclass(frozen=True)
class PanopticImported:
    """What an import of a project of Panoptic did, or would do."""

    tags: transfer.Imported
    nb_folders: int
    """That it has its images from."""
    metadata: str
    """The file that its other properties are in, below the project's folder; empty: none."""
    nb_properties: int
    nb_lines: int
    """Of that file."""
    vectors: str
    """The vector type that its vectors are; empty: none were asked for."""
    nb_vectors: int
    notes: tuple[str, ...]
    """What a person must know, one sentence each."""


@dataclass(frozen=True)
class ForeignVectors:
    """Vectors of a project of Panoptic that are to become a vector type."""

    key: str
    of: VectorType
    folder: Path
    file: str
    """Where they are written to, below the project's folder."""


@dataclass(frozen=True)
class PanopticPlan:
    """A project of Panoptic that was read, and what its images are."""

    folder: Path
    content: PanopticContent
    identified: Identified
    metadata: TakenMetadata
    vectors: ForeignVectors | None


def prepare(
    store: LanceStore,
    project: ProjectFolder,
    folder: Path,
    source: ImageSource,
    properties: tuple[str, ...] = (),
    vectors: str | None = None,
    replace: bool = False,
    reporter: Reporter | None = None,
) -> PanopticPlan:
    """Read a project of Panoptic and check all of it; nothing is written.

    Args:
        store: The store.
        project: Whose store that is.
        folder: The folder of the project of Panoptic.
        source: Where files are hashed.
        properties: Names of the properties to take; empty: all.
        vectors: The key of the vector type that Panoptic's vectors become: ``key``, or
            ``key=number`` with Panoptic's number where it has vectors of several kinds.
        replace: Whether files of an earlier import that hold something else are replaced.
        reporter: Is shown how far the hashing is.

    Raises:
        InputError: It cannot be taken.
    """
    content = read_panoptic_folder(folder, properties)
    chosen = None if vectors is None else _chosen(content, vectors, folder)
    identified = identify(store, project.images, content.said.images, source, reporter)
    paths = {image: file_of(found[0]) for image, found in present_files(store).items()}
    lines = [
        (paths[image_id], cells)
        for place, cells in content.lines
        if (image_id := identified.image_ids[place]) in paths and image_id is not None
    ]
    metadata = taken_metadata.prepare(
        project, _INVENTORY, content.columns if lines else [], sorted(lines), replace
    )
    return PanopticPlan(folder, content, identified, metadata, chosen)


def store_panoptic_tags(
    plan: PanopticPlan, store: LanceStore, config: EditsConfig, mode: Mode, check: bool
) -> transfer.Imported:
    """Append the tags to the log, or only say what that would do.

    Raises:
        InputError: None of the images is in the corpus, or a name is no tag's.
    """
    said, known = plan.content.said, plan.identified
    return transfer.append(store, plan.folder, said, config, "", mode, check, known=known)


def write_panoptic_vectors(
    plan: PanopticPlan, project: ProjectFolder, replace: bool, check: bool
) -> VectorsSeen | None:
    """Write the vectors of the images that are here to a file, or only look at them.

    Returns what was seen of them; None where none are asked for.

    Raises:
        InputError: There are none, or the file holds others.
    """
    chosen = plan.vectors
    if chosen is None:
        return None
    seen = VectorsSeen(chosen.of.words)
    target = project.folder / chosen.file
    taken_vectors.write_vectors(_vectors(plan, chosen), seen, target, replace, check)
    return seen


def _vectors(plan: PanopticPlan, chosen: ForeignVectors) -> Iterator[tuple[str | None, np.ndarray]]:
    place, image_ids = plan.content.place(), plan.identified.image_ids
    for sha1, vector in panoptic_vectors(chosen.folder, chosen.of.number):
        at = place.get(sha1.lower())
        yield None if at is None else image_ids[at], vector


def _chosen(content: PanopticContent, vectors: str, folder: Path) -> ForeignVectors:
    key, _, number = vectors.partition("=")
    parse_name(key, "vector type")
    known = [each for each in content.vector_types if each.nb_vectors]
    if not known:
        raise InputError(
            "{folder} has no vectors: leave --vectors out.", id="no-panoptic-vectors", folder=folder
        )
    fitting = [each for each in known if not number or str(each.number) == number]
    if len(fitting) != 1:
        listed = "; ".join(f"{each.number}: {each.words}" for each in known)
        raise InputError(
            "{folder} has these kinds of vectors: {known}. Say which one, as in {key}={number}.",
            id="panoptic-vectors-of-several-kinds",
            folder=folder,
            key=key,
            number=known[0].number,
            known=listed,
        )
    return ForeignVectors(key, fitting[0], folder, f"panoptic-{key}.parquet")


def panoptic_imported(
    plan: PanopticPlan, tags: transfer.Imported, seen: VectorsSeen | None
) -> PanopticImported:
    """What was done, or would be, in one."""
    metadata = plan.metadata
    return PanopticImported(
        tags,
        plan.content.nb_folders,
        metadata.file.name if metadata.nb_properties else "",
        metadata.nb_properties,
        metadata.nb_lines,
        plan.vectors.key if plan.vectors else "",
        seen.nb_vectors if seen else 0,
        (*plan.content.notes, *(seen.notes() if seen else ()), *metadata.notes),
    )
