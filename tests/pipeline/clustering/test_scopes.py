"""The scope of a run: which images it looks at, and how the record proves it."""

import hashlib
import os
import shutil
import unicodedata
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.selection import select
from panoptic_assets.features.table import model_identity
from panoptic_assets.spec.records import digest
from panoptic_assets.spec.resolution import parse
from resources.errors import InputError
from resources.models import OpenClipModels
from resources.registry import Registry
from resources.schemas import SCHEMAS
from tests.pictures import SAMPLE
from tests.workbench import bench_of

CAT, HEN, COW, DOG, DUCK = (f"animals/livestock/livestock_0{n}.jpg" for n in range(1, 6))
HAMMER = "tools/hammers/hammer_01.jpg"
INVENTORY = f"""\
chemin;matière;prix[number];créé le[date];motif[tag];sujets[multi_tags]
{CAT};grès;12,5;1887;animal > félin > chat;maison, félin
{HEN};Faïence;3;1887-03-09;animal > volaille;basse-cour
{COW};terre cuite;7;1901-05;animal > bovin;basse-cour
{DOG};{unicodedata.normalize("NFD", "grès")};;2024-03-31;animal > félin > lion;maison
{HAMMER};fer;100;2024-04-01;outil;atelier
"""
TWO = {"kmeans": {"nb_clusters": 2}}


@pytest.fixture(scope="module")
def described(embedded_folder, once):
    """The embedded sample with an inventory; for reading only."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        (folder / "inventaire.csv").write_text(INVENTORY, encoding="utf-8")
        settings = folder / ".panoptic" / "project.yaml"
        content = yaml.safe_load(settings.read_text(encoding="utf-8"))
        content["metadata"] = "inventaire.csv"
        settings.write_text(yaml.safe_dump(content), encoding="utf-8")
        bench_of(folder).make("inventory")

    return bench_of(once("described", write))


@pytest.fixture
def bench(described, tmp_path):
    """A copy of it, to do with as a test likes."""
    return bench_of(shutil.copytree(described.project.folder, tmp_path / "project"))


def selected(bench, scope, key="new", features="mini"):
    folder = str(bench.project.folder)
    config = parse(ClusteringConfig, {"scope": scope, "features": features})
    registry, models = Registry(folder=folder), OpenClipModels(folder=folder)
    return select(key, config, bench.store, registry, models, print)


def refused(bench, scope, **options):
    with pytest.raises(InputError) as caught:
        selected(bench, scope, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def ids_of(bench):
    rows = bench.store.read("files", ["path", "image_id"])
    return dict(zip(rows["path"].to_pylist(), rows["image_id"].to_pylist(), strict=True))


def paths_in(bench, scope, **options):
    """One path of each image of a scope."""
    paths = {image_id: path for path, image_id in ids_of(bench).items()}
    found = selected(bench, scope, **options)
    assert found.image_ids == sorted(found.image_ids)
    return {paths[image_id] for image_id in found.image_ids}


def dated(bench, **days):
    """Give images a capture date."""
    ids = ids_of(bench)
    rows = bench.store.read("images").to_pylist()
    taken = {ids[path]: datetime.fromisoformat(day) for path, day in days.items()}
    changed = [
        row | {"taken_at": taken[row["image_id"]]} for row in rows if row["image_id"] in taken
    ]
    bench.store.upsert("images", pa.Table.from_pylist(changed, SCHEMAS["images"]))


def gone(bench, *paths):
    """Let files be missing from the corpus."""
    rows = [row for row in bench.store.read("files").to_pylist() if row["path"] in paths]
    missing = [row | {"status": "missing"} for row in rows]
    bench.store.upsert("files", pa.Table.from_pylist(missing, SCHEMAS["files"]))


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"property": "matière"}, {CAT, HEN, COW, DOG, HAMMER}),
        ({"property": unicodedata.normalize("NFD", "matière")}, {CAT, HEN, COW, DOG, HAMMER}),
        ({"property": "matière", "values": ["grès"]}, {CAT, DOG}),
        ({"property": "matière", "values": [unicodedata.normalize("NFD", "grès")]}, {CAT, DOG}),
        ({"property": "matière", "values": ["fer", "Faïence"]}, {HEN, HAMMER}),
        ({"property": "motif", "values": ["animal"]}, {CAT, HEN, COW, DOG}),
        ({"property": "motif", "values": ["animal>félin"]}, {CAT, DOG}),
        ({"property": "motif", "values": ["animal > félin > chat", "outil"]}, {CAT, HAMMER}),
        ({"property": "sujets", "values": ["basse-cour", "félin"]}, {CAT, HEN, COW}),
        ({"property": "prix"}, {CAT, HEN, COW, HAMMER}),
        ({"property": "prix", "values": ["12,5", 7]}, {CAT, COW}),
        ({"property": "prix", "minimum": 7}, {CAT, COW, HAMMER}),
        ({"property": "prix", "maximum": 7}, {HEN, COW}),
        ({"property": "prix", "minimum": 0, "maximum": 12.5}, {CAT, HEN, COW}),
        ({"property": "créé le", "values": [1887]}, {CAT, HEN}),
        ({"property": "créé le", "values": ["1887-03", "mai 1901"]}, {HEN, COW}),
        ({"property": "créé le", "since": "1887-02", "until": "1901"}, {CAT, HEN, COW}),
        (
            {
                "property": "créé le",
                "since": "1887-02",
                "until": "1901",
                "certainty": "certainly",
            },
            {HEN, COW},
        ),
        (
            {"property": "créé le", "since": "18XX", "until": "18XX", "certainty": "possibly"},
            {CAT, HEN},
        ),
        ({"property": "créé le", "since": "-0449", "until": "1887-02"}, {CAT}),
        ({"property": "créé le", "until": "2024-03"}, {CAT, HEN, COW, DOG}),
        ({"property": "créé le", "since": "2024-04-01"}, {HAMMER}),
        ({"property": "créé le", "since": "1er avril 2024"}, {HAMMER}),
        ({"property": "créé le", "since": "450 av. J.-C.", "until": "01/02/1887"}, {CAT}),
    ],
)
def test_a_scope_is_the_images_with_a_value_of_a_property(described, given, paths):
    """E7: a saved filter; texts and tags with accents in either form of Unicode."""
    assert paths_in(described, {"property": given}) == paths


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"property": "matiere"}, "There is no property 'matiere': known are 'matière'"),
        ({"property": "x"}, "known are 'créé le', 'matière', 'motif'"),
        (
            {"property": "matière", "values": ["gres"]},
            "No image has 'gres' as its 'matière': known",
        ),
        ({"property": "matière", "values": ["fer", "or"]}, "No image has 'or'"),
        ({"property": "motif", "values": ["félin"]}, "'animal > félin'"),
        ({"property": "motif", "values": ["a >"]}, "a tag has no name"),
        ({"property": "matière", "minimum": 3}, "is of type text, and `minimum` and `maximum` are"),
        ({"property": "motif", "since": "2024"}, "is of type tag, and `since` and `until` are for"),
        ({"property": "prix", "since": "2024"}, "is of type number, and `since` and `until` are"),
        ({"property": "créé le", "maximum": 3}, "is of type date, and `minimum` and `maximum` are"),
        ({"property": "prix", "values": ["cher"]}, "'cher' is no value of it: not a number"),
        ({"property": "prix", "values": ["4"]}, "No image has '4' as its 'prix'"),
        ({"property": "créé le", "values": ["mars"]}, "'mars' is no value of it: not a date"),
        ({"property": "prix", "minimum": 101}, "their values go from 3.0 to 100.0"),
        ({"property": "créé le", "since": "2025"}, "go from 1887 to 2024-04-01"),
    ],
)
def test_a_property_or_value_that_there_is_not_is_refused_with_those_that_there_are(
    described, given, message
):
    assert message in refused(described, {"property": given})


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"property": {}}, "property: input should be a valid string"),
        ({"property": {"name": "matière"}}, "scope"),
        ({"property": {"property": "p", "values": ["x"], "minimum": 1}}, "one of them"),
        ({"property": {"property": "p", "since": "2024", "maximum": 1}}, "one of them"),
        ({"property": {"property": "p", "since": -450}}, "since: not a date: write a year before"),
        ({"property": {"property": "p", "since": "vers 1850"}}, "approximate, uncertain or open"),
        ({"property": {"property": "p", "since": "1850~"}}, "since: not a date"),
        ({"property": {"property": "p", "since": "19XX", "until": "18XX"}}, "exchange them"),
        ({"property": {"property": "p", "certainty": "certainly"}}, "is about since and until"),
        ({"property": {"property": "p", "since": "1850", "certainty": "surely"}}, "certainty"),
        ({"property": {"property": "p", "minimum": 2, "maximum": 1}}, "less than minimum"),
        ({"property": {"property": "p", "minimum": float("nan")}}, "finite number"),
        ({"property": {"property": "p", "values": ["x"] * 1001}}, "at most 1000 items"),
        ({"property": {"property": "p", "values": "x"}}, "values: input should be a valid list"),
        ({"dates": {}}, "give since, until, or both"),
        ({"dates": {"since": "03/2024"}}, "since: not a date: write 2024-03-09, 2024-03 or 2024"),
        ({"dates": {"since": "2024-02-30"}}, "no such date: day is out of range"),
        ({"dates": {"since": "2024-02", "until": "2024-01"}}, "exchange them"),
        ({"tag": {"path": ">"}}, "a tag has no name"),
        ({"ids": {"file": ""}}, "at least 1 character"),
        ({"text": {"text": " "}}, "must not be empty"),
        ({"text": {"text": "x", "min_similarity": 2}}, "less than or equal to 1"),
        ({"text": {"text": "x", "nb_images": 0}}, "greater than or equal to 1"),
        ({"node": {"node": "greek"}}, "'greek' is not a node"),
        ({"corpus": {}, "files": {}}, "name one choice"),
        ({"everything": {}}, "'corpus', 'files'"),
    ],
)
def test_a_scope_that_says_nothing_or_two_things_is_refused(described, scope, message):
    assert message in refused(described, scope)


def test_what_only_images_have_that_are_missing_is_refused_with_what_is_there(bench):
    gone(bench, HEN)
    scope = {"property": {"property": "matière", "values": ["Faïence"]}}
    message = refused(bench, scope)
    assert "No image that is present has such a 'matière': their values are 'fer'" in message
    assert paths_in(bench, {"property": {"property": "matière"}}) == {CAT, COW, DOG, HAMMER}
    gone(bench, CAT, COW, DOG, HAMMER)
    assert "No image that is present has a value of" in refused(bench, scope)


def test_a_project_without_metadata_or_tags_says_where_they_come_from(embedded_folder):
    bench = bench_of(embedded_folder)
    message = refused(bench, {"property": {"property": "matière"}})
    assert "there are none yet. The inventory" in message
    message = refused(bench, {"tag": {"path": "9"}})
    assert "there are none yet. Tags are saved clusters" in message


def test_a_scope_of_a_property_is_clustered_and_recorded_with_its_proof(bench):
    """E7: end to end; what was read can be read again."""
    scope = {"property": {"property": "motif", "values": ["animal"]}}
    bench.run("clustering", "animaux", scope=scope, method=TWO)
    info = bench.read.run_info("animaux")
    ids = bench.read.assignments("animaux")["image_id"].to_pylist()
    assert {path for path, image_id in ids_of(bench).items() if image_id in ids} == {
        CAT,
        HEN,
        COW,
        DOG,
    }
    assert info["config"]["scope"] == scope
    assert [source["table"] for source in info["inputs"]] == [
        "vectors.mini",
        "files",
        "property_values",
    ]
    assert info["inputs"][2]["sha256"] == digest(ids)
    version = info["inputs"][2]["version"]
    assert bench.store.read("property_values", version=version).num_rows
    bench.make("clustering", "animaux")
    assert bench.read.run_info("animaux")["revision"] == 1


def test_a_scope_is_replaced_as_a_whole(bench):
    """Dates do not mix with the recorded values of another property."""
    first = {"property": {"property": "matière", "values": ["grès", "fer"]}}
    other = {"property": {"property": "prix", "minimum": 3}}
    bench.make("clustering", "mine", scope=first, method=TWO)
    message = bench.refused("clustering", "mine", scope=other)
    assert "scope.property.values: ['grès', 'fer'] is recorded" in message
    bench.make("clustering", "mine", scope=other, replace=True)
    assert bench.read.run_info("mine")["counts"]["in_scope"] == 4


def test_a_scope_is_the_images_with_a_saved_tag_or_one_below_it(bench):
    """A17, E7."""
    bench.make("clustering", "greek")
    bench.make("nested_clustering", "greek/9", method=TWO)
    bench.make("saved_clustering", "greek")
    bench.make("saved_clustering", "greek", property="Époque")
    bench.make("tags")
    places = bench.read.places("greek").to_pylist()
    for path, nodes in (("9", ("greek/9/0", "greek/9/1")), ("9>1", ("greek/9/1",))):
        wanted = [row["image_id"] for row in places if row["node"] in nodes]
        for name in ("Clustering", "Époque"):
            found = selected(bench, {"tag": {"path": path, "property": name}})
            assert found.image_ids == wanted
    assert [source.table for source in found.sources] == ["files", "tags", "image_tags"]
    assert found.sources[2].sha256 == digest(wanted)
    message = refused(bench, {"tag": {"path": "9 > 2"}})
    assert "has no tag '9 > 2': known are '9 > " in message
    message = refused(bench, {"tag": {"path": "9", "property": "Epoque"}})
    assert "known are 'Époque'" in message
    bench.make("clustering", "nine", scope={"tag": {"path": "9 > 1"}}, method=TWO)
    assert bench.read.run_info("nine")["counts"]["in_scope"] == len(wanted)


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"since": "2024"}, {COW, DOG}),
        ({"until": "2023"}, {CAT, HEN}),
        ({"since": "2023-03", "until": "2023-12-31"}, {HEN}),
        ({"since": 2023, "until": "2024-02"}, {HEN, COW}),
        ({"since": "2024-02-29", "until": "2024-02-29"}, {COW}),
        ({"until": "9999"}, {CAT, HEN, COW, DOG}),
    ],
)
def test_a_scope_is_the_images_taken_between_two_dates(bench, given, paths):
    """E7; until includes the whole of its day, month or year."""
    days = dict.fromkeys([CAT], "2022-12-31T23:59:59.999999")
    days |= {HEN: "2023-12-31T23:59:59", COW: "2024-02-29T12:00", DOG: "2024-03-01T00:00"}
    dated(bench, **days)
    assert paths_in(bench, {"dates": given}) == paths
    found = selected(bench, {"dates": given})
    assert found.notes == ["Left out, since they have no capture date: 249 images."]
    assert found.sources[1].table == "images"


def test_dates_at_which_nothing_was_taken_are_refused_with_those_that_there_are(bench):
    message = refused(bench, {"dates": {"since": "2024"}})
    assert "None of the 253 images has a capture date" in message
    dated(bench, **{CAT: "1999-12-31", HEN: "2001-01-01"})
    message = refused(bench, {"dates": {"since": "2002", "until": "2003-04"}})
    assert "since 2002 until 2003-04: the capture dates go from 1999-12-31 to 2001-01-01" in message


def listed(bench, text, name="liste d'été.txt"):
    file = bench.project.folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {"ids": {"file": name}}


def test_a_scope_is_a_list_of_ids_and_paths(bench):
    """E7: an id list; the record keeps its digest."""
    ids = ids_of(bench)
    text = f"\ufeff{ids[CAT]}\r\n\r\n  {HEN} \r\n./{COW}\r\n{DOG}\r\n{ids[DOG]}\r\n"
    scope = listed(bench, text)
    assert paths_in(bench, scope) == {CAT, HEN, COW, DOG}
    bench.make("clustering", "listed", scope=scope, method=TWO)
    info = bench.read.run_info("listed")
    assert info["id_list"] == {
        "file": "liste d'été.txt",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    assert info["counts"]["in_scope"] == 4
    listed(bench, f"{CAT}\n{HEN}")
    bench.make("clustering", "listed")
    info = bench.read.run_info("listed")
    assert (info["revision"], info["counts"]["in_scope"]) == (2, 2)


def test_listed_images_that_are_missing_are_left_out_and_moved_ones_are_found(bench):
    ids = ids_of(bench)
    row = next(row for row in bench.store.read("files").to_pylist() if row["path"] == COW)
    gone(bench, CAT, HEN, COW)
    moved = pa.Table.from_pylist([row | {"path": "ailleurs.jpg"}], SCHEMAS["files"])
    bench.store.upsert("files", moved)
    scope = listed(bench, f"{ids[CAT]}\n{HEN}\n{COW}\n{DOG}")
    found = selected(bench, scope)
    assert found.image_ids == sorted([ids[COW], ids[DOG]])
    assert "missing from the corpus or in quarantine: 2 of the 4 images" in found.notes[0]
    assert "All 2 images of" in refused(bench, listed(bench, f"{CAT}\n{HEN}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: write one image id"),
        (" \n\n", "is empty: write one image id"),
        (f"{CAT}\nx\ny\nz\n{'w' * 500}", "4 of the 5 lines of"),
        (f"{CAT}\nchat.jpg", "line 2 ('chat.jpg'). Write image ids, or paths"),
        ("0123456789abcdef\n", "name no image of the corpus: line 1"),
        ("é".encode("latin-1"), "is not UTF-8 text"),
        ("\0\n", "name no image of the corpus"),
    ],
)
def test_a_list_with_a_typing_error_is_refused(bench, text, message):
    assert message in refused(bench, listed(bench, text))


def test_what_is_no_list_is_refused(bench, monkeypatch):
    folder = bench.project.folder
    os.mkfifo(folder / "fifo")
    for name in ("nothing.txt", ".", "fifo"):
        assert "does not exist or is not a file" in refused(bench, {"ids": {"file": name}})
    (folder.parent / "outside.txt").write_text(CAT)
    (folder / "link.txt").symlink_to(folder.parent / "outside.txt")
    for name in ("../outside.txt", str(folder.parent / "outside.txt"), "link.txt", "/etc/passwd"):
        message = refused(bench, {"ids": {"file": name}})
        assert "is not in the project's folder: copy it there" in message
    assert "cannot be read" in refused(bench, {"ids": {"file": "x" * 300}})
    monkeypatch.setattr("panoptic_assets.clustering.selection.MAX_LIST", 2**20)
    scope = listed(bench, "x" * (2**20 + 1))
    assert "is larger than 1 MB" in refused(bench, scope)


def test_a_scope_is_what_a_text_finds(described):
    """E7: a search, in French; of equal similarity, by image id."""
    found = paths_in(described, {"text": {"text": "un marteau", "nb_images": 10}})
    assert len(found) == 10
    assert sum(path.startswith("tools/hammers/") for path in found) >= 4
    everything = selected(described, {"text": {"text": "un marteau"}})
    assert len(everything.image_ids) == 100
    assert "100 images are taken for the text 'un marteau'" in everything.notes[0]
    tables = [source.table for source in everything.sources]
    assert tables == ["files", "vectors.mini", "vectors.mini"]
    least = selected(described, {"text": {"text": "un marteau", "min_similarity": 0.2}})
    both = {"text": {"text": "un marteau", "min_similarity": 0.2, "nb_images": 3}}
    assert len(selected(described, both).image_ids) == 3 < len(least.image_ids) < 100
    message = refused(described, {"text": {"text": "un marteau", "min_similarity": 1}})
    assert "the most similar one, 'tools/hammers/" in message


def test_a_search_of_images_without_vectors_or_of_another_programs_is_refused(bench):
    scope = {"text": {"text": "un chat"}}
    assert "materialize `embeddings` first" in refused(bench, scope, features="vit-b-32")
    vectors = bench.store.read("vectors.mini")
    np.save(
        bench.project.folder / "dino.npy",
        np.array(vectors["vector"].to_pylist(), np.float32),
    )
    ids = bench.project.folder / "ids.txt"
    ids.write_text("\n".join(vectors["image_id"].to_pylist()))
    file = bench.project.configs / "models" / "dino.yaml"
    file.write_text("{vectors: dino.npy, ids: ids.txt, model: DINOv2}")
    bench.make("embeddings", "dino")
    message = refused(bench, scope, features="dino")
    assert "The vectors of 'dino' were imported, so there is no model" in message
    ids = ids_of(bench)
    similar = {"similar": {"image": ids[CAT], "nb_images": 2}}
    assert CAT in paths_in(bench, similar, features="dino")


def test_a_text_is_not_compared_with_the_vectors_of_other_weights(described, monkeypatch):
    stored = model_identity(described.store, "mini") | {"weights_sha256": "0"}
    monkeypatch.setattr("panoptic_assets.clustering.search.model_identity", lambda *_: stored)
    message = refused(described, {"text": {"text": "un chat"}})
    assert "were made by another model" in message
    assert "weights_sha256: '0' is stored, '" in message


def test_a_text_of_which_the_model_understands_nothing_is_refused(described, monkeypatch):
    def refuse(*_):
        raise ValueError("The model gave text 0 of 1 a vector that is zero.")

    monkeypatch.setattr("resources.models.Encoder.encode_texts", refuse)
    assert "Look for another text than '…'" in refused(described, {"text": {"text": "…"}})


def test_a_text_is_not_compared_with_the_vectors_of_another_model(bench):
    file = bench.project.configs / "models" / "mini.yaml"
    file.write_text(file.read_text() + "\ngreyscale: true\n")
    message = refused(bench, {"text": {"text": "un chat"}})
    assert "were made by another model" in message
    assert "greyscale: False is stored, True is asked for" in message


def test_a_scope_is_what_is_similar_to_an_image(described):
    """E7."""
    ids = ids_of(described)
    for name in (HAMMER, f"./{HAMMER}", ids[HAMMER], ids[HAMMER][:8]):
        found = paths_in(described, {"similar": {"image": name, "nb_images": 5}})
        assert HAMMER in found
        assert sum(path.startswith("tools/hammers/") for path in found) >= 3
    assert paths_in(described, {"similar": {"image": HAMMER, "nb_images": 1}}) == {HAMMER}
    assert paths_in(described, {"similar": {"image": HAMMER, "min_similarity": 1}}) == {HAMMER}
    assert len(selected(described, {"similar": {"image": HAMMER}}).image_ids) == 100
    assert (
        len(selected(described, {"similar": {"image": HAMMER, "nb_images": 999}}).image_ids) == 253
    )


def test_an_image_that_there_is_not_or_no_longer_is_refused(bench):
    ids = ids_of(bench)
    for name in ("marteau.jpg", ids[CAT][:7], ids[CAT][:-1] + "x", "0" * 64):
        assert "There is no image" in refused(bench, {"similar": {"image": name}})
    gone(bench, CAT)
    for name in (CAT, ids[CAT][:10]):
        assert "is missing from the corpus" in refused(bench, {"similar": {"image": name}})
    file = bench.store.read("files", where="status = 'present'").slice(0, 1).to_pylist()[0]
    twin = ids[HEN][:20] + "0" * 44
    rows = [file | {"path": "twin.jpg", "image_id": twin}]
    bench.store.upsert("files", pa.Table.from_pylist(rows, SCHEMAS["files"]))
    message = refused(bench, {"similar": {"image": ids[HEN][:12]}})
    assert "2 images have an id that begins with" in message
    message = refused(bench, {"similar": {"image": "twin.jpg"}})
    assert "has no vector of type 'mini': materialize `embeddings`" in message
    found = selected(bench, {"similar": {"image": HEN, "nb_images": 3}})
    assert "Not searched, since they have no vector: 1 images." in found.notes


def test_a_scope_is_a_cluster_of_another_run(bench):
    """A19, E7: a cluster divided under a key of its own, with its parent in the record."""
    bench.make("clustering", "greek")
    bench.make("nested_clustering", "greek/9", method=TWO)
    for node in ("greek/9", "greek/9/1"):
        above, _, cluster = node.rpartition("/")
        rows = bench.read.assignments(above).to_pylist()
        wanted = [row["image_id"] for row in rows if row["cluster"] == cluster]
        found = selected(bench, {"node": {"node": node}})
        assert found.image_ids == wanted
    bench.make("clustering", "roman", scope={"node": {"node": "greek/9"}}, method=TWO)
    info = bench.read.run_info("roman")
    above = bench.read.run_info("greek")
    assert (info["parent_record"], info["parent_output"]) == (above["record_id"], above["output"])
    assert (info["status"], info["run_key"]) == ("current", "roman")
    assert "There is no node 'greek/77'" in refused(bench, {"node": {"node": "greek/77"}})
    assert "there is no run 'zeus'" in refused(bench, {"node": {"node": "zeus/0"}})
    message = bench.refused(
        "clustering", "greek", scope={"node": {"node": "greek/9"}}, replace=True
    )
    assert "cannot take a cluster of its own: divide it instead" in message
    bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 12}}, replace=True)
    assert "greek/9 is stale" in refused(bench, {"node": {"node": "greek/9/1"}})
    assert bench.read.run_info("roman")["status"] == "current"
    gone(bench, *ids_of(bench))
    assert "The corpus has no images" in refused(bench, {"node": {"node": "greek/9"}})


def test_a_cluster_whose_images_are_all_missing_is_refused(bench):
    bench.make("clustering", "greek")
    rows = bench.read.assignments("greek").to_pylist()
    members = {row["image_id"] for row in rows if row["cluster"] == "0"}
    gone(bench, *(path for path, image_id in ids_of(bench).items() if image_id in members))
    assert "All images of greek/0 are missing" in refused(bench, {"node": {"node": "greek/0"}})


def test_the_order_of_files_on_disk_changes_no_scope(empty_bench, tmp_path):
    """DESIGN 7: the same images under the same names, written in another order."""
    answers = []
    names = sorted(path.relative_to(SAMPLE) for path in (SAMPLE / "tools").rglob("*.jpg"))[:20]
    for order in (names, names[::-1]):
        images = tmp_path / f"images{len(answers)}"
        for name in order:
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SAMPLE / name, images / name)
        shutil.rmtree(tmp_path / "project", ignore_errors=True)
        bench = empty_bench(images)
        lines = [f"{name};{name.parent.name}" for name in order]
        (bench.project.folder / "m.csv").write_text("\n".join(["path;sorte[tag]", *lines]))
        settings = bench.project.settings_file
        settings.write_text(settings.read_text().replace("metadata: ''", "metadata: m.csv"))
        bench.make("images")
        bench.make("inventory")
        bench.make("embeddings", "mini")
        scopes = [
            {"property": {"property": "sorte", "values": ["hammers"]}},
            {"text": {"text": "un marteau", "nb_images": 5}},
            {"similar": {"image": HAMMER, "nb_images": 5}},
            listed(bench, "\n".join(map(str, order[:5]))),
        ]
        answers.append([selected(bench, scope).image_ids for scope in scopes[:3]])
        assert len(selected(bench, scopes[3]).image_ids) == 5
    assert answers[0] == answers[1]


def test_a_refused_scope_leaves_no_record(bench):
    before = bench.store.tables()
    scope = {"property": {"property": "matiere"}}
    assert "There is no property" in bench.refused("clustering", "mine", scope=scope)
    assert bench.store.tables() == before


def test_every_scope_can_be_asked_for_in_a_registry_file(bench):
    """Dates and numbers without quotes are what they look like."""
    file = Path(bench.project.configs / "runs" / "mine.yaml")
    dates = "{property: créé le, since: 1887-02-01, until: 1901}"
    config = f"{{scope: {{property: {dates}}}, method: {{kmeans: {{nb_clusters: 2}}}}}}"
    file.write_text(f"ops: {{clustering: {{config: {config}}}}}", encoding="utf-8")
    bench.make("clustering", "mine")
    scope = bench.read.run_info("mine")["config"]["scope"]
    assert scope == {
        "property": {
            "property": "créé le",
            "values": [],
            "since": "1887-02-01",
            "until": "1901",
        }
    }
