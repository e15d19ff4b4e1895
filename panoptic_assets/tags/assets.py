"""Tags: clusters that people keep, their edits, and images that could complete them.

Belongs here: ``saved_clustering``, ``tags`` and ``tag_recommendations``, and what Dagster shows of
them. Does not belong here: what saving, editing and recommending do (``tags.saving``,
``tags.editing``, ``tags.recommending``), and what events mean (``spec.tag_log``).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import rows_of_thumbnails
from panoptic_assets.features.assets import embeddings
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import (
    REVIEW_POOL,
    TAGS_POOL,
    page_link,
    plain_failures,
)
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.markdown import bullets, table
from panoptic_assets.spec.records import digest
from panoptic_assets.tags import editing, recommending, saving
from panoptic_assets.tags.carry_over import KINDS, Change
from panoptic_assets.tags.config import EditsConfig, RecommendationsConfig, SaveConfig
from panoptic_assets.tags.recommendations import Judgements, judgements
from panoptic_assets.tags.saving import Saved
from resources.lance import LanceStore

_TAGS_SHOWN = 60
_LINES_SHOWN = 40
_PICTURED_TAGS = 12
_PICTURED_IMAGES = 6
_ROWS_PICTURED = 10
_PICTURED_PROPOSALS = 6
"""In a row of the contact sheet."""
_SHEET_BYTES = 12_000
"""In base64 16 kB, as the tables take up to 24 kB."""


@dg.asset(
    partitions_def=RUNS,
    deps=[
        clustering,
        dg.AssetDep(nested_clustering, partition_mapping=LINEAGE_ONLY),
    ],
    config_schema=schema_of(SaveConfig),
    group_name="tags",
    pool=TAGS_POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def saved_clustering(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """A run's whole tree as hierarchical tags of a property, image by image.

    Saving appends one event to the tag log. When the run was saved there before, tags follow their
    clusters. A property that has tags of another run is refused, unless `replace` is set.
    """
    plan = acts.plan(context, saving.prepare)
    saved = saving.store(saving.run(plan))
    for note in plan.notes:
        context.log.warning(note)
    if not saved.appended:
        context.log.info(f"{plan.run_key} is saved as {saved.property!r} already.")
    for line in change_lines(saved.changes):
        context.log.info(line)
    store = plan.context.store
    return dg.MaterializeResult(
        metadata=save_metadata(store, plan.run_key, plan.clusterings, saved, plan.notes),
        data_version=save_version(saved.event),
    )


def save_version(event: tag_log.Event) -> dg.DataVersion:
    """What Dagster compares of a save."""
    return dg.DataVersion(digest([tag.tag_id for tag in event.tags], event.images))


def save_metadata(
    store: LanceStore, run_key: str, clusterings: Clusterings, saving: Saved, notes: Sequence[str]
) -> dict[str, Any]:
    """What Dagster shows of a run that was saved.

    Args:
        store: The store.
        run_key: The run.
        clusterings: Those of the run.
        saving: How it is saved.
        notes: What a person must know.
    """
    tables = tag_log.replay(saving.events)
    tags_there = [tag for tag in tables.tags if tag.property == saving.property]
    ids = {tag.tag_id for tag in tags_there}
    held = tag_log.TagTables(
        tags_there, {pair: event for pair, event in tables.images.items() if pair[0] in ids}
    )
    counted = Counter(change.kind for change in saving.changes)
    return {
        **page_link(f"runs/{run_key}"),
        "property": saving.property,
        "nb_tags": len(held.tags),
        "nb_images": len({image_id for _, image_id in held.images}),
        **{f"nb_{kind}": counted[kind] for kind in KINDS if saving.changes},
        "left_out_as_stale": ", ".join(sorted(clusterings.stale)) or "(none)",
        "tags": dg.MetadataValue.md(tag_table(held)),
        "contact_sheet": dg.MetadataValue.md(_contact_sheet(store, held)),
        **({"changes": dg.MetadataValue.md(_changes(saving.changes))} if saving.changes else {}),
        **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
    }


def _contact_sheet(store: LanceStore, held: tag_log.TagTables) -> str:
    """The first images of the first tags that have some."""
    images: dict[str, list[str]] = {}
    for tag_id, image_id in sorted(held.images):
        images.setdefault(tag_id, []).append(image_id)
    names = tag_log.paths(held.tags)
    shown = [tag.tag_id for tag in held.tags if tag.tag_id in images][:_PICTURED_TAGS]
    rows = rows_of_thumbnails(store, [images[tag_id][:_PICTURED_IMAGES] for tag_id in shown])
    return contact_sheet(rows, _SHEET_BYTES, [names[tag_id] for tag_id in shown])


@dg.asset(
    # All partitions: a save that is not in the tags yet does make them out of date.
    deps=[dg.AssetDep(saved_clustering, partition_mapping=dg.AllPartitionMapping())],
    config_schema=schema_of(EditsConfig),
    group_name="tags",
    pool=TAGS_POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def tags(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """Every property's tags, and which image carries which: the replay of the tag log.

    The configuration may hold edits, which are appended to the log first: all of them, or none if
    one cannot be done.
    """
    edited = editing.store(editing.run(acts.plan(context, editing.prepare)))
    plan = edited.plan
    for note in plan.notes:
        context.log.warning(note)
    notes = [*plan.notes, *(note for said in plan.event_notes.values() for note in said)]
    return dg.MaterializeResult(
        metadata={
            **tags_metadata(edited.tables, edited.nb_events, len(plan.config.edits)),
            "appended_events": dg.MetadataValue.json(
                [len(plan.log) + 1 + place for place in range(len(plan.events))]
            ),
            "event_notes": dg.MetadataValue.json({str(n): s for n, s in plan.event_notes.items()}),
            **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
        },
        data_version=tags_version(edited.tables),
    )


def tags_version(replayed: tag_log.TagTables) -> dg.DataVersion:
    """What Dagster compares of the tags."""
    return dg.DataVersion(digest([vars(tag) for tag in replayed.tags], sorted(replayed.images)))


def tags_metadata(replayed: tag_log.TagTables, nb_events: int, nb_edits: int) -> dict[str, Any]:
    """What Dagster shows of the tags."""
    return {
        "nb_events": nb_events,
        "nb_edits": nb_edits,
        "nb_properties": len(replayed.properties),
        "nb_tags": len(replayed.tags),
        "nb_images": len({image_id for _, image_id in replayed.images}),
        "tags": dg.MetadataValue.md(tag_table(replayed)),
    }


def change_lines(changes: Sequence[Change]) -> list[str]:
    """What became of saved clusters, one line each, those that are simply kept counted."""
    if not changes:
        return []
    counted = Counter(change.kind for change in changes)
    lines = ["Tags follow their clusters: " + ", ".join(f"{counted[k]} {k}" for k in KINDS) + "."]
    lines += [
        f"{change.kind}: {change.tag}" + (f" → {change.became}" if change.became else "")
        for change in changes
        if change.kind != "kept"
    ]
    more = len(lines) - _LINES_SHOWN
    return lines[:_LINES_SHOWN] + ([f"… and {more} more"] if more > 0 else [])


def _changes(changes: Sequence[Change]) -> str:
    return table(
        ["what", "tag or cluster", "is now", "overlap"],
        [
            [c.kind, c.tag, c.became, "" if c.overlap is None else f"{c.overlap:.2f}"]
            for c in changes
        ],
        _TAGS_SHOWN,
    )


def tag_table(tables: tag_log.TagTables) -> str:
    """Markdown of tags with their number of images, the parents' including their children's."""
    counts = tag_log.counts(tables)
    names = tag_log.paths(tables.tags)
    return table(
        ["property", "tag", "images"],
        [[tag.property, names[tag.tag_id], counts[tag.tag_id]] for tag in tables.tags],
        _TAGS_SHOWN,
    )


@dg.asset(
    deps=[tags, dg.AssetDep(embeddings, partition_mapping=LINEAGE_ONLY)],
    config_schema=schema_of(RecommendationsConfig),
    group_name="tags",
    pool=REVIEW_POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def tag_recommendations(
    context: dg.AssetExecutionContext, acts: dg.ResourceParam[Acts]
) -> dg.MaterializeResult[None]:
    """For each tag, the images without a tag of its property that fit it best.

    Refused pairs are not proposed again. Accepting and refusing are edits of `tags`; the share that
    was accepted is shown as the precision of each tag.
    """
    found = recommending.run(acts.plan(context, recommending.prepare))
    return _recommended(recommending.store(found))


def _recommended(found: recommending.Recommended) -> dg.MaterializeResult[None]:
    plan, stored = found.plan, found.stored.to_pylist()
    tables, judged, properties = plan.tables, judgements(plan.events), set(plan.properties)
    why_none = found.why_none
    proposed: dict[str, list[dict[str, object]]] = {}
    for row in stored:
        if row["property"] in properties:
            proposed.setdefault(row["tag_id"], []).append(row)
    counts, paths = tag_log.counts(tables), tag_log.paths(tables.tags)
    shown = [tag for tag in tables.tags if tag.property in properties]
    by_tag = [judged[tag.tag_id] for tag in shown if tag.tag_id in judged]
    total = Judgements(
        sum(of_tag.accepted for of_tag in by_tag), sum(of_tag.refused for of_tag in by_tag)
    )
    best = [proposed[tag.tag_id][:_PICTURED_PROPOSALS] for tag in shown if tag.tag_id in proposed]
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
                    rows_of_thumbnails(
                        plan.context.store,
                        [[str(row["image_id"]) for row in rows] for rows in best[:_ROWS_PICTURED]],
                    ),
                    names=[paths[str(rows[0]["tag_id"])] for rows in best[:_ROWS_PICTURED]],
                )
            ),
        },
        data_version=dg.DataVersion(digest(stored)),
    )


def _precision(judged: Judgements | None) -> str:
    if judged is None or judged.precision is None:
        return ""
    return f"{judged.precision:.2f} ({judged.accepted} of {judged.accepted + judged.refused})"
