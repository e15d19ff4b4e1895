"""What a labeller of another package sees: what it needs of its clusters' images, and no more."""

from datetime import UTC, datetime
from typing import Literal

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from panoptic_assets.clustering.table import Clusterings
from panoptic_assets.corpus.properties import write_properties
from panoptic_assets.labels.inputs import find_inputs
from panoptic_assets.labels.labellers import LabellerConfig
from panoptic_assets.labels.table import clusters_to_label
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.written_dates import date_of_moment
from resources.engine import LocalEngine
from resources.errors import InputError
from resources.schemas import SCHEMAS
from tests.tiny import tiny_project
from tests.workbench import Workbench, resources_of

ALL = {"vectors", "pictures", "names", "properties"}


class Looking(LabellerConfig):
    """Looks at what it is told to."""

    name: Literal["looking"] = "looking"
    property: str = ""
    vector_type: str = ""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Twelve images in the run `greek`, of which eight were clustered and three have values."""
    project = tiny_project(tmp_path_factory.mktemp("looking"), 12)
    bench = Workbench(project, dg.DagsterInstance.ephemeral())
    bench.make("images")
    bench.make("embeddings", "tiny")
    bench.make(
        "clustering",
        "greek",
        scope={"files": {"pattern": "0000/00000[0-7].jpg"}},
        method={"kmeans": {"nb_clusters": 2}},
    )
    ids = by_path(bench)
    values = {
        "Sujet": ("text", "text", "un bœuf"),
        "Largeur": ("number", "number", 12.5),
        "Date": ("date", "date", datetime(1900, 1, 2, tzinfo=UTC)),
        "Lieux": ("multi_tags", "tags", ["France > Orléans", "Loire"]),
    }
    rows = [
        {"image_id": ids[f"0000/{number:06}.jpg"], "property": name, "type": kind, column: value}
        for name, (kind, column, value) in sorted(values.items())
        for number in (0, 1, 11)  # the last one is in no cluster
    ]
    write_properties(bench.store, pa.Table.from_pylist(rows, schema=SCHEMAS["property_values"]))
    return bench


def by_path(bench):
    return {row["path"]: row["image_id"] for row in bench.store.read("files").to_pylist()}


def seen(bench, *needs, **asked):
    """The clusters of `greek`, and what a labeller with such needs sees of them."""

    class Needing(Looking):
        """Needs what it is told to."""

    Needing.needs = frozenset(needs)
    context = Context(**resources_of(bench.project), engine=LocalEngine())
    clusterings = Clusterings(bench.store, "greek")
    clusters = clusters_to_label(clusterings, "greek")
    inputs = find_inputs(Needing(**asked), clusterings.get("greek"), context)
    return clusters, inputs.read(clusters, context)


def test_vectors_are_those_of_the_images_of_the_clusters_and_cannot_be_changed(bench):
    clusters, data = seen(bench, "vectors")
    members = sorted(image_id for cluster in clusters for image_id in cluster.image_ids)
    assert list(data.image_ids) == members
    assert data.vectors.shape == (8, 64)
    np.testing.assert_allclose(np.linalg.norm(data.vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        data.vectors[0] = 0


def test_names_are_the_paths_of_the_images_of_the_clusters(bench):
    _, data = seen(bench, "names")
    paths = sorted(path for paths in data.names.values() for path in paths)
    assert paths == [f"0000/{number:06}.jpg" for number in range(8)]


def test_properties_are_the_inventorys_values_of_each_type(bench):
    _, data = seen(bench, "properties")
    ids = by_path(bench)
    here = {ids["0000/000000.jpg"], ids["0000/000001.jpg"]}
    assert all(values.keys() == here for values in data.properties.values())
    assert {name: next(iter(values.values())) for name, values in data.properties.items()} == {
        "Date": date_of_moment(datetime(1900, 1, 2, tzinfo=UTC)),
        "Largeur": 12.5,
        "Lieux": ("France > Orléans", "Loire"),
        "Sujet": "un bœuf",
    }


def test_of_a_property_that_is_named_only_the_values_are_read(bench):
    _, data = seen(bench, "properties", property="Sujet")
    assert [*data.properties] == ["Sujet"]


def test_a_property_that_there_is_not_is_refused_with_those_there_are(bench):
    with pytest.raises(InputError, match=r"no property 'Epoque'\. Existing ones: Date, Largeur"):
        seen(bench, "properties", property="Epoque")


def test_vectors_of_a_type_that_there_is_not_are_refused(bench):
    with pytest.raises(InputError, match="There is no vector type 'other'"):
        seen(bench, "vectors", vector_type="other")


def test_a_picture_is_no_larger_than_asked_for_nor_than_its_file(bench):
    clusters, data = seen(bench, "pictures")
    image_id = clusters[0].image_ids[0]
    assert data.picture(image_id, 16).shape == (16, 16, 3)
    assert data.picture(image_id, 2000).shape == (64, 64, 3)
    assert data.picture(image_id).dtype == np.uint8
    assert data.picture("0" * 64) is None


def test_of_a_file_that_was_changed_the_thumbnail_is_seen(bench):
    clusters, data = seen(bench, "pictures")
    image_id = clusters[0].image_ids[0]
    before = data.picture(image_id).astype(int)
    [path] = [path for path, found in by_path(bench).items() if found == image_id]
    file = resources_of(bench.project)["source"].local_root / path
    whole = file.read_bytes()
    Image.new("RGB", (64, 64), "white").save(file)
    try:
        after = data.picture(image_id).astype(int)
    finally:
        file.write_bytes(whole)
    assert 0 < np.abs(after - before).mean() < 20


@pytest.mark.parametrize("need", sorted(ALL))
def test_what_a_labeller_does_not_need_it_does_not_see(bench, need):
    clusters, data = seen(bench, *(ALL - {need}))
    found = {
        "vectors": len(data.vectors) > 0,
        "pictures": data.picture(clusters[0].image_ids[0]) is not None,
        "names": len(data.names) > 0,
        "properties": len(data.properties) > 0,
    }
    assert found == {name: name != need for name in ALL}
