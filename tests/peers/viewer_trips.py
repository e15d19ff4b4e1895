"""Our table of images in viewers, our CSV in Tropy: `python -m tests.peers.viewer_trips`.

Belongs here: the files of `tests/unit/tags/test_files_of_images.py`, with names that are hard to
bear, in DuckDB, pandas, Embedding Atlas and tropy-plugin-csv themselves, which
`tests/peers/viewer_driver.py` and `tests/peers/tropy_driver.js` run. Does not belong here: Omeka S,
which is a server with a database; the tests read its CSV by the rules of PHP.

They have dependencies of their own (Embedding Atlas has torch), so they need an environment of
their own, and are no part of continuous integration:

    python3 -m venv /some/where && /some/where/bin/pip install duckdb pandas embedding-atlas==0.26.0
    git clone -b v3.2.0 https://github.com/tropy/tropy-plugin-csv /some/where/tropy
    npm install --prefix /some/where/tropy --no-save csv-parse csv-stringify
    VIEWERS_PYTHON=/some/where/bin/python TROPY_PLUGIN=/some/where/tropy \
        python -m tests.peers.viewer_trips

It prints what was compared, and ends with an error where anything differs. With DuckDB 2.0.1,
pandas 3.1.1, Embedding Atlas 0.26.0, tropy-plugin-csv 3.2.0 and Node 20, all of it holds.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from panoptic_assets.tags.exchange.catalogue_csv import write_tropy
from panoptic_assets.tags.exchange.image_parquet import ChosenColumns, write_image_parquet
from tests.unit.tags import test_files_of_images as hard

HERE = Path(__file__).parent
_TROPY = "https://tropy.org/v1/tropy#"


def compare(what, found, expected):
    """Say whether something is as it should be, or end."""
    if found != expected:
        sys.exit(f"{what}: {found!r} instead of {expected!r}")
    print(f"{what}: equal")


def plain(value):
    """As the driver has it."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def viewers(python, folder):
    """The table of images, value by value."""
    store = hard.write_store(folder)
    hard.add_features(store)
    file = folder / "images.parquet"
    chosen = ChosenColumns(None, "mini/own", "mini", thumbnails=True)
    write_image_parquet(hard.labelled(), store, chosen, "/images/{}".format, file)
    expected = plain(pq.read_table(file).to_pylist())
    command = [python, HERE / "viewer_driver.py", file, folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    for program, rows in json.loads(done.stdout.partition("ANSWERS\n")[2]).items():
        compare(f"{program}, number of images", len(rows), len(expected))
        for name in expected[0]:
            found = [row[name] for row in rows]
            compare(f"{program}, {name}", found, [row[name] for row in expected])


def tropy(plugin, folder):
    """Titles, tags and photos of the items that the plugin makes."""
    store = hard.write_store(folder)
    file = folder / "tropy.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        write_tropy(hard.labelled(), store, None, "/images/{}".format, stream)
    command = ["node", HERE / "tropy_driver.js", plugin, file]
    items = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    photos = [[value[f"{_TROPY}path"][0]["@value"] for value in item["photo"]] for item in items]
    compare(
        "Tropy, photos",
        photos,
        [[f"/images/{hard.FILES[one][0]}"] for one in (hard.A, hard.B, hard.C)],
    )
    tags = [
        [value["@value"].replace("\u00a0", " ").strip() for value in item[f"{_TROPY}tag"][0]]
        for item in items
    ]
    compare("Tropy, tags", tags, [["=1+1", "=1+1 > fish, coral"], ["-5"], ["=1+1", "\\"]])


if __name__ == "__main__":
    for name, trip in (("VIEWERS_PYTHON", viewers), ("TROPY_PLUGIN", tropy)):
        if name in os.environ:
            with tempfile.TemporaryDirectory() as made:
                trip(os.environ[name], Path(made))
        else:
            print(f"${name} is not set: left out")
