"""WebCache: answers of servers that are kept on disk, so that they need not be asked again.

Belongs here: writing an answer so that all of it is found again or nothing, also after a crash.
Does not belong here: when a server is asked (``iiif_folder``), and how (``web``).

Each file is one answer: a line of JSON with the hash of its bytes and what its server called their
version, then the bytes. A file that is cut, changed or gone is an answer that was never kept; a
disk that is full keeps none. The whole folder may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

_LONGEST_LINE = 10_000
_VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
_SUFFIX = ".answer"
_DRAFT = ".draft-"
_DAY = 86_400
_FREE_BYTES = 2**30
"""So many bytes of the disk stay free of answers: the project needs room for its own."""


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as it was kept."""

    body: bytes
    validators: Mapping[str, str]
    """Headers by which the server can tell whether it has changed; empty where it gave none."""
    age: float
    """Seconds since the server sent it, or said that it is still so."""


@dataclass(frozen=True)
class WebCache:
    """Answers in one folder, by any text that names them; without a folder, none."""

    folder: Path | None

    def get(self, name: str) -> KeptAnswer | None:
        """The answer of that name, if it is here and whole."""
        if self.folder is None:
            return None
        try:
            path = self._path(self.folder, name)
            age = time.time() - path.stat().st_mtime
            content = path.read_bytes()
            line, _, body = content.partition(b"\n")
            head = json.loads(line[:_LONGEST_LINE])
            if head["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            validators = {str(key): str(value) for key, value in head["validators"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return KeptAnswer(body, validators, age)

    def put(self, name: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep an answer, if the disk takes it and is not nearly full.

        Args:
            name: By which it is found again.
            body: Its bytes.
            headers: As the server sent them, with names in lower case.
        """
        if self.folder is None:
            return
        validators = {
            asked: headers[told]
            for told, asked in _VALIDATORS.items()
            if len(headers.get(told, "")) in range(1, 1000)
        }
        if not _has_room(self.folder, len(body)):
            return
        head = {"sha256": hashlib.sha256(body).hexdigest(), "validators": validators}
        self._write(self._path(self.folder, name), json.dumps(head).encode() + b"\n" + body)

    def touch(self, name: str) -> None:
        """Note that the server says that its answer is still so."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                os.utime(self._path(self.folder, name))

    def write(self, name: str, content: bytes) -> Path | None:
        """Write a plain file into the folder, unless it is there with that content.

        Returns:
            Where it is; None where there is no folder or the disk does not take it.
        """
        if self.folder is None:
            return None
        path = self.folder / name
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return path
        return path if self._write(path, content) else None

    def forget_others(self, names: Collection[str]) -> None:
        """Delete all answers but those of these names, and drafts that a crash has left."""
        if self.folder is None:
            return
        kept = {self._path(self.folder, name).name for name in names}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                old = path.name.startswith(_DRAFT) and time.time() - path.stat().st_mtime > _DAY
                if old or (path.suffix == _SUFFIX and path.name not in kept):
                    path.unlink(missing_ok=True)

    def _path(self, folder: Path, name: str) -> Path:
        return (
            folder / f"{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:40]}{_SUFFIX}"
        )

    def _write(self, path: Path, content: bytes) -> bool:
        # Drafts have names of their own: two threads may be given one picture at once.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, draft = tempfile.mkstemp(prefix=_DRAFT, dir=path.parent)
        except OSError:
            return False
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
            Path(draft).replace(path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            return False
        return True


def _has_room(folder: Path, nb_bytes: int) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free - nb_bytes >= _FREE_BYTES
    except OSError:
        return False
