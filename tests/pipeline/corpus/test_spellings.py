"""Every door that takes an image, a pattern, a property or a tag takes each spelling of its name.

A Mac writes the accents of names as characters of their own (NFD), keyboards and spreadsheets give
composed ones (NFC); people write ``./`` before a path, and other systems ``\\``.
"""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from panoptic_assets.clustering import readings
from panoptic_assets.clustering.config import ClusteringConfig
from panoptic_assets.clustering.selection import select
from panoptic_assets.corpus import inventory
from panoptic_assets.corpus.manifest import File
from panoptic_assets.corpus.names import ImageNames, comparable_path
from panoptic_assets.corpus.table import image_names, present_files, write_files
from panoptic_assets.features import imported_vectors
from panoptic_assets.labels.inputs import read_vocabulary
from panoptic_assets.labels.labellers import ZeroShot
from panoptic_assets.project import Project
from panoptic_assets.review.sides import Sides
from panoptic_assets.spec import tag_log
from panoptic_assets.spec.resolution import identity_of, parse, resolve
from panoptic_assets.spec.tag_log import Event, Tag
from panoptic_assets.tags.config import EditsConfig
from panoptic_assets.tags.editing import check_edits
from panoptic_assets.tags.exchange.transfer import import_tags, saved_tags
from panoptic_assets.tags.table import append_events, properties_with_tags, read_log, write_tags
from panoptic_assets.upkeep import staleness
from panoptic_assets.upkeep.forgetting import find_images
from panoptic_assets.upkeep.reasons import Staleness
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import OpenClipModels
from resources.project_folder import ProjectSettings, create
from resources.registry import Registry
from resources.schemas import SCHEMAS, vectors_schema
from resources.source import ImageSource


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfd(text):
    return unicodedata.normalize("NFD", text)


EPOQUE, PATH = "Époque", "Époque/été.jpg"
IDS = {nfd(PATH): "a" * 64, "Époque/hiver.jpg": "b" * 64, "vase.jpg": "c" * 64}
FORMS = {"NFC": nfc, "NFD": nfd}
SPELLINGS = {
    "NFC": nfc(PATH),
    "NFD": nfd(PATH),
    "./ NFC": f"./{nfc(PATH)}",
    "././ NFD": f"././{nfd(PATH)}",
    "mixed": nfc(PATH[:7]) + nfd(PATH[7:]),
    "\\ NFC": nfc(PATH).replace("/", "\\"),
}


def made_project(folder, ids, property_name):
    """A project of some files, with a vector of each image, and a tag of the first one."""
    (folder / "images").mkdir(parents=True)
    project = create(folder, ProjectSettings(images=str(folder / "images")))
    store = LanceStore(uri=project.store)
    write_files(store, {}, [File(p, i, "present", None, 1, 1, "", "") for p, i in ids.items()])
    seen = dict.fromkeys(SCHEMAS["images"].names) | {"width": 1, "height": 1, "bytes": 1}
    rows = [seen | {"image_id": image_id} for image_id in ids.values()]
    store.upsert("images", pa.Table.from_pylist(rows, SCHEMAS["images"]))
    vectors = list(np.eye(len(ids), dtype=np.float32))
    columns = {"image_id": list(ids.values()), "vector": vectors}
    store.create("vectors.mini", vectors_schema(len(ids)), {})
    store.create("vectors.other", vectors_schema(2), {})
    store.upsert("vectors.mini", pa.table(columns, schema=vectors_schema(len(ids))))
    tags = (Tag("t", property_name, nfd("Siècle")), Tag("u", property_name, nfd("XIXᵉ é"), "t"))
    given_to = (("u", next(iter(ids.values()))),)
    append_events(store, [], [Event("import", property_name, tags, given_to)], "me", "")
    write_tags(store, tag_log.replay([entry.event for entry in read_log(store)]))
    values = pa.Table.from_pylist(
        [{"image_id": "a" * 64, "property": nfc("Matière"), "type": "tag", "tags": ["grès"]}],
        SCHEMAS["property_values"],
    )
    store.upsert("property_values", values)
    return project


@pytest.fixture(scope="module", params=FORMS)
def project(request, tmp_path_factory):
    """Its property is stored in one of the forms; for reading only."""
    folder = tmp_path_factory.mktemp("spelled") / "project"
    return made_project(folder, IDS, FORMS[request.param](EPOQUE))


def store_of(project):
    return LanceStore(uri=project.store)


def in_scope(project, scope):
    folder = str(project.folder)
    config = parse(ClusteringConfig, {"scope": scope, "features": "mini"})
    registry, models = Registry(folder=folder), OpenClipModels(folder=folder)
    return select("new", config, store_of(project), registry, models, print).image_ids


def listed(project, name, tmp_path):
    (project.folder / "list.txt").write_text(f"{name}\n", encoding="utf-8")
    return in_scope(project, {"ids": {"file": "list.txt"}})


def similar(project, name, tmp_path):
    return in_scope(project, {"similar": {"image": name, "nb_images": 1}})


def searched(project, name, tmp_path):
    found = Project(project.folder).search(similar_to=name, vector_type="mini", number=1)
    return found["image_id"].to_pylist()


def edited(project, name, tmp_path):
    edit = {"assign": {"tag": "Siècle", "images": [name], "property": EPOQUE}}
    config = parse(EditsConfig, {"edits": [edit]})
    [event], _ = check_edits(store_of(project), config, project.images)
    return [image_id for _, image_id in event.images]


def forgotten(project, name, tmp_path):
    return [target.image_id for target in find_images(store_of(project), [name], project.images)]


def explained(project, name, tmp_path):
    return [Project(project.folder).explain(name, "Siècle", EPOQUE)["image_id"]]


def with_vectors(project, name, tmp_path):
    def batches():
        return [([name, "b" * 64], np.eye(2, dtype=np.float32))]

    store = store_of(project)
    known = image_names(store, project.images)
    checked = imported_vectors.check_vectors(batches(), known, "vectors.other", store)
    assert (checked.nb_vectors, checked.unknown) == (2, [])
    [staged] = imported_vectors.stage(batches(), known, {"b" * 64}, "vectors.other", store)
    assert staged.nb_vectors == 1
    return [known.find(name)]


def imported(project, name, tmp_path):
    file = tmp_path / "tags.csv"
    file.write_text(f"path;{EPOQUE}[tag]\n{name};nouveau\n", encoding="utf-8")
    config = parse(EditsConfig, {})
    done = import_tags(store_of(project), file, config, project.images, check=True)
    assert (done.nb_images, done.nb_unknown) == (1, 0)
    return [image_names(store_of(project), project.images).find(name)]


def of_inventory(project, name, tmp_path):
    table = inventory.parse_inventory(f"path;t\n{name};x\n".encode())
    found = inventory.match_images(table, present_files(store_of(project)), project.images)
    [values] = found.values.values()
    return list(values)


IMAGE_DOORS = {
    "scope ids": listed,
    "scope similar": similar,
    "search --similar-to": searched,
    "tag assign": edited,
    "forget": forgotten,
    "explain": explained,
    "import-vectors": with_vectors,
    "tag import": imported,
    "inventory": of_inventory,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("door", IMAGE_DOORS)
def test_every_door_finds_an_image_by_each_spelling_of_its_path(project, door, spelling, tmp_path):
    assert IMAGE_DOORS[door](project, SPELLINGS[spelling], tmp_path) == ["a" * 64]


@pytest.mark.parametrize(
    "name", ["../vase.jpg", "./../vase.jpg", "images/../vase.jpg", "/vase.jpg"]
)
@pytest.mark.parametrize(
    "door",
    # The others name files of other programs: what is unknown is counted, or found by its end.
    ["scope ids", "scope similar", "search --similar-to", "tag assign", "forget", "explain"],
)
def test_no_door_takes_a_path_that_leaves_the_root(project, door, name, tmp_path):
    with pytest.raises(InputError):
        IMAGE_DOORS[door](project, name, tmp_path)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Two images whose paths differ in their normal form alone."""
    ids = {nfc(PATH): "a" * 64, nfd(PATH): "b" * 64}
    return made_project(tmp_path_factory.mktemp("twins") / "project", ids, EPOQUE)


@pytest.mark.parametrize("door", [door for door in IMAGE_DOORS if door != "explain"])
def test_of_two_files_that_look_alike_an_exact_spelling_takes_its_own(twins, door, tmp_path):
    if door == "import-vectors":  # of which the table's other row is one of the two
        assert [image_names(store_of(twins), "").find(f(PATH)) for f in (nfc, nfd)] == [
            "a" * 64,
            "b" * 64,
        ]
        return
    assert IMAGE_DOORS[door](twins, nfc(PATH), tmp_path) == ["a" * 64]
    assert IMAGE_DOORS[door](twins, nfd(PATH), tmp_path) == ["b" * 64]


@pytest.mark.parametrize("name", [SPELLINGS["mixed"], SPELLINGS["./ NFC"]])
@pytest.mark.parametrize("door", [door for door in IMAGE_DOORS if door != "inventory"])
def test_of_two_files_that_look_alike_an_inexact_spelling_is_refused(twins, door, name, tmp_path):
    with pytest.raises(InputError) as caught:
        IMAGE_DOORS[door](twins, name, tmp_path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"{nfc(PATH)!r} (image aaaaaaaaaaaa)" in message
    assert f"{nfd(PATH)!r} (image bbbbbbbbbbbb)" in message


def test_of_two_files_that_look_alike_an_inexact_line_of_the_inventory_is_told(twins):
    table = inventory.parse_inventory(f"path;t\n{SPELLINGS['mixed']};x\n".encode())
    found = inventory.match_images(table, present_files(store_of(twins)))
    assert (found.values, found.nb_unmatched) == ({}, 1)
    assert "several files could be meant" in found.findings.first[0].cause


def test_two_files_that_look_alike_and_hold_one_image_are_that_image(tmp_path):
    ids = {nfc(PATH): "a" * 64, nfd(PATH): "a" * 64}
    store = LanceStore(uri=str(tmp_path / "store"))
    write_files(store, {}, [File(p, i, "present", None, 1, 1, "", "") for p, i in ids.items()])
    assert image_names(store, "").find(SPELLINGS["mixed"]) == "a" * 64


LETTERS = st.text(st.sampled_from("aéeÅ\u0301\u030a한각ﬁ ."), min_size=1, max_size=6)
PATHS = st.lists(LETTERS, min_size=1, max_size=3).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=6), st.sampled_from([nfc, nfd]))
def test_the_finder_takes_no_account_of_normal_forms(paths, form):
    """What is found by one form of a name is found by the other, and nothing else."""
    known = ImageNames(dict.fromkeys(paths, "a" * 64))
    for path in paths:
        assert known.files(path) == [path]
        alike = {other for other in paths if comparable_path(other) == comparable_path(path)}
        found = set(known.files(f"./{form(path)}")) or set(known.files(form(path)))
        assert found <= alike
        if form(path) not in paths and path == path.strip():
            assert known.files(form(path)) == sorted(alike)
        assert comparable_path(form(path)) == comparable_path(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pattern", ["Époque/é*", "./Époque/é*", "*été.jpg", "Époque/[é]t[é].jpg"])
def test_a_pattern_of_files_takes_no_account_of_normal_forms(project, pattern, form):
    assert in_scope(project, {"files": {"pattern": FORMS[form](pattern)}}) == ["a" * 64]


@pytest.mark.parametrize("on_disk", FORMS)
@pytest.mark.parametrize("typed", FORMS)
@pytest.mark.parametrize(
    "pattern", ["Privé/", "./Privé/", "/Privé/", "Priv[é]", "Privé/**", "**/Privé/*.jpg"]
)
def test_a_folder_is_excluded_or_included_in_whatever_form_it_is_typed(
    tmp_path, pattern, typed, on_disk
):
    """What is private is not ingested, whichever system made its folder."""
    private = f"{FORMS[on_disk]('Privé')}/é.jpg"
    for path in (private, "vase.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / path)

    def paths(**patterns):
        return [file.path for file in ImageSource(root=str(tmp_path), **patterns).list().files]

    pattern = FORMS[typed](pattern)
    assert paths(exclude=[pattern]) == ["vase.jpg"]
    assert paths(include=[pattern]) == [private]  # its bytes are the disk's
    assert (
        paths(exclude=[f"{FORMS[typed]('Privé')}/*", f"!{pattern.rstrip('*')}"])[-1] == "vase.jpg"
    )


def tag_scope(project, name):
    return in_scope(project, {"tag": {"path": "Siècle", "property": name}}) == ["a" * 64]


def words(project, name):
    return read_vocabulary(
        ZeroShot(property=name), store_of(project), Registry(folder=str(project.folder))
    ).terms


def compared(project, name):
    return Sides(store_of(project)).get(f"property:{name}").groups


def exported(project, name):
    return saved_tags(store_of(project), name).tags


def recommended(project, name):
    replayed = tag_log.replay([entry.event for entry in read_log(store_of(project))])
    return properties_with_tags(replayed, name)


def status(project, name):
    [stored] = set(store_of(project).read("tags", ["property"])["property"].to_pylist())
    known = [Staleness("property", stored, "greek", ())]
    return staleness.named_by(known, [f"property:{name}"])


PROPERTY_DOORS = {
    "scope tag": tag_scope,
    "cluster_by_tags": lambda project, name: readings.tag_paths(store_of(project), name)[0],
    "label --property": words,
    "compare property:": compared,
    "status property:": status,
    "tags": lambda project, name: Project(project.folder).tags(name),
    "image_tags": lambda project, name: Project(project.folder).image_tags(name).num_rows,
    "precision": lambda project, name: Project(project.folder).precision(name),
    "recommend": recommended,
    "export": exported,
    "explain": lambda project, name: Project(project.folder).explain("a" * 64, "Siècle", name),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", PROPERTY_DOORS)
def test_every_door_finds_a_property_by_each_form_of_its_name(project, door, form):
    assert PROPERTY_DOORS[door](project, FORMS[form](EPOQUE))
    with pytest.raises(InputError):
        PROPERTY_DOORS[door](project, "Epoque")


@pytest.mark.parametrize("form", FORMS)
def test_a_property_of_the_inventory_is_found_by_each_form_of_its_name(project, form):
    name = FORMS[form]("Matière")
    assert readings.tag_paths(store_of(project), name) == (["grès"], "property_values")
    assert in_scope(project, {"property": {"property": name}}) == ["a" * 64]
    assert Project(project.folder).property_values(name).num_rows == 1
    assert Sides(store_of(project)).get(f"property:{name}").groups


@pytest.mark.parametrize("form", FORMS)
def test_a_tag_is_found_by_each_form_of_its_path_and_shown_as_first_written(project, form):
    path = FORMS[form]("Siècle > XIXᵉ é")
    assert in_scope(project, {"tag": {"path": path, "property": EPOQUE}}) == ["a" * 64]
    assert Project(project.folder).explain("a" * 64, path, EPOQUE)["path"] == nfd(path)


def test_a_key_may_be_asked_for_again_with_its_names_in_the_other_form():
    """A key is its configuration, and a name in the other form is the same name."""

    def asked(form, pattern):
        by_tags = {"property": FORMS[form](EPOQUE)}
        return {"method": {"cluster_by_tags": by_tags}, "scope": {"files": {"pattern": pattern}}}

    first = resolve(ClusteringConfig, "greek", asked("NFC", nfc("Été/*")), None, None, {})
    recorded = identity_of(first)
    assert resolve(ClusteringConfig, "greek", asked("NFD", nfd("Été/*")), recorded, None, {})
    with pytest.raises(InputError, match="scope.files.pattern: 'Été/\\*' is recorded"):
        resolve(ClusteringConfig, "greek", asked("NFC", "Ete/*"), recorded, None, {})
