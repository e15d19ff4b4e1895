"""Which files the names in a table, or in another program's file, mean.

Belongs here: the ends of paths, addresses and names without their extension, and what follows from
looking at all names of a file together. Does not belong here: what names an image everywhere
(``corpus.names``), and who trusts which of these (``corpus.inventory`` for a table that a person
made, ``tags.exchange.identified`` and ``features.imported_vectors`` for another program's).
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote

from panoptic_assets.corpus.names import ImageNames, comparable_path, first_pages
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.text import beginning, in_quotes
from resources.errors import noted
from resources.page_paths import file_of, page_number
from resources.picture_formats import IMAGE_EXTENSIONS

_SHOWN = 3
"""Names in a note."""
_CASE = N_("whose name differs in letter case")
_FOLDER = N_("whose folder is another")


@dataclass(frozen=True)
class Meaning:
    """What a name may mean."""

    paths: list[str]
    """No path, the one, or two of several."""
    how: str = ""
    """How that differs from what the name says: empty where the file is named as it is, otherwise
    the end of a sentence that begins with the path."""
    is_certain: bool = False
    """Whether another program's name surely means it."""
    root: str | None = None
    """Of a whole path of another machine, or an address, what stands before the end that fits."""
    end: str = ""
    """That end."""
    is_address: bool = False
    fits: bool = False
    """Whether no folder contradicts it: the end is all of the file's path. Of an address, whose
    folders need not be those of the files, any end does."""
    rival: tuple[str, str] | None = None
    """A file that it would mean, and another name that does so: then it names none."""

    @property
    def has_folder(self) -> bool:
        """Whether folders, and not the file's name alone, say that it is this file."""
        return "/" in self.end


class Corpus:
    """Finds the files that a line of another program's file can mean.

    A line names an image as everywhere, see :mod:`panoptic_assets.corpus.names`. Failing that, by

    1. a path that begins with the last name of the images' folder (Panoptic's exports), or the end
       of a path (a file name, or one with some folders) that only one file has;
    2. one of these in another letter case;
    3. a whole path of another machine (``/mnt/…``, ``D:\\…``), or an address (``https://…``, an
       image service of IIIF among them), by the longest end of it that is the end of a file's path;
    4. what of these names a file but for its extension, which may lack or be that of another
       format of images.

    Each is only tried where those before it name no file at all; where one of them names several,
    none is taken.

    Args:
        paths_of_images: For each image id, the paths of its files, POSIX, below the images' folder.
        folder: Where the images' folder is, if lines may name files by whole paths.
    """

    def __init__(self, paths_of_images: Mapping[str, Iterable[str]], folder: str):
        self._paths = {image_id: list(paths) for image_id, paths in paths_of_images.items()}
        self.images = {path: image_id for image_id, paths in self._paths.items() for path in paths}
        several = {file_of(path) for path in self.images if page_number(path) > 1}
        self._pages: dict[str, list[str]] = {file: [] for file in several}
        for path in sorted(self.images, key=page_number) if several else ():
            if (file := file_of(path)) in several:
                self._pages[file].append(path)
        self._names = ImageNames(self.images, folder=folder)
        name = comparable_path(folder).rstrip("/").rpartition("/")[2]
        self._prefix = f"{name}/" if name else ""
        # Reversed, all paths with one ending are neighbours: any is found in logarithmic time,
        # however many files share it.
        self._endings: dict[_Form, list[tuple[str, str]]] = {}

    def pages(self, given: str, path: str) -> list[str]:
        """What a line speaks of that was found to name a path: all pages of a file, or the one.

        Args:
            given: What stands on the line.
            path: What it names.
        """
        return [path] if page_number(given) > 1 else self._pages.get(file_of(path), [path])

    def find(self, given: str) -> Meaning:
        """What a name means by itself; see :class:`ForeignNames` for all names of a file."""
        if given in self.images:
            return Meaning([given], is_certain=True)
        if found := self._find(given, any_case=False):
            return Meaning(found[:2], is_certain=True)
        if found := self._find(given, any_case=True):
            return Meaning(found[:2], _CASE, is_certain=True)
        if below := self._names.below_folder(given):
            return self._beside(below)
        ends = self._ends(given)
        for end, root in ends:
            for form, how in _FORMS.items():
                if found := self._with_ending(end, form):
                    return self._foreign(given, end, root, found, how)
        names: list[tuple[str, str | None]] = [*ends] or [(comparable_path(given.strip()), None)]
        for end, before in names:
            if found := self._with_ending(end, "stem"):
                return Meaning(found, N_("which has an extension"), root=before, end=end)
            stem = without_extension(end)
            if stem != end and (found := self._with_ending(stem, "stem")):
                return Meaning(found, N_("whose extension is another"), root=before, end=end)
        return Meaning([])

    def _beside(self, below: list[str]) -> Meaning:
        """What a whole path below the images' folder means where there is no such file: the one
        that has another extension, and never another folder's."""
        for path in below:
            folder = comparable_path(path).rpartition("/")[0]
            for name in (comparable_path(path), without_extension(comparable_path(path))):
                found = [
                    file
                    for file in self._with_ending(name, "stem")
                    if comparable_path(file_of(file)).rpartition("/")[0] == folder
                ]
                if found:
                    return Meaning(found, N_("whose extension is another"))
        return Meaning([])

    def _foreign(self, given: str, end: str, root: str, found: list[str], how: str) -> Meaning:
        is_address = _is_address(given)
        fits = is_address or comparable_path(file_of(found[0])).count("/") == end.count("/")
        is_certain = len(found) == 1 and fits and "/" in end
        if not (how or is_certain):
            how = _FOLDER
        return Meaning(found, how, is_certain, root, end, is_address, fits)

    def _find(self, given: str, any_case: bool) -> list[str]:
        if found := self._names.files(given, any_case):
            return found
        if not any_case and (ids := self._names.beginning(given)):
            return [self._paths[image_id][0] for image_id in ids]
        readings = [comparable_path(reading) for reading in self._names.readings(given.strip())]
        for name in readings:
            if self._prefix and name.startswith(self._prefix):
                rest = name.removeprefix(self._prefix)
                if found := self._names.files(rest, any_case):
                    return found
        if not self._names.below_folder(given):
            for name in readings:
                if found := self._with_ending(name.lstrip("/"), "any case" if any_case else "path"):
                    return found
        return []

    def _ends(self, given: str) -> list[tuple[str, str]]:
        """The ends of a whole path or an address, the longest first, each with what stands before
        it; none of anything else."""
        text = given.strip()
        if (address := _ADDRESS.match(text)) is not None:
            wholes = [f"{address[1].casefold()}/{plain_name(text)}"]
        elif _WHOLE.match(text):
            wholes = [comparable_path(reading) for reading in self._names.readings(text)]
        else:
            return []
        ends: dict[str, str] = {}
        for whole in wholes:
            steps = [step for step in whole.split("/") if step not in ("", ".", "..")]
            first = max(0 if address is None else 1, len(steps) - MAX_STEPS)
            for at in range(first, len(steps)):
                root = "/".join(steps[:at])
                if address is None and ":" in root:  # Windows knows folders in any case
                    root = root.casefold()
                ends.setdefault("/".join(steps[at:]), root)
        return sorted(ends.items(), key=lambda end: -end[0].count("/"))

    def _with_ending(self, name: str, form: "_Form") -> list[str]:
        if not name:
            return []
        if form not in self._endings:
            self._endings[form] = sorted(
                (_ending(file_of(path), form), path) for path in first_pages(self.images)
            )
        endings = self._endings[form]
        wanted = _ending(name, "any case" if form == "stem" else form)
        at = bisect_left(endings, (wanted,))
        return [path for key, path in endings[at : at + 2] if key.startswith(wanted)]


class ForeignNames:
    """What the names in one file mean, where all of them are looked at together.

    A whole path of another machine whose folders lead to no folder here, so that only its name
    fits, is certain where all names of the file agree: most whole paths and addresses have what
    they name below one folder there, at least two of them, and none has it elsewhere. Where two
    such names mean one file, the one that is certain is taken, and else none.

    Args:
        corpus: The files.
        names: All names in the file.
    """

    def __init__(self, corpus: Corpus, names: Iterable[str]):
        self._corpus = corpus
        self._known = {name: corpus.find(name) for name in dict.fromkeys(names)}
        foreign = {
            name: found
            for name, found in self._known.items()
            if found.root is not None and len(found.paths) == 1
        }
        self._root = _agreed(foreign.values())
        claims: dict[str, dict[tuple[str, str], tuple[int, str]]] = defaultdict(dict)
        for name, found in foreign.items():
            self._known[name] = found = self._together(found)
            if not found.paths:
                continue
            trust = (1 if found.how == _CASE else 2) if found.is_certain else 0
            claims[found.paths[0]].setdefault(_file_there(found), (trust, name))
        here = {
            found.paths[0]: name
            for name, found in self._known.items()
            if found.root is None and found.is_certain and len(found.paths) == 1
        }
        # The two most trusted ones of each file settle it for all others, however many there are.
        first = {
            path: sorted(each.items(), key=lambda claim: -claim[1][0])[:2]
            for path, each in claims.items()
        }
        for name in foreign:
            found = self._known[name]
            if not found.paths:
                continue
            path, own = found.paths[0], _file_there(found)
            trust = claims[path][own][0]
            rivals = [other for at, (of, other) in first[path] if at != own and of >= trust]
            if not trust and path in here:
                rivals.append(here[path])
            if rivals:
                self._known[name] = Meaning([], rival=(path, rivals[0]))

    def find(self, name: str) -> Meaning:
        """What one of the names means."""
        return self._known[name] if name in self._known else self._corpus.find(name)

    def notes(self, names: Iterable[str]) -> list[str]:
        """What must be said of another program's names, one sentence each: what was taken by less
        than a path, and what was left out although a file here is called nearly so.

        Args:
            names: Those that nothing else says the image of.
        """
        addresses, alone, resembling, rivals = [], [], [], []
        are_all_found = True
        for name in dict.fromkeys(names):
            found = self.find(name)
            is_taken = found.is_certain and len(found.paths) == 1
            are_all_found &= is_taken
            if found.rival is not None:
                path, other = found.rival
                rivals.append(f"{in_quotes(name)}, {in_quotes(other)} → {in_quotes(path)}")
            elif len(found.paths) == 1:
                said = f"{in_quotes(name)} → {in_quotes(found.paths[0])}"
                if not is_taken:
                    resembling.append(said)
                elif found.is_address:
                    addresses.append(said)
                elif found.root is not None and not found.has_folder:
                    alone.append(said)
        notes = []
        if addresses:
            notes.append(
                noted(
                    "Addresses taken for the files whose paths end so: {count:,}. {first}",
                    count=len(addresses),
                    first=beginning(addresses, _SHOWN),
                )
            )
        if alone and not are_all_found:
            notes.append(
                noted(
                    "Paths of another machine taken by the name of the file alone, all in one "
                    "folder there: {count:,}. {first}",
                    count=len(alone),
                    first=beginning(alone, _SHOWN),
                )
            )
        if resembling:
            notes.append(
                noted(
                    "Left out, since only the folder, or the extension, is another than a file's "
                    "here: {count:,}. {first}",
                    count=len(resembling),
                    first=beginning(resembling, _SHOWN),
                )
            )
        if rivals:
            notes.append(
                noted(
                    "Left out, since several names could be one file's: {count:,}. {first}",
                    count=len(rivals),
                    first=beginning(rivals, _SHOWN),
                )
            )
        return notes

    def _together(self, found: Meaning) -> Meaning:
        """What a name means, knowing the folder that the names agree on."""
        if not found.fits or found.root != self._root:
            is_said_often = found.is_address and _SAID_OFTEN.fullmatch(found.end) is not None
            return Meaning([]) if is_said_often else found
        how = "" if found.how == _FOLDER else found.how
        return replace(found, how=how, is_certain=True)


def _agreed(found: Iterable[Meaning]) -> str | None:
    """The folder of another machine that the names agree on; None if they do not."""
    fitting = [each for each in found if each.fits]
    votes = Counter(each.root for each in fitting).most_common(2)
    if not votes or votes[0][1] < 2 or (len(votes) > 1 and votes[1][1] == votes[0][1]):
        return None
    root = votes[0][0]
    return root if all(f"{each.root}/".startswith(f"{root}/") for each in fitting) else None


def _file_there(found: Meaning) -> tuple[str, str]:
    return found.root or "", found.end


_Form = Literal["path", "any case", "stem"]

_FORMS: dict[_Form, str] = {"path": "", "any case": _CASE}
_WHOLE = re.compile(r"/|\\|[A-Za-z]:[\\/]|file:", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://([^/]*)(/[^?#]*)", re.IGNORECASE)
_SAID_OFTEN = re.compile(r"(?:[fp]?\d{1,4}|default|full|native|image)(?:\.\w+)?", re.IGNORECASE)
"""How addresses of thousands of pictures end, whatever they show."""
_IMAGE_SERVICE = re.compile(
    r"/(?:info\.json|(?:full|square|(?:pct:)?[\d.]+(?:,[\d.]+){3})/[\^!,\w:.]+/!?[\d.]+/\w+\.\w+)$"
)
"""What follows an image's name in an address of the IIIF Image API: region, size, rotation and
quality."""
MAX_STEPS = 32
"""Folders, from the end, of a whole path that is looked for."""


def plain_name(given: str) -> str:
    """What an address names, decoded; anything else as it is."""
    text = given.strip()
    if (address := _ADDRESS.match(text)) is None:
        return text
    path = _IMAGE_SERVICE.sub("", address[2])
    return comparable_path(unquote(path)).replace("\0", "").strip("/")


def is_whole_path(given: str) -> bool:
    """Whether a name says all folders of a file, or is an address."""
    return bool(_WHOLE.match(given.strip())) or _is_address(given)


def without_extension(path: str) -> str:
    """A path without the extension of a format of images; else as it is."""
    stem, dot, extension = path.rpartition(".")
    known = f"{dot}{extension}".lower() in _EXTENSIONS
    return stem if known and stem and not stem.endswith("/") else path


_EXTENSIONS = IMAGE_EXTENSIONS | {".psd", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf"}
"""The pictures that are kept are often made of such masters, which the table then names."""


def _is_address(given: str) -> bool:
    return _ADDRESS.match(given.strip()) is not None


def _ending(path: str, form: _Form) -> str:
    """A path from its end on, to be compared with the ends of others."""
    if form == "stem":
        path = without_extension(path)
    return comparable_path(path, form != "path")[::-1] + "/"
