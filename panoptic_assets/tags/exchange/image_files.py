"""Files of all images, whether they have tags or not, for viewers and catalogues.

Belongs here: which format is written how, and where an image's file lies for another program. Does
not belong here: what stands in such a file (``tags.exchange.image_parquet``,
``tags.exchange.catalogue_csv``), and that it is written whole or not at all
(``tags.exchange.transfer``).
"""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from panoptic_assets.tags.exchange.catalogue_csv import write_omeka, write_tropy
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled
from panoptic_assets.tags.exchange.image_parquet import ChosenColumns, write_image_parquet
from resources.errors import InputError
from resources.lance import LanceStore
from resources.page_paths import file_of
from resources.source import ImageSource


def write_images(
    format: str,
    labelled: Labelled,
    store: LanceStore,
    source: ImageSource,
    columns: ChosenColumns,
    title: str | None,
    draft: Path,
) -> int:
    """Write a file of all images; how many rows or lines it has.

    Args:
        format: ``images``, ``omeka`` or ``tropy``.
        labelled: The tags, and the files of images.
        store: The store.
        source: Where the files are.
        columns: What ``images`` tells beside tags and the inventory.
        title: The inventory's property that ``omeka`` and ``tropy`` call images by.
        draft: The file.

    Raises:
        InputError: Something that is asked for is not there, or a tag cannot be written.
    """
    locate = locator(source)
    if format == "images":
        return write_image_parquet(labelled, store, columns, locate, draft)
    write = write_omeka if format == "omeka" else write_tropy
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            return write(labelled, store, title, locate, file)
    except ExchangeError as error:
        raise InputError.of(error) from error


def locator(source: ImageSource) -> Callable[[str], str | None]:
    """What tells where the file of a path lies, absolute or as a URL, for other programs.

    It tells None where none could have it: the addresses of a manifest's pictures are not kept,
    those with a key are not told, and what lies in an archive has none.

    Args:
        source: Where the files are.
    """
    root, place = source.local_root, source.place
    if root is not None:
        return lambda path: f"{root}/{file_of(path)}"
    if source.is_described or "://" not in place or "?" in place:
        return lambda path: None
    if place.startswith("http"):
        return lambda path: f"{place.rstrip('/')}/{quote(file_of(path))}"
    return lambda path: f"{place.rstrip('/')}/{file_of(path)}"
