"""The engine: where and how images become vectors.

Belongs here: overlapping reading, decoding and the model's passes within bounded memory, and
staging the results. Does not belong here: which images are to be embedded, and committing what was
staged, which one process does (``panoptic_assets.features.embedding``).

An engine may run in many processes or on many machines, so a :class:`Job` holds only what can be
sent to them, and vectors come back as names of staged rows, which nobody reads until they are
committed.
"""

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from resources.decoding import ALGORITHM, DecodedImage
from resources.errors import UnreadableImage
from resources.lance import LanceStore
from resources.models import ModelSpec, OpenClipModels
from resources.page_paths import file_of, page_id, page_number
from resources.parallel import bounded_map
from resources.picture_pages import ONE, pages_of
from resources.schemas import vectors_schema
from resources.source import OTHER_IMAGE, ImageSource

_STAGE_SECONDS = 5.0
"""Rows are staged at least this often: what a crash can cost."""


@dataclass(frozen=True)
class Job:
    """What all images of one refresh have in common."""

    table: str
    """The vector table for which rows are staged."""
    spec: ModelSpec
    identity: dict[str, Any]
    """Of the model that must make the vectors."""
    source: ImageSource
    store: LanceStore
    models: OpenClipModels
    decoder: int = ALGORITHM
    """By which pictures are decoded: the vectors of one table are all of pixels of one number."""


@dataclass(frozen=True)
class Work:
    """One image to embed."""

    image_id: str
    paths: list[str]
    """Files that held it when the manifest was made, in order."""


@dataclass(frozen=True)
class Staged:
    """Images that are done."""

    name: str | None
    """What :meth:`LanceStore.commit` takes; None when no image had a vector."""
    nb_vectors: int
    failed: dict[str, str] = field(default_factory=dict)
    """For each image without a vector, the reason."""

    @property
    def nb_images(self) -> int:
        """Images that were tried."""
        return self.nb_vectors + len(self.failed)


class Engine(BaseModel, ABC):
    """Embeds images and stages their vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def embed(self, job: Job, work: Iterable[Work]) -> Iterator[Staged]:
        """Embed images in any order; each is in exactly one of the results.

        One image that cannot be read or has no usable vector never stops the others.

        Raises:
            InputError: The model cannot be had, or the source as a whole cannot be read.
        """


class LocalEngine(Engine):
    """Threads of this process: some read, decode and resize, some run the model.

    A bounded number of pictures is in the air, so memory does not grow with the corpus.
    """

    stage_images: int = Field(
        default=1024, ge=1, le=65_536, description="Images that are staged at a time, at most."
    )

    def embed(self, job: Job, work: Iterable[Work]) -> Iterator[Staged]:
        """Embed images in the order of ``work``."""
        encoder = job.models.load(job.spec, job.identity)
        readers = ThreadPoolExecutor(job.source.readers, "reader")
        streams = ThreadPoolExecutor(encoder.streams, "stream")
        failed: dict[str, str] = {}

        files = _Files(job.source)

        def prepare(item: Work) -> tuple[str, np.ndarray | UnreadableImage]:
            try:
                rgb = read_image(files, item, encoder.side, job.decoder).rgb
            except UnreadableImage as error:
                return item.image_id, error
            return item.image_id, encoder.prepare(rgb)

        def groups() -> Iterator[list[tuple[str, np.ndarray]]]:
            group = []
            # Enough ahead that a slow picture does not leave the model without work.
            ahead = job.source.readers + 2 * encoder.group * encoder.streams
            for image_id, pixels in bounded_map(readers, prepare, work, ahead):
                if isinstance(pixels, UnreadableImage):
                    failed[image_id] = pixels.reason
                else:
                    group.append((image_id, pixels))
                if len(group) == encoder.group:
                    yield group
                    group = []
            if group:
                yield group

        def forward(group: list[tuple[str, np.ndarray]]) -> tuple[list[str], np.ndarray]:
            pixels = np.stack([pixels for _, pixels in group])
            return [image_id for image_id, _ in group], encoder.forward(pixels)

        rows: dict[str, np.ndarray] = {}
        staged_at = time.monotonic()
        with encoder.running():
            try:
                for ids, vectors in bounded_map(streams, forward, groups(), encoder.streams + 1):
                    for image_id, vector in zip(ids, vectors, strict=True):
                        if np.isfinite(vector).all():
                            rows[image_id] = vector
                        else:
                            failed[image_id] = "the model gives it no direction (zero or NaN)"
                    late = time.monotonic() - staged_at > _STAGE_SECONDS
                    if late or len(rows) + len(failed) >= self.stage_images:
                        yield _stage(job, encoder.dim, rows, failed)
                        rows, staged_at = {}, time.monotonic()
                        failed.clear()
                if rows or failed:
                    yield _stage(job, encoder.dim, rows, failed)
            finally:
                # The model's passes are short; a huge scan that is being decoded is not waited for.
                readers.shutdown(wait=False, cancel_futures=True)
                streams.shutdown(cancel_futures=True)


class PictureSource(Protocol):
    """What gives the picture of an image, as :class:`~resources.source.ImageSource` does."""

    def picture(
        self, path: str, image_id: str, side: int | None, algorithm: int, /
    ) -> DecodedImage:
        """See :meth:`resources.source.ImageSource.picture`."""


class _Files:
    """A source that reads a file once for those of its pages that come one after the other.

    A booklet of 300 pages in 100 MB would else be read and hashed 300 times.
    """

    def __init__(self, source: ImageSource):
        self._source = source
        self._lock = threading.Lock()
        self._held = "", b"", "", ONE

    def picture(
        self, path: str, image_id: str, side: int | None, algorithm: int, /
    ) -> DecodedImage:
        page = page_number(path)
        if page == 1:
            return self._source.picture(path, image_id, side, algorithm)
        with self._lock:
            if self._held[0] != file_of(path):
                data = self._source.read(path)
                sha256 = hashlib.sha256(data).hexdigest()
                self._held = file_of(path), data, sha256, pages_of(data)
            _, data, sha256, pages = self._held
        if page_id(sha256, page) != image_id:
            raise UnreadableImage(OTHER_IMAGE)
        return self._source.decode(data, side, page, algorithm, pages)


def read_image(
    source: PictureSource, item: Work, side: int | None, algorithm: int = ALGORITHM
) -> DecodedImage:
    """Decode an image from the first of its files that still holds it.

    Args:
        source: Where the files are.
        item: The image.
        side: See :func:`resources.decoding.decode`.
        algorithm: Likewise.

    Raises:
        UnreadableImage: None of the files can be used; the reason is the last one's.
    """
    failure = UnreadableImage("it has no file")
    for path in item.paths:
        try:
            return source.picture(path, item.image_id, side, algorithm)
        except UnreadableImage as error:
            failure = error
    raise failure


def _stage(job: Job, dim: int, rows: dict[str, np.ndarray], failed: dict[str, str]) -> Staged:
    name = None
    if rows:
        flat = pa.array(np.concatenate(list(rows.values())), pa.float32())
        columns = [pa.array(rows, pa.string()), pa.FixedSizeListArray.from_arrays(flat, dim)]
        name = job.store.stage(job.table, pa.Table.from_arrays(columns, schema=vectors_schema(dim)))
    return Staged(name, len(rows), dict(failed))
