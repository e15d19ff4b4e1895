"""Images that are one thing: copies, copies but for rounding, and sets of near copies.

Belongs here: which vectors stand for the same picture, and which groups are so much closer to each
other than to all else that no method should tear them or leave them over. Does not belong here:
groups of a least similarity that is asked for (``duplicates``), what methods do with all of this.

Methods that look at how densely images lie are misled by copies, and so see each picture once. But
five copies are a cluster of five images: how many images a picture stands for is its weight.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from panoptic_assets.clustering.algorithms.interface import Data, Outcome, distinct
from panoptic_assets.spec.computation import Labels, Rows, Vectors
from resources.errors import noted

_IDENTICAL = noted("All images are identical: they are one cluster.")
_ROUNDED = noted(
    "All images are identical but for what rounding makes of their vectors: they are one cluster."
)
ALL_ALIKE = noted(
    "All images are almost the same: they are one cluster. A number, such as `nb_clusters: 2`, "
    "forces a cut."
)
_NEIGHBORS = 8
"""Nearest of each picture that are looked at. For an automatic number, 10 change the Rand index by
.02 at most, 5 take .1 away from one collection, 30 from most."""
_STORED = 50
"""Neighbours that are known at no cost; enough to find 8 others behind the copies of an image."""
_LEFT_OVER = 0.15
"""Share of near copies in the remainder from which on what a method found in them is noise.
Collections have .06 to .11 in the remainder; shots of one thing, as far as they differ by chance,
.17 or more, and .3 or more if they are vectors of 64 numbers or more."""
_ROUNDING = 1e-7
"""One minus the cosine below which vectors are copies. Float32 makes 1e-14 of it, another machine
or another batch up to 1e-10; integers that differ by 1 beside a 2000 have 1.2e-7."""
_ROUNDS = 4
"""Of putting those together that are equal but for rounding: of a picture that equals more than 8
others, only 8 are seen at a time. One is enough for nearly all; the last is for thousands."""
_ROUNDING_OF_POINTS = 1e-6
"""The same of a projection's points, as a distance by the usual size of their coordinates."""
_ALIKE = 0.95
"""Cosine by which near copies hang together, that of ``duplicates``."""
_REACH = float(np.sqrt(2 - 2 * _ALIKE))
"""The same as a distance."""
_APART = 3.0
"""Times as far as its own links reach, nothing else is near a set of near copies."""
_CHAIN = 10.0
"""The same of a set that is wide, as frames of one scene are, whose first and last differ. Species
of iris, measured in centimetres, hang together so far that others are at 6.6 times their links."""
_CUT = 1.5
"""Times as far as the links of two halves reach, these lie apart: there is more than one thing."""
_HALF = 5
"""Pictures of a half, at least."""
_BLOCK = 1 << 21
"""Numbers that are held at a time: 8 MB."""

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DistinctPictures:
    """The images of a scope, each picture once."""

    data: Data
    """All images."""
    first: Rows
    """(m,) rows, ascending: of each picture, its first image."""
    places: Rows
    """(n,) for each image the place of its picture among them."""

    @classmethod
    def of(cls, data: Data, rounded: bool = True) -> "DistinctPictures":
        """Tell pictures apart.

        Args:
            data: The images.
            rounded: Whether vectors that are equal but for rounding are one picture.
        """
        found = cls(data, *distinct(data.points))
        for _ in range(_ROUNDS if rounded else 0):
            if len(found) == 1:
                break
            found, is_all = found._without_rounding()
            if is_all:
                break
        return found

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def points(self) -> Vectors:
        """(m, d)."""
        if len(self.first) == len(self.data):
            return self.data.points
        return self.data.points[self.first]

    @cached_property
    def weights(self) -> Rows:
        """(m,) how many images each stands for."""
        return np.bincount(self.places, minlength=len(self.first)).astype(np.int64)

    @cached_property
    def nearest(self) -> Rows:
        """(m, min(8, m - 1)) places of the nearest neighbours of each among the pictures."""
        if len(self.first) == len(self.data):
            return self.data.nearest(_NEIGHBORS)
        wanted = min(_NEIGHBORS, len(self.first) - 1)
        # Of copies, the first counts: what is left is what would be found without the others.
        known = self.places[self.data.nearest(_STORED)[self.first]]
        order = np.argsort(known, axis=1, kind="stable")
        in_order = np.take_along_axis(known, order, axis=1)
        again = np.zeros(known.shape, bool)
        repeated = np.zeros((len(self.first), 1), bool), in_order[:, 1:] == in_order[:, :-1]
        np.put_along_axis(again, order, np.hstack(repeated), axis=1)
        again |= known == np.arange(len(self.first))[:, None]
        if (known.shape[1] - again.sum(axis=1) < wanted).any():
            return self.data.take(self.first).nearest(_NEIGHBORS)
        kept = np.argsort(again, axis=1, kind="stable")[:, :wanted]
        return np.take_along_axis(known, kept, axis=1)

    @cached_property
    def closest(self) -> Distances:
        """(m,) the distance of each picture to the nearest other one."""
        return distances(self.points, np.arange(len(self)), self.nearest[:, :1])[:, 0]

    @cached_property
    def links(self) -> tuple[Rows, Rows, Distances]:
        """Two places each, and the distance of their pictures: those that may be near copies."""
        points, nearest = self.points, self.nearest
        rows = np.flatnonzero(self.closest <= (_REACH if self.data.unit else self._rounding))
        lengths = distances(points, rows, nearest[rows])
        return np.repeat(rows, nearest.shape[1]), nearest[rows].ravel(), lengths.ravel()

    @property
    def _rounding(self) -> float:
        """The distance of pictures that are equal but for rounding."""
        if self.data.unit:
            return float(np.sqrt(2 * _ROUNDING))
        return _ROUNDING_OF_POINTS * float(np.median(np.abs(self.data.points).max(axis=1)))

    def _without_rounding(self) -> tuple["DistinctPictures", bool]:
        """Those that are equal but for rounding as one, and whether all such pairs were seen."""
        one, two, lengths = self.links
        equal = lengths <= self._rounding
        if not equal.any():
            return self, True
        is_all = not equal.reshape(-1, self.nearest.shape[1]).all(axis=1).any()
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        ends = (np.ones(np.count_nonzero(equal), np.int8), (one[equal], two[equal]))
        graph = coo_array(ends, shape=(len(self), len(self)))
        _, component = connected_components(graph, directed=False)
        _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        fewer = DistinctPictures(self.data, self.first[first[order]], rank[inverse][self.places])
        return fewer, is_all


def distances(points: Vectors, rows: Rows, others: Rows) -> Distances:
    """(r, k) from each of some rows to k others."""
    found = np.empty(others.shape)
    block = max(1, _BLOCK // (others.shape[1] * points.shape[1]))
    for start in range(0, len(rows), block):
        gaps = points[rows[start : start + block], None] - points[others[start : start + block]]
        found[start : start + block] = np.einsum("ikd,ikd->ik", gaps, gaps)
    return np.sqrt(found)


def as_one(nb_images: int, why: str) -> Outcome:
    """All images as one cluster, for a reason that is its note."""
    return Outcome(np.zeros(nb_images, np.int64), np.ones(nb_images, np.float32), notes=(why,))


def identical(data: Data) -> Outcome:
    """What all images are that show one picture: one cluster."""
    is_exact = bool((data.points == data.points[0]).all())
    return as_one(len(data), _IDENTICAL if is_exact else _ROUNDED)


def is_one_thing(pictures: DistinctPictures, labels: Labels) -> bool:
    """Whether all images are one cluster, since they are near copies, and most were left over.

    They are near copies if each has a cosine of √.95 or more to their mean: of vectors that differ
    by chance, any two have .95 then, and no two less than .9; the score is 5 at most.

    Args:
        pictures: The images.
        labels: (m,) what a method made of the pictures, -1 for the remainder.
    """
    if not pictures.data.unit or not (labels == -1).any():
        return False
    weights = pictures.weights
    left_over = weights[labels == -1].sum() > _LEFT_OVER * weights.sum()
    if len(np.unique(labels[labels >= 0])) > 1 and not left_over:
        return False
    points = pictures.points
    mean = points.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if length**2 < _ALIKE - 1e-6:  # the mean of all those cosines
        return False
    return bool((np.einsum("ij,j->i", points, mean / length) >= np.sqrt(_ALIKE)).all())


@dataclass(frozen=True, eq=False)
class OneThing:
    """A set of near copies that lies apart from all else."""

    places: Rows
    """Of its pictures, ascending; two or more."""
    link: float
    """The distance by which the last of them hang together."""

    def is_whole(self, labels: Labels) -> bool:
        """Whether one cluster has all of it."""
        own = labels[self.places]
        return bool(own[0] >= 0 and (own == own[0]).all())


def sets_of_one_thing(pictures: DistinctPictures, least: int) -> list[OneThing]:
    """Sets of near copies that lie apart from all else: shots of one thing, frames of one scene.

    A set hangs together by pairs of a cosine of .95 or more. Seen from all the rest it is one
    point: no other picture is within three times the distance of its farthest link, and of its
    outermost picture to its middle; or ten times that of its farthest link, where it is wide. It
    has no two halves of 5 pictures or more that lie half as far again apart as the links of either
    reach. Sets are sought in the graph of nearest neighbours; that nothing else is near one is sure
    once :func:`torn` has it, which compares those few that a method does not find with all else.

    Args:
        pictures: The images.
        least: Images of a set, at least; copies count.

    Returns:
        Such sets, the larger ones first; a set may be within another one. All pictures together
        are no set. Nothing for the points of a projection: how alike two images are is not known
        of them.
    """
    if not pictures.data.unit or len(pictures) == 1:
        return []
    one, two, lengths = pictures.links
    order = np.flatnonzero(lengths < _APART * _REACH)
    order = order[np.argsort(lengths[order], kind="stable")]
    forest = _Forest(pictures.weights, least)
    ends = one[order].tolist(), two[order].tolist(), lengths[order].tolist()
    for left, right, length in zip(*ends, strict=True):
        forest.link(left, right, length)
    return forest.sets()


class _Forest:
    """Pictures that are linked one by one, the closest first: the tree of single linkage."""

    def __init__(self, weights: Rows, least: int):
        self._least = least
        self._nb_pictures = len(weights)
        self._tree = list(range(len(weights)))
        self._members = {place: [place] for place in self._tree}
        self._weights = weights.tolist()
        self._reach = [0.0] * len(weights)
        """Of each tree, the length of its last link."""
        self._is_cut = [False] * len(weights)
        """Of each tree, whether it has two halves that lie apart."""
        self._found: list[OneThing] = []

    def link(self, left: int, right: int, length: float) -> None:
        """Link two pictures, which are no closer than those before."""
        one, two = self._tree[left], self._tree[right]
        if one == two:
            return
        for tree in (one, two):
            self._keep(tree, length)
        if len(self._members[one]) < len(self._members[two]):
            one, two = two, one
        halves = len(self._members[two]) >= _HALF
        apart = length >= _CUT * max(self._reach[one], self._reach[two])
        self._is_cut[one] |= self._is_cut[two] or (halves and apart)
        self._reach[one] = length
        self._weights[one] += self._weights[two]
        moved = self._members.pop(two)
        self._members[one] += moved
        for place in moved:
            self._tree[place] = one

    def sets(self) -> list[OneThing]:
        """The sets, once all that is closer than three times .95 was linked."""
        for tree in list(self._members):
            self._keep(tree, _APART * _REACH)
        return sorted(self._found, key=lambda one: (-len(one.places), int(one.places[0])))

    def _keep(self, tree: int, next_link: float) -> None:
        members, reach = self._members[tree], self._reach[tree]
        if (
            1 < len(members) < self._nb_pictures
            and self._weights[tree] >= self._least
            and reach <= _REACH
            and next_link >= _APART * reach
            and not self._is_cut[tree]
        ):
            self._found.append(OneThing(np.sort(np.array(members)), reach))


def torn(pictures: DistinctPictures, sets: Iterable[OneThing], labels: Labels) -> list[OneThing]:
    """The sets that a method tears or leaves over, the largest that nothing else is near.

    Args:
        pictures: The images.
        sets: As :func:`sets_of_one_thing` gives them.
        labels: (m,) what the method made of the pictures, -1 for the remainder.
    """
    found = []
    is_taken = np.zeros(len(pictures), bool)
    for one in sets:
        if is_taken[one.places[0]] or one.is_whole(labels):
            continue
        if _lies_apart(pictures, one):
            found.append(one)
            is_taken[one.places] = True
    return found


def _lies_apart(pictures: DistinctPictures, found: OneThing) -> bool:
    """Whether no other picture is near a set, seen from its links and its width."""
    from threadpoolctl import threadpool_limits

    points = pictures.points
    others = np.ones(len(points), bool)
    others[found.places] = False
    outside, inside = points[others], points[found.places]
    block = max(1, _BLOCK // len(outside))
    with threadpool_limits(limits=1):  # on two, sums may have other last bits
        most = max(
            float((inside[start : start + block] @ outside.T).max())
            for start in range(0, len(inside), block)
        )
    gap = np.sqrt(max(2 - 2 * most, 0))
    radius = np.sqrt(np.square(inside - inside.mean(axis=0)).sum(axis=1).max())
    return bool(gap >= min(_APART * max(found.link, radius), _CHAIN * found.link))
