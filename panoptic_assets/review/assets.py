"""Reports: runs as pages that people look through, one by one and compared.

Belongs here: ``clustering_report`` and ``run_comparison``, and what Dagster shows of them. Does not
belong here: how they are made (``review.run_report``, ``review.comparing``), and what the pages
look like (``review.run_pages``, ``review.comparison_pages``).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.features.assets import projection
from panoptic_assets.labels.assets import cluster_labels
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import REVIEW_POOL, page_link, plain_failures
from panoptic_assets.review import comparing, run_report
from panoptic_assets.review.agreement import Agreement
from panoptic_assets.review.comparison_report import mean_adjusted_rand
from panoptic_assets.review.config import ComparisonConfig, ReportConfig
from panoptic_assets.review.run_tree import titled
from panoptic_assets.review.sides import Side
from panoptic_assets.spec.markdown import bullets, escaped, score_text, table
from panoptic_assets.spec.records import digest, vectors_hash
from panoptic_assets.spec.resolution import document_of
from panoptic_assets.spec.text import cut
from panoptic_assets.tags.assets import tags
from resources.errors import text_of
from resources.lance import LanceStore
from resources.report_folder import live_address

_SHOWN = 40
"""Clusters in the table of a report."""

_SIDES_SHOWN = 20
_RUNS_SHOWN = 60
_PAIRS_LINKED = 30
_LETTERS = 40
_SHEET_BYTES = 12_000
"""In base64 16 kB; the tables and links take up to 25 kB, of 50 kB in all."""
_PICTURED = 8
"""Images in a row of the contact sheet of a comparison."""


@dg.asset(
    partitions_def=RUNS,
    deps=[
        clustering,
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(projection, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(cluster_labels, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(ReportConfig),
    group_name="review",
    pool=REVIEW_POOL,
    kinds={"html"},
    code_version="2",
)
@plain_failures()
def clustering_report(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """A run's whole tree as pages: clusters with their images, the map, the record.

    The pages lie in `.panoptic/reports`; `panoptic-assets ui` serves them beside Dagster's own.
    """
    report = run_report.run(acts.plan(context, run_report.prepare))
    return _reported(report, run_report.store(report))


def _reported(report: run_report.RunReport, nb_pages: int) -> dg.MaterializeResult[None]:
    tree, points = report.plan.tree, report.points
    record = tree.record
    place = f"runs/{record.key}"
    divided = [cluster for cluster in tree.walk() if cluster.clustering]
    notes = [f"{key} is stale and was left out." for key in tree.stale]
    return dg.MaterializeResult(
        metadata={
            **page_link(f"runs/{record.key}"),
            "nb_images": len(tree.image_ids),
            "nb_clusters": record.nb_clusters,
            "nb_divided": len(divided),
            "nb_pages": nb_pages,
            "clusters": dg.MetadataValue.md(
                table(
                    ["cluster", "images", "score", "name"],
                    [[c.node, c.size, score_text(c.score, c.size), c.name] for c in tree.walk()],
                    _SHOWN,
                )
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(
                    report.typical,
                    names=[titled(cluster) for cluster in tree.clusters[: len(report.typical)]],
                )
            ),
            "map": text_of(points.title),
            "file": dg.MetadataValue.path(report.plan.context.reports.path(place) / "index.html"),
            **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
        },
        data_version=dg.DataVersion(
            digest(
                record.record_id,
                [
                    clustering.clustering.record_id
                    for clustering in divided
                    if clustering.clustering
                ],
                [[cluster.node, cluster.name, cluster.remark] for cluster in tree.walk()],
                [tree.paths, tree.stale, text_of(points.title), report.plan.language.code],
                vectors_hash([tree.image_ids[row] for row in points.rows], points.points),
                [[colouring.name, *map(str, colouring.values)] for colouring in points.known],
            )
        ),
    )


@dg.asset(
    deps=[
        dg.AssetDep(clustering, partition_mapping=LINEAGE_ONLY),
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
        tags,
    ],
    config_schema=schema_of(ComparisonConfig),
    group_name="review",
    # It writes pages only, but two at once would take each other's folder away.
    pool=REVIEW_POOL,
    kinds={"scikitlearn"},
    code_version="1",
)
@plain_failures()
def run_comparison(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """Every pair of runs: how much they agree, what differs, which images moved.

    By default the newest root runs, on the images that two of them share; also with the tags that
    images have (`property:NAME`) and with their `folders`.
    """
    comparison = comparing.run(acts.plan(context, comparing.prepare))
    return _compared(comparison, comparing.store(comparison))


def _compared(
    comparison: comparing.RunComparison, pairs: comparing.AllPairs
) -> dg.MaterializeResult[None]:
    plan, rows = comparison.plan, comparison.leaderboard
    sides, config, context = plan.sides, plan.config, plan.context
    mean = mean_adjusted_rand(pairs.measures)
    best = rows[0].get("adjusted_rand") if rows else None
    notes = [text_of(note) for note in (*plan.notes, *(said for s in sides for said in s.notes))]
    return dg.MaterializeResult(
        metadata={
            "nb_runs": len(sides),
            "nb_pairs": len(pairs.measures),
            "nb_stale": sum(judged.state == "stale" for judged in comparison.staleness),
            **({} if mean is None else {"mean_adjusted_rand": mean}),
            **({} if best is None else {"best_adjusted_rand": best}),
            "comparison": dg.MetadataValue.md(_matrix(sides, pairs.measures)),
            "leaderboard": dg.MetadataValue.md(_leaderboard(rows, config.against)),
            "contact_sheet": dg.MetadataValue.md(_contact_sheet(context.store, pairs.restless)),
            **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
            **page_link("compare"),
            "file": dg.MetadataValue.path(context.reports.path(comparing.PLACE) / "index.html"),
        },
        data_version=dg.DataVersion(
            digest(
                document_of(config),
                [(side.key, side.data_version) for side in sides],
                # Computing a run again gives the same answer in another time.
                [row | {"cpu_seconds": None} for row in rows],
                [(judged.key, judged.text) for judged in comparison.staleness],
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
        f"[{escaped(_cut(a))} – {escaped(_cut(b))}]({page})"
        for (a, b), measures in pairs.items()
        if measures is not None and (page := live_address(f"compare?{urlencode({'a': a, 'b': b})}"))
    ]
    more = len(sides) - len(shown)
    lines = [text, *([f"… and {more:,} more"] if more else []), " · ".join(links[:_PAIRS_LINKED])]
    return "\n\n".join(filter(None, lines))


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
