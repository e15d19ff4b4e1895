"""Formats: a file is what its bytes say, whatever it is called."""

import struct
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from resources.decoding import decode
from resources.picture_formats import IMAGE_EXTENSIONS, SNIFFED, foreign_format, format_of
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.fuzz_decoding import encoded, newer_files, small_files, tiff

PICTURE = Image.new("RGB", (16, 12), "red")

READ = {
    "JPEG": encoded(PICTURE, "JPEG"),
    "PNG": encoded(PICTURE, "PNG"),
    "WEBP": encoded(PICTURE, "WEBP"),
    "GIF": encoded(PICTURE, "GIF"),
    "TIFF": encoded(PICTURE, "TIFF"),
    "BMP": encoded(PICTURE, "BMP"),
    "JPEG2000": encoded(PICTURE, "JPEG2000"),
    "AVIF": encoded(PICTURE, "AVIF"),
    "HEIF": encoded(PICTURE, "HEIF"),
    "JXL": imagecodecs.jpegxl_encode(np.asarray(PICTURE)),
}


def raw(maker: str = "", tags: dict[int, int] | None = None) -> bytes:
    """A TIFF as cameras write them: a small preview, and where the sensor's data lie."""
    small = np.zeros((4, 4, 3), np.uint8)
    data = bytearray(tiff(small, tags or {}))
    if maker:
        [at] = struct.unpack_from("<I", data, 4)
        [count] = struct.unpack_from("<H", data, at)
        name = maker.encode() + b"\0"
        entries = bytes(data[at + 2 : at + 2 + 12 * count])
        place = len(data)
        entry = struct.pack("<HHII", 271, 2, len(name), at + 2 + 12 * (count + 1) + 4)
        data = data[:at] + struct.pack("<H", count + 1) + entries + entry + bytes(4) + name
        assert place < len(data)
    return bytes(data)


FOREIGN = {
    "Photoshop document (PSD)": b"8BPS\0\1" + bytes(60),
    "PDF document": b"%PDF-1.7\n",
    "PostScript (EPS)": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "OpenEXR": b"v/1\1\2\0\0\0",
    "DICOM": bytes(128) + b"DICM",
    "FITS": b"SIMPLE  =                    T",
    "DjVu": b"AT&TFORM\0\0\0\1DJVU",
    "JPEG-LS": imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8)),
    "JPEG XR": imagecodecs.jpegxr_encode(np.zeros((16, 16, 3), np.uint8)),
    "drawing (SVG)": b'<?xml version="1.0"?>\n<!-- a map -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "camera raw (DNG)": raw(tags={50706: 1}),
    "camera raw (Nikon NEF)": raw("NIKON CORPORATION", {254: 1, 330: 8}),
    "camera raw (Sony ARW)": raw("SONY", {254: 1, 330: 8}),
    "camera raw (Canon CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(60),
    "camera raw (Canon CR3)": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "camera raw (Fujifilm RAF)": b"FUJIFILMCCD-RAW 0201",
    "camera raw (Olympus ORF)": b"IIRO\x08\0\0\0",
    "camera raw (Panasonic RW2)": b"IIU\0\x18\0\0\0",
    "icon (ICO)": encoded(PICTURE, "ICO"),
    "Netpbm": encoded(PICTURE, "PPM"),
    "microscope image (CZI)": b"ZISRAWFILE" + bytes(50),
}


@pytest.mark.parametrize("name", READ)
def test_a_format_is_told_by_its_first_bytes(name: str) -> None:
    assert format_of(READ[name][:SNIFFED]) == name
    assert foreign_format(READ[name][:SNIFFED]) is None
    assert decode(READ[name]).format == name


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_an_image_and_is_not_read_is_named(name: str) -> None:
    assert format_of(FOREIGN[name][:SNIFFED]) is None
    assert foreign_format(FOREIGN[name][:SNIFFED]) == name
    assert reason_of(lambda: decode(FOREIGN[name])).startswith(f"not supported: {name}; export")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"BM",
        b"BMW and other cars, a list without an extension: black, white, red, and blue ones",
        b"id,title\n1,Vase\n",
        b"PK\3\4" + bytes(60),
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"<html><svg></svg></html>",
        b"II",
        b"RIFF\0\0\0\0WAVE",
        "Pâtes à papier".encode(),
        bytes(SNIFFED),
    ],
)
def test_what_is_no_image_is_none(head: bytes) -> None:
    assert format_of(head) is None
    assert foreign_format(head) is None


def test_a_tiff_that_a_cameras_program_exported_is_a_picture() -> None:
    for data in (raw("NIKON CORPORATION"), raw("SONY", {254: 0})):
        assert format_of(data) == "TIFF"
        assert decode(data).width == 4


def test_the_formats_of_all_small_files_are_known_from_their_beginning() -> None:
    for data in small_files() + newer_files():
        assert format_of(data[:SNIFFED]) == decode(data).format
        assert format_of(data[:16]) in (None, decode(data).format)


@pytest.mark.parametrize(
    ("name", "package", "extra", "called"),
    [
        ("JXL", "imagecodecs", "jxl", "JPEG XL"),
        ("HEIF", "pillow_heif", "heif", "HEIC"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    name: str, package: str, extra: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert format_of(READ[name]) is None
    assert foreign_format(READ[name]) == called
    assert f"install panoptic-assets with the extra `{extra}`" in reason_of(
        lambda: decode(READ[name])
    )


def test_deep_colour_in_jpeg_2000_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    data = imagecodecs.jpeg2k_encode(np.zeros((8, 8, 3), np.uint16), bitspersample=12)
    assert decode(data).width == 8
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert "with the extra `jxl`" in reason_of(lambda: decode(data))


def test_extensions_are_in_lower_case_and_begin_with_a_dot() -> None:
    assert all(name == name.lower() and name.startswith(".") for name in IMAGE_EXTENSIONS)
    assert {".jp2", ".j2k", ".mpo", ".jxl", ".heic", ".tif"} <= IMAGE_EXTENSIONS


# What is not supported is not called damaged


def test_kinds_of_jpeg_that_nobody_here_reads_are_not_called_damaged() -> None:
    grey = np.zeros((16, 16), np.uint16)
    twelve = imagecodecs.jpeg8_encode(grey, bitspersample=12)
    assert reason_of(lambda: decode(twelve)).startswith(
        "not supported: JPEG of 12 bits per channel; export"
    )
    lossless = imagecodecs.ljpeg_encode(grey, bitspersample=12)
    assert reason_of(lambda: decode(lossless)).startswith("not supported: lossless JPEG; export")


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({259: 34887}, "TIFF compressed as LERC"),
        ({259: 33005}, "TIFF compressed as JPEG 2000"),
        ({259: 12345}, "TIFF compressed as compression 12345"),
        ({262: 9}, "TIFF of ICC L*a*b*"),
        ({262: 32845}, "TIFF of LogLuv"),
        ({258: 24}, "TIFF of 24 bits per channel"),
        ({339: 6}, "TIFF of complex numbers"),
        ({262: 77}, "TIFF of 3 channels of 8 bits, photometric interpretation 77"),
    ],
)
def test_kinds_of_tiff_that_nobody_here_reads_are_not_called_damaged(
    tags: dict[int, int], what: str
) -> None:
    data = tiff(np.zeros((4, 4, 3), np.uint8), tags)
    assert reason_of(lambda: decode(data)).startswith(f"not supported: {what}; export")
