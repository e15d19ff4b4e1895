"""Exports of FiftyOne 1.22.1 as its own code writes them, with pictures and names of our own.

Belongs here: the samples and the folders of a FiftyOneDataset. Does not belong here: what FiftyOne
itself does, which ``tests/peers`` runs.
"""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np

# What its exporter wrote of np.array([2, 3, 4, 5], np.float32), byte for byte.
EMBEDDING = (
    "eJyb7BfqGxDJyFDGUK2eklqcXKRupaBuk2airqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RomOpo6CrUKFAAu"
    "BgYGByAC4gYgXuAAABapHbs="
)


def array(numbers, dtype=np.float32):
    """A field of an array."""
    file = io.BytesIO()
    np.save(file, np.asarray(numbers, dtype), allow_pickle=dtype is object)
    return packed(file.getvalue())


def packed(data):
    """A field of an array that is given as its file's bytes."""
    text = base64.b64encode(zlib.compress(data)).decode()
    return {"$binary": {"base64": text, "subType": "00"}}


def label(text, **attributes):
    """A field of one label of the whole image."""
    return {
        "_id": {"$oid": "6b0de15eeb4d8ed0f2fa0d51"},
        "_cls": "Classification",
        "tags": [],
        "label": text,
        **attributes,
    }


def labels(*texts):
    """A field of several labels of the whole image."""
    return {"_cls": "Classifications", "classifications": [label(text) for text in texts]}


def sample(filepath, **fields):
    """One sample."""
    return {
        "_id": {"$oid": "6b0de15feb4d8ed0f2fa0d72"},
        "filepath": filepath,
        "tags": [],
        "_media_type": "image",
        "_rand": 0.9990701148620572,
        "_dataset_id": {"$oid": "6b0de15eeb4d8ed0f2fa0d45"},
        "created_at": {"$date": "2026-11-30T20:49:35.183Z"},
        "last_modified_at": {"$date": "2026-11-30T20:49:35.211Z"},
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": 77,
            "mime_type": "image/png",
            "width": 8,
            "height": 8,
            "num_channels": 3,
        },
        **fields,
    }


def write_dataset(folder: Path, *samples, colours=None) -> Path:
    """A FiftyOneDataset of some samples."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ",".join(json.dumps(entry) for entry in samples)
    (folder / "samples.json").write_text(f'{{"samples": [{written}]}}')
    (folder / "metadata.json").write_text(json.dumps(dataset_document(colours)))
    return folder


def dataset_document(colours=None):
    """What ``metadata.json`` holds, of which most is left out here."""
    fields = [
        {
            "path": path,
            "colorByAttribute": "label",
            "fieldColor": "#112233",
            "valueColors": [{"value": value, "color": colour} for value, colour in of.items()],
        }
        for path, of in (colours or {}).items()
    ]
    scheme = {"color_pool": ["#ff0000"], "color_by": None, "fields": fields, "opacity": None}
    return {
        "_id": {"$oid": "6b0de15eeb4d8ed0f2fa0d45"},
        "name": "vases",
        "version": "1.22.1",
        "media_type": "image",
        "sample_fields": [],
        "app_config": {"color_scheme": scheme, "grid_media_field": "filepath"},
    }
