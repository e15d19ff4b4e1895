"""Reconciling the store with Dagster: reading both, and mending what they do not agree on.

Belongs here: what is in the store and in a Dagster instance, telling Dagster of the one, and
removing from the store what is gone from the other. Does not belong here: comparing them
(``upkeep.mismatches``), and the jobs (``upkeep.changes``).
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import dagster as dg

from panoptic_assets.clustering.mark_log import append_mark, read_marks, withdrawn_records
from panoptic_assets.clustering.table import Clusterings, all_records
from panoptic_assets.labels.assets import cluster_labels, stored_labels_shown
from panoptic_assets.labels.table import same_labels, stored_labels, write_labels
from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.orchestration.partitions import NODES, RUNS
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import run_key_of
from panoptic_assets.spec.marks import labels_due
from panoptic_assets.spec.people import system_user
from panoptic_assets.tags.saving import Saved
from panoptic_assets.tags.table import read_log
from panoptic_assets.upkeep import removing
from panoptic_assets.upkeep.backfill import Teller
from panoptic_assets.upkeep.config import ReconcileConfig
from panoptic_assets.upkeep.mismatches import (
    ASSETS,
    CLUSTERINGS,
    InDagster,
    InStore,
    Mismatch,
    asset_of,
    deleted_in_dagster,
    family_of,
    mismatches,
)
from panoptic_assets.upkeep.refreshing import RefreshStep
from resources.lance import LanceStore, quoted
from resources.registry import Registry

_AT_ONCE = 200
"""Materializations that are read from the event log at once."""


def find_mismatches(
    instance: dg.DagsterInstance,
    store: LanceStore,
    registry: Registry,
    run_keys: Collection[str] | None = None,
) -> list[Mismatch]:
    """All that a store and a Dagster instance do not agree on.

    Args:
        instance: The instance.
        store: The store.
        registry: The files of ``configs``.
        run_keys: Only of these runs; of all by default.
    """
    return mismatches(in_store(store, registry, run_keys), in_dagster(instance, run_keys), run_keys)


def in_store(
    store: LanceStore, registry: Registry, run_keys: Collection[str] | None = None
) -> InStore:
    """What Dagster should know of; of other runs than these it may be left out."""
    [run_key] = run_keys if run_keys is not None and len(run_keys) == 1 else [None]
    clusterings = Clusterings(store, run_key)
    versions: dict[tuple[str, str], str | None] = {
        (asset_of(key), key): record.data_version for key, record in clusterings.records.items()
    }
    # What cannot be read is there all the same.
    versions |= {(asset_of(key), key): None for key in clusterings.unreadable}
    runs = {key for asset, key in versions if asset == "clustering"}
    gone = withdrawn_records(store)  # a new run of a key does not have the labels of a removed one
    rows = store.read("labels", ["run_key", "record_id"]).to_pylist()
    labelled = {row["run_key"] for row in rows if row["record_id"] not in gone}
    versions |= {("cluster_labels", key): None for key in runs & labelled}
    versions |= {("saved_clustering", key): None for key in runs & _saves(store).keys()}
    of_run = None if run_key is None else f"run_key = {quoted(run_key)}"
    once = set(store.read("records", ["key"], of_run)["key"].to_pylist())
    registered = {key for key in once if registry.run_file(key).is_file()}
    return InStore(versions, once, registered)


def _saves(store: LanceStore) -> dict[str, list[tag_log.Event]]:
    """For each run that is saved, the last save of each of its properties.

    Not those of clusterings that were removed, whose tags stayed.
    """
    gone = withdrawn_records(store)
    events = [entry.event for entry in read_log(store, with_images=False)]
    found: dict[str, list[tag_log.Event]] = {}
    for name in dict.fromkeys(event.property for event in events if event.kind == "save"):
        latest = tag_log.latest_save(events, name)
        if latest is None or latest.run_key is None:
            continue
        if not latest.tags or any(tag.record_id not in gone for tag in latest.tags):
            found.setdefault(latest.run_key, []).append(latest)
    return found


def in_dagster(instance: dg.DagsterInstance, run_keys: Collection[str] | None = None) -> InDagster:
    """What a Dagster instance knows of runs and nodes; of all, or of these."""
    versions: dict[tuple[str, str], str | None] = {}
    for asset in ASSETS:
        key = dg.AssetKey(asset)
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        latest = {
            partition: number
            for partition, number in latest.items()
            if run_keys is None or run_key_of(partition) in run_keys
        }
        versions |= {(asset, partition): None for partition in latest}
        if asset in CLUSTERINGS:
            ids = sorted(latest.values())
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                asked = dg.AssetRecordsFilter(asset_key=key, storage_ids=some)
                for record in instance.fetch_materializations(asked, limit=len(some)).records:
                    versions[asset, str(record.partition_key)] = insides.version_of(record)
    families = [str(family.name) for family in (RUNS, NODES)]
    partitions = {name: frozenset(instance.get_dynamic_partitions(name)) for name in families}
    return InDagster(partitions, versions)


def follow_store(
    instance: dg.DagsterInstance,
    context: Context,
    run_keys: Collection[str] | None = None,
    relabelled: Collection[str] = (),
) -> Iterator[dg.AssetMaterialization]:
    """Tell Dagster what is in the store, and let it forget what is not.

    Args:
        instance: The instance.
        context: What is read.
        run_keys: Only of these runs; of all by default.
        relabelled: Runs whose labels Dagster is told of again, though it knows some.
    """
    store, registry = context.store, context.registry

    def found() -> list[Mismatch]:
        return find_mismatches(instance, store, registry, run_keys)

    for one in found():
        if one.what == "no partition":
            instance.add_dynamic_partitions(family_of(one.asset), [one.key])
    # Below a partition that is back, all may be as it was.
    for one in found():
        if one.what == "nothing in the store":
            _forget(instance, context, one)
        else:
            yield from _told(instance, store, one)
    for run_key in relabelled:
        if stored_labels(store, run_key):
            yield from _told(
                instance, store, Mismatch("cluster_labels", run_key, "another version")
            )


def _forget(instance: dg.DagsterInstance, context: Context, one: Mismatch) -> None:
    insides.remove_materializations(instance, dg.AssetKey(one.asset), [one.key])
    if one.asset not in CLUSTERINGS:
        return
    # Pages of a run that this store never had may be those of another copy of it.
    if one.asset == "clustering" and all_records(context.store, one.key):
        removing.remove_pages(context.reports, one.key)
    if not context.registry.run_file(one.key).is_file():
        instance.delete_dynamic_partition(family_of(one.asset), one.key)


def _told(
    instance: dg.DagsterInstance, store: LanceStore, one: Mismatch
) -> Iterator[dg.AssetMaterialization]:
    teller, clusterings = Teller(instance, store), Clusterings(store, run_key_of(one.key))
    if one.asset in CLUSTERINGS and one.key in clusterings.records:
        yield from teller.materialized(
            RefreshStep(one.key, "same", "", clusterings.records[one.key])
        )
    elif one.asset == "cluster_labels" and one.key in clusterings.records:
        shown, version = stored_labels_shown(store, clusterings, one.key)
        yield teller.made(cluster_labels, one.key, version, shown)
    elif one.asset == "saved_clustering" and one.key in clusterings.records:
        events = [entry.event for entry in read_log(store)]
        for name in [event.property for event in _saves(store)[one.key]]:
            if event := tag_log.latest_save(events, name):
                saved = Saved(name, event, [], False, events)
                yield from teller.materialized(RefreshStep(one.key, "same", "", saved=saved))


def follow_dagster(
    context: Context, config: ReconcileConfig, found: Iterable[Mismatch]
) -> list[str]:
    """Remove from the store what somebody deleted in Dagster; the marks by which it can be undone.

    Saved tags stay, and so do clusterings that Dagster tells another version of.

    Args:
        context: What is read and written.
        config: Who follows.
        found: Mismatches.

    Raises:
        InputError: A part of a run cannot be read.
    """
    keys, labelled = deleted_in_dagster(found)
    done = []
    reason = "deleted in Dagster"
    for key in keys:
        asked = {"key": key, "author": config.author, "reason": reason}
        given = {name: value for name, value in asked.items() if value}
        done.append(removing.store(removing.prepare(context.now(), "", given)).id)
    for run_key in labelled:
        before = stored_labels(context.store, run_key)
        number = append_mark(
            context.store,
            "labels",
            run_key,
            config.author or context.author or system_user(),
            reason,
            dagster_run_id=context.dagster_run_id,
            records=tuple(sorted({row["record_id"] for row in before})),
            content={"before": before, "after": []},
        )
        write_labels(context.store, run_key, [])
        done.append(f"mark-{number}")
    return done


def mend_labels(store: LanceStore) -> list[str]:
    """Write the labels that a process which was killed left as they were; the runs.

    Args:
        store: The store.
    """
    mended = []
    for run_key, rows in labels_due(read_marks(store)).items():
        if not same_labels(stored_labels(store, run_key), rows):
            write_labels(store, run_key, rows)
            mended.append(run_key)
    return mended


def as_rows(found: Iterable[Mismatch]) -> list[dict[str, Any]]:
    """Mismatches as plain data."""
    return [{**vars(one), "text": one.text} for one in found]
