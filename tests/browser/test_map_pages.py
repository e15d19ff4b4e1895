"""Maps as a reviewer uses them: hover, draw around, colours, divide."""

import base64
import re

import numpy as np
import pytest
from playwright.sync_api import expect

HOSTILE = "<img src=x onerror=\"document.title='owned'\" {{7*7}}"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def open_map(page, ui):
    """Open a map, of the corpus by default, and wait until it is drawn."""

    def go(query="", **media):
        page.emulate_media(**media)
        page.goto(f"{ui.url}/panoptic/sample_project/map{query}")
        page.locator("#map-app[data-ready]").wait_for()
        return page

    return go


def places(page, query=""):
    """Where each image is on the screen, when all of the map is seen; and its name."""
    told = page.request.get(f"{page.url.partition('/map')[0]}/api/map/points{query}").json()
    x, y = (np.frombuffer(base64.b64decode(told[name]), "<f4").astype(float) for name in "xy")
    box = page.locator("#map canvas").bounding_box()
    scale = min((box["width"] - 56) / np.ptp(x), (box["height"] - 56) / np.ptp(y))
    left = box["x"] + box["width"] / 2 + (x - (x.max() + x.min()) / 2) * scale
    top = box["y"] + box["height"] / 2 - (y - (y.max() + y.min()) / 2) * scale
    return list(zip(left.tolist(), top.tolist(), told["names"], strict=True))


def draw_around(page, corners, button="left"):
    page.mouse.move(*corners[0])
    page.mouse.down(button=button)
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=8)
    page.mouse.up(button=button)


def test_a_picture_is_shown_beside_the_point_and_a_click_opens_it(open_map, shot):
    """C2, D28: an image for each point."""
    page = open_map()
    page.get_by_label("Pictures").uncheck()
    x, y, name = places(page)[20]
    page.mouse.move(x, y)
    card = page.locator("#hovered")
    expect(card).to_be_visible()
    expect(card.locator(".name")).to_have_text(name)
    expect(page.locator("#map .ring")).to_be_visible()
    box = card.bounding_box()
    assert not (box["x"] < x < box["x"] + box["width"])
    shot(page, "live_map_hover")
    page.mouse.click(x, y)
    viewer = page.locator("dialog[open]")
    expect(viewer).to_be_visible()
    expect(page).to_have_url(re.compile(f"#image-{card.get_attribute('data-id')}$"))
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)


def test_what_is_drawn_around_is_chosen_and_taken_out_again(open_map, shot):
    """C3: a part of the map goes to the server as it was drawn."""
    page = open_map()
    box = page.locator("#map canvas").bounding_box()
    left, top = box["x"] + 4, box["y"] + 4
    middle, end = box["x"] + box["width"] / 2, box["y"] + box["height"] - 4
    inside = sum(x < middle for x, _, _ in places(page))
    draw_around(page, [(left, top), (middle, top), (middle, end), (left, end)])
    tray = page.locator("#tray")
    expect(tray).to_contain_text(f"{inside} images are chosen")
    kept = page.evaluate("Object.values(sessionStorage).find(text => text.includes('region'))")
    assert '"projection":"mini/tsne"' in kept
    shot(page, "live_map_lasso")
    draw_around(page, [(left, top), (middle, top), (middle, end), (left, end)], "right")
    expect(tray).to_be_hidden()


def test_colours_are_hidden_shown_alone_and_searched(open_map, accessible, shot):
    """D37, D39: by folder, tag and cluster; the numbers follow."""
    page = open_map("?run=demo")
    accessible(page)
    entries = page.locator("#legend [data-code]")
    expect(entries).to_have_count(10)
    first = entries.first
    all_of_it = first.locator(".count").text_content()
    first.locator(".show").click()
    expect(first.locator(".show")).to_have_attribute("aria-pressed", "false")
    expect(first.locator(".count")).to_have_text(f"0/{all_of_it}")
    entries.nth(3).locator(".show").dblclick()
    expect(page.locator("#legend .show[aria-pressed='true']")).to_have_count(1)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Colour by").select_option("folder")
    expect(page).to_have_url(re.compile("colour=folder"))
    page.get_by_label("Search in the list").fill("fish")
    expect(page.locator("#legend [data-code]:visible")).to_have_count(1)
    shot(page, "live_map_legend")


def test_a_cluster_is_divided_from_the_list_of_colours(open_map, ui):
    """C5: where it is seen, by keys alone."""
    ui.command("cluster", "mapped", "--method", "kmeans", "--nb-clusters", 4)
    page = open_map("?run=mapped")
    page.locator("#legend .more").first.focus()
    page.keyboard.press("d")
    card = page.locator("#cluster-card")
    expect(card.get_by_role("link", name="Open the cluster")).to_be_visible()
    page.keyboard.press("Enter")
    page.get_by_text("mapped/0 was divided.").wait_for()
    expect(page.get_by_label("Colour by").locator("option[value='deepest']")).to_have_count(1)
    expect(card).to_be_hidden()
    assert "mapped/0" in ui.command("runs")


def test_a_map_works_by_keys_in_the_dark_and_on_a_phone(open_map, accessible, shot):
    page = open_map(color_scheme="dark")
    accessible(page)
    shot(page, "live_map_dark")
    page.locator("#map").focus()
    for _ in range(8):
        page.keyboard.press("+")
    expect(page.locator("#map-remark")).to_contain_text("of 253 images are in view.")
    page.keyboard.press("0")
    expect(page.locator("#map-remark")).to_be_empty()
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    shot(page, "live_map_phone")


def test_nothing_of_a_hostile_name_runs(open_map, ui):
    ui.command("members", "demo/0", "--tag", HOSTILE)
    page = open_map("?run=demo")
    page.get_by_label("Colour by").select_option("tag:Clustering")
    entry = page.locator("#legend [data-code]").filter(has_text=HOSTILE)
    expect(entry).to_be_visible()
    entry.locator(".more").click()
    expect(page.locator("#cluster-card h2")).to_have_text(HOSTILE)
    assert page.title() != "owned"
    assert page.locator("img[src='x']").count() == 0
