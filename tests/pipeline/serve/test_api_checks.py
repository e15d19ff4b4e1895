"""What an act would do, asked before it is done: its images, time, cost and key, or its refusal."""

import json
import shutil

import pytest

from panoptic_assets.project import Project
from panoptic_assets.serve.api_acts import ACT_ADDRESSES
from resources.lance import LanceStore
from tests.pipeline.serve.conftest import Client

pytestmark = pytest.mark.usefixtures("one_mini")

TEN = {"method": {"kmeans": {"nb_clusters": 10}}}


@pytest.fixture(scope="module")
def folder(told_folder, tmp_path_factory):
    return shutil.copytree(told_folder, tmp_path_factory.mktemp("checks") / "project")


@pytest.fixture(scope="module")
def client(folder):
    return Client(folder)


@pytest.fixture(scope="module")
def project(folder):
    return Project(folder)


def checked(client, act, **body):
    answer = client.post(f"{client.at}/check/{act}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client, act, **body):
    """The id of a refusal, and the field that it is about."""
    answer = client.post(f"{client.at}/check/{act}", json=body)
    assert answer.status_code == 422, answer.text
    return answer.json()["error"]["id"], answer.json().get("field")


def state(project):
    """All that a store holds, by versions."""
    return {table: project.store.version(table) for table in project.store.tables()}


ACTS = {
    "cluster": {"key": "", "config": TEN},
    "divide": {"node": "greek/1", "config": {"method": "birch"}},
    "label": {"key": "greek"},
    "save": {"key": "greek", "config": {"property": "New"}},
    "edit": {"edits": [{"rename": {"tag": "1", "to": "Forts"}}]},
    "tag": {"tag": "a > b", "scope": {"node": {"node": "greek/1"}}},
    "untag": {"tag": "1", "scope": {"node": {"node": "greek/1"}}},
    "move-tag": {"tag": "1", "to": "2", "scope": {"node": {"node": "greek/1"}}},
    "project": {"key": "mini/pca"},
    "recommend": {},
    "report": {"key": "greek"},
    "compare": {"config": {"runs": ["greek"], "against": "folders"}},
}


def test_every_act_that_is_prepared_can_be_checked_and_nothing_is_done(client, project):
    assert {act.name for act in ACT_ADDRESSES.values() if act.check} == ACTS.keys()
    before = state(project), sorted(path for path in project.folder.glob("configs/**/*"))
    for act, body in ACTS.items():
        told = checked(client, act, **body)
        assert told.keys() >= {"nb_images", "notes", "config", "seconds", "takes_long", "exists"}
    assert client.tell("acts")["rows"] == []
    assert (state(project), sorted(path for path in project.folder.glob("configs/**/*"))) == before


def test_a_check_tells_the_configuration_with_all_defaults_and_how_many_images(client):
    told = checked(client, "cluster", key="new", config={"scope": {"node": {"node": "greek/1"}}})
    assert told["config"]["method"]["kmeans"]["nb_clusters"] == 10
    assert told["config"]["features"] == "mini"
    assert told["nb_images"] == 51
    assert told["seconds"] > 0
    assert (told["takes_long"], told["exists"], told["replaces"]) == (False, False, None)


def test_images_that_are_named_leave_no_list_behind_as_long_as_nothing_is_done(client, project):
    """A page asks at each change of its form."""
    first, *others = project.images()["image_id"].to_pylist()[:5]
    body = {"key": "chosen-ones", "images": [first, *others], "without": [first]}
    config = {"method": {"kmeans": {"nb_clusters": 2}}}
    told = checked(client, "cluster", **body, config=config)
    lists = project.folder / "configs" / "selections"
    assert told["nb_images"] == 4
    assert not lists.exists()
    made = client.do("cluster", **body, config=config)
    assert len(project.assignments("chosen-ones")) == 4
    assert told["config"]["scope"] == made["config"]["scope"]
    assert len([*lists.iterdir()]) == 2


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (TEN, "kmeans-10"),
        ({"method": {"kmeans": {"nb_clusters": -1}}}, "automatic"),
        ({"method": "find_duplicates"}, "find-duplicates"),
    ],
)
def test_a_run_without_a_key_is_given_one(client, config, key):
    assert checked(client, "cluster", key="", config=config)["key"] == key


def test_a_key_that_a_removed_run_or_a_file_has_is_not_proposed(client, project):
    """The run may come back, and the file would decide what the new one is."""
    two = {"method": {"birch": {"nb_clusters": 2}}}
    client.do("cluster", key="birch-2", config=two)
    client.do("remove", key="birch-2")
    run = {"ops": {"clustering": {"config": TEN}}}
    (project.folder / "configs" / "runs" / "birch-2-2.yaml").write_text(json.dumps(run))
    assert checked(client, "cluster", key="", config=two)["key"] == "birch-2-3"


def test_what_a_run_would_replace_is_told_with_what_is_divided_below_it(client, project):
    told = checked(client, "cluster", key="greek", config={**TEN, "replace": True})
    record = project.run_info("greek")
    assert told["exists"]
    assert told["replaces"]["record_id"] == record["record_id"]
    assert told["replaces"]["nb_clusters"] == 6
    assert told["replaces"]["below"] == ["greek/0"]


def test_a_property_that_has_tags_and_one_that_has_none_are_told_apart(client):
    asked = ({"property": "Clustering"}, {"property": "Untouched"})
    assert [checked(client, "save", key="greek", config=c)["exists"] for c in asked] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("config", "error", "field"),
    [
        (
            {"method": {"kmeans": {"nb_clusters": 0}}},
            "configuration-unusable",
            "method.kmeans.nb_clusters",
        ),
        (
            {"method": {"kmeans": {"nb_clusters": "ten"}}},
            "request-unusable",
            "method.kmeans.nb_clusters",
        ),
        (
            {"method": {"hdbscan": {"max_cluster_size": 2}}},
            "configuration-unusable",
            "method.hdbscan",
        ),
        ({"seed": -1}, "configuration-unusable", "seed"),
        ({"scope": {"node": {"node": "??"}}}, "configuration-unusable", "scope.node.node"),
        (
            {"scope": {"region": {"projection": "mini/pca", "polygon": [[0, 0], [1, 0], [2]]}}},
            "configuration-unusable",
            "scope.region.polygon",
        ),
        ({"scope": {"node": {"node": "greek/99"}}}, "no-such-node", None),
        ({"features": "nowhere"}, "images-without-vectors", None),
        ({"methods": "kmeans"}, "no-such-configuration-field", None),
    ],
)
def test_a_refusal_is_that_of_the_act_and_names_the_field(client, config, error, field):
    assert refused(client, "cluster", key="x", config=config) == (error, field)
    end = client.post_act("cluster", {"key": "x", "config": config})
    assert end.json()["error"]["id"] == error


def test_a_key_that_was_made_otherwise_is_refused_until_it_may_be_replaced(client):
    assert refused(client, "cluster", key="greek", config=TEN)[0] == "made-with-other-parameters"


def test_what_a_vision_model_would_cost_is_told_before_it_is_asked(client):
    """D54: by the prices of the configuration; without them only tokens are known."""
    model = {"base_url": "http://127.0.0.1:9/v1", "nb_images": 3, "language": "fr"}
    prices = {"price_per_million_input": 1.0, "price_per_million_output": 2.0}
    priced, free = (
        checked(client, "label", key="greek", config={"method": {"vision_model": asked}})
        for asked in (model | prices, model)
    )
    assert (priced["cost"]["nb_requests"], priced["cost"]["nb_pictures"]) == (8, 24)
    assert priced["cost"]["cost"] > 0
    assert free["cost"]["cost"] is None
    assert free["cost"]["tokens"] == priced["cost"]["tokens"] > 0
    assert (priced["takes_long"], priced["seconds"]) == (True, None)


def test_a_check_reads_each_table_once(client, monkeypatch):
    """D31: a page asks while somebody types."""
    read, reads = LanceStore.read, []

    def counted(store, table, columns=None, where=None, version=None):
        reads.append((table, tuple(columns or ()), where))
        return read(store, table, columns, where, version)

    monkeypatch.setattr(LanceStore, "read", counted)
    checked(client, "cluster", key="", config={"scope": {"node": {"node": "greek/1"}}})
    assert reads
    assert len(reads) == len(set(reads))


def test_images_without_a_vector_are_told_as_a_note(client, project):
    """The last test here, since it takes the vector away."""
    [image_id] = project.exemplars("greek/2", number=1)["image_id"].to_pylist()
    project.store.erase("vectors.mini", f"image_id = '{image_id}'")
    told = checked(client, "cluster", key="x", config=TEN)
    assert told["nb_images"] == 253
    assert told["notes"] == ["Without a vector of type mini, and so in no cluster: 1 image."]
