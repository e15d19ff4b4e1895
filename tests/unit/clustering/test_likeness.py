"""Equal and nearly equal images are together, and never what is left over (A10, C12, K3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from panoptic_assets.clustering.algorithms.interface import Data
from panoptic_assets.clustering.algorithms.likeness import DistinctPictures
from panoptic_assets.clustering.clusters import canonical
from panoptic_assets.clustering.methods import (
    Agglomerative,
    Birch,
    Consensus,
    FindDuplicates,
    Hdbscan,
    KMeans,
    MiniBatchKMeans,
)
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.extensions import name_of

DENSITY = [KMeans(nb_clusters=-1), Hdbscan()]
"""What finds by itself how many clusters there are, by how densely images lie."""
FINDING = [
    *DENSITY,
    MiniBatchKMeans(nb_clusters=-1),
    Birch(nb_clusters=-1),
    Birch(nb_clusters=None),
    Agglomerative(distance_threshold=1.0),
    Agglomerative(distance_threshold=0.5, linkage="average", metric="cosine"),
    Hdbscan(metric="cosine"),
    Hdbscan(metric="manhattan", cluster_selection_method="leaf"),
    Hdbscan(min_cluster_size=20, min_samples=3),
    FindDuplicates(),
    FindDuplicates(guarantee="connected"),
    Consensus(runs=["one", "two"]),
]
"""Every method whose number of clusters is not asked for."""


def name(method):
    parameters = method.model_dump(exclude_defaults=True, exclude={"name", "runs"})
    return "-".join([name_of(type(method)), *map(str, parameters.values())])


every_way = pytest.mark.parametrize("method", FINDING, ids=name)
both = pytest.mark.parametrize("method", DENSITY, ids=name)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def diverse(number, seed=1, dim=512, common=0.0):
    """Vectors that have nothing in common but what is added to all."""
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(number, dim)) + common * rng.normal(size=dim))


def shots(number, cosine, seed=0, dim=512, around=None):
    """Vectors of which any two have about the same cosine."""
    rng = np.random.default_rng(seed)
    middle = unit(rng.normal(size=(1, dim)))[0] if around is None else around
    noise = rng.normal(size=(number, dim)) * np.sqrt((1 / cosine - 1) / dim)
    return unit(middle + noise)


def frames(number, seed, step=0.05, dim=512):
    """Vectors that lead far, each near to the one before."""
    rng = np.random.default_rng(seed)
    place, direction = rng.normal(size=dim) / np.sqrt(dim), rng.normal(size=dim)
    found = []
    for _ in range(number):
        found.append(place / np.linalg.norm(place))
        direction = 0.8 * direction + 0.6 * rng.normal(size=dim)
        place = found[-1] + step * direction / np.linalg.norm(direction)
    return unit(found)


def blobs(nb_blobs=8, size=40, dim=64, noise=0.25, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(nb_blobs, dim)), size, axis=0)
    return unit(centres + noise * rng.normal(size=(nb_blobs * size, dim)))


def divide(method, points, unit=True):
    """The labels, in the order of their first images, by which equal partitions are equal."""
    truth = DistinctPictures.of(Data(points, unit)).places
    outcome = method.compute(Data(points, unit, runs=(truth, truth)), 0)
    assert outcome.probabilities is None or (outcome.probabilities[outcome.labels >= 0] > 0).all()
    return numbered(outcome.labels)


def numbered(labels):
    found = {-1: -1}
    return [found.setdefault(label, len(found) - 1) for label in labels.tolist()]


def parts(*sizes):
    """The labels of so many images one after the other."""
    return np.repeat(np.arange(len(sizes)), sizes).tolist()


@every_way
def test_two_groups_of_equal_images_are_two_clusters(method):
    """A10: of the least alike images that there can be, too."""
    points = np.zeros((40, 8), np.float32)
    points[:20, 0], points[20:, 0] = 1, -1
    assert divide(method, points) == parts(20, 20)
    found = canonical(np.repeat([0, 1], 20), points).clusters
    assert [one.score for one in found] == [0, 0]


@every_way
def test_equal_images_are_one_cluster_of_the_best_score(method):
    """C12."""
    points = diverse(1).repeat(20, axis=0)
    assert divide(method, points) == parts(20)
    assert canonical(np.zeros(20, np.int64), points).clusters[0].score == 0


@every_way
@pytest.mark.parametrize("copies", [5, 50])
def test_copies_of_three_images_are_three_clusters(method, copies):
    if isinstance(method, Hdbscan) and method.min_cluster_size > copies:
        with pytest.raises(NotComputableError, match="min_cluster_size is 20, but"):
            divide(method, diverse(3).repeat(copies, axis=0))
    else:
        assert divide(method, diverse(3).repeat(copies, axis=0)) == parts(copies, copies, copies)


@both
def test_many_copies_are_as_few_are(method):
    assert divide(method, diverse(3, dim=32).repeat(500, axis=0)) == parts(500, 500, 500)


@both
@pytest.mark.parametrize("number", [2, 4, 5, 6, 10, 17, 40])
def test_pictures_that_have_nothing_in_common_are_clusters_of_their_copies(method, number):
    assert divide(method, diverse(number).repeat(5, axis=0)) == parts(*[5] * number)


@both
def test_points_of_a_projection_that_are_equal_are_clusters(method):
    points = np.array([[0, 0], [3, 1], [5, 5]], np.float32).repeat(20, axis=0)
    assert divide(method, points, unit=False) == parts(20, 20, 20)
    rounded = points * (1 + 1e-7 * np.random.default_rng(0).normal(size=points.shape))
    assert divide(method, rounded.astype(np.float32), unit=False) == parts(20, 20, 20)


@both
def test_an_image_with_copies_is_a_cluster_beside_images_like_no_others(method):
    """C12: they would score 1000, as the least coherent."""
    points = np.concatenate([diverse(1).repeat(20, axis=0), diverse(3, seed=5)])
    assert divide(method, points) == [0] * 20 + [-1] * 3
    among = divide(method, np.concatenate([diverse(1).repeat(20, axis=0), diverse(300, seed=5)]))
    assert among[:20] == [0] * 20
    assert 0 not in among[20:]


@both
def test_copies_that_are_too_few_are_no_cluster(method):
    """Four images are below the least size, and remain what they were."""
    points = np.concatenate([blobs(), diverse(1, dim=64).repeat(4, axis=0)])
    assert divide(method, points)[320:] == [-1] * 4


@both
def test_a_few_images_without_copies_are_what_they_were(method):
    for number in (1, 2, 3):
        if isinstance(method, Hdbscan):
            with pytest.raises(NotComputableError, match="min_cluster_size is 5, but there"):
                divide(method, diverse(number))
        else:
            assert divide(method, diverse(number)) == [0] * number


@both
@pytest.mark.parametrize("cosine", [1 - 1e-12, 1 - 1e-8, 0.999999, 0.9999, 0.999, 0.99])
@pytest.mark.parametrize("dim", [8, 512])
def test_shots_of_one_thing_are_one_cluster(method, cosine, dim):
    """C12: HDBSCAN finds no cluster where there is only one, and scored the most coherent 1000."""
    points = shots(48, cosine, dim=dim)
    assert divide(method, points) == [0] * 48
    assert canonical(np.zeros(48, np.int64), points).clusters[0].score < 5


@both
def test_that_all_are_one_thing_is_said_with_what_forces_a_cut(method):
    """C11."""
    [note] = method.compute(Data(shots(48, 0.99)), 0).notes
    assert "almost the same" in note and "`nb_clusters: 2`" in note
    [note] = method.compute(Data(shots(48, 1 - 1e-8)), 0).notes
    assert "identical but for what rounding makes" in note
    [note] = method.compute(Data(shots(1, 0.9).repeat(48, axis=0)), 0).notes
    assert note == "All images are identical: they are one cluster."


@both
@pytest.mark.parametrize("size", [6, 20, 60])
@pytest.mark.parametrize("cosine", [1 - 1e-8, 0.9999, 0.99, 0.97])
def test_shots_of_two_things_are_two_clusters(method, size, cosine):
    """A10: what differs between shots of one thing is no reason to tear them."""
    points = np.concatenate([shots(size, cosine, seed) for seed in (1, 2)])
    assert divide(method, points) == parts(size, size)


@both
@pytest.mark.parametrize("cosine", [1 - 1e-8, 0.999, 0.97])
@pytest.mark.parametrize("common", [0, 1.5])
def test_shots_of_one_thing_in_a_diverse_corpus_are_a_cluster(method, cosine, common):
    points = np.concatenate([shots(48, cosine), diverse(300, common=common)])
    found = divide(method, points)
    assert set(found[:48]) == {0}
    assert found[48:].count(0) < 10


def test_images_are_divided_as_if_shots_of_one_thing_were_not_there():
    """A10: a group that is taken out must not move the mean of those that remain."""
    points = np.concatenate([shots(48, 0.99), shots(48, 0.97, seed=7), diverse(300)])
    assert divide(KMeans(nb_clusters=-1), points) == parts(48, 48) + [-1] * 300
    alone = divide(KMeans(nb_clusters=-1), diverse(300))
    assert alone == [-1] * 300


def test_the_frames_of_a_scene_are_together_where_nothing_else_is_near():
    """A10: the first and the last are unlike each other."""
    scene = frames(100, seed=1)
    assert scene[0] @ scene[-1] < 0.9
    found = divide(KMeans(nb_clusters=-1), np.concatenate([scene, diverse(300)]))
    assert found[:100] == [0] * 100
    two = np.concatenate([scene, frames(100, seed=2)])
    for method in DENSITY:
        assert divide(method, two) == parts(100, 100)


@both
@pytest.mark.parametrize("number", [3, 30])
def test_altered_copies_of_images_are_together(method, number):
    """A10: each image in six encodings."""
    points = np.concatenate([shots(6, 0.99, seed) for seed in range(number)])
    assert divide(method, points) == parts(*[6] * number)


@both
def test_copies_count_among_altered_copies(method):
    """K3: four images in two encodings, with three copies of each."""
    points = np.concatenate([shots(2, 0.99, seed).repeat(3, axis=0) for seed in range(4)])
    assert divide(method, points) == parts(6, 6, 6, 6)


@both
def test_a_picture_takes_its_altered_copies_along(method):
    points = np.concatenate([shots(3, 0.99).repeat([20, 1, 1], axis=0), diverse(4)])
    assert divide(method, points) == [0] * 22 + [-1] * 4


@both
def test_a_thing_of_two_halves_is_divided(method):
    """What lies apart inside a set is no noise: three things, two of them of one kind."""
    kind = diverse(1, seed=3)[0]
    sides = [unit(kind + 0.1 * diverse(1, seed)) for seed in (4, 5)]
    points = np.concatenate(
        [
            shots(20, 0.9999, 1, around=sides[0]),
            shots(20, 0.9999, 2, around=sides[1]),
            shots(20, 0.9999),
        ]
    )
    assert points[0] @ points[30] > 0.98
    assert divide(method, points) == parts(20, 20, 20)


@both
def test_integers_of_few_values_leave_no_group_over(method):
    """Vectors of another program: many are equal, or would be but for rounding."""
    drawn = np.random.default_rng(0).integers(1, 3, (200, 3))
    points = unit(drawn)  # (1, 1, 1) and (2, 2, 2) point the same way
    truth = DistinctPictures.of(Data(points)).places
    assert len(np.unique(truth)) == 7
    assert divide(method, points) == numbered(truth)


@both
@pytest.mark.parametrize("size", [1e-8, 1e-7, 3e-7])
def test_vectors_that_are_equal_but_for_rounding_are_copies(method, size):
    """K3: another machine, or another batch."""
    noise = np.random.default_rng(1).normal(size=(150, 512))
    points = unit(diverse(3).repeat(50, axis=0) * (1 + size * noise))
    assert divide(method, points) == parts(50, 50, 50)


def test_pictures_are_told_apart_by_more_than_rounding():
    rng = np.random.default_rng(0)
    exact = diverse(40).repeat(3, axis=0)
    near = unit(exact + 1e-7 * rng.normal(size=exact.shape))
    for points in (exact, near):
        pictures = DistinctPictures.of(Data(points))
        assert pictures.first.tolist() == list(range(0, 120, 3))
        assert pictures.places.tolist() == parts(*[3] * 40)
        assert pictures.weights.tolist() == [3] * 40
    assert len(DistinctPictures.of(Data(near), rounded=False)) == 120
    assert len(DistinctPictures.of(Data(shots(40, 1 - 1e-6)))) == 40
    assert len(DistinctPictures.of(Data(shots(1000, 1 - 1e-9, dim=16)))) == 1


def test_points_are_as_far_apart_as_their_projection_is_wide():
    """Millionths of their coordinates are rounding, whatever the unit, and one stray point."""
    points = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    for factor in (1e-6, 1, 1e6):
        assert len(DistinctPictures.of(Data(np.float32(factor) * points, unit=False))) == 300
    stray = np.concatenate([points, [[1e7, 0]]]).astype(np.float32)
    assert len(DistinctPictures.of(Data(stray, unit=False))) == 301


ORDINARY = {
    "blobs": blobs(),
    "loose blobs": blobs(noise=0.9),
    "two loose blobs": blobs(2, 60, noise=0.9),
    "many small blobs": blobs(60, 6, noise=0.3),
    "pairs": blobs(60, 2, noise=0.05),
    "random": diverse(300),
    "alike": diverse(300, dim=64, common=3),
    "few dimensions": diverse(300, dim=8),
    "digits": unit(load_digits().data[:400]),
    "a plane": 3 * np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32),
}


@pytest.mark.parametrize("corpus", ORDINARY)
@both
def test_an_ordinary_corpus_is_divided_as_before(method, corpus):
    """DESIGN 7: only answers that were wrong are others by another algorithm, to the last bit."""
    data = Data(ORDINARY[corpus], unit=corpus != "a plane")
    first, now = method.computing(1)(data, 0), method.compute(data, 0)
    assert now.labels.tobytes() == first.labels.tobytes()
    assert now.probabilities.tobytes() == first.probabilities.tobytes()
    assert now.notes == first.notes


@both
def test_what_the_first_algorithm_answered_stays(method):
    """DESIGN 7: records that were made by it are verified by it."""
    groups = diverse(2).repeat(20, axis=0)
    if isinstance(method, Hdbscan):
        with pytest.raises(NotComputableError, match="only 2 of the 40 images differ"):
            method.computing(1)(Data(groups), 0)
    else:
        assert set(method.computing(1)(Data(groups), 0).labels.tolist()) == {0}
    torn = method.computing(1)(Data(shots(48, 0.999)), 0).labels
    assert np.count_nonzero(torn == -1) > 24


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_a_number_that_is_asked_for_is_divided_as_ever(kind):
    """DESIGN 7: such records are not called out of date by a change of the automatic number."""
    assert (kind(nb_clusters=-1).own_algorithm, kind(nb_clusters=3).own_algorithm) == (2, 1)
    labels = [kind(nb_clusters=3).computing(n)(Data(blobs(3)), 0).labels for n in (1, 2)]
    assert labels[0].tolist() == labels[1].tolist()


seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=5, deadline=None, derandomize=True)


@few
@given(seed=seeds, number=st.integers(2, 30), copies=st.integers(5, 9), more=st.integers(5, 9))
def test_more_copies_of_every_image_change_nothing(seed, number, copies, more):
    """As soon as there are as many as a cluster has at least."""
    points = diverse(number, seed, dim=32)
    for method in DENSITY:
        one, two = (divide(method, points.repeat(times, axis=0)) for times in (copies, more))
        assert numbered(np.array(one[::copies])) == numbered(np.array(two[::more]))
        assert -1 not in one


@few
@given(seed=seeds, copies=st.integers(2, 6))
def test_copies_of_every_image_change_no_cluster(seed, copies):
    """K3: those in the remainder are clusters, if they are enough."""
    points = np.concatenate([blobs(6, 15, noise=0.5, seed=seed), diverse(5, seed, dim=64)])
    for method in DENSITY:
        alone = np.array(divide(method, points))
        found = np.array(divide(method, points.repeat(copies, axis=0)))[::copies]
        inside = alone >= 0
        assert numbered(found[inside]) == numbered(alone[inside])
        assert (found[~inside] == -1).all() == (copies < 5 or inside.all())


@few
@given(seed=seeds, sizes=st.lists(st.integers(8, 30), min_size=2, max_size=6))
def test_in_any_order_no_set_is_torn_or_left_over(seed, sizes):
    """K3: of copies and shots of one thing, beside images like no others."""
    rng = np.random.default_rng(seed)
    groups = [
        shots(size, rng.choice([1 - 1e-8, 0.9999, 0.99]), int(rng.integers(2**31)), dim=128)
        for size in sizes
    ]
    points = np.concatenate([*groups, diverse(4, seed, dim=128)])
    order = rng.permutation(len(points))
    back = np.argsort(order)
    ends = np.cumsum(sizes)[:-1]
    for method in DENSITY:  # two sets may be one cluster, by what is between them
        as_given = np.array(divide(method, points))
        otherwise = np.array(divide(method, points[order]))[back]
        for labels in (as_given, otherwise):
            for part in np.split(labels[: sum(sizes)], ends):
                assert len(set(part)) == 1
                assert part[0] != -1


@few
@given(seed=seeds, exponent=st.floats(-14, -1.6), size=st.integers(5, 40))
def test_near_copies_are_never_left_over(seed, exponent, size):
    """C12: by however little they differ."""
    near = shots(size, 1 - 10**exponent, seed, dim=64)
    for method in DENSITY:
        assert divide(method, near) == [0] * size
        among = divide(method, np.concatenate([near, blobs(5, 20, seed=seed + 1)]))
        assert len(set(among[:size])) == 1 and among[0] != -1
