"""What the API tells: each address with what may be asked there, and what is answered.

Belongs here: turning what :class:`~panoptic_assets.project.Project` reads into documents of bounded
length, with the versions of what they show. Does not belong here: HTTP (``serve.api``), pictures
(``serve.previews``) and acts (``serve.api_acts``).

Each document that shows something which acts change has ``seen``: who acts on it sends that back,
and is refused if it has changed meanwhile (:mod:`panoptic_assets.acts`).

Long because it is one table, of whose rows each is a class and a function of a few lines.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from panoptic_assets.serve.map_page import (
    AskedMap,
    AskedMapColours,
    map_colours_document,
    map_points_document,
)
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import run_key_of
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.clustering.config import Scope
    from panoptic_assets.project import Project

LONGEST = 500
"""Rows of one document."""

_KEY = "A run or a divided node, such as `greek` or `greek/3`."
_PROPERTY = "A property of tags; empty: all of them."


class NothingAsked(Parameters):
    """Of an address that needs nothing more."""


class AskedPart(Parameters):
    """Which part of a list."""

    offset: int = Field(default=0, ge=0, lt=2**31, description="Rows that are passed over.")
    limit: int = Field(default=100, ge=1, le=LONGEST, description="Rows at most.")


class AskedKey(Parameters):
    """A run or a divided node."""

    key: str = Field(description=_KEY)


class AskedKeys(Parameters):
    """Some of what can be stale."""

    key: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Runs, nodes and `property:NAME`, each as a parameter of its own; none: all.",
    )


class AskedRuns(AskedPart):
    """All runs, or one."""

    run: str = Field(default="", description="Only this run, with what is divided below it.")


class AskedPartOfKey(AskedPart):
    """Part of what is told of a run or node."""

    key: str = Field(description=_KEY)


class AskedMembers(AskedPart):
    """Images of a cluster."""

    node: str = Field(description="The cluster, such as `greek/3` or `greek/remainder`.")
    which: Literal["nearest", "farthest", "random"] = Field(
        default="nearest", description="Their order, by the distance to the cluster's mean."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of the order `random`.")


class AskedProperty(Parameters):
    """A property of tags."""

    property: str = Field(description="A property of tags.")


class AskedTags(AskedPart):
    """Tags of a property."""

    property: str = Field(default="", description=_PROPERTY)


class AskedTag(AskedPart):
    """Images of a tag."""

    tag_id: str = Field(max_length=200, description="The tag's id.")
    below: bool = Field(default=True, description="Whether images of the tags below it count.")


class AskedRemarks(AskedPart):
    """Remarks on everything, or on one thing."""

    subject: str = Field(
        default="",
        max_length=4200,
        description="An image by id or path, a run, a cluster, or `tag:PROPERTY:PATH`; empty: all.",
    )


class AskedProposals(AskedTags):
    """Recommendations."""

    tag: str = Field(default="", description="Only of this tag, by path or id.")


class AskedDiff(AskedPart):
    """Two corpus versions."""

    old: str = Field(
        default="",
        description="A number, `latest`, the beginning of a hash, or a date; empty: the version "
        "before the other one.",
    )
    new: str = Field(default="latest", description="The same.")


class AskedPair(AskedPart):
    """Two runs, or a run and what is known of the images; the part is of the images that moved."""

    a: str = Field(description="A run, a divided node, `property:NAME` or `folders`.")
    b: str = Field(description="The other one.")
    depth: int = Field(default=1, ge=1, le=60, description="Levels of the trees.")


class AskedLeaderboard(AskedPart):
    """All runs, and what is taken for the truth."""

    against: str = Field(default="", description="Such as `folders`; empty: nothing.")
    depth: int = Field(default=1, ge=1, le=60, description="Levels of the trees.")
    remainder: Literal["counted", "left_out"] = Field(
        default="counted", description="As a cluster, or not at all."
    )


class AskedSearch(Parameters):
    """A text, or an image: one of the two."""

    text: str | None = Field(default=None, max_length=1000, description="In words.")
    similar_to: str | None = Field(
        default=None,
        max_length=4096,
        description="An image, by id, by the first 8 or more characters of it, or by path.",
    )
    vector_type: str | None = Field(
        default=None, description="The vectors to compare; empty: the project's."
    )
    number: int = Field(default=100, ge=1, le=LONGEST, description="Images at most.")
    min_similarity: float | None = Field(
        default=None, ge=-1, le=1, allow_inf_nan=False, description="The least cosine."
    )


class AskedScope(Parameters):
    """A scope."""

    scope: str = Field(
        default="",
        max_length=60_000,
        description="JSON, as the configuration of `cluster` has it, such as "
        '`{"node": {"node": "greek/3"}}`; empty: the corpus.',
    )
    vector_type: str | None = Field(
        default=None, description="The vectors that a search compares; empty: the project's."
    )
    order: Literal["path", "added", "nearest", "size"] | None = Field(
        default=None,
        description="By path; the newest first; the most similar, or nearest to a cluster's mean, "
        "first; the largest first. Empty: that of a search, else by path.",
    )

    @property
    def document(self) -> dict[str, Any] | None:
        """The scope as plain data; None for the corpus.

        Raises:
            InputError: It is no object of JSON.
        """
        from panoptic_assets.serve.json_documents import read_document

        if not self.scope.strip():
            return None
        try:
            return read_document(self.scope.encode("utf-8", "surrogatepass"))
        except InputError as error:
            raise InputError(
                "The scope cannot be read: write it as in {example}.",
                id="scope-malformed",
                example='{"node": {"node": "greek/3"}}',
            ) from error


class AskedImages(AskedScope, AskedPart):
    """Images of a scope."""


class AskedImage(Parameters):
    """An image."""

    image_id: str = Field(description="The image's id.")


class AskedExplanation(Parameters):
    """An image and a tag that it carries."""

    image: str = Field(max_length=4096, description="By id or path.")
    tag: str = Field(max_length=2000, description="By path or id.")
    property: str | None = Field(default=None, description="The tag's; `Clustering` by default.")


@dataclass(frozen=True)
class ReadAddress:
    """An address that is read."""

    path: str
    """Below ``/panoptic/<corpus>/api/``; names in braces are fields of ``asked``."""
    summary: str
    """What is told there: a sentence."""
    asked: type[Parameters]
    """What may be asked, by the address and its query."""
    answer: Callable[["Project", Any], dict[str, Any]]
    """Makes the document; raises InputError where there is none."""


def _part(rows: Sequence[Any] | pa.Table, asked: AskedPart) -> dict[str, Any]:
    """The rows of a list that were asked for, and how many there are."""
    total = len(rows)
    shown = (
        rows.slice(asked.offset, asked.limit).to_pylist()
        if isinstance(rows, pa.Table)
        else list(rows[asked.offset : asked.offset + asked.limit])
    )
    return {"rows": shown, "offset": asked.offset, "limit": asked.limit, "total": total}


def _seen(project: "Project", subjects: Iterable[str]) -> dict[str, Any]:
    from panoptic_assets.acts import seen

    return {"seen": seen(project.store, subjects)}


def _remarks_on(project: "Project", keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The remark that counts on each of some things as they are now; see `Project.remarks`.

    Its ``act`` is the version of ``remark:KEY``, for ``seen``.
    """
    from panoptic_assets.tags.remarking import read_remarks

    found = read_remarks(project.store, set(keys))
    return {remark["subject"]: remark for remark in found if remark["current"]}


def _remarks(project: "Project", asked: AskedRemarks) -> dict[str, Any]:
    remarks = project.remarks(asked.subject or None)
    found = _part(remarks[::-1], asked)
    shown = {row["subject"] for row in found["rows"]}
    # Not by `seen`, which would look for each of them among all.
    newest = {f"remark:{row['subject']}": row["act"] for row in remarks if row["subject"] in shown}
    return {**found, "seen": newest}


def _corpus(project: "Project", _: NothingAsked) -> dict[str, Any]:
    from panoptic_assets.features import table as vector_tables
    from panoptic_assets.upkeep.staleness import corpus_state

    state = vars(corpus_state(project.store, project.layout.settings.vector_type)).copy()
    version = state.pop("version")
    return {
        "corpus": project.layout.corpus,
        "version": version.number if version else None,
        "changed_at": version.at if version else None,
        **state,
        "vector_type": project.layout.settings.vector_type,
        "vector_types": vector_tables.vector_types(project.store),
        "projections": vector_tables.projections(project.store),
        **_seen(project, ["corpus:"]),
    }


def _version(project: "Project", _: NothingAsked) -> dict[str, Any]:
    """A hash that changes with every table, so that a page knows when to look again."""
    tables = sorted(project.store.tables())
    versions = [f"{table}@{project.store.version(table)}" for table in tables]
    return {"version": hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]}


def _status(project: "Project", asked: AskedKeys) -> dict[str, Any]:
    return {**project.status(*asked.key), **_seen(project, ["corpus:"])}


def _runs(project: "Project", asked: AskedRuns) -> dict[str, Any]:
    left_out: list[str] = []
    found = _part(project.runs(asked.run or None, left_out.append), asked)
    subjects = [row["key"] for row in found["rows"]]
    return {**found, "notes": left_out, **_seen(project, subjects)}


def _run(project: "Project", asked: AskedKey) -> dict[str, Any]:
    return {**project.run_info(asked.key), **_seen(project, [asked.key])}


def _clusters(project: "Project", asked: AskedKey) -> dict[str, Any]:
    info = project.run_info(asked.key)
    rows = project.clusters(asked.key).to_pylist()
    divided = {run["key"]: run["status"] for run in project.runs(info["run_key"])}
    remarks = _remarks_on(project, [info["key"], *(row["node"] for row in rows)])
    return {
        "key": info["key"],
        "status": info["status"],
        "baseline_score": info["baseline_score"],
        "notes": info["notes"],
        "remark": remarks.get(info["key"]),
        "rows": [
            {**row, "divided": divided.get(row["node"]), "remark": remarks.get(row["node"])}
            for row in rows
        ],
        # Those of the nodes too: nobody knows of a division that was made meanwhile.
        **_seen(
            project,
            [info["key"], *(row["node"] for row in rows), f"labels:{info['run_key']}"],
        ),
    }


def _members(project: "Project", asked: AskedMembers) -> dict[str, Any]:
    rows = project.exemplars(asked.node, asked.which, seed=asked.seed)
    clustering = asked.node.rpartition("/")[0]
    return {**_part(rows, asked), **_seen(project, [clustering, asked.node])}


def _assignments(project: "Project", asked: AskedPartOfKey) -> dict[str, Any]:
    return {**_part(project.assignments(asked.key), asked), **_seen(project, [asked.key])}


def _tree(project: "Project", asked: AskedKey) -> dict[str, Any]:
    run = project.run_info(asked.key)["run_key"]
    clusterings = [
        found
        for found in project.runs(run)
        if found["key"] == asked.key or found["key"].startswith(f"{asked.key}/")
    ]
    rows = [row for found in clusterings for row in project.clusters(found["key"]).to_pylist()]
    divided = {found["key"]: found["status"] for found in clusterings}
    return {
        "key": asked.key,
        "clusterings": clusterings,
        "rows": [{**row, "divided": divided.get(row["node"])} for row in rows],
        **_seen(project, [f"tree:{run}", f"labels:{run}", *divided]),
    }


def _labels(project: "Project", asked: AskedPartOfKey) -> dict[str, Any]:
    found = _part(project.labels(asked.key), asked)
    return {**found, **_seen(project, [f"labels:{asked.key}", f"tree:{asked.key}"])}


def _tags(project: "Project", asked: AskedTags) -> dict[str, Any]:
    rows = project.tags(asked.property or None)
    properties = dict.fromkeys(row["property"] for row in rows)
    remarks = _remarks_on(project, [f"tag:{row['tag_id']}" for row in rows])
    told = [{**tag_alone(row), "remark": remarks.get(f"tag:{row['tag_id']}")} for row in rows]
    return {
        **_part(told, asked),
        **_seen(project, [f"property:{name}" for name in properties]),
    }


def tag_alone(tag: dict[str, Any]) -> dict[str, Any]:
    """A tag as :meth:`Project.tags` gives it, without its images, of which there may be many."""
    return {name: value for name, value in tag.items() if name != "image_ids"}


def _images_of_tag(project: "Project", asked: AskedTag) -> dict[str, Any]:
    from panoptic_assets.corpus.table import present_files

    tags = {tag["tag_id"]: tag for tag in project.tags()}
    tag = tags.get(asked.tag_id)
    if tag is None:
        raise no_such_tag(asked.tag_id)
    chosen = {asked.tag_id}
    if asked.below:
        for tag_id, other in tags.items():  # parents come before their children
            if other["parent_id"] in chosen:
                chosen.add(tag_id)
    images = sorted({image for tag_id in chosen for image in tags[tag_id]["image_ids"]})
    found = _part(images, asked)
    files = present_files(project.store)
    found["rows"] = [
        {"image_id": image, "path": files.get(image, [None])[0]} for image in found["rows"]
    ]
    return {
        "tag": tag_alone(tag),
        **found,
        **_seen(project, [f"property:{tag['property']}"]),
    }


def _tag_log(project: "Project", asked: AskedTags) -> dict[str, Any]:
    events = [
        event
        for event in reversed(project.tag_log())
        if not asked.property or event["property"] == asked.property
    ]
    found = _part(events, asked)
    properties = dict.fromkeys(event["property"] for event in found["rows"])
    return {**found, **_seen(project, [f"property:{name}" for name in properties if name])}


def _history(project: "Project", asked: AskedPart) -> dict[str, Any]:
    return _part(project.history()[::-1], asked)


def _removal(project: "Project", asked: AskedKey) -> dict[str, Any]:
    found = project.removal(asked.key)
    return {**found, **_seen(project, [asked.key, f"tree:{run_key_of(asked.key)}"])}


def _mismatches(project: "Project", _: NothingAsked) -> dict[str, Any]:
    return {"rows": project.reconcile(check=True)["mismatches"]}


def _recommendations(project: "Project", asked: AskedProposals) -> dict[str, Any]:
    found = _part(project.recommendations(asked.property or None, asked.tag or None), asked)
    properties = dict.fromkeys(row["property"] for row in found["rows"])
    return {**found, **_seen(project, [f"property:{name}" for name in properties])}


def _precision(project: "Project", asked: AskedProperty) -> dict[str, Any]:
    rows = project.precision(asked.property)
    return {"rows": rows, **_seen(project, [f"property:{asked.property}"])}


def _properties(project: "Project", _: NothingAsked) -> dict[str, Any]:
    return {"rows": project.properties(), **_seen(project, ["corpus:"])}


def _versions(project: "Project", asked: AskedPart) -> dict[str, Any]:
    newest_first = project.corpus_versions()[::-1]
    return {**_part(newest_first, asked), **_seen(project, ["corpus:"])}


def _diff(project: "Project", asked: AskedDiff) -> dict[str, Any]:
    found = project.corpus_diff(asked.old or None, asked.new)
    parts = {}
    for name, files in found["changes"].items():
        rows = sorted(files.items()) if isinstance(files, dict) else list(files)
        parts[name] = _part(rows, asked)
    return {**found, "changes": parts, **_seen(project, ["corpus:"])}


def _compare(project: "Project", asked: AskedPair) -> dict[str, Any]:
    found = project.compare(asked.a, asked.b, asked.depth)
    found["moved"] = _part(found["moved"], asked)
    compared = [side for side in (asked.a, asked.b) if side != "folders"]
    return {**found, **_seen(project, compared)}


def _leaderboard(project: "Project", asked: AskedLeaderboard) -> dict[str, Any]:
    found = _part(project.leaderboard(asked.against, asked.depth, asked.remainder), asked)
    return {**found, **_seen(project, [row["key"] for row in found["rows"]])}


def _sweep(project: "Project", asked: AskedKey) -> dict[str, Any]:
    rows = project.sweep(asked.key)
    return {"rows": rows, **_seen(project, [row["key"] for row in rows])}


def _methods(project: "Project", _: NothingAsked) -> dict[str, Any]:
    from panoptic_assets.clustering.config import METHODS

    return {"rows": [_choice(method) for method in METHODS]}


def _labellers(project: "Project", _: NothingAsked) -> dict[str, Any]:
    from panoptic_assets.labels.config import LABEL_METHODS

    return {"rows": [_choice(labeller) for labeller in LABEL_METHODS]}


def _choice(choice: type[Parameters]) -> dict[str, Any]:
    """What a form needs to ask for a method: each parameter's meaning, limits and default."""
    from panoptic_assets.serve.openapi import whole_schema
    from panoptic_assets.spec.extensions import name_of

    return {
        "name": name_of(choice),
        "algorithm": getattr(choice, "algorithm", None),
        "needs": sorted(getattr(choice, "needs", ())),
        "schema": whole_schema(choice, {"name"}),
    }


def _search(project: "Project", asked: AskedSearch) -> dict[str, Any]:
    notes: list[str] = []
    rows = project.search(
        asked.text,
        asked.similar_to,
        asked.vector_type,
        asked.number,
        asked.min_similarity,
        notes.append,
    )
    return {"rows": rows, "notes": notes, **_seen(project, ["corpus:"])}


def _images(project: "Project", asked: AskedImages) -> dict[str, Any]:
    from panoptic_assets.clustering.scope_images import parse_scope

    notes: list[str] = []
    scope = asked.document
    with lines_untold():
        rows = project.images_in(scope, asked.vector_type, asked.order, notes.append)
    return {**_part(rows, asked), "notes": notes, **_seen(project, _rests_on(parse_scope(scope)))}


@contextmanager
def lines_untold() -> Iterator[None]:
    """Refuse a list of other things than images without showing its lines.

    A scope may name any file of the project, and whoever may only look may not read them all.
    """
    try:
        yield
    except InputError as error:
        if error.id != "listed-images-unknown":
            raise
        raise InputError(
            "{nb_unknown:,} of the {nb_lines:,} lines of the list name no image of the corpus.",
            id="lines-of-list-unknown",
            nb_unknown=error.values["nb_unknown"],
            nb_lines=error.values["nb_lines"],
        ) from None


def _rests_on(scope: "Scope") -> list[str]:
    """What a scope takes its images from, as :func:`panoptic_assets.acts.seen` names it."""
    from panoptic_assets.clustering.scopes import InNode, WithTag
    from panoptic_assets.spec.keys import parse_node

    if isinstance(scope, InNode):
        return [parse_node(scope.node).clustering]
    return [f"property:{scope.property}"] if isinstance(scope, WithTag) else ["corpus:"]


def told_of_image(project: "Project", asked: AskedImage) -> dict[str, Any]:
    """What is known of an image: its size, files, properties, tags and remark.

    Raises:
        InputError: There is no such image.
    """
    from resources.lance import quoted

    where = f"image_id = {quoted(asked.image_id)}"
    columns = ["image_id", "format", "width", "height", "bytes", "added_at"]
    rows = project.store.read("images", columns, where).to_pylist()
    if not rows:
        raise no_such_image(asked.image_id)
    columns = ["path", "status", "reason", "size", "nb_pages"]
    files = project.store.read("files", columns, where)
    values = project.store.read("property_values", where=where).to_pylist()
    tags = project.image_tags()
    tags = tags.filter(pc.equal(tags["image_id"], asked.image_id)).drop_columns(["image_id"])
    properties = dict.fromkeys(tags["property"].to_pylist())
    subject = f"image:{asked.image_id}"
    return {
        **rows[0],
        "files": files.sort_by("path"),
        "properties": [
            {name: value for name, value in row.items() if value is not None and name != "image_id"}
            for row in values
        ],
        "tags": tags,
        "remark": _remarks_on(project, [subject]).get(subject),
        **_seen(project, [*(f"property:{name}" for name in properties), f"remark:{subject}"]),
    }


def _image_places(project: "Project", asked: AskedImage) -> dict[str, Any]:
    from panoptic_assets.clustering.image_places import places_of_image

    found = places_of_image(project.store, asked.image_id)
    return {
        "rows": [{**vars(place), "is_remainder": place.is_remainder} for place in found.places],
        "nb_runs": found.nb_runs,
        "nb_read": found.nb_read,
        **_seen(project, [place.run_key for place in found.places]),
    }


def no_such_image(image_id: str) -> InputError:
    """The refusal of an id that no image has."""
    return InputError(
        "There is no image of the id {image_id!r}: give all 64 characters of one.",
        id="no-image-of-id",
        image_id=image_id[:80],
    )


def no_such_tag(tag_id: str) -> InputError:
    """The refusal of an id that no tag has."""
    return InputError(
        "There is no tag of the id {tag_id!r}: it was deleted, or merged into another one.",
        id="no-tag-of-id",
        tag_id=tag_id[:80],
    )


def _explain(project: "Project", asked: AskedExplanation) -> dict[str, Any]:
    return project.explain(asked.image, asked.tag, asked.property)


READS = (
    ReadAddress("corpus", "The corpus, and what can be clustered.", NothingAsked, _corpus),
    ReadAddress("version", "Another one after every change.", NothingAsked, _version),
    ReadAddress("status", "What is stale, and why.", AskedKeys, _status),
    ReadAddress("runs", "All runs, and the clusterings of their clusters.", AskedRuns, _runs),
    ReadAddress("runs/{key}", "What is recorded of a run or a divided node.", AskedKey, _run),
    ReadAddress("clusters/{key}", "The clusters of a run or node.", AskedKey, _clusters),
    ReadAddress("tree/{key}", "All clusters below a run or node.", AskedKey, _tree),
    ReadAddress("members/{node}", "The images of a cluster.", AskedMembers, _members),
    ReadAddress("assignments/{key}", "The cluster of each image.", AskedPartOfKey, _assignments),
    ReadAddress("labels/{key}", "The labels of a run's clusters.", AskedPartOfKey, _labels),
    ReadAddress("sweeps/{key}", "The runs of a sweep.", AskedKey, _sweep),
    ReadAddress("tags", "The tags, in the order of their trees.", AskedTags, _tags),
    ReadAddress("tags/{tag_id}/images", "The images of a tag.", AskedTag, _images_of_tag),
    ReadAddress("tag-log", "All edits of tags, the newest first.", AskedTags, _tag_log),
    ReadAddress("remarks", "The remarks that count, the newest first.", AskedRemarks, _remarks),
    ReadAddress("history", "All acts, the newest first.", AskedPart, _history),
    ReadAddress("removal/{key}", "What removing a run or node would take.", AskedKey, _removal),
    ReadAddress(
        "mismatches", "What the store and Dagster do not agree on.", NothingAsked, _mismatches
    ),
    ReadAddress("recommendations", "Images that fit a tag.", AskedProposals, _recommendations),
    ReadAddress("precision", "How good they were.", AskedProperty, _precision),
    ReadAddress("properties", "What the metadata gives to images.", NothingAsked, _properties),
    ReadAddress("versions", "All corpus versions, the newest first.", AskedPart, _versions),
    ReadAddress("diff", "What became of the files between two of them.", AskedDiff, _diff),
    ReadAddress("compare", "Two runs side by side.", AskedPair, _compare),
    ReadAddress("leaderboard", "All runs, the best first.", AskedLeaderboard, _leaderboard),
    ReadAddress("methods", "The clustering methods and their forms.", NothingAsked, _methods),
    ReadAddress("labellers", "What names clusters, and its forms.", NothingAsked, _labellers),
    ReadAddress("search", "The images most similar to a text or an image.", AskedSearch, _search),
    ReadAddress("images", "The images that a scope takes.", AskedImages, _images),
    ReadAddress("images/{image_id}", "What is known of an image.", AskedImage, told_of_image),
    ReadAddress(
        "images/{image_id}/places", "Where an image is in every run.", AskedImage, _image_places
    ),
    ReadAddress("explain", "Why an image carries a tag.", AskedExplanation, _explain),
    ReadAddress("map/points", "Where images lie on a map.", AskedMap, map_points_document),
    ReadAddress("map/colours", "How to colour them.", AskedMapColours, map_colours_document),
)
"""In the order in which addresses are compared with them."""
