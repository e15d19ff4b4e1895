"""TIFF: one picture of a file becomes pixels.

Belongs here: choosing who reads a picture, Pillow or :mod:`resources.tiff_samples`, and what its
samples mean. Does not belong here: tags (``tiff``) and other formats (``picture_readers``).
"""

import contextlib
import io

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from resources import tiff
from resources.colour import Colour, Samples, eight_bits
from resources.picture_reading import (
    AskedPicture,
    ReadPicture,
    check_pixels,
    colour_of,
    date_of,
    not_supported,
    orientation_of,
    taken_at_of,
)
from resources.tiff_samples import SamplesOf


def read_tiff(asked: AskedPicture) -> ReadPicture:
    """A picture of a TIFF, by Pillow or, what it cannot read, by :mod:`resources.tiff`."""
    data = asked.data
    if asked.place:
        directory = tiff.directory_at(data, asked.place)
    else:
        found = enumerate(tiff.directories(data, asked.number), 1)
        directory = next((one for number, one in found if number == asked.number), None)
    if directory is None:
        if asked.number > 1:
            raise asked.no_page()
        raise ValueError("no directory")
    check_pixels(
        (directory.number(tiff.WIDTH, 0), directory.number(tiff.LENGTH, 0)), asked.max_pixels
    )
    if asked.algorithm == 1:
        # What Pillow reads is as it was; the rest was not read.
        with contextlib.suppress(SyntaxError):
            return _tiff_by_pillow(asked, directory)
    layout = None
    with contextlib.suppress(ValueError):
        layout = tiff.layout_of(directory)
    if layout and (kind := tiff.unread_tiff(layout)):
        raise not_supported(kind)
    is_deep = layout and layout.bits > 8 and layout.compression in tiff.UNPACKED
    if layout and is_deep and layout.nb_colours:
        return _tiff_samples(asked, directory, layout)
    try:
        return _tiff_by_pillow(asked, directory)
    except SyntaxError as error:
        can_be_read = (
            layout
            and layout.bits == 8
            and layout.nb_colours
            and layout.compression in tiff.UNPACKED
            and layout.nb_channels >= layout.nb_colours
        )
        if layout and can_be_read:
            return _tiff_samples(asked, directory, layout)
        if layout and str(error) == "unknown pixel mode":
            raise not_supported(
                f"TIFF of {layout.nb_channels} channels of {layout.bits} bits, photometric "
                f"interpretation {layout.photometric}"
            ) from error
        raise


def _tiff_by_pillow(asked: AskedPicture, directory: tiff.Directory) -> ReadPicture:
    image = TiffImageFile(io.BytesIO(tiff.file_with(directory)))
    check_pixels(image.size, asked.max_pixels)
    # Before loading, which closes the file; the orientation after it, when Pillow has turned it.
    taken_at = taken_at_of(image)
    colour = colour_of(image, asked)
    image.load()
    return ReadPicture(
        image,
        colour,
        orientation=orientation_of(image),
        taken_at=taken_at,
        algorithm=asked.algorithm,
    )


def _tiff_samples(
    asked: AskedPicture, directory: tiff.Directory, layout: tiff.Layout
) -> ReadPicture:
    nb_colours = layout.nb_colours
    if layout.nb_channels < nb_colours:
        raise ValueError("channels are missing")
    # The first channel beyond the colour's that is alpha: 1, multiplied with it already, or 2.
    meanings = list(enumerate(layout.extra[: layout.nb_channels - nb_colours], nb_colours))
    alpha_at, meaning = next((one for one in meanings if one[1] in (1, 2)), (None, 0))
    kept = [*range(nb_colours), *([] if alpha_at is None else [alpha_at])]
    samples = Samples(
        layout.width,
        layout.height,
        SamplesOf(directory, layout, kept, 8 * asked.max_pixels).rows,
        tiff.stated_white(directory, layout),
        layout.kind == "i",
    )
    is_lab = layout.photometric == 8
    shown = _lab(samples, layout) if is_lab else eight_bits(samples, nb_colours)
    del samples  # may hold what was unpacked
    if layout.photometric == 0:
        shown[..., 0] = 255 - shown[..., 0]
    alpha = None if alpha_at is None else Image.fromarray(shown[..., nb_colours])
    colours = shown[..., :nb_colours]
    if meaning == 1 and nb_colours == 3:
        colours = _unmultiplied(colours, shown[..., 3:])
    mode = {1: "L", 3: "LAB" if is_lab else "RGB", 4: "CMYK"}[nb_colours]
    if mode == "RGB":
        image = Image.fromarray(np.ascontiguousarray(colours))
    else:
        bands = [Image.fromarray(colours[..., at]) for at in range(nb_colours)]
        image = bands[0] if mode == "L" else Image.merge(mode, bands)
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # damaged tags are no reason to refuse intact pixels
        exif.load_from_fp(io.BytesIO(tiff.file_with(directory)))
    icc = directory.content(tiff.ICC)
    turned = directory.number(tiff.ORIENTATION, 1)
    return ReadPicture(image, Colour(icc), None, turned, date_of(exif), alpha)


def _lab(samples: Samples, layout: tiff.Layout) -> np.ndarray:
    """CIE L*a*b* of 16 bits as Pillow has it of 8: a and b around 128."""
    values = samples.rows(0, layout.height)
    if layout.bits != 16 or layout.kind == "f":
        raise not_supported(f"CIE L*a*b* of {layout.bits} bits")
    shown = (values.view(f"{values.dtype.byteorder}u2") >> 8).astype(np.uint8)
    shown[..., 1:3] ^= 128
    return shown


def _unmultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours that were stored multiplied with alpha, as they were before."""
    restored = colours.astype(np.uint16) * 255 // np.maximum(alpha, 1)
    return np.minimum(restored, 255).astype(np.uint8)
