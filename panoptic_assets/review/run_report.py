"""The act of reporting a run: from its key to its pages.

Belongs here: what is read of the run, and in which order thumbnails and pages are written. Does not
belong here: what the pages show (``review.run_pages``), and the run's tree (``review.run_tree``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import read_thumbnails, rows_of_thumbnails
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.review.config import ReportConfig
from panoptic_assets.review.run_map import MapPoints, find_projection, map_points
from panoptic_assets.review.run_pages import write_first_page, write_run
from panoptic_assets.review.run_tree import RunTree, read_tree
from panoptic_assets.spec.keys import parse_run_key, vector_type_of
from panoptic_assets.spec.languages import N_, Language, language
from panoptic_assets.spec.resolution import Document, parse
from resources.lance import LanceStore
from resources.report_folder import ReportFolder

_THUMBNAILS_AT_ONCE = 1024
_CLUSTERS_PICTURED = 40
_EXEMPLARS = 6

Thumbnails = Sequence[tuple[str, bytes]]
"""WebP, by image id."""


@dataclass(frozen=True)
class ReportPlan:
    """A run whose report can be written."""

    context: Context
    clusterings: Clusterings
    """Those of all runs."""
    tree: RunTree
    projection: str | None
    """Of its map; None: principal components."""
    language: Language
    """Of the pages."""


@dataclass(frozen=True)
class RunReport:
    """What a run's report shows."""

    plan: ReportPlan
    points: MapPoints
    typical: list[list[bytes]]
    """Thumbnails of the images nearest to the means of the first clusters."""
    nb_missing: int
    """Images whose thumbnails the folder of reports lacks."""
    thumbnails: Iterator[Thumbnails]
    """Theirs, as many at a time as memory may hold."""


def prepare(context: Context, key: str, given: Document) -> ReportPlan:
    """Read a run with everything nested under it, and choose the projection of its map.

    Args:
        context: What is read.
        key: A run key.
        given: Configuration.

    Raises:
        InputError: There is no such run or projection.
    """
    run_key = parse_run_key(key)
    config = parse(ReportConfig, given)
    clusterings = Clusterings(context.store)
    tree = read_tree(context.store, clusterings, run_key)
    features = tree.record.config["features"]
    projection = find_projection(context.store, features, config.projection)
    return ReportPlan(context, clusterings, tree, projection, language(config.language))


def run(plan: ReportPlan) -> RunReport:
    """Find where the images lie on the map, and the thumbnails that there are to show."""
    tables, tree = plan.context.store, plan.tree
    vector_type = vector_type_of(tree.record.config["features"])
    points = map_points(tables, tree.image_ids, vector_type, plan.projection, plan.language)
    missing = plan.context.reports.missing_thumbnails(tree.image_ids)
    first, more = missing[:_THUMBNAILS_AT_ONCE], missing[_THUMBNAILS_AT_ONCE:]
    typical = [
        [tree.image_ids[row] for row in cluster.rows[:_EXEMPLARS]]
        for cluster in tree.clusters[:_CLUSTERS_PICTURED]
    ]
    # What both need is read at once: a read of thumbnails goes through all rows of `images`.
    *pictured, found = rows_of_thumbnails(tables, [*typical, first])
    thumbnails = _in_blocks(tables, list(zip(first, found, strict=True)), more)
    return RunReport(plan, points, pictured, len(missing), thumbnails)


def _in_blocks(store: LanceStore, first: Thumbnails, more: list[str]) -> Iterator[Thumbnails]:
    if first:
        yield first
    for start in range(0, len(more), _THUMBNAILS_AT_ONCE):
        block = more[start : start + _THUMBNAILS_AT_ONCE]
        yield list(zip(block, read_thumbnails(store, block), strict=True))


def store(report: RunReport) -> int:
    """Write the thumbnails that are missing, the pages, and the list of all reports.

    Returns:
        How many pages the run has.
    """
    plan = report.plan
    reports = plan.context.reports
    reporter = plan.context.reporter
    for block in reporter.track(report.thumbnails, report.nb_missing, N_("thumbnails"), len):
        reports.add_thumbnails(block)
    nb_pages = write_run(reports, plan.tree, report.points, plan.language)
    list_reports(plan.clusterings, reports, plan.language)
    return nb_pages


def list_reports(
    clusterings: Clusterings, reports: ReportFolder, spoken: Language | None = None
) -> None:
    """List the runs that have a report on the first page of all, the newest first.

    Args:
        clusterings: Those of all runs.
        reports: Where the pages are.
        spoken: The language of that page: of the report that is written; by default the one that
            the page has.
    """
    with_report = [
        record
        for record in clusterings.records.values()
        if record.key == record.run_key and reports.path(f"runs/{record.key}").is_dir()
    ]
    with_report.sort(key=lambda record: record.finished_at, reverse=True)
    write_first_page(reports, with_report, spoken or _language_now(reports))


def _language_now(reports: ReportFolder) -> Language:
    try:
        page = (reports.root / "index.html").read_text("utf-8", "replace")
    except FileNotFoundError:
        return Language()
    found = re.search('<html lang="([a-z]+)"', page)
    return language(found[1] if found else "")
