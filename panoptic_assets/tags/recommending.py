"""The act of recommending: from a request to the images that could complete tags.

Belongs here: what is compared with what, and keeping the proposals. Does not belong here: how
images are ranked (``tags.recommendations``), and accepting or refusing them, which are edits.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from panoptic_assets.corpus.table import present_files
from panoptic_assets.features.table import check_features, read_vectors
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import parse_name
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.tags import recommendations as core
from panoptic_assets.tags.config import RecommendationsConfig
from panoptic_assets.tags.table import (
    properties_with_tags,
    read_log,
    read_recommendations,
    write_recommendations,
)
from resources.errors import text_of
from resources.schemas import SCHEMAS


@dataclass(frozen=True)
class RecommendingPlan:
    """Recommendations that can be computed."""

    context: Context
    config: RecommendationsConfig
    vector_type: str
    events: list[tag_log.Event]
    """The tag log."""
    tables: tag_log.TagTables
    """Its replay."""
    properties: list[str]
    """Whose tags are to be completed."""
    image_ids: list[str]
    """Those that are present."""


@dataclass(frozen=True)
class Recommended:
    """Recommendations that were computed."""

    plan: RecommendingPlan
    rows: pa.Table
    why_none: list[str]
    """One sentence for each property without any."""
    stored: pa.Table
    """All that are stored, of other properties too; empty until they are."""


def prepare(context: Context, key: str, given: Document) -> RecommendingPlan:
    """Resolve what is to be recommended.

    Args:
        context: What is read.
        key: Nothing.
        given: Configuration.

    Raises:
        InputError: The configuration cannot be used, or there are no such tags or vectors.
    """
    config = parse(RecommendationsConfig, given)
    store = context.store
    events = [entry.event for entry in read_log(store)]
    tables = tag_log.replay(events)
    properties = properties_with_tags(tables, config.property or None)
    vector_type = parse_name(
        config.vector_type or context.registry.default_vector_type, "vector type"
    )
    image_ids = list(present_files(store))
    check_features(store, vector_type, len(image_ids))
    return RecommendingPlan(context, config, vector_type, events, tables, properties, image_ids)


def run(plan: RecommendingPlan) -> Recommended:
    """Rank the images that lack a tag.

    Raises:
        InputError: None of the images has a vector.
    """
    config = plan.config
    read = read_vectors(plan.context.store, plan.vector_type, plan.image_ids)
    rows = []
    why_none: list[str] = []
    for name in plan.properties:
        task = core.task(
            plan.tables, name, read.image_ids, config.include_remainder, config.include_tagged
        )
        found = core.recommend(read.vectors, task.groups, task.candidates, config.number)
        if not any(len(proposals.rows) for proposals in found):
            why_none.append(text_of(core.why_none(task, name)))
            plan.context.reporter.tell(why_none[-1], "yellow")
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
                    "vector_type": plan.vector_type,
                }
                for rank, (row, score, margin) in enumerate(proposals.listed(), start=1)
            ]
    schema = SCHEMAS["recommendations"]
    new = pa.Table.from_pylist(rows, schema=schema)
    return Recommended(plan, new, why_none, schema.empty_table())


def store(found: Recommended) -> Recommended:
    """Write recommendations, unless they are stored already; what is stored then."""
    plan = found.plan
    only = plan.properties[0] if plan.config.property else None
    if not write_recommendations(plan.context.store, found.rows, only):
        plan.context.reporter.tell("The recommendations already are these.")
    return dataclasses.replace(found, stored=read_recommendations(plan.context.store))
