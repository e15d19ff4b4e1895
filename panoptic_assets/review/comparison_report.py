"""The pages of a comparison, out of what is compared.

Belongs here: which figures, clusters and images the pages show, and how many of them. Does not
belong here: comparing (``review.comparisons``), how pages look (``review.comparison_pages``).

Long because every figure of the pages is named and explained here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from panoptic_assets.corpus.table import present_files, read_thumbnails
from panoptic_assets.review import agreement as core
from panoptic_assets.review import comparison_pages as pages
from panoptic_assets.review.comparisons import Compared, Treatment, differences, quality_of
from panoptic_assets.review.pages import Picture, shell
from panoptic_assets.review.run_tree import image_sizes
from panoptic_assets.review.sides import Side, SideGroup
from panoptic_assets.spec.keys import REMAINDER
from panoptic_assets.spec.languages import N_, Language
from panoptic_assets.upkeep.staleness import Judge
from resources.errors import Message, message
from resources.lance import LanceStore
from resources.report_folder import ReportFolder

MOST_HEAT = 60
MOST_FLOW = 24
"""Groups of each side in the two pictures."""
MOST_MATCHES = 200
MOST_MOVES = 30
MOST_PICTURES = 12
"""Of one move: of 30 moves, 360 thumbnails on a page."""
MOST_RESTLESS = 24
"""Images on the page of all pairs: those that moved in the most pairs."""

MOST_IN_CELL = 200
"""Images of one cell of the table."""

_WORDS = {
    "run": N_("Run"),
    "node": N_("Divided cluster"),
    "property": N_("Tags of images"),
    "folders": N_("Folders of files"),
}
_NOTHING = "–"
_FIGURES = (
    (N_("Images"), "nb_images", N_("Images that both sides have.")),
    (
        N_("ARI"),
        "adjusted_rand",
        N_("Adjusted Rand index: 1 for equal clusters, 0 for chance."),
    ),
    (
        N_("AMI"),
        "adjusted_mutual_information",
        N_("Adjusted mutual information: as the ARI, but small clusters count for more."),
    ),
    (N_("V-measure"), "v_measure", N_("Harmonic mean of homogeneity and completeness.")),
    (
        N_("Homogeneity"),
        "homogeneity",
        N_("1 if each cluster of the first lies in one of the second."),
    ),
    (
        N_("Completeness"),
        "completeness",
        N_("1 if each cluster of the second lies in one of the first."),
    ),
    (
        N_("Variation of information"),
        "variation_of_information",
        N_("In bits: what one says and the other does not; 0 for equal clusters."),
    ),
    (N_("Stayed"), "nb_stayed", N_("Images in the matched cluster of both.")),
    (
        N_("Moved"),
        "nb_moved",
        N_("Images of a matched cluster of the first, elsewhere in the second."),
    ),
    (
        N_("Without a match"),
        "nb_unmatched",
        N_("Images whose cluster of the first has no match."),
    ),
)
_QUALITY = (
    (N_("Images"), "nb_images", 0),
    (N_("Clusters"), "nb_clusters", 0),
    (N_("Remainder"), "remainder_ratio", None),
    (N_("Mean score"), "mean_score", 1),
    (N_("Silhouette"), "silhouette", 3),
    (N_("Davies-Bouldin"), "davies_bouldin", 2),
    (N_("Calinski-Harabasz"), "calinski_harabasz", 1),
    (N_("Stability"), "stability", 2),
    (N_("CPU seconds"), "cpu_seconds", 2),
)
"""Of each its name, what it is, and its decimals; None for a share, which is shown as percent."""
_HELP = {
    "mean_score": N_("Lower is more coherent."),
    "silhouette": N_("−1 to 1; higher is better."),
    "davies_bouldin": N_("Lower is better."),
    "calinski_harabasz": N_("Higher is better; only between runs of the same images."),
    "stability": N_("How surely clusters come again; .75 is stable."),
}
_SECTIONS = {
    "parameters": N_("Parameters"),
    "inputs": N_("What was read"),
    "versions": N_("Versions"),
}


class Places(Protocol):
    """Where the pages of a comparison lead."""

    def run(self, run_key: str) -> str | None:
        """The pages of a run; None where there are none."""

    def pair(self, a: str, b: str) -> str:
        """The page of a pair."""

    def group(self, side: Side, group: SideGroup) -> str | None:
        """The page of a cluster, tag or folder; None where there is none."""

    def cell(self, a: Side, b: Side, in_a: SideGroup, in_b: SideGroup) -> str | None:
        """The page of the images that are in two groups; None where there is none."""

    def show(self, image_ids: list[str]) -> None:
        """Make sure that the thumbnails of some images are there."""


@dataclass(frozen=True)
class FilePlaces:
    """The places of written pages: files beside each other, as far as they were written."""

    store: LanceStore
    reports: ReportFolder
    up: str
    """The way from the pages to the root of the reports."""

    def run(self, run_key: str) -> str | None:
        """The report of a run, if it was made."""
        there = (self.reports.path(f"runs/{run_key}") / "index.html").is_file()
        return f"{self.up}runs/{run_key}/index.html" if there else None

    def pair(self, a: str, b: str) -> str:
        """The file of a pair's page."""
        return pages.page_name(a, b)

    def group(self, side: Side, group: SideGroup) -> str | None:
        """None: a report may be older or younger than the comparison."""
        return None

    def cell(self, a: Side, b: Side, in_a: SideGroup, in_b: SideGroup) -> str | None:
        """None: a file for each of hundreds would be too many."""
        return None

    def show(self, image_ids: list[str]) -> None:
        """Write the thumbnails that are missing."""
        missing = self.reports.missing_thumbnails(image_ids)
        thumbnails = read_thumbnails(self.store, missing)
        self.reports.add_thumbnails(zip(missing, thumbnails, strict=True))


class ComparisonViews:
    """Makes what the pages of one comparison show, for files and for a server.

    Args:
        store: The store.
        judge: Knows whether runs are up to date.
        places: Where the pages lead.
        spoken: Their language.
    """

    def __init__(self, store: LanceStore, judge: Judge, places: Places, spoken: Language):
        self._judge = judge
        self._places = places
        self._spoken = spoken
        self._paths = present_files(store)
        self._sizes = image_sizes(store)

    def index(
        self,
        sides: Sequence[Side],
        pairs: Mapping[tuple[str, str], core.Agreement | None],
        rows: Sequence[dict[str, Any]],
        restless: Sequence[tuple[str, int]],
        notes: Sequence[Message],
        against: str,
        remainder: Treatment,
        most: int | None = None,
    ) -> pages.IndexView:
        """What the page of all pairs and the leaderboard shows.

        Args:
            sides: What is compared.
            pairs: The measures of each pair, in their order; None without a common image.
            rows: Of :func:`panoptic_assets.review.comparisons.leaderboard`.
            restless: Ids of the images that moved in the most pairs, and in how many.
            notes: On the choice of sides.
            against: What is taken for the truth; empty: nothing.
            remainder: How remainders are treated.
            most: Lines of the leaderboard; by default all.
        """
        spoken = self._spoken
        truth = [N_("ARI to it"), N_("AMI to it")] if against else []
        headings = [N_("Method"), N_("Features"), *(name for name, _, _ in _QUALITY[1:]), *truth]
        pictures = self._pictures([image_id for image_id, _ in restless])
        return pages.IndexView(
            keys=[side.key for side in sides],
            matrix=[[self._cell(one, other, pairs) for other in sides] for one in sides],
            facts=[
                (N_("compared"), "count", len(sides)),
                (N_("pairs"), "count", len(pairs)),
                (N_("mean ARI"), "text", self._number(mean_adjusted_rand(pairs), 2)),
                (N_("runs in all"), "count", len(rows)),
            ],
            notes=notes,
            against=against,
            remainder=remainder,
            headings=[spoken.gettext(name) for name in headings],
            leaderboard=[
                pages.LeaderboardRow(
                    row["key"],
                    self._places.run(row["key"]),
                    self._judged_of(row["key"]),
                    self._cells(row, against),
                )
                for row in rows[:most]
            ],
            nb_runs=len(rows),
            restless=[
                (pictures[image_id], count) for image_id, count in restless if image_id in pictures
            ],
            command=shell("panoptic-assets", "compare", *(side.key for side in sides[:2])),
        )

    def pair(
        self, compared: Compared, depth: int, asked: tuple[str, str] | None = None
    ) -> pages.PairView:
        """What the page of a pair shows.

        Args:
            compared: The pair.
            depth: Levels of the trees.
            asked: The names of two groups whose common images are shown.
        """
        a, b, result = compared.a, compared.b, compared.result
        counted = result.counted
        heat = core.largest_part(result.table, counted.matched, MOST_HEAT)
        small = core.largest_part(result.table, counted.matched, MOST_FLOW)
        best = sorted(counted.matched, key=lambda pair: -pair.jaccard)[:MOST_MATCHES]
        moves, nb_moves = self._moves(compared)
        origins, goals = (
            [group.name for group in groups] for groups in self._named(compared, small)
        )
        return pages.PairView(
            a=self._side(a),
            b=self._side(b),
            nb_common=len(compared.image_ids),
            nb_only_a=compared.nb_only_a,
            nb_only_b=compared.nb_only_b,
            figures=[
                pages.Row(
                    self._spoken.gettext(name),
                    [
                        self._number(getattr(measures, key), 0 if key.startswith("nb_") else 3)
                        for measures in (counted, result.left_out)
                    ],
                    self._spoken.gettext(meaning),
                )
                for name, key, meaning in _FIGURES
            ],
            reasons=[
                (treatment, measures.reason)
                for treatment, measures in (("counted", counted), ("left_out", result.left_out))
                if measures.reason
            ],
            quality=self._quality(a, b),
            settings=self._settings(a, b),
            matches=[
                pages.MatchView(
                    self._group(a, pair.a),
                    self._group(b, pair.b),
                    int(result.table.sizes_a[pair.a]),
                    int(result.table.sizes_b[pair.b]),
                    pair.both,
                    pair.jaccard,
                )
                for pair in best
            ],
            nb_matches=len(counted.matched),
            heat=pages.heat_map(
                *self._named(compared, heat),
                heat.counts,
                heat.nb_matched,
                self._cell_addresses(compared, heat),
            ),
            heat_note=_summed(compared, heat),
            flow=pages.flow(origins, goals, small.counts, small.nb_matched, self._spoken),
            flow_note=_summed(compared, small),
            nb_stayed=counted.nb_stayed,
            nb_moved=counted.nb_moved,
            nb_unmatched=counted.nb_unmatched,
            moves=moves,
            nb_moves=nb_moves,
            cell=self._asked_cell(compared, asked) if asked else None,
            depth=depth,
            command=shell(
                *("panoptic-assets", "compare", a.key, b.key),
                *(("--depth", str(depth)) if depth > 1 else ()),
            ),
        )

    def _side(self, side: Side) -> pages.SideView:
        run_key = side.record.run_key if side.record else None
        return pages.SideView(
            side.key,
            self._spoken.gettext(_WORDS[side.kind]),
            self._places.run(run_key) if run_key else None,
            len(side.image_ids),
            side.nb_clusters,
            side.nb_remainder,
            self._judged_of(side.key) if side.record else None,
            side.notes,
        )

    def _judged_of(self, key: str) -> pages.StalenessView:
        judged = self._judge.clustering(key)
        return pages.StalenessView(judged.state, [reason.said for reason in judged.reasons])

    def _cell(
        self, one: Side, other: Side, pairs: Mapping[tuple[str, str], core.Agreement | None]
    ) -> pages.MatrixCell:
        if one is other:
            return pages.MatrixCell(None, "", 0, "")
        key = (one.key, other.key) if (one.key, other.key) in pairs else (other.key, one.key)
        measures = pairs[key]
        spoken = self._spoken
        if measures is None:
            return pages.MatrixCell(None, _NOTHING, 0, spoken.gettext("no image in common"))
        value = measures.adjusted_rand
        level = 0 if value is None else int(np.ceil(min(max(value, 0.0), 1.0) * pages.LEVELS))
        title = spoken.ngettext(
            "{a} and {b}: {n} image", "{a} and {b}: {n} images", measures.nb_images
        ).format(a=key[0], b=key[1], n=spoken.number(measures.nb_images))
        return pages.MatrixCell(self._places.pair(*key), self._number(value, 2), level, title)

    def _cells(self, row: Mapping[str, Any], against: str) -> list[str]:
        cells = [row["method"], row["features"]]
        cells += [self._number(row[key], digits) for _, key, digits in _QUALITY[1:]]
        if against:
            truth = ("adjusted_rand", "adjusted_mutual_information")
            cells += [self._number(row.get(key), 3) for key in truth]
        return cells

    def _quality(self, a: Side, b: Side) -> list[pages.Row]:
        told = [quality_of(side.record) if side.record else {} for side in (a, b)]
        if not any(told):
            return []
        return [
            pages.Row(
                self._spoken.gettext(name),
                [self._number(of.get(key), digits) for of in told],
                self._spoken.gettext(_HELP.get(key, "")),
            )
            for name, key, digits in _QUALITY
        ]

    def _settings(self, a: Side, b: Side) -> list[tuple[str, list[pages.Row]]]:
        sections: dict[str, list[pages.Row]] = {}
        for found in differences(a, b):
            values = [_NOTHING if value is None else value for value in (found.a, found.b)]
            row = pages.Row(found.name, values, differs=found.differs)
            title = self._spoken.gettext(_SECTIONS[found.section])
            sections.setdefault(title, []).append(row)
        return list(sections.items())

    def _group(self, side: Side, group: int) -> pages.GroupView:
        found = side.groups[group]
        return pages.GroupView(self._called(found), self._places.group(side, found))

    def _called(self, group: SideGroup) -> str:
        """A group's name and label; the remainder in the language of the pages."""
        name = group.name
        if group.is_remainder and name.rpartition("/")[2] == REMAINDER:
            name = name.removesuffix(REMAINDER) + self._spoken.gettext("remainder")
        return f"{name} · {group.label}" if group.label else name

    def _named(
        self, compared: Compared, part: core.Excerpt
    ) -> tuple[list[pages.GroupView], list[pages.GroupView]]:
        def named(side: Side, groups: Any, summed: int) -> list[pages.GroupView]:
            found = [self._group(side, group) for group in groups.tolist()]
            others = self._spoken.gettext("{n} others").format(n=self._spoken.number(summed))
            return [*found, pages.GroupView(others)] if summed else found

        return (
            named(compared.a, part.rows, part.nb_rows_summed),
            named(compared.b, part.columns, part.nb_columns_summed),
        )

    def _cell_addresses(
        self, compared: Compared, part: core.Excerpt
    ) -> dict[tuple[int, int], str | None]:
        a, b = compared.a, compared.b
        return {
            (row, column): self._places.cell(
                a, b, a.groups[part.rows[row]], b.groups[part.columns[column]]
            )
            for row, column in np.argwhere(part.counts).tolist()
            if row < len(part.rows) and column < len(part.columns)
        }

    def _asked_cell(self, compared: Compared, asked: tuple[str, str]) -> pages.CellView | None:
        """The images of two groups; None where a side has no such group."""
        places = []
        for side, name in zip((compared.a, compared.b), asked, strict=True):
            found = [place for place, group in enumerate(side.groups) if group.name == name]
            if not found:
                return None
            places.append(found[0])
        inside = (compared.a.labels[compared.rows_a] == places[0]) & (
            compared.b.labels[compared.rows_b] == places[1]
        )
        rows = np.flatnonzero(inside)
        return pages.CellView(
            self._group(compared.a, places[0]),
            self._group(compared.b, places[1]),
            len(rows),
            self._some(compared, rows, MOST_IN_CELL),
        )

    def _moves(self, compared: Compared) -> tuple[list[pages.Move], int]:
        """The moves of the most images, and how many there are in all."""
        a, b = compared.a, compared.b
        rows = np.flatnonzero(compared.result.moved)
        cells: dict[tuple[int, int], list[int]] = defaultdict(list)
        origins = a.labels[compared.rows_a[rows]].tolist()
        goals = b.labels[compared.rows_b[rows]].tolist()
        for row, origin, goal in zip(rows.tolist(), origins, goals, strict=True):
            cells[origin, goal].append(row)
        largest = sorted(cells.items(), key=lambda cell: (-len(cell[1]), cell[0]))[:MOST_MOVES]
        return [
            pages.Move(
                self._group(a, origin),
                self._group(b, goal),
                len(found),
                self._some(compared, np.array(found), MOST_PICTURES),
                self._places.cell(a, b, a.groups[origin], b.groups[goal]),
            )
            for (origin, goal), found in largest
        ], len(cells)

    def _some(self, compared: Compared, rows: npt.NDArray[np.int64], most: int) -> list[Picture]:
        """The first of some rows as pictures."""
        shown = compared.image_ids.take(pa.array(rows[:most])).to_pylist()
        pictures = self._pictures(shown)
        return [pictures[image_id] for image_id in shown if image_id in pictures]

    def _pictures(self, image_ids: list[str]) -> dict[str, Picture]:
        shown = [image_id for image_id in dict.fromkeys(image_ids) if image_id in self._sizes]
        self._places.show(shown)
        return {
            image_id: Picture.fitted(
                image_id,
                self._paths.get(image_id, [f"(missing) {image_id[:8]}"])[0],
                *self._sizes[image_id],
            )
            for image_id in shown
        }

    def _number(self, value: float | None, digits: int | None) -> str:
        """A number with so many decimals; with None a share of 1, as percent."""
        if value is None:
            return _NOTHING
        text = (
            self._spoken.percent(value, 1) if digits is None else self._spoken.number(value, digits)
        )
        # What is rounded to nothing has no sign.
        is_nothing = not any(sign in "123456789" for sign in text)
        return text.lstrip("-") if is_nothing else text.replace("-", "−")


def mean_adjusted_rand(pairs: Mapping[tuple[str, str], core.Agreement | None]) -> float | None:
    """Of the pairs that have one; None if none has."""
    found = [of.adjusted_rand for of in pairs.values() if of and of.adjusted_rand is not None]
    return sum(found) / len(found) if found else None


def _summed(compared: Compared, part: core.Excerpt) -> Message | None:
    """Which groups are not shown by themselves; None if all are."""
    a, b = compared.a.key, compared.b.key
    rows, columns = part.nb_rows_summed, part.nb_columns_summed
    if rows and columns:
        return message(
            "The largest ones are shown; {nb_a:,} more of {a} and {nb_b:,} more of {b} are summed "
            "up as “others”.",
            id="groups-of-both-summed",
            nb_a=rows,
            a=a,
            nb_b=columns,
            b=b,
        )
    if rows or columns:
        return message(
            "The largest ones are shown; {nb_more:,} more of {side} are summed up as “others”.",
            id="groups-of-one-summed",
            nb_more=rows or columns,
            side=a if rows else b,
        )
    return None
