"""Keep a project as this version writes it: ``python -m tests.kept.write 0.1.0.tar.xz FOLDER``.

Every later version must open, verify, refresh and save what lies in ``tests/kept``
(``tests/pipeline/test_kept.py``): so an archive, once kept, is never written anew. A version that
stores something in another form adds one of its own, called after it.

Everything is done through the command line, as people do it, on 26 small pictures of the sample.
Beside the archive lies a JSON file of the same name, with what a reader of it must find.

The project is written in FOLDER, which must not exist: Dagster's events name where reports lay, so
choose one that anybody may have, such as ``/srv/collection``. The embedded model and the map's
JavaScript are left out: both are made again from packages.
"""

import contextlib
import csv
import json
import os
import shutil
import sqlite3
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import panoptic_assets
from panoptic_assets.cli.main import main as panoptic_assets_command
from panoptic_assets.project import Project

_SAMPLE = Path(panoptic_assets.__file__).parent / "sample"
_SIDE = 96
_PICTURES = {
    "animaux/poissons": "animals/fish/fish_{:02}.jpg",
    "animaux/ferme": "animals/livestock/livestock_{:02}.jpg",
    "été à Paris": "monuments/france/france_{:02}.jpg",
    "outils": "tools/hammers/hammer_{:02}.jpg",
}
"""The corpus's folders, each with six pictures of the sample."""
_NAMES = {"monuments/france/france_01.jpg": "la tour nº 1.jpg"}
"""Of pictures that are called otherwise here."""

_RUNS = {
    "subjects": ("recluster", {"method": {"kmeans": {"nb_clusters": 4}}}),
    "auto": ("assign", {"method": {"kmeans": {"nb_clusters": -1}}, "stability": 3}),
    "dense": ("keep", {"method": {"hdbscan": {"min_cluster_size": 3}}, "assign_remainder": True}),
    "colours": ("keep", {"method": {"kmeans": {"nb_clusters": 3}}, "features": "colour"}),
}
"""Of the registry: the refresh policy and the configuration of each run."""


def main(arguments: list[str]) -> None:
    """Write a project, and pack it."""
    destination, folder = map(Path, arguments)
    folder.mkdir()
    # Whoever keeps a project need not tell the world who and where they are.
    with (
        mock.patch.dict(os.environ, {"LOGNAME": "keeper"}),
        mock.patch("socket.gethostname", lambda: "kept"),
        contextlib.chdir(folder),
    ):
        _write(folder)
    _settle(folder)
    with tarfile.open(destination, "w:xz", preset=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.match("plotly-*.min.js"):
                archive.add(path, path.relative_to(folder), filter=_anonymous)
    text = json.dumps(facts(Project(folder)), ensure_ascii=False, indent=1)
    name = destination.name.removesuffix(".tar.xz")
    destination.with_name(f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def facts(project: Project) -> dict[str, Any]:
    """What a reader of a project finds, dates and ids of Dagster's left out."""
    infos = {run["key"]: project.run_info(run["key"]) for run in project.runs()}
    status = project.status()
    return {
        "runs": {
            key: {
                "method": info["config"]["method"],
                "features": info["config"]["features"],
                "policy": info["policy"],
                "revision": info["revision"],
                "status": info["status"],
                "refreshed": info["refreshed"] and info["refreshed"]["policy"],
                "output": info["output"],
                "clusters": {
                    row["cluster"]: row["size"] for row in project.clusters(key).to_pylist()
                },
            }
            for key, info in infos.items()
        },
        "labels": {row["node"]: row["label"] for row in project.labels("subjects").to_pylist()},
        "tags": [[tag["property"], tag["path"], tag["nb_images"]] for tag in project.tags()],
        "tag_log": [
            [event["number"], event["kind"], event["author"], event["undone"], event["change"]]
            for event in project.tag_log()
        ],
        "files": {
            row["path"]: [row["status"], row["image_id"]] for row in project.files().to_pylist()
        },
        "properties": project.properties(),
        "corpus": [
            {name: version[name] for name in ("number", "sha256", "nb_images", "changes")}
            for version in project.corpus_versions()
        ],
        "not_embedded": status["corpus"]["not_embedded"],
        "staleness": {f"{s['what']} {s['key']}": s["state"] for s in status["staleness"]},
        "projections": [found["key"] for found in project.projections()],
        "recommendations": project.recommendations().num_rows,
    }


def _write(folder: Path) -> None:
    images = folder / "images"
    taken = []
    for place, pattern in _PICTURES.items():
        for name in map(pattern.format, range(1, 7)):
            path = images / place / _NAMES.get(name, Path(name).name)
            _picture(path, name)
            taken.append((path.name, name))
    _inventory(folder / "inventory.csv", taken)
    _command("init", "images")
    settings = folder / ".panoptic" / "project.yaml"
    written = settings.read_text(encoding="utf-8")
    settings.write_text(written.replace("metadata: ''", "metadata: inventory.csv"), "utf-8")
    for key, (policy, config) in _RUNS.items():
        document = {"refresh": policy, "ops": {"clustering": {"config": config}}}
        (folder / "configs" / "runs" / f"{key}.yaml").write_text(json.dumps(document))
    document = {
        "ops": {"nested_clustering": {"config": {"method": {"kmeans": {"nb_clusters": 2}}}}}
    }
    (folder / "configs" / "runs" / "subjects").mkdir()
    (folder / "configs" / "runs" / "subjects" / "1.yaml").write_text(json.dumps(document))

    _command("refresh")
    _colours(folder, images)
    _command("import-vectors", "colour", "colours.parquet", "--model", "4 x 4 colours")
    _command("project", "mini/pca")
    for key in _RUNS:
        _command("cluster", key)
    _command("cluster", "animals", "--files", "animaux/*", "--nb-clusters", "2")
    _command("cluster", "map", "--features", "mini/pca", "--nb-clusters", "3")
    _command("divide", "subjects/1")
    _command("divide", "subjects/1/1", "--nb-clusters", "2")
    runs = ("--runs", "subjects", "--runs", "auto", "--runs", "dense")
    _command("cluster", "together", "--method", "consensus", *runs)
    _command("label", "subjects", "--language", "fr")
    by = ("--author", "Zoé", "--reason", "seen")
    _command("save", "auto", *by)
    _command("save", "subjects", "--property", "Sujets", "--no-labels", *by)
    _command("tag", "rename", "0", "Outils d’été", "--property", "Sujets", *by)
    _command("tag", "create", "Préférées > Marteaux", *by)
    _command("tag", "assign", "Préférées > Marteaux", "outils/hammer_01.jpg", *by)
    _command("tag", "rename", "1", "Animaux", *by)
    _command("tag", "undo", *by)
    _command("tag", "merge", "2", "3", "--into", "2", "--property", "Sujets", *by)

    (images / "animaux" / "poissons" / "fish_06.jpg").unlink()
    (images / "été à Paris" / "france_02.jpg").rename(images / "outils" / "déplacée.jpg")
    _picture(images / "animaux" / "poissons" / "fish_07.jpg", "animals/fish/fish_07.jpg")
    _picture(
        images / "animaux" / "ferme" / "livestock_07.jpg", "animals/livestock/livestock_07.jpg"
    )
    _command("refresh")
    _command("backfill")
    _command("recommend", "--include-tagged", "--number", "3")
    _command("compare", "subjects", "auto", "dense", "--report")
    _command("report", "subjects")
    (folder / "evidence").mkdir()
    _command("bundle", "subjects", "--vectors", "--output", "evidence/subjects.zip")


def _command(*arguments: str) -> None:
    print("panoptic-assets", *arguments)
    panoptic_assets_command(arguments, standalone_mode=False)


def _picture(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(_SAMPLE / name) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((_SIDE, _SIDE))
        picture.save(path, quality=80)


def _inventory(path: Path, taken: list[tuple[str, str]]) -> None:
    """The museum's own table, which says as well where each picture comes from."""
    with (_SAMPLE / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
        known = {row["file"]: row for row in csv.DictReader(file)}
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["path", "légende", "poids[number]", "acquis[date]", "licence"])
        for number, (place, name) in enumerate(taken):
            row = known[name]
            weight = f"{number / 4:.2f}".replace(".", ",")
            day = f"{1 + number:02}/03/1924"
            table.writerow([place, row["caption_fr"], weight, day, row["licence"]])


def _colours(folder: Path, images: Path) -> None:
    rows: dict[str, list[Any]] = {"path": [], "vector": []}
    for path in sorted(images.rglob("*.jpg")):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.resize((4, 4), Image.Resampling.BOX), np.float32)
        rows["path"].append(path.relative_to(images).as_posix())
        rows["vector"].append((pixels.ravel() - 127.5).tolist())
    pq.write_table(pa.table(rows), folder / "colours.parquet")


def _settle(folder: Path) -> None:
    """Bring what SQLite keeps beside its databases into them."""
    for path in (folder / ".panoptic" / "dagster").rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
    for path in folder.rglob("*.lock"):
        path.unlink()
    shutil.rmtree(folder / ".panoptic" / "models")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o644
    return entry


if __name__ == "__main__":
    main(sys.argv[1:])
