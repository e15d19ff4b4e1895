"""What tags cost in a large corpus: `python -m tests.benchmarks.tags` prints a table.

Belongs here: times and memory of a log with 100,000 images in three properties of 50 tags each: its
replay, a save, exports and an import. Does not belong here: whether tags are right, which the tests
say.

Measured on 2 cores, local disk, other work running (load 3), Python 3.11, LanceDB 0.40; seconds of
wall and CPU, peak memory of the step's process, of which 174 MB are the modules; second run of two:

- read and replay the log: 1.6 s, 1.1 CPU-s, 469 MB.
- save the third property, replay, write both tables: 2.9 s, 2.2 CPU-s, 614 MB.
- export, replay included: csv 4.7 s, 3.5 CPU-s, 468 MB; parquet 3.8 s, 3.0, 472 MB; json 4.1 s,
  2.9, 470 MB; panoptic 2.8 s, 2.8, 469 MB. Writing takes no memory beyond the replay's.
- import of the JSON into an empty store: 6.6 s, 6.6 CPU-s, 732 MB. It was 9.8 s, 7.9 CPU-s while
  the log's pairs were copied one by one before they were appended.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.spec import tag_log
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange import transfer
from panoptic_assets.tags.table import append_events, read_log, write_tags
from resources.lance import LanceStore
from resources.source import ImageSource

_IMAGES, _PROPERTIES, _TAGS = 100_000, 3, 50
_CONFIG = EditsConfig(author="benchmark")


def image_id(number: int) -> str:
    """The id of the n-th image."""
    return sha256(str(number).encode()).hexdigest()


def event(property_name: str, step: int) -> tag_log.Event:
    """The event that saves a run of as many clusters as a property has tags."""
    nodes = [f"greek/{number}" for number in range(_TAGS)]
    places = {image_id(n): nodes[(n * step) % _TAGS] for n in range(_IMAGES)}
    records = {"greek": ("greek@1", "output")}
    return tag_log.save_event(property_name, "greek", nodes, records, places, "remainder")


def build(folder: Path) -> None:
    """A store of images that were never embedded, and the same one with a log."""
    files = [
        File(f"{n % 100:02}/{n:06}.jpg", image_id(n), "present", "", 1, 1, "", "")
        for n in range(_IMAGES)
    ]
    for name in ("empty", "tagged"):
        write_files(LanceStore(uri=str(folder / name)), {}, files)
    store = LanceStore(uri=str(folder / "tagged"))
    for number in range(_PROPERTIES - 1):
        append_events(store, read_log(store), [event(f"P{number}", number + 1)], "me", "")


def save(folder: Path) -> None:
    """Append what a save appends, and make the tables what the log says."""
    store = LanceStore(uri=str(folder / "tagged"))
    made = event(f"P{_PROPERTIES - 1}", _PROPERTIES)
    append_events(store, read_log(store), [made], "me", "")
    write_tags(store, tag_log.replay([entry.event for entry in read_log(store)]))


def replay(folder: Path) -> None:
    """Read and replay the log."""
    log = read_log(LanceStore(uri=str(folder / "tagged")))
    assert len(tag_log.replay([entry.event for entry in log]).images) == _IMAGES * _PROPERTIES


def export_as(format: transfer.Format) -> Callable[[Path], None]:
    """Export all tags in a format."""

    def export(folder: Path) -> None:
        store = LanceStore(uri=str(folder / "tagged"))
        source = ImageSource(root=str(folder))
        tables = transfer.saved_tags(store)
        transfer.export(store, source, tables, folder / f"t.{format}", format)

    return export


def import_json(folder: Path) -> None:
    """Import all tags into the store that has none."""
    (folder / "t.json").rename(folder / "in.json")
    transfer.import_tags(LanceStore(uri=str(folder / "empty")), folder / "in.json", _CONFIG)


_STEPS: dict[str, Callable[[Path], None]] = {
    "build the store": build,
    "save the third property, write the tables": save,
    "read and replay the log": replay,
    "export csv": export_as("csv"),
    "export parquet": export_as("parquet"),
    "export json": export_as("json"),
    "export panoptic": export_as("panoptic"),
    "import json": import_json,
}


def measure(name: str, folder: Path) -> None:
    """Do a step and print what it cost; in a process of its own, whose peak is the step's."""
    before = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    _STEPS[name](folder)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:44} {wall:6.1f} s {cpu:6.1f} CPU-s {_peak():6.0f} MB (start: {before:.0f})")


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main() -> None:
    """Run every step in a folder of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name in _STEPS:
            process = context.Process(target=measure, args=(name, Path(folder)))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{name} failed")


if __name__ == "__main__":
    main()
