"""The act of comparing runs: from what is named to the pages of all pairs.

Belongs here: what is compared with what, in which order it is computed and written. Does not belong
here: the measures (``review.agreement``), comparing two sides (``review.comparisons``), what the
pages show (``review.comparison_report``).
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from panoptic_assets.orchestration.acting import Context
from panoptic_assets.review import comparison_pages
from panoptic_assets.review.agreement import Agreement
from panoptic_assets.review.comparison_report import MOST_RESTLESS, ComparisonViews, FilePlaces
from panoptic_assets.review.comparisons import Compared, compare, leaderboard, moved
from panoptic_assets.review.config import ComparisonConfig
from panoptic_assets.review.pages import PageWriter
from panoptic_assets.review.run_report import list_reports
from panoptic_assets.review.sides import Side, Sides, chosen_sides, common
from panoptic_assets.spec.languages import N_, language
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.upkeep.reasons import Staleness
from panoptic_assets.upkeep.staleness import Judge
from resources.errors import Message, text_of

PLACE = "comparison"
"""Of the pages, below the root of the reports."""

Pair = tuple[Side, Side, Compared | None]
"""Two sides, and how they compare; None without a common image."""


@dataclass(frozen=True)
class ComparisonPlan:
    """Sides that can be compared."""

    context: Context
    config: ComparisonConfig
    known: Sides
    """All that can be compared, as far as it was read."""
    sides: list[Side]
    """What is compared, the truth last."""
    notes: list[Message]
    """On their choice."""


@dataclass(frozen=True)
class RunComparison:
    """What the pages show."""

    plan: ComparisonPlan
    judge: Judge
    nb_pairs: int
    pairs: Iterator[Pair]
    """Each is compared when it is asked for."""
    leaderboard: list[dict[str, Any]]
    """Of :func:`panoptic_assets.review.comparisons.leaderboard`."""
    staleness: list[Staleness]
    """Of each run in the leaderboard."""


@dataclass(frozen=True)
class AllPairs:
    """What comes of all pairs together."""

    measures: dict[tuple[str, str], Agreement | None]
    """Of each pair, in their order; None without a common image."""
    restless: list[tuple[str, int]]
    """Ids of the images that moved in the most pairs, and in how many."""


def prepare(context: Context, key: str, given: Document) -> ComparisonPlan:
    """Read what is to be compared.

    Args:
        context: What is read.
        key: Nothing: there is one comparison.
        given: Configuration.

    Raises:
        InputError: One side does not exist, or there are not two to compare.
    """
    config = parse(ComparisonConfig, given)
    known = Sides(context.store, config.depth)
    sides, notes = chosen_sides(known, config.runs, config.against)
    return ComparisonPlan(context, config, known, sides, notes)


def run(plan: ComparisonPlan) -> RunComparison:
    """Rank and judge all runs, and compare the sides, pair by pair."""
    context, config = plan.context, plan.config
    for note in plan.notes:
        context.reporter.tell(text_of(note))
    judge = Judge(context.store, context.registry)
    rows = leaderboard(plan.known, config.against, config.remainder)
    staleness = [judge.clustering(row["key"]) for row in rows]
    both = list(itertools.combinations(plan.sides, 2))
    return RunComparison(plan, judge, len(both), map(_compared, both), rows, staleness)


def _compared(both: tuple[Side, Side]) -> Pair:
    a, b = both
    return a, b, compare(a, b) if len(common(a, b)[0]) else None


def most_restless(moves: Mapping[str, int]) -> list[tuple[str, int]]:
    """The images that moved in the most pairs, and in how many; of equal ones the first by id."""
    return heapq.nsmallest(MOST_RESTLESS, moves.items(), key=lambda item: (-item[1], item[0]))


def store(comparison: RunComparison) -> AllPairs:
    """Write the pages, and the list of all reports."""
    plan = comparison.plan
    context, config = plan.context, plan.config
    measures: dict[tuple[str, str], Agreement | None] = {}
    moves: Counter[str] = Counter()
    with context.reports.new(PLACE) as folder:
        styles, spoken = ("page.css", "comparison.css"), language(config.language)
        writer = PageWriter(context.reports, folder, PLACE, styles=styles, language=spoken)
        places = FilePlaces(context.store, context.reports, writer.up)
        views = ComparisonViews(context.store, comparison.judge, places, spoken)
        tracked = context.reporter.track(comparison.pairs, comparison.nb_pairs, N_("pairs"))
        for a, b, compared in tracked:
            measures[a.key, b.key] = None
            if compared:
                measures[a.key, b.key] = compared.agreement(config.remainder)
                moves.update(moved(compared)["image_id"].to_pylist())
                name = comparison_pages.page_name(a.key, b.key)
                view = views.pair(compared, config.depth)
                comparison_pages.write_pair(writer, name, view)
        restless = most_restless(moves)
        index = views.index(
            plan.sides,
            measures,
            comparison.leaderboard,
            restless,
            plan.notes,
            config.against,
            config.remainder,
        )
        comparison_pages.write_index(writer, index)
    list_reports(plan.known.clusterings, context.reports, spoken)
    return AllPairs(measures, restless)
