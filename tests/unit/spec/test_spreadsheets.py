"""Spreadsheets as tables: what their cells become, which sheet counts, and what is refused."""

import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from panoptic_assets.spec import spreadsheets
from panoptic_assets.spec.tables import TableError, read_records, read_table
from tests.spreadsheets import MAIN, ods_cell, ods_of, ods_row, xls, xlsx, xlsx_of, zipped


def read(source):
    """Header, lines and notes of a table that should have a column ``path``."""
    with read_table(source, ["path", "chemin"], says_notes=True) as table:
        notes = [(note.line, note.value, note.cause) for note in table.notes]
        return table.headers, list(table.rows), notes


def cells_of(*cells):
    """The texts of the cells of an .xlsx file, given as attributes and value."""
    row = "".join(
        f'<c r="{chr(66 + at)}2" {attributes}><v>{value}</v></c>'
        for at, (attributes, value) in enumerate(cells)
    )
    names = "".join(f'<c r="{chr(65 + at)}1" t="str"><v>c{at}</v></c>' for at in range(1, 9))
    header = f'<row r="1"><c r="A1" t="str"><v>path</v></c>{names}</row>'
    file = '<c r="A2" t="str"><v>a</v></c>'
    _, [(_, found)], notes = read(xlsx_of([("S", f'{header}<row r="2">{file}{row}</row>')]))
    return found[1 : 1 + len(cells)], notes


def test_numbers_truths_and_texts_are_what_the_sheet_shows():
    rows = [["path", "year", "price", "code", "seen"], ["é/a.jpg", 1850.0, 12.5, "007", True]]
    assert read(xlsx(("S", rows))) == (
        ["path", "year", "price", "code", "seen"],
        [(2, ["é/a.jpg", "1850", "12.5", "007", "true"])],
        [],
    )


def test_a_number_by_which_a_date_is_stored_is_that_date():
    """Also before 1900, as LibreOffice stores it, for which its reader gives a time of the day."""
    found, _ = cells_of(
        *(('s="1"', number) for number in (18331, 18331.5732638889, -4679, -4679.75, 61))
    )
    assert found == [
        *("1950-03-09", "1950-03-09T13:45:30", "1887-03-09", "1887-03-08T06:00:00"),
        "1900-03-01",
    ]


def test_days_of_old_macs_are_counted_from_1904():
    cells = '<c r="A2" s="1"><v>-1</v></c><c r="B2" s="1"><v>1</v></c>'
    header = '<row r="1"><c r="A1" t="str"><v>path</v></c><c r="B1" t="str"><v>n</v></c></row>'
    source = xlsx_of([("S", f'{header}<row r="2">{cells}</row>')], since_1904=True)
    assert read(source)[1] == [(2, ["1903-12-31", "1904-01-02"])]


def test_a_percentage_is_the_number_that_is_stored_and_a_formula_its_stored_value():
    assert cells_of(('s="2"', 0.25), ('t="str"', "é")) == (["0.25", "é"], [])


def test_a_formula_with_an_error_is_blank_and_a_finding():
    found, notes = cells_of(('t="e"', "#DIV/0!"), ("", 1))
    assert found == ["", "1"]
    assert notes == [(2, "#DIV/0!", "formulas with an error, which are left out: 1")]


def test_formulas_with_an_error_are_refused_by_readers_that_tell_nobody():
    row = '<row r="{0}"><c r="A{0}" t="{1}"><v>{2}</v></c></row>'
    source = xlsx_of([("S", row.format(1, "str", "term") + row.format(2, "e", "#REF!"))])
    with pytest.raises(TableError, match=r"give an error, the first one '#REF!' \(row 2\)"):
        list(read_records(source, ["term"]))


FORMULAS = (
    '<row r="1"><c r="A1" t="str"><v>term</v></c><c r="B1" t="str"><v>path</v></c>'
    '<c r="C1" t="str"><v>c</v></c><c r="D1" t="str"><v>d</v></c></row>'
    '<row r="2"><c r="A2"><f>SUM(1,2)</f><v /></c><c r="B2"><f t="shared" si="0"/></c>'
    '<c r="C2" t="str"><f>""</f><v></v></c><c r="D2"><f>1+1</f><v>2</v></c></row>'
)
"""One without a value, as other programs than spreadsheets write it, and again; a blank text."""


def test_a_formula_that_was_never_computed_is_a_finding():
    cause = (
        "formulas that were never computed, which are left out: 2; open the file in a spreadsheet "
        "and save it"
    )
    assert read(xlsx_of([("S", FORMULAS)]))[2] == [(2, "=SUM(1,2)", cause)]
    cell = '<table:table-cell table:formula="of:=[.A1]"/>'
    blank = '<table:table-cell table:formula="of:=T(0)" office:value-type="string"/>'
    source = ods_of(f"{ods_row('path', 't')}<table:table-row>{cell}{cell}{blank}</table:table-row>")
    assert read(source)[2] == [(1, "of:=[.A1]", cause)]


def test_formulas_that_were_never_computed_are_refused_by_readers_that_tell_nobody():
    with pytest.raises(TableError, match=r"never computed, the first one '=SUM\(1,2\)' \(row 2\)"):
        list(read_records(xlsx_of([("S", FORMULAS)]), ["term"]))


def test_numbers_that_are_shown_with_zeros_before_them_are_a_finding():
    found, notes = cells_of(('s="3"', 12), ('s="3"', 123456), ('s="3" t="str"', 12), ('s="0"', 7))
    cause = (
        "numbers that are shown with zeros before them, which are no part of the value: 1; make "
        "such a column text"
    )
    assert (found, notes) == (["12", "123456", "12", "7"], [(2, "00012", cause)])


def test_whole_numbers_have_no_decimals_however_large():
    assert cells_of(*(("", number) for number in ("12345678901234567000", "1e21", "-1e16")))[0] == [
        *("12345678901234567000", "1000000000000000000000", "-10000000000000000")
    ]


def test_what_an_old_file_cannot_tell_is_left_out_and_a_finding():
    """The library takes days before 1900 for times."""
    source = xls([["path", "date"], ["a", 1000.0], ["b", -4680.0], ["c", -4679.75], ["é", 0.25]])
    _, rows, notes = read(source)
    assert [row for _, row in rows] == [["a", "1902-09-26"], ["b", ""], ["c", ""], ["é", ""]]
    assert [(line, cause.partition(":")[0]) for line, _, cause in notes] == [
        (1, "a file of this kind does not tell which formulas give an error"),
        (
            3,
            "times, or dates before 1900, which a file of this kind does not tell apart and are "
            "left out",
        ),
    ]
    with pytest.raises(TableError, match=r"nor dates before 1900: save it as \.xlsx or \.ods"):
        list(read_records(source, ["path"]))


def test_a_duration_of_libre_office_is_written_as_that_of_excel():
    cell = '<table:table-cell office:value-type="time" office:time-value="PT{}"/>'
    row = cell.format("30H00M00S") + cell.format("00H10M00S") + ods_cell("PT1")
    source = ods_of(f"{ods_row('path', 't', 'u')}<table:table-row>{row}</table:table-row>")
    assert read(source)[1] == [(2, ["30:00:00", "00:10:00", "PT1"])]


def test_a_cell_that_is_merged_over_several_rows_counts_on_each_of_them():
    rows = [["path", "place"], ["a", "Rome"], ["b"], ["c", None], ["d", "Oslo"]]
    inner = xlsx(("S", rows), merged="B2:B4")
    _, found, notes = read(inner)
    assert [row for _, row in found] == [["a", "Rome"], ["b", "Rome"], ["c", "Rome"], ["d", "Oslo"]]
    assert notes == [(1, "", "merged cells: 1; their values count on all their lines")]


def test_lines_are_rows_of_the_sheet_and_hidden_ones_count():
    row = '<row r="{0}" hidden="1"><c r="C{0}" t="str"><v>{1}</v></c></row>'
    source = xlsx_of([("S", row.format(5, "path") + row.format(9, "a"))])
    assert read(source)[:2] == (["path"], [(9, ["a"])])


def test_the_first_sheet_with_a_column_of_files_is_read_and_the_others_are_named():
    files = ("Objets", [["titre", "Path"], ["x", "a.jpg"]])
    source = xlsx(("Lisez-moi", [["Voir la suite"]]), files, ("Vide", []), ("Fin", [["path"]]))
    headers, rows, notes = read(source)
    assert (headers, rows) == (["titre", "Path"], [(2, ["x", "a.jpg"])])
    assert notes == [
        (1, "Lisez-moi, Fin", "sheets that were not read: the table is that of 'Objets'")
    ]


def test_a_title_above_the_header_is_a_finding():
    source = xlsx(("S", [["Inventaire 2024"], [], ["path", "t"], ["a.jpg", "x"]]))
    assert read(source) == (
        ["path", "t"],
        [(4, ["a.jpg", "x"])],
        [(1, "Inventaire 2024", "lines above the header, which are no part of the table: 1")],
    )


def test_a_sheet_of_libre_office_is_read():
    typed = (
        '<table:table-cell office:value-type="date" office:date-value="1887-03-09"/>'
        '<table:table-cell office:value-type="float" office:value="1850"/>'
    )
    end = '<table:table-row table:number-rows-repeated="1048500"><table:table-cell/>'
    source = ods_of(
        ods_row("chemin", "titre", "fait", "année")
        + f"<table:table-row>{ods_cell('a.jpg')}{ods_cell('Été')}{typed}</table:table-row>"
        + f"{end}</table:table-row>"
    )
    assert read(source)[1] == [(2, ["a.jpg", "Été", "1887-03-09", "1850"])]


def test_an_error_in_a_sheet_of_libre_office_is_a_finding():
    error = (
        '<table:table-cell office:value-type="string" office:string-value="" '
        'calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell>'
    )
    source = ods_of(
        ods_row("path", "t", "u")
        + f"<table:table-row>{ods_cell('a')}{error}{ods_cell('x')}</table:table-row>"
    )
    _, [(_, cells)], notes = read(source)
    cause = "formulas with an error, which are left out: 1"
    assert (cells, notes) == (["a", "", "x"], [(1, "#N/A", cause)])


def test_every_reader_of_tables_reads_spreadsheets():
    source = xlsx(("S", [["term", "note"], ["é", 1]]))
    assert list(read_records(source, ["term"])) == [(2, {"term": "é", "note": "1"})]


def far(column, row):
    """A sheet with one cell in its first corner, and one far away."""
    first = '<row r="1"><c r="A1" t="str"><v>path</v></c></row>'
    return xlsx_of(
        [("S", f'{first}<row r="{row}"><c r="{column}{row}"><v>1</v></c></row>')],
    )


def repeated(columns, rows):
    """A sheet of LibreOffice with one cell, many times."""
    cell = (
        f'<table:table-cell table:number-columns-repeated="{columns}" office:value="1"'
        ' office:value-type="float"/>'
    )
    row = f'<table:table-row table:number-rows-repeated="{rows}">{cell}</table:table-row>'
    return ods_of(ods_row("path") + row)


def entities():
    """A text that grows to ten thousand million characters."""
    steps = "".join(
        f'<!ENTITY {name} "{f"&{before};" * 100}">'
        for before, name in zip("abcd", "bcde", strict=True)
    )
    return (
        f'<!DOCTYPE sst [<!ENTITY a "{"x" * 100}">{steps}]>'
        f'<sst xmlns="{MAIN}"><si><t>&e;</t></si></sst>'
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(b"PK\3\4" + b"x" * 100, "no spreadsheet that can be read", id="no archive"),
        pytest.param(xlsx(("S", [["path"]]))[:-60], "no spreadsheet", id="cut off"),
        pytest.param(zipped({"a.txt": "a"}), "no spreadsheet", id="another archive"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "no spreadsheet", id="xls"),
        pytest.param(xlsx(("S", [])), "the file is empty", id="empty"),
        pytest.param(far("XFD", 1048576), "needs more memory or time than a table", id="far cell"),
        pytest.param(repeated(16384, 1048576), "no spreadsheet|more memory", id="repeated cells"),
    ],
)
def test_what_is_no_sheet_of_a_table_is_refused_in_one_line(source, message):
    with pytest.raises(TableError, match=message) as caught:
        read(source)
    assert len(str(caught.value).splitlines()) == 1


def test_entities_do_not_grow():
    row = '<row r="1"><c r="A1" t="str"><v>path</v></c></row><row r="2"><c r="A2" t="s"><v>0</v>'
    source = xlsx_of([("S", f"{row}</c></row>")], shared=entities())
    try:
        rows = read(source)[1]
    except TableError as error:
        rows = []
        assert len(str(error).splitlines()) == 1
    assert len(str(rows)) < 1000


def test_a_spreadsheet_may_be_left_behind_while_it_is_read():
    rows = [["path"], *([f"{at}.jpg"] for at in range(20_000))]
    with read_table(xlsx(("S", rows)), ["path"]) as table:
        assert next(table.rows) == (2, ["0.jpg"])


class Shrinking(io.BytesIO):
    """A file of which another program leaves half, once its size was asked for."""

    def seek(self, at, whence=io.SEEK_SET):
        found = super().seek(at, whence)
        if whence == io.SEEK_END:
            self.truncate(found // 2)
        return found


def test_a_spreadsheet_that_becomes_shorter_while_it_is_read_is_refused():
    with pytest.raises(TableError, match="became shorter while it was read: try again"):
        read(Shrinking(xlsx(("S", [["path"], ["a"]]))))


def test_a_process_that_says_nothing_is_ended(monkeypatch, tmp_path):
    silent = tmp_path / "silent.py"
    silent.write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setattr(spreadsheets, "_PROCESS", silent)
    monkeypatch.setattr(spreadsheets, "_SECONDS", 0.1)
    with pytest.raises(TableError, match="needs more memory or time"):
        read(xlsx(("S", [["path"], ["a"]])))


@pytest.mark.parametrize("program", [None, "", "/no/such/python"])
def test_where_no_process_can_be_started_a_csv_is_asked_for(monkeypatch, program):
    monkeypatch.setattr("sys.executable", program)
    with pytest.raises(TableError, match="no process can be started.*save the sheet as CSV"):
        read(xlsx(("S", [["path"], ["a"]])))


def test_a_process_that_dies_leaves_no_image_of_its_memory():
    pytest.importorskip("resource")
    code = "import resource, sys; sys.path.insert(0, sys.argv[1]); import spreadsheet_process as s;"
    code += "s._limit(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    folder = str(Path(spreadsheets.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(0, 0)"


def nb_read(damaged, number=30):
    """How many of some sources, damaged by chance, are a table; of all others one line tells."""
    found = 0
    for seed in range(number):
        try:
            read(damaged(random.Random(seed)))
        except TableError as error:
            assert len(str(error).splitlines()) == 1, seed
        else:
            found += 1
    return found


def test_damaged_spreadsheets_give_a_table_or_one_plain_line():
    rows = [["path", "n"], ["a.jpg", 1850.0], ["b.jpg", "é"]]
    sources = [xlsx(("S", rows), merged="B2:B3"), ods_of(ods_row("path", "t") + ods_row("a", "b"))]

    def damaged(chance):
        source = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 3)):
            source[chance.randrange(4, len(source))] = chance.randrange(256)
        return bytes(source)

    assert 0 < nb_read(damaged) < 30


def test_damaged_xml_gives_a_table_or_one_plain_line():
    """The archive is whole, as its checksums would tell of most damage."""
    with zipfile.ZipFile(io.BytesIO(xlsx(("S", [["path", "n"], ["a", 1.5]])))) as file:
        parts = {name: file.read(name).decode() for name in file.namelist()}

    def damaged(chance):
        name = chance.choice([name for name in parts if name.startswith("xl/")])
        text = list(parts[name])
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            instead = chance.choice(["", "9", "<", '"', "é", "-", "&#0;"])
            text[at : at + chance.randint(0, 3)] = instead
        return zipped({**parts, name: "".join(text)})

    assert 0 < nb_read(damaged) < 30
