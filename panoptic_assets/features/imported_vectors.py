"""Vectors that other programs made: matched with images, checked, staged.

Belongs here: what an imported file may say of which image. Does not belong here: reading its format
(``resources.vectors_file``).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from panoptic_assets.corpus.foreign_names import Corpus, ForeignNames
from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.spec.text import in_quotes
from resources.engine import Staged
from resources.errors import InputError
from resources.field_faults import explain_invalid
from resources.lance import LanceStore, one_of
from resources.schemas import vectors_schema
from resources.vectors_file import Batch, VectorsFile

_TOLERANCE = 1e-5
"""Between two float32 unit vectors that went through other software: the same vector."""
_COMPARED = 500
"""Ids in one SQL condition."""


class VectorNames(ImageNames):
    """Finds the image that a row of another program's vectors names.

    Beside what names an image everywhere, what is certain of other names, see
    :class:`panoptic_assets.corpus.foreign_names.ForeignNames`: as of tags. Ends that fit several
    images are noted, and name none.

    Args:
        names: The images.
        paths_of_images: For each image that is present, the paths of its files.
        folder: The images' folder or its URI.
        given: Gives all names of the file, asked for only where one of them is no name here.
    """

    def __init__(
        self,
        names: ImageNames,
        paths_of_images: Mapping[str, Iterable[str]],
        folder: str,
        given: Callable[[], Iterable[str]],
    ):
        super().__init__(names.by_path, names.ids, folder)
        self._corpus = Corpus(paths_of_images, folder)
        self._given = given

    @cached_property
    def _foreign(self) -> ForeignNames:
        names = [
            name
            for name in self._given()
            if super(VectorNames, self).find_as_written(name, False) is None
            and not self.files(name, any_case=True)
        ]
        found = ForeignNames(self._corpus, names)
        self._notes |= dict.fromkeys(found.notes(names))
        return found

    def find_as_written(self, name: str, refuse: bool = True) -> str | None:
        """What :meth:`find` finds without another letter case.

        Raises:
            InputError: As :meth:`find`.
        """
        found = super().find_as_written(name, refuse)
        if found is not None:
            return found
        if self.files(name, any_case=True):
            return None  # a row of the very name would come first
        meant = self._foreign.find(name)
        ids = list(dict.fromkeys(self._corpus.images[path] for path in meant.paths))
        if len(ids) == 1 and meant.is_certain:
            if meant.how:
                self.note_case(name, meant.paths[0])
            return ids[0]
        if len(ids) > 1:
            self._notes[
                f"Left out: {in_quotes(name)} may be {' or '.join(map(in_quotes, meant.paths))}."
            ] = None
        return None


@dataclass
class Checked:
    """What a file holds, seen in one pass before anything of it is written."""

    dim: int = 0
    nb_vectors: int = 0
    unknown: list[str] = field(default_factory=list)
    """Names that no image of the corpus has, or that would be its in another letter case only, and
    it has a row of its own."""


def check_vectors(
    batches: Iterable[Batch], known: ImageNames, table: str, store: LanceStore
) -> Checked:
    """Check a whole file against the corpus and against the vectors that are stored.

    Args:
        batches: Names and vectors, see :meth:`resources.vectors_file.VectorsFile.batches`.
        known: The images of the corpus.
        table: The vector table.
        store: Where it is.

    Raises:
        InputError: Two rows give one image two vectors, a vector is NaN, infinite or zero,
            dimensions differ, a stored vector is another one, or no row is of an image of the
            corpus.
    """
    found = Checked()
    row_of: dict[str, tuple[str, np.ndarray | None]] = {}
    schema = store.schema_of(table)
    stored_dim = schema.field("vector").type.list_size if schema else 0
    counts = Counter(known.by_path.values())
    for names, vectors, image_ids in _as_written_first(batches, known, row_of):
        if found.dim and vectors.shape[1] != found.dim:
            raise InputError(
                "A vector has {length} dimensions, the ones before have {before}.",
                id="vectors-of-two-lengths",
                length=vectors.shape[1],
                before=found.dim,
            )
        found.dim = vectors.shape[1]
        if stored_dim and found.dim != stored_dim:
            raise InputError(
                "The vectors have {length} dimensions, the stored ones have {stored}: import "
                "these under a key of their own.",
                id="vectors-of-other-length-than-stored",
                length=found.dim,
                stored=stored_dim,
            )
        lengths = _lengths(vectors)
        for name, vector, length, image_id in zip(names, vectors, lengths, image_ids, strict=True):
            if not image_id:
                found.unknown.append(name)
            elif not np.isfinite(length) or length == 0:
                raise InputError(
                    "The vector of {name!r} has length {length:g}, so it has no direction: leave "
                    "that row out.",
                    id="vector-without-direction",
                    name=name,
                    length=length,
                )
            elif image_id not in row_of:
                # Only the files of one content may repeat it: kept for those, not for all.
                row_of[image_id] = (name, vector.copy() if counts[image_id] > 1 else None)
            else:
                other, earlier = row_of[image_id]
                if earlier is None or not np.allclose(earlier, vector, rtol=0, atol=_TOLERANCE):
                    raise InputError(
                        "Two rows are of one image: {other!r} and {name!r}. Keep one of them.",
                        id="two-rows-of-one-image",
                        other=other,
                        name=name,
                    )
        _compare(_known_rows(image_ids, vectors, known.ids), table, store)
    found.nb_vectors = len(row_of)
    if not row_of:
        example = next(iter(known.by_path), None)
        if not found.unknown:
            raise InputError(
                "None of the 0 rows is of an image of the corpus: name images by their id, or by "
                "their path, such as {example!r}.",
                id="no-row-at-all",
                example=example,
            )
        raise InputError(
            "None of the {nb_rows:,} rows is of an image of the corpus (the first: {first!r}): "
            "name images by their id, or by their path, such as {example!r}.",
            id="no-row-of-an-image",
            nb_rows=len(found.unknown),
            first=found.unknown[0],
            example=example,
        )
    return found


def stage(
    batches: Iterable[Batch],
    known: ImageNames,
    stored: set[str],
    table: str,
    store: LanceStore,
    left_out: Iterable[str] = (),
) -> Iterator[Staged]:
    """Stage a checked file's vectors, scaled to unit length, for :meth:`LanceStore.commit`.

    Args:
        batches: As for :func:`check_data`. known: The images of the corpus. stored: Ids of the
        images that have a vector already. table: The vector table. store: Where it is. left_out:
        Names that are not to be looked for: those that :func:`check_data` found to be unknown.
    """
    wanted = known.ids - stored
    unknown = set(left_out)
    for names, vectors in batches:
        ids = [None if name in unknown else known.find(name, refuse=False) for name in names]
        if rows := _known_rows(ids, vectors, wanted):
            schema = vectors_schema(vectors.shape[1])
            columns = {"image_id": list(rows), "vector": list(rows.values())}
            yield Staged(store.stage(table, pa.table(columns, schema=schema)), len(rows))


def _as_written_first(
    batches: Iterable[Batch], known: ImageNames, row_of: Mapping[str, object]
) -> Iterator[tuple[list[str], np.ndarray, list[str | None]]]:
    """Names, vectors and image ids; last of all the rows of names in another letter case.

    A file may have rows for ``a.jpg`` and ``A.jpg``, of which the corpus has one: that one's own
    row counts, and ``row_of`` then has its image.
    """
    later: list[tuple[str, np.ndarray]] = []
    for names, vectors in batches:
        ids = [known.find_as_written(name, refuse=False) for name in names]
        other = [
            image_id is None and bool(known.files(name, any_case=True))
            for name, image_id in zip(names, ids, strict=True)
        ]
        later += [(names[row], vectors[row].copy()) for row in np.flatnonzero(other)]
        rows = np.flatnonzero(np.logical_not(other))
        yield [names[row] for row in rows], vectors[rows], [ids[row] for row in rows]
    if later:
        names = [name for name, _ in later]
        given = [
            not row_of.keys().isdisjoint(
                known.by_path[path] for path in known.files(name, any_case=True)
            )
            for name in names
        ]
        yield (
            names,
            np.stack([vector for _, vector in later]),
            [
                None if is_given else known.find_in_any_case(name, refuse=False)
                for name, is_given in zip(names, given, strict=True)
            ],
        )


def _known_rows(
    image_ids: list[str | None], vectors: np.ndarray, wanted: set[str]
) -> dict[str, np.ndarray]:
    """Unit vectors by image id."""
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of other images may be zero
        unit = (vectors / _lengths(vectors)[:, None]).astype(np.float32)
    rows = zip(image_ids, unit, strict=True)
    return {i: vector for i, vector in rows if i is not None and i in wanted}


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """In float64: the squares of float32 numbers beyond 1e19, or below 1e-23, are not float32."""
    with np.errstate(over="ignore"):
        lengths: np.ndarray = np.linalg.norm(vectors.astype(np.float64, copy=False), axis=1)
    return lengths


def _compare(rows: dict[str, np.ndarray], table: str, store: LanceStore) -> None:
    if store.version(table) == 0:
        return
    ids = list(rows)
    for start in range(0, len(ids), _COMPARED):
        where = one_of("image_id", ids[start : start + _COMPARED])
        for stored in store.read(table, ["image_id", "vector"], where).to_pylist():
            vector = rows[stored["image_id"]]
            if len(vector) != len(stored["vector"]) or not np.allclose(
                vector, stored["vector"], rtol=0, atol=_TOLERANCE
            ):
                raise InputError(
                    "The vector of image {image_id}… differs from the stored one. Records rest on "
                    "stored vectors: import the new ones under a key of their own.",
                    id="vector-differs-from-stored",
                    image_id=stored["image_id"][:12],
                )


def vectors_file_of(
    vectors: str, ids: str | None, model: str, field: str | None = None
) -> VectorsFile:
    """The description of another program's vectors.

    Args:
        vectors: The file, below the project's folder.
        ids: A file with the name of each row's image, below it as well.
        model: What made them, in words.
        field: The column, or the field of a sample, that holds them.

    Raises:
        InputError: It is not complete.
    """
    try:
        return VectorsFile(vectors=vectors, ids=ids, model=model, field=field)
    except ValidationError as error:
        raise InputError(
            "{problems}", id="options-unusable", problems=explain_invalid(error)
        ) from error
