"""The pages of a comparison, out of what is compared.

Belongs here: which figures, clusters and images the pages show, and how many of them. Does not
belong here: comparing (``review.comparisons``), how pages look (``review.comparison_pages``).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from panoptic_assets.corpus.table import present_files, read_thumbnails
from panoptic_assets.review import agreement as core
from panoptic_assets.review import comparison_pages as pages
from panoptic_assets.review.comparisons import Compared, Treatment, differences, quality_of
from panoptic_assets.review.pages import PageWriter, Picture, shell
from panoptic_assets.review.run_tree import image_sizes
from panoptic_assets.review.sides import Side, SideGroup
from panoptic_assets.upkeep.staleness import Judge
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

_WORDS = {
    "run": "Run",
    "node": "Divided cluster",
    "property": "Tags of images",
    "folders": "Folders of files",
}
_NOTHING = "–"
_FIGURES = (
    ("Images", "nb_images", "Images that both sides have."),
    ("ARI", "adjusted_rand", "Adjusted Rand index: 1 for equal clusters, 0 for chance."),
    (
        "AMI",
        "adjusted_mutual_information",
        "Adjusted mutual information: as the ARI, but small clusters count for more.",
    ),
    ("V-measure", "v_measure", "Harmonic mean of homogeneity and completeness."),
    ("Homogeneity", "homogeneity", "1 if each cluster of the first lies in one of the second."),
    ("Completeness", "completeness", "1 if each cluster of the second lies in one of the first."),
    (
        "Variation of information",
        "variation_of_information",
        "In bits: what one says and the other does not; 0 for equal clusters.",
    ),
    ("Stayed", "nb_stayed", "Images in the matched cluster of both."),
    ("Moved", "nb_moved", "Images of a matched cluster of the first, elsewhere in the second."),
    ("Without a match", "nb_unmatched", "Images whose cluster of the first has no match."),
)
_QUALITY = (
    ("Images", "nb_images", "{:,}"),
    ("Clusters", "nb_clusters", "{:,}"),
    ("Remainder", "remainder_ratio", "{:.1%}"),
    ("Mean score", "mean_score", "{:.1f}"),
    ("Silhouette", "silhouette", "{:.3f}"),
    ("Davies-Bouldin", "davies_bouldin", "{:.2f}"),
    ("Calinski-Harabasz", "calinski_harabasz", "{:,.1f}"),
    ("Stability", "stability", "{:.2f}"),
    ("CPU seconds", "cpu_seconds", "{:.2f}"),
)
_HELP = {
    "mean_score": "Lower is more coherent.",
    "silhouette": "−1 to 1; higher is better.",
    "davies_bouldin": "Lower is better.",
    "calinski_harabasz": "Higher is better; only between runs of the same images.",
    "stability": "How surely clusters come again; .75 is stable.",
}
_SECTIONS = {"parameters": "Parameters", "inputs": "What was read", "versions": "Versions"}


class ReportWriter:
    """Makes the pages of one comparison.

    Args:
        store: The store.
        reports: Where the pages and thumbnails go.
        judge: Knows whether runs are up to date.
        writer: Writes the pages.
    """

    def __init__(self, store: LanceStore, reports: ReportFolder, judge: Judge, writer: PageWriter):
        self._store = store
        self._judge = judge
        self._reports = reports
        self._writer = writer
        self._paths = present_files(store)
        self._sizes = image_sizes(store)

    def write_pair(self, compared: Compared, depth: int) -> None:
        """Write the page of one pair, and the thumbnails that it shows."""
        name = pages.page_name(compared.a.key, compared.b.key)
        pages.write_pair(self._writer, name, self._pair(compared, depth))

    def write_index(
        self,
        sides: Sequence[Side],
        pairs: Mapping[tuple[str, str], core.Agreement | None],
        rows: Sequence[dict[str, Any]],
        restless: Sequence[tuple[str, int]],
        notes: Sequence[str],
        against: str,
        remainder: Treatment,
    ) -> None:
        """Write the page of all pairs and the leaderboard.

        Args:
            sides: What is compared.
            pairs: The measures of each pair, in their order; None without a common image.
            rows: Of :func:`panoptic_assets.review.comparisons.leaderboard`.
            restless: Ids of the images that moved in the most pairs, and in how many.
            notes: On the choice of sides.
            against: What is taken for the truth; empty: nothing.
            remainder: How remainders are treated.
        """
        mean = _formatted(mean_adjusted_rand(pairs), "{:.2f}")
        truth = ["ARI to it", "AMI to it"] if against else []
        pictures = self._pictures([image_id for image_id, _ in restless])
        view = pages.IndexView(
            keys=[side.key for side in sides],
            matrix=[[_cell(one, other, pairs) for other in sides] for one in sides],
            facts=[
                ("compared", f"{len(sides)}"),
                ("pairs", f"{len(pairs):,}"),
                ("mean ARI", mean),
                ("runs in all", f"{len(rows):,}"),
            ],
            notes=notes,
            against=against,
            remainder="as one more cluster" if remainder == "counted" else "left out",
            headings=["Method", "Features", *(name for name, _, _ in _QUALITY[1:]), *truth],
            leaderboard=[
                pages.LeaderboardRow(
                    row["key"],
                    self._report_of(row["key"]),
                    self._judged_of(row["key"]),
                    _cells(row, against),
                )
                for row in rows
            ],
            nb_runs=len(rows),
            restless=[
                (pictures[image_id], count) for image_id, count in restless if image_id in pictures
            ],
            command=shell("panoptic-assets", "compare", *(side.key for side in sides[:2])),
        )
        pages.write_index(self._writer, view)

    def _pair(self, compared: Compared, depth: int) -> pages.PairView:
        a, b, result = compared.a, compared.b, compared.result
        counted = result.counted
        heat = core.largest_part(result.table, counted.matched, MOST_HEAT)
        small = core.largest_part(result.table, counted.matched, MOST_FLOW)
        best = sorted(counted.matched, key=lambda pair: -pair.jaccard)[:MOST_MATCHES]
        moves, nb_moves = self._moves(compared)
        reasons = {
            f"With the remainder {title}: {measures.reason}."
            for title, measures in (("counted", counted), ("left out", result.left_out))
            if measures.reason
        }
        return pages.PairView(
            a=self._side(a),
            b=self._side(b),
            nb_common=len(compared.image_ids),
            nb_only_a=compared.nb_only_a,
            nb_only_b=compared.nb_only_b,
            figures=[
                pages.Row(
                    name,
                    [_number(getattr(measures, key)) for measures in (counted, result.left_out)],
                    meaning,
                )
                for name, key, meaning in _FIGURES
            ],
            reasons=sorted(reasons),
            quality=_quality(a, b),
            settings=_settings(a, b),
            matches=[
                pages.MatchView(
                    _shown(a.groups[pair.a]),
                    _shown(b.groups[pair.b]),
                    int(result.table.sizes_a[pair.a]),
                    int(result.table.sizes_b[pair.b]),
                    pair.both,
                    pair.jaccard,
                )
                for pair in best
            ],
            nb_matches=len(counted.matched),
            heat=pages.heat_map(*_named(compared, heat), heat.counts, heat.nb_matched),
            heat_note=_summed(compared, heat),
            flow=pages.flow(*_named(compared, small), small.counts, small.nb_matched),
            flow_note=_summed(compared, small),
            nb_stayed=counted.nb_stayed,
            nb_moved=counted.nb_moved,
            nb_unmatched=counted.nb_unmatched,
            moves=moves,
            nb_moves=nb_moves,
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
            _WORDS[side.kind],
            self._report_of(run_key) if run_key else None,
            len(side.image_ids),
            side.nb_clusters,
            side.nb_remainder,
            self._judged_of(side.key) if side.record else None,
            side.notes,
        )

    def _judged_of(self, key: str) -> pages.StalenessView:
        judged = self._judge.clustering(key)
        return pages.StalenessView(judged.state, [reason.text for reason in judged.reasons])

    def _report_of(self, run_key: str) -> str | None:
        """The address of a run's report, if it was made."""
        there = (self._reports.path(f"runs/{run_key}") / "index.html").is_file()
        return f"{self._writer.up}runs/{run_key}/index.html" if there else None

    def _moves(self, compared: Compared) -> tuple[list[pages.Move], int]:
        """The moves of the most images, and how many there are in all."""
        rows = np.flatnonzero(compared.result.moved)
        cells: dict[tuple[int, int], list[int]] = defaultdict(list)
        origins = compared.a.labels[compared.rows_a[rows]].tolist()
        goals = compared.b.labels[compared.rows_b[rows]].tolist()
        for row, origin, goal in zip(rows.tolist(), origins, goals, strict=True):
            cells[origin, goal].append(row)
        largest = sorted(cells.items(), key=lambda cell: (-len(cell[1]), cell[0]))[:MOST_MOVES]
        shown = {
            cell: compared.image_ids.take(pa.array(found[:MOST_PICTURES])).to_pylist()
            for cell, found in largest
        }
        pictures = self._pictures([image_id for found in shown.values() for image_id in found])
        return [
            pages.Move(
                _shown(compared.a.groups[origin]),
                _shown(compared.b.groups[goal]),
                len(found),
                [pictures[image_id] for image_id in shown[origin, goal] if image_id in pictures],
            )
            for (origin, goal), found in largest
        ], len(cells)

    def _pictures(self, image_ids: list[str]) -> dict[str, Picture]:
        shown = [image_id for image_id in dict.fromkeys(image_ids) if image_id in self._sizes]
        missing = self._reports.missing_thumbnails(shown)
        thumbnails = read_thumbnails(self._store, missing)
        self._reports.add_thumbnails(zip(missing, thumbnails, strict=True))
        return {
            image_id: Picture.fitted(
                image_id,
                self._paths.get(image_id, [f"(missing) {image_id[:8]}"])[0],
                *self._sizes[image_id],
            )
            for image_id in shown
        }


def mean_adjusted_rand(pairs: Mapping[tuple[str, str], core.Agreement | None]) -> float | None:
    """Of the pairs that have one; None if none has."""
    found = [of.adjusted_rand for of in pairs.values() if of and of.adjusted_rand is not None]
    return sum(found) / len(found) if found else None


def _cell(
    one: Side,
    other: Side,
    pairs: Mapping[tuple[str, str], core.Agreement | None],
) -> pages.MatrixCell:
    if one is other:
        return pages.MatrixCell(None, "", 0, "")
    key = (one.key, other.key) if (one.key, other.key) in pairs else (other.key, one.key)
    measures = pairs[key]
    if measures is None:
        return pages.MatrixCell(None, _NOTHING, 0, "no image in common")
    value = measures.adjusted_rand
    level = 0 if value is None else int(np.ceil(min(max(value, 0.0), 1.0) * pages.LEVELS))
    title = f"{key[0]} and {key[1]}: {measures.nb_images:,} images"
    return pages.MatrixCell(pages.page_name(*key), _formatted(value, "{:.2f}"), level, title)


def _cells(row: Mapping[str, Any], against: str) -> list[str]:
    cells = [row["method"], row["features"]]
    cells += [_formatted(row[key], form) for _, key, form in _QUALITY[1:]]
    if against:
        truth = ("adjusted_rand", "adjusted_mutual_information")
        cells += [_formatted(row.get(key), "{:.3f}") for key in truth]
    return cells


def _quality(a: Side, b: Side) -> list[pages.Row]:
    told = [quality_of(side.record) if side.record else {} for side in (a, b)]
    if not any(told):
        return []
    return [
        pages.Row(name, [_formatted(of.get(key), form) for of in told], _HELP.get(key, ""))
        for name, key, form in _QUALITY
    ]


def _settings(a: Side, b: Side) -> list[tuple[str, list[pages.Row]]]:
    sections: dict[str, list[pages.Row]] = {}
    for found in differences(a, b):
        values = [_NOTHING if value is None else value for value in (found.a, found.b)]
        row = pages.Row(found.name, values, differs=found.differs)
        sections.setdefault(_SECTIONS[found.section], []).append(row)
    return list(sections.items())


def _named(compared: Compared, part: core.Excerpt) -> tuple[list[str], list[str]]:
    def names(side: Side, groups: Any, summed: int) -> list[str]:
        found = [_shown(side.groups[group]) for group in groups.tolist()]
        return [*found, f"{summed:,} others"] if summed else found

    return (
        names(compared.a, part.rows, part.nb_rows_summed),
        names(compared.b, part.columns, part.nb_columns_summed),
    )


def _summed(compared: Compared, part: core.Excerpt) -> str:
    """Which groups are not shown by themselves; empty if all are."""
    said = [
        f"{summed:,} more of {side.key}"
        for side, summed in (
            (compared.a, part.nb_rows_summed),
            (compared.b, part.nb_columns_summed),
        )
        if summed
    ]
    if not said:
        return ""
    return f"The largest ones are shown; {' and '.join(said)} are summed up as “others”."


def _shown(group: SideGroup) -> str:
    return f"{group.name} · {group.label}" if group.label else group.name


def _number(value: float | None) -> str:
    return _formatted(value, "{:,}" if isinstance(value, int) else "{:.3f}")


def _formatted(value: float | None, form: str) -> str:
    if value is None:
        return _NOTHING
    text = form.format(value)
    # What is rounded to nothing has no sign.
    return text.lstrip("-") if not text.strip("-0.%") else text.replace("-", "−")
