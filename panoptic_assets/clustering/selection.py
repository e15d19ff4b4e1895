"""Which images a run's scope takes, and the proof of what was read for it.

Belongs here: reading the tables, lists and models that scopes name. Does not belong here: their
fields (``scopes``), and matching (``clustering.matching``).
"""

import fnmatch
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_assets.clustering import matching as matching
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.scopes import (
    FilesLike,
    FoundByText,
    InNode,
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
from panoptic_assets.corpus.properties import VALUE_COLUMNS, read_properties, stored_property
from panoptic_assets.corpus.table import files_input
from panoptic_assets.corpus.values import PropertyType
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.dates import within
from panoptic_assets.spec.keys import parse_node, vector_type_of
from panoptic_assets.spec.records import IdList, Input, Record, digest
from panoptic_assets.spec.tag_log import comparable
from panoptic_assets.spec.text import in_quotes, nearest
from resources.errors import InputError
from resources.lance import LanceStore, quoted
from resources.models import OpenClipModels
from resources.registry import Registry

MAX_LIST = 2**27
"""Bytes of a list of ids: two million of them."""
_SHOWN = 3
"""Names in a message."""


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
    corpus = present_corpus(store, registry)
    vector_type = vector_type_of(config.features)
    scope = config.scope
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
                answer.image_ids, answer.nothing, sources=answer.sources, notes=answer.notes
            )
        case InNode():
            found = _in_node(scope, corpus, key)
    image_ids = sorted(corpus.present.keys() & set(found.image_ids))
    if not image_ids:
        raise InputError(found.nothing)
    proofs = [Input(table=t, version=v, sha256=digest(image_ids)) for t, v in found.tables.items()]
    return Selection(
        image_ids,
        [files_input(corpus.version, image_ids), *proofs, *found.sources],
        found.notes,
        found.id_list,
        found.parent,
    )


@dataclass(frozen=True)
class _Found:
    image_ids: Iterable[str]
    """Some may not be present."""
    nothing: str = ""
    """What to say when none is."""
    tables: dict[str, int] = field(default_factory=dict)
    """The tables beside ``files`` that say who they are, and their versions."""
    sources: list[Input] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    id_list: IdList | None = None
    parent: Record | None = None


def _with_path(scope: FilesLike, corpus: PresentCorpus) -> _Found:
    matches = re.compile(fnmatch.translate(comparable_path(scope.pattern))).match
    chosen = [
        image_id
        for image_id, paths in corpus.present.items()
        if any(matches(comparable_path(path)) for path in paths)
    ]
    return _Found(
        chosen,
        f"No file matches {scope.pattern!r}: patterns are compared with paths such as "
        f"{corpus.example!r}.",
    )


def _with_property(scope: WithProperty, corpus: PresentCorpus) -> _Found:
    store, name = corpus.store, unicodedata.normalize("NFC", scope.property)
    version = store.version("property_values")
    rows = read_properties(store, name, version)
    if not rows.num_rows:
        names = set(store.read("property_values", ["property"], version=version)[0].to_pylist())
        raise InputError(
            f"There is no property {name!r}: {_nearest(name, names)}. The file of metadata "
            "(`metadata` in .panoptic/project.yaml) names the properties of images."
        )
    kind: PropertyType = rows["type"][0].as_py()
    _check_kind(scope, kind)
    values = dict(
        zip(rows["image_id"].to_pylist(), rows[VALUE_COLUMNS[kind]].to_pylist(), strict=True)
    )
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
            if within(value.date(), scope.since, scope.until)
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
                f"The property {scope.property!r} is of type {kind}, and {fields} are for type "
                f"{right}: give `values` (--value) instead."
            )


def _having(scope: WithProperty, kind: PropertyType, values: dict[str, Any]) -> list[str]:
    """The images that have one of the scope's values."""
    wanted = {}
    for text in scope.values:
        try:
            wanted[matching.word(kind, text)] = text
        except ValueError as error:
            raise InputError(
                f"The property {scope.property!r} is of type {kind}, and {in_quotes(text)} is no "
                f"value of it: {error}."
            ) from error
    words = {image_id: set(matching.words(kind, value)) for image_id, value in values.items()}
    known = set().union(*words.values())
    for value, text in wanted.items():
        if value not in known:
            raise InputError(
                f"No image has {in_quotes(text)} as its {scope.property!r}: "
                f"{_nearest(text, map(str, known))}."
            )
    return [image_id for image_id, mine in words.items() if not mine.isdisjoint(wanted)]


def _no_value(name: str, kind: PropertyType, values: list[Any]) -> str:
    """What to say when no present image has a value that is looked for."""
    if not values:
        return f"No image that is present has a value of the property {name!r}."
    if kind in ("number", "date"):
        least, most = (matching.words(kind, value)[-1] for value in (min(values), max(values)))
        return (
            f"No image that is present has such a {name!r}: their values go from {least} to {most}."
        )
    examples = _listing({str(matching.words(kind, value)[-1]) for value in values})
    return f"No image that is present has such a {name!r}: their values are {examples}."


def _with_tag(scope: WithTag, corpus: PresentCorpus) -> _Found:
    store = corpus.store
    versions = {name: store.version(name) for name in ("tags", "image_tags")}
    name = stored_property(store, scope.property, versions["tags"])
    where = f"property = {quoted(name)}"
    rows = store.read("tags", where=where, version=versions["tags"]).to_pylist()
    if not rows:
        known = store.read("tags", ["property"], version=versions["tags"])[0].to_pylist()
        raise InputError(
            f"There are no tags of a property {name!r}: {_nearest(name, known)}. Tags are saved "
            "clusters (`panoptic-assets save KEY`)."
        )
    paths = tag_log.paths(tag_log.in_tree_order(tag_log.Tag(**row) for row in rows))
    wanted = {
        tag_id for tag_id, path in paths.items() if scope.path in matching.below(comparable(path))
    }
    if not wanted:
        raise InputError(
            f"The property {name!r} has no tag {scope.path!r}: "
            f"{_nearest(scope.path, paths.values())}."
        )
    pairs = store.read("image_tags", ["tag_id", "image_id"], where, versions["image_tags"])
    chosen = [pair["image_id"] for pair in pairs.to_pylist() if pair["tag_id"] in wanted]
    return _Found(
        chosen,
        f"No image that is present carries the tag {scope.path!r} or one below it: take another "
        f"one of {name!r}, such as {in_quotes(next(iter(paths.values())))}.",
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
    asked = " ".join(
        f"{word} {day}" for word, day in (("since", scope.since), ("until", scope.until)) if day
    )
    nothing = (
        f"No image was taken {asked}: the capture dates go from {min(days.values())} to "
        f"{max(days.values())}."
        if days
        else f"None of the {len(corpus.present):,} images has a capture date: cameras write it "
        "into the file (EXIF). If the file of metadata has dates, take the scope `property`."
    )
    chosen = [image_id for image_id, day in days.items() if within(day, scope.since, scope.until)]
    notes = []
    if undated := len(corpus.present) - len(days):
        notes.append(f"Left out, since they have no capture date: {undated:,} images.")
    return _Found(chosen, nothing, tables={"images": version}, notes=notes)


def _listed(scope: Listed, corpus: PresentCorpus) -> _Found:
    path, data = _read_list(scope.file, corpus.registry.folder_path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    # Not splitlines(): a file's name may hold what other scripts take for the end of a line.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    names = {line: number for number, line in enumerate(lines, 1) if line.strip()}
    if not names:
        raise InputError(
            f"{path} is empty: write one image id, or path such as {corpus.example!r}, on each "
            "line."
        )
    known = corpus.names()
    ids = {name: known.find(name) for name in names}
    if unknown := [name for name, image_id in ids.items() if image_id is None]:
        shown = ", ".join(f"line {names[name]} ({in_quotes(name)})" for name in unknown[:_SHOWN])
        raise InputError(
            f"{len(unknown):,} of the {len(names):,} lines of {path} name no image of the corpus: "
            f"{shown}{', …' if len(unknown) > _SHOWN else ''}. Write image ids, or paths below the "
            f"images' folder, such as {corpus.example!r}."
        )
    chosen = {image_id for image_id in ids.values() if image_id}
    notes = known.notes
    if missing := sum(image_id not in corpus.present for image_id in ids.values()):
        notes.append(
            f"Left out, since they are missing from the corpus or in quarantine: {missing:,} of "
            f"the {len(names):,} images of {scope.file}."
        )
    return _Found(
        chosen,
        f"All {len(names):,} images of {path} are missing from the corpus or in quarantine by "
        f"now: list others, such as {corpus.example!r}.",
        notes=notes,
        id_list=IdList(file=scope.file, sha256=hashlib.sha256(data).hexdigest()),
    )


def _read_list(name: str, folder: Path) -> tuple[Path, bytes]:
    path = folder / name
    # A refusal shows lines of the list, to whoever can start a run.
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"The list of images {name!r} is not in the project's folder: copy it there."
        )
    try:
        # Opening a FIFO would wait for ever.
        if not path.is_file():
            raise InputError(
                f"The list of images {path} does not exist or is not a file: correct its path, "
                "which starts at the project's folder."
            )
        with path.open("rb") as file:
            data = file.read(MAX_LIST + 1)
    except OSError as error:
        raise InputError(
            f"The list of images {path} cannot be read ({error.strerror}): correct its path or "
            "its permissions."
        ) from error
    if len(data) > MAX_LIST:
        raise InputError(
            f"The list of images {path} is larger than {MAX_LIST // 2**20} MB: divide it, or take "
            "another scope, such as `files`."
        )
    return path, data


def _in_node(scope: InNode, corpus: PresentCorpus, key: str) -> _Found:
    node = parse_node(scope.node)
    if node.run_key == key:
        raise InputError(
            f"The run {key!r} cannot take a cluster of its own: divide it instead, as the node "
            f"{scope.node} (`panoptic-assets divide {scope.node}`), or choose a new key."
        )
    clusterings = Clusterings(corpus.store, node.run_key)
    return _Found(
        clusterings.members(node),
        f"All images of {node} are missing from the corpus by now: take another cluster.",
        parent=clusterings.get(node.clustering),
    )


def _nearest(wanted: str, known: Iterable[str]) -> str:
    names = nearest(wanted, set(known), _SHOWN)
    return f"known are {', '.join(map(in_quotes, names))}" if names else "there are none yet"


def _listing(names: Iterable[str]) -> str:
    found = sorted(names)
    more = ", …" if len(found) > _SHOWN else ""
    return f"{', '.join(map(in_quotes, found[:_SHOWN]))}{more}"
