"""Two reviewers at one cluster, killed and hanging workers, a stopped server, a full disk, a corpus
that changed: what the pages say and show then.

Each fault is told in one line, nothing of the act is half done, and the next click acts, without
the page being opened anew. Does not belong here: the same faults without a browser
(``tests/faults``), and acts at random (``test_two_browsers.py``).
"""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from panoptic_assets.orchestration.worker_link import address_file
from panoptic_assets.project import Project
from resources.project_folder import dagster_home, find
from tests.browser.conftest import Ui, start, stop
from tests.faults.test_faults import check_answers_are_whole, check_nothing_is_twice, fill
from tests.served import until
from tests.tiny import tiny_project, write_images
from tests.workbench import bench_of

expect.set_options(timeout=60_000)  # as the pages have it, on a machine that is busy

NB_IMAGES = 40
OFTEN = re.compile(r"status of (404|409|422|503)|net::ERR_")
"""What the browser itself says of a request that is refused, or of a server that is gone."""


class Opened:
    """A small project whose store has a disk of its own; it is closed and opened again."""

    def __init__(self, place):
        self.images = place / "images"
        project = tiny_project(place, NB_IMAGES)
        self.folder = project.folder
        self.disk = Path(project.store)
        self.disk.mkdir(parents=True, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(self.disk)]
        self.is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        self.bench = bench_of(self.folder)
        self.read_images()
        self.process, self.url = start(self.folder)

    def read_images(self):
        """As the command does it, beside the open pages."""
        self.bench.make("images")
        self.bench.make("embeddings", "tiny")

    def close(self):
        """As Ctrl-C does it."""
        assert stop(self.process) == 0

    def open_again(self):
        """At the same address."""
        self.process, _ = start(self.folder, "--port", self.url.rpartition(":")[2])

    def worker(self):
        """The process id of the worker, once there is one."""
        file = address_file(dagster_home(find(self.folder)))

        def running():
            try:
                pid = json.loads(file.read_bytes())["pid"]
                os.kill(pid, 0)
            except (OSError, ValueError, KeyError):
                return None
            return pid

        return until(running)


@pytest.fixture(scope="module")
def opened(chromium, tmp_path_factory):
    """One for all: it costs more to open than all that is done in it."""
    found = Opened(tmp_path_factory.mktemp("live_faults"))
    yield found
    found.close()
    if found.is_mounted:
        subprocess.run(["umount", "--lazy", str(found.disk)], check=True)


@pytest.fixture(scope="module")
def ui(opened):
    return Ui(opened.folder, opened.url)


@pytest.fixture
def corpus(ui):
    """The address of the project's pages."""
    return f"/panoptic/{ui.folder.name}"


@pytest.fixture
def run_of(page, corpus, faults):
    """Make a run of its own for a test, and open it."""

    def make(key, nb_clusters=4):
        page.goto(f"{corpus}/")
        body = {"key": key, "config": {"method": {"kmeans": {"nb_clusters": nb_clusters}}}}
        state = page.evaluate(
            """async ([api, body]) => {
            const asked = {method: "POST", headers: {"Content-Type": "application/json"}};
            const made = await fetch(`${api}/acts/cluster`, {...asked, body: JSON.stringify(body)});
            const act = await made.json();
            await (await fetch(act.events)).text();
            return (await (await fetch(`${api}/acts/${act.act}`)).json()).state;
            }""",
            [f"{corpus}/api", body],
        )
        assert state == "done"
        page.goto(f"{corpus}/runs/{key}")
        return page

    yield make
    faults[:] = [fault for fault in faults if not OFTEN.search(fault)]


def divide(page, node, number):
    """Ask on the card of a cluster for that many clusters."""
    field = page.locator(f"article[data-node='{node}']").get_by_label("into").first
    field.fill(str(number))
    field.press("Enter")


def clusters_of(page, node):
    """The cards of the clusters that it was divided into."""
    return page.locator(f"article[data-node='{node}'] .kin > article")


def one_line(page, text=""):
    """Wait for what is said of a fault, which is one line; close it."""
    said = page.get_by_role("alert").filter(has_text=text).first
    said.wait_for()
    line = said.locator("p").first.inner_text()
    assert len(line.splitlines()) == 1
    page.locator(".notice .close").evaluate_all("all => all.forEach(close => close.click())")
    return line


def test_the_second_who_divides_a_cluster_is_refused_in_one_line_and_sees_the_first_division(
    run_of, page, browser, ui, corpus
):
    """The other page does not poll meanwhile, so it rests on what is not so any more."""
    run_of("f-two")
    other = browser.new_context(base_url=ui.url)
    other.set_default_timeout(60_000)
    try:
        second = other.new_page()
        second.route("**/api/version", lambda route: route.abort())
        second.goto(f"{corpus}/runs/f-two")
        divide(page, "f-two/0", 2)
        expect(clusters_of(page, "f-two/0")).to_have_count(2)
        divide(second, "f-two/0", 3)
        one_line(second, "f-two/0 has changed since it was shown")
        expect(clusters_of(second, "f-two/0")).to_have_count(2)
    finally:
        other.close()


def test_a_worker_that_is_killed_amid_a_division_is_told_and_the_next_click_divides(
    run_of, page, opened
):
    """An automatic division tries many numbers: when it was accepted, most of it is still to come.

    One line says what became of it, nothing of it is there, and the page needs no new start.
    """
    run_of("f-killed", 2)
    pid = opened.worker()
    automatically = page.locator("article[data-node='f-killed/0']").get_by_role(
        "button", name="Automatically"
    )
    with page.expect_response("**/acts/divide") as accepted:
        automatically.first.click()
    os.kill(pid, signal.SIGKILL)
    assert accepted.value.status == 202
    one_line(page, "The worker that carried this out has ended")
    expect(clusters_of(page, "f-killed/0")).to_have_count(0)
    divide(page, "f-killed/0", 2)
    expect(clusters_of(page, "f-killed/0")).to_have_count(2)


def test_a_worker_that_hangs_shows_what_is_waited_for_and_the_act_can_be_cancelled(
    run_of, page, opened
):
    """The request for the act is not answered as long as the worker does not prepare it."""
    run_of("f-hangs")
    pid = opened.worker()
    os.kill(pid, signal.SIGSTOP)
    try:
        divide(page, "f-hangs/0", 2)
        lines = page.locator(".notice.ongoing").filter(has_text="Dividing")
        expect(lines).to_have_count(1)
        divide(page, "f-hangs/1", 2)
        expect(lines).to_have_count(2)
        lines.first.get_by_role("button", name="Cancel").click()
        assert "nothing is half done" in one_line(page, "was stopped")
        expect(lines).to_have_count(1)
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(clusters_of(page, "f-hangs/1")).to_have_count(2)
    expect(clusters_of(page, "f-hangs/0")).to_have_count(0)
    divide(page, "f-hangs/0", 2)
    expect(clusters_of(page, "f-hangs/0")).to_have_count(2)


def tag_the_cluster(page, run):
    """All images of a scope, which the server resolves."""
    field = page.locator(f"article[data-node='{run}/0'] .tagging input").first
    field.fill(run)
    field.press("Enter")


def rename_the_tag(page, run):
    page.locator(f"#tag-tree [data-path='{run} old'] .tag-name").click()
    page.locator(".renaming").fill(run)
    page.locator(".renaming").press("Enter")


def leave_two_out(page, run):
    tray = page.locator("#tray")
    if not tray.is_visible():  # or it is still open
        for number in (0, 1):
            page.locator("main [data-images] button.choose").nth(number).click()
        tray.get_by_role("button", name="More", exact=True).click()
        tray.get_by_role("button", name="Leave out of a run").click()
        tray.locator("select[name='run']").select_option(run)
    tray.get_by_role("button", name="Leave them out").click()


def remark_on_the_run(page, run):
    page.locator(".remark-of textarea").fill(run)
    page.get_by_role("button", name="Keep the remark").click()


ACTS = {
    "tag": ("runs/f-tag", tag_the_cluster),
    "edit": ("tags?property=F", rename_the_tag),
    "remark": ("runs/f-remark", remark_on_the_run),
    "leave-out": ("images", leave_two_out),
}
"""By name: a page, and what is done there."""


def is_done(folder, name, run):
    """Whether such an act is there as a whole; not at all, else."""
    project = Project(folder, worker="none").snapshot()
    tags = {tag["path"]: len(tag["image_ids"]) for tag in project.tags()}
    rows = project.assignments(run)
    in_first = rows["cluster"].to_pylist().count("0")
    found = {
        "tag": (tags.get(run, 0), in_first),
        "edit": (("f-edit" in tags) - ("f-edit old" in tags), 1),
        "leave-out": (NB_IMAGES - len(rows), 2),
        "remark": ([one["text"] for one in project.remarks(run)], [run]),
    }
    there, whole = found[name]
    assert there in (whole, 0, -1, []), found
    return there == whole


def test_a_worker_that_is_killed_amid_acts_leaves_each_whole_or_absent_and_the_next_click_acts(
    run_of, page, opened, corpus
):
    """One of four is being carried out, others wait: they are told as lost, or done by the next."""
    for name in ACTS:
        run_of(f"f-{name}")
    body = {"edits": [{"create": {"tag": "f-edit old", "property": "F"}}]}
    asked = page.request.post(f"{corpus}/api/acts/edit", data=body).json()
    page.request.get(asked["events"])
    pages = {name: page.context.new_page() for name in ACTS}
    for name, (place, _) in ACTS.items():
        pages[name].goto(f"{corpus}/{place}")
    pid = opened.worker()
    with pages["leave-out"].expect_response("**/acts/leave-out") as accepted:
        for name, (_, act) in ACTS.items():
            act(pages[name], f"f-{name}")
    os.kill(pid, signal.SIGKILL)
    assert accepted.value.status == 202

    def done(name):
        return is_done(opened.folder, name, f"f-{name}")

    for name, (_, act) in ACTS.items():
        shown = pages[name]
        wrong = shown.get_by_role("alert")
        # What is told of an act that is done goes by itself.
        until(lambda: wrong.count() or done(name))  # noqa: B023
        expect(shown.locator(".notice.ongoing")).to_have_count(0)
        if wrong.count():
            one_line(shown, "The worker that carried this out has ended")
        if not done(name):
            act(shown, f"f-{name}")
            until(lambda: done(name))  # noqa: B023
    check_answers_are_whole(Project(opened.folder).store)
    check_nothing_is_twice(Project(opened.folder).store)


def test_a_server_that_is_stopped_amid_an_act_is_told_and_the_page_goes_on_with_the_next_one(
    run_of, page, opened
):
    """The worker hangs, so that the act is not done before the server is stopped."""
    run_of("f-stopped")
    os.kill(opened.worker(), signal.SIGSTOP)
    divide(page, "f-stopped/0", 2)
    page.locator(".notice.ongoing").wait_for()
    opened.close()
    assert "nothing is half done" in one_line(page, "was stopped")
    name = page.get_by_label("Name of f-stopped/1").first
    name.fill("without a server")
    name.press("Enter")
    one_line(page, "The server does not answer")
    assert [row["key"] for row in Project(opened.folder).runs("f-stopped")] == ["f-stopped"]
    opened.open_again()
    name.fill("with one")
    name.press("Enter")
    page.get_by_role("status").filter(has_text="f-stopped/1 has the name now.").wait_for()
    divide(page, "f-stopped/1", 2)
    expect(clusters_of(page, "f-stopped/1")).to_have_count(2)


def test_a_full_disk_is_told_in_one_line_and_with_room_the_same_click_acts(run_of, page, opened):
    if not opened.is_mounted:
        pytest.skip("Only root may mount a small disk (and not in every container).")
    run_of("f-full")
    field = page.locator("article[data-node='f-full/0'] .tagging input").first
    for act in (
        lambda: divide(page, "f-full/0", 2),
        lambda: (field.fill("f-full"), field.press("Enter")),
    ):
        fill(opened.disk, 0)
        try:
            act()
            assert str(opened.disk) in one_line(page, "There is no space left for the store")
        finally:
            fill(opened.disk, None)
        store = Project(opened.folder).store
        check_answers_are_whole(store)
        check_nothing_is_twice(store)
    expect(clusters_of(page, "f-full/0")).to_have_count(0)
    divide(page, "f-full/0", 2)
    expect(clusters_of(page, "f-full/0")).to_have_count(2)


def test_a_corpus_that_was_read_meanwhile_is_seen_and_what_was_prepared_before_it_is_right(
    run_of, page, opened, corpus, browser, ui
):
    """Pages that are open say by themselves that a run is older than its images.

    A cluster is divided as it was shown; a form that was open clusters the images there are now.
    """
    run_of("f-read")
    other = browser.new_context(base_url=ui.url)
    other.set_default_timeout(60_000)
    try:
        form = other.new_page()
        form.route("**/api/version", lambda route: route.abort())
        form.goto(f"{corpus}/new")
        expect(form.locator("#size")).to_contain_text(str(NB_IMAGES))
        field = page.locator("article[data-node='f-read/0']").get_by_label("into").first
        field.fill("3")
        write_images(opened.images, 3, start=NB_IMAGES)
        opened.read_images()
        stale = page.locator(".note.stale")
        expect(stale).to_contain_text("3")
        field.press("Enter")
        expect(clusters_of(page, "f-read/0")).to_have_count(3)
        form.locator("#key").fill("f-form")
        form.locator("#go").click()
        form.wait_for_url("**/runs/f-form")
    finally:
        other.close()
    assert len(Project(opened.folder).assignments("f-form")) == NB_IMAGES + 3
