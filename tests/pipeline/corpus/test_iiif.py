"""A project of a IIIF manifest: from its address to pictures with properties, asked for once."""

import io
import shutil

import pytest
from PIL import Image

from panoptic_assets.project import Project
from resources.errors import InputError
from resources.project_folder import ProjectSettings
from tests import commands, library
from tests.library import Sent, canvas, manifest


@pytest.fixture(scope="module")
def server():
    with library.opened() as found:
        yield found


def book(server, names, **more):
    colours = ("red", "green", "blue", "white", "black")
    canvases = [
        canvas(
            {"none": [f"f. {name}"]},
            server.image(name, 120, 80, colour),
            metadata=[{"label": "Folio", "value": name}],
        )
        for name, colour in zip(names, colours, strict=False)
    ]
    pairs = [{"label": {"en": ["Author"]}, "value": {"en": ["Christine"]}}]
    return manifest({"en": ["The Book"]}, *canvases, metadata=pairs, **more)


def values(project, name):
    return {row["image_id"]: row["value"] for row in project.property_values(name).to_pylist()}


def test_a_manifest_becomes_a_corpus_with_properties_that_is_asked_for_once(
    server, tmp_path, mini_folder
):
    """A new canvas is the only picture that a second refresh asks for."""
    url = server.document("/book/manifest.json", book(server, "abcd"))
    commands.run("init", url, cwd=tmp_path)
    settings = tmp_path / ".panoptic" / "project.yaml"
    settings.write_text(
        settings.read_text().replace("images_options: {}", "images_options: {pause: 0, size: 60}")
    )
    shutil.copytree(mini_folder / ".panoptic" / "models", tmp_path / ".panoptic" / "models")
    commands.run("refresh", cwd=tmp_path)
    project = Project(tmp_path)
    found = {row["path"]: row["image_id"] for row in project.files().to_pylist()}
    ids = list(found.values())
    assert list(found) == [f"The Book/000{at} f. {name}.jpg" for at, name in enumerate("abcd", 1)]
    assert values(project, "Folio") == dict(zip(ids, "abcd", strict=True))
    assert values(project, "Author") == dict.fromkeys(ids, "Christine")
    assert values(project, "manifest") == {key: ["The Book"] for key in ids}
    assert {row["width"] for row in project.images().to_pylist()} == {60}

    asked = len(server.asked)
    commands.run("refresh", cwd=tmp_path)
    assert server.paths_since(asked) == ["/book/manifest.json"]

    server.document("/book/manifest.json", book(server, "abcde"))
    asked = len(server.asked)
    commands.run("refresh", cwd=tmp_path)
    assert server.paths_since(asked) == [
        "/book/manifest.json",
        "/image/e/full/!60,60/0/default.jpg",
    ]
    assert len(Project(tmp_path).files()) == 5

    server.sent["/book/manifest.json"] = Sent(status=404)
    answer = commands.run("refresh", cwd=tmp_path, expect=2)
    assert "cannot be read (the server answers with status 404)" in answer.stderr
    assert len(Project(tmp_path).files()) == 5


def test_an_address_that_does_not_tell_is_asked_what_it_is_of(server):
    url = server.document("/presentation/v3/b18035723", book(server, "ab"))
    assert ProjectSettings.of(url, "mini").images == f"iiif+{url}"
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    server.sent["/scans"] = Sent(file.getvalue())
    for other in (f"{server.url}/scans", f"{server.url}/nothing"):
        assert ProjectSettings.of(other, "mini").images == other


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (Sent(status=401), "ask for a password cannot be read"),
        (Sent(status=403), "ask for a password cannot be read"),
        (Sent(status=404), "There is no IIIF manifest at"),
        (Sent(b"<!doctype html>"), "a page for people"),
    ],
)
def test_an_address_without_a_manifest_is_refused_before_it_is_written(server, sent, said):
    server.sent["/refused/manifest.json"] = sent
    with pytest.raises(InputError, match=said):
        ProjectSettings.of(f"{server.url}/refused/manifest.json", "mini")


def test_a_manifest_with_a_password_is_refused_before_it_is_written(tmp_path):
    answer = commands.run("init", "https://me:geheim@x.org/manifest.json", cwd=tmp_path, expect=2)
    assert "user or a password" in answer.stderr
    assert "geheim" not in answer.stderr
    assert not (tmp_path / ".panoptic").exists()


def test_a_picture_that_is_forgotten_goes_from_what_is_kept_of_the_library(
    server, tmp_path, mini_folder
):
    """Its page of the manifest names it still, which is said."""
    url = server.document("/forgotten/manifest.json", book(server, "ab"))
    commands.run("init", url, cwd=tmp_path)
    shutil.copytree(mini_folder / ".panoptic" / "models", tmp_path / ".panoptic" / "models")
    commands.run("refresh", cwd=tmp_path)
    rows = Project(tmp_path).files().to_pylist()
    ids = {row["path"]: row["image_id"] for row in rows}
    asked = len(server.asked)
    shown = commands.run("forget", "The Book/0001 f. a.jpg", "--yes", cwd=tmp_path)
    assert "the manifest that the images come from" in shown.stdout
    kept = b"".join(
        path.read_bytes()
        for path in (tmp_path / ".panoptic" / "downloads").rglob("*")
        if path.is_file()
    )
    gone, other = "The Book/0001 f. a.jpg", "The Book/0002 f. b.jpg"
    for words in (gone, ids[gone]):
        assert words.encode() not in kept
    for words in (other, ids[other]):
        assert words.encode() in kept
    assert server.paths_since(asked) == []
    assert "files forgotten 1" in commands.run("refresh", cwd=tmp_path).stderr
