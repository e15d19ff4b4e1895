"""The act of reading the images' folder: which images and files there are by now.

Belongs here: which files are read, and committing what they hold in groups. Does not belong here:
what a file holds (``corpus.file_reading``), what became of each (``corpus.manifest``), and what the
inventory says (``corpus.taking_inventory``).
"""

from collections import defaultdict
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import pyarrow as pa

from panoptic_assets.corpus import absence, manifest
from panoptic_assets.corpus.accounting import accounted, in_a_line, write_left_out
from panoptic_assets.corpus.config import ImagesConfig
from panoptic_assets.corpus.file_reading import ReadFile, Reading
from panoptic_assets.corpus.names import comparable_path
from panoptic_assets.corpus.open_questions import note_question
from panoptic_assets.corpus.properties import values_at_stake
from panoptic_assets.corpus.table import (
    forgotten_images,
    paths_of_images,
    read_manifest,
    read_others,
    write_files,
    write_others,
)
from panoptic_assets.corpus.versions import record_version
from panoptic_assets.orchestration.acting import Context, commits
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.records import FIRST_ALGORITHM
from panoptic_assets.spec.resolution import Document, parse
from resources import decoding
from resources.lance import LanceStore
from resources.listing import LeftOut, Listing, SourceFile, compiled
from resources.page_paths import file_of
from resources.parallel import bounded_map
from resources.registry import Registry
from resources.schemas import SCHEMAS
from resources.source import ImageSource


@dataclass(frozen=True)
class KnownFiles:
    """What the images' folder is compared with."""

    files: dict[str, manifest.File]
    """The manifest so far, by path."""
    others: dict[str, manifest.OtherFile]
    """Files that are no images, by path."""

    @classmethod
    def of(cls, store: LanceStore) -> Self:
        """What the last refresh found."""
        return cls(read_manifest(store), read_others(store))

    def outstanding(
        self,
        listing: Listing,
        source: ImageSource,
        registry: Registry,
        config: ImagesConfig,
        forgotten: Container[str],
    ) -> manifest.Pending[SourceFile]:
        """What a refresh has to do.

        Args:
            listing: What is there now.
            source: What it was listed by.
            registry: Says which pages of a file are images.
            config: Says what is read again.
            forgotten: Ids of images that stay out.

        Raises:
            InputError: A pattern cannot be used.
        """
        patterns = compiled(config.reread, "reread")
        # Where a store marks contents itself, reading tells no more, and may be paid for.
        share = 0 if source.marks_contents else config.reread_share
        longest = manifest.longest_unread(self.files, share)

        def again(path: str) -> bool:
            return path in longest or (
                patterns is not None and patterns.match_file(comparable_path(path))
            )

        return manifest.outstanding(
            self.files,
            listing.files,
            listing.unreadable_folders,
            source.reader,
            self.others,
            registry.settings.pages == "all",
            again,
            forgotten,
        )


@dataclass(frozen=True)
class IngestionPlan:
    """A folder of images that was listed and can be read."""

    context: Context
    config: ImagesConfig
    known: KnownFiles
    todo: manifest.Pending[SourceFile]
    images: dict[str, datetime | None]
    """For each image that has a row, when it was first read."""
    decoded: set[str]
    """Ids of the images whose row was made by the decoder at hand."""
    forgotten: set[str]
    """Ids of those that stay out."""
    listing: Listing

    @property
    def before(self) -> dict[str, manifest.File]:
        """The manifest so far, by path."""
        return self.known.files


@dataclass(frozen=True)
class Ingestion:
    """Files that are being read."""

    plan: IngestionPlan
    files: Iterator[ReadFile]
    """Read as they are asked for."""


@dataclass(frozen=True)
class Ingested:
    """Files that were read."""

    plan: IngestionPlan
    after: dict[str, manifest.File]
    """The manifest now, by path."""
    nb_forgotten: int
    """Files, or pages, that hold an image which stays out."""
    left_out: dict[str, LeftOut]
    """What is no image of the corpus, by kind."""


def prepare(context: Context, key: str, given: Document) -> IngestionPlan:
    """List the images' folder, and compare it with the manifest.

    Args:
        context: What is read.
        key: Empty: there are no partitions.
        given: Fields of :class:`panoptic_assets.corpus.config.ImagesConfig`.

    Raises:
        InputError: The configuration cannot be used, or the folder cannot be reached.
        MissingError: So much is gone at once that a person must be asked, and the configuration
            does not accept that.
    """
    config = parse(ImagesConfig, given)
    store, source = context.store, context.source
    known = KnownFiles.of(store)
    listing = source.list()
    forgotten = forgotten_images(store)
    todo = known.outstanding(listing, source, context.registry, config, forgotten)
    limits = absence.Limits.of(context.registry.settings)
    lost = absence.lost_files(known.files, todo, listing.mounts, source.takes, source.place, limits)
    if lost and not config.accept_missing:
        # Whoever says that the files are gone says so of the values, too.
        paths = paths_of_images(known.files.values())
        values = values_at_stake(store, context.registry, source, paths, limits)
        question = lost.question(values)
        if absence.answer_to(question.message) != config.accepted:
            for line in listing.warnings:
                context.reporter.tell(line, "yellow")
            raise question
    rows = store.read("images", ["image_id", "added_at", "decoder"])
    ids = rows["image_id"].to_pylist()
    numbers = rows["decoder"].to_pylist()
    decoded = {
        image_id
        for image_id, number in zip(ids, numbers, strict=True)
        if (number or FIRST_ALGORITHM) == decoding.ALGORITHM
    }
    images = dict(zip(ids, rows["added_at"].to_pylist(), strict=True))
    return IngestionPlan(context, config, known, todo, images, decoded, forgotten, listing)


def check_refresh(context: Context, given: Document) -> None:
    """Refuse what can be refused without listing the images' folder, which may take minutes.

    Args:
        context: What is read.
        given: Fields of :class:`panoptic_assets.corpus.config.ImagesConfig`.

    Raises:
        InputError: As :func:`prepare`, of what is configured and of a folder that is not there.
    """
    compiled(parse(ImagesConfig, given).reread, "reread")
    context.source.check()


def run(plan: IngestionPlan) -> Ingestion:
    """Read the files that are new, may have changed or are to be read again.

    They are read as :func:`store` asks for them. One that cannot be read never stops the others.

    Raises:
        InputError: From the iterator: the folder as a whole can no longer be reached.
    """
    context, todo = plan.context, plan.todo
    for line in plan.listing.warnings:
        context.reporter.tell(line, "yellow")
    files = _read(plan)
    return Ingestion(plan, context.reporter.track(files, len(todo.read), N_("images")))


def store(ingestion: Ingestion) -> Ingested:
    """Write what the files hold, in groups; then the tombstones and the version.

    Raises:
        InputError: The folder can no longer be reached.
    """
    plan = ingestion.plan
    context, before = plan.context, plan.before
    lines: dict[str, list[str]] = defaultdict(list)
    for path, line in before.items():
        if line.status != "missing":
            lines[file_of(path)].append(path)
    refused: list[str] = []
    waiting: list[ReadFile] = []
    others = {file.path: file for file in plan.todo.others}
    after = dict(before)
    for group in commits(ingestion.files, lambda file: len(file.pages)):
        # Images before the files that refer to them: a crash in between loses nothing.
        pages = [page for read in group for page in read.pages]
        if new := {image["image_id"]: image for _, image in pages if image}:
            rows = pa.Table.from_pylist(list(new.values()), SCHEMAS["images"])
            context.store.upsert("images", rows)
        held = [_as_before(plan, file) for file, _ in pages if file.image_id not in plan.forgotten]
        refused += [file.path for file, _ in pages if file.image_id in plan.forgotten]
        waiting += [read for read in group if read.waits]
        others |= {read.path: read.other for read in group if read.other}
        there = {file.path for file in held}
        # What a file held before and no longer does: another picture by now, fewer pages, one that
        # was forgotten.
        left = [
            manifest.missing(before[path])
            for read in group
            if not read.waits
            for path in lines.get(read.path, ())
            if path not in there
        ]
        after |= write_files(context.store, before, [*held, *left])
    gone = [manifest.missing(file) for file in plan.todo.gone]
    after |= write_files(context.store, before, [*plan.todo.restamped, *gone])
    if after != before:
        # Those of runs too: each run adds a fragment to them, and tidying a table that has a
        # thousand versions takes half a second, too long for every run.
        for table in ("files", "images", "records", "clusters", "assignments"):
            context.store.optimize(table)
    write_others(context.store, plan.known.others, others)
    waits = {read.path: read.waits for read in waiting}
    left_out = accounted(plan.listing.left_out, others.values(), waits, len(refused))
    write_left_out(context.store, left_out)
    if told := in_a_line(left_out):
        context.reporter.tell(told)
    record_version(context.store, after, context.dagster_run_id)
    note_question(context.store, "files", None)
    context.source.settle()
    return Ingested(plan, after, len(refused), left_out)


def _read(plan: IngestionPlan) -> Iterator[ReadFile]:
    """What each file is; decoding runs in threads."""
    source = plan.context.source
    reading = Reading(
        source,
        plan.context.registry.settings.pages == "all",
        plan.before,
        plan.todo.again,
        plan.images,
        plan.decoded | plan.forgotten,
    )
    threads = ThreadPoolExecutor(source.readers, "reader")
    try:
        for file in bounded_map(threads, reading.read, plan.todo.read, 16 * source.readers):
            reading.decoded.update(image["image_id"] for _, image in file.pages if image)
            yield file
    finally:
        # An interrupted command does not wait for huge scans that are being decoded.
        threads.shutdown(wait=False, cancel_futures=True)


def _as_before(plan: IngestionPlan, file: manifest.File) -> manifest.File:
    """The line of a file as it was, where nothing is new but that it was read unasked."""
    before = plan.before.get(file.path)
    if before is None or file_of(file.path) in plan.todo.again:
        return file
    return before if replace(file, read_at=before.read_at) == before else file
