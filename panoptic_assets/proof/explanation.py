"""Why an image carries a tag: the chain from the tag's events down to the file, each link checked.

Belongs here: following the chain and checking its hashes. Does not belong here: what the tag log
says (``proof.provenance``), and computing clusterings again (``proof.verification``).
"""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from panoptic_assets.clustering.table import StoredRecord, stored_record
from panoptic_assets.corpus.table import certificates_of_records, image_names, present_files
from panoptic_assets.features.table import read_vectors
from panoptic_assets.proof.provenance import Origin, origin
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import vector_type_of
from panoptic_assets.spec.records import output_hash
from panoptic_assets.spec.tag_log import known_property
from panoptic_assets.spec.tag_words import in_words
from panoptic_assets.spec.text import beginning
from panoptic_assets.tags.edits import DEFAULT_PROPERTY, EditError, find_tag
from panoptic_assets.tags.table import LoggedEvent, read_log, tags_are
from resources.errors import InputError, UnreadableImage, text_of
from resources.lance import LanceStore, VersionGoneError, quoted
from resources.listing import UnavailableFile
from resources.schemas import vectors_table
from resources.source import ImageSource

_TAGS_SHOWN = 10


@dataclass(frozen=True)
class ExplanationStep:
    """One link of the chain."""

    name: str
    """tag, event, run, record, output, cluster, vector, image or file."""
    text: str
    checked: bool | None
    """Whether it is what was recorded; None where there is nothing to compare."""
    sha256: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Why an image carries a tag."""

    image_id: str
    property_name: str
    path: str
    """The tag with those above it."""
    steps: list[ExplanationStep]
    notes: list[str]
    """What a person must know, one sentence each."""

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return all(step.checked is not False for step in self.steps)

    def as_dictionary(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self) | {"holds": self.holds}


def explain(
    store: LanceStore,
    source: ImageSource,
    image: str,
    tag: str,
    property_name: str | None = None,
) -> Explanation:
    """The chain from a tag on an image to the image's file.

    Args:
        store: The store.
        source: The folder of images.
        image: The image's id, the first 8 or more characters of it, or a path; see
            :mod:`panoptic_assets.corpus.names`.
        tag: The tag's path, or id. An image carries a tag also by one below it.
        property_name: The tag's property; ``Clustering`` by default.

    Raises:
        InputError: There is no such image or tag, or the image does not carry it.
    """
    present = present_files(store)
    names = image_names(store, source.place)
    image_id = names.one(image)
    if not image_id:
        raise InputError(
            "{image!r} is in quarantine: it holds no image, and so has no tags.",
            id="image-in-quarantine",
            image=image,
        )
    log = read_log(store)
    events = [entry.event for entry in log]
    replayed = tag_log.replay(events)
    property_name = DEFAULT_PROPERTY if property_name is None else property_name
    try:
        asked = find_tag(tag, events, known_property(property_name, set(replayed.properties)))
    except EditError as error:
        raise InputError.of(error) from error
    carried = _carried(replayed, asked, image_id)
    found = origin(events, carried.tag_id, image_id)
    path = tag_log.paths(replayed.tags)[carried.tag_id]
    steps = [_tag_step(store, replayed, carried, image_id, path), *_event_steps(log, found)]
    steps += _run_steps(store, log, found, image_id)
    steps += _file_steps(store, source, image_id, present.get(image_id, []))
    return Explanation(image_id, carried.property, path, steps, names.notes)


def _carried(replayed: tag_log.TagTables, asked: tag_log.Tag, image_id: str) -> tag_log.Tag:
    """The tag itself, or the first one below it, that the image carries."""
    below = {asked.tag_id}
    for tag in replayed.tags:  # parents first
        if tag.parent_id in below:
            below.add(tag.tag_id)
    for tag in replayed.tags:
        if tag.tag_id in below and (tag.tag_id, image_id) in replayed.images:
            return tag
    paths = tag_log.paths(replayed.tags)
    own = [
        f"{tag.property}: {paths[tag.tag_id]}"
        for tag in replayed.tags
        if (tag.tag_id, image_id) in replayed.images
    ]
    listed = beginning([*map(repr, own)], _TAGS_SHOWN)
    raise InputError(
        "The image {image_id} does not carry the tag {tag!r} of {property!r}: it carries "
        "{carried}.",
        id="image-without-tag",
        image_id=image_id,
        tag=paths[asked.tag_id],
        property=asked.property,
        carried=listed or "no tag",
    )


def _tag_step(
    store: LanceStore,
    replayed: tag_log.TagTables,
    tag: tag_log.Tag,
    image_id: str,
    path: str,
) -> ExplanationStep:
    where = f"tag_id = {quoted(tag.tag_id)} AND image_id = {quoted(image_id)}"
    stored = store.read("image_tags", ["event"], where)["event"].to_pylist()
    same = stored == [replayed.images[tag.tag_id, image_id]] and tags_are(store, replayed)
    said = "the tag log replays to the stored tags" if same else "the tag log says other tags"
    return ExplanationStep("tag", f"{tag.property}: {path} ({tag.tag_id}); {said}", same)


def _event_steps(log: list[LoggedEvent], found: Origin) -> list[ExplanationStep]:
    words = [text_of(said) for said in in_words([entry.event for entry in log])]
    steps = []
    for number in found.numbers:
        entry = log[number - 1]
        reason = f", since: {entry.reason}" if entry.reason else ""
        given = "; by this one the image carries it" if number == found.given else ""
        text = (
            f"{number}, {entry.at:%Y-%m-%d %H:%M:%S} UTC, {entry.event.kind} by {entry.author}: "
            f"{words[number - 1]}{reason}{given}"
        )
        steps.append(ExplanationStep("event", text, None))
    return steps


def _run_steps(
    store: LanceStore, log: list[LoggedEvent], found: Origin, image_id: str
) -> list[ExplanationStep]:
    cluster = found.cluster
    if found.saved is None or cluster is None or cluster.record_id is None or not cluster.node:
        author = log[found.given - 1].author
        kind = log[found.given - 1].event.kind
        return [ExplanationStep("run", f"none: it was given by hand ({kind}), by {author}", None)]
    run_key = log[found.saved - 1].event.run_key
    steps = [
        ExplanationStep(
            "run", f"{run_key}, cluster {cluster.node}, saved by event {found.saved}", None
        )
    ]
    record_id: str | None = cluster.record_id
    node = cluster.node
    deepest = None
    while record_id is not None:
        stored = stored_record(store, record_id)
        if stored is None:
            return [*steps, ExplanationStep("record", f"{record_id} is gone", False)]
        deepest = deepest or stored
        steps += _record_steps(store, stored, node, image_id)
        node = stored.record.key
        record_id = stored.record.parent_record if "/" in stored.record.key else None
    return [*steps, *_vector_steps(store, deepest, image_id)] if deepest else steps


def _record_steps(
    store: LanceStore, stored: StoredRecord, node: str, image_id: str
) -> list[ExplanationStep]:
    record = stored.record
    changed = stored.changed
    if stored.seal is None:
        seal = ExplanationStep("record", f"{record.record_id}, not sealed", None)
    elif changed:
        names = ", ".join(changed)
        seal = ExplanationStep("record", f"{record.record_id}: not what was sealed: {names}", False)
    else:
        seal = ExplanationStep("record", f"{record.record_id}, as it was sealed", True, stored.root)
    where = f"record_id = {quoted(record.record_id)}"
    table = store.read("assignments", ["image_id", "cluster"], where)
    rows = dict(zip(table["image_id"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    same: bool | None = output_hash(rows.items()) == record.output
    said = "the stored clusters hash to it" if same else "the stored clusters are others"
    if certificates := certificates_of_records(store).get(record.record_id):
        same, said = None, f"other images of it were forgotten ({', '.join(certificates)})"
    right = rows.get(image_id) == node.rpartition("/")[2]
    where = f"is in {record.key}/{rows[image_id]}" if image_id in rows else "is in no cluster"
    return [
        seal,
        ExplanationStep("output", f"{record.key}: {said}", same, record.output),
        ExplanationStep("cluster", f"the image {where}", right),
    ]


def _vector_steps(store: LanceStore, stored: StoredRecord, image_id: str) -> list[ExplanationStep]:
    record = stored.record
    vector_type = vector_type_of(record.config["features"])
    table = vectors_table(vector_type)
    source = next((read for read in record.inputs if read.table == table), None)
    if source is None:
        return [ExplanationStep("vector", f"the record names no version of {table}", False)]
    where = f"record_id = {quoted(record.record_id)}"
    ids = store.read("assignments", ["image_id"], where)["image_id"].to_pylist()
    version = f"version {source.version}"
    try:
        then = read_vectors(store.at({table: source.version}), vector_type, ids)
    except VersionGoneError:
        version = f"the newest version, since {version} is gone"
        then = read_vectors(store, vector_type, ids, may_be_none=True)
    except InputError as error:
        return [ExplanationStep("vector", str(error), False)]
    steps = []
    text = f"{table}, {version}: all {len(then.image_ids):,} vectors"
    same: bool | None = then.source.sha256 == source.sha256
    if not same and record.record_id in certificates_of_records(store):
        same = None
    steps.append(ExplanationStep("vectors", text, same, source.sha256))
    if image_id not in then.image_ids:
        return [*steps, ExplanationStep("vector", "the image has none there", False)]
    vector = then.vectors[then.image_ids.index(image_id)]
    now = read_vectors(store, vector_type, [image_id], may_be_none=True)
    is_now = len(now.vectors) == 1 and np.array_equal(now.vectors[0], vector)
    told = "and the same now" if is_now else "now it has another one"
    own = hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()
    return [*steps, ExplanationStep("vector", f"the image's own, {told}", same, own)]


def _file_steps(
    store: LanceStore, source: ImageSource, image_id: str, paths: list[str]
) -> list[ExplanationStep]:
    columns = ["format", "width", "height", "bytes"]
    rows = store.read("images", columns, f"image_id = {quoted(image_id)}").to_pylist()
    steps = [
        ExplanationStep(
            "image",
            f"{row['format']}, {row['width']} × {row['height']} pixels, {row['bytes']:,} bytes",
            None,
            image_id,
        )
        for row in rows
    ]
    if not paths:
        return [*steps, ExplanationStep("file", "none is there any more", None)]
    return [*steps, *(_file_step(source, path, image_id) for path in paths)]


def _file_step(source: ImageSource, path: str, image_id: str) -> ExplanationStep:
    try:
        found = source.image_id(path, source.read(path))
    except UnavailableFile as error:
        return ExplanationStep("file", f"{path}: {error}", None)
    except UnreadableImage as error:
        return ExplanationStep("file", f"{path}: {error}", False)
    return ExplanationStep("file", path, found == image_id, found)
