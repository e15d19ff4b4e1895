"""The command line, as a user would: in processes of their own where that makes a difference."""

import os
import shutil
import signal
import time

import click
import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import yaml

from panoptic_assets.cli.main import main
from panoptic_assets.cli.options import SCOPE_OPTIONS, scope_of
from panoptic_assets.clustering.config import METHODS
from panoptic_assets.definitions import build_defs
from panoptic_assets.orchestration.instance import open_instance, ui_lock
from panoptic_assets.project import Project
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import find
from tests.commands import Command, everything, refused, run
from tests.pictures import SAMPLE
from tests.tiny import tiny_project, write_images

BAD_KEYS = ["", "../x", "a b", "a//b", "a" * 300]


@pytest.fixture
def folder(embedded_folder, tmp_path):
    shutil.copytree(embedded_folder, tmp_path / "p")
    return tmp_path / "p"


def test_the_whole_chain_on_a_folder_of_ones_own(mini_folder, tmp_path):
    """A5, A17, A23, D17, D20: from a folder of images to saved tags, command by command."""
    images = tmp_path / "mes images été"
    shutil.copytree(SAMPLE / "tools", images)
    folder = tmp_path / "projet"
    folder.mkdir()
    assert "is a project of" in run("init", images, cwd=folder, process="anew").stdout
    shutil.copytree(mini_folder / ".panoptic" / "models", folder / ".panoptic" / "models")

    run("refresh", cwd=folder, process=True)
    given = ("--method", "kmeans", "--nb-clusters", 6)
    assert "outils/5" in run("cluster", "outils", *given, cwd=folder, process=True).stdout
    run("divide", "outils/5", "--nb-clusters", 2, cwd=folder)
    assert "Clustering" in run("save", "outils", "--author", "Zoé", cwd=folder).stdout

    listed = run("runs", cwd=folder).stdout
    assert "outils/5" in listed
    assert "current" in listed
    info = yaml.safe_load(run("run-info", "outils", cwd=folder).stdout)
    assert info["config"]["method"] == {
        "kmeans": {
            "nb_clusters": 6,
            "n_init": 10,
            "init": "k-means++",
            "max_iter": 300,
            "tol": 1e-4,
        }
    }
    assert run("clusters", "outils/5", cwd=folder).stdout.count("outils/5/") == 2
    tree = run("tags", cwd=folder, process="anew").stdout
    assert tree.index("5 (") < tree.index("0 (", tree.index("5 ("))


def test_a_run_looks_at_a_part_of_the_corpus_from_the_shell(folder):
    """E7: a list, a search, the cluster of another run; files are named from where one is."""
    (folder / "listes").mkdir()
    names = [f"tools/hammers/hammer_0{number}.jpg" for number in range(1, 8)]
    (folder / "listes" / "été.txt").write_text("\n".join(names), encoding="utf-8")
    two = ("--nb-clusters", 2)
    run("cluster", "marteaux", "--ids", "été.txt", *two, cwd=folder / "listes")
    info = yaml.safe_load(run("run-info", "marteaux", cwd=folder).stdout)
    assert info["config"]["scope"] == {"ids": {"file": "listes/été.txt"}}
    assert (info["counts"]["in_scope"], info["id_list"]["file"]) == (7, "listes/été.txt")
    search = ("--text", "un marteau", "--scope-nb-images", 12)
    answer = run("cluster", "search", *search, *two, cwd=folder)
    assert "12 images are taken for the text 'un marteau', of similarity" in answer.stdout
    run("cluster", "again", "--node", "search/1", *two, cwd=folder)
    part = (*two, "--similar-to", names[0], "--scope-min-similarity", 0.5)
    run("cluster", "near", *part, cwd=folder)
    assert Project(folder).run_info("near")["config"]["scope"] == {
        "similar": {"image": names[0], "min_similarity": 0.5}
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--files", "a/*", "--tag", "9"],
            "one scope, and --files, --tag are not one: give one of",
        ),
        (["--minimum", 3], "--minimum is none: give one of --files, --scope-property, --since"),
        (["--scope-property", "p", "--value", "x"], "There is no property 'p'"),
        (["--scope-property", "p", "--tag", "9"], "There are no tags of a property 'p'"),
        (["--since", "2024"], "None of the 253 images has a capture date"),
        (["--ids", b"\xff.txt"], "file: input should be a valid string"),
        (["--node", "mine/3"], "cannot take a cluster of its own"),
    ],
)
def test_a_scope_that_takes_nothing_is_refused_and_leaves_nothing_behind(
    folder, arguments, message
):
    before = everything(folder)
    assert message in refused("cluster", "mine", *arguments, cwd=folder)
    assert everything(folder) == before
    assert not list((folder / ".panoptic" / "dagster").rglob("*.db"))


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ({}, {}),
        ({"files": ""}, {"files": {"pattern": ""}}),
        ({"tag": "9"}, {"tag": {"path": "9"}}),
        ({"tag": "9", "scope_property": "é"}, {"tag": {"path": "9", "property": "é"}}),
        ({"until": "2024"}, {"dates": {"until": "2024"}}),
        (
            {"scope_property": "é", "value": ("a", "b")},
            {"property": {"property": "é", "values": ["a", "b"]}},
        ),
        (
            {"scope_property": "é", "since": "2024", "until": "2025"},
            {"property": {"property": "é", "since": "2024", "until": "2025"}},
        ),
        ({"ids": "a.txt"}, {"ids": {"file": "a.txt"}}),
        ({"text": "é", "scope_nb_images": 3}, {"text": {"text": "é", "nb_images": 3}}),
    ],
)
def test_options_of_a_scope_become_its_configuration(given, scope, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {name: () if name == "value" else None for name in SCOPE_OPTIONS} | given
    assert scope_of(options, tmp_path) == ({"scope": scope} if scope else {})
    assert options == {}


@pytest.mark.parametrize(
    "given",
    [
        {"files": "a", "since": "2024"},
        {"text": "a", "value": ("b",)},
        {"text": "a", "similar_to": "b"},
        {"tag": "9", "scope_property": "p", "value": ("b",)},
        {"scope_nb_images": 3},
        {"value": ("b",)},
    ],
)
def test_options_of_no_scope_or_of_two_are_refused(given, tmp_path):
    options = dict.fromkeys(SCOPE_OPTIONS) | given
    with pytest.raises(InputError, match="A run has one scope"):
        scope_of(options, tmp_path)


def test_no_option_of_a_scope_has_the_name_of_a_methods():
    parameters = {name for method in METHODS for name in method.model_fields}
    assert not parameters & SCOPE_OPTIONS.keys()


def test_a_projection_is_made_kept_and_clustered_from_the_shell(folder):
    """C2, D23, D26, D33: a refresh finds the neighbours that umap needs."""
    assert "✓ neighbors mini: images 253" in run("refresh", cwd=folder).stderr
    assert "✓ projection mini/umap: images 253, dimensions 2" in (
        run("project", "mini/umap", cwd=folder).stderr
    )
    options = ("--method", "pca", "--whiten", "--nb-dimensions", 3)
    run("project", "mini/mine", *options, cwd=folder)
    message = refused("project", "mini/mine", "--no-whiten", cwd=folder)
    assert "method.pca.whiten: True is recorded, False is asked for" in message
    made = run("cluster", "tutorial", "--features", "mini/umap", "--nb-clusters", 20, cwd=folder)
    assert "Distances between the points of a projection are distorted" in made.stdout
    assert "mini/umap" in run("runs", cwd=folder).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mini"], "is not a projection"),
        (["../x/y"], "is not a projection"),
        (["clip/umap"], "materialize `embeddings` first"),
        (["mini/umap"], "no neighbour graph yet"),
        (["mini/x", "--nb-dimensions", 0], "nb_dimensions: input should be"),
        (["mini/x", "--perplexity", 30], "there is no field method.pca.perplexity"),
    ],
)
def test_a_projection_that_cannot_be_made_is_refused_on_one_line(folder, arguments, message):
    assert message in refused("project", *arguments, cwd=folder)


def test_other_parameters_are_refused_and_replace_makes_nodes_stale(folder):
    run("cluster", "demo", cwd=folder)
    run("divide", "demo/9", "--nb-clusters", 2, cwd=folder)
    before = everything(folder)
    message = refused("cluster", "demo", "--nb-clusters", 12, cwd=folder)
    assert "method.kmeans.nb_clusters: 10 is recorded, 12 is asked for" in message
    assert "--replace" in message
    assert everything(folder) == before
    answer = run("cluster", "demo", "--nb-clusters", 12, "--replace", cwd=folder)
    assert "demo/9" in answer.stderr
    assert "stale" in run("runs", cwd=folder).stdout


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_one_line_and_exit_code_2_and_nothing_is_written(folder, tmp_path, key):
    before = everything(tmp_path)
    for command in ("cluster", "divide", "save", "run-info", "clusters"):
        refused(command, key, cwd=folder)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cluster", "a", "--nb-clusters", "0"], "ask for 1 or more, or for -1"),
        (["cluster", "a", "--nb-clusters", "9999"], "at most 253"),
        (["cluster", "a", "--batch-size", "9"], "batch_size"),
        (["cluster", "a", "--features", "clip"], "has a vector of type 'clip'"),
        (["cluster", "a", "--files", "zzz/*"], "No file matches"),
        (["divide", "a/0"], "there is no run 'a'"),
        (["save", "nothing"], "There is no clustering 'nothing'"),
        (["run-info", "nothing"], "There is no clustering 'nothing'"),
        (["clusters", "nothing"], "There is no clustering 'nothing'"),
        (["tags", "Époque"], "There is no property 'Époque'"),
        (["refresh", "--vector-type", "clip"], "There is no vector type 'clip'"),
        (["refresh", "--vector-type", "../clip"], "is not a vector type"),
        (["--project", "/nowhere", "runs"], "There is no project in /nowhere"),
        (["init", "missing"], "is not a folder"),
        (["init", "a\x1b[31m\nb"], r"a\x1b[31m\nb is not a folder"),
        (["init", b"im\xff"], "is not valid UTF-8: rename the folder"),
        (["--project", b"p\xff", "init", SAMPLE], "is not valid UTF-8: rename the folder"),
        (["save", "nothing", "--property", ""], "--property is empty: give a name"),
        (["save", "nothing", "--property", "a\x1b[31m"], "property: must be one line"),
        (["save", "nothing", "--reason", "a\nb"], "reason: must be one line"),
        (["cluster", "a", "--files", b"\xff"], "scope.files.pattern: input should be a valid str"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(folder, arguments, message):
    assert message in refused(*arguments, cwd=folder)


def test_a_project_may_be_of_a_url_whose_faults_are_one_line(tmp_path):
    said = run("init", "memory://no/such//folder", cwd=tmp_path).stdout
    assert "is a project of memory://no/such//folder." in said
    assert "memory://no/such//folder cannot be read" in refused("refresh", cwd=tmp_path)


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("foo://bar", "No object store provider found for scheme: 'foo'"),
        ("s3://", "LanceDB says: "),
        ("s3://bucket/prefix", "error sending request"),
    ],
)
def test_a_store_that_cannot_be_opened_is_named_with_the_file_that_names_it(folder, store, message):
    file = folder / ".panoptic" / "project.yaml"
    nobody = {"endpoint": "http://127.0.0.1:9", "allow_http": "true", "region": "eu-west-1"}
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(settings | {"store": store, "storage_options": nobody}))
    secrets = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    for command in ("runs", "refresh"):
        line = refused(command, cwd=folder, **secrets)
        assert f"The store {store} cannot be opened: check `store` and `storage_options` in" in line
        assert str(file) in line
        assert message in line
        assert ".rs:" not in line


@pytest.mark.parametrize("place", [".panoptic/dagster", ".panoptic/store"])
def test_a_file_where_a_folder_must_be_is_named(folder, place):
    """As a folder without permissions is, which a test that runs as root cannot make."""
    path = folder / place
    shutil.rmtree(path, ignore_errors=True)
    path.touch()
    line = refused("refresh", cwd=folder)
    assert f"{path}: File exists: move the file away that lies where a folder must be" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(folder):
    (folder / ".panoptic").chmod(0o500)
    line = refused("refresh", cwd=folder)
    (folder / ".panoptic").chmod(0o700)
    assert "Permission denied: change its permissions" in line


def test_a_full_disk_is_said_plainly_and_what_was_committed_is_kept(folder):
    """Files that may not grow fail as on a full disk, for every user."""
    for kind in ("images", "files"):
        shutil.rmtree(folder / ".panoptic" / "store" / f"{kind}.lance")
    for limit in (20, 200):  # blocks of 512 bytes: Dagster's database, then the store's thumbnails
        line = refused("refresh", cwd=folder, limits=f"-f {limit}")
        assert "cannot open its instance" in line or "failed: File too large" in line
    run("refresh", cwd=folder)
    assert Project(folder).images().num_rows == 253


def test_a_dagster_yaml_that_dagster_cannot_use_is_named_and_written_anew_once_deleted(folder):
    """Without it Dagster would send usage statistics and let several runs write at once."""
    file = folder / ".panoptic" / "dagster" / "dagster.yaml"
    for content in ("a: [", "foo: 1", "1: 1", "x"):
        file.write_text(content)
        line = refused("refresh", cwd=folder)
        assert f"Dagster cannot open its instance in {file.parent}" in line
        assert "Correct dagster.yaml there" in line
    file.unlink()
    run("refresh", cwd=folder)
    assert file.read_bytes() == (folder / "configs" / "dagster.yaml").read_bytes()


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("relative", "not an absolute path"),
        ("~/home", "not an absolute path"),
        ("{folder}/none", "has no dagster.yaml"),
        ("{folder}/a[1]", "without [, ], * and ?"),
    ],
)
def test_a_dagster_home_of_ones_own_must_be_one(folder, home, message):
    before = everything(folder)
    line = refused("refresh", cwd=folder, DAGSTER_HOME=home.format(folder=folder))
    assert message in line
    assert everything(folder) == before


def test_a_dagster_home_of_ones_own_is_used(folder, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(folder / "configs" / "dagster.yaml", home)
    run("refresh", cwd=folder, DAGSTER_HOME=str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs_count() == 4  # images, vectors, neighbours, points of the map


def test_names_reach_a_terminal_without_its_control_characters(folder):
    """A file's name may hold an escape sequence, and is then only text."""
    project = yaml.safe_load((folder / ".panoptic" / "project.yaml").read_text())
    images = folder / "im\x1b[31mages"
    shutil.copytree(SAMPLE / "tools" / "hammers", images)
    project["images"] = str(images)
    (folder / ".panoptic" / "project.yaml").write_text(yaml.safe_dump(project))
    name = next(images.rglob("*.jpg"))
    name.rename(name.with_name("a\x1b]0;title\x07\n.jpg"))
    store = LanceStore(uri=str(folder / ".panoptic" / "store"))
    for table in ("files", "images", "vectors.mini"):
        shutil.rmtree(folder / ".panoptic" / "store" / f"{table}.lance")
    shown = run("refresh", cwd=folder)
    assert store.count("files") > 0
    log = [shown, run("cluster", "a", "--nb-clusters", 2, cwd=folder)]
    log += [run("cluster", "b", "--files", "zzz", cwd=folder, expect=2), run("runs", cwd=folder)]
    images.rename(folder / "gone")
    log += [run("refresh", cwd=folder, expect=2), run("init", images, cwd=folder, expect=2)]
    printed = "".join(answer.stdout + answer.stderr for answer in log)
    assert r"im\x1b[31mages" in printed
    assert not {character for character in printed if ord(character) < 32} - {"\n"}


def test_the_tags_of_a_hand_written_log_are_shown_as_text(folder):
    run("cluster", "one", "--nb-clusters", 2, cwd=folder)
    run("save", "one", cwd=folder)
    store = LanceStore(uri=str(folder / ".panoptic" / "store"))
    tags = store.read("tags").to_pylist()
    changed = [tag | {"property": "a\x1b[2J", "name": f"b\u2028{tag['name']}"} for tag in tags]
    store.replace("tags", pa.Table.from_pylist(changed, store.read("tags").schema), "true")
    shown = run("tags", cwd=folder).stdout
    assert r"a\x1b[2J" in shown
    assert r"b\u20280" in shown
    assert "\x1b" not in shown


def test_a_terminal_that_lacks_the_letters_of_a_name_shows_their_numbers(folder):
    run("cluster", "one", "--nb-clusters", 2, cwd=folder)
    run("save", "one", "--property", "Époque", cwd=folder)
    assert r"\xc9poque" in run("tags", cwd=folder, PYTHONIOENCODING="ascii").stdout


def test_the_clusters_of_a_stale_clustering_are_shown_as_stale(folder):
    run("cluster", "demo", cwd=folder)
    run("divide", "demo/9", "--nb-clusters", 2, cwd=folder)
    assert "stale" not in run("clusters", "demo/9", cwd=folder).stdout
    run("cluster", "demo", "--nb-clusters", 12, "--replace", cwd=folder)
    assert "demo/9 (stale: " in run("clusters", "demo/9", cwd=folder).stdout
    assert "stale" not in run("clusters", "demo", cwd=folder).stdout


def test_a_run_file_that_chooses_no_method_is_refused_on_one_line(folder):
    file = folder / "configs" / "runs" / "mine.yaml"
    for method in ("kmeans", "3", "[kmeans]", "{}", "{1: {}}", "{kmeans: 3}"):
        file.write_text(f"ops: {{clustering: {{config: {{method: {method}}}}}}}")
        line = refused("cluster", "mine", "--nb-clusters", 3, cwd=folder)
        assert "method: name one choice" in line or "name of a field is text" in line


def test_outside_a_project_the_way_to_make_one_is_named(tmp_path):
    assert "panoptic-assets init FOLDER_OF_IMAGES" in refused("runs", cwd=tmp_path, process=True)
    assert list(tmp_path.iterdir()) == []


def test_real_clip_without_a_hub_names_the_ways_out(folder):
    """One option away; a hub that cannot be reached is a plain message."""
    if os.environ.get("PANOPTIC_TEST_HUB"):
        pytest.skip("a model hub is reachable")
    message = refused("refresh", "--vector-type", "vit-b-32", cwd=folder)
    assert "embedded:mini" in message
    assert "pretrained:" in message


def test_saving_twice_is_refused_or_does_nothing(folder):
    """K9: a second save is never silent."""
    run("cluster", "one", "--nb-clusters", 3, cwd=folder)
    run("cluster", "two", "--nb-clusters", 4, cwd=folder)
    run("save", "one", cwd=folder)
    assert "saved as 'Clustering' already" in run("save", "one", cwd=folder).stderr
    assert "'Clustering (2)'" in refused("save", "two", cwd=folder)
    run("save", "two", "--property", "Époque", cwd=folder)
    assert {tag["property"] for tag in Project(folder).tags()} == {"Clustering", "Époque"}


def test_a_run_saved_again_asks_which_tags_belong_to_which_clusters(folder):
    run("cluster", "greek", cwd=folder)
    assert "9 (" in run("save", "greek", "--depth", "1", cwd=folder).stdout
    run("cluster", "greek", "--nb-clusters", "14", "--replace", cwd=folder)
    assert "It is not certain which clusters" in refused("save", "greek", cwd=folder)
    assert "names no cluster" in refused("save", "greek", "--match", "9", cwd=folder)
    answer = run("save", "greek", "--min-overlap", "0.1", "--match", "9=3", cwd=folder)
    assert "Tags follow their clusters: " in answer.stderr
    assert "split: " in answer.stderr


def test_two_commands_at_once_both_do_their_work(folder):
    both = [Command("cluster", key, cwd=folder) for key in ("one", "two")]
    for command in both:
        _, errors = command.communicate(120)
        assert command.returncode == 0, errors
    assert [run["key"] for run in Project(folder).runs()] == ["one", "two"]


@pytest.fixture
def tools(empty_bench):
    """A project of a few images that wait for their vectors, and how many they are."""
    images = SAMPLE / "tools"
    return empty_bench(images).project.folder, sum(1 for _ in images.rglob("*.jpg"))


def wait_for_vectors(folder, command):
    """Until it has staged the first of them."""
    vectors = folder / ".panoptic" / "store" / "vectors.mini.lance"
    deadline = time.monotonic() + 120
    while not vectors.exists() and command.returncode is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert vectors.exists()


def test_a_command_goes_on_after_another_was_killed(tools):
    """A killed run would hold its slot of the pool, and the next command would wait for ever."""
    folder, nb_images = tools
    command = Command("refresh", "--batch-size", 8, cwd=folder)
    wait_for_vectors(folder, command)
    command.signal(signal.SIGKILL)
    command.communicate(60)
    run("refresh", cwd=folder)
    assert Project(folder).vectors().num_rows == nb_images


@pytest.fixture
def demo(demo_folder, tmp_path):
    """A copy of it, to do with as a test likes."""
    return shutil.copytree(demo_folder, tmp_path / "demo")


def test_a_command_that_there_is_not_gets_the_nearest(tmp_path):
    assert "Did you mean 'refresh'?" in run("refersh", cwd=tmp_path, expect=2).stderr


def test_a_cluster_that_was_not_divided_is_no_clustering_and_what_can_be_done_is_named(demo):
    assert "demo/5 is a cluster that was not divided" in refused("clusters", "demo/5", cwd=demo)
    assert "There is no clustering 'demo/77'" in refused("clusters", "demo/77", cwd=demo)


def test_an_edit_says_what_it_did_and_an_undo_what_it_took_back(demo):
    said = run("tag", "rename", "3", "Poissons", cwd=demo).stdout
    assert said == "Event 2: rename, 3 → Poissons\n"
    said = run("tag", "undo", cwd=demo).stdout
    assert said.startswith("Event 3: undo of event 2, rename 3 → Poissons (`panoptic-assets tag r")
    said = run("tag", "redo", cwd=demo).stdout
    assert "redo of event 2, rename 3 → Poissons (`panoptic-assets tag undo 2`" in said


def test_tags_are_merged_into_one_that_there_is(demo):
    message = refused("tag", "merge", "1", "2", "--into", "Poissons", cwd=demo)
    assert "There is no tag 'Poissons'" in message
    assert "merge into it, then rename it" in message


def test_a_refresh_names_what_it_could_not_read_and_says_when_there_is_nothing(empty_bench):
    folder = empty_bench().project.folder
    images = folder.parent / "images"
    assert "No image was found there" in run("refresh", cwd=folder).stderr
    shutil.copy(SAMPLE / "tools" / "hammers" / "hammer_01.jpg", images / "marteau.jpg")
    (images / "abîmée.jpg").write_bytes(b"no picture")
    said = run("refresh", cwd=folder).stderr
    assert "1 file could not be read, such as abîmée.jpg: " in said
    assert "abîmée.jpg" in run("diff", "0", "latest", cwd=folder).stdout


def test_two_demos_started_together_in_an_empty_folder_are_one_project(demo_folder):
    assert [run["revision"] for run in Project(demo_folder).runs()] == [1, 1, 1]
    assert LanceStore(uri=str(demo_folder / ".panoptic" / "store")).count("tag_log") == 1
    for number in range(2):
        said = (demo_folder.parent / f"said{number}.txt").read_text(encoding="utf-8")
        for expected in ("demo/9", "Clustering", "panoptic-assets ui", str(demo_folder.resolve())):
            assert expected in said


def test_the_demo_gives_the_same_answer_anywhere_and_changes_nothing_when_run_again(
    demo, mini_folder, tmp_path
):
    """K3: the same to the bit, in another folder and process, whatever the order of the files."""
    before = everything(demo)
    run("demo", cwd=demo)
    assert everything(demo) == before

    (tmp_path / "two").mkdir()
    images = tmp_path / "images"
    for file in sorted(SAMPLE.rglob("*.jpg"), key=lambda file: file.name[::-1], reverse=True):
        target = images / file.relative_to(SAMPLE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    run("init", images, cwd=tmp_path / "two")
    models = tmp_path / "two" / ".panoptic" / "models"
    shutil.copytree(mini_folder / ".panoptic" / "models", models)
    run("refresh", cwd=tmp_path / "two")
    run("cluster", "demo", cwd=tmp_path / "two")
    one, two = (Project(folder).run_info("demo")["output"] for folder in (demo, tmp_path / "two"))
    assert one == two
    assert [found["key"].count("/") for found in Project(demo).runs()] == [0, 1, 2]
    assert len(Project(demo).tags("Clustering")) == 10 + 2 + 2


def test_the_demo_of_another_installation_goes_on(folder, tmp_path):
    moved = tmp_path / "elsewhere" / "panoptic_assets" / "sample"
    shutil.copytree(SAMPLE, moved)
    file = folder / ".panoptic" / "project.yaml"
    assert str(SAMPLE) in file.read_text()
    file.write_text(file.read_text().replace(str(SAMPLE), str(moved)))
    answer = run("--project", folder, "demo", cwd=tmp_path, process="anew")
    assert f"panoptic-assets --project {folder} ui" in answer.stdout.splitlines()[-1]


def test_a_demo_that_was_changed_is_left_so_and_the_ways_out_are_named(demo):
    run("cluster", "demo", "--nb-clusters", 5, "--replace", cwd=demo)
    message = run("demo", cwd=demo, expect=2).stderr.splitlines()[-1]
    assert "run `panoptic-assets demo` in an empty folder" in message
    assert "`panoptic-assets save demo --replace`" in message
    run("save", "demo", "--replace", cwd=demo)
    run("demo", cwd=demo)


def test_a_slot_that_an_ended_run_left_taken_is_freed_and_a_running_one_waited_for(folder):
    """A run of the UI that was killed and then cancelled leaves its slot of the pool taken."""
    home = folder / ".panoptic" / "dagster"
    job = build_defs().resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("lancedb_clusterings")
        storage.claim_concurrency_slot("lancedb_clusterings", run.run_id, "clustering")
        command = Command("cluster", "one", cwd=folder)
        assert f"Waiting for the Dagster run {run.run_id}" in command.stderr.readline()
        assert command.returncode is None
        instance.report_run_canceled(run)
        _, errors = command.communicate(60)
    assert command.returncode == 0, errors
    assert "✓ clustering one" in errors


def test_an_interrupted_command_ends_without_a_stack_trace_and_can_be_run_again(tools):
    folder, nb_images = tools
    command = Command("refresh", "--batch-size", 4, cwd=folder)
    wait_for_vectors(folder, command)
    command.signal(signal.SIGINT)
    _, errors = command.communicate(60)
    assert command.returncode == 130
    assert "Interrupted" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    run("refresh", cwd=folder)
    assert Project(folder).vectors().num_rows == nb_images


@pytest.mark.parametrize("mount", [".", "disk"])
def test_a_disk_that_is_away_is_a_question_and_nothing_else_is_written(tmp_path, mount):
    """An empty mount point looks like a folder from which everything was deleted."""
    project = tiny_project(tmp_path, 10)
    images = tmp_path / "images"
    write_images(images / "disk", 8, start=50)
    run("refresh", cwd=project.folder)
    before = everything(project.folder)
    (images / mount).rename(tmp_path / "away")
    (images / mount).mkdir()
    line = refused("refresh", cwd=project.folder)
    what = "all 18 files of the corpus" if mount == "." else "the top folder 'disk' with all its 8"
    assert f"Missing from {images}: " in line and what in line
    assert "--accept-missing" in line
    now = everything(project.folder)
    assert {path: size for path, size in now.items() if "questions.lance" not in path} == before

    (images / mount).rmdir()
    (tmp_path / "away").rename(images / mount)
    assert "missing" not in run("refresh", cwd=project.folder).stderr

    shutil.rmtree(images / "disk")
    assert "missing 8" in run("refresh", "--accept-missing", cwd=project.folder).stderr
    run("refresh", cwd=project.folder)  # is not asked about again


def test_the_ui_says_what_an_older_dagster_yaml_lacks_until_it_is_brought_up(folder, tmp_path):
    def said(**variables):
        answer = run("ui", "--host", "nowhere.invalid", cwd=folder, expect=2, **variables)
        return answer.stderr.splitlines()[0]

    own = folder / ".panoptic" / "dagster" / "dagster.yaml"
    (tmp_path / "home").mkdir()
    for file in (own, tmp_path / "home" / "dagster.yaml"):
        file.write_text("telemetry: {enabled: false}\n")
    assert f"{own} lacks nux, concurrency, run_monitoring, run_retries" in said()
    assert "init --update" in said()
    assert "copy what you want" in said(DAGSTER_HOME=str(tmp_path / "home"))
    assert f"{own} has got nux, concurrency" in run("init", "--update", cwd=folder).stdout
    assert said().startswith("Error: 'nowhere.invalid' is no address")
    assert "has all that" in run("init", "--update", cwd=folder).stdout
    assert "leave the folder out" in refused("init", "--update", "images", cwd=folder)
    assert "There is no project" in refused("init", "--update", cwd=tmp_path)


def test_a_ui_that_cannot_listen_leaves_the_project_to_the_next_one(folder):
    project = find(folder)
    arguments = ["--project", str(folder), "ui", "--host", "nowhere.invalid"]
    with pytest.raises(click.ClickException, match="is no address") as kept:
        main(arguments, standalone_mode=False)
    with ui_lock(project.dagster_home).acquire(timeout=0):
        assert kept.value  # whose frames have the lock still in hand


def test_a_command_tells_what_it_did_and_nothing_of_how_dagster_did_it(folder):
    for arguments in (("cluster", "a", "--nb-clusters", 3), ("divide", "a/0", "--nb-clusters", 2)):
        answer = run(*arguments, cwd=folder, process="anew")
        assert [line for line in answer.stderr.splitlines() if not line.startswith("✓ ")] == []
    with open_instance(find(folder).dagster_home) as instance:
        texts = [
            event.message for ran in instance.get_runs() for event in instance.all_logs(ran.run_id)
        ]
    assert not [text for text in texts if "did not yield" in text]


def test_vectors_of_another_program_are_imported_and_clustered(folder):
    paths = [row["path"] for row in Project(folder).files().to_pylist()]
    rows = np.random.default_rng(0).normal(size=(len(paths), 16)).astype(np.float32)
    np.save(folder / "dino.npy", rows)
    (folder / "ids.txt").write_text("\n".join(paths), encoding="utf-8")
    arguments = ("import-vectors", "dino", "dino.npy", "--ids", "ids.txt")
    assert "images 253" in run(*arguments, "--model", "DINOv2 ViT-S", cwd=folder).stderr
    described = yaml.safe_load((folder / "configs" / "models" / "dino.yaml").read_text())
    assert described == {"vectors": "dino.npy", "ids": "ids.txt", "model": "DINOv2 ViT-S"}
    assert (
        "253 images in 4 clusters"
        in run("cluster", "greek", "--features", "dino", "--nb-clusters", 4, cwd=folder).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b", "x.npy", "--model", "m"), "is not a vector type"),
        (("x", "nothing.npy", "--model", "m"), "There is no file"),
        (("x", "x.csv", "--model", "m"), "neither a .parquet nor a .npy"),
        (("x", "x.npy", "--model", "m"), "does not say which images"),
        (("x", "x.npy", "--model", ""), "model: "),
    ],
)
def test_vectors_that_cannot_be_imported_leave_no_vector_type(folder, arguments, message):
    np.save(folder / "x.npy", np.ones((2, 2), np.float32))
    (folder / "x.csv").write_text("a")
    assert message in refused("import-vectors", *arguments, cwd=folder)
    assert not (folder / "configs" / "models" / "x.yaml").exists()


def test_a_key_of_other_vectors_takes_no_imported_ones(folder):
    np.save(folder / "x.npy", np.ones((1, 2), np.float32))
    path = Project(folder).files()["path"][0].as_py()
    (folder / "ids.txt").write_text(f"{path}\n")
    arguments = ("import-vectors", "vit-b-32", "x.npy", "--ids", "ids.txt", "--model", "m")
    assert "describes other vectors" in refused(*arguments, cwd=folder)


def test_a_contract_that_does_not_hold_is_one_line_of_the_refresh(folder):
    [*_, path] = Project(folder).files()["path"].to_pylist()
    np.save(folder / "x.npy", np.ones((1, 2), np.float32))
    (folder / "ids.txt").write_text(f"{path}\n")
    told = run("import-vectors", "x", "x.npy", "--ids", "ids.txt", "--model", "m", cwd=folder)
    [line] = [line for line in told.stderr.splitlines() if "Check" in line]
    assert line.strip() == (
        "Check every_image_embedded failed (not embedded 252). It asks: "
        "Every image that is present has a vector."
    )


def test_a_key_with_vectors_of_a_model_stays_that_models_even_without_its_file(folder):
    (folder / "configs" / "models" / "mini.yaml").unlink()
    np.save(folder / "x.npy", np.ones((1, 2), np.float32))
    (folder / "ids.txt").write_text(Project(folder).files()["path"][0].as_py())
    arguments = ("import-vectors", "mini", "x.npy", "--ids", "ids.txt", "--model", "m")
    assert "vectors of another model" in refused(*arguments, cwd=folder)
    assert not (folder / "configs" / "models" / "mini.yaml").exists()
