"""Decoding: a file's bytes become the picture that a viewer shows.

Belongs here: formats, limits, orientation and colour, and what is computed from the pixels alone
(thumbnail, perceptual hash, mean colour). Does not belong here: where bytes come from (``source``)
and what a model makes of the pixels (``models``).

Every file may be hostile. Whatever is wrong with one is an :class:`UnreadableImage` whose reason a
person can act on, so that one broken file never stops a run.
"""

import contextlib
import importlib.metadata
import io
import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageStat
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from resources.errors import noted

IMAGE_EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
        *(".avif", ".heic", ".heif", ".hif"),
    }
)
"""Extensions that name the formats below, in lower case; a file's may be in any case."""

MAX_PIXELS = 178_956_970
"""Where Pillow itself calls an image a decompression bomb: 512 MiB as 24-bit colour."""

ALGORITHM = 1
"""Raised by one whenever :func:`decode` may give other pixels for the same bytes: the vectors of
one type are all of pixels of one number."""

_NAMES = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC"

# The plugins are called directly. Image.open() would warn, process-wide, about every image above
# half of MAX_PIXELS, and refuse a larger one without saying its width and height.
_FORMATS: list[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]]] = [
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"(II|MM)(\*\0|\0\*|\+\0|\0\+)"), TiffImageFile),
    (re.compile(rb"BM"), BmpImageFile),
]

# ISO/IEC 23008-12: which codec lies in the container is said by its brands, of which the first may
# be a generic one (mif1).
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

_MAX_SCANS = 100
# Not what stands for a byte FF in coded pixels (00), restarts them (D0-D7) or fills (FF).
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")

_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(ValueError):  # noqa: N818 - a finding about a file, not a fault
    """A file that cannot be used as an image."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))

    @property
    def reason(self) -> str:
        """One plain line for the quarantine: what is wrong, with figures."""
        return str(self)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as a viewer shows it."""

    rgb: Image.Image
    """Mode RGB, 8 bits per channel, EXIF orientation applied, transparency over white. Smaller than
    the original where :func:`decode` was given a ``side``."""
    format: str
    """What the bytes are, whatever the file's name says: JPEG, PNG, WEBP, GIF, TIFF, BMP, AVIF or
    HEIF."""
    width: int
    """Pixels of the original, as displayed."""
    height: int
    """Pixels of the original, as displayed."""
    taken_at: datetime | None
    """When the picture was taken: EXIF DateTimeOriginal, else DateTime. Without a time zone, as
    cameras write it; None where there is none or it is no date."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS, side: int | None = None) -> DecodedImage:
    """Turn a file's bytes into the picture that a viewer shows; safe to call from many threads.

    Of an animation, the first frame. Grey of 16 bits keeps its high byte; in grey of 32 bits, where
    no file says which value is white, it is the first of 1, 255 and 65,535 that no pixel exceeds,
    and values beyond those, or negative ones, are stretched from the darkest to the brightest.
    Colour profiles are ignored.

    Args:
        data: The whole file.
        max_pixels: Larger images are refused by their header, before pixels are allocated. (An
            AVIF whose container lies about its size is held only by libavif's own limit, 16,384 x
            16,384: 0.5 GB at 8 bits.)
        side: A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side
            keeps this many pixels (38 instead of 78 ms for 12 megapixels at 1/4). None: the
            original size.

    Raises:
        UnreadableImage: Empty, damaged, too many pixels, or of a format that cannot be read.
    """
    if not data:
        raise UnreadableImage(noted("the file is empty (0 bytes)"))
    plugin = _plugin_of(data)
    try:
        if plugin is WebPImageFile:  # whose constructor already allocates all pixels twice
            _check_pixels(_webp_size(data), max_pixels)
        image = plugin(io.BytesIO(data))
        size = image.size
        _check_pixels(size, max_pixels)
        if isinstance(image, JpegImageFile):
            _check_scans(data)
            if side is not None:
                image.draft(None, (side, side))
        # Before loading, which closes a TIFF; the orientation after it, when Pillow itself has
        # turned a TIFF and says so.
        taken_at = _taken_at(image)
        image.load()
        _check_pixels(image.size, max_pixels)
        orientation = _orientation(image)
        rgb = _to_rgb(image)
        if orientation in _ORIENTATIONS:
            rgb = rgb.transpose(_ORIENTATIONS[orientation])
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(noted("too many pixels: {error}", error=error)) from error
    except MemoryError as error:
        raise UnreadableImage(
            noted("not enough memory to decode {size:,} bytes", size=len(data))
        ) from error
    except Exception as error:  # damaged data makes Pillow raise nearly anything
        raise UnreadableImage(
            noted(
                "damaged {format} of {size:,} bytes: {error}",
                format=plugin.format,
                size=len(data),
                error=str(error) or type(error).__name__,
            )
        ) from error
    # A damaged container may announce another size than that of the picture inside, so the header
    # is asked only where the picture was decoded smaller.
    width, height = rgb.size
    if isinstance(image, JpegImageFile):
        width, height = size[::-1] if orientation in (5, 6, 7, 8) else size
    return DecodedImage(rgb, str(plugin.format), width, height, taken_at)


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
    """The packages that decode, with their versions, such as ``pillow 13.0.0``."""
    found = []
    for package in ("pillow", "pillow-heif"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(found)


def _plugin_of(data: bytes) -> type[ImageFile.ImageFile]:
    """The reader of a format, chosen by its first bytes alone."""
    for signature, plugin in _FORMATS:
        if signature.match(data):
            return plugin
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4]), 4096)]
        brands = {box[i : i + 4] for i in range(0, len(box), 4)}
        if brands & _AVIF_BRANDS:
            return AvifImageFile
        if brands & _HEIF_BRANDS:
            return _heif_plugin()
    raise UnreadableImage(
        noted(
            "not an image: its {size:,} bytes begin like none of {names}",
            size=len(data),
            names=_NAMES,
        )
    )


def _heif_plugin() -> type[ImageFile.ImageFile]:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise UnreadableImage(
            noted(
                "HEIC needs the package pillow-heif: install panoptic-assets with the extra `heif`"
            )
        ) from error
    return HeifImageFile


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that refines its pixels without end.

    A scan of 232 bytes over 13,000 x 13,000 pixels takes 0.1 s: 10 MB of them would take an hour.
    """
    # Where even the bytes that only look like scans are few, as in nearly every file.
    if data.count(b"\xff\xda") <= _MAX_SCANS:
        return
    scans, position = 0, 2
    while marker := _JPEG_MARKER.search(data, position):
        kind = marker[1]
        if kind == b"\xd9":  # the end of the image; phones append films
            return
        scans += kind == b"\xda"
        if scans > _MAX_SCANS:
            raise UnreadableImage(
                noted("a JPEG of more than {most:d} scans; 10 are usual", most=_MAX_SCANS)
            )
        length = 0 if kind == b"\x01" else int.from_bytes(data[marker.end() : marker.end() + 2])
        position = marker.end() + length


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise UnreadableImage(
            noted(
                "{width:d} x {height:d} are {pixels:,} pixels; the limit is {limit:,} (max_pixels)",
                width=width,
                height=height,
                pixels=width * height,
                limit=max_pixels,
            )
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk of a WebP (RFC 9649)."""
    first = data[12:16]
    if first == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if first == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if first == b"VP8 ":
        width, height = (int.from_bytes(data[start : start + 2], "little") for start in (26, 28))
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0  # damaged, as the plugin will say


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF is no reason to refuse intact pixels
        return None


def _taken_at(image: Image.Image) -> datetime | None:
    try:
        exif = image.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # as above
        return None
    written = details.get(ExifTags.Base.DateTimeOriginal), exif.get(ExifTags.Base.DateTime)
    return next((date for date in map(_date, written) if date), None)


def _date(written: object) -> datetime | None:
    try:
        return datetime.strptime(str(written).strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:  # cameras without a clock write zeros or blanks
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Shows what a viewer shows; the image itself, not a copy, where it is RGB already."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        over_white = Image.new("RGB", image.size, "white")
        over_white.paste(rgba, mask=rgba)
        return over_white
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values (height, width) of uint16, int32 or float32, as uint8. NaN is black."""
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    white = next((white for white in (1, 255, 65535) if low >= 0 and high <= white), None)
    ends = (low, high) if white is None else (0, white)
    grey = np.empty(values.shape, np.uint8)
    for row, line in zip(grey, values, strict=True):  # one line at a time: interp() needs float64
        row[:] = np.rint(np.interp(np.nan_to_num(line, nan=low), ends, (0, 255)))
    return grey
