"""The manual as it is read in a browser."""

import pytest

from panoptic_assets.manual.contents import pages
from panoptic_assets.serve.manual import MOUNT
from tests.browser.test_reports import PHONE, hard_to_read, pictures_are_there


def test_words_lead_to_the_section_that_explains_them(page, shot):
    """Two steps: the words, and the link."""
    page.goto(f"{MOUNT}/en/index")
    page.get_by_role("searchbox").fill("disk away")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="When a disk is away").click()
    page.wait_for_url("**/en/how-to/growing-corpus#when-a-disk-is-away")
    assert page.locator("#when-a-disk-is-away").is_visible()
    shot(page, "manual-found")


def test_a_page_is_read_in_the_other_language_by_one_click(page, shot):
    page.goto(f"{MOUNT}/en/tutorial")
    page.get_by_role("link", name="Français").click()
    page.locator("h1", has_text="Tutoriel").wait_for()
    assert pictures_are_there(page)
    shot(page, "manual-french")


def test_the_manual_is_one_click_from_an_address_without_a_report(page):
    page.goto("/panoptic/reports/runs/none/index.html")
    page.get_by_role("link", name="Manual").click()
    page.get_by_role("heading", name="The manual of panoptic_assets", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_can_be_read(page, shot, scheme):
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme)
    for each in pages("fr"):
        page.goto(f"{MOUNT}/{each.language}/{each.name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], each.name
        assert hard_to_read(page) == {}, each.name
    shot(page, f"manual-phone-{scheme}")
