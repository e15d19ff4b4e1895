"""The corpus in the store: files, images, their thumbnails and properties, what was forgotten.

Belongs here: what the assets and the API read and write of them in the same way. Does not belong
here: vectors (``features.table``), and versions of the corpus (``corpus.versions``).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from panoptic_assets.corpus.manifest import File, OtherFile
from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.spec.records import Input, digest
from panoptic_assets.spec.text import in_quotes
from resources.errors import InputError
from resources.lance import LanceStore, one_of
from resources.page_paths import file_of
from resources.schemas import SCHEMAS


def read_manifest(store: LanceStore) -> dict[str, File]:
    """Every file that was ever seen, by path."""
    rows = store.read("files", [field.name for field in fields(File)])
    # As numbers: to make a million datetimes takes 3 s.
    rows = _with_column(rows, "read_at", rows["read_at"].cast(pa.int64()))
    for name, unknown in {"ctime_ns": 0, "inode": 0, "mount": "", "read_at": 0}.items():
        # Columns that are younger than the table.
        rows = _with_column(rows, name, pc.fill_null(rows[name], unknown))
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return {values[0]: File(*values) for values in zip(*columns, strict=True)}


def write_files(
    store: LanceStore, before: Mapping[str, File], files: Iterable[File]
) -> dict[str, File]:
    """Write the lines of the manifest that differ from ``before``, in one commit; return them."""
    changed = {file.path: file for file in files if before.get(file.path) != file}
    if changed:
        seen_at = dict.fromkeys(changed, datetime.now(UTC))
        same = [path for path, file in changed.items() if _is_state_of(before.get(path), file)]
        if same:  # of which no more is new than when they were read
            seen = store.read("files", ["path", "seen_at"])
            seen = seen.filter(pc.is_in(seen["path"], pa.array(same, pa.string())))
            columns = (seen[name].to_pylist() for name in seen.column_names)
            seen_at |= dict(zip(*columns, strict=True))
        rows = [
            asdict(file) | {"read_at": file.read_at or None, "seen_at": seen_at[file.path]}
            for file in changed.values()
        ]
        store.upsert("files", pa.Table.from_pylist(rows, schema=SCHEMAS["files"]))
    return changed


def _is_state_of(before: File | None, file: File) -> bool:
    state = file.status, file.image_id, file.reason
    return before is not None and (before.status, before.image_id, before.reason) == state


def _with_column(rows: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, column)


def read_others(store: LanceStore) -> dict[str, OtherFile]:
    """The files that the last refresh found to be no images, by path."""
    rows = store.read("other_files", [field.name for field in fields(OtherFile)])
    columns = [rows[name].to_pylist() for name in rows.column_names]
    return {values[0]: OtherFile(*values) for values in zip(*columns, strict=True)}


def write_others(
    store: LanceStore, before: Mapping[str, OtherFile], others: Mapping[str, OtherFile]
) -> None:
    """Make ``others`` all files that are no images, in one commit; none if they were."""
    if before != others:
        rows = [asdict(others[path]) for path in sorted(others)]
        store.replace(
            "other_files", pa.Table.from_pylist(rows, schema=SCHEMAS["other_files"]), "true"
        )


def forgotten_images(store: LanceStore) -> set[str]:
    """Ids of the images that must not come back (see ``panoptic_assets.upkeep.forgetting``)."""
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
    rows = store.read("files", ["path", "image_id", "status"], version=version)
    rows = rows.filter(pc.equal(rows["status"], "present")).sort_by("path")
    paths: dict[str, list[str]] = {}
    for path, image_id in zip(rows["path"].to_pylist(), rows["image_id"].to_pylist(), strict=True):
        paths.setdefault(image_id, []).append(path)
    return paths


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
    lines = list(zip(*(rows[c].to_pylist() for c in columns), strict=True))
    # What the first page of a file was, when another page is its image by now.
    paged = {file_of(path) for path, _, status in lines if "#" in path and status == "present"}
    files = {
        path: image_id if image_id and (unseen or status != "quarantined") else ""
        for path, image_id, status in lines
        if not (status == "missing" and path in paged)
    }
    return ImageNames(files, also, folder)


def named_images(
    store: LanceStore, folder: str, names: Iterable[str], report: Callable[[str], object]
) -> list[str]:
    """Ids of the images that people name, sorted, each once.

    Args:
        store: The store.
        folder: The images' folder or its URI.
        names: See :mod:`panoptic_assets.corpus.names`.
        report: Called with sentences that a person must know.

    Raises:
        InputError: There is no such image, or no name.
    """
    known = image_names(store, folder)
    found = set()
    for name in names:
        if not (image_id := known.one(name)):
            raise InputError(
                "The file {name} is in quarantine, so it has no image: do not name it.",
                id="file-without-image",
                name=in_quotes(name),
            )
        found.add(image_id)
    for note in known.notes:
        report(note)
    if not found:
        raise InputError("Name one image or more, by id or path.", id="no-image-given")
    return sorted(found)


def paths_of_images(files: Iterable[File]) -> dict[str, list[str]]:
    """For each image that is present, the sorted paths of its files."""
    paths: dict[str, list[str]] = defaultdict(list)
    for path, image_id in sorted((file.path, file.holds) for file in files if file.holds):
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
    return rows_of_thumbnails(store, [image_ids])[0]


def rows_of_thumbnails(store: LanceStore, rows: Sequence[list[str]]) -> list[list[bytes]]:
    """WebP thumbnails of images, row by row, in the order of the ids; all read at once."""
    wanted = dict.fromkeys(image_id for row in rows for image_id in row)
    if not wanted:
        return [[] for _ in rows]
    read = store.read("images", ["image_id", "thumbnail"], one_of("image_id", wanted))
    found = dict(zip(read["image_id"].to_pylist(), read["thumbnail"].to_pylist(), strict=True))
    return [[found[image_id] for image_id in row] for row in rows]
