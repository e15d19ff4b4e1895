"""Groups of images that are almost the same.

Belongs here: the pairs that reach a cosine, exactly, and the groups that they make. Does not belong
here: the nearest neighbours of each image (``neighbors``), which of a group is kept.

Whether a pair reaches the least similarity is decided by one number: the float64 cosine of its two
vectors, brought to unit length in float64. Blocked products of float32 rule out, or in, all pairs
but those within their error; those are computed again. The error of a product of d terms, added in
any order, is at most γ_d = d·u / (1 − d·u) for vectors of length 1 (Higham, *Accuracy and Stability
of Numerical Algorithms*, 2002, section 3.1), so nothing is missed.

Groups are made of distinct vectors, in the order of their bytes: the same images give the same
groups, whatever their order, their ids, or the number of threads.

Long because both guarantees share one survey of similar pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.interface import Data, Outcome, distinct
from panoptic_assets.spec.computation import REMAINDER, Labels, NotComputableError, Rows, Vectors
from resources.errors import noted

DEFAULT_SIMILARITY = 0.95
"""Least cosine where neither the request nor the model's file gives one."""

_BLOCK = 1024
"""Rows and columns of one product: 4 MB; 512 and 2048 took as long."""
_WORKING_BYTES = 1 << 25
"""Of vectors in float64 that are compared pair by pair at a time."""
_DENSE = 1 / 32
"""Share of a block's pairs within the error of float32 from which on the block is multiplied in
float64: one pair by itself takes as long as some 30 in a product."""
_PAIRS_PER_IMAGE = 32
"""Pairs that a component may have, for each of its images, for its groups to be made by complete
linkage, which keeps every pair: some 6 kB for each image."""

Pairs = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


def find_duplicates(
    data: Data,
    seed: int,
    *,
    min_similarity: float | None,
    guarantee: Literal["pairwise", "connected"],
) -> Outcome:
    """Groups of images that are almost the same; all others are the remainder.

    ``pairwise``: every two images of a group reach ``min_similarity``. Groups are made by complete
    linkage (Sørensen, 1948): of the groups that can be joined, those two are whose least similar
    images are most similar. It needs the pairs of a component, which is a set of images that are
    connected by pairs. A component with more than 32 pairs for each image, not all of its images
    being similar to each other, is cut by a rule that keeps none: the image with the most similar
    ones begins a group, which takes, from the most similar to the first on, each image that is
    similar to all that it has; the next group begins with the image that has the most similar ones
    in the component of those in no group yet. Either way, no image that is left over is similar to
    another one that is.

    ``connected``: the components themselves. Two images of a group may not be similar.

    Identical vectors are one for all of this, and so always together. Memory is linear in the
    number of images, whatever the vectors. ``seed`` is not used: nothing is random.

    Args:
        data: Images; of unit vectors.
        seed: Of no effect.
        min_similarity: Least cosine of a pair, in (0, 1]. None: 0.95.
        guarantee: What is sure of the images of a group.

    Returns:
        Labels, -1 for images without a similar one, and as similarities each image's least cosine
        to an image of its group, NaN for those in none.

    Raises:
        NotComputableError: The points are those of a projection.
    """
    from threadpoolctl import threadpool_limits

    if not data.unit:
        raise NotComputableError(
            "Whether images are almost the same is judged by the cosine of their vectors, which "
            "points of a projection do not keep: take the vector type, not its projection.",
            id="duplicates-of-projection",
        )
    least = DEFAULT_SIMILARITY if min_similarity is None else min_similarity
    first, places = distinct(data.points)
    points = data.points[first] + np.float32(0)
    order = np.argsort(_as_bytes(points))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    places = rank[places]
    with threadpool_limits(limits=1):
        space = _Space.of(points[order])
        if guarantee == "connected":
            groups, hurried = _survey(space, least, keep=False).components, 0
        else:
            groups, hurried = _pairwise(space, least)
        copies = np.bincount(places)
        sizes = np.bincount(groups, weights=copies)
        labels = np.where(sizes[groups] > 1, groups, REMAINDER)
        similarities = _least_similarities(space, labels)
    notes = _notes(labels, similarities, least, guarantee, hurried)
    return Outcome(labels[places], similarities=similarities[places], notes=notes)


def complete_linkage(similarities: npt.NDArray[np.float64], pairs: Pairs, nb_items: int) -> Labels:
    """Join groups while every pair between two is in ``pairs``, the highest least similarity first.

    The pairs are gone through from the most similar on: the pair that completes all those between
    two groups is their least similar one, and joins them. What is joined is what the usual
    algorithm on the full matrix joins; time and memory are by the number of pairs.

    Args:
        similarities: (m,) of each pair.
        pairs: (m, 2) different items, each pair once.
        nb_items: n.

    Returns:
        (n,) int64 group of each item: the smallest of the group's items. Of equally similar pairs,
        the one of smaller items comes first.
    """
    low, high = pairs.min(axis=1, initial=nb_items), pairs.max(axis=1, initial=-1)
    order = np.lexsort((high, low, -similarities))
    group = list(range(nb_items))
    members = {item: [item] for item in group}
    found: dict[int, dict[int, int]] = {}  # pairs seen between two groups, but not all of them
    for one, two in zip(low[order].tolist(), high[order].tolist(), strict=True):
        mine, theirs = group[one], group[two]
        counts = found.setdefault(mine, {})
        seen = counts.get(theirs, 0) + 1
        if seen < len(members[mine]) * len(members[theirs]):
            counts[theirs] = seen
            found.setdefault(theirs, {})[mine] = seen
            continue
        if len(members[mine]) < len(members[theirs]):
            mine, theirs = theirs, mine
        for item in members[theirs]:
            group[item] = mine
        members[mine] += members.pop(theirs)
        counts = found.setdefault(mine, {})
        counts.pop(theirs, None)
        for other, number in found.pop(theirs, {}).items():
            if other != mine:
                del found[other][theirs]
                counts[other] = found[other][mine] = counts.get(other, 0) + number
    labels = np.empty(nb_items, np.int64)
    for items in members.values():
        labels[items] = min(items)
    return labels


@dataclass(frozen=True)
class _Space:
    """Distinct vectors, and what their comparison needs."""

    points: Vectors
    """(n, d) as they were given."""
    lengths: npt.NDArray[np.float64]
    unit: Vectors
    """(n, d) float32 of unit length, for the products that rule out."""

    @classmethod
    def of(cls, points: Vectors) -> "_Space":
        lengths = np.empty(len(points))
        unit = np.empty(points.shape, np.float32)
        for start in range(0, len(points), _BLOCK):
            block = points[start : start + _BLOCK].astype(np.float64)
            some = np.sqrt(np.square(block).sum(axis=1))
            lengths[start : start + _BLOCK] = some
            unit[start : start + _BLOCK] = block / some[:, None]
        return cls(points, lengths, unit)

    def __len__(self) -> int:
        return len(self.points)

    def take(self, rows: Rows) -> "_Space":
        return _Space(self.points[rows], self.lengths[rows], self.unit[rows])

    def exact(self, rows: Rows) -> npt.NDArray[np.float64]:
        """(m, d) rows of unit length in float64."""
        return self.points[rows].astype(np.float64) / self.lengths[rows, None]

    def cosines(self, one: Rows, two: Rows) -> npt.NDArray[np.float64]:
        """(m,) cosines of rows with rows: of each pair the same number, wherever it is computed."""
        found = np.empty(len(one))
        step = max(1, _WORKING_BYTES // (16 * self.points.shape[1]))
        for start in range(0, len(one), step):
            some = slice(start, start + step)
            # Not a product of matrices, nor einsum: their order of adding depends on the place.
            found[some] = (self.exact(one[some]) * self.exact(two[some])).sum(axis=1)
        return found

    def reach(self, one: Rows, two: Rows, least: float) -> Mask:
        """(len(one), len(two)): which pairs of rows have a cosine of ``least`` or more."""
        dim = self.points.shape[1]
        # Two more units for the rounding of both vectors to float32.
        error = 1.01 * (dim + 2) * 2.0**-24
        products = self.unit[one] @ self.unit[two].T
        mask, unsure = _decide(products, least, error)
        if len(unsure) > _DENSE * mask.size:
            # Twice, since the cosine that decides has such an error as well.
            mask, unsure = _decide(
                self.exact(one) @ self.exact(two).T, least, 2.02 * dim * 2.0**-53
            )
        rows, columns = np.divmod(unsure, len(two))
        mask[rows, columns] = self.cosines(one[rows], two[columns]) >= least
        return mask


def _decide(products: npt.NDArray[np.floating], least: float, error: float) -> tuple[Mask, Rows]:
    """Which products may be at least so large, and the flat places of those that may be less."""
    # Of the products' type, and rounded outwards: numpy would compare in float32.
    kind = products.dtype.type
    mask = products >= np.nextafter(kind(least - error), kind(-np.inf))
    maybe = np.flatnonzero(mask)
    return mask, maybe[products.ravel()[maybe] < np.nextafter(kind(least + error), kind(np.inf))]


@dataclass(frozen=True)
class _Survey:
    """The pairs of a space in one pass."""

    components: Labels
    """(n,) component of each row: the smallest of its rows."""
    degrees: Rows
    """(n,) pairs of each row."""
    pairs: Pairs | None
    """(m, 2) all of them; None if they were too many."""


def _survey(space: _Space, least: float, *, keep: bool) -> _Survey:
    nb_rows = len(space)
    components = np.arange(nb_rows)
    degrees = np.zeros(nb_rows, np.int64)
    kept: list[Pairs] | None = [] if keep else None
    nb_kept = 0
    for one, two in _pairs(space, least):
        degrees += np.bincount(one, minlength=nb_rows) + np.bincount(two, minlength=nb_rows)
        joining = components[one] != components[two]
        components = _joined(components, one[joining], two[joining])
        nb_kept += len(one)
        if nb_kept > _PAIRS_PER_IMAGE * nb_rows:
            kept = None
        if kept is not None:
            kept.append(np.stack([one, two], axis=1).astype(np.int32))
    pairs = None if kept is None else np.concatenate([np.empty((0, 2), np.int32), *kept])
    return _Survey(components, degrees, pairs)


def _pairs(space: _Space, least: float) -> Iterator[tuple[Rows, Rows]]:
    """The rows of each pair that reaches ``least``, once, block by block."""
    everything = np.arange(len(space))
    for start in range(0, len(space), _BLOCK):
        for other in range(start, len(space), _BLOCK):
            rows, columns = everything[start : start + _BLOCK], everything[other : other + _BLOCK]
            one, two = np.nonzero(space.reach(rows, columns, least))
            if start == other:
                one, two = one[one < two], two[one < two]
            if len(one):
                yield rows[one], columns[two]


def _joined(components: Labels, one: Rows, two: Rows) -> Labels:
    """Components after some pairs more."""
    if not len(one):
        return components
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = (np.ones(len(one), np.int8), (components[one], components[two]))
    graph = coo_array(edges, shape=(len(components), len(components)))
    _, merged = connected_components(graph, directed=False)
    merged = merged[components]
    _, first, place = np.unique(merged, return_index=True, return_inverse=True)
    return first[place].astype(np.int64)


def _pairwise(space: _Space, least: float) -> tuple[Labels, int]:
    """The group of each row, and how many components were cut by the quicker rule."""
    survey = _survey(space, least, keep=True)
    components = survey.components
    sizes = np.bincount(components, minlength=len(space))
    nb_pairs = np.bincount(components, weights=survey.degrees, minlength=len(space)) / 2
    whole = nb_pairs == sizes * (sizes - 1) / 2  # every two images are similar: one group
    large = ~whole & (nb_pairs > _PAIRS_PER_IMAGE * sizes)

    labels = components.copy()
    rows = np.flatnonzero((~whole & ~large)[components])
    if len(rows):
        labels[rows] = rows[_linked(space, rows, survey.pairs, least)]
    for component in np.flatnonzero(large):
        rows = np.flatnonzero(components == component)
        labels[rows] = rows[_greedy(space.take(rows), survey.degrees[rows], least)]
    return labels, int(large.sum())


def _linked(space: _Space, rows: Rows, pairs: Pairs | None, least: float) -> Labels:
    """Complete linkage of some rows; labels are places among them."""
    if pairs is None:
        # Compared again: the pairs of these rows are few, it was those of others that were many.
        pairs = _survey(space.take(rows), least, keep=True).pairs
        assert pairs is not None  # noqa: S101 - each component has at most 32 for each image
    else:
        place = np.full(len(space), -1, np.int32)
        place[rows] = np.arange(len(rows))
        pairs = place[pairs]
        pairs = pairs[(pairs >= 0).all(axis=1)]
    similarities = space.cosines(rows[pairs[:, 0]], rows[pairs[:, 1]])
    return complete_linkage(similarities, pairs, len(rows))


def _greedy(space: _Space, degrees: Rows, least: float) -> Labels:
    """Groups of which all pairs reach ``least``, without keeping pairs: see find_duplicates."""
    everything = np.arange(len(space))
    labels = np.full(len(space), -1, np.int64)
    waiting = np.lexsort((everything, -degrees))
    step = max(1, min(256, _WORKING_BYTES // (8 * len(space))))
    while len(waiting):
        seeds = waiting[:step]
        similar = space.reach(seeds, everything, least)
        for seed, mask in zip(seeds.tolist(), similar, strict=True):
            if labels[seed] != -1:
                continue
            labels[seed] = seed
            found = np.flatnonzero(mask & (labels == -1))
            cosines = space.cosines(np.full(len(found), seed), found)
            labels[_clique(space, found[np.lexsort((found, -cosines))], least)] = seed
        waiting = waiting[step:]
        waiting = waiting[labels[waiting] == -1]
    return labels


def _clique(space: _Space, rows: Rows, least: float) -> Rows:
    """In their order, each row that reaches ``least`` with all taken before."""
    taken = []
    while len(rows):
        head, rows = rows[:_BLOCK], rows[_BLOCK:]
        similar = space.reach(head, head, least)
        fits = np.ones(len(head), bool)
        for place in range(len(head)):
            if fits[place]:
                own = fits[place + 1 :]
                own &= similar[place, place + 1 :]
        taken.append(head[fits])
        blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
        kept = [block[space.reach(taken[-1], block, least).all(axis=0)] for block in blocks]
        rows = np.concatenate([rows[:0], *kept])
    return np.concatenate(taken) if taken else rows


def _least_similarities(space: _Space, labels: Labels) -> npt.NDArray[np.float32]:
    """(n,) least cosine of each row to its group, copies having 1; NaN in the remainder."""
    least = np.full(len(space), np.nan)
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] != REMAINDER]
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    for group in np.split(order, bounds) if len(order) else []:
        least[group] = 1.0
        for start in range(0, len(group), _BLOCK):
            rows = group[start : start + _BLOCK]
            mine = space.exact(rows)
            for other in range(start, len(group), _BLOCK):
                columns = group[other : other + _BLOCK]
                cosines = mine @ space.exact(columns).T
                least[rows] = np.minimum(least[rows], cosines.min(axis=1))
                least[columns] = np.minimum(least[columns], cosines.min(axis=0))
    return least.astype(np.float32)


def _as_bytes(points: Vectors) -> npt.NDArray[np.void]:
    return points.view(np.dtype((np.void, points.dtype.itemsize * points.shape[1]))).ravel()


def _notes(
    labels: Labels,
    similarities: npt.NDArray[np.float32],
    least: float,
    guarantee: str,
    hurried: int,
) -> tuple[str, ...]:
    if (labels == REMAINDER).all():
        return (
            noted(
                "No two images reach a similarity of {least:g}, all are the remainder: a lower "
                "min_similarity finds more.",
                least=least,
            ),
        )
    notes = []
    lowest = float(np.nanmin(similarities))
    if guarantee == "connected" and lowest < least - 1e-6:
        notes.append(
            noted(
                "The least similar images of one group have a similarity of {lowest:.2f}: "
                "`guarantee: pairwise` lets none be below min_similarity.",
                lowest=lowest,
            )
        )
    if hurried:
        notes.append(
            noted(
                "min_similarity {least:g} connects many images with very many others, in {hurried} "
                "place(s): every two images of a group reach it there too, but a higher one would "
                "cut clearer groups.",
                least=least,
                hurried=hurried,
            )
        )
    return tuple(notes)
