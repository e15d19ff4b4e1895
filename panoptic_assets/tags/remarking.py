"""The act of writing a remark on an image, a run, a cluster or a tag; and the remarks that count.

Belongs here: what a remark can be about, how people name that, and reading remarks. Does not belong
here: undoing one, which is undoing its mark (``upkeep.undoing``), and taking the text away of an
image that is forgotten (``upkeep.forgetting``).

A remark is a mark of the store, and is never written over: of those on one thing the newest counts
that is not undone, and an empty one says that there is none. One on a cluster is of the clustering
that it was written for: where the cluster is made again, it is told as of the former one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from panoptic_assets.clustering.mark_log import append_mark, read_marks
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import marks, tag_log
from panoptic_assets.spec.keys import parse_clustering, parse_node, run_key_of
from panoptic_assets.spec.marks import IMAGE, TAG, Mark, remarks_due
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.spec.text import in_quotes
from panoptic_assets.tags.config import RemarkConfig
from panoptic_assets.tags.edits import EditError, find_tag
from resources.errors import InputError
from resources.lance import LanceStore


@dataclass(frozen=True)
class Subject:
    """What a remark is about."""

    key: str
    """``image:ID``, ``tag:ID``, a run key or a node: what its mark is about."""
    about: str
    """The same for people: the path of the image's file, ``tag:PROPERTY:PATH``, or the key."""
    records: tuple[str, ...] = ()
    """Of a run or cluster: the id of the record that its images were divided by."""


@dataclass(frozen=True)
class RemarkPlan:
    """A remark that can be written."""

    context: Context
    config: RemarkConfig
    subject: Subject


@dataclass(frozen=True)
class Remarked:
    """A remark that was written."""

    plan: RemarkPlan
    id: str
    """Of its mark, by which it is undone."""


def prepare(context: Context, key: str, given: Document) -> RemarkPlan:
    """Find what a remark is about, and see that it says something new.

    Args:
        context: What is read.
        key: Nothing: what it is about is in the configuration.
        given: Configuration.

    Raises:
        InputError: There is nothing of that name, the text cannot be used, or it is there already.
    """
    config = parse(RemarkConfig, given)
    subject = find_subject(context.store, config.subject, context.registry.images)
    before = next(
        (
            str(mark.content["text"])
            for mark in _due(context.store)
            if (mark.key, mark.records) == (subject.key, subject.records)
        ),
        "",
    )
    if config.text == before:
        if not before:
            raise InputError(
                "There is no remark on {subject} that could be taken away: write one.",
                id="no-remark-to-take-away",
                subject=in_quotes(subject.about),
            )
        raise InputError(
            "The remark on {subject} says just that already.",
            id="remark-says-so-already",
            subject=in_quotes(subject.about),
        )
    return RemarkPlan(context, config, subject)


def run(plan: RemarkPlan) -> RemarkPlan:
    """Nothing is left to be computed."""
    return plan


def store(plan: RemarkPlan) -> Remarked:
    """Append the remark."""
    context, config, subject = plan.context, plan.config, plan.subject
    number = append_mark(
        context.store,
        "remark",
        subject.key,
        config.author or context.author or system_user(),
        config.reason,
        dagster_run_id=context.dagster_run_id,
        records=subject.records,
        content={"about": subject.about, "text": config.text},
    )
    assert number is not None  # noqa: S101 (whatever was appended meanwhile)
    return Remarked(plan, marks.mark_id(number))


def find_subject(store: LanceStore, name: str, folder: str = "") -> Subject:
    """What a name means: ``greek``, ``greek/3``, ``tag:PROPERTY:PATH``, ``tag:ID``, or an image.

    Args:
        store: The store.
        name: The name; ``image:`` before that of an image says that it is no run's.
        folder: The images' folder or its URI, for names of images that are whole paths.

    Raises:
        InputError: There is nothing of that name.
    """
    if name.startswith(TAG):
        return _tag(store, name.removeprefix(TAG))
    if not name.startswith(IMAGE) and (found := _clustering(store, name)):
        return found
    return _image(store, name.removeprefix(IMAGE), folder)


def _clustering(store: LanceStore, name: str) -> Subject | None:
    """A run, or a cluster of one; None where there is no such run: it may be an image."""
    try:
        run_key = run_key_of(parse_clustering(name))
    except InputError:
        return None
    clusterings = Clusterings(store, run_key)
    if clusterings.find(run_key) is None:
        return None
    above = run_key
    if name != run_key:
        node = parse_node(name)
        clusterings.members(node)  # which says what there is, and refuses what is stale
        above = node.clustering
    return Subject(name, name, (clusterings.get(above).computed_id,))


def _image(store: LanceStore, name: str, folder: str) -> Subject:
    known = image_names(store, folder)
    image_id = known.one(name)
    if not image_id:
        raise InputError(
            "The file {name} is in quarantine, so it has no image that a remark could be on.",
            id="remark-on-no-image",
            name=in_quotes(name),
        )
    paths = present_files(store).get(image_id, [])
    return Subject(f"{IMAGE}{image_id}", next(iter(paths), f"{IMAGE}{image_id}"))


def _tag(store: LanceStore, name: str) -> Subject:
    from panoptic_assets.tags.table import read_log

    events = [entry.event for entry in read_log(store, with_images=False)]
    tags = tag_log.replay(events).tags
    paths = tag_log.paths(tags)
    by_id = {tag.tag_id: tag for tag in tags}
    found = by_id.get(name)
    if found is None:
        places = [place for place, character in enumerate(name) if character == ":"]
        properties = {tag.property for tag in tags}
        # A property's name may have a colon, as a tag's may: the longest that there is is meant.
        for place in reversed(places):
            property_name = tag_log.known_property(name[:place], properties)
            if property_name in properties:
                try:
                    found = find_tag(name[place + 1 :], events, property_name)
                except EditError as error:
                    raise InputError.of(error) from error
                break
    if found is None:
        raise InputError(
            "There is no tag {name}: write tag:PROPERTY:PATH, such as {example}.",
            id="remark-on-no-tag",
            name=in_quotes(name),
            example=next(
                (repr(_typed(tag, paths)) for tag in tags), "'tag:Clustering:animals > birds'"
            ),
        )
    return Subject(f"{TAG}{found.tag_id}", _typed(found, paths))


def _typed(tag: tag_log.Tag, paths: Mapping[str, str]) -> str:
    return f"{TAG}{tag.property}:{paths[tag.tag_id]}"


def _due(store: LanceStore) -> list[Mark]:
    return remarks_due(read_marks(store, kinds=("remark", "undo", "redo")))


def remark_version(store: LanceStore, key: str) -> str | None:
    """The id of the newest remark that counts on something; None where there is none.

    Args:
        store: The store.
        key: See :class:`Subject`.
    """
    found = [mark.id for mark in _due(store) if mark.key == key]
    return found[-1] if found else None


def read_remarks(store: LanceStore, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The remarks that count, oldest first.

    See :meth:`panoptic_assets.project.Project.remarks` for what they hold.

    Args:
        store: The store.
        keys: Only those on these; see :class:`Subject`.
    """
    found = [mark for mark in _due(store) if keys is None or mark.key in keys]
    runs = {run_key_of(mark.key) for mark in found if _kind(mark.key) in ("run", "cluster")}
    clusterings = {run_key: Clusterings(store, run_key) for run_key in runs}
    tags: set[str] = set()
    if any(mark.key.startswith(TAG) for mark in found):
        tags.update(store.read("tags", ["tag_id"])["tag_id"].to_pylist())
    return [
        {
            "act": mark.id,
            "subject": mark.key,
            "kind": _kind(mark.key),
            "about": mark.content["about"],
            "text": mark.content["text"],
            "at": mark.at,
            "author": mark.author,
            "reason": mark.reason,
            "record_id": next(iter(mark.records), None),
            "current": _is_current(mark, clusterings, tags),
            "dagster_run_id": mark.dagster_run_id,
        }
        for mark in found
    ]


def _kind(key: str) -> str:
    if key.startswith(IMAGE):
        return "image"
    if key.startswith(TAG):
        return "tag"
    return "cluster" if "/" in key else "run"


def _is_current(mark: Mark, clusterings: Mapping[str, Clusterings], tags: Collection[str]) -> bool:
    """Whether what a remark is on is still there, and is the same."""
    kind = _kind(mark.key)
    if kind == "image":
        return True
    if kind == "tag":
        return mark.key.removeprefix(TAG) in tags
    above = mark.key.rpartition("/")[0] if kind == "cluster" else mark.key
    record = clusterings[run_key_of(mark.key)].records.get(above)
    return record is not None and record.computed_id in mark.records
