"""A IIIF manifest, or a collection of them, as a folder of images.

Belongs here: which documents and pictures are asked for, what is kept of them, the names of the
files, and the inventory that the documents are. Does not belong here: what a document says
(``iiif_manifest``), how servers are asked (``web``) and how answers are kept (``web_cache``).

Each manifest is a top folder, and each picture a file in it: ``<manifest>/<number> <canvas>.jpg``.
A refresh asks once for each document, and for a picture only when it is new: what a picture is, is
told by its service, region and size, which make its etag. Pictures are kept as they came; a file's
number is its place in the manifest, so that canvases that come after it rename nothing, and where
one moves, its picture is known again.

Long because a source of other people's documents has to bear all that they can be.
"""

import csv
import functools
import hashlib
import io
import json
import re
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resources.errors import InputError, UnavailableError, UnreadableImage, noted
from resources.field_faults import explain_invalid
from resources.iiif_manifest import (
    MAX_BYTES,
    MAX_CANVASES,
    MAX_DEPTH,
    MAX_MANIFESTS,
    Canvas,
    IiifCollection,
    IiifManifest,
    ImageService,
    ManifestError,
    Member,
    PaintedPicture,
    parsed_json,
    read_image_information,
    read_presentation,
    region_size,
)
from resources.listing import (
    GONE,
    LeftOut,
    LeftOutKind,
    Listing,
    SourceFile,
    UnavailableFile,
    Wanted,
    leave_out,
    sorted_listing,
    too_large,
)
from resources.picture_formats import IMAGE_EXTENSIONS, SNIFFED, format_of
from resources.web import TooLargeError, Web, WebAnswer, WebError, shown_address
from resources.web_cache import WebCache

_MARK = "iiif+"
"""Before an address: it is a manifest's, whatever its end."""
_INDEX_FILE = "index.json"
_INVENTORY_FILE = "inventory.csv"

_ENDS = (".json", "/manifest", "/collection")
_DOCUMENTS = "application/ld+json, application/json;q=0.9, */*;q=0.1"
_PICTURES = "image/jpeg, image/*;q=0.9, */*;q=0.1"
_REFUSED = frozenset({400, 404, 500, 501})
"""Answers that may mean that a service cannot give a picture of this size, but of another."""
_FORBIDDEN = (401, 403)
_NOTHING_THERE = (404, 410)
_FAILURES = 5
"""So many documents in a row, of which nothing is kept, may be on servers that cannot be reached
before the source as a whole cannot be read."""
_NAME_BYTES = 250
"""Of a file's name without its extension: most disks take 255, should it ever be written there."""
_FOLDER_BYTES = 120
"""A mark of nine may follow."""
_NAME_CHARACTERS = 180
"""Of a property's name, and of a tag."""
_VALUE_CHARACTERS = (2000, 500, 100, 20)
"""Of a value in the inventory: the first that leaves the table within bounds."""
_MAX_CHARACTERS = 2**25
_MAX_COLUMNS = 200
_MAX_CELLS = 2**22
_OWN = (
    *("path", "manifest[tag]", "canvas[text]"),
    *("rights[tag]", "required statement[text]", "date[date]"),
)
_TYPED = re.compile(r".*\S ?\[ ?\w+ ?\]")
_NAV_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def manifest_address(root: str) -> str | None:
    """The address of a manifest in what names a source of images; None where it names another.

    Said by ``iiif+https://``, or by an end that no folder has. Not by what is found there: which
    kind a source is must be known without asking a server.
    """
    scheme = root.partition("://")[0].lower()
    if scheme in ("iiif+https", "iiif+http"):
        return root[len(_MARK) :]
    if scheme in ("https", "http"):
        try:
            path = urlsplit(root).path
        except ValueError:
            return None
        if path.lower().endswith(_ENDS):
            return root
    return None


def recognised(root: str) -> str:
    """What project.yaml should say of an address that a person gave: with the mark of a manifest.

    An address that does not tell by its end what it is of is asked once.

    Args:
        root: An address of http or https, with or without the mark.

    Raises:
        InputError: It is the address of a manifest that cannot be used.
    """
    address = manifest_address(root)
    if address is not None:
        _checked(address, {})
    try:
        answer = Web(address or root, attempts=1).get(
            address or root, MAX_BYTES, _DOCUMENTS, packed=True
        )
        read_presentation(parsed_json(answer.body), address or root)
    except WebError as error:
        # One that is away or busy may be there at the first refresh.
        if address is not None and error.status in (*_FORBIDDEN, *_NOTHING_THERE):
            raise _no_manifest(address, error) from error
        return root
    except ManifestError as error:
        if address is not None:
            raise _no_manifest(address, error) from error
        return root
    return root if address is not None else f"{_MARK}{root}"


def _no_manifest(address: str, error: WebError | ManifestError) -> InputError:
    """What to say of an address that a person gives for a manifest's, and that is none."""
    if isinstance(error, WebError) and error.status in _FORBIDDEN:
        return _forbidden(address, error.reason)
    return InputError(
        "There is no IIIF manifest at {url} ({reason}): open the address in a browser, and give "
        "that of the manifest itself.",
        id="manifest-not-there",
        url=shown_address(address),
        reason=error.reason,
    )


def _forbidden(address: str, reason: str) -> InputError:
    return UnavailableError(
        "The IIIF manifest {url} is not for everybody ({reason}). Manifests that ask for a "
        "password cannot be read. Nothing was changed.",
        id="manifest-forbidden",
        url=shown_address(address),
        reason=reason,
    )


class IiifOptions(BaseModel):
    """What ``images_options`` may say of a source that is a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=1024, ge=16, le=20_000)
    """Pixels of the longer side of the pictures that are asked for; smaller ones come as they
    are."""
    pause: float = Field(default=0.1, ge=0, le=60)
    """Seconds between the starts of two requests to one server."""
    requests: int = Field(default=2, ge=1, le=8)
    """Requests at once to one server."""


def _checked(url: str, options: Mapping[str, Any]) -> IiifOptions:
    """The options, of an address that can be asked."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    # Before the address is shown in another message.
    if "@" in parts.netloc:
        raise InputError(
            "The address of the manifest in `images` holds a user or a password: leave them "
            "out. Manifests that ask for a password cannot be read.",
            id="manifest-address-with-secrets",
        )
    if not host or not url.isprintable():
        raise InputError(
            "{url!r} is no address of a IIIF manifest: give one that begins with https://.",
            id="manifest-address-unusable",
            url=shown_address(url),
        )
    try:
        return IiifOptions.model_validate(dict(options))
    except ValidationError as error:
        raise InputError(
            "`images_options` of a IIIF manifest cannot be used: {problems}",
            id="manifest-options-invalid",
            problems=explain_invalid(error),
        ) from error


@dataclass(frozen=True)
class _Indexed:
    """What a path stands for."""

    picture: PaintedPicture
    manifest: str
    """The address that its manifest was asked for at: whose folder it is."""


_Index = dict[str, _Indexed]
"""Which picture each path is."""

_Stamp = tuple[int, int, int] | None
"""Tells one state of a file from another; None: it is not there."""


def _written(index: _Index) -> bytes:
    return json.dumps(
        {path: {**asdict(of.picture), "manifest": of.manifest} for path, of in index.items()}
    ).encode()


def _read_index(path: Path) -> _Index | None:
    """What was written; None where nothing was, or not by this version."""
    try:
        return {
            name: _Indexed(
                PaintedPicture(**{**fields, "service": _service_of(fields["service"])}), manifest
            )
            for name, fields in json.loads(path.read_bytes()).items()
            for manifest in [str(fields.pop("manifest"))]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _service_of(fields: dict[str, Any] | None) -> ImageService | None:
    if fields is None:
        return None
    return ImageService(**{**fields, "sizes": tuple((w, h) for w, h in fields["sizes"])})


@dataclass
class _FoundPictures:
    """What the documents hold."""

    index: _Index = field(default_factory=dict)
    rows: list[tuple[str, IiifManifest, Canvas]] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[LeftOutKind, LeftOut] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Folders, ending in ``/``, of manifests that were not had, neither now nor before; empty: all
    may be."""
    is_whole: bool = True
    """Whether all collections were had, now or before: no document is unknown."""
    documents: set[str] = field(default_factory=set)
    nb_canvases: int = 0


@dataclass
class _State:
    """What a folder remembers while it is used."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    listed: _FoundPictures | None = None
    """What the last listing of this process found."""
    stamp_listed: _Stamp = None
    """Of the index, as that listing left it."""
    kept: _Index | None = None
    """The index as it was last read."""
    stamp_kept: _Stamp = None
    inventory: Path | None = None
    spare: TemporaryDirectory[str] | None = None
    """Holds the inventory where it cannot be kept."""
    plain: set[str] = field(default_factory=set)
    """Hosts whose services refused a size that most know."""
    failures: int = 0
    """Pictures in a row whose server gave nothing."""


@dataclass(frozen=True)
class IiifFolder:
    """The pictures of a manifest, or of all manifests of a collection."""

    url: str
    options: Mapping[str, Any]
    wanted: Wanted
    cache: Path | None
    """Where answers are kept; None: nowhere, so that each picture is asked for at each reading."""

    _state: _State = field(default_factory=_State, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The manifest's address."""
        return shown_address(self.url)

    def check(self) -> None:
        """Refuse an address or options that cannot be used; nothing is asked."""
        self._settings  # noqa: B018

    def listing(self, max_age: float = 0.0) -> Listing:
        """List all pictures: one request for each document.

        Args:
            max_age: Documents that were asked for since so many seconds count as they were.
        """
        with self._state.lock:
            found = self._found(max_age)
            self._keep(found)
        size = self._settings.size
        files: list[SourceFile] = []
        for path, of in found.index.items():
            if kind := self.wanted.left_out(path):
                leave_out(found.left_out, kind, path)
            else:
                files.append(SourceFile(path, 0, 0, _etag(of.picture, size)))
        return sorted_listing(files, found.skipped, found.unknown, found.left_out)

    def accepted(self) -> None:
        """Let go of what the last listing no longer names, as a refresh has taken it for true.

        Until then all is kept, as a collection may be cut for a while, and a person be asked.
        """
        with self._state.lock:
            found = self._state.listed
            if found is None or self._cache.folder is None:
                return
            unknown = tuple(found.unknown)
            index = found.index | {
                path: of
                for path, of in (self._kept_index() or {}).items()
                if path not in found.index and path.startswith(unknown)
            }
            self._cache.write(_INDEX_FILE, _written(index))
            self._state.stamp_listed = self._stamp()
            if found.is_whole:
                size = self._settings.size
                names = {f"picture {_etag(of.picture, size)}" for of in index.values()}
                self._cache.forget_others(
                    names | {f"document {address}" for address in found.documents}
                )

    def read(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of a picture: as they were kept, else asked for."""
        return self._read(path, max_bytes, False, listed)

    def read_again(self, path: str, max_bytes: int, listed: SourceFile | None = None) -> bytes:
        """All bytes of a picture, after its server was asked whether they are still those."""
        return self._read(path, max_bytes, True, listed)

    def head(self, path: str) -> bytes:
        """The first bytes of a picture; all are asked for, and kept."""
        return self._read(path, MAX_BYTES, False)[:SNIFFED]

    def inventory(self) -> Path | None:
        """The inventory that the last listing wrote; None where nothing was listed."""
        if self._state.inventory is None and self._cache.folder is not None:
            path = self._cache.folder / _INVENTORY_FILE
            return path if path.is_file() else None
        return self._state.inventory

    @functools.cached_property
    def _settings(self) -> IiifOptions:
        return _checked(self.url, self.options)

    @functools.cached_property
    def _web(self) -> Web:
        settings = self._settings
        return Web(self.url, requests=settings.requests, pause=settings.pause)

    @functools.cached_property
    def _cache(self) -> WebCache:
        if self.cache is None:
            return WebCache(None)
        # Of another manifest or size nothing here can be used, nor must it be deleted.
        name = hashlib.sha256(f"{self._settings.size} {self.url}".encode()).hexdigest()[:16]
        return WebCache(self.cache / "iiif" / name)

    def _found(self, max_age: float) -> _FoundPictures:
        """Ask for all documents, those in a collection in its order."""
        self._web.begin_anew()
        found = _FoundPictures()
        # Names are given when all are known. Of a member that could not be had there is none.
        members: list[tuple[Member, IiifManifest | None]] = []
        manifests: dict[str, IiifManifest] = {}
        lost: list[Member] = []
        failures = 0
        pending = [Member(self.url, "", True)]
        depths = {self.url: 0}
        while pending:
            member = pending.pop()
            address = member.address
            if address in found.documents:
                continue
            found.documents.add(address)
            self._check_bounds(found, depths[address])
            try:
                document = self._read_document(member, max_age)
                failures = 0
            except (WebError, ManifestError) as error:
                if address == self.url:
                    raise self._fault(address, error) from error
                kept = self._kept_document(member)
                if kept is None and isinstance(error, WebError) and error.unreachable:
                    failures += 1
                    if failures >= _FAILURES:
                        raise self._fault(address, error) from error
                place = member.label or shown_address(address)
                if kept is None:
                    found.skipped[f"could not be read ({error.reason})"].append(place)
                    leave_out(found.left_out, "unreadable", f"{place.rstrip('/')}/")
                    if not isinstance(error, WebError) or error.status not in _NOTHING_THERE:
                        lost.append(member)
                    if not member.is_collection:
                        members.append((member, None))
                    continue
                reason = f"could not be asked for again ({error.reason}), and count as they were"
                found.skipped[reason].append(place)
                document = kept
            if isinstance(document, IiifManifest):
                # By another address, too; but careless programs give all manifests one id.
                twin = manifests.setdefault(document.address, document)
                if twin is document or twin.canvases != document.canvases:
                    members.append((member, document))
                    found.nb_canvases += sum(
                        len(canvas.pictures) or 1 for canvas in document.canvases
                    )
                    self._check_bounds(found, 0)
                continue
            following = list(document.members)
            for each in following:
                depths.setdefault(each.address, depths[address] + 1)
            if document.next:
                following.append(Member(document.next, member.label, True))
                depths.setdefault(document.next, depths[address])
            pending += reversed(following)
        self._name(found, members, lost)
        return found

    def _name(
        self,
        found: _FoundPictures,
        members: list[tuple[Member, IiifManifest | None]],
        lost: list[Member],
    ) -> None:
        """Give all pictures their paths, and tell which folders are unknown.

        Args:
            found: What is filled.
            members: The manifests in order, None for what one that could not be had says.
            lost: The members that may be there although they could not be had.
        """
        kept = self._kept_index()
        folders = {of.manifest: path.partition("/")[0] for path, of in (kept or {}).items()}
        found.is_whole = not any(member.is_collection for member in lost)
        labels = {
            member.address: manifest.label or member.label or _last_part(manifest.address)
            for member, manifest in members
            if manifest
        }
        names = _PictureNames(
            {
                address: folder
                for address, folder in folders.items()
                if (address in found.documents or not found.is_whole)
                and (address not in labels or _is_name_of(folder, labels[address]))
            }
        )
        for member, manifest in members:
            if manifest:
                folder = names.folder(labels[member.address], member.address)
                self._take(found, folder, member.address, manifest)
                continue
            label = member.label or _last_part(member.address)
            folders[member.address] = names.folder(label, member.address)
        if not lost:
            return
        if kept is None:
            # What was known before is known no more, and tables may have it by other names.
            found.unknown = {""}
            return
        found.unknown = {
            f"{folder}/"
            for address, folder in folders.items()
            if not found.is_whole and address not in found.documents
        }
        found.unknown |= {
            f"{folders[member.address]}/" for member in lost if member.address in folders
        }

    def _read_document(self, member: Member, max_age: float) -> IiifManifest | IiifCollection:
        """What a member of a collection is; it is asked for unless it stands in the collection."""
        if member.document is not None:
            return read_presentation(member.document, member.address)
        return self._asked_document(member.address, max_age)

    def _kept_document(self, member: Member) -> IiifManifest | IiifCollection | None:
        """What it was when it could last be had, if that is kept."""
        kept = self._cache.get(f"document {member.address}")
        if kept is None:
            return None
        try:
            return read_presentation(parsed_json(kept.body), member.address)
        except ManifestError:
            return None

    def _asked_document(self, address: str, max_age: float = 0.0) -> IiifManifest | IiifCollection:
        """A document that its server is asked for, or whether what is kept is still so."""
        name = f"document {address}"
        kept = self._cache.get(name)
        if kept and 0 <= kept.age < max_age:
            return read_presentation(parsed_json(kept.body), address)
        answer = self._web.get(
            address, MAX_BYTES, _DOCUMENTS, kept.validators if kept else None, packed=True
        )
        if answer.status == 304:
            if kept is None:
                raise WebError(noted("the server answers with status {status:d}", status=304))
            self._cache.touch(name)
            return read_presentation(parsed_json(kept.body), address)
        document = read_presentation(parsed_json(answer.body), address)
        # Only then: a page that a server sends instead must not take the place of what was kept.
        self._cache.put(name, answer.body, answer.headers)
        return document

    def _take(
        self, found: _FoundPictures, folder: str, address: str, manifest: IiifManifest
    ) -> None:
        """Give the pictures of a manifest their paths."""
        for number, canvas in enumerate(manifest.canvases, start=1):
            for at, picture in enumerate(canvas.pictures, start=1):
                path = f"{folder}/{_file_name(number, at, canvas.label, picture)}"
                found.index[path] = _Indexed(picture, address)
                found.rows.append((path, manifest, canvas))
            if not canvas.pictures:
                path = f"{folder}/{_safe(f'{number:04d} {canvas.label}', _NAME_BYTES)}"
                found.skipped["hold no picture"].append(path)
                leave_out(found.left_out, "no_image", path)

    def _check_bounds(self, found: _FoundPictures, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(
                "The collection {url} holds collections inside one another more than {most} deep: "
                "give one of those inside it.",
                id="collection-too-deep",
                url=self.place,
                most=MAX_DEPTH,
            )
        if len(found.documents) > MAX_MANIFESTS or found.nb_canvases > MAX_CANVASES:
            raise InputError(
                "{url} has more than {documents:,} manifests or {canvases:,} canvases, which is "
                "the most that one project takes: give a part of it.",
                id="collection-too-large",
                url=self.place,
                documents=MAX_MANIFESTS,
                canvases=MAX_CANVASES,
            )

    def _fault(self, address: str, error: WebError | ManifestError) -> InputError:
        if isinstance(error, WebError) and error.status in _FORBIDDEN:
            return _forbidden(address, error.reason)
        return UnavailableError(
            "The IIIF manifest {url} cannot be read ({reason}). Nothing was changed. Open the "
            "address in a browser; if it has changed, correct `images` in .panoptic/project.yaml.",
            id="manifest-unreadable",
            url=shown_address(address),
            reason=error.reason,
        )

    def _keep(self, found: _FoundPictures) -> None:
        """Write what the documents hold, and keep what was there until that is accepted."""
        # Of one path the older picture counts for others: it is what the tables have.
        self._cache.write(_INDEX_FILE, _written(found.index | (self._kept_index() or {})))
        self._state.listed, self._state.stamp_listed = found, self._stamp()
        table = _inventory(found.rows)
        found.rows.clear()
        self._state.inventory = self._cache.write(_INVENTORY_FILE, table)
        if self._state.inventory is None:
            # Without a table the images would lose all values, for want of room to keep things.
            self._state.spare = self._state.spare or TemporaryDirectory(prefix="panoptic-")
            self._state.inventory = Path(self._state.spare.name) / _INVENTORY_FILE
            self._state.inventory.write_bytes(table)

    def _stamp(self) -> _Stamp:
        """The state of the index, which other processes write, too."""
        if self._cache.folder is None:
            return None
        try:
            found = (self._cache.folder / _INDEX_FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _kept_index(self) -> _Index | None:
        """The index as it is by now; None where there is none that can be read."""
        state, stamp = self._state, self._stamp()
        if stamp != state.stamp_kept:
            folder = self._cache.folder
            state.kept = _read_index(folder / _INDEX_FILE) if folder and stamp else None
            state.stamp_kept = stamp
        return state.kept

    def _picture(self, path: str, listed: SourceFile | None) -> PaintedPicture:
        known, is_known = self._known(path, listed)
        if not is_known:
            self.listing()
            known, _ = self._known(path, listed)
        if known is None:
            raise UnavailableFile(GONE)
        return known.picture

    def _known(self, path: str, listed: SourceFile | None) -> tuple[_Indexed | None, bool]:
        """What a path stands for, and whether that is known although it may be nothing."""
        with self._state.lock:
            own = self._state.listed
            of = own.index.get(path) if own else None
            if of and listed and _etag(of.picture, self._settings.size) == listed.etag:
                return of, True
            # Once another process has written the index, what this one listed is old.
            if of and self._state.stamp_listed == self._stamp():
                return of, True
            kept = self._kept_index()
            if kept is not None:
                return kept.get(path), True
            return of, own is not None

    def _read(
        self, path: str, max_bytes: int, again: bool, listed: SourceFile | None = None
    ) -> bytes:
        picture = self._picture(path, listed)
        name = f"picture {_etag(picture, self._settings.size)}"
        kept = self._cache.get(name)
        if kept is None or again:
            try:
                answer = self._asked(picture, max_bytes, kept.validators if kept else {})
            except TooLargeError as error:
                raise UnreadableImage(
                    noted("the file has more than {limit:,} bytes (max_bytes)", limit=max_bytes)
                ) from error
            except WebError as error:
                self._check_root(error)
                raise UnavailableFile(
                    noted("the picture cannot be had: {reason}", reason=error.reason)
                ) from error
            self._state.failures = 0
            if answer.status == 200:
                _check_picture(answer)
                self._cache.put(name, answer.body, answer.headers)
                return answer.body
            if kept is None:
                raise UnavailableFile(
                    noted(
                        "the picture cannot be had: {reason}",
                        reason=noted("the server answers with status {status:d}", status=304),
                    )
                )
        if len(kept.body) > max_bytes:
            raise UnreadableImage(too_large(len(kept.body), max_bytes))
        return kept.body

    def _asked(
        self, picture: PaintedPicture, max_bytes: int, validators: Mapping[str, str]
    ) -> WebAnswer:
        """The answer to the first request for a picture that is not refused."""
        refusal: WebError | None = None
        for address in self._addresses(picture):
            try:
                return self._web.get(address, max_bytes, _PICTURES, validators)
            except WebError as error:
                if error.status not in _REFUSED:
                    raise
                refusal = refusal or error
                if picture.service and "/!" in address:
                    self._state.plain.add(_server_of(picture.service.address))
        if refusal is None:
            raise UnreadableImage(noted("its image service gives only parts of it (tiles)"))
        raise refusal

    def _addresses(self, picture: PaintedPicture) -> Iterator[str]:
        """Where a picture may be had, the best way first; the next is for the case of refusal."""
        service, region, size = picture.service, picture.region, self._settings.size
        if service is None:
            yield picture.address
            return
        width, height = picture.width, picture.height
        if region != "full":
            width, height = region_size(region)
        first = self._plain(service).picture(size, width, height, region)
        if first:
            yield first
        # What the manifest says of the service is too little, or wrong.
        try:
            answer = self._web.get(
                f"{service.address}/info.json", MAX_BYTES, _DOCUMENTS, packed=True
            )
            told, *sides = read_image_information(parsed_json(answer.body), service)
        except (WebError, ManifestError) as error:
            if first:
                return
            fault = error if isinstance(error, WebError) else WebError(error.reason)
            if region != "full" or not picture.address or fault.unreachable:
                raise fault from error
        else:
            if region == "full":
                width, height = sides
            second = self._plain(told).picture(size, width, height, region)
            if second and second != first:
                yield second
        if picture.address and region == "full":
            yield picture.address

    def _plain(self, service: ImageService) -> ImageService:
        if _server_of(service.address) in self._state.plain:
            return replace(service, level=min(service.level, 1))
        return service

    def _check_root(self, error: WebError) -> None:
        """Raise InputError where the manifest's own server gives nothing any more."""
        if not error.unreachable:
            return
        self._state.failures += 1
        # At the first failure in a row, the second, the fourth, and so on: thousands of pictures
        # that fail must not be as many requests for the manifest.
        if self._state.failures & (self._state.failures - 1):
            return
        try:
            self._web.forgive(self.url)
            self._asked_document(self.url)
        except ManifestError as fault:
            raise self._fault(self.url, fault) from fault
        except WebError as fault:
            if fault.unreachable:
                raise self._fault(self.url, fault) from fault


class _PictureNames:
    """Names of folders, each given once, whatever the letter case of a disk."""

    def __init__(self, held: Mapping[str, str]) -> None:
        """Names that are given already, by the address of a manifest."""
        self._held: dict[str, str] = {}
        self._taken: set[str] = set()
        for address, name in held.items():
            # One that was dropped and comes back may find its name given to another.
            if name.casefold() not in self._taken:
                self._held[address] = name
                self._taken.add(name.casefold())

    def folder(self, label: str, address: str) -> str:
        """The name of a manifest's folder.

        It is the one that it had. The first of a new name has it alone; others have a mark, which
        is their address's.
        """
        if address in self._held:
            return self._held[address]
        name = _folder_name(label)
        mark = hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()
        for number in range(len(mark)):
            taken = (
                f"{name} ({mark[number : number + 6]})" if name.casefold() in self._taken else name
            )
            if taken.casefold() not in self._taken:
                break
        self._taken.add(taken.casefold())
        return taken


def _folder_name(label: str) -> str:
    return _safe(label, _FOLDER_BYTES).lstrip(". ") or "untitled"


def _is_name_of(folder: str, label: str) -> bool:
    """Whether a folder has the name of a label, with or without a mark."""
    name = _folder_name(label)
    return folder == name or re.fullmatch(r" \([0-9a-f]+\)", folder.removeprefix(name)) is not None


def _server_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[0]


def _safe(text: str, most: int) -> str:
    """A text as the name of a file or folder, of so many bytes at most."""
    name = unicodedata.normalize("NFC", text).replace("/", "-").replace("\\", "-")
    cut = name.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
    return cut.strip(" ").rstrip(". ")


def _file_name(number: int, at: int, label: str, picture: PaintedPicture) -> str:
    extension = ".jpg"
    if picture.service is None:
        try:
            path = urlsplit(picture.address).path
        except ValueError:
            path = ""
        given = path[path.rfind(".") :].lower()
        extension = given if given in IMAGE_EXTENSIONS else extension
    begin = f"{number:04d}" if at == 1 else f"{number:04d}.{at}"
    return _safe(f"{begin} {label}", _NAME_BYTES) + extension


def _last_part(address: str) -> str:
    """The part of an address that most likely names the manifest."""
    path = shown_address(address).partition("://")[2].partition("/")[2]
    parts = [part.removesuffix(".json") for part in path.split("/")]
    named = [part for part in parts if part and part not in ("manifest", "iiif", "collection")]
    return named[-1] if named else ""


def _etag(picture: PaintedPicture, size: int) -> str:
    """Tells pictures apart, whatever else a manifest says of them by now."""
    if picture.service:
        parts = [picture.service.address, picture.region, str(size)]
    else:
        parts = [picture.address]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _check_picture(answer: WebAnswer) -> None:
    """Refuse what is no picture, so that it is neither kept nor the last word about the file."""
    if format_of(answer.body[:SNIFFED]):
        return
    head = answer.body[:200].lstrip().lower()
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or head.startswith((b"<!doctype", b"<html")):
        raise UnavailableFile(noted("the server sent a page (HTML) instead of a picture"))
    raise UnavailableFile(
        noted("what the server sent is no picture: {size:,} bytes", size=len(answer.body))
    )


def _inventory(rows: list[tuple[str, IiifManifest, Canvas]]) -> bytes:
    """The table of what manifests and canvases say, a line for each picture."""
    names: dict[str, str] = {}
    """Spellings of columns by what is compared."""
    own = {each.partition("[")[0] for each in _OWN}
    most = min(_MAX_COLUMNS, _MAX_CELLS // (len(rows) or 1) - len(_OWN))
    lines: list[tuple[list[str], dict[str, str]]] = []
    for path, manifest, canvas in rows:
        pairs: dict[str, list[str]] = {}
        # What is said of the canvas stands in the place of what is said of the whole.
        for part in (canvas.metadata, manifest.metadata):
            said = set(pairs)
            for label, value in part:
                name = label[:_NAME_CHARACTERS].rstrip()
                name = f"{name} (metadata)" if name.casefold() in own else name
                key = name.casefold()
                if key in said or (key not in names and len(names) >= most):
                    continue
                names.setdefault(key, name)
                values = pairs.setdefault(key, [])
                if value not in values:
                    values.append(value)
        about = [
            path,
            _tag(manifest.label or path.partition("/")[0]),
            canvas.label,
            _tag(canvas.rights or manifest.rights),
            canvas.statement or manifest.statement,
            next(filter(_NAV_DATE.fullmatch, (canvas.date, manifest.date)), ""),
        ]
        lines.append((about, {key: "; ".join(values) for key, values in pairs.items()}))
    longest = next(
        (most for most in _VALUE_CHARACTERS if _length(lines, most) < _MAX_CHARACTERS),
        _VALUE_CHARACTERS[-1],
    )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    # A name that ends like a type would be taken for one.
    heads = [f"{name}[text]" if _TYPED.fullmatch(name) else name for name in names.values()]
    table.writerow([*_OWN, *heads])
    for (path, *about), found in lines:
        values = [*about, *(found.get(key, "") for key in names)]
        table.writerow([path, *(value[:longest] for value in values)])
    return text.getvalue().encode("utf-8", "replace")


def _length(lines: list[tuple[list[str], dict[str, str]]], most: int) -> int:
    """Characters of a table whose values have so many at most."""
    return sum(
        min(len(value), most) for about, found in lines for value in (*about, *found.values())
    )


def _tag(text: str) -> str:
    # In tags, ">" stands between a tag and those below it.
    return text.replace(">", "›")[:_NAME_CHARACTERS]
