"""The tags of a property as a tree, and the images of one tag.

Belongs here: what these two pages show. Does not belong here: HTTP (``serve.live_pages``), what is
recommended for tags (``serve.proposal_page``), and acts, which are edits (``tags.edits``).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from panoptic_assets.serve.api_reads import no_such_tag
from panoptic_assets.serve.history_page import EVENTS_OF_TAG, switched
from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.serve.proposal_page import (
    PROPOSAL_PAGES,
    Proposed,
    pictures_of,
    read_proposed,
)
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.languages import N_

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.upkeep.reasons import Staleness

MOST_TAGS = 1000
"""Of a tree that is shown at once; the others are found by the filter."""
IMAGES_ON_A_PAGE = 200

COLOURS = (
    (N_("red"), "#c0392b"),
    (N_("orange"), "#d9822b"),
    (N_("yellow"), "#d4b106"),
    (N_("green"), "#3c8d40"),
    (N_("turquoise"), "#178f8f"),
    (N_("blue"), "#2f6fb5"),
    (N_("violet"), "#7a4fb3"),
    (N_("pink"), "#c2477f"),
)
"""Offered for tags: apart from each other and from both papers."""

EXPORTS = (
    ("csv", N_("Table, CSV")),
    ("parquet", N_("Table, Parquet")),
    ("json", N_("Tree and images, JSON")),
    ("panoptic", N_("For Panoptic")),
    ("fiftyone", N_("For FiftyOne")),
    ("images", N_("All images with what is known of them, Parquet")),
    ("omeka", N_("For Omeka S")),
    ("tropy", N_("For Tropy")),
)
"""Formats of a download, and what each is for."""


class AskedTagTree(Parameters):
    """The tags of a property."""

    property: str = Field(default="", description="Which; empty: `Clustering`, or the first one.")
    filter: str = Field(default="", max_length=200, description="A part of the names.")


class AskedTagPage(Parameters):
    """A page of a tag's images."""

    tag_id: str = Field(max_length=200, description="The tag's id.")
    page: int = Field(default=1, ge=1, lt=2**31, description="Which of its pages.")
    below: bool = Field(default=True, description="Whether images of the tags below it count.")


@dataclass
class TagView:
    """One tag, as pages show it."""

    tag_id: str
    property: str
    name: str
    path: str
    depth: int
    """From 0."""
    parent_id: str | None
    colour: str | None
    is_remainder: bool
    node: str | None
    nb_own: int
    """Images that carry the tag itself."""
    nb_images: int
    """With those of the tags below it."""
    picture: str | None
    """An image that stands for it."""
    remark: str = ""
    children: list["TagView"] = field(default_factory=list)


def _views(project: "Project", tags: list[dict[str, Any]]) -> dict[str, TagView]:
    """Tags as :meth:`Project.tags` gives them, by id, each with those below it."""
    pictures = _pictures(project, tags)
    remarks = _remarks(project)
    found: dict[str, TagView] = {}
    for tag in tags:  # parents come before their children
        above = found.get(tag["parent_id"] or "")
        view = TagView(
            tag_id=tag["tag_id"],
            property=tag["property"],
            name=tag["name"],
            path=tag["path"],
            depth=above.depth + 1 if above else 0,
            parent_id=above.tag_id if above else None,
            colour=tag["colour"],
            is_remainder=bool(tag["is_remainder"]),
            node=tag["node"],
            nb_own=len(tag["image_ids"]),
            nb_images=tag["nb_images"],
            picture=pictures.get(tag["tag_id"]),
            remark=remarks.get(tag["tag_id"], ""),
        )
        found[view.tag_id] = view
        if above:
            above.children.append(view)
    return found


def _pictures(project: "Project", tags: list[dict[str, Any]]) -> dict[str, str]:
    """For each tag the medoid of its cluster, if it carries the tag still; else its first image."""
    medoids = _medoids(project, {tag["record_id"] for tag in tags if tag["record_id"]})
    below: dict[str, set[str]] = {tag["tag_id"]: set(tag["image_ids"]) for tag in tags}
    found: dict[str, str] = {}
    for tag in reversed(tags):
        images = below[tag["tag_id"]]
        cluster = (tag["node"] or "").rpartition("/")[2]
        medoid = medoids.get((tag["record_id"] or "", cluster), "")
        if images:
            found[tag["tag_id"]] = medoid if medoid in images else min(images)
        if tag["parent_id"] in below:
            below[tag["parent_id"]] |= images
    return found


def _medoids(project: "Project", records: Collection[str]) -> dict[tuple[str, str], str]:
    from resources.lance import quoted

    if not records:
        return {}
    where = f"record_id IN ({', '.join(map(quoted, sorted(records)))})"
    rows = project.store.read("clusters", ["record_id", "cluster", "medoid"], where)
    columns = (rows[name].to_pylist() for name in ("record_id", "cluster", "medoid"))
    return {(record, cluster): medoid for record, cluster, medoid in zip(*columns, strict=True)}


def _remarks(project: "Project") -> dict[str, str]:
    """The remark on each tag that has one, by its id."""
    from panoptic_assets.clustering.mark_log import read_marks
    from panoptic_assets.spec.marks import TAG, remarks_due

    due = remarks_due(read_marks(project.store, kinds=("remark", "undo", "redo")))
    return {
        mark.key.removeprefix(TAG): str(mark.content["text"])
        for mark in due
        if mark.key.startswith(TAG)
    }


def _staleness(project: "Project", property_name: str, run_key: str) -> "Staleness | None":
    """What is to be said of the last save of a property."""
    from panoptic_assets.upkeep.staleness import Judge

    judged = Judge(project.store, project.registry, run_key).saves()
    return next((one for one in judged if one.key == property_name), None)


def _matching(views: Iterable[TagView], wanted: str) -> set[str]:
    """Ids of the tags whose name has a text in it, and of those above them."""
    from panoptic_assets.spec.tag_log import normalised

    folded = normalised(wanted).casefold()
    kept: set[str] = set()
    by_id = {view.tag_id: view for view in views}
    for view in by_id.values():
        if folded in normalised(view.name).casefold():
            up: TagView | None = view
            while up is not None and up.tag_id not in kept:
                kept.add(up.tag_id)
                up = by_id.get(up.parent_id or "")
    return kept


def _tags(project: "Project", asked: AskedTagTree, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.acts import seen
    from panoptic_assets.spec.tag_log import known_property, latest_save
    from panoptic_assets.tags.edits import DEFAULT_PROPERTY
    from panoptic_assets.tags.table import read_log

    nb_tags = Counter(project.store.read("tags", ["property"])["property"].to_pylist())
    name = known_property(asked.property or DEFAULT_PROPERTY, nb_tags)
    if not asked.property and name not in nb_tags and nb_tags:
        name = min(nb_tags)
    views = _views(project, project.tags(name)) if name in nb_tags else {}
    kept = _matching(views.values(), asked.filter) if asked.filter else set(views)
    shown = set([tag_id for tag_id in views if tag_id in kept][:MOST_TAGS])
    for view in views.values():
        view.children = [child for child in view.children if child.tag_id in shown]
    save = latest_save([entry.event for entry in read_log(project.store, False)], name)
    return {
        "properties": sorted(nb_tags.items()),
        "property": name,
        "filter": asked.filter,
        "roots": [v for v in views.values() if v.parent_id is None and v.tag_id in shown],
        "all_roots": [view.tag_id for view in views.values() if view.parent_id is None],
        "nb_tags": len(views),
        "nb_found": len(kept),
        "nb_shown": len(shown),
        "saved_from": save.run_key if save else None,
        "judged": _staleness(project, name, save.run_key or "") if save else None,
        "colours": COLOURS,
        "exports": EXPORTS,
        "seen": seen(project.store, [f"property:{name}"]),
    }


def _tag(project: "Project", asked: AskedTagPage, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.acts import seen

    own = project.store.read("tags", ["tag_id", "property"]).to_pylist()
    property_name = next((t["property"] for t in own if t["tag_id"] == asked.tag_id), None)
    if property_name is None:
        raise no_such_tag(asked.tag_id)
    tags = project.tags(property_name)
    views = _views(project, tags)
    view = views[asked.tag_id]
    images = _images(tags, asked)
    nb_pages = max(1, -(-len(images) // IMAGES_ON_A_PAGE))
    number = min(asked.page, nb_pages) - 1
    first = number * IMAGES_ON_A_PAGE
    part = images[first : first + IMAGES_ON_A_PAGE]
    above: list[TagView] = []
    up = views.get(view.parent_id or "")
    while up is not None:
        above.insert(0, up)
        up = views.get(up.parent_id or "")
    proposed = read_proposed(project, property_name)
    return {
        "tag": view,
        "above": above,
        "below": asked.below,
        "children": view.children,
        "images": list(pictures_of(project, part).values()),
        "scope": {"tag": {"property": property_name, "path": view.path}},
        "total": len(images),
        "first": first + 1,
        "last": first + len(part),
        "number": number,
        "count": nb_pages,
        **_of_proposals(project, proposed, view),
        **_log_of(project, proposed, view.tag_id),
        "colours": COLOURS,
        "seen": seen(project.store, [f"property:{property_name}", f"remark:tag:{view.tag_id}"]),
    }


def _images(tags: list[dict[str, Any]], asked: AskedTagPage) -> list[str]:
    """Ids of the images of a tag, sorted."""
    chosen = {asked.tag_id}
    if asked.below:
        for tag in tags:  # parents come before their children
            if tag["parent_id"] in chosen:
                chosen.add(tag["tag_id"])
    return sorted({i for tag in tags if tag["tag_id"] in chosen for i in tag["image_ids"]})


def _of_proposals(project: "Project", proposed: Proposed, view: TagView) -> dict[str, Any]:
    return {
        "group": proposed.group(project, view.tag_id, most=60),
        "why_none": proposed.why_none(project, view.tag_id),
        "refusals": proposed.refusals(project, view.tag_id),
    }


def _log_of(project: "Project", proposed: Proposed, tag_id: str) -> dict[str, Any]:
    """The newest events of the tag log that name a tag."""
    from panoptic_assets.spec.marks import tag_id as act_of

    events = {
        act_of(entry.number)
        for entry in proposed.log
        if tag_id in {entry.event.tag_id, entry.event.parent_id, *entry.event.tag_ids}
        or any(made.tag_id == tag_id for made in entry.event.tags)
        or any(named == tag_id for named, _ in entry.event.images)
    }
    acts = [act for act in reversed(project.history()) if act["id"] in events]
    return {"acts": switched(project, acts[:EVENTS_OF_TAG]), "nb_acts": len(acts)}


TAG_PAGES: tuple[PageAddress, ...] = (
    PageAddress("tags", "tags.html", AskedTagTree, _tags, ("tags.js",), ("tags.css",)),
    PageAddress(
        "tags/{tag_id}",
        "tag.html",
        AskedTagPage,
        _tag,
        ("tags.js", "proposals.js"),
        ("tags.css",),
    ),
    *PROPOSAL_PAGES,
)
"""In the order in which addresses are compared with them."""
