"""What every clustering method must do, as checks that a method's author runs.

Belongs here: the images and parameters that break methods, and what is said of a method that they
break. Does not belong here: what holds for extensions of every kind (``spec.extensions``), and how
well a method clusters.

The checks need neither pytest nor Dagster. With pytest::

    @pytest.mark.parametrize("check", method_checks(Halves()))
    def test_halves_is_a_method(check):
        check()
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from pydantic import ValidationError

from panoptic_assets.clustering.algorithms.interface import Data, Outcome, TargetTag
from panoptic_assets.clustering.config import KIND, METHODS
from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.spec.computation import REMAINDER, NotComputableError, Vectors
from panoptic_assets.spec.extensions import Check, class_checks, named_check, require
from panoptic_assets.spec.text import counted, printable

_GROUPS, _SIZE, _DIM = 8, 40, 64

Compute = Callable[[Data, int], Outcome]


def method_checks(method: MethodConfig) -> list[Check]:
    """The checks of a method with the parameters that it has here.

    The parameters are such that 320 images in 8 loose groups of 40 can be divided. Each check is a
    function without arguments whose ``__name__`` says what the method must do; where the method
    does not, it raises AssertionError, whose one sentence says what the method did.

    Args:
        method: The method. Its class need not be installed as an entry point.
    """
    table: dict[str, Callable[[MethodConfig], None]] = {
        "has_a_number_for_each_algorithm": _has_numbers,
        "divides_images_in_groups": _divides_groups,
        "gives_the_same_labels_for_the_same_seed": _repeats,
        "gives_the_same_labels_on_one_thread_and_on_two": _is_the_same_on_threads,
        "takes_every_seed": _takes_every_seed,
        "does_not_change_what_it_is_given": _changes_nothing,
        "says_whether_images_may_be_in_no_cluster": _tells_of_a_remainder,
        "tells_when_more_clusters_are_asked_for_than_there_are_images": _tells_of_too_many,
        "refuses_what_cannot_be_divided": _refuses_the_unusable,
    }
    edges = [
        named_check(f"answers_or_refuses_{case}", _answers_or_refuses, method, case)
        for case in _edges()
    ]
    own = [named_check(name, check, method) for name, check in table.items()]
    return [*class_checks(method, KIND, METHODS), *own, *edges]


def _groups() -> Vectors:
    """(320, 64) unit vectors in 8 groups with no sharp borders, which cannot be written to."""
    rng = np.random.default_rng(5)
    points = np.repeat(rng.normal(size=(_GROUPS, _DIM)), _SIZE, axis=0)
    return _unit(points + 0.8 * rng.normal(size=points.shape))


def _unit(points: np.ndarray) -> Vectors:
    return _read_only(points / np.linalg.norm(points, axis=1, keepdims=True))


def _read_only(points: np.ndarray) -> Vectors:
    """Points as the store gives them: it lends memory that nobody may write to."""
    found: Vectors = np.array(points, np.float32)
    found.setflags(write=False)
    return found


def _edges() -> dict[str, Data]:
    """Few or strange images, without what a method needs beside them."""
    groups = _groups()
    plane = groups[:, :2].copy()
    plane[3] = 0
    return {
        "one_image": Data(groups[:1]),
        "three_images": Data(_read_only(groups[[0, 50, 100]])),
        "images_that_are_all_the_same": Data(_read_only(np.repeat(groups[:1], 20, axis=0))),
        "images_that_each_have_copies": Data(_read_only(np.repeat(groups[::16], 5, axis=0))),
        "points_of_a_projection": Data(_read_only(plane), unit=False),
    }


def _with_needs(data: Data, method: MethodConfig) -> Data:
    """The same data with texts, tags and runs as far as the method needs them."""
    rows = np.arange(len(data))
    if "runs" in method.needs:
        second = np.where(rows % 13 == 5, REMAINDER, rows // 20)
        runs = (rows // _SIZE, np.where(rows % 17 == 9, -2, second))
        data = replace(data, runs=tuple(labels.astype(np.int64) for labels in runs))
    if "tags" in method.needs:
        paths = [("animaux",), ("animaux", "bêtes à cornes"), ("maisons",), ("été",)]
        data = replace(data, tags=tuple(map(TargetTag, paths)))
    if "texts" in method.needs and data.unit:
        data = replace(data, encode_texts=_encode)
    return data


def _encode(texts: list[str]) -> Vectors:
    """Any unit vector for each text, always the same."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    drawn = [np.random.default_rng(seed).normal(size=_DIM) for seed in seeds]
    return _unit(np.array(drawn).reshape(len(texts), _DIM))


def _answer(method: MethodConfig, data: Data, seed: int = 0) -> Outcome:
    """What the method answers; raises NotComputableError if it refuses, on one line."""
    return _answer_of(method.computing(type(method).algorithm), _with_needs(data, method), seed)


def _answer_of(compute: Compute, data: Data, seed: int) -> Outcome:
    case = counted(len(data), "image" if data.unit else "point")
    try:
        outcome = compute(data, seed)
    except NotComputableError as error:
        require(
            str(error).strip() == printable(str(error)) != "",
            f"The method refused {case} with the text {str(error)!r}; it must say why on one line.",
        )
        raise
    except Exception as error:
        raise AssertionError(
            f"The method raised {type(error).__name__} ({error}) for {case}; it must answer, or "
            "refuse with NotComputableError."
        ) from error
    _check_outcome(outcome, data, case)
    return outcome


def _check_outcome(outcome: Outcome, data: Data, case: str) -> None:
    require(
        isinstance(outcome, Outcome),
        f"The method gave {type(outcome).__name__} for {case}; it must give an Outcome.",
    )
    labels = outcome.labels
    require(
        isinstance(labels, np.ndarray) and labels.dtype == np.int64,
        f"The method's labels for {case} are {getattr(labels, 'dtype', type(labels).__name__)}; "
        "they must be an array of int64.",
    )
    require(
        labels.shape == (len(data),),
        f"The method's labels for {case} have the shape {labels.shape}; they must have one number "
        f"for each row, ({len(data)},).",
    )
    require(
        bool((labels >= REMAINDER).all()),
        f"The method gave the label {labels.min(initial=0)} for {case}; numbers must be 0 or more, "
        "and -1 for images that no cluster took.",
    )
    for name, least in (("probabilities", 0), ("similarities", -1)):
        values = getattr(outcome, name)
        if values is not None:
            require(
                isinstance(values, np.ndarray) and values.shape == (len(data),),
                f"The method's {name} for {case} are not an array of ({len(data)},); they must "
                "have one number for each row, or be None.",
            )
            # What was attached to nothing has no similarity.
            told = values[(labels != REMAINDER) | ~np.isnan(values)]
            require(
                bool(((told >= least) & (told <= 1 + 1e-5)).all()),
                f"The method's {name} for {case} are not all numbers from {least} to 1; they must "
                "be, or NaN for images that no cluster took.",
            )
    strangers = set(outcome.names) - set(labels.tolist())
    require(
        not strangers,
        f"The method named {strangers} for {case}, which is none of its labels; names must be of "
        "labels that it gave.",
    )
    for text in [*outcome.names.values(), *outcome.notes]:
        require(
            isinstance(text, str) and text.strip() == printable(text) != "",
            f"The method gave the text {text!r} for {case}; names and notes must be one line each.",
        )


def _has_numbers(method: MethodConfig) -> None:
    newest, older = type(method).algorithm, type(method).older
    require(
        type(newest) is int and newest >= 1,
        f"The method's algorithm is {newest!r}; it must be a number from 1.",
    )
    require(
        all(type(number) is int and 1 <= number < newest for number in older),
        f"The method keeps the algorithms {sorted(older)} beside today's {newest}; older numbers "
        "must be from 1 to below it.",
    )
    for number in older:
        _answer_of(method.computing(number), _with_needs(Data(_groups()), method), 0)


def _divides_groups(method: MethodConfig) -> None:
    try:
        _answer(method, Data(_groups()))
    except NotComputableError as error:
        raise AssertionError(
            f"The method refused 320 images in 8 groups ({error}); with the parameters that are "
            "checked it must divide them."
        ) from error


def _labels(method: MethodConfig, seed: int = 7) -> list[int]:
    found: list[int] = _answer(method, Data(_groups()), seed).labels.tolist()
    return found


def _repeats(method: MethodConfig) -> None:
    require(
        _labels(method) == _labels(method),
        "The method gave other labels for the same images and seed when it was asked again; it "
        "must draw from numpy.random.default_rng(seed) alone.",
    )


def _is_the_same_on_threads(method: MethodConfig) -> None:
    from threadpoolctl import threadpool_limits

    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(_labels(method))
    require(
        found[0] == found[1],
        "The method gave other labels on two threads than on one; it must add numbers in one order "
        "(threadpoolctl.threadpool_limits(limits=1)), or round what it compares.",
    )


def _takes_every_seed(method: MethodConfig) -> None:
    for seed in (0, 2**32 - 1):
        _answer(method, Data(_groups()), seed)


def _changes_nothing(method: MethodConfig) -> None:
    points = _groups().copy()
    data = _with_needs(Data(points), method)
    before = points.tobytes(), [labels.tobytes() for labels in data.runs]
    _answer_of(method.computing(type(method).algorithm), data, 0)
    require(
        (points.tobytes(), [labels.tobytes() for labels in data.runs]) == before,
        "The method changed the points or runs that it was given; it must work on a copy.",
    )


def _tells_of_a_remainder(method: MethodConfig) -> None:
    may = method.leaves_remainder
    require(
        isinstance(may, bool),
        f"The method's leaves_remainder is {may!r}; it must be True or False.",
    )
    for data in (Data(_groups()), *_edges().values()):
        try:
            labels = _answer(method, data).labels
        except NotComputableError:
            continue
        require(
            may or REMAINDER not in labels,
            f"The method left some of {counted(len(data), 'image')} in no cluster, and its "
            "leaves_remainder is False; it must be True where it may give -1.",
        )


def _tells_of_too_many(method: MethodConfig) -> None:
    if "nb_clusters" not in type(method).model_fields:
        return
    try:
        many = type(method)(**{**method.model_dump(), "nb_clusters": 1_000_000})
        outcome = _answer(many, Data(_groups()))
    except (ValidationError, NotComputableError):
        return
    require(
        bool(outcome.notes),
        "The method was asked for 1,000,000 clusters of 320 images, and said nothing; it must "
        "refuse, or say in a note how many it made.",
    )


def _refuses_the_unusable(method: MethodConfig) -> None:
    for value in (np.nan, np.inf, 0):
        points = _groups().copy()
        points[7] = value
        try:
            _answer(method, Data(_read_only(points)))
        except NotComputableError:
            continue
        raise AssertionError(
            f"The method divided vectors of which one is all {value}; computing() must refuse them "
            f"as that of {MethodConfig.__name__} does."
        )


def _answers_or_refuses(method: MethodConfig, case: str) -> None:
    try:
        _answer(method, _edges()[case])
    except NotComputableError:
        return
