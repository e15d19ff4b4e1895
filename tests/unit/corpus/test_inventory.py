"""Metadata in a CSV file: what its cells mean, which image they are for, and what is refused."""

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import panoptic_assets
from panoptic_assets.corpus.inventory import (
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_UNMATCHED,
    InventoryError,
    Property,
    Unmatched,
    match_images,
    parse_inventory,
)
from panoptic_assets.corpus.inventory_findings import FIRST_OF_A_CAUSE, MAX_CAUSES
from panoptic_assets.spec.markdown import table
from panoptic_assets.spec.tables import MAX_CELL, MAX_LINE
from panoptic_assets.spec.written_dates import read_date

PANOPTIC_EXPORT = """\
path;motif[tag];sujets[multi_tags];titre[text];prix[number];fait[date];teinte[color];vu[checkbox]
vases/grec/a.png;frise;animal,cheval;Amphore;12;2024-09-01T00:00:00Z;0;True
vases/grec/b.png;frise, double;;;;;;
"""


def columns(text):
    """Property name to (type, values)."""
    found = parse_inventory(text.encode() if isinstance(text, str) else text)
    return {column.property.name: (column.property.type, column.values) for column in found.columns}


def cells(type_, *values, separator=";"):
    """The values of cells of one type, and the findings."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(["path", f"p[{type_}]"])
    writer.writerows(["x.jpg", value] for value in values)
    found = parse_inventory(file.getvalue().encode())
    return found.columns[0].values, found.findings.first


def refusal(text):
    with pytest.raises(InventoryError) as caught:
        parse_inventory(text.encode() if isinstance(text, str) else text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def images_of(text, paths, folder=""):
    """Property name to image id to value, and the whole answer."""
    found = match_images(parse_inventory(text.encode()), paths, folder)
    return {key.name: value for key, value in found.values.items()}, found


# --- the table


def test_an_export_of_panoptic_is_read_with_its_types():
    found = columns(PANOPTIC_EXPORT)
    assert {name: type_ for name, (type_, _) in found.items()} == {
        "motif": "tag",
        "sujets": "multi_tags",
        "titre": "text",
        "prix": "number",
        "fait": "date",
        "teinte": "text",
        "vu": "text",
    }
    assert found["motif"][1] == [("frise",), ("frise, double",)]
    assert found["sujets"][1] == [("animal", "cheval"), None]
    assert found["prix"][1] == [12.0, None]
    assert found["fait"][1] == [read_date("2024-09-01"), None]


def test_types_of_panoptic_that_do_not_exist_here_are_kept_as_text_and_said():
    causes = [
        (f.line, f.column, f.cause)
        for f in parse_inventory(PANOPTIC_EXPORT.encode()).findings.first
    ]
    assert causes == [
        (1, "teinte", "values of type color are kept as text"),
        (1, "vu", "values of type checkbox are kept as text"),
    ]


def test_panoptics_own_columns_are_no_properties_and_said_once():
    text = "id;path[path];folder[folder];sha1[sha1];note[text]\n7;/x/a.png;3;ab12;so\n"
    assert columns(text) == {"note": ("text", ["so"])}
    [finding] = parse_inventory(text.encode()).findings.first
    assert (finding.line, finding.value) == (1, "id, folder[folder], sha1[sha1]")
    assert "left out" in finding.cause


def test_an_id_of_ones_own_is_a_property():
    assert columns("path;id\na;A-7\n") == {"id": ("text", ["A-7"])}


def test_brackets_that_hold_no_type_belong_to_the_name():
    found = parse_inventory(b"path;hauteur [cm]\na;12\n")
    assert [column.property for column in found.columns] == [Property("hauteur [cm]", "number")]
    [finding] = found.findings.first
    assert "cm is not a type" in finding.cause


def test_the_type_may_be_in_any_case_and_have_spaces_around_it():
    assert columns("path;titre [ Text ]\na;1\n") == {"titre": ("text", ["1"])}


@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_newlines_and_the_mark_of_utf_8_are_recognised(separator, newline, mark):
    text = newline.join([f"path{separator}été 図書館", f"a.jpg{separator}🍌", ""])
    assert columns(mark + text.encode()) == {"été 図書館": ("text", ["🍌"])}


def test_the_other_separator_may_stand_in_a_quoted_header():
    assert list(columns('path;"titre, long, très long, ou non"\na;b\n')) == [
        "titre, long, très long, ou non"
    ]
    assert list(columns('"titre; long; très long",path\na,b\n')) == ["titre; long; très long"]


def test_quoted_cells_hold_separators_quotes_and_newlines():
    found = parse_inventory(b'path;t;n\na;"x;""y""\nz, w";1\nb;q;2\n')
    assert [column.values for column in found.columns] == [['x;"y"\nz, w', "q"], [1.0, 2.0]]
    assert found.lines == [2, 4]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\n;;\npath;t;;\n\na;x;;\n;;;\nb;\n", id="at the end"),
        pytest.param(b"\tpath\t\tt\n\ta\t\tx\n\tb\t \t\n", id="elsewhere"),
    ],
)
def test_blank_lines_and_columns_that_are_all_blank_count_for_nothing(text):
    found = parse_inventory(text)
    assert [(c.property.name, c.values) for c in found.columns] == [("t", ["x", None])]
    assert (found.files, found.findings.total) == (["a", "b"], 0)


@pytest.mark.parametrize("name", ["IMG,1.jpg", "a;b\tc.jpg", '"IMG, 1.jpg"'])
def test_where_path_is_the_only_column_each_line_is_a_name(name):
    found = parse_inventory(f"path\n{name}\n".encode())
    assert (found.files, found.columns) == ([name.strip('"')], [])


@pytest.mark.parametrize("name", ["path", "Chemin", "FILE", "fichier", "filename", "file_name"])
def test_the_column_of_files_is_known_by_its_name_wherever_it_stands(name):
    found = parse_inventory(f"titre;{name}\nAmphore;a.jpg\n".encode())
    assert (found.files, len(found.columns)) == (["a.jpg"], 1)


def test_path_is_the_column_of_files_before_any_other_name():
    found = parse_inventory(b"image;path;path[text]\nx;a.jpg;p\n")
    assert found.files == ["a.jpg"]
    assert [column.property.name for column in found.columns] == ["image", "path"]


def test_the_attribution_of_the_sample_is_read():
    """A real file: commas between cells, semicolons inside them."""
    sample = Path(panoptic_assets.__file__).parent / "sample"
    with (sample / "ATTRIBUTION.csv").open("rb") as file:
        found = parse_inventory(file)
        assert not file.closed
    assert (found.separator, len(found.files), found.findings.total) == (",", 253, 0)
    assert all((sample / path).is_file() for path in found.files)
    assert {c.property.name: c.property.type for c in found.columns} == dict.fromkeys(
        ["original", "licence", "caption_en", "caption_fr", "category"], "text"
    )


_TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(str.strip)


@given(
    st.sampled_from([";", ","]),
    # The writer leaves a \r bare where it is no part of the newline.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.lists(st.tuples(_TEXT, _TEXT, st.floats(allow_nan=False, allow_infinity=False)), max_size=8),
)
def test_what_the_csv_module_writes_is_read_back(separator, newline_and_quoting, rows):
    newline, quoting = newline_and_quoting
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator=newline, quoting=quoting)
    writer.writerow(["path", "t[text]", "n[number]"])
    writer.writerows((path, text, f"{number:e}") for path, text, number in rows)
    found = parse_inventory(file.getvalue().encode())
    assert found.files == [path for path, _, _ in rows]
    assert found.columns[0].values == [text for _, text, _ in rows]
    assert found.columns[1].values == [float(f"{number:e}") for _, _, number in rows]
    assert found.findings.total == 0


READABLE = "x;1;1887;a,b;é\ny;?;?;;\n".encode()


@given(st.binary(max_size=200))
@example(READABLE)
def test_no_bytes_give_anything_but_a_table_or_a_plain_refusal(data):
    """Hostile by default."""
    try:
        found = parse_inventory(b"path;a[number];b[date];c[multi_tags];d\n" + data)
    except InventoryError as error:
        assert data != READABLE
        assert len(str(error).splitlines()) == 1
    else:
        assert all(len(column.values) == len(found.files) for column in found.columns)
        match_images(found, {"i": ["x"]})


# --- values


def test_numbers_have_a_decimal_point():
    values, findings = cells("number", "1.5", " -2 ", "1e3", ".5", "007", separator=",")
    assert (values, findings) == ([1.5, -2.0, 1000.0, 0.5, 7.0], ())


@pytest.mark.parametrize("separator", [";", "\t"])
def test_the_decimal_comma_is_read_where_no_comma_separates(separator):
    assert cells("number", "1,5", "1,500", separator=separator)[0] == [1.5, 1.5]


@pytest.mark.parametrize("mark", [" ", "\u00a0", "\u202f", "\u2009", "'", "’"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_thousands_may_be_apart_by_any_space_and_by_the_apostrophe_of_the_swiss(mark, separator):
    written = [f"1{mark}234,50", f"-12{mark}345.5", f"\u22121{mark}234{mark}567", f"1{mark}234"]
    values, findings = cells("number", *written, separator=separator)
    assert (values, findings) == ([1234.5, -12345.5, -1234567.0, 1234.0], ())


@pytest.mark.parametrize("cell", ["12,5 €", "€ 12", "12 cm", "3 x 4", "12%", "5″", '5"', "1 234 F"])
def test_a_number_with_a_unit_or_a_currency_is_said_and_the_unit_belongs_into_the_header(cell):
    values, [finding] = cells("number", cell)
    assert values == [None]
    assert "header" in finding.cause


def test_a_comma_may_mark_thousands_where_it_separates_cells_and_is_not_guessed():
    values, [finding] = cells("number", "1,500", separator=",")
    assert values == [None]
    assert (finding.line, finding.column, finding.value) == (2, "p", "1,500")


@pytest.mark.parametrize(
    ("cell", "cause"),
    [
        ("12 34", "not a number"),
        ("1 2345", "not a number"),
        ("1,234,567", "not a number"),
        ("1,234.5", "not a number"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("0x10", "not a number"),
        ("1_000", "not a number"),
        ("٣", "not a number"),
        ("=1+1", "not a number"),
        ("1" * 100_000, "not a number"),
        ("1e999", "too large"),
        ("9007199254740993", "too many digits"),
    ],
)
def test_what_is_no_number_is_left_out_and_said(cell, cause):
    values, [finding] = cells("number", "1", cell)
    assert values == [1.0, None]
    assert finding.line == 3
    assert finding.cause.startswith(cause)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-03-09", "2024-03-09"),
        ("2024/3/9", "2024-03-09"),
        ("09/03/2024", "2024-03-09"),
        ("9/3/2024 13:45", "2024-03-09T13:45:00Z"),
        ("2024-03-09T13:45:30.5Z", "2024-03-09T13:45:30Z"),
        ("2024-03-09 01:00:00+02:00", "2024-03-08T23:00:00Z"),
        ("2024-03", "2024-03"),
        ("03/2024", "2024-03"),
        ("0079", "0079"),
        ("vers 1900", "1900~"),
    ],
)
def test_dates_are_iso_or_have_the_day_first(cell, expected):
    [found], findings = cells("date", cell)
    assert (found.text, found.edtf, findings) == (cell, expected, ())


def test_cells_that_say_that_there_is_no_date_are_counted_and_no_findings():
    data = "path;d[date];t\nx;s. d.;s. d.\nx;sans date;?\nx;?;\nx;;\nx;vers 1850;\n"
    found = parse_inventory(data.encode())
    dates, texts = (column.values for column in found.columns)
    assert dates == [None, None, None, None, read_date("ca. 1850")]
    assert texts[:2] == ["s. d.", "?"]
    assert (found.findings.total, found.findings.undated) == (0, {"d": 3})


def test_dates_and_numbers_of_french_inventories_are_values():
    written = ["vers 1850", "1850?", "1850-1860", "XIXe siècle", "09.03.1887", "[1887]", "842",
               "-0450"]  # fmt: skip
    values, findings = cells("date", *written)
    assert [value.edtf for value in values] == [
        *("1850~", "1850?", "1850/1860", "18XX", "1887-03-09", "1887", "0842", "-0450")
    ]
    assert [value.text for value in values] == written
    assert findings == ()
    values, findings = cells("number", "1 234,50", "1\u202f234", "1\u00a0234", "12,5 €")
    assert values == [1234.5, 1234.0, 1234.0, None]
    assert [finding.value for finding in findings] == ["12,5 €"]


@pytest.mark.parametrize(
    "cell",
    ["12/31/1999", "2024-02-30", "31/12/99", "vers 19", "-44", "2024-03/09", "2024-03-09T25:00",
     "0001-01-01T00:00+10:00", "2024-03-09T00:00+99:00", "20240309"],
)  # fmt: skip
def test_what_is_no_date_is_left_out_and_said(cell):
    values, [finding] = cells("date", cell)
    assert values == [None]
    assert "no such date" in finding.cause or "not a date" in finding.cause


def test_a_tag_is_the_whole_cell_and_multi_tags_are_separated_by_commas():
    assert cells("tag", "a, b")[0] == [("a, b",)]
    assert cells("multi_tags", "b, a,,b,", ",")[0] == [("a", "b"), None]


def test_tags_have_a_hierarchy_with_or_without_spaces():
    values, findings = cells("multi_tags", "a>b  c,  a  >  b c > d ")
    assert (values, findings) == ([("a > b c", "a > b c > d")], ())


def test_the_same_tag_with_composed_and_decomposed_accents_is_one_tag():
    values, _ = cells("tag", *(unicodedata.normalize(form, "été") for form in ("NFC", "NFD")))
    assert values[0] == values[1]


@pytest.mark.parametrize("cell", ["> a", "a >", "a > > b", ">", "a\x1b[2J", "a\u202eb", "x" * 201])
def test_a_tag_without_a_name_or_with_control_characters_is_left_out_and_said(cell):
    values, [finding] = cells("tag", cell)
    assert values == [None]
    assert finding.cause.startswith("a tag has no name" if ">" in cell else "a tag h")


def test_text_is_kept_as_it_was_written():
    text = ["=HYPERLINK(1)", " a ", "l'été\n2", "+33 1 23", "@x"]
    assert cells("text", *text) == (text, ())


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-2.50", "", "1887"], "number"),
        (["1", "n. d."], "text"),
        (["00123", "00124"], "text"),  # inventory numbers
        (["+33123456789"], "text"),
        (["12E3"], "text"),
        (["1,5", "2,5"], "text"),  # a list as well as a number
        (["12345678901234567890"], "text"),
        (["1 234,50", "950", "12,5"], "number"),  # thousands with decimals
        (["1\u202f234", "2\u202f345", "\u22125"], "number"),  # a space that programs write
        (["1\u202f234", "12,5"], "number"),
        (["75\u00a0001", "75\u00a0001", "950"], "text"),  # one code, with a space that stuck
        (["75 001", "13 002"], "text"),  # codes with a space
        (["1 234,50", "n. d."], "text"),
        (["12\u00a0345\u00a0678\u00a0901\u00a0234\u00a0567\u00a0890"], "text"),
        (["vers 1850"], "text"),
        (["2024-03-09", "2024-03-10T10:00:00Z"], "date"),
        (["2024-03-09", "2024-02-30"], "text"),
        (["09/03/2024"], "text"),  # the month first, elsewhere
        (["2024-03"], "text"),
        (["a > b", "a > c"], "text"),  # tags are never guessed
        (["", " "], "text"),
    ],
)
def test_a_column_without_a_type_is_a_number_or_date_only_when_nothing_is_lost(values, type_):
    lines = "".join(f'x;"{value}"\n' for value in values)
    assert columns(f"path;p\n{lines}")["p"][0] == type_


def notes(text):
    """Line, column, value and cause of what is found in a file."""
    found = parse_inventory(text.encode()).findings.first
    return [(one.line, one.column, one.value, one.cause) for one in found]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("Date", ["1850", "1860"]),
        ("Date de création", ["vers 1850", "s. d.", "XIXe siècle"]),
        ("année", ["1850"]),
        ("Époque", ["vers 1850", "1850-1860", "1887", "avant 1900", "?"]),
    ],
)
def test_a_column_without_a_type_that_holds_dates_is_said(header, cells):
    lines = "".join(f"x;{cell}\n" for cell in cells)
    [(line, column, value, cause)] = notes(f"path;{header}\n{lines}")
    assert (line, column, value) == (1, header, header)
    assert f"write {header}[date]" in cause


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("prix", ["1850", "1860"]),
        ("Date", ["2024-03-09"]),
        ("Date", ["", ""]),
        ("Date", ["à voir", "en cours"]),
        ("titre", ["Amphore", "1850"]),
        ("cote", ["1999.12.31", "1999.12.32", "1999.45.1", "1999.13.1"]),
        ("Date[text]", ["vers 1850"]),
    ],
)
def test_a_column_that_holds_no_dates_or_has_a_type_is_not_taken_for_dates(header, cells):
    lines = "".join(f"x;{cell}\n" for cell in cells)
    assert notes(f"path;{header}\n{lines}") == []


def test_types_may_be_named_in_french():
    data = "path;a[nombre];b[Texte];c[étiquette];d[etiquettes]\nx;1,5;1;a, b;b, a\n"
    assert columns(data) == {
        "a": ("number", [1.5]),
        "b": ("text", ["1"]),
        "c": ("tag", [("a, b",)]),
        "d": ("multi_tags", [("a", "b")]),
    }


@pytest.mark.parametrize(
    ("cells", "is_said"),
    [
        (["1,234", "12 500", "2,500"], True),
        (["1,234", "1,234,567"], True),
        (["1,234", "1,234.5"], True),
        (["1,234", "1,234", "12"], False),
        (["1,234", "12,5"], False),
        (["1,234", "2,345", "0,500"], False),
    ],
)
def test_commas_of_decimals_that_all_stand_before_three_digits_are_said(cells, is_said):
    lines = "".join(f"x;{cell}\n" for cell in cells)
    found = parse_inventory(f"path;p[number]\n{lines}".encode())
    said = [one for one in found.findings.first if "before three digits" in one.cause]
    assert [(one.line, one.value) for one in said] == [(2, "1,234")] * is_said
    assert found.columns[0].values[0] == 1.234


# --- what is refused, and what is only reported


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The file is empty: one of its first 20 lines must name the columns, one of them "),
        ("\n \n", "The file is empty"),
        (";;\n,,\n", "The file is empty"),
        ('"";""\n', "The file is empty"),
        ("titre;prix\na;1\n", "No column names the files; the header is titre, prix"),
        ("a.jpg;Amphore\n", "No column names the files"),
        ("id;titre[text]\n1;a\n", "Panoptic's ids mean nothing here"),
        ("path;t;t\n", "Two columns have the name t: rename"),
        ("path;t[text];t[number]\n", "Two columns have the name t: rename"),
        ("path;été;" + unicodedata.normalize("NFD", "été"), "Two columns have the name été"),
        ("path;file;file\n", "Two columns have the name file"),
        ("path;;t\na;;c\na;b;c\n", "Column 2 of the header has no name"),
        ("path;t;\na;b;\na;b;c\n", "Column 3 of the header has no name"),
        ("path;a\x1b[2J\n", "The name of column a\\x1b[2J holds control characters"),
        ("path;" + "x" * 201 + "\n", "has 201 characters; at most 200"),
        (";".join(["path", *map(str, range(MAX_COLUMNS))]), f"{MAX_COLUMNS} are possible"),
        ("path;t\na;b\nc;d;e\n", "Line 3 has 3 cells, the header has 2"),
        ('path;t\na;b\nc;"d\ne;f\n', "Line 3 cannot be read (unexpected end of data)"),
        ('path;t\na;"b"c\n', "Line 2 cannot be read"),
        ('"path;t\na;b\n', "The header cannot be read"),
        ("path;t\na;b\0c\n", "Line 2 holds a NUL byte"),
        ("path;t\na;b\n".encode("utf-16-le"), "Line 1 holds a NUL byte"),
        ("path;é\na;b\r\nc;".encode() + b"\xc3", "Line 3 is not UTF-8 (byte 0xc3)"),
        ("path;ét\na;".encode() + b"\xed\xa0\x80", "Line 2 is not UTF-8"),  # a lone surrogate
        (
            'path;t\na;"' + "x\n" * 70_000,
            f"A cell on line 2 or just below has more than {MAX_CELL:,}",
        ),
        ("path;t\na;" + "x" * MAX_LINE, f"more than {MAX_LINE:,} characters"),
        ('path;t\na;"x\n"' + ';"x\n"' * (MAX_LINE // 5), f"more than {MAX_LINE:,} characters"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_place_and_the_remedy(text, message):
    assert message in refusal(text)


@pytest.fixture
def raised_limit():
    before = csv.field_size_limit(2**24)
    yield
    csv.field_size_limit(before)


@pytest.mark.usefixtures("raised_limit")
@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(f'a;"{"x" * (MAX_CELL + 1)}"', id="closed"),
        pytest.param(f'"{"x" * (MAX_CELL + 1)}";b\nc;d', id="first of its line"),
        pytest.param('a;"' + "x\n" * 70_000, id="not closed"),
    ],
)
def test_how_long_a_cell_may_be_depends_on_nobody_else_in_the_process(cells):
    """The csv module has one limit for the process; checking an audit bundle raises it."""
    assert f"A cell on line 2 or just below has more than {MAX_CELL:,}" in refusal(
        f"path;t\n{cells}\n"
    )


@pytest.mark.usefixtures("raised_limit")
@pytest.mark.parametrize("blank", ["", "\n"])
def test_how_long_a_header_may_be_neither(blank):
    assert "field larger than" in refusal(f'{blank}path;"t{" " * MAX_CELL}"\na;b\n')


@pytest.mark.usefixtures("raised_limit")
def test_cells_as_long_as_possible_are_read():
    half = "x" * (MAX_CELL // 2)
    assert columns(f"path;t\na;{half}{half}\n")["t"][1] == [half + half]
    assert columns(f"path;t;u\na;{half}x;{half}x\n")["u"][1] == [half + "x"]
    assert "Line 2 cannot be read" in refusal(f'path;t;u\na;{half}{half};"x"y\n')


def test_an_endless_line_is_refused_before_it_is_read():
    """A cell of a gigabyte costs a megabyte."""

    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.given += len(buffer)
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    endless = Endless()
    with pytest.raises(InventoryError, match="more than 1,048,576 characters"):
        parse_inventory(io.BufferedReader(endless))
    assert endless.given < 4 * MAX_LINE


def test_too_many_cells_are_refused_where_the_limit_is_passed():
    nb_columns = 200
    header = ";".join(["path", *map(str, range(nb_columns - 1))]) + "\n"
    line = "a" + ";" * (nb_columns - 1) + "\n"
    assert f"more than {MAX_CELLS:,} cells" in refusal(
        header + line * (MAX_CELLS // nb_columns + 1)
    )


def test_a_first_line_with_a_stray_quote_is_still_the_header():
    assert columns('path;5" x 7"\na;1\n') == {'5" x 7"': ("number", [1.0])}
    assert columns('path;5" photo\na;1\n') == {'5" photo': ("number", [1.0])}


def test_a_short_line_and_a_line_without_a_file_are_findings():
    found = parse_inventory(b"path;t;n\na\n ;x;1\nb;y;2\n")
    assert found.files == ["a", "b"]
    assert [(f.line, f.cause) for f in found.findings.first] == [
        (2, "the line has 1 cells, the header 3; the rest is empty"),
        (3, "the line names no file"),
    ]


def test_findings_are_counted_by_column_and_cause_and_the_first_of_each_are_kept():
    n = 3 * FIRST_OF_A_CAUSE
    found = parse_inventory(("path;n[number];d[date]\n" + "x;a;b\n" * n).encode()).findings
    assert found.total == 2 * n and found.by_column == {"n": n, "d": n}
    lines = [*range(2, 2 + FIRST_OF_A_CAUSE)]
    assert [(same.column, same.count) for same in found.causes] == [("d", n), ("n", n)]
    assert all([one.line for one in same.first] == lines for same in found.causes)


def test_causes_beyond_those_that_are_told_apart_are_counted_together():
    n = MAX_CAUSES + 1000
    found = images_of(
        "path;t\n" + "".join(f"a.jpg;v{i}\n" for i in range(n)), {"a" * 64: ["a.jpg"]}
    )[1].findings
    assert found.total == n - 1 and found.by_column == {"t": n - 1}
    assert sum(same.count for same in found.causes) == n - 1
    assert len(found.causes) <= MAX_CAUSES + 1


def test_what_is_said_of_a_header_counts_no_cell_as_left_out():
    found = parse_inventory(b"path;c[color];x[y]\na.jpg;1;2\n").findings
    assert (found.total, found.by_column) == (2, {})


def test_findings_are_short_and_safe_to_show():
    _, [finding] = cells("number", "<b>\x1b[31m|" + "x" * 1000)
    assert len(finding.value) < 80
    assert "\x1b" not in finding.value
    assert "\\<b\\>\\\\x1b\\[31m\\|" in table(["value"], [[finding.value]])


# --- which image


ID = "0123456789abcdef" * 4
CORPUS = {
    "i1": ["grec/a.jpg"],
    "i2": ["grec/b.jpg", "copies/b2.jpg"],
    "i3": ["romain/a.jpg"],
    "i4": ["a.png"],
    "i5": ["x/a.png"],
    "i6": [unicodedata.normalize("NFD", "été/图 🍌.jpg")],
    "i7": ["odd\\name.jpg"],
    "i8": [" spaced.jpg "],
}


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("grec/a.jpg", "i1"),
        ("./grec/a.jpg", "i1"),
        (".\\grec\\a.jpg", "i1"),
        (" grec/a.jpg ", "i1"),
        ("/grec/a.jpg", "i1"),
        ("b.jpg", "i2"),  # only one file has this name
        ("copies/b2.jpg", "i2"),
        ("a.png", "i4"),  # a whole path comes before the end of another
        ("x/a.png", "i5"),
        ("été/图 🍌.jpg", "i6"),
        ("图 🍌.jpg", "i6"),
        ("odd\\name.jpg", "i7"),
        (" spaced.jpg ", "i8"),
        ("vases/grec/a.jpg", "i1"),  # as Panoptic exports: with the folder's name
        ("/srv/vases/romain/a.jpg", "i3"),
        ("\\srv\\vases\\romain\\a.jpg", "i3"),
    ],
)
def test_a_line_names_a_file_by_its_path_or_by_an_end_that_only_one_has(name, image_id):
    values, _ = images_of(f"path;t\n{name};x\n", CORPUS, "/srv/vases/")
    assert values == {"t": {image_id: "x"}}


@pytest.mark.parametrize(
    "name", ["none.jpg", "../grec/a.jpg", "ec/a.jpg", "/", "/etc/passwd", "grec", "grec/"]
)
def test_a_line_that_names_no_file_is_counted_and_listed(name):
    values, found = images_of(f"path;t\n{name};x\n", CORPUS, "/srv/vases")
    assert (values, found.nb_rows, found.nb_unmatched) == ({}, 1, 1)
    assert [line.name for line in found.unmatched] == [name]


@pytest.mark.parametrize(
    ("name", "image_id", "path"),
    [("A.PNG", "i4", "a.png"), ("B.JPG", "i2", "grec/b.jpg"), ("VASES/GREC/A.jpg", None, "")],
)
def test_a_line_that_names_a_file_in_another_letter_case_is_a_finding(name, image_id, path):
    values, found = images_of(f"path;t\n{name};x\n", CORPUS, "/srv/vases")
    assert values == ({"t": {image_id: "x"}} if image_id else {})
    causes = [(f.line, f.value, f.cause) for f in found.findings.first]
    taken = f"taken for {path}, whose name differs in letter case"
    assert causes == ([(2, name, taken)] if image_id else [])


def test_a_name_that_several_files_have_in_another_letter_case_is_not_guessed():
    _, found = images_of("path;t\nGREC/X.jpg;x\n", {"i": ["Grec/x.jpg"], "j": ["grec/X.JPG"]})
    [finding] = found.findings.first
    assert "several files could be meant, such as Grec/x.jpg and grec/X.JPG" in finding.cause


@pytest.mark.parametrize(
    "name", [ID, ID[:8], "file:///srv/vases/grec/a.jpg", "grec%2Fa.jpg", "x/../grec/a.jpg"]
)
def test_a_line_names_an_image_as_it_is_named_everywhere(name):
    values, found = images_of(
        f"path;t\n{name};x\n", {ID: ["grec/a.jpg"], "j": ["x/b"]}, "/srv/vases"
    )
    assert (values, found.findings.total) == ({"t": {ID: "x"}}, 0)


def test_a_name_that_several_files_have_is_not_guessed():
    values, found = images_of("path;t\na.jpg;x\n", CORPUS)
    assert (values, found.unmatched) == ({}, (Unmatched(2, "a.jpg", ""),))
    [finding] = found.findings.first
    assert "grec/a.jpg and romain/a.jpg" in finding.cause


def test_files_that_differ_only_in_the_form_of_an_accent_are_told_apart():
    composed, decomposed = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    paths = {"i": [composed], "j": [decomposed]}
    values, _ = images_of(f"path;t\n{composed};1\n{decomposed};2\n", paths)
    assert values == {"t": {"i": 1.0, "j": 2.0}}


def test_only_the_first_unmatched_names_are_listed():
    _, found = images_of("path;t\n" + "".join(f"n{i};x\n" for i in range(100)), CORPUS)
    assert found.nb_unmatched == 100
    names = [(line.line, line.name) for line in found.unmatched]
    assert names == [(2 + i, f"n{i}") for i in range(MAX_UNMATCHED)]


def test_copies_of_an_image_must_agree_or_the_first_by_path_counts():
    text = "path;t;g[tag]\ngrec/b.jpg;late;x\ncopies/b2.jpg;early;x\n"
    values, found = images_of(text, CORPUS)
    assert values == {"t": {"i2": "early"}, "g": {"i2": ("x",)}}
    [finding] = found.findings.first
    assert (finding.line, finding.column, finding.value) == (2, "t", "late")
    assert "early already, from line 3" in finding.cause


def test_of_two_lines_for_one_file_the_first_counts_and_fills_in_from_the_second():
    values, found = images_of("path;t;u\na.png;x;\na.png;y;z\n", CORPUS)
    assert values == {"t": {"i4": "x"}, "u": {"i4": "z"}}
    assert [(f.line, f.value) for f in found.findings.first] == [(3, "y")]


def test_copies_of_an_image_unite_their_multi_tags():
    text = "path;m[multi_tags]\ngrec/b.jpg;b,a > c\ncopies/b2.jpg;a,b\n"
    values, found = images_of(text, CORPUS)
    assert values == {"m": {"i2": ("a", "a > c", "b")}}
    assert found.findings.total == 0


def test_a_property_without_any_value_is_left_out():
    assert images_of("path;t;u\na.png;x;\n", CORPUS)[0] == {"t": {"i4": "x"}}


@given(st.permutations(["grec/a.jpg;1", "b.jpg;2", "copies/b2.jpg;3", "romain/a.jpg;4"]))
def test_the_order_of_lines_changes_no_value(lines):
    assert images_of("path;n\n" + "\n".join(lines), CORPUS)[0] == {
        "n": {"i1": 1.0, "i2": 3.0, "i3": 4.0}
    }
