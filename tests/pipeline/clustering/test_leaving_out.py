"""Leaving images out of a run: who is gone, what stays, what is refused, and from which door."""

import pytest
import yaml

from panoptic_assets.clustering.dividing import prepare
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.project import Project
from resources.engine import LocalEngine
from resources.errors import InputError
from tests.commands import refused, run
from tests.tiny import write_images
from tests.workbench import bench_of, resources_of

THREE = {"method": {"kmeans": {"nb_clusters": 3}}}


@pytest.fixture
def bench(vectors_bench):
    """A small project whose run `greek` has its cluster 0 divided."""
    vectors_bench.make("clustering", "greek", **THREE)
    vectors_bench.make("nested_clustering", "greek/0", method={"kmeans": {"nb_clusters": 2}})
    return vectors_bench


@pytest.fixture
def project(bench):
    return Project(bench.project.folder, author="Ada")


def images(project, key="greek"):
    return project.assignments(key)["image_id"].to_pylist()


def state(project):
    """All that a reader sees of the run."""
    keys = [row["key"] for row in project.runs()]
    told = {key: project.run_info(key) for key in keys}
    return told, {key: project.assignments(key).to_pylist() for key in keys}


def left_out(bench, file, key="greek", **more):
    """What the asset does with a list that is there, without Dagster."""
    bench.make("clustering", key, without=file, replace=True, **more)


def grow(bench):
    """Let three more images come; the copied project has to be told where its own lie."""
    settings = bench.project.settings_file
    content = yaml.safe_load(settings.read_text())
    content["images"] = str(bench.project.folder.parent / "images")
    settings.write_text(yaml.safe_dump(content))
    write_images(bench.project.folder.parent / "images", 3, start=24)
    grown = bench_of(bench.project.folder)
    grown.make("images")
    grown.make("embeddings", "tiny")
    return Project(bench.project.folder)


def staleness(project, key="greek"):
    found = project.status(key)["staleness"]
    return next(each for each in found if each["key"] == key)


def test_a_run_is_clustered_again_without_some_of_its_images(project):
    """Its parameters stay, and what was divided below it is stale; all of it can be undone."""
    files = {row["image_id"]: row["path"] for row in project.files().to_pylist()}
    first, second, *rest = images(project)
    before = state(project)
    info = project.leave_out("greek", [first, files[second]])
    assert images(project) == rest
    without = {"without": project.selection_file([first, second])}
    assert info["config"] == before[0]["greek"]["config"] | without
    assert {row["key"]: row["status"] for row in project.runs()} == {
        "greek": "current",
        "greek/0": "stale",
    }
    assert project.history()[-1]["author"] == "Ada"
    after = state(project)
    project.undo()
    assert state(project) == before
    project.redo()
    assert state(project) == after


def test_those_that_were_left_out_before_stay_out(bench, project):
    first, second, *_ = images(project)
    left_out(bench, project.selection_file([first]))
    project.leave_out("greek", [first, second])
    assert not {first, second} & set(images(project))
    # Without a word of them, too: a key's record says what its run looks at.
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 2}}, replace=True)
    assert len(images(project)) == 22


@pytest.mark.parametrize(
    "scope", [{"corpus": {}}, {"files": {"pattern": "*"}}, {"node": {"node": "greek/1"}}]
)
def test_those_that_are_left_out_are_not_missed(bench, project, scope):
    """Only what came since is told as not clustered."""
    bench.make("clustering", "mine", scope=scope, **THREE)
    left_out(bench, project.selection_file(images(project, "mine")[:2]), "mine")
    assert staleness(project, "mine")["state"] == "up to date"
    told = staleness(grow(bench), "mine")["reasons"]
    new = [] if "node" in scope else [("images_added", 3)]
    assert [(reason["kind"], reason["count"]) for reason in told] == new


def test_a_refresh_assigns_none_of_those_that_are_left_out(bench, project):
    gone = images(project)[:2]
    left_out(bench, project.selection_file(gone))
    grown = grow(bench)
    grown.backfill("greek", policy="assign")
    assert (len(images(grown)), set(gone) & set(images(grown))) == (25, set())


def test_a_run_without_some_images_is_proved(bench, project):
    left_out(bench, project.selection_file(images(project)[:2]))
    [verdict] = project.verify("greek", pixels=False)[:1]
    assert (verdict["key"], verdict["proved"]) == ("greek", True)


def test_an_image_that_was_forgotten_since_does_not_keep_a_run_from_being_made_again(
    bench, project
):
    """Its id is in the list still, and names no image of the corpus any more."""
    left_out(bench, project.selection_file(images(project)[:1]))
    file = bench.project.configs / "selections" / "mine.txt"
    file.write_text(f"{images(project)[0]}\n{'f' * 64}\n")
    left_out(bench, "configs/selections/mine.txt")
    assert len(images(project)) == 23


@pytest.mark.parametrize(
    ("written", "error_id"),
    [
        ("no such name\n", "listed-images-unknown"),
        ("", "list-empty"),
        (None, "all-images-left-out"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(bench, project, written, error_id):
    text = "".join(f"{image}\n" for image in images(project)) if written is None else written
    (bench.project.folder / "list.txt").write_text(text)
    context = Context(**resources_of(bench.project), engine=LocalEngine())
    with pytest.raises(InputError) as caught:
        prepare(context.now(), "greek", {"without": "list.txt", "replace": True})
    assert caught.value.id == error_id


def test_what_cannot_be_left_out_is_refused_with_nothing_written(bench, project):
    first, second, *rest = images(project)
    left_out(bench, project.selection_file([first]))
    bench.make(
        "clustering", "small", scope={"ids": {"file": project.selection_file(rest)}}, **THREE
    )
    before = state(project), sorted(bench.project.configs.rglob("*"))
    for key, names, error_id in (
        ("roman", [first], "no-such-clustering"),
        ("greek/0", [first], "key-of-wrong-characters"),
        ("greek", ["no such image"], "no-such-image"),
        ("greek", [], "no-image-given"),
        ("greek", [first], "images-left-out-already"),
        ("greek", [first, second, *rest], "images-are-all-of-run"),
        ("small", [second], "images-not-in-run"),
    ):
        with pytest.raises(InputError) as caught:
            project.leave_out(key, names)
        assert (caught.value.id, len(str(caught.value).splitlines())) == (error_id, 1)
    assert (state(project), sorted(bench.project.configs.rglob("*"))) == before


def test_the_command_leaves_images_out_and_says_what_the_run_is_now(bench, project):
    folder, first = bench.project.folder, images(project)[0]
    answer = run("leave-out", "greek", first[:12], cwd=folder)
    assert answer.stdout.startswith("greek: 23 images in 3 clusters")
    assert "Left out of the scope by configs/selections/" in answer.stdout
    assert "Stale now" in answer.stderr
    assert "are left out of the run greek already" in refused(
        "leave-out", "greek", first, cwd=folder
    )


def test_the_option_and_the_launchpad_take_a_list_as_the_registry_does(bench, project):
    """What one door takes, all take, and with the same answer."""
    folder, gone = bench.project.folder, images(project)[:2]
    file = project.selection_file(gone)
    run("cluster", "a", "--nb-clusters", 3, "--without", folder / file, cwd=folder)
    bench.run("clustering", "b", without=file, **THREE)
    registered = {"ops": {"clustering": {"config": {"without": file, **THREE}}}}
    bench.read.registry.write_run("c", str(registered))
    bench.make("clustering", "c")
    outputs = {project.run_info(key)["output"] for key in "abc"}
    assert len(outputs) == 1
    assert {len(images(project, key)) for key in "abc"} == {22}
