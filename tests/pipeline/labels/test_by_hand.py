"""Names that people give to clusters by hand, through every door."""

import shutil

import pytest

from panoptic_assets.clustering.mark_log import read_marks
from panoptic_assets.labels.table import stored_labels
from panoptic_assets.project import Project
from panoptic_assets.spec.marks import labels_due
from resources.errors import InputError
from tests.commands import run
from tests.workbench import bench_of

pytestmark = pytest.mark.usefixtures("one_mini")


@pytest.fixture
def project(told_names, tmp_path):
    """A project whose run `greek` was named from the vocabulary, and then greek/3 by hand."""
    folder = shutil.copytree(told_names, tmp_path / "project")
    return Project(folder, author="Ada", worker="none")


@pytest.fixture(scope="session")
def told_names(clustered_folder, once):
    def write(folder):
        shutil.copytree(clustered_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
        bench.make("cluster_labels", "greek")
        bench.make("cluster_labels", "greek", names={"greek/3": "Vases grecs"})

    return once("named_by_hand", write)


def names(project):
    return {row["node"]: row["label"] for row in project.labels("greek").to_pylist()}


def test_a_name_by_hand_takes_the_place_of_a_label_and_leaves_the_others(project):
    """D50: one may go through the clusters and name them by hand."""
    before = names(project)
    done = project.name("greek/0/1", "Été <script>")
    assert done == {"node": "greek/0/1", "name": "Été <script>", "before": before["greek/0/1"]}
    assert names(project) == before | {"greek/0/1": "Été <script>"}


def test_a_remainder_and_a_cluster_without_labels_can_be_named(greek):
    bench = greek
    bench.make("cluster_labels", "greek", names={"greek/2": "Deux"})
    assert names(bench.read) == {"greek/2": "Deux"}


def test_who_names_some_by_hand_is_not_told_that_the_others_have_no_name(greek):
    greek.make("cluster_labels", "greek", names={"greek/2": "Deux"})
    [labels] = [row for row in greek.read.status()["staleness"] if row["what"] == "labels"]
    assert labels["state"] == "up to date"


def test_names_by_hand_survive_an_automatic_labelling(project):
    before = names(project)
    project.label("greek", method={"zero_shot": {"language": "fr"}})
    now = names(project)
    assert now["greek/3"] == "Vases grecs"
    assert now != before


def test_names_by_hand_are_replaced_where_that_is_asked_for(project):
    project.label("greek", replace_names=True)
    assert names(project)["greek/3"] != "Vases grecs"


def test_saved_tags_have_the_names_by_hand(project):
    project.save("greek", property="Mine")
    assert "Vases grecs" in {tag["name"] for tag in project.tags("Mine")}


def test_each_name_is_undone_and_done_again_by_itself(project):
    before = stored_labels(project.store, "greek")
    project.name("greek/1", "Un")
    project.name("greek/1", "")
    after = stored_labels(project.store, "greek")
    project.undo()
    assert names(project)["greek/1"] == "Un"
    project.undo()
    assert stored_labels(project.store, "greek") == before
    project.redo()
    project.redo()
    assert stored_labels(project.store, "greek") == after


def test_the_history_says_who_gave_which_name(project):
    project.name("greek/1", "Un")
    act = project.history()[-1]
    assert (act["kind"], act["author"], act["text"]) == ("labels", "Ada", "greek/1: Un")


def test_marks_of_names_say_what_labels_there_are_also_after_undoing_some(project):
    project.name("greek/1", "Un")
    project.name("greek/2", "Deux")
    project.undo()
    due = labels_due(read_marks(project.store))["greek"]
    key = [(row["record_id"], row["cluster"]) for row in due]
    by_place = dict(zip(key, due, strict=True))
    assert by_place == {
        (row["record_id"], row["cluster"]): row for row in stored_labels(project.store, "greek")
    }


def test_a_division_can_be_taken_back_and_brought_back_with_the_names_of_its_clusters(project):
    project.name("greek/0/1", "Un")
    project.remove("greek/0")
    assert "greek/0/1" not in names(project)
    project.undo()
    assert names(project)["greek/0/1"] == "Un"


def test_a_name_is_one_visible_line_whatever_was_typed(project):
    assert project.name("greek/1", " two\nlines\u202e ")["name"] == "two lines"


def test_the_command_names_a_cluster_and_takes_the_name_away(project):
    folder = project.folder
    assert run("name", "greek/1", "Un", cwd=folder).stdout.endswith("greek/1 is called Un now\n")
    said = run("name", "greek/1", "", cwd=folder).stdout
    assert said.endswith("greek/1 is called its number alone now\n")


@pytest.mark.parametrize(
    ("node", "name", "error"),
    [
        ("greek/99", "x", "no-cluster-to-name"),
        ("greek/1", "x" * 81, "cluster-name-unusable"),
        ("greek/1", "\u202e\u200b", "cluster-name-unusable"),
    ],
    ids=["no such cluster", "too long", "nothing visible"],
)
def test_what_is_no_name_or_no_cluster_is_refused_in_one_line(project, node, name, error):
    with pytest.raises(InputError) as refusal:
        project.name(node, name)
    assert refusal.value.id == error
    assert len(str(refusal.value).splitlines()) == 1
