"""Zip and tar archives as sources: what is listed and read of them, and what hostile ones get."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from resources import archive_entries, archive_folder
from resources.archive_folder import SUFFIXES
from resources.errors import InputError, UnavailableError, UnreadableImage
from resources.listing import UnavailableFile, UnfinishedFile
from resources.project_folder import ProjectSettings, create
from resources.source import ImageSource
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.test_source import PNG, patterns

FILES = {
    "Été à Orléans/é 図.png": PNG,
    "Été à Orléans/deep/plate": PNG + b"2",
    "a.jpg": PNG * 9,
    "empty.png": b"",
    "notes.txt": b"text",
}
IMAGES = {path: data for path, data in FILES.items() if path != "notes.txt"}

Files = dict[str, bytes] | Iterable[tuple[str, bytes]]


def _pairs(files: Files) -> Iterable[tuple[str, bytes]]:
    return files.items() if isinstance(files, dict) else files


def zipped(
    path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED, mode: int = 0, date: int = 1990
) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in _pairs(files):
            entry = zipfile.ZipInfo(name, (date, 1, 2, 3, 4, 6))
            entry.compress_type = method
            entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return path


def tarred(path: Path, files: Files, format: int = tarfile.PAX_FORMAT, mtime: float = 9) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for name, data in _pairs(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), mtime
            archive.addfile(entry, io.BytesIO(data))
    return path


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packer:
        packer.write(data)
    return sink.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
    ".tar.zst": _zstd,
    ".tzst": _zstd,
}


def archive(folder: Path, suffix: str, files: Files) -> Path:
    path = folder / f"scans{suffix}"
    if suffix == ".zip":
        return zipped(path, files)
    plain = tarred(folder / "plain", files)
    data = plain.read_bytes()
    path.write_bytes(PACKERS[suffix](data) if suffix in PACKERS else data)
    return path


def source(path: Path, **fields: object) -> ImageSource:
    return ImageSource(root=str(path), cache=str(path.parent / "cache"), **fields)


def contents(path: Path, **fields: object) -> dict[str, bytes]:
    found = source(path, **fields)
    return {file.path: found.read(file.path, file) for file in found.list().files}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        source(path).list()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_is_a_folder_of_its_images(tmp_path: Path, suffix: str) -> None:
    path = archive(tmp_path, suffix, FILES)
    assert contents(path) == IMAGES
    found = source(path).list()
    assert [file.path for file in found.files] == sorted(IMAGES)
    assert [file.is_named for file in found.files] == [True, True, False, True]
    assert {kind: left.first for kind, left in found.left_out.items()} == {
        "no_image": ["notes.txt"]
    }
    assert source(path).local_root is None
    assert source(path).place == str(path)
    assert source(path).head("a.jpg") == IMAGES["a.jpg"][:4096]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_cut_off_is_no_archive_and_nothing_is_missing_then(
    tmp_path: Path, suffix: str
) -> None:
    """An upload that goes on, or a disk that was full: a fault of the source, for a while."""
    path = archive(tmp_path, suffix, FILES)
    data = path.read_bytes()
    for length in (0, 3, len(data) // 4, len(data) // 3):
        path.write_bytes(data[:length])
        with pytest.raises(UnavailableError, match="The archive of images .* cannot be read"):
            source(path).list()
    path.unlink()
    with pytest.raises(UnavailableError, match="No such file"):
        source(path).list()
    with pytest.raises(UnavailableError):
        source(path).read("a.jpg")
    with pytest.raises(UnavailableError):
        source(path).check()


def test_a_tar_archive_that_ends_between_two_files_is_not_whole(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"a.png": PNG, "b.png": PNG})
    path.write_bytes(path.read_bytes()[:1024])
    assert "its end is missing" in refusal(path)


def test_room_that_is_kept_for_the_rest_of_a_tar_archive_is_no_end(tmp_path: Path) -> None:
    """A copy that is under way may have its size already, and zeros where bytes will come."""
    path = tarred(tmp_path / "a.tar", {"a.png": PNG, "b.png": PNG})
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(10 * 2**20))
    assert "may still be written" in refusal(path)
    path.write_bytes(bytes(100_000))
    assert "may still be written" in refusal(path)
    path.write_bytes(whole + bytes(2**20))  # records of a megabyte
    assert len(contents(path)) == 2


def test_a_tar_archive_whose_first_name_begins_like_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"BZh9.png": PNG})
    assert contents(path) == {"BZh9.png": PNG}


def test_nobody_waits_for_a_pipe_with_the_name_of_an_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    assert "not a plain file" in refusal(tmp_path / "a.zip")


def test_a_file_that_is_no_archive_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(b"7z")
    assert "nor an archive that is read (.zip, .tar" in refusal(tmp_path / "a.7z")


def test_whoever_waits_for_an_unpacking_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path, ".tar.gz", {"a.png": PNG})
    cache = tmp_path / "cache" / "archives"
    unpack = archive_folder.ArchiveFolder._unpack

    def interrupted(self: object, timeout: float | None = None) -> None:
        [draft] = cache.glob("*.part")
        assert draft.read_bytes() == b"half"
        raise KeyboardInterrupt

    def slow(
        self: archive_folder.ArchiveFolder, file: io.BufferedReader, packing: str, draft: Path
    ) -> None:
        draft.write_bytes(b"half")
        with monkeypatch.context() as patched:
            patched.setattr("filelock.FileLock.acquire", interrupted)
            with pytest.raises(KeyboardInterrupt):
                source(path).list()
        assert draft.exists()
        unpack(self, file, packing, draft)

    monkeypatch.setattr(archive_folder.ArchiveFolder, "_unpack", slow)
    assert [file.path for file in source(path).list().files] == ["a.png"]


@patterns
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_patterns_hold_in_archives(
    suffix: str, include: list[str], exclude: list[str], expected: list[str], tmp_path: Path
) -> None:
    names = ["a.png", "a.tif", "scans/b.png", "scans/raw/c.png", "scans/raw/d.tif"]
    names += ["x/scans/e.png", "É.png"]
    path = archive(tmp_path, suffix, dict.fromkeys(names, PNG))
    assert sorted(contents(path, include=include, exclude=exclude)) == sorted(expected)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_archive_is_read_however_it_is_packed(tmp_path: Path, method: int) -> None:
    assert contents(zipped(tmp_path / "a.zip", FILES, method)) == IMAGES


def test_a_zip_archive_is_read_with_a_comment_with_a_program_before_it_and_in_the_large_form(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as written:
        with written.open("a.png", "w", force_zip64=True) as file:
            file.write(PNG)
        written.comment = b"PK\5\6 is not the end" + bytes(100)
    assert contents(path) == {"a.png": PNG}
    path.write_bytes(b"MZ a program" + path.read_bytes())
    assert contents(path) == {"a.png": PNG}
    # More than 65,535 entries have another end.
    data = zipped(path, {"a.png": PNG}).read_bytes()
    end = struct.unpack_from("<4s4H2LH", data, len(data) - 22)
    length, offset = end[5:7]
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    small = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(data[:-22] + large + locator + small)
    assert contents(path) == {"a.png": PNG}


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        ("é.png".encode(), 0x800, "é.png"),
        ("é.png".encode(), 0, "é.png"),
        ("e\u0301.png".encode(), 0, "e\u0301.png"),
        ("été à ç.png".encode("cp437"), 0, "été à ç.png"),
        ("ÉÀÊ.png".encode("cp850"), 0, "ÉÀÊ.png"),
        ("図.png".encode(), 0, "図.png"),
        (b"\xff\xfe.png", 0x800, "\ufffd\ufffd.png"),
    ],
)
def test_accents_in_names_of_zip_archives_are_read_whoever_wrote_them(
    tmp_path: Path, raw: bytes, flags: int, name: str
) -> None:
    path = zipped(tmp_path / "a.zip", {"x" * len(raw): PNG})
    data = bytearray(path.read_bytes().replace(b"x" * len(raw), raw))
    at = data.index(b"PK\1\2")
    data[at + 8 : at + 10] = flags.to_bytes(2, "little")
    path.write_bytes(data)
    assert contents(path) == {name: PNG}


def test_a_name_that_an_archive_gives_in_unicode_beside_its_own_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as written:
        entry = zipfile.ZipInfo("_.png")
        unicode_name = b"\1" + zlib.crc32(b"_.png").to_bytes(4, "little") + "図.png".encode()
        entry.extra = struct.pack("<2H", 0x7075, len(unicode_name)) + unicode_name
        written.writestr(entry, PNG)
    assert list(contents(path)) == ["図.png"]


def test_separators_of_windows_are_separators_where_windows_wrote_them(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"scans/a.png": PNG})
    data = path.read_bytes().replace(b"scans/a", b"scans\\a")
    path.write_bytes(data)
    assert list(contents(path)) == ["scans\\a.png"]
    at = data.index(b"PK\1\2")
    path.write_bytes(data[: at + 5] + b"\0" + data[at + 6 :])
    assert list(contents(path)) == ["scans/a.png"]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_tar_archives_are_read_in_every_form(tmp_path: Path, format: int) -> None:
    long = f"{'d' * 90}/{'é' * 40}.png"
    path = tarred(tmp_path / "a.tar", {"./é.png": PNG, "x//./y.png": PNG, long: PNG}, format)
    assert sorted(contents(path)) == sorted(["x/y.png", "é.png", long])


def test_a_latin_name_of_an_old_tar_archive_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as written:
        entry = tarfile.TarInfo("été.png")
        entry.size = len(PNG)
        written.addfile(entry, io.BytesIO(PNG))
    assert contents(path) == {"été.png": PNG}


HOSTILE = ["../a.png", "b/../../c.png", "/etc/d.png", "C:/e.png", "f\0.png", "x/" * 300 + "g.png"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_no_name_leads_out_of_an_archive(tmp_path: Path, suffix: str) -> None:
    path = archive(tmp_path, suffix, {f"{number}.png": PNG for number in range(len(HOSTILE))})
    if suffix == ".tar":
        path = tarred(path, [(name.replace("\0", "~"), PNG) for name in HOSTILE])
        path.write_bytes(path.read_bytes().replace(b"f~.png", b"/a.png"))
        path = _with_right_checksums(path)
    else:
        path = zipped(path, [(name.replace("\0", "~"), PNG) for name in HOSTILE])
        path.write_bytes(path.read_bytes().replace(b"f~.png", b"f\0.png"))
    found = source(path).list()
    assert found.files == []
    [(reason, names)] = found.skipped.items()
    assert (reason, len(names)) == ("have a name that is no path below the archive", len(HOSTILE))
    assert found.left_out["unreadable"].files == len(HOSTILE)
    assert "leads out" in reason_of(lambda: source(path).read("../a.png"))


def _with_right_checksums(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 512):
        if data[at + 257 : at + 262] == b"ustar":
            header = bytes(data[at : at + 148]) + b" " * 8 + bytes(data[at + 156 : at + 512])
            data[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_of_two_entries_with_one_name_the_last_one_counts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.warns(UserWarning) if suffix == ".zip" else _nothing():
        (zipped if suffix == ".zip" else tarred)(path, [("a.png", b"old"), ("a.png", PNG)])
    assert contents(path) == {"a.png": PNG}
    assert source(path).list().skipped == {
        "are there more than once: the last one counts": ["a.png"]
    }


def _nothing() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def test_links_devices_and_sparse_files_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as written:
        for name, kind, link in [
            ("link.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("gone.png", tarfile.LNKTYPE, "nowhere.png"),
            ("device.png", tarfile.CHRTYPE, ""),
            ("pipe.png", tarfile.FIFOTYPE, ""),
            ("folder.png", tarfile.DIRTYPE, ""),
        ]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            written.addfile(entry)
        entry = tarfile.TarInfo("sparse.png")
        entry.type = tarfile.GNUTYPE_SPARSE
        written.addfile(entry)
        entry = tarfile.TarInfo("a.png")
        entry.size = len(PNG)
        written.addfile(entry, io.BytesIO(PNG))
        entry = tarfile.TarInfo("same.png")
        entry.type, entry.linkname = tarfile.LNKTYPE, "./a.png"
        written.addfile(entry)
    assert contents(path) == {"a.png": PNG, "same.png": PNG}
    found = source(path).list()
    assert found.skipped == {
        "are links": ["gone.png", "link.png"],
        "are sparse files": ["sparse.png"],
    }
    assert {kind: left.files for kind, left in found.left_out.items()} == {
        "link": 2,
        "no_image": 2,
        "unreadable": 1,
    }
    path = zipped(tmp_path / "a.zip", {"link.png": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    assert source(path).list().skipped == {"are links": ["link.png"]}


def test_encrypted_entries_are_left_out_with_the_reason(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG, "b.png": PNG, "c.txt": b""})
    data = bytearray(path.read_bytes())
    for at in (data.index(b"PK\1\2"), data.rindex(b"PK\1\2")):
        data[at + 8] |= 1
    path.write_bytes(data)
    found = source(path).list()
    assert [file.path for file in found.files] == ["b.png"]
    assert found.skipped == {"are encrypted": ["a.png"]}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_archives_in_archives_are_not_opened(tmp_path: Path, suffix: str) -> None:
    inner = zipped(tmp_path / "inner", {"a.png": PNG}).read_bytes()
    path = archive(tmp_path, suffix, {"b.zip": inner, "c.tar.gz": inner, "d.png": PNG})
    assert list(contents(path)) == ["d.png"]
    assert source(path).list().left_out["no_image"].extensions == {".zip": 1, ".gz": 1}


def test_a_tar_archive_whose_last_file_is_a_zip_archive_is_none(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner", {"a.png": PNG}, zipfile.ZIP_STORED).read_bytes()
    path = tarred(tmp_path / "a.tar", {"b.png": PNG, "c": inner})
    assert sorted(contents(path)) == ["b.png", "c"]


# What unpacks to more than it seems


def test_an_entry_of_more_bytes_than_are_allowed_is_not_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(30_000_000)})
    assert path.stat().st_size < 100_000
    bounded = source(path, max_bytes=1_000_000)
    reason = "the file has 30,000,000 bytes; the limit is 1,000,000 (max_bytes)"
    bounded.list()
    tracemalloc.start()
    try:
        assert reason_of(lambda: bounded.read("bomb.png")) == reason
        # One that says that it has less is stopped there.
        data = path.read_bytes()
        size = (30_000_000).to_bytes(4, "little")
        path.write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
        assert "does not unpack to its 1,000 bytes" in reason_of(
            lambda: source(path, max_bytes=1_000_000).read("bomb.png")
        )
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_entries_that_share_their_bytes_are_left_out(tmp_path: Path) -> None:
    """As in bombs that unpack to terabytes: each entry of them is small enough."""
    path = zipped(tmp_path / "a.zip", {"a.png": PNG, "b.png": PNG, "c.png": PNG})
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    found = source(path).list()
    assert [file.path for file in found.files] == ["b.png", "c.png"]
    assert found.skipped == {"share their bytes with other entries": ["a.png"]}


def test_an_archive_of_too_many_entries_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_entries, "MAX_ENTRIES", 3)
    for suffix in (".zip", ".tar"):
        path = archive(tmp_path, suffix, {f"{number}.png": PNG for number in range(4)})
        message = refusal(path)
        assert "cannot be a source of images" in message
        assert message.endswith("unpack it, and give the folder.")


def test_a_packed_tar_archive_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_folder, "_FREE_BYTES", 1000)
    path = archive(tmp_path, ".tar.gz", {"a.png": bytes(5_000_000)})
    assert "unpacked, it has more than 200 times its size" in refusal(path)
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_a_packed_tar_archive_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_folder, "_FREE_BYTES", 2**60)
    monkeypatch.setattr(archive_folder, "_CHECKED_EVERY", 1000)
    path = archive(tmp_path, ".tar.gz", {"a.png": os.urandom(5000)})
    assert "is nearly full" in refusal(path)


def test_a_header_of_a_tar_archive_that_has_gigabytes_is_not_read(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(tarred(tmp_path / "plain", {"a.png": PNG}).read_bytes()[:1024])
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33)  # a file with a hole
    assert "a header in it is damaged" in refusal(path)


def test_headers_of_tar_archives_that_lead_back_are_no_loop(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"a.png": PNG, "b.png": PNG})
    data = bytearray(path.read_bytes())
    data[124:136] = b"\xff" * 8 + (-1024).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    assert "a header in it is damaged" in refusal(_with_right_checksums(path))


# Damage


def test_a_damaged_entry_costs_only_itself(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG * 50, "b.png": PNG, "c.png": PNG})
    data = bytearray(path.read_bytes())
    start = data.index(PNG[:4]) if PNG[:4] in data else 40
    data[start + 10] ^= 0xFF
    at = data.index(b"PK\3\4", 4)
    data[at : at + 4] = b"junk"
    path.write_bytes(data)
    found = source(path)
    assert [file.path for file in found.list().files] == ["a.png", "b.png", "c.png"]
    for name in ("a.png", "b.png"):
        with pytest.raises(UnreadableImage, match="a damaged entry of the archive") as caught:
            found.read(name)
        assert not isinstance(caught.value, UnavailableFile)
    assert found.read("c.png") == PNG


def test_bytes_of_a_zip_archive_that_were_changed_are_noticed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(PNG, PNG[:-1] + b"?"))
    assert "its checksum is another one" in reason_of(lambda: source(path).read("a.png"))


def test_a_method_that_nothing_reads_is_no_damage(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 10] = 9
    path.write_bytes(data)
    reason = reason_of(lambda: source(path).read("a.png"))
    assert reason == "not supported: an entry that is packed by method 9; pack it by deflate"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_damage_raises_anything_but_a_plain_refusal(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(suffix)
    data = archive(tmp_path, suffix, FILES).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        found = source(path, max_bytes=10_000_000)
        try:
            files = found.list().files
        except InputError:
            continue
        for file in files:
            try:
                found.read(file.path, file)
                found.head(file.path)
            except UnreadableImage:
                pass
            file.path.encode()


# Changes


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_of_an_archive_that_was_replaced_only_what_changed_has_another_stamp(
    tmp_path: Path, suffix: str
) -> None:
    before = source(archive(tmp_path, suffix, {"a.png": PNG, "b.png": PNG, "c.png": PNG}))
    listed = {file.path: file for file in before.list().files}
    changed = PNG[:-1] + b"?"  # of the same size
    after = archive(tmp_path, suffix, {"0.png": PNG, "a.png": PNG, "b.png": changed, "d.png": PNG})
    now = {file.path: file for file in source(after).list().files}
    assert now["a.png"] == listed["a.png"]
    assert now["b.png"] != listed["b.png"]
    assert sorted(now) == ["0.png", "a.png", "b.png", "d.png"]
    # Of the source that listed the older one, too: what is there now is read, or nothing.
    assert before.read("a.png", listed["a.png"]) == PNG
    with pytest.raises(UnfinishedFile):
        before.read("b.png", listed["b.png"])
    with pytest.raises(UnavailableFile, match="vanished"):
        before.read("c.png", listed["c.png"])


def test_a_zip_entry_has_its_time_in_utc_where_it_is_there(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": PNG})
    [file] = source(path).list().files
    assert file.mtime_ns == 631_249_446 * 10**9  # 1990-01-02 03:04:06, as if in UTC
    with zipfile.ZipFile(path, "w") as written:
        entry = zipfile.ZipInfo("a.png")
        entry.extra = struct.pack("<2HBl", 0x5455, 5, 1, 1_000_000_000)
        written.writestr(entry, PNG)
    [file] = source(path).list().files
    assert file.mtime_ns == 10**18


def test_a_packed_archive_is_unpacked_once_and_older_copies_go(tmp_path: Path) -> None:
    path = archive(tmp_path, ".tar.gz", {"a.png": PNG})
    folder = tmp_path / "cache" / "archives"
    assert contents(path) == {"a.png": PNG}
    [copy] = folder.glob("*.tar")
    written = copy.stat().st_mtime_ns
    assert contents(path) == {"a.png": PNG}
    assert copy.stat().st_mtime_ns == written
    copy.unlink()  # nothing of it is needed
    assert contents(path) == {"a.png": PNG}
    archive(tmp_path, ".tar.gz", {"b.png": PNG})
    assert contents(path) == {"b.png": PNG}
    [newer] = folder.glob("*.tar")
    assert newer != copy


def test_without_a_cache_a_packed_archive_is_unpacked_into_a_folder_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = archive(tmp_path, ".tar.xz", {"a.png": PNG})
    found = ImageSource(root=str(path))
    assert [found.read(file.path) for file in found.list().files] == [PNG]
    [folder] = tmp_path.glob("panoptic-assets-*")
    del found
    assert not folder.exists()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_several_readers_read_an_archive_at_once(tmp_path: Path, suffix: str) -> None:
    files = {f"{number}.png": os.urandom(3000 + number) for number in range(200)}
    found = source(archive(tmp_path, suffix, files))
    with ThreadPoolExecutor(8) as threads:
        read = dict(zip(files, threads.map(found.read, files), strict=True))
    assert read == files


# A project of an archive


def test_a_project_is_made_of_an_archive_and_of_no_other_file(tmp_path: Path) -> None:
    path = zipped(tmp_path / "SCANS.ZIP", {"a.png": PNG})
    project = create(tmp_path / "project", ProjectSettings.of(str(path), "mini"))
    assert project.images == str(path)
    other = tmp_path / "scans.rar"
    other.touch()
    for place in (other, tmp_path / "none.zip"):
        with pytest.raises(InputError, match="is not a folder, nor a zip or tar archive"):
            create(tmp_path / "other", ProjectSettings.of(str(place), "mini"))


def test_a_packed_archive_is_unpacked_among_what_its_project_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing counts as an image, and all can be had again."""
    archive(tmp_path, ".tar.gz", {"a.png": PNG})
    project = create(tmp_path, ProjectSettings(images="scans.tar.gz"))
    monkeypatch.setenv("PANOPTIC_PROJECT", str(tmp_path))
    assert ImageSource().read("a.png") == PNG
    [copy] = (tmp_path / ".panoptic").rglob("*.tar")
    assert copy.parent == project.downloads / "archives"


def test_a_folder_may_have_the_name_of_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "scans.zip"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    assert contents(folder) == {"a.png": PNG}


def test_what_is_called_an_archive_and_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(PNG)
    assert "it is no whole zip or tar archive" in refusal(path)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(PNG))
    assert "it is no whole zip or tar archive" in refusal(path)
