"""Undoing acts of every kind, doing them again, and the history of them."""

import os
import random

import dagster as dg
import pytest

from panoptic_assets.clustering import table as clustering_tables
from panoptic_assets.clustering.mark_log import read_marks
from panoptic_assets.labels import labelling
from panoptic_assets.labels.config import LabelsConfig
from panoptic_assets.labels.naming import Suggestion
from panoptic_assets.labels.table import clusters_to_label, stored_labels, write_labels
from panoptic_assets.orchestration import insides
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.orchestration.instance import instance_to_read
from panoptic_assets.project import Project
from panoptic_assets.spec.marks import labels_due
from panoptic_assets.upkeep import removing, setting_policies, undoing
from panoptic_assets.upkeep.changes import undo_acts
from resources.engine import LocalEngine
from resources.errors import InputError
from resources.project_folder import dagster_home
from tests.commands import refused, run
from tests.workbench import resources_of


@pytest.fixture
def bench(vectors_bench):
    """A small project with vectors, for acts without Dagster."""
    return vectors_bench


@pytest.fixture
def project(bench):
    """The same, for acts by Dagster's runs; what they say is not shown."""
    return Project(bench.project.folder, author="Ada")


def kmeans(number):
    return {"method": {"kmeans": {"nb_clusters": number}}}


def context_of(bench):
    return Context(
        **resources_of(bench.project), engine=LocalEngine(), dagster_run_id="0" * 8, author="Ada"
    )


def label(bench, key, word):
    """Do what `cluster_labels` does with what a labeller has found."""
    context = context_of(bench).now()
    clusterings = clustering_tables.Clusterings(context.store, key)
    clusters = clusters_to_label(clusterings, key)
    config = LabelsConfig()
    plan = labelling.LabelsPlan(context, key, config, clusterings, clusters, naming=None)
    found = [Suggestion(cluster.node, f"{word} {cluster.node}") for cluster in clusters]
    labelling.store(labelling.LabelledClusters(plan, found))


def take_back(bench, act="", redo=False):
    given = {"redo": redo} | ({"act": act} if act else {})
    return undoing.store(undoing.prepare(context_of(bench).now(), "", given))


def _history(bench):
    return undoing.history(bench.store, bench.read.registry.run_bytes, {})


def choose(bench, key, policy):
    """Do what the job `set_policy` does."""
    given = {"key": key, "refresh": policy}
    setting_policies.store(setting_policies.prepare(context_of(bench).now(), "", given))


def seen(project):
    """All that a reader sees of runs: clusterings, clusters, who is where, labels, policies."""
    found = {row["key"]: row for row in project.runs()}
    roots = [key for key in found if "/" not in key]
    return {
        "runs": found,
        "clusters": {key: project.clusters(key).to_pylist() for key in found},
        "places": {key: project.places(key).to_pylist() for key in roots},
        "labels": {key: project.labels(key).to_pylist() for key in roots},
        "status": project.status()["staleness"],
        "policies": {key: project.policy(key) for key in roots},
        "tags": project.tags(),
    }


def told(project, asset, key):
    """The data version that Dagster tells last, and whether it knows the partition."""
    family = "nodes" if "/" in key else "runs"
    with instance_to_read(dagster_home(project.layout)) as instance:
        asked = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[key])
        records = instance.fetch_materializations(asked, limit=1).records
        version = insides.version_of(records[0]) if records else None
        return version, key in instance.get_dynamic_partitions(family)


def test_a_clustering_that_took_the_place_of_another_is_undone_to_just_that(project):
    """With what was divided below it; Dagster tells the record that counts each time."""
    project.cluster("greek", **kmeans(3))
    project.divide("greek/0", **kmeans(2))
    before, version = seen(project), project.run_info("greek")["data_version"]
    project.cluster("greek", replace=True, **kmeans(4))
    after = seen(project)
    assert after != before
    done = project.undo()
    assert (done["act"], done["done"]) == ("greek@2", "undo")
    assert seen(project) == before
    assert told(project, "clustering", "greek") == (version, True)
    project.redo()
    assert seen(project) == after
    assert told(project, "clustering", "greek")[0] == project.run_info("greek")["data_version"]
    assert [act["author"] for act in project.history()] == ["Ada"] * 5


def test_a_run_that_is_undone_is_gone_and_its_number_is_not_given_again(project):
    project.cluster("greek", **kmeans(3))
    project.undo("greek@1")
    assert project.runs() == []
    assert project.status()["staleness"] == []
    assert told(project, "clustering", "greek") == (None, False)
    with pytest.raises(InputError, match="There is no clustering 'greek'. Existing ones: none yet"):
        project.run_info("greek")
    project.cluster("greek", **kmeans(2))
    assert project.run_info("greek")["revision"] == 2
    with pytest.raises(InputError, match="because of greek@2"):
        project.redo("greek@1")


def test_labels_are_undone_to_those_that_were_there_before(bench):
    bench.make("clustering", "greek", **kmeans(3))
    label(bench, "greek", "pot")
    label(bench, "greek", "jar")
    project = bench.read
    after = project.labels("greek")
    take_back(bench)
    assert project.labels("greek")["label"].to_pylist() == [f"pot greek/{n}" for n in range(3)]
    take_back(bench, "mark-1")
    assert len(project.labels("greek")) == 0
    take_back(bench, redo=True)
    take_back(bench, redo=True)
    assert project.labels("greek") == after


def test_labels_of_a_process_that_was_killed_after_its_mark_are_written_by_reconcile(bench):
    """Until then they can be undone as if they had been written."""
    bench.make("clustering", "greek", **kmeans(3))
    label(bench, "greek", "pot")
    rows = stored_labels(bench.store, "greek")
    write_labels(bench.store, "greek", [])  # as they were before
    Project(bench.project.folder).reconcile()
    assert stored_labels(bench.store, "greek") == rows
    assert labels_due(read_marks(bench.store)) == {"greek": rows}


FILE = """\
# My vases, cut in three.
ops:
  clustering: {config: {method: {kmeans: {nb_clusters: 3}}}}   # three
"""


def test_a_policy_is_undone_to_the_byte(bench):
    file = bench.read.registry.run_file("greek")
    file.parent.mkdir(exist_ok=True)
    file.write_text(FILE)
    choose(bench, "greek", {"assign": {"most_novel": 0.1}})
    after = file.read_bytes()
    assert bench.read.policy("greek") == {"assign": {"most_novel": 0.1, "most_new": 0.5}}
    take_back(bench)
    assert file.read_text() == FILE
    take_back(bench, "mark-1", redo=True)
    assert file.read_bytes() == after


@pytest.fixture
def left_unwritten(bench, project):
    """A policy whose mark was made, and whose file could not be written, as when one is killed."""
    bench.make("clustering", "greek", **kmeans(3))
    choose(bench, "greek", {"recluster": {}})
    draft = project.registry.run_file("greek").with_name(f".greek.yaml.{os.getpid()}")
    draft.mkdir()  # where the file would be written before it takes its place
    with pytest.raises(OSError, match="Is a directory"):
        choose(bench, "greek", {"assign": {}})
    draft.rmdir()
    return project


def test_a_policy_that_was_not_written_counts_as_undone(left_unwritten):
    assert left_unwritten.policy("greek") == "recluster"
    assert [(act["text"], act["undone"]) for act in left_unwritten.history()[1:]] == [
        ("keep → recluster", False),
        ("recluster → assign", True),
    ]


@pytest.mark.parametrize("settled", ["by nobody", "by a policy", "by reconciling"])
def test_what_came_before_a_policy_that_was_not_written_can_be_undone(left_unwritten, settled):
    project = left_unwritten
    if settled == "by a policy":
        project.set_policy("greek", "keep")
        project.undo()
    elif settled == "by reconciling":
        project.reconcile()
    project.undo("mark-1")
    assert not project.registry.run_file("greek").exists()
    project.redo("mark-1")
    assert project.policy("greek") == "recluster"
    project.redo("mark-2")
    assert set(project.policy("greek")) == {"assign"}


def test_a_policy_that_somebody_puts_back_by_hand_is_undone(bench, project):
    file = bench.read.registry.run_file("greek")
    file.parent.mkdir(exist_ok=True)
    file.write_text(FILE)
    choose(bench, "greek", {"assign": {}})
    file.write_text(FILE)
    assert project.history()[-1]["undone"]
    file.write_text(FILE + "# Seen.\n")
    assert not project.history()[-1]["undone"]


def test_of_a_file_that_people_have_edited_since_only_the_policy_is_undone(bench):
    file = bench.read.registry.run_file("greek")
    file.parent.mkdir(exist_ok=True)
    file.write_text(FILE + "refresh: recluster\n")
    choose(bench, "greek", {"assign": {}})
    file.write_text(file.read_text() + "# Seen.\n")
    take_back(bench)
    assert file.read_text() == FILE + "refresh: recluster\n# Seen.\n"


def test_a_file_that_a_policy_has_made_goes_with_it(bench, project):
    bench.make("clustering", "greek", **kmeans(3))
    project.set_policy("greek", "assign")
    project.undo()
    assert not project.registry.run_file("greek").exists()


def test_what_rests_on_an_act_is_named_in_one_line(bench):
    bench.make("clustering", "greek", **kmeans(3))
    bench.make("clustering", "roman", **kmeans(2))
    bench.make("nested_clustering", "greek/0", **kmeans(2))
    bench.make("clustering", "both", method={"consensus": {"runs": ["greek", "roman"]}})
    bench.make("clustering", "part", scope={"node": {"node": "greek/1"}}, **kmeans(2))
    label(bench, "greek", "pot")
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    line = refused("undo", "greek@1", cwd=bench.project.folder)
    found = line.partition("undone: ")[2].partition(" came after")[0].split(", ")
    assert sorted(found) == [
        "both@1",
        "greek/0@1",
        "mark-1 (labels)",
        "part@1",
        "property 'Clustering' (saved tags)",
    ]


def test_what_lay_below_a_clustering_that_is_undone_comes_back_after_it(bench):
    """The message names the command that makes it possible."""
    bench.make("clustering", "greek", **kmeans(3))
    bench.make("nested_clustering", "greek/0", **kmeans(2))
    before = seen(bench.read)
    removing.store(removing.prepare(context_of(bench).now(), "", {"key": "greek/0"}))
    take_back(bench, "greek@1")
    line = refused("undo", "mark-1", cwd=bench.project.folder)
    assert "lies below greek@1, which is undone: `panoptic-assets redo greek@1` first" in line
    take_back(bench, "greek@1", redo=True)
    take_back(bench, "mark-1")
    assert seen(bench.read) == before


def test_a_retry_of_dagsters_does_not_undo_a_second_act():
    """Without an id it would find another act to be the last one, after its process died."""
    assert undo_acts.run_tags["dagster/max_retries"] == "0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["undo", "greek@7"], "There is no act 'greek@7'"),
        (["redo", "greek@1"], "greek@1 is not undone"),
        (["redo"], "Nothing is undone"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(bench, arguments, words):
    bench.make("clustering", "greek", **kmeans(3))
    assert words in refused(*arguments, cwd=bench.project.folder)


def test_edits_of_tags_are_undone_by_their_own_log(bench, project):
    bench.make("clustering", "greek", **kmeans(3))
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    before = project.tags()
    project.edit([{"rename": {"tag": "0", "to": "Vases"}}])
    done = project.undo()
    assert (done["act"], done["id"]) == ("tag-2", "tag-3")
    assert project.tags() == before
    # To undo the undoing is to do it again.
    assert project.undo("tag-3")["done"] == "redo"
    assert [tag["name"] for tag in project.tags()] == ["1", "2", "Vases"]


def test_undoing_says_by_its_name_which_tag_images_have_lost(bench, project):
    bench.make("clustering", "greek", **kmeans(3))
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    tag = project.tags()[0]
    project.untag(tag["path"], images=tag["image_ids"][:1])
    assert project.undo()["change"] == f"{tag['path']}: 1 image"


def test_commands_say_what_was_undone_and_list_what_was_done(bench):
    folder = bench.project.folder
    bench.make("clustering", "greek", **kmeans(3))
    said = run("undo", "--reason", "too coarse", cwd=folder).stdout
    assert said.startswith("Undone: greek@1, cluster of greek: kmeans: 3 clusters of 24 images")
    assert run("redo", cwd=folder).stdout.startswith("Done again: greek@1")
    lines = run("history", "--number", 2, cwd=folder).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["act", "mark-1", "mark-2"]
    assert lines[1].rstrip().endswith("too coarse")


class Reviewer:
    """Random acts on a small store, without Dagster, and what was seen before and after each."""

    def __init__(self, bench, seed):
        self.bench, self.chance = bench, random.Random(seed)
        self.around = {}
        """For each act, what was seen before and after it."""

    def act(self):
        """Do something; its id."""
        bench, chance = self.bench, self.chance
        known = clustering_tables.Clusterings(bench.store).records
        runs = [key for key in known if "/" not in key] or ["a"]
        key = chance.choice(["a", "b"])
        doing = chance.choice(["cluster", "cluster", "divide", "label", "policy", "remove"])
        if doing == "cluster" or key not in known:
            bench.make("clustering", key, replace=True, **kmeans(chance.randint(2, 5)))
        elif doing == "divide":
            bench.make("nested_clustering", f"{key}/0", replace=True, **kmeans(2))
        elif doing == "label":
            label(bench, key, str(chance.random()))
        elif doing == "policy":
            choose(bench, key, {chance.choice(["assign", "recluster"]): {}})
        else:
            given = {"key": chance.choice(runs)}
            removing.store(removing.prepare(context_of(bench).now(), "", given))
        return _history(bench)[-1].id

    def work(self, number):
        for _ in range(number):
            before = self.seen()
            acts = {act.id for act in _history(self.bench)}
            act = self.act()
            if act not in acts:  # what gives the same answer as before is none
                self.around[act] = before, self.seen()

    def seen(self):
        return seen(self.bench.read)


def test_random_acts_are_undone_one_by_one_to_what_was_there_before_each(bench):
    """And done again to what was there after each."""
    reviewer = Reviewer(bench, seed=3)
    nothing = reviewer.seen()
    reviewer.work(11)
    kinds = {act.kind for act in _history(bench)}
    assert kinds == {"cluster", "divide", "labels", "policy", "remove"}
    for act, (before, _) in reversed(reviewer.around.items()):
        assert take_back(bench).plan.act == act
        assert reviewer.seen() == before, act
    assert reviewer.seen() == nothing
    for act, (_, after) in reviewer.around.items():
        assert take_back(bench, redo=True).plan.act == act
        assert reviewer.seen() == after, act
