"""What labellers look at, read from the store in the form that they take.

Belongs here: which vectors, texts, pictures, names, properties and terms a labeller needs, whether
they can be had, and reading them. Does not belong here: the form of what is read
(``labels.labellers``), and what is made of it.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import numpy as np

from panoptic_assets.clustering.readings import tag_paths
from panoptic_assets.clustering.search import text_encoder
from panoptic_assets.corpus.properties import ids_and_values, read_properties
from panoptic_assets.corpus.table import present_files
from panoptic_assets.corpus.values import Value
from panoptic_assets.features.table import model_identity, read_vectors
from panoptic_assets.labels.labellers import LabellerConfig, LabellerData, Pixels, ZeroShot
from panoptic_assets.labels.naming import ClusterToLabel
from panoptic_assets.labels.pictures import Pictures
from panoptic_assets.labels.vocabulary import (
    TEMPLATES,
    Vocabulary,
    VocabularyError,
    shipped,
    term_paths,
    terms_of_lines,
    terms_of_table,
)
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.keys import parse_name, vector_type_of
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.tag_log import known_property
from resources.errors import InputError, message
from resources.lance import LanceStore
from resources.models import Encoder
from resources.registry import Registry
from resources.vectors_file import VectorsFile

MAX_BYTES = 2**20
"""Of a vocabulary's file. The shipped one has 843 terms in 27 kB."""

_SHIPPED = "vocabulary.csv"


@dataclass(frozen=True)
class LabellerInputs:
    """What a labeller needs, which was found; rows and pictures are still to be read."""

    labeller: LabellerConfig
    vector_type: str | None
    """None where it needs no vectors."""
    encoder: Encoder | None
    properties: tuple[str, ...]
    vocabulary: Vocabulary | None

    def read(self, clusters: Sequence[ClusterToLabel], context: Context) -> LabellerData:
        """Read it for the images of some clusters; pictures are read when they are asked for."""
        image_ids = {image_id for cluster in clusters for image_id in cluster.image_ids}
        store, needs = context.store, self.labeller.needs
        found = LabellerData(
            encode_texts=self.encoder.encode_texts if self.encoder else None,
            properties=_properties(store, self.properties, image_ids),
            vocabulary=self.vocabulary,
            tell=context.reporter.tell,
        )
        if "names" in needs:
            found = replace(found, names=_names(store, image_ids))
        if "pictures" in needs:
            pictures = Pictures.of(store, context.source)
            found = replace(found, pixels=functools.partial(_pixels, pictures))
        if self.vector_type is None:
            return found
        read = read_vectors(store, self.vector_type, image_ids, may_be_none=True)
        read.vectors.setflags(write=False)
        return replace(found, image_ids=tuple(read.image_ids), vectors=read.vectors)


def find_inputs(labeller: LabellerConfig, record: Record, context: Context) -> LabellerInputs:
    """What a labeller needs, as far as that can be found before anything is computed.

    Args:
        labeller: What is to name the clusters.
        record: Of their run.
        context: What is read.

    Raises:
        InputError: The vocabulary cannot be used, there are no such vectors, their model has no
            text tower or cannot be had, or there is no such property.
    """
    store, needs = context.store, labeller.needs
    words = (
        read_vocabulary(labeller, store, context.registry)
        # Which terms there are is said by fields of ZeroShot.
        if "vocabulary" in needs and isinstance(labeller, ZeroShot)
        else None
    )
    vector_type, encoder = None, None
    if not needs.isdisjoint({"vectors", "texts"}):
        asked = getattr(labeller, "vector_type", "") or vector_type_of(record.config["features"])
        vector_type, encoder = _find_vectors(asked, "texts" in needs, context)
    properties: tuple[str, ...] = ()
    if "properties" in needs:
        properties = _find_properties(getattr(labeller, "property", ""), store)
    return LabellerInputs(labeller, vector_type, encoder, properties, words)


def _find_vectors(asked: str, with_texts: bool, context: Context) -> tuple[str, Encoder | None]:
    """The vector type that clusters are looked at by, and the model of its texts if there must be.

    Raises:
        InputError: There are no such vectors, or their model has no text tower or cannot be had.
    """
    store, registry = context.store, context.registry
    vector_type = parse_name(asked, "vector type")
    spec = registry.model(vector_type)
    identity = model_identity(store, vector_type)
    imported = isinstance(spec, VectorsFile) or (identity and identity.get("imported"))
    if imported and with_texts:
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
    if not with_texts:
        return vector_type, None
    tell = context.reporter.tell
    return vector_type, text_encoder(vector_type, store, registry, context.models, tell)


def _find_properties(asked: str, store: LanceStore) -> tuple[str, ...]:
    """The property of the inventory that is asked for, or all if none is.

    Raises:
        InputError: There is no such property.
    """
    known = sorted(set(store.read("property_values", ["property"])["property"].to_pylist()))
    if not asked:
        return tuple(known)
    found = known_property(asked, known)
    if found not in known:
        raise InputError(
            "The inventory has no property {property!r}. Existing ones: {known}.",
            id="no-property-in-inventory",
            property=asked,
            known=", ".join(known) or message("none yet", id="none-yet"),
        )
    return (found,)


def _names(store: LanceStore, image_ids: set[str]) -> Mapping[str, tuple[str, ...]]:
    present = present_files(store)
    return MappingProxyType(
        {image_id: tuple(present[image_id]) for image_id in sorted(image_ids & present.keys())}
    )


def _properties(
    store: LanceStore, names: Iterable[str], image_ids: set[str]
) -> Mapping[str, Mapping[str, Value]]:
    """Values by property and image, in the order of both."""
    return MappingProxyType(
        {name: MappingProxyType(_values(store, name, image_ids)) for name in names}
    )


def _values(store: LanceStore, name: str, image_ids: set[str]) -> dict[str, Value]:
    rows = read_properties(store, name)
    if not rows.num_rows:
        return {}
    return {
        image_id: value
        for image_id, value in zip(*ids_and_values(rows), strict=True)
        if image_id in image_ids
    }


def _pixels(pictures: Pictures, image_id: str, side: int) -> Pixels | None:
    from PIL import Image

    found = pictures.from_files(image_id, side) or pictures.from_thumbnail(image_id)
    if found is None:
        return None
    found.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(found, np.uint8)


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
