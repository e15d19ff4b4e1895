"""The source: what is listed and read, locally and in stores, and no path leaves the root."""

import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from resources.errors import InputError
from resources.source import ImageSource
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.fuzz_decoding import encoded

PNG = encoded(Image.new("RGB", (3, 2), "red"), "PNG")

# Some file systems refuse such names.
NOT_UTF8 = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
needs_permissions = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 0)() == 0, reason="no folder is unreadable for root"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty root, with an image and a folder beside it that must never be reached."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    for path in (tmp_path / "secret.png", tmp_path / "outside" / "secret.png"):
        path.write_bytes(PNG)
    return root


def add(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)
    return path


def paths_of(source: ImageSource) -> list[str]:
    return [file.path for file in source.list().files]


def listed(root: Path) -> list[str]:
    return paths_of(ImageSource(root=str(root)))


def refusal(source: ImageSource) -> str:
    """The one plain line with which a source cannot be listed."""
    with pytest.raises(InputError) as caught:
        source.list()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# The folder


def test_a_missing_root_or_a_file_as_root_says_what_to_do(folder: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(.+\): create or mount it, or cor"):
        ImageSource(root=str(folder / "absent")).list()
    with pytest.raises(InputError, match="neither a folder nor an archive that is read"):
        ImageSource(root=str(add(folder / "a.png"))).list()


def test_a_check_says_what_a_listing_would(folder: Path) -> None:
    ImageSource(root=str(folder)).check()
    for root in (str(folder / "absent"), "foo://corpus", "gs://corpus"):
        with pytest.raises(InputError) as caught:
            ImageSource(root=root).check()
        assert str(caught.value) == refusal(ImageSource(root=root))


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
    assert paths_of(ImageSource()) == ["a.png"]


def test_a_file_is_listed_with_its_size_and_time(folder: Path) -> None:
    status = add(folder / "sub" / "a.png").stat()
    (file,) = ImageSource(root=str(folder)).list().files
    assert file.path == "sub/a.png"
    assert (file.size, file.mtime_ns, file.etag) == (status.st_size, status.st_mtime_ns, "")
    assert (file.ctime_ns, file.inode, file.mount) == (status.st_ctime_ns, status.st_ino, "")


def test_only_what_may_be_an_image_is_listed_and_nothing_hidden(folder: Path) -> None:
    for name in ("a.JpG", "b.TIFF", "c.jfif", "d.txt", "e", "f.MP4", ".g.png", ".h/i.png"):
        add(folder / name)
    (folder / "folder.png").mkdir()
    add(folder / "folder.png" / "j.png")
    files = ImageSource(root=str(folder)).list().files
    assert {file.path: file.is_named for file in files} == {
        "a.JpG": True,
        "b.TIFF": True,
        "c.jfif": True,
        "e": False,
        "folder.png/j.png": True,
    }


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


def test_what_was_skipped_is_told(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent / "outside")
    found = ImageSource(root=str(folder)).list()
    assert found.skipped == {"are links out of it, to a folder or to nothing": ["out"]}
    assert found.warnings == [
        "Skipped 1 of the folder of images that are links out of it, to a folder or to nothing; "
        "first: 'out'"
    ]


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


def test_what_vanishes_during_the_walk_is_left_out_and_not_called_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder / "a.png")
    add(folder / "b.png")
    add(folder / "c" / "d.png")
    scandir = os.scandir

    calls = []

    def vanishing(path: Path) -> contextlib.AbstractContextManager[object]:
        calls.append(path)
        with scandir(path) as entries:
            found = list(entries)
        if len(calls) == 1:
            (folder / "b.png").unlink()
            (folder / "c" / "d.png").unlink()
            (folder / "c").rmdir()
        return contextlib.nullcontext(found)

    source = ImageSource(root=str(folder))
    monkeypatch.setattr(os, "scandir", vanishing)
    found = source.list()
    assert [file.path for file in found.files] == ["a.png"]
    assert (found.skipped, found.unreadable_folders) == ({}, [])


def test_a_folder_that_cannot_be_listed_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images are not missing: nothing is known of them."""
    add(folder / "été" / "closed" / "a.png")
    add(folder / "été" / "b.png")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = ImageSource(root=str(folder)).list()
    assert [file.path for file in found.files] == ["été/b.png"]
    assert found.unreadable_folders == ["été/closed/"]
    assert found.skipped == {"could not be read (Permission denied)": ["été/closed/"]}
    [warning] = found.warnings
    assert "could not be read (Permission denied); first: 'été/closed/'" in warning


@needs_permissions
def test_an_unreadable_folder_or_file_costs_only_itself(folder: Path) -> None:
    add(folder / "closed" / "a.png").parent.chmod(0)
    add(folder / "blind" / "c.png").parent.chmod(0o400)  # names are seen, but no sizes
    add(folder / "b.png").chmod(0)
    source = ImageSource(root=str(folder))
    try:
        found = source.list()
        assert [file.path for file in found.files] == ["b.png"]
        assert found.unreadable_folders == ["blind/", "closed/"]
        for path in ("b.png", "closed/a.png"):
            reason = reason_of(lambda path=path: source.read(path))
            assert reason == "the file cannot be read: Permission denied"
    finally:
        (folder / "closed").chmod(0o700)
        (folder / "blind").chmod(0o700)


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
    (file,) = ImageSource(root=str(folder)).list().files
    assert (file.path, file.size) == (r"\udcff.png", literal.stat().st_size)
    assert ImageSource(root=str(folder)).read(file.path) == literal.read_bytes()


def test_a_file_above_the_limit_of_bytes_is_not_read(folder: Path) -> None:
    size = add(folder / "a.png").stat().st_size
    source = ImageSource(root=str(folder), max_bytes=size)
    assert len(source.read("a.png")) == size
    source = ImageSource(root=str(folder), max_bytes=size - 1)
    reason = f"the file has {size:,} bytes; the limit is {size - 1:,} (max_bytes)"
    assert reason_of(lambda: source.read("a.png")) == reason


def test_a_file_url_is_a_local_folder_with_all_its_care(folder: Path) -> None:
    add(folder / "a b%20.png")
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    source = ImageSource(root=f"file://{folder}")
    assert paths_of(source) == ["a b%20.png"]
    assert source.read("a b%20.png") == PNG
    with pytest.raises(InputError, match="create or mount it"):
        ImageSource(root=f"file://{folder}/none").list()


# Patterns


TREE = [
    "a.png",
    "a.tif",
    "scans/b.png",
    "scans/raw/c.png",
    "scans/raw/d.tif",
    "x/scans/e.png",
    "É.png",
]


patterns = pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], TREE),
        (["*.tif"], [], ["a.tif", "scans/raw/d.tif"]),
        (["*.TIF"], [], []),
        (["scans/"], [], ["scans/b.png", "scans/raw/c.png", "scans/raw/d.tif", "x/scans/e.png"]),
        (["/scans/*"], [], ["scans/b.png", "scans/raw/c.png", "scans/raw/d.tif"]),
        (["scans/*.png"], [], ["scans/b.png"]),
        (["scans/**/*.png"], [], ["scans/b.png", "scans/raw/c.png"]),
        (["*.png"], ["raw/"], ["a.png", "scans/b.png", "x/scans/e.png", "É.png"]),
        ([], ["*.png", "!É.png"], ["a.tif", "scans/raw/d.tif", "É.png"]),
        ([], ["scans/", "!scans/b.png"], ["a.png", "a.tif", "É.png"]),
        ([], ["# a comment", ""], TREE),
        ([], ["**"], []),
    ],
)


@patterns
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_patterns_are_those_of_gitignore_in_every_kind_of_source(
    kind: str, include: list[str], exclude: list[str], expected: list[str], folder: Path
) -> None:
    for path in TREE:
        if kind == "local":
            root = str(add(folder / path) and folder)
        else:
            root = f"memory://{folder}"
            fsspec.filesystem("memory").pipe(f"{folder}/{path}", PNG)
    source = ImageSource(root=root, include=include, exclude=exclude)
    assert paths_of(source) == sorted(expected)


def test_an_excluded_folder_is_not_even_looked_into(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder / "a.png")
    add(folder / "closed" / "b.png")
    scandir = os.scandir
    seen = []
    monkeypatch.setattr(os, "scandir", lambda path: seen.append(Path(path)) or scandir(path))
    assert paths_of(ImageSource(root=str(folder), exclude=["closed/"])) == ["a.png"]
    assert set(seen) == {folder}


def test_a_pattern_that_is_none_is_refused(folder: Path) -> None:
    for name in ("include", "exclude"):
        message = refusal(ImageSource(root=str(folder), **{name: ["!"]}))
        assert message.startswith(f"A pattern of `{name}` cannot be used (")


def test_without_a_root_the_projects_patterns_hold(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "b.tif", "raw/c.png"):
        add(folder / "images" / name)
    (folder / ".panoptic").mkdir()
    (folder / ".panoptic" / "project.yaml").write_text(
        "images: images\ninclude: ['*.png']\nexclude: [raw/]\n"
    )
    monkeypatch.setenv("PANOPTIC_PROJECT", str(folder))
    assert paths_of(ImageSource(exclude=["b.*"])) == ["a.png"]


# Any fsspec URL


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """fsspec's filesystem in memory, and a folder in it."""
    filesystem = fsspec.filesystem("memory")
    yield filesystem, str(tmp_path)
    filesystem.rm(str(tmp_path), recursive=True)


def test_files_of_an_fsspec_url_are_listed_and_read(
    memory: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, root = memory
    for path in ("b/é 図.png", "a.png", "notes.txt", ".hidden/c.png", "b/.d.png"):
        filesystem.pipe(f"{root}/{path}", PNG)
    source = ImageSource(root=f"memory://{root}/")
    first, second = source.list().files
    assert (first.path, first.size, first.etag) == ("a.png", len(PNG), "")
    assert abs(first.mtime_ns / 1e9 - time.time()) < 3600
    assert source.read(second.path) == PNG


def test_a_changed_file_of_an_fsspec_url_has_another_time(
    memory: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, root = memory
    filesystem.pipe(f"{root}/a.png", PNG)
    source = ImageSource(root=f"memory://{root}")
    before = source.list().files
    assert source.list().files == before
    filesystem.rm(f"{root}/a.png")
    filesystem.pipe(f"{root}/a.png", PNG[::-1])
    assert source.list().files != before
    assert source.read("a.png") == PNG[::-1]


def test_limits_and_missing_files_of_an_fsspec_url_are_plain_reasons(
    memory: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, root = memory
    filesystem.pipe(f"{root}/a.png", PNG)
    filesystem.pipe(f"{root}x/secret.png", PNG)
    source = ImageSource(root=f"memory://{root}", max_bytes=len(PNG) - 1)
    assert reason_of(lambda: source.read("a.png")) == (
        f"the file has more than {len(PNG) - 1} bytes (max_bytes)"
    )
    assert reason_of(lambda: source.read("b.png")) == "the file vanished after it was listed"
    assert "leads out" in reason_of(lambda: source.read("../secret.png"))


def test_a_folder_of_an_fsspec_url_that_cannot_be_listed_is_named(
    memory: tuple[fsspec.AbstractFileSystem, str],
) -> None:
    filesystem, root = memory
    for path in ("a.png", "closed/b.png", "open/c.png"):
        filesystem.pipe(f"{root}/{path}", PNG)

    class Guarded(type(filesystem)):
        """Like a server that keeps a folder to itself."""

        protocol = "guarded"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("guarded://"))

        def ls(self, path: str, detail: bool = True, **options: object) -> list:
            if path.endswith("closed"):
                raise PermissionError("access denied")
            return super().ls(path, detail, **options)

    fsspec.register_implementation("guarded", Guarded, clobber=True)
    found = ImageSource(root=f"guarded://{root}").list()
    assert [file.path for file in found.files] == ["a.png", "open/c.png"]
    assert found.unreadable_folders == ["closed/"]
    assert found.skipped == {"could not be read (access denied)": ["closed/"]}


def test_a_missing_root_of_an_fsspec_url_is_not_blamed_on_a_file(tmp_path: Path) -> None:
    source = ImageSource(root=f"memory://{tmp_path}")
    assert "cannot be read" in refusal(source)
    with pytest.raises(InputError, match="check the URL"):
        source.read("a.png")


@pytest.mark.parametrize(
    ("root", "options", "message"),
    [
        ("foo://corpus", {}, "Protocol not known: foo"),
        ("gs://corpus", {}, "install that package"),
        ("s3://corpus", {"key": "AKIA", "secret": "x"}, "Remove key and secret from"),
        ("sftp://me:word@host/corpus", {}, "Remove the password from"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_do(
    root: str, options: dict[str, str], message: str
) -> None:
    found = refusal(ImageSource(root=root, storage_options=options))
    assert message in found
    assert "word" not in found.replace("password", "")
