"""Images as a reviewer works with them: choosing, the tray, the viewer, comparing."""

import re

import pytest

from panoptic_assets.project import Project

HOSTILE = "<img src=x onerror=alert(1) {{7*7}}"


@pytest.fixture
def images(page, ui):
    """The page of all images, in a browser that has chosen nothing."""
    page.goto(f"/panoptic/{corpus_of(ui)}/images")
    page.locator("[data-images] [data-id]").first.wait_for()
    return page


def corpus_of(ui):
    return ui.folder.name


def tile(page, number):
    """One of the page's tiles, by its place."""
    return page.locator("main [data-images] [data-id]").nth(number)


def choose(page, number, *keys):
    tile(page, number).locator("a").click(modifiers=list(keys))


def chosen(page):
    """Places of the tiles that are marked as chosen."""
    marked = page.locator("main [data-images] [data-id]").evaluate_all(
        "tiles => tiles.map(tile => 'chosen' in tile.dataset)"
    )
    return [number for number, is_marked in enumerate(marked) if is_marked]


def told(page, text):
    """Wait for a notice."""
    page.locator("#notices .notice:not(.ongoing)", has_text=text).wait_for()


def count(page, text):
    """Wait until the tray says it."""
    page.locator("#tray .count", has_text=text).wait_for()


def caption(page, text):
    page.locator(".viewer .caption", has_text=text).wait_for()


def tagged(ui, tag):
    """Ids of the images of a tag."""
    rows = Project(ui.folder).image_tags().to_pylist()
    return {row["image_id"] for row in rows if row["path"] == tag}


def all_ids(ui):
    return set(Project(ui.folder).images_in()["image_id"].to_pylist())


def give(page, tag):
    """Give what is chosen a tag, by keys alone."""
    page.keyboard.press("t")
    page.locator(".tray-form input[name='tag']").wait_for()
    page.keyboard.type(tag)
    page.keyboard.press("Enter")
    told(page, "the tag")


def test_all_images_of_all_pages_are_chosen_by_one_key_and_tagged_but_those_clicked_out(images, ui):
    """Interaction 4: the server resolves which; ids stay with the browser for none of them."""
    images.keyboard.press("Control+a")
    everything = all_ids(ui)
    count(images, f"{len(everything)} images are chosen")
    out = tile(images, 3).get_attribute("data-id")
    tile(images, 3).locator("button.choose").click()
    count(images, f"{len(everything) - 1} images are chosen")
    count(images, f"{len(everything) - 200} of them are not on this page")
    give(images, "all but one")
    assert tagged(ui, "all but one") == everything - {out}
    images.locator("#notices").get_by_role("button", name="Undo").click()
    told(images, "Undone.")
    assert tagged(ui, "all but one") == set()


def test_a_range_goes_from_the_last_click_and_follows_the_next_one(images):
    """Traps 4 and 5: also where the last click left an image out."""
    choose(images, 2, "Control")
    choose(images, 8, "Shift")
    told(images, "7 images from the last one")
    assert chosen(images) == [*range(2, 9)]
    choose(images, 5, "Shift")
    assert chosen(images) == [*range(2, 6)]
    choose(images, 4, "Control")
    assert chosen(images) == [2, 3, 5]
    choose(images, 7, "Shift")
    assert chosen(images) == [*range(2, 8)]


def test_where_the_last_click_is_not_shown_a_range_is_one_image(images, ui):
    """Trap 4: nothing that nobody sees is chosen by it."""
    choose(images, 100, "Control")
    images.goto(f"/panoptic/{corpus_of(ui)}/images?folder=tools")
    choose(images, 3, "Shift")
    assert chosen(images) == [3]
    count(images, "2 images are chosen")
    choose(images, 5, "Shift")
    assert chosen(images) == [3, 4, 5]


def test_the_selection_is_one_for_all_pages_and_comes_back_after_esc(images, ui):
    """Interactions 6 and 7, trap 3."""
    choose(images, 0, "Control")
    choose(images, 1, "Control")
    node = re.search(r"demo/\d+", ui.command("clusters", "demo"))
    images.goto(f"/panoptic/{corpus_of(ui)}/clusters/{node[0] if node else 'demo/0'}")
    count(images, "2 images are chosen")
    images.keyboard.press("Escape")
    told(images, "2 images are not chosen any more")
    images.locator("#tray").wait_for(state="hidden")
    images.locator("#notices").get_by_role("button", name="Undo").click()
    count(images, "2 images are chosen")


def test_all_images_of_a_cluster_are_marked_on_the_page_of_all_images(images, ui):
    """Interaction 5."""
    images.goto(f"/panoptic/{corpus_of(ui)}/clusters/demo/9")
    total = int(images.locator("main [data-images]").first.get_attribute("data-total"))
    images.locator("[data-choose-scope]").first.click()
    count(images, f"{total} images are chosen")
    ids = {
        one.get_attribute("data-id") for one in images.locator("main [data-images] [data-id]").all()
    }
    assert len(chosen(images)) == len(ids) == total
    images.goto(f"/panoptic/{corpus_of(ui)}/images")
    images.locator("main [data-chosen]").first.wait_for()
    shown = images.locator("main [data-chosen]").evaluate_all("all => all.map(t => t.dataset.id)")
    assert set(shown) <= ids


def test_a_new_run_of_the_chosen_images_is_one_gesture(images, ui):
    """Interaction 4 of the tray: C5."""
    for number in range(8):
        choose(images, number, "Control")
    images.get_by_role("button", name="Cluster", exact=True).click()
    images.locator(".tray-form input[name='key']").fill("chosen")
    images.locator(".tray-form input[name='number']").fill("2")
    images.keyboard.press("Enter")
    images.wait_for_url("**/runs/chosen")
    assert len(Project(ui.folder).assignments("chosen")) == 8


def test_a_tag_is_given_again_by_a_digit_taken_away_and_moved(images, ui):
    """Interaction 19."""
    choose(images, 20, "Control")
    give(images, "one of them")
    choose(images, 21, "Control")
    images.keyboard.press("1")
    told(images, "2 images have got the tag one of them.")
    both = tagged(ui, "one of them")
    assert len(both) == 2
    tray = images.locator("#tray")
    tray.get_by_role("button", name="More", exact=True).click()
    tray.get_by_role("button", name="Move to another tag").click()
    images.locator(".tray-form input[name='tag']").fill("one of them")
    images.locator(".tray-form input[name='to']").fill("another one")
    images.keyboard.press("Enter")
    told(images, "another one")
    assert tagged(ui, "another one") == both
    choose(images, 20, "Control")
    tray.get_by_role("button", name="Take a tag away").click()
    images.locator(".tray-form input[name='tag']").fill("another one")
    images.keyboard.press("Enter")
    told(images, "was taken away")
    assert tagged(ui, "another one") == both - {tile(images, 21).get_attribute("data-id")}


def test_what_is_refused_is_one_line_and_what_was_typed_stays(images, faults):
    choose(images, 30, "Control")
    tray = images.locator("#tray")
    tray.get_by_role("button", name="More", exact=True).click()
    tray.get_by_role("button", name="Take a tag away").click()
    images.locator(".tray-form input[name='tag']").fill("no such tag")
    images.keyboard.press("Enter")
    refusal = images.locator("#notices .notice.wrong p")
    refusal.wait_for()
    assert len(refusal.inner_text().splitlines()) == 1
    assert images.locator(".tray-form input[name='tag']").input_value() == "no such tag"
    faults.clear()  # the browser says that something was refused


def test_a_hostile_tag_is_text_in_the_tray_and_in_the_viewer(images, ui):
    choose(images, 40, "Control")
    give(images, HOSTILE)
    assert images.locator("#notices p", has_text=HOSTILE).count() == 1
    images.keyboard.press("t")
    images.locator(".tray-form .recent", has_text=HOSTILE).wait_for()
    images.keyboard.press("Escape")
    tile(images, 40).locator("a").click()
    images.keyboard.press("i")
    images.locator(".viewer .tags-of", has_text=HOSTILE).wait_for()


def test_the_viewer_goes_on_by_keys_over_the_end_of_the_page_and_back_closes_it(images):
    """Interactions 1 and 8."""
    tile(images, 198).locator("a").press("Enter")
    caption(images, "199 of")
    images.keyboard.press("ArrowRight")
    caption(images, "200 of")
    images.keyboard.press("ArrowRight")
    caption(images, "201 of")
    assert "#image-" in images.url
    images.keyboard.press("ArrowLeft")
    caption(images, "200 of")
    images.go_back()
    images.locator("dialog.viewer").wait_for(state="hidden")
    assert "#" not in images.url
    focused = images.evaluate("document.activeElement.closest('[data-id]').dataset.id")
    assert focused == tile(images, 199).get_attribute("data-id")


def test_an_image_is_enlarged_at_the_pointer_and_seen_whole_again(images):
    """Interaction 9: the point below the pointer stays where it is."""
    tile(images, 2).locator("a").click()
    picture = images.locator(".viewer .pane img")
    caption(images, "300 %")  # images of the sample are small
    box = picture.bounding_box()
    at = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25
    images.mouse.move(*at)
    images.mouse.wheel(0, -400)
    images.locator(".stage.enlarged").wait_for()
    now = picture.bounding_box()
    assert now["width"] > box["width"] * 2
    assert (at[0] - now["x"]) / now["width"] == pytest.approx(0.25, abs=0.01)
    assert (at[1] - now["y"]) / now["height"] == pytest.approx(0.25, abs=0.01)
    images.keyboard.press("z")
    caption(images, "100 %")
    images.keyboard.press("r")
    caption(images, "300 %")
    assert picture.bounding_box() == box


def test_the_viewer_tells_what_is_known_of_an_image_and_takes_tags_and_remarks(images, ui):
    """Part 5: its files, its place in each run, its neighbours; acts stay in the viewer."""
    tile(images, 50).locator("a").click()
    images.keyboard.press("i")
    about = images.locator(".viewer .information")
    about.get_by_role("link", name=re.compile("^demo")).wait_for()
    assert about.locator(".gallery [data-id]").count() == 12
    about.get_by_placeholder("Give a tag").fill("seen in the viewer")
    images.keyboard.press("Enter")
    about.locator(".tags-of", has_text="seen in the viewer").wait_for()
    about.get_by_role("textbox", name=re.compile("Remark on")).fill("a crack\non the left")
    about.get_by_role("button", name="Keep the remark").click()
    about.locator(".said", has_text="a crack").wait_for()
    assert "a crack" in ui.command("remarks")
    assert images.locator("dialog.viewer").is_visible()
    about.get_by_role("button", name="Take the tag seen in the viewer away").click()
    about.locator(".tags-of", has_text="seen in the viewer").wait_for(state="detached")


def test_images_side_by_side_are_enlarged_and_moved_together(images, shot):
    """Interaction 11."""
    for number in (0, 1, 2):
        choose(images, number, "Control")
    images.keyboard.press("c")
    panes = images.locator(".viewer .pane img")
    images.wait_for_function("document.querySelectorAll('.viewer .pane').length === 3")
    caption(images, "3 images side by side")
    for _ in range(4):
        images.keyboard.press("+")
    images.locator(".stage.enlarged").wait_for()
    first = images.locator(".viewer .pane").first.bounding_box()
    images.mouse.move(first["x"] + 100, first["y"] + 100)
    images.mouse.down()
    images.mouse.move(first["x"] + 60, first["y"] + 80)
    images.mouse.up()
    # Which point of each image is in the middle of its pane.
    middles = images.evaluate(
        """() => [...document.querySelectorAll(".viewer .pane")].map((pane) => {
          const room = pane.getBoundingClientRect();
          const box = pane.querySelector("img").getBoundingClientRect();
          const [x, y] = [room.x + room.width / 2, room.y + room.height / 2];
          return [(x - box.x) / box.width, (y - box.y) / box.height];
        })"""
    )
    assert panes.count() == 3
    assert middles[0][0] > 0.5
    for middle in middles[1:]:
        assert middle == pytest.approx(middles[0], abs=0.001)
    shot(images, "compared_images")


def test_an_image_that_cannot_be_shown_is_one_line_in_the_viewer(page, ui, faults):
    page.goto(f"/panoptic/{corpus_of(ui)}/images#image-{'0' * 64}")
    refusal = page.locator(".viewer .refusal")
    refusal.wait_for()
    assert refusal.inner_text().startswith("There is no image of the id")
    assert len(refusal.inner_text().splitlines()) == 1
    page.keyboard.press("Escape")
    page.locator("dialog.viewer").wait_for(state="hidden")
    faults.clear()  # the browser says that the picture is not there


def test_holding_ctrl_over_a_tile_enlarges_it_as_long_as_it_is_held(images):
    """Interaction 10."""
    tile(images, 4).hover()
    images.keyboard.down("Control")
    images.locator("#glimpse").wait_for()
    images.keyboard.up("Control")
    images.locator("#glimpse").wait_for(state="hidden")


def test_everything_is_reached_by_keys(images):
    """From tile to tile, choosing, looking; and keys are letters again where one types."""
    tile(images, 0).locator("a").focus()
    images.keyboard.press("x")
    images.keyboard.press("ArrowRight")
    images.keyboard.press("ArrowRight")
    images.keyboard.press("X")
    assert chosen(images) == [0, 1, 2]
    images.get_by_role("searchbox").focus()
    images.keyboard.type("tx1?")
    assert images.get_by_role("searchbox").input_value() == "tx1?"
    assert chosen(images) == [0, 1, 2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_images_keep_the_rules_of_accessibility(images, ui, accessible, shot, scheme):
    images.emulate_media(color_scheme=scheme)
    choose(images, 1, "Control")
    images.keyboard.press("t")
    images.locator(".tray-form").wait_for()
    accessible(images)
    shot(images, f"images_{scheme}")
    images.keyboard.press("Escape")
    tile(images, 3).locator("a").click()
    images.keyboard.press("i")
    images.locator(".viewer #information").wait_for()
    accessible(images)
    shot(images, f"viewer_{scheme}")
    images.goto(f"/panoptic/{corpus_of(ui)}/images/{tile(images, 3).get_attribute('data-id')}")
    images.locator("main #information").wait_for()
    accessible(images)


def test_a_telephone_shows_pages_of_images_without_scrolling_sideways(images, ui, shot):
    images.set_viewport_size({"width": 390, "height": 844})
    choose(images, 0, "Control")
    count(images, "1 image is chosen")
    wide = "document.documentElement.scrollWidth"
    assert images.evaluate(wide) == 390
    shot(images, "images_phone")
    tile(images, 1).locator("a").click()
    images.keyboard.press("i")
    images.locator(".viewer #information").wait_for()
    assert images.evaluate(wide) == 390
    shot(images, "viewer_phone")
