"""The corpus: which images there are, and what a model sees in them.

Belongs here: ``images`` and ``embeddings``. Does not belong here: decoding (``resources.decoding``)
and models (``resources.models``).
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from panoptic_assets.assets.running import POOL, partition_of, plain_failures, progress
from panoptic_assets.config import EmbeddingsConfig, given_config, parse, schema_of
from panoptic_assets.keys import VECTOR_TYPES, parse_name
from panoptic_assets.records import digest
from panoptic_assets.reports.contact_sheet import contact_sheet
from panoptic_assets.reports.markdown import table
from panoptic_assets.tables import (
    MODEL_METADATA,
    model_identity,
    present_files,
    read_thumbnails,
)
from resources.decoding import DecodedImage, UnreadableImage, thumbnail
from resources.errors import InputError
from resources.lance import SCHEMAS, LanceStore, vectors_schema, vectors_table
from resources.models import Encoder, ModelSpec, OpenClipModels
from resources.registry import Registry
from resources.source import ImageSource, SourceFile

_COMMIT_FILES = 512
"""Files in one commit of ``images``: what a crash can cost at most."""

_THREADS = min(4, os.cpu_count() or 1)
"""Threads that decode: Pillow releases the interpreter, but one huge scan can take gigabytes."""

Row = dict[str, Any]


@dg.asset(group_name="corpus", pool=POOL, kinds={"lancedb", "image"}, code_version="1")
@plain_failures()
def images(
    context: dg.AssetExecutionContext, source: ImageSource, store: LanceStore
) -> dg.MaterializeResult[None]:
    """One row per image (content) and one per file: sizes, format, thumbnail, quarantine.

    A file whose size and time of change are the same as at the last refresh is not read again.
    """
    found = source.list().files
    known = {row["path"]: row for row in store.read("files").to_pylist()}
    changed = [
        file
        for file in found
        if not (row := known.get(file.path))
        or (row["size"], row["mtime_ns"]) != (file.size, file.mtime_ns)
        or row["status"] == "missing"
    ]
    paths = {file.path for file in found}
    gone = [
        row for row in known.values() if row["status"] != "missing" and row["path"] not in paths
    ]
    ingested = set(store.read("images", ["image_id"])["image_id"].to_pylist())
    with progress(context, len(changed), "images") as advance:
        for files, new_images in _ingested(source, changed, ingested):
            # Images before the files that refer to them: a crash in between loses nothing.
            if new_images:
                store.upsert("images", pa.Table.from_pylist(new_images, SCHEMAS["images"]))
            store.upsert("files", pa.Table.from_pylist(files, SCHEMAS["files"]))
            advance(len(files))
    if gone:
        now = datetime.now(UTC)
        rows = [row | {"status": "missing", "reason": None, "seen_at": now} for row in gone]
        store.upsert("files", pa.Table.from_pylist(rows, SCHEMAS["files"]))
    if changed or gone:
        store.optimize("files")
        store.optimize("images")
    return _corpus_result(store, len(changed), len(gone))


@dg.asset(
    partitions_def=VECTOR_TYPES,
    deps=[images],
    config_schema=schema_of(EmbeddingsConfig),
    group_name="corpus",
    pool=POOL,
    kinds={"lancedb", "pytorch"},
    code_version="1",
)
@plain_failures()
def embeddings(
    context: dg.AssetExecutionContext,
    source: ImageSource,
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
) -> dg.MaterializeResult[None]:
    """One unit-length float32 vector per image, by the model of ``configs/models/<key>.yaml``.

    Only images without a vector are embedded, from the original file, and committed batch by batch.
    """
    vector_type = parse_name(partition_of(context), "vector type")
    spec = registry.model(vector_type)
    config = parse(EmbeddingsConfig, given_config(context.run.run_config, "embeddings"))
    _check_options(vector_type, spec, model_identity(store, vector_type))
    table_name = vectors_table(vector_type)
    present = present_files(store)
    todo = sorted(present.keys() - _embedded(store, vector_type))
    unread: dict[str, str] = {}
    if todo:
        encoder = models.load(spec, on_build=context.log.info)
        _check_identity(vector_type, store, encoder)
        with progress(context, len(todo), "embeddings") as advance:
            for batch in _batches(todo, config.batch_size or spec.batch_size):
                files = {image_id: present[image_id] for image_id in batch}
                vectors = _vectors_of(files, source, encoder, unread)
                if vectors:
                    schema = vectors_schema(encoder.dim)
                    store.upsert(table_name, pa.Table.from_pylist(vectors, schema))
                advance(len(batch))
        store.optimize(table_name)
    for image_id, reason in unread.items():
        context.log.warning(f"Not embedded: {present[image_id][0]}: {reason}")
    return _vectors_result(store, vector_type, present, len(todo) - len(unread), unread)


def _ingested(
    source: ImageSource, files: list[SourceFile], ingested: set[str]
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Rows of ``files`` and of new ``images``, group by group; decoding runs in threads."""

    def read(file: SourceFile) -> tuple[Row, Row | None]:
        row = {
            "path": file.path,
            "image_id": None,
            "status": "present",
            "reason": None,
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "seen_at": datetime.now(UTC),
        }
        try:
            data = source.read(file.path)
            row["image_id"] = hashlib.sha256(data).hexdigest()
            return row, None if row["image_id"] in ingested else _image_row(row, data)
        except UnreadableImage as error:
            return row | {"status": "quarantined", "reason": error.reason}, None

    def _image_row(row: Row, data: bytes) -> Row:
        image = source.decode(data)
        return {
            "image_id": row["image_id"],
            "format": image.format,
            "width": image.width,
            "height": image.height,
            "bytes": len(data),
            "thumbnail": thumbnail(image.rgb),
            "added_at": row["seen_at"],
        }

    with ThreadPoolExecutor(_THREADS) as threads:
        for group in _batches(files, _COMMIT_FILES):
            rows = list(threads.map(read, group))
            new = {image["image_id"]: image for _, image in rows if image}
            ingested.update(new)
            yield [file for file, _ in rows], list(new.values())


def _vectors_of(
    files: dict[str, list[str]], source: ImageSource, encoder: Encoder, unread: dict[str, str]
) -> list[Row]:
    """Rows of one batch; the images that cannot be read or encoded go to ``unread`` with a reason.

    Args:
        files: For each image id, the paths of its files.
        source: Where they are.
        encoder: The model.
        unread: Reason by image id; added to.
    """
    pictures = {}
    for image_id, paths in files.items():
        try:
            pictures[image_id] = _decoded(source, image_id, paths).rgb
        except UnreadableImage as error:
            unread[image_id] = error.reason
    try:
        vectors = encoder.encode_images(list(pictures.values()))
        return [{"image_id": i, "vector": v} for i, v in zip(pictures, vectors, strict=True)]
    except ValueError as error:
        if len(files) == 1:
            unread.update(dict.fromkeys(files, str(error)))
            return []
    # One image without a usable vector must not take its batch with it.
    alone = ({image_id: paths} for image_id, paths in files.items() if image_id in pictures)
    return [row for one in alone for row in _vectors_of(one, source, encoder, unread)]


def _decoded(source: ImageSource, image_id: str, paths: list[str]) -> DecodedImage:
    """An image from the first of its files that still holds it; raises the last one's error."""
    failure = UnreadableImage("it has no file")
    for path in paths:
        try:
            data = source.read(path)
            if hashlib.sha256(data).hexdigest() != image_id:
                raise UnreadableImage("the file changed since the last refresh; refresh again")
            return source.decode(data)
        except UnreadableImage as error:
            failure = error
    raise failure


def _embedded(store: LanceStore, vector_type: str) -> set[str]:
    name = vectors_table(vector_type)
    return {
        image_id
        for batch in store.batches(name, ["image_id"])
        for image_id in batch["image_id"].to_pylist()
    }


def _check_options(vector_type: str, spec: ModelSpec, identity: Row | None) -> None:
    """Refuse a changed model file before any weights are loaded."""
    asked = spec.options
    differing = [
        f"{name}: {identity[name]!r} is stored, {value!r} is asked for"
        for name, value in asked.items()
        if identity is not None and identity[name] != value
    ]
    if differing:
        raise InputError(_refusal(vector_type, "; ".join(differing)))


def _check_identity(vector_type: str, store: LanceStore, encoder: Encoder) -> None:
    """Create the vector type's table, or refuse a model that is not the one that made it."""
    schema = store.create(
        vectors_table(vector_type),
        vectors_schema(encoder.dim),
        {MODEL_METADATA: json.dumps(encoder.identity, ensure_ascii=False, sort_keys=True)},
    )
    stored = json.loads(schema.metadata[MODEL_METADATA.encode()])
    if stored != encoder.identity:
        differing = (
            f"{name}: {stored.get(name)!r} is stored, {encoder.identity.get(name)!r} was loaded"
            for name in sorted(stored.keys() | encoder.identity.keys())
            if stored.get(name) != encoder.identity.get(name)
        )
        raise InputError(_refusal(vector_type, "; ".join(differing)))


def _refusal(vector_type: str, differing: str) -> str:
    return (
        f"The vectors of {vector_type!r} were made by another model ({differing}). Vectors of two "
        "models cannot be compared: give the new model a file, and so a key, of its own in "
        "configs/models."
    )


def _corpus_result(store: LanceStore, changed: int, gone: int) -> dg.MaterializeResult[None]:
    files = (
        store.read("files", ["path", "image_id", "status", "reason"]).sort_by("path").to_pylist()
    )
    present = {row["image_id"] for row in files if row["status"] == "present"}
    quarantined = [row for row in files if row["status"] == "quarantined"]
    manifest = [(row["path"], row["image_id"], row["status"]) for row in files]
    some = sorted(present)[:24]
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(present),
            "nb_files": sum(row["status"] == "present" for row in files),
            "nb_quarantined": len(quarantined),
            "nb_missing": sum(row["status"] == "missing" for row in files),
            "nb_files_read": changed,
            "nb_files_gone": gone,
            "quarantine": dg.MetadataValue.md(
                table(
                    ["file", "reason"], [[row["path"], row["reason"]] for row in quarantined[:50]]
                )
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(list(_batches(read_thumbnails(store, some), 8)))
            ),
        },
        data_version=dg.DataVersion(digest(manifest)),
    )


def _vectors_result(
    store: LanceStore,
    vector_type: str,
    present: dict[str, list[str]],
    added: int,
    unread: dict[str, str],
) -> dg.MaterializeResult[None]:
    identity = model_identity(store, vector_type)
    embedded = sorted(_embedded(store, vector_type) & present.keys())
    return dg.MaterializeResult(
        metadata={
            "nb_images": len(embedded),
            "nb_embedded_now": added,
            "nb_not_embedded": len(present) - len(embedded),
            "model": dg.MetadataValue.json(identity or {}),
            "not_embedded": dg.MetadataValue.md(
                table(["file", "reason"], [[present[i][0], why] for i, why in unread.items()][:50])
            ),
        },
        data_version=dg.DataVersion(digest(identity, embedded)),
    )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
