"""A refresh that is killed again and again ends with the tables of an undisturbed one."""

import random
import time
from pathlib import Path

import dagster as dg
import pytest

from panoptic_assets.definitions import build_defs
from resources.engine import LocalEngine
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project import ProjectSettings, create, find
from resources.registry import Registry
from resources.source import ImageSource
from tests import processes
from tests.tiny import write_images, write_model

TIMES = {"added_at", "seen_at"}


@pytest.fixture
def projects(tmp_path):
    """Two projects of one folder of a thousand images."""
    write_images(tmp_path / "images", 1000)
    (tmp_path / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    write_model(tmp_path / "model")

    def make(name):
        settings = ProjectSettings(images=str(tmp_path / "images"), vector_type="tiny")
        project = create(tmp_path / name, settings)
        file = project.configs / "models" / "tiny.yaml"
        file.write_text(f"model: local-dir:{tmp_path / 'model'}\n")
        return project

    return make


def refresh(folder, ready):
    project = find(Path(folder))
    job = build_defs(
        source=ImageSource(root=project.images),
        store=LanceStore(uri=project.store),
        models=OpenClipModels(folder=folder),
        registry=Registry(folder=folder),
        engine=LocalEngine(stage_images=64),
    ).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("vector_types", ["tiny"])
        ready.send(True)
        for asset, partition in (("images", None), ("embeddings", "tiny")):
            job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(asset)], partition_key=partition
            )


def start(project):
    receiver, sender = processes.CONTEXT.Pipe(duplex=False)
    process = processes.start(refresh, str(project.folder), sender)
    sender.close()  # so that waiting for a process that failed ends, too
    assert receiver.recv()
    return process


def rows(project, table, key):
    found = LanceStore(uri=project.store).read(table)
    return found.select([n for n in found.column_names if n not in TIMES]).sort_by(key).to_pylist()


def test_killed_at_twenty_random_moments_a_refresh_ends_as_if_it_had_not_been(projects):
    """A crash or kill at any moment loses nothing committed and doubles nothing."""
    undisturbed, killed = projects("undisturbed"), projects("killed")
    process = start(undisturbed)
    began = time.monotonic()
    process.join(300)
    seconds = time.monotonic() - began
    assert process.exitcode == 0
    moment = random.Random(3)
    for _ in range(20):
        process = start(killed)
        time.sleep(moment.uniform(0, seconds / 2))
        process.kill()
        process.join()
    process = start(killed)
    process.join(300)
    assert process.exitcode == 0

    for table, key in (("images", "image_id"), ("files", "path"), ("vectors.tiny", "image_id")):
        assert rows(killed, table, key) == rows(undisturbed, table, key), table
    assert LanceStore(uri=killed.store).staged("vectors.tiny") == []
