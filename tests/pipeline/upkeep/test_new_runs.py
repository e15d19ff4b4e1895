"""The jobs whose Launchpad opens with all that can be asked of a new run."""

import dagster as dg
import pytest

from panoptic_assets.clustering.config import METHODS, ClusteringConfig, NestedClusteringConfig
from panoptic_assets.definitions import defs
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.resolution import parse
from panoptic_assets.upkeep.new_runs import asked_of, cluster_by, divide_cluster

SIX = {"kmeans": {"nb_clusters": 6}}


def launched(bench, job, **config):
    """A run of one of the jobs, as a Launchpad asks for it."""
    definition = bench.definitions.resolve_job_def(job)
    op = "divide" if job == "divide_cluster" else "cluster"
    return definition.execute_in_process(
        instance=bench.instance, run_config={"ops": {op: {"config": config}}}
    )


def refusal_of(bench, job, **config):
    with pytest.raises(dg.Failure) as caught:
        launched(bench, job, **config)
    assert caught.value.allow_retries is False
    return caught.value.description


def keys(bench, family="runs"):
    return list(bench.instance.get_dynamic_partitions(family))


def opens_with(job, op):
    """The configuration with which a Launchpad opens."""
    root = defs.resolve_job_def(job).config_mapping.config_schema.config_type
    return root.fields["ops"].default_value[op]["config"]


def job_of(method):
    return cluster_by[f"cluster_by_{name_of(method).removeprefix('cluster_by_')}"]


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_every_method_has_a_job_that_opens_with_all_its_parameters(method):
    """DESIGN 11: the Launchpad of an asset opens empty, that of a job with its configuration."""
    job = job_of(method)
    whole = opens_with(job.name, "cluster")
    assert whole.keys() == {"key", *ClusteringConfig.model_fields}
    [(name, parameters)] = whole["method"].items()
    assert name == name_of(method)
    assert parameters.keys() == method.model_fields.keys() - {"name"}
    assert method.__doc__.splitlines()[0] in job.description


@pytest.mark.parametrize(
    # The others ask for tags, or for runs, which only a person can name.
    "method",
    [method for method in METHODS if not method.needs],
    ids=name_of,
)
def test_what_a_job_opens_with_are_the_defaults(method):
    whole = opens_with(job_of(method).name, "cluster")
    asked = {field: value for field, value in whole.items() if field != "key"}
    assert parse(ClusteringConfig, asked) == ClusteringConfig(method=method())


def test_the_job_for_a_cluster_opens_with_all_that_can_be_asked_of_a_division():
    whole = opens_with(divide_cluster.name, "divide")
    assert whole.keys() == {"key", *NestedClusteringConfig.model_fields}


def test_a_job_makes_what_the_asset_makes_and_dagster_knows_it_as_such(bench):
    result = launched(bench, "cluster_by_kmeans", key="greek", method=SIX, scope={"corpus": {}})
    [told] = result.asset_materializations_for_node("cluster")
    assert (told.asset_key.path, told.partition) == (["clustering"], "greek")
    assert told.metadata["nb_clusters"].value == len(bench.read.clusters("greek")) == 6
    assert told.tags["dagster/data_version"] == bench.read.run_info("greek")["data_version"]
    assert keys(bench) == ["greek"]
    check = dg.AssetCheckKey(dg.AssetKey("clustering"), "up_to_date")
    [judged] = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    assert (judged.asset_check_key, judged.partition, judged.passed) == (check, "greek", True)
    again = bench.run("clustering", "greek")
    [other] = again.asset_materializations_for_node("clustering")
    assert other.tags["dagster/data_version"] == told.tags["dagster/data_version"]


def test_a_job_divides_a_cluster(greek):
    launched(greek, "divide_cluster", key="greek/5", method={"kmeans": {"nb_clusters": 2}})
    assert len(greek.read.clusters("greek/5")) == 2
    assert keys(greek, "nodes") == ["greek/5"]


@pytest.mark.parametrize("key", ["", "../x", "a\nb", "x" * 4000, "greek/3"])
def test_what_is_no_key_is_refused_and_becomes_no_partition(bench, key):
    assert "a run key" in refusal_of(bench, "cluster_by_kmeans", key=key, method=SIX)
    assert keys(bench) == []


def test_a_key_that_has_a_record_refuses_other_parameters(greek):
    line = refusal_of(greek, "cluster_by_birch", key="greek", method={"birch": {}})
    assert "greek was made with other parameters" in line
    assert "replace: true" in line


@pytest.mark.parametrize(
    ("job", "config", "asked"),
    [
        ("cluster_by_kmeans", {"cluster": {"key": "a", "features": "", "method": SIX}}, "a"),
        ("divide_cluster", {"divide": {"key": "a/3", "method": SIX}}, "a/3"),
        ("cluster_by_kmeans", {}, None),
        ("divide_corpus", {"clustering": {"method": SIX}}, None),
    ],
)
def test_the_act_that_a_run_of_a_job_is_can_be_told(job, config, asked):
    """So that the warm worker can prepare it, and refuse what would take long."""
    run_config = {"ops": {op: {"config": given} for op, given in config.items()}}
    asset = "nested_clustering" if job == "divide_cluster" else "clustering"
    found = asked_of(job, run_config)
    assert found == (None if asked is None else (asset, asked, {"method": SIX}))
