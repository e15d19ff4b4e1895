"""Pictures for pages: thumbnails out of the store, and previews that are made of the files.

Belongs here: how many files are decoded at once, what is kept in memory, and that a picture under
an id shows what has that id. Does not belong here: decoding itself (``resources.decoding``), what
is kept on the disk (``resources.preview_folder``), and HTTP (``serve.api``).

Every file may be hostile. It is read and decoded within the limits of a refresh, two at a time at
most, and each once however many ask for it; what is shown is a WebP made anew, without whatever
else was in the file.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field

from panoptic_assets.corpus.table import read_thumbnails
from panoptic_assets.serve.api_reads import AskedImage, no_such_image
from resources.decoding import thumbnail
from resources.errors import InputError, UnavailableError, UnreadableImage
from resources.lance import LanceStore, quoted
from resources.preview_folder import PreviewFolder
from resources.source import ImageSource

T = TypeVar("T")

Side = Literal[512, 1024, 2048]
SIDES: tuple[int, ...] = get_args(Side)
"""Pixels of the longer side of a preview, at most; a smaller image is not enlarged."""

AT_ONCE = 2
"""Files that are decoded; one takes up to 20 bytes for each of its pixels (see ``source``)."""
WAITING = 64
"""Previews that may be waited for; a browser asks for six at a time."""
KEPT_BYTES = 128 * 2**20
"""Of previews and thumbnails in memory."""
KEPT_BYTES_ON_DISK = 2**30
"""Of previews: 20,000 images at 512 pixels take .5 GB."""
SECONDS = 20.0
"""For which somebody waits for a preview."""

_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


def _number(given: Any) -> Any:
    """The number that a text in an address is, which a choice of numbers does not take."""
    return int(given) if isinstance(given, str) and re.fullmatch(r"[0-9]{1,5}", given) else given


class AskedPreview(AskedImage):
    """An image, and how large."""

    size: Annotated[Side, BeforeValidator(_number)] = Field(
        default=1024, description="Pixels of its longer side, at most."
    )


@dataclass(frozen=True)
class PictureAddress:
    """An address of pictures."""

    path: str
    """Below ``/panoptic/<corpus>/api/``; names in braces are fields of ``asked``."""
    summary: str
    """What is shown there: a sentence."""
    asked: type[AskedImage]
    """What may be asked."""


PICTURES = (
    PictureAddress(
        "thumbnails/{image_id}.webp", "An image, of 160 pixels at most, as it was read.", AskedImage
    ),
    PictureAddress("previews/{image_id}.webp", "An image, read from its file now.", AskedPreview),
)


class PictureGoneError(InputError):
    """An image that is known, but none of whose files can be shown."""


class PreviewsBusyError(UnavailableError):
    """More previews are waited for than may be, or for longer."""


def preview_is_slow() -> PreviewsBusyError:
    """The refusal of a preview that is not there in time; it goes on being made."""
    return PreviewsBusyError(
        "This picture takes more than {seconds:.0f} seconds to be made: ask again in a moment.",
        id="preview-slow",
        seconds=SECONDS,
    )


class Previews:
    """The pictures of one project.

    Args:
        store: Where thumbnails are, and the files of images are known.
        source: Where the files are.
        kept_bytes: Of pictures in memory.
        folder: Where previews are kept on the disk; None: nowhere.
        kept_bytes_on_disk: Of previews there.
    """

    def __init__(
        self,
        store: LanceStore,
        source: ImageSource,
        kept_bytes: int = KEPT_BYTES,
        folder: Path | None = None,
        kept_bytes_on_disk: int = KEPT_BYTES_ON_DISK,
    ):
        self._on_disk = None if folder is None else PreviewFolder(folder, kept_bytes_on_disk)
        self._store = store
        self._source = source
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._making: dict[tuple[str, int], Future[bytes]] = {}
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(AT_ONCE, "preview")

    def thumbnail(self, image_id: str) -> bytes:
        """The WebP that was made when the image was first read, of 160 pixels at most.

        Raises:
            InputError: There is no such image.
        """
        _check_id(image_id)
        if (found := self._from_memory((image_id, 0))) is not None:
            return found
        try:
            [picture] = read_thumbnails(self._store, [image_id])
        except KeyError as error:
            raise no_such_image(image_id) from error
        self._keep((image_id, 0), picture)
        return picture

    def preview(self, image_id: str, side: int) -> "Future[bytes]":
        """A WebP of the image whose longer side has that many pixels at most, once it is made.

        Its future raises :class:`PictureGoneError` where no file can be shown, and InputError where
        there is no such image or the images cannot be reached.

        Args:
            image_id: The image.
            side: One of :data:`SIDES`.

        Raises:
            InputError: That is no id.
            PreviewsBusyError: Too many are waited for.
        """
        _check_id(image_id)
        wanted = (image_id, side)
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
                made: Future[bytes] = Future()
                made.set_result(self._kept[wanted])
                return made
            if wanted in self._making:
                return self._making[wanted]
            if len(self._making) >= WAITING:
                raise PreviewsBusyError(
                    "{waiting} previews are waited for already: ask again in a moment.",
                    id="previews-busy",
                    waiting=WAITING,
                )
            making = self._decoders.submit(self._make, image_id, side)
            self._making[wanted] = making
        making.add_done_callback(lambda _: self._made(wanted))
        return making

    def close(self) -> None:
        """Begin no further preview."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def _made(self, wanted: tuple[str, int]) -> None:
        with self._lock:
            self._making.pop(wanted, None)

    def _make(self, image_id: str, side: int) -> bytes:
        if self._on_disk is not None and (kept := self._on_disk.get(image_id, side)) is not None:
            self._keep((image_id, side), kept)
            return kept

        def shown(path: str) -> bytes:
            return thumbnail(self._source.picture(path, image_id, side).rgb, side)

        picture = from_files(self._store, image_id, shown)
        self._keep((image_id, side), picture)
        if self._on_disk is not None:
            self._on_disk.put(image_id, side, picture)
        return picture

    def _from_memory(self, wanted: tuple[str, int]) -> bytes | None:
        with self._lock:
            found = self._kept.get(wanted)
            if found is not None:
                self._kept.move_to_end(wanted)
            return found

    def _keep(self, wanted: tuple[str, int], picture: bytes) -> None:
        with self._lock:
            self._bytes += len(picture) - len(self._kept.pop(wanted, b""))
            self._kept[wanted] = picture
            while self._bytes > self._kept_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest)


def from_files(store: LanceStore, image_id: str, use: Callable[[str], T]) -> T:
    """What was made of the first file that still shows an image.

    Args:
        store: Where the files of images are known.
        image_id: The image.
        use: Makes something of a file, or a page of it, by its path; raises UnreadableImage where
            that cannot be read or shows another image by now.

    Raises:
        PictureGoneError: No file holds it, or none can be used.
        InputError: There is no such image, or the images cannot be reached.
    """
    _check_id(image_id)
    where = f"image_id = {quoted(image_id)}"
    rows = store.read("files", ["path", "status", "reason"], where)
    files = sorted(rows.to_pylist(), key=lambda row: row["path"])
    if not files:
        raise no_such_image(image_id)
    reason = next((file["reason"] for file in files if file["reason"]), None)
    for path in (file["path"] for file in files if file["status"] == "present"):
        try:
            return use(path)
        except UnreadableImage as error:
            reason = error.reason
    raise PictureGoneError(
        "None of the {nb_files} files of image {image_id} can be shown: {reason}.",
        id="picture-gone",
        nb_files=len(files),
        image_id=image_id[:12],
        reason=reason or "all are missing",
    )


def _check_id(image_id: str) -> None:
    if not _IMAGE_ID.fullmatch(image_id):
        raise no_such_image(image_id)
