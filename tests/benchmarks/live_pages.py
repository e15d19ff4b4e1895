"""From a click to the new pictures: `python -m tests.benchmarks.live_pages` prints a table.

Belongs here: seconds that a person waits before a live page, on a `panoptic-assets ui` in a
headless Chromium, CPU seconds of the server's processes meanwhile and their peak memory, and how
evenly a map moves. Does not belong here: the same acts through other doors
(``tests.benchmarks.acts``), and whether what is shown is right (``tests/browser``).

Seconds run in the page, from the click or key as the browser gets it until what it asked for is
there, the pictures of it that are in the window are loaded and decoded, and two frames were drawn.

Two projects: the shipped sample, 253 images, and 20,000 images (``--images 250 20000``), which are
those of the sample with a comment in each file that makes it another one, and vectors like CLIP's;
both with a run of ten clusters that is saved as tags, a run of 250 images of the sample in one
cluster, which is divided, and the map of principal components.

Measured on 2 cores, load 3, Python 3.11, Chromium without a graphics card, medians of five; in
brackets CPU seconds of the server:

- 253 images: divide 250 in two .66 s (.50), automatically 1.0 (.77), undo it .53 (.37), rename .37
  (.31), next image .04; images .29, home .18, a run .33, tags .19, map .27 (.06 to .14). The first
  page after the start .48, again .09; the first divide 1.3 (1.3), the server still loads beside it.
  Peak MB: web server 362, worker 398.
- 20,000 images: divide 250 in two 1.5 s (1.3), automatically 2.0 (1.7), undo it 1.1 (1.0), rename
  .87 (.72), next image .03; images .61 (.38), home .75 (.64), a run .84 (.64), tags .37 (.30), map
  1.1 (.81). The first page 1.2 (.83), again .45; the first divide 2.3 (2.5). Where the map is moved
  a frame lasts .017 s, the longest .05 (.37 when the map's size was asked for at each point). Peak
  MB: web server 883, worker 597.

Long because each page is used as a person would, and the large project is made here.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

import panoptic_assets
from panoptic_assets.corpus import versions
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import read_manifest, write_files
from panoptic_assets.project import Project
from panoptic_assets.serve.page_address import PAGES
from resources.project_folder import find
from resources.schemas import SCHEMAS, vectors_table
from tests.benchmarks.acts import command, cpu_of, processes_of
from tests.benchmarks.corpora import clip_like
from tests.browser.conftest import OPTIONS, PAGES_ALONE
from tests.served import Served, serve, until

_GOALS = {"divide 250 images in two": 2.5, "rename a tag": 1.0, "next image": 0.2}
"""Seconds on an idle machine."""
_SCOPE = 250
_TAG = "benchmarked"
_BLOCK = 2000

_WATCH = """(() => {
  const KEPT = "benchmark";
  const clock = () => performance.timeOrigin + performance.now();
  const read = () => JSON.parse(sessionStorage.getItem(KEPT) || "null");
  const keep = (asked) => sessionStorage.setItem(KEPT, JSON.stringify(asked));
  const isSeen = (picture) => {
    const { top, bottom, left, right, width } = picture.getBoundingClientRect();
    return width > 0 && bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
  };
  const pictures = ({ pictures: some }) =>
    some ? [...document.querySelectorAll(some)].filter(isSeen) : [];
  const isThere = (asked) => {
    if (Boolean(document.querySelector(asked.there)) === Boolean(asked.gone)) return false;
    const found = pictures(asked);
    if (asked.pictures && !found.length) {
      // Whoever looks for them scrolls.
      document.querySelector(asked.pictures)?.scrollIntoView({ block: "center" });
      return false;
    }
    return found.every((one) => one.complete && one.naturalWidth > 0);
  };
  const watch = () => requestAnimationFrame(async () => {
    const asked = read();
    if (!asked || !asked.began || asked.ended) return;
    if (!isThere(asked)) return watch();
    await Promise.all(pictures(asked).map((one) => one.decode().catch(() => {})));
    requestAnimationFrame(() => requestAnimationFrame(() => keep({ ...asked, ended: clock() })));
  });
  const begin = (event) => {
    const asked = read();
    if (!asked || asked.began || asked.on !== event.type) return;
    if (event.key && event.key !== asked.key) return;
    keep({ ...asked, began: clock() });
    watch();
  };
  for (const kind of ["click", "keydown", "pointerup"]) addEventListener(kind, begin, true);
  window.benchmark = { keep, read };
  try {
    if (read()) watch();
  } catch {
    // A page of no site has nothing to keep.
  }
})();"""

_FRAMES = """async () => {
  const times = [];
  window.benchmarkMoves = true;
  let last = performance.now();
  while (window.benchmarkMoves) {
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times.slice(1);
}"""


def write_projects(place: Path, sizes: list[int]) -> dict[int, Path]:
    """The projects, by the number of images that was asked for."""
    found = {}
    sample = Path(panoptic_assets.__file__).parent / "sample"
    for size in sizes:
        images, folder = place / f"images-{size}", place / f"project-{size}"
        shutil.copytree(sample, images)
        folder.mkdir(parents=True)
        command(folder, "-m", "panoptic_assets.cli", "init", images)
        command(folder, "-m", "panoptic_assets.cli", "refresh")
        ids = Project(folder).images()["image_id"].to_pylist()
        if size > len(ids):
            _add_images(folder, images, size)
        chosen = folder / "chosen.txt"
        chosen.write_text("\n".join(sorted(ids)[:_SCOPE]))
        for arguments in (
            ("cluster", "demo", "--nb-clusters", "10"),
            ("save", "demo"),
            ("cluster", "whole", "--nb-clusters", "1", "--ids", chosen),
            ("project", "mini/pca", "--method", "pca"),
            ("tag", "create", f"{_TAG}0", "--property", "Mine"),
            ("tag", "assign", f"{_TAG}0", *ids[:20], "--property", "Mine"),
        ):
            command(folder, "-m", "panoptic_assets.cli", *arguments)
        found[size] = folder
    return found


def _add_images(folder: Path, images: Path, nb_images: int) -> None:
    """More files, as if they had been read and embedded: that would take ten minutes."""
    store = Project(folder).store
    manifest = read_manifest(store)
    rows = store.read("images")
    at = {image_id: row for row, image_id in enumerate(rows["image_id"].to_pylist())}
    known = [(file, (images / path).read_bytes()) for path, file in sorted(manifest.items())]
    vectors, _ = clip_like(nb_images - len(at))
    new: list[File] = []
    like: list[int] = []
    for number in range(len(vectors)):
        file, content = known[number % len(known)]
        name = f"more/{number % 100:02}/{number:06}{Path(file.path).suffix}"
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # What decoders pass over: a comment of JPEG after its first two bytes, else behind the end.
        said = number.to_bytes(4, "big")
        marked = content[:2] + b"\xff\xfe\x00\x06" + said + content[2:]
        content = marked if content[:2] == b"\xff\xd8" else content + said
        path.write_bytes(content)
        status = path.stat()
        image_id = sha256(content).hexdigest()
        size, changed = status.st_size, status.st_mtime_ns
        new.append(File(name, image_id, "present", None, size, changed, "", file.reader))
        like.append(at[file.image_id or ""])
    ids = [file.image_id for file in new]
    for start in range(0, len(ids), _BLOCK):
        part = rows.take(like[start : start + _BLOCK])
        column = part.schema.get_field_index("image_id")
        part = part.set_column(column, "image_id", pa.array(ids[start : start + _BLOCK]))
        store.upsert("images", part.cast(SCHEMAS["images"]))
    table = vectors_table("mini")
    schema = store.read(table).schema
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    made = {"image_id": pa.array(ids), "vector": values}
    store.upsert(table, pa.table([made[name] for name in schema.names], schema=schema))
    versions.record_version(
        store, manifest | write_files(store, manifest, new), "of no Dagster run"
    )


@dataclass
class Waits:
    """What was measured of one project.

    Args:
        size: How many images it has, in words.
    """

    size: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, seconds: float, cpu: float = 0.0) -> None:
        """Another time of something, in seconds."""
        self.seconds.setdefault(what, []).append(seconds)
        self.cpu.setdefault(what, []).append(cpu)
        print(f"{self.size} {what}: {seconds:.3f}, CPU {cpu:.2f}", file=sys.stderr, flush=True)

    def show(self) -> None:
        """Print the table."""
        print(f"\n{self.size:36} {'goal':>6} {'median':>8} {'least':>8} {'most':>8} {'CPU':>7}")
        for what, found in self.seconds.items():
            goal = _GOALS.get(what)
            median = statistics.median(found)
            missed = "  not met" if goal is not None and median > goal else ""
            print(
                f"{what:36} {'' if goal is None else goal:>6} {median:8.3f} {min(found):8.3f} "
                f"{max(found):8.3f} {statistics.median(self.cpu[what]):7.2f}{missed}",
                flush=True,
            )


class Person:
    """Somebody in front of the pages of one project.

    Args:
        page: Playwright's page.
        served: The project.
        waits: Gets what is measured.
    """

    def __init__(self, page: Any, served: Served, waits: Waits):
        self.page = page
        self.served = served
        self.waits = waits
        self.home = f"{served.url}{PAGES.format(corpus=find(served.folder).corpus)}"

    def wait(
        self,
        what: str,
        do: Callable[[], object],
        there: str,
        pictures: str = "",
        on: str = "click",
        **more: object,
    ) -> None:
        """Do something, and measure how long it takes until it is seen.

        Args:
            what: What it is called in the table.
            do: Clicks or presses a key.
            there: A selector of what comes by it.
            pictures: A selector of the pictures to wait for; empty: none.
            on: The event by which it begins.
            more: ``key``: of the event; ``gone``: whether it is to vanish rather than to come.
        """
        asked = {"there": there, "pictures": pictures, "on": on, **more}
        self.page.evaluate("asked => benchmark.keep(asked)", asked)
        cpu = cpu_of(self.served)
        do()
        found: dict[str, float] = until(self._ended, 120)
        self.waits.add(what, (found["ended"] - found["began"]) / 1000, cpu_of(self.served) - cpu)
        self.page.evaluate("benchmark.keep(null)")

    def _ended(self) -> dict[str, float] | None:
        with suppress(Exception):  # the page is just being left
            asked = self.page.evaluate("benchmark.read()")
            return asked if asked and "ended" in asked else None
        return None

    def go(self, place: str) -> None:
        """Open a page, and let it come to rest."""
        self.page.goto(f"{self.home}/{place}")
        self.rest()

    def rest(self) -> None:
        """Until the page has asked all that it asks of itself."""
        self.page.wait_for_load_state("networkidle")

    def click(self, selector: str) -> Callable[[], object]:
        """A click on the first such element."""
        return lambda: self.page.locator(selector).first.click()

    def press(self, key: str) -> Callable[[], object]:
        """A key."""
        return lambda: self.page.keyboard.press(key)


def look_around(person: Person, repeats: int) -> None:
    """The pages that one looks at, by the links between them."""
    top = "header.site a[href$='{}']"
    for _ in range(repeats):
        for what, link, there, pictures in (
            ("images", top.format("/images"), "body.images", "main li img"),
            ("home", "header.site a.brand", "body.home", "main .run img"),
            ("a run", "main .runs a[href$='/runs/demo']", "body.run", "main .cards img"),
            ("tags", top.format("/tags"), "body.tags", "main .tag-tree img"),
            ("map", top.format("/map"), "#map-app[data-ready]", "#map img"),
        ):
            person.wait(what, person.click(link), there, pictures)
            person.rest()


def divide(person: Person, repeats: int) -> None:
    """A cluster of 250 images is cut, and that is undone; the first time is kept apart."""
    card = "article.cluster[data-node='{}']"
    whole, part = card.format("whole/0"), card.format("whole/0/0")
    automatic = f"{whole} .dividing button[name]"
    for number in range(repeats + 1):
        for what, button in (
            ("divide 250 images in two", f"{whole} .dividing button:not([name])"),
            ("divide them automatically", automatic),
        ):
            person.go("runs/whole")
            # So that what comes by it is in the window.
            person.page.locator(whole).evaluate("card => card.scrollIntoView()")
            named = what if number else f"the first time: {what.partition(' ')[0]}"
            if number or button != automatic:
                person.wait(named, person.click(button), part, f"{whole} .below img, {part} img")
                undo = person.press("Control+z")
                person.wait("undo it", undo, part, on="keydown", key="z", gone=True)


def rename(person: Person, repeats: int) -> None:
    """A tag gets another name; it is shown at once, so what counts is the page that says so."""
    person.go("tags?property=Mine")
    for number in range(repeats + 1):
        before, after = f"{_TAG}{number}", f"{_TAG}{number + 1}"
        person.page.locator(f"[data-path='{before}'] .tag-name").first.click()
        person.page.keyboard.press("Control+a")
        person.page.keyboard.type(after)
        named = "rename a tag" if number else "the first time: rename"
        there = f"#tag-tree [data-path='{after}']"
        person.wait(named, person.press("Enter"), there, "#tag-tree img", on="keydown", key="Enter")
        person.rest()


def page_through(person: Person, repeats: int) -> None:
    """The viewer, an image after the other, as soon as the one before is seen."""
    person.go("images")
    ids = person.page.locator("main [data-images] [data-id]").evaluate_all(
        "tiles => tiles.map(tile => tile.dataset.id)"
    )
    large = ".viewer .pane img[src*='previews/{}']"
    for number in range(2 * repeats):
        seen = large.format(ids[number])
        if number == 0:
            person.wait("open the viewer", person.click("main [data-images] a"), seen, seen)
        else:
            right = person.press("ArrowRight")
            person.wait("next image", right, seen, seen, on="keydown", key="ArrowRight")


def travel(person: Person, repeats: int) -> None:
    """A map is moved, enlarged, and drawn on; times of frames, from which 0.017 is the least."""
    page = person.page
    page.goto(f"{person.home}/map")
    page.locator("#map-app[data-ready]").wait_for()
    person.rest()
    box = page.locator("#map canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)

    def pan() -> None:
        page.keyboard.down("Shift")
        page.mouse.down()
        for step in range(30):
            page.mouse.move(middle[0] + 4 * step, middle[1] + 2 * step)
        page.mouse.up()
        page.keyboard.up("Shift")
        page.mouse.move(*middle)

    def zoom() -> None:
        for step in range(20):
            page.mouse.wheel(0, -60 if step < 10 else 60)

    def hover() -> None:
        for step in range(30):
            page.mouse.move(middle[0] + 3 * step, middle[1] + 2 * step)

    for _ in range(repeats):
        for what, does in (("pan", pan), ("zoom", zoom), ("hover", hover)):
            with _frames(page) as times:
                does()
            person.waits.add(f"map, {what}: a frame", statistics.median(times) / 1000)
            person.waits.add(f"map, {what}: the longest frame", max(times) / 1000)
        page.keyboard.press("Escape")
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        for x, y in ((0.6, 0.02), (0.6, 0.98), (0.02, 0.98)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        person.wait("map, choose: to the tray", page.mouse.up, "#tray .count", on="pointerup")
        page.locator("#tray [data-asks='clear']").click()
        page.locator("#tray .count").wait_for(state="hidden")


@contextmanager
def _frames(page: Any) -> Iterator[list[float]]:
    """Milliseconds between the frames that the browser draws meanwhile."""
    found: list[float] = []
    page.evaluate(f"() => {{ window.benchmarkFrames = ({_FRAMES})(); }}")
    yield found
    found += page.evaluate("() => { benchmarkMoves = false; return benchmarkFrames; }")


def start_up(served: Served, home: str, waits: Waits, before: float) -> None:
    """The first page, its pictures left out, when nothing was asked before it."""
    waits.add("start, until its worker answers", time.perf_counter() - before)
    for what in ("the first page after the start", "the same page again"):
        started, cpu = time.perf_counter(), cpu_of(served)
        with urllib.request.urlopen(home, timeout=120) as answer:
            answer.read()
        waits.add(what, time.perf_counter() - started, cpu_of(served) - cpu)


def peaks(served: Served) -> str:
    """The most memory that each process had so far, MB."""
    found = []
    for pid, name in processes_of(served).items():
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            line = next(line for line in lines if line.startswith("VmHWM"))
            found.append(f"{name.rpartition('.')[2]} {int(line.split()[1]) / 1024:.0f}")
    return ", ".join(found)


def measure(folder: Path, said: Path, browser: Any, repeats: int) -> None:
    """Serve a project, and print what was measured before it."""
    nb_images = Project(folder).status()["corpus"]["nb_images"]
    waits = Waits(f"{nb_images:,} images, seconds")
    before = time.perf_counter()
    with serve(folder, said) as served:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        context.add_init_script(_WATCH)
        person = Person(context.new_page(), served, waits)
        start_up(served, f"{person.home}/", waits, before)
        person.go("")
        for part in (divide, rename, look_around, page_through, travel):
            part(person, repeats)
        waits.show()
        print(f"peak memory, MB: {peaks(served)}; load {os.getloadavg()[0]:.1f}", flush=True)
        context.close()


def main() -> None:
    """Measure everything, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[250, 20_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--projects", type=Path, help="Where they are kept for the next time.")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or "google-chrome"
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.projects or Path(scratch) / "kept"
        kept.mkdir(parents=True, exist_ok=True)
        missing = [size for size in given.images if not (kept / f"project-{size}").exists()]
        started = time.perf_counter()
        write_projects(kept, missing)
        print(f"made in {time.perf_counter() - started:.0f} s; load {os.getloadavg()[0]:.1f}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=[*OPTIONS, *PAGES_ALONE]
            )
            for size in given.images:
                folder = shutil.copytree(kept / f"project-{size}", Path(scratch) / str(size))
                measure(folder, Path(scratch) / f"{size}.txt", browser, given.repeats)
            browser.close()


if __name__ == "__main__":
    main()
