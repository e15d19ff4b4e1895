"""What a reviewer does on the pages of a run and of a cluster, done by a browser."""

import pytest
from playwright.sync_api import expect

PHONE = {"width": 390, "height": 844}
expect.set_options(timeout=60_000)  # as the pages have it, on a machine that is busy
HOSTILE = "<script>alert(1)</script>{{7*7}}"


@pytest.fixture
def project(page, ui):
    """The address of the project's pages, and a page of it that is open."""
    page.goto("/panoptic/")
    page.wait_for_url(f"**/panoptic/{ui.folder.name}/")
    return f"/panoptic/{ui.folder.name}"


@pytest.fixture
def run_of(page, project):
    """Make a run of its own for a test, as the pages do it, and open it."""

    def make(key, nb_clusters=6):
        body = {"key": key, "config": {"method": {"kmeans": {"nb_clusters": nb_clusters}}}}
        state = page.evaluate(
            """async ([api, body]) => {
            const asked = {method: "POST", headers: {"Content-Type": "application/json"}};
            const made = await fetch(`${api}/acts/cluster`, {...asked, body: JSON.stringify(body)});
            const act = await made.json();
            await (await fetch(act.events)).text();
            return (await (await fetch(`${api}/acts/${act.act}`)).json()).state;
            }""",
            [f"{project}/api", body],
        )
        assert state == "done"
        page.goto(f"{project}/runs/{key}")
        return page

    return make


def card(page, node):
    return page.locator(f"article[data-node='{node}']")


def told(page, text):
    """Wait until a notice says something."""
    notice = page.locator(".notice:not(.ongoing)").filter(has_text=text)
    notice.wait_for()
    return notice


def fits(page):
    """Whether nobody has to scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("place", ["runs/demo", "clusters/demo/9", "records/demo"])
def test_pages_are_accessible_in_light_and_dark_and_fit_a_phone(
    page, project, place, accessible, shot
):
    name = place.replace("/", "-")
    page.goto(f"{project}/{place}")
    accessible(page)
    shot(page, f"live-{name}")
    page.emulate_media(color_scheme="dark")
    accessible(page)
    shot(page, f"live-{name}-dark")
    page.set_viewport_size(PHONE)
    assert fits(page)
    shot(page, f"live-{name}-phone")


def test_a_cluster_is_divided_by_a_key_taken_back_and_brought_back(run_of, ui):
    """C6-C8, viewers 12-13: one gesture each, on the picture that it is about."""
    page = run_of("b-divide")
    card(page, "b-divide/3").locator("h3").hover()
    page.keyboard.press("d")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    told(page, "b-divide/3 was divided.")
    inner = card(page, "b-divide/3").locator(".kin > article")
    expect(inner).to_have_count(3)
    card(page, "b-divide/3").get_by_role("button", name="Take the division back").click()
    expect(inner).to_have_count(0)
    told(page, "The division of b-divide/3 was taken back.").get_by_text("Undo").click()
    expect(inner).to_have_count(3)
    assert "b-divide/3/2" in ui.command("clusters", "b-divide/3")


def test_what_stays_whole_is_told_at_its_card_and_cut_by_force(run_of):
    """C11-C12: the algorithm could not cut it, so a number is offered."""
    page = run_of("b-whole", nb_clusters=10)
    flags = card(page, "b-whole/0")
    flags.get_by_role("button", name="Automatically").click()
    expect(flags.locator(".whole")).to_contain_text("It stayed whole")
    flags.get_by_role("button", name="Force a cut into 3").click()
    expect(flags.locator(".kin > article")).to_have_count(3)
    expect(flags.locator(".whole")).to_have_count(0)


def test_a_division_that_is_refused_says_why_at_the_card_in_one_line(run_of, faults):
    page = run_of("b-refused")
    one = card(page, "b-refused/0")
    field = one.get_by_label("into").first
    # At once: the page may be made anew in between, with the limit.
    field.evaluate("field => { field.max = ''; field.value = 999; field.form.requestSubmit(); }")
    said = one.get_by_role("alert")
    said.wait_for()
    assert len(said.locator("p").inner_text().splitlines()) == 1
    said.get_by_role("button", name="Force a cut into 2").click()
    expect(one.locator(".kin > article")).to_have_count(2)
    expect(said).to_have_count(0)
    faults[:] = [fault for fault in faults if "422" not in fault]


def test_a_name_is_typed_where_it_stands(run_of, ui):
    """D50: click, type, Enter; Esc leaves it as it was. Hostile names are text."""
    page = run_of("b-name")
    field = card(page, "b-name/2").get_by_label("Name of b-name/2")
    field.fill("something else")
    field.press("Escape")
    expect(field).to_have_value("")
    field.fill("a name of a moment")
    field.press("Enter")
    field.fill(HOSTILE)  # who corrects it at once is not refused for it
    field.press("Enter")
    expect(card(page, "b-name/2").locator("h3")).to_contain_text(HOSTILE)
    assert HOSTILE in ui.command("clusters", "b-name")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    expect(field).to_have_value("a name of a moment")


def test_who_works_with_keys_stays_at_the_cluster(run_of):
    """What holds the focus is gone once the cluster is divided; what is typed next is not lost."""
    page = run_of("b-stays")
    card(page, "b-stays/1").get_by_role("button", name="Divide", exact=True).focus()
    for typed in ("d", "2", "Enter"):
        page.keyboard.press(typed)
    card(page, "b-stays/1/0").wait_for()
    told(page, "b-stays/1 was divided.")
    for typed in ("n", *"Birds", "Enter"):
        page.keyboard.press(typed)
    told(page, "b-stays/1 has the name now.")


def test_a_cluster_becomes_a_tag_by_a_key(run_of, ui):
    """A22: annotate the images of a cluster."""
    page = run_of("b-tag")
    card(page, "b-tag/1").locator("h3").hover()
    page.keyboard.press("t")
    page.keyboard.type("By key > animals")
    page.keyboard.press("Enter")
    told(page, "The images of b-tag/1 carry the tag.")
    assert "By key" in ui.command("tags")


def test_all_images_of_clusters_are_chosen_on_their_headings(run_of):
    """Viewers 5: a circle on the heading, Shift over headings."""
    page = run_of("b-choose")
    circles = page.locator("[data-choose-scope]")
    circles.nth(0).click()
    circles.nth(2).click(modifiers=["Shift"])
    expect(page.locator("[data-choose-scope][aria-pressed=true]")).to_have_count(3)
    page.keyboard.press("Escape")
    expect(page.locator("[data-choose-scope][aria-pressed=true]")).to_have_count(0)


def test_a_run_is_saved_as_tags_and_removed_with_what_depends_on_it_told_before(run_of, ui, faults):
    """A23-A25, C13."""
    page = run_of("b-save")
    page.get_by_role("button", name="Save as tags…").click()
    page.get_by_role("combobox", name="Property").fill("Saved here")
    page.get_by_role("button", name="Save", exact=True).click()
    told(page, "The clusters are tags now.")
    expect(page.locator(".saved-as")).to_contain_text("Saved here")
    assert "Saved here" in ui.command("tags")
    page.get_by_role("button", name="Remove", exact=True).click()
    words = page.locator("#remove-words")
    expect(words).to_contain_text("6 tags of Saved here were saved from it")
    words.get_by_role("button", name="Remove the run alone").click()
    notice = told(page, "The run b-save was removed.")
    expect(page.get_by_role("heading", name="Not there")).to_be_visible()
    notice.get_by_text("Undo").click()
    expect(card(page, "b-save/0")).to_be_visible()
    faults[:] = [fault for fault in faults if "404" not in fault]


def test_a_run_is_verified_and_its_policy_chosen_in_words(run_of, ui):
    page = run_of("b-policy")
    page.get_by_role("button", name="When the corpus changes…").click()
    page.get_by_label("Cluster again, numbers kept").check()
    page.get_by_role("button", name="Choose", exact=True).click()
    told(page, "That is what happens from now on.")
    assert "recluster" in ui.command("policy", "b-policy")
    page.get_by_role("button", name="Verify").click()
    told(page, "Computed again: b-policy gives the same answer.")
