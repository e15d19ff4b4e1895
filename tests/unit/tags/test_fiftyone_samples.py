"""Samples of FiftyOne: what is written for it, and what its exports say of tags and values."""

import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_assets.corpus.inventory import parse_inventory
from panoptic_assets.spec.tag_log import Event, Tag, paths, replay, replayed
from panoptic_assets.tags.exchange.csv_tables import read_csv
from panoptic_assets.tags.exchange.fiftyone_samples import (
    _fields,
    read_samples,
    samples,
    tag_color_scheme,
)
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, events
from tests.fiftyone_exports import array, label, labels, sample, write_dataset

OURS = 64 * "a"


def saying(said):
    """Who has which tag: property, path and image."""
    return {
        (name, " > ".join(path), said.images[place].paths[0])
        for name, given_tags in said.given.items()
        for place, path in given_tags
    }


def write_ours(labelled, file):
    entries = list(samples(labelled, lambda path: f"/images/{path}"))
    file.write_text(json.dumps({"color_scheme": tag_color_scheme(labelled), "samples": entries}))
    return file


def test_a_page_has_the_path_of_its_file_and_a_number():
    """A23, K10: FiftyOne knows no file of the name that a page has."""
    event = Event("import", "", (Tag("9", "P", "9"),), (("9", "a"), ("9", "b")))
    labelled = Labelled(replay([event]), {"a": ["x.tif"], "b": ["x.tif#page=2"]})
    found = samples(labelled, lambda path: f"/images/{path}")
    assert [(entry["filepath"], entry["page"]) for entry in found] == [
        ("/images/x.tif", 1),
        ("/images/x.tif", 2),
    ]


def test_label_and_cluster_are_two_fields():
    """K10: a label never takes the place of the cluster's id."""
    tags = (
        Tag("1", "Clustering", "Vases", None, "r@1", "r/3"),
        Tag("2", "my tags", "x"),
        Tag("3", "my tags", "y"),
    )
    event = Event("import", "", tags, (("1", "i"), ("2", "i"), ("3", "i")))
    labelled = Labelled(replay([event]), {"i": ["é.jpg"]})
    [entry] = samples(labelled, lambda path: f"/images/{path}")
    assert entry["filepath"] == "/images/é.jpg"
    assert entry["labels"]["Clustering"] == {
        "label": "Vases",
        "cluster": "r/3",
        "tag_id": "1",
        "record_id": "r@1",
    }
    several = entry["labels"]["my_tags"]
    assert [(given["label"], given["property"]) for given in several] == [
        ("x", "my tags"),
        ("y", "my tags"),
    ]


def test_fields_are_fiftyones_names_and_their_own():
    found = _fields(["tags", "a b", "a.b", "1", "$", "été", "a_b"])
    assert list(found.values()) == [
        *("tags_2", "a_b", "a_b_2", "property_1", "property_", "été", "a_b_3"),
    ]


NAMES = st.sampled_from(["9", "été", "a, b", "=1", "tags", "x y", "labels", "[1]"])


@given(
    st.lists(
        st.tuples(NAMES, NAMES, NAMES | st.none(), st.sampled_from([None, "#aa0000"])), min_size=1
    ),
    st.sets(st.tuples(st.integers(0, 9), st.sampled_from("ij")), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_our_file_comes_back_with_properties_trees_and_colours(tmp_path_factory, tree, given_tags):
    """D59: under the properties' own names, whatever their fields are called."""
    made = {}
    for name, above, below, colour in tree:
        made.setdefault((name, above), Tag(f"{name}/{above}", name, above, colour=colour))
        if below is not None:
            key = f"{name}/{above}/{below}"
            made.setdefault((name, above, below), Tag(key, name, below, f"{name}/{above}"))
    tags = list(made.values())
    pairs = {(tags[at % len(tags)].tag_id, image) for at, image in given_tags}
    labelled = Labelled(
        replay([Event("import", "", tuple(tags), tuple(sorted(pairs)))]),
        {"i": ["i.jpg"], "j": ["b/j.jpg"]},
    )
    folder = tmp_path_factory.mktemp("ours")
    said = read_samples(write_ours(labelled, folder / "f.json")).said
    of_path = {"/images/i.jpg": "i", "/images/b/j.jpg": "j"}
    found = replay(events(said, [of_path[i.paths[0]] for i in said.images], replayed([]), "add"))
    whole, back = paths(labelled.tables.tags), paths(found.tags)
    property_of = {tag.tag_id: tag.property for tag in (*tags, *found.tags)}
    assert {(property_of[tag], back[tag], image) for tag, image in found.images} == {
        (property_of[tag], whole[tag], image) for tag, image in pairs
    }
    colours = {(tag.property, whole[tag.tag_id]): tag.colour for tag in tags}
    for tag in found.tags:
        assert tag.colour == colours[tag.property, back[tag.tag_id]]


def test_a_dataset_says_tags_by_labels_of_whole_images_and_by_samples_own(tmp_path):
    """D59: FiftyOneDataset, with the colours of its color scheme."""
    folder = write_dataset(
        tmp_path / "set",
        sample(
            "/x/a.jpg",
            tags=["checked", "b, c"],
            style=label("Gothic > late", property="theirs", confidence=0.5),
        ),
        sample("/x/b.jpg", style=None, who=labels("Ann", "Bob"), empty=label(None)),
        sample("data/c.jpg", style=label("Gothic", property=3), image_id=OURS, page=1),
        colours={"style": {"Gothic": "#00aa00", "Gothic > late": "#0000AA", "other": "red"}},
    )
    found = read_samples(folder)
    assert saying(found.said) == {
        ("tags", "checked", "/x/a.jpg"),
        ("tags", "b, c", "/x/a.jpg"),
        ("style", "Gothic > late", "/x/a.jpg"),
        ("who", "Ann", "/x/b.jpg"),
        ("who", "Bob", "/x/b.jpg"),
        ("style", "Gothic", "data/c.jpg"),
    }
    assert [(image.image_id, image.endings) for image in found.said.images] == [
        ("", ()),
        ("", ()),
        (OURS, ("c.jpg",)),
    ]
    assert found.said.tags["style"] == {
        ("Gothic",): {"colour": "#00aa00"},
        ("Gothic", "late"): {"colour": "#0000aa"},
    }
    assert found.left_out == {"style.confidence": "of labels"}


def test_numbers_texts_and_dates_of_a_dataset_are_cells_of_an_inventory(tmp_path):
    """D59: in types that the inventory has; what is neither tag nor value is named."""
    folder = write_dataset(
        tmp_path / "set",
        sample(
            "/x/a.jpg",
            uniqueness=0.25,
            count={"$numberLong": "12"},
            seen=True,
            title='Nº 1; "é"',
            made={"$date": {"$numberLong": "-2613427200000"}},
            taken={"$date": "2024-03-09T13:45:30.250Z"},
            materials=["clay", "slip"],
            places=["Athens, Attica", "Rome"],
            mixed=1,
            score={"_cls": "Regression", "tags": [], "value": 0.5},
            bad={"$numberDouble": "NaN"},
            embedding=array([1, 2]),
            votes=[1, 2],
            found={"_cls": "Detections", "detections": []},
            info={"k": 1},
            odd=[{}],
            late={"$date": {"$numberLong": "9" * 20}},
        ),
        sample("/x/b.jpg", mixed="no number", empty="", nothing=None),
    )
    found = read_samples(folder, with_values=True)
    assert {name: cells[0] for name, cells in found.cells.items()} == {
        "uniqueness": ("number", "0.25"),
        "count": ("number", "12"),
        "seen": ("text", "true"),
        "title": ("text", 'Nº 1; "é"'),
        "made": ("date", "1887-03-09"),
        "taken": ("date", "2024-03-09T13:45:30.25"),
        "materials": ("multi_tags", "clay,slip"),
        "places": ("text", "Athens, Attica; Rome"),
        "mixed": ("number", "1"),
        "score": ("number", "0.5"),
    }
    assert found.columns()["mixed"] == "text"
    assert found.arrays == {"embedding": 1, "votes": 1}
    assert found.left_out == {
        "found": "Detections",
        "info": "document",
        "odd": "list",
        "late": "date",
    }


def test_only_the_properties_that_are_asked_for_are_taken(tmp_path):
    folder = write_dataset(
        tmp_path / "set",
        sample("/x/a.jpg", style=label("Gothic"), who=label("A > > B"), uniqueness=1),
    )
    found = read_samples(folder, ["style"], with_values=True)
    assert (list(found.said.tags), found.cells, found.left_out) == (["style"], {}, {})
    with pytest.raises(ExchangeError, match=r"^Sample 1, who: "):
        read_samples(folder)


CSV = """\
filepath,tags,style.label,who.classifications.label,uniqueness,id
/x/a.jpg,"checked,b, c",Gothic > late,"Ann,Bob, the elder",0.5,6b0de15feb4d8ed0f2fa0d71
/x/data/b.jpg,,,,0.0,6b0de15feb4d8ed0f2fa0d72
"""


def test_a_csv_dataset_says_tags_by_its_columns_of_labels():
    """D59: what CSVDatasetExporter wrote; its commas part, but for those before a space."""
    said = read_csv(io.BytesIO(CSV.encode()))
    assert saying(said) == {
        ("tags", "checked", "/x/a.jpg"),
        ("tags", "b, c", "/x/a.jpg"),
        ("style", "Gothic > late", "/x/a.jpg"),
        ("who", "Ann", "/x/a.jpg"),
        ("who", "Bob, the elder", "/x/a.jpg"),
    }
    assert said.images[1].endings == ("b.jpg",)
    assert not said.by_name
    [note] = said.notes
    assert "uniqueness" in note
    assert "metadata" in note


def test_a_csv_dataset_is_an_inventory_as_it_is():
    """D59: `filepath` names the files, numbers and labels are properties."""
    table = parse_inventory(CSV.encode())
    assert table.files == ["/x/a.jpg", "/x/data/b.jpg"]
    assert [(column.property.name, column.property.type) for column in table.columns] == [
        ("tags", "text"),
        ("style.label", "text"),
        ("who.classifications.label", "text"),
        ("uniqueness", "number"),
        ("id", "text"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *(
            '{"samples": 3}',
            '{"samples": [3]}',
            '{"samples": [{}]}',
            '{"samples": [{"filepath": 3}',
        ),
        '{"samples": [{"filepath": "a", "x": {"_cls": "Classification", "label": " > a"}}]}',
        '{"samples": [{"filepath": "a", "tags": ["\\ud800"]}]}',
    ],
    ids=range(6),
)
def test_hostile_samples_are_refused_in_one_line(tmp_path, text):
    """C8: whatever stands in a file from somewhere else."""
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(ExchangeError) as caught:
        read_samples(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


ODD = [
    *(None, True, 2**63, 1e308, "", " > ", "a > b", 3000 * "x", "\0", [], {}, [None], [1.5]),
    *({"$date": {}}, {"$date": "x"}, {"$date": 1e300}, {"$numberLong": [1]}, {"$binary": 5}),
    *(label(5), label(["a"]), {"_cls": ["Classification"]}, {"_cls": "Classifications"}),
    {"_cls": "Classifications", "classifications": [1, None, label("ok", property=5, tags="x")]},
]


@given(
    st.dictionaries(
        st.sampled_from(["filepath", "tags", "labels", "style", "image_id", "page", "_cls", "n"]),
        st.sampled_from(ODD),
        max_size=4,
    ),
    st.sampled_from(["app_config", "fields", "path", "valueColors", "value", "color"]),
    st.sampled_from(ODD),
)
@settings(max_examples=150, deadline=None)
@example({"style": label("ok")}, "fields", None)
def test_samples_of_strange_types_are_read_or_refused_plainly(tmp_path_factory, fields, where, odd):
    """C8."""
    folder = tmp_path_factory.mktemp("odd", numbered=True)
    write_dataset(folder, {**sample("/x/a.jpg"), **fields}, colours={"style": {"a > b": "#00aa00"}})
    text = (folder / "metadata.json").read_text()
    document = json.loads(text, object_hook=lambda of: of | ({where: odd} if where in of else {}))
    (folder / "metadata.json").write_text(json.dumps(document))
    try:
        found = read_samples(folder, with_values=True)
        events(found.said, ["i"] * len(found.said.images), replayed([]), "add")
        found.columns()
    except ValueError as error:  # ExchangeError and EditError are such
        assert (fields, where, odd) != ({"style": label("ok")}, "fields", None)
        assert len(str(error).splitlines()) == 1
