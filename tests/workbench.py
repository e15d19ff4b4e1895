"""One project with a Dagster instance of its own: materialize, or make without it, then read.

Does not belong here: whole commands (``tests/commands.py``).
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.execute_in_process import core_execute_in_process
from dagster._core.utils import make_new_run_id

from panoptic_assets.clustering import dividing
from panoptic_assets.corpus import ingestion, taking_inventory
from panoptic_assets.definitions import build_defs
from panoptic_assets.features import embedding, neighbor_graph, projecting
from panoptic_assets.labels import labelling
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.project import Project
from panoptic_assets.review import comparing, run_report
from panoptic_assets.tags import editing, recommending, saving
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import ProjectFolder, find
from resources.registry import Registry
from resources.report_folder import ReportFolder
from resources.source import ImageSource
from tests import instances as instances

PARTITIONS = {
    "embeddings": "vector_types",
    "neighbors": "vector_types",
    "projection": "projections",
    "clustering": "runs",
    "nested_clustering": "nodes",
    "saved_clustering": "runs",
    "cluster_labels": "runs",
    "clustering_report": "runs",
}


def resources_of(project: ProjectFolder) -> dict[str, object]:
    """What the assets of one project work with."""
    folder = str(project.folder)
    return {
        "source": ImageSource(root=project.images, storage_options=project.settings.images_options),
        "store": LanceStore(uri=project.store),
        "models": OpenClipModels(folder=folder),
        "registry": Registry(folder=folder),
        "reports": ReportFolder(folder=folder),
    }


@dg.resource(config_schema={"folder": str})
def _project(context):
    return resources_of(find(Path(context.resource_config["folder"])))


def _of_project(name):
    @dg.resource(required_resource_keys={"project"})
    def resource(context):
        return context.resources.project[name]

    return resource


@functools.cache
def _definitions() -> dg.Definitions:
    """The assets and checks of any project: which one, its run says."""
    names = ("source", "store", "models", "registry", "reports")
    definitions = build_defs(**{name: _of_project(name) for name in names})
    return dg.Definitions(
        assets=definitions.assets,
        asset_checks=definitions.asset_checks,
        resources={**definitions.resources, "project": _project},
        executor=dg.in_process_executor,
    )


@functools.cache
def _job(asset: str) -> dg.JobDefinition:
    """Materialize one asset of any project.

    Dagster's definitions, made anew for each run, are a third of the CPU seconds of a small one,
    and a worker that runs two thousand keeps 2 MB of each.
    """
    return job_of(_definitions(), asset)


@functools.cache
def _judging(asset: str, only: str | None) -> dg.JobDefinition:
    """Judge the contracts of one asset of any project, or one of them."""
    selection = dg.AssetSelection.checks_for_assets(dg.AssetKey(asset))
    if only is not None:
        selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), only))
    jobs = dg.Definitions(jobs=[dg.define_asset_job("judge", selection)])
    job = dg.Definitions.merge(_definitions(), jobs).resolve_job_def("judge")
    return job.as_ephemeral_job({}, {})


def job_of(definitions, asset) -> dg.JobDefinition:
    """Materialize one asset, in this process: to be made once, and executed again and again."""
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.as_ephemeral_job({}, {}, asset_selection=[dg.AssetKey(asset)])


def execute(job, instance, partition=None, **run_config) -> dg.ExecuteInProcessResult:
    """``execute_in_process`` of a job that was made before: it makes each time a new one."""
    return core_execute_in_process(
        job=InMemoryJob(job),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **run_config},
        instance=instance,
        output_capturing_enabled=True,
        raise_on_error=True,
        run_tags={"dagster/partition": partition} if partition is not None else {},
    )


ACTS = {
    "images": ingestion,
    "inventory": taking_inventory,
    "embeddings": embedding,
    "neighbors": neighbor_graph,
    "projection": projecting,
    "clustering": dividing,
    "nested_clustering": dividing,
    "cluster_labels": labelling,
    "saved_clustering": saving,
    "tags": editing,
    "tag_recommendations": recommending,
    "clustering_report": run_report,
    "run_comparison": comparing,
}


@dataclass
class Workbench:
    """One project with an ephemeral Dagster instance: materialize, or make without it; read."""

    project: ProjectFolder
    instance: dg.DagsterInstance

    @property
    def read(self) -> Project:
        return Project(self.project.folder)

    @property
    def store(self) -> LanceStore:
        return LanceStore(uri=self.project.store)

    @property
    def definitions(self) -> dg.Definitions:
        return build_defs(**resources_of(self.project))

    def _execute(self, job, partition, ops=None) -> dg.ExecuteInProcessResult:
        here = {"project": {"config": {"folder": str(self.project.folder)}}}
        return execute(job, self.instance, partition, ops=ops or {}, resources=here)

    def checks(self, asset, partition=None, only=None) -> dict[str, dg.AssetCheckEvaluation]:
        """Judge the contracts of one asset as it is, or one of them, without materializing it."""
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        result = self._execute(_judging(asset, only), partition)
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def make(self, asset, partition=None, **config) -> None:
        """Do what an asset does, without Dagster, of which a test looks at nothing.

        A run with its events, its checks and its contact sheet costs three times as much.
        """
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        context = Context(
            **resources_of(self.project), engine=LocalEngine(), dagster_run_id=make_new_run_id()
        )
        act = ACTS[asset]
        act.store(act.run(act.prepare(context.now(), partition or "", config)))

    def run(self, asset, partition=None, **config) -> dg.ExecuteInProcessResult:
        """Materialize one asset; a refusal comes out as dg.Failure."""
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        ops = {asset: {"config": config}} if config else {}
        return self._execute(_job(asset), partition, ops)

    def refused(self, asset, partition=None, **config) -> str:
        """The one plain line with which an asset refuses."""
        with pytest.raises(dg.Failure) as caught:
            self.run(asset, partition, **config)
        assert caught.value.allow_retries is False
        message = caught.value.description
        assert len(message.splitlines()) == 1
        return message


def bench_of(folder):
    """The project that lies in a folder."""
    return Workbench(find(folder), dg.DagsterInstance.ephemeral())


def metadata(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def data_version(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return event.tags["dagster/data_version"]
