"""A IIIF manifest as a source: what is listed, what is asked for, and what servers may do."""

import contextlib
import csv
import gzip
import io
import json
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from panoptic_assets.corpus.inventory import parse_inventory
from resources import iiif_folder, iiif_manifest
from resources.errors import InputError, UnavailableError
from resources.iiif_folder import IiifFolder, manifest_address
from resources.listing import UnavailableFile
from resources.source import ImageSource
from resources.web import Reach, Web, WebError, reach_of
from tests import library as libraries
from tests.library import Library, Sent, canvas, manifest, manifest_2
from tests.unit.resources.conftest import reason_of


@pytest.fixture(scope="module")
def server() -> Iterator[Library]:
    with libraries.opened() as library:
        yield library


@pytest.fixture
def library(server: Library) -> Library:
    """The library, empty again."""
    server.sent.clear()
    server.services.clear()
    server.asked.clear()
    server.most_at_once = 0
    return server


@pytest.fixture
def source(library: Library, tmp_path: Path) -> Callable[..., ImageSource]:
    """A source of a document's path; each is as a new process has it."""

    def made(path: str = "/manifest.json", **options: Any) -> ImageSource:
        return ImageSource(
            root=f"{library.url}{path}",
            storage_options={"pause": 0, **options},
            cache=str(tmp_path / "downloads"),
        )

    return made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are asked again at once, as nobody waits for seconds here."""
    made = Web.__init__

    def init(self: Web, *args: Any, **options: Any) -> None:
        made(self, *args, **{"backoff": 0.001, "max_wait": 0.5, **options})

    monkeypatch.setattr(Web, "__init__", init)


def paths_of(source: ImageSource) -> list[str]:
    return [file.path for file in source.list().files]


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def book(library: Library, *names: str, label: Any = "Book") -> dict[str, Any]:
    return manifest(
        label, *(canvas({"none": [name]}, library.image(name, 60, 40)) for name in names)
    )


def shelf(library: Library, *names: str) -> None:
    """A collection of books of one page."""
    for name in names:
        library.document(f"/{name}", book(library, name, label=name))
    items = [{"type": "Manifest", "id": f"{library.url}/{name}", "label": name} for name in names]
    library.document("/collection", {"type": "Collection", "items": items})


def inventory(source: ImageSource) -> list[dict[str, str]]:
    path = source.inventory()
    assert path
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What is listed.


def test_a_manifest_of_version_3_is_a_folder_of_its_canvases(library, source):
    library.document("/manifest.json", book(library, "f. 1r", "f. 1v"))
    listing = source().list()
    assert [file.path for file in listing.files] == ["Book/0001 f. 1r.jpg", "Book/0002 f. 1v.jpg"]
    assert all(file.is_named and file.etag for file in listing.files)


def test_a_manifest_of_version_2_is_the_same(library, source):
    body = library.image("a", 60, 40, version=2)
    library.document("/manifest.json", manifest_2("Book", ("f. 1r", body)))
    assert paths_of(source()) == ["Book/0001 f. 1r.jpg"]
    assert size_of(source().read("Book/0001 f. 1r.jpg")) == (60, 40)
    assert library.paths[-1] == "/image/a/full/full/0/default.jpg"


def test_a_collection_may_hold_manifests_of_both_versions_collections_and_pages(library, source):
    library.document("/a", manifest("A", canvas(None, library.image("a", 9, 9))))
    library.document("/b", manifest_2("B", ("1", library.image("b", 9, 9, version=2))))
    library.document("/c", manifest("C", canvas(None, library.image("c", 9, 9))))
    inner = {
        "@type": "sc:Collection",
        "manifests": [{"@id": f"{library.url}/b", "@type": "sc:Manifest", "label": "B"}],
        "members": [{"@id": f"{library.url}/b", "@type": "sc:Manifest"}],
    }
    library.document("/inner", inner)
    page = {
        "@type": "sc:Collection",
        "manifests": [{"@id": f"{library.url}/c"}, {"@id": f"{library.url}/a"}],
    }
    library.document("/page2", page)
    outer = {
        "type": "Collection",
        "label": {"en": ["All"]},
        "items": [
            {"id": f"{library.url}/a", "type": "Manifest", "label": {"en": ["A"]}},
            {"id": f"{library.url}/inner", "type": "Collection"},
            {"id": f"{library.url}/collection.json", "type": "Collection"},
        ],
        "next": f"{library.url}/page2",
    }
    library.document("/collection.json", outer)
    assert paths_of(source("/collection.json")) == ["A/0001.jpg", "B/0001 1.jpg", "C/0001.jpg"]
    assert sorted(library.paths) == ["/a", "/b", "/c", "/collection.json", "/inner", "/page2"]


def test_a_paged_collection_of_version_2_begins_at_its_first_page(library, source):
    library.document("/a", book(library, "a"))
    library.document("/1", {"@type": "sc:Collection", "manifests": [{"@id": f"{library.url}/a"}]})
    paged = {"@type": "sc:Collection", "total": 1, "first": f"{library.url}/1"}
    library.document("/collection", paged)
    assert paths_of(source("/collection")) == ["Book/0001 a.jpg"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ({"de": ["Buch"], "en": ["Book"], "fr": ["Livre"]}, "Livre"),
        ({"de": ["Buch"], "en-GB": ["Book"]}, "Book"),
        ({"de": ["Buch"], "none": ["MS 1"]}, "MS 1"),
        ({"de": ["Buch"], "it": ["Libro"]}, "Buch"),
        ({"none": ["One", "Two"]}, "One; Two"),
        ([{"@value": "Buch", "@language": "de"}, {"@value": "Livre", "@language": "fr"}], "Livre"),
        (["One", "Two"], "One; Two"),
        (7, "7"),
        (None, "7733"),
        ("", "7733"),
        ([[["x"]]], "7733"),
        ("a/b\\c", "a-b-c"),
        ("../../etc", "-..-etc"),
        ("..", "untitled"),
        (".hidden", "hidden"),
        ("line\nfeed\x00\x1b\u202e \ud800", "line feed"),
        ("<b>Livre</b> d&#39;heures<script>x</script>", "Livre d'heures"),
        ("a < b & c > d", "a < b & c > d"),
        ('<p>One<br/>two</p><!-- > --><a title="x > y">three</a>', "One two three"),
        ("<i>a</i> &#" + "9" * 5000 + ";b", "a b"),
        ("<title>x<style>y</style></title>z<b", "z<b"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("é" * 300, "é" * 60),
    ],
)
def test_labels_become_names_that_are_safe(library, source, label, name):
    content = manifest(label, canvas(label, library.image("a", 9, 9)))
    library.document("/iiif/7733/manifest.json", content)
    [path] = paths_of(source("/iiif/7733/manifest.json"))
    folder, file = path.split("/")
    assert folder == name
    assert file.startswith("0001") and file.endswith(".jpg")
    assert len(file.encode()) <= 255


def test_equal_labels_are_two_folders_whatever_their_case(library, source):
    for name in ("a", "b"):
        library.document(f"/{name}", book(library, name, label="Book" if name == "a" else "BOOK"))
    items = [{"type": "Manifest", "id": f"{library.url}/{name}"} for name in ("a", "b")]
    library.document("/collection", {"type": "Collection", "items": items})
    folders = {path.partition("/")[0] for path in paths_of(source("/collection"))}
    assert {folder.partition("(")[0] for folder in folders} == {"Book", "BOOK "}


def test_a_manifest_with_two_addresses_is_taken_once_but_not_two_with_one_id(library, source):
    for path, name in (("/a", "a"), ("/alias", "a"), ("/b", "b")):
        library.document(path, {**book(library, name, label=name), "id": "https://x.org/manifest"})
    items = [{"type": "Manifest", "id": f"{library.url}/{name}"} for name in ("a", "alias", "b")]
    library.document("/collection", {"type": "Collection", "items": items})
    assert paths_of(source("/collection")) == ["a/0001 a.jpg", "b/0001 b.jpg"]


def test_canvases_that_are_added_rename_nothing(library, source):
    library.document("/manifest.json", book(library, "a", "a2", label="Same"))
    before = source().list().files
    library.document("/manifest.json", book(library, "a", "a2", *"bcdefghijkl", label="Same"))
    assert source().list().files[:2] == before


def test_of_a_choice_the_first_is_taken_and_of_several_images_each(library, source):
    natural, xray = library.image("natural", 9, 9), library.image("xray", 9, 9)
    choice = {"type": "Choice", "items": [natural, xray]}
    library.document(
        "/manifest.json", manifest("B", canvas("1", choice), canvas("2", natural, xray))
    )
    found = {file.path: file.etag for file in source().list().files}
    assert list(found) == ["B/0001 1.jpg", "B/0002 2.jpg", "B/0002.2 2.jpg"]
    assert found["B/0001 1.jpg"] == found["B/0002 2.jpg"] != found["B/0002.2 2.jpg"]


def test_film_and_text_are_counted_as_no_pictures(library, source):
    film = {"id": f"{library.url}/film.mp4", "type": "Video", "format": "video/mp4"}
    library.document("/manifest.json", manifest("B", canvas("Film", film), canvas("Nothing")))
    listing = source().list()
    assert not listing.files
    assert listing.left_out["no_image"].files == 2
    assert "hold no picture" in listing.warnings[0]


def test_patterns_of_the_project_hold(library, source):
    library.document("/manifest.json", book(library, "a", "b"))
    chosen = source().model_copy(update={"exclude": ["*b.jpg"]})
    assert paths_of(chosen) == ["Book/0001 a.jpg"]
    assert chosen.list().left_out["excluded"].files == 1


@pytest.mark.parametrize(
    ("root", "address"),
    [
        ("https://x.org/iiif/1/manifest.json", "https://x.org/iiif/1/manifest.json"),
        ("https://x.org/iiif/1/manifest", "https://x.org/iiif/1/manifest"),
        ("http://x.org/c.JSON?v=2", "http://x.org/c.JSON?v=2"),
        ("iiif+https://x.org/presentation/v2/b18035723", "https://x.org/presentation/v2/b18035723"),
        ("https://x.org/scans", None),
        ("s3://bucket/manifest.json", None),
        ("/disk/manifest.json", None),
    ],
)
def test_a_manifest_is_told_by_its_address(root, address):
    assert manifest_address(root) == address


# What is asked for.


@pytest.mark.parametrize(
    ("service", "asked", "got"),
    [
        ({"level": 2}, "full/!100,100", (100, 50)),
        ({"level": 2, "version": 2}, "full/!100,100", (100, 50)),
        ({"level": 1}, "full/100,", (100, 50)),
        ({"width": 100, "height": 200, "level": 1}, "full/50,", (50, 100)),
        ({"width": 80, "height": 40}, "full/max", (80, 40)),
        ({"width": 80, "height": 40, "version": 2}, "full/full", (80, 40)),
        ({"width": 80, "height": 40, "level": 0}, "full/max", (80, 40)),
    ],
)
def test_pictures_come_at_the_stated_size_and_never_larger(library, source, service, asked, got):
    options = {"width": 200, "height": 100, **service}
    library.document("/manifest.json", manifest("B", canvas("1", library.image("a", **options))))
    assert size_of(source(size=100).read("B/0001 1.jpg")) == got
    assert library.paths[1:] == [f"/image/a/{asked}/0/default.jpg"]


def test_a_service_that_refuses_a_size_is_asked_for_a_width_and_so_are_others_of_its_host(
    library, source
):
    bodies = [library.image(name, 200, 100) for name in "ab"]
    for name in "ab":
        library.services[name].level = 1
    library.document("/manifest.json", manifest("B", *(canvas("1", body) for body in bodies)))
    made = source(size=100)
    assert [size_of(made.read(path)) for path in paths_of(made)] == [(100, 50)] * 2
    assert [path.split("/", 3)[-1] for path in library.paths[1:]] == [
        "full/!100,100/0/default.jpg",
        "info.json",
        "full/100,/0/default.jpg",
        "full/100,/0/default.jpg",
    ]


def test_a_service_that_gives_less_than_the_stated_size_is_asked_for_what_it_gives(library, source):
    library.document("/manifest.json", manifest("B", canvas("1", library.image("a", 200, 100))))
    library.services["a"].most = 60
    assert size_of(source(size=100).read("B/0001 1.jpg")) == (60, 30)


@pytest.mark.parametrize(
    ("sizes", "asked"),
    [
        ([(50, 25), (100, 50), (200, 100)], "/image/a/full/100,50/0/default.jpg"),
        ([(50, 25)], "/image/a/full/50,25/0/default.jpg"),
    ],
)
def test_of_what_a_service_has_ready_the_smallest_that_suffices_is_taken(
    library, source, sizes, asked
):
    body = library.image("a", 400, 200, level=0)
    body["service"][0]["sizes"] = [{"width": width, "height": height} for width, height in sizes]
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    library.sent[asked] = Sent(jpeg(), headers={"Content-Type": "image/jpeg"})
    source(size=100).read("B/0001 1.jpg")
    assert library.paths[-1] == asked


def test_of_a_service_without_sizes_the_whole_picture_is_taken(library, source):
    body = library.image("a", 400, 200, level=0)
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    assert size_of(source(size=100).read("B/0001 1.jpg")) == (400, 200)


def test_a_service_of_tiles_alone_is_refused_plainly(library, source):
    body = library.image("a", 400, 200, level=0)
    library.document("/manifest.json", manifest("B", canvas("1", {**body, "id": ""})))
    made = source(size=100)
    assert "tiles" in reason_of(lambda: made.read("B/0001 1.jpg"))


def test_a_picture_without_a_service_is_taken_as_it_is_with_its_extension(library, source):
    body = {"id": f"{library.url}/files/page%201.PNG?v=1", "type": "Image", "format": "image/png"}
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, "PNG")
    library.sent["/files/page%201.PNG?v=1"] = Sent(file.getvalue())
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    assert paths_of(source()) == ["B/0001 1.png"]
    assert source().read("B/0001 1.png") == file.getvalue()


def test_a_part_of_a_picture_is_asked_for_as_a_part(library, source):
    selector = {"type": "ImageApiSelector", "region": "10,20,40,30"}
    body = {
        "type": "SpecificResource",
        "source": library.image("a", 200, 100),
        "selector": selector,
    }
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    assert size_of(source().read("B/0001 1.jpg")) == (40, 30)


def test_the_size_is_part_of_what_a_picture_is(library, source):
    library.document("/manifest.json", book(library, "a"))
    [small], [large] = (source(size=size).list().files for size in (100, 200))
    assert small.path == large.path and small.etag != large.etag


# What is kept.


def test_a_second_refresh_asks_once_for_each_document_and_for_no_picture(library, source):
    library.document("/manifest.json", book(library, "a", "b"))
    first = source()
    data = {path: first.read(path) for path in paths_of(first)}
    before = len(library.asked)
    second = source()
    assert {path: second.read(path) for path in paths_of(second)} == data
    assert library.paths_since(before) == ["/manifest.json"]
    assert library.asked[before][1]["If-None-Match"]


def test_a_picture_is_read_without_a_listing_of_the_same_process(library, source):
    library.document("/manifest.json", book(library, "a"))
    [path] = paths_of(source())
    before = len(library.asked)
    assert size_of(source().read(path)) == (60, 40)
    assert source().head(path).startswith(b"\xff\xd8")
    assert library.paths_since(before) == ["/image/a/full/max/0/default.jpg"]
    assert isinstance(unavailable(source(), "Book/none.jpg"), UnavailableFile)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
def test_what_was_kept_and_is_no_longer_whole_is_asked_for_again(library, source, tmp_path, damage):
    library.document("/manifest.json", book(library, "a"))
    [path] = paths_of(source())
    data = source().read(path)
    for file in tmp_path.rglob("*.answer"):
        content = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            cut = {"cut": content[:-5], "changed": content[:-5] + b"01234", "empty": b""}[damage]
            file.write_bytes(cut)
    assert paths_of(source()) == [path]
    assert source().read(path) == data


def test_a_disk_that_takes_nothing_stops_nothing(library, tmp_path, source):
    library.document("/manifest.json", book(library, "a"))
    (tmp_path / "downloads").write_bytes(b"no folder")
    made = source()
    [path] = paths_of(made)
    assert size_of(made.read(path)) == (60, 40)
    assert [row["path"] for row in inventory(made)] == [path]


def test_pictures_that_a_manifest_no_longer_names_are_not_kept(library, source, tmp_path):
    library.document("/manifest.json", book(library, "a", "b"))
    made = source()
    for path in paths_of(made):
        made.read(path)
    assert len(list(tmp_path.rglob("*.answer"))) == 3
    library.document("/manifest.json", book(library, "a"))
    made = source()
    made.list()
    assert len(list(tmp_path.rglob("*.answer"))) == 3
    made.settle()
    assert len(list(tmp_path.rglob("*.answer"))) == 2
    unavailable(source(), "Book/0002 b.jpg")


def test_what_a_collection_no_longer_names_is_kept_until_a_refresh_takes_it_for_true(
    library, source
):
    """A library may cut its collection for a while, and a person be asked."""
    shelf(library, "a", "b")
    made = source("/collection")
    data = {path: made.read(path) for path in paths_of(made)}
    made.settle()
    shelf(library, "a")
    assert len(paths_of(source("/collection"))) == 1
    before = len(library.asked)
    assert {path: source("/collection").read(path) for path in data} == data
    shelf(library, "a", "b")
    made = source("/collection")
    assert {path: made.read(path) for path in paths_of(made)} == data
    assert not [path for path in library.paths_since(before) if path.startswith("/image")]


def test_a_server_that_lives_long_shows_what_another_process_has_refreshed(library, source):
    library.document("/manifest.json", book(library, "a", "b"))
    first = source()
    for path in paths_of(first):
        first.read(path)
    server = source()
    red = server.read("Book/0001 a.jpg")
    library.services["b"].colour = "blue"
    library.document("/manifest.json", book(library, "b", "a", "c"))
    second = source()
    for file in second.list().files:
        second.read(file.path, file)
    before = len(library.asked)
    assert server.read("Book/0001 a.jpg") == red  # not yet taken for true
    second.settle()
    unavailable(server, "Book/0001 a.jpg")
    assert server.read("Book/0002 a.jpg") == red
    assert server.read("Book/0003 c.jpg")
    assert library.paths_since(before) == []


def test_answers_leave_room_on_the_disk(library, source, tmp_path, monkeypatch):
    """Archives do, too; the project needs it for its tables."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**30))
    library.document("/manifest.json", book(library, "a"))
    made = source()
    assert made.read(*paths_of(made))
    assert not list(tmp_path.rglob("*.answer"))
    assert made.inventory()


def test_reading_again_asks_the_server_and_takes_what_has_changed(library, source):
    library.document("/manifest.json", book(library, "a"))
    [path] = paths_of(source())
    first = source().read(path)
    before = len(library.asked)
    assert source().read(path, again=True) == first
    assert library.asked[-1][1]["If-None-Match"] == '"a red"'
    library.services["a"].colour = "blue"
    assert source().read(path, again=True) != first
    assert source().read(path) != first
    assert len(library.asked) == before + 2


def test_a_look_asks_for_no_document_that_was_asked_for_lately(library, source, tmp_path):
    library.document("/manifest.json", book(library, "a"))
    before = source().list()
    assert source().list(max_age=3600) == before
    assert library.paths == ["/manifest.json"]
    for file in tmp_path.rglob("*.answer"):
        os.utime(file, (0, 0))
    for _ in range(2):
        assert source().list(max_age=3600) == before
    assert library.paths == ["/manifest.json"] * 2


# What servers may do.


def unavailable(source: ImageSource, path: str) -> UnavailableFile:
    with pytest.raises(UnavailableFile) as caught:
        source.read(path)
    assert len(caught.value.reason.splitlines()) == 1
    return caught.value


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
def test_a_picture_that_is_refused_is_that_pictures_fault(library, source, status):
    library.document("/manifest.json", book(library, "a", "b"))
    for end in ("full/max/0/default.jpg", "info.json"):
        library.sent[f"/image/a/{end}"] = Sent(status=status)
    made = source()
    first, second = paths_of(made)
    assert str(status) in unavailable(made, first).reason
    assert made.read(second)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_manifest_that_is_refused_is_the_sources_fault(library, source, status):
    library.sent["/manifest.json"] = Sent(status=status)
    with pytest.raises(UnavailableError, match=str(status)):
        source().list()


def test_a_member_that_cannot_be_had_counts_as_it_was(library, source):
    for name in ("a", "b"):
        library.document(f"/{name}", book(library, name, label=name))
    items = [{"type": "Manifest", "id": f"{library.url}/{name}"} for name in ("a", "b")]
    library.document("/collection", {"type": "Collection", "items": items})
    before = source("/collection").list().files
    assert len(before) == 2
    library.sent["/a"] = Sent(status=500)
    listing = source("/collection").list()
    assert listing.files == before and not listing.unreadable_folders
    assert "count as they were" in listing.warnings[0]
    assert len(inventory(source("/collection"))) == 2


def test_a_page_that_a_member_sends_instead_takes_no_place(library, source):
    library.document("/a", book(library, "a"))
    items = [{"type": "Manifest", "id": f"{library.url}/a"}]
    library.document("/collection", {"type": "Collection", "items": items})
    before = source("/collection").list().files
    library.sent["/a"] = Sent(b"<html>back soon", headers={"ETag": '"x"'})
    for _ in range(2):
        assert source("/collection").list().files == before
        assert source("/collection").list(max_age=3600).files == before


def test_a_member_that_was_never_had_leaves_open_what_is_gone_of_it_alone(library, source):
    shelf(library, "a", "b")
    library.sent["/a"] = Sent(status=403)
    listing = source("/collection").list()
    assert [file.path for file in listing.files] == ["b/0001 b.jpg"]
    assert listing.unreadable_folders == [""]  # nothing tells what was known before
    assert listing.left_out["unreadable"].folders == 1
    assert source("/collection").list().unreadable_folders == ["a/"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_member_that_is_not_there_leaves_nothing_open(library, source, status):
    shelf(library, "a", "b")
    library.sent["/a"] = Sent(status=status)
    listing = source("/collection").list()
    assert [file.path for file in listing.files] == ["b/0001 b.jpg"]
    assert listing.unreadable_folders == []
    assert listing.left_out["unreadable"].folders == 1


def test_a_collection_inside_that_was_never_had_leaves_open_what_is_in_no_other(library, source):
    shelf(library, "a", "b")
    made = source("/collection")
    made.list()
    made.settle()
    library.sent["/inner"] = Sent(status=403)
    items = [
        {"type": "Manifest", "id": f"{library.url}/a"},
        {"type": "Collection", "id": f"{library.url}/inner"},
    ]
    library.document("/collection", {"type": "Collection", "items": items})
    made = source("/collection")
    assert made.list().unreadable_folders == ["b/"]
    made.settle()
    assert source("/collection").list().unreadable_folders == ["b/"]
    assert source("/collection").read("b/0001 b.jpg")


def test_a_folder_keeps_its_name_whatever_becomes_of_others(library, source):
    """Two books of one label: the name says by its mark which is which."""
    for name in ("a", "b"):
        library.document(f"/{name}", book(library, name))
    members = [
        {"type": "Manifest", "id": f"{library.url}/{name}", "label": "Book"} for name in ("a", "b")
    ]
    library.document("/collection", {"type": "Collection", "items": members})
    there = library.sent.pop("/a")
    [second] = paths_of(source("/collection"))
    library.sent["/a"] = there
    both = paths_of(source("/collection"))
    assert second in both
    library.document("/collection", {"type": "Collection", "items": members[::-1]})
    assert paths_of(source("/collection")) == both
    library.document("/collection", {"type": "Collection", "items": members[1:]})
    made = source("/collection")
    assert paths_of(made) == [second]
    made.settle()
    assert paths_of(source("/collection")) == [second]


def test_a_book_that_comes_back_does_not_hide_the_one_that_got_its_name(library, source):
    library.document("/a", book(library, "a"))
    library.document("/b", book(library, "b", "c"))
    a, b = ({"type": "Manifest", "id": f"{library.url}/{name}"} for name in ("a", "b"))
    for members, nb_files in (([a], 1), ([b], 2), ([a, b], 3), ([b, a], 3)):
        library.document("/collection", {"type": "Collection", "items": members})
        assert len(paths_of(source("/collection"))) == nb_files


def test_labels_that_systems_use_for_what_they_leave_behind_are_labels(library, source):
    library.document("/manifest.json", book(library, "Thumbs.db", label="@eaDir"))
    assert paths_of(source()) == ["@eaDir/0001 Thumbs.db.jpg"]


def test_a_busy_library_is_not_asked_for_its_manifest_with_each_picture(library, source, impatient):
    """Nor for each picture: what puts off ten in a row is left alone for a while."""
    names = [f"p{number}" for number in range(40)]
    library.document("/manifest.json", book(library, *names))
    library.sent |= {f"/image/{name}/full/max/0/default.jpg": Sent(status=503) for name in names}
    made = source()
    paths = paths_of(made)
    for path in paths:
        unavailable(made, path)
    assert len([path for path in library.paths if path.startswith("/image")]) == 10 * 4
    assert library.paths.count("/manifest.json") < 10
    made.list()
    library.sent = {"/manifest.json": library.sent["/manifest.json"]}
    assert made.read(paths[0])


def test_a_server_that_is_busy_is_asked_again_after_the_wait_that_it_wants(
    library, source, impatient
):
    library.document("/manifest.json", book(library, "a"))
    calm = library.sent["/manifest.json"]
    assert isinstance(calm, Sent)
    library.sent["/manifest.json"] = [
        Sent(status=429, headers={"Retry-After": "0"}),
        Sent(status=503),
        calm,
    ]
    assert len(paths_of(source())) == 1
    assert library.paths == ["/manifest.json"] * 3


def test_a_wait_that_is_too_long_is_said_and_not_waited_for(library, source):
    library.sent["/manifest.json"] = Sent(status=429, headers={"Retry-After": "86400"})
    with pytest.raises(UnavailableError, match="asks to wait 86,400 s"):
        source().list()
    assert library.paths == ["/manifest.json"]


def test_a_library_that_goes_away_stops_the_reading_and_not_each_picture(
    library, source, impatient
):
    library.document("/manifest.json", book(library, *"abcdef"))
    made = source()
    paths = paths_of(made)
    assert made.read(paths[0])
    library.sent |= {f"/image/{name}/full/max/0/default.jpg": Sent(status=503) for name in "bcdef"}
    assert "503" in unavailable(made, paths[1]).reason  # the manifest is there
    library.sent["/manifest.json"] = Sent(status=503)
    with pytest.raises(UnavailableError):
        made.read(paths[2])
    assert made.read(paths[0])  # it is kept


def test_pictures_that_fail_in_a_row_do_not_keep_others_away(library, source, impatient):
    library.document("/manifest.json", book(library, *"abcdef"))
    made = source()
    paths = paths_of(made)
    library.sent |= {f"/image/{name}/full/max/0/default.jpg": Sent(status=503) for name in "abcde"}
    for path in paths[:5]:
        unavailable(made, path)
    assert made.read(paths[5])


def test_no_more_requests_go_out_at_once_than_are_allowed(library, source):
    library.document("/manifest.json", book(library, *"abcdefgh"))
    slow = threading.Event()

    def wait(name: str) -> Callable[[], Sent]:
        def answer() -> Sent:
            slow.wait(0.02)
            return library._image(f"/image/{name}/full/max/0/default.jpg")

        return answer

    library.sent |= {f"/image/{name}/full/max/0/default.jpg": wait(name) for name in "abcdefgh"}
    made = source()
    paths = paths_of(made)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(made.read, paths))
    assert library.most_at_once <= 2


def test_the_program_says_who_it_is(library, source):
    library.document("/manifest.json", book(library, "a"))
    source().list()
    assert library.asked[0][1]["User-Agent"].startswith("panoptic-assets/")


def test_redirects_are_followed_a_few_times(library, source):
    library.document("/there", book(library, "a"))
    library.sent["/manifest.json"] = Sent(status=302, headers={"Location": "/there"})
    assert len(paths_of(source())) == 1
    library.sent["/there"] = Sent(status=302, headers={"Location": "/manifest.json"})
    with pytest.raises(UnavailableError, match="sends on more than 5 times"):
        source().list()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///etc/passwd", "no address of http"),
        ("ftp://host/a.jpg", "no address of http"),
        ("gopher://127.0.0.1:70/", "no address of http"),
        ("//[::", "no address"),
        ("http://user:secret@host/a.jpg", "user or a password"),
        ("http://169.254.169.254/latest/meta-data/", "private network"),
        ("http://[fe80::1]/", "private network"),
    ],
)
def test_a_document_cannot_name_what_no_library_has(library, source, address, said):
    body = {"id": address, "type": "Image"}
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    made = source()
    [path] = paths_of(made)
    reason = unavailable(made, path).reason
    assert said in reason and "secret" not in reason
    library.sent["/image.jpg"] = Sent(status=307, headers={"Location": address})
    body = {"id": f"{library.url}/image.jpg", "type": "Image"}
    library.document("/manifest.json", manifest("B", canvas("1", body)))
    assert paths_of(made) == [path]
    assert "secret" not in unavailable(made, path).reason


def test_a_public_document_cannot_name_this_machine_or_its_network(library, monkeypatch):
    """Also where the name means another address when it is asked for than a moment before."""
    monkeypatch.setenv("no_proxy", "*")
    library.sent["/secret"] = Sent(jpeg())
    port = int(library.url.rpartition(":")[2])
    found = {"library.example": "93.184.215.14", "inside.example": "127.0.0.1"}
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, **options: [(2, 1, 6, "", (found.get(host, host), port or 0))],
    )
    web = Web("https://library.example/manifest.json")
    for host in ("127.0.0.1", "inside.example", "0.0.0.0", "10.1.2.3"):
        with pytest.raises(WebError, match="private network"):
            web.get(f"http://{host}:{port}/secret", 10**6, "*/*")
    found["library.example"] = "127.0.0.1"
    with pytest.raises(WebError, match="private network"):
        web.get(f"http://library.example:{port}/secret", 10**6, "*/*")
    assert not library.asked


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("64:ff9b::8.8.8.8", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("172.16.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("224.0.0.1", Reach.PRIVATE),
        ("255.255.255.255", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("::ffff:192.168.1.1", Reach.PRIVATE),
        ("64:ff9b::10.0.0.1", Reach.PRIVATE),
        ("2002:0a00:0001::", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK),
        ("fe80::1%eth0", Reach.LINK),
        ("::ffff:169.254.169.254", Reach.LINK),
        ("127.0.0.1", Reach.MACHINE),
        ("127.8.9.1", Reach.MACHINE),
        ("0.0.0.0", Reach.MACHINE),
        ("0.1.2.3", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("::", Reach.MACHINE),
        ("::ffff:127.0.0.1", Reach.MACHINE),
        ("64:ff9b::127.0.0.1", Reach.MACHINE),
        ("64:ff9b:1::8.8.8.8", Reach.PRIVATE),
        ("64:ff9b:1::a9fe:a9fe", Reach.LINK),
        ("::ffff:0:127.0.0.1", Reach.MACHINE),
        ("fec0::1", Reach.PRIVATE),
        ("fd00:ec2::254", Reach.LINK),
        ("100.100.100.200", Reach.LINK),
        ("168.63.129.16", Reach.LINK),
        ("192.0.0.192", Reach.LINK),
    ],
)
def test_addresses_are_as_private_as_they_are(address, reach):
    assert reach_of(address) == reach


def test_what_hands_out_secrets_of_machines_is_asked_only_where_a_person_names_it():
    for home in ("http://169.254.7.7/m", "http://10.0.0.1/m", "http://127.0.0.1/m"):
        web = Web(home, attempts=1)
        for host in ("169.254.169.254", "100.100.100.200", "[fd00:ec2::254]"):
            with pytest.raises(WebError, match="private network"):
                web.get(f"http://{host}/latest", 100, "*/*")
    assert Web("http://169.254.7.7/m")._is_allowed("169.254.7.8")
    assert Web("http://169.254.169.254/m")._is_allowed("169.254.169.254")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of library.example with its key, which nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "library.example")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("library.example")]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "library.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_a_server_must_have_the_certificate_of_its_name(certificate, monkeypatch):
    """The connection goes to an address, but what must be proved is the name."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *rest, **options: [(2, 1, 6, "", ("127.0.0.1", port or 0))],
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with libraries.opened(context) as library:
        port = library.url.rpartition(":")[2]
        library.sent["/manifest.json"] = Sent(b"{}")

        def body(name: str) -> bytes:
            url = f"https://{name}:{port}/manifest.json"
            return Web(url, attempts=1).get(url, 100, "*/*").body

        with pytest.raises(WebError, match="certificate"):
            body("library.example")
        assert not library.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert body("library.example") == b"{}"
        assert library.asked[0][1]["Host"] == f"library.example:{port}"
        with pytest.raises(WebError, match="certificate"):
            body("other.example")


def test_a_proxy_is_asked_where_the_environment_names_one(library, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", library.url)
    url = "http://library.example/manifest.json"
    library.sent[url] = Sent(b"{}")
    web = Web(url, attempts=1)
    assert web.get(url, 100, "*/*").body == b"{}"
    for inside in ("http://10.0.0.1/", "http://printer/", f"{library.url}/"):
        with pytest.raises(WebError, match="private network"):
            web.get(inside, 100, "*/*")
    assert library.paths == [url]


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue()


def test_a_page_for_people_instead_of_a_picture_is_not_the_last_word(library, source):
    library.document("/manifest.json", book(library, "a"))
    address = "/image/a/full/max/0/default.jpg"
    made = source()
    [path] = paths_of(made)
    for body in (b"<!DOCTYPE html><title>Log in</title>", b"{}", b"", b"GIF9"):
        library.sent[address] = Sent(body, headers={"Content-Type": "text/html"})
        unavailable(made, path)
    del library.sent[address]
    assert size_of(made.read(path)) == (60, 40)


def test_an_answer_is_no_longer_than_allowed_packed_or_not(library, tmp_path):
    library.document("/manifest.json", book(library, "a"))
    address = "/image/a/full/max/0/default.jpg"
    source = ImageSource(
        root=f"{library.url}/manifest.json", storage_options={"pause": 0}, max_bytes=1000
    )
    [path] = paths_of(source)
    bomb = gzip.compress(bytes(50_000_000))
    for sent in (
        Sent(jpeg() + bytes(10_000)),
        Sent(jpeg(), headers={"Content-Length": "99999999999"}),
        Sent(bomb, headers={"Content-Encoding": "gzip"}),
    ):
        library.sent[address] = sent
        assert "1,000 bytes" in reason_of(lambda: source.read(path))


def test_an_answer_that_ends_too_early_is_no_answer(library, source, impatient):
    library.document("/manifest.json", book(library, "a"))
    made = source()
    [path] = paths_of(made)
    cut = Sent(jpeg()[:-20], headers={"Content-Length": str(len(jpeg()))})
    library.sent["/image/a/full/max/0/default.jpg"] = cut
    assert "ended before" in unavailable(made, path).reason


def test_headers_that_never_end_are_given_up(library, monkeypatch):
    monkeypatch.setattr("resources.web._HEAD_SECONDS", 0.1)
    library.sent["/manifest.json"] = Sent(drips=True)
    url = f"{library.url}/manifest.json"
    with pytest.raises(WebError, match="ended before"):
        Web(url, attempts=1).get(url, 100, "*/*")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    ],
    ids=["headers", "size of a chunk", "extension of a chunk", "trailers", "body", "long body"],
)
def test_an_answer_that_drips_is_given_up_wherever_it_does(monkeypatch, first, then):
    monkeypatch.setattr("resources.web._HEAD_SECONDS", 0.1)
    monkeypatch.setattr("resources.web._WHOLE_SECONDS", 0.1)

    def drip(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(then)
            time.sleep(0.01)

    with raw_server(drip) as url, pytest.raises(WebError, match="in time|ended before"):
        Web(url, attempts=1).get(url, 10**6, "*/*")


def test_headers_that_are_cut_off_are_no_empty_answer():
    cut = b"HTTP/1.1 200 OK\r\na: b\r\n"
    with (
        raw_server(lambda each: each.sendall(cut)) as url,
        pytest.raises(WebError, match="ended before"),
    ):
        Web(url, attempts=1).get(url, 100, "*/*")


@contextlib.contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that writes what it likes to the one who asks; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(10_000)
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


def test_a_server_that_refuses_connections_is_not_called_slow():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    with pytest.raises(WebError, match="cannot be reached: Connection refused"):
        Web(url, attempts=1).get(url, 100, "*/*")


def test_a_proxy_of_another_kind_is_refused_plainly(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "socks5://me:geheim@127.0.0.1:9")
    with pytest.raises(WebError, match="proxy .* socks5") as caught:
        Web("https://93.184.216.34/m").get("https://93.184.216.34/m", 100, "*/*")
    assert "geheim" not in str(caught.value)


def test_a_packed_manifest_is_unpacked(library, source):
    body = gzip.compress(json.dumps(book(library, "a")).encode())
    library.sent["/manifest.json"] = Sent(body, headers={"Content-Encoding": "gzip"})
    assert len(paths_of(source())) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"[]," * 2_000_001 + b"1]", "2,000,000 lists"),
        (b"[]", "no manifest"),
        (b'{"type": "Canvas"}', "but Canvas"),
        (b'{"type": {"a": 1}}', "no manifest"),
        (b"null", "no manifest"),
        (b"x" * (iiif_manifest.MAX_BYTES + 1), "more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_manifest_is_said_in_one_line(library, source, body, said):
    library.sent["/manifest.json"] = Sent(body)
    with pytest.raises(UnavailableError, match=said) as caught:
        source().list()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        {"items": [None, 3, "x", [], {"type": "Canvas", "items": [None, {"items": [3, {}]}]}]},
        {"items": [{"type": "Canvas", "items": 5, "label": {"en": 3, "fr": None}}]},
        {"items": [{"type": "Canvas", "items": [{"items": [{"body": [[[[[[{}]]]]]]}]}]}]},
        {"items": {"type": "Canvas"}, "label": [1, None, {"@value": ["x"]}]},
        {"metadata": [{"label": 1, "value": {"en": [None]}}, None, "x"], "rights": {"x": []}},
        {"sequences": [{"canvases": [{"images": [{"resource": "x"}, None]}]}], "navDate": []},
    ],
)
def test_a_manifest_of_nonsense_is_an_empty_one(library, source, content):
    library.document("/manifest.json", {"type": "Manifest", "label": "B", **content})
    assert not source().list().files


@pytest.mark.parametrize("address", ["http://[", "\ud800", "http://x y/", "a/b", "http://\ud800/"])
def test_addresses_that_are_none_are_a_pictures_fault(library, source, address):
    service = {"id": address, "type": "ImageService3", "profile": "level2"}
    bodies = [{"type": "Image", "service": [service]}, {"type": "Image", "id": address}]
    library.document("/a", manifest("B", *(canvas(None, body) for body in bodies), id=address))
    items = [{"id": each, "type": "Manifest"} for each in (f"{library.url}/a", address)]
    library.document("/collection", {"type": "Collection", "items": items})
    made = source("/collection")
    for path in paths_of(made):
        unavailable(made, path)


@pytest.mark.parametrize("broken", ["width", "height", "service", "format", "id"])
@pytest.mark.parametrize("value", [None, -1, 1e99, "x" * 5000, [], {}, [[]], True])
def test_a_body_with_a_senseless_field_breaks_nothing(library, source, broken, value):
    body = {**library.image("a", 60, 40), broken: value}
    library.document("/manifest.json", manifest("B", canvas("1", body), canvas("2", body)))
    made = source()
    for path in paths_of(made):
        assert size_of(made.read(path)) == (60, 40)


def test_more_canvases_than_can_be_taken_are_refused_in_one_line(library, source, monkeypatch):
    monkeypatch.setattr(iiif_folder, "MAX_CANVASES", 3)
    library.document("/manifest.json", book(library, *"abcd"))
    with pytest.raises(InputError, match="more than"):
        source().list()


def test_collections_without_end_are_refused_in_one_line(library, source, monkeypatch):
    for number in range(20):
        inner = {"id": f"{library.url}/{number + 1}/collection", "type": "Collection"}
        library.document(f"/{number}/collection", {"type": "Collection", "items": [inner]})
    with pytest.raises(InputError, match="more than 8 deep"):
        source("/0/collection").list()
    monkeypatch.setattr(iiif_folder, "MAX_MANIFESTS", 5)
    for number in range(20):
        following = {"type": "Collection", "next": f"{library.url}/{number + 1}/collection"}
        library.document(f"/{number}/collection", following)
    with pytest.raises(InputError, match="more than 5 manifests"):
        source("/0/collection").list()


def test_five_members_in_a_row_that_cannot_be_reached_are_a_library_that_is_away(
    library, source, impatient
):
    names = [str(number) for number in range(9)]
    shelf(library, *names)
    library.sent |= {f"/{name}": Sent(status=503) for name in names}
    with pytest.raises(UnavailableError, match="503"):
        source("/collection").list()
    assert len(set(library.paths)) == 6


@pytest.mark.parametrize("status", [401, 403, 404])
def test_members_that_are_refused_keep_no_others_away(library, source, status):
    """Restricted books stand together in a collection, and are so for ever."""
    names = [str(number) for number in range(9)]
    shelf(library, *names)
    library.sent |= {f"/{name}": Sent(status=status) for name in names[:7]}
    assert paths_of(source("/collection")) == ["7/0001 7.jpg", "8/0001 8.jpg"]


def test_members_of_which_all_is_kept_may_be_away_in_any_number(library, source, impatient):
    names = [str(number) for number in range(9)]
    shelf(library, *names)
    before = source("/collection").list().files
    library.sent |= {f"/{name}": Sent(status=503) for name in names}
    listing = source("/collection").list()
    assert listing.files == before and not listing.unreadable_folders


@pytest.mark.parametrize(
    ("root", "options", "said"),
    [
        ("https://user:geheim@x.org/manifest.json", {}, "user or a password"),
        ("https://user:geheim@x.org/manifest.json", {"size": 0}, "user or a password"),
        ("iiif+https:///manifest.json", {}, "no address of a IIIF manifest"),
        ("iiif+https://[::/manifest.json", {}, "no address of a IIIF manifest"),
        ("https://x.org/manifest.json", {"size": 0}, "size"),
        ("https://x.org/manifest.json", {"anon": True}, "anon"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anybody_is_asked(root, options, said):
    source = ImageSource(root=root, storage_options=options)
    with pytest.raises(InputError, match=said) as caught:
        source.check()
    assert "geheim" not in str(caught.value)


def test_what_an_address_says_to_its_server_alone_is_shown_to_nobody(library, source):
    library.sent["/manifest.json?token=geheim"] = Sent(status=404)
    made = source("/manifest.json?token=geheim")
    with pytest.raises(UnavailableError) as caught:
        made.list()
    assert "geheim" not in f"{caught.value} {made.place}"


def test_nor_is_the_query_of_a_folder_of_the_web(library):
    made = ImageSource(root=f"{library.url}/scans?token=geheim")
    library.sent["/scans?token=geheim"] = Sent(status=404)
    with pytest.raises(UnavailableError) as caught:
        made.list()
    assert "geheim" not in f"{caught.value} {made.place}"
    assert ImageSource(root="s3://bucket/a?b").place == "s3://bucket/a?b"


# The inventory.


def test_labels_and_metadata_are_an_inventory(library, source):
    pairs = [
        {"label": {"en": ["Author"], "fr": ["Auteur"]}, "value": {"none": ["Eco", "<b>Bo</b>"]}},
        {"label": {"en": ["Date"]}, "value": {"en": ["1450"]}},
        {"label": "Rights", "value": "x"},
        {"label": "Size [cm]", "value": "30"},
    ]
    content = manifest(
        {"fr": ["Livre > heures"]},
        canvas("f. 1r", library.image("a", 9, 9), metadata=[{"label": "DATE", "value": "1460"}]),
        canvas("f. 1v", library.image("b", 9, 9), navDate="1461-01-01T00:00:00Z"),
        metadata=pairs,
        rights="http://creativecommons.org/licenses/by/4.0/",
        requiredStatement={"label": "Attribution", "value": {"en": ["<p>Library</p>"]}},
        navDate="1450-01-01T00:00:00Z",
        thumbnail=[{"id": "x"}],
    )
    library.document("/manifest.json", content)
    made = source()
    assert made.inventory() is None
    paths = paths_of(made)
    first, second = inventory(made)
    assert [first["path"], second["path"]] == paths
    assert first == {
        "path": paths[0],
        "manifest[tag]": "Livre › heures",
        "canvas[text]": "f. 1r",
        "rights[tag]": "http://creativecommons.org/licenses/by/4.0/",
        "required statement[text]": "Library",
        "date[date]": "1450-01-01T00:00:00Z",
        "DATE (metadata)": "1460",
        "Auteur": "Eco; Bo",
        "Rights (metadata)": "x",
        "Size [cm][text]": "30",
    }
    assert (second["DATE (metadata)"], second["date[date]"]) == ("1450", "1461-01-01T00:00:00Z")


def test_the_inventory_is_written_only_where_it_differs(library, source):
    library.document("/manifest.json", book(library, "a"))
    made = source()
    made.list()
    path = made.inventory()
    assert path
    os.utime(path, (1, 1))
    source().list()
    assert path.stat().st_mtime == 1


def test_values_without_end_leave_a_table_that_can_be_read(library, source, monkeypatch):
    """Each canvas repeats what is said of its manifest."""
    monkeypatch.setattr(iiif_folder, "_MAX_CHARACTERS", 20_000)
    long = [{"label": f"{number} é " + "x" * 500, "value": '">' * 50_000} for number in range(100)]
    twice = [{"label": name, "value": name} for name in ("\u00e9", "e\u0301", "\u00c9", "Path")]
    bodies = [library.image(name, 9, 9) for name in "abc"]
    content = manifest('">' * 500, *(canvas("1", body) for body in bodies), metadata=twice + long)
    library.document("/manifest.json", content)
    made = source()
    paths = paths_of(made)
    path = made.inventory()
    assert path
    found = parse_inventory(path.read_bytes())
    assert found.files == paths and not found.findings.total
    assert max(len(str(value)) for column in found.columns for value in column.values) <= 200
    assert [column.property.name for column in found.columns][5:7] == ["\u00e9", "Path (metadata)"]


def test_columns_without_end_are_cut(library, source):
    many = [{"label": f"label {number}", "value": "x"} for number in range(1000)]
    library.document(
        "/manifest.json", manifest("B", canvas("1", library.image("a", 9, 9)), metadata=many)
    )
    made = source()
    made.list()
    assert len(inventory(made)[0]) <= 256


def test_a_folder_without_a_place_to_keep_anything_works(library):
    library.document("/manifest.json", book(library, "a"))
    made = ImageSource(root=f"{library.url}/manifest.json", storage_options={"pause": 0})
    [path] = paths_of(made)
    assert made.read(path) == made.read(path)
    assert library.paths.count("/image/a/full/max/0/default.jpg") == 2
    assert [row["path"] for row in inventory(made)] == [path]
    assert made.local_root is None
    assert isinstance(made._folder, IiifFolder)
