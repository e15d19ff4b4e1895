"""The real `panoptic-assets ui` on the sample, and a Chromium to look at it.

Screenshots are kept in `.pytest_screenshots/`. Without a Chromium (`$CHROMIUM`, or one on the path)
these tests are skipped.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import environment, run

_NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox"]  # Chromium refuses its sandbox to root, as which containers run
PAGES_ALONE = ["--disable-gpu", "--disable-software-rasterizer"]
"""A sixth less CPU than with WebGL."""
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""Without a graphics card: the maps of the reports are drawn with it."""


@dataclass(frozen=True)
class Ui:
    """A project that `panoptic-assets ui` has open."""

    folder: Path
    url: str

    def command(self, *arguments: object) -> str:
        """Run a command on the project while the UI is open; return what it prints."""
        return run(*arguments, cwd=self.folder, process=True).stdout


def start(folder: Path, *arguments: str, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """Start the UI of a project on a free port; return its process and where it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "panoptic_assets.cli.main", "ui", "--port", "0", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    said = []
    for line in process.stdout:  # the daemon may speak first
        if found := re.search(r"The Dagster UI of .*: (http://\S+)", line):
            return process, found[1]
        said.append(line)
    raise AssertionError(f"said {said}, ended with {process.poll()}")


def stop(process: subprocess.Popen[str]) -> int:
    """Press Ctrl-C; return the exit status."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(90)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def chromium():
    """Path of the browser."""
    given = os.environ.get("CHROMIUM")
    path = given or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no {' or '.join(_NAMES)} is installed, and $CHROMIUM names none")
    return path


@pytest.fixture(scope="session")
def reported_folder(chromium, embedded_folder, once):
    """The sample with the runs `demo`, divided, named and reported, and `birch`, compared."""

    def write(folder):
        shutil.copytree(embedded_folder, folder, dirs_exist_ok=True)
        for arguments in (
            ("cluster", "demo", "--method", "kmeans", "--nb-clusters", 10),
            ("divide", "demo/9", "--nb-clusters", 2),
            ("label", "demo", "--language", "fr"),
            ("cluster", "birch", "--method", "birch", "--nb-clusters", 6),
            ("compare", "demo", "birch", "--report"),
            ("project", "mini/tsne", "--method", "tsne"),
            ("report", "demo"),
        ):
            run(*arguments, cwd=folder)

    return once("reported", write)


# Not for the session: its daemon would work beside all the tests that follow.
@pytest.fixture(scope="package")
def ui(reported_folder, tmp_path_factory):
    """A copy of it that is open."""
    folder = tmp_path_factory.mktemp("browser") / "sample_project"
    shutil.copytree(reported_folder, folder)
    process, url = start(folder)
    yield Ui(folder, url)
    assert stop(process) == 0


@pytest.fixture(scope="module")
def graphics():
    """How Chromium draws; a module whose pages need WebGL says so."""
    return PAGES_ALONE


# Not for the session: while it runs, nothing else in this process can use asyncio.
@pytest.fixture(scope="module")
def browser(chromium, graphics, ui):  # whose commands ran in this process
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=OPTIONS + graphics)
        yield launched
        launched.close()


@pytest.fixture
def faults():
    """What must not happen in a browser; a test that provokes one takes it out again."""
    return []


@pytest.fixture
def page(browser, ui, faults):
    """A page of a new browser, whose every request must go to the UI's own address.

    An error in a page of ours, a refused inline script included, fails the test at its end.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=ui.url)
    context.set_default_timeout(60_000)
    # Not ui.url: `http://127.0.0.1:80` also begins `http://127.0.0.1:8000`.
    own = (f"{ui.url}/", f"{ui.url.replace('http', 'ws', 1)}/", "data:", "blob:", "about:")

    def watch(opened):
        def seen(kind, text):
            if "/panoptic/" in opened.url:  # Dagster's own pages may do as they like
                faults.append(f"{kind} in {opened.url}: {text}")

        opened.on("console", lambda said: said.type == "error" and seen("console", said.text))
        opened.on("pageerror", lambda error: seen("error", error))
        opened.on("websocket", lambda socket: asked(socket.url))

    def asked(url):
        if not url.startswith(own):
            faults.append(f"request to {url}")

    context.on("page", watch)
    context.on("request", lambda request: asked(request.url))
    yield context.new_page()
    context.close()
    assert faults == []


@pytest.fixture
def shot(pytestconfig):
    """Keep a picture of a page, for people to look at."""
    folder = pytestconfig.rootpath / ".pytest_screenshots"
    folder.mkdir(exist_ok=True)

    def take(page, name, **options):
        page.screenshot(path=folder / f"{name}.png", **options)

    return take


@pytest.fixture
def accessible():
    """Check a page by the rules of axe-core: WCAG 2.2 A and AA, and what it knows as good habit."""
    from axe_playwright_python.sync_playwright import Axe

    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

    def check(page):
        found = Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
        assert found.violations_count == 0, found.generate_report()

    return check
