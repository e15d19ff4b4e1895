"""Properties of images in the store: what the inventory says of each image.

Belongs here: taking an inventory in, and reading values by the name of a property. Does not belong
here: what its cells mean (``corpus.inventory``), and the tags of people (``tags``).
"""

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from panoptic_assets.corpus import absence, inventory
from panoptic_assets.corpus.values import PropertyType, Value
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.tag_log import known_property
from resources.errors import InputError, Message
from resources.lance import LanceStore, quoted
from resources.schemas import SCHEMAS


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
    """What became of a file of metadata."""

    nb_rows: int
    nb_properties: int
    """Properties that at least one image has."""
    nb_values: int
    """Pairs of an image and a property."""
    nb_unmatched: int
    """Lines that name no file of the corpus, or not a single one."""
    unmatched: tuple[str, ...]
    """The first of the names on those lines."""
    findings: inventory.Findings
    digest: str
    """SHA-256 of all values, whatever the order of lines and columns."""
    changed: bool
    """Whether the values differ from those that were stored."""
    kept: Message | None = None
    """Why the values stay as they were: what of them the file no longer has."""


def apply_inventory(
    store: LanceStore,
    path: Path | None,
    paths_of_images: dict[str, list[str]],
    folder: str = "",
    limits: absence.Limits | None = None,
    accepted: str = "",
) -> InventoryReport:
    """Make the values that a file of metadata gives to images the stored ones, in one commit.

    The file is the source of truth: what it no longer says is removed, and without a file
    everything. Equal values commit nothing. Where more is gone at once than may be, all values stay
    as they were: the file may be cut off, or may just be saved.

    Args:
        store: The store.
        path: The CSV file, as :func:`panoptic_assets.corpus.inventory.parse_inventory` reads
            it, or None: a person wants no values.
        paths_of_images: For each image that is present, the paths of its files.
        folder: Where the images' folder is, for lines that name files by whole paths.
        limits: How many values may be gone at once; None: all.
        accepted: The answer to a question about values that a person means to go.

    Raises:
        InputError: The file is missing, cannot be read, or is no table of metadata. Nothing is
            written then.
    """
    resolved = inventory.ImageValues({}, 0, 0, (), inventory.Findings((), 0))
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
    if kept is None:
        for found in sorted(resolved.values, key=lambda found: found.name):
            values = resolved.values.pop(found)  # let go of one property after the other
            image_ids = sorted(values)
            in_order = [values[image_id] for image_id in image_ids]
            result.update(_values_hash(found, image_ids, in_order).encode())
            parts.append(_property_rows(found, image_ids, in_order))
    else:
        for name in _stored_names(store):
            rows = read_properties(store, name)
            found = inventory.Property(name, rows["type"][0].as_py())
            result.update(_values_hash(found, *_ids_and_values(rows)).encode())
            parts.append(rows)
    rows = pa.concat_tables(parts)
    return InventoryReport(
        resolved.nb_rows,
        len(parts) - 1,
        rows.num_rows,
        resolved.nb_unmatched,
        resolved.unmatched,
        resolved.findings,
        result.hexdigest(),
        kept is None and write_properties(store, rows),
        kept,
    )


def values_at_stake(
    store: LanceStore,
    path: Path | None,
    paths_of_images: dict[str, list[str]],
    folder: str,
    limits: absence.Limits,
) -> Message | None:
    """Which values :func:`apply_inventory` would not take away unasked; None if there are none.

    Args:
        store: As there, as the others.
        path: The CSV file. One that cannot be read takes no values away.
        paths_of_images: For each image that is present, the paths of its files.
        folder: Where the images' folder is.
        limits: How many values may be gone at once.
    """
    if path is None:
        return None
    try:
        resolved = inventory.match_images(_parse_inventory(path), paths_of_images, folder)
    except InputError:
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
            values = dict(zip(*_ids_and_values(rows), strict=True))
            for found, now in renamed:
                if found.type == rows["type"][0].as_py():
                    gone = {image_id for image_id in gone if now.get(image_id) != values[image_id]}
        losses.append(absence.Loss(name, len(gone), len(had)))
    return absence.lost_values(losses, path.name, limits)


def _stored_names(store: LanceStore) -> list[str]:
    return sorted(set(store.read("property_values", ["property"])["property"].to_pylist()))


def _ids_and_values(rows: pa.Table) -> tuple[list[str], list[Value]]:
    """Of rows of one property."""
    column = VALUE_COLUMNS[rows["type"][0].as_py()]
    values = rows[column].to_pylist()
    if column == "tags":
        values = [tuple(tags) for tags in values]
    return rows["image_id"].to_pylist(), values


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
    "date": "date",
    "tag": "tags",
    "multi_tags": "tags",
}
"""For each type of property, the column of ``property_values`` that holds its values."""


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
    # Opening a FIFO would wait for ever.
    if not path.is_file():
        raise InputError(
            "The file of metadata {path} does not exist or is not a file: put it there, or "
            "correct or empty `metadata` in .panoptic/project.yaml.",
            id="metadata-missing",
            path=path,
        )
    try:
        with path.open("rb") as file:
            return inventory.parse_inventory(file)
    except inventory.InventoryError as error:
        raise InputError(
            "{path}: {reason}", id="metadata-unusable", path=path, reason=error
        ) from error
    except OSError as error:
        raise InputError(
            "The file of metadata {path} cannot be read ({reason}): correct its permissions, or "
            "`metadata` in .panoptic/project.yaml.",
            id="metadata-unreadable",
            path=path,
            reason=error.strerror,
        ) from error


def _values_hash(found: inventory.Property, image_ids: list[str], values: list[Value]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return digest(found.name, found.type, image_ids, plain)


def _property_rows(
    found: inventory.Property, image_ids: list[str], values: list[Value]
) -> pa.Table:
    schema = SCHEMAS["property_values"]
    columns = {field.name: pa.nulls(len(values), field.type) for field in schema}
    columns["image_id"] = pa.array(image_ids, pa.string())
    columns["property"] = pa.repeat(found.name, len(values))
    columns["type"] = pa.repeat(found.type, len(values))
    name = VALUE_COLUMNS[found.type]
    columns[name] = pa.array(values, schema.field(name).type)
    return pa.table(columns, schema=schema)
