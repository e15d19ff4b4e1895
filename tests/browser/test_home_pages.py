"""The first page and the form for a clustering, as a reviewer uses them."""

import shutil

import pytest
import yaml
from playwright.sync_api import expect

from tests.browser.conftest import start, stop
from tests.tiny import tiny_project

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def wide_tag(ui):
    """Make a tag of one long word, undo that and do it again: all of it was done last."""
    ui.command("tag", "create", "w" * 200, "--property", "Wide")
    ui.command("tag", "undo")
    ui.command("tag", "redo")


@pytest.fixture
def home(ui, page, wide_tag):
    """The first page, opened."""
    page.goto("/panoptic/")
    page.get_by_role("heading", name="Runs").wait_for()
    return page


@pytest.fixture
def form(home):
    """The form, opened from there, once its values were checked."""
    home.get_by_role("link", name="New clustering").first.click()
    return checked(home)


def checked(page, words="253 images"):
    """The form, once what would be done is known."""
    expect(page.locator("#size")).to_contain_text(words)
    return page


def number(page):
    return page.locator("[data-of='method:kmeans']").get_by_label("Number of clusters")


def refused(faults):
    """Take out that Chromium reports what was refused while somebody typed."""
    assert all("422" in fault for fault in faults), faults
    faults.clear()


def told_run(ui, key):
    return yaml.safe_load(ui.command("run-info", key))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_page_can_be_read_by_everybody(home, shot, accessible, scheme):
    home.emulate_media(color_scheme=scheme)
    accessible(home)
    shot(home, f"home-{scheme}", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_can_be_read_by_everybody(form, shot, accessible, scheme):
    form.emulate_media(color_scheme=scheme)
    for summary in form.locator("summary").all():
        if summary.is_visible():
            summary.click()
    accessible(form)
    shot(form, f"form-{scheme}", full_page=True)


def test_both_fit_a_phone(home, shot):
    home.set_viewport_size(PHONE)
    for name, address in (("home", "./"), ("form", "./new")):
        home.goto(f"/panoptic/sample_project/{address}")
        home.locator("h1").wait_for()
        assert home.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        shot(home, f"{name}-phone", full_page=True)


def test_a_card_leads_to_its_run_wherever_it_is_clicked(home):
    pictures = home.locator("li[data-key='demo'] .mosaic")
    pictures.scroll_into_view_if_needed()
    box = pictures.bounding_box()
    home.mouse.click(box["x"] + 20, box["y"] + 20)
    home.wait_for_url("**/runs/demo")


def test_twenty_clusters_of_a_projection_are_a_few_keys_away(ui, form, shot):
    """D29-D33, D41: method and features in a form, and that a projection has lost distances."""
    form.locator("#config-features").select_option("mini/tsne")
    expect(form.get_by_text("A projection has lost distances")).to_be_visible()
    number(form).fill("20")
    form.get_by_label("Name of the run").fill("twenty")
    expect(form.get_by_role("button", name="Cluster 253 images")).to_be_visible()
    shot(form, "form-filled")
    form.keyboard.press("Enter")
    form.wait_for_url("**/runs/twenty")
    config = told_run(ui, "twenty")["config"]
    assert config["method"]["kmeans"]["nb_clusters"] == 20
    assert config["features"] == "mini/tsne"


def test_an_automatic_number_is_a_tick_and_the_name_is_proposed(ui, form):
    """A10, A11."""
    form.get_by_label("Choose the number automatically").first.check()
    expect(form.get_by_text("differs much from one corpus to another").first).to_be_visible()
    expect(form.get_by_label("Name of the run")).to_have_attribute("placeholder", "automatic")
    form.locator("#go").click()
    form.wait_for_url("**/runs/automatic")
    assert told_run(ui, "automatic")["config"]["method"]["kmeans"]["nb_clusters"] == -1


def test_a_value_is_refused_beside_its_field_as_it_is_typed(form, faults):
    """D31."""
    field = number(form)
    field.fill("0")
    expect(form.locator("#config-method-kmeans-nb_clusters-error")).to_contain_text(
        "ask for 1 or more"
    )
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("7")
    checked(form)
    expect(field).not_to_have_attribute("aria-invalid", "true")
    refused(faults)


def test_what_one_does_shows_the_page_anew_once(home):
    """E8: of many images a page takes a while, and one's own act is no news at the next look."""
    home.wait_for_load_state("networkidle")
    acts = home.locator("script[src$='/live.js']").get_attribute("src").replace("live", "acts")
    edit = {"create": {"tag": "shown", "property": "Shown anew"}}
    done = "async ([acts, edit]) => (await import(acts)).act('edit', {edits: [edit]})"
    home.evaluate(done, [acts, edit])
    expect(home.locator(".of-property", has_text="Shown anew")).to_be_visible()
    pages = []
    home.on("request", lambda request: request.url == home.url and pages.append(request.url))
    for _ in range(3):
        with home.expect_response("**/api/version"):
            home.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert pages == []


def test_the_button_counts_even_if_the_page_checks_again_meanwhile(form):
    """D29: an act that ends elsewhere makes the page check anew, as typing does."""
    form.get_by_label("Name of the run").fill("pressed")
    expect(form.get_by_role("button", name="Cluster 253 images")).to_be_visible()
    held = []
    form.route("**/check/cluster", lambda route: held.append(route))
    with form.expect_request("**/check/cluster"):
        form.locator("#go").click()
    with form.expect_request("**/check/cluster"):
        number(form).dispatch_event("input")
    for route in held:
        route.continue_()
    form.wait_for_url("**/runs/pressed")


def test_another_method_brings_its_own_fields(ui, form):
    """D43, D44: clusters of 10 to 300 images; no number is asked for."""
    form.get_by_role("radio", name="hdbscan").check()
    expect(number(form)).to_be_hidden()
    around = form.locator("[data-of='method:hdbscan']")
    around.get_by_label("Smallest cluster").fill("10")
    around.get_by_text("Advanced").click()
    around.get_by_label("Largest cluster").fill("300")
    form.get_by_label("Name of the run").fill("density")
    expect(form.get_by_role("button", name="Cluster 253 images")).to_be_enabled()
    form.locator("#go").click()
    form.wait_for_url("**/runs/density")
    method = told_run(ui, "density")["config"]["method"]["hdbscan"]
    assert (method["min_cluster_size"], method["max_cluster_size"]) == (10, 300)


def test_a_folder_is_chosen_and_its_size_is_known_before(ui, form):
    """E7."""
    form.locator("[name=scope]").select_option("folder")
    form.locator("[data-of='scope:folder']").get_by_label("Folder").select_option("animals/*")
    checked(form, "54 images")
    number(form).fill("3")
    form.get_by_label("Name of the run").fill("animals")
    expect(form.get_by_role("button", name="Cluster 54 images")).to_be_visible()
    form.locator("#go").click()
    form.wait_for_url("**/runs/animals")
    assert told_run(ui, "animals")["config"]["scope"] == {"files": {"pattern": "animals/*"}}


def test_several_numbers_are_a_run_each_and_compared_at_the_end(ui, form):
    """D39, D42."""
    form.get_by_label("Several numbers, one run each").first.check()
    form.get_by_label("Numbers of clusters").first.fill("2, 3")
    form.get_by_label("Name of the run").fill("several")
    form.get_by_role("button", name="Make 2 runs").click()
    form.wait_for_url("**/compare?**")
    assert ui.command("clusters", "several_k3").count("several_k3/") == 3


def test_a_name_that_is_taken_is_replaced_only_if_that_is_meant(ui, form, faults):
    ui.command("cluster", "taken", "--method", "kmeans", "--nb-clusters", 3)
    form.get_by_label("Name of the run").fill("taken")
    expect(form.locator("#key-error")).to_contain_text("There is a run of this name already")
    form.get_by_label("Replace it").check()
    checked(form)
    form.locator("#go").click()
    form.wait_for_url("**/runs/taken")
    assert told_run(ui, "taken")["config"]["method"]["kmeans"]["nb_clusters"] == 10
    refused(faults)


def test_a_run_goes_on_while_somebody_looks_elsewhere_and_its_end_is_told(ui, form):
    """E8; the stability makes it take a while."""
    form.locator("section", has_text="What is compared?").get_by_text("Advanced").click()
    form.get_by_label("Stability").fill("60")
    form.get_by_label("Name of the run").fill("slow")
    expect(form.get_by_role("button", name="Cluster 253 images")).to_be_visible()
    with form.expect_response("**/acts/cluster") as started:
        form.locator("#go").click()
    assert started.value.status == 202
    form.goto("/panoptic/sample_project/new")
    form.get_by_role("button", name="Look at it").click()
    form.wait_for_url("**/runs/slow")
    assert told_run(ui, "slow")["stability"] is not None


def test_the_first_steps_lead_from_a_folder_to_clusters(browser, tmp_path, shot, accessible):
    """A5, A6, C3: read, cluster, look; then a folder that is gone is asked about.

    And what the inventory lacks is said, and that it cannot be read.
    """
    project = tiny_project(tmp_path, 40)
    settings, inventory = project.settings_file, project.folder / "inventory.csv"
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventory.csv"))
    inventory.write_text("path;made\n0000/000001.jpg;1850\n900000.jpg;1851\n")
    shutil.copytree(tmp_path / "images" / "0000", tmp_path / "images" / "other")
    process, url = start(project.folder)
    page = browser.new_page(base_url=url)
    page.set_default_timeout(120_000)
    try:
        page.goto("/panoptic/")
        page.get_by_role("button", name="Read the images of “images”").click()
        page.get_by_role("button", name="Cluster into 10 groups").click()
        page.wait_for_url("**/runs/kmeans-10")
        page.get_by_role("heading", name="kmeans-10").wait_for()

        shutil.rmtree(tmp_path / "images" / "other")
        inventory.unlink()
        page.goto("/panoptic/")
        page.get_by_text("1 line of the inventory without an image").click()
        page.get_by_text("line 3: 900000.jpg").wait_for()
        page.get_by_role("button", name="Read what is new").click()
        page.get_by_role("button", name="They are gone for good").first.wait_for()
        page.goto("/panoptic/")  # whoever comes next is asked as well
        question = page.get_by_role("region", name="A question")
        expect(question).to_contain_text("with all its 40 files")
        accessible(page)
        shot(page, "home-question")
        question.get_by_role("button", name="They are gone for good").click()
        page.get_by_text("files missing").wait_for()
        expect(question).to_have_count(0)
        said = page.get_by_role("region", name="The inventory")
        said.get_by_text("is not read as it stands. There is no inventory").wait_for()
        accessible(page)
        shot(page, "home-inventory")
    finally:
        page.close()
        assert stop(process) == 0
