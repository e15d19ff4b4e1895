"""Images for other programs: a table of some images, or their pictures as one zip file.

Belongs here: what stands in these files, and how large they may be. Does not belong here: tags for
other programs (``tags.exchange.transfer``), and which images are meant.
"""

import csv
import io
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO

import pyarrow as pa

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.labels.pictures import Pictures
from panoptic_assets.spec.formulas import protected
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.tag_log import TagTables, paths
from panoptic_assets.tags.exchange.folders import FolderNames
from resources.decoding import jpeg
from resources.errors import InputError, UnreadableImage
from resources.lance import LanceStore
from resources.page_paths import file_name, file_of

PictureSize = Literal["512", "1024", "2048", "original"]
"""Pixels of a picture's longer side, at most, as a JPEG made anew; or the file as it is."""

MOST_PICTURES = 2_000
MOST_BYTES = 2 * 2**30
"""Of the pictures in one zip file."""

_TABLE = "images.csv"
"""In the zip file: which picture is which image, and why one is not there."""
_BETWEEN = " | "
"""Between several tags in one cell."""


def write_image_table(
    file: TextIO, images: pa.Table, tags: TagTables, store: LanceStore, run_key: str | None
) -> None:
    """Write a table of images as CSV, a line for each, in their order.

    Its columns are image_id, path, width and height; similarity or distance, where one is known;
    ``tags: PROPERTY`` for each property of tags, several parted by `` | ``; and ``cluster: RUN``,
    the deepest node that holds the image.

    Args:
        file: Takes it.
        images: As :func:`panoptic_assets.clustering.scope_images.image_rows` gives them.
        tags: All tags.
        store: The store.
        run_key: The run whose clusters are told; None for none.

    Raises:
        InputError: There is no such run.
    """
    names = ["image_id", "path", "width", "height"]
    names += [name for name in ("similarity", "distance") if images[name].null_count < len(images)]
    columns = {name: images[name].to_pylist() for name in names}
    ids = columns["image_id"]
    for property_name, carried in _carried(tags).items():
        columns[f"tags: {property_name}"] = [_BETWEEN.join(carried.get(one, ())) for one in ids]
    if run_key is not None:
        clusterings = Clusterings(store, parse_run_key(run_key))
        clusterings.get(run_key)
        places = clusterings.places(run_key)
        columns[f"cluster: {run_key}"] = [places.get(image_id, "") for image_id in ids]
    _write_rows(file, columns, zip(*columns.values(), strict=True))


def _carried(tags: TagTables) -> dict[str, dict[str, list[str]]]:
    """For each property the paths of the tags of each image, in the order of the trees."""
    named, properties = paths(tags.tags), {tag.tag_id: tag.property for tag in tags.tags}
    order = {tag_id: place for place, tag_id in enumerate(named)}
    found: dict[str, dict[str, list[str]]] = {name: {} for name in sorted(properties.values())}
    for tag_id, image_id in sorted(tags.images, key=lambda pair: order[pair[0]]):
        found[properties[tag_id]].setdefault(image_id, []).append(named[tag_id])
    return found


def _write_rows(file: TextIO, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    writer = csv.writer(file)
    writer.writerow([protected(name) for name in names])
    for row in rows:
        writer.writerow([protected(cell) if isinstance(cell, str) else cell for cell in row])


def write_pictures(
    destination: Path, image_ids: list[str], pictures: Pictures, size: PictureSize
) -> int:
    """Write the pictures of images as one zip file; how many there are in it.

    Their names are those of their files, in the same folders, but safe on every disk and each once.
    An original that shows several of the images, each on a page, is there once.
    ``images.csv`` says which is which, and of which image there is no picture.

    Args:
        destination: The file.
        image_ids: The images.
        pictures: Where they are read.
        size: How large.

    Raises:
        InputError: They are too many or too large, or the source of images cannot be reached.
    """
    if len(image_ids) > MOST_PICTURES:
        raise InputError(
            "These are {nb_images:,} images, and one zip file has the pictures of {most:,} at "
            "most: choose fewer, or export a table.",
            id="too-many-pictures",
            nb_images=len(image_ids),
            most=MOST_PICTURES,
        )
    places, names, total = _Places(), [], 0
    originals: dict[str, str] = {}
    # JPEG and the like do not get smaller by compression.
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as archive:
        for image_id in image_ids:
            path = next(iter(pictures.files.get(image_id, ())), "")
            name = originals.get(file_of(path), "")
            content, ending = (None, "") if name else _picture(pictures, image_id, size)
            if content is not None:
                total += len(content)
                _check_bytes(total)
                name = places.free(path or image_id, ending)
                archive.writestr(name, content)
                if size == "original":
                    originals[file_of(path)] = name
            names.append((name, image_id, path))
        table = io.StringIO()
        _write_rows(table, ("file", "image_id", "path"), names)
        archive.writestr(_TABLE, table.getvalue().encode("utf-8", "replace"))
    return sum(bool(name) for name, _, _ in names)


def _check_bytes(total: int) -> None:
    if total > MOST_BYTES:
        raise InputError(
            "These pictures are larger than {gigabytes} GB together, which is the limit of one zip "
            "file: choose fewer images, or a smaller size.",
            id="pictures-too-large",
            gigabytes=MOST_BYTES // 2**30,
        )


def _picture(pictures: Pictures, image_id: str, size: PictureSize) -> tuple[bytes | None, str]:
    """A picture, None where no file shows the image; and the ending of its name, "" for its own."""
    if size == "original":
        for path in pictures.files.get(image_id, ()):
            with suppress(UnreadableImage):
                return pictures.source.bytes_of(path, image_id), ""
        return None, ""
    side = int(size)
    with suppress(UnreadableImage):
        shown = pictures.from_files(image_id, side)
        return (None if shown is None else jpeg(shown, side)), ".jpg"
    return None, ".jpg"


class _Places:
    """Gives files names in the zip: of their folders and their own, safe, each one once."""

    def __init__(self) -> None:
        self._names = FolderNames()
        self._folders: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}
        self._names.free((), _TABLE)

    def free(self, path: str, ending: str) -> str:
        """A name for the picture of a file.

        Args:
            path: The file's, or of a page of it.
            ending: In place of its own; empty for the file itself.
        """
        *above, last = path.split("/")
        name = f"{PurePosixPath(file_name(last)).stem}{ending}" if ending else file_of(last)
        folder = self._folder(tuple(above))
        return "/".join((*folder, self._names.free(folder, name)))

    def _folder(self, above: tuple[str, ...]) -> tuple[str, ...]:
        if above not in self._folders:
            outer = self._folder(above[:-1])
            self._folders[above] = (*outer, self._names.free(outer, above[-1]))
        return self._folders[above]
