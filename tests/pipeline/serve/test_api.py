"""The API: what is told, in which form, and to whom not; that the document of it holds."""

import re
import threading
from contextlib import ExitStack
from datetime import datetime

import pytest
from dagster._core.test_utils import instance_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from panoptic_assets.acts import check_seen
from panoptic_assets.project import Project
from panoptic_assets.serve.api import API
from panoptic_assets.serve.api_acts import ACT_ADDRESSES
from panoptic_assets.serve.api_reads import LONGEST, READS
from panoptic_assets.serve.downloads import DOWNLOADS
from panoptic_assets.serve.previews import PICTURES
from panoptic_assets.serve.webserver import PanopticWebserver
from tests.pipeline.serve.conftest import Client

pytestmark = pytest.mark.usefixtures("one_mini")


@pytest.fixture(scope="module")
def told(told_folder):
    return Client(told_folder)


@pytest.fixture(scope="module")
def project(told_folder):
    return Project(told_folder)


@pytest.fixture(scope="module")
def image(project):
    return project.exemplars("greek/1", number=1)["image_id"][0].as_py()


def test_the_corpus_is_told_with_what_can_be_clustered(told):
    corpus = told.tell("corpus")
    assert (corpus["corpus"], corpus["nb_images"], corpus["vector_types"]) == (
        "told",
        253,
        ["mini"],
    )
    assert corpus["seen"] == {"corpus:": "1"}


def test_what_is_stale_is_told_of_all_or_of_some(told, project):
    assert len(told.tell("status")["staleness"]) == len(project.status()["staleness"]) == 3
    some = told.tell("status", key=["greek/0", "property:Clustering"])["staleness"]
    assert {found["key"] for found in some} == {"greek/0", "Clustering"}


def test_runs_are_told_with_the_records_that_count(told, project):
    found = told.tell("runs")
    assert [row["key"] for row in found["rows"]] == ["greek", "greek/0"]
    assert found["seen"] == {
        key: project.run_info(key)["record_id"] for key in ("greek", "greek/0")
    }
    assert told.tell("runs/greek/0")["config"]["method"]["kmeans"]["nb_clusters"] == 2


def test_clusters_are_told_with_what_became_of_them(told, project):
    found = told.tell("clusters/greek")
    assert [row["node"] for row in found["rows"]] == project.clusters("greek")["node"].to_pylist()
    assert [row["divided"] for row in found["rows"]] == ["current"] + [None] * 5


def test_who_divides_a_cluster_is_told_if_somebody_else_has(told):
    """DESIGN 11: each act carries the version of what the page showed."""
    seen = told.tell("clusters/greek")["seen"]
    assert (seen["greek/0"] is None, seen["greek/1"] is None) == (False, True)


def test_a_tree_is_told_whole_or_from_a_node_on(told):
    tree = told.tell("tree/greek")
    assert [row["node"] for row in tree["rows"]][-2:] == ["greek/0/0", "greek/0/1"]
    assert [row["node"] for row in told.tell("tree/greek/0")["rows"]] == ["greek/0/0", "greek/0/1"]


def test_members_come_in_parts_that_are_the_whole(told, project):
    whole = project.exemplars("greek/1", "random", seed=7)["image_id"].to_pylist()
    parts = [
        told.tell("members/greek/1", which="random", seed=7, offset=offset, limit=20)
        for offset in (0, 20, 40)
    ]
    assert [row["image_id"] for part in parts for row in part["rows"]] == whole
    assert {part["total"] for part in parts} == {51}


def test_assignments_and_labels_come_in_parts(told):
    assert len(told.tell("assignments/greek", limit=7)["rows"]) == 7
    assert told.tell("labels/greek")["total"] == 0


def test_tags_are_told_and_the_images_of_one(told, project):
    tags = told.tell("tags", property="Clustering")
    assert tags["seen"] == {"property:Clustering": "2"}
    assert "image_ids" not in tags["rows"][0]
    above = next(tag for tag in tags["rows"] if tag["name"] == "Vases grecs")
    all_of_it = told.tell(f"tags/{above['tag_id']}/images", limit=500)
    assert (all_of_it["total"], len(all_of_it["rows"])) == (34, 34)
    assert told.tell(f"tags/{above['tag_id']}/images", below=False)["total"] == 0
    paths = set(project.files()["path"].to_pylist())
    assert {row["path"] for row in all_of_it["rows"]} < paths


def test_the_tag_log_begins_with_the_newest_event(told):
    assert [event["kind"] for event in told.tell("tag-log")["rows"]] == ["rename", "save"]


def test_all_acts_are_told_the_newest_first(told):
    assert [act["kind"] for act in told.tell("history")["rows"]] == [
        *("rename", "save", "divide", "cluster")
    ]


def test_what_a_removal_would_take_is_told_before(told):
    found = told.tell("removal/greek")
    assert found["seen"].keys() == {"greek", "tree:greek"}
    assert told.tell("runs")["total"] == 2


def test_recommendations_and_how_good_they_were(told):
    found = told.tell("recommendations", tag="1", limit=3)
    assert [row["rank"] for row in found["rows"]] == [1, 2, 3]
    assert {row["accepted"] for row in told.tell("precision", property="Clustering")["rows"]} == {0}


def test_versions_and_what_became_of_the_files(told):
    assert [version["number"] for version in told.tell("versions")["rows"]] == [1]
    added = told.tell("diff", limit=2)["changes"]["added"]
    assert (added["total"], len(added["rows"])) == (253, 2)
    assert told.tell("properties")["rows"] == []


def test_two_runs_are_compared_and_all_listed(told):
    found = told.tell("compare", a="greek", b="folders", limit=3)
    assert 0 < found["counted"]["adjusted_rand"] < 1
    assert (len(found["moved"]["rows"]), found["moved"]["total"] > 3) == (3, True)
    [best] = told.tell("leaderboard", against="folders")["rows"]
    assert best["key"] == "greek"


def test_methods_are_told_with_what_a_form_needs(told):
    methods = {row["name"]: row["schema"] for row in told.tell("methods")["rows"]}
    number = methods["kmeans"]["properties"]["n_init"]
    assert (number["default"], number["minimum"], number["maximum"]) == (10, 1, 1000)
    assert number["description"].startswith("Independent starts")
    assert "zero_shot" in {row["name"] for row in told.tell("labellers")["rows"]}


def test_images_are_found_by_words_and_by_likeness(told, project, image):
    words = told.tell("search", text="a church", number=4)
    assert [row["image_id"] for row in words["rows"]] == (
        project.search("a church", number=4)["image_id"].to_pylist()
    )
    assert words["notes"]
    alike = told.tell("search", similar_to=image, number=2)["rows"]
    assert alike[0]["image_id"] == image


def test_an_image_is_told_with_its_files_and_tags(told, project, image):
    found = told.tell(f"images/{image}")
    assert [file["status"] for file in found["files"]] == ["present"]
    assert [tag["path"] for tag in found["tags"]] == ["1"]
    assert datetime.fromisoformat(found["added_at"]).tzinfo is not None


def test_it_is_told_why_an_image_carries_a_tag(told, image):
    why = told.tell("explain", image=image, tag="1")
    assert why == {**why, "image_id": image, "holds": True}


@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("runs/roman", {}, (404, "no-such-clustering")),
        ("clusters/greek/17", {}, (404, "no-such-clustering")),
        ("members/greek/17", {}, (404, "no-such-node")),
        ("members/greek", {}, (422, "not-a-node")),
        ("clusters/..%2F..%2Fetc", {}, (422, "not-a-node")),
        ("runs/" + "x" * 500, {}, (422, "key-too-long")),
        ("runs/", {}, (422, "key-of-wrong-characters")),
        ("runs/a%00b", {}, (422, "key-of-wrong-characters")),
        ("runs", {"limit": LONGEST + 1}, (422, "request-unusable")),
        ("runs", {"limit": 0}, (422, "request-unusable")),
        ("runs", {"offset": -1}, (422, "request-unusable")),
        ("runs", {"limit": "NaN"}, (422, "request-unusable")),
        ("runs", {"limit": ["1", "2"]}, (422, "request-unusable")),
        ("runs", {"limt": 1}, (422, "request-unusable")),
        ("runs/greek", {"key": "roman"}, (422, "request-unusable")),
        ("members/greek/1", {"which": "best"}, (422, "request-unusable")),
        ("tags", {"property": "Style"}, (404, "no-such-property")),
        ("tags/none/images", {}, (404, "no-tag-of-id")),
        ("compare", {"a": "greek"}, (422, "request-unusable")),
        ("diff", {"old": "9"}, (422, "no-such-corpus-version")),
        ("search", {}, (422, "text-or-image")),
        ("search", {"text": "a", "min_similarity": "inf"}, (422, "request-unusable")),
        ("images/" + "0" * 64, {}, (404, "no-image-of-id")),
        ("images/' OR 1=1", {}, (404, "no-image-of-id")),
        ("sweeps/nothing", {}, (404, "no-such-sweep")),
        ("bundle/roman", {}, (404, "no-such-clustering")),
        ("bundle/..%2Fx", {}, (422, "key-of-wrong-characters")),
        ("export", {"format": "folders"}, (422, "request-unusable")),
        ("export", {"property": "P", "run": "greek"}, (422, "property-or-run")),
        ("nothing", {}, (404, "no-such-address")),
        ("", {}, (404, "no-such-address")),
        ("acts/0123", {}, (404, "no-ongoing-act")),
        ("acts/0123/events", {}, (404, "no-ongoing-act")),
        ("acts/0123/cancel", {}, (405, "wrong-http-method")),
    ],
)
def test_what_cannot_be_told_is_refused_on_one_line(told, path, parameters, expected):
    assert told.refused(path, **parameters) == expected


@pytest.mark.parametrize(
    ("headers", "code", "text"),
    [
        ({}, "en", "There is no clustering 'roman'."),
        (
            {"Accept-Language": "fr-CA,en;q=0.5"},
            "fr",
            "Il n’y a pas de clustering «\u202froman\u202f».",
        ),
        (
            {"Accept-Language": "en", "Cookie": "panoptic-language=fr"},
            "fr",
            "Il n’y a pas de clustering",
        ),
        ({"Accept-Language": "de"}, "en", "There is no clustering"),
    ],
)
def test_a_refusal_is_in_the_language_of_who_asks(told, headers, code, text):
    answer = told.ask("runs/roman", headers=headers)
    error = answer.json()["error"]
    assert error["text"].startswith(text)
    assert error["template"].startswith("There is no clustering {key!r}.")
    assert answer.headers["content-language"] == code
    assert answer.headers["vary"] == "Accept-Language, Cookie"


def test_another_corpus_is_not_here(told):
    answer = told.get(API.format(corpus="other") + "/runs")
    assert (answer.status_code, answer.json()["error"]["id"]) == (404, "no-such-address")


@pytest.mark.parametrize("path", ["runs", "nothing", "runs/roman", "openapi.json", "export"])
def test_every_answer_is_for_own_pages_alone(told, path):
    headers = told.ask(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_what_has_not_changed_is_not_sent_again(told):
    first = told.ask("runs")
    assert "no-cache" in first.headers["cache-control"]
    again = told.ask("runs", headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert told.ask("tags", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_what_was_seen_holds_as_long_as_nothing_changes(told, project):
    for path in ("corpus", "runs", "clusters/greek", "tree/greek", "tags", "labels/greek"):
        check_seen(project.store, told.tell(path)["seen"])


@pytest.mark.parametrize(
    ("asked", "begins", "name"),
    [
        ("export", b"image_id,path,property,tag", "tags.csv"),
        ("export?format=panoptic", b"PK", "for-panoptic.zip"),
        ("export?format=parquet", b"PAR1", "tags.parquet"),
        ("export?run=greek&format=json", b"{", "tags.json"),
        ("export?run=greek&format=images", b"PAR1", "images.parquet"),
        ("export?format=omeka", b"dcterms:identifier,", "omeka.csv"),
        ("export?format=tropy", b"http://purl.org/dc/elements/1.1/identifier,", "tropy.csv"),
        ("bundle/greek", b"PK", "greek.zip"),
    ],
)
def test_a_download_is_whole_and_nothing_of_it_stays(
    told, tmp_path, monkeypatch, asked, begins, name
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = told.ask(asked)
    assert answer.content.startswith(begins)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-disposition"].endswith(f"''{name}")
    assert list(tmp_path.iterdir()) == []


def addresses(api):
    """Method and path of every route, as an OpenAPI document writes them."""
    return {
        (method.lower(), re.sub(r":\w+\}", "}", route.path))
        for route in api.routes
        for method in route.methods - {"HEAD"}
    }


def test_the_document_names_every_address_and_no_other(told):
    described = told.tell("openapi.json")
    named = {(method, path) for path, item in described["paths"].items() for method in item}
    assert named == addresses(told.api)
    assert described["servers"] == [{"url": told.at}]


def test_the_document_is_one_of_openapi(told):
    described = told.tell("openapi.json")
    assert [str(error) for error in OpenAPIV31SpecValidator(described).iter_errors()] == []
    operations = [
        one["operationId"] for item in described["paths"].values() for one in item.values()
    ]
    checks = [act for act in ACT_ADDRESSES.values() if act.check is not None]
    tables = (READS, ACT_ADDRESSES, checks, PICTURES, DOWNLOADS)
    assert len(set(operations)) == len(operations) == sum(map(len, tables)) + 5


def test_the_document_has_the_form_in_which_a_method_is_asked_for(told):
    schemas = told.tell("openapi.json")["components"]["schemas"]
    method = schemas["ClusteringConfig"]["properties"]["method"]
    forms = [next(iter(form["properties"])) for form in method["anyOf"] if "properties" in form]
    assert {"kmeans", "hdbscan", "find_duplicates"} < set(forms)
    assert method["default"]["kmeans"]["nb_clusters"] == 10
    assert "name" not in schemas["KMeans"]["properties"]
    assert "author" not in schemas["SaveConfig"]["properties"]


@pytest.fixture(scope="module")
def served(told_folder):
    """Clients of the whole server, and of one that is only to be looked at."""
    with instance_for_test(set_dagster_home=False) as instance, ExitStack() as held:
        yield [
            TestClient(
                PanopticWebserver(
                    held.enter_context(
                        WorkspaceProcessContext(
                            instance, EmptyWorkspaceTarget(), read_only=read_only
                        )
                    ),
                    told_folder / ".panoptic" / "reports",
                    [],
                    folder=told_folder,
                ).create_asgi_app(),
                base_url="http://localhost:3000",
            )
            for read_only in (False, True)
        ]


def test_the_server_has_the_api_behind_its_guard(served, told):
    client, _ = served
    assert client.get(f"{told.at}/runs").json() == told.tell("runs")
    act = f"{told.at}/acts/edit"
    assert client.post(act, json={}).status_code == 422
    stranger = {"Origin": "http://evil.test"}
    assert client.post(act, json={}, headers=stranger).status_code == 403
    assert client.get(f"{told.at}/runs", headers={"Host": "evil.test"}).status_code == 403
    assert client.post(act, data="{}").status_code == 415


def test_a_server_that_is_only_looked_at_does_no_act(served, told):
    _, client = served
    assert client.get(f"{told.at}/runs").status_code == 200
    body = {"edits": [{"create": {"tag": "x"}}]}
    assert client.post(f"{told.at}/acts/edit", json=body).status_code == 403


def test_the_end_of_the_server_stops_its_acts(served):
    client, _ = served
    stop = threading.Event()

    def carry_out(act):
        act.cancelled_by(stop.set)
        assert stop.wait(60)
        raise KeyboardInterrupt

    with client:
        mount = next(route for route in client.app.routes if route.path == API)
        act = mount.app._ongoing.start("cluster", "Ada", carry_out)
    assert stop.wait(60)
    assert act.cancelled
