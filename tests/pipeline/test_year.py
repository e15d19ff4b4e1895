"""A year of a collection: disks vanish, folders are emptied, people name and merge in between.

Each week something happens to the files and people work on tags; then the corpus is refreshed and
each run's policy applied. In the end all disks are back, and all that a person made is there.

$PANOPTIC_YEAR_WEEKS is how many weeks there are (26), $PANOPTIC_YEAR_SEED where the random numbers
begin (1).
"""

import hashlib
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from panoptic_assets.clustering.dividing import Dividing
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.spec.tag_log import State, normalised, replayed
from panoptic_assets.tags import remarking
from panoptic_assets.tags.table import read_log
from panoptic_assets.upkeep.config import BackfillConfig
from panoptic_assets.upkeep.refreshing import RunRefresh, refresh_runs
from resources.engine import LocalEngine
from resources.errors import UnavailableError
from resources.models import OpenClipModels
from resources.project_folder import ProjectSettings, create
from resources.registry import Registry
from tests.faults.test_faults import check_nothing_is_twice, check_tags_are_the_log
from tests.tiny import write_model
from tests.workbench import Workbench, resources_of

NB_WEEKS = int(os.environ.get("PANOPTIC_YEAR_WEEKS", "26"))
SEED = int(os.environ.get("PANOPTIC_YEAR_SEED", "1"))
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200))
FOLDERS = ("2021", "2022", "disk a", "disk b", "loans/paris")
DISKS = ("disk a", "disk b")
RUNS = {"kept": "keep", "assigned": "assign", "again": "recluster"}
"""The runs by their policies; each is saved as a property of its name."""
FEW = 5


def picture(number):
    """A picture without compression, so that all have one size; of five kinds."""
    noise = np.random.default_rng(number).integers(-25, 25, (4, 4, 3))
    pixels = np.clip(np.array(COLOURS[number % len(COLOURS)]) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((32, 32))


@dataclass
class Year:
    """A collection, as whoever keeps it knows it, and what people made of its project."""

    bench: Workbench
    random: random.Random
    files: dict[str, int] = field(default_factory=dict)
    """Which picture lies where, on disks that are away as well, and in the backup."""
    away: set[str] = field(default_factory=set)
    emptied: dict[str, int] = field(default_factory=dict)
    """Files that are only in the backup, until somebody notices."""
    last: int = 0
    """Number of the newest picture."""
    named: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tags that a person named, moved or made: name and colour, by id."""
    above: dict[str, str | None] = field(default_factory=dict)
    """The tag above each that a person moved."""
    by_hand: set[tuple[str, str]] = field(default_factory=set)
    taken: set[tuple[str, str]] = field(default_factory=set)
    homes: dict[str, str] = field(default_factory=dict)
    """The tag that each image has of the run whose clusters stay, unless people decided on it."""
    remarks: dict[str, str] = field(default_factory=dict)
    happened: Counter = field(default_factory=Counter)

    @property
    def root(self) -> Path:
        return Path(self.bench.project.images)

    @property
    def there(self) -> dict[str, int]:
        """The files that can be seen now."""
        return {
            path: number
            for path, number in self.files.items()
            if path.partition("/")[0] not in self.away and path not in self.emptied
        }

    # What happens to files

    def put(self, path, number):
        self.files[path] = number
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(file, "BMP")

    def come(self, count=None):
        folder = self.random.choice([f for f in FOLDERS if f not in self.away])
        for _ in range(count or self.random.randint(1, 4)):
            self.last += 1
            self.put(f"{folder}/{self.last:04}.bmp", self.last)

    def some(self, count):
        there = sorted(self.there)
        return self.random.sample(there, min(count, len(there)))

    def go(self):
        for path in self.some(self.random.randint(1, 3)):
            (self.root / path).unlink()
            del self.files[path]

    def rename(self):
        for path in self.some(3):
            folder, _, name = path.rpartition("/")
            new = f"{folder}/renamed {self.random.randint(0, 10**6)} {name}"
            (self.root / path).rename(self.root / new)
            self.files[new] = self.files.pop(path)

    def replace(self):
        """By a picture of the same size and time, as ``cp -p`` does."""
        for path in self.some(2):
            before = (self.root / path).stat()
            self.last += 1
            self.put(path, self.last)
            os.utime(self.root / path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def copy(self):
        for path in self.some(2):
            new = f"2022/copy {self.random.randint(0, 10**6)}.bmp"
            shutil.copy2(self.root / path, self.root / new)
            self.files[new] = self.files[path]

    def disk(self, name=""):
        """A disk is taken away, or comes back; its folder stays, as that of a mount does."""
        name = name or self.random.choice(DISKS)
        if not any(path.startswith(f"{name}/") for path in self.files):
            return
        place, aside = self.root / name, self.root.parent / name
        if name in self.away:
            place.rmdir()
            aside.rename(place)
            self.away.remove(name)
        else:
            place.rename(aside)
            place.mkdir()
            self.away.add(name)

    def empty(self):
        """A folder is emptied by accident, or comes back from the backup with other times."""
        if self.emptied:
            for path, number in self.emptied.items():
                self.put(path, number)
            self.emptied = {}
            return
        folder = self.random.choice([f for f in ("2021", "loans/paris") if f not in self.away])
        for path, number in self.there.items():
            if path.startswith(f"{folder}/"):
                (self.root / path).unlink()
                self.emptied[path] = number

    # What people do

    @property
    def state(self) -> State:
        return replayed([entry.event for entry in read_log(self.bench.store)])

    def edit(self, kind, tag, **fields):
        edit = {kind: {"tag": tag.tag_id, "property": tag.property} | fields}
        self.bench.make("tags", edits=[edit])

    def tag(self, among=None):
        tags = [
            tag
            for tag in self.state.tags.values()
            if not tag.is_remainder and (among is None or tag.property == among)
        ]
        return self.random.choice(sorted(tags, key=lambda tag: tag.tag_id))

    def knows(self, tag_id):
        """Note what a tag is called by now: a person worked on it."""
        tag = self.state.tags[tag_id]
        self.named[tag_id] = tag.name, tag.colour or ""

    def name(self):
        tag = self.tag()
        self.edit("rename", tag, to=f"Named {self.random.randint(0, 10**9)}")
        self.knows(tag.tag_id)

    def colour(self):
        tag = self.tag()
        self.edit("recolour", tag, colour=f"#{self.random.randint(0, 2**24 - 1):06x}")
        self.knows(tag.tag_id)

    def create(self):
        name = f"Made {self.random.randint(0, 10**9)}"
        edit = {"create": {"tag": name, "property": "People"}}
        self.bench.make("tags", edits=[edit])
        [tag] = [tag for tag in self.state.tags.values() if tag.name == name]
        self.knows(tag.tag_id)

    def give(self):
        tag = self.tag()
        images = self.images(2)
        self.edit("assign", tag, images=images)
        self.by_hand |= {(tag.tag_id, image) for image in images}
        self.taken -= self.by_hand
        self.decided(tag, images)
        self.knows(tag.tag_id)

    def take(self):
        tag = self.tag()
        own = sorted(self.state.members[tag.tag_id])
        if own:
            images = self.random.sample(own, 1)
            self.edit("unassign", tag, images=images)
            pairs = {(tag.tag_id, image) for image in images}
            self.taken |= pairs
            self.by_hand -= pairs
            self.decided(tag, images)

    def decided(self, tag, images):
        if tag.property == "assigned":
            for image in images:
                self.homes.pop(image, None)

    def merge(self):
        into = self.tag()
        other = self.tag(into.property)
        state = self.state
        if other.tag_id == into.tag_id or self.line(state, into) & self.line(state, other):
            return
        both = {"tags": [other.tag_id, into.tag_id], "into": into.tag_id}
        self.bench.make("tags", edits=[{"merge": both | {"property": into.property}}])
        self.named.pop(other.tag_id, None)
        self.above.pop(other.tag_id, None)
        moved = {(into.tag_id, image) for tag, image in self.by_hand if tag == other.tag_id}
        self.by_hand = {pair for pair in self.by_hand if pair[0] != other.tag_id} | moved
        self.taken = {pair for pair in self.taken if pair[0] not in (other.tag_id, into.tag_id)}
        self.homes = {
            image: into.tag_id if tag_id == other.tag_id else tag_id
            for image, tag_id in self.homes.items()
        }
        for tag_id, parent_id in self.above.items():
            if parent_id == other.tag_id:
                self.above[tag_id] = into.tag_id
        self.knows(into.tag_id)
        self.catch_up()

    def move(self):
        tag = self.tag()
        under = self.tag(tag.property)
        if self.line(self.state, under) & {tag.tag_id} or under.tag_id == tag.parent_id:
            return
        self.edit("move", tag, under=under.tag_id)
        self.knows(tag.tag_id)
        self.knows(under.tag_id)
        self.above[tag.tag_id] = under.tag_id
        self.catch_up()

    def catch_up(self):
        """A tag that comes where another one has its name gets another name, or is joined."""
        state = self.state
        for tag_id in list(self.named):
            if tag_id in state.tags:
                self.knows(tag_id)

    @staticmethod
    def line(state, tag):
        found = {tag.tag_id}
        while tag.parent_id is not None:
            tag = state.tags[tag.parent_id]
            found.add(tag.tag_id)
        return found

    def present(self):
        """What the project knows of the files: which image is where."""
        rows = self.bench.read.files().to_pylist()
        return {row["path"]: row["image_id"] for row in rows if row["status"] == "present"}

    def images(self, count):
        return sorted(self.random.sample(sorted(set(self.present().values())), count))

    def remark(self):
        [image] = self.images(1)
        text = f"Seen {self.random.randint(0, 10**9)}"
        project = self.bench.project
        context = Context(**resources_of(project), engine=LocalEngine(), dagster_run_id="0" * 36)
        given = {"subject": image, "text": text}
        remarking.store(remarking.run(remarking.prepare(context.now(), "", given)))
        self.remarks[image] = text

    # Weeks

    WORLD = (come, come, go, rename, replace, copy, disk, disk, empty)
    PEOPLE = (name, name, colour, create, give, take, merge, move, remark)

    def inventory(self, files):
        lines = [f"{path};{COLOURS[number % len(COLOURS)]}" for path, number in files.items()]
        text = "\n".join(["path;kind[text]", *lines]) + "\n"
        (self.bench.project.folder / "inventory.csv").write_text(text)

    def values(self):
        return dict(
            zip(
                *(
                    self.bench.store.read("property_values")[n].to_pylist()
                    for n in ("image_id", "text")
                ),
                strict=True,
            )
        )

    def refresh(self, accept=False):
        """Read what is there, and apply the policies; False if a person was asked."""
        bench = self.bench
        before = {table: bench.store.version(table) for table in bench.store.tables()}
        # Copies of some may have come, as which they count.
        lost = Counter(path.partition("/")[0] for path in self.present())
        must_ask = any(lost[name] > 2 * FEW for name in self.away)
        try:
            bench.make("images", **({"accept_missing": True} if accept else {}))
        except UnavailableError:
            assert {table: bench.store.version(table) for table in before} == before
            self.happened["asked"] += 1
            return False
        assert accept or not must_ask
        bench.make("inventory", **({"accept_missing": True} if accept else {}))
        bench.make("embeddings", "tiny")
        folder = str(bench.project.folder)
        registry, models = Registry(folder=folder), OpenClipModels(folder=folder)
        dividing = Dividing(bench.store, models, registry, "0" * 36, lambda line: None)
        for item in refresh_runs(dividing, BackfillConfig()):
            if isinstance(item, RunRefresh):
                assert not item.failed, item.happened
            else:
                self.happened[item.what] += 1
        return True

    def week(self):
        for _ in range(self.random.randint(1, 3)):
            happens = self.random.choice(self.WORLD)
            self.happened[happens.__name__] += 1
            happens(self)
        for _ in range(self.random.randint(1, 4)):
            does = self.random.choice(self.PEOPLE)
            self.happened[does.__name__] += 1
            does(self)
        known = self.values()
        half = self.random.random()
        shown = list(self.files.items())
        self.inventory(dict(shown[: 0 if half < 0.15 else len(shown) // 2 if half < 0.3 else None]))
        if self.refresh():
            # A file that is just being saved takes hardly a value away.
            now = self.values()
            here = set(self.present().values())
            had = {image: value for image, value in known.items() if image in here}
            lost = [image for image, value in had.items() if now.get(image) != value]
            assert len(lost) <= max(FEW, 0.33 * len(had))
            self.check_tags()
        elif self.random.random() < 0.3:
            # Somebody says without looking that what is missing is gone for good.
            self.refresh(accept=True)
            self.check_tags()
        if self.random.random() < 0.3:
            self.save()

    def save(self):
        """A person decides where it was not certain which tag belongs to which cluster."""
        self.happened["saved by hand"] += 1
        self.bench.make("saved_clustering", "again", property="again", min_overlap=0, depth=1)

    def end(self):
        for name in sorted(self.away):
            self.disk(name)
        if self.emptied:
            self.empty()
        self.inventory(self.files)
        # What was never noticed, since a person was asked each week, goes now.
        if not self.refresh():
            assert self.refresh(accept=True)
        self.save()

    # What must be there

    def check_tags(self):
        state = self.state
        for tag_id, (name, colour) in self.named.items():
            assert tag_id in state.tags, (name, self.happened)
            tag = state.tags[tag_id]
            assert (tag.name, tag.colour or "") == (name, colour)
        for tag_id, above in self.above.items():
            assert state.tags[tag_id].parent_id == above
        for tag_id, image in self.by_hand:
            assert image in state.members[tag_id], state.tags[tag_id]
        for tag_id, image in self.taken:
            assert image not in state.members.get(tag_id, {})
        given: Counter[tuple[str, str]] = Counter()
        present = set(self.present().values())
        by_people = {image for _, image in self.by_hand | self.taken}
        for tag_id, images in state.members.items():
            tag = state.tags[tag_id]
            for image, number in images.items():
                if number in state.saves:
                    given[tag.property, image] += 1
                    is_bound = image in by_people or self.homes.get(image) in self.named
                    if tag.property == "assigned" and not is_bound:
                        self.homes[image] = tag_id
        assert max(given.values()) == 1
        for image, tag_id in self.homes.items():
            if image in present and tag_id in self.named:
                assert image in state.members[tag_id], state.tags[tag_id]
        siblings = Counter(
            (tag.property, tag.parent_id, normalised(tag.name)) for tag in state.tags.values()
        )
        assert max(siblings.values()) == 1

    def check(self):
        self.check_tags()
        bench = self.bench
        bench.make("tags")
        check_nothing_is_twice(bench.store)
        check_tags_are_the_log(bench.store)
        rows = {row["path"]: row for row in bench.read.files().to_pylist()}
        present = {path for path, row in rows.items() if row["status"] == "present"}
        assert present == set(self.files)
        content = {
            path: hashlib.sha256((self.root / path).read_bytes()).hexdigest() for path in self.files
        }
        assert {path: rows[path]["image_id"] for path in present} == content
        kinds = {content[path]: str(COLOURS[n % len(COLOURS)]) for path, n in self.files.items()}
        assert self.values() == kinds
        told = {r["subject"]: r["text"] for r in remarking.read_remarks(bench.store)}
        assert told == {f"image:{image}": text for image, text in self.remarks.items()}
        for name in ("assigned", "again"):
            members = bench.read.assignments(name)["image_id"].to_pylist()
            assert set(members) == set(content.values())


@pytest.fixture
def year(tmp_path):
    """The collection at the beginning: divided thrice, and saved."""
    (tmp_path / "images").mkdir()
    settings = ProjectSettings(
        images=str(tmp_path / "images"), vector_type="tiny", metadata="inventory.csv"
    )
    project = create(tmp_path / "project", settings)
    for file in project.configs.rglob("*.yaml"):
        file.unlink()
    model = write_model(tmp_path / "model")
    description = f"model: local-dir:{model}\nprecision: fp32\n"
    (project.configs / "models" / "tiny.yaml").write_text(description)
    bench = Workbench(project, dg.DagsterInstance.ephemeral())
    found = Year(bench, random.Random(SEED))
    for folder in FOLDERS:
        for _ in range(10):
            found.last += 1
            found.put(f"{folder}/{found.last:04}.bmp", found.last)
    found.inventory(found.files)
    bench.make("images")
    bench.make("inventory")
    bench.make("embeddings", "tiny")
    for key, policy in RUNS.items():
        bench.make("clustering", key, method={"kmeans": {"nb_clusters": len(COLOURS)}})
        bench.make("saved_clustering", key, property=key, depth=1)
        Registry(folder=str(project.folder)).set_policy(
            key, policy, {"ops": {"clustering": {"config": {}}}}
        )
    return found


def test_all_that_a_person_made_is_there_at_the_end_of_a_year(year):
    for _ in range(NB_WEEKS):
        year.week()
    year.end()
    print(dict(year.happened))
    year.check()
