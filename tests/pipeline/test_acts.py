"""Every act: prepared, run and stored, each once, from any door, as a run that Dagster knows."""

import dataclasses
import shutil
from collections import Counter

import dagster as dg
import pytest
from starlette.testclient import TestClient

from panoptic_assets.clustering import dividing
from panoptic_assets.corpus import ingestion
from panoptic_assets.features import embedding, neighbor_graph, projecting
from panoptic_assets.labels import labelling
from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.instance import open_instance
from panoptic_assets.orchestration.launching import CODE_LOCATION
from panoptic_assets.project import Project
from panoptic_assets.review import comparing, run_report
from panoptic_assets.serve.webserver import PanopticWebserver
from panoptic_assets.tags import editing, recommending, saving
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import dagster_home
from resources.snapshot import Snapshot
from tests.workbench import bench_of, metadata

pytestmark = pytest.mark.usefixtures("one_mini")

ACTS = {
    "images": (ingestion, "", {}),
    "embeddings": (embedding, "mini", {}),
    "neighbors": (neighbor_graph, "mini", {"k": 10}),
    "projection": (projecting, "mini/pca", {}),
    "clustering": (dividing, "roman", {"method": {"kmeans": {"nb_clusters": 4}}}),
    "nested_clustering": (dividing, "greek/0", {"method": {"kmeans": {"nb_clusters": 2}}}),
    "cluster_labels": (labelling, "greek", {"method": {"zero_shot": {"language": "fr"}}}),
    "clustering_report": (run_report, "greek", {}),
    "run_comparison": (comparing, "", {"against": "folders"}),
    "saved_clustering": (saving, "greek", {"property": "Époque"}),
    "tags": (editing, "", {"edits": [{"rename": {"tag": "0", "to": "Vases grecs"}}]}),
    "tag_recommendations": (recommending, "", {"include_tagged": True}),
}
"""For each asset, its module, and an act that is new in the project below."""

WRITERS = ("_merge", "overwrite", "append", "create", "stage", "commit", "pin", "index", "erase")


@pytest.fixture(scope="session")
def saved_folder(clustered_folder, once):
    """The sample with a run that was saved."""

    def write(folder):
        shutil.copytree(clustered_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        bench.make("neighbors", "mini")
        bench.make("saved_clustering", "greek")
        bench.make("tags")

    return once("saved", write)


@pytest.fixture
def project(saved_folder, tmp_path):
    return Project(shutil.copytree(saved_folder, tmp_path / "saved"))


@pytest.mark.parametrize("asset", ACTS)
def test_preparing_only_reads(asset, project, monkeypatch):
    """DESIGN 12: `prepare` is pure reading."""
    module, key, given = ACTS[asset]

    def written(self, *arguments, **named):
        raise AssertionError("written")

    for name in WRITERS:
        monkeypatch.setattr(LanceStore, name, written)
    plan = module.prepare(project.context.now(), key, given)
    assert isinstance(plan.context.store, Snapshot)
    assert dataclasses.is_dataclass(plan)


@pytest.mark.parametrize("asset", ACTS)
def test_an_act_is_prepared_once_and_reads_each_table_once(asset, project, monkeypatch):
    """From the request to what Dagster shows and checks; once more where it has written."""
    module, key, given = ACTS[asset]
    prepared, reads = [], Counter()
    prepare, read = module.prepare, LanceStore.read

    def counted(self, table, columns=None, where=None, version=None):
        reads[table, where, self.version(table)] += 1
        return read(self, table, columns, where, version)

    monkeypatch.setattr(module, "prepare", lambda *asked: prepared.append(1) or prepare(*asked))
    monkeypatch.setattr(LanceStore, "read", counted)
    plan = module.prepare(project.context.now(), key, given)
    project.launcher().materialize(asset, key or None, given, plan)
    assert len(prepared) == 1
    again = {found: count for found, count in reads.items() if count > 1}
    # Checks look at vectors and neighbours again: these are not held until then.
    streamed = ("vectors.", "neighbors.")
    assert {found for found in again if not found[0].startswith(streamed)} == set()


def test_a_plan_is_made_anew_when_somebody_has_written_meanwhile(project, monkeypatch):
    given = {"edits": [{"rename": {"tag": "0", "to": "Vases grecs"}}]}
    plan = editing.prepare(project.context.now(), "", given)
    Project(project.folder).edit([{"rename": {"tag": "1", "to": "Amphores"}}])
    project.launcher().materialize("tags", None, given, plan)
    assert {"Vases grecs", "Amphores"} <= {tag["name"] for tag in project.tags("Clustering")}
    assert [entry["kind"] for entry in project.tag_log()] == ["save", "rename", "rename"]


def test_what_is_refused_leaves_no_run(project):
    """A request is refused before Dagster knows of it."""
    with open_instance(dagster_home(project.layout)) as instance:
        before = instance.get_runs_count()
    refused = {
        "There is no clustering 'roman'": lambda: project.save("roman"),
        "There is no node 'greek/17'": lambda: project.divide("greek/17"),
        "made with other parameters": lambda: project.cluster("greek", seed=3),
        "there is no field tempo": lambda: project.cluster("new", tempo=3),
        "There is no tag 'nowhere'": lambda: project.edit([{"delete": {"tag": "nowhere"}}]),
        "has a vector of type 'vit-b-32'": lambda: project.cluster("new", features="vit-b-32"),
        "There is no property 'Lieu'": lambda: project.recommend(property="Lieu"),
    }
    for text, act in refused.items():
        with pytest.raises(InputError) as caught:
            act()
        assert text.casefold() in str(caught.value).casefold()
        assert len(str(caught.value).splitlines()) == 1
    with open_instance(dagster_home(project.layout)) as instance:
        assert instance.get_runs_count() == before
        assert instance.get_dynamic_partitions("runs") == []


def test_acts_return_what_they_made_and_print_nothing(project, capfd):
    """The Python face: what a notebook shows is what the act returns."""
    told, seen = [], []
    mine = Project(project.folder, told.append, lambda *step: seen.append(step))
    info = mine.cluster("roman", method={"kmeans": {"nb_clusters": 3}}, stability=2)
    assert (info["nb_clusters"], info["status"]) == (3, "current")
    assert mine.cluster("default", method="kmeans")["nb_clusters"] == 10
    assert mine.divide("roman/0", method={"kmeans": {"nb_clusters": 2}})["key"] == "roman/0"
    assert len(mine.save("roman", property="Époque")) == 5
    [event] = mine.edit([{"rename": {"tag": "0 > 1", "to": "Été", "property": "Époque"}}])
    assert (event["kind"], event["property"]) == ("rename", "Époque")
    assert mine.report("roman").is_file()
    assert mine.report_comparison("roman", "greek").is_file()
    assert mine.recommend(include_tagged=True).num_rows
    [verdict] = mine.verify("roman")[:1]
    assert (verdict["proved"], verdict["witnessed"]) == (True, True)
    assert ("subsamples", 2, 2) in seen
    assert any(line.startswith("✓ clustering roman: images 253, clusters 3") for line in told)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_runs_have_their_origin(project):
    """So they are on the timeline, on the asset's page, and can be done again there."""
    mine = Project(project.folder)
    mine.cluster("roman", method={"kmeans": {"nb_clusters": 3}})
    with open_instance(dagster_home(project.layout)) as instance:
        [run] = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "roman"}))
        assert run.job_name == "__ASSET_JOB"
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert run.asset_selection == {dg.AssetKey("clustering")}
        origin = run.remote_job_origin.repository_origin
        assert origin.get_label() == "__repository__@panoptic_assets.definitions"
        assert run.run_config["ops"] == {
            "clustering": {"config": {"method": {"kmeans": {"nb_clusters": 3}}}}
        }
        assert run.tags["panoptic/method"] == "kmeans"
        event = instance.get_latest_materialization_event(dg.AssetKey("clustering"))
        assert event.run_id == run.run_id


AGAIN = """mutation ($of: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $of) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""


def test_a_run_is_done_again_from_the_ui(project, monkeypatch):
    """*Re-execute* in Dagster's UI, of a run that Python or a command made."""
    folder = project.folder
    Project(folder).cluster("roman", method={"kmeans": {"nb_clusters": 3}})
    monkeypatch.setenv("PANOPTIC_PROJECT", str(folder))
    with (
        open_instance(dagster_home(project.layout)) as instance,
        insides.workspace(instance, CODE_LOCATION) as context,
    ):
        [run] = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "roman"}))
        client = TestClient(PanopticWebserver(context, folder, []).create_asgi_app())
        asked = {"of": {"parentRunId": run.run_id, "strategy": "ALL_STEPS"}}
        answer = client.post(
            "/graphql",
            json={"query": AGAIN, "variables": asked},
            headers={"Host": "localhost:1", "Origin": "http://localhost:1"},
        ).json()["data"]["launchRunReexecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        again = instance.get_run_by_id(answer["run"]["runId"])
        assert (again.parent_run_id, again.run_config) == (run.run_id, run.run_config)
        assert again.tags["dagster/partition"] == "roman"


def test_what_the_launchpad_runs_is_prepared_in_the_run(bench):
    """An asset without a plan makes its own."""
    made = bench.run("clustering", "greek", method={"kmeans": {"nb_clusters": 6}})
    assert metadata(made, "clustering")["nb_clusters"] == 6
