"""Acts over the API: each done and refused, by whom, beside whom; and what is no request at all."""

import asyncio
import json
import re
import shutil
import threading

import numpy as np
import pytest
import yaml

from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.project import Project
from panoptic_assets.serve import api
from panoptic_assets.serve.api_acts import ACT_ADDRESSES, SMALL
from panoptic_assets.serve.who import WHO, who_routes
from resources.project_folder import ProjectSettings, create, dagster_home
from tests.fiftyone_exports import array, label, sample, write_dataset
from tests.pictures import SAMPLE
from tests.pipeline.serve.conftest import Client

pytestmark = pytest.mark.usefixtures("one_mini")


@pytest.fixture(scope="module")
def folder(told_folder, tmp_path_factory):
    """A copy of the project, whose tests each act on something of their own."""
    folder = shutil.copytree(told_folder, tmp_path_factory.mktemp("acts") / "Époque 1")
    sweep = {"methods": [{"kmeans": {"nb_clusters": [2, 3]}}]}
    (folder / "configs" / "sweeps" / "two.yaml").write_text(yaml.safe_dump(sweep))
    ids = Project(folder).vectors()["image_id"].to_pylist()
    np.save(folder / "theirs.npy", np.random.default_rng(0).normal(size=(len(ids), 4)))
    (folder / "theirs.txt").write_text("\n".join(ids))
    return folder


@pytest.fixture(scope="module")
def client(folder):
    return Client(folder)


@pytest.fixture(scope="module")
def project(folder):
    return Project(folder)


@pytest.fixture(scope="module")
def image(project):
    return project.exemplars("greek/1", number=1)["image_id"][0].as_py()


def test_a_run_is_clustered(client, project):
    result = client.do("cluster", key="roman", config={"method": {"kmeans": {"nb_clusters": 4}}})
    assert result["record_id"] == project.run_info("roman")["record_id"]
    assert result["nb_clusters"] == 4


def test_a_cluster_is_divided_by_a_method_of_that_name(client, project):
    client.do("divide", node="greek/1", config={"method": "birch"})
    assert next(iter(project.run_info("greek/1")["config"]["method"])) == "birch"


def test_a_sweep_is_computed(client):
    assert [row["status"] for row in client.do("sweep", key="two")] == ["done", "done"]


def test_a_sweep_can_be_described_where_it_is_asked_for(client):
    """D42: several numbers of clusters by one form; the file tells it from then on."""
    described = {"methods": [{"kmeans": {"nb_clusters": [2, 4]}}]}
    rows = client.do("sweep", key="asked", sweep=described)
    assert [row["clusters"] for row in rows] == [2, 4]
    assert [row["status"] for row in client.tell("sweeps/asked")["rows"]] == ["done", "done"]


def test_a_projection_is_computed(client, project):
    result = client.do("project", key="mini/flat", config={"method": "pca"})
    assert result["key"] == "mini/flat"
    assert project.points("mini/flat").num_rows == 253


def test_a_run_is_labelled_and_saved_with_a_reason(client, project):
    labels = client.do("label", key="greek", config={"method": {"zero_shot": {"language": "fr"}}})
    assert {"greek/0", "greek/5"} <= {row["node"] for row in labels}
    tags = client.do("save", key="greek", config={"property": "Style"}, reason="for the show")
    assert {tag["property"] for tag in tags} == {"Style"}
    assert "image_ids" not in tags[0]
    [event] = [event for event in project.tag_log() if event["property"] == "Style"]
    assert event["reason"] == "for the show"


def test_tags_are_edited_and_an_edit_undone_and_done_again(client):
    [event] = client.do("edit", edits=[{"create": {"tag": "Amphores"}}], reason="new")
    assert (event["kind"], event["reason"]) == ("create", "new")
    act = f"tag-{event['number']}"
    assert client.do("undo", act=act)["act"] == act
    assert "Amphores" not in {tag["name"] for tag in client.tell("tags")["rows"]}
    client.do("redo", act=act)
    assert "Amphores" in {tag["name"] for tag in client.tell("tags")["rows"]}


def test_what_was_undone_is_told_in_the_language_of_who_asks(client):
    client.do("divide", node="greek/4", config={"method": {"kmeans": {"nb_clusters": 2}}})
    told = {}
    for language, act in (("en", "undo"), ("fr", "redo"), ("fr", "undo")):
        answer = client.post_act(act, {}, headers={"Accept-Language": language})
        client.get(answer.json()["events"])
        told[language] = client.tell(f"acts/{answer.json()['act']}")["result"]["change"]
    assert told["en"].startswith("kmeans: 2 clusters of ")
    assert told["fr"].startswith("kmeans\u202f: 2 clusters pour ")


def test_images_are_tagged_one_by_one_and_by_a_file(client, project, image):
    events = client.do("tag", tag="a > b", images=[image], property="Mine")
    assert [event["kind"] for event in events] == ["create", "assign"]
    content = f"image_id,property,tag\n{image},Theirs,été\n"
    assert client.do("import-tags", content=content)["nb_images"] == 1
    found = client.tell(f"images/{image}")["tags"]
    assert {("Mine", "a > b"), ("Theirs", "été")} <= {
        (tag["property"], tag["path"]) for tag in found
    }


def test_an_import_that_is_only_checked_changes_nothing(client, project, image):
    before = len(project.tag_log())
    content = json.dumps({"nothing": "of ours"})
    answer = client.post_act("import-tags", {"content": content, "format": "json", "check": True})
    assert answer.status_code == 422
    content = f"image_id,property,tag\n{image},Checked,x\n"
    assert client.do("import-tags", content=content, check=True)["nb_images"] == 1
    assert len(project.tag_log()) == before


def test_recommendations_are_computed(client):
    rows = client.do("recommend", config={"property": "Clustering", "include_tagged": True})
    assert {row["property"] for row in rows} == {"Clustering"}


def test_reports_are_written_and_their_addresses_told(client, folder):
    for act, body in (
        ("report", {"key": "greek"}),
        ("compare", {"config": {"runs": ["greek"], "against": "folders"}}),
    ):
        address = client.do(act, **body)["address"]
        place = address.removeprefix("/panoptic/reports/")
        assert (folder / ".panoptic" / "reports" / place).is_file()


def test_a_run_is_clustered_again_without_some_images(client, project):
    client.do("cluster", key="most", config={"method": {"kmeans": {"nb_clusters": 3}}})
    *gone, more = [row["image_id"] for row in client.tell("members/most/0", limit=3)["rows"]]
    seen = client.tell("runs/most")["seen"]
    result = client.do("leave-out", key="most", images=gone, seen=seen)
    assert result["config"]["without"] == project.selection_file(gone)
    assert not set(gone) & set(project.assignments("most")["image_id"].to_pylist())
    answer = client.post_act("leave-out", {"key": "most", "images": [more], "seen": seen})
    assert (answer.status_code, answer.json()["error"]["id"]) == (409, "changed-meanwhile")
    client.do("undo")
    assert client.tell("runs/most")["seen"] == seen


def test_remarks_are_written_told_with_what_they_are_on_and_taken_back(client, project, image):
    """Each with the version that an act on it carries."""
    tag_id = next(row["tag_id"] for row in client.tell("tags")["rows"] if row["name"] == "1")
    for subject, text in ((image, "blurred"), ("greek/1", "wide"), (f"tag:{tag_id}", "of clay")):
        act = client.do("remark", subject=subject, text=text, reason="seen")["act"]
    found = client.tell("remarks", limit=2)
    assert ([row["text"] for row in found["rows"]], found["total"]) == (["of clay", "wide"], 3)
    told = client.tell(f"images/{image}")
    assert (told["remark"]["text"], told["remark"]["reason"]) == ("blurred", "seen")
    assert told["seen"][f"remark:image:{image}"] == told["remark"]["act"]
    rows = {row["node"]: row["remark"] for row in client.tell("clusters/greek")["rows"]}
    assert (rows["greek/1"]["text"], rows["greek/5"]) == ("wide", None)
    rows = {row["tag_id"]: row["remark"] for row in client.tell("tags")["rows"]}
    assert rows[tag_id]["text"] == "of clay"
    assert found["seen"] == {f"remark:tag:{tag_id}": act, "remark:greek/1": found["rows"][1]["act"]}
    answer = client.post_act(
        "remark", {"subject": image, "text": "x", "seen": {f"remark:image:{image}": None}}
    )
    assert (answer.status_code, answer.json()["error"]["id"]) == (409, "changed-meanwhile")
    client.do("undo", act=act)
    assert client.tell("remarks", subject=f"tag:{tag_id}")["rows"] == []


def test_a_policy_is_chosen_and_applied(client, project):
    policy = {"assign": {"most_novel": 0.1, "most_new": 2.0}}
    chosen = client.do("policy", key="greek", policy=policy)
    assert chosen == {"file": "configs/runs/greek.yaml", "policy": policy}
    assert client.do("backfill", runs=["greek"])["nb_failed"] == 0


def test_a_run_is_verified(client):
    assert client.do("verify", keys=["greek"], pixels=False)["nb_not_proved"] == 0


def test_a_run_is_removed_and_comes_back(client, project):
    client.do("cluster", key="brief", config={"method": {"kmeans": {"nb_clusters": 2}}})
    removed = client.do("remove", key="brief")
    assert client.refused("runs/brief") == (404, "no-such-clustering")
    client.do("undo", act=removed["id"])
    assert client.tell("runs/brief")["nb_clusters"] == 2


def test_the_store_and_dagster_are_reconciled(client, project):
    with open_instance(dagster_home(project.layout)) as instance:
        instance.add_dynamic_partitions("runs", ["greek"])
        instance.delete_dynamic_partition("runs", "greek")
    assert {row["key"] for row in client.tell("mismatches")["rows"]} >= {"greek"}
    client.do("reconcile")
    assert client.tell("mismatches")["rows"] == []


def test_a_corpus_is_refreshed_with_a_dagster_run_for_each_step(client):
    end = client.end("refresh")
    assert end["result"]["nb_images"] == 253
    assert len(end["dagster_run_ids"]) >= 3


def test_vectors_of_another_program_are_taken_from_the_projects_folder(client, project):
    client.do("import-vectors", key="theirs", vectors="theirs.npy", ids="theirs.txt", model="X 1")
    assert project.vectors("theirs").num_rows == 253


def test_a_dataset_of_fiftyone_is_taken_from_the_projects_folder(client, project, folder, image):
    """A25: what it would take, and then its tags and vectors."""
    entry = sample("data/1.jpg", image_id=image, style_51=label("Gothic"), v=array([1, 0, 0]))
    write_dataset(folder / "set of 51", entry)
    asked = {"folder": "set of 51", "vectors": {"set51": "v"}, "model": "X 2"}
    looked = client.do("import-fiftyone", **asked, check=True)
    done = client.do("import-fiftyone", **asked)
    assert looked == done
    assert done["vectors"] == {"set51": 1}
    headers = {"Accept-Language": "fr"}
    answer = client.post_act("import-fiftyone", asked | {"check": True}, headers=headers)
    client.get(answer.json()["events"])
    [note] = client.tell(f"acts/{answer.json()['act']}")["result"]["notes"]
    assert note.endswith("gardés avec la longueur 1\u202f: 1.")
    [tag] = project.tags("style_51")
    assert (tag["name"], tag["image_ids"]) == ("Gothic", [image])
    assert project.vectors("set51")["image_id"].to_pylist() == [image]


REFUSED = {
    "unknown act's field": ("cluster", {"key": "x", "konfig": {}}, "request-unusable"),
    "no key": ("cluster", {}, "request-unusable"),
    "a number for a key": ("cluster", {"key": 7}, "request-unusable"),
    "a key that leads out": ("cluster", {"key": "../x"}, "key-of-wrong-characters"),
    "a key of a line": ("cluster", {"key": "a\nb"}, "key-of-wrong-characters"),
    "a list for a configuration": ("cluster", {"key": "x", "config": []}, "request-unusable"),
    "an unknown field": (
        "cluster",
        {"key": "x", "config": {"methods": {}}},
        "no-such-configuration-field",
    ),
    "a field that is the key": (
        "cluster",
        {"key": "x", "config": {"key": "y"}},
        "no-such-configuration-field",
    ),
    "an unknown parameter": (
        "cluster",
        {"key": "x", "config": {"method": {"kmeans": {"k": 2}}}},
        "configuration-field-unknown",
    ),
    "an unknown method": (
        "cluster",
        {"key": "x", "config": {"method": "dbscan"}},
        "configuration-unusable",
    ),
    "a text for a number": (
        "cluster",
        {"key": "x", "config": {"method": {"kmeans": {"nb_clusters": "4"}}}},
        "request-unusable",
    ),
    "a seed that is too large": (
        "cluster",
        {"key": "x", "config": {"seed": 2**32}},
        "configuration-unusable",
    ),
    "two methods": (
        "cluster",
        {"key": "x", "config": {"method": {"kmeans": {}, "birch": {}}}},
        "configuration-needs-one-choice",
    ),
    "other parameters than the record's": (
        "cluster",
        {"key": "greek", "config": {"method": {"kmeans": {"nb_clusters": 9}}}},
        "made-with-other-parameters",
    ),
    "no such node": ("divide", {"node": "greek/17"}, "no-such-node"),
    "a run for a node": ("divide", {"node": "greek"}, "not-a-node"),
    "no such sweep": ("sweep", {"key": "nothing"}, "no-such-sweep"),
    "another sweep of the key": (
        "sweep",
        {"key": "two", "sweep": {"methods": [{"birch": {}}]}},
        "config-describes-other-sweep",
    ),
    "a sweep of no method": ("sweep", {"key": "x", "sweep": {"methods": []}}, "sweep-unusable"),
    "no such projection": ("project", {"key": "mini"}, "not-a-projection"),
    "no run to label": ("label", {"key": "nothing"}, "no-such-clustering"),
    "no run to save": ("save", {"key": "nothing"}, "no-such-clustering"),
    "an author of their own": (
        "save",
        {"key": "greek", "config": {"author": "Somebody else"}},
        "no-such-configuration-field",
    ),
    "no such tag": ("edit", {"edits": [{"delete": {"tag": "nothing"}}]}, "edit-tag-unknown"),
    "no edits": ("edit", {"edits": []}, "request-unusable"),
    "an edit that is none": ("edit", {"edits": [{"rename": 7}]}, "request-unusable"),
    "an unknown edit": ("edit", {"edits": [{"explode": {}}]}, "edit-unknown"),
    "no such image": ("tag", {"tag": "a", "images": ["nothing"]}, "edit-of-several"),
    "no image with the tag": (
        "untag",
        {"tag": "nothing", "scope": {"corpus": {}}},
        "edit-tag-unknown",
    ),
    "no scope": ("move-tag", {"tag": "1", "to": "2", "scope": {"x": {}}}, "configuration-unusable"),
    "a file of something else": ("import-tags", {"content": "a,b\n1,2\n"}, "file-not-imported"),
    "no such property": ("recommend", {"config": {"property": "None"}}, "no-tagged-property"),
    "no run to report": ("report", {"key": "nothing"}, "no-such-clustering"),
    "nothing to compare": (
        "compare",
        {"config": {"runs": ["greek", "nothing"]}},
        "no-clustering-to-compare",
    ),
    "no run to apply": ("backfill", {"runs": ["nothing"]}, "no-such-clustering"),
    "a policy that is none": ("policy", {"key": "greek", "policy": "forget"}, None),
    "nothing to verify": ("verify", {"keys": ["nothing"]}, "no-such-clustering"),
    "no run to leave images out of": (
        "leave-out",
        {"key": "nothing", "images": ["drawings/flags/flag_01.jpg"]},
        "no-such-clustering",
    ),
    "no image to leave out": ("leave-out", {"key": "greek", "images": []}, "request-unusable"),
    "nothing to remark on": ("remark", {"subject": "nothing", "text": "x"}, "no-such-image"),
    "a remark that is too long": (
        "remark",
        {"subject": "greek", "text": "x" * 2_001},
        "configuration-unusable",
    ),
    "no act to undo": ("undo", {"act": "greek@99"}, None),
    "no act to do again": ("redo", {"act": "greek@1"}, None),
    "nothing to remove": ("remove", {"key": "nothing"}, "no-such-clustering"),
    "neither of the two": ("reconcile", {"follow": "me"}, "request-unusable"),
    "no such vector type": ("refresh", {"vector_types": ["nothing"]}, None),
    "vectors from elsewhere": (
        "import-vectors",
        {"key": "x", "vectors": "../../theirs.npy", "model": "X"},
        "vectors-outside-project",
    ),
    "vectors of the machine": (
        "import-vectors",
        {"key": "x", "vectors": "/etc/passwd", "model": "X"},
        "vectors-outside-project",
    ),
    "vectors of a home": (
        "import-vectors",
        {"key": "x", "vectors": "theirs.npy", "model": "X", "ids": "~/theirs.txt"},
        "vectors-outside-project",
    ),
    "vectors of nobody": (
        "import-vectors",
        {"key": "x", "vectors": "~nobody-at-all/theirs.npy", "model": "X"},
        "vectors-outside-project",
    ),
    "vectors of no name": (
        "import-vectors",
        {"key": "x", "vectors": "a\0b.npy", "model": "X"},
        "vectors-outside-project",
    ),
    "vectors of two lines": (
        "import-vectors",
        {"key": "x", "vectors": "../../a\nb.npy", "model": "X"},
        "vectors-outside-project",
    ),
    "Panoptic's folder elsewhere": (
        "import-panoptic",
        {"folder": "~/panoptic"},
        "folder-outside-project",
    ),
    "FiftyOne's folder elsewhere": (
        "import-fiftyone",
        {"folder": "../export"},
        "folder-outside-project",
    ),
    "FiftyOne's folder that is none": ("import-fiftyone", {"folder": "configs"}, None),
    "name of no cluster": ("name", {"node": "greek/99", "name": "x"}, "no-cluster-to-name"),
    "seen is no text": ("cluster", {"key": "x", "seen": {"greek": 7}}, "request-unusable"),
    "seen of nothing": ("cluster", {"key": "x", "seen": {"a:b": "7"}}, "no-such-subject"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_is_refused_at_once(client, what):
    """Bad input is one line in the page, and nothing is started."""
    act, body, error_id = REFUSED[what]
    before = [found["act"] for found in client.tell("acts")["rows"]]
    answer = client.post_act(act, body)
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert len(error["text"].splitlines()) == 1
    assert error_id in (None, error["id"])
    assert [found["act"] for found in client.tell("acts")["rows"]] == before


@pytest.mark.parametrize(
    ("settings", "model", "refusal"),
    [
        ({"images": "{tmp_path}/gone"}, {}, (503, "images-folder-unreadable")),
        ({"images": "foo://photos"}, {}, (422, "images-store-unusable")),
        ({"images": "gs://photos"}, {}, (422, "images-store-needs-package")),
        ({"images": "s3://photos", "images_options": {"key": "x"}}, {}, (422, "secrets-in-images")),
        ({"include": ["!"]}, {}, (422, "pattern-unusable")),
        ({"vector_type": "gone"}, {}, (422, "no-such-vector-type")),
        ({}, {"model": "ViT-B/32"}, (422, "no-such-model")),
        ({}, {"model": "ViT-B-32"}, (422, "model-without-weights")),
        ({}, {"model": "ViT-B-32", "pretrained": "gone.pt"}, (422, "no-such-pretrained")),
        ({}, {"model": "local-dir:gone"}, (422, "no-open-clip-folder")),
        ({}, {"model": "embedded:mini", "pretrained": "x"}, (422, "pretrained-with-bundled-model")),
        ({}, {"model": "X", "vectors": "gone.npy"}, (422, "no-vectors-file")),
        ({}, {"model": "embedded:mini", "accelerator": "x"}, (422, "yaml-fields-invalid")),
    ],
)
def test_a_refresh_is_refused_at_once_where_no_listing_is_needed(
    tmp_path, settings, model, refusal
):
    """To list a folder may take minutes: what is wrong with a configuration does not wait for it.

    Of a folder that cannot be reached just now, the status says that it may be there later.
    """
    (tmp_path / "gone").mkdir()
    images = settings.get("images", str(SAMPLE)).format(tmp_path=tmp_path)
    project = create(tmp_path / "project", ProjectSettings(**settings | {"images": images}))
    (tmp_path / "gone").rmdir()
    if model:
        (project.configs / "models" / "mini.yaml").write_text(yaml.safe_dump(model))
    client = Client(project.folder)
    answer = client.post_act("refresh", {})
    assert (answer.status_code, answer.json()["error"]["id"]) == refusal
    assert client.tell("acts")["rows"] == []


def test_a_refresh_with_another_model_than_made_the_vectors_is_refused_at_once(client, folder):
    file = folder / "configs" / "models" / "mini.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump({"model": "embedded:mini", "greyscale": True}))
    answer = client.post_act("refresh", {})
    file.write_text(before)
    assert (answer.status_code, answer.json()["error"]["id"]) == (422, "vectors-of-another-model")


def test_a_refusal_of_every_act_is_among_these():
    assert {act for act, _, _ in REFUSED.values()} == ACT_ADDRESSES.keys()


def test_a_file_that_is_refused_is_named_as_its_sender_knows_it(client):
    answer = client.post_act("import-tags", {"content": "a,b\n1,2\n"})
    assert answer.json()["error"]["text"].startswith("tags.csv: ")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "error_id"),
    [
        (b"{", "application/json", 400, "request-malformed"),
        (b"[]", "application/json", 400, "request-malformed"),
        (b'{"key": NaN}', "application/json", 400, "request-malformed"),
        (b'{"key": "\\ud800"}', "application/json", 400, "request-malformed"),
        (b'{"a":' * 10_000, "application/json", 400, "request-malformed"),
        (b"{}", "text/plain", 415, "request-not-json"),
        (b"{}", "text/plain;application/json", 415, "request-not-json"),
        (b'{"key": "' + b"x" * SMALL + b'"}', "application/json", 413, "request-too-large"),
    ],
)
def test_what_is_no_request_is_refused_unread(client, body, content_type, status, error_id):
    answer = client.post(
        f"{client.at}/acts/cluster", content=body, headers={"Content-Type": content_type}
    )
    assert (answer.status_code, answer.json()["error"]["id"]) == (status, error_id)


def test_a_body_without_end_is_not_read_to_its_end(client):
    sent = []

    def endless():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 2**16

    headers = {"Content-Type": "application/json"}
    answer = client.post(f"{client.at}/acts/cluster", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_large_bodies_are_read_two_at_a_time_and_none_is_waited_for_for_ever(client, monkeypatch):
    """Who sends fifty megabytes a hundred times takes no five gigabytes."""
    monkeypatch.setattr(api, "_SECONDS_FOR_BODY", 0.1)
    reading, most, statuses = 0, 0, []

    async def receive():
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            await asyncio.Event().wait()
        finally:
            reading -= 1

    async def send(message):
        statuses.extend([message["status"]] if "status" in message else [])

    async def ask():
        scope = {
            "type": "http",
            "method": "POST",
            "root_path": "",
            "query_string": b"",
            "path": f"{client.at}/acts/import-tags",
            "headers": [(b"content-type", b"application/json")],
        }
        await asyncio.gather(*(client.app(scope.copy(), receive, send) for _ in range(4)))

    asyncio.run(ask())
    assert (most, statuses) == (2, [408] * 4)


def test_an_act_on_what_has_changed_meanwhile_is_a_conflict(client, project):
    """DESIGN 11: refused with one line when what the page showed has changed."""
    seen = client.tell("clusters/greek")["seen"]
    client.do("divide", node="greek/2", config={"method": {"kmeans": {"nb_clusters": 2}}})
    record_id = project.run_info("greek/2")["record_id"]
    body = {"node": "greek/2", "config": {"method": "birch", "replace": True}, "seen": seen}
    answer = client.post_act("divide", body)
    assert (answer.status_code, answer.json()["error"]["id"]) == (409, "changed-meanwhile")
    assert project.run_info("greek/2")["record_id"] == record_id


def test_of_two_who_name_one_cluster_the_second_is_told(client):
    """DESIGN 11. Another cluster of the run may be named meanwhile."""
    client.do("cluster", key="two-hands", config={"method": {"kmeans": {"nb_clusters": 2}}})
    first, other = ({"node": f"two-hands/{n}", "seen": {f"name:two-hands/{n}": None}} for n in "01")
    client.do("name", **first, name="Amphores")
    answer = client.post_act("name", {**first, "name": "Vases"})
    assert (answer.status_code, answer.json()["error"]["id"]) == (409, "changed-meanwhile")
    client.do("name", **other, name="Coupes")
    names = {row["node"]: row["label"] for row in client.tell("clusters/two-hands")["rows"]}
    assert names == {"two-hands/0": "Amphores", "two-hands/1": "Coupes"}


def test_who_acts_is_whom_the_browser_says(client, project):
    client.app.router.routes.extend(who_routes({}))
    client.post(WHO, json={"name": "Ada"})
    try:
        client.do("edit", edits=[{"create": {"tag": "By Ada"}}])
    finally:
        client.cookies.clear()
    assert project.tag_log()[-1]["author"] == "Ada"
    assert client.tell("acts")["rows"][0]["author"] == "Ada"


def test_the_events_of_an_act_are_sent_again_after_the_last_one_that_is_known(client):
    act = client.end("edit", edits=[{"create": {"tag": "Told again"}}])
    whole = client.get(act["events"])
    assert whole.headers["content-type"].startswith("text/event-stream")
    blocks = whole.text.split("\n\n")
    rest = client.get(act["events"], headers={"Last-Event-ID": "1"})
    assert rest.text == "\n\n".join(blocks[1:])
    assert blocks[-2].startswith(f"id: {len(blocks) - 1}\nevent: done\n")
    known = {"Last-Event-ID": str(len(blocks) - 1)}
    assert client.get(act["events"], headers=known).status_code == 204


def test_an_act_can_be_asked_to_stop(client):
    """This one is over: what is cancelled amid it is shown where the worker is tested."""
    act = client.end("edit", edits=[{"create": {"tag": "Not stopped"}}])
    answer = client.post(f"{client.at}/acts/{act['act']}/cancel", json={})
    assert (answer.status_code, answer.json()["state"]) == (202, "done")


def test_an_act_has_the_id_that_who_asks_gives_it(client):
    """So that it can be stopped before its answer is there; what is no id is passed over."""
    operations = client.tell("openapi.json")["paths"]
    [described] = operations["/acts/edit"]["post"]["parameters"]
    assert operations["/check/cluster"]["post"]["parameters"] == []
    given = {}
    for name in ("0123456789abcdef", "no id"):
        body = {"edits": [{"create": {"tag": f"By {name}"}}]}
        answer = client.post_act("edit", body, headers={described["name"]: name})
        assert answer.status_code == 202, answer.text
        given[name] = answer.json()["act"]
        assert "event: done" in client.get(answer.json()["events"]).text, "it goes on"
    form = re.compile(described["schema"]["pattern"])
    assert given["0123456789abcdef"] == "0123456789abcdef"
    assert form.match(given["no id"])
    assert not form.match("no id")


def test_more_acts_than_may_go_on_are_told_to_come_again(client):
    release = threading.Event()
    waiting = [
        client.api._ongoing.start("cluster", "Ada", lambda act: release.wait(60)) for _ in range(8)
    ]
    try:
        answer = client.post_act("edit", {"edits": [{"create": {"tag": "Too many"}}]})
    finally:
        release.set()
    assert len(waiting) == 8
    assert (answer.status_code, answer.json()["error"]["id"]) == (503, "acts-busy")
    assert int(answer.headers["retry-after"]) > 0


def test_an_address_is_no_act(client):
    assert client.get(f"{client.at}/acts/cluster").status_code == 404
    answer = client.post_act("forget", {"images": ["x"]})
    assert (answer.status_code, answer.json()["error"]["id"]) == (405, "wrong-http-method")
