"""Properties of images in the store: what the inventory says of each image.

Belongs here: taking an inventory in, and reading values by the name of a property. Does not belong
here: what its cells mean (``corpus.inventory``), and the tags of people (``tags``).
"""

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from panoptic_assets.corpus import absence, inventory
from panoptic_assets.corpus.inventory_findings import Findings
from panoptic_assets.corpus.values import PropertyType, Value
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.tag_log import known_property
from panoptic_assets.spec.written_dates import WrittenDate, date_of_moment, first_moment
from resources.errors import InputError, Message
from resources.lance import LanceStore, quoted
from resources.registry import Registry
from resources.schemas import SCHEMAS

if TYPE_CHECKING:
    from resources.source import ImageSource


def stored_property(store: LanceStore, name: str, version: int | None = None) -> str:
    """The property that a name means, as the table ``tags`` writes it; else the name.

    Args:
        store: The store.
        name: As somebody wrote it, with accents in any form.
        version: The version of ``tags`` to read; the newest by default.
    """
    return known_property(
        name, set(store.read("tags", ["property"], version=version)[0].to_pylist())
    )


@dataclass(frozen=True)
class InventoryReport:
    """What an inventory gives to images."""

    rows: pa.Table
    """All that the table ``property_values`` is to hold: by property and image id."""
    nb_rows: int
    """Lines of the inventory."""
    nb_unmatched: int
    """Lines that name no file of the corpus, or not a single one."""
    unmatched: tuple[inventory.Unmatched, ...]
    """The first of those lines."""
    findings: Findings
    nb_images: dict[str, int]
    """For each property that at least one image has, how many have it."""
    digest: str
    """SHA-256 of all values, whatever the order of lines and columns."""
    kept: Message | None = None
    """Why the values stay as they were: what of them the file no longer has."""


def inventory_file(registry: Registry, source: "ImageSource") -> Path | None:
    """The inventory: the file that the project names, else what the source says of its images.

    Args:
        registry: Of the project.
        source: Of its images, listed.

    Raises:
        InputError: It is not there.
    """
    file = registry.metadata_file or source.inventory()
    if file is None and source.is_described:
        raise InputError(
            "What the manifest {place} says of its images is not here: `panoptic-assets refresh` "
            "asks for it.",
            id="manifest-not-listed",
            place=source.place,
        )
    return file


def read_inventory(
    store: LanceStore,
    path: Path | None,
    paths_of_images: dict[str, list[str]],
    folder: str = "",
    limits: absence.Limits | None = None,
    accepted: str = "",
) -> InventoryReport:
    """The values that an inventory gives to images; only reads.

    The file is the source of truth: what it no longer says is removed, and without a file
    everything. Where more is gone at once than may be, all values stay as they were: the file may
    be cut off, or may just be saved.

    Args:
        store: The store.
        path: The file, as :func:`panoptic_assets.corpus.inventory.parse_inventory` reads it, or
            None: a person wants no values.
        paths_of_images: For each image that is present, the paths of its files.
        folder: Where the images' folder is, for lines that name files by whole paths.
        limits: How many values may be gone at once; None: all.
        accepted: The answer to a question about values that a person means to go.

    Raises:
        InputError: The file is missing, cannot be read, or is no inventory.
    """
    resolved = inventory.ImageValues({}, 0, 0, (), Findings())
    kept: Message | None = None
    if path is not None:
        resolved = inventory.match_images(_parse_inventory(path), paths_of_images, folder)
        if limits is not None:
            lost = _lost(store, path, resolved, paths_of_images.keys(), limits)
            kept = lost and absence.values_question(lost)
            if kept and absence.answer_to(kept) == accepted:
                kept = None
    result = hashlib.sha256()
    parts = [SCHEMAS["property_values"].empty_table()]
    nb_images: dict[str, int] = {}
    if kept is None:
        for found in sorted(resolved.values, key=lambda found: found.name):
            values = resolved.values.pop(found)  # let go of one property after the other
            image_ids = sorted(values)
            in_order = [values[image_id] for image_id in image_ids]
            result.update(_values_hash(found, image_ids, in_order).encode())
            parts.append(_property_rows(found, image_ids, in_order))
            nb_images[found.name] = len(image_ids)
    else:
        for name in _stored_names(store):
            rows = read_properties(store, name)
            found = inventory.Property(name, rows["type"][0].as_py())
            result.update(_values_hash(found, *ids_and_values(rows)).encode())
            parts.append(rows)
            nb_images[name] = rows.num_rows
    return InventoryReport(
        pa.concat_tables(parts),
        resolved.nb_rows,
        resolved.nb_unmatched,
        resolved.unmatched,
        resolved.findings,
        nb_images,
        result.hexdigest(),
        kept,
    )


def values_at_stake(
    store: LanceStore,
    registry: Registry,
    source: "ImageSource",
    paths_of_images: dict[str, list[str]],
    limits: absence.Limits,
) -> Message | None:
    """Which values :func:`read_inventory` would not let go unasked; None if there are none.

    Args:
        store: The store.
        registry: Names the inventory. One that cannot be read takes no values away.
        source: As of :func:`inventory_file`.
        paths_of_images: For each image that is present, the paths of its files.
        limits: How many values may be gone at once.
    """
    try:
        path = inventory_file(registry, source)
        if path is None:
            return None
        resolved = inventory.match_images(_parse_inventory(path), paths_of_images, registry.images)
    except Exception:  # what ails the inventory is said where it is read, and stops no images
        return None
    return _lost(store, path, resolved, paths_of_images.keys(), limits)


def _lost(
    store: LanceStore,
    path: Path,
    resolved: inventory.ImageValues,
    present: Set[str],
    limits: absence.Limits,
) -> Message | None:
    """Values of images that are there and no longer get them.

    A property that comes up under another name, with the values that it had, is not gone.
    """
    given = {found.name: values for found, values in resolved.values.items()}
    stored = _stored_names(store)
    renamed = [
        (kind, values) for kind, values in resolved.values.items() if kind.name not in stored
    ]
    losses = []
    for name in stored:
        where = f"property = {quoted(name)}"
        ids = store.read("property_values", ["image_id"], where)["image_id"].to_pylist()
        had = present & set(ids)
        gone = had - given.get(name, {}).keys()
        if gone and name not in given and renamed:
            rows = read_properties(store, name)
            values = dict(zip(*ids_and_values(rows), strict=True))
            for found, now in renamed:
                if found.type == rows["type"][0].as_py():
                    gone = {image_id for image_id in gone if now.get(image_id) != values[image_id]}
        losses.append(absence.Loss(name, len(gone), len(had)))
    return absence.lost_values(losses, path.name, limits)


def _stored_names(store: LanceStore) -> list[str]:
    return sorted(set(store.read("property_values", ["property"])["property"].to_pylist()))


def ids_and_values(rows: pa.Table) -> tuple[list[str], list[Value]]:
    """The image ids and the values of rows of one property, as any version of the table has them.

    Args:
        rows: Of ``property_values``, one or more.
    """
    kind: PropertyType = rows["type"][0].as_py()
    image_ids = rows["image_id"].to_pylist()
    if kind == "date":
        return image_ids, [*stored_dates(rows)]
    values = rows[VALUE_COLUMNS[kind]].to_pylist()
    return image_ids, [tuple(value) if isinstance(value, list) else value for value in values]


def stored_dates(rows: pa.Table) -> list[WrittenDate]:
    """The values of rows of type date, as any version of ``property_values`` has them."""
    names = ["date", "text", "edtf", "first_day", "last_day"]
    columns = [
        rows[name].to_pylist() if name in rows.schema.names else [None] * rows.num_rows
        for name in names
    ]
    # A row is older than EDTF was where it has none: its moment stood for the whole date.
    return [
        date_of_moment(moment) if edtf is None else WrittenDate(text, edtf, first, last)
        for moment, text, edtf, first, last in zip(*columns, strict=True)
    ]


def write_properties(store: LanceStore, rows: pa.Table) -> bool:
    """Make ``rows`` all of ``property_values``, in one commit; False, and none, if they were.

    Args:
        store: The store.
        rows: Of that table's schema, by property and image id.
    """
    if _are_stored(store, rows):
        return False
    store.replace("property_values", rows, "true")
    return True


def read_properties(
    store: LanceStore, property_name: str | None = None, version: int | None = None
) -> pa.Table:
    """The values of a property, or of all, by property and image id.

    Args:
        store: The store.
        property_name: The property; all by default.
        version: The version of ``property_values`` to read; the newest by default.
    """
    where = None if property_name is None else f"property = {quoted(property_name)}"
    rows = store.read("property_values", where=where, version=version)
    return rows.sort_by([("property", "ascending"), ("image_id", "ascending")])


VALUE_COLUMNS: dict[PropertyType, str] = {
    "text": "text",
    "number": "number",
    "date": "edtf",
    "tag": "tags",
    "multi_tags": "tags",
}
"""For each type of property, the column of ``property_values`` that holds its values; of dates
others belong to it, and :func:`ids_and_values` reads them."""


def _are_stored(store: LanceStore, rows: pa.Table) -> bool:
    if store.count("property_values") != rows.num_rows:
        return False
    start = 0
    # One property after the other: reading and sorting all takes three times the memory.
    for entry in rows["property"].value_counts().to_pylist():
        part = rows.slice(start, entry["counts"])
        if not read_properties(store, entry["values"]).equals(part):
            return False
        start += entry["counts"]
    return True


def _parse_inventory(path: Path) -> inventory.Inventory:
    try:
        with path.open("rb") as file:
            return inventory.parse_inventory(file)
    except inventory.InventoryError as error:
        raise InputError(
            "{path}: {reason}", id="metadata-unusable", path=path, reason=error
        ) from error
    except OSError as error:
        raise InputError(
            "The inventory {path} cannot be read ({reason}): correct its permissions, or name "
            "another as `metadata` in .panoptic/project.yaml.",
            id="inventory-unreadable",
            path=path,
            reason=error.strerror,
        ) from error


def _values_hash(found: inventory.Property, image_ids: list[str], values: list[Value]) -> str:
    plain = [
        [value.text, value.edtf] if isinstance(value, WrittenDate) else value for value in values
    ]
    return digest(found.name, found.type, image_ids, plain)


def _property_rows(
    found: inventory.Property, image_ids: list[str], values: list[Value]
) -> pa.Table:
    schema = SCHEMAS["property_values"]
    columns = {field.name: pa.nulls(len(values), field.type) for field in schema}
    columns["image_id"] = pa.array(image_ids, pa.string())
    columns["property"] = pa.repeat(found.name, len(values))
    columns["type"] = pa.repeat(found.type, len(values))
    given: dict[str, list[Any]] = {VALUE_COLUMNS[found.type]: values}
    if found.type == "date":
        dates = [value for value in values if isinstance(value, WrittenDate)]
        given = {
            "text": [date.text for date in dates],
            "edtf": [date.edtf for date in dates],
            "date": [first_moment(date) for date in dates],
            "first_day": [date.first_day for date in dates],
            "last_day": [date.last_day for date in dates],
        }
    for name, entries in given.items():
        columns[name] = pa.array(entries, schema.field(name).type)
    return pa.table(columns, schema=schema)
