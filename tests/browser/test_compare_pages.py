"""Comparisons as a reviewer uses them: choose two, look at what moved."""

import re

import pytest
from playwright.sync_api import expect

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def open_comparison(page, ui):
    def go(query="", **media):
        page.emulate_media(**media)
        page.goto(f"{ui.url}/panoptic/sample_project/compare{query}")
        return page

    return go


def test_two_runs_are_chosen_from_lists_and_swapped(open_comparison, accessible, shot):
    """D57: how do I compare runs?"""
    page = open_comparison()
    accessible(page)
    shot(page, "live_comparison")
    page.get_by_role("combobox", name="Compare", exact=True).select_option("demo")
    page.get_by_role("combobox", name="with", exact=True).select_option("birch")
    page.wait_for_url("**/compare?a=demo&b=birch*")
    expect(page.locator("h1")).to_have_text(re.compile("demo.*birch"))
    accessible(page)
    shot(page, "live_pair", full_page=True)
    page.get_by_role("link", name="Swap the two").click()
    expect(page.locator("h1")).to_have_text(re.compile("birch.*demo"))


def test_the_images_of_a_cell_can_be_chosen(open_comparison):
    """D58: what two runs do not agree on goes on to the next act."""
    page = open_comparison("?a=demo&b=birch")
    cell = page.locator("table.heat td a").first
    count = int(cell.text_content())
    cell.click()
    tiles = page.locator("#both [data-id]")
    expect(tiles).to_have_count(count)
    tiles.first.locator("button.choose").click()
    expect(page.locator("#tray")).to_contain_text("1 image is chosen")
    page.keyboard.press("Escape")


def test_a_comparison_fits_a_phone_and_the_dark(open_comparison, accessible, shot):
    page = open_comparison("?a=demo&b=folders", color_scheme="dark")
    accessible(page)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    shot(page, "live_pair_phone")
    page = open_comparison("?against=folders", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
