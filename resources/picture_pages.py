"""Which pictures of a file are pages, told without decoding them.

Belongs here: counting the pictures of each format, and choosing the one that is the file's image.
Does not belong here: how a page is written and what its id is (``pages``), and decoding one
(``decoding``).

Files may be hostile: what is counted is counted within a limit, and each byte is looked at once.
"""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile

from resources.errors import UnreadableImage, noted
from resources.jpeg_markers import indexed_pictures
from resources.picture_formats import SNIFFED, known_format
from resources.picture_headers import png_chunk
from resources.tiff import LENGTH, SUBFILE, WIDTH, Directory, directories

MAX_PAGES = 10_000
"""Files of more pages are refused."""

_MAX_BLOCKS = 4_000_000
"""Of a GIF: 1 GB in blocks of 255 bytes; of no byte each, as nobody writes them, they would take
minutes."""

_REDUCED, _MASK = 1, 4
"""Bits of TIFF's NewSubfileType."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pictures of a file that are pages."""

    numbers: tuple[int, ...]
    """From 1, as the file stores its pictures; those that are no pages are left out."""
    image: int
    """The largest one by pixels, of equals the first: the file's image."""
    places: dict[int, int] = field(default_factory=dict, compare=False)
    """Of a TIFF, where the directory of each page lies, so that not the whole chain is followed for
    each of them."""
    is_animation: bool = field(default=False, compare=False)
    """Whether a page can only be had after all before it."""


ONE = Pages((1,), 1)


def pages_of(data: bytes) -> Pages:
    """The pages of a file.

    Of a TIFF, the pictures of its chain that it calls neither reduced nor a mask; of a JPEG with an
    index (MPO), its views, not previews and gain maps; of HEIC, the primary picture, which is
    page 1, and those beside it, not thumbnails, depth and gain maps; of an animation, its frames.
    JPEG XL and JPEG 2000 have one. If none is left, page 1.

    Args:
        data: The whole file.

    Raises:
        UnreadableImage: It is empty, of no format that is read, or has more than
            :data:`MAX_PAGES` pages.
    """
    count = _COUNTED.get(known_format(data))
    return count(data) if count else ONE


@contextmanager
def refusals(name: str, data: bytes) -> Iterator[None]:
    """What readers raise, as one plain reason; damaged data makes them raise nearly anything.

    Raises:
        UnreadableImage: Something was raised.
    """
    try:
        yield
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(noted("too many pixels: {error}", error=error)) from error
    except MemoryError as error:
        raise UnreadableImage(
            noted("not enough memory to decode {size:,} bytes", size=len(data))
        ) from error
    except Exception as error:
        raise UnreadableImage(
            noted(
                "damaged {format} of {size:,} bytes: {error}",
                format=name,
                size=len(data),
                error=str(error) or type(error).__name__,
            )
        ) from error


def _animation(count: Callable[[bytes], int]) -> Callable[[bytes], Pages]:
    """Frames share one canvas, so that the first is the image."""

    def counted(data: bytes) -> Pages:
        number = count(data)
        _check_number(number)
        if number <= 1:
            return ONE
        return Pages(tuple(range(1, number + 1)), 1, is_animation=True)

    return counted


def _check_number(number: int) -> None:
    if number > MAX_PAGES:
        raise UnreadableImage(
            noted(
                "more than {most:,} pages; split the file",
                most=MAX_PAGES,
            )
        )


def _largest(sizes: dict[int, int], places: dict[int, int] | None = None) -> Pages:
    """Pages by their pixels; the first of the largest is the image."""
    if not sizes:
        return ONE
    return Pages(tuple(sizes), max(sizes, key=lambda number: sizes[number]), places or {})


def _tiff(data: bytes) -> Pages:
    sizes: dict[int, int] = {}
    places: dict[int, int] = {}
    with refusals("TIFF", data):
        for number, directory in enumerate(directories(data, MAX_PAGES + 1), 1):
            _check_number(number)
            if number == 1 or _is_picture(directory):
                pixels = directory.number(WIDTH, 0) * directory.number(LENGTH, 0)
                if not directory.number(SUBFILE, 0) & (_REDUCED | _MASK):
                    sizes[number], places[number] = pixels, directory.offset
    return _largest(sizes, places)


def _is_picture(directory: Directory) -> bool:
    """Whether it is a picture's, and not what a damaged pointer points at."""
    return (
        directory.number(WIDTH, 0) > 0
        and directory.number(LENGTH, 0) > 0
        and any(tag in directory.entries for tag in (273, 324))
    )


def _jpeg(data: bytes) -> Pages:
    found = indexed_pictures(data, MAX_PAGES)
    if len(found) == 1:
        return ONE
    _check_number(len(found))
    return _largest(
        {
            number: picture.size[0] * picture.size[1]
            for number, picture in enumerate(found, 1)
            if picture.is_page
        }
    )


def _gif(data: bytes) -> int:
    flags = data[10] if len(data) > 10 else 0
    place, count = 13 + _table(flags), 0
    for _ in range(_MAX_BLOCKS):
        kind = data[place : place + 1]
        if kind == b"\x21":
            place += 2
        elif kind == b"\x2c" and place + 9 < len(data):
            count += 1
            place += 11 + _table(data[place + 9])
        else:
            return count
        while place < len(data) and (size := data[place]):
            place += 1 + size
        place += 1
    raise UnreadableImage(noted("damaged GIF of {size:,} bytes: too many blocks", size=len(data)))


def _table(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(data: bytes) -> int:
    if data[12:16] != b"VP8X" or not data[20:21] or not data[20] & 2:
        return 1
    return sum(kind == b"ANMF" for kind, _ in chunks(data, 12, "<"))


def chunks(data: bytes, start: int, order: str) -> Iterator[tuple[bytes, int]]:
    """Kinds and places of what RIFF (``<``) and PNG (``>``) are made of."""
    place = start
    for _ in range(_MAX_BLOCKS):
        if place + 8 > len(data):
            return
        if order == "<":
            kind, length = struct.unpack_from("<4sI", data, place)
        else:
            length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, place + 8
        place += 8 + length + (length & 1 if order == "<" else 4)


def _png(data: bytes) -> int:
    announced = int.from_bytes(png_chunk(data, b"acTL")[:4])
    if not announced:
        return 1
    frames = 0
    is_beside = False
    for kind, _ in chunks(data, 8, ">"):
        if kind == b"IDAT" and not frames:
            is_beside = True  # a picture for those who know no animations
        frames += kind == b"fcTL"
    return max(min(frames, announced) + is_beside, 1)


def _avif(data: bytes) -> int:
    if b"avis" not in data[:SNIFFED]:
        return 1
    with refusals("AVIF", data):
        return int(AvifImageFile(io.BytesIO(data)).n_frames)


def _heif(data: bytes) -> Pages:
    """The primary picture first, and the others in their order."""
    with refusals("HEIF", data):
        image = heif_reader()(io.BytesIO(data))
        count, primary = int(getattr(image, "n_frames", 1)), image.tell()
        _check_number(count)
        sizes = {}
        for number, frame in enumerate(heif_order(count, primary), 1):
            image.seek(frame)
            sizes[number] = image.size[0] * image.size[1]
    return _largest(sizes)


def heif_order(count: int, primary: int) -> list[int]:
    """The places of a HEIC's pages among its pictures."""
    return [primary, *(place for place in range(count) if place != primary)]


def heif_reader() -> type[ImageFile.ImageFile]:
    """The reader of HEIC, which is imported where a file needs it."""
    from pillow_heif.as_plugin import HeifImageFile

    return HeifImageFile


_COUNTED: dict[str, Callable[[bytes], Pages]] = {
    "TIFF": _tiff,
    "JPEG": _jpeg,
    "HEIF": _heif,
    "GIF": _animation(_gif),
    "WEBP": _animation(_webp),
    "PNG": _animation(_png),
    "AVIF": _animation(_avif),
}
