"""What was recommended for tags: the images that fit them, to be accepted or refused.

Belongs here: what pages show of proposals, of what people said of them, and why there are none.
Does not belong here: which images are proposed (``tags.recommendations``), and HTTP
(``serve.live_pages``).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import Parameters
from resources.errors import Message, message

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.review.pages import Picture
    from panoptic_assets.spec.tag_log import Tag, TagTables
    from panoptic_assets.tags.recommendations import Judgements
    from panoptic_assets.tags.table import LoggedEvent

GROUPS_ON_A_PAGE = 20
MOST_OF_A_GROUP = 12
"""Proposals of one tag on the page of all; the tag's own page has more."""
MOST_REFUSALS = 20
"""Refusals that are shown, the newest first, and the pictures of each."""


class AskedProposalPage(Parameters):
    """What is proposed for the tags of a property."""

    property: str = Field(default="", description="Which; empty: `Clustering`, or the first one.")
    page: int = Field(default=1, ge=1, lt=2**31, description="Which of its pages.")


@dataclass(frozen=True)
class Proposal:
    """An image that is proposed for a tag."""

    image: "Picture"
    score: float


@dataclass(frozen=True)
class ProposalGroup:
    """What is proposed for one tag, the best first."""

    tag_id: str
    property: str
    path: str
    colour: str | None
    proposals: list[Proposal]
    """Those that are shown."""
    total: int
    judged: "Judgements"


@dataclass(frozen=True)
class Refusal:
    """Images that were refused for a tag, or taken from it, by one act."""

    act: str
    at: datetime
    author: str
    is_taken_away: bool
    """Whether they carried the tag before."""
    images: list["Picture"]
    total: int
    others: int
    """Images of other tags that the act is about as well: it is undone as a whole."""


def pictures_of(project: "Project", image_ids: Iterable[str]) -> dict[str, "Picture"]:
    """What tiles show of some images, by id and in this order; some hundreds of them."""
    from panoptic_assets.review.pages import Picture
    from resources.lance import quoted

    ids = list(dict.fromkeys(image_ids))
    if not ids:
        return {}
    where = f"image_id IN ({', '.join(map(quoted, ids))})"
    sizes = project.store.read("images", ["image_id", "width", "height"], where).to_pylist()
    files = project.store.read("files", ["image_id", "path"], f"{where} AND status = 'present'")
    names: dict[str, str] = {}
    for image_id, path in zip(
        files["image_id"].to_pylist(), files["path"].to_pylist(), strict=True
    ):
        names[image_id] = min(names.get(image_id, path), path)
    by_id = {row["image_id"]: (row["width"], row["height"]) for row in sizes}
    return {
        image_id: Picture.fitted(
            image_id, names.get(image_id, f"(missing) {image_id}"), *by_id.get(image_id, (1, 1))
        )
        for image_id in ids
    }


@dataclass(frozen=True)
class Proposed:
    """All that is proposed for the tags of a property, and what was said of it."""

    property_name: str
    log: "list[LoggedEvent]"
    tables: "TagTables"
    paths: dict[str, str]
    open: dict[str, list[dict[str, Any]]]
    """By tag, in the order of the tree: the rows that are neither accepted nor refused."""
    nb_stored: dict[str, int]
    """By tag: all rows that were computed."""
    judged: "dict[str, Judgements]"

    @property
    def tags(self) -> dict[str, "Tag"]:
        """Those of the property, by id."""
        return {tag.tag_id: tag for tag in self.tables.tags if tag.property == self.property_name}

    def group(self, project: "Project", tag_id: str, most: int) -> ProposalGroup:
        """What is proposed for one tag.

        Args:
            project: What is read.
            tag_id: The tag.
            most: Images that are shown.
        """
        from panoptic_assets.tags.recommendations import Judgements

        rows = self.open.get(tag_id, [])
        pictures = pictures_of(project, [row["image_id"] for row in rows[:most]])
        return ProposalGroup(
            tag_id,
            self.property_name,
            self.paths[tag_id],
            self.tags[tag_id].colour,
            [Proposal(pictures[row["image_id"]], row["score"]) for row in rows[:most]],
            len(rows),
            self.judged.get(tag_id, Judgements(0, 0)),
        )

    def why_none(self, project: "Project", tag_id: str = "") -> Message | None:
        """Why nothing is proposed for a tag, or for all of the property; None if something is."""
        if self.open.get(tag_id) if tag_id else self.open:
            return None
        nb_stored = self.nb_stored.get(tag_id, 0) if tag_id else sum(self.nb_stored.values())
        if nb_stored:
            return message(
                "Each of the {nb_stored:,} images that were found is accepted or refused by now, "
                "or carries another tag: look for more.",
                id="proposals-all-judged",
                nb_stored=nb_stored,
            )
        if tag_id and (reason := self._why_none_of(tag_id)):
            return reason
        if not sum(self.nb_stored.values()):
            from panoptic_assets.corpus.table import present_files
            from panoptic_assets.tags.recommendations import task, why_none

            ids = list(present_files(project.store))
            asked = task(self.tables, self.property_name, ids)
            reason = why_none(asked, self.property_name)
            if reason["id"] == "recommends-none-left":
                return message(
                    "Every image carries a tag of {property!r}, so none is left to propose: look "
                    "also among those that carry another tag.",
                    id="proposals-none-left",
                    property=self.property_name,
                )
            if reason["id"] != "recommends-nothing-alike":
                return reason
            return message(
                "Nobody has looked yet for images that fit the tags of {property!r}, or nothing "
                "was found: look for some.",
                id="proposals-not-computed",
                property=self.property_name,
            )
        return message(
            "No image was found that is more like this tag than like all others: look for more "
            "after the tags have changed.",
            id="proposals-none-alike",
        )

    def _why_none_of(self, tag_id: str) -> Message | None:
        from panoptic_assets.spec.tag_log import counts, remainders

        tags = self.tags
        if tag_id in remainders(tags.values(), self.tables.edited):
            return message(
                "This tag is of a remainder, for which nothing is looked for.",
                id="proposals-of-remainder",
            )
        if not counts(self.tables)[tag_id]:
            return message(
                "No image carries this tag, so there is nothing that others could be like: give "
                "it to some images.",
                id="proposals-of-empty-tag",
            )
        return None

    def refusals(self, project: "Project", tag_id: str) -> list[Refusal]:
        """The refusals that count of images for a tag, the newest first."""
        from panoptic_assets.spec import marks, tag_log

        left = {image for refused_id, image in self.tables.refused if refused_id == tag_id}
        left_out = tag_log.undone([entry.event for entry in self.log])
        found: list[tuple[LoggedEvent, list[str]]] = []
        for entry in reversed(self.log):
            event = entry.event
            if not left or entry.number in left_out:
                continue
            if event.kind in ("refuse", "unassign"):
                mine = {image for named, image in event.images if named == tag_id}
            elif event.kind == "split" and not event.tags and event.tag_id == tag_id:
                mine = {image for _, image in event.images}
            else:
                continue
            if images := sorted(mine & left):
                found.append((entry, images))
                left -= mine
        shown = found[:MOST_REFUSALS]
        ids = [image for _, images in shown for image in images[:MOST_REFUSALS]]
        pictures = pictures_of(project, ids)
        return [
            Refusal(
                marks.tag_id(entry.number),
                entry.at,
                entry.author,
                entry.event.kind != "refuse",
                [pictures[image] for image in images[:MOST_REFUSALS]],
                len(images),
                entry.nb_images - len(images),
            )
            for entry, images in shown
        ]


def read_proposed(project: "Project", property_name: str) -> Proposed:
    """What is proposed for the tags of a property now.

    Args:
        project: What is read.
        property_name: A property that there is.
    """
    from panoptic_assets.spec import tag_log
    from panoptic_assets.tags.recommendations import judgements, still_open
    from panoptic_assets.tags.table import read_log, read_recommendations

    log = read_log(project.store)
    events = [entry.event for entry in log]
    tables = tag_log.replay(events)
    paths = tag_log.paths(tables.tags)
    rows = read_recommendations(project.store, property_name).to_pylist()
    kept = still_open([((r["tag_id"], r["image_id"]), r["tagged"]) for r in rows], tables)
    by_tag: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row, is_open in zip(rows, kept, strict=True):  # by rank
        if is_open:
            by_tag[row["tag_id"]].append(row)
    return Proposed(
        property_name,
        log,
        tables,
        paths,
        {tag_id: by_tag[tag_id] for tag_id in paths if tag_id in by_tag},
        Counter(row["tag_id"] for row in rows),
        judgements(events),
    )


def _proposals(project: "Project", asked: AskedProposalPage, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.acts import seen
    from panoptic_assets.spec.tag_log import known_property
    from panoptic_assets.tags.edits import DEFAULT_PROPERTY
    from panoptic_assets.tags.recommendations import Judgements

    known = sorted(set(project.store.read("tags", ["property"])["property"].to_pylist()))
    name = known_property(asked.property or DEFAULT_PROPERTY, known)
    if not asked.property and name not in known and known:
        name = known[0]
    found = {
        "properties": [(other, None) for other in known],
        "property": name,
        "groups": [],
        "nb_groups": 0,
        "nb_open": 0,
        "judged": Judgements(0, 0),
        "why_none": None,
        "number": 0,
        "count": 1,
        "seen": seen(project.store, [f"property:{name}"]),
    }
    if name not in known:
        return found
    proposed = read_proposed(project, name)
    waiting = list(proposed.open)
    count = max(1, -(-len(waiting) // GROUPS_ON_A_PAGE))
    number = min(asked.page, count) - 1
    part = waiting[number * GROUPS_ON_A_PAGE : (number + 1) * GROUPS_ON_A_PAGE]
    mine = [judged for tag_id, judged in proposed.judged.items() if tag_id in proposed.tags]
    return {
        **found,
        "groups": [proposed.group(project, tag_id, MOST_OF_A_GROUP) for tag_id in part],
        "nb_groups": len(waiting),
        "nb_open": sum(map(len, proposed.open.values())),
        "judged": Judgements(sum(j.accepted for j in mine), sum(j.refused for j in mine)),
        "why_none": proposed.why_none(project),
        "number": number,
        "count": count,
    }


PROPOSAL_PAGES: tuple[PageAddress, ...] = (
    PageAddress(
        "recommendations",
        "recommendations.html",
        AskedProposalPage,
        _proposals,
        ("proposals.js",),
        ("tags.css",),
    ),
)
"""In the order in which addresses are compared with them."""
