"""How people and programs name images, at every door.

Belongs here: which image a name means, and why a name is refused. Does not belong here: reading
which files there are (``corpus.table``), and the ends of paths by which the files of other
programs name images (``corpus.inventory``).

A name is tried as each of these, and the next is only tried where the one before finds nothing:

1. an image's id;
2. a path below the images' folder, exactly as it is stored;
   of a file with pages the first page that is an image, and ``#page=2`` behind it the second;
3. that path written otherwise: accents composed or not, ``\\`` for ``/``, ``./`` and ``//`` too
   many, spaces around it, ``a/../b`` for ``b`` where ``a`` is a folder of the corpus;
4. a whole path, or URI, of the images' folder with one of these paths below it;
5. all that once more with its ``%C3%A9`` decoded; of a ``file:`` URL, which is decoded by its
   definition, that comes first;
6. the first 8 or more characters of an id;
7. all of 2 to 5 in another letter case, which is said.
"""

import os
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import takewhile
from urllib.parse import unquote

from panoptic_assets.spec.text import in_quotes, nearest
from resources.errors import InputError
from resources.page_paths import file_of, page_number

SHORTEST_ID = 8
"""Characters of the beginning of an id that may stand for it."""
_SHOWN = 3
"""Names in a message."""
_SAID = 20
"""Notes on single names, beside which the others are counted."""

_BEGINNING = re.compile(rf"[0-9a-f]{{{SHORTEST_ID},64}}")
_FILE_URL = re.compile(r"file:(?://(?:localhost)?)?(/.*)", re.IGNORECASE | re.DOTALL)
_HERE = re.compile(r"(?<![^/])(?:\./+)+")
_SLASHES = re.compile(r"//+")


def first_pages(paths: Iterable[str]) -> list[str]:
    """Of each file, the first of its pages; in the order of files.

    Args:
        paths: Of files or of pages of them, see :mod:`resources.page_paths`.
    """
    found: dict[str, str] = {}
    for path in sorted(paths, key=page_number):
        found.setdefault(file_of(path), path)
    return [found[file] for file in sorted(found)]


def comparable_path(path: str, any_case: bool = False) -> str:
    """A path, or a pattern of paths, in the form in which they are compared.

    Accents are composed: a Mac writes `é` as two characters (NFD), and keyboards give one (NFC).
    Names are parted by one ``/``, and no ``./`` stands before them.

    Args:
        path: The path.
        any_case: Whether letter case is left out of account.
    """
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    if "./" in path or "//" in path:
        path = _SLASHES.sub("/", _HERE.sub("", path))
    return unicodedata.normalize("NFC", path.casefold()) if any_case else path


class ImageNames:
    """Finds the image that a name means.

    Args:
        files: For each path below the images' folder the id of its image, empty where it has none.
        ids: Ids that count without a file.
        folder: The images' folder or its URI, for names that are whole paths; empty if unknown.

    Attributes:
        by_path: The files.
        ids: All ids.
    """

    def __init__(self, files: Mapping[str, str], ids: Iterable[str] = (), folder: str = ""):
        self.by_path = files
        self.ids = {*files.values(), *ids} - {""}
        self._folder = folder
        self._latest: tuple[str, list[str]] = ("", [""])
        self._real: dict[str, str] = {}
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> list[str]:
        """What must be said of the names that were looked for, one sentence each."""
        said = list(self._notes)
        if more := said[_SAID:]:
            return [*said[:_SAID], f"So it is with {len(more):,} more names."]
        return said

    def find(self, name: str, refuse: bool = True) -> str | None:
        """The image's id, empty for a file that has none; None when there is no such name.

        Args:
            name: What is given.
            refuse: Whether a name is refused that is the beginning of several ids, or fits several
                files in another letter case; otherwise it is none, and noted.

        Raises:
            InputError: The name fits several files with different images, or several ids.
        """
        found = self.find_as_written(name, refuse)
        return self.find_in_any_case(name, refuse) if found is None else found

    def one(self, name: str) -> str:
        """The image's id, empty for a file that has none.

        Raises:
            InputError: There is no such image, or several.
        """
        image_id = self.find(name)
        if image_id is None:
            known = nearest(name, self.by_path, _SHOWN)
            if not known:
                raise InputError(
                    "There is no image {name}: give its id, the first {shortest} or more "
                    "characters of it, or the path of its file below the images' folder (there "
                    "are none yet).",
                    id="no-image-yet",
                    name=in_quotes(name),
                    shortest=SHORTEST_ID,
                )
            raise InputError(
                "There is no image {name}: give its id, the first {shortest} or more characters "
                "of it, or the path of its file below the images' folder (known are {known}).",
                id="no-such-image",
                name=in_quotes(name),
                shortest=SHORTEST_ID,
                known=", ".join(map(in_quotes, known)),
            )
        return image_id

    def find_as_written(self, name: str, refuse: bool = True) -> str | None:
        """What :meth:`find` finds without another letter case.

        Raises:
            InputError: As :meth:`find`.
        """
        if name in self.ids:
            return name
        if paths := self.files(name):
            return self._only(name, paths, "how accents or separators are written")
        ids = self.beginning(name)
        if len(ids) > 1:
            error = InputError(
                "{nb_images} images have an id that begins with {name!r}: give more of it, as in "
                "{examples}.",
                id="image-id-ambiguous",
                nb_images=len(ids),
                name=name.strip(),
                examples=" or ".join(map(repr, _apart(ids[:2]))),
            )
            if refuse:
                raise error
            self._notes[f"Left out: {error}"] = None
        if len(ids) != 1:
            return None
        if name.strip().isdigit():
            # It may be a number that another program gave.
            self._notes[f"{in_quotes(name)} was taken for the image {ids[0][:12]}."] = None
        return ids[0]

    def find_in_any_case(self, name: str, refuse: bool = True) -> str | None:
        """What :meth:`find` finds in another letter case, and notes.

        Raises:
            InputError: As :meth:`find`.
        """
        paths = self.files(name, any_case=True)
        if not paths:
            return None
        try:
            image_id = self._only(name, paths, "letter case")
        except InputError as error:
            if refuse:
                raise
            self._notes[f"Left out: {error}"] = None
            return None
        self.note_case(name, paths[0])
        return image_id

    def note_case(self, name: str, path: str) -> None:
        """Note that a name was taken for a path that differs from it in letter case."""
        self._notes[f"{in_quotes(name)} was taken for {in_quotes(path)}."] = None

    def files(self, name: str, any_case: bool = False) -> list[str]:
        """The paths that a name can mean, sorted: none, one, or several that look alike.

        Args:
            name: What is given; ids are no paths.
            any_case: Whether letter case is left out of account.
        """
        if name in self.by_path:
            return [name]
        index = self._any_case if any_case else self._alike
        for reading in self.readings(name):
            if reading in self.by_path:
                return [reading]
            if found := index.find(reading):
                return found
        return []

    def readings(self, name: str) -> list[str]:
        """The texts as which a name may be read, in the order in which they are tried."""
        # Whoever finds nothing under a name as it is written tries it in any case next.
        if self._latest[0] != name:
            self._latest = name, list(dict.fromkeys(self._read(name)))
        return self._latest[1]

    def below_folder(self, name: str) -> list[str]:
        """What follows the images' folder in a whole path, or a URI; nothing in any other name."""
        return [
            rest
            for text in self._texts(name)
            if _is_whole(text)
            for rest in self._below_folder(text)
        ]

    def beginning(self, text: str) -> list[str]:
        """The ids that a text is, or is the beginning of; sorted."""
        start = text.strip().lower()
        if not _BEGINNING.fullmatch(start):
            return []
        at = bisect_left(self._sorted_ids, start)
        rest = (self._sorted_ids[i] for i in range(at, len(self._sorted_ids)))
        return list(takewhile(lambda image_id: image_id.startswith(start), rest))

    def _only(self, name: str, paths: list[str], what: str) -> str:
        held = {self.by_path[path]: path for path in reversed(paths)}
        if len(held) > 1:
            # They look alike, so each is told with its id.
            files = " and ".join(
                f"{path!r} (image {image_id[:12]})" if image_id else f"{path!r} (in quarantine)"
                for image_id, path in sorted(held.items(), key=lambda file: file[1])[:2]
            )
            raise InputError(
                "{name} may be {files}, whose names differ only in {difference}: name the image "
                "by its id.",
                id="image-name-ambiguous",
                name=in_quotes(name),
                files=files,
                difference=what,
            )
        return next(iter(held))

    def _read(self, name: str) -> Iterator[str]:
        for text in self._texts(name):
            yield text
            if _is_whole(text):
                yield from self._below_folder(text)

    def _texts(self, name: str) -> list[str]:
        texts = [name, name.strip()]
        if url := _FILE_URL.fullmatch(texts[1]):
            texts = [*_decoded(url[1]), url[1]]
        elif "%" in name:
            texts += [text for given in texts for text in _decoded(given)]
        return list(dict.fromkeys(texts))

    def _below_folder(self, text: str) -> list[str]:
        """What follows the images' folder in a whole path, or a URI."""
        found = self._rest(text) + self._rest(comparable_path(text))
        # It may lead there through links, or out and in again.
        if self._is_local and "://" not in text and (not found or ".." in text):
            folder, _, name = text.replace("\\", "/").rpartition("/")
            if folder not in self._real:
                self._real[folder] = _real(folder)
            found += self._rest(f"{self._real[folder]}/{name}")
        return found

    def _rest(self, text: str) -> list[str]:
        return [text[len(place) :].lstrip("/") for place in self._places if text.startswith(place)]

    @cached_property
    def _is_local(self) -> bool:
        return bool(self._folder) and (
            "://" not in self._folder or _FILE_URL.fullmatch(self._folder) is not None
        )

    @cached_property
    def _places(self) -> list[str]:
        """The images' folder as it may be written, each with a ``/`` at its end."""
        if not self._folder:
            return []
        if self._is_local:
            url = _FILE_URL.fullmatch(self._folder)
            given = url[1] if url else os.path.expanduser(self._folder)  # noqa: PTH111
            written = [os.path.abspath(given), _real(given)]  # noqa: PTH100
        else:
            protocol, _, rest = self._folder.partition("://")
            protocols = {"s3": "s3a", "s3a": "s3"}
            written = [self._folder, f"{protocols.get(protocol, protocol)}://{rest}"]
        whole = [f"{place.rstrip('/')}/" for place in written]
        forms = [
            form
            for place in whole
            for form in (place, *(unicodedata.normalize(f, place) for f in ("NFC", "NFD")))
        ]
        return list(dict.fromkeys(forms))

    @cached_property
    def _alike(self) -> "_Index":
        return _Index(self.by_path, any_case=False)

    @cached_property
    def _any_case(self) -> "_Index":
        return _Index(self.by_path, any_case=True)

    @cached_property
    def _sorted_ids(self) -> list[str]:
        return sorted(self.ids)


class _Index:
    """Paths by the form in which they are compared."""

    def __init__(self, paths: Iterable[str], any_case: bool):
        self._takes_any_case = any_case
        self._files: dict[str, list[str]] = {}
        for path in sorted(paths):
            self._files.setdefault(comparable_path(path, any_case), []).append(path)
        # A file whose first page is no image has the name of its first one that is.
        for path in first_pages(path for path in paths if "#" in path):
            self._files.setdefault(comparable_path(file_of(path), any_case), [path])

    def find(self, path: str) -> list[str]:
        wanted = comparable_path(path, self._takes_any_case)
        if wanted not in self._files and ".." in wanted:
            wanted = self._without_steps_up(wanted)
        return self._files.get(wanted, [])

    def _without_steps_up(self, path: str) -> str:
        """The path without ``a/..``; empty if it leaves the root, or ``a`` is no folder there."""
        steps: list[str] = []
        for step in path.split("/"):
            if step != "..":
                steps.append(step)
            elif not steps or "/".join(steps) not in self._folders:
                return ""
            else:
                steps.pop()
        return "/".join(steps)

    @cached_property
    def _folders(self) -> set[str]:
        found: set[str] = set()
        for path in self._files:
            while (path := path.rpartition("/")[0]) and path not in found:
                found.add(path)
        return found


def _is_whole(text: str) -> bool:
    return text.startswith(("/", "\\")) or "://" in text


def _decoded(text: str) -> list[str]:
    """The text with its ``%C3%A9`` decoded, if they are UTF-8 of a name that a file can have."""
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return []
    return [] if "\0" in decoded else [decoded]


def _real(folder: str) -> str:
    """A local folder without links; as it is given where that cannot be said."""
    try:
        return os.path.realpath(folder or "/")
    except (OSError, ValueError):  # too long, NUL, or no text that the disk could have
        return folder


def _apart(ids: list[str]) -> list[str]:
    """Beginnings of two ids, as long as they need to be to differ."""
    length = next((i for i, (a, b) in enumerate(zip(*ids, strict=True)) if a != b), 63)
    return [image_id[: length + 1] for image_id in ids]
