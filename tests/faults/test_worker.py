"""The warm worker on a full disk."""

import shutil

import dagster as dg
import pytest

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.orchestration.instance import WORKER_TAG, holder_of, open_instance
from panoptic_assets.orchestration.running import CLUSTERINGS_POOL
from panoptic_assets.orchestration.runs import IN_PROGRESS
from panoptic_assets.orchestration.worker_link import WorkerLink
from panoptic_assets.project import Project
from panoptic_assets.serve.worker import kept_worker
from resources.errors import InputError
from resources.lance import LanceStore
from tests.faults.test_faults import (
    Acts,
    check_answers_are_whole,
    check_nothing_is_twice,
    committed,
    fill,
    lost,
    make,
    refresh_all,
)
from tests.faults.test_faults import disk as disk
from tests.faults.test_faults import model as model
from tests.served import until
from tests.tiny import write_images


def test_on_a_full_disk_the_worker_fails_an_act_and_does_the_next_one_with_room(
    tmp_path, model, disk, monkeypatch
):
    """Neither the store nor Dagster's database can be written amid its act."""
    write_images(tmp_path / "p" / "images", 60)
    project = make(tmp_path / "p", model, store=disk / "store")
    home = disk / "home"
    home.mkdir()
    shutil.copy(project.dagster_home / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PANOPTIC_PROJECT", str(project.folder))
    refresh_all(Acts(project.folder))
    store = LanceStore(uri=project.store)
    before = committed(store)
    told = []

    def cluster(key):
        asked = Project(project.folder, worker="all")
        asked.cluster(key, method={"kmeans": {"nb_clusters": 3}}, features="tiny")

    with (
        open_instance(home) as instance,
        kept_worker(home, instance, lambda text, style: told.append(text)),
    ):
        with until(lambda: WorkerLink.to(home)):  # or the first act is carried out without it
            pass
        cluster("first")
        for room in (0, 20_000, 60_000):
            fill(disk, room)
            with pytest.raises(InputError, match="(?i)space|disk|full"):
                cluster(f"room-{room}")
            fill(disk, None)
            assert lost(before, committed(store)) == []
        cluster("last")
        [newest] = instance.get_runs(limit=1)
        assert WORKER_TAG in newest.tags
        assert instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))) == []
        assert holder_of(instance, CLUSTERINGS_POOL) is None
    assert told == []
    assert {"first", "last"} <= Clusterings(store).records.keys()
    check_answers_are_whole(store)
    check_nothing_is_twice(store)
