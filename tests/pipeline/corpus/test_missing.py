"""What is missing when a refresh looks is asked about, and taken away by nobody but a person."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from panoptic_assets.corpus.open_questions import open_questions
from panoptic_assets.project import Project
from panoptic_assets.spec.reporting import Silent
from resources.errors import UnavailableError
from resources.project_folder import ProjectSettings, create
from resources.source import ImageSource
from tests.commands import run
from tests.tiny import write_images, write_model
from tests.workbench import Workbench, data_version, metadata

NB_IMAGES = 16
FILES = dg.AssetCheckKey(dg.AssetKey("images"), "nothing_missing")
VALUES = dg.AssetCheckKey(dg.AssetKey("inventory"), "values_kept")


def inventory(*columns, rows=range(NB_IMAGES)):
    """An inventory whose cells say in which column and line they are."""
    lines = [";".join(["path", *columns])]
    lines += [
        ";".join([f"{number:06}.jpg", *(f"{c} {number}" for c in columns)]) for number in rows
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def pictures(once):
    return once("missing", lambda folder: write_images(folder, NB_IMAGES))


@pytest.fixture
def bench(pictures, tmp_path):
    """A project of images with an inventory; nothing is refreshed yet."""
    shutil.copytree(pictures, tmp_path / "images")
    settings = ProjectSettings(images=str(tmp_path / "images"), metadata="inventory.csv")
    project = create(tmp_path / "project", settings)
    (project.folder / "inventory.csv").write_text(inventory("made", "place"))
    return Workbench(project, dg.DagsterInstance.ephemeral())


def write(bench, text):
    (bench.project.folder / "inventory.csv").write_text(text)


def given(bench):
    """How many images have a value of which property."""
    return {found["name"]: found["nb_images"] for found in bench.read.properties()}


def asked(bench):
    return [question["text"] for question in bench.read.status()["questions"]]


def evaluation(bench, check=FILES):
    """What Dagster's page of an asset says of what is missing."""
    storage = bench.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([check])[check]
    return record.event.dagster_event.event_specific_data


def refresh(bench, **config):
    """Read the images, and then the inventory."""
    bench.make("images", **config)
    bench.make("inventory", **config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (inventory("made", "place", rows=[]), "all 16 values of 'made', all 16 values of 'place'"),
        (inventory("made"), "inventory.csv no longer has all 16 values of 'place'"),
        (inventory("made", "place", rows=range(8)), "8 of the 16 values of 'made', 8 of the 16"),
    ],
    ids=["emptied", "a column", "half"],
)
def test_values_stay_where_most_of_them_would_go_at_once(bench, text, said):
    """While the rest of the refresh goes on: the file may just be being saved."""
    refresh(bench)
    write(bench, text)
    write_images(Path(bench.project.images), 1, start=NB_IMAGES)
    refresh(bench)
    assert given(bench) == {"made": 16, "place": 16}
    [line] = asked(bench)
    assert said in line and "stay as they were" in line and "--accept-missing" in line
    assert bench.read.status()["corpus"]["nb_images"] == NB_IMAGES + 1


def test_a_column_that_was_renamed_is_not_missing(bench):
    refresh(bench)
    write(bench, inventory("made", "place").replace("path;made;place", "path;made;lieu"))
    refresh(bench)
    assert given(bench) == {"made": 16, "lieu": 16} and asked(bench) == []


def test_a_person_says_that_values_are_gone_for_good(bench):
    refresh(bench)
    write(bench, inventory("made"))
    refresh(bench)
    assert asked(bench)
    refresh(bench, accept_missing=True)
    assert given(bench) == {"made": 16} and asked(bench) == []


def test_a_file_that_is_whole_again_answers_the_question_and_changes_nothing(bench):
    bench.make("images")
    first = bench.run("inventory")
    write(bench, inventory("made", "place", rows=[]))
    second = bench.run("inventory")
    given = metadata(second, "inventory")
    assert "all 16 values of 'made'" in given["question"] and given["outcome"] == "kept"
    assert not evaluation(bench, VALUES).passed
    assert evaluation(bench, VALUES).severity == dg.AssetCheckSeverity.WARN
    write(bench, inventory("made", "place"))
    third = bench.run("inventory")
    assert evaluation(bench, VALUES).passed and asked(bench) == []
    assert len({data_version(result, "inventory") for result in (first, second, third)}) == 1


def test_few_values_and_those_that_a_person_no_longer_wants_go_unasked(bench):
    refresh(bench)
    write(bench, inventory("made", "place", rows=range(5, NB_IMAGES)))
    refresh(bench)
    assert given(bench) == {"made": 11, "place": 11} and asked(bench) == []
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: inventory.csv", "metadata: ''"))
    bench = Workbench(replace(bench.project), bench.instance)
    refresh(bench)
    assert given(bench) == {} and asked(bench) == []


def test_half_a_folder_that_is_gone_is_asked_about_and_nothing_is_changed(bench):
    """The check of Dagster's page fails, though there is no materialization to judge."""
    bench.run("images")
    bench.make("inventory")
    assert evaluation(bench).passed
    files = sorted(Path(bench.project.images).rglob("*.jpg"))
    away = bench.project.folder.parent / "away"
    away.mkdir()
    for file in files[8:]:
        file.rename(away / file.name)
    write(bench, inventory("made"))
    with pytest.raises(dg.Failure, match="the top folder '0000' with 8 of its 16 files") as caught:
        bench.run("images")
    # One line for all that --accept-missing would take away.
    assert "and inventory.csv no longer has all 16 values of 'place'" in caught.value.description
    assert bench.read.status()["corpus"]["nb_files"] == 16
    assert asked(bench) == [caught.value.description]
    assert not evaluation(bench).passed
    assert evaluation(bench).severity == dg.AssetCheckSeverity.ERROR
    assert caught.value.description in str(evaluation(bench).metadata["question"].value)
    write(bench, inventory("made", "place"))
    for file in files[8:]:
        (away / file.name).rename(file)
    bench.run("images")
    assert evaluation(bench).passed and asked(bench) == []


def test_a_folder_that_is_gone_for_good_goes_once_a_person_says_so(bench):
    bench.make("images")
    for file in sorted(Path(bench.project.images).rglob("*.jpg"))[:8]:
        file.unlink()
    with pytest.raises(UnavailableError, match="with 8 of its 16 files"):
        bench.make("images")
    bench.make("images", accept_missing=True)
    assert bench.read.status()["corpus"]["nb_missing"] == 8
    bench.make("images")


def test_an_answer_takes_away_what_was_asked_and_nothing_that_went_meanwhile(bench):
    """Such as the answer to an older question about values, while the disk is away."""
    refresh(bench)
    write(bench, inventory("made"))
    refresh(bench)
    [question] = bench.read.status()["questions"]
    files = sorted(Path(bench.project.images).rglob("*.jpg"))
    for file in files[8:]:
        file.unlink()
    with pytest.raises(UnavailableError, match="8 of its 16 files .*; and inv") as first:
        bench.make("images", accepted=question["answer"])
    assert bench.read.status()["corpus"]["nb_files"] == 16
    files[7].unlink()
    with pytest.raises(UnavailableError, match="with 9 of its 16 files") as second:
        bench.make("images", accepted=first.value.values["answer"])
    assert bench.read.status()["corpus"]["nb_files"] == 16
    bench.make("images", accepted=second.value.values["answer"])
    assert bench.read.status()["corpus"]["nb_missing"] == 9


def test_an_answer_about_files_and_values_takes_both_away(pictures, tmp_path):
    """The inventory is read after the images: one answer is for both, where both were asked of."""
    folder = tmp_path / "project"
    shutil.copytree(pictures, folder / "images")
    tiny = create(folder, ProjectSettings(images="images", vector_type="tiny", metadata="i.csv"))
    (tiny.configs / "models" / "tiny.yaml").write_text(
        f"model: local-dir:{write_model(tmp_path / 'model')}\nprecision: fp32\n"
    )
    (folder / "i.csv").write_text(inventory("made", "place"))
    project = Project(folder, reporter=Silent(), worker="none")
    project.refresh()
    (folder / "i.csv").write_text(inventory("made"))
    for file in sorted((folder / "images").rglob("*.jpg"))[8:]:
        file.unlink()
    with pytest.raises(UnavailableError, match="8 of its 16 files .*; and i.csv") as asked_of:
        project.refresh()
    project.refresh(accepted=asked_of.value.values["answer"])
    assert project.status()["questions"] == []
    assert {one["name"]: one["nb_images"] for one in project.properties()} == {"made": 8}


def test_an_answer_about_values_takes_those_away(bench):
    refresh(bench)
    write(bench, inventory("made"))
    refresh(bench)
    answer = bench.read.status()["questions"][0]["answer"]
    write(bench, inventory(rows=[]))
    refresh(bench, accepted=answer)
    assert given(bench) == {"made": 16, "place": 16}
    refresh(bench, accepted=bench.read.status()["questions"][0]["answer"])
    assert given(bench) == {} and asked(bench) == []


def test_the_file_of_a_disk_that_is_no_longer_mounted_is_asked_about(bench, monkeypatch):
    """However few they are; that the disk is there again is enough to go on."""
    lists = ImageSource.list
    away = []

    def with_a_disk(source):
        listing = lists(source)
        files = [
            file._replace(mount="0000/") if file.path.endswith("15.jpg") else file
            for file in listing.files
            if not (away and file.path.endswith("15.jpg"))
        ]
        return replace(listing, files=files, mounts=() if away else ("0000/",))

    monkeypatch.setattr(ImageSource, "list", with_a_disk)
    bench.make("images")
    away.append("the disk")
    with pytest.raises(UnavailableError, match="the disk mounted at '0000/' with its only file"):
        bench.make("images")
    away.clear()
    bench.make("images")
    assert bench.read.status()["corpus"]["nb_files"] == NB_IMAGES


def test_a_tag_can_be_taken_from_an_image_whose_file_holds_another_by_now(bench):
    bench.make("images")
    [path] = [
        row["path"] for row in bench.read.files().to_pylist() if row["path"].endswith("3.jpg")
    ][:1]
    [row] = [row for row in bench.read.files().to_pylist() if row["path"] == path]
    tag = {"tag": "Seen"}
    image = {"images": [row["image_id"]]}
    bench.make("tags", edits=[{"create": tag}, {"assign": tag | image}])
    file = Path(bench.project.images) / path
    write_images(file.parent.parent, 1, start=NB_IMAGES)
    (file.parent / f"{NB_IMAGES:06}.jpg").rename(file)
    bench.make("images")
    assert bench.read.tags("Clustering")[0]["image_ids"] == image["images"]
    bench.make("tags", edits=[{"unassign": tag | image}])
    assert bench.read.tags("Clustering")[0]["image_ids"] == []


def test_a_project_sets_how_much_may_be_gone(bench):
    settings = bench.project.settings_file
    text = settings.read_text().replace("max_missing: 0.33", "max_missing: 0.05")
    settings.write_text(text.replace("few_missing: 5", "few_missing: 0"))
    bench.make("images")
    next(Path(bench.project.images).rglob("*.jpg")).unlink()
    with pytest.raises(UnavailableError, match="1 of the 16 files of the corpus"):
        bench.make("images")


def test_a_command_that_was_refused_is_asked_about_by_the_next_one(bench):
    bench.make("images")
    shutil.rmtree(bench.project.images)
    Path(bench.project.images).mkdir()
    project = Project(bench.project.folder, reporter=Silent(), worker="none")
    with pytest.raises(UnavailableError, match="all 16 files of the corpus"):
        project.refresh()
    [question] = open_questions(bench.store)
    assert question.kind == "files"
    told = run("status", cwd=bench.project.folder)
    assert "all 16 files of the corpus" in told.stdout + told.stderr
