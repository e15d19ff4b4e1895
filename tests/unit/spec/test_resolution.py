"""A key is its configuration: parsing, resolution, refusal."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_assets.clustering.config import METHODS, ClusteringConfig, NestedClusteringConfig
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.resolution import document_of, given_config, identity_of, parse, resolve
from panoptic_assets.tags.config import SaveConfig
from resources.errors import InputError
from resources.models import ModelSpec

CONFIGS = Path(__file__).parents[3] / "configs"
KMEANS_12 = {"method": {"kmeans": {"nb_clusters": 12}}}


def recorded(**changes):
    return identity_of(parse(ClusteringConfig, {"features": "mini"} | changes))


def resolved(asked, record=None, registered=None):
    return resolve(ClusteringConfig, "greek", asked, record, registered, {"features": "mini"})


def test_ten_clusters_by_kmeans_are_the_default():
    """A6, A26: without a choice, ten groups, by k-means."""
    config = ClusteringConfig()
    assert (config.method.name, config.method.nb_clusters) == ("kmeans", 10)


NEEDED = {
    "cluster_by_tags": {"tags": ["vase", "vase > amphore"]},
    "consensus": {"runs": ["a", "b"]},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_configuration_reads_back_as_it_was_written(method):
    chosen = method(**NEEDED.get(name_of(method), {}))
    config = ClusteringConfig(method=chosen, features="mini", seed=3)
    assert parse(ClusteringConfig, document_of(config)) == config


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"method": {"kmeans": {"nb_clusters": 0}}}, "nb_clusters: ask for 1 or more, or for -1"),
        ({"method": {"kmeans": {"nb_clusters": -2}}}, "(given: -2)"),
        ({"method": {"kmeans": {"clusters": 3}}}, "there is no field method.kmeans.clusters"),
        ({"method": {"dbscan": {}}}, "'kmeans', 'minibatch_kmeans'"),
        ({"method": {"kmeans": {}, "minibatch_kmeans": {}}}, "name one choice"),
        ({"method": "kmeans"}, "name one choice"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0"),
        ({"sede": 1}, "there is no field sede"),
        (
            {"method": {"agglomerative": {"metric": "cosine"}}},
            "ward measures the variance, and so takes no metric cosine: use euclidean, or linkage",
        ),
        (
            {"method": {"agglomerative": {"nb_clusters": 3, "distance_threshold": 1.0}}},
            "give nb_clusters or distance_threshold, not both",
        ),
        ({"method": {"agglomerative": {"nb_clusters": -1}}}, "give a distance_threshold instead"),
        (
            {"method": {"hdbscan": {"max_cluster_size": 9, "cluster_selection_method": "leaf"}}},
            "max_cluster_size has no effect with cluster_selection_method leaf: use eom",
        ),
        (
            {"method": {"hdbscan": {"max_cluster_size": 4}}},
            "max_cluster_size 4 is below min_cluster_size 5",
        ),
        ({"method": {"hdbscan": {"nb_clusters": 3}}}, "no field method.hdbscan.nb_clusters"),
        ({"method": {"find_duplicates": {"min_similarity": 1.5}}}, "less than or equal to 1"),
        ({"method": {"cluster_by_tags": {}}}, "give a property or a list of tags, one of them"),
        (
            {"method": {"cluster_by_tags": {"tags": ["a"], "templates": ["a photo"]}}},
            "templates: each has {} once, where the tag is put",
        ),
        ({"method": {"consensus": {"runs": ["a", "a"]}}}, "needs two or more different runs"),
        ({"scope": {"files": {}}}, "pattern: input should be a valid string"),
        ({1: 2}, "the name of a field is text, not 1"),
        ({"method": {"kmeans": {1: 2}}}, "the name of a field is text, not 1"),
        ({"method": {"kmeans": [1, 2]}}, "name one choice"),
        ({"method": {"kmeans": 3}}, "name one choice"),
        ({"method": {"kmeans": {"tol": float("inf")}}}, "tol: input should be a finite number"),
        ({"seed": 1 << 20_000}, "(given: a very long number)"),
        ({"seed": ["x" * 10_000] * 10_000}, "seed: input should be a valid integer (given: ['xxx"),
        (
            {"scope": {"files": {"pattern": "\ud800"}}},
            "pattern: input should be a valid string, unable",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named_on_one_line(document, message):
    with pytest.raises(InputError) as caught:
        parse(ClusteringConfig, document)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=5),
    st.sampled_from(["kmeans", "minibatch_kmeans", "corpus", "files", "random", "10", "yes"]),
)
FIELDS = ["method", "scope", "features", "seed", "replace", "kmeans", "files", "pattern"]
FIELDS += ["nb_clusters", "n_init", "init", "tol", "name", "corpus", "property", "values", "since"]
FIELDS += ["tag", "path", "dates", "ids", "file", "text", "similar", "min_similarity", "node"]
names = st.one_of(st.sampled_from(FIELDS), scalars)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)
documents = st.one_of(
    st.dictionaries(names, values, max_size=4),
    st.fixed_dictionaries(
        {}, optional={"method": st.dictionaries(names, values, max_size=2), "scope": values}
    ),
    st.builds(
        lambda method, fields: {"method": {method: fields}},
        st.sampled_from(["kmeans", "minibatch_kmeans"]),
        st.dictionaries(st.sampled_from(FIELDS), values, max_size=3),
    ),
)


@settings(deadline=None)
@given(documents)
def test_any_document_is_a_configuration_or_refused_on_one_line(document):
    """What is accepted reads back as it was written, and fits into a record's JSON."""
    try:
        config = parse(ClusteringConfig, document)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 2000
    else:
        whole = document_of(config)
        assert parse(ClusteringConfig, whole) == config
        assert json.loads(json.dumps(whole, allow_nan=False)) == whole


@settings(deadline=None)
@given(documents, documents, st.sampled_from([None, recorded()]))
def test_any_request_is_resolved_or_refused(asked, registered, record):
    with suppress(InputError):
        resolved(asked, record, registered)


def test_a_document_that_holds_itself_or_another_many_times_is_refused():
    """YAML's anchors and aliases can say both in a few lines."""
    for text in ("&a {scope: *a}", "a: " + "{x: " * 9 + "1" + "}" * 9):
        with pytest.raises(InputError, match="nested deeper"):
            parse(ClusteringConfig, yaml.safe_load(text))
    wide = {}
    for _ in range(8):
        wide = {f"x{number}": wide for number in range(50)}
    with pytest.raises(InputError, match="more than 1000 fields"):
        parse(ClusteringConfig, wide)


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "\x1b[31m", "a\x85b", "a\u2028b", "a\x9bm"])
def test_a_property_has_a_visible_name_on_one_line(name):
    with pytest.raises(InputError, match="property: must"):
        parse(SaveConfig, {"property": name})


@pytest.mark.parametrize("name", ["Époque", "年代", "קיץ", "a b", "a > b", "🍌", "l’été\u00a0?"])
def test_a_property_has_a_name_in_any_script(name):
    assert parse(SaveConfig, {"property": name}).property == name


def test_what_is_given_comes_before_record_registry_and_defaults():
    assert resolved({}).method.nb_clusters == 10
    assert resolved({}, registered=KMEANS_12).method.nb_clusters == 12
    assert resolved({}, recorded(seed=5), KMEANS_12).seed == 5
    assert resolved({}, recorded(seed=5), KMEANS_12).method.nb_clusters == 10
    assert resolved(KMEANS_12 | {"replace": True}, recorded(seed=5)).method.nb_clusters == 12


def test_fields_that_are_not_given_come_from_the_record():
    config = resolved(KMEANS_12 | {"replace": True}, recorded(seed=5))
    assert (config.seed, config.features) == (5, "mini")


def test_parameters_that_exclude_recorded_ones_are_taken_by_themselves():
    record = recorded(method={"agglomerative": {"nb_clusters": 5}})
    asked = {"method": {"agglomerative": {"distance_threshold": 0.9}}}
    with pytest.raises(InputError, match="was made with other parameters"):
        resolved(asked, record)
    config = resolved(asked | {"replace": True}, record)
    assert (config.method.nb_clusters, config.method.distance_threshold) == (None, 0.9)


def test_parameters_of_another_method_are_not_mixed_in():
    record = recorded(method={"kmeans": {"nb_clusters": 7, "max_iter": 50}})
    config = resolved({"method": {"minibatch_kmeans": {}}, "replace": True}, record)
    assert config.method == METHODS[1]()


def test_a_recorded_key_refuses_other_parameters_and_names_them():
    """D39: runs never overwrite each other."""
    with pytest.raises(InputError) as caught:
        resolved(KMEANS_12, recorded())
    assert "method.kmeans.nb_clusters: 10 is recorded, 12 is asked for" in str(caught.value)
    assert "seed" not in str(caught.value)
    assert "Choose a new key, or set `replace: true`" in str(caught.value)


@pytest.mark.parametrize("empty", [None, []])
def test_an_empty_field_that_is_written_out_is_no_unknown_field(empty):
    """A Launchpad that scaffolds every field writes them so."""
    dates = {"property": "fait", "values": [], "minimum": None, "maximum": None, "since": "1887"}
    document = {"scope": {"property": {**dates, "until": None}}}
    assert parse(ClusteringConfig, document) == parse(
        ClusteringConfig, {"scope": {"property": {"property": "fait", "since": "1887"}}}
    )
    search = {"scope": {"text": {"text": "x", "min_similarity": None, "nb_images": None}}}
    assert parse(ClusteringConfig, search).scope.nb_images == 100
    with pytest.raises(InputError, match=r"there is no field scope\.property\.untill"):
        parse(ClusteringConfig, {"scope": {"property": {**dates, "untill": empty}}})


def test_a_list_that_differs_is_shown_by_its_first_values():
    values = [f"valeur {number}" for number in range(1000)]
    record = recorded(scope={"property": {"property": "p", "values": values}})
    with pytest.raises(InputError) as caught:
        resolved({"scope": {"property": {"property": "p", "values": ["é"]}}}, record)
    assert "scope.property.values: ['valeur 0', 'valeur 1'," in str(caught.value)
    assert "is recorded, ['é'] is asked for" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_scope_that_is_given_is_not_mixed_with_the_recorded_one():
    record = recorded(scope={"property": {"property": "p", "values": ["x"]}})
    given = {"scope": {"property": {"property": "q", "since": "2024"}}, "replace": True}
    assert resolved(given, record).scope.values == []
    assert resolved({}, record).scope.values == ["x"]


def test_a_recorded_key_accepts_its_own_parameters():
    assert (
        resolved({"method": {"kmeans": {"nb_clusters": 10}}}, recorded()).method.nb_clusters == 10
    )


def test_replace_is_not_part_of_what_is_recorded():
    assert "replace" not in recorded(replace=True)


def test_empty_fields_of_a_scaffolded_launchpad_count_as_not_given():
    run_config = {"ops": {"clustering": {"config": {"features": "", "seed": 0, "scope": None}}}}
    assert given_config(run_config, "clustering") == {"seed": 0}
    assert given_config({}, "clustering") == {}


def test_every_shipped_model_file_validates():
    files = sorted((CONFIGS / "models").glob("*.yaml"))
    assert {file.stem for file in files} >= {"mini", "vit-b-32"}
    for file in files:
        ModelSpec(**yaml.safe_load(file.read_text(encoding="utf-8")))


def test_every_shipped_run_file_validates():
    files = sorted((CONFIGS / "runs").rglob("*.yaml"))
    assert files
    for file in files:
        depth = len(file.relative_to(CONFIGS / "runs").parts)
        config, asset = (
            (ClusteringConfig, "clustering")
            if depth == 1
            else (NestedClusteringConfig, "nested_clustering")
        )
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert document["ops"].keys() == {asset}
        parse(config, given_config(document, asset))


def test_of_many_values_that_cannot_be_used_the_first_ones_are_named():
    """One plain line, not a screen of them."""
    tags = ["x" * 300] * 300
    with pytest.raises(InputError) as caught:
        parse(ClusteringConfig, {"method": {"cluster_by_tags": {"tags": tags}}})
    assert str(caught.value).endswith("; and 295 more")
    assert "tags.4:" in str(caught.value)
    assert "tags.5:" not in str(caught.value)
