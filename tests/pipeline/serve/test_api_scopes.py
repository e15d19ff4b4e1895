"""Which images, over the API: read by a scope, acted on by a scope, exported by a scope."""

import csv
import io
import json
import shutil
import zipfile

import pytest
from PIL import Image

from panoptic_assets.project import Project
from panoptic_assets.tags.exchange import picture_export
from tests.pipeline.serve.conftest import Client

pytestmark = pytest.mark.usefixtures("one_mini")

NODE = {"node": {"node": "greek/1"}}
LEFT = {"region": {"projection": "mini/pca", "polygon": [[-2, -2], [0, -2], [0, 2], [-2, 2]]}}


@pytest.fixture(scope="module")
def folder(told_folder, tmp_path_factory):
    """A copy of the project with a map, whose tests each act on something of their own."""
    folder = shutil.copytree(told_folder, tmp_path_factory.mktemp("scopes") / "project")
    Project(folder).projection("mini/pca")
    return folder


@pytest.fixture(scope="module")
def client(folder):
    return Client(folder)


@pytest.fixture(scope="module")
def project(folder):
    return Project(folder)


def region(projection, polygon):
    return json.dumps({"region": {"projection": projection, "polygon": polygon}})


def images(client, scope, **parameters):
    return client.tell("images", scope=json.dumps(scope), **parameters)


def members(project):
    return set(project.exemplars("greek/1")["image_id"].to_pylist())


def carrying(project, path, property_name="Clustering"):
    rows = project.image_tags(property_name).to_pylist()
    return {row["image_id"] for row in rows if row["path"] == path}


def test_the_images_of_a_cluster_come_page_by_page_the_nearest_first(client, project):
    nearest = project.exemplars("greek/1")
    rows = [
        row
        for offset in (0, 20, 40)
        for row in images(client, NODE, order="nearest", offset=offset, limit=20)["rows"]
    ]
    assert [row["image_id"] for row in rows] == nearest["image_id"].to_pylist()
    assert [row["distance"] for row in rows] == pytest.approx(nearest["distance"].to_pylist())


def test_without_a_scope_the_corpus_is_told_by_path_and_how_many_there_are(client):
    found = client.tell("images", limit=500)
    paths = [row["path"] for row in found["rows"]]
    assert found["total"] == len(paths) == 253
    assert paths == sorted(paths)
    assert {(row["width"], row["similarity"]) for row in found["rows"]} >= {(256, None)}


def test_the_largest_and_the_newest_images_come_first(client):
    largest = [row["width"] * row["height"] for row in images(client, {}, order="size")["rows"]]
    newest = [row["added_at"] for row in images(client, {}, order="added")["rows"]]
    assert largest == sorted(largest, reverse=True)
    assert newest == sorted(newest, reverse=True)
    assert largest[0] > largest[-1]
    assert newest[0] > newest[-1]


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (NODE, {"greek"}),
        ({"tag": {"path": "Vases grecs"}}, {"property:Clustering"}),
        ({"files": {"pattern": "animals/*"}}, {"corpus:"}),
        (LEFT, {"corpus:"}),
    ],
)
def test_a_scope_tells_the_version_of_what_it_rests_on(client, scope, seen):
    found = images(client, scope, limit=1)
    assert found["seen"].keys() == seen
    assert 0 < found["total"] < 253


def test_a_search_by_text_tells_how_similar_each_image_is(client):
    found = images(client, {"text": {"text": "a cat", "nb_images": 5}})
    similar = [row["similarity"] for row in found["rows"]]
    assert len(similar) == 5
    assert similar == sorted(similar, reverse=True)
    assert found["notes"][0].startswith("5 images are taken for the text 'a cat'")


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        ("[]", "scope-malformed"),
        ('{"node": {"node": NaN}}', "scope-malformed"),
        ("{" * 100, "scope-malformed"),
        ('{"nothing": {}}', "configuration-unusable"),
        ('{"node": {"node": "greek/1"}, "corpus": {}}', "configuration-needs-one-choice"),
        ('{"node": {"node": "<script>alert(1)</script>"}}', "configuration-unusable"),
        ('{"ids": {"file": "../../etc/passwd"}}', "list-outside-project"),
        (region("mini/nowhere", [[0, 0], [1, 0], [1, 1]]), "scope-projection-unknown"),
        (region("mini/pca", [[9, 9], [10, 9], [10, 10]]), "no-present-image-in-region"),
        (region("mini/pca", [[0, 0], [1, 0]]), "configuration-unusable"),
        (region("mini/pca", [[0, 0], [1, 0], [1, 1, 1]]), "configuration-unusable"),
        (region("mini/pca", [[0, 0], [1, 0], [1, 1e300]]), "configuration-unusable"),
        (region("mini/pca", [[0, 0]] * 501), "configuration-unusable"),
    ],
)
def test_a_scope_that_is_none_is_refused_on_one_line(client, scope, error):
    assert client.refused("images", scope=scope) == (422, error)


@pytest.mark.parametrize("path", ["images", "export-images"])
def test_a_file_that_is_no_list_of_images_is_not_shown(client, folder, path):
    """Who may only look could else read the settings and logs of a project, line by line."""
    (folder / "secrets.txt").write_text("password: hunter2\n")
    scope = json.dumps({"ids": {"file": "secrets.txt"}})
    answer = client.ask(path, params={"scope": scope})
    assert (answer.status_code, answer.json()["error"]["id"]) == (422, "lines-of-list-unknown")
    assert "hunter2" not in answer.text


def test_images_of_no_cluster_and_no_search_have_no_nearest(client):
    assert client.refused("images", order="nearest") == (422, "order-needs-distances")


def test_all_images_of_a_cluster_but_one_get_a_tag_that_was_not_there(client, project):
    out, *others = sorted(members(project))
    events = client.do("tag", tag="Forts > walls", scope=NODE, without=[out], property="Mine")
    assert [(event["kind"], event["nb_images"]) for event in events] == [
        ("create", 0),
        ("assign", len(others)),
    ]
    assert carrying(project, "Forts > walls", "Mine") == set(others)


def test_a_region_of_a_map_is_tagged_as_any_scope_is(client, project):
    [*_, event] = client.do("tag", tag="left", scope=LEFT, property="Place")
    points = project.points("mini/pca")
    inside = {
        image_id
        for image_id, (x, *_) in zip(
            *(column.to_pylist() for column in points.columns), strict=True
        )
        if -2 <= x < 0
    }
    assert carrying(project, "left", "Place") == inside
    assert event["nb_images"] == len(inside)


def test_a_tag_is_taken_from_those_of_a_scope_that_carry_it_and_given_back_by_undo(client, project):
    some = sorted(members(project))[:3]
    client.do("tag", tag="odd", images=some, property="Odd")
    [event] = client.do("untag", tag="odd", scope={"corpus": {}}, property="Odd")
    assert event["nb_images"] == 3
    assert carrying(project, "odd", "Odd") == set()
    client.do("undo", act=f"tag-{event['number']}")
    assert carrying(project, "odd", "Odd") == set(some)


def test_images_go_from_one_tag_to_another_in_one_act_that_is_undone_as_one(client, project):
    """D31: what a person moves loses the one tag and gets the other, or neither."""
    some = sorted(members(project))[:4]
    client.do("tag", tag="from", images=some, property="Moves")
    client.do("tag", tag="to", images=some[:1], property="Moves")
    before = project.tag_log()
    [event] = client.do("move-tag", tag="from", to="to", images=some[1:], property="Moves")
    assert carrying(project, "from", "Moves") == {some[0]}
    assert carrying(project, "to", "Moves") == set(some)
    assert len(project.tag_log()) == len(before) + 1
    client.do("undo", act=f"tag-{event['number']}")
    assert carrying(project, "from", "Moves") == set(some)
    assert carrying(project, "to", "Moves") == {some[0]}
    client.do("redo", act=f"tag-{event['number']}")
    assert carrying(project, "to", "Moves") == set(some)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "images-or-scope"),
        ({"images": ["animals/fish/fish_01.jpg"], "scope": NODE}, "images-or-scope"),
        ({"images": []}, "request-unusable"),
        ({"scope": {}}, "request-unusable"),
        ({"scope": {"node": {"node": "greek/99"}}}, "no-such-node"),
        ({"images": ["nowhere.jpg"], "without": ["animals/fish/fish_01.jpg"]}, "no-such-image"),
        (
            {"images": ["animals/fish/fish_01.jpg"], "without": ["animals/fish/fish_01.jpg"]},
            "no-image-chosen",
        ),
    ],
)
@pytest.mark.parametrize("act", ["tag", "check"])
def test_an_act_on_no_images_is_refused_before_anything_is_done(client, project, body, error, act):
    before = len(project.tag_log())
    path = "check/tag" if act == "check" else "acts/tag"
    answer = client.post(f"{client.at}/{path}", json={"tag": "none", **body})
    assert answer.status_code == 422
    assert answer.json()["error"]["id"] == error
    assert len(project.tag_log()) == before


def test_an_act_by_a_scope_is_refused_that_has_changed_since_it_was_shown(client, project):
    client.do("cluster", key="moved", config={"method": {"kmeans": {"nb_clusters": 2}}})
    scope = {"node": {"node": "moved/0"}}
    seen = images(client, scope, limit=1)["seen"]
    three = {"method": {"kmeans": {"nb_clusters": 3}}, "replace": True}
    client.do("cluster", key="moved", config=three)
    for path in ("check/tag", "acts/tag"):
        body = {"tag": "late", "scope": scope, "seen": seen}
        answer = client.post(f"{client.at}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["id"]) == (409, "changed-meanwhile")


def test_a_run_of_named_images_records_their_list(client, project):
    """The list is a file of its content's name: the same images are the same run anywhere."""
    some = sorted(members(project))[:9]
    two = {"method": {"kmeans": {"nb_clusters": 2}}}
    result = client.do("cluster", key="few", images=some, config=two)
    assert sorted(project.assignments("few")["image_id"].to_pylist()) == some
    file = result["config"]["scope"]["ids"]["file"]
    assert (project.folder / file).read_text().split() == some
    client.do("cluster", key="fewer", config={"scope": NODE, **two}, without=some)
    assert set(project.assignments("fewer")["image_id"].to_pylist()) == members(project) - {*some}


def test_a_run_of_a_region_is_proved_and_goes_stale_once_other_images_lie_there(client, project):
    """A map that is drawn larger still has the same images on its left."""
    project.projection("mini/other")
    for key, side in (("left", 9.0), ("middle", 0.1)):
        polygon = [[-side, -side], [0, -side], [0, side], [-side, side]]
        scope = {"region": {"projection": "mini/other", "polygon": polygon}}
        client.do("cluster", key=key, config={"scope": scope, "method": "find_duplicates"})
    assert [proof["proved"] for proof in project.verify("left", "middle", pixels=False)] == [
        True
    ] * 2
    project.projection("mini/other", method={"pca": {"whiten": True}}, replace=True)
    judged = project.status("left", "middle")["staleness"]
    assert {row["key"]: row["state"] for row in judged} == {"left": "up to date", "middle": "stale"}


def table(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_a_table_of_images_has_their_tags_and_clusters(client, project):
    hostile = '=HYPERLINK("http://elsewhere")'
    some = sorted(members(project))[:2]
    client.do("tag", tag=hostile, images=some[:1], property="<b>Exported</b>")
    client.do("tag", tag="été", images=some[:1], property="<b>Exported</b>")
    rows = table(client.ask("export-images", params={"image": some, "run": "greek"}))
    by_id = {row["image_id"]: row for row in rows}
    assert by_id.keys() == {*some}
    mine = by_id[some[0]]["tags: <b>Exported</b>"]
    assert set(mine.split(" | ")) == {hostile, "été"} or mine == f"'{hostile} | été"
    assert {row["cluster: greek"] for row in rows} == {"greek/1"}
    assert rows[0]["path"] < rows[1]["path"]


def test_a_table_of_a_scope_is_in_its_order(client, project):
    asked = {"scope": json.dumps(NODE), "order": "nearest"}
    rows = table(client.ask("export-images", params=asked))
    assert [row["image_id"] for row in rows] == project.exemplars("greek/1")["image_id"].to_pylist()


def zipped(client, **parameters):
    answer = client.ask("export-images", params={"format": "zip", **parameters})
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_pictures_come_as_a_zip_file_in_the_folders_of_their_files(client, project):
    archive = zipped(client, scope=json.dumps({"files": {"pattern": "animals/fish/*"}}))
    *pictures, listed = archive.namelist()
    assert listed == "images.csv"
    assert len(pictures) == images(client, {"files": {"pattern": "animals/fish/*"}})["total"]
    assert pictures[0] == "animals/fish/fish_01.jpg"
    with Image.open(io.BytesIO(archive.read(pictures[0]))) as picture:
        assert (picture.format, picture.info.get("exif")) == ("JPEG", None)


def test_original_files_come_byte_for_byte_and_only_if_they_are_asked_for(client, project):
    path = "animals/fish/fish_01.jpg"
    file = (project.folder / project.layout.images / path).read_bytes()
    assert zipped(client, image=path, pictures="original").read(path) == file
    assert zipped(client, image=path, pictures="512").read(path) != file


def test_more_pictures_or_bytes_than_may_be_are_refused(client, monkeypatch):
    monkeypatch.setattr(picture_export, "MOST_PICTURES", 3)
    assert client.refused("export-images", format="zip") == (422, "too-many-pictures")
    monkeypatch.undo()
    monkeypatch.setattr(picture_export, "MOST_BYTES", 10_000)
    scope = json.dumps({"files": {"pattern": "animals/fish/*"}})
    refused = client.refused("export-images", format="zip", scope=scope)
    assert refused == (422, "pictures-too-large")
