"""The act of saving: a run becomes tags, and tags which were saved before follow their clusters.

Belongs here: the one way in which a run is saved, whoever asks for it: the asset, a refresh. Does
not belong here: what becomes of which tag (``tags.carry_over``), and edits (``tags.editing``).
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.scopes import FoundByText
from panoptic_assets.clustering.selection import select
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.absence import Limits
from panoptic_assets.corpus.table import present_files
from panoptic_assets.features.table import read_vectors
from panoptic_assets.labels.table import read_labels
from panoptic_assets.labels.vocabulary import cleaned
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import REMAINDER as REMAINDER_NAME
from panoptic_assets.spec.keys import parse_run_key, vector_type_of
from panoptic_assets.spec.people import system_user
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.resolution import Document, parse
from panoptic_assets.spec.tag_log import known_property
from panoptic_assets.spec.text import counted
from panoptic_assets.tags.carry_over import CarryOver, CarryOverError, Change, Means, carry_over
from panoptic_assets.tags.config import EditsConfig, SaveConfig
from panoptic_assets.tags.effects import NO_EFFECT, Effect, check_unasked, effect_of
from panoptic_assets.tags.table import LoggedEvent, append_events, read_log
from resources.errors import InputError
from resources.lance import LanceStore


@dataclass(frozen=True)
class Saved:
    """A run that is saved under a property."""

    property: str
    """As its tags are written."""
    event: tag_log.Event
    """What saved it, now or before."""
    changes: list[Change]
    """What became of clusters that were saved before."""
    appended: bool
    """Whether the event is new; otherwise the property already was just that."""
    events: list[tag_log.Event]
    """The whole log, with it."""


@dataclass(frozen=True)
class Decision:
    """What saving a run does to the tag log as it is."""

    made: tag_log.Event
    """The run's tree, as a first save."""
    log: list[LoggedEvent]
    property: str
    """As its tags are written."""
    carried: CarryOver | None
    """None: the property already is just that."""

    def saved(self) -> Saved:
        """How the run is saved once the event is in the log."""
        events = [entry.event for entry in self.log]
        if self.carried is None:
            event = tag_log.latest_save(events, self.property) or self.made
            return Saved(self.property, event, [], False, events)
        event = self.carried.event
        return Saved(self.property, event, self.carried.changes, True, [*events, event])


@dataclass(frozen=True)
class SavingPlan:
    """A run that can be saved."""

    context: Context
    run_key: str
    config: SaveConfig
    clusterings: Clusterings
    """Those of the run."""
    notes: list[str]
    """What a person must know, one sentence each."""
    decision: Decision


def prepare(context: Context, key: str, given: Document) -> SavingPlan:
    """Resolve how a run is saved, and what becomes of the tags that are there.

    Args:
        context: What is read.
        key: The run.
        given: Configuration.

    Raises:
        InputError: There is no such run, the configuration cannot be used, the property holds
            other tags, or it is not certain which tag belongs to which cluster now.
    """
    run_key = parse_run_key(key)
    config = parse(SaveConfig, given)
    clusterings = Clusterings(context.store, run_key)
    record = clusterings.get(run_key)
    notes = [
        *(
            f"{stale} is stale and was left out: divide it again to save it."
            for stale in sorted(clusterings.stale)
        ),
        *_what_is_missing(record, clusterings.places(run_key), context),
    ]
    made = _made(context.store, clusterings, run_key, config)
    decision = _decide(context.store, made, config, record)
    return SavingPlan(context, run_key, config, clusterings, notes, decision)


def run(plan: SavingPlan) -> SavingPlan:
    """Nothing is left to be computed: which tag belongs to which cluster decides on a refusal."""
    return plan


def store(plan: SavingPlan) -> Saved:
    """Append the event to the tag log, unless the property already is just that.

    Raises:
        InputError: Another process has written to the log meanwhile, and it cannot be saved any
            more.
    """
    record = plan.clusterings.get(plan.run_key)
    return _appended(plan.context.store, plan.decision, plan.config, record)


def save_unasked(
    store: LanceStore,
    clusterings: Clusterings,
    run_key: str,
    config: SaveConfig,
    limits: Limits,
) -> tuple[Saved, Effect]:
    """Append the event to the tag log that saves a run's tree, unless it is saved just so.

    Nobody watches, so what takes many tags away is not done.

    Args:
        store: The store.
        clusterings: Those of the run.
        run_key: The run.
        config: How it is saved.
        limits: How much it may take away.

    Returns:
        The save, and what it did to the tags.

    Raises:
        InputError: There is no such run, its property holds other tags, it is not certain which
            tag belongs to which cluster now, or too many would go. Nothing is saved then.
    """
    record = clusterings.get(run_key)
    made = _made(store, clusterings, run_key, config)
    present = present_files(store).keys()
    effects: list[Effect] = []

    def check(decision: Decision) -> None:
        if decision.carried is not None:
            events = [entry.event for entry in decision.log]
            effects.append(effect_of(events, decision.carried.event, present))
            check_unasked(effects[-1], limits)

    saved = _appended(store, _decide(store, made, config, record), config, record, check)
    return saved, effects[-1] if effects else NO_EFFECT


def _made(
    store: LanceStore, clusterings: Clusterings, run_key: str, config: SaveConfig
) -> tag_log.Event:
    """The run's tree, as a first save."""
    made = saved(store, clusterings, run_key, config.property, config.depth, config.use_labels)
    return dataclasses.replace(made, depth=config.depth)


def _decide(store: LanceStore, made: tag_log.Event, config: SaveConfig, record: Record) -> Decision:
    log = read_log(store)
    events = [entry.event for entry in log]
    state = tag_log.replayed(events)
    there = known_property(config.property, state.properties)
    means = _means_of(store, vector_type_of(record.config["features"]))
    found = checked_save(_under(made, there), events, state, config, means)
    return Decision(made, log, there, found)


def _appended(
    store: LanceStore,
    decision: Decision,
    config: SaveConfig,
    record: Record,
    check: Callable[[Decision], None] = lambda decision: None,
) -> Saved:
    while decision.carried is not None:
        check(decision)
        event = decision.carried.event
        if append_events(store, decision.log, [event], author_of(config), config.reason):
            break
        # Another process was faster.
        decision = _decide(store, decision.made, config, record)
    return decision.saved()


def _what_is_missing(record: Record, places: dict[str, str], context: Context) -> list[str]:
    """In what a run's clusters are no longer the corpus, one sentence each."""
    notes = []
    store, registry, models = context.store, context.registry, context.models
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


def checked_save(
    made: tag_log.Event,
    events: Sequence[tag_log.Event],
    state: tag_log.State,
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
                "The property {property!r} has no tags that `matches` (`--match`) could name: "
                "save without it.",
                id="no-tags-to-match",
                property=made.property,
            )
        return CarryOver(made, [])
    latest = tag_log.latest_save(events, made.property)
    if config.replace:
        fresh = tag_log.replay([made])
        pairs = {(tag_id, image_id) for tag_id in known for image_id in state.members[tag_id]}
        tags = [state.tags[tag_id] for tag_id in known]
        if tag_log.in_tree_order(tags) == fresh.tags and pairs == fresh.images.keys():
            return None
        return CarryOver(dataclasses.replace(made, tag_ids=tuple(sorted(known))), [])
    if latest and _same(latest, made) and not config.matches:
        return None
    if latest is None or latest.run_key != made.run_key:
        free = tag_log.free_name(made.property, state.properties)
        if latest is None:
            raise InputError(
                "The property {property!r} already holds other tags, which people made. Save "
                "under a new name, such as {free!r} (`property`, `--property`), or set `replace: "
                "true` (`--replace`).",
                id="property-of-peoples-tags",
                property=made.property,
                free=free,
            )
        raise InputError(
            "The property {property!r} already holds other tags, saved from run {run_key!r}. Save "
            "under a new name, such as {free!r} (`property`, `--property`), or set `replace: "
            "true` (`--replace`).",
            id="property-of-another-run",
            property=made.property,
            run_key=latest.run_key,
            free=free,
        )
    try:
        found = carry_over(
            latest, made, state, means, config.min_overlap, config.matches, config.depth
        )
    except CarryOverError as error:
        raise InputError.of(error) from error
    return None if _same(latest, found.event) and not found.event.tag_ids else found


def _same(one: tag_log.Event, other: tag_log.Event) -> bool:
    """Whether two saves give the same tags, of the same clusters, to the same images."""

    def clusters(event: tag_log.Event) -> set[tuple[str, str | None, str | None]]:
        return {(tag.tag_id, tag.record_id, tag.node) for tag in event.tags}

    return clusters(one) == clusters(other) and set(one.images) == set(other.images)


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


def _under(made: tag_log.Event, property_name: str) -> tag_log.Event:
    """A first save, under its property as that is written where it is known already."""
    if made.property == property_name:
        return made
    tags = tuple(dataclasses.replace(tag, property=property_name) for tag in made.tags)
    return dataclasses.replace(made, property=property_name, tags=tags)


def author_of(config: SaveConfig | EditsConfig) -> str:
    """Who changes tags: as configured, else the user of the system."""
    return config.author or system_user()


def saved(
    store: LanceStore,
    clusterings: Clusterings,
    run_key: str,
    property_name: str,
    depth: int | None = None,
    use_labels: bool = True,
) -> tag_log.Event:
    """The event that saves a run's tree, as it is, under a property; stale clusterings left out.

    A tag is called by its cluster's label, since somebody asked for one; else by the name that the
    method gave, such as the tag that images were attached to; else by its number.

    Args:
        store: The store.
        clusterings: Those of the run.
        run_key: The run.
        property_name: The property.
        depth: Levels of the tree; all by default.
        use_labels: Whether labels are taken.

    Raises:
        InputError: There is no such run.
    """
    clusterings.get(run_key)
    valid = clusterings.valid(run_key).items()
    nodes = clusterings.nodes(run_key)
    # Numbers as well: a label may be one.
    names = {node: node.rpartition("/")[2] for node in nodes} | clusterings.names(run_key)
    if use_labels:
        labels = read_labels(store, clusterings, run_key)
        names |= {
            node: _as_name(row["label"])
            for node, row in labels.items()
            if node in names and row["label"]
        }
    return tag_log.save_event(
        property_name,
        run_key,
        nodes,
        {key: (record.record_id, record.output) for key, record in valid},
        clusterings.places(run_key),
        REMAINDER_NAME,
        tag_log.tag_names(names, tag_log.LONGEST_NAME),
        depth,
    )


def _as_name(label: str) -> str:
    """A label as the name of one tag: on one line, and no path."""
    return cleaned(label).replace(tag_log.HIERARCHY.strip(), "›")
