"""The project that a command is about, opened to be read or to be worked on.

Belongs here: how commands get at a project. Does not belong here: what they do with it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_assets.cli.terminal import TerminalReporter
from panoptic_assets.spec.keys import parse_clustering

if TYPE_CHECKING:
    from panoptic_assets.project import Project
    from panoptic_assets.runner import Runner


def open_project(folder: Path | None, key: str | None = None) -> "Project":
    """The API of the project in a folder, or around the working directory; checks a key first."""
    if key is not None:
        parse_clustering(key)

    from panoptic_assets.project import Project
    from panoptic_assets.runner import open_store
    from resources.project_folder import find

    project = find(folder)
    open_store(project)
    return Project(project.folder)


def open_runner(folder: Path | None, readers: int | None = None) -> "Runner":
    """What materializes assets of the project in a folder, or around the working directory."""
    from panoptic_assets.runner import Runner
    from resources.project_folder import find

    return Runner(find(folder), TerminalReporter(), readers)


def reader_of(runner: "Runner") -> "Project":
    """The API of the project that is worked on."""
    from panoptic_assets.project import Project

    return Project(runner.folder.folder)
