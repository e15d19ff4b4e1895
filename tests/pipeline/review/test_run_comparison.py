"""Comparing runs with each other, with tags and with folders: asset, command, API, pages."""

import dataclasses
import itertools
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from markupsafe import escape
from sklearn import metrics

from panoptic_assets.cli.main import main
from panoptic_assets.corpus.properties import write_properties
from panoptic_assets.review import agreement as core
from panoptic_assets.review.comparison_pages import GroupView, flow, heat_map, page_name
from panoptic_assets.review.comparisons import compare
from panoptic_assets.review.sides import Sides, chosen_sides
from panoptic_assets.spec.languages import Language
from resources.errors import InputError, text_of
from resources.schemas import SCHEMAS
from tests.workbench import bench_of, data_version, metadata

HOSTILE = "<img src=x onerror=\"document.title='owned'\" '\u202egpj"
HOSTILE_PROPERTY = "Motif</title><script>document.title='owned'</script>\u202e" + "é" * 100
LONG = "é" * 120 + "/" + "x" * 170


@pytest.fixture(scope="module")
def compared_folder(embedded_folder, once):
    """The sample with four runs, one of them divided, saved tags, and a property with odd names."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        bench = bench_of(folder)
        animals = {"files": {"pattern": "animals/*"}}
        bench.make("clustering", "greek", method={"kmeans": {"nb_clusters": 6}})
        bench.make("clustering", "birch", method={"birch": {"nb_clusters": 5}}, seed=3)
        bench.make("clustering", "dense", method={"hdbscan": {"min_cluster_size": 4}})
        bench.make("clustering", "beasts", method={"kmeans": {"nb_clusters": 3}}, scope=animals)
        tools = {"files": {"pattern": "tools/*"}}
        bench.make("clustering", "tools", method={"kmeans": {"nb_clusters": 2}}, scope=tools)
        bench.make("nested_clustering", "greek/5", method={"kmeans": {"nb_clusters": 2}})
        ids = sorted(bench.read.files()["image_id"].to_pylist())
        edits = [
            {"create": {"tag": "a", "property": "Sujet"}},
            {"create": {"tag": "a > b", "property": "Sujet"}},
            {"create": {"tag": HOSTILE, "property": "Sujet"}},
            {"assign": {"tag": "a", "images": ids[:20], "property": "Sujet"}},
            {"assign": {"tag": "a > b", "images": ids[10:30], "property": "Sujet"}},
            {"assign": {"tag": HOSTILE, "images": ids[28:60], "property": "Sujet"}},
        ]
        bench.make("tags", edits=edits)

    return once("compared", write)


@pytest.fixture
def shared(compared_folder):
    """To read only."""
    return bench_of(compared_folder)


@pytest.fixture
def own(compared_folder, tmp_path):
    """To do with as a test likes."""
    return bench_of(shutil.copytree(compared_folder, tmp_path / "own"))


@pytest.fixture
def hostile(own):
    """With a property whose name is a title, a link and the name of a file, compared."""
    ids = own.read.files()["image_id"].to_pylist()
    named = {"tag": "\"' <b", "property": HOSTILE_PROPERTY}
    own.make("tags", edits=[{"create": named}, {"assign": named | {"images": ids[:40]}}])
    own.make("run_comparison", runs=["greek", "property:Sujet", f"property:{HOSTILE_PROPERTY}"])
    return own


EXISTING = "beasts, birch, dense, greek, greek/5, property:Sujet, tools, folders."


def command(bench, *arguments):
    """What a command prints, within this process; InputError when it refuses."""
    answer = CliRunner().invoke(main, ["--project", str(bench.project.folder), *arguments])
    assert answer.exit_code == 0, answer.output
    return answer.output


def refused_command(bench, *arguments):
    answer = CliRunner().invoke(main, ["--project", str(bench.project.folder), *arguments])
    assert answer.exit_code == 2
    return answer.output.strip()


def labels_of(bench, key):
    rows = bench.read.assignments(key)
    return dict(zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True))


def folders_of(bench):
    """The folder of each image, of copies the first by path."""
    found = {}
    for row in sorted(bench.read.files().to_pylist(), key=lambda row: row["path"]):
        found.setdefault(row["image_id"], row["path"].rpartition("/")[0])
    return found


def page(bench, name):
    return (bench.project.reports / "comparison" / name).read_text(encoding="utf-8")


# What can be compared


def test_two_runs_are_compared_on_the_images_that_both_have(shared):
    """D57: a run of the corpus and a run of a part of it; the figures are scikit-learn's."""
    found = shared.read.compare("greek", "beasts")
    greek, beasts = labels_of(shared, "greek"), labels_of(shared, "beasts")
    common = sorted(greek.keys() & beasts.keys())
    assert (found["nb_common"], found["nb_only_b"]) == (len(common), 0)
    assert found["nb_only_a"] == len(greek) - len(common) > 0
    one, two = ([side[image_id] for image_id in common] for side in (greek, beasts))
    assert found["counted"]["adjusted_rand"] == pytest.approx(metrics.adjusted_rand_score(one, two))
    table = found["contingency"].to_pylist()
    assert sum(row["nb_images"] for row in table) == len(common)
    for row in table:
        pairs = zip(one, two, strict=True)
        assert sum(pair == (row["a"], row["b"]) for pair in pairs) == row["nb_images"]


def test_a_run_is_equal_to_itself_but_is_not_compared_with_it(shared):
    side = Sides(shared.store).get("greek")
    found = compare(side, dataclasses.replace(side, key="again")).result.counted
    assert (found.adjusted_rand, found.variation_of_information, found.nb_moved) == (1.0, 0.0, 0)
    with pytest.raises(InputError) as caught:
        shared.read.compare("greek", "greek")
    assert str(caught.value) == "'greek' is named twice: a comparison is of two things."


def test_the_ground_truth_can_be_the_folders(shared):
    """D57."""
    found = shared.read.compare("greek", "folders")
    greek, truth = labels_of(shared, "greek"), folders_of(shared)
    one, two = [greek[image_id] for image_id in truth], list(truth.values())
    expected = metrics.adjusted_mutual_info_score(one, two)
    assert found["counted"]["adjusted_mutual_information"] == pytest.approx(expected)
    assert found["b"]["quality"] is None
    assert "animals/fish" in found["contingency"]["b"].to_pylist()


def test_of_several_tags_the_deepest_counts_and_images_of_several_are_left_out(shared):
    side = Sides(shared.store).get("property:Sujet")
    ids = sorted(shared.read.files()["image_id"].to_pylist())
    found = {}
    for image_id, label in zip(side.image_ids.to_pylist(), side.labels, strict=True):
        found.setdefault(side.groups[label].name, []).append(image_id)
    assert found == {"a": ids[:10], "a > b": ids[10:28], HOSTILE: ids[30:60]}
    [note] = side.notes
    assert text_of(note) == (
        "2 images have several tags of 'Sujet', none above another: they are in no one class, and "
        "are left out."
    )


def test_tags_of_the_file_of_metadata_are_a_side_too(own):
    ids = sorted(own.read.files()["image_id"].to_pylist())
    rows = [
        {"image_id": image_id, "property": "motif", "type": "multi_tags", "tags": tags}
        for image_id, tags in zip(
            ids[:5], [["x"], ["x", "x > y"], ["z"], ["x", "z"], ["z"]], strict=True
        )
    ]
    write_properties(own.store, pa.Table.from_pylist(rows, schema=SCHEMAS["property_values"]))
    side = Sides(own.store).get("property:motif")
    assert side.image_ids.to_pylist() == [ids[0], ids[1], ids[2], ids[4]]
    assert [side.groups[label].name for label in side.labels] == ["x", "x > y", "z", "z"]


def test_the_remainder_of_saved_tags_is_a_remainder(own):
    own.make("saved_clustering", "dense")
    own.make("tags")
    found = own.read.compare("dense", "property:Clustering")
    remainder = found["a"]["nb_remainder"]
    assert remainder == found["b"]["nb_remainder"] > 0
    assert found["counted"]["adjusted_rand"] == 1.0
    assert found["left_out"]["nb_images"] == 253 - remainder


def test_a_depth_of_two_compares_with_what_was_divided_again(shared):
    side = Sides(shared.store, depth=2).get("greek")
    places = shared.read.places("greek")
    named = [f"greek/{side.groups[label].name}" for label in side.labels]
    assert named == places["node"].to_pylist()
    flat = Sides(shared.store).get("greek")
    assert [group.name for group in flat.groups] == ["0", "1", "2", "3", "4", "5"]
    assert [group.name for group in side.groups] == ["0", "1", "2", "3", "4", "5/0", "5/1"]


def test_a_divided_node_is_a_side(shared):
    found = shared.read.compare("greek/5", "birch")
    assert found["a"]["kind"] == "node"
    assert found["nb_common"] == len(labels_of(shared, "greek/5"))
    assert found["nb_only_a"] == 0


def test_a_stale_clustering_is_named_and_left_out_of_its_run(own):
    own.make("clustering", "greek", method={"kmeans": {"nb_clusters": 4}}, replace=True)
    own.make("clustering", "greek", method={"kmeans": {"nb_clusters": 6}}, seed=8, replace=True)
    assert own.read.compare("greek/5", "birch")["a"]["status"] == "stale"
    deep = own.read.compare("greek", "birch", depth=2)["a"]
    assert deep["notes"] == ["greek/5 is stale, and is left out."]
    assert "/" not in "".join(
        name for name in own.read.compare("greek", "birch", depth=2)["contingency"]["a"].to_pylist()
    )
    assert "greek/5 is stale: the clustering above it" in command(
        own, "compare", "greek/5", "birch"
    )


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (("greek", "grek"), f"There is no clustering 'grek'. What can be: {EXISTING}"),
        (("greek", "greek/77"), f"There is no clustering 'greek/77'. What can be: {EXISTING}"),
        (
            ("greek", "property:Sujets"),
            f"There is no property 'Sujets' that has tags. What can be: {EXISTING}",
        ),
        (("greek", "../x"), f"'../x' is nothing that can be compared. What can be: {EXISTING}"),
        (
            ("beasts", "tools"),
            "beasts (54 images) and tools (33 images) have no image in common: compare runs whose "
            "scopes overlap.",
        ),
        (("folders", "folders"), "'folders' is named twice: a comparison is of two things."),
    ],
)
def test_what_cannot_be_compared_is_refused_with_one_line(shared, sides, message):
    with pytest.raises(InputError) as caught:
        shared.read.compare(*sides)
    assert str(caught.value) == message
    assert refused_command(shared, "compare", *sides) == f"Error: {message}"


def test_a_property_that_is_no_tag_cannot_be_compared(own):
    ids = own.read.files()["image_id"].to_pylist()
    rows = [{"image_id": ids[0], "property": "price", "type": "number", "number": 3.0}]
    write_properties(own.store, pa.Table.from_pylist(rows, schema=SCHEMAS["property_values"]))
    with pytest.raises(InputError, match="'price' is of type number, and only tags can be comp"):
        own.read.compare("greek", "property:price")


def test_a_project_without_runs_says_what_to_do(bench):
    expected = (
        "A comparison needs two things to compare, and there is no run yet: compute another run "
        "(`panoptic-assets cluster KEY`), or compare with `folders` or a `property:NAME`."
    )
    assert bench.refused("run_comparison") == expected
    assert refused_command(bench, "compare") == f"Error: {expected}"
    one = "there is only folders: compute"
    assert one in bench.refused("run_comparison", against="folders")


# What differs


def test_the_parameters_that_differ_are_named(shared):
    """D42, D56: what was asked for, what was read, with which versions."""
    found = {row["name"]: row for row in shared.read.compare("greek", "birch")["differences"]}
    assert (found["seed"]["a"], found["seed"]["b"]) == ("0", "3")
    assert (found["method.kmeans.nb_clusters"]["a"], found["method.kmeans.nb_clusters"]["b"]) == (
        "6",
        None,
    )
    assert found["method.birch.threshold"]["a"] is None
    assert "features" not in found
    scoped = {row["name"] for row in shared.read.compare("greek", "beasts")["differences"]}
    assert {"scope.files.pattern", "images.in_scope", "vectors.mini.sha256"} <= scoped


def test_the_leaderboard_has_every_root_run_the_nearest_to_the_truth_first(shared):
    """D57: quality from the records, and agreement with a ground truth."""
    rows = shared.read.leaderboard("folders")
    assert {row["key"] for row in rows} == {"greek", "birch", "dense", "beasts", "tools"}
    values = [row["adjusted_rand"] for row in rows]
    assert values == sorted(values, reverse=True)
    [greek] = [row for row in rows if row["key"] == "greek"]
    info = shared.read.run_info("greek")
    assert greek["silhouette"] == info["quality"]["silhouette"]
    assert greek["cpu_seconds"] == info["usage"]["cpu_seconds"]
    both = shared.read.compare("greek", "folders")["counted"]
    assert greek["adjusted_rand"] == both["adjusted_rand"]
    assert greek["adjusted_mutual_information"] == both["adjusted_mutual_information"]
    plain = shared.read.leaderboard()
    silhouettes = [row["silhouette"] for row in plain]
    assert silhouettes == sorted(silhouettes, reverse=True)
    assert "adjusted_rand" not in plain[0]


def test_the_leaderboard_leaves_remainders_out_when_asked(shared):
    [dense] = [
        row
        for row in shared.read.leaderboard("folders", remainder="left_out")
        if row["key"] == "dense"
    ]
    both = shared.read.compare("dense", "folders")["left_out"]
    assert dense["nb_common"] == both["nb_images"] < 253
    assert dense["adjusted_rand"] == both["adjusted_rand"]


# The asset


def test_the_asset_compares_all_pairs_and_tells_them_at_a_glance(own):
    result = own.run("run_comparison", against="folders")
    shown = metadata(result, "run_comparison")
    assert (shown["nb_runs"], shown["nb_pairs"]) == (6, 15)
    keys, pairs, _ = own.read.pairs(against="folders")
    known = [value for value in pairs.values() if value is not None]
    assert shown["mean_adjusted_rand"] == pytest.approx(np.mean(known))
    assert shown["report"] == "/panoptic/-/compare"
    assert len(str(shown)) < 50_000
    assert keys[-1] == "folders"
    assert f"{pairs['birch', 'greek']:.2f}" in shown["comparison"]
    assert "(/panoptic/-/compare?a=birch&b=greek)" in shown["comparison"]
    assert shown["leaderboard"].count("\n") == 6
    again = own.run("run_comparison", against="folders")
    assert data_version(again, "run_comparison") == data_version(result, "run_comparison")
    own.make("clustering", "birch", replace=True)  # the same answer, in another time
    again = own.run("run_comparison", against="folders")
    assert data_version(again, "run_comparison") == data_version(result, "run_comparison")
    other = own.run("run_comparison", runs=["greek", "birch"])
    assert data_version(other, "run_comparison") != data_version(result, "run_comparison")
    assert metadata(other, "run_comparison")["nb_pairs"] == 1


def test_many_runs_are_capped_and_the_choice_is_told(own, monkeypatch):
    monkeypatch.setattr("panoptic_assets.review.sides.MOST_SIDES", 2)
    sides = Sides(own.store)
    found, notes = chosen_sides(sides, [], "")
    assert text_of(notes[0]) == (
        "The 2 newest of 5 runs are compared with each other; name others to see them. The "
        "leaderboard has all."
    )
    newest = sorted(
        (run for run in own.read.runs() if "/" not in run["key"]),
        key=lambda run: run["finished_at"],
        reverse=True,
    )
    assert [side.key for side in found] == [run["key"] for run in newest[:2]]


def test_a_run_that_shares_no_image_with_any_other_is_named_and_not_in_the_table(own):
    for key in ("greek", "birch", "dense"):
        own.store.replace("records", own.store.read("records").slice(0, 0), f"run_key = '{key}'")
    animals = {"files": {"pattern": "animals/fish/*"}}
    own.make("clustering", "fish", method={"kmeans": {"nb_clusters": 2}}, scope=animals)
    shown = metadata(own.run("run_comparison"), "run_comparison")
    assert shown["nb_runs"] == 2
    assert "tools has no image in common with any other" in shown["notes"].replace("\\", "")


def test_bad_configuration_is_refused_before_anything_is_written(own):
    for config, said in (
        ({"runs": ["greek", "nothing"]}, "There is no clustering 'nothing'"),
        ({"depth": 0}, "depth: input should be greater than or equal to 1"),
        ({"runs": ["greek"]}, "there is only greek"),
        ({"against": "property:"}, "There is no property ''"),
    ):
        assert said in own.refused("run_comparison", **config)
    assert not (own.project.reports / "comparison").exists()


# The command


def test_the_command_prints_figures_differences_matches_and_moves(shared):
    found = shared.read.compare("greek", "dense")
    told = command(shared, "compare", "greek", "dense")
    assert "253 common images; only in greek: 0, only in dense: 0" in told
    both = found["counted"], found["left_out"]
    rands = [f"{measures['adjusted_rand']:.3f}" for measures in both]
    assert re.search(rf"ARI +{rands[0]} +{rands[1]}", told)
    bits = [f"{measures['variation_of_information']:.3f}" for measures in both]
    assert re.search(rf"variation of information \(bits\) +{bits[0]} +{bits[1]}", told)
    assert "method.hdbscan.min_cluster_size" in told
    best = found["matched"][0]
    assert re.search(rf"{best['a']} +{best['b']} .*{best['jaccard']:.2f}", told)
    assert " moved from " in told


def test_the_command_without_sides_prints_all_pairs_and_the_leaderboard(shared):
    told = command(shared, "compare", "--against", "folders")
    _, pairs, _ = shared.read.pairs(against="folders")
    assert f"{pairs['greek', 'folders']:.3f}" in told
    assert "ARI to it" in told
    assert "(greek" not in told
    assert f"{shared.read.run_info('greek')['quality']['silhouette']:.3f}" in told


def test_the_command_writes_the_pages_when_asked_and_refuses_before_dagster(own):
    told = command(own, "compare", "greek", "birch", "--report")
    assert "run_comparison" in told
    assert (own.project.reports / "comparison" / "greek--birch.html").is_file()
    line = refused_command(own, "compare", "greek", "no-such", "--report")
    assert line.startswith("Error: There is no clustering 'no-such'.")


# The pages


def test_the_page_of_a_pair_shows_figures_pictures_and_links_what_it_names(own):
    (own.project.reports / "runs" / "greek").mkdir(parents=True)
    (own.project.reports / "runs" / "greek" / "index.html").write_text("a report")
    own.make("run_comparison", runs=["greek", "dense"])
    text = page(own, "greek--dense.html")
    found = own.read.compare("greek", "dense")
    for measures in (found["counted"], found["left_out"]):
        assert f"{measures['adjusted_rand']:.3f}" in text
        assert f"{measures['variation_of_information']:.3f}" in text
    assert 'href="../runs/greek/index.html"' in text
    assert "runs/dense" not in text
    assert text.count(' class="differs"') == 2 * len(found["differences"])
    moved = found["moved"].num_rows
    assert f"{moved:,} images are in a matched cluster" in text
    shown = re.findall(r'src="\.\./(thumbnails/[^"]+)"', text)
    assert 0 < len(shown) <= moved
    assert all((own.project.reports / path).is_file() for path in shown)
    assert (
        text.count("<img") == text.count('loading="lazy"') == len(re.findall(r'alt="[^"]+', text))
    )
    matches = re.findall(r'<td class="h\d match">(\d+)</td>', text)
    assert sorted(map(int, matches)) == sorted(row["nb_both"] for row in found["matched"])
    assert text.count("<path ") == found["contingency"].num_rows


def test_pages_are_written_in_french_when_asked(own):
    first = own.run("run_comparison", runs=["greek", "dense"])
    second = own.run("run_comparison", runs=["greek", "dense"], language="fr")
    text = page(own, "greek--dense.html")
    assert '<html lang="fr">' in text
    rand = own.read.compare("greek", "dense")["counted"]["adjusted_rand"]
    assert f"{rand:.3f}".replace(".", ",") in text
    assert data_version(first, "run_comparison") != data_version(second, "run_comparison")


def test_the_index_links_every_pair_and_lists_every_run(own):
    own.make("run_comparison", against="folders")
    text = page(own, "index.html")
    links = set(re.findall(r'href="([a-z-]+\.html)"', text)) - {"index.html"}
    there = {path.name for path in (own.project.reports / "comparison").glob("*--*.html")}
    assert links == there
    first_page = (own.project.reports / "index.html").read_text(encoding="utf-8")
    assert 'href="comparison/index.html"' in first_page
    assert 'href="../index.html"' in text
    assert len(links) == 14  # of 15 pairs, two runs share no image
    assert "no image in common" in text
    assert text.count('<td class="number rank">') == 5


def test_the_images_that_move_in_the_most_pairs_are_shown_first(own):
    """D58: what runs agree on least."""
    runs = ["greek", "birch", "dense"]
    shown = metadata(own.run("run_comparison", runs=runs), "run_comparison")
    counts = {}
    for one, other in itertools.combinations(runs, 2):
        for image_id in own.read.compare(one, other)["moved"]["image_id"].to_pylist():
            counts[image_id] = counts.get(image_id, 0) + 1
    expected = sorted(counts, key=lambda image_id: (-counts[image_id], image_id))[:24]
    text = page(own, "index.html")
    assert re.findall(r'src="[^"]*/([0-9a-f]{64})\.webp"', text) == expected
    assert text.count("<figcaption>") == len(expected)
    assert shown["contact_sheet"].startswith("![contact sheet](data:image/webp;base64,")


def test_hostile_names_are_shown_as_text(hostile):
    own = hostile
    written = list((own.project.reports / "comparison").iterdir())
    assert len(written) == 4
    for path in written:
        assert path.name.isascii()
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"<script[^>]*>", text) == re.findall(r"<script src=[^>]*>", text)
        assert "<img src=x" not in text
        assert text.count("</title>") == 1 + text.count("<path ") + text.count("<g><title>")
    shown = page(own, page_name("greek", "property:Sujet"))
    assert str(escape(HOSTILE)) in shown
    told = command(own, "compare", "greek", "property:Sujet")
    assert "\u202e" not in told
    assert "\\u202e" in told


def test_nothing_of_a_hostile_name_runs_in_a_browser(hostile):
    chromium = pytest.importorskip("playwright.sync_api")
    with chromium.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        except chromium.Error as error:
            pytest.skip(f"No Chromium: {error}")
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        faults = []
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        for path in (hostile.project.reports / "comparison").iterdir():
            tab.goto(path.as_uri())
            assert tab.title() != "owned"
            assert tab.evaluate("document.querySelectorAll('script:not([src])').length") == 0
            assert tab.evaluate("document.documentElement.scrollWidth") == 390
        browser.close()
    assert faults == []


@pytest.mark.parametrize(
    "key",
    ["../../x", "a/b", "A", "x" * 300, LONG, HOSTILE, "property:été", "", "a--b", "..", "con"],
)
def test_the_name_of_a_page_is_one_plain_part_of_a_path(key):
    name = page_name("greek", key)
    assert re.fullmatch(r"greek--[A-Za-z0-9.-]+\.html", name)
    assert len(name) < 160
    assert name != page_name("greek", f"{key}x")


def test_pairs_that_a_disk_or_a_separator_could_mix_up_have_names_of_their_own():
    keys = ["a", "A", "a--b", "a-b", "b", "b--c", "c", "a/b", "a b", "é", "e"]
    names = [page_name(one, two).lower() for one in keys for two in keys if one != two]
    assert len(set(names)) == len(names)


def test_a_picture_of_many_clusters_is_capped_and_says_so():
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 100, 3000), generator.integers(0, 90, 3000)
    sides = core.Labeling(a, np.zeros(100, bool)), core.Labeling(b, np.zeros(90, bool))
    result = core.compare_labelings(*sides)
    part = core.largest_part(result.table, result.counted.matched, 60)
    names = [str(n) for n in range(61)]
    groups = [GroupView(name) for name in names]
    heat = heat_map(groups, groups, part.counts, part.nb_matched)
    assert len(heat.rows) == len(heat.columns) == 61
    assert sum(cell.count for row in heat.rows for cell in row.cells) == 3000
    assert all(0 <= cell.level <= 9 for row in heat.rows for cell in row.cells)
    drawn = flow(names, names, part.counts, part.nb_matched, Language())
    assert len(drawn.bars) == 122
    for bar in drawn.bars:
        assert bar.y >= 0
        assert bar.y + bar.height <= drawn.height
