"""FiftyOne's story of clusters, clicked in the browser and typed as commands: one end state."""

import hashlib
import re
import shutil
import threading

import pytest
from playwright.sync_api import expect

from panoptic_assets.project import Project
from panoptic_assets.spec.records import digest
from tests.browser.conftest import Ui, start, stop
from tests.browser.test_story import SLOW, Reviewer, end_state
from tests.commands import run
from tests.vision_endpoint import KEY, VisionEndpoint, named

MOST_CLICKS = 25
BY_HAND = "Scènes d’hiver"
SHOWN = 5
"""Images of each cluster that the vision model gets."""


@pytest.fixture(scope="module")
def may_answer():
    """Until it is set, the vision model answers its first request only."""
    return threading.Event()


@pytest.fixture(scope="module")
def endpoint(may_answer):
    """A vision model on this machine, which names what it sees by what it sees."""

    def answer(number, request):
        if number:  # the first one shows how far the act is
            may_answer.wait(SLOW / 1000)
        return named(f"Sujet {hashlib.sha256(b''.join(request.images)).hexdigest()[:8]}")

    server = VisionEndpoint(answer)
    yield server
    server.close()


@pytest.fixture(scope="module")
def ui(embedded_folder, chromium, tmp_path_factory, endpoint, may_answer):
    """A project of its own, without any run, that is open where a vision model's key is known."""
    folder = tmp_path_factory.mktemp("fiftyone") / "fonds photographique"
    shutil.copytree(embedded_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        process, url = start(folder)
    yield Ui(folder, url)
    may_answer.set()
    assert stop(process) == 0


class Archivist(Reviewer):
    """Who makes runs in the form, and looks at them."""

    def choose(self, listed, value):
        """Choose in a list, which takes two clicks: one opens it."""
        if listed.input_value() != value:
            self.clicks += 2
            listed.select_option(value)

    def fields(self, key, method, features):
        """Open the form and choose what is clustered and how; return the method's fields."""
        self.go("New clustering")
        self.page.locator("#key").fill(key)
        self.choose(self.page.locator("#config-features"), features)
        radio = self.page.locator(f"[name='method'][value='{method}']")
        if not radio.is_checked():
            self.click(radio)
        return self.page.locator(f"[data-of='method:{method}']")

    def make(self, key):
        """Press the button, which says by then how many images there are."""
        button = self.button(re.compile("^Cluster 253 images"))
        button.wait_for(timeout=SLOW)
        self.click(button)
        self.page.wait_for_url(f"**/runs/{key}", timeout=SLOW)

    def colours(self):
        """The entries of the map's list of colours."""
        self.page.locator("#map-app[data-ready]").wait_for(timeout=SLOW)
        return self.page.locator("#legend [data-code]")

    def beside(self, name):
        """Follow a link to a page of the same run."""
        pages = self.page.get_by_role("navigation", name="Pages beside this one")
        self.click(pages.get_by_role("link", name=name))
        self.page.wait_for_load_state()


def said_parameters(page):
    """The parameters of a record's page, by name."""
    table = page.get_by_role("table", name="Parameters, defaults filled in")
    rows = table.locator("tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return dict(rows)


def named_state(folder):
    """A hash of what clusters are called, of how runs are configured, and of the points of maps."""
    project = Project(folder)
    keys = [row["key"] for row in project.runs()]
    columns = ["node", "label", "description", "method"]
    labels = [project.labels(key).select(columns).to_pylist() for key in keys]
    configs = {key: project.run_info(key)["config"] for key in keys}
    points = {row["key"]: row["data_version"] for row in project.projections()}
    return digest(labels, configs, points)


def test_fiftyone_s_story_takes_few_clicks_and_ends_as_the_same_commands_do(
    ui, page, faults, shot, endpoint, may_answer, tmp_path, embedded_folder
):
    """D29-D57: a form, two runs, one map coloured by either, hdbscan, records, names, comparing.

    One act goes on in the background while its reviewer looks elsewhere.
    """
    archivist = Archivist(page)
    cards = page.locator("article.cluster[data-node]")
    page.goto("/panoptic/")

    # D19: points of all images, which can be looked at and clustered.
    archivist.go("Map")
    archivist.click(archivist.button("PCA"))
    archivist.told("The map was computed.")

    # D29-D35: kmeans on the projection, 20 clusters, the form's own defaults for the rest.
    fields = archivist.fields("on_points", "kmeans", "mini/pca")
    expect(page.get_by_text("A projection has lost distances")).to_be_visible()
    fields.get_by_label("Number of clusters").fill("20")
    shot(page, "fiftyone_form")
    archivist.make("on_points")
    expect(cards).to_have_count(20)

    # D36, D45: the images of one cluster.
    first = cards.first
    size = int(first.locator("[data-total]").first.get_attribute("data-total"))
    archivist.click(first.locator("h3 a"))
    expect(page.locator("main .gallery [data-id]")).to_have_count(size, timeout=SLOW)

    # D39-D41: a second run, of the vectors themselves, beside the first.
    fields = archivist.fields("on_vectors", "kmeans", "mini")
    expect(page.get_by_text("A projection has lost distances")).to_be_hidden()
    fields.get_by_label("Number of clusters").fill("30")
    archivist.make("on_vectors")
    expect(cards).to_have_count(30)

    # D37-D39: the same map, coloured by the clusters of either.
    archivist.beside("Map")
    expect(archivist.colours()).to_have_count(30, timeout=SLOW)
    archivist.choose(page.get_by_label("Colour by"), "run:on_points")
    expect(archivist.colours()).to_have_count(20, timeout=SLOW)
    shot(page, "fiftyone_map")

    # D31, D43-D46: 10 to 300 images; no number of clusters; a mistake is told as it is typed.
    fields = archivist.fields("density", "hdbscan", "mini")
    expect(page.get_by_label("Number of clusters").first).to_be_hidden()
    fields.get_by_label("Smallest cluster").fill("10")
    archivist.click(fields.get_by_text("Advanced"))
    largest = fields.get_by_label("Largest cluster")
    largest.fill("5")
    expect(largest).to_have_attribute("aria-invalid", "true", timeout=SLOW)
    said = fields.locator(".error:visible")
    expect(said).to_have_text("max_cluster_size 5 is below min_cluster_size 10")
    shot(page, "fiftyone_refused")
    largest.fill("300")
    archivist.make("density")
    assert all("422" in fault for fault in faults), faults  # which is how it was told
    faults.clear()
    remainder = archivist.card("density/remainder")
    expect(remainder).to_be_visible()

    # D47-D49: how it was made, by all its parameters, as Python says it.
    archivist.beside("Record")
    method = Project(ui.folder).run_info("density")["config"]["method"]["hdbscan"]
    assert (method["min_cluster_size"], method["max_cluster_size"]) == (10, 300)
    recorded = {f"method.hdbscan.{name}": str(value) for name, value in method.items()}
    assert recorded.items() <= said_parameters(page).items()
    shot(page, "fiftyone_record")
    archivist.beside("Clusters")

    # D50: a name by hand.
    node = cards.first.get_attribute("data-node")
    archivist.click(page.get_by_label(f"Name of {node}", exact=True))
    page.keyboard.type(BY_HAND)
    page.keyboard.press("Enter")
    archivist.told(f"{node} has the name now.")

    # D51-D54: names by a vision model; what that takes is said before.
    nb_asked = cards.count() - 2  # neither what has a name nor the remainder
    archivist.click(archivist.button("Ask for names…"))
    words = page.locator("#label-words form[data-cost]")
    words.get_by_label("Endpoint").fill(endpoint.url)
    page.keyboard.press("Tab")
    cost = words.locator(".cost")
    expect(cost).to_contain_text("go to 127.0.0.1", timeout=SLOW)
    expect(cost).to_contain_text(f"{nb_asked} requests with {SHOWN * nb_asked} pictures")
    shot(page, "fiftyone_cost")
    assert endpoint.requests == []
    archivist.click(archivist.button("Name all", words))

    # D55: it goes on while one looks at something else.
    ongoing = page.locator("#notices .ongoing")
    ongoing.wait_for(timeout=SLOW)
    archivist.go("Images")
    expect(ongoing).to_contain_text(f"1/{nb_asked}", timeout=SLOW)
    shot(page, "fiftyone_ongoing")
    may_answer.set()
    archivist.told("Naming the clusters: done.")
    archivist.click(archivist.button("Look at it"))
    page.wait_for_url("**/runs/density", timeout=SLOW)
    given = cards.locator(".naming input").evaluate_all("all => all.map(one => one.value)")
    assert BY_HAND in given
    assert sum(name.startswith("Sujet ") for name in given) == nb_asked
    shot(page, "fiftyone_named")
    assert [len(request.images) for request in endpoint.requests] == [SHOWN] * nb_asked

    # D57: how much two runs agree, and where.
    archivist.go("Comparison")
    pair = page.locator("table.matrix a[href*='on_points'][href*='on_vectors']")
    archivist.click(pair.first)
    expect(page.get_by_text("On 253 common images")).to_be_visible(timeout=SLOW)
    agreement = Project(ui.folder).compare("on_points", "on_vectors")["counted"]["adjusted_rand"]
    expect(page.get_by_role("region", name="Figures of the agreement")).to_contain_text(
        f"{agreement:.3f}"
    )
    shot(page, "fiftyone_pair")

    print(f"{archivist.clicks} clicks")
    assert archivist.clicks <= MOST_CLICKS

    folder = tmp_path / "typed"
    shutil.copytree(embedded_folder, folder)
    kmeans = ("--method", "kmeans", "--nb-clusters")
    run("project", "mini/pca", "--method", "pca", cwd=folder)
    run("cluster", "on_points", *kmeans, 20, "--features", "mini/pca", cwd=folder)
    run("cluster", "on_vectors", *kmeans, 30, cwd=folder)
    sizes = ("--min-cluster-size", 10, "--max-cluster-size", 300)
    run("cluster", "density", "--method", "hdbscan", *sizes, cwd=folder)
    run("name", node, BY_HAND, cwd=folder)
    vision = ("--method", "vision_model", "--base-url", endpoint.url)
    run("label", "density", *vision, cwd=folder, OPENAI_API_KEY=KEY)
    assert end_state(ui.folder) == end_state(folder)
    assert named_state(ui.folder) == named_state(folder)
