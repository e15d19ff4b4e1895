"""The source: every file is either a picture or one plain reason, and no path leaves the root."""

import io
import os
import random
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resources.errors import InputError
from resources.source import DecodedImage, ImageSource, UnreadableImage

HOSTILE = ImageSource(root=str(Path(__file__).parents[1] / "hostile"))

PICTURES = {
    "UPPERCASE.JPG": ("JPEG", 256, 201),
    "animated.gif": ("GIF", 256, 201),
    "cmyk.jpg": ("JPEG", 256, 201),
    "exact_duplicate_a.jpg": ("JPEG", 256, 201),
    "exact_duplicate_b.jpeg": ("JPEG", 256, 201),
    "exif_rotated_orientation6.jpg": ("JPEG", 256, 171),
    "extreme_aspect_1200x3.png": ("PNG", 1200, 3),
    "fully_transparent.png": ("PNG", 256, 201),
    "gray_16bit.png": ("PNG", 256, 201),
    "large_dimensions_11000x9000.png": ("PNG", 11000, 9000),
    "one_pixel.png": ("PNG", 1, 1),
    "palette.png": ("PNG", 256, 201),
    "photo.tiff": ("TIFF", 256, 201),
    "photo.webp": ("WEBP", 256, 201),
    "png_named.jpg": ("PNG", 256, 201),
    "with_alpha.png": ("PNG", 256, 201),
    "été à Orléans — 図書館 🍌.jpg": ("JPEG", 256, 201),
}
REASONS = {
    "corrupt_not_an_image.jpg": "not an image: its 500 bytes do not begin as JPEG, PNG, WebP, GIF, "
    "TIFF or BMP do",
    "corrupt_truncated.jpg": "damaged JPEG of 2,507 bytes: image file is truncated "
    "(8 bytes not processed)",
    "empty.png": "the file is empty (0 bytes)",
    "huge_dimensions_30000x30000.png": "30000 x 30000 are 900,000,000 pixels; "
    "the limit is 178,956,970 (max_pixels)",
}

# Some file systems refuse such names.
NOT_UTF8 = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
needs_permissions = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="no folder is unreadable for root"
)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def hostile(name: str) -> DecodedImage:
    return HOSTILE.decode(HOSTILE.read(name))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reason_of(action: Callable[[], object]) -> str:
    with pytest.raises(UnreadableImage) as caught:
        action()
    return caught.value.reason


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty root, with an image and a folder beside it that must never be reached."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    for path in (tmp_path / "secret.png", tmp_path / "outside" / "secret.png"):
        path.write_bytes(encoded(Image.new("RGB", (2, 2)), "PNG"))
    return root


def add(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(Image.new("RGB", (3, 2), "red"), "PNG"))
    return path


def listed(root: Path) -> list[str]:
    return [file.path for file in ImageSource(root=str(root)).files()]


# The folder


def test_a_missing_root_or_a_file_as_root_says_what_to_do(folder: Path) -> None:
    for root in (folder / "absent", add(folder / "a.png")):
        with pytest.raises(InputError, match=r"cannot be read \(.+\): create or mount it, or cor"):
            ImageSource(root=str(root)).files()


def test_a_root_that_is_gone_is_not_blamed_on_the_file(folder: Path) -> None:
    source = ImageSource(root=str(folder))
    folder.rmdir()
    with pytest.raises(InputError):
        source.read("a.png")


def test_without_a_root_the_project_names_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder / "images" / "a.png")
    (folder / ".panoptic").mkdir()
    (folder / ".panoptic" / "project.yaml").write_text("images: images\n")
    monkeypatch.setenv("PANOPTIC_PROJECT", str(folder))
    assert [file.path for file in ImageSource().files()] == ["a.png"]


def test_a_file_is_listed_with_its_size_and_time(folder: Path) -> None:
    status = add(folder / "sub" / "a.png").stat()
    (file,) = ImageSource(root=str(folder)).files()
    assert file.path == "sub/a.png"
    assert (file.size, file.mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_only_image_extensions_in_any_case_and_nothing_hidden_is_listed(folder: Path) -> None:
    for name in ("a.JpG", "b.TIFF", "c.jfif", "d.txt", "e", "f.svg", ".g.png", ".h/i.png"):
        add(folder / name)
    (folder / "folder.png").mkdir()
    add(folder / "folder.png" / "j.png")
    assert listed(folder) == ["a.JpG", "b.TIFF", "c.jfif", "folder.png/j.png"]


def test_the_order_is_that_of_the_paths_whatever_the_disk_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a/z.png", "a.png", "a-b.png", "ab/c.png", "a/b/c.png", "é.png", "Z.png", "図/書.png"]
    for name in names:
        add(folder / name)
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path: Path) -> None:
            with scandir(path) as entries:
                self.entries = random.sample(found := list(entries), len(found))

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    for _ in range(5):
        assert listed(folder) == sorted(names)


def test_folders_nested_deeper_than_calls_may_be_are_walked(folder: Path) -> None:
    depth = 1200
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("a.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert listed(folder) == ["d/" * depth + "a.png"]
    # pytest would clean up with rmtree(), which calls itself once per level.
    (folder / ("d/" * depth) / "a.png").unlink()
    for level in range(depth, 0, -1):
        (folder / ("d/" * level)).rmdir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_or_a_socket_is_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "x.jpg")
    (folder / "linked.jpg").symlink_to("x.jpg")
    monkeypatch.chdir(folder)  # a socket's path is limited to some 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        assert listed(folder) == []
        for name in ("x.jpg", "linked.jpg", "s.jpg"):
            assert (
                reason_of(lambda name=name: ImageSource(root=".").read(name)) == "not a plain file"
            )


def test_links_are_followed_to_files_inside_the_root_only(folder: Path) -> None:
    add(folder / "sub" / "a.png")
    (folder / "inside.png").symlink_to("sub/a.png")
    (folder / "outside.png").symlink_to(folder.parent / "secret.png")
    (folder / "outside").symlink_to(folder.parent / "outside")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("nowhere.png")
    assert listed(folder) == ["inside.png", "sub/a.png"]


def test_a_root_that_is_itself_a_link_is_followed(folder: Path) -> None:
    add(folder / "a.png")
    (folder.parent / "link").symlink_to(folder)
    assert listed(folder.parent / "link") == ["a.png"]


def test_what_was_skipped_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "out").symlink_to(folder.parent / "outside")
    with caplog.at_level("WARNING"):
        assert listed(folder) == []
    assert "Skipped 1 of the folder of images that are links out of it" in caplog.text
    assert "'out'" in caplog.text


def test_reading_refuses_every_way_out_of_the_root(folder: Path) -> None:
    add(folder / "sub" / "a.png")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "outside").symlink_to(folder.parent / "outside")
    source = ImageSource(root=str(folder))
    for path in (
        "../secret.png",
        "sub/../../secret.png",
        "sub/../sub/a.png",
        str(folder.parent / "secret.png"),
        str(folder / "sub" / "a.png"),
        "a\0.png",
        "link.png",
        "outside/secret.png",
    ):
        assert "leads out of the folder of images" in reason_of(lambda path=path: source.read(path))


def test_reading_what_is_no_file_is_a_plain_reason(folder: Path) -> None:
    add(folder / "a.png")
    (folder / "loop.png").symlink_to("loop.png")
    source = ImageSource(root=str(folder))
    assert reason_of(lambda: source.read("")) == "not a plain file"
    assert reason_of(lambda: source.read("b.png")) == "the file vanished after it was listed"
    assert reason_of(lambda: source.read("a.png/b")) == "the file vanished after it was listed"
    assert "loop" in reason_of(lambda: source.read("loop.png"))
    assert "too long" in reason_of(lambda: source.read("x" * 300))


def test_a_file_that_vanishes_during_the_walk_is_left_out(folder: Path) -> None:
    add(folder / "a.png")
    add(folder / "b.png")
    add(folder / "c" / "d.png")
    files = ImageSource(root=str(folder)).files()
    assert next(files).path == "a.png"
    (folder / "b.png").unlink()
    (folder / "c" / "d.png").unlink()
    (folder / "c").rmdir()
    assert list(files) == []


@needs_permissions
def test_an_unreadable_folder_or_file_costs_only_itself(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(folder / "closed" / "a.png").parent.chmod(0)
    add(folder / "b.png").chmod(0)
    source = ImageSource(root=str(folder))
    try:
        assert listed(folder) == ["b.png"]
        assert "could not be read (Permission denied); first: 'closed/'" in caplog.text
        for path in ("b.png", "closed/a.png"):
            reason = reason_of(lambda path=path: source.read(path))
            assert reason == "the file cannot be read: Permission denied"
    finally:
        (folder / "closed").chmod(0o700)


@NOT_UTF8
def test_a_name_that_is_not_utf8_is_listed_printable_and_asks_to_be_renamed(folder: Path) -> None:
    for name in (b"caf\xe9.png", b"\xff/a.png"):
        add(folder / os.fsdecode(name))
    paths = listed(folder)
    assert paths == [r"\udcff/a.png", r"caf\udce9.png"]
    for path in paths:
        reason = reason_of(lambda path=path: ImageSource(root=str(folder)).read(path))
        assert reason == "the file name is not valid UTF-8; rename the file"


@NOT_UTF8
def test_an_escaped_name_never_doubles_the_path_of_another_file(folder: Path) -> None:
    add(folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    literal = add(folder / r"\udcff.png")
    (file,) = ImageSource(root=str(folder)).files()
    assert (file.path, file.size) == (r"\udcff.png", literal.stat().st_size)
    assert ImageSource(root=str(folder)).read(file.path) == literal.read_bytes()


def test_a_file_above_the_limit_of_bytes_is_not_read(folder: Path) -> None:
    size = add(folder / "a.png").stat().st_size
    source = ImageSource(root=str(folder), max_bytes=size)
    assert len(source.read("a.png")) == size
    source = ImageSource(root=str(folder), max_bytes=size - 1)
    reason = f"the file has {size:,} bytes; the limit is {size - 1:,} (max_bytes)"
    assert reason_of(lambda: source.read("a.png")) == reason
