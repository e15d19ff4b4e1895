"""Which images a run's scope takes, and the proof of what was read for it.

Belongs here: reading the tables, lists and models that scopes name. Does not belong here: their
fields (``scopes``), and matching (``clustering.matching``).

Long because each kind of scope is read and refused in its own words.
"""

import fnmatch
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_assets.clustering import matching as matching
from panoptic_assets.clustering.config import ClusteringConfig, Scope
from panoptic_assets.clustering.regions import inside, on_map
from panoptic_assets.clustering.scopes import (
    FilesLike,
    FoundByText,
    InNode,
    InRegion,
    Listed,
    SimilarTo,
    TakenBetween,
    WholeCorpus,
    WithProperty,
    WithTag,
)
from panoptic_assets.clustering.search import PresentCorpus, Report, present_corpus, ranked
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.names import comparable_path
from panoptic_assets.corpus.properties import ids_and_values, read_properties, stored_property
from panoptic_assets.corpus.table import files_input, image_names
from panoptic_assets.corpus.values import PropertyType
from panoptic_assets.features.table import projections, read_points
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.amounts import images_in_words
from panoptic_assets.spec.dates import spans, within
from panoptic_assets.spec.keys import parse_node, vector_type_of
from panoptic_assets.spec.records import IdList, Input, Record, digest
from panoptic_assets.spec.tag_log import comparable
from panoptic_assets.spec.text import counted, in_quotes, nearest
from panoptic_assets.spec.written_dates import WrittenDate
from resources.errors import InputError, Message, message, noted
from resources.lance import LanceStore, quoted
from resources.models import OpenClipModels
from resources.page_paths import file_of
from resources.registry import Registry

MAX_LIST = 2**27
"""Bytes of a list of ids: two million of them."""
_SHOWN = 3
"""Names in a message."""
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Selection:
    """The images of a clustering's scope."""

    image_ids: list[str]
    """Sorted; all of them are present."""
    sources: list[Input]
    """Of ``files``, then of what else the scope was read from."""
    notes: list[str] = field(default_factory=list)
    """What a person must know, one sentence each."""
    id_list: IdList | None = None
    parent: Record | None = None
    """The clustering of which the scope is a cluster."""
    similarities: Mapping[str, float] = field(default_factory=dict)
    """Cosines of the images that a search found, by id; of no other scope."""


def select(
    key: str,
    config: ClusteringConfig,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Report,
) -> Selection:
    """The images of a run's scope.

    Args:
        key: The run's key.
        config: Its configuration.
        store: The store.
        registry: Where models are described and the project's folder is.
        models: For a search by text.
        report: Called with a line of text before something that takes long.

    Raises:
        InputError: The scope takes no image, or names something that there is not.
    """
    vector_type = vector_type_of(config.features)
    return taken_by(config.scope, vector_type, store, registry, models, report, key, config.without)


def taken_by(
    scope: Scope,
    vector_type: str,
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
    report: Report,
    key: str = "",
    without: str | None = None,
) -> Selection:
    """The images that a scope takes, for whatever is done with them.

    Args:
        scope: The scope.
        vector_type: The vectors that a search compares.
        store: The store.
        registry: Where models are described and the project's folder is.
        models: For a search by text.
        report: Called with a line of text before something that takes long.
        key: The run that is asked for; empty if none is.
        without: The file that lists the images to leave out; None: none are.

    Raises:
        InputError: The scope takes no image, or names something that there is not.
    """
    corpus = present_corpus(store, registry)
    match scope:
        case WholeCorpus():
            found = _Found(corpus.present)
        case FilesLike():
            found = _with_path(scope, corpus)
        case WithProperty():
            found = _with_property(scope, corpus)
        case WithTag():
            found = _with_tag(scope, corpus)
        case TakenBetween():
            found = _taken_between(scope, corpus)
        case Listed():
            found = _listed(scope, corpus)
        case FoundByText() | SimilarTo():
            answer = ranked(scope, corpus, vector_type, models, report)
            found = _Found(
                answer.image_ids,
                answer.nothing,
                sources=answer.sources,
                notes=answer.notes,
                similarities=dict(zip(answer.image_ids, answer.similarities, strict=True)),
            )
        case InNode():
            found = _in_node(scope, corpus, key)
        case InRegion():
            found = _in_region(scope, corpus)
    image_ids = sorted(corpus.present.keys() & set(found.image_ids))
    if not image_ids and found.nothing:
        raise found.nothing
    notes = list(found.notes)
    if without is not None:
        gone = left_out(without, store, registry).intersection(image_ids)
        image_ids = [image_id for image_id in image_ids if image_id not in gone]
        notes.append(
            noted(
                "Left out of the scope by {without}: {images}.",
                without=without,
                images=counted(len(gone), "image"),
            )
        )
        if not image_ids:
            raise InputError(
                "{file} leaves out all {images} of the scope: leave some in.",
                id="all-images-left-out",
                file=without,
                images=images_in_words(len(gone)),
            )
    proofs = [Input(table=t, version=v, sha256=digest(image_ids)) for t, v in found.tables.items()]
    return Selection(
        image_ids,
        [files_input(corpus.version, image_ids), *proofs, *found.sources],
        notes,
        found.id_list,
        found.parent,
        found.similarities,
    )


def left_out(file: str, store: LanceStore, registry: Registry) -> set[str]:
    """Ids of the images that the field `without` of a run's configuration leaves out.

    An id that the corpus does not know is that of an image which was forgotten since.

    Args:
        file: The file that lists them.
        store: The store.
        registry: Where the project's folder and its images are.

    Raises:
        InputError: It cannot be read, or has a line that names no image.
    """
    known = image_names(store, registry.images, store.version("files"))
    example = next(iter(known.by_path), "animals/cat.jpg")
    names = _names_in(*_read_list(file, registry), example)
    found = {
        name: _id_of(name) if (image_id := known.find(name)) is None else image_id
        for name in names.lines
    }
    names.check(name for name, image_id in found.items() if image_id is None)
    return {image_id for image_id in found.values() if image_id}


def _id_of(name: str) -> str | None:
    return name if _ID.fullmatch(name) else None


@dataclass(frozen=True)
class _Found:
    image_ids: Iterable[str]
    """Some may not be present."""
    nothing: InputError | None = None
    """The refusal where none is; some image of the whole corpus always is."""
    tables: dict[str, int] = field(default_factory=dict)
    """The tables beside ``files`` that say who they are, and their versions."""
    sources: list[Input] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    id_list: IdList | None = None
    parent: Record | None = None
    similarities: dict[str, float] = field(default_factory=dict)


def _with_path(scope: FilesLike, corpus: PresentCorpus) -> _Found:
    matches = re.compile(fnmatch.translate(comparable_path(scope.pattern))).match
    chosen = [
        image_id
        for image_id, paths in corpus.present.items()
        if any(matches(comparable_path(name)) for path in paths for name in {path, file_of(path)})
    ]
    return _Found(
        chosen,
        InputError(
            "No file matches {pattern!r}: patterns are compared with paths such as {example!r}.",
            id="no-file-matches",
            pattern=scope.pattern,
            example=corpus.example,
        ),
    )


def _with_property(scope: WithProperty, corpus: PresentCorpus) -> _Found:
    store, name = corpus.store, unicodedata.normalize("NFC", scope.property)
    version = store.version("property_values")
    rows = read_properties(store, name, version)
    if not rows.num_rows:
        names = set(store.read("property_values", ["property"], version=version)[0].to_pylist())
        raise InputError(
            "There is no property {name!r}: {nearest}. The inventory (`metadata` in "
            ".panoptic/project.yaml) names the properties of images.",
            id="scope-property-unknown",
            name=name,
            nearest=_nearest(name, names),
        )
    kind: PropertyType = rows["type"][0].as_py()
    _check_kind(scope, kind)
    values: dict[str, Any] = dict(zip(*ids_and_values(rows), strict=True))
    if scope.values:
        chosen = _having(scope, kind, values)
    elif kind == "number":
        least = float("-inf") if scope.minimum is None else scope.minimum
        most = float("inf") if scope.maximum is None else scope.maximum
        chosen = [image_id for image_id, value in values.items() if least <= value <= most]
    elif kind == "date":
        chosen = [
            image_id
            for image_id, value in values.items()
            if spans(
                value.edtf,
                scope.since,
                scope.until,
                scope.certainty == "certainly",
            )
        ]
    else:
        chosen = list(values)
    there = [values[image_id] for image_id in values.keys() & corpus.present.keys()]
    return _Found(chosen, _no_value(name, kind, there), tables={"property_values": version})


def _check_kind(scope: WithProperty, kind: PropertyType) -> None:
    for fields, right, given in (
        ("`minimum` and `maximum`", "number", (scope.minimum, scope.maximum)),
        ("`since` and `until`", "date", (scope.since, scope.until)),
    ):
        if kind != right and any(value is not None for value in given):
            raise InputError(
                "The property {property!r} is of type {kind}, and {fields} are for type {right}: "
                "give `values` (--value) instead.",
                id="property-of-other-type",
                property=scope.property,
                kind=kind,
                fields=fields,
                right=right,
            )


def _having(scope: WithProperty, kind: PropertyType, values: dict[str, Any]) -> list[str]:
    """The images that have one of the scope's values."""
    wanted = {}
    for text in scope.values:
        try:
            wanted[matching.word(kind, text)] = text
        except ValueError as error:
            raise InputError(
                "The property {property!r} is of type {kind}, and {text} is no value of it: "
                "{reason}.",
                id="no-value-of-property",
                property=scope.property,
                kind=kind,
                text=in_quotes(text),
                reason=error,
            ) from error
    words = {image_id: set(matching.words(kind, value)) for image_id, value in values.items()}
    known = set().union(*words.values())
    for value, text in wanted.items():
        if value not in known:
            raise InputError(
                "No image has {text} as its {property!r}: {nearest}.",
                id="no-image-with-value",
                text=in_quotes(text),
                property=scope.property,
                nearest=_nearest(text, map(str, known)),
            )
    return [image_id for image_id, mine in words.items() if not mine.isdisjoint(wanted)]


def _no_value(name: str, kind: PropertyType, values: list[Any]) -> InputError:
    """What to say when no present image has a value that is looked for."""
    if not values:
        return InputError(
            "No image that is present has a value of the property {property!r}.",
            id="no-present-image-of-property",
            property=name,
        )
    if kind in ("number", "date"):
        order = WrittenDate.order if kind == "date" else None
        least, most = (
            value.text if isinstance(value, WrittenDate) else value
            for value in (min(values, key=order), max(values, key=order))
        )
        return InputError(
            "No image that is present has such a {property!r}: their values go from {least} to "
            "{most}.",
            id="no-present-image-in-range",
            property=name,
            least=least,
            most=most,
        )
    return InputError(
        "No image that is present has such a {property!r}: their values are {examples}.",
        id="no-present-image-of-value",
        property=name,
        examples=_listing({str(matching.words(kind, value)[-1]) for value in values}),
    )


def _with_tag(scope: WithTag, corpus: PresentCorpus) -> _Found:
    store = corpus.store
    versions = {name: store.version(name) for name in ("tags", "image_tags")}
    name = stored_property(store, scope.property, versions["tags"])
    where = f"property = {quoted(name)}"
    rows = store.read("tags", where=where, version=versions["tags"]).to_pylist()
    if not rows:
        known = store.read("tags", ["property"], version=versions["tags"])[0].to_pylist()
        raise InputError(
            "There are no tags of a property {name!r}: {nearest}. Tags are saved clusters "
            "(`panoptic-assets save KEY`).",
            id="scope-tag-property-unknown",
            name=name,
            nearest=_nearest(name, known),
        )
    paths = tag_log.paths(tag_log.in_tree_order(tag_log.Tag(**row) for row in rows))
    wanted = {
        tag_id for tag_id, path in paths.items() if scope.path in matching.below(comparable(path))
    }
    if not wanted:
        raise InputError(
            "The property {name!r} has no tag {tag!r}: {nearest}.",
            id="scope-tag-unknown",
            name=name,
            tag=scope.path,
            nearest=_nearest(scope.path, paths.values()),
        )
    pairs = store.read("image_tags", ["tag_id", "image_id"], where, versions["image_tags"])
    chosen = [pair["image_id"] for pair in pairs.to_pylist() if pair["tag_id"] in wanted]
    return _Found(
        chosen,
        InputError(
            "No image that is present carries the tag {tag!r} or one below it: take another one "
            "of {property!r}, such as {example}.",
            id="no-present-image-of-tag",
            tag=scope.path,
            property=name,
            example=in_quotes(next(iter(paths.values()))),
        ),
        tables=versions,
    )


def _taken_between(scope: TakenBetween, corpus: PresentCorpus) -> _Found:
    version = corpus.store.version("images")
    rows = corpus.store.read("images", ["image_id", "taken_at"], "taken_at IS NOT NULL", version)
    days = {
        image_id: taken.date()
        for image_id, taken in zip(*(column.to_pylist() for column in rows.columns), strict=True)
        if image_id in corpus.present
    }
    if scope.since and scope.until:
        asked = noted("since {since} until {until}", since=scope.since, until=scope.until)
    elif scope.since:
        asked = noted("since {since}", since=scope.since)
    else:
        asked = noted("until {until}", until=scope.until)
    if days:
        nothing = InputError(
            "No image was taken {asked}: the capture dates go from {first} to {last}.",
            id="no-image-taken-then",
            asked=asked,
            first=min(days.values()),
            last=max(days.values()),
        )
    else:
        nothing = InputError(
            "None of the {nb_images:,} images has a capture date: cameras write it into the file "
            "(EXIF). If the inventory has dates, take the scope `property`.",
            id="no-capture-dates",
            nb_images=len(corpus.present),
        )
    chosen = [image_id for image_id, day in days.items() if within(day, scope.since, scope.until)]
    notes = []
    if undated := len(corpus.present) - len(days):
        notes.append(
            noted("Left out, since they have no capture date: {count:,} images.", count=undated)
        )
    return _Found(chosen, nothing, tables={"images": version}, notes=notes)


def _listed(scope: Listed, corpus: PresentCorpus) -> _Found:
    path, data = _read_list(scope.file, corpus.registry)
    listed = _names_in(path, data, corpus.example)
    names, known = listed.lines, corpus.names()
    ids = {name: known.find(name) for name in names}
    listed.check(name for name, image_id in ids.items() if image_id is None)
    chosen = {image_id for image_id in ids.values() if image_id}
    notes = known.notes
    if missing := sum(image_id not in corpus.present for image_id in ids.values()):
        notes.append(
            noted(
                "Left out, since they are missing from the corpus or in quarantine: {count:,} of "
                "the {all:,} images of {file}.",
                count=missing,
                all=len(names),
                file=scope.file,
            )
        )
    return _Found(
        chosen,
        InputError(
            "All {nb_images:,} images of {path} are missing from the corpus or in quarantine by "
            "now: list others, such as {example!r}.",
            id="listed-images-not-present",
            nb_images=len(names),
            path=path,
            example=corpus.example,
        ),
        notes=notes,
        id_list=IdList(file=scope.file, sha256=hashlib.sha256(data).hexdigest()),
    )


@dataclass(frozen=True)
class _Names:
    """What a list of images names, line by line."""

    path: Path
    lines: dict[str, int]
    """The number of each one's last line."""
    example: str
    """The path of a file, for messages."""

    def check(self, unknown: Iterable[str]) -> None:
        """Refuse the list if some of its names are those of no image."""
        names = list(unknown)
        if not names:
            return
        shown = ", ".join(f"line {self.lines[name]} ({in_quotes(name)})" for name in names[:_SHOWN])
        raise InputError(
            "{nb_unknown:,} of the {nb_lines:,} lines of {path} name no image of the corpus: "
            "{unknown}. Write image ids, or paths below the images' folder, such as {example!r}.",
            id="listed-images-unknown",
            nb_unknown=len(names),
            nb_lines=len(self.lines),
            path=self.path,
            unknown=shown + (", …" if len(names) > _SHOWN else ""),
            example=self.example,
        )


def _names_in(path: Path, data: bytes, example: str) -> _Names:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "{file} is not UTF-8 text: save it as UTF-8.", id="file-not-utf8", file=path
        ) from error
    # Not splitlines(): a file's name may hold what other scripts take for the end of a line.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    names = {line: number for number, line in enumerate(lines, 1) if line.strip()}
    if not names:
        raise InputError(
            "{path} is empty: write one image id, or path such as {example!r}, on each line.",
            id="list-empty",
            path=path,
            example=example,
        )
    return _Names(path, names, example)


def _read_list(name: str, registry: Registry) -> tuple[Path, bytes]:
    folder = registry.folder_path
    path = folder / name
    if (unwritten := registry.unwritten(name)) is not None:
        return path, unwritten
    # A refusal shows lines of the list, to whoever can start a run.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            "The list of images {name!r} is not in the project's folder: copy it there.",
            id="list-outside-project",
            name=name,
        )
    try:
        # Opening a FIFO would wait for ever.
        if not path.is_file():
            raise InputError(
                "The list of images {path} does not exist or is not a file: correct its path, "
                "which starts at the project's folder.",
                id="no-list-of-images",
                path=path,
            )
        with path.open("rb") as file:
            data = file.read(MAX_LIST + 1)
    except OSError as error:
        raise InputError(
            "The list of images {path} cannot be read ({reason}): correct its path or its "
            "permissions.",
            id="list-unreadable",
            path=path,
            reason=error.strerror,
        ) from error
    if len(data) > MAX_LIST:
        raise InputError(
            "The list of images {path} is larger than {megabytes} MB: divide it, or take another "
            "scope, such as `files`.",
            id="list-too-large",
            path=path,
            megabytes=MAX_LIST // 2**20,
        )
    return path, data


def _in_node(scope: InNode, corpus: PresentCorpus, key: str) -> _Found:
    node = parse_node(scope.node)
    if node.run_key == key:
        raise InputError(
            "The run {key!r} cannot take a cluster of its own: divide it instead, as the node "
            "{node} (`panoptic-assets divide {node}`), or choose a new key.",
            id="run-in-its-own-cluster",
            key=key,
            node=scope.node,
        )
    clusterings = Clusterings(corpus.store, node.run_key)
    return _Found(
        clusterings.members(node),
        InputError(
            "All images of {node} are missing from the corpus by now: take another cluster.",
            id="images-of-node-missing",
            node=node,
        ),
        parent=clusterings.get(node.clustering),
    )


def _in_region(scope: InRegion, corpus: PresentCorpus) -> _Found:
    read = read_points(corpus.store, scope.projection)
    if read is None:
        raise InputError(
            "There is no map {projection!r}: {nearest}. Points are computed by "
            "`panoptic-assets project {projection}`.",
            id="scope-projection-unknown",
            projection=scope.projection,
            nearest=_nearest(scope.projection, projections(corpus.store)),
        )
    places = on_map(read.vectors)
    mine = inside(places, scope.polygon)
    chosen = [image_id for image_id, is_in in zip(read.image_ids, mine, strict=True) if is_in]
    notes = []
    if absent := len(corpus.present.keys() - set(read.image_ids)):
        notes.append(
            noted(
                "Left out, since they have no point on {projection}: {count:,} images.",
                projection=scope.projection,
                count=absent,
            )
        )
    left, bottom = places.min(axis=0, initial=np.inf)
    right, top = places.max(axis=0, initial=-np.inf)
    return _Found(
        chosen,
        InputError(
            "No image that is present lies in this region of {projection}: its points lie between "
            "{left:.3g} and {right:.3g}, and between {bottom:.3g} and {top:.3g}.",
            id="no-present-image-in-region",
            projection=scope.projection,
            left=left,
            right=right,
            bottom=bottom,
            top=top,
        ),
        tables={read.source.table: read.source.version},
        notes=notes,
    )


def _nearest(wanted: str, known: Iterable[str]) -> Message:
    names = nearest(wanted, set(known), _SHOWN)
    if not names:
        return message("there are none yet", id="there-are-none-yet")
    return message("known are {names}", id="known-are", names=", ".join(map(in_quotes, names)))


def _listing(names: Iterable[str]) -> str:
    found = sorted(names)
    more = ", …" if len(found) > _SHOWN else ""
    return f"{', '.join(map(in_quotes, found[:_SHOWN]))}{more}"
