"""Pictures of images: what has the id and nothing else, however hostile the file and the crowd."""

import hashlib
import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from panoptic_assets.serve import previews
from panoptic_assets.serve.previews import PictureGoneError, Previews, PreviewsBusyError
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create
from resources.source import ImageSource
from tests.pipeline.serve.conftest import Client
from tests.workbench import bench_of

HOSTILE = Path(__file__).parents[2] / "hostile"


def id_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def hostile_folder(once):
    """A project of the hostile files, which were read: thumbnails, and a quarantine."""

    def write(folder):
        shutil.copytree(HOSTILE, folder / "images")
        create(folder, ProjectSettings(images=str(folder / "images")))
        bench_of(folder).make("images")

    return once("hostile", write)


@pytest.fixture
def hostile(hostile_folder, tmp_path):
    """A copy of the project: its folder, and its pictures."""
    folder = shutil.copytree(hostile_folder, tmp_path / "hostile")
    shutil.copytree(HOSTILE, tmp_path / "images")
    found = Previews(
        LanceStore(uri=str(folder / ".panoptic" / "store")),
        ImageSource(root=str(tmp_path / "images")),
    )
    yield tmp_path / "images", found
    found.close()


def shown(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image


def test_every_hostile_file_is_shown_or_refused_on_one_line(hostile):
    images, pictures = hostile
    refused = {}
    for path in sorted(images.iterdir()):
        try:
            preview = shown(pictures.preview(id_of(path), 512).result(60))
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            refused[path.name] = type(error).__name__
        else:
            assert max(preview.size) <= 512
            assert "exif" not in preview.info and "icc_profile" not in preview.info
    assert set(refused) == {
        "corrupt_not_an_image.jpg",
        "corrupt_truncated.jpg",
        "empty.png",
        "huge_dimensions_30000x30000.png",
    }


def test_a_picture_is_turned_as_its_camera_was(hostile):
    images, pictures = hostile
    file = images / "exif_rotated_orientation6.jpg"
    width, height = Image.open(file).size
    preview = shown(pictures.preview(id_of(file), 512).result(60))
    assert (width > height) != (preview.width > preview.height)


def test_a_small_picture_is_not_enlarged(hostile):
    images, pictures = hostile
    assert shown(pictures.preview(id_of(images / "one_pixel.png"), 2048).result(60)).size == (1, 1)


def test_a_file_that_was_changed_is_not_shown_under_the_old_id(hostile):
    images, pictures = hostile
    file = images / "photo.webp"
    image_id = id_of(file)
    shutil.copyfile(images / "palette.png", file)
    with pytest.raises(PictureGoneError, match="was changed since it was last read"):
        pictures.preview(image_id, 512).result(60)


def test_any_file_of_an_image_that_is_still_there_shows_it(hostile):
    images, pictures = hostile
    first, second = images / "exact_duplicate_a.jpg", images / "exact_duplicate_b.jpeg"
    image_id = id_of(first)
    first.unlink()
    assert shown(pictures.preview(image_id, 512).result(60))
    second.unlink()
    assert shown(pictures.preview(image_id, 512).result(60)), "from memory"
    with pytest.raises(PictureGoneError, match="None of the 2 files"):
        pictures.preview(image_id, 1024).result(60)
    assert shown(pictures.thumbnail(image_id)), "out of the store"


def test_a_crowd_that_wants_one_picture_has_it_made_once(hostile, monkeypatch):
    images, pictures = hostile
    made, decode = [], previews.thumbnail
    monkeypatch.setattr(previews, "thumbnail", lambda *a: made.append(1) or decode(*a))
    image_id = id_of(images / "large_dimensions_11000x9000.png")
    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(lambda _: pictures.preview(image_id, 512).result(60), range(32)))
    assert len(set(answers)) == 1
    assert len(made) == 1


def test_few_files_are_decoded_at_once_and_few_waited_for(hostile, monkeypatch):
    """A decoded file may have gigabytes."""
    images, pictures = hostile
    release, at_once, most, lock = threading.Event(), [0], [0], threading.Lock()
    decode = previews.thumbnail

    def counted(*arguments):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        assert release.wait(60)
        with lock:
            at_once[0] -= 1
        return decode(*arguments)

    monkeypatch.setattr(previews, "thumbnail", counted)
    monkeypatch.setattr(previews, "WAITING", 5)
    small = [id_of(images / name) for name in ("palette.png", "photo.webp", "with_alpha.png")]
    *wanted, one_more = [(image_id, side) for image_id in small for side in (512, 1024)]
    waiting = [pictures.preview(*one) for one in wanted]
    with pytest.raises(PreviewsBusyError, match="5 previews are waited for"):
        pictures.preview(*one_more)
    release.set()
    assert all(shown(preview.result(60)) for preview in waiting)
    assert most[0] <= previews.AT_ONCE


def test_what_is_kept_in_memory_is_bounded(hostile):
    images, _ = hostile
    kept = Previews(
        LanceStore(uri=str(images.parent / "hostile" / ".panoptic" / "store")),
        ImageSource(root=str(images)),
        kept_bytes=3000,
    )
    for name in ("palette.png", "photo.webp", "with_alpha.png", "cmyk.jpg"):
        kept.preview(id_of(images / name), 512).result(60)
        kept.thumbnail(id_of(images / name))
    assert kept._bytes == sum(map(len, kept._kept.values())) <= 3000
    kept.close()


@pytest.mark.parametrize("image_id", ["", "0" * 64, "A" * 64, "../etc", "x' OR '1'='1", "0" * 63])
def test_what_is_no_id_of_an_image_is_not_looked_for(hostile, image_id):
    _, pictures = hostile
    with pytest.raises(InputError, match="There is no image"):
        pictures.thumbnail(image_id)
    with pytest.raises(InputError, match="There is no image"):
        pictures.preview(image_id, 512).result(60)


def test_pages_get_pictures_that_they_keep_and_reasons_where_there_are_none(hostile_folder):
    client = Client(hostile_folder)
    good, bad = (id_of(HOSTILE / name) for name in ("palette.png", "corrupt_truncated.jpg"))
    for path in (f"thumbnails/{good}.webp", f"previews/{good}.webp?size=2048"):
        answer = client.ask(path)
        assert shown(answer.content)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert client.refused(f"previews/{bad}.webp") == (410, "picture-gone")
    assert client.refused(f"previews/{'0' * 64}.webp") == (404, "no-image-of-id")
    assert client.refused(f"thumbnails/{'0' * 64}.webp") == (404, "no-image-of-id")
    assert client.refused(f"previews/{good}.webp", size=100_000) == (422, "request-unusable")
    assert client.ask(f"previews/{bad}.webp").headers["cache-control"] == "no-cache"
