"""Pictures of images as a zip file: their names, what is in them, and what is missing."""

import csv
import hashlib
import io
import zipfile

import pytest
from PIL import Image

from panoptic_assets.labels.pictures import Pictures
from panoptic_assets.tags.exchange import picture_export
from panoptic_assets.tags.exchange.picture_export import write_pictures
from resources.errors import InputError
from resources.lance import LanceStore
from resources.source import ImageSource

NAMES = ["a/x.png", "a/X.PNG", "a/CON.png", "a:b/x.png", "=1+1.png", ".hidden.png", "images.csv"]


@pytest.fixture
def pictures(tmp_path):
    """Files that hold an image each, of any name that a disk takes."""
    files = {}
    for number, name in enumerate(NAMES):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 900), (number * 9, 0, 0)).save(path, "PNG")
        files[hashlib.sha256(path.read_bytes()).hexdigest()] = [name]
    store = LanceStore(uri=str(tmp_path / "store"))
    return Pictures(store, ImageSource(root=str(tmp_path / "images")), files)


@pytest.fixture
def written(pictures, tmp_path):
    def write(size="512", ids=None):
        path = tmp_path / "images.zip"
        count = write_pictures(path, list(ids or pictures.files), pictures, size)
        archive = zipfile.ZipFile(path)
        table = io.StringIO(archive.read("images.csv").decode())
        return count, archive, list(csv.DictReader(table))

    return write


def test_every_picture_has_a_name_of_its_own_that_every_disk_takes(written):
    count, archive, table = written()
    names = archive.namelist()
    assert count == len(NAMES) == len(names) - 1
    assert len({name.casefold() for name in names}) == len(names)
    assert not any(set(name) & set(':<>"|?*\\') for name in names)
    assert not any(part.startswith((".", "CON.")) for name in names for part in name.split("/"))
    assert sorted(row["file"].lstrip("'") for row in table) == sorted(names[:-1])


def test_a_picture_is_made_anew_within_its_size(written):
    _, archive, _ = written()
    with Image.open(io.BytesIO(archive.read(archive.namelist()[0]))) as picture:
        assert (picture.format, max(picture.size)) == ("JPEG", 512)


def test_an_original_is_the_file_byte_for_byte(written, pictures):
    _, archive, table = written("original")
    for row in table:
        content = archive.read(row["file"].removeprefix("'"))
        assert hashlib.sha256(content).hexdigest() == row["image_id"]


@pytest.mark.parametrize("size", ["512", "original"])
def test_of_files_that_are_gone_changed_or_no_images_the_table_says_that_there_is_none(
    written, pictures, size
):
    gone, changed, *others = pictures.files
    folder = pictures.source.local_root
    (folder / pictures.files[gone][0]).unlink()
    (folder / pictures.files[changed][0]).write_bytes(b"something else")
    unknown = "0" * 64
    count, archive, table = written(size, [*pictures.files, unknown])
    assert count == len(others)
    assert {row["image_id"] for row in table if not row["file"]} == {gone, changed, unknown}
    assert len(archive.namelist()) == len(others) + 1


def test_too_many_or_too_large_pictures_are_refused(written, monkeypatch):
    monkeypatch.setattr(picture_export, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="larger than 0 GB together"):
        written("original")
    monkeypatch.setattr(picture_export, "MOST_PICTURES", 3)
    with pytest.raises(InputError, match="These are 7 images, and one zip file has .* 3 at most"):
        written()
