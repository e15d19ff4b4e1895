"""The project that a command is about.

Belongs here: how commands get at a project. Does not belong here: what they do with it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_assets.cli.terminal import TerminalReporter
from panoptic_assets.spec.keys import parse_clustering

if TYPE_CHECKING:
    from panoptic_assets.project import Project


def open_project(
    folder: Path | None, key: str | None = None, readers: int | None = None
) -> "Project":
    """The project in a folder, or around the working directory; checks a key first."""
    if key is not None:
        parse_clustering(key)

    from panoptic_assets.project import Project

    return Project(folder, reporter=TerminalReporter(), readers=readers)
