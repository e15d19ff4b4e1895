"""Staleness: whether an answer is what it would be if it were made now, and if not, why.

Belongs here: comparing what was read then with what is there now, and the reasons in plain words.
Does not belong here: reading either of them (``panoptic_assets.upkeep.staleness``), and which
clusterings of a tree hang on which (``spec.tree``).

A thing is stale if making it again would give another data version. What a person can count is
counted: images, vectors, clusters.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from panoptic_assets.spec.computation import Vectors
from panoptic_assets.spec.text import counted, some

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
    text: str
    """A part of a sentence."""


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
            return "up to date"
        if all(reason.kind == "not_judged" for reason in self.reasons):
            return "unknown"
        return "stale"

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
    without = came - set(now.embedded)
    had, have = set(then.embedded), set(now.embedded)
    still = {
        "images_added": (came - known, "{} added" + _not_embedded(without - known)),
        "images_removed": (gone - left, "{} removed"),
        "images_changed": (replaced.keys(), "{} replaced in their files by another one"),
        "images_embedded": ((have - had) & before, "{} without features then that have some now"),
        "vectors_removed": ((had - have) & after, "{} without the features that they had"),
    }
    found = [
        Reason(kind, len(images), text.format(_images(len(images))))  # type: ignore[arg-type]
        for kind, (images, text) in still.items()
        if images
    ]
    if moved := len(gone & left) + len(came & known):
        parts = [
            f"{_images(len(images))} {what}"
            for images, what in ((came & known, "more"), (gone & left, "fewer"))
            if images
        ]
        text = f"its scope takes {' and '.join(parts)} of those that the corpus had"
        found.append(Reason("scope_changed", moved, text))
    return found + _other_features(then, now)


def _other_features(then: Seen, now: Seen) -> list[Reason]:
    found = []
    pairs: tuple[tuple[Kind, Vectors | None, Vectors | None, str], ...] = (
        ("vectors_changed", then.vectors, now.vectors, "other vectors of {}"),
        ("points_changed", then.points, now.points, "other points of {}: projected again"),
    )
    for kind, before, after, text in pairs:
        if before is None or after is None:
            continue
        rows_then, rows_now = _common(then.embedded, now.embedded)
        if before.shape[1:] != after.shape[1:]:
            count = len(rows_then)
        else:
            count = int((before[rows_then] != after[rows_now]).any(axis=1).sum())
        if count:
            found.append(Reason(kind, count, text.format(_images(count))))
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> tuple[list[int], list[int]]:
    places = {image_id: row for row, image_id in enumerate(other)}
    rows = [(row, places[image_id]) for row, image_id in enumerate(one) if image_id in places]
    return [row for row, _ in rows], [row for _, row in rows]


def _not_embedded(images: Collection[str]) -> str:
    return f" ({len(images):,} without features yet)" if images else ""


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
        text = f"{counted(len(outdated), 'label')} of clusters that were made again or are stale"
        reasons.append(Reason("labels_outdated", len(outdated), text))
    if missing := wanted - there:
        text = f"{counted(len(missing), 'cluster')} without a label"
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
        return [Reason("not_possible", 1, f"there is no run {run_key} any more")]
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
        text = f"{counted(len(renewed), 'clustering')} made again since: {_listed(renewed)}"
        reasons.append(Reason("clusterings_renewed", len(renewed), text))
    if unsaved:
        text = f"{counted(len(unsaved), 'clustering')} not saved: {_listed(unsaved)}"
        reasons.append(Reason("clusterings_unsaved", len(unsaved), text))
    if gone:
        text = f"{counted(len(gone), 'saved clustering')} stale by now: {_listed(gone)}"
        reasons.append(Reason("clusterings_stale", len(gone), text))
    if run_is_stale:
        reasons.append(Reason("run_stale", 1, f"its run {run_key} is stale"))
    return reasons


def _listed(keys: Iterable[str]) -> str:
    return some(sorted(keys), _KEYS_SHOWN)


def _images(count: int) -> str:
    return counted(count, "image")
