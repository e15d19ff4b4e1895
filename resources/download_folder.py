"""What a project keeps of servers' answers and packed archives, without some images.

Belongs here: which of these files show or name an image. Does not belong here: keeping answers
(``web_cache``, ``iiif_folder``) and unpacking archives (``archive_folder``).

Nothing of it is needed: what is removed is asked for, or unpacked, again.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from resources.picture_formats import SNIFFED, format_of
from resources.project_folder import write_file

_LONGEST_LINE = 10_000


def remove_downloads(folder: Path, shows: Callable[[str], bool], paths: Collection[str]) -> None:
    """Remove what shows or names some images.

    Archives that were unpacked go as a whole, and so do the documents of IIIF, which have the
    labels and metadata of all pictures. Pictures of other images stay: to ask for thousands of
    them again would be a burden for their server.

    Args:
        folder: The project's downloads.
        shows: Whether a file with these bytes, told by their SHA-256, shows one of the images.
        paths: Below the source of images, as its tables have them.
    """
    shutil.rmtree(folder / "archives", ignore_errors=True)
    for path in sorted(folder.glob("iiif/*/*")):
        if path.is_dir():
            continue
        if path.name == "index.json":
            _rewrite(path, lambda content: _index_without(content, paths))
        elif path.name == "inventory.csv":
            _rewrite(path, lambda content: _table_without(content, paths))
        elif not _is_of_others(path, shows):
            path.unlink(missing_ok=True)


def _is_of_others(path: Path, shows: Callable[[str], bool]) -> bool:
    """Whether a file is a whole answer with a picture that is none of the images."""
    try:
        with path.open("rb") as file:
            sha256 = json.loads(file.readline(_LONGEST_LINE))["sha256"]
            return format_of(file.read(SNIFFED)) is not None and not shows(str(sha256))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file; what cannot be read as it was written is removed."""
    try:
        before = path.read_bytes()
        after = change(before)
        if after != before:
            write_file(path, after)
    except (OSError, ValueError, AttributeError, RecursionError, csv.Error):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _index_without(content: bytes, paths: Collection[str]) -> bytes:
    index = json.loads(content)
    return json.dumps({path: of for path, of in index.items() if path not in paths}).encode()


def _table_without(content: bytes, paths: Collection[str]) -> bytes:
    text = io.StringIO()
    table = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    csv.writer(text).writerows(row for row in table if row and row[0] not in paths)
    return text.getvalue().encode("utf-8")
