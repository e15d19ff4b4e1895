"""The story of a vocabulary: one end state from every door: shell, Launchpad, files, Python."""

import csv
import json
import shutil

import yaml

from tests.commands import run
from tests.workbench import bench_of

NAMES = {"0": "Poissons", "1": "outils", "2": "Châteaux", "4": "vehicles", "9": "le reste"}
"""Five new names, three of them French."""
COLUMNS = ["edit", "tag", "to", "tags", "into", "under", "event", "images", "colour"]
DOORS = ("shell", "launchpad", "file", "table", "python")


def state(project):
    """What the tags of a project say, whatever their ids are."""
    return sorted((tag["path"], tag["colour"], tag["image_ids"]) for tag in project.tags())


def saved(bench):
    """C1-C13: a run, one of its clusters divided again, saved."""
    bench.make("clustering", "greek")
    bench.make("nested_clustering", "greek/9", method={"kmeans": {"nb_clusters": 2}})
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    return bench


def test_the_same_vocabulary_from_every_door(bench, tmp_path):
    """C14-C19, A18: rename, merge, move, undo the merge, accept what is recommended, export."""
    before = saved(bench).project.folder
    doors = {door: bench_of(shutil.copytree(before, tmp_path / door)) for door in DOORS}
    folder = doors["shell"].project.folder

    for old, new in NAMES.items():
        run("tag", "rename", old, new, "--author", "Zoé", "--reason", "relecture", cwd=folder)
    run("tag", "merge", "3", "5", "--into", "outils", cwd=folder)
    run("tag", "move", "vehicles", "--under", "outils", cwd=folder)
    log = doors["shell"].read.tag_log()
    [merge] = [entry["number"] for entry in log if entry["kind"] == "merge"]
    run("tag", "undo", merge, cwd=folder)
    # Every image has a tag of k-means: some are taken away, so that there is something to complete.
    [fish] = [tag for tag in doors["shell"].read.tags() if tag["path"] == "Poissons"]
    hidden = fish["image_ids"][:4]
    run("tag", "unassign", "Poissons", *hidden[:2], cwd=folder)
    [other] = [tag for tag in doors["shell"].read.tags() if tag["path"] == "Châteaux"]
    run("tag", "unassign", "Châteaux", *other["image_ids"][:3], cwd=folder)
    run("recommend", "--property", "Clustering", cwd=folder)
    run("tag", "accept", "Poissons", "--best", 1, cwd=folder)
    run("tag", "recolour", "Poissons", "#3366FF", cwd=folder)
    [accepted] = [entry for entry in doors["shell"].read.tag_log() if entry["kind"] == "accept"]
    assert accepted["nb_images"] == 1
    [now] = [tag for tag in doors["shell"].read.tags() if tag["path"] == "Poissons"]
    gained = sorted(set(now["image_ids"]) - (set(fish["image_ids"]) - set(hidden[:2])))
    assert len(gained) == 1

    edits = [
        *({"rename": {"tag": old, "to": new}} for old, new in NAMES.items()),
        {"merge": {"tags": ["3", "5"], "into": "outils"}},
        {"move": {"tag": "vehicles", "under": "outils"}},
        {"undo": {"event": merge}},
        {"unassign": {"tag": "Poissons", "images": hidden[:2]}},
        {"unassign": {"tag": "Châteaux", "images": other["image_ids"][:3]}},
        {"accept": {"tag": "Poissons", "images": gained}},
        {"recolour": {"tag": "Poissons", "colour": "#3366ff"}},
    ]
    doors["launchpad"].run("tags", edits=edits, author="Zoé", reason="relecture")
    file = tmp_path / "edits.yaml"
    file.write_text(yaml.safe_dump({"edits": edits, "author": "Zoé"}, allow_unicode=True))
    run("tag", "apply", file, cwd=doors["file"].project.folder)

    table = tmp_path / "edits.csv"
    with table.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS, delimiter=";")
        writer.writeheader()
        for edit in edits:
            [(kind, fields)] = edit.items()
            cells = {k: "|".join(v) if isinstance(v, list) else v for k, v in fields.items()}
            writer.writerow({"edit": kind, **cells})
    run("tag", "apply", table, "--author", "Zoé", cwd=doors["table"].project.folder)
    doors["python"].read.edit(edits, author="Zoé")
    for door in DOORS:
        assert state(doors[door].read) == state(doors["shell"].read), door
    paths = {path for path, _, _ in state(doors["shell"].read)}
    assert paths >= {
        "Poissons",
        "outils",
        "outils > vehicles",
        "Châteaux",
        "3",
        "5",
        "le reste > 0",
    }
    for door in doors.values():
        checks = door.checks("tags")
        assert [check.passed for check in checks.values()] == [True]

    run("export", "tags.json", "--property", "Clustering", cwd=folder)
    exported = json.loads((folder / "tags.json").read_text(encoding="utf-8"))
    assert "Châteaux" in json.dumps(exported, ensure_ascii=False)
    answer = run("tag", "log", cwd=folder).stdout
    assert "merge (undone)" in answer
    assert "Zoé" in answer
