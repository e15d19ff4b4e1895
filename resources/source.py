"""ImageSource: the files that the corpus is made of.

Belongs here: choosing the kind of source, and what all kinds share: paths that lead out are
refused, pictures are decoded within limits. Does not belong here: the kinds (``local_folder``,
``remote_folder``, ``archive_folder``, ``iiif_folder``), what the bytes show (``decoding``) and what
becomes of the files (quarantine, the tables), which is the assets' part.

A fault of one file is an :class:`UnreadableImage`; a fault of the whole source, such as a bucket
that is gone or credentials that are refused, is an :class:`InputError`, so that it never
quarantines thousands of files.
"""

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from resources.archive_folder import ArchiveFolder, is_archive
from resources.decoding import ALGORITHM, MAX_PIXELS, DecodedImage, decode, decoder_versions
from resources.errors import UnreadableImage, noted
from resources.listing import Folder, Listing, Patterns, SourceFile, Wanted
from resources.local_folder import LocalFolder
from resources.page_paths import file_of, page_id, page_number
from resources.picture_pages import Pages
from resources.project_folder import LEFTOVERS, find
from resources.remote_folder import RemoteFolder, S3Folder

if TYPE_CHECKING:
    from resources.iiif_folder import IiifFolder

OTHER_IMAGE = noted("the file was changed since it was last read: refresh")


class ImageSource(BaseModel):
    """A folder of images, with its subfolders: a local one, an archive, or any fsspec URL.

    No path leaves the folder. Of a local folder, a linked file counts where its target lies inside
    the folder; other links, and all links to folders, are skipped, so that no loop can be entered.
    Hidden files and folders (``.name``) are left out, and so are files whose extension is known as
    that of something else (:data:`~resources.listing.OTHER_EXTENSIONS`); other files without an
    image's extension are listed, as their first bytes may be an image's.

    Patterns are those of ``.gitignore`` files: case matters, ``*`` stays within a name, ``**``
    crosses folders, a pattern with a ``/`` before its end starts at the root, one that ends in
    ``/`` means folders, ``!`` takes back what an earlier one matched, though not from inside an
    excluded folder. Accents may be composed or not, in patterns and on the disk, and ``./`` before
    a pattern is the root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str = Field(
        default="",
        description="The folder of images, its fsspec URL (s3://bucket/prefix) or the address of a "
        "IIIF manifest; empty: that of the project which $PANOPTIC_PROJECT names or the working "
        "directory lies in, with the project's patterns and options.",
    )
    include: Patterns = Field(
        default=[], description="Only files that match one of these patterns; empty: all."
    )
    exclude: Patterns = Field(
        default=[], description="No files or folders that match one of these patterns."
    )
    exclude_leftovers: Patterns = Field(
        default=LEFTOVERS,
        description="Patterns of what network storages and systems leave in folders, such as "
        "thumbnails and recycle bins; left out, too. Of a project's folder, its own patterns hold, "
        "and those that are given here besides the default.",
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

    cache: str = Field(
        default="",
        description="The folder that keeps what servers of IIIF sent, and packed archives "
        "unpacked; empty: that of the project, if the root is the project's, else none.",
    )
    readers: int = Field(
        default=min(4, os.cpu_count() or 1),
        ge=1,
        le=64,
        description="Threads that read and decode. More help where the source is slow to answer; "
        "each may hold one picture in full size.",
    )

    def list(self, max_age: float = 0.0) -> Listing:
        """List the files that are images, or may be, and count what is left out.

        A local name that is not valid UTF-8 is listed with those bytes escaped (``\\udcff``).

        Args:
            max_age: What a library of IIIF said in the last so many seconds counts as said now.

        Raises:
            InputError: The root is missing, not a folder, may not be listed or cannot be reached;
                a pattern, an option or the URL cannot be used.
        """
        return self._manifest.listing(max_age) if self._manifest else self._folder.listing()

    def check(self) -> None:
        """Refuse what can be refused without listing, which may take minutes.

        Raises:
            InputError: As :meth:`list`, but for what only a listing tells of a store that is
                neither a folder nor S3: whether its root is there.
        """
        self._folder.check()

    def read(self, path: str, listed: SourceFile | None = None, again: bool = False) -> bytes:
        """All bytes of a file; safe to call from many threads.

        Args:
            path: As in :class:`~resources.listing.SourceFile`, or that of one of its pages.
            listed: What the file must still be.
            again: Whether a server is asked for what is kept of its answers, too.

        Raises:
            UnfinishedFile: The file changed while it was read, or is no longer what was listed.
            UnavailableFile: The file is gone, may not be read, or timed out meanwhile.
            UnreadableImage: The file is too large or not a plain file, or its path leads out of
                the root.
            InputError: The root itself is gone or cannot be reached, so nothing can be said about
                the file.
        """
        if again and self._manifest:
            return self._manifest.read_again(_inside(path), self.max_bytes, listed)
        return self._folder.read(_inside(path), self.max_bytes, listed)

    def head(self, path: str) -> bytes:
        """The first :data:`~resources.picture_formats.SNIFFED` bytes of a file, which tell formats.

        Args:
            path: As of :meth:`read`.

        Raises:
            UnreadableImage: As :meth:`read`, of a file of any size.
            InputError: As :meth:`read`.
        """
        return self._folder.head(_inside(path))

    def image_id(self, path: str, data: bytes) -> str:
        """The id of the image at a path, a file's or a page's.

        Args:
            path: As of :meth:`read`.
            data: The bytes of its file.
        """
        return page_id(hashlib.sha256(data).hexdigest(), page_number(path))

    def bytes_of(self, path: str, image_id: str) -> bytes:
        """All bytes of a file that shows an image.

        Args:
            path: Of the file, or of its page that is the image.
            image_id: The image.

        Raises:
            UnreadableImage: It shows another one by now; or as :meth:`read`.
            InputError: As :meth:`read`.
        """
        data = self.read(path)
        if self.image_id(path, data) != image_id:
            raise UnreadableImage(OTHER_IMAGE)
        return data

    def picture(
        self, path: str, image_id: str, side: int | None = None, algorithm: int = ALGORITHM
    ) -> DecodedImage:
        """An image, from a file that shows it, as :meth:`decode` gives it.

        Raises:
            UnreadableImage: As :meth:`bytes_of` and :meth:`decode`.
            InputError: As :meth:`read`.
        """
        return self.decode(self.bytes_of(path, image_id), side, page_number(path), algorithm)

    def takes(self, path: str) -> bool:
        """Whether a path below the root, a file's or a page's, would be listed.

        Patterns, extensions and names decide; nothing is looked at.
        """
        return self._folder.wanted.left_out(file_of(path)) is None

    def settle(self) -> None:
        """Let go of what is kept of pictures that the last listing no longer names.

        To be called when a refresh has taken that listing for true, and never before.
        """
        if self._manifest:
            self._manifest.accepted()

    @property
    def is_described(self) -> bool:
        """Whether the source itself says something of its images, as a IIIF manifest does."""
        return self._manifest is not None

    def inventory(self) -> Path | None:
        """The inventory that the source itself is, as it was last listed; else None."""
        return self._manifest.inventory() if self._manifest else None

    @property
    def marks_contents(self) -> bool:
        """Whether the source itself marks each content (S3's ETag), so that a change is told."""
        return isinstance(self._folder, S3Folder)

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
        return self._folder.root if isinstance(self._folder, LocalFolder) else None

    def decode(
        self,
        data: bytes,
        side: int | None = None,
        page: int | None = None,
        algorithm: int = ALGORITHM,
        pages: Pages | None = None,
    ) -> DecodedImage:
        """:func:`~resources.decoding.decode` within this source's limit of pixels."""
        return decode(data, self.max_pixels, side, page, algorithm, pages)

    @property
    def reader(self) -> str:
        """Versions and limits: another reader may use a file that this one puts in quarantine."""
        limits = f"{self.max_bytes} bytes, {self.max_pixels} pixels"
        return f"{decoder_versions()}, {limits}"

    @functools.cached_property
    def _manifest(self) -> "IiifFolder | None":
        """The folder, if it is a IIIF manifest."""
        folder = self._folder
        if isinstance(folder, LocalFolder | RemoteFolder | ArchiveFolder):
            return None
        from resources.iiif_folder import IiifFolder

        return folder if isinstance(folder, IiifFolder) else None

    @functools.cached_property
    def _folder(self) -> "Folder":
        root, include, exclude = self.root, self.include, self.exclude
        leftovers, options = self.exclude_leftovers, self.storage_options
        cache = Path(self.cache) if self.cache else None
        if not root:
            project = find()
            root, settings = project.images, project.settings
            include = settings.include + include
            exclude = settings.exclude + exclude
            own = [pattern for pattern in leftovers if pattern not in LEFTOVERS]
            leftovers = settings.exclude_leftovers + own
            options = settings.images_options | options
            cache = cache or project.downloads
        wanted = Wanted(include, exclude, leftovers)
        protocol, _, rest = root.partition("://")
        if "://" not in root or protocol in ("file", "local"):
            place = (Path(rest) if "://" in root else Path(root).expanduser()).resolve()
            if is_archive(place):
                return ArchiveFolder(place, wanted, cache and cache / "archives")
            return LocalFolder(place, wanted)
        # Here, as a library for HTTP takes 50 ms.
        from resources.iiif_folder import IiifFolder, manifest_address

        if address := manifest_address(root):
            # Labels are people's words: none is what a system leaves in a folder.
            return IiifFolder(address, options, Wanted(include, exclude, []), cache)
        kind = S3Folder if protocol in ("s3", "s3a") else RemoteFolder
        return kind(root, options, wanted)


def _inside(path: str) -> str:
    """The file of a path, its own or a page's, that does not lead out of the root."""
    file = file_of(path)
    if ".." in file.split("/") or file.startswith("/") or "\0" in file:
        raise UnreadableImage(noted("the path leads out of the folder of images"))
    return file
