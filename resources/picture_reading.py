"""A picture on its way from a file to sRGB, and what all readers of formats share.

Belongs here: what a reader is asked for and gives, limits, orientation, date and what a file says
about its colours. Does not belong here: reading itself (``picture_readers``, ``tiff_reader``).
"""

from dataclasses import dataclass
from datetime import datetime

from PIL import ExifTags, Image

from resources import picture_headers
from resources.colour import Colour
from resources.errors import UnreadableImage, noted


@dataclass
class ReadPicture:
    """A picture on its way."""

    image: Image.Image
    """Of any mode that :func:`resources.colour.to_srgb` takes, or one with transparency."""
    colour: Colour
    size: tuple[int, int] | None = None
    """As the file stores it, where the picture was decoded smaller."""
    orientation: int | None = None
    taken_at: datetime | None = None
    alpha: Image.Image | None = None
    algorithm: int = 2
    """By which colour and depth are to be shown; see :func:`resources.decoding.decode`."""


@dataclass(frozen=True)
class AskedPicture:
    """What a reader is asked for."""

    data: bytes
    name: str
    number: int
    max_pixels: int
    side: int | None
    algorithm: int
    place: int = 0
    """Where its directory lies in a TIFF; 0 if that is not known."""

    def only_one(self) -> None:
        """Refuse another page than the first."""
        if self.number != 1:
            raise self.no_page()

    def no_page(self) -> UnreadableImage:
        """The refusal of a page that there is not."""
        return UnreadableImage(noted("the file has no page {page:d}", page=self.number))


def colour_of(image: Image.Image, asked: AskedPicture) -> Colour:
    """What a file says about its colours."""
    icc = image.info.get("icc_profile")
    icc = icc if isinstance(icc, bytes) and icc else None
    if asked.name == "AVIF":
        # A profile counts before the numbers, which then only say how the pixels are coded.
        return Colour(icc, None if icc else picture_headers.nclx(asked.data))
    if asked.name == "HEIF":
        said = image.info.get("nclx_profile") or {}
        code = said.get("color_primaries", 2), said.get("transfer_characteristics", 2)
        return Colour(icc, None if icc else code)
    if asked.name != "PNG":
        return Colour(icc)
    stated = picture_headers.png_code(asked.data)
    if icc or "srgb" in image.info:
        return Colour(icc, stated)
    gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
    return Colour(None, stated, gamma, tuple(chromaticities) if chromaticities else None)


def not_supported(kind: str) -> UnreadableImage:
    """The refusal of what may well be whole, and no reader here knows."""
    return UnreadableImage(
        noted("not supported: {kind}; export it as TIFF, PNG or JPEG of 8 bits", kind=kind)
    )


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a picture of more pixels than the limit.

    Raises:
        UnreadableImage: It has more.
    """
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


def orientation_of(image: Image.Image) -> int | None:
    """EXIF's orientation; None where it says none, or cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF is no reason to refuse intact pixels
        return None


def taken_at_of(image: Image.Image) -> datetime | None:
    """When a picture was taken, see :class:`resources.decoding.DecodedImage`."""
    try:
        return date_of(image.getexif())
    except Exception:  # as above
        return None


def date_of(exif: Image.Exif) -> datetime | None:
    """When a picture was taken, by its EXIF."""
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        written = details.get(ExifTags.Base.DateTimeOriginal), exif.get(ExifTags.Base.DateTime)
    except Exception:  # as above
        return None
    return next((date for date in map(_date, written) if date), None)


def _date(written: object) -> datetime | None:
    try:
        return datetime.strptime(str(written).strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:  # cameras without a clock write zeros or blanks
        return None
