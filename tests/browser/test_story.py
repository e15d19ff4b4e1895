"""The story of the method's page, clicked in the browser and typed as commands: one end state."""

import shutil

import pytest
from playwright.sync_api import expect

from panoptic_assets.project import Project
from panoptic_assets.spec.records import digest
from tests.browser.conftest import Ui, start, stop
from tests.commands import run

NAMES = {
    "0": "Drapeaux d’Europe",
    "1": "Éoliennes",
    "2": "Fleurs séchées",
    "3": "Tools",
    "4": "Cars",
}
"""Five new names, three of them French."""
MOST_CLICKS = 30
SLOW = 300_000
"""Milliseconds: they only end what would wait for ever."""


def end_state(folder):
    """A hash of all answers and of what the tags say, whatever their ids are."""
    project = Project(folder)
    answers = sorted((row["key"], project.run_info(row["key"])["output"]) for row in project.runs())
    tags = sorted((tag["path"], sorted(tag["image_ids"])) for tag in project.tags())
    return digest(answers, tags)


@pytest.fixture(scope="module")
def ui(embedded_folder, chromium, tmp_path_factory):
    """A project of its own, without any run, that is open."""
    folder = tmp_path_factory.mktemp("story") / "été à Orléans"
    shutil.copytree(embedded_folder, folder)
    process, url = start(folder)
    yield Ui(folder, url)
    assert stop(process) == 0


class Reviewer:
    """A person at the pages, whose clicks are counted; keys are not."""

    def __init__(self, page):
        self.page = page
        self.clicks = 0

    def click(self, what, **options):
        self.clicks += 1
        what.click(timeout=SLOW, **options)

    def button(self, name, within=None, exact=True):
        return (within or self.page).get_by_role("button", name=name, exact=exact)

    def go(self, name):
        """Follow a link of the pages' top."""
        self.click(self.page.locator("header.site").get_by_role("link", name=name, exact=True))
        self.page.wait_for_load_state()

    def card(self, node):
        return self.page.locator(f"article[data-node='{node}']")

    def told(self, text):
        self.page.locator("#notices").get_by_text(text).wait_for(timeout=SLOW)

    def name_of(self, tag):
        return self.page.locator(f".tag-tree [data-path='{tag}'] > .row .tag-name")

    def rename(self, tag, name):
        self.click(self.name_of(tag))
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        expect(self.name_of(name)).to_be_visible(timeout=SLOW)


def test_the_method_s_story_takes_few_clicks_and_ends_as_the_same_commands_do(
    ui, page, tmp_path, embedded_folder
):
    """C1-C19: map, cluster, divide, force, save, complete, rename, merge, undo, redo."""
    reviewer = Reviewer(page)
    page.goto("/panoptic/")

    # C2: does the corpus split well?
    reviewer.go("Map")
    expect(page.get_by_text("All 253 images are points")).to_be_visible(timeout=SLOW)

    # C3-C5: a normal clustering, the number chosen automatically, listed from the tightest on.
    reviewer.go("New clustering")
    page.locator("#key").fill("story")
    reviewer.click(page.locator("label.automatic:visible").first)
    expect(page.locator("#size")).to_contain_text("253", timeout=SLOW)
    reviewer.click(page.locator("#go"))
    page.wait_for_url("**/runs/story", timeout=SLOW)
    nodes = page.locator("article.cluster[data-node]").evaluate_all(
        "found => found.map(card => card.dataset.node)"
    )
    assert nodes[-1] == "story/remainder"
    wide = nodes[-2]

    # C6-C9: a wide cluster is cut in two.
    reviewer.click(reviewer.button("Divide", reviewer.card(wide)))
    reviewer.card(f"{wide}/1").wait_for(timeout=SLOW)

    # C10-C12: the remainder stays whole; a number forces a cut.
    remainder = reviewer.card("story/remainder")
    reviewer.click(reviewer.button("Automatically", remainder.locator(".dividing").first))
    force = reviewer.button("Force a cut into 3", remainder)
    force.first.wait_for(timeout=SLOW)
    reviewer.click(force.first)
    reviewer.card("story/remainder/2").wait_for(timeout=SLOW)

    # C13: saved.
    reviewer.click(reviewer.button("Save as tags…"))
    reviewer.click(reviewer.button("Save", page.locator("#save-words")))
    reviewer.told("The clusters are tags now.")

    # C14-C16: which groups could be completed?
    reviewer.go("Tags")
    reviewer.click(page.get_by_role("link", name="Recommendations", exact=True))
    reviewer.click(reviewer.button("Look for images that fit"))
    group = page.locator("ul.proposals").first
    group.wait_for(timeout=SLOW)
    tag = group.get_attribute("data-path")
    best = group.locator("[data-proposed]").first
    accepted = best.get_attribute("data-id")
    reviewer.click(best.locator("[data-judge='accept']"))
    expect(group.locator(f"[data-id='{accepted}']")).to_have_count(0, timeout=SLOW)

    # C17: five tags get names.
    reviewer.go("Tags")
    for old, new in NAMES.items():
        reviewer.rename(old, new)

    # C18-C19: two are merged, that is undone, and done again.
    for path in ("5", "6"):
        reviewer.click(
            page.locator(f".tag-tree [data-path='{path}'] > .row"),
            modifiers=["Shift"] if path == "6" else ["Control"],
            position={"x": 400, "y": 10},
        )
    reviewer.click(reviewer.button("Merge", page.locator("#picked"), exact=False).first)
    expect(reviewer.name_of("6")).to_have_count(0, timeout=SLOW)
    page.keyboard.press("Control+Z")
    expect(reviewer.name_of("6")).to_be_visible(timeout=SLOW)
    page.keyboard.press("Control+Shift+Z")
    expect(reviewer.name_of("6")).to_have_count(0, timeout=SLOW)

    print(f"{reviewer.clicks} clicks")
    assert reviewer.clicks <= MOST_CLICKS

    folder = tmp_path / "typed"
    shutil.copytree(embedded_folder, folder)
    run("cluster", "story", "--nb-clusters", -1, cwd=folder)
    run("divide", wide, "--nb-clusters", 2, cwd=folder)
    run("divide", "story/remainder", "--nb-clusters", -1, cwd=folder)
    run("divide", "story/remainder", "--nb-clusters", 3, "--replace", cwd=folder)
    run("save", "story", cwd=folder)
    run("tag", "accept", tag, accepted, cwd=folder)
    for old, new in NAMES.items():
        run("tag", "rename", old, new, cwd=folder)
    run("tag", "merge", "5", "6", "--into", "5", cwd=folder)
    run("tag", "undo", cwd=folder)
    run("tag", "redo", cwd=folder)
    assert end_state(ui.folder) == end_state(folder)
