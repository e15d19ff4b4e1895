"""A project folder of Panoptic as version 1.0.0 writes it, made without Panoptic.

Belongs here: those tables and columns of ``data.db`` (its version 2) and ``media.db`` (version 1)
that the import reads, and how rows are written. Does not belong here: what Panoptic's own code
does, which ``tests/peers`` runs.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

_DATA = """
CREATE TABLE folders (id INTEGER PRIMARY KEY NOT NULL, source_id INTEGER, path TEXT, name TEXT,
    parent INTEGER, sequence INTEGER);
CREATE TABLE files (id INTEGER PRIMARY KEY NOT NULL, name TEXT, folder_id INTEGER, sha1 TEXT,
    width INTEGER, height INTEGER, format TEXT, created_at TIMESTAMP, sequence INTEGER);
CREATE TABLE instances (id INTEGER PRIMARY KEY NOT NULL, file_id INTEGER, sha1 TEXT,
    sequence INTEGER);
CREATE TABLE properties (id INTEGER PRIMARY KEY NOT NULL, dtype TEXT, mode TEXT, name TEXT,
    access TEXT, tag_list_id INTEGER, system_key TEXT, property_group_id INTEGER,
    commit_id INTEGER, operation INTEGER, sequence INTEGER);
CREATE TABLE tags (id INTEGER PRIMARY KEY NOT NULL, list_id INTEGER, parents JSON, value TEXT,
    color INTEGER, commit_id INTEGER, operation INTEGER, sequence INTEGER);
CREATE TABLE instance_values (property_id INTEGER NOT NULL, instance_id INTEGER NOT NULL,
    value JSON, commit_id INTEGER, operation INTEGER, sequence INTEGER,
    PRIMARY KEY (property_id, instance_id));
CREATE TABLE sha1_values (property_id INTEGER NOT NULL, sha1 TEXT NOT NULL, value JSON,
    commit_id INTEGER, operation INTEGER, sequence INTEGER, PRIMARY KEY (property_id, sha1));
CREATE TABLE file_values (property_id INTEGER NOT NULL, file_id INTEGER NOT NULL, value JSON,
    commit_id INTEGER, operation INTEGER, sequence INTEGER, PRIMARY KEY (property_id, file_id));
CREATE TABLE instance_tag_values (instance_id INTEGER NOT NULL, property_id INTEGER NOT NULL,
    tag_id INTEGER NOT NULL, commit_id INTEGER, operation INTEGER, sequence INTEGER,
    PRIMARY KEY (instance_id, property_id, tag_id));
CREATE TABLE sha1_tag_values (sha1 TEXT NOT NULL, property_id INTEGER NOT NULL,
    tag_id INTEGER NOT NULL, commit_id INTEGER, operation INTEGER, sequence INTEGER,
    PRIMARY KEY (sha1, property_id, tag_id));
"""
_MEDIA = """
CREATE TABLE vector_types (id INTEGER PRIMARY KEY NOT NULL, source TEXT NOT NULL,
    params JSON NOT NULL);
CREATE TABLE vectors (type_id INTEGER NOT NULL, sha1 TEXT NOT NULL, data ARRAY NOT NULL,
    PRIMARY KEY (type_id, sha1));
CREATE TABLE maps (id INTEGER PRIMARY KEY NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    key TEXT NOT NULL, count INTEGER NOT NULL, data JSON);
"""


class PanopticDatabases:
    """Writes the two databases."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True)
        self.folder = folder
        self.data = sqlite3.connect(folder / "data.db", isolation_level=None)
        self.media = sqlite3.connect(folder / "media.db", isolation_level=None)
        for connection, tables in ((self.data, _DATA), (self.media, _MEDIA)):
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(f"BEGIN; {tables} COMMIT;")
        self.property(90, "width", "number", system="width")

    def files(self, within: str, names: Iterable[tuple[str, str]]) -> None:
        """A folder of files, each with an instance of the same number: names and SHA-1."""
        [(folder,)] = self.data.execute("SELECT count(*) + 1 FROM folders")
        last = within.rpartition("/")[2]
        self.data.execute(
            "INSERT INTO folders VALUES (?, 1, ?, ?, NULL, 1)", (folder, within, last)
        )
        for name, sha1 in names:
            [(number,)] = self.data.execute("SELECT count(*) + 1 FROM files")
            self.data.execute(
                "INSERT INTO files (id, name, folder_id, sha1) VALUES (?, ?, ?, ?)",
                (number, name, folder, sha1),
            )
            self.data.execute("INSERT INTO instances VALUES (?, ?, ?, 1)", (number, number, sha1))

    def property(
        self, number: int, name: str, dtype: str, mode: str = "sha1", system: str | None = None
    ) -> None:
        """A property, whose tags are a list of the same number."""
        row = (number, dtype, mode, name, "write", number, system, None, 1, 1, 1)
        self.data.execute(f"INSERT INTO properties VALUES ({', '.join('?' * 11)})", row)

    def tag(
        self,
        number: int,
        of: int,
        name: object,
        parents: Sequence[int] = (),
        colour: int | None = 0,
        operation: int = 1,
    ) -> None:
        """A tag; ``operation`` -1 is a deleted one."""
        row = (number, of, json.dumps(list(parents)), name, colour, 1, operation, 1)
        self.data.execute("INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def give(self, key: object, of: int, tag: int, operation: int = 1) -> None:
        """An image, by its SHA-1, or an instance, by its number, has a tag."""
        table = "sha1_tag_values" if isinstance(key, str) else "instance_tag_values"
        self.data.execute(
            f"INSERT INTO {table} VALUES (?, ?, ?, 1, ?, 1)", (key, of, tag, operation)
        )

    def value(self, table: str, of: int, key: object, value: object, operation: int = 1) -> None:
        """A value of another property."""
        row = (of, key, json.dumps(value), operation)
        self.data.execute(f"INSERT INTO {table} VALUES (?, ?, ?, 1, ?, 1)", row)

    def vectors(self, number: int, source: str, vectors: dict[str, Sequence[float]]) -> None:
        """A kind of vectors, by SHA-1."""
        params = json.dumps({"model": "openai/clip", "greyscale": False})
        self.media.execute("INSERT INTO vector_types VALUES (?, ?, ?)", (number, source, params))
        for sha1, vector in vectors.items():
            data = np.array(vector, np.float32).tobytes()
            self.media.execute("INSERT INTO vectors VALUES (?, ?, ?)", (number, sha1, data))

    def close(self) -> Path:
        """Let go of them; the folder."""
        self.data.close()
        self.media.close()
        return self.folder
