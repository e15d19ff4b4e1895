"""Spreadsheets as other programs save them, made of their XML, for tests."""

import io
import struct
import zipfile
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
OPEN = "urn:oasis:names:tc:opendocument:xmlns"

Cell = str | float | bool | None


def xlsx(*sheets: tuple[str, Sequence[Sequence[Cell]]], **more: str) -> bytes:
    """A file of sheets, each a name and its rows; cells are texts, numbers, truths or nothing."""
    return xlsx_of(
        [
            (name, "".join(_row(number, row) for number, row in enumerate(rows, 1)))
            for name, rows in sheets
        ],
        **more,
    )


def xlsx_of(
    sheets: Sequence[tuple[str, str]], shared: str = "", merged: str = "", since_1904: bool = False
) -> bytes:
    """A file of sheets, each a name and the XML of its rows.

    Cells of style 1 are dates, of style 2 percentages, and of style 3 shown with five digits.

    Args:
        sheets: Names and rows.
        shared: The XML of the shared strings.
        merged: A range of merged cells in every sheet.
        since_1904: Whether days are counted from there.
    """
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/'
        'content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": _links([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
        + ('<workbookPr date1904="1"/>' if since_1904 else "")
        + "<sheets>"
        + "".join(
            f'<sheet name="{escape(name)}" sheetId="{at}" r:id="rId{at}"/>'
            for at, (name, _) in enumerate(sheets, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _links(
            [("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(sheets) + 1)]
            + [("styles", "styles.xml"), ("sharedStrings", "sharedStrings.xml")]
        ),
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><numFmts>'
        '<numFmt numFmtId="164" formatCode="00000"/></numFmts><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="14"/><xf numFmtId="9"/><xf numFmtId="164"/></cellXfs></styleSheet>',
        "xl/sharedStrings.xml": shared or f'<sst xmlns="{MAIN}"/>',
    }
    ranges = f'<mergeCells><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
    for at, (_, rows) in enumerate(sheets, 1):
        parts[f"xl/worksheets/sheet{at}.xml"] = (
            f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData>{ranges}</worksheet>'
        )
    return zipped(parts)


def xls(rows: Sequence[Sequence[str | float]]) -> bytes:
    """A file of Excel 97 with one sheet; its numbers have the format of dates."""
    formats = [_record(0xE0, struct.pack("<HH16x", 0, number)) for number in (0, 14)]
    book = [_record(0x809, struct.pack("<HH12x", 0x600, 5)), *formats]
    name = _record(0x85, struct.pack("<LHBB", 0, 0, 1, 0) + b"S")
    start = sum(map(len, book)) + len(name) + 4
    name = _record(0x85, struct.pack("<LHBB", start, 0, 1, 0) + b"S")
    sheet = [_record(0x809, struct.pack("<HH12x", 0x600, 16))]
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            if isinstance(cell, str):
                text = struct.pack("<HHHHB", row, column, 0, len(cell), 0) + cell.encode("latin-1")
                sheet.append(_record(0x204, text))
            else:
                sheet.append(_record(0x203, struct.pack("<HHHd", row, column, 1, cell)))
    end = _record(0xA, b"")
    return _compound(b"".join([*book, name, end, *sheet, end]))


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def _compound(stream: bytes) -> bytes:
    """A compound file of one stream, ``Workbook``, which is at most 64,000 bytes long."""
    free, end, fat = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    number = max(8, -(-len(stream) // 512))  # shorter ones would be stored in another way
    head = struct.pack(
        *("<8s16x5H6x10L", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6),
        *(0, 1, 1, 0, 4096, end, 0, end, 0, 0),
    )
    chain = [fat, end, *range(3, number + 2), end]

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        text = name.encode("utf-16-le")
        return struct.pack(
            *("<64sHBB3L36x3L", text, len(text) + 2, kind, 1, free, free, child, start, size, 0)
        )

    folder = entry("Root Entry", 5, 1, end, 0) + entry("Workbook", 2, free, 2, 512 * number)
    table = struct.pack("<128L", *chain, *[free] * (128 - len(chain)))
    return (
        head.ljust(512, b"\xff")
        + table
        + folder.ljust(512, b"\0")
        + stream.ljust(512 * number, b"\0")
    )


def ods_of(rows: str) -> bytes:
    """A file of one sheet, by the XML of its rows, as LibreOffice names its elements."""
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    spaces = " ".join(f'xmlns:{name}="{OPEN}:{name}:1.0"' for name in ("office", "table", "text"))
    return zipped(
        {
            "mimetype": kind,
            "META-INF/manifest.xml": f'<manifest xmlns="{OPEN}:manifest:1.0"/>',
            "content.xml": f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="Feuille1">{rows}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        }
    )


def ods_row(*cells: str) -> str:
    """The XML of a row of texts."""
    return f"<table:table-row>{''.join(map(ods_cell, cells))}</table:table-row>"


def ods_cell(text: str) -> str:
    """The XML of a cell of text."""
    return (
        '<table:table-cell office:value-type="string">'
        f"<text:p>{escape(text)}</text:p></table:table-cell>"
    )


def zipped(parts: dict[str, str]) -> bytes:
    """An archive of texts by the names of its members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _links(targets: Iterable[tuple[str, str]]) -> str:
    return (
        f'<Relationships xmlns="{LINKS}">'
        + "".join(
            f'<Relationship Id="rId{at}" Type="{OFFICE}/{kind}" Target="{target}"/>'
            for at, (kind, target) in enumerate(targets, 1)
        )
        + "</Relationships>"
    )


def _row(number: int, row: Sequence[Cell]) -> str:
    cells = "".join(_cell(f"{chr(65 + at)}{number}", cell) for at, cell in enumerate(row))
    return f'<row r="{number}">{cells}</row>'


def _cell(place: str, cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
    return f'<c r="{place}"><v>{cell}</v></c>'
