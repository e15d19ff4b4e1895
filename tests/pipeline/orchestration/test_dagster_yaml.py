"""Bringing a dagster.yaml of another time up to date."""

import re

import pytest
import yaml

from panoptic_assets.orchestration.dagster_yaml import lacking_settings, update_settings
from panoptic_assets.orchestration.insides import check_settings
from resources.errors import InputError
from resources.project_folder import ProjectSettings, create

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
def older(tmp_path):
    """A project whose dagster.yaml is of another time, and changed by hand."""
    (tmp_path / "images").mkdir()
    project = create(tmp_path / "project", ProjectSettings(images=str(tmp_path / "images")))
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
        (
            "nux: {enabled: false}\nnux: {enabled: true}\n",
            "left as it is .*duplicate key",
        ),
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
    check_settings(older.dagster_home)
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
