"""What a source lists: its files, what is left out of them, and which paths are wanted.

Belongs here: the contract that every kind of source keeps, and what a path says of its file:
patterns, extensions, names of pages. Does not belong here: the kinds themselves (``local_folder``,
``remote_folder``, ``archive_folder``).

Long because the extensions of what is no image are written out.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from resources.errors import InputError, UnreadableImage, noted
from resources.page_paths import file_of
from resources.picture_formats import IMAGE_EXTENSIONS

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

Patterns = list[str]
"""Patterns as in a ``.gitignore`` file, on the path below the root."""

# Text, programs' sources and settings.
_OTHER = """
txt md rst log nfo csv tsv tab json jsonl ndjson geojson xml xmp xsl xslt xsd dtd yaml yml toml ini
cfg conf html htm xhtml mhtml css js mjs ts py pyc ipynb rmd sh bat cmd ps1 cpp java php sql tex bib
ris srt vtt sub aae lst md5 sha1 sha256 sha512 torrent url webloc lnk desktop eml msg pst mbox vcf
ics kml kmz gpx ttl rdf nt owl
"""
# Offices, tables, books and documents of pages.
_OTHER += """
doc docx docm dot dotx rtf odt ott pages xls xlsx xlsm xlsb ods numbers ppt pptx pps ppsx odp key
pdf ps eps djvu djv epub mobi azw azw3 fb2 chm xps oxps indd idml pub vsd vsdx odg odf one
"""
# Drawings, three dimensions, and pictures of sciences and games. Not layers, camera raws and the
# like, which are told by their format: for people, those are images.
_OTHER += """
ai cdr emf wmf xcf kra ora afphoto afdesign sketch fig dxf dwg skp blend obj mtl stl ply glb gltf
fbx dae 3ds usd usdz e57 las laz nii hdr czi lif nd2 oib oif sid ecw ico cur icns dds tga pcx ppm
pgm pbm pnm thm pp3 dop lrcat lrdata cos
"""
# Film and sound.
_OTHER += """
mp4 m4v mov avi mkv webm wmv flv mpg mpeg m2v mts m2ts 3gp ogv vob mxf insv lrv mp3 m4a m4b aac wav
flac ogg oga opus wma aif aiff aifc mid midi amr m3u m3u8
"""
# Archives, disks and programs.
_OTHER += """
zip zipx tar gz tgz bz2 tbz tbz2 xz txz zst tzst lz4 lzma 7z rar jar war cab iso img dmg vhd vhdx
vmdk qcow2 deb rpm apk exe dll msi so dylib lib class wasm sys
"""
# Fonts, databases, arrays and models.
_OTHER += """
ttf otf ttc woff woff2 eot fon db sqlite sqlite3 db3 mdb accdb dbf shp shx prj cpg parquet arrow
feather lance orc avro npy npz mat h5 hdf5 hdf nc pkl pickle joblib pt pth ckpt safetensors onnx
tflite pb rds rdata sav dta por fmp12
"""
# What is unfinished or put aside.
_OTHER += """
tmp temp part partial crdownload download filepart opdownload lock bak old swp
"""

OTHER_EXTENSIONS = frozenset(f".{extension}" for extension in _OTHER.split())
"""Extensions, in lower case, that are well known as something else than a picture that is read. A
file with one is not looked into; one whose extension is neither here nor an image's is."""

GONE = noted("the file vanished after it was listed")

UNFINISHED = noted("the file is being written: it changed while it was read")

CHANGED = noted("the file is being written: it changed after it was listed")


def too_large(size: int, limit: int) -> str:
    """The reason why a file is not read that has more bytes than are allowed."""
    return noted(
        "the file has {size:,} bytes; the limit is {limit:,} (max_bytes)", size=size, limit=limit
    )


def cannot_be_read(error: object) -> str:
    """The reason for a fault that the system, or a store, names."""
    return noted("the file cannot be read: {error}", error=error)


class UnavailableFile(UnreadableImage):
    """A file that was not handed out: gone, forbidden, too slow.

    That says nothing about its content, and may be over at the next refresh without the file
    having changed.
    """


class UnfinishedFile(UnavailableFile):
    """A file that somebody was writing: what was read of it is neither the old one nor the new."""


class SourceFile(NamedTuple):
    """A file as it was listed; nothing of it has been read."""

    # Not a frozen dataclass: making one takes a microsecond longer, a fifth of listing a file.

    path: str
    """POSIX, relative to the root, in any script."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, nanoseconds since 1970; 0 where the store doesn't tell."""
    etag: str
    """The store's own version of the content (S3: ETag); empty where there is none."""
    ctime_ns: int = 0
    """Time of the last change of the file or of what the disk notes about it, nanoseconds since
    1970; 0 where there is none. Nobody can set it back, as ``cp -p`` and ``rsync -t`` do the
    other."""
    inode: int = 0
    """The disk's number of the file; 0 where there is none."""
    mount: str = ""
    """The mounted folder below the root that it lies on, ending in ``/``; empty: the root's own
    disk."""
    is_named: bool = True
    """Whether its name has an image's extension; of others the first bytes must be looked at."""


LeftOutKind = Literal[
    "hidden", "leftover", "excluded", "not_included", "link", "unreadable", "no_image", "page_name"
]
"""Why a file, or a folder with all that is in it, is left out: its name begins with a dot; it is
what systems leave behind; a pattern of the project excludes it; none includes it; it is a link out
of the root, to a folder or to nothing; it cannot be listed, or has a name that is no path; its
extension is that of something else than an image, or it is no plain file; its name ends like that
of a page (``resources.page_paths``)."""

_FIRST = 5
_FOLDERS_KNOWN = 50_000


@dataclass
class LeftOut:
    """Files and folders that are left out for one reason."""

    files: int = 0
    folders: int = 0
    """Folders that were not entered; what is in them is not counted."""
    extensions: Counter[str] = field(default_factory=Counter)
    """How many of the files have which extension, in lower case with its dot; empty without one."""
    first: list[str] = field(default_factory=list)
    """Paths of the first ones; those of folders end in ``/``."""


@dataclass(frozen=True)
class Listing:
    """What a source holds, and what could not be seen of it."""

    files: list[SourceFile]
    """Sorted by path: the same order on every disk."""
    skipped: dict[str, list[str]]
    """Paths by the reason for which they are left out; those of folders end in ``/``. Files without
    an image's extension, hidden or excluded ones are not named."""
    unreadable_folders: list[str]
    """Paths, ending in ``/`` (the root's is empty), of folders that could not be listed whole:
    what was known below them and is not in ``files`` may well be there."""
    left_out: dict[LeftOutKind, LeftOut] = field(default_factory=dict)
    """What is not in ``files``, by kind, and why."""
    mounts: tuple[str, ...] = ()
    """The folders below the root, ending in ``/``, on which other disks are mounted, sorted."""

    @property
    def warnings(self) -> list[str]:
        """Sentences about what was skipped, one for each reason."""
        return [
            f"Skipped {len(paths):,} of the folder of images that {reason}; first: "
            f"{', '.join(map(repr, paths[:5]))}"
            for reason, paths in self.skipped.items()
        ]


class Exclusion:
    """Patterns of what is left out. Folders are asked for before what is in them.

    Most patterns are a name, or its beginning or end: those are compared here, as asking pathspec
    takes 13 microseconds for each path, twice what listing a file does.
    """

    def __init__(self, patterns: Patterns, name: str) -> None:
        folders: set[str] = set()
        files: set[str] = set()
        beginnings: set[str] = set()
        ends: set[str] = set()
        others: Patterns = []
        if any(pattern.startswith("!") for pattern in patterns):  # then their order matters
            others = patterns
        else:
            for pattern in map(_composed, patterns):
                bare = pattern.removesuffix("/").removeprefix("\\")
                if _PLAIN.fullmatch(bare) and (bare[0] != "#" or pattern[0] == "\\"):
                    (folders if pattern.endswith("/") else files).add(bare)
                elif _PLAIN.fullmatch(pattern[:-1]) and pattern[-1] == "*" and pattern[0] != "#":
                    beginnings.add(pattern[:-1])
                elif _PLAIN.fullmatch(pattern[1:]) and pattern[0] == "*":
                    ends.add(pattern[1:])
                else:
                    others.append(pattern)
        self._folders = frozenset(folders | files)
        self._files = frozenset(files)
        self._beginnings = tuple(sorted(beginnings))
        self._ends = tuple(sorted(ends))
        self._others = compiled(others, name)

    def has_folder(self, path: str, name: str) -> bool:
        """Whether a folder is left out; its path ends in ``/``, its name does not."""
        return self._has(self._folders, path, name)

    def has_file(self, path: str, name: str) -> bool:
        """Whether a file is left out of a folder that is not."""
        return self._has(self._files, path, name)

    def _has(self, names: frozenset[str], path: str, name: str) -> bool:
        if not name.isascii():
            name = _composed(name)
        return (
            name in names
            or name.startswith(self._beginnings)
            or name.endswith(self._ends)
            or (self._others is not None and self._others.match_file(_composed(path)))
        )


# What means itself in a pattern.
_PLAIN = re.compile(r"[^*?\[\]\\!/\s](?:[^*?\[\]\\/]*[^*?\[\]\\/\s])?")


class Wanted:
    """Which paths below the root belong to the corpus.

    Paths are compared with patterns in Unicode's form NFC: a Mac writes accents as characters of
    their own (NFD), which no keyboard gives.
    """

    def __init__(self, include: Patterns, exclude: Patterns, leftovers: Patterns) -> None:
        """Patterns of what alone is taken, of what is not, and of what systems leave behind.

        Raises:
            InputError: A pattern cannot be used.
        """
        self._include = compiled(include, "include")
        self._exclude = Exclusion(exclude, "exclude") if exclude else None
        self._leftovers = Exclusion(leftovers, "exclude_leftovers")
        self._of_folders: dict[str, LeftOutKind | None] = {"": None}

    def left_out_folder(self, folder: str) -> LeftOutKind | None:
        """Why not to look into a folder; it ends in ``/``, or is empty for the root."""
        known = self._of_folders
        if folder in known:
            return known[folder]
        # Not by a call for each level: folders nest deeper than calls may.
        below = []
        while folder not in known:
            below.append(folder)
            folder = folder[: folder.rfind("/", 0, -1) + 1]
        kind = known[folder]
        for folder in reversed(below):
            kind = kind or self._left_out_there(folder)
            known[folder] = kind
        if len(known) > _FOLDERS_KNOWN:
            self._of_folders = {"": None}
        return kind

    def _left_out_there(self, folder: str) -> LeftOutKind | None:
        name = folder[folder.rfind("/", 0, -1) + 1 : -1]
        if self._leftovers.has_folder(folder, name):
            return "leftover"
        if name.startswith("."):
            return "hidden"
        if self._exclude is not None and self._exclude.has_folder(folder, name):
            return "excluded"
        return None

    def left_out(self, path: str) -> LeftOutKind | None:
        """Why not to take a file, by its path; nothing is looked at."""
        folder, slash, name = path.rpartition("/")
        return self.left_out_folder(folder + slash) or self.left_out_name(path, name)

    def left_out_name(self, path: str, name: str) -> LeftOutKind | None:
        """Why not to take a file of a folder that is looked into."""
        if self._leftovers.has_file(path, name):
            return "leftover"
        if name[0] == ".":
            return "hidden"
        if extension_of(name) in OTHER_EXTENSIONS:
            return "no_image"
        if "#" in name and file_of(name) != name:
            return "page_name"
        if self._exclude is not None and self._exclude.has_file(path, name):
            return "excluded"
        if self._include is not None and not self._include.match_file(_composed(path)):
            return "not_included"
        return None


def extension_of(name: str) -> str:
    """A file's extension, in lower case with its dot; empty where there is none."""
    # Not pathlib: it would take half the time of listing 10,000 files.
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def is_image_name(name: str) -> bool:
    """Whether a name has an image's extension."""
    return extension_of(name) in IMAGE_EXTENSIONS


def compiled(patterns: Patterns, name: str) -> "GitIgnoreSpec | None":
    """What compares paths with patterns, of the setting ``name``; None where there are none.

    Raises:
        InputError: A pattern cannot be used.
    """
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec

    # git takes "./" for the name of a folder, so that the pattern matches nothing.
    lines = [_FROM_ROOT.sub(r"\1/", _composed(pattern)) for pattern in patterns]
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise InputError(
            "A pattern of `{name}` cannot be used ({reason}): write it as in a .gitignore file.",
            id="pattern-unusable",
            name=name,
            reason=error,
        ) from error


def _composed(text: str) -> str:
    # 8 ms for 100,000 paths that are ASCII, 130 for as many with accents that a Mac wrote.
    return unicodedata.normalize("NFC", text)


_FROM_ROOT = re.compile(r"^(!?)(?:\./)+")


class Folder(Protocol):
    """One kind of root."""

    @property
    def wanted(self) -> Wanted:
        """Which paths count."""

    @property
    def place(self) -> str:
        """The folder, the URL or the file, for people."""

    def check(self) -> None:
        """Refuse what can be refused without listing.

        Raises:
            InputError: The root cannot be used.
        """

    def listing(self) -> Listing:
        """List all files.

        Raises:
            InputError: The root cannot be listed.
        """

    def read(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of a file; safe to call from many threads.

        Args:
            path: Below the root.
            max_bytes: A larger file is refused, unread.
            listed: What it must still be.

        Raises:
            UnreadableImage: As :meth:`resources.source.ImageSource.read` says.
            InputError: The root itself is gone.
        """

    def head(self, path: str) -> bytes:
        """The first bytes of a file, as many as tell formats; it raises what :meth:`read` does."""


def sorted_listing(
    files: Iterable[SourceFile],
    skipped: Mapping[str, list[str]],
    unreadable: Iterable[str],
    left_out: Mapping[LeftOutKind, LeftOut] | None = None,
    mounts: Iterable[str] = (),
) -> Listing:
    """A listing in the one order that every disk gives."""
    for one in (left_out or {}).values():
        one.first.sort()
    return Listing(
        sorted(files, key=lambda file: file.path),
        {reason: sorted(paths) for reason, paths in sorted(skipped.items())},
        sorted(unreadable),
        dict(sorted((left_out or {}).items())),
        tuple(sorted(mounts)),
    )


def leave_out(left_out: dict[LeftOutKind, LeftOut], kind: LeftOutKind, path: str) -> None:
    """Count a file, or a folder, whose path ends in ``/``, that a listing leaves out."""
    found = left_out.get(kind)
    if found is None:
        found = left_out[kind] = LeftOut()
    if path.endswith("/"):
        found.folders += 1
    else:
        found.files += 1
        found.extensions[extension_of(path[path.rfind("/") + 1 :])] += 1
    if len(found.first) < _FIRST:
        found.first.append(path)


def error_line(error: BaseException) -> str:
    """What an error says, or its kind where it says nothing, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def printable_path(path: str) -> str:
    """Bytes that are not UTF-8 reach Python as lone surrogates, which no store can hold."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
