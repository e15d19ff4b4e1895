"""The file whose path looks most like a name that names none: of 100,000 files, in moments.

Belongs here: finding that file, for people to see. Does not belong here: which file a name means
(``corpus.names`` and ``corpus.inventory``): what is nearest is shown and never taken.
"""

import difflib
from collections import Counter
from collections.abc import Iterable

from panoptic_assets.corpus.foreign_names import without_extension
from panoptic_assets.corpus.names import comparable_path

_COMPARED = 40
"""Files that a name is compared with as a whole: those that share most with it."""
_COMMON = 2_000
"""Files that share three letters, above which these tell them apart no more."""
_LONGEST = 300
"""Characters, from the end, of names and paths that are compared."""
_ALIKE = 0.75
"""How alike the names of two files must be, without their extensions, from 0 to 1 as
:class:`difflib.SequenceMatcher` has it: below, names are proposed that share an ending and a number
(``inconnu_0`` and ``wind_10``)."""


class NearestFiles:
    """Finds files by the likeness of their names; of several, by that of their folders.

    For 100,000 files it takes 0.4 CPU seconds to make, and some milliseconds for each name.

    Args:
        paths: Of the files.
    """

    def __init__(self, paths: Iterable[str]):
        self._paths = sorted(paths)
        self._forms = [_form(path) for path in self._paths]
        self._having: dict[str, list[int]] = {}
        for at, form in enumerate(self._forms):
            for part in _parts(form):
                self._having.setdefault(part, []).append(at)

    def nearest(self, name: str) -> str:
        """The path; empty where none is alike."""
        wanted = _form(name.strip())
        shared: Counter[int] = Counter()
        lists = sorted((self._having.get(part, []) for part in _parts(wanted)), key=len)
        for files in lists:
            if len(files) > _COMMON and shared:
                break
            shared.update(files[:_COMMON])
        best, likeness = "", (0.0, 0.0)
        folder, _, file = wanted.rpartition("/")
        of_files = difflib.SequenceMatcher(None, "", file, autojunk=False)
        of_folders = difflib.SequenceMatcher(None, "", folder, autojunk=False)
        # Of equally near ones the first by path, whatever order they were counted in.
        for at, _ in sorted(shared.most_common(_COMPARED), key=lambda found: found[0]):
            its_folder, _, its_file = self._forms[at].rpartition("/")
            of_files.set_seq1(its_file)
            if of_files.real_quick_ratio() <= _ALIKE or not _share_letters(of_files, file):
                continue
            of_folders.set_seq1(its_folder)
            # The name alone, where that is all that is given.
            found = of_files.ratio(), of_folders.ratio() if folder else 0.0
            if found[0] > _ALIKE and found > likeness:
                best, likeness = self._paths[at], found
        return best


def _form(path: str) -> str:
    """A path as it is compared."""
    return without_extension(comparable_path(path, any_case=True))[-_LONGEST:]


def _share_letters(matcher: "difflib.SequenceMatcher[str]", name: str) -> bool:
    """Whether more than numbers and marks are alike."""
    return any(
        character.isalpha()
        for block in matcher.get_matching_blocks()
        for character in name[block.b : block.b + block.size]
    )


def _parts(path: str) -> set[str]:
    """Every three letters of a file's name; with a mark at its beginning and end."""
    name = f"/{path.rstrip('/').rpartition('/')[2]}/"
    return {name[at : at + 3] for at in range(len(name) - 2)}
