"""Decoding: a file's bytes become the picture that a viewer shows.

Belongs here: decoding as the rest of the program asks for it, and what is computed from the pixels
alone (thumbnail, perceptual hash, mean colour). Does not belong here: what the first bytes say
(``picture_formats``), which pictures of a file are pages (``picture_pages``), reading each format
(``picture_readers``), what samples mean (``colour``), where bytes come from (``source``) and what a
model makes of the pixels (``models``).

Every file may be hostile. Whatever is wrong with one is an :class:`UnreadableImage` whose reason a
person can act on, so that one broken file never stops a run.
"""

import contextlib
import importlib.metadata
import io
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import Image, ImageStat

from resources.colour import deep_to_grey, first_rule, over_white, to_srgb
from resources.errors import UnreadableImage, noted
from resources.picture_formats import known_format
from resources.picture_pages import Pages, pages_of, refusals
from resources.picture_readers import READERS
from resources.picture_reading import AskedPicture, ReadPicture, check_pixels

MAX_PIXELS = 178_956_970
"""Where Pillow itself calls an image a decompression bomb: 512 MiB as 24-bit colour."""

ALGORITHM = 2
"""Raised by one whenever :func:`decode` may give other pixels for the same bytes: the vectors of
one type are all of pixels of one number."""

SHIPPED = (1, 2)
"""The numbers by which :func:`decode` can still decode."""

_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as a viewer shows it."""

    rgb: Image.Image
    """Mode RGB, 8 bits per channel, sRGB, EXIF orientation applied, transparency over white.
    Smaller than the original where :func:`decode` was given a ``side``."""
    format: str
    """What the bytes are, whatever the file's name says: JPEG, PNG, WEBP, GIF, TIFF, BMP, JPEG2000,
    AVIF, HEIF or JXL."""
    width: int
    """Pixels of the original, as displayed."""
    height: int
    """Pixels of the original, as displayed."""
    taken_at: datetime | None
    """When the picture was taken: EXIF DateTimeOriginal, else DateTime. Without a time zone, as
    cameras write it; None where there is none or it is no date."""
    page: int
    """Which of the file's pictures it is, from 1."""
    nb_pages: int
    """Pages of the file."""


def decode(
    data: bytes,
    max_pixels: int = MAX_PIXELS,
    side: int | None = None,
    page: int | None = None,
    algorithm: int = ALGORITHM,
    pages: Pages | None = None,
) -> DecodedImage:
    """Turn a file's bytes into the picture that a viewer shows; safe to call from many threads.

    How colours and more than 8 bits become sRGB is said in :mod:`resources.colour`.

    Args:
        data: The whole file.
        max_pixels: Larger images are refused by their header, before pixels are allocated. (An
            AVIF whose container lies about its size is held only by libavif's own limit, 16,384 x
            16,384: 0.5 GB at 8 bits.)
        side: A JPEG or JPEG 2000 may be decoded at 1/2, 1/4 or 1/8 of its size as long as its
            shorter side keeps this many pixels (38 instead of 78 ms for a JPEG of 12 megapixels at
            1/4). None: the original size.
        page: Which of the file's pictures, from 1; None: its image, see
            :func:`resources.picture_pages.pages_of`.
        algorithm: A number of :data:`SHIPPED`. 1 keeps, of 16 bits in grey, the high byte, and
            ignores profiles; what it could not read is read as 2 does.
        pages: Of the file, where they are known already.

    Raises:
        UnreadableImage: Empty, damaged, too many pixels, without that page, or of a format that
            cannot be read.
    """
    name = known_format(data)
    pages = pages or pages_of(data)
    number = pages.image if page is None else page
    if number < 1:
        raise UnreadableImage(noted("the file has no page {page:d}", page=number))
    with refusals(name, data):
        place = pages.places.get(number, 0)
        found = READERS[name](AskedPicture(data, name, number, max_pixels, side, algorithm, place))
        # Headers may lie about what is in them.
        check_pixels(found.image.size, max_pixels)
        rgb = _to_rgb(found)
        orientation = found.orientation
        if orientation in _ORIENTATIONS:
            rgb = rgb.transpose(_ORIENTATIONS[orientation])
    width, height = rgb.size
    if found.size:
        width, height = found.size[::-1] if orientation in (5, 6, 7, 8) else found.size
    return DecodedImage(rgb, name, width, height, found.taken_at, number, len(pages.numbers))


def _to_rgb(found: ReadPicture) -> Image.Image:
    """The picture in sRGB, over white."""
    image, alpha = found.image, found.alpha
    if found.algorithm == 1:
        with contextlib.suppress(ValueError):  # modes that it could not show
            return first_rule(image)
    if alpha is None and image.has_transparency_data:
        if image.mode in ("La", "RGBa"):
            image = image.convert(f"{image.mode[:-1]}A")
        if image.mode not in ("RGBA", "LA"):
            image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB" if image.mode == "RGBA" else "L")
    if image.mode.startswith("I") or image.mode == "F":
        image = deep_to_grey(image)
    rgb = to_srgb(image, found.colour)
    return rgb if alpha is None else over_white(rgb, alpha)


def thumbnail(rgb: Image.Image, side: int = 160) -> bytes:
    """A WebP whose longest side has at most ``side`` pixels; never enlarged, never 0 pixels."""
    small = _within(rgb, side)
    file = io.BytesIO()
    # Method 2 takes half the time of the default, for 3 % more bytes. The profile of the original
    # may have megabytes, and is wrong for a former CMYK.
    small.save(file, "WEBP", quality=80, method=2, icc_profile=None)
    return file.getvalue()


def jpeg(rgb: Image.Image, side: int) -> bytes:
    """A JPEG whose longest side has at most ``side`` pixels, without the original's metadata."""
    small = _within(rgb, side)
    small.info = {}  # Pillow would write the original's comment, profile and resolution
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


def perceptual_hash(rgb: Image.Image) -> str:
    """64-bit pHash as 16 hexadecimal digits: near-duplicates differ in few bits.

    The grey image is averaged to 32 x 32; of its cosine transform (DCT-II) the 8 x 8 coefficients
    from the second row and column on, so without those of the mean brightness, give one bit each:
    above their median or not, row by row from the highest bit. Zauner, *Implementation and
    Benchmarking of Perceptual Image Hash Functions*, 2010, the DCT-based hash. An even image has
    only zeros. A picture that was decoded smaller may differ in a few bits.
    """
    # The gap averages whole boxes first: half the time (1.2 against 2.5 ms for 1600 x 1200).
    small = rgb.resize((_SMALL, _SMALL), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small.convert("L"), np.float64)
    # Rounded: what is zero but for the last digits must not become bits of chance.
    low = (_COSINES @ grey @ _COSINES.T).round(6)
    return np.packbits(low > np.median(low)).tobytes().hex()


def mean_colour(rgb: Image.Image) -> str:
    """``#rrggbb``: the mean of all pixels' sRGB values as they are stored, not of their light."""
    # From the histogram: exact, where a reduced copy was up to 3 values off, and no slower.
    red, green, blue = (round(mean) for mean in ImageStat.Stat(rgb).mean)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _within(rgb: Image.Image, side: int) -> Image.Image:
    """Scaled to a longest side of at most ``side`` pixels; never enlarged, never 0 pixels."""
    scale = min(1.0, side / max(rgb.size))
    width, height = (max(1, round(length * scale)) for length in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


_SMALL = 32

# Rows 1 to 8 of the DCT-II of 32 values. Not ImageHash: its phash is no more than this, takes five
# times as long (6.4 ms for 1600 x 1200), and brings scipy and PyWavelets along.
_COSINES = np.cos(np.pi / _SMALL * np.outer(np.arange(1, 9), np.arange(_SMALL) + 0.5))


def decoder_versions() -> str:
    """What decodes, with its version, such as ``decoder 2, pillow 13.0.0``."""
    found = [f"decoder {ALGORITHM}"]
    for package in ("pillow", "pillow-heif", "imagecodecs"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(found)
