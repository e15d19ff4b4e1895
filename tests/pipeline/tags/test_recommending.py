"""Recommendations and search, from the tag log to the table and back."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.spec.tag_log import Tag, TagTables
from panoptic_assets.tags.recommendations import recommend, task
from resources.errors import InputError
from tests.commands import run
from tests.workbench import data_version, metadata

pytestmark = pytest.mark.usefixtures("one_mini")


def classes(bench):
    """The images of each folder of the sample, monuments as one."""
    found = {}
    for file in bench.read.files().to_pylist():
        folder = file["path"].rpartition("/")[0]
        name = "monuments" if folder.startswith("monuments/") else folder.replace("/", " > ")
        found.setdefault(name, []).append(file["image_id"])
    return found


def tagged(bench, fraction=0.7):
    """Tags of the property Sujet for some folders, with the first images of each."""
    known = classes(bench)
    chosen = {name: known[name] for name in ("animals > fish", "animals > wild", "monuments")}
    edits = []
    for name, images in chosen.items():
        given = images[: int(fraction * len(images))]
        edits.append({"create": {"tag": name, "property": "Sujet"}})
        edits.append({"assign": {"tag": name, "images": given, "property": "Sujet"}})
    bench.make("tags", edits=edits)
    return chosen


@pytest.fixture
def tagged_bench(bench):
    tagged(bench)
    return bench


def test_what_was_hidden_is_found_again(bench):
    """C14: R-precision of 11 folders of the sample, a third of each hidden, mean of five seeds."""
    stored = bench.read.vectors("mini")
    ids = stored["image_id"].to_pylist()
    vectors = np.stack(stored["vector"].to_pylist()).astype(np.float32)
    large = {name: images for name, images in classes(bench).items() if len(images) >= 8}
    assert len(large) == 11
    tags = [Tag(name, "P", name) for name in sorted(large)]
    precisions = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        hidden, pairs = {}, {}
        for name, images in sorted(large.items()):
            shuffled = generator.permutation(sorted(images)).tolist()
            cut = round(len(shuffled) / 3)
            hidden[name] = set(shuffled[:cut])
            pairs |= {(name, image): 1 for image in shuffled[cut:]}
        asked = task(TagTables(tags, pairs, ["P"]), "P", ids)
        found = recommend(vectors, asked.groups, asked.candidates, 30)
        for tag, proposals in zip(tags, found, strict=True):
            wanted = hidden[tag.tag_id]
            first = [ids[row] for row in proposals.rows[: len(wanted)]]
            precisions.append(len(wanted & set(first)) / len(wanted))
    assert np.mean(precisions) >= 0.85


def test_proposals_are_untagged_images_and_come_with_score_and_margin(tagged_bench):
    """C14, C15."""
    bench = tagged_bench
    carried = set(bench.read.image_tags("Sujet")["image_id"].to_pylist())
    result = bench.run("tag_recommendations", number=8)
    rows = bench.read.recommendations("Sujet").to_pylist()
    names = ["animals", "animals > fish", "animals > wild", "monuments"]
    assert list(dict.fromkeys(row["tag"] for row in rows)) == names
    assert [row["rank"] for row in rows if row["tag"] == "monuments"] == list(range(1, 9))
    assert not carried & {row["image_id"] for row in rows}
    for row in rows:
        assert 0 < row["score"] <= 1
        assert row["margin"] is not None
        assert (row["tagged"], row["vector_type"]) == (False, "mini")
    fish = bench.read.recommendations("Sujet", "animals > fish").to_pylist()
    assert sum("/fish/" in row["path"] for row in fish) >= 6
    shown = metadata(result, "tag_recommendations")
    assert (shown["nb_tags"], shown["nb_accepted"]) == (4, 0)
    assert "precision" not in shown
    assert "monuments" in shown["recommendations"]
    assert len(str(shown)) < 50_000


def test_the_same_tags_give_the_same_answer_and_no_commit(tagged_bench):
    bench = tagged_bench
    first = bench.run("tag_recommendations")
    version = bench.store.version("recommendations")
    again = bench.run("tag_recommendations")
    assert bench.store.version("recommendations") == version
    assert data_version(again, "tag_recommendations") == data_version(first, "tag_recommendations")
    other = bench.run("tag_recommendations", number=3)
    assert bench.store.version("recommendations") > version
    assert data_version(other, "tag_recommendations") != data_version(first, "tag_recommendations")


def test_the_proposals_of_one_property_are_made_anew_and_others_stay(tagged_bench):
    bench = tagged_bench
    image = bench.read.files()["image_id"][0].as_py()
    edits = [
        {"create": {"tag": "a", "property": "Autre"}},
        {"assign": {"tag": "a", "images": [image], "property": "Autre"}},
    ]
    bench.make("tags", edits=edits)
    bench.make("tag_recommendations", number=4)
    before = bench.read.recommendations("Autre")
    bench.make("tag_recommendations", property="Sujet", number=2)
    assert bench.read.recommendations("Autre") == before
    assert max(bench.read.recommendations("Sujet")["rank"].to_pylist()) == 2
    bench.make("tags", edits=[{"delete": {"tag": "a", "property": "Autre"}}])
    assert set(bench.read.recommendations()["property"].to_pylist()) == {"Sujet"}
    bench.make("tag_recommendations")
    assert set(bench.store.read("recommendations")["property"].to_pylist()) == {"Sujet"}


def test_what_was_judged_is_not_proposed_again_and_counts_for_the_precision(tagged_bench):
    """C14: refused pairs stay away; undone judgements count no more."""
    bench = tagged_bench
    bench.make("tag_recommendations", number=6)
    fish = {"tag": "animals > fish", "property": "Sujet"}
    proposed = bench.read.recommendations("Sujet", "animals > fish")["image_id"].to_pylist()
    edits = [
        {"accept": fish | {"images": proposed[:3]}},
        {"refuse": fish | {"images": proposed[3:4]}},
    ]
    bench.make("tags", edits=edits)
    left = bench.read.recommendations("Sujet", "animals > fish")["image_id"].to_pylist()
    assert left == proposed[4:]
    result = bench.run("tag_recommendations", number=100)
    again = bench.read.recommendations("Sujet", "animals > fish")["image_id"].to_pylist()
    assert not set(proposed[:4]) & set(again)
    shown = metadata(result, "tag_recommendations")
    assert (shown["nb_accepted"], shown["nb_refused"], shown["precision"]) == (3, 1, 0.75)
    [of_fish] = [row for row in bench.read.precision("Sujet") if row["path"] == "animals > fish"]
    assert (of_fish["accepted"], of_fish["refused"], of_fish["precision"]) == (3, 1, 0.75)
    refusal = bench.read.tag_log()[-1]["number"]
    bench.make("tags", edits=[{"undo": {"event": refusal}}])
    [of_fish] = [row for row in bench.read.precision("Sujet") if row["path"] == "animals > fish"]
    assert of_fish["precision"] == 1
    assert [row["precision"] for row in bench.read.precision("Sujet")].count(None) == 3


def test_a_saved_run_is_completed_from_its_remainder(bench):
    """C14, K8: a density method leaves a remainder; accepting takes images out of it."""
    bench.make("clustering", "dense", method={"hdbscan": {}})
    bench.make("saved_clustering", "dense")
    bench.make("tags")
    [remainder] = [tag for tag in bench.read.tags("Clustering") if tag["is_remainder"]]
    bench.make("tag_recommendations")
    rows = bench.read.recommendations("Clustering").to_pylist()
    assert rows
    assert {row["image_id"] for row in rows} <= set(remainder["image_ids"])
    assert "remainder" not in {row["tag"] for row in rows}
    best = rows[0]
    bench.make("tags", edits=[{"accept": {"tag": best["tag"], "images": [best["image_id"]]}}])
    paths = bench.read.image_tags("Clustering").to_pylist()
    assert [row["path"] for row in paths if row["image_id"] == best["image_id"]] == [best["tag"]]


def test_the_method_of_the_seeds_gives_recommendations(bench):
    """C10-C15: an automatic number, the remainder cut by force, saved, then completed."""
    bench.make("clustering", "auto", method={"kmeans": {"nb_clusters": -1}})
    bench.make("nested_clustering", "auto/remainder", method={"kmeans": {"nb_clusters": 4}})
    bench.make("saved_clustering", "auto")
    bench.make("tags")
    shown = metadata(bench.run("tag_recommendations"), "tag_recommendations")
    assert shown["nb_images"] > 0
    assert "why_none" not in shown
    rest = {tag["path"]: tag for tag in bench.read.tags("Clustering") if "remainder" in tag["path"]}
    assert len(rest) == 5
    images = {image_id for tag in rest.values() for image_id in tag["image_ids"]}
    rows = bench.read.recommendations("Clustering").to_pylist()
    assert {row["image_id"] for row in rows} <= images
    assert not {row["tag"] for row in rows} & rest.keys()
    best = rows[0]
    bench.make("tags", edits=[{"accept": {"tag": best["tag"], "images": [best["image_id"]]}}])
    paths = bench.read.image_tags("Clustering").to_pylist()
    assert [row["path"] for row in paths if row["image_id"] == best["image_id"]] == [best["tag"]]
    # What somebody named is no remainder any more.
    bench.make("tags", edits=[{"rename": {"tag": "remainder > 0", "to": "à voir"}}])
    named = set(rest["remainder > 0"]["image_ids"])
    bench.make("tag_recommendations")
    rows = bench.read.recommendations("Clustering").to_pylist()
    assert not {row["image_id"] for row in rows} & named
    assert "remainder > à voir" in {row["tag"] for row in rows}


def test_where_every_image_has_a_tag_those_of_other_tags_are_proposed_if_asked_for(bench):
    """C15: a wide group gets new images of its kind."""
    bench.make("clustering", "all")
    bench.make("saved_clustering", "all")
    bench.make("tags")
    shown = metadata(bench.run("tag_recommendations"), "tag_recommendations")
    assert "Every image carries a tag of 'Clustering', so none is left" in shown["why_none"]
    assert bench.read.recommendations("Clustering").num_rows == 0
    folder = str(bench.project.folder)
    answer = CliRunner().invoke(main, ["--project", folder, "recommend"])
    assert answer.exit_code == 0, answer.output
    assert "Every image carries a tag of 'Clustering', so none is left" in answer.output
    bench.make("tag_recommendations", include_tagged=True, number=3)
    rows = bench.read.recommendations("Clustering").to_pylist()
    assert rows and all(row["tagged"] for row in rows)
    own = {tag["tag_id"]: set(tag["image_ids"]) for tag in bench.read.tags("Clustering")}
    assert all(row["image_id"] not in own[row["tag_id"]] for row in rows)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"property": "Sujett"}, "There is no property 'Sujett' that has tags"),
        ({"vector_type": "other"}, "has a vector of type 'other'"),
        ({"vector_type": "../x"}, "'../x'"),
        ({"number": 0}, "number"),
    ],
)
def test_what_cannot_be_recommended_is_refused(tagged_bench, config, message):
    assert message in tagged_bench.refused("tag_recommendations", **config)


def test_without_tags_there_is_nothing_to_complete(bench):
    assert "There are no tags yet" in bench.refused("tag_recommendations")
    assert bench.read.recommendations().num_rows == 0
    with pytest.raises(InputError, match="There are no tags yet"):
        bench.read.precision("Sujet")


@pytest.mark.parametrize("name", ["", "Sujett"])
def test_a_property_that_there_is_not_has_no_precision(tagged_bench, name):
    for read in (tagged_bench.read.precision, tagged_bench.read.recommendations):
        with pytest.raises(InputError, match=f"There is no property '{name}'"):
            read(name)


def test_a_search_gives_what_the_scope_takes(bench):
    """The same images as `scope: {text: …}` and `scope: {similar: …}`, with their similarity."""
    found = bench.read.search(text="a fish", number=10)
    assert found.column_names == ["image_id", "path", "similarity"]
    values = found["similarity"].to_pylist()
    assert values == sorted(values, reverse=True)
    scope = {"text": {"text": "a fish", "nb_images": 10}}
    bench.make("clustering", "fish", scope=scope, method={"kmeans": {"nb_clusters": 2}})
    taken = bench.read.assignments("fish")["image_id"].to_pylist()
    assert sorted(found["image_id"].to_pylist()) == sorted(taken)
    similar = bench.read.search(similar_to="animals/fish/fish_01.jpg", min_similarity=0.3)
    assert similar["path"][0].as_py() == "animals/fish/fish_01.jpg"
    assert similar["similarity"][0].as_py() == 1
    assert min(similar["similarity"].to_pylist()) >= 0.3
    assert bench.read.search(text="a fish").num_rows == 100


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give one of the two"),
        ({"text": "a", "similar_to": "b"}, "give one of the two"),
        ({"similar_to": "no/such.jpg"}, "There is no image 'no/such.jpg'"),
        ({"text": "a fish", "min_similarity": 0.99}, "No image reaches the similarity 0.99"),
        ({"text": "a fish", "vector_type": "other"}, "'other'"),
        ({"text": "", "number": 3}, "text"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused(bench, asked, message):
    with pytest.raises(InputError, match=message):
        bench.read.search(**asked)


def test_from_a_search_to_a_tag_to_its_completion_on_the_command_line(embedded_folder, tmp_path):
    """C14: search, tag what was found, complete it, judge."""
    folder = tmp_path / "p"
    shutil.copytree(embedded_folder, folder)
    sujet = ("--property", "Sujet")
    found = run(
        "search", "--similar-to", "animals/fish/fish_01.jpg", "--number", 6, "--tag",
        "animaux > poisson été", *sujet, cwd=folder,
    )  # fmt: skip
    assert found.stdout.splitlines()[0] == "1.000  animals/fish/fish_01.jpg"
    assert len(found.stdout.splitlines()) == 6
    poisson = "animaux > poisson été"
    told = run("recommend", *sujet, "--tag", poisson, "--number", 5, cwd=folder)
    lines = told.stdout.splitlines()
    assert len(lines) == 6
    assert all(poisson in line and "/" in line for line in lines[1:])
    *accepted, event = run(
        "tag", "accept", poisson, "--best", 2, *sujet, cwd=folder
    ).stdout.splitlines()
    assert event.endswith("accept, poisson été: 2 images")
    assert [line.split()[1] in told.stdout for line in accepted] == [True, True]
    run("tag", "refuse", poisson, "tools/wrenches/wrenche_01.jpg", *sujet, cwd=folder)
    log = run("tag", "log", cwd=folder).stdout
    assert "accept" in log and "refuse" in log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search",), "give one of the two"),
        (("search", "--text", "a", "--property", "Sujet"), "add it"),
        (("tag", "accept", "x"), "one of the two"),
        (("tag", "accept", "x", "--best", 3, "--property", "Sujet"), "There is no tag 'x'"),
        (("tag", "accept", "monuments", "--best", 3, "--property", "Sujet"), "not judged yet"),
        (("recommend", "--tag", "x", "--property", "Sujet"), "There is no tag 'x'"),
        (("recommend", "--property", "Sujett"), "There is no property 'Sujett'"),
        (("recommend", "--number", 0), "number"),
    ],
)
def test_commands_that_cannot_be_done_say_so_on_one_line(tagged_bench, arguments, message):
    folder = str(tagged_bench.project.folder)
    answer = CliRunner().invoke(main, ["--project", folder, *map(str, arguments)])
    assert answer.exit_code == 2, answer.output
    [line] = answer.output.strip().splitlines()
    assert message in line
