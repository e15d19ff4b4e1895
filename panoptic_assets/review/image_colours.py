"""Ways to colour the points of a map by what is known of the images: folders, tags, properties.

Belongs here: one category or number for each image. Does not belong here: clusters
(``review.run_map``), and packing colourings for browsers (``review.map_data``).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from panoptic_assets.corpus.properties import ids_and_values, read_properties
from panoptic_assets.review.map_data import Colouring
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.extended_dates import year_of
from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.written_dates import WrittenDate
from panoptic_assets.tags.table import read_log
from resources.lance import LanceStore

_MOST_TEXTS = 250
"""Different values of a property of texts: captions, of which each image has its own, are no
categories."""


def by_folder(paths: Sequence[str | None], language: Language) -> Colouring:
    """The folder of each image's first file; ``.`` for the images' folder itself."""
    folders = [(path or "").rpartition("/")[0] or "." for path in paths]
    return Colouring(language.gettext("folder"), folders, sorted(set(folders)), key="folder")


def by_tags(store: LanceStore, image_ids: Sequence[str], language: Language) -> list[Colouring]:
    """For each property, the tag of each image: of several, the first in the order of the tree.

    Args:
        store: The store.
        image_ids: The images.
        language: Of what is no tag.
    """
    nothing = language.gettext("(no tag)")
    replayed = tag_log.replay([entry.event for entry in read_log(store)])
    paths = tag_log.paths(replayed.tags)
    grey = {paths[tag.tag_id] for tag in replayed.tags if tag.is_remainder} | {nothing}
    order = {tag.tag_id: place for place, tag in enumerate(replayed.tags)}
    properties = {tag.tag_id: tag.property for tag in replayed.tags}
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    values: dict[str, list[str]] = {}
    for tag_id, image_id in sorted(replayed.images, key=lambda pair: -order[pair[0]]):
        if image_id in rows:
            name = properties[tag_id]
            carried = values.setdefault(name, [nothing] * len(rows))
            carried[rows[image_id]] = paths[tag_id]
    return [
        Colouring(
            language.gettext("tag: {property}").format(property=name),
            values[name],
            [path for tag_id, path in paths.items() if properties[tag_id] == name],
            frozenset(grey),
            key=f"tag:{name}",
        )
        for name in sorted(values)
    ]


def by_properties(
    store: LanceStore, image_ids: Sequence[str], language: Language
) -> list[Colouring]:
    """For each property of the inventory its value: a number, a year or longer, a tag, a text.

    Args:
        store: The store.
        image_ids: The images.
        language: Of what is no value.
    """
    nothing = language.gettext("(no value)")
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    table = read_properties(store)
    found = []
    for name in dict.fromkeys(table["property"].to_pylist()):
        mine = table.filter(pa.compute.equal(table["property"], name))
        values = _values(mine, rows)
        if not values:
            continue
        title = language.gettext("property: {property}").format(property=name)
        key = f"property:{name}"
        figures = {row: value for row, value in values.items() if isinstance(value, float)}
        dates = {row: value for row, value in values.items() if isinstance(value, WrittenDate)}
        if len(figures) == len(values):
            numbers = np.full(len(rows), np.nan, np.float32)
            numbers[list(figures)] = list(figures.values())
            found.append(Colouring(title, numbers, key=key))
            continue
        if dates:
            shown_dates = _shown(dates.values())
            texts = {row: shown_dates[_category(date)] for row, date in dates.items()}
            known = list(shown_dates.values())
        else:
            texts = {row: str(value) for row, value in values.items()}
            known = sorted(set(texts.values()))
        if len(known) <= _MOST_TEXTS:
            shown = [texts.get(row, nothing) for row in range(len(rows))]
            found.append(Colouring(title, shown, known, frozenset([nothing]), key=key))
    return found


def _values(table: pa.Table, rows: dict[str, int]) -> dict[int, str | float | WrittenDate]:
    """The value of each image that has one, by its row; of several tags the first."""
    found: dict[int, str | float | WrittenDate] = {}
    for image_id, value in zip(*ids_and_values(table), strict=True):
        row = rows.get(image_id)
        if row is None:
            continue
        if isinstance(value, tuple):
            if value:
                found[row] = value[0]
        else:
            found[row] = value
    return found


def _category(date: WrittenDate) -> int | str:
    """The year of a date that lies in one, and else the date in EDTF."""
    first, last = date.first_day, date.last_day
    if first is None or last is None or year_of(first) != year_of(last):
        return date.edtf
    return year_of(first)


def _shown(dates: Iterable[WrittenDate]) -> dict[int | str, str]:
    """What people see of each category of dates, the earliest first: a year of our era, or what
    is written most often."""
    found: dict[int | str, list[WrittenDate]] = {}
    for date in sorted(dates, key=WrittenDate.order):
        found.setdefault(_category(date), []).append(date)
    return {
        category: str(category)
        if isinstance(category, int) and category > 0
        else Counter(date.text for date in same).most_common(1)[0][0]
        for category, same in found.items()
    }
