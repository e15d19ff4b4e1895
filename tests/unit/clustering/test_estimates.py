"""How long a clustering will take, by what is known, and what it could be called."""

from datetime import UTC, datetime, timedelta

import pytest

from panoptic_assets.clustering.config import METHODS, ClusteringConfig, SharedClusteringConfig
from panoptic_assets.clustering.estimates import likely_seconds, proposed_key
from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import is_advanced
from panoptic_assets.spec.keys import parse_run_key
from panoptic_assets.spec.records import Record
from panoptic_assets.spec.resolution import parse

FIRST = datetime(2026, 1, 2, tzinfo=UTC)


def asked(method, **others):
    return parse(ClusteringConfig, {"method": method, **others})


def record(method, nb_images, seconds, day=0, usage=True, baseline=80.0):
    when = FIRST + timedelta(days=day)
    return Record(
        key="greek",
        run_key="greek",
        revision=1,
        config={"method": method, "features": "mini", "seed": 0},
        inputs=[],
        parent_record=None,
        parent_output=None,
        counts={"in_scope": nb_images, "clustered": nb_images, "remainder": 0, "not_embedded": 0},
        nb_clusters=2,
        baseline_score=baseline,
        output="0" * 64,
        usage={"cpu_seconds": seconds, "seconds": seconds, "peak_memory": None} if usage else None,
        libraries={},
        code_version="0",
        git_commit=None,
        machine={},
        dagster_run_id="12345678",
        started_at=when,
        finished_at=when,
    )


TEN, TWENTY = {"kmeans": {"nb_clusters": 10}}, {"kmeans": {"nb_clusters": 20}}
DENSE = {"hdbscan": {"min_cluster_size": 5}}


def test_a_record_of_the_method_is_scaled_to_the_images():
    """K-means grows with the images, HDBSCAN with their square."""
    known = [record(TEN, 1000, 2.0), record(DENSE, 1000, 3.0)]
    assert likely_seconds(asked(TEN), 4000, known) == pytest.approx(8)
    assert likely_seconds(asked(DENSE), 4000, known) == pytest.approx(48)


def test_k_means_of_twice_the_clusters_takes_twice_as_long():
    assert likely_seconds(asked(TWENTY), 1000, [record(TEN, 1000, 2.0)]) == pytest.approx(4)


def test_the_newest_record_counts_and_first_one_of_the_same_parameters():
    known = [record(TWENTY, 1000, 9.0, day=3), record(TEN, 1000, 1.0), record(TEN, 1000, 2.0, 1)]
    assert likely_seconds(asked(TEN), 1000, known) == pytest.approx(2)


def test_a_record_of_far_fewer_images_is_no_measure():
    """Of them most of the time is that of getting started."""
    small = [record(DENSE, 100, 5.0), record(DENSE, 1000, 5.0, usage=False)]
    assert likely_seconds(asked(DENSE), 5000, small) == likely_seconds(asked(DENSE), 5000, [])


@pytest.mark.parametrize("method", ["kmeans", "minibatch_kmeans", "birch", "hdbscan"])
def test_without_a_record_more_images_are_known_to_take_longer(method):
    few, many = (likely_seconds(asked({method: {}}), n, []) for n in (1000, 100_000))
    assert 0 < few < 2 < many


@pytest.mark.parametrize(("baseline", "times"), [(80.0, 4), (40.0, 2)])
def test_birch_grows_with_the_square_of_images_that_have_nothing_in_common(baseline, times):
    """Each is a group of its own then, and groups are joined in pairs."""
    few_alike = record(TEN, 30, 1.0, baseline=1.0)  # says nothing of a whole corpus
    known = [record(TEN, 5000, 2.0, baseline=baseline), few_alike]
    asked_birch = asked({"birch": {}}, features="mini")
    few, many = (likely_seconds(asked_birch, n, known) for n in (10_000, 20_000))
    assert many == pytest.approx(times * few)


def test_each_subsample_of_stability_is_counted():
    once = likely_seconds(asked(TEN), 1000, [record(TEN, 1000, 1.0)])
    again = likely_seconds(asked(TEN, stability=10), 1000, [record(TEN, 1000, 1.0)])
    assert again == pytest.approx(9 * once)


def test_of_a_method_that_nobody_has_measured_nothing_is_said():
    class Foreign(MethodConfig):
        """Another package's."""

        name: str = "foreign"

    config = SharedClusteringConfig.model_construct(method=Foreign(), stability=0)
    assert likely_seconds(config, 1000, []) is None
    assert likely_seconds(config, 1000, [record({"foreign": {}}, 500, 1.0)]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("method", "taken", "key"),
    [
        (TEN, (), "kmeans-10"),
        (TEN, ("kmeans-10", "kmeans-10-2"), "kmeans-10-3"),
        ({"kmeans": {"nb_clusters": -1}}, (), "automatic"),
        ({"kmeans": {"nb_clusters": -1}}, ("automatic",), "automatic-2"),
        (DENSE, (), "hdbscan"),
        ({"find_duplicates": {}}, (), "find-duplicates"),
        ({"birch": {"nb_clusters": None}}, (), "birch"),
        ({"consensus": {"runs": ["a", "b"]}}, (), "consensus"),
    ],
)
def test_a_key_says_the_method_and_is_free(method, taken, key):
    assert proposed_key(asked(method), set(taken).__contains__) == key
    assert parse_run_key(key) == key


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_a_method_has_a_parameter_for_everyone_and_says_what_it_is_for(method):
    """A9, A28-A32: the others are for more advanced uses."""
    fields = [field for name, field in method.model_fields.items() if name != "name"]
    assert 0 < sum(not is_advanced(field) for field in fields) <= 3
    first, *_ = (method.__doc__ or "").splitlines()
    assert first.endswith(".")
