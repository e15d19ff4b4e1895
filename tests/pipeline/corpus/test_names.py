"""Which image a name means: every spelling of it, what is refused, and every door."""

import posixpath
import unicodedata
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.cli.main import main
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.selection import select
from panoptic_assets.corpus import inventory
from panoptic_assets.corpus.names import ImageNames
from panoptic_assets.corpus.table import image_names, present_files
from panoptic_assets.features import imported_vectors
from panoptic_assets.project import Project
from panoptic_assets.spec.resolution import parse
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.editing import check_edits
from panoptic_assets.tags.exchange.transfer import import_tags, saved_tags
from panoptic_assets.upkeep.forgetting import find_images
from resources.errors import InputError
from resources.models import OpenClipModels
from resources.registry import Registry
from tests.pipeline.corpus.test_spellings import (
    EPOQUE,
    IDS,
    IMAGE_DOORS,
    PATH,
    made_project,
    nfc,
    nfd,
    store_of,
)

A, B, C, D, E, F = ("0123456789abcdef" + letter * 48 for letter in "abcdef")
ROOT = "/srv/Bilder"
FILES = {
    nfd("Époque/été.jpg"): A,
    "Époque/100%25.jpg": B,
    "odd\\name.jpg": C,
    "a b/img.jpg": D,
    "a b/copy.jpg": D,
    " spaced.jpg ": E,
    "broken.jpg": "",
}


@pytest.fixture(scope="module")
def known():
    return ImageNames(FILES, [F], ROOT)


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        # ids
        (A, A),
        (A.upper(), A),
        (f" {A}\t", A),
        (A[:17], A),
        (F[:17].upper(), F),
        # paths as they are stored, or otherwise
        (nfd("Époque/été.jpg"), A),
        (nfc("Époque/été.jpg"), A),
        ("./" * 3 + nfc("Époque/été.jpg"), A),
        (".//Époque///été.jpg", A),
        ("Époque/./été.jpg", A),
        (".\\Époque\\été.jpg", A),
        (" Époque/été.jpg ", A),
        ("Époque/../Époque/été.jpg", A),
        ("Époque\\..\\Époque\\été.jpg", A),
        ("a b/../Époque/../a b/img.jpg", D),
        ("odd\\name.jpg", C),
        ("./odd\\name.jpg", C),
        ("odd/name.jpg", C),
        (" spaced.jpg ", E),
        ("./ spaced.jpg ", E),
        ("broken.jpg", ""),
        # whole paths
        (f"{ROOT}/Époque/été.jpg", A),
        (f"{ROOT}//./Époque/été.jpg", A),
        (f"{ROOT}/../Bilder/Époque/été.jpg", A),
        (f"{ROOT}/Époque/../a b/img.jpg", D),
        ("\\srv\\Bilder\\a b\\img.jpg", D),
        (f"{ROOT}/odd\\name.jpg", C),
        (f"file://{ROOT}/a b/img.jpg", D),
        (f"file://{ROOT}/a%20b/img.jpg", D),
        (f"file://localhost{ROOT}/a%20b/img.jpg", D),
        (f"FILE://LocalHost{ROOT}/a%20b/img.jpg", D),
        (f"file:{ROOT}/%C3%89poque/%C3%A9t%C3%A9.jpg", A),
        # percents
        ("%C3%89poque/%C3%A9t%C3%A9.jpg", A),
        (quote(nfd("Époque/été.jpg")), A),
        ("a%20b%2Fimg.jpg", D),
        ("Époque/100%25.jpg", B),
        ("%C3%89poque/100%2525.jpg", B),
        (f"file://{ROOT}/Époque/100%25.jpg", B),
        (f"file://{ROOT}/%C3%89poque/100%2525.jpg", B),
        # none
        ("", None),
        (".", None),
        ("/", None),
        ("a b", None),
        ("a b/", None),
        ("a b/img.jpg/", None),
        ("img.jpg", None),
        ("a b/img", None),
        (A[:7], None),
        (A[:-1] + "x", None),
        ("0" * 64, None),
        ("../Bilder/a b/img.jpg", None),
        ("a b/../../Bilder/a b/img.jpg", None),
        ("nowhere/../a b/img.jpg", None),
        ("a b/img.jpg/../img.jpg", None),
        ("/a b/img.jpg", None),
        ("/srv/a b/img.jpg", None),
        ("/srv/Bilder2/a b/img.jpg", None),
        (f"{ROOT}/../a b/img.jpg", None),
        (f"file://elsewhere{ROOT}/a b/img.jpg", None),
        (f"https://elsewhere{ROOT}/a b/img.jpg", None),
        ("..%2Fa%20b/img.jpg", None),
        ("a%20b/img.jpg%00", None),
        ("%FF.jpg", None),
        ("a b/img.jpg\0", None),
        ("\ud800/img.jpg", None),
    ],
)
def test_a_name_means_an_image(known, name, image_id):
    assert known.find(name) == image_id
    assert known.notes == []
    if image_id is None:
        with pytest.raises(InputError, match="There is no image"):
            known.one(name)


@pytest.mark.parametrize(
    "name",
    [
        "époque/ÉTÉ.JPG",
        f"file://{ROOT}/%C3%A9POQUE/été.JPG",
        f"{ROOT}/ÉPOQUE/été.jpg",
        "époque\\été.jpg",
    ],
)
def test_another_letter_case_is_taken_last_and_said(name):
    known = ImageNames(FILES, folder=ROOT)
    assert known.find_as_written(name) is None
    assert known.find(name) == A
    assert known.notes == [f"{name!r} was taken for {nfd('Époque/été.jpg')!r}."]


def test_an_exact_name_is_not_taken_for_one_in_another_letter_case():
    known = ImageNames({"img.jpg": A, "IMG.JPG": B})
    assert (known.find("img.jpg"), known.find("IMG.JPG"), known.notes) == (A, B, [])


def test_a_name_that_several_files_have_in_another_letter_case_is_refused_with_them():
    known = ImageNames({"img.jpg": A, "IMG.JPG": B})
    with pytest.raises(InputError) as caught:
        known.find("Img.jpg")
    message = str(caught.value)
    assert "'Img.jpg' may be 'IMG.JPG' (image 0123456789ab) and 'img.jpg'" in message
    assert "letter case" in message
    assert known.find("Img.jpg", refuse=False) is None
    assert known.notes == [f"Left out: {message}"]


def test_files_that_differ_in_letter_case_and_hold_one_image_are_that_image():
    known = ImageNames({"img.jpg": A, "IMG.JPG": A})
    assert known.find("Img.jpg") == A
    assert known.notes == ["'Img.jpg' was taken for 'IMG.JPG'."]


def test_the_beginning_of_several_ids_is_refused_with_both(known):
    with pytest.raises(InputError) as caught:
        known.find(A[:8])
    message = str(caught.value)
    assert "have an id that begins with '01234567': give more of it" in message
    assert repr(A[:17]) in message and repr(B[:17]) in message
    known = ImageNames(FILES)
    assert known.find(A[:8], refuse=False) is None
    assert known.notes == [f"Left out: {message.replace('6 images', '5 images')}"]


def test_of_many_notes_the_first_are_told_and_the_others_counted():
    known = ImageNames({f"{number}.jpg": A for number in range(100)})
    assert {known.find(f"{number}.JPG") for number in range(100)} == {A}
    assert len(known.notes) == 21
    assert known.notes[-1] == "So it is with 80 more names."


@pytest.mark.parametrize(
    "root", ["s3://bucket/a/Bilder", "s3://bucket/a/Bilder/", "s3a://bucket/a/Bilder"]
)
@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("s3://bucket/a/Bilder/a b/img.jpg", D),
        ("s3a://bucket/a/Bilder/Époque/été.jpg", A),
        ("s3://bucket/a/Bilder/a%20b/img.jpg", D),
        ("s3://bucket/a/Bilder/Époque/100%25.jpg", B),
        ("a b/img.jpg", D),
        ("s3://other/a/Bilder/a b/img.jpg", None),
        ("s3://bucket/a/Bilder2/a b/img.jpg", None),
        ("s3://bucket/a/a b/img.jpg", None),
        ("s3://bucket/a/Bilder/../Bilder/a b/img.jpg", None),
        ("/bucket/a/Bilder/a b/img.jpg", None),
    ],
)
def test_a_uri_names_an_image_of_a_remote_folder(root, name, image_id):
    assert ImageNames(FILES, folder=root).find(name) == image_id


def test_a_whole_path_may_lead_to_the_folder_through_links(tmp_path):
    real = tmp_path / "real"
    (real / "a b").mkdir(parents=True)
    for link in ("link", "other"):
        (tmp_path / link).symlink_to(real)
    (real / "out").symlink_to(tmp_path)
    for folder in (real, tmp_path / "link", tmp_path / "x" / ".." / "link", f"file://{real}"):
        known = ImageNames(FILES, folder=str(folder))
        for way in ("real", "link", "other", "real/../link"):
            assert known.find(f"{tmp_path}/{way}/a b/img.jpg") == D
            assert known.find(f"file://{quote(f'{tmp_path}/{way}')}/a%20b/img.jpg") == D
        assert known.find(f"{tmp_path}/a b/img.jpg") is None
        assert known.find(f"{real}/out/a b/img.jpg") is None


def test_the_folder_itself_may_be_written_in_either_form(tmp_path):
    for stored in (nfc, nfd):
        for written in (nfc, nfd):
            known = ImageNames(FILES, folder=stored("/srv/Été"))
            assert known.find(written("/srv/Été/a b/img.jpg")) == D


# --- any corpus

NAMES = st.text(st.sampled_from("aZéÅ\u0301한ß .%2C-"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
STORED = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def spellings(path):
    whole = f"{ROOT}/{path}"
    top = path.split("/")[0]
    yield from (path, f"./{path}", f".//././{path}", path.replace("/", "//"))
    yield from (f"./{path}".replace("/", "\\"), unicodedata.normalize("NFD", f"./{path}"))
    yield from (
        quote(path),
        quote(path, safe=""),
        whole,
        f"{ROOT}//{path}",
        whole.replace("/", "\\"),
    )
    yield from (f"file://{quote(whole)}", f"file://localhost{quote(whole)}", f"file:{quote(whole)}")
    if "/" in path:
        yield f"{top}/../{path}"


@given(STORED)
def test_a_file_is_found_by_each_of_its_spellings(path):
    for name in spellings(path):
        assert ImageNames({path: A}, folder=ROOT).find(name) == A, name


@given(STORED)
def test_a_file_is_found_in_any_letter_case(path):
    for form in (str.upper, str.lower, str.swapcase):
        assert ImageNames({path: A}, folder=ROOT).find(form(path)) == A


@given(st.lists(STORED, min_size=1, max_size=8, unique=True))
def test_of_several_files_an_exact_spelling_finds_its_own(paths):
    known = ImageNames({path: f"{number:064x}" for number, path in enumerate(paths)}, folder=ROOT)
    for number, path in enumerate(paths):
        for name in (path, f"{ROOT}/{path}", f"file://{quote(f'{ROOT}/{path}')}"):
            assert known.find(name) == f"{number:064x}"


STEPS = st.lists(
    st.sampled_from(["", ".", "..", "a", "A", "b", "%2e%2e", "srv", "Bilder"]), max_size=8
)


@given(
    st.lists(
        st.sampled_from(["a", "b", "a/b", "b/a", "a/a", "srv/Bilder/a"]), min_size=1, unique=True
    ),
    st.sampled_from(["", "/", f"{ROOT}/", f"file://{ROOT}/", "..\\", f"{ROOT}/../"]),
    STEPS,
)
def test_no_name_that_leaves_the_root_finds_an_image(paths, start, steps):
    by_path = {path.replace("srv/Bilder/a", "srv/a"): f"{n:064x}" for n, path in enumerate(paths)}
    known = ImageNames(by_path, folder=ROOT)
    name = start + "/".join(steps)
    found = known.find(name, refuse=False)
    if not found:
        return
    plain = name.replace("%2e", ".").replace("\\", "/").removeprefix("file://")
    whole = posixpath.normpath(posixpath.join(ROOT, plain))
    assert whole.startswith(f"{ROOT}/")
    [path] = [path for path, image_id in by_path.items() if image_id == found]
    assert whole.removeprefix(f"{ROOT}/").lower() == path.lower()
    if not plain.startswith("/"):
        depth = 0
        for step in plain.split("/"):
            depth += {"..": -1, ".": 0, "": 0}.get(step, 1)
            assert depth >= 0


# --- all doors


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named") / "project"
    made = made_project(folder, IDS, EPOQUE)
    (folder / "link").symlink_to(made.images)
    return made


SPELLINGS = {
    "the other form": lambda root: nfc(PATH),
    "steps": lambda root: f"././{nfd(PATH)}",
    "backslashes": lambda root: nfc(PATH).replace("/", "\\"),
    "slashes": lambda root: nfc(PATH).replace("/", "//"),
    "a step up": lambda root: f"Époque/../{nfc(PATH)}",
    "whole": lambda root: f"{root}/{nfc(PATH)}",
    "by a link": lambda root: f"{root.parent}/link/{nfd(PATH)}",
    "URL": lambda root: f"file://{quote(f'{root}/{nfd(PATH)}')}",
    "URL of localhost": lambda root: f"file://localhost{root}/{nfc(PATH)}",
    "percents": lambda root: quote(nfc(PATH)),
    "id": lambda root: "a" * 64,
    "beginning of the id": lambda root: "a" * 8,
    "letter case": lambda root: "époque/ÉTÉ.JPG",
}


def applied(project, name, tmp_path):
    """By a file of edits, up to what the asset is given."""
    file = tmp_path / "edits.csv"
    file.write_text(f"edit;tag;images;property\nassign;Siècle;{name};{EPOQUE}\n", encoding="utf-8")
    from panoptic_assets.cli.tag_edits import _edits_of_table

    config = parse(EditsConfig, {"edits": _edits_of_table(file)})
    [event], _ = check_edits(store_of(project), config, project.images)
    return [image_id for _, image_id in event.images]


def imported_rows(project, name, tmp_path):
    """From our own rows, whose ids another store gave."""
    file = tmp_path / "rows.csv"
    row = f"image_id,path,property,tag\n,{name},{EPOQUE},nouveau\n{'f' * 64},{name},{EPOQUE},x\n"
    file.write_text(row, encoding="utf-8")
    config = parse(EditsConfig, {})
    done = import_tags(store_of(project), file, config, project.images, check=True)
    assert (done.nb_images, done.nb_unknown) == (1, 0)
    return [image_names(store_of(project), project.images).find(name)]


DOORS = IMAGE_DOORS | {"tag apply": applied, "tag import of rows": imported_rows}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_finds_the_image_by_each_spelling(project, door, spelling, tmp_path):
    name = SPELLINGS[spelling](Path(project.images))
    assert DOORS[door](project, name, tmp_path) == ["a" * 64]


OTHER_CASE = "époque/ÉTÉ.JPG"
SAID = f"{OTHER_CASE!r} was taken for {nfd(PATH)!r}."


def selected_notes(project, scope):
    folder = str(project.folder)
    config = parse(ClusteringConfig, {"scope": scope, "features": "mini"})
    registry, models = Registry(folder=folder), OpenClipModels(folder=folder)
    return select("new", config, store_of(project), registry, models, print).notes


def listed_notes(project, tmp_path):
    (project.folder / "list.txt").write_text(OTHER_CASE, encoding="utf-8")
    return selected_notes(project, {"ids": {"file": "list.txt"}})


def similar_notes(project, tmp_path):
    return selected_notes(project, {"similar": {"image": OTHER_CASE, "nb_images": 1}})


def searched_notes(project, tmp_path):
    notes = []
    Project(project.folder).search(similar_to=OTHER_CASE, number=1, report=notes.append)
    return notes


def edited_notes(project, tmp_path):
    notes = []
    edit = {"assign": {"tag": "Siècle", "images": [OTHER_CASE], "property": EPOQUE}}
    config = parse(EditsConfig, {"edits": [edit]})
    check_edits(store_of(project), config, project.images, notes.append)
    return notes


def forgotten_notes(project, tmp_path):
    notes = []
    find_images(store_of(project), [OTHER_CASE], project.images, notes.append)
    return notes


def explained_notes(project, tmp_path):
    return Project(project.folder).explain(OTHER_CASE, "Siècle", EPOQUE)["notes"]


def imported_notes(project, tmp_path):
    file = tmp_path / "tags.csv"
    file.write_text(f"path;{EPOQUE}[tag]\n{OTHER_CASE};nouveau\n", encoding="utf-8")
    config = parse(EditsConfig, {})
    return import_tags(store_of(project), file, config, project.images, check=True).notes


def vectors_notes(project, tmp_path):
    known = image_names(store_of(project), project.images)
    batch = ([OTHER_CASE, "b" * 64], np.eye(2, dtype=np.float32))
    imported_vectors.check_vectors([batch], known, "vectors.other", store_of(project))
    return known.notes


@pytest.mark.parametrize(
    "door",
    [
        listed_notes,
        similar_notes,
        searched_notes,
        edited_notes,
        forgotten_notes,
        explained_notes,
        imported_notes,
        vectors_notes,
    ],
)
def test_every_door_says_that_it_took_another_letter_case(project, door, tmp_path):
    assert SAID in door(project, tmp_path)


def test_the_inventory_says_that_it_took_another_letter_case(project):
    table = inventory.parse_inventory(f"path;t\n{OTHER_CASE};x\n".encode())
    [finding] = inventory.match_images(table, present_files(store_of(project))).findings.first
    assert "letter case" in finding.cause


def test_the_command_line_says_that_it_took_another_letter_case(project):
    command = ["--project", str(project.folder), "explain", OTHER_CASE, "--tag", "Siècle"]
    done = CliRunner().invoke(main, [*command, "--property", EPOQUE])
    assert "was taken for" in done.output


def test_a_row_of_vectors_in_another_letter_case_gives_way_to_the_image_s_own(project):
    store = store_of(project)
    names = [OTHER_CASE, nfc(PATH), "b" * 64]
    vectors = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 1.0]])

    def batches():
        return [(names[:1], vectors[:1]), (names[1:], vectors[1:])]

    known = image_names(store, project.images)
    checked = imported_vectors.check_vectors(batches(), known, "vectors.other", store)
    assert (checked.nb_vectors, checked.unknown, known.notes) == (2, [OTHER_CASE], [])
    [staged] = imported_vectors.stage(
        batches(), known, set(), "vectors.other", store, checked.unknown
    )
    assert staged.nb_vectors == 2
    with pytest.raises(InputError, match="Two rows are of one image"):
        imported_vectors.check_vectors(
            [([OTHER_CASE, "ÉPOQUE/été.jpg"], vectors[:2])], known, "vectors.other", store
        )


def test_an_import_leaves_out_what_several_files_are_in_another_letter_case(tmp_path):
    ids = {"img.jpg": "a" * 64, "Img.jpg": "b" * 64, "other.jpg": "c" * 64}
    project = made_project(tmp_path / "project", ids, EPOQUE)
    file = tmp_path / "tags.csv"
    file.write_text(f"path;{EPOQUE}[tag]\nIMG.JPG;x\nother.jpg;y\n", encoding="utf-8")
    done = import_tags(store_of(project), file, parse(EditsConfig, {}), project.images)
    assert (done.nb_images, done.ambiguous) == (1, ("IMG.JPG",))
    [note] = done.notes
    assert note.startswith(
        "Left out: 'IMG.JPG' may be 'Img.jpg' (image bbbbbbbbbbbb) and 'img.jpg'"
    )


def test_other_programs_numbers_are_not_taken_for_beginnings_of_ids(tmp_path):
    ids = {"img.jpg": "12345678" + "a" * 56, "other.jpg": "c" * 64}
    project = made_project(tmp_path / "project", ids, EPOQUE)
    file = tmp_path / "tags.csv"
    file.write_text(
        f"image_id,path,property,tag\n12345678,other.jpg,{EPOQUE},x\n", encoding="utf-8"
    )
    done = import_tags(store_of(project), file, parse(EditsConfig, {}), project.images)
    assert (done.nb_images, done.nb_unknown) == (1, 0)
    tables = saved_tags(store_of(project), EPOQUE)
    [tag] = [tag.tag_id for tag in tables.tags if tag.name == "x"]
    assert [image_id for tag_id, image_id in tables.images if tag_id == tag] == ["c" * 64]


def test_a_number_that_begins_an_id_is_said_since_another_program_may_have_given_it():
    names = ImageNames({"a.jpg": "12345678" + 56 * "0", "b.jpg": "abcdef12" + 56 * "0"})
    assert names.find("12345678") == names.by_path["a.jpg"]
    assert names.find("abcdef12") == names.by_path["b.jpg"]
    assert names.notes == ["'12345678' was taken for the image 123456780000."]
