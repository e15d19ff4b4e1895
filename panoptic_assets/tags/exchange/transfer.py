"""Tags to and from files of other programs.

Belongs here: opening, reading and writing those files whole or not at all, and the refusals. Does
not belong here: what stands in them (``tags.exchange.formats``), and what an import means for the
tags (``spec.tag_log``).

Long because the formats share how files are written whole or not at all.
"""

import io
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus import inventory
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.edits import EditError
from panoptic_assets.tags.exchange import formats
from panoptic_assets.tags.exchange.folders import FolderNames, folders
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, Mode, Said
from panoptic_assets.tags.saving import author_of, saved
from panoptic_assets.tags.table import append_events, read_log
from resources.errors import InputError, UnreadableImage, message
from resources.lance import LanceStore
from resources.page_paths import file_name, page_number
from resources.source import ImageSource

Format = Literal["csv", "parquet", "json", "panoptic", "fiftyone", "folders"]
FORMATS: tuple[Format, ...] = get_args(Format)

MAX_JSON = 2**30
"""Bytes of a document that is imported; 100,000 images with three tags each take 25 MB."""
SHOWN = 5
"""Names of images in a message."""

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".json": "json"}
_ROWS = 16_384
"""Of Parquet, written or read at a time."""
_SCHEMA = pa.schema(
    [(name, pa.int64() if name == "event" else pa.string()) for name in formats.COLUMNS]
)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    destination: Path
    format: Format
    nb_images: int
    nb_tags: int
    nb_without_file: int
    """Images none of whose files is there: left out of all formats but csv, parquet and json."""
    unreadable: tuple[str, ...]
    """Paths of files that could not be had when they were to be linked or copied."""


def saved_tags(store: LanceStore, property_name: str | None = None) -> tag_log.TagTables:
    """The tags of a property, or of all, as the log has them.

    Raises:
        InputError: There is no such property, or no tag at all.
    """
    tables = tag_log.replay([entry.event for entry in read_log(store)])
    if property_name is not None:
        wanted = normalised(property_name)
        chosen = [name for name in tables.properties if normalised(name) == wanted]
        if not chosen:
            listed = ", ".join(tables.properties) or message("none yet", id="none-yet")
            raise InputError(
                "There is no property {property!r}. Existing ones: {known}.",
                id="no-such-property",
                property=wanted,
                known=listed,
            )
        tags = [tag for tag in tables.tags if tag.property in chosen]
        ids = {tag.tag_id for tag in tags}
        images = {pair: event for pair, event in tables.images.items() if pair[0] in ids}
        tables = replace(tables, tags=tags, images=images, properties=chosen)
    if not tables.tags:
        raise InputError(
            "There are no tags to export: save a run (`panoptic-assets save KEY`), or export one "
            "as it is (`--run KEY`).",
            id="no-tags-to-export",
        )
    return tables


def run_tags(store: LanceStore, run_key: str) -> tag_log.TagTables:
    """What saving a run would make: the tags of a property of the run's name.

    Raises:
        InputError: There is no such run.
    """
    clusterings = Clusterings(store, parse_run_key(run_key))
    tables = tag_log.replay([saved(store, clusterings, run_key, run_key)])
    return replace(tables, images=dict.fromkeys(tables.images, 0))  # no event gave them


def export(
    store: LanceStore,
    source: ImageSource,
    tables: tag_log.TagTables,
    destination: Path,
    format: Format | None = None,
    overwrite: bool = False,
    copy: bool = False,
    with_property: bool = True,
) -> Exported:
    """Write tags to a file, or a tree of folders: all of it, or nothing.

    Args:
        store: Where the files of images are known.
        source: Where the files are, for ``folders`` and ``fiftyone``.
        tables: The tags.
        destination: The file; for ``folders`` a folder that is empty or not there yet.
        format: By default, what the destination's suffix says.
        overwrite: Whether a file that is there is replaced.
        copy: Whether ``folders`` holds copies rather than symbolic links. A later page of a file
            is written as a picture of its own either way.
        with_property: Whether ``folders`` begins with a folder for each property.

    Raises:
        InputError: The format is not known, the destination cannot be written, or the tags cannot
            be written in this format. Nothing is written then.
    """
    chosen = format or _format(destination)
    if copy and chosen != "folders":
        raise InputError(
            "The format {chosen} holds no images: leave --copy out.",
            id="format-without-images",
            chosen=chosen,
        )
    _check_destination(destination, chosen, overwrite, source)
    labelled = Labelled(tables, present_files(store))
    unreadable: list[str] = []
    if chosen == "folders":
        unreadable = _write_folders(labelled, source, destination, copy, with_property)
    elif chosen == "parquet":
        with drafted(destination, overwrite) as draft:
            _write_parquet(labelled, draft)
    else:
        write = {
            "csv": formats.write_csv,
            "panoptic": formats.write_panoptic,
            "json": _write_json,
            "fiftyone": _fiftyone_writer(source),
        }[chosen]
        with drafted(destination, overwrite) as draft:
            try:
                with draft.open("w", encoding="utf-8", newline="") as file:
                    write(labelled, file)
            except ExchangeError as error:
                raise InputError.of(error) from error
    images = {image_id for _, image_id in tables.images}
    return Exported(
        destination,
        chosen,
        len(images),
        len(tables.tags),
        len(images - labelled.files.keys()),
        tuple(unreadable),
    )


def _format(destination: Path) -> Format:
    found = _SUFFIXES.get(destination.suffix.lower())
    if found is None:
        raise InputError(
            "The name {name!r} does not say which format is wanted: end it in {suffixes}, or name "
            "the format (--format): {formats}.",
            id="export-format-unclear",
            name=destination.name,
            suffixes=", ".join(_SUFFIXES),
            formats=", ".join(FORMATS),
        )
    return found


def _check_destination(
    destination: Path, chosen: Format, overwrite: bool, source: ImageSource
) -> None:
    if chosen != "folders":
        check_file(destination, overwrite)
        return
    _check_place(destination)
    # A link counts: what it leads to is not ours to fill.
    taken = destination.is_symlink() or (destination.exists() and not destination.is_dir())
    if taken or (destination.is_dir() and any(destination.iterdir())):
        raise InputError(
            "{destination} is not an empty folder: choose another one, which need not exist.",
            id="export-folder-not-empty",
            destination=destination,
        )
    root = source.local_root
    if root is not None and destination.resolve().is_relative_to(root):
        raise InputError(
            "{destination} lies in the folder of images, whose next refresh would take what "
            "is written for new files: choose a folder outside of it.",
            id="export-into-images",
            destination=destination,
        )


def check_file(destination: Path, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before the work for it is done.

    Raises:
        InputError: It is a folder, lies in none, or is there already.
    """
    _check_place(destination)
    if destination.is_dir():
        raise InputError(
            "{destination} is a folder: give the name of a file.",
            id="export-to-folder",
            destination=destination,
        )
    if not overwrite and (destination.exists() or destination.is_symlink()):
        raise InputError(
            "{destination} exists already: choose another name, or allow to replace it "
            "(--replace).",
            id="export-exists",
            destination=destination,
        )


def _check_place(destination: Path) -> None:
    if not destination.name or destination.resolve() == Path.cwd():
        raise InputError(
            "{destination} is the working directory, or no name at all: name a folder or file in "
            "it.",
            id="export-to-working-directory",
            destination=destination,
        )
    if not destination.absolute().parent.is_dir():
        raise InputError(
            "There is no folder {folder}: create it first.",
            id="export-folder-missing",
            folder=destination.absolute().parent,
        )


@contextmanager
def drafted(destination: Path, overwrite: bool) -> Iterator[Path]:
    """A file beside the destination, which takes its place once it is whole."""
    draft = _draft_beside(destination)
    try:
        yield draft
        if destination.exists() and not overwrite:
            raise InputError(
                "{destination} was made by someone else meanwhile: try again.",
                id="export-overtaken",
                destination=destination,
            )
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)


def _draft_beside(destination: Path) -> Path:
    # Not the destination's name with something added: that may be too long for a name.
    return destination.with_name(f".export-{uuid.uuid4().hex}.draft")


def _write_parquet(labelled: Labelled, draft: Path) -> None:
    with pq.ParquetWriter(draft, _SCHEMA) as writer:
        waiting: list[tuple[Any, ...]] = []

        def flush() -> None:
            columns = [list(column) for column in zip(*waiting, strict=True)]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))
            waiting.clear()

        for row in formats.rows(labelled):
            waiting.append(row)
            if len(waiting) == _ROWS:
                flush()
        if waiting:
            flush()


def _write_json(labelled: Labelled, file: TextIO) -> None:
    parts = formats.document(labelled)
    _write_document(file, formats.document_head(), parts)


def _fiftyone_writer(source: ImageSource) -> Callable[[Labelled, TextIO], None]:
    root = source.local_root

    def write(labelled: Labelled, file: TextIO) -> None:
        samples = formats.samples(labelled, lambda path: path if root is None else f"{root}/{path}")
        _write_document(file, {}, iter([("samples", samples)]))

    return write


def _write_document(file: TextIO, head: dict[str, Any], parts: Iterator[tuple[str, Any]]) -> None:
    """A JSON document, one line for each entry of a part."""
    fields = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    file.write("{\n" + "".join(f"{field},\n" for field in fields))
    for number, (name, entries) in enumerate(parts):
        file.write((",\n" if number else "") + f"{json.dumps(name)}: [")
        for place, entry in enumerate(entries):
            file.write((",\n" if place else "\n") + json.dumps(entry, ensure_ascii=False))
        file.write("\n]")
    file.write("\n}\n")


def _write_folders(
    labelled: Labelled, source: ImageSource, destination: Path, copy: bool, with_property: bool
) -> list[str]:
    root = None if copy else source.local_root
    names = FolderNames()
    places = folders(labelled.tables.tags, names, with_property)
    unreadable = []
    draft = _draft_beside(destination)
    draft.mkdir()
    try:
        for folder in places.values():
            draft.joinpath(*folder).mkdir(parents=True)
        for image_id, tags in labelled:
            # The first of its files that can be had: they all hold the same.
            for path in labelled.files.get(image_id, ()):
                try:
                    into = [(draft, places[tag.tag_id]) for tag in tags]
                    if page_number(path) > 1:
                        _put_page(source, path, image_id, into, names)
                    else:
                        _put(source, root, path, into, names)
                    break
                except UnreadableImage:
                    unreadable.append(path)
        with suppress(OSError):  # Windows renames over no folder, not even an empty one
            destination.rmdir()
        draft.replace(destination)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return unreadable


def _put(
    source: ImageSource,
    root: Path | None,
    path: str,
    places: list[tuple[Path, tuple[str, ...]]],
    names: FolderNames,
) -> None:
    """Link a file, or copy it where ``root`` is None, into some folders."""
    data = b""
    if root is None:
        data = source.read(path)
    elif not (root / path).is_file():
        raise UnreadableImage("the file is gone")
    for draft, folder in places:
        target = draft.joinpath(*folder, names.free(folder, path.rpartition("/")[2]))
        if root is None:
            target.write_bytes(data)
            continue
        try:
            target.symlink_to(root / path)
        except OSError as error:
            raise InputError(
                "No symbolic link can be made below {folder} ({reason}): ask for copies (--copy).",
                id="no-symbolic-link",
                folder=draft.parent,
                reason=error.strerror,
            ) from error


def _put_page(
    source: ImageSource,
    path: str,
    image_id: str,
    places: list[tuple[Path, tuple[str, ...]]],
    names: FolderNames,
) -> None:
    """Write a later page of a file as a PNG of its own, in full size, into some folders.

    Where links are asked for, too: a link could only lead to the whole file, of which every program
    shows the first page; and copies of a booklet of 300 pages would be 300 booklets.
    """
    page = source.picture(path, image_id).rgb
    page.info = {}  # Pillow would write the original's profile, which no longer is its own
    file = io.BytesIO()
    # 12 megapixels: 1.2 s and 22 MB, at the default level 3.0 s and 19 MB.
    page.save(file, "PNG", compress_level=1)
    name = f"{PurePosixPath(file_name(path)).stem}.png"
    for draft, folder in places:
        draft.joinpath(*folder, names.free(folder, name)).write_bytes(file.getvalue())


@dataclass(frozen=True)
class ImportedChange:
    """What an import does to one property."""

    property: str
    nb_new_tags: int
    nb_images: int
    """That get a tag."""
    nb_pairs: int
    """Of an image and a tag."""


@dataclass(frozen=True)
class Imported:
    """What an import did, or would do."""

    changes: tuple[ImportedChange, ...]
    """Properties that stay as they are, are left out."""
    nb_images: int
    """Of the file that are in the corpus."""
    nb_unknown: int
    unknown: tuple[str, ...]
    """The first ones of the file that are not, by path, or by id where there is none."""
    notes: tuple[str, ...]
    """What a person must know, one sentence each."""


def import_tags(
    store: LanceStore,
    file: Path,
    config: EditsConfig,
    folder: str = "",
    property_name: str | None = None,
    mode: Mode = "add",
    check: bool = False,
) -> Imported:
    """Append what a file says about tags to the log: one event for each property, or nothing.

    Args:
        store: The store.
        file: ``.csv``, ``.json`` or ``.parquet``: what :func:`export` wrote in these formats or as
            ``panoptic``, or Panoptic's own export by path.
        config: Who imports, and why.
        folder: Where the images' folder is, for whole paths.
        property_name: Only this property of the file.
        mode: See :func:`panoptic_assets.tags.exchange.formats.events`.
        check: Whether only to look.

    Raises:
        InputError: The file cannot be read, or names no image of the corpus, or has a name that no
            tag can have. Nothing is appended then.
    """
    content = _read(file, property_name)
    image_ids, notes = _image_ids(store, folder, content)
    unknown = [
        (image.paths or (image.image_id,))[0]
        for image, image_id in zip(content.images, image_ids, strict=True)
        if image_id is None
    ]
    if content.images and len(unknown) == len(content.images):
        raise InputError(
            "None of the {nb_images:,} images of {file} is in the corpus: the first one is "
            "{first!r}. Name them by id, or by path below the images' folder, and refresh before.",
            id="no-imported-image-known",
            nb_images=len(unknown),
            file=file,
            first=unknown[0],
        )
    record_ids = store.read("records", ["record_id"])["record_id"].to_pylist()
    while True:
        log = read_log(store)
        state = tag_log.replayed([entry.event for entry in log])
        try:
            events = formats.events(content, image_ids, state, mode, record_ids)
        except EditError as error:
            raise InputError(
                "{file}: {reason}", id="file-not-imported", file=file, reason=error
            ) from error
        # Another process may have appended meanwhile: then the events follow from what is there.
        if (
            check
            or not events
            or append_events(store, log, events, author_of(config), config.reason)
        ):
            break
    changes = [
        ImportedChange(
            event.property,
            len(event.tags),
            len({image_id for _, image_id in event.images}),
            len(event.images),
        )
        for event in events
    ]
    nb_known = len({image_id for image_id in image_ids if image_id})
    return Imported(tuple(changes), nb_known, len(unknown), tuple(unknown[:SHOWN]), tuple(notes))


def _read(file: Path, property_name: str | None) -> Said:
    # Opening a FIFO would wait for ever.
    if not file.is_file():
        raise InputError(
            "There is no file {file}: correct the path.", id="no-file-to-import", file=file
        )
    kind = _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise InputError(
            "The name {name!r} does not say what the file is: end it in {suffixes}.",
            id="import-format-unclear",
            name=file.name,
            suffixes=", ".join(_SUFFIXES),
        )
    try:
        if kind == "csv":
            with file.open("rb") as stream:
                found = formats.read_csv(stream)
        elif kind == "json":
            if file.stat().st_size > MAX_JSON:
                raise InputError(
                    "{file} is larger than {gigabytes} GB: use Parquet.",
                    id="import-file-too-large",
                    file=file,
                    gigabytes=MAX_JSON // 2**30,
                )
            found = formats.read_json(file.read_bytes())
        else:
            found = formats.said(_parquet_rows(file))
        return found if property_name is None else found.only(property_name)
    except ExchangeError as error:
        raise InputError(
            "{file}: {reason}", id="file-not-imported", file=file, reason=error
        ) from error


def _parquet_rows(file: Path) -> Iterator[tuple[str, str, str, str]]:
    columns = ["image_id", "path", "property", "tag"]
    try:
        with pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            strings = {
                f.name
                for f in table.schema_arrow
                if f.type in (pa.string(), pa.large_string()) and names.count(f.name) == 1
            }
            if missing := set(columns) - strings:
                raise ExchangeError(
                    "It has no column {columns} of texts: import what `panoptic-assets export` "
                    "wrote.",
                    id="parquet-columns-missing",
                    columns=" or ".join(sorted(missing)),
                )
            for batch in table.iter_batches(_ROWS, columns=columns):
                values = (batch[name].to_pylist() for name in columns)
                for row in zip(*values, strict=True):
                    image_id, path, name, tag = (value or "" for value in row)
                    yield image_id, path, name, tag
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ExchangeError("It is no Parquet file: export it anew.", id="not-parquet") from error


def _image_ids(store: LanceStore, folder: str, content: Said) -> tuple[list[str | None], list[str]]:
    """For each image of a file its id, by path where the file's id is not known; and notes."""
    names = image_names(store, folder)
    files = inventory.Corpus(present_files(store), folder)

    def by_path(path: str) -> str | None:
        if found := names.find_as_written(path, refuse=False):
            return found
        candidates, other_case = files.find(path)
        if len(candidates) == 1 and not other_case:
            return files.images[candidates[0]]
        if found := names.find_in_any_case(path, refuse=False):
            return found
        if len(candidates) == 1:
            names.note_case(path, candidates[0])
            return files.images[candidates[0]]
        return None

    def find(image: formats.ImageName) -> str | None:
        if image.image_id in names.ids:
            return image.image_id
        # Only then the beginning of an id: other programs' own ids may look like one.
        found = next(filter(None, map(by_path, image.paths)), None)
        return (
            found or (names.find(image.image_id, refuse=False) if image.image_id else None) or None
        )

    return [find(image) for image in content.images], names.notes
