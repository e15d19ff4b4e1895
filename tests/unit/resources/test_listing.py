"""What a listing takes, what it leaves out and counts, and what is read of a file."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from pathspec import GitIgnoreSpec

import resources.local_folder
from resources.errors import InputError
from resources.listing import Exclusion, LeftOut, SourceFile, UnavailableFile, UnfinishedFile
from resources.picture_formats import SNIFFED
from resources.project_folder import LEFTOVERS, ProjectSettings
from resources.source import ImageSource
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.test_source import PNG, add, paths_of

LEFT_BEHIND = [
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "x/#recycle/a.jpg",
    "#snapshot/a.jpg",
    "@Recycle/a.jpg",
    ".@__thumb/a.jpg",
    "$RECYCLE.BIN/S-1-5/$R1.jpg",
    "System Volume Information/a.jpg",
    "lost+found/#1234",
    "x/__MACOSX/a.jpg",
    "._a.jpg",
    "Thumbs.db",
    "x/.DS_Store",
]


Where = tuple[str, Callable[[str], object]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty root."""
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture(params=["local", "memory"])
def anywhere(request: pytest.FixtureRequest, folder: Path) -> Iterator[Where]:
    """A root of either kind, and what puts a file into it."""
    if request.param == "local":
        yield str(folder), lambda path: add(folder / path)
        return
    memory = fsspec.filesystem("memory")
    memory.makedirs(str(folder), exist_ok=True)
    yield f"memory://{folder}", lambda path: memory.pipe(f"{folder}/{path}", PNG)
    memory.rm(str(folder), recursive=True)


def left_out(source: ImageSource) -> dict[str, LeftOut]:
    return source.list().left_out


def test_what_systems_leave_behind_is_left_out_by_default(anywhere: Where) -> None:
    """Thumbnails of network storages would be near-duplicates of every picture."""
    root, put = anywhere
    for path in [*LEFT_BEHIND, "a.jpg", "eaDir/b.jpg", "recycle/#1.jpg"]:
        put(path)
    source = ImageSource(root=root)
    assert paths_of(source) == ["a.jpg", "eaDir/b.jpg", "recycle/#1.jpg"]
    assert set(left_out(source)) == {"leftover"}
    assert [path for path in LEFT_BEHIND if source.takes(path)] == []


def test_a_project_may_write_its_own_leftovers_or_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("@eaDir/a.jpg", "cache/b.jpg", "c.jpg"):
        add(folder / "images" / name)
    settings = folder / ".panoptic" / "project.yaml"
    settings.parent.mkdir()
    monkeypatch.setenv("PANOPTIC_PROJECT", str(folder))
    settings.write_text("images: images\nexclude_leftovers: [cache/]\n")
    assert paths_of(ImageSource()) == ["@eaDir/a.jpg", "c.jpg"]
    settings.write_text("images: images\nexclude_leftovers: []\n")
    assert paths_of(ImageSource()) == ["@eaDir/a.jpg", "c.jpg", "cache/b.jpg"]
    assert paths_of(ImageSource(exclude_leftovers=[*LEFTOVERS, "c.*"])) == [
        "@eaDir/a.jpg",
        "cache/b.jpg",
    ]


def test_a_new_project_shows_the_leftovers() -> None:
    assert ProjectSettings.of("scans", "mini").exclude_leftovers == LEFTOVERS


@pytest.mark.parametrize(
    "patterns",
    [
        LEFTOVERS,
        ["a", "b/", "c*", "*d", "*.txt"],
        ["#a", r"\#b", r"\!c", "!d", "# e"],
        ["a b", " c", "c ", "", "*", "?a", "[ab]"],
        ["/a", "a/b", "a/**", "**/b", "./c", "b/*"],
        ["a*", "!ab"],
        ["É", "é*"],
    ],
    ids=range(7),
)
def test_simple_patterns_mean_what_they_mean_to_git(patterns: list[str]) -> None:
    names = ["a", "b", "ab", "#a", "#b", "!c", "c", "d", "ad", "a.txt", "a b", " c", "É", "éa"]
    names += [pattern.strip("/\\*") or "x" for pattern in LEFTOVERS]
    spec = GitIgnoreSpec.from_lines([pattern.replace("./", "/") for pattern in patterns])
    exclusion = Exclusion(patterns, "exclude")
    for name in names:
        for path in (name, f"x/{name}"):
            assert exclusion.has_file(path, name) == spec.match_file(path), path
            assert exclusion.has_folder(f"{path}/", name) == spec.match_file(f"{path}/"), path


def test_each_file_that_is_left_out_is_counted_once_by_kind(folder: Path) -> None:
    names = ["a.jpg", "b.jpg_large", "c", "d.txt", "e.TXT", "f.MP4", "g.pdf", ".h.jpg", "._i.jpg"]
    names += ["j.tif#page=2", "k.raw.jpg", ".l/m.jpg", "n/o.jpg", "n/p.txt", "q.jpg"]
    for name in names:
        add(folder / name)
    (folder / "r.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "s.jpg")
    found = ImageSource(root=str(folder), exclude=["n/", "k.*"], include=["*", "!q.jpg"]).list()
    assert [file.path for file in found.files] == ["a.jpg", "b.jpg_large", "c"]
    assert found.left_out == {
        "excluded": LeftOut(1, 1, Counter({".jpg": 1}), ["k.raw.jpg", "n/"]),
        "hidden": LeftOut(1, 1, Counter({".jpg": 1}), [".h.jpg", ".l/"]),
        "leftover": LeftOut(1, 0, Counter({".jpg": 1}), ["._i.jpg"]),
        "link": LeftOut(1, 0, Counter({".jpg": 1}), ["r.jpg"]),
        "no_image": LeftOut(
            5,
            0,
            Counter({".txt": 2, ".mp4": 1, ".pdf": 1, ".jpg": 1}),
            ["d.txt", "e.TXT", "f.MP4", "g.pdf", "s.jpg"],
        ),
        "not_included": LeftOut(1, 0, Counter({".jpg": 1}), ["q.jpg"]),
        "page_name": LeftOut(1, 0, Counter({".tif#page=2": 1}), ["j.tif#page=2"]),
    }


def test_of_many_that_are_left_out_the_first_are_named_the_same_on_every_disk(
    anywhere: Where,
) -> None:
    root, put = anywhere
    for number in (7, 3, 9, 1, 8, 2, 4):
        put(f"{number}.txt")
    [found] = left_out(ImageSource(root=root)).values()
    assert (found.files, found.first) == (7, ["1.txt", "2.txt", "3.txt", "4.txt", "7.txt"])


@pytest.mark.parametrize(
    "name",
    ["photo", "photo.jpg_large", "photo.jpg ", "photo.jpg.1", "plate 12.r", "IMG.", "ark.12148"],
)
def test_a_name_that_says_nothing_is_listed_to_be_looked_into(anywhere: Where, name: str) -> None:
    root, put = anywhere
    put(name)
    [file] = ImageSource(root=root).list().files
    assert (file.path, file.is_named) == (name, False)


@pytest.mark.parametrize("extension", ["jp2", "MPO", "jxl", "j2k", "apng", "heic"])
def test_every_format_that_is_read_has_its_extension(folder: Path, extension: str) -> None:
    add(folder / f"a.{extension}")
    [file] = ImageSource(root=str(folder)).list().files
    assert file.is_named


def test_a_page_is_taken_where_its_file_is(folder: Path) -> None:
    source = ImageSource(root=str(folder), exclude=["b.tif"])
    assert source.takes("a.tif#page=2")
    assert source.takes("a.tif")
    assert not source.takes("b.tif#page=2")
    assert not source.takes("a.pdf#page=2")


def test_paths_are_judged_that_nest_deeper_than_calls_may(folder: Path) -> None:
    source = ImageSource(root=str(folder), exclude=["private/"])
    assert source.takes("d/" * 5000 + "a.png")
    assert not source.takes("d/" * 5000 + "private/" + "d/" * 100 + "a.png")


def test_accents_that_a_mac_wrote_are_those_of_the_patterns(folder: Path) -> None:
    for name in ("Privé/a.png", "b/Été.png", "c/Été 2.png"):
        add(folder / unicodedata.normalize("NFD", name))
    source = ImageSource(root=str(folder), exclude=["Privé/", "Été.png", "Ét*2.png"])
    assert paths_of(source) == []


def test_a_file_without_an_extension_keeps_its_dots(folder: Path) -> None:
    add(folder / "scan.2024" / "plate")
    assert paths_of(ImageSource(root=str(folder))) == ["scan.2024/plate"]


def test_what_lies_on_other_disks_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk can be mounted here: the listing is told other numbers of devices."""
    for name in ("a.jpg", "usb/b.jpg", "usb/c/d.jpg", "usb/nas/e.jpg", "z/f.jpg"):
        add(folder / name)
    devices = {"usb": 7, "c": 7, "nas": 8, "e.jpg": 8}
    scandir = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.entry = entry
            self.name = entry.name
            self.is_dir, self.is_symlink = entry.is_dir, entry.is_symlink
            self.is_file = entry.is_file

        def stat(self, follow_symlinks: bool = True) -> object:
            status = self.entry.stat(follow_symlinks=follow_symlinks)
            if self.name not in devices:
                return status
            # Field 2 is the device.
            return os.stat_result([*status[:2], devices[self.name], *status[3:]])

    class Entries(list):
        def __enter__(self) -> "Entries":
            return self

        def __exit__(self, *_: object) -> None: ...

    def faked(path: str) -> Entries:
        with scandir(path) as found:
            return Entries(map(Entry, found))

    monkeypatch.setattr(os, "scandir", faked)
    found = ImageSource(root=str(folder)).list()
    assert found.mounts == ("usb/", "usb/nas/")
    assert {file.path: file.mount for file in found.files} == {
        "a.jpg": "",
        "usb/b.jpg": "usb/",
        "usb/c/d.jpg": "usb/",
        "usb/nas/e.jpg": "usb/nas/",
        "z/f.jpg": "",
    }


def test_disks_that_number_their_files_anew_give_no_inodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a USB stick would be read anew whenever it is put in."""
    add(folder / "a.jpg")
    monkeypatch.setattr(resources.local_folder, "_numbered", lambda: lambda _device: False)
    [file] = ImageSource(root=str(folder)).list().files
    assert file.inode == 0


def test_a_replacement_of_equal_size_and_time_has_another_stamp(folder: Path) -> None:
    """As ``cp -p``, ``rsync -t`` and restored backups make it."""
    path = add(folder / "a.png")
    source = ImageSource(root=str(folder))
    [before] = source.list().files
    status = path.stat()
    path.write_bytes(PNG[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    [after] = source.list().files
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after.ctime_ns > before.ctime_ns
    replaced = path.with_name("b.png")
    replaced.write_bytes(PNG)
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    replaced.replace(path)
    assert source.list().files[0].inode != after.inode


def test_of_a_large_file_only_the_first_bytes_are_read_to_tell_its_format(anywhere: Where) -> None:
    root, put = anywhere
    put("a.png")
    source = ImageSource(root=root, max_bytes=10)
    assert source.head("a.png") == PNG[:SNIFFED]
    if "://" in root:
        fsspec.filesystem("memory").pipe(f"{root[9:]}/big", bytes(3 * SNIFFED))
    else:
        Path(root, "big").write_bytes(bytes(3 * SNIFFED))
    assert source.head("big") == bytes(SNIFFED)
    assert reason_of(lambda: source.head("none")) == "the file vanished after it was listed"
    assert "leads out" in reason_of(lambda: source.head("../a.png"))


def test_a_page_is_read_from_its_file_and_has_an_id_of_its_own(anywhere: Where) -> None:
    root, put = anywhere
    put("a.tif")
    source = ImageSource(root=root)
    assert source.read("a.tif#page=3") == source.read("a.tif") == PNG
    assert source.head("a.tif#page=3") == source.head("a.tif")
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert source.image_id("a.tif", PNG) == sha256
    third = hashlib.sha256(f"{sha256}#3".encode()).hexdigest()
    assert source.image_id("a.tif#page=3", PNG) == third


@pytest.mark.parametrize("path", ["..#page=2", "x/..#page=2", "/a.tif#page=2"])
def test_no_page_leads_out_of_the_folder(anywhere: Where, path: str) -> None:
    root, _ = anywhere
    assert "leads out" in reason_of(lambda: ImageSource(root=root).read(path))


def test_a_file_that_was_changed_since_it_was_listed_is_not_read(anywhere: Where) -> None:
    root, put = anywhere
    put("a.png")
    source = ImageSource(root=root)
    [listed] = source.list().files
    assert source.read("a.png", listed) == PNG
    changed = SourceFile("a.png", listed.size + 1, listed.mtime_ns - 1, "")
    with pytest.raises(UnfinishedFile, match="it changed after it was listed"):
        source.read("a.png", changed)


def test_a_file_that_grows_while_it_is_read_is_being_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add(folder / "a.png")
    source = ImageSource(root=str(folder))
    fstat, calls = os.fstat, []

    def written_in_between(number: int) -> os.stat_result:
        calls.append(number)
        if len(calls) == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return fstat(number)

    monkeypatch.setattr(resources.local_folder.os, "fstat", written_in_between)
    with pytest.raises(UnfinishedFile, match="it changed while it was read") as caught:
        source.read("a.png")
    assert isinstance(caught.value, UnavailableFile)  # so it is never in quarantine for good


def test_a_store_that_tells_another_length_than_it_gives_is_believed(
    folder: Path,
) -> None:
    """As one does that unpacks objects on the way: those would never be finished."""
    memory = fsspec.filesystem("memory")
    memory.pipe(f"{folder}/a.png", PNG)

    class Packed(type(memory)):
        """Objects are smaller at rest."""

        protocol = "packed"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("packed://"))

        def ls(self, path: str, detail: bool = True, **options: object) -> list:
            return [{**entry, "size": 9} for entry in super().ls(path, detail, **options)]

        def info(self, path: str, **options: object) -> dict:
            found = super().info(path, **options)
            return {**found, "size": 9} if found["type"] == "file" else found

    fsspec.register_implementation("packed", Packed, clobber=True)
    source = ImageSource(root=f"packed://{folder}")
    [listed] = source.list().files
    assert (listed.size, source.read("a.png", listed)) == (9, PNG)


def test_a_pattern_of_the_leftovers_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="A pattern of `exclude_leftovers` cannot be used"):
        ImageSource(root=str(folder), exclude_leftovers=["!"]).list()
