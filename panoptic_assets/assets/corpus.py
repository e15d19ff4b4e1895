"""The corpus: which images there are, and what a model sees in them.

Belongs here: ``images`` and ``embeddings``. Does not belong here: what changed (``core.manifest``),
decoding (``resources.decoding``), and how vectors are made (``resources.engine``).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from panoptic_assets import imports
from panoptic_assets.core import manifest
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus_history import record_version
from panoptic_assets.features.config import EmbeddingsConfig
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import VECTOR_TYPES
from panoptic_assets.orchestration.running import (
    FRESHNESS,
    POOL,
    commits,
    partition_of,
    plain_failures,
    progress,
)
from panoptic_assets.reports.contact_sheet import contact_sheet
from panoptic_assets.reports.markdown import bullets, table
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import given_config, parse
from panoptic_assets.tables.images import (
    SidecarReport,
    apply_sidecar,
    forgotten_images,
    image_names,
    paths_of_images,
    present_files,
    read_manifest,
    read_thumbnails,
    write_files,
)
from panoptic_assets.tables.vectors import MODEL_METADATA, embedded, model_identity
from resources.decoding import UnreadableImage, mean_colour, perceptual_hash, thumbnail
from resources.engine import Engine, Job, Staged, Work
from resources.errors import InputError, UnavailableError
from resources.lance import SCHEMAS, LanceStore, vectors_schema, vectors_table
from resources.models import OpenClipModels
from resources.parallel import bounded_map
from resources.registry import Registry
from resources.source import ImageSource, SourceFile
from resources.vectors_file import VectorsFile

_DECODE_SIDE = 320
"""Pixels: twice the thumbnail's, see :func:`resources.decoding.decode`."""

_IMAGES_SHOWN = 24
_PICTURED = 8
"""Images in a row of the contact sheet."""
_LISTED = 50
_WARNINGS = 20
_SHEET_BYTES = 12_000
"""In base64 16 kB, as the tables take up to 34 kB."""
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
        raise UnavailableError(question)
    known = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    forgotten = forgotten_images(store)
    refused: list[str] = []
    after = dict(before)
    ingested = _ingested(source, todo.read, known | forgotten)
    for group in commits(progress(context, ingested, len(todo.read), "images")):
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
    properties = apply_sidecar(store, metadata, paths_of_images(after.values()), registry.images)
    return _corpus_result(store, before, after, len(todo.read), len(refused), properties)


@dg.asset(
    partitions_def=VECTOR_TYPES,
    deps=[images],
    config_schema=schema_of(EmbeddingsConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb", "pytorch"},
    code_version="2",
    freshness_policy=FRESHNESS,
)
@plain_failures()
def embeddings(
    context: dg.AssetExecutionContext,
    source: dg.ResourceParam[ImageSource],
    store: dg.ResourceParam[LanceStore],
    models: dg.ResourceParam[OpenClipModels],
    registry: dg.ResourceParam[Registry],
    engine: dg.ResourceParam[Engine],
) -> dg.MaterializeResult[None]:
    """One unit-length float32 vector per image, by the model of ``configs/models/<key>.yaml``.

    Only images without a vector are embedded, from the original file. What the engine stages is
    committed in groups, and first of all what an interrupted run has left.
    """
    vector_type = parse_name(partition_of(context), "vector type")
    config = parse(EmbeddingsConfig, given_config(context.run.run_config, "embeddings"))
    spec = registry.model(vector_type)
    table_name = vectors_table(vector_type)
    stored = model_identity(store, vector_type)
    if stored and (differing := spec.differences(stored)):
        raise InputError(_refusal(vector_type, differing))
    if left := store.staged(table_name):
        if stored:
            count = store.commit(table_name, left)
            context.log.info(f"Committed {count:,} vectors that an interrupted run had staged.")
        else:  # of a table that somebody has removed since
            store.discard(table_name, left)
    before = embedded(store, vector_type)
    if isinstance(spec, VectorsFile):
        task = _import(vector_type, spec, before, store, registry)
    else:
        if config.batch_size:
            spec = spec.model_copy(update={"batch_size": config.batch_size})
        job = Job(table_name, spec, stored or {}, source, store, models)
        task = _embed(context, vector_type, job, before, engine)
    failed: dict[str, str] = {}
    done = progress(context, task.parts, task.total, "embeddings", lambda part: part.nb_images)
    for group in commits(done, lambda part: part.nb_vectors):
        store.commit(table_name, [part.name for part in group if part.name])
        for part in group:
            failed |= part.failed
    store.optimize(table_name)
    return _vectors_result(context, store, vector_type, before, failed, task)


@dataclass(frozen=True)
class _Task:
    """Vectors to be made or imported."""

    parts: Iterator[Staged]
    total: int
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _embed(
    context: dg.AssetExecutionContext, vector_type: str, job: Job, before: set[str], engine: Engine
) -> _Task:
    present = present_files(job.store)
    work = [Work(image_id, present[image_id]) for image_id in sorted(present.keys() - before)]
    if not work:
        return _Task(iter(()), 0)
    encoder = job.models.load(job.spec, job.identity or None, on_build=context.log.info)
    _create(vector_type, job.store, encoder.dim, encoder.identity)
    return _Task(engine.embed(replace(job, identity=encoder.identity), work), len(work))


def _import(
    vector_type: str, spec: VectorsFile, before: set[str], store: LanceStore, registry: Registry
) -> _Task:
    table_name = vectors_table(vector_type)
    known = image_names(store, registry.images)
    checked = imports.check(spec.batches(registry.folder_path), known, table_name, store)
    _create(vector_type, store, checked.dim, spec.identity(checked.dim))
    batches = spec.batches(registry.folder_path)
    notes = known.notes
    parts = imports.stage(batches, known, before, table_name, store, checked.unknown)
    return _Task(parts, checked.nb_vectors, checked.unknown, notes)


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


def _create(vector_type: str, store: LanceStore, dim: int, identity: dict[str, Any]) -> None:
    """Create the vector type's table, or refuse a model that is not the one that made it."""
    schema = store.create(
        vectors_table(vector_type),
        vectors_schema(dim),
        {MODEL_METADATA: json.dumps(identity, ensure_ascii=False, sort_keys=True)},
    )
    stored = json.loads(schema.metadata[MODEL_METADATA.encode()])
    differing = [
        f"{name}: {stored.get(name)!r} is stored, {identity.get(name)!r} was loaded"
        for name in sorted(stored.keys() | identity.keys())
        if stored.get(name) != identity.get(name)
    ]
    if differing:
        raise InputError(_refusal(vector_type, differing))


def _refusal(vector_type: str, differing: list[str]) -> str:
    return (
        f"The vectors of {vector_type!r} were made by another model ({'; '.join(differing)}). "
        "Vectors of two models cannot be compared: give the new model a file, and so a key, of its "
        "own in configs/models."
    )


def _corpus_result(
    store: LanceStore,
    before: Mapping[str, manifest.File],
    after: Mapping[str, manifest.File],
    nb_files_read: int,
    nb_files_forgotten: int,
    properties: SidecarReport,
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
            "contact_sheet": dg.MetadataValue.md(_in_rows(read_thumbnails(store, shown))),
        },
        data_version=dg.DataVersion(digest(version, properties.digest)),
    )


def _in_rows(thumbnails: list[bytes]) -> str:
    """A contact sheet of images without any order."""
    rows = range(0, len(thumbnails), _PICTURED)
    return contact_sheet([thumbnails[row : row + _PICTURED] for row in rows], _SHEET_BYTES)


def _findings_table(properties: SidecarReport) -> str:
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


def _vectors_result(
    context: dg.AssetExecutionContext,
    store: LanceStore,
    vector_type: str,
    before: set[str],
    failed: Mapping[str, str],
    task: _Task,
) -> dg.MaterializeResult[None]:
    identity = model_identity(store, vector_type)
    present = present_files(store)
    stored = embedded(store, vector_type)
    having = sorted(stored & present.keys())
    newest = [image_id for image_id in having if image_id not in before] or having
    reasons = [[present[image_id][0], reason] for image_id, reason in failed.items()]
    for path, reason in reasons[:_WARNINGS]:
        context.log.warning(f"Not embedded: {path!r}: {reason}")
    for note in task.notes:
        context.log.warning(note)
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(having),
            "nb_embedded_now": len(stored - before),
            "nb_not_embedded": len(present) - len(having),
            "nb_unknown": len(task.unknown),
            "contact_sheet": dg.MetadataValue.md(
                _in_rows(read_thumbnails(store, newest[:_IMAGES_SHOWN]))
            ),
            "model": dg.MetadataValue.json(identity or {}),
            "not_embedded": dg.MetadataValue.md(table(["file", "reason"], reasons, most=_LISTED)),
            "unknown": dg.MetadataValue.md(
                table(
                    ["row of no image of the corpus"],
                    [[name] for name in task.unknown],
                    most=_LISTED,
                )
            ),
            **({"notes": dg.MetadataValue.md(bullets(task.notes))} if task.notes else {}),
        },
        data_version=dg.DataVersion(digest(identity, having)),
    )
