"""Pages that compare runs: all pairs and the leaderboard, and one page for each pair.

Belongs here: what these pages show, and where the parts of their pictures lie. Does not belong
here: computing it (``review.agreement``), reading it (``review.comparison_report``).

Long because each part of the pages is a class of its own here.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.review.pages import PageWriter, Picture
from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.text import cut
from resources.errors import Message

LEVELS = 9
"""Shades of a heat map; 0 is no colour."""

_MOST_CHARACTERS = 60
"""Of one side in the name of a page's file."""
_PLAIN = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")

_BETWEEN = 620.0
"""From the bars of one side to those of the other, in the flow picture."""
_LETTER = 7.0
_BAR = 14.0
_SLOT = 20.0
"""Height that a name needs."""
_GAP = 5.0
_IMAGES = 460.0
"""Height of all images together."""
_LETTERS = 24
"""Of a name in the flow picture; the whole one is in its title."""


@dataclass(frozen=True)
class StalenessView:
    """Whether a run or node was up to date when the page was made."""

    state: str
    """``up to date``, ``stale`` or ``unknown``."""
    reasons: Sequence[Message]
    """Parts of sentences."""


@dataclass(frozen=True)
class SideView:
    """One side of a pair."""

    key: str
    what: str
    """``run``, ``node``, ``property`` or ``folders``, in words."""
    address: str | None
    """Of its pages; None where there are none."""
    nb_images: int
    nb_clusters: int
    nb_remainder: int
    judged: StalenessView | None
    """Of a run or node."""
    notes: Sequence[Message]


@dataclass(frozen=True)
class Row:
    """A line of a table: a value for each side, or for each treatment of the remainder."""

    name: str
    values: Sequence[str]
    help: str = ""
    """What it means, in a sentence."""
    differs: bool = False


@dataclass(frozen=True)
class GroupView:
    """A cluster, tag or folder by its name."""

    name: str
    address: str | None = None
    """Of its own page."""


@dataclass(frozen=True)
class MatchView:
    """Two clusters that are taken for the same."""

    a: "GroupView"
    b: "GroupView"
    size_a: int
    size_b: int
    both: int
    jaccard: float


@dataclass(frozen=True)
class HeatCell:
    """How many images a row and a column share."""

    count: int
    level: int
    """0 to :data:`LEVELS`, of the share of the smaller one of the two."""
    is_match: bool
    address: str | None = None
    """Of a page that shows them."""


@dataclass(frozen=True)
class HeatRow:
    """A group of the first side."""

    group: GroupView
    size: int
    cells: Sequence[HeatCell]


@dataclass(frozen=True)
class HeatMap:
    """The contingency table, coloured."""

    columns: Sequence[tuple[GroupView, int]]
    """Each group of the second side and its size."""
    rows: Sequence[HeatRow]


@dataclass(frozen=True)
class Bar:
    """A group in the flow picture; lengths in the units of its view box."""

    name: str
    label: str
    """The name, cut."""
    size: int
    x: float
    y: float
    height: float
    text_x: float
    text_y: float
    anchor: str


@dataclass(frozen=True)
class Ribbon:
    """Images that go from one group to another."""

    path: str
    """SVG."""
    title: str
    is_match: bool


@dataclass(frozen=True)
class Flow:
    """Groups of one side left, of the other right, ribbons as thick as the images are many."""

    width: float
    height: float
    bar_width: float
    bars: Sequence[Bar]
    ribbons: Sequence[Ribbon]


@dataclass(frozen=True)
class Move:
    """Images that moved from one cluster to another; some of them as pictures."""

    a: GroupView
    b: GroupView
    count: int
    pictures: Sequence[Picture]
    address: str | None
    """Of a page that shows all of them."""


@dataclass(frozen=True)
class CellView:
    """The images that are in one group of the first side and in one of the second."""

    a: GroupView
    b: GroupView
    count: int
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class PairView:
    """What the page of a pair shows."""

    a: SideView
    b: SideView
    nb_common: int
    nb_only_a: int
    nb_only_b: int
    figures: Sequence[Row]
    reasons: Sequence[tuple[str, Message]]
    """Why there are not all of them; ``counted`` or ``left_out``, and the reason."""
    quality: Sequence[Row]
    settings: Sequence[tuple[str, Sequence[Row]]]
    """Sections of what was recorded; of a side without a record none."""
    matches: Sequence[MatchView]
    nb_matches: int
    heat: HeatMap
    heat_note: Message | None
    flow: Flow
    flow_note: Message | None
    nb_stayed: int
    nb_moved: int
    nb_unmatched: int
    moves: Sequence[Move]
    nb_moves: int
    cell: CellView | None
    """What was asked for of the table."""
    depth: int
    command: str
    """That prints the same on a terminal."""


@dataclass(frozen=True)
class MatrixCell:
    """How much two sides agree."""

    address: str | None
    """Of their page; None for a side with itself, or without a common image."""
    text: str
    level: int
    title: str


@dataclass(frozen=True)
class LeaderboardRow:
    """One run."""

    key: str
    address: str | None
    """Of its pages."""
    judged: StalenessView
    cells: Sequence[str]


@dataclass(frozen=True)
class IndexView:
    """What the page of all pairs shows."""

    keys: Sequence[str]
    matrix: Sequence[Sequence[MatrixCell]]
    facts: Sequence[tuple[str, str, float | str]]
    notes: Sequence[Message]
    against: str
    remainder: str
    """``counted`` or ``left_out``."""
    headings: Sequence[str]
    leaderboard: Sequence[LeaderboardRow]
    nb_runs: int
    restless: Sequence[tuple[Picture, int]]
    """Images that moved in the most pairs, and in how many."""
    command: str
    """That prints a pair on a terminal."""


def write_index(writer: PageWriter, view: IndexView) -> None:
    """Write ``index.html``."""
    writer.write("index.html", "comparison.html", view=view)


def write_pair(writer: PageWriter, name: str, view: PairView) -> None:
    """Write the page of a pair into a file that :func:`page_name` named."""
    writer.write(name, "pair.html", view=view)


def page_name(a: str, b: str) -> str:
    """The file of a pair's page: ``greek--birch.html``.

    Names that are no plain words, that are long, or that differ from others only by what a disk
    does not tell apart, get a digest.
    """
    return f"{_file_name(a)}--{_file_name(b)}.html"


def _file_name(key: str) -> str:
    if len(key) <= _MOST_CHARACTERS and _PLAIN.fullmatch(key):
        return key
    plain = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[:_MOST_CHARACTERS].rstrip("-")
    mark = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}.{mark}" if plain else mark


def heat_map(
    rows: Sequence[GroupView],
    columns: Sequence[GroupView],
    counts: npt.NDArray[np.int64],
    nb_matched: int,
    addresses: Mapping[tuple[int, int], str | None] | None = None,
) -> HeatMap:
    """The table of a pair, with a shade for each cell.

    Args:
        rows: The first side's groups.
        columns: The second's.
        counts: (rows, columns) images.
        nb_matched: How many cells of the diagonal are matches.
        addresses: Where the images of a cell are shown, by its row and column.
    """
    sizes_a, sizes_b = counts.sum(axis=1), counts.sum(axis=0)
    smaller = np.maximum(np.minimum(sizes_a[:, None], sizes_b[None, :]), 1)
    levels = np.ceil(counts / smaller * LEVELS).astype(int)
    return HeatMap(
        [(group, int(size)) for group, size in zip(columns, sizes_b, strict=True)],
        [
            HeatRow(
                group,
                int(sizes_a[row]),
                [
                    HeatCell(
                        int(counts[row, column]),
                        int(levels[row, column]),
                        row == column and row < nb_matched,
                        (addresses or {}).get((row, column)),
                    )
                    for column in range(len(columns))
                ],
            )
            for row, group in enumerate(rows)
        ],
    )


def flow(
    rows: Sequence[str],
    columns: Sequence[str],
    counts: npt.NDArray[np.int64],
    nb_matched: int,
    spoken: Language,
) -> Flow:
    """The table of a pair as a picture.

    Args:
        rows: Names of the first side's groups.
        columns: Names of the second's.
        counts: (rows, columns) images.
        nb_matched: How many cells of the diagonal are matches.
        spoken: The language of its titles.
    """
    sizes_a, sizes_b = counts.sum(axis=1), counts.sum(axis=0)
    unit = _IMAGES / max(int(counts.sum()), 1)
    tops_a, height_a = _stacked(sizes_a * unit)
    tops_b, height_b = _stacked(sizes_b * unit)
    height = max(height_a, height_b)
    tops_a, tops_b = tops_a + (height - height_a) / 2, tops_b + (height - height_b) / 2
    left = _room(rows)
    right = left + _BAR + _BETWEEN
    width = right + _BAR + _room(columns)
    bars = [
        *_bars(rows, sizes_a, tops_a, unit, left, left - 6, "end"),
        *_bars(columns, sizes_b, tops_b, unit, right, right + _BAR + 6, "start"),
    ]
    ribbons = []
    from_y, to_y = tops_a.copy(), tops_b.copy()
    middle = (left + _BAR + right) / 2
    for row, column in np.argwhere(counts):
        count = int(counts[row, column])
        thick = count * unit
        y0, y1 = from_y[row], to_y[column]
        from_y[row] += thick
        to_y[column] += thick
        x0, x1 = left + _BAR, right
        path = (
            f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
            f"V{y1 + thick:.1f}C{middle:.1f} {y1 + thick:.1f} {middle:.1f} {y0 + thick:.1f} "
            f"{x0:.1f} {y0 + thick:.1f}Z"
        )
        title = spoken.ngettext("{n} image: {a} → {b}", "{n} images: {a} → {b}", count).format(
            n=spoken.number(count), a=rows[row], b=columns[column]
        )
        ribbons.append(Ribbon(path, title, bool(row == column and row < nb_matched)))
    # What moved lies over what stayed: thin ribbons are not hidden.
    ribbons.sort(key=lambda ribbon: not ribbon.is_match)
    return Flow(width, float(np.ceil(height)), _BAR, bars, ribbons)


def _room(names: Sequence[str]) -> float:
    """For the longest of the names, cut."""
    return 12 + _LETTER * min(max(map(len, names), default=0), _LETTERS)


def _stacked(heights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """The tops of bars below each other, each with the room that its name needs."""
    slots = np.maximum(heights, _SLOT) + _GAP
    tops = np.concatenate([[0.0], np.cumsum(slots)[:-1]]) + (slots - heights) / 2
    return tops, float(slots.sum())


def _bars(
    names: Sequence[str],
    sizes: npt.NDArray[np.int64],
    tops: npt.NDArray[np.float64],
    unit: float,
    x: float,
    text_x: float,
    anchor: str,
) -> list[Bar]:
    return [
        Bar(
            name,
            cut(name, _LETTERS),
            int(size),
            x,
            round(float(top), 1),
            max(round(float(size) * unit, 1), 1.0),
            text_x,
            round(float(top) + float(size) * unit / 2, 1),
            anchor,
        )
        for name, size, top in zip(names, sizes, tops, strict=True)
    ]
