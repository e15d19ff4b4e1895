"""The corpus: which images there are, and what a model sees in them.

Belongs here: ``images``. Does not belong here: what changed (``corpus.manifest``),
decoding (``resources.decoding``), and how vectors are made (``resources.engine``).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from panoptic_assets.corpus import manifest
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.properties import InventoryReport, apply_inventory
from panoptic_assets.corpus.table import (
    forgotten_images,
    paths_of_images,
    read_manifest,
    read_thumbnails,
    write_files,
)
from panoptic_assets.corpus.versions import record_version
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.running import (
    FRESHNESS,
    POOL,
    commits,
    plain_failures,
    progress,
)
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import given_config, parse
from resources.decoding import UnreadableImage, mean_colour, perceptual_hash, thumbnail
from resources.lance import LanceStore
from resources.parallel import bounded_map
from resources.registry import Registry
from resources.schemas import SCHEMAS
from resources.source import ImageSource, SourceFile

_DECODE_SIDE = 320
"""Pixels: twice the thumbnail's, see :func:`resources.decoding.decode`."""

_IMAGES_SHOWN = 24
_LISTED = 50
_CHANGES_BYTES = 14_000

Row = dict[str, Any]


@dg.asset(
    config_schema=schema_of(ImagesConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb", "image"},
    code_version="2",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def images(
    context: dg.AssetExecutionContext,
    source: dg.ResourceParam[ImageSource],
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """One row per image (content) and one per file: sizes, format, thumbnail, quarantine.

    A file whose size and time of change are as before is not read again; a file that was moved or
    renamed keeps its image; one that is gone leaves a tombstone. An image that was forgotten stays
    out. The file of metadata, if the project names one, gives the images their properties.

    Where the whole corpus or a whole top folder is gone, nothing is done unless the configuration
    accepts that.
    """
    config = parse(ImagesConfig, given_config(context.run.run_config, "images"))
    metadata = registry.metadata_file
    before = read_manifest(store)
    listing = source.list()
    for line in listing.warnings:
        dg.get_dagster_logger().warning(line)
    todo = manifest.plan(before, listing.files, listing.unreadable_folders, source.reader)
    question = manifest.absence(before, todo, source.takes, source.place)
    if question and not config.accept_missing:
        raise question
    known = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    forgotten = forgotten_images(store)
    refused: list[str] = []
    after = dict(before)
    ingested = _ingested(source, todo.read, known | forgotten)
    for group in commits(progress(context.log.info, ingested, len(todo.read), "images")):
        refused += [file.path for file, _ in group if file.image_id in forgotten]
        # Images before the files that refer to them: a crash in between loses nothing.
        if new := {image["image_id"]: image for _, image in group if image}:
            store.upsert("images", pa.Table.from_pylist(list(new.values()), SCHEMAS["images"]))
        held = [file for file, _ in group if file.image_id not in forgotten]
        after |= write_files(store, before, held)
    # What another image's file holds by now may be one that was forgotten.
    gone = [*todo.gone, *(before[path] for path in refused if path in before)]
    after |= write_files(store, before, [manifest.missing(file) for file in gone])
    if after != before:
        # Those of runs too: each run adds a fragment to them, and tidying a table that has a
        # thousand versions takes half a second, too long for every run.
        for table_name in ("files", "images", "records", "clusters", "assignments"):
            store.optimize(table_name)
    record_version(store, after, context.run_id)
    properties = apply_inventory(store, metadata, paths_of_images(after.values()), registry.images)
    return _corpus_result(store, before, after, len(todo.read), len(refused), properties)


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


def _corpus_result(
    store: LanceStore,
    before: Mapping[str, manifest.File],
    after: Mapping[str, manifest.File],
    nb_files_read: int,
    nb_files_forgotten: int,
    properties: InventoryReport,
) -> dg.MaterializeResult[None]:
    changes = manifest.changes(before, after)
    statuses = Counter(file.status for file in after.values())
    present = {file.holds for file in after.values() if file.holds}
    version = manifest.corpus_version(after.values())
    newest = {after[path].holds for path in changes.added + changes.changed}
    shown = sorted(filter(None, newest or present))[:_IMAGES_SHOWN]
    quarantine = [
        [path, file.reason] for path, file in sorted(after.items()) if file.status == "quarantined"
    ]
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(present),
            "nb_files": statuses["present"],
            "nb_files_missing": statuses["missing"],
            "nb_files_quarantined": statuses["quarantined"],
            "nb_files_forgotten": nb_files_forgotten,
            "nb_files_read": nb_files_read,
            **{f"nb_{what}": len(paths) for what, paths in vars(changes).items()},
            "nb_properties": properties.nb_properties,
            "nb_metadata_rows": properties.nb_rows,
            "nb_metadata_unmatched": properties.nb_unmatched,
            "nb_metadata_findings": properties.findings.total,
            "corpus_version": version,
            "changes": dg.MetadataValue.md(_changes_table(changes)),
            "quarantine": dg.MetadataValue.md(table(["file", "reason"], quarantine, most=_LISTED)),
            "metadata_findings": dg.MetadataValue.md(_findings_table(properties)),
            "contact_sheet": dg.MetadataValue.md(in_rows(read_thumbnails(store, shown))),
        },
        data_version=dg.DataVersion(digest(version, properties.digest)),
    )


def _findings_table(properties: InventoryReport) -> str:
    """Lines of the file of metadata that name no file, and cells that were left out."""
    found = [
        [entry.line, entry.column, entry.value, entry.cause] for entry in properties.findings.first
    ]
    found += [["", "", name, "no file of the corpus"] for name in properties.unmatched]
    return table(["line", "column", "value", "cause"], found, most=_LISTED)


def _changes_table(changes: manifest.Changes) -> str:
    """What became of which file; of a kind, the first ones."""
    listed = {
        "added": changes.added,
        "changed": changes.changed,
        "moved": [f"{old} → {new}" for old, new in changes.moved],
        "returned": changes.returned,
        "duplicate": changes.duplicate,
        "missing": changes.missing,
        "quarantined": [f"{path}: {reason}" for path, reason in changes.quarantined],
    }
    listed = {what: files for what, files in listed.items() if files}
    tables = [
        table(
            [f"{what}: {len(files):,}"],
            [[file] for file in files],
            _LISTED,
            _CHANGES_BYTES // len(listed),
        )
        for what, files in listed.items()
    ]
    return "\n\n".join(tables) or "(none)"
