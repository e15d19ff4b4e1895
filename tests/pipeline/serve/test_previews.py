"""Pictures of images: what has the id and nothing else, however hostile the file and the crowd."""

import hashlib
import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from panoptic_assets.serve import api, previews
from panoptic_assets.serve.previews import PictureGoneError, Previews, PreviewsBusyError
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create
from resources.source import ImageSource
from tests.pipeline.serve.conftest import Client
from tests.pipeline.serve.test_run_page import Pages
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


def on_disk(images, **options):
    """The pictures of a server that was started just now."""
    store = LanceStore(uri=str(images.parent / "hostile" / ".panoptic" / "store"))
    options = {"folder": images.parent / "previews", **options}
    return Previews(store, ImageSource(root=str(images)), **options)


def test_previews_are_there_after_a_restart_without_reading_the_files_again(hostile):
    images, _ = hostile
    image_id = id_of(images / "palette.png")
    before = on_disk(images)
    made = before.preview(image_id, 512).result(60)
    before.close()
    (images / "palette.png").unlink()
    after = on_disk(images)
    assert after.preview(image_id, 512).result(60) == made
    after.close()


def test_a_preview_that_a_crash_left_half_written_is_made_again(hostile):
    images, _ = hostile
    image_id = id_of(images / "palette.png")
    before = on_disk(images)
    made = before.preview(image_id, 512).result(60)
    before.close()
    [file] = (images.parent / "previews").rglob("*.webp")
    file.write_bytes(made[: len(made) // 2])
    after = on_disk(images)
    assert after.preview(image_id, 512).result(60) == made
    assert file.read_bytes() == made
    after.close()


def test_a_disk_that_takes_nothing_is_not_in_the_way_of_a_preview(hostile):
    images, _ = hostile
    (images.parent / "previews").write_text("no folder")
    pictures = on_disk(images)
    assert shown(pictures.preview(id_of(images / "palette.png"), 512).result(60))
    pictures.close()


def test_files_of_many_pages_and_of_odd_shapes_are_shown_within_bounds(tmp_path):
    """A TIFF of 40 pages is shown by its first one; a line of 1 pixel stays one."""
    (tmp_path / "images").mkdir()
    pages = [Image.new("L", (3000, 2000), 6 * n) for n in range(40)]
    pages[0].save(
        tmp_path / "images" / "pages.tiff",
        save_all=True,
        append_images=pages[1:],
        compression="tiff_lzw",
    )
    shutil.copy(HOSTILE / "extreme_aspect_1200x3.png", tmp_path / "images")
    shutil.copy(HOSTILE / "animated.gif", tmp_path / "images")
    create(tmp_path, ProjectSettings(images=str(tmp_path / "images")))
    bench_of(tmp_path).make("images")
    pictures = Previews(
        LanceStore(uri=str(tmp_path / ".panoptic" / "store")),
        ImageSource(root=str(tmp_path / "images")),
    )
    sizes = {
        path.name: shown(pictures.preview(id_of(path), 512).result(60)).size
        for path in (tmp_path / "images").iterdir()
    }
    pictures.close()
    assert sizes["pages.tiff"] == (512, 341)
    assert sizes["extreme_aspect_1200x3.png"] == (512, 1)
    assert max(sizes["animated.gif"]) <= 512


def test_nobody_waits_for_a_preview_without_end(hostile_folder, monkeypatch):
    """The reason is one line; who asks again may get it."""
    release, decode = threading.Event(), previews.thumbnail
    monkeypatch.setattr(previews, "thumbnail", lambda *a: release.wait(60) and decode(*a))
    monkeypatch.setattr(api, "SECONDS", 0.05)
    client = Client(shutil.copytree(hostile_folder, hostile_folder.parent / "slow"))
    path = f"previews/{id_of(HOSTILE / 'palette.png')}.webp"
    with client:  # one loop, on which the first answer leaves the preview being made
        assert client.refused(path) == (503, "preview-slow")
        release.set()
        monkeypatch.setattr(api, "SECONDS", 60)
        assert shown(client.ask(path).content)


def test_the_original_is_a_download_under_its_own_name_whatever_is_in_it(hostile_folder):
    client = Client(hostile_folder)
    file = HOSTILE / "été à Orléans — 図書館 🍌.jpg"
    answer = client.ask(f"originals/{id_of(file)}")
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    name = f"attachment; filename*=UTF-8''{quote(file.name)}"
    assert answer.headers["content-disposition"] == name
    assert client.refused(f"originals/{'0' * 64}") == (404, "no-image-of-id")


def test_files_in_quarantine_are_listed_with_their_reasons(hostile_folder):
    page = Pages(hostile_folder).page("images?status=quarantined")
    assert "empty.png" in page
    assert "the file is empty (0 bytes)" in page
    assert "the limit is 178,956,970" in page


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
