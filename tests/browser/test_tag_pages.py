"""Tags, recommendations and the history, as a reviewer works with them: by clicks and by keys."""

import re

import pytest
from playwright.sync_api import expect

expect.set_options(timeout=60_000)  # as the pages have it, on a machine that is busy

HOSTILE = "«script» {{7*7}} \u202e<img src=x onerror=document.title='executed'"


@pytest.fixture(scope="module")
def corpus(ui):
    """The address of the project's pages."""
    return f"{ui.url}/panoptic/{ui.folder.name}"


@pytest.fixture
def tags_in(corpus, page):
    """Make tags of a property of a test's own, then show them: ``tags_in(NAME, TAG, …)``."""

    def make(name, *tags):
        edits = [{"create": {"tag": tag, "property": name}} for tag in tags]
        answer = page.request.post(f"{corpus}/api/acts/edit", data={"edits": edits})
        assert answer.ok, answer.text()
        page.request.get(f"{corpus.partition('/panoptic/')[0]}{answer.json()['events']}")
        page.goto(f"{corpus}/tags?property={name}")
        return lambda path: page.locator(f'[data-path="{path}"] > .row')

    return make


def told(page, text):
    """Wait for a notice, and give it."""
    notice = page.locator(".notice", has_text=text)
    expect(notice).to_be_visible()
    return notice


@pytest.fixture
def api(page, corpus):
    """What the API tells at an address."""

    def tell(path, **asked):
        answer = page.request.get(f"{corpus}/api/{path}", params=asked)
        assert answer.ok, answer.text()
        return answer.json()["rows"]

    return tell


@pytest.fixture
def paths(api):
    """The tags of a property that are stored."""
    return lambda name: [row["path"] for row in api("tags", property=name)]


def rename(line, name):
    line.locator(".tag-name").click()
    line.locator(".renaming").fill(name)
    line.locator(".renaming").press("Enter")


def test_a_new_property_and_its_tags_are_made_on_the_page(page, corpus, paths):
    """A22: tags of one's own, without a command."""
    page.goto(f"{corpus}/tags")
    page.get_by_role("button", name="New property…").click()
    page.get_by_label("Name of the property").fill("Own")
    page.get_by_label("Its first tag").fill("birds > owl")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".tabs [aria-current]")).to_contain_text("Own")
    page.keyboard.press("n")
    page.locator("#create-dialog input").fill("fish")
    page.keyboard.press("Enter")
    expect(page.locator('[data-path="fish"] > .row .tag-name')).to_be_focused()
    assert paths("Own") == ["birds", "birds > owl", "fish"]


def test_a_tag_is_renamed_in_place_by_click_type_enter_and_esc_leaves_it(page, tags_in, paths):
    """C17, interaction 16; undone and done again by keys (C19, interaction 21)."""
    line = tags_in("Renaming", "3")
    rename(line("3"), "Vases grecs")
    told(page, "“3” is now called “Vases grecs”.")
    expect(line("Vases grecs").locator(".tag-name")).to_be_focused()
    page.keyboard.press("F2")
    page.locator(".renaming").fill("nonsense n m Delete")
    page.keyboard.press("Escape")
    expect(page.locator(".renaming")).to_have_count(0)
    assert paths("Renaming") == ["Vases grecs"]
    page.keyboard.press("Control+z")
    expect(line("3")).to_be_visible()
    page.keyboard.press("Control+Shift+z")
    expect(line("Vases grecs")).to_be_visible()


def test_a_name_that_is_taken_is_refused_in_one_line_and_the_old_one_comes_back(
    page, tags_in, faults
):
    line = tags_in("Refused", "one", "two")
    rename(line("two"), "one")
    notice = told(page, "There is a tag 'one' already")
    assert len(notice.locator("p").inner_text().splitlines()) == 1
    expect(line("two").locator(".tag-name bdi")).to_have_text("two")
    assert ["status of 422" in fault for fault in faults] == [True]  # as the browser logs it
    faults.clear()


def test_two_tags_are_merged_into_the_one_that_was_chosen_first(page, tags_in, paths):
    """C18, interaction 17."""
    line = tags_in("Merging", "a", "b", "c")
    line("b").locator(".tag-name").click(modifiers=["Control"])
    line("c").locator(".tag-name").click(modifiers=["Shift"])
    expect(page.locator("#picked")).to_contain_text("2 tags chosen")
    expect(page.locator("#picked select")).to_have_value(re.compile(".+"))
    expect(page.locator("#picked option:checked")).to_have_text("b")
    page.get_by_role("button", name="Merge", exact=True).click()
    notice = told(page, "1 tag was merged into “b”.")
    expect(line("b").locator(".tag-name")).to_be_focused()
    assert paths("Merging") == ["a", "b"]
    notice.get_by_role("button", name="Undo").click()
    expect(line("c")).to_be_visible()


def test_tags_are_chosen_moved_and_deleted_by_keys_alone(page, tags_in, paths):
    """Interactions 17 and 18, without a pointer."""
    line = tags_in("Keys", "a", "b", "c")
    line("a").locator(".tag-name").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator(".renaming")).to_have_count(0)
    page.get_by_role("button", name="Move below…").press("Enter")
    page.locator("#place-dialog input").fill("c")
    page.keyboard.press("Enter")
    told(page, "2 tags were moved.")
    assert paths("Keys") == ["c", "c > a", "c > b"]
    page.keyboard.press("Escape")
    line("c > a").locator(".tag-name").focus()
    page.keyboard.press("Delete")
    told(page, "“a” was deleted.")
    expect(line("c > b").locator(".tag-name")).to_be_focused()
    line("c").locator(".tag-name").focus()
    page.keyboard.press("ArrowLeft")
    expect(line("c > b")).to_be_hidden()
    expect(line("c").locator(".fold")).to_have_attribute("aria-expanded", "false")


def test_a_tag_is_dragged_onto_its_parent_and_back_to_the_top(page, tags_in, paths):
    """Interaction 18."""
    line = tags_in("Dragging", "a", "b")
    line("b").drag_to(line("a"))
    told(page, "1 tag was moved.")
    expect(line("a > b")).to_be_visible()
    line("a > b").hover()
    page.mouse.down()
    page.mouse.move(300, 300)
    page.mouse.move(310, 310)
    expect(page.locator("#to-top")).to_be_visible()
    page.locator("#to-top").hover()
    page.locator("#to-top").hover()
    page.mouse.up()
    expect(line("b")).to_be_visible()
    assert paths("Dragging") == ["a", "b"]


def test_a_tag_gets_a_colour_and_a_remark_from_its_menu(page, tags_in, api):
    line = tags_in("Menu", "a")
    line("a").get_by_role("button", name="What to do with a").click()
    page.locator("#tag-menu").get_by_role("button", name="green").click()
    told(page, "The colour was changed.")
    expect(line("a").locator(".swatch")).to_be_visible()
    line("a").get_by_role("button", name="What to do with a").click()
    page.get_by_role("button", name="Remark…").click()
    page.locator("#remark-dialog textarea").fill("To be looked at again")
    page.get_by_role("button", name="Keep it").click()
    told(page, "The remark is kept.")
    expect(line("a")).to_contain_text("To be looked at again")
    [tag] = api("tags", property="Menu")
    assert tag["colour"] == "#3c8d40"


def test_a_hostile_name_is_only_seen(page, corpus, tags_in):
    line = tags_in("Hostile", "a")
    rename(line("a"), HOSTILE)
    expect(page.locator("#tag-tree .tag-name bdi")).to_have_text(HOSTILE)
    told(page, "is now called")
    page.locator("#tag-tree .more").click()
    expect(page.locator("#tag-menu .of bdi")).to_have_text(HOSTILE)
    page.keyboard.press("Escape")
    page.goto(f"{corpus}/history?key=Hostile")
    expect(page.locator(".change").first).to_contain_text(HOSTILE)
    assert page.title() == "History · panoptic_assets"


def test_a_filter_shows_less_and_says_of_how_many(page, tags_in):
    line = tags_in("Filter", "birds > owl", "birds > duck")
    page.locator("#filter-text").fill("owl")
    expect(page.get_by_text("2 of 3 tags")).to_be_visible()
    expect(line("birds > duck")).to_have_count(0)
    page.locator("#filter-text").fill("")
    expect(line("birds > duck")).to_be_visible()


@pytest.fixture(scope="module")
def recommended(ui):
    """Have images proposed for the tags of a property."""
    ui.command("cluster", "proposed", "--nb-clusters", 10)  # whose clusters have no names
    ui.command("save", "proposed", "--property", "Proposed")
    ui.command("recommend", "--property", "Proposed", "--include-tagged")


def test_proposals_are_accepted_and_refused_by_keys_and_all_at_once(
    page, api, corpus, recommended, shot, accessible
):
    """C14, C15, interaction 20: at once, the focus goes on, and what was refused can be seen."""
    tag = api("tags", property="Proposed")[0]
    page.goto(f"{corpus}/tags/{tag['tag_id']}")
    tiles = page.locator(".proposal")
    ids = [tile.get_attribute("data-id") for tile in tiles.all()]
    assert len(ids) > 5
    accessible(page)
    shot(page, "tag", full_page=True)
    tiles.nth(0).locator("a").focus()
    page.keyboard.press("a")
    expect(page.locator(f'.proposal[data-id="{ids[1]}"]')).to_be_focused()
    expect(page.locator(f'.proposal[data-id="{ids[0]}"]')).to_have_count(0)
    page.keyboard.press("r")
    expect(page.get_by_text("So far 1 accepted, 1 refused: precision 50%")).to_be_visible()
    expect(page.locator(f'.proposal[data-id="{ids[2]}"]')).to_be_focused()
    for number in (0, 1):
        tiles.nth(number).locator(".choose").click()
    tiles.nth(1).hover()
    page.keyboard.press("r")
    expect(page.get_by_text("So far 1 accepted, 3 refused: precision 25%")).to_be_visible()
    page.get_by_role("button", name=re.compile("Accept all .* shown")).click()
    expect(tiles).to_have_count(0)
    expect(page.get_by_text("were found is accepted or refused by now")).to_be_visible()
    page.locator("#refused summary").click()
    page.locator("#refused").get_by_role("button", name="Take it back").first.click()
    expect(tiles).to_have_count(2)
    expect(page.locator("#refused section")).to_have_count(1)
    judged = {row["tag_id"]: row for row in api("precision", property="Proposed")}[tag["tag_id"]]
    assert (judged["accepted"], judged["refused"]) == (len(ids) - 3, 1)


def test_all_proposals_of_a_property_are_worked_through_on_one_page(
    page, api, corpus, recommended, shot, accessible
):
    page.goto(f"{corpus}/recommendations?property=Proposed")
    tag = next(row for row in api("tags", property="Proposed") if row["path"] == "2")
    group = page.locator(f'.of-tag[data-key="{tag["tag_id"]}"]')
    first = group.locator(".proposal").first
    image = first.get_attribute("data-id")
    page.emulate_media(color_scheme="dark")
    accessible(page)
    shot(page, "recommendations")
    first.get_by_role("button", name=re.compile("Accept")).click()
    told(page, "1 image has the tag “2” now.")
    expect(group.locator(f'[data-id="{image}"]')).to_have_count(0)
    expect(group.get_by_text("So far 1 accepted, 0 refused: precision 100%")).to_be_visible()


def test_a_switch_of_the_history_undoes_an_act_and_does_it_again(page, corpus, tags_in, paths):
    """A25, interaction 21: a list with a switch for each act."""
    line = tags_in("Switched", "a")
    rename(line("a"), "b")
    told(page, "is now called")
    page.goto(f"{corpus}/history?key=Switched&kind=rename")
    switch = page.get_by_role("switch")
    expect(switch).to_be_checked()
    switch.click()
    expect(switch).not_to_be_checked()
    assert paths("Switched") == ["a"]
    switch.click()
    expect(switch).to_be_checked()
    assert paths("Switched") == ["b"]


def test_a_name_that_another_tag_has_by_now_comes_back_with_a_number_and_that_is_said(
    page, corpus, tags_in, paths
):
    """A25: nobody is left with two tags of one name beside each other without a word."""
    line = tags_in("Twice", "vase", "coupe")
    for before, after in (("vase", "amphore"), ("coupe", "vase")):
        rename(line(before), after)
        told(page, f"is now called “{after}”")
    page.goto(f"{corpus}/history?key=Twice&kind=rename")
    switch = page.get_by_role("switch").last
    switch.click()
    told(page, "Another tag has the name by now, so a number was added")
    assert paths("Twice") == ["vase", "vase (2)"]
    page.goto(f"{corpus}/history?kind=undo")
    expect(page.get_by_text("renamed: vase (2)").first).to_be_visible()
    page.goto(f"{corpus}/history?key=Twice&kind=rename")
    switch.click()
    expect(switch).to_be_checked()
    assert paths("Twice") == ["amphore", "vase"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tree_and_the_history_are_accessible(page, corpus, tags_in, scheme, shot, accessible):
    """By the rules of axe, in light and in dark."""
    line = tags_in(f"Axe{scheme}", "a > b")
    page.emulate_media(color_scheme=scheme)
    line("a").get_by_role("button", name="What to do with a").click()
    accessible(page)
    page.keyboard.press("Escape")
    line("a").locator(".pick").check()
    accessible(page)
    shot(page, f"tags-{scheme}")
    page.goto(f"{corpus}/history")
    accessible(page)
    shot(page, f"history-{scheme}")


@pytest.mark.parametrize("path", ["tags", "history", "recommendations"])
def test_a_phone_shows_the_page_without_scrolling_sideways(page, corpus, path, shot):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{corpus}/{path}")
    page.locator("h1").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, f"{path}-phone")
