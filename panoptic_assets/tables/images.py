"""The corpus in the store: files, images, their thumbnails and properties, what was forgotten.

Belongs here: what the assets and the API read and write of them in the same way. Does not belong
here: vectors (``tables.vectors``), and versions of the corpus (``corpus_history``).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from panoptic_assets.core import sidecar
from panoptic_assets.core.manifest import File
from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.spec.records import Input, digest
from resources.errors import InputError
from resources.lance import SCHEMAS, LanceStore, one_of, quoted


def read_manifest(store: LanceStore) -> dict[str, File]:
    """Every file that was ever seen, by path."""
    rows = store.read("files", [field.name for field in fields(File)])
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return {values[0]: File(*values) for values in zip(*columns, strict=True)}


def write_files(
    store: LanceStore, before: Mapping[str, File], files: Iterable[File]
) -> dict[str, File]:
    """Write the lines of the manifest that differ from ``before``, in one commit; return them."""
    changed = {file.path: file for file in files if before.get(file.path) != file}
    if changed:
        now = datetime.now(UTC)
        rows = [asdict(file) | {"seen_at": now} for file in changed.values()]
        store.upsert("files", pa.Table.from_pylist(rows, schema=SCHEMAS["files"]))
    return changed


def forgotten_images(store: LanceStore) -> set[str]:
    """Ids of the images that must not come back (see ``panoptic_assets.forgetting``)."""
    return set(store.read("forgotten", ["image_id"])["image_id"].to_pylist())


def certificates_of_records(store: LanceStore) -> dict[str, list[str]]:
    """For each record whose answer held an image that was forgotten, the names of certificates.

    What is stored of such a record is no longer what its ``output`` was computed from, and its
    inputs cannot all be read again.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for row in store.read("forgotten", ["certificate", "records"]).to_pylist():
        for record_id in row["records"] or ():
            found[record_id].add(row["certificate"])
    return {record_id: sorted(names) for record_id, names in found.items()}


def present_files(store: LanceStore, version: int | None = None) -> dict[str, list[str]]:
    """For each image that is present, the sorted paths of its files.

    Args:
        store: The store.
        version: The version of ``files`` to read; the newest by default.
    """
    rows = store.read("files", ["path", "image_id"], "status = 'present'", version)
    return _grouped(zip(rows["path"].to_pylist(), rows["image_id"].to_pylist(), strict=True))


def image_names(
    store: LanceStore,
    folder: str,
    version: int | None = None,
    unseen: bool = False,
    also: Iterable[str] = (),
) -> ImageNames:
    """What finds an image by its name, among all that were ever seen.

    Args:
        store: The store.
        folder: The images' folder or its URI; empty if unknown.
        version: The version of ``files`` to read; the newest by default.
        unseen: Whether a file in quarantine has an image, of whose bytes no more is known.
        also: Ids that count without a file.
    """
    columns = ["path", "image_id", "status"]
    rows = store.read("files", columns, version=version)
    files = {
        path: image_id if image_id and (unseen or status != "quarantined") else ""
        for path, image_id, status in zip(*(rows[c].to_pylist() for c in columns), strict=True)
    }
    return ImageNames(files, also, folder)


def paths_of_images(files: Iterable[File]) -> dict[str, list[str]]:
    """For each image that is present, the sorted paths of its files."""
    return _grouped((file.path, file.holds) for file in files if file.holds)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for path, image_id in sorted(pairs):
        paths[image_id].append(path)
    return dict(paths)


def files_input(version: int, image_ids: list[str]) -> Input:
    """The proof of which images a scope held, whether they have a vector or not.

    Args:
        version: The version of ``files`` that the ids were read from.
        image_ids: The scope's images, sorted.
    """
    return Input(table="files", version=version, sha256=digest(image_ids))


def read_thumbnails(store: LanceStore, image_ids: list[str]) -> list[bytes]:
    """WebP thumbnails of images, in the order of the ids."""
    if not image_ids:
        return []
    where = one_of("image_id", image_ids)
    rows = store.read("images", ["image_id", "thumbnail"], where)
    found = dict(zip(rows["image_id"].to_pylist(), rows["thumbnail"].to_pylist(), strict=True))
    return [found[image_id] for image_id in image_ids]


@dataclass(frozen=True)
class SidecarReport:
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
    findings: sidecar.Findings
    digest: str
    """SHA-256 of all values, whatever the order of lines and columns."""
    changed: bool
    """Whether the values differ from those that were stored."""


def apply_sidecar(
    store: LanceStore,
    path: Path | None,
    paths_of_images: dict[str, list[str]],
    folder: str = "",
) -> SidecarReport:
    """Make the values that a file of metadata gives to images the stored ones, in one commit.

    The file is the source of truth: what it no longer says is removed, and without a file
    everything. Equal values commit nothing.

    Args:
        store: The store.
        path: The CSV file, as :func:`panoptic_assets.core.sidecar.parse` reads it, or None.
        paths_of_images: For each image that is present, the paths of its files.
        folder: Where the images' folder is, for lines that name files by whole paths.

    Raises:
        InputError: The file is missing, cannot be read, or is no table of metadata. Nothing is
            written then.
    """
    resolved = sidecar.ImageValues({}, 0, 0, (), sidecar.Findings((), 0))
    if path is not None:
        resolved = sidecar.resolve(_parse_sidecar(path), paths_of_images, folder)
    result = hashlib.sha256()
    parts = [SCHEMAS["property_values"].empty_table()]
    for found in sorted(resolved.values, key=lambda found: found.name):
        values = resolved.values.pop(found)  # let go of one property after the other
        image_ids = sorted(values)
        in_order = [values[image_id] for image_id in image_ids]
        result.update(_values_hash(found, image_ids, in_order).encode())
        parts.append(_property_rows(found, image_ids, in_order))
    rows = pa.concat_tables(parts)
    return SidecarReport(
        resolved.nb_rows,
        len(parts) - 1,
        rows.num_rows,
        resolved.nb_unmatched,
        resolved.unmatched,
        resolved.findings,
        result.hexdigest(),
        write_properties(store, rows),
    )


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


VALUE_COLUMNS: dict[sidecar.PropertyType, str] = {
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


def _parse_sidecar(path: Path) -> sidecar.Sidecar:
    # Opening a FIFO would wait for ever.
    if not path.is_file():
        raise InputError(
            f"The file of metadata {path} does not exist or is not a file: put it there, or "
            "correct or empty `metadata` in .panoptic/project.yaml."
        )
    try:
        with path.open("rb") as file:
            return sidecar.parse(file)
    except sidecar.SidecarError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(
            f"The file of metadata {path} cannot be read ({error.strerror}): correct its "
            "permissions, or `metadata` in .panoptic/project.yaml."
        ) from error


def _values_hash(found: sidecar.Property, image_ids: list[str], values: list[sidecar.Value]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return digest(found.name, found.type, image_ids, plain)


def _property_rows(
    found: sidecar.Property, image_ids: list[str], values: list[sidecar.Value]
) -> pa.Table:
    schema = SCHEMAS["property_values"]
    columns = {field.name: pa.nulls(len(values), field.type) for field in schema}
    columns["image_id"] = pa.array(image_ids, pa.string())
    columns["property"] = pa.repeat(found.name, len(values))
    columns["type"] = pa.repeat(found.type, len(values))
    name = VALUE_COLUMNS[found.type]
    columns[name] = pa.array(values, schema.field(name).type)
    return pa.table(columns, schema=schema)
