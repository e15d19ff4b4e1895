"""Which images the names in another program's file mean, and which of them mean none, or several.

Belongs here: the order in which a path, a SHA-1 and the end of a path are trusted, and the hashing
of files for it. Does not belong here: which file a path names (``corpus.names`` and
``corpus.foreign_names``), and what the file says of the images (``tags.exchange.formats``).

The store knows no SHA-1, so files are hashed where nothing else settles which image is meant: one
after the other, in pieces, and no more of them than are needed. What only the end of a path says is
always compared with the SHA-1, if there is one; a whole path, here or on another machine, where all
such files together are small (:data:`CHEAP`) and on this machine.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from panoptic_assets.corpus.foreign_names import Corpus, ForeignNames, is_whole_path
from panoptic_assets.corpus.names import ImageNames, comparable_path, first_pages
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.spec.reporting import Reporter, Silent
from panoptic_assets.spec.text import beginning
from panoptic_assets.tags.exchange.formats import ImageName
from resources.errors import UnreadableImage, noted
from resources.fiftyone_files import is_our_id
from resources.lance import LanceStore
from resources.page_paths import file_of
from resources.source import ImageSource

CHEAP = 2**28
"""Bytes that are hashed to check paths that are trusted anyway: a second's reading of a disk."""
_SHOWN = 3
"""Names in a note."""


@dataclass(frozen=True)
class Identified:
    """What a file's names of images mean."""

    image_ids: list[str | None]
    """For each name the image, or None."""
    unknown: list[str]
    """The names that mean none."""
    ambiguous: list[str]
    """The names that fit several images, and so mean none either."""
    notes: list[str]
    """What a person must know, one sentence each."""


def identify(
    store: LanceStore,
    folder: str,
    images: Sequence[ImageName],
    source: ImageSource | None = None,
    reporter: Reporter | None = None,
) -> Identified:
    """Find the images that a file names.

    An id comes first, then a path that names one file of the corpus whole, then the SHA-1, and last
    the end of a path that one image only has. Where there is a SHA-1, no end of a path is trusted
    against it, and nothing but a path below the images' folder.

    Args:
        store: The store.
        folder: The images' folder, for whole paths; empty if unknown.
        images: The names.
        source: Where files are hashed; without it no SHA-1 counts.
        reporter: Is shown how far the hashing is.
    """
    finder = _Finder(store, folder, images)
    is_hashed = [bool(image.sha1) and source is not None for image in images]
    notes: list[str] = []
    found: list[str | None]
    if source is not None and any(is_hashed):
        hashes = _Hashes(store, source, reporter or Silent())
        found, changed, others = hashes.settle(images, is_hashed, finder)
        if changed:
            notes.append(
                noted(
                    "Files that changed since the other program read them, and went by path: "
                    "{count:,}. {first}",
                    count=len(changed),
                    first=beginning(changed, _SHOWN),
                )
            )
        if others:
            notes.append(
                noted(
                    "Left out, since the file here has other bytes than the one that the other "
                    "program read: {count:,}. {first}",
                    count=len(others),
                    first=beginning(others, _SHOWN),
                )
            )
    else:
        found = [finder.certain(image) for image in images]
    # Where a SHA-1 was looked for, a file that is only called so is another one.
    by_name = [at for at, hashed in enumerate(is_hashed) if not hashed]
    possible = {at: finder.possible(images[at]) for at in by_name if found[at] is None}
    ends = Counter(files[0] for files in possible.values() if len(files) == 1)
    unknown: list[str] = []
    ambiguous: list[str] = []
    for place, image in enumerate(images):
        if found[place] is not None:
            continue
        files = possible.get(place, [])
        candidates = finder.images(files)
        # Of several names that end as one file does, only one can be its.
        if len(candidates) == 1 and ends[files[0]] < 2:
            found[place] = candidates[0]
        else:
            named = (*image.paths, *image.endings, image.image_id, image.sha1)
            is_open = bool(candidates) or (not is_hashed[place] and finder.has_rival(image))
            (ambiguous if is_open else unknown).append(next(filter(None, named), ""))
    by_name = [at for at in by_name if images[at].image_id not in finder.names.ids]
    notes = [*finder.notes([images[at] for at in by_name]), *notes]
    if other := [
        next(filter(None, images[at].paths), "")
        for at in by_name
        if is_our_id(images[at].image_id) and found[at] is not None
    ]:
        notes.append(
            noted(
                "Images that had other content when this was exported, and went by path: "
                "{count:,}. {first}",
                count=len(other),
                first=beginning(other, _SHOWN),
            )
        )
    return Identified(found, unknown, ambiguous, notes)


class _Finder:
    """Finds images by their ids and paths.

    Args:
        store: The store.
        folder: The images' folder.
        images: All that are looked for.
    """

    def __init__(self, store: LanceStore, folder: str, images: Iterable[ImageName]):
        self.names: ImageNames = image_names(store, folder)
        self._files = Corpus(present_files(store), folder)
        self._paths = ForeignNames(
            self._files,
            (path for each in images if each.image_id not in self.names.ids for path in each.paths),
        )
        self._place = comparable_path(folder).rstrip("/").rpartition("/")[2]
        self._by_name: dict[str, list[str]] | None = None

    def here(self, image: ImageName) -> str | None:
        """The image, if its id, or a path below the images' folder, names it; else None."""
        if image.image_id in self.names.ids:
            return image.image_id
        for path in image.paths:
            if found := self.names.find_as_written(path, refuse=False):
                return found
        return None

    def by_folders(self, image: ImageName) -> str | None:
        """The image, if the folders of a path of another machine end as those of a file here."""
        for path in image.paths:
            meant = self._paths.find(path)
            if meant.is_certain and meant.has_folder and not (meant.is_address or meant.how):
                return self._files.images[meant.paths[0]]
        return None

    def certain(self, image: ImageName) -> str | None:
        """The image, if an id or a path names it for certain; else None."""
        if found := self.here(image):
            return found
        for path in image.paths:
            meant = self._paths.find(path)
            candidates = self.images(meant.paths)
            if meant.is_certain and len(candidates) == 1:
                if meant.how:
                    self.names.note_case(path, meant.paths[0])
                return candidates[0]
            if found := self.names.find_in_any_case(path, refuse=False):
                return found
        # Only then the beginning of an id: other programs' own ids may look like one.
        return (image.image_id and self.names.find(image.image_id, refuse=False)) or None

    def possible(self, image: ImageName) -> list[str]:
        """The files that it may be: several of a path, else those of the first end that fits any.

        Where there is a whole path, its end is not looked at without its folders.
        """
        meanings = [self._paths.find(path) for path in image.paths]
        for meant in meanings:
            if len(meant.paths) > 1:
                return meant.paths
        if not any(map(is_whole_path, image.paths)):
            for ending in image.endings:
                if fitting := self._with_ending(ending):
                    return fitting
        return []

    def has_rival(self, image: ImageName) -> bool:
        """Whether another name means the file that it would be."""
        return any(self._paths.find(path).rival for path in image.paths)

    def notes(self, images: Iterable[ImageName]) -> list[str]:
        """What must be said of how images were found by their names."""
        paths = [path for image in images for path in image.paths]
        return [*self.names.notes, *self._paths.notes(paths)]

    def files(self, image: ImageName) -> list[str]:
        """The files that the ends of paths fit: where its SHA-1 is looked for first."""
        ends = (*image.endings, *(path.replace("\\", "/") for path in image.paths))
        return [file for end in ends for file in self._named(end.rpartition("/")[2])]

    def images(self, files: Iterable[str]) -> list[str]:
        """The images of files."""
        return list(dict.fromkeys(self._files.images[file] for file in files))

    def _with_ending(self, ending: str) -> list[str]:
        wanted = comparable_path(ending.strip()).strip("/")
        inside, _, below = wanted.partition("/")
        found = []
        for path in self._named(wanted.rpartition("/")[2]):
            file = comparable_path(file_of(path))
            # Of a file in no folder, Panoptic names the images' folder itself.
            if f"/{file}".endswith(f"/{wanted}") or (inside == self._place and file == below):
                found.append(path)
        return found

    def _named(self, name: str) -> list[str]:
        """The files of a name, whatever folders they are in."""
        if self._by_name is None:
            self._by_name = {}
            for path in first_pages(self._files.images):
                key = comparable_path(file_of(path)).rpartition("/")[2]
                self._by_name.setdefault(key, []).append(path)
        return self._by_name.get(comparable_path(name), [])


class _Hashes:
    """The SHA-1 of files that are there."""

    def __init__(self, store: LanceStore, source: ImageSource, reporter: Reporter):
        self._source, self._reporter = source, reporter
        rows = store.read("files", ["path", "image_id", "status", "size"]).to_pylist()
        present = [row for row in rows if row["status"] == "present"]
        self._image_of = {row["path"]: row["image_id"] for row in present}
        self._size = {row["path"]: row["size"] or 0 for row in present}
        self._path_of: dict[str, str] = {}
        for path in first_pages(self._image_of):
            self._path_of.setdefault(self._image_of[path], path)
        self._known: dict[str, str | None] = {}

    def settle(
        self, images: Sequence[ImageName], is_hashed: Sequence[bool], finder: _Finder
    ) -> tuple[list[str | None], list[str], list[str]]:
        """The images, those with a SHA-1 by it where paths leave them open.

        Returns:
            The images; the files here whose path counts although they changed; and the names whose
            file on another machine was another one than that which is here.
        """
        here = [finder.here(image) for image in images]
        answer = [
            image_id or (finder.by_folders(image) if hashed else finder.certain(image))
            for image, image_id, hashed in zip(images, here, is_hashed, strict=True)
        ]
        image_of: dict[str, str] = {}
        trusted = [
            (place, self._path_of[image_id])
            for place, image_id in enumerate(answer)
            if is_hashed[place] and image_id in self._path_of
        ]
        # Two files of one content: the one that a path names tells what the other one is.
        for place, path in trusted:
            image_of.setdefault(images[place].sha1, self._image_of[path])
        doubtful = []
        paths = {path for _, path in trusted}
        nb_bytes = sum(self._size[path] for path in paths)
        if self._source.local_root is not None and nb_bytes <= CHEAP:
            hashed = dict(self._hashed(sorted(paths)))
            doubtful = [p for p, path in trusted if hashed.get(path) not in (None, images[p].sha1)]
            for place in doubtful:
                image_of.pop(images[place].sha1, None)
            image_of |= {sha1: self._image_of[path] for path, sha1 in hashed.items() if sha1}
        pending = [p for p, image_id in enumerate(answer) if is_hashed[p] and image_id is None]
        wanted = {images[place].sha1 for place in (*pending, *doubtful)} - image_of.keys()
        if wanted:
            likely = [path for place in pending for path in finder.files(images[place])]
            others = [path for path in self._path_of.values() if path not in paths]
            for path, sha1 in self._hashed(dict.fromkeys([*likely, *others, *sorted(paths)])):
                if sha1 in wanted:
                    image_of[sha1] = self._image_of[path]
                    wanted.discard(sha1)
                    if not wanted:
                        break
        changed, other = [], []
        for place in (*pending, *doubtful):
            of_path, answer[place] = answer[place], image_of.get(images[place].sha1)
            if of_path is None or answer[place] is not None:
                continue
            if here[place] is None:
                other.append(next(filter(None, images[place].paths), ""))
            else:
                answer[place] = of_path
                changed.append(self._path_of[of_path])
        return answer, changed, other

    def _hashed(self, paths: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        waiting = [path for path in paths if path in self._image_of]
        for path in self._reporter.track(waiting, len(waiting), "files"):
            file = file_of(path)
            if file not in self._known:
                self._known[file] = self._sha1(file)
            yield path, self._known[file]

    def _sha1(self, file: str) -> str | None:
        try:
            root = self._source.local_root
            if root is None:
                return hashlib.sha1(self._source.read(file), usedforsecurity=False).hexdigest()
            with (root / file).open("rb") as stream:
                return hashlib.file_digest(stream, _sha1).hexdigest()
        except (OSError, UnreadableImage):
            return None


def _sha1() -> "hashlib._Hash":
    return hashlib.sha1(usedforsecurity=False)
