"""Environment variables: what is wrong with one is said at once, in one line that names it."""

import pytest

from panoptic_assets.upkeep import environment
from resources.errors import InputError
from tests.commands import refused


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("Paris", "such as Europe/Paris, or unset it"),
        ("new york", "such as America/New_York, or unset it"),
        ("Europe/Pariss", "Europe/Paris"),
        ("UTC+2", "or unset it"),
        ("Europe", "or unset it"),  # a folder of the system's
        ("../../etc/passwd", "or unset it"),
        ("/etc/localtime", "or unset it"),
        ("Zürich", "or unset it"),
        ("\ud800", "or unset it"),
        ("a" * 5000, "or unset it"),
    ],
)
def test_what_is_no_time_zone_is_refused_with_one_that_may_be_meant(monkeypatch, given, remedy):
    monkeypatch.setenv("PANOPTIC_TIMEZONE", given) if given != "\ud800" else monkeypatch.setattr(
        environment.os, "environ", {"PANOPTIC_TIMEZONE": given}
    )
    with pytest.raises(InputError, match="PANOPTIC_TIMEZONE is .* no time zone") as caught:
        environment.timezone()
    assert remedy in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("given", ["Europe/Paris", "UTC", "Etc/GMT-2", " Asia/Tokyo "])
def test_a_time_zone_is_taken(monkeypatch, given):
    monkeypatch.setenv("PANOPTIC_TIMEZONE", given)
    assert environment.timezone() == given.strip()


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "often", "1e3", "86401", "9" * 5000])
def test_what_is_no_number_of_seconds_is_refused(monkeypatch, given):
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", given)
    with pytest.raises(InputError, match="PANOPTIC_SENSOR_SECONDS is "):
        environment.sensor_seconds(60)


@pytest.mark.parametrize("given", ["", "  "])
def test_an_empty_variable_is_as_none(monkeypatch, given):
    monkeypatch.setenv("PANOPTIC_SENSOR_SECONDS", given)
    monkeypatch.setenv("PANOPTIC_TIMEZONE", given)
    assert (environment.sensor_seconds(60), environment.timezone()) == (60, "UTC")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PANOPTIC_TIMEZONE", "Paris"),
        ("PANOPTIC_SENSOR_SECONDS", "soon"),
        ("PANOPTIC_NOTIFY_URL", "ftp://example.org"),
        ("PANOPTIC_URL", "example.org"),
        ("PANOPTIC_PROJECT", "/nowhere"),
        ("DAGSTER_HOME", "relative"),
    ],
)
def test_the_ui_is_not_opened_with_a_variable_that_cannot_be_used(bench, variable, value):
    place = {} if variable == "PANOPTIC_PROJECT" else {"cwd": bench.project.folder}
    line = refused("ui", "--port", 0, **{"cwd": "/", **place, variable: value})
    assert variable in line


@pytest.mark.parametrize(
    ("variable", "value"), [("PANOPTIC_TIMEZONE", "Paris"), ("PANOPTIC_SENSOR_SECONDS", "soon")]
)
def test_a_command_that_materializes_names_the_variable(bench, variable, value):
    arguments = ("cluster", "k", "--nb-clusters", 3)
    line = refused(*arguments, cwd=bench.project.folder, process="anew", **{variable: value})
    assert variable in line


def test_a_command_that_would_link_reports_names_their_address(bench):
    """Before anything is computed that could not be shown."""
    arguments = ("cluster", "k", "--nb-clusters", 3)
    line = refused(*arguments, cwd=bench.project.folder, PANOPTIC_URL="example.org")
    assert "PANOPTIC_URL" in line
