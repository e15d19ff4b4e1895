"""Sweeps: the runs that a grid names, and the table of their answers."""

import pytest

from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.sweeps import best_numbers, cells, parse_sweep, row
from panoptic_assets.spec.keys import MAX_LENGTH, parse_run_key
from panoptic_assets.spec.resolution import parse
from resources.errors import InputError

GRID = {
    "methods": [
        {"kmeans": {"nb_clusters": [5, 10]}},
        {"hdbscan": {"min_cluster_size": 10, "cluster_selection_epsilon": [0.0, 0.25]}},
        {"birch": None},
    ],
    "features": ["mini", "mini/umap"],
    "seeds": [0, 1],
}


def keys(**document):
    return [cell.key for cell in cells("s", parse_sweep(document, "The sweep"))]


def test_a_grid_is_every_combination_under_a_readable_key():
    """D42: techniques, hyperparameters and features are experimented with."""
    found = keys(**GRID)
    assert len(found) == (2 + 2 + 1) * 2 * 2
    assert found[0] == "s_kmeans_mini_s0_k5"
    assert "s_hdbscan_mini-umap_s1_mcs10_cse0p25" in found
    assert "s_birch_mini_s0" in found
    assert len(set(found)) == len(found)
    assert all(parse_run_key(key) for key in found)


def test_only_what_varies_is_in_the_key():
    assert keys(methods=[{"kmeans": {"nb_clusters": [2, 3], "n_init": 4}}]) == ["s_k2", "s_k3"]
    assert keys(methods=[{"kmeans": {}}]) == ["s"]


def test_every_cell_is_a_configuration_of_a_run():
    document = GRID | {"scope": {"files": {"pattern": "a/*"}}, "stability": 5}
    for cell in cells("s", parse_sweep(document, "The sweep")):
        config = parse(ClusteringConfig, cell.config)
        assert config.stability == 5
        assert config.scope.name == "files"


def test_a_list_of_texts_is_one_value_of_a_parameter_that_is_a_list():
    tags = {"tags": ["vase", "été"]}
    [one] = cells("s", parse_sweep({"methods": [{"cluster_by_tags": tags}]}, "The sweep"))
    assert one.config["method"] == {"cluster_by_tags": tags}
    several = {"tags": [["vase"], ["été", "hiver"]]}
    two = cells("s", parse_sweep({"methods": [{"cluster_by_tags": several}]}, "The sweep"))
    assert [cell.config["method"]["cluster_by_tags"]["tags"] for cell in two] == several["tags"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "methods: field required"),
        ({"methods": []}, "methods: list should have at least 1 item"),
        ({"methods": [{"dbscan": {}}]}, "each entry is one method"),
        ({"methods": [{"kmeans": {}, "birch": {}}]}, "each entry is one method"),
        ({"methods": [{"kmeans": {}}], "seed": [1]}, "seed: extra inputs"),
        ({"methods": [{"kmeans": {}}, {"kmeans": {}}]}, "asks twice for the run s"),
        ({"methods": [{"kmeans": {"nb_clusters": list(range(2, 1200))}}]}, "1,198 runs"),
        ({"methods": [{"cluster_by_tags": {"tags": [["a"], ["b" * 200]]}}]}, "shorten the sweep"),
    ],
)
def test_a_sweep_that_cannot_be_used_is_refused_on_one_line(document, message):
    with pytest.raises(InputError, match=message) as caught:
        cells("s", parse_sweep(document, "The sweep"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000


def test_a_key_that_is_as_long_as_possible_is_possible():
    grid = {"methods": [{"kmeans": {"nb_clusters": [2, 3]}}]}
    sweep = parse_sweep(grid, "The sweep")
    assert len(cells("s" * (MAX_LENGTH - 3), sweep)[0].key) == MAX_LENGTH
    with pytest.raises(InputError, match="would have a key of 121 characters"):
        cells("s" * (MAX_LENGTH - 2), sweep)


def test_the_best_number_is_that_of_the_silhouette_and_of_the_elbow():
    """D61: heuristics estimate the best number for k-means."""
    asked = cells("s", parse_sweep({"methods": [{"kmeans": {"nb_clusters": [2, 4, 8, 16]}}]}, "s"))
    silhouettes, scores = [0.2, 0.4, 0.3, 0.1], [60.0, 30.0, 26.0, 24.0]
    rows = [
        row(cell, None) | {"status": "done", "silhouette": silhouette, "mean_score": score}
        for cell, silhouette, score in zip(asked, silhouettes, scores, strict=True)
    ]
    [best] = best_numbers(rows, asked).values()
    assert (best.by_silhouette, best.by_elbow) == (4, 4)
    straight = [
        found | {"mean_score": 60.0 - number}
        for found, number in zip(rows, (2, 4, 8, 16), strict=True)
    ]
    [best] = best_numbers(straight, asked).values()
    assert best.by_elbow is None
    failed = [found | {"status": "failed"} for found in rows]
    assert best_numbers(failed, asked) == {}


def test_numbers_are_compared_within_one_method_and_seeds_by_their_mean():
    grid = {
        "methods": [{"kmeans": {"nb_clusters": [2, 4]}}, {"birch": {"nb_clusters": [2, 4]}}],
        "seeds": [0, 1],
    }
    asked = cells("s", parse_sweep(grid, "s"))
    silhouettes = [0.9, 0.1, 0.6, 0.6, 0.1, 0.2, 0.1, 0.1]
    rows = [
        row(cell, None) | {"status": "done", "silhouette": silhouette, "mean_score": 1.0}
        for cell, silhouette in zip(asked, silhouettes, strict=True)
    ]
    best = best_numbers(rows, asked)
    assert best["method kmeans"].by_silhouette == 4
    assert best["method birch"].by_silhouette == 2


def test_different_requests_have_different_keys_in_any_script():
    assert keys(methods=[{"kmeans": {"nb_clusters": [-1, 1]}}]) == ["s_km1", "s_k1"]
    tags = {"tags": [["花", "木"], ["草", "鳥"]]}
    assert len(set(keys(methods=[{"cluster_by_tags": tags}]))) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"nb__clusters": [5, 10]}, "kmeans has no parameter 'nb__clusters'; it has nb_clusters"),
        ({"nb_clusters": []}, "has no run: one of its parameters has no value"),
        ({name: [*range(1, 80)] for name in ("nb_clusters", "n_init", "tol")}, "493,039 runs"),
    ],
)
def test_a_grid_without_sense_is_refused_before_it_is_built(grid, message):
    with pytest.raises(InputError, match=message):
        keys(methods=[{"kmeans": grid}])
