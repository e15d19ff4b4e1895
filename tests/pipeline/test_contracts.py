"""Each data contract holds for the sample, and fails when its fault is planted."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from tests.pictures import HOSTILE


def plant(bench, table, **changes):
    """Add a copy of a table's first row, with changes, past the store's own guards."""
    handle = lancedb.connect(bench.project.store).open_table(table)
    row = handle.search().limit(1).to_arrow().to_pylist()[0] | changes
    handle.add(pa.Table.from_pylist([row], schema=handle.schema))


def vector(bench, change):
    first = bench.read.vectors("mini")["vector"][0].as_py()
    return change(np.array(first, dtype=np.float32))


def infinite(found):
    found[3] = np.inf  # LanceDB itself refuses NaN
    return found


def test_every_contract_holds_for_the_sample(bench):
    bench.run("neighbors", "mini")
    bench.make("clustering", "greek")
    bench.make("saved_clustering", "greek")
    bench.run("tags")
    judged = (("images", None), ("embeddings", "mini"), ("neighbors", "mini"), ("tags", None))
    for asset, partition in judged:
        assert all(check.passed for check in bench.checks(asset, partition).values())


def test_one_contract_can_be_judged_alone(bench):
    """As with the button of one check in Dagster."""
    [only] = bench.checks("images", only="quarantine_share")
    assert only == "quarantine_share"


def test_contracts_are_judged_with_the_materialization(bench):
    result = bench.run("embeddings", "mini")
    found = {check.check_name for check in result.get_asset_check_evaluations()}
    assert "vectors_finite_and_unit" in found


@pytest.mark.parametrize("table", ["images", "files"])
def test_two_rows_of_one_id_are_found(bench, table):
    plant(bench, table)
    assert not bench.checks("images")["image_ids_unique"].passed


def test_a_file_whose_image_has_no_row_is_found(bench):
    plant(bench, "files", path="new.jpg", image_id="0" * 64)
    assert not bench.checks("images")["files_have_images"].passed


def test_too_many_files_in_quarantine_are_a_warning(empty_bench):
    bench = empty_bench(HOSTILE)
    bench.make("images")
    found = bench.checks("images")["quarantine_share"]
    assert not found.passed
    assert found.severity.value == "WARN"


def test_the_share_in_quarantine_is_configurable(empty_bench):
    bench = empty_bench(HOSTILE)
    bench.make("images")
    settings = bench.project.folder / ".panoptic" / "project.yaml"
    settings.write_text(settings.read_text() + "max_quarantined: 0.5\n")
    assert bench.checks("images")["quarantine_share"].passed


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("vectors_finite_and_unit", infinite),
        ("vectors_finite_and_unit", lambda found: found * 2),
        ("no_zero_vectors", lambda found: found * 0),
    ],
)
def test_a_vector_that_cannot_be_compared_is_found(bench, check, change):
    image_id = bench.read.images()["image_id"][5].as_py()
    plant(bench, "vectors.mini", image_id=image_id, vector=vector(bench, change))
    assert not bench.checks("embeddings", "mini")[check].passed


def test_a_second_vector_of_one_image_is_found(bench):
    """Merges must not make duplicate rows."""
    plant(bench, "vectors.mini")
    assert not bench.checks("embeddings", "mini")["vector_ids_unique"].passed


def test_a_vector_of_an_unknown_image_is_found(bench):
    plant(bench, "vectors.mini", image_id="f" * 64)
    assert not bench.checks("embeddings", "mini")["vectors_of_known_images"].passed


def test_a_model_file_that_describes_another_model_is_found(bench):
    """Know which model made these vectors."""
    file = bench.project.configs / "models" / "mini.yaml"
    file.write_text("model: embedded:mini\ngreyscale: true\n")
    found = bench.checks("embeddings", "mini")["model_identity_constant"]
    assert not found.passed
    assert "greyscale" in found.metadata["differing"].value


def test_an_image_without_a_vector_is_a_warning(bench):
    lancedb.connect(bench.project.store).open_table("vectors.mini").delete(
        f"image_id = '{bench.read.images()['image_id'][0].as_py()}'"
    )
    found = bench.checks("embeddings", "mini")["every_image_embedded"]
    assert not found.passed
    assert found.metadata["nb_not_embedded"].value == 1


def test_neighbours_that_are_not_the_nearest_are_found(bench):
    """kNN recall."""
    bench.make("neighbors", "mini")
    handle = lancedb.connect(bench.project.store).open_table("neighbors.mini")
    rows = handle.to_arrow()
    wrong = np.random.default_rng(0).permutation(len(rows))
    shuffled = rows.set_column(
        rows.column_names.index("neighbors"), "neighbors", rows["neighbors"].take(wrong)
    )
    handle.merge_insert("image_id").when_matched_update_all().execute(shuffled)
    found = bench.checks("neighbors", "mini")
    assert found["neighbors_current"].passed
    assert not found["neighbors_recall"].passed


def test_a_graph_of_other_images_is_a_warning(bench):
    bench.make("neighbors", "mini")
    lancedb.connect(bench.project.store).open_table("vectors.mini").delete(
        f"image_id = '{bench.read.images()['image_id'][0].as_py()}'"
    )
    found = bench.checks("neighbors", "mini")["neighbors_current"]
    assert not found.passed
    assert found.severity.value == "WARN"


@pytest.mark.parametrize(
    ("table", "changes"),
    [("image_tags", {"image_id": "0" * 64}), ("tags", {"tag_id": "0" * 16}), ("tags", {})],
)
def test_tags_that_are_not_the_replay_of_the_log_are_found(bench, table, changes):
    bench.make("clustering", "greek")
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    plant(bench, table, **changes)
    assert not bench.checks("tags")["tags_are_the_replay"].passed


def test_a_save_that_is_not_in_the_tags_yet_is_found(bench):
    bench.make("clustering", "greek")
    bench.make("saved_clustering", "greek")
    assert not bench.checks("tags")["tags_are_the_replay"].passed
