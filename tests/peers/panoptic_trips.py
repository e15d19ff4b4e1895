"""Round trips with Panoptic itself: `python -m tests.peers.panoptic_trips`.

Belongs here: our files in Panoptic 1.0.0, and its files and its project folder here, by its own
code, which `tests/peers/panoptic_driver.py` runs. Does not belong here: what can be shown without
it, which the tests do with small databases of its schema.

Panoptic has dependencies of its own (polars, numpy of another version), so it needs an environment
of its own, and is no part of continuous integration:

    python3 -m venv /some/where && /some/where/bin/pip install panoptic==1.0.0
    PANOPTIC_PYTHON=/some/where/bin/python python -m tests.peers.panoptic_trips

It prints what was compared, and ends with an error where anything differs. With Panoptic 1.0.0,
Python 3.11, 2 cores, 254 images (the sample's, one of them twice under one name, with other bytes),
18 CPU-seconds of ours, all was equal:

- outward: 254 of 254 rows, no cell failed; 11 tags in two levels with their parents and
  colours; the images of each tag.
- its export, each of three keys with and without `path` and `sha1`: `id` alone is refused; the name
  alone (`global_path`) is told to fit two images once; all others bring every tag to its image.
- its project folder, which stayed as it was: both trees with colours, 4 columns of 254 lines, 254
  vectors (largest difference 6e-8 after scaling); once more: nothing; files renamed and elsewhere:
  254 images by SHA-1.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import panoptic_assets
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import Event, Tag, paths
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange.panoptic_csv import PALETTE
from panoptic_assets.tags.exchange.transfer import import_tags, saved_tags
from panoptic_assets.tags.table import append_events
from resources.errors import InputError
from resources.project_folder import ProjectSettings, create
from resources.schemas import vectors_table

_TREE = {
    "9": (None, 0),
    "9 > 0": ("9", 1),
    "9 > 1": ("9", 2),
    "remainder": (None, 3),
    "4": (None, 4),
    "4 > 0": ("4", 5),
    "Gothic": (None, 6),
    'Gothic > late; "new"': ("Gothic", 7),
    "=1+1": (None, 8),
    "=1+1 > -deep": ("=1+1", 9),
    "été": (None, 10),
}
"""Tags of ours by path: the one above, and the number of Panoptic's colour."""


def main() -> None:
    """Make the round trips, and say what was compared."""
    python = os.environ.get("PANOPTIC_PYTHON")
    if not python:
        sys.exit("Name the Python of an environment with panoptic==1.0.0: $PANOPTIC_PYTHON.")
    with tempfile.TemporaryDirectory() as folder:
        trips = _Trips(Path(folder), python)
        trips.outward()
        trips.back_by_csv()
        trips.back_by_folder()


class _Trips:
    def __init__(self, folder: Path, python: str):
        self.folder, self.python = folder, python
        self.images = folder / "images"
        shutil.copytree(Path(panoptic_assets.__file__).parent / "sample", self.images)
        # One name in two folders, and the one path the end of the other.
        twin = next(self.images.rglob("solar_08.jpg"))
        (self.images / twin.name).write_bytes(twin.read_bytes() + b"another")
        self.files = sorted(self.images.rglob("*.jpg"))
        self.sha1 = {}
        self.image_of = {}
        for file in self.files:
            data = file.read_bytes()
            self.sha1[file] = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            self.image_of[self.sha1[file]] = hashlib.sha256(data).hexdigest()
        self.ours = self.project("ours")
        self.panoptic = folder / "panoptic"

    def project(self, name: str) -> Project:
        """A project of the sample's images, which are read once and need no vectors."""
        first = self.folder / "first"
        if not first.is_dir():
            made = create(first, ProjectSettings(images=str(self.images)))
            Project(made.folder)._act("images", None, {})
        shutil.copytree(first, self.folder / name)
        return Project(self.folder / name)

    def drive(self, *steps: tuple[object, ...]) -> list[object]:
        """Have Panoptic do some steps."""
        file = self.folder / "steps.json"
        file.write_text(json.dumps([str(self.panoptic), *steps]), encoding="utf-8")
        driver = Path(__file__).with_name("panoptic_driver.py")
        done = subprocess.run(
            [self.python, str(driver), str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        return json.loads(done.stdout.rpartition("ANSWERS\n")[2])

    def outward(self) -> None:
        """Our CSV and list of tags in Panoptic: counts, tree and colours are equal."""
        names = list(_TREE)
        tags = [
            Tag(path, "Époque [1]", path.rpartition(" > ")[2], above, colour=PALETTE[colour])
            for path, (above, colour) in _TREE.items()
        ]
        given = [
            (names[at % len(names)], self.image_of[sha1])
            for at, sha1 in enumerate(sorted(self.image_of))
        ]
        given += [("été", image) for _, image in given[:50] if (("été", image) not in given)]
        store = self.ours.store
        event = Event("import", "Époque [1]", tuple(tags), tuple(sorted(set(given))))
        append_events(store, [], [event], "me", "")
        file = self.folder / "for-panoptic.csv"
        done = self.ours.export(file, format="panoptic")
        [listed] = done.beside
        several = len({image for _, image in given}) < len(set(given))
        name = "Époque (1)"
        answers = self.drive(
            ("folder", str(self.images)),
            ("property", name, "multi_tags" if several else "tag"),
            ("tag_list", str(listed), name),
            ("csv", str(file)),
            ("state",),
        )
        nb_instances, _, _, imported, state = answers
        self.check("instances in Panoptic", nb_instances, len(self.files))
        self.check(
            "rows and cells that failed",
            imported,
            {"errors": {}, "missing": 0, "new": 0, "failed": 0},
        )
        tree = {}
        for path, (above, colour) in _TREE.items():
            tree[path] = (above, colour)
        known = {}
        for _, value, colour, parents in state["tags"]:
            known[value] = (parents, colour)
        whole = {value: self.whole(value, known) for value in known}
        arrived = {
            whole[value]: (whole[parents[0]] if parents else None, colour)
            for value, (parents, colour) in known.items()
        }
        self.check("tree and colours in Panoptic", arrived, tree)
        counts = Counter(whole[value] for _, _, value in state["given"])
        self.check("images of each tag", dict(counts), dict(Counter(tag for tag, _ in set(given))))

    def whole(self, value: str, known: dict[str, tuple[list[str], int]]) -> str:
        """The path of a tag of Panoptic, with names as they are here."""
        plain = value.removeprefix("'")
        parents = known[value][0]
        if " > " in plain or not parents:
            return plain
        return f"{self.whole(parents[0], known)} > {plain}"

    def back_by_csv(self) -> None:
        """Panoptic's export by each key, and the columns that name files surely."""
        name = "Époque (1)"
        expected = self.pairs(self.ours, "Époque [1]")
        for key in ("id", "local_path", "global_path"):
            for columns in ((), ("path",), ("sha1",), ("path", "sha1")):
                [file] = self.drive(("export", f"{key}-{'-'.join(columns)}", key, (name, *columns)))
                what = f"export by {key}{' with ' if columns else ''}{' and '.join(columns)}"
                into = self.project(f"csv-{key}-{'-'.join(columns)}")
                source = into.context.source
                config = EditsConfig(author="me")
                try:
                    done = import_tags(
                        into.store, Path(file), config, str(self.images), source=source
                    )
                except InputError as error:
                    self.check(f"{what}: refused", key == "id" and not columns, True)
                    print(f"  {error}")
                    continue
                got, wanted = self.pairs(into, name, own=True), self.own(expected)
                missing = {image for image, _ in wanted - got}
                self.check(
                    f"{what}: {done.nb_images} images, {done.nb_ambiguous} ambiguous names",
                    (got - wanted, len(missing)),
                    (set(), 2 * done.nb_ambiguous),
                )
        # Into the project that has the tree, where names find their place.
        [file] = self.drive(("export", "again", "id", (name, "path")))
        same = Path(file).with_name("same.csv")
        text = Path(file).read_text(encoding="utf-8").replace("Époque (1)", "Époque [1]")
        same.write_text(text, encoding="utf-8")
        self.check(
            "export into the project that has the tree: changes",
            self.ours.import_tags(same).changes,
            (),
        )

    def back_by_folder(self) -> None:
        """Panoptic's project folder: trees, colours, values and vectors."""
        sha1s = sorted(self.image_of)
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(len(sha1s), 16)).astype(np.float32)
        ids = {sha1: number for number, sha1 in self.drive(("instances",))[0]}
        style = [
            ("Gothic", 0, []),
            ("late", 1, [0]),
            ("both", 2, [0, 1]),
            ("a > b", 3, []),
            ("size > 3", 4, [0]),
            ("x>y", 5, []),
            ("fish, coral", 6, []),
            ("late", 7, [6]),
        ]
        (made,) = self.drive(
            ("property", "Style", "multi_tags", "sha1"),
            ("property", "Keeper", "tag", "id"),
            ("property", "Note", "text"),
            ("property", "Year", "number"),
            ("property", "Seen", "checkbox", "id"),
            ("property", "Tint", "color"),
            ("tags", "Style", style),
        )[-1:]
        [keepers] = self.drive(("tags", "Keeper", [("Ann", 8, []), ("Bob", 9, [0])]))
        self.drive(
            ("values", "Style", [(sha1, [made[at % len(made)]]) for at, sha1 in enumerate(sha1s)]),
            ("values", "Keeper", [(ids[sha1], [keepers[at % 2]]) for at, sha1 in enumerate(sha1s)]),
            ("values", "Note", [(sha1, f'n{at};\n"é"') for at, sha1 in enumerate(sha1s)]),
            ("values", "Year", [(sha1, 1800 + at / 2) for at, sha1 in enumerate(sha1s)]),
            ("values", "Seen", [(ids[sha1s[0]], True)]),
            ("values", "Tint", [(sha1s[0], 3)]),
            (
                "vectors",
                "clip",
                {"model": "openai/clip", "greyscale": False},
                [(sha1, vector.tolist()) for sha1, vector in zip(sha1s, vectors, strict=True)],
            ),
        )
        before = {
            file: (file.stat().st_mtime_ns, file.stat().st_size)
            for file in self.panoptic.rglob("*")
        }
        into = self.project("folder")
        looked = into.import_panoptic(self.panoptic, check=True, vectors="clip")
        done = into.import_panoptic(self.panoptic, vectors="clip")
        again = into.import_panoptic(self.panoptic, vectors="clip")
        after = {
            file: (file.stat().st_mtime_ns, file.stat().st_size)
            for file in self.panoptic.rglob("*")
        }
        self.check("Panoptic's folder stays as it was", after, before)
        self.check("what --check says", looked.tags, done.tags)
        self.check("once more: changes", again.tags.changes, ())
        for note in done.notes:
            print(f"  {note}")
        tables = saved_tags(into.store)
        named = paths(tables.tags)
        tree = {(t.property, named[t.tag_id], t.colour) for t in tables.tags}
        ours = {("Époque (1)", path, PALETTE[colour]) for path, (_, colour) in _TREE.items()}
        self.check(
            "tree of ours, by the folder",
            {e for e in tree if e[0] == "Époque (1)"},
            ours,
        )
        self.check(
            "tree of Panoptic",
            {e[1:] for e in tree if e[0] == "Style"},
            {
                ("Gothic", PALETTE[0]),
                ("Gothic > late", PALETTE[1]),
                ("Gothic > both", PALETTE[2]),
                ("a", None),
                ("a > b", PALETTE[3]),
                ("Gothic > size › 3", PALETTE[4]),
                ("x›y", PALETTE[5]),
                ("fish, coral", PALETTE[6]),
                ("fish, coral > late", PALETTE[7]),
            },
        )
        counts = Counter(tag for tag, _ in tables.images)
        self.check(
            "tags given",
            sum(counts.values()),
            2 * len(sha1s) + len(self.pairs(self.ours, "Époque [1]")),
        )
        rows = into.store.read(vectors_table("clip"), ["image_id", "vector"]).to_pylist()
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = {self.image_of[sha1]: vector for sha1, vector in zip(sha1s, unit, strict=True)}
        worst = max(np.abs(np.array(r["vector"]) - expected[r["image_id"]]).max() for r in rows)
        self.check(
            f"vectors, largest difference {worst:.1e}",
            (len(rows), worst < 1e-6),
            (len(sha1s), True),
        )
        table = (into.folder / "panoptic.csv").read_text(encoding="utf-8")
        self.check(
            "columns",
            table.partition("\n")[0],
            "path;Note[text];Year[number];Seen[text];Tint[text]",
        )
        self.check("lines of panoptic.csv", done.nb_lines, len(self.files))
        here = self.moved().import_panoptic(self.panoptic)
        self.check("by SHA-1, renamed files elsewhere: images", here.tags.nb_images, len(sha1s))
        self.check("… of which are not found", here.tags.nb_unknown, 0)

    def moved(self) -> Project:
        """A project of the same files under names that nobody knows."""
        elsewhere = self.folder / "moved"
        elsewhere.mkdir()
        for at, file in enumerate(self.files):
            shutil.move(file, elsewhere / f"renamed-{at}.jpg")
        made = create(self.folder / "moved-project", ProjectSettings(images=str(elsewhere)))
        found = Project(made.folder)
        found._act("images", None, {})
        return found

    def pairs(self, project: Project, name: str, own: bool = False) -> set[tuple[str, str]]:
        """Image and tag of a property."""
        tables = saved_tags(project.store, name)
        named = paths(tables.tags)
        found = {(image, named[tag]) for tag, image in tables.images}
        return self.own(found) if own else found

    def own(self, pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """The same by what tags are called in Panoptic's CSV, which knows no trees."""
        names = Counter(path.rpartition(" > ")[2] for path in _TREE)
        return {
            (image, own if names[own := path.rpartition(" > ")[2]] == 1 else path)
            for image, path in pairs
        }

    def check(self, what: str, found: object, expected: object) -> None:
        """Print that something is as it should be, or end."""
        if found != expected:
            sys.exit(f"DIFFERS {what}:\n  found    {found}\n  expected {expected}")
        print(f"equal: {what}")


if __name__ == "__main__":
    main()
