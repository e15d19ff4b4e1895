"""Comparisons: which runs agree, and with what is known of the images.

Belongs here: ``run_comparison``. Does not belong here: the measures (``review.agreement``), what
can be compared (``review.comparisons``), what its pages show (``review.comparison_report``).
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY
from panoptic_assets.orchestration.running import POOL, plain_failures, progress
from panoptic_assets.review.agreement import Agreement
from panoptic_assets.review.comparison_pages import page_name
from panoptic_assets.review.comparison_report import MOST_RESTLESS, ReportWriter, mean_adjusted_rand
from panoptic_assets.review.comparisons import compare, leaderboard, moved
from panoptic_assets.review.config import ComparisonConfig
from panoptic_assets.review.pages import PageWriter
from panoptic_assets.review.run_report import list_reports
from panoptic_assets.review.sides import Side, Sides, chosen_sides, common
from panoptic_assets.spec.markdown import bullets, escaped, table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import document_of, given_config, parse
from panoptic_assets.spec.text import cut
from panoptic_assets.tags.assets import tags
from panoptic_assets.upkeep.staleness import Judge
from resources.lance import LanceStore
from resources.registry import Registry
from resources.report_folder import ReportFolder, address

PLACE = "comparison"
"""Of the pages, below the root of the reports."""

_SIDES_SHOWN = 20
_RUNS_SHOWN = 60
_PAIRS_LINKED = 30
_LETTERS = 40
_SHEET_BYTES = 12_000
"""In base64 16 kB; the tables and links take up to 25 kB, of 50 kB in all."""
_PICTURED = 8
"""Images in a row of the contact sheet."""


@dg.asset(
    deps=[
        dg.AssetDep(clustering, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
        tags,
    ],
    config_schema=schema_of(ComparisonConfig),
    group_name="review",
    # It writes pages only, but two at once would take each other's folder away.
    pool=POOL,
    kinds={"scikitlearn"},
    code_version="1",
)
@plain_failures()
def run_comparison(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    reports: dg.ResourceParam[ReportFolder],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """Every pair of runs: how much they agree, what differs, which images moved.

    By default the newest root runs, on the images that two of them share; also with the tags that
    images have (`property:NAME`) and with their `folders`.
    """
    config = parse(ComparisonConfig, given_config(context.run.run_config, "run_comparison"))
    read = Sides(store, config.depth)
    sides, notes = chosen_sides(read, config.runs, config.against)
    for note in notes:
        context.log.info(note)
    pairs: dict[tuple[str, str], Agreement | None] = {}
    moves: Counter[str] = Counter()
    judge = Judge(store, registry)
    with reports.new(PLACE) as folder:
        styles = ("page.css", "comparison.css")
        writer = PageWriter(reports, folder, PLACE, styles=styles)
        pages = ReportWriter(store, reports, judge, writer)
        both = list(itertools.combinations(sides, 2))
        for a, b in progress(context.log.info, iter(both), len(both), "pairs"):
            if not len(common(a, b)[0]):
                pairs[a.key, b.key] = None
                continue
            compared = compare(a, b)
            pairs[a.key, b.key] = compared.agreement(config.remainder)
            moves.update(moved(compared)["image_id"].to_pylist())
            pages.write_pair(compared, config.depth)
        rows = leaderboard(read, config.against, config.remainder)
        staleness = [judge.clustering(row["key"]) for row in rows]
        restless = heapq.nsmallest(
            MOST_RESTLESS, moves.items(), key=lambda item: (-item[1], item[0])
        )
        pages.write_index(sides, pairs, rows, restless, notes, config.against, config.remainder)
    list_reports(read.clusterings, reports)
    mean = mean_adjusted_rand(pairs)
    best = rows[0].get("adjusted_rand") if rows else None
    told = [note for side in sides for note in side.notes]
    return dg.MaterializeResult(
        metadata={
            "nb_runs": len(sides),
            "nb_pairs": len(pairs),
            "nb_stale": sum(judged.state == "stale" for judged in staleness),
            **({} if mean is None else {"mean_adjusted_rand": mean}),
            **({} if best is None else {"best_adjusted_rand": best}),
            "comparison": dg.MetadataValue.md(_matrix(sides, pairs)),
            "leaderboard": dg.MetadataValue.md(_leaderboard(rows, config.against)),
            "contact_sheet": dg.MetadataValue.md(_contact_sheet(store, restless)),
            **({"notes": dg.MetadataValue.md(bullets([*notes, *told]))} if notes or told else {}),
            "report": dg.MetadataValue.url(address(PLACE)),
            "file": dg.MetadataValue.path(reports.path(PLACE) / "index.html"),
        },
        data_version=dg.DataVersion(
            digest(
                document_of(config),
                [(side.key, side.data_version) for side in sides],
                # Computing a run again gives the same answer in another time.
                [row | {"cpu_seconds": None} for row in rows],
                [(judged.key, judged.text) for judged in staleness],
            )
        ),
    )


def _contact_sheet(store: LanceStore, restless: Sequence[tuple[str, int]]) -> str:
    """The images that moved in the most pairs."""
    thumbnails = read_thumbnails(store, [image_id for image_id, _ in restless])
    rows = range(0, len(thumbnails), _PICTURED)
    pictures = [thumbnails[start : start + _PICTURED] for start in rows]
    return contact_sheet(pictures, _SHEET_BYTES)


def _matrix(
    sides: Sequence[Side],
    pairs: Mapping[tuple[str, str], Agreement | None],
) -> str:
    """The ARI of all pairs, and links to the pages of the first ones."""
    shown = sides[:_SIDES_SHOWN]
    rows = []
    for place, one in enumerate(shown):
        cells = [
            "" if other <= place else _ari(pairs, one, shown[other]) for other in range(len(shown))
        ]
        rows.append([f"{place + 1}. {_cut(one.key)}", *cells])
    text = table(["ARI", *(str(place + 1) for place in range(len(shown)))], rows)
    links = [
        f"[{escaped(_cut(a))} – {escaped(_cut(b))}]({address(PLACE, page_name(a, b))})"
        for (a, b), measures in pairs.items()
        if measures is not None
    ]
    more = len(sides) - len(shown)
    lines = [text, *([f"… and {more:,} more"] if more else []), " · ".join(links[:_PAIRS_LINKED])]
    return "\n\n".join(lines)


def _ari(pairs: Mapping[tuple[str, str], Agreement | None], a: Side, b: Side) -> str:
    measures = pairs[a.key, b.key]
    return (
        "–"
        if measures is None or measures.adjusted_rand is None
        else f"{measures.adjusted_rand:.2f}"
    )


def _leaderboard(rows: Sequence[Mapping[str, Any]], against: str) -> str:
    truth = ["ARI to it", "AMI to it"] if against else []
    columns = (
        ("nb_clusters", "{:,}"),
        ("remainder_ratio", "{:.1%}"),
        ("mean_score", "{:.1f}"),
        ("silhouette", "{:.3f}"),
        ("davies_bouldin", "{:.2f}"),
        ("calinski_harabasz", "{:,.1f}"),
        ("stability", "{:.2f}"),
        ("cpu_seconds", "{:.2f}"),
        *((name, "{:.3f}") for name in ("adjusted_rand", "adjusted_mutual_information") if truth),
    )
    headings = ["run", "clusters", "remainder", "mean score", "silhouette", "Davies-Bouldin"]
    headings += ["Calinski-Harabasz", "stability", "CPU s", *truth]
    cells = [
        [
            _cut(row["key"]),
            *("" if row.get(key) is None else form.format(row[key]) for key, form in columns),
        ]
        for row in rows
    ]
    return table(headings, cells, _RUNS_SHOWN)


def _cut(key: str) -> str:
    return cut(key, _LETTERS)
