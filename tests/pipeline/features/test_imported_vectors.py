"""Bring your own vectors: matched with images, checked whole before anything is written."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.workbench import metadata


@pytest.fixture
def paths(bench):
    return [row["path"] for row in bench.read.files().to_pylist()]


def vectors_for(paths, dim=8):
    return {path: np.random.default_rng(n).normal(size=dim) * 5 for n, path in enumerate(paths)}


def offer(bench, vectors, column="path", key="other", model="another model"):
    """Write a file of vectors and describe it in the registry."""
    folder = bench.project.folder
    rows = {column: list(vectors), "vector": [list(map(float, v)) for v in vectors.values()]}
    pq.write_table(pa.table(rows), folder / f"{key}.parquet")
    file = bench.project.configs / "models" / f"{key}.yaml"
    file.write_text(f"vectors: {key}.parquet\nmodel: {model}\n")


def test_imported_vectors_are_a_vector_type_like_any_other(bench, paths):
    offer(bench, vectors_for(paths))
    found = metadata(bench.run("embeddings", "other"), "embeddings")
    assert (found["nb_images"], found["nb_not_embedded"]) == (253, 0)
    assert found["model"] == {"dim": 8, "imported": True, "model": "another model"}
    bench.make("clustering", "greek", features="other", method={"kmeans": {"nb_clusters": 3}})
    assert bench.read.run_info("greek")["nb_clusters"] == 3


def test_imported_vectors_are_scaled_to_unit_length_and_keep_their_direction(bench, paths):
    given = vectors_for(paths)
    offer(bench, given)
    bench.make("embeddings", "other")
    stored = bench.read.vectors("other")
    ids = {row["path"]: row["image_id"] for row in bench.read.files().to_pylist()}
    by_id = dict(zip(stored["image_id"].to_pylist(), stored["vector"].to_pylist(), strict=True))
    for path, vector in given.items():
        assert np.allclose(by_id[ids[path]], vector / np.linalg.norm(vector), atol=1e-6)


def test_rows_may_be_named_by_whole_paths_of_another_machine(bench, paths):
    """D59."""
    given = vectors_for(paths)
    whole = {f"/nas/pictures/{path}": vector for path, vector in given.items()}
    offer(bench, whole, column="filepath")
    found = metadata(bench.run("embeddings", "other"), "embeddings")
    assert (found["nb_images"], found["nb_not_embedded"]) == (253, 0)
    stored = bench.read.vectors("other")
    ids = {row["path"]: row["image_id"] for row in bench.read.files().to_pylist()}
    by_id = dict(zip(stored["image_id"].to_pylist(), stored["vector"].to_pylist(), strict=True))
    vector = given[paths[0]]
    assert np.allclose(by_id[ids[paths[0]]], vector / np.linalg.norm(vector), atol=1e-6)


def test_vectors_are_of_the_images_that_tags_would_be_of(bench, paths):
    """A name without its folders, or two of one file, is no file; addresses are said."""
    given = vectors_for([paths[0], "x", "y", "z", "w"])
    first, *others = given.values()
    names = [
        paths[0],
        f"/other/Fonds1/{Path(paths[1]).name}",
        *(f"/{disk}/{paths[2]}" for disk in ("x", "y")),
        f"https://museum.example/{paths[3]}",
    ]
    offer(bench, dict(zip(names, [first, *others], strict=True)))
    found = metadata(bench.run("embeddings", "other"), "embeddings")
    assert (found["nb_images"], found["nb_unknown"]) == (2, 3)
    ids = {row["path"]: row["image_id"] for row in bench.read.files().to_pylist()}
    stored = set(bench.read.vectors("other")["image_id"].to_pylist())
    assert stored == {ids[paths[0]], ids[paths[3]]}


@pytest.mark.parametrize("scale", [1e30, 1e-30, 1e-44, 1e100])
def test_a_vector_of_any_length_keeps_its_direction(scale, bench, paths):
    vector = np.arange(1.0, 9.0)
    offer(bench, {paths[0]: vector * scale})
    bench.make("embeddings", "other")
    [stored] = bench.read.vectors("other")["vector"].to_pylist()
    assert np.allclose(stored, vector / np.linalg.norm(vector), atol=1e-6)


def test_vectors_of_other_dimensions_than_the_stored_ones_are_refused(bench, paths):
    offer(bench, vectors_for(paths[:5]))
    bench.make("embeddings", "other")
    offer(bench, vectors_for(paths[5:9], dim=4))
    assert "4 dimensions, the stored ones have 8" in bench.refused("embeddings", "other")


def test_images_can_be_named_by_their_id(bench):
    ids = bench.read.images()["image_id"].to_pylist()
    offer(bench, vectors_for(ids), column="image_id")
    assert metadata(bench.run("embeddings", "other"), "embeddings")["nb_images"] == 253


def test_rows_of_other_images_are_counted_and_left_out(bench, paths):
    offer(bench, vectors_for([*paths[:5], "elsewhere/x.jpg"]))
    found = metadata(bench.run("embeddings", "other"), "embeddings")
    assert (found["nb_images"], found["nb_not_embedded"], found["nb_unknown"]) == (5, 248, 1)


def test_importing_the_same_file_again_commits_nothing(bench, paths):
    offer(bench, vectors_for(paths))
    bench.make("embeddings", "other")
    version = bench.store.version("vectors.other")
    bench.make("embeddings", "other")
    assert bench.store.version("vectors.other") == version


def test_a_longer_file_adds_its_new_rows(bench, paths):
    every = vectors_for(paths)
    offer(bench, dict(list(every.items())[:100]))
    bench.make("embeddings", "other")
    offer(bench, every)
    assert metadata(bench.run("embeddings", "other"), "embeddings")["nb_embedded_now"] == 153


def test_another_vector_for_an_image_is_refused(bench, paths):
    """Know which model made these vectors."""
    offer(bench, vectors_for(paths))
    bench.make("embeddings", "other")
    offer(bench, vectors_for(paths) | {paths[7]: np.ones(8)})
    assert "differs from the stored one" in bench.refused("embeddings", "other")


def test_what_an_interrupted_import_staged_is_compared_with_the_file_of_now(bench, paths):
    """The file may have changed since; what was staged counts as stored by then."""
    offer(bench, vectors_for(paths[:10]))
    bench.make("embeddings", "other")
    ids = {row["path"]: row["image_id"] for row in bench.read.files().to_pylist()}
    schema = bench.store.schema_of("vectors.other")
    rows = {"image_id": [ids[paths[20]]], "vector": [[1.0] + [0.0] * 7]}
    bench.store.stage("vectors.other", pa.table(rows, schema=schema))
    offer(bench, vectors_for(paths[:30]))
    assert "differs from the stored one" in bench.refused("embeddings", "other")


def test_two_files_of_one_image_may_repeat_its_vector_but_not_contradict_it(empty_bench):
    from tests.pictures import SAMPLE

    bench = empty_bench()
    picture = next(iter(sorted(SAMPLE.rglob("*.jpg"))))
    for name in ("a.jpg", "b.jpg"):
        shutil.copyfile(picture, Path(bench.project.images) / name)
    bench.make("images")
    offer(bench, {"a.jpg": np.ones(3), "b.jpg": np.ones(3)})
    assert metadata(bench.run("embeddings", "other"), "embeddings")["nb_images"] == 1
    offer(bench, {"a.jpg": np.ones(3), "b.jpg": -np.ones(3)}, key="third")
    assert "Two rows are of one image" in bench.refused("embeddings", "third")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_refuses_the_file_before_anything_is_written(
    bench, paths, value
):
    offer(bench, vectors_for(paths) | {paths[250]: np.full(8, value)})
    assert "no direction" in bench.refused("embeddings", "other")
    assert bench.store.version("vectors.other") == 0


def test_a_file_of_another_corpus_is_refused_with_an_example(bench):
    offer(bench, vectors_for(["x.jpg", "y.jpg"]))
    message = bench.refused("embeddings", "other")
    assert "None of the 2 rows" in message
    assert ".jpg" in message


def test_a_key_of_a_model_takes_no_imported_vectors(bench, paths):
    offer(bench, vectors_for(paths), key="mini")
    assert "imported" in bench.refused("embeddings", "mini")
