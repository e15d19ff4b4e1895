"""Finding and creating a project's folder."""

import errno
import os
from pathlib import Path

import pytest

from resources.errors import InputError
from resources.project_folder import ProjectFolder, ProjectSettings, create, find, write_file


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "mes images été"
    folder.mkdir()
    return folder


def settings(images, **changes):
    return ProjectSettings(images=str(images), **changes)


def test_a_project_is_found_from_a_folder_inside_it(tmp_path, images, monkeypatch):
    create(tmp_path / "project", settings(images))
    below = tmp_path / "project" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find().folder == tmp_path / "project"
    assert find().images == str(images)


def test_a_named_folder_must_be_the_project_itself(tmp_path, images):
    create(tmp_path, settings(images))
    with pytest.raises(InputError, match="There is no project in .*images"):
        find(images)


def test_the_environment_names_a_project(tmp_path, images, monkeypatch):
    create(tmp_path / "project", settings(images))
    monkeypatch.chdir(images)
    monkeypatch.setenv("PANOPTIC_PROJECT", str(tmp_path / "project"))
    assert find().folder == tmp_path / "project"


def test_without_a_project_the_way_to_make_one_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="panoptic-assets init FOLDER_OF_IMAGES"):
        find()


def test_a_new_project_has_no_run_that_nobody_asked_for(tmp_path, images):
    """The sensor `new_configs` would make a partition of its file."""
    project = create(tmp_path, ProjectSettings(images=str(images)))
    assert not list((project.configs / "runs").rglob("*"))
    assert (project.configs / "sweeps" / "number.yaml").is_file()


def test_a_new_project_has_the_shipped_run_that_it_is_for(tmp_path, images):
    project = create(tmp_path, ProjectSettings(images=str(images)), ["demo"])
    assert [path.name for path in (project.configs / "runs").iterdir()] == ["demo.yaml"]


def test_creating_copies_the_configs_and_keeps_those_of_the_user(tmp_path, images):
    mine = tmp_path / "configs" / "models" / "mini.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("model: mine\n")
    project = create(tmp_path, settings(images))
    assert mine.read_text() == "model: mine\n"
    assert (project.configs / "models" / "vit-b-32.yaml").is_file()
    assert (project.dagster_home / "dagster.yaml").is_file()


def test_creating_again_is_the_same_project(tmp_path, images):
    assert create(tmp_path, settings(images)) == create(tmp_path, settings(images))


def test_a_project_with_its_images_inside_can_be_moved(tmp_path, images):
    (tmp_path / "a" / "images").mkdir(parents=True)
    create(tmp_path / "a", settings(tmp_path / "a" / "images"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert find(tmp_path / "b").images == str(tmp_path / "b" / "images")


def test_a_folder_whose_name_begins_with_a_tilde_is_that_folder(tmp_path):
    (tmp_path / "~root").mkdir()
    assert create(tmp_path, settings(tmp_path / "~root")).images == str(tmp_path / "~root")


def test_images_may_be_a_url(tmp_path):
    url = "s3://bucket/a prefix/é"
    assert create(tmp_path, ProjectSettings(images=url)).images == url
    assert find(tmp_path).images == url
    assert create(tmp_path, ProjectSettings(images=url + "/")) == find(tmp_path)
    with pytest.raises(InputError, match="already is a project of s3://bucket/a prefix/é"):
        create(tmp_path, ProjectSettings(images="s3://bucket/other"))


def test_another_corpus_in_the_same_folder_is_refused(tmp_path, images):
    create(tmp_path, settings(images))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="already is a project of .*choose another folder"):
        create(tmp_path, settings(other))


def test_a_folder_whose_dagster_yaml_dagster_would_not_find_is_refused(tmp_path, images):
    with pytest.raises(InputError, match="choose a folder without"):
        create(tmp_path / "a [1]", settings(images))
    assert not (tmp_path / "a [1]").exists()


def test_a_disk_without_hard_links_is_refused_and_nothing_is_written(tmp_path, images, monkeypatch):
    """LanceDB makes each version appear by one; FAT and exFAT have none."""

    def link(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(InputError, match="hard links .Operation not permitted.*FAT"):
        create(tmp_path / "project", settings(images))
    assert list(tmp_path.iterdir()) == [images]
    assert create(tmp_path / "project", settings(images, store="s3://bucket/store"))


def test_a_folder_that_cannot_be_written_is_named_and_not_what_was_tried_in_it(
    tmp_path, images, monkeypatch
):
    def mkdir(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(InputError, match="nothing can be written") as caught:
        create(tmp_path / "project", settings(images))
    assert str(caught.value).startswith(
        f"{tmp_path / 'project'} cannot become a project, as nothing can be written in {tmp_path} "
        "(Read-only file system):"
    )


def test_images_that_do_not_exist_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        create(tmp_path, settings(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("images: [", "is not valid YAML"),
        ("- a", "must hold `name: value` lines"),
        ("image: x", "images: field required"),
        ("images: x\ncolour: red", "colour: extra inputs are not permitted"),
        ("images: x\n2: red", "keys should be strings"),
        ("images: x\nstore: 2024-13-01", "is not valid YAML"),
        ("images: " + "[" * 10_000, "is nested too deeply"),
    ],
)
def test_broken_settings_name_the_file_and_the_fault(tmp_path, images, content, message):
    create(tmp_path, settings(images))
    file = tmp_path / ".panoptic" / "project.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        find(tmp_path)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_written_whole_leaves_nothing(tmp_path):
    """A full disk gets no fuller."""
    (tmp_path / "a.html").mkdir()
    with pytest.raises(OSError, match=r"a\.html"):
        write_file(tmp_path / "a.html", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.parametrize(
    ("folder", "corpus"),
    [
        ("vases", "vases"),
        ("Vases_2-b", "Vases_2-b"),
        ("Époque moderne", "Epoque-moderne"),
        (" a/../b?c#d ", "b-c-d"),
        ("図書館", "corpus"),
        ("---", "corpus"),
        ("ﬁches № 3", "fiches-No-3"),
        ("Manual", "Manual-corpus"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_project_has_a_name_in_addresses(folder, corpus):
    """DESIGN 11: addresses carry the corpus from the start."""
    assert ProjectFolder(Path("/") / folder, ProjectSettings(images="i")).corpus == corpus
