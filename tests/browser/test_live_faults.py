"""Two reviewers at one cluster, and a worker that is killed: what their pages say and show then."""

import json
import os
import signal

import pytest
from playwright.sync_api import expect

from panoptic_assets.orchestration.worker_link import address_file
from resources.project_folder import dagster_home, find
from tests.served import until

expect.set_options(timeout=60_000)  # as the pages have it, on a machine that is busy


@pytest.fixture
def run_of(page, ui):
    """Make a run of its own for a test, and open it."""
    page.goto(f"/panoptic/{ui.folder.name}/")

    def make(key, nb_clusters=4):
        body = {"key": key, "config": {"method": {"kmeans": {"nb_clusters": nb_clusters}}}}
        state = page.evaluate(
            """async ([api, body]) => {
            const asked = {method: "POST", headers: {"Content-Type": "application/json"}};
            const made = await fetch(`${api}/acts/cluster`, {...asked, body: JSON.stringify(body)});
            const act = await made.json();
            await (await fetch(act.events)).text();
            return (await (await fetch(`${api}/acts/${act.act}`)).json()).state;
            }""",
            [f"/panoptic/{ui.folder.name}/api", body],
        )
        assert state == "done"
        page.goto(f"/panoptic/{ui.folder.name}/runs/{key}")
        return page

    return make


@pytest.fixture
def worker(ui):
    """Gives the process id of the worker, once there is one."""
    file = address_file(dagster_home(find(ui.folder)))

    def running():
        try:
            pid = json.loads(file.read_bytes())["pid"]
            os.kill(pid, 0)
        except (OSError, ValueError, KeyError):
            return None
        return pid

    return lambda: until(running)


def divide(page, node, number):
    """Ask on the card of a cluster for that many clusters."""
    field = page.locator(f"article[data-node='{node}']").get_by_label("into").first
    field.fill(str(number))
    field.press("Enter")


def clusters_of(page, node):
    return page.locator(f"article[data-node='{node}'] .kin > article")


def test_the_second_who_divides_a_cluster_is_refused_in_one_line_and_sees_the_first_division(
    run_of, page, browser, ui
):
    """The other page does not poll meanwhile, so it rests on what is not so any more."""
    run_of("f-two")
    other = browser.new_context(base_url=ui.url)
    other.set_default_timeout(60_000)
    try:
        second = other.new_page()
        second.route("**/api/version", lambda route: route.abort())
        second.goto(f"/panoptic/{ui.folder.name}/runs/f-two")
        divide(page, "f-two/0", 2)
        expect(clusters_of(page, "f-two/0")).to_have_count(2)
        divide(second, "f-two/0", 3)
        said = second.get_by_role("alert")
        said.first.wait_for()
        assert len(said.first.locator("p").first.inner_text().splitlines()) == 1
        expect(clusters_of(second, "f-two/0")).to_have_count(2)
    finally:
        other.close()


def test_a_worker_that_is_killed_amid_a_division_is_told_and_the_next_click_divides(
    run_of, page, worker, faults
):
    """An automatic division tries many numbers: when it was accepted, most of it is still to come.

    One line says what became of it, nothing of it is there, and the page needs no new start.
    """
    run_of("f-killed", 2)
    pid = worker()
    automatically = page.locator("article[data-node='f-killed/0']").get_by_role(
        "button", name="Automatically"
    )
    with page.expect_response("**/acts/divide") as accepted:
        automatically.first.click()
    os.kill(pid, signal.SIGKILL)
    assert accepted.value.status == 202
    said = page.get_by_role("alert").filter(has_text="The worker that carried this out has ended")
    said.first.wait_for()
    assert len(said.first.locator("p").first.inner_text().splitlines()) == 1
    expect(clusters_of(page, "f-killed/0")).to_have_count(0)
    divide(page, "f-killed/0", 2)
    expect(clusters_of(page, "f-killed/0")).to_have_count(2)
    faults[:] = [fault for fault in faults if "503" not in fault]
