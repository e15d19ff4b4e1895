"""The act of embedding: what a model sees in the images, or another program's vectors.

Belongs here: which images lack a vector, and committing those that are made. Does not belong here:
making them (``resources.engine``), and checking those of other programs
(``features.imported_vectors``).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.features import imported_vectors
from panoptic_assets.features.config import EmbeddingsConfig
from panoptic_assets.features.imported_vectors import Checked, VectorNames
from panoptic_assets.features.table import (
    DECODER,
    MODEL_METADATA,
    decoder_of,
    embedded,
    model_identity,
)
from panoptic_assets.orchestration.acting import Context, commits
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.records import FIRST_ALGORITHM
from panoptic_assets.spec.resolution import Document, parse
from resources import decoding
from resources.engine import Job, Staged, Work
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import ModelSpec
from resources.page_paths import file_of, page_number
from resources.schemas import vectors_schema, vectors_table
from resources.vectors_file import VectorsFile


@dataclass(frozen=True)
class Import:
    """Another program's vectors, checked."""

    file: VectorsFile
    known: ImageNames
    checked: Checked


@dataclass(frozen=True)
class EmbeddingPlan:
    """Vectors that can be made or imported."""

    context: Context
    vector_type: str
    spec: ModelSpec | Import
    """What makes them."""
    stored: dict[str, Any] | None
    """Identity of the model that made the vectors so far; None if there are none."""
    before: set[str]
    """Ids of the images that have a vector."""
    left: list[str]
    """What an interrupted run had staged."""
    present: dict[str, list[str]]
    """For each image that is present, the paths of its files."""

    @property
    def table(self) -> str:
        """The vector table."""
        return vectors_table(self.vector_type)

    @property
    def decoder(self) -> int:
        """By which images are decoded: by that of the vectors that are there."""
        return decoder_of(self.stored) if self.stored else decoding.ALGORITHM


@dataclass(frozen=True)
class Embedding:
    """Vectors that are being made or imported."""

    plan: EmbeddingPlan
    before: set[str]
    """Ids of the images that had a vector, or for which an interrupted run had staged one."""
    parts: Iterator[Staged]
    """Made as they are asked for."""
    unknown: list[str]
    """Names, in another program's file, of no image of the corpus."""
    notes: list[str]


@dataclass(frozen=True)
class Embedded:
    """Vectors that were made or imported."""

    embedding: Embedding
    stored: set[str]
    """Ids of the images that have a vector now."""
    failed: dict[str, str]
    """For each image that got none, the reason."""


def prepare(context: Context, key: str, given: Document) -> EmbeddingPlan:
    """See which images lack a vector; check another program's vectors.

    Args:
        context: What is read.
        key: The vector type.
        given: Fields of :class:`panoptic_assets.features.config.EmbeddingsConfig`.

    Raises:
        InputError: The configuration cannot be used, the vector type has no file or has vectors of
            another model, or of a decoder that is no longer here, or another program's vectors
            cannot be used.
    """
    vector_type, config, spec, stored = _asked(context, key, given)
    if isinstance(spec, VectorsFile):
        return _planned(context, vector_type, _checked(context, vector_type, spec), stored)
    if config.batch_size:
        spec = spec.model_copy(update={"batch_size": config.batch_size})
    plan = _planned(context, vector_type, spec, stored)
    if plan.decoder not in decoding.SHIPPED and plan.present.keys() - plan.before:
        raise InputError(
            "The images of {vector_type!r} were decoded by algorithm {then}, and are by algorithm "
            "{now} now: their vectors cannot be compared. To embed with this version, give the "
            "model another file, and so a key, in configs/models.",
            id="decoded-by-another-algorithm",
            vector_type=vector_type,
            then=plan.decoder,
            now=decoding.ALGORITHM,
        )
    return plan


def check_embedding(context: Context, key: str, given: Document) -> None:
    """Refuse what can be refused before it is known which images there are; nothing is loaded.

    For :func:`prepare` it is not needed: a model whose files are gone is none that is missed as
    long as every image has its vector.

    Args:
        context: What is read.
        key: The vector type.
        given: Fields of :class:`panoptic_assets.features.config.EmbeddingsConfig`.

    Raises:
        InputError: As :func:`prepare`, and where the model's files, another program's vectors, or
            the package that runs the model are missing.
    """
    _, _, spec, _ = _asked(context, key, given)
    if isinstance(spec, VectorsFile):
        spec.check(context.registry.folder_path)
    else:
        context.models.check(spec)


def _asked(
    context: Context, key: str, given: Document
) -> tuple[str, EmbeddingsConfig, ModelSpec | VectorsFile, dict[str, Any] | None]:
    """The vector type, how it is made, what makes it, and the identity of what has made it."""
    vector_type = parse_name(key, "vector type")
    config = parse(EmbeddingsConfig, given)
    spec = context.registry.model(vector_type)
    stored = _stored_identity(context, vector_type)
    if stored and (differing := spec.differences(stored)):
        raise _refusal(vector_type, differing)
    return vector_type, config, spec, stored


def prepare_import(context: Context, key: str, file: VectorsFile) -> EmbeddingPlan:
    """Check another program's vectors that no file of the registry describes yet.

    Args:
        context: What is read.
        key: The vector type that they become.
        file: Where they are.

    Raises:
        InputError: They cannot be used, or the key has vectors of another model.
    """
    stored = _stored_identity(context, key)
    if stored and (differing := file.differences(stored)):
        raise InputError(
            "The key {key!r} has vectors of another model ({differing}): choose a new key.",
            id="key-of-another-model",
            key=key,
            differing="; ".join(differing),
        )
    checked = _checked(context, key, file)
    for note in checked.known.notes:
        context.reporter.tell(note, "yellow")
    return _planned(context, key, checked, stored)


def _stored_identity(context: Context, vector_type: str) -> dict[str, Any] | None:
    # From here on, a plan is out of date once somebody has written to the table.
    context.store.version(vectors_table(vector_type))
    return model_identity(context.store, vector_type)


def _checked(context: Context, vector_type: str, file: VectorsFile) -> Import:
    store, registry = context.store, context.registry
    names = image_names(store, registry.images)
    folder = registry.folder_path
    given = lambda: (name for batch, _ in file.batches(folder) for name in batch)  # noqa: E731
    known = VectorNames(names, present_files(store), registry.images, given)
    batches = file.batches(folder)
    checked = imported_vectors.check_vectors(batches, known, vectors_table(vector_type), store)
    return Import(file, known, checked)


def _planned(
    context: Context, vector_type: str, spec: ModelSpec | Import, stored: dict[str, Any] | None
) -> EmbeddingPlan:
    before = embedded(context.store, vector_type)
    left = context.store.staged(vectors_table(vector_type))
    present = present_files(context.store)
    return EmbeddingPlan(context, vector_type, spec, stored, before, left, present)


def run(plan: EmbeddingPlan) -> Embedding:
    """Make the vectors that are missing, as :func:`store` asks for them.

    What an interrupted run had staged is committed first, so that it is not made again.

    Raises:
        InputError: The model cannot be had, is not the one that made the stored vectors, or, from
            the iterator, the images' folder as a whole cannot be read.
    """
    context, before = plan.context, plan.before
    if plan.left and plan.stored:
        count = context.store.commit(plan.table, plan.left)
        context.reporter.tell(f"Committed {count:,} vectors that an interrupted run had staged.")
        before = embedded(context.store, plan.vector_type)
    elif plan.left:  # of a table that somebody has removed since
        context.store.discard(plan.table, plan.left)
    if isinstance(plan.spec, Import):
        return _import(plan, plan.spec, before)
    return _embed(plan, plan.spec, before)


def store(embedding: Embedding) -> Embedded:
    """Commit the vectors in groups, as they come.

    Raises:
        InputError: The images' folder as a whole cannot be read.
    """
    plan, stored = embedding.plan, embedding.before
    is_same = True
    failed: dict[str, str] = {}
    for group in commits(embedding.parts, lambda part: part.nb_vectors):
        plan.context.store.commit(plan.table, [part.name for part in group if part.name])
        for part in group:
            failed |= part.failed
        is_same = False
    plan.context.store.optimize(plan.table)
    if not is_same:
        stored = embedded(plan.context.store, plan.vector_type)
    return Embedded(embedding, stored, failed)


def _embed(plan: EmbeddingPlan, spec: ModelSpec, before: set[str]) -> Embedding:
    context = plan.context
    missing = sorted((_file_of_page(plan.present[i][0]), i) for i in plan.present.keys() - before)
    work = [Work(image_id, plan.present[image_id]) for _, image_id in missing]
    if not work:
        return Embedding(plan, before, iter(()), [], [])
    encoder = context.models.load(spec, plan.stored, on_build=context.reporter.tell)
    decoder = plan.decoder
    if decoder != decoding.ALGORITHM:
        context.reporter.tell(
            f"The images of {plan.vector_type!r} go on being decoded by algorithm {decoder}, so "
            "that its vectors can be compared; to decode by algorithm "
            f"{decoding.ALGORITHM}, give the model another file, and so a key, in configs/models."
        )
    later = {} if decoder == FIRST_ALGORITHM else {DECODER: decoder}
    _create(plan.vector_type, context.store, encoder.dim, encoder.identity | later)
    source, store, models = context.source, context.store, context.models
    job = Job(plan.table, spec, encoder.identity, source, store, models, decoder)
    parts = _tracked(context, context.engine.embed(job, work), len(work))
    return Embedding(plan, before, parts, [], [])


def _file_of_page(path: str) -> str:
    """The file, of a later page: pages of one file come one after the other. Else empty."""
    return file_of(path) if page_number(path) > 1 else ""


def _import(plan: EmbeddingPlan, found: Import, before: set[str]) -> Embedding:
    context = plan.context
    if before is not plan.before:  # what was staged may be of a file that has changed since
        found = _checked(context, plan.vector_type, found.file)
    file, known, checked = found.file, found.known, found.checked
    _create(plan.vector_type, context.store, checked.dim, file.identity(checked.dim))
    notes = known.notes
    batches = file.batches(context.registry.folder_path)
    parts = imported_vectors.stage(
        batches, known, before, plan.table, context.store, checked.unknown
    )
    tracked = _tracked(context, parts, checked.nb_vectors)
    return Embedding(plan, before, tracked, checked.unknown, notes)


def _tracked(context: Context, parts: Iterator[Staged], total: int) -> Iterator[Staged]:
    return context.reporter.track(parts, total, N_("embeddings"), lambda part: part.nb_images)


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
        raise _refusal(vector_type, differing)


def _refusal(vector_type: str, differing: list[str]) -> InputError:
    return InputError(
        "The vectors of {vector_type!r} were made by another model ({differing}). Vectors of two "
        "models cannot be compared: give the new model a file, and so a key, of its own in "
        "configs/models.",
        id="vectors-of-another-model",
        vector_type=vector_type,
        differing="; ".join(differing),
    )
