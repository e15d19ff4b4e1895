"""The tables of a project: their columns, types, keys and meanings.

Belongs here: what a row holds. Does not belong here: reading and writing rows
(``resources.lance``).

Long because every column says what it holds.
"""

from typing import NamedTuple

import pyarrow as pa

_KEY = {"lance-schema:unenforced-primary-key": "true"}
_TIME = pa.timestamp("us", tz="UTC")


class TableColumn(NamedTuple):
    """One column of a table."""

    field: pa.Field
    meaning: str
    """Kept out of the field: its metadata would be stored, and compared."""


class Table(NamedTuple):
    """One table."""

    row: str
    """What one row is."""
    columns: list[TableColumn]

    @property
    def schema(self) -> pa.Schema:
        """As tables are created with it."""
        return pa.schema([column.field for column in self.columns])


def _key(name: str, meaning: str) -> TableColumn:
    return TableColumn(pa.field(name, pa.string(), nullable=False, metadata=_KEY), meaning)


def _column(name: str, kind: pa.DataType, meaning: str, nullable: bool = True) -> TableColumn:
    return TableColumn(pa.field(name, kind, nullable=nullable), meaning)


_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
_PAIRS = pa.list_(pa.struct({"tag_id": pa.string(), "image_id": pa.string()}))
_IMAGE = _key("image_id", "The image.")

# A column is added at any time, and last: tables made before get it, with nulls, when first opened.
TABLES = {
    "images": Table(
        "One image that was ever seen.",
        [
            _key(
                "image_id",
                "SHA-256 of the file's bytes, hexadecimal; of page n > 1 of a file, the SHA-256 of "
                "that text with `#n` behind it.",
            ),
            _column("format", _TEXT, "As the decoder names it, such as `JPEG`."),
            _column("width", pa.int32(), "Pixels as displayed: EXIF's orientation is applied."),
            _column("height", pa.int32(), "The same."),
            _column("bytes", pa.int64(), "Size of the file."),
            _column("thumbnail", pa.binary(), "A small picture, as the bytes of a WebP file."),
            _column("added_at", _TIME, "When it was first read."),
            _column("phash", _TEXT, "Perceptual hash: 64 bits, hexadecimal."),
            _column("mean_colour", _TEXT, "As `#rrggbb`."),
            _column(
                "taken_at",
                pa.timestamp("us"),
                "When it was taken, by the camera's clock: no time zone.",
            ),
            _column(
                "decoder",
                pa.int32(),
                "Number of the decoder's algorithm that made size, thumbnail, hash and colour; "
                "null: 1.",
            ),
        ],
    ),
    "files": Table(
        "One file that was ever seen: the manifest of the corpus.",
        [
            _key("path", "Below the images' folder, with `/`."),
            _column("image_id", _TEXT, "The image that it holds; null if the file was never read."),
            _column("status", _TEXT, "`present`, `missing` or `quarantined`."),
            _column("reason", _TEXT, "Why a file is quarantined."),
            _column("size", pa.int64(), "Bytes."),
            _column("mtime_ns", pa.int64(), "Time of its last change: nanoseconds since 1970."),
            _column("seen_at", _TIME, "When a refresh last found another state."),
            _column("etag", _TEXT, "An object store's mark of the content."),
            _column("reader", _TEXT, "Versions and limits that put it in quarantine."),
            _column(
                "ctime_ns",
                pa.int64(),
                "Time of the last change of the file or of what the disk notes about it: "
                "nanoseconds since 1970; 0 or null where there is none.",
            ),
            _column("inode", pa.int64(), "The disk's number of the file; 0 or null: none."),
            _column("mount", _TEXT, "The mounted folder that it lies on; empty: the root's disk."),
            _column("nb_pages", pa.int32(), "Pages of the file; null if nobody has counted them."),
            _column("read_at", _TIME, "When its bytes were last read; null: before this column."),
        ],
    ),
    "other_files": Table(
        "One file that was looked into, since its name told nothing, and is no image.",
        [
            _key("path", "Below the images' folder, with `/`."),
            _column("format", _TEXT, "What it is, such as `PSD`; empty if unknown."),
            _column("size", pa.int64(), "Bytes."),
            _column("mtime_ns", pa.int64(), "Time of its last change: nanoseconds since 1970."),
            _column("etag", _TEXT, "An object store's mark of the content."),
            _column("ctime_ns", pa.int64(), "As of `files`."),
            _column("inode", pa.int64(), "As of `files`."),
            _column("reader", _TEXT, "Versions of what knew no such image."),
        ],
    ),
    "left_out": Table(
        "Files of the images' folder that the last refresh left out for one reason.",
        [
            _key("kind", "The reason, see `panoptic_assets.corpus.accounting`."),
            _column("files", pa.int64(), "How many."),
            _column(
                "folders",
                pa.int64(),
                "Folders that were not entered; what is in them is not counted.",
            ),
            _column("extensions", _TEXT, "JSON: how many of the files have which extension."),
            _column("first", pa.list_(pa.string()), "Paths of the first ones."),
        ],
    ),
    "questions": Table(
        "What a refresh asks a person, until it is answered.",
        [
            _key("kind", "See `panoptic_assets.corpus.open_questions`."),
            _column("message", _TEXT, "JSON: id, template and values of what it says."),
            _column("asked_at", _TIME, "When it was first asked."),
        ],
    ),
    "inventory": Table(
        "What is known of the inventory; none where the project has none.",
        [
            _key("file", "Where it is."),
            _column("content", _TEXT, "JSON, see `panoptic_assets.corpus.inventory_state`."),
        ],
    ),
    "corpus_log": Table(
        "One file whose state a corpus version changed, or the version itself.",
        [
            _key("version", "Number of the corpus version, in 12 digits, which sort as text."),
            _key("path", "The file; empty: the version's own row."),
            _column(
                "status",
                _TEXT,
                "The file's since; null when the manifest no longer knows the path.",
            ),
            _column("image_id", _TEXT, "What the file holds since."),
            _column("reason", _TEXT, "Why a file is quarantined."),
            _column(
                "content",
                _TEXT,
                "Of the version's row: JSON, see `panoptic_assets.corpus.versions`.",
            ),
        ],
    ),
    "records": Table(
        "One record: a revision of a clustering.",
        [
            _key("record_id", "Key, revision and Dagster run, see `panoptic_assets.spec.records`."),
            _column("key", _TEXT, "The run key, or the node that was divided."),
            _column("revision", pa.int32(), "1 for the first clustering of the key."),
            _column("run_key", _TEXT, "The run that it belongs to."),
            _column("content", _TEXT, "JSON, see `panoptic_assets.spec.records`."),
            _column(
                "seal", _TEXT, "JSON, see `panoptic_assets.spec.seals`; null if older than seals."
            ),
        ],
    ),
    "clusters": Table(
        "One cluster of one record.",
        [
            _key("record_id", "The record."),
            _key("cluster", '`"0"`, `"1"`, … or `"remainder"`.'),
            _column("key", _TEXT, "The run key, or the node that was divided."),
            _column("size", pa.int32(), "Images."),
            _column(
                "score", pa.float64(), "From 0 to 100, lower is tighter; 1000 for the remainder."
            ),
            _column("medoid", _TEXT, "Image id of the image nearest to the cluster's mean."),
            _column("name", _TEXT, "Of methods whose clusters have one, such as a tag."),
            _column("stability", pa.float64(), "From 0 to 1; null if it was not asked for."),
        ],
    ),
    "assignments": Table(
        "One image in one record.",
        [
            _key("record_id", "The record."),
            _IMAGE,
            _column("key", _TEXT, "The run key, or the node that was divided."),
            _column("cluster", _TEXT, "Where the image is."),
            _column("distance", pa.float32(), "1 − cosine of the image and the cluster's mean."),
            _column("probability", pa.float32(), "Of belonging to it; of methods that tell."),
            _column("similarity", pa.float32(), "To what it was attached to, such as a tag."),
            _column("assigned", _TEXT, "The cluster, with the remainder in the nearest clusters."),
            _column(
                "assigned_later",
                pa.bool_(),
                "Whether the clusters had been computed when the image came; null if older than "
                "this column.",
            ),
        ],
    ),
    "tag_log": Table(
        "The events of one commit.",
        [
            _key("event_id", "Number of the first event, in 12 digits, which sort as text."),
            _column("at", _TIME, "When."),
            _column("author", _TEXT, "Who."),
            _column("kind", _TEXT, "Of the events, each kind once, joined by commas."),
            _column("reason", _TEXT, "Why."),
            _column("content", _TEXT, "JSON list, see `panoptic_assets.spec.tag_log`."),
            _column("images", _PAIRS, "The pairs of all its events, one after the other."),
        ],
    ),
    "tags": Table(
        "One tag, as the replay of the tag log leaves it.",
        [
            _key("tag_id", "The tag."),
            _column("property", _TEXT, "The property that it belongs to."),
            _column("name", _TEXT, "Its name, without those above it."),
            _column("parent_id", _TEXT, "The tag above it; null at the top."),
            _column(
                "record_id", _TEXT, "The record that it was saved from; null if a person made it."
            ),
            _column("node", _TEXT, "The cluster that it was saved from."),
            _column("is_remainder", pa.bool_(), "Whether that is a remainder."),
            _column("colour", _TEXT, "As `#rrggbb`."),
        ],
    ),
    "image_tags": Table(
        "One tag of one image, as the replay of the tag log leaves it.",
        [
            _key("tag_id", "The tag."),
            _IMAGE,
            _column("property", _TEXT, "The property that the tag belongs to."),
            _column("event", pa.int64(), "Number of the event that gave it."),
        ],
    ),
    "recommendations": Table(
        "One image that is proposed for one tag.",
        [
            _key("tag_id", "The tag."),
            _IMAGE,
            _column("property", _TEXT, "The property that the tag belongs to."),
            _column("rank", pa.int32(), "1 for the tag's best proposal."),
            _column(
                "score",
                pa.float64(),
                "Above 0, up to 1, see `panoptic_assets.tags.recommendations`.",
            ),
            _column("margin", pa.float64(), "Over the best other tag; null if there is none."),
            _column("tagged", pa.bool_(), "Whether the image carries another tag of the property."),
            _column("vector_type", _TEXT, "The vectors that were compared."),
        ],
    ),
    "labels": Table(
        "The label of one cluster.",
        [
            _key("record_id", "Of the clustering that the cluster is of."),
            _key("cluster", "The cluster."),
            _column("node", _TEXT, "Its address."),
            _column("run_key", _TEXT, "The run that it belongs to."),
            _column("label", _TEXT, "Null where none was found."),
            _column("score", pa.float64(), "Higher is better; null where the method tells none."),
            _column("alternatives", _TEXTS, "The best first."),
            _column(
                "description", _TEXT, "What the images show; null where the method writes none."
            ),
            _column("reason", _TEXT, "Why there is none, or a remark."),
            _column("method", _TEXT, "The labeller, such as `zero_shot`."),
            _column("config", _TEXT, "Its parameters, as JSON."),
        ],
    ),
    "label_answers": Table(
        "One answer of a vision language model, which is not paid for again.",
        [
            _key(
                "cache_key",
                "Hash of all that was asked, see `panoptic_assets.labels.vision_language`.",
            ),
            _column("answer", _TEXT, "JSON."),
            _column("model", _TEXT, "As the endpoint names it."),
            _column("host", _TEXT, "Of the endpoint."),
            _column("prompt", _TEXT, "SHA-256."),
            _column("tokens_in", pa.int64(), "Tokens that were sent."),
            _column("tokens_out", pa.int64(), "Tokens of the answer."),
            _column("created_at", _TIME, "When it came."),
        ],
    ),
    "property_values": Table(
        "One value of one image in the inventory.",
        [
            _IMAGE,
            _key("property", "The property's name."),
            _column(
                "type",
                _TEXT,
                "`text`, `number`, `date`, `tag` or `multi_tags`: which column holds the value.",
            ),
            _column("text", _TEXT, "Of a text; of a date as it was written."),
            _column("number", pa.float64(), "Of a number."),
            _column(
                "date",
                _TIME,
                "Of a date: the moment at which it begins, in UTC; null before the year 1, after "
                "9999, and where its beginning is open. Rows without `edtf`, which are older than "
                "that column, mean this day.",
            ),
            _column("tags", _TEXTS, "Paths such as `a > b`; of type `tag`, one."),
            _column("edtf", _TEXT, "Of a date: in EDTF (ISO 8601-2), such as `1850~`."),
            _column(
                "first_day",
                pa.int64(),
                "Of a date: the first day that it may be, in days since 1970-01-01, by the "
                "Gregorian calendar in all years; null: its beginning is open.",
            ),
            _column("last_day", pa.int64(), "The last day that it may be; null: its end is open."),
        ],
    ),
    "marks": Table(
        "One mark: what was undone, done again, removed, or written in place of another thing.",
        [
            _key("mark_id", "Its number, in 12 digits, which sort as text."),
            _column("at", _TIME, "When."),
            _column("author", _TEXT, "Who."),
            _column("reason", _TEXT, "Why."),
            _column("kind", _TEXT, "`undo`, `redo`, `labels`, `policy`, `remove` or `remark`."),
            _column(
                "key", _TEXT, "The run or node that it is about; or `image:` or `tag:` and an id."
            ),
            _column("act", _TEXT, "The act that an undo or redo names, such as `greek@2`."),
            _column("dagster_run_id", _TEXT, "The Dagster run that made it."),
            _column("records", _TEXTS, "Ids of records, see `panoptic_assets.spec.marks`."),
            _column("content", _TEXT, "JSON: what was there before and after."),
        ],
    ),
    "forgotten": Table(
        "The tombstone of an image: all that is left of it.",
        [
            _IMAGE,
            _column("certificate", _TEXT, "Name of a file in `.panoptic/certificates`."),
            _column("at", _TIME, "When."),
            _column("author", _TEXT, "Who."),
            _column("reason", _TEXT, "Why."),
            _column("records", _TEXTS, "Ids of those whose answer held it."),
            _column("unfinished", _TEXT, "JSON while it is being forgotten, then null."),
        ],
    ),
}

SCHEMAS = {name: table.schema for name, table in TABLES.items()}


def vectors_table(vector_type: str) -> str:
    """Name of the table that holds one vector type."""
    return f"vectors.{vector_type}"


def vectors(dim: int) -> Table:
    """The table of a vector type of ``dim`` numbers."""
    kind = pa.list_(pa.float32(), dim)
    vector = _column("vector", kind, "Of unit length.", nullable=False)
    return Table("The vector of one image.", [_IMAGE, vector])


def vectors_schema(dim: int) -> pa.Schema:
    """Rows of a vector type: an image id and a unit-length vector of ``dim`` float32 numbers."""
    return vectors(dim).schema


def neighbors_table(vector_type: str) -> str:
    """Name of the table that holds the nearest-neighbour graph of one vector type."""
    return f"neighbors.{vector_type}"


NEIGHBORS = Table(
    "The nearest neighbours of one image.",
    [
        _IMAGE,
        _column("vector_hash", pa.binary(8), "Of the vector that was compared.", nullable=False),
        # Numbers of rows are a sixteenth of the ids' size (100,000 images with 50 neighbours:
        # 20 MB), and cannot dangle, since all rows are replaced in one commit.
        _column(
            "neighbors",
            pa.list_(pa.int32()),
            "Numbers of rows, nearest first; 0 is the smallest image id of this version of the "
            "table.",
            nullable=False,
        ),
        _column("similarities", pa.list_(pa.float32()), "Their cosines.", nullable=False),
    ],
)
NEIGHBORS_SCHEMA = NEIGHBORS.schema


def points_table(projection: str) -> str:
    """Name of the table that holds the points of one projection, ``<vector type>/<name>``."""
    return f"points.{projection.replace('/', '.')}"


def points(nb_dimensions: int) -> Table:
    """The table of a projection of ``nb_dimensions`` numbers."""
    kind = pa.list_(pa.float32(), nb_dimensions)
    return Table(
        "The point of one image.", [_IMAGE, _column("point", kind, "As computed.", nullable=False)]
    )


def points_schema(nb_dimensions: int) -> pa.Schema:
    """Rows of a projection: an image id and a point of ``nb_dimensions`` float32 numbers."""
    return points(nb_dimensions).schema
