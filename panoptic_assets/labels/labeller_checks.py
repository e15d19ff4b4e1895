"""What every labeller must do, as checks that a labeller's author runs.

Belongs here: the clusters that break labellers, and what is said of a labeller that they break.
Does not belong here: what holds for extensions of every kind (``spec.extensions``), and how good
labels are.

The checks need neither pytest nor Dagster. With pytest::

    @pytest.mark.parametrize("check", labeller_checks(FileNames()))
    def test_file_names_is_a_labeller(check):
        check()
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from panoptic_assets.corpus.values import Value
from panoptic_assets.labels.config import KIND, LABEL_METHODS
from panoptic_assets.labels.labellers import LabellerConfig, LabellerData, Pixels, well_formed
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.questions import MAX_LABEL, one_line
from panoptic_assets.labels.vocabulary import terms_of_lines
from panoptic_assets.spec.computation import NotComputableError, Vectors
from panoptic_assets.spec.extensions import Check, class_checks, name_of, named_check, require
from panoptic_assets.spec.text import printable
from panoptic_assets.spec.written_dates import date_of_moment
from resources.errors import InputError, text_of

_DIM = 32
_FOLDERS = ("animals/fish", "été à Orléans/façades", "e\u0301te\u0301", "图书馆", "IMG", "a b")
"""Of the toy corpus; four images in each."""
_NB_IMAGES = 4 * len(_FOLDERS)


def labeller_checks(labeller: LabellerConfig) -> list[Check]:
    """The checks of a labeller with the parameters that it has here.

    It is asked about a small tree of clusters, of images in folders whose names have accents; some
    images have no vector, picture, file or value. Each check is a function without arguments whose
    ``__name__`` says what the labeller must do; where the labeller does not, it raises
    AssertionError, whose one sentence says what the labeller did.

    Args:
        labeller: The labeller. Its class need not be installed as an entry point. One that a
            property is named to (a field ``property``) finds values of it.
    """
    table: dict[str, Callable[[LabellerConfig], None]] = {
        "gives_labels_as_they_will_be_shown": _is_shown_as_given,
        "gives_the_same_suggestions_for_the_same_seed": _repeats,
        "takes_every_seed": _takes_every_seed,
        "does_not_change_what_it_is_given": _changes_nothing,
        "names_each_cluster_of_a_tree": _names_a_tree,
    }
    edges = [
        named_check(f"names_or_refuses_{case}", _names_or_refuses, labeller, case)
        for case in _edges()
    ]
    own = [named_check(name, check, labeller) for name, check in table.items()]
    return [*class_checks(labeller, KIND, LABEL_METHODS), *own, *edges]


def _ids(*places: int) -> tuple[str, ...]:
    return tuple(sorted(hashlib.sha256(str(place).encode()).hexdigest() for place in places))


def _cluster(node: str, *places: int) -> ClusterToLabel:
    above = node.rpartition("/")[0]
    is_remainder = node.endswith("/remainder")
    parent = above if "/" in above else None
    return ClusterToLabel(node, f"{above}@1", _ids(*places), is_remainder, parent)


def _tree() -> list[ClusterToLabel]:
    """Three clusters and a remainder, of which the first was divided again."""
    return [
        _cluster("run/0", *range(10)),
        _cluster("run/1", *range(10, 18)),
        _cluster("run/2", *range(18, 22)),
        _cluster("run/remainder", 22, 23),
        _cluster("run/0/0", *range(6)),
        _cluster("run/0/1", *range(6, 10)),
    ]


@dataclass(frozen=True)
class _Case:
    clusters: list[ClusterToLabel]
    known: tuple[int, ...] = tuple(range(_NB_IMAGES))
    """Places of the images of which anything is known."""


def _edges() -> dict[str, _Case]:
    return {
        "one_cluster_without_siblings": _Case([_cluster("run/0", *range(8))]),
        "a_cluster_of_one_image": _Case([_cluster("run/0", 0), _cluster("run/1", *range(1, 8))]),
        "siblings_that_nothing_tells_apart": _Case(
            [_cluster("run/0", 0), _cluster("run/1", 1)], known=(0, 1)
        ),
        "clusters_of_which_nothing_is_known": _Case(_tree(), known=()),
        "clusters_of_which_one_has_nothing": _Case(_tree(), known=tuple(range(10))),
        "a_remainder_alone": _Case([_cluster("run/remainder", *range(5))]),
    }


def _data(labeller: LabellerConfig, case: _Case) -> LabellerData:
    """What a labeller needs of the images that anything is known of; of others there is nothing."""
    needs = labeller.needs
    places = dict(sorted((_ids(place)[0], place) for place in case.known))
    data = LabellerData()
    if not needs.isdisjoint({"vectors", "texts"}):
        embedded = [image_id for image_id, place in places.items() if place % 5]
        vectors = _unit_vectors([_FOLDERS[places[image_id] // 4] for image_id in embedded], 0.3)
        data = replace(data, image_ids=tuple(embedded), vectors=vectors)
    if "texts" in needs:
        data = replace(data, encode_texts=_unit_vectors)
    if "pictures" in needs:
        looked_at = {image_id: place for image_id, place in places.items() if place % 7}
        data = replace(data, pixels=lambda image_id, side: _pixels(looked_at.get(image_id), side))
    if "names" in needs:
        data = replace(
            data,
            names={
                image_id: (f"{_FOLDERS[place // 4]}/photo_{place:02}.jpg",)
                for image_id, place in places.items()
                if place % 6
            },
        )
    if "properties" in needs:
        asked = getattr(labeller, "property", "")
        values = {name: _values(kind, places) for name, kind in _PROPERTIES.items()}
        data = replace(data, properties={asked: values["Sujet"]} if asked else values)
    if "vocabulary" in needs:
        data = replace(data, vocabulary=terms_of_lines("fish\nété\nfaçade\nlibrary", ["{}"]))
    return data


_PROPERTIES: dict[str, Callable[[int], Value]] = {
    "Sujet": lambda place: _FOLDERS[place // 4].split("/")[0],
    "Width": lambda place: float(place),
    "Taken": lambda place: date_of_moment(datetime(1900 + place, 1, 1, tzinfo=UTC)),
    "Keywords": lambda place: ("lieux > Orléans", f"keyword {place // 4}"),
}
"""Properties of each type, by the place of an image."""


def _values(kind: Callable[[int], Value], places: dict[str, int]) -> dict[str, Value]:
    return {image_id: kind(place) for image_id, place in places.items() if place % 4}


def _unit_vectors(texts: Sequence[str], noise: float = 0.0) -> Vectors:
    """(n, 32) any unit vector for each text, always the same; with noise, others near it."""
    rng = np.random.default_rng(0)
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    rows = [np.random.default_rng(seed).normal(size=_DIM) for seed in seeds]
    drawn = np.array(rows).reshape(len(rows), _DIM)
    drawn += noise * rng.normal(size=drawn.shape)
    vectors: Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    vectors.setflags(write=False)
    return vectors


def _pixels(place: int | None, side: int) -> Pixels | None:
    if place is None:
        return None
    colour = (37 * place % 256, 10 * place, 255 - 10 * place)
    # A line of one pixel is a picture, too.
    return np.full((1 if place == 1 else min(side, 40), min(side, 60), 3), colour, np.uint8)


def _given(labeller: LabellerConfig, case: _Case, seed: int = 0) -> list[Suggestion]:
    """What the labeller gives, as it gave it; raises InputError or NotComputableError."""
    return _given_for(labeller, tuple(case.clusters), _data(labeller, case), seed)


def _given_for(
    labeller: LabellerConfig, clusters: Sequence[ClusterToLabel], data: LabellerData, seed: int
) -> list[Suggestion]:
    asked = ", ".join(cluster.node for cluster in clusters)
    try:
        found = labeller.suggest(clusters, data, seed)
    except (InputError, NotComputableError) as error:
        require(
            str(error).strip() == printable(str(error)) != "",
            f"The labeller refused {asked} with the text {str(error)!r}; it must say why on one "
            "line.",
        )
        raise
    except Exception as error:
        raise AssertionError(
            f"The labeller raised {type(error).__name__} ({error}) for {asked}; it must give a "
            "suggestion for each cluster, or refuse with NotComputableError."
        ) from error
    try:
        well_formed(name_of(type(labeller)), clusters, found)
    except InputError as error:
        raise AssertionError(
            f"Of the labeller's answer on {asked}: {text_of(error.values['fault'])}; it must be a "
            "list of one whole Suggestion for each cluster."
        ) from error
    for suggestion in found:
        require(
            suggestion.label is not None or bool(suggestion.reason),
            f"The labeller gave {suggestion.node} neither a label nor a reason; it must say why "
            "there is no label.",
        )
    return found


def _names_a_tree(labeller: LabellerConfig) -> None:
    try:
        found = _given(labeller, _Case(_tree()))
    except (InputError, NotComputableError) as error:
        raise AssertionError(
            f"The labeller refused a tree of six clusters ({error}); with the parameters that are "
            "checked it must name them."
        ) from error
    require(
        any(suggestion.label for suggestion in found),
        "The labeller named none of six clusters; with the parameters that are checked it must "
        "name at least one.",
    )


def _is_shown_as_given(labeller: LabellerConfig) -> None:
    for suggestion in _given(labeller, _Case(_tree())):
        for label in filter(None, [suggestion.label, *suggestion.alternatives]):
            shown = one_line(label, MAX_LABEL)
            require(
                label == shown,
                f"The labeller gave the label {label!r}, which would be shown as {shown!r}; it "
                f"must be one line of at most {MAX_LABEL} characters, in Unicode's form NFC, "
                "without spaces around it.",
            )


def _repeats(labeller: LabellerConfig) -> None:
    require(
        _given(labeller, _Case(_tree()), 7) == _given(labeller, _Case(_tree()), 7),
        "The labeller gave other suggestions for the same clusters and seed when it was asked "
        "again; it must draw from numpy.random.default_rng(seed) alone.",
    )


def _takes_every_seed(labeller: LabellerConfig) -> None:
    for seed in (0, 2**32 - 1):
        _given(labeller, _Case(_tree()), seed)


def _changes_nothing(labeller: LabellerConfig) -> None:
    clusters = _tree()
    data = _data(labeller, _Case(clusters))
    data = replace(data, vectors=data.vectors.copy())
    before = [*clusters], data.vectors.tobytes(), repr((data.names, data.properties))
    _given_for(labeller, clusters, data, 0)
    require(
        (clusters, data.vectors.tobytes(), repr((data.names, data.properties))) == before,
        "The labeller changed the clusters or the data that it was given; it must work on a copy.",
    )


def _names_or_refuses(labeller: LabellerConfig, case: str) -> None:
    try:
        _given(labeller, _edges()[case])
    except (InputError, NotComputableError):
        return
