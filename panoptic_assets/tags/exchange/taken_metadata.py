"""What another program knows of images besides tags, as an inventory of the project.

Belongs here: the table that is written, and where it takes effect. Does not belong here: reading
other programs' folders (``tags.exchange``'s modules of those programs), and what an inventory's
cells mean (``corpus.inventory``).
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic_assets.corpus import inventory
from panoptic_assets.corpus.values import MAX_NAME, PropertyType
from panoptic_assets.spec.formulas import protected
from panoptic_assets.spec.tables import MAX_CELL, MAX_LINE
from panoptic_assets.spec.text import beginning, cut, in_quotes
from resources.errors import InputError, noted
from resources.project_folder import ProjectFolder, write_file
from resources.yaml_edits import edited_yaml

_LONGEST = MAX_NAME - 8
"""Characters of a name, so that a number may follow."""
_SHOWN = 5
"""Names, and places of values, in a note."""
_PATH = 2**16
"""Characters of a path, and more than those."""
_HARMLESS = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""Numbers, which no spreadsheet makes a formula of."""


@dataclass(frozen=True)
class TakenMetadata:
    """A table that is to become an inventory: what :meth:`prepare` found of it."""

    file: Path
    content: bytes
    """Empty where there is nothing to write, or the file holds it already."""
    nb_properties: int
    nb_lines: int
    project: ProjectFolder
    told: tuple[str, ...] = ()
    """What of the table is other than was given."""

    @property
    def notes(self) -> list[str]:
        """What a person must know, and which file is the inventory, if it is another one."""
        current = self.project.settings.metadata
        if not self.nb_properties or not current or _is_same(self.project, current, self.file):
            return [*self.told]
        stays = noted(
            "The project's metadata is {current}, so {file} does not count yet: bring the columns "
            "of both into one file, or name {name} as `metadata` in {settings}.",
            current=current,
            file=self.file,
            name=self.file.name,
            settings=self.project.settings_file,
        )
        return [*self.told, stays]

    def store(self) -> None:
        """Write the file, and name it in the project's settings where they name none."""
        if not self.nb_properties:
            return
        if self.content:
            write_file(self.file, self.content)
        if not self.project.settings.metadata:
            settings = self.project.settings_file
            write_file(settings, edited_yaml(settings, {("metadata",): self.file.name}))


def prepare(
    project: ProjectFolder,
    name: str,
    columns: Sequence[tuple[str, PropertyType]],
    rows: Iterable[tuple[str, Sequence[str]]],
    replace: bool,
) -> TakenMetadata:
    """Check a table before anything is written.

    Args:
        project: Whose inventory it becomes.
        name: Of the file, in the project's folder, such as ``panoptic.csv``.
        columns: Name and type of each property.
        rows: For each image the path of its file, and its cells.
        replace: Whether a file of that name which holds something else is replaced.

    Raises:
        InputError: There is such a file, or no inventory can hold the table.
    """
    file = project.folder / name
    if not columns:
        return TakenMetadata(file, b"", 0, 0, project)
    headers, told = _names([column for column, _ in columns])
    kinds: list[PropertyType] = ["text", *(kind for _, kind in columns)]
    pairs = zip(headers, kinds[1:], strict=True)
    header = ["path", *(protected(f"{name}[{kind}]") for name, kind in pairs)]
    lines: list[list[str]] = []
    too_long: list[str] = []
    for path, cells in rows:
        line = [_plain(cell) for cell in cells]
        too_long += [f"{cut(path, 80)} ({cut(headers[at], 80)})" for at in _without_long(line)]
        lines.append([_plain(path), *line])
    if too_long:
        told.append(
            noted(
                "Values left out, since no table has lines or cells that long: {count:,}, of "
                "{places}.",
                count=len(too_long),
                places=beginning(too_long, _SHOWN),
            )
        )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(_protected, line, kinds) for line in lines)
    content = text.getvalue().encode()
    # What the next refresh would refuse is refused now.
    inventory.parse_inventory(content)
    found = len(columns), len(lines), project, tuple(told)
    if file.is_file() and file.read_bytes() == content:
        return TakenMetadata(file, b"", *found)
    if (file.exists() or file.is_symlink()) and not replace:
        raise InputError(
            "{file} exists already and holds something else: rename it, or allow to replace it "
            "(--replace).",
            id="taken-metadata-exists",
            file=file,
        )
    return TakenMetadata(file, content, *found)


def tags_cell(names: Iterable[str]) -> str | None:
    """A cell of several tags; None if one of them has a comma, which would make two of it."""
    found = list(names)
    return None if any("," in name for name in found) else ",".join(found)


def _plain(cell: str) -> str:
    """A cell with one kind of newline, without what no text holds: NUL, halves of characters."""
    text = cell.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode() if text.strip() else ""


def _protected(cell: str, kind: PropertyType) -> str:
    if kind == "multi_tags":
        return ",".join(map(protected, cell.split(",")))
    return cell if _HARMLESS.fullmatch(cell) else protected(cell)


def _without_long(cells: list[str]) -> list[int]:
    """Empty the longest cells of a line that no table holds; which ones."""
    emptied = []
    # As it is written: quotes in a cell are doubled, and it gets two.
    lengths = [len(cell) + cell.count('"') + 4 for cell in cells]
    for at in sorted(range(len(cells)), key=lambda at: -len(cells[at])):
        if len(cells[at]) < MAX_CELL and sum(lengths) < MAX_LINE - _PATH:
            break
        cells[at], lengths[at] = "", 4
        emptied.append(at)
    return sorted(emptied)


def _names(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that the header of an inventory can have, each once; and what is said of that."""
    found: dict[str, None] = {}
    others = []
    for name in given:
        composed = unicodedata.normalize("NFC", _plain(name))
        plain = " ".join("".join(c if c.isprintable() else " " for c in composed).split())
        is_cut = len(plain) > _LONGEST
        candidate = plain = plain[:_LONGEST] or "property"
        number = 1
        while candidate in found:
            number += 1
            candidate = f"{plain} ({number})"
        found[candidate] = None
        if candidate != plain or is_cut:
            others.append(f"{in_quotes(name)} → {in_quotes(candidate)}")
    told = [
        noted(
            "Properties with another name here, as it was taken or too long: {names}.",
            names=beginning(others, _SHOWN),
        )
    ]
    return list(found), told if others else []


def _is_same(project: ProjectFolder, current: str, file: Path) -> bool:
    return (project.folder / current).resolve() == file.resolve()
