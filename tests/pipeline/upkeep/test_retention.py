"""Old Dagster runs go, and nothing that anybody still needs goes with them."""

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import select, update

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.proof.assets import seals_in_log
from panoptic_assets.upkeep.retention import Removed, retain, retention
from resources.errors import InputError
from resources.project_folder import dagster_home
from tests.commands import run
from tests.tiny import tiny_project
from tests.workbench import Workbench

ASSETS = {
    "images": [None],
    "embeddings": ["tiny"],
    "neighbors": ["tiny"],
    "clustering": ["greek", "roman"],
}


@pytest.fixture(scope="module")
def used_folder(once):
    """A project with nine runs: a refresh of three twice, `greek` twice, `roman` once."""

    def write(folder):
        project = tiny_project(folder, 10)
        with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
            bench = Workbench(project, instance)
            for _ in range(2):
                bench.run("images")
                bench.run("embeddings", "tiny")
                bench.run("neighbors", "tiny")
                bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 2}})
            bench.run("clustering", "roman")

    return once("used", write)


@pytest.fixture
def used(used_folder, tmp_path):
    """A copy of it, whose runs are all 40 days old."""
    from resources.project_folder import find

    shutil.copytree(used_folder, tmp_path / "used")
    project = find(tmp_path / "used" / "project")
    with dg.DagsterInstance.from_config(str(dagster_home(project))) as instance:
        age(instance, 40)
        yield Workbench(project, instance)


def age(instance, days):
    """Make all runs as old as that."""
    then = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    with instance.run_storage.connect() as connection:
        connection.execute(update(RunsTable).values(update_timestamp=then))


def test_of_every_record_that_counts_a_witness_is_kept(used):
    """The first run of `greek` told its seal; of it the newest, which told it again, is left."""
    witness = seals_in_log(used.instance)
    records = Clusterings(used.store).records
    before = {key: witness(record) for key, record in records.items()}
    assert retain(used.instance, 30).runs
    assert records["greek"].dagster_run_id not in {r.run_id for r in used.instance.get_runs()}
    assert {key: witness(record) for key, record in records.items()} == before
    assert None not in before.values()


def history(instance):
    """What Dagster's pages show of each partition: its newest materialization and its checks."""
    found = {}
    for asset, partitions in ASSETS.items():
        for partition in partitions:
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(
                    dg.AssetKey(asset), asset_partitions=partition and [partition]
                ),
                limit=1,
            ).records
            found[asset, partition] = records[0].asset_materialization
    for name in ("image_ids_unique", "files_have_images", "quarantine_share"):
        key = dg.AssetCheckKey(dg.AssetKey("images"), name)
        [newest] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        found[name] = newest.event.dagster_event.asset_check_evaluation_data
    return found


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_history_of_every_partition_is_as_before(used):
    before = history(used.instance)
    removed = retain(used.instance, 30)
    assert (removed.runs, removed.kept) == (4, 5)
    assert history(used.instance) == before
    assert len(used.instance.get_runs()) == 5


def test_the_room_is_given_back(used):
    home = used.project.dagster_home
    before = size(home)
    removed = retain(used.instance, 30)
    assert removed.notes == []
    assert size(home) < 0.8 * before
    assert len(list((home / "history" / "runs").glob("*-*-*.db"))) == 5


def test_what_comes_afterwards_is_newer_than_all_that_was(used):
    """SQLite gives the numbers of removed events again; sensors would pass over them."""
    storage = used.instance.event_log_storage
    used.refused("embeddings", "none")  # the newest run of all made the newest of nothing
    age(used.instance, 40)
    newest = storage.get_maximum_record_id()
    retain(used.instance, 30)
    run_id = used.run("images").run_id
    with storage.index_connection() as connection:
        events = SqlEventLogStorageTable.c
        numbers = connection.execute(select(events.id).where(events.run_id == run_id)).scalars()
        assert min(numbers) > newest


def test_a_dry_run_removes_nothing(used):
    before = history(used.instance), size(used.project.dagster_home)
    removed = retain(used.instance, 30, dry_run=True)
    assert (removed.runs, removed.kept) == (4, 5)
    assert (history(used.instance), size(used.project.dagster_home)) == before
    assert len(used.instance.get_runs()) == 9


def test_young_and_unfinished_runs_stay(used):
    age(used.instance, 20)
    assert retain(used.instance, 30).runs == 0
    waiting = used.instance.create_run_for_job(
        used.definitions.resolve_job_def("retention"), status=dg.DagsterRunStatus.STARTED
    )
    age(used.instance, 40)
    retain(used.instance, 30)
    assert used.instance.get_run_by_id(waiting.run_id) is not None


def test_old_ticks_go_but_the_newest_of_each_schedule(used):
    """It tells the daemon where to go on."""
    for name, days in (("daily", 50), ("daily", 40), ("daily", 1), ("weekly", 60), ("weekly", 45)):
        then = datetime.now(UTC) - timedelta(days=days)
        used.instance.create_tick(
            TickData(
                instigator_origin_id=name,
                instigator_name=name,
                instigator_type=InstigatorType.SCHEDULE,
                status=TickStatus.SKIPPED,
                timestamp=then.timestamp(),
                selector_id=name,
            )
        )
    assert retain(used.instance, 30).ticks == 3
    left = {name: len(used.instance.get_ticks(name, name)) for name in ("daily", "weekly")}
    assert left == {"daily": 1, "weekly": 1}


@pytest.mark.parametrize("days", [0, -1])
def test_days_that_would_remove_everything_are_refused(used, days):
    with pytest.raises(InputError, match="1 day or more"):
        retain(used.instance, days)


def test_the_command_says_what_it_removed(used):
    folder = used.project.folder
    answer = run("retention", "--days", 30, "--dry-run", cwd=folder).stdout
    assert answer.startswith("4 runs and 0 ticks older than 30 days would be removed; 5 old runs")
    answer = run("retention", cwd=folder).stdout
    assert "4 runs and 0 ticks older than 30 days were removed" in answer
    assert "MB before" in answer


def test_the_job_removes_the_same(used):
    result = retention.execute_in_process(
        instance=used.instance, run_config={"ops": {"remove_old_runs": {"config": {"days": 30}}}}
    )
    assert result.success
    assert isinstance(retain(used.instance, 30), Removed)
    assert len(used.instance.get_runs()) == 6
