"""The table of file kinds in the manual: a small file of each kind is made and decoded.

Belongs here: who delivers which kind, how a file of it is made, and what happened to it. It is a
page of the reference (``tests.manual.reference``); a test fails where the page differs, and so does
making it where a picture that is read does not look like the one that was stored.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import imagecodecs
import numpy as np
from PIL import Image

from resources.decoding import decode
from resources.errors import UnreadableImage
from resources.listing import OTHER_EXTENSIONS, extension_of, is_image_name
from resources.picture_formats import SNIFFED, foreign_format, format_of
from resources.picture_pages import pages_of
from resources.tiff import directories, with_directory
from tests.unit.resources.fuzz_decoding import encoded, png_16_bit, swapped_profile, tiff

_SIZE = (64, 48)


def _picture() -> Image.Image:
    """Four colours, which no two ways to be wrong leave alike."""
    quarters = np.array([[[220, 60, 40], [60, 200, 60]], [[50, 70, 210], [235, 225, 60]]], np.uint8)
    return Image.fromarray(np.kron(quarters, np.ones((24, 32, 1), np.uint8)))


COLOUR = _picture()
GREY = COLOUR.convert("L")
DEEP = np.asarray(COLOUR).astype(np.uint16) * 257
TWELVE = (np.asarray(GREY).astype(np.uint16) << 4) + 15


def _pages(kind: str, *sizes: tuple[int, int], **options: object) -> bytes:
    first, *more = [COLOUR.resize(size) for size in sizes or (_SIZE,) * 3]
    return encoded(first, kind, save_all=True, append_images=more, **options)


def _swapped() -> Image.Image:
    """Red and blue exchanged, as a profile that exchanges them stores the picture."""
    red, green, blue = COLOUR.split()
    return Image.merge("RGB", (blue, green, red))


def _ultra_hdr() -> bytes:
    gain = Image.new("L", (16, 12), 128)
    return encoded(COLOUR, "MPO", save_all=True, append_images=[gain], quality=95, subsampling=0)


def _reduced(data: bytes, *numbers: int) -> bytes:
    """A TIFF some of whose pages, from 1, say that they are reduced."""
    changed = bytearray(data)
    for number in numbers:
        place = next(islice(directories(data, number), number - 1, None)).entries[254][2]
        struct.pack_into("<I", changed, place, 1)
    return bytes(changed)


def _progressive(missing: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG", progressive=True)
    return data[: len(data) - missing]


@dataclass(frozen=True)
class FileKind:
    """A row of the table."""

    name: str
    who: str
    """Who delivers it."""
    file: str
    """What such files are called."""
    make: Callable[[], bytes]
    note: str = ""
    like: Image.Image | None = None
    """What must be seen, where it is read."""


_RAW = "Develop it, and export TIFF or JPEG."

KINDS = [
    FileKind(
        "JPEG, baseline",
        "everybody",
        "a.jpg",
        lambda: encoded(COLOUR, "JPEG", quality=95, subsampling=0),
        like=COLOUR,
    ),
    FileKind(
        "JPEG, progressive",
        "websites",
        "a.jpg",
        lambda: encoded(COLOUR, "JPEG", quality=95, subsampling=0, progressive=True),
        "At most 100 scans.",
        COLOUR,
    ),
    FileKind(
        "JPEG, grey", "scanners", "a.jpg", lambda: encoded(GREY, "JPEG", quality=95), like=GREY
    ),
    FileKind(
        "JPEG with a profile (Adobe RGB, Display P3, ProPhoto)",
        "photo studios, phones",
        "a.jpg",
        lambda: encoded(
            _swapped(), "JPEG", quality=95, subsampling=0, icc_profile=swapped_profile()
        ),
        "Converted to sRGB, as any embedded ICC profile.",
        COLOUR,
    ),
    FileKind(
        "JPEG, CMYK",
        "printers, publishers",
        "a.jpg",
        lambda: encoded(COLOUR.convert("CMYK"), "JPEG", quality=95, subsampling=0),
        "By its profile; without one as viewers do. Adobe's inverted inks are known.",
        COLOUR,
    ),
    FileKind(
        "JPEG without its end marker",
        "scanners, memory cards",
        "a.jpg",
        lambda: _progressive(2),
        "If all pixels are there.",
    ),
    FileKind("JPEG, cut off", "broken transfers", "a.jpg", lambda: _progressive(200)),
    FileKind(
        "JPEG of 12 bits",
        "medicine",
        "a.jpg",
        lambda: imagecodecs.jpeg8_encode(TWELVE, bitspersample=12),
    ),
    FileKind(
        "JPEG, lossless, of 8 bits",
        "medicine",
        "a.jpg",
        lambda: imagecodecs.jpeg8_encode(np.asarray(GREY), lossless=True),
        like=GREY,
    ),
    FileKind(
        "JPEG-LS", "medicine, space", "a.jls", lambda: imagecodecs.jpegls_encode(np.asarray(GREY))
    ),
    FileKind(
        "Ultra HDR",
        "phones (Android, iPhone)",
        "a.jpg",
        _ultra_hdr,
        "Its gain map is no page.",
        COLOUR,
    ),
    FileKind(
        "MPO, stereo",
        "stereo cameras",
        "a.mpo",
        lambda: _pages("MPO", _SIZE, _SIZE, quality=95, subsampling=0),
        "Each view is a page; previews are not.",
        COLOUR,
    ),
    FileKind(
        "HEIC",
        "phones (iPhone)",
        "a.heic",
        lambda: encoded(COLOUR, "HEIF", quality=95, chroma=444),
        "Needs the extra `heif`. Depth and gain maps are no pages.",
        COLOUR,
    ),
    FileKind(
        "HEIC with several pictures",
        "phones (bursts)",
        "a.heic",
        lambda: _pages("HEIF", quality=95, chroma=444),
        "Page 1 is the primary picture.",
        COLOUR,
    ),
    FileKind(
        "AVIF",
        "websites",
        "a.avif",
        lambda: encoded(COLOUR, "AVIF", quality=95, subsampling="4:4:4"),
        like=COLOUR,
    ),
    FileKind(
        "WebP", "websites", "a.webp", lambda: encoded(COLOUR, "WEBP", lossless=True), like=COLOUR
    ),
    FileKind(
        "WebP, animated",
        "websites",
        "a.webp",
        lambda: _pages("WEBP", lossless=True),
        "Each frame is a page.",
        COLOUR,
    ),
    FileKind("GIF", "websites", "a.gif", lambda: encoded(COLOUR, "GIF"), like=COLOUR),
    FileKind(
        "GIF, animated", "websites", "a.gif", lambda: _pages("GIF"), "Each frame is a page.", COLOUR
    ),
    FileKind(
        "PNG",
        "everybody",
        "a.png",
        lambda: encoded(COLOUR, "PNG"),
        "Transparency over white; cICP, then the profile, sRGB, gAMA and cHRM.",
        COLOUR,
    ),
    FileKind("PNG of 16 bits", "scanners, science", "a.png", lambda: png_16_bit(DEEP), like=COLOUR),
    FileKind(
        "PNG of 12 bits in 16",
        "science",
        "a.png",
        lambda: png_16_bit(TWELVE[..., None]),
        "White is 4,095.",
        GREY,
    ),
    FileKind("APNG", "websites", "a.png", lambda: _pages("PNG"), "Each frame is a page.", COLOUR),
    FileKind("BMP", "old scanners, Windows", "a.bmp", lambda: encoded(COLOUR, "BMP"), like=COLOUR),
    FileKind(
        "TIFF, LZW",
        "museums, scanners",
        "a.tif",
        lambda: encoded(COLOUR, "TIFF", compression="tiff_lzw"),
        like=COLOUR,
    ),
    FileKind(
        "TIFF, Deflate, tiled or in strips, BigTIFF",
        "museums, microscopes",
        "a.tif",
        lambda: encoded(COLOUR, "TIFF", compression="tiff_adobe_deflate", big_tiff=True),
        "Of either byte order.",
        COLOUR,
    ),
    FileKind(
        "TIFF, ZIP, Zstandard, WebP, LZMA, PackBits",
        "museums",
        "a.tif",
        lambda: encoded(COLOUR, "TIFF", compression="zstd"),
        like=COLOUR,
    ),
    FileKind(
        "TIFF, JPEG within",
        "archives",
        "a.tif",
        lambda: encoded(COLOUR, "TIFF", compression="jpeg", quality=95),
        like=COLOUR,
    ),
    FileKind(
        "TIFF, fax group 4",
        "archives, libraries",
        "a.tif",
        lambda: encoded(GREY.convert("1"), "TIFF", compression="group4"),
        like=GREY.convert("1"),
    ),
    FileKind(
        "TIFF, white is zero, of any depth",
        "fax, X-ray, microfilm",
        "a.tif",
        lambda: tiff(65535 - DEEP[..., 1], {262: 0}),
        "Inverted.",
        COLOUR.getchannel(1),
    ),
    FileKind(
        "TIFF of 16 bits in colour",
        "museums, photo studios",
        "a.tif",
        lambda: tiff(DEEP),
        "With its profile.",
        COLOUR,
    ),
    FileKind(
        "TIFF of 10 to 14 bits in 16",
        "microscopes, X-ray, scanners",
        "a.tif",
        lambda: tiff(TWELVE),
        "White by the rule below.",
        GREY,
    ),
    FileKind(
        "TIFF of 32 bits, or of floats",
        "microscopes, science",
        "a.tif",
        lambda: tiff((np.asarray(COLOUR) / 255).astype("f4")),
        "Grey and colour, of 16, 32 and 64 bits.",
        COLOUR,
    ),
    FileKind(
        "TIFF, CMYK, also with alpha or spot colours",
        "printers, publishers",
        "a.tif",
        lambda: tiff(
            np.dstack([np.asarray(COLOUR.convert("CMYK")), np.full((48, 64), 255, "u1")]), {338: 2}
        ),
        "By its profile.",
        COLOUR,
    ),
    FileKind(
        "TIFF, CIE L\\*a\\*b\\*",
        "textile and map scans",
        "a.tif",
        lambda: tiff(np.array([[[255, 0, 0]]], "u1").repeat(48, 0).repeat(64, 1), {262: 8}),
        like=Image.new("RGB", _SIZE, "white"),
    ),
    FileKind(
        "TIFF of several pages",
        "office scanners",
        "a.tif",
        lambda: _pages("TIFF"),
        "With `pages: all` each is an image.",
        COLOUR,
    ),
    FileKind(
        "TIFF with a thumbnail first",
        "slide scanners",
        "a.tif",
        lambda: _reduced(_pages("TIFF", (16, 12), _SIZE, tiffinfo={254: 0}), 1),
        "The largest page is the image.",
        COLOUR,
    ),
    FileKind(
        "TIFF, pyramid (OME, IIIF)",
        "microscopes, image servers",
        "a.ome.tif",
        lambda: _reduced(_pages("TIFF", _SIZE, (32, 24), (16, 12), tiffinfo={254: 0}), 2, 3),
        "Reduced pages that say so, or lie below the first, are none.",
        COLOUR,
    ),
    FileKind(
        "TIFF, compressed as JPEG 2000, LERC or JPEG XL",
        "slide scanners, maps",
        "a.tif",
        lambda: tiff(np.asarray(COLOUR), {259: 33005}),
        "Convert it, such as with `vips`.",
    ),
    FileKind(
        "JPEG 2000",
        "digital libraries",
        "a.jp2",
        lambda: encoded(COLOUR, "JPEG2000"),
        "With its profile, in its container or not (`.j2k`).",
        COLOUR,
    ),
    FileKind(
        "JPEG 2000 of 16 bits in colour",
        "archives",
        "a.jp2",
        lambda: imagecodecs.jpeg2k_encode(DEEP, bitspersample=16, reversible=True),
        "Needs the extra `jxl`.",
        COLOUR,
    ),
    FileKind(
        "JPEG XL",
        "archives, photographers",
        "a.jxl",
        lambda: imagecodecs.jpegxl_encode(np.asarray(COLOUR), lossless=True),
        "Needs the extra `jxl`. The first frame; its profile is not applied.",
        COLOUR,
    ),
    FileKind(
        "JPEG XR",
        "Windows, microscopes",
        "a.jxr",
        lambda: imagecodecs.jpegxr_encode(np.asarray(COLOUR)),
    ),
    FileKind(
        "A picture without an extension",
        "digital libraries",
        "btv1b8449691v_f4",
        lambda: encoded(COLOUR, "JPEG", quality=95, subsampling=0),
        "Told by its first bytes.",
        COLOUR,
    ),
    FileKind(
        "A picture with another's extension",
        "websites",
        "a.png",
        lambda: encoded(COLOUR, "WEBP", lossless=True),
        "Likewise.",
        COLOUR,
    ),
    FileKind(
        "Camera raw: DNG",
        "photographers",
        "a.dng",
        lambda: with_directory("<", b"II*\0" + bytes(4), {50706: (1, b"\1\4\0\0")}),
        _RAW,
    ),
    FileKind(
        "Camera raw: CR2",
        "photographers (Canon)",
        "a.cr2",
        lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(60),
        _RAW,
    ),
    FileKind(
        "Camera raw: CR3",
        "photographers (Canon)",
        "a.cr3",
        lambda: b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        _RAW,
    ),
    FileKind(
        "Camera raw: RAF, ORF, RW2, NEF, ARW, …",
        "photographers",
        "a.raf",
        lambda: b"FUJIFILMCCD-RAW 0201",
        _RAW,
    ),
    FileKind(
        "Photoshop document",
        "designers, photo studios",
        "a.psd",
        lambda: b"8BPS\0\1" + bytes(60),
        "Export TIFF.",
    ),
    FileKind(
        "PDF",
        "libraries, offices",
        "a.pdf",
        lambda: b"%PDF-1.7\n",
        "Take its pages out, such as with `pdfimages`.",
    ),
    FileKind(
        "SVG",
        "designers",
        "a.svg",
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "Export PNG.",
    ),
    FileKind("EPS", "publishers", "a.eps", lambda: encoded(COLOUR, "EPS")),
    FileKind("DICOM", "medicine", "a.dcm", lambda: bytes(128) + b"DICM", "Export PNG of 16 bits."),
    FileKind("FITS", "astronomy", "a.fits", lambda: b"SIMPLE  =                    T"),
    FileKind("OpenEXR", "film, photogrammetry", "a.exr", lambda: b"v/1\1\2\0\0\0"),
    FileKind("DjVu", "libraries", "a.djvu", lambda: b"AT&TFORM\0\0\0\1DJVU"),
    FileKind(
        "Microscope's own (CZI, ND2, LIF)",
        "microscopes",
        "a.czi",
        lambda: b"ZISRAWFILE" + bytes(50),
        "Export OME-TIFF.",
    ),
    FileKind("A file of 0 bytes", "full disks", "a.jpg", lambda: b""),
    FileKind(
        "No picture, with a picture's name", "anybody", "a.jpg", lambda: b"Moved to the new server."
    ),
    FileKind("A text without an extension", "anybody", "README", lambda: b"Scanned in 1998."),
]


def happens(kind: FileKind) -> str:
    """What a refresh does with a file of a kind, as ``corpus.ingestion`` decides it."""
    data = kind.make()
    head = data[:SNIFFED]
    if extension_of(kind.file) in OTHER_EXTENSIONS:
        return "left out by its extension"
    if not is_image_name(kind.file) and format_of(head) is None:
        foreign = foreign_format(head)
        return f"left out, counted as {foreign}" if foreign else "left out, counted as no image"
    try:
        pages = pages_of(data)
        shown = decode(data, page=pages.image)
    except UnreadableImage as error:
        # How many bytes an encoder writes, and which fault its decoder finds first, may change.
        reason = error.reason.partition(" of ")[0] if "damaged" in error.reason else error.reason
        return f"quarantine: {reason}"
    if kind.like is not None:
        seen, true = (
            np.asarray(one.convert("RGB").resize((8, 6), Image.Resampling.BOX)).astype(int)
            for one in (shown.rgb, kind.like)
        )
        assert np.abs(seen - true).max() <= 24, kind.name
    if len(pages.numbers) == 1:
        return "read" if pages.image == 1 else f"read: picture {pages.image}"
    return f"read: {len(pages.numbers)} pages, the image is page {pages.image}"


def file_kinds() -> Iterator[str]:
    """The page."""
    yield "# Kinds of files"
    yield (
        "What a refresh does with files as museums, libraries, phones, microscopes and scanners "
        "deliver them. The table is made by trying: a small file of each kind is written and "
        "decoded, and what it shows compared with what was stored. A kind is told by a file's "
        "first bytes; a name matters only where it says that a file is something else "
        "(`.csv`, `.pdf`). What is left out is counted by kind, see "
        "[your own images](../how-to/your-images.md)."
    )
    rows = [
        f"| {kind.name} | {kind.who} | {happens(kind)} | {kind.note or '–'} |" for kind in KINDS
    ]
    yield "\n".join(
        ["| Kind | Who delivers it | What happens | Note |", "| --- | --- | --- | --- |", *rows]
    )
    yield "## Colour and depth"
    yield (
        "One rule for all formats, the decoder's algorithm 2. Pictures become 8 bits of sRGB. An "
        "embedded ICC profile is applied, relative colorimetric with black point compensation; one "
        "that is damaged, or of other channels, is passed over. What is transparent is white."
    )
    yield (
        "Of more than 8 bits, white is the value that the file states (TIFF's MaxSampleValue, "
        "PNG's sBIT) if it is less than the bits can hold and no pixel exceeds it; else the "
        "smallest of 255, 1,023, 4,095, 16,383 and 65,535 that no pixel exceeds, and of floats "
        "also 1, 4, 16 or 100. Numbers below 0 or beyond 65,535 are stretched from the darkest to "
        "the brightest. Floats may exceed white by a tenth, and one in a thousand may reach four "
        "times it; all of them are white, as sharpening and rounding leave such values. So scans "
        "of 10 to 14 bits, which say so nowhere, are not nearly black, and a picture of 16 bits "
        "that is dark stays dark."
    )
    yield (
        "Vectors that were made by algorithm 1, which ignored profiles and took 65,535 for white "
        "of all 16 bits, go on with it, so that they can be compared; a new file in "
        "`configs/models`, and so a new key, gets the new decoding."
    )
