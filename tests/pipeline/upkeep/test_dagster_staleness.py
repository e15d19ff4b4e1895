"""What Dagster calls out of date: only what is."""

import shutil

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from panoptic_assets.definitions import build_defs
from panoptic_assets.orchestration.instance import open_instance
from resources.project_folder import find
from tests.tiny import tiny_project
from tests.workbench import Workbench

TWO = {"kmeans": {"nb_clusters": 2}}
FOUR = {"kmeans": {"nb_clusters": 4}}


def stale(instance):
    """The assets, with their partition, that Dagster's pages would mark as out of date.

    The resolver behind those pages is private to Dagster; there is no public way to ask.
    """
    graph = build_defs().resolve_asset_graph()
    resolver = CachingStaleStatusResolver(
        instance=instance, asset_graph=graph, loading_context=LoadingContextForTest(instance)
    )
    found = set()
    for key in graph.materializable_asset_keys:
        partitions = graph.get(key).partitions_def
        for partition in (
            partitions.get_partition_keys(dynamic_partitions_store=instance)
            if partitions
            else [None]
        ):
            if resolver.get_status(key, partition).value == "STALE":
                found.add((key.to_user_string(), partition))
    return found


@pytest.fixture(scope="module")
def saved_folder(once):
    """A run, two clusterings below it, their tags, and the Dagster instance that knows of them."""

    def write(folder):
        project = tiny_project(folder, 40)
        with open_instance(project.dagster_home) as instance:
            bench = Workbench(project, instance)
            bench.run("images")
            bench.run("embeddings", "tiny")
            bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 3}})
            bench.run("nested_clustering", "greek/0", method=TWO)
            bench.run("nested_clustering", "greek/0/1", method=TWO)
            bench.run("saved_clustering", "greek")
            bench.run("tags")

    return once("saved_and_told", write)


@pytest.fixture
def saved(saved_folder, tmp_path):
    """A copy of it: all of it up to date."""
    project = find(shutil.copytree(saved_folder / "project", tmp_path / "project"))
    with open_instance(project.dagster_home) as instance:
        assert stale(instance) == set()
        yield Workbench(project, instance)


def test_another_run_another_node_and_another_vector_type_make_nothing_stale(saved):
    """DESIGN 7: what did not change is not stale."""
    models = saved.project.configs / "models"
    (models / "grey.yaml").write_text((models / "tiny.yaml").read_text() + "greyscale: true\n")
    saved.run("embeddings", "grey")
    saved.run("clustering", "roman", method=FOUR)
    saved.run("nested_clustering", "roman/0", method=TWO)
    saved.run("nested_clustering", "greek/1", method=TWO)
    assert stale(saved.instance) == set()


def test_a_save_is_stale_when_its_run_has_another_answer(saved):
    saved.run("clustering", "greek", method=FOUR, replace=True)
    assert stale(saved.instance) == {("saved_clustering", "greek")}


def test_the_tags_are_stale_until_a_save_is_in_them(saved):
    saved.run("clustering", "roman", method=FOUR)
    saved.run("saved_clustering", "roman", property="Roman")
    assert stale(saved.instance) == {("tags", None)}
    saved.run("tags")
    assert stale(saved.instance) == set()


def test_the_lineage_shows_what_is_made_from_what():
    graph = build_defs().resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }
    assert parents == {
        "images": set(),
        # No parent of those that read its values: Dagster knows of no lineage alone from an asset
        # without partitions, and would call every run stale for any change of the inventory.
        "inventory": {"images"},
        "embeddings": {"images"},
        "neighbors": {"embeddings"},
        "projection": {"embeddings", "neighbors"},
        "clustering": {"embeddings", "projection"},
        "nested_clustering": {"clustering"},
        "cluster_labels": {"clustering", "nested_clustering"},
        "clustering_report": {"clustering", "nested_clustering", "projection", "cluster_labels"},
        "run_comparison": {"clustering", "nested_clustering", "tags"},
        "saved_clustering": {"clustering", "nested_clustering"},
        "tags": {"saved_clustering"},
        "tag_recommendations": {"tags", "embeddings"},
    }


def test_the_web_server_knows_the_mappings_too():
    """It reads serialized definitions; a mapping that it cannot load becomes all partitions."""
    graph = build_defs().resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        for mapping in graph.get(key).partition_mappings.values():
            assert dg.deserialize_value(dg.serialize_value(mapping)) == mapping
