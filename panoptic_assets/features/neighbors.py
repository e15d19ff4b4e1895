"""The k-nearest-neighbour graph of unit vectors, exactly, and its update when a few images change.

Belongs here: the graph by blocked products, its update, the recall of another graph. Does not
belong here: an approximate index (``resources.lance``), reading and writing.

The answer must not depend on the size of blocks, the number of threads or the history of updates.
Floating-point products do, in their last bits: a BLAS adds in an order of its own. So vectors are
rounded to integers of 26 bits. By Cauchy and Schwarz, whatever part of the sum x·y has been added
up, in whatever order, is at most ‖x‖‖y‖ ≈ 2⁵², and a float64 holds integers to 2⁵³: every product
is exact. The rounding moves a cosine by some 1e-8, less than float32 vectors themselves are sure
of. Float64 products take 1.8 times as long as float32 ones, which would need a second, exact pass
over candidates, with a margin that fails where many images are all but equal.

A similarity is that cosine rounded to 22 binary places (2.4e-7): float32 holds it exactly, equal
vectors have exactly 1, and the order (similarity descending, then row ascending) can be seen in
what is stored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.computation import NotComputableError, Rows, Vectors

Pair = tuple[int, int]
"""First rows of two blocks."""

_BLOCK = 1024
"""Rows and columns of one product, 8 MB; 512 and 2048 took 1.5 and 1.3 times as long."""
_VECTOR_BITS = 26
_PLACES = 22
_UNIT = 1 << _PLACES
"""The similarity 1 in units of the last place."""
_DROPPED = float(1 << (2 * _VECTOR_BITS - _PLACES))
_NOBODY = np.iinfo(np.int64).max
"""Key of a neighbour that is not there: it sorts behind all."""
_LENGTH_TOLERANCE = 1e-3
_RECALL_ROWS = 500
_DENSE = 0.1
"""Share of a block's pairs from which on it is quicker to merge the block than the pairs."""


@dataclass(frozen=True)
class Graph:
    """The nearest neighbours of each of n rows, the most similar first, the row itself left out."""

    indices: npt.NDArray[np.int32]
    """(n, m) rows, by descending similarity and then ascending row; m = min(k, n - 1)."""
    similarities: npt.NDArray[np.float32]
    """(n, m) cosines in [-1, 1], multiples of 2⁻²²."""


def nearest_neighbors(
    vectors: Vectors,
    k: int,
    block: int = _BLOCK,
    track: Callable[[Sequence[Pair]], Iterable[Pair]] = iter,
) -> Graph:
    """The exact graph of all rows. Each product of two blocks serves both: n² / 2 products.

    Args:
        vectors: (n, d) float32 unit vectors.
        k: Neighbours of each row, 1 or more.
        block: Rows of one product; memory is O(block²) beside the answer, time alone depends on it.
        track: Passes on the pairs of blocks that are compared, to show how far it is.

    Raises:
        NotComputableError: A vector is not of unit length.
    """
    best = _Best(len(vectors), k)
    starts = range(0, len(vectors), block)
    for start, other in track([(one, two) for one in starts for two in starts if two >= one]):
        rows = np.arange(start, min(start + block, len(vectors)))
        columns = np.arange(other, min(other + block, len(vectors)))
        products = _integers(vectors[rows]) @ _integers(vectors[columns]).T
        best.offer(rows, columns, products)
        if other != start:
            best.offer_transposed(columns, rows, products)
    return best.graph()


def nearest_of(vectors: Vectors, rows: Rows, k: int, block: int = _BLOCK) -> Graph:
    """The exact neighbours of some rows among all: entry i is for ``rows[i]``.

    Args:
        vectors: (n, d) float32 unit vectors.
        rows: (m,) distinct rows, ascending.
        k: Neighbours of each, 1 or more.
        block: Rows of one product.

    Raises:
        NotComputableError: A vector is not of unit length.
    """
    best = _Best(len(vectors), k)
    _offer_all(best, vectors, rows, np.arange(len(vectors)), block)
    return best.graph(rows)


def affected(known: Graph, places: Rows, nb_rows: int) -> tuple[Rows, Rows]:
    """Which rows :func:`updated` compares with all, and which of those are new.

    Args:
        known: The graph before.
        places: (rows before,) where each row is now; -1 if it is gone, or has another vector.
        nb_rows: Rows now.

    Returns:
        Rows that are new or have lost a neighbour, and rows that are new; both ascending.
    """
    whole = (places >= 0) & (places[known.indices] >= 0).all(axis=1)
    everything = np.arange(nb_rows)
    return np.setdiff1d(everything, places[whole]), np.setdiff1d(everything, places)


def updated(
    vectors: Vectors, k: int, known: Graph, places: Rows, block: int = _BLOCK
) -> tuple[Graph, int]:
    """The graph of ``vectors``, from the exact graph of a set of rows that has most of them.

    New rows are compared with all. A kept row keeps its neighbours and is offered the new rows; if
    one of its neighbours is gone, the next in line is unknown and it is compared with all again.
    The answer equals that of :func:`nearest_clusters`, row for row.

    Args:
        vectors: (n, d) float32 unit vectors.
        k: Neighbours of each row; the same as in ``known``.
        known: The exact graph before.
        places: (rows before,) where each row is in ``vectors`` now; -1 if it is gone, or if its
            vector is another one.
        block: Rows of one product.

    Returns:
        The graph, and the number of rows that were compared with all.

    Raises:
        NotComputableError: A vector is not of unit length.
    """
    nb_rows = len(vectors)
    again, new = affected(known, places, nb_rows)
    whole = (places >= 0) & ~np.isin(places, again)
    kept = places[whole]
    # One product of the full graph serves two rows; here it serves one, and new rows a second time.
    if 2 * (len(again) * nb_rows + len(kept) * len(new)) >= nb_rows * nb_rows:
        return nearest_neighbors(vectors, k, block), nb_rows
    best = _Best(nb_rows, k)
    best.preset(kept, _keys(_levels(known.similarities[whole]), places[known.indices[whole]]))
    _offer_all(best, vectors, again, np.arange(nb_rows), block)
    _offer_all(best, vectors, np.sort(kept), new, block)
    return best.graph(), len(again)


def scored(vectors: Vectors, candidates: npt.NDArray[np.int64], k: int) -> Graph:
    """The k best of some candidates for each row, with the similarities of
    :func:`nearest_clusters`.

    Args:
        vectors: (n, d) float32 unit vectors.
        candidates: (n, c) rows that may be neighbours, each once; -1 for none. The row itself does
            not count, and a row with fewer than k others is compared with all.
        k: Neighbours of each row.

    Raises:
        NotComputableError: A vector is not of unit length.
    """
    best = _Best(len(vectors), k)
    short = []
    for start in range(0, len(vectors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(vectors)))
        found = candidates[rows]
        mine = _integers(vectors[rows])
        keys = np.full(found.shape, _NOBODY)
        for column in range(found.shape[1]):
            usable = np.flatnonzero((found[:, column] >= 0) & (found[:, column] != rows))
            others = found[usable, column]
            products = np.einsum("ij,ij->i", mine[usable], _integers(vectors[others]))
            keys[usable, column] = _keys(_rounded(products), others)
        keys.sort(axis=1)
        enough = (keys != _NOBODY).sum(axis=1) >= min(k, len(vectors) - 1)
        best.preset(rows[enough], keys[enough, :k])
        short.append(rows[~enough])
    everything = np.arange(len(vectors))
    _offer_all(best, vectors, np.concatenate([*short, everything[:0]]), everything, _BLOCK)
    return best.graph()


def recall(found: Graph, exact: Graph) -> float:
    """Share of the exact neighbours that another graph of the same rows has as well, in [0, 1]."""
    if not exact.indices.size:
        return 1.0
    hits = sum(
        len(np.intersect1d(mine, theirs))
        for mine, theirs in zip(found.indices, exact.indices, strict=True)
    )
    return hits / exact.indices.size


def sampled_recall(vectors: Vectors, found: Graph, seed: int = 0) -> float:
    """:func:`recall` of a graph of all rows, measured on 500 of them, drawn by the seed.

    Its standard error is below .01: each row counts with all its neighbours.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:_RECALL_ROWS])
    exact = nearest_of(vectors, rows, max(1, found.indices.shape[1]))
    return recall(Graph(found.indices[rows], found.similarities[rows]), exact)


class _Best:
    """The k best neighbours so far of each row, as keys: a smaller key is a better neighbour."""

    def __init__(self, nb_rows: int, k: int):
        self._k = k
        self._wanted = max(0, min(k, nb_rows - 1))
        self._keys = np.full((nb_rows, k), _NOBODY)
        self._worst = np.full(nb_rows, _NOBODY)

    def preset(self, rows: Rows, keys: Rows) -> None:
        """Give rows their neighbours, k at most."""
        self._keys[rows, : keys.shape[1]] = keys
        self._worst[rows] = self._keys[rows].max(axis=1)

    def offer(self, rows: Rows, columns: Rows, products: npt.NDArray[np.float64]) -> None:
        """Let rows choose from columns; ``products`` is (rows, columns) of :func:`_integers`."""
        mask = products >= self._bounds(rows)[:, None]
        if mask.mean() > _DENSE:
            self._choose_dense(rows, columns, products)
        else:
            row, column = np.divmod(np.flatnonzero(mask), len(columns))
            self._choose(rows, row, columns[column], products[row, column])

    def offer_transposed(
        self, rows: Rows, columns: Rows, products: npt.NDArray[np.float64]
    ) -> None:
        """:meth:`offer` with ``products`` of (columns, rows), which are not copied."""
        mask = products >= self._bounds(rows)
        if mask.mean() > _DENSE:
            self._choose_dense(rows, columns, products.T)
        else:
            column, row = np.divmod(np.flatnonzero(mask), len(rows))
            # Of 16-bit integers, a stable sort is a radix sort.
            order = np.argsort(row.astype(np.uint16) if len(rows) < 2**16 else row, kind="stable")
            row, column = row[order], column[order]
            self._choose(rows, row, columns[column], products[column, row])

    def graph(self, rows: Rows | None = None) -> Graph:
        """What was found, for all rows or some."""
        keys = np.sort(self._keys if rows is None else self._keys[rows], axis=1)[:, : self._wanted]
        similarities = (_UNIT - (keys >> 32)).astype(np.float32) / np.float32(_UNIT)
        return Graph((keys & 0xFFFFFFFF).astype(np.int32), similarities)

    def _bounds(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The smallest product that can be among the best of each row, ties included."""
        worst = self._worst[rows]
        levels = (_UNIT - (worst >> 32)).astype(np.float64)
        return np.where(worst == _NOBODY, -np.inf, (levels - 0.5) * _DROPPED)

    def _choose_dense(self, rows: Rows, columns: Rows, products: npt.NDArray[np.float64]) -> None:
        keys = _keys(_rounded(products), columns)
        keys[rows[:, None] == columns] = _NOBODY
        self._merge(rows, keys)

    def _choose(
        self, rows: Rows, row: Rows, found: Rows, products: npt.NDArray[np.float64]
    ) -> None:
        """Merge pairs ``(rows[row], found)``, grouped by row."""
        keys = _keys(_rounded(products), found)
        better = (keys < self._worst[rows[row]]) & (found != rows[row])
        row, keys = row[better], keys[better]
        if len(row):
            changed, first, counts = np.unique(row, return_index=True, return_counts=True)
            offered = np.full((len(changed), int(counts.max())), _NOBODY)
            place = np.arange(len(row)) - np.repeat(first, counts)
            offered[np.repeat(np.arange(len(changed)), counts), place] = keys
            self._merge(rows[changed], offered)

    def _merge(self, rows: Rows, offered: Rows) -> None:
        both = np.concatenate([self._keys[rows], offered], axis=1)
        both.partition(self._k - 1, axis=1)
        self._keys[rows] = both[:, : self._k]
        self._worst[rows] = both[:, self._k - 1]


def _offer_all(best: _Best, vectors: Vectors, rows: Rows, columns: Rows, block: int) -> None:
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        mine = _integers(vectors[some])
        for other in range(0, len(columns), block):
            others = columns[other : other + block]
            best.offer(some, others, mine @ _integers(vectors[others]).T)


def _integers(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Vectors brought to unit length and rounded to integers, at most 2²⁶."""
    exact = vectors.astype(np.float64)
    lengths = np.sqrt(np.square(exact).sum(axis=1, keepdims=True))
    if not (np.abs(lengths - 1.0) < _LENGTH_TOLERANCE).all():  # NaN is not smaller either
        raise NotComputableError(
            "A vector is not of unit length: neighbours are by cosine, so embed the images again.",
            id="vector-not-of-unit-length",
        )
    exact *= (1 << _VECTOR_BITS) / lengths
    return np.rint(exact, out=exact)


def _rounded(products: npt.NDArray[np.float64]) -> Rows:
    """Similarities in units of the last place; half is rounded up, so that it can be compared."""
    return np.minimum(np.floor(products / _DROPPED + 0.5), _UNIT).astype(np.int64)


def _levels(similarities: npt.NDArray[np.float32]) -> Rows:
    return np.rint(similarities.astype(np.float64) * _UNIT).astype(np.int64)


def _keys(levels: Rows, rows: Rows) -> Rows:
    """Keys in whose order neighbours stand: similarity descending, then row ascending."""
    return ((_UNIT - levels) << 32) | rows
