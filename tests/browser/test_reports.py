"""What a reviewer does in the reports, done by a browser."""

import re

import pytest

from panoptic_assets.review.run_pages import write_run
from panoptic_assets.spec.languages import Language
from resources.report_folder import ReportFolder
from tests.browser.conftest import WEBGL
from tests.pictures import SAMPLE
from tests.unit.review.test_run_pages import HOSTILE, cluster, points, record, tree

REPORT = "/panoptic/reports/runs/demo"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def graphics():
    return WEBGL


@pytest.fixture
def open_page(page):
    """Open a page of the report, and wait until it is all there."""

    def opened(name, **media):
        page.emulate_media(**media)
        page.goto(f"{REPORT}/{name}")
        if name == "map.html":
            page.locator("#map[data-ready]").wait_for()
        return page

    return opened


def fits(page):
    """Whether nobody has to scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def pictures_are_there(page):
    """Whether every picture that is on the screen came from the server."""
    page.wait_for_load_state("networkidle")
    # On a busy machine some are still to be decoded, or even asked for.
    return page.evaluate(
        """Promise.race([new Promise(answer => setTimeout(() => answer(false), 30_000)),
        Promise.all([...document.images]
        .filter(i => i.getBoundingClientRect().top < innerHeight)
        .map(i => i.decode().then(() => i.naturalWidth > 0, () => false)))
        .then(found => found.every(there => there))])"""
    )


def hard_to_read(page):
    """Elements whose text has less contrast than WCAG 2.1 AA asks of small text, and how much."""
    return page.evaluate(
        """() => {
        const pixel = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
        const parts = colour => {
            pixel.clearRect(0, 0, 1, 1);
            pixel.fillStyle = colour;
            pixel.fillRect(0, 0, 1, 1);
            return [...pixel.getImageData(0, 0, 1, 1).data];
        };
        const over = (top, below) =>
            below.map((v, i) => (top[i] * top[3] + v * (255 - top[3])) / 255);
        const light = colour => colour.slice(0, 3)
            .map(v => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], .05);
        const behind = e => over(parts(getComputedStyle(e).backgroundColor),
            e.parentElement ? behind(e.parentElement) : [255, 255, 255, 255]);
        const found = {};
        for (const e of document.querySelectorAll('main *, header *, footer *')) {
            const style = getComputedStyle(e);
            const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!own || !e.getClientRects().length || e.closest('svg, .unseen')) continue;
            const below = behind(e);
            const both = [light(over(parts(style.color), below)), light(below)];
            const contrast = Math.max(...both) / Math.min(...both);
            if (contrast < 4.5) found[`${e.tagName} ${e.className}`] = contrast;
        }
        return found;
        }"""
    )


def points_on_the_map(page, number):
    """Where some points are, in pixels of the window."""
    return page.locator("#map .points path").evaluate_all(
        """(found, number) => found.slice(0, number).map(point => {
            const box = point.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        })""",
        number,
    )


def test_clusters_are_seen_with_their_names_and_lead_to_their_images(open_page, shot):
    """A12, D36, D45: from the overview to the images of one cluster."""
    page = open_page("index.html")
    assert pictures_are_there(page)
    shot(page, "report")
    card = page.locator("article").first
    name = card.locator(".label").inner_text()
    card.get_by_role("link", name=re.compile("^Cluster 0")).click()
    page.wait_for_url(f"**{REPORT}/cluster.0.html")
    assert name in page.locator("h1").inner_text()
    assert pictures_are_there(page)
    shot(page, "cluster", full_page=True)


def test_the_tree_folds_by_mouse_and_by_keyboard(open_page):
    """A17: clusters below clusters."""
    page = open_page("index.html")
    below = page.locator(".tree a[href='cluster.9.0.html']")
    assert below.is_visible()
    page.locator(".tree summary .badge").click()
    assert not below.is_visible()
    page.locator(".tree summary").focus()
    page.keyboard.press("Enter")
    assert below.is_visible()


def test_a_command_is_copied_and_said_so(open_page):
    page = open_page("index.html")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#commands ~ .commands button").first.click()
    page.get_by_role("status").get_by_text("The command was copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "panoptic-assets save demo"


def test_images_are_chosen_and_their_ids_copied(open_page):
    page = open_page("cluster.9.html")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tiles = page.locator(".tile")
    tiles.nth(0).click()
    tiles.nth(2).focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Copy their ids").click()
    page.get_by_text("The ids were copied.").wait_for()
    ids = page.evaluate("navigator.clipboard.readText()").split()
    assert ids == [tiles.nth(place).get_attribute("data-id") for place in (0, 2)]


def test_the_thumbnail_of_a_point_is_shown_under_the_pointer(open_page, shot):
    """D28, D38: see what a point is."""
    page = open_page("map.html")
    [(x, y)] = points_on_the_map(page, 1)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y, steps=4)
    card = page.locator("#hovered")
    card.wait_for()
    picture = card.locator("img")
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") > 0
    assert card.locator(".name").inner_text().endswith((".jpg", ".png"))
    assert card.locator(".remark").inner_text().startswith("demo/")
    shot(page, "map_hover")


def test_images_in_a_lasso_are_the_scope_of_a_run(open_page, shot, ui):
    """E7: what was selected by hand is clustered."""
    page = open_page("map.html")
    box = page.locator("#map").bounding_box()
    left, top = box["x"] + 20, box["y"] + 20
    right, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"] - 20
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 5)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    section = page.locator("#selection")
    section.wait_for()
    ids = section.locator("textarea").input_value().split()
    assert 0 < len(ids) < 253
    assert section.locator(".count").inner_text() == str(len(ids))
    shot(page, "map_lasso", full_page=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download ids.txt").click()
    download.value.save_as(ui.folder / "ids.txt")
    said = ui.command("cluster", "lassoed", "--ids", "ids.txt", "--nb-clusters", 2)
    assert "lassoed/1" in said
    assert str(len(ids)) in said or f"{len(ids)} images" in ui.command("runs")


def test_the_thumbnail_under_the_pointer_goes_away_with_it(open_page, shot):
    """D28, E7: after a lasso, and when the pointer leaves, nothing covers the points."""
    page = open_page("map.html")
    card = page.locator("#hovered")
    points = points_on_the_map(page, 40)
    box = page.locator("#map").bounding_box()

    def show():
        x, y = points[0]
        page.mouse.move(x - 3, y)
        page.mouse.move(x, y, steps=4)
        card.wait_for()

    def stays_hidden():
        card.wait_for(state="hidden")
        page.wait_for_timeout(500)
        return card.is_hidden()

    show()
    assert card.evaluate("card => getComputedStyle(card).pointerEvents") == "none"
    page.mouse.move(box["x"] + box["width"] + 100, box["y"] + 30)
    assert stays_hidden()
    show()
    page.evaluate("scrollBy(0, 200)")
    assert stays_hidden()
    page.evaluate("scrollTo(0, 0)")
    show()
    page.mouse.down()
    for x, y in (*points[1:20], points[0]):  # over points all along, and let go on one
        page.mouse.move(x, y, steps=3)
        assert card.is_hidden()
    page.mouse.up()
    page.locator("#selection").wait_for()
    assert stays_hidden()
    shot(page, "map_after_lasso")


def test_points_are_coloured_by_what_is_chosen(open_page):
    """D37, D39: by cluster, by folder, by tag."""
    page = open_page("map.html", color_scheme="dark")
    labels = page.locator("#legend .what")
    assert labels.count() == 10
    page.get_by_label("Colour by").select_option("folder")
    assert labels.count() == len({path.parent for path in SAMPLE.glob("*/**/*.jpg")})
    assert page.locator("#legend").get_by_text("animals/fish").is_visible()
    page.get_by_role("button", name="None").click()
    page.wait_for_function("document.querySelectorAll('#map .points path').length === 0")
    page.get_by_label("animals/fish").check()
    page.wait_for_function("document.querySelectorAll('#map .points path').length > 5")


@pytest.mark.parametrize("name", ["index.html", "cluster.9.html", "map.html", "record.html"])
def test_a_page_fits_a_phone_and_the_dark(open_page, shot, name):
    page = open_page(name, color_scheme="dark")
    page.set_viewport_size(PHONE)
    page.wait_for_load_state("networkidle")
    assert fits(page)
    shot(page, f"phone_{name.removesuffix('.html')}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name", ["index.html", "cluster.9.html", "record.html", "../../comparison/index.html"]
)
def test_text_stands_out_from_what_is_behind_it(open_page, name, scheme):
    page = open_page(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(found => found.open = true)")
    assert hard_to_read(page) == {}


def test_two_runs_are_compared(open_page, shot):
    """D57: how do I compare runs?"""
    page = open_page("index.html")
    page.get_by_role("link", name="Comparison").click()
    page.wait_for_url("**/comparison/index.html")
    shot(page, "comparisons")
    page.locator("a[href*='demo']").first.click()
    page.wait_for_url(re.compile("comparison/.*demo.*html"))
    assert "demo" in page.locator("h1").inner_text()
    assert page.locator("svg.flow").is_visible()
    shot(page, "comparison", full_page=True)


def test_hostile_names_are_only_seen(ui, page, shot):
    """Names of files, labels and notes are text: nothing runs, nothing is asked for elsewhere."""
    names = [*HOSTILE, "<img src=x onerror=document.title='executed'>", "]]></script>{{ 7 * 7 }}"]
    shown = tree(
        [cluster(f"greek/{row}", [row], name=name, remark=name) for row, name in enumerate(names)],
        names,
        record=record(notes=names),
    )
    reports = ReportFolder(folder=str(ui.folder))
    reports.add_thumbnails((image_id, PIXEL) for image_id in shown.image_ids)
    write_run(reports, shown, points(len(names)), Language())
    for name in ("index.html", "cluster.0.html", "cluster.6.html", "map.html", "record.html"):
        page.goto(f"/panoptic/reports/runs/greek/{name}")
        page.wait_for_load_state("networkidle")
        assert "executed" not in page.title()
        assert page.locator("script:not([src])").count() == 0
        assert fits(page)
        if name == "index.html":
            assert all(" ".join(text.split()) in page.inner_text("main") for text in names)
            shot(page, "hostile")
        if name == "map.html":
            page.locator("#map[data-ready]").wait_for()
            assert "<script>" in page.locator("#legend").inner_text()


PIXEL = bytes.fromhex("524946461a000000574542505650384c0d0000002f00000010071011118888fe0700")
