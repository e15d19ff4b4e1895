"""A tree of folders for tags: names that are safe on every disk.

Belongs here: which folder a tag gets and what a file is called there. Does not belong here: writing
(``panoptic_assets.tags.exchange.transfer``).

Names come from people and from strangers' files: ``..``, ``a/b``, ``CON``, 300 letters. None leads
out of the tree, none is hidden, and no two in a folder are the same to a disk that does not tell
``A`` from ``a`` or composed from decomposed accents.

By hand, since pathvalidate's ``sanitize_filename`` (3.3, measured) keeps ``..``, names that begin
with a dot, ``con .txt`` and what turns the direction of writing around, fails at halves of
characters, and makes nothing of ``...``. It would take the place of two expressions of the nine
lines below, and of none of the others.
"""

import re
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePosixPath

from panoptic_assets.spec.tag_log import Tag

LONGEST = 120
"""Bytes of a name; disks allow 255, and a number may be added."""

_FORBIDDEN = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]'
)
_RESERVED = re.compile(
    r"(?i)(?:con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(?:$|\.)"
)
"""Devices of Windows, with any extension, and spaces before it."""


def safe_name(name: str) -> str:
    """A name that is one part of a path, on every disk, and as near to ``name`` as may be."""
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).strip(" ")
    plain = re.sub(r"^\.+|[. ]+$", lambda found: "_" * len(found[0]), plain) or "_"
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    if len(plain.encode()) <= LONGEST:
        return plain
    # Two long names that begin alike stay two names.
    mark = f"~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    ending = PurePosixPath(plain).suffix
    ending = ending if len(ending.encode()) <= 12 else ""
    kept = plain.encode()[: LONGEST - len(mark) - len(ending.encode())].decode(errors="ignore")
    return f"{kept.rstrip('. ')}{mark}{ending}"


class FolderNames:
    """Gives names in folders, each one once."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, ...], dict[str, int]] = {}

    def free(self, folder: tuple[str, ...], name: str) -> str:
        """The safe name of something new in a folder: ``a.jpg``, then ``a (2).jpg``, ….

        Args:
            folder: The folder, as this gave its names.
            name: What it is called.
        """
        taken = self._taken.setdefault(folder, {})
        wanted = candidate = safe_name(name)
        stem, dot, ending = wanted.rpartition(".")
        if not stem:
            stem, dot, ending = wanted, "", ""
        while (key := _key(candidate)) in taken:
            # From where it last stopped: a thousand images may share one name.
            taken[_key(wanted)] += 1
            candidate = f"{stem} ({taken[_key(wanted)]}){dot}{ending}"
        taken[key] = 1
        return candidate


def folders(
    tags: Iterable[Tag], names: FolderNames, with_property: bool
) -> dict[str, tuple[str, ...]]:
    """For each tag id, its folder: one name for each tag from the root down.

    Args:
        tags: By property, parents first.
        names: Gives the names.
        with_property: Whether a folder of the property comes before them.
    """
    found: dict[str, tuple[str, ...]] = {}
    properties: dict[str, tuple[str, ...]] = {}
    for tag in tags:
        if tag.property not in properties:
            properties[tag.property] = (names.free((), tag.property),) if with_property else ()
        above = found.get(tag.parent_id or "", properties[tag.property])
        found[tag.tag_id] = (*above, names.free(above, tag.name))
    return found


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
