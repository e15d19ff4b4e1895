"""Searching the corpus by a text or by an image: which images are the most similar.

Belongs here: what is compared, in what order images come, and the proof of what was read. Does not
belong here: scopes of other kinds (``clustering.selection``), and cosines
(``features.similarity``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from panoptic_assets.clustering.scopes import FoundByText, SimilarTo
from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.features.similarity import most_similar, similarities
from panoptic_assets.features.table import DECODER, ReadVectors, model_identity, read_vectors
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.records import Input, vectors_hash
from panoptic_assets.spec.text import in_quotes
from resources.errors import InputError, noted
from resources.lance import LanceStore
from resources.models import Encoder, OpenClipModels
from resources.registry import Registry
from resources.vectors_file import VectorsFile

Report = Callable[[str], None]


def text_encoder(
    vector_type: str,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Report,
) -> Encoder:
    """The model that made a vector type, for texts in the space of its vectors.

    Args:
        vector_type: The vector type.
        store: Where its vectors are.
        registry: Where its model is described.
        models: Loads it, once in a process.
        report: Called with a line of text before something that takes long.

    Raises:
        InputError: The vectors were imported, or the model cannot be had or is another one.
    """
    spec = registry.model(vector_type)
    stored = model_identity(store, vector_type)
    if isinstance(spec, VectorsFile) or (stored and stored.get("imported")):
        raise InputError(
            "The vectors of {vector_type!r} were imported, so there is no model that could read a "
            "text: take a vector type that a model made, or look for images by another scope.",
            id="imported-vectors-read-no-text",
            vector_type=vector_type,
        )
    differing = spec.differences(stored) if stored else []
    if not differing:
        encoder = models.load(spec, stored, on_build=report)
        differing = [
            f"{name}: {value!r} is stored, {encoder.identity.get(name)!r} was loaded"
            for name, value in (stored or {}).items()
            if name != DECODER and encoder.identity.get(name) != value
        ]
        if not differing:
            return encoder
    raise InputError(
        "The vectors of {vector_type!r} were made by another model than "
        "configs/models/{vector_type}.yaml now describes ({differing}): texts and images of two "
        "models cannot be compared. Restore that file, or the model's weights.",
        id="text-of-another-model",
        vector_type=vector_type,
        differing="; ".join(differing),
    )


@dataclass(frozen=True)
class PresentCorpus:
    """The images that are present, as they were when they were read."""

    store: LanceStore
    registry: Registry
    version: int
    """Of ``files``."""
    present: dict[str, list[str]]
    """For each image, the sorted paths of its files."""

    @property
    def example(self) -> str:
        """The path of one of them, for messages."""
        return next(iter(self.present.values()))[0]

    def names(self) -> ImageNames:
        """Of all images that were ever seen, as of this version."""
        return image_names(self.store, self.registry.images, self.version)


def present_corpus(store: LanceStore, registry: Registry) -> PresentCorpus:
    """Read which images are present.

    Raises:
        InputError: There is none.
    """
    # Before the rows, which are then read at this version: a refresh may commit at any time.
    version = store.version("files")
    present = present_files(store, version)
    if not present:
        raise InputError(
            "The corpus has no images: put some into its folder, then materialize `images` "
            "(`panoptic-assets refresh`).",
            id="corpus-without-images",
        )
    return PresentCorpus(store, registry, version, present)


@dataclass(frozen=True)
class Ranked:
    """The images that a search found, the most similar first."""

    image_ids: list[str]
    paths: list[str]
    """Of each one's first file."""
    similarities: list[float]
    """Cosines."""
    notes: list[str]
    """What a person must know, one sentence each."""
    sources: list[Input]
    """What was read."""
    nothing: InputError
    """The refusal where no image was found."""


def search(
    asked: FoundByText | SimilarTo,
    vector_type: str,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Report,
) -> Ranked:
    """The present images that are most similar to a text or to an image, itself included.

    Args:
        asked: What to look for, and how far.
        vector_type: The vectors to compare.
        store: The store.
        registry: Where models are described.
        models: For a text.
        report: Called with a line of text before something that takes long.

    Raises:
        InputError: No image is similar enough, or the text or the image cannot be compared.
    """
    found = ranked(asked, present_corpus(store, registry), vector_type, models, report)
    if not found.image_ids:
        raise found.nothing
    return found


def ranked(
    asked: FoundByText | SimilarTo,
    corpus: PresentCorpus,
    vector_type: str,
    models: OpenClipModels,
    report: Report,
) -> Ranked:
    """The images in the order of their similarity; none where none is similar enough."""
    if isinstance(asked, FoundByText):
        return _by_text(asked, corpus, vector_type, models, report)
    return _similar(asked, corpus, vector_type)


def _by_text(
    scope: FoundByText,
    corpus: PresentCorpus,
    vector_type: str,
    models: OpenClipModels,
    report: Report,
) -> Ranked:
    read = read_vectors(corpus.store, vector_type, corpus.present)
    encoder = text_encoder(vector_type, corpus.store, corpus.registry, models, report)
    try:
        [vector] = encoder.encode_texts([scope.text])
    except InputError:
        raise
    except ValueError as error:  # a text of which the model understands nothing
        raise InputError(
            "{reason} Look for another text than {text}.",
            id="searched-text-not-understood",
            reason=error,
            text=in_quotes(scope.text),
        ) from error
    asked = read.source.model_copy(update={"sha256": vectors_hash([scope.text], vector[None])})
    return _rank(
        scope, noted("the text {text}", text=in_quotes(scope.text)), corpus, read, vector, [asked]
    )


def _similar(scope: SimilarTo, corpus: PresentCorpus, vector_type: str) -> Ranked:
    known = corpus.names()
    image_id = known.one(scope.image)
    if image_id not in corpus.present:
        raise InputError(
            "The image {image} is missing from the corpus or in quarantine: take another one, "
            "such as {example!r}.",
            id="image-not-present",
            image=in_quotes(scope.image),
            example=corpus.example,
        )
    read = read_vectors(corpus.store, vector_type, corpus.present)
    if image_id not in read.image_ids:
        raise InputError(
            "The image {image} has no vector of type {vector_type!r}: materialize `embeddings` "
            "first (`panoptic-assets refresh --vector-type {vector_type}`).",
            id="image-without-vector",
            image=in_quotes(scope.image),
            vector_type=vector_type,
        )
    vector = read.vectors[read.image_ids.index(image_id)]
    answer = _rank(
        scope, noted("the image {image}", image=in_quotes(scope.image)), corpus, read, vector
    )
    return replace(answer, notes=[*known.notes, *answer.notes])


def _rank(
    scope: FoundByText | SimilarTo,
    what: str,
    corpus: PresentCorpus,
    read: ReadVectors,
    vector: Vectors,
    sources: Sequence[Input] = (),
) -> Ranked:
    cosines = similarities(read.vectors, vector)
    rows = most_similar(cosines, scope.min_similarity, scope.nb_images)
    best = int(cosines.argmax())
    notes = []
    if rows.size:
        notes.append(
            noted(
                "{count:,} images are taken for {what}, of similarity {best:.3f} to {worst:.3f}.",
                count=rows.size,
                what=what,
                best=cosines[rows[0]],
                worst=cosines[rows[-1]],
            )
        )
    if unseen := len(corpus.present) - len(read.image_ids):
        notes.append(
            noted("Not searched, since they have no vector: {count:,} images.", count=unseen)
        )
    image_ids = [read.image_ids[row] for row in rows]
    return Ranked(
        image_ids,
        [corpus.present[image_id][0] for image_id in image_ids],
        cosines[rows].tolist(),
        notes,
        [read.source, *sources],
        InputError(
            "No image reaches the similarity {min_similarity} to {what}: the most similar one, "
            "{path!r}, has {best:.3f}. Lower that limit, or give a number of images in its place.",
            id="nothing-so-similar",
            min_similarity=scope.min_similarity,
            what=what,
            path=corpus.present[read.image_ids[best]][0],
            best=cosines[best],
        ),
    )
