"""Tags: clusters that people keep.

Belongs here: ``saved_clustering`` and the edits of ``tags``, which append to the tag log, and its
replay. Does not belong here: what events mean (``spec.tag_log``), and edits (``tags.edits``).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.scopes import FoundByText
from panoptic_assets.clustering.selection import select
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.contact_sheet import contact_sheet
from panoptic_assets.corpus.table import image_names, present_files, read_thumbnails
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.partitions import LINEAGE_ONLY, RUNS
from panoptic_assets.orchestration.running import POOL, partition_of, plain_failures
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.markdown import bullets, table
from panoptic_assets.spec.records import Record, digest
from panoptic_assets.spec.resolution import given_config, parse
from panoptic_assets.spec.text import counted
from panoptic_assets.tags.carry_over import KINDS, Change
from panoptic_assets.tags.config import EditsConfig, SaveConfig
from panoptic_assets.tags.edits import EditError, Images, resolve_edits
from panoptic_assets.tags.saving import Saved, author_of, save_run
from panoptic_assets.tags.table import LoggedEvent, append_events, read_log, write_tags
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.report_folder import address

_TAGS_SHOWN = 60
_LINES_SHOWN = 40
_PICTURED_TAGS = 12
_PICTURED_IMAGES = 6
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
    pool=POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def saved_clustering(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    models: dg.ResourceParam[OpenClipModels],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """A run's whole tree as hierarchical tags of a property, image by image.

    Saving appends one event to the tag log. When the run was saved there before, tags follow their
    clusters. A property that has tags of another run is refused, unless `replace` is set.
    """
    run_key = parse_run_key(partition_of(context))
    config = parse(SaveConfig, given_config(context.run.run_config, "saved_clustering"))
    clusterings = Clusterings(store, run_key)
    record = clusterings.get(run_key)
    notes = [
        *(
            f"{key} is stale and was left out: divide it again to save it."
            for key in sorted(clusterings.stale)
        ),
        *_what_is_missing(record, clusterings.places(run_key), store, registry, models),
    ]
    saving = save_run(store, clusterings, run_key, config)
    for note in notes:
        context.log.warning(note)
    if not saving.appended:
        context.log.info(f"{run_key} is saved as {saving.property!r} already.")
    for line in change_lines(saving.changes):
        context.log.info(line)
    return dg.MaterializeResult(
        metadata=save_metadata(store, run_key, clusterings, saving, notes),
        data_version=save_version(saving.event),
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
        "report": dg.MetadataValue.url(address(f"runs/{run_key}")),
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
    rows = [read_thumbnails(store, images[tag_id][:_PICTURED_IMAGES]) for tag_id in shown]
    return contact_sheet(rows, _SHEET_BYTES, [names[tag_id] for tag_id in shown])


def _what_is_missing(
    record: Record,
    places: dict[str, str],
    store: LanceStore,
    registry: Registry,
    models: OpenClipModels,
) -> list[str]:
    """In what a run's clusters are no longer the corpus, one sentence each."""
    notes = []
    present = present_files(store).keys()
    if gone := places.keys() - present:
        left = {node for image_id, node in places.items() if image_id in present}
        empty = sorted({places[image_id] for image_id in gone} - left)
        without = f"; nothing is left of {', '.join(empty)}" if empty else ""
        images = counted(len(gone), "image")
        notes.append(f"{images} of {record.key} are missing from the corpus{without}.")
    try:
        config = parse(ClusteringConfig, record.config)
        if isinstance(config.scope, FoundByText):  # a model would have to be loaded
            return notes
        in_scope = select(record.key, config, store, registry, models, lambda _: None).image_ids
    except InputError as error:
        return [*notes, f"It is not known what the scope of {record.key} takes now: {error}"]
    if new := set(in_scope) - places.keys():
        notes.append(
            f"{counted(len(new), 'image')} in the scope of {record.key} are not in it: they came "
            "later, or have no vector. Embed and cluster again, then save again; the tags stay."
        )
    return notes


@dg.asset(
    # All partitions: a save that is not in the tags yet does make them out of date.
    deps=[dg.AssetDep(saved_clustering, partition_mapping=dg.AllPartitionMapping())],
    config_schema=schema_of(EditsConfig),
    group_name="tags",
    pool=POOL,
    kinds={"lancedb"},
    code_version="2",
)
@plain_failures()
def tags(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[None]:
    """Every property's tags, and which image carries which: the replay of the tag log.

    The configuration may hold edits, which are appended to the log first: all of them, or none if
    one cannot be done.
    """
    config = parse(EditsConfig, given_config(context.run.run_config, "tags"))
    notes: dict[str, None] = {}
    folder = registry.images if config.edits else ""
    log = append_edits(store, config, folder, notes.setdefault)
    for note in notes:
        context.log.warning(note)
    replayed = tag_log.replay([entry.event for entry in log])
    if not write_tags(store, replayed):
        context.log.info("The tags already are what the log says.")
    return dg.MaterializeResult(
        metadata={
            **tags_metadata(replayed, len(log), len(config.edits)),
            **({"notes": dg.MetadataValue.md(bullets(list(notes)))} if notes else {}),
        },
        data_version=tags_version(replayed),
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


def append_edits(
    store: LanceStore,
    config: EditsConfig,
    folder: str = "",
    report: Callable[[str], object] = lambda _: None,
) -> list[LoggedEvent]:
    """Append the events that do some edits; return the log as it is then.

    Args:
        store: The store.
        config: The edits.
        folder: As for :func:`check_edits`.
        report: As for :func:`check_edits`; again when another process has written meanwhile.

    Raises:
        InputError: One of the edits cannot be done; then none is.
    """
    while config.edits:
        events, log = check_edits(store, config, folder, report)
        if append_events(store, log, events, author_of(config), config.reason):
            break
    return read_log(store)


def check_edits(
    store: LanceStore,
    config: EditsConfig,
    folder: str = "",
    report: Callable[[str], object] = lambda _: None,
) -> tuple[list[tag_log.Event], list[LoggedEvent]]:
    """The events that do some edits after the log as it is; and that log.

    Args:
        store: The store.
        config: The edits.
        folder: The images' folder or its URI, for names of images that are whole paths.
        report: Called with sentences that a person must know.

    Raises:
        InputError: One of the edits cannot be done.
    """
    log = read_log(store)
    names = image_names(store, folder)
    images = Images(lambda name: names.find(name) or None)
    try:
        events = resolve_edits(config.edits, [entry.event for entry in log], images)
    except EditError as error:
        raise InputError.of(error) from error
    for note in names.notes:
        report(note)
    return events, log


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
