"""Samples of FiftyOne: the file that is written for it, and what its own exports say.

Belongs here: the entries of ``--format fiftyone``, of a FiftyOneDataset's ``samples.json`` and the
columns of a CSVDataset. Does not belong here: which files an export consists of, and how an array
is written in a field (``resources.fiftyone_files``), and what is done with values and vectors
(``tags.exchange.fiftyone_import``).

Written after FiftyOne 1.22.1 (``fiftyone/utils/csv.py``, ``fiftyone/core/odm/database.py``). There
a field of an image is a number, a text, a date, a list, an array, or a label: a document whose
``_cls`` says which one. Labels of the whole image are tags here; those of its parts are not.

Long because what is written and what is read of each field must agree.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from panoptic_assets.corpus.inventory import MAX_CELLS
from panoptic_assets.corpus.values import PropertyType
from panoptic_assets.spec.tag_log import HIERARCHY, normalised, paths
from panoptic_assets.spec.text import beginning, cut
from panoptic_assets.tags.edits import EditError, parse_colour
from panoptic_assets.tags.exchange.formats import ExchangeError, Labelled, Said
from panoptic_assets.tags.exchange.taken_metadata import tags_cell
from resources import fiftyone_files
from resources.fiftyone_files import is_array, is_our_id, sample_name
from resources.json_stream import JsonError
from resources.page_paths import file_of, page_number

SAMPLE_TAGS = "tags"
"""The field of a sample's own marks, and the property that they become."""
SHOWN_FIELDS = 10
"""Names of fields in a message."""

# FiftyOne's own, those that it keeps for itself, and that of our entries.
_TAKEN_FIELDS = frozenset(
    {"id", "filepath", "tags", "metadata", "media_type", "created_at", "last_modified_at"}
    | {"group", "frames", "image_id", "page"}
)
_SILENT = _TAKEN_FIELDS - {"tags", "image_id", "page"} | {"media_reference"}
"""Fields that say nothing about an image which is not known of it here."""
_LABEL = re.compile(r"(\w+)\.label")
_LABELS = re.compile(r"(\w+)\.classifications\.label")
_LIST = re.compile(r",(?! )")
"""What FiftyOne joins the texts of a list with in CSV: ``,`` alone, so that ``b, c`` stays one."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE_NUMBERS = 2**53
"""From here on float64 does not hold every whole number."""


def samples(labelled: Labelled, locate: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """The entries of the file for FiftyOne, one for each file of an image.

    An image that is a page of a file has the path of that file, and the page's number beside it.
    Under ``labels`` each field has the arguments of a ``fiftyone.Classification``, or a list of
    them where images have several tags of the property. What a person calls a cluster (``label``)
    and which one it is (``cluster``) are two fields of it. A label has the property's name where
    its field cannot be called so.

    Args:
        labelled: The tags.
        locate: Where the file of a path lies.
    """
    named = paths(labelled.tables.tags)
    several = labelled.several()
    fields = _fields(dict.fromkeys(tag.property for tag in labelled.tables.tags))
    for image_id, tags in labelled:
        labels: dict[str, Any] = {}
        for tag in tags:
            label: dict[str, Any] = {
                "label": named[tag.tag_id],
                "cluster": tag.node,
                "tag_id": tag.tag_id,
                "record_id": tag.record_id,
            }
            name = fields[tag.property]
            if name != tag.property:
                label["property"] = tag.property
            if tag.is_remainder:
                label["is_remainder"] = True
            if tag.property in several:
                labels.setdefault(name, []).append(label)
            else:
                labels[name] = label
        for path in labelled.files.get(image_id, ()):
            yield {
                "filepath": locate(file_of(path)),
                "page": page_number(path),
                "image_id": image_id,
                "labels": labels,
            }


def tag_color_scheme(labelled: Labelled) -> dict[str, Any]:
    """The colours of the tags, as the arguments of a ``fiftyone.ColorScheme``."""
    tables = labelled.tables
    named = paths(tables.tags)
    fields = _fields(dict.fromkeys(tag.property for tag in tables.tags))
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for tag in tables.tags:
        if tag.colour:
            found[fields[tag.property]].setdefault(named[tag.tag_id], tag.colour)
    return {
        "color_by": "value",
        "fields": [
            {
                "path": name,
                "colorByAttribute": "label",
                "valueColors": [
                    {"value": value, "color": colour} for value, colour in colours.items()
                ],
            }
            for name, colours in found.items()
        ],
    }


def _fields(properties: Iterable[str]) -> dict[str, str]:
    """For each property a field's name of its own: letters, digits and ``_``."""
    taken = set(_TAKEN_FIELDS)
    found = {}
    for name in properties:
        plain = re.sub(r"\W+", "_", name).strip("_")
        plain = plain if plain[:1].isalpha() else f"property_{plain}"
        candidate, number = plain, 1
        while candidate in taken:
            number += 1
            candidate = f"{plain}_{number}"
        taken.add(candidate)
        found[name] = candidate
    return found


@dataclass
class FiftyOneSamples:
    """What samples of FiftyOne say of images."""

    said: Said = field(default_factory=Said)
    """Of their tags. Each sample is an image of it, whether it has tags or not."""
    places: list[int] = field(default_factory=list)
    """For each sample, in their order, its image's place in ``said``."""
    cells: dict[str, dict[int, tuple[PropertyType, str]]] = field(default_factory=dict)
    """By field, by an image's place in ``said``: the value as an inventory writes it."""
    arrays: dict[str, int] = field(default_factory=dict)
    """Fields that may be vectors, and how many samples have one."""
    left_out: dict[str, str] = field(default_factory=dict)
    """What is no tag and no value, by field: of which kind."""

    def columns(self) -> dict[str, PropertyType]:
        """The fields that are values, each with the one type that fits all of its cells."""
        found: dict[str, PropertyType] = {}
        for name, cells in self.cells.items():
            kinds = {kind for kind, _ in cells.values()}
            found[name] = kinds.pop() if len(kinds) == 1 else "text"
        return found


def read_samples(
    place: Path, properties: Collection[str] = (), with_values: bool = False
) -> FiftyOneSamples:
    """What the samples of an export say.

    Args:
        place: A FiftyOneDataset's folder, its ``samples.json`` or ``metadata.json``, or the file
            of ``--format fiftyone``.
        properties: Only tags and values of these properties; empty: of all.
        with_values: Whether values are kept, which take memory.

    Raises:
        ExchangeError: It is no such export, or a label is no name of a tag.
    """
    reader = _SampleReader(properties, with_values)
    try:
        reader.learn_colours(fiftyone_files.color_scheme(place))
        for sample in fiftyone_files.samples_in(place):
            reader.take(sample)
    except JsonError as error:
        raise ExchangeError.of(error) from error
    return reader.found


def is_label_column(header: str) -> bool:
    """Whether a column of a CSVDataset holds labels of whole images, see :func:`read_columns`."""
    return bool(_LABEL.fullmatch(header) or _LABELS.fullmatch(header)) or header == SAMPLE_TAGS


def read_columns(headers: list[str], filepath: int, table: Iterable[tuple[int, list[str]]]) -> Said:
    """What a CSVDataset says of tags: columns ``<field>.label`` and ``tags``.

    ``<field>.classifications.label`` and ``tags`` hold several, which FiftyOne joins with ``,``
    though texts may have commas themselves: one that a space follows is taken for a text's own.

    Args:
        headers: The names of the columns.
        filepath: Which of them names the files.
        table: The lines, with their numbers.

    Raises:
        ExchangeError: A label is no name of a tag.
    """
    found = Said()
    columns = []
    others = []
    for at, header in enumerate(headers):
        one, many = _LABEL.fullmatch(header), _LABELS.fullmatch(header)
        if one or many or header == SAMPLE_TAGS:
            name = (one or many or [header, header])[1]
            columns.append((at, header, name, one is None))
            found.tags.setdefault(normalised(name), {})
        elif at != filepath and header not in ("id", "image_id", ""):
            others.append(cut(header, 80))
    if others:
        found.notes.append(
            f"Columns that hold no tags stay out: {beginning(others, SHOWN_FIELDS)}. Name the file "
            "as `metadata` in .panoptic/project.yaml to have them as properties."
        )
    ids = headers.index("image_id") if "image_id" in headers else None
    for line, row in table:
        path = row[filepath]
        if not path.strip():
            continue
        image_id = row[ids].strip() if ids is not None and is_our_id(row[ids].strip()) else ""
        image = found.add_image(image_id, (path,), _endings(path))
        for at, header, name, several in columns:
            for label in _LIST.split(row[at]) if several else [row[at]]:
                if label.strip():
                    _give(found, image, name, label, {}, f"Line {line}, {header}")
    return found


def _endings(path: str) -> tuple[str, ...]:
    """The end of a path by which an image may be known where FiftyOne has made a copy of it."""
    folder, inside, rest = path.replace("\\", "/").rpartition("data/")
    if inside and (not folder or folder.endswith("/")):
        return (rest,) if rest else ()
    return () if path.startswith(("/", "\\")) else (path,)


def _give(
    said: Said, image: int, name: str, label: str, details: Mapping[str, Any], place: str
) -> None:
    try:
        said.add_tag(name, label, **details)
        said.give(image, name, label)
    except ExchangeError as error:
        raise ExchangeError(
            "{place}: {reason}", id="fiftyone-label-unusable", place=place, reason=error
        ) from error


class _SampleReader:
    """Takes samples one by one."""

    def __init__(self, properties: Collection[str], with_values: bool):
        self.found = FiftyOneSamples()
        self._wanted = set(map(normalised, properties))
        self._with_values = with_values
        self._colours: dict[str, dict[str, str]] = {}
        self._nb_samples = 0
        self._nb_cells = 0

    def learn_colours(self, scheme: Any) -> None:
        """Keep what a color scheme says of labels; anything may stand there."""
        for entry in _list(_dict(scheme).get("fields")):
            colours = {}
            for pair in map(_dict, _list(_dict(entry).get("valueColors"))):
                value, colour = pair.get("value"), pair.get("color")
                if isinstance(value, str) and isinstance(colour, str):
                    try:
                        colours[value] = parse_colour(colour)
                    except EditError:  # FiftyOne takes `red` as well
                        continue
            if isinstance(path := _dict(entry).get("path"), str):
                self._colours[path] = colours

    def take(self, sample: Any) -> None:
        """Take what one sample says."""
        self._nb_samples += 1
        name = sample_name(sample)
        if name is None:
            raise ExchangeError(
                "Sample {number:,} is none: it has no text `filepath`. Import the samples.json of "
                "a FiftyOneDataset, or what `panoptic-assets export --format fiftyone` wrote.",
                id="fiftyone-sample-without-file",
                number=self._nb_samples,
            )
        image = self.found.said.add_image(name.image_id, (name.path,), _endings(name.path))
        self.found.places.append(image)
        labels = sample.get("labels")
        if isinstance(labels, dict) and "_cls" not in labels and "_id" not in sample:
            for field_name, given in labels.items():
                for label in given if isinstance(given, list) else [given]:
                    self._label(image, field_name, label)
            return
        for field_name, value in sample.items():
            if field_name.startswith("_") or field_name in _SILENT or value is None:
                continue
            if name.image_id and field_name in ("image_id", "page"):
                continue
            self._field(image, field_name, value)

    def _field(self, image: int, name: str, value: Any) -> None:
        kind = value.get("_cls") if isinstance(value, dict) else None
        if name == SAMPLE_TAGS:
            for tag in _list(value):
                self._label(image, name, {"label": tag})
        elif kind == "Classification":
            self._label(image, name, value)
        elif kind == "Classifications":
            for label in _list(value.get("classifications")):
                self._label(image, name, label)
        elif kind == "Regression":
            self._value(image, name, value.get("value"))
        elif is_array(value):
            self.found.arrays[name] = self.found.arrays.get(name, 0) + 1
        elif kind is not None:
            self._leave_out(name, str(kind))
        else:
            self._value(image, name, value)

    def _label(self, image: int, name: str, label: Any) -> None:
        given = _dict(label)
        text = given.get("label")
        if text is None or (isinstance(text, str) and not text.strip()):
            return
        if not isinstance(text, str):
            self._leave_out(name, "label that is no text")
            return
        # Other people's labels may have attributes of these names as well.
        ours = given if isinstance(given.get("tag_id"), str) else {}
        own = ours.get("property")
        property_name = own if isinstance(own, str) and own.strip() else name
        if self._wanted and normalised(property_name) not in self._wanted:
            return
        place = f"Sample {self._nb_samples:,}, {cut(name, 80)}"
        said, colours = self.found.said, self._colours.get(name, {})
        details: dict[str, Any] = {}
        for of_tag, of_label in (("node", "cluster"), ("record_id", "record_id")):
            if isinstance(ours.get(of_label), str):
                details[of_tag] = ours[of_label]
        if ours.get("is_remainder") is True:
            details["is_remainder"] = True
        if text in colours:
            details["colour"] = colours[text]
        if colours and HIERARCHY in text:
            names = text.split(HIERARCHY)
            for length in range(1, len(names)):
                above = HIERARCHY.join(names[:length])
                if above in colours:
                    said.add_tag(property_name, above, colour=colours[above])
        _give(said, image, property_name, text, details, place)
        for attribute in ("tags", "confidence"):
            if given.get(attribute):
                self._leave_out(f"{name}.{attribute}", "of labels")

    def _value(self, image: int, name: str, value: Any) -> None:
        if self._wanted and normalised(name) not in self._wanted:
            return
        cell = _cell(value)
        if isinstance(cell, str):
            self._leave_out(name, cell)
        elif cell is not None and self._with_values:
            self._nb_cells += 1
            if self._nb_cells > MAX_CELLS:
                raise ExchangeError(
                    "The samples have more than {most:,} values: leave out fields that are not "
                    "needed, or export a CSVDataset of the ones that are.",
                    id="fiftyone-too-many-values",
                    most=MAX_CELLS,
                )
            self.found.cells.setdefault(name, {})[image] = cell
        elif cell is not None:
            self._leave_out(name, "values")

    def _leave_out(self, name: str, kind: str) -> None:
        if not self._wanted and name not in self.found.left_out:
            self.found.left_out[name] = kind


def _cell(value: Any) -> tuple[PropertyType, str] | str | None:
    """A value as an inventory writes it; None for none; what it is, where it cannot be written."""
    if isinstance(value, bool):
        return "text", "true" if value else "false"
    if isinstance(value, dict):
        return _extended(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return ("text", value) if value.strip() else None
    if isinstance(value, list):
        texts = [text for text in value if isinstance(text, str) and text.strip()]
        if len(texts) < len(value):
            return "list"
        if not texts:
            return None
        cell = tags_cell(texts)
        return ("multi_tags", cell) if cell is not None else ("text", "; ".join(texts))
    return None


def _extended(value: dict[str, Any]) -> tuple[PropertyType, str] | str | None:
    """What MongoDB's extended JSON writes as a document of one member."""
    for name in ("$numberLong", "$numberInt", "$numberDouble"):
        if name in value:
            try:
                return _number(
                    float(value[name]) if name == "$numberDouble" else int(str(value[name])[:30])
                )
            except (ValueError, TypeError):
                return "number"
    if "$date" not in value:
        return "document"
    moment = value["$date"]
    try:
        if isinstance(moment, dict):
            moment = int(str(moment.get("$numberLong"))[:30])
        if isinstance(moment, int):
            found = _EPOCH + timedelta(milliseconds=moment)
        else:
            found = datetime.fromisoformat(moment)
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return "date"
    # A date without a time is midnight in UTC there.
    if found.time() == _EPOCH.time():
        return "date", found.date().isoformat()
    return "date", found.strftime("%H:%M:%S").join((f"{found.date().isoformat()}T", "")) + (
        f".{found.microsecond:06d}".rstrip("0") if found.microsecond else ""
    )


def _number(value: float) -> tuple[PropertyType, str] | None:
    if isinstance(value, float):
        return ("number", repr(value)) if math.isfinite(value) else None
    return ("number" if abs(value) < _WHOLE_NUMBERS else "text", str(value))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
