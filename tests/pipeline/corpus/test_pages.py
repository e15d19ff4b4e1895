"""Files that hold several pictures, from the folder to what people see and take along."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from panoptic_assets.corpus.accounting import read_left_out
from panoptic_assets.corpus.open_questions import note_question, open_questions
from panoptic_assets.corpus.table import image_names, read_others
from panoptic_assets.labels.pictures import Pictures
from panoptic_assets.tags.exchange.picture_export import write_pictures
from resources import source
from resources.errors import UnreadableImage, message
from resources.project_folder import find
from resources.source import ImageSource
from tests.pictures import SAMPLE
from tests.workbench import Workbench, metadata

COLOURS = ("red", "lime", "blue")


def booklet(path, *pages):
    """A TIFF of several pages."""
    first, *others = pages
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, "TIFF", save_all=True, append_images=others)


def plain(colour, side=60):
    return Image.new("RGB", (side, side), colour)


def every_page(bench):
    """Makes each page of a file an image."""
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("pages: largest", "pages: all"))
    return Workbench(find(bench.project.folder), bench.instance)


@pytest.fixture
def corpus(empty_bench):
    bench = empty_bench()
    folder = Path(bench.project.images)
    booklet(folder / "in" / "livret.tif", *map(plain, COLOURS))
    shutil.copyfile(sorted(SAMPLE.rglob("*.jpg"))[0], folder / "photo.jpg")
    return bench, folder


def files(bench):
    rows = bench.read.files().to_pylist()
    return {row["path"]: row for row in rows if row["status"] == "present"}


def colour_of(bench, image_id):
    [row] = bench.store.read("images", ["mean_colour"], f"image_id = '{image_id}'").to_pylist()
    return row["mean_colour"]


def test_the_number_of_pages_is_stored_and_the_largest_page_is_the_image(corpus):
    bench, folder = corpus
    booklet(folder / "thumb.tif", plain("white", 8), plain("blue", 80))
    bench.make("images")
    found = files(bench)
    assert {path: row["nb_pages"] for path, row in found.items()} == {
        "in/livret.tif": 3,
        "photo.jpg": 1,
        "thumb.tif#page=2": 2,
    }
    assert colour_of(bench, found["thumb.tif#page=2"]["image_id"]) == "#0000ff"
    sha256 = hashlib.sha256((folder / "in/livret.tif").read_bytes()).hexdigest()
    assert found["in/livret.tif"]["image_id"] == sha256


def test_each_page_is_an_image_where_the_project_says_so(corpus):
    """The id of page n is a hash of the file's and n; page 1 keeps the file's."""
    bench, folder = corpus
    bench.make("images")
    bench = every_page(bench)
    given = metadata(bench.run("images"), "images")
    assert (given["nb_files_read"], given["nb_added"]) == (1, 2)
    sha256 = hashlib.sha256((folder / "in/livret.tif").read_bytes()).hexdigest()
    later = {page: hashlib.sha256(f"{sha256}#{page}".encode()).hexdigest() for page in (2, 3)}
    found = files(bench)
    assert {path: row["image_id"] for path, row in found.items() if "livret" in path} == {
        "in/livret.tif": sha256,
        "in/livret.tif#page=2": later[2],
        "in/livret.tif#page=3": later[3],
    }
    colours = [colour_of(bench, image_id) for image_id in (sha256, later[2], later[3])]
    assert colours == ["#ff0000", "#00ff00", "#0000ff"]
    assert metadata(bench.run("images"), "images")["nb_files_read"] == 0

    bench.make("embeddings", "mini")
    vectors = set(bench.read.vectors()["image_id"].to_pylist())
    assert vectors == {row["image_id"] for row in found.values()}
    bench.make("clustering", "all", method={"kmeans": {"nb_clusters": 2}})
    [verdict] = bench.read.verify("all")
    [pixels] = [link for link in verdict["links"] if link["name"] == "pixels"]
    assert pixels["state"] == "same"


def test_pages_follow_their_file(corpus):
    """Moved, shortened, gone and back: no page is left behind or doubled."""
    bench, folder = corpus
    bench = every_page(bench)
    bench.make("images")
    (folder / "in/livret.tif").rename(folder / "ailleurs.tif")
    given = metadata(bench.run("images"), "images")
    assert (given["nb_moved"], given["nb_missing"]) == (3, 0)
    booklet(folder / "ailleurs.tif", *map(plain, COLOURS[:2]))
    bench.make("images")
    assert sorted(files(bench)) == ["ailleurs.tif", "ailleurs.tif#page=2", "photo.jpg"]
    (folder / "ailleurs.tif").rename(folder.parent / "away.tif")
    bench.make("images")
    assert sorted(files(bench)) == ["photo.jpg"]
    (folder.parent / "away.tif").rename(folder / "ailleurs.tif")
    bench.make("images")
    assert sorted(files(bench)) == ["ailleurs.tif", "ailleurs.tif#page=2", "photo.jpg"]


def test_one_damaged_page_does_not_take_the_others_along(corpus, monkeypatch):
    decode = source.decode

    def failing(data, *given, **named):
        if given[2] == 2 if len(given) > 2 else named.get("page") == 2:
            raise UnreadableImage("damaged page")
        return decode(data, *given, **named)

    monkeypatch.setattr(source, "decode", failing)
    bench, _ = corpus
    bench = every_page(bench)
    bench.make("images")
    assert sorted(files(bench)) == ["in/livret.tif", "in/livret.tif#page=3", "photo.jpg"]
    rows = {row["path"]: row for row in bench.read.files().to_pylist()}
    assert rows["in/livret.tif#page=2"]["reason"] == "damaged page"
    assert metadata(bench.run("images"), "images")["nb_files_read"] == 0


def test_the_name_of_a_file_means_the_page_that_is_its_image_now(corpus):
    """Another file took its place, whose first page is a thumbnail."""
    bench, folder = corpus
    booklet(folder / "t.tif", plain("white", 60))
    bench.make("images")
    booklet(folder / "t.tif", plain("red", 8), plain("blue", 80))
    bench.make("images")
    found = files(bench)["t.tif#page=2"]["image_id"]
    assert image_names(bench.store, "").one("t.tif") == found


def test_an_animation_without_end_is_refused_where_each_frame_would_be_an_image(corpus):
    bench, folder = corpus
    frames = [Image.new("L", (2, 2), n % 256).convert("P") for n in range(501)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], disposal=2)
    bench.make("images")
    assert files(bench)["a.gif"]["nb_pages"] > 500
    bench = every_page(bench)
    bench.make("images")
    [row] = [row for row in bench.read.files().to_pylist() if row["path"] == "a.gif"]
    assert "frames" in row["reason"]


def test_a_page_is_found_by_its_path_and_a_pattern_of_its_file_takes_all(corpus):
    bench, _ = corpus
    bench = every_page(bench)
    for asset in (("images",), ("embeddings", "mini")):
        bench.make(*asset)
    read = bench.read
    found = {row["path"]: row["image_id"] for row in files(bench).values()}
    scope = {"files": {"pattern": "*.tif"}}
    assert len(read.images_in(scope)) == 3
    similar = read.search(similar_to="in/livret.tif#page=2", number=5).to_pylist()
    assert (similar[0]["path"], len(similar)) == ("in/livret.tif#page=2", 4)
    assert found["in/livret.tif#page=2"] == similar[0]["image_id"]


def test_a_line_of_the_inventory_speaks_of_all_pages_of_its_file(corpus):
    bench, _ = corpus
    bench = every_page(bench)
    inventory = bench.project.folder / "inventaire.csv"
    inventory.write_text(
        "path;lieu;folio\nlivret.tif;Étampes;\nin/livret.tif#page=3;;verso\n", encoding="utf-8"
    )
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: ''", "metadata: inventaire.csv"))
    bench = every_page(bench)
    bench.make("images")
    given = metadata(bench.run("inventory"), "inventory")
    assert given["nb_unmatched"] == 0
    rows = bench.store.read("property_values", ["image_id", "property", "text"]).to_pylist()
    paths = {row["image_id"]: path for path, row in files(bench).items()}
    assert sorted((row["property"], paths[row["image_id"]]) for row in rows) == [
        ("folio", "in/livret.tif#page=3"),
        ("lieu", "in/livret.tif"),
        ("lieu", "in/livret.tif#page=2"),
        ("lieu", "in/livret.tif#page=3"),
    ]


def test_pages_are_exported_as_pictures_of_their_own_and_the_original_once(corpus, tmp_path):
    bench, _ = corpus
    bench = every_page(bench)
    bench.make("images")
    pictures = Pictures.of(bench.store, ImageSource(root=bench.project.images))
    ids = sorted(row["image_id"] for path, row in files(bench).items() if "livret" in path)
    assert write_pictures(tmp_path / "small.zip", ids, pictures, "512") == 3
    with zipfile.ZipFile(tmp_path / "small.zip") as box:
        names = sorted(name for name in box.namelist() if name.startswith("in/"))
        assert names == ["in/livret-page-2.jpg", "in/livret-page-3.jpg", "in/livret.jpg"]
        with box.open("in/livret-page-3.jpg") as file:
            red, _, blue = Image.open(file).convert("RGB").getpixel((5, 5))
            assert blue > 200 > red
    assert write_pictures(tmp_path / "whole.zip", ids, pictures, "original") == 3
    with zipfile.ZipFile(tmp_path / "whole.zip") as box:
        assert [name for name in box.namelist() if name.startswith("in/")] == ["in/livret.tif"]


@pytest.mark.parametrize("page", ["", "#page=2"])
def test_a_page_that_was_forgotten_stays_out_and_the_others_stay(corpus, page):
    bench, _ = corpus
    bench = every_page(bench)
    for asset in (("images",), ("embeddings", "mini")):
        bench.make(*asset)
    bench.read.forget(f"in/livret.tif{page}", reason="portrait")
    bench.make("images")
    left = {"in/livret.tif", "in/livret.tif#page=2", "in/livret.tif#page=3", "photo.jpg"}
    assert set(files(bench)) == left - {f"in/livret.tif{page}"}
    if not page:  # without its first page, nothing tells which pages are forgotten but reading it
        assert read_left_out(bench.store)["forgotten"].files == 1
    assert len(bench.read.images()) == 3


def test_forgetting_a_page_touches_no_name_of_another_and_says_which_others_there_are(corpus):
    bench, _ = corpus
    bench = every_page(bench)
    for asset in (("images",), ("embeddings", "mini")):
        bench.make(*asset)
    second, third = "in/livret.tif#page=2", "in/livret.tif#page=3"
    scope = {"similar": {"image": second, "nb_images": 3}}
    bench.make("clustering", "near", scope=scope, method={"kmeans": {"nb_clusters": 2}})
    bench.read.tag("verso", images=[second], property="side", reason=f"as {second}")
    pages = {path: row["image_id"] for path, row in files(bench).items()}
    [done] = bench.read.forget("in/livret.tif", reason=f"in/livret.tif, not {second}")
    assert done.certificate.reason == f"(forgotten), not {second}"
    [record] = bench.store.read("records", ["content"])["content"].to_pylist()
    assert second in record
    assert {event["reason"] for event in bench.read.tag_log()} == {f"as {second}"}
    told = f"page 2 (image {pages[second][:12]}), page 3 (image {pages[third][:12]})"
    assert any(what.endswith(told) for what in done.certificate.outside)


def test_a_file_whose_only_image_is_forgotten_loses_its_name(corpus):
    """Its image is its second page; the first, which is small, comes in with `pages: all`."""
    bench, folder = corpus
    booklet(folder / "thumb.tif", plain("white", 8), plain("blue", 80))
    notes = bench.project.folder / "notes"
    notes.mkdir()
    shutil.copyfile(folder / "thumb.tif", notes / "copy.tif")
    (notes / "thumb.tif").write_text("another file")
    (notes / "todo.txt").write_text("look at thumb.tif again")
    bench.make("images")
    [done] = bench.read.forget("thumb.tif", reason="as in thumb.tif")
    assert done.certificate.reason == "as in (forgotten)"
    outside = "\n".join(done.certificate.outside)
    for what in (
        "1 of its files in the images' folder",
        "1 page that is no image of the corpus now",
        "the file notes/copy.tif",
        "the file notes/todo.txt",
        "a file of one of its names in the folder notes",
    ):
        assert what in outside


def test_a_file_that_is_no_image_any_more_is_forgotten_in_all_tables(corpus):
    """Where its path is the key, in the list of what was left out, and in an open question."""
    bench, folder = corpus
    plain("red").save(folder / "scan0001", "PNG")
    bench.make("images")
    (folder / "scan0001").write_bytes(b"8BPS\0\1" + b"x" * 5000)
    bench.make("images")
    asked = message("Is {path} gone?", id="question-of-a-test", path="scan0001")
    note_question(bench.store, "files", asked)
    assert read_left_out(bench.store)["foreign"].first == ["scan0001"]
    bench.read.forget("scan0001")
    assert read_others(bench.store) == {}
    assert read_left_out(bench.store)["foreign"].first == []
    [question] = open_questions(bench.store)
    assert question.text == "Is (forgotten) gone?"
    assert "scan0001" not in bench.read.files()["path"].to_pylist()


def test_folders_hold_later_pages_as_pictures_of_their_own(corpus, tmp_path):
    """Linked or copied: else each of 300 pages would be the whole booklet."""
    bench, folder = corpus
    bench = every_page(bench)
    bench.make("images")
    pages = [path for path in files(bench) if "livret" in path]
    bench.read.tag("book", images=pages, property="kind")
    for copy in (False, True):
        tree = tmp_path / f"copy-{copy}"
        bench.read.export(tree, property="kind", format="folders", copy=copy)
        found = {path.name: path for path in (tree / "book").iterdir()}
        assert sorted(found) == ["livret-page-2.png", "livret-page-3.png", "livret.tif"]
        for name, colour in (("livret-page-2.png", "lime"), ("livret-page-3.png", "blue")):
            assert not found[name].is_symlink()
            assert Image.open(found[name]).tobytes() == plain(colour).tobytes()
        assert found["livret.tif"].is_symlink() is not copy
        assert found["livret.tif"].read_bytes() == (folder / "in/livret.tif").read_bytes()
