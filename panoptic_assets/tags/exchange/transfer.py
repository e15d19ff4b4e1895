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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.table import present_files
from panoptic_assets.spec import tables, tag_log
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.reporting import Reporter
from panoptic_assets.spec.tag_log import normalised
from panoptic_assets.spec.text import beginning, cut
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.edits import EditError
from panoptic_assets.tags.exchange import (
    fiftyone_samples,
    formats,
    panoptic_csv,
)
from panoptic_assets.tags.exchange.csv_tables import read_csv
from panoptic_assets.tags.exchange.folders import FolderNames, folders
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, Mode, Said
from panoptic_assets.tags.exchange.identified import Identified, identify
from panoptic_assets.tags.exchange.image_files import write_images
from panoptic_assets.tags.exchange.image_parquet import ChosenColumns, holds_tags, read_tag_rows
from panoptic_assets.tags.exchange.tag_document import document, document_head, read_json
from panoptic_assets.tags.saving import author_of, saved
from panoptic_assets.tags.table import append_events, read_log
from resources.errors import InputError, UnreadableImage, message, noted
from resources.fiftyone_files import is_export
from resources.lance import LanceStore
from resources.page_paths import file_name, page_number
from resources.source import ImageSource

Format = Literal[
    "csv", "parquet", "json", "panoptic", "fiftyone", "folders", "images", "omeka", "tropy"
]
FORMATS: tuple[Format, ...] = get_args(Format)
OF_IMAGES: tuple[Format, ...] = ("images", "omeka", "tropy")
"""Those that tell of all images, whether they have tags or not."""

MAX_JSON = 2**30
"""Bytes of a document that is imported; 100,000 images with three tags each take 25 MB."""
SHOWN = 5
"""Names of images in a message."""

_SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".json": "json"}
_LARGEST_LIST = 2**26
"""Bytes of a list of tags; one of 100,000 takes 3 MB."""
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
    beside: tuple[Path, ...] = ()
    """Files that go with it: Panoptic's lists of tags."""
    notes: tuple[str, ...] = ()
    """What the format cannot hold, one sentence each."""


def saved_tags(
    store: LanceStore, property_name: str | None = None, needed: bool = True
) -> tag_log.TagTables:
    """The tags of a property, or of all, as the log has them.

    Args:
        store: The store.
        property_name: The property; all by default.
        needed: Whether there must be some.

    Raises:
        InputError: There is no such property, or no tag where some are needed.
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
    if needed and not tables.tags:
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
    columns: ChosenColumns | None = None,
    title: str | None = None,
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
        columns: What ``images`` tells beside tags and the inventory.
        title: The inventory's property that ``omeka`` and ``tropy`` call images by.

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
    _check_options(chosen, columns or ChosenColumns(), title)
    _check_destination(destination, chosen, overwrite, source)
    labelled = Labelled(tables, present_files(store))
    unreadable: list[str] = []
    lists: dict[Path, panoptic_csv.TagList] = {}
    earlier: list[Path] = []
    if chosen == "panoptic":
        lists, earlier = _tag_lists(labelled, destination, overwrite)
    nb_images: int | None = None
    if chosen in OF_IMAGES:
        with drafted(destination, overwrite) as draft:
            nb_images = write_images(
                chosen, labelled, store, source, columns or ChosenColumns(), title, draft
            )
    elif chosen == "folders":
        unreadable = _write_folders(labelled, source, destination, copy, with_property)
    elif chosen == "parquet":
        with drafted(destination, overwrite) as draft:
            _write_parquet(labelled, draft)
    else:
        write = {
            "csv": formats.write_csv,
            "panoptic": _panoptic_writer(source),
            "json": _write_json,
            "fiftyone": _fiftyone_writer(source),
        }[chosen]
        with ExitStack() as drafts:
            for place, tags in lists.items():
                listed = drafts.enter_context(drafted(place, overwrite))
                with listed.open("w", encoding="utf-8", newline="") as file:
                    panoptic_csv.write_tag_list(tags, file)
            draft = drafts.enter_context(drafted(destination, overwrite))
            try:
                with draft.open("w", encoding="utf-8", newline="") as file:
                    write(labelled, file)
            except ExchangeError as error:
                raise InputError.of(error) from error
        for place in earlier:
            place.unlink(missing_ok=True)
    images = {image_id for _, image_id in tables.images}
    return Exported(
        destination,
        chosen,
        len(images) if nb_images is None else nb_images,
        len(tables.tags),
        len(images - labelled.files.keys()),
        tuple(unreadable),
        tuple(lists),
        tuple(_panoptic_notes(labelled, lists.values(), earlier)) if chosen == "panoptic" else (),
    )


def _panoptic_notes(
    labelled: Labelled, lists: Iterable[panoptic_csv.TagList], earlier: list[Path]
) -> Iterator[str]:
    for tags in lists:
        if tags.nb_without_parent:
            yield noted(
                "Tags of {name} below one with a comma in its name, which Panoptic takes for two: "
                "{count:,}. They stand at the root there, called by their whole path.",
                name=tags.property,
                count=tags.nb_without_parent,
            )
    called = panoptic_csv.headers(labelled.tables.tags)
    if renamed := [f"{name} → {header}" for name, header in called.items() if name != header]:
        yield noted("Properties called otherwise there: {names}.", names=beginning(renamed, SHOWN))
    if earlier:
        yield noted(
            "Lists of tags of an earlier export to this place, removed: {names}.",
            names=beginning([place.name for place in earlier], SHOWN),
        )


def _tag_lists(
    labelled: Labelled, destination: Path, overwrite: bool
) -> tuple[dict[Path, panoptic_csv.TagList], list[Path]]:
    """Panoptic's lists of tags by the files that they are to become beside the CSV, and those
    files of properties that need none which would be read for theirs.
    """
    called = panoptic_csv.headers(labelled.tables.tags).values()
    places = panoptic_csv.tag_list_places(destination, called)
    for place in places.values():
        check_file(place, overwrite)
    found = {places[tags.property]: tags for tags in panoptic_csv.tag_lists(labelled)}
    return found, [place for place in places.values() if place not in found and place.exists()]


def _check_options(chosen: Format, columns: ChosenColumns, title: str | None) -> None:
    options = {
        "--projection": (columns.projection is not None, ("images",)),
        "--vector-type": (columns.vector_type is not None, ("images",)),
        "--thumbnails": (columns.thumbnails, ("images",)),
        "--title": (title is not None, ("omeka", "tropy")),
    }
    for name, (is_given, takers) in options.items():
        if is_given and chosen not in takers:
            raise InputError(
                "{option} goes with --format {takers}, and this is {chosen}: leave it out, or "
                "choose that format.",
                id="option-of-another-format",
                option=name,
                takers=" or ".join(takers),
                chosen=chosen,
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


def _check_suffix(destination: Path, chosen: Format) -> None:
    """Refuse a name that every program would take for another kind of file."""
    suffix = destination.suffix.lower()
    own = {"json": ".json", "fiftyone": ".json", "parquet": ".parquet", "images": ".parquet"}
    wanted = own.get(chosen, ".csv")
    if suffix in tables.SUFFIXES.union(_SUFFIXES) and suffix != wanted:
        raise InputError(
            "The name {name!r} says another kind of file than --format {chosen} writes: end it in "
            "{suffix}.",
            id="export-suffix-of-another-format",
            name=destination.name,
            chosen=chosen,
            suffix=wanted,
        )


def _check_destination(
    destination: Path, chosen: Format, overwrite: bool, source: ImageSource
) -> None:
    if chosen != "folders":
        _check_suffix(destination, chosen)
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
    _write_document(file, document_head(), document(labelled))


def _panoptic_writer(source: ImageSource) -> Callable[[Labelled, TextIO], None]:
    root = source.local_root

    def write(labelled: Labelled, file: TextIO) -> None:
        panoptic_csv.write_panoptic(labelled, file, "" if root is None else root.name)

    return write


def _fiftyone_writer(source: ImageSource) -> Callable[[Labelled, TextIO], None]:
    root = source.local_root

    def write(labelled: Labelled, file: TextIO) -> None:
        entries = fiftyone_samples.samples(
            labelled, lambda path: path if root is None else f"{root}/{path}"
        )
        head = {"color_scheme": fiftyone_samples.tag_color_scheme(labelled)}
        _write_document(file, head, iter([("samples", entries)]))

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
    nb_refused: int = 0
    """Of an image and a tag that is refused for it, as our own document says."""


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
    nb_ambiguous: int = 0
    """Names of the file that fit several images, whose tags nobody got."""
    ambiguous: tuple[str, ...] = ()
    """The first of them."""


def import_tags(
    store: LanceStore,
    file: Path,
    config: EditsConfig,
    folder: str = "",
    property_name: str | None = None,
    mode: Mode = "add",
    check: bool = False,
    source: ImageSource | None = None,
    reporter: Reporter | None = None,
) -> Imported:
    """Append what a file says about tags to the log: one event for each property, or nothing.

    Args:
        store: The store.
        file: ``.csv``, ``.json`` or ``.parquet``: what :func:`export` wrote in these formats or as
            ``panoptic``, ``fiftyone`` or ``images``, or Panoptic's or FiftyOne's own export; of a
            FiftyOneDataset the folder, too.
        config: Who imports, and why.
        folder: Where the images' folder is, for whole paths.
        property_name: Only this property of the file.
        mode: See :func:`panoptic_assets.tags.exchange.formats.events`.
        check: Whether only to look.
        source: Where files are hashed, if the file names images by their SHA-1.
        reporter: Is shown how far the hashing is.

    Raises:
        InputError: The file cannot be read, or names no image of the corpus, or has a name that no
            tag can have. Nothing is appended then.
    """
    content = _read(file, property_name)
    return append(store, file, content, config, folder, mode, check, source, reporter)


def append(
    store: LanceStore,
    file: Path,
    content: Said,
    config: EditsConfig,
    folder: str,
    mode: Mode,
    check: bool,
    source: ImageSource | None = None,
    reporter: Reporter | None = None,
    known: Identified | None = None,
) -> Imported:
    """Append what was read of another program's tags; arguments as of :func:`import_tags`.

    Args:
        store: The store.
        file: What was read, for messages.
        content: What it says.
        config: Who imports, and why.
        folder: Where the images' folder is, for whole paths.
        mode: See :func:`panoptic_assets.tags.exchange.formats.events`.
        check: Whether only to look.
        source: Where files are hashed.
        reporter: Is shown how far that is.
        known: Which images the content names, where that was found out before.

    Raises:
        InputError: As :func:`import_tags`.
    """
    identified = known or identify(store, folder, content.images, source, reporter)
    image_ids, notes = identified.image_ids, [*content.notes, *identified.notes]
    unknown, ambiguous = identified.unknown, identified.ambiguous
    if ambiguous and not any(image_ids):
        raise InputError(
            "None of the {nb_images:,} images of {file} can be told: {nb_ambiguous:,} of the names "
            "fit several images, the first one {first!r}. Export with more of the path; from "
            "Panoptic, with the properties path or sha1 among the columns.",
            id="imported-images-ambiguous",
            nb_images=len(content.images),
            nb_ambiguous=len(ambiguous),
            file=file,
            first=ambiguous[0],
        )
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
        said, nb_placed = panoptic_csv.placed(content, state) if content.by_name else (content, 0)
        try:
            events = formats.events(said, image_ids, state, mode, record_ids)
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
    by_property: dict[str, list[tag_log.Event]] = defaultdict(list)
    for event in events:
        by_property[event.property].append(event)
    changes = [_change(name, parts) for name, parts in by_property.items()]
    if nb_placed:
        placed = noted("Tags found in the tree by their own names: {count:,}.", count=nb_placed)
        notes = [*notes, placed]
    return Imported(
        tuple(changes),
        len({image_id for image_id in image_ids if image_id}),
        len(unknown),
        tuple(unknown[:SHOWN]),
        tuple(notes),
        len(ambiguous),
        tuple(ambiguous[:SHOWN]),
    )


def _change(property_name: str, events: list[tag_log.Event]) -> ImportedChange:
    given = [pair for event in events if event.kind == "import" for pair in event.images]
    return ImportedChange(
        property_name,
        sum(len(event.tags) for event in events),
        len({image_id for _, image_id in given}),
        len(given),
        sum(len(event.images) for event in events) - len(given),
    )


def _read(file: Path, property_name: str | None) -> Said:
    # Opening a FIFO would wait for ever.
    if not file.is_file() and not is_export(file):
        raise InputError(
            "There is no file {file}: correct the path.", id="no-file-to-import", file=file
        )
    suffix = file.suffix.lower()
    kind = "fiftyone" if is_export(file) else _SUFFIXES.get(suffix)
    if suffix in tables.SUFFIXES:
        kind = "csv"
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
                found = _with_trees(read_csv(stream), file, property_name)
        elif kind == "fiftyone":
            found = _fiftyone_tags(file, property_name)
        elif kind == "json":
            if file.stat().st_size > MAX_JSON:
                raise InputError(
                    "{file} is larger than {gigabytes} GB: use Parquet.",
                    id="import-file-too-large",
                    file=file,
                    gigabytes=MAX_JSON // 2**30,
                )
            found = read_json(file.read_bytes())
        else:
            found = formats.said(_parquet_rows(file))
        return found if property_name is None else found.only(property_name)
    except ExchangeError as error:
        raise InputError(
            "{file}: {reason}", id="file-not-imported", file=file, reason=error
        ) from error


def _fiftyone_tags(file: Path, property_name: str | None) -> Said:
    found = fiftyone_samples.read_samples(file, [property_name] if property_name else [])
    if left_out := [cut(name, 80) for name in (*found.arrays, *found.left_out)]:
        found.said.notes.append(
            noted(
                "Fields that hold no tags stay out: {fields}. `panoptic-assets import-fiftyone` "
                "takes values and vectors, too.",
                fields=beginning(left_out, fiftyone_samples.SHOWN_FIELDS),
            )
        )
    return found.said


def _with_trees(content: Said, file: Path, property_name: str | None) -> Said:
    """What a CSV file says, with the trees that Panoptic's lists of tags beside it tell.

    Our own files and FiftyOne's say them themselves.
    """
    if not content.by_name:
        return content
    used = []
    for name, place in panoptic_csv.tag_list_places(file, content.tags).items():
        is_wanted = property_name is None or normalised(property_name) == name
        if is_wanted and place.is_file() and place.stat().st_size <= _LARGEST_LIST:
            text = place.read_text(encoding="utf-8-sig", errors="replace")
            content = panoptic_csv.with_tree(content, name, panoptic_csv.read_tag_list(text))
            used.append(place.name)
    if used:
        content.notes.append(
            noted(
                "Trees and colours are those of the lists of tags beside the file: {names}.",
                names=beginning(used, SHOWN),
            )
        )
    return content


def _parquet_rows(file: Path) -> Iterator[tuple[str, ...]]:
    columns = ["image_id", "path", "property", "tag"]
    try:
        with pq.ParquetFile(file) as table:
            if holds_tags(table.schema_arrow):
                yield from read_tag_rows(table)
                return
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
            columns += ["tag_id"] if "tag_id" in strings else []
            for batch in table.iter_batches(_ROWS, columns=columns):
                values = (batch[name].to_pylist() for name in columns)
                for row in zip(*values, strict=True):
                    yield tuple(value or "" for value in row)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ExchangeError("It is no Parquet file: export it anew.", id="not-parquet") from error
