"""The tables of a LanceDB database, by pylance alone.

Belongs here: where LanceDB lays its tables, and listing, opening and making them there. Does not
belong here: what the tables hold, and how rows are written so that none is lost or doubled
(``lance``).

They are LanceDB's own tables: ``lancedb.connect(uri).open_table(name)`` opens each, and what it
writes is read here. Its package is not imported, since `import lancedb` costs 1.7 CPU s and
pylance .45, of which .3 are pyarrow's and NumPy's. More than half of the difference is
``lance_namespace``'s generated REST client, some hundred pydantic models that only LanceDB Cloud
and catalogs use. ``lancedb/__init__.py`` imports it whatever one wants of the package, so that
only another module in its place in ``sys.modules`` would keep it out, for everybody in the process.
pylance imports it when a namespace is asked for, and never else.
"""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import lance
import pyarrow as pa
from lance.file import LanceFileSession

_FOLDER = ".lance"
"""How the folder of a table ends."""

_METADATA_BYTES = 16 * 2**20
"""Of manifests and the like that are kept; Lance's own limit is a gigabyte. Each commit leaves
those of one more version there: a process that stays, as the worker does, grew by .5 MB an act."""


class LanceDatabase:
    """The tables below one folder or URL.

    Args:
        uri: A folder, which is made if it is missing, or a URL of any scheme that Lance knows.
            ``memory://``: new, empty tables in the memory of this process.
        storage_options: Lance's; what is missing it takes from the environment.

    Raises:
        OSError: The folder cannot be made.
        OSError, ValueError, RuntimeError: Lance's words for a URL that it cannot open.
    """

    def __init__(self, uri: str, storage_options: dict[str, str]):
        if uri.startswith("memory:"):
            # Lance's own `memory://` is another one at each call that names it.
            uri = f"shared-memory://{uuid4().hex}"
        self.is_local = "://" not in uri or uri.startswith("file:")
        if self.is_local:
            folder = Path(re.sub("^file:(//)?", "", uri)).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            uri = str(folder)
        self.uri = uri
        self._options = storage_options or None
        # What is known of an object store and of its manifests then serves each table.
        self._session = lance.Session(metadata_cache_size_bytes=_METADATA_BYTES)
        self.files = LanceFileSession(uri, storage_options=self._options)
        """Files below the location, through Lance's own storage layer: it takes the same options
        and credentials as the tables, on every back end, and writes by rename."""

    def names(self) -> list[str]:
        """Sorted names of all tables."""
        folders = self.files.list_with_delimiter().common_prefixes
        return sorted(
            name.removesuffix(_FOLDER)
            for folder in folders
            if (name := folder.rstrip("/").rpartition("/")[2]).endswith(_FOLDER)
        )

    def open(self, table: str, version: int | None = None) -> Any | None:
        """A table as pylance's dataset; None when it, or this version of it, does not exist.

        Args:
            table: Its name.
            version: The version; the newest by default.
        """
        try:
            return lance.dataset(
                self._path(table),
                version,
                storage_options=self._options,
                session=self._session,
            )
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise

    def write(self, table: str, rows: pa.Table, mode: str) -> Any:
        """Make a table of rows, by one commit; returns pylance's dataset of it.

        Args:
            table: Its name.
            rows: In its schema, metadata included.
            mode: ``create``, which fails with an OSError if the table is there, or ``overwrite``,
                which leaves its older versions.
        """
        return lance.write_dataset(
            rows,
            self._path(table),
            mode=mode,
            storage_options=self._options,
            session=self._session,
        )

    def _path(self, table: str) -> str:
        if self.is_local:
            return f"{self.uri}/{table}{_FOLDER}"
        # As in `s3+ddb://bucket/prefix?ddbTableName=commits`.
        place, mark, query = self.uri.partition("?")
        return f"{place.rstrip('/')}/{table}{_FOLDER}{mark}{query}"
