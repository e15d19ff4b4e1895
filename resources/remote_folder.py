"""A folder of images behind fsspec: a store of objects, or any filesystem that it knows.

Belongs here: listing and reading it, and what S3 needs of its own. Does not belong here: folders of
this machine (``local_folder``).
"""

import contextlib
import errno
import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from resources.errors import InputError, UnavailableError, UnreadableImage, message, noted
from resources.listing import (
    CHANGED,
    GONE,
    LeftOut,
    LeftOutKind,
    Listing,
    SourceFile,
    UnavailableFile,
    UnfinishedFile,
    Wanted,
    cannot_be_read,
    error_line,
    is_image_name,
    leave_out,
    sorted_listing,
    too_large,
)
from resources.picture_formats import SNIFFED

_SECRETS = frozenset({"key", "secret", "token", "username", "password"})

_PASSWORD = re.compile(r"\w+://[^/@]*:[^/@]*@")

_HTTP = re.compile(r"https?://", re.IGNORECASE)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of any fsspec filesystem, listed folder by folder."""

    remedy = "install that package"
    """What to do where the filesystem's package is missing."""
    credentials = "the environment"
    """Where its secrets come from."""

    url: str
    options: Mapping[str, Any]
    wanted: Wanted

    @property
    def place(self) -> str:
        """The URL; of one of http without its query, which may hold a token."""
        address, mark, _ = self.url.partition("?")
        return f"{address}?…" if mark and _HTTP.match(address) else self.url

    def check(self) -> None:
        """Refuse a URL whose filesystem cannot be used."""
        # No more than that: to a filesystem such as that of http, a folder with files is a file.
        with self._faults_of_the_store():
            self._filesystem  # noqa: B018

    def listing(self) -> Listing:
        """List all files."""
        skipped: dict[str, list[str]] = defaultdict(list)
        unreadable: set[str] = set()
        left_out: dict[LeftOutKind, LeftOut] = {}
        files: dict[str, SourceFile] = {}
        with self._faults_of_the_store():
            self._filesystem.invalidate_cache()
            for entry in self._entries(skipped, unreadable, left_out):
                name = str(entry["name"]).removeprefix(f"{self._root}/")
                # A key that ends in "/" is an object store's marker of a folder.
                if entry["type"] != "file" or name.endswith("/"):
                    continue
                if kind := self.wanted.left_out(name):
                    leave_out(left_out, kind, name)
                elif {"", ".", ".."} & set(name.split("/")):
                    skipped["have an empty part, . or .. in their path"].append(name)
                    leave_out(left_out, "unreadable", name)
                else:
                    size = int(entry["size"] or 0)
                    mtime_ns, etag = _version(entry)
                    named = is_image_name(name.rpartition("/")[2])
                    files[name] = SourceFile(name, size, mtime_ns, etag, is_named=named)
        return sorted_listing(files.values(), skipped, unreadable, left_out)

    def read(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of a file."""
        with self._faults_of_the_file():
            data = self._fetch(f"{self._root}/{path}", max_bytes)
            if listed and listed.size and len(data) != listed.size:
                # Asked again: what a store unpacks on the way always has another length. (Not the
                # time: some filesystems tell it otherwise of a file than in a folder.)
                self._filesystem.invalidate_cache()
                if self._filesystem.info(f"{self._root}/{path}")["size"] != listed.size:
                    raise UnfinishedFile(CHANGED)
        if len(data) > max_bytes:
            raise UnreadableImage(
                noted("the file has more than {limit:,} bytes (max_bytes)", limit=max_bytes)
            )
        return data

    def head(self, path: str) -> bytes:
        """The first bytes of a file, by one request."""
        with self._faults_of_the_file():
            return self._fetch_head(f"{self._root}/{path}", SNIFFED)

    @contextlib.contextmanager
    def _faults_of_the_file(self) -> Iterator[None]:
        try:
            yield
        except UnreadableImage:
            raise
        except Exception as error:  # every filesystem raises its own library's
            self._check_root()
            if isinstance(error, FileNotFoundError):
                raise UnavailableFile(GONE) from error
            if isinstance(error, PermissionError):
                raise UnavailableFile(
                    noted("the file may not be read: {error}", error=error_line(error))
                ) from error
            raise UnavailableFile(cannot_be_read(error_line(error))) from error

    def _entries(
        self,
        skipped: dict[str, list[str]],
        unreadable: set[str],
        left_out: dict[LeftOutKind, LeftOut],
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
                    skipped[f"could not be read ({error_line(error)})"].append(name)
                    leave_out(left_out, "unreadable", name)
                    unreadable.add(name)
                continue
            for entry in sorted(entries, key=lambda entry: str(entry["name"])):
                path = str(entry["name"]).rstrip("/")
                below = f"{path}/".removeprefix(f"{self._root}/")
                if entry["type"] != "directory":
                    yield entry
                elif path == folder:
                    continue
                elif kind := self.wanted.left_out_folder(below):
                    leave_out(left_out, kind, below)
                else:
                    pending.append(path)

    def _fetch_head(self, path: str, nb_bytes: int) -> bytes:
        return bytes(self._filesystem.cat_file(path, start=0, end=nb_bytes))

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
                url=self.place,
                reason=self._said(error),
                credentials=self.credentials,
            ) from error

    def _said(self, error: BaseException) -> str:
        """What an error says, without what the place leaves out."""
        query = self.url.partition("?")[2] if self.place != self.url else ""
        return error_line(error).replace(query, "…") if query else error_line(error)

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
                url=self.place,
                reason=self._said(error),
                remedy=self.remedy,
            ) from error
        except (TypeError, ValueError) as error:
            raise InputError(
                "{url} cannot be used ({reason}): give a protocol that fsspec knows, such as "
                "s3://, and options that it knows.",
                id="images-store-unusable",
                url=self.place,
                reason=self._said(error),
            ) from error
        return filesystem, str(root).rstrip("/")

    def _settings(self) -> dict[str, Any]:
        return dict(self.options)


class S3Folder(RemoteFolder):
    """A prefix of an S3 bucket: one flat listing, 1,000 objects per request."""

    remedy = "install panoptic-assets with the extra `s3`"
    credentials = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"

    def check(self) -> None:
        """Refuse a prefix that cannot be listed, or holds nothing."""
        self._check_root()

    def _entries(
        self,
        skipped: dict[str, list[str]],
        unreadable: set[str],
        left_out: dict[LeftOutKind, LeftOut],
    ) -> Iterator[dict[str, Any]]:
        found = self._filesystem.find(self._root, detail=True)
        self._check_found(found.keys() - {self._root})
        yield from found.values()

    def _fetch(self, path: str, max_bytes: int) -> bytes:
        # One request for nearly all images. Only of large ones the size is asked for first.
        first = min(_FIRST_BYTES, max_bytes + 1)
        data = self._fetch_head(path, first)
        if len(data) < first:
            return data
        size = self._filesystem.info(path)["size"]
        if size > max_bytes:
            raise UnreadableImage(too_large(size, max_bytes))
        return bytes(self._filesystem.cat_file(path, start=0, end=max_bytes + 1))

    def _fetch_head(self, path: str, nb_bytes: int) -> bytes:
        try:
            return super()._fetch_head(path, nb_bytes)
        except OSError as error:
            # S3 refuses any range of an empty object.
            if error.errno == errno.EINVAL and self._filesystem.info(path)["size"] == 0:
                return b""
            raise

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
