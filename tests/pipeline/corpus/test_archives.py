"""A project of an archive: from its file to clusters and pictures on pages."""

import io
import shutil
import tarfile
import zipfile

from PIL import Image

from panoptic_assets.project import Project
from panoptic_assets.serve.previews import Previews
from resources.source import ImageSource
from tests import commands


def picture(number):
    file = io.BytesIO()
    Image.effect_noise((64 + number, 48), 99).save(file, "JPEG")
    return file.getvalue()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)


def test_a_zip_archive_becomes_a_corpus_that_is_clustered_and_shown(tmp_path, mini_folder):
    """Of a newer archive only what changed is read again."""
    files = {f"Été/é {number}.jpg": picture(number) for number in range(12)}
    zipped(tmp_path / "scans.zip", files | {"__MACOSX/Été/._é 1.jpg": b"", "notes.txt": b""})
    commands.run("init", "scans.zip", cwd=tmp_path)
    shutil.copytree(mini_folder / ".panoptic" / "models", tmp_path / ".panoptic" / "models")
    assert "files read 12" in commands.run("refresh", cwd=tmp_path).stderr
    commands.run("cluster", "first", "--nb-clusters", 2, cwd=tmp_path)
    project = Project(tmp_path)
    found = {row["path"]: row["image_id"] for row in project.files().to_pylist()}
    assert sorted(found) == sorted(files)
    pictures = Previews(
        project._opened, ImageSource(root=str(tmp_path / "scans.zip")), folder=tmp_path / "previews"
    )
    try:
        shown = Image.open(io.BytesIO(pictures.preview(found["Été/é 3.jpg"], 512).result(60)))
        assert shown.size == (67, 48)
    finally:
        pictures.close()

    changed = {"Été/é 0.jpg": picture(50), "Été/é 12.jpg": picture(51)}
    zipped(tmp_path / "scans.zip", files | changed)
    assert "files read 2" in commands.run("refresh", cwd=tmp_path).stderr

    (tmp_path / "scans.zip").write_bytes(b"PK half an upload")
    answer = commands.run("refresh", cwd=tmp_path, expect=2)
    assert "it is no whole zip or tar archive" in answer.stderr
    assert len(Project(tmp_path).files()) == 13


def test_an_image_that_is_forgotten_goes_from_the_unpacked_archive(tmp_path, mini_folder):
    """The archive itself is named: it is not the program's to change."""
    with tarfile.open(tmp_path / "scans.tar.gz", "w:gz") as archive:
        for number in range(2):
            entry = tarfile.TarInfo(f"{number}.jpg")
            data = picture(number)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    commands.run("init", "scans.tar.gz", cwd=tmp_path)
    shutil.copytree(mini_folder / ".panoptic" / "models", tmp_path / ".panoptic" / "models")
    commands.run("refresh", cwd=tmp_path)
    downloads = tmp_path / ".panoptic" / "downloads"
    assert len([*downloads.rglob("*.tar")]) == 1
    shown = commands.run("forget", "0.jpg", "--yes", cwd=tmp_path)
    assert "the archive scans.tar.gz, if it holds it still" in shown.stdout
    assert [path for path in downloads.rglob("*") if path.is_file()] == []
    assert "files forgotten 1" in commands.run("refresh", cwd=tmp_path).stderr
