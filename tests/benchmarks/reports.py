"""What a report of many images costs: `python -m tests.benchmarks.reports` prints a table.

Belongs here: time, memory and size of a report of 20,000 images (or ``--images N``), and how long a
browser takes to open it. Does not belong here: what is on the pages, which the tests say.

No other system writes such pages, so there is no rival beside it.
"""

import argparse
import io
import resource
import shutil
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
from PIL import Image

from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.features.table import MODEL_METADATA
from resources.decoding import thumbnail
from resources.project_folder import ProjectSettings, create
from resources.schemas import SCHEMAS, vectors_schema, vectors_table
from tests.pictures import SAMPLE
from tests.workbench import Workbench, metadata

_DIM, _CLUSTERS = 512, 100
_BLOCK = 2000


def build(folder: Path, nb_images: int) -> Workbench:
    """A project with as many embedded images, a run of 100 clusters and one of them divided."""
    bench = Workbench(
        create(folder / "p", ProjectSettings(images=str(SAMPLE))), dg.DagsterInstance.ephemeral()
    )
    pictures = []
    for path in sorted(SAMPLE.rglob("*.jpg")):
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            pictures.append((thumbnail(picture.convert("RGB")), picture.size))
    ids = sorted(sha256(str(number).encode()).hexdigest() for number in range(nb_images))
    for start in range(0, nb_images, _BLOCK):
        rows = [
            {"image_id": image_id, "thumbnail": data, "width": size[0], "height": size[1]}
            for number, image_id in enumerate(ids[start : start + _BLOCK], start)
            for data, size in [pictures[number % len(pictures)]]
        ]
        bench.store.upsert("images", pa.Table.from_pylist(rows, schema=SCHEMAS["images"]))
    files = [
        File(f"{number % 100:02}/image_{number:06}.jpg", image_id, "present", "", 1, 1, "", "")
        for number, image_id in enumerate(ids)
    ]
    write_files(bench.store, {}, files)
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(_CLUSTERS, _DIM))
    vectors = centres[generator.integers(0, _CLUSTERS, nb_images)]
    vectors = vectors + generator.normal(size=vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), _DIM)
    table = pa.table({"image_id": ids, "vector": column}, schema=vectors_schema(_DIM))
    bench.store.overwrite(vectors_table("mini"), table, {MODEL_METADATA: "{}"})
    bench.run("clustering", "large", method={"kmeans": {"nb_clusters": _CLUSTERS}})
    bench.run("nested_clustering", "large/99", method={"kmeans": {"nb_clusters": 5}})
    return bench


def opened(page: Path) -> tuple[float, int] | None:
    """Seconds until a browser has loaded a page, and the bytes that it took; None without one."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return None
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(executable_path=browser, args=flags).new_page()
        read: set[Path] = set()
        window.on("request", lambda request: read.add(Path(request.url.removeprefix("file://"))))
        started = time.monotonic()
        window.goto(page.as_uri(), wait_until="load")
        if page.name == "map.html":
            window.wait_for_selector("#map[data-ready]", timeout=120_000)
        seconds = time.monotonic() - started
        return seconds, sum(path.stat().st_size for path in read if path.is_file())


def main() -> None:
    """Build a project, write its report twice, open it, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20_000)
    nb_images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        bench = build(Path(folder), nb_images)
        print(f"{nb_images:,} images, {_CLUSTERS} clusters", file=sys.stderr)
        for what in ("first report, thumbnails included", "report again"):
            wall, cpu = time.monotonic(), time.process_time()
            shown = metadata(bench.run("clustering_report", "large"), "clustering_report")
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{what:34} {wall:6.1f} s {cpu:6.1f} CPU-s {peak:6.0f} MB peak of the process")
        place = bench.project.reports / "runs" / "large"
        print(
            f"{shown['nb_pages']} pages, {sum(f.stat().st_size for f in place.iterdir()):,} bytes"
        )
        for name in ("index.html", "cluster.0.html", "map.html"):
            size = (place / name).stat().st_size
            if found := opened(place / name):
                print(f"{name:16} {size:9,} bytes, opened in {found[0]:.2f} s, {found[1]:,} read")


if __name__ == "__main__":
    main()
