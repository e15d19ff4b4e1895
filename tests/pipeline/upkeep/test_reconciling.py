"""What somebody deletes in Dagster's UI is noticed, said, and mended, both ways."""

import dagster as dg
import pytest

from panoptic_assets.definitions import build_defs
from panoptic_assets.orchestration.instance import instance_to_read
from panoptic_assets.upkeep.reconciling import in_dagster
from panoptic_assets.upkeep.staleness_checks import judge_runs
from resources.project_folder import dagster_home
from tests.commands import refused, run
from tests.workbench import execute, job_of, resources_of


@pytest.fixture
def harmed(told_project):
    """The partition `roman` was deleted and `nested_clustering` wiped, as people do in the UI."""
    with opened(told_project) as instance:
        instance.delete_dynamic_partition("runs", "roman")
        instance.wipe_assets([dg.AssetKey("nested_clustering")])
    return told_project


def opened(project):
    return instance_to_read(dagster_home(project.layout))


def known(project):
    with opened(project) as instance:
        return in_dagster(instance)


SAID = [
    "clustering roman is in the store, and its partition was deleted in Dagster",
    "nested_clustering greek/0 is in the store, and not materialized in Dagster",
]


def test_it_is_said_and_nothing_is_done(harmed):
    before = known(harmed)
    found = run("reconcile", "--check", cwd=harmed.folder, expect=1)
    assert found.stdout.splitlines() == SAID
    assert known(harmed) == before
    assert [row["key"] for row in harmed.runs()] == ["greek", "greek/0", "roman"]


def test_the_daily_job_says_it(harmed):
    job = build_defs(**resources_of(harmed.layout)).resolve_job_def(judge_runs.name)
    with opened(harmed) as instance:
        result = job.execute_in_process(instance=instance)
        told = [event.message for event in instance.all_logs(result.run_id)]
    [event] = [event for event in result.all_events if event.is_successful_output]
    assert event.step_output_data.metadata["nb_mismatches"].value == 2
    assert any(SAID[0] in text and "panoptic-assets reconcile" in text for text in told)


def test_dagster_is_told_again_what_the_store_has(told_project, harmed):
    """With the data versions that it told before; the run that does it is done once."""
    lines = run("reconcile", cwd=harmed.folder).stdout.splitlines()
    assert lines == [*SAID, "Mended."]
    after = known(harmed)
    assert after.partitions == {"runs": {"greek", "roman"}, "nodes": {"greek/0"}}
    assert (
        after.versions["nested_clustering", "greek/0"]
        == (harmed.run_info("greek/0")["data_version"])
    )
    assert run("reconcile", cwd=harmed.folder).stdout == "The store and Dagster agree.\n"


def test_what_was_deleted_in_dagster_is_removed_from_the_store_and_comes_back(harmed):
    before = harmed.runs()
    done = harmed.reconcile("dagster")
    assert [row["key"] for row in harmed.runs()] == ["greek"]
    assert harmed.reconcile(check=True)["mismatches"] == []
    for mark in reversed(done["marks"]):
        harmed.undo(mark)
    assert harmed.runs() == before
    assert known(harmed).partitions == {"runs": {"greek", "roman"}, "nodes": {"greek/0"}}


def test_before_something_is_removed_it_is_asked(harmed):
    assert "add --yes" in refused("reconcile", "--follow", "dagster", cwd=harmed.folder)
    assert len(harmed.runs()) == 3


def test_a_partition_that_was_deleted_while_its_run_waited_is_there_again(vectors_bench):
    """As `reconcile` does with that of a run that was removed, and is asked for again."""
    bench = vectors_bench
    given = {"method": {"kmeans": {"nb_clusters": 3}}}
    job = job_of(bench.definitions, "clustering")
    execute(job, bench.instance, "greek", ops={"clustering": {"config": given}})
    assert bench.instance.get_dynamic_partitions("runs") == ["greek"]
