"""Remarks: on what, which one counts, undoing them, and every door by which they are written."""

import pytest

from panoptic_assets.acts import seen
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.project import Project
from panoptic_assets.tags import remarking
from resources.engine import LocalEngine
from resources.errors import InputError
from tests.commands import refused, run
from tests.workbench import resources_of

THREE = {"method": {"kmeans": {"nb_clusters": 3}}}
HOSTILE = "<script>alert(1)</script> {{7*7}}\n\u202eevil \U0001f600 " + "é" * 1_950


@pytest.fixture
def bench(vectors_bench):
    """A small project with a run and two tags, for acts without Dagster."""
    vectors_bench.make("clustering", "greek", **THREE)
    edits = [
        {"create": {"tag": "Vases > Cups"}},
        {"create": {"tag": "Red: dark", "property": "Colour: glaze"}},
    ]
    vectors_bench.make("tags", edits=edits)
    return vectors_bench


@pytest.fixture
def project(bench):
    return Project(bench.project.folder, author="Ada")


@pytest.fixture
def path(project):
    return project.files()["path"][0].as_py()


def remark(bench, subject, text, author="Ada", **more):
    """Do what the job `remark` does; what it is on."""
    context = Context(
        **resources_of(bench.project), engine=LocalEngine(), dagster_run_id="0" * 8, author=author
    )
    given = {"subject": subject, "text": text, **more}
    return remarking.store(remarking.run(remarking.prepare(context.now(), "", given))).plan.subject


def texts(project, subject=None):
    return [each["text"] for each in project.remarks(subject)]


def test_a_remark_is_on_an_image_a_run_a_cluster_or_a_tag(bench, project, path):
    image = project.files()["image_id"][0].as_py()
    tags = {tag["path"]: tag["tag_id"] for tag in project.tags()}
    for name, key, kind, about in (
        (path, f"image:{image}", "image", path),
        ("greek", "greek", "run", "greek"),
        ("greek/2", "greek/2", "cluster", "greek/2"),
        ("tag:Clustering:Vases>Cups", f"tag:{tags['Vases > Cups']}", "tag", None),
        ("tag:Colour: glaze:Red: dark", f"tag:{tags['Red: dark']}", "tag", None),
    ):
        remark(bench, name, f"of {name}")
        # By any of its names: what it was called, and what a page has of it.
        [told] = project.remarks(key)
        assert told in project.remarks()
        assert (told["subject"], told["kind"], told["text"]) == (key, kind, f"of {name}")
        assert (told["author"], told["current"]) == ("Ada", True)
        assert about in (None, told["about"])
        assert project.remarks(told["about"]) == [told]


def test_the_newest_remark_counts_and_an_empty_one_takes_it_away(bench, project):
    remark(bench, "greek/0", "wide")
    remark(bench, "greek/0", "two things\r\n\r\nin it ", author="Bea", reason="looked again")
    [told] = project.remarks()
    assert (told["text"], told["author"]) == ("two things\n\nin it", "Bea")
    remark(bench, "greek/0", " ")
    assert project.remarks() == []
    log = [act for act in project.history() if act["kind"] == "remark"]
    assert [act["text"] for act in log] == ["wide", "two things in it", "taken away"]
    assert [act["reason"] for act in log] == ["", "looked again", ""]


def test_a_remark_is_a_dagster_run_that_is_undone_and_done_again(project, path):
    """By whom it was, and what was there before it, each time as it was."""
    first = project.remark(path, "blurred")
    before = project.remarks()
    second = project.remark(path, "sharp, after all", author="Bea", reason="looked")
    after = project.remarks()
    assert [(each["author"], each["act"]) for each in after] == [("Bea", second["act"])]
    assert after[0]["dagster_run_id"] == project.history()[-1]["dagster_run_id"] != ""
    with pytest.raises(InputError, match=f"{second['act']} came after it"):
        project.undo(first["act"])
    assert project.undo()["act"] == second["act"]
    assert project.remarks() == before
    project.redo(second["act"])
    assert project.remarks() == after
    project.undo(second["act"])
    project.undo(first["act"])
    assert project.remarks() == []


def test_a_remark_on_a_cluster_that_was_made_again_is_told_as_of_the_former_one(bench, project):
    record_id = project.run_info("greek")["record_id"]
    remark(bench, "greek/0", "wide")
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 2}}, replace=True)
    [told] = project.remarks()
    assert (told["current"], told["record_id"]) == (False, record_id)
    remark(bench, "greek/0", "wider")
    assert [(each["text"], each["current"]) for each in project.remarks()] == [
        ("wide", False),
        ("wider", True),
    ]
    project.undo("mark-2")
    project.undo("greek@2")
    assert [(each["text"], each["current"]) for each in project.remarks()] == [("wide", True)]


def test_a_remark_on_a_tag_that_is_gone_is_told_as_such(bench, project):
    remark(bench, "tag:Clustering:Vases", "all of clay")
    bench.make("tags", edits=[{"delete": {"tag": "Vases"}}])
    assert [each["current"] for each in project.remarks()] == [False]
    bench.make("tags", edits=[{"undo": {}}])
    assert [each["current"] for each in project.remarks()] == [True]


def test_whatever_people_write_is_kept_as_they_wrote_it(bench, project):
    remark(bench, "greek", HOSTILE)
    assert texts(project) == [HOSTILE]
    lines = run("remarks", cwd=bench.project.folder).stdout
    assert "\\u202eevil" in lines
    assert "\u202e" not in lines


@pytest.mark.parametrize(
    ("subject", "text", "error_id"),
    [
        ("nothing.jpg", "x", "no-such-image"),
        ("greek/7", "x", "no-such-node"),
        ("roman/7", "x", "no-such-image"),
        ("image:greek", "x", "no-such-image"),
        ("tag:Vases", "x", "remark-on-no-tag"),
        ("tag:Clustering:Vasen", "x", "edit-tag-unknown"),
        ("greek", "", "no-remark-to-take-away"),
        ("greek/0", "wide", "remark-says-so-already"),
        ("greek", "x" * 2_001, "configuration-unusable"),
        ("greek", "a\tb", "configuration-unusable"),
        ("greek", "a\x1b[2J", "configuration-unusable"),
        ("greek\n", "x", "configuration-unusable"),
    ],
)
def test_what_cannot_be_remarked_is_refused_in_one_line(bench, project, subject, text, error_id):
    remark(bench, "greek/0", "wide")
    with pytest.raises(InputError) as caught:
        project.remark(subject, text)
    assert (caught.value.id, len(str(caught.value).splitlines())) == (error_id, 1)
    assert texts(project) == ["wide"]


def test_a_remark_on_what_somebody_else_has_remarked_on_meanwhile_is_refused(bench, project):
    """DESIGN 11: each act carries the version of what the page showed."""
    shown = seen(bench.store, ["remark:greek/0"])
    assert shown == {"remark:greek/0": None}
    remark(bench, "greek/0", "wide")
    with pytest.raises(InputError, match="remark:greek/0 has changed since it was shown"):
        Project(bench.project.folder, seen=shown).remark("greek/0", "narrow")
    Project(bench.project.folder, seen={"remark:greek/0": "mark-1"}).remark("greek/0", "narrow")
    assert texts(project) == ["narrow"]


def test_commands_write_list_and_take_away(bench, path):
    folder = bench.project.folder
    said = run("remark", path, "blurred\nand dark", "--author", "Bea", cwd=folder).stdout
    assert said.startswith(f"Remarked on {path} (`panoptic-assets undo mark-1`")
    listed = run("remarks", cwd=folder).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["act", "mark-1", "and"]
    assert "Bea" in listed[1]
    assert path in listed[1]
    assert f"{path}: blurred and dark" in run("history", cwd=folder).stdout
    assert run("remark", path, "", cwd=folder).stdout.startswith(f"No remark any more on {path}")
    assert run("remarks", cwd=folder).stdout.startswith("No remarks yet")
    assert "there is no tag 'x'" in refused("remark", "tag:Clustering:x", "y", cwd=folder).lower()


def test_the_launchpad_writes_a_remark(bench, project, path):
    """Of an image by any of its names, and with the user of the system where nobody is named."""
    job = bench.definitions.resolve_job_def("remark")
    given = {"subject": path, "text": "blurred"}
    done = job.execute_in_process(
        instance=bench.instance, run_config={"ops": {"write_remark": {"config": given}}}
    )
    [told] = project.remarks()
    assert (told["text"], told["dagster_run_id"]) == ("blurred", done.run_id)
    assert told["author"]
