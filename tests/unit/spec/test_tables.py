"""Tables in CSV files: one rule for all who read them."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panoptic_assets.spec.tables import (
    MAX_CELL,
    EmptyTableError,
    TableError,
    read_records,
    read_table,
)


def read(source, *needed):
    """Separator, header and lines of a table."""
    with read_table(source, needed or ("term",)) as table:
        return table.separator, table.headers, list(table.rows)


def records(source, needed="term"):
    return list(read_records(source, [needed, "n"]))


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("term,note", ","),
        ("term;note", ";"),
        ("term\tnote", "\t"),
        ('term;"a, b, c, d"', ";"),  # commas inside quotes part nothing
        ('"a; b; c",term', ","),
        ("a,b,c;term", ";"),  # the column that is needed comes before more columns
        ("a;b;c", ";"),
        ("term\t", "\t"),  # a column without a name is one
        ("term", "\0"),
    ],
)
def test_the_header_tells_the_separator(header, separator):
    assert read(f"{header}\n")[0] == separator


def test_the_column_that_tells_the_separator_may_be_one_of_several():
    assert read("x,y,z;file_name\n", "path", "file name")[:2] == (";", ["x,y,z", "file_name"])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_bytes_are_read_as_text_is(mark, newline):
    text = newline.join(["Term, Note ", "été,a", "", "x"])
    expected = [(2, {"term": "été", "note": "a"}), (4, {"term": "x", "note": ""})]
    assert records(text) == records(mark + text.encode()) == expected


def test_a_stream_stays_open():
    stream = io.BytesIO(b"term\na\n")
    records(stream)
    assert not stream.closed


def test_lines_are_given_before_those_below_are_read():
    rows = read_records(b"term\na\n" + b"b\n" * 100_000 + b"\0\n", ["term"])
    assert next(rows) == (2, {"term": "a"})


def test_lines_may_be_left_behind_when_the_file_is_closed():
    with io.BytesIO(b"term\na\nb\n") as stream:
        rows = read_records(stream, ["term"])
        assert next(rows) == (2, {"term": "a"})
    rows.close()
    assert next(rows, None) is None


def test_lines_are_counted_in_the_file_and_not_in_the_table():
    assert records('term,n\n\n"a\nb",1\nc,2\n') == [
        (3, {"term": "a\nb", "n": "1"}),
        (5, {"term": "c", "n": "2"}),
    ]


def test_blank_cells_beyond_the_header_count_for_nothing():
    assert read("term,n\na,1,,,\n,,\n") == (",", ["term", "n"], [(2, ["a", "1"])])


def test_where_the_header_has_no_separator_each_line_is_one_cell():
    text = 'term\na, b; c\td\n;,\n"e\nf"\n'
    assert read(text)[1:] == (["term"], [(2, ["a, b; c\td"]), (4, ["e\nf"])])


def test_columns_without_a_name_and_repeats_of_those_that_nobody_knows_are_not_refused():
    assert records("note,term,,note,\na,b,c,d,e\nf,g\n") == [
        (2, {"note": "d", "term": "b"}),
        (3, {"note": "", "term": "g"}),
    ]


@pytest.mark.parametrize("text", ["", "\ufeff".encode(), "\n;;\n\t\n", '"",""\n'])
def test_an_empty_file_has_no_lines(text):
    assert records(text) == []
    with pytest.raises(EmptyTableError, match="the file is empty"):
        read(text)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("word\ncat\n", "the first line names no column `term`"),
        ("term,n,N\na,1,2\n", "two columns have the name 'n'"),
        ("term,n\na,1,2\n", "line 2 has 3 cells, the header has 2: .* ','"),
        ("term,n,\na,1,2,3\n", "line 2 has 4 cells, the header has 3: .* ','"),
        ('term\n"a"b\n', "line 2 cannot be read .end of line expected after '\"'"),
        ('term\n"a\nb\n', "line 2 cannot be read"),
        ('"term\na\n', "the header cannot be read"),
        (b"term\na\n\xe9\n", "line 3 is not UTF-8"),
        ("term\na\0\n", "line 2 holds a NUL byte"),
        (f"term\n{'x' * (MAX_CELL + 1)}\n", "a cell on line 2 or just below has more than"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_that_says_where(source, message):
    with pytest.raises(TableError, match=message) as caught:
        records(source)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).endswith(".")


@given(
    st.sampled_from(",;\t"),
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.just("x"))
    ),
)
def test_what_the_csv_module_writes_is_read_back(separator, rows):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerows([("term", "end"), *rows])
    found = [tuple(cells.values()) for _, cells in records(file.getvalue().encode())]
    assert found == rows


# --- as spreadsheets and other programs save tables


def noted(source):
    """Headers, lines, and the notes of a table that should have a column ``term``."""
    with read_table(source, ["term"], says_notes=True) as table:
        return (
            table.headers,
            list(table.rows),
            [(note.line, note.value, note.cause) for note in table.notes],
        )


@pytest.mark.parametrize(
    ("first", "separator"),
    [("sep=;", ";"), ("SEP=,", ","), ('"sep=\t"', "\t"), ("sep=|", "|"), ("sep=;;", ";")],
)
def test_a_first_line_may_state_the_separator(first, separator):
    text = f"{first}\r\n\r\nterm{separator}a;b,c\r\nx{separator}y\r\n"
    with read_table(text.encode(), ["term"]) as table:
        assert (table.separator, table.headers[0], table.header_line) == (separator, "term", 3)
        assert [(line, row[0]) for line, row in table.rows] == [(4, "x")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_a_mark_is_read(encoding):
    """'Unicode text' of Excel, with tabs."""
    source = "\ufeffterm\tnote\r\né\t图\r\n".encode(encoding)
    assert noted(source) == (["term", "note"], [(2, ["é", "图"])], [])


def test_utf_16_that_breaks_off_is_refused():
    with pytest.raises(TableError, match="begins as UTF-16 but goes on otherwise"):
        noted("\ufeffterm\na\n".encode("utf-16-le") + b"\0")


def test_windows_1252_is_read_and_one_word_says_so():
    headers, rows, [(line, word, cause)] = noted("term;note\na;b\nc;l’Étrurie\n".encode("cp1252"))
    assert (headers, rows) == (["term", "note"], [(2, ["a", "b"]), (3, ["c", "l’Étrurie"])])
    assert (line, word) == (3, "l’Étrurie")
    assert "not UTF-8 and was read as Windows-1252" in cause


def test_windows_1252_is_refused_by_readers_that_tell_nobody():
    with pytest.raises(TableError, match="line 2 is not UTF-8 .byte 0xc9.: save the file"):
        records("term\nÉtrurie\n".encode("cp1252"))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("term\nété à Étréchy\n".encode() + b"\xe9\n", id="mostly UTF-8"),
        pytest.param(b"\xef\xbb\xbfterm\n\xe9\n", id="with a mark"),
    ],
)
def test_utf_8_with_a_damaged_place_is_refused_with_that_place(source):
    with pytest.raises(TableError, match="is not UTF-8 .byte 0xe9."):
        noted(source)


@pytest.mark.parametrize("encoding", ["mac-roman", "cp850"])
def test_other_old_encodings_are_refused_with_the_word_that_tells(encoding):
    with pytest.raises(
        TableError, match="neither UTF-8 nor Windows-1252: line 2 holds .*l.ve'"
    ) as e:
        noted("term\nélève\n".encode(encoding))
    assert "CSV UTF-8" in str(e.value)


@pytest.mark.parametrize(
    ("above", "line", "title", "count"),
    [
        ("Inventaire 2024;;\n", 1, "Inventaire 2024", 1),
        ("\nMusée\n\nInventaire, 2024;le 3 mai\n", 2, "Musée", 2),
    ],
)
def test_titles_above_the_header_are_passed_over_and_noted(above, line, title, count):
    source = f"{above}Nr;term;note\n1;a;b\n"
    headers, rows, notes = noted(source.encode())
    assert headers == ["Nr", "term", "note"]
    assert rows == [(above.count("\n") + 2, ["1", "a", "b"])]
    cause = f"lines above the header, which are no part of the table: {count}"
    assert notes == [(line, title, cause)]


def test_a_cell_that_is_called_as_a_column_makes_no_header():
    assert noted("photo;kind\na.jpg;term\n")[:2] == (["photo", "kind"], [(2, ["a.jpg", "term"])])


def test_a_header_far_below_is_not_looked_for():
    assert noted("x\n" * 20 + "term;n\n")[0] == ["x"]


READABLE = 'é;1\n"a;b"\n'.encode()


@given(st.binary(max_size=60))
@example(READABLE)
def test_whatever_the_bytes_are_there_is_a_table_or_one_plain_line(data):
    try:
        headers, rows, _ = noted(b"term;n\n" + data)
    except TableError as error:
        assert data != READABLE
        assert len(str(error).splitlines()) == 1
    else:
        assert all(len(cells) <= len(headers) for _, cells in rows)
