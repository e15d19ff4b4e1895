"""Files of all images for viewers and catalogues: Parquet, Omeka S and Tropy."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from panoptic_assets.corpus.inventory import match_images, parse_inventory
from panoptic_assets.features.neighbors import Graph
from panoptic_assets.features.table import (
    MODEL_METADATA,
    PROJECTION_METADATA,
    GraphInfo,
    ReadVectors,
    write_graph,
)
from panoptic_assets.manual.contents import Page
from panoptic_assets.spec.records import Input, ProjectionRecord
from panoptic_assets.spec.tag_log import Tag, TagTables
from panoptic_assets.spec.written_dates import WrittenDate, read_date
from panoptic_assets.tags.exchange import catalogue_csv, formats
from panoptic_assets.tags.exchange.catalogue_csv import write_omeka, write_tropy
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled
from panoptic_assets.tags.exchange.image_files import locator
from panoptic_assets.tags.exchange.image_parquet import (
    ChosenColumns,
    holds_tags,
    read_tag_rows,
    write_image_parquet,
)
from resources.decoding import thumbnail
from resources.errors import InputError
from resources.lance import LanceStore
from resources.schemas import SCHEMAS, points_schema, points_table, vectors_schema, vectors_table
from resources.source import ImageSource
from resources.vectors_file import VectorsFile

A, B, C, GONE, PAGE_2 = (letter * 64 for letter in "abcef")
FILES = {
    A: ["=cmd|' /C calc'!A0.jpg", "copy/a.jpg"],
    B: ['b\n"new, line".jpg'],
    C: ["booklet.tif"],
    PAGE_2: ["booklet.tif#page=2"],
}
TAGS = [
    Tag("t1", "Clustering", "=1+1"),
    Tag("t2", "Clustering", "fish, coral", "t1"),
    Tag("t3", "Époque", "-5"),
    Tag("t4", "Époque", "\\"),
]
GIVEN = {("t1", A): 1, ("t2", A): 1, ("t3", B): 2, ("t1", C): 1, ("t4", PAGE_2): 2, ("t1", GONE): 1}
VALUES = [
    {"image_id": A, "property": "Titre", "type": "text", "text": '@home \\"quoted\\'},
    {"image_id": B, "property": "Titre", "type": "text", "text": "# heading"},
    {"image_id": A, "property": "width cm", "type": "number", "number": -12.5},
    {"image_id": A, "property": "matières", "type": "multi_tags", "tags": ["bois", "or > feuille"]},
]


def date_row(image_id, text):
    date = read_date(text)
    assert isinstance(date, WrittenDate)
    return {
        "image_id": image_id,
        "property": "date",
        "type": "date",
        "text": date.text,
        "edtf": date.edtf,
        "first_day": date.first_day,
        "last_day": date.last_day,
    }


def labelled(tags=TAGS, given=GIVEN):
    return Labelled(TagTables(list(tags), dict(given), ["Clustering", "Époque"]), FILES)


def write_store(folder):
    """A store of the images and the inventory; pictures of two."""
    made = LanceStore(uri=str(folder / "store"))
    values = [*VALUES, date_row(A, "vers 1850"), date_row(B, "450 av. J.-C."), date_row(C, "1887")]
    rows = sorted(values, key=lambda row: (row["property"], row["image_id"]))
    made.replace(
        "property_values", pa.Table.from_pylist(rows, schema=SCHEMAS["property_values"]), "true"
    )
    picture = thumbnail(Image.new("RGB", (64, 48), (200, 10, 10)))
    images = [
        {"image_id": one, "format": "JPEG", "width": 64, "height": 48, "thumbnail": picture}
        for one in (A, B)
    ]
    made.append("images", pa.Table.from_pylist(images, schema=SCHEMAS["images"]))
    return made


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path)


def add_features(store):
    """Vectors of B, A and an image that is gone, in this order; their points and neighbours."""
    table = vectors_table("mini")
    store.create(table, vectors_schema(4), {MODEL_METADATA: '{"model": "m"}'})
    ids = [B, A, "9" * 64]
    vectors = np.eye(4, dtype=np.float32)[:3]
    rows = {"image_id": ids, "vector": list(vectors)}
    store.append(table, pa.table(rows, schema=vectors_schema(4)))
    source = Input(table=table, version=store.version(table), sha256="")
    order = sorted(range(3), key=ids.__getitem__)
    read = ReadVectors([ids[n] for n in order], vectors[order], source)
    # Rows are those of the sorted ids: the image that is gone, A, B.
    graph = Graph(np.array([[1, 2], [2, 0], [1, 0]], np.int32), np.full((3, 2), 0.75, np.float32))
    info = GraphInfo(k=2, method="exact", recall=1, vectors=source, output="")
    write_graph(store, "mini", read, graph, info)
    points = {"image_id": [A, B], "point": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}
    cause = {"config": {}, "inputs": [], "libraries": {}, "code_version": "", "machine": {}}
    record = ProjectionRecord(
        key="mini/own",
        cause=cause,
        nb_images=2,
        nb_not_embedded=0,
        explained_variance=None,
        trustworthiness=1,
        output="0f",
        git_commit=None,
        dagster_run_id="",
        started_at="2026-01-01",
        finished_at="2026-01-01",
    )
    metadata = {PROJECTION_METADATA: record.model_dump_json()}
    store.overwrite(points_table("mini/own"), pa.table(points, schema=points_schema(3)), metadata)


def parquet(store, tmp_path, locate="/images/{}".format, tags=None, **chosen):
    file = tmp_path / "i.parquet"
    count = write_image_parquet(tags or labelled(), store, ChosenColumns(**chosen), locate, file)
    rows = pq.read_table(file)
    assert count == rows.num_rows
    return rows


def omeka(store, title=None, tags=None, locate="/images/{}".format):
    """The cells as Omeka S has them: PHP's way of reading, and spaces taken away."""
    file = io.StringIO(newline="")
    write_omeka(tags or labelled(), store, title, locate, file)
    header, *rows = php_csv(file.getvalue())
    return header, [dict(zip(header, row, strict=True)) for row in rows], file.getvalue()


def php_csv(text):
    """Rows as ``fgetcsv`` with a backslash for its escape reads them, trimmed."""
    rows, row, cell, quoted, place = [], [], "", False, 0
    while place < len(text):
        sign = text[place]
        if quoted and sign == "\\" and place + 1 < len(text):
            cell += text[place : place + 2]
            place += 2
            continue
        if quoted and sign == '"' and text[place + 1 : place + 2] == '"':
            cell += '"'
            place += 2
            continue
        if sign == '"' and (quoted or not cell.strip()):
            quoted = not quoted
        elif not quoted and sign in ",\r\n":
            row.append(cell.strip())
            cell = ""
            if sign == "\r":
                rows.append(row)
                row, place = [], place + 1
        else:
            cell += sign
        place += 1
    assert not (row or cell or quoted)
    return rows


def tropy(store, title=None, tags=None, locate="/images/{}".format):
    file = io.StringIO(newline="")
    write_tropy(tags or labelled(), store, title, locate, file)
    header, *rows = csv.reader(io.StringIO(file.getvalue(), newline=""))
    names = [name.rpartition("/")[2] for name in header]
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def test_one_row_for_each_image_has_its_files_tags_and_inventory_in_their_types(store, tmp_path):
    """D59: names, tags and values as they are, nothing made harmless."""
    table = parquet(store, tmp_path)
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert list(rows) == sorted({*FILES, GONE})
    assert (rows[A]["path"], rows[A]["paths"]) == (FILES[A][0], FILES[A])
    assert rows[PAGE_2]["path"] == "booklet.tif#page=2"
    assert (rows[GONE]["path"], rows[GONE]["file"], rows[GONE]["tags: Clustering"]) == (
        *(None, None),
        ["=1+1"],
    )
    assert rows[A]["tags: Clustering"] == ["=1+1", "=1+1 > fish, coral"]
    assert rows[A]["tags: Époque"] is None
    assert rows[A]["inventory: width cm"] == -12.5
    assert rows[A]["inventory: matières"] == ["bois", "or > feuille"]
    assert rows[B]["inventory: Titre"] == "# heading"
    assert (rows[A]["width"], rows[C]["width"]) == (64, None)


def test_a_date_stands_as_it_was_written_with_its_edtf_and_days(store, tmp_path):
    rows = {row["image_id"]: row for row in parquet(store, tmp_path).to_pylist()}
    assert rows[A]["inventory: date"] == "vers 1850"
    assert rows[A]["inventory EDTF: date"] == "1850~"
    assert rows[B]["inventory EDTF: date"] == "-0449"
    assert rows[B]["inventory first day: date"] < -800_000


def test_points_vectors_and_neighbours_follow_their_images(store, tmp_path):
    """With vectors, rows come as the store holds them, and neighbours are numbers of rows."""
    add_features(store)
    rows = parquet(store, tmp_path, projection="mini/own", vector_type="mini").to_pylist()
    assert [row["image_id"][0] for row in rows] == ["b", "a", "c", "e", "f"]
    assert (rows[1]["x"], rows[1]["y"], rows[1]["z"], rows[2]["x"]) == (1.0, 2.0, 3.0, None)
    assert rows[0]["vector"] == [1.0, 0.0, 0.0, 0.0]
    assert rows[2]["vector"] is None
    # Of the image that is gone nothing is said. All have as many: viewers stack them.
    near = [row["neighbors"] for row in rows]
    assert near[0] == {"ids": [0, 1, 0], "distances": [0.0, 0.25, 0.0]}
    assert near[1] == {"ids": [1, 0, 1], "distances": [0.0, 0.25, 0.0]}
    assert near[2] == {"ids": [2, 2, 2], "distances": [0.0, 0.0, 0.0]}


def test_the_schema_tells_what_the_file_was_made_of(store, tmp_path):
    add_features(store)
    schema = parquet(store, tmp_path, vector_type="mini", projection="mini/own").schema
    told = json.loads(schema.metadata[b"panoptic_assets"])
    assert (told["vector_type"], told["projection_output"]) == ("mini", "0f")
    assert told["model"] == {"model": "m"}
    assert schema.field("vector").type == pa.list_(pa.float32(), 4)
    assert all(field.metadata[b"description"] for field in schema)


def test_pictures_are_jpeg_in_the_form_that_viewers_take(store, tmp_path):
    rows = {
        row["image_id"]: row["image"]
        for row in parquet(store, tmp_path, thumbnails=True).to_pylist()
    }
    assert rows[A]["path"] == f"{A}.jpg"
    with Image.open(io.BytesIO(rows[A]["bytes"])) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
    assert rows[C] is None


def test_the_table_of_images_gives_its_tags_and_vectors_back(store, tmp_path):
    """A24, A25: without a mapping, whatever other columns there are."""
    add_features(store)
    parquet(store, tmp_path, vector_type="mini", projection="mini/own")
    file = pq.ParquetFile(tmp_path / "i.parquet")
    assert holds_tags(file.schema_arrow)
    said = formats.said(read_tag_rows(file))
    named = {"t1": ("=1+1",), "t2": ("=1+1", "fish, coral"), "t3": ("-5",), "t4": ("\\",)}
    given = {
        (said.images[place].image_id, name, path)
        for name, pairs in said.given.items()
        for place, path in pairs
    }
    of = {tag.tag_id: tag.property for tag in TAGS}
    assert given == {(image_id, of[tag], named[tag]) for tag, image_id in GIVEN}
    [(names, vectors)] = VectorsFile(vectors="i.parquet", model="m").batches(tmp_path)
    assert names == [B, A]
    assert np.array_equal(vectors, np.eye(4)[:2])


@pytest.mark.parametrize(
    "columns",
    [
        [("image_id", "a"), ("image_id", "b"), ("tags: P", ["x"])],
        [("image_id", "a"), ("tags: P", ["x"]), ("tags: P", ["y"])],
        [("image_id", 7), ("tags: P", ["x"])],
    ],
)
def test_a_table_with_a_column_twice_or_of_numbers_is_refused_plainly(columns, tmp_path):
    """It was a traceback."""
    arrays = [pa.array([value]) for _, value in columns]
    names = [name for name, _ in columns]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), tmp_path / "t.parquet")
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        assert holds_tags(file.schema_arrow)
        with pytest.raises(formats.ExchangeError, match="is there twice, or holds no texts"):
            list(read_tag_rows(file))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"vector_type": "none"}, "has a vector of type 'none'"),
        ({"vector_type": "../x"}, "is not"),
        ({"projection": "mini/none"}, "has a point of projection|has a vector of type"),
        ({"projection": "mini"}, "is not a projection"),
        ({"run": "none"}, "There is no clustering 'none'"),
    ],
)
def test_what_is_not_there_is_refused(store, tmp_path, chosen, message):
    with pytest.raises(InputError, match=message):
        parquet(store, tmp_path, **chosen)


def test_without_tags_and_inventory_the_table_still_has_the_images(tmp_path):
    empty = LanceStore(uri=str(tmp_path / "empty"))
    table = parquet(empty, tmp_path, tags=Labelled(TagTables(), FILES))
    assert table.column_names == [
        *("image_id", "path", "paths", "file", "format", "width", "height"),
    ]
    assert table.num_rows == len(FILES)


def test_omeka_gets_one_item_for_each_file_with_terms_that_map_by_themselves(store):
    """A file whose pages are images is one item, with the tags of all of them."""
    header, rows, _ = omeka(store)
    assert header == [
        *("dcterms:identifier", "dcterms:title", "dcterms:subject"),
        *("dcterms:date", "matières", "width cm", "date (EDTF)", "dcterms:source", "file"),
    ]
    assert [row["dcterms:identifier"] for row in rows] == [A, B, C]
    assert [row["dcterms:subject"] for row in rows] == [
        *("=1+1|=1+1 > fish, coral", "-5", "=1+1|\\")
    ]
    assert rows[0]["matières"] == "bois|or > feuille"
    assert [row["dcterms:date"] for row in rows] == ["vers 1850", "450 av. J.-C.", "1887"]
    assert [row["date (EDTF)"] for row in rows] == ["1850~", "-0449", "1887"]
    assert rows[2]["dcterms:title"] == "booklet.tif"
    assert rows[2]["file"] == "booklet.tif"


def test_nothing_that_omeka_gets_ends_a_cell_or_is_a_formula_for_a_spreadsheet(store):
    """The apostrophe of our other CSV files would be published: Omeka S takes spaces away."""
    _, rows, text = omeka(store)
    assert rows[0]["dcterms:title"] == '@home \\ "quoted\\'
    assert rows[0]["width cm"] == "-12.5"
    assert rows[0]["dcterms:source"] == FILES[A][0]
    assert rows[0]["file"] == f"./{FILES[A][0]}"
    assert rows[1]["dcterms:source"] == FILES[B][0]
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert {cell for cell in cells if cell[:1] in "=+-@" and cell} == {"-12.5", "-5", "-0449"}


def test_a_bar_in_a_tag_never_makes_two_tags(store):
    tags = [Tag("t1", "Clustering", "a|b"), Tag("t2", "Clustering", "c")]
    with pytest.raises(ExchangeError, match="'a|b' has a | in its name.* rename the tag"):
        omeka(store, tags=labelled(tags, {("t1", A): 1, ("t2", A): 1}))


def test_images_on_a_web_server_are_addresses_for_omeka_and_tropy(store):
    locate = "https://example.org/{}".format
    header, rows, _ = omeka(store, locate=locate)
    assert header[-1] == "url"
    assert rows[2]["url"] == "https://example.org/booklet.tif"
    assert tropy(store, locate=locate)[1][2]["tropy#path"] == "https://example.org/booklet.tif"


def test_tropy_gets_columns_that_it_knows_and_the_rest_as_a_description(store):
    """Its plugin refuses any other column, and an empty first cell."""
    names, rows = tropy(store)
    assert names == ["identifier", "title", "date", "description", "tropy#tag", "tropy#path"]
    assert [row["identifier"] for row in rows] == [A, B, C]
    assert [row["date"] for row in rows] == ["1850~", "-0449", "1887"]
    assert rows[0]["description"].split("\n") == [
        *("date: vers 1850", "matières: bois; or > feuille", "width cm: -12.5")
    ]
    assert [row["tropy#path"] for row in rows] == [
        *(f"/images/{FILES[A][0]}", f"/images/{FILES[B][0]}", "/images/booklet.tif")
    ]


def test_a_comma_in_a_tag_is_not_where_tropy_parts_tags(store):
    _, rows = tropy(store)
    assert rows[0]["tropy#tag"].strip().split(", ") == ["=1+1", "=1+1 > fish,\u00a0coral"]


def test_images_that_tropy_cannot_reach_are_refused(store):
    for locate in (lambda path: None, "s3://bucket/{}".format):
        with pytest.raises(ExchangeError, match="put the images into a folder"):
            tropy(store, locate=locate)


def test_a_title_is_the_property_that_is_asked_for_or_the_files_name(store):
    _, rows, _ = omeka(store, title="matie\u0300res")
    assert [row["dcterms:title"] for row in rows] == [
        *("bois; or > feuille", 'b\n"new, line".jpg', "booklet.tif")
    ]
    assert tropy(store, title="width cm")[1][0]["title"] == "-12.5"
    assert tropy(store, title="width cm")[1][2]["title"] == "booklet.tif"
    with pytest.raises(ExchangeError, match="no property 'Nope' for titles; it has 'Titre'"):
        omeka(store, title="Nope")


def test_a_line_for_tropy_is_never_taken_for_a_comment(store):
    row = {"image_id": B, "property": "identifiant", "type": "text", "text": "#17"}
    store.append("property_values", pa.Table.from_pylist([row], schema=SCHEMAS["property_values"]))
    _, rows = tropy(store)
    assert [row["identifier"] for row in rows] == [A, " #17", C]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Créateur", "dcterms:creator"),
        ("auteur", "dcterms:creator"),
        ("dcterms:rights", "dcterms:rights"),
        ("Mots-clés", "dcterms:subject"),
        ("sujets", "dcterms:subject"),
        ("Photographe", "dcterms:creator"),
        ("Numéro d'inventaire", "dcterms:identifier"),
        ("Droits d’auteur", "dcterms:rights"),
        ("Cote", "Cote"),
        ("=cmd()", "=cmd()"),
    ],
)
def test_a_property_is_the_element_that_it_is_called_like(store, name, header):
    row = {"image_id": B, "property": name, "type": "text", "text": "x"}
    store.append("property_values", pa.Table.from_pylist([row], schema=SCHEMAS["property_values"]))
    assert omeka(store)[1][1][header] == "x"
    _, rows = tropy(store)
    element = header.removeprefix("dcterms:")
    told = rows[1].get(element) or rows[1]["description"].strip().split("\n")
    assert told == "x" or f"{name}: x" in told


@pytest.mark.parametrize("name", ["Date de création", "datation", "date_created"])
def test_a_date_by_another_name_is_the_date_where_no_other_property_is(tmp_path, name):
    row = {**date_row(A, "vers 1850"), "property": name}
    made = LanceStore(uri=str(tmp_path / "store"))
    table = pa.Table.from_pylist([row], schema=SCHEMAS["property_values"])
    made.replace("property_values", table, "true")
    header, rows, _ = omeka(made)
    assert rows[0]["dcterms:date"] == "vers 1850"
    assert f"{name} (EDTF)" in header
    _, rows = tropy(made)
    assert (rows[0]["date"], rows[0]["description"]) == ("1850~", f"{name}: vers 1850")


def test_tropy_gets_one_date_and_one_identifier_and_what_else_is_said_as_a_description(store):
    """Two dates in one cell are no EDTF, and only one identifier is the key of an item."""
    rows = [
        {**date_row(C, "1900"), "property": "date of creation"},
        {"image_id": C, "property": "datation", "type": "text", "text": "Empire"},
        {"image_id": C, "property": "identifiant", "type": "text", "text": "17"},
        {"image_id": C, "property": "inventory number", "type": "text", "text": "18"},
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMAS["property_values"])
    store.append("property_values", table)
    _, [_, _, row] = tropy(store)
    assert (row["date"], row["identifier"]) == ("1887", "17")
    told = {"date of creation: 1900", "datation: Empire", "inventory number: 18"}
    assert told <= {*row["description"].split("\n")}


def test_the_names_of_elements_are_those_that_the_manual_lists():
    for language in ("en", "fr"):
        text = Page(language, "how-to/exchange").text
        said = dict(re.findall(r"^\| `dcterms:(\w+)` \| (.*) \|$", text, re.MULTILINE))
        names = {element: re.findall(r"`(.+?)`", cell) for element, cell in said.items()}
        assert names == {
            element: [element, *filter(None, more.split(", "))]
            for element, more in catalogue_csv.ELEMENTS.items()
        }


def test_what_omeka_exports_of_such_items_names_its_files(store):
    """Its module Exports writes a term with the type of its values."""
    _, rows, _ = omeka(store)
    lines = [["o:id", "dcterms:title:literal", "dcterms:source:literal"]]
    lines += [["7", row["dcterms:title"], row["dcterms:source"]] for row in rows]
    file = io.StringIO(newline="")
    csv.writer(file).writerows(lines)
    read = parse_inventory(file.getvalue().encode())
    assert match_images(read, FILES, "").nb_unmatched == 0


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("{folder}", "{folder}/a b.tif"),
        ("memory://corpus/", "memory://corpus/a b.tif"),
        ("https://example.org/f", "https://example.org/f/a%20b.tif"),
        ("https://example.org/f?key=1", None),
        ("https://example.org/iiif/manifest.json", None),
        ("{folder}/scans.zip", None),
    ],
)
def test_the_file_of_a_page_has_an_address_where_another_program_can_have_it(tmp_path, root, place):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr("a b.tif", b"")
    locate = locator(ImageSource(root=root.format(folder=tmp_path)))
    assert locate("a b.tif#page=2") == (place and place.format(folder=tmp_path))
