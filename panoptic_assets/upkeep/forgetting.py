"""Forgetting images: taking them out of everything that the program keeps, and saying so.

Belongs here: the order of the work, so that a crash at any moment can be completed, and the
certificate. Does not belong here: what a text is without an image (``upkeep.redaction``), how a
table loses its older versions (``resources.lance``), and Dagster's database
(``orchestration.history``).

1. The tombstones come first, in one commit: from then on no refresh takes the images in. Until all
   is done they also hold what must be known to complete the work, such as the paths.
2. The tables of the store, with their older versions; the reports; the previews; what is kept of
   servers' answers and packed archives; Dagster's events.
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
import re
import shutil
import zipfile
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, AnyStr
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
from panoptic_assets.spec.text import some
from panoptic_assets.upkeep.redaction import Redaction, without_images
from resources.archive_folder import is_archive
from resources.download_folder import remove_downloads
from resources.errors import InputError
from resources.lance import LanceStore, one_of, quoted
from resources.page_paths import file_of, page_id, page_number
from resources.preview_folder import PreviewFolder
from resources.project_folder import ProjectFolder, write_file
from resources.report_folder import ReportFolder, thumbnail_path
from resources.schemas import SCHEMAS, neighbors_table
from resources.source import ImageSource

_TABLE = "forgotten"
_LARGEST_FILE = 2**30
"""Bytes of a file of the people's, or of a part of an archive, that is searched for an image."""
_BLOCK = 2**22
_PAGE = r"\\?(?:#|%23)page\\?(?:=|%3D)[0-9]"
"""What follows a file's path in that of a page, as pages, scripts and addresses write it."""
_PAGE_BYTES = 20
_PAGES_SHOWN = 10


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
    other_pages: str = ""
    """Of its files; empty if there are none."""


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
    left = _pages_left(store, targets)
    named = {target.image_id: _named(target, left) for target in targets}
    redaction = Redaction(named, [path for paths in named.values() for path in paths], images)
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
                paths=named[target.image_id],
                since=target.since,
                nb_bytes=target.nb_bytes,
                found=found,
                other_pages=_other_pages(target, left),
            ).model_dump_json(),
        }
        for target in targets
    ]
    store.upsert(_TABLE, pa.Table.from_pylist(rows, schema=SCHEMAS[_TABLE]))


@dataclass
class _PagesLeft:
    """The pages of one file that are not forgotten."""

    images: dict[int, str]
    """By number; empty for one in quarantine."""
    nb_others: int
    """That are no images of the corpus."""


def _pages_left(store: LanceStore, targets: Sequence[Target]) -> dict[str, _PagesLeft]:
    """For each file of some images the pages of it that stay."""
    gone = {path for target in targets for path in target.paths}
    files = {file_of(path) for path in gone}
    left = {file: _PagesLeft({}, 0) for file in files}
    pages: dict[str, int] = {}
    nb_known: Counter[str] = Counter()
    for row in store.read("files", ["path", "image_id", "nb_pages"]).to_pylist():
        path, file = row["path"], file_of(row["path"])
        if file in files:
            nb_known[file] += 1
            pages[file] = max(pages.get(file, 1), row["nb_pages"] or 1)
            if path not in gone:
                left[file].images[page_number(path)] = row["image_id"] or ""
    for file, nb_pages in pages.items():
        left[file].nb_others = max(0, nb_pages - nb_known[file])
    return left


def _named(target: Target, left: dict[str, _PagesLeft]) -> list[str]:
    """The paths by which texts may name an image: a file's too, if no other page of it stays."""
    files = {file_of(path) for path in target.paths}
    return sorted({*target.paths, *(file for file in files if not left[file].images)})


def _other_pages(target: Target, left: dict[str, _PagesLeft]) -> str:
    """What else the files of an image show, without their names; empty if nothing."""
    images: dict[int, str] = {}
    nb_others = 0
    for path in target.paths:
        found = left[file_of(path)]
        images |= found.images
        nb_others = max(nb_others, found.nb_others)
    parts = [
        f"page {page} (image {image_id[:12]})" if image_id else f"page {page} (in quarantine)"
        for page, image_id in sorted(images.items())
    ]
    told = [some(parts, _PAGES_SHOWN)] if parts else []
    if nb_others:
        pages = "page that is no image" if nb_others == 1 else "pages that are no images"
        told.append(
            f"{nb_others:,} {pages} of the corpus now (with `pages: all` each that was not "
            "forgotten is one)"
        )
    if not told:
        return ""
    return (
        f"other pages of the file of {target.image_id[:12]}, which may show more of the same: "
        f"{'; '.join(told)}"
    )


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
        remove_downloads(project.downloads, _shows_one(redaction), redaction.paths)
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
            outside=_outside(project, redaction, states),
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
    names = [] if schema is None else schema.names
    parts = [_where(redaction)] if "image_id" in names else []
    if "path" in names and redaction.paths:
        parts.append(one_of("path", sorted(redaction.paths)))
    return " OR ".join(parts) or "false"


def _tables(store: LanceStore) -> tuple[list[str], list[str]]:
    """The tables with a row for an image or a file, and the others; but not the tombstones."""
    by_image: list[str] = []
    others: list[str] = []
    for table in sorted(store.tables()):
        schema = store.schema_of(table)
        if table != _TABLE and schema is not None:
            is_erased = not {"image_id", "path"}.isdisjoint(schema.names)
            (by_image if is_erased else others).append(table)
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
        elif table == "inventory":  # whose lines tell of images by names of any form
            known = json.loads(row["content"])
            if known["unmatched"] or known["findings"]:
                known |= {"unmatched": [], "findings": [], "stamp": ""}
                new["content"] = json.dumps(redaction.data(known), ensure_ascii=False)
        elif table == "questions":
            said = redaction.data(json.loads(row["message"]))
            new["message"] = json.dumps(said, ensure_ascii=False)
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
    return lambda text: _is_in(text, needles, re.compile(_PAGE), len(text))


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
    page = re.compile(_PAGE.encode())
    overlap = max(map(len, needles)) + _PAGE_BYTES
    text = b""
    read = 0
    while (block := file.read(_BLOCK)) and read <= _LARGEST_FILE:
        text = text[-overlap:] + block
        # What follows a needle at the end is in the next block.
        if _is_in(text, needles, page, len(text) - _PAGE_BYTES):
            return True
        read += len(block)
    return _is_in(text[-overlap:], needles, page, overlap)


def _is_in(text: AnyStr, needles: Sequence[AnyStr], page: re.Pattern[AnyStr], most: int) -> bool:
    """Whether a text has one of the needles, but not as the beginning of another page's path.

    Args:
        text: The text.
        needles: What is looked for.
        page: :data:`_PAGE`.
        most: Only needles that end here or before count.
    """
    for needle in needles:
        end, is_page = 0, page.search(needle) is not None
        while (at := text.find(needle, end)) >= 0:
            end = at + len(needle)
            is_another = page.match(text, end) or (is_page and text[end : end + 1].isdigit())
            if end <= most and not is_another:
                return True
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


def _outside(
    project: ProjectFolder, redaction: Redaction, states: Sequence[Unfinished]
) -> list[str]:
    """What is not the program's to remove: where the images came from, and people's own files."""
    found = [*_at_the_source(project, redaction)]
    found += filter(None, dict.fromkeys(state.other_pages for state in states))
    found.append(
        "copies that were made of the project: backups, exports and bundles outside its folder, "
        "and the freed blocks of the disk"
    )
    needles, shows = _needles(redaction), _shows_one(redaction)
    names = {comparable_path(Path(file_of(path)).name) for path in redaction.paths}
    sizes = {state.nb_bytes for state in states}
    for path in _own_files(project):
        named = path.relative_to(project.folder)
        holds = path.suffix == ".zip" and _archive_holds(path, needles)
        if holds or _holds(path, needles) or _is_copy(path, shows, sizes):
            parts = [redaction.text(part) for part in named.parts]
            found.append(f"the file {Path(*parts)}")
        elif comparable_path(path.name) in names:
            found.append(f"a file of one of its names in the folder {named.parent}")
    return found


def _at_the_source(project: ProjectFolder, redaction: Redaction) -> Iterator[str]:
    """What the images came from, if it may hold them still."""
    from resources.iiif_folder import manifest_address

    root = project.images
    if manifest_address(root):
        yield (
            "the manifest that the images come from, if it names it still: each refresh asks for "
            "it, leaves it out, and keeps it in .panoptic/downloads with what the manifest says. "
            "Exclude its path in .panoptic/project.yaml, and it is not asked for."
        )
    elif "://" in root:
        yield (
            f"what {ImageSource(root=root).place} still holds of it: delete it there. As long as "
            "it is there, each refresh reads it, and leaves it out."
        )
    elif is_archive(Path(root)):
        yield (
            f"the archive {redaction.text(Path(root).name)}, if it holds it still: pack it anew "
            "without it. Until then each refresh reads it, and leaves it out; one that is packed "
            "as a whole is unpacked again in .panoptic/downloads."
        )
    else:
        files = {file_of(path) for path in redaction.paths}
        if present := sum((Path(root) / file).is_file() for file in files):
            yield (
                f"{present} of its files in the images' folder: delete them. As long as they are "
                "there, each refresh reads them, and leaves them out."
            )


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
        yield from (path for name in sorted(names) if (path := Path(folder) / name) not in left_out)


def _shows_one(redaction: Redaction) -> Callable[[str], bool]:
    """What tells, by the SHA-256 of a file, whether a page of it is one of the images."""
    pages = {1, *map(page_number, redaction.paths)}
    return lambda sha256: any(page_id(sha256, page) in redaction.image_ids for page in pages)


def _is_copy(path: Path, shows: Callable[[str], bool], sizes: set[int]) -> bool:
    try:
        if path.stat().st_size not in sizes:
            return False
        with path.open("rb") as file:
            return shows(hashlib.file_digest(file, "sha256").hexdigest())
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
