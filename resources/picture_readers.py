"""Readers: one picture of a file becomes pixels, as each format has it.

Belongs here: calling the libraries that decode, within limits, and what they do not do by
themselves: pages, 16 bits in colour, a JPEG without its end. Does not belong here: TIFF
(``tiff_reader``), what the first bytes say (``picture_formats``), which pictures are pages
(``picture_pages``), and what becomes of the pixels (``decoding``).
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, ImageStat
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from resources import picture_headers
from resources.colour import Colour, Samples, deep_to_grey, eight_bits, of_values
from resources.errors import UnreadableImage, noted
from resources.jpeg_markers import check_scans, has_end, indexed_pictures, unread_jpeg, whole
from resources.picture_pages import MAX_PAGES, heif_order, heif_reader
from resources.picture_reading import (
    AskedPicture,
    ReadPicture,
    check_pixels,
    colour_of,
    not_supported,
    orientation_of,
    taken_at_of,
)
from resources.tiff_reader import read_tiff

# The plugins are called directly. Image.open() would warn, process-wide, about every image above
# half of MAX_PIXELS, and refuse a larger one without saying its width and height.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
}

_MOST_BEFORE = 20
"""Of an animation, each frame is drawn over those before it: so many times ``max_pixels`` are drawn
for one, and no more."""


def _read_by_pillow(asked: AskedPicture) -> ReadPicture:
    """BMP, and frames of GIF, WebP, AVIF and PNG of 8 bits or less."""
    data, max_pixels = asked.data, asked.max_pixels
    if asked.name == "WEBP":  # whose constructor already allocates all pixels twice
        check_pixels(picture_headers.webp_size(data), max_pixels)
    image = _PLUGINS[asked.name](io.BytesIO(data))
    check_pixels(image.size, max_pixels)
    taken_at = taken_at_of(image)
    if asked.number > 1:
        before = asked.number - 1 if asked.name != "AVIF" else 0
        if before * image.width * image.height > _MOST_BEFORE * max_pixels:
            raise UnreadableImage(
                noted(
                    "page {page:d} of an animation of {width:d} x {height:d}: too many pixels come "
                    "before it",
                    page=asked.number,
                    width=image.width,
                    height=image.height,
                )
            )
        try:
            image.seek(asked.number - 1)
        except EOFError as error:
            raise asked.no_page() from error
    image.load()
    check_pixels(image.size, max_pixels)
    return ReadPicture(
        image,
        colour_of(image, asked),
        orientation=orientation_of(image),
        taken_at=taken_at,
        algorithm=asked.algorithm,
    )


def _read_png(asked: AskedPicture) -> ReadPicture:
    """A PNG; of 16 bits, in colour, Pillow gives one byte of each value at a time."""
    depth = asked.data[24] if len(asked.data) > 24 else 0
    if depth != 16 or asked.algorithm == 1 or asked.number > 1:
        return _read_by_pillow(asked)
    first = _read_by_pillow(asked)
    image = first.image
    white = picture_headers.png_white(asked.data)
    # The one colour that is transparent (tRNS), of 16 bits; Pillow would look for it in 8.
    clear = image.info.pop("transparency", None)
    if image.mode.startswith("I"):
        if clear is not None:
            first.alpha = Image.fromarray(np.uint8(255) * (np.asarray(image) != clear))
        first.image = deep_to_grey(image, white)
        return first
    nb_colours = len(image.getbands()) - ("A" in image.getbands())
    highest = max(high for _, high in ImageStat.Stat(image).extrema[:nb_colours])
    if highest >= 64 and clear is None:  # beyond 14 bits: the high bytes are the picture
        return first
    again = PngImageFile(io.BytesIO(asked.data))
    [tile] = again.tile
    # Grey with alpha has four bytes for each pixel: the low one of grey is the second of them.
    low_at, args = (1, "RGBA") if tile.args == "LA;16B" else (0, str(tile.args)[:-1] + "L")
    again.tile = [tile._replace(args=args)]
    again.load()

    def rows(start: int, stop: int) -> np.ndarray:
        box = (0, start, image.width, stop)
        high, low = (np.asarray(one.crop(box)) for one in (image, again))
        if low_at:
            low = np.repeat(low[..., low_at : low_at + 1], nb_colours, 2)
        return high[..., :nb_colours].astype(np.uint16) << 8 | low[..., :nb_colours]

    if clear is not None:
        step = max(1, (1 << 20) // image.width)
        parts = [
            (rows(start, min(start + step, image.height)) != clear).any(axis=2)
            for start in range(0, image.height, step)
        ]
        first.alpha = Image.fromarray(np.uint8(255) * np.concatenate(parts))
    if highest >= 64:
        return first
    shown = eight_bits(Samples(image.width, image.height, rows, white), nb_colours)
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    first.image = Image.fromarray(shown if nb_colours > 1 else shown[..., 0])
    if alpha:
        first.image.putalpha(alpha)
    return first


def _read_jpeg(asked: AskedPicture) -> ReadPicture:
    """A JPEG, or a picture of an MPO, each of which is a JPEG of its own."""
    data = asked.data
    if asked.number > 1:
        found = indexed_pictures(data, MAX_PAGES)
        if asked.number > len(found):
            raise asked.no_page()
        data = data[found[asked.number - 1].start :]
    return _one_jpeg(data, asked, is_mended=False)


def _one_jpeg(data: bytes, asked: AskedPicture, is_mended: bool) -> ReadPicture:
    try:
        image = JpegImageFile(io.BytesIO(data))
        size = image.size
        check_pixels(size, asked.max_pixels)
        check_scans(data)
        if asked.side is not None:
            image.draft(None, (asked.side, asked.side))
        taken_at = taken_at_of(image)
        image.load()
        # libjpeg takes the empty blocks of a disk for pixels.
        if not has_end(data) and asked.algorithm > 1:
            raise OSError("image file is truncated: its last pixels are missing")
    except (OSError, SyntaxError) as error:
        if kind := unread_jpeg(data):
            raise not_supported(kind) from error
        if is_mended or not str(error).startswith("image file is truncated"):
            raise
        mended = whole(data, _jpeg_pixels)
        if mended is None:
            raise
        return _one_jpeg(mended, asked, is_mended=True)
    orientation = orientation_of(image)
    return ReadPicture(
        image, colour_of(image, asked), size, orientation, taken_at, algorithm=asked.algorithm
    )


def _jpeg_pixels(data: bytes) -> bytes:
    image = JpegImageFile(io.BytesIO(data))
    image.load()
    return image.tobytes()


def _read_heif(asked: AskedPicture) -> ReadPicture:
    image = heif_reader()(io.BytesIO(asked.data))
    order = heif_order(getattr(image, "n_frames", 1), image.tell())
    if asked.number > len(order):
        raise asked.no_page()
    image.seek(order[asked.number - 1])
    check_pixels(image.size, asked.max_pixels)
    taken_at = taken_at_of(image)
    image.load()
    return ReadPicture(
        image,
        colour_of(image, asked),
        orientation=orientation_of(image),
        taken_at=taken_at,
        algorithm=asked.algorithm,
    )


def _read_jpeg_2000(asked: AskedPicture) -> ReadPicture:
    asked.only_one()
    header = picture_headers.codestream(asked.data)
    size = header.width, header.height
    check_pixels(size, asked.max_pixels)
    depth = max(header.depths)
    if len(header.depths) > 4:
        raise not_supported(f"JPEG 2000 of {len(header.depths)} channels")
    if len(header.depths) > 1 and depth > 8:
        # Of more than 8 bits in colour, Pillow 13.0 shows white as black: what it rounds up to 256
        # is stored as 0.
        return _jpeg_2000_by_imagecodecs(asked, header)
    image = Jpeg2KImageFile(io.BytesIO(asked.data))
    check_pixels(image.size, asked.max_pixels)
    if image.size != size:
        raise ValueError("the container says another size than the picture")
    steps = _halvings(size, header.levels, asked.side)
    if steps:
        image.reduce = steps
    image.load()
    shown: Image.Image = image
    if image.mode.startswith("I"):
        # Shifted up to 16 bits by OpenJPEG's reader; of 16 bits it may be fewer in truth.
        white = 65535.0 if depth < 16 else None
        shown = deep_to_grey(image, white)
    elif min(header.depths) < 8:
        shown = _to_white(image, header.depths)
    return ReadPicture(shown, Colour(header.icc), size)


def _to_white(image: Image.Image, depths: tuple[int, ...]) -> Image.Image:
    """Channels of fewer than 8 bits with a white of 255; Pillow shifts them up, with less."""
    bands = list(image.split())
    if image.mode.startswith("P") or len(bands) != len(depths):
        raise not_supported(f"JPEG 2000 of a palette with {min(depths)} bits")
    for place, bits in enumerate(depths):
        if bits < 8:
            full = 256 - (1 << 8 - bits)
            bands[place] = bands[place].point(
                [min(255, value * 255 // full) for value in range(256)]
            )
    return Image.merge(image.mode, bands)


def _halvings(size: tuple[int, int], levels: int, side: int | None) -> int:
    """How often a JPEG 2000 may be halved: where Pillow and OpenJPEG agree on what is left."""
    best = 0
    for steps in range(1, min(levels, 3) + 1) if side is not None else ():
        up, half = (1 << steps) - 1, 1 << steps - 1
        agree = all((length + up) >> steps == (length + half) >> steps for length in size)
        if agree and min(size) >> steps >= (side or 0):
            best = steps
    return best


def _jpeg_2000_by_imagecodecs(
    asked: AskedPicture, header: picture_headers.Codestream
) -> ReadPicture:
    if header.space in (picture_headers.CMYK, picture_headers.SYCC):
        raise not_supported(f"JPEG 2000 in CMYK or YCC of {max(header.depths)} bits")
    try:
        from imagecodecs import jpeg2k_decode
    except ImportError as error:
        raise UnreadableImage(
            noted(
                "JPEG 2000 in colour of more than 8 bits needs the package imagecodecs: install "
                "panoptic-assets with the extra `jxl`"
            )
        ) from error
    values = np.asarray(jpeg2k_decode(asked.data, numthreads=1))
    depth = max(header.depths)
    white = 2.0**depth - 1 if depth < 16 else None
    return _of_array(values, header.icc, white)


def _read_jpeg_xl(asked: AskedPicture) -> ReadPicture:
    from imagecodecs import jpegxl_decode

    asked.only_one()
    check_pixels(picture_headers.jxl_size(asked.data), asked.max_pixels)
    return _of_array(np.asarray(jpegxl_decode(asked.data, index=0, numthreads=1)), None, None)


def _of_array(values: np.ndarray, icc: bytes | None, white: float | None) -> ReadPicture:
    """Grey or colour, with alpha or without, of any depth: (height, width[, channels])."""
    values = values[..., None] if values.ndim == 2 else values
    nb_channels = values.shape[-1]
    if values.ndim != 3 or nb_channels not in (1, 2, 3, 4):
        raise not_supported(f"pictures of {values.shape} values")
    nb_colours = 1 if nb_channels < 3 else 3
    shown = values if values.dtype == np.uint8 else eight_bits(of_values(values, white), nb_colours)
    bands = [Image.fromarray(np.ascontiguousarray(shown[..., at])) for at in range(nb_channels)]
    image = bands[0] if nb_colours == 1 else Image.merge("RGB", bands[:3])
    alpha = bands[nb_colours] if nb_channels > nb_colours else None
    return ReadPicture(image, Colour(icc), alpha=alpha)


READERS: dict[str, Callable[[AskedPicture], ReadPicture]] = {
    **dict.fromkeys(("GIF", "WEBP", "BMP", "AVIF"), _read_by_pillow),
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "TIFF": read_tiff,
    "HEIF": _read_heif,
    "JPEG2000": _read_jpeg_2000,
    "JXL": _read_jpeg_xl,
}
