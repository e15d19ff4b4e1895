"""The pictures of the manual and the README: ``python -m tests.manual.pictures`` takes them anew.

It runs the tutorial's commands in a project of its own, draws what they made, opens the pages in
Chromium, and writes ``panoptic_assets/manual/pictures``. With each picture it notes what that
shows, as a hash in ``shown.json``: a test tells when that has changed since.
"""

import functools
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tests.manual.blocks import blocks_of, commands_of

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "panoptic_assets" / "manual"
PICTURES = MANUAL / "pictures"
NOTES = PICTURES / "shown.json"

_TEMPLATES = ROOT / "panoptic_assets"
_LIVE = (
    *("review/templates/base.html", "review/templates/parts.html", "review/static/page.css"),
    *("serve/templates/top.html", "serve/static/live.css"),
)
_SHOWN_BY = {
    "comparison": ("review/templates/pair.html", "review/static/comparison.css"),
    "form": ("serve/templates/new.html", "serve/static/form.css"),
    "home": ("serve/templates/home.html", "serve/static/home.css"),
    "map": ("serve/templates/corpus_map.html", "serve/static/map.css"),
    "report": (
        *("review/templates/run.html", "review/templates/cards.html", "review/static/run.css"),
        *("serve/templates/cluster_acts.html", "serve/templates/run_acts.html"),
    ),
    "tag-tree": ("serve/templates/tags.html", "serve/static/tags.css"),
    "viewer": ("serve/static/viewer.js", "serve/static/viewer.css"),
}
"""The files below ``panoptic_assets`` that make each photograph of a live page, beside those of all
pages."""
FONT = ROOT / "panoptic_assets" / "corpus" / "fonts" / "DejaVuSansCondensed.ttf"
_MOST, _NAMES = 10, 1.5
"""Images in a line, and the room for its name in sides of an image."""


_WINDOW = {"width": 1280, "height": 800}
_GRAPH = {"width": 2000, "height": 960}
_INSIDE = {"x": 545, "y": 115, "width": 1411, "height": 740}
"""Of the window, where Dagster draws the graph."""


def shown():
    """For each picture, the hash of what it shows: commands, templates, the graph of the assets."""
    tutorial = (MANUAL / "en" / "tutorial.md").read_text(encoding="utf-8")
    asked = [words for block in blocks_of(tutorial) for words, _ in commands_of(block)]
    # What is only read changes no picture.
    acts = [words for words in asked if words[1] in ("cluster", "divide", "save", "tag")]
    return {
        "monuments": _hash(acts[0]),
        "divided": _hash(*acts[:2]),
        "tags": _hash(*acts),
        **{
            prefix + name: _hash(*map(_text, (*_LIVE, *files)))
            for name, files in _SHOWN_BY.items()
            for prefix in ("", "fr-")
        },
        "graph": _hash(_graph()),
    }


def _text(name):
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@functools.cache
def _graph():
    from panoptic_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    return sorted(
        (
            key.to_user_string(),
            sorted(above.to_user_string() for above in graph.get(key).parent_keys),
        )
        for key in graph.get_all_asset_keys()
    )


def draw(rows, path, side):
    """One line of images, each so many pixels wide, for each ``(name, remark, files)``."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    step, left = side + side // 15, int(_NAMES * side)
    width = max(min(len(files), _MOST) for *_, files in rows)
    sheet = Image.new("RGB", (left + step * width, step * len(rows)), "#fbfaf8")
    pen = ImageDraw.Draw(sheet)
    large, small = (ImageFont.truetype(FONT, side // part) for part in (6, 8))
    for line, (name, remark, files) in enumerate(rows):
        pen.text((step // 10, step * (line + 0.32)), name, "#1d1c1a", large)
        pen.text((step // 10, step * (line + 0.56)), remark, "#5f5b55", small)
        for place, file in enumerate(files[:_MOST]):
            with Image.open(file) as opened:
                tile = ImageOps.fit(opened.convert("RGB"), (side, side), centering=(0.5, 0.4))
            sheet.paste(tile, (left + place * step, line * step))
    sheet.save(path, quality=72, method=6)


def main():
    """Take all pictures."""
    from panoptic_assets.project import Project
    from tests.commands import run

    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "monuments"  # as the tutorial calls it
        folder.mkdir()
        run("demo", cwd=folder)
        project = Project(folder)
        for block in blocks_of((MANUAL / "en" / "tutorial.md").read_text(encoding="utf-8")):
            if "skip" not in block.about:
                for words, _ in commands_of(block):
                    run(*words[1:], cwd=folder, expect=None)
        source = ROOT / "panoptic_assets" / "sample"

        def files(node):
            return [source / path for path in project.exemplars(node)["path"].to_pylist()]

        def rows(key):
            for row in project.clusters(key).to_pylist():
                remainder = row["node"].endswith("/remainder")
                remark = f"{row['size']} images" + (
                    "" if remainder else f", score {row['score']:.0f}"
                )
                yield row["node"].partition("/")[2], remark, files(row["node"])

        draw(list(rows("monuments")), PICTURES / "monuments.webp", 130)
        draw(list(rows("monuments/5")), PICTURES / "divided.webp", 130)
        draw(_tagged(project, source), PICTURES / "tags.webp", 96)
        _photograph(folder)
    NOTES.write_text(json.dumps(shown(), indent=2) + "\n", encoding="utf-8")


def _tagged(project, source):
    paths = {}
    for file in project.files().sort_by("path").to_pylist():
        paths.setdefault(file["image_id"], source / file["path"])
    tagged = project.image_tags("Monuments").to_pylist()
    rows = []
    for tag in project.tags("Monuments"):
        found = [paths[row["image_id"]] for row in tagged if row["tag_id"] == tag["tag_id"]]
        if found and not tag["name"].isdigit():
            rows.append((tag["name"], f"{len(found)} images", found))
    return rows


def _photograph(folder):
    """The live pages in English and French, and Dagster's graph of the assets."""
    import shutil

    from playwright.sync_api import sync_playwright

    from panoptic_assets.project import Project
    from tests.browser.conftest import OPTIONS, start, stop
    from tests.commands import run

    run("cluster", "birch", "--method", "birch", cwd=folder)
    run("project", "mini/tsne", "--method", "tsne", cwd=folder)
    pages = f"/panoptic/{Project(folder).layout.corpus}"
    [tower] = [
        file["image_id"]
        for file in Project(folder).files().to_pylist()
        if file["path"].endswith("world_21.jpg")
    ]
    process, url = start(folder)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=OPTIONS)
            for prefix, locale in (("", "en-GB"), ("fr-", "fr-FR")):
                context = browser.new_context(viewport=_WINDOW, locale=locale, base_url=url)
                page = context.new_page()
                for name, address in (
                    ("home", "/"),
                    ("map", "/map?projection=mini/tsne"),
                    ("form", "/new"),
                    ("report", "/runs/monuments"),
                    ("tag-tree", "/tags?property=Monuments"),
                    ("comparison", "/compare?a=demo&b=birch"),
                    ("viewer", f"/images/{tower}"),
                ):
                    page.goto(pages + address)
                    page.wait_for_timeout(3000)
                    if name == "viewer":
                        page.goto(pages + "/clusters/monuments/6")
                        page.locator(f"[data-id='{tower}'] a").click()
                        page.keyboard.press("i")
                        page.wait_for_timeout(3000)
                    # Where the checkout lies is nobody's business.
                    page.evaluate(
                        "root => document.querySelectorAll('main .lead').forEach("
                        "e => { const text = e.textContent.replaceAll('\u200b', '');"
                        " if (text.includes(root)) e.textContent = text.replace(root, ''); })",
                        f"{ROOT}/",
                    )
                    shot = PICTURES / f"{prefix}{name}.png"
                    page.screenshot(path=shot)
                    _as_webp(shot)
                context.close()
            page = browser.new_page(viewport=_GRAPH)
            page.goto(url + "/asset-groups", wait_until="networkidle")
            page.wait_for_timeout(4000)
            page.keyboard.press("Alt+e")  # all groups open
            page.wait_for_timeout(4000)
            shot = PICTURES / "graph.png"
            page.screenshot(path=shot, clip=_INSIDE)
            _as_webp(shot)
            browser.close()
    finally:
        stop(process)


def _as_webp(path):
    from PIL import Image, ImageChops

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
        # A graph lies somewhere on a white sheet.
        ink = ImageChops.difference(picture, Image.new("RGB", picture.size, "white"))
        ink = ink.convert("L").point(lambda level: 255 * (level > 12)).getbbox()
        picture.crop(ink).save(path.with_suffix(".webp"), quality=75, method=6)
    path.unlink()


if __name__ == "__main__":
    sys.exit(main())
