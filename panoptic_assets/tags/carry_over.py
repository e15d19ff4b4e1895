"""Carry-over: tags that follow their clusters when a run is computed again and saved again.

Belongs here: which new cluster is which saved one, what became of the others, and the event that
saves the new tree with the tags of the old one. Does not belong here: what that event does
(``spec.tag_log``), where it is stored, and reading vectors.

Clusters are matched level by level, the children of matched parents among themselves: those that
share images by the assignment of the greatest total overlap (Kuhn, 1955; ``linear_sum_assignment``
of SciPy), where overlap is the Jaccard index of the images that both trees have; those of which
hardly an image is left by the cosine of their means.

A tag that people use stays when the tree has no cluster of it, and gets the one again that is like
it: by the images that come back, or by those that it had when people used it last. So a disk that
is away for a while takes no name with it, however the run is cut meanwhile. Where several tags
would have one cluster, those that people edited count for more.

Long because pairing, its questions and its events are one decision, whose parts mean nothing alone.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from panoptic_assets.spec.tag_log import (
    HIERARCHY,
    Event,
    State,
    Tag,
    free_name,
    in_tree_order,
    is_numbered,
    normalised,
    paths,
)
from panoptic_assets.spec.text import beginning
from resources.errors import PlainError

T = TypeVar("T")
Means = Callable[[Sequence[Collection[str]]], Sequence[npt.NDArray[np.float64] | None]]
"""For each of several sets of image ids, the (d,) mean of their vectors; None without any."""

MIN_OVERLAP = 0.5
LEAST_OVERLAP = 0.1
"""Clusters that share less are not the same one, and nobody is asked."""
LEAST_LEFT = 0.1
"""Share of a cluster's images below which the few that are left say nothing of where it went."""
LEAST_COSINE = 0.9
"""Of two means, to be those of one cluster."""
LEAST_SHARE = 0.2
"""Of a cluster's images, to say that it was split or merged."""
_AWAITED, _UNTOUCHED = 0.5, 0.25
"""What an overlap of a tag that nobody edited counts for, beside 1 for one that people edited."""
_SHOWN = 5
_NAMES_SHOWN = 20

Kind = Literal["kept", "returned", "held", "born", "died", "split", "merged"]
KINDS: tuple[Kind, ...] = ("kept", "returned", "held", "born", "died", "split", "merged")
"""``returned``: kept, though the latest save had no such cluster; ``held``: kept below a cluster
that was divided before and is not yet divided again."""


class CarryOverError(PlainError, ValueError):
    """It cannot be told which cluster is which; the message names cause and remedy."""


@dataclass(frozen=True)
class Change:
    """What became of one cluster."""

    kind: Kind
    tag: str
    """Path of the tag; of a cluster that was born and of a merged one, the node."""
    became: str
    """The node, or for a split or merged one the nodes or tags with their shares."""
    overlap: float | None = None
    """Of a kept or returned one: the Jaccard index of the images that both trees have; None if the
    means decided, or nothing had to be decided."""


@dataclass(frozen=True)
class CarryOver:
    """A new tree with the tags of the old one."""

    event: Event
    changes: list[Change]
    """In the order of kinds, and in each that of the old tree, or the new one."""


def carry_over(
    old: Event,
    new: Event,
    state: State,
    means: Means,
    min_overlap: float = MIN_OVERLAP,
    matches: Mapping[str, str] | None = None,
    depth: int | None = None,
) -> CarryOver:
    """The event that saves a run again, so that its tags follow their clusters.

    A matched cluster keeps the id of its tag, and so what people did to it. A tag of which no
    cluster is left goes, unless people made or edited it, or put below it a tag that stays. One
    that has a name that somebody asked for, or that lies below one of people, stays as long as
    images of it are in no cluster, since their files may come back. Where a cluster was divided and
    the new one is not yet, images keep the tags of that clustering.

    Args:
        old: The latest save of the property that is not undone, of the same run.
        new: The run's tree as it is now, as a first save.
        state: The tags as they are now.
        means: Means of vectors, asked for only where images do not decide.
        min_overlap: Least overlap of two clusters to be taken for one unasked.
        matches: Decisions of a person: for paths of tags the node below the run that has taken its
            place, such as ``3`` or ``3/0``; empty if none has.
        depth: Levels of the tree that are saved, if not all. What lies below them goes, unless
            people gave it to images.

    Raises:
        CarryOverError: Clusters overlap less than ``min_overlap``, or ``matches`` names a tag or a
            node that there is not, or a node twice.
    """
    after = _SavedTree(new)
    before = _Before(old, after, state)
    current = paths(in_tree_order(state.tags.values()))

    def shown(tag_id: str) -> str:
        known = state.survivor(tag_id)
        return current[known.tag_id] if known else before.tags[tag_id].name

    decided = _decided(matches or {}, before, after, state, current)
    pairing = _Pairing(before, after, means, decided, max(min_overlap, LEAST_OVERLAP))
    doubtful = [
        (pair, overlap)
        for pair, overlap in pairing.overlaps.items()
        if LEAST_OVERLAP <= overlap < min_overlap
        and not after.tags[pair[1]].is_remainder
        # Nobody would see an answer on a tag that was deleted.
        and state.survivor(pair[0])
    ]
    if doubtful:
        raise _question(doubtful, shown, after, new)
    held = _held(before, after, pairing, depth)
    event = _event(new, before, after, pairing, held, state, depth)
    changes = _changes(before, after, pairing, held, state, event, shown)
    return CarryOver(event, changes)


class _SavedTree:
    """The clusters of a save, each with its images and those below it."""

    def __init__(self, event: Event):
        self.tags = {tag.tag_id: tag for tag in event.tags}
        self.places = {image_id: tag_id for tag_id, image_id in event.images}
        self.children: dict[str | None, list[str]] = defaultdict(list)
        for tag in event.tags:
            self.children[tag.parent_id].append(tag.tag_id)
        self.images: dict[str, set[str]] = {tag_id: set() for tag_id in self.tags}
        for image_id, place in self.places.items():
            for tag_id in self.line(place):
                self.images[tag_id].add(image_id)

    def line(self, tag_id: str | None) -> list[str]:
        """A cluster and those above it, up to the root."""
        found = []
        while tag_id is not None and tag_id in self.tags:
            found.append(tag_id)
            tag_id = self.tags[tag_id].parent_id
        return found

    def below(self, tag_id: str) -> list[str]:
        """What lies below a cluster, parents first."""
        found = list(self.children[tag_id])
        for child in found:
            found += self.children[child]
        return found

    def siblings(self, tag_ids: Iterable[str]) -> dict[str, str]:
        """For each image of some clusters that share none, its cluster."""
        return {image_id: tag_id for tag_id in tag_ids for image_id in self.images[tag_id]}


class _Before(_SavedTree):
    """The clusters of the latest save, and the absent ones: those that only earlier saves had, and
    whose tags people have still, or deleted.

    Attributes:
        latest: Ids of the clusters of the latest save.
        seen: For each claim, how much the new cluster is like what people saw when they last edited
            the tag; filled with the claims.
    """

    def __init__(self, old: Event, new: _SavedTree, state: State):
        super().__init__(old)
        self.latest = set(self.tags)
        self.seen: dict[tuple[str, str], float] = {}
        self._new, self._state = new, state
        self._saved = state.saved.get(old.property, [])
        self._trees: dict[int, _SavedTree] = {}
        self._likeness: dict[tuple[int, str], dict[str, float]] = {}
        self._sizes: dict[int, Counter[str]] = {}
        self._absent: dict[str, _SavedTree] = {}
        for number in reversed(range(len(self._saved))):
            ended = [tag.tag_id for tag in self._saved[number].tags if tag.tag_id not in self.tags]
            for tag_id in ended:
                if state.survivor(tag_id) or state.is_deleted(tag_id):
                    self._absent[tag_id] = tree = self._tree(number)
                    self.tags[tag_id], self.images[tag_id] = tree.tags[tag_id], tree.images[tag_id]
        self._known = set(self.places)
        self._back: dict[str, set[str]] = defaultdict(set)
        came = new.places.keys() - self.places.keys()
        for number in reversed(range(len(self._saved))) if came else ():
            for tag_id, image_id in self._saved[number].images:
                if image_id in came and image_id not in self._known:
                    self._known.add(image_id)
                    for above in self._tree(number).line(tag_id):
                        self._back[above].add(image_id)

    def of(self, tag_id: str) -> _SavedTree:
        """The last save that had a cluster."""
        return self._absent.get(tag_id, self)

    def is_edited(self, tag_id: str) -> bool:
        """Whether people did anything to the tag that a cluster has now."""
        known = self._state.survivor(tag_id)
        return known is not None and known.tag_id in self._state.edited

    def claims(self, certain: float) -> dict[str, dict[str, float]]:
        """How much new clusters are like the absent ones, and like what people edited.

        That is the greater of two overlaps: of the images that come back, and of those that the
        cluster had when people last edited its tag. Between the limits, only the first counts: the
        other images were in other clusters meanwhile, and nobody need be asked about them. A whole
        does not claim what one of its parts is more like, nor a part what its whole is.

        Args:
            certain: Overlap from which on nobody is asked.

        Returns:
            For each such cluster, the new ones with their overlaps; nothing where no cluster is
            absent and no image comes back.
        """
        if not self._absent and not self._back:
            return {}
        found = {}
        for tag_id in self.tags:
            if tag_id in self._absent or self.is_edited(tag_id):
                found[tag_id] = self._near(tag_id, certain)
        return found

    def weight(self, tag_id: str) -> float:
        """What an overlap counts for, where several clusters claim one: what people edited goes
        before what waits for its images under a name that somebody asked for, and that before what
        nobody touched."""
        if self.is_edited(tag_id):
            return 1.0
        known = None if tag_id in self.latest else self._state.survivor(tag_id)
        return _AWAITED if known and not is_numbered(known.name) else _UNTOUCHED

    def _near(self, tag_id: str, certain: float) -> dict[str, float]:
        tree = self._as_edited(tag_id)
        had, back = tree.images[tag_id], self._back.get(tag_id, set())
        if sum(image_id in self._new.places for image_id in had) < LEAST_LEFT * len(had):
            return {}
        then, now = self._alike(tree, tag_id), self._jaccards(back, self._known)
        asks = tag_id in self._absent and self._state.survivor(tag_id) is not None
        kin = [*tree.line(tag_id)[1:], *tree.below(tag_id)]
        of_kin = [self._alike(tree, other) for other in kin]
        found = {}
        for new_id in then.keys() | now.keys():
            if self._new.tags[new_id].is_remainder != self.tags[tag_id].is_remainder:
                continue
            likeness = max(now.get(new_id, 0.0), then.get(new_id, 0.0))
            if any(other.get(new_id, 0.0) > likeness for other in of_kin):
                continue  # the whole of which this was a part, or a part of it
            if likeness >= certain or (asks and now.get(new_id, 0.0) >= LEAST_OVERLAP):
                found[new_id] = likeness
                self.seen[tag_id, new_id] = then.get(new_id, 0.0)
        return found

    def _alike(self, tree: _SavedTree, tag_id: str) -> dict[str, float]:
        """How much the new clusters are like one of a save, by the images that both trees have."""
        place = (id(tree), tag_id)
        if place not in self._likeness:
            known = tree.places.keys()
            self._likeness[place] = self._jaccards(tree.images[tag_id], known, id(tree))
        return self._likeness[place]

    def _jaccards(
        self, images: Collection[str], known: Collection[str], place: int = 0
    ) -> dict[str, float]:
        """The Jaccard index of some images with each new cluster, among those that are known.

        Args:
            images: Ids.
            known: Ids among which they are.
            place: Under which the sizes of the new clusters, among these, are remembered.
        """
        if place not in self._sizes:
            self._sizes[place] = self._held(known)
        shared = self._held(images)
        nb = sum(image_id in self._new.places for image_id in images)
        sizes = self._sizes[place]
        return {new_id: count / (nb + sizes[new_id] - count) for new_id, count in shared.items()}

    def _held(self, images: Collection[str]) -> Counter[str]:
        """How many of some images each new cluster has."""
        places = self._new.places
        direct = Counter(places[image_id] for image_id in images if image_id in places)
        found: Counter[str] = Counter()
        for tag_id, count in direct.items():
            for above in self._new.line(tag_id):
                found[above] += count
        return found

    def _as_edited(self, tag_id: str) -> _SavedTree:
        """The save in which people saw a cluster when they last edited its tag, or the last one."""
        known = self._state.survivor(tag_id)
        nb_saved = self._state.edited.get(known.tag_id, 0) if known else 0
        for number in reversed(range(nb_saved)):
            if any(tag.tag_id == tag_id for tag in self._saved[number].tags):
                return self._tree(number)
        return self.of(tag_id)

    def _tree(self, number: int) -> _SavedTree:
        if number not in self._trees:
            self._trees[number] = _SavedTree(self._saved[number])
        return self._trees[number]


class _Pairing:
    """Which new cluster is which old one.

    Attributes:
        old_of: For each new cluster that is an old one, that one.
        overlaps: For the pairs that shared images decided, how much they overlap.
        levels: The clusters that were compared: those of the latest save and the new ones.
    """

    def __init__(
        self,
        old: _Before,
        new: _SavedTree,
        means: Means,
        decided: Mapping[str, str | None],
        certain: float,
    ):
        self._old, self._new, self._means = old, new, means
        self._common = old.places.keys() & new.places.keys()
        self.old_of: dict[str, str] = {}
        self.overlaps: dict[tuple[str, str], float] = {}
        self.levels: list[tuple[list[str], list[str]]] = []
        taken = {new_id for new_id in decided.values() if new_id}
        pairs = [(old_id, new_id) for old_id, new_id in decided.items() if new_id]
        self.old_of |= {new_id: old_id for old_id, new_id in pairs}
        self._claims = old.claims(certain)
        absent: dict[str | None, list[str]] = defaultdict(list)
        for tag_id, near in self._claims.items():
            if near and tag_id not in old.latest and tag_id not in decided:
                # It is compared where the cluster is that is most like it, for what was above it
                # may be gone. Of a cluster and its only part, that is the one of its own level.
                level = len(old.of(tag_id).line(tag_id))
                ranks = [(-near[b], abs(len(new.line(b)) - level), b) for b in near]
                absent[new.tags[min(ranks)[2]].parent_id].append(tag_id)
        waiting: list[tuple[str | None, str | None]] = [(None, None), *pairs]
        while waiting:
            above_old, above_new = waiting.pop()
            olds = old.children[above_old] if above_old or not above_new else []
            news = new.children[above_new]
            self.levels.append((olds, news))
            found = self._match(
                [tag_id for tag_id in [*olds, *absent[above_new]] if tag_id not in decided],
                [tag_id for tag_id in news if tag_id not in taken],
            )
            self.old_of |= {new_id: old_id for old_id, new_id in found}
            waiting += found
            waiting += [
                (None, b)
                for b in news
                if b not in self.old_of and any(absent[a] for a in [b, *new.below(b)])
            ]
        self._match_anywhere(decided)

    def _match_anywhere(self, decided: Mapping[str, str | None]) -> None:
        """Give claiming clusters that have no partner in their level one that is free elsewhere."""
        matched = set(self.old_of.values())
        left = [a for a in self._claims if a not in matched and a not in decided]
        free = [b for b in self._new.tags if b not in self.old_of]
        table = np.array([[self._claims[a].get(b, 0.0) for b in free] for a in left])
        found = paired(left, free, self._ranked(left, free, table), 0)
        self.overlaps |= {(a, b): self._claims[a][b] for a, b in found}
        self.old_of |= {b: a for a, b in found}

    def _ranked(
        self, olds: list[str], news: list[str], table: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """A table of (len(olds), len(news)) overlaps, as they compete where there are claims.

        Equal ones are decided by a trifle, in the order of their weights: what people edited gets
        what they saw; what nobody edited stays where it was at the latest save.
        """
        if not table.size:
            return table
        weights = np.array([[self._old.weight(a)] for a in olds])
        latest = np.array([[a in self._old.latest] for a in olds])
        seen = np.array([[self._old.seen.get((a, b), 0.0) for b in news] for a in olds])
        trifles = 16 * weights + latest + 1.5 * seen * (weights > _UNTOUCHED)
        table = np.where(table < LEAST_OVERLAP, 0.0, table) * weights
        return np.where(table > 0, table + 1e-6 * trifles, 0.0)

    def shares(
        self, olds: Iterable[str], news: Iterable[str]
    ) -> tuple[Counter[tuple[str, str]], Counter[str], Counter[str]]:
        """How many images two levels share, and how many of each cluster are in both trees."""
        before, after = self._old.siblings(olds), self._new.siblings(news)
        both = Counter(
            (before[image_id], after[image_id]) for image_id in before.keys() & after.keys()
        )
        of_old = Counter(before[image_id] for image_id in before.keys() & self._common)
        of_new = Counter(after[image_id] for image_id in after.keys() & self._common)
        return both, of_old, of_new

    def _match(self, olds: list[str], news: list[str]) -> list[tuple[str, str]]:
        both, of_old, of_new = self.shares([a for a in olds if a in self._old.latest], news)
        overlap = {
            (a, b): count / (of_old[a] + of_new[b] - count) for (a, b), count in both.items()
        }
        claims = {
            (a, b): value
            for a in olds
            for b, value in self._claims.get(a, {}).items()
            if b in news and value >= overlap.get((a, b), 0.0)
        }
        overlap |= claims
        found: list[tuple[str, str]] = []
        for rest in (True, False):  # the remainder is no cluster: it is matched with itself only
            left = [a for a in olds if self._old.tags[a].is_remainder == rest]
            right = [b for b in news if self._new.tags[b].is_remainder == rest]
            if rest:
                pairs = list(zip(left, right, strict=False))
                self.overlaps |= {pair: overlap.get(pair, 0.0) for pair in pairs}
            else:
                least = {a: LEAST_LEFT * len(self._old.images[a]) for a in left}
                claiming = {a for a, _ in claims}
                stay = [a for a in left if a in claiming or of_old[a] >= least[a]]
                lost = [a for a in left if a not in stay and a in self._old.latest]
                table = np.array([[overlap.get((a, b), 0.0) for b in right] for a in stay])
                if claims:
                    pairs = paired(stay, right, self._ranked(stay, right, table), 0)
                else:
                    pairs = paired(stay, right, table, LEAST_OVERLAP)
                self.overlaps |= {pair: overlap[pair] for pair in pairs}
                taken = {b for _, b in pairs}
                pairs += self._by_means(lost, [b for b in right if b not in taken])
            found += pairs
        return found

    def _by_means(self, olds: list[str], news: list[str]) -> list[tuple[str, str]]:
        if not olds or not news:
            return []
        found = self._means(
            [self._old.images[tag_id] for tag_id in olds]
            + [self._new.images[tag_id] for tag_id in news]
        )
        units = [None if m is None else m / max(float(np.linalg.norm(m)), 1e-12) for m in found]
        table = np.array(
            [
                [0.0 if a is None or b is None else float(a @ b) for b in units[len(olds) :]]
                for a in units[: len(olds)]
            ]
        )
        return paired(olds, news, table, LEAST_COSINE)


def paired(
    olds: Sequence[T], news: Sequence[T], table: npt.NDArray[np.float64], least: float
) -> list[tuple[T, T]]:
    """The pairs of the greatest sum over a table of (len(olds), len(news)), none below a limit."""
    # Half a second, which every command would wait for: configuration imports this module.
    from scipy.optimize import linear_sum_assignment

    if not table.size:
        return []
    table = np.where(table < least, 0.0, table)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return [(olds[i], news[j]) for i, j in zip(rows, columns, strict=True) if table[i, j] > 0]


def _decided(
    matches: Mapping[str, str],
    old: _Before,
    new: _SavedTree,
    state: State,
    current: Mapping[str, str],
) -> dict[str, str | None]:
    """A person's decisions: old clusters, each with the new one, or None."""
    by_path: dict[str, list[str]] = defaultdict(list)
    for tag_id in old.tags:
        if known := state.survivor(tag_id):
            by_path[_comparable(current[known.tag_id])].append(tag_id)
    nodes = {(tag.node or "").partition("/")[2]: tag_id for tag_id, tag in new.tags.items()}
    decided: dict[str, str | None] = {}
    for path, node in matches.items():
        found = by_path.get(_comparable(path), [])
        if not found:
            there = [current[tag.tag_id] for tag in map(state.survivor, old.tags) if tag]
            raise CarryOverError(
                "`matches` names {path!r}, which is no tag of a saved cluster: there are {known}.",
                id="matches-unknown-tag",
                path=path,
                known=beginning([*map(repr, dict.fromkeys(there))], _NAMES_SHOWN),
            )
        if node and node not in nodes:
            raise CarryOverError(
                "`matches` gives {path!r} the node {node!r}, which is not saved: there are "
                "{known}.",
                id="matches-unknown-node",
                path=path,
                node=node,
                known=beginning([*map(repr, nodes)], _NAMES_SHOWN),
            )
        new_id = nodes[node] if node else None
        # Of clusters whose tags were merged, the one that is most like the node; if it ends, all.
        images = new.images[new_id] if new_id else set()
        found = sorted(found, key=lambda a: (-len(old.images[a] & images), -len(old.images[a]), a))
        decided |= dict.fromkeys(found[:1] if new_id else found, new_id)
    taken = [tag_id for tag_id in decided.values() if tag_id]
    if len(set(taken)) < len(taken):
        [twice] = [tag_id for tag_id, count in Counter(taken).items() if count > 1][:1]
        raise CarryOverError(
            "`matches` gives the node {node!r} to two tags: merge these first, or give it to one.",
            id="matches-node-twice",
            node=new.tags[twice].node,
        )
    return decided


def _comparable(path: str) -> str:
    return HIERARCHY.join(normalised(name) for name in path.split(HIERARCHY.strip()))


def _question(
    doubtful: list[tuple[tuple[str, str], float]],
    shown: Callable[[str], str],
    new: _SavedTree,
    event: Event,
) -> CarryOverError:
    doubtful = sorted(doubtful, key=lambda entry: (entry[1], entry[0]))
    named = [
        f"{shown(old_id)!r} and {new.tags[new_id].node} {overlap:.2f}"
        for (old_id, new_id), overlap in doubtful
    ]
    # Rounded down, so that it accepts them all.
    accepting = int(doubtful[0][1] * 100) / 100
    (old_id, new_id), _ = doubtful[0]
    example = f"{shown(old_id)}={(new.tags[new_id].node or '').partition('/')[2]}"
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return CarryOverError(
        "It is not certain which clusters of {run_key!r} the tags of {property!r} belong to now, "
        "as these overlap little: {doubtful}. Accept them with `min_overlap: {accepting}` "
        "(`--min-overlap {accepting}`), decide with `matches` "
        '(`--match "{example}"`), or start anew with `replace: true` (`--replace`).',
        id="carry-over-uncertain",
        run_key=event.run_key,
        property=event.property,
        doubtful=", ".join(named[:_SHOWN]) + more,
        accepting=accepting,
        example=example,
    )


def _held(
    old: _Before, new: _SavedTree, pairing: _Pairing, depth: int | None
) -> dict[str, dict[str, str]]:
    """For new clusters that are not divided as the old ones were: who stays below, and where.

    Returns:
        For each such new cluster, images with the old cluster below that they keep.
    """
    held: dict[str, dict[str, str]] = {}
    matched = set(pairing.old_of.values())
    for new_id, old_id in pairing.old_of.items():
        levels = (new.tags[new_id].node or "").count("/")
        most = None if depth is None else depth - levels
        was = old.of(old_id)
        if new.children[new_id] or not was.children[old_id] or (most is not None and most <= 0):
            continue
        above = len(was.line(old_id))
        stay = {}
        for image_id in new.images[new_id] & was.images[old_id]:
            line = was.line(was.places[image_id])[::-1][above:][:most]
            if line and not matched & set(line) and old.tags.keys() >= set(line):
                stay[image_id] = line[-1]
        held[new_id] = stay
    return held


def _event(
    made: Event,
    old: _Before,
    new: _SavedTree,
    pairing: _Pairing,
    held: dict[str, dict[str, str]],
    state: State,
    depth: int | None,
) -> Event:
    staying = _staying(old, pairing, held)
    removed = _removed(old, new, staying, state, depth)
    used = {*state.tags, *state.gone, *old.tags}
    matched = set(pairing.old_of.values())
    siblings: dict[str | None, set[str]] = defaultdict(set)
    for tag in state.tags.values():
        if tag.property == made.property and tag.tag_id not in removed:
            siblings[tag.parent_id].add(normalised(tag.name))
    target: dict[str, str] = {}
    tags: list[Tag] = []
    for new_id, tag in new.tags.items():  # parents first
        old_id = pairing.old_of.get(new_id)
        parent_id = target[tag.parent_id] if tag.parent_id else None
        if old_id is not None:
            target[new_id] = old_id
            tags.append(_known(replace(tag, tag_id=old_id, parent_id=parent_id), old, state))
        else:
            target[new_id] = _unused(new_id, used)
            used.add(target[new_id])
            above = state.survivor(parent_id)
            place = above.tag_id if above else parent_id
            name = free_name(tag.name, siblings[place])
            siblings[place].add(normalised(name))
            tags.append(replace(tag, tag_id=target[new_id], parent_id=parent_id, name=name))
        for tag_id in old.of(old_id).below(old_id) if old_id and new_id in held else []:
            if tag_id in staying and tag_id not in matched:
                tags.append(_known(old.tags[tag_id], old, state))
    images = tuple(
        (held.get(place, {}).get(image_id, target[place]), image_id)
        for image_id, place in new.places.items()
    )
    return replace(
        made, tags=tuple(tags), images=images, tag_ids=tuple(sorted(removed)), carries_over=True
    )


def _known(tag: Tag, old: _SavedTree, state: State) -> Tag:
    """A tag under the name and colour that it has now."""
    known = state.tags.get(tag.tag_id, old.tags[tag.tag_id])
    return replace(tag, name=known.name, colour=known.colour)


def _unused(tag_id: str, used: Collection[str]) -> str:
    """A tag's id made from its cluster's content; another one where that came back once already."""
    for number in itertools.count(2):
        if tag_id not in used:
            break
        tag_id = sha256(f"{tag_id}\0{number}".encode()).hexdigest()[:16]
    return tag_id


def _staying(old: _Before, pairing: _Pairing, held: dict[str, dict[str, str]]) -> set[str]:
    """Old clusters of which something is left."""
    staying = set(pairing.old_of.values())
    for new_id, stay in held.items():
        was = old.of(pairing.old_of[new_id])
        for place in set(stay.values()):
            staying |= set(was.line(place))
    return staying


def _removed(
    old: _Before, new: _SavedTree, staying: set[str], state: State, depth: int | None
) -> set[str]:
    """Tags of which no cluster is left, and on which no person's own work lies."""

    def tags_of(clusters: Iterable[str]) -> set[str]:
        return {known.tag_id for known in map(state.survivor, clusters) if known}

    ended = tags_of(old.tags) - tags_of(staying)
    away = {tag_id for tag_id in ended if state.members[tag_id].keys() - new.places.keys()}
    kept = {tag_id for tag_id in away if not is_numbered(state.tags[tag_id].name)}
    kept |= state.edited.keys()
    kept |= away & tags_of(
        tag_id for tag_id in old.tags if tags_of(old.of(tag_id).line(tag_id)[1:]) & kept
    )
    if depth is not None:  # what lies below is left out on purpose
        below = {tag_id for tag_id in old.latest if len(old.line(tag_id)) > depth}
        kept -= tags_of(below) - tags_of(old.tags.keys() - below)
    ended = {tag_id for tag_id in ended - kept if not state.of_people(tag_id)}
    for tag in state.tags.values():
        if tag.tag_id in ended:
            continue
        above = tag.parent_id
        while above is not None:  # what lies above a tag that stays is its place
            ended.discard(above)
            above = state.tags[above].parent_id
    return ended


def _changes(
    old: _Before,
    new: _SavedTree,
    pairing: _Pairing,
    held: dict[str, dict[str, str]],
    state: State,
    event: Event,
    shown: Callable[[str], str],
) -> list[Change]:
    found: dict[Kind, list[Change]] = defaultdict(list)
    node = {tag_id: str(tag.node) for tag_id, tag in new.tags.items()}
    staying = _staying(old, pairing, held)
    for new_id in new.tags:
        if (old_id := pairing.old_of.get(new_id)) is None:
            found["born"].append(Change("born", node[new_id], node[new_id]))
        elif state.survivor(old_id):
            overlap = pairing.overlaps.get((old_id, new_id))
            kind: Kind = "kept" if old_id in old.latest else "returned"
            found[kind].append(Change(kind, shown(old_id), node[new_id], overlap))
        if old_id is not None and new_id in held:
            found["held"].extend(
                Change("held", shown(tag_id), f"{node[new_id]}, not divided again")
                for tag_id in old.of(old_id).below(old_id)
                if tag_id in staying
            )
    for tag_id in old.tags:
        known = None if tag_id in staying else state.survivor(tag_id)
        if known and (tag_id in old.latest or known.tag_id in event.tag_ids):
            away = len(state.members[known.tag_id].keys() - new.places.keys())
            became = "stays, as people use it"
            if away:
                became += f"; {away:,} of its images are in no cluster now"
                if known.tag_id not in state.edited:
                    became = f"stays, since {away:,} of its images are in no cluster now"
            if known.tag_id in event.tag_ids:
                became = "removed"
            elif any(state.survivor(other) is known for other in staying):
                became = "stays, as part of a merged tag"
            found["died"].append(Change("died", shown(tag_id), became))
    for olds, news in pairing.levels:
        both, of_old, of_new = pairing.shares(olds, news)
        parts: dict[str, list[str]] = defaultdict(list)
        sources: dict[str, list[str]] = defaultdict(list)
        for (old_id, new_id), count in sorted(both.items(), key=lambda item: (-item[1], item[0])):
            if count >= LEAST_SHARE * of_old[old_id]:
                parts[old_id].append(f"{node[new_id]} ({count / of_old[old_id]:.0%})")
            if count >= LEAST_SHARE * of_new[new_id]:
                sources[new_id].append(f"{shown(old_id)} ({count / of_new[new_id]:.0%})")
        found["split"] += [
            Change("split", shown(old_id), ", ".join(parts[old_id]))
            for old_id in olds
            if len(parts[old_id]) > 1
        ]
        found["merged"] += [
            Change("merged", node[new_id], ", ".join(sources[new_id]))
            for new_id in news
            if len(sources[new_id]) > 1
        ]
    return [change for kind in KINDS for change in found[kind]]
