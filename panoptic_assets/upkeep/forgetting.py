"""Forgetting images: taking them out of everything that the program keeps, and saying so.

Belongs here: the order of the work, so that a crash at any moment can be completed, and the
certificate. Does not belong here: what a text is without an image (``upkeep.redaction``), how a
table loses its older versions (``resources.lance``), and Dagster's database
(``orchestration.history``).

1. The tombstones come first, in one commit: from then on no refresh takes the images in. Until all
   is done they also hold what must be known to complete the work, such as the paths.
2. The tables of the store, with their older versions; the reports; Dagster's events.
3. The certificate, a file in ``.panoptic/certificates``. Then the tombstones lose all but the id.

Every step may be done twice. The tables, reports and events of several images cost one pass.

Long because whoever reads it must see in one place that nothing is left out.
"""

import hashlib
import html
import importlib.metadata
import itertools
import json
import os
import shutil
import zipfile
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from panoptic_assets.clustering.table import stored_records
from panoptic_assets.corpus.names import comparable_path
from panoptic_assets.corpus.table import image_names
from panoptic_assets.features import neighbors as core_neighbors
from panoptic_assets.features.table import (
    graph_hash,
    read_graph,
    read_vectors,
    rows_now,
    vector_types,
    write_graph,
)
from panoptic_assets.orchestration.history import Cleared
from panoptic_assets.spec import seals
from panoptic_assets.spec.marks import IMAGE
from panoptic_assets.upkeep.redaction import Redaction, without_images
from resources.errors import InputError
from resources.lance import LanceStore, one_of, quoted
from resources.preview_folder import PreviewFolder
from resources.project_folder import ProjectFolder, write_file
from resources.report_folder import ReportFolder, thumbnail_path
from resources.schemas import SCHEMAS, neighbors_table

_TABLE = "forgotten"
_LARGEST_FILE = 2**30
"""Bytes of a file of the people's, or of a part of an archive, that is searched for an image."""
_BLOCK = 2**22


class Found(BaseModel, frozen=True):
    """What was found of some images before anything was removed."""

    rows: dict[str, int]
    """For each table, the rows that are removed or rewritten."""
    records: list[str]
    """Ids of the records whose answer held one of them."""
    pinned: list[str]
    """Ids of the other records, whose pinned inputs go with the older versions."""


class Unfinished(BaseModel, frozen=True):
    """What a tombstone holds until its image is forgotten."""

    paths: list[str]
    since: datetime
    """When the image came."""
    nb_bytes: int
    found: Found


@dataclass(frozen=True)
class Target:
    """An image to be forgotten."""

    image_id: str
    paths: tuple[str, ...]
    """Every path that ever held it."""
    since: datetime
    nb_bytes: int
    """Of its files."""


class Certificate(BaseModel, frozen=True):
    """What was done; it names images by their id alone."""

    images: list[str]
    at: datetime
    author: str
    reason: str
    program: str
    rows: dict[str, int]
    """For each table, rows that were removed or rewritten."""
    nb_versions: int
    """Older versions of tables that were removed."""
    nb_pins: int
    records_that_held_it: list[str]
    """Their answers are no longer what their hashes say; the other images' rows stay."""
    records_without_pinned_inputs: list[str]
    """They did not hold it, and can be verified on the newest versions only."""
    reports: list[str]
    """Removed."""
    write_again: list[str]
    """The commands that write these reports again."""
    nb_dagster_runs: int
    """Removed with their events."""
    nb_materializations: int
    """Reported again to Dagster with their numbers, without texts and pictures."""
    outside: list[str]
    """What names or holds the images and is not the program's to remove."""
    nb_files_searched: int
    """Files of the store, the reports and Dagster's instance, searched for the ids' bytes after."""
    still_there: list[str]
    """Those in which one was found."""


@dataclass(frozen=True)
class Forgotten:
    """Some images that are gone, and what says so."""

    path: Path
    certificate: Certificate


def find_images(
    store: LanceStore,
    names: Iterable[str],
    folder: str = "",
    report: Callable[[str], None] = lambda _: None,
) -> list[Target]:
    """The images that names mean; those forgotten already are left out.

    Args:
        store: The store.
        names: See :mod:`panoptic_assets.corpus.names`.
        folder: The images' folder or its URI, for names that are whole paths.
        report: Called with sentences that a person must know.

    Raises:
        InputError: A name is that of no image, or of several.
    """
    images = {
        row["image_id"]: row
        for row in store.read("images", ["image_id", "added_at", "bytes"]).to_pylist()
    }
    gone = set(store.read(_TABLE, ["image_id"])["image_id"].to_pylist())
    known = image_names(store, folder, unseen=True, also=images.keys() | gone)
    found = []
    for name in names:
        image_id = known.one(name)
        if not image_id:
            raise InputError(
                "The file {name!r} was never read, so it is not known which image it holds: there "
                "is nothing to forget but its path, which goes when the file is deleted.",
                id="file-never-read",
                name=name,
            )
        found.append(image_id)
    for note in known.notes:
        report(note)
    paths = defaultdict(list)
    for path, image_id in known.by_path.items():
        paths[image_id].append(path)
    always = datetime.fromtimestamp(0, UTC)
    return [
        Target(
            image_id,
            tuple(sorted(paths[image_id])),
            images[image_id]["added_at"] if image_id in images else always,
            images[image_id]["bytes"] if image_id in images else 0,
        )
        for image_id in sorted(set(found) - gone)
    ]


def unfinished(store: LanceStore) -> list[str]:
    """Ids of images that a command began to forget and did not end."""
    rows = store.read(_TABLE, ["image_id"], "unfinished IS NOT NULL")
    return sorted(rows["image_id"].to_pylist())


def begin(
    store: LanceStore, images: str, targets: Sequence[Target], author: str, reason: str
) -> None:
    """Set the tombstones, in one commit: from now on the images do not come back.

    Args:
        store: The store.
        images: The images' folder or its URL.
        targets: The images; nothing happens without one.
        author: Who forgets them.
        reason: Why; what names an image is taken out of it.
    """
    if not targets:
        return
    redaction = Redaction(
        [target.image_id for target in targets], [p for t in targets for p in t.paths], images
    )
    found = _survey(store, redaction)
    now = datetime.now(UTC)
    # Of two in one second, each keeps its own.
    certificate = f"{now:%Y-%m-%d-%H%M%S}-{targets[0].image_id[:12]}.json"
    rows = [
        {
            "image_id": target.image_id,
            "certificate": certificate,
            "at": now,
            "author": author,
            "reason": redaction.text(reason),
            "records": found.records,
            "unfinished": Unfinished(
                paths=list(target.paths),
                since=target.since,
                nb_bytes=target.nb_bytes,
                found=found,
            ).model_dump_json(),
        }
        for target in targets
    ]
    store.upsert(_TABLE, pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE]))


def complete(
    store: LanceStore,
    project: ProjectFolder,
    reports: ReportFolder,
    clear_dagster: Callable[[datetime, Callable[[str], bool]], Cleared],
    write_index: Callable[[], None],
    report: Callable[[str], None],
) -> list[Forgotten]:
    """Forget every image that has an unfinished tombstone; return the certificates.

    Args:
        store: The store. Nothing else may write to it, or read what must go.
        project: The project.
        reports: Its reports.
        clear_dagster: Removes the runs of Dagster that may show an image, given the moment when it
            came and what tells whether a text names it; see
            :func:`panoptic_assets.orchestration.history.clear`.
        write_index: Writes the first page of the reports again.
        report: Called with a line of text before something that takes long.
    """
    rows = store.read(_TABLE, where="unfinished IS NOT NULL").to_pylist()
    rows.sort(key=lambda row: (row["certificate"], row["image_id"]))
    made = []
    for name, group in itertools.groupby(rows, key=lambda row: str(row["certificate"])):
        mine = list(group)
        states = [Unfinished.model_validate_json(row["unfinished"]) for row in mine]
        redaction = Redaction(
            [row["image_id"] for row in mine],
            [path for state in states for path in state.paths],
            project.images,
        )
        found = states[0].found
        report("Removing rows, and the older versions that hold them")
        nb_versions, nb_pins = _clear_store(store, redaction)
        removed = _clear_reports(reports, redaction, found.records)
        PreviewFolder(project.previews, 0).remove(redaction.image_ids)
        if removed:
            write_index()
        report("Removing the runs of Dagster that may show it")
        cleared = clear_dagster(min(state.since for state in states), _names_one(redaction))
        report("Searching what is left")
        searched, still_there = _search(project, store, redaction)
        certificate = Certificate(
            images=sorted(redaction.image_ids),
            at=mine[0]["at"],
            author=mine[0]["author"],
            reason=mine[0]["reason"],
            program=f"panoptic_assets {importlib.metadata.version('panoptic-assets')}",
            rows=found.rows,
            nb_versions=nb_versions,
            nb_pins=nb_pins,
            records_that_held_it=found.records,
            records_without_pinned_inputs=found.pinned,
            reports=removed,
            write_again=[_command(place) for place in removed],
            nb_dagster_runs=cleared.nb_runs,
            nb_materializations=cleared.nb_reported_again,
            outside=_outside(project, redaction, {state.nb_bytes for state in states}),
            nb_files_searched=searched,
            still_there=still_there,
        )
        path = project.folder / ".panoptic" / "certificates" / name
        write_file(path, certificate.model_dump_json(indent=2).encode() + b"\n")
        _finish(store, mine)
        made.append(Forgotten(path, certificate))
    return made


def _finish(store: LanceStore, rows: Iterable[dict[str, Any]]) -> None:
    done = [row | {"unfinished": None} for row in rows]
    store.upsert(_TABLE, pa.Table.from_pylist(done, schema=SCHEMAS[_TABLE]))
    store.erase(_TABLE)  # earlier versions hold the paths


def _where(redaction: Redaction) -> str:
    return one_of("image_id", sorted(redaction.image_ids))


def _rows_to_erase(store: LanceStore, table: str, redaction: Redaction) -> str:
    """Which rows of a table name the images: by their id, or by a path that they had."""
    schema = store.schema_of(table)
    where = _where(redaction)
    if schema is not None and "path" in schema.names and redaction.paths:
        where += f" OR {one_of('path', sorted(redaction.paths))}"
    return where


def _tables(store: LanceStore) -> tuple[list[str], list[str]]:
    """The tables with a row for an image, and the others; but not the tombstones."""
    by_image: list[str] = []
    others: list[str] = []
    for table in sorted(store.tables()):
        schema = store.schema_of(table)
        if table != _TABLE and schema is not None:
            (by_image if "image_id" in schema.names else others).append(table)
    return by_image, others


def _survey(store: LanceStore, redaction: Redaction) -> Found:
    where = _where(redaction)
    by_image, others = _tables(store)
    rows = {t: store.count(t, _rows_to_erase(store, t, redaction)) for t in by_image}
    rows |= {table: len(_rewritten(store, table, redaction)) for table in others}
    held = set(store.read("assignments", ["record_id"], where)["record_id"].to_pylist())
    known = [stored.record for stored in stored_records(store, "true").values()]
    return Found(
        rows={table: count for table, count in rows.items() if count},
        records=sorted(held),
        pinned=sorted(
            record.record_id
            for record in known
            if record.record_id not in held
            and any(store.version(entry.table) > entry.version for entry in record.inputs)
        ),
    )


def _clear_store(store: LanceStore, redaction: Redaction) -> tuple[int, int]:
    """Take the images out of every table; returns how many versions and pins went."""
    existing = set(store.tables())
    for table in store.tables_with_staged_rows():
        staged = store.staged(table)
        if table in existing:
            store.commit(table, staged)
        else:
            store.discard(table, staged)
    by_image, others = _tables(store)
    # Before the assignments, from which they are counted.
    _mend_clusters(store, redaction)
    for table in others:
        if table != "clusters" and (changed := _rewritten(store, table, redaction)):
            schema = store.schema_of(table)
            store.upsert(table, pa.Table.from_pylist(changed, schema=schema))
    graphs = {neighbors_table(name) for name in vector_types(store)}
    # The files last: while they are there, the images can be named again.
    order = sorted(set(by_image) - graphs, key=lambda table: table in ("images", "files"))
    done = [store.erase(table, _rows_to_erase(store, table, redaction)) for table in order]
    for vector_type in vector_types(store):
        _mend_graph(store, vector_type, redaction)
    done += [store.erase(table) for table in sorted(graphs & existing)]
    done += [store.erase(table) for table in others]
    return sum(part.nb_versions for part in done), sum(part.nb_pins for part in done)


def _rewritten(store: LanceStore, table: str, redaction: Redaction) -> list[dict[str, Any]]:
    """The rows of a table without image ids of its own that name the images, without them."""
    if table == "clusters":
        columns = ["record_id", "cluster", "medoid"]
        rows = store.read(table, columns, one_of("medoid", sorted(redaction.image_ids)))
        return rows.to_pylist()
    changed = []
    for row in store.read(table).to_pylist():
        new = dict(row)
        if table == "tag_log":
            events, new["images"] = without_images(
                json.loads(row["content"]), row["images"], redaction.image_ids
            )
            new["content"] = json.dumps(redaction.data(events), ensure_ascii=False)
        elif table == "marks":  # labels before and after, files of runs, remarks
            content = redaction.data(json.loads(row["content"]))
            if row["kind"] == "remark" and row["key"].removeprefix(IMAGE) in redaction.image_ids:
                content, new["reason"] = {}, None  # which tell of the image
            new["content"] = json.dumps(content, ensure_ascii=False)
        elif table == "records":
            content = redaction.data(json.loads(row["content"]))
            if content != json.loads(row["content"]):
                new["content"] = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
                if row["seal"]:  # the certificate says that the record was changed
                    new["seal"] = json.dumps(seals.seal(content), ensure_ascii=False)
        new = redaction.data(new)
        if new != row:
            changed.append(new)
    return changed


def _mend_clusters(store: LanceStore, redaction: Redaction) -> None:
    """Give the clusters that held the images their size and medoid without them."""
    held = store.read("assignments", ["record_id", "cluster"], _where(redaction))
    affected = {(row["record_id"], row["cluster"]) for row in held.to_pylist()}
    if not affected:
        return
    sizes: Counter[tuple[str, str]] = Counter()
    medoids: dict[tuple[str, str], tuple[float, str]] = {}
    records = one_of("record_id", sorted({record_id for record_id, _ in affected}))
    gone = pa.array(sorted(redaction.image_ids), pa.string())
    columns = ["record_id", "cluster", "image_id", "distance"]
    for batch in store.batches("assignments", columns, records):
        left = batch.filter(pc.invert(pc.is_in(batch["image_id"], value_set=gone)))
        for record_id, cluster, image_id, distance in zip(
            *(left[name].to_pylist() for name in columns), strict=True
        ):
            place = record_id, cluster
            if place in affected:
                sizes[place] += 1
                medoids[place] = min((distance, image_id), medoids.get(place, (9.0, "")))
    rows = []
    for row in store.read("clusters", where=records).to_pylist():
        place = row["record_id"], row["cluster"]
        if place in affected and sizes[place]:
            medoid = row["medoid"]
            if medoid in redaction.image_ids:
                medoid = medoids[place][1]
            rows.append(row | {"size": sizes[place], "medoid": medoid})
    if rows:
        store.upsert("clusters", pa.Table.from_pylist(rows, schema=SCHEMAS["clusters"]))
    empty = [
        f"(record_id = {quoted(record_id)} AND cluster = {quoted(cluster)})"
        for record_id, cluster in sorted(affected)
        if not sizes[record_id, cluster]
    ]
    if empty:
        store.erase("clusters", " OR ".join(empty))


def _mend_graph(store: LanceStore, vector_type: str, redaction: Redaction) -> None:
    """Replace a neighbour graph, whose rows are addressed by their numbers, by one without them."""
    known = read_graph(store, vector_type)
    if known is None or redaction.image_ids.isdisjoint(known.image_ids):
        return
    kept = [image_id for image_id in known.image_ids if image_id not in redaction.image_ids]
    read = read_vectors(store, vector_type, kept, may_be_none=True)
    graph, _ = core_neighbors.updated(
        read.vectors, known.info.k, known.graph, rows_now(known, read)
    )
    output = graph_hash(read.image_ids, graph)
    info = known.info.model_copy(update={"vectors": read.source, "output": output})
    write_graph(store, vector_type, read, graph, info)


def _clear_reports(
    reports: ReportFolder, redaction: Redaction, record_ids: Iterable[str]
) -> list[str]:
    """Remove the reports that show the images, and their thumbnails; returns the places."""
    root = reports.root
    if not root.is_dir():
        return []
    shutil.rmtree(root / ".drafts", ignore_errors=True)
    for image_id in redaction.image_ids:
        (root / thumbnail_path(image_id)).unlink(missing_ok=True)
    held = {record_id.partition("@")[0].partition("/")[0] for record_id in record_ids}
    needles = _needles(redaction)
    removed = []
    places = [*root.glob("runs/*"), *root.glob("*")]
    for place in sorted(set(places) - {root / name for name in ("runs", "thumbnails", "static")}):
        name = place.relative_to(root).as_posix()
        kind, _, key = name.partition("/")
        if (kind == "runs" and key in held) or any(_holds(path, needles) for path in _files(place)):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            removed.append(name)
    return removed


def _command(place: str) -> str:
    kind, _, key = place.partition("/")
    if kind == "runs":
        return f"panoptic-assets report {key}"
    return "panoptic-assets compare" if kind == "comparison" else "panoptic-assets report KEY"


def _names_one(redaction: Redaction) -> Callable[[str], bool]:
    needles = [needle.decode("utf-8", "surrogateescape") for needle in _needles(redaction)]
    return lambda text: any(needle in text for needle in needles)


def _needles(redaction: Redaction) -> list[bytes]:
    """The ids and paths in each form in which pages, scripts and event logs write them."""
    from panoptic_assets.spec.markdown import escaped

    forms: set[str] = set(redaction.image_ids)
    for path in redaction.paths:
        for text in (path, html.escape(path), escaped(path), path.replace("/", "/\u200b")):
            forms |= {text, json.dumps(text)[1:-1], html.escape(text).replace("&#x27;", "&#39;")}
        forms.add(quote(path))
    needles = {form.encode("utf-8", "surrogateescape") for form in forms}
    for image_id in redaction.image_ids:
        raw = bytes.fromhex(image_id)
        needles.add(raw)
        # In base64 among others, it begins at one of three bits; the ends depend on what is beside.
        needles |= {b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)}
    return sorted(needles)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, _, names in os.walk(place):
        yield from (Path(folder) / name for name in names)


def _holds(path: Path, needles: Sequence[bytes]) -> bool:
    try:
        with path.open("rb") as file:
            return _stream_holds(file, needles)
    except OSError:
        return False


def _stream_holds(file: IO[bytes], needles: Sequence[bytes]) -> bool:
    overlap = max(map(len, needles)) - 1
    before = b""
    read = 0
    while (block := file.read(_BLOCK)) and read <= _LARGEST_FILE:
        text = before + block
        if any(needle in text for needle in needles):
            return True
        before, read = text[-overlap:], read + len(block)
    return False


def _search(
    project: ProjectFolder, store: LanceStore, redaction: Redaction
) -> tuple[int, list[str]]:
    """Search all that the program keeps on this machine for the ids, as text and as bytes."""
    needles = [image_id.encode() for image_id in sorted(redaction.image_ids)]
    needles += [bytes.fromhex(image_id) for image_id in sorted(redaction.image_ids)]
    own = project.folder / ".panoptic"
    roots = [own] + ([Path(project.store)] if "://" not in project.store else [])
    seen: set[Path] = set()
    found = []
    for root in roots:
        for path in _files(root):
            allowed = f"{_TABLE}.lance" in path.parts or "certificates" in path.parts
            if path in seen or allowed:
                continue
            seen.add(path)
            if _holds(path, needles):
                found.append(path.relative_to(root).as_posix())
    return len(seen), sorted(found)


def _outside(project: ProjectFolder, redaction: Redaction, sizes: set[int]) -> list[str]:
    """What people keep in the project's folder that names or holds the images."""
    present = sum(_is_there(project, path) for path in redaction.paths)
    found = []
    if present:
        found.append(
            f"{present} of its files in the images' folder: delete them. As long as they are "
            "there, each refresh reads them, and leaves them out."
        )
    found.append(
        "copies that were made of the project: backups, exports and bundles outside its folder, "
        "and the freed blocks of the disk"
    )
    needles = _needles(redaction)
    for path in _own_files(project):
        named = path.relative_to(project.folder)
        holds = path.suffix == ".zip" and _archive_holds(path, needles)
        if holds or _holds(path, needles) or _is_copy(path, redaction, sizes):
            parts = [redaction.text(part) for part in named.parts]
            found.append(f"the file {Path(*parts)}")
        elif comparable_path(path.name) in {
            comparable_path(Path(name).name) for name in redaction.paths
        }:
            found.append(f"a file of one of its names in the folder {named.parent}")
    return found


def _is_there(project: ProjectFolder, path: str) -> bool:
    return "://" not in project.images and (Path(project.images) / path).is_file()


def _own_files(project: ProjectFolder) -> Iterator[Path]:
    """The people's files in the project's folder, the images' apart."""
    left_out = {project.folder / ".panoptic", Path(project.images)}
    for folder, folders, names in os.walk(project.folder):
        folders[:] = sorted(
            name
            for name in folders
            if Path(folder) / name not in left_out and not name.startswith(".git")
        )
        if Path(folder) in left_out:
            continue
        yield from (Path(folder) / name for name in sorted(names))


def _is_copy(path: Path, redaction: Redaction, sizes: set[int]) -> bool:
    try:
        if path.stat().st_size not in sizes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() in redaction.image_ids
    except OSError:
        return False


def _archive_holds(path: Path, needles: Sequence[bytes]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as part:
                    if _stream_holds(part, needles):
                        return True
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return False
    return False
