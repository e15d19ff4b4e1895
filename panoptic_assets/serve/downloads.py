"""Files that are made when they are asked for, and of which nothing stays: exports, bundles.

Belongs here: what can be had, and that it is gone once it was sent. Does not belong here: what
stands in such a file (``tags.exchange``, ``proof.bundles``), and HTTP (``serve.api``).
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from pydantic import Field

from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import parse_run_key

if TYPE_CHECKING:
    from panoptic_assets.project import Project

_SUFFIXES = {"csv": "csv", "parquet": "parquet", "json": "json", "panoptic": "csv"}


class AskedExport(Parameters):
    """Tags for another program."""

    property: str | None = Field(default=None, description="Only its tags; all by default.")
    run: str | None = Field(default=None, description="What saving this run would make.")
    format: Literal["csv", "parquet", "json", "panoptic", "fiftyone"] = Field(
        default="csv", description="The program, or the form of the file."
    )


class AskedBundle(Parameters):
    """The evidence for a run."""

    key: str = Field(description="The run.")
    vectors: bool = Field(
        default=False, description="Whether the vectors go in, so that scores can be checked."
    )


@dataclass(frozen=True)
class Download:
    """A file that can be had."""

    path: str
    """Below ``/panoptic/<corpus>/api/``; names in braces are fields of ``asked``."""
    summary: str
    """What it is: a sentence."""
    asked: type[Parameters]
    """What may be asked."""
    name: Callable[[Any], str]
    """What it is called on the other side."""
    write: Callable[["Project", Any, Path], object]
    """Writes it."""

    def made(self, project: "Project", asked: Parameters) -> tuple[str, IO[bytes]]:
        """Its name, and the file, open, which no folder holds any more.

        Raises:
            InputError: There is nothing of the kind.
        """
        name = self.name(asked)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            self.write(project, asked, path)
            return name, path.open("rb")


def _write_export(project: "Project", asked: AskedExport, path: Path) -> object:
    return project.export(path, asked.property, asked.run, asked.format)


def _write_bundle(project: "Project", asked: AskedBundle, path: Path) -> object:
    return project.bundle(asked.key, path, asked.vectors)


DOWNLOADS = (
    Download(
        "export",
        "Tags, for other programs.",
        AskedExport,
        lambda asked: f"tags.{_SUFFIXES.get(asked.format, 'json')}",
        _write_export,
    ),
    Download(
        "bundle/{key}",
        "The evidence for a run, as one zip file.",
        AskedBundle,
        lambda asked: f"{parse_run_key(asked.key)}.zip",
        _write_bundle,
    ),
)
