"""A small project with a history: what proofs, explanations and bundles are tried on."""

import json
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.labels import questions
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.labels.table import clusters_to_label, label_rows, write_labels
from panoptic_assets.spec.records import digest
from resources.project_folder import ProjectSettings, create, find
from resources.schemas import SCHEMAS
from tests.tiny import write_images, write_model
from tests.workbench import Workbench

KEY = "greek"


def written_labels(bench, task="", label="Vases"):
    """What a vision model would have left in the store."""
    prompt = digest(questions.SYSTEM, task or questions.TASKS["en"])
    answer = {"label": label, "description": "Pots.", "remark": None}
    row = {
        "cache_key": "0" * 64,
        "answer": json.dumps(answer),
        "model": "gpt-4o-mini",
        "host": "api.example.org",
        "prompt": prompt,
        "tokens_in": 1,
        "tokens_out": 1,
        "created_at": datetime(2024, 3, 9, tzinfo=UTC),
    }
    schema = SCHEMAS["label_answers"]
    bench.store.upsert("label_answers", pa.Table.from_pylist([row], schema))
    clusters = clusters_to_label(Clusterings(bench.store, KEY), KEY)
    found = [Suggestion(c.node, label, None, (), None, "Pots.") for c in clusters]
    config = {
        "model": "gpt-4o-mini",
        "task": task,
        "language": "en",
        "base_url": "https://me:secret@api.example.org/v1",
    }
    write_labels(bench.store, KEY, label_rows(KEY, clusters, found, "vision_model", config))


def write_project(folder):
    """Write a small project whose run was divided, labelled, saved, edited, made and saved anew."""
    write_images(folder / "images", 60)
    write_model(folder / "model")
    settings = ProjectSettings(images=str(folder / "images"), vector_type="tiny")
    project = create(folder / "project", settings)
    (project.configs / "models" / "tiny.yaml").write_text(f"model: local-dir:{folder / 'model'}\n")
    file = project.configs / "runs" / f"{KEY}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("ops: {clustering: {config: {method: {kmeans: {nb_clusters: 4}}}}}\n")
    bench = Workbench(find(project.folder), dg.DagsterInstance.ephemeral())
    bench.run("images")
    bench.run("embeddings", "tiny")
    bench.run("clustering", KEY)
    bench.run("nested_clustering", f"{KEY}/3", method={"kmeans": {"nb_clusters": 2}})
    bench.run("saved_clustering", KEY)
    path = bench.read.files()["path"][0].as_py()
    bench.run(
        "tags",
        edits=[
            {"rename": {"tag": "0", "to": "Vases"}},
            {"create": {"tag": "Mine", "property": "Other"}},
            {"assign": {"tag": "Vases", "images": [path], "property": "Clustering"}},
        ],
        author="Ada",
        reason="seen",
    )
    bench.run("clustering", KEY, method={"kmeans": {"nb_clusters": 3}}, replace=True)
    bench.run("saved_clustering", KEY)
    bench.run("tags")
    written_labels(bench)
    return project.folder
