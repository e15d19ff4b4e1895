"""ImageSource: the files that the corpus is made of.

Belongs here: finding image files and reading their bytes, from a local folder or from any store
that fsspec knows. Does not belong here: what the bytes show (``decoding``) and what becomes of the
files (ids, quarantine, the tables), which is the assets' part.

A fault of one file is an :class:`UnreadableImage`; a fault of the whole source, such as a bucket
that is gone or credentials that are refused, is an :class:`InputError`, so that it never
quarantines thousands of files.

Long because folders on disks, in stores of objects and behind fsspec keep one contract, and are
read beside each other.
"""

import contextlib
import errno
import functools
import os
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from resources.decoding import (
    IMAGE_EXTENSIONS,
    MAX_PIXELS,
    DecodedImage,
    UnreadableImage,
    decode,
    decoder_versions,
)
from resources.errors import InputError, UnavailableError, message, noted

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

Patterns = list[str]
"""Patterns as in a ``.gitignore`` file, on the path below the root."""

_SECRETS = frozenset({"key", "secret", "token", "username", "password"})

_GONE = noted("the file vanished after it was listed")
_LOOP = noted("the path is a loop of links")

# What _printable() makes of a byte that is not UTF-8.
_ESCAPED_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")

_PASSWORD = re.compile(r"\w+://[^/@]*:[^/@]*@")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _too_large(size: int, limit: int) -> str:
    return noted(
        "the file has {size:,} bytes; the limit is {limit:,} (max_bytes)", size=size, limit=limit
    )


def _cannot_be_read(error: object) -> str:
    return noted("the file cannot be read: {error}", error=error)


class UnavailableFile(UnreadableImage):
    """A file that was not handed out: gone, forbidden, too slow.

    That says nothing about its content, and may be over at the next refresh without the file
    having changed.
    """


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was listed; nothing of it has been read."""

    path: str
    """POSIX, relative to the root, in any script."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, nanoseconds since 1970; 0 where the store doesn't tell."""
    etag: str
    """The store's own version of the content (S3: ETag); empty where there is none."""


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

    @property
    def warnings(self) -> list[str]:
        """Sentences about what was skipped, one for each reason."""
        return [
            f"Skipped {len(paths):,} of the folder of images that {reason}; first: "
            f"{', '.join(map(repr, paths[:5]))}"
            for reason, paths in self.skipped.items()
        ]


class ImageSource(BaseModel):
    """A folder of images, with its subfolders: a local one, or any fsspec URL.

    No path leaves the folder. Of a local folder, a linked file counts where its target lies inside
    the folder; other links, and all links to folders, are skipped, so that no loop can be entered.
    Hidden files and folders (``.name``) are skipped.

    Patterns are those of ``.gitignore`` files: case matters, ``*`` stays within a name, ``**``
    crosses folders, a pattern with a ``/`` before its end starts at the root, one that ends in
    ``/`` means folders, ``!`` takes back what an earlier one matched, though not from inside an
    excluded folder. Accents may be composed or not, in patterns and on the disk, and ``./`` before
    a pattern is the root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = Field(
        default="",
        description="The folder of images or its fsspec URL (s3://bucket/prefix); empty: that of "
        "the project which $PANOPTIC_PROJECT names or the working directory lies in, with the "
        "project's patterns and options.",
    )
    include: Patterns = Field(
        default=[], description="Only files that match one of these patterns; empty: all."
    )
    exclude: Patterns = Field(
        default=[], description="No files or folders that match one of these patterns."
    )
    storage_options: dict[str, Any] = Field(
        default={},
        description="Options of the URL's fsspec filesystem, such as endpoint_url or anon. Secrets "
        "belong in the environment.",
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

    readers: int = Field(
        default=min(4, os.cpu_count() or 1),
        ge=1,
        le=64,
        description="Threads that read and decode. More help where the source is slow to answer; "
        "each may hold one picture in full size.",
    )

    def list(self) -> Listing:
        """List the image files.

        A local name that is not valid UTF-8 is listed with those bytes escaped (``\\udcff``).

        Raises:
            InputError: The root is missing, not a folder, may not be listed or cannot be reached;
                a pattern, an option or the URL cannot be used.
        """
        return self._folder.listing()

    def check(self) -> None:
        """Refuse what can be refused without listing, which may take minutes.

        Raises:
            InputError: As :meth:`list`, but for what only a listing tells of a store that is
                neither a folder nor S3: whether its root is there.
        """
        self._folder.check()

    def read(self, path: str) -> bytes:
        """All bytes of a file; safe to call from many threads.

        Args:
            path: As in :class:`SourceFile`.

        Raises:
            UnavailableFile: The file is gone, may not be read, or changed or timed out meanwhile.
            UnreadableImage: The file is too large or not a plain file, or its path leads out of
                the root.
            InputError: The root itself is gone or cannot be reached, so nothing can be said about
                the file.
        """
        parts = path.split("/")
        if ".." in parts or path.startswith("/") or "\0" in path:
            raise UnreadableImage(noted("the path leads out of the folder of images"))
        return self._folder.read(path, self.max_bytes)

    def takes(self, path: str) -> bool:
        """Whether the patterns take a path below the root; nothing is looked at."""
        return self._folder.wanted.takes(path)

    @property
    def place(self) -> str:
        """The folder or the URL, for people."""
        return self._folder.place

    @property
    def local_root(self) -> Path | None:
        """The folder, if it is one of this machine.

        Raises:
            InputError: As :meth:`list`, of what is configured.
        """
        return self._folder.root if isinstance(self._folder, _LocalFolder) else None

    def decode(self, data: bytes, side: int | None = None) -> DecodedImage:
        """:func:`~resources.decoding.decode` within this source's limit of pixels."""
        return decode(data, self.max_pixels, side)

    @property
    def reader(self) -> str:
        """Versions and limits: another reader may use a file that this one puts in quarantine."""
        return f"{decoder_versions()}, {self.max_bytes} bytes, {self.max_pixels} pixels"

    @functools.cached_property
    def _folder(self) -> "_Folder":
        root, include, exclude = self.root, self.include, self.exclude
        options = self.storage_options
        if not root:
            from resources.project_folder import find

            project = find()
            root, settings = project.images, project.settings
            include = settings.include + include
            exclude = settings.exclude + exclude
            options = settings.images_options | options
        wanted = _Wanted(_compiled(include, "include"), _compiled(exclude, "exclude"))
        protocol, _, rest = root.partition("://")
        if "://" not in root:
            return _LocalFolder(Path(root).expanduser().resolve(), wanted)
        if protocol in ("file", "local"):
            return _LocalFolder(Path(rest).resolve(), wanted)
        kind = _S3Folder if protocol in ("s3", "s3a") else _RemoteFolder
        return kind(root, options, wanted)


@dataclass(frozen=True)
class _Wanted:
    """Which paths below the root belong to the corpus.

    Paths are compared with patterns in Unicode's form NFC: a Mac writes accents as characters of
    their own (NFD), which no keyboard gives.
    """

    include: "GitIgnoreSpec | None"
    exclude: "GitIgnoreSpec | None"
    _excluded: dict[str, bool] = field(default_factory=lambda: {"": False})

    def enters(self, folder: str) -> bool:
        """Whether to look into a folder; ``folder`` ends in ``/``, or is empty for the root."""
        if folder not in self._excluded:
            parent, _, name = folder[:-1].rpartition("/")
            self._excluded[folder] = (
                name.startswith(".")
                or not self.enters(parent and f"{parent}/")
                or (self.exclude is not None and self.exclude.match_file(_composed(folder)))
            )
        return not self._excluded[folder]

    def takes(self, path: str) -> bool:
        """Whether to take a file."""
        folder, slash, name = path.rpartition("/")
        return (
            # Not pathlib: it would take half the time of listing 10,000 files.
            name[name.rfind(".") :].lower() in IMAGE_EXTENSIONS
            and not name.startswith(".")
            and self.enters(folder + slash)
            and (self.include is None or self.include.match_file(_composed(path)))
            and not (self.exclude is not None and self.exclude.match_file(_composed(path)))
        )


def _compiled(patterns: Patterns, name: str) -> "GitIgnoreSpec | None":
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


class _Folder(Protocol):
    """One kind of root."""

    @property
    def wanted(self) -> _Wanted: ...

    @property
    def place(self) -> str: ...

    def check(self) -> None: ...

    def listing(self) -> Listing: ...

    def read(self, path: str, max_bytes: int) -> bytes: ...


@dataclass(frozen=True)
class _LocalFolder:
    """A folder of this machine, read without fsspec, which follows links out of it."""

    root: Path
    wanted: _Wanted

    @property
    def place(self) -> str:
        return _printable(str(self.root))

    def check(self) -> None:
        self._check_root()

    def listing(self) -> Listing:
        files: dict[str, SourceFile] = {}
        skipped: dict[str, list[str]] = defaultdict(list)
        unreadable = set()
        pending = [""]  # a stack, since folders nest deeper than calls may
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self.root / folder) as found:
                    # Sorted: of two names with one printable form the same is taken on every disk.
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                if not folder:
                    raise self._fault(error) from error
                if not isinstance(error, FileNotFoundError):
                    skipped[f"could not be read ({error.strerror})"].append(_printable(folder))
                    unreadable.add(_printable(folder))
                continue
            seen: set[str] = set()
            for entry in entries:
                path = folder + entry.name
                name = _printable(path)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self.wanted.enters(f"{name}/") and f"{name}/" not in seen:
                            seen.add(f"{name}/")
                            pending.append(f"{path}/")
                    elif entry.is_symlink() and not self._is_file_inside(path):
                        if self.wanted.enters(f"{name}/"):
                            skipped["are links out of it, to a folder or to nothing"].append(name)
                    elif self.wanted.takes(name) and entry.is_file():
                        status = entry.stat()
                        file = SourceFile(name, status.st_size, status.st_mtime_ns, "")
                        files.setdefault(name, file)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    skipped[f"could not be read ({error.strerror})"].append(name)
                    unreadable.add(_printable(folder))
        return _listing(files.values(), skipped, unreadable)

    def read(self, path: str, max_bytes: int) -> bytes:
        try:
            target = (self.root / path).resolve(strict=True)
            if not target.is_relative_to(self.root):
                raise UnreadableImage(
                    noted("the file is a link that leads out of the folder of images")
                )
            status = target.stat()
            # Opening a FIFO waits for ever, opening a device may act on it.
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage(noted("not a plain file"))
            if status.st_size > max_bytes:
                raise UnreadableImage(_too_large(status.st_size, max_bytes))
            with target.open("rb") as file:
                data = file.read(status.st_size + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_root()
            if _ESCAPED_BYTE.search(path):
                raise UnreadableImage(
                    noted("the file name is not valid UTF-8; rename the file")
                ) from error
            raise UnavailableFile(_GONE) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnreadableImage(_LOOP) from error
            self._check_root()
            raise UnavailableFile(_cannot_be_read(error.strerror)) from error
        except RuntimeError as error:  # what Path.resolve() makes of ELOOP before Python 3.13
            raise UnreadableImage(_LOOP) from error
        if len(data) != status.st_size:
            raise UnavailableFile(
                noted(
                    "the file changed while it was read: {size:,} bytes expected",
                    size=status.st_size,
                )
            )
        return data

    def _check_root(self) -> None:
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> InputError:
        return UnavailableError(
            "The folder of images {root} cannot be read ({reason}): create or mount it, or "
            "correct `images` in .panoptic/project.yaml (the `root` of the source in Dagster).",
            id="images-folder-unreadable",
            root=self.root,
            reason=error.strerror,
        )

    def _is_file_inside(self, link: str) -> bool:
        try:
            target = (self.root / link).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
            return False
        return target.is_relative_to(self.root) and target.is_file()


@dataclass(frozen=True)
class _RemoteFolder:
    """A folder of any fsspec filesystem, listed folder by folder."""

    remedy = "install that package"
    """What to do where the filesystem's package is missing."""
    credentials = "the environment"
    """Where its secrets come from."""

    url: str
    options: Mapping[str, Any]
    wanted: _Wanted

    @property
    def place(self) -> str:
        return self.url

    def check(self) -> None:
        # No more than that: to a filesystem such as that of http, a folder with files is a file.
        with self._faults_of_the_store():
            self._filesystem  # noqa: B018

    def listing(self) -> Listing:
        skipped: dict[str, list[str]] = defaultdict(list)
        unreadable: set[str] = set()
        files: dict[str, SourceFile] = {}
        with self._faults_of_the_store():
            self._filesystem.invalidate_cache()
            for entry in self._entries(skipped, unreadable):
                name = str(entry["name"]).removeprefix(f"{self._root}/")
                # A key that ends in "/" is an object store's marker of a folder.
                if entry["type"] != "file" or name.endswith("/") or not self.wanted.takes(name):
                    continue
                if {"", ".", ".."} & set(name.split("/")):
                    skipped["have an empty part, . or .. in their path"].append(name)
                    continue
                files[name] = SourceFile(name, int(entry["size"] or 0), *_version(entry))
        return _listing(files.values(), skipped, unreadable)

    def read(self, path: str, max_bytes: int) -> bytes:
        try:
            data = self._fetch(f"{self._root}/{path}", max_bytes)
        except UnreadableImage:
            raise
        except Exception as error:  # every filesystem raises its own library's
            self._check_root()
            if isinstance(error, FileNotFoundError):
                raise UnavailableFile(_GONE) from error
            if isinstance(error, PermissionError):
                raise UnavailableFile(
                    noted("the file may not be read: {error}", error=_one_line(error))
                ) from error
            raise UnavailableFile(_cannot_be_read(_one_line(error))) from error
        if len(data) > max_bytes:
            raise UnreadableImage(
                noted("the file has more than {limit:,} bytes (max_bytes)", limit=max_bytes)
            )
        return data

    def _entries(
        self, skipped: dict[str, list[str]], unreadable: set[str]
    ) -> Iterator[dict[str, Any]]:
        """fsspec's entries of all files below the root."""
        pending = [self._root]
        while pending:
            folder = pending.pop()
            name = f"{folder}/".removeprefix(f"{self._root}/")
            try:
                entries = self._filesystem.ls(folder, detail=True)
            except Exception as error:
                if folder == self._root:
                    raise
                if not isinstance(error, FileNotFoundError):
                    skipped[f"could not be read ({_one_line(error)})"].append(name)
                    unreadable.add(name)
                continue
            for entry in entries:
                path = str(entry["name"]).rstrip("/")
                if entry["type"] != "directory":
                    yield entry
                elif path != folder and self.wanted.enters(
                    f"{path}/".removeprefix(f"{self._root}/")
                ):
                    pending.append(path)

    def _fetch(self, path: str, max_bytes: int) -> bytes:
        """The file's bytes, one more than ``max_bytes`` at most."""
        return bytes(self._filesystem.cat_file(path, start=0, end=max_bytes + 1))

    def _check_root(self) -> None:
        """Raise InputError where not even the root can be listed."""
        with self._faults_of_the_store():
            self._probe()

    def _probe(self) -> None:
        self._filesystem.invalidate_cache()
        if self._filesystem.info(self._root)["type"] != "directory":
            raise NotADirectoryError("it is a file")

    @contextlib.contextmanager
    def _faults_of_the_store(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # every filesystem raises its own library's
            raise UnavailableError(
                "The images' store {url} cannot be read ({reason}): check the URL, the options "
                "`images_options` in .panoptic/project.yaml (`storage_options` of the source in "
                "Dagster) and the credentials, which come from {credentials}.",
                id="images-store-unreadable",
                url=self.url,
                reason=_one_line(error),
                credentials=self.credentials,
            ) from error

    @property
    def _filesystem(self) -> Any:
        return self._connected[0]

    @property
    def _root(self) -> str:
        return self._connected[1]

    @functools.cached_property
    def _connected(self) -> tuple[Any, str]:
        """The filesystem, and the root as its entries name it."""
        from fsspec.core import url_to_fs

        secrets = sorted(_SECRETS & self.options.keys())
        if secrets or _PASSWORD.match(self.url):
            raise InputError(
                "Remove {secrets} from the URL or the options of the images: secrets come from "
                "{credentials}.",
                id="secrets-in-images",
                secrets=" and ".join(secrets) or message("the password", id="the-password"),
                credentials=self.credentials,
            )
        try:
            # Not shared with others: credentials and listings of an earlier time would stay.
            filesystem, root = url_to_fs(self.url, skip_instance_cache=True, **self._settings())
        except ImportError as error:
            raise InputError(
                "{url} needs a package that is missing ({reason}): {remedy}.",
                id="images-store-needs-package",
                url=self.url,
                reason=_one_line(error),
                remedy=self.remedy,
            ) from error
        except (TypeError, ValueError) as error:
            raise InputError(
                "{url} cannot be used ({reason}): give a protocol that fsspec knows, such as "
                "s3://, and options that it knows.",
                id="images-store-unusable",
                url=self.url,
                reason=_one_line(error),
            ) from error
        return filesystem, str(root).rstrip("/")

    def _settings(self) -> dict[str, Any]:
        return dict(self.options)


class _S3Folder(_RemoteFolder):
    """A prefix of an S3 bucket: one flat listing, 1,000 objects per request."""

    remedy = "install panoptic-assets with the extra `s3`"
    credentials = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"

    def check(self) -> None:
        self._check_root()

    def _entries(
        self, skipped: dict[str, list[str]], unreadable: set[str]
    ) -> Iterator[dict[str, Any]]:
        found = self._filesystem.find(self._root, detail=True)
        self._check_found(found.keys() - {self._root})
        yield from found.values()

    def _fetch(self, path: str, max_bytes: int) -> bytes:
        # One request for nearly all images. Only of large ones the size is asked for first.
        first = min(_FIRST_BYTES, max_bytes + 1)
        try:
            data = bytes(self._filesystem.cat_file(path, start=0, end=first))
        except OSError as error:
            # S3 refuses any range of an empty object.
            if error.errno == errno.EINVAL and self._filesystem.info(path)["size"] == 0:
                return b""
            raise
        if len(data) < first:
            return data
        size = self._filesystem.info(path)["size"]
        if size > max_bytes:
            raise UnreadableImage(_too_large(size, max_bytes))
        return bytes(self._filesystem.cat_file(path, start=0, end=max_bytes + 1))

    def _probe(self) -> None:
        # By a listing, as that is what must be allowed; asking for the bucket itself may not be.
        bucket, _, prefix = self._root.partition("/")
        found = self._filesystem.call_s3(
            "list_objects_v2", Bucket=bucket, Prefix=prefix and f"{prefix}/", MaxKeys=1
        )
        self._check_found(found.get("KeyCount"))

    def _check_found(self, found: object) -> None:
        # Nothing tells an empty folder from one that never was: without this refusal, a slip in
        # the prefix would look like the loss of all images.
        if not found and "/" in self._root:
            raise FileNotFoundError("no object has this prefix")

    def _settings(self) -> dict[str, Any]:
        given = self.options.get("config_kwargs", {})
        return {**self.options, "config_kwargs": {**_S3_PATIENCE, **given}}

    @functools.cached_property
    def _connected(self) -> tuple[Any, str]:
        filesystem, root = super()._connected
        # s3fs repeats each request five times, and a reading that many times more, around the
        # repetitions of botocore: half an hour for a server that is silent.
        filesystem.retries = 2
        return filesystem, root


_FIRST_BYTES = 32 * 2**20
_S3_PATIENCE = {
    "connect_timeout": 5,
    "read_timeout": 15,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}


def _listing(
    files: Iterable[SourceFile], skipped: dict[str, list[str]], unreadable: set[str]
) -> Listing:
    return Listing(
        sorted(files, key=lambda file: file.path),
        {reason: sorted(paths) for reason, paths in sorted(skipped.items())},
        sorted(unreadable),
    )


def _version(entry: Mapping[str, Any]) -> tuple[int, str]:
    """Time of the last change, nanoseconds, and ETag; under the names that filesystems use."""
    changed = next(
        (
            entry[name]
            for name in ("LastModified", "mtime", "last_modified", "updated", "created")
            if entry.get(name)
        ),
        0,
    )
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    if isinstance(changed, datetime):
        changed = changed if changed.tzinfo else changed.replace(tzinfo=UTC)
        mtime_ns = (changed - _EPOCH) // timedelta(microseconds=1) * 1000
    else:
        mtime_ns = int(changed * 10**9)
    return mtime_ns, str(entry.get("ETag") or entry.get("etag") or "").strip('"')


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _printable(path: str) -> str:
    """Bytes that are not UTF-8 reach Python as lone surrogates, which no store can hold."""
    return path.encode("utf-8", "backslashreplace").decode()
