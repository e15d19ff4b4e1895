"""Pictures of images for those who name clusters by looking at them.

Belongs here: finding a picture: a file that still holds the image, else its thumbnail. Does not
belong here: decoding (``resources.decoding``), and who looks.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from panoptic_assets.corpus.table import present_files
from resources.decoding import decode
from resources.errors import UnreadableImage
from resources.lance import LanceStore, quoted
from resources.source import ImageSource

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Pictures:
    """The pictures of a corpus, each read when it is asked for; safe to ask from many threads."""

    store: LanceStore
    source: ImageSource
    files: Mapping[str, list[str]]
    """For each image that is present, the paths of its files."""

    @classmethod
    def of(cls, store: LanceStore, source: ImageSource) -> "Pictures":
        """The pictures of the images that are present now."""
        return cls(store, source, present_files(store))

    def from_files(self, image_id: str, side: int) -> "Image | None":
        """The image in the first of its files that can be read and was not changed; else None.

        Args:
            image_id: The image.
            side: Pixels that its shorter side needs; it may have more.

        Raises:
            InputError: The source of images cannot be reached.
        """
        for path in self.files.get(image_id, ()):
            with contextlib.suppress(UnreadableImage):
                return self.source.picture(path, image_id, side).rgb
        return None

    def from_thumbnail(self, image_id: str) -> "Image | None":
        """The image's thumbnail; None if there is none."""
        rows = self.store.read("images", ["thumbnail"], f"image_id = {quoted(image_id)}")
        for data in rows["thumbnail"].to_pylist():
            with contextlib.suppress(UnreadableImage):
                return decode(data or b"").rgb
        return None
