"""Refreshing runs inside Dagster: the job that applies each run's policy.

Belongs here: ``backfill_runs``, and the materializations by which Dagster knows what it made. Does
not belong here: what a policy does (``panoptic_assets.upkeep.refreshing``).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, clustering_metadata, nested_clustering
from panoptic_assets.clustering.dividing import Dividing
from panoptic_assets.clustering.table import Clusterings, read_clustering
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.insides import version_of, version_tags
from panoptic_assets.orchestration.partitions import NODES, RUNS
from panoptic_assets.orchestration.running import CLUSTERINGS_POOL, failure_of, plain_failures
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.resolution import parse
from panoptic_assets.tags.assets import (
    save_metadata,
    save_version,
    saved_clustering,
    tags,
    tags_metadata,
    tags_version,
)
from panoptic_assets.tags.table import read_log, write_tags
from panoptic_assets.upkeep.config import BackfillConfig
from panoptic_assets.upkeep.refreshing import RefreshStep, RunRefresh
from panoptic_assets.upkeep.refreshing import refresh_runs as refreshed
from resources.errors import PlainError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry

_RUNS_SHOWN = 200
_SAVES = 20
"""Materializations in which a save is looked for."""


@dg.op(config_schema=schema_of(BackfillConfig), pool=CLUSTERINGS_POOL, out=dg.Out(dg.Nothing))
def backfill(
    context: dg.OpExecutionContext,
    store: dg.ResourceParam[LanceStore],
    models: dg.ResourceParam[OpenClipModels],
    registry: dg.ResourceParam[Registry],
) -> Iterator[Any]:
    """Apply each run's refresh policy to all runs, or to some."""
    with plain_failures():
        config = parse(BackfillConfig, {k: v for k, v in context.op_config.items() if v})
        dividing = Dividing(store, models, registry, context.run_id, context.log.info)
        reporter = Teller(context.instance, store)
        done: list[RunRefresh] = []
        for item in refreshed(dividing, config):
            if isinstance(item, RunRefresh):
                done.append(item)
            else:
                yield from reporter.materialized(item)
        if any(result.policy != "keep" for result in done):
            yield from reporter.tags()
    metadata = summary(done)
    if fault := next((result.fault for result in done if result.fault), None):
        raise fault
    if failed := [result for result in done if result.failed]:
        error = PlainError(
            "{nb_failed} of {nb_runs} runs could not be refreshed as a whole; first: {run_key}: "
            "{happened}",
            id="runs-not-refreshed",
            nb_failed=len(failed),
            nb_runs=len(done),
            run_key=failed[0].run_key,
            happened=failed[0].happened,
        )
        raise failure_of(error, metadata)
    yield dg.Output(None, metadata=metadata)


@dg.job(
    description="Applies the refresh policy of each run (`refresh` in configs/runs) to all runs, "
    "or to those that are named; the same as `panoptic-assets backfill`."
)
def backfill_runs() -> None:
    """See its description."""
    backfill()


def summary(done: Sequence[RunRefresh]) -> dict[str, Any]:
    """What became of runs, as Dagster shows it.

    Holds nb_runs, nb_kept (whose policy is ``keep``), nb_failed, runs (a table) and results: for
    each that was not kept run_key, policy, failed, happened, message (why it failed as a whole),
    drift, and steps: key, what and text of each clustering and property; if there are several runs,
    without those that were up to date.
    """
    others = [result for result in done if result.policy != "keep"]
    rows = [_as_row(result, len(done) == 1) for result in others]
    shown = [[row["run_key"], row["policy"], row["happened"], drift_text(row)] for row in rows]
    return {
        "nb_runs": len(done),
        "nb_kept": len(done) - len(others),
        "nb_failed": sum(result.failed for result in done),
        "runs": dg.MetadataValue.md(
            table(["run", "policy", "what happened", "drift"], shown, _RUNS_SHOWN)
        ),
        "results": dg.MetadataValue.json(rows),
    }


def _as_row(result: RunRefresh, all_steps: bool) -> dict[str, Any]:
    drift = result.drift
    return {
        "run_key": result.run_key,
        "policy": result.policy,
        "failed": result.failed,
        "happened": result.happened,
        "message": result.message,
        "steps": [
            {"key": step.key, "what": step.what, "text": step.text}
            for step in result.steps
            if all_steps or step.what != "same"
        ],
        "drift": drift.model_dump() if drift else None,
    }


def drift_text(row: dict[str, Any]) -> str:
    """The drift of a run in a few words; empty if there is none."""
    drift = row["drift"]
    if not drift:
        return ""
    novelty = "–" if drift["novelty"] is None else f"{drift['novelty']:.0%}"
    due = ", due" if drift["due"] else ""
    return f"novelty {novelty}, growth {drift['growth']:.0%}{due}"


class Teller:
    """Tells Dagster what was made, as if the assets had been materialized one by one.

    What a run that was killed made and did not tell any more is told by the next one.
    """

    def __init__(self, instance: dg.DagsterInstance, store: LanceStore):
        self._instance, self._store = instance, store

    def materialized(self, step: RefreshStep) -> Iterator[dg.AssetMaterialization]:
        """The materialization of a step, if Dagster does not know what it made."""
        if step.saved is not None:
            version = save_version(step.saved.event)
            if not self._knows(saved_clustering, step.key, version):
                self._instance.add_dynamic_partitions(str(RUNS.name), [step.key])
                clusterings = Clusterings(self._store, step.key)
                shown = save_metadata(self._store, step.key, clusterings, step.saved, [])
                read = self._latest(clustering, step.key)
                yield self.made(saved_clustering, step.key, version, shown, clustering, read)
        record = step.record
        if record is None:
            return
        asset = nested_clustering if "/" in record.key else clustering
        version = dg.DataVersion(record.data_version)
        if self._knows(asset, record.key, version):
            return
        partitions = NODES if asset is nested_clustering else RUNS
        self._instance.add_dynamic_partitions(str(partitions.name), [record.key])
        answer = step.answer or read_clustering(self._store, record)
        yield self.made(
            asset, record.key, version, clustering_metadata(self._store, record, answer)
        )

    def tags(self) -> Iterator[dg.AssetMaterialization]:
        """The tags, after the replay of their log, if Dagster does not know them."""
        replayed_at = None
        while replayed_at != (replayed_at := self._store.version("tag_log")):
            # Once more where somebody has edited tags meanwhile, whose replay this one may undo.
            events = [entry.event for entry in read_log(self._store)]
            if not events:
                return
            replayed = tag_log.replay(events)
            write_tags(self._store, replayed)
        version = tags_version(replayed)
        if not self._knows(tags, None, version):
            read = self._latest(saved_clustering, None)
            shown = tags_metadata(replayed, len(events), 0)
            yield self.made(tags, None, version, shown, saved_clustering, read)

    def _latest(self, asset: dg.AssetsDefinition, partition: str | None) -> Any | None:
        return next(iter(self._records(asset, partition, 1)), None)

    def _records(
        self, asset: dg.AssetsDefinition, partition: str | None, number: int
    ) -> Sequence[Any]:
        wanted = dg.AssetRecordsFilter(
            asset_key=asset.key, asset_partitions=None if partition is None else [partition]
        )
        return self._instance.fetch_materializations(wanted, limit=number).records

    def _knows(
        self, asset: dg.AssetsDefinition, partition: str | None, version: dg.DataVersion
    ) -> bool:
        # A run may be saved under several properties, each of them a save of one partition.
        number = _SAVES if asset is saved_clustering else 1
        return version.value in map(version_of, self._records(asset, partition, number))

    def made(
        self,
        asset: dg.AssetsDefinition,
        partition: str | None,
        version: dg.DataVersion,
        shown: dict[str, Any],
        read_asset: dg.AssetsDefinition | None = None,
        read: Any | None = None,
    ) -> dg.AssetMaterialization:
        """The materialization of something, as its asset would have reported it.

        Args:
            asset: Its asset.
            partition: Its partition; None without partitions.
            version: What Dagster compares of it.
            shown: What Dagster shows of it.
            read_asset: An asset that was read for it.
            read: The record of what that had then.
        """
        was_read = None
        if read_asset is not None and read is not None:
            was_read = read_asset.key.to_user_string(), read
        told = version_tags(version, asset.get_asset_spec(asset.key).code_version, was_read)
        return dg.AssetMaterialization(asset.key, partition=partition, metadata=shown, tags=told)
