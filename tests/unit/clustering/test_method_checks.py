"""A method that does what it must not is told so, by the check of that."""

import warnings
from typing import ClassVar, Literal

import numpy as np
import pytest
from pydantic import Field
from threadpoolctl import threadpool_info

from panoptic_assets.clustering.algorithms.interface import Outcome
from panoptic_assets.clustering.method_checks import method_checks
from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.spec.computation import NotComputableError


def parity(data):
    return (np.arange(len(data)) % 2).astype(np.int64)


class Fine(MethodConfig):
    """Even and odd rows."""

    name: Literal["fine"] = "fine"

    def compute(self, data, seed):
        return Outcome(parity(data))


def answering(answer):
    """A method that answers so."""

    class Odd(Fine):
        """Answers otherwise."""

        compute = staticmethod(answer)

    return Odd()


def raising(error):
    def answer(data, seed):
        raise error

    return answering(answer)


def written_to(data, seed):
    points = data.points
    if points.flags.writeable:
        points[0] = 0
    return Outcome(parity(data))


def drawn(data, seed):
    return Outcome(np.random.default_rng().integers(0, 9, len(data)))


def by_threads(data, seed):
    threads = max(pool["num_threads"] for pool in threadpool_info())
    return Outcome((np.arange(len(data)) % (threads + 1)).astype(np.int64))


class Undescribed(Fine):
    share: float = 0.5


class Many(Fine):
    """Makes two clusters, however many are asked for."""

    nb_clusters: int = Field(default=2, description="Number of clusters.")


class Unlimited(Fine):
    """Can be asked for what JSON does not have."""

    share: float = Field(default=float("inf"), description="Share of the first ones.")


class Loose(Fine, frozen=False):
    """Can be changed."""

    share: float = Field(default=0.5, description="Share of the first ones.")


class Tabular(Fine):
    """Has a parameter that no form has a place for."""

    table: dict[str, int] = Field(default={}, description="A table.")


class KMeansToo(Fine):
    """Has the name of another."""

    name: Literal["kmeans"] = "kmeans"


class Backwards(Fine):
    """Keeps an algorithm that is to come."""

    older: ClassVar = {2: lambda config, data, seed: Outcome(parity(data))}


class Strict(Fine):
    """Counts clusters otherwise than it did, and forgot how."""

    algorithm: ClassVar[int] = 2
    older: ClassVar = {1: lambda config, data, seed: parity(data)}


class Careless(Fine):
    """Takes whatever vectors there are."""

    def computing(self, algorithm):
        return self.compute


BROKEN = {
    "KMeansToo": (KMeansToo(), "has_a_name_of_its_own", "is called 'kmeans', as another"),
    "Undescribed": (
        Undescribed(),
        "is_described_with_each_parameter",
        "Undescribed has no docstring",
    ),
    "Loose": (Loose(), "does_not_change", "The parameter name could be set anew"),
    "Unlimited": (Unlimited(), "comes_back_from_json_as_it_was", "did not come back from JSON"),
    "Tabular": (Tabular(), "can_be_offered_by_the_project", "its parameter table is no int"),
    "Backwards": (Backwards(), "has_a_number_for_each_algorithm", "keeps the algorithms [2]"),
    "Strict": (Strict(), "has_a_number_for_each_algorithm", "gave ndarray for 320 images"),
    "Careless": (Careless(), "refuses_what_cannot_be_divided", "one is all nan"),
    "Many": (
        Many(),
        "tells_when_more_clusters_are_asked_for_than_there_are_images",
        "asked for 1,000,000 clusters of 320 images, and said nothing",
    ),
    "refuses": (
        raising(NotComputableError("No.", id="no")),
        "divides_images_in_groups",
        "refused 320 images in 8 groups (No.)",
    ),
    "raises": (
        raising(KeyError("x")),
        "answers_or_refuses_one_image",
        "raised KeyError ('x') for 1 image",
    ),
    "two lines": (
        raising(NotComputableError("No.\nNo.", id="no-no")),
        "answers_or_refuses_three_images",
        "it must say why on one line",
    ),
    "no array": (
        answering(lambda data, seed: Outcome([0] * len(data))),
        "divides_images_in_groups",
        "labels for 320 images are list",
    ),
    "floats": (
        answering(lambda data, seed: Outcome(parity(data) / 2)),
        "divides_images_in_groups",
        "labels for 320 images are float64",
    ),
    "too few": (
        answering(lambda data, seed: Outcome(parity(data)[1:])),
        "divides_images_in_groups",
        "have the shape (319,)",
    ),
    "below -1": (
        answering(lambda data, seed: Outcome(parity(data) - 2)),
        "divides_images_in_groups",
        "gave the label -2",
    ),
    "remainder": (
        answering(lambda data, seed: Outcome(parity(data) - 1)),
        "says_whether_images_may_be_in_no_cluster",
        "its leaves_remainder is False",
    ),
    "probabilities": (
        answering(lambda data, seed: Outcome(parity(data), np.full(len(data), 1.5))),
        "divides_images_in_groups",
        "probabilities for 320 images are not all numbers from 0 to 1",
    ),
    "similarities": (
        answering(
            lambda data, seed: Outcome(parity(data), similarities=np.full(len(data), np.nan))
        ),
        "divides_images_in_groups",
        "similarities for 320 images are not all numbers from -1 to 1",
    ),
    "names": (
        answering(lambda data, seed: Outcome(parity(data), names={7: "x"})),
        "divides_images_in_groups",
        "named {7} for 320 images",
    ),
    "notes": (
        answering(lambda data, seed: Outcome(parity(data), notes=("a\nb",))),
        "divides_images_in_groups",
        "gave the text 'a\\nb'",
    ),
    "draws": (
        answering(drawn),
        "gives_the_same_labels_for_the_same_seed",
        "gave other labels for the same images and seed",
    ),
    "threads": (
        answering(by_threads),
        "gives_the_same_labels_on_one_thread_and_on_two",
        "gave other labels on two threads than on one",
    ),
    "writes": (
        answering(written_to),
        "does_not_change_what_it_is_given",
        "changed the points or runs that it was given",
    ),
}


@pytest.mark.parametrize("check", method_checks(Fine()))
def test_a_method_that_does_what_it_must_passes(check):
    check()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_method_is_told_in_a_sentence_what_it_did(case):
    method, name, said = BROKEN[case]
    [check] = [check for check in method_checks(method) if check.__name__ == name]
    with warnings.catch_warnings(), pytest.raises(AssertionError) as caught:
        warnings.simplefilter("ignore", RuntimeWarning)
        check()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
