"""The source: every file is either a picture or one plain reason, and no path leaves the root."""

import io
import os
import random
import re
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resources.errors import InputError
from resources.source import DecodedImage, ImageSource, UnreadableImage, decode, thumbnail

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


# The hostile files


def test_the_table_covers_every_hostile_file_and_all_are_listed() -> None:
    assert [file.path for file in HOSTILE.files()] == sorted(PICTURES | REASONS)


@pytest.mark.parametrize("name", PICTURES)
def test_a_readable_hostile_file_has_its_format_and_displayed_size(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = hostile(name)
    assert (image.format, image.width, image.height) == PICTURES[name]
    assert (image.rgb.mode, image.rgb.size) == ("RGB", (image.width, image.height))


@pytest.mark.parametrize("name", REASONS)
def test_an_unreadable_hostile_file_has_its_own_plain_reason(name: str) -> None:
    assert reason_of(lambda: hostile(name)) == REASONS[name]


# Pixels


def test_grey_of_16_bits_is_scaled_not_clipped() -> None:
    with Image.open(io.BytesIO(HOSTILE.read("gray_16bit.png"))) as raw:
        true = np.asarray(raw) / 257
    red, green, blue = np.moveaxis(pixels(hostile("gray_16bit.png").rgb), -1, 0)
    assert true.max() > 250 > 100 > true.min()
    assert np.abs(red - true).max() <= 1
    assert (red == green).all()
    assert (red == blue).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(np.array([[0, 32768, 65535]], "<u2"), [0, 128, 255], id="16 bits"),
        pytest.param(np.array([[0, 32768, 65535]], ">u2"), [0, 128, 255], id="16 bits, big-endian"),
        pytest.param(np.array([[0, 128, 255]], "i4"), [0, 128, 255], id="bytes in 32 bits"),
        pytest.param(np.array([[0, 32768, 65535]], "i4"), [0, 128, 255], id="16 bits in 32"),
        pytest.param(np.array([[-4000, 0, 4000]], "i4"), [0, 128, 255], id="signed"),
        pytest.param(np.array([[0, 0.5, 1]], "f4"), [0, 128, 255], id="fractions"),
        pytest.param(np.array([[0, 128, 255]], "f4"), [0, 128, 255], id="bytes as floats"),
        pytest.param(np.array([[-1e38, 0, 3e38]], "f4"), [0, 64, 255], id="beyond every range"),
        pytest.param(np.array([[np.nan, -np.inf, np.inf]], "f4"), [0, 0, 255], id="not finite"),
        pytest.param(np.array([[np.nan, 0.5, np.inf]], "f4"), [128, 128, 255], id="partly finite"),
        pytest.param(np.full((1, 3), 7e9, "f4"), [255, 255, 255], id="one value, too large"),
    ],
)
def test_deep_greys_keep_their_order_and_fill_the_range(
    values: np.ndarray, expected: list[int]
) -> None:
    image = decode(encoded(Image.fromarray(values), "TIFF"))
    assert np.abs(pixels(image.rgb)[0, :, 0] - expected).max() <= 1


@pytest.mark.parametrize(("name", "limit"), [("cmyk.jpg", 2), ("palette.png", 3)])
def test_colours_of_cmyk_and_palette_stay_near_the_original(name: str, limit: float) -> None:
    original = pixels(hostile("photo.tiff").rgb)
    assert np.abs(pixels(hostile(name).rgb) - original).mean() < limit


def test_what_is_transparent_is_white() -> None:
    assert (pixels(hostile("fully_transparent.png").rgb) == 255).all()
    half = decode(encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "PNG"))
    assert np.abs(pixels(half.rgb) - 127).max() <= 1
    grey = decode(encoded(Image.new("LA", (2, 2), (0, 0)), "PNG"))
    assert (pixels(grey.rgb) == 255).all()
    keyed = decode(encoded(Image.new("RGB", (2, 2), "red"), "PNG", transparency=(255, 0, 0)))
    assert (pixels(keyed.rgb) == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        image = decode(encoded(palette, kind, transparency=0))
        assert pixels(image.rgb).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    assert (pixels(hostile("with_alpha.png").rgb) == pixels(hostile("photo.tiff").rgb)).all()


def test_one_bit_is_black_and_white() -> None:
    image = decode(encoded(Image.fromarray(np.array([[False, True]])), "PNG"))
    assert pixels(image.rgb).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first = pixels(hostile("animated.gif").rgb)
    assert np.abs(first - pixels(hostile("photo.tiff").rgb)).mean() < 3
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(decode(data).rgb) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone_in_every_format(
    kind: str, options: dict[str, object], orientation: int
) -> None:
    shown = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
    # What a camera stores so that a viewer shows `shown`.
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.swapaxes(0, 1),
        6: np.rot90(shown),
        7: shown[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(shown, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert (pixels(decode(data).rgb) == shown).all()


def test_orientation_6_of_the_hostile_file_turns_it_clockwise() -> None:
    with Image.open(io.BytesIO(HOSTILE.read("exif_rotated_orientation6.jpg"))) as raw:
        assert raw.size == (171, 256)
        turned = np.rot90(pixels(raw), -1)
    assert (pixels(hostile("exif_rotated_orientation6.jpg").rgb) == turned).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0MM\0*" + b"\xff" * 40
    assert decode(encoded(Image.new("RGB", (4, 3)), "JPEG", exif=exif)).width == 4


def test_threads_decode_to_the_same_pixels() -> None:
    names = [name for name in PICTURES if not name.startswith("large")]
    expected = [hostile(name).rgb.tobytes() for name in names]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(4):
            found = threads.map(lambda name: hostile(name).rgb.tobytes(), names)
            assert list(found) == expected


# Limits and damage


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_of_any_format_is_damaged(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    half = data[: len(data) // 2]
    assert reason_of(lambda: decode(half)).startswith(f"damaged {kind} of {len(half):,} bytes: ")


def test_a_pixel_bomb_is_refused_from_its_header_alone() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 40000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert reason_of(lambda: decode(data)).startswith("50000 x 40000 are 2,000,000,000 pixels")


def test_the_limit_of_pixels_is_the_last_size_allowed() -> None:
    data = encoded(Image.new("L", (10, 10)), "PNG")
    assert decode(data, max_pixels=100).width == 10
    assert "the limit is 99 (max_pixels)" in reason_of(lambda: decode(data, max_pixels=99))


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_compressed_chunk_that_explodes_is_refused(name: bytes) -> None:
    data = encoded(Image.new("L", (4, 4)), "PNG")
    bomb = chunk(name, b"key\0\0" + zlib.compress(bytes(50_000_000), 9))
    assert "too large" in reason_of(lambda: decode(data[:33] + bomb + data[33:]))


def test_formats_beyond_the_six_are_never_tried() -> None:
    for kind in ("EPS", "PPM", "TGA", "ICO", "PDF"):
        data = encoded(Image.new("RGB", (16, 16)), kind)
        assert reason_of(lambda data=data: decode(data)).startswith("not an image: ")


def test_a_file_above_the_limit_of_bytes_is_not_read(folder: Path) -> None:
    size = add(folder / "a.png").stat().st_size
    source = ImageSource(root=str(folder), max_bytes=size)
    assert len(source.read("a.png")) == size
    source = ImageSource(root=str(folder), max_bytes=size - 1)
    reason = f"the file has {size:,} bytes; the limit is {size - 1:,} (max_bytes)"
    assert reason_of(lambda: source.read("a.png")) == reason


@cache
def small_files() -> list[bytes]:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 13, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(picture, "JPEG", exif=exif),
        encoded(picture.convert("CMYK"), "JPEG", progressive=True),
        encoded(picture.convert("RGBA"), "PNG", exif=exif),
        encoded(picture.quantize(8), "PNG", transparency=b"\0\x80"),
        encoded(Image.fromarray(np.arange(99, dtype="u2").reshape(9, 11) * 600), "PNG"),
        encoded(picture, "GIF", save_all=True, append_images=[picture.rotate(90)]),
        encoded(picture, "TIFF"),
        encoded(picture, "TIFF", compression="tiff_lzw", exif=exif),
        encoded(picture.convert("F"), "TIFF"),
        encoded(picture.convert("I"), "TIFF"),
        encoded(picture, "WEBP", exif=exif),
        encoded(picture.convert("RGBA"), "WEBP", lossless=True),
        encoded(picture, "BMP"),
        encoded(picture.convert("1"), "BMP"),
    ]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=800, deadline=None)
@given(
    number=st.integers(0, 13),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))),
    cut=st.none() | st.integers(0, 10_000),
)
def test_damaged_bytes_give_a_picture_or_one_plain_line(
    number: int, changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    data = bytearray(small_files()[number])
    for place, content in changes:
        start = place % len(data)
        data[start : start + len(content)] = content
    if cut is not None:
        del data[cut % len(data) :]
    try:
        image = decode(bytes(data), max_pixels=1_000_000)
    except UnreadableImage as error:
        assert error.reason
        assert error.reason.isprintable()
        assert not re.search(r"object at 0x|\bNone$", error.reason)
    else:
        assert image.rgb.mode == "RGB"
        assert (image.width, image.height) == image.rgb.size


# Thumbnails


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((100, 160), (100, 160)),
        ((161, 100), (160, 99)),
        ((1200, 3), (160, 1)),
        ((2, 9000), (1, 160)),
    ],
)
def test_a_thumbnail_fits_is_never_enlarged_and_never_has_0_pixels(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with Image.open(io.BytesIO(thumbnail(Image.new("RGB", size, "red")))) as small:
        assert (small.format, small.size) == ("WEBP", expected)


def test_a_thumbnail_leaves_the_image_and_its_profile_behind() -> None:
    profile = bytes(200_000)
    image = decode(encoded(Image.new("RGB", (300, 200)), "JPEG", icc_profile=profile))
    assert len(thumbnail(image.rgb)) < 1000
    assert image.rgb.size == (300, 200)


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
