"""What holds of every method that can be asked for, whoever brought it."""

import importlib.metadata
from typing import ClassVar, Literal

import numpy as np
import pytest

from panoptic_assets.clustering.algorithms.interface import Data, Outcome, UnknownAlgorithmError
from panoptic_assets.clustering.config import KIND, METHODS, ClusteringConfig, algorithm_of
from panoptic_assets.clustering.methods import (
    Hdbscan,
    KMeans,
    MethodConfig,
    MiniBatchKMeans,
    guarded,
)
from panoptic_assets.features.config import PROJECTION_METHODS, ProjectionConfig
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.resolution import identity_of, parse
from resources.errors import InputError


def labelled(label):
    return Outcome(np.array([label], np.int64))


class Growing(MethodConfig):
    """A method whose answers changed twice."""

    algorithm: ClassVar[int] = 3
    older: ClassVar = {2: lambda config, data, seed: labelled(200 + config.share + seed)}
    name: Literal["growing"] = "growing"
    share: int = 0

    def compute(self, data, seed):
        return labelled(300 + self.share + seed)


DATA = Data(np.ones((1, 2), np.float32))


@pytest.mark.parametrize(("number", "label"), [(3, 315), (2, 215)])
def test_a_method_computes_by_each_algorithm_that_it_keeps(number, label):
    """DESIGN 7: `verify` runs that number while it is shipped."""
    assert Growing(share=10).computing(number)(DATA, 5).labels.tolist() == [label]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "made by algorithm 1, which is no longer here"),
        (4, "made by algorithm 4, which this version does not know"),
    ],
)
def test_a_method_says_which_algorithm_it_does_not_have(number, text):
    with pytest.raises(UnknownAlgorithmError, match=f"^{text}$"):
        Growing().computing(number)


@pytest.mark.parametrize("number", [2, 3])
def test_vectors_that_cannot_be_used_reach_no_method_of_any_number(number):
    with pytest.raises(NotComputableError, match="1 of 1 vectors cannot be used"):
        Growing().computing(number)(Data(np.full((1, 2), np.nan, np.float32)), 5)


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_every_older_algorithm_is_kept_so_far(method):
    """DESIGN 7: what has no other number is its first."""
    assert method.algorithm == (2 if method in (KMeans, MiniBatchKMeans, Hdbscan) else 1)
    assert sorted(method.older) == list(range(1, method.algorithm))


@pytest.mark.parametrize(
    ("method", "number"),
    [
        ({"kmeans": {"nb_clusters": -1}}, 2),
        ({"kmeans": {"nb_clusters": 10}}, 1),
        ({"minibatch_kmeans": {"nb_clusters": -1, "gone": True}}, 2),
        ({"hdbscan": {}}, 2),
        ({"birch": {"nb_clusters": -1}}, 1),
    ],
)
def test_a_number_is_that_of_what_the_parameters_ask_for(method, number):
    """A run is not out of date by a change that does not concern it."""
    assert algorithm_of(method) == number


def test_the_number_cannot_be_asked_for():
    with pytest.raises(InputError, match="algorithm"):
        parse(ClusteringConfig, {"method": {"kmeans": {"algorithm": 1}}})


def test_the_number_is_in_no_configuration_and_no_schema():
    for config in (ClusteringConfig(features="mini"), ProjectionConfig()):
        assert "algorithm" not in str(identity_of(config))
        choices = schema_of(type(config)).config_type.fields["method"].config_type.fields
        assert not any("algorithm" in one.config_type.fields for one in choices.values())
    assert {method.algorithm for method in PROJECTION_METHODS} == {1}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: 1 / 0, "The method 'foreign' failed (ZeroDivisionError: division by zero). "),
        (lambda: None, "The method 'foreign' gave no int64 label of -1 or more for each of the 2 "),
        (lambda: Outcome(np.zeros(3, np.int64)), "gave no int64 label"),
        (lambda: Outcome(np.zeros(2)), "gave no int64 label"),
        (lambda: Outcome(np.full(2, -2)), "gave no int64 label"),
    ],
)
def test_what_another_packages_method_does_wrong_is_said_in_one_line(answer, said):
    class Foreign(MethodConfig):
        name: Literal["foreign"] = "foreign"

        def compute(self, data, seed):
            return answer()

    method = Foreign()
    with pytest.raises(NotComputableError) as raised:
        guarded(method, method.computing(1))(Data(np.eye(2, dtype=np.float32)), 0)
    assert said in str(raised.value)


def test_what_a_method_of_ours_does_wrong_is_a_fault_of_the_program():
    def compute(data, seed):
        raise ZeroDivisionError

    assert guarded(KMeans(), compute) is compute


def test_a_method_that_is_not_here_has_no_number():
    assert algorithm_of({"spectral": {"nb_clusters": 2}}) is None


def warned(monkeypatch, method):
    """What is said of a method that another package brings and that cannot be used."""

    class Entry:
        name, value = "named", "package:Named"

        def load(self):
            return method

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [Entry()])
    with pytest.warns(UserWarning) as caught:
        assert KIND.with_others((KMeans,)) == (KMeans,)
    return str(caught[0].message)


def test_another_packages_parameter_cannot_hide_the_number(monkeypatch):
    with pytest.warns(UserWarning, match="shadows an attribute"):

        class Named(MethodConfig):
            name: Literal["named"] = "named"
            algorithm: Literal["lloyd", "elkan"] = "lloyd"

    assert "no parameter can be called algorithm" in warned(monkeypatch, Named)


@pytest.mark.parametrize("number", [0, "2", 1.0, True])
def test_another_packages_number_is_a_number(monkeypatch, number):
    class Named(MethodConfig):
        name: Literal["named"] = "named"
        algorithm: ClassVar = number

    assert f"its algorithm is {number!r}" in warned(monkeypatch, Named)
