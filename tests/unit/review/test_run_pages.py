"""The pages of a run, as a reader of HTML finds them."""

import shlex
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from panoptic_assets.review.run_map import MapPoints
from panoptic_assets.review.run_pages import PICTURES_ON_A_PAGE, write_first_page, write_run
from panoptic_assets.review.run_tree import ClusterView, RunTree
from panoptic_assets.spec.languages import Language
from panoptic_assets.spec.records import Counts, Record
from resources.errors import message
from resources.project_folder import ProjectSettings, create
from resources.report_folder import ReportFolder, page_of

HOSTILE = [
    "<script>alert(1)</script>.jpg",
    "\" onmouseover=\"alert(1)' x='.jpg",
    "../../../etc/passwd",
    "‮gpj.exe",
    "a" * 300,
    "été à Orléans — 図書館 🍌.jpg",
]


class Page(HTMLParser):
    """Elements of a page, and its text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag, name):
        return [found[name] for kind, found in self.elements if kind == tag and name in found]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def reports(tmp_path):
    (tmp_path / "images").mkdir()
    create(tmp_path / "p", ProjectSettings(images=str(tmp_path / "images")))
    return ReportFolder(folder=str(tmp_path / "p"))


def record(key="greek", method="kmeans", **more):
    now = datetime(2026, 1, 2, tzinfo=UTC)
    values = {
        "key": key,
        "run_key": "greek",
        "revision": 1,
        "config": {"method": {method: {"nb_clusters": 2}}, "features": "mini", "seed": 0},
        "inputs": [],
        "parent_record": None,
        "parent_output": None,
        "counts": Counts(in_scope=9, clustered=8, remainder=1, not_embedded=0),
        "nb_clusters": 2,
        "baseline_score": 80.0,
        "output": "0" * 64,
        "libraries": {"numpy": "2"},
        "code_version": "0",
        "git_commit": None,
        "machine": {"system": "Linux"},
        "dagster_run_id": "12345678",
        "started_at": now,
        "finished_at": now,
    }
    return Record(**values | more)


def cluster(node, rows, score=20.0, **more):
    rows = np.array(rows, np.int64)
    distances = np.linspace(0.1, 0.5, len(rows), dtype=np.float32)
    values = {
        "name": "",
        "remark": "",
        "stability": None,
        "baseline_score": 80.0,
        "certainties": None,
    }
    values |= {"clustering": None, "medoid": int(rows[0]), "method": "kmeans"} | more
    return ClusterView(
        node=node, size=len(rows), score=score, rows=rows, distances=distances, **values
    )


def tree(clusters, paths, **more):
    places = [""] * len(paths)
    for found in (below for top in clusters for below in top.walk()):
        for row in found.rows.tolist():
            places[row] = found.node
    ids = [f"{number:064x}" for number in range(len(paths))]
    shapes = [(400, 300)] * len(paths)
    return RunTree(more.get("record", record()), ids, paths, shapes, clusters, places, [])


def titled(projection):
    return message("Projection {projection}", id="map-of-projection", projection=projection)


def points(count):
    return MapPoints(titled("mini/umap"), np.arange(count), np.zeros((count, 2), np.float32), [])


def written(reports, run_tree):
    nb_pages = write_run(reports, run_tree, points(len(run_tree.image_ids)), Language())
    folder = reports.path("runs/greek")
    assert nb_pages == len(list(folder.glob("*.html")))
    return folder


def small_tree(paths=None):
    paths = paths or [f"folder/{number}.jpg" for number in range(9)]
    nested = [cluster("greek/1/0", [4, 5]), cluster("greek/1/1", [6, 7], 25.0)]
    return tree(
        [
            cluster("greek/0", [0, 1, 2, 3], name="Vases"),
            cluster("greek/1", [4, 5, 6, 7], 60.0, clustering=record("greek/1"), clusters=nested),
            cluster("greek/remainder", [8], 1000.0),
        ],
        paths,
    )


def test_clusters_come_from_the_lowest_score_and_the_remainder_last(reports):
    """A12-A14, C5, C10, K1, K2."""
    page = Page(written(reports, small_tree()) / "index.html")
    titles = [found["id"] for tag, found in page.elements if tag == "article"]
    assert titles == ["greek.0", "greek.1", "greek.remainder"]
    assert "Cluster 0 Vases" in page.words
    assert "score 20.0" in page.words
    assert "1000.0 (one image)" in page.words
    assert " -1" not in page.words


def test_the_colour_of_a_score_is_its_share_of_a_random_groups(reports):
    """A12, A15: green is alike, red as mixed as a random group of the same images."""
    page = Page(written(reports, small_tree()) / "index.html")
    heats = [
        style for tag, found in page.elements if (style := found.get("style")) and tag == "span"
    ]
    assert heats[:2] == ["--heat: 25%", "--heat: 75%"]


def test_every_node_has_a_page_with_all_its_images(reports):
    """D36, D45: look at one cluster at a time, and at each of its images."""
    folder = written(reports, small_tree())
    for node, count in (("greek/0", 4), ("greek/1", 4), ("greek/1/0", 2), ("greek/remainder", 1)):
        page = Page(folder / page_of(node))
        assert len(page.all("button", "data-id")) == count


def test_the_tree_can_be_folded_and_leads_to_every_node(reports):
    """A17, A20: nested to any depth."""
    page = Page(written(reports, small_tree()) / "index.html")
    start = page.elements.index(("nav", {"class": "tree card", "aria-label": "Tree of clusters"}))
    below = page.elements[start:]
    links = [found["href"] for tag, found in below if tag == "a"]
    assert links[:5] == [
        page_of(node)
        for node in ("greek/0", "greek/1", "greek/1/0", "greek/1/1", "greek/remainder")
    ]
    assert ("details", {"open": None}) in below


def test_a_large_cluster_has_several_pages(reports):
    count = 2 * PICTURES_ON_A_PAGE + 1
    folder = written(
        reports, tree([cluster("greek/0", range(count))], [f"{n}.jpg" for n in range(count)])
    )
    ids = [
        image_id
        for number in range(3)
        for image_id in Page(folder / page_of("greek/0", number)).all("button", "data-id")
    ]
    assert ids == [f"{number:064x}" for number in range(count)]
    assert "Images 401–401 of 401" in Page(folder / page_of("greek/0", 2)).words


def test_the_images_farthest_out_are_shown_beside_the_typical_ones(reports):
    folder = written(reports, tree([cluster("greek/0", range(9))], [f"{n}.jpg" for n in range(9)]))
    shown = Page(folder / "index.html").all("img", "alt")
    assert shown[1:7] == [f"{number}.jpg" for number in range(6)]
    assert shown[7:] == ["8.jpg", "7.jpg", "6.jpg"]


def test_commands_can_be_copied_as_they_are(reports):
    """A19, A22, D50: divide, name, save."""
    page = Page(written(reports, small_tree()) / "index.html")
    commands = [shlex.split(text) for text in page.all("button", "data-copy")]
    assert ["panoptic-assets", "divide", "greek/1", "--nb-clusters", "2"] in commands
    assert ["panoptic-assets", "label", "greek"] in commands
    assert ["panoptic-assets", "save", "greek"] in commands


def test_every_parameter_is_on_the_page_of_the_record(reports):
    """D48: select a run, see all of its parameters."""
    page = Page(written(reports, small_tree()) / "record.html")
    assert "method.kmeans.nb_clusters 2" in page.words
    assert "greek/1 revision 1" in page.words


def test_the_core_and_the_doubtful_images_of_a_consensus_are_told_apart(reports):
    """D58: what several runs agree on."""
    agreement = np.array([1.0, 0.95, 0.7, 0.4], np.float32)
    found = tree(
        [cluster("greek/0", range(4), certainties=agreement, method="consensus")],
        [f"{number}.jpg" for number in range(4)],
        record=record(method="consensus"),
    )
    folder = written(reports, found)
    assert "2 in the core, 1 doubtful" in Page(folder / "index.html").words
    words = Page(folder / page_of("greek/0")).words
    places = [
        words.index(text) for text in ("Core: ", "1.jpg", "In between", "2.jpg", "Doubtful: ")
    ]
    assert places == sorted(places)


def test_a_probability_is_no_agreement(reports):
    """What HDBSCAN says of each image is shown, but no runs agree on it."""
    certainties = np.array([1.0, 0.4], np.float32)
    shown = tree([cluster("greek/0", [0, 1], certainties=certainties)], ["0.jpg", "1.jpg"])
    folder = written(reports, shown)
    assert "in the core" not in Page(folder / "index.html").words
    words = Page(folder / page_of("greek/0")).words
    assert "probability 0.40" in words
    assert "Core" not in words


def test_an_image_whose_files_are_gone_is_named_as_missing(reports):
    folder = written(reports, tree([cluster("greek/0", [0])], [None]))
    assert f"(missing) {0:064x}" in Page(folder / page_of("greek/0")).words


def test_hostile_names_are_text_and_make_no_element_or_file(reports):
    """Names of files, labels and notes come from anywhere."""
    clusters = [
        cluster(f"greek/{n}", [n], name=name, remark=name) for n, name in enumerate(HOSTILE)
    ]
    harmless = [cluster(f"greek/{n}", [n], name="x", remark="x") for n in range(len(HOSTILE))]
    plain = written(reports, tree(harmless, ["x.jpg"] * len(HOSTILE)))
    kinds = {path.name: [tag for tag, _ in Page(path).elements] for path in plain.glob("*.html")}
    folder = written(reports, tree(clusters, HOSTILE, record=record(notes=HOSTILE)))
    for path in folder.glob("*.html"):
        page = Page(path)
        found = [tag for tag, _ in page.elements if tag not in ("div", "ul", "li")]
        assert found == [tag for tag in kinds[path.name] if tag not in ("div", "ul", "li")]
        assert not any(name.startswith("on") for _, of in page.elements for name in of)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*kinds, "map-data.js"])
    page = Page(folder / "index.html")
    assert all(" ".join(name.split()) in page.words for name in HOSTILE)


def test_what_is_between_backticks_is_code_wherever_sentences_are_shown(reports):
    """Notes, remarks and titles are written for the command line as well."""
    said = "Set `{}: <b>` first."
    clusters = [cluster("greek/0", [0], name="`name`", remark=said.format("remark"))]
    shown = tree(clusters, ["`a`.jpg"], record=record(notes=[said.format("note")]))
    write_run(reports, shown, replace(points(1), title=titled(said.format("title"))), Language())
    folder = reports.path("runs/greek")
    for name, what in (("index", "note"), ("cluster.0", "remark"), ("map", "title")):
        text = (folder / f"{name}.html").read_text(encoding="utf-8")
        assert f"Set <code>{what}: &lt;b&gt;</code> first." in text
    # A name is shown as it is.
    page = Page(folder / "cluster.0.html")
    assert "`name`" in page.words
    assert "`a`.jpg" in page.words.replace("\u200b", "")


@pytest.mark.parametrize(
    "hostile",
    [
        "`<script>alert(1)</script>`",
        "<script>`alert(1)`</script>",
        "`</code><img src=x onerror=alert(1)>`",
        "<`b`>",
        '`" onmouseover="alert(1)`',
        "`\n<b>`",
    ],
)
def test_backticks_let_no_name_become_an_element(reports, hostile):
    """Safe by default: names in notes are hostile."""

    def elements(said):
        shown = tree([cluster("greek/0", [0], remark=said)], ["a"], record=record(notes=[said]))
        write_run(reports, shown, replace(points(1), title=titled(said)), Language())
        return [
            (tag, list(given))
            for name in ("index", "cluster.0", "map")
            for tag, given in Page(reports.path("runs/greek") / f"{name}.html").elements
            if (tag, given) != ("code", {})
        ]

    assert elements(hostile) == elements("harmless")


def test_nothing_comes_from_another_host_and_no_script_is_in_a_page(reports):
    for path in written(reports, small_tree()).glob("*.html"):
        page = Page(path)
        links = [*page.all("script", "src"), *page.all("img", "src"), *page.all("link", "href")]
        assert not any(link.startswith(("http", "//")) for link in links)
        assert len(page.all("script", "src")) == [tag for tag, _ in page.elements].count("script")
        for link in links:
            if not link.startswith("data:") and "thumbnails/" not in link:
                assert (path.parent / link).resolve().is_file(), link


def test_pages_are_made_for_screen_readers(reports):
    for path in written(reports, small_tree()).glob("*.html"):
        page = Page(path)
        assert ("html", {"lang": "en"}) in page.elements
        assert len(page.all("img", "alt")) == [tag for tag, _ in page.elements].count("img")
        headings = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert "#content" in page.all("a", "href")
        identities = page.all("section", "id") + page.all("article", "id") + page.all("h3", "id")
        assert len(identities) == len(set(identities))


def test_a_report_can_be_written_in_french(reports):
    write_run(reports, small_tree(), points(9), Language("fr"))
    for path in reports.path("runs/greek").glob("*.html"):
        assert ("html", {"lang": "fr"}) in Page(path).elements
    assert "20,0" in Page(reports.path("runs/greek") / "index.html").words


def test_the_first_page_leads_to_every_report(reports):
    write_first_page(reports, [record(), record("birds", run_key="birds")], Language())
    page = Page(reports.root / "index.html")
    assert page.all("a", "href")[-2:] == ["runs/greek/index.html", "runs/birds/index.html"]
    assert "comparison/index.html" not in page.all("a", "href")
