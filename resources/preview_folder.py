"""Previews on the disk, so that they are there after a restart: the oldest go when they are many.

Belongs here: which file holds which preview, and how many bytes they take. Does not belong here:
making previews (``panoptic_assets.serve.previews``).

Nothing of it is needed: whatever the disk refuses is not kept, and a preview is made again.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from resources.decoding import ALGORITHM
from resources.project_folder import write_file

_KEPT_SHARE = 0.9
"""Of the bytes that may be kept, what remains when room is made: not one file at a time."""


class PreviewFolder:
    """The previews of one project.

    Args:
        folder: Where they are; it is made when the first one is kept.
        most_bytes: Of all files together; those that were not looked at for longest go first.
    """

    def __init__(self, folder: Path, most_bytes: int):
        self._folder = folder
        self._most_bytes = most_bytes
        self._bytes: int | None = None
        self._lock = threading.Lock()

    def get(self, image_id: str, side: int) -> bytes | None:
        """A preview as it was kept; None if it was not, or is not whole.

        Args:
            image_id: The image, 64 hexadecimal digits.
            side: Pixels of its longer side, at most.
        """
        path = self._path(image_id, side)
        try:
            found = path.read_bytes()
        except OSError:
            return None
        if not _is_whole(found):
            return None
        with suppress(OSError):  # the time by which the oldest are known
            os.utime(path)
        return found

    def put(self, image_id: str, side: int, picture: bytes) -> None:
        """Keep a preview, if the disk lets it be kept.

        Args:
            image_id: The image.
            side: As in :meth:`get`.
            picture: A WebP.
        """
        path = self._path(image_id, side)
        try:
            write_file(path, picture)
        except OSError:
            return
        with self._lock:
            known = self._bytes is not None
            self._bytes = (self._bytes or 0) + len(picture) if known else self._counted()
            if self._bytes > self._most_bytes:
                self._bytes = self._make_room()

    def remove(self, image_ids: Iterable[str]) -> int:
        """Remove all previews of some images; returns how many there were.

        Raises:
            OSError: One cannot be removed.
        """
        removed = 0
        for image_id in image_ids:
            for path in [*self._folder.glob(f"{image_id[:2]}/{image_id}-*")]:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _path(self, image_id: str, side: int) -> Path:
        return self._folder / image_id[:2] / f"{image_id}-{side}-{ALGORITHM}.webp"

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time, bytes and path of each file."""
        with suppress(OSError), os.scandir(self._folder) as folders:
            for folder in folders:
                with suppress(OSError), os.scandir(folder) as files:
                    for file in files:
                        with suppress(OSError):
                            state = file.stat(follow_symlinks=False)
                            yield state.st_mtime, state.st_size, Path(file.path)

    def _counted(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> int:
        """Remove the oldest files; returns the bytes that are left."""
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self._most_bytes * _KEPT_SHARE:
                break
            with suppress(OSError):
                path.unlink()
                left -= size
        return left


def _is_whole(picture: bytes) -> bool:
    """Whether a WebP has all its bytes (RFC 9649): a crash of the machine may leave a part."""
    return picture[:4] == b"RIFF" and len(picture) == 8 + int.from_bytes(picture[4:8], "little")
