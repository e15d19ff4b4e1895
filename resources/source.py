"""ImageSource: the files that the corpus is made of.

Belongs here: finding image files, reading their bytes, turning bytes into pixels. Does not belong
here: what becomes of them (ids, quarantine, the store), which is the assets' part.

Every file may be hostile. Whatever is wrong with one is an :class:`UnreadableImage` whose reason a
person can act on, so that one broken file never stops a run.
"""

import functools
import io
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pydantic import Field

from resources.errors import InputError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}
)
"""Extensions of the files that are listed, in lower case; a file's may be in any case."""

MAX_PIXELS = 178_956_970
"""Where Pillow itself calls an image a decompression bomb: 512 MiB as 24-bit colour."""

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

_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What _printable() makes of a byte that is not UTF-8.
_ESCAPED_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")


class UnreadableImage(ValueError):  # noqa: N818 - a finding about a file, not a fault
    """A file that cannot be used as an image."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))

    @property
    def reason(self) -> str:
        """One plain line for the quarantine: what is wrong, with figures."""
        return str(self)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was listed; nothing of it has been read."""

    path: str
    """POSIX, relative to the root, in any script."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as a viewer shows it."""

    rgb: Image.Image
    """Mode RGB, 8 bits per channel, EXIF orientation applied, transparency over white."""
    format: str
    """What the bytes are, whatever the file's name says: JPEG, PNG, WEBP, GIF, TIFF or BMP."""
    width: int
    """Pixels, as displayed."""
    height: int
    """Pixels, as displayed."""


class ImageSource(dg.ConfigurableResource):
    """A folder of images, with its subfolders.

    No path leaves the folder. A linked file counts where its target lies inside the folder; other
    links, and all links to folders, are skipped, so that no loop can be entered. Hidden files and
    folders (``.name``) are skipped.
    """

    root: str = Field(
        default="",
        description="The folder of images; empty: that of the project which $PANOPTIC_PROJECT "
        "names or the working directory lies in.",
    )
    max_bytes: int = Field(
        default=512 * 2**20, gt=0, description="Larger files are quarantined unread."
    )
    max_pixels: int = Field(
        default=MAX_PIXELS,
        gt=0,
        le=MAX_PIXELS,
        description="Larger images are quarantined before they are decoded. Decoding one takes 4 "
        "(1-bit: 5, JPEG turned by EXIF: 8) to 20 (WebP) bytes per pixel.",
    )

    def files(self) -> Iterator[SourceFile]:
        """List the image files, sorted by path: the same order on every disk.

        A name that is not valid UTF-8 is listed with those bytes escaped (``\\udcff``). What was
        skipped and why, unreadable folders above all, is logged at the end.

        Raises:
            InputError: The root is missing, not a folder, or may not be listed.
        """
        self._check_root()
        return _walk(self._folder)

    def read(self, path: str) -> bytes:
        """All bytes of a file.

        Args:
            path: As in :class:`SourceFile`.

        Raises:
            UnreadableImage: The file is gone, may not be read, is too large or not a plain file,
                or its path leads out of the root.
            InputError: The root itself is gone, so nothing can be said about the file.
        """
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise UnreadableImage("the path leads out of the folder of images")
        try:
            target = (self._folder / path).resolve(strict=True)
            if not target.is_relative_to(self._folder):
                raise UnreadableImage("the file is a link that leads out of the folder of images")
            status = target.stat()
            # Opening a FIFO waits for ever, opening a device may act on it.
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("not a plain file")
            if status.st_size > self.max_bytes:
                raise UnreadableImage(
                    f"the file has {status.st_size:,} bytes; "
                    f"the limit is {self.max_bytes:,} (max_bytes)"
                )
            with target.open("rb") as file:
                data = file.read(status.st_size + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            if _ESCAPED_BYTE.search(path):
                raise UnreadableImage(
                    "the file name is not valid UTF-8; rename the file"
                ) from error
            raise UnreadableImage("the file vanished after it was listed") from error
        except OSError as error:
            raise UnreadableImage(f"the file cannot be read: {error.strerror}") from error
        except RuntimeError as error:  # from Path.resolve(), before Python 3.13
            raise UnreadableImage("the path is a loop of links") from error
        if len(data) != status.st_size:
            raise UnreadableImage(
                f"the file changed while it was read: {status.st_size:,} bytes expected"
            )
        return data

    def decode(self, data: bytes) -> DecodedImage:
        """:func:`decode` within this source's limit of pixels."""
        return decode(data, self.max_pixels)

    @functools.cached_property
    def _folder(self) -> Path:
        if self.root:
            return Path(self.root).expanduser().resolve()
        from resources.project import find

        return find().images.resolve()

    def _check_root(self) -> None:
        try:
            os.scandir(self._folder).close()
        except OSError as error:
            raise InputError(
                f"The folder of images {self._folder} cannot be read ({error.strerror}): "
                "create or mount it, or correct `images` in .panoptic/project.yaml (the `root` of "
                "the source in Dagster)."
            ) from error


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Turn a file's bytes into the picture that a viewer shows; safe to call from many threads.

    Of an animation, the first frame. Grey of 16 bits keeps its high byte; in grey of 32 bits, where
    no file says which value is white, it is the first of 1, 255 and 65,535 that no pixel exceeds,
    and values beyond those, or negative ones, are stretched from the darkest to the brightest.
    Colour profiles are ignored.

    Raises:
        UnreadableImage: Empty, damaged, too many pixels, or not JPEG, PNG, WebP, GIF, TIFF or BMP.
    """
    if not data:
        raise UnreadableImage("the file is empty (0 bytes)")
    plugin = next((plugin for signature, plugin in _FORMATS if signature.match(data)), None)
    if plugin is None:
        raise UnreadableImage(
            f"not an image: its {len(data):,} bytes do not begin as JPEG, PNG, WebP, GIF, TIFF or "
            "BMP do"
        )
    try:
        image = plugin(io.BytesIO(data))
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise UnreadableImage(
                f"{image.width} x {image.height} are {pixels:,} pixels; "
                f"the limit is {max_pixels:,} (max_pixels)"
            )
        image.load()
        rgb = _upright(_to_rgb(image), image)
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"too many pixels: {error}") from error
    except MemoryError as error:
        raise UnreadableImage(f"not enough memory to decode {len(data):,} bytes") from error
    except Exception as error:  # damaged data makes Pillow raise nearly anything
        raise UnreadableImage(
            f"damaged {plugin.format} of {len(data):,} bytes: {str(error) or type(error).__name__}"
        ) from error
    return DecodedImage(rgb, str(plugin.format), *rgb.size)


def thumbnail(rgb: Image.Image, side: int = 160) -> bytes:
    """A WebP whose longest side has at most ``side`` pixels; never enlarged, never 0 pixels."""
    scale = min(1.0, side / max(rgb.size))
    width, height = (max(1, round(length * scale)) for length in rgb.size)
    small = rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    # Older Pillows copy the profile of the original: up to megabytes, and wrong for a former CMYK.
    small.save(file, "WEBP", quality=80, icc_profile=None)
    return file.getvalue()


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


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation of ``image``, loaded: Pillow itself has turned a TIFF by then."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF is no reason to refuse intact pixels
        return rgb
    return rgb.transpose(_ORIENTATIONS[orientation]) if orientation in _ORIENTATIONS else rgb


def _walk(root: Path) -> Iterator[SourceFile]:
    skipped: dict[str, list[str]] = defaultdict(list)
    # Relative paths, the next one last. Folders end in "/", which sorts them among their
    # neighbours as the paths inside them sort; a stack, since folders nest deeper than calls may.
    pending = [""]
    while pending:
        path = pending.pop()
        try:
            if not path or path.endswith("/"):
                pending += reversed(_children(root, path, skipped))
                continue
            status = (root / path).stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            skipped[f"could not be read ({error.strerror})"].append(_printable(path))
            continue
        yield SourceFile(_printable(path), status.st_size, status.st_mtime_ns)
    for reason, paths in skipped.items():
        first = ", ".join(map(repr, paths[:5]))
        dg.get_dagster_logger().warning(
            f"Skipped {len(paths):,} of the folder of images that {reason}; first: {first}"
        )


def _children(root: Path, folder: str, skipped: dict[str, list[str]]) -> list[str]:
    """Image files and folders directly in ``folder``, relative to the root, sorted."""
    children: dict[str, str] = {}
    with os.scandir(root / folder) as entries:
        # Sorted before and after: a name that equals another's escaped form must neither double a
        # path nor let the disk's order decide which of the two is listed.
        for entry in sorted(entries, key=lambda entry: entry.name):
            child = folder + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                child += "/"
            elif entry.is_symlink() and not _is_file_inside(Path(entry.path), root):
                skipped["are links out of it, to a folder or to nothing"].append(_printable(child))
                continue
            elif Path(child).suffix.lower() not in IMAGE_EXTENSIONS or not entry.is_file():
                continue
            children.setdefault(_printable(child), child)
    return [children[name] for name in sorted(children)]


def _is_file_inside(link: Path, root: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
        return False
    return target.is_relative_to(root) and target.is_file()


def _printable(path: str) -> str:
    """Bytes that are not UTF-8 reach Python as lone surrogates, which no store can hold."""
    return path.encode("utf-8", "backslashreplace").decode()
