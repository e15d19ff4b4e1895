"""Opens a table of images in viewers, in an environment of their own: `python viewer_driver.py`.

Belongs here: nothing of ours; only what people do with the file. Arguments: the file, and an empty
folder. Prints, after a line `ANSWERS`, what DuckDB, pandas and Embedding Atlas have of it.
"""

import json
import sys
import zipfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from embedding_atlas.cli import main


def plain(value):
    """A value in JSON's own types; of bytes their number."""
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NA or value != value else value


def rows_of(frame):
    return [{name: plain(row[name]) for name in frame.columns} for _, row in frame.iterrows()]


def atlas(file, folder):
    """The rows of the data that its application is exported with."""
    whole = folder / "application.zip"
    columns = ["--x", "x", "--y", "y", "--neighbors", "neighbors", "--image", "image"]
    main([file, *columns, "--export-application", str(whole)], standalone_mode=False)
    with zipfile.ZipFile(whole) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("dataset.parquet")]
        archive.extract(name, folder)
    return rows_of(pd.read_parquet(folder / name))


if __name__ == "__main__":
    file, folder = sys.argv[1], Path(sys.argv[2])
    connection = duckdb.connect()
    found = connection.execute("SELECT * FROM read_parquet(?)", [file])
    names = [column[0] for column in found.description]
    answers = {
        "DuckDB": [dict(zip(names, map(plain, row), strict=True)) for row in found.fetchall()],
        "pandas": rows_of(pd.read_parquet(file)),
        "Embedding Atlas": atlas(file, folder),
    }
    print("ANSWERS")
    print(json.dumps(answers))
