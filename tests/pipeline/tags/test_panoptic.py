"""Panoptic's exports and its project folder, taken into a project: what of which images."""

import hashlib

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from panoptic_assets.cli.main import main
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.table import write_files
from panoptic_assets.project import Project
from panoptic_assets.spec.tag_log import Event, Tag, paths
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.exchange import identified, panoptic_import
from panoptic_assets.tags.exchange.identified import identify
from panoptic_assets.tags.exchange.transfer import import_tags, saved_tags
from panoptic_assets.tags.table import append_events, read_log
from resources.errors import InputError
from resources.lance import LanceStore
from resources.project_folder import ProjectSettings, create, find
from resources.source import ImageSource
from tests.panoptic_databases import PanopticDatabases

NAMES = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "b/c/1.jpg", "3.jpg", "été.jpg"]


def sha1(name):
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def image(name):
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def made(tmp_path):
    """A project of files whose bytes are their names."""
    images = tmp_path / "images"
    images.mkdir()
    project = create(tmp_path / "project", ProjectSettings(images=str(images)))
    found = []
    for name in NAMES:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_text(name)
        found.append(File(name, image(name), "present", "", len(name), 1, "", ""))
    write_files(LanceStore(uri=project.store), {}, found)
    return project


@pytest.fixture
def panoptic(tmp_path):
    """A project of Panoptic of the same files, which lie where only Panoptic knows."""
    databases = PanopticDatabases(tmp_path / "panoptic")
    for folder in ("", "/a", "/b"):
        inside = [name for name in NAMES if f"/{name}".rpartition("/")[0] == folder]
        named = [(name.rpartition("/")[2], sha1(name)) for name in inside]
        databases.files(f"/elsewhere{folder}", named)
    return databases


def taken(made, tmp_path, text, **given):
    file = tmp_path / "export.csv"
    file.write_text(text, encoding="utf-8")
    source = ImageSource(root=made.images)
    store = LanceStore(uri=made.store)
    done = import_tags(store, file, EditsConfig(author="me"), made.images, source=source, **given)
    return done, pairs(store)


def pairs(store):
    if not read_log(store):
        return set()
    tables = saved_tags(store)
    named = paths(tables.tags)
    back = {image(name): name for name in NAMES}
    return {(back[of], named[tag]) for tag, of in tables.images}


def test_a_name_that_several_files_have_is_listed_and_nobody_gets_its_tags(made, tmp_path):
    """D31: counted whole, never guessed; one that a single file has is that file."""
    done, given = taken(
        made, tmp_path, "global_path;P[tag]\n1.jpg;x\n2.jpg;y\nnone.jpg;z\n3.jpg;w\n"
    )
    assert given == {("b/2.jpg", "y"), ("3.jpg", "w")}
    assert (done.nb_ambiguous, done.ambiguous) == (1, ("1.jpg",))
    assert (done.nb_unknown, done.unknown) == (1, ("none.jpg",))


def test_a_folder_and_a_name_are_the_end_of_a_path(made, tmp_path):
    """Of a file at the root, Panoptic says the name of the images' folder itself."""
    done, given = taken(
        made, tmp_path, "local_path;P[tag]\na/1.jpg;x\nc/1.jpg;y\nimages/3.jpg;z\nb/3.jpg;no\n"
    )
    assert given == {("a/1.jpg", "x"), ("b/c/1.jpg", "y"), ("3.jpg", "z")}
    assert done.unknown == ("b/3.jpg",)


def test_a_whole_path_counts_before_what_else_a_row_says(made, tmp_path):
    text = "global_path;path[path];P[tag]\n"
    rows = [f"1.jpg;{made.images}/b/1.jpg;x", "1.jpg;/other/disk/a/1.jpg;y", "1.jpg;/no/1.jpg;z"]
    done, given = taken(made, tmp_path, text + "\n".join(rows))
    assert given == {("b/1.jpg", "x"), ("a/1.jpg", "y")}
    assert done.ambiguous == ("/no/1.jpg",)


def test_a_sha1_settles_what_paths_leave_open(made, tmp_path):
    """The store knows no SHA-1: the files are hashed, those of the name first."""
    rows = [
        f"1.jpg;/no/1.jpg;{sha1('b/c/1.jpg')};x",
        f"2.jpg;/no/renamed.jpg;{sha1('a/1.jpg')};y",
        f"2.jpg;/no/2.jpg;{sha1('another file of that name')};z",
    ]
    text = "global_path;path[path];sha1[sha1];P[tag]\n" + "\n".join(rows)
    done, given = taken(made, tmp_path, text)
    assert given == {("b/c/1.jpg", "x"), ("a/1.jpg", "y")}
    assert (done.nb_unknown, done.nb_ambiguous) == (1, 0)


def test_no_more_files_are_hashed_than_settle_it(made, tmp_path):
    """Two names of one content need one file; what paths name needs none, where it is not cheap."""
    read = []

    class Reporter:
        def tell(self, text, style=""):
            pass

        def track(self, items, total, what, count=lambda _: 1):
            for item in items:
                read.append(item)
                yield item

    text = f"sha1[sha1];P[tag]\n{sha1('b/2.jpg')};x\n"
    _, given = taken(made, tmp_path, text, reporter=Reporter())
    assert given == {("b/2.jpg", "x")}
    assert read[-1] == "b/2.jpg"
    assert len(read) < len(NAMES)


def test_a_file_that_changed_since_goes_by_its_path_and_is_said(made, tmp_path):
    text = f"path[path];sha1[sha1];P[tag]\n{made.images}/3.jpg;{'0' * 40};x\n"
    done, given = taken(made, tmp_path, text)
    assert given == {("3.jpg", "x")}
    assert done.notes == (
        "Files that changed since the other program read them, and went by path: 1. 3.jpg",
    )


def test_a_path_that_now_is_another_file_goes_by_its_sha1(made, tmp_path):
    """Files were renamed in a circle: what Panoptic saw is elsewhere, and that is found."""
    text = f"path[path];sha1[sha1];P[tag]\n{made.images}/3.jpg;{sha1('b/2.jpg')};x\n"
    done, given = taken(made, tmp_path, text)
    assert given == {("b/2.jpg", "x")}
    assert done.notes == ()


@pytest.mark.parametrize("cheap", [identified.CHEAP, 0])
@pytest.mark.parametrize("path", ["/elsewhere/x/3.jpg", "/elsewhere/x/b/2.jpg"])
def test_a_path_of_another_machine_does_not_count_against_its_sha1(
    made, tmp_path, monkeypatch, cheap, path
):
    """However large the files are, where its folders are not those of a file here."""
    monkeypatch.setattr(identified, "CHEAP", cheap)
    row = f"{path};{sha1('another file of that name')};x\n"
    text = f"path[path];sha1[sha1];P[tag]\n{made.images}/a/1.jpg;{sha1('a/1.jpg')};y\n{row}"
    done, given = taken(made, tmp_path, text)
    has_folder = path.endswith("b/2.jpg")
    # The one whose whole folders are here goes unchecked where that is not cheap.
    assert given - {("a/1.jpg", "y")} == ({("b/2.jpg", "x")} if has_folder and not cheap else set())
    assert done.nb_unknown == 2 - len(given)


def test_foreign_files_of_one_name_are_listed_and_none_is_the_one_here(made, tmp_path):
    """Both tags went to the one image, and nothing was said."""
    text = "filepath,flat.label\n/other/Fonds1/3.jpg,one\n/other/Fonds2/3.jpg,two\n"
    with pytest.raises(InputError, match="can be told"):
        taken(made, tmp_path, text)
    done, given = taken(made, tmp_path, f"{text}{made.images}/a/1.jpg,three\n")
    assert given == {("a/1.jpg", "three")}
    assert done.ambiguous == ("/other/Fonds1/3.jpg", "/other/Fonds2/3.jpg")
    [note] = done.notes
    assert note.startswith("Left out, since several names could be one file's: 2. ")


def test_a_file_of_another_folder_or_extension_gets_no_tags_and_is_said(made, tmp_path):
    """As of vectors."""
    rows = "/elsewhere/z/2.jpg;x\n/elsewhere/été.png;y\nb/2.tif;z\na/1.jpg;w\n"
    done, given = taken(made, tmp_path, f"path;P[tag]\n{rows}")
    assert given == {("a/1.jpg", "w")}
    assert done.nb_unknown == 3
    [note] = done.notes
    assert "the folder, or the extension, is another than a file's here: 3." in note


def test_ends_that_two_images_share_are_no_image(made, tmp_path):
    text = "filepath,P.label\ndata/2.jpg,x\nd/data/2.jpg,y\na/1.jpg,z\n"
    done, given = taken(made, tmp_path, text)
    assert given == {("a/1.jpg", "z")}
    assert done.ambiguous == ("data/2.jpg", "d/data/2.jpg")


def test_other_content_at_a_known_path_is_said(made, tmp_path):
    """Of our own exports: the path counts, but people know."""
    text = f"image_id,path,property,tag\n{'f' * 64},b/2.jpg,P,x\n"
    done, given = taken(made, tmp_path, text)
    assert given == {("b/2.jpg", "x")}
    assert done.notes == (
        "Images that had other content when this was exported, and went by path: 1. b/2.jpg",
    )


def test_names_that_all_fit_several_files_are_refused_with_what_to_export(made, tmp_path):
    with pytest.raises(InputError, match="fit several images, the first one '1.jpg'") as caught:
        taken(made, tmp_path, "global_path;P[tag]\n1.jpg;x\n")
    assert "with the properties path or sha1" in str(caught.value)


def test_tags_by_their_own_names_find_their_place_in_the_tree(made, tmp_path):
    """C13: out, edited in Panoptic, and in again: the tree stays as it is."""
    store = LanceStore(uri=made.store)
    tags = (Tag("g", "P", "Gothic", colour="#ff8787"), Tag("l", "P", "late", "g"))
    append_events(store, [], [Event("import", "P", tags, (("l", image("3.jpg")),))], "me", "")
    done, given = taken(made, tmp_path, "global_path;P[tag]\n3.jpg;late\n2.jpg;late\n")
    assert given == {("3.jpg", "Gothic > late"), ("b/2.jpg", "Gothic > late")}
    assert [change.nb_new_tags for change in done.changes] == [0]
    assert done.notes == ("Tags found in the tree by their own names: 1.",)


def test_a_list_of_tags_beside_the_csv_brings_tree_and_colours(made, tmp_path):
    """What `--format panoptic` writes into one project comes back in another."""
    store = LanceStore(uri=made.store)
    tags = (Tag("g", "P", "Gothic", colour="#ff8787"), Tag("l", "P", "late", "g", colour="#ffd43b"))
    append_events(store, [], [Event("import", "P", tags, (("l", image("3.jpg")),))], "me", "")
    done = Project(made.folder).export(tmp_path / "out.csv", format="panoptic")
    assert [file.name for file in done.beside] == ["out-tags-P.csv"]
    assert done.beside[0].read_text() == "Gothic;0;\nlate;10;Gothic\n"
    other = LanceStore(uri=str(tmp_path / "other"))
    found = [File(name, image(name), "present", "", 1, 1, "", "") for name in NAMES]
    write_files(other, {}, found)
    import_tags(other, tmp_path / "out.csv", EditsConfig(author="me"))
    assert pairs(other) == {("3.jpg", "Gothic > late")}
    assert [tag.colour for tag in saved_tags(other).tags] == ["#ff8787", "#ffd43b"]
    with pytest.raises(InputError, match=r"out-tags-P\.csv exists already"):
        (tmp_path / "out.csv").unlink()
        Project(made.folder).export(tmp_path / "out.csv", format="panoptic")
    assert not (tmp_path / "out.csv").exists()


def filled(panoptic):
    panoptic.property(1, "Style", "multi_tags")
    panoptic.tag(1, 1, "Gothic", colour=4)
    panoptic.tag(2, 1, "late", [1], colour=5)
    panoptic.give(sha1("a/1.jpg"), 1, 2)
    panoptic.property(2, "Note", "text")
    panoptic.value("sha1_values", 2, sha1("b/1.jpg"), "é; so")
    panoptic.value("sha1_values", 2, sha1("unknown"), "no")
    panoptic.property(3, "Keeper", "tag", "id")
    panoptic.tag(3, 3, "Ann")
    panoptic.give(1, 3, 3)
    panoptic.files("/elsewhere", [("stranger.jpg", sha1("stranger"))])
    vectors = {sha1(name): [3.0, 4.0, at] for at, name in enumerate(NAMES)}
    panoptic.vectors(1, "clip", vectors | {sha1("stranger"): [1.0, 1.0, 1.0]})
    return panoptic.close()


def test_a_project_of_panoptic_is_taken_once_and_once_more_changes_nothing(
    made, panoptic, monkeypatch
):
    """A13, A25: tags with tree and colours, values as an inventory; looking changes nothing."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = filled(panoptic)
    project = Project(made.folder)
    looked = project.import_panoptic(folder, check=True)
    assert not read_log(project.store)
    assert not (made.folder / "panoptic.csv").exists()
    done = project.import_panoptic(folder)
    assert done == looked
    assert pairs(project.store) == {("a/1.jpg", "Gothic > late"), ("3.jpg", "Ann")}
    colours = {tag.name: tag.colour for tag in saved_tags(project.store, "Style").tags}
    assert colours == {"Gothic": "#748ffc", "late": "#4dabf7"}
    assert [entry.event.kind for entry in read_log(project.store)] == ["import", "import"]
    assert (done.tags.nb_unknown, done.tags.unknown) == (1, ("/elsewhere/stranger.jpg",))
    written = (made.folder / "panoptic.csv").read_text(encoding="utf-8")
    assert written == 'path;Note[text]\nb/1.jpg;"é; so"\n'
    assert find(made.folder).settings.metadata == "panoptic.csv"
    again = Project(made.folder).import_panoptic(folder)
    assert again.tags.changes == ()
    assert len(read_log(project.store)) == 2


def test_an_inventory_that_a_project_has_stays_and_is_named(made, panoptic):
    """Nothing is overwritten: neither the setting, nor a file of that name."""
    folder = filled(panoptic)
    settings = made.settings_file
    settings.write_text(f"{settings.read_text()}\nmetadata: mine.csv\n")
    (made.folder / "mine.csv").write_text("path;Note\n")

    def plan(replace=False):
        store, source = LanceStore(uri=made.store), ImageSource(root=made.images)
        return panoptic_import.prepare(store, find(made.folder), folder, source, replace=replace)

    plan().metadata.store()
    assert "The project's metadata is mine.csv" in plan().metadata.notes[0]
    assert find(made.folder).settings.metadata == "mine.csv"
    (made.folder / "panoptic.csv").write_text("mine too")
    with pytest.raises(InputError, match=r"panoptic\.csv exists already"):
        plan()
    plan(replace=True).metadata.store()
    assert "Note[text]" in (made.folder / "panoptic.csv").read_text()


def test_vectors_of_images_that_are_here_are_written_with_what_made_them(made, panoptic):
    """K4: by SHA-1; which of several kinds must be said."""
    folder = filled(panoptic)
    store, source = LanceStore(uri=made.store), ImageSource(root=made.images)
    layout = find(made.folder)
    plan = panoptic_import.prepare(store, layout, folder, source, vectors="clip")
    assert plan.vectors.of.words == "Panoptic: clip (model: openai/clip, greyscale: False)"
    looked = panoptic_import.write_panoptic_vectors(plan, layout, replace=False, check=True)
    assert not (made.folder / "panoptic-clip.parquet").exists()
    seen = panoptic_import.write_panoptic_vectors(plan, layout, replace=False, check=False)
    notes = seen.notes()
    assert looked.notes() == notes
    table = pq.read_table(made.folder / "panoptic-clip.parquet").to_pydict()
    # Panoptic has b/c/1.jpg in no folder that it knows.
    expected = {image(n): [3.0, 4.0, at] for at, n in enumerate(NAMES) if n != "b/c/1.jpg"}
    assert dict(zip(table["image_id"], table["vector"], strict=True)) == expected
    assert ": vectors of 3 numbers, of lengths 5 to " in notes[0]
    assert notes[0].endswith(", kept with length 1: 5.")
    assert notes[1:] == ["Vectors left out, since their images are not in the corpus: 2."]
    with pytest.raises(
        InputError, match="these kinds of vectors: 1: Panoptic: clip .* as in clip=1"
    ):
        panoptic_import.prepare(store, layout, folder, source, vectors="clip=7")


def test_tags_that_are_refused_leave_nothing_of_an_import(made, panoptic, monkeypatch):
    """C8: what may be refused comes before all that is written."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = filled(panoptic)

    def refuse(*_, **__):
        raise InputError("No tag can lie that deep.", id="refused-here")

    monkeypatch.setattr(panoptic_import, "store_panoptic_tags", refuse)
    before = sorted(made.folder.rglob("*.*"))
    with pytest.raises(InputError, match="that deep"):
        Project(made.folder).import_panoptic(folder, vectors="clip")
    assert [file for file in made.folder.glob("*.*") if file not in before] == []


def test_the_command_says_what_it_took(made, panoptic, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = filled(panoptic)
    arguments = ["--project", str(made.folder), "import-panoptic", str(folder), "--check"]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    assert "Style: 2 new tags, 1 image would get tags" in answer.output
    assert "panoptic.csv: 1 column of 1 line" in answer.output
    answer = CliRunner().invoke(main, [*arguments, "--property", "Nope"])
    assert answer.exit_code == 2
    assert "no property 'Nope'" in answer.output


def test_names_are_told_apart_in_any_form_of_their_accents(made):
    """A Mac writes é as two characters."""
    from panoptic_assets.tags.exchange.formats import ImageName

    store = LanceStore(uri=made.store)
    names = [ImageName("", (), ("e\u0301te\u0301.jpg",)), ImageName("", ("C:\\x\\b\\2.jpg",))]
    found = identify(store, made.images, names)
    assert found.image_ids == [image("été.jpg"), image("b/2.jpg")]
