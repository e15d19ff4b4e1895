"""Labels of clusters by the words that are nearest to their images.

Belongs here: where the words come from (the shipped vocabulary, a file, a property's tags), their
vectors, and those of the images. Does not belong here: how words are chosen (``labels.naming``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from panoptic_assets.clustering.algorithms.attachment import mean_directions
from panoptic_assets.clustering.readings import tag_paths
from panoptic_assets.clustering.search import text_encoder
from panoptic_assets.features.table import model_identity, read_vectors
from panoptic_assets.labels import naming as core
from panoptic_assets.labels.config import ZeroShot
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.vocabulary import (
    TEMPLATES,
    Vocabulary,
    VocabularyError,
    shipped,
    term_paths,
    terms_of_lines,
    terms_of_table,
)
from panoptic_assets.spec.keys import parse_name, vector_type_of
from panoptic_assets.spec.records import Record
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import Encoder, OpenClipModels
from resources.registry import Registry
from resources.vectors_file import VectorsFile

MAX_BYTES = 2**20
"""Of a vocabulary's file. The shipped one has 843 terms in 27 kB."""

_SHIPPED = "vocabulary.csv"


def read_vocabulary(config: ZeroShot, store: LanceStore, registry: Registry) -> Vocabulary:
    """The terms that are asked for.

    Raises:
        InputError: The file is missing, too large or no vocabulary, or the property has no tags.
    """
    templates = config.templates or list(TEMPLATES[config.language])
    if config.property:
        found, _ = tag_paths(store, config.property)
        return _made(f"The property {config.property!r}", term_paths, found, templates)
    if not config.vocabulary:
        text = (
            resources.files("panoptic_assets.labels").joinpath(_SHIPPED).read_text(encoding="utf-8")
        )
        return shipped(text, config.language, config.templates)
    path = registry.folder_path / config.vocabulary
    text = _read(path)
    read = terms_of_table if path.suffix.lower() == ".csv" else terms_of_lines
    return _made(f"The vocabulary {path}", read, text, templates)


def _made(what: str, read: Callable[..., Vocabulary], *given: object) -> Vocabulary:
    try:
        return read(*given)
    except VocabularyError as error:
        raise InputError(
            "{what} cannot be used: {reason}.", id="vocabulary-unusable", what=what, reason=error
        ) from error


def _read(path: Path) -> str:
    # Opening a FIFO would wait for ever.
    if not path.is_file():
        raise InputError(
            "There is no vocabulary {path}, or it is no file: correct `vocabulary` "
            "(`--vocabulary`); a relative path starts at the project's folder.",
            id="no-such-vocabulary",
            path=path,
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            "The vocabulary {path} cannot be read ({reason}): correct its permissions.",
            id="vocabulary-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    if len(data) > MAX_BYTES:
        raise InputError(
            "The vocabulary {path} is larger than {kilobytes:,} KiB: take fewer terms.",
            id="vocabulary-file-too-large",
            path=path,
            kilobytes=MAX_BYTES // 1024,
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "The vocabulary {path} is not UTF-8 text: save it as UTF-8.",
            id="vocabulary-not-utf8",
            path=path,
        ) from error


def find_encoder(
    config: ZeroShot,
    record: Record,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Callable[[str], None],
) -> tuple[str, Encoder]:
    """The vector type that terms are compared with, and the model of its texts.

    Args:
        config: What is asked for.
        record: Of the run.
        store: The store.
        registry: Where models are described.
        models: The models.
        report: Called with a line of text before something that takes long.

    Raises:
        InputError: There are no such vectors, or their model has no text tower or cannot be had.
    """
    vector_type = parse_name(
        config.vector_type or vector_type_of(record.config["features"]), "vector type"
    )
    spec = registry.model(vector_type)
    identity = model_identity(store, vector_type)
    if isinstance(spec, VectorsFile) or (identity and identity.get("imported")):
        raise InputError(
            "The vectors of {vector_type!r} were imported, so there is no model that could read "
            "the terms of a vocabulary: compare them with vectors that a model made "
            "(`vector_type: mini`, `--vector-type mini`), or let a vision language model name the "
            "clusters.",
            id="imported-vectors-read-no-terms",
            vector_type=vector_type,
        )
    if identity is None:
        raise InputError(
            "There are no vectors of type {vector_type!r} yet: materialize `embeddings` "
            "(`panoptic-assets refresh --vector-type {vector_type}`), or name another vector type.",
            id="vector-type-without-vectors",
            vector_type=vector_type,
        )
    return vector_type, text_encoder(vector_type, store, registry, models, report)


@dataclass(frozen=True)
class ComparableTerms:
    """The terms of a vocabulary, and the model that made the vectors they are compared with."""

    words: Vocabulary
    vector_type: str
    encoder: Encoder
    min_score: float
    """A cluster whose best term scores less gets no label."""


def find_terms(
    config: ZeroShot,
    record: Record,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Callable[[str], None] = lambda line: None,
) -> ComparableTerms:
    """What clusters can be named by: see :func:`read_vocabulary` and :func:`find_encoder`."""
    words = read_vocabulary(config, store, registry)
    vector_type, encoder = find_encoder(config, record, store, registry, models, report)
    return ComparableTerms(words, vector_type, encoder, config.min_score)


def suggest_terms(
    clusters: Sequence[ClusterToLabel],
    terms: ComparableTerms,
    store: LanceStore,
    report: Callable[[str], None] = lambda line: None,
) -> list[Suggestion]:
    """Name clusters by the terms of a vocabulary.

    Args:
        clusters: Those of a run's whole tree: names tell siblings apart.
        terms: What to name them by.
        store: Holds the vectors.
        report: Called with lines on what is done.

    Returns:
        One suggestion for each cluster; where there is no label, the reason.

    Raises:
        InputError: A term has no vector.
    """
    words = terms.words
    if words.nb_repeated:
        report(f"{words.nb_repeated:,} terms of the vocabulary were there already: left out.")
    if not clusters:
        return []
    image_ids = {image_id for cluster in clusters for image_id in cluster.image_ids}
    read = read_vectors(store, terms.vector_type, image_ids, may_be_none=True)
    rows = {image_id: row for row, image_id in enumerate(read.image_ids)}
    members = [
        np.array([rows[image] for image in cluster.image_ids if image in rows], np.int64)
        for cluster in clusters
    ]
    report(f"comparing {len(rows):,} images with {len(words.terms):,} terms")
    try:
        sentences = terms.encoder.encode_texts([text for texts in words.texts for text in texts])
    except InputError:
        raise
    except ValueError as error:  # a text of which the model understands nothing
        raise InputError(
            "{reason} Take another vocabulary, or other templates.",
            id="terms-not-understood",
            reason=error,
        ) from error
    targets = mean_directions(sentences.reshape(len(words.terms), len(words.texts[0]), -1))
    covered = core.coverage(read.vectors, members, targets, words.broader)
    return core.name_clusters(
        clusters, covered, words.terms, words.broader, min_score=terms.min_score
    )
