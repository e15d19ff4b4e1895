"""Finding and creating a project's folder."""

import re

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from resources.errors import InputError
from resources.project import (
    ProjectSettings,
    create,
    find,
    lacking_settings,
    update_settings,
    write_file,
)


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


OLDER = """\
# Mine, réglé à la main.
telemetry: {enabled: true}   # I said so
nux:
    enabled: false

storage:
  postgres:
    postgres_url:
      env: 'PANOPTIC_POSTGRES_URL'
run_monitoring:
  enabled: true  # checked
  # the last word

freshness:
  enabled: false
retention:
  sensor:
    purge_after_days:
      skipped: 7
"""


@pytest.fixture
def older(tmp_path, images):
    """A project whose dagster.yaml is of another time, and changed by hand."""
    project = create(tmp_path / "project", settings(images))
    (project.dagster_home / "dagster.yaml").write_text(OLDER)
    return project


def shipped(project):
    return yaml.safe_load((project.configs / "dagster.yaml").read_text())


def test_what_an_older_dagster_yaml_lacks_is_named(older):
    lacking = lacking_settings(older.dagster_home)
    assert lacking[:2] == ["concurrency", "run_retries"]
    assert {
        "run_monitoring.free_slots_after_run_end_seconds",
        "retention.schedule",
        "retention.sensor.purge_after_days.failure",
    } <= set(lacking)
    assert not [name for name in lacking if name.startswith(("telemetry", "nux", "freshness"))]


def test_an_older_dagster_yaml_gets_what_it_lacks_and_keeps_all_that_it_says(older):
    file = older.dagster_home / "dagster.yaml"
    lacking = lacking_settings(older.dagster_home)
    assert update_settings(older) == {file: lacking}
    text, now, new = file.read_text(), yaml.safe_load(file.read_text()), shipped(older)
    assert now["run_retries"] == new["run_retries"]
    assert now["concurrency"] == new["concurrency"]
    assert now["run_monitoring"] == new["run_monitoring"]
    assert now["retention"]["sensor"]["purge_after_days"]["skipped"] == 7
    assert (now["telemetry"]["enabled"], now["freshness"]["enabled"]) == (True, False)
    assert now["storage"] == yaml.safe_load(OLDER)["storage"]
    for remark in ("# Mine, réglé à la main.", "# I said so", "# checked", "# the last word"):
        assert remark in text
    # With its reason, as in the shipped file.
    assert re.search(r"\n# A run whose process was killed.*\n(#.*\n)*run_retries:", text)

    assert lacking_settings(older.dagster_home) == []
    assert update_settings(older) == {}
    assert file.read_text() == text


def test_the_copy_among_the_configs_is_brought_up_too(older):
    """From it the instance's own is written anew."""
    copy = older.configs / "dagster.yaml"
    copy.write_text("telemetry:\n  enabled: false\n")
    assert set(update_settings(older)) == {copy, older.dagster_home / "dagster.yaml"}
    assert yaml.safe_load(copy.read_text())["run_retries"]["enabled"] is True
    copy.unlink()
    assert update_settings(older) == {}


def test_what_people_deleted_of_the_configs_does_not_come_back(older):
    (older.configs / "dagster.yaml").unlink()
    (older.configs / "models" / "mini.yaml").unlink()
    update_settings(older)
    assert not (older.configs / "dagster.yaml").exists()
    assert not (older.configs / "models" / "mini.yaml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nux: {enabled: false}\nnux: {enabled: true}\n", "Nothing can be added to .*dagster.yaml"),
        ("- a\n", "must hold `name: value` lines"),
        ("a: [\n", "is not valid YAML"),
    ],
)
def test_a_dagster_yaml_that_cannot_be_added_to_is_left_as_it_is(older, text, message):
    file = older.dagster_home / "dagster.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        update_settings(older)
    assert len(str(caught.value).splitlines()) == 1
    assert file.read_text() == text


OWN_COORDINATOR = """\
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
"""


@pytest.mark.parametrize(
    ("text", "concurrency"),
    [
        ("run_queue: {max_concurrent_runs: 1}\n", []),
        ("run_queue: {dequeue_interval_seconds: 9}\n", ["pools"]),
        (OWN_COORDINATOR, ["pools"]),
        (OWN_COORDINATOR + "  config: {max_concurrent_runs: 1}\n", []),
        ("concurrency: {pools: {granularity: run}}\n" + OWN_COORDINATOR, ["pools"]),
    ],
)
def test_a_queue_of_ones_own_gets_no_settings_beside_which_dagster_refuses_it(
    older, text, concurrency
):
    file = older.dagster_home / "dagster.yaml"
    file.write_text(text)
    lacking = lacking_settings(older.dagster_home)
    assert "concurrency.runs" not in lacking and "run_retries" in lacking
    assert update_settings(older) == {file: lacking}
    assert list(yaml.safe_load(file.read_text()).get("concurrency", {})) == concurrency
    dagster_instance_config(str(older.dagster_home))
    assert lacking_settings(older.dagster_home) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concurrency: {default_op_concurrency_limit: 3}\n", "incompatible with `pools` config"),
        ("colour: red\n", 'Received unexpected config entry "colour"'),
        ("storage:\n", "NoneType"),
    ],
)
def test_what_dagster_would_refuse_is_not_written(older, text, message):
    file, copy = older.dagster_home / "dagster.yaml", older.configs / "dagster.yaml"
    file.write_text("telemetry: {enabled: false}\n")
    copy.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        update_settings(older)
    assert str(copy) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert (copy.read_text(), file.read_text()) == (text, "telemetry: {enabled: false}\n")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_dagster_yaml_becomes_the_shipped_one(older, text):
    file = older.dagster_home / "dagster.yaml"
    file.write_text(text)
    update_settings(older)
    assert yaml.safe_load(file.read_text()) == shipped(older)
