"""Recommendations: which images could complete a tag.

Belongs here: ``tag_recommendations``. Does not belong here: how images are ranked
(``tags.recommendations``), and accepting or refusing them, which are edits of ``tags``.
"""

import dagster as dg
import numpy as np
import pyarrow as pa

from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import present_files, read_thumbnails
from panoptic_assets.features.assets import embeddings
from panoptic_assets.features.table import read_vectors
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY
from panoptic_assets.orchestration.running import POOL, plain_failures
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.markdown import bullets, table
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import given_config, parse
from panoptic_assets.tags import recommendations as core
from panoptic_assets.tags.assets import tags
from panoptic_assets.tags.config import RecommendationsConfig
from panoptic_assets.tags.table import (
    properties_with_tags,
    read_log,
    read_recommendations,
    write_recommendations,
)
from resources.lance import LanceStore
from resources.registry import Registry
from resources.schemas import SCHEMAS

_TAGS_SHOWN = 60
_ROWS_PICTURED = 10
_PICTURED = 6
"""Proposals in a row of the contact sheet."""


@dg.asset(
    deps=[tags, dg.AssetDep(embeddings, partition_mapping=LINEAGE_ONLY)],
    config_schema=schema_of(RecommendationsConfig),
    group_name="tags",
    pool=POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def tag_recommendations(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """For each tag, the images without a tag of its property that fit it best.

    Refused pairs are not proposed again. Accepting and refusing are edits of `tags`; the share that
    was accepted is shown as the precision of each tag.
    """
    config = parse(
        RecommendationsConfig, given_config(context.run.run_config, "tag_recommendations")
    )
    vector_type = parse_name(config.vector_type or registry.default_vector_type, "vector type")
    events = [entry.event for entry in read_log(store)]
    tables = tag_log.replay(events)
    wanted = properties_with_tags(tables, config.property or None)
    read = read_vectors(store, vector_type, present_files(store))
    rows = []
    why_none: list[str] = []
    for name in wanted:
        task = core.task(
            tables, name, read.image_ids, config.include_remainder, config.include_tagged
        )
        found = core.recommend(read.vectors, task.groups, task.candidates, config.number)
        if not any(len(proposals.rows) for proposals in found):
            why_none.append(core.why_none(task, name))
            context.log.warning(why_none[-1])
        tagged = set(task.tagged.tolist())
        for tag, proposals in zip(task.tags, found, strict=True):
            rows += [
                {
                    "tag_id": tag.tag_id,
                    "image_id": read.image_ids[row],
                    "property": tag.property,
                    "rank": rank,
                    "score": score,
                    "margin": None if np.isnan(margin) else margin,
                    "tagged": row in tagged,
                    "vector_type": vector_type,
                }
                for rank, (row, score, margin) in enumerate(proposals.listed(), start=1)
            ]
    new = pa.Table.from_pylist(rows, schema=SCHEMAS["recommendations"])
    if not write_recommendations(store, new, wanted[0] if config.property else None):
        context.log.info("The recommendations already are these.")
    return _result(store, tables, core.judgements(events), set(wanted), why_none)


def _result(
    store: LanceStore,
    tables: tag_log.TagTables,
    judged: dict[str, core.Judgements],
    properties: set[str],
    why_none: list[str],
) -> dg.MaterializeResult[None]:
    stored = read_recommendations(store).to_pylist()
    proposed: dict[str, list[dict[str, object]]] = {}
    for row in stored:
        if row["property"] in properties:
            proposed.setdefault(row["tag_id"], []).append(row)
    counts, paths = tag_log.counts(tables), tag_log.paths(tables.tags)
    shown = [tag for tag in tables.tags if tag.property in properties]
    by_tag = [judged[tag.tag_id] for tag in shown if tag.tag_id in judged]
    total = core.Judgements(
        sum(of_tag.accepted for of_tag in by_tag), sum(of_tag.refused for of_tag in by_tag)
    )
    best = [proposed[tag.tag_id][:_PICTURED] for tag in shown if tag.tag_id in proposed]
    return dg.MaterializeResult(
        metadata={
            "nb_tags": len(proposed),
            "nb_images": len({row["image_id"] for rows in proposed.values() for row in rows}),
            "nb_accepted": total.accepted,
            "nb_refused": total.refused,
            **({} if total.precision is None else {"precision": total.precision}),
            **({"why_none": dg.MetadataValue.md(bullets(why_none))} if why_none else {}),
            "recommendations": dg.MetadataValue.md(
                table(
                    ["property", "tag", "images", "proposed", "best score", "precision"],
                    [
                        [
                            tag.property,
                            paths[tag.tag_id],
                            counts[tag.tag_id],
                            len(rows),
                            f"{rows[0]['score']:.3f}" if rows else "",
                            _precision(judged.get(tag.tag_id)),
                        ]
                        for tag in shown
                        for rows in [proposed.get(tag.tag_id, [])]
                    ],
                    _TAGS_SHOWN,
                )
            ),
            "contact_sheet": dg.MetadataValue.md(
                contact_sheet(
                    [
                        read_thumbnails(store, [str(row["image_id"]) for row in rows])
                        for rows in best[:_ROWS_PICTURED]
                    ],
                    names=[paths[str(rows[0]["tag_id"])] for rows in best[:_ROWS_PICTURED]],
                )
            ),
        },
        data_version=dg.DataVersion(digest(stored)),
    )


def _precision(judged: core.Judgements | None) -> str:
    if judged is None or judged.precision is None:
        return ""
    return f"{judged.precision:.2f} ({judged.accepted} of {judged.accepted + judged.refused})"
