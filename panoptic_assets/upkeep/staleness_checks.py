"""Asset checks by partition: is this run, node, label set or save still up to date?

Belongs here: the checks ``up_to_date``, and the job that judges all partitions at once. Does not
belong here: what makes something stale (``upkeep.reasons``), and reading it (``upkeep.staleness``).

A check is judged with its asset's materialization, when it mostly passes. What changes afterwards
is found by the job, which reports only verdicts that differ from the last one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.labels.assets import cluster_labels
from panoptic_assets.orchestration.acting import Acts, Context
from panoptic_assets.orchestration.asset_checks import report_evaluation, specs
from panoptic_assets.orchestration.insides import latest_evaluation
from panoptic_assets.orchestration.partitions import NODES, RUNS
from panoptic_assets.orchestration.running import partition_of
from panoptic_assets.spec.keys import run_key_of
from panoptic_assets.spec.markdown import bullets
from panoptic_assets.spec.text import counted, some
from panoptic_assets.tags.assets import saved_clustering
from panoptic_assets.upkeep.reasons import Kind, Staleness
from panoptic_assets.upkeep.reconciling import find_mismatches
from panoptic_assets.upkeep.staleness import Judge
from resources.lance import LanceStore
from resources.registry import Registry

_CHECK = "up_to_date"
_MISMATCHES_SHOWN = 6

_OF_CLUSTERINGS: tuple[Kind, ...] = (
    "images_added",
    "images_removed",
    "images_changed",
    "images_embedded",
    "vectors_changed",
)
_COUNTED: dict[str, tuple[Kind, ...]] = {
    "clustering": _OF_CLUSTERINGS,
    "nested_clustering": _OF_CLUSTERINGS,
    "cluster_labels": ("labels_outdated", "clusters_unlabelled"),
    "saved_clustering": ("clusterings_renewed", "clusterings_unsaved", "clusterings_stale"),
}
"""For each asset what is always told, even if it is 0: the UI plots it."""
_DESCRIPTIONS = {
    "clustering": "Computed again now, the run would have the same answer.",
    "nested_clustering": "Divided again now, the cluster would have the same answer.",
    "cluster_labels": "The labels are of the clusters as they are now, and every cluster was "
    "looked at.",
    "saved_clustering": "The saved tags are the run's tree as it is now, and the run is up to "
    "date.",
}


def _check(
    asset: dg.AssetsDefinition, judged: Callable[[Judge, str], Sequence[Staleness]]
) -> dg.AssetChecksDefinition:
    """The check of one partition of an asset; several may be judged of a partition, or nothing."""
    name = asset.key.to_user_string()

    @dg.multi_asset_check(
        name=f"{name}_up_to_date", specs=specs(asset, {_CHECK: _DESCRIPTIONS[name]})
    )
    def up_to_date(
        context: dg.AssetCheckExecutionContext, acts: dg.ResourceParam[Acts]
    ) -> dg.AssetCheckResult:
        key, act = partition_of(context), acts.context_after(context.run.run_id)
        found = judged(Judge(act.store, act.registry, run_key_of(key)), key)
        return dg.AssetCheckResult(asset_key=asset.key, check_name=_CHECK, **_verdict(name, found))

    return up_to_date


clustering_up_to_date = _check(clustering, lambda judge, key: [judge.clustering(key)])
nested_clustering_up_to_date = _check(nested_clustering, lambda judge, key: [judge.clustering(key)])
cluster_labels_up_to_date = _check(cluster_labels, lambda judge, _: judge.labels())
saved_clustering_up_to_date = _check(saved_clustering, lambda judge, _: judge.saves())


def report_clustering(
    context: dg.OpExecutionContext, asset: dg.AssetsDefinition, key: str, act: Context
) -> None:
    """Judge a clustering that an op has made, as the check does that of its asset.

    Args:
        context: Of the op, which has reported the materialization.
        asset: ``clustering`` or ``nested_clustering``.
        key: The run or node.
        act: What is read.
    """
    judged = Judge(act.store, act.registry, run_key_of(key)).clustering(key)
    verdict = _verdict(asset.key.to_user_string(), [judged])
    report_evaluation(context, asset.key, _CHECK, key, verdict)


@dg.op
def judge_partitions(
    context: dg.OpExecutionContext,
    store: dg.ResourceParam[LanceStore],
    registry: dg.ResourceParam[Registry],
) -> dg.Output[None]:
    """Judge every partition, and report the checks whose verdict or reasons are others by now.

    And say what the store and Dagster do not agree on, such as a partition that was deleted.
    """
    instance = context.instance
    known = {
        definition.name: set(instance.get_dynamic_partitions(str(definition.name)))
        for definition in (RUNS, NODES)
    }
    of_places: dict[tuple[str, str], list[Staleness]] = defaultdict(list)
    for judged in Judge(store, registry).all():
        asset, partition = _place(judged)
        if partition in known[NODES.name if asset == "nested_clustering" else RUNS.name]:
            of_places[asset, partition].append(judged)
    nb_stale = nb_reported = 0
    for (asset, partition), staleness in of_places.items():
        verdict = _verdict(asset, staleness)
        nb_stale += not verdict["passed"]
        if _latest(instance, asset, partition) != verdict["description"]:
            report_evaluation(context, dg.AssetKey(asset), _CHECK, partition, verdict)
            nb_reported += 1
    context.log.info(f"{nb_reported:,} of {len(of_places):,} verdicts are others than before.")
    different = find_mismatches(instance, store, registry)
    if different:
        context.log.warning(
            f"The store and Dagster do not agree on {counted(len(different), 'partition')}: "
            f"{some([one.text for one in different], _MISMATCHES_SHOWN)}. The job `reconcile` "
            "(`panoptic-assets reconcile`) mends that."
        )
    return dg.Output(
        None,
        metadata={
            "nb_judged": len(of_places),
            "nb_stale": nb_stale,
            "nb_reported": nb_reported,
            "nb_mismatches": len(different),
        },
    )


@dg.job(
    description="Judges whether each run, node, label set and save is up to date, and reports the "
    "asset checks `up_to_date` whose verdict or reasons have changed. It computes nothing again."
)
def judge_runs() -> None:
    """See :func:`judge_partitions`."""
    judge_partitions()


def _place(judged: Staleness) -> tuple[str, str]:
    """The asset and the partition of what was judged."""
    if judged.what == "clustering":
        return "nested_clustering" if "/" in judged.key else "clustering", judged.key
    return "cluster_labels" if judged.what == "labels" else "saved_clustering", judged.run_key


def _verdict(asset: str, staleness: Iterable[Staleness]) -> dict[str, Any]:
    """What is reported of a partition; the description tells whether it is another verdict."""
    states = []
    lines = []
    counts: dict[str, int] = dict.fromkeys(_COUNTED[asset], 0)
    for judged in staleness:
        states.append(judged.state)
        of = f"{judged.key}: " if judged.what == "property" else ""
        lines += [f"{of}{reason.text}" for reason in judged.reasons]
        for kind, count in judged.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    worst = next((state for state in ("stale", "unknown") if state in states), "up to date")
    said = worst.capitalize() + (f": {'; '.join(lines)}" if lines else "")
    return {
        "passed": worst == "up to date",
        "severity": dg.AssetCheckSeverity.WARN,
        "description": f"{said}.",
        "metadata": {
            "state": worst,
            **{f"nb_{kind}": count for kind, count in counts.items()},
            **({"reasons": dg.MetadataValue.md(bullets(lines))} if lines else {}),
        },
    }


def _latest(instance: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    """The description of the last verdict on a partition; None if there is none."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), _CHECK)
    said = latest_evaluation(instance, key, partition)
    return said.description if said else None
