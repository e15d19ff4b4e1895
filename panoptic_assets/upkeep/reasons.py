"""Staleness: whether an answer is what it would be if it were made now, and if not, why.

Belongs here: comparing what was read then with what is there now, and the reasons in plain words.
Does not belong here: reading either of them (``panoptic_assets.upkeep.staleness``), and which
clusterings of a tree hang on which (``spec.tree``).

A thing is stale if making it again would give another data version. What a person can count is
counted: images, vectors, clusters.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from panoptic_assets.spec.amounts import images_in_words
from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.text import some
from resources.errors import Message, message, text_of

_KEYS_SHOWN = 5

Kind = Literal[
    "images_added",
    "images_removed",
    "images_changed",
    "images_embedded",
    "images_forgotten",
    "scope_changed",
    "list_changed",
    "vectors_removed",
    "vectors_changed",
    "points_changed",
    "neighbors_changed",
    "search_changed",
    "tags_changed",
    "runs_changed",
    "parent_changed",
    "algorithm_changed",
    "code_changed",
    "inputs_changed",
    "not_possible",
    "not_judged",
    "labels_outdated",
    "clusters_unlabelled",
    "clusterings_renewed",
    "clusterings_unsaved",
    "clusterings_stale",
    "run_stale",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

State = Literal["up to date", "stale", "unknown"]
What = Literal["clustering", "labels", "property"]


@dataclass(frozen=True)
class Reason:
    """Why something is stale, or cannot be judged."""

    kind: Kind
    count: int
    """Of what the kind names: images, vectors, clusters, clusterings; 0 where nothing is
    counted."""
    said: Message = field(hash=False)
    """A part of a sentence."""

    @property
    def text(self) -> str:
        """The same in English, without a full stop."""
        return text_of(self.said).removesuffix(".")


@dataclass(frozen=True)
class Staleness:
    """Whether a clustering, the labels of a run, or a saved property is up to date."""

    what: What
    key: str
    """Of the clustering, of the run, or the property's name."""
    run_key: str
    reasons: tuple[Reason, ...] = ()

    @property
    def state(self) -> State:
        """``unknown`` if only work would tell, such as loading a model."""
        if not self.reasons:
            return N_("up to date")
        if all(reason.kind == "not_judged" for reason in self.reasons):
            return N_("unknown")
        return N_("stale")

    @property
    def text(self) -> str:
        """Its reasons as one line; empty if there are none."""
        return "; ".join(reason.text for reason in self.reasons)

    @property
    def counts(self) -> dict[str, int]:
        """For each kind of reason, what was counted."""
        found: dict[str, int] = {}
        for reason in self.reasons:
            found[reason.kind] = found.get(reason.kind, 0) + reason.count
        return found


def most_urgent_first(staleness: Iterable[Staleness]) -> list[Staleness]:
    """What is stale, then what is unknown, then the rest; each in the order that it had."""
    order: dict[State, int] = {"stale": 0, "unknown": 1, "up to date": 2}
    return sorted(staleness, key=lambda judged: order[judged.state])


@dataclass(frozen=True)
class Seen:
    """What a clustering looks at, at one time."""

    in_scope: Collection[str]
    """Ids of the images in scope."""
    embedded: Sequence[str]
    """Sorted ids of those of them that have features."""
    present: Collection[str] | None
    """All images of the corpus at that time; None if that is no longer known."""
    files: Mapping[str, str] = field(default_factory=dict)
    """For each path the image that could be seen there."""
    vectors: Vectors | None = None
    """(n, d) float32, of ``embedded``; None if they are not known, or need not be compared."""
    points: Vectors | None = None
    """(n, m) float32 the same for the points of a projection."""


def what_changed(then: Seen, now: Seen) -> list[Reason]:
    """In what a clustering would look at other images, or at other features of them.

    An image whose file now holds another image has changed; it neither came nor went. Images that
    the corpus had all along, and that the scope takes or leaves by now, are counted apart.

    Args:
        then: When the clustering was made.
        now: If it was made now.
    """
    before, after = set(then.in_scope), set(now.in_scope)
    known = set(before if then.present is None else then.present)
    left = set(now.present or after)
    gone, came = before - after, after - before
    replaced: dict[str, str] = {}
    for path, image_id in then.files.items():
        other = now.files.get(path, image_id)
        if image_id in gone and image_id not in left and other not in known:
            replaced[image_id] = other
    gone -= replaced.keys()
    came -= set(replaced.values())
    had, have = set(then.embedded), set(now.embedded)
    found = []
    if count := len(came - known):
        found.append(Reason("images_added", count, _added(count, came - known - have)))
    if count := len(gone - left):
        text = message("{images} removed", id="images-removed", images=images_in_words(count))
        found.append(Reason("images_removed", count, text))
    if count := len(replaced):
        text = message(
            "{images} replaced in their files by another one",
            id="images-replaced",
            images=images_in_words(count),
        )
        found.append(Reason("images_changed", count, text))
    if count := len((have - had) & before):
        text = message(
            "{images} without features then that have some now",
            id="images-with-features-now",
            images=images_in_words(count),
        )
        found.append(Reason("images_embedded", count, text))
    if count := len((had - have) & after):
        text = message(
            "{images} without the features that they had",
            id="images-without-their-features",
            images=images_in_words(count),
        )
        found.append(Reason("vectors_removed", count, text))
    more, fewer = len(came & known), len(gone & left)
    if more or fewer:
        found.append(Reason("scope_changed", more + fewer, _otherwise_taken(more, fewer)))
    return found + _other_features(then, now)


def _added(count: int, without: Collection[str]) -> Message:
    if not without:
        return message("{images} added", id="images-added", images=images_in_words(count))
    return message(
        "{images} added ({nb_without:,} without features yet)",
        id="images-added-without-features",
        images=images_in_words(count),
        nb_without=len(without),
    )


def _otherwise_taken(more: int, fewer: int) -> Message:
    if more and fewer:
        return message(
            "its scope takes {more} more and {fewer} fewer of those that the corpus had",
            id="scope-takes-others",
            more=images_in_words(more),
            fewer=images_in_words(fewer),
        )
    if more:
        return message(
            "its scope takes {more} more of those that the corpus had",
            id="scope-takes-more",
            more=images_in_words(more),
        )
    return message(
        "its scope takes {fewer} fewer of those that the corpus had",
        id="scope-takes-fewer",
        fewer=images_in_words(fewer),
    )


def _other_features(then: Seen, now: Seen) -> list[Reason]:
    found = []
    pairs: tuple[tuple[Kind, Vectors | None, Vectors | None, Callable[[int], Message]], ...] = (
        ("vectors_changed", then.vectors, now.vectors, _other_vectors),
        ("points_changed", then.points, now.points, _other_points),
    )
    for kind, before, after, said in pairs:
        if before is None or after is None:
            continue
        rows_then, rows_now = _common(then.embedded, now.embedded)
        if before.shape[1:] != after.shape[1:]:
            count = len(rows_then)
        else:
            count = int((before[rows_then] != after[rows_now]).any(axis=1).sum())
        if count:
            found.append(Reason(kind, count, said(count)))
    return found


def _other_vectors(count: int) -> Message:
    return message("other vectors of {images}", id="other-vectors", images=images_in_words(count))


def _other_points(count: int) -> Message:
    return message(
        "other points of {images}: projected again",
        id="other-points",
        images=images_in_words(count),
    )


def _common(one: Sequence[str], other: Sequence[str]) -> tuple[list[int], list[int]]:
    places = {image_id: row for row, image_id in enumerate(other)}
    rows = [(row, places[image_id]) for row, image_id in enumerate(one) if image_id in places]
    return [row for row, _ in rows], [row for _, row in rows]


def judged_labels(
    labelled: Iterable[tuple[str, str]],
    clusters: Iterable[tuple[str, str]],
    current: Collection[str],
) -> list[Reason]:
    """Whether the labels of a run's tree are of its clusters as they are now.

    Args:
        labelled: Record id and cluster of each label, or try at one.
        clusters: The same of each cluster of the tree, remainders and stale clusterings left out.
        current: Record ids of the run's clusterings that are not stale.
    """
    there = set(labelled)
    wanted = set(clusters)
    reasons = []
    # Whether remainders are labelled is the labels' own choice.
    if outdated := [pair for pair in there - wanted if pair[0] not in current]:
        text = _outdated_labels(len(outdated))
        reasons.append(Reason("labels_outdated", len(outdated), text))
    if missing := wanted - there:
        text = _unlabelled_clusters(len(missing))
        reasons.append(Reason("clusters_unlabelled", len(missing), text))
    return reasons


@dataclass(frozen=True)
class SavedClustering:
    """A clustering as it was saved, or as it is now."""

    record_id: str
    made_before_save: bool = True
    """Whether its record was finished when the property was saved."""


def judged_save(
    saved: Mapping[str, str],
    valid: Mapping[str, SavedClustering],
    stale: Collection[str],
    run_key: str,
    run_is_stale: bool,
) -> list[Reason]:
    """Whether a saved property holds a run's tree as it is now.

    A save may have left out the lower levels of the tree. It did so if a clustering was there at
    the time and is not in it; then later clusterings of that level or below are no reason to save
    again.

    Args:
        saved: For each clustering that was saved, its record's id.
        valid: The run's clusterings now, those that are stale left out.
        stale: Those.
        run_key: The run.
        run_is_stale: Whether the run itself would have another answer now.
    """
    reasons = []
    if run_key not in valid:
        text = message("there is no run {run_key} any more", id="run-gone", run_key=run_key)
        return [Reason("not_possible", 1, text)]
    renewed = [
        key
        for key, record_id in saved.items()
        if key in valid and valid[key].record_id != record_id
    ]
    left_out = [
        key.count("/")
        for key, clustering in valid.items()
        if key not in saved and clustering.made_before_save
    ]
    limit = min(left_out, default=None)
    unsaved = [
        key
        for key, clustering in valid.items()
        if key not in saved
        and not clustering.made_before_save
        and (limit is None or key.count("/") < limit)
    ]
    gone = sorted(key for key in saved if key in stale or key not in valid)
    if renewed:
        text = message(
            "{clusterings} made again since: {keys}",
            id="clusterings-renewed",
            clusterings=_clusterings(len(renewed)),
            keys=_listed(renewed),
        )
        reasons.append(Reason("clusterings_renewed", len(renewed), text))
    if unsaved:
        text = message(
            "{clusterings} not saved: {keys}",
            id="clusterings-unsaved",
            clusterings=_clusterings(len(unsaved)),
            keys=_listed(unsaved),
        )
        reasons.append(Reason("clusterings_unsaved", len(unsaved), text))
    if gone:
        text = _stale_by_now(gone)
        reasons.append(Reason("clusterings_stale", len(gone), text))
    if run_is_stale:
        text = message("its run {run_key} is stale", id="its-run-stale", run_key=run_key)
        reasons.append(Reason("run_stale", 1, text))
    return reasons


def _outdated_labels(count: int) -> Message:
    if count == 1:
        return message(
            "1 label of clusters that were made again or are stale", id="one-label-outdated"
        )
    return message(
        "{count:,} labels of clusters that were made again or are stale",
        id="labels-outdated",
        count=count,
    )


def _unlabelled_clusters(count: int) -> Message:
    if count == 1:
        return message("1 cluster without a label", id="one-cluster-unlabelled")
    return message("{count:,} clusters without a label", id="clusters-unlabelled", count=count)


def _stale_by_now(keys: list[str]) -> Message:
    if len(keys) == 1:
        return message(
            "1 saved clustering stale by now: {key}", id="one-saved-clustering-stale", key=keys[0]
        )
    return message(
        "{count:,} saved clusterings stale by now: {keys}",
        id="saved-clusterings-stale",
        count=len(keys),
        keys=_listed(keys),
    )


def _clusterings(count: int) -> Message:
    if count == 1:
        return message("1 clustering", id="one-clustering")
    return message("{count:,} clusterings", id="so-many-clusterings", count=count)


def _listed(keys: Iterable[str]) -> str:
    return some(sorted(keys), _KEYS_SHOWN)
