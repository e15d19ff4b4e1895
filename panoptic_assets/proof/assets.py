"""Verification in Dagster: the asset check ``verified``, and the job that verifies all runs.

Belongs here: when clusterings are verified, and in what form Dagster shows the verdict. Does not
belong here: verifying (``proof.verification``).

The check computes a clustering again, which costs as much as it did the first time. So it says
nothing in a run that materializes it, which Dagster would otherwise let it follow each time: it is
run by itself (in the UI: the asset's checks, Execute), or by the job ``verify_runs``.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from panoptic_assets.clustering.assets import clustering, nested_clustering
from panoptic_assets.orchestration.asset_checks import report_evaluation, specs
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.running import failure_of, partition_of, plain_failures
from panoptic_assets.proof.config import VerifyConfig
from panoptic_assets.proof.verdict import MARKS, Verdict, Witness
from panoptic_assets.proof.verification import Verifier
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.resolution import parse
from resources.errors import InputError, PlainError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.source import ImageSource

CHECK = "verified"
_DESCRIPTION = (
    "Computed again on its recorded inputs, it gives the same answer, pixels, vectors, parameters, "
    "figures and stored clusters are what was recorded, and Dagster's event log has its seal."
)
_PAGE = 100
"""Materializations of a key that are read from the log at once."""
_TEXT_SHOWN = 200


def seals_in_log(instance: dg.DagsterInstance) -> Witness:
    """What Dagster's event log says of the seals of records: for each, what was said first.

    The run that made a record tells its seal. So does each later run that computes the key again
    and leaves the record as it is, and, after a run that was killed, the one that tells what it
    made: these are what retention keeps of an old record.
    """

    def root(record: Record) -> str | None:
        asked = dg.AssetRecordsFilter(_asset_of(record.key), asset_partitions=[record.key])
        told, cursor = None, None
        while True:
            page = instance.fetch_materializations(asked, limit=_PAGE, cursor=cursor)
            for found in page.records:  # the newest first
                event = found.asset_materialization
                if event is None or "seal" not in event.metadata:
                    continue
                own = found.run_id == record.dagster_run_id
                if own or _named(event) == (record.revision, record.dagster_run_id[:8]):
                    told = str(event.metadata["seal"].value)
                if own:
                    return told
            if not page.has_more:
                return told
            cursor = page.cursor

    return root


def _named(event: dg.AssetMaterialization) -> tuple[Any, str] | None:
    """Of the record that a materialization tells of, what its id says beside the key."""
    shown = event.metadata.get("record")
    content = shown.value if shown else None
    if not isinstance(content, dict):
        return None
    return content.get("revision"), str(content.get("dagster_run_id"))[:8]


def _check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """The check of one partition of an asset."""

    @dg.multi_asset_check(
        name=f"verified_{asset.key.to_user_string()}",
        specs=specs(asset, {CHECK: _DESCRIPTION}),
        can_subset=True,
    )
    def verified(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[LanceStore],
        models: dg.ResourceParam[OpenClipModels],
        registry: dg.ResourceParam[Registry],
        source: dg.ResourceParam[ImageSource],
    ) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        if asset.key in context.job_def.asset_layer.selected_asset_keys:
            # This very run makes what would be verified. An output without a result, since Dagster
            # logs in each run what a step leaves out.
            for name in context.op_execution_context.selected_output_names:
                yield dg.Output(None, name)
            return
        with plain_failures():
            verifier = _verifier(context, store, models, registry, source)
            verdict = verifier.verify(partition_of(context))
        yield dg.AssetCheckResult(asset_key=asset.key, check_name=CHECK, **_shown(verdict))

    return verified


verified_clustering = _check(clustering)
verified_nested_clustering = _check(nested_clustering)


@dg.op(tags={"kind": "lancedb"}, config_schema=schema_of(VerifyConfig))
@plain_failures()
def verify_clusterings(
    context: dg.OpExecutionContext,
    store: dg.ResourceParam[LanceStore],
    models: dg.ResourceParam[OpenClipModels],
    registry: dg.ResourceParam[Registry],
    source: dg.ResourceParam[ImageSource],
) -> None:
    """Verify runs one after the other, whatever becomes of each; fails if one is not proved."""
    config = parse(VerifyConfig, context.op_config)
    verifier = _verifier(context, store, models, registry, source, config.pixels)
    # Refused here, before anything is computed.
    keys = [found for key in config.keys for found in verifier.keys(key)]
    keys = list(dict.fromkeys(keys)) if config.keys else verifier.all_keys()
    failed, nb_without_witness = [], 0
    for key in keys:
        try:
            verdict = verifier.verify(key)
        except InputError as error:  # it was made anew meanwhile
            context.log.warning(f"{key}: {error}")
            failed.append(key)
            continue
        context.log.info(f"{key}: {verdict.summary}")
        report_evaluation(context, _asset_of(key), CHECK, key, _shown(verdict))
        nb_without_witness += verdict.proved and not verdict.witnessed
        if verdict.failed:
            failed.append(key)
    context.add_output_metadata(
        {
            "nb_clusterings": len(keys),
            "nb_not_proved": len(failed),
            "nb_without_witness": nb_without_witness,
        }
    )
    if failed:
        raise failure_of(
            PlainError(
                "Not proved: {nb_failed:,} of {nb_clusterings:,} clusterings: {failed}. Their "
                "checks say which link differs.",
                id="clusterings-not-proved",
                nb_failed=len(failed),
                nb_clusterings=len(keys),
                failed=", ".join(failed[:20]),
            )
        )


@dg.job(description="Verifies every run, and reports each as the asset check `verified`.")
def verify_runs() -> None:
    """The same as ``panoptic-assets verify --all``, for schedules and the UI."""
    verify_clusterings()


def _verifier(
    context: dg.AssetCheckExecutionContext | dg.OpExecutionContext,
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
    source: ImageSource,
    pixels: bool = True,
) -> Verifier:
    return Verifier(
        store, models, registry, source, context.log.info, seals_in_log(context.instance), pixels
    )


def _shown(verdict: Verdict) -> dict[str, Any]:
    """The verdict in the words of Dagster's checks.

    A proof without a witness is a warning: somebody should look, and nothing is known to be wrong.
    """
    rows = [[MARKS[link.state], link.name, link.text[:_TEXT_SHOWN]] for link in verdict.links]
    grave = bool(verdict.broken)
    return {
        "passed": verdict.proved and verdict.witnessed,
        "severity": dg.AssetCheckSeverity.ERROR if grave else dg.AssetCheckSeverity.WARN,
        "description": verdict.summary,
        "metadata": {
            "record": dg.MetadataValue.text(verdict.record_id),
            "answer": dg.MetadataValue.text(verdict.answer),
            "links": dg.MetadataValue.md(table(["", "link", "found"], rows, len(rows))),
        },
    }


def _asset_of(key: str) -> dg.AssetKey:
    return (nested_clustering if "/" in key else clustering).key
