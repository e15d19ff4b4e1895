"""Every method gives points; the same ones everywhere; what cannot be computed is said plainly."""

import inspect
import warnings

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as trustworthiness_of_sklearn
from threadpoolctl import threadpool_limits

from panoptic_assets.features.config import PROJECTION_METHODS
from panoptic_assets.features.neighbors import nearest_neighbors
from panoptic_assets.features.projections import METHODS, project, trustworthiness
from panoptic_assets.spec.computation import NotComputableError

LABELS = np.repeat(np.arange(5), 24)


def blobs(nb_images=120, dim=32, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5, dim))[LABELS[:nb_images]] + 0.2 * rng.normal(size=(nb_images, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def parameters(name, **changes):
    [config] = [c for c in PROJECTION_METHODS if c.model_fields["name"].default == name]
    defaults = config().model_dump()
    defaults.pop("name")
    return defaults | changes


def points_of(name, vectors, nb_dimensions=2, seed=0, **changes):
    graph = nearest_neighbors(vectors, 50)
    return project(name, vectors, nb_dimensions, seed, graph, parameters(name, **changes)).points


every_method = pytest.mark.parametrize("name", sorted(METHODS))


def test_every_method_has_a_config_class_with_its_parameters():
    """D23: one list of methods, each with its own parameters."""
    common = {"vectors", "nb_dimensions", "seed", "graph"}
    for name, method in METHODS.items():
        assert set(inspect.signature(method).parameters) - common == set(parameters(name))
    assert len(PROJECTION_METHODS) == len(METHODS)


@every_method
@pytest.mark.parametrize("nb_dimensions", [1, 2, 3, 5])
def test_points_have_the_dimensions_that_were_asked_for(name, nb_dimensions):
    changes = {"max_iter": 250} if name == "tsne" else {}
    points = points_of(name, blobs(60), nb_dimensions, **changes)
    assert points.shape == (60, nb_dimensions)
    assert points.dtype == np.float32
    assert np.linalg.matrix_rank(points - points.mean(axis=0)) == nb_dimensions


@every_method
def test_planted_groups_stay_together(name):
    """C2: the map shows whether the corpus splits well."""
    points = points_of(name, blobs())
    distances = np.square(points[:, None] - points).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest_five = np.argsort(distances, axis=1)[:, :5]
    assert (LABELS[nearest_five] == LABELS[:, None]).mean() > 0.95


@every_method
def test_threads_do_not_change_a_point_and_the_seed_is_all_that_is_random(name):
    vectors = blobs()
    with threadpool_limits(limits=1):
        one = points_of(name, vectors)
    np.random.seed(5)  # the global state, which must not matter
    with threadpool_limits(limits=2):
        two = points_of(name, vectors)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("name", ["umap", "tsne"])
def test_another_seed_gives_other_points(name):
    changes = {"init": "random"}
    vectors = blobs(40)
    changes |= {"perplexity": 10} if name == "tsne" else {}
    assert not np.array_equal(
        points_of(name, vectors, seed=1, **changes), points_of(name, vectors, seed=2, **changes)
    )


@pytest.mark.parametrize(
    ("name", "init"),
    [
        ("umap", "spectral"),
        ("umap", "pca"),
        ("umap", "random"),
        ("tsne", "pca"),
        ("tsne", "random"),
    ],
)
def test_every_start_gives_finite_points(name, init):
    assert np.isfinite(points_of(name, blobs(50), init=init)).all()


def test_pca_keeps_the_variance_that_it_says():
    vectors = blobs()
    found = project("pca", vectors, 3, 0, None, parameters("pca"))
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    share = np.linalg.svd(centred, compute_uv=False) ** 2
    assert found.explained_variance == pytest.approx(share[:3].sum() / share.sum(), abs=1e-6)
    assert found.points.var(axis=0).sum() / centred.var(axis=0).sum() == pytest.approx(
        found.explained_variance, abs=1e-4
    )


def test_whitening_gives_every_component_the_same_variance():
    points = project("pca", blobs(), 4, 0, None, parameters("pca", whiten=True)).points
    assert np.allclose(points.var(axis=0, ddof=1), 1, atol=1e-4)


@pytest.mark.parametrize("nb_images", [1, 2, 3])
def test_pca_of_a_few_images_is_zero_where_they_do_not_vary(nb_images):
    points = project("pca", blobs()[::50][:nb_images], 5, 0, None, parameters("pca")).points
    assert points.shape == (nb_images, 5)
    assert (np.abs(points).max(axis=0) > 1e-6).sum() == nb_images - 1


@pytest.mark.parametrize("name", ["umap", "tsne"])
@pytest.mark.parametrize("nb_images", [2, 3])
def test_umap_and_tsne_say_how_many_images_they_need(name, nb_images):
    with pytest.raises(NotComputableError, match=f"{name} needs 4 images or more .* there are"):
        points_of(name, blobs()[::40][:nb_images])


@every_method
@pytest.mark.parametrize("nb_images", [1, 2, 30])
def test_images_that_are_all_equal_are_all_at_the_origin(name, nb_images):
    vectors = np.repeat(blobs()[:1], nb_images, axis=0)
    assert not points_of(name, vectors).any()


def test_umap_takes_all_images_as_neighbours_when_there_are_no_more():
    for nb_images in (4, 5, 15, 16):
        assert np.isfinite(points_of("umap", blobs()[::7][:nb_images], n_neighbors=15)).all()


def test_umap_of_many_equal_images_among_others_is_finite():
    vectors = blobs()
    vectors[:80] = vectors[0]
    assert np.isfinite(points_of("umap", vectors)).all()


def test_umap_is_fed_by_the_graph_that_it_is_given():
    """Another graph of the same vectors gives another map."""
    vectors = blobs()
    foreign = nearest_neighbors(vectors[::-1].copy(), 50)
    ours = points_of("umap", vectors)
    assert not np.array_equal(
        ours, project("umap", vectors, 2, 0, foreign, parameters("umap")).points
    )


def test_the_graph_must_have_as_many_neighbours_as_umap_is_asked_to_use():
    vectors = blobs()
    with pytest.raises(NotComputableError, match="at most 11, or materialize .* k: 14 or more"):
        project("umap", vectors, 2, 0, nearest_neighbors(vectors, 10), parameters("umap"))


@pytest.mark.parametrize(
    ("name", "nb_dimensions", "changes", "message"),
    [
        ("pca", 33, {}, "the vectors have 32"),
        ("umap", 2, {"min_dist": 2.0}, "min_dist is at most spread"),
        ("tsne", 2, {"perplexity": 120.0}, "less than that"),
    ],
)
def test_what_does_not_fit_the_images_is_said(name, nb_dimensions, changes, message):
    with pytest.raises(NotComputableError, match=message) as caught:
        points_of(name, blobs(), nb_dimensions, **changes)
    assert len(str(caught.value).splitlines()) == 1


def test_tsne_of_many_images_in_many_dimensions_is_refused_before_it_fills_the_memory():
    vectors = np.tile(blobs(), (42, 1))
    with pytest.raises(NotComputableError, match="for 5,000 images at most; there are 5,040"):
        project("tsne", vectors, 4, 0, None, parameters("tsne"))


@every_method
def test_no_method_warns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points_of(name, blobs(40), **({"perplexity": 10} if name == "tsne" else {}))


@pytest.mark.parametrize("nb_images", [40, 120])
def test_trustworthiness_is_that_of_scikit_learn(nb_images):
    vectors = blobs(nb_images)
    points = np.random.default_rng(0).normal(size=(nb_images, 2)).astype(np.float32)
    expected = trustworthiness_of_sklearn(vectors, points, n_neighbors=15, metric="cosine")
    assert trustworthiness(vectors, points) == pytest.approx(expected, abs=1e-9)


def test_points_that_are_the_vectors_can_be_trusted():
    vectors = blobs()
    assert trustworthiness(vectors, vectors) == pytest.approx(1, abs=1e-6)
    assert trustworthiness(vectors[:3], vectors[:3]) == 1


def test_a_sample_estimates_the_trustworthiness_of_many_images():
    rng = np.random.default_rng(0)
    vectors = np.vstack([blobs(seed=seed) for seed in range(8)])
    points = (vectors[:, :2] + 0.05 * rng.normal(size=(960, 2))).astype(np.float32)
    whole = trustworthiness_of_sklearn(vectors, points, n_neighbors=15, metric="cosine")
    assert trustworthiness(vectors, points, seed=3) == pytest.approx(whole, abs=0.02)
