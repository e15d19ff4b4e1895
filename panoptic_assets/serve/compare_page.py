"""Comparisons: all pairs of runs with the leaderboard, and two runs side by side.

Belongs here: what is compared where an address names it, and where the page leads. Does not belong
here: comparing (``review.comparisons``), what the pages show, which they have in common with
written ones (``review.comparison_report``), and HTTP (``serve.live_pages``).
"""

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.fields import OneLine, Parameters
from panoptic_assets.spec.languages import N_
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.review.agreement import Agreement
    from panoptic_assets.review.comparison_report import ComparisonViews
    from panoptic_assets.review.sides import Side, SideGroup, Sides

_MOST_RUNS = 12
"""Runs that a page compares, all with all: 66 pairs."""
_MOST_LISTED = 300
"""Runs, and as many divided clusters, in a list."""
_MOST_LINES = 100
"""Of the leaderboard."""
_KEY = "A run, a divided node, `property:NAME` or `folders`."


class AskedComparison(Parameters):
    """What is compared."""

    a: OneLine = Field(default="", max_length=4200, description=_KEY)
    b: OneLine = Field(default="", max_length=4200, description=_KEY)
    in_a: str = Field(
        default="", max_length=4200, description="A cluster of the first, and, in the second, …"
    )
    in_b: str = Field(default="", max_length=4200, description="… one whose common images show.")
    runs: list[str] = Field(
        default_factory=list, max_length=_MOST_RUNS, description="None: the newest runs."
    )
    against: OneLine = Field(default="", max_length=4200, description="The truth; empty: none.")
    depth: int = Field(default=1, ge=1, le=60, description="Levels of the trees.")
    remainder: Literal["counted", "left_out"] = Field(
        default="counted", description="As a cluster, or not at all."
    )


@dataclass(frozen=True)
class LivePlaces:
    """The places of a project's own pages."""

    to: LiveAddresses
    depth: int

    def run(self, run_key: str) -> str | None:
        """The overview of a run."""
        return self.to.run(run_key)

    def pair(self, a: str, b: str) -> str:
        """Two of them side by side."""
        return self._address(a=a, b=b)

    def group(self, side: "Side", group: "SideGroup") -> str | None:
        """The page of a cluster, the images of a folder, the tags of a property."""
        if side.record:
            return self.to.cluster(f"{side.key}/{group.name}")
        if side.kind == "folders":
            return f"{self.to.page('images')}?{urlencode({'folder': group.name})}"
        tag = {"tag": group.name, "property": side.key.partition(":")[2]}
        return f"{self.to.page('images')}?{urlencode(tag)}"

    def cell(self, a: "Side", b: "Side", in_a: "SideGroup", in_b: "SideGroup") -> str | None:
        """The same page, with the images of the cell."""
        return self._address(a=a.key, b=b.key, in_a=in_a.name, in_b=in_b.name) + "#both"

    def show(self, image_ids: list[str]) -> None:
        """Nothing: thumbnails are served from the store."""

    def _address(self, **asked: str) -> str:
        deeper = {"depth": self.depth} if self.depth > 1 else {}
        return f"{self.to.comparison}?{urlencode({**asked, **deeper})}"


def _shown(project: "Project", asked: AskedComparison, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.review.comparison_report import ComparisonViews
    from panoptic_assets.review.sides import Sides
    from panoptic_assets.upkeep.staleness import Judge

    known = Sides(project.store, asked.depth)
    judge = Judge(project.store, project.registry)
    views = ComparisonViews(project.store, judge, LivePlaces(to, asked.depth), to.language)
    is_pair = bool(asked.a and asked.b)
    values: dict[str, Any] = {"layout": "comparison.html", "view": None, "refusal": None}
    try:
        if is_pair:
            values |= {"view": _pair(known, views, asked), "layout": "pair.html"}
        else:
            values["view"] = _index(known, views, asked)
    except InputError as error:  # which may be chosen otherwise there
        values["refusal"] = error.message
    swapped = asked.model_dump(exclude_defaults=True) | {"a": asked.b, "b": asked.a}
    swapped |= {"in_a": asked.in_b, "in_b": asked.in_a} if asked.in_a else {}
    return {
        **values,
        **_choices(project, known),
        "asked": asked,
        "swapped": f"{to.comparison}?{urlencode(swapped, doseq=True)}",
        "consensus": _consensus(known, values["view"], asked, to),
    }


def _pair(known: "Sides", views: "ComparisonViews", asked: AskedComparison) -> Any:
    from panoptic_assets.review.comparisons import compare

    a, b = known.several([asked.a, asked.b])
    cell = (asked.in_a, asked.in_b) if asked.in_a and asked.in_b else None
    return views.pair(compare(a, b), asked.depth, cell)


def _index(known: "Sides", views: "ComparisonViews", asked: AskedComparison) -> Any:
    from panoptic_assets.review.comparing import most_restless
    from panoptic_assets.review.comparisons import compare, leaderboard, moved
    from panoptic_assets.review.sides import chosen_sides, common

    sides, notes = chosen_sides(known, asked.runs, asked.against)
    measures: dict[tuple[str, str], Agreement | None] = {}
    moves: Counter[str] = Counter()
    for a, b in itertools.combinations(sides, 2):
        measures[a.key, b.key] = None
        if len(common(a, b)[0]):
            compared = compare(a, b)
            measures[a.key, b.key] = compared.agreement(asked.remainder)
            moves.update(moved(compared)["image_id"].to_pylist())
    rows = leaderboard(known, asked.against, asked.remainder)
    restless = most_restless(moves)
    return views.index(
        sides, measures, rows, restless, notes, asked.against, asked.remainder, _MOST_LINES
    )


def _choices(project: "Project", known: "Sides") -> dict[str, Any]:
    """All that can be compared, the newest runs first, and how many are not listed."""
    runs = known.newest_runs()
    nodes = sorted(key for key in known.clusterings.records if "/" in key)
    tags = {tag["property"] for tag in project.tags()}
    given = {row["name"] for row in project.properties() if row["type"] in ("tag", "multi_tags")}
    properties = [f"property:{name}" for name in sorted(tags | given)]
    return {
        "sides_there_are": [
            (N_("Runs"), runs[:_MOST_LISTED]),
            (N_("Divided clusters"), nodes[:_MOST_LISTED]),
            (N_("Tags of images"), properties),
            (N_("Folders of files"), ["folders"]),
        ],
        "nb_not_listed": max(0, len(runs) - _MOST_LISTED) + max(0, len(nodes) - _MOST_LISTED),
    }


def _consensus(known: "Sides", view: Any, asked: AskedComparison, to: LiveAddresses) -> str | None:
    """The form for a consensus of the runs that are compared; None where they are not two."""
    if view is None:
        return None
    keys = [asked.a, asked.b] if asked.a and asked.b else view.keys
    runs = [key for key in keys if key in known.clusterings.records and "/" not in key]
    if len(runs) < 2:
        return None
    return f"{to.page('new')}?{urlencode({'method': 'consensus', 'runs': runs}, doseq=True)}"


COMPARE_PAGES: tuple[PageAddress, ...] = (
    PageAddress(
        "compare",
        "compare.html",
        AskedComparison,
        _shown,
        ("sends.js",),
        ("comparison.css", "compare.css"),
    ),
)
