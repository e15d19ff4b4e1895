"""Importing a dataset of FiftyOne: its tags, values and vectors.

Belongs here: what is made of which part of it, all of it checked before anything is written. Does
not belong here: what stands in its samples (``tags.exchange.fiftyone_samples``), and what an
inventory or a vector type is (``corpus.inventory``, ``features.imported_vectors``).
"""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_assets.corpus.table import present_files
from panoptic_assets.corpus.values import PropertyType
from panoptic_assets.spec.reporting import Reporter, Silent
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.spec.text import beginning, cut
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange import taken_metadata, taken_vectors, transfer
from panoptic_assets.tags.exchange.fiftyone_samples import (
    SHOWN_FIELDS,
    FiftyOneSamples,
    read_samples,
)
from panoptic_assets.tags.exchange.formats import ExchangeError, ImageName, Mode
from panoptic_assets.tags.exchange.identified import Identified, identify
from panoptic_assets.tags.exchange.taken_metadata import TakenMetadata
from panoptic_assets.tags.exchange.taken_vectors import VectorsSeen
from resources.errors import InputError, noted
from resources.fiftyone_files import ArrayError, array_of, is_export, samples_in
from resources.lance import LanceStore
from resources.project_folder import ProjectFolder
from resources.source import ImageSource

_INVENTORY = "fiftyone.csv"


@dataclass(frozen=True)
class FiftyOneImported:
    """What an import of a dataset did, or would do."""

    tags: transfer.Imported
    metadata: str
    """The file that its values are in, below the project's folder; empty: none."""
    nb_properties: int
    nb_lines: int
    """Of that file."""
    vectors: dict[str, int]
    """By the vector type that they are: how many, of images of the corpus."""
    notes: tuple[str, ...]
    """What a person must know, one sentence each."""


@dataclass(frozen=True)
class FiftyOnePlan:
    """A dataset that was read, and what its images are."""

    place: Path
    samples: FiftyOneSamples
    identified: Identified
    paths: dict[str, str]
    """For each image that has files the path of the first one."""
    metadata: TakenMetadata


def prepare(
    store: LanceStore,
    project: ProjectFolder,
    place: Path,
    source: ImageSource,
    properties: Collection[str] = (),
    fields: Iterable[str] = (),
    replace: bool = False,
    reporter: Reporter | None = None,
) -> FiftyOnePlan:
    """Read a dataset and check all of it; nothing is written.

    A sample is found as any image that another program's file names. Where that fails and the
    export holds the image itself, its bytes tell which one it is.

    Args:
        store: The store.
        project: Whose store that is.
        place: The FiftyOneDataset's folder, or its file of samples.
        source: The images.
        properties: Names of the properties to take; empty: all.
        fields: Those that are to be vectors.
        replace: Whether files of an earlier import that hold something else are replaced.
        reporter: Is shown how far the hashing is.

    Raises:
        InputError: It cannot be taken.
    """
    if not is_export(place):
        raise InputError(
            "{folder} is no FiftyOneDataset: there is no samples.json in it. Export one in "
            "FiftyOne, as `fiftyone.types.FiftyOneDataset`; a CSVDataset comes in by "
            "`panoptic-assets import-tags`, and as `metadata`.",
            id="no-fiftyone-dataset",
            folder=place,
        )
    try:
        samples = read_samples(place, properties, with_values=True)
    except ExchangeError as error:
        raise InputError(
            "{file}: {reason}", id="file-not-imported", file=place, reason=error
        ) from error
    known = {normalised(name) for name in (*samples.said.tags, *samples.cells)}
    for name in properties:
        if normalised(name) not in known:
            raise InputError(
                "{folder} has no tags or values of {name!r}; there are some of {known}.",
                id="no-fiftyone-property",
                folder=place,
                name=name,
                known=beginning(sorted(known), SHOWN_FIELDS) or "none",
            )
    for name in fields:
        if name not in samples.arrays:
            arrays = [cut(field, 80) for field in samples.arrays]
            raise InputError(
                "No sample has an array in the field {field!r}; fields that have: {known}.",
                id="no-fiftyone-vectors",
                field=name,
                known=beginning(arrays, SHOWN_FIELDS) or "none",
            )
    identified = identify(store, project.images, samples.said.images, source, reporter)
    present = present_files(store)
    identified = _by_content(place, samples.said.images, identified, present, reporter)
    paths = {image_id: files[0] for image_id, files in present.items()}
    metadata = taken_metadata.prepare(
        project, _INVENTORY, *_table(samples, identified, paths), replace
    )
    return FiftyOnePlan(place, samples, identified, paths, metadata)


def _by_content(
    place: Path,
    images: Sequence[ImageName],
    identified: Identified,
    present: Collection[str],
    reporter: Reporter | None,
) -> Identified:
    """Those as well whose copy in the export has the bytes of an image."""
    base = (place if place.is_dir() else place.parent).resolve()
    copies = [
        (number, copy)
        for number, image_id in enumerate(identified.image_ids)
        if image_id is None and (copy := _copy_of(base, images[number])) is not None
    ]
    found: dict[int, str] = {}
    for number, copy in (reporter or Silent()).track(copies, len(copies), "files"):
        with copy.open("rb") as file:
            image_id = hashlib.file_digest(file, "sha256").hexdigest()
        if image_id in present:
            found[number] = image_id
    named = {images[number].paths[0] for number in found}
    return dataclasses.replace(
        identified,
        image_ids=[found.get(at, known) for at, known in enumerate(identified.image_ids)],
        unknown=[name for name in identified.unknown if name not in named],
        ambiguous=[name for name in identified.ambiguous if name not in named],
    )


def _copy_of(base: Path, image: ImageName) -> Path | None:
    """The image's file in the export, if it holds that; nothing outside of it is ever opened."""
    try:
        file = (base / image.paths[0]).resolve()
        return file if file.is_relative_to(base) and file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, NUL, links in a circle
        return None


def _table(
    samples: FiftyOneSamples, identified: Identified, paths: Mapping[str, str]
) -> tuple[list[tuple[str, PropertyType]], list[tuple[str, list[str]]]]:
    """The columns of an inventory of the values, and its lines by path."""
    columns = samples.columns()
    cells = [samples.cells[name] for name in columns]
    lines = []
    for place, image_id in enumerate(identified.image_ids):
        line = [of_column[place][1] if place in of_column else "" for of_column in cells]
        if (path := paths.get(image_id or "")) is not None and any(line):
            lines.append((path, line))
    return list(columns.items()) if lines else [], sorted(lines)


def store_tags(
    plan: FiftyOnePlan, store: LanceStore, config: EditsConfig, mode: Mode, check: bool
) -> transfer.Imported:
    """Append the tags to the log, or only say what that would do.

    Raises:
        InputError: None of the images is in the corpus, or a name is no tag's.
    """
    said, known = plan.samples.said, plan.identified
    return transfer.append(store, plan.place, said, config, "", mode, check, known=known)


def vectors_file(project: ProjectFolder, key: str) -> Path:
    """Where the vectors are written that become a vector type."""
    return project.folder / f"fiftyone-{key}.parquet"


def write_fiftyone_vectors(
    plan: FiftyOnePlan, field: str, target: Path, replace: bool, check: bool
) -> VectorsSeen:
    """Write the vectors in a field of the images that are here to a file, or only look at them.

    Args:
        plan: The dataset.
        field: The field.
        target: The file.
        replace: Whether one that holds other vectors is replaced.
        check: Whether nothing is written.

    Raises:
        InputError: There are none, or the file holds others.
    """
    seen = VectorsSeen(field)
    taken_vectors.write_vectors(_vectors(plan, field), seen, target, replace, check)
    return seen


def _vectors(plan: FiftyOnePlan, field: str) -> Iterator[tuple[str | None, np.ndarray]]:
    samples = zip(samples_in(plan.place), plan.samples.places, strict=False)
    for number, (sample, place) in enumerate(samples, start=1):
        value = sample.get(field) if isinstance(sample, dict) else None
        if value is None:
            continue
        try:
            with np.errstate(over="ignore"):  # it has no direction then
                vector = array_of(value).astype(np.float32)
        except ArrayError as error:
            raise InputError(
                "Sample {number:,}: the array in {field!r} cannot be used: {reason}. Name a field "
                "of vectors.",
                id="fiftyone-vector-unusable",
                number=number,
                field=field,
                reason=error,
            ) from error
        yield plan.identified.image_ids[place], vector


def imported(
    plan: FiftyOnePlan,
    tags: transfer.Imported,
    seen: Mapping[str, VectorsSeen],
    fields: Collection[str],
) -> FiftyOneImported:
    """What was done, or would be, in one.

    Args:
        plan: The dataset.
        tags: What became of the tags.
        seen: For each vector type what was seen of its vectors.
        fields: Those whose vectors are vector types.
    """
    samples, metadata = plan.samples, plan.metadata
    said = [note for each in seen.values() for note in each.notes()]
    if left := [cut(name, 80) for name in samples.arrays if name not in fields]:
        said.append(
            noted(
                "Fields of arrays, or of lists of numbers: {fields}. `--vectors KEY=FIELD` makes "
                "one a vector type.",
                fields=beginning(left, SHOWN_FIELDS),
            )
        )
    if samples.left_out:
        kinds = [f"{cut(name, 80)} ({cut(kind, 80)})" for name, kind in samples.left_out.items()]
        said.append(
            noted("Fields that are not taken: {fields}.", fields=beginning(kinds, SHOWN_FIELDS))
        )
    return FiftyOneImported(
        tags,
        metadata.file.name if metadata.nb_properties else "",
        metadata.nb_properties,
        metadata.nb_lines,
        {key: each.nb_vectors for key, each in seen.items()},
        (*said, *metadata.notes),
    )
