"""The tables of a project: their columns, types and keys.

Belongs here: what a row holds. Does not belong here: reading and writing rows
(``resources.lance``).
"""

import pyarrow as pa

_KEY = {"lance-schema:unenforced-primary-key": "true"}


def _key(name: str) -> pa.Field:
    return pa.field(name, pa.string(), nullable=False, metadata=_KEY)


_TIME = pa.timestamp("us", tz="UTC")


# A column is added at any time, and last: tables made before get it, with nulls, when first opened.
SCHEMAS = {
    "images": pa.schema(
        [
            _key("image_id"),  # SHA-256 of the file's bytes, hexadecimal
            pa.field("format", pa.string()),
            pa.field("width", pa.int32()),  # pixels as displayed, EXIF orientation applied
            pa.field("height", pa.int32()),
            pa.field("bytes", pa.int64()),
            pa.field("thumbnail", pa.binary()),  # WebP
            pa.field("added_at", _TIME),
            pa.field("phash", pa.string()),  # perceptual hash, 64 bits, hexadecimal
            pa.field("mean_colour", pa.string()),  # #rrggbb
            pa.field("taken_at", pa.timestamp("us")),  # the camera's clock: no time zone
        ]
    ),
    "files": pa.schema(
        [
            _key("path"),  # POSIX, relative to the images' folder
            pa.field("image_id", pa.string()),  # null when the file was never read
            pa.field("status", pa.string()),  # present, missing or quarantined
            pa.field("reason", pa.string()),  # why a file is quarantined
            pa.field("size", pa.int64()),
            pa.field("mtime_ns", pa.int64()),
            pa.field("seen_at", _TIME),
            pa.field("etag", pa.string()),  # an object store's mark of the content
            pa.field("reader", pa.string()),  # versions and limits that put it in quarantine
        ]
    ),
    "corpus_log": pa.schema(
        [
            _key("version"),  # number of the corpus version, in 12 digits, which sort as text
            _key("path"),  # of a file that has another state since; empty: the version's own row
            pa.field("status", pa.string()),  # null when the manifest no longer knows the path
            pa.field("image_id", pa.string()),
            pa.field("reason", pa.string()),  # why a file is quarantined
            pa.field("content", pa.string()),  # of the version's row: JSON, see corpus.versions
        ]
    ),
    "records": pa.schema(
        [
            _key("record_id"),  # see panoptic_assets.spec.records
            pa.field("key", pa.string()),
            pa.field("revision", pa.int32()),
            pa.field("run_key", pa.string()),
            pa.field("content", pa.string()),  # JSON, see panoptic_assets.spec.records
            pa.field("seal", pa.string()),  # JSON, see panoptic_assets.spec.seals; null if older
        ]
    ),
    "clusters": pa.schema(
        [
            _key("record_id"),
            _key("cluster"),  # "0", "1", … or "remainder"
            pa.field("key", pa.string()),
            pa.field("size", pa.int32()),
            pa.field("score", pa.float64()),
            pa.field("medoid", pa.string()),  # image id
            pa.field("name", pa.string()),  # of methods whose clusters have one, such as a tag
            pa.field("stability", pa.float64()),  # in [0, 1]; null if it was not asked for
        ]
    ),
    "assignments": pa.schema(
        [
            _key("record_id"),
            _key("image_id"),
            pa.field("key", pa.string()),
            pa.field("cluster", pa.string()),
            pa.field("distance", pa.float32()),  # 1 - cosine to the cluster's mean
            pa.field("probability", pa.float32()),  # of belonging to it; of methods that tell
            pa.field("similarity", pa.float32()),  # to what it was attached to, such as a tag
            pa.field("assigned", pa.string()),  # with the remainder in the nearest clusters
            # Whether the clusters had been computed when the image came; null if older than this.
            pa.field("assigned_later", pa.bool_()),
        ]
    ),
    "tag_log": pa.schema(
        [
            # One row holds the events of one commit; this is the first one's number, in 12
            # digits, which sort as text.
            _key("event_id"),
            pa.field("at", _TIME),
            pa.field("author", pa.string()),
            pa.field("kind", pa.string()),  # of the events, each kind once, joined by commas
            pa.field("reason", pa.string()),
            pa.field("content", pa.string()),  # JSON list, see panoptic_assets.spec.tag_log
            # Of all its events, one after the other.
            pa.field(
                "images", pa.list_(pa.struct({"tag_id": pa.string(), "image_id": pa.string()}))
            ),
        ]
    ),
    "tags": pa.schema(
        [
            _key("tag_id"),
            pa.field("property", pa.string()),
            pa.field("name", pa.string()),
            pa.field("parent_id", pa.string()),
            pa.field("record_id", pa.string()),
            pa.field("node", pa.string()),
            pa.field("is_remainder", pa.bool_()),
            pa.field("colour", pa.string()),  # #rrggbb
        ]
    ),
    "image_tags": pa.schema(
        [
            _key("tag_id"),
            _key("image_id"),
            pa.field("property", pa.string()),
            pa.field("event", pa.int64()),  # number of the event that gave it
        ],
    ),
    "recommendations": pa.schema(
        [
            _key("tag_id"),
            _key("image_id"),
            pa.field("property", pa.string()),
            pa.field("rank", pa.int32()),  # 1 for the tag's best proposal
            pa.field("score", pa.float64()),  # in (0, 1], see panoptic_assets.tags.recommendations
            pa.field("margin", pa.float64()),  # over the best other tag; null if there is none
            pa.field("tagged", pa.bool_()),  # whether the image carries another tag of the property
            pa.field("vector_type", pa.string()),
        ]
    ),
    "labels": pa.schema(
        [
            _key("record_id"),  # of the clustering that the cluster is of
            _key("cluster"),
            pa.field("node", pa.string()),
            pa.field("run_key", pa.string()),
            pa.field("label", pa.string()),  # null where none was found
            pa.field("score", pa.float64()),  # higher is better; null where the method tells none
            pa.field("alternatives", pa.list_(pa.string())),  # the best first
            pa.field("description", pa.string()),
            pa.field("reason", pa.string()),  # why there is none, or a remark
            pa.field("method", pa.string()),  # zero_shot or vision_model
            pa.field("config", pa.string()),  # JSON
        ]
    ),
    "label_answers": pa.schema(
        [
            _key("cache_key"),  # see panoptic_assets.labels.vision_language
            pa.field("answer", pa.string()),  # JSON
            pa.field("model", pa.string()),
            pa.field("host", pa.string()),  # of the endpoint
            pa.field("prompt", pa.string()),  # SHA-256
            pa.field("tokens_in", pa.int64()),
            pa.field("tokens_out", pa.int64()),
            pa.field("created_at", _TIME),
        ]
    ),
    "property_values": pa.schema(
        [
            _key("image_id"),
            _key("property"),
            pa.field("type", pa.string()),  # text, number, date, tag or multi_tags
            pa.field("text", pa.string()),
            pa.field("number", pa.float64()),
            pa.field("date", _TIME),
            pa.field("tags", pa.list_(pa.string())),  # paths such as "a > b"; one, of type tag
        ]
    ),
    "forgotten": pa.schema(
        [
            _key("image_id"),  # the tombstone: all that is left of an image
            pa.field(
                "certificate", pa.string()
            ),  # name of a file, see panoptic_assets.upkeep.forgetting
            pa.field("at", _TIME),
            pa.field("author", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("records", pa.list_(pa.string())),  # ids of those whose answer held it
            pa.field("unfinished", pa.string()),  # JSON while it is being forgotten, then null
        ]
    ),
}


def vectors_table(vector_type: str) -> str:
    """Name of the table that holds one vector type."""
    return f"vectors.{vector_type}"


def vectors_schema(dim: int) -> pa.Schema:
    """Rows of a vector type: an image id and a unit-length vector of ``dim`` float32 numbers."""
    return pa.schema(
        [_key("image_id"), pa.field("vector", pa.list_(pa.float32(), dim), nullable=False)]
    )


def neighbors_table(vector_type: str) -> str:
    """Name of the table that holds the nearest-neighbour graph of one vector type."""
    return f"neighbors.{vector_type}"


NEIGHBORS_SCHEMA = pa.schema(
    [
        _key("image_id"),
        pa.field("vector_hash", pa.binary(8), nullable=False),  # of the vector that was compared
        # Numbers of rows, 0 for the smallest image id of this version of the table. They are a
        # sixteenth of the ids' size (100,000 images with 50 neighbours: 20 MB), and cannot dangle,
        # since all rows are replaced in one commit.
        pa.field("neighbors", pa.list_(pa.int32()), nullable=False),
        pa.field("similarities", pa.list_(pa.float32()), nullable=False),  # cosines
    ]
)


def points_table(projection: str) -> str:
    """Name of the table that holds the points of one projection, ``<vector type>/<name>``."""
    return f"points.{projection.replace('/', '.')}"


def points_schema(nb_dimensions: int) -> pa.Schema:
    """Rows of a projection: an image id and a point of ``nb_dimensions`` float32 numbers."""
    return pa.schema(
        [_key("image_id"), pa.field("point", pa.list_(pa.float32(), nb_dimensions), nullable=False)]
    )
