"""Removing runs and divided nodes: what is told first, what goes, and how it comes back."""

import pytest

from panoptic_assets.clustering.mark_log import append_mark
from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.labels.table import clusters_to_label, label_rows, write_labels
from panoptic_assets.orchestration.instance import instance_to_read
from panoptic_assets.upkeep import removing
from panoptic_assets.upkeep.reconciling import in_dagster
from resources.errors import InputError
from resources.project_folder import dagster_home
from tests.commands import refused, run
from tests.workbench import bench_of


def known_to_dagster(project):
    with instance_to_read(dagster_home(project.layout)) as instance:
        found = in_dagster(instance)
    return found.partitions, found.versions


def pages_of(project, key="greek"):
    return project.context.reports.path(f"runs/{key}")


def combine(project):
    """The run `both`, without Dagster."""
    given = {"runs": ["greek", "roman"]}
    bench_of(project.folder).make("clustering", "both", method={"consensus": given})


def label(project, key):
    """Label a run, without Dagster."""
    clusters = clusters_to_label(Clusterings(project.store, key), key)
    found = [Suggestion(cluster.node, "pot") for cluster in clusters]
    write_labels(project.store, key, label_rows(key, clusters, found, "zero_shot", {}))


def test_what_a_run_is_made_of_and_what_rests_on_it_is_told(told_project):
    project = told_project
    file = project.registry.run_file("greek")
    file.parent.mkdir(exist_ok=True)
    file.write_text("refresh: keep\n")
    project.registry.write_sweep("vases", {"runs": {"greek": {}}})
    combine(project)
    found = project.removal("greek")
    assert found["clusterings"] == ["greek", "greek/0"]
    assert found["pages"] == str(pages_of(project))
    assert found["partitions"] == {"runs": ["greek"], "nodes": ["greek/0"]}
    assert found["materializations"]["nested_clustering"] == ["greek/0"]
    assert found["tags"] == [{"property": "Clustering", "nb_tags": 5}]
    assert found["runs"] == ["both"]
    assert found["files"] == ["configs/runs/greek.yaml"]


def test_a_run_goes_from_store_pages_and_dagster_together_and_comes_back(told_project):
    """Saved tags stay; the pages are written again by whoever wants them."""
    project = told_project
    runs, tags, known = project.runs(), project.tags(), known_to_dagster(project)
    done = project.remove("greek", reason="a try")
    assert [row["key"] for row in project.runs()] == ["roman"]
    assert project.tags() == tags
    assert not pages_of(project).exists()
    partitions, versions = known_to_dagster(project)
    assert partitions == {"runs": {"roman"}, "nodes": set()}
    assert {key for _, key in versions} == {"roman"}
    project.undo(done["id"])
    assert project.runs() == runs
    partitions, versions = known_to_dagster(project)
    assert partitions == known[0]
    assert versions == {
        place: version for place, version in known[1].items() if place[0] != "clustering_report"
    }


def test_tags_that_are_asked_for_go_and_come_back_with_the_run(told_project):
    project = told_project
    tags, images = project.tags(), project.image_tags()
    done = project.remove("greek", with_tags=True)
    assert project.tags() == []
    project.undo(done["id"])
    assert (project.tags(), project.image_tags()) == (tags, images)
    project.redo(done["id"])
    assert (project.tags(), [row["key"] for row in project.runs()]) == ([], ["roman"])


def test_a_removal_with_tags_is_one_act_of_the_history_undone_and_done_again_as_one(told_project):
    """Its own events of the tag log are listed there, not here."""
    project = told_project
    before, tags, images = project.history(), project.tags(), project.image_tags()
    done = project.remove("greek", with_tags=True)
    [act] = project.history()[len(before) :]
    assert (act["id"], act["text"].partition(" and ")[2]) == (done["id"], "the tags saved from it")
    assert project.undo()["act"] == done["id"]
    assert (project.tags(), project.image_tags()) == (tags, images)
    assert project.redo()["act"] == done["id"]
    assert project.tags() == []
    now = project.history()[len(before) :]
    assert [act["kind"] for act in now] == ["remove", "undo", "redo"]
    assert [act["id"] for act in project.history()[: len(before)]] == [a["id"] for a in before]


def test_tags_that_were_brought_back_without_their_run_are_acts_of_their_own(told_project):
    project = told_project
    project.remove("greek", with_tags=True)
    number = project.tag_log()[-1]["number"]
    project.undo(f"tag-{number}")
    acts = {act["id"]: act["undone"] for act in project.history()}
    assert acts[f"tag-{number}"]
    project.redo(f"tag-{number}")
    assert f"tag-{number}" not in {act["id"] for act in project.history()}


def test_a_divided_node_goes_alone(told_project):
    project = told_project
    project.remove("greek/0")
    assert [row["key"] for row in project.runs()] == ["greek", "roman"]
    assert known_to_dagster(project)[0]["nodes"] == set()
    assert pages_of(project).exists()


def test_the_command_tells_first_and_asks(told_project):
    folder = told_project.folder
    assert "add --yes" in refused("remove", "greek", cwd=folder)
    assert "There is no clustering 'geek'" in refused("remove", "geek", "--yes", cwd=folder)
    lines = run("remove", "roman", "--yes", cwd=folder).stdout.splitlines()
    assert lines[0].startswith("roman is 1 clustering (roman), with older revisions 1 record")
    assert lines[-1] == "Removed: roman (`panoptic-assets undo mark-1` brings it back)"


def test_what_a_process_that_was_killed_after_the_mark_left_is_taken_away_by_reconcile(
    told_project,
):
    """It has removed the run from the store, and neither its pages nor its partitions."""
    project = told_project
    context = project.context.now()
    plan = removing.prepare(context, "", {"key": "greek"})
    ids = tuple(record.record_id for record in plan.records)
    append_mark(project.store, "remove", "greek", "Ada", records=ids)
    assert run("reconcile", "--check", cwd=project.folder, expect=1).stdout.splitlines() == [
        f"{asset} {key} is known to Dagster, and not in the store"
        for asset, key in (
            ("clustering", "greek"),
            ("clustering_report", "greek"),
            ("nested_clustering", "greek/0"),
            ("saved_clustering", "greek"),
        )
    ]
    project.reconcile()
    assert project.reconcile(check=True)["mismatches"] == []
    assert not pages_of(project).exists()
    assert known_to_dagster(project)[0] == {"runs": {"roman"}, "nodes": set()}


def test_what_read_a_run_that_was_removed_can_still_be_verified(told_project):
    """And why an image carries a tag that was saved from it can still be explained."""
    project = told_project
    combine(project)
    row = project.image_tags().to_pylist()[0]
    project.remove("greek")
    [verdict] = project.verify("both", pixels=False)
    assert (verdict["proved"], verdict["answer"]) == (True, "same")
    assert project.explain(row["image_id"], row["tag_id"])["holds"]
    [judged] = project.status("both")["staleness"]
    assert judged["state"] == "stale"
    assert "greek" not in Clusterings(project.store).records
    with pytest.raises(InputError, match="There is no clustering 'greek'"):
        project.cluster("third", method={"consensus": {"runs": ["greek", "roman"]}})


def test_a_new_run_of_a_key_has_nothing_of_the_one_that_was_removed(told_project):
    """Neither its labels nor its saved tags, which stay in the store."""
    project = told_project
    label(project, "greek")
    project.reconcile()
    known = set(known_to_dagster(project)[1])
    project.remove("greek")
    project.cluster("greek", method={"kmeans": {"nb_clusters": 2}})
    assert project.reconcile(check=True)["mismatches"] == []
    project.undo()
    project.undo()
    assert set(known_to_dagster(project)[1]) == known - {("clustering_report", "greek")}
