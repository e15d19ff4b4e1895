"""A project on the shipped sample, embedded once and copied for each test that changes it."""

import shutil
import signal
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import panoptic_assets
from panoptic_assets.definitions import build_defs
from panoptic_assets.project import Project
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import ProjectFolder, ProjectSettings, create, find
from resources.registry import Registry
from resources.report_folder import ReportFolder
from resources.source import ImageSource

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every command that
# the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

SAMPLE = Path(panoptic_assets.__file__).parent / "sample"
HOSTILE = Path(__file__).parent / "hostile"
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


def metadata(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def data_version(result, asset):
    [event] = result.asset_materializations_for_node(asset)
    return event.tags["dagster/data_version"]


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory):
    """A project's folder whose `embedded:mini` is built."""
    folder = tmp_path_factory.mktemp("mini")
    project = create(folder, ProjectSettings(images=str(SAMPLE)))
    OpenClipModels(folder=str(folder)).load(Registry(folder=str(folder)).model("mini"))
    return project.folder


@pytest.fixture
def empty_bench(mini_folder, tmp_path):
    """A project of the empty folder `images`, with the model built."""

    def make(images=None):
        folder = tmp_path / "project"
        images = images or tmp_path / "images"
        images.mkdir(exist_ok=True)
        project = create(folder, ProjectSettings(images=str(images)))
        shutil.copytree(mini_folder / ".panoptic" / "models", project.models)
        return Workbench(project, dg.DagsterInstance.ephemeral())

    return make


@pytest.fixture(scope="session")
def embedded_folder(mini_folder):
    """The sample's project after `images` and `embeddings`."""
    bench = Workbench(find(mini_folder), dg.DagsterInstance.ephemeral())
    bench.run("images")
    bench.run("embeddings", "mini")
    return mini_folder


@pytest.fixture
def bench(embedded_folder, tmp_path):
    """The embedded sample, to do with as a test likes."""
    shutil.copytree(embedded_folder, tmp_path / "sample_project")
    return Workbench(find(tmp_path / "sample_project"), dg.DagsterInstance.ephemeral())


@pytest.fixture(scope="session")
def audited(tmp_path_factory):
    """The folder of a small project whose run was divided, labelled, saved, edited, made anew."""
    from tests.audited import write_project

    return write_project(tmp_path_factory.mktemp("audited"))


@dataclass(frozen=True)
class S3Server:
    """A real S3 server on this machine, with an empty bucket."""

    endpoint: str
    bucket: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def options(self) -> dict[str, str]:
        """What fsspec must be told of the server; the credentials lie in the environment."""
        return {"endpoint_url": self.endpoint}

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)


@pytest.fixture(scope="session")
def s3_endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_server(s3_endpoint, monkeypatch):
    """A bucket of its own for each test."""
    import boto3

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    bucket = f"corpus-{uuid.uuid4()}"
    client.create_bucket(Bucket=bucket)
    return S3Server(s3_endpoint, bucket, client)
