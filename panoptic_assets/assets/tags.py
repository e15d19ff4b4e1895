"""Tags: clusters that people keep.

Belongs here: ``saved_clustering`` and the edits of ``tags``, which append to the tag log, and its
replay. Does not belong here: what events mean (``core.tags``), and edits (``core.edits``).
"""

import dataclasses
import getpass
from collections import Counter
from collections.abc import Collection, Sequence

import dagster as dg
import numpy as np
import numpy.typing as npt

from panoptic_assets.assets.clusterings import clustering, nested_clustering
from panoptic_assets.assets.running import POOL, partition_of, plain_failures
from panoptic_assets.config import (
    ClusteringConfig,
    EditsConfig,
    SaveConfig,
    given_config,
    parse,
    schema_of,
)
from panoptic_assets.core import tags as core_tags
from panoptic_assets.core.carry_over import (
    KINDS,
    CarryOver,
    CarryOverError,
    Change,
    Means,
    carry_over,
)
from panoptic_assets.core.edits import EditError, Images, known_property, resolve
from panoptic_assets.keys import LINEAGE_ONLY, RUNS, parse_run_key, vector_type_of
from panoptic_assets.records import Record, digest
from panoptic_assets.reports.contact_sheet import contact_sheet
from panoptic_assets.reports.markdown import bullets, table
from panoptic_assets.scopes import FoundByText
from panoptic_assets.selection import ImageNames, select
from panoptic_assets.tables import (
    Divisions,
    LoggedEvent,
    append_events,
    present_files,
    read_log,
    read_thumbnails,
    read_vectors,
    saved,
    write_tags,
)
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.reports import address

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
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
) -> dg.MaterializeResult[None]:
    """A run's whole tree as hierarchical tags of a property, image by image.

    Saving appends one event to the tag log. When the run was saved there before, tags follow their
    clusters. A property that has tags of another run is refused, unless `replace` is set.
    """
    run_key = parse_run_key(partition_of(context))
    config = parse(SaveConfig, given_config(context.run.run_config, "saved_clustering"))
    divisions = Divisions(store, run_key)
    record = divisions.get(run_key)
    made = saved(store, divisions, run_key, config.property, config.depth, config.use_labels)
    notes = [
        *(
            f"{key} is stale and was left out: divide it again to save it."
            for key in sorted(divisions.stale)
        ),
        *_what_is_missing(record, divisions.places(run_key), store, registry, models),
    ]
    means = _means_of(store, vector_type_of(record.config["features"]))
    while True:
        log = read_log(store)
        events = [entry.event for entry in log]
        state = core_tags.replayed(events)
        there = known_property(config.property, state.properties)
        saving = checked_save(_under(made, there), events, state, config, means)
        if saving is None or append_events(
            store, log, [saving.event], author_of(config), config.reason
        ):
            break
    for note in notes:
        context.log.warning(note)
    if saving is None:
        context.log.info(f"{run_key} is saved as {there!r} already.")
        saving = CarryOver(core_tags.latest_save(events, there) or made, [])
    else:
        events.append(saving.event)
        for line in change_lines(saving.changes):
            context.log.info(line)
    tables = core_tags.replay(events)
    tags_there = [tag for tag in tables.tags if tag.property == there]
    ids = {tag.tag_id for tag in tags_there}
    held = core_tags.TagTables(
        tags_there, {pair: event for pair, event in tables.images.items() if pair[0] in ids}
    )
    counted = Counter(change.kind for change in saving.changes)
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.url(address(f"runs/{run_key}")),
            "property": there,
            "nb_tags": len(held.tags),
            "nb_images": len({image_id for _, image_id in held.images}),
            **{f"nb_{kind}": counted[kind] for kind in KINDS if saving.changes},
            "left_out_as_stale": ", ".join(sorted(divisions.stale)) or "(none)",
            "tags": dg.MetadataValue.md(tag_table(held)),
            "contact_sheet": dg.MetadataValue.md(_contact_sheet(store, held)),
            **({"changes": dg.MetadataValue.md(_changes(saving))} if saving.changes else {}),
            **({"notes": dg.MetadataValue.md(bullets(notes))} if notes else {}),
        },
        data_version=dg.DataVersion(
            digest([tag.tag_id for tag in saving.event.tags], saving.event.images)
        ),
    )


def _contact_sheet(store: LanceStore, held: core_tags.TagTables) -> str:
    """The first images of the first tags that have some."""
    images: dict[str, list[str]] = {}
    for tag_id, image_id in sorted(held.images):
        images.setdefault(tag_id, []).append(image_id)
    shown = [images[tag.tag_id] for tag in held.tags if tag.tag_id in images][:_PICTURED_TAGS]
    rows = [read_thumbnails(store, image_ids[:_PICTURED_IMAGES]) for image_ids in shown]
    return contact_sheet(rows, _SHEET_BYTES)


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
        notes.append(f"{_images(len(gone))} of {record.key} are missing from the corpus{without}.")
    try:
        config = parse(ClusteringConfig, record.config)
        if isinstance(config.scope, FoundByText):  # a model would have to be loaded
            return notes
        in_scope = select(record.key, config, store, registry, models, lambda _: None).image_ids
    except InputError as error:
        return [*notes, f"It is not known what the scope of {record.key} takes now: {error}"]
    if new := set(in_scope) - places.keys():
        notes.append(
            f"{_images(len(new))} in the scope of {record.key} are not in it: they came later, or "
            "have no vector. Embed and cluster again, then save again; the tags stay."
        )
    return notes


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _means_of(store: LanceStore, vector_type: str) -> Means:
    def means(sets: Sequence[Collection[str]]) -> list[npt.NDArray[np.float64] | None]:
        wanted = {image_id for image_ids in sets for image_id in image_ids}
        read = read_vectors(store, vector_type, wanted, may_be_none=True)
        rows = {image_id: row for row, image_id in enumerate(read.image_ids)}
        found: list[npt.NDArray[np.float64] | None] = []
        for image_ids in sets:
            mine = sorted(rows[image_id] for image_id in image_ids if image_id in rows)
            found.append(read.vectors[mine].mean(axis=0, dtype=np.float64) if mine else None)
        return found

    return means


def _under(made: core_tags.Event, property_name: str) -> core_tags.Event:
    """A first save, under its property as that is written where it is known already."""
    if made.property == property_name:
        return made
    tags = tuple(dataclasses.replace(tag, property=property_name) for tag in made.tags)
    return dataclasses.replace(made, property=property_name, tags=tags)


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
def tags(context: dg.AssetExecutionContext, store: LanceStore) -> dg.MaterializeResult[None]:
    """Every property's tags, and which image carries which: the replay of the tag log.

    The configuration may hold edits, which are appended to the log first: all of them, or none if
    one cannot be done.
    """
    config = parse(EditsConfig, given_config(context.run.run_config, "tags"))
    log = append_edits(store, config)
    replayed = core_tags.replay([entry.event for entry in log])
    if not write_tags(store, replayed):
        context.log.info("The tags already are what the log says.")
    return dg.MaterializeResult(
        metadata={
            "nb_events": len(log),
            "nb_edits": len(config.edits),
            "nb_properties": len(replayed.properties),
            "nb_tags": len(replayed.tags),
            "nb_images": len({image_id for _, image_id in replayed.images}),
            "tags": dg.MetadataValue.md(tag_table(replayed)),
        },
        data_version=dg.DataVersion(
            digest([vars(tag) for tag in replayed.tags], sorted(replayed.images))
        ),
    )


def append_edits(store: LanceStore, config: EditsConfig) -> list[LoggedEvent]:
    """Append the events that do some edits; return the log as it is then.

    Raises:
        InputError: One of the edits cannot be done; then none is.
    """
    while config.edits:
        events, log = check_edits(store, config)
        if append_events(store, log, events, author_of(config), config.reason):
            break
    return read_log(store)


def check_edits(
    store: LanceStore, config: EditsConfig
) -> tuple[list[core_tags.Event], list[LoggedEvent]]:
    """The events that do some edits after the log as it is; and that log.

    Raises:
        InputError: One of the edits cannot be done.
    """
    log = read_log(store)
    names = ImageNames(store)
    images = Images(lambda name: names.find(name) or None)
    try:
        return resolve(config.edits, [entry.event for entry in log], images), log
    except EditError as error:
        text = str(error)
        raise InputError(text[0].upper() + text[1:]) from error


def checked_save(
    made: core_tags.Event,
    events: Sequence[core_tags.Event],
    state: core_tags.State,
    config: SaveConfig,
    means: Means,
) -> CarryOver | None:
    """What saves a run; None if the property already is just that.

    Args:
        made: The run's tree, as a first save.
        events: The tag log.
        state: Its replay.
        config: Of the save.
        means: Of vectors.

    Raises:
        InputError: The property has tags of another run, or it cannot be told which tag belongs to
            which cluster now, and ``replace`` is not set.
    """
    known = [tag.tag_id for tag in state.tags.values() if tag.property == made.property]
    if not known:
        if config.matches:
            raise InputError(
                f"The property {made.property!r} has no tags that `matches` (`--match`) could "
                "name: save without it."
            )
        return CarryOver(made, [])
    latest = core_tags.latest_save(events, made.property)
    if config.replace:
        fresh = core_tags.replay([made])
        pairs = {(tag_id, image_id) for tag_id in known for image_id in state.members[tag_id]}
        tags = [state.tags[tag_id] for tag_id in known]
        if core_tags.in_tree_order(tags) == fresh.tags and pairs == fresh.images.keys():
            return None
        return CarryOver(dataclasses.replace(made, tag_ids=tuple(sorted(known))), [])
    if latest and _same(latest, made) and not config.matches:
        return None
    if latest is None or latest.run_key != made.run_key:
        whose = f"saved from run {latest.run_key!r}" if latest else "which people made"
        raise InputError(
            f"The property {made.property!r} already holds other tags, {whose}. Save under a new "
            f"name, such as {core_tags.free_name(made.property, state.properties)!r} (`property`, "
            "`--property`), or set `replace: true` (`--replace`)."
        )
    try:
        found = carry_over(
            latest, made, state, means, config.min_overlap, config.matches, config.depth
        )
    except CarryOverError as error:
        raise InputError(str(error)) from error
    return None if _same(latest, found.event) and not found.event.tag_ids else found


def _same(one: core_tags.Event, other: core_tags.Event) -> bool:
    """Whether two saves give the same tags, of the same clusters, to the same images."""

    def clusters(event: core_tags.Event) -> set[tuple[str, str | None, str | None]]:
        return {(tag.tag_id, tag.record_id, tag.node) for tag in event.tags}

    return clusters(one) == clusters(other) and set(one.images) == set(other.images)


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


def _changes(saving: CarryOver) -> str:
    return table(
        ["what", "tag or cluster", "is now", "overlap"],
        [
            [c.kind, c.tag, c.became, "" if c.overlap is None else f"{c.overlap:.2f}"]
            for c in saving.changes
        ],
        _TAGS_SHOWN,
    )


def author_of(config: SaveConfig | EditsConfig) -> str:
    """Who changes tags: as configured, else the user of the system."""
    if config.author:
        return config.author
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def tag_table(tables: core_tags.TagTables) -> str:
    """Markdown of tags with their number of images, the parents' including their children's."""
    counts = core_tags.counts(tables)
    names = core_tags.paths(tables.tags)
    return table(
        ["property", "tag", "images"],
        [[tag.property, names[tag.tag_id], counts[tag.tag_id]] for tag in tables.tags],
        _TAGS_SHOWN,
    )
