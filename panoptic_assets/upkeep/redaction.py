"""Taking an image out of texts, plain data and the tag log.

Belongs here: what names an image, and what is left without it. Does not belong here: where an image
is found (``panoptic_assets.upkeep.forgetting``).
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

FORGOTTEN = "(forgotten)"
"""What stands in a text where an image was named."""

_ID = re.compile(r"\b[0-9a-f]{8,64}\b")
"""People may name an image by the first 8 characters of its id."""


class Redaction:
    """Takes some images out of texts and plain data.

    Args:
        image_ids: The images.
        paths: Their files, below the images' folder.
        root: That folder, for texts that name files by whole paths.
    """

    def __init__(self, image_ids: Iterable[str], paths: Iterable[str], root: str):
        self.image_ids = frozenset(image_ids)
        self.paths = frozenset(paths)
        # People may have written a name with its accents in the other form.
        written = {form for path in self.paths for form in _forms(path)}
        places = ["", *(f"{form}/" for form in _forms(root.rstrip("/")))]
        names = {f"{place}{path}" for place in places for path in written}
        # A path is no part of a longer one: not "a.jpg" in "data.jpg", "b/a.jpg" or "a.jpg.old".
        # And a file's first page is not its others: not "a.tif" in "a.tif#page=2".
        any_name = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        after = r"(?![\w/-]|\.\w|#page=\d)"
        self._paths = re.compile(rf"(?<![\w./\\-])(?:{any_name}){after}") if names else None

    def text(self, text: str) -> str:
        """A text in which :data:`FORGOTTEN` stands for ids, beginnings of ids, and paths."""
        text = _ID.sub(self._id, text)
        return self._paths.sub(FORGOTTEN, text) if self._paths else text

    def data(self, value: Any) -> Any:
        """Plain data: texts are redacted, and what is a list of images loses them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.data(part) for name, part in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self.data(part) for part in value if not self._names(part)]
        return value

    def _names(self, part: Any) -> bool:
        if isinstance(part, Mapping):
            part = part.get("image_id")
        return isinstance(part, str) and (part in self.image_ids or part in self.paths)

    def _id(self, found: re.Match[str]) -> str:
        word = found[0]
        known = any(image_id.startswith(word) for image_id in self.image_ids)
        return FORGOTTEN if known else word


def _forms(name: str) -> set[str]:
    return {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}


def without_images(
    events: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, str]],
    image_ids: Collection[str],
) -> tuple[list[dict[str, Any]], list[Mapping[str, str]]]:
    """The events of one row of the tag log, as if they had never been about some images.

    What an event does to one image does not depend on the others, so the replay gives the other
    images what it gave them before.

    Args:
        events: As the log's ``content`` holds them, each with its ``nb_images`` if it has some.
        pairs: As the log's ``images`` holds them: those of all events, one after the other.
        image_ids: The images.
    """
    kept_events, kept_pairs, start = [], [], 0
    for event in events:
        end = start + event.get("nb_images", 0)
        mine = [pair for pair in pairs[start:end] if pair["image_id"] not in image_ids]
        start = end
        kept = {name: value for name, value in event.items() if name != "nb_images"}
        kept_events.append(kept | ({"nb_images": len(mine)} if mine else {}))
        kept_pairs += mine
    return kept_events, kept_pairs
