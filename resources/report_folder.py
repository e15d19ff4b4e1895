"""ReportFolder: the static pages of one project, and the pictures that they share.

Belongs here: putting finished files where the web server finds them, so that a crash leaves the
report before. Does not belong here: what a page shows (``panoptic_assets.review``).

``.panoptic/reports/`` is served below :data:`MOUNT` and can be opened from the disk as well::

    runs/greek/index.html         one folder for each report
    comparison/index.html
    thumbnails/ab/ab12….webp      by image id; written once, whichever reports show it
    static/report-1a2b3c4d.css    named by its content, so that an old report keeps its own
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from resources import URL_VARIABLE
from resources.errors import InputError
from resources.project_folder import find, write_file

MOUNT = "/panoptic/reports"
"""Where ``panoptic-assets ui`` serves the reports. Under plain ``dagster dev`` nothing is there."""
LIVE = "/panoptic/-"
"""Where it leads on to the live pages of the project that it serves; none is called so."""
HERE = "/"
"""``$PANOPTIC_URL`` of what ``panoptic-assets`` starts, if nobody has set it: whoever looks at the
links does so at the server that has the pages."""

_HOST = re.compile(r"https?://[^\s\"'<>()\\?#`@\x00-\x1f\x7f]+")
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_DRAFTS = ".drafts"
_WHOLE, _SLASH = "~whole", "~"
"""Characters that no place has."""
_ABANDONED_SECONDS = 24 * 3600
"""Age of a draft that no process can be writing any more."""


class ReportFolder(BaseModel):
    """Where the reports of one project lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        default="",
        description="The project's folder; empty: the one that $PANOPTIC_PROJECT names or the "
        "working directory lies in.",
    )

    @property
    def root(self) -> Path:
        """``.panoptic/reports`` of the project."""
        return find(Path(self.folder) if self.folder else None).reports

    def path(self, place: str) -> Path:
        """The folder of a report, such as ``runs/greek``.

        Raises:
            ValueError: The place would lie outside of the reports.
        """
        if not _PLACE.fullmatch(place):
            raise ValueError(f"{place!r} is no place for a report.")
        return self.root / place

    @contextmanager
    def new(self, place: str) -> Iterator[Path]:
        """An empty folder to write a report into; it takes the place of the old one at the end.

        When the work fails the report that was there stays, and nothing of the new one. What a
        process that was killed amid the exchange has left is put in its place by :meth:`recover`.
        """
        target = self.path(place)
        self.recover()
        drafts = self.root / _DRAFTS
        drafts.mkdir(parents=True, exist_ok=True)
        for abandoned in drafts.iterdir():
            with suppress(FileNotFoundError):  # another process has finished it meanwhile
                if time.time() - abandoned.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(abandoned, ignore_errors=True)
        draft, old = drafts / uuid4().hex, drafts / uuid4().hex
        whole = drafts / f"{place.replace('/', _SLASH)}{_WHOLE}"
        draft.mkdir()
        try:
            yield draft
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(whole, ignore_errors=True)
            draft.replace(whole)
            if target.exists():
                target.replace(old)
            with suppress(FileNotFoundError):  # another process has recovered it
                whole.replace(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def recover(self) -> None:
        """Put reports in their places whose exchange was interrupted after the old one had gone.

        No file system of Python's exchanges two folders in one step; so a whole report has a name
        that tells its place for the moment in which there is none.
        """
        for whole in (self.root / _DRAFTS).glob(f"*{_WHOLE}"):
            target = self.path(whole.name.removesuffix(_WHOLE).replace(_SLASH, "/"))
            if not target.exists():
                with suppress(FileNotFoundError):  # its process goes on, or another one was faster
                    whole.replace(target)

    def add_static(self, name: str, content: bytes) -> str:
        """Keep a file that pages share; return its path from the root, which tells its content."""
        stem, dot, suffix = name.partition(".")
        path = f"static/{stem}-{hashlib.sha256(content).hexdigest()[:8]}{dot}{suffix}"
        target = self.root / path
        if not target.is_file() or target.stat().st_size != len(content):
            write_file(target, content)
        return path

    def missing_thumbnails(self, image_ids: Iterable[str]) -> list[str]:
        """Those of some images whose thumbnails are not there yet, in their order."""
        root = self.root
        return [
            image_id for image_id in image_ids if not (root / thumbnail_path(image_id)).is_file()
        ]

    def add_thumbnails(self, thumbnails: Iterable[tuple[str, bytes]]) -> None:
        """Keep the WebP thumbnails of some images, by image id."""
        root = self.root
        for image_id, data in thumbnails:
            write_file(root / thumbnail_path(image_id), data)


def live_address(page: str) -> str | None:
    """Where browsers find a page of the project as it is then; None where nobody is known to serve
    it.

    It names no project, of which a server has one: what is kept in Dagster's event log so holds
    when the project's folder gets another name.

    Args:
        page: Below the project's own address, with its query: ``runs/greek``.

    Raises:
        InputError: As :func:`pages_url` does.
    """
    host = pages_url()
    return None if host is None else f"{host}{LIVE}/{page}"


def pages_url() -> str | None:
    """What addresses of pages begin with, by ``$PANOPTIC_URL``: ``https://images.example.org``.

    Empty if they begin with the host that is looked at (``/``), as with all that
    ``panoptic-assets`` starts; None if the variable is not set, as with the code server of a plain
    ``dagster dev``, which serves no page of ours.

    Raises:
        InputError: The variable holds no address of a web server, or one with a password.
    """
    given = os.environ.get(URL_VARIABLE, "").strip()
    if not given:
        return None
    if given == HERE:
        return ""
    try:
        parts = urlsplit(given)
        usable = _HOST.fullmatch(given) and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        usable = False
    if not usable:
        # Not shown: it may hold a password.
        raise InputError(
            "{variable} is no address of a web server: give one such as "
            "https://images.example.org, without a user, a password, `?` and `#`, or `/` for the "
            "host that is looked at, or unset it.",
            id="pages-address-unusable",
            variable=URL_VARIABLE,
        )
    return given.rstrip("/")


def thumbnail_path(image_id: str) -> str:
    """Path of an image's thumbnail from the root of the reports."""
    return f"thumbnails/{image_id[:2]}/{image_id}.webp"


def page_of(node: str, number: int = 0) -> str:
    """Name of the page that shows a node: its first one, or the one of a later part.

    Neither keys nor clusters hold a dot, so no two nodes have one page.
    """
    path = node.split("/")[1:]
    return f"cluster.{'.'.join(path)}{f'.page-{number + 1}' if number else ''}.html"
