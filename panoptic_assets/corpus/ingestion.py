"""The act of reading the images' folder: which images and files there are by now.

Belongs here: which files are read, and committing what they hold in groups. Does not belong here:
what became of each file (``corpus.manifest``), and decoding (``resources.decoding``).
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from panoptic_assets.corpus import manifest
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus.properties import InventoryReport, apply_inventory
from panoptic_assets.corpus.table import (
    forgotten_images,
    paths_of_images,
    read_manifest,
    write_files,
)
from panoptic_assets.corpus.versions import record_version
from panoptic_assets.orchestration.acting import Context, commits
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.resolution import Document, parse
from resources.decoding import UnreadableImage, mean_colour, perceptual_hash, thumbnail
from resources.parallel import bounded_map
from resources.schemas import SCHEMAS
from resources.source import ImageSource, SourceFile

_DECODE_SIDE = 320
"""Pixels: twice the thumbnail's, see :func:`resources.decoding.decode`."""

Row = dict[str, Any]


@dataclass(frozen=True)
class IngestionPlan:
    """A folder of images that was listed and can be read."""

    context: Context
    before: dict[str, manifest.File]
    """The manifest so far, by path."""
    todo: manifest.Pending[SourceFile]
    known: set[str]
    """Ids of the images that have a row."""
    forgotten: set[str]
    """Ids of those that stay out."""
    metadata: Path | None
    """The inventory, if the project names one."""
    warnings: list[str]
    """What was skipped, in sentences."""


@dataclass(frozen=True)
class Ingestion:
    """Files that are being read."""

    plan: IngestionPlan
    files: Iterator[tuple[manifest.File, Row | None]]
    """What each file is, and the row of its image if that is new: read as they are asked for."""


@dataclass(frozen=True)
class Ingested:
    """Files that were read."""

    plan: IngestionPlan
    after: dict[str, manifest.File]
    """The manifest now, by path."""
    nb_forgotten: int
    """Files that hold an image which stays out."""
    properties: InventoryReport


def prepare(context: Context, key: str, given: Document) -> IngestionPlan:
    """List the images' folder, and compare it with the manifest.

    Args:
        context: What is read.
        key: Empty: there are no partitions.
        given: Fields of :class:`panoptic_assets.corpus.config.ImagesConfig`.

    Raises:
        InputError: The configuration cannot be used, the folder cannot be reached, or there is no
            such inventory.
        UnavailableError: The whole corpus or a whole top folder is gone, and the configuration does
            not accept that.
    """
    config = parse(ImagesConfig, given)
    store, source = context.store, context.source
    metadata = context.registry.metadata_file
    before = read_manifest(store)
    listing = source.list()
    todo = manifest.outstanding(before, listing.files, listing.unreadable_folders, source.reader)
    question = manifest.absence(before, todo, source.takes, source.place)
    if question and not config.accept_missing:
        for line in listing.warnings:
            context.reporter.tell(line, "yellow")
        raise question
    known = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    forgotten = forgotten_images(store)
    return IngestionPlan(context, before, todo, known, forgotten, metadata, listing.warnings)


def check_refresh(context: Context, given: Document) -> None:
    """Refuse what can be refused without listing the images' folder, which may take minutes.

    Args:
        context: What is read.
        given: Fields of :class:`panoptic_assets.corpus.config.ImagesConfig`.

    Raises:
        InputError: As :func:`prepare`, of what is configured and of a folder that is not there.
    """
    parse(ImagesConfig, given)
    context.registry.metadata_file  # noqa: B018
    context.source.check()


def run(plan: IngestionPlan) -> Ingestion:
    """Read the files that are new or may have changed, as :func:`store` asks for them.

    One that cannot be read never stops the others.

    Raises:
        InputError: From the iterator: the folder as a whole can no longer be reached.
    """
    context, todo = plan.context, plan.todo
    for line in plan.warnings:
        context.reporter.tell(line, "yellow")
    ingested = _ingested(context.source, todo.read, plan.known | plan.forgotten)
    return Ingestion(plan, context.reporter.track(ingested, len(todo.read), N_("images")))


def store(ingestion: Ingestion) -> Ingested:
    """Write what the files hold, in groups; then the tombstones, the version and the properties.

    Raises:
        InputError: The folder can no longer be reached, or the inventory cannot be used.
    """
    plan = ingestion.plan
    context, before = plan.context, plan.before
    refused: list[str] = []
    after = dict(before)
    for group in commits(ingestion.files):
        refused += [file.path for file, _ in group if file.image_id in plan.forgotten]
        # Images before the files that refer to them: a crash in between loses nothing.
        if new := {image["image_id"]: image for _, image in group if image}:
            rows = pa.Table.from_pylist(list(new.values()), SCHEMAS["images"])
            context.store.upsert("images", rows)
        held = [file for file, _ in group if file.image_id not in plan.forgotten]
        after |= write_files(context.store, before, held)
    # What another image's file holds by now may be one that was forgotten.
    gone = [*plan.todo.gone, *(before[path] for path in refused if path in before)]
    after |= write_files(context.store, before, [manifest.missing(file) for file in gone])
    if after != before:
        # Those of runs too: each run adds a fragment to them, and tidying a table that has a
        # thousand versions takes half a second, too long for every run.
        for table in ("files", "images", "records", "clusters", "assignments"):
            context.store.optimize(table)
    record_version(context.store, after, context.dagster_run_id)
    properties = apply_inventory(
        context.store, plan.metadata, paths_of_images(after.values()), context.registry.images
    )
    return Ingested(plan, after, len(refused), properties)


def _ingested(
    source: ImageSource, files: Iterable[SourceFile], known: set[str]
) -> Iterator[tuple[manifest.File, Row | None]]:
    """What each file is, and the row of its image if that is new; decoding runs in threads."""

    def ingest(listed: SourceFile) -> tuple[manifest.File, Row | None]:
        file = manifest.File(
            listed.path, None, "present", None, listed.size, listed.mtime_ns, listed.etag, ""
        )
        try:
            data = source.read(listed.path)
            file = replace(file, image_id=hashlib.sha256(data).hexdigest())
            return file, None if file.image_id in known else _image_row(source, file, data)
        except UnreadableImage as error:
            return (
                replace(file, status="quarantined", reason=error.reason, reader=source.reader),
                None,
            )

    threads = ThreadPoolExecutor(source.readers, "reader")
    try:
        for file, image in bounded_map(threads, ingest, files, 16 * source.readers):
            if image:
                known.add(image["image_id"])
            yield file, image
    finally:
        # An interrupted command does not wait for huge scans that are being decoded.
        threads.shutdown(wait=False, cancel_futures=True)


def _image_row(source: ImageSource, file: manifest.File, data: bytes) -> Row:
    image = source.decode(data, _DECODE_SIDE)
    return {
        "image_id": file.image_id,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": len(data),
        "taken_at": image.taken_at,
        "phash": perceptual_hash(image.rgb),
        "mean_colour": mean_colour(image.rgb),
        "thumbnail": thumbnail(image.rgb),
        "added_at": datetime.now(UTC),
    }
