"""The asset ``embeddings``: what a model sees in the images, or another program's vectors.

Belongs here: which images lack a vector, and committing those that are made. Does not belong here:
making them (``resources.engine``), and checking those of other programs
(``features.imported_vectors``).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from panoptic_assets.corpus.assets import images
from panoptic_assets.corpus.contact_sheet import in_rows
from panoptic_assets.corpus.table import image_names, present_files, read_thumbnails
from panoptic_assets.features import imported_vectors
from panoptic_assets.features.config import EmbeddingsConfig
from panoptic_assets.features.table import MODEL_METADATA, embedded, model_identity
from panoptic_assets.orchestration.acting import commits
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import VECTOR_TYPES
from panoptic_assets.orchestration.running import (
    FRESHNESS,
    POOL,
    partition_of,
    plain_failures,
    progress,
)
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.markdown import bullets, table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import given_config, parse
from resources.engine import Engine, Job, Staged, Work
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.schemas import vectors_schema, vectors_table
from resources.source import ImageSource
from resources.vectors_file import VectorsFile

_IMAGES_SHOWN = 24
_LISTED = 50
_WARNINGS = 20


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
    done = progress(
        context.log.info, task.parts, task.total, "embeddings", lambda part: part.nb_images
    )
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
    checked = imported_vectors.check_vectors(
        spec.batches(registry.folder_path), known, table_name, store
    )
    _create(vector_type, store, checked.dim, spec.identity(checked.dim))
    batches = spec.batches(registry.folder_path)
    notes = known.notes
    parts = imported_vectors.stage(batches, known, before, table_name, store, checked.unknown)
    return _Task(parts, checked.nb_vectors, checked.unknown, notes)


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
                in_rows(read_thumbnails(store, newest[:_IMAGES_SHOWN]))
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
