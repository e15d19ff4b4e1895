"""Asset checks, whatever they judge: their specifications, results and reports.

Belongs here: what all checks have in common. Does not belong here: what is judged
(beside each asset).
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from panoptic_assets.orchestration.insides import about


@dataclass(frozen=True)
class ContractVerdict:
    """Whether one contract holds."""

    check: str
    passed: bool
    found: dict[str, Any]
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


def specs(asset: dg.AssetsDefinition, checks: dict[str, str]) -> list[dg.AssetCheckSpec]:
    """Checks of an asset, by name and description, for each of its partitions."""
    with warnings.catch_warnings():
        # Checks by partition are a preview in Dagster 1.13; without them, the check of one vector
        # type would hide that of another.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name, asset=asset, description=text, partitions_def=asset.partitions_def
            )
            for name, text in checks.items()
        ]


def evaluation_of(asset: dg.AssetsDefinition, verdict: ContractVerdict) -> dg.AssetCheckEvaluation:
    """What is reported of a contract of an asset without partitions, from elsewhere than its check.

    Args:
        asset: The asset.
        verdict: Whether the contract holds.
    """
    return dg.AssetCheckEvaluation(
        asset_key=asset.key,
        check_name=verdict.check,
        passed=verdict.passed,
        severity=verdict.severity,
        metadata=verdict.found,
    )


def report_evaluation(
    context: dg.OpExecutionContext,
    asset_key: dg.AssetKey,
    check: str,
    partition: str,
    verdict: Mapping[str, Any],
) -> None:
    """Report the result of a check of one partition from a job that judges many.

    Args:
        context: Of the job.
        asset_key: The asset.
        check: The check's name.
        partition: The partition.
        verdict: passed, severity, description and metadata.
    """
    filtered = dg.AssetRecordsFilter(asset_key, asset_partitions=[partition])
    target = next(iter(context.instance.fetch_materializations(filtered, limit=1).records), None)
    # An event without a run would be refused the second time: Dagster 1.13 keeps one evaluation for
    # each check, partition and run. (This method's annotation lacks what it takes.)
    context.log_event(
        dg.AssetCheckEvaluation(  # type: ignore[arg-type]
            asset_key=asset_key,
            check_name=check,
            partition=partition,
            target_materialization_data=about(target),
            **verdict,
        )
    )


def selected(
    context: dg.AssetCheckExecutionContext,
    asset: dg.AssetsDefinition,
    descriptions: Mapping[str, str],
    verdicts: Iterable[ContractVerdict],
) -> Iterator[dg.AssetCheckResult]:
    """The results that were asked for; all of an asset's cost little more than one.

    Args:
        context: Of the checks.
        asset: The asset.
        descriptions: By the checks' names.
        verdicts: On all checks of the asset.
    """
    for verdict in verdicts:
        if dg.AssetCheckKey(asset.key, verdict.check) in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(
                asset_key=asset.key,
                check_name=verdict.check,
                passed=verdict.passed,
                severity=verdict.severity,
                description=descriptions[verdict.check],
                metadata=verdict.found,
            )
