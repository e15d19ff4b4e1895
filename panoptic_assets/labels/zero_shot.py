"""Labels of clusters by the words that are nearest to their images.

Belongs here: where the words come from (the shipped vocabulary, a file, a property's tags), and
their vectors. Does not belong here: how words are chosen (``labels.naming``), and the vectors of
the images (``labels.inputs``).
"""

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from panoptic_assets.clustering.algorithms.attachment import mean_directions
from panoptic_assets.clustering.readings import tag_paths
from panoptic_assets.labels import naming as core
from panoptic_assets.labels.config import ZeroShot
from panoptic_assets.labels.labellers import LabellerData
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
from panoptic_assets.spec.computation import NotComputableError
from resources.errors import InputError
from resources.lance import LanceStore
from resources.registry import Registry

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


def suggest_terms(
    clusters: Sequence[ClusterToLabel], data: LabellerData, min_score: float
) -> list[Suggestion]:
    """Name clusters by the terms of a vocabulary.

    Args:
        clusters: Those of a run's whole tree: names tell siblings apart.
        data: The vocabulary, the vectors, and what encodes texts as they are.
        min_score: A cluster whose best term scores less gets no label.

    Returns:
        One suggestion for each cluster; where there is no label, the reason.

    Raises:
        NotComputableError: A term has no vector, or there are no terms or no text tower.
    """
    words, encode = data.vocabulary, data.encode_texts
    if words is None or encode is None:
        raise NotComputableError(
            "There is no vocabulary to name clusters by, or no model that reads its terms.",
            id="no-terms-to-compare",
        )
    if words.nb_repeated:
        data.tell(f"{words.nb_repeated:,} terms of the vocabulary were there already: left out.")
    members = [data.rows(cluster) for cluster in clusters]
    data.tell(f"comparing {len(data.vectors):,} images with {len(words.terms):,} terms")
    try:
        sentences = encode([text for texts in words.texts for text in texts])
    except InputError:
        raise
    except ValueError as error:  # a text of which the model understands nothing
        raise InputError(
            "{reason} Take another vocabulary, or other templates.",
            id="terms-not-understood",
            reason=error,
        ) from error
    targets = mean_directions(sentences.reshape(len(words.terms), len(words.texts[0]), -1))
    covered = core.coverage(data.vectors, members, targets, words.broader)
    return core.name_clusters(clusters, covered, words.terms, words.broader, min_score=min_score)
