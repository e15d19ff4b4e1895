"""What one file of the images' folder is: an image, several, none, or nothing that can be told now.

Belongs here: reading and decoding a file, and the lines of the manifest and the rows of images that
it gives. Does not belong here: which files are read, and writing what they give
(``corpus.ingestion``).
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from panoptic_assets.corpus.manifest import File, OtherFile
from resources import decoding
from resources.decoding import mean_colour, perceptual_hash, thumbnail
from resources.errors import UnreadableImage, noted
from resources.listing import SourceFile, UnavailableFile, UnfinishedFile
from resources.page_paths import page_id, page_path
from resources.picture_formats import foreign_format, format_of
from resources.picture_pages import Pages, pages_of
from resources.source import ImageSource

_DECODE_SIDE = 320
"""Pixels: twice the thumbnail's, see :func:`resources.decoding.decode`."""

_FRAMES = 500
"""Of an animation whose frames are all images: each costs the decoding of those before it, 400 of
40,000 pixels 20 CPU seconds."""

Row = dict[str, Any]


@dataclass(frozen=True)
class ReadFile:
    """What a file is."""

    path: str
    pages: list[tuple[File, Row | None]] = field(default_factory=list)
    """Each page that is an image, or is in quarantine, and the row of its image if that is new."""
    other: OtherFile | None = None
    """What it is if it is no image."""
    waits: Literal["", "unfinished", "unavailable"] = ""
    """Why nothing can be said of it now, so that it stays what it was: somebody was writing it, or
    it was not handed out, and nothing else says that it has changed."""


@dataclass(frozen=True)
class Reading:
    """How files are read; safe to use from many threads."""

    source: ImageSource
    every_page: bool
    """Whether each page of a file is an image; else the largest one is."""
    before: Mapping[str, File]
    """The manifest so far, by path."""
    again: set[str]
    """Paths of the files about which nothing has changed."""
    images: Mapping[str, datetime | None]
    """For each image that has a row, when it was first read."""
    decoded: set[str]
    """Ids of the images that need no row: they have one, or stay out."""

    def read(self, listed: SourceFile) -> ReadFile:
        """What a file is.

        Raises:
            InputError: The folder as a whole can no longer be reached.
        """
        source, path = self.source, listed.path
        line = File(
            path,
            None,
            "present",
            None,
            listed.size,
            listed.mtime_ns,
            listed.etag,
            "",
            listed.ctime_ns,
            listed.inode,
            listed.mount,
            read_at=time.time_ns() // 1000,
        )
        try:
            if not listed.is_named:
                head = source.head(path)
                if format_of(head) is None:
                    return ReadFile(path, other=_other(listed, head, source))
            data = source.read(path, listed, again=path in self.again)
            sha256 = hashlib.sha256(data).hexdigest()
            line = replace(line, image_id=sha256)
            found = pages_of(data)
            if self.every_page and found.is_animation and len(found.numbers) > _FRAMES:
                raise UnreadableImage(
                    noted(
                        "an animation of {count:,} frames; of more than {most:,} put the frames "
                        "there that are images",
                        count=len(found.numbers),
                        most=_FRAMES,
                    )
                )
        except UnfinishedFile:
            return ReadFile(path, waits="unfinished")
        except UnavailableFile as error:
            # A server that is busy for a night, or a file of which nobody knows whether it is an
            # image: neither is a reason to take an image away, nor to call the file broken.
            if path in self.again or not (listed.is_named or path in self.before):
                return ReadFile(path, waits="unavailable")
            return ReadFile(path, [(_quarantined(line, error, source), None)])
        except UnreadableImage as error:
            return ReadFile(path, [(_quarantined(line, error, source), None)])
        line = replace(line, nb_pages=len(found.numbers))
        numbers = found.numbers if self.every_page else (found.image,)
        return ReadFile(path, [self._page(line, page, data, found) for page in numbers])

    def _page(self, line: File, page: int, data: bytes, pages: Pages) -> tuple[File, Row | None]:
        image_id = page_id(str(line.image_id), page)
        file = replace(line, path=page_path(line.path, page), image_id=image_id)
        if image_id in self.decoded:
            return file, None
        try:
            return file, self._image_row(image_id, page, data, pages)
        except UnreadableImage as error:
            return _quarantined(file, error, self.source), None

    def _image_row(self, image_id: str, page: int, data: bytes, pages: Pages) -> Row:
        image = self.source.decode(data, _DECODE_SIDE, page, pages=pages)
        return {
            "image_id": image_id,
            "format": image.format,
            "width": image.width,
            "height": image.height,
            "bytes": len(data),
            "taken_at": image.taken_at,
            "phash": perceptual_hash(image.rgb),
            "mean_colour": mean_colour(image.rgb),
            "thumbnail": thumbnail(image.rgb),
            "added_at": self.images.get(image_id) or datetime.now(UTC),
            "decoder": decoding.ALGORITHM,
        }


def _quarantined(file: File, error: UnreadableImage, source: ImageSource) -> File:
    return replace(file, status="quarantined", reason=error.reason, reader=source.reader)


def _other(listed: SourceFile, head: bytes, source: ImageSource) -> OtherFile:
    return OtherFile(
        listed.path,
        foreign_format(head) or "",
        listed.size,
        listed.mtime_ns,
        listed.etag,
        listed.ctime_ns,
        listed.inode,
        source.reader,
    )
