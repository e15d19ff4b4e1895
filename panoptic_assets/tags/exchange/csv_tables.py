"""CSV files of tags: which program's a table is, by its header.

Belongs here: telling the tables apart, and our own. Does not belong here: what other programs'
columns mean, which their modules say.
"""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from panoptic_assets.corpus import inventory
from panoptic_assets.spec.formulas import unprotected
from panoptic_assets.tags.exchange.fiftyone_samples import is_label_column, read_columns
from panoptic_assets.tags.exchange.formats import ExchangeError, Said, said
from panoptic_assets.tags.exchange.panoptic_csv import read_panoptic


def read_csv(file: BinaryIO) -> Said:
    """What a CSV file says: our own rows, columns ``name[tag]`` and ``name[multi_tags]``, or a
    CSVDataset's.

    Raises:
        ExchangeError: It is no such table.
    """
    try:
        with contextlib.closing(inventory.inventory_rows(file)) as table:
            _, headers = next(table)
            folded = [header.casefold() for header in headers]
            if {"image_id", "property", "tag"} <= set(folded):
                return said(_own(folded, table))
            if "filepath" in headers and any(map(is_label_column, headers)):
                return read_columns(headers, headers.index("filepath"), table)
            return read_panoptic(headers, table)
    except inventory.InventoryError as error:
        raise ExchangeError.of(error) from error


def _own(
    headers: list[str], table: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[str, str, str, str, str]]:
    names = ("image_id", "path", "property", "tag", "tag_id")
    places = [headers.index(name) if name in headers else None for name in names]
    for _, row in table:
        cells = ["" if at is None else unprotected(row[at]) for at in places]
        image_id, path, name, tag, tag_id = cells
        yield image_id.strip(), path, name, tag, tag_id.strip()
