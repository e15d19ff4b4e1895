"""Formats of pictures, told by a file's first bytes.

Belongs here: which formats are read, which extensions name them, and what a file is, for people,
that is an image or a document and is not read. Does not belong here: reading (``decoding``), and
which pictures of a file are pages (``picture_pages``).

A name says nothing about a format: digital libraries deliver files without an extension, phones
JPEGs that are called ``.heic``, and browsers save WebP as ``.jpg``.
"""

import importlib.util
import re

from resources.errors import UnreadableImage, noted
from resources.tiff import DNG_VERSION, MAKE, PHOTOMETRIC, SUBDIRECTORIES, SUBFILE, directories

IMAGE_EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".btf", ".tf8", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".avif", ".heic", ".heif", ".hif", ".jxl"),
    }
)
"""Extensions that name the formats below, in lower case; a file's may be in any case."""

SNIFFED = 4096
"""The first bytes of a file that say what it is."""

NAMES = "JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL"

_SIGNATURES: list[tuple[str, re.Pattern[bytes]]] = [
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("TIFF", re.compile(rb"(II|MM)(\*\0|\0\*|\+\0|\0\+)")),
    # Two letters may begin any text: the size of the header that follows is one of eight.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("JPEG2000", re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n")),
    ("JXL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
]

# ISO/IEC 23008-12: which codec lies in the container is said by its brands, of which the first may
# be a generic one (mif1).
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

_OTHER: list[tuple[str, re.Pattern[bytes]]] = [
    ("Photoshop document (PSD)", re.compile(rb"8BPS\0[\1\2]")),
    ("PDF document", re.compile(rb".{0,1024}?%PDF-", re.DOTALL)),
    ("PostScript (EPS)", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("OpenEXR", re.compile(rb"v/1\x01")),
    ("Radiance HDR", re.compile(rb"#\?R")),
    ("DICOM", re.compile(rb".{128}DICM", re.DOTALL)),
    ("FITS", re.compile(rb"SIMPLE  =")),
    ("DjVu", re.compile(rb"AT&TFORM")),
    ("MrSID", re.compile(rb"msid")),
    ("JPEG-LS", re.compile(rb"\xff\xd8(?:\xff\xe8.{0,200}?)?\xff\xf7\0", re.DOTALL)),
    ("JPEG XR", re.compile(rb"II\xbc[\0\1]")),
    ("camera raw (Canon CRW)", re.compile(rb"II\x1a\0\0\0HEAPCCDR")),
    ("camera raw (Fujifilm RAF)", re.compile(rb"FUJIFILMCCD-RAW")),
    ("camera raw (Olympus ORF)", re.compile(rb"IIRO|IIRS|MMOR")),
    ("camera raw (Panasonic RW2)", re.compile(rb"IIU\0")),
    ("camera raw (Minolta MRW)", re.compile(rb"\0MRM")),
    ("camera raw (Sigma X3F)", re.compile(rb"FOVb")),
    ("camera raw (Phase One IIQ)", re.compile(rb"(II\*\0.{4}IIII|MM\0\*.{4}MMMM)", re.DOTALL)),
    ("camera raw (Canon CR2)", re.compile(rb"II\*\0.{4}CR\x02", re.DOTALL)),
    ("GIMP image (XCF)", re.compile(rb"gimp xcf")),
    ("microscope image (CZI)", re.compile(rb"ZISRAWFILE")),
    ("microscope image (ND2)", re.compile(rb"\xda\xce\xbe\n")),
    ("microscope image (LIF)", re.compile(rb"\x70\0\0\0.{4}\x2a", re.DOTALL)),
    ("NITF", re.compile(rb"NITF0|NSIF0")),
    ("DPX", re.compile(rb"SDPX|XPDS")),
    ("icon (ICO)", re.compile(rb"\0\0[\1\2]\0[\1-\x40]\0")),
    ("Netpbm", re.compile(rb"P[1-7][ \t\r\n]")),
    ("PCX", re.compile(rb"\n[\0\2-\5]\x01[\1\2\4\x08]")),
    ("QOI", re.compile(rb"qoif")),
    ("BPG", re.compile(rb"BPG\xfb")),
    ("DirectDraw Surface (DDS)", re.compile(rb"DDS \|\0\0\0")),
    ("Windows metafile", re.compile(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", re.DOTALL)),
    ("OpenRaster", re.compile(rb"PK\x03\x04.{26}mimetypeimage/openraster", re.DOTALL)),
    ("Krita document", re.compile(rb"PK\x03\x04.{26}mimetypeapplication/x-krita", re.DOTALL)),
]

_SVG = re.compile(rb"<!DOCTYPE\s+svg|<(?:\w{1,20}:)?svg[\s>]")
# What may come before it, each of which ends at its own mark.
_BEFORE_SVG = {b"<?": b"?>", b"<!--": b"-->"}

_MAKERS = {
    b"nikon": "Nikon NEF",
    b"sony": "Sony ARW",
    b"pentax": "Pentax PEF",
    b"ricoh": "Pentax PEF",
    b"samsung": "Samsung SRW",
    b"hasselblad": "Hasselblad 3FR",
    b"kodak": "Kodak DCR",
    b"eastman": "Kodak DCR",
    b"epson": "Epson ERF",
    b"mamiya": "Mamiya MEF",
    b"leaf": "Leaf MOS",
}


def format_of(head: bytes) -> str | None:
    """The format that a file's first bytes announce; None where none is known that can be read.

    Args:
        head: The first :data:`SNIFFED` bytes of a file, or more.
    """
    name = _announced(head)
    if name in ("JPEG", "TIFF") and (_other(head) or (name == "TIFF" and _raw_of(head))):
        return None
    return None if name in _PACKAGES and not _is_installed(name) else name


def foreign_format(head: bytes) -> str | None:
    """What a file is, in a person's words, where it is an image or a document that is not read.

    Args:
        head: The first :data:`SNIFFED` bytes of a file, or more.
    """
    head = head[:SNIFFED]
    if name := _other(head):
        return name
    announced = _announced(head)
    if announced == "TIFF":
        return _raw_of(head)
    if announced in _PACKAGES and not _is_installed(announced):
        return _PACKAGES[announced][0]
    if b"crx " in _brands(head):
        return "camera raw (Canon CR3)"
    return "drawing (SVG)" if _is_svg(head) else None


def _is_svg(head: bytes) -> bool:
    """Whether a drawing begins, after a byte order mark, a declaration and comments."""
    rest = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    while mark := next((mark for mark in _BEFORE_SVG if rest.startswith(mark)), None):
        _, found, rest = rest.partition(_BEFORE_SVG[mark])
        rest = rest.lstrip()
        if not found:
            return False
    return bool(_SVG.match(rest))


_PACKAGES = {"JXL": ("JPEG XL", "imagecodecs", "jxl"), "HEIF": ("HEIC", "pillow_heif", "heif")}
"""For each format that a package of an extra reads: its name, the package, the extra."""


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(_PACKAGES[name][1]) is not None


def known_format(data: bytes) -> str:
    """The format of a file.

    Raises:
        UnreadableImage: It is empty, or of no format that is read.
    """
    if not data:
        raise UnreadableImage(noted("the file is empty (0 bytes)"))
    head = data[:SNIFFED]
    if name := format_of(head):
        # A directory may lie behind all else.
        if name == "TIFF" and (raw := _raw_of(data)):
            raise _foreign(raw)
        return name
    if (announced := _announced(head)) in _PACKAGES:
        format, package, extra = _PACKAGES[announced]
        raise UnreadableImage(
            noted(
                "{format} needs the package {package}: install panoptic-assets with the extra "
                "`{extra}`",
                format=format,
                package=package.replace("_", "-"),
                extra=extra,
            )
        )
    if foreign := foreign_format(head):
        raise _foreign(foreign)
    raise UnreadableImage(
        noted(
            "not an image: its {size:,} bytes begin like none of {names}",
            size=len(data),
            names=NAMES,
        )
    )


def _other(head: bytes) -> str | None:
    return next((name for name, signature in _OTHER if signature.match(head)), None)


def _foreign(kind: str) -> UnreadableImage:
    return UnreadableImage(
        noted("not supported: {foreign}; export it as TIFF, PNG or JPEG", foreign=kind)
    )


def _announced(head: bytes) -> str | None:
    for name, signature in _SIGNATURES:
        if signature.match(head):
            return name
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    box = head[8 : min(int.from_bytes(head[:4]), SNIFFED)]
    return {box[at : at + 4] for at in range(0, len(box), 4)}


def _raw_of(head: bytes) -> str | None:
    """Which camera's raw file a TIFF is; None where it is a picture.

    A raw file's first directory is that of a small preview, and the sensor's data lie below it. The
    TIFF that a camera's program exports names the same maker, but no directories below.
    """
    first = next(directories(head, most=1), None)
    if first is None:
        return None
    if DNG_VERSION in first.entries:
        return "camera raw (DNG)"
    maker = first.text(MAKE).lower()
    name = next((name for start, name in _MAKERS.items() if maker.startswith(start)), None)
    if first.number(PHOTOMETRIC, 0) in (32803, 34892):
        return f"camera raw ({name})" if name else "camera raw"
    is_preview = first.number(SUBFILE, 0) & 1 and SUBDIRECTORIES in first.entries
    return f"camera raw ({name})" if name and is_preview else None
