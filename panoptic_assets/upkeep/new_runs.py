"""Jobs by which new runs are asked for in Dagster's Launchpad: the whole configuration, laid out.

Belongs here: one job for each clustering method, and one that divides a cluster. Does not belong
here: what they compute (``clustering.dividing``), and the jobs that automation asks for
(``upkeep.jobs``), whose configuration is the key's own.

The Launchpad of an asset opens empty, that of a job of a partitioned asset with the defaults of the
asset, to which it adds the job's own, and neither takes a new partition (Dagster 1.13). So these
are jobs of an op, in whose configuration the key stands beside all else; what it makes is reported
as its asset's.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from panoptic_assets.clustering import dividing
from panoptic_assets.clustering.assets import clustering, divided, nested_clustering
from panoptic_assets.clustering.config import METHODS, ClusteringConfig, NestedClusteringConfig
from panoptic_assets.clustering.methods import KMeans, MethodConfig
from panoptic_assets.orchestration.acting import Acts
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.orchestration.insides import version_tags
from panoptic_assets.orchestration.partitions import PARSERS
from panoptic_assets.orchestration.running import CLUSTERINGS_POOL, plain_failures
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.resolution import Document
from panoptic_assets.upkeep.staleness_checks import report_clustering

_PREFIX = "cluster_by_"
_DIVIDE = "divide_cluster"


class _NewRun(ClusteringConfig):
    """A run that is asked for by a job."""

    key: str = Field(default="", description="The new run's key, such as greek-vases.")


class _NewDivision(NestedClusteringConfig):
    """A cluster that a job is asked to divide."""

    key: str = Field(default="", description="The cluster to divide, such as greek/3.")


def _op(name: str, asset: dg.AssetsDefinition, config: type[Parameters]) -> dg.OpDefinition:
    """An op that does what an asset does, for the key in its configuration."""
    schema = schema_of(config)

    @dg.op(
        name=name,
        description=f"Does what the asset `{asset.key.to_user_string()}` does, for a key.",
        config_schema=schema,
        pool=CLUSTERINGS_POOL,
        out=dg.Out(dg.Nothing),
        tags={"kind": "scikitlearn"},
    )
    def divide(
        context: dg.OpExecutionContext, acts: dg.ResourceParam[Acts]
    ) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
        key, given = _read(context.op_config)
        family = str(asset.partitions_def.name)  # type: ignore[union-attr]
        with plain_failures():
            PARSERS[family](key)
            name = asset.key.to_user_string()
            plan = acts.plan_of(context, name, key, given, dividing.prepare)
            made = divided(context, plan)
        assert made.data_version is not None  # noqa: S101
        code_version = asset.get_asset_spec(asset.key).code_version
        yield dg.AssetMaterialization(
            asset.key,
            partition=key,
            metadata=made.metadata or {},
            tags=version_tags(made.data_version, code_version),
        )
        report_clustering(context, asset, key, acts.context_after(context.run_id))
        yield dg.Output(None)

    return divide


def _read(config: Mapping[str, Any]) -> tuple[str, Document]:
    """The key, and what is given for it: what is empty is not, which a Launchpad writes as well."""
    given = {name: value for name, value in config.items() if value not in ("", None)}
    return str(given.pop("key", "")), given


def _job(
    name: str,
    op: dg.OpDefinition,
    config: type[Parameters],
    method: type[MethodConfig],
    description: str,
) -> dg.JobDefinition:
    # A job's configuration must be whole: what must be given is asked for by the op's schema.
    fields = method.model_fields.values()
    whole = None if any(field.is_required() for field in fields) else _laid_out(config, method)
    return dg.GraphDefinition(name=name, node_defs=[op]).to_job(
        name=name,
        description=description,
        config=None if whole is None else {"ops": {op.name: {"config": whole}}},
    )


def _laid_out(config: type[Parameters], method: type[MethodConfig]) -> Document:
    """All fields with their defaults, those that are empty too, and one method of all.

    Read from the fields: an object would need its class's validator, which takes longer to make
    than all of this.
    """
    document = _defaults(config)
    if "scope" in document:
        document["scope"] = {name_of(type(document["scope"])): {}}
    parameters = {name: value for name, value in _defaults(method).items() if name != "name"}
    return {**document, "method": {name_of(method): parameters}}


def _defaults(config: type[Parameters]) -> dict[str, Any]:
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in config.model_fields.items()
    }


def _jobs_by_method() -> dict[str, dg.JobDefinition]:
    """By their names, without the hyphens that those of other packages' methods may have."""
    op = _op("cluster", clustering, _NewRun)
    found: dict[str, dg.JobDefinition] = {}
    for method in METHODS:
        name = f"{_PREFIX}{name_of(method).removeprefix(_PREFIX).replace('-', '_')}"
        said = " ".join((inspect.getdoc(method) or name_of(method)).split("\n\n")[0].split())
        if name not in found:
            told = f"{said} Makes a new run: its key and parameters are edited in the Launchpad."
            found[name] = _job(name, op, _NewRun, method, told)
    return found


def asked_of(job: str, run_config: Mapping[str, Any]) -> tuple[str, str, Document] | None:
    """The act that a Dagster run of one of these jobs is: asset, key, and what is given for it.

    None of other jobs, and of one that is asked for without a configuration.
    """
    asset, op = ("nested_clustering", "divide") if job == _DIVIDE else ("clustering", "cluster")
    document = ((run_config.get("ops") or {}).get(op) or {}).get("config")
    if (job not in cluster_by and job != _DIVIDE) or not isinstance(document, dict):
        return None
    return asset, *_read(document)


cluster_by = _jobs_by_method()
"""The jobs that make new runs, by name: one for each method."""

divide_cluster = _job(
    _DIVIDE,
    _op("divide", nested_clustering, _NewDivision),
    _NewDivision,
    KMeans,
    "Divides one cluster of a run again, by k-means or by the method that takes its place: the "
    "cluster (greek/3) and the parameters are edited in the Launchpad.",
)
