"""A report whose exchange is killed."""

import os
import signal
from pathlib import Path

import pytest

from resources.project_folder import ProjectSettings, create
from resources.report_folder import ReportFolder
from tests import processes


@pytest.fixture
def reports(tmp_path):
    (tmp_path / "images").mkdir()
    create(tmp_path / "p", ProjectSettings(images=str(tmp_path / "images")))
    return ReportFolder(folder=str(tmp_path / "p"))


def write_and_be_killed(folder, renames):
    """Write a report, and be killed before one of the renames that put it in its place."""
    left = iter(range(renames))
    rename = Path.replace

    def replace(path, target):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.replace = replace
    with ReportFolder(folder=folder).new("runs/greek") as draft:
        (draft / "index.html").write_text("after")


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_killed_amid_the_exchange_a_report_is_there_after_the_next_start(reports, renames):
    with reports.new("runs/greek") as folder:
        (folder / "index.html").write_text("before")
    process = processes.start(write_and_be_killed, reports.folder, renames)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    reports.recover()
    shown = (reports.path("runs/greek") / "index.html").read_text()
    assert shown == ("after" if renames == 2 else "before")
    with reports.new("runs/greek") as folder:
        (folder / "index.html").write_text("again")
    assert (reports.path("runs/greek") / "index.html").read_text() == "again"
