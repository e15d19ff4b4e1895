"""One project with a Dagster instance of its own: materialize, then read.

Does not belong here: whole commands (``tests/commands.py``).
"""

from dataclasses import dataclass

import dagster as dg
import pytest

from panoptic_assets.definitions import build_defs
from panoptic_assets.project import Project
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import ProjectFolder, find
from resources.registry import Registry
from resources.report_folder import ReportFolder
from resources.source import ImageSource

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


@dataclass
class Workbench:
    """One project with an ephemeral Dagster instance: materialize, then read."""

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
        folder = str(self.project.folder)
        return build_defs(
            source=ImageSource(
                root=self.project.images, storage_options=self.project.settings.images_options
            ),
            store=self.store,
            models=OpenClipModels(folder=folder),
            registry=Registry(folder=folder),
            reports=ReportFolder(folder=folder),
        )

    def checks(self, asset, partition=None, only=None) -> dict[str, dg.AssetCheckEvaluation]:
        """Judge the contracts of one asset as it is, or one of them, without materializing it."""
        selection = dg.AssetSelection.checks_for_assets(dg.AssetKey(asset))
        if only is not None:
            selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), only))
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        result = (
            dg.Definitions.merge(
                self.definitions, dg.Definitions(jobs=[dg.define_asset_job("judge", selection)])
            )
            .resolve_job_def("judge")
            # `partition_key=` asks for an asset in the job.
            .execute_in_process(
                instance=self.instance,
                tags={"dagster/partition": partition} if partition else None,
            )
        )
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def run(self, asset, partition=None, **config) -> dg.ExecuteInProcessResult:
        """Materialize one asset; a refusal comes out as dg.Failure."""
        if partition is not None:
            self.instance.add_dynamic_partitions(PARTITIONS[asset], [partition])
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(asset)],
            partition_key=partition,
            run_config={
                "ops": {asset: {"config": config}} if config else {},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )

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
