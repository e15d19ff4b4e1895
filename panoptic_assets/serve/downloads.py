"""Files that are made when they are asked for, and of which nothing stays: exports, bundles.

Belongs here: what can be had, and that it is gone once it was sent. Does not belong here: what
stands in such a file (``tags.exchange``, ``proof.bundles``), and HTTP (``serve.api``).
"""

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from pydantic import Field

from panoptic_assets.serve.api_reads import AskedImage, AskedScope, lines_untold
from panoptic_assets.serve.previews import from_files
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.keys import parse_run_key
from resources.lance import quoted
from resources.page_paths import file_of

if TYPE_CHECKING:
    from panoptic_assets.project import Project

_NAMES = {
    "csv": "tags.csv",
    "parquet": "tags.parquet",
    "json": "tags.json",
    "panoptic": "for-panoptic.zip",
    "fiftyone": "tags.json",
    "images": "images.parquet",
    "omeka": "omeka.csv",
    "tropy": "tropy.csv",
}
"""What the file of a format is called."""


class AskedExport(Parameters):
    """Tags for another program."""

    property: str | None = Field(default=None, description="Only its tags; all by default.")
    run: str | None = Field(
        default=None,
        description="What saving this run would make; of `images`, whose clusters are told.",
    )
    format: Literal[
        "csv", "parquet", "json", "panoptic", "fiftyone", "images", "omeka", "tropy"
    ] = Field(default="csv", description="The program, or the form of the file.")
    projection: str | None = Field(default=None, description="Of `images`: whose points go in.")
    vector_type: str | None = Field(default=None, description="Of `images`: whose vectors go in.")
    thumbnails: bool = Field(
        default=False, description="Of `images`: whether small pictures go in."
    )
    title: str | None = Field(
        default=None,
        description="Of `omeka` and `tropy`: the inventory's property with the titles.",
    )


class AskedImageExport(AskedScope):
    """Images for another program: those of a scope, or those that are named."""

    image: list[str] = Field(
        default_factory=list,
        max_length=500,
        description="In place of a scope images, by id or path, each as a parameter of its own.",
    )
    format: Literal["csv", "zip"] = Field(
        default="csv", description="A table, or the pictures; of these 2,000 and 2 GB at most."
    )
    run: str | None = Field(
        default=None, description="Of a table: also tell the cluster of each image in this run."
    )
    pictures: Literal["512", "1024", "2048", "original"] = Field(
        default="1024",
        description="Pixels of the pictures' longer side, at most; or the files as they are.",
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
    name: Callable[["Project", Any], str]
    """What it is called on the other side."""
    write: Callable[["Project", Any, Path], object]
    """Writes it."""

    def made(self, project: "Project", asked: Parameters) -> tuple[str, IO[bytes]]:
        """Its name, and the file, open, which no folder holds any more.

        Raises:
            InputError: There is nothing of the kind.
        """
        name = self.name(project, asked)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            self.write(project, asked, path)
            return name, path.open("rb")


def _write_export(project: "Project", asked: AskedExport, path: Path) -> object:
    if asked.format == "panoptic":
        # Its tree stands in files beside the table.
        table = path.with_suffix(".csv")
        done = project.export(table, asked.property, asked.run, asked.format)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as together:
            for file in (table, *done.beside):
                together.write(file, file.name)
        return done
    return project.export(
        path,
        asked.property,
        asked.run,
        asked.format,
        projection=asked.projection,
        vector_type=asked.vector_type,
        thumbnails=asked.thumbnails,
        title=asked.title,
    )


def _write_images(project: "Project", asked: AskedImageExport, path: Path) -> object:
    with lines_untold():
        return project.export_images(
            path,
            asked.document,
            asked.image or None,
            asked.format,
            asked.run,
            asked.pictures,
            asked.vector_type,
            asked.order,
        )


def _write_bundle(project: "Project", asked: AskedBundle, path: Path) -> object:
    return project.bundle(asked.key, path, asked.vectors)


def _original_name(project: "Project", asked: AskedImage) -> str:
    from panoptic_assets.tags.exchange.folders import safe_name

    where = f"image_id = {quoted(asked.image_id)} AND status = 'present'"
    paths = project.store.read("files", ["path"], where)["path"].to_pylist()
    return safe_name(file_of(min(paths, default=asked.image_id[:12])).rpartition("/")[2])


def _write_original(project: "Project", asked: AskedImage, path: Path) -> object:
    source = project.context.source
    data = from_files(
        project.store, asked.image_id, lambda path: source.bytes_of(path, asked.image_id)
    )
    return path.write_bytes(data)


DOWNLOADS = (
    Download(
        "export",
        "Tags, for other programs.",
        AskedExport,
        lambda _, asked: _NAMES[asked.format],
        _write_export,
    ),
    Download(
        "export-images",
        "Images as a table, or their pictures as one zip file.",
        AskedImageExport,
        lambda _, asked: f"images.{asked.format}",
        _write_images,
    ),
    Download(
        "bundle/{key}",
        "The evidence for a run, as one zip file.",
        AskedBundle,
        lambda _, asked: f"{parse_run_key(asked.key)}.zip",
        _write_bundle,
    ),
    Download(
        "originals/{image_id}",
        "The file of an image as it is, with whatever else is in it.",
        AskedImage,
        _original_name,
        _write_original,
    ),
)
